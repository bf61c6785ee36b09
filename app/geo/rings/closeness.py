"""Intervals of lines near a border, and the points where lines cross it.

The points within a distance of a segment form a capsule. A capsule is convex, so a straight segment of a
line has at most one interval in it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Floats, Ints, expand_ranges

Lines = NDArray[np.object_]
TOUCH_M: Final = 1e-6
"""Intervals nearer than this to each other, or to the end of a line, touch."""


@dataclass(frozen=True, eq=False)
class BorderIntervals:
    """Intervals of lines within a distance of a border; sorted by line, then along it."""

    line: Ints
    """Shape (k,): row of the line."""
    from_m: Floats
    """Shape (k,): start of the interval, measured along the line."""
    to_m: Floats
    """Shape (k,): end of the interval; intervals of a line do not touch."""
    hit_line: Ints
    """Shape (h,): row of the line of every point where a line crosses or touches the border."""
    hit_m: Floats
    """Shape (h,): distance of that point along the line."""
    hit_xy: Floats
    """Shape (h, 2)."""


def find_border_intervals(
    lines: Lines, length_m: Floats, tree: shapely.STRtree, border: shapely.Geometry, within_m: float
) -> BorderIntervals:
    """Return the intervals of lines within a distance of a border.

    Parameters
    ----------
    lines : ndarray of LineString, shape (m,)
    length_m : ndarray, shape (m,)
        Their lengths.
    tree : STRtree
        Over `lines`.
    border : LineString, LinearRing, MultiLineString
        In the same metres.
    within_m : float
        Above 0.

    Returns
    -------
    BorderIntervals

    Examples
    --------
    >>> lines = shapely.from_wkt(["LINESTRING (0 -50, 0 50)", "LINESTRING (9 9, 99 9)"])
    >>> border = shapely.LineString([(-100, 0), (100, 0)])
    >>> intervals = find_border_intervals(lines, shapely.length(lines), shapely.STRtree(lines), border, 5.0)
    >>> (
    ...     intervals.line.tolist(),
    ...     intervals.from_m.tolist(),
    ...     intervals.to_m.round(9).tolist(),
    ...     intervals.hit_m.tolist(),
    ... )
    ([0], [45.0], [55.0], [50.0])
    """
    start, end = list_segments(border)
    capsule, row = tree.query(
        shapely.linestrings(np.stack([start, end], axis=1)), predicate="dwithin", distance=within_m
    )
    if not len(row):
        no_rows, no_offsets = np.empty(0, np.int64), np.empty(0)
        return BorderIntervals(no_rows, no_offsets, no_offsets, no_rows, no_offsets, np.empty((0, 2)))
    rows, where = np.unique(row, return_inverse=True)
    xy, of = shapely.get_coordinates(lines[rows], return_index=True)
    vertices = np.bincount(of, minlength=len(rows))
    segment_start = np.cumsum(vertices) - vertices
    # Every segment of a line, paired with every segment of the border that the line is near.
    pair, _, vertex = expand_ranges((vertices - 1)[where], segment_start[where])
    p, d = xy[vertex], xy[vertex + 1] - xy[vertex]
    a, b = start[capsule[pair]], end[capsule[pair]]
    along = np.append(0.0, np.hypot(*np.diff(xy, axis=0).T))
    along[segment_start] = 0.0
    along = np.cumsum(along)
    along -= np.repeat(along[segment_start], vertices)
    size, segment = np.hypot(d[:, 0], d[:, 1]), along[vertex]
    low, high = intersect_capsule(p, d, a, b, within_m)
    inside = low <= high
    line, from_m, to_m = merge_intervals(
        where[pair][inside], (segment + low * size)[inside], (segment + high * size)[inside]
    )
    longest = length_m[rows]
    from_m = np.where(from_m < TOUCH_M, 0.0, from_m)
    to_m = np.where(to_m > longest[line] - TOUCH_M, longest[line], to_m)
    hit, share = find_segment_crossings(p, d, a, b)
    return BorderIntervals(
        rows[line],
        from_m,
        to_m,
        row[pair[hit]],
        (segment + share * size)[hit],
        (p + share[:, np.newaxis] * d)[hit],
    )


def list_segments(border: shapely.Geometry) -> tuple[Floats, Floats]:
    """Return the starts and ends of the segments of a border."""
    xy, of = shapely.get_coordinates(shapely.get_parts(border), return_index=True)
    within = np.flatnonzero(of[1:] == of[:-1])
    return xy[within], xy[within + 1]


def intersect_capsule(p: Floats, d: Floats, a: Floats, b: Floats, r: float) -> tuple[Floats, Floats]:
    """Return the first and last u in [0, 1] for which p + u d is within r of the segment a b.

    For an empty interval the first is greater than the last.
    """
    along = b - a
    size = np.hypot(along[:, 0], along[:, 1])
    unit = along / np.where(size > 0, size, 1.0)[:, np.newaxis]
    from_a = p - a
    slab = solve_linear_range(_dot(unit, from_a), _dot(unit, d), 0.0, size)
    strip = solve_linear_range(_cross(unit, from_a), _cross(unit, d), -r, r)
    low, high = np.maximum(slab[0], strip[0]), np.minimum(slab[1], strip[1])
    none = (low > high) | (size == 0)
    low, high = np.where(none, np.inf, low), np.where(none, -np.inf, high)
    for centre in (a, b):
        disc = intersect_disc(p - centre, d, r)
        low, high = np.minimum(low, disc[0]), np.maximum(high, disc[1])
    return np.maximum(low, 0.0), np.minimum(high, 1.0)


def solve_linear_range(
    value: Floats, slope: Floats, low: Floats | float, high: Floats | float
) -> tuple[Floats, Floats]:
    """Return the first and last u for which value + u slope is between two numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lower_root, upper_root = (low - value) / slope, (high - value) / slope
    flat = slope == 0
    always = flat & (value >= low) & (value <= high)
    first = np.where(flat, np.where(always, -np.inf, np.inf), np.minimum(lower_root, upper_root))
    last = np.where(flat, np.where(always, np.inf, -np.inf), np.maximum(lower_root, upper_root))
    return first, last


def intersect_disc(p: Floats, d: Floats, r: float) -> tuple[Floats, Floats]:
    """Return the first and last u for which the point p + u d is within r of the origin."""
    a, b, c = _dot(d, d), _dot(p, d), _dot(p, p) - r * r
    under = b * b - a * c
    root = np.sqrt(np.maximum(under, 0.0))
    safe = np.where(a > 0, a, 1.0)
    none = (under < 0) | (a == 0)
    return np.where(none, np.inf, (-b - root) / safe), np.where(none, -np.inf, (-b + root) / safe)


def merge_intervals(line: Ints, low: Floats, high: Floats) -> tuple[Ints, Floats, Floats]:
    """Return the union of intervals of each line, sorted by line, then along it."""
    if not len(line):
        return line, low, high
    order = np.lexsort((low, line))
    line, low, high = line[order], low[order], high[order]
    # Lines are put end to end with gaps, so that one running maximum is enough for all.
    line_offset = line * (float(high.max()) + 1.0)
    reach = np.maximum.accumulate(high + line_offset)
    new = np.append(True, (low + line_offset)[1:] > reach[:-1] + TOUCH_M)
    first = np.flatnonzero(new)
    return line[first], low[first], np.maximum.reduceat(high, first)


def find_segment_crossings(p: Floats, d: Floats, a: Floats, b: Floats) -> tuple[Ints, Floats]:
    """Return the rows in which the segments p d and a b meet, and the share of p d at which they meet."""
    e = b - a
    turn = _cross(d, e)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = _cross(a - p, e) / turn, _cross(a - p, d) / turn
    tolerance = 1e-9
    meets = (turn != 0) & (u >= -tolerance) & (u <= 1 + tolerance) & (v >= -tolerance) & (v <= 1 + tolerance)
    return np.flatnonzero(meets), np.clip(np.where(meets, u, 0.0), 0.0, 1.0)


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1])


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
