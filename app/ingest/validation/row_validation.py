"""Row validation: one row through the draft of its kind, with everything that is wrong with it."""

import re
from base64 import b32encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import shapely
from pydantic import ValidationError

from app.ingest.columns.field_specs import LANE, LANES, draft_validator
from app.ingest.columns.import_plan import FieldSource, ImportPlan, build_placeholders
from app.ingest.validation.issues import RowIssue, Severity, describe_error, shorten_value
from app.ingest.validation.location import LocationIssue
from app.ingest.values.cell_parsing import CellError
from app.messages import Message
from app.models.cross_field_rules import limit_rules

_ANY_POINT: Final = shapely.Point(0, 0)
"""Replaces a location that already has an issue, so that the draft validates the other fields."""

Cells = Mapping[str, str | None]
"""Column to text of one row."""


class Row:
    """One row of a file, or the rows of one checkpoint's lanes, from cells to a valid record or issues."""

    def __init__(
        self, plan: ImportPlan, row_numbers: Sequence[int], cells: Sequence[Cells], *, rounded: bool = False
    ) -> None:
        self.plan, self.row_numbers, self.cells = plan, row_numbers, cells
        self.rounded = rounded
        """Whether a program has rounded the codes of the file, so that such a code has lost digits."""
        self.record: dict[str, Any] = {}
        self.issues: list[RowIssue] = []
        self.failed_fields: set[str] = set()

    def parse_cells(self) -> None:
        """Parse every cell; a cell that cannot be parsed is an issue, and its field is left out."""
        for source in self.plan.record_sources:
            self._parse_field(source)
        if self.plan.groups_lanes:
            self._parse_lanes()
        for name, value in self.plan.defaults.items():
            if name not in self.record and name not in self.failed_fields:
                self.record[name] = value
        self._add_lane_defaults()
        self._check_code()
        if self.plan.key == "owner_reference" and "code" not in self.record:
            owner, reference = self.record.get("owner_unit"), self.record.get("owner_reference")
            if owner and reference:
                self.record["code"] = derive_code(owner, reference)
            else:
                self._add_key_issues()

    def _add_key_issues(self) -> None:
        """Report which of the two key fields is missing."""
        self.failed_fields.add("code")
        columns = {source.spec.name: source.columns[0] for source in self.plan.sources}
        for name in ("owner_unit", "owner_reference"):
            if name not in self.record and name not in self.failed_fields:
                self.add_issue(self.row_numbers[0], columns.get(name), name, None, *_KEY_MISSING)
                self.failed_fields.add(name)

    def _add_lane_defaults(self) -> None:
        defaults = {
            _to_member(name): value
            for name, value in self.plan.defaults.items()
            if name.startswith(LANE) and name in self.plan.spec.helpers
        }
        lanes = self.record.get(LANES)
        if defaults and isinstance(lanes, list):
            self.record[LANES] = [{**defaults, **lane} if isinstance(lane, dict) else lane for lane in lanes]

    def _check_code(self) -> None:
        """Report a code that ends as a rounded number does, or has letters that look like digits."""
        code = self.record.get("code")
        source = next((source for source in self.plan.sources if source.spec.name == "code"), None)
        if not isinstance(code, str) or source is None:
            return
        location = (self.row_numbers[0], source.columns[0], "code", join_cells(source, self.cells[0]))
        if MISREAD.fullmatch(code) and sum(sign.isdigit() for sign in code) in _MOSTLY_DIGITS:
            self.add_issue(*location, *_LETTERS, severity="warning")
        if self.rounded and is_exact_double(code):
            self.failed_fields.add("code")
            self.add_issue(*location, *(_ZEROS if ROUNDED.fullmatch(code) else _DOUBLE))
        elif ROUNDED.fullmatch(code):
            self.add_issue(*location, *_DOUBTFUL, severity="warning")

    def _parse_field(self, source: FieldSource) -> None:
        """Parse a field from the first row that has a value."""
        for row_number, cells in zip(self.row_numbers, self.cells, strict=True):
            text = join_cells(source, cells)
            if text is None:
                continue
            value = self._parse_cell(source, row_number, text)
            if value is not None:
                self._set_value(source.spec.name, value)
                return

    def _parse_cell(self, source: FieldSource, row_number: int, text: str) -> Any:
        try:
            return source.parser.parse(text)
        except CellError as error:
            self.failed_fields.add(source.spec.name)
            value = None if error.code == "forbidden-content" else text
            self.add_issue(
                row_number, source.columns[0], source.spec.name, value, error.code, error.message, error.hint
            )
            return None

    def _set_value(self, name: str, value: Any) -> None:
        if name == "resolution":
            self.record["horizontal_pixels"], self.record["vertical_pixels"] = value
        else:
            self.record[name] = value

    def _parse_lanes(self) -> None:
        lanes: list[dict[str, Any]] = []
        for row_number, cells in zip(self.row_numbers, self.cells, strict=True):
            lane: dict[str, Any] = {}
            for source in self.plan.lane_sources:
                text = join_cells(source, cells)
                if text is not None and (value := self._parse_cell(source, row_number, text)) is not None:
                    lane[_to_member(source.spec.name)] = value
            if lane:
                numbered = {} if self.plan.merges_lanes else {"lane": len(lanes) + 1}
                lanes.append(numbered | lane)
        if lanes:
            self.record[LANES] = lanes

    def add_location_issue(self, issue: LocationIssue) -> None:
        """Add what is wrong with the location."""
        location = self.plan.location
        columns = location.columns if location.datum_column is None else (*location.columns, location.datum_column)
        hint = issue.hint
        if issue.code == "geometry-missing" and self.plan.options.some_fields:
            hint = _KEEP_HINT
        column = columns[issue.column] if columns else None
        self.add_issue(self.row_numbers[0], column, "geometry", issue.value, issue.code, issue.message, hint)

    def validate(self, shape: Any) -> dict[str, Any] | None:
        """Return the values to store; None: the row has errors, see ``issues``."""
        spec = self.plan.spec
        record = {name: value for name, value in self.record.items() if name in spec.fields}
        if "geometry" in spec.draft.model_fields:
            record["geometry"] = _ANY_POINT if shape is None else shape
        record |= build_placeholders(self.plan)
        self._add_lane_placeholders(record)
        try:
            with limit_rules(self.plan.fields if self.plan.options.some_fields else None):
                draft = draft_validator(spec).validate_python(record)
        except ValidationError as error:
            self._add_draft_issues(error)
            return None
        if any(issue.severity == "error" for issue in self.issues):
            return None
        values: dict[str, Any] = draft.model_dump(mode="json", exclude={"geometry"})
        if spec.name == "state" and "reported_at" not in record:
            values["reported_at"] = None  # the caller knows the time
        return self._remove_placeholders(values)

    def _add_lane_placeholders(self, record: dict[str, Any]) -> None:
        """Add a direction to lanes that are merged: the registered one stays."""
        if self.plan.merges_lanes and "direction" not in self.plan.lane_members:
            record[LANES] = [{"direction": "both", **lane} for lane in record.get(LANES, ())]

    def _remove_placeholders(self, values: dict[str, Any]) -> dict[str, Any]:
        values |= dict.fromkeys(self.plan.missing)
        if self.plan.merges_lanes:
            members = self.plan.lane_members
            values[LANES] = [{name: value for name, value in lane.items() if name in members} for lane in values[LANES]]
        return values

    def _add_draft_issues(self, errors: ValidationError) -> None:
        for error in errors.errors(include_url=False, include_input=False):
            member = error.get("ctx", {}).get("member")
            path = [*error["loc"], member] if isinstance(member, str) else list(error["loc"])
            name = str(path[0]) if path else None
            row_number, cells, source = self._find_source(path)
            if name in self.failed_fields or (source is not None and source.spec.name in self.failed_fields):
                continue
            code, message, hint = describe_error(error)
            if source is None:
                self.add_issue(row_number, None, name, None, code, message, hint)
                continue
            if code == "missing" and self.plan.options.some_fields and name not in ("code", LANES):
                hint = _KEEP_HINT
            value = None if code == "value-error" else join_cells(source, cells)  # an address may have a login
            self.add_issue(row_number, source.columns[0], name, value, code, message, hint)

    def _find_source(self, path: Sequence[int | str]) -> tuple[int, Cells, FieldSource | None]:
        """Return the row number, the cells and the source of the field that an error of the draft is about."""
        index, names = 0, {str(path[0])} if path else set()
        if path and path[0] == LANES and len(path) > 1 and self.plan.groups_lanes:
            index = min(int(path[1]), len(self.row_numbers) - 1)
            member = str(path[2]) if len(path) > 2 else "lane"
            names = {member if member == "lane" else LANE + member}
        for source in self.plan.sources:
            if source.spec.name in names or (source.spec.name == "resolution" and names & _PIXELS):
                return self.row_numbers[index], self.cells[index], source
        return self.row_numbers[index], self.cells[index], None

    def add_issue(
        self,
        row_number: int,
        column: str | None,
        field: str | None,
        value: str | None,
        code: str,
        message: str,
        hint: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Add an issue of the row."""
        self.issues.append(RowIssue(row_number, column, field, shorten_value(value), code, message, hint, severity))


def is_exact_double(code: str) -> bool:
    """Return whether a program may have rounded a code of twenty digits.

    It ends in five zeros, or a double holds it exactly, which is true of one code in 8192 by chance.

    >>> is_exact_double("41080200001320271872"), is_exact_double("41080200001320273066")
    (True, False)
    """
    return bool(ROUNDED.fullmatch(code)) or (
        len(code) == 20 and code.isascii() and code.isdigit() and int(float(code)) == int(code)
    )


ROUNDED: Final = re.compile(r"[1-9][0-9]{14}00000")
"""Twenty digits of which a spreadsheet has kept fifteen."""
MISREAD: Final = re.compile(r"[0-9OoIl]{20}")
_MOSTLY_DIGITS: Final = range(15, 20)
"""Digits in twenty characters that were all meant to be digits."""
_PIXELS: Final = frozenset({"horizontal_pixels", "vertical_pixels"})
_KEEP_HINT: Final = Message("Fill the cell, or name the column in drop_columns to keep the registered value.")
_KEY_MISSING: Final = (
    "missing",
    Message("The value is missing, so the record cannot be identified"),
    Message("With key=owner_reference, give owner_unit and owner_reference, or a code, in every row."),
)
_LETTERS: Final = (
    "letters-for-digits",
    Message("The code has letters that look like digits (O, o, I or l) where 20 digits are expected"),
    Message("The code is stored as it is. Compare it with the source: O may be 0, I and l may be 1."),
)
_COPY_AGAIN: Final = Message("Copy the codes from their source again, and keep them as text in every program.")
_ZEROS: Final = (
    "digits-lost",
    Message(
        "The code has lost its last five digits: like most codes of the file it ends in zeros, as a spreadsheet rounds"
    ),
    _COPY_AGAIN,
)
_DOUBLE: Final = (
    "digits-lost",
    Message("The code has lost its last digits: like most codes of the file it is a rounded floating-point number"),
    _COPY_AGAIN,
)
_DOUBTFUL: Final = (
    "digits-doubtful",
    Message("The code ends in five zeros; a spreadsheet may have rounded it"),
    Message("Compare the code with its source."),
)


def _to_member(name: str) -> str:
    """Return the member of a lane that a field gives."""
    return name if name == "lane" else name.removeprefix(LANE)


def join_cells(source: FieldSource, cells: Cells) -> str | None:
    """Return the text of a field in a row: several columns are joined."""
    if len(source.columns) == 1:
        return cells[source.columns[0]]
    texts = [text for column in source.columns if (text := cells[column]) is not None]
    return source.separator.join(texts) if texts else None


def derive_code(owner: str, reference: str) -> str:
    """Return the code of a record that is known by its owner's reference: the same two texts give the same code.

    >>> derive_code("市公安局", "A-17") == derive_code("市公安局", "A-17")
    True
    """
    digest = sha256(f"{owner}\x00{reference}".encode()).digest()
    return "ref:" + b32encode(digest)[:20].decode()
