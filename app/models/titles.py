"""Titles of fields in Chinese and English, for headings of files in and out, and for properties of collections.

The Chinese titles of registered fields are with the fields (`app.models.fields.TITLES_ZH`). A field without an English
title has its own name as title, with spaces between the words.
"""

from typing import Final

from app.models.fields import TITLES_ZH

ZH: Final[dict[str, str]] = TITLES_ZH | {
    "datum": "坐标系",
    "lon": "经度",
    "lat": "纬度",
    "easting": "东坐标",
    "northing": "北坐标",
    "x": "X坐标",
    "y": "Y坐标",
    "position": "经纬度",
    "name": "名称",
    "resolution": "分辨率",
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
    "name_zh": "Chinese name",
    "name_en": "English name",
    "lon": "Longitude",
    "lat": "Latitude",
    "kind": "Checkpoint kind",
    "lane": "Lane number",
    "tilt_deg": "Tilt",
}

UNITS: Final[dict[str, tuple[str, str]]] = {
    "_m": ("米", "m"),
    "_deg": ("度", "deg"),
    "_mm": ("毫米", "mm"),
    "_kmh": ("公里/小时", "km/h"),
}
"""Unit of a field by the end of its name, in Chinese and in English."""


def find_title(field: str, language: str = "en") -> str:
    """Return the title of a field.

    >>> find_title("mount_height_m", "zh"), find_title("mount_height_m")
    ('安装高度', 'Mount height')
    """
    if language == "zh" and field in ZH:
        return ZH[field]
    return EN.get(field) or _title_from_name(field)


def _title_from_name(field: str) -> str:
    words = field
    for ending in UNITS:
        words = words.removesuffix(ending)
    return words.replace("_", " ").capitalize()


def build_heading(field: str, language: str = "en") -> str:
    """Return the title of a field with its unit, as the heading of a column.

    >>> build_heading("mount_height_m", "zh"), build_heading("azimuth_deg"), build_heading("code")
    ('安装高度(米)', 'Azimuth (deg)', 'Code')
    """
    for ending, (zh, en) in UNITS.items():
        if field.endswith(ending):
            return f"{find_title(field, language)}({zh})" if language == "zh" else f"{find_title(field)} ({en})"
    return find_title(field, language)
