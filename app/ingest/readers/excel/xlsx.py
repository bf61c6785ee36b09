"""Large sheets of XLSX workbooks, cut between rows into small workbooks.

The reader of workbooks holds a sheet as a whole. Of a large one it is given some thousand rows at a
time, with the strings they share, so that memory does not grow with the rows and every value is read
by the same reader. Only what is written plainly, as all usual programs do, can be cut; the rest is
left to be read whole.
"""

import io
import mmap
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.archive import Member

LARGE: Final = 64 << 20
"""Unpacked bytes of the sheets of a workbook that is cut."""
SAMPLE_ROWS: Final = 100
_ROWS: Final = 10_000
_MOST_CELLS: Final = 1_000_000
"""Rows, and cells of the rectangle they take, of one part."""
_MOST_COLUMNS: Final = 1_000
_LAST_ROW: Final = 1_048_576
_BLOCK: Final = 1 << 20
_LONGEST: Final = 32 << 20
"""Bytes of one row, or of what follows the rows."""
_DATA, _END, _LAST = b"<sheetData>", b"</sheetData>", b"</sheetData></worksheet>"
_ROW: Final = re.compile(rb'<row\b[^>]*? r="(\d{1,7})"')
_COLUMN: Final = re.compile(rb' r="([A-Z]{2,3})\d')
_STRING: Final = re.compile(rb' t="s"><v>(\d{1,9})</v>')
_MERGED: Final = re.compile(rb'<mergeCell ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
_SHARED_END: Final = re.compile(rb"</si>|<si\s*/>")
_STRINGS: Final = (
    b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">', b"</sst>",
)  # fmt: skip
_HIDING: Final = (b"<!--", b"<![CDATA[")
"""What could hide the end of a row."""
_KEPT: Final = frozenset(
    ("[content_types].xml", "_rels/.rels", "xl/workbook.xml", "xl/_rels/workbook.xml.rels",
     "xl/styles.xml")
)  # fmt: skip
_NO_STRINGS: Final = np.zeros(1, np.int64)

Range = tuple[tuple[int, int], tuple[int, int]]


class _CannotSplitError(Exception):
    """The workbook cannot be cut."""


@dataclass(frozen=True)
class ScannedSheet:
    """What going through a sheet found."""

    member: Member
    xml_before_rows: bytes
    """What stands before the rows."""
    first_rows: bytes
    """The first rows."""
    last_row: int
    columns: int
    merged: tuple[Range, ...]
    """Merged cells as top, left and bottom, right, from 0."""


class SplitWorkbook:
    """A workbook that is cut; sheets by the path of their XML."""

    def __init__(self, path: Path, folder: Callable[[], Path]) -> None:
        self._path = path
        held = archive.list_members(path)
        self._small = {
            member.name: _read_member(path, member)
            for member in held
            if member.name.lower() in _KEPT and member.size <= _LONGEST
        }
        self.sheets = {member.name: scan_sheet(path, member) for member in held if is_sheet(member)}
        self._text: bytes | mmap.mmap = b""
        self._ends = _NO_STRINGS
        shared = next((one for one in held if one.name.lower() == "xl/sharedstrings.xml"), None)
        self._shared = shared.name if shared else "xl/sharedStrings.xml"
        if shared is not None and shared.size:
            with archive.unpack_member(path, shared, folder() / "strings.xml").open("rb") as file:
                self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._ends = find_string_ends(self._text)

    def close(self) -> None:
        """Let go of the strings."""
        if isinstance(self._text, mmap.mmap):
            self._text.close()

    def build_sample(self) -> bytes:
        """Return the workbook with the first rows of every sheet."""
        return self._build_workbook({name: sheet.first_rows for name, sheet in self.sheets.items()})

    def iter_parts(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a sheet some at a time: their XML, and the workbook with them alone."""
        sheet = self.sheets[name]
        for rows in iter_row_groups(self._path, sheet):
            yield rows, self._build_workbook({name: rows})

    def _build_workbook(self, sheets: dict[str, bytes]) -> bytes:
        target = io.BytesIO()
        wanted = [np.array(_STRING.findall(rows), "S9").astype(np.int64) for rows in sheets.values()]
        used = np.unique(np.concatenate(wanted))
        if len(used) and used[-1] >= len(self._ends) - 1:
            raise Invalid(
                "The workbook cannot be read: a cell has a string that is not there.",
                code="damaged-file",
            )
        with zipfile.ZipFile(target, "w") as packed:
            for name, content in self._small.items():
                packed.writestr(name, content)
            for (name, rows), places in zip(sheets.items(), wanted, strict=True):
                before = self.sheets[name].xml_before_rows
                if not before.endswith(_DATA):
                    packed.writestr(name, before)
                    continue
                cut = _STRING.split(rows)
                numbers = np.searchsorted(used, places).tolist()
                cut[1::2] = [b' t="s"><v>%d</v>' % number for number in numbers]
                packed.writestr(name, b"".join((before, *cut, _LAST)))
            begins, ends = self._ends[used].tolist(), self._ends[used + 1].tolist()
            strings = (self._text[at:end] for at, end in zip(begins, ends, strict=True))
            packed.writestr(self._shared, b"".join((_STRINGS[0], *strings, _STRINGS[1])))
        return target.getvalue()


def split_workbook(path: Path, folder: Callable[[], Path]) -> SplitWorkbook | None:
    """Return a workbook in parts; None where it is small, or cannot be cut.

    Raises
    ------
    Invalid
        ``damaged-file``, and as `app.ingest.readers.archive.list_members`.
    """
    if not zipfile.is_zipfile(path):
        return None
    if sum(member.size for member in archive.list_members(path) if is_sheet(member)) < LARGE:
        return None
    try:
        return SplitWorkbook(path, folder)
    except _CannotSplitError:
        return None


def is_sheet(member: Member) -> bool:
    return member.name.lower().startswith("xl/worksheets/") and member.suffix == "xml"


def _read_member(path: Path, member: Member) -> bytes:
    with archive.open_member(path, member) as packed:
        return packed.read()


def iter_row_blocks(packed: IO[bytes]) -> Iterator[bytes]:
    """Yield what stands before the rows, then whole rows, then what follows them."""
    held = b""
    while (at := held.find(_DATA)) < 0:
        block = packed.read(_BLOCK)
        if not block and b"<sheetData/>" in held:
            yield held
            return
        if not block or len(held) > _LONGEST:
            raise _CannotSplitError
        held += block
    yield held[: at + len(_DATA)]
    held = held[at + len(_DATA) :]
    while (end := held.find(_END)) < 0:
        last = held.rfind(b"<row")
        if last > 0:
            yield held[:last]
            held = held[last:]
        block = packed.read(_BLOCK)
        if not block or len(held) > _LONGEST:
            raise _CannotSplitError
        held += block
    yield held[:end]
    rest = held[end:]
    while block := packed.read(_BLOCK):
        rest += block
        if len(rest) > _LONGEST:
            raise _CannotSplitError
    yield rest


def scan_sheet(path: Path, member: Member) -> ScannedSheet:
    """Go through a sheet, and make sure that it can be cut."""
    with archive.open_member(path, member) as packed:
        pieces = iter_row_blocks(packed)
        before = next(pieces)
        if b"<worksheet" not in before:
            raise _CannotSplitError
        if not before.endswith(_DATA):
            return ScannedSheet(member, before, b"", 0, 1, ())
        last, columns, head, piece = 0, 26, [], b""
        for piece in pieces:
            if piece.startswith(_END):
                break
            numbers = np.array(_ROW.findall(piece), "S7").astype(np.int64)
            strings = piece.count(b't="s"')
            if (
                len(numbers) != piece.count(b"<row")
                or strings != (len(_STRING.findall(piece)) if strings else 0)
                or b"='" in piece
                or any(sign in piece for sign in _HIDING)
                or (np.diff(numbers, prepend=last) <= 0).any()
            ):
                raise _CannotSplitError
            last = int(numbers[-1]) if len(numbers) else last
            columns = max(columns, max(map(number, set(_COLUMN.findall(piece))), default=1))
            if columns > _MOST_COLUMNS or last > _LAST_ROW:
                raise _CannotSplitError
            if len(numbers) and numbers[0] <= SAMPLE_ROWS:
                beyond = next((m.start() for m in _ROW.finditer(piece) if int(m[1]) > SAMPLE_ROWS), None)
                head.append(piece[:beyond])
    merged = tuple(
        ((int(top) - 1, number(left) - 1), (int(bottom) - 1, number(right) - 1))
        for left, top, right, bottom in _MERGED.findall(piece)
    )
    if len(merged) != piece.count(b"<mergeCell "):
        raise _CannotSplitError
    return ScannedSheet(member, before, b"".join(head), last, columns, merged)


def iter_row_groups(path: Path, sheet: ScannedSheet) -> Iterator[bytes]:
    """Yield rows that make a part."""
    part: list[bytes] = []
    first, count = 0, 0
    with archive.open_member(path, sheet.member) as packed:
        pieces = iter_row_blocks(packed)
        next(pieces)
        for piece in pieces:
            if piece.startswith(_END):
                break
            begin = 0
            numbers = _ROW.findall(piece)
            if numbers:
                first = first if count else int(numbers[0])
                if _is_small_enough(count + len(numbers), int(numbers[-1]) - first, sheet.columns):
                    part.append(piece)
                    count += len(numbers)
                    continue
            for found in _ROW.finditer(piece):
                row = int(found[1])
                if count and not _is_small_enough(count + 1, row - first, sheet.columns):
                    part.append(piece[begin : found.start()])
                    yield b"".join(part)
                    part, begin, count = [], found.start(), 0
                first = first if count else row
                count += 1
            part.append(piece[begin:])
    if count:
        yield b"".join(part)


def _is_small_enough(count: int, height: int, columns: int) -> bool:
    return count <= _ROWS and height * columns <= _MOST_CELLS


def find_string_ends(text: mmap.mmap) -> NDArray[np.int64]:
    """Return where the strings of a workbook begin, each one where the one before it ends."""
    first = text.find(b"<si")
    if any(text.find(sign) >= 0 for sign in _HIDING):
        raise _CannotSplitError
    if first < 0:
        return _NO_STRINGS
    ends = [found.end() for found in _SHARED_END.finditer(text, first)]
    return np.array([first, *ends], np.int64)


def number(letters: bytes) -> int:
    """Return the number of a column, from 1.

    Examples
    --------
    >>> number(b"A"), number(b"AB")
    (1, 28)
    """
    place = 0
    for letter in letters:
        place = place * 26 + letter - 64
    return place


# Cells of an XLSX sheet that show no value: failed formulas, and formulas nobody has computed.
#
# The reader of workbooks delivers both as blank, and a blank cell empties a field. So their places are
# looked up in the XML, to be read as the error that the spreadsheet programme shows.

NOT_COMPUTED: Final = "#CALC!"
"""What a formula without a value is read as."""
MOST: Final = 100_000
"""Cells that are remembered; a sheet with more of them is wrong as a whole anyhow."""
_SCAN_BLOCK: Final = 1 << 20
_CELL: Final = re.compile(
    rb'<(?:\w+:)?c r="([A-Z]{1,3})(\d{1,7})"([^>]*)>(?:<(?:\w+:)?f\b[^>]*?(?:/>|>[^<]*</(?:\w+:)?f>))?'
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v[^>]*>([^<]*)</(?:\w+:)?v>)?</(?:\w+:)?c>"
)
_FORMULA: Final = re.compile(rb"<(?:\w+:)?f\b")
_SHEET: Final = re.compile(r'<(?:\w+:)?sheet\b[^>]*?\bname="([^"]*)"[^>]*?\br:id="([^"]*)"')
_FROM_1904: Final = re.compile(rb"""\bdate1904\s*=\s*["'](?:1|true|on)["']""")
_RELATION: Final = re.compile(r"<Relationship\b[^>]*>")

ErrorCells = dict[int, list[tuple[int, str]]]
"""Row from 0 -> columns from 0 with the error each cell shows."""


def find_cells_without_value(path: Path, sheet: str) -> ErrorCells:
    """Return the cells of a sheet that hold an error, or a formula without a value."""
    part = find_sheet_path(path, sheet)
    member = next((one for one in archive.list_members(path) if one.name == part), None)
    spots: ErrorCells = {}
    if member is None:
        return spots
    count, held = 0, b""
    with archive.open_member(path, member) as packed:
        while block := packed.read(_SCAN_BLOCK):
            block = held + block
            last = block.rfind(b"<row")
            held = block[last:] if last >= 0 and len(block) - last < _SCAN_BLOCK else b""
            whole = block[: len(block) - len(held)]
            count += add_cells_without_value(whole, spots)
            if count > MOST:
                return spots
    add_cells_without_value(held, spots)
    return spots


def add_cells_without_value(block: bytes, spots: ErrorCells) -> int:
    """Add the cells of whole rows that hold an error or a formula without a value; count them."""
    if b'"e"' not in block and b"f>" not in block:
        return 0
    found = 0
    for cell in _CELL.finditer(block):
        letters, row, attributes, value = cell.groups()
        if b't="e"' in attributes:
            text = (value or b"").decode("ascii", "replace")
        elif b" t=" not in attributes and not value and _FORMULA.search(cell[0]):
            text = NOT_COMPUTED
        else:
            continue
        found += 1
        spots.setdefault(int(row) - 1, []).append((_number(letters) - 1, text))
    return found


def has_1904_dates(path: Path) -> bool:
    """Tell whether a workbook counts its days from 1904, as those of old Macintoshes do."""
    member = next((one for one in archive.list_members(path) if one.name == "xl/workbook.xml"), None)
    if member is None:
        return False
    with archive.open_member(path, member) as packed:
        return _FROM_1904.search(packed.read()) is not None


def find_sheet_path(path: Path, sheet: str) -> str:
    """Return the path of a sheet's XML inside the workbook, "" when it cannot be told."""
    held = {member.name: member for member in archive.list_members(path)}
    parts = [held.get(name) for name in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels")]
    texts = []
    for member in parts:
        if member is None:
            return ""
        with archive.open_member(path, member) as packed:
            texts.append(packed.read().decode("utf-8", "replace"))
    book, relations = texts
    key = next((one for name, one in _SHEET.findall(book) if _plain(name) == sheet), None)
    for relation in _RELATION.findall(relations):
        told = dict(re.findall(r'(\w+)="([^"]*)"', relation))
        if key is not None and told.get("Id") == key:
            target = told.get("Target", "")
            target = target.replace("\\", "/")
            return target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)
    return ""


def _plain(name: str) -> str:
    for entity, sign in (
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", '"'),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ):
        name = name.replace(entity, sign)
    return name


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
