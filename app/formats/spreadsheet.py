"""Excel and OpenDocument spreadsheets: one sheet, its values, dates as ISO text.

Promises the row numbers that the spreadsheet programme shows, formulas as their last computed
values, and merged cells as values of all rows they span. A large XLSX sheet is read some rows at a
time (`app.formats.sheetparts`), any other workbook as a whole, so its unpacked size is limited.
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import python_calamine as calamine

from app.errors import Invalid
from app.formats import errorcells, formulas, sheetparts, sheetsize
from app.formats.grid import batch_of
from app.formats.header import Header, find
from app.formats.model import Batch, Detected, Named, Opened, Tally, Wanted
from app.formats.sheetparts import SAMPLE_ROWS
from app.formats.text import clean_cell
from app.formats.typed import EXACT_SPREADSHEET, cells_text, value_text

_MERGED: Final = "Merged cells are read as the same value in every row they span."
_UNCOMPUTED: Final = (
    f"Formulas have no computed values and are read as {formulas.NOT_COMPUTED}; open the "
    "workbook in a spreadsheet programme and save it."
)
_EARLY: Final = (
    "The workbook counts days from 1904; a day that is formatted as a plain number is read as "
    "counted from 1900, four years and a day early. Format such columns as dates."
)
_Merged = list[tuple[tuple[int, int], tuple[int, int]]]


def open_spreadsheet(file: Named, kind: str, wanted: Wanted, folder: Callable[[], Path]) -> Opened:
    """Open the named sheet, or the first visible one that has a header and rows.

    Raises
    ------
    Invalid
        ``encrypted-file``, ``damaged-file``, ``unknown-layer``, ``no-such-row``,
        ``unpacks-too-large``.
    """
    parts = sheetparts.cut(file.path, folder) if kind == "xlsx" else None
    opened = _in_parts(file, parts, wanted) if parts is not None else None
    return opened or _whole(file, kind, wanted)


def _whole(file: Named, kind: str, wanted: Wanted) -> Opened:
    """Open a workbook whose sheet is held in memory."""
    sheetsize.check(file.path, kind)
    with _readable():
        book = calamine.CalamineWorkbook.from_path(file.path)
        visible, sheet, notes = _chosen(book, wanted.sheet or wanted.layer)
        header = find(_head(sheet), wanted.header_row)
    top, shift = sheet.start or (0, 0)
    merged = _spans(sheet.merged_cell_ranges or [], shift, header)
    spots = _without_value(file.path, book.sheet_names, sheet.name)
    notes += (*header.notes, *((_MERGED,) if merged else ()), *_early(file.path))
    if _any_uncomputed(spots):
        notes += (_UNCOMPUTED,)
    detected = Detected(
        format=kind,
        header_row=header.row,
        layer=sheet.name,
        layers=visible,
        rows=max(0, top + sheet.height - (header.row or 0)),
        notes=notes,
    )

    def read(rows: int) -> Iterator[Batch]:
        return _batches(enumerate(sheet.iter_rows()), shift, header, merged, spots, rows)

    opened = Opened(detected, tuple(header.names[at] for at in header.kept), read)
    opened.closing.callback(book.close)
    return opened


def _in_parts(file: Named, parts: sheetparts.Parts, wanted: Wanted) -> Opened | None:
    """Open a workbook whose sheet is read some rows at a time."""
    with _readable():
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(parts.sample()))
        visible, sheet, notes = _chosen(book, wanted.sheet or wanted.layer)
        header = find(_head(sheet), wanted.header_row)
        name, shift = sheet.name, sheet.start[1] if sheet.start else 0
        book.close()
    path = formulas.part_of(file.path, name)
    if path not in parts.sheets:
        parts.close()
        return None
    scanned = parts.sheets[path]
    merged = _spans(scanned.merged, shift, header)
    notes += (*header.notes, *((_MERGED,) if merged else ()), *_early(file.path))
    detected = Detected(
        format="xlsx",
        header_row=header.row,
        layer=name,
        layers=visible,
        rows=max(0, scanned.last - (header.row or 0)),
        notes=notes,
    )
    tally = Tally()
    width = max(header.kept, default=0) + 1

    def cells() -> Iterator[tuple[int, list[Any]]]:
        after = 0
        for rows, packed in parts.of(path):
            spots.clear()
            formulas.look(rows, spots)
            if _any_uncomputed(spots):
                tally.note(_UNCOMPUTED)
            start, held = _part(packed, name)
            if merged and held:  # merged cells fill rows that have no cells of their own
                yield from ((at, [""] * width) for at in range(after, start[0]))
                after = start[0] + len(held)
            yield from _fitted(start, held, shift, width)

    def read(rows: int) -> Iterator[Batch]:
        return _batches(cells(), shift, header, merged, spots, rows)

    spots: formulas.Spots = {}
    opened = Opened(detected, tuple(header.names[at] for at in header.kept), read, tally)
    opened.closing.callback(parts.close)
    return opened


def _part(packed: bytes, name: str) -> tuple[tuple[int, int], list[list[Any]]]:
    """Return the rows of a part, and the place of its first cell with a value."""
    with _readable():
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(packed))
        sheet = book.get_sheet_by_name(name)
        rows = sheet.to_python() if sheet.start else []
        book.close()
    return sheet.start or (0, 0), rows


def _fitted(
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


def _any_uncomputed(spots: formulas.Spots) -> bool:
    return any(text == formulas.NOT_COMPUTED for row in spots.values() for _, text in row)


def _early(path: Path) -> tuple[str, ...]:
    return (_EARLY,) if zipfile.is_zipfile(path) and formulas.counts_from_1904(path) else ()


def _without_value(path: Path, sheets: Sequence[str], name: str) -> formulas.Spots:
    """Return the cells that the reader does not deliver as what the programme shows."""
    if not zipfile.is_zipfile(path):
        return errorcells.of_xls(path, sheets, name)
    return formulas.without_value(path, name) or errorcells.of_ods(path, name)


def _chosen(
    book: calamine.CalamineWorkbook, stated: str | None
) -> tuple[tuple[str, ...], calamine.CalamineSheet, tuple[str, ...]]:
    """Return the names of the visible sheets, the sheet to be read, and what to tell."""
    visible = tuple(
        meta.name
        for meta in book.sheets_metadata
        if meta.typ == calamine.SheetTypeEnum.WorkSheet
        and meta.visible == calamine.SheetVisibleEnum.Visible
    )
    if stated is not None:
        if stated not in book.sheet_names:
            raise Invalid(
                f"There is no sheet {stated!r}; the workbook has {', '.join(book.sheet_names)}.",
                code="unknown-layer",
            )
        return visible, book.get_sheet_by_name(stated), ()
    if not visible:
        raise _no_cells()
    blank = True
    for name in visible:
        sheet = book.get_sheet_by_name(name)
        rows = _head(sheet)
        blank &= not any(map(any, rows))
        found = find(rows)
        if found.row is not None and len(found.kept) > 1 and any(map(any, rows[found.row :])):
            others = [other for other in visible if other != name]
            told = f"Sheet {name!r} is read; the workbook also has {', '.join(others)}."
            return visible, sheet, (told,) if others else ()
    if blank:
        raise _no_cells()
    return visible, book.get_sheet_by_name(visible[0]), ()


def _no_cells() -> Invalid:
    return Invalid("The workbook has no visible sheet with cells.", code="empty-file")


def _head(sheet: calamine.CalamineSheet) -> list[list[str | None]]:
    rows = []
    for row in sheet.iter_rows():
        rows.append([clean_cell(value_text(cell, EXACT_SPREADSHEET)) for cell in row])
        if len(rows) == SAMPLE_ROWS:
            break
    return rows


def _spans(ranges: Sequence[sheetparts.Range], shift: int, header: Header) -> _Merged:
    """Return merged ranges of the body that span rows, by physical column."""
    return [
        ((top, left - shift), (bottom, right - shift))
        for (top, left), (bottom, right) in ranges
        if top >= (header.row or 0) and bottom > top and left >= shift
    ]


def _batches(
    places: Iterable[tuple[int, list[Any]]],
    shift: int,
    header: Header,
    merged: _Merged,
    spots: formulas.Spots,
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
            _carry(row, at, spans, carried)
        if not any(row) and all(cell == "" for cell in row):
            continue
        for column_at, text in spots.get(at, ()) if spots else ():
            if shift <= column_at < shift + len(row):
                row[column_at - shift] = text
        numbers.append(at + 1)
        held.append(row)
        if len(numbers) == rows:
            yield _batch(numbers, held, header)
            numbers, held = [], []
    if numbers:
        yield _batch(numbers, held, header)


def _batch(numbers: list[int], rows: list[list[Any]], header: Header) -> Batch:
    columns = list(zip(*rows, strict=True))  # a sheet is a rectangle
    blank = ("",) * len(rows)
    cells = [cells_text(columns[at] if at < len(columns) else blank) for at in header.kept]
    return batch_of(numbers, cells, header)


def _carry(
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
def _readable() -> Iterator[None]:
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


def supports(path: Path) -> bool:
    """Tell whether a file is a workbook at all (old binary formats share one container)."""
    try:
        with _readable():
            calamine.CalamineWorkbook.from_path(path).close()
    except Invalid as error:
        return error.code == "encrypted-file"
    return True
