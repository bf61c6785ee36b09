"""Membership: the zone of a location, the rings that contain it, and its distance to each boundary.

Inside and outside are decided in longitude and latitude, on the boundary as registered, by exact predicates.
Distances are metres in the local projection, to the same line. All functions give the same result.

**Tie rule:** a ring is a closed set. A point exactly on its line, or on the line of a hole, belongs to it, at
distance 0. A point within the tolerance of the line is also on the boundary.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.geometry import MultiPolygon

from app.geo.arrays import Bools, Bytes, Floats, Ints, Shapes, validate_locations
from app.geo.projection.local_projection import LocalProjection
from app.geo.rings.outline import Outline, divide_edges

Level = Literal["core", "urban", "city"]
LEVELS: Final[tuple[Level, ...]] = ("core", "urban", "city")
"""From the inside out; the level with index i has bit ``1 << i`` in sets of levels."""
ZONES: Final = (*LEVELS, "outside")
"""Zone codes are indices of this tuple."""
OUTSIDE: Final = len(LEVELS)

MAX_TOLERANCE_M: Final = 10_000.0
GRID_FROM: Final = 20_000
"""From this number of points in one call, building the grid is faster than exact tests."""
_SIDE: Final = 512
_CHUNK: Final = 1 << 16
_NEVER_M: Final = 1e-9
"""Least distance that is reported for a point that is not on the line."""
_TOUCH_M: Final = 0.01
"""A point farther from the line than this in the projection is not exactly on it in lon/lat."""
_ROUNDED_DEG: Final = 1e-9
"""More than the rounding error of dividing an edge, less than the accuracy of any survey."""
_HOME_DEG: Final = 3.0
"""Distance around the rings within which the projection measures; farther out the ellipsoid does."""


@dataclass(frozen=True)
class Boundary:
    """One ring.

    Parameters
    ----------
    level : {'core', 'urban', 'city'}
    polygon : MultiPolygon
        Valid, in lon/lat; see `app.geo.rings.validity.check_polygonal`.
    tolerance_m : float
        Distance from the line within which a point is on the boundary, 0 to `MAX_TOLERANCE_M`.

    Raises
    ------
    ValueError
        Unknown level or a tolerance out of range.
    """

    level: Level
    polygon: MultiPolygon
    tolerance_m: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown level or a tolerance out of range."""
        if self.level not in LEVELS:
            raise ValueError(f"unknown level {self.level!r}; levels: {', '.join(LEVELS)}")
        if not 0 <= self.tolerance_m <= MAX_TOLERANCE_M:
            raise ValueError(f"tolerance_m must be in [0, {MAX_TOLERANCE_M:g}]")


@dataclass(frozen=True, eq=False)
class Membership:
    """Membership of n points in k rings, innermost ring first."""

    levels: tuple[Level, ...]
    """Levels of the k rings."""
    zone: list[str]
    """n of `ZONES`: the innermost ring that contains the point."""
    inside: Bools
    """Shape (n, k)."""
    on_boundary: Bools
    """Shape (n, k)."""
    distance_m: Floats
    """Shape (n, k): negative inside, 0 exactly on the line."""


class RingIndex:
    """The rings of one jurisdiction, prepared for many queries from many threads.

    Parameters
    ----------
    boundaries : sequence of Boundary
        At least one, at most one of a level, in any order.
    projection : LocalProjection
        Projection in which distances and tolerances are measured.

    Attributes
    ----------
    boundaries : tuple of Boundary
        Innermost first.
    levels : tuple of str

    Raises
    ------
    ValueError
        No boundary, or two of one level.

    Notes
    -----
    Many points are classified through a grid. A cell that no boundary, widened by its tolerance,
    enters is wholly inside or outside every ring, so one test decides for all its points. Only the
    points in the few remaining cells are tested one by one. The result is the same.

    Examples
    --------
    >>> square = MultiPolygon([shapely.box(113, 35, 114, 36)])
    >>> index = RingIndex([Boundary("city", square, tolerance_m=150)], LocalProjection(4547))
    >>> membership = index.locate_points([(113.5, 35.001), (112.9, 35.5)])
    >>> membership.zone, membership.on_boundary[:, 0].tolist(), membership.distance_m[:, 0].round(1).tolist()
    (['city', 'outside'], [True, False], [-110.9, 9074.0])
    >>> codes, bits = index.classify_points([(113.5, 35.001), (112.9, 35.5)])
    >>> [ZONES[code] for code in codes], bits
    (['city', 'outside'], array([4, 0], dtype=uint8))
    """

    def __init__(self, boundaries: Sequence[Boundary], projection: LocalProjection) -> None:
        self.boundaries = tuple(sorted(boundaries, key=lambda boundary: LEVELS.index(boundary.level)))
        self.levels = tuple(boundary.level for boundary in self.boundaries)
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise ValueError("an index has at least one boundary, and at most one boundary of each level")
        self.projection = projection
        self._lock = threading.RLock()
        self._rings = tuple(_PreparedRing(boundary, projection, self._lock) for boundary in self.boundaries)
        west, south, east, north = shapely.total_bounds([boundary.polygon for boundary in self.boundaries])
        self._home = (west - _HOME_DEG, south - _HOME_DEG, east + _HOME_DEG, north + _HOME_DEG)
        self._grid: _CellGrid | None = None

    def locate_points(self, lonlat: ArrayLike) -> Membership:
        """Return zones, rings, boundary flags and signed distances of points.

        Parameters
        ----------
        lonlat : array_like, shape (n, 2)
            Degrees, longitude first.

        Returns
        -------
        Membership
            Within 3 degrees around the rings, distances are lengths in the projection; beyond, they
            are geodesics on the ellipsoid.

        Raises
        ------
        InvalidShape
            A position is not a location on Earth.
        """
        points = validate_locations(lonlat)
        n, k = len(points), len(self._rings)
        inside, distance = np.empty((n, k), np.bool_), np.empty((n, k))
        west, south, east, north = self._home
        lon, lat = points[:, 0], points[:, 1]
        home = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
        near_rows, far_rows = np.flatnonzero(home), np.flatnonzero(~home)
        xy = self.projection.to_metres(points[near_rows])
        metric_points = np.asarray(shapely.points(xy), dtype=object)
        codes = np.full(n, OUTSIDE)
        for column in reversed(range(k)):  # the innermost ring is the last to set the zone
            ring = self._rings[column]
            inside[:, column] = ring.covers_points(points)
            distance[near_rows, column] = ring.signed_distance(
                points[near_rows], xy, inside[near_rows, column], metric_points
            )
            distance[far_rows, column] = ring.outline.geodesic_distance(points[far_rows])
            codes[inside[:, column]] = ring.level_index
        tolerances = [boundary.tolerance_m for boundary in self.boundaries]
        on_boundary = np.abs(distance) <= tolerances
        zone = np.array(ZONES, dtype=object)[codes].tolist()
        return Membership(self.levels, zone, inside, on_boundary, distance)

    def classify_points(self, lonlat: ArrayLike) -> tuple[Bytes, Bytes]:
        """Return zone codes and boundary bits of points, without distances; fast for millions of points.

        Parameters
        ----------
        lonlat : array_like, shape (n, 2)
            Degrees, longitude first.

        Returns
        -------
        codes : ndarray of uint8, shape (n,)
            Indices of `ZONES`.
        bits : ndarray of uint8, shape (n,)
            Levels on whose boundary the point is, as bits ``1 << index`` in `LEVELS`.

        Raises
        ------
        InvalidShape
            A position is not a location on Earth.
        """
        points = validate_locations(lonlat)
        if self._grid is None and len(points) < GRID_FROM:
            rows = np.arange(len(points))
            inside, on_boundary = np.zeros(len(points), np.uint8), np.zeros(len(points), np.uint8)
            for ring in self._rings:
                self.classify_exactly(ring, points, rows, inside, on_boundary)
            return _INNERMOST[inside], on_boundary
        return self.classify_by_grid(points, self.load_grid())

    def classify_by_grid(self, points: Floats, grid: "_CellGrid") -> tuple[Bytes, Bytes]:
        """Return zone codes and boundary bits; points in mixed cells are tested exactly."""
        codes, bits = np.empty(len(points), np.uint8), np.zeros(len(points), np.uint8)
        unsure, cells_of_unsure = [], []
        for start in range(0, len(points), _CHUNK):  # a chunk fits into the cache of the processor
            chunk = slice(start, start + _CHUNK)
            cells = grid.classify_cells(points[chunk])
            codes[chunk] = _ZONE_OF_CELL[cells]
            mixed = np.flatnonzero(cells > _ALL)
            unsure.append(mixed + start)
            cells_of_unsure.append(cells[mixed])
        rows = np.concatenate(unsure) if unsure else np.empty(0, np.int64)
        cells = np.concatenate(cells_of_unsure) if unsure else np.empty(0, np.uint8)
        inside, on_boundary = cells & np.uint8(_ALL), np.zeros(len(rows), np.uint8)
        undecided = points[rows]
        for ring in self._rings:
            ring_rows = np.flatnonzero(cells & np.uint8(ring.bit << _MIXED_SHIFT))
            self.classify_exactly(ring, undecided, ring_rows, inside, on_boundary)
        codes[rows], bits[rows] = _INNERMOST[inside], on_boundary
        return codes, bits

    def classify_exactly(
        self, ring: "_PreparedRing", points: Floats, rows: Ints, inside: Bytes, on_boundary: Bytes
    ) -> None:
        """Set a ring's bit in `inside` and `on_boundary` for some rows of the points, by exact tests."""
        subset = points[rows]
        covered = ring.covers_points(subset)
        inside[rows] |= covered * np.uint8(ring.bit)
        on_boundary[rows] |= ring.is_on_boundary(subset, covered) * np.uint8(ring.bit)

    def load_grid(self) -> "_CellGrid":
        """Return the grid, built at first use."""
        with self._lock:
            if self._grid is None:
                self._grid = _CellGrid.build_grid(self._rings, self.projection)
            return self._grid


_MIXED_SHIFT: Final = 3
_ALL: Final = (1 << _MIXED_SHIFT) - 1
# Zone of a set of rings: the innermost of them, which has the lowest bit.
_INNERMOST: Final = np.array([OUTSIDE, 0, 1, 0, 2, 0, 1, 0], dtype=np.uint8)
_ZONE_OF_CELL: Final = _INNERMOST[np.arange(256) & _ALL]


class _PreparedRing:
    """One boundary: its polygon prepared in lon/lat, and its line in metres, built at first use."""

    def __init__(self, boundary: Boundary, projection: LocalProjection, lock: threading.RLock) -> None:
        self.polygon, self.tolerance_m = boundary.polygon, boundary.tolerance_m
        self.level_index = LEVELS.index(boundary.level)
        self.bit = 1 << self.level_index
        self._projection, self._lock = projection, lock
        self._outline: Outline | None = None
        # GEOS builds the index of a prepared polygon at the second query, and this is not safe in two
        # threads at once; so the queries are made here.
        shapely.prepare(self.polygon)
        west, south, east, north = self.polygon.bounds
        x, y = np.full(3, (west + east) / 2), np.full(3, (south + north) / 2)
        shapely.intersects_xy(self.polygon, x, y)
        shapely.contains_xy(self.polygon, x, y)

    @property
    def outline(self) -> Outline:
        """The boundary line in metres."""
        if self._outline is None:
            with self._lock:
                if self._outline is None:
                    self._outline = Outline(self.polygon, self._projection)
        return self._outline

    def covers_points(self, points: Floats) -> Bools:
        """Return which points are inside or on the line."""
        return np.asarray(shapely.intersects_xy(self.polygon, points[:, 0], points[:, 1]))

    def touches_points(self, points: Floats, covered: Bools) -> Bools:
        """Return which points are exactly on the line."""
        return covered & ~np.asarray(shapely.contains_xy(self.polygon, points[:, 0], points[:, 1]))

    def signed_distance(
        self, points: Floats, xy: Floats, covered: Bools, metric_points: Shapes | None = None
    ) -> Floats:
        """Return signed distances to the line; sign and zero follow the test in lon/lat."""
        away = np.maximum(self.outline.distance(xy, metric_points), _NEVER_M)
        close = np.flatnonzero(away < _TOUCH_M)
        away[close[self.touches_points(points[close], covered[close])]] = 0.0
        return np.where(covered, -away, away) + 0.0

    def is_on_boundary(self, points: Floats, covered: Bools) -> Bools:
        """Return which points are within the tolerance of the line, as `signed_distance` measures it."""
        if self.tolerance_m == 0:
            return self.touches_points(points, covered)
        on_boundary = np.zeros(len(points), np.bool_)
        rows = np.flatnonzero(self.is_measurable(points))
        xy = self._projection.to_metres(points[rows])
        close = self.outline.is_within(xy, self.tolerance_m + _TOUCH_M)
        rows, xy = rows[close], xy[close]
        on_boundary[rows] = np.abs(self.signed_distance(points[rows], xy, covered[rows])) <= self.tolerance_m
        return on_boundary

    def is_measurable(self, points: Floats) -> Bools:
        """Return which points are near enough for the projection to measure them."""
        west, south, east, north = self.polygon.bounds
        lon, lat = points[:, 0], points[:, 1]
        return (
            (lon >= west - _HOME_DEG)
            & (lon <= east + _HOME_DEG)
            & (lat >= south - _HOME_DEG)
            & (lat <= north + _HOME_DEG)
        )


@dataclass(frozen=True, eq=False)
class _CellGrid:
    """Grid of cells over all rings; low bits of a cell: inside; high bits: a widened line enters it.

    `classify_cells` finds the cell of a point by arithmetic that is monotonic in the coordinate, and
    `find_line_cells` uses the same arithmetic. So rounding cannot put a point and a line that are in
    the same cell into different cells.
    """

    west: float
    south: float
    per_lon: float
    per_lat: float
    width: int
    height: int
    kinds: Bytes

    @classmethod
    def build_grid(cls, rings: Sequence[_PreparedRing], projection: LocalProjection) -> "_CellGrid":
        """Classify every cell for every ring."""
        widths = [compute_tolerance_deg(ring, projection) for ring in rings]
        bounds = shapely.total_bounds([ring.polygon for ring in rings])
        margin = np.max(widths, axis=0)
        low, high = bounds[:2] - margin, bounds[2:] + margin
        cell = np.maximum((high - low) / _SIDE, margin / 2)
        counts = np.ceil((high - low) / cell).astype(np.int64) + 4
        low -= 2 * cell  # outer cells that no line enters; all points beyond the grid are in them
        per_lon, per_lat = 1 / cell
        width, height = counts.tolist()
        kinds = np.zeros(width * height, np.uint8)
        grid = cls(float(low[0]), float(low[1]), per_lon, per_lat, width, height, kinds)
        for ring, widened in zip(rings, widths, strict=True):
            entered = grid.find_line_cells(ring, widened, cell)
            kinds |= entered.ravel() * np.uint8(ring.bit << _MIXED_SHIFT)
            kinds |= grid.find_inside_cells(ring, entered).ravel() * np.uint8(ring.bit)
        return grid

    def classify_cells(self, points: Floats) -> Bytes:
        """Return the kind of the cell of each point."""
        cell_index = self.to_row(points[:, 1])
        cell_index *= self.width
        cell_index += self.to_column(points[:, 0])
        return self.kinds[cell_index]

    def to_column(self, lon: Floats) -> Ints:
        return to_cell_index(lon, self.west, self.per_lon, self.width)

    def to_row(self, lat: Floats) -> Ints:
        return to_cell_index(lat, self.south, self.per_lat, self.height)

    def find_line_cells(self, ring: _PreparedRing, widened: Floats, cell: Floats) -> Bools:
        """Return the cells that the widened boxes around short segments of the line enter."""
        border = shapely.segmentize(divide_edges(ring.polygon.boundary), float(cell.min()) * 2)
        xy, line = shapely.get_coordinates(shapely.get_parts(border), return_index=True)
        same = np.flatnonzero(line[1:] == line[:-1])
        low = np.minimum(xy[same], xy[same + 1]) - widened
        high = np.maximum(xy[same], xy[same + 1]) + widened
        west, east = self.to_column(low[:, 0]), self.to_column(high[:, 0])
        south, north = self.to_row(low[:, 1]), self.to_row(high[:, 1])
        # The cumulative sums of the signed corners of boxes along both axes count the boxes over each cell.
        size = (self.height + 1) * (self.width + 1)
        count = np.zeros(size, np.int64)
        for row, column, sign in (
            (south, west, 1),
            (north + 1, east + 1, 1),
            (south, east + 1, -1),
            (north + 1, west, -1),
        ):
            count += sign * np.bincount(row * (self.width + 1) + column, minlength=size)
        summed = count.reshape(self.height + 1, self.width + 1).cumsum(axis=0).cumsum(axis=1)
        return np.asarray(summed[:-1, :-1] > 0)

    def find_inside_cells(self, ring: _PreparedRing, entered: Bools) -> Bools:
        """Return which cells are inside, by one test for each run of cells without a line."""
        free = ~entered
        first = free.copy()
        first[:, 1:] &= entered[:, :-1]
        row, column = np.nonzero(first)
        middle = np.column_stack(
            [
                self.west + (column + 0.5) / self.per_lon,
                self.south + (row + 0.5) / self.per_lat,
            ]
        )
        run = np.cumsum(first.ravel()).reshape(first.shape) - 1
        inside = np.zeros(free.shape, np.bool_)
        inside[free] = ring.covers_points(middle)[run[free]]
        return inside


def to_cell_index(values: Floats, origin: float, per_degree: float, count: int) -> Ints:
    """Return the indices of cells along one axis, clamped to the grid."""
    scaled = (values - origin) * per_degree
    np.clip(scaled, 0, count - 1, out=scaled)
    return scaled.astype(np.int64)


def compute_tolerance_deg(ring: _PreparedRing, projection: LocalProjection) -> Floats:
    """Return an upper bound of the tolerance of a ring in degrees of longitude and latitude.

    It is computed from the derivatives of the projection at points all over the bounds of the ring: a
    step of one metre in the projection changes longitude and latitude by the rows of the inverse Jacobian.
    """
    if ring.tolerance_m == 0:
        return np.full(2, _ROUNDED_DEG)
    west, south, east, north = ring.polygon.bounds
    lon, lat = np.meshgrid(np.linspace(west, east, 9), np.linspace(south, north, 9))
    sample_points = np.column_stack([lon.ravel(), lat.ravel()])
    step = 1e-4
    metric_points = projection.to_metres(sample_points)
    columns = [projection.to_metres(sample_points + by) - metric_points for by in ([step, 0.0], [0.0, step])]
    inverse = np.linalg.inv(np.stack(columns, axis=2) / step)
    per_metre = np.sqrt((inverse**2).sum(axis=2)).max(axis=0)
    return np.asarray(per_metre * (ring.tolerance_m + _TOUCH_M) * 1.1)
