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
from app.ingest.readers.grid import MOST_COLUMNS, MOST_ROWS, GridRow, TableNames, build_size_error, open_grid
from app.ingest.readers.model import ReadOptions, SourceFile, TableReader
from app.ingest.readers.xml_text import detect_xml_encoding, iter_events, iter_safe_text, repair_text
from app.ingest.values.typed_text import EXACT_SPREADSHEET, format_double, format_integer

_MIDNIGHT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T00:00:00(?:\.0+)?Z?")
_FRACTION: Final = re.compile(r"\.0+(Z?)$")
_WHOLE: Final = re.compile(r"-?\d{1,40}")
_MOST_SPANNED: Final = 20_000_000


def open_excel_xml(file: SourceFile, wanted: ReadOptions) -> TableReader:
    """Open the named sheet, or the first visible one that has a header and rows.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unsafe-file``, ``wrong-encoding``, ``unknown-layer``, ``no-such-row``,
        ``empty-file``, ``unpacks-too-large``.
    """
    coding = detect_xml_encoding(file, wanted.encoding)
    nothing = Invalid("The workbook has no visible sheet with cells.", code="empty-file")
    return open_grid(
        "xml-spreadsheet", coding, lambda sheets: iter_workbook_rows(file, coding, sheets), wanted,
        largest=False, nothing=nothing,
    )  # fmt: skip


def iter_workbook_rows(file: SourceFile, coding: Encoding, sheets: TableNames) -> Iterator[GridRow]:
    rows = _SheetRows(-1)
    path: list[Any] = []
    for event, element in iter_events(repair_text(iter_safe_text(file, coding))):
        tag = local_name(str(element.tag))
        if event == "start":
            if tag == "Worksheet":
                rows = _SheetRows(len(sheets.names))
                sheets.names.append(get_attribute(element, "Name") or f"Sheet{rows.table + 1}")
            path.append(element)
            continue
        path.pop()
        if tag == "Row" and path and local_name(str(path[-1].tag)) == "Table":
            yield rows.build_row(element)
            path[-1].remove(element)  # nothing is kept that was told
        elif tag == "Visible" and (element.text or "").startswith("Sheet"):
            sheets.hidden.add(rows.table)


class _SheetRows:
    """Counts the rows of one sheet, and carries what merged cells take."""

    def __init__(self, table: int) -> None:
        self.table, self.last_row, self.spanned = table, 0, 0
        self.spans: dict[int, tuple[int, int, str]] = {}
        """Column -> last row taken, row it begins in, text."""

    def build_row(self, row: Any) -> GridRow:
        """Return a row with its cells where they stand."""
        number = parse_index(get_attribute(row, "Index"), self.last_row + 1)
        if not self.last_row < number <= MOST_ROWS:
            raise _bad_index(number)
        self.last_row = number + parse_index(get_attribute(row, "Span"), 0)
        self.spans = {at: span for at, span in self.spans.items() if span[0] >= number}
        spanned = [(at, begun, text) for at, (_, begun, text) in self.spans.items() if text]
        cells: list[str | None] = []
        at = 0
        for cell in row:
            if local_name(str(cell.tag)) != "Cell":
                continue
            while at in self.spans:
                at += 1
            at = parse_index(get_attribute(cell, "Index"), at + 1) - 1
            if not len(cells) <= at < MOST_COLUMNS:
                raise _bad_index(at + 1)
            text = parse_cell(cell)
            cells += [*[None] * (at - len(cells)), text]
            wide, down = (parse_index(get_attribute(cell, name), 0) for name in ("MergeAcross", "MergeDown"))
            if at + wide >= MOST_COLUMNS:
                raise build_size_error()
            for column in range(at, at + wide + 1) if down else ():
                self.spans[column] = (number + down, number, (text or "") if column == at else "")
            at += wide + 1
        self.spanned += len(spanned)
        if self.spanned > _MOST_SPANNED:
            raise build_size_error()
        return GridRow(self.table, number, cells, spanned)


def parse_cell(cell: Any) -> str | None:
    data = next((child for child in cell if local_name(str(child.tag)) == "Data"), None)
    if data is None:
        return NOT_COMPUTED if get_attribute(cell, "Formula") else None
    text = "".join(data.itertext())
    match get_attribute(data, "Type"):
        case "Number":
            return format_number(text.strip())
        case "DateTime":
            day = _MIDNIGHT.fullmatch(text.strip())
            return day[1] if day else _FRACTION.sub(r"\1", text.strip())
        case "Boolean":
            return {"1": "true", "0": "false"}.get(text.strip(), text)
        case _:
            return text or None


def format_number(text: str) -> str | None:
    """Return a number: whole ones keep the digits they are written with."""
    if _WHOLE.fullmatch(text):
        return format_integer(int(text))
    try:
        return format_double(float(text), EXACT_SPREADSHEET)
    except ValueError:
        return text or None


def get_attribute(element: Any, name: str) -> str | None:
    """Return an attribute, with or without the namespace that it should have."""
    for key, value in element.items():
        if local_name(key) == name:
            return str(value)
    return None


def local_name(name: str) -> str:
    return name.rsplit("}", 1)[-1]


def parse_index(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.strip().isdecimal() or len(text) > 9:
        raise _bad_index(text)
    return int(text)


def _bad_index(place: object) -> Invalid:
    return Invalid(f"The workbook cannot be read: {place} is no place of a row or cell.", code="damaged-file")
