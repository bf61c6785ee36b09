"""Who might serve which unit, and what each lacks.

Promises a row for every device assigned to the unit's point, every one that sees it and every one
with the function within `Parameters.search_m`, tested in full: a row lists all reasons, not only
the first. They are tested some at a time, so that memory stays bounded.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from app.geo.arrays import Bools, Bytes, Floats, Ints, spread
from app.geo.coverage.context import Scene
from app.geo.coverage.tables import (
    OUT_OF_VIEW,
    TOO_COARSE,
    TOO_FAR,
    WRONG_DIRECTION,
    WRONG_FUNCTION,
    DeviceTable,
    Roadside,
    bit,
)
from app.geo.visibility.reach import ALWAYS_WITHIN_M, flat, pairs

BLOCK: Final = 2_000_000
"""Rows of units and devices that are tested at a time."""
FAILS: Final = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)
"""How many reasons each set of reasons holds."""
STATE_BITS: Final = 0b111
"""The reasons that lie in the state of a device alone."""
_KINDS: Final = (np.int64, np.int64, np.float64, np.bool_, np.uint8)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of all units, sorted by unit; one row each."""

    unit: Ints
    device: Ints
    distance_m: Floats
    assigned: Bools
    reasons: Bytes
    """Set of reasons; those of `DeviceTable.state_bits` included."""

    @classmethod
    def of(cls, scene: Scene, only: Ints | None = None) -> "Candidates":
        """Return the candidates of every unit, each with all it lacks; of some devices only."""
        devices, gear, units = scene.devices, scene.gear, scene.units
        some = np.arange(len(devices)) if only is None else only
        assigned_rows = np.flatnonzero(devices.assigned[some] >= 0)
        site, device = pairs(
            scene.sites,
            gear.xy[some],
            gear.farthest_m(units, scene.parameters)[some],
            (devices.assigned[some[assigned_rows]].astype(np.int64), assigned_rows),
        )
        device = some[device]
        views = scene.looked_at(site, device)

        # From pairs of point and device to candidates of units: the pairs of its point for each
        # unit, some units at a time so that memory stays bounded.
        counts = np.bincount(site, minlength=len(scene.points))
        starts, counts = (np.cumsum(counts) - counts)[units.point], counts[units.point]
        block = np.cumsum(counts) // BLOCK
        edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
        parts = []
        for first, last in pairwise(edges.tolist()):
            row, _, pair = spread(counts[first:last], starts[first:last])
            parts.append(_tested(scene, row + first, device[pair], *(view[pair] for view in views)))
        columns = zip(*parts, strict=True) if parts else ((np.empty(0, kind),) for kind in _KINDS)
        return cls(*(np.concatenate(column) for column in columns))

    @classmethod
    def renewed(cls, scene: Scene, before: "Candidates", was: Ints) -> "Candidates":
        """Return the candidates after some devices changed, came or went; the others are kept.

        Parameters
        ----------
        scene : Scene
            Of the same points.
        before : Candidates
        was : ndarray of int, shape (m,)
            Row that each device had then, -1 where it is not as it was, states apart.
        """
        fresh = cls.of(scene, np.flatnonzero(was < 0))
        now = np.full(int(max(was.max(initial=-1), before.device.max(initial=-1))) + 1, -1, np.int64)
        now[was[was >= 0]] = np.flatnonzero(was >= 0)
        device = now[before.device]
        still = np.flatnonzero(device >= 0)
        kept = replace(before, **{name: getattr(before, name)[still] for name in vars(before)})
        kept = replace(kept, device=device[still]).restated(scene.devices)
        columns = [np.concatenate([getattr(kept, name), getattr(fresh, name)]) for name in vars(before)]
        order = np.lexsort((columns[1], columns[0]))
        return cls(*(column[order] for column in columns))

    def restated(self, devices: DeviceTable) -> "Candidates":
        """Return the same rows after devices changed lifecycle or state, and nothing else."""
        kept_bits = self.reasons & np.uint8(0xFF ^ STATE_BITS)
        return replace(self, reasons=kept_bits | devices.state_bits[self.device])


def _tested(
    scene: Scene, unit: Ints, device: Ints, d: Floats, seen: Floats, seen_all: Floats
) -> tuple[Ints, Ints, Floats, Bools, Bytes]:
    """Return the columns of `Candidates` for those rows that are candidates."""
    devices, gear, units, parameters = scene.devices, scene.gear, scene.units, scene.parameters
    assigned = devices.assigned[device] == units.point[unit]
    has_function = devices.functions[device] & units.function[unit] != 0
    wanted = units.direction[unit]
    serves = (wanted == 0) | (devices.directions[device] & wanted != 0)
    density = units.density[unit]
    range_m, basis = gear.range(device, density, assigned, parameters)

    looked = np.where(basis == 2, seen_all, seen)
    # A stretch of road is long: what stands on it still has to see some of it well enough.
    here = (d < ALWAYS_WITHIN_M) & (scene.roadside is None)
    too_far = ~here & (d > range_m)
    out_of_view = ~here & (np.isinf(looked) | (~too_far & (looked > range_m)))
    reached = ~too_far & ~out_of_view
    # A NaN on either side means that nothing is known or demanded, and compares as false.
    pixels = gear.pixels_at_1m[device]
    too_coarse = reached & ~here & (basis == 0) & (pixels < density * looked * (1 - 1e-12))

    reasons = (
        devices.state_bits[device]
        | bit(~has_function, WRONG_FUNCTION)
        | bit(~serves, WRONG_DIRECTION)
        | bit(too_far, TOO_FAR)
        | bit(out_of_view, OUT_OF_VIEW)
        | bit(too_coarse, TOO_COARSE)
    )
    near = has_function & (d <= parameters.search_m)
    wanted_row = reached | near
    if scene.roadside is not None:
        off_road, across = _beside(scene, scene.roadside, unit, device)
        wanted_row &= ~off_road
        reasons |= bit(across & (wanted != 0), WRONG_DIRECTION)
    kept = np.flatnonzero(assigned | wanted_row)
    return unit[kept], device[kept], d[kept], assigned[kept], reasons[kept]


def _beside(scene: Scene, roadside: Roadside, unit: Ints, device: Ints) -> tuple[Bools, Bools]:
    """Return which devices stand on another road, and which look across the point's road."""
    point = scene.units.point[unit]
    off_road = roadside.stands_on[device] != roadside.road[point]
    off_axis = np.abs((scene.gear.azimuth_deg[device] - roadside.axis_deg[point]) % 180.0)
    across = np.minimum(off_axis, 180.0 - off_axis) > roadside.across_deg  # NaN looks all round
    return off_road, across


# Whom to name where nobody near could be made to count.
#
# Promises the nearest device with the function that is no candidate, however far it is and however
# many stand in one place, and what it lacks besides.


def nearest_other(scene: Scene, rows: Candidates, unit: Ints) -> tuple[Ints, Floats]:
    """Return the nearest device with the function that is no candidate, and its distance.

    The nearest to the site's point gives a distance within which the answer must lie; all within
    it are measured to the site itself, and ties are broken by code.
    """
    units, sites, gear = scene.units, scene.sites, scene.gear
    devices, m = scene.devices, max(len(scene.devices), 1)
    found, distance = np.full(len(unit), -1, np.int64), np.full(len(unit), np.nan)
    if not len(unit):
        return found, distance
    mine = np.isin(rows.unit, unit)
    taken = rows.unit[mine] * m + rows.device[mine]
    already = np.bincount(rows.unit[mine], minlength=len(units))[unit]
    for function in np.unique(units.function[unit]):
        all_able = np.flatnonzero(devices.functions & function)
        if not len(all_able):
            continue
        stacked = _place_in_stack(gear.xy[all_able], devices.rank[all_able])
        for size in np.unique(already[units.function[unit] == function]):
            # Of devices in one place only the first by code can be the answer, one more for
            # each that is a candidate already.
            able = all_able[stacked <= size]
            tree = cKDTree(gear.xy[able])
            asked = np.flatnonzero((units.function[unit] == function) & (already == size))
            site = units.point[unit[asked]]
            k = min(int(size) + 1, len(able))
            _, near = tree.query(sites.xy[site], k=np.arange(1, k + 1))
            free = ~np.isin(unit[asked][:, np.newaxis] * m + able[near], taken)
            some = np.flatnonzero(free.any(axis=1))
            if not len(some):
                continue
            asked, site = asked[some], site[some]
            first = able[near[some, np.argmax(free[some], axis=1)]]
            bound = sites.distance(site, gear.xy[first]) + sites.radius_m[site]
            lists = tree.query_ball_point(sites.xy[site], bound * (1 + 1e-9) + 1e-6)
            row = np.repeat(np.arange(len(asked)), [len(one) for one in lists])
            device = able[flat(lists)]
            fresh = ~np.isin(unit[asked[row]] * m + device, taken)
            row, device = row[fresh], device[fresh]
            away = sites.distance(site[row], gear.xy[device])
            order = np.lexsort((devices.rank[device], away, row))
            _, top = np.unique(row[order], return_index=True)
            found[asked[row[order][top]]] = device[order][top]
            distance[asked[row[order][top]]] = away[order][top]
    return found, distance


def lacks(scene: Scene, unit: Ints, device: Ints, distance: Floats) -> Bytes:
    """Return what devices lack that are too far to be candidates."""
    devices, units = scene.devices, scene.units
    wanted = units.direction[unit]
    serves = (wanted == 0) | (devices.directions[device] & wanted != 0)
    range_m, _ = scene.gear.range(device, units.density[unit], np.zeros(len(unit), np.bool_), scene.parameters)
    _, seen, _ = scene.looked_at(units.point[unit], device)
    too_far = distance > range_m
    hidden = np.isinf(seen) | (~too_far & (seen > range_m))
    return devices.state_bits[device] | bit(~serves, WRONG_DIRECTION) | bit(too_far, TOO_FAR) | bit(hidden, OUT_OF_VIEW)


def _place_in_stack(xy: Floats, rank: Ints) -> Ints:
    """Return for each device how many in exactly its place come before it."""
    order = np.lexsort((rank, xy[:, 1], xy[:, 0]))
    new = np.append(True, (np.diff(xy[order], axis=0) != 0).any(axis=1))
    first = np.flatnonzero(new)[np.cumsum(new) - 1]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - first
    return place
