"""Excel and OpenDocument spreadsheets: one sheet, its values, dates as ISO text.

Promises the row numbers that the spreadsheet programme shows, formulas as their last computed
values, and merged cells as values of all rows they span. A large XLSX sheet is read some rows at a
time (`app.ingest.readers.excel.xlsx`), any other workbook as a whole, so its unpacked size is limited.
"""

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import python_calamine as calamine

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.archive import Member
from app.ingest.readers.excel import error_cells, xlsx
from app.ingest.readers.excel.xlsx import SAMPLE_ROWS
from app.ingest.readers.grid import build_batch
from app.ingest.readers.header_row import Header, find_header
from app.ingest.readers.model import Batch, DetectedFormat, IssueLog, ReadOptions, SourceFile, TableReader
from app.ingest.values.text import clean_cell
from app.ingest.values.typed_text import EXACT_SPREADSHEET, format_sheet_column, format_value

# How much memory a workbook would take, from its XML, before it is loaded.
#
# A sheet is held as a full rectangle, so one stray value in the last column or row of the sheet
# makes billions of cells out of two. Such files are refused with the place of the stray value.

LARGEST: Final = 512 << 20
"""Unpacked bytes of a workbook: about 400,000 rows of 20 columns, as much again in memory."""
LARGEST_ODS: Final = 64 << 20
"""The same for OpenDocument, whose XML has to be gone through cell by cell."""
MOST_CELLS: Final = 20_000_000
"""Cells of the rectangle that a sheet takes, blank ones included."""
_BLOCK: Final = 1 << 20
_CUT: Final = 512
_COLUMN: Final = re.compile(rb'r="([A-Z]{2,3})\d')  # as programs write it
_ANY_COLUMN: Final = re.compile(rb"""r\s*=\s*["']([A-Z]{2,3})\d""")  # as XML allows
_UNUSUAL: Final = (b"'", b"\t", b"\n", b"\r", b" =", b"= ")
_ROW: Final = re.compile(rb"""row\b[^>]*?\br\s*=\s*["'](\d+)["']""")
_FILLED: Final = re.compile(rb"""<(?:\w+:)?c\b[^>]*?\br\s*=\s*["']([A-Z]{1,3})(\d+)["'][^>]*(?<!/)>""")
_ODS_ROW: Final = re.compile(
    rb"<table:table-row\b[^>]*?(?:number-rows-repeated=\"(\d+)\"[^>]*)?(?:/>|>)"
    rb"|<table:(?:covered-)?table-cell\b([^>]*)>|</table:table-row>|<table:table\b"
)
_REPEATED: Final = re.compile(rb'number-columns-repeated="(\d+)"')


def check_size(path: Path, kind: str) -> None:
    """Refuse a workbook that would not fit.

    Raises
    ------
    Invalid
        ``unpacks-too-large``; and as `app.ingest.readers.archive.list_members`.
    """
    if not zipfile.is_zipfile(path):
        return  # the old binary format: 65,536 rows of 256 columns at most
    held = archive.list_members(path)
    archive.check_unpacked_size(sum(member.size for member in held), LARGEST_ODS if kind == "ods" else LARGEST)
    for member in held:
        if kind == "ods" and member.name == "content.xml":
            check_ods_content(path, member)
        elif member.name.lower().startswith("xl/worksheets/") and member.suffix == "xml":
            check_xlsx_sheet(path, member)


def check_xlsx_sheet(path: Path, member: Member) -> None:
    rows, columns = 1, 26
    for block in iter_member_blocks(path, member):
        rows = max(rows, max(map(int, _ROW.findall(block)), default=1))
        column = _ANY_COLUMN if any(sign in block for sign in _UNUSUAL) else _COLUMN
        columns = max(columns, max(map(_number, set(column.findall(block))), default=1))
    if rows * columns <= MOST_CELLS:
        return
    # Formatted blank cells may reach far; only those with a value count.
    rows = columns = 1
    far = b"A1"
    for block in iter_member_blocks(path, member):
        for letters, row in _FILLED.findall(block):
            if int(row) > rows or _number(letters) > columns:
                rows, columns = max(rows, int(row)), max(columns, _number(letters))
                far = letters + row
    if rows * columns > MOST_CELLS:
        raise _sheet_too_large(rows, columns, far.decode())


def check_ods_content(path: Path, member: Member) -> None:
    """Count repeated rows and cells that hold something."""
    rows = columns = here = wide = 0
    times = 1
    text = b"".join(iter_member_blocks(path, member, overlap=False))
    for found in _ODS_ROW.finditer(text):
        token = found[0]
        if token.startswith(b"<table:table-row"):
            times, here, wide = int(found[1] or 1), 0, 0
        elif token == b"</table:table-row>":
            rows += times
            columns = max(columns, wide)
            if wide and rows * columns > MOST_CELLS:
                raise _sheet_too_large(rows, columns, f"row {rows}")
        elif token.startswith(b"<table:table"):
            attributes = found[2]
            if attributes is None:
                rows = columns = 0
                continue
            repeated = _REPEATED.search(attributes)
            here += int(repeated[1]) if repeated else 1
            if b"office:value-type" in attributes or b"calcext:value-type" in attributes:
                wide = here


def iter_member_blocks(path: Path, member: Member, *, overlap: bool = True) -> Iterator[bytes]:
    with archive.open_member(path, member) as packed:
        end = b""
        while block := packed.read(_BLOCK):
            yield end + block
            end = block[-_CUT:] if overlap else b""


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _sheet_too_large(rows: int, columns: int, place: str) -> Invalid:
    return Invalid(
        f"A sheet reaches to {rows:,} rows and {columns:,} columns (a value at {place}): more than "
        f"{MOST_CELLS:,} cells. Remove stray values far from the table, or save it as CSV.",
        code="unpacks-too-large",
    )


_MERGED: Final = "Merged cells are read as the same value in every row they span."
_UNCOMPUTED: Final = (
    f"Formulas have no computed values and are read as {xlsx.NOT_COMPUTED}; open the "
    "workbook in a spreadsheet programme and save it."
)
_EARLY: Final = (
    "The workbook counts days from 1904; a day that is formatted as a plain number is read as "
    "counted from 1900, four years and a day early. Format such columns as dates."
)
_Merged = list[tuple[tuple[int, int], tuple[int, int]]]


def open_spreadsheet(file: SourceFile, kind: str, wanted: ReadOptions, folder: Callable[[], Path]) -> TableReader:
    """Open the named sheet, or the first visible one that has a header and rows.

    Raises
    ------
    Invalid
        ``encrypted-file``, ``damaged-file``, ``unknown-layer``, ``no-such-row``,
        ``unpacks-too-large``.
    """
    parts = xlsx.split_workbook(file.path, folder) if kind == "xlsx" else None
    opened = open_in_parts(file, parts, wanted) if parts is not None else None
    return opened or open_in_memory(file, kind, wanted)


def open_in_memory(file: SourceFile, kind: str, wanted: ReadOptions) -> TableReader:
    """Open a workbook whose sheet is held in memory."""
    check_size(file.path, kind)
    with _catch_reader_errors():
        book = calamine.CalamineWorkbook.from_path(file.path)
        visible, sheet, notes = choose_sheet(book, wanted.sheet or wanted.layer)
        header = find_header(read_first_rows(sheet), wanted.header_row)
    top, shift = sheet.start or (0, 0)
    merged = find_row_spans(sheet.merged_cell_ranges or [], shift, header)
    spots = find_cells_without_value(file.path, book.sheet_names, sheet.name)
    notes += (*header.notes, *((_MERGED,) if merged else ()), *describe_day_count(file.path))
    if has_uncomputed(spots):
        notes += (_UNCOMPUTED,)
    detected = DetectedFormat(
        format=kind,
        header_row=header.row,
        layer=sheet.name,
        layers=visible,
        rows=max(0, top + sheet.height - (header.row or 0)),
        notes=notes,
    )

    def read(rows: int) -> Iterator[Batch]:
        return iter_row_batches(enumerate(sheet.iter_rows()), shift, header, merged, spots, rows)

    opened = TableReader(detected, tuple(header.names[at] for at in header.columns), read)
    opened.resources.callback(book.close)
    return opened


def open_in_parts(file: SourceFile, parts: xlsx.SplitWorkbook, wanted: ReadOptions) -> TableReader | None:
    """Open a workbook whose sheet is read some rows at a time."""
    with _catch_reader_errors():
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(parts.build_sample()))
        visible, sheet, notes = choose_sheet(book, wanted.sheet or wanted.layer)
        header = find_header(read_first_rows(sheet), wanted.header_row)
        name, shift = sheet.name, sheet.start[1] if sheet.start else 0
        book.close()
    path = xlsx.find_sheet_path(file.path, name)
    if path not in parts.sheets:
        parts.close()
        return None
    scanned = parts.sheets[path]
    merged = find_row_spans(scanned.merged, shift, header)
    notes += (*header.notes, *((_MERGED,) if merged else ()), *describe_day_count(file.path))
    detected = DetectedFormat(
        format="xlsx",
        header_row=header.row,
        layer=name,
        layers=visible,
        rows=max(0, scanned.last_row - (header.row or 0)),
        notes=notes,
    )
    tally = IssueLog()
    width = max(header.columns, default=0) + 1

    def cells() -> Iterator[tuple[int, list[Any]]]:
        after = 0
        for rows, packed in parts.iter_parts(path):
            spots.clear()
            xlsx.add_cells_without_value(rows, spots)
            if has_uncomputed(spots):
                tally.add_note(_UNCOMPUTED)
            start, held = read_part(packed, name)
            if merged and held:  # merged cells fill rows that have no cells of their own
                yield from ((at, [""] * width) for at in range(after, start[0]))
                after = start[0] + len(held)
            yield from iter_aligned_rows(start, held, shift, width)

    def read(rows: int) -> Iterator[Batch]:
        return iter_row_batches(cells(), shift, header, merged, spots, rows)

    spots: xlsx.ErrorCells = {}
    opened = TableReader(detected, tuple(header.names[at] for at in header.columns), read, tally)
    opened.resources.callback(parts.close)
    return opened


def read_part(packed: bytes, name: str) -> tuple[tuple[int, int], list[list[Any]]]:
    """Return the rows of a part, and the place of its first cell with a value."""
    with _catch_reader_errors():
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(packed))
        sheet = book.get_sheet_by_name(name)
        rows = sheet.to_python() if sheet.start else []
        book.close()
    return sheet.start or (0, 0), rows


def iter_aligned_rows(
    start: tuple[int, int], rows: list[list[Any]], shift: int, width: int
) -> Iterator[tuple[int, list[Any]]]:
    """Yield rows with their places from 0, each beginning in one column and of one width."""
    begin = max(0, start[1] - shift)
    skipped = max(0, shift - start[1])
    before, taken = [""] * min(begin, width), max(0, width - begin)
    if not begin and not skipped and rows and len(rows[0]) == width:
        yield from enumerate(rows, start[0])
        return
    for at, row in enumerate(rows, start[0]):
        cells = row[skipped : skipped + taken]
        yield at, [*before, *cells, *[""] * (width - len(before) - len(cells))]


def has_uncomputed(spots: xlsx.ErrorCells) -> bool:
    return any(text == xlsx.NOT_COMPUTED for row in spots.values() for _, text in row)


def describe_day_count(path: Path) -> tuple[str, ...]:
    return (_EARLY,) if zipfile.is_zipfile(path) and xlsx.has_1904_dates(path) else ()


def find_cells_without_value(path: Path, sheets: Sequence[str], name: str) -> xlsx.ErrorCells:
    """Return the cells that the reader does not deliver as what the programme shows."""
    if not zipfile.is_zipfile(path):
        return error_cells.find_xls_errors(path, sheets, name)
    return xlsx.find_cells_without_value(path, name) or error_cells.find_ods_errors(path, name)


def choose_sheet(
    book: calamine.CalamineWorkbook, stated: str | None
) -> tuple[tuple[str, ...], calamine.CalamineSheet, tuple[str, ...]]:
    """Return the names of the visible sheets, the sheet to be read, and what to tell."""
    visible = tuple(
        meta.name
        for meta in book.sheets_metadata
        if meta.typ == calamine.SheetTypeEnum.WorkSheet and meta.visible == calamine.SheetVisibleEnum.Visible
    )
    if stated is not None:
        if stated not in book.sheet_names:
            raise Invalid(
                f"There is no sheet {stated!r}; the workbook has {', '.join(book.sheet_names)}.",
                code="unknown-layer",
            )
        return visible, book.get_sheet_by_name(stated), ()
    if not visible:
        raise _no_visible_cells()
    blank = True
    for name in visible:
        sheet = book.get_sheet_by_name(name)
        rows = read_first_rows(sheet)
        blank &= not any(map(any, rows))
        found = find_header(rows)
        if found.row is not None and len(found.columns) > 1 and any(map(any, rows[found.row :])):
            others = [other for other in visible if other != name]
            told = f"Sheet {name!r} is read; the workbook also has {', '.join(others)}."
            return visible, sheet, (told,) if others else ()
    if blank:
        raise _no_visible_cells()
    return visible, book.get_sheet_by_name(visible[0]), ()


def _no_visible_cells() -> Invalid:
    return Invalid("The workbook has no visible sheet with cells.", code="empty-file")


def read_first_rows(sheet: calamine.CalamineSheet) -> list[list[str | None]]:
    rows = []
    for row in sheet.iter_rows():
        rows.append([clean_cell(format_value(cell, EXACT_SPREADSHEET)) for cell in row])
        if len(rows) == SAMPLE_ROWS:
            break
    return rows


def find_row_spans(ranges: Sequence[xlsx.Range], shift: int, header: Header) -> _Merged:
    """Return merged ranges of the body that span rows, by physical column."""
    return [
        ((top, left - shift), (bottom, right - shift))
        for (top, left), (bottom, right) in ranges
        if top >= (header.row or 0) and bottom > top and left >= shift
    ]


def iter_row_batches(
    places: Iterable[tuple[int, list[Any]]],
    shift: int,
    header: Header,
    merged: _Merged,
    spots: xlsx.ErrorCells,
    rows: int,
) -> Iterator[Batch]:
    spans = {(top, left): bottom for (top, left), (bottom, _) in merged}
    carried: dict[int, tuple[int, object]] = {}
    numbers: list[int] = []
    held: list[list[Any]] = []
    for at, row in places:
        if at < (header.row or 0):
            continue
        if spans:
            fill_merged_cells(row, at, spans, carried)
        if not any(row) and all(cell == "" for cell in row):
            continue
        for column_at, text in spots.get(at, ()) if spots else ():
            if shift <= column_at < shift + len(row):
                row[column_at - shift] = text
        numbers.append(at + 1)
        held.append(row)
        if len(numbers) == rows:
            yield _build_cell_batch(numbers, held, header)
            numbers, held = [], []
    if numbers:
        yield _build_cell_batch(numbers, held, header)


def _build_cell_batch(numbers: list[int], rows: list[list[Any]], header: Header) -> Batch:
    columns = list(zip(*rows, strict=True))  # a sheet is a rectangle
    blank = ("",) * len(rows)
    cells = [format_sheet_column(columns[at] if at < len(columns) else blank) for at in header.columns]
    return build_batch(numbers, cells, header)


def fill_merged_cells(
    row: list[Any],  # changed in place
    at: int,
    spans: dict[tuple[int, int], int],
    carried: dict[int, tuple[int, object]],
) -> None:
    for left in [left for left, (bottom, _) in carried.items() if bottom < at]:
        del carried[left]
    for left, (_, value) in carried.items():
        if left < len(row) and row[left] == "":
            row[left] = value
    for left, value in enumerate(row):
        bottom = spans.get((at, left))
        if bottom is not None:
            carried[left] = (bottom, value)


@contextmanager
def _catch_reader_errors() -> Iterator[None]:
    try:
        yield
    except calamine.PasswordError:
        raise Invalid(
            "The workbook is protected with a password; save it without one.", code="encrypted-file"
        ) from None
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise Invalid(f"The workbook cannot be read: {error}.", code="damaged-file") from None
    except BaseException as error:
        # A panic of the Rust reader is no Exception, so that it should not be overlooked.
        if type(error).__name__ != "PanicException":
            raise
        raise Invalid("The workbook cannot be read: it is broken.", code="damaged-file") from None


def is_workbook(path: Path) -> bool:
    """Tell whether a file is a workbook at all (old binary formats share one container)."""
    try:
        with _catch_reader_errors():
            calamine.CalamineWorkbook.from_path(path).close()
    except Invalid as error:
        return error.code == "encrypted-file"
    return True
