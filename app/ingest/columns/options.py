"""What the sender of a file says about it, and the profiles that come with the product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.errors import Invalid, Issue
from app.ingest.columns.field_specs import RecordSpec
from app.ingest.columns.headings import to_plain_form
from app.ingest.values.code_lists import describe_unknown_list, find_lists
from app.messages import Message
from app.models.fields import Line

# What travels about imports: a named profile says how the columns of one source are to be read.

ImportKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_-]{0,39}$")]
"""A kind of record, or ``ring`` or ``state``; the plural of its route is taken too."""

Header = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A column as the file names it."""

Target = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}(@[a-z0-9_]{1,40})?$")]
"""A field, or ``field@list`` where the column uses a code list of its own."""

CodeList = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]


class Stored(BaseModel):
    """What is kept in the database as it was sent, which cannot hold the character NUL."""

    @model_validator(mode="before")
    @classmethod
    def _without_nul(cls, given: object) -> object:
        left = [given]
        while left:
            one = left.pop()
            if isinstance(one, str) and "\x00" in one:
                raise PydanticCustomError("control-characters", "control characters are not allowed")
            if isinstance(one, dict):
                left += [*one, *one.values()]
            elif isinstance(one, list):
                left += one
        return given


class Profile(Stored):
    """How the files of one source are read: columns, values, code lists, datum, defaults."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(
        description="Name to ask for it by."
    )
    title_zh: Line | None = Field(None, description="What it is, in Chinese.")
    title_en: Line | None = Field(None, description="What it is, in English.")
    kind: ImportKind | None = Field(None, description="Kind of record; none: any.")
    columns: dict[Header, Target | None] = Field(
        default_factory=dict,
        max_length=500,
        description="Column to field, or to `field@list` where the column uses a code list of its "
        "own; null: leave the column out.",
    )
    values: dict[Target, dict[str, JsonValue]] = Field(
        default_factory=dict,
        max_length=200,
        description="Field to what its cells mean: cell text to the value of the field.",
    )
    code_lists: dict[str, CodeList] = Field(
        default_factory=dict,
        max_length=50,
        description="Topic (direction, function, ...) to the code list its codes are of.",
    )
    crs: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        None, description="CRS or datum of the coordinates: EPSG:2326, gcj02, bd09 ..."
    )
    defaults: dict[Target, JsonValue] = Field(
        default_factory=dict,
        max_length=100,
        description="Values of fields where the cell is blank.",
    )
    drop_columns: list[Header] = Field(
        default_factory=list,
        max_length=500,
        description="Columns that are never read, as a file with personal content needs.",
    )
    key: Literal["code", "owner_reference"] | None = Field(None, description="What makes a row the record it updates.")

    @model_validator(mode="after")
    def _speaks_once(self) -> "Profile":
        for column in self.drop_columns:
            if self.columns.get(column) is not None:
                raise PydanticCustomError(
                    "dropped-and-used",
                    "column '{column}' is dropped and used at once",
                    {"column": column, "member": "drop_columns"},
                )
        return self


Key = Literal["code", "owner_reference"]


@dataclass(frozen=True)
class Options:
    """What the sender says. Everything but the kind may be left open."""

    spec: RecordSpec
    jurisdiction: str | None = None
    """Of rows that do not name one."""
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    """Column to field or ``field@list``; None: leave the column out, read nothing of it."""
    profile: Profile | None = None
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Field to cell text to value."""
    code_lists: str | Mapping[str, str] | None = None
    """One source for all topics, or topic (or field) to list."""
    crs: str | None = None
    """CRS or datum of the coordinates, instead of what the file says."""
    drop_columns: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    key: Key = "code"
    offset_h: float = 8.0
    """Hours from UTC of times without an offset."""
    some_fields: bool = False
    """Whether rows may give only some fields of records that are registered."""


YJYD: Final = Profile(
    name="yjyd",
    title_zh="一机一档",
    title_en="One device, one file: the camera archive",
    columns={
        "SBBM": "code", "SBMC": "name_zh", "SBCS": "manufacturer", "SBXH": "model",
        "XZQH": "division_code", "XZQY": "division_code", "JKDWLX": "point_class@yjyd",
        "SXJLX": "structure@yjyd", "SXJGNLX": "functions@gat1400", "AZDZ": "address", "JD": "lon",
        "WD": "lat", "AZGD": "mount_height_m", "KSJL": "range_m", "JSFW": "azimuth_deg@gbt28181",
        "SXJJKFW": "azimuth_deg@gbt28181", "SNWSX": "indoor@room", "IPV4": "network_address",
        "SBZT": "lifecycle@sbzt", "AZSJ": "installed_on", "QYSJ": "in_use_on", "BFSJ": "removed_on",
        "GLDW": "owner_unit", "WHDW": "maintenance_unit", "LXBCTS": "retention_days",
        "LGBH": "failure_group", "SPFBL": "resolution", "ZXZT": "state@isonline",
    },
    code_lists={
        "direction": "gbt28181", "function": "gat1400", "structure": "yjyd", "lifecycle": "sbzt",
    },
)  # fmt: skip
GBT28181: Final = Profile(
    name="gbt28181",
    title_zh="GB/T 28181 目录",
    title_en="GB/T 28181 catalogue",
    columns={
        "DeviceID": "code", "Name": "name_zh", "Manufacturer": "manufacturer", "Model": "model",
        "CivilCode": "division_code", "Address": "address", "Owner": "owner_unit", "Status": "state",
        "Longitude": "lon", "Latitude": "lat", "IPAddress": "network_address",
        "PTZType": "structure@gbt28181", "Info.PTZType": "structure@gbt28181",
        "RoomType": "indoor@room", "DirectionType": "azimuth_deg@gbt28181",
        "Resolution": "resolution", "HorizontalFieldAngle": "opening_deg",
        "VerticalFieldAngle": "vertical_opening_deg", "MaxViewDistance": "range_m",
        "PointType": "point_class@gbt28181", "FunctionType": "functions@gbt28181",
        "InstallTime": "installed_on", "ManagementUnit": "owner_unit",
        "RecordSaveDays": "retention_days", "SerialNumber": "serial_number",
    },
    code_lists={
        "direction": "gbt28181", "function": "gbt28181", "structure": "gbt28181",
        "checkpoint_kind": "gbt28181",
    },
    defaults={"functions": ["overview"]},
    crs=None,
)  # fmt: skip
GAT1400: Final = Profile(
    name="gat1400",
    title_zh="GA/T 1400 视图库",
    title_en="GA/T 1400 objects (APE, Tollgate, Lane)",
    columns={
        "ApeID": "code", "TollgateID": "code", "Name": "name_zh", "Model": "model",
        "IPAddr": "network_address", "Longitude": "lon", "Latitude": "lat",
        "PlaceCode": "division_code", "Place": "address", "OrgCode": "owner_unit",
        "CapDirection": "capture_side@gat1400", "MonitorDirection": "azimuth_deg@gat1400",
        "IsOnline": "state@isonline", "FunctionType": "functions@gat1400",
        "Status": "lifecycle@gat1400", "TollgateCat": "tollgate_category",
        "TollgateUsage": "tollgate_usage", "ActiveTime": "in_use_on", "LaneId": "lane",
        "Direction": "lane_bearing_deg@gat1400", "CityPass": "lane_direction@citypass",
        "MaxSpeed": "lane_max_speed_kmh",
    },
    code_lists={
        "direction": "gat1400", "function": "gat1400", "checkpoint_kind": "gat1400",
        "lifecycle": "gat1400",
    },
)  # fmt: skip
OSM: Final = Profile(
    name="osm",
    title_zh="OpenStreetMap 标签",
    title_en="OpenStreetMap tags",
    columns={
        "@id": "code", "id": "code", "osm_id": "code", "name": "name", "name:en": "name_en",
        "name:zh": "name_zh", "operator": "owner_unit", "manufacturer": "manufacturer",
        "model": "model", "ref": "road_number", "camera:direction": "azimuth_deg@degrees",
        "direction": "azimuth_deg@degrees", "camera:angle": "tilt_deg@down", "height": "mount_height_m",
        "camera:type": "structure@osm", "surveillance:type": "functions",
        "surveillance": "indoor@osm", "highway": "road_class@osm", "oneway": "oneway@osm",
        "layer": "layer", "bridge": "bridge", "tunnel": "tunnel", "description": "notes",
        "start_date": "in_use_on",
    },
    code_lists={"direction": "degrees", "road_class": "osm", "oneway": "osm"},
    defaults={"functions": ["overview"]},
)  # fmt: skip
NATIVE: Final = Profile(name="native", title_zh="本系统字段", title_en="The registry's own field names and titles")

BY_KIND: Final[dict[tuple[str, str], dict[str, str]]] = {
    ("gat1400", "checkpoint"): {"ApeID": "lane_camera", "IsOnline": "state@isonline"},
    ("gat1400", "camera"): {"TollgateID": "checkpoint", "CityPass": "direction@citypass"},
    ("gat1400", "state"): {"CurrentTime": "reported_at"},
    ("osm", "building"): {"height": "height_m", "building:levels": "levels"},
}
"""Columns of a built-in profile that mean something else for one kind."""

OF_LANES: Final = {"Name": "lane_name"}
"""Columns of GA/T 1400 that mean something else in a list of lanes."""


def is_lane_list(profile: str, kind: str, columns: Sequence[str]) -> bool:
    """Tell whether a file of GA/T 1400 has lanes without their tollgates: no row has a place."""
    names = {to_plain_form(column) for column in columns}
    return (profile, kind) == ("gat1400", "checkpoint") and ("laneid" in names and "longitude" not in names)


BUILT_IN: Final[dict[str, Profile]] = {p.name: p for p in (YJYD, GBT28181, GAT1400, OSM, NATIVE)}

_SIGNS: Final[dict[str, frozenset[str]]] = {
    name: frozenset(signs.split())
    for name, signs in {
        "yjyd": "sbbm sbmc sxjgnlx sxjlx jkdwlx azdz lxbcts sbzt lwsx gldw",
        "gbt28181": "deviceid civilcode parental parentid registerway secrecy ptztype infoptztype",
        "gat1400": "apeid tollgateid placecode orgcode isonline monitordirection tollgatecat laneid "
        "citypass ownerapsid",
        "osm": "manmade highway surveillancetype cameratype cameradirection osmid osmwayid "
        "surveillance cameramount buildinglevels roofshape addrstreet",
    }.items()
}
_BY_FORMAT: Final = {"gb28181": "gbt28181", "gat1400": "gat1400"}


def detect_profile(columns: Sequence[str], file_format: str | None) -> Profile:
    """Return the built-in profile a file speaks for by its format or its headings."""
    if file_format in _BY_FORMAT:
        return BUILT_IN[_BY_FORMAT[file_format]]
    names = {to_plain_form(column) for column in columns}
    scores = {name: len(signs & names) for name, signs in _SIGNS.items()}
    best = max(scores, key=lambda name: scores[name])
    alone = sum(score == scores[best] for score in scores.values()) == 1
    needed = 1 if best == "osm" and names & {"manmade", "highway", "buildinglevels"} else 2
    return BUILT_IN[best] if scores[best] >= needed and alone else NATIVE


def find_profile_issues(profile: Profile, spec: RecordSpec | None) -> list[Issue]:
    """Return the fields and code lists of a profile that do not exist; ``spec`` is that of its kind, if it names one."""
    issues = []
    for member, targets in (
        ("columns", [target for target in profile.columns.values() if target]),
        ("values", list(profile.values)),
        ("defaults", list(profile.defaults)),
    ):
        for target in dict.fromkeys(targets):
            name, _, code_list = target.partition("@")
            if spec is not None and spec.field(name) is None:
                message = Message("a {kind} has no field {field!r}", kind=spec.name, field=name)
                issues.append(Issue(f"/{member}", "unknown-field", message))
            if code_list and code_list not in find_lists(name):
                issues.append(Issue(f"/{member}", "unknown-code-list", describe_unknown_list(name, code_list)))
    for topic, code_list in profile.code_lists.items():
        if code_list not in find_lists(topic):
            issues.append(Issue("/code_lists", "unknown-code-list", describe_unknown_list(topic, code_list)))
    return issues


def check_profile(profile: Profile, spec: RecordSpec | None) -> None:
    """Raise an error with every issue of a profile."""
    if issues := find_profile_issues(profile, spec):
        raise Invalid(Message("The profile is not valid: {reason}.", reason=issues[0].message), issues=issues)


def to_code_lists(stated: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return topic (or field) to code list as the sender states it; the topic "" means all."""
    if stated is None:
        return {}
    return {"": stated} if isinstance(stated, str) else dict(stated)
