"""Status of needs and control points: devices that count, the best candidate, and candidates explained.

No device is counted twice. A need is backed up if it stays met whichever single failure group fails. The best candidate
and its first reason do not depend on the order of devices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.coverage.candidates import Candidates, find_nearest_devices, find_reasons_of_others, replace_state_reasons
from app.geo.coverage.context import CoverageContext
from app.geo.coverage.tables import (
    BACKED_UP,
    COVERED,
    MET,
    NONE,
    OUT_OF_VIEW,
    PARTIAL,
    RANGE_BASES,
    REASONS,
    UNCOVERED,
    DeviceTable,
    ExplainedCandidate,
    NeedTable,
    ReasonSets,
    name_reasons,
)
from app.geo.visibility.reach import ALWAYS_WITHIN_M, off_axis_deg


@dataclass(frozen=True, eq=False)
class CountingDevices:
    """The devices that count for each need; u needs, k candidates."""

    counting: Bools
    """Shape (k,): the candidate passes every test, and is not a checkpoint that is counted through its cameras."""
    count: Ints
    """Shape (u,): devices that count."""
    groups: Ints
    """Shape (u,): failure groups among them."""
    met: Bools
    """Shape (u,)."""
    backed_up: Bools
    """Shape (u,)."""


def count_devices(context: CoverageContext, candidates: Candidates) -> CountingDevices:
    """Return which candidates count, and which needs they meet and back up."""
    devices, u = context.devices, len(context.needs)
    qualified = np.flatnonzero(candidates.reasons == 0)
    need, device = candidates.need[qualified], candidates.device[qualified]
    # Renumbered, so that numbers of any size fit into keys; a device without a group gets its own.
    group = np.where(devices.group[device] < 0, -1 - device, devices.group[device])
    group = np.unique(group, return_inverse=True)[1]
    width = int(group.max(initial=0)) + 1

    represented, returning = _find_represented(devices, need, device, group, width)
    effective = ~represented
    counting = np.zeros(len(candidates.need), np.bool_)
    counting[qualified[effective]] = True
    count = np.bincount(need[effective], minlength=u)

    cells, lost = np.unique(need[effective] * width + group[effective], return_counts=True)
    returned = np.bincount(np.searchsorted(cells, returning), minlength=len(cells))
    cell_need = cells // width
    # The number of devices after the worst failure of one group.
    remaining = np.zeros(u, np.int64)
    remaining[cell_need] = np.iinfo(np.int64).max
    np.minimum.at(remaining, cell_need, count[cell_need] - lost + returned)

    working = context.needs.working
    met = count >= working
    groups = np.bincount(cell_need, minlength=u)
    return CountingDevices(counting, count, groups, met, met & (remaining >= working))


def _find_represented(devices: DeviceTable, need: Ints, device: Ints, group: Ints, width: int) -> tuple[Bools, Ints]:
    """Return which rows are checkpoints that their own cameras represent, and where those count again.

    Rows pass every test. A checkpoint is represented if a camera of it passes for the same need. If all these cameras
    fail with one group and the checkpoint does not, it counts again; each such case is the key need * width + group.
    """
    m = max(len(devices), 1)
    installation = np.where(devices.is_checkpoint[device], -1, devices.installation[device])
    camera = np.flatnonzero(installation >= 0)
    camera_key = need[camera] * m + installation[camera]
    key = need * m + device
    represented = np.zeros(len(need), np.bool_)
    checkpoints = np.flatnonzero(devices.is_checkpoint[device])
    if len(camera) and len(checkpoints):
        represented[checkpoints] = np.isin(key[checkpoints], camera_key)
    if not represented.any():
        return represented, np.empty(0, np.int64)
    keys, index = np.unique(camera_key, return_inverse=True)
    lowest, highest = np.full(len(keys), width), np.full(len(keys), -1)
    np.minimum.at(lowest, index, group[camera])
    np.maximum.at(highest, index, group[camera])
    rows = np.flatnonzero(represented)
    index = np.searchsorted(keys, key[rows])
    returns = (lowest[index] == highest[index]) & (lowest[index] != group[rows])
    return represented, need[rows[returns]] * width + lowest[index[returns]]


@dataclass(frozen=True, eq=False)
class BestCandidates:
    """The best candidate and the primary reason of every need; the columns of the same names of `Assessment`."""

    reason_count: Ints
    primary: NDArray[np.int8]
    best: Ints
    best_distance_m: Floats
    best_reasons: ReasonSets


def find_best_candidates(
    context: CoverageContext, candidates: Candidates, counts: CountingDevices, before: BestCandidates | None = None
) -> BestCandidates:
    """Return the best candidate and the primary reason of every need.

    `before` is the result for devices that differed only in lifecycle and state: the nearest other device does not
    depend on these.
    """
    u, met = len(context.needs), counts.met
    reason_count = np.zeros((u, len(REASONS)), np.int64)
    for code in range(NONE):
        failing = candidates.reasons & np.uint16(1 << code) != 0
        reason_count[:, code] = np.bincount(candidates.need[failing], minlength=u)

    eligible = np.flatnonzero(np.where(met[candidates.need], counts.counting, candidates.reasons != 0))
    row = _select_best(context.devices, candidates, eligible)
    chosen = candidates.need[row]
    best, best_distance = np.full(u, -1, np.int64), np.full(u, np.nan)
    best_reasons, primary = np.zeros(u, np.uint16), np.full(u, MET, np.int8)
    best[chosen], best_distance[chosen] = candidates.device[row], candidates.distance_m[row]
    best_reasons[chosen] = candidates.reasons[row]
    primary[~met] = NONE
    unmet = chosen[~met[chosen]]
    reasons = best_reasons[unmet].astype(np.int64)
    primary[unmet] = np.log2(reasons & -reasons).astype(np.int8)  # the lowest bit is the first reason

    without = np.flatnonzero(primary == NONE)
    reason_count[without, NONE] = 1
    if before is not None and len(without):
        was_without = before.primary[without] == NONE
        same, without = without[was_without], without[~was_without]
        best[same], best_distance[same] = before.best[same], before.best_distance_m[same]
        named = same[best[same] >= 0]
        best_reasons[named] = replace_state_reasons(before.best_reasons[named], context.devices, best[named])
    if len(without):
        best[without], best_distance[without] = find_nearest_devices(context, candidates, without)
        named = without[best[without] >= 0]
        best_reasons[named] = find_reasons_of_others(context, named, best[named], best_distance[named])
    return BestCandidates(reason_count, primary, best, best_distance, best_reasons)


def compute_statuses(needs: NeedTable, counts: CountingDevices) -> Bytes:
    """Return the coverage status of every control point, from its met and backed-up needs."""
    n = len(needs.start) - 1
    total = np.diff(needs.start)
    met = np.bincount(needs.point[counts.met], minlength=n)
    backed_up = np.bincount(needs.point[counts.backed_up], minlength=n)
    status = np.where(met > 0, PARTIAL, UNCOVERED)
    status = np.where(met == total, COVERED, status)
    status = np.where((backed_up == total) & (total > 0), BACKED_UP, status)
    return status.astype(np.uint8)


def _select_best(devices: DeviceTable, candidates: Candidates, eligible: Ints) -> Ints:
    """Return the row of the best eligible candidate of every need that has one, sorted by need."""
    reasons, assigned = candidates.reasons[eligible], candidates.assigned[eligible]
    rows = _keep_least(candidates, eligible, np.bitwise_count(reasons) * np.int64(2) + ~assigned)
    rows = _keep_least(candidates, rows, candidates.distance_m[rows])
    return _keep_least(candidates, rows, devices.rank[candidates.device[rows]])


def _keep_least(candidates: Candidates, rows: Ints, values: Ints | Floats) -> Ints:
    """Return those of the rows that have the least value of their need."""
    need = candidates.need[rows]
    if not len(need):
        return rows
    first = np.flatnonzero(np.diff(need, prepend=-1))
    minimum = np.minimum.reduceat(values, first)
    is_least = values == np.repeat(minimum, np.diff(np.append(first, len(need))))
    return np.asarray(rows[is_least])


def explain_candidates(
    context: CoverageContext, candidates: Candidates, counting: Bools
) -> tuple[ExplainedCandidate, ...]:
    """Return every row explained in words and numbers, in the order of the rows.

    Numbers are not rounded. None where a number has no meaning.
    """
    devices, optics, needs = context.devices, context.optics, context.needs
    device = candidates.device
    if not len(device):
        return ()
    point = needs.point[candidates.need]
    density = needs.density[candidates.need]
    range_m, basis = optics.compute_range(device, density, candidates.assigned, context.parameters)
    towards = context.sites.xy[point] - optics.xy[device]
    convergence = context.projection.convergence_deg(devices.lonlat[device])
    bearing = (np.degrees(np.arctan2(towards[:, 0], towards[:, 1])) + convergence) % 360.0
    off_axis = off_axis_deg(towards, optics.azimuth_deg[device] - convergence)
    close = np.hypot(towards[:, 0], towards[:, 1]) < ALWAYS_WITHIN_M
    off_axis[close | (basis == RANGE_BASES.index("assigned"))] = np.nan
    bearing[close] = np.nan
    with np.errstate(divide="ignore"):
        pixels = optics.pixels_at_1m[device] / candidates.distance_m
    pixels[np.isinf(pixels)] = np.nan
    return tuple(
        ExplainedCandidate(
            device=row,
            kind=devices.kind[row],
            code=devices.code[row],
            distance_m=float(candidates.distance_m[index]),
            bearing_deg=_to_optional(bearing[index]),
            off_axis_deg=_to_optional(off_axis[index]),
            range_m=float(range_m[index]),
            range_basis=RANGE_BASES[basis[index]],
            px_per_m=_to_optional(pixels[index]),
            assigned=bool(candidates.assigned[index]),
            counts=bool(counting[index]),
            represented=bool(candidates.reasons[index] == 0 and not counting[index]),
            reasons=name_reasons(int(candidates.reasons[index])),
            hidden_by=(
                _find_hiding_building(context, int(point[index]), row)
                if candidates.reasons[index] >> OUT_OF_VIEW & 1
                else None
            ),
        )
        for index, row in enumerate(device.tolist())
    )


def _find_hiding_building(context: CoverageContext, point: int, device: int) -> int | None:
    """Return the building that hides a point from a device, None if no building does."""
    if context.visibility is None:
        return None
    building = context.visibility.find_hiding_building(context.sites, context.optics, point, device)
    return None if building < 0 else building


def _to_optional(value: float) -> float | None:
    """Return a number, None for NaN."""
    return None if np.isnan(value) else float(value)
