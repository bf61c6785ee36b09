"""What a GeoPackage holds beside what GDAL reads of it: cells of another type, an unsaved state.

SQLite keeps any value in any column. Promises that a value which does not fit the type of its column
arrives as the text it is: GDAL makes 0 of a word among numbers, and the largest integer of a code
with twenty digits.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from app.errors import Invalid

_SIZE_AT: Final = 16
_COUNT_AT: Final = 28
_MISFITS: Final = {
    "OFTInteger": (
        "typeof({0}) NOT IN ('integer', 'null') OR {0} NOT BETWEEN -2147483648 AND 2147483647"
    ),
    "OFTInteger64": "typeof({0}) NOT IN ('integer', 'null')",
    "OFTReal": "typeof({0}) IN ('text', 'blob')",
    **dict.fromkeys(
        ("OFTDate", "OFTDateTime"),
        "typeof({0}) <> 'null' AND {0} NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'",
    ),
}
"""By the type that GDAL takes a column for, what a cell is that it cannot hold."""


def check_whole(path: Path) -> None:
    """Refuse a database that is shorter than it says.

    Raises
    ------
    Invalid
        ``damaged-file``.
    """
    with path.open("rb") as file:
        head = file.read(100)
    size = int.from_bytes(head[_SIZE_AT : _SIZE_AT + 2], "big")
    pages = int.from_bytes(head[_COUNT_AT : _COUNT_AT + 4], "big")
    needed = pages * (65536 if size == 1 else size)
    # The count is good only where its writer also wrote for which change it holds.
    good = head[24:28] == head[92:96]
    if len(head) < 100 or (good and path.stat().st_size < needed):
        raise Invalid("The file cannot be read: the database is cut off.", code="damaged-file")


def unsaved(path: Path) -> tuple[str, ...]:
    """Return what to tell of a database that was copied while a program had it open."""
    with path.open("rb") as file:
        head = file.read(20)
    if head[18:20] != b"\x02\x02":
        return ()
    return (
        "The GeoPackage was open in a program when it was copied; what was not yet saved is missing.",
    )


def repaired(
    path: Path, layer: str, types: Mapping[str, str], geometry: str | None, key: str | None
) -> str | None:
    """Return a query that gives columns with cells of another type as text; None: all fit.

    Parameters
    ----------
    path : Path
        The database.
    layer : str
        The table or view.
    types : mapping of str to str
        Columns, in order, with the types that GDAL takes them for.
    geometry : str or None
        The column of shapes.
    key : str or None
        The column of the primary key, where it is one of the content.
    """
    judged = [name for name, kind in types.items() if kind in _MISFITS]
    if not judged:
        return None
    found: tuple[int | None, ...] = ()
    asked = ", ".join(f"max({_MISFITS[types[name]].format(_quoted(name))})" for name in judged)
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    # A view may use functions that GDAL alone has; its columns are left as they are.
    with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as database:
        found = database.execute(f"SELECT {asked} FROM {_quoted(layer)}").fetchone()
    odd = {name for name, misfit in zip(judged, found, strict=False) if misfit}
    if not odd:
        return None
    columns = [
        f"CAST({_quoted(name)} AS TEXT) AS {_quoted(name)}" if name in odd else _quoted(name)
        for name in types
    ]
    others = [_quoted(geometry)] if geometry else []
    # As an expression it is a column; by its name alone GDAL takes it for the number of the row.
    others += [f"{_quoted(key)} + 0 AS {_quoted(key)}"] if key else []
    return f"SELECT {', '.join([*others, *columns])} FROM {_quoted(layer)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
