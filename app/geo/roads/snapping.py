"""Ends of roads brought together where a survey missed by a little.

Promises to move ends of lines only, by no more than the tolerance, never to or from another layer, and
the same result in whatever order the lines come. Ends that already share a vertex stay where
they are, and what is near comes to them.
"""

from collections import defaultdict

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from app.geo.arrays import Bools, Floats, Ints

Lines = NDArray[np.object_]


def snapped(lines: Lines, layer: Ints, within_m: float) -> tuple[Lines, int]:
    """Return the lines with near ends joined, and how many ends moved or were joined to a line.

    Parameters
    ----------
    lines : ndarray of LineString, shape (k,)
        In metres.
    layer : ndarray of int, shape (k,)
        Only lines of equal layer are brought together.
    within_m : float
        Above 0.

    Returns
    -------
    tuple of ndarray of LineString and int

    Notes
    -----
    First ends are joined to ends: of each chain of ends with gaps of at most the tolerance, all go to
    the place of the one that is first in the order of coordinates among those that share it with
    most others. Then an end that still meets nothing goes onto the nearest line within the
    tolerance, which gets a vertex there.

    Examples
    --------
    >>> apart = shapely.from_wkt(["LINESTRING (0 0, 9.8 0)", "LINESTRING (10 0, 20 0)"])
    >>> joined, moved = snapped(apart, np.zeros(2, np.int64), 0.5)
    >>> joined[0].wkt, moved
    ('LINESTRING (0 0, 9.8 0)', 1)
    >>> joined[1].wkt
    'LINESTRING (9.8 0, 20 0)'
    """
    moved, made = _ends_to_ends(lines, layer, within_m)
    return _ends_to_lines(moved, layer, within_m, made)


def _ends(lines: Lines) -> Floats:
    """Return first and last points, shape (2k, 2): all first ones, then all last ones."""
    first, last = shapely.get_point(lines, 0), shapely.get_point(lines, -1)
    return np.asarray(shapely.get_coordinates(np.concatenate([first, last])))


def _ends_to_ends(lines: Lines, layer: Ints, within_m: float) -> tuple[Lines, int]:
    ends = _ends(lines)
    height = np.tile(layer.astype(np.float64), 2) * (4 * within_m)
    places, place, shared = np.unique(np.column_stack([ends, height]), axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    near = cKDTree(places).query_pairs(within_m, output_type="ndarray")
    if not len(near):
        return lines, 0
    k = len(places)
    graph = coo_matrix((np.ones(len(near), np.int8), (near[:, 0], near[:, 1])), shape=(k, k))
    count, chain = connected_components(graph, directed=False)
    order = np.lexsort((np.arange(k), -shared, chain))
    leader = np.empty(count, np.int64)
    leader[chain[order][::-1]] = order[::-1]
    goal = leader[chain]
    reach = np.hypot(*(places[goal, :2] - places[:, :2]).T) <= within_m
    goal = np.where(reach, goal, np.arange(k))  # the far end of a long chain stays
    moving = np.flatnonzero(goal[place] != place)
    return _moved(lines, moving, places[goal[place[moving]], :2]), len(moving)


def _moved(lines: Lines, ends: Ints, to: Floats) -> Lines:
    """Return the lines with some ends, numbered as by `_ends`, put elsewhere."""
    out, k = lines.copy(), len(lines)
    for end, goal in zip(ends.tolist(), to, strict=True):
        row, last = end % k, end >= k
        xy = shapely.get_coordinates(out[row])
        xy[-1 if last else 0] = goal
        out[row] = shapely.linestrings(xy)
    return out


def _ends_to_lines(lines: Lines, layer: Ints, within_m: float, made: int) -> tuple[Lines, int]:
    ends, k = _ends(lines), len(lines)
    lone = np.flatnonzero(_alone(lines, layer, ends))
    tree = shapely.STRtree(lines)
    found, other = tree.query(shapely.points(ends[lone]), predicate="dwithin", distance=within_m)
    end = lone[found]
    fits = (layer[end % k] == layer[other]) & (end % k != other)
    end, other = end[fits], other[fits]
    if not len(end):
        return lines, made
    away = shapely.distance(shapely.points(ends[end]), lines[other])
    at = shapely.line_locate_point(lines[other], shapely.points(ends[end]))
    foot = shapely.get_coordinates(shapely.line_interpolate_point(lines[other], at))
    order = np.lexsort((foot[:, 1], foot[:, 0], away, end))
    first = order[np.append(True, np.diff(end[order]) != 0)]
    inserted: dict[int, list[tuple[float, tuple[float, float]]]] = defaultdict(list)
    for row in first.tolist():
        inserted[int(other[row])].append((float(at[row]), (foot[row, 0], foot[row, 1])))
    out = lines.copy()
    for row, feet in inserted.items():
        out[row] = _with_vertices(lines[row], feet)
    return _moved(out, end[first], foot[first]), made + len(first)


def _alone(lines: Lines, layer: Ints, ends: Floats) -> Bools:
    """Tell which ends share their place with no vertex of another line of their layer."""
    xy, row = shapely.get_coordinates(lines, return_index=True)
    place, of, count = np.unique(np.column_stack([xy, layer[row]]), axis=0, return_inverse=True, return_counts=True)
    del place
    size = np.bincount(row, minlength=len(lines))
    last = np.cumsum(size) - 1
    at = np.concatenate([last - size + 1, last])
    return np.asarray(count[of.reshape(-1)[at]] == 1)


def _with_vertices(line: shapely.LineString, feet: list[tuple[float, tuple[float, float]]]) -> shapely.LineString:
    """Return the line with vertices added at distances along it."""
    xy = shapely.get_coordinates(line)
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(xy, axis=0).T)))
    at = np.array([one for one, _ in feet])
    every = np.vstack([xy, [foot for _, foot in feet]])
    order = np.lexsort((np.append(np.arange(len(xy)) * 0, np.ones(len(feet))), np.append(along, at)))
    return shapely.LineString(every[order])
