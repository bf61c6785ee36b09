"""Which crossings are guarded, by what, in which direction; and which stretches of road are watched.

Pure. A passage of a crossing is judged by the coverage engine like a control point that needs a
vehicle device in each direction traffic can take, its area being the road near it up to the next
junction. A device farther along, before any junction, guards it as well where it watches that
direction: whatever passes the line passes the device.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from app.geo import coverage as engine
from app.geo.arrays import Bools, Floats, Ints
from app.geo.crossings import Crossings
from app.geo.matching import matched
from app.geo.units import spread
from app.geo.watched import (
    APPROACH_M,
    Polygons,
    Standing,
    Watching,
    approaches,
    inward_deg,
    passages_m,
    standing,
    watching,
)
from app.models.vocabulary import Level
from app.services import roadnet
from app.services.assess import Computed
from app.services.roadnet import RoadNet

_VEHICLE: Final = engine.FUNCTION_BITS["vehicle"]
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
class Guards:
    """Guards of all passages in one state."""

    net: RoadNet
    points: engine.PointTable
    """The control points they were matched with."""
    passages: Passages
    point_crossing: dict[Level, Ints]
    """For every control point of the registry the crossing it stands for in each ring, or -1."""
    stands: Standing
    watches: Watching
    assessment: engine.Assessment
    """Of the passages; a unit is one direction of one passage."""
    passage_units: tuple[Ints, Ints]
    """Passage and direction (`INBOUND` or `OUTBOUND`) of each unit."""

    @cached_property
    def guarding(self) -> tuple[Ints, Ints]:
        """Unit and device of every working guard, sorted: by the passage, or farther along its road."""
        unit, device = self.assessment.counting
        far_unit, far = self._farther
        on = working(self.assessment.devices)[far]
        pairs = np.column_stack(
            [np.concatenate([unit, far_unit[on]]), np.concatenate([device, far[on]])]
        )
        unit, device = np.unique(pairs, axis=0).T
        return unit, device

    @cached_property
    def count(self) -> Ints:
        """How many guards each unit has."""
        return np.bincount(self.guarding[0], minlength=len(self.passage_units[0]))

    @property
    def met(self) -> Bools:
        """Which units are guarded."""
        return np.asarray(self.count > 0)

    @cached_property
    def backed_up(self) -> Bools:
        """Which units stay guarded whichever failure group is lost."""
        unit, device = self.guarding
        group = np.unique(np.column_stack([unit, self.assessment.devices.group[device]]), axis=0)
        several = np.bincount(group[:, 0], minlength=len(self.count)) > 1
        return np.asarray(self.assessment.backed_up | several)

    @cached_property
    def _farther(self) -> tuple[Ints, Ints]:
        """Unit and device of those that watch the chain of a passage in its direction."""
        (passage, direction), watches = self.passage_units, self.watches
        inward = direction == engine.INBOUND
        ahead = np.where(inward, self.passages.ahead_in[passage], ~self.passages.ahead_in[passage])
        wanted = self.passages.chain[passage] * 2 + ahead
        key = watches.chain * 2 + watches.ahead
        order = np.argsort(key, kind="stable")
        first = np.searchsorted(key[order], wanted)
        size = np.searchsorted(key[order], wanted, side="right") - first
        size[self.passages.chain[passage] < 0] = 0
        unit, _, at = spread(size, first)
        return unit, watches.device[order[at]]

    def restated(self, devices: engine.DeviceTable) -> "Guards":
        """Return the guards after devices changed state."""
        again = self.assessment.restated(devices.lifecycle, devices.state, devices.stale)
        return replace(self, assessment=again)


def working(devices: engine.DeviceTable) -> Bools:
    """Tell which devices work and can take a vehicle."""
    return np.asarray((devices.state_bits == 0) & (devices.functions & _VEHICLE > 0))


def of(found: Computed) -> Guards | None:
    """Return the guards of a state, None when no road or no ring is registered."""

    def make(before: Guards | None) -> Guards | None:
        net = roadnet.of(found)
        if net is None:
            return None
        if before is not None and before.net is net and before.points is found.points:
            return before.restated(found.devices)
        return _guards(found, net)

    return found.parts.get("guards", make)


def _guards(found: Computed, net: RoadNet) -> Guards:
    passages, area = _passages(net)
    devices, frame = found.devices, net.frame
    xy = frame.to_metres(devices.lonlat)
    stands = _standing(found, net, xy)
    point_crossing = _matched(found, net)
    convergence = frame.convergence_deg(frame.to_lonlat(passages.xy))
    groups = [of_ring.group[of_ring.crossing] for of_ring in net.crossed.values()]
    table = engine.PointTable(
        code=[str(row) for row in range(len(passages.xy))],
        lonlat=frame.to_lonlat(passages.xy),
        shape=dict(enumerate(shapely.transform(area, frame.to_lonlat))) if len(area) else {},
        needs=[_NEEDS[carried] for carried in passages.carries.tolist()],
    )
    roadside = engine.Roadside(
        road=np.concatenate(groups),
        axis_deg=passages.inward_deg + convergence,
        stands_on=stands.group,
    )
    assigned = _assigned(found, net, passages, point_crossing, xy)
    assessment = engine.assess(
        table, replace(devices, assigned=assigned), found.parameters, frame, roadside
    )
    direction = _directions(passages, assessment)
    units = (assessment.unit_point, direction)
    watches = _unjudged(_watching(found, net, stands, xy), passages, assessment)
    return Guards(net, found.points, passages, point_crossing, stands, watches, assessment, units)


def _directions(passages: Passages, assessment: engine.Assessment) -> Ints:
    """Return the direction of each unit: inbound comes first where a passage carries both."""
    carries = passages.carries[assessment.unit_point]
    inward = (assessment.unit_need == 0) & (carries & engine.INBOUND > 0)
    return np.where(inward, engine.INBOUND, engine.OUTBOUND)


def _unjudged(watches: Watching, passages: Passages, assessment: engine.Assessment) -> Watching:
    """Return the watching devices without those judged where they stand.

    By a passage of its chain the verdict on a device stands, and who is a candidate there does not
    depend on anybody's state. That it is too far from a passage says nothing of where it stands.
    """
    unit, device = assessment.judged
    passage = assessment.unit_point[unit]
    chain = passages.chain[passage]
    width = int(max(device.max(initial=0), watches.device.max(initial=0))) + 1
    key, judged = watches.chain * width + watches.device, chain * width + device
    order = np.argsort(key, kind="stable")
    first = np.searchsorted(key[order], judged)
    pair, _, at = spread(np.searchsorted(key[order], judged, side="right") - first, first)
    row = order[at]
    near = np.abs(watches.at_m[row] - passages.at_m[passage[pair]]) <= APPROACH_M
    free = np.ones(len(key), np.bool_)
    free[row[near]] = False
    return Watching(
        *(getattr(watches, name)[free] for name in ("device", "chain", "ahead", "at_m"))
    )


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
        told[level][rows] = matched(
            xy[rows], names, of_ring.xy, [road_names(net, group) for group in of_ring.group]
        )
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


def _assigned(
    found: Computed, net: RoadNet, passages: Passages, point_crossing: dict[Level, Ints], xy: Floats
) -> Ints:
    """Return the passage each device is assigned to through its control point, -1: none.

    Of several passages of a crossing: one that carries a direction the device serves, the nearest.
    """
    assigned = np.full(len(xy), -1, np.int64)
    for place, level in enumerate(net.levels):
        rows = np.flatnonzero(passages.level == place)
        start = np.searchsorted(passages.crossing[rows], np.arange(len(net.crossed[level]) + 1))
        crossing = (
            np.where(found.devices.assigned >= 0, point_crossing[level][found.devices.assigned], -1)
            if len(point_crossing[level])
            else np.full(len(xy), -1)
        )
        device = np.flatnonzero(crossing >= 0)
        low, high = start[crossing[device]], start[crossing[device] + 1]
        which, _, member = spread(high - low, low)
        passage, one = rows[member], device[which]
        away = np.hypot(*(xy[one] - passages.xy[passage]).T)
        serves = (passages.carries[passage] & found.devices.directions[one]) > 0
        order = np.lexsort((passage, away, ~serves, one))
        first, at = np.unique(one[order], return_index=True)
        assigned[first] = passage[order[at]]
    return assigned


def _standing(found: Computed, net: RoadNet, xy: Floats) -> Standing:
    """Return on which edges vehicle devices stand; the others stand on none."""
    devices = found.devices
    roads, checkpoints = net.base.roads, found.loaded.checkpoints
    group_of = dict(zip(roads["code"], net.group_of_road.tolist(), strict=True))
    n = len(devices) - len(checkpoints["code"])
    stated = np.full(len(devices), -1, np.int64)
    stated[n:] = [-1 if code is None else group_of.get(code, -1) for code in checkpoints["road"]]
    part = np.flatnonzero(devices.installation[:n] >= 0)
    stated[part] = stated[devices.installation[part]]
    rows = np.flatnonzero(devices.functions & _VEHICLE)
    of_rows = standing(net.network, net.base.tree, xy[rows], stated[rows])
    told = Standing(
        np.full(len(devices), -1, np.int64), np.zeros(len(devices)), np.full(len(devices), -1)
    )
    told.edge[rows], told.at_m[rows], told.group[rows] = of_rows.edge, of_rows.at_m, of_rows.group
    return told


def _watching(found: Computed, net: RoadNet, stands: Standing, xy: Floats) -> Watching:
    devices = found.devices
    n = len(devices) - len(found.loaded.checkpoints["code"])
    bearing = np.full((len(devices), 2), np.nan)
    for row, text in enumerate(found.loaded.checkpoints["lanes"], start=n):
        bearing[row] = _lane_bearings(orjson.loads(text))
    part = np.flatnonzero(devices.installation[:n] >= 0)
    bearing[part] = bearing[devices.installation[part]]
    bearing -= net.frame.convergence_deg(devices.lonlat)[:, np.newaxis]
    innermost = net.ring[net.levels[-1]].polygon.centroid
    middle = np.array([innermost.x, innermost.y])
    return watching(
        net.network, net.pieces, net.chains, stands, devices.directions,
        bearing[:, 0], bearing[:, 1], xy, middle,
    )  # fmt: skip


def _lane_bearings(lanes: list[dict[str, object]]) -> tuple[float, float]:
    """Return the mean bearing of the inbound and of the outbound lanes, NaN where none is given."""
    means = []
    for direction in ("inbound", "outbound"):
        given = np.radians(
            [
                float(str(lane["bearing_deg"]))
                for lane in lanes
                if lane.get("direction") == direction and lane.get("bearing_deg") is not None
            ]
        )
        east, north = np.sin(given).sum(), np.cos(given).sum()
        means.append(float(np.degrees(np.arctan2(east, north))) if len(given) else np.nan)
    return means[0], means[1]
