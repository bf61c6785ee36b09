"""The demo city: a made-up Jiaozuo with 409 control points, as drafts the public services take.

Promises the same data on every call, in under two seconds, marked synthetic throughout, and
nothing about people. No clock and no files: a device without ``reported_at`` is meant to have
reported when it is loaded, one without ``state`` has never reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.demo import control_points as points
from app.demo import devices, planted_faults, rings, roads
from app.demo import ring_roads as gates
from app.demo.control_points import Place
from app.demo.device_factory import Kit
from app.demo.plan_frame import EPSG, to_lonlat
from app.demo.planted_faults import CRITICAL, PlantedFault
from app.demo.rings import Rings
from app.demo.streets import TILT
from app.models.vocabulary import LEVELS, Level

# Houses at some crossroads of the core, so that the demo shows views that buildings cut.
#
# Promises that no house stands between a crossroads and the devices that watch it: houses keep off
# both streets, and the poles stand nearer. So nothing here changes what is covered.

HOUSES_SEED: Final = 4108_01
_CROSSROADS: Final = 12
_SETBACK_M: Final = 18.0
"""Poles at a corner stand up to 22 m from the middle: 15.6 m off each street."""
_PAVEMENT_M: Final = 4.0


def build_houses(places: Sequence[Place], jurisdiction: str) -> list[dict[str, Any]]:
    """Return a house in each quarter of the first crossroads of the core."""
    rng = np.random.default_rng(HOUSES_SEED)
    crossroads = [place for place in places if place.category == "core_junction"]
    return [_house(rng, place, quarter, jurisdiction) for place in crossroads[:_CROSSROADS] for quarter in range(4)]


def _house(rng: np.random.Generator, place: Place, quarter: int, jurisdiction: str) -> dict[str, Any]:
    """Return one house, its walls along the streets; every other one with a courtyard."""
    near = _SETBACK_M + rng.uniform(0, _PAVEMENT_M, 2)
    far = near + rng.uniform(18, 40, 2)
    levels = int(rng.integers(1, 8))
    known = {"height_m": round(levels * 3.2, 1)} if rng.random() < 0.7 else {}
    rings = [_ring(place, quarter, near, far)]
    if quarter % 2:
        rings.append(_ring(place, quarter, near + 6, far - 6)[::-1])
    return {
        "code": f"DEMO-H-{place.code}-{quarter + 1}",
        "jurisdiction": jurisdiction,
        "levels": levels,
        **known,
        "geometry": {"type": "Polygon", "coordinates": rings},
    }


def _ring(place: Place, quarter: int, near: np.ndarray[Any, Any], far: np.ndarray[Any, Any]) -> list[list[float]]:
    """Return a closed ring of lon/lat, anticlockwise, from two corners seen from the crossroads."""
    (x0, y0), (x1, y1) = near, far
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    turn = TILT + np.radians(90.0 * quarter)
    cos, sin = np.cos(turn), np.sin(turn)
    placed = place.xy + corners @ np.array([[cos, sin], [-sin, cos]])
    return [[float(lon), float(lat)] for lon, lat in to_lonlat(placed)]


CODE: Final = "410800"
SEED: Final = 410800
STALE_AFTER_S: Final = 365 * 86_400
_MARGIN_DEG: Final = 0.04
_BACKED_UP_EVERY: Final = 4

Draft = dict[str, Any]


@dataclass(frozen=True)
class DemoCity:
    """Everything the demo loads, in the order it is loaded, and what it must lead to."""

    jurisdiction: Draft
    rings: dict[Level, Draft]
    roads: list[Draft]
    control_points: list[Draft]
    checkpoints: list[Draft]
    cameras: list[Draft]
    buildings: list[Draft]
    faults: list[PlantedFault]


def _jurisdiction(drawn: Rings) -> Draft:
    line = to_lonlat(drawn.city.vertices)
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


def _shared(places: list[Place]) -> list[tuple[str, str]]:
    """Return the codes of core and urban points that are one place, on the shared border."""
    urban = {tuple(place.xy): place.code for place in places if place.category == "urban_road"}
    core = [place for place in places if place.category == "core_road"]
    return [(place.code, urban[tuple(place.xy)]) for place in core if tuple(place.xy) in urban]


def _install(kit: Kit, places: list[Place], planned: dict[str, planted_faults.Recipe]) -> None:
    """Put devices at every point; what stands on the shared border serves both its points."""
    served = {urban for _, urban in _shared(places)}
    for number, place in enumerate(places):
        if place.code in served:
            continue
        if place.code in planned:
            planned[place.code].make(kit, place)
        else:
            devices.ordinary(kit, place, number % _BACKED_UP_EVERY == 0)


def _watch_exits(kit: Kit, places: list[Place], planned: dict[str, planted_faults.Recipe]) -> None:
    """Have two devices, which do not fail together, see all who leave the core, but at `CRITICAL`."""
    for number, place in enumerate(places):
        twice = place.code not in planned and number % _BACKED_UP_EVERY == 0
        if place.category != "core_road" or twice or "outbound" not in place.directions:
            continue
        if place.code != CRITICAL:
            recipe = planned.get(place.code)
            (recipe.exit if recipe else devices.second_exit)(kit, place)


def build() -> DemoCity:
    """Return the demo city."""
    rng = np.random.default_rng(SEED)
    drawn = rings.draw(rng)
    network, grid = roads.draw(rng, drawn, gates.draw_gates(rng, drawn))
    places = points.draw(rng, drawn, network, grid)
    planned = planted_faults.plan(places, _shared(places))
    kit = Kit(rng, CODE)
    _install(kit, places, planned)
    _watch_exits(kit, places, planned)
    checkpoints, cameras = kit.finish()
    return DemoCity(
        jurisdiction=_jurisdiction(drawn),
        rings={level: rings.feature(drawn, level) for level in LEVELS},
        roads=roads.drafts(network, CODE),
        control_points=[points.draft(place, CODE) for place in places],
        checkpoints=checkpoints,
        cameras=cameras,
        buildings=build_houses(places, CODE),
        faults=planted_faults.faults(planned),
    )
