"""From the text of a cell to the value of its field, remembered per distinct text.

One reader per column of the plan; the fast and the slow way both go through it, so a cell means
the same whichever way its row takes.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.ingest.columns.field_specs import LANES, FieldSpec
from app.ingest.columns.headings import plain
from app.ingest.values import cell_parsing, dates
from app.ingest.values.cell_parsing import Unreadable
from app.ingest.values.code_lists import ALL_ROUND, TOPICS, Topic, find_topic
from app.ingest.values.forbidden_names import is_forbidden_name

# Lanes of a checkpoint that stand in one cell as JSON: our own names, or those of GA/T 1400.
#
# Refuses members that tell of people, images or logins without repeating them.

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
    if any(is_forbidden_name(str(name)) for name in strange):
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
        return cell_parsing.integer(text, member)
    if member == "direction":
        return _coded("passage", "citypass", text)
    if member == "bearing_deg":
        turn = _coded("direction", "gat1400", text)
        return None if turn == ALL_ROUND else float(turn)
    return text.strip()


def _coded(topic: str, code_list: str, text: str) -> Any:
    bare = cell_parsing.narrow(text).strip().lower()
    known = TOPICS[topic].build_table(code_list)
    if bare not in known:
        raise Unreadable(
            "unknown-code",
            f"{text[:40]!r} is no code of list {code_list}",
            f"无法识别的代码 {text[:40]}",
        )
    return known[bare]


_ARROW: Final = re.compile(r"\s*(?:→|[-=]+>)\s*")
_SEVERAL: Final = re.compile(r"[东西南北]\s*[/、,，;；+&和与及|-]\s*[东西南北]")
"""Two directions in one cell, which without the sign between them would be a third."""
_QUARTERS: Final = {"北": 0, "东": 90, "南": 180, "西": 270}
_LEANING: Final = re.compile(
    r"([东西])偏([南北])(\d{1,2}(?:\.\d+)?)[°º度]?|([南北])偏([东西])(\d{1,2}(?:\.\d+)?)[°º度]?"
)
"""From one quarter so many degrees towards the next: 东偏南30° is 120."""
_WHOLE: Final = re.compile(r"([+-]?)0*(\d+)(?:\.0+)?")
_REMEMBERED: Final = 50_000
_SAID: Final = frozenset(
    {
        "code",
        "name",
        "name_zh",
        "name_en",
        "address",
        "notes",
        "purpose",
        "legal_basis",
        "road_name",
    }
)
"""What a word for nothing may be meant in: texts, and the code a thing goes by."""
_COUNTED: Final = frozenset({"number", "integer", "day", "instant"})
"""Forms of fields in which a word for nothing can be nothing else."""


def nothing_in(field: FieldSpec) -> frozenset[str]:
    """Return the cells that say nothing of a field of text, codes or words.

    In a number of a thing, a unit or an address of the network every word for nothing is nothing; else
    all that have ``无`` for a pole would hang on one pole. In a name and a remark words are kept, and so
    are those of a list, where nothing would be the default.
    """
    if field.form in ("text", "code") and field.name not in _SAID:
        return cell_parsing.NOTHING_AS_WRITTEN
    return cell_parsing.SIGNS_AS_WRITTEN


def key(text: str) -> str:
    """Return a cell as code tables spell it: no leading zeros, no marks, lower case.

    >>> key("01"), key("1.0"), key("-1"), key("South-East"), key("√")
    ('1', '1', '-1', 'southeast', '√')
    """
    bare = cell_parsing.narrow(text).casefold().strip()
    if whole := _WHOLE.fullmatch(bare):
        return ("-" if whole[1] == "-" else "") + whole[2]
    return (plain(bare) or bare) if any(map(str.isalpha, bare)) else bare


@dataclass(eq=False)
class Reader:
    """Reads the cells of one column for one field."""

    field: FieldSpec
    code_list: str | None = None
    unit: str | None = None
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the sender says cells mean."""
    offset_h: float = 8.0
    _known: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose how cells are read, once."""
        topic = find_topic(self.field.name, self.field.form) or Topic("")
        self._topic = topic
        self._table = {key(text): value for text, value in topic.build_table(self.code_list).items()}
        own = {key(str(word)): word for word in self.field.words}
        listed = topic.lists.get(self.code_list or "", {})
        self._table |= {word: value for word, value in own.items() if word not in listed}
        self._stated = {key(text): value for text, value in self.values.items()}
        self._nothing = nothing_in(self.field)
        self._read: Callable[[str], Any] = {
            "word": self._word, "words": self._words, "number": self._number,
            "integer": self._integer, "boolean": self._boolean, "day": dates.day,
            "instant": self._instant, "code": self._code, "json": self._json,
            "text": cell_parsing.pixels if self.field.name == "resolution" else cell_parsing.line, "place": cell_parsing.line, "geometry": cell_parsing.line,
        }[self.field.form]  # fmt: skip

    def read(self, text: str) -> Any:
        """Return the value of a cell.

        Raises
        ------
        Unreadable
            when it cannot be read as what the field needs.
        """
        if text not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            try:
                self._known[text] = self._fresh(text)
            except Unreadable as reason:
                self._known[text] = reason
        value = self._known[text]
        if isinstance(value, Unreadable):
            raise value
        return value

    def _fresh(self, text: str) -> Any:
        if self._stated:
            if text in self.values:
                return self.values[text]
            if (bare := key(text)) in self._stated:
                return self._stated[bare]
        if text.startswith("#") and text in cell_parsing.ERRORS:
            raise cell_parsing.no_value(text)
        if self.field.form in _COUNTED and cell_parsing.narrow(text).casefold() in cell_parsing.NOTHING:
            return None
        if text in self._nothing and key(text) not in self._table:
            return None
        if self.field.form == "text" and text.startswith("{") and _is_structure(text):
            raise _no_text()
        return self._read(text)

    def _word(self, text: str) -> Any:
        value = self._table.get(key(text))
        if value is None or (self.field.words and value not in self.field.words):
            raise self._unknown(text)
        return value

    def _words(self, text: str) -> list[Any]:
        members = self._stated | self._table if self._stated else self._table
        found = []
        for part in cell_parsing.parts(text):
            value = members.get(key(part))
            if value is None or (self.field.words and value not in self.field.words):
                raise self._unknown(part)
            if value not in found:
                found.append(value)
        return found

    def _boolean(self, text: str) -> bool | None:
        value = self._table.get(key(text), "")
        if not isinstance(value, bool | None):
            raise Unreadable(
                "not-yes-or-no",
                "yes or no is needed",
                "应为是或否",
                "yes, no, true, false, 是, 否, 1, 0",
            )
        return value

    def _number(self, text: str) -> float | None:
        if self._topic.name == "direction":
            return self._direction(text)
        value = cell_parsing.number(text, self.field.name, self.unit)
        return -abs(value) if self.code_list == "down" else value

    def _integer(self, text: str) -> int:
        return cell_parsing.integer(text, self.field.name, self.unit)

    def _direction(self, text: str) -> float | None:
        text = _ARROW.sub("向", cell_parsing.dashed(text))
        if _SEVERAL.search(text):
            raise self._unknown(text)
        if leaning := _LEANING.fullmatch(text.replace(" ", "")):
            begin, towards, angle = (part for part in leaning.groups() if part is not None)
            turn = (_QUARTERS[towards] - _QUARTERS[begin]) % 360
            return (_QUARTERS[begin] + (1 if turn == 90 else -1) * float(angle)) % 360.0
        bare = key(text)
        if bare in self._table:
            turn = self._table[bare]
            return None if turn == ALL_ROUND else float(turn)
        if self.code_list in ("gbt28181", "gat1400"):
            raise self._unknown(text)
        turned = cell_parsing.number(text, self.field.name, self.unit)
        if self.code_list == "east0":
            turned = (turned + 90.0) % 360.0
        return turned % 360.0 if -360.0 < turned < 0 or turned == 360.0 else turned

    def _instant(self, text: str) -> str:
        return dates.instant(text, self.offset_h)

    def _code(self, text: str) -> str:
        if self.field.name in ("jurisdiction", "division_code"):
            return cell_parsing.division(text)
        return cell_parsing.code(text)

    def _json(self, text: str) -> Any:
        try:
            value = orjson.loads(text)
            return lanes_of(value) if self.field.name == LANES else value
        except orjson.JSONDecodeError:
            if self.field.name == LANES:
                raise _no_json() from None
            return self._short(text)

    def _short(self, text: str) -> Any:
        """Read requirements written as words: one working device of each."""
        functions = TOPICS["function"].build_table()
        found = [functions.get(key(part)) for part in cell_parsing.parts(text)]
        if not found or None in found or self.field.name != "requirements":
            raise _no_json()
        return [{"function": word} for word in dict.fromkeys(found)]

    def _unknown(self, text: str) -> Unreadable:
        known = ", ".join(str(word) for word in self.field.words)
        source = self.code_list or self._topic.default
        listed = ", ".join(sorted(self._topic.find_codes(source), key=len))
        named = f" of list {source} ({listed})" if listed else ""
        return Unreadable(
            "unknown-code",
            f"{text[:40]!r} is no known word or code{named}",
            f"无法识别的取值 {text[:40]}" + (f"（代码表 {source}：{listed}）" if listed else ""),
            f"one of {known}, or say in the profile what it means" if known else None,
        )


def _is_structure(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _no_text() -> Unreadable:
    return Unreadable(
        "not-text",
        "the cell holds a structure with members of its own, and a text is needed",
        "单元格是带成员的结构，应为文字",
        "give each member a column of its own, or leave the column out",
    )


def _no_json() -> Unreadable:
    return Unreadable("not-json", "JSON is needed", "应为 JSON")
