"""What travels: drafts in, views out, one pair per kind of record.

A draft is complete (PUT and POST); PATCH merges into one. Fields only the registry sets are accepted
and passed over, so that what was read can be sent back; anything else unknown is refused.
"""

from collections.abc import Container, Mapping
from typing import Annotated, ClassVar, Literal

import pyproj
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.ingest.validation.redaction import forbidden
from app.ingest.values import gb_codes
from app.models.cross_field_rules import check_rules
from app.models.fields import (
    BuildingFields,
    CameraFields,
    CheckpointFields,
    ControlPointFields,
    Instant,
    JurisdictionFields,
    RingFields,
    RoadFields,
)
from app.models.fields import Line as TextLine
from app.models.vocabulary import CATEGORIES, DEFAULT_REQUIREMENTS, Category, Datum, Direction, Function, Level, State
from app.records.geojson import AnyPlace, Area, Line, Point

SERVER_SET = frozenset(
    {
        "version", "created_at", "updated_at", "zone", "rings", "on_boundary", "distance_m", "working",
        "revision",
    }
)  # fmt: skip

_FEATURE_MEMBERS = frozenset({"type", "id", "bbox", "geometry", "properties"})


def plain_record(data: object, known: Container[str] = ()) -> object:
    """Return the flat record of a payload that may be a GeoJSON Feature or carry server-set fields.

    Names that are not ``known`` are looked at for content the registry never holds.
    """
    if not isinstance(data, Mapping):
        return data
    record = dict(data)
    if record.get("type") == "Feature" and "geometry" in record:
        properties = record.get("properties")
        if properties is None:
            properties = {}
        if not isinstance(properties, Mapping):
            raise PydanticCustomError("object-type", "the properties of a Feature are an object")
        if properties.get("geometry", record["geometry"]) != record["geometry"]:
            raise PydanticCustomError("duplicate-geometry", "the properties of the Feature state another geometry")
        foreign = {name: value for name, value in record.items() if name not in _FEATURE_MEMBERS}
        feature_id = record.get("id")
        record = {**foreign, **properties, "geometry": record["geometry"]}
        if feature_id is not None:
            record.setdefault("code", feature_id)
    for name in record:
        if name not in known and forbidden(str(name)):
            raise PydanticCustomError(
                "forbidden-content",
                "field '{name}' is refused: the registry holds equipment and places, never people, "
                "images, recognitions or logins",
                {"name": str(name)[:80], "member": str(name)[:80]},
            )
    return {name: value for name, value in record.items() if name not in SERVER_SET}


class Draft(BaseModel):
    """Rules every draft keeps: no unknown fields, and a code that fits the kind."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
    code_kind: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, data: object) -> object:
        return plain_record(data, cls.model_fields)

    @model_validator(mode="after")
    def _code_fits(self) -> "Draft":
        for fault in gb_codes.faults(getattr(self, "code", ""), self.code_kind):
            raise PydanticCustomError("gb28181-code", "{fault}", {"fault": fault, "member": "code"})
        return self

    @model_validator(mode="after")
    def _check_rules(self) -> "Draft":
        check_rules(self.code_kind, self)
        return self


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


MOST_LANES = 40
"""Lanes of one checkpoint."""


def _unique_lanes(lanes: list[Lane]) -> list[Lane]:
    numbers = [lane.lane for lane in lanes]
    if len(set(numbers)) != len(numbers):
        raise PydanticCustomError("duplicate-lane", "lane numbers must be unique in a checkpoint")
    return lanes


def _no_repeats(words: list[str]) -> list[str]:
    if len(set(words)) != len(words):
        raise PydanticCustomError("duplicate-value", "values must not repeat")
    return words


class Reported(BaseModel):
    """The state a device is known to be in, sent along with its registration."""

    state: State | None = Field(
        None,
        description="State to record with this write, as `POST /v1/states` would; `unknown` without "
        "a time records nothing.",
    )
    reported_at: Instant | None = Field(None, description="When the device said so. Not given: now.")


class ControlPointDraft(ControlPointFields, Draft):  # type: ignore[misc]  # pydantic merges the configs
    """A place that must be covered."""

    code_kind: ClassVar[str] = "control_point"
    category: Category = Field(description="What kind of place it is.")
    requirements: Requirements | None = Field(
        None, description="What this place needs, instead of what its category needs."
    )
    geometry: AnyPlace = Field(description="Point, or Polygon for a site.")


class CheckpointDraft(CheckpointFields, Reported, Draft):  # type: ignore[misc]  # as above
    """A face or vehicle checkpoint with its lanes."""

    code_kind: ClassVar[str] = "checkpoint"
    lanes: Annotated[list[Lane], Field(max_length=MOST_LANES), AfterValidator(_unique_lanes)] = Field(
        default_factory=list, description="Lanes with their directions."
    )
    geometry: Point = Field(description="Where it stands.")


class CameraDraft(CameraFields, Reported, Draft):  # type: ignore[misc]  # as above
    """One device."""

    code_kind: ClassVar[str] = "camera"
    functions: Annotated[list[Function], AfterValidator(_no_repeats)] = Field(
        min_length=1, description="What the device can do."
    )
    view_polygon: Area | None = Field(
        None,
        description="What it sees, drawn by hand; wins over everything computed from optics, and no building cuts it.",
    )
    geometry: Point = Field(description="Where it hangs.")


class RoadDraft(RoadFields, Draft):  # type: ignore[misc]  # as above
    """A centreline."""

    code_kind: ClassVar[str] = "road"
    geometry: Line = Field(description="Centreline in the direction of digitising.")


class BuildingDraft(BuildingFields, Draft):  # type: ignore[misc]  # as above
    """What stands in the way of looking."""

    code_kind: ClassVar[str] = "building"
    geometry: Area = Field(description="Footprint; courtyards are holes.")


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


def _metric(epsg: int) -> int:
    try:
        crs = pyproj.CRS.from_epsg(epsg)
    except pyproj.exceptions.CRSError as error:
        raise PydanticCustomError("unknown-crs", "no such EPSG code") from error
    if not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info):
        raise PydanticCustomError("crs-not-metric", "a projected CRS in metres is needed")
    return epsg


def _extent(extent: list[float]) -> list[float]:
    west, south, east, north = extent
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise PydanticCustomError("extent", "the extent is [west, south, east, north] in degrees")
    return extent


class JurisdictionDraft(JurisdictionFields, Draft):  # type: ignore[misc]  # as above
    """The area one registry answers for, its plan and its rules."""

    plan: Plan = Field(default_factory=dict, description="Control points each category should have.")
    requirements: dict[Category, Requirements] = Field(
        default_factory=dict,
        description="What each category of control point demands; categories left out get the "
        "defaults, which are stored with the jurisdiction.",
    )
    coverage_parameters: CoverageParameters = Field(
        default_factory=lambda: CoverageParameters.model_validate({}),
        description="Distances of the coverage computation.",
    )
    metric_epsg: Annotated[int, Field(ge=1024, le=32767), AfterValidator(_metric)] | None = Field(
        None,
        description="Projected CRS in which metres are computed. Not given: the CGCS2000 3-degree zone of the place.",
    )
    extent: (
        Annotated[
            list[Annotated[float, Field(allow_inf_nan=False)]],
            Field(min_length=4, max_length=4),
            AfterValidator(_extent),
        ]
        | None
    ) = Field(
        None,
        description="[west, south, east, north]; records outside are refused. Not given: the city ring with a margin.",
    )

    @model_validator(mode="after")
    def _defaults_are_data(self) -> "JurisdictionDraft":
        for category in CATEGORIES:
            if category not in self.requirements:
                self.requirements[category] = [
                    Requirement.model_validate(need) for need in DEFAULT_REQUIREMENTS[category]
                ]
        return self


class RingDraft(RingFields, Draft):  # type: ignore[misc]  # as above
    """Properties of a ring boundary; the geometry is checked apart, for its size."""

    level: Level = Field(description="Which of the three rings.")
    datum_received: Datum = Field("wgs84", description="Datum the boundary was received in.")
