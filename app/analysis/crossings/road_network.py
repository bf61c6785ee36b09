"""The roads of a jurisdiction as its rings see them: network, sides, crossings, chains.

Pure. Built once for each state of roads and rings and kept for as long as neither changes: ``of`` gives
it to every analysis that needs roads.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.analysis.engine_input import Computed
from app.analysis.queries import Columns
from app.geo.arrays import Ints
from app.geo.projection.local_projection import Frame, frame_for
from app.geo.rings.outline import divided
from app.geo.rings.ring_partition import Pieces, Ring, Side, band_m, cut
from app.geo.roads import network as net
from app.geo.roads.chains import Chains, chains
from app.geo.roads.crossings import Crossings, crossings, names
from app.models.vocabulary import LEVELS, Level

_CLASS: Final = {name: code for code, name in enumerate(net.CLASSES)}
_ONE_WAY: Final = {name: code for code, name in enumerate(net.ONE_WAY)}
_KM_DEG: Final = 0.009
_LONG_M: Final = 1000.0
DEAD_END_M: Final = 50.0
"""A road that ends so near a ring's line without crossing it is told."""


@dataclass(frozen=True, eq=False)
class Base:
    """The road graph, whatever the rings."""

    roads: Columns
    snap_m: float
    frame: Frame
    network: net.Network
    report: net.Report
    tree: shapely.STRtree
    """Over the lines of the edges."""
    group_of_road: Ints
    """Number of the group of each road record."""
    label: NDArray[np.object_]
    """What the registry calls each road group: its group, number or name; else the road's code."""


@dataclass(frozen=True, eq=False)
class RoadNet:
    """Roads and rings of one state; metres are those of ``frame``."""

    base: Base
    rings: Columns
    levels: tuple[Level, ...]
    """The rings there are, from the outside in."""
    ring: dict[Level, Ring]
    pieces: Pieces
    """The network cut where the bands of the rings begin and end."""
    side: dict[Level, Side]
    crossed: dict[Level, Crossings]
    name: dict[Level, list[str]]
    """Names (ids) of the crossings."""
    chains: Chains

    @property
    def frame(self) -> Frame:
        """The metric frame."""
        return self.base.frame

    @property
    def network(self) -> net.Network:
        """The road graph."""
        return self.base.network

    @property
    def group_of_road(self) -> Ints:
        """Group number of each road record, in the order of ``base.roads``."""
        return self.base.group_of_road

    @cached_property
    def _by_group(self) -> tuple[Ints, Ints]:
        order = np.argsort(self.base.group_of_road, kind="stable")
        groups = np.arange(len(self.base.label) + 1)
        return order, np.searchsorted(self.base.group_of_road[order], groups)

    def roads_of(self, group: int) -> list[int]:
        """Return the rows of the roads of a group."""
        order, start = self._by_group
        return [int(row) for row in order[start[group] : start[group + 1]]]

    @cached_property
    def terminal(self) -> NDArray[np.bool_]:
        """Nodes of `pieces` at which a vehicle can appear or stay: junctions and dead ends."""
        terminal = np.zeros(len(self.pieces.node_xy), np.bool_)
        terminal[self.chains.tail] = True
        terminal[self.chains.head] = True
        return terminal

    def nodes(self, level: Level, *, inside: bool) -> Ints:
        """Return junctions and dead ends on one side of a ring, off its line."""
        side = self.side[level]
        return np.flatnonzero(self.terminal & ~side.on_line & (side.inside == inside))

    def dead_ends(self, level: Level) -> Ints:
        """Return nodes of the network at which a road stops short of the ring's line."""
        border = self.ring[level].polygon.boundary
        return net.dead_ends_at(self.network, self.base.report, border, DEAD_END_M)

    def not_assessed(self, level: Level) -> str | None:
        """Return why nothing can be said about crossings of a ring, None when it can."""
        if level not in self.side:
            return "this ring is not registered"
        if not len(self.nodes(level, inside=True)):
            return "no road lies inside this ring"
        if not len(self.nodes(level, inside=False)):
            return "no road lies outside this ring: the roads do not reach beyond it"
        if not len(self.crossed[level]):
            return "no road crosses this ring: the roads do not reach it, or do not join there"
        return None


def of(found: Computed) -> RoadNet | None:
    """Return the roads of a state, None when no road or no ring is registered."""

    def make(before: RoadNet | None) -> RoadNet | None:
        loaded = found.loaded
        if not loaded.roads.get("code") or not loaded.rings.get("code"):
            return None
        frame = found.frame or _frame(loaded.rings)
        snap_m = float(loaded.rules.parameters.get("road_snap_m", 0.0))
        base = None if before is None else before.base
        same = base is not None and (base.roads is loaded.roads, base.snap_m, base.frame) == (
            True, snap_m, frame,
        )  # fmt: skip
        if before is not None and same and before.rings is loaded.rings:
            return before
        return _net(base if base and same else _base(loaded.roads, snap_m, frame), loaded.rings)

    return found.parts.get("roads", make)


def _frame(rings: Columns) -> Frame:
    centre = shapely.union_all(shapely.from_wkb(rings["shape"])).centroid
    return frame_for(centre.x, centre.y)


def _base(roads: Columns, snap_m: float, frame: Frame) -> Base:
    called = [
        group or number or zh or en or code
        for group, number, zh, en, code in zip(
            roads["group"], roads["road_number"], roads["name_zh"], roads["name_en"],
            roads["code"], strict=True,
        )
    ]  # fmt: skip
    numbers = {name: number for number, name in enumerate(sorted(set(called)))}
    group = np.array([numbers[name] for name in called], np.int64)
    lines = shapely.from_wkb(np.array(roads["shape"], dtype=object))
    network, report = net.network(
        shapely.transform(lines, frame.to_metres),
        oneway=[_ONE_WAY[word] for word in roads["oneway"]],
        layer=roads["layer"],
        road_class=[_CLASS[word] for word in roads["road_class"]],
        group=group,
        snap_m=snap_m,
    )
    network = _straight_in_degrees(network, frame)
    tree = shapely.STRtree(network.line)
    return Base(roads, snap_m, frame, network, report, tree, group, np.array(list(numbers), dtype=object))


def _straight_in_degrees(network: net.Network, frame: Frame) -> net.Network:
    """Return the network with its long stretches bent as a line that is straight in degrees.

    Roads are registered as rings are, and over more than a kilometre that is another line. Done after
    noding, so that no vertex is shared that was not drawn.
    """
    xy, of = shapely.get_coordinates(network.line, return_index=True)
    step = np.hypot(*np.diff(xy, axis=0).T)
    long = np.unique(of[:-1][(step > _LONG_M) & (of[1:] == of[:-1])])
    line = network.line.copy()
    inner = shapely.segmentize(shapely.transform(line[long], frame.to_lonlat), _KM_DEG)
    line[long] = shapely.transform(inner, frame.to_metres)
    return replace(network, line=line, length_m=shapely.length(line))


def _net(base: Base, rings: Columns) -> RoadNet:
    frame = base.frame
    row_of = {level: row for row, level in enumerate(rings["level"])}
    levels = tuple(level for level in reversed(LEVELS) if level in row_of)
    ring = {
        level: Ring(
            _in_metres(rings["shape"][row_of[level]], frame),
            band_m(rings["tolerance_m"][row_of[level]]),
        )
        for level in levels
    }
    pieces, sides = cut(base.network, [ring[level] for level in levels], base.tree)
    side = dict(zip(levels, sides, strict=True))
    crossed = {level: crossings(base.network, pieces, side[level], ring[level]) for level in levels}
    name = {
        level: names(level, base.label[of_ring.group], frame.to_lonlat(of_ring.xy))
        for level, of_ring in crossed.items()
    }
    return RoadNet(base, rings, levels, ring, pieces, side, crossed, name, chains(pieces, sides))


def _in_metres(wkb: bytes, frame: Frame) -> shapely.Polygon | shapely.MultiPolygon:
    """Return a boundary in the frame, its edges divided so that they are the registered line."""
    registered = shapely.from_wkb(wkb)
    assert registered is not None  # noqa: S101  # the column is not null
    metric = frame.project(divided(registered))
    assert isinstance(metric, shapely.Polygon | shapely.MultiPolygon)  # noqa: S101  # nor anything else
    return metric
