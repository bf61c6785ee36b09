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
from app.ingest.readers.model import DetectedFormat, ReadOptions, SourceFile, TableReader
from app.ingest.readers.named_items import NamedItem, collect_items
from app.ingest.readers.xml_text import build_syntax_error, detect_xml_encoding, iter_safe_blocks
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


def get_local_name(element: Any) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rsplit("}", 1)[-1]


def parse_shape(element: Any) -> BaseGeometry | tuple[float, float]:
    """Return the shape of an element of `SHAPES`; of a point its coordinates.

    Raises
    ------
    ValueError, IndexError, GEOSException
        It has none.
    """
    if get_local_name(element) == "Point":
        return _check_finite(*parse_coordinates(element)[0])
    return SHAPES[get_local_name(element)](element, 0)


def _check_finite(x: float, y: float) -> tuple[float, float]:
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("no place")
    return x, y


def find_child(element: Any, tag: str) -> Any:
    return next((child for child in element if get_local_name(child) == tag), ())


def find_child_text(element: Any, tag: str) -> str:
    return getattr(find_child(element, tag), "text", None) or ""


def parse_coordinates(element: Any) -> list[tuple[float, float]]:
    text = find_child_text(element, "coordinates").strip()
    if " " in text or "\n" in text or "\t" in text:
        text = _COMMA.sub(",", text)
    found = []
    for place in text.split():
        numbers = place.split(",", 2)
        found.append((float(numbers[0]), float(numbers[1])))
    if not found:
        raise ValueError("no coordinates")
    return found


def parse_point(element: Any, _depth: int) -> BaseGeometry:
    return shapely.Point(parse_coordinates(element)[0])


def parse_model(element: Any, _depth: int) -> BaseGeometry:
    """Return where a three-dimensional model stands: GDAL writes one where a field is called model."""
    location = find_child(element, "Location")
    x, y = (float(find_child_text(location, axis)) for axis in ("longitude", "latitude"))
    return shapely.Point(_check_finite(x, y))


def parse_line(element: Any, _depth: int) -> BaseGeometry:
    return shapely.LineString(parse_coordinates(element))


def parse_polygon(element: Any, _depth: int) -> BaseGeometry:
    rings: dict[str, list[Any]] = {"outerBoundaryIs": [], "innerBoundaryIs": []}
    for border in element:
        for ring in border:
            if get_local_name(ring) == "LinearRing" and get_local_name(border) in rings:
                rings[get_local_name(border)].append(parse_coordinates(ring))
    return shapely.Polygon(rings["outerBoundaryIs"][0], rings["innerBoundaryIs"])


def parse_multi_geometry(element: Any, depth: int) -> BaseGeometry:
    if depth == _MOST_NESTED:
        raise ValueError("nested too deeply")
    parts = [SHAPES[get_local_name(child)](child, depth + 1) for child in element if get_local_name(child) in SHAPES]
    kinds = {part.geom_type for part in parts}
    make = _SEVERAL.get(kinds.pop()) if len(kinds) == 1 else None
    return (make or shapely.GeometryCollection)(parts)


SHAPES: Final[dict[str, Callable[[Any, int], BaseGeometry]]] = {
    "Point": parse_point,
    "Model": parse_model,
    "LineString": parse_line,
    "LinearRing": parse_line,
    "Polygon": parse_polygon,
    "MultiGeometry": parse_multi_geometry,
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


def iter_placemarks(file: SourceFile, coding: Encoding, links: set[str]) -> Iterator[NamedItem]:
    """Yield the placemarks of all folders; `links` takes the names of elements that lead elsewhere.

    Raises
    ------
    Invalid
        ``damaged-file`` with the line, ``unsafe-file``, ``wrong-encoding``.
    """
    document = PlacemarkParser(links)
    try:
        for block in iter_safe_blocks(file, coding):
            document.parser.Parse(block, False)
            yield from document.take_items()
        document.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise build_syntax_error(error.lineno, error.offset) from None


class _LocalNames(dict[str, str]):
    """Names of elements without their namespaces, each cut once."""

    def __missing__(self, name: str) -> str:
        self[name] = name.rsplit("}", 1)[-1]
        return self[name]


class PlacemarkParser:
    """What the parser calls, and the placemarks that came of it.

    There are handlers for what stands around placemarks, for the children of one, and for each kind
    of child; the end of an element gives back to the handlers before it.
    """

    def __init__(self, links: set[str]) -> None:
        # Text that is decoded already overrides the declaration.
        self.parser = expat.ParserCreate("utf-8", "}")
        self.parser.buffer_text = True
        self.parser.buffer_size = _BUFFER
        self.names = _LocalNames()
        self.links = links
        self.items: list[NamedItem] = []
        self.path: list[str] = []
        self.folders: list[str] = []
        """Names of the folders on the path, "" for what is none or has none."""
        self.open_placemarks: list[tuple[NamedItem, dict[str, Any], int]] = []
        """Placemarks that are open, their values and where they begin; only broken files nest them."""
        self.values: dict[str, Any] = {}
        self.texts: list[str] = []
        self.depth = 0
        """Elements that are open in a child of a placemark."""
        self.target = ""
        """What the text that is gathered is the value of."""
        self.target_depth = 0
        """Depth of the element whose text is gathered, 0 for none."""
        self.data_name: str | None = None
        """Name of a datum whose value has not come yet, and below which depth it must."""
        self.data_depth = 0
        self._handle_folders()

    def take_items(self) -> list[NamedItem]:
        """Take the placemarks that are complete."""
        found, self.items = self.items, []
        return found

    def _set_handlers(self, start: Any, end: Any, text: Any) -> None:
        self.parser.StartElementHandler = start
        self.parser.EndElementHandler = end
        self.parser.CharacterDataHandler = text

    # -- Around placemarks ---------------------------------------------------------------------------

    def _handle_folders(self) -> None:
        self._set_handlers(self._start_outer, self._end_outer, self.texts.append)

    def _start_outer(self, name: str, attributes: dict[str, str]) -> None:
        tag = self.names[name]
        if tag == "Placemark":
            self._begin_placemark(attributes)
            return
        if "name" not in self.path[-1:]:
            self.texts.clear()
        self.path.append(tag)
        self.folders.append("")
        if tag == "NetworkLink":
            self.links.add(tag)

    def _end_outer(self, _name: str) -> None:
        tag = self.path.pop()
        self.folders.pop()
        if tag == "name" and self.path and self.path[-1] in _FOLDERS:
            self.folders[-1] = "".join(self.texts).strip()

    # -- A placemark and its children ----------------------------------------------------------------

    def _begin_placemark(self, attributes: dict[str, str]) -> None:
        self.values = {}
        self.open_placemarks.append((NamedItem(self.values), self.values, self.parser.CurrentByteIndex))
        if attributes.get("id"):
            self.values["@id"] = attributes["id"]
        if folder := "/".join(filter(None, self.folders)):
            self.values["folder"] = folder
        self._handle_placemark()

    def _handle_placemark(self) -> None:
        self._set_handlers(self._start_child, self._end_placemark, None)

    def _start_child(self, name: str, attributes: dict[str, str]) -> None:
        tag = self.names[name]
        self.depth = 1
        self.target_depth = 0
        if tag == "ExtendedData":
            self.data_name = None
            self._set_handlers(self._start_data, self._end_value, self.texts.append)
        elif tag in _TOLD:
            self._collect_text(tag)
            self._set_handlers(self._start_nested, self._end_value, self.texts.append)
        elif tag in SHAPES:
            self._begin_shape(name, attributes)
        elif tag == "Placemark":
            self._begin_placemark(attributes)
        else:
            if tag in _UNREAD:
                self.open_placemarks[-1][0].issue = _FAULT
            self._set_handlers(self._start_nested, self._end_value, None)

    def _end_placemark(self, _name: str) -> None:
        record, _, begun = self.open_placemarks.pop()
        record.size = self.parser.CurrentByteIndex - begun
        self.items.append(record)
        if self.open_placemarks:
            self.values = self.open_placemarks[-1][1]
            self._handle_placemark()
        else:
            self._handle_folders()

    # -- Values --------------------------------------------------------------------------------------

    def _collect_text(self, into: str) -> None:
        self.target, self.target_depth = into, self.depth
        self.texts.clear()

    def _start_data(self, name: str, attributes: dict[str, str]) -> None:
        tag = self.names[name]
        self.depth += 1
        if self.target_depth:
            self._store_text()  # only what stands before the first element in it
        if tag == "value":
            if self.data_name is not None and self.depth == self.data_depth:
                self.target, self.target_depth = self.data_name, self.depth
                self.data_name = None
                self.texts.clear()
            return
        if self.depth < self.data_depth:
            self.data_name = None
        if attributes.get("name"):
            if tag == "Data":
                self.data_name, self.data_depth = attributes["name"], self.depth + 1
                self.values[self.data_name] = None
            elif tag == "SimpleData":
                self._collect_text(attributes["name"])

    def _start_nested(self, _name: str, _attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.target_depth:
            self._store_text()

    def _end_value(self, _name: str) -> None:
        if self.target_depth:
            self._store_text()
        self.depth -= 1
        if not self.depth:
            self._handle_placemark()

    def _store_text(self) -> None:
        """Take the text that was gathered."""
        self.target_depth = 0
        texts = self.texts
        text = texts[0] if len(texts) == 1 else "".join(texts) or None
        if self.target == "description" and (told := parse_description_table(text)):
            self.values.update((name, of) for name, of in told.items() if name not in self.values)
        else:
            self.values[self.target] = text

    # -- Shapes --------------------------------------------------------------------------------------

    def _begin_shape(self, name: str, attributes: dict[str, str]) -> None:
        builder: Any = TreeBuilder()
        root = builder.start(name, attributes)

        def end(name: str) -> None:
            if builder.end(name) is root:
                record = self.open_placemarks[-1][0]
                try:
                    record.shape = parse_shape(root)
                except (ValueError, IndexError, shapely.errors.GEOSException):
                    record.issue = _FAULT
                self._handle_placemark()

        self._set_handlers(builder.start, end, builder.data)


def parse_description_table(text: str | None) -> dict[str, str]:
    """Return what a table of names and values in a description says; GIS programs write those.

    Nothing where the description is anything else: it stays the text it is.
    """
    rows = _ROW.findall(text[:_LONGEST_TABLE]) if text and "<t" in text else []
    cells = [[strip_markup(cell) for cell in _CELL.findall(row)] for row in rows]
    pairs = [(row[0].rstrip(":："), row[1]) for row in cells if len(row) == 2 and row[0]]
    names = [name for name, _ in pairs]
    whole = len(pairs) >= 2 and len(set(names)) == len(names)
    return {name: value for name, value in pairs if value} if whole else {}


def strip_markup(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())


_LINKED: Final = "The KML links to other files; they are not fetched."
_NAMED: Final = 20
"""Folders that are named when the one that is asked for is not there."""


def open_kml(file: SourceFile, wanted: ReadOptions, folder: Callable[[], Path]) -> TableReader:
    """Open KML, or the first KML file of a KMZ; the layers of a KML file are its folders.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unsafe-file``, ``unknown-layer``, ``wrong-encoding``.
    """
    layers: tuple[str, ...] = ()
    if zipfile.is_zipfile(file.path):
        held = [member for member in archive.list_members(file.path) if member.suffix == "kml"]
        layers = tuple(member.name for member in held)
        name = wanted.layer or next((name for name in layers if name == "doc.kml"), layers[0])
        member = next((member for member in held if member.name == name), None)
        if member is None:
            raise Invalid(
                f"There is no {name!r} in the KMZ; it has {', '.join(layers)}.",
                code="unknown-layer",
            )
        file = SourceFile(archive.unpack_member(file.path, member, folder() / "doc.kml"), name)
    stated = None if layers else wanted.layer or wanted.sheet
    coding = detect_xml_encoding(file, wanted.encoding)
    links: set[str] = set()
    found = collect_items(filter_by_folder(iter_placemarks(file, coding, links), stated))
    if links and not found.count:
        raise Invalid(
            "The KML has no places, only links to other files; send the file it links to.",
            code="empty-file",
        )
    detected = DetectedFormat(
        format="kml",
        encoding=coding.name,
        layer=file.name if layers else stated,
        layers=layers,
        crs=crs.LONLAT if found.has_shapes else None,
        geometry=found.has_shapes,
        rows=found.count,
        notes=(*coding.notes, *((_LINKED,) if links else ())),
    )
    return found.create_reader(detected)


def filter_by_folder(found: Iterator[NamedItem], stated: str | None) -> Iterator[NamedItem]:
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
