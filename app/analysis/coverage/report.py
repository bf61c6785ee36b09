"""Results about coverage: the summary, control points with reasons, gaps, and one control point explained.

No I/O. What was not assessed is null with a reason in ``not_assessed``, never zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, Field

from app.analysis.cordon.cordons import count_cordon
from app.analysis.coverage.area import AreaQuery, build_area_gaps
from app.analysis.crossings import report as crossing_report
from app.analysis.crossings.crossing_guards import count_crossings
from app.analysis.crossings.road_network import TRAVEL_DIRECTIONS
from app.analysis.metadata import (
    FIXES,
    CandidateDevice,
    ResultMetadata,
    build_feature_collection,
    build_gap_properties,
    build_nearest_candidate,
    build_reason_counts,
    build_result,
    to_feature,
)
from app.analysis.results import Analysis
from app.errors import InvalidQuery
from app.geo.arrays import Ints
from app.geo.coverage import assessment as engine
from app.messages import Message
from app.models.vocabulary import (
    CATEGORIES,
    LEVELS,
    STATUSES,
    ZONES,
    Category,
    Direction,
    Function,
    Level,
    Status,
    Zone,
)
from app.records.geojson import to_geojson

_FILTERS_BY_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "control_point": frozenset({"category", "zone"}),
    "crossing": frozenset({"level"}),
    "area": frozenset({"zone", "function", "k", "min_gap_m2", "working"}),
}
"""The filters that gaps of each type have."""
_DEFAULT_TYPES: Final = ("control_point", "crossing")
"""Types that are listed if none is given; a filter then selects the type that has it."""


@dataclass(frozen=True)
class CoverageQuery:
    """Which control points to list; None means all."""

    status: str | None = None
    category: str | None = None
    zone: str | None = None
    geojson: bool = False


@dataclass(frozen=True)
class GapQuery:
    """Which gaps to list; None means all.

    Raises
    ------
    InvalidQuery
        if the gaps do not have a filter that is set: it would be ignored, or leave no gap.
    """

    type: Literal["control_point", "crossing", "area"] | None = None
    level: Level | None = None
    category: str | None = None
    zone: str | None = None
    area: AreaQuery = field(default_factory=AreaQuery)

    def __post_init__(self) -> None:
        is_set = {
            "level": self.level is not None,
            "category": self.category is not None,
            "zone": self.zone is not None,
            "function": self.area.function is not None,
            "k": self.area.k != 1,
            "min_gap_m2": self.area.min_gap_m2 != AreaQuery.min_gap_m2,
            "working": not self.area.working,
        }
        filters = [name for name, used in is_set.items() if used]
        types = [self.type] if self.type else list(_DEFAULT_TYPES)
        if not any(_FILTERS_BY_TYPE[gap_type].issuperset(filters) for gap_type in types):
            known_filters = "; ".join(
                f"type={name}: {', '.join(sorted(names))}" for name, names in _FILTERS_BY_TYPE.items()
            )
            detail = Message(
                "These gaps have no filter {filters}. Known filters: {known}.",
                filters=" + ".join(filters),
                known=known_filters,
            )
            parameter = next((name for name in filters if name not in _FILTERS_BY_TYPE[types[0]]), filters[0])
            raise InvalidQuery(detail, parameter=parameter)
        if self.type == "area" and self.zone == "outside":
            raise InvalidQuery(Message("Zone 'outside' has no area. Use core, urban or city."), parameter="zone")


def build_summary(analysis: Analysis) -> dict[str, Any]:
    """Return the coverage of the jurisdiction on one page."""
    plan, table = analysis.snapshot.rules.plan, analysis.snapshot.points
    return build_result(
        analysis,
        plan={
            "total": sum(plan.values()),
            "by_category": {category: plan.get(category, 0) for category in CATEGORIES},
        },
        control_points={
            **count_statuses(analysis, np.arange(len(analysis.points))),
            "by_category": {
                category: {
                    "planned": plan.get(category, 0),
                    **count_statuses(analysis, _find_rows(table["category"], category)),
                }
                for category in CATEGORIES
            },
        },
        by_zone={zone: count_statuses(analysis, _find_rows(table["zone"], zone)) for zone in ZONES},
        rings=[
            {
                "level": level,
                "crossings": count_crossings(analysis, level),
                **{direction: count_cordon(analysis, level, direction) for direction in TRAVEL_DIRECTIONS},
            }
            for level in reversed(LEVELS)
        ],
        devices=count_devices(analysis),
    )


def _find_rows(column: Sequence[str], value: str) -> Ints:
    return np.flatnonzero(np.array(column, dtype=object) == value)


def count_statuses(analysis: Analysis, rows: Ints) -> dict[str, int]:
    """Return the number of control points by coverage status."""
    by_code = np.bincount(analysis.assessment.status[rows], minlength=len(engine.STATUSES))
    by_name = dict(zip(engine.STATUSES, by_code.tolist(), strict=True))
    return {"registered": len(rows), **{status: by_name[status] for status in STATUSES}}


def count_devices(analysis: Analysis) -> dict[str, int]:
    """Return the number of working devices, and of the others by the first reason."""
    table = analysis.devices
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


def build_points(analysis: Analysis, query: CoverageQuery) -> dict[str, Any]:
    """Return the control points of a query with status and needs."""
    points = [_build_point(analysis, row) for row in _iter_rows(analysis, query.status, query.category, query.zone)]
    if query.geojson:
        return build_feature_collection(analysis, [to_feature(point, "code") for point in points])
    return build_result(analysis, items=points)


def build_gaps(analysis: Analysis, query: GapQuery) -> dict[str, Any]:
    """Return what is not covered, with the reasons, as a FeatureCollection."""
    if query.type == "area":
        return build_area_gaps(analysis, query.area)
    features: list[dict[str, Any]] = []
    if query.type in (None, "control_point") and query.level is None:
        is_gap = np.isin(analysis.assessment.status, (engine.PARTIAL, engine.UNCOVERED))
        rows = _iter_rows(analysis, None, query.category, query.zone)
        features += [build_gap(analysis, row) for row in rows if is_gap[row]]
    if query.type in (None, "crossing") and query.category is None and query.zone is None:
        features += crossing_report.iter_open_crossings(analysis, query.level)
    return build_feature_collection(analysis, features)


def build_point(analysis: Analysis, code: str, geojson: bool) -> dict[str, Any] | None:
    """Return one control point with every candidate of every need, None if it does not exist."""
    try:
        row = list(analysis.points.code).index(code)
    except ValueError:
        return None
    point = _build_point(analysis, row)
    for need, explained in zip(point["needs"], analysis.assessment.explain_point(row), strict=True):
        need["candidates"] = [_build_candidate(analysis, candidate) for candidate in explained.candidates]
    return build_result(analysis, **(to_feature(point, "code") if geojson else point))


def _iter_rows(analysis: Analysis, status: str | None, category: str | None, zone: str | None) -> Iterator[int]:
    table = analysis.snapshot.points
    for row, code in enumerate(analysis.assessment.status.tolist()):
        if status not in (None, engine.STATUSES[code]):
            continue
        if category in (None, table["category"][row]) and zone in (None, table["zone"][row]):
            yield row


def _build_point(analysis: Analysis, row: int) -> dict[str, Any]:
    table, assessment = analysis.snapshot.points, analysis.assessment
    units = range(int(assessment.need_start[row]), int(assessment.need_start[row + 1]))
    polygon = analysis.points.shape.get(row)
    return {
        "code": table["code"][row],
        "name_zh": table["name_zh"][row],
        "name_en": table["name_en"][row],
        "category": table["category"][row],
        "zone": table["zone"][row] or None,
        "status": engine.STATUSES[assessment.status[row]],
        "needs": [_build_need(analysis, row, unit) for unit in units],
        "geometry": {"type": "Point", "coordinates": analysis.points.lonlat[row].tolist()}
        if polygon is None
        else to_geojson(polygon),
    }


def _build_need(analysis: Analysis, row: int, unit: int) -> dict[str, Any]:
    assessment = analysis.assessment
    need = analysis.points.needs[row][int(assessment.need_index[unit])]
    met = bool(assessment.met[unit])
    reason = None if met else engine.REASONS[assessment.primary[unit]]
    return {
        "function": need.function,
        "direction": need.direction,
        "required": need.working,
        "working": int(assessment.count[unit]),
        "met": met,
        "backed_up": bool(assessment.backed_up[unit]),
        "reason": reason,
        "reasons": build_reason_counts(assessment, unit),
        "nearest": build_nearest_candidate(analysis.devices, assessment, unit),
        "fix": None if reason is None else FIXES[reason],
    }


def _build_candidate(analysis: Analysis, candidate: engine.ExplainedCandidate) -> dict[str, Any]:
    building = candidate.hidden_by
    return {
        "kind": candidate.kind,
        "code": candidate.code,
        "distance_m": round(candidate.distance_m, 2),
        "assigned": candidate.assigned,
        "counts": candidate.counts,
        "counted_through_its_cameras": candidate.represented,
        "reasons": list(candidate.reasons),
        "bearing_deg": _round_or_none(candidate.bearing_deg),
        "off_axis_deg": _round_or_none(candidate.off_axis_deg),
        "range_m": round(candidate.range_m, 2),
        "range_basis": candidate.range_basis,
        "px_per_m": _round_or_none(candidate.px_per_m),
        "hidden_by": None if building is None else analysis.snapshot.buildings["code"][building],
    }


def _round_or_none(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def build_gap(analysis: Analysis, row: int) -> dict[str, Any]:
    """Return a control point as a gap: plain properties that a GIS can show, then the unmet needs in full."""
    point = _build_point(analysis, row)
    unmet = [need for need in point.pop("needs") if not need["met"]]
    feature = to_feature(point, "code")
    feature["properties"] |= {"type": "control_point", **build_gap_properties(unmet)}
    return feature


# Schemas of the responses.


class PlanCount(BaseModel):
    """The number of control points that the jurisdiction must have."""

    total: int
    by_category: dict[Category, int]


class StatusCounts(BaseModel):
    """Registered control points by coverage status."""

    registered: int
    backed_up: int
    covered: int
    partial: int
    uncovered: int


class CategoryCounts(StatusCounts):
    """The control points of one category, and how many are planned."""

    planned: int


class PointCounts(StatusCounts):
    """All control points."""

    by_category: dict[Category, CategoryCounts]


class CrossingCounts(BaseModel):
    """Crossings of one ring; null if not assessed."""

    total: int | None
    guarded: int | None
    open: int | None
    waived: int | None


class CordonCounts(BaseModel):
    """One direction through one ring; null if not assessed."""

    sealed: bool | None
    depth: int | None
    to_seal: int | None
    critical: int | None


class RingCounts(BaseModel):
    """One ring."""

    level: Level
    crossings: CrossingCounts
    inbound: CordonCounts
    outbound: CordonCounts


class DeviceCounts(BaseModel):
    """Devices; each is counted once, under the first of these that applies."""

    total: int
    working: int
    offline: int = Field(description="In use, and reported offline or faulty.")
    stale: int = Field(description="In use, and the last report is too old or missing.")
    not_in_use: int


class CoverageSummary(ResultMetadata):
    """The coverage of a jurisdiction on one page."""

    plan: PlanCount
    control_points: PointCounts
    by_zone: dict[Zone, StatusCounts]
    rings: list[RingCounts]
    devices: DeviceCounts


class NeedCoverage(BaseModel):
    """One need of a control point, and how it is met."""

    function: Function
    direction: Direction | None
    required: int
    working: int
    met: bool
    backed_up: bool
    reason: str | None = Field(description="Why it is not met; null if it is.")
    reasons: dict[str, int] = Field(description="Number of candidates that do not count, by reason.")
    nearest: CandidateDevice | None = Field(description="The candidate that counts or lacks least.")
    fix: str | None = Field(description="What closes the gap.")
    candidates: list[CandidateDevice] | None = Field(
        None, description="All candidates; only for a single control point."
    )


class PointCoverage(BaseModel):
    """One control point, and how it is covered."""

    code: str
    name_zh: str | None
    name_en: str | None
    category: Category
    zone: Zone | None
    status: Status
    needs: list[NeedCoverage]
    geometry: dict[str, Any]


class PointCoverageList(ResultMetadata):
    """Control points, and how they are covered."""

    items: list[PointCoverage]
