"""The kinds of records, each declared once: draft, names, filters, references, tile properties, write role.

Everything else reads the declaration: the routes, the collections and tiles of the GIS interface, imports, exports and
the history triggers. To add a kind, add its fields to `app.models.fields`, its table to `app.models.tables`, and its
draft and declaration here (ADR 20).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar, Final, Literal

import pyproj
from pydantic import AfterValidator, BaseModel, Field, create_model, model_validator

from app.errors import to_pydantic_error
from app.messages import Message
from app.models.fields import (
    BuildingFields,
    CameraFields,
    CheckpointFields,
    ControlPointFields,
    JurisdictionFields,
    RoadFields,
)
from app.models.vocabulary import CATEGORIES, DEFAULT_REQUIREMENTS, Category, Function
from app.records.drafts import (
    MAX_LANES,
    CoverageParameters,
    Draft,
    Lane,
    Placed,
    Plan,
    ReportedState,
    Requirement,
    Requirements,
    StateFields,
    VersionFields,
    validate_no_repeats,
)
from app.records.geojson import AnyPlace, Area, Line, Point


@dataclass(frozen=True, eq=False)
class Kind:
    """The declaration of one kind of record."""

    name: str
    """Name of the table, and of the kind in history and states."""
    plural: str
    """Name in routes and collections."""
    title: str
    """Name in sentences."""
    draft: type[Draft]
    label_zh: str = ""
    """Title of the collection in Chinese."""
    label_en: str = ""
    """Title of the collection in English."""
    description: str = ""
    """Description of the collection."""
    filters: frozenset[str] = frozenset()
    """Fields that filter a list, in addition to jurisdiction, bbox, q and updated_since."""
    tile_properties: tuple[str, ...] = ()
    """Fields that a tile shows in addition to code, jurisdiction and name."""
    has_zone: bool = False
    """Whether it has a zone, rings, on_boundary and distance_m."""
    is_device: bool = False
    """Whether it reports a state."""
    has_geometry: bool = True
    """Whether it has a geometry."""
    write_role: Literal["editor", "admin"] = "editor"
    references: Mapping[str, str] = field(default_factory=dict)
    """Field to the kind of the records that it refers to, inside the same jurisdiction."""
    restricted: frozenset[str] = frozenset()
    """Fields that only editors of the jurisdiction see."""

    @cached_property
    def geometry_types(self) -> tuple[str, ...]:
        """GeoJSON types of its geometry."""
        return tuple(self.draft.model_json_schema()["properties"]["geometry"]["properties"]["type"]["enum"])

    @cached_property
    def view(self) -> type[BaseModel]:
        """The document that the API returns: the draft and what the registry adds."""
        added = (VersionFields, *((Placed,) if self.has_zone else ()), *((StateFields,) if self.is_device else ()))
        return self._create_model("View", added, f"{self._with_article} as registered.")

    @cached_property
    def past(self) -> type[BaseModel]:
        """The document that ``as_of`` returns: only what was registered."""
        if not self.has_zone:
            return self.view
        lost = "where it lay and its state are not kept" if self.is_device else "where it lay is not kept"
        return self._create_model(
            "Past", (VersionFields,), f"{self._with_article} as it was registered at an instant; {lost}."
        )

    @property
    def _with_article(self) -> str:
        return f"A {self.title}"

    def _create_model(self, suffix: str, added: tuple[type[BaseModel], ...], description: str) -> type[BaseModel]:
        name = self.draft.__name__.removesuffix("Draft") + suffix
        model: type[BaseModel] = create_model(name, __base__=(self.draft, *added), __doc__=description)
        return model


_DEVICE_FILTERS: Final = frozenset({"zone", "function", "lifecycle", "state", "control_point"})


def _validate_metric_crs(epsg: int) -> int:
    try:
        crs = pyproj.CRS.from_epsg(epsg)
    except pyproj.exceptions.CRSError as error:
        raise to_pydantic_error("unknown-crs", Message("EPSG:{code} does not exist", code=epsg)) from error
    if not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info):
        raise to_pydantic_error("crs-not-metric", Message("EPSG:{code} is not a projected CRS in metres", code=epsg))
    return epsg


def _validate_extent(extent: list[float]) -> list[float]:
    west, south, east, north = extent
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise to_pydantic_error(
            "extent", Message("the extent must be [west, south, east, north] in degrees, west < east and south < north")
        )
    return extent


class JurisdictionDraft(JurisdictionFields, Draft):  # type: ignore[misc]  # pydantic merges the configurations
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
    metric_epsg: Annotated[int, Field(ge=1024, le=32767), AfterValidator(_validate_metric_crs)] | None = Field(
        None,
        description="Projected CRS in which metres are computed. Not given: the CGCS2000 3-degree zone of the place.",
    )
    extent: (
        Annotated[
            list[Annotated[float, Field(allow_inf_nan=False)]],
            Field(min_length=4, max_length=4),
            AfterValidator(_validate_extent),
        ]
        | None
    ) = Field(
        None,
        description="[west, south, east, north]; records outside are refused. Not given: the city ring with a margin.",
    )

    @model_validator(mode="after")
    def _add_default_requirements(self) -> "JurisdictionDraft":
        for category in CATEGORIES:
            if category not in self.requirements:
                self.requirements[category] = [
                    Requirement.model_validate(need) for need in DEFAULT_REQUIREMENTS[category]
                ]
        return self


JURISDICTION = Kind(
    name="jurisdiction",
    plural="jurisdictions",
    title="jurisdiction",
    draft=JurisdictionDraft,
    has_geometry=False,
    write_role="admin",
)


class ControlPointDraft(ControlPointFields, Draft):  # type: ignore[misc]  # pydantic merges the configurations
    """A place that must be covered."""

    kind_name: ClassVar[str] = "control_point"
    category: Category = Field(description="What kind of place it is.")
    requirements: Requirements | None = Field(
        None, description="What this place needs, instead of what its category needs."
    )
    geometry: AnyPlace = Field(description="Point, or Polygon for a site.")


CONTROL_POINT = Kind(
    name="control_point",
    plural="control-points",
    title="control point",
    draft=ControlPointDraft,
    label_zh="控制点",
    label_en="Control points",
    description="Places that must be covered.",
    filters=frozenset({"zone", "category"}),
    tile_properties=("category", "zone"),
    has_zone=True,
)


class RoadDraft(RoadFields, Draft):  # type: ignore[misc]  # pydantic merges the configurations
    """A centreline."""

    kind_name: ClassVar[str] = "road"
    geometry: Line = Field(description="Centreline in the direction of digitising.")


ROAD = Kind(
    name="road",
    plural="roads",
    title="road",
    draft=RoadDraft,
    label_zh="道路",
    label_en="Roads",
    description="Centrelines of roads.",
    filters=frozenset({"road_class", "group"}),
    tile_properties=("road_class", "road_number", "group", "oneway", "layer", "bridge", "tunnel"),
)


class BuildingDraft(BuildingFields, Draft):  # type: ignore[misc]  # pydantic merges the configurations
    """A building that can block the line of sight."""

    kind_name: ClassVar[str] = "building"
    geometry: Area = Field(description="Footprint; courtyards are holes.")


BUILDING = Kind(
    name="building",
    plural="buildings",
    title="building",
    draft=BuildingDraft,
    label_zh="建筑物",
    label_en="Buildings",
    description="Outlines and heights that cut fields of view.",
    tile_properties=("height_m",),
)


def _validate_lane_numbers(lanes: list[Lane]) -> list[Lane]:
    numbers = [lane.lane for lane in lanes]
    if len(set(numbers)) != len(numbers):
        raise to_pydantic_error("duplicate-lane", Message("lane numbers must be unique in a checkpoint"))
    return lanes


class CheckpointDraft(CheckpointFields, ReportedState, Draft):  # type: ignore[misc]  # pydantic merges the configurations
    """A face or vehicle checkpoint with its lanes."""

    kind_name: ClassVar[str] = "checkpoint"
    lanes: Annotated[list[Lane], Field(max_length=MAX_LANES), AfterValidator(_validate_lane_numbers)] = Field(
        default_factory=list, description="Lanes with their directions."
    )
    geometry: Point = Field(description="Where it stands.")


CHECKPOINT = Kind(
    name="checkpoint",
    plural="checkpoints",
    title="checkpoint",
    draft=CheckpointDraft,
    label_zh="卡口",
    label_en="Checkpoints",
    description="Face and vehicle checkpoints with their lanes.",
    filters=_DEVICE_FILTERS | {"kind"},
    tile_properties=("kind", "zone", "lifecycle", "control_point"),
    has_zone=True,
    is_device=True,
    references={"control_point": "control_point", "road": "road"},
    restricted=frozenset({"network_address"}),
)


class CameraDraft(CameraFields, ReportedState, Draft):  # type: ignore[misc]  # pydantic merges the configurations
    """One device."""

    kind_name: ClassVar[str] = "camera"
    functions: Annotated[list[Function], AfterValidator(validate_no_repeats)] = Field(
        min_length=1, description="What the device can do."
    )
    view_polygon: Area | None = Field(
        None,
        description="What it sees, drawn by hand; wins over everything computed from optics, and no building cuts it.",
    )
    geometry: Point = Field(description="Where it hangs.")


CAMERA = Kind(
    name="camera",
    plural="cameras",
    title="camera",
    draft=CameraDraft,
    label_zh="摄像机",
    label_en="Cameras",
    description="Devices with their functions, optics and state.",
    filters=_DEVICE_FILTERS | {"structure", "checkpoint"},
    tile_properties=("zone", "lifecycle", "azimuth_deg", "control_point", "checkpoint"),
    has_zone=True,
    is_device=True,
    references={"control_point": "control_point", "checkpoint": "checkpoint"},
    restricted=frozenset({"network_address"}),
)

KINDS = (JURISDICTION, CONTROL_POINT, ROAD, BUILDING, CHECKPOINT, CAMERA)
BY_NAME = {kind.name: kind for kind in KINDS}
DEVICES = (CHECKPOINT, CAMERA)
