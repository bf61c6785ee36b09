"""Snapping: moves the ends of roads together where a survey left small gaps between them.

Only ends of lines move, by at most the tolerance, and never to another layer. The result does not depend on the order
of the lines. Ends that already share a vertex stay, and the ends near them move there.
"""

from collections import defaultdict

import numpy as np
import shapely
from scipy.spatial import cKDTree

from app.geo.arrays import Bools, Floats, Ints, Shapes, label_components, mark_first


def snap_ends(lines: Shapes, layer: Ints, within_m: float) -> tuple[Shapes, int]:
    """Return the lines with near ends joined, and how many ends were moved or joined to a line.

    Parameters
    ----------
    lines : ndarray of LineString, shape (k,)
        In metres.
    layer : ndarray of int, shape (k,)
        Only lines of the same layer are joined.
    within_m : float
        The tolerance, above 0.

    Returns
    -------
    tuple of ndarray of LineString and int

    Notes
    -----
    First, ends are joined to ends. Ends that are connected by gaps of at most the tolerance form a cluster; all move to
    the end that coincides with the most others, and among those to the first in the order of coordinates. Then an end
    that still meets nothing moves onto the nearest line within the tolerance, which gets a vertex there.

    Examples
    --------
    >>> apart = shapely.from_wkt(["LINESTRING (0 0, 9.8 0)", "LINESTRING (10 0, 20 0)"])
    >>> joined, moved = snap_ends(apart, np.zeros(2, np.int64), 0.5)
    >>> joined[0].wkt, moved
    ('LINESTRING (0 0, 9.8 0)', 1)
    >>> joined[1].wkt
    'LINESTRING (9.8 0, 20 0)'
    """
    lines, to_ends = _snap_to_ends(lines, layer, within_m)
    lines, to_lines = _snap_to_lines(lines, layer, within_m)
    return lines, to_ends + to_lines


def _get_ends(lines: Shapes) -> Floats:
    """Return first and last points, shape (2k, 2): all first ones, then all last ones."""
    first, last = shapely.get_point(lines, 0), shapely.get_point(lines, -1)
    return np.asarray(shapely.get_coordinates(np.concatenate([first, last])))


def _snap_to_ends(lines: Shapes, layer: Ints, within_m: float) -> tuple[Shapes, int]:
    """Return the lines with near ends moved together, and how many ends moved."""
    ends = _get_ends(lines)
    # The layer is a third coordinate, so that ends of different layers are never near.
    height = np.tile(layer.astype(np.float64), 2) * (4 * within_m)
    xyz, end_point, shared = np.unique(np.column_stack([ends, height]), axis=0, return_inverse=True, return_counts=True)
    end_point = end_point.reshape(-1)
    pairs = cKDTree(xyz).query_pairs(within_m, output_type="ndarray")
    if not len(pairs):
        return lines, 0
    k = len(xyz)
    count, cluster = label_components(k, pairs[:, 0], pairs[:, 1])
    order = np.lexsort((np.arange(k), -shared, cluster))
    leader = np.empty(count, np.int64)
    leader[cluster[order][::-1]] = order[::-1]
    target = leader[cluster]
    in_reach = np.hypot(*(xyz[target, :2] - xyz[:, :2]).T) <= within_m
    target = np.where(in_reach, target, np.arange(k))  # the far end of a long cluster stays
    moving = np.flatnonzero(target[end_point] != end_point)
    return _move_ends(lines, moving, xyz[target[end_point[moving]], :2]), len(moving)


def _move_ends(lines: Shapes, ends: Ints, targets: Floats) -> Shapes:
    """Return the lines with some ends, numbered as by `_get_ends`, moved to targets."""
    moved, k = lines.copy(), len(lines)
    for end, target in zip(ends.tolist(), targets, strict=True):
        row = end % k
        xy = shapely.get_coordinates(moved[row])
        xy[-1 if end >= k else 0] = target
        moved[row] = shapely.linestrings(xy)
    return moved


def _snap_to_lines(lines: Shapes, layer: Ints, within_m: float) -> tuple[Shapes, int]:
    """Return the lines with ends that meet nothing moved onto the nearest line, and how many ends moved."""
    ends, k = _get_ends(lines), len(lines)
    single = np.flatnonzero(_find_single_ends(lines, layer, ends))
    tree = shapely.STRtree(lines)
    row, line = tree.query(shapely.points(ends[single]), predicate="dwithin", distance=within_m)
    end = single[row]
    fits = (layer[end % k] == layer[line]) & (end % k != line)
    end, line = end[fits], line[fits]
    if not len(end):
        return lines, 0
    away = shapely.distance(shapely.points(ends[end]), lines[line])
    along = shapely.line_locate_point(lines[line], shapely.points(ends[end]))
    foot = shapely.get_coordinates(shapely.line_interpolate_point(lines[line], along))
    order = np.lexsort((foot[:, 1], foot[:, 0], away, end))
    nearest = order[mark_first(end[order])]
    feet_of: dict[int, list[tuple[float, tuple[float, float]]]] = defaultdict(list)
    for index in nearest.tolist():
        feet_of[int(line[index])].append((float(along[index]), (foot[index, 0], foot[index, 1])))
    snapped = lines.copy()
    for index, feet in feet_of.items():
        snapped[index] = _insert_vertices(lines[index], feet)
    return _move_ends(snapped, end[nearest], foot[nearest]), len(nearest)


def _find_single_ends(lines: Shapes, layer: Ints, ends: Floats) -> Bools:
    """Return which ends coincide with no other vertex of their layer."""
    xy, row = shapely.get_coordinates(lines, return_index=True)
    _, vertex, count = np.unique(np.column_stack([xy, layer[row]]), axis=0, return_inverse=True, return_counts=True)
    size = np.bincount(row, minlength=len(lines))
    last = np.cumsum(size) - 1
    end_index = np.concatenate([last - size + 1, last])
    return np.asarray(count[vertex.reshape(-1)[end_index]] == 1)


def _insert_vertices(line: shapely.LineString, feet: list[tuple[float, tuple[float, float]]]) -> shapely.LineString:
    """Return the line with vertices added at distances along it."""
    xy = shapely.get_coordinates(line)
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(xy, axis=0).T)))
    added = np.array([distance for distance, _ in feet])
    vertices = np.vstack([xy, [foot for _, foot in feet]])
    order = np.lexsort((np.append(np.zeros(len(xy)), np.ones(len(feet))), np.append(along, added)))
    return shapely.LineString(vertices[order])
