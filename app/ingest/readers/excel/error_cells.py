"""Cells of a workbook that show an error, or a formula that no program has computed.

calamine returns these cells as blank or as 0, and a blank cell would clear a field. So they are searched in the file
itself and read as the error that a spreadsheet program shows.
"""

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import xlrd
from xlrd.biffh import error_text_from_code
from xlrd.compdoc import CompDoc
from xlsxwriter.utility import xl_cell_to_rowcol

from app.ingest.readers import archive

ErrorCells = dict[int, list[tuple[int, str]]]
"""Row from 0 -> columns from 0 with the error of each cell."""

NOT_COMPUTED: Final = "#CALC!"
"""Value of a formula that has no computed value."""
MAX_CELLS: Final = 100_000
"""Cells that are returned: a sheet with more of them is wrong as a whole."""
_OTHER_ERROR: Final = "#VALUE!"
_BLOCK: Final = 1 << 20

_XLSX_CELL: Final = re.compile(
    rb'<(?:\w+:)?c r="([A-Z]{1,3}\d{1,7})"([^>]*)>(?:<(?:\w+:)?f\b[^>]*?(?:/>|>[^<]*</(?:\w+:)?f>))?'
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v[^>]*>([^<]*)</(?:\w+:)?v>)?</(?:\w+:)?c>"
)
_FORMULA: Final = re.compile(rb"<(?:\w+:)?f\b")
_SHEET: Final = re.compile(r'<(?:\w+:)?sheet\b[^>]*?\bname="([^"]*)"[^>]*?\br:id="([^"]*)"')
_RELATION: Final = re.compile(r"<Relationship\b[^>]*>")
_ATTRIBUTE: Final = re.compile(r'(\w+)="([^"]*)"')
_XLS_ERROR: Final = re.compile(rb"\x05\x02\x08\x00.{7}\x01|\x06\x00.{8}\x02.{5}\xff\xff", re.DOTALL)
"""Records of [MS-XLS] for a cell with an error, and for a formula that has one as its result."""
_ODS_ERROR: Final = b'calcext:value-type="error"'
_ODS_TOKEN: Final = re.compile(
    rb"<table:table(?=[ />])([^>]*)>|<table:table-row\b([^>]*)>|<table:(?:covered-)?table-cell\b([^>]*)>"
)
_ODS_NAME: Final = re.compile(rb'table:name="([^"]*)"')
_ODS_REPEATED: Final = re.compile(rb'table:number-(?:rows|columns)-repeated="(\d{1,7})"')
_ODS_TEXT: Final = re.compile(rb"\s*<text:p\b[^>]*>([^<]{0,40})<")


def find_xlsx_errors(path: Path, sheet: str) -> ErrorCells:
    """Return the cells of an XLSX sheet that have an error, or a formula without a value."""
    sheet_path = find_sheet_path(path, sheet)
    member = next((member for member in archive.list_members(path) if member.name == sheet_path), None)
    cells: ErrorCells = {}
    if member is None:
        return cells
    count, remaining = 0, b""
    with archive.open_member(path, member) as packed:
        while block := packed.read(_BLOCK):
            block = remaining + block
            last = block.rfind(b"<row")
            remaining = block[last:] if last >= 0 and len(block) - last < _BLOCK else b""
            count += add_xlsx_errors(block[: len(block) - len(remaining)], cells)
            if count > MAX_CELLS:
                return cells
    add_xlsx_errors(remaining, cells)
    return cells


def add_xlsx_errors(rows: bytes, cells: ErrorCells) -> int:
    """Add the cells of whole rows of an XLSX sheet that have an error or no value; return their number."""
    if b'"e"' not in rows and b"f>" not in rows:
        return 0
    count = 0
    for cell in _XLSX_CELL.finditer(rows):
        name, attributes, value = cell.groups()
        if b't="e"' in attributes:
            text = (value or b"").decode("ascii", "replace")
        elif b" t=" not in attributes and not value and _FORMULA.search(cell[0]):
            text = NOT_COMPUTED
        else:
            continue
        count += 1
        row, column = xl_cell_to_rowcol(name.decode())
        cells.setdefault(row, []).append((column, text))
    return count


def find_sheet_path(path: Path, sheet: str) -> str:
    """Return the path of the XML of a sheet inside an XLSX workbook, "" if it cannot be determined."""
    members = {member.name: member for member in archive.list_members(path)}
    texts = []
    for name in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
        if name not in members:
            return ""
        with archive.open_member(path, members[name]) as packed:
            texts.append(packed.read().decode("utf-8", "replace"))
    workbook, relations = texts
    key = next((key for name, key in _SHEET.findall(workbook) if html.unescape(name) == sheet), None)
    for relation in _RELATION.findall(relations):
        attributes = dict(_ATTRIBUTE.findall(relation))
        if key is not None and attributes.get("Id") == key:
            target = attributes.get("Target", "").replace("\\", "/")
            return target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)
    return ""


def find_xls_errors(path: Path, sheets: Sequence[str], sheet: str) -> ErrorCells:
    """Return the cells of a sheet of a binary workbook (XLS) that have an error.

    A workbook that xlrd cannot read has none: calamine decides whether a workbook is damaged.
    """
    cells: ErrorCells = {}
    try:
        log = io.StringIO()
        container = CompDoc(path.read_bytes(), logfile=log)
        stream = container.get_named_stream("Workbook") or container.get_named_stream("Book")
        # xlrd parses every cell, which takes several times as long as calamine.
        if stream and not _XLS_ERROR.search(stream):
            return cells
        with xlrd.open_workbook(str(path), logfile=log, on_demand=True, ragged_rows=True) as book:
            if len(book.sheet_names()) != len(sheets):
                return cells
            table = book.sheet_by_index(sheets.index(sheet))
            for row in range(table.nrows):
                for column, kind in enumerate(table.row_types(row)):
                    if kind == xlrd.XL_CELL_ERROR:
                        text = error_text_from_code.get(table.cell_value(row, column), _OTHER_ERROR)
                        cells.setdefault(row, []).append((column, text))
    except Exception:
        return {}
    return cells


def find_ods_errors(path: Path, sheet: str) -> ErrorCells:
    """Return the cells of a sheet of an OpenDocument spreadsheet that have an error."""
    cells: ErrorCells = {}
    member = next((member for member in archive.list_members(path) if member.name == "content.xml"), None)
    if member is None:
        return cells
    with archive.open_member(path, member) as packed:
        text = packed.read()
    if _ODS_ERROR not in text:
        return cells
    row, column, height, is_in_sheet, count = -1, 0, 1, False, 0
    for token in _ODS_TOKEN.finditer(text):
        table, line, cell = token.groups()
        if table is not None:
            name = _ODS_NAME.search(table)
            is_in_sheet = name is not None and html.unescape(name[1].decode("utf-8", "replace")) == sheet
            row, height = -1, 1
        elif line is not None:
            row, height, column = row + height, parse_repetition(line), 0
        elif cell is not None:
            width = parse_repetition(cell)
            if is_in_sheet and _ODS_ERROR in cell and (count := count + width * height) <= MAX_CELLS:
                text_element = _ODS_TEXT.match(text, token.end())
                error = text_element[1].decode("utf-8", "replace") if text_element else _OTHER_ERROR
                error = error if error.startswith("#") else _OTHER_ERROR
                for number in range(row, row + height):
                    cells.setdefault(number, []).extend((index, error) for index in range(column, column + width))
            column += width
    return cells


def parse_repetition(attributes: bytes) -> int:
    """Return how often OpenDocument repeats a row or cell."""
    repeated = _ODS_REPEATED.search(attributes)
    return max(1, int(repeated[1])) if repeated else 1
