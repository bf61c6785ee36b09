"""Conversion between the plan of the demo city, in metres from its centre, and longitude and latitude.

The metres are those of EPSG:4547 (CGCS2000, 3-degree zone, 114 E), counted from the centre of the city.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.geo.projection.local_projection import get_projection

Floats = NDArray[np.float64]

EPSG: Final = 4547
CENTRE: Final = (113.2418, 35.2159)
"""Longitude and latitude of the centre, in Jiaozuo."""
_DECIMALS: Final = 7
"""About a centimetre."""


@cache
def compute_centre() -> tuple[float, float]:
    """Return the centre in metres of the metric CRS."""
    x, y = get_projection(EPSG).to_metres([CENTRE])[0].round(3).tolist()
    return x, y


@cache
def compute_convergence_deg() -> float:
    """Return the convergence of the metric CRS at the centre, in degrees."""
    return float(get_projection(EPSG).convergence_deg([CENTRE])[0])


def to_lonlat(xy: Floats) -> Floats:
    """Return longitudes, latitudes (n, 2) of points (n, 2) in metres from the centre."""
    return np.round(get_projection(EPSG).to_lonlat(np.asarray(xy) + np.asarray(compute_centre())), _DECIMALS)


def compute_azimuth(direction: Floats) -> float:
    """Return the azimuth, degrees clockwise from true north, of a vector (east, north) in metres.

    The convergence at the centre is used for the whole city; the error is less than 0.2 degrees.
    """
    grid = np.degrees(np.arctan2(direction[0], direction[1]))
    return normalize_azimuth(float(grid) + compute_convergence_deg())


def normalize_azimuth(azimuth: float) -> float:
    """Return an azimuth in [0, 360) to a tenth of a degree."""
    return round(azimuth % 360, 1) % 360
