"""Chinese map datums: GCJ-02 and BD-09 to and from WGS 84.

Promises an inverse that returns within a micrometre, and says where no offset applies.
Refuses unknown datums; guesses nothing about which datum a file has.
"""

from typing import Final, TypeVar

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.arrays import Bools, Floats, positions

_G = TypeVar("_G", bound=BaseGeometry)

DATUMS: Final = ("wgs84", "cgcs2000", "gcj02", "bd09")
"""``cgcs2000`` is read as WGS 84: PROJ offers only a null operation between the two."""

# Constants of the published GCJ-02 formula (eviltransform, github.com/googollee/eviltransform);
# the semi-major axis and squared eccentricity are those of the Krasovsky 1940 ellipsoid.
_A: Final = 6378245.0
_EE: Final = 0.00669342162296594323
# Rectangle of WGS 84 positions that are offset at all, from the same source: west, east, south,
# north.
OFFSET_BOX: Final = (72.004, 137.8347, 0.8293, 55.8271)
# BD-09 rotates and scales GCJ-02 a little (same source).
_X_PI: Final = np.pi * 3000.0 / 180.0
# No offset exceeds this within the rectangle, so only positions this near to it need solving.
_REACH_DEG: Final = 0.05
_STEPS: Final = 40
_ENOUGH_DEG: Final = 1e-13
_EDGE_DEG: Final = 1e-11


def from_wgs84(lonlat: ArrayLike, datum: str) -> Floats:
    """Return WGS 84 positions as they read in another datum.

    Parameters
    ----------
    lonlat : array_like, shape (n, 2)
        WGS 84 degrees, longitude first.
    datum : str
        One of `DATUMS`.

    Returns
    -------
    ndarray, shape (n, 2)
        A new array. Positions outside `OFFSET_BOX` are returned unchanged, for BD-09 too.

    Raises
    ------
    InvalidShape
        Unknown datum, or a position that is no place on Earth.

    Examples
    --------
    >>> from_wgs84([(116.404, 39.915)], "gcj02").round(8)
    array([[116.4102445 ,  39.91640428]])
    """
    array = positions(lonlat)
    out = array.copy()
    if _offset(datum):
        inside = _in_box(array)
        out[inside] = _forward(array[inside], datum)
    return out


def to_wgs84(lonlat: ArrayLike, datum: str) -> Floats:
    """Return positions of another datum in WGS 84.

    Parameters
    ----------
    lonlat : array_like, shape (n, 2)
        Degrees in `datum`, longitude first.
    datum : str
        One of `DATUMS`.

    Returns
    -------
    ndarray, shape (n, 2)
        A new array. Whether a position is offset is decided by where it *comes from*: the answer
        is the WGS 84 position within `OFFSET_BOX` that reads as the input, and the input itself
        where there is none. So ``from_wgs84(to_wgs84(p)) == p`` for every ``p`` that can occur,
        and the other way round for every position inside the rectangle. (Outside it, within
        about a kilometre of its edge, at sea or abroad, one reading has two origins; the one
        inside is returned.)

    Raises
    ------
    InvalidShape
        Unknown datum, or a position that is no place on Earth.

    Notes
    -----
    The offsets change by less than 2 % of the way moved, so subtracting the offset found at the
    last estimate converges by two decimals a step or better; steps stop below 1e-13 degrees.

    Examples
    --------
    >>> to_wgs84(from_wgs84([(113.24, 35.21)], "bd09"), "bd09").round(9)
    array([[113.24,  35.21]])
    """
    array = positions(lonlat)
    out = array.copy()
    if not _offset(datum):
        return out
    near = _in_box(array, _REACH_DEG)
    target = array[near]
    guess = target.copy()
    for _ in range(_STEPS):
        error = _forward(guess, datum) - target
        guess -= error
        if not error.size or np.abs(error).max() < _ENOUGH_DEG:
            break
    # A position on the very edge may be found a rounding error beside it.
    origin = _in_box(guess, _EDGE_DEG)
    west, east, south, north = OFFSET_BOX
    target = target.copy()
    target[origin] = np.clip(guess[origin], (west, south), (east, north))
    out[near] = target
    return out


def geometry_to_wgs84(geometry: _G, datum: str) -> _G:
    """Return a geometry with every vertex moved to WGS 84.

    Parameters
    ----------
    geometry : shapely geometry
        Degrees in `datum`, longitude first.
    datum : str
        One of `DATUMS`.

    Returns
    -------
    shapely geometry
        Of the same type. Edges stay straight between the moved vertices.

    Raises
    ------
    InvalidShape
        As for `to_wgs84`.

    Examples
    --------
    >>> geometry_to_wgs84(shapely.Point(113.2, 35.2), "cgcs2000")
    <POINT (113.2 35.2)>
    """
    _offset(datum)
    return shapely.transform(geometry, lambda xy: to_wgs84(xy, datum))


def _offset(datum: str) -> bool:
    if datum not in DATUMS:
        raise InvalidShape(f"Unknown datum {datum!r}; known are {', '.join(DATUMS)}")
    return datum in ("gcj02", "bd09")


def _in_box(lonlat: Floats, margin: float = 0.0) -> Bools:
    west, east, south, north = OFFSET_BOX
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    return (
        (lon >= west - margin)
        & (lon <= east + margin)
        & (lat >= south - margin)
        & (lat <= north + margin)
    )


def _forward(lonlat: Floats, datum: str) -> Floats:
    gcj = lonlat + _gcj_offset(lonlat)
    return gcj if datum == "gcj02" else _bd_from_gcj(gcj)


def _gcj_offset(lonlat: Floats) -> Floats:
    """Return the GCJ-02 offset in degrees at WGS 84 positions (formula of eviltransform)."""
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    x, y = lon - 105.0, lat - 35.0
    root = 0.1 * np.sqrt(np.abs(x))
    shared = (20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 2.0 * root + shared
    north += (20.0 * np.sin(y * np.pi) + 40.0 * np.sin(y / 3.0 * np.pi)) * 2.0 / 3.0
    north += (160.0 * np.sin(y / 12.0 * np.pi) + 320.0 * np.sin(y * np.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + root + shared
    east += (20.0 * np.sin(x * np.pi) + 40.0 * np.sin(x / 3.0 * np.pi)) * 2.0 / 3.0
    east += (150.0 * np.sin(x / 12.0 * np.pi) + 300.0 * np.sin(x / 30.0 * np.pi)) * 2.0 / 3.0
    latitude = np.radians(lat)
    magic = 1.0 - _EE * np.sin(latitude) ** 2
    meridian = _A * (1.0 - _EE) / (magic * np.sqrt(magic))
    parallel = _A / np.sqrt(magic) * np.cos(latitude)
    return np.degrees(np.stack([east / parallel, north / meridian], axis=1))


def _bd_from_gcj(gcj: Floats) -> Floats:
    x, y = gcj[:, 0], gcj[:, 1]
    radius = np.hypot(x, y) + 0.00002 * np.sin(y * _X_PI)
    angle = np.arctan2(y, x) + 0.000003 * np.cos(x * _X_PI)
    return np.stack([radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006], axis=1)
