"""The demo city: a made-up Jiaozuo with 409 control points, as drafts the public services take.

Promises the same data on every call, in under two seconds, marked synthetic throughout, and
nothing about people. No clock and no files: a device without ``reported_at`` is meant to have
reported when it is loaded, one without ``state`` has never reported.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.demo import devices, faults, gates, houses, points, rings, roads
from app.demo.expected import CRITICAL
from app.demo.faults import PlantedFault
from app.demo.frame import EPSG, to_lonlat
from app.demo.kit import Kit
from app.demo.points import Place
from app.demo.rings import Rings
from app.models.vocabulary import LEVELS, Level

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


def _install(kit: Kit, places: list[Place], planned: dict[str, faults.Recipe]) -> None:
    """Put devices at every point; what stands on the shared border serves both its points."""
    served = {urban for _, urban in _shared(places)}
    for number, place in enumerate(places):
        if place.code in served:
            continue
        if place.code in planned:
            planned[place.code].make(kit, place)
        else:
            devices.ordinary(kit, place, number % _BACKED_UP_EVERY == 0)


def _watch_exits(kit: Kit, places: list[Place], planned: dict[str, faults.Recipe]) -> None:
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
    network, grid = roads.draw(rng, drawn, gates.draw(rng, drawn))
    places = points.draw(rng, drawn, network, grid)
    planned = faults.plan(places, _shared(places))
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
        buildings=houses.build(places, CODE),
        faults=faults.faults(planned),
    )
