"""Validation of boundaries: valid polygons, and rings nested one inside the next.

Every error has a reason and a location. Rings may share boundaries, and real ones share tens of kilometres; only
an inner ring that leaves the outer one by more than a tolerance is an error.
"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.arrays import Floats, Ints, Shapes, validate_locations
from app.geo.projection.local_projection import LocalProjection
from app.geo.rings.outline import STEP_DEG, Outline
from app.messages import Message

NOISE_M: Final = 0.001
"""Less than this may be rounding and is not an error."""
_PRECISION: Final = 0.02
_PRECISION_M: Final = 0.1
_MAX_CELLS: Final = 5_000
_REASON: Final = re.compile(r"(?P<reason>[^\[]+)\[(?P<x>\S+) (?P<y>\S+)\]")


def check_polygonal(geometry: BaseGeometry) -> MultiPolygon:
    """Return a polygon or multipolygon as a valid MultiPolygon.

    Parameters
    ----------
    geometry : shapely geometry
        In degrees, longitude first.

    Returns
    -------
    MultiPolygon
        The same vertices in the same order.

    Raises
    ------
    InvalidShape
        Another type; an empty geometry or part; a third or measured coordinate; a coordinate that
        is not finite or not a longitude and latitude; or not valid in the sense of OGC Simple
        Features, with the reason of GEOS (self-intersection, hole outside its shell, ...).

    Examples
    --------
    >>> check_polygonal(shapely.box(113, 35, 114, 36)).geom_type
    'MultiPolygon'
    >>> check_polygonal(Polygon([(113, 35), (114, 36), (114, 35), (113, 36)]))
    Traceback (most recent call last):
        ...
    app.errors.InvalidShape: The geometry is not valid: Self-intersection at or near [113.500000, \
35.500000].
    """
    if not isinstance(geometry, Polygon | MultiPolygon):
        raise InvalidShape(Message("{type} is not a Polygon or MultiPolygon", type=geometry.geom_type))
    polygons = shapely.get_parts(geometry)
    if geometry.is_empty or shapely.is_empty(polygons).any():
        raise InvalidShape(Message("Empty geometry"))
    if geometry.has_z or geometry.has_m:
        raise InvalidShape(Message("More than two dimensions"))
    validate_locations(shapely.get_coordinates(geometry))
    if not shapely.is_valid(geometry):
        raise build_validity_error(shapely.is_valid_reason(geometry))
    return MultiPolygon(polygons.tolist())


def build_validity_error(reason: str) -> InvalidShape:
    """Return the error for a reason of GEOS, with the location if GEOS reports one."""
    match = _REASON.match(reason)
    if match is None:
        return InvalidShape(reason)
    return InvalidShape(match["reason"].strip(), (float(match["x"]), float(match["y"])))


@dataclass(frozen=True)
class NestingError:
    """The point at which an inner ring is farthest outside an outer one."""

    excess_m: float
    """Distance of this point from the outer ring; below the true maximum by at most 2 % or a tenth of
    a metre, unless thousands of points are equally far."""
    location: tuple[float, float]
    """Longitude and latitude of the point."""


def check_nesting(
    outer: Polygon | MultiPolygon,
    inner: Polygon | MultiPolygon,
    projection: LocalProjection,
    tolerance_m: float,
) -> NestingError | None:
    """Return where an inner ring leaves an outer one by more than a tolerance; None if it does not.

    Parameters
    ----------
    outer, inner : Polygon or MultiPolygon
        Valid, in lon/lat. Shared boundaries are not an error; a hole of the outer ring under the
        inner ring is one if a circle with the tolerance as radius fits into it.
    projection : LocalProjection
        Projection in which the excess is measured.
    tolerance_m : float
        At least 0; less than a millimetre counts as a millimetre.

    Returns
    -------
    NestingError or None

    Raises
    ------
    InvalidShape
        A vertex is outside the area of the projection.
    ValueError
        A negative tolerance.

    Notes
    -----
    The excess is the difference of the two polygons. Its point farthest from the outer ring may be
    anywhere in it, so the search divides cells (as Mapbox's polylabel does): no point of a cell is
    farther out than its middle by more than half its diagonal, and cells that cannot exceed the
    tolerance and the best point so far by a tenth of a metre are dropped. So an excess that is less
    than this above the tolerance, and not at a vertex, may be missed.

    Examples
    --------
    >>> city, core = shapely.box(113, 35, 114, 36), shapely.box(113, 35, 113.5, 36.001)
    >>> error = check_nesting(city, core, LocalProjection(4547), tolerance_m=50)
    >>> round(error.excess_m), round(error.location[1], 4)
    (111, 36.001)
    >>> check_nesting(city, core, LocalProjection(4547), tolerance_m=150) is None
    True
    """
    if not tolerance_m >= 0:
        raise ValueError("tolerance_m must be 0 or more")
    pieces = [
        piece
        for piece in shapely.get_parts(shapely.difference(inner, outer))
        if isinstance(piece, Polygon) and not piece.is_empty
    ]
    if not pieces:
        return None
    divided = shapely.segmentize(np.array(pieces, dtype=object), STEP_DEG)
    metric = np.asarray(shapely.transform(divided, projection.to_metres), dtype=object)
    outline = Outline(outer, projection)
    excess, xy = find_farthest_point(metric, outline, max(tolerance_m, NOISE_M))
    if excess <= max(tolerance_m, NOISE_M):
        return None
    lon, lat = projection.to_lonlat(xy[np.newaxis])[0]
    return NestingError(excess, (float(lon), float(lat)))


def find_farthest_point(pieces: Shapes, outline: Outline, least_m: float) -> tuple[float, Floats]:
    """Return distance and position of the point of polygons that is farthest from the outline."""
    borders = shapely.boundary(pieces)
    shapely.prepare(pieces)
    shapely.prepare(borders)
    vertices = shapely.get_coordinates(pieces)
    away = outline.distance(vertices)
    best, position = float(away.max()), vertices[int(np.argmax(away))]
    middles, halves, of = build_start_cells(pieces)
    while len(of):
        reach = halves * np.sqrt(2.0)
        bound = outline.distance(middles) + reach
        open_cells = np.flatnonzero(bound > max(best, least_m) + max(best * _PRECISION, _PRECISION_M))
        if len(open_cells) > _MAX_CELLS:
            open_cells = open_cells[np.argsort(-bound[open_cells], kind="stable")[:_MAX_CELLS]]
        middles, halves, of, reach = middles[open_cells], halves[open_cells], of[open_cells], reach[open_cells]
        points = shapely.points(middles)
        edge = shapely.shortest_line(borders[of], points)
        inside = shapely.intersects(pieces[of], points)
        best_distance = inside | (shapely.length(edge) <= reach)
        at_edge = shapely.get_coordinates(shapely.get_point(edge, 0))
        cell_points = np.where(inside[:, np.newaxis], middles, at_edge)[best_distance]
        if len(cell_points):
            away = outline.distance(cell_points)
            if away.max() > best:
                best, position = float(away.max()), cell_points[int(np.argmax(away))]
        middles, halves, of = quarter_cells(middles[best_distance], halves[best_distance], of[best_distance])
    return best, position


def build_start_cells(pieces: Shapes) -> tuple[Floats, Floats, Ints]:
    """Return one square around each polygon: its middle, half its side, and the row of the polygon."""
    west, south, east, north = shapely.bounds(pieces).T
    middles = np.column_stack([(west + east) / 2, (south + north) / 2])
    return middles, np.maximum(east - west, north - south) / 2, np.arange(len(pieces))


def quarter_cells(middles: Floats, halves: Floats, of: Ints) -> tuple[Floats, Floats, Ints]:
    """Return four cells for each cell."""
    quarter = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])
    moved = middles[:, np.newaxis] + quarter * halves[:, np.newaxis, np.newaxis]
    return moved.reshape(-1, 2), np.repeat(halves / 2, 4), np.repeat(of, 4)
