"""In which ring a point lies, and how far it is from each border.

Whether a point is inside is decided in lon/lat, on the boundary as registered; distances are in metres
in the frame. **Tie rule**: a ring is closed, so a point exactly on its line belongs to it, with
distance 0. A point within a ring's tolerance of its line is also reported as on the boundary.

Many points are answered through a grid: cells that the line (widened by the tolerance) does not touch
are wholly inside or outside, and only points in the remaining cells need the exact test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import MultiPolygon

from app.errors import InvalidShape
from app.geo.frame import Frame

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Level = Literal["core", "urban", "city"]
ORDER: Final[tuple[Level, ...]] = ("core", "urban", "city")
ZONES: Final = np.array([*ORDER, "outside"])
OUTSIDE: Final = 3
_GRID: Final = 256
_GRID_PAYS_FROM: Final = 20_000
_METRES_PER_DEGREE: Final = 110_500.0
"""Lower bound of a degree of latitude on the ellipsoid, so that a widened line is never too thin."""


@dataclass(frozen=True)
class Boundary:
    """A ring's boundary in lon/lat, and within how many metres of it a point is on it."""

    level: Level
    polygon: MultiPolygon
    tolerance_m: float = 0.0


@dataclass(frozen=True)
class Membership:
    """Answers for n points and k boundaries, innermost boundary first."""

    zone: list[str]
    inside: Bools
    """Shape (n, k)."""
    on_boundary: Bools
    """Shape (n, k)."""
    distance_m: Floats
    """Shape (n, k), negative inside."""


class RingIndex:
    """Boundaries prepared to be asked many times."""

    def __init__(self, boundaries: Sequence[Boundary], frame: Frame) -> None:
        self.boundaries = tuple(sorted(boundaries, key=lambda found: ORDER.index(found.level)))
        self.frame = frame
        self._rings = tuple(_Ring(boundary, frame) for boundary in self.boundaries)

    def locate(self, lonlat: ArrayLike) -> Membership:
        """Return zone, rings, border flags and signed distances of points, shape (n, 2)."""
        points = _checked(lonlat)
        k = len(self._rings)
        inside = np.empty((len(points), k), bool)
        near = np.empty((len(points), k), bool)
        distance = np.empty((len(points), k))
        xy = self.frame.to_metres(points)
        for place, ring in enumerate(self._rings):
            inside[:, place] = ring.covers(points)
            unsigned = ring.distance(xy)
            near[:, place] = unsigned <= ring.boundary.tolerance_m
            distance[:, place] = np.where(inside[:, place], -unsigned, unsigned) + 0.0
        return Membership(ZONES[self._codes(inside)].tolist(), inside, near, distance)

    def zones(self, lonlat: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return zone codes (places in ``ZONES``) and border bits of points, without distances.

        Bit ``i`` of the second array says that the point is on the border of boundary ``i``.
        """
        points = _checked(lonlat)
        codes = np.full(len(points), OUTSIDE, np.uint8)
        bits = np.zeros(len(points), np.uint8)
        for place in reversed(range(len(self._rings))):
            ring = self._rings[place]
            inside, near = ring.classify(points)
            codes[inside] = ORDER.index(ring.boundary.level)
            bits[near] |= np.uint8(1 << place)
        return codes, bits

    def _codes(self, inside: Bools) -> NDArray[np.intp]:
        codes = np.full(len(inside), OUTSIDE, np.intp)
        for place in reversed(range(len(self._rings))):
            codes[inside[:, place]] = ORDER.index(self._rings[place].boundary.level)
        return codes


def _checked(lonlat: ArrayLike) -> Floats:
    points = np.ascontiguousarray(np.asarray(lonlat, dtype=np.float64).reshape(-1, 2))
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise InvalidShape(f"point {int(np.argmin(finite))} is not two finite numbers")
    return points


class _Ring:
    """One boundary: its polygon prepared in lon/lat, its line in metres, its grid."""

    def __init__(self, boundary: Boundary, frame: Frame) -> None:
        self.boundary = boundary
        self.frame = frame
        self.polygon = boundary.polygon
        shapely.prepare(self.polygon)

    @cached_property
    def line(self) -> Any:
        """The border in metres, prepared."""
        line = self.frame.project(self.polygon.boundary)
        shapely.prepare(line)
        return line

    def covers(self, points: Floats) -> Bools:
        """Tell which points are inside or on the line."""
        found: Bools = shapely.intersects_xy(self.polygon, points[:, 0], points[:, 1])
        return found

    def distance(self, xy: Floats) -> Floats:
        """Return unsigned distances in metres to the border."""
        found: Floats = shapely.distance(self.line, shapely.points(xy))
        return found

    def exact(self, points: Floats) -> tuple[Bools, Bools]:
        """Return covers and on-the-border, each by its exact test."""
        distance = self.distance(self.frame.to_metres(points))
        return self.covers(points), distance <= self.boundary.tolerance_m

    def classify(self, points: Floats) -> tuple[Bools, Bools]:
        """Return covers and on-the-border, through the grid when there are many points."""
        if len(points) < _GRID_PAYS_FROM:
            return self.exact(points)
        cell = self.grid.cells(points)
        kind = self.grid.kinds[cell]
        inside = kind == _INSIDE
        near = np.zeros(len(points), bool)
        mixed = np.flatnonzero(kind == _MIXED)
        if len(mixed):
            inside[mixed], near[mixed] = self.exact(points[mixed])
        return inside, near

    @cached_property
    def grid(self) -> "_Grid":
        """The grid over the ring, made when first needed."""
        return _Grid.over(self)


_OUT, _INSIDE, _MIXED = 0, 1, 2


@dataclass(frozen=True)
class _Grid:
    """Cells over the bounds of a ring; the last cell of ``kinds`` stands for everywhere else."""

    origin: Floats
    per_degree: Floats
    kinds: NDArray[np.uint8]

    @classmethod
    def over(cls, ring: _Ring) -> "_Grid":
        """Classify every cell: touched by the widened line, or wholly inside or outside."""
        margin = _margin_deg(ring)
        west, south, east, north = ring.polygon.bounds
        origin = np.array([west, south]) - 2 * margin
        size = np.array([east, north]) + 2 * margin - origin
        per_degree = _GRID / size
        grid = cls(origin, per_degree, np.zeros(_GRID * _GRID + 1, np.uint8))
        middle = (np.indices((_GRID, _GRID)).reshape(2, -1).T + 0.5) / per_degree + origin
        grid.kinds[:-1] = ring.covers(middle)
        grid.kinds[:-1][_touched(ring, grid, margin)] = _MIXED
        return grid

    def cells(self, points: Floats) -> NDArray[np.int32]:
        """Return the cell of each point, the last one for points off the grid."""
        column = (points[:, 0] - self.origin[0]) * self.per_degree[0]
        row = (points[:, 1] - self.origin[1]) * self.per_degree[1]
        on = (column >= 0) & (column < _GRID) & (row >= 0) & (row < _GRID)
        column = np.where(on, column, 0).astype(np.int32)
        row = np.where(on, row, 0).astype(np.int32)
        cells: NDArray[np.int32] = np.where(on, column * _GRID + row, _GRID * _GRID)
        return cells.astype(np.int32)


def _margin_deg(ring: _Ring) -> Floats:
    """Return the tolerance in degrees of longitude and latitude, never too small."""
    _, south, _, north = ring.polygon.bounds
    widest = np.cos(np.radians(min(89.0, max(abs(south), abs(north)) + 0.1)))
    metres = ring.boundary.tolerance_m * 1.01 + 0.01
    return np.array([metres / (_METRES_PER_DEGREE * widest), metres / _METRES_PER_DEGREE])


def _touched(ring: _Ring, grid: _Grid, margin: Floats) -> NDArray[np.intp]:
    """Return the cells that the bounding boxes of short pieces of the line touch, widened."""
    pieces = []
    cell = float((1 / grid.per_degree).min())
    for line in shapely.get_parts(shapely.segmentize(ring.polygon.boundary, cell)):
        xy = shapely.get_coordinates(line)
        low = np.minimum(xy[:-1], xy[1:]) - margin
        high = np.maximum(xy[:-1], xy[1:]) + margin
        pieces.append(np.hstack([low, high]))
    boxes = np.vstack(pieces)
    low = np.floor((boxes[:, :2] - grid.origin) * grid.per_degree - 1e-6).astype(int)
    high = np.floor((boxes[:, 2:] - grid.origin) * grid.per_degree + 1e-6).astype(int)
    low, high = np.clip(low, 0, _GRID - 1), np.clip(high, 0, _GRID - 1)
    touched = np.zeros((_GRID + 1, _GRID + 1), np.int64)
    np.add.at(touched, (low[:, 0], low[:, 1]), 1)
    np.add.at(touched, (high[:, 0] + 1, low[:, 1]), -1)
    np.add.at(touched, (low[:, 0], high[:, 1] + 1), -1)
    np.add.at(touched, (high[:, 0] + 1, high[:, 1] + 1), 1)
    counts = touched.cumsum(axis=0).cumsum(axis=1)[:_GRID, :_GRID]
    return np.flatnonzero(counts.ravel())
