"""What all results of the analysis have in common: their metadata, what was not assessed, and candidates."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from app.analysis.crossings.road_network import RING_NOT_REGISTERED, explain_not_assessed
from app.analysis.results import Analysis
from app.geo.coverage import assessment as engine
from app.messages import Message
from app.models.vocabulary import LEVELS, Level

FIXES: Final = {
    "none": Message("install or assign a device with this function"),
    "not_in_use": Message("put the device into use"),
    "offline": Message("repair the device or its link"),
    "stale": Message("report the state of the device: its last report is too old, or it never reported"),
    "wrong_function": Message("install a device with this function"),
    "wrong_direction": Message("serve this direction: add a lane, or correct the direction of the camera"),
    "too_far": Message("move the device nearer, or give it a longer lens"),
    "out_of_view": Message("turn the device towards the control point"),
    "too_coarse": Message("use more pixels or a narrower opening"),
}
"""What closes a gap, by its primary reason."""
_NO_RING: Final = Message("no ring is registered")
_AREA_ON_REQUEST: Final = Message("assessed when it is asked for: coverage/area and coverage/gaps?type=area")


class NotAssessed(BaseModel):
    """Something that was not computed, and the reason; missing data never counts as coverage."""

    what: str
    level: Level | None = None
    reason: str


class ResultMetadata(BaseModel):
    """The members that every result carries."""

    jurisdiction: str
    revision: int
    computed_at: datetime
    parameters: dict[str, Any]
    not_assessed: list[NotAssessed]


class CandidateDevice(BaseModel):
    """A device that is considered for a need."""

    kind: str
    code: str
    distance_m: float
    assigned: bool
    counts: bool
    reasons: list[str] = Field(description="Why it does not count; empty if it counts.")
    hidden_by: str | None = Field(
        None, description="Code of the building that hides the control point from it, if any."
    )


def build_result(analysis: Analysis, **members: Any) -> dict[str, Any]:
    """Return members of a result with the metadata of the analysis."""
    return {
        "jurisdiction": analysis.snapshot.jurisdiction,
        "revision": analysis.snapshot.revision,
        "computed_at": analysis.snapshot.taken_at,
        **members,
        "parameters": _build_parameters(analysis),
        "not_assessed": list(_iter_not_assessed(analysis)),
    }


def build_feature_collection(analysis: Analysis, features: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    """Return features as a GeoJSON FeatureCollection with the metadata of the analysis."""
    return {
        "type": "FeatureCollection",
        "numberReturned": len(features),
        **build_result(analysis, **members, features=features),
    }


def to_feature(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a document with a geometry as a GeoJSON Feature; its member `name` is the id."""
    properties = {member: value for member, value in document.items() if member != "geometry"}
    return {"type": "Feature", "id": document[name], "geometry": document["geometry"], "properties": properties}


def _iter_not_assessed(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for level in LEVELS:
        if level not in analysis.snapshot.rules.rings:
            yield {"what": "zone", "level": level, "reason": RING_NOT_REGISTERED}
    if analysis.snapshot.rings["code"]:
        yield {"what": "area", "reason": _AREA_ON_REQUEST}
    else:
        yield {"what": "area", "reason": _NO_RING}
    reasons = {level: explain_not_assessed(analysis, level) for level in reversed(LEVELS)}
    for what in ("cordon", "crossings"):
        for level, reason in reasons.items():
            if reason is not None:
                yield {"what": what, "level": level, "reason": reason}


def build_nearest_candidate(
    devices: engine.DeviceTable, assessment: engine.Assessment, unit: int
) -> dict[str, Any] | None:
    """Return the candidate of a need that counts best or lacks least, None without candidates.

    `unit` is the row of the need in `assessment`.
    """
    best = int(assessment.best[unit])
    if best < 0:
        return None
    return {
        "kind": devices.kind[best],
        "code": devices.code[best],
        "distance_m": round(float(assessment.best_distance_m[unit]), 2),
        "assigned": int(assessment.devices.assigned[best]) == int(assessment.need_point[unit]),
        "counts": bool(assessment.met[unit]),
        "reasons": list(engine.name_reasons(int(assessment.best_reasons[unit]))),
    }


def build_reason_counts(assessment: engine.Assessment, unit: int) -> dict[str, int]:
    """Return how many candidates of a need do not count, by reason."""
    counts = assessment.reason_count[unit]
    return {reason: int(count) for reason, count in zip(engine.REASONS, counts, strict=True) if count}


def build_gap_properties(needs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the properties of a gap from the needs that are not met: the first one, and all of them."""
    first = needs[0]
    nearest = first["nearest"] or {}
    return {
        "reason": first["reason"],
        "reasons": sorted({need["reason"] for need in needs}),
        "missing": needs,
        "nearest_code": nearest.get("code"),
        "nearest_distance_m": nearest.get("distance_m"),
        "fix": first["fix"],
    }


def _build_parameters(analysis: Analysis) -> dict[str, Any]:
    parameters, rules = analysis.parameters, analysis.snapshot.rules
    return {
        "search_m": parameters.search_m,
        "assumed_range_m": parameters.assumed_range_m,
        "assigned_range_m": parameters.assigned_range_m,
        "assumed_opening_deg": parameters.assumed_opening_deg,
        "road_snap_m": float(rules.parameters.get("road_snap_m", 0.0)),
        "px_per_m": dict(parameters.density),
        "stale_after_s": rules.stale_after_s,
        "metric_epsg": analysis.projection.epsg if analysis.projection else None,
    }
