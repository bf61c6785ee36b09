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
from app.ingest.readers.header_row import Header, find_header
from app.ingest.readers.model import Batch, DetectedFormat, FormatIssue, IssueLog, ReadOptions, SourceFile, TableReader
from app.ingest.values.text import clean_cell, clean_column, remove_guards

# Quotation marks of delimited text: where records end, and marks that stand against the rules.


def find_record_end(block: bytes) -> int:
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


def has_stray_quote(block: bytes, delimiter: str) -> bool:
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


def iter_requoted(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Double the quotes that a program has left alone inside quoted cells: ``,"a"b"c",``.

    Only where the cell ends in a quote and has no delimiter in it, so that it can mean nothing else.
    """
    sign = re.escape(delimiter)
    cell = re.compile(rf'(?:^|(?<={sign}))"(?!")([^"{sign}\r\n]*(?:"{{1,2}}[^"{sign}\r\n]+)+)"(?={sign}|[\r\n]|$)')
    for line in lines:
        yield cell.sub(_double_quotes, line) if line.count('"') > 2 else line


def _double_quotes(cell: re.Match[str]) -> str:
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
class TextLayout:
    """How the text is cut: delimiter, physical width, header."""

    delimiter: str
    width: int
    header: Header
    row_bytes: int


def open_delimited(file: SourceFile, wanted: ReadOptions) -> TableReader:
    """Open delimited text.

    Raises
    ------
    Invalid
        ``wrong-encoding``, ``unknown-encoding``, ``no-such-row``, ``unclosed-quote``.
    """
    coding = encodings.detect_encoding(file.path, wanted.encoding)
    head, whole = encodings.read_head_text(file.path, coding, _SAMPLE_BYTES)
    delimiter = parse_delimiter(wanted.delimiter) or detect_delimiter(head, whole, file.suffix)
    rows = read_sample(head, delimiter, whole)
    if rows == [[""]] and len(head) > csv.field_size_limit():
        raise _cell_too_long(1)
    header = find_header([[clean_cell(cell) for cell in row] for row in rows], wanted.header_row)
    shape = TextLayout(
        delimiter,
        compute_width(rows, header),
        header,
        max(1, len(head.encode()) // len(rows or " ")),
    )
    header_row = header.row or 0
    detected = DetectedFormat(
        format="tsv" if delimiter == "\t" else "csv",
        encoding=coding.name,
        delimiter=delimiter,
        header_row=header.row,
        rows=None if coding.lines is None else max(0, coding.lines - header_row),
        notes=(*coding.notes, *header.notes),
    )
    tally = IssueLog()
    names = tuple(header.names[at] for at in header.columns)

    def read(rows: int) -> Iterator[Batch]:
        return iter_row_batches(file, coding, shape, rows, tally)

    return TableReader(detected, names, read, tally)


def parse_delimiter(delimiter: str | None) -> str | None:
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


def detect_delimiter(head: str, whole: bool, suffix: str) -> str:
    """Return the sign that cuts most rows into the same number of cells."""
    first = head.split("\n", 1)[0].strip().lower()
    if len(first) == 5 and first.startswith("sep=") and first[4] in DELIMITERS:
        return first[4]
    best = "\t" if suffix == "tsv" else ","
    for signs in (DELIMITERS, _RARE):
        score = (0.0, 0)
        for sign in signs:
            counts = Counter(len(row) for row in read_sample(head, sign, whole) if any(row))
            if not counts:
                continue
            count, times = max(counts.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
            if count > 1 and (times / counts.total(), count) > score:
                best, score = sign, (times / counts.total(), count)
        if score[0] >= _SURE:
            break
    return best


def read_sample(head: str, delimiter: str, whole: bool) -> list[list[str]]:
    text = head if whole else head[: head.rfind("\n") + 1]
    lines = iter_requoted(io.StringIO(text, newline=""), delimiter)
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


def compute_width(rows: Sequence[Sequence[str]], header: Header) -> int:
    below = Counter(len(row) for row in rows[header.row or 0 :] if any(row))
    usual = below.most_common(1)[0][0] if below else 0
    named = max(header.columns, default=-1) + 1
    line = len(rows[header.row - 1]) if header.row else 0
    return max(named, usual, line if line >= usual else 0, 1)


def iter_row_batches(
    file: SourceFile, coding: Encoding, shape: TextLayout, rows: int, tally: IssueLog
) -> Iterator[Batch]:
    size = min(max(rows * shape.row_bytes, _BLOCKS[0]), _BLOCKS[1])
    skipped = shape.header.row or 0
    blocks = encodings.iter_utf8_blocks(file.path, coding, size)
    for numbers, table, odd in iter_tables(blocks, shape, tally, rows):
        if len(numbers) and numbers[0] <= skipped:
            keep = numbers > skipped
            numbers, table = numbers[keep], table.filter(pa.array(keep))
        odd = [one for one in odd if one.row > skipped]
        yield from split_table(numbers, table, odd, shape, rows)


def split_table(
    numbers: NDArray[np.int64], table: pa.Table, odd: list[FormatIssue], shape: TextLayout, rows: int
) -> Iterator[Batch]:
    cells = [remove_guards(clean_column(combine_chunks(column))) for column in table.columns]
    filled = find_filled_rows(cells, len(numbers))
    if not filled.all():
        mask = pa.array(filled)
        numbers, cells = numbers[filled], [column.filter(mask) for column in cells]
    names = shape.header.names
    kept = [at for at in shape.header.columns if at < len(cells)]
    for at in range(len(cells)):
        if at >= len(names) or not names[at]:
            odd += find_extra_cells(numbers, cells[at], at)
    odd = _remove_duplicates(odd)
    for begin in range(0, len(numbers), rows):
        part = numbers[begin : begin + rows]
        told = [one for one in odd if part[0] <= one.row <= part[-1]] if odd else ()
        yield Batch(part, {names[at]: cells[at].slice(begin, rows) for at in kept}, issues=tuple(told))


def _remove_duplicates(odd: list[FormatIssue]) -> list[FormatIssue]:
    return list({(one.row, one.code): one for one in sorted(odd, key=lambda one: one.row)}.values())


def find_filled_rows(cells: list[pa.StringArray], count: int) -> NDArray[np.bool_]:
    if not count or any(column.null_count == 0 for column in cells):
        return np.ones(count, bool)
    filled = np.zeros(count, bool)
    for column in cells:
        filled |= np.asarray(pc.is_valid(column))
    return filled


def find_extra_cells(numbers: NDArray[np.int64], column: pa.StringArray, at: int) -> list[FormatIssue]:
    if column.null_count == len(column):
        return []
    there = np.flatnonzero(np.asarray(pc.is_valid(column)))
    return [_too_many_cells(int(numbers[row])) for row in there]


def _too_many_cells(row: int) -> FormatIssue:
    return FormatIssue(
        row,
        "too-many-cells",
        "A row has more cells than the header; its values may stand in the wrong columns.",
        severity="error",
    )


def _too_few_cells(row: int) -> FormatIssue:
    return FormatIssue(row, "too-few-cells", "A row has fewer cells than the header; the rest is blank.")


def iter_tables(
    blocks: Iterator[bytes], shape: TextLayout, tally: IssueLog, rows: int
) -> Iterator[tuple[NDArray[np.int64], pa.Table, list[FormatIssue]]]:
    """Yield numbered rows; change to the patient reader where quotes break the rules."""
    first, held = 1, b""
    for fresh in blocks:
        block = held + fresh
        if not shape.delimiter.isascii():
            yield from iter_tables_by_row(_chain_blocks(block, blocks), shape, first, rows)
            return
        if b'"' in block and has_stray_quote(block, shape.delimiter):
            tally.add_note("Quotation marks stand inside cells; they are kept as they are.")
            yield from iter_tables_by_row(_chain_blocks(block, blocks), shape, first, rows)
            return
        cut = find_record_end(block)
        if cut == 0 and len(block) > LONGEST_ROW:
            raise _unclosed_quote(first) if b'"' in block else _cell_too_long(first)
        held = block[cut:]
        if cut:
            numbers, table, odd, count = parse_block(block[:cut], shape, first, tally)
            first += count
            yield numbers, table, odd
    if held:
        if held.count(b'"') % 2:
            raise _unclosed_quote(first)
        numbers, table, odd, _ = parse_block(held, shape, first, tally)
        yield numbers, table, odd


def _chain_blocks(block: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield block
    yield from rest


def parse_block(
    block: bytes, shape: TextLayout, first: int, tally: IssueLog
) -> tuple[NDArray[np.int64], pa.Table, list[FormatIssue], int]:
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
        tally.add_note("Cells contain line breaks; rows are counted as a spreadsheet programme counts them.")
    if not irregular:
        return np.arange(first, first + count, dtype=np.int64), table, [], count
    apart = np.zeros(count, bool)
    apart[[number - 1 for number, _ in irregular]] = True
    regular = np.flatnonzero(~apart) + first
    read = [(number + first - 1, parse_row(text, shape.delimiter, number + first - 1)) for number, text in irregular]
    more, odd = fit_rows(read, shape.width)
    numbers = np.concatenate([regular, [number for number, _ in read]]).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    table = pa.concat_tables([table, more]).take(pa.array(order))
    return numbers[order], table, odd, count


def parse_row(text: str, delimiter: str, row: int) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return next(reader, [])
    except csv.Error:
        raise _cell_too_long(row) from None


def fit_rows(rows: _Rows, width: int) -> tuple[pa.Table, list[FormatIssue]]:
    """Return rows of any length as a table of the usual width, and what did not fit."""
    odd = []
    for number, cells in rows:
        if any(clean_cell(cell) for cell in cells[width:]):
            odd.append(_too_many_cells(number))
        elif 0 < len(cells) < width:
            odd.append(_too_few_cells(number))
    columns = [
        pa.array([cells[at] if at < len(cells) else None for _, cells in rows], pa.string()) for at in range(width)
    ]
    return pa.table(columns, names=[str(at) for at in range(width)]), odd


def iter_tables_by_row(
    blocks: Iterable[bytes], shape: TextLayout, first: int, rows: int
) -> Iterator[tuple[NDArray[np.int64], pa.Table, list[FormatIssue]]]:
    lines = iter_requoted(iter_lines(blocks), shape.delimiter)
    reader = csv.reader(lines, delimiter=shape.delimiter, skipinitialspace=True)
    number, held = first - 1, []
    try:
        for number, cells in enumerate(reader, first):
            held.append((number, cells))
            if len(held) == rows:
                yield _number_rows(held, shape.width)
                held = []
    except csv.Error:
        raise _unclosed_quote(number + 1) from None
    if held:
        yield _number_rows(held, shape.width)


def _number_rows(rows: _Rows, width: int) -> tuple[NDArray[np.int64], pa.Table, list[FormatIssue]]:
    table, odd = fit_rows(rows, width)
    return np.array([number for number, _ in rows], np.int64), table, odd


def iter_lines(blocks: Iterable[bytes]) -> Iterator[str]:
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


def _unclosed_quote(row: int) -> Invalid:
    return Invalid(
        f"A quotation mark opened in row {row:,} is not closed, or the row is longer than {LONGEST_ROW >> 20} MB.",
        code="unclosed-quote",
    )


def _cell_too_long(row: int) -> Invalid:
    return Invalid(
        f"A cell of row {row:,} is longer than {csv.field_size_limit():,} signs: this is no table, "
        "or its line ends are missing.",
        code="damaged-file",
    )


def combine_chunks(column: pa.ChunkedArray) -> pa.StringArray:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    data = array.buffers()[2]
    content = memoryview(data).tobytes() if data is not None else b""
    for sign, pattern in _FORCED.items():
        if sign in content:
            array = pc.replace_substring_regex(array, pattern, r"\1")
    return array
