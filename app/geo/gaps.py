"""What is left of a zone: the connected pieces that covered ground does not take away.

Promises the pieces of the exact difference, fast where the ground lies in tens of thousands of
patches: a patch inside the zone is a hole cut out as it is, and only those at the border of the
zone are overlaid with it.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from app.geo.arrays import Bools, Ints
from app.geo.overlay import GRID_M, areas


def uncovered(zone: Polygon | MultiPolygon, covered: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the pieces of a zone that covered ground leaves, as Polygons.

    Parameters
    ----------
    zone : Polygon or MultiPolygon
    covered : ndarray of Polygon or MultiPolygon, shape (n,)
        Within the zone; may touch or overlap each other.

    Examples
    --------
    >>> zone, pond = shapely.box(0, 0, 9, 9), shapely.box(3, 3, 6, 6)
    >>> [piece.area for piece in uncovered(zone, np.array([pond, shapely.box(0, 0, 9, 1)]))]
    [63.0]
    """
    patches = np.asarray(shapely.get_parts(shapely.disjoint_subset_union_all(covered)))
    shapely.prepare(zone)
    inside = shapely.contains_properly(zone, patches)
    edge = shapely.union_all(patches[~inside])
    left = areas(np.array([shapely.difference(zone, edge)], dtype=object))
    # What a patch encloses is not covered, unless another patch lies in it.
    rings, of = shapely.get_rings(patches[inside], return_index=True)
    first = np.append(True, of[1:] != of[:-1])[: len(of)]
    shells, courts = rings[first], np.asarray(shapely.polygons(rings[~first]))
    around = np.concatenate([shapely.get_parts(left), courts])
    found = _pierced(
        around, shells, _innermost(around, patches[inside]), _touching(patches)[inside]
    )
    lost = zone.area - shapely.area(patches).sum() - shapely.area(found).sum()
    if abs(lost) <= 1e-6 * zone.area:
        return found
    # Floating-point overlay has failed where lines all but coincide: on a grid it cannot.
    ground = shapely.union_all(patches, grid_size=GRID_M)
    whole = np.array([shapely.difference(zone, ground, grid_size=GRID_M)], dtype=object)
    return np.asarray(shapely.get_parts(areas(whole)))


def _innermost(around: NDArray[np.object_], patches: NDArray[np.object_]) -> Ints:
    """Return which piece each patch lies in: the smallest of those around it.

    Every patch lies in one, so the largest, which is slow to ask, has those that lie in no other.
    """
    size = shapely.area(around)
    largest = int(np.argmax(size)) if len(size) else 0
    others = np.flatnonzero(np.arange(len(around)) != largest)
    shapely.prepare(around[others])
    points = shapely.point_on_surface(patches)
    patch, piece = shapely.STRtree(around[others]).query(points, predicate="within")
    order = np.lexsort((size[others[piece]], patch))
    first = np.flatnonzero(np.diff(patch[order], prepend=-1))
    found = np.full(len(patches), largest, dtype=np.int64)
    found[patch[order[first]]] = others[piece[order[first]]]
    return found


def _touching(patches: NDArray[np.object_]) -> Bools:
    """Return which patches touch another in a point; none overlap."""
    one, other = shapely.STRtree(patches).query(patches, predicate="intersects")
    flags = np.zeros(len(patches), np.bool_)
    flags[one[one != other]] = True
    return flags


def _pierced(
    pieces: NDArray[np.object_], holes: NDArray[np.object_], piece: Ints, touching: Bools
) -> NDArray[np.object_]:
    """Return pieces with holes cut out, none of which reaches over the border of its piece.

    Holes that touch each other, or the border, may cut a piece in two.
    """
    found = pieces.copy()
    order = np.argsort(piece, kind="stable")
    rows, starts = np.unique(piece[order], return_index=True)
    for row, cut in zip(rows, np.split(holes[order], starts[1:]), strict=False):
        own = shapely.get_rings(pieces[row])
        found[row] = shapely.polygons(own[0], np.concatenate([own[1:], cut]))
    doubtful = np.unique(piece[touching])
    broken = doubtful[~shapely.is_valid(found[doubtful])]
    found[broken] = areas(np.asarray(shapely.make_valid(found[broken])))
    return np.asarray(shapely.get_parts(found))
