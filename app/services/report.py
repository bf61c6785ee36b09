"""What is told about coverage: summary, control points with reasons, gaps, one point explained.

Pure: from a computed state to plain values. Whatever was not computed is said in ``not_assessed``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

import numpy as np

from app.geo import coverage as engine
from app.models.vocabulary import CATEGORIES, LEVELS, STATUSES, ZONES
from app.schemas.geojson import to_geojson
from app.services.assess import Computed

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


@dataclass(frozen=True)
class Wanted:
    """Which control points or gaps are asked for; None: all."""

    status: str | None = None
    category: str | None = None
    zone: str | None = None
    type: str | None = None
    level: str | None = None


def summary(found: Computed) -> dict[str, Any]:
    """Return the state of the jurisdiction on one page."""
    plan = found.loaded.rules.plan
    return _about(
        found,
        plan={
            "total": sum(plan.values()),
            "by_category": {category: plan.get(category, 0) for category in CATEGORIES},
        },
        control_points={
            **_counts(found, np.arange(len(found.points))),
            "by_category": {
                category: {
                    "planned": plan.get(category, 0),
                    **_counts(found, _rows_where(found.loaded.points["category"], category)),
                }
                for category in CATEGORIES
            },
        },
        by_zone={
            zone: _counts(found, _rows_where(found.loaded.points["zone"], zone)) for zone in ZONES
        },
        rings=[_ring(level) for level in reversed(LEVELS)],
        devices=_devices(found),
    )


def _about(found: Computed, **answer: Any) -> dict[str, Any]:
    """Return an answer with what every answer carries: where from, how, and what was left out."""
    return {
        "jurisdiction": found.loaded.jurisdiction,
        "revision": found.loaded.revision,
        "computed_at": found.loaded.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        **answer,
        "parameters": _parameters(found),
        "not_assessed": _not_assessed(found),
    }


def _parameters(found: Computed) -> dict[str, Any]:
    used = found.parameters
    return {
        "search_m": used.search_m,
        "assumed_range_m": used.assumed_range_m,
        "assigned_range_m": used.assigned_range_m,
        "assumed_opening_deg": used.assumed_opening_deg,
        "px_per_m": dict(used.density),
        "stale_after_s": found.loaded.rules.stale_after_s,
        "metric_epsg": found.frame.epsg if found.frame else None,
    }


def _not_assessed(found: Computed) -> list[dict[str, Any]]:
    rules = found.loaded.rules
    told: list[dict[str, Any]] = [
        {"what": "zone", "level": level, "reason": "this ring is not registered"}
        for level in LEVELS
        if level not in rules.rings
    ]
    reason = (
        "the crossing and cordon analysis is not part of this version"
        if rules.roads
        else "no road is registered"
    )
    told += [
        {"what": what, "level": level, "reason": reason}
        for what in ("crossings", "cordon")
        for level in reversed(LEVELS)
    ]
    told.append({"what": "area", "reason": "the area analysis is not part of this version"})
    return told


def _rows_where(column: Sequence[str], word: str) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.flatnonzero(np.array(column, dtype=object) == word)


def _counts(found: Computed, rows: np.ndarray[Any, Any]) -> dict[str, int]:
    by_code = np.bincount(found.assessment.status[rows], minlength=len(engine.STATUSES))
    by_name = dict(zip(engine.STATUSES, by_code.tolist(), strict=True))
    return {"registered": len(rows), **{status: by_name[status] for status in STATUSES}}


def _ring(level: str) -> dict[str, Any]:
    """Return a ring whose crossings and cordon are not assessed: null is not zero."""
    cordon = {"sealed": None, "depth": None, "to_seal": None, "critical": None}
    return {
        "level": level,
        "crossings": {"total": None, "guarded": None, "open": None, "waived": None},
        "inbound": dict(cordon),
        "outbound": dict(cordon),
    }


def _devices(found: Computed) -> dict[str, int]:
    devices = found.devices
    in_use = devices.lifecycle == engine.IN_USE
    stale = in_use & (devices.stale | (devices.state == engine.UNKNOWN))
    online = in_use & ~stale & (devices.state == engine.ONLINE)
    return {
        "total": len(in_use),
        "working": int(online.sum()),
        "offline": int((in_use & ~stale & ~online).sum()),
        "stale": int(stale.sum()),
        "not_in_use": int((~in_use).sum()),
    }


def points(found: Computed, wanted: Wanted, *, geojson: bool) -> dict[str, Any]:
    """Return status and needs of the control points asked for."""
    rows = list(_wanted_rows(found, wanted))
    if geojson:
        return _collection(found, [_feature(_point(found, row)) for row in rows])
    return _about(found, items=[_point(found, row) for row in rows])


def gaps(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return the control points that are not fully covered, each with what is missing and why."""
    about_points = wanted.type in (None, "control_point") and wanted.level is None
    rows = _wanted_rows(found, wanted) if about_points else iter(())
    gap_codes = (engine.PARTIAL, engine.UNCOVERED)
    features = [_gap(found, row) for row in rows if found.assessment.status[row] in gap_codes]
    return _collection(found, features)


def point(found: Computed, code: str, geojson: bool) -> dict[str, Any] | None:
    """Return one control point with every candidate of every need, None when there is none."""
    try:
        row = list(found.points.code).index(code)
    except ValueError:
        return None
    explained = _point(found, row)
    for need, unit in zip(explained["needs"], found.assessment.explain(row), strict=True):
        need["candidates"] = [_candidate(candidate) for candidate in unit.candidates]
    answer = _feature(explained) if geojson else explained
    return _about(found, **answer)


def _wanted_rows(found: Computed, wanted: Wanted) -> Iterator[int]:
    categories, zones = found.loaded.points["category"], found.loaded.points["zone"]
    for row, status in enumerate(found.assessment.status.tolist()):
        if wanted.status not in (None, engine.STATUSES[status]):
            continue
        if wanted.category in (None, categories[row]) and wanted.zone in (None, zones[row]):
            yield row


def _point(found: Computed, row: int) -> dict[str, Any]:
    table = found.loaded.points
    assessment = found.assessment
    units = range(int(assessment.unit_start[row]), int(assessment.unit_start[row + 1]))
    return {
        "code": table["code"][row],
        "name_zh": table["name_zh"][row],
        "name_en": table["name_en"][row],
        "category": table["category"][row],
        "zone": table["zone"][row] or None,
        "status": engine.STATUSES[assessment.status[row]],
        "needs": [_need(found, row, unit) for unit in units],
        "geometry": _geometry(found, row),
    }


def _geometry(found: Computed, row: int) -> dict[str, Any]:
    shape = found.points.shape.get(row)
    if shape is not None:
        return to_geojson(shape)
    lon, lat = found.points.lonlat[row].tolist()
    return {"type": "Point", "coordinates": [lon, lat]}


def _need(found: Computed, row: int, unit: int) -> dict[str, Any]:
    assessment = found.assessment
    need = found.points.needs[row][int(assessment.unit_need[unit])]
    met = bool(assessment.met[unit])
    reason = None if met else engine.REASONS[assessment.primary[unit]]
    counted = assessment.reason_count[unit]
    return {
        "function": need.function,
        "direction": need.direction,
        "required": need.working,
        "working": int(assessment.count[unit]),
        "met": met,
        "backed_up": bool(assessment.backed_up[unit]),
        "reason": reason,
        "reasons": {
            name: int(number)
            for name, number in zip(engine.REASONS, counted, strict=True)
            if number
        },
        "nearest": _nearest(found, unit),
        "fix": None if reason is None else FIXES[reason],
    }


def _nearest(found: Computed, unit: int) -> dict[str, Any] | None:
    assessment, devices = found.assessment, found.devices
    best = int(assessment.best[unit])
    if best < 0:
        return None
    return {
        "kind": devices.kind[best],
        "code": devices.code[best],
        "distance_m": round(float(assessment.best_distance_m[unit]), 2),
        "assigned": int(devices.assigned[best]) == int(assessment.unit_point[unit]),
        "counts": bool(assessment.met[unit]),
        "reasons": list(engine.reasons_of(int(assessment.best_reasons[unit]))),
    }


def _candidate(candidate: engine.Candidate) -> dict[str, Any]:
    return {
        "kind": candidate.kind,
        "code": candidate.code,
        "distance_m": round(candidate.distance_m, 2),
        "assigned": candidate.assigned,
        "counts": candidate.counts,
        "counted_through_its_cameras": candidate.represented,
        "reasons": list(candidate.reasons),
        "bearing_deg": _rounded(candidate.bearing_deg),
        "off_axis_deg": _rounded(candidate.off_axis_deg),
        "range_m": round(candidate.range_m, 2),
        "range_basis": candidate.range_basis,
        "px_per_m": _rounded(candidate.px_per_m),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _feature(point: dict[str, Any]) -> dict[str, Any]:
    properties = {name: value for name, value in point.items() if name != "geometry"}
    return {
        "type": "Feature",
        "id": point["code"],
        "geometry": point["geometry"],
        "properties": properties,
    }


def _gap(found: Computed, row: int) -> dict[str, Any]:
    """Return a gap as a feature a GIS reads at once: flat words first, the full needs beside them."""
    told = _point(found, row)
    missing = [need for need in told.pop("needs") if not need["met"]]
    first = missing[0]
    nearest = first["nearest"] or {}
    feature = _feature(told)
    feature["properties"] |= {
        "type": "control_point",
        "reason": first["reason"],
        "reasons": sorted({need["reason"] for need in missing}),
        "missing": missing,
        "nearest_code": nearest.get("code"),
        "nearest_distance_m": nearest.get("distance_m"),
        "fix": first["fix"],
    }
    return feature


def _collection(found: Computed, features: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "numberReturned": len(features),
        **_about(found, features=features),
    }
