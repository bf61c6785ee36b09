"""Cordons as they travel."""

from pydantic import BaseModel, Field

from app.analysis.coverage.schemas import Answer
from app.analysis.crossings.schemas import Guard
from app.models.vocabulary import Level


class CrossingName(BaseModel):
    """A crossing a route leads through."""

    level: Level
    id: str


class FailureGroup(BaseModel):
    """Devices that fail together: same pole, cabinet or link."""

    devices: list[Guard]


class CordonRoute(BaseModel):
    """A drivable route through a cordon."""

    length_m: float
    crossings: list[CrossingName] = Field(description="Crossings it uses, in driving order.")
    guards: list[FailureGroup] = Field(description="Failure groups it meets.")


class CordonFailure(BaseModel):
    """Groups whose failure opens a sealed cordon, and the shortest leak that would open."""

    groups: list[FailureGroup]
    leak: CordonRoute


class CordonPairs(BaseModel):
    """Pairs of groups whose common failure opens what neither opens alone."""

    number: int = Field(description="How many such pairs there are.")
    number_exact: bool = Field(description="False: there are at least so many.")
    complete: bool = Field(description="No pair with a shorter leak is missing from `shortest`.")
    shortest: list[CordonFailure]


class CordonDirection(BaseModel):
    """One direction through a cordon."""

    connected: bool = Field(description="Some road leads through, guarded or not.")
    sealed: bool = Field(description="No route leads through that meets no working checkpoint.")
    leak: CordonRoute | None = Field(description="The shortest leak; null when sealed.")
    to_seal: int = Field(description="The fewest places whose guarding seals it.")
    depth: int | None = Field(
        description="The fewest failure groups met on any route: 0 a leak, 1 a single point of "
        "failure. Null when no road leads through. At least so many where not exact."
    )
    depth_at_most: int | None
    depth_exact: bool
    depth_route: CordonRoute | None = Field(description="A route that meets the fewest.")
    critical: list[CordonFailure] = Field(
        description="Groups whose failure alone opens it, those with the shortest leak first."
    )
    pairs: CordonPairs


class CordonAnswer(Answer):
    """The cordon of one ring; a direction is null when not assessed."""

    level: Level
    within_m: float
    inbound: CordonDirection | None
    outbound: CordonDirection | None


class ThroughAnswer(Answer):
    """From outside the outermost ring to the inside of the innermost, and back."""

    levels: list[Level] = Field(description="The rings passed, from the outside in.")
    within_m: float
    inbound: CordonDirection | None
    outbound: CordonDirection | None
