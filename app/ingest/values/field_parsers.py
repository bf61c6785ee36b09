"""Parsers of the columns of a file: from the text of a cell to the value of its field.

An import plan has one parser for each field. Columnwise and row validation both use it, so a cell means the same in
both. A parser remembers the result of each distinct text.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.ingest.columns.field_specs import LANES, FieldSpec
from app.ingest.columns.headings import to_plain_form
from app.ingest.values import cell_parsing, dates
from app.ingest.values.cell_parsing import CellError
from app.ingest.values.code_lists import ALL_ROUND, TOPICS, Topic, find_topic
from app.ingest.values.forbidden_names import is_forbidden_name
from app.ingest.values.text import to_narrow
from app.messages import Message

# Lanes of a checkpoint in one cell, as JSON with our names or those of GA/T 1400.

_LANE_MEMBERS: Final = ("lane", "direction", "bearing_deg", "name", "max_speed_kmh", "camera")
_GAT1400_MEMBERS: Final[dict[str, str]] = {
    "LaneId": "lane",
    "LaneID": "lane",
    "CityPass": "direction",
    "Direction": "bearing_deg",
    "Name": "name",
    "MaxSpeed": "max_speed_kmh",
    "ApeID": "camera",
}
_UNUSED_MEMBERS: Final = frozenset({"TollgateID", "LaneNo", "Desc", "LaneType"})


def parse_lanes(value: Any) -> Any:
    """Return lanes with the names of the registry; a value that is not a list of objects is left to the draft.

    >>> parse_lanes([{"TollgateID": "t", "LaneId": 1, "CityPass": "1", "Direction": "7"}])
    [{'lane': 1, 'direction': 'inbound', 'bearing_deg': 135.0}]
    """
    if not isinstance(value, list):
        return value
    return [_parse_lane(lane) if isinstance(lane, Mapping) else lane for lane in value]


def _parse_lane(lane: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in lane if name not in (*_LANE_MEMBERS, *_GAT1400_MEMBERS, *_UNUSED_MEMBERS)]
    if any(is_forbidden_name(str(name)) for name in unknown):
        # The members are not named: their names may hold the content itself.
        raise CellError("forbidden-content", Message("A lane has members about people, images or logins"))
    parsed = {}
    for name, value in lane.items():
        if name in _UNUSED_MEMBERS or value is None or value == "":
            continue
        member = _GAT1400_MEMBERS.get(name, name)
        parsed_value = _parse_member(member, str(value)) if name in _GAT1400_MEMBERS else value
        if parsed_value is not None:
            parsed[member] = parsed_value
    return parsed


def _parse_member(member: str, text: str) -> Any:
    if member in ("lane", "max_speed_kmh"):
        return cell_parsing.parse_integer(text, member)
    if member == "direction":
        return _find_code("passage", "citypass", text)
    if member == "bearing_deg":
        degrees = _find_code("direction", "gat1400", text)
        return None if degrees == ALL_ROUND else float(degrees)
    return text.strip()


def _find_code(topic: str, code_list: str, text: str) -> Any:
    bare = to_narrow(text).strip().lower()
    table = TOPICS[topic].build_table(code_list)
    if bare not in table:
        raise CellError(
            "unknown-code", Message("{text!r} is not a code of list {code_list}", text=text[:40], code_list=code_list)
        )
    return table[bare]


_ARROW: Final = re.compile(r"\s*(?:→|[-=]+>)\s*")
_TWO_DIRECTIONS: Final = re.compile(r"[东西南北]\s*[/、,，;；+&和与及|-]\s*[东西南北]")
"""Two directions in one cell; without the sign between them they would read as a third one."""
_QUARTERS: Final = {"北": 0, "东": 90, "南": 180, "西": 270}
_BETWEEN_QUARTERS: Final = re.compile(
    r"([东西])偏([南北])(\d{1,2}(?:\.\d+)?)[°º度]?|([南北])偏([东西])(\d{1,2}(?:\.\d+)?)[°º度]?"
)
"""So many degrees from one quarter towards the next: 东偏南30° is 120."""
_INTEGER: Final = re.compile(r"([+-]?)0*(\d+)(?:\.0+)?")
_MAX_REMEMBERED: Final = 50_000
_FREE_TEXT: Final = frozenset(
    {"code", "name", "name_zh", "name_en", "address", "notes", "purpose", "legal_basis", "road_name"}
)
"""Fields in which a word for "no value" may be meant as it is written."""
_COUNTED: Final = frozenset({"number", "integer", "day", "instant"})
"""Forms of fields in which a word for "no value" cannot mean anything else."""


def find_no_value_words(field: FieldSpec) -> frozenset[str]:
    """Return the cells that say nothing of a field of text, codes or words.

    In the number of a thing, a unit or a network address every word for "no value" is one: otherwise all devices with
    ``无`` as pole would be on one pole. Names and remarks keep words, and so do lists, where no value would be the
    default.
    """
    if field.form in ("text", "code") and field.name not in _FREE_TEXT:
        return cell_parsing.NO_VALUE_SPELLINGS
    return cell_parsing.NO_VALUE_SIGN_SPELLINGS


def to_table_key(text: str) -> str:
    """Return a cell as the tables of codes write it: no leading zeros, no marks, lower case.

    >>> [to_table_key(text) for text in ("01", "1.0", "-1", "South-East", "√")]
    ['1', '1', '-1', 'southeast', '√']
    """
    bare = to_narrow(text).casefold().strip()
    if whole := _INTEGER.fullmatch(bare):
        return ("-" if whole[1] == "-" else "") + whole[2]
    return (to_plain_form(bare) or bare) if any(map(str.isalpha, bare)) else bare


@dataclass(eq=False)
class FieldParser:
    """Parses the cells of one field."""

    spec: FieldSpec
    code_list: str | None = None
    unit: str | None = None
    """Unit of cells that name none."""
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the sender says that cells mean."""
    offset_h: float = 8.0
    _results: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose how cells are parsed."""
        self._topic = find_topic(self.spec.name, self.spec.form) or Topic("")
        self._table = {to_table_key(text): value for text, value in self._topic.build_table(self.code_list).items()}
        codes = self._topic.lists.get(self.code_list or "", {})
        # The words of the field hold, too, unless the list in force says otherwise.
        own = {to_table_key(str(word)): word for word in self.spec.words}
        self._table |= {word: value for word, value in own.items() if word not in codes}
        self._stated = {to_table_key(text): value for text, value in self.values.items()}
        self._no_value = find_no_value_words(self.spec)
        self._parse = self._choose_parser()

    def _choose_parser(self) -> Callable[[str], Any]:
        parsers: dict[str, Callable[[str], Any]] = {
            "word": self._parse_word,
            "words": self._parse_words,
            "number": self._parse_direction if self._topic.name == "direction" else self._parse_number,
            "integer": lambda text: cell_parsing.parse_integer(text, self.spec.name, self.unit),
            "boolean": self._parse_boolean,
            "day": dates.parse_date,
            "instant": lambda text: dates.parse_timestamp(text, self.offset_h),
            "code": cell_parsing.parse_code,
            "json": self._parse_json,
        }
        if self.spec.name in ("jurisdiction", "division_code"):
            return cell_parsing.parse_division_code
        if self.spec.name == "resolution":
            return cell_parsing.parse_resolution
        return parsers.get(self.spec.form, cell_parsing.join_lines)

    def parse(self, text: str) -> Any:
        """Return the value of a cell; None: the cell has no value.

        Raises
        ------
        CellError
            if the cell cannot be parsed as what the field needs.
        """
        if text not in self._results:
            if len(self._results) >= _MAX_REMEMBERED:
                self._results.clear()
            try:
                self._results[text] = self._parse_new(text)
            except CellError as error:
                self._results[text] = error
        result = self._results[text]
        if isinstance(result, CellError):
            raise result
        return result

    def _parse_new(self, text: str) -> Any:
        if self._stated:
            if text in self.values:
                return self.values[text]
            if (bare := to_table_key(text)) in self._stated:
                return self._stated[bare]
        if text.startswith("#") and text in cell_parsing.FORMULA_ERRORS:
            raise cell_parsing.build_formula_error(text)
        if self.spec.form in _COUNTED and to_narrow(text).casefold() in cell_parsing.NO_VALUE_WORDS:
            return None
        if text in self._no_value and to_table_key(text) not in self._table:
            return None
        if self.spec.form == "text" and text.startswith("{") and _is_json_object(text):
            raise CellError(
                "not-text",
                Message("The cell is a JSON object, and this field needs text"),
                Message("Give each member a column, or leave the column out."),
            )
        return self._parse(text)

    def _parse_word(self, text: str) -> Any:
        value = self._table.get(to_table_key(text))
        if value is None or (self.spec.words and value not in self.spec.words):
            raise self._build_unknown_error(text)
        return value

    def _parse_words(self, text: str) -> list[Any]:
        table = self._stated | self._table if self._stated else self._table
        values = []
        for member in cell_parsing.split_list(text):
            value = table.get(to_table_key(member))
            if value is None or (self.spec.words and value not in self.spec.words):
                raise self._build_unknown_error(member)
            if value not in values:
                values.append(value)
        return values

    def _parse_boolean(self, text: str) -> bool | None:
        value = self._table.get(to_table_key(text), "")
        if not isinstance(value, bool | None):
            raise CellError(
                "not-yes-or-no",
                Message("The cell is not yes or no"),
                Message("Write yes, no, true, false, 是, 否, 1 or 0."),
            )
        return value

    def _parse_number(self, text: str) -> float:
        value = cell_parsing.parse_number(text, self.spec.name, self.unit)
        return -abs(value) if self.code_list == "down" else value

    def _parse_direction(self, text: str) -> float | None:
        text = _ARROW.sub("向", cell_parsing.normalize_dashes(text))
        if _TWO_DIRECTIONS.search(text):
            raise self._build_unknown_error(text)
        if match := _BETWEEN_QUARTERS.fullmatch(text.replace(" ", "")):
            quarter, towards, angle = (group for group in match.groups() if group is not None)
            is_clockwise = (_QUARTERS[towards] - _QUARTERS[quarter]) % 360 == 90
            return (_QUARTERS[quarter] + (1 if is_clockwise else -1) * float(angle)) % 360.0
        bare = to_table_key(text)
        if bare in self._table:
            value = self._table[bare]
            return None if value == ALL_ROUND else float(value)
        if self.code_list in ("gbt28181", "gat1400"):
            raise self._build_unknown_error(text)
        degrees = cell_parsing.parse_number(text, self.spec.name, self.unit)
        if self.code_list == "east0":
            degrees = (degrees + 90.0) % 360.0
        return degrees % 360.0 if -360.0 < degrees < 0 or degrees == 360.0 else degrees

    def _parse_json(self, text: str) -> Any:
        try:
            value = orjson.loads(text)
            return parse_lanes(value) if self.spec.name == LANES else value
        except orjson.JSONDecodeError:
            if self.spec.name == "requirements":
                return _parse_requirements(text)
            raise _build_json_error() from None

    def _build_unknown_error(self, text: str) -> CellError:
        words = ", ".join(str(word) for word in self.spec.words)
        source = self.code_list or self._topic.default
        codes = ", ".join(sorted(self._topic.find_codes(source), key=len))
        message = Message("Unknown word or code {text!r}", text=text[:40])
        if codes:
            message = Message(
                "Unknown word or code {text!r}. Codes of list {code_list}: {codes}",
                text=text[:40],
                code_list=source,
                codes=codes,
            )
        hint = Message("Write one of {words}, or say in a profile what the cell means.", words=words)
        return CellError("unknown-code", message, hint if words else None)


def _parse_requirements(text: str) -> list[dict[str, Any]]:
    """Return requirements that are written as words: one working device of each function."""
    table = TOPICS["function"].build_table()
    functions = [table.get(to_table_key(member)) for member in cell_parsing.split_list(text)]
    if not functions or None in functions:
        raise _build_json_error()
    return [{"function": function} for function in dict.fromkeys(functions)]


def _build_json_error() -> CellError:
    return CellError("not-json", Message("The cell is not valid JSON"))


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
