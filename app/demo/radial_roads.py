"""The radial roads of the demo city: roads that leave it and cross the rings.

47 roads leave the core; 39 of them continue through the urban line and the city line, and 90 more roads cross only the
city line, 129 in all. Eight of the 39 leave through the shared northern arc.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from app.demo.names import AVENUES, VILLAGE_ROADS
from app.demo.rings import SHARED_ARC, Floats, Rings
from app.demo.streets import DemoRoad
from app.models.vocabulary import RoadClass

CORE_RADIALS: Final = 47
URBAN_RADIALS: Final = 39
CITY_RADIALS: Final = 129
_IN_STRETCH: Final = 8
THICK_M: Final = 900.0
"""Width between core and urban line from which there are streets between them."""
_FULL_TURN: Final = 2 * np.pi


@dataclass(frozen=True)
class RadialRoad:
    """A road that leaves the city; ``core``, ``urban``, ``city`` are the lines that it crosses.

    Angles are radians counter-clockwise from east, ascending from the end of the shared arc.
    """

    angle: float
    road: DemoRoad
    core: bool
    urban: bool
    city: bool


def choose_core_angles(rng: np.random.Generator) -> Floats:
    """Return 39 angles outside the shared arc and, after them, 8 inside it; ascending, not reduced to one turn."""
    low, high = SHARED_ARC
    off, on = CORE_RADIALS - _IN_STRETCH, _IN_STRETCH
    start, end = high + np.radians(5), low - np.radians(5) + _FULL_TURN
    step = (end - start) / (off - 1)
    outside = start + (np.arange(off) + rng.uniform(-0.15, 0.15, off)) * step
    width = (high - low) / on
    inside = low + _FULL_TURN + (np.arange(on) + rng.uniform(0.35, 0.65, on)) * width
    return np.concatenate([outside, inside])


def choose_early_ends(rings: Rings, angles: Floats) -> set[int]:
    """Return the indices of the eight roads that end before the urban line; two are neighbours."""
    wide = np.flatnonzero(rings.compute_gap(angles) > THICK_M)
    picked = np.linspace(3, len(wide) - 4, CORE_RADIALS - URBAN_RADIALS - 1).astype(int)
    return {int(wide[picked[0] + 1]), *(int(wide[index]) for index in picked)}


def build_arterial(index: int, through: bool) -> DemoRoad:
    """Return an arterial; one that ends before the urban line is a minor road."""
    zh, en = AVENUES[index]
    if not through:
        return DemoRoad(f"RG-A{index + 1:02d}", zh, en, "urban_minor")
    road_class: RoadClass = "national" if index % 5 == 0 else "provincial"
    number = f"G59{index // 5}" if road_class == "national" else f"S9{index:02d}"
    return DemoRoad(f"RG-A{index + 1:02d}", zh, en, road_class, number)


def build_village_road(index: int) -> DemoRoad:
    """Return a county road."""
    zh, en = VILLAGE_ROADS[index]
    return DemoRoad(f"RG-X{index + 1:02d}", zh, en, "county", f"X9{index:02d}")


def choose_gap_angles(rng: np.random.Generator, rings: Rings, angles: list[float], count: int) -> list[float]:
    """Return ``count`` additional angles, each in the gap that is then the widest on the city line."""
    all_angles, added = sorted(angles), []
    for _ in range(count):
        ends = np.array([*all_angles, all_angles[0] + _FULL_TURN])
        gaps = np.diff(ends) * rings.city.compute_radius((ends[1:] + ends[:-1]) / 2)
        widest = int(np.argmax(gaps))
        share = rng.uniform(0.42, 0.58)
        angle = float(ends[widest] * (1 - share) + ends[widest + 1] * share)
        all_angles = sorted([*all_angles, angle])
        added.append(angle)
    return sorted(added)


def build_radial_roads(rng: np.random.Generator, rings: Rings) -> list[RadialRoad]:
    """Return all radial roads by ascending angle."""
    core = choose_core_angles(rng)
    early = choose_early_ends(rings, core)
    radials = [
        RadialRoad(float(angle), build_arterial(index, index not in early), True, through, through)
        for index, angle in enumerate(core)
        for through in [index not in early]
    ]
    through_angles = [radial.angle for radial in radials if radial.city]
    village_angles = choose_gap_angles(rng, rings, through_angles, CITY_RADIALS - URBAN_RADIALS)
    radials += [
        RadialRoad(angle, build_village_road(index), core=False, urban=False, city=True)
        for index, angle in enumerate(village_angles)
    ]
    return sorted(radials, key=lambda radial: radial.angle)
