"""Coordinate reference systems of the GIS interface and their axis order.

Coordinates in requests and responses follow the axis order of the authority: latitude or northing first
where EPSG says so, longitude first in CRS84. Inside the service longitude is always first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import shapely
from numpy.typing import ArrayLike
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.arrays import Floats
from app.messages import Message

_EPSG: Final = "http://www.opengis.net/def/crs/EPSG/0/"
_FIRST_ZONE, _LAST_ZONE = 4534, 4554
"""CGCS2000 three-degree Gauss-Kruger zones, central meridians 75 to 135 degrees east."""


@dataclass(frozen=True)
class Crs:
    """One coordinate reference system."""

    uri: str
    srid: int
    """SRID of the system in PostGIS."""
    swapped: bool
    """Whether latitude or northing is the first axis in requests and responses."""
    metric: bool

    @property
    def decimals(self) -> int:
        """Decimals that keep a location to a tenth of a millimetre."""
        return 4 if self.metric else 9


def build_crs(srid: int) -> Crs:
    """Return the system with this EPSG number."""
    system = CRS.from_epsg(srid)
    preferred = system.axis_info[0].direction
    return Crs(f"{_EPSG}{srid}", srid, preferred == "north", system.is_projected)


CRS84: Final = Crs("http://www.opengis.net/def/crs/OGC/1.3/CRS84", 4326, False, False)
"""WGS 84, longitude first: the system of the database, and the default."""

SYSTEMS: Final = (
    CRS84,
    *(build_crs(srid) for srid in (4326, 4490, 3857)),
    *(build_crs(srid) for srid in range(_FIRST_ZONE, _LAST_ZONE + 1)),
)
"""All systems offered: WGS 84, CGCS2000, web Mercator, and the national zones in metres."""

_BY_NAME: Final = {
    **{system.uri: system for system in SYSTEMS},
    **{system.uri.replace("http:", "https:", 1): system for system in SYSTEMS},
    **{f"EPSG:{system.srid}": system for system in SYSTEMS[1:]},
    **{f"urn:ogc:def:crs:EPSG::{system.srid}": system for system in SYSTEMS[1:]},
    "OGC:CRS84": CRS84,
    "CRS84": CRS84,
    "urn:ogc:def:crs:OGC:1.3:CRS84": CRS84,
}


def find_crs(name: str) -> Crs | None:
    """Return the system of a URI, a URN or a short name; None if it is not offered.

    Parameters
    ----------
    name : str
        As in ``Content-Crs`` (``<http://...>``), as a safe CURIE (``[EPSG:4547]``), or bare.

    Examples
    --------
    >>> find_crs("<http://www.opengis.net/def/crs/EPSG/0/4547>").swapped
    True
    >>> find_crs("EPSG:3857").swapped
    False
    >>> find_crs("EPSG:27700") is None
    True
    """
    text = name.strip()
    if text[:1] + text[-1:] in ("<>", "[]"):
        text = text[1:-1]
    return _BY_NAME.get(text)


@lru_cache(maxsize=64)
def _load_transformer(srid: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{srid}", "EPSG:4326", always_xy=True)


def convert_to_lonlat(xy: ArrayLike, crs: Crs) -> Floats:
    """Return positions in longitude and latitude.

    Parameters
    ----------
    xy : array_like, shape (n, 2)
        Coordinates in the order of the system's axes.
    crs : Crs
        The system they are in.

    Returns
    -------
    ndarray, shape (n, 2)
        Degrees, longitude first.

    Raises
    ------
    InvalidShape
        A position is outside the area of the projection.

    Examples
    --------
    >>> convert_to_lonlat([(35.2, 113.2)], find_crs("EPSG:4490"))
    array([[113.2,  35.2]])
    """
    array = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    east_first = array[:, ::-1] if crs.swapped else array
    if crs.srid == CRS84.srid or not len(array):
        return np.ascontiguousarray(east_first)
    degrees = _load_transformer(crs.srid).transform(east_first[:, 0], east_first[:, 1])
    converted = np.column_stack(degrees)
    if not np.isfinite(converted).all():
        raise InvalidShape(Message("a coordinate is outside the area of {crs}", crs=crs.uri))
    return converted


def convert_from_lonlat(positions: ArrayLike, crs: Crs) -> Floats:
    """Return positions in a system, always x before y, as in files.

    Parameters
    ----------
    positions : array_like, shape (n, 2)
        Degrees, longitude first.
    crs : Crs
        The target system.

    Returns
    -------
    ndarray, shape (n, 2)

    Examples
    --------
    >>> convert_from_lonlat([(113.2418, 35.2159)], find_crs("EPSG:4547")).round(1)
    array([[ 430966.9, 3898808.8]])
    """
    array = np.asarray(positions, dtype=np.float64).reshape(-1, 2)
    if crs.srid == CRS84.srid or not len(array):
        return array
    converted = _load_transformer(crs.srid).transform(array[:, 0], array[:, 1], direction="INVERSE")
    return np.column_stack(converted)


def geometry_to_lonlat(geometry: BaseGeometry, crs: Crs) -> BaseGeometry:
    """Return a geometry in longitude and latitude.

    Parameters
    ----------
    geometry : shapely geometry
        Coordinates in the order of the system's axes. It may be empty or not valid.
    crs : Crs
        The system they are in.

    Raises
    ------
    InvalidShape
        A position is outside the area of the projection.

    Examples
    --------
    >>> from shapely import Point
    >>> point = geometry_to_lonlat(Point(3898808.80, 430966.92), find_crs("EPSG:4547"))
    >>> [round(number, 6) for number in point.coords[0]]
    [113.2418, 35.2159]
    """
    if crs == CRS84:
        return geometry

    return shapely.transform(geometry, lambda xy: convert_to_lonlat(xy, crs))


def parse_bbox(sides: Iterable[float], crs: Crs) -> BaseGeometry:
    """Return the area of a bounding box in longitude and latitude.

    Parameters
    ----------
    sides : iterable of four floats
        Lower first axis, lower second axis, upper first axis, upper second axis, in the order of the
        system's axes. In degrees, a box whose western side is greater than its eastern side crosses the antimeridian.
    crs : Crs
        The system they are in.

    Returns
    -------
    shapely geometry
        A polygon; two polygons across the antimeridian; a line or a point for a box without area.
        The sides of a projected box are divided first, because they are curves in degrees.

    Raises
    ------
    InvalidShape
        As for `geometry_to_lonlat`.
    """
    low_1, low_2, high_1, high_2 = sides
    west, south, east, north = low_1, low_2, high_1, high_2
    if crs.metric:
        box = build_box(west, south, east, north)
        dense = shapely.segmentize(box, max(east - west, north - south, 1.0) / 16)
        return geometry_to_lonlat(dense, crs)
    if crs.swapped:
        west, south, east, north = low_2, low_1, high_2, high_1
    if west <= east:
        return build_box(west, south, east, north)
    return shapely.union_all([build_box(west, south, 180.0, north), build_box(-180.0, south, east, north)])


def build_box(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Return the box of two corners, which may be a line or a point."""
    if (west, south) == (east, north):
        return shapely.Point(west, south)
    if west == east or south == north:
        return shapely.LineString([(west, south), (east, north)])
    return shapely.box(west, south, east, north)
