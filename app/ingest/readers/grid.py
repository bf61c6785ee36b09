"""Tables that are written cell by cell: of a web page, of a workbook in XML.

A reader yields the rows of all tables of its file. One table is chosen, its header is found and its rows become
batches, by the rules of spreadsheets. The file is read once: its rows are stored (`app.ingest.readers.spill`) until
the table is chosen, so memory does not grow.
"""

import marshal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from app.errors import Invalid
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.header_row import Header, find_header
from app.ingest.readers.model import Batch, DetectedFormat, ReadOptions, TableReader
from app.ingest.readers.spill import SpillFile
from app.ingest.values.text import build_text_column, clean_cell, remove_guards
from app.messages import Message

MAX_COLUMNS: Final = 16_384
MAX_ROWS: Final = 1_048_576
"""Columns and rows of a sheet in spreadsheet programs."""
MAX_TABLES: Final = 10_000
_SAMPLE_ROWS: Final = 100
_CHUNK_CELLS: Final = 10_000
MERGED_CELLS: Final = Message("Merged cells are read as the same value in every row they span.")


@dataclass(slots=True, eq=False)
class GridRow:
    """One row of a table."""

    table: int
    number: int
    """Row as a spreadsheet program shows it, from 1."""
    cells: list[str | None]
    spanned: list[tuple[int, int, str]] = field(default_factory=list)
    """Cells that a merged cell above covers: column, the row in which it begins, its text."""


class _RowStore:
    """Rows in temporary storage, some hundred in one chunk."""

    def __init__(self) -> None:
        self._spill = SpillFile()
        self._pending: list[tuple[int, int, list[str | None], list[tuple[int, int, str]]]] = []
        self._cells = 0

    def add_row(self, row: GridRow) -> None:
        self._pending.append((row.table, row.number, row.cells, row.spanned))
        self._cells += 1 + len(row.cells) + len(row.spanned)
        if self._cells >= _CHUNK_CELLS:
            self.flush()

    def flush(self) -> None:
        self._spill.add_chunk(marshal.dumps(self._pending))
        self._pending, self._cells = [], 0

    def iter_rows(self) -> Iterator[GridRow]:
        for chunk in self._spill.iter_chunks():
            for values in marshal.loads(chunk):  # noqa: S302 - flush wrote it
                yield GridRow(*values)

    def close(self) -> None:
        self._spill.close()


@dataclass(eq=False)
class _GridTable:
    """What is known about one table after all rows have been read once."""

    head: list[list[str | None]] = field(default_factory=list)
    last_row: int = 0
    filled_cells: int = 0
    has_merged_cells: bool = False
    first_index: int = -1
    last_index: int = -1
    """Its first and last row, counted over the rows of all tables."""

    def add_row(self, row: GridRow, index: int) -> None:
        self.last_row, self.last_index = row.number, index
        self.first_index = index if self.first_index < 0 else self.first_index
        self.filled_cells += len(row.cells) - row.cells.count(None)
        self.has_merged_cells |= bool(row.spanned)
        if row.number <= _SAMPLE_ROWS:
            self.head += [[] for _ in range(row.number - 1 - len(self.head))]
            self.head.append([clean_cell(cell) for cell in row.cells])

    @property
    def is_readable(self) -> bool:
        """Whether it has a header of several columns, and rows below."""
        header = find_header(self.head)
        below = self.head[header.row or 0 :]
        return header.row is not None and len(header.columns) > 1 and any(map(any, below))


@dataclass(eq=False)
class TableNames:
    """Names of the tables of a file, in its order, filled while the file is read."""

    names: list[str] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)


def open_grid(
    encoding: Encoding,
    iter_rows: Callable[[TableNames], Iterator[GridRow]],
    options: ReadOptions,
    *,
    largest: bool,
    no_table: Invalid,
) -> TableReader:
    """Open the named table, or the first or largest one that has a header and rows.

    Parameters
    ----------
    encoding : Encoding
        Encoding of the text.
    iter_rows : callable
        Yields the rows of all tables in the order of the file, and names the tables.
    options : ReadOptions
        With the name of the format.
    largest : bool
        Choose the table with the most cells, not the first one.
    no_table : Invalid
        The error if no table can be read.

    Raises
    ------
    Invalid
        ``unknown-layer``, ``no-such-row``, and what the reader raises.
    """
    with ExitStack() as stack:
        store = _RowStore()
        stack.callback(store.close)
        names = TableNames()
        tables: dict[int, _GridTable] = {}
        for index, row in enumerate(iter_rows(names)):
            tables.setdefault(row.table, _GridTable()).add_row(row, index)
            store.add_row(row)
        store.flush()
        chosen, layers = choose_table(names, tables, options.layer_name, largest=largest, no_table=no_table)
        header = find_header(tables.get(chosen, _GridTable()).head, options.header_row)
        pages = {chosen: (header.row or 0, 0)}
        if largest and options.layer_name is None and options.header_row is None:
            pages = find_pages(tables, header) or pages
        others = [name for name in layers if name not in {names.names[table] for table in pages}]
        notes = [*encoding.notes, *header.notes]
        if len(pages) > 1:
            notes.append(Message("{count} tables have the same header and are read as one.", count=len(pages)))
        if others and options.layer_name is None:
            notes.insert(0, describe_other_sheets(names.names[chosen], others))
        if chosen in tables and tables[chosen].has_merged_cells:
            notes.append(MERGED_CELLS)
        detected = DetectedFormat(
            format=options.format or "",
            encoding=encoding.name,
            header_row=header.row,
            layer=names.names[chosen],
            layers=layers,
            rows=max(0, sum(tables[table].last_row for table in pages if table in tables) - (header.row or 0)),
            notes=tuple(notes),
        )

        def read_batches(rows: int) -> Iterator[Batch]:
            of_pages = (row for row in store.iter_rows() if row.table in pages)
            return iter_row_batches(of_pages, header, rows, pages)

        reader = TableReader(detected, tuple(header.names[column] for column in header.columns), read_batches)
        reader.resources.push(stack.pop_all())
        return reader


def describe_other_sheets(name: str, others: Iterable[str]) -> Message:
    """Return the note about sheets that are not read."""
    return Message("Sheet {name!r} is read; the workbook also has {others}.", name=name, others=", ".join(others))


def unknown_sheet(name: str, sheets: Iterable[str]) -> Invalid:
    """Return the error of a stated sheet that the workbook does not have."""
    message = Message("Unknown sheet {name!r}. Sheets: {sheets}.", name=name, sheets=", ".join(sheets))
    return Invalid(message, code="unknown-layer")


def choose_table(
    names: TableNames,
    tables: dict[int, _GridTable],
    stated: str | None,
    *,
    largest: bool,
    no_table: Invalid,
) -> tuple[int, tuple[str, ...]]:
    """Return the index of the table to read, and the names of all tables that can be read."""
    visible = [index for index in tables if index not in names.hidden]
    readable = [index for index in visible if tables[index].is_readable]
    layers = tuple(names.names[index] for index in readable or visible)
    if stated is not None:
        if stated not in names.names:
            raise unknown_sheet(stated, layers)
        return names.names.index(stated), layers
    if not readable:
        raise no_table
    if largest:
        return max(readable, key=lambda index: tables[index].filled_cells), layers
    return readable[0], layers


_Pages = dict[int, tuple[int, int]]
"""Table -> row of its header, and the number of rows before the table."""


def find_pages(tables: dict[int, _GridTable], header: Header) -> _Pages:
    """Return the tables with the header of the chosen table, one after the other.

    A report of several pages often has one table for each page.
    """
    pages: _Pages = {}
    rows_before, last_index = 0, -1
    for index, table in tables.items():
        own = find_header(table.head)
        if own.row is not None and own.names == header.names and table.first_index > last_index:
            pages[index] = (own.row, rows_before)
            rows_before, last_index = rows_before + table.last_row, table.last_index
    return pages


def iter_row_batches(rows: Iterable[GridRow], header: Header, size: int, pages: _Pages) -> Iterator[Batch]:
    """Yield the rows below the header of each page, `size` at a time."""
    numbers: list[int] = []
    pending: list[list[str | None]] = []
    width = max(header.columns, default=0) + 1
    for row in rows:
        header_row, rows_before = pages[row.table]
        if row.number <= header_row or not any(row.cells):
            continue
        cells = row.cells
        if len(cells) < width:
            cells = [*cells, *[None] * (width - len(cells))]
        for column, first_row, text in row.spanned:
            if first_row > header_row and column < width:
                cells[column] = text
        numbers.append(row.number + rows_before)
        pending.append(cells)
        if len(numbers) == size:
            yield _build_text_batch(numbers, pending, header)
            numbers, pending = [], []
    if numbers:
        yield _build_text_batch(numbers, pending, header)


def _build_text_batch(numbers: list[int], rows: list[list[str | None]], header: Header) -> Batch:
    columns = list(zip(*rows, strict=False))  # cells after the last named column may be ragged
    return build_batch(numbers, [build_text_column(list(columns[index])) for index in header.columns], header)


def build_batch(numbers: list[int], cells: list[pa.StringArray], header: Header) -> Batch:
    """Return rows as a batch of cleaned columns, without blank rows."""
    cells = [remove_guards(column) for column in cells]
    is_filled = np.zeros(len(numbers), bool)
    for column in cells:
        is_filled |= np.asarray(column.is_valid())
    row_numbers = np.array(numbers, np.int64)
    columns = {header.names[index]: column for index, column in zip(header.columns, cells, strict=True)}
    if is_filled.all():
        return Batch(row_numbers, columns)
    return Batch(row_numbers[is_filled], {name: column.filter(is_filled) for name, column in columns.items()})


def build_size_error() -> Invalid:
    """Return the error of a table that no spreadsheet program could show."""
    message = Message(
        "A table has more than {columns:,} columns or {rows:,} rows, or too many merged cells. Save it as CSV.",
        columns=MAX_COLUMNS,
        rows=MAX_ROWS,
    )
    return Invalid(message, code="unpacks-too-large")
