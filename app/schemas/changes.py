"""What the change feed answers."""

from pydantic import BaseModel, Field

from app.schemas.views import HistoryEntry


class Change(HistoryEntry):
    """One change of one record, or a device that fell silent."""

    jurisdiction: str
    kind: str
    code: str


class ChangePage(BaseModel):
    """Changes in order, and where to go on."""

    items: list[Change]
    more: bool = Field(description="More is there already; else ask again later.")
    cursor: str = Field(description="Where to go on: `?after=` of the next request. Opaque.")
    next: str = Field(description="The next request; never null, a feed has no end.")
