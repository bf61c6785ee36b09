"""The 409 control points of the demo city: where roads cross the rings, at crossroads, and at sites.

129 + 39 + 47 points are exactly on the line at each crossing, 177 are at crossroads of the grid of the core, and 17
sites are in the middle of its blocks. Two points share devices only if they have the same location.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.demo import roads
from app.demo.city_plan import compute_azimuth, to_lonlat
from app.demo.names import SITES
from app.demo.rings import Floats, Rings, unit_vector
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
class DemoPoint:
    """A control point in metres; ``directions`` are the directions of its traffic."""

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


def find_division(rings: Rings, xy: Floats) -> str:
    """Return the division code (GB/T 2260) of a location; the boundaries of the divisions are invented."""
    angle = float(np.arctan2(xy[1], xy[0]))
    if float(np.hypot(*xy)) > float(rings.urban.compute_radius(angle)) + 1:
        turn = np.degrees(angle) % 360
        if 150 <= turn < 235:
            return "410822"
        return "410823" if 235 <= turn < 310 else "410821"
    limits = ((-2500, "410803"), (500, "410802"), (4000, "410811"))
    return next((code for east, code in limits if xy[0] < east), "410804")


def find_directions(streets: Sequence[Street]) -> tuple[str, ...]:
    """Return the directions of traffic on the streets of a crossing."""
    rules = {street.oneway for street in streets}
    if len(streets) == 1 and rules != {"no"}:
        return ("outbound",) if rules == {"forward"} else ("inbound",)
    return ("inbound", "outbound")


def find_crossings(network: Sequence[Street], level: Level) -> list[tuple[float, list[int]]]:
    """Return the crossings of a ring clockwise from north: angle, and indices of the streets."""
    by_angle: dict[float, list[int]] = {}
    for number, street in enumerate(network):
        if level in street.crosses:
            by_angle.setdefault(street.angle, []).append(number)
    return sorted(by_angle.items(), key=lambda item: float(np.mod(np.pi / 2 - item[0], 2 * np.pi)))


def build_road_points(rings: Rings, network: Sequence[Street]) -> list[DemoPoint]:
    """Return the control points where roads cross the rings."""
    demo_points = []
    for level, category, prefix, line_zh, line_en in _ROADS:
        for number, (angle, members) in enumerate(find_crossings(network, level), start=1):
            crossing = [network[member] for member in members]
            road, out = crossing[0].road, unit_vector(angle)
            xy = np.round(out * float(rings.get_line(level).compute_radius(angle)), 3)
            demo_point = DemoPoint(
                code=f"CP-{prefix}-{number:03d}",
                category=category,
                xy=xy,
                name_zh=f"{road.name_zh}{line_zh}控制点",
                name_en=f"{road.name_en} at the {line_en}",
                division=find_division(rings, xy),
                inbound=-out,
                road_name=road.name_zh,
                streets=tuple(roads.build_road_code(member) for member in members),
                directions=find_directions(crossing),
                carriageways=len(members),
            )
            demo_points.append(demo_point)
    return demo_points


def build_junction_points(rng: np.random.Generator, rings: Rings, junctions: Sequence[Junction]) -> list[DemoPoint]:
    """Return the control points at crossroads of the core, chosen at random."""
    chosen = np.sort(rng.choice(len(junctions), JUNCTIONS, replace=False))
    demo_points = []
    for number, index in enumerate(chosen, start=1):
        junction = junctions[index]
        rows, columns = junction.rows, junction.columns
        demo_point = DemoPoint(
            code=f"CP-KJ-{number:03d}",
            category="core_junction",
            xy=junction.xy,
            name_zh=f"{rows.name_zh}{columns.name_zh}交叉口",
            name_en=f"{rows.name_en} and {columns.name_en}",
            division=find_division(rings, junction.xy),
            road_name=rows.name_zh,
        )
        demo_points.append(demo_point)
    return demo_points


def choose_distant_points(points: Sequence[Floats], count: int) -> list[Floats]:
    """Return ``count`` of the points, each as far as possible from those before it."""
    candidates = np.array(points)
    chosen = [int(np.argmin(np.hypot(candidates[:, 0], candidates[:, 1])))]
    while len(chosen) < count:
        distances = np.linalg.norm(candidates[:, None] - candidates[chosen][None], axis=2).min(axis=1)
        chosen.append(int(np.argmax(distances)))
    return [candidates[index] for index in chosen]


def build_outline(rng: np.random.Generator, middle: Floats) -> Floats:
    """Return a closed rectangle (5, 2) around a site."""
    half = np.array([rng.uniform(40, 75), rng.uniform(30, 55)])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * half
    turn = rng.uniform(-0.1, 0.1)
    swing = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(np.round(middle + corners @ swing, 3))


def build_site_points(rng: np.random.Generator, rings: Rings, blocks: Sequence[Floats]) -> list[DemoPoint]:
    """Return the control points of the sites, in blocks that are far from each other."""
    middles = choose_distant_points(blocks, len(SITES))
    return [
        DemoPoint(
            code=f"CP-KS-{number:03d}",
            category="core_site",
            xy=np.round(middle, 3),
            name_zh=zh,
            name_en=en,
            division=find_division(rings, middle),
            outline=build_outline(rng, middle) if number % 2 else None,
        )
        for number, ((zh, en), middle) in enumerate(zip(SITES, middles, strict=True), start=1)
    ]


def build_control_points(
    rng: np.random.Generator, rings: Rings, network: Sequence[Street], grid: Grid
) -> list[DemoPoint]:
    """Return all control points: roads by ring, then crossroads, then sites."""
    return [
        *build_road_points(rings, network),
        *build_junction_points(rng, rings, grid.list_junctions()),
        *build_site_points(rng, rings, grid.list_block_centres()),
    ]


def build_geometry(demo_point: DemoPoint) -> dict[str, Any]:
    """Return the GeoJSON geometry of a control point: its outline, else its location."""
    if demo_point.outline is not None:
        return {"type": "Polygon", "coordinates": [to_lonlat(demo_point.outline).tolist()]}
    return {"type": "Point", "coordinates": to_lonlat(demo_point.xy[None])[0].tolist()}


def build_control_point_draft(demo_point: DemoPoint, jurisdiction: str) -> dict[str, Any]:
    """Return the draft of a control point; a one-way street needs only its own direction."""
    fields: dict[str, Any] = {
        "code": demo_point.code,
        "jurisdiction": jurisdiction,
        "category": demo_point.category,
        "name_zh": demo_point.name_zh,
        "name_en": demo_point.name_en,
        "division_code": demo_point.division,
        "road_name": demo_point.road_name,
        "geometry": build_geometry(demo_point),
    }
    if demo_point.inbound is not None:
        fields["inbound_bearing_deg"] = compute_azimuth(demo_point.inbound)
    if len(demo_point.directions) == 1:
        need = {"function": "vehicle", "directions": list(demo_point.directions), "working": 1}
        fields["requirements"] = [need]
    return fields
