"""What fields are called in a heading, in Chinese and in English; one place for files in and out.

A field without an entry is called by its own name, words apart.
"""

from typing import Final

ZH: Final[dict[str, str]] = {
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
    "datum": "坐标系",
    "valid_from": "生效日期",
    "geometry": "几何",
    "lon": "经度",
    "lat": "纬度",
    "easting": "东坐标",
    "northing": "北坐标",
    "x": "X坐标",
    "y": "Y坐标",
    "position": "经纬度",
    "name": "名称",
    "resolution": "分辨率",
    "state": "在线状态",
    "reported_at": "上报时间",
    "owner_reference": "自有编号",
    "version": "版本",
    "created_at": "创建时间",
    "updated_at": "更新时间",
    "zone": "所在圈层",
    "working": "是否有效",
    "lane": "车道号",
    "lane_direction": "车道通行方向",
    "lane_bearing_deg": "车道行驶方位角",
    "lane_name": "车道名称",
    "lane_max_speed_kmh": "车道限速",
    "lane_camera": "车道设备编码",
}

EN: Final[dict[str, str]] = {
    "name_zh": "Chinese name", "name_en": "English name", "lon": "Longitude", "lat": "Latitude",
    "kind": "Checkpoint kind", "lane": "Lane number", "tilt_deg": "Tilt",
}  # fmt: skip

UNITS: Final[dict[str, tuple[str, str]]] = {
    "_m": ("米", "m"), "_deg": ("度", "deg"), "_mm": ("毫米", "mm"), "_kmh": ("公里/小时", "km/h"),
    "_days": ("天", "days"), "_pixels": ("像素", "px"),
}  # fmt: skip
"""Unit of a field by the end of its name, in Chinese and in English."""


def title(field: str, language: str = "en") -> str:
    """Return what a field is called in a heading.

    >>> title("mount_height_m", "zh"), title("mount_height_m")
    ('安装高度', 'Mount height')
    """
    if language == "zh" and field in ZH:
        return ZH[field]
    return EN.get(field) or _plain(field)


def _plain(field: str) -> str:
    words = field
    for end in UNITS:
        words = words.removesuffix(end) if end != "_pixels" and end != "_days" else words
    return words.replace("_", " ").capitalize()


def heading(field: str, language: str = "en") -> str:
    """Return the title with its unit, as it stands above a column.

    >>> heading("mount_height_m", "zh"), heading("azimuth_deg"), heading("code")
    ('安装高度(米)', 'Azimuth (deg)', 'Code')
    """
    for end, (zh, en) in UNITS.items():
        if field.endswith(end) and end not in ("_days", "_pixels"):
            return f"{title(field, language)}({zh})" if language == "zh" else f"{title(field)} ({en})"
    return title(field, language)
