"""Devices as far as looking is concerned.

Promises metres of one frame, and a number wherever the parameters say what to assume: what a
device left open is filled in here and nowhere else. A checkpoint has no optics, whatever it states.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.frame import Frame
from app.geo.tables import DeviceTable, Parameters
from app.geo.units import Units
from app.geo.view import range_for_density

ALWAYS_WITHIN_M: Final = 1.0
"""Nearer than this every device reaches: a bearing over such a distance means nothing."""


@dataclass(frozen=True, eq=False)
class Gear:
    """Devices as far as looking is concerned: in metres, with what was left open filled in."""

    xy: Floats
    azimuth_deg: Floats
    """NaN: looks all round."""
    opening_deg: Floats
    range_m: Floats
    near_m: Floats
    pixels_at_1m: Floats
    """Pixel density at one metre, NaN where pixels or opening are unknown."""

    @classmethod
    def of(cls, devices: DeviceTable, parameters: Parameters, frame: Frame) -> "Gear":
        """Return what all devices look with, in the metres of the frame."""
        blank = np.where(devices.is_checkpoint, np.nan, 0.0)
        azimuth = devices.azimuth_deg % 360.0 + blank
        opening = devices.opening_deg + blank
        opening = np.where(
            np.isnan(opening) & ~np.isnan(azimuth), parameters.assumed_opening_deg, opening
        )
        return cls(
            frame.to_metres(devices.lonlat),
            np.where(opening == 360.0, np.nan, azimuth),
            opening,
            devices.range_m + blank,
            np.nan_to_num(devices.near_m + blank, nan=0.0),
            range_for_density(devices.h_pixels + blank, opening, 1.0),
        )

    def farthest_m(self, units: Units, parameters: Parameters) -> Floats:
        """Return the distance at which each device may still be a candidate, shape (m,)."""
        least = np.nanmin(units.density, initial=np.inf)
        derived = np.nan_to_num(self.pixels_at_1m / least, nan=0.0)
        stated = np.where(np.isnan(self.range_m), derived, self.range_m)
        return np.maximum(stated, max(parameters.search_m, parameters.assumed_range_m, 1.0))

    def range(
        self, device: Ints, density: Floats, assigned: Bools, parameters: Parameters
    ) -> tuple[Floats, Bytes]:
        """Return range in metres and its basis (place in `RANGE_BASES`) of device rows."""
        stated = self.range_m[device]
        derived = self.pixels_at_1m[device] / density
        otherwise = np.where(assigned, parameters.assigned_range_m, parameters.assumed_range_m)
        unstated, underived = np.isnan(stated), np.isnan(derived)
        basis = np.where(underived, np.where(assigned, 2, 3), 1) * unstated
        return (
            np.where(unstated, np.where(underived, otherwise, derived), stated),
            basis.astype(np.uint8),
        )
