"""KML and KMZ (OGC 12-007): placemarks of all folders, with their extended data.

Reads the file itself and nothing it points to: network links, images and styles are not followed.
"""

import html
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import TreeBuilder
from xml.parsers import expat

import shapely
from shapely.geometry.base import BaseGeometry

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.model import Detected, Named, Opened, Wanted
from app.ingest.readers.named_items import Record, gather
from app.ingest.readers.xml_text import blocks_of, coding_of, not_valid
from app.ingest.values import crs

# Shapes of KML elements (OGC 12-007, clause 10), without heights.
#
# Promises to nest no deeper than `app.ingest.values.shapes` does.

_COMMA: Final = re.compile(r"\s*,\s*")
_MOST_NESTED: Final = 8
_SEVERAL: Final[dict[str, Callable[[Any], BaseGeometry]]] = {
    "Point": shapely.MultiPoint, "LineString": shapely.MultiLineString,
    "Polygon": shapely.MultiPolygon,
}  # fmt: skip


def local(element: Any) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rsplit("}", 1)[-1]


def shape_of(element: Any) -> BaseGeometry | tuple[float, float]:
    """Return the shape of an element of `SHAPES`; of a point its coordinates.

    Raises
    ------
    ValueError, IndexError, GEOSException
        It has none.
    """
    if local(element) == "Point":
        return _finite(*_positions(element)[0])
    return SHAPES[local(element)](element, 0)


def _finite(x: float, y: float) -> tuple[float, float]:
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("no place")
    return x, y


def _child(element: Any, tag: str) -> Any:
    return next((child for child in element if local(child) == tag), ())


def _text(element: Any, tag: str) -> str:
    return getattr(_child(element, tag), "text", None) or ""


def _positions(element: Any) -> list[tuple[float, float]]:
    text = _text(element, "coordinates").strip()
    if " " in text or "\n" in text or "\t" in text:
        text = _COMMA.sub(",", text)
    found = []
    for place in text.split():
        numbers = place.split(",", 2)
        found.append((float(numbers[0]), float(numbers[1])))
    if not found:
        raise ValueError("no coordinates")
    return found


def _point(element: Any, _depth: int) -> BaseGeometry:
    return shapely.Point(_positions(element)[0])


def _model(element: Any, _depth: int) -> BaseGeometry:
    """Return where a three-dimensional model stands: GDAL writes one where a field is called model."""
    location = _child(element, "Location")
    x, y = (float(_text(location, axis)) for axis in ("longitude", "latitude"))
    return shapely.Point(_finite(x, y))


def _line(element: Any, _depth: int) -> BaseGeometry:
    return shapely.LineString(_positions(element))


def _polygon(element: Any, _depth: int) -> BaseGeometry:
    rings: dict[str, list[Any]] = {"outerBoundaryIs": [], "innerBoundaryIs": []}
    for border in element:
        for ring in border:
            if local(ring) == "LinearRing" and local(border) in rings:
                rings[local(border)].append(_positions(ring))
    return shapely.Polygon(rings["outerBoundaryIs"][0], rings["innerBoundaryIs"])


def _several(element: Any, depth: int) -> BaseGeometry:
    if depth == _MOST_NESTED:
        raise ValueError("nested too deeply")
    parts = [SHAPES[local(child)](child, depth + 1) for child in element if local(child) in SHAPES]
    kinds = {part.geom_type for part in parts}
    make = _SEVERAL.get(kinds.pop()) if len(kinds) == 1 else None
    return (make or shapely.GeometryCollection)(parts)


SHAPES: Final[dict[str, Callable[[Any, int], BaseGeometry]]] = {
    "Point": _point,
    "Model": _model,
    "LineString": _line,
    "LinearRing": _line,
    "Polygon": _polygon,
    "MultiGeometry": _several,
}
"""Elements that are shapes."""


# The placemarks of a KML document, one after the other as the parser meets them.
#
# No tree of the document is made, only one of the shape that is being read: a placemark with its
# values takes some forty microseconds and nothing is kept that was told.

_ROW: Final = re.compile(r"<tr\b[^<>]*>((?:(?!<t(?:r|able)\b).)*?)</tr>", re.IGNORECASE | re.DOTALL)
_CELL: Final = re.compile(r"<t[dh]\b[^<>]*>((?:(?!<t[dh]\b).)*?)</t[dh]>", re.IGNORECASE | re.DOTALL)
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


_LINKED: Final = "The KML links to other files; they are not fetched."
_NAMED: Final = 20
"""Folders that are named when the one that is asked for is not there."""


def open_kml(file: Named, wanted: Wanted, folder: Callable[[], Path]) -> Opened:
    """Open KML, or the first KML file of a KMZ; the layers of a KML file are its folders.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unsafe-file``, ``unknown-layer``, ``wrong-encoding``.
    """
    layers: tuple[str, ...] = ()
    if zipfile.is_zipfile(file.path):
        held = [member for member in archive.members(file.path) if member.suffix == "kml"]
        layers = tuple(member.name for member in held)
        name = wanted.layer or next((name for name in layers if name == "doc.kml"), layers[0])
        member = next((member for member in held if member.name == name), None)
        if member is None:
            raise Invalid(
                f"There is no {name!r} in the KMZ; it has {', '.join(layers)}.",
                code="unknown-layer",
            )
        file = Named(archive.unpack(file.path, member, folder() / "doc.kml"), name)
    stated = None if layers else wanted.layer or wanted.sheet
    coding = coding_of(file, wanted.encoding)
    links: set[str] = set()
    found = gather(_of_folder(placemarks(file, coding, links), stated))
    if links and not found.count:
        raise Invalid(
            "The KML has no places, only links to other files; send the file it links to.",
            code="empty-file",
        )
    detected = Detected(
        format="kml",
        encoding=coding.name,
        layer=file.name if layers else stated,
        layers=layers,
        crs=crs.LONLAT if found.shapes else None,
        geometry=found.shapes,
        rows=found.count,
        notes=(*coding.notes, *((_LINKED,) if links else ())),
    )
    return found.opened(detected)


def _of_folder(found: Iterator[Record], stated: str | None) -> Iterator[Record]:
    """Yield the placemarks of a folder, named alone or with those it lies in, and of those within.

    Raises
    ------
    Invalid
        ``unknown-layer``.
    """
    if stated is None:
        yield from found
        return
    others: dict[str, None] = {}
    met = False
    for record in found:
        folder = record.values.get("folder") or ""
        if f"/{stated}/" in f"/{folder}/":
            met = True
            yield record
        elif folder and len(others) < _NAMED:
            others[folder] = None
    if not met:
        known = ", ".join(others) or "no folder with placemarks"
        raise Invalid(f"There is no layer {stated!r}; the file has {known}.", code="unknown-layer")
