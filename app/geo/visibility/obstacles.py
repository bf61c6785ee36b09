"""Buildings as obstacles to looking, in the metres of one frame.

Promises walls that cross nowhere (where footprints overlap they are divided), each with its building
on its left, and one stated rule for a camera that hangs on a building or stands on its roof.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Bools, Floats, Ints, spread

WALL_M: Final = 3.0
"""A camera that lies inside a footprint, but no deeper than this, hangs on its nearest wall."""
CLEAR_M: Final = 0.05
"""How far in front of its wall such a camera is taken to be."""
STOREY_M: Final = 4.0
"""Height of a storey where only their number is known: rather too much than too little."""
_STRAIGHT: Final = 1e-9
_SHORT_M: Final = 1e-9
FREE, ON_WALL, ON_ROOF, INDOORS = range(4)
STANDING: Final = ("free", "wall", "roof", "indoors")
"""Names of the codes that say where a camera is in relation to the buildings."""


@dataclass(frozen=True, eq=False)
class Walls:
    """Wall segments of all buildings, one row each, sorted by building."""

    start: Floats
    end: Floats
    """Shape (k, 2) each; the inside of the building lies to the left."""
    first: Ints
    """Shape (m + 1,): rows ``first[b]:first[b + 1]`` belong to building b."""


@dataclass(frozen=True, eq=False)
class PreviousObstacles:
    """Buildings as they were, of which most are still there as they were."""

    obstacles: "Obstacles"
    row: Ints
    """Shape (m,): the row that each building of now had then, -1: it is new."""


@dataclass(frozen=True, eq=False)
class Obstacles:
    """Footprints of buildings and how high they rise.

    Parameters
    ----------
    shape : ndarray of Polygon or MultiPolygon, shape (m,)
        Valid, in metres; courtyards are holes.
    height_m : ndarray, shape (m,)
        NaN where it is not known: then nobody looks over it.

    Raises
    ------
    ValueError
        Columns of unequal length.
    """

    shape: NDArray[np.object_]
    height_m: Floats

    @classmethod
    def update_from(
        cls, shape: NDArray[np.object_], height_m: Floats, earlier: PreviousObstacles | None
    ) -> "Obstacles":
        """Return buildings with the walls of those that are as before, and that nothing new touches.

        The same as made from nothing; only what changed and what it touches is looked at again.
        """
        obstacles = cls(shape, height_m)
        if earlier is None or "walls" not in vars(earlier.obstacles):
            return obstacles
        new = earlier.row < 0
        removed = np.ones(len(earlier.obstacles), np.bool_)
        removed[earlier.row[~new]] = False
        moved = np.concatenate([shape[new], earlier.obstacles.shape[removed]])
        if len(moved) > len(shape) // 4:
            return obstacles
        again = new.copy()
        again[obstacles.tree.query(moved, predicate="intersects")[1]] = True
        vars(obstacles)["walls"] = obstacles.update_walls(again, earlier)
        return obstacles

    def update_walls(self, again: Bools, earlier: PreviousObstacles) -> Walls:
        """Return the walls of all, made anew for some and taken over for the others."""
        new_walls = again.copy()
        new_walls[self.tree.query(self.shape[again], predicate="intersects")[1]] = True
        rows = np.flatnonzero(new_walls)
        created = Obstacles(self.shape[rows], self.height_m[rows]).walls
        old = earlier.obstacles.walls
        retained = ~again
        size = np.empty(len(self), np.int64)
        start = np.empty(len(self), np.int64)
        order = np.full(len(self), -1, np.int64)
        order[rows] = np.arange(len(rows))
        size[again] = np.diff(created.first)[order[again]]
        start[again] = created.first[order[again]] + len(old.start)
        size[retained] = np.diff(old.first)[earlier.row[retained]]
        start[retained] = old.first[earlier.row[retained]]
        _, _, wall = spread(size, start)
        return Walls(
            np.concatenate([old.start, created.start])[wall],
            np.concatenate([old.end, created.end])[wall],
            np.concatenate([[0], np.cumsum(size)]),
        )

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together."""
        if len(self.shape) != len(self.height_m):
            raise ValueError("columns of buildings have unequal lengths")

    def __len__(self) -> int:
        """Return the number of buildings."""
        return len(self.shape)

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Index of the footprints."""
        shapely.prepare(self.shape)
        return shapely.STRtree(self.shape)

    @cached_property
    def walls(self) -> Walls:
        """Walls of all buildings, divided where they cross those of another."""
        rings, building = list_rings(self.shape)
        start, end, ring = list_segments(rings)
        start, end, owner = divide_segments(start, end, building[ring], self.find_overlapping())
        counts = np.bincount(owner, minlength=len(self))
        return Walls(start, end, np.concatenate([[0], np.cumsum(counts)]))

    def find_overlapping(self) -> Bools:
        """Return which buildings share ground with another."""
        first, _ = self.tree.query(self.shape, predicate="overlaps")
        flags = np.zeros(len(self), np.bool_)
        flags[first] = True
        return flags


def compute_heights(height_m: Floats, levels: Floats) -> Floats:
    """Return heights: as stated, else `STOREY_M` for every storey, else NaN.

    Examples
    --------
    >>> compute_heights(np.array([10.0, np.nan, np.nan]), np.array([2.0, 3.0, np.nan]))
    array([10., 12., nan])
    """
    return np.where(np.isnan(height_m), levels * STOREY_M, height_m)


def list_rings(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], Ints]:
    """Return all rings, the inside to their left, and the row each belongs to."""
    polygons, of_part = shapely.get_parts(shapes, return_index=True)
    turned = shapely.orient_polygons(polygons, exterior_cw=False)
    rings, of_ring = shapely.get_rings(turned, return_index=True)
    return np.asarray(rings), np.asarray(of_part[of_ring], dtype=np.int64)


def list_segments(rings: NDArray[np.object_]) -> tuple[Floats, Floats, Ints]:
    """Return start, end and ring of every segment that has a length."""
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    same = (ring[1:] == ring[:-1]) & (np.hypot(*np.diff(xy, axis=0).T) > _SHORT_M)
    return xy[:-1][same], xy[1:][same], np.asarray(ring[:-1][same], dtype=np.int64)


def divide_segments(start: Floats, end: Floats, owner: Ints, overlapping: Bools) -> tuple[Floats, Floats, Ints]:
    """Return the segments, those of overlapping buildings divided where they cross."""
    rows = np.flatnonzero(overlapping[owner])
    if not len(rows):
        return start, end, owner
    lines = np.asarray(shapely.linestrings(np.stack([start[rows], end[rows]], axis=1)))
    first_segment, second_segment = shapely.STRtree(lines).query(lines, predicate="crosses")
    first_segment, second_segment = rows[first_segment], rows[second_segment]
    along, across = end[first_segment] - start[first_segment], end[second_segment] - start[second_segment]
    away = start[second_segment] - start[first_segment]
    turn = cross_product(along, across)
    # Walls in one line do not cross, whatever rounding makes of them.
    real = np.abs(turn) > _STRAIGHT * np.hypot(*along.T) * np.hypot(*across.T)
    first_segment, row_order = first_segment[real], np.clip(cross_product(away, across)[real] / turn[real], 0.0, 1.0)
    # Every segment begins at its start and at each of its crossings, in order.
    row = np.concatenate([np.arange(len(start)), first_segment])
    cut_share = np.concatenate([np.zeros(len(start)), row_order])
    order = np.lexsort((cut_share, row))
    row, cut_share = row[order], cut_share[order]
    begin = start[row] + cut_share[:, np.newaxis] * (end[row] - start[row])
    last = np.append(row[1:] != row[:-1], True)
    finish = np.where(last[:, np.newaxis], end[row], np.roll(begin, -1, axis=0))
    long = np.hypot(*(finish - begin).T) > _SHORT_M
    return begin[long], finish[long], owner[row][long]


def cross_product(first: Floats, second: Floats) -> Floats:
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


@dataclass(frozen=True, eq=False)
class Footing:
    """Where cameras are in relation to the buildings, one row each."""

    code: Ints
    """One of `FREE`, `ON_WALL`, `ON_ROOF`, `INDOORS`."""
    xy: Floats
    """Where each looks from: in front of its wall when it hangs on one."""
    carrier: tuple[Ints, Ints]
    """Camera and building of all pairs in which the camera lies in the footprint."""


def compute_footing(xy: Floats, mount_height_m: Floats, indoor: Bools, obstacles: Obstacles) -> Footing:
    """Return where each camera looks from.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    mount_height_m : ndarray, shape (n,)
        NaN where it is not known.
    indoor : ndarray of bool, shape (n,)
    obstacles : Obstacles

    Notes
    -----
    A camera outside every footprint is free. One inside (or within `CLEAR_M` of a wall) is

    - indoors, when it says so: it sees what lies inside this building;
    - on the roof, when building and mount heights are known and the camera is higher, or when the
      nearest wall is more than `WALL_M` away: the building under it does not block it;
    - on the wall otherwise: it looks from `CLEAR_M` in front of the nearest wall, so that its own
      building blocks what lies behind it and nothing else. When there is no free place in front of
      that wall (a wall two houses share), it counts as on the roof.
    """
    code, xy_free = np.full(len(xy), FREE), np.array(xy, dtype=np.float64)
    points = np.asarray(shapely.points(xy))
    camera, building = obstacles.tree.query(points, predicate="dwithin", distance=CLEAR_M)
    inside = np.asarray(shapely.intersects_xy(obstacles.shape[building], xy[camera, 0], xy[camera, 1]))
    indoors = indoor[camera] & inside
    with np.errstate(invalid="ignore"):
        above = mount_height_m[camera] > obstacles.height_m[building]
    away = shapely.shortest_line(shapely.boundary(obstacles.shape[building]), points[camera])
    ends = shapely.get_coordinates(away).reshape(-1, 2, 2)
    wall, depth = ends[:, 0], np.hypot(*(ends[:, 1] - ends[:, 0]).T)
    roof = inside & ~indoors & (above | (depth > WALL_M))
    hangs = ~indoors & ~roof & ~(above & ~inside)
    code[camera[roof]] = ON_ROOF
    code[camera[indoors]] = INDOORS
    # The nearest wall of a camera that lies on several footprints comes last, and stays.
    order = np.flatnonzero(hangs & (code[camera] == FREE))
    order = order[np.argsort(-depth[order], kind="stable")]
    xy_free[camera[order]] = move_off_walls(wall[order], xy[camera[order]], depth[order], inside[order], obstacles)
    code[camera[order]] = ON_WALL
    nowhere = np.isnan(xy_free[:, 0])
    code[nowhere], xy_free[nowhere] = ON_ROOF, xy[nowhere]
    return Footing(code, xy_free, (camera[inside], building[inside]))


_AROUND: Final = np.radians(np.arange(0.0, 360.0, 22.5))


def move_off_walls(wall: Floats, xy: Floats, depth: Floats, inside: Bools, obstacles: Obstacles) -> Floats:
    """Return free places `CLEAR_M` from places on walls: straight on, else in some direction.

    NaN where there is none.
    """
    n = len(wall)
    on_the_line = depth < 1e-6
    length = np.where(on_the_line, np.inf, np.where(inside, depth, -depth))
    straight = (wall - xy) / length[:, np.newaxis]
    around = np.stack([np.sin(_AROUND), np.cos(_AROUND)], axis=1)
    steps = np.concatenate([straight[:, np.newaxis], np.broadcast_to(around, (n, *around.shape))], axis=1)
    free_xy = wall[:, np.newaxis] + steps * CLEAR_M
    taken, _ = obstacles.tree.query(np.asarray(shapely.points(free_xy)).ravel(), predicate="intersects")
    free = np.ones(steps.shape[:2], np.bool_)
    free.reshape(-1)[taken] = False
    free[on_the_line, 0] = False
    candidates = free_xy[np.arange(n), np.argmax(free, axis=1)]
    blocked = np.asarray(free.any(axis=1))
    return np.where(blocked[:, np.newaxis], candidates, np.nan)
