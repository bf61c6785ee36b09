"""The streets of the road network, and the grid of streets inside the core.

Streets meet only at their ends: every end is a junction, and streets that meet share its coordinates exactly. All is in
metres from the centre of the city.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import shapely

from app.demo.names import EAST_WEST, NORTH_SOUTH
from app.demo.rings import Floats, Rings, unit_vector
from app.models.vocabulary import Level, OneWay, RoadClass

BLOCK_M: Final = 350.0
LOOP_M: Final = 180.0
"""Distance of the inner ring road from the core line."""
_REACH: Final = (10, 8)
TILT: Final = np.radians(3.0)
_SNAP_M: Final = 60.0


@dataclass(frozen=True)
class DemoRoad:
    """What all edges of one road share."""

    group: str
    name_zh: str
    name_en: str
    road_class: RoadClass
    number: str | None = None


@dataclass(frozen=True, eq=False)
class Street:
    """One road edge between two junctions; ``crosses`` names the rings it passes, outward."""

    xy: Floats
    road: DemoRoad
    oneway: OneWay = "no"
    layer: int = 0
    crosses: tuple[Level, ...] = ()
    angle: float = 0.0


@dataclass(frozen=True)
class Junction:
    """A crossroads of two streets of the grid."""

    xy: Floats
    rows: DemoRoad
    columns: DemoRoad


Cell = tuple[int, int]


@dataclass
class Grid:
    """The grid of the core: streets, crossroads by cell, and its ends on the inner ring road."""

    streets: list[Street] = field(default_factory=list)
    nodes: dict[Cell, Floats] = field(default_factory=dict)
    loop_angles: list[float] = field(default_factory=list)
    degree: dict[Cell, int] = field(default_factory=dict)

    def list_junctions(self) -> list[Junction]:
        """Return the crossroads at which three streets or more meet."""
        return [
            Junction(self.nodes[cell], build_row_road(cell[1]), build_column_road(cell[0]))
            for cell in sorted(self.nodes)
            if self.degree[cell] >= 3
        ]

    def list_block_centres(self) -> list[Floats]:
        """Return the middles of the blocks that have all four corners."""
        middles = []
        for i, j in sorted(self.nodes):
            corners = [(i, j), (i + 1, j), (i, j + 1), (i + 1, j + 1)]
            if all(compute_corner in self.nodes for compute_corner in corners):
                middles.append(np.mean([self.nodes[compute_corner] for compute_corner in corners], axis=0))
        return middles


def build_row_road(j: int) -> DemoRoad:
    """Return the road of a row of the grid."""
    zh, en = EAST_WEST[j + _REACH[1]]
    road_class: RoadClass = "urban_arterial" if j % 4 == 0 else "urban_minor"
    return DemoRoad(f"RG-EW{j + _REACH[1]:02d}", zh, en, road_class)


def build_column_road(i: int) -> DemoRoad:
    """Return the road of a column of the grid."""
    zh, en = NORTH_SOUTH[i + _REACH[0]]
    road_class: RoadClass = "urban_arterial" if i % 5 == 0 else "urban_minor"
    return DemoRoad(f"RG-NS{i + _REACH[0]:02d}", zh, en, road_class)


def compute_loop_points(rings: Rings, angle: Floats | float) -> Floats:
    """Return points (n, 2) of the inner ring road at angles."""
    angles = np.atleast_1d(angle)
    return np.round(unit_vector(angles) * (rings.core.compute_radius(angles) - LOOP_M)[:, None], 3)


def choose_crossroads(rng: np.random.Generator, rings: Rings) -> dict[Cell, Floats]:
    """Return the crossroads of the grid by cell, as far as the inner ring road leaves room."""
    turn = np.array([[np.cos(TILT), np.sin(TILT)], [-np.sin(TILT), np.cos(TILT)]])
    nodes = {}
    for i in range(-_REACH[0], _REACH[0] + 1):
        for j in range(-_REACH[1], _REACH[1] + 1):
            shift = np.clip(rng.normal(0, 14, 2), -22, 22)
            xy = np.round((np.array([i, j]) * BLOCK_M) @ turn + shift, 3)
            room = rings.core.compute_radius(np.arctan2(xy[1], xy[0])) - np.hypot(*xy)
            if room > LOOP_M + 140:
                nodes[i, j] = xy
    return nodes


def bend_line(rng: np.random.Generator, start: Floats, end: Floats) -> Floats:
    """Return a street from ``start`` to ``end`` with one slight bend."""
    middle = np.round((start + end) / 2 + rng.normal(0, 4, 2), 3)
    return np.vstack([start, middle, end])


def choose_oneway(cell: Cell, along_row: bool) -> OneWay:
    """Return the rule of a street: two neighbouring columns are one-way, against each next_cell."""
    if along_row:
        return "no"
    return {-3: "forward", -2: "backward"}.get(cell[0], "no")  # type: ignore[return-value]  # OneWay words


def count_neighbours(nodes: dict[Cell, Floats], cell: Cell) -> int:
    """Return the number of neighbouring crossroads."""
    i, j = cell
    return sum(neighbour in nodes for neighbour in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)))


def add_block_streets(rng: np.random.Generator, grid: Grid) -> None:
    """Add the streets between neighbouring crossroads, leaving out a few in the inside."""
    closed: set[Cell] = set()
    for cell in sorted(grid.nodes):
        for along_row, next_cell in ((True, (cell[0] + 1, cell[1])), (False, (cell[0], cell[1] + 1))):
            if next_cell not in grid.nodes:
                continue
            full = min(count_neighbours(grid.nodes, end) for end in (cell, next_cell)) == 4
            if full and not closed & {cell, next_cell} and rng.random() < 0.08:
                closed |= {cell, next_cell}
                continue
            road = build_row_road(cell[1]) if along_row else build_column_road(cell[0])
            xy = bend_line(rng, grid.nodes[cell], grid.nodes[next_cell])
            grid.streets.append(Street(xy, road, choose_oneway(cell, along_row)))
            for end in (cell, next_cell):
                grid.degree[end] = grid.degree.get(end, 0) + 1


def choose_link_angle(rings: Rings, node: Floats, radial_angles: Floats) -> float:
    """Return the angle at which a crossroads meets the ring road, at a radial road if one is near."""
    angle = float(np.mod(np.arctan2(node[1], node[0]), 2 * np.pi))
    nearest = float(radial_angles[np.argmin(np.abs(np.angle(np.exp(1j * (radial_angles - angle)))))])
    distance_m = np.hypot(*(compute_loop_points(rings, nearest)[0] - compute_loop_points(rings, angle)[0]))
    return nearest if distance_m < _SNAP_M else angle


def add_links(rings: Rings, grid: Grid, radial_angles: Floats) -> None:
    """Lead the rim of the grid out to the inner ring road wherever the way is free."""
    inner = shapely.MultiLineString([street.xy for street in grid.streets])
    taken = [shapely.Point(compute_loop_points(rings, radial_angle)[0]) for radial_angle in radial_angles]
    built = list(grid.streets)
    for cell in sorted(grid.nodes):
        node = grid.nodes[cell]
        if count_neighbours(grid.nodes, cell) == 4:
            continue
        angle = choose_link_angle(rings, node, radial_angles)
        end = compute_loop_points(rings, angle)[0]
        outer = shapely.LineString([node + (end - node) * 40 / np.hypot(*(end - node)), end])
        at_radial = bool(np.any(radial_angles == angle))
        crowded = not at_radial and any(shapely.Point(end).distance(point) < _SNAP_M for point in taken)
        others = shapely.MultiLineString([street.xy for street in built])
        if crowded or min(outer.distance(inner), outer.distance(others)) < 25:
            continue
        road = build_column_road(cell[0]) if abs(end[1] - node[1]) > abs(end[0] - node[0]) else build_row_road(cell[1])
        built.append(Street(np.vstack([node, end]), road))
        taken.append(shapely.Point(end))
        grid.loop_angles.append(angle)
        grid.degree[cell] = grid.degree.get(cell, 0) + 1
    grid.streets = built


def build_grid(rng: np.random.Generator, rings: Rings, radial_angles: Floats) -> Grid:
    """Return the grid of the core, linked to the inner ring road, where radial roads begin at ``radial_angles``."""
    grid = Grid(nodes=choose_crossroads(rng, rings))
    add_block_streets(rng, grid)
    add_links(rings, grid, radial_angles)
    return grid
