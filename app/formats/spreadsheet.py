"""Excel and OpenDocument spreadsheets: one sheet, its values, dates as ISO text.

Promises the row numbers that the spreadsheet programme shows, formulas as their last computed
values, and merged cells as values of all rows they span. A workbook is read as a whole, so its
unpacked size is limited.
"""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import python_calamine as calamine

from app.errors import Invalid
from app.formats import errorcells, formulas, sheetsize
from app.formats.grid import batch_of
from app.formats.header import Header, find
from app.formats.model import Batch, Detected, Named, Opened, Wanted
from app.formats.text import clean_cell
from app.formats.typed import EXACT_SPREADSHEET, cells_text, value_text

_SAMPLE_ROWS: Final = 100
_Merged = list[tuple[tuple[int, int], tuple[int, int]]]


def open_spreadsheet(file: Named, kind: str, wanted: Wanted) -> Opened:
    """Open the named sheet, or the first visible one that has a header and rows.

    Raises
    ------
    Invalid
        ``encrypted-file``, ``damaged-file``, ``unknown-layer``, ``no-such-row``.
    """
    sheetsize.check(file.path, kind)
    with _readable():
        book = calamine.CalamineWorkbook.from_path(file.path)
        visible = [
            meta.name
            for meta in book.sheets_metadata
            if meta.typ == calamine.SheetTypeEnum.WorkSheet
            and meta.visible == calamine.SheetVisibleEnum.Visible
        ]
        sheet, note = _chosen(book, visible, wanted.sheet or wanted.layer)
        name = sheet.name
        header = find(_head(sheet), wanted.header_row)
    merged = _spans(sheet, header)
    spots = _without_value(file.path, book.sheet_names, name)
    notes = [*note, *header.notes]
    if merged:
        notes.append("Merged cells are read as the same value in every row they span.")
    if any(text == formulas.NOT_COMPUTED for row in spots.values() for _, text in row):
        notes.append(
            f"Formulas have no computed values and are read as {formulas.NOT_COMPUTED}; open the "
            "workbook in a spreadsheet programme and save it."
        )
    top = sheet.start[0] if sheet.start else 0
    detected = Detected(
        format=kind,
        header_row=header.row,
        layer=name,
        layers=tuple(visible),
        rows=max(0, top + sheet.height - (header.row or 0)),
        notes=tuple(notes),
    )
    names = tuple(header.names[at] for at in header.kept)
    opened = Opened(detected, names, lambda rows: _batches(sheet, header, merged, spots, rows))
    opened.closing.callback(book.close)
    return opened


def _without_value(path: Path, sheets: Sequence[str], name: str) -> formulas.Spots:
    """Return the cells that the reader does not deliver as what the programme shows."""
    if not zipfile.is_zipfile(path):
        return errorcells.of_xls(path, sheets, name)
    return formulas.without_value(path, name) or errorcells.of_ods(path, name)


def _chosen(
    book: calamine.CalamineWorkbook, visible: Sequence[str], stated: str | None
) -> tuple[calamine.CalamineSheet, tuple[str, ...]]:
    if stated is not None:
        if stated not in book.sheet_names:
            raise Invalid(
                f"There is no sheet {stated!r}; the workbook has {', '.join(book.sheet_names)}.",
                code="unknown-layer",
            )
        return book.get_sheet_by_name(stated), ()
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
            return sheet, (told,) if others else ()
    if blank:
        raise _no_cells()
    return book.get_sheet_by_name(visible[0]), ()


def _no_cells() -> Invalid:
    return Invalid("The workbook has no visible sheet with cells.", code="empty-file")


def _head(sheet: calamine.CalamineSheet) -> list[list[str | None]]:
    rows = []
    for row in sheet.iter_rows():
        rows.append([clean_cell(value_text(cell, EXACT_SPREADSHEET)) for cell in row])
        if len(rows) == _SAMPLE_ROWS:
            break
    return rows


def _spans(sheet: calamine.CalamineSheet, header: Header) -> _Merged:
    """Return merged ranges of the body that span rows, by physical column."""
    shift = sheet.start[1] if sheet.start else 0
    return [
        ((top, left - shift), (bottom, right - shift))
        for (top, left), (bottom, right) in sheet.merged_cell_ranges or []
        if top >= (header.row or 0) and bottom > top and left >= shift
    ]


def _batches(
    sheet: calamine.CalamineSheet,
    header: Header,
    merged: _Merged,
    spots: formulas.Spots,
    rows: int,
) -> Iterator[Batch]:
    shift = sheet.start[1] if sheet.start else 0
    spans = {(top, left): bottom for (top, left), (bottom, _) in merged}
    carried: dict[int, tuple[int, object]] = {}
    numbers: list[int] = []
    held: list[list[Any]] = []
    for at, row in enumerate(sheet.iter_rows()):
        if at < (header.row or 0):
            continue
        if spans:
            _carry(row, at, spans, carried)
        if not any(row) and all(cell == "" for cell in row):
            continue
        for column_at, text in spots.get(at, ()):
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
