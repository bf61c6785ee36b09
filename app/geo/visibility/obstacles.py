"""Buildings as obstacles of lines of sight: their walls, and cameras mounted on buildings.

Walls do not cross: where footprints overlap, walls are divided. The building is on the left of each of its walls.
All coordinates are metres in one projection.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Bools, Floats, Ints, expand_ranges

WALL_M: Final = 3.0
"""A camera in a footprint, at most this far from the nearest wall, is mounted on that wall."""
CLEAR_M: Final = 0.05
"""Distance of the viewpoint of such a camera in front of its wall."""
STOREY_M: Final = 4.0
"""Height of a storey if only the number of storeys is known; a high estimate."""
_STRAIGHT: Final = 1e-9
_SHORT_M: Final = 1e-9
FREE, ON_WALL, ON_ROOF, INDOORS = range(4)
STANDING: Final = ("free", "wall", "roof", "indoors")
"""Names of the codes of where a camera is in relation to buildings."""


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
    """Buildings of the previous analysis, most of them unchanged."""

    obstacles: "Obstacles"
    row: Ints
    """Shape (m,): previous row of each current building; -1 for a new building."""


@dataclass(frozen=True, eq=False)
class Obstacles:
    """Footprints and heights of buildings.

    Parameters
    ----------
    shape : ndarray of Polygon or MultiPolygon, shape (m,)
        Valid, in metres; courtyards are holes.
    height_m : ndarray, shape (m,)
        NaN if it is not known; then the building blocks every view.

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
        """Return buildings with the walls of unchanged buildings that no changed building touches.

        The result is the same as without `earlier`; only changed buildings and those that they touch are
        computed.
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
        """Return the walls of all buildings: computed for some rows, copied from `earlier` for the others."""
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
        _, _, wall = expand_ranges(size, start)
        return Walls(
            np.concatenate([old.start, created.start])[wall],
            np.concatenate([old.end, created.end])[wall],
            np.concatenate([[0], np.cumsum(size)]),
        )

    def __post_init__(self) -> None:
        """Raise ValueError if the columns have unequal lengths."""
        if len(self.shape) != len(self.height_m):
            raise ValueError("the columns of buildings have unequal lengths")

    def __len__(self) -> int:
        """Return the number of buildings."""
        return len(self.shape)

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Spatial index of the footprints."""
        shapely.prepare(self.shape)
        return shapely.STRtree(self.shape)

    @cached_property
    def walls(self) -> Walls:
        """Walls of all buildings, divided where they cross walls of another building."""
        rings, building = list_rings(self.shape)
        start, end, ring = list_segments(rings)
        start, end, owner = divide_segments(start, end, building[ring], self.find_overlapping())
        counts = np.bincount(owner, minlength=len(self))
        return Walls(start, end, np.concatenate([[0], np.cumsum(counts)]))

    def find_overlapping(self) -> Bools:
        """Return which buildings overlap another building."""
        first, _ = self.tree.query(self.shape, predicate="overlaps")
        flags = np.zeros(len(self), np.bool_)
        flags[first] = True
        return flags


def compute_heights(height_m: Floats, levels: Floats) -> Floats:
    """Return heights: as registered, else `STOREY_M` for each storey, else NaN.

    Examples
    --------
    >>> compute_heights(np.array([10.0, np.nan, np.nan]), np.array([2.0, 3.0, np.nan]))
    array([10., 12., nan])
    """
    return np.where(np.isnan(height_m), levels * STOREY_M, height_m)


def list_rings(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], Ints]:
    """Return all rings with the building on their left, and the row of the building of each."""
    polygons, of_part = shapely.get_parts(shapes, return_index=True)
    turned = shapely.orient_polygons(polygons, exterior_cw=False)
    rings, of_ring = shapely.get_rings(turned, return_index=True)
    return np.asarray(rings), np.asarray(of_part[of_ring], dtype=np.int64)


def list_segments(rings: NDArray[np.object_]) -> tuple[Floats, Floats, Ints]:
    """Return start, end and ring of every segment with a length above 0."""
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    same = (ring[1:] == ring[:-1]) & (np.hypot(*np.diff(xy, axis=0).T) > _SHORT_M)
    return xy[:-1][same], xy[1:][same], np.asarray(ring[:-1][same], dtype=np.int64)


def divide_segments(start: Floats, end: Floats, owner: Ints, overlapping: Bools) -> tuple[Floats, Floats, Ints]:
    """Return the segments; those of overlapping buildings are divided where they cross."""
    rows = np.flatnonzero(overlapping[owner])
    if not len(rows):
        return start, end, owner
    lines = np.asarray(shapely.linestrings(np.stack([start[rows], end[rows]], axis=1)))
    first_segment, second_segment = shapely.STRtree(lines).query(lines, predicate="crosses")
    first_segment, second_segment = rows[first_segment], rows[second_segment]
    along, across = end[first_segment] - start[first_segment], end[second_segment] - start[second_segment]
    away = start[second_segment] - start[first_segment]
    turn = cross_product(along, across)
    # Collinear walls do not cross; with rounding they may seem to.
    real = np.abs(turn) > _STRAIGHT * np.hypot(*along.T) * np.hypot(*across.T)
    first_segment, cut_fraction = first_segment[real], np.clip(cross_product(away, across)[real] / turn[real], 0.0, 1.0)
    # New segments begin at the start and at each crossing of a segment, in order.
    row = np.concatenate([np.arange(len(start)), first_segment])
    cut_share = np.concatenate([np.zeros(len(start)), cut_fraction])
    order = np.lexsort((cut_share, row))
    row, cut_share = row[order], cut_share[order]
    begin = start[row] + cut_share[:, np.newaxis] * (end[row] - start[row])
    last = np.append(row[1:] != row[:-1], True)
    finish = np.where(last[:, np.newaxis], end[row], np.roll(begin, -1, axis=0))
    long = np.hypot(*(finish - begin).T) > _SHORT_M
    return begin[long], finish[long], owner[row][long]


def cross_product(first: Floats, second: Floats) -> Floats:
    """Return the z component of the cross products of vectors, row by row."""
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


@dataclass(frozen=True, eq=False)
class Footing:
    """Viewpoints of cameras in relation to buildings, one row each."""

    code: Ints
    """One of `FREE`, `ON_WALL`, `ON_ROOF`, `INDOORS`."""
    xy: Floats
    """Viewpoint of each camera: in front of its wall if it is mounted on one."""
    carrier: tuple[Ints, Ints]
    """Camera and building of all pairs in which the camera is in the footprint."""


def compute_footing(xy: Floats, mount_height_m: Floats, indoor: Bools, obstacles: Obstacles) -> Footing:
    """Return the viewpoint of each camera.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    mount_height_m : ndarray, shape (n,)
        NaN if it is not known.
    indoor : ndarray of bool, shape (n,)
    obstacles : Obstacles

    Notes
    -----
    A camera outside all footprints is free. A camera in a footprint, or within `CLEAR_M` of a wall, is

    - indoors, if it is registered as indoor: it sees the inside of this building;
    - on the roof, if building and mount heights are known and the camera is higher, or if the nearest
      wall is more than `WALL_M` away: the building under it does not block it;
    - on the wall otherwise: its viewpoint is `CLEAR_M` in front of the nearest wall, so that its
      building blocks only the view behind it. If no point in front of that wall is free (two
      buildings share the wall), the camera is on the roof.
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
    # For a camera in several footprints the nearest wall is assigned last.
    order = np.flatnonzero(hangs & (code[camera] == FREE))
    order = order[np.argsort(-depth[order], kind="stable")]
    xy_free[camera[order]] = move_off_walls(wall[order], xy[camera[order]], depth[order], inside[order], obstacles)
    code[camera[order]] = ON_WALL
    unplaced = np.isnan(xy_free[:, 0])
    code[unplaced], xy_free[unplaced] = ON_ROOF, xy[unplaced]
    return Footing(code, xy_free, (camera[inside], building[inside]))


_AROUND: Final = np.radians(np.arange(0.0, 360.0, 22.5))


def move_off_walls(wall: Floats, xy: Floats, depth: Floats, inside: Bools, obstacles: Obstacles) -> Floats:
    """Return free points `CLEAR_M` from points on walls: perpendicular if possible, else in any direction.

    NaN if no direction is free.
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
    has_free = np.asarray(free.any(axis=1))
    return np.where(has_free[:, np.newaxis], candidates, np.nan)
