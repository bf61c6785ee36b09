"""XLSX, row by row with constant memory: codes are text cells, days are dates, and a sheet has the notes."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import xlsxwriter

from app.ingest.writers.model import (
    LONLAT,
    Batches,
    FileWriter,
    Layout,
    iter_file_blocks,
    list_headers,
    list_type_notes,
)
from app.ingest.writers.text import build_table_columns, list_location_headers
from app.messages import Message

_MAX_ROWS: Final = 1_048_575
"""Rows of a sheet below its header."""
_MAX_CHARACTERS: Final = 32_767
"""Characters of a cell."""
_MAX_LOSSES: Final = 1000
"""Losses that are listed."""


def write_xlsx(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a workbook; rows that do not fit into a sheet continue in the next one."""
    path = folder / "export.xlsx"
    options = {"constant_memory": True, "tmpdir": str(folder), "strings_to_urls": False}
    losses: list[str] = []
    with xlsxwriter.Workbook(str(path), options) as book:
        book.use_zip64()
        formats = {
            "head": book.add_format({"bold": True, "bottom": 1}),
            "text": book.add_format({"num_format": "@"}),
            "day": book.add_format({"num_format": "yyyy-mm-dd"}),
        }
        SheetWriter(book, layout, formats, losses).write_batches(batches)
        write_notes_sheet(book, [*list_xlsx_notes(layout), *losses])
    yield from iter_file_blocks(path)


class SheetWriter:
    """Writes rows into one sheet after another."""

    def __init__(self, book: Any, layout: Layout, formats: dict[str, Any], losses: list[str]) -> None:
        self._book, self._layout, self._formats, self._losses = book, layout, formats, losses
        self._number, self._row = 0, 0
        self._sheet: Any = None
        self._code_index = next((index for index, column in enumerate(layout.columns) if column.name == "code"), 0)

    def write_batches(self, batches: Batches) -> None:
        """Write all rows."""
        self._add_sheet()
        days = {index for index, column in enumerate(self._layout.columns) if column.type == "day"}
        for batch in batches:
            columns = [array.to_pylist() for array in build_table_columns(self._layout, batch).values()]
            for index in days:
                columns[index] = [None if text is None else date.fromisoformat(text) for text in columns[index]]
            for row in zip(*columns, strict=True):
                if self._row == _MAX_ROWS:
                    self._add_sheet()
                self._row += 1
                self._write_row(row)

    def _add_sheet(self) -> None:
        self._number += 1
        name = self._layout.name[:25] + (f" {self._number}" if self._number > 1 else "")
        self._sheet, self._row = self._book.add_worksheet(name), 0
        self._sheet.freeze_panes(1, 0)
        headers = [column.header for column in self._layout.columns]
        for index, header in enumerate([*headers, *list_location_headers(self._layout)]):
            self._sheet.write_string(0, index, header, self._formats["head"])

    def _write_row(self, row: Sequence[Any]) -> None:
        sheet, number = self._sheet, self._row
        for index, value in enumerate(row):
            if value is None:
                continue
            if isinstance(value, str):
                if len(value) > _MAX_CHARACTERS:
                    self._add_loss(row, index)
                    continue
                sheet.write_string(number, index, value, self._formats["text"])
            elif isinstance(value, bool):
                sheet.write_boolean(number, index, value)
            elif isinstance(value, date):
                sheet.write_datetime(number, index, value, self._formats["day"])
            else:
                sheet.write_number(number, index, value)

    def _add_loss(self, row: Sequence[Any], index: int) -> None:
        if len(self._losses) < _MAX_LOSSES:
            code = row[self._code_index]
            self._losses.append(
                Message("{code}: the text of column {column} is too long for a cell.", code=code, column=index + 1)
            )


def write_notes_sheet(book: Any, notes: Sequence[str]) -> None:
    """Add a sheet with notes."""
    sheet = book.add_worksheet("notes")
    sheet.set_column(0, 0, 120)
    for row, note in enumerate(notes):
        sheet.write_string(row, 0, note)


def list_xlsx_notes(layout: Layout) -> Sequence[str]:
    """Return what a workbook cannot hold."""
    notes = [
        Message("Text that begins like a formula has an apostrophe before it; the import removes it."),
        Message(
            "A sheet has {rows:,} rows, a cell {characters:,} characters: longer texts are left out and listed in the "
            "sheet notes.",
            rows=_MAX_ROWS,
            characters=_MAX_CHARACTERS,
        ),
        *list_type_notes(layout, lists=True),
    ]
    if times := list_headers(layout, "instant"):
        notes.append(Message("Times are text, because a cell has no time zone: {columns}.", columns=times))
    if layout.srid != LONLAT:
        notes.append(Message("Coordinates are in EPSG:{srid}.", srid=layout.srid))
    return notes


XLSX: Final = FileWriter(
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", write_xlsx, list_xlsx_notes
)
