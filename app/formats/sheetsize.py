"""How much memory a workbook would take, from its XML, before it is loaded.

A sheet is held as a full rectangle, so one stray value in the last column or row of the sheet
makes billions of cells out of two. Such files are refused with the place of the stray value.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.errors import Invalid
from app.formats import archive
from app.formats.archive import Member

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
_FILLED: Final = re.compile(
    rb"""<(?:\w+:)?c\b[^>]*?\br\s*=\s*["']([A-Z]{1,3})(\d+)["'][^>]*(?<!/)>"""
)
_ODS_ROW: Final = re.compile(
    rb"<table:table-row\b[^>]*?(?:number-rows-repeated=\"(\d+)\"[^>]*)?(?:/>|>)"
    rb"|<table:(?:covered-)?table-cell\b([^>]*)>|</table:table-row>|<table:table\b"
)
_REPEATED: Final = re.compile(rb'number-columns-repeated="(\d+)"')


def check(path: Path, kind: str) -> None:
    """Refuse a workbook that would not fit.

    Raises
    ------
    Invalid
        ``unpacks-too-large``; and as `app.formats.archive.members`.
    """
    if not zipfile.is_zipfile(path):
        return  # the old binary format: 65,536 rows of 256 columns at most
    held = archive.members(path)
    archive.within(sum(member.size for member in held), LARGEST_ODS if kind == "ods" else LARGEST)
    for member in held:
        if kind == "ods" and member.name == "content.xml":
            _check_ods(path, member)
        elif member.name.lower().startswith("xl/worksheets/") and member.suffix == "xml":
            _check_sheet(path, member)


def _check_sheet(path: Path, member: Member) -> None:
    rows, columns = 1, 26
    for block in _blocks(path, member):
        rows = max(rows, max(map(int, _ROW.findall(block)), default=1))
        column = _ANY_COLUMN if any(sign in block for sign in _UNUSUAL) else _COLUMN
        columns = max(columns, max(map(_number, set(column.findall(block))), default=1))
    if rows * columns <= MOST_CELLS:
        return
    # Formatted blank cells may reach far; only those with a value count.
    rows = columns = 1
    far = b"A1"
    for block in _blocks(path, member):
        for letters, row in _FILLED.findall(block):
            if int(row) > rows or _number(letters) > columns:
                rows, columns = max(rows, int(row)), max(columns, _number(letters))
                far = letters + row
    if rows * columns > MOST_CELLS:
        raise _too_wide(rows, columns, far.decode())


def _check_ods(path: Path, member: Member) -> None:
    """Count repeated rows and cells that hold something."""
    rows = columns = here = wide = 0
    times = 1
    text = b"".join(_blocks(path, member, overlap=False))
    for found in _ODS_ROW.finditer(text):
        token = found[0]
        if token.startswith(b"<table:table-row"):
            times, here, wide = int(found[1] or 1), 0, 0
        elif token == b"</table:table-row>":
            rows += times
            columns = max(columns, wide)
            if wide and rows * columns > MOST_CELLS:
                raise _too_wide(rows, columns, f"row {rows}")
        elif token.startswith(b"<table:table"):
            attributes = found[2]
            if attributes is None:
                rows = columns = 0
                continue
            repeated = _REPEATED.search(attributes)
            here += int(repeated[1]) if repeated else 1
            if b"office:value-type" in attributes or b"calcext:value-type" in attributes:
                wide = here


def _blocks(path: Path, member: Member, *, overlap: bool = True) -> Iterator[bytes]:
    with archive.reading(path, member) as packed:
        end = b""
        while block := packed.read(_BLOCK):
            yield end + block
            end = block[-_CUT:] if overlap else b""


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _too_wide(rows: int, columns: int, place: str) -> Invalid:
    return Invalid(
        f"A sheet reaches to {rows:,} rows and {columns:,} columns (a value at {place}): more than "
        f"{MOST_CELLS:,} cells. Remove stray values far from the table, or save it as CSV.",
        code="unpacks-too-large",
    )
