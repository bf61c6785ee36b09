"""Workbooks in the XML of Excel 2003 (SpreadsheetML), which many systems write as ``.xls``.

Promises the row numbers that the spreadsheet programme shows, gaps and merged cells included, dates
as ISO text, codes of any length as they are written, and failed formulas as the error they show.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from app.errors import Invalid
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.excel.xlsx import NOT_COMPUTED
from app.ingest.readers.grid import MOST_COLUMNS, MOST_ROWS, Line, Sheets, open_grid, too_wide
from app.ingest.readers.model import Named, Opened, Wanted
from app.ingest.readers.xml_text import coding_of, events, mended, text_of
from app.ingest.values.typed_text import EXACT_SPREADSHEET, number_text, whole_text

_MIDNIGHT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T00:00:00(?:\.0+)?Z?")
_FRACTION: Final = re.compile(r"\.0+(Z?)$")
_WHOLE: Final = re.compile(r"-?\d{1,40}")
_MOST_SPANNED: Final = 20_000_000


def open_workbook(file: Named, wanted: Wanted) -> Opened:
    """Open the named sheet, or the first visible one that has a header and rows.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unsafe-file``, ``wrong-encoding``, ``unknown-layer``, ``no-such-row``,
        ``empty-file``, ``unpacks-too-large``.
    """
    coding = coding_of(file, wanted.encoding)
    nothing = Invalid("The workbook has no visible sheet with cells.", code="empty-file")
    return open_grid(
        "xml-spreadsheet", coding, lambda sheets: _lines(file, coding, sheets), wanted,
        largest=False, nothing=nothing,
    )  # fmt: skip


def _lines(file: Named, coding: Encoding, sheets: Sheets) -> Iterator[Line]:
    rows = _Rows(-1)
    path: list[Any] = []
    for event, element in events(mended(text_of(file, coding))):
        tag = _local(str(element.tag))
        if event == "start":
            if tag == "Worksheet":
                rows = _Rows(len(sheets.names))
                sheets.names.append(_told(element, "Name") or f"Sheet{rows.table + 1}")
            path.append(element)
            continue
        path.pop()
        if tag == "Row" and path and _local(str(path[-1].tag)) == "Table":
            yield rows.line(element)
            path[-1].remove(element)  # nothing is kept that was told
        elif tag == "Visible" and (element.text or "").startswith("Sheet"):
            sheets.hidden.add(rows.table)


class _Rows:
    """Counts the rows of one sheet, and carries what merged cells take."""

    def __init__(self, table: int) -> None:
        self.table, self.last, self.spanned = table, 0, 0
        self.spans: dict[int, tuple[int, int, str]] = {}
        """Column -> last row taken, row it begins in, text."""

    def line(self, row: Any) -> Line:
        """Return a row with its cells where they stand."""
        number = _number(_told(row, "Index"), self.last + 1)
        if not self.last < number <= MOST_ROWS:
            raise _misplaced(number)
        self.last = number + _number(_told(row, "Span"), 0)
        self.spans = {at: span for at, span in self.spans.items() if span[0] >= number}
        spanned = [(at, begun, text) for at, (_, begun, text) in self.spans.items() if text]
        cells: list[str | None] = []
        at = 0
        for cell in row:
            if _local(str(cell.tag)) != "Cell":
                continue
            while at in self.spans:
                at += 1
            at = _number(_told(cell, "Index"), at + 1) - 1
            if not len(cells) <= at < MOST_COLUMNS:
                raise _misplaced(at + 1)
            text = _text(cell)
            cells += [*[None] * (at - len(cells)), text]
            wide, down = (_number(_told(cell, name), 0) for name in ("MergeAcross", "MergeDown"))
            if at + wide >= MOST_COLUMNS:
                raise too_wide()
            for column in range(at, at + wide + 1) if down else ():
                self.spans[column] = (number + down, number, (text or "") if column == at else "")
            at += wide + 1
        self.spanned += len(spanned)
        if self.spanned > _MOST_SPANNED:
            raise too_wide()
        return Line(self.table, number, cells, spanned)


def _text(cell: Any) -> str | None:
    data = next((child for child in cell if _local(str(child.tag)) == "Data"), None)
    if data is None:
        return NOT_COMPUTED if _told(cell, "Formula") else None
    text = "".join(data.itertext())
    match _told(data, "Type"):
        case "Number":
            return _numeric(text.strip())
        case "DateTime":
            day = _MIDNIGHT.fullmatch(text.strip())
            return day[1] if day else _FRACTION.sub(r"\1", text.strip())
        case "Boolean":
            return {"1": "true", "0": "false"}.get(text.strip(), text)
        case _:
            return text or None


def _numeric(text: str) -> str | None:
    """Return a number: whole ones keep the digits they are written with."""
    if _WHOLE.fullmatch(text):
        return whole_text(int(text))
    try:
        return number_text(float(text), EXACT_SPREADSHEET)
    except ValueError:
        return text or None


def _told(element: Any, name: str) -> str | None:
    """Return an attribute, with or without the namespace that it should have."""
    for key, value in element.items():
        if _local(key) == name:
            return str(value)
    return None


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1]


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.strip().isdecimal() or len(text) > 9:
        raise _misplaced(text)
    return int(text)


def _misplaced(place: object) -> Invalid:
    return Invalid(f"The workbook cannot be read: {place} is no place of a row or cell.", code="damaged-file")
