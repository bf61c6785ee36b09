"""Excel and OpenDocument spreadsheets: one sheet, its values, dates as ISO text.

Row numbers are those that the spreadsheet program shows, formulas are their last computed values, and a merged cell is
the value of every row it spans. A large XLSX sheet is read in parts (`app.ingest.readers.excel.xlsx`), any other
workbook as a whole, so its unpacked size is limited.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import python_calamine as calamine
from xlsxwriter.utility import xl_cell_to_rowcol

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.archive import Member
from app.ingest.readers.content import OFFICE, FileContent
from app.ingest.readers.excel import error_cells, xlsx
from app.ingest.readers.excel.error_cells import NOT_COMPUTED, ErrorCells
from app.ingest.readers.excel.excel_xml import no_visible_cells
from app.ingest.readers.excel.xlsx import SAMPLE_ROWS
from app.ingest.readers.grid import MERGED_CELLS, build_batch, describe_other_sheets, unknown_sheet
from app.ingest.readers.header_row import Header, find_header
from app.ingest.readers.model import Batch, DetectedFormat, IssueLog, ReadOptions, SourceFile, TableReader
from app.ingest.values.text import clean_cell
from app.ingest.values.typed_text import EXACT_SPREADSHEET, format_sheet_column, format_value
from app.messages import Message

MAX_BYTES: Final = 512 << 20
"""Unpacked bytes of a workbook: about 400,000 rows of 20 columns, as much again in memory."""
MAX_ODS_BYTES: Final = 64 << 20
"""The same for OpenDocument, whose XML is read cell by cell."""
MAX_CELLS: Final = 20_000_000
"""Cells of the rectangle that a sheet takes, blank cells included."""
_BLOCK: Final = 1 << 20
_OVERLAP: Final = 512
_COLUMN: Final = re.compile(rb'r="([A-Z]{2,3})\d')  # as programs write it
_ANY_COLUMN: Final = re.compile(rb"""r\s*=\s*["']([A-Z]{2,3})\d""")  # as XML allows
_UNUSUAL_XML: Final = (b"'", b"\t", b"\n", b"\r", b" =", b"= ")
_ROW: Final = re.compile(rb"""row\b[^>]*?\br\s*=\s*["'](\d+)["']""")
_FILLED_CELL: Final = re.compile(rb"""<(?:\w+:)?c\b[^>]*?\br\s*=\s*["']([A-Z]{1,3}\d+)["'][^>]*(?<!/)>""")
_ODS_TOKEN: Final = re.compile(
    rb"<table:table-row\b[^>]*?(?:number-rows-repeated=\"(\d+)\"[^>]*)?(?:/>|>)"
    rb"|<table:(?:covered-)?table-cell\b([^>]*)>|</table:table-row>|<table:table\b"
)
_ODS_REPEATED: Final = re.compile(rb'number-columns-repeated="(\d+)"')
_UNCOMPUTED_NOTE: Final = Message(
    "Formulas have no computed values and are read as {text}. Open the workbook in a spreadsheet program and save it.",
    text=NOT_COMPUTED,
)
_DAYS_FROM_1904: Final = Message(
    "The workbook counts days from 1904. A day that is formatted as a plain number is read as counted from 1900, four "
    "years and a day too early. Format such columns as dates."
)
_Merged = list[tuple[tuple[int, int], tuple[int, int]]]


def is_xlsx(content: FileContent) -> bool:
    """Return whether a file is an XLSX workbook."""
    return "xl/workbook.xml" in content.member_names


def is_ods(content: FileContent) -> bool:
    """Return whether a file is an OpenDocument spreadsheet."""
    if not {"mimetype", "content.xml"} <= content.member_names:
        return False
    member = next(member for member in content.members if member.name == "mimetype")
    return b"spreadsheet" in archive.read_member_head(content.file.path, member, 200)


def is_xls(content: FileContent) -> bool:
    """Return whether a file is a binary workbook; all old Office documents share one container."""
    if not content.head.startswith(OFFICE):
        return False
    try:
        with _catch_reader_errors():
            calamine.CalamineWorkbook.from_path(content.file.path).close()
    except Invalid as error:
        return error.code == "encrypted-file"
    return True


def check_size(path: Path, kind: str) -> None:
    """Raise Invalid if a workbook would not fit into memory.

    calamine holds a sheet as a full rectangle, so one stray value in the last column or row of the sheet makes
    billions of cells out of two. The error names the cell of the stray value.
    """
    if not zipfile.is_zipfile(path):
        return  # the old binary format: 65,536 rows of 256 columns at most
    members = archive.list_members(path)
    archive.check_unpacked_size(sum(member.size for member in members), MAX_ODS_BYTES if kind == "ods" else MAX_BYTES)
    for member in members:
        if kind == "ods" and member.name == "content.xml":
            check_ods_content(path, member)
        elif member.name.lower().startswith("xl/worksheets/") and member.suffix == "xml":
            check_xlsx_sheet(path, member)


def check_xlsx_sheet(path: Path, member: Member) -> None:
    """Raise Invalid if a sheet takes too many cells."""
    rows, columns = 1, 26
    for block in iter_member_blocks(path, member):
        rows = max(rows, max(map(int, _ROW.findall(block)), default=1))
        column = _ANY_COLUMN if any(sign in block for sign in _UNUSUAL_XML) else _COLUMN
        columns = max(columns, max(map(xlsx.parse_column, set(column.findall(block))), default=1))
    if rows * columns <= MAX_CELLS:
        return
    # Formatted blank cells may reach far; only cells with a value count.
    rows = columns = 1
    farthest = b"A1"
    for block in iter_member_blocks(path, member):
        for name in _FILLED_CELL.findall(block):
            row, filled_column = xl_cell_to_rowcol(name.decode())
            if row >= rows or filled_column >= columns:
                rows, columns = max(rows, row + 1), max(columns, filled_column + 1)
                farthest = name
    if rows * columns > MAX_CELLS:
        raise _sheet_too_large(rows, columns, farthest.decode())


def check_ods_content(path: Path, member: Member) -> None:
    """Raise Invalid if repeated rows and cells with values make too many cells."""
    rows = columns = column = filled_columns = 0
    height = 1
    text = b"".join(iter_member_blocks(path, member, overlap=False))
    for match in _ODS_TOKEN.finditer(text):
        token = match[0]
        if token.startswith(b"<table:table-row"):
            height, column, filled_columns = int(match[1] or 1), 0, 0
        elif token == b"</table:table-row>":
            rows += height
            columns = max(columns, filled_columns)
            if filled_columns and rows * columns > MAX_CELLS:
                raise _sheet_too_large(rows, columns, f"row {rows}")
        elif token.startswith(b"<table:table"):
            attributes = match[2]
            if attributes is None:
                rows = columns = 0
                continue
            repeated = _ODS_REPEATED.search(attributes)
            column += int(repeated[1]) if repeated else 1
            if b"office:value-type" in attributes or b"calcext:value-type" in attributes:
                filled_columns = column


def iter_member_blocks(path: Path, member: Member, *, overlap: bool = True) -> Iterator[bytes]:
    """Yield a file of an archive in blocks that overlap, so that no cell is cut in all of them."""
    with archive.open_member(path, member) as packed:
        tail = b""
        while block := packed.read(_BLOCK):
            yield tail + block
            tail = block[-_OVERLAP:] if overlap else b""


def _sheet_too_large(rows: int, columns: int, cell: str) -> Invalid:
    message = Message(
        "A sheet has {rows:,} rows and {columns:,} columns (a value at {cell}): more than {most:,} cells. "
        "Delete stray values far from the table, or save it as CSV.",
        rows=rows,
        columns=columns,
        cell=cell,
        most=MAX_CELLS,
    )
    return Invalid(message, code="unpacks-too-large")


def open_spreadsheet(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open the named sheet, or the first visible one that has a header and rows.

    Raises
    ------
    Invalid
        ``encrypted-file``, ``damaged-file``, ``unknown-layer``, ``no-such-row``, ``unpacks-too-large``.
    """
    if options.format == "xlsx" and (parts := xlsx.split_workbook(file)) is not None:
        reader = open_in_parts(file, parts, options)
        if reader is not None:
            return reader
    return open_in_memory(file, options)


def open_in_memory(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open a workbook whose sheet is held in memory."""
    check_size(file.path, options.format or "")
    with _catch_reader_errors():
        book = calamine.CalamineWorkbook.from_path(file.path)
        visible, sheet, notes = choose_sheet(book, options.layer_name)
        header = find_header(read_first_rows(sheet), options.header_row)
    top, left = sheet.start or (0, 0)
    merged = find_row_spans(sheet.merged_cell_ranges or [], left, header)
    errors = find_errors(file.path, book.sheet_names, sheet.name)
    notes += (*header.notes, *((MERGED_CELLS,) if merged else ()), *describe_day_count(file.path))
    if has_uncomputed(errors):
        notes += (_UNCOMPUTED_NOTE,)
    detected = DetectedFormat(
        format=options.format or "",
        header_row=header.row,
        layer=sheet.name,
        layers=visible,
        rows=max(0, top + sheet.height - (header.row or 0)),
        notes=notes,
    )

    def read_batches(rows: int) -> Iterator[Batch]:
        return iter_row_batches(enumerate(sheet.iter_rows()), left, header, merged, errors, rows)

    reader = TableReader(detected, tuple(header.names[index] for index in header.columns), read_batches)
    reader.resources.callback(book.close)
    return reader


def open_in_parts(file: SourceFile, parts: xlsx.SplitWorkbook, options: ReadOptions) -> TableReader | None:
    """Open a workbook whose sheet is read in parts; None if its XML cannot be found."""
    with _catch_reader_errors():
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(parts.build_sample()))
        visible, sheet, notes = choose_sheet(book, options.layer_name)
        header = find_header(read_first_rows(sheet), options.header_row)
        name, left = sheet.name, sheet.start[1] if sheet.start else 0
        book.close()
    path = error_cells.find_sheet_path(file.path, name)
    if path not in parts.sheets:
        parts.close()
        return None
    scanned = parts.sheets[path]
    merged = find_row_spans(scanned.merged, left, header)
    notes += (*header.notes, *((MERGED_CELLS,) if merged else ()), *describe_day_count(file.path))
    detected = DetectedFormat(
        format="xlsx",
        header_row=header.row,
        layer=name,
        layers=visible,
        rows=max(0, scanned.last_row - (header.row or 0)),
        notes=notes,
    )
    issue_log = IssueLog()
    errors: ErrorCells = {}
    width = max(header.columns, default=0) + 1

    def iter_cells() -> Iterator[tuple[int, list[Any]]]:
        next_row = 0
        for rows, packed in parts.iter_parts(path):
            errors.clear()
            error_cells.add_xlsx_errors(rows, errors)
            if has_uncomputed(errors):
                issue_log.add_note(_UNCOMPUTED_NOTE)
            start, cells = read_part(packed, name)
            if merged and cells:  # merged cells fill rows that have no cells of their own
                yield from ((row, [""] * width) for row in range(next_row, start[0]))
                next_row = start[0] + len(cells)
            yield from iter_aligned_rows(start, cells, left, width)

    def read_batches(rows: int) -> Iterator[Batch]:
        return iter_row_batches(iter_cells(), left, header, merged, errors, rows)

    names = tuple(header.names[index] for index in header.columns)
    reader = TableReader(detected, names, read_batches, issue_log)
    reader.resources.callback(parts.close)
    return reader


def read_part(packed: bytes, name: str) -> tuple[tuple[int, int], list[list[Any]]]:
    """Return the row and column of the first cell of a part, and its rows."""
    with _catch_reader_errors():
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(packed))
        sheet = book.get_sheet_by_name(name)
        rows = sheet.to_python() if sheet.start else []
        book.close()
    return sheet.start or (0, 0), rows


def iter_aligned_rows(
    start: tuple[int, int], rows: list[list[Any]], left: int, width: int
) -> Iterator[tuple[int, list[Any]]]:
    """Yield rows with their numbers from 0, all beginning in column `left` and of one width."""
    before = max(0, start[1] - left)
    skipped = max(0, left - start[1])
    blanks, max_cells = [""] * min(before, width), max(0, width - before)
    if not before and not skipped and rows and len(rows[0]) == width:
        yield from enumerate(rows, start[0])
        return
    for number, row in enumerate(rows, start[0]):
        cells = row[skipped : skipped + max_cells]
        yield number, [*blanks, *cells, *[""] * (width - len(blanks) - len(cells))]


def has_uncomputed(errors: ErrorCells) -> bool:
    """Return whether any cell is a formula without a value."""
    return any(text == NOT_COMPUTED for cells in errors.values() for _, text in cells)


def describe_day_count(path: Path) -> tuple[Message, ...]:
    """Return a note if a workbook counts its days from 1904."""
    return (_DAYS_FROM_1904,) if zipfile.is_zipfile(path) and xlsx.has_1904_dates(path) else ()


def find_errors(path: Path, sheets: Sequence[str], name: str) -> ErrorCells:
    """Return the cells of a sheet that calamine does not read as the program shows them."""
    if not zipfile.is_zipfile(path):
        return error_cells.find_xls_errors(path, sheets, name)
    return error_cells.find_xlsx_errors(path, name) or error_cells.find_ods_errors(path, name)


def choose_sheet(
    book: calamine.CalamineWorkbook, stated: str | None
) -> tuple[tuple[str, ...], calamine.CalamineSheet, tuple[str, ...]]:
    """Return the names of the visible sheets, the sheet to read, and notes."""
    visible = tuple(
        sheet.name
        for sheet in book.sheets_metadata
        if sheet.typ == calamine.SheetTypeEnum.WorkSheet and sheet.visible == calamine.SheetVisibleEnum.Visible
    )
    if stated is not None:
        if stated not in book.sheet_names:
            raise unknown_sheet(stated, book.sheet_names)
        return visible, book.get_sheet_by_name(stated), ()
    if not visible:
        raise no_visible_cells()
    is_blank = True
    for name in visible:
        sheet = book.get_sheet_by_name(name)
        rows = read_first_rows(sheet)
        is_blank &= not any(map(any, rows))
        header = find_header(rows)
        if header.row is not None and len(header.columns) > 1 and any(map(any, rows[header.row :])):
            others = [sheet_name for sheet_name in visible if sheet_name != name]
            return visible, sheet, (describe_other_sheets(name, others),) if others else ()
    if is_blank:
        raise no_visible_cells()
    return visible, book.get_sheet_by_name(visible[0]), ()


def read_first_rows(sheet: calamine.CalamineSheet) -> list[list[str | None]]:
    """Return the first rows of a sheet as cleaned text."""
    rows = []
    for row in sheet.iter_rows():
        rows.append([clean_cell(format_value(cell, EXACT_SPREADSHEET)) for cell in row])
        if len(rows) == SAMPLE_ROWS:
            break
    return rows


def find_row_spans(ranges: Sequence[xlsx.Range], first_column: int, header: Header) -> _Merged:
    """Return merged ranges below the header that span rows, by physical column."""
    return [
        ((top, left - first_column), (bottom, right - first_column))
        for (top, left), (bottom, right) in ranges
        if top >= (header.row or 0) and bottom > top and left >= first_column
    ]


def iter_row_batches(
    numbered_rows: Iterable[tuple[int, list[Any]]],
    first_column: int,
    header: Header,
    merged: _Merged,
    errors: ErrorCells,
    size: int,
) -> Iterator[Batch]:
    """Yield the rows below the header, `size` at a time, with merged cells filled and errors shown."""
    span_ends = {(top, left): bottom for (top, left), (bottom, _) in merged}
    open_spans: dict[int, tuple[int, object]] = {}
    numbers: list[int] = []
    pending: list[list[Any]] = []
    for number, row in numbered_rows:
        if number < (header.row or 0):
            continue
        if span_ends:
            fill_merged_cells(row, number, span_ends, open_spans)
        if not any(row) and all(cell == "" for cell in row):
            continue
        for column, text in errors.get(number, ()) if errors else ():
            if first_column <= column < first_column + len(row):
                row[column - first_column] = text
        numbers.append(number + 1)
        pending.append(row)
        if len(numbers) == size:
            yield _build_cell_batch(numbers, pending, header)
            numbers, pending = [], []
    if numbers:
        yield _build_cell_batch(numbers, pending, header)


def _build_cell_batch(numbers: list[int], rows: list[list[Any]], header: Header) -> Batch:
    columns = list(zip(*rows, strict=True))  # a sheet is a rectangle
    blank = ("",) * len(rows)
    cells = [format_sheet_column(columns[index] if index < len(columns) else blank) for index in header.columns]
    return build_batch(numbers, cells, header)


def fill_merged_cells(
    row: list[Any],  # changed in place
    number: int,
    span_ends: dict[tuple[int, int], int],
    open_spans: dict[int, tuple[int, object]],
) -> None:
    """Write the value of merged cells above into a row, and remember the merged cells that begin in it."""
    for left in [left for left, (bottom, _) in open_spans.items() if bottom < number]:
        del open_spans[left]
    for left, (_, value) in open_spans.items():
        if left < len(row) and row[left] == "":
            row[left] = value
    for left, value in enumerate(row):
        bottom = span_ends.get((number, left))
        if bottom is not None:
            open_spans[left] = (bottom, value)


@contextmanager
def _catch_reader_errors() -> Iterator[None]:
    try:
        yield
    except calamine.PasswordError:
        message = Message("The workbook is protected with a password. Save it without a password.")
        raise Invalid(message, code="encrypted-file") from None
    except (calamine.CalamineError, OSError, ValueError) as error:
        message = Message("The workbook cannot be read: {reason}. Save it again.", reason=str(error))
        raise Invalid(message, code="damaged-file") from None
    except BaseException as error:
        # A panic of the Rust library is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise Invalid(Message("The workbook is damaged. Save it again."), code="damaged-file") from None
