"""The three rings of the demo city, and the (angle, band) coordinates of its roads.

The three lines are nested and star-shaped around one centre, in metres of EPSG:4547 from that centre. Core and
urban line share their northern arc vertex by vertex. A location outside the core has an angle and a band: the band
is 1 on the core line, 2 on the urban line and 3 on the city line, and linear between them. So a line of constant
band between two whole numbers never meets a ring.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.demo.city_plan import to_lonlat
from app.models.vocabulary import LEVELS, Level

Floats = NDArray[np.float64]

SHARED_ARC: Final = (np.radians(52.0), np.radians(128.0))
"""Angles, counter-clockwise from east, between which core and urban line are the same."""

VERTICES: Final[dict[Level, int]] = {"core": 300, "urban": 400, "city": 900}
TOLERANCE_M: Final[dict[Level, float]] = {"core": 5.0, "urban": 5.0, "city": 10.0}
NAMES: Final[dict[Level, tuple[str, str]]] = {
    "core": ("主城区内层防控圈", "Main core ring"),
    "urban": ("环城防控圈", "Urban ring"),
    "city": ("环市防控圈", "City border ring"),
}
SOURCE: Final = "synthetic demo data, drawn by app.demo; not a surveyed boundary"
_TURN: Final = 2 * np.pi
_BEYOND_M: Final = 8000.0
"""Width of one band outside the city line."""


def unit_vector(angle: Floats | float) -> Floats:
    """Return unit vectors (n, 2) east, north of angles in radians counter-clockwise from east."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@dataclass(frozen=True)
class PolarLine:
    """A closed line seen from the centre: ascending angles in [0, 2 pi) and radii in metres."""

    angles: Floats
    radii: Floats

    @cached_property
    def vertices(self) -> Floats:
        """Vertices (n, 2) in metres from the centre, not closed."""
        return np.round(unit_vector(self.angles) * self.radii[:, None], 3)

    def compute_radius(self, angle: Floats | float) -> Floats:
        """Return the distance in metres at which the ray of ``angle`` meets the line, exactly."""
        vertices = self.vertices
        after = np.searchsorted(self.angles, np.mod(angle, _TURN), side="right") % len(vertices)
        start, end = vertices[after - 1], vertices[after]
        side, ray = end - start, unit_vector(angle)
        return np.asarray(cross_product(start, side) / cross_product(ray, side))


@dataclass(frozen=True)
class Rings:
    """The three lines, from the inside out."""

    core: PolarLine
    urban: PolarLine
    city: PolarLine

    def get_line(self, level: Level) -> PolarLine:
        """Return the line of a level."""
        lines: dict[Level, PolarLine] = {"core": self.core, "urban": self.urban, "city": self.city}
        return lines[level]

    def compute_gap(self, angle: Floats | float) -> Floats:
        """Return the metres between core and urban line along a ray."""
        return np.subtract(self.urban.compute_radius(angle), self.core.compute_radius(angle))

    def to_xy(self, angle: Floats | float, band: Floats | float) -> Floats:
        """Return points (n, 2) in metres from the centre of (angle, band) coordinates."""
        angles, bands = np.broadcast_arrays(np.atleast_1d(angle), np.atleast_1d(band))
        lines = [self.get_line(level).compute_radius(angles) for level in LEVELS]
        knots = np.stack([np.zeros_like(lines[0]), *lines, lines[-1] + _BEYOND_M])
        below = np.clip(np.floor(bands).astype(int), 0, 3)
        share, column = bands - below, np.arange(len(angles))
        radii = knots[below, column] * (1 - share) + knots[below + 1, column] * share
        xy: Floats = np.round(unit_vector(angles) * radii[:, None], 3)
        return xy


def cross_product(a: Floats, b: Floats) -> Floats:
    """Return the z components of the cross products of vectors."""
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def build_oval(a: float, b: float, power: float, shift: float = 0.0) -> PolarLine:
    """Return a superellipse of half axes ``a``, ``b`` moved north by ``shift`` metres."""
    turn = np.linspace(0, _TURN, 2000, endpoint=False)
    bend = 2 / power
    x = a * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** bend
    y = b * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** bend + shift
    angles = np.mod(np.arctan2(y, x), _TURN)
    order = np.unique(np.round(angles, 9), return_index=True)[1]
    return PolarLine(angles[order], np.hypot(x, y)[order])


def build_roughness(rng: np.random.Generator, angles: Floats, amplitude: float, rough: float) -> Floats:
    """Return factors around 1: smooth bays of relative ``amplitude`` and a ``rough`` edge."""
    orders = np.arange(3, 28)
    phases = rng.uniform(0, _TURN, len(orders))
    waves = np.sin(np.outer(angles, orders) + phases) / orders
    return np.asarray(1 + amplitude * waves.sum(axis=1) + rng.normal(0, rough, len(angles)))


def choose_angles(rng: np.random.Generator, count: int) -> Floats:
    """Return ``count`` ascending angles around the circle, unevenly spaced."""
    step = _TURN / count
    return np.asarray((np.arange(count) + rng.uniform(0.2, 0.8, count)) * step)


def build_rough_line(rng: np.random.Generator, base: PolarLine, count: int, bays: float, rough: float) -> PolarLine:
    """Return a line around the base with bays and a rough edge."""
    angles = choose_angles(rng, count)
    return PolarLine(angles, base.compute_radius(angles) * build_roughness(rng, angles, bays, rough))


def build_core_line(rng: np.random.Generator, urban: PolarLine) -> PolarLine:
    """Return the core line: the urban line in the north, its own line elsewhere, well inside."""
    margin = np.radians(10)
    low, high = SHARED_ARC
    shared = urban.angles[(urban.angles > low - margin) & (urban.angles < high + margin)]
    span = _TURN - (shared[-1] - shared[0])
    count = VERTICES["core"] - len(shared)
    own = shared[-1] + (np.arange(count) + rng.uniform(0.7, 1.3, count)) * span / (count + 1)
    angles = np.sort(np.concatenate([shared, np.mod(own, _TURN)]))
    outside = np.degrees(np.maximum(np.maximum(low - angles, angles - high), 0))
    free = build_oval(3500, 2600, 3).compute_radius(angles) * build_roughness(rng, angles, 0.02, 0.002)
    edge = urban.compute_radius(angles)
    radii = np.minimum(free, edge - np.minimum(80 * outside, 600))
    inside = np.searchsorted(urban.angles, angles[outside == 0])
    radii[outside == 0] = urban.radii[inside]
    return PolarLine(angles, radii)


def build_rings(rng: np.random.Generator) -> Rings:
    """Return the three rings."""
    city = build_rough_line(rng, build_oval(22_500, 15_000, 2.5), VERTICES["city"], 0.06, 0.0012)
    urban = build_rough_line(rng, build_oval(7000, 5000, 3, -2400), VERTICES["urban"], 0.03, 0.0015)
    return Rings(build_core_line(rng, urban), urban, city)


def build_ring_feature(rings: Rings, level: Level) -> dict[str, Any]:
    """Return the GeoJSON Feature of the ring of a level."""
    vertices = rings.get_line(level).vertices
    line = to_lonlat(np.vstack([vertices, vertices[:1]]))
    name_zh, name_en = NAMES[level]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [line.tolist()]},
        "properties": {
            "name_zh": name_zh,
            "name_en": f"{name_en} (synthetic)",
            "source": SOURCE,
            "tolerance_m": TOLERANCE_M[level],
        },
    }
