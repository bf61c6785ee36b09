"""Whom to name where nobody near could be made to count.

Promises the nearest device with the function that is no candidate, however far it is and however
many stand in one place, and what it lacks besides.
"""

import numpy as np
from scipy.spatial import cKDTree

from app.geo.arrays import Bytes, Floats, Ints
from app.geo.candidates import Candidates
from app.geo.reach import flat
from app.geo.scene import Scene
from app.geo.tables import OUT_OF_VIEW, TOO_FAR, WRONG_DIRECTION, bit


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
    range_m, _ = scene.gear.range(
        device, units.density[unit], np.zeros(len(unit), np.bool_), scene.parameters
    )
    _, seen, _ = scene.looked_at(units.point[unit], device)
    too_far = distance > range_m
    hidden = np.isinf(seen) | (~too_far & (seen > range_m))
    return (
        devices.state_bits[device]
        | bit(~serves, WRONG_DIRECTION)
        | bit(too_far, TOO_FAR)
        | bit(hidden, OUT_OF_VIEW)
    )


def _place_in_stack(xy: Floats, rank: Ints) -> Ints:
    """Return for each device how many in exactly its place come before it."""
    order = np.lexsort((rank, xy[:, 1], xy[:, 0]))
    new = np.append(True, (np.diff(xy[order], axis=0) != 0).any(axis=1))
    first = np.flatnonzero(new)[np.cumsum(new) - 1]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - first
    return place
