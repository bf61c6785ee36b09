"""Scenarios as they travel."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.analysis.planning.diff import WhatIf
from app.analysis.planning.overlay import MAX_CHANGES, ImaginedChange
from app.models.fields import Instant, Line


class ScenarioDraft(BaseModel):
    """Imagined changes to be kept under a name."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    title: Line | None = Field(None, description="What it is about.")
    changes: Annotated[list[ImaginedChange], Field(max_length=MAX_CHANGES)] = Field(
        description=f"As in a what-if question; at most {MAX_CHANGES:,}."
    )


class ScenarioHead(BaseModel):
    """A scenario without its changes."""

    name: str
    jurisdiction: str
    title: str | None
    author: str = Field(description="The key that wrote it last.")
    version: int
    created_at: Instant
    updated_at: Instant


class ScenarioItem(ScenarioHead):
    """A scenario in a list."""

    changes: int = Field(description="How many changes it has.")


class Scenario(ScenarioHead):
    """A scenario."""

    changes: list[dict[str, Any]]


class ScenarioPage(BaseModel):
    """Scenarios in the order of their names."""

    items: list[ScenarioItem]
    next: str | None


class ScenarioName(BaseModel):
    """Which scenario, in which version."""

    name: str
    version: int


class ScenarioResult(WhatIf):
    """What a scenario would change, from now or from another scenario."""

    scenario: ScenarioName
    against: ScenarioName | None


class PlanStep(BaseModel):
    """One batch, to be sent as it is to ``POST /v1/{kind}:batch``."""

    kind: str = Field(description="Name of the kind in routes.")
    items: list[dict[str, Any]]


class ScenarioPlan(BaseModel):
    """A scenario as batches, in the order in which they are to be sent."""

    scenario: ScenarioName
    planned: list[PlanStep] = Field(description="To register now: new places, and new devices as `planned`.")
    carried_out: list[PlanStep] = Field(description="To send when the work is done: everything as it was imagined.")
    left_out: int = Field(description="States and failures, which are no records.")
