"""What every answer of the analysis carries, and the words it shares with the others.

Pure. Each part of the analysis says itself what it could not assess: see `telling`.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from app.analysis.engine_input import Computed
from app.geo.coverage import assessment as engine
from app.instants import format_instant
from app.models.vocabulary import LEVELS

FIXES: Final = {
    "none": "install or assign a device with this function",
    "not_in_use": "put the device into use",
    "offline": "repair the device or its link",
    "stale": "report the device's state: it is silent, or was never heard of",
    "wrong_function": "give the place a device with this function",
    "wrong_direction": "serve this direction: a lane, or the camera's stated direction",
    "too_far": "move the device nearer, or give it a longer lens",
    "out_of_view": "turn the device towards the place",
    "too_coarse": "more pixels or a narrower opening",
}
"""What would close a gap, by its primary reason."""

Teller = Callable[[Computed], Iterator[dict[str, Any]]]


def _zones(found: Computed) -> Iterator[dict[str, Any]]:
    for level in LEVELS:
        if level not in found.loaded.rules.rings:
            yield {"what": "zone", "level": level, "reason": "this ring is not registered"}


def _no_area(found: Computed) -> Iterator[dict[str, Any]]:
    del found
    yield {"what": "area", "reason": "the area analysis is not part of this version"}


_tellers: Final[dict[str, Teller]] = {"zone": _zones, "area": _no_area}


def telling(what: str) -> Callable[[Teller], Teller]:
    """Let a function say what of a part of the analysis was not assessed, and why."""

    def register(teller: Teller) -> Teller:
        _tellers[what] = teller
        return teller

    return register


def about(found: Computed, **answer: Any) -> dict[str, Any]:
    """Return an answer with what every answer carries: where from, how, and what was left out."""
    return {
        "jurisdiction": found.loaded.jurisdiction,
        "revision": found.loaded.revision,
        "computed_at": format_instant(found.loaded.at),
        **answer,
        "parameters": _parameters(found),
        "not_assessed": [told for teller in _tellers.values() for told in teller(found)],
    }


def collection(found: Computed, features: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    """Return features as a GeoJSON FeatureCollection."""
    return {
        "type": "FeatureCollection",
        "numberReturned": len(features),
        **about(found, **members, features=features),
    }


def nearest(devices: engine.DeviceTable, assessment: engine.Assessment, unit: int) -> dict[str, Any] | None:
    """Return the candidate of a unit that is nearest to counting, or counts best."""
    best = int(assessment.best[unit])
    if best < 0:
        return None
    assigned = assessment.devices.assigned
    return {
        "kind": devices.kind[best],
        "code": devices.code[best],
        "distance_m": round(float(assessment.best_distance_m[unit]), 2),
        "assigned": int(assigned[best]) == int(assessment.unit_point[unit]),
        "counts": bool(assessment.met[unit]),
        "reasons": list(engine.reasons_of(int(assessment.best_reasons[unit]))),
    }


def _parameters(found: Computed) -> dict[str, Any]:
    used = found.parameters
    return {
        "search_m": used.search_m,
        "assumed_range_m": used.assumed_range_m,
        "assigned_range_m": used.assigned_range_m,
        "assumed_opening_deg": used.assumed_opening_deg,
        "road_snap_m": float(found.loaded.rules.parameters.get("road_snap_m", 0.0)),
        "px_per_m": dict(used.density),
        "stale_after_s": found.loaded.rules.stale_after_s,
        "metric_epsg": found.frame.epsg if found.frame else None,
    }
