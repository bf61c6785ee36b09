"""How often ground is covered: areas covered by one, by two, by k shapes, and by one alone.

Promises exact overlay (GEOS), done for many groups of shapes at once and checked against the shapes
themselves; what contradicts them is done again on a grid of a tenth of a millimetre. Two halves of
a group are merged at a time: what is covered t times is what one half covers i times and the other
t - i times, for every i from 0 to t.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon, Polygon

from app.geo.arrays import Bools, Floats, Ints

# Small things about polygons that several modules need: areas only, and places near each other.

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


_SPECK_M2: Final = 1e-6
_NOTHING: Final = shapely.Polygon()


@dataclass(frozen=True, eq=False)
class Layers:
    """Ground covered at least once, twice, ... in clusters of shapes that touch each other."""

    group: Ints
    """Shape (c,): the group each cluster belongs to, ascending."""
    cluster: Ints
    """Shape (n,): the cluster of each shape that came in."""
    at_least: list[NDArray[np.object_]]
    """``at_least[t - 1]``, shape (c,): what t or more shapes of the cluster cover."""
    alone_m2: Floats
    """Shape (n,): how much of each shape no other one covers."""


def layers(shape: NDArray[np.object_], group: Ints, most: int) -> Layers:
    """Return what is covered once, twice, ... and `most` times.

    Parameters
    ----------
    shape : ndarray of Polygon or MultiPolygon, shape (n,)
        Valid, none empty.
    group : ndarray of int, shape (n,)
        Shapes of different groups are not looked at together.
    most : int
        At least 2.
    """
    n = len(shape)
    one, other = shapely.STRtree(shape).query(shape, predicate="intersects")
    near = (group[one] == group[other]) & (one < other)
    one, other = one[near], other[near]
    links = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(n, n))
    _, label = connected_components(links, directed=False)
    # Clusters in the order of their groups; within one, neighbours stand side by side.
    corner = shapely.bounds(shape).reshape(-1, 4)[:, :2]
    order = np.lexsort((along_a_curve(corner), label, group))
    first = np.append(True, label[order][1:] != label[order][:-1])[:n]
    cluster = np.empty(n, dtype=np.int64)
    cluster[order] = np.cumsum(first) - 1
    found = _merged(shape[order], cluster[order], most)
    alone = _alone(shape, cluster, found)
    wrong = _doubtful(shape, cluster, found, alone)
    if len(wrong):
        rows = order[np.isin(cluster[order], wrong)]
        again = _merged(shape[rows], cluster[rows], most, GRID_M)
        for level, new in zip(found, again, strict=True):
            level[wrong] = new
        alone[rows] = _alone(shape, cluster, found, rows, GRID_M)[rows]
    return Layers(group[order[first]], cluster, found, np.maximum(alone, 0.0))


def _alone(
    shape: NDArray[np.object_],
    cluster: Ints,
    found: list[NDArray[np.object_]],
    rows: Ints | None = None,
    grid_m: float | None = None,
) -> Floats:
    """Return how much of each shape no other one covers, shape (n,); only `rows` are asked for."""
    asked = np.arange(len(shape)) if rows is None else rows
    alone = np.asarray(shapely.area(shape))
    # Two have in common what is covered twice; of more, each has a part of that.
    size = np.bincount(cluster, minlength=len(found[1]))
    alone -= np.where(size == 2, shapely.area(found[1]), 0.0)[cluster]
    several = np.flatnonzero(size > 2)
    parts, of = shapely.get_parts(found[1][several], return_index=True)
    row, part = shapely.STRtree(parts).query(shape[asked])
    row = asked[row]
    own = cluster[row] == several[of[part]]
    pair = np.sort(row[own] * max(len(parts), 1) + part[own])
    row, part = np.divmod(pair, max(len(parts), 1))
    common = shapely.area(shapely.intersection(shape[row], parts[part], grid_size=grid_m))
    return np.asarray(alone - np.bincount(row, common, minlength=len(shape)))


def _doubtful(shape: NDArray[np.object_], cluster: Ints, found: list[NDArray[np.object_]], alone: Floats) -> Ints:
    """Return the clusters whose levels contradict the shapes.

    GEOS computes in floating point, and where edges of two shapes all but coincide it may, very
    rarely, take the outside of one for its inside. Then a place in the middle of a shape is not
    covered, one that is covered twice lies in one shape only, or areas do not add up.
    """
    size = np.bincount(cluster, minlength=len(found[0]))
    once, twice = (np.asarray(shapely.area(level)) for level in found[:2])
    whole = np.bincount(cluster, shapely.area(shape), minlength=len(size))
    adds = np.abs(np.bincount(cluster, alone, minlength=len(size)) - (once - twice))
    slack = 1e-6 * whole + 1e-6
    wrong = (adds > slack) | (once + twice > whole + slack)
    wrong |= (size == 2) & (np.abs(once + twice - whole) > slack)

    rows = np.flatnonzero(size[cluster] > 1)
    middle = shapely.get_coordinates(shapely.point_on_surface(shape[rows]))
    shapely.prepare(found[0])
    lit = shapely.intersects_xy(found[0][cluster[rows]], middle[:, 0], middle[:, 1])
    wrong[cluster[rows[~lit]]] = True
    parts, of = shapely.get_parts(found[1], return_index=True)
    point, row = shapely.STRtree(shape).query(shapely.point_on_surface(parts), predicate="intersects")
    seen = np.bincount(point[cluster[row] == of[point]], minlength=len(parts))
    wrong[of[(seen < 2) & (shapely.area(parts) > _SPECK_M2)]] = True
    return np.flatnonzero(wrong)


def _merged(
    shape: NDArray[np.object_], cluster: Ints, most: int, grid_m: float | None = None
) -> list[NDArray[np.object_]]:
    """Return what shapes, sorted by cluster, cover once, twice, ... in each cluster."""
    levels = [shape, *(np.full(len(shape), _NOTHING, dtype=object) for _ in range(most - 1))]
    while True:
        start = np.flatnonzero(np.diff(cluster, prepend=-1))
        if len(start) == len(cluster):
            return levels
        place = np.arange(len(cluster)) - np.repeat(start, np.diff(np.append(start, len(cluster))))
        left = np.flatnonzero((place % 2 == 0) & np.append(cluster[1:] == cluster[:-1], False))
        merged = _both([level[left] for level in levels], [level[left + 1] for level in levels], grid_m)
        kept = place % 2 == 0
        for level, new in zip(levels, merged, strict=True):
            level[left] = new
        levels, cluster = [level[kept] for level in levels], cluster[kept]


def _both(
    one: list[NDArray[np.object_]], other: list[NDArray[np.object_]], grid_m: float | None
) -> list[NDArray[np.object_]]:
    """Return the levels of pairs of blocks together."""
    merged = []
    for t in range(1, len(one) + 1):
        found = _union(one[t - 1], other[t - 1], grid_m)
        for i in range(1, t):
            found = _union(found, _common(one[i - 1], other[t - i - 1], grid_m), grid_m)
        merged.append(found)
    return merged


def _union(one: NDArray[np.object_], other: NDArray[np.object_], grid_m: float | None) -> NDArray[np.object_]:
    lacking = shapely.is_empty(one)
    found = np.where(lacking, other, one)
    rows = np.flatnonzero(~lacking & ~shapely.is_empty(other))
    found[rows] = areas(shapely.union(one[rows], other[rows], grid_size=grid_m))
    return found


def _common(one: NDArray[np.object_], other: NDArray[np.object_], grid_m: float | None) -> NDArray[np.object_]:
    found = np.full(len(one), _NOTHING, dtype=object)
    rows = np.flatnonzero(~shapely.is_empty(one) & ~shapely.is_empty(other))
    found[rows] = areas(shapely.intersection(one[rows], other[rows], grid_size=grid_m))
    return found


# What is left of a zone: the connected pieces that covered ground does not take away.
#
# Promises the pieces of the exact difference, fast where the ground lies in tens of thousands of
# patches: a patch inside the zone is a hole cut out as it is, and only those at the border of the
# zone are overlaid with it.


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
    found = _pierced(around, shells, _innermost(around, patches[inside]), _touching(patches)[inside])
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
