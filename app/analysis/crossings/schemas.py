"""Crossings as they travel."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.analysis.coverage.schemas import Answer, Candidate
from app.models.fields import Instant
from app.models.vocabulary import Category, Level, RoadClass

Passing = Literal["inbound", "outbound"]
CrossingStatus = Literal["guarded", "open", "waived"]


class CrossingRoad(BaseModel):
    """The road group that crosses."""

    group: str = Field(description="Its group; else its number, its name, or the road's code.")
    name_zh: str | None
    name_en: str | None
    road_number: str | None
    road_class: RoadClass = Field(description="The greatest class among its roads here.")
    codes: list[str] = Field(description="Roads that cross here.")


class Guard(BaseModel):
    """A device that counts."""

    kind: str
    code: str


class CrossingNeed(BaseModel):
    """One direction traffic can take, and what guards it."""

    function: Literal["vehicle"]
    direction: Passing
    met: bool = Field(description="Every passage in this direction is guarded.")
    working: int = Field(description="Devices that count at the passage with fewest.")
    backed_up: bool
    reason: str | None = Field(description="Why it is not guarded; null when it is.")
    reasons: dict[str, int]
    nearest: Candidate | None
    fix: str | None
    guards: list[Guard]


class WaiverInForce(BaseModel):
    """Why nobody need guard the crossing."""

    crossing: str = Field(description="Id under which it was waived.")
    reason: str
    expires_at: Instant
    waived_by: str


class CrossingItem(BaseModel):
    """Where a road crosses a ring."""

    id: str = Field(description="Same for the same ring, road and place (to about 60 m).")
    level: Level
    status: CrossingStatus
    guarded: bool = Field(description="Every direction traffic can take is guarded.")
    directions: list[Passing] = Field(description="Directions traffic can take.")
    missing_directions: list[Passing]
    road: CrossingRoad
    grade: Literal["level", "bridge", "tunnel"]
    passages: int = Field(description="Carriageways and slip roads that lead through it.")
    inbound_bearing_deg: float = Field(description="True bearing of inbound travel.")
    needs: list[CrossingNeed]
    control_points: list[str] = Field(description="Control points that stand for it.")
    same_place: list[str] = Field(description="Crossings of other rings by this road here.")
    waiver: WaiverInForce | None
    geometry: dict[str, Any]


class RingPlan(BaseModel):
    """Crossings of a ring beside its control points."""

    level: Level
    category: Category
    planned: int
    control_points: int
    crossings: int
    control_points_without_crossing: list[str]
    crossings_without_control_point: list[str]


class CrossingList(Answer):
    """The crossings asked for, and how all of them stand beside the plan."""

    items: list[CrossingItem]
    by_plan: list[RingPlan]


class CrossingAnswer(Answer, CrossingItem):
    """One crossing."""
