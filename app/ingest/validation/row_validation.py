"""The exact way: one row through the draft of its kind, with everything that is wrong with it."""

import re
from base64 import b32encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import shapely
from pydantic import ValidationError

from app.ingest.columns.field_specs import LANE, LANES, draft_validator
from app.ingest.columns.import_plan import Feed, Plan, stand_ins
from app.ingest.validation import issues
from app.ingest.validation.issues import RowFault, Severity
from app.ingest.validation.location import PlaceFault
from app.ingest.values.cell_parsing import Unreadable
from app.models.cross_field_rules import limit_rules

_ANYWHERE: Final = shapely.Point(0, 0)
"""Stands in for a place that is at fault already, so that the draft judges the rest."""

Cells = Mapping[str, str | None]


class Row:
    """One row of a file, or the rows of one checkpoint's lanes, on the way to a record."""

    def __init__(self, plan: Plan, numbers: Sequence[int], cells: Sequence[Cells], *, rounded: bool = False) -> None:
        self.plan, self.numbers, self.cells = plan, numbers, cells
        self.rounded = rounded
        """Whether most codes of the file are whole doubles: those of them that are have lost digits."""
        self.record: dict[str, Any] = {}
        self.faults: list[RowFault] = []
        self.unread: set[str] = set()

    def read(self) -> None:
        """Read every cell; what cannot be read is a fault and left out."""
        for feed in self.plan.own_feeds:
            self._take(feed)
        if self.plan.grouped:
            self._read_lanes()
        for name, value in self.plan.defaults.items():
            if name not in self.record and name not in self.unread:
                self.record[name] = value
        self._complete_lanes()
        self._check_code()
        if self.plan.key == "owner_reference" and "code" not in self.record:
            owner, reference = self.record.get("owner_unit"), self.record.get("owner_reference")
            if owner and reference:
                self.record["code"] = reference_code(owner, reference)
            else:
                self._refuse_unknown()

    def _refuse_unknown(self) -> None:
        """Tell what is missing of the two that say which record a row is."""
        self.unread.add("code")
        columns = {feed.spec.name: feed.columns[0] for feed in self.plan.feeds}
        for name in ("owner_unit", "owner_reference"):
            if name not in self.record and name not in self.unread:
                self.add(self.numbers[0], columns.get(name), name, None, *_UNKNOWN)
                self.unread.add(name)

    def _complete_lanes(self) -> None:
        """Put in what defaults say of lanes."""
        given = {
            _member(name): value
            for name, value in self.plan.defaults.items()
            if name.startswith(LANE) and name in self.plan.spec.helpers
        }
        lanes = self.record.get(LANES)
        if given and isinstance(lanes, list):
            self.record[LANES] = [{**given, **lane} if isinstance(lane, dict) else lane for lane in lanes]

    def _check_code(self) -> None:
        """Tell of a code that ends as a rounded number does, or has letters that look like digits."""
        code = self.record.get("code")
        feed = next((feed for feed in self.plan.feeds if feed.spec.name == "code"), None)
        if not isinstance(code, str) or feed is None:
            return
        told = (self.numbers[0], feed.columns[0], "code", text_at(feed, self.cells[0]))
        if MISREAD.fullmatch(code) and sum(sign.isdigit() for sign in code) in _MOSTLY:
            self.add(*told, *_LETTERS, severity="warning")
        if self.rounded and is_double(code):
            self.unread.add("code")
            self.add(*told, *(_LOST if ROUNDED.fullmatch(code) else _DOUBLED))
        elif ROUNDED.fullmatch(code):
            self.add(*told, *_DOUBTFUL, severity="warning")

    def _take(self, feed: Feed) -> None:
        """Read a field from the first row that has it."""
        for number, cells in zip(self.numbers, self.cells, strict=True):
            text = text_at(feed, cells)
            if text is None:
                continue
            value = self._value(feed, number, text)
            if value is not None:
                self._set(feed.spec.name, value)
                return

    def _value(self, feed: Feed, number: int, text: str) -> Any:
        try:
            return feed.reader.read(text)
        except Unreadable as reason:
            self.unread.add(feed.spec.name)
            told = (reason.code, reason.english, reason.chinese, reason.hint)
            shown = None if reason.code == "forbidden-content" else text
            self.add(number, feed.columns[0], feed.spec.name, shown, *told)
            return None

    def _set(self, name: str, value: Any) -> None:
        if name == "resolution":
            self.record["horizontal_pixels"], self.record["vertical_pixels"] = value
        else:
            self.record[name] = value

    def _read_lanes(self) -> None:
        lanes: list[dict[str, Any]] = []
        for number, cells in zip(self.numbers, self.cells, strict=True):
            lane: dict[str, Any] = {}
            for feed in self.plan.lane_feeds:
                text = text_at(feed, cells)
                if text is not None and (value := self._value(feed, number, text)) is not None:
                    lane[_member(feed.spec.name)] = value
            if lane:
                numbered = {} if self.plan.merges_lanes else {"lane": len(lanes) + 1}
                lanes.append(numbered | lane)
        if lanes:
            self.record[LANES] = lanes

    def refuse_place(self, fault: PlaceFault) -> None:
        """Note what is wrong with the place."""
        place = self.plan.place
        columns = place.columns if place.datums is None else (*place.columns, place.datums)
        hint = fault.hint
        if fault.code == "geometry-missing" and self.plan.options.some_fields:
            hint = _KEPT
        told = (fault.code, fault.message, fault.message_zh, hint)
        self.add(
            self.numbers[0],
            columns[fault.column] if columns else None,
            "geometry",
            fault.value,
            *told,
        )

    def verdict(self, shape: Any) -> dict[str, Any] | None:
        """Return the values to store, None when something is wrong; see ``faults``."""
        kind = self.plan.spec
        record = {name: value for name, value in self.record.items() if name in kind.fields}
        if "geometry" in kind.draft.model_fields:
            record["geometry"] = _ANYWHERE if shape is None else shape
        record |= stand_ins(self.plan)
        self._stand_in_lanes(record)
        try:
            with limit_rules(self.plan.fields if self.plan.options.some_fields else None):
                draft = draft_validator(kind).validate_python(record)
        except ValidationError as error:
            self._explain(error, record)
            return None
        if any(fault.severity == "error" for fault in self.faults):
            return None
        values: dict[str, Any] = draft.model_dump(mode="json", exclude={"geometry"})
        if kind.name == "state" and "reported_at" not in record:
            values["reported_at"] = None  # the clock is the caller's
        return self._as_given(values)

    def _stand_in_lanes(self, record: dict[str, Any]) -> None:
        """Let lanes that are merged keep a direction that is registered."""
        if self.plan.merges_lanes and "direction" not in self.plan.lane_members:
            record[LANES] = [{"direction": "both", **lane} for lane in record.get(LANES, ())]

    def _as_given(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return values without what stands in for the registered."""
        values |= dict.fromkeys(self.plan.missing)
        if self.plan.merges_lanes:
            given = self.plan.lane_members
            values[LANES] = [{name: value for name, value in lane.items() if name in given} for lane in values[LANES]]
        return values

    def _explain(self, error: ValidationError, record: Mapping[str, Any]) -> None:
        for found in error.errors(include_url=False, include_input=False):
            member = found.get("ctx", {}).get("member")
            place = [*found["loc"], member] if isinstance(member, str) else list(found["loc"])
            name = str(place[0]) if place else None
            number, cells, feed = self._where(place)
            if name in self.unread or (feed is not None and feed.spec.name in self.unread):
                continue
            told = issues.of_error(found, self.plan.spec.name, record.get("code"))
            keeps = self.plan.options.some_fields and name not in ("code", LANES)
            if told[0] == "missing" and keeps and feed is not None:
                told = (*told[:3], _KEPT)
            if feed is None:
                self.add(number, None, name, None, *told)
            else:
                value = None if told[0] == "value-error" else text_at(feed, cells)
                self.add(number, feed.columns[0], name, value, *told)  # a login is not repeated

    def _where(self, place: Sequence[int | str]) -> tuple[int, Cells, Feed | None]:
        """Return the row number, cells and feed that an error of the draft is about."""
        at, names = 0, {str(place[0])} if place else set()
        if place and place[0] == LANES and len(place) > 1 and self.plan.grouped:
            at = min(int(place[1]), len(self.numbers) - 1)
            member = str(place[2]) if len(place) > 2 else "lane"
            names = {member if member == "lane" else LANE + member}
        for feed in self.plan.feeds:
            if feed.spec.name in names or (feed.spec.name == "resolution" and names & _PIXELS):
                return self.numbers[at], self.cells[at], feed
        return self.numbers[at], self.cells[at], None

    def add(
        self,
        number: int,
        column: str | None,
        field: str | None,
        value: str | None,
        code: str,
        english: str,
        chinese: str,
        hint: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Note something wrong."""
        shown = issues.shown(value)
        self.faults.append(RowFault(number, column, field, shown, code, english, chinese, hint, severity))


def is_double(code: str) -> bool:
    """Tell whether a twenty-digit code is one that a computer may have rounded.

    Ending in five zeros, or a whole number that a double holds exactly, as one in 8192 does by chance.

    >>> is_double("41080200001320271872"), is_double("41080200001320273066")
    (True, False)
    """
    return bool(ROUNDED.fullmatch(code)) or (
        len(code) == 20 and code.isascii() and code.isdigit() and int(float(code)) == int(code)
    )


ROUNDED: Final = re.compile(r"[1-9][0-9]{14}00000")
"""Twenty digits of which a spreadsheet has kept fifteen."""
MISREAD: Final = re.compile(r"[0-9OoIl]{20}")
_MOSTLY: Final = range(15, 20)
"""Digits of twenty signs that were meant to be digits all."""
_UNKNOWN: Final = (
    "missing",
    "needed to know which record this is",
    "缺少此项，无法确定是哪条记录",
    "with key=owner_reference every row has both the owner unit and its reference, or a code",
)
_KEPT: Final = "fill the cell, or leave the column out with drop_columns: then what is registered stays"
_LETTERS: Final = (
    "letters-for-digits",
    "the code has letters that look like digits (O, o, I or l) where twenty digits are expected",
    "编码应为 20 位数字，其中有形似数字的字母（O、o、I、l）",
    "it is kept as it is written; compare it with the source: O may be 0, I and l may be 1",
)
_LOST: Final = (
    "digits-lost",
    "the code has lost its last five digits: like most codes of the file it ends in zeros, as numbers "
    "of a spreadsheet do",
    "编码末五位已丢失：与文件中多数编码一样以 00000 结尾，应是被表格软件当作数字",
    "take the codes from the source again, with the column formatted as text before they are pasted",
)
_DOUBLED: Final = (
    "digits-lost",
    "the code has lost its last digits: like most codes of the file it is a number as computers round it",
    "编码末几位已丢失：与文件中多数编码一样是计算机按浮点数取整后的数",
    "take the codes from the source again, kept as text on the whole way",
)
_DOUBTFUL: Final = (
    "digits-doubtful",
    "the code ends in five zeros, as one does that a spreadsheet has rounded",
    "编码以五个 0 结尾，可能被表格软件取整",
    "compare it with the source",
)
_PIXELS: Final = frozenset({"horizontal_pixels", "vertical_pixels"})


def _member(name: str) -> str:
    return name if name == "lane" else name.removeprefix(LANE)


def text_at(feed: Feed, cells: Cells) -> str | None:
    """Return the text of a field in a row: several columns are put together."""
    if len(feed.columns) == 1:
        return cells[feed.columns[0]]
    texts = [text for column in feed.columns if (text := cells[column]) is not None]
    return feed.joint.join(texts) if texts else None


def reference_code(owner: str, reference: str) -> str:
    """Return the code of a thing known by its owner's number: always the same for the same two.

    >>> reference_code("市公安局", "A-17") == reference_code("市公安局", "A-17")
    True
    """
    digest = sha256(f"{owner}\x00{reference}".encode()).digest()
    return "ref:" + b32encode(digest)[:20].decode()
