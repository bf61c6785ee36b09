"""What the change feed answers."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class Change(BaseModel):
    """One change of one record, or a device that fell silent."""

    seq: int | None = Field(description="Number in the history; null for a derived entry.")
    at: datetime
    actor: str
    request_id: str | None
    reason: str | None
    jurisdiction: str
    kind: str
    code: str
    operation: Literal["create", "update", "remove", "state"]
    version: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    derived: bool = Field(
        description="True for a silence: nothing was written, the state reads as unknown since."
    )


class ChangePage(BaseModel):
    """Changes in order, and where to go on."""

    items: list[Change]
    more: bool = Field(description="More is there already; else ask again later.")
    cursor: str = Field(description="Where to go on: `?after=` of the next request. Opaque.")
    next: str = Field(description="The next request; never null, a feed has no end.")
