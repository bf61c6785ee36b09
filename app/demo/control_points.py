"""The 409 control points of the demo city: where roads pass the rings, crossroads, and sites.

Promises 129 + 39 + 47 points exactly on the line at each crossing, 177 on crossroads of the core's
grid and 17 sites in the middle of its blocks: no two share devices unless they share a place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.demo import roads
from app.demo.names import SITES
from app.demo.plan_frame import azimuth_deg, to_lonlat
from app.demo.rings import Floats, Rings, unit
from app.demo.streets import Grid, Junction, Street
from app.models.vocabulary import Category, Level

JUNCTIONS: Final = 177
PLAN: Final[dict[Category, int]] = {
    "city_road": 129,
    "urban_road": 39,
    "core_road": 47,
    "core_junction": JUNCTIONS,
    "core_site": len(SITES),
}
_ROADS: Final[tuple[tuple[Level, Category, str, str, str], ...]] = (
    ("city", "city_road", "CR", "市界", "city border"),
    ("urban", "urban_road", "UR", "城区界", "urban line"),
    ("core", "core_road", "KR", "主城区界", "core line"),
)


@dataclass(frozen=True, eq=False)
class Place:
    """A control point in metres; ``directions`` are those of the traffic it sees."""

    code: str
    category: Category
    xy: Floats
    name_zh: str
    name_en: str
    division: str
    inbound: Floats | None = None
    road_name: str | None = None
    streets: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    carriageways: int = 1
    outline: Floats | None = None


def division(rings: Rings, xy: Floats) -> str:
    """Return the division code (GB/T 2260) a place is filed under; boundaries are made up."""
    angle = float(np.arctan2(xy[1], xy[0]))
    if float(np.hypot(*xy)) > float(rings.urban.radius(angle)) + 1:
        turn = np.degrees(angle) % 360
        if 150 <= turn < 235:
            return "410822"
        return "410823" if 235 <= turn < 310 else "410821"
    limits = ((-2500, "410803"), (500, "410802"), (4000, "410811"))
    return next((code for east, code in limits if xy[0] < east), "410804")


def _directions(streets: Sequence[Street]) -> tuple[str, ...]:
    rules = {street.oneway for street in streets}
    if len(streets) == 1 and rules != {"no"}:
        return ("outbound",) if rules == {"forward"} else ("inbound",)
    return ("inbound", "outbound")


def _on_line(network: Sequence[Street], level: Level) -> list[tuple[float, list[int]]]:
    """Return the crossings of a ring clockwise from north: angle, and the streets that make it."""
    found: dict[float, list[int]] = {}
    for number, street in enumerate(network):
        if level in street.crosses:
            found.setdefault(street.angle, []).append(number)
    return sorted(found.items(), key=lambda item: float(np.mod(np.pi / 2 - item[0], 2 * np.pi)))


def _road_places(rings: Rings, network: Sequence[Street]) -> list[Place]:
    places = []
    for level, category, prefix, line_zh, line_en in _ROADS:
        for number, (angle, members) in enumerate(_on_line(network, level), start=1):
            crossing = [network[member] for member in members]
            road, out = crossing[0].road, unit(angle)
            xy = np.round(out * float(rings.star(level).radius(angle)), 3)
            place = Place(
                code=f"CP-{prefix}-{number:03d}",
                category=category,
                xy=xy,
                name_zh=f"{road.name_zh}{line_zh}控制点",
                name_en=f"{road.name_en} at the {line_en}",
                division=division(rings, xy),
                inbound=-out,
                road_name=road.name_zh,
                streets=tuple(roads.code(member) for member in members),
                directions=_directions(crossing),
                carriageways=len(members),
            )
            places.append(place)
    return places


def _junction_places(rng: np.random.Generator, rings: Rings, junctions: Sequence[Junction]) -> list[Place]:
    chosen = np.sort(rng.choice(len(junctions), JUNCTIONS, replace=False))
    places = []
    for number, index in enumerate(chosen, start=1):
        junction = junctions[index]
        rows, columns = junction.rows, junction.columns
        place = Place(
            code=f"CP-KJ-{number:03d}",
            category="core_junction",
            xy=junction.xy,
            name_zh=f"{rows.name_zh}{columns.name_zh}交叉口",
            name_en=f"{rows.name_en} and {columns.name_en}",
            division=division(rings, junction.xy),
            road_name=rows.name_zh,
        )
        places.append(place)
    return places


def _apart(points: Sequence[Floats], count: int) -> list[Floats]:
    """Return ``count`` of the points, each as far as can be from those before it."""
    every = np.array(points)
    chosen = [int(np.argmin(np.hypot(every[:, 0], every[:, 1])))]
    while len(chosen) < count:
        gaps = np.linalg.norm(every[:, None] - every[chosen][None], axis=2).min(axis=1)
        chosen.append(int(np.argmax(gaps)))
    return [every[index] for index in chosen]


def _outline(rng: np.random.Generator, middle: Floats) -> Floats:
    """Return a closed rectangle (5, 2) around a site."""
    half = np.array([rng.uniform(40, 75), rng.uniform(30, 55)])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * half
    turn = rng.uniform(-0.1, 0.1)
    swing = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(np.round(middle + corners @ swing, 3))


def _site_places(rng: np.random.Generator, rings: Rings, blocks: Sequence[Floats]) -> list[Place]:
    middles = _apart(blocks, len(SITES))
    return [
        Place(
            code=f"CP-KS-{number:03d}",
            category="core_site",
            xy=np.round(middle, 3),
            name_zh=zh,
            name_en=en,
            division=division(rings, middle),
            outline=_outline(rng, middle) if number % 2 else None,
        )
        for number, ((zh, en), middle) in enumerate(zip(SITES, middles, strict=True), start=1)
    ]


def draw(rng: np.random.Generator, rings: Rings, network: Sequence[Street], grid: Grid) -> list[Place]:
    """Return all control points: roads by ring, then crossroads, then sites."""
    return [
        *_road_places(rings, network),
        *_junction_places(rng, rings, grid.junctions()),
        *_site_places(rng, rings, grid.blocks()),
    ]


def _geometry(place: Place) -> dict[str, Any]:
    if place.outline is not None:
        return {"type": "Polygon", "coordinates": [to_lonlat(place.outline).tolist()]}
    return {"type": "Point", "coordinates": to_lonlat(place.xy[None])[0].tolist()}


def draft(place: Place, jurisdiction: str) -> dict[str, Any]:
    """Return the control point draft of a place; a one-way street needs its own direction only."""
    fields: dict[str, Any] = {
        "code": place.code,
        "jurisdiction": jurisdiction,
        "category": place.category,
        "name_zh": place.name_zh,
        "name_en": place.name_en,
        "division_code": place.division,
        "road_name": place.road_name,
        "geometry": _geometry(place),
    }
    if place.inbound is not None:
        fields["inbound_bearing_deg"] = azimuth_deg(place.inbound)
    if len(place.directions) == 1:
        need = {"function": "vehicle", "directions": list(place.directions), "working": 1}
        fields["requirements"] = [need]
    return fields
