"""Large sheets of XLSX workbooks, split between rows into small workbooks.

calamine holds a sheet as a whole. Of a large sheet it gets some thousand rows at a time, with the strings they use,
so that memory does not grow with the rows and every value is read by the same library. Only XML as all usual programs
write it can be split; any other workbook is read as a whole.
"""

import io
import mmap
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray
from xlsxwriter.utility import xl_cell_to_rowcol

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.archive import Member
from app.ingest.readers.model import SourceFile
from app.messages import Message

MIN_SPLIT_BYTES: Final = 64 << 20
"""Unpacked bytes of the sheets of a workbook that is split."""
SAMPLE_ROWS: Final = 100
_PART_ROWS: Final = 10_000
_PART_CELLS: Final = 1_000_000
"""Cells of the rectangle that the rows of one part take."""
_MAX_COLUMNS: Final = 1_000
_MAX_ROWS: Final = 1_048_576
_BLOCK: Final = 1 << 20
_LONGEST: Final = 32 << 20
"""Bytes of one row, or of the XML after the rows."""
_DATA, _DATA_END, _SHEET_END = b"<sheetData>", b"</sheetData>", b"</sheetData></worksheet>"
_ROW: Final = re.compile(rb'<row\b[^>]*? r="(\d{1,7})"')
_COLUMN: Final = re.compile(rb' r="([A-Z]{2,3})\d')
_STRING: Final = re.compile(rb' t="s"><v>(\d{1,9})</v>')
_MERGED: Final = re.compile(rb'<mergeCell ref="([A-Z]{1,3}\d{1,7}):([A-Z]{1,3}\d{1,7})"')
_STRING_END: Final = re.compile(rb"</si>|<si\s*/>")
_STRINGS: Final = b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
_STRINGS_END: Final = b"</sst>"
_HIDING: Final = (b"<!--", b"<![CDATA[")
"""XML that could hide the end of a row."""
_COPIED: Final = frozenset(
    ("[content_types].xml", "_rels/.rels", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml")
)
_FROM_1904: Final = re.compile(rb"""\bdate1904\s*=\s*["'](?:1|true|on)["']""")
_NO_STRINGS: Final = np.zeros(1, np.int64)

Range = tuple[tuple[int, int], tuple[int, int]]
"""Top, left and bottom, right of merged cells, from 0."""


class _CannotSplitError(Exception):
    """The XML of the workbook is unusual, so it cannot be split."""


@dataclass(frozen=True)
class ScannedSheet:
    """What is known about a sheet after its XML has been read once."""

    member: Member
    xml_before_rows: bytes
    first_rows: bytes
    last_row: int
    columns: int
    merged: tuple[Range, ...]


class SplitWorkbook:
    """A workbook that is read in parts; its sheets by the path of their XML."""

    def __init__(self, file: SourceFile) -> None:
        self._path = file.path
        members = archive.list_members(file.path)
        self._copied = {
            member.name: _read_member(file.path, member)
            for member in members
            if member.name.lower() in _COPIED and member.size <= _LONGEST
        }
        self.sheets = {member.name: scan_sheet(file.path, member) for member in members if is_sheet(member)}
        self._strings: bytes | mmap.mmap = b""
        self._string_ends = _NO_STRINGS
        shared = next((member for member in members if member.name.lower() == "xl/sharedstrings.xml"), None)
        self._strings_path = shared.name if shared else "xl/sharedStrings.xml"
        if shared is not None and shared.size:
            with archive.unpack_member(file.path, shared, file.create_folder() / "strings.xml").open("rb") as unpacked:
                self._strings = mmap.mmap(unpacked.fileno(), 0, access=mmap.ACCESS_READ)
            self._string_ends = find_string_ends(self._strings)

    def close(self) -> None:
        """Close the file of the strings."""
        if isinstance(self._strings, mmap.mmap):
            self._strings.close()

    def build_sample(self) -> bytes:
        """Return a workbook with the first rows of every sheet."""
        return self._build_workbook({name: sheet.first_rows for name, sheet in self.sheets.items()})

    def iter_parts(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a sheet in parts: their XML, and a workbook that has only these rows."""
        for rows in iter_row_groups(self._path, self.sheets[name]):
            yield rows, self._build_workbook({name: rows})

    def _build_workbook(self, rows_by_sheet: dict[str, bytes]) -> bytes:
        target = io.BytesIO()
        references = [np.array(_STRING.findall(rows), "S9").astype(np.int64) for rows in rows_by_sheet.values()]
        used = np.unique(np.concatenate(references))
        if len(used) and used[-1] >= len(self._string_ends) - 1:
            message = Message("The workbook cannot be read: a cell refers to a text that is missing. Save it again.")
            raise Invalid(message, code="damaged-file")
        with zipfile.ZipFile(target, "w") as packed:
            for name, content in self._copied.items():
                packed.writestr(name, content)
            for (name, rows), of_sheet in zip(rows_by_sheet.items(), references, strict=True):
                before = self.sheets[name].xml_before_rows
                if not before.endswith(_DATA):
                    packed.writestr(name, before)
                    continue
                pieces = _STRING.split(rows)
                numbers = np.searchsorted(used, of_sheet).tolist()
                pieces[1::2] = [b' t="s"><v>%d</v>' % number for number in numbers]
                packed.writestr(name, b"".join((before, *pieces, _SHEET_END)))
            begins, ends = self._string_ends[used].tolist(), self._string_ends[used + 1].tolist()
            strings = (self._strings[begin:end] for begin, end in zip(begins, ends, strict=True))
            packed.writestr(self._strings_path, b"".join((_STRINGS, *strings, _STRINGS_END)))
        return target.getvalue()


def split_workbook(file: SourceFile) -> SplitWorkbook | None:
    """Return a workbook in parts; None if it is small, or cannot be split.

    Raises
    ------
    Invalid
        ``damaged-file``, and as `app.ingest.readers.archive.list_members`.
    """
    if not zipfile.is_zipfile(file.path):
        return None
    if sum(member.size for member in archive.list_members(file.path) if is_sheet(member)) < MIN_SPLIT_BYTES:
        return None
    try:
        return SplitWorkbook(file)
    except _CannotSplitError:
        return None


def is_sheet(member: Member) -> bool:
    """Return whether a file of the archive is the XML of a sheet."""
    return member.name.lower().startswith("xl/worksheets/") and member.suffix == "xml"


def _read_member(path: Path, member: Member) -> bytes:
    with archive.open_member(path, member) as packed:
        return packed.read()


def iter_row_blocks(packed: IO[bytes]) -> Iterator[bytes]:
    """Yield the XML before the rows, then whole rows, then the XML after them."""
    pending = b""
    while (begin := pending.find(_DATA)) < 0:
        block = packed.read(_BLOCK)
        if not block and b"<sheetData/>" in pending:
            yield pending
            return
        if not block or len(pending) > _LONGEST:
            raise _CannotSplitError
        pending += block
    yield pending[: begin + len(_DATA)]
    pending = pending[begin + len(_DATA) :]
    while (end := pending.find(_DATA_END)) < 0:
        last = pending.rfind(b"<row")
        if last > 0:
            yield pending[:last]
            pending = pending[last:]
        block = packed.read(_BLOCK)
        if not block or len(pending) > _LONGEST:
            raise _CannotSplitError
        pending += block
    yield pending[:end]
    xml_after = pending[end:]
    while block := packed.read(_BLOCK):
        xml_after += block
        if len(xml_after) > _LONGEST:
            raise _CannotSplitError
    yield xml_after


def scan_sheet(path: Path, member: Member) -> ScannedSheet:
    """Read the XML of a sheet once; raise _CannotSplitError if it cannot be split."""
    with archive.open_member(path, member) as packed:
        blocks = iter_row_blocks(packed)
        before = next(blocks)
        if b"<worksheet" not in before:
            raise _CannotSplitError
        if not before.endswith(_DATA):
            return ScannedSheet(member, before, b"", 0, 1, ())
        last_row, columns, first_rows, block = 0, 26, [], b""
        for block in blocks:
            if block.startswith(_DATA_END):
                break
            numbers = np.array(_ROW.findall(block), "S7").astype(np.int64)
            _check_plain_rows(block, numbers, last_row)
            last_row = int(numbers[-1]) if len(numbers) else last_row
            columns = max(columns, max(map(parse_column, set(_COLUMN.findall(block))), default=1))
            if columns > _MAX_COLUMNS or last_row > _MAX_ROWS:
                raise _CannotSplitError
            if len(numbers) and numbers[0] <= SAMPLE_ROWS:
                end = next((row.start() for row in _ROW.finditer(block) if int(row[1]) > SAMPLE_ROWS), None)
                first_rows.append(block[:end])
    merged = tuple(
        (xl_cell_to_rowcol(first.decode()), xl_cell_to_rowcol(last.decode())) for first, last in _MERGED.findall(block)
    )
    if len(merged) != block.count(b"<mergeCell "):
        raise _CannotSplitError
    return ScannedSheet(member, before, b"".join(first_rows), last_row, columns, merged)


def _check_plain_rows(block: bytes, numbers: NDArray[np.int64], last_row: int) -> None:
    strings = block.count(b't="s"')
    if (
        len(numbers) != block.count(b"<row")
        or strings != (len(_STRING.findall(block)) if strings else 0)
        or b"='" in block
        or any(sign in block for sign in _HIDING)
        or (np.diff(numbers, prepend=last_row) <= 0).any()
    ):
        raise _CannotSplitError


def iter_row_groups(path: Path, sheet: ScannedSheet) -> Iterator[bytes]:
    """Yield the XML of the rows of each part."""
    pieces: list[bytes] = []
    first, count = 0, 0
    with archive.open_member(path, sheet.member) as packed:
        blocks = iter_row_blocks(packed)
        next(blocks)
        for block in blocks:
            if block.startswith(_DATA_END):
                break
            begin = 0
            numbers = _ROW.findall(block)
            if numbers:
                first = first if count else int(numbers[0])
                if _is_small_enough(count + len(numbers), int(numbers[-1]) - first, sheet.columns):
                    pieces.append(block)
                    count += len(numbers)
                    continue
            for match in _ROW.finditer(block):
                number = int(match[1])
                if count and not _is_small_enough(count + 1, number - first, sheet.columns):
                    pieces.append(block[begin : match.start()])
                    yield b"".join(pieces)
                    pieces, begin, count = [], match.start(), 0
                first = first if count else number
                count += 1
            pieces.append(block[begin:])
    if count:
        yield b"".join(pieces)


def _is_small_enough(count: int, height: int, columns: int) -> bool:
    return count <= _PART_ROWS and height * columns <= _PART_CELLS


def find_string_ends(text: mmap.mmap) -> NDArray[np.int64]:
    """Return the offset of the first string of a workbook, then the offsets at which strings end."""
    first = text.find(b"<si")
    if any(text.find(sign) >= 0 for sign in _HIDING):
        raise _CannotSplitError
    if first < 0:
        return _NO_STRINGS
    ends = [match.end() for match in _STRING_END.finditer(text, first)]
    return np.array([first, *ends], np.int64)


def parse_column(letters: bytes) -> int:
    """Return the number of a column, from 1.

    Examples
    --------
    >>> parse_column(b"A"), parse_column(b"AB")
    (1, 28)
    """
    return int(xl_cell_to_rowcol(f"{letters.decode()}1")[1]) + 1


def has_1904_dates(path: Path) -> bool:
    """Return whether a workbook counts its days from 1904, as those of old Macintoshes do."""
    member = next((member for member in archive.list_members(path) if member.name == "xl/workbook.xml"), None)
    return member is not None and _FROM_1904.search(_read_member(path, member)) is not None
