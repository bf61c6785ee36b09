"""The nearest wall in every direction, for many viewers at once.

The lower envelope of segments that do not cross, in O(n log n) steps for n walls. It uses a segment tree over the
angles at which walls begin or end; each node keeps the nearest of the walls that cover it. All viewers share one
tree; each wall belongs to one viewer.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Floats, Ints, expand_ranges

_THIN_RAD: Final = 1e-10
"""A wall with a smaller angle of view than this is ignored."""
_THIN_DEG: Final = 1e-8
"""Intervals of directions smaller than this are ignored."""


@dataclass(frozen=True, eq=False)
class WallSpans:
    """Walls that face their viewers, one row each, sorted by viewer; and all viewers.

    Parameters
    ----------
    viewer, owner : ndarray of int, shape (k,)
        Rows of the viewer and of the building.
    a, b : ndarray, shape (k, 2)
        Ends of the wall relative to the viewer, b clockwise of a by less than 180 degrees.
    nearest_m : ndarray, shape (k,)
        Distance of the nearest point of the wall.
    xy : ndarray, shape (n, 2)
        Positions of the viewers.
    first_deg, opening_deg : ndarray, shape (n,)
        Bearing of the first edge of each view, and its width.
    radius_m : ndarray, shape (n,)
        Radius of each view.
    """

    viewer: Ints
    owner: Ints
    a: Floats
    b: Floats
    nearest_m: Floats
    xy: Floats
    first_deg: Floats
    opening_deg: Floats
    radius_m: Floats

    def distance(self, wall: Ints, angle_deg: Floats) -> Floats:
        """Return distances of walls in directions, in degrees from the first edge of the view."""
        bearing = np.radians(self.first_deg[self.viewer[wall]] + angle_deg)
        east, north = np.sin(bearing), np.cos(bearing)
        a, along = self.a[wall], self.b[wall] - self.a[wall]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance_m = (a[:, 0] * along[:, 1] - a[:, 1] * along[:, 0]) / (east * along[:, 1] - north * along[:, 0])
        # If the direction is nearly parallel to the wall, the farther end is the distance.
        farthest = np.maximum(np.hypot(*a.T), np.hypot(*self.b[wall].T))
        distance_m = np.where(np.isfinite(distance_m), distance_m, farthest)
        return np.clip(distance_m, self.nearest_m[wall], farthest)


@dataclass(frozen=True, eq=False)
class RadialEnvelope:
    """The nearest walls in intervals of directions, sorted by viewer, then clockwise."""

    spans: WallSpans
    viewer: Ints
    first_deg: Floats
    last_deg: Floats
    wall: Ints
    """Row of the nearest wall; -1 if there is none."""

    @property
    def nearest_m(self) -> Floats:
        """Least distance of the wall in its interval, shape (k,); infinite without a wall."""
        nearest_wall_m = np.full(len(self.wall), np.inf)
        rows = np.flatnonzero(self.wall >= 0)
        wall, spans = self.wall[rows], self.spans
        ends = np.minimum(spans.distance(wall, self.first_deg[rows]), spans.distance(wall, self.last_deg[rows]))
        # The nearest point of the line of the wall is the foot of the perpendicular, if the interval contains it.
        along = spans.b[wall] - spans.a[wall]
        foot = np.degrees(np.arctan2(-along[:, 1], along[:, 0]))
        foot = (foot - spans.first_deg[spans.viewer[wall]]) % 360.0
        within = (foot >= self.first_deg[rows]) & (foot <= self.last_deg[rows])
        nearest_wall_m[rows] = np.where(within, np.minimum(ends, spans.nearest_m[wall]), ends)
        return nearest_wall_m

    def visible_polygons(self, viewers: Ints) -> NDArray[np.object_]:
        """Return the star-shaped polygons that viewers see; all viewers must be in the envelope.

        In directions without a wall a polygon reaches slightly beyond the radius of the view.
        """
        spans = self.spans
        out = spans.radius_m[self.viewer] * 1.1 + 1.0
        interval = np.stack([self.first_deg, self.last_deg])
        reach = np.broadcast_to(out, interval.shape).copy()
        rows = np.flatnonzero(self.wall >= 0)
        for end in (0, 1):
            reach[end, rows] = spans.distance(self.wall[rows], interval[end, rows])
        selected = np.stack([np.ones_like(self.wall, dtype=np.bool_)] * 2)
        # Between two intervals of the same wall there is no corner.
        on = (self.wall[1:] == self.wall[:-1]) & (self.wall[1:] >= 0)
        on &= self.viewer[1:] == self.viewer[:-1]
        selected[0, 1:][on] = False
        selected[1, :-1][on] = False
        order = selected.T.ravel()
        viewer = np.repeat(self.viewer, 2)[order]
        angle = np.radians(spans.first_deg[viewer] + interval.T.ravel()[order])
        spokes = np.stack([np.sin(angle), np.cos(angle)], axis=1) * reach.T.ravel()[order, np.newaxis]
        corners = spans.xy[viewer] + spokes
        return build_star_polygons(spans, viewers, viewer, corners)


def build_star_polygons(spans: WallSpans, viewers: Ints, viewer: Ints, corners: Floats) -> NDArray[np.object_]:
    """Return polygons from corners; a viewer with an opening below 360 degrees is itself a corner."""
    corner_rows = np.flatnonzero(spans.opening_deg[viewers] < 360.0)
    row = np.concatenate([np.searchsorted(viewers, viewer), corner_rows])
    order = np.argsort(row, kind="stable")
    xy = np.concatenate([corners, spans.xy[viewers[corner_rows]]])[order]
    polygons = np.asarray(shapely.polygons(shapely.linearrings(xy, indices=row[order])))
    broken = np.flatnonzero(~shapely.is_valid(polygons))
    polygons[broken] = shapely.make_valid(polygons[broken])
    return polygons


def compute_envelope(spans: WallSpans, step_deg: float) -> RadialEnvelope:
    """Return the nearest wall in every direction in which a viewer with walls looks.

    Parameters
    ----------
    spans : WallSpans
        Walls that do not cross.
    step_deg : float
        No interval is wider than this.
    """
    wall, low, high = split_spans(spans)
    viewers = np.unique(spans.viewer)
    steps = np.ceil(spans.opening_deg[viewers] / step_deg - 1e-9).astype(np.int64)
    row, interval, _ = expand_ranges(steps + 1, np.zeros(len(steps), np.int64))
    even = np.minimum(interval * step_deg, spans.opening_deg[viewers][row])
    viewer = np.concatenate([viewers[row], spans.viewer[wall], spans.viewer[wall]])
    angle = np.concatenate([even, low, high])
    order = np.lexsort((angle, viewer))
    viewer, angle = viewer[order], angle[order]
    # Equal angles may be in any order: a span begins at the first interval with its angle.
    new = np.append(True, (viewer[1:] != viewer[:-1]) | (angle[1:] != angle[:-1]))
    interval = np.empty(len(order), dtype=np.int64)
    interval[order] = np.maximum.accumulate(np.where(new[: len(order)], np.arange(len(order)), 0))
    first, stop = np.split(interval[len(row) :], 2)
    # Interval i is from angle i to angle i + 1; the interval after the last angle of a viewer is empty.
    last = np.append(viewer[1:] != viewer[:-1], True)
    end = np.where(last[: len(angle)], angle, np.append(angle[1:], 0.0)[: len(angle)])
    winner = find_nearest_walls(spans, wall, first, stop, angle, end)
    real = np.flatnonzero(end - angle > _THIN_DEG)
    return RadialEnvelope(spans, viewer[real], angle[real], end[real], winner[real])


def split_spans(spans: WallSpans) -> tuple[Ints, Floats, Floats]:
    """Return walls and the angles that they span; a span across the first edge of the view gives two rows."""
    cross = spans.b[:, 0] * spans.a[:, 1] - spans.b[:, 1] * spans.a[:, 0]
    width = np.arctan2(cross, (spans.a * spans.b).sum(axis=1))
    first = spans.first_deg[spans.viewer]
    low = (np.degrees(np.arctan2(spans.a[:, 0], spans.a[:, 1])) - first) % 360.0
    high = (np.degrees(np.arctan2(spans.b[:, 0], spans.b[:, 1])) - first) % 360.0
    wide = width > _THIN_RAD
    past = wide & (low + np.degrees(width) >= 360.0 - 1e-9) & (high < low)
    once = np.flatnonzero(wide & ~past & (high > low))
    past = np.flatnonzero(past)
    wall = np.concatenate([once, past, past])
    low = np.concatenate([low[once], low[past], np.zeros(len(past))])
    high = np.concatenate([high[once], np.full(len(past), 360.0), high[past]])
    limit = spans.opening_deg[spans.viewer[wall]]
    low, high = np.minimum(low, limit), np.minimum(high, limit)
    selected = high - low > _THIN_DEG
    return wall[selected], low[selected], high[selected]


def find_nearest_walls(
    spans: WallSpans, wall: Ints, first: Ints, stop: Ints, start_deg: Floats, end_deg: Floats
) -> Ints:
    """Return the nearest wall of every interval; each wall covers the intervals from first to stop."""
    n = len(start_deg)
    height = max(n - 1, 0).bit_length()
    size = 1 << height
    # Walls do not cross, so one of the walls that cover a node is nearest in the whole node.
    node, piece, level = cover_ranges(first + size, stop + size)
    begin = (node << level) - size
    finish = np.minimum(begin + (1 << level), n) - 1
    away = spans.distance(wall[piece], (start_deg[begin] + end_deg[finish]) / 2.0)
    order = np.lexsort((away, node))
    lead = order[np.flatnonzero(np.diff(node[order], prepend=-1))]
    best = np.full(2 * size, -1, dtype=np.int64)
    best[node[lead]] = wall[piece[lead]]
    middle = (start_deg + end_deg) / 2.0
    winner, nearest = np.full(n, -1, np.int64), np.full(n, np.inf)
    above = np.arange(n) + size
    for _ in range(int(level.max(initial=-1)) + 1):
        rows = np.flatnonzero(best[above] >= 0)
        nearest_wall = best[above[rows]]
        away = spans.distance(nearest_wall, middle[rows])
        nearer = away < nearest[rows]
        nearest[rows[nearer]], winner[rows[nearer]] = away[nearer], nearest_wall[nearer]
        above >>= 1
    return winner


def cover_ranges(first: Ints, stop: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the nodes of a segment tree that cover ranges of leaves, with the row of the range and the level."""
    nodes, pieces, levels = [], [], []
    piece = np.arange(len(first))
    level = 0
    while len(piece):
        for is_odd, node_ranges in ((first & 1 == 1, first), (stop & 1 == 1, stop - 1)):
            nodes.append(node_ranges[is_odd])
            pieces.append(piece[is_odd])
            levels.append(np.full(int(is_odd.sum()), level))
        first, stop = (first + 1) >> 1, stop >> 1
        left = first < stop
        first, stop, piece, level = first[left], stop[left], piece[left], level + 1
    empty = [np.empty(0, np.int64)]
    return (
        np.concatenate(empty + nodes),
        np.concatenate(empty + pieces),
        np.concatenate(empty + levels),
    )
