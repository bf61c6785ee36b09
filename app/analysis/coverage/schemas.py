"""Coverage answers as they travel."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.models.vocabulary import Category, Direction, Function, Level, Status, Zone


class NotAssessed(BaseModel):
    """Something that was not computed, and why; absence of data is never coverage."""

    what: str
    level: Level | None = None
    reason: str


class PlanCount(BaseModel):
    """Control points that should exist."""

    total: int
    by_category: dict[Category, int]


class Counts(BaseModel):
    """Registered control points by status."""

    registered: int
    backed_up: int
    covered: int
    partial: int
    uncovered: int


class CategoryCounts(Counts):
    """The same, against the plan."""

    planned: int


class PointCounts(Counts):
    """All control points."""

    by_category: dict[Category, CategoryCounts]


class CrossingCounts(BaseModel):
    """Crossings of one ring; null when not assessed."""

    total: int | None
    guarded: int | None
    open: int | None
    waived: int | None


class CordonCounts(BaseModel):
    """One direction through one ring; null when not assessed."""

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
    """Devices: each is counted once, as the first of these that holds."""

    total: int
    working: int
    offline: int = Field(description="In use and reported offline or faulty.")
    stale: int = Field(description="In use and silent for too long, or never heard of.")
    not_in_use: int


class Answer(BaseModel):
    """What every coverage answer carries."""

    jurisdiction: str
    revision: int
    computed_at: datetime
    parameters: dict[str, Any]
    not_assessed: list[NotAssessed]


class CoverageSummary(Answer):
    """The state of a jurisdiction on one page."""

    plan: PlanCount
    control_points: PointCounts
    by_zone: dict[Zone, Counts]
    rings: list[RingCounts]
    devices: DeviceCounts


class Candidate(BaseModel):
    """A device that might serve a need."""

    kind: str
    code: str
    distance_m: float
    assigned: bool
    counts: bool
    reasons: list[str] = Field(description="What it lacks; empty when it counts.")
    hidden_by: str | None = Field(
        None, description="Code of the building that hides the place from it, where one does."
    )


class NeedCoverage(BaseModel):
    """One need of a control point and how it is met."""

    function: Function
    direction: Direction | None
    required: int
    working: int
    met: bool
    backed_up: bool
    reason: str | None = Field(description="Why it is not met; null when it is.")
    reasons: dict[str, int] = Field(description="Candidates by what they lack.")
    nearest: Candidate | None = Field(description="The candidate that is nearest to counting.")
    fix: str | None = Field(description="What would close the gap.")
    candidates: list[Candidate] | None = Field(
        None, description="All candidates; only when one control point is asked for."
    )


class PointCoverage(BaseModel):
    """One control point and how it is covered."""

    code: str
    name_zh: str | None
    name_en: str | None
    category: Category
    zone: Zone | None
    status: Status
    needs: list[NeedCoverage]
    geometry: dict[str, Any]


class PointCoverageList(Answer):
    """Control points and how they are covered."""

    items: list[PointCoverage]
