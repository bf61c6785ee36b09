"""The door between the demo city's plan, in metres from its centre, and longitude, latitude.

Metres are those of EPSG:4547 (CGCS2000, 3-degree zone, 114 E) counted from the city's centre.
"""

from functools import cache
from typing import Final

import numpy as np
import pyproj
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EPSG: Final = 4547
PLACE: Final = (113.2418, 35.2159)
"""Longitude and latitude of the centre: the place of Jiaozuo."""
_DECIMALS: Final = 7
"""About a centimetre."""


@cache
def _transformer() -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True)


@cache
def _centre() -> tuple[float, float]:
    x, y = _transformer().transform(*PLACE, direction="INVERSE")
    return round(x, 3), round(y, 3)


def to_lonlat(xy: Floats) -> Floats:
    """Return longitudes, latitudes (n, 2) of points (n, 2) in metres from the centre."""
    metres = np.asarray(xy, dtype=float) + np.asarray(_centre())
    lon, lat = _transformer().transform(metres[:, 0], metres[:, 1])
    return np.round(np.column_stack([lon, lat]), _DECIMALS)
