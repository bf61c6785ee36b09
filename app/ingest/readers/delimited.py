"""Comma, semicolon, tab and bar separated text.

Promises exact row numbers, every cell as text and no row lost: a row with too few or too many
cells is delivered and told. Regular stretches go through pyarrow; a file whose quotes do not
follow the rules is read by Python's csv, from there on.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as pacsv

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.header_row import Header, find
from app.ingest.readers.model import Batch, Detected, Named, Oddity, Opened, Tally, Wanted
from app.ingest.values.text import clean, clean_cell, unguarded

# Quotation marks of delimited text: where records end, and marks that stand against the rules.


def record_end(block: bytes) -> int:
    """Return where the last whole record of a block ends."""
    end = block.rfind(b"\n")
    if end < 0 or b'"' not in block:
        return end + 1
    # Quotes may be in every cell: counting them one by one takes longer than looking at all bytes.
    quotes = int(np.count_nonzero(np.frombuffer(block, np.uint8, end) == ord('"')))
    while quotes % 2:
        before = block.rfind(b"\n", 0, end)
        if before < 0:
            return 0
        quotes -= block.count(b'"', before, end)
        end = before
    return end + 1


def stray(block: bytes, delimiter: str) -> bool:
    """Tell whether a quote opens or closes in the middle of a cell."""
    codes = np.frombuffer(block, np.uint8)
    places = np.flatnonzero(codes == ord('"'))
    opening, closing = places[0::2], places[1::2]
    # A doubled quote closes and opens at once.
    edges = np.zeros(256, bool)
    edges[[ord(delimiter), ord("\n"), ord("\r"), ord('"')]] = True
    begins = opening[opening > 0]
    ends = closing[closing < len(codes) - 1]
    closed = edges[codes[ends + 1]].all()
    edges[ord("=")] = True  # ="4108" is one cell to every reader
    return not (closed and edges[codes[begins - 1]].all())


def requoted(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Double the quotes that a program has left alone inside quoted cells: ``,"a"b"c",``.

    Only where the cell ends in a quote and has no delimiter in it, so that it can mean nothing else.
    """
    sign = re.escape(delimiter)
    cell = re.compile(rf'(?:^|(?<={sign}))"(?!")([^"{sign}\r\n]*(?:"{{1,2}}[^"{sign}\r\n]+)+)"(?={sign}|[\r\n]|$)')
    for line in lines:
        yield cell.sub(_doubled, line) if line.count('"') > 2 else line


def _doubled(cell: re.Match[str]) -> str:
    return '"' + re.sub('"{1,2}', '""', cell[1]) + '"'


DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_RARE: Final = {"，": "fullwidth comma", "；": "fullwidth semicolon", "^": "caret"}
"""Looked for where the usual ones cut nothing: they also stand in ordinary text."""
LONGEST_ROW: Final = 4 << 20
"""Bytes of one row; a quote that is never closed runs into this."""
_SAMPLE_BYTES: Final = 1 << 18
_SAMPLE_ROWS: Final = 100
_SURE: Final = 0.5
"""Share of the rows that a delimiter cuts into the same number of cells."""
_BLOCKS: Final = (1 << 18, 1 << 23)
# How programs keep a spreadsheet from making a number of a code: ="4108", and an apostrophe.
_FORCED: Final = {b'="': r'^="([^"]*)"$', b"'": r"^'([0-9]+)$"}
_Rows = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class _Shape:
    """How the text is cut: delimiter, physical width, header."""

    delimiter: str
    width: int
    header: Header
    row_bytes: int


def open_delimited(file: Named, wanted: Wanted) -> Opened:
    """Open delimited text.

    Raises
    ------
    Invalid
        ``wrong-encoding``, ``unknown-encoding``, ``no-such-row``, ``unclosed-quote``.
    """
    coding = encodings.detect(file.path, wanted.encoding)
    head, whole = encodings.head_text(file.path, coding, _SAMPLE_BYTES)
    delimiter = _stated(wanted.delimiter) or _delimiter(head, whole, file.suffix)
    rows = _sample(head, delimiter, whole)
    if rows == [[""]] and len(head) > csv.field_size_limit():
        raise _too_long(1)
    header = find([[clean_cell(cell) for cell in row] for row in rows], wanted.header_row)
    shape = _Shape(
        delimiter,
        _physical_width(rows, header),
        header,
        max(1, len(head.encode()) // len(rows or " ")),
    )
    header_row = header.row or 0
    detected = Detected(
        format="tsv" if delimiter == "\t" else "csv",
        encoding=coding.name,
        delimiter=delimiter,
        header_row=header.row,
        rows=None if coding.lines is None else max(0, coding.lines - header_row),
        notes=(*coding.notes, *header.notes),
    )
    tally = Tally()
    names = tuple(header.names[at] for at in header.kept)

    def read(rows: int) -> Iterator[Batch]:
        return _batches(file, coding, shape, rows, tally)

    return Opened(detected, names, read, tally)


def _stated(delimiter: str | None) -> str | None:
    if delimiter is None:
        return None
    named = {name: sign for sign, name in (DELIMITERS | _RARE).items()} | {"\\t": "\t"}
    sign = named.get(delimiter, delimiter)
    if len(sign) != 1 or sign in '"\r\n':
        raise Invalid(
            f"The delimiter must be one character, such as , ; | or tab, not {delimiter!r}.",
            code="unknown-delimiter",
        )
    return sign


def _delimiter(head: str, whole: bool, suffix: str) -> str:
    """Return the sign that cuts most rows into the same number of cells."""
    first = head.split("\n", 1)[0].strip().lower()
    if len(first) == 5 and first.startswith("sep=") and first[4] in DELIMITERS:
        return first[4]
    best = "\t" if suffix == "tsv" else ","
    for signs in (DELIMITERS, _RARE):
        score = (0.0, 0)
        for sign in signs:
            counts = Counter(len(row) for row in _sample(head, sign, whole) if any(row))
            if not counts:
                continue
            count, times = max(counts.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
            if count > 1 and (times / counts.total(), count) > score:
                best, score = sign, (times / counts.total(), count)
        if score[0] >= _SURE:
            break
    return best


def _sample(head: str, delimiter: str, whole: bool) -> list[list[str]]:
    text = head if whole else head[: head.rfind("\n") + 1]
    lines = requoted(io.StringIO(text, newline=""), delimiter)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows.append(row)
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # the reading itself tells it, with its row
    return rows or [[""]]


def _physical_width(rows: Sequence[Sequence[str]], header: Header) -> int:
    below = Counter(len(row) for row in rows[header.row or 0 :] if any(row))
    usual = below.most_common(1)[0][0] if below else 0
    named = max(header.kept, default=-1) + 1
    line = len(rows[header.row - 1]) if header.row else 0
    return max(named, usual, line if line >= usual else 0, 1)


def _batches(file: Named, coding: Encoding, shape: _Shape, rows: int, tally: Tally) -> Iterator[Batch]:
    size = min(max(rows * shape.row_bytes, _BLOCKS[0]), _BLOCKS[1])
    skipped = shape.header.row or 0
    blocks = encodings.text_blocks(file.path, coding, size)
    for numbers, table, odd in _tables(blocks, shape, tally, rows):
        if len(numbers) and numbers[0] <= skipped:
            keep = numbers > skipped
            numbers, table = numbers[keep], table.filter(pa.array(keep))
        odd = [one for one in odd if one.row > skipped]
        yield from _cut(numbers, table, odd, shape, rows)


def _cut(numbers: NDArray[np.int64], table: pa.Table, odd: list[Oddity], shape: _Shape, rows: int) -> Iterator[Batch]:
    cells = [unguarded(clean(_one(column))) for column in table.columns]
    filled = _not_blank(cells, len(numbers))
    if not filled.all():
        mask = pa.array(filled)
        numbers, cells = numbers[filled], [column.filter(mask) for column in cells]
    names = shape.header.names
    kept = [at for at in shape.header.kept if at < len(cells)]
    for at in range(len(cells)):
        if at >= len(names) or not names[at]:
            odd += _beyond(numbers, cells[at], at)
    odd = _once_each(odd)
    for begin in range(0, len(numbers), rows):
        part = numbers[begin : begin + rows]
        told = [one for one in odd if part[0] <= one.row <= part[-1]] if odd else ()
        yield Batch(part, {names[at]: cells[at].slice(begin, rows) for at in kept}, odd=tuple(told))


def _once_each(odd: list[Oddity]) -> list[Oddity]:
    return list({(one.row, one.code): one for one in sorted(odd, key=lambda one: one.row)}.values())


def _not_blank(cells: list[pa.StringArray], count: int) -> NDArray[np.bool_]:
    if not count or any(column.null_count == 0 for column in cells):
        return np.ones(count, bool)
    filled = np.zeros(count, bool)
    for column in cells:
        filled |= np.asarray(pc.is_valid(column))
    return filled


def _beyond(numbers: NDArray[np.int64], column: pa.StringArray, at: int) -> list[Oddity]:
    if column.null_count == len(column):
        return []
    there = np.flatnonzero(np.asarray(pc.is_valid(column)))
    return [_too_many(int(numbers[row])) for row in there]


def _too_many(row: int) -> Oddity:
    return Oddity(
        row,
        "too-many-cells",
        "A row has more cells than the header; its values may stand in the wrong columns.",
        severity="error",
    )


def _too_few(row: int) -> Oddity:
    return Oddity(row, "too-few-cells", "A row has fewer cells than the header; the rest is blank.")


def _tables(
    blocks: Iterator[bytes], shape: _Shape, tally: Tally, rows: int
) -> Iterator[tuple[NDArray[np.int64], pa.Table, list[Oddity]]]:
    """Yield numbered rows; change to the patient reader where quotes break the rules."""
    first, held = 1, b""
    for fresh in blocks:
        block = held + fresh
        if not shape.delimiter.isascii():
            yield from _patient(_chain(block, blocks), shape, first, rows)
            return
        if b'"' in block and stray(block, shape.delimiter):
            tally.note("Quotation marks stand inside cells; they are kept as they are.")
            yield from _patient(_chain(block, blocks), shape, first, rows)
            return
        cut = record_end(block)
        if cut == 0 and len(block) > LONGEST_ROW:
            raise _unclosed(first) if b'"' in block else _too_long(first)
        held = block[cut:]
        if cut:
            numbers, table, odd, count = _parse(block[:cut], shape, first, tally)
            first += count
            yield numbers, table, odd
    if held:
        if held.count(b'"') % 2:
            raise _unclosed(first)
        numbers, table, odd, _ = _parse(held, shape, first, tally)
        yield numbers, table, odd


def _chain(block: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield block
    yield from rest


def _parse(
    block: bytes, shape: _Shape, first: int, tally: Tally
) -> tuple[NDArray[np.int64], pa.Table, list[Oddity], int]:
    """Read whole records; return their numbers, cells, what is odd, and how many there were."""
    irregular: list[tuple[int, str]] = []

    def keep(row: pacsv.InvalidRow) -> str:
        irregular.append((row.number, row.text))
        return "skip"

    names = [str(at) for at in range(shape.width)]
    quoted = b'"' in block
    try:
        table = pacsv.read_csv(
            pa.BufferReader(block),
            pacsv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
            pacsv.ParseOptions(
                delimiter=shape.delimiter,
                newlines_in_values=quoted,
                ignore_empty_lines=False,
                invalid_row_handler=keep,
            ),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise Invalid(f"The rows from {first:,} on cannot be read as a table: {error}.", code="damaged-file") from None
    count = table.num_rows + len(irregular)
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if quoted and lines > count:
        tally.note("Cells contain line breaks; rows are counted as a spreadsheet programme counts them.")
    if not irregular:
        return np.arange(first, first + count, dtype=np.int64), table, [], count
    apart = np.zeros(count, bool)
    apart[[number - 1 for number, _ in irregular]] = True
    regular = np.flatnonzero(~apart) + first
    read = [(number + first - 1, _one_row(text, shape.delimiter, number + first - 1)) for number, text in irregular]
    more, odd = _fitted(read, shape.width)
    numbers = np.concatenate([regular, [number for number, _ in read]]).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    table = pa.concat_tables([table, more]).take(pa.array(order))
    return numbers[order], table, odd, count


def _one_row(text: str, delimiter: str, row: int) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return next(reader, [])
    except csv.Error:
        raise _too_long(row) from None


def _fitted(rows: _Rows, width: int) -> tuple[pa.Table, list[Oddity]]:
    """Return rows of any length as a table of the usual width, and what did not fit."""
    odd = []
    for number, cells in rows:
        if any(clean_cell(cell) for cell in cells[width:]):
            odd.append(_too_many(number))
        elif 0 < len(cells) < width:
            odd.append(_too_few(number))
    columns = [
        pa.array([cells[at] if at < len(cells) else None for _, cells in rows], pa.string()) for at in range(width)
    ]
    return pa.table(columns, names=[str(at) for at in range(width)]), odd


def _patient(
    blocks: Iterable[bytes], shape: _Shape, first: int, rows: int
) -> Iterator[tuple[NDArray[np.int64], pa.Table, list[Oddity]]]:
    lines = requoted(_lines(blocks), shape.delimiter)
    reader = csv.reader(lines, delimiter=shape.delimiter, skipinitialspace=True)
    number, held = first - 1, []
    try:
        for number, cells in enumerate(reader, first):
            held.append((number, cells))
            if len(held) == rows:
                yield _numbered(held, shape.width)
                held = []
    except csv.Error:
        raise _unclosed(number + 1) from None
    if held:
        yield _numbered(held, shape.width)


def _numbered(rows: _Rows, width: int) -> tuple[NDArray[np.int64], pa.Table, list[Oddity]]:
    table, odd = _fitted(rows, width)
    return np.array([number for number, _ in rows], np.int64), table, odd


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    held = b""
    for block in blocks:
        lines = (held + block).split(b"\n")
        held = lines.pop()
        if len(held) > LONGEST_ROW:
            raise csv.Error
        for line in lines:
            yield line.decode("utf-8") + "\n"
    if held:
        yield held.decode("utf-8")


def _unclosed(row: int) -> Invalid:
    return Invalid(
        f"A quotation mark opened in row {row:,} is not closed, or the row is longer than {LONGEST_ROW >> 20} MB.",
        code="unclosed-quote",
    )


def _too_long(row: int) -> Invalid:
    return Invalid(
        f"A cell of row {row:,} is longer than {csv.field_size_limit():,} signs: this is no table, "
        "or its line ends are missing.",
        code="damaged-file",
    )


def _one(column: pa.ChunkedArray) -> pa.StringArray:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    data = array.buffers()[2]
    content = memoryview(data).tobytes() if data is not None else b""
    for sign, pattern in _FORCED.items():
        if sign in content:
            array = pc.replace_substring_regex(array, pattern, r"\1")
    return array
