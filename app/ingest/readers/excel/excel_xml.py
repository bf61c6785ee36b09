"""Workbooks in the XML of Excel 2003 (SpreadsheetML), which many systems export as ``.xls``.

Row numbers are those that the spreadsheet program shows, with gaps and merged cells. Dates are ISO text, codes of any
length keep their digits, and failed formulas are the error that they show.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from app.errors import Invalid
from app.ingest.readers.content import FileContent
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.excel.error_cells import NOT_COMPUTED
from app.ingest.readers.grid import MAX_COLUMNS, MAX_ROWS, GridRow, TableNames, build_size_error, open_grid
from app.ingest.readers.model import ReadOptions, SourceFile, TableReader
from app.ingest.readers.xml_text import detect_xml_encoding, get_local_name, iter_events, iter_safe_text, repair_text
from app.ingest.values.typed_text import EXACT_SPREADSHEET, format_double, format_integer
from app.messages import Message

_WORKBOOK: Final = re.compile(r"\s*<(?:\w+:)?Workbook\b")
_MIDNIGHT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T00:00:00(?:\.0+)?Z?")
_ZERO_FRACTION: Final = re.compile(r"\.0+(Z?)$")
_INTEGER: Final = re.compile(r"-?\d{1,40}")
_MAX_SPANNED: Final = 20_000_000


def is_excel_xml(content: FileContent) -> bool:
    """Return whether a file is a workbook in the XML of Excel 2003."""
    return content.is_markup and _WORKBOOK.match(content.start, content.root_offset) is not None


def open_excel_xml(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open the named sheet, or the first visible one that has a header and rows.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unsafe-file``, ``wrong-encoding``, ``unknown-layer``, ``no-such-row``, ``empty-file``,
        ``unpacks-too-large``.
    """
    encoding = detect_xml_encoding(file, options.encoding)
    return open_grid(
        encoding,
        lambda names: iter_workbook_rows(file, encoding, names),
        options,
        largest=False,
        no_table=no_visible_cells(),
    )


def no_visible_cells() -> Invalid:
    """Return the error of a workbook without visible cells."""
    message = Message("The workbook has no visible sheet with cells. Fill a sheet, or unhide it.")
    return Invalid(message, code="empty-file")


def iter_workbook_rows(file: SourceFile, encoding: Encoding, names: TableNames) -> Iterator[GridRow]:
    """Yield the rows of all sheets."""
    sheet = _SheetRows(-1)
    path: list[Any] = []
    for event, element in iter_events(repair_text(iter_safe_text(file, encoding))):
        tag = get_local_name(element)
        if event == "start":
            if tag == "Worksheet":
                sheet = _SheetRows(len(names.names))
                names.names.append(get_attribute(element, "Name") or f"Sheet{sheet.table + 1}")
            path.append(element)
            continue
        path.pop()
        if tag == "Row" and path and get_local_name(path[-1]) == "Table":
            yield sheet.build_row(element)
            path[-1].remove(element)  # the tree must not grow with the rows
        elif tag == "Visible" and (element.text or "").startswith("Sheet"):
            names.hidden.add(sheet.table)


class _SheetRows:
    """Counts the rows of one sheet, and knows the cells that merged cells cover."""

    def __init__(self, table: int) -> None:
        self.table, self.last_row, self.spanned = table, 0, 0
        self.spans: dict[int, tuple[int, int, str]] = {}
        """Column -> last covered row, row in which the merged cell begins, its text."""

    def build_row(self, row: Any) -> GridRow:
        number = parse_index(get_attribute(row, "Index"), self.last_row + 1)
        if not self.last_row < number <= MAX_ROWS:
            raise _bad_index(number)
        self.last_row = number + parse_index(get_attribute(row, "Span"), 0)
        self.spans = {column: span for column, span in self.spans.items() if span[0] >= number}
        spanned = [(column, first_row, text) for column, (_, first_row, text) in self.spans.items() if text]
        cells: list[str | None] = []
        column = 0
        for cell in row:
            if get_local_name(cell) != "Cell":
                continue
            while column in self.spans:
                column += 1
            column = parse_index(get_attribute(cell, "Index"), column + 1) - 1
            if not len(cells) <= column < MAX_COLUMNS:
                raise _bad_index(column + 1)
            text = parse_cell(cell)
            cells += [*[None] * (column - len(cells)), text]
            width, height = (parse_index(get_attribute(cell, name), 0) for name in ("MergeAcross", "MergeDown"))
            if column + width >= MAX_COLUMNS:
                raise build_size_error()
            for index in range(column, column + width + 1) if height else ():
                self.spans[index] = (number + height, number, (text or "") if index == column else "")
            column += width + 1
        self.spanned += len(spanned)
        if self.spanned > _MAX_SPANNED:
            raise build_size_error()
        return GridRow(self.table, number, cells, spanned)


def parse_cell(cell: Any) -> str | None:
    """Return the text of a cell by its type."""
    data = next((child for child in cell if get_local_name(child) == "Data"), None)
    if data is None:
        return NOT_COMPUTED if get_attribute(cell, "Formula") else None
    text = "".join(data.itertext())
    match get_attribute(data, "Type"):
        case "Number":
            return format_number(text.strip())
        case "DateTime":
            midnight = _MIDNIGHT.fullmatch(text.strip())
            return midnight[1] if midnight else _ZERO_FRACTION.sub(r"\1", text.strip())
        case "Boolean":
            return {"1": "true", "0": "false"}.get(text.strip(), text)
        case _:
            return text or None


def format_number(text: str) -> str | None:
    """Return a number; integers keep the digits of the file."""
    if _INTEGER.fullmatch(text):
        return format_integer(int(text))
    try:
        return format_double(float(text), EXACT_SPREADSHEET)
    except ValueError:
        return text or None


def get_attribute(element: Any, name: str) -> str | None:
    """Return an attribute, with or without the namespace that it should have."""
    for key, value in element.items():
        if key.rsplit("}", 1)[-1] == name:
            return str(value)
    return None


def parse_index(text: str | None, default: int) -> int:
    """Return the number of an attribute; raise Invalid if it is not a number of at most nine digits."""
    if text is None:
        return default
    if not text.strip().isdecimal() or len(text) > 9:
        raise _bad_index(text)
    return int(text)


def _bad_index(index: object) -> Invalid:
    message = Message("The workbook cannot be read: {index} is not a row or column. Save it as XLSX.", index=str(index))
    return Invalid(message, code="damaged-file")
