"""Waivers of crossings as they travel."""

from pydantic import BaseModel, ConfigDict, Field

from app.models.fields import Instant, Line


class WaiverDraft(BaseModel):
    """Why a crossing need not be guarded, and until when."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Line = Field(
        min_length=1, description="Why it need not be guarded; kept in the history."
    )
    expires_at: Instant = Field(
        description="When the waiver ends and the crossing reads as open again; in the future.",
        examples=["2027-01-01T00:00:00Z"],
    )


class Waiver(BaseModel):
    """A waiver in force or past its end."""

    crossing: str = Field(description="Id of the crossing.")
    jurisdiction: str
    level: str
    road: str = Field(description="Group, number or name of the road.")
    reason: str
    expires_at: Instant
    waived_by: str
    version: int
    created_at: Instant
    updated_at: Instant
