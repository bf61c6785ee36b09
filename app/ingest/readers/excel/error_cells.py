"""Failed formulas in the old binary workbook and in OpenDocument, which the reader of workbooks drops.

It delivers them as blank or as 0, and a blank cell empties a field. So their places are looked up in
the file itself: BIFF records of [MS-XLS] in the container of [MS-CFB], cells of OpenDocument 1.2.
"""

import html
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from app.ingest.readers import archive
from app.ingest.readers.excel.xlsx import MOST, ErrorCells

_ERRORS: Final = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!",
    0x2A: "#N/A",
}  # fmt: skip
_OTHER: Final = "#VALUE!"
_BOF, _EOF, _SHEET, _BOOLERR, _FORMULA = 0x0809, 0x000A, 0x0085, 0x0205, 0x0006
_STREAMS: Final = ("workbook", "book")
_FAILED: Final = b'calcext:value-type="error"'
_TOKEN: Final = re.compile(
    rb"<table:table(?=[ />])([^>]*)>|<table:table-row\b([^>]*)>"
    rb"|<table:(?:covered-)?table-cell\b([^>]*)>"
)
_NAME: Final = re.compile(rb'table:name="([^"]*)"')
_REPEATED: Final = re.compile(rb'table:number-(?:rows|columns)-repeated="(\d{1,7})"')
_SHOWN: Final = re.compile(rb"\s*<text:p\b[^>]*>([^<]{0,40})<")


def find_xls_errors(path: Path, sheets: Sequence[str], sheet: str) -> ErrorCells:
    """Return the failed formulas of a sheet of a binary workbook.

    What cannot be followed gives none: whether the workbook is broken is for its reader to say.
    """
    spots: ErrorCells = {}
    try:
        stream = _stream(path.read_bytes())
        starts = _starts(stream)
        if len(starts) == len(sheets):
            for row, column, code in _failed(stream, starts[sheets.index(sheet)]):
                spots.setdefault(row, []).append((column, _ERRORS.get(code, _OTHER)))
    except (struct.error, IndexError):
        return {}
    return spots


def find_ods_errors(path: Path, sheet: str) -> ErrorCells:
    """Return the failed formulas of a sheet of an OpenDocument spreadsheet."""
    spots: ErrorCells = {}
    member = next((one for one in archive.list_members(path) if one.name == "content.xml"), None)
    if member is None:
        return spots
    with archive.open_member(path, member) as packed:
        text = packed.read()
    if _FAILED not in text:
        return spots
    row, column, times, here, count = -1, 0, 1, False, 0
    for token in _TOKEN.finditer(text):
        table, line, cell = token.groups()
        if table is not None:
            name = _NAME.search(table)
            here = name is not None and html.unescape(name[1].decode("utf-8", "replace")) == sheet
            row, times = -1, 1
        elif line is not None:
            row, times, column = row + times, parse_repetition(line), 0
        elif cell is not None:
            wide = parse_repetition(cell)
            if here and _FAILED in cell and (count := count + wide * times) <= MOST:
                shown = _SHOWN.match(text, token.end())
                error = shown[1].decode("utf-8", "replace") if shown else _OTHER
                for at in range(row, row + times):
                    spots.setdefault(at, []).extend(
                        (place, error if error.startswith("#") else _OTHER) for place in range(column, column + wide)
                    )
            column += wide
    return spots


def parse_repetition(attributes: bytes) -> int:
    found = _REPEATED.search(attributes)
    return max(1, int(found[1])) if found else 1


def _stream(file: bytes) -> bytes:
    """Return the stream of the workbook out of its container; b"" when it is a short one."""
    size = {9: 512, 12: 4096}.get(struct.unpack_from("<H", file, 0x1E)[0], 0)
    if not size:
        return b""
    tables = _table_sectors(file, size)
    chain = [number for sector in tables for number in struct.unpack_from(f"<{size // 4}I", file, (sector + 1) * size)]
    directory = _joined(file, size, chain, struct.unpack_from("<I", file, 0x30)[0])
    for at in range(0, len(directory), 128):
        length = struct.unpack_from("<H", directory, at + 64)[0]
        name = directory[at : at + max(0, length - 2)].decode("utf-16-le", "replace").lower()
        if name in _STREAMS:
            first, long = struct.unpack_from("<II", directory, at + 116)
            if long < struct.unpack_from("<I", file, 0x38)[0]:
                return b""
            return _joined(file, size, chain, first)[:long]
    return b""


def _table_sectors(file: bytes, size: int) -> list[int]:
    """Return the sectors that hold the chains of all others."""
    count, more = struct.unpack_from("<I", file, 0x2C)[0], struct.unpack_from("<I", file, 0x44)[0]
    count = min(count, len(file) // size)  # what a broken file claims is no reason to go on
    found = list(struct.unpack_from("<109I", file, 0x4C))
    while len(found) < count and more < 0xFFFFFFFA:
        part = struct.unpack_from(f"<{size // 4}I", file, (more + 1) * size)
        found += part[:-1]
        more = part[-1]
    return found[:count]


def _joined(file: bytes, size: int, chain: Sequence[int], first: int) -> bytes:
    parts: list[bytes] = []
    sector = first
    while sector < 0xFFFFFFFA and len(parts) <= len(chain):
        parts.append(file[(sector + 1) * size : (sector + 2) * size])
        sector = chain[sector]
    return b"".join(parts)


def _records(stream: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield kind, place and length of the records of one part of a workbook."""
    at, depth = start, 0
    while at + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, at)
        depth += (kind == _BOF) - (kind == _EOF)
        if depth <= 0:
            return
        if depth == 1:
            yield kind, at + 4, length
        at += 4 + length


def _starts(stream: bytes) -> list[int]:
    return [struct.unpack_from("<I", stream, at)[0] for kind, at, _ in _records(stream, 0) if kind == _SHEET]


def _failed(stream: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield row, column and code of cells that hold an error, as a value or of a formula."""
    for kind, at, length in _records(stream, start):
        if kind == _BOOLERR and length >= 8 and stream[at + 7]:
            yield (*struct.unpack_from("<HH", stream, at), stream[at + 6])
        elif kind == _FORMULA and length >= 14 and stream[at + 6] == 2 and stream[at + 12 : at + 14] == b"\xff\xff":
            yield (*struct.unpack_from("<HH", stream, at), stream[at + 8])
