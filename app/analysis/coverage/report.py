"""What is told about coverage: summary, control points with reasons, gaps, one point explained.

Pure: from a computed state to plain values. Whatever was not computed is said in ``not_assessed``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from app.analysis.cordon import report as cordon_report
from app.analysis.cordon.cordons import DIRECTIONS
from app.analysis.coverage import area
from app.analysis.crossings import report as crossing_report
from app.analysis.engine_input import Computed
from app.analysis.metadata import FIXES, about, collection, nearest
from app.errors import InvalidQuery
from app.geo.coverage import assessment as engine
from app.models.vocabulary import CATEGORIES, LEVELS, STATUSES, ZONES, Level
from app.records.geojson import to_geojson


@dataclass(frozen=True)
class Wanted:
    """Which control points or gaps are asked for; None: all."""

    status: str | None = None
    category: str | None = None
    zone: str | None = None
    type: str | None = None
    level: Level | None = None
    ground: area.Wanted = field(default_factory=area.Wanted)
    """What is asked of gaps of area."""


_FILTERS: Final[Mapping[str, frozenset[str]]] = {
    "control_point": frozenset({"category", "zone"}),
    "crossing": frozenset({"level"}),
    "area": frozenset({"zone", "function", "k", "min_gap_m2", "working"}),
}
"""What gaps of each type can be narrowed by."""
_FILTERS_OF_BOTH: Final = ("control_point", "crossing")
"""Types listed when none is said; a filter then picks the type that has it."""


def summary(found: Computed) -> dict[str, Any]:
    """Return the state of the jurisdiction on one page."""
    plan = found.loaded.rules.plan
    return about(
        found,
        plan={
            "total": sum(plan.values()),
            "by_category": {category: plan.get(category, 0) for category in CATEGORIES},
        },
        control_points={
            **counts(found, np.arange(len(found.points))),
            "by_category": {
                category: {
                    "planned": plan.get(category, 0),
                    **counts(found, _rows_where(found.loaded.points["category"], category)),
                }
                for category in CATEGORIES
            },
        },
        by_zone={zone: counts(found, _rows_where(found.loaded.points["zone"], zone)) for zone in ZONES},
        rings=[_ring(found, level) for level in reversed(LEVELS)],
        devices=devices(found),
    )


def _rows_where(column: Sequence[str], word: str) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.flatnonzero(np.array(column, dtype=object) == word)


def counts(found: Computed, rows: np.ndarray[Any, Any]) -> dict[str, int]:
    """Return how many control points of some rows have which status."""
    by_code = np.bincount(found.assessment.status[rows], minlength=len(engine.STATUSES))
    by_name = dict(zip(engine.STATUSES, by_code.tolist(), strict=True))
    return {"registered": len(rows), **{status: by_name[status] for status in STATUSES}}


def _ring(found: Computed, level: Level) -> dict[str, Any]:
    """Return a ring; null is not zero: what is null was not assessed."""
    return {
        "level": level,
        "crossings": crossing_report.counts(found, level),
        **{direction: cordon_report.counts(found, level, direction) for direction in DIRECTIONS},
    }


def devices(found: Computed) -> dict[str, int]:
    """Return how many devices work, and what is wrong with the others."""
    table = found.devices
    in_use = table.lifecycle == engine.IN_USE
    stale = in_use & (table.stale | (table.state == engine.UNKNOWN))
    online = in_use & ~stale & (table.state == engine.ONLINE)
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
        return collection(found, [_feature(_point(found, row)) for row in rows])
    return about(found, items=[_point(found, row) for row in rows])


def refuse_misplaced(wanted: Wanted) -> None:
    """Refuse a filter that the gaps asked for do not have: it would be passed over, or leave none.

    Raises
    ------
    InvalidQuery
        naming the parameter and the gaps it belongs to.
    """
    ground = wanted.ground
    said = {
        "level": wanted.level is not None,
        "category": wanted.category is not None,
        "zone": wanted.zone is not None,
        "function": ground.function is not None,
        "k": ground.k != 1,
        "min_gap_m2": ground.min_gap_m2 != area.Wanted.min_gap_m2,
        "working": not ground.working,
    }
    named = [parameter for parameter, given in said.items() if given]
    kinds = [wanted.type] if wanted.type else list(_FILTERS_OF_BOTH)
    if not any(_FILTERS[kind].issuperset(named) for kind in kinds):
        known = "; ".join(f"type={kind}: {', '.join(sorted(_FILTERS[kind]))}" for kind in _FILTERS)
        message = f"These gaps are not told apart by {' and '.join(named)}; {known}."
        odd = next((name for name in named if name not in _FILTERS[kinds[0]]), named[0])
        raise InvalidQuery(message, parameter=odd)
    if wanted.type == "area" and wanted.zone == "outside":
        raise InvalidQuery("Ground outside all rings is no zone with an area.", parameter="zone")


def gaps(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return what is not covered, control points and open crossings: what is missing, and why."""
    if wanted.type == "area":
        return area.gaps(found, wanted.ground)
    about_points = wanted.type in (None, "control_point") and wanted.level is None
    rows = _wanted_rows(found, wanted) if about_points else iter(())
    gap_codes = (engine.PARTIAL, engine.UNCOVERED)
    features = [_gap(found, row) for row in rows if found.assessment.status[row] in gap_codes]
    if wanted.type in (None, "crossing") and wanted.category is None and wanted.zone is None:
        features += crossing_report.gaps(found, wanted.level)
    return collection(found, features)


def point(found: Computed, code: str, geojson: bool) -> dict[str, Any] | None:
    """Return one control point with every candidate of every need, None when there is none."""
    try:
        row = list(found.points.code).index(code)
    except ValueError:
        return None
    explained = _point(found, row)
    for need, unit in zip(explained["needs"], found.assessment.explain(row), strict=True):
        need["candidates"] = [_candidate(found, candidate) for candidate in unit.candidates]
    answer = _feature(explained) if geojson else explained
    return about(found, **answer)


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
        "reasons": {name: int(number) for name, number in zip(engine.REASONS, counted, strict=True) if number},
        "nearest": nearest(found.devices, assessment, unit),
        "fix": None if reason is None else FIXES[reason],
    }


def _candidate(found: Computed, candidate: engine.Candidate) -> dict[str, Any]:
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
        "hidden_by": None if candidate.hidden_by is None else found.loaded.buildings["code"][candidate.hidden_by],
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
