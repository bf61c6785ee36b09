"""Device state reports and what becomes of them."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.models.fields import Instant
from app.models.vocabulary import State

MAX_REPORTS = 10_000


class StateReport(BaseModel):
    """What one device said."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["camera", "checkpoint"] = Field("camera", description="Kind of the device.")
    code: str = Field(pattern=r"^[A-Za-z0-9._:\-]{1,64}$", description="Code of the device.")
    state: State = Field(description="What it said.")
    reported_at: Instant = Field(
        default_factory=lambda: datetime.now(UTC), description="When it said so. Not given: now."
    )


class StateReports(BaseModel):
    """A batch of reports."""

    model_config = ConfigDict(extra="forbid", strict=True)

    states: Annotated[list[StateReport], Field(max_length=MAX_REPORTS)]


class UnknownDevice(BaseModel):
    """A device the registry does not have, or not in the caller's scope."""

    kind: str
    code: str


class StateOutcome(BaseModel):
    """What became of a batch."""

    received: int
    applied: int = Field(description="Reports that are the newest of their device.")
    ignored: int = Field(description="Duplicates and reports older than what is known.")
    unknown: list[UnknownDevice]


REPORTS = TypeAdapter(list[StateReport])
