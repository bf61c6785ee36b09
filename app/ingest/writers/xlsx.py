"""XLSX, row by row with constant memory: codes as text cells, days as days, a sheet of notes."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import xlsxwriter

from app.ingest.writers.model import Batches, Layout, iter_file_blocks, list_headers
from app.ingest.writers.text import build_table_columns, list_location_headers

_MOST_ROWS: Final = 1_048_575
"""Rows of a sheet below its header."""
_LONGEST: Final = 32_767
_KEPT: Final = 1000


def write_xlsx(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a workbook; rows beyond what a sheet holds go on in the next sheet."""
    path = folder / "export.xlsx"
    options = {"constant_memory": True, "tmpdir": str(folder), "strings_to_urls": False}
    lost: list[str] = []
    with xlsxwriter.Workbook(str(path), options) as book:
        book.use_zip64()
        formats = {
            "head": book.add_format({"bold": True, "bottom": 1}),
            "text": book.add_format({"num_format": "@"}),
            "day": book.add_format({"num_format": "yyyy-mm-dd"}),
        }
        SheetWriter(book, layout, formats, lost).write_batches(batches)
        write_notes_sheet(book, [*list_xlsx_notes(layout), *lost])
    yield from iter_file_blocks(path)


class SheetWriter:
    """Writes rows into one sheet after another."""

    def __init__(self, book: Any, layout: Layout, formats: dict[str, Any], lost: list[str]) -> None:
        self._book, self._layout, self._formats, self._lost = book, layout, formats, lost
        self._number, self._row = 0, 0
        self._sheet: Any = None
        self._code = next((n for n, c in enumerate(layout.columns) if c.name == "code"), 0)

    def write_batches(self, batches: Batches) -> None:
        self._add_sheet()
        days = {at for at, column in enumerate(self._layout.columns) if column.type == "day"}
        for batch in batches:
            columns = [array.to_pylist() for array in build_table_columns(self._layout, batch).values()]
            for at in days:
                columns[at] = [None if text is None else date.fromisoformat(text) for text in columns[at]]
            for row in zip(*columns, strict=True):
                if self._row == _MOST_ROWS:
                    self._add_sheet()
                self._row += 1
                self._write_row(row)

    def _add_sheet(self) -> None:
        self._number += 1
        name = self._layout.name[:25] + (f" {self._number}" if self._number > 1 else "")
        self._sheet, self._row = self._book.add_worksheet(name), 0
        self._sheet.freeze_panes(1, 0)
        headers = [column.header for column in self._layout.columns]
        for at, header in enumerate([*headers, *list_location_headers(self._layout)]):
            self._sheet.write_string(0, at, header, self._formats["head"])

    def _write_row(self, row: Sequence[Any]) -> None:
        sheet, line = self._sheet, self._row
        for at, value in enumerate(row):
            if value is None:
                continue
            if isinstance(value, str):
                if len(value) > _LONGEST:
                    self._add_loss(f"{row[self._code]}: the cell of column {at + 1} is too long.")
                    continue
                sheet.write_string(line, at, value, self._formats["text"])
            elif isinstance(value, bool):
                sheet.write_boolean(line, at, value)
            elif isinstance(value, date):
                sheet.write_datetime(line, at, value, self._formats["day"])
            else:
                sheet.write_number(line, at, value)

    def _add_loss(self, sentence: str) -> None:
        if len(self._lost) < _KEPT:
            self._lost.append(sentence)


def write_notes_sheet(book: Any, notes: Sequence[str]) -> None:
    sheet = book.add_worksheet("notes")
    sheet.set_column(0, 0, 120)
    for line, note in enumerate(notes):
        sheet.write_string(line, 0, note)


def list_xlsx_notes(layout: Layout) -> Sequence[str]:
    """Return what a workbook cannot hold."""
    notes = [
        "Text that begins like a formula has an apostrophe before it; the import takes it away.",
        f"A sheet has {_MOST_ROWS:,} rows, a cell {_LONGEST:,} characters: longer cells are left "
        "blank and named in the sheet notes.",
    ]
    if lists := list_headers(layout, "words", "json"):
        notes.append(f"Lists are JSON text: {lists}.")
    if times := list_headers(layout, "instant"):
        notes.append(f"Times are text, because a cell has no time zone: {times}.")
    if layout.srid != 4326:
        notes.append(f"Coordinates are in EPSG:{layout.srid}.")
    return notes
