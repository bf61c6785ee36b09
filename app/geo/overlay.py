"""Small things about polygons that several modules need: areas only, and places near each other."""

from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Floats, Ints

GRID_M: Final = 1e-4
"""Grid on which an overlay is done again when its first result contradicts what went in."""
_MIXED: Final = 7
"""Type id of a geometry collection."""


def areas(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return shapes without the points and lines an overlay may leave beside the areas.

    Parameters
    ----------
    shapes : ndarray of Geometry, shape (n,)

    Returns
    -------
    ndarray of Polygon or MultiPolygon, shape (n,)
        An empty polygon where no area is left.

    Examples
    --------
    >>> areas(np.array([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)])).tolist()
    [<POLYGON EMPTY>, <POLYGON ((1 0, 1 1, 0 1, 0 0, 1 0))>]
    """
    kept = shapes.copy()
    for row in np.flatnonzero(shapely.get_type_id(shapes) == _MIXED):
        parts = shapely.get_parts(shapes[row])
        kept[row] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    kept[shapely.get_dimensions(kept) < 2] = shapely.Polygon()
    return kept


def along_a_curve(xy: Floats) -> Ints:
    """Return numbers that are near each other for places near each other (Morton order).

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        In metres. The number of a place depends on no other place, and repeats every 65 km.

    Examples
    --------
    >>> along_a_curve(np.array([[0.0, 0], [9, 9], [1, 0], [9, 8]])).argsort()
    array([0, 2, 3, 1])
    """
    place = np.floor(xy).astype(np.int64) & 0xFFFF
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        place = (place | (place << shift)) & mask
    return np.asarray(place[:, 0] | (place[:, 1] << 1))


def collected(shapes: NDArray[np.object_], row: Ints, count: int) -> NDArray[np.object_]:
    """Return for each of `count` rows the MultiPolygon of its shapes, none of which overlap.

    Parameters
    ----------
    shapes : ndarray of Polygon or MultiPolygon, shape (k,)
    row : ndarray of int, shape (k,)
    count : int
    """
    parts, of = shapely.get_parts(shapes, return_index=True)
    rows = row[of]
    order = np.argsort(rows, kind="stable")
    found = np.full(count, shapely.Polygon(), dtype=object)
    if len(order):
        some = np.unique(rows)
        place = np.searchsorted(some, rows[order])
        found[some] = shapely.multipolygons(parts[order], indices=place)
    return found
