"""The demo city: an invented Jiaozuo with 409 control points, as drafts for the public services.

Every call returns the same data in less than two seconds, marked as synthetic, without data about people. Nothing reads
a clock or a file: a device without ``reported_at`` reports when it is loaded, one without ``state`` has never reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.demo import control_points as points
from app.demo import devices, planted_faults, rings, roads
from app.demo import radial_roads as radial_roads
from app.demo.city_plan import EPSG, to_lonlat
from app.demo.control_points import DemoPoint
from app.demo.device_factory import DeviceFactory
from app.demo.planted_faults import CRITICAL, PlantedFault
from app.demo.rings import Rings
from app.demo.streets import TILT
from app.models.vocabulary import LEVELS, Level

# Houses at some crossroads of the core, so that the demo shows fields of view that buildings cut. No house is between a
# crossroads and the devices that observe it: houses keep a distance from both streets, and the poles are nearer. So the
# houses do not change what is covered.

HOUSES_SEED: Final = 4108_01
_CROSSROADS: Final = 12
_SETBACK_M: Final = 18.0
"""Poles at a corner are up to 22 m from the middle: 15.6 m from each street."""
_PAVEMENT_M: Final = 4.0


def build_houses(demo_points: Sequence[DemoPoint], jurisdiction: str) -> list[dict[str, Any]]:
    """Return a house in each quarter of the first crossroads of the core."""
    rng = np.random.default_rng(HOUSES_SEED)
    crossroads = [demo_point for demo_point in demo_points if demo_point.category == "core_junction"]
    return [
        build_house(rng, demo_point, quarter, jurisdiction)
        for demo_point in crossroads[:_CROSSROADS]
        for quarter in range(4)
    ]


def build_house(rng: np.random.Generator, demo_point: DemoPoint, quarter: int, jurisdiction: str) -> dict[str, Any]:
    """Return one house, its walls along the streets; every other one with a courtyard."""
    inner = _SETBACK_M + rng.uniform(0, _PAVEMENT_M, 2)
    outer = inner + rng.uniform(18, 40, 2)
    levels = int(rng.integers(1, 8))
    height = {"height_m": round(levels * 3.2, 1)} if rng.random() < 0.7 else {}
    rings = [build_wall_ring(demo_point, quarter, inner, outer)]
    if quarter % 2:
        rings.append(build_wall_ring(demo_point, quarter, inner + 6, outer - 6)[::-1])
    return {
        "code": f"DEMO-H-{demo_point.code}-{quarter + 1}",
        "jurisdiction": jurisdiction,
        "levels": levels,
        **height,
        "geometry": {"type": "Polygon", "coordinates": rings},
    }


def build_wall_ring(
    demo_point: DemoPoint, quarter: int, inner: np.ndarray[Any, Any], outer: np.ndarray[Any, Any]
) -> list[list[float]]:
    """Return a closed ring of lon/lat, anticlockwise, from two corners seen from the crossroads."""
    (x0, y0), (x1, y1) = inner, outer
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    turn = TILT + np.radians(90.0 * quarter)
    cos, sin = np.cos(turn), np.sin(turn)
    corners_xy = demo_point.xy + corners @ np.array([[cos, sin], [-sin, cos]])
    return [[float(lon), float(lat)] for lon, lat in to_lonlat(corners_xy)]


CODE: Final = "410800"
SEED: Final = 410800
STALE_AFTER_S: Final = 365 * 86_400
_MARGIN_DEG: Final = 0.04
_BACKED_UP_EVERY: Final = 4

Draft = dict[str, Any]


@dataclass(frozen=True)
class DemoCity:
    """Everything that the demo loads, in this order, and the gaps that it must lead to."""

    jurisdiction: Draft
    rings: dict[Level, Draft]
    roads: list[Draft]
    control_points: list[Draft]
    checkpoints: list[Draft]
    cameras: list[Draft]
    buildings: list[Draft]
    faults: list[PlantedFault]


def build_jurisdiction(ring_lines: Rings) -> Draft:
    """Return the draft of the jurisdiction, with an extent around the city line."""
    line = to_lonlat(ring_lines.city.vertices)
    west, south = (line.min(axis=0) - _MARGIN_DEG).round(3).tolist()
    east, north = (line.max(axis=0) + _MARGIN_DEG).round(3).tolist()
    return {
        "code": CODE,
        "name_zh": "焦作市（演示数据）",  # the brackets Chinese text uses
        "name_en": "Jiaozuo (synthetic demo)",
        "synthetic": True,
        "plan": dict(points.PLAN),
        "metric_epsg": EPSG,
        "extent": [west, south, east, north],
        "stale_after_s": STALE_AFTER_S,
    }


def find_shared_points(demo_points: list[DemoPoint]) -> list[tuple[str, str]]:
    """Return the codes of core and urban points at the same location, on the shared boundary."""
    urban = {tuple(demo_point.xy): demo_point.code for demo_point in demo_points if demo_point.category == "urban_road"}
    core = [demo_point for demo_point in demo_points if demo_point.category == "core_road"]
    return [(demo_point.code, urban[tuple(demo_point.xy)]) for demo_point in core if tuple(demo_point.xy) in urban]


def install_devices(
    factory: DeviceFactory, demo_points: list[DemoPoint], planned: dict[str, planted_faults.Recipe]
) -> None:
    """Install devices at every point; devices on the shared boundary serve both of its points."""
    served = {urban for _, urban in find_shared_points(demo_points)}
    for number, demo_point in enumerate(demo_points):
        if demo_point.code in served:
            continue
        if demo_point.code in planned:
            planned[demo_point.code].install(factory, demo_point)
        else:
            devices.cover_point(factory, demo_point, number % _BACKED_UP_EVERY == 0)


def watch_exits(
    factory: DeviceFactory, demo_points: list[DemoPoint], planned: dict[str, planted_faults.Recipe]
) -> None:
    """Let two devices of different failure groups observe each exit of the core, except at `CRITICAL`."""
    for number, demo_point in enumerate(demo_points):
        twice = demo_point.code not in planned and number % _BACKED_UP_EVERY == 0
        if demo_point.category != "core_road" or twice or "outbound" not in demo_point.directions:
            continue
        if demo_point.code != CRITICAL:
            recipe = planned.get(demo_point.code)
            (recipe.add_exit_device if recipe else devices.add_exit_camera)(factory, demo_point)


def build_city() -> DemoCity:
    """Return the demo city."""
    rng = np.random.default_rng(SEED)
    ring_lines = rings.build_rings(rng)
    network, grid = roads.build_network(rng, ring_lines, radial_roads.build_radial_roads(rng, ring_lines))
    demo_points = points.build_control_points(rng, ring_lines, network, grid)
    planned = planted_faults.choose_recipes(demo_points, find_shared_points(demo_points))
    factory = DeviceFactory(rng, CODE)
    install_devices(factory, demo_points, planned)
    watch_exits(factory, demo_points, planned)
    checkpoints, cameras = factory.build_drafts()
    return DemoCity(
        jurisdiction=build_jurisdiction(ring_lines),
        rings={level: rings.build_ring_feature(ring_lines, level) for level in LEVELS},
        roads=roads.build_road_drafts(network, CODE),
        control_points=[points.build_control_point_draft(demo_point, CODE) for demo_point in demo_points],
        checkpoints=checkpoints,
        cameras=cameras,
        buildings=build_houses(demo_points, CODE),
        faults=planted_faults.list_faults(planned),
    )
