"""Which crossings are guarded, by what, in which direction; and which stretches of road are watched.

Pure. A passage of a crossing is judged by the coverage engine like a control point that needs a
vehicle device in each direction traffic can take, its area being the road near it up to the next
junction. A device farther along, before any junction, guards it as well where it watches that
direction: whatever passes the line passes the device.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from app.analysis.crossings import road_network
from app.analysis.crossings.map_matching import VEHICLE, posts
from app.analysis.crossings.ring_crossings import Passages, ground, matches
from app.analysis.crossings.road_network import RoadNet
from app.analysis.engine_input import Computed
from app.geo.arrays import Bools, Floats, Ints, spread
from app.geo.coverage import assessment as engine
from app.geo.roads.map_matching import APPROACH_M, Standing, Watching
from app.models.vocabulary import Level


@dataclass(frozen=True, eq=False)
class Guards:
    """Guards of all passages in one state."""

    net: RoadNet
    made_from: tuple[object, ...]
    """The tables of records, and the parameters: where they are the same only states differ."""
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
        pairs = np.column_stack([np.concatenate([unit, far_unit[on]]), np.concatenate([device, far[on]])])
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
    return np.asarray((devices.state_bits == 0) & (devices.functions & VEHICLE > 0))


def of(found: Computed) -> Guards | None:
    """Return the guards of a state, None when no road or no ring is registered."""

    def make(before: Guards | None) -> Guards | None:
        net = road_network.of(found)
        if net is None:
            return None
        if before is not None and before.net is net and _alike(before, found):
            return before.restated(found.devices)
        return _guards(found, net, before)

    return found.parts.get("guards", make)


def _made_from(found: Computed) -> tuple[object, ...]:
    loaded = found.loaded
    return loaded.points, loaded.cameras, loaded.checkpoints, found.parameters


def _alike(before: Guards, found: Computed) -> bool:
    """Tell whether nothing but what devices say has changed."""
    *tables, parameters = before.made_from
    *now, present = _made_from(found)
    same = all(one is other for one, other in zip(tables, now, strict=True))
    return same and parameters == present


def _guards(found: Computed, net: RoadNet, before: Guards | None) -> Guards:
    on, at, point_crossing = ground(found, net), posts(found, net), matches(found, net)
    passages = on.passages
    roadside = engine.Roadside(on.road, on.axis_deg, at.stands.group)
    assigned = _assigned(found, net, passages, point_crossing, at.xy)
    assessment = engine.assess(
        on.table, replace(found.devices, assigned=assigned), found.parameters, net.frame, roadside,
        before=None if before is None else before.assessment,
    )  # fmt: skip
    units = (assessment.unit_point, _directions(passages, assessment))
    watches = _unjudged(at.watches, passages, assessment)
    return Guards(net, _made_from(found), passages, point_crossing, at.stands, watches, assessment, units)


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
    return Watching(*(getattr(watches, name)[free] for name in ("device", "chain", "ahead", "at_m")))


def _assigned(found: Computed, net: RoadNet, passages: Passages, point_crossing: dict[Level, Ints], xy: Floats) -> Ints:
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
