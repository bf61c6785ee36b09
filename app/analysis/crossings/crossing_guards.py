"""The guards of every crossing: devices matched to roads, passages assessed, and the status of each crossing.

No I/O. The coverage engine assesses a passage like a control point that needs a vehicle device in each direction of
traffic; its polygon is the road near the passage, up to the next junction. A device farther along the same chain,
before any junction, is a guard as well if it observes that direction, because all traffic of the passage meets it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import orjson

from app.analysis.crossings.road_network import (
    Passages,
    RoadNetwork,
    compute_passages,
    compute_road_network,
    match_control_points,
)
from app.analysis.results import Analysis
from app.geo.arrays import Bools, Floats, Ints, expand_ranges
from app.geo.coverage import assessment as engine
from app.geo.roads.map_matching import (
    APPROACH_M,
    ObservedChains,
    RoadMatches,
    find_observed_chains,
    match_devices_to_roads,
)
from app.models.vocabulary import Level

CROSSING_STATUSES: Final = ("guarded", "open", "waived")
GUARDED, OPEN, WAIVED = range(3)
MAX_WAIVER_MOVE_M: Final = 60.0
"""A waiver stays valid for a crossing that has moved up to this far, as by a new survey."""
_VEHICLE: Final = engine.FUNCTION_BITS["vehicle"]


# Devices matched to roads.


@dataclass(frozen=True, eq=False)
class MatchedDevices:
    """The location of each device on the road network, one row each: cameras, then checkpoints."""

    network: RoadNetwork
    codes: tuple[Sequence[str], Sequence[str]]
    """Codes of the cameras and of the checkpoints."""
    inputs: tuple[Floats, ...]
    """The columns that matching depends on; a row with equal values is not matched again."""
    xy: Floats
    stands: RoadMatches
    watches: ObservedChains


def match_devices(analysis: Analysis, network: RoadNetwork) -> MatchedDevices:
    """Return the devices matched to the road network; a device depends on its own record only."""

    def compute_matches(earlier: MatchedDevices | None) -> MatchedDevices:
        return _match_devices(
            analysis, network, earlier if earlier is not None and earlier.network is network else None
        )

    return analysis.derived.get_or_compute("matched devices", compute_matches)


def _match_devices(analysis: Analysis, network: RoadNetwork, earlier: MatchedDevices | None) -> MatchedDevices:
    devices = analysis.devices
    codes = (analysis.snapshot.cameras["code"], analysis.snapshot.checkpoints["code"])
    road_group, bearing = find_registered_roads(analysis, network)
    inputs = (*devices.lonlat.T, devices.functions & _VEHICLE, devices.directions, road_group, *bearing.T)
    now, then = find_unchanged_rows(codes, inputs, earlier)
    changed = np.ones(len(devices), np.bool_)
    changed[now] = False
    rows = np.flatnonzero(changed)
    xy = np.empty((len(devices), 2))
    stands = RoadMatches(
        np.full(len(devices), -1, np.int64), np.zeros(len(devices)), np.full(len(devices), -1, np.int64)
    )
    xy[rows] = network.projection.to_metres(devices.lonlat[rows])
    rows = rows[devices.functions[rows] & _VEHICLE > 0]
    matched = match_devices_to_roads(network.network, network.roads.tree, xy[rows], road_group[rows])
    for name in ("edge", "along_m", "group"):
        getattr(stands, name)[rows] = getattr(matched, name)
    watches = _find_watched_chains(analysis, network, rows, matched, bearing[rows], xy[rows])
    if earlier is not None and len(now):
        xy[now] = earlier.xy[then]
        for name in ("edge", "along_m", "group"):
            getattr(stands, name)[now] = getattr(earlier.stands, name)[then]
        watches = merge_watches(watches, earlier.watches, now, then, len(earlier.xy))
    return MatchedDevices(network, codes, inputs, xy, stands, watches)


def find_unchanged_rows(
    codes: tuple[Sequence[str], Sequence[str]], inputs: tuple[Floats, ...], earlier: MatchedDevices | None
) -> tuple[Ints, Ints]:
    """Return the rows of devices whose inputs are as before, and the rows that they had then."""
    if earlier is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    earlier_rows, offset = [], 0
    for codes_now, codes_then in zip(codes, earlier.codes, strict=True):
        if codes_now is codes_then or list(codes_now) == list(codes_then):
            earlier_rows.append(offset + np.arange(len(codes_now)))
        else:
            row_of = {code: row for row, code in enumerate(codes_then)}
            row = np.array([row_of.get(code, -1) for code in codes_now], np.int64)
            earlier_rows.append(np.where(row >= 0, row + offset, -1))
        offset += len(codes_then)
    earlier_row = np.concatenate(earlier_rows)
    now = np.flatnonzero(earlier_row >= 0)
    then = earlier_row[now]
    same = np.ones(len(now), np.bool_)
    for column_now, column_then in zip(inputs, earlier.inputs, strict=True):
        left, right = column_now[now], column_then[then]
        same &= (left == right) | ((left != left) & (right != right))
    return now[same], then[same]


def merge_watches(
    changed: ObservedChains, earlier: ObservedChains, now: Ints, then: Ints, earlier_count: int
) -> ObservedChains:
    """Return the watched chains of unchanged devices, followed by those of changed devices."""
    row_now = np.full(earlier_count, -1, np.int64)
    row_now[then] = now
    unchanged = row_now[earlier.device] >= 0
    renumbered = replace(earlier, device=row_now[earlier.device])
    columns = ("device", "chain", "ahead", "along_m")
    return ObservedChains(
        *(np.concatenate([getattr(renumbered, name)[unchanged], getattr(changed, name)]) for name in columns)
    )


def find_registered_roads(analysis: Analysis, network: RoadNetwork) -> tuple[Ints, Floats]:
    """Return for each device the road group that its checkpoint names, -1 if none, and the bearings of its lanes.

    The bearings have shape (n, 2): inbound and outbound in degrees, NaN where no lane states any.
    """
    devices, checkpoints = analysis.devices, analysis.snapshot.checkpoints
    group_of = dict(zip(network.roads.source["code"], network.group_of_road.tolist(), strict=True))
    camera_count = len(devices) - len(checkpoints["code"])
    road_group = np.full(len(devices), -1, np.int64)
    road_group[camera_count:] = [-1 if code is None else group_of.get(code, -1) for code in checkpoints["road"]]
    bearing = np.full((len(devices), 2), np.nan)
    if len(checkpoints["code"]):
        bearing[camera_count:] = [compute_lane_bearings(text) for text in checkpoints["lanes"]]
    installed = np.flatnonzero(devices.installation[:camera_count] >= 0)
    road_group[installed] = road_group[devices.installation[installed]]
    bearing[installed] = bearing[devices.installation[installed]]
    return road_group, bearing


def _find_watched_chains(
    analysis: Analysis, network: RoadNetwork, rows: Ints, matched: RoadMatches, bearing: Floats, xy: Floats
) -> ObservedChains:
    grid_deg = bearing - network.projection.convergence_deg(analysis.devices.lonlat[rows])[:, np.newaxis]
    centre = network.ring[network.levels[-1]].polygon.centroid
    watches = find_observed_chains(
        network.network,
        network.pieces,
        network.chains,
        matched,
        analysis.devices.directions[rows],
        grid_deg[:, 0],
        grid_deg[:, 1],
        xy,
        np.array([centre.x, centre.y]),
    )
    return replace(watches, device=rows[watches.device])


@lru_cache(maxsize=65_536)
def compute_lane_bearings(text: str) -> tuple[float, float]:
    """Return the mean bearing of the inbound and of the outbound lanes, NaN if no lane states one."""
    lanes: list[dict[str, object]] = orjson.loads(text)
    means = []
    for direction in ("inbound", "outbound"):
        bearings = np.radians(
            [
                float(str(lane["bearing_deg"]))
                for lane in lanes
                if lane.get("direction") == direction and lane.get("bearing_deg") is not None
            ]
        )
        east, north = np.sin(bearings).sum(), np.cos(bearings).sum()
        means.append(float(np.degrees(np.arctan2(east, north))) if len(bearings) else np.nan)
    return means[0], means[1]


# Guards of the passages.


@dataclass(frozen=True, eq=False)
class CrossingGuards:
    """The guards of all passages."""

    network: RoadNetwork
    sources: tuple[object, ...]
    """The tables and parameters that the guards depend on, except for device states."""
    passages: Passages
    point_crossing: dict[Level, Ints]
    """Crossing of every control point in each ring, -1 if none."""
    stands: RoadMatches
    watches: ObservedChains
    """Chains that devices observe, without those that the assessment of a passage has decided on."""
    assessment: engine.Assessment
    """The assessment of the passages; a unit is one direction of one passage."""
    passage_units: tuple[Ints, Ints]
    """Passage and direction (`INBOUND` or `OUTBOUND`) of each unit."""

    @cached_property
    def guarding(self) -> tuple[Ints, Ints]:
        """Unit and device of every working guard, sorted."""
        unit, device = self.assessment.counting_pairs
        far_unit, far_device = self._farther_guards
        works = find_working_vehicle_devices(self.assessment.devices)[far_device]
        pairs = np.column_stack([np.concatenate([unit, far_unit[works]]), np.concatenate([device, far_device[works]])])
        unit, device = np.unique(pairs, axis=0).T
        return unit, device

    @cached_property
    def count(self) -> Ints:
        """Number of guards of each unit."""
        return np.bincount(self.guarding[0], minlength=len(self.passage_units[0]))

    @property
    def is_guarded(self) -> Bools:
        """Whether each unit has a guard."""
        return np.asarray(self.count > 0)

    @cached_property
    def backed_up(self) -> Bools:
        """Whether each unit keeps a guard whichever failure group fails."""
        unit, device = self.guarding
        group = np.unique(np.column_stack([unit, self.assessment.devices.group[device]]), axis=0)
        has_several_groups = np.bincount(group[:, 0], minlength=len(self.count)) > 1
        return np.asarray(self.assessment.backed_up | has_several_groups)

    @cached_property
    def _farther_guards(self) -> tuple[Ints, Ints]:
        """Unit and device of devices that observe the chain of a passage in its direction."""
        (passage, direction), watches = self.passage_units, self.watches
        is_inbound = direction == engine.INBOUND
        ahead = np.where(is_inbound, self.passages.ahead_in[passage], ~self.passages.ahead_in[passage])
        unit_key = self.passages.chain[passage] * 2 + ahead
        watch_key = watches.chain * 2 + watches.ahead
        order = np.argsort(watch_key, kind="stable")
        first = np.searchsorted(watch_key[order], unit_key)
        size = np.searchsorted(watch_key[order], unit_key, side="right") - first
        size[self.passages.chain[passage] < 0] = 0
        unit, _, index = expand_ranges(size, first)
        return unit, watches.device[order[index]]

    def reassess_states(self, devices: engine.DeviceTable) -> "CrossingGuards":
        """Return the guards after devices have changed their states."""
        assessment = self.assessment.with_device_states(devices.lifecycle, devices.state, devices.stale)
        return replace(self, assessment=assessment)


def find_working_vehicle_devices(devices: engine.DeviceTable) -> Bools:
    """Return whether each device works and has the function `vehicle`."""
    return np.asarray((devices.state_reasons == 0) & (devices.functions & _VEHICLE > 0))


def compute_guards(analysis: Analysis) -> CrossingGuards | None:
    """Return the guards of an analysis, None if no road or no ring is registered."""

    def compute_all(earlier: CrossingGuards | None) -> CrossingGuards | None:
        network = compute_road_network(analysis)
        if network is None:
            return None
        if earlier is not None and earlier.network is network and _differ_only_in_states(earlier, analysis):
            return earlier.reassess_states(analysis.devices)
        return _assess_passages(analysis, network, earlier)

    return analysis.derived.get_or_compute("guards", compute_all)


def _list_sources(analysis: Analysis) -> tuple[object, ...]:
    snapshot = analysis.snapshot
    return snapshot.points, snapshot.cameras, snapshot.checkpoints, analysis.parameters


def _differ_only_in_states(earlier: CrossingGuards, analysis: Analysis) -> bool:
    *tables_then, parameters_then = earlier.sources
    *tables_now, parameters_now = _list_sources(analysis)
    same_tables = all(now is then for now, then in zip(tables_now, tables_then, strict=True))
    return same_tables and parameters_now == parameters_then


def _assess_passages(analysis: Analysis, network: RoadNetwork, earlier: CrossingGuards | None) -> CrossingGuards:
    points = compute_passages(analysis, network)
    matched = match_devices(analysis, network)
    point_crossing = match_control_points(analysis, network)
    passages = points.passages
    assigned = find_assigned_passages(analysis, network, passages, point_crossing, matched.xy)
    assessment = engine.assess_coverage(
        points.table,
        replace(analysis.devices, assigned=assigned),
        analysis.parameters,
        network.projection,
        engine.Roadside(points.road, points.axis_deg, matched.stands.group),
        before=None if earlier is None else earlier.assessment,
    )
    # A passage that carries both directions has its inbound need first.
    carries = passages.carries[assessment.need_point]
    is_inbound = (assessment.need_index == 0) & (carries & engine.INBOUND > 0)
    units = (assessment.need_point, np.where(is_inbound, engine.INBOUND, engine.OUTBOUND))
    watches = remove_assessed(matched.watches, passages, assessment)
    return CrossingGuards(
        network, _list_sources(analysis), passages, point_crossing, matched.stands, watches, assessment, units
    )


def remove_assessed(watches: ObservedChains, passages: Passages, assessment: engine.Assessment) -> ObservedChains:
    """Return the watching devices without those that were candidates of a passage near them on their chain.

    For these the assessment decides whether they count; who is a candidate does not depend on device states. Being
    too far from one passage says nothing about another location on the chain.
    """
    unit, device = assessment.candidate_pairs
    passage = assessment.need_point[unit]
    chain = passages.chain[passage]
    width = int(max(device.max(initial=0), watches.device.max(initial=0))) + 1
    watch_key, candidate_key = watches.chain * width + watches.device, chain * width + device
    order = np.argsort(watch_key, kind="stable")
    first = np.searchsorted(watch_key[order], candidate_key)
    pair, _, index = expand_ranges(np.searchsorted(watch_key[order], candidate_key, side="right") - first, first)
    row = order[index]
    is_near = np.abs(watches.along_m[row] - passages.at_m[passage[pair]]) <= APPROACH_M
    remaining = np.ones(len(watch_key), np.bool_)
    remaining[row[is_near]] = False
    return ObservedChains(*(getattr(watches, name)[remaining] for name in ("device", "chain", "ahead", "along_m")))


def find_assigned_passages(
    analysis: Analysis, network: RoadNetwork, passages: Passages, point_crossing: dict[Level, Ints], xy: Floats
) -> Ints:
    """Return the passage that each device is assigned to through its control point, -1 if none.

    Of several passages of a crossing: one that carries a direction of the device, then the nearest.
    """
    devices = analysis.devices
    assigned = np.full(len(xy), -1, np.int64)
    for index, level in enumerate(network.levels):
        rows = np.flatnonzero(passages.level == index)
        start = np.searchsorted(passages.crossing[rows], np.arange(len(network.crossed[level]) + 1))
        crossing = (
            np.where(devices.assigned >= 0, point_crossing[level][devices.assigned], -1)
            if len(point_crossing[level])
            else np.full(len(xy), -1)
        )
        with_crossing = np.flatnonzero(crossing >= 0)
        low, high = start[crossing[with_crossing]], start[crossing[with_crossing] + 1]
        pair, _, member = expand_ranges(high - low, low)
        passage, device = rows[member], with_crossing[pair]
        distance = np.hypot(*(xy[device] - passages.xy[passage]).T)
        serves = (passages.carries[passage] & devices.directions[device]) > 0
        order = np.lexsort((passage, distance, ~serves, device))
        assigned_device, best = np.unique(device[order], return_index=True)
        assigned[assigned_device] = passage[order[best]]
    return assigned


# Status of the crossings.


@dataclass(frozen=True, eq=False)
class CrossingStatuses:
    """The status of every crossing of one ring."""

    status: Ints
    """Indices of `CROSSING_STATUSES`."""
    missing: Ints
    """Direction bits that traffic can take and that have no guard."""
    waiver: Ints
    """Row of the waiver in force, -1 if none."""


def compute_crossing_statuses(analysis: Analysis) -> dict[Level, CrossingStatuses]:
    """Return the statuses of the crossings of every ring that can be assessed.

    A crossing is guarded in a direction if every passage that carries it is guarded. A waiver in force covers the
    directions that are not.
    """

    def compute_by_ring(earlier: dict[Level, CrossingStatuses] | None) -> dict[Level, CrossingStatuses]:
        del earlier  # computing a few hundred rows is quicker than comparing them
        guards = compute_guards(analysis)
        if guards is None:
            return {}
        return {
            level: _compute_statuses(analysis, guards, index, level)
            for index, level in enumerate(guards.network.levels)
            if guards.network.explain_not_assessed(level) is None
        }

    return analysis.derived.get_or_compute("crossing statuses", compute_by_ring)


def _compute_statuses(analysis: Analysis, guards: CrossingGuards, index: int, level: Level) -> CrossingStatuses:
    passage, direction = guards.passage_units
    unguarded = np.flatnonzero(~guards.is_guarded & (guards.passages.level[passage] == index))
    missing = np.zeros(len(guards.network.crossed[level]), np.int64)
    np.bitwise_or.at(missing, guards.passages.crossing[passage[unguarded]], direction[unguarded])
    waiver = find_waivers(analysis, guards.network, level)
    status = np.where(missing == 0, GUARDED, np.where(waiver >= 0, WAIVED, OPEN))
    return CrossingStatuses(status, missing, waiver)


def find_waivers(analysis: Analysis, network: RoadNetwork, level: Level) -> Ints:
    """Return the waiver in force of each crossing: by its id, else by road and location; -1 if none."""
    table, of_ring, ids = analysis.snapshot.waivers, network.crossed[level], network.crossing_ids[level]
    waiver = np.full(len(of_ring), -1, np.int64)
    unmatched = []
    for row, end in enumerate(table.get("expires_at", ())):
        if table["level"][row] != level or end < analysis.snapshot.taken_at:
            continue
        if table["crossing"][row] in ids:
            waiver[ids.index(table["crossing"][row])] = row
        else:
            unmatched.append(row)
    for row in unmatched:
        candidates = np.flatnonzero((network.roads.label[of_ring.group] == table["road"][row]) & (waiver < 0))
        xy = network.projection.to_metres([(table["lon"][row], table["lat"][row])])
        distance = np.hypot(*(of_ring.xy[candidates] - xy).T)
        if len(candidates) and distance.min() <= MAX_WAIVER_MOVE_M:
            waiver[candidates[np.argmin(distance)]] = row
    return waiver


def count_crossings(analysis: Analysis, level: Level) -> dict[str, int | None]:
    """Return the number of crossings of a ring by status; None is not zero, it is not assessed."""
    statuses = compute_crossing_statuses(analysis).get(level)
    if statuses is None:
        return dict.fromkeys(("total", *CROSSING_STATUSES))
    by_status = np.bincount(statuses.status, minlength=len(CROSSING_STATUSES)).tolist()
    return {"total": len(statuses.status), **dict(zip(CROSSING_STATUSES, by_status, strict=True))}
