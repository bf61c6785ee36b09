"""Lanes of a checkpoint that stand in one cell as JSON: our own names, or those of GA/T 1400.

Refuses members that tell of people, images or logins without repeating them.
"""

from collections.abc import Mapping
from typing import Any, Final

from app.intake import cells, codes
from app.intake.cells import Unreadable
from app.intake.words import ALL_ROUND
from app.schemas.forbidden import forbidden

_OURS: Final = ("lane", "direction", "bearing_deg", "name", "max_speed_kmh", "camera")
_THEIRS: Final[dict[str, str]] = {
    "LaneId": "lane", "LaneID": "lane", "CityPass": "direction", "Direction": "bearing_deg",
    "Name": "name", "MaxSpeed": "max_speed_kmh", "ApeID": "camera",
}  # fmt: skip
_UNUSED: Final = frozenset({"TollgateID", "LaneNo", "Desc", "LaneType"})


def lanes_of(value: Any) -> Any:
    """Return lanes as the registry holds them; what is no list of objects is left to the draft.

    >>> lanes_of([{"TollgateID": "t", "LaneId": 1, "CityPass": "1", "Direction": "7"}])
    [{'lane': 1, 'direction': 'inbound', 'bearing_deg': 135.0}]
    """
    if not isinstance(value, list):
        return value
    return [_lane(lane) if isinstance(lane, Mapping) else lane for lane in value]


def _lane(lane: Mapping[str, Any]) -> dict[str, Any]:
    strange = [name for name in lane if name not in (*_OURS, *_THEIRS, *_UNUSED)]
    if any(forbidden(str(name)) for name in strange):
        raise Unreadable(
            "forbidden-content",
            "a lane has members that tell of people, images or logins",
            "车道中含有人员、图像或登录信息",
        )
    read = {}
    for name, value in lane.items():
        if name in _UNUSED or value is None or value == "":
            continue
        member = _THEIRS.get(name, name)
        kept = _value(member, str(value)) if name in _THEIRS else value
        if kept is not None:
            read[member] = kept
    return read


def _value(member: str, text: str) -> Any:
    if member in ("lane", "max_speed_kmh"):
        return cells.integer(text, member)
    if member == "direction":
        return _coded("passage", "citypass", text)
    if member == "bearing_deg":
        turn = _coded("direction", "gat1400", text)
        return None if turn == ALL_ROUND else float(turn)
    return text.strip()


def _coded(topic: str, code_list: str, text: str) -> Any:
    bare = cells.narrow(text).strip().lower()
    known = codes.table(topic, code_list)
    if bare not in known:
        raise Unreadable(
            "unknown-code",
            f"{text[:40]!r} is no code of list {code_list}",
            f"无法识别的代码 {text[:40]}",
        )
    return known[bare]
