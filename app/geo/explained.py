"""Candidates in words and numbers that a person can check.

Promises what was measured, not rounded: distance, bearing, angle off the axis, range and where it
comes from, pixel density; None where a number would mean nothing.
"""

import numpy as np

from app.geo.arrays import Bools
from app.geo.candidates import Candidates
from app.geo.gear import ALWAYS_WITHIN_M
from app.geo.reach import off_axis_deg
from app.geo.scene import Scene
from app.geo.tables import OUT_OF_VIEW, RANGE_BASES, Candidate, reasons_of


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
            _hider(scene, int(point[place]), row)
            if rows.reasons[place] >> OUT_OF_VIEW & 1
            else None,
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
