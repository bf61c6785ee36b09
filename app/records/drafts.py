"""What the drafts of all kinds have in common, and their parts: lanes, requirements, reported state, parameters.

A draft is a complete record as a client sends it; PATCH merges its payload into one. Fields that only the registry
sets are accepted and ignored, so that a client can send back what it has read. Any other unknown field is an error.
"""

from collections.abc import Container, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.errors import to_pydantic_error
from app.ingest.values import gb_codes
from app.ingest.values.forbidden_names import is_forbidden_name
from app.messages import Message
from app.models.cross_field_rules import check_rules
from app.models.fields import Instant, RingFields
from app.models.fields import Line as TextLine
from app.models.vocabulary import Category, Datum, Direction, Function, Level, State, Zone

SERVER_SET = frozenset(
    {
        "version", "created_at", "updated_at", "zone", "rings", "on_boundary", "distance_m", "working",
        "revision",
    }
)  # fmt: skip

_FEATURE_MEMBERS = frozenset({"type", "id", "bbox", "geometry", "properties"})


def flatten_payload(data: object, field_names: Container[str] = ()) -> object:
    """Return the flat record of a payload, without the fields that the registry sets.

    The payload may be a GeoJSON Feature. A name that is not in ``field_names`` is checked for content that the registry
    never holds.
    """
    if not isinstance(data, Mapping):
        return data
    record = dict(data)
    if record.get("type") == "Feature" and "geometry" in record:
        properties = record.get("properties")
        if properties is None:
            properties = {}
        if not isinstance(properties, Mapping):
            raise to_pydantic_error("object-type", Message("the properties of a Feature must be an object"))
        if properties.get("geometry", record["geometry"]) != record["geometry"]:
            raise to_pydantic_error(
                "duplicate-geometry", Message("the properties of the Feature have a different geometry")
            )
        foreign = {name: value for name, value in record.items() if name not in _FEATURE_MEMBERS}
        feature_id = record.get("id")
        record = {**foreign, **properties, "geometry": record["geometry"]}
        if feature_id is not None:
            record.setdefault("code", feature_id)
    for name in record:
        if name not in field_names and is_forbidden_name(str(name)):
            member = str(name)[:80]
            raise to_pydantic_error(
                "forbidden-content",
                Message(
                    "field {name!r} is not allowed: the registry holds equipment and places, never people, images, "
                    "recognitions or logins",
                    name=member,
                ),
                member,
            )
    return {name: value for name, value in record.items() if name not in SERVER_SET}


class Draft(BaseModel):
    """Base of all drafts: no unknown fields, a code that fits the kind, and the rules over several fields."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
    kind_name: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _flatten_payload(cls, data: object) -> object:
        return flatten_payload(data, cls.model_fields)

    @model_validator(mode="after")
    def _code_fits(self) -> "Draft":
        for message in gb_codes.find_errors(getattr(self, "code", ""), self.kind_name):
            raise to_pydantic_error("gb28181-code", message, "code")
        return self

    @model_validator(mode="after")
    def _check_rules(self) -> "Draft":
        check_rules(self.kind_name, self)
        return self


def validate_no_repeats(values: list[str]) -> list[str]:
    """Return the values, or raise an error if a value occurs twice."""
    if len(set(values)) != len(values):
        raise to_pydantic_error("duplicate-value", Message("values must not repeat"))
    return values


class Requirement(BaseModel):
    """What a control point needs of one function."""

    model_config = ConfigDict(extra="forbid", strict=True)

    function: Function = Field(description="What a device must be able to do.")
    directions: list[Literal["inbound", "outbound"]] = Field(
        default_factory=list, max_length=2, description="Directions of passage; empty: any."
    )
    working: int = Field(1, ge=1, le=100, description="Working devices needed in each direction.")
    min_px_per_m: float | None = Field(
        None, gt=0, le=10_000, allow_inf_nan=False, description="Pixel density needed at the place."
    )


Requirements = Annotated[list[Requirement], Field(min_length=1, max_length=20)]


class Lane(BaseModel):
    """One lane of a checkpoint."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lane: int = Field(ge=1, le=99, description="Number, unique within the checkpoint.")
    direction: Direction = Field(description="Direction of passage, seen from the ring.")
    bearing_deg: float | None = Field(None, ge=0, lt=360, allow_inf_nan=False, description="Travel bearing.")
    name: TextLine | None = Field(None, description="Name of the lane.")
    max_speed_kmh: int | None = Field(None, ge=1, le=200, description="Speed limit.")
    camera: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._:\-]{1,64}$", description="Code of the camera on this lane."
    )


MAX_LANES = 40
"""Lanes of one checkpoint."""


class ReportedState(BaseModel):
    """The state a device is known to be in, sent along with its registration."""

    state: State | None = Field(
        None,
        description="State to record with this write, as `POST /v1/states` would; `unknown` without "
        "a time records nothing.",
    )
    reported_at: Instant | None = Field(None, description="When the device said so. Not given: now.")


Plan = dict[Category, Annotated[int, Field(ge=0, le=1_000_000)]]


class CoverageParameters(BaseModel):
    """Distances of the coverage computation; all have defaults, all are answered with a result."""

    model_config = ConfigDict(extra="forbid", strict=True)

    search_m: float = Field(
        200, gt=0, le=5000, allow_inf_nan=False,
        description="Devices with the needed function within this distance count as candidates.",
    )  # fmt: skip
    assumed_range_m: float = Field(
        30, gt=0, le=1000, allow_inf_nan=False,
        description="Range of a device of which no optics are known.",
    )  # fmt: skip
    assigned_range_m: float = Field(
        100, gt=0, le=5000, allow_inf_nan=False,
        description="The same for a device assigned to the control point.",
    )  # fmt: skip
    assumed_opening_deg: float = Field(
        60, gt=0, le=360, allow_inf_nan=False,
        description="Opening of a camera that states an azimuth and no opening.",
    )  # fmt: skip
    road_snap_m: float = Field(
        0, ge=0, le=20, allow_inf_nan=False,
        description="Ends of roads of one layer that lie so near each other, or a road, are joined.",
    )  # fmt: skip


class RingDraft(RingFields, Draft):  # type: ignore[misc]  # pydantic merges the configurations
    """Properties of a ring boundary; the geometry is checked apart, for its size."""

    level: Level = Field(description="Which of the three rings.")
    datum_received: Datum = Field("wgs84", description="Datum the boundary was received in.")


# What the registry adds to a record in its documents, and the entries of a history.
#
# The document of a kind is composed from these and its draft (`app.records.kinds.Kind.view`).


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
