"""The fields a person or program registers, declared once: drafts validate them, tables hold them.

Every field carries its own description, which becomes the public API description. Lengths are in
metres, angles in degrees clockwise from true north.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, StringConstraints
from pydantic import Field as Rule
from pydantic_core import PydanticCustomError
from sqlalchemy import Boolean, Date, Double, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.instants import parse_day, parse_instant
from app.models.columns import Code, TextArray
from app.models.vocabulary import (
    CheckpointKind,
    Direction,
    Function,
    Lifecycle,
    OneWay,
    PictureLevel,
    PictureScale,
    RoadClass,
    Structure,
)

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Controls, line separators, and marks that turn the direction of writing round."""


def _printable(text: str) -> str:
    if _UNPRINTABLE.search(text):
        raise PydanticCustomError("control-characters", "control characters are not allowed")
    return text


def _day(value: object) -> object:
    """Read YYYY-MM-DD and nothing else: a number is not a day."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if (day := parse_day(value)) is None:
        raise PydanticCustomError("day", "a day of the calendar is needed, written YYYY-MM-DD")
    return day


def _instant(value: object) -> object:
    """Read RFC 3339 and nothing else: a number is not an instant."""
    if isinstance(value, datetime):
        return value
    if (instant := parse_instant(value)) is None:
        raise PydanticCustomError("instant", "an instant as in RFC 3339 is needed, e.g. 2026-01-31T08:00:00Z")
    return instant


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("instant", "the instant lies before year 1 or after year 9999") from error


Day = Annotated[date, BeforeValidator(_day)]
"""A calendar day, ``YYYY-MM-DD``."""

Instant = Annotated[AwareDatetime, BeforeValidator(_instant), AfterValidator(_in_utc)]
"""A moment with its offset (RFC 3339), kept in UTC."""


def _no_login(address: str) -> str:
    if "@" in address:
        msg = "an address carries no login: leave out what stands before the @"
        raise ValueError(msg)
    return address


Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_printable)]
"""One line of text, at most 200 characters."""

CodeText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:\-]{1,64}$")]
"""A record's code: 20 digits (GB/T 28181) or any other scheme of up to 64 plain characters."""

DivisionText = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
"""A six-digit division code (GB/T 2260)."""

Degrees = Annotated[float, Rule(allow_inf_nan=False)]
Metres = Annotated[float, Rule(allow_inf_nan=False, ge=0, le=100_000)]


class Identified(SQLModel):
    """What a thing is called and who answers for it."""

    code: CodeText = Field(sa_type=Code, description="Identity of the record, unique in its kind.")
    jurisdiction: DivisionText = Field(
        sa_type=Code, description="Division code of the jurisdiction the record belongs to."
    )
    name_zh: Line | None = Field(default=None, sa_type=Text, description="Name in Chinese.")
    name_en: Line | None = Field(default=None, sa_type=Text, description="Name in English.")
    address: Line | None = Field(default=None, sa_type=Text, description="Address or place in words.")
    division_code: DivisionText | None = Field(
        default=None, sa_type=Code, description="Division (GB/T 2260) the place lies in."
    )
    notes: Line | None = Field(default=None, sa_type=Text, description="One line of free text.")


class Owned(SQLModel):
    """Who answers for a thing, and what that unit itself calls it."""

    owner_unit: Line | None = Field(
        default=None, sa_type=Text, description="Unit that answers for it (an organisation)."
    )
    owner_reference: Line | None = Field(
        default=None,
        sa_type=Text,
        description="What the owner unit calls it in its own inventory; unique for the unit. Needs owner_unit.",
    )


class Accountable(Owned):
    """Owner, purpose, legal basis, retention, sign and filing of an installation."""

    maintenance_unit: Line | None = Field(
        default=None, sa_type=Text, description="Unit that maintains it (an organisation)."
    )
    purpose: Line | None = Field(default=None, sa_type=Text, description="What it is there for.")
    legal_basis: Line | None = Field(default=None, sa_type=Text, description="Law, article or decision it rests on.")
    retention_days: Annotated[int, Rule(ge=30, le=3650)] | None = Field(
        default=None,
        sa_type=Integer,
        description="Days recordings are kept; the law asks for at least 30.",
    )
    sign_present: bool | None = Field(
        default=None, sa_type=Boolean, description="Whether a conspicuous sign is in place."
    )
    sign_on: Day | None = Field(default=None, sa_type=Date, description="Day the sign was last seen in place.")
    filing_number: Line | None = Field(default=None, sa_type=Text, description="Number of the filing with the police.")
    filed_on: Day | None = Field(default=None, sa_type=Date, description="Day of the filing.")
    consent_reference: Line | None = Field(
        default=None, sa_type=Text, description="Consent of a protected unit nearby, where needed."
    )
    review_due: Day | None = Field(
        default=None, sa_type=Date, description="Day by which need and lawfulness are reviewed."
    )


class Installed(SQLModel):
    """The life of a piece of equipment and where it hangs."""

    lifecycle: Lifecycle = Field(default="in_use", sa_type=Text, description="What a person decided about it.")
    control_point: CodeText | None = Field(
        default=None, sa_type=Code, description="Code of the control point it is assigned to."
    )
    failure_group: Line | None = Field(
        default=None,
        sa_type=Text,
        description="What fails together with it: pole, cabinet, link. Equal text, common failure.",
    )
    manufacturer: Line | None = Field(default=None, sa_type=Text, description="Maker.")
    model: Line | None = Field(default=None, sa_type=Text, description="Maker's model.")
    installed_on: Day | None = Field(default=None, sa_type=Date, description="Day of installation.")
    in_use_on: Day | None = Field(default=None, sa_type=Date, description="Day put into use.")
    removed_on: Day | None = Field(default=None, sa_type=Date, description="Day taken down.")
    network_address: Annotated[Line, AfterValidator(_no_login)] | None = Field(
        default=None,
        sa_type=Text,
        description="Network address; answered to editors of the jurisdiction only.",
    )


class ControlPointFields(Identified, Owned):
    """A place that must be covered."""

    category: str = Field(sa_type=Text)
    road_name: Line | None = Field(default=None, sa_type=Text, description="Name of the road.")
    inbound_bearing_deg: Annotated[Degrees, Rule(ge=0, lt=360)] | None = Field(
        default=None, sa_type=Double, description="Travel bearing of inbound traffic."
    )
    requirements: list[Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))


class CheckpointFields(Identified, Installed, Accountable):
    """An installation of kind face or vehicle, with its lanes."""

    kind: CheckpointKind = Field(sa_type=Text, description="What the checkpoint captures.")
    tollgate_category: Annotated[str, StringConstraints(pattern="^(10|20|30|31|40|41|99)$")] | None = Field(
        default=None, sa_type=Text, description="GA/T 1400 TollgateCat."
    )
    tollgate_usage: Annotated[str, StringConstraints(pattern="^(80|81|82)$")] | None = Field(
        default=None, sa_type=Text, description="GA/T 1400 TollgateUsage."
    )
    capture_side: Annotated[str, StringConstraints(pattern="^(front|rear)$")] | None = Field(
        default=None, sa_type=Text, description="Side of the vehicle that is captured."
    )
    road: CodeText | None = Field(default=None, sa_type=Code, description="Code of the road the checkpoint stands on.")
    lanes: list[Any] = Field(default_factory=list, sa_type=JSONB)


class CameraFields(Identified, Installed, Accountable):
    """One device: functions, optics, and what it is part of."""

    functions: list[Function] = Field(sa_type=TextArray, description="What the device can do.", min_length=1)
    structure: Structure | None = Field(
        default=None, sa_type=Text, description="Build of the camera (GB/T 28181 PTZType)."
    )
    checkpoint: CodeText | None = Field(
        default=None, sa_type=Code, description="Code of the checkpoint it is a part of."
    )
    direction: Direction | None = Field(
        default=None,
        sa_type=Text,
        description="Direction of passage it serves. Not given: that of the checkpoint's lanes.",
    )
    azimuth_deg: Annotated[Degrees, Rule(ge=0, lt=360)] | None = Field(
        default=None,
        sa_type=Double,
        description="Direction of the optical axis, clockwise from true north. None: all round.",
    )
    opening_deg: Annotated[Degrees, Rule(gt=0, le=360)] | None = Field(
        default=None, sa_type=Double, description="Horizontal opening angle."
    )
    vertical_opening_deg: Annotated[Degrees, Rule(gt=0, le=360)] | None = Field(
        default=None, sa_type=Double, description="Vertical opening angle."
    )
    range_m: Annotated[Metres, Rule(gt=0)] | None = Field(
        default=None, sa_type=Double, description="Distance up to which it serves its function."
    )
    near_m: Metres | None = Field(default=None, sa_type=Double, description="Blind zone in front of it.")
    reach_m: Annotated[Metres, Rule(gt=0)] | None = Field(
        default=None,
        sa_type=Double,
        description="Distance up to which a camera that turns (PTZ) or looks all round serves its "
        "function in every direction. Given: its view is a disc of this radius.",
    )
    view_polygon: Any = Field(default=None, nullable=True, sa_type=JSONB(none_as_null=True))
    required_level: PictureLevel | None = Field(
        default=None,
        sa_type=Text,
        description="Picture level its view is planned for (IEC 62676-4).",
    )
    level_scale: PictureScale | None = Field(
        default=None, sa_type=Text, description="Edition of IEC 62676-4 the level belongs to."
    )
    horizontal_pixels: Annotated[int, Rule(ge=1, le=100_000)] | None = Field(
        default=None, sa_type=Integer, description="Horizontal resolution in pixels."
    )
    vertical_pixels: Annotated[int, Rule(ge=1, le=100_000)] | None = Field(
        default=None, sa_type=Integer, description="Vertical resolution in pixels."
    )
    focal_mm: Annotated[float, Rule(gt=0, le=10_000, allow_inf_nan=False)] | None = Field(
        default=None, sa_type=Double, description="Focal length of the lens in millimetres."
    )
    sensor_width_mm: Annotated[float, Rule(gt=0, le=1000, allow_inf_nan=False)] | None = Field(
        default=None, sa_type=Double, description="Width of the sensor in millimetres."
    )
    mount_height_m: Metres | None = Field(default=None, sa_type=Double, description="Height above the ground.")
    tilt_deg: Annotated[Degrees, Rule(ge=-90, le=90)] | None = Field(
        default=None, sa_type=Double, description="Tilt of the axis; negative looks down."
    )
    indoor: bool | None = Field(default=None, sa_type=Boolean, description="Mounted indoors.")
    point_class: Literal[1, 2, 3, 9] | None = Field(
        default=None, sa_type=Integer, description="GB/T 28181-2022 PointType: 1, 2, 3 or 9."
    )
    serial_number: Line | None = Field(default=None, sa_type=Text, description="Maker's serial number of the device.")


class RoadFields(Identified):
    """A directed or two-way centreline."""

    road_class: RoadClass = Field(sa_type=Text, description="Class of the road.")
    road_number: Line | None = Field(default=None, sa_type=Text, description="Number, e.g. G327.")
    group: CodeText | None = Field(
        default=None,
        sa_type=Code,
        description="Shared by both carriageways and the slip roads of one road.",
    )
    oneway: OneWay = Field(default="no", sa_type=Text, description="Direction of travel along the geometry.")
    layer: Annotated[int, Rule(ge=-10, le=10)] = Field(
        default=0, sa_type=Integer, description="Level above (bridge) or below (tunnel) the ground."
    )
    bridge: bool = Field(default=False, sa_type=Boolean, description="On a bridge.")
    tunnel: bool = Field(default=False, sa_type=Boolean, description="In a tunnel.")


class BuildingFields(Identified):
    """A building that can block the line of sight: its footprint and height."""

    height_m: Annotated[Metres, Rule(gt=0, le=1000)] | None = Field(
        default=None, sa_type=Double, description="Height above the ground. Not given: from levels."
    )
    levels: Annotated[int, Rule(ge=1, le=200)] | None = Field(
        default=None, sa_type=Integer, description="Storeys above the ground."
    )


class RingFields(SQLModel):
    """One ring boundary of a jurisdiction."""

    jurisdiction: DivisionText = Field(sa_type=Code, description="Division code.")
    level: str = Field(sa_type=Text, description="Which of the three rings.")
    name_zh: Line | None = Field(default=None, sa_type=Text, description="Name in Chinese.")
    name_en: Line | None = Field(default=None, sa_type=Text, description="Name in English.")
    tolerance_m: Annotated[Metres, Rule(le=1000)] = Field(
        default=5.0, sa_type=Double, description="Within this distance a point is on the boundary."
    )
    source: Line | None = Field(default=None, sa_type=Text, description="Where the line comes from.")
    datum_received: str = Field(default="wgs84", sa_type=Text, description="Datum the boundary was received in.")
    valid_from: Day | None = Field(default=None, sa_type=Date, description="Day from which this boundary holds.")


class JurisdictionFields(SQLModel):
    """The area one registry answers for, its plan and its rules."""

    code: DivisionText = Field(sa_type=Code, description="Division code (GB/T 2260), six digits.")
    name_zh: Line | None = Field(default=None, sa_type=Text, description="Name in Chinese.")
    name_en: Line | None = Field(default=None, sa_type=Text, description="Name in English.")
    plan: Any = Field(default_factory=dict, sa_type=JSONB)
    requirements: Any = Field(default_factory=dict, sa_type=JSONB)
    coverage_parameters: Any = Field(default_factory=dict, sa_type=JSONB)
    metric_epsg: Annotated[int, Rule(ge=1024, le=32767)] | None = Field(
        default=None,
        sa_type=Integer,
        description="Projected CRS metres are computed in. Not given: the CGCS2000 3-degree zone of the place.",
    )
    extent: list[float] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    stale_after_s: Annotated[int, Rule(ge=1, le=10 * 366 * 86_400)] = Field(
        default=3600,
        sa_type=Integer,
        description="A device whose last report is older reads as unknown.",
    )
    synthetic: bool = Field(default=False, sa_type=Boolean, description="True for made-up data such as the demo city.")


TITLES_ZH: Final[dict[str, str]] = {
    "code": "编码",
    "jurisdiction": "辖区编码",
    "name_zh": "名称",
    "name_en": "英文名称",
    "address": "地址",
    "division_code": "行政区划代码",
    "notes": "备注",
    "category": "防控点类别",
    "road_name": "道路名称",
    "inbound_bearing_deg": "进城行驶方位角",
    "requirements": "覆盖要求",
    "owner_unit": "管理单位",
    "maintenance_unit": "维护单位",
    "purpose": "用途",
    "legal_basis": "法律依据",
    "retention_days": "录像保存天数",
    "sign_present": "有无提示标识",
    "sign_on": "标识核查日期",
    "filing_number": "备案编号",
    "filed_on": "备案日期",
    "consent_reference": "同意文书编号",
    "review_due": "下次复核日期",
    "lifecycle": "使用状态",
    "control_point": "防控点编码",
    "failure_group": "共因故障组",
    "manufacturer": "设备厂商",
    "model": "设备型号",
    "installed_on": "安装日期",
    "in_use_on": "启用日期",
    "removed_on": "拆除日期",
    "network_address": "IP地址",
    "kind": "卡口类型",
    "tollgate_category": "卡口分类",
    "tollgate_usage": "卡口用途",
    "capture_side": "抓拍部位",
    "road": "道路编码",
    "lanes": "车道",
    "functions": "功能类型",
    "structure": "结构类型",
    "checkpoint": "卡口编码",
    "direction": "通行方向",
    "azimuth_deg": "方位角",
    "opening_deg": "水平视场角",
    "vertical_opening_deg": "垂直视场角",
    "range_m": "可视距离",
    "near_m": "近端盲区",
    "horizontal_pixels": "水平像素",
    "vertical_pixels": "垂直像素",
    "focal_mm": "焦距",
    "sensor_width_mm": "传感器宽度",
    "mount_height_m": "安装高度",
    "tilt_deg": "俯仰角",
    "view_polygon": "可视范围图形",
    "required_level": "要求画面等级",
    "level_scale": "画面等级标准",
    "reach_m": "覆盖半径",
    "height_m": "高度",
    "levels": "楼层数",
    "indoor": "是否室内",
    "point_class": "监控点位类型",
    "serial_number": "序列号",
    "road_class": "道路等级",
    "road_number": "道路编号",
    "group": "道路组",
    "oneway": "单行",
    "layer": "层级",
    "bridge": "桥梁",
    "tunnel": "隧道",
    "level": "防控圈",
    "tolerance_m": "边界容差",
    "source": "来源",
    "datum_received": "原坐标系",
    "valid_from": "生效日期",
    "geometry": "几何",
    "state": "在线状态",
    "reported_at": "上报时间",
    "owner_reference": "自有编号",
}
"""Chinese titles of the fields, as a heading shows them."""
