"""Tables of a web page: what many systems export under the name of a workbook.

Each cell has the text that a browser shows. Titles and group names over several columns are read as in spreadsheets,
and the tables of a page are separate, also nested ones. Nothing that a page links to is fetched, and no script runs.
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
from app.ingest.readers.content import FileContent
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.grid import MAX_COLUMNS, MAX_ROWS, MAX_TABLES, GridRow, TableNames, build_size_error, open_grid
from app.ingest.readers.model import ReadOptions, SourceFile, TableReader, unsupported_content
from app.ingest.values.text import clean_cell
from app.ingest.values.typed_text import EXACT_SPREADSHEET, format_double
from app.messages import Message

LONGEST_TAG: Final = 8 << 20
"""Characters between two tags, or of one tag, such as one with a picture in it."""
MAX_SPANNED: Final = 20_000_000
"""Cells that the merged cells of a table may cover."""
_MAX_NESTED: Final = 100
_PIECE: Final = 1 << 16
_HEAD_BYTES: Final = 1 << 13
_PAGE_ELEMENTS: Final = re.compile(
    r"html|head|body|table|thead|tbody|tr|td|meta|link|title|style|script|div|span|p|br|center|font"
    r"|form|b|h[1-4]|base|noscript|header|main|section",
    re.IGNORECASE,
)
"""Elements that a web page, or a fragment of one, can begin with."""
_TABLE_TAG: Final = re.compile(r"<table\b", re.IGNORECASE)
_CELL_TAG: Final = re.compile(r"<t[dh]\b", re.IGNORECASE)
_NO_TABLE: Final = Message("a web page without a table of several columns and rows (perhaps a login page)")
_DECLARATION: Final = re.compile(
    rb"""<(?:meta|\?xml)\b[^>]*?\b(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_SILENT: Final = frozenset({"script", "style", "title", "template", "noscript"})
_BLOCKS: Final = frozenset({"p", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "dt", "dd"})
_SPACES: Final = re.compile(r"[ \t\r\n\f]+")
_AROUND_BREAK: Final = re.compile(r" *\n[ \n]*")
_BREAK: Final = "\x1e"
"""A line break that the page shows, until line breaks of the source have become spaces."""
# Rows and cells as programs write them: closed, with attributes that do not move or merge cells. The regular
# expression reads them; everything else goes through the parser, which takes several times as long.
_ATTRIBUTES: Final = r"""(?:\s+(?!(?:col|row)span|x:num)[\w:-]+(?:=(?:"[^"<>]*"|'[^'<>]*'|[\w#%.:-]+))?)*+\s*"""
_ROW: Final = re.compile(rf"\s*<tr{_ATTRIBUTES}>((?:\s*<(t[dh]){_ATTRIBUTES}>[^<]*</\2>)++)\s*</tr>", re.IGNORECASE)
_CELL: Final = re.compile(r"<t[dh][^>]*>([^<]*)<", re.IGNORECASE)
_ROW_END: Final = re.compile(r"</tr\s*>", re.IGNORECASE)
_LONG_INTEGER: Final = re.compile(r"\d{16,}")


def is_web_page(content: FileContent) -> bool:
    """Return whether a file is a web page, or text with tables under the name of a workbook or page."""
    if content.is_markup:
        return _PAGE_ELEMENTS.fullmatch(content.root_name) is not None or content.start[:14].lower() == "<!doctype html"
    has_page_name = content.file.suffix in ("xls", "xlsx", "html", "htm")
    return has_page_name and all(tag.search(content.text) for tag in (_TABLE_TAG, _CELL_TAG))


def open_web_page(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open the named table of a web page, or the one with the most cells.

    Raises
    ------
    Invalid
        ``unsupported-format``, ``wrong-encoding``, ``unknown-layer``, ``no-such-row``, ``damaged-file``,
        ``unpacks-too-large``.
    """
    encoding = detect_page_encoding(file, options.encoding)
    return open_grid(
        encoding,
        lambda names: iter_page_rows(file, encoding, names),
        options,
        largest=True,
        no_table=unsupported_content(_NO_TABLE),
    )


def detect_page_encoding(file: SourceFile, stated: str | None) -> Encoding:
    """Return the encoding of a page: stated, UTF-8 if the page is UTF-8, declared, or guessed."""
    if stated is None and encodings.detect_utf8(file.path) is None:
        with file.path.open("rb") as opened:
            declaration = _DECLARATION.search(opened.read(_HEAD_BYTES))
        with suppress(Invalid):
            codec = encodings.parse_codec_name(declaration[1].decode("ascii", "replace") if declaration else "")
            if codec in encodings.CHINESE:
                return Encoding(codec)
    return encodings.detect_encoding(file.path, stated)


def iter_page_rows(file: SourceFile, encoding: Encoding, names: TableNames) -> Iterator[GridRow]:
    """Yield the rows of all tables of a page."""
    parser = _PageParser(names)
    pending = ""
    for piece in encodings.iter_text(file.path, encoding):
        for begin in range(0, len(piece), _PIECE):
            with _catch_parser_errors():
                pending = parser.parse_text(pending + piece[begin : begin + _PIECE])
            if len(parser.rawdata) > LONGEST_TAG:
                message = Message(
                    "The page has a tag or a text of more than {most} million characters. Save it as XLSX.",
                    most=LONGEST_TAG >> 20,
                )
                raise Invalid(message, code="damaged-file")
            yield from parser.take_rows()
    with _catch_parser_errors():
        parser.feed(pending)
        parser.close()
    parser.close_tables()
    yield from parser.take_rows()


@contextmanager
def _catch_parser_errors() -> Iterator[None]:
    try:
        yield
    except AssertionError as error:  # raised by the parser of the standard library
        message = Message("The page cannot be read: {reason}. Save it as XLSX.", reason=str(error))
        raise Invalid(message, code="damaged-file") from None


@dataclass(eq=False)
class _PageCell:
    column: int
    width: int
    height: int
    number: str | None = None
    """Number behind the displayed text, if the page has it."""
    texts: list[str] = field(default_factory=list)

    @property
    def value(self) -> str | None:
        return self.number if self.number is not None else collapse_spaces("".join(self.texts))


@dataclass(eq=False)
class _OpenTable:
    """A table whose end has not been read."""

    index: int
    row: int = 0
    column: int = 0
    cells: list[_PageCell] | None = None
    """Cells of the open row."""
    cell: _PageCell | None = None
    spans: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    """Column -> rows that a merged cell still covers, the row in which it begins, its text."""
    spanned: int = 0


class _PageParser(HTMLParser):
    """Collects the rows of all tables; `take_rows` gives those that are complete."""

    def __init__(self, names: TableNames) -> None:
        super().__init__(convert_charrefs=True)
        self.names = names
        self.open_tables: list[_OpenTable] = []
        self.rows: list[GridRow] = []
        self.silent_depth = 0
        self.caption: list[str] | None = None

    def take_rows(self) -> list[GridRow]:
        rows, self.rows = self.rows, []
        return rows

    def close_tables(self) -> None:
        while self.open_tables:
            self.end_table()

    def parse_text(self, text: str) -> str:
        """Parse text up to the end of its last row, plain rows without the parser; return the remaining text."""
        offset = 0
        while offset < len(text):
            if self.is_between_rows():
                offset = self.parse_plain_rows(text, offset)
            row_end = None if self.rawdata else _ROW_END.search(text, offset)
            if row_end is None and not self.rawdata and len(text) - offset < _PIECE:
                break  # the row may go on
            # The parser repeats what it cannot parse yet: it gets much text at once.
            end = row_end.end() if row_end else offset + _PIECE
            self.feed(text[offset:end])
            offset = end
        return text[offset:]

    def is_between_rows(self) -> bool:
        table = self.open_tables[-1] if self.open_tables else None
        return (
            table is not None
            and table.cells is None
            and not (table.spans or self.silent_depth or self.rawdata or self.cdata_elem)
            and self.caption is None
        )

    def parse_plain_rows(self, text: str, offset: int) -> int:
        table = self.open_tables[-1]
        while row := _ROW.match(text, offset):
            cells = [parse_plain_cell(cell) for cell in _CELL.findall(row[1])]
            table.row += 1
            if table.row > MAX_ROWS or len(cells) > MAX_COLUMNS:
                raise build_size_error()
            self.rows.append(GridRow(table.index, table.row, cells))
            offset = row.end()
        return offset

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
            self.open_tables[-1].column = 0
        elif tag in ("td", "th"):
            self.begin_cell(dict(attrs))
        elif tag == "caption":
            self.caption = []
        elif tag == "input":
            attributes = dict(attrs)
            if attributes.get("type") in (None, "", "text"):
                self.add_text(attributes.get("value") or "")
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
            self.open_tables[-1].cell.texts.append(data)

    def begin_table(self, attributes: dict[str, str | None]) -> None:
        self.caption = None
        names = self.names.names
        if len(self.open_tables) == _MAX_NESTED or len(names) == MAX_TABLES:
            message = Message("The page has too many tables, or tables nested too deeply. Save its table as XLSX.")
            raise Invalid(message, code="too-deep")
        self.open_tables.append(_OpenTable(len(names)))
        name = clean_cell(attributes.get("id") or attributes.get("name")) or f"table {len(names) + 1}"
        names.append(self.make_name_unique(name))

    def make_name_unique(self, name: str) -> str:
        is_taken = name in self.names.names
        return f"{name} ({len(self.names.names) + 1})" if is_taken else name

    def end_caption(self) -> None:
        name = clean_cell(_SPACES.sub(" ", "".join(self.caption or [])).replace(_BREAK, " "))
        if name:
            self.names.names[self.open_tables[-1].index] = self.make_name_unique(name)
        self.caption = None

    def end_table(self) -> None:
        self.caption = None
        self.end_row()
        self.open_tables.pop()

    def begin_cell(self, attributes: dict[str, str | None]) -> None:
        self.end_cell()
        table = self.open_tables[-1]
        if table.cells is None:
            table.cells, table.column = [], 0
        while table.column in table.spans:
            table.column += 1
        cell = _PageCell(table.column, parse_span(attributes.get("colspan")), parse_span(attributes.get("rowspan")))
        cell.number = parse_exact_number(attributes.get("x:num"))
        table.column += cell.width
        if table.column > MAX_COLUMNS:
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
        cells: list[str | None] = [None] * max((cell.column + 1 for cell in table.cells), default=0)
        spanned = [(column, first_row, text) for column, (_, first_row, text) in table.spans.items()]
        table.spanned += len(spanned)
        table.spans = {
            column: (rows - 1, first_row, text) for column, (rows, first_row, text) in table.spans.items() if rows > 1
        }
        for cell in table.cells:
            text = cells[cell.column] = cell.value
            if cell.height > 1:
                table.spans[cell.column] = (cell.height - 1, table.row, text or "")
                for column in range(cell.column + 1, cell.column + cell.width):
                    table.spans[column] = (cell.height - 1, table.row, "")
        if table.row > MAX_ROWS or table.spanned > MAX_SPANNED:
            raise build_size_error()
        table.cells = None
        self.rows.append(GridRow(table.index, table.row, cells, [span for span in spanned if span[2]]))


def collapse_spaces(text: str) -> str | None:
    """Return text as a browser shows it."""
    text = _SPACES.sub(" ", text).replace(_BREAK, "\n")
    return clean_cell(_AROUND_BREAK.sub("\n", text))


def parse_plain_cell(text: str) -> str | None:
    """Return the text of a cell without inner elements."""
    if "&" in text:
        text = html.unescape(text)
    if text.isprintable() and "  " not in text:
        return text.strip(" ") or None
    return collapse_spaces(text)


def parse_span(text: str | None) -> int:
    """Return how many columns or rows a cell covers, 1 if the attribute is not a number."""
    digits = (text or "").strip()
    return min(max(1, int(digits)), MAX_COLUMNS) if digits.isdecimal() and len(digits) < 8 else 1


def parse_exact_number(text: str | None) -> str | None:
    """Return the number that a spreadsheet program wrote next to the displayed text."""
    if not text:
        return None
    if _LONG_INTEGER.fullmatch(text):
        return text
    with suppress(ValueError):
        return format_double(float(text), EXACT_SPREADSHEET)
    return None
