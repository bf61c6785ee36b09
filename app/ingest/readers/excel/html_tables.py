"""Tables of a web page: what many systems hand out under the name of a workbook.

Promises the text that a browser shows in each cell, titles and group names over several columns as
spreadsheets have them, and the tables of a page apart, also nested ones. Nothing a page points to is
fetched, and nothing in it is run.
"""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

from typing_extensions import override

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.grid import (
    MOST_COLUMNS,
    MOST_ROWS,
    MOST_TABLES,
    GridRow,
    TableNames,
    build_size_error,
    open_grid,
)
from app.ingest.readers.model import ReadOptions, SourceFile, TableReader
from app.ingest.values.text import clean_cell
from app.ingest.values.typed_text import EXACT_SPREADSHEET, format_double

LONGEST_TAG: Final = 8 << 20
"""Signs between two tags, or of one tag, such as one with a picture in it."""
MOST_SPANNED: Final = 20_000_000
"""Cells that merged cells of a table may take."""
_DEEPEST: Final = 100
_PIECE: Final = 1 << 16
_HEAD: Final = 1 << 13
_DECLARED: Final = re.compile(
    rb"""<(?:meta|\?xml)\b[^>]*?\b(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_SILENT: Final = frozenset({"script", "style", "title", "template", "noscript"})
_BLOCKS: Final = frozenset({"p", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "dt", "dd"})
_SPACES: Final = re.compile(r"[ \t\r\n\f]+")
_AROUND_BREAK: Final = re.compile(r" *\n[ \n]*")
_BREAK: Final = "\x1e"
"""Stands for a line break that is meant, until line breaks of the source have become spaces."""
# Rows and cells as programs write them: closed, and with attributes that say nothing of where or
# what a cell is. Anything else goes through the parser.
_ATTRIBUTES: Final = r"""(?:\s+(?!(?:col|row)span|x:num)[\w:-]+(?:=(?:"[^"<>]*"|'[^'<>]*'|[\w#%.:-]+))?)*+\s*"""
_ROW: Final = re.compile(rf"\s*<tr{_ATTRIBUTES}>((?:\s*<(t[dh]){_ATTRIBUTES}>[^<]*</\2>)++)\s*</tr>", re.IGNORECASE)
_CELL: Final = re.compile(r"<t[dh][^>]*>([^<]*)<", re.IGNORECASE)
_END: Final = re.compile(r"</tr\s*>", re.IGNORECASE)
_DIGITS: Final = re.compile(r"\d{16,}")


def open_web_page(file: SourceFile, wanted: ReadOptions, nothing: Invalid) -> TableReader:
    """Open the named table of a web page, or the one with the most cells.

    Parameters
    ----------
    nothing : Invalid
        What is raised when the page has no table with a header and rows.

    Raises
    ------
    Invalid
        ``unsupported-format``, ``wrong-encoding``, ``unknown-layer``, ``no-such-row``,
        ``damaged-file``, ``unpacks-too-large``.
    """
    coding = detect_page_encoding(file, wanted.encoding)
    return open_grid(
        "html", coding, lambda sheets: iter_page_rows(file, coding, sheets), wanted, largest=True,
        nothing=nothing,
    )  # fmt: skip


def detect_page_encoding(file: SourceFile, stated: str | None) -> Encoding:
    """Return the encoding of a page: stated, UTF-8 when it is that, declared, or found out."""
    if stated is None and encodings.detect_utf8(file.path) is None:
        with file.path.open("rb") as opened:
            declared = _DECLARED.search(opened.read(_HEAD))
        with suppress(Invalid):
            codec = encodings.parse_codec_name(declared[1].decode("ascii", "replace") if declared else "")
            if codec in encodings.CHINESE:
                return Encoding(codec)
    return encodings.detect_encoding(file.path, stated)


def iter_page_rows(file: SourceFile, coding: Encoding, sheets: TableNames) -> Iterator[GridRow]:
    page = _PageParser(sheets)
    rest = ""
    for piece in encodings.iter_text(file.path, coding):
        for at in range(0, len(piece), _PIECE):
            with _catch_parser_errors():
                rest = page.parse_text(rest + piece[at : at + _PIECE])
            if len(page.rawdata) > LONGEST_TAG:
                raise Invalid(
                    f"The page has a tag or a text of more than {LONGEST_TAG >> 20} million signs.",
                    code="damaged-file",
                )
            yield from page.take_rows()
    with _catch_parser_errors():
        page.feed(rest)
        page.close()
    page.close_tables()
    yield from page.take_rows()


@contextmanager
def _catch_parser_errors() -> Iterator[None]:
    try:
        yield
    except AssertionError as error:  # what the parser of the standard library raises
        raise Invalid(f"The page cannot be read: {error}.", code="damaged-file") from None


@dataclass(eq=False)
class _PageCell:
    column: int
    across: int
    down: int
    value: str | None = None
    """Number behind what is shown, where the page tells it."""
    text: list[str] = field(default_factory=list)

    def displayed_text(self) -> str | None:
        return self.value if self.value is not None else collapse_spaces("".join(self.text))


@dataclass(eq=False)
class _OpenTable:
    """A table that is being read."""

    place: int
    row: int = 0
    at: int = 0
    cells: list[_PageCell] | None = None
    cell: _PageCell | None = None
    spans: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    """Column -> rows still taken, the row it began in, text."""
    spanned: int = 0


class _PageParser(HTMLParser):
    """Gathers the rows of all tables; those that are complete are taken with `take_rows`."""

    def __init__(self, sheets: TableNames) -> None:
        super().__init__(convert_charrefs=True)
        self.sheets = sheets
        self.open_tables: list[_OpenTable] = []
        self.rows: list[GridRow] = []
        self.silent_depth = 0
        self.caption: list[str] | None = None

    def take_rows(self) -> list[GridRow]:
        lines, self.rows = self.rows, []
        return lines

    def close_tables(self) -> None:
        while self.open_tables:
            self.end_table()

    def parse_text(self, text: str) -> str:
        """Read text as far as its last row ends, plain rows without the parser; return the rest."""
        at = 0
        while at < len(text):
            if self.is_between_rows():
                at = self.parse_plain_rows(text, at)
            end = None if self.rawdata else _END.search(text, at)
            if end is None and not self.rawdata and len(text) - at < _PIECE:
                break  # the row may go on
            # What the parser cannot read yet it goes through again: it is given much at a time.
            to = end.end() if end else at + _PIECE
            self.feed(text[at:to])
            at = to
        return text[at:]

    def is_between_rows(self) -> bool:
        table = self.open_tables[-1] if self.open_tables else None
        return (
            table is not None
            and table.cells is None
            and not (table.spans or self.silent_depth or self.rawdata or self.cdata_elem)
            and self.caption is None
        )

    def parse_plain_rows(self, text: str, at: int) -> int:
        """Take the rows at a place that the parser would only take longer for."""
        table = self.open_tables[-1]
        while row := _ROW.match(text, at):
            cells = [parse_plain_cell(cell) for cell in _CELL.findall(row[1])]
            table.row += 1
            if table.row > MOST_ROWS or len(cells) > MOST_COLUMNS:
                raise build_size_error()
            self.rows.append(GridRow(table.place, table.row, cells))
            at = row.end()
        return at

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self.silent_depth += 1
        elif tag == "table":
            self.begin_table(dict(attrs))
        elif not self.open_tables:
            return
        elif tag == "tr":
            self.end_row()
            self.open_tables[-1].cells = []
            self.open_tables[-1].at = 0
        elif tag in ("td", "th"):
            self.begin_cell(dict(attrs))
        elif tag == "caption":
            self.caption = []
        elif tag == "input":
            told = dict(attrs)
            if told.get("type") in (None, "", "text"):
                self.add_text(told.get("value") or "")
        elif tag == "br" or tag in _BLOCKS:
            self.add_text(_BREAK)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag != "br":
            self.handle_endtag(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self.silent_depth = max(0, self.silent_depth - 1)
        elif not self.open_tables:
            return
        elif tag == "table":
            self.end_table()
        elif tag == "tr":
            self.end_row()
        elif tag in ("td", "th"):
            self.end_cell()
        elif tag == "caption":
            self.end_caption()
        elif tag in _BLOCKS:
            self.add_text(_BREAK)

    @override
    def handle_data(self, data: str) -> None:
        self.add_text(data)

    def add_text(self, data: str) -> None:
        if self.silent_depth:
            return
        if self.caption is not None:
            self.caption.append(data)
        elif self.open_tables and self.open_tables[-1].cell is not None:
            self.open_tables[-1].cell.text.append(data)

    def begin_table(self, told: dict[str, str | None]) -> None:
        self.caption = None
        if len(self.open_tables) == _DEEPEST or len(self.sheets.names) == MOST_TABLES:
            raise Invalid("The page has too many tables, or tables nested too deeply.", code="too-deep")
        self.open_tables.append(_OpenTable(len(self.sheets.names)))
        name = clean_cell(told.get("id") or told.get("name")) or f"table {len(self.sheets.names) + 1}"
        self.sheets.names.append(self.make_name_unique(name))

    def make_name_unique(self, name: str) -> str:
        taken = name in self.sheets.names
        return f"{name} ({len(self.sheets.names) + 1})" if taken else name

    def end_caption(self) -> None:
        name = clean_cell(_SPACES.sub(" ", "".join(self.caption or [])).replace(_BREAK, " "))
        if name:
            self.sheets.names[self.open_tables[-1].place] = self.make_name_unique(name)
        self.caption = None

    def end_table(self) -> None:
        self.caption = None
        self.end_row()
        self.open_tables.pop()

    def begin_cell(self, told: dict[str, str | None]) -> None:
        self.end_cell()
        table = self.open_tables[-1]
        if table.cells is None:
            table.cells, table.at = [], 0
        while table.at in table.spans:
            table.at += 1
        cell = _PageCell(table.at, parse_span(told.get("colspan")), parse_span(told.get("rowspan")))
        cell.value = parse_exact_number(told.get("x:num"))
        table.at += cell.across
        if table.at > MOST_COLUMNS:
            raise build_size_error()
        table.cells.append(cell)
        table.cell = cell

    def end_cell(self) -> None:
        self.caption = None
        self.open_tables[-1].cell = None

    def end_row(self) -> None:
        self.end_cell()
        table = self.open_tables[-1]
        if table.cells is None:
            return
        table.row += 1
        cells: list[str | None] = [None] * max((c.column + 1 for c in table.cells), default=0)
        spanned = [(column, begun, text) for column, (_, begun, text) in table.spans.items()]
        table.spanned += len(spanned)
        table.spans = {
            column: (left - 1, begun, text) for column, (left, begun, text) in table.spans.items() if left > 1
        }
        for cell in table.cells:
            text = cells[cell.column] = cell.displayed_text()
            if cell.down > 1:
                table.spans[cell.column] = (cell.down - 1, table.row, text or "")
                for column in range(cell.column + 1, cell.column + cell.across):
                    table.spans[column] = (cell.down - 1, table.row, "")
        if table.row > MOST_ROWS or table.spanned > MOST_SPANNED:
            raise build_size_error()
        table.cells = None
        self.rows.append(GridRow(table.place, table.row, cells, [one for one in spanned if one[2]]))


def collapse_spaces(text: str) -> str | None:
    """Return text as a browser shows it."""
    text = _SPACES.sub(" ", text).replace(_BREAK, "\n")
    return clean_cell(_AROUND_BREAK.sub("\n", text))


def parse_plain_cell(text: str) -> str | None:
    """Return the text of a cell that has no elements inside."""
    if "&" in text:
        text = html.unescape(text)
    if text.isprintable() and "  " not in text:
        return text.strip(" ") or None
    return collapse_spaces(text)


def parse_span(text: str | None) -> int:
    """Return how many columns or rows a cell takes; what is no number is one."""
    digits = (text or "").strip()
    return min(max(1, int(digits)), MOST_COLUMNS) if digits.isdecimal() and len(digits) < 8 else 1


def parse_exact_number(text: str | None) -> str | None:
    """Return the number that a spreadsheet programme has written beside what is shown."""
    if not text:
        return None
    if _DIGITS.fullmatch(text):
        return text
    with suppress(ValueError):
        return format_double(float(text), EXACT_SPREADSHEET)
    return None
