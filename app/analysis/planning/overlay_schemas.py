"""Changes that are only imagined: what a what-if question and a scenario are made of.

The parts of a change are checked here; the records in it are checked by the drafts of their kinds.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from app.analysis.coverage.schemas import Answer, Counts, DeviceCounts
from app.analysis.crossings.schemas import CrossingStatus, Passing
from app.models.fields import CodeText, Line
from app.models.vocabulary import Level, State
from app.records.geojson import Area

MOST_CHANGES: Final = 5_000
Imagined = Literal["camera", "checkpoint", "control_point", "road", "building"]
Device = Literal["camera", "checkpoint"]
Name = Annotated[Line, Field(min_length=1)]
_ACTIONS: Final = ("upsert", "patch", "delete", "state", "fail", "seal")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class Failing(_Strict):
    """Which devices fail: those that fit everything that is said; at least one thing is."""

    area: Area | None = Field(None, description="Devices within this polygon, border included.")
    road: Name | None = Field(
        None,
        description="Vehicle devices that stand on this road: its code, group, number or name.",
    )
    failure_group: Name | None = Field(None, description="Devices of this failure group.")
    kind: Device | None = Field(None, description="Only cameras, or only checkpoints.")
    codes: list[CodeText] | None = Field(None, min_length=1, max_length=10_000, description="Devices with these codes.")
    owner_unit: Name | None = Field(None, description="Devices of this unit.")
    maintenance_unit: Name | None = Field(None, description="Devices this unit maintains.")
    manufacturer: Name | None = Field(None, description="Devices of this maker.")
    model: Name | None = Field(None, description="Devices of this model.")

    @model_validator(mode="after")
    def _says_something(self) -> "Failing":
        said = {name for name, value in self if value is not None}
        if not said - {"kind"}:
            raise PydanticCustomError("nothing-said", "say which devices fail")
        return self


class Sealing(_Strict):
    """Where working vehicle checkpoints are imagined: at every passage of a crossing, or on a road."""

    crossing: str | None = Field(None, pattern="^(core|urban|city)-[0-9a-f]{12}$", description="Id of a crossing.")
    road: CodeText | None = Field(None, description="Code of a road: every stretch of it between junctions is guarded.")
    directions: list[Passing] | None = Field(
        None, min_length=1, max_length=2, description="At a crossing: which; not given: both."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "Sealing":
        if (self.crossing is None) is (self.road is None):
            raise PydanticCustomError("one-place", "say either a crossing or a road")
        if self.road is not None and self.directions is not None:
            raise PydanticCustomError("direction-of-road", "a road is sealed both ways", {"member": "directions"})
        return self


class ImaginedChange(_Strict):
    """One imagined change: exactly one of upsert, patch, delete, state, fail, seal."""

    kind: Imagined | None = Field(None, description="Kind of record; needed with upsert, patch, delete and state.")
    upsert: dict[str, Any] | None = Field(
        None, description="A whole record as `PUT` takes it. A new device is online unless it says."
    )
    patch: dict[str, Any] | None = Field(None, description="A merge patch of an existing record, with its `code`.")
    delete: CodeText | None = Field(None, description="Code of a record that is gone.")
    code: CodeText | None = Field(None, description="With state: code of the device.")
    state: State | None = Field(None, description="What the device says.")
    fail: Failing | None = Field(None, description="Devices that fail.")
    seal: Sealing | None = Field(None, description="A place that is guarded.")

    @model_validator(mode="after")
    def _one_action(self) -> "ImaginedChange":
        said = [name for name in _ACTIONS if getattr(self, name) is not None]
        if len(said) != 1:
            raise PydanticCustomError("one-action", f"say exactly one of {', '.join(_ACTIONS)}")
        needs_kind = said[0] in ("upsert", "patch", "delete", "state")
        if needs_kind is not (self.kind is not None):
            raise PydanticCustomError(
                "kind-of-change",
                "{action} needs a kind" if needs_kind else "{action} has no kind",
                {"action": said[0], "member": "kind"},
            )
        if (self.code is not None) is not (said[0] == "state"):
            raise PydanticCustomError("code-of-change", "state has a code, nothing else has")
        if said[0] == "state" and self.kind not in ("camera", "checkpoint"):
            raise PydanticCustomError("kind-of-change", "only devices have a state", {"member": "kind"})
        return self


class Overlay(_Strict):
    """Imagined changes: first records in order, then places sealed, states, and last failures."""

    changes: Annotated[list[ImaginedChange], Field(max_length=MOST_CHANGES)] = Field(
        description=f"At most {MOST_CHANGES:,}."
    )


OVERLAY = TypeAdapter(Overlay)


class PointChange(BaseModel):
    """A control point whose status would change; null before or after: it is not there."""

    code: str
    category: str
    zone: str | None
    before: str | None
    after: str | None


class CrossingChange(BaseModel):
    """A crossing whose status or open directions would change."""

    id: str
    level: Level
    before: CrossingStatus | None
    after: CrossingStatus | None
    missing_before: list[Passing]
    missing_after: list[Passing]


class CordonNumbers(BaseModel):
    """One direction through a ring in four numbers; null when not assessed."""

    sealed: bool | None
    depth: int | None
    to_seal: int | None
    critical: int | None


class CordonChange(BaseModel):
    """One direction through a ring, before and after."""

    level: Level
    direction: Passing
    changed: bool
    before: CordonNumbers
    after: CordonNumbers


class BeforeAndAfterCounts(BaseModel):
    """Control points by status."""

    before: Counts
    after: Counts


class BeforeAndAfterDevices(BaseModel):
    """Devices by whether they work."""

    before: DeviceCounts
    after: DeviceCounts


class ControlPointsDiff(BaseModel):
    """Control points: counts, and those whose status changes."""

    counts: BeforeAndAfterCounts
    changed: list[PointChange]
    opened: list[str] = Field(description="Codes of points that become gaps.")
    closed: list[str] = Field(description="Codes of gaps that are closed.")


class FailedNothing(BaseModel):
    """A failure that no device fits: nothing fails by it."""

    change: int = Field(description="Place of the change, counted from 0.")
    filters: list[str] = Field(
        description="What no device fits: a misspelt name, say. Several that devices fit each for "
        "itself: none fits all of them."
    )


class Applied(BaseModel):
    """What the changes amount to."""

    upserted: dict[str, int]
    deleted: dict[str, int]
    sealed: int = Field(description="Checkpoints imagined to seal places.")
    states: int
    failed: dict[str, int] = Field(description="Devices that fail, by kind.")
    failed_nothing: list[FailedNothing] = Field(
        description="Failures that no device fits, in the order of the changes."
    )


class WhatIf(Answer):
    """What would change; the registry is not touched."""

    applied: Applied
    control_points: ControlPointsDiff
    crossings: list[CrossingChange]
    rings: list[CordonChange]
    devices: BeforeAndAfterDevices
