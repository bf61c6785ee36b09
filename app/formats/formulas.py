"""Cells of an XLSX sheet that show no value: failed formulas, and formulas nobody has computed.

The reader of workbooks delivers both as blank, and a blank cell empties a field. So their places are
looked up in the XML, to be read as the error that the spreadsheet programme shows.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Final

from app.formats import archive

NOT_COMPUTED: Final = "#CALC!"
"""What a formula without a value is read as."""
MOST: Final = 100_000
"""Cells that are remembered; a sheet with more of them is wrong as a whole anyhow."""
_BLOCK: Final = 1 << 20
_CELL: Final = re.compile(
    rb'<(?:\w+:)?c r="([A-Z]{1,3})(\d{1,7})"([^>]*)>(?:<(?:\w+:)?f\b[^>]*?(?:/>|>[^<]*</(?:\w+:)?f>))?'
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v[^>]*>([^<]*)</(?:\w+:)?v>)?</(?:\w+:)?c>"
)
_FORMULA: Final = re.compile(rb"<(?:\w+:)?f\b")
_SHEET: Final = re.compile(r'<(?:\w+:)?sheet\b[^>]*?\bname="([^"]*)"[^>]*?\br:id="([^"]*)"')
_FROM_1904: Final = re.compile(rb"""\bdate1904\s*=\s*["'](?:1|true|on)["']""")
_RELATION: Final = re.compile(r"<Relationship\b[^>]*>")

Spots = dict[int, list[tuple[int, str]]]
"""Row from 0 -> columns from 0 with the error each cell shows."""


def without_value(path: Path, sheet: str) -> Spots:
    """Return the cells of a sheet that hold an error, or a formula without a value."""
    part = part_of(path, sheet)
    member = next((one for one in archive.members(path) if one.name == part), None)
    spots: Spots = {}
    if member is None:
        return spots
    count, held = 0, b""
    with archive.reading(path, member) as packed:
        while block := packed.read(_BLOCK):
            block = held + block
            last = block.rfind(b"<row")
            held = block[last:] if last >= 0 and len(block) - last < _BLOCK else b""
            whole = block[: len(block) - len(held)]
            count += look(whole, spots)
            if count > MOST:
                return spots
    look(held, spots)
    return spots


def look(block: bytes, spots: Spots) -> int:
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


def counts_from_1904(path: Path) -> bool:
    """Tell whether a workbook counts its days from 1904, as those of old Macintoshes do."""
    member = next((one for one in archive.members(path) if one.name == "xl/workbook.xml"), None)
    if member is None:
        return False
    with archive.reading(path, member) as packed:
        return _FROM_1904.search(packed.read()) is not None


def part_of(path: Path, sheet: str) -> str:
    """Return the path of a sheet's XML inside the workbook, "" when it cannot be told."""
    held = {member.name: member for member in archive.members(path)}
    parts = [held.get(name) for name in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels")]
    texts = []
    for member in parts:
        if member is None:
            return ""
        with archive.reading(path, member) as packed:
            texts.append(packed.read().decode("utf-8", "replace"))
    book, relations = texts
    key = next((one for name, one in _SHEET.findall(book) if _plain(name) == sheet), None)
    for relation in _RELATION.findall(relations):
        told = dict(re.findall(r'(\w+)="([^"]*)"', relation))
        if key is not None and told.get("Id") == key:
            target = told.get("Target", "")
            target = target.replace("\\", "/")
            return (
                target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)
            )
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
