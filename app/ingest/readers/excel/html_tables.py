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
from app.ingest.readers.grid import MOST_COLUMNS, MOST_ROWS, MOST_TABLES, Line, Sheets, open_grid, too_wide
from app.ingest.readers.model import Named, Opened, Wanted
from app.ingest.values.text import clean_cell
from app.ingest.values.typed_text import EXACT_SPREADSHEET, number_text

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


def open_page(file: Named, wanted: Wanted, nothing: Invalid) -> Opened:
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
    coding = coding_of(file, wanted.encoding)
    return open_grid(
        "html", coding, lambda sheets: _lines(file, coding, sheets), wanted, largest=True,
        nothing=nothing,
    )  # fmt: skip


def coding_of(file: Named, stated: str | None) -> Encoding:
    """Return the encoding of a page: stated, UTF-8 when it is that, declared, or found out."""
    if stated is None and encodings.as_utf8(file.path) is None:
        with file.path.open("rb") as opened:
            declared = _DECLARED.search(opened.read(_HEAD))
        with suppress(Invalid):
            codec = encodings.codec_of(declared[1].decode("ascii", "replace") if declared else "")
            if codec in encodings.CHINESE:
                return Encoding(codec)
    return encodings.detect(file.path, stated)


def _lines(file: Named, coding: Encoding, sheets: Sheets) -> Iterator[Line]:
    page = _Page(sheets)
    rest = ""
    for piece in encodings.text_pieces(file.path, coding):
        for at in range(0, len(piece), _PIECE):
            with _readable():
                rest = page.take(rest + piece[at : at + _PIECE])
            if len(page.rawdata) > LONGEST_TAG:
                raise Invalid(
                    f"The page has a tag or a text of more than {LONGEST_TAG >> 20} million signs.",
                    code="damaged-file",
                )
            yield from page.done()
    with _readable():
        page.feed(rest)
        page.close()
    page.finish()
    yield from page.done()


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except AssertionError as error:  # what the parser of the standard library raises
        raise Invalid(f"The page cannot be read: {error}.", code="damaged-file") from None


@dataclass(eq=False)
class _Cell:
    column: int
    across: int
    down: int
    value: str | None = None
    """Number behind what is shown, where the page tells it."""
    text: list[str] = field(default_factory=list)

    def shown(self) -> str | None:
        return self.value if self.value is not None else _shown("".join(self.text))


@dataclass(eq=False)
class _Open:
    """A table that is being read."""

    place: int
    row: int = 0
    at: int = 0
    cells: list[_Cell] | None = None
    cell: _Cell | None = None
    spans: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    """Column -> rows still taken, the row it began in, text."""
    spanned: int = 0


class _Page(HTMLParser):
    """Gathers the rows of all tables; those that are complete are taken with `done`."""

    def __init__(self, sheets: Sheets) -> None:
        super().__init__(convert_charrefs=True)
        self.sheets = sheets
        self.open: list[_Open] = []
        self.lines: list[Line] = []
        self.silent = 0
        self.caption: list[str] | None = None

    def done(self) -> list[Line]:
        lines, self.lines = self.lines, []
        return lines

    def finish(self) -> None:
        while self.open:
            self._end_table()

    def take(self, text: str) -> str:
        """Read text as far as its last row ends, plain rows without the parser; return the rest."""
        at = 0
        while at < len(text):
            if self._between_rows():
                at = self._plain_rows(text, at)
            end = None if self.rawdata else _END.search(text, at)
            if end is None and not self.rawdata and len(text) - at < _PIECE:
                break  # the row may go on
            # What the parser cannot read yet it goes through again: it is given much at a time.
            to = end.end() if end else at + _PIECE
            self.feed(text[at:to])
            at = to
        return text[at:]

    def _between_rows(self) -> bool:
        table = self.open[-1] if self.open else None
        return (
            table is not None
            and table.cells is None
            and not (table.spans or self.silent or self.rawdata or self.cdata_elem)
            and self.caption is None
        )

    def _plain_rows(self, text: str, at: int) -> int:
        """Take the rows at a place that the parser would only take longer for."""
        table = self.open[-1]
        while row := _ROW.match(text, at):
            cells = [_plain(cell) for cell in _CELL.findall(row[1])]
            table.row += 1
            if table.row > MOST_ROWS or len(cells) > MOST_COLUMNS:
                raise too_wide()
            self.lines.append(Line(table.place, table.row, cells))
            at = row.end()
        return at

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self.silent += 1
        elif tag == "table":
            self._begin_table(dict(attrs))
        elif not self.open:
            return
        elif tag == "tr":
            self._end_row()
            self.open[-1].cells = []
            self.open[-1].at = 0
        elif tag in ("td", "th"):
            self._begin_cell(dict(attrs))
        elif tag == "caption":
            self.caption = []
        elif tag == "input":
            told = dict(attrs)
            if told.get("type") in (None, "", "text"):
                self._text(told.get("value") or "")
        elif tag == "br" or tag in _BLOCKS:
            self._text(_BREAK)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag != "br":
            self.handle_endtag(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self.silent = max(0, self.silent - 1)
        elif not self.open:
            return
        elif tag == "table":
            self._end_table()
        elif tag == "tr":
            self._end_row()
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "caption":
            self._end_caption()
        elif tag in _BLOCKS:
            self._text(_BREAK)

    @override
    def handle_data(self, data: str) -> None:
        self._text(data)

    def _text(self, data: str) -> None:
        if self.silent:
            return
        if self.caption is not None:
            self.caption.append(data)
        elif self.open and self.open[-1].cell is not None:
            self.open[-1].cell.text.append(data)

    def _begin_table(self, told: dict[str, str | None]) -> None:
        self.caption = None
        if len(self.open) == _DEEPEST or len(self.sheets.names) == MOST_TABLES:
            raise Invalid("The page has too many tables, or tables nested too deeply.", code="too-deep")
        self.open.append(_Open(len(self.sheets.names)))
        name = clean_cell(told.get("id") or told.get("name")) or f"table {len(self.sheets.names) + 1}"
        self.sheets.names.append(self._free(name))

    def _free(self, name: str) -> str:
        taken = name in self.sheets.names
        return f"{name} ({len(self.sheets.names) + 1})" if taken else name

    def _end_caption(self) -> None:
        name = clean_cell(_SPACES.sub(" ", "".join(self.caption or [])).replace(_BREAK, " "))
        if name:
            self.sheets.names[self.open[-1].place] = self._free(name)
        self.caption = None

    def _end_table(self) -> None:
        self.caption = None
        self._end_row()
        self.open.pop()

    def _begin_cell(self, told: dict[str, str | None]) -> None:
        self._end_cell()
        table = self.open[-1]
        if table.cells is None:
            table.cells, table.at = [], 0
        while table.at in table.spans:
            table.at += 1
        cell = _Cell(table.at, _span(told.get("colspan")), _span(told.get("rowspan")))
        cell.value = _exact(told.get("x:num"))
        table.at += cell.across
        if table.at > MOST_COLUMNS:
            raise too_wide()
        table.cells.append(cell)
        table.cell = cell

    def _end_cell(self) -> None:
        self.caption = None
        self.open[-1].cell = None

    def _end_row(self) -> None:
        self._end_cell()
        table = self.open[-1]
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
            text = cells[cell.column] = cell.shown()
            if cell.down > 1:
                table.spans[cell.column] = (cell.down - 1, table.row, text or "")
                for column in range(cell.column + 1, cell.column + cell.across):
                    table.spans[column] = (cell.down - 1, table.row, "")
        if table.row > MOST_ROWS or table.spanned > MOST_SPANNED:
            raise too_wide()
        table.cells = None
        self.lines.append(Line(table.place, table.row, cells, [one for one in spanned if one[2]]))


def _shown(text: str) -> str | None:
    """Return text as a browser shows it."""
    text = _SPACES.sub(" ", text).replace(_BREAK, "\n")
    return clean_cell(_AROUND_BREAK.sub("\n", text))


def _plain(text: str) -> str | None:
    """Return the text of a cell that has no elements inside."""
    if "&" in text:
        text = html.unescape(text)
    if text.isprintable() and "  " not in text:
        return text.strip(" ") or None
    return _shown(text)


def _span(text: str | None) -> int:
    """Return how many columns or rows a cell takes; what is no number is one."""
    digits = (text or "").strip()
    return min(max(1, int(digits)), MOST_COLUMNS) if digits.isdecimal() and len(digits) < 8 else 1


def _exact(text: str | None) -> str | None:
    """Return the number that a spreadsheet programme has written beside what is shown."""
    if not text:
        return None
    if _DIGITS.fullmatch(text):
        return text
    with suppress(ValueError):
        return number_text(float(text), EXACT_SPREADSHEET)
    return None
