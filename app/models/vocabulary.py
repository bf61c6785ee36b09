"""Closed lists of values, and the default requirements; tables and schemas use the same ones.

A requirement is what a category of control points demands. Each jurisdiction stores its own copy of the defaults, and
each control point may have its own requirements.
"""

from typing import Final, Literal, get_args

Level = Literal["core", "urban", "city"]
Zone = Literal["core", "urban", "city", "outside"]
Category = Literal["city_road", "urban_road", "core_road", "core_junction", "core_site"]
Function = Literal["face", "vehicle", "structured", "overview", "electronic"]
Lifecycle = Literal["planned", "in_use", "repair", "removed"]
State = Literal["online", "offline", "fault", "unknown"]
Direction = Literal["inbound", "outbound", "both", "none"]
CheckpointKind = Literal["face", "vehicle"]
Structure = Literal[
    "fixed",
    "dome",
    "half_dome",
    "ptz_bullet",
    "ptz_half_dome",
    "panorama",
    "split_channel",
    "other",
]
Datum = Literal["wgs84", "cgcs2000", "gcj02", "bd09"]
RoadClass = Literal[
    "motorway",
    "national",
    "provincial",
    "county",
    "urban_arterial",
    "urban_minor",
    "service",
    "path",
]
OneWay = Literal["no", "forward", "backward", "reversible"]
PictureScale = Literal["iec2014", "iec2025"]
PictureLevel = Literal[
    "monitor",
    "detect",
    "observe",
    "recognise",
    "identify",
    "inspect",
    "overview",
    "outline",
    "discern",
    "perceive",
    "characterise",
    "validate",
    "scrutinise",
]
"""Levels of IEC 62676-4, six of 2014 and seven of 2025; no name is in both editions."""
Status = Literal["backed_up", "covered", "partial", "uncovered"]

LEVELS: Final[tuple[Level, ...]] = ("core", "urban", "city")
"""Ring levels from the inside out."""

ZONES: Final[tuple[Zone, ...]] = get_args(Zone)
CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)
FUNCTIONS: Final[tuple[Function, ...]] = get_args(Function)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
DEVICE_KINDS: Final = ("camera", "checkpoint")

_BOTH_WAYS: Final = [{"function": "vehicle", "directions": ["inbound", "outbound"], "working": 1}]
DEFAULT_REQUIREMENTS: Final[dict[str, list[dict[str, object]]]] = {
    "city_road": _BOTH_WAYS,
    "urban_road": _BOTH_WAYS,
    "core_road": _BOTH_WAYS,
    "core_junction": [
        {"function": "vehicle", "directions": [], "working": 1},
        {"function": "face", "directions": [], "working": 1},
    ],
    "core_site": [
        {"function": "face", "directions": [], "working": 1},
        {"function": "overview", "directions": [], "working": 1},
    ],
}
