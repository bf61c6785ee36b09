"""Overlap of areas: what at least 1, 2, ... k shapes cover, and what is covered by one shape only.

The overlay is exact (GEOS). It is computed for many groups of shapes at once and checked against the shapes; a result
that contradicts them is computed again on a grid of a tenth of a millimetre. Shapes of a group are merged in pairs: the
area that two shapes cover t times is what the first covers i times and the second t - i times, for every i from 0 to t.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from app.geo.arrays import Bools, Floats, Ints, Shapes, label_components, mark_first

GRID_M: Final = 1e-4
"""Grid on which an overlay is computed again if its first result contradicts the input."""
_COLLECTION_TYPE: Final = 7
"""Type id of a geometry collection."""
_SPECK_M2: Final = 1e-6
"""Smaller areas come from rounding."""
_EMPTY: Final = shapely.Polygon()


def keep_areas(shapes: Shapes) -> Shapes:
    """Return shapes without the points and lines that an overlay may add to the areas.

    Parameters
    ----------
    shapes : ndarray of Geometry, shape (n,)

    Returns
    -------
    ndarray of Polygon or MultiPolygon, shape (n,)
        An empty polygon if no area is left.

    Examples
    --------
    >>> keep_areas(np.array([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)])).tolist()
    [<POLYGON EMPTY>, <POLYGON ((1 0, 1 1, 0 1, 0 0, 1 0))>]
    """
    areas = shapes.copy()
    for row in np.flatnonzero(shapely.get_type_id(shapes) == _COLLECTION_TYPE):
        components = shapely.get_parts(shapes[row])
        areas[row] = shapely.union_all(components[shapely.get_dimensions(components) == 2])
    areas[shapely.get_dimensions(areas) < 2] = shapely.Polygon()
    return areas


def compute_morton_codes(xy: Floats) -> Ints:
    """Return numbers that are near each other for points near each other (Morton order).

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        In metres. The number of a point depends on no other point, and repeats every 65 km.

    Examples
    --------
    >>> compute_morton_codes(np.array([[0.0, 0], [9, 9], [1, 0], [9, 8]])).argsort()
    array([0, 2, 3, 1])
    """
    bits = np.floor(xy).astype(np.int64) & 0xFFFF
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        bits = (bits | (bits << shift)) & mask
    return np.asarray(bits[:, 0] | (bits[:, 1] << 1))


def collect_multipolygons(shapes: Shapes, row: Ints, count: int) -> Shapes:
    """Return for each of `count` rows the MultiPolygon of its shapes, which do not overlap.

    Parameters
    ----------
    shapes : ndarray of Polygon or MultiPolygon, shape (k,)
    row : ndarray of int, shape (k,)
    count : int
    """
    polygons, shape = shapely.get_parts(shapes, return_index=True)
    polygon_row = row[shape]
    order = np.argsort(polygon_row, kind="stable")
    collected = np.full(count, shapely.Polygon(), dtype=object)
    if len(order):
        rows = np.unique(polygon_row)
        collected[rows] = shapely.multipolygons(polygons[order], indices=np.searchsorted(rows, polygon_row[order]))
    return collected


@dataclass(frozen=True, eq=False)
class OverlapLevels:
    """Areas covered at least once, twice, ... in clusters of shapes that touch each other; n shapes, c clusters."""

    group: Ints
    """Shape (c,): the group of each cluster, ascending."""
    cluster: Ints
    """Shape (n,): the cluster of each shape."""
    at_least: list[Shapes]
    """``at_least[t - 1]``, shape (c,): what t or more shapes of the cluster cover."""
    exclusive_m2: Floats
    """Shape (n,): area of each shape that no other shape covers."""


def compute_overlap_levels(shape: Shapes, group: Ints, max_count: int) -> OverlapLevels:
    """Return what is covered at least once, twice, ... and `max_count` times.

    Parameters
    ----------
    shape : ndarray of Polygon or MultiPolygon, shape (n,)
        Valid, none empty.
    group : ndarray of int, shape (n,)
        Shapes of different groups are not compared.
    max_count : int
        At least 2.
    """
    n = len(shape)
    first, second = shapely.STRtree(shape).query(shape, predicate="intersects")
    is_near = (group[first] == group[second]) & (first < second)
    _, label = label_components(n, first[is_near], second[is_near])
    # Clusters are sorted by group; within a cluster, neighbours are next to each other.
    corner = shapely.bounds(shape).reshape(-1, 4)[:, :2]
    order = np.lexsort((compute_morton_codes(corner), label, group))
    is_first = mark_first(label[order])
    cluster = np.empty(n, dtype=np.int64)
    cluster[order] = np.cumsum(is_first) - 1
    levels = _merge_clusters(shape[order], cluster[order], max_count)
    exclusive = _compute_exclusive_m2(shape, cluster, levels)
    contradicting = _find_contradictions(shape, cluster, levels, exclusive)
    if len(contradicting):
        rows = order[np.isin(cluster[order], contradicting)]
        for level, corrected in zip(
            levels, _merge_clusters(shape[rows], cluster[rows], max_count, GRID_M), strict=True
        ):
            level[contradicting] = corrected
        exclusive[rows] = _compute_exclusive_m2(shape, cluster, levels, rows, GRID_M)[rows]
    return OverlapLevels(group[order[is_first]], cluster, levels, np.maximum(exclusive, 0.0))


def _compute_exclusive_m2(
    shape: Shapes, cluster: Ints, levels: list[Shapes], rows: Ints | None = None, grid_m: float | None = None
) -> Floats:
    """Return the area of each shape that no other one covers, shape (n,); valid for `rows` if they are given."""
    selected = np.arange(len(shape)) if rows is None else rows
    exclusive = np.asarray(shapely.area(shape))
    # Two shapes have in common what is covered twice; of three or more, each has a part of that.
    size = np.bincount(cluster, minlength=len(levels[1]))
    exclusive -= np.where(size == 2, shapely.area(levels[1]), 0.0)[cluster]
    several = np.flatnonzero(size > 2)
    polygons, index = shapely.get_parts(levels[1][several], return_index=True)
    row, polygon = shapely.STRtree(polygons).query(shape[selected])
    row = selected[row]
    same_cluster = cluster[row] == several[index[polygon]]
    width = max(len(polygons), 1)
    row, polygon = np.divmod(np.sort(row[same_cluster] * width + polygon[same_cluster]), width)
    common = shapely.area(shapely.intersection(shape[row], polygons[polygon], grid_size=grid_m))
    return np.asarray(exclusive - np.bincount(row, common, minlength=len(shape)))


def _find_contradictions(shape: Shapes, cluster: Ints, levels: list[Shapes], exclusive: Floats) -> Ints:
    """Return the clusters whose levels contradict the shapes.

    GEOS computes in floating point, and where edges of two shapes nearly coincide it may, very rarely, take the outside
    of a shape for its inside. Then a point in the middle of a shape is not covered, one that is covered twice lies in
    one shape only, or areas do not add up.
    """
    size = np.bincount(cluster, minlength=len(levels[0]))
    once, twice = (np.asarray(shapely.area(level)) for level in levels[:2])
    total = np.bincount(cluster, shapely.area(shape), minlength=len(size))
    difference = np.abs(np.bincount(cluster, exclusive, minlength=len(size)) - (once - twice))
    slack = 1e-6 * total + 1e-6
    contradicts = (difference > slack) | (once + twice > total + slack)
    contradicts |= (size == 2) & (np.abs(once + twice - total) > slack)

    rows = np.flatnonzero(size[cluster] > 1)
    middle = shapely.get_coordinates(shapely.point_on_surface(shape[rows]))
    shapely.prepare(levels[0])
    covered = shapely.intersects_xy(levels[0][cluster[rows]], middle[:, 0], middle[:, 1])
    contradicts[cluster[rows[~covered]]] = True
    polygons, index = shapely.get_parts(levels[1], return_index=True)
    point, row = shapely.STRtree(shape).query(shapely.point_on_surface(polygons), predicate="intersects")
    count = np.bincount(point[cluster[row] == index[point]], minlength=len(polygons))
    contradicts[index[(count < 2) & (shapely.area(polygons) > _SPECK_M2)]] = True
    return np.flatnonzero(contradicts)


def _merge_clusters(shape: Shapes, cluster: Ints, max_count: int, grid_m: float | None = None) -> list[Shapes]:
    """Return what shapes, sorted by cluster, cover at least once, twice, ... in each cluster."""
    levels = [shape, *(np.full(len(shape), _EMPTY, dtype=object) for _ in range(max_count - 1))]
    while True:
        start = np.flatnonzero(np.diff(cluster, prepend=-1))
        if len(start) == len(cluster):
            return levels
        index = np.arange(len(cluster)) - np.repeat(start, np.diff(np.append(start, len(cluster))))
        left = np.flatnonzero((index % 2 == 0) & np.append(cluster[1:] == cluster[:-1], False))
        merged = _merge_levels([level[left] for level in levels], [level[left + 1] for level in levels], grid_m)
        retained = index % 2 == 0
        for level, shapes in zip(levels, merged, strict=True):
            level[left] = shapes
        levels, cluster = [level[retained] for level in levels], cluster[retained]


def _merge_levels(left: list[Shapes], right: list[Shapes], grid_m: float | None) -> list[Shapes]:
    """Return the levels of pairs of blocks together."""
    merged = []
    for t in range(1, len(left) + 1):
        area = _union(left[t - 1], right[t - 1], grid_m)
        for i in range(1, t):
            area = _union(area, _intersection(left[i - 1], right[t - i - 1], grid_m), grid_m)
        merged.append(area)
    return merged


def _union(left: Shapes, right: Shapes, grid_m: float | None) -> Shapes:
    """Return the union of pairs of areas."""
    left_is_empty = shapely.is_empty(left)
    union = np.where(left_is_empty, right, left)
    rows = np.flatnonzero(~left_is_empty & ~shapely.is_empty(right))
    union[rows] = keep_areas(shapely.union(left[rows], right[rows], grid_size=grid_m))
    return union


def _intersection(left: Shapes, right: Shapes, grid_m: float | None) -> Shapes:
    """Return the intersection of pairs of areas."""
    intersection = np.full(len(left), _EMPTY, dtype=object)
    rows = np.flatnonzero(~shapely.is_empty(left) & ~shapely.is_empty(right))
    intersection[rows] = keep_areas(shapely.intersection(left[rows], right[rows], grid_size=grid_m))
    return intersection


def subtract_covered(zone: Polygon | MultiPolygon, covered: Shapes) -> Shapes:
    """Return the connected pieces of a zone that covered areas leave, as Polygons.

    The pieces are those of the exact difference. It is fast for tens of thousands of patches: a patch inside the zone
    is cut out as a hole, and only those at the border of the zone are overlaid with it.

    Parameters
    ----------
    zone : Polygon or MultiPolygon
    covered : ndarray of Polygon or MultiPolygon, shape (n,)
        Within the zone; may touch or overlap each other.

    Examples
    --------
    >>> zone, pond = shapely.box(0, 0, 9, 9), shapely.box(3, 3, 6, 6)
    >>> [piece.area for piece in subtract_covered(zone, np.array([pond, shapely.box(0, 0, 9, 1)]))]
    [63.0]
    """
    patches = np.asarray(shapely.get_parts(shapely.disjoint_subset_union_all(covered)))
    shapely.prepare(zone)
    inside = shapely.contains_properly(zone, patches)
    at_border = shapely.union_all(patches[~inside])
    remaining = keep_areas(np.array([shapely.difference(zone, at_border)], dtype=object))
    # What a patch encloses is not covered, unless another patch lies in it.
    rings, patch = shapely.get_rings(patches[inside], return_index=True)
    is_shell = mark_first(patch)
    shells, courtyards = rings[is_shell], np.asarray(shapely.polygons(rings[~is_shell]))
    pieces = np.concatenate([shapely.get_parts(remaining), courtyards])
    piece = _find_containing_pieces(pieces, patches[inside])
    pieces = _cut_holes(pieces, shells, piece, _find_touching(patches)[inside])
    lost = zone.area - shapely.area(patches).sum() - shapely.area(pieces).sum()
    if abs(lost) <= 1e-6 * zone.area:
        return pieces
    # Floating-point overlay has failed where lines nearly coincide: on a grid it cannot.
    union = shapely.union_all(patches, grid_size=GRID_M)
    difference = np.array([shapely.difference(zone, union, grid_size=GRID_M)], dtype=object)
    return np.asarray(shapely.get_parts(keep_areas(difference)))


def _find_containing_pieces(pieces: Shapes, patches: Shapes) -> Ints:
    """Return the piece that each patch lies in: the smallest of those around it.

    Every patch lies in one, so a patch that lies in no other piece lies in the largest, which is slow to test.
    """
    size = shapely.area(pieces)
    largest = int(np.argmax(size)) if len(size) else 0
    others = np.flatnonzero(np.arange(len(pieces)) != largest)
    shapely.prepare(pieces[others])
    points = shapely.point_on_surface(patches)
    patch, piece = shapely.STRtree(pieces[others]).query(points, predicate="within")
    order = np.lexsort((size[others[piece]], patch))
    smallest = order[mark_first(patch[order])]
    containing = np.full(len(patches), largest, dtype=np.int64)
    containing[patch[smallest]] = others[piece[smallest]]
    return containing


def _find_touching(patches: Shapes) -> Bools:
    """Return which patches touch another in a point; patches do not overlap."""
    first, second = shapely.STRtree(patches).query(patches, predicate="intersects")
    touching = np.zeros(len(patches), np.bool_)
    touching[first[first != second]] = True
    return touching


def _cut_holes(pieces: Shapes, holes: Shapes, piece: Ints, touching: Bools) -> Shapes:
    """Return pieces with holes cut out, as Polygons; no hole crosses the border of its piece.

    Holes that touch each other, or the border, may cut a piece in two.
    """
    result = pieces.copy()
    order = np.argsort(piece, kind="stable")
    rows, starts = np.unique(piece[order], return_index=True)
    for row, cut in zip(rows, np.split(holes[order], starts[1:]), strict=False):
        rings = shapely.get_rings(pieces[row])
        result[row] = shapely.polygons(rings[0], np.concatenate([rings[1:], cut]))
    doubtful = np.unique(piece[touching])
    broken = doubtful[~shapely.is_valid(result[doubtful])]
    result[broken] = keep_areas(np.asarray(shapely.make_valid(result[broken])))
    return np.asarray(shapely.get_parts(result))
