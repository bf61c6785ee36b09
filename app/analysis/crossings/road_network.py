"""The road network of a jurisdiction with its rings: sides, crossings, passages and chains of road.

No I/O. Computed once for each state of roads and rings.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from app.analysis.queries import Columns
from app.analysis.results import Analysis
from app.geo.arrays import Bools, Floats, Ints, row_starts
from app.geo.coverage import assessment as engine
from app.geo.projection.local_projection import LocalProjection, choose_projection
from app.geo.rings.outline import divide_edges
from app.geo.rings.ring_partition import Pieces, RingBand, RingSide, compute_band_m, cut_network
from app.geo.roads import network as road_engine
from app.geo.roads.chains import Chains, build_chains
from app.geo.roads.crossings import Crossings, find_crossings, match_points_to_crossings, name_crossings
from app.geo.roads.map_matching import build_approaches, compute_inward_deg, compute_passages_m
from app.messages import Message
from app.models.vocabulary import LEVELS, Level

TravelDirection = Literal["inbound", "outbound"]
TRAVEL_DIRECTIONS: Final[tuple[TravelDirection, ...]] = ("inbound", "outbound")
DIRECTION_BITS: Final[dict[TravelDirection, int]] = {"inbound": engine.INBOUND, "outbound": engine.OUTBOUND}
CATEGORY_OF_LEVEL: Final[dict[Level, str]] = {"city": "city_road", "urban": "urban_road", "core": "core_road"}
"""Category of the control points at the crossings of each ring."""
RING_NOT_REGISTERED: Final = Message("this ring is not registered")
NO_ROAD: Final = Message("no road is registered")
_NO_ROAD_INSIDE: Final = Message("no road lies inside this ring")
_NO_ROAD_OUTSIDE: Final = Message("no road lies outside this ring: the roads do not reach beyond it")
_NO_CROSSING: Final = Message("no road crosses this ring: the roads do not reach it, or do not join there")
DEAD_END_M: Final = 50.0
"""A dead end so near a ring is reported: the road may be incomplete."""
_CLASS_CODES: Final = {name: code for code, name in enumerate(road_engine.ROAD_CLASSES)}
_ONE_WAY_CODES: Final = {name: code for code, name in enumerate(road_engine.ONE_WAY_RULES)}
_KM_DEG: Final = 0.009
_LONG_M: Final = 1000.0
_INBOUND, _OUTBOUND = engine.Need("vehicle", "inbound"), engine.Need("vehicle", "outbound")
_NEEDS_BY_BITS: Final = ((), (_INBOUND,), (_OUTBOUND,), (_INBOUND, _OUTBOUND))


@dataclass(frozen=True, eq=False)
class NodedRoads:
    """The road network without rings."""

    source: Columns
    """The table of roads it is computed from."""
    snap_m: float
    projection: LocalProjection
    network: road_engine.NodedNetwork
    report: road_engine.NetworkReport
    tree: shapely.STRtree
    """Index over the lines of the edges."""
    group_of_road: Ints
    """Group number of each road record."""
    label: NDArray[np.object_]
    """Name of each road group: its group, number or name; else the code of the road."""


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """Roads and rings of one snapshot, in metres of ``projection``."""

    roads: NodedRoads
    rings: Columns
    levels: tuple[Level, ...]
    """The registered rings, from the outside in."""
    ring: dict[Level, RingBand]
    pieces: Pieces
    """The network, cut where the bands of the rings begin and end."""
    side: dict[Level, RingSide]
    crossed: dict[Level, Crossings]
    crossing_ids: dict[Level, list[str]]
    chains: Chains

    @property
    def projection(self) -> LocalProjection:
        """The projection of all coordinates."""
        return self.roads.projection

    @property
    def network(self) -> road_engine.NodedNetwork:
        """The road graph."""
        return self.roads.network

    @property
    def group_of_road(self) -> Ints:
        """Group number of each road record."""
        return self.roads.group_of_road

    @cached_property
    def _roads_by_group(self) -> tuple[Ints, Ints]:
        order = np.argsort(self.group_of_road, kind="stable")
        return order, row_starts(self.group_of_road, len(self.roads.label))

    def find_roads(self, group: int) -> list[int]:
        """Return the rows of the roads of a group."""
        order, start = self._roads_by_group
        return [int(row) for row in order[start[group] : start[group + 1]]]

    def collect_names(self, group: int) -> frozenset[str]:
        """Return all names, numbers and codes of the roads of a group."""
        columns = [self.roads.source[name] for name in ("group", "road_number", "name_zh", "name_en", "code")]
        return frozenset({column[row] for row in self.find_roads(group) for column in columns} - {None})

    @cached_property
    def terminal(self) -> NDArray[np.bool_]:
        """Nodes of `pieces` at which a vehicle can appear or stay: junctions and dead ends."""
        terminal = np.zeros(len(self.pieces.node_xy), np.bool_)
        terminal[self.chains.tail] = True
        terminal[self.chains.head] = True
        return terminal

    def find_nodes(self, level: Level, *, inside: bool) -> Ints:
        """Return junctions and dead ends on one side of a ring, except those on its boundary."""
        side = self.side[level]
        return np.flatnonzero(self.terminal & ~side.on_line & (side.inside == inside))

    def find_dead_ends(self, level: Level) -> Ints:
        """Return nodes of the network at which a road ends shortly before the boundary of a ring."""
        boundary = self.ring[level].polygon.boundary
        return road_engine.find_dead_ends_at(self.network, self.roads.report, boundary, DEAD_END_M)

    def explain_not_assessed(self, level: Level) -> Message | None:
        """Return the reason why the crossings of a ring cannot be assessed, None if they can."""
        if level not in self.side:
            return RING_NOT_REGISTERED
        if not len(self.find_nodes(level, inside=True)):
            return _NO_ROAD_INSIDE
        if not len(self.find_nodes(level, inside=False)):
            return _NO_ROAD_OUTSIDE
        if not len(self.crossed[level]):
            return _NO_CROSSING
        return None


def compute_road_network(analysis: Analysis) -> RoadNetwork | None:
    """Return the road network of an analysis, None if no road or no ring is registered."""
    snapshot = analysis.snapshot

    def compute_network(earlier: RoadNetwork | None) -> RoadNetwork | None:
        if not snapshot.get_codes("road") or not snapshot.get_codes("ring"):
            return None
        projection = analysis.projection or _find_projection(snapshot.rings)
        snap_m = float(snapshot.rules.parameters.get("road_snap_m", 0.0))
        if earlier is not None:
            roads = earlier.roads
            if roads.source is snapshot.roads and (roads.snap_m, roads.projection) == (snap_m, projection):
                return earlier if earlier.rings is snapshot.rings else _cut_by_rings(roads, snapshot.rings)
        return _cut_by_rings(_node_roads(snapshot.roads, snap_m, projection), snapshot.rings)

    return analysis.derived.get_or_compute("road network", compute_network)


def explain_not_assessed(analysis: Analysis, level: Level) -> Message | None:
    """Return the reason why crossings and cordon of a ring cannot be assessed, None if they can."""
    network = compute_road_network(analysis)
    if network is not None:
        return network.explain_not_assessed(level)
    if level not in analysis.snapshot.rings.get("level", ()):
        return RING_NOT_REGISTERED
    return NO_ROAD


def _find_projection(rings: Columns) -> LocalProjection:
    centre = shapely.union_all(shapely.from_wkb(rings["shape"])).centroid
    return choose_projection(centre.x, centre.y)


def _node_roads(table: Columns, snap_m: float, projection: LocalProjection) -> NodedRoads:
    columns = (table[name] for name in ("group", "road_number", "name_zh", "name_en", "code"))
    labels = [next(filter(None, row)) for row in zip(*columns, strict=True)]
    number_of = {label: number for number, label in enumerate(sorted(set(labels)))}
    group = np.array([number_of[label] for label in labels], np.int64)
    lines = shapely.from_wkb(np.array(table["shape"], dtype=object))
    network, report = road_engine.build_network(
        shapely.transform(lines, projection.to_metres),
        oneway=[_ONE_WAY_CODES[name] for name in table["oneway"]],
        layer=table["layer"],
        road_class=[_CLASS_CODES[name] for name in table["road_class"]],
        group=group,
        snap_m=snap_m,
    )
    network = straighten_in_degrees(network, projection)
    tree = shapely.STRtree(network.line)
    return NodedRoads(table, snap_m, projection, network, report, tree, group, np.array(list(number_of), dtype=object))


def straighten_in_degrees(network: road_engine.NodedNetwork, projection: LocalProjection) -> road_engine.NodedNetwork:
    """Return the network with vertices added to long segments, so that they are straight in degrees.

    Roads are registered in degrees as rings are, and a segment of more than a kilometre is another line in metres.
    This follows the noding, so that roads share only vertices that were registered.
    """
    xy, line_of = shapely.get_coordinates(network.line, return_index=True)
    length = np.hypot(*np.diff(xy, axis=0).T)
    long = np.unique(line_of[:-1][(length > _LONG_M) & (line_of[1:] == line_of[:-1])])
    line = network.line.copy()
    in_degrees = shapely.segmentize(shapely.transform(line[long], projection.to_lonlat), _KM_DEG)
    line[long] = shapely.transform(in_degrees, projection.to_metres)
    return replace(network, line=line, length_m=shapely.length(line))


def _cut_by_rings(roads: NodedRoads, rings: Columns) -> RoadNetwork:
    projection = roads.projection
    row_of = {level: row for row, level in enumerate(rings["level"])}
    levels = tuple(level for level in reversed(LEVELS) if level in row_of)
    ring = {
        level: RingBand(
            to_boundary(rings["shape"][row_of[level]], projection), compute_band_m(rings["tolerance_m"][row_of[level]])
        )
        for level in levels
    }
    pieces, sides = cut_network(roads.network, [ring[level] for level in levels], roads.tree)
    side = dict(zip(levels, sides, strict=True))
    crossed = {level: find_crossings(roads.network, pieces, side[level], ring[level]) for level in levels}
    ids = {
        level: name_crossings(level, roads.label[of_ring.group], projection.to_lonlat(of_ring.xy))
        for level, of_ring in crossed.items()
    }
    return RoadNetwork(roads, rings, levels, ring, pieces, side, crossed, ids, build_chains(pieces, sides))


def to_boundary(wkb: bytes, projection: LocalProjection) -> shapely.Polygon | shapely.MultiPolygon:
    """Return a boundary in metres, with vertices added so that its edges are straight in degrees."""
    registered = shapely.from_wkb(wkb)
    assert registered is not None  # noqa: S101  # the column is not null
    in_metres = projection.project(divide_edges(registered))
    assert isinstance(in_metres, shapely.Polygon | shapely.MultiPolygon)  # noqa: S101  # the only types of a ring
    return in_metres


# Passages of the crossings, and the control points at the crossings.


@dataclass(frozen=True, eq=False)
class Passages:
    """The passages of all rings, one row each, ring by ring."""

    level: Ints
    """Index in ``RoadNetwork.levels``."""
    crossing: Ints
    """Row of the crossing within the ring."""
    xy: Floats
    carries: Ints
    """Bits `INBOUND` and `OUTBOUND`: the directions that traffic can take."""
    inward_deg: Floats
    """Grid bearing of inbound travel."""
    chain: Ints
    ahead_in: Bools
    """Whether inbound traffic runs from tail to head of the chain."""
    at_m: Floats
    """Distance along the chain."""


@dataclass(frozen=True, eq=False)
class PassagePoints:
    """The passages as control points of the coverage engine."""

    network: RoadNetwork
    passages: Passages
    table: engine.PointTable
    road: Ints
    """Road group of each passage."""
    axis_deg: Floats
    """True bearing of inbound travel."""


def compute_passages(analysis: Analysis, network: RoadNetwork) -> PassagePoints:
    """Return the passages of all rings; they depend on roads and rings only."""

    def compute_points(earlier: PassagePoints | None) -> PassagePoints:
        if earlier is not None and earlier.network is network:
            return earlier
        return _build_passage_points(network)

    return analysis.derived.get_or_compute("passages", compute_points)


def _build_passage_points(network: RoadNetwork) -> PassagePoints:
    by_ring = [list_passages(network, index, level) for index, level in enumerate(network.levels)]
    *columns, area = (np.concatenate(column) for column in zip(*by_ring, strict=True))
    passages, areas = Passages(*columns), area
    lonlat = network.projection.to_lonlat(passages.xy)
    table = engine.PointTable(
        code=[str(row) for row in range(len(passages.xy))],
        lonlat=lonlat,
        shape=dict(enumerate(shapely.transform(areas, network.projection.to_lonlat))) if len(areas) else {},
        needs=[_NEEDS_BY_BITS[bits] for bits in passages.carries.tolist()],
    )
    groups = [of_ring.group[of_ring.crossing] for of_ring in network.crossed.values()]
    axis_deg = passages.inward_deg + network.projection.convergence_deg(lonlat)
    return PassagePoints(network, passages, table, np.concatenate(groups), axis_deg)


def list_passages(network: RoadNetwork, index: int, level: Level) -> tuple[NDArray[Any], ...]:
    """Return the columns of `Passages` for one ring, and the stretch of road that each is observed on."""
    of_ring, inside = network.crossed[level], network.side[level].inside
    return (
        np.full(len(of_ring.piece), index),
        of_ring.crossing,
        of_ring.passage_xy,
        of_ring.passage_inbound * engine.INBOUND + of_ring.passage_outbound * engine.OUTBOUND,
        compute_inward_deg(network.network, network.pieces, of_ring, inside),
        network.chains.chain_of[of_ring.piece],
        runs_ahead_inbound(network, of_ring, inside),
        compute_passages_m(network.pieces, network.chains, of_ring),
        build_approaches(network.network, network.pieces, network.chains, of_ring),
    )


def runs_ahead_inbound(network: RoadNetwork, of_ring: Crossings, inside: Bools) -> Bools:
    """Return for each passage whether inbound traffic runs from tail to head of its chain."""
    towards_line = network.pieces.head[of_ring.piece] == of_ring.line_node
    along_piece = np.where(inside[of_ring.line_node], towards_line, ~towards_line)
    return np.asarray(along_piece ^ network.chains.reversed_of[of_ring.piece])


@dataclass(frozen=True, eq=False)
class _PointCrossings:
    network: RoadNetwork
    source: Columns
    crossing: dict[Level, Ints]


def match_control_points(analysis: Analysis, network: RoadNetwork) -> dict[Level, Ints]:
    """Return for each ring the crossing of every control point, -1 for a point of another category or without one."""
    table = analysis.snapshot.points

    def compute_matches(earlier: _PointCrossings | None) -> _PointCrossings:
        if earlier is not None and earlier.network is network and earlier.source is table:
            return earlier
        category = np.array(table["category"], dtype=object)
        xy = network.projection.to_metres(analysis.points.lonlat)
        crossing_of = {}
        for level in network.levels:
            rows = np.flatnonzero(category == CATEGORY_OF_LEVEL[level])
            of_ring = network.crossed[level]
            point_names = [frozenset({table["road_name"][row]} - {None}) for row in rows.tolist()]
            group_names = [network.collect_names(group) for group in of_ring.group]
            crossing_of[level] = np.full(len(category), -1, np.int64)
            crossing_of[level][rows] = match_points_to_crossings(xy[rows], point_names, of_ring.xy, group_names)
        return _PointCrossings(network, table, crossing_of)

    return analysis.derived.get_or_compute("point crossings", compute_matches).crossing
