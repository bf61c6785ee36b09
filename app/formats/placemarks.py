"""The placemarks of a KML document, one after the other as the parser meets them.

No tree of the document is made, only one of the shape that is being read: a placemark with its
values takes some forty microseconds and nothing is kept that was told.
"""

import html
import re
from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import TreeBuilder
from xml.parsers import expat

import shapely

from app.formats.encoding import Encoding
from app.formats.kmlshapes import SHAPES, shape_of
from app.formats.markup import blocks_of, not_valid
from app.formats.model import Named
from app.formats.records import Record

_ROW: Final = re.compile(r"<tr\b[^<>]*>((?:(?!<t(?:r|able)\b).)*?)</tr>", re.IGNORECASE | re.DOTALL)
_CELL: Final = re.compile(
    r"<t[dh]\b[^<>]*>((?:(?!<t[dh]\b).)*?)</t[dh]>", re.IGNORECASE | re.DOTALL
)
_TAG: Final = re.compile("<[^<>]*>")
_LONGEST_TABLE: Final = 100_000
"""Signs of a description that are looked at for a table."""
_FOLDERS: Final = ("Folder", "Document")
_TOLD: Final = ("name", "description", "address")
_UNREAD: Final = ("Track", "MultiTrack")
_FAULT: Final = ("bad-geometry", "The geometry of a row cannot be read.")
_BUFFER: Final = 1 << 16


def placemarks(file: Named, coding: Encoding, links: set[str]) -> Iterator[Record]:
    """Yield the placemarks of all folders; `links` takes the names of elements that lead elsewhere.

    Raises
    ------
    Invalid
        ``damaged-file`` with the line, ``unsafe-file``, ``wrong-encoding``.
    """
    document = _Document(links)
    try:
        for block in blocks_of(file, coding):
            document.parser.Parse(block, False)
            yield from document.done()
        document.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise not_valid(error.lineno, error.offset) from None


class _Names(dict[str, str]):
    """Names of elements without their namespaces, each cut once."""

    def __missing__(self, name: str) -> str:
        self[name] = name.rsplit("}", 1)[-1]
        return self[name]


class _Document:
    """What the parser calls, and the placemarks that came of it.

    There are handlers for what stands around placemarks, for the children of one, and for each kind
    of child; the end of an element gives back to the handlers before it.
    """

    def __init__(self, links: set[str]) -> None:
        # Text that is decoded already overrides the declaration.
        self.parser = expat.ParserCreate("utf-8", "}")
        self.parser.buffer_text = True
        self.parser.buffer_size = _BUFFER
        self.names = _Names()
        self.links = links
        self.found: list[Record] = []
        self.path: list[str] = []
        self.folders: list[str] = []
        """Names of the folders on the path, "" for what is none or has none."""
        self.around: list[tuple[Record, dict[str, Any], int]] = []
        """Placemarks that are open, their values and where they begin; only broken files nest them."""
        self.values: dict[str, Any] = {}
        self.texts: list[str] = []
        self.depth = 0
        """Elements that are open in a child of a placemark."""
        self.into = ""
        """What the text that is gathered is the value of."""
        self.level = 0
        """Depth of the element whose text is gathered, 0 for none."""
        self.datum: str | None = None
        """Name of a datum whose value has not come yet, and below which depth it must."""
        self.below = 0
        self._outside()

    def done(self) -> list[Record]:
        """Take the placemarks that are complete."""
        found, self.found = self.found, []
        return found

    def _handle(self, start: Any, end: Any, text: Any) -> None:
        self.parser.StartElementHandler = start
        self.parser.EndElementHandler = end
        self.parser.CharacterDataHandler = text

    # -- Around placemarks ---------------------------------------------------------------------------

    def _outside(self) -> None:
        self._handle(self._open, self._close, self.texts.append)

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        tag = self.names[name]
        if tag == "Placemark":
            self._begin(attributes)
            return
        if "name" not in self.path[-1:]:
            self.texts.clear()
        self.path.append(tag)
        self.folders.append("")
        if tag == "NetworkLink":
            self.links.add(tag)

    def _close(self, _name: str) -> None:
        tag = self.path.pop()
        self.folders.pop()
        if tag == "name" and self.path and self.path[-1] in _FOLDERS:
            self.folders[-1] = "".join(self.texts).strip()

    # -- A placemark and its children ----------------------------------------------------------------

    def _begin(self, attributes: dict[str, str]) -> None:
        self.values = {}
        self.around.append((Record(self.values), self.values, self.parser.CurrentByteIndex))
        if attributes.get("id"):
            self.values["@id"] = attributes["id"]
        if folder := "/".join(filter(None, self.folders)):
            self.values["folder"] = folder
        self._inside()

    def _inside(self) -> None:
        self._handle(self._child, self._end, None)

    def _child(self, name: str, attributes: dict[str, str]) -> None:
        tag = self.names[name]
        self.depth = 1
        self.level = 0
        if tag == "ExtendedData":
            self.datum = None
            self._handle(self._datum, self._end_value, self.texts.append)
        elif tag in _TOLD:
            self._gather(tag)
            self._handle(self._deeper, self._end_value, self.texts.append)
        elif tag in SHAPES:
            self._shape(name, attributes)
        elif tag == "Placemark":
            self._begin(attributes)
        else:
            if tag in _UNREAD:
                self.around[-1][0].fault = _FAULT
            self._handle(self._deeper, self._end_value, None)

    def _end(self, _name: str) -> None:
        record, _, begun = self.around.pop()
        record.size = self.parser.CurrentByteIndex - begun
        self.found.append(record)
        if self.around:
            self.values = self.around[-1][1]
            self._inside()
        else:
            self._outside()

    # -- Values --------------------------------------------------------------------------------------

    def _gather(self, into: str) -> None:
        self.into, self.level = into, self.depth
        self.texts.clear()

    def _datum(self, name: str, attributes: dict[str, str]) -> None:
        tag = self.names[name]
        self.depth += 1
        if self.level:
            self._told()  # only what stands before the first element in it
        if tag == "value":
            if self.datum is not None and self.depth == self.below:
                self.into, self.level = self.datum, self.depth
                self.datum = None
                self.texts.clear()
            return
        if self.depth < self.below:
            self.datum = None
        if attributes.get("name"):
            if tag == "Data":
                self.datum, self.below = attributes["name"], self.depth + 1
                self.values[self.datum] = None
            elif tag == "SimpleData":
                self._gather(attributes["name"])

    def _deeper(self, _name: str, _attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.level:
            self._told()

    def _end_value(self, _name: str) -> None:
        if self.level:
            self._told()
        self.depth -= 1
        if not self.depth:
            self._inside()

    def _told(self) -> None:
        """Take the text that was gathered."""
        self.level = 0
        texts = self.texts
        text = texts[0] if len(texts) == 1 else "".join(texts) or None
        if self.into == "description" and (told := tabled(text)):
            self.values.update((name, of) for name, of in told.items() if name not in self.values)
        else:
            self.values[self.into] = text

    # -- Shapes --------------------------------------------------------------------------------------

    def _shape(self, name: str, attributes: dict[str, str]) -> None:
        builder: Any = TreeBuilder()
        root = builder.start(name, attributes)

        def end(name: str) -> None:
            if builder.end(name) is root:
                record = self.around[-1][0]
                try:
                    record.shape = shape_of(root)
                except (ValueError, IndexError, shapely.errors.GEOSException):
                    record.fault = _FAULT
                self._inside()

        self._handle(builder.start, end, builder.data)


def tabled(text: str | None) -> dict[str, str]:
    """Return what a table of names and values in a description says; GIS programs write those.

    Nothing where the description is anything else: it stays the text it is.
    """
    rows = _ROW.findall(text[:_LONGEST_TABLE]) if text and "<t" in text else []
    cells = [[_plain(cell) for cell in _CELL.findall(row)] for row in rows]
    pairs = [(row[0].rstrip(":："), row[1]) for row in cells if len(row) == 2 and row[0]]
    names = [name for name, _ in pairs]
    whole = len(pairs) >= 2 and len(set(names)) == len(names)
    return {name: value for name, value in pairs if value} if whole else {}


def _plain(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
