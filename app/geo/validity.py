"""Whether a boundary can be used: a valid polygon, and rings that lie one inside the other.

Shared borders are legal: real rings share tens of kilometres.
"""

import re
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.frame import Frame

_REASON = re.compile(r"^(?P<reason>[^\[]+)(?:\[(?P<x>[-0-9.e+]+) (?P<y>[-0-9.e+]+)\])?")


def check_polygonal(geometry: BaseGeometry) -> MultiPolygon:
    """Return a valid lon/lat polygon or multipolygon as a MultiPolygon.

    Raises
    ------
    InvalidShape
        with the reason and the place: another type, empty, three-dimensional, not finite, out of the
        range of longitude and latitude, or not simple (a bowtie, a hole outside its shell).

    >>> check_polygonal(Polygon([(0, 0), (1, 0), (1, 1)])).geom_type
    'MultiPolygon'
    """
    if not isinstance(geometry, Polygon | MultiPolygon):
        raise InvalidShape(f"a Polygon or MultiPolygon is needed, not a {geometry.geom_type}")
    if geometry.is_empty:
        raise InvalidShape("the geometry is empty")
    if geometry.has_z:
        raise InvalidShape("coordinates have two dimensions here")
    coordinates = shapely.get_coordinates(geometry)
    if not np.isfinite(coordinates).all():
        raise InvalidShape("coordinates must be finite")
    outside = ~(np.abs(coordinates) <= (180.0, 90.0)).all(axis=1)
    if outside.any():
        lon, lat = coordinates[int(np.argmax(outside))]
        raise InvalidShape("not a longitude and a latitude in degrees", (float(lon), float(lat)))
    if not geometry.is_valid:
        raise _invalid(shapely.is_valid_reason(geometry))
    return geometry if isinstance(geometry, MultiPolygon) else MultiPolygon([geometry])


def _invalid(explained: str) -> InvalidShape:
    found = _REASON.match(explained)
    if found is None or found["x"] is None:
        return InvalidShape(explained)
    return InvalidShape(found["reason"].strip(), (float(found["x"]), float(found["y"])))


@dataclass(frozen=True)
class NestingFault:
    """How far an inner ring sticks out of an outer one, and where (lon, lat)."""

    excess_m: float
    where: tuple[float, float]


def check_nesting(
    outer: MultiPolygon, inner: MultiPolygon, frame: Frame, tolerance_m: float
) -> NestingFault | None:
    """Return where ``inner`` leaves ``outer`` by more than a tolerance in metres, None when nowhere.

    Cheap where borders are shared: only the vertices of what sticks out are measured. The farthest
    point of a polygon from another lies at one of its vertices up to the bend of the other's border,
    so segments are divided to a metre before measuring.

    >>> from shapely import box
    >>> frame = Frame(4547)
    >>> check_nesting(MultiPolygon([box(113, 35, 114, 36)]), MultiPolygon([box(113, 35, 113.5, 36)]),
    ...               frame, 0.0) is None
    True
    """
    if shapely.covers(outer, inner):
        return None
    sticking_out = shapely.difference(inner, outer)
    if sticking_out.is_empty:
        return None
    vertices = frame.to_metres(shapely.get_coordinates(sticking_out))
    metric = frame.project(outer)
    shapely.prepare(metric)
    distances = shapely.distance(metric, shapely.points(vertices))
    worst = int(np.argmax(distances))
    if distances[worst] <= tolerance_m:
        return None
    lon, lat = shapely.get_coordinates(sticking_out)[worst]
    return NestingFault(float(distances[worst]), (float(lon), float(lat)))
