"""What codes and words in cells mean, per source: the same digit is another direction elsewhere.

A topic has words that always hold and lists of codes of which one is in force for a column. Lists
are named after their source (``gbt28181``, ``gat1400``, ``sbzt`` ...). Nothing is guessed: a code that
is in no list in force is a fault. Sources: GB/T 28181-2016 and 2022 catalogue items, GA/T 1400
objects as deployed, the one-device-one-file archive, OpenStreetMap tags.
"""

from collections.abc import Mapping
from typing import Any, Final

from app.intake.words import ALL_ROUND, WORDS

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
