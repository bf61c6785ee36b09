"""Find the header of a table, and the names of its columns.

Looks only at the form of cells (text or number, how many are filled), never at words; only a datum in the name of a
group of columns is added to their names. A note says what was detected, and the sender can state the row instead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import Invalid
from app.ingest.values.text import clean_cell
from app.messages import Message

Cells = Sequence[str | None]

_MAX_ROWS: Final = 100
_LONGEST_NAME: Final = 80
_FILLED_SHARE: Final = 0.6
_VALUE: Final = re.compile(
    r"""[+-]?[\d.,:/°'"′″\s-]*\d[\d.,:/°'"′″\s-]*(?:[eE][+-]?\d+)?\s*[NSEWnsew%]?"""  # numbers, dates
    r"|(?:true|false|yes|no|on|off|null|none|n/a)|是|否|无|有"
    r"|\w+://.*"
    r"|(?:POINT|LINESTRING|POLYGON|MULTI\w+)\s*Z?\s*\(.*",
    re.IGNORECASE | re.DOTALL,
)
_DATUM: Final = re.compile(r"wgs|cgcs|2000|gcj|bd-?_?09|火星|高德|百度|腾讯|国测局|西安|北京54|1954北京", re.IGNORECASE)
"""Names of datums: above a group of columns, it holds for each of them."""


@dataclass(frozen=True)
class Header:
    """Names by physical column ("" for a column without a name), and the last row of the header."""

    row: int | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[int]:
        """Physical columns that have a name."""
        return [index for index, name in enumerate(self.names) if name]


def find_header(rows: Sequence[Cells], stated: int | None = None) -> Header:
    """Return the header of a table.

    Parameters
    ----------
    rows : sequence of rows of cells
        Cleaned, from the first row of the file or sheet on; row numbers count from 1.
    stated : int or None
        The row of the header if the sender states it; 0: the table has no header.

    Raises
    ------
    Invalid
        ``no-such-row``: the stated row does not exist or is blank.
    """
    width = max((_row_width(row) for row in rows), default=0)
    if stated == 0:
        return _number_columns(rows, width)
    if stated is not None:
        if not 0 < stated <= len(rows) or not _filled_cells(rows[stated - 1]):
            message = Message(
                "Row {row} cannot be the header: it is blank or does not exist. Set header_row to another row.",
                row=stated,
            )
            raise Invalid(message, code="no-such-row")
        return _build_header(rows, stated - 1, width, may_have_second_row=False)
    index = find_first_header(rows)
    if index is None:
        return _number_columns(rows, width)
    return _build_header(rows, index, width, may_have_second_row=True)


def build_headers(names: Sequence[str]) -> tuple[str, ...]:
    """Return headers of a file that names its columns outside its rows: cleaned, not blank, unique.

    Examples
    --------
    >>> build_headers([" a ", "", "a"])
    ('a', 'column 2', 'a (2)')
    """
    headers: list[str] = []
    for index, name in enumerate(names):
        base = header = clean_cell(name) or f"column {index + 1}"
        number = 1
        while header in headers:
            number += 1
            header = f"{base} ({number})"
        headers.append(header)
    return tuple(headers)


def find_first_header(rows: Sequence[Cells]) -> int | None:
    """Return the index of the first row that looks like a header."""
    counts = sorted(count for row in rows if (count := len(_filled_cells(row))))
    if not counts:
        return None
    # A row of one cell is a title or a note if other rows have more.
    counts = [count for count in counts if count > 1] or counts
    # Titles and sparse rows have few cells: the upper quartile is the width of a full row.
    usual = counts[len(counts) * 3 // 4]
    for index, row in enumerate(rows[:_MAX_ROWS]):
        cells = _filled_cells(row)
        if len(cells) >= max(1, usual * _FILLED_SHARE) and are_all_names(cells):
            return index - 1 if index and has_groups_above(rows[index - 1], rows[index]) else index
    return None


def has_groups_above(upper: Cells, lower: Cells) -> bool:
    """Return whether a row is the second of a header: wide groups leave most of the first row blank."""
    width = max(_row_width(upper), _row_width(lower))
    return are_all_names(_filled_cells(upper)) and is_second_header_row(_pad_row(upper, width), _pad_row(lower, width))


def are_all_names(cells: list[str]) -> bool:
    """Return whether cells are names and not values: mostly distinct, short, not numbers."""
    are_distinct = len(set(cells)) > 0.5 * len(cells)
    return are_distinct and not any(len(cell) > _LONGEST_NAME or _VALUE.fullmatch(cell) for cell in cells)


def _build_header(rows: Sequence[Cells], index: int, width: int, *, may_have_second_row: bool) -> Header:
    notes: list[str] = []
    raw_names = _pad_row(rows[index], width)
    if may_have_second_row and index + 1 < len(rows):
        lower = _pad_row(rows[index + 1], width)
        if is_second_header_row(raw_names, lower):
            raw_names = merge_group_names(raw_names, lower)
            notes.append(Message("The header takes rows {first} and {second}.", first=index + 1, second=index + 2))
            index += 1
    if not notes and any(map(_filled_cells, rows[:index])):
        notes.append(Message("The header is row {row}; the rows above it are not read.", row=index + 1))
    names, more_notes = make_names_unique(raw_names, rows[index + 1 :], len(rows[index]))
    return Header(index + 1, names, (*notes, *more_notes))


def is_second_header_row(upper: Cells, lower: Cells) -> bool:
    """Return whether a row has names below group names, and is blank below the other names.

    A group name is above its first column; above its other columns the upper row is blank.
    """
    pairs = list(zip(upper, lower, strict=True))
    without_group = [index for index, (above, below) in enumerate(pairs) if below and not above]
    return (
        bool(without_group)
        and are_all_names(_filled_cells(lower))
        and any(above and not below for above, below in pairs)
        and all(index > 0 and pairs[index - 1][1] for index in without_group)
    )


def merge_group_names(upper: Cells, lower: Cells) -> list[str | None]:
    """Return the names of two header rows.

    The group is added to a name that occurs in several groups, and if it is a datum.
    """
    lower_names = [name for name in lower if name]
    names: list[str | None] = []
    group: str | None = None
    for above, name in zip(upper, lower, strict=True):
        group = above or (group if name else None)
        needs_group = group and (lower_names.count(name or "") > 1 or _DATUM.search(group))
        names.append(f"{name}（{group}）" if name and needs_group else name or above)
    return names


def _number_columns(rows: Sequence[Cells], width: int) -> Header:
    names = tuple(f"column {number}" for number in range(1, width + 1))
    note = Message("No row looks like a header; the columns are numbered.")
    return Header(None, names, (note,) if rows else ())


def make_names_unique(
    raw_names: Cells, rows_below: Sequence[Cells], header_width: int
) -> tuple[tuple[str, ...], list[str]]:
    """Return names for all columns, and notes; `header_width` is the number of cells in the header row."""
    names: list[str] = []
    notes: list[str] = []
    for index, cell in enumerate(raw_names):
        name = " ".join((cell or "").split())
        if not name and is_column_used(rows_below, index, any_row=index < header_width):
            name = f"column {index + 1}"
            notes.append(
                Message("Column {number} has values and no header; it is called {name!r}.", number=index + 1, name=name)
            )
        if name in names and name:
            number = 2
            while f"{name} ({number})" in names or f"{name} ({number})" in raw_names:
                number += 1
            new_name = f"{name} ({number})"
            notes.append(
                Message(
                    "Two columns are called {name!r}; the second is called {new_name!r}.", name=name, new_name=new_name
                )
            )
            name = new_name
        names.append(name)
    return tuple(names), notes


def is_column_used(rows: Sequence[Cells], index: int, *, any_row: bool) -> bool:
    """Return whether a column has values, in any row or (beyond the end of the header) in most rows."""
    filled = sum(1 for row in rows if index < len(row) and row[index])
    return filled > 0 if any_row else filled * 2 > len(rows)


def _filled_cells(row: Cells) -> list[str]:
    return [cell for cell in row if cell]


def _row_width(row: Cells) -> int:
    return max((index + 1 for index, cell in enumerate(row) if cell), default=0)


def _pad_row(row: Cells, width: int) -> list[str | None]:
    return [*row[:width], *[None] * (width - len(row))]
