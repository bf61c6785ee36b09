"""What follows from the candidates and what they lack.

Promises that no device is counted twice, that backed up means met whichever single failure group
is lost, and one candidate to name first with its first reason, the same in whatever order they
come.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.coverage.candidates import FAILS, STATE_BITS, Candidates, lacks, nearest_other
from app.geo.coverage.context import Scene
from app.geo.coverage.needs import Units
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
    Candidate,
    DeviceTable,
    reasons_of,
)
from app.geo.visibility.reach import ALWAYS_WITHIN_M, off_axis_deg


@dataclass(frozen=True, eq=False)
class Tally:
    """Counting devices of all units."""

    counting: Bools
    """Shape (k,) of the candidates: passes every test, and is not a checkpoint counted through its
    cameras."""
    count: Ints
    groups: Ints
    met: Bools
    backed_up: Bools


def tallied(scene: Scene, rows: Candidates) -> Tally:
    """Return which candidates count, and which units they meet and back up."""
    devices, u, m = scene.devices, len(scene.units), max(len(scene.devices), 1)
    passing = np.flatnonzero(rows.reasons == 0)
    unit, device = rows.unit[passing], rows.device[passing]
    # Renumbered, so that numbers of any size fit into keys; whoever is alone gets its own.
    group = np.where(devices.group[device] < 0, -1 - device, devices.group[device])
    group = np.unique(group, return_inverse=True)[1]

    # Checkpoints are stood for by their own cameras that pass in the same unit.
    of = np.where(devices.is_checkpoint[device], -1, devices.installation[device])
    part = np.flatnonzero(of >= 0)
    part_key = unit[part] * m + of[part]
    key = unit * m + device
    is_checkpoint = devices.is_checkpoint[device]
    represented = np.zeros(len(passing), np.bool_)
    if len(part) and is_checkpoint.any():
        checkpoints = np.flatnonzero(is_checkpoint)
        represented[checkpoints] = np.isin(key[checkpoints], part_key)
    effective = ~represented
    counting = np.zeros(len(rows.unit), np.bool_)
    counting[passing[effective]] = True
    count = np.bincount(unit[effective], minlength=u)

    width = int(group.max(initial=0)) + 1
    cells, lost = np.unique(unit[effective] * width + group[effective], return_counts=True)
    back = np.zeros(len(cells), np.int64)
    if represented.any():
        # A checkpoint whose cameras all fail with one group is itself counted again after it.
        keys, which = np.unique(part_key, return_inverse=True)
        low, high = np.full(len(keys), width), np.full(len(keys), -1)
        np.minimum.at(low, which, group[part])
        np.maximum.at(high, which, group[part])
        stood_for = np.flatnonzero(represented)
        place = np.searchsorted(keys, key[stood_for])
        returns = (low[place] == high[place]) & (low[place] != group[stood_for])
        cell = unit[stood_for[returns]] * width + low[place[returns]]
        np.add.at(back, np.searchsorted(cells, cell), 1)
    cell_unit = cells // width
    # What is left after losing the failure group that takes most.
    least_left = np.zeros(u, np.int64)
    least_left[cell_unit] = np.iinfo(np.int64).max
    np.minimum.at(least_left, cell_unit, count[cell_unit] - lost + back)

    working = scene.units.working
    met = count >= working
    backed_up = met & (least_left >= working)
    return Tally(counting, count, np.bincount(cell_unit, minlength=u), met, backed_up)


@dataclass(frozen=True, eq=False)
class Foremost:
    """What to name first for every unit; the columns of the same names of `Assessment`."""

    reason_count: Ints
    primary: NDArray[np.int8]
    best: Ints
    best_distance_m: Floats
    best_reasons: Bytes


def foremost(scene: Scene, rows: Candidates, tally: Tally, before: Foremost | None = None) -> Foremost:
    """Return the best candidate and the primary reason of every unit.

    ``before`` is what it was when devices differed in lifecycle and state alone: whom to name where
    nobody is near does not depend on either.
    """
    u, met = len(scene.units), tally.met
    reason_count = np.zeros((u, len(REASONS)), np.int64)
    for code in range(NONE):
        failing = rows.reasons & np.uint8(1 << code) != 0
        reason_count[:, code] = np.bincount(rows.unit[failing], minlength=u)

    eligible = np.flatnonzero(np.where(met[rows.unit], tally.counting, rows.reasons != 0))
    best_row = _best(scene.devices, rows, eligible, u)
    chosen = np.flatnonzero(best_row >= 0)
    best, best_distance = np.full(u, -1, np.int64), np.full(u, np.nan)
    best_reasons, primary = np.zeros(u, np.uint8), np.full(u, MET, np.int8)
    best[chosen] = rows.device[best_row[chosen]]
    best_distance[chosen] = rows.distance_m[best_row[chosen]]
    best_reasons[chosen] = rows.reasons[best_row[chosen]]
    primary[~met] = NONE
    wanting = chosen[~met[chosen]]
    lowest = best_reasons[wanting] & -best_reasons[wanting].astype(np.int16)
    primary[wanting] = np.log2(lowest).astype(np.int8)
    nobody = np.flatnonzero(primary == NONE)
    if len(nobody):
        reason_count[nobody, NONE] = 1
        if before is not None:
            was = before.primary[nobody] == NONE
            same, nobody = nobody[was], nobody[~was]
            best[same], best_distance[same] = before.best[same], before.best_distance_m[same]
            named = same[best[same] >= 0]
            kept = before.best_reasons[named] & np.uint8(0xFF ^ STATE_BITS)
            best_reasons[named] = kept | scene.devices.state_bits[best[named]]
        found, best_distance[nobody] = nearest_other(scene, rows, nobody)
        best[nobody] = found
        at = nobody[found >= 0]
        best_reasons[at] = lacks(scene, at, best[at], best_distance[at])
    return Foremost(reason_count, primary, best, best_distance, best_reasons)


def statuses(units: Units, tally: Tally) -> Bytes:
    """Return the status of every control point from what is met of its needs."""
    n = len(units.start) - 1
    needs = np.diff(units.start)
    met_needs = np.bincount(units.point[tally.met], minlength=n)
    backed_needs = np.bincount(units.point[tally.backed_up], minlength=n)
    status = np.where(met_needs > 0, PARTIAL, UNCOVERED)
    status = np.where(met_needs == needs, COVERED, status)
    status = np.where((backed_needs == needs) & (needs > 0), BACKED_UP, status)
    return status.astype(np.uint8)


def _best(devices: DeviceTable, rows: Candidates, eligible: Ints, units: int) -> Ints:
    """Return the row of the best of the eligible candidates of every unit, -1 without any."""
    reasons, assigned = rows.reasons[eligible], rows.assigned[eligible]
    left = _leading(rows, eligible, FAILS[reasons] * np.int64(2) + ~assigned)
    left = _leading(rows, left, rows.distance_m[left])
    left = _leading(rows, left, devices.rank[rows.device[left]])
    best = np.full(units, -1, np.int64)
    best[rows.unit[left]] = left
    return best


def _leading(rows: Candidates, left: Ints, values: Ints | Floats) -> Ints:
    """Return those of the rows `left` that have the least value of their unit."""
    unit = rows.unit[left]
    if not len(unit):
        return left
    first = np.flatnonzero(np.diff(unit, prepend=-1))
    least = np.minimum.reduceat(values, first)
    leads = values == np.repeat(least, np.diff(np.append(first, len(unit))))
    return np.asarray(left[leads])


# Candidates in words and numbers that a person can check.
#
# Promises what was measured, not rounded: distance, bearing, angle off the axis, range and where it
# comes from, pixel density; None where a number would mean nothing.


def candidates_explained(scene: Scene, rows: Candidates, counting: Bools) -> tuple[Candidate, ...]:
    """Return every row explained, in the order of the rows."""
    devices, gear, units = scene.devices, scene.gear, scene.units
    device = rows.device
    if not len(device):
        return ()
    point = units.point[rows.unit]
    range_m, basis = gear.range(device, units.density[rows.unit], rows.assigned, scene.parameters)
    towards = scene.sites.xy[point] - gear.xy[device]
    convergence = scene.frame.convergence_deg(devices.lonlat[device])
    bearing = (np.degrees(np.arctan2(towards[:, 0], towards[:, 1])) + convergence) % 360.0
    off = off_axis_deg(towards, gear.azimuth_deg[device] - convergence)
    close = np.hypot(towards[:, 0], towards[:, 1]) < ALWAYS_WITHIN_M
    off[close | (basis == 2)] = np.nan
    bearing[close] = np.nan
    with np.errstate(divide="ignore"):
        pixels = gear.pixels_at_1m[device] / rows.distance_m
    pixels[np.isinf(pixels)] = np.nan
    return tuple(
        Candidate(
            row,
            devices.kind[row],
            devices.code[row],
            float(rows.distance_m[place]),
            _known(bearing[place]),
            _known(off[place]),
            float(range_m[place]),
            RANGE_BASES[basis[place]],
            _known(pixels[place]),
            bool(rows.assigned[place]),
            bool(counting[place]),
            bool(rows.reasons[place] == 0 and not counting[place]),
            reasons_of(int(rows.reasons[place])),
            _hider(scene, int(point[place]), row) if rows.reasons[place] >> OUT_OF_VIEW & 1 else None,
        )
        for place, row in enumerate(device.tolist())
    )


def _hider(scene: Scene, point: int, device: int) -> int | None:
    """Return the building that hides a point from a device, where one does."""
    if scene.sight is None:
        return None
    found = scene.sight.hider(scene.sites, scene.gear, point, device)
    return None if found < 0 else found


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
