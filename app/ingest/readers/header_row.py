"""Which row of a table is its header, and what its columns are called.

Looks only at form (text or number, how many cells are filled), never at words; only the datum that a
group of columns names goes with their names. What was found is told, and can be overruled by naming
the row.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import Invalid
from app.ingest.values.text import clean_cell

Cells = Sequence[str | None]

_LOOKED_AT: Final = 100
_LONGEST_NAME: Final = 80
_SHARE_FILLED: Final = 0.6
_VALUE: Final = re.compile(
    r"""[+-]?[\d.,:/°'"′″\s-]*\d[\d.,:/°'"′″\s-]*(?:[eE][+-]?\d+)?\s*[NSEWnsew%]?"""  # numbers, dates
    r"|(?:true|false|yes|no|on|off|null|none|n/a)|是|否|无|有"
    r"|\w+://.*"
    r"|(?:POINT|LINESTRING|POLYGON|MULTI\w+)\s*Z?\s*\(.*",
    re.IGNORECASE | re.DOTALL,
)
_DATUM: Final = re.compile(r"wgs|cgcs|2000|gcj|bd-?_?09|火星|高德|百度|腾讯|国测局|西安|北京54|1954北京", re.IGNORECASE)
"""Names of what coordinates are measured in: said over their columns, it holds for each."""


@dataclass(frozen=True)
class Header:
    """Names by physical column ("" where a column has none), and the last row of the header."""

    row: int | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> list[int]:
        """Physical columns that have a name."""
        return [at for at, name in enumerate(self.names) if name]


def find(rows: Sequence[Cells], stated: int | None = None) -> Header:
    """Return the header of a table from its first rows, cleaned.

    Parameters
    ----------
    rows : sequence of rows of cells
        From the very first row of the file or sheet on; row numbers count from 1.
    stated : int or None
        The row of the header when the sender says so; 0: there is none.

    Raises
    ------
    Invalid
        ``no-such-row``: the stated row is not there or is blank.
    """
    width = max((_width(row) for row in rows), default=0)
    if stated == 0:
        return _without(rows, width)
    if stated is not None:
        if not 0 < stated <= len(rows) or not _filled(rows[stated - 1]):
            raise Invalid(
                f"Row {stated} was named as the header, and it is blank or not there.",
                code="no-such-row",
            )
        return _named(rows, stated - 1, width, below=False)
    at = _first_header(rows)
    return _without(rows, width) if at is None else _named(rows, at, width, below=True)


def labels(raw: Sequence[str]) -> tuple[str, ...]:
    """Return names of a source that has them beside its rows: cleaned, none blank, none twice.

    Examples
    --------
    >>> labels([" a ", "", "a"])
    ('a', 'column 2', 'a (2)')
    """
    names: list[str] = []
    for at, name in enumerate(raw):
        label = clean_cell(name) or f"column {at + 1}"
        number = 1
        while label in names:
            number += 1
            label = f"{clean_cell(name) or f'column {at + 1}'} ({number})"
        names.append(label)
    return tuple(names)


def _first_header(rows: Sequence[Cells]) -> int | None:
    counts = sorted(count for row in rows if (count := len(_filled(row))))
    if not counts:
        return None
    # A line of one cell is a title or a note wherever other lines have more.
    counts = [count for count in counts if count > 1] or counts
    # Titles have few cells and sparse rows may too: what most cells of a full row are is meant.
    usual = counts[len(counts) * 3 // 4]
    for at, row in enumerate(rows[:_LOOKED_AT]):
        cells = _filled(row)
        if len(cells) >= max(1, usual * _SHARE_FILLED) and _all_names(cells):
            return at - 1 if at and _groups_above(rows[at - 1], rows[at]) else at
    return None


def _groups_above(upper: Cells, lower: Cells) -> bool:
    """Tell that a row is the second of a header: wide groups leave the first one mostly blank."""
    width = max(_width(upper), _width(lower))
    above = _padded(upper, width)
    return _all_names(_filled(upper)) and _second_line(above, _padded(lower, width))


def _all_names(cells: list[str]) -> bool:
    distinct = len(set(cells)) > 0.5 * len(cells)
    return distinct and not any(len(cell) > _LONGEST_NAME or _VALUE.fullmatch(cell) for cell in cells)


def _named(rows: Sequence[Cells], at: int, width: int, *, below: bool) -> Header:
    notes = []
    raw = _padded(rows[at], width)
    if below and at + 1 < len(rows) and _second_line(raw, _padded(rows[at + 1], width)):
        lower = _padded(rows[at + 1], width)
        raw = _grouped(raw, lower)
        notes.append(f"The header takes rows {at + 1} and {at + 2}.")
        at += 1
    titles = [number + 1 for number in range(at) if _filled(rows[number])]
    if titles and not notes:
        notes.append(f"The header is row {at + 1}; what stands above it is not read.")
    names, more = _unique(raw, rows[at + 1 :], len(rows[at]))
    return Header(at + 1, names, (*notes, *more))


def _second_line(upper: Cells, lower: Cells) -> bool:
    """Tell a second header row: names under group names, and nothing under the others.

    A group name stands over its first column; its other columns are blank in the upper row.
    """
    pairs = list(zip(upper, lower, strict=True))
    grouped = [at for at, (over, under) in enumerate(pairs) if under and not over]
    return (
        bool(grouped)
        and _all_names(_filled(lower))
        and any(over and not under for over, under in pairs)
        and all(at > 0 and pairs[at - 1][1] for at in grouped)
    )


def _grouped(upper: Cells, lower: Cells) -> list[str | None]:
    """Return the names of two header rows; the group stands beside a name that needs it.

    One name under several groups, and a group that says the datum.
    """
    under = [name for name in lower if name]
    names: list[str | None] = []
    group: str | None = None
    for over, name in zip(upper, lower, strict=True):
        group = over or (group if name else None)
        needed = group and (under.count(name or "") > 1 or _DATUM.search(group))
        names.append(f"{name}（{group}）" if name and needed else name or over)
    return names


def _without(rows: Sequence[Cells], width: int) -> Header:
    names = tuple(f"column {number}" for number in range(1, width + 1))
    note = "No row looks like a header; the columns are numbered."
    return Header(None, names, (note,) if rows else ())


def _unique(raw: Cells, below: Sequence[Cells], own: int) -> tuple[tuple[str, ...], list[str]]:
    """Return names for all columns; `own` is how many cells the header row itself has."""
    names: list[str] = []
    notes = []
    for at, cell in enumerate(raw):
        name = " ".join((cell or "").split())
        if not name and _used(below, at, anyhow=at < own):
            name = f"column {at + 1}"
            notes.append(f"Column {at + 1} has values and no header; it is called {name!r}.")
        if name in names and name:
            number = 2
            while f"{name} ({number})" in names or f"{name} ({number})" in raw:
                number += 1
            notes.append(f"Two columns are called {name!r}; one is called '{name} ({number})'.")
            name = f"{name} ({number})"
        names.append(name)
    return tuple(names), notes


def _used(below: Sequence[Cells], at: int, *, anyhow: bool) -> bool:
    """Tell a column without a name that has values: beyond the header's end, in most rows."""
    filled = sum(1 for row in below if at < len(row) and row[at])
    return filled > 0 if anyhow else filled * 2 > len(below)


def _filled(row: Cells) -> list[str]:
    return [cell for cell in row if cell]


def _width(row: Cells) -> int:
    return max((at + 1 for at, cell in enumerate(row) if cell), default=0)


def _padded(row: Cells, width: int) -> list[str | None]:
    return [*row[:width], *[None] * (width - len(row))]
