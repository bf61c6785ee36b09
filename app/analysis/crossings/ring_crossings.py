"""Passages of the crossings, and what stands for them: what roads, rings and control points tell.

Pure. Made once for each state of these, whatever becomes of the devices.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.analysis.crossings.road_network import RoadNet
from app.analysis.engine_input import Computed
from app.analysis.queries import Columns
from app.geo.arrays import Bools, Floats, Ints
from app.geo.coverage import assessment as engine
from app.geo.roads.crossings import Crossings, matched
from app.geo.roads.map_matching import Polygons, approaches, inward_deg, passages_m
from app.models.vocabulary import Level

_IN, _OUT = engine.Need("vehicle", "inbound"), engine.Need("vehicle", "outbound")
_NEEDS: Final = ((), (_IN,), (_OUT,), (_IN, _OUT))
CATEGORY: Final[dict[Level, str]] = {
    "city": "city_road",
    "urban": "urban_road",
    "core": "core_road",
}


@dataclass(frozen=True, eq=False)
class Passages:
    """Passages of all rings, one row each, ring by ring."""

    level: Ints
    """Place in ``RoadNet.levels``."""
    crossing: Ints
    """Crossing within the ring."""
    xy: Floats
    carries: Ints
    """Set of `INBOUND` and `OUTBOUND`: what traffic can take."""
    inward_deg: Floats
    """Grid bearing of inbound travel."""
    chain: Ints
    ahead_in: Bools
    """Inbound traffic runs from tail to head of the chain."""
    at_m: Floats
    """Where it is, measured along the chain."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What of the passages roads and rings alone decide."""

    net: RoadNet
    passages: Passages
    table: engine.PointTable
    """The passages as the coverage engine takes them."""
    road: Ints
    """Road group of each."""
    axis_deg: Floats
    """True bearing of inbound travel."""


def ground(found: Computed, net: RoadNet) -> Ground:
    """Return the passages of all rings of a road network."""

    def make(before: Ground | None) -> Ground:
        return before if before is not None and before.net is net else _ground(net)

    return found.parts.get("passages", make)


def _ground(net: RoadNet) -> Ground:
    passages, area = _passages(net)
    frame = net.frame
    lonlat = frame.to_lonlat(passages.xy)
    table = engine.PointTable(
        code=[str(row) for row in range(len(passages.xy))],
        lonlat=lonlat,
        shape=dict(enumerate(shapely.transform(area, frame.to_lonlat))) if len(area) else {},
        needs=[_NEEDS[carried] for carried in passages.carries.tolist()],
    )
    groups = [of_ring.group[of_ring.crossing] for of_ring in net.crossed.values()]
    axis_deg = passages.inward_deg + frame.convergence_deg(lonlat)
    return Ground(net, passages, table, np.concatenate(groups), axis_deg)


@dataclass(frozen=True, eq=False)
class _Matched:
    net: RoadNet
    points: Columns
    crossing: dict[Level, Ints]


def matches(found: Computed, net: RoadNet) -> dict[Level, Ints]:
    """Return for each ring the crossing of every control point of its category, or -1."""
    points = found.loaded.points

    def make(before: _Matched | None) -> _Matched:
        if before is not None and before.net is net and before.points is points:
            return before
        return _Matched(net, points, _matched(found, net))

    return found.parts.get("matches", make).crossing


def _passages(net: RoadNet) -> tuple[Passages, Polygons]:
    """Return the passages of all rings, and the stretches of road on which each is watched."""
    parts = [_of_ring(net, place, level) for place, level in enumerate(net.levels)]
    *columns, area = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Passages(*columns), area


def _of_ring(net: RoadNet, place: int, level: Level) -> tuple[NDArray[Any], ...]:
    of_ring, inside = net.crossed[level], net.side[level].inside
    return (
        np.full(len(of_ring.piece), place),
        of_ring.crossing,
        of_ring.passage_xy,
        of_ring.passage_in * engine.INBOUND + of_ring.passage_out * engine.OUTBOUND,
        inward_deg(net.network, net.pieces, of_ring, inside),
        net.chains.chain_of[of_ring.piece],
        _ahead_in(net, of_ring, inside),
        passages_m(net.pieces, net.chains, of_ring),
        approaches(net.network, net.pieces, net.chains, of_ring),
    )


def _ahead_in(net: RoadNet, of_ring: Crossings, inside: Bools) -> Bools:
    """Tell whether inbound traffic runs along the chain of each passage, as its pieces are strung."""
    to_line = net.pieces.head[of_ring.piece] == of_ring.end
    as_drawn = np.where(inside[of_ring.end], to_line, ~to_line)
    return np.asarray(as_drawn ^ net.chains.turned_of[of_ring.piece])


def _matched(found: Computed, net: RoadNet) -> dict[Level, Ints]:
    """Return for each ring the crossing of every control point of its category."""
    table = found.loaded.points
    category = np.array(table["category"], dtype=object)
    xy = net.frame.to_metres(found.points.lonlat)
    told = {}
    for level in net.levels:
        rows = np.flatnonzero(category == CATEGORY[level])
        of_ring = net.crossed[level]
        names = [frozenset({table["road_name"][row]} - {None}) for row in rows.tolist()]
        told[level] = np.full(len(category), -1, np.int64)
        told[level][rows] = matched(xy[rows], names, of_ring.xy, [road_names(net, group) for group in of_ring.group])
    return told


def road_names(net: RoadNet, group: int) -> frozenset[str]:
    """Return everything a road group is called."""
    roads = net.base.roads
    called = {
        roads[name][row]
        for row in net.roads_of(group)
        for name in ("group", "road_number", "name_zh", "name_en", "code")
    }
    return frozenset(called - {None})
