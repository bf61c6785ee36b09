"""Which field a column heading means: plain forms, units, datums, and the names of each kind.

Promises one answer per heading or none; two headings for one field are the plan's to report.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from app.ingest.columns.field_specs import RecordSpec
from app.ingest.values.text import to_simplified
from app.models.titles import heading, title

# What columns are called in the wild: Chinese and English headings, pinyin initials, standards, OSM.
#
# Data only. A key is a field, or ``field@list`` when the heading tells which code list its cells use;
# a value lists headings in their plain form (lower case, without spaces, marks and units). Own names
# and titles of fields need no entry. Sources: the column names of the one-device-one-file archive,
# GB/T 28181 catalogue items, GA/T 1400 objects, OpenStreetMap tags.

COMMON: Final[dict[str, str]] = {
    "code": "编号 设备编码 设备编号 设备id 国标编码 国标编号 国标id 国标设备编码 设备国标编码 平台编码 点位编码 点位编号 "
    "监控点编码 监控点编号 资源编码 sbbm deviceid devicecode gbcode gbid id",
    "jurisdiction": "辖区 辖区代码 所属辖区",
    "division_code": "行政区划 行政区划编码 行政区域 行政区域编码 行政区域代码 区划代码 区划编码 区县代码 xzqh xzqy xzqhdm "
    "civilcode placecode adcode divisioncode",
    "name_zh": "设备名称 点位名称 监控点名称 监控点位名称 中文名称 中文名 sbmc dwmc namecn chinesename",
    "name": "title label devicename",
    "name_en": "英文名 英文 englishname engname",
    "address": "安装地址 详细地址 安装地点 安装位置 所在位置 位置 地点 具体位置 azdz azwz place location street",
    "notes": "说明 描述 bz remark remarks comment comments note desc description",
    "lifecycle": "设备使用状态 在用状态 建设状态 生命周期 lifecyclestatus",
    "lifecycle@sbzt": "sbzt",
    "state": "是否在线 在线情况 联网状态 通断状态 online isonline onlinestatus onlinestate zxzt sfzx",
    "reported_at": "状态时间 检测时间 巡检时间 最后在线时间 currenttime statustime checkedat lastseen reporttime",
    "control_point": "所属防控点 防控点 防控点编号 关联防控点 controlpointcode controlpointid",
    "failure_group": "杆件编码 杆件编号 立杆编号 杆号 机箱编号 机柜编号 lgbh gjbm pole poleid polenumber polecode cabinet",
    "manufacturer": "厂商 厂家 生产厂家 设备厂家 制造商 品牌 设备品牌 sbcs maker vendor brand make",
    "model": "型号 规格型号 产品型号 sbxh devicemodel modelname",
    "serial_number": "设备序列号 出厂编号 产品序列号 sn xlh sbxlh serialno serial",
    "installed_on": "安装时间 建设时间 建成时间 azsj azrq installtime installdate installationdate installed",
    "in_use_on": "启用时间 投用时间 投用日期 投入使用时间 投入使用日期 qysj qyrq activetime inuse commissioned",
    "removed_on": "拆除时间 报废时间 报废日期 bfsj bfrq removed dismantled",
    "network_address": "ip ipv4 ipv4地址 设备ip 设备ip地址 ipaddr ipaddress",
    "owner_unit": "单位 单位名称 使用单位 管辖单位 建管单位 所属单位 责任单位 产权单位 权属单位 主管单位 管理部门 所属部门 gldw managementunit owner operator "
    "ownerorganisation ownerorganization",
    "maintenance_unit": "运维单位 维保单位 维护管理单位 whdw ywdw maintainer maintainedby",
    "purpose": "建设目的 使用目的 使用用途",
    "legal_basis": "建设依据 设置依据 依据",
    "retention_days": "存储天数 保存天数 录像天数 录像保存时间 录像存储天数 存储时长 保存期限 lxbcts recordsavedays "
    "storagedays recordingdays retention",
    "sign_present": "提示标识 有无标识 是否设置标识 是否有提示标识 标识牌 sign",
    "sign_on": "标识日期 标识检查日期",
    "filing_number": "备案号 备案证号 filing filingno",
    "filed_on": "备案时间 filingdate",
    "consent_reference": "同意文号 同意书编号",
    "review_due": "复核日期 复审日期",
    "functions": "功能 设备功能 摄像机功能 摄像机功能类型 采集功能 采集类型 sxjgnlx functiontype function surveillancetype",
    "structure": "摄像机结构 摄像机结构类型 结构形式 外形 云台类型 sxjlx ptztype cameratype structuretype",
    "checkpoint": "所属卡口 卡口编号 卡口 checkpointcode checkpointid tollgateid",
    "direction": "进出方向 出入方向 进出城方向 出入城方向 citypass passage",
    "azimuth_deg": "方位 水平方位角 水平角 朝向角 朝向角度 安装角度 azimuth heading bearing cameradirection",
    "azimuth_deg@code": "监视方位 监视方向 监控方位 监控方向 监控朝向 朝向 摄像机朝向 安装朝向 jsfw sxjjkfw "
    "directiontype monitordirection",
    "opening_deg": "视场角 视角 水平视角 horizontalfieldangle hfov fov fieldofview",
    "vertical_opening_deg": "垂直视角 verticalfieldangle vfov",
    "range_m": "监控距离 有效距离 可视范围 视距 作用距离 监视距离 ksjl maxviewdistance viewdistance distance",
    "near_m": "盲区 近处盲区 blindzone near",
    "horizontal_pixels": "水平分辨率 width imagewidth",
    "vertical_pixels": "垂直分辨率",
    "resolution": "分辨率 视频分辨率 图像分辨率 spfbl",
    "focal_mm": "镜头焦距 焦距长度 focallength focal",
    "sensor_width_mm": "靶面宽度 传感器靶面宽度 sensorwidth",
    "mount_height_m": "高度 架设高度 挂高 离地高度 azgd height estheight mountheight cameraheight installheight",
    "tilt_deg": "垂直角 cameratilt pitch",
    "tilt_deg@down": "俯角 俯视角 下倾角 cameraangle",
    "indoor@room": "室内外 室内室外 室内外属性 snwsx roomtype surveillance",
    "point_class": "点位类型 点位类别 监控点类型 监控点位类别 点位等级 jkdwlx pointtype",
    "lon": "经度坐标 东经 jd longitude lng long lon 经",
    "lat": "纬度坐标 北纬 wd latitude lat 纬",
    "easting": "东坐标 东向坐标 横坐标 easting e坐标",
    "northing": "北坐标 北向坐标 纵坐标 northing n坐标",
    "x": "x坐标 坐标x xcoord xcoordinate pointx coordx",
    "y": "y坐标 坐标y ycoord ycoordinate pointy coordy",
    "position": "经纬度 坐标 经纬度坐标 空间坐标 地理坐标 latlon latlng lonlat lnglat latlong coordinates coordinate coords gps",
    "geometry": "geom wkt geojson shape thegeom wktgeom geometrywkt wkb 空间信息 图形",
    "datum": "坐标系 坐标系统 坐标系类型 坐标系名称 坐标类型 坐标基准 坐标来源 经纬度类型 crs coordinatesystem coordsystem coordtype "
    "datumtype",
    "owner_reference": "资产编号 自编号 内部编号 单位编号 ownerreference externalid assetid assetnumber",
}

OF_KIND: Final[dict[str, dict[str, str]]] = {
    "camera": {
        "code": "摄影机编码 摄影机编号 摄像机编码 摄像机编号 摄像头编码 摄像头编号 相机编号 apeid cameraid cameracode cameranumber",
        "name_zh": "摄影机名称 摄像机名称 摄像头名称 相机名称",
        "name": "cameraname",
    },
    "checkpoint": {
        "code": "卡口编码 卡口编号 卡口代码 卡口id tollgateid tollgatecode checkpointcode checkpointid kkbm kkbh kkid",
        "name_zh": "卡口名称 kkmc",
        "name": "tollgatename checkpointname",
        "kind": "卡口种类 卡口功能 抓拍类型 功能 功能类型 sxjgnlx functiontype checkpointkind checkpointtype",
        "tollgate_category": "卡口类别 卡口位置类型 tollgatecat",
        "tollgate_usage": "tollgateusage",
        "capture_side": "抓拍位置 抓拍车头车尾 capdirection",
        "road": "所属道路 所在道路编码 roadcode roadid",
        "lanes": "车道信息 车道列表 lanelist",
        "lane": "车道编号 车道序号 laneid laneno lanenumber",
        "lane_direction": "车道方向 通行方向 进出方向 进出城方向 出入城方向 出入方向 citypass lanedirection",
        "lane_bearing_deg": "车道方位角 行驶方位角",
        "lane_name": "lanename",
        "lane_max_speed_kmh": "限速 限速值 车道最高限速 maxspeed speedlimit",
        "lane_camera": "车道设备 车道摄像机编码 抓拍设备编码",
    },
    "control_point": {
        "code": "防控点编号 防控点代码 controlpointcode controlpointid",
        "name_zh": "防控点名称 控制点名称",
        "category": "类别 防控点类别 防控点分类 防控类别 点位分类 分类 防控点类型 控制点类别 点位类型 点位类别 type class",
        "road_name": "所在道路 路名 道路 roadname",
        "inbound_bearing_deg": "进城方位角 进城方向 inboundbearing",
        "requirements": "防控要求 需求 requirement",
    },
    "road": {
        "code": "路段编号 路段编码 路段id 道路id 道路代码 roadid roadcode linkid wayid osmid osmwayid segmentid edgeid",
        "name": "roadname streetname",
        "name_zh": "道路名称 路名 路段名称 街道名称",
        "road_class": "道路类型 道路类别 道路级别 等级 highway roadclass fclass class roadtype type",
        "road_number": "路线编号 路线代码 国省道编号 公路编号 ref number roadno routenumber",
        "group": "道路分组 同路编码",
        "oneway": "单行线 是否单行 单向 单双向 通行类型",
        "layer": "层 图层",
        "bridge": "是否桥梁 桥",
        "tunnel": "是否隧道 隧道",
    },
    "ring": {
        "level": "圈层 防控圈层 圈级 圈 ring ringlevel",
        "tolerance_m": "容差 tolerance",
        "source": "数据来源",
        "valid_from": "生效时间 启用日期",
    },
    "state": {
        "code": "摄影机编码 摄影机编号 摄像机编码 摄像机编号 摄像头编号 卡口编码 卡口编号 apeid tollgateid cameraid",
        "kind": "设备种类 设备类型 devicekind devicetype",
        "state": "状态 设备状态 运行状态 status",
        "reported_at": "时间 时间戳 time timestamp at",
    },
}
"""Headings that mean something else, or something more, for one kind; they come first."""

UNDECIDED: Final[dict[str, tuple[str, ...]]] = {
    "状态": ("state", "lifecycle"),
    "设备状态": ("state", "lifecycle"),
    "运行状态": ("state", "lifecycle"),
    "status": ("state", "lifecycle"),
    "devicestatus": ("state", "lifecycle"),
    "类型": ("functions", "structure", "kind", "category", "road_class"),
    "设备类型": ("functions", "structure", "kind"),
    "摄像机类型": ("functions", "structure"),
    "摄像头类型": ("functions", "structure"),
    "type": ("functions", "structure", "kind", "category", "road_class"),
    "方向": ("direction", "lane_direction", "azimuth_deg@code"),
    "拍摄方向": ("capture_side", "direction", "azimuth_deg@code"),
    "抓拍方向": ("capture_side", "direction", "azimuth_deg@code"),
    "direction": ("direction", "lane_direction", "azimuth_deg@code", "lane_bearing_deg@code"),
}
"""Headings whose cells tell which field is meant: the one that can read them, when it is only one."""

KNOWN_BUT_NOT_KEPT: Final[dict[str, str]] = {
    "lwsx": "networked or not (0 = networked, 1 = not networked); the registry keeps no such field",
    "macdz": "hardware address", "mac": "hardware address", "ipv6": "second network address",
    "ipv6addr": "second network address", "port": "network port", "sxjbmgs": "codec",
    "encodetype": "codec", "bgsx": "supplementary light", "supplylighttype": "supplementary light",
    "azfs": "way of mounting", "sxjwzlx": "position type", "wzlx": "position type",
    "positiontype": "position type", "capturepositiontype": "position type",
    "photoelectricimagingtype": "imaging", "ssxqgajg": "police unit of the area", "jsdw": "building unit",
    "cjdw": "contractor", "ssxmbh": "project number", "ssxmmc": "project name",
    "ssbmhy": "owning sector", "jsyylb": "building class", "sfdwgx": "shared outward",
    "sfjrsjpt": "connected to a higher platform", "jrwl": "network (digit 14 of the code)",
    "qdfs": "power", "sfgg": "shared pole", "gg": "pole height", "bc": "arm length",
    "hbfx": "arm direction", "syms": "text of the field of view", "dwsc": "popular name",
    "pointcommonname": "popular name", "block": "police sub-area", "parental": "tree of the platform",
    "parentid": "tree of the platform", "safetyway": "signalling", "registerway": "signalling",
    "certnum": "certificate", "certifiable": "certificate", "errcode": "certificate",
    "endtime": "certificate", "securitylevelcode": "security level", "secrecy": "secrecy",
    "businessgroupid": "business group", "usetype": "use type", "grassrootscode": "sub-county code",
    "industrialclassification": "sector", "streamnumberlist": "streams", "downloadspeed": "streams",
    "ownerapsid": "acquisition system", "monitorareadesc": "text of the watched area",
    "orgcode": "organisation code", "lanenum": "number of lanes",
    "重点监控对象": "control circle; membership is computed from the ring boundaries",
    "importwatch": "control circle; membership is computed from the ring boundaries",
}  # fmt: skip
"""Columns of the standards that are understood and have no place here."""


_UNITS: Final[dict[str, str]] = {
    "m": "m", "米": "m", "公尺": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "km": "km", "千米": "km", "公里": "km", "cm": "cm", "厘米": "cm", "公分": "cm",
    "mm": "mm", "毫米": "mm", "ft": "ft", "feet": "ft", "英尺": "ft",
    "度": "deg", "°": "deg", "deg": "deg", "degree": "deg", "degrees": "deg",
    "弧度": "rad", "rad": "rad",
    "天": "day", "日": "day", "day": "day", "days": "day", "月": "month", "个月": "month", "年": "year",
    "px": "px", "像素": "px", "pixel": "px", "pixels": "px",
    "km/h": "km/h", "kmh": "km/h", "公里/小时": "km/h", "千米/时": "km/h", "mph": "mph",
}  # fmt: skip
_DATUMS: Final[dict[str, str]] = {
    "wgs84": "wgs84", "wgs": "wgs84", "84": "wgs84", "gps": "wgs84", "cgcs2000": "cgcs2000",
    "国家2000": "cgcs2000", "gcj02": "gcj02", "gcj": "gcj02", "火星": "gcj02", "高德": "gcj02",
    "腾讯": "gcj02", "amap": "gcj02", "国测局": "gcj02", "bd09": "bd09", "bd": "bd09", "百度": "bd09",
    "baidu": "bd09", "bd09ll": "bd09", "2000国家大地": "cgcs2000", "国家大地2000": "cgcs2000",
    "大地2000": "cgcs2000", "2000": "cgcs2000", "天地图": "cgcs2000", "西安80": "EPSG:4610", "1980西安": "EPSG:4610",
    "xian80": "EPSG:4610", "xian1980": "EPSG:4610", "北京54": "EPSG:4214", "1954北京": "EPSG:4214",
    "beijing54": "EPSG:4214", "beijing1954": "EPSG:4214",
}  # fmt: skip
_SYSTEM: Final = re.compile(r"(?:大地)?(?:坐标系统|坐标系|坐标|经纬度|地图)+$|coord(?:inate)?s?(?:system)?$")
"""What stands behind the name of a datum and says nothing more."""
_BRACKETS: Final = re.compile(r"[(\[{【〔<《]([^)\]}】〕>》]*)[)\]}】〕>》]")
_ASIDE: Final = re.compile(r"^\d{1,3}\s*[.、．]\s*(?=\D)|[*\s]*(?:必填|选填|必录|非必填)项?[*\s]*$")
"""The number of a column, and whether it must be filled in."""
_PARTS: Final = re.compile(r"[,，、;；\s]+")
_MARKS: Final = re.compile(r"[\W_]+")
_DATUM: Final = re.compile("|".join(sorted(_DATUMS, key=len, reverse=True)))
_COORDINATES: Final = frozenset({"lon", "lat", "x", "y", "position"})


@dataclass(frozen=True)
class Heading:
    """A heading taken apart."""

    plain: str
    unit: str | None = None
    datum: str | None = None


@dataclass(frozen=True)
class Match:
    """The field a heading means."""

    field: str
    code_list: str | None = None
    unit: str | None = None
    datum: str | None = None
    rank: int = 0
    """How sure: 0 the field's own name or title, 1 a name of the kind, 2 a common name."""


def plain(text: str) -> str:
    """Return the plain form of a name: lower case, without spaces and marks.

    >>> plain("Info.Horizontal_Field Angle"), plain("ＪＤ "), plain("設備編碼")
    ('infohorizontalfieldangle', 'jd', '设备编码')
    """
    return to_simplified(_MARKS.sub("", unicodedata.normalize("NFKC", text).casefold()))


def taken_apart(column: str) -> Heading:
    """Return a heading without the unit and the datum that stand beside it.

    >>> taken_apart("安装高度/米"), taken_apart("Range (km)").unit
    (Heading(plain='安装高度', unit='m', datum=None), 'km')
    >>> taken_apart("经度（GCJ-02）")
    Heading(plain='经度', unit=None, datum='gcj02')
    >>> taken_apart("1、設備編碼 *必填").plain
    '设备编码'
    >>> taken_apart("经度（高德坐标系，度）")
    Heading(plain='经度', unit='deg', datum='gcj02')
    """
    text = to_simplified(unicodedata.normalize("NFKC", column).casefold()).strip().strip("*:：")
    text = _ASIDE.sub("", text) or text
    unit = datum = None
    for inner in _BRACKETS.findall(text):
        for part in (inner, *_PARTS.split(inner)):
            unit = unit or _UNITS.get(part.strip(" 单位:"))
            datum = datum or datum_of(part)
    text = _BRACKETS.sub("", text)
    head, slash, tail = text.partition("/")
    if slash and tail.strip() in _UNITS:
        text, unit = head, unit or _UNITS[tail.strip()]
    name = plain(text).removeprefix("info") if text.startswith("info.") else plain(text)
    return Heading(name, unit, datum)


def datum_of(text: str) -> str | None:
    """Return the datum that a text names, None when it names none.

    >>> (
    ...     datum_of("百度坐标"),
    ...     datum_of("CGCS2000坐标系"),
    ...     datum_of("1980西安坐标系"),
    ...     datum_of("地方坐标系"),
    ... )
    ('bd09', 'cgcs2000', 'EPSG:4610', None)
    """
    name = plain(text)
    return _DATUMS.get(name) or _DATUMS.get(_SYSTEM.sub("", name))


def recognise(column: str, spec: RecordSpec) -> Match | None:
    """Return the field of a kind that a heading means, None when it is not known."""
    names = _names(spec)
    found = taken_apart(column)
    for name, datum in ((found.plain, found.datum), *_without_datum(found)):
        if name in names:
            target, rank = names[name]
            field, _, code_list = target.partition("@")
            return Match(field, code_list or None, found.unit, datum, rank)
    return None


def _without_datum(found: Heading) -> tuple[tuple[str, str], ...]:
    """Return the name without a datum in it: ``gcj02_lng`` is a longitude."""
    datum = _DATUM.search(found.plain)
    if datum is None:
        return ()
    rest = found.plain.replace(datum[0], "", 1)
    if rest in ("坐标", "坐标系"):
        return (("坐标", _DATUMS[datum[0]]),)
    rest = rest.replace("坐标", "")
    known = rest in _places()
    return ((rest, _DATUMS[datum[0]]),) if known else ()


@cache
def _places() -> frozenset[str]:
    return frozenset(
        name for field in _COORDINATES for name in (field, title(field, "zh"), *COMMON.get(field, "").split())
    )


@cache
def _names(spec: RecordSpec) -> Mapping[str, tuple[str, int]]:
    """Return plain name -> (field or field@list, rank) of one kind, surest first."""
    names: dict[str, tuple[str, int]] = {}
    for field in [*spec.fields, *spec.helpers]:
        for name in _own_names(field):
            names.setdefault(name, (field, 0))
    undecided = {name for name in UNDECIDED if name not in names or name in _SHARED}
    for rank, table in ((1, OF_KIND.get(spec.name, {})), (2, COMMON)):
        for key, listed in table.items():
            if spec.field(key.partition("@")[0]) is None:
                continue
            for name in listed.split():
                names.setdefault(plain(name), (key, rank))
    for name in undecided:
        if name in names and names[name][1] != 1 and choices(name, spec):
            del names[name]
    return names


_SHARED: Final = frozenset({"direction"})
"""Names of our own that elsewhere mean another thing as well: the cells decide."""


def _own_names(field: str) -> set[str]:
    told = {field, title(field, "zh"), title(field), heading(field)}
    return {taken_apart(name).plain for name in told} | {plain(field)}


def choices(name: str, spec: RecordSpec) -> tuple[str, ...]:
    """Return the fields of a kind among which the cells below a heading decide."""
    found = UNDECIDED.get(name, ())
    return tuple(target for target in found if spec.field(target.partition("@")[0]) is not None)


def known_names(spec: RecordSpec) -> dict[str, list[str]]:
    """Return field -> the plain names that are recognised for it; for the documentation."""
    table: dict[str, list[str]] = {}
    for name, (target, _) in _names(spec).items():
        table.setdefault(target, []).append(name)
    return table
