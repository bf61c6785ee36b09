"""What the registry adds to a record in its documents, and the entries of a history.

The document of a kind is composed from these and its draft (`app.records.kinds.Kind.view`).
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.models.vocabulary import Level, State, Zone


class VersionFields(BaseModel):
    """What the registry adds to every record."""

    version: int = Field(description="Number of this version; the ETag.")
    created_at: datetime
    updated_at: datetime


class Placed(BaseModel):
    """Where a record lies in the rings."""

    zone: Zone | None = Field(description="Innermost ring that contains it; null without rings.")
    rings: list[Level] | None = Field(description="All rings that contain it.")
    on_boundary: list[Level] | None = Field(description="Rings whose border it is on.")
    distance_m: dict[Level, float] | None = Field(
        description="Signed distance to each border in metres, negative inside."
    )


class StateFields(BaseModel):
    """What the equipment says, and whether it works."""

    state: State = Field(description="Last reported state; unknown when too old or never reported.")
    reported_at: datetime | None = Field(description="When it was reported.")
    working: bool = Field(description="In use, online, and reported recently enough.")


class HistoryEntry(BaseModel):
    """One change of one record, or the moment a device fell silent."""

    seq: int | None = Field(description="Number in the history; null for a derived entry.")
    at: datetime
    actor: str
    request_id: str | None
    reason: str | None
    operation: Literal["create", "update", "remove", "state"]
    version: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    derived: bool = Field(description="True for a silence: nothing was written, the state reads as unknown since.")
