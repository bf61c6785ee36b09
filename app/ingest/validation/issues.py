"""Issues of rows: what is wrong with a row, where, and what to do; and the result of a batch.

An issue names the row and the column as the file shows them. It shortens long values and never shows the value of a
dropped column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa
from pydantic_core import ErrorDetails

from app.messages import Message, translate_message

MAX_SHOWN: Final = 80
"""Characters of a value that an issue shows."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class RowIssue:
    """One error or warning about one row."""

    row: int
    column: str | None
    """The column as the file names it; None: the issue is not about one column."""
    field: str | None
    value: str | None
    code: str
    message: str
    hint: str | None = None
    severity: Severity = "error"

    @property
    def message_zh(self) -> str:
        """The message in Chinese."""
        return translate_message(self.message, "zh")


@dataclass(eq=False)
class BatchResult:
    """The valid rows of a batch, and the issues of the others."""

    valid: pa.Table
    """``row`` and the columns of the kind's table as text for COPY; null: no value."""
    issues: list[RowIssue] = field(default_factory=list)
    row_count: int = 0
    location_count: int = 0
    """Rows with a readable location."""
    swapped: int = 0
    """Locations that are not valid, and would be with the axes swapped."""
    groups: list[tuple[int, ...]] = field(default_factory=list)
    """Rows that make one record together, where there are several."""


def shorten_value(value: object) -> str | None:
    """Return a value as an issue shows it."""
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


_TEMPLATES: Final[Mapping[str, str]] = {
    "missing": "The value is missing",
    "string-type": "The value is not text",
    "string-too-long": "The text is longer than {max_length} characters",
    "string-too-short": "The text is shorter than {min_length} characters",
    "string-pattern-mismatch": "The text does not match the pattern {pattern}",
    "literal-error": "The value must be {expected}",
    "greater-than": "The value must be greater than {gt}",
    "greater-than-equal": "The value must be at least {ge}",
    "less-than": "The value must be less than {lt}",
    "less-than-equal": "The value must be at most {le}",
    "finite-number": "The value must be a finite number",
    "float-type": "The value is not a number",
    "int-type": "The value is not a whole number",
    "bool-type": "The value is not true or false",
    "too-short": "The list needs at least {min_length} members",
    "too-long": "The list can have at most {max_length} members",
    "list-type": "The value is not a list",
    "extra-forbidden": "The field does not exist",
}
"""English templates for the errors that pydantic finds itself, by code."""
_HINTS: Final[Mapping[str, Message]] = {
    "missing": Message("Map a column to the field, or give it a default."),
    "gb28181-code": Message("Compare the code with the device list of the platform."),
}
_PATTERNS: Final[Mapping[str, tuple[Message, Message]]] = {
    r"^[A-Za-z0-9._:\-]{1,64}$": (
        Message("A code has only letters, digits and . _ : -, at most 64 of them"),
        Message("Remove spaces, Chinese characters and other signs from the code."),
    ),
    r"^[0-9]{6}$": (Message("A division code has six digits"), Message("Write a code such as 410800 (GB/T 2260).")),
}
"""Message and hint instead of a pattern."""


def describe_error(error: ErrorDetails) -> tuple[str, str, Message | None]:
    """Return code, message and hint of an error that a draft reports."""
    code = error["type"].replace("_", "-")
    context = error.get("ctx", {})
    if code == "string-pattern-mismatch" and (known := _PATTERNS.get(str(context.get("pattern")))):
        return code, *known
    hint = _HINTS.get(code)
    if isinstance(message := context.get("message"), Message):
        return code, message, hint
    if template := _TEMPLATES.get(code):
        return code, Message(template, **context), hint
    return code, error["msg"], hint


ROW_CODES: Final[Mapping[str, str]] = {
    "digits-lost": "a code that a spreadsheet has turned into a number; its digits cannot be restored",
    "digits-doubtful": "(warning) a code of twenty digits that ends in five zeros",
    "letters-for-digits": "(warning) twenty characters of which some are O, o, I or l and the others digits",
    "gb28181-code": "twenty digits that are not a code of this kind of device",
    "not-a-device": "(warning) a node of a GB/T 28181 catalogue, an alarm or audio channel, or a device deleted from the "
    "platform; the row is skipped",
    "not-a-record": "(warning) a total, a remark, a signature, a title or a repeated header; the row is skipped",
    "cell-error": "`#N/A`, `#REF!` and the like: a spreadsheet formula that has failed",
    "unknown-code": "a word or code that is not in the code list in force",
    "not-a-number": "not a number",
    "ambiguous-number": "1,234 may have a thousands separator or a decimal comma",
    "unknown-unit": "a number with a unit that does not belong to the field",
    "not-whole": "a fraction where a whole number is needed",
    "not-a-day": "not a day of the calendar, or one that could mean two days",
    "not-yes-or-no": "neither yes nor no",
    "not-json": "not valid JSON",
    "not-text": "a JSON object where text is needed",
    "not-a-resolution": "not a resolution such as 1920x1080",
    "forbidden-content": "a login in an address, a picture, or members about people, images or logins; the cell is "
    "removed",
    "geometry-missing": "no location",
    "missing-coordinates": "one of two coordinates",
    "not-a-coordinate": "coordinates that cannot be parsed",
    "not-a-geometry": "not WKT, GeoJSON or WKB",
    "zero-coordinates": "0, 0",
    "swapped-coordinates": "not longitude and latitude, but valid with the axes swapped",
    "geometry-out-of-range": "not longitude and latitude in degrees",
    "geometry-not-finite": "NaN or infinity",
    "geometry-type": "another type of geometry than the kind has",
    "invalid-geometry": "a geometry that crosses itself, or the like",
    "unknown-crs": "a row that names an unknown coordinate system",
    "outside-crs": "a location outside the area of the CRS",
    "refused-together": "a lane of a checkpoint of which another row has an error",
    "long-text-edited": "a text too long for a Shapefile whose beginning was changed there",
    "long-text-missing": "a text that continues in `texts.jsonl`, which is not in the zip",
    "unknown-order": "two numbers of which either may be the longitude",
}
"""Codes of the issues of rows, in addition to those of a PUT of the record."""
