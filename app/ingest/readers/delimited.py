"""Comma, semicolon, tab and bar separated text.

Row numbers are exact, every cell is text and no row is lost: a row with too few or too many cells is read and gets an
issue. Regular text goes through pyarrow. From the first block whose quotes break the rules on, Python's csv reads the
file.
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
from app.ingest.readers.content import FileContent
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.header_row import Header, find_header
from app.ingest.readers.model import Batch, DetectedFormat, FormatIssue, IssueLog, ReadOptions, SourceFile, TableReader
from app.ingest.values.text import clean_cell, clean_column, remove_guards
from app.messages import Message

DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_RARE_DELIMITERS: Final = {"，": "fullwidth comma", "；": "fullwidth semicolon", "^": "caret"}
"""Tried if the usual delimiters split nothing: they also occur in ordinary text."""
LONGEST_ROW: Final = 4 << 20
"""Bytes of one row; a quote that is never closed exceeds it."""
_SAMPLE_BYTES: Final = 1 << 18
_SAMPLE_ROWS: Final = 100
_SURE_SHARE: Final = 0.5
"""Share of the rows that a delimiter splits into the same number of cells."""
_MIN_BLOCK, _MAX_BLOCK = 1 << 18, 1 << 23
_FORCED_TEXT: Final = {b'="': r'^="([^"]*)"$', b"'": r"^'([0-9]+)$"}
"""How programs keep a spreadsheet from turning a code into a number: ="4108", and an apostrophe."""
_Rows = list[tuple[int, list[str]]]
_NumberedTable = tuple[NDArray[np.int64], pa.Table, list[FormatIssue]]


@dataclass(frozen=True)
class TextLayout:
    """How the text is split: delimiter, number of cells in a row, header."""

    delimiter: str
    width: int
    header: Header
    row_bytes: int


def is_delimited(content: FileContent) -> bool:
    """Return whether a file is text that may be a table: the last test, after all other formats of text."""
    if not content.text or content.is_markup or content.is_json:
        return False
    return content.other_text is None


def open_delimited(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open delimited text.

    Raises
    ------
    Invalid
        ``wrong-encoding``, ``unknown-encoding``, ``no-such-row``, ``unclosed-quote``.
    """
    encoding = encodings.detect_encoding(file.path, options.encoding)
    head, is_whole = encodings.read_head_text(file.path, encoding, _SAMPLE_BYTES)
    delimiter = parse_delimiter(options.delimiter) or detect_delimiter(head, is_whole, file.suffix)
    rows = read_sample(head, delimiter, is_whole)
    if rows == [[""]] and len(head) > csv.field_size_limit():
        raise _cell_too_long(1)
    header = find_header([[clean_cell(cell) for cell in row] for row in rows], options.header_row)
    layout = TextLayout(
        delimiter,
        compute_width(rows, header),
        header,
        max(1, len(head.encode()) // len(rows or " ")),
    )
    header_row = header.row or 0
    detected = DetectedFormat(
        format="tsv" if delimiter == "\t" else "csv",
        encoding=encoding.name,
        delimiter=delimiter,
        header_row=header.row,
        rows=None if encoding.lines is None else max(0, encoding.lines - header_row),
        notes=(*encoding.notes, *header.notes),
    )
    issue_log = IssueLog()
    names = tuple(header.names[column] for column in header.columns)

    def read_batches(rows: int) -> Iterator[Batch]:
        return iter_row_batches(file, encoding, layout, rows, issue_log)

    return TableReader(detected, names, read_batches, issue_log)


def parse_delimiter(delimiter: str | None) -> str | None:
    """Return the delimiter that a sender states, by its name or as the character.

    Raises
    ------
    Invalid
        ``unknown-delimiter``.
    """
    if delimiter is None:
        return None
    by_name = {name: sign for sign, name in (DELIMITERS | _RARE_DELIMITERS).items()} | {"\\t": "\t"}
    sign = by_name.get(delimiter, delimiter)
    if len(sign) != 1 or sign in '"\r\n':
        message = Message(
            "Unknown delimiter {delimiter!r}. Set one character, such as , ; | or tab.", delimiter=delimiter
        )
        raise Invalid(message, code="unknown-delimiter")
    return sign


def detect_delimiter(head: str, is_whole: bool, suffix: str) -> str:
    """Return the character that splits most rows into the same number of cells."""
    first = head.split("\n", 1)[0].strip().lower()
    if len(first) == 5 and first.startswith("sep=") and first[4] in DELIMITERS:
        return first[4]
    best = "\t" if suffix == "tsv" else ","
    for signs in (DELIMITERS, _RARE_DELIMITERS):
        score = (0.0, 0)
        for sign in signs:
            counts = Counter(len(row) for row in read_sample(head, sign, is_whole) if any(row))
            if not counts:
                continue
            width, times = max(counts.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
            if width > 1 and (times / counts.total(), width) > score:
                best, score = sign, (times / counts.total(), width)
        if score[0] >= _SURE_SHARE:
            break
    return best


def read_sample(head: str, delimiter: str, is_whole: bool) -> list[list[str]]:
    """Return the first rows of a text."""
    text = head if is_whole else head[: head.rfind("\n") + 1]
    lines = iter_requoted(io.StringIO(text, newline=""), delimiter)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows.append(row)
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # the reader itself reports it, with the row
    return rows or [[""]]


def compute_width(rows: Sequence[Sequence[str]], header: Header) -> int:
    """Return the number of cells in a row, from the first rows."""
    below = Counter(len(row) for row in rows[header.row or 0 :] if any(row))
    usual = below.most_common(1)[0][0] if below else 0
    named = max(header.columns, default=-1) + 1
    header_width = len(rows[header.row - 1]) if header.row else 0
    return max(named, usual, header_width if header_width >= usual else 0, 1)


def iter_row_batches(
    file: SourceFile, encoding: Encoding, layout: TextLayout, rows: int, issue_log: IssueLog
) -> Iterator[Batch]:
    """Yield the rows below the header."""
    size = min(max(rows * layout.row_bytes, _MIN_BLOCK), _MAX_BLOCK)
    header_row = layout.header.row or 0
    blocks = encodings.iter_utf8_blocks(file.path, encoding, size)
    for numbers, table, issues in iter_tables(blocks, layout, issue_log, rows):
        if len(numbers) and numbers[0] <= header_row:
            is_below = numbers > header_row
            numbers, table = numbers[is_below], table.filter(pa.array(is_below))
        issues = [issue for issue in issues if issue.row > header_row]
        yield from split_table(numbers, table, issues, layout, rows)


def split_table(
    numbers: NDArray[np.int64], table: pa.Table, issues: list[FormatIssue], layout: TextLayout, rows: int
) -> Iterator[Batch]:
    """Yield a table as batches of cleaned cells, without blank rows."""
    cells = [remove_guards(clean_column(combine_chunks(column))) for column in table.columns]
    is_filled = find_filled_rows(cells, len(numbers))
    if not is_filled.all():
        mask = pa.array(is_filled)
        numbers, cells = numbers[is_filled], [column.filter(mask) for column in cells]
    names = layout.header.names
    named = [index for index in layout.header.columns if index < len(cells)]
    for index in range(len(cells)):
        if index >= len(names) or not names[index]:
            issues += find_extra_cells(numbers, cells[index])
    issues = _remove_duplicates(issues)
    for begin in range(0, len(numbers), rows):
        row_numbers = numbers[begin : begin + rows]
        of_batch = [issue for issue in issues if row_numbers[0] <= issue.row <= row_numbers[-1]] if issues else ()
        columns = {names[index]: cells[index].slice(begin, rows) for index in named}
        yield Batch(row_numbers, columns, issues=tuple(of_batch))


def _remove_duplicates(issues: list[FormatIssue]) -> list[FormatIssue]:
    by_row = sorted(issues, key=lambda issue: issue.row)
    return list({(issue.row, issue.code): issue for issue in by_row}.values())


def find_filled_rows(cells: list[pa.StringArray], count: int) -> NDArray[np.bool_]:
    """Return which rows have any cell that is not blank."""
    if not count or any(column.null_count == 0 for column in cells):
        return np.ones(count, bool)
    is_filled = np.zeros(count, bool)
    for column in cells:
        is_filled |= np.asarray(pc.is_valid(column))
    return is_filled


def find_extra_cells(numbers: NDArray[np.int64], column: pa.StringArray) -> list[FormatIssue]:
    """Return an issue for each row with a value in a column that has no header."""
    if column.null_count == len(column):
        return []
    return [_too_many_cells(int(numbers[index])) for index in np.flatnonzero(np.asarray(pc.is_valid(column)))]


def _too_many_cells(row: int) -> FormatIssue:
    message = Message("A row has more cells than the header; its values may be in the wrong columns.")
    return FormatIssue(row, "too-many-cells", message, severity="error")


def _too_few_cells(row: int) -> FormatIssue:
    message = Message("A row has fewer cells than the header; the missing cells are blank.")
    return FormatIssue(row, "too-few-cells", message)


def iter_tables(
    blocks: Iterator[bytes], layout: TextLayout, issue_log: IssueLog, rows: int
) -> Iterator[_NumberedTable]:
    """Yield numbered rows; change to the reader of single rows where quotes break the rules."""
    first, pending = 1, b""
    for fresh in blocks:
        block = pending + fresh
        if not layout.delimiter.isascii():
            yield from iter_tables_by_row(_chain_blocks(block, blocks), layout, first, rows)
            return
        if b'"' in block and has_stray_quote(block, layout.delimiter):
            issue_log.add_note(Message("Quotation marks inside cells are kept."))
            yield from iter_tables_by_row(_chain_blocks(block, blocks), layout, first, rows)
            return
        end = find_record_end(block)
        if end == 0 and len(block) > LONGEST_ROW:
            raise _unclosed_quote(first) if b'"' in block else _cell_too_long(first)
        pending = block[end:]
        if end:
            numbers, table, issues, count = parse_block(block[:end], layout, first, issue_log)
            first += count
            yield numbers, table, issues
    if pending:
        if pending.count(b'"') % 2:
            raise _unclosed_quote(first)
        numbers, table, issues, _ = parse_block(pending, layout, first, issue_log)
        yield numbers, table, issues


def _chain_blocks(block: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield block
    yield from blocks


def find_record_end(block: bytes) -> int:
    """Return the offset at which the last whole record of a block ends."""
    end = block.rfind(b"\n")
    if end < 0 or b'"' not in block:
        return end + 1
    # Quotes may be in every cell: to count them one by one takes longer than to look at all bytes.
    quotes = int(np.count_nonzero(np.frombuffer(block, np.uint8, end) == ord('"')))
    while quotes % 2:
        line_end = block.rfind(b"\n", 0, end)
        if line_end < 0:
            return 0
        quotes -= block.count(b'"', line_end, end)
        end = line_end
    return end + 1


def has_stray_quote(block: bytes, delimiter: str) -> bool:
    """Return whether a quote opens or closes in the middle of a cell."""
    codes = np.frombuffer(block, np.uint8)
    offsets = np.flatnonzero(codes == ord('"'))
    opening, closing = offsets[0::2], offsets[1::2]
    # A doubled quote closes and opens at once.
    is_edge = np.zeros(256, bool)
    is_edge[[ord(delimiter), ord("\n"), ord("\r"), ord('"')]] = True
    opening = opening[opening > 0]
    closing = closing[closing < len(codes) - 1]
    closes_well = is_edge[codes[closing + 1]].all()
    is_edge[ord("=")] = True  # ="4108" is one cell to every reader
    return not (closes_well and is_edge[codes[opening - 1]].all())


def iter_requoted(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Yield lines with single quotes inside quoted cells doubled: ``,"a"b"c",``.

    Only if the cell ends in a quote and has no delimiter in it, so that it can mean nothing else.
    """
    sign = re.escape(delimiter)
    cell = re.compile(rf'(?:^|(?<={sign}))"(?!")([^"{sign}\r\n]*(?:"{{1,2}}[^"{sign}\r\n]+)+)"(?={sign}|[\r\n]|$)')
    for line in lines:
        yield cell.sub(_double_quotes, line) if line.count('"') > 2 else line


def _double_quotes(cell: re.Match[str]) -> str:
    return '"' + re.sub('"{1,2}', '""', cell[1]) + '"'


def parse_block(
    block: bytes, layout: TextLayout, first: int, issue_log: IssueLog
) -> tuple[NDArray[np.int64], pa.Table, list[FormatIssue], int]:
    """Parse whole records; return their row numbers, cells and issues, and how many records there are."""
    irregular: list[tuple[int, str]] = []

    def skip_row(row: pacsv.InvalidRow) -> str:
        irregular.append((row.number, row.text))
        return "skip"

    names = [str(index) for index in range(layout.width)]
    is_quoted = b'"' in block
    try:
        table = pacsv.read_csv(
            pa.BufferReader(block),
            pacsv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
            pacsv.ParseOptions(
                delimiter=layout.delimiter,
                newlines_in_values=is_quoted,
                ignore_empty_lines=False,
                invalid_row_handler=skip_row,
            ),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        message = Message("The rows from {row:,} on cannot be read as a table: {reason}.", row=first, reason=str(error))
        raise Invalid(message, code="damaged-file") from None
    count = table.num_rows + len(irregular)
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if is_quoted and lines > count:
        issue_log.add_note(
            Message("Cells contain line breaks. Row numbers are those that a spreadsheet program shows.")
        )
    if not irregular:
        return np.arange(first, first + count, dtype=np.int64), table, [], count
    is_irregular = np.zeros(count, bool)
    is_irregular[[number - 1 for number, _ in irregular]] = True
    regular_numbers = np.flatnonzero(~is_irregular) + first
    rows = [(number + first - 1, parse_row(text, layout.delimiter, number + first - 1)) for number, text in irregular]
    fitted, issues = fit_rows(rows, layout.width)
    numbers = np.concatenate([regular_numbers, [number for number, _ in rows]]).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    table = pa.concat_tables([table, fitted]).take(pa.array(order))
    return numbers[order], table, issues, count


def parse_row(text: str, delimiter: str, row: int) -> list[str]:
    """Return the cells of one row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return next(reader, [])
    except csv.Error:
        raise _cell_too_long(row) from None


def fit_rows(rows: _Rows, width: int) -> tuple[pa.Table, list[FormatIssue]]:
    """Return rows of any length as a table of the usual width, and the issues of rows that do not fit."""
    issues = []
    for number, cells in rows:
        if any(clean_cell(cell) for cell in cells[width:]):
            issues.append(_too_many_cells(number))
        elif 0 < len(cells) < width:
            issues.append(_too_few_cells(number))
    columns = [
        pa.array([cells[index] if index < len(cells) else None for _, cells in rows], pa.string())
        for index in range(width)
    ]
    return pa.table(columns, names=[str(index) for index in range(width)]), issues


def iter_tables_by_row(blocks: Iterable[bytes], layout: TextLayout, first: int, rows: int) -> Iterator[_NumberedTable]:
    """Yield numbered rows that Python's csv reads one by one."""
    lines = iter_requoted(iter_lines(blocks), layout.delimiter)
    reader = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=True)
    number = first - 1
    pending: _Rows = []
    try:
        for number, cells in enumerate(reader, first):
            pending.append((number, cells))
            if len(pending) == rows:
                yield _number_rows(pending, layout.width)
                pending = []
    except csv.Error:
        raise _unclosed_quote(number + 1) from None
    if pending:
        yield _number_rows(pending, layout.width)


def _number_rows(rows: _Rows, width: int) -> _NumberedTable:
    table, issues = fit_rows(rows, width)
    return np.array([number for number, _ in rows], np.int64), table, issues


def iter_lines(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of blocks with their line feeds; raise csv.Error if one is too long."""
    pending = b""
    for block in blocks:
        lines = (pending + block).split(b"\n")
        pending = lines.pop()
        if len(pending) > LONGEST_ROW:
            raise csv.Error
        for line in lines:
            yield line.decode("utf-8") + "\n"
    if pending:
        yield pending.decode("utf-8")


def _unclosed_quote(row: int) -> Invalid:
    message = Message(
        "A quotation mark opened in row {row:,} is not closed, or the row is longer than {most} MB. "
        "Close the quotation mark.",
        row=row,
        most=LONGEST_ROW >> 20,
    )
    return Invalid(message, code="unclosed-quote")


def _cell_too_long(row: int) -> Invalid:
    message = Message(
        "A cell of row {row:,} is longer than {most:,} characters: the file is not a table, or has no line ends.",
        row=row,
        most=csv.field_size_limit(),
    )
    return Invalid(message, code="damaged-file")


def combine_chunks(column: pa.ChunkedArray) -> pa.StringArray:
    """Return a column as one array, without the marks that keep a spreadsheet from reading a number."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    data = array.buffers()[2]
    content = memoryview(data).tobytes() if data is not None else b""
    for sign, pattern in _FORCED_TEXT.items():
        if sign in content:
            array = pc.replace_substring_regex(array, pattern, r"\1")
    return array
