"""What codes and words in cells mean, per source: the same digit is another direction elsewhere.

A topic has words that always hold and lists of codes of which one is in force for a column. Lists
are named after their source (``gbt28181``, ``gat1400``, ``sbzt`` ...). Nothing is guessed: a code that
is in no list in force is a fault. Sources: GB/T 28181-2016 and 2022 catalogue items, GA/T 1400
objects as deployed, the one-device-one-file archive, OpenStreetMap tags.
"""

from collections.abc import Mapping
from typing import Any, Final

# What words in cells mean, whatever the source: Chinese, English, OpenStreetMap. Data only.
#
# A topic maps words in plain form (lower case, without spaces and marks) to the value of a field.

ALL_ROUND: Final = "all round"
"""A direction that is none: stored as no azimuth."""

_COMPASS: Final = (
    "n", "nne", "ne", "ene", "e", "ese", "se", "sse", "s", "ssw", "sw", "wsw", "w", "wnw", "nw", "nnw"
)  # fmt: skip
_EIGHT: Final = {
    "东": 90, "西": 270, "南": 180, "北": 0, "东南": 135, "东北": 45, "西南": 225, "西北": 315,
    "east": 90, "west": 270, "south": 180, "north": 0, "southeast": 135, "northeast": 45,
    "southwest": 225, "northwest": 315,
}  # fmt: skip
_TRAVEL: Final = {
    f"{start}{verb}{end}": _EIGHT[end]
    for start, end in (
        ("东", "西"), ("西", "东"), ("南", "北"), ("北", "南"), ("东南", "西北"), ("西北", "东南"),
        ("东北", "西南"), ("西南", "东北"),
    )
    for verb in ("向", "往", "至", "到")
}  # fmt: skip
"""An arrow is read as 向; 东西 and 东-西 are an axis, and no direction."""
_ALL: Final = dict.fromkeys(
    (
        "全向",
        "全方位",
        "全景",
        "环视",
        "四周",
        "所有方向",
        "all",
        "allround",
        "各方向",
    ),
    ALL_ROUND,
)
_DIRECTION_WORDS: Final[dict[str, Any]] = {
    **{point: place * 22.5 for place, point in enumerate(_COMPASS)},
    **_EIGHT,
    **{f"正{name}{end}": turn for name, turn in _EIGHT.items() if len(name) == 1 for end in ("", "向", "方向", "方")},
    **{f"{name}{end}": turn for name, turn in _EIGHT.items() if name < "a" or name > "z" for end in ("向", "方向", "侧")},
    **{f"{start}{name}": turn for name, turn in _EIGHT.items() if name > "z" for start in ("朝", "向", "往")},
    **_TRAVEL,
    **{f"由{name}": turn for name, turn in _TRAVEL.items()},
    **{f"自{name}": turn for name, turn in _TRAVEL.items()},
    **{f"从{name}": turn for name, turn in _TRAVEL.items()},
    **_ALL,
}  # fmt: skip

_YES: Final = (
    "是",
    "有",
    "已",
    "真",
    "√",
    "✓",
    "y",
    "yes",
    "true",
    "t",
    "1",
    "on",
    "已设置",
    "已安装",
    "✔",
    "☑",
    "对",
)
_NO: Final = (
    "否",
    "无",
    "没有",
    "未",
    "假",
    "×",
    "✗",
    "x",
    "n",
    "no",
    "false",
    "f",
    "0",
    "off",
    "未设置",
    "未安装",
    "✘",
    "☐",
    "╳",
    "不是",
    "尚无",
    "错",
)
_BOOLEAN: Final = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)

WORDS: Final[dict[str, dict[str, Any]]] = {
    "boolean": _BOOLEAN,
    "direction": _DIRECTION_WORDS,
    "function": {
        "人脸": "face", "人脸抓拍": "face", "人脸识别": "face", "人脸卡口": "face", "人脸抓拍机": "face",
        "人员卡口": "face", "人卡": "face", "人像": "face", "人像卡口": "face", "人像抓拍": "face", "face": "face",
        "车辆": "vehicle", "卡口": "vehicle", "车辆卡口": "vehicle", "车卡": "vehicle", "机动车": "vehicle",
        "机动车卡口": "vehicle", "电子警察": "vehicle", "电警": "vehicle", "车牌抓拍": "vehicle",
        "车辆抓拍": "vehicle", "车牌识别": "vehicle", "治安卡口": "vehicle", "交通卡口": "vehicle",
        "测速": "vehicle", "违停抓拍": "vehicle", "vehicle": "vehicle", "alpr": "vehicle", "anpr": "vehicle",
        "lpr": "vehicle", "speedcamera": "vehicle", "redlightcamera": "vehicle",
        "结构化": "structured", "视频结构化": "structured", "结构化摄像机": "structured", "微卡口": "structured",
        "特征摄像机": "structured", "人体": "structured", "非机动车": "structured", "structured": "structured",
        "普通监控": "overview", "普通视频": "overview", "视频监控": "overview", "普通": "overview",
        "监控": "overview", "高空瞭望": "overview", "高点监控": "overview", "瞭望": "overview",
        "全景监控": "overview", "overview": "overview", "camera": "overview", "cctv": "overview",
        "video": "overview", "webcam": "overview",
        "其他": "electronic", "其它": "electronic", "wifi": "electronic", "电子围栏": "electronic",
        "电子采集": "electronic", "rfid": "electronic", "electronic": "electronic", "other": "electronic",
    },
    "structure": {
        "枪机": "fixed", "固定枪机": "fixed", "枪型": "fixed", "枪式": "fixed", "固定": "fixed", "筒机": "fixed",
        "球机": "dome", "球型": "dome", "球形": "dome", "高速球机": "dome", "快球": "dome",
        "半球": "half_dome", "半球机": "half_dome", "半球型": "half_dome",
        "遥控枪机": "ptz_bullet", "云台枪机": "ptz_bullet", "云台": "ptz_bullet",
        "遥控半球": "ptz_half_dome", "全景": "panorama", "全景拼接": "panorama", "鱼眼": "panorama",
        "拼接": "panorama", "分割通道": "split_channel", "其他": "other", "其它": "other",
        "bullet": "fixed", "box": "fixed", "ptz": "dome", "panning": "dome", "fisheye": "panorama",
    },
    "state": {
        "在线": "online", "联机": "online", "正常": "online", "online": "online", "on": "online", "up": "online",
        "ok": "online", "离线": "offline", "不在线": "offline", "断线": "offline", "掉线": "offline",
        "脱机": "offline", "offline": "offline", "off": "offline", "down": "offline",
        "故障": "fault", "异常": "fault", "fault": "fault", "error": "fault", "vlost": "fault", "defect": "fault",
        "未知": "unknown", "不详": "unknown", "unknown": "unknown",
        "是": "online", "否": "offline", "true": "online", "false": "offline", "yes": "online", "no": "offline",
    },
    "lifecycle": {
        "在用": "in_use", "使用中": "in_use", "启用": "in_use", "使用": "in_use", "正常使用": "in_use",
        "已投用": "in_use", "投用": "in_use", "在用中": "in_use", "已启用": "in_use", "已建": "in_use", "已建成": "in_use",
        "active": "in_use", "inuse": "in_use", "inservice": "in_use",
        "installed": "in_use",
        "维修": "repair", "维修中": "repair", "检修": "repair", "维护": "repair", "维护中": "repair", "停用": "repair",
        "暂停使用": "repair", "已停用": "repair", "停止使用": "repair", "暂停": "repair", "闲置": "repair", "未启用": "repair", "repair": "repair", "inrepair": "repair", "outofservice": "repair",
        "拆除": "removed", "已拆除": "removed", "已拆": "removed", "移除": "removed", "已移除": "removed", "已撤除": "removed", "报废": "removed", "已报废": "removed", "撤除": "removed",
        "removed": "removed", "decommissioned": "removed", "dismantled": "removed",
        "规划": "planned", "规划中": "planned", "拟建": "planned", "在建": "planned", "待建": "planned",
        "计划": "planned", "建设中": "planned", "planned": "planned", "proposed": "planned",
    },
    "passage": {
        "进城": "inbound", "入城": "inbound", "进": "inbound", "驶入": "inbound", "进入": "inbound", "入": "inbound",
        "in": "inbound", "inbound": "inbound", "出城": "outbound", "出": "outbound", "驶出": "outbound",
        "离城": "outbound", "out": "outbound", "outbound": "outbound", "双向": "both", "进出": "both",
        "进出城": "both", "出入城": "both", "混合": "both", "both": "both", "twoway": "both",
        "非进出城": "none", "无": "none", "其他": "none", "市内": "none", "none": "none",
    },
    "checkpoint_kind": {
        "人脸": "face", "人脸卡口": "face", "人员卡口": "face", "人脸抓拍": "face", "face": "face",
        "人像": "face", "人像卡口": "face", "人像抓拍": "face", "人脸抓拍机": "face", "人卡": "face",
        "机动车卡口": "vehicle", "车卡": "vehicle", "车辆抓拍": "vehicle", "车牌识别": "vehicle", "电警卡口": "vehicle",
        "卡口式电警": "vehicle", "卡口电警": "vehicle", "测速": "vehicle", "测速卡口": "vehicle", "区间测速": "vehicle",
        "违停抓拍": "vehicle", "闯红灯抓拍": "vehicle", "anpr": "vehicle", "alpr": "vehicle", "lpr": "vehicle",
        "车辆": "vehicle", "车辆卡口": "vehicle", "卡口": "vehicle", "机动车": "vehicle", "电子警察": "vehicle",
        "电警": "vehicle", "治安卡口": "vehicle", "交通卡口": "vehicle", "vehicle": "vehicle",
        "camera": "camera", "摄像机": "camera", "摄像头": "camera", "checkpoint": "checkpoint",
    },
    "capture_side": {
        "车头": "front", "前": "front", "正面": "front", "车尾": "rear", "后": "rear", "尾部": "rear",
        "front": "front", "rear": "rear", "back": "rear",
    },
    "tollgate_category": {
        "国际": "10", "省际": "20", "市际": "30", "市区": "31", "县际": "40", "县区": "41", "其他": "99", "其它": "99",
    },
    "tollgate_usage": {
        "治安卡口": "80", "治安": "80", "交通卡口": "81", "交通": "81", "其他": "82", "其它": "82",
    },
    "point_class": {
        "一类": 1, "一类点": 1, "一类视频监控点": 1, "二类": 2, "二类点": 2, "二类视频监控点": 2,
        "三类": 3, "三类点": 3, "三类视频监控点": 3, "其他": 9, "其它": 9,
    },
    "category": {
        **dict.fromkeys(
            ("市际卡口", "市界卡口", "市际道路", "市界", "市际", "市境道路", "进出市道路", "出入市卡口", "环市", "环市圈",
             "环市卡口", "市域边界道路"), "city_road"
        ),
        **dict.fromkeys(
            ("城区边界", "城区边界卡口", "进出城道路", "出入城道路", "出入城卡口", "进出城区道路", "环城", "环城圈", "环城卡口"),
            "urban_road",
        ),
        **dict.fromkeys(
            ("主城区卡口", "主城区主干道路", "主城区内层道路", "核心区边界道路", "城市核心区道路"), "core_road"
        ),
        **dict.fromkeys(
            ("重要路口", "关键路口", "主城区路口", "主城区重点路口", "核心区路口", "重点交叉口", "交叉口"), "core_junction"
        ),
        **dict.fromkeys(
            ("核心部位", "重要部位", "要害部位", "重点目标", "核心区重点部位", "主城区重点部位", "重点要害部位", "重要场所"),
            "core_site",
        ),
        "出入市境道路": "city_road", "市界道路": "city_road", "出入市道路": "city_road", "环市道路": "city_road",
        "环城道路": "urban_road", "城区边界道路": "urban_road", "出入城区道路": "urban_road",
        "主城区道路": "core_road", "核心区道路": "core_road", "主城区边界道路": "core_road",
        "重点路口": "core_junction", "核心路口": "core_junction", "路口": "core_junction",
        "重点部位": "core_site", "重点场所": "core_site", "重点单位": "core_site",
    },
    "level": {
        "环市": "city", "环市圈": "city", "市界": "city", "市域": "city", "外圈": "city",
        "环城": "urban", "环城圈": "urban", "城区": "urban", "中圈": "urban",
        "主城区": "core", "核心区": "core", "主城区内层": "core", "核心": "core", "内圈": "core",
        "市域圈": "city", "市域边界": "city", "全市": "city", "外环": "city", "城区圈": "urban", "城区边界": "urban",
        "建成区": "urban", "中环": "urban", "主城区圈": "core", "核心圈": "core", "核心区圈": "core", "核心区边界": "core",
        "主城区边界": "core", "内环": "core",
    },
    "road_class": {
        "motorway": "motorway", "motorwaylink": "motorway", "高速": "motorway", "高速公路": "motorway",
        "trunk": "national", "trunklink": "national", "国道": "national",
        "primary": "urban_arterial", "primarylink": "urban_arterial", "secondary": "urban_arterial",
        "secondarylink": "urban_arterial", "快速路": "urban_arterial", "城市快速路": "urban_arterial",
        "主干路": "urban_arterial", "主干道": "urban_arterial", "次干路": "urban_arterial", "次干道": "urban_arterial",
        "省道": "provincial", "县道": "county", "乡道": "county", "村道": "county",
        "tertiary": "urban_minor", "tertiarylink": "urban_minor", "residential": "urban_minor",
        "unclassified": "urban_minor", "livingstreet": "urban_minor", "road": "urban_minor",
        "支路": "urban_minor", "支线": "urban_minor", "街巷": "urban_minor", "小区路": "service",
        "service": "service", "busway": "service", "busguideway": "service", "内部道路": "service",
        "匝道": "service", "track": "path", "path": "path", "footway": "path", "cycleway": "path",
        "pedestrian": "path", "steps": "path", "bridleway": "path", "corridor": "path", "人行道": "path",
    },
    "oneway": {
        "yes": "forward", "true": "forward", "1": "forward", "y": "forward",
        "单向": "forward", "单行": "forward", "是": "forward", "单行线": "forward", "正向": "forward",
        "no": "no", "false": "no", "0": "no", "n": "no", "双向": "no", "双行": "no", "否": "no",
        "-1": "backward", "reverse": "backward", "反向": "backward", "逆向": "backward",
        "reversible": "reversible", "alternating": "reversible", "可变": "reversible", "潮汐": "reversible",
    },
    "room": {**_BOOLEAN, "室内": True, "室外": False, "indoor": True, "outdoor": False, "户外": False},
    "structure_of_road": {
        **_BOOLEAN, "viaduct": True, "boardwalk": True, "cantilever": True, "covered": True, "movable": True,
        "trestle": True, "aqueduct": True, "buildingpassage": True, "culvert": True, "avalancheprotector": True,
        "桥": True, "桥梁": True, "高架": True, "隧道": True, "地道": True,
    },
    "datum": {
        "wgs84": "wgs84", "epsg4326": "wgs84", "4326": "wgs84", "cgcs2000": "cgcs2000", "国家2000": "cgcs2000",
        "epsg4490": "cgcs2000", "4490": "cgcs2000", "gcj02": "gcj02", "火星坐标": "gcj02", "bd09": "bd09",
        "百度坐标": "bd09",
    },
}  # fmt: skip
"""Topic -> word in plain form -> value: what holds whatever the source."""


__all__ = ["ALL_ROUND", "DEFAULTS", "DISAGREE", "LISTS", "TOPICS", "WORDS", "table", "topic_of"]

TOPICS: Final[dict[str, str]] = {
    "azimuth_deg": "direction", "lane_bearing_deg": "direction", "bearing_deg": "direction",
    "inbound_bearing_deg": "direction", "functions": "function", "structure": "structure",
    "state": "state", "lifecycle": "lifecycle", "direction": "passage", "lane_direction": "passage",
    "kind": "checkpoint_kind", "capture_side": "capture_side", "tollgate_category": "tollgate_category",
    "tollgate_usage": "tollgate_usage", "point_class": "point_class", "category": "category",
    "level": "level", "position": "order", "road_class": "road_class", "oneway": "oneway", "indoor": "room",
    "tilt_deg": "tilt", "bridge": "structure_of_road", "tunnel": "structure_of_road", "datum_received": "datum",
}  # fmt: skip
"""Topic of a field; any other boolean is of topic ``boolean``."""

_DIRECTION_GB: Final = {
    "1": 90,
    "2": 270,
    "3": 180,
    "4": 0,
    "5": 135,
    "6": 45,
    "7": 225,
    "8": 315,
    "9": ALL_ROUND,
}
_DIRECTION_GA: Final = {**_DIRECTION_GB, "5": 45, "6": 225, "7": 135}

LISTS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "order": {"lonlat": {}, "latlon": {}},
    "direction": {
        "gbt28181": _DIRECTION_GB,
        "gat1400": _DIRECTION_GA,
        "degrees": {},
        "east0": {},
    },
    "function": {
        "gat1400": {
            "1": "vehicle", "2": "face", "3": "structured", "4": "structured", "5": "overview",
            "6": "overview", "99": "electronic",
        },
        "gbt28181": {
            "1": "face", "2": "structured", "3": "vehicle", "4": "structured", "5": "electronic",
            "99": "electronic",
        },
        "hebei": {"1": "vehicle", "2": "face"},
    },
    "structure": {
        "gbt28181": {
            "1": "dome", "2": "half_dome", "3": "fixed", "4": "ptz_bullet", "5": "ptz_half_dome",
            "6": "panorama", "7": "split_channel", "9": "other", "99": "other",
        },
        "yjyd": {
            "1": "dome", "2": "half_dome", "3": "fixed", "4": "ptz_bullet", "5": "fixed", "99": "other",
            "100": "other",
        },
        "osm": {"dome": "half_dome", "fixed": "fixed", "panning": "dome"},
    },
    "state": {
        "isonline": {"1": "online", "2": "offline", "0": "offline", "9": "unknown"},
        "lwsx": {"0": "online", "1": "offline"},
        "yesno": {"1": "online", "0": "offline"},
    },
    "lifecycle": {
        "sbzt": {"1": "in_use", "2": "repair", "3": "removed"},
        "gat1400": {"1": "in_use", "2": "repair"},
    },
    "passage": {"citypass": {"1": "inbound", "2": "outbound", "3": "none", "4": "both"}},
    "checkpoint_kind": {
        "gat1400": {"1": "vehicle", "2": "face"},
        "gbt28181": {"1": "face", "2": "face", "3": "vehicle", "4": "vehicle"},
    },
    "capture_side": {"gat1400": {"0": "front", "1": "rear"}},
    "point_class": {"gbt28181": {"1": 1, "2": 2, "3": 3, "9": 9}, "yjyd": {"1": 1, "2": 2, "3": 3, "4": 9, "9": 9}},
    "room": {
        "boolean": {"1": True, "0": False},
        "room": {"1": False, "2": True},
        "osm": {"public": None, "traffic": None, "webcam": None, "yes": None},
    },
    "tilt": {"down": {}},
    "road_class": {
        "osm": {
            "primary": "urban_arterial", "secondary": "urban_arterial", "tertiary": "urban_minor",
        },
        "osm_rural": {"trunk": "national", "primary": "provincial", "secondary": "county", "tertiary": "county"},
    },
    "oneway": {"osm": {"1": "forward", "0": "no"}, "dir": {"1": "forward", "0": "no"},
               "geofabrik": {"f": "forward", "t": "backward", "b": "no"}},
}  # fmt: skip
"""Topic -> name of the list -> code without leading zeros -> value."""

DEFAULTS: Final[dict[str, str]] = {
    "direction": "gbt28181", "function": "gat1400", "structure": "gbt28181", "state": "isonline",
    "lifecycle": "sbzt", "passage": "citypass", "checkpoint_kind": "gat1400", "capture_side": "gat1400",
    "point_class": "gbt28181", "room": "boolean", "road_class": "osm", "oneway": "osm",
}  # fmt: skip
"""List in force where neither the column, the options nor a profile name one."""

DISAGREE: Final[dict[str, dict[str, frozenset[str]]]] = {
    "direction": {"5 6 7": frozenset({"gbt28181", "gat1400"})},
    "function": {"1 2 3 4 5": frozenset({"gbt28181", "gat1400"})},
    "structure": {"5": frozenset({"gbt28181", "yjyd"})},
    "checkpoint_kind": {"1 2": frozenset({"gbt28181", "gat1400"})},
}
"""Topic -> codes on which lists disagree: with the source unknown, the plan says so."""


def topic_of(field: str, form: str) -> str | None:
    """Return the topic of a field, None when its cells are no codes."""
    return TOPICS.get(field) or ("boolean" if form == "boolean" else None)


def table(topic: str, code_list: str | None) -> Mapping[str, Any]:
    """Return plain cell text -> value for a topic with one list in force.

    >>> table("direction", "gat1400")["7"], table("direction", "gbt28181")["7"]
    (135, 225)
    """
    words = WORDS.get(topic, {})
    codes = LISTS.get(topic, {}).get(code_list or DEFAULTS.get(topic, ""), {})
    padded = {code.zfill(width): value for code, value in codes.items() for width in (2, 3)}
    return {**words, **padded, **codes}
