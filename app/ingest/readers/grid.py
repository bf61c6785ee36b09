"""Tables that are written out cell by cell: of a web page, of a workbook in XML.

A reader yields the rows of all tables of its file; here one table is chosen, its header is found and
its rows become batches, by the rules of spreadsheets. The file is gone through once: its rows are put
aside (`app.ingest.readers.spill`) until it is known which are wanted, so memory stays flat.
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

MOST_COLUMNS: Final = 16_384
MOST_ROWS: Final = 1_048_576
"""Columns and rows of a sheet, as spreadsheet programmes have them."""
MOST_TABLES: Final = 10_000
_SAMPLE_ROWS: Final = 100
_TOGETHER: Final = 10_000
"""Cells that are put aside at a time."""


@dataclass(slots=True, eq=False)
class GridRow:
    """One row of a table."""

    table: int
    number: int
    """Row as a spreadsheet programme shows it, from 1."""
    cells: list[str | None]
    spanned: list[tuple[int, int, str]] = field(default_factory=list)
    """Cells that a merged cell above takes: their column, the row it begins in, its text."""


class _RowStore:
    """Rows that are put aside, some hundred at a time."""

    def __init__(self) -> None:
        self._shelf = SpillFile()
        self._held: list[tuple[int, int, list[str | None], list[tuple[int, int, str]]]] = []
        self._cells = 0

    def add_row(self, line: GridRow) -> None:
        self._held.append((line.table, line.number, line.cells, line.spanned))
        self._cells += 1 + len(line.cells) + len(line.spanned)
        if self._cells >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        self._shelf.add_chunk(marshal.dumps(self._held))
        self._held, self._cells = [], 0

    def iter_rows(self) -> Iterator[GridRow]:
        for part in self._shelf.iter_chunks():
            for held in marshal.loads(part):  # noqa: S302 - what was written here before
                yield GridRow(*held)

    def close(self) -> None:
        self._shelf.close()


@dataclass(eq=False)
class _GridTable:
    """What counting found of one table."""

    head: list[list[str | None]] = field(default_factory=list)
    last_row: int = 0
    filled: int = 0
    has_merged_cells: bool = False
    first_index: int = -1
    last_index: int = -1
    """Its first and last row, counted over the rows of all tables."""

    def add_row(self, line: GridRow, count: int) -> None:
        self.last_row, self.last_index = line.number, count
        self.first_index = count if self.first_index < 0 else self.first_index
        self.filled += len(line.cells) - line.cells.count(None)
        self.has_merged_cells |= bool(line.spanned)
        if line.number <= _SAMPLE_ROWS:
            self.head += [[] for _ in range(line.number - 1 - len(self.head))]
            self.head.append([clean_cell(cell) for cell in line.cells])

    @property
    def is_readable(self) -> bool:
        """Whether it has a header of several columns, and rows below."""
        found = find_header(self.head)
        below = self.head[found.row or 0 :]
        return found.row is not None and len(found.columns) > 1 and any(map(any, below))


@dataclass(eq=False)
class TableNames:
    """Names of the tables of a file, in its order, filled while it is gone through."""

    names: list[str] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)


def open_grid(
    kind: str,
    coding: Encoding,
    lines: Callable[[TableNames], Iterator[GridRow]],
    wanted: ReadOptions,
    *,
    largest: bool,
    nothing: Invalid,
) -> TableReader:
    """Open the named table, or the first or largest one that has a header and rows.

    Parameters
    ----------
    kind : str
        Name of the format.
    coding : Encoding
        What the text is in.
    lines : callable
        Yields the rows of all tables in the order of the file, and names the tables.
    largest : bool
        Take the table with the most cells, not the first one.
    nothing : Invalid
        What is raised when no table can be read.

    Raises
    ------
    Invalid
        ``unknown-layer``, ``no-such-row``, and what the reader raises.
    """
    with ExitStack() as stack:
        held = _RowStore()
        stack.callback(held.close)
        opened = _create_reader(kind, coding, lines, held, wanted, largest=largest, nothing=nothing)
        opened.resources.push(stack.pop_all())
        return opened


def _create_reader(
    kind: str,
    coding: Encoding,
    lines: Callable[[TableNames], Iterator[GridRow]],
    held: _RowStore,
    wanted: ReadOptions,
    *,
    largest: bool,
    nothing: Invalid,
) -> TableReader:
    sheets = TableNames()
    tables: dict[int, _GridTable] = {}
    for count, line in enumerate(lines(sheets)):
        tables.setdefault(line.table, _GridTable()).add_row(line, count)
        held.add_row(line)
    held.flush()
    stated = wanted.sheet or wanted.layer
    at, layers = choose_table(sheets, tables, stated, largest=largest, nothing=nothing)
    table = tables.get(at, _GridTable())
    header = find_header(table.head, wanted.header_row)
    notes = [*coding.notes, *header.notes]
    pages = {at: (header.row or 0, 0)}
    if largest and stated is None and wanted.header_row is None:
        pages = find_pages(tables, header) or pages
    if len(pages) > 1:
        notes.append(f"{len(pages)} tables have the same header and are read as one.")
    alike = {sheets.names[place] for place in pages}
    if others := [name for name in layers if name not in alike]:
        told = f"Sheet {sheets.names[at]!r} is read; the workbook also has {', '.join(others)}."
        notes = [told, *notes] if stated is None else notes
    if table.has_merged_cells:
        notes.append("Merged cells are read as the same value in every row they span.")
    detected = DetectedFormat(
        format=kind,
        encoding=coding.name,
        header_row=header.row,
        layer=sheets.names[at],
        layers=layers,
        rows=max(0, sum(tables[one].last_row for one in pages if one in tables) - (header.row or 0)),
        notes=tuple(notes),
    )

    def read(rows: int) -> Iterator[Batch]:
        chosen = (line for line in held.iter_rows() if line.table in pages)
        return iter_row_batches(chosen, header, rows, pages)

    return TableReader(detected, tuple(header.names[place] for place in header.columns), read)


def choose_table(
    sheets: TableNames,
    tables: dict[int, _GridTable],
    stated: str | None,
    *,
    largest: bool,
    nothing: Invalid,
) -> tuple[int, tuple[str, ...]]:
    """Return the place of the table to read, and the names of those that could be."""
    shown = [at for at in tables if at not in sheets.hidden]
    readable = [at for at in shown if tables[at].is_readable]
    layers = tuple(sheets.names[at] for at in readable or shown)
    if stated is not None:
        if stated not in sheets.names:
            raise Invalid(
                f"There is no sheet {stated!r}; the workbook has {', '.join(layers)}.",
                code="unknown-layer",
            )
        return sheets.names.index(stated), layers
    if not readable:
        raise nothing
    if largest:
        return max(readable, key=lambda at: tables[at].filled), layers
    return readable[0], layers


_Pages = dict[int, tuple[int, int]]
"""Table -> row of its header, and how many rows come before it."""


def find_pages(tables: dict[int, _GridTable], header: Header) -> _Pages:
    """Return the tables with the header of the chosen one, one after the other.

    A report of several pages often has a table for each.
    """
    pages: _Pages = {}
    before, ended = 0, -1
    for at, table in tables.items():
        found = find_header(table.head)
        if found.row is not None and found.names == header.names and table.first_index > ended:
            pages[at] = (found.row, before)
            before, ended = before + table.last_row, table.last_index
    return pages


def iter_row_batches(lines: Iterable[GridRow], header: Header, rows: int, pages: _Pages) -> Iterator[Batch]:
    numbers: list[int] = []
    held: list[list[str | None]] = []
    width = max(header.columns, default=0) + 1
    for line in lines:
        first, before = pages[line.table]
        if line.number <= first or not any(line.cells):
            continue
        cells = line.cells
        if len(cells) < width:
            cells = [*cells, *[None] * (width - len(cells))]
        for place, begun, text in line.spanned:
            if begun > first and place < width:
                cells[place] = text
        numbers.append(line.number + before)
        held.append(cells)
        if len(numbers) == rows:
            yield _build_text_batch(numbers, held, header)
            numbers, held = [], []
    if numbers:
        yield _build_text_batch(numbers, held, header)


def _build_text_batch(numbers: list[int], rows: list[list[str | None]], header: Header) -> Batch:
    columns = list(zip(*rows, strict=False))  # what is beyond the last named column may be ragged
    return build_batch(numbers, [build_text_column(list(columns[at])) for at in header.columns], header)


def build_batch(numbers: list[int], cells: list[pa.StringArray], header: Header) -> Batch:
    """Return rows as a batch of cleaned columns, those that are blank left out."""
    cells = [remove_guards(column) for column in cells]
    filled = np.zeros(len(numbers), bool)
    for column in cells:
        filled |= np.asarray(column.is_valid())
    row = np.array(numbers, np.int64)
    named = {header.names[at]: column for at, column in zip(header.columns, cells, strict=True)}
    if filled.all():
        return Batch(row, named)
    return Batch(row[filled], {name: column.filter(filled) for name, column in named.items()})


def build_size_error() -> Invalid:
    """Return the refusal of a table that no spreadsheet programme could show."""
    return Invalid(
        f"A table has more than {MOST_COLUMNS:,} columns or {MOST_ROWS:,} rows, or too many merged "
        "cells; save it as CSV.",
        code="unpacks-too-large",
    )
