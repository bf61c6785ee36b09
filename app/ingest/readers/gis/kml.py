"""KML and KMZ (OGC 12-007): placemarks of all folders, with their extended data.

Only the file itself is read: network links, images and styles are not followed.
"""

import html
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, Final
from xml.etree.ElementTree import TreeBuilder
from xml.parsers import expat

import shapely
from shapely.geometry.base import BaseGeometry

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.content import FileContent
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.model import BAD_GEOMETRY, DetectedFormat, ReadOptions, SourceFile, TableReader
from app.ingest.readers.named_items import NamedItem, collect_items
from app.ingest.readers.xml_text import build_syntax_error, detect_xml_encoding, get_local_name, iter_safe_blocks
from app.ingest.values.crs import LONLAT
from app.messages import Message

_ROOT: Final = re.compile(r"<(?:\w+:)?kml\b")
_COMMA: Final = re.compile(r"\s*,\s*")
_MAX_NESTED: Final = 8
"""As deep as `app.ingest.values.shapes` reads."""
_MULTI_TYPES: Final[dict[str, Callable[[Any], BaseGeometry]]] = {
    "Point": shapely.MultiPoint,
    "LineString": shapely.MultiLineString,
    "Polygon": shapely.MultiPolygon,
}
_TABLE_ROW: Final = re.compile(r"<tr\b[^<>]*>((?:(?!<t(?:r|able)\b).)*?)</tr>", re.IGNORECASE | re.DOTALL)
_TABLE_CELL: Final = re.compile(r"<t[dh]\b[^<>]*>((?:(?!<t[dh]\b).)*?)</t[dh]>", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile("<[^<>]*>")
_LONGEST_TABLE: Final = 100_000
"""Characters of a description that are searched for a table."""
_FOLDERS: Final = ("Folder", "Document")
_VALUES: Final = ("name", "description", "address")
_UNREADABLE_SHAPES: Final = ("Track", "MultiTrack")
_BAD_GEOMETRY: Final = ("bad-geometry", BAD_GEOMETRY)
_BUFFER: Final = 1 << 16
_MAX_LISTED: Final = 20
"""Folders in the error about an unknown folder."""


def is_kml(content: FileContent) -> bool:
    """Return whether a file is KML, or a zip with KML."""
    if content.is_zip:
        return "kml" in content.member_suffixes
    return content.is_markup and _ROOT.search(content.start) is not None


def open_kml(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open KML, or the first KML file of a KMZ; the layers of a KML file are its folders.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unsafe-file``, ``unknown-layer``, ``wrong-encoding``.
    """
    layers: tuple[str, ...] = ()
    folder = options.layer_name
    kml, layer = file, folder
    if zipfile.is_zipfile(file.path):
        members = [member for member in archive.list_members(file.path) if member.suffix == "kml"]
        layers, folder = tuple(member.name for member in members), None
        layer = options.layer or next((name for name in layers if name == "doc.kml"), layers[0])
        if layer not in layers:
            message = Message("The KMZ has no file {name!r}. Files: {files}.", name=layer, files=", ".join(layers))
            raise Invalid(message, code="unknown-layer")
        path = archive.unpack_member(file.path, members[layers.index(layer)], file.create_folder() / "doc.kml")
        kml = SourceFile(path, layer)
    encoding = detect_xml_encoding(kml, options.encoding)
    links: set[str] = set()
    table = collect_items(filter_by_folder(iter_placemarks(kml, encoding, links), folder))
    if links and not table.count:
        message = Message("The KML has no placemarks, only links to other files. Send the file that it links to.")
        raise Invalid(message, code="empty-file")
    link_notes = (Message("The KML links to other files; they are not fetched."),) if links else ()
    detected = DetectedFormat(
        format="kml",
        encoding=encoding.name,
        layer=layer,
        layers=layers,
        crs=LONLAT if table.has_shapes else None,
        geometry=table.has_shapes,
        rows=table.count,
        notes=(*encoding.notes, *link_notes),
    )
    return table.create_reader(detected)


def filter_by_folder(items: Iterator[NamedItem], folder: str | None) -> Iterator[NamedItem]:
    """Yield the placemarks of a folder and of the folders in it; `folder` is its name or its path.

    Raises
    ------
    Invalid
        ``unknown-layer``.
    """
    if folder is None:
        yield from items
        return
    others: dict[str, None] = {}
    is_known = False
    for item in items:
        path = item.values.get("folder") or ""
        if f"/{folder}/" in f"/{path}/":
            is_known = True
            yield item
        elif path and len(others) < _MAX_LISTED:
            others[path] = None
    if not is_known:
        message = Message("Unknown layer {name!r}. The file has no folder with placemarks.", name=folder)
        if others:
            message = Message("Unknown layer {name!r}. Layers: {layers}.", name=folder, layers=", ".join(others))
        raise Invalid(message, code="unknown-layer")


# Shapes of KML elements (OGC 12-007, clause 10), without heights


def parse_shape(element: Any) -> BaseGeometry | tuple[float, float]:
    """Return the shape of an element of `SHAPES`, of a point its coordinates.

    Raises
    ------
    ValueError, IndexError, GEOSException
        The element has no valid shape.
    """
    if get_local_name(element) == "Point":
        return _check_finite(*parse_coordinates(element)[0])
    return SHAPES[get_local_name(element)](element, 0)


def _check_finite(x: float, y: float) -> tuple[float, float]:
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("coordinates are not finite")
    return x, y


def find_child(element: Any, tag: str) -> Any:
    """Return the first child of a name, () if there is none."""
    return next((child for child in element if get_local_name(child) == tag), ())


def find_child_text(element: Any, tag: str) -> str:
    """Return the text of the first child of a name, "" if there is none."""
    return getattr(find_child(element, tag), "text", None) or ""


def parse_coordinates(element: Any) -> list[tuple[float, float]]:
    """Return the positions of the ``coordinates`` of an element."""
    text = find_child_text(element, "coordinates").strip()
    if " " in text or "\n" in text or "\t" in text:
        text = _COMMA.sub(",", text)
    positions = []
    for position in text.split():
        numbers = position.split(",", 2)
        positions.append((float(numbers[0]), float(numbers[1])))
    if not positions:
        raise ValueError("no coordinates")
    return positions


def parse_point(element: Any, _depth: int) -> BaseGeometry:
    """Return a point."""
    return shapely.Point(parse_coordinates(element)[0])


def parse_model(element: Any, _depth: int) -> BaseGeometry:
    """Return the location of a three-dimensional model: GDAL writes one if a field is called model."""
    location = find_child(element, "Location")
    x, y = (float(find_child_text(location, axis)) for axis in ("longitude", "latitude"))
    return shapely.Point(_check_finite(x, y))


def parse_line(element: Any, _depth: int) -> BaseGeometry:
    """Return a line."""
    return shapely.LineString(parse_coordinates(element))


def parse_polygon(element: Any, _depth: int) -> BaseGeometry:
    """Return a polygon."""
    rings: dict[str, list[Any]] = {"outerBoundaryIs": [], "innerBoundaryIs": []}
    for boundary in element:
        for ring in boundary:
            if get_local_name(ring) == "LinearRing" and get_local_name(boundary) in rings:
                rings[get_local_name(boundary)].append(parse_coordinates(ring))
    return shapely.Polygon(rings["outerBoundaryIs"][0], rings["innerBoundaryIs"])


def parse_multi_geometry(element: Any, depth: int) -> BaseGeometry:
    """Return several shapes as a multiple of their type, or as a collection."""
    if depth == _MAX_NESTED:
        raise ValueError("nested too deeply")
    geometries = [SHAPES[name](child, depth + 1) for child in element if (name := get_local_name(child)) in SHAPES]
    types = {geometry.geom_type for geometry in geometries}
    build = _MULTI_TYPES.get(types.pop()) if len(types) == 1 else None
    return (build or shapely.GeometryCollection)(geometries)


SHAPES: Final[dict[str, Callable[[Any, int], BaseGeometry]]] = {
    "Point": parse_point,
    "Model": parse_model,
    "LineString": parse_line,
    "LinearRing": parse_line,
    "Polygon": parse_polygon,
    "MultiGeometry": parse_multi_geometry,
}
"""Parsers of the elements that are shapes."""


# Placemarks


def iter_placemarks(file: SourceFile, encoding: Encoding, links: set[str]) -> Iterator[NamedItem]:
    """Yield the placemarks of all folders; add the names of elements that link to other files to `links`.

    Raises
    ------
    Invalid
        ``damaged-file`` with the line, ``unsafe-file``, ``wrong-encoding``.
    """
    parser = PlacemarkParser(links)
    try:
        for block in iter_safe_blocks(file, encoding):
            parser.expat.Parse(block, False)
            yield from parser.take_items()
        parser.expat.Parse(b"", True)
    except expat.ExpatError as error:
        raise build_syntax_error(error.lineno, error.offset) from None


class _LocalNames(dict[str, str]):
    """Names of elements without their namespaces, each computed once."""

    def __missing__(self, name: str) -> str:
        self[name] = name.rsplit("}", 1)[-1]
        return self[name]


class PlacemarkParser:
    """Handlers of the XML parser, and the placemarks that they have built.

    No tree of the document is built, only one of the shape that is being parsed: a placemark with its values takes
    some forty microseconds, and memory does not grow. There are handlers for the elements around placemarks, for the
    children of a placemark, and for each kind of child; the end of an element restores the handlers before it.
    """

    def __init__(self, links: set[str]) -> None:
        # Decoded text overrides the encoding of the declaration.
        self.expat = expat.ParserCreate("utf-8", "}")
        self.expat.buffer_text = True
        self.expat.buffer_size = _BUFFER
        self.names = _LocalNames()
        self.links = links
        self.items: list[NamedItem] = []
        self.path: list[str] = []
        self.folders: list[str] = []
        """Names of the folders on the path, "" for other elements and folders without a name."""
        self.open_placemarks: list[tuple[NamedItem, dict[str, Any], int]] = []
        """Placemark, its values, and the offset at which it begins; only broken files nest placemarks."""
        self.values: dict[str, Any] = {}
        self.texts: list[str] = []
        self.depth = 0
        """Number of open elements in a child of a placemark."""
        self.target = ""
        """Name of the value that the collected text becomes."""
        self.target_depth = 0
        """Depth of the element whose text is collected, 0 for none."""
        self.data_name: str | None = None
        """Name of a datum whose value has not come yet, and the depth at which it must come."""
        self.data_depth = 0
        self._handle_folders()

    def take_items(self) -> list[NamedItem]:
        """Return the complete placemarks, once."""
        items, self.items = self.items, []
        return items

    def _set_handlers(self, start: Any, end: Any, text: Any) -> None:
        self.expat.StartElementHandler = start
        self.expat.EndElementHandler = end
        self.expat.CharacterDataHandler = text

    # Around placemarks

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

    # A placemark and its children

    def _begin_placemark(self, attributes: dict[str, str]) -> None:
        self.values = {}
        self.open_placemarks.append((NamedItem(self.values), self.values, self.expat.CurrentByteIndex))
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
        elif tag in _VALUES:
            self._collect_text(tag)
            self._set_handlers(self._start_nested, self._end_value, self.texts.append)
        elif tag in SHAPES:
            self._begin_shape(name, attributes)
        elif tag == "Placemark":
            self._begin_placemark(attributes)
        else:
            if tag in _UNREADABLE_SHAPES:
                self.open_placemarks[-1][0].issue = _BAD_GEOMETRY
            self._set_handlers(self._start_nested, self._end_value, None)

    def _end_placemark(self, _name: str) -> None:
        item, _, begin = self.open_placemarks.pop()
        item.size = self.expat.CurrentByteIndex - begin
        self.items.append(item)
        if self.open_placemarks:
            self.values = self.open_placemarks[-1][1]
            self._handle_placemark()
        else:
            self._handle_folders()

    # Values

    def _collect_text(self, target: str) -> None:
        self.target, self.target_depth = target, self.depth
        self.texts.clear()

    def _start_data(self, name: str, attributes: dict[str, str]) -> None:
        tag = self.names[name]
        self.depth += 1
        if self.target_depth:
            self._store_text()  # only the text before the first inner element
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
        self.target_depth = 0
        text = self.texts[0] if len(self.texts) == 1 else "".join(self.texts) or None
        if self.target == "description" and (table := parse_description_table(text)):
            self.values.update((name, value) for name, value in table.items() if name not in self.values)
        else:
            self.values[self.target] = text

    # Shapes

    def _begin_shape(self, name: str, attributes: dict[str, str]) -> None:
        builder: Any = TreeBuilder()
        root = builder.start(name, attributes)

        def end_element(name: str) -> None:
            if builder.end(name) is root:
                item = self.open_placemarks[-1][0]
                try:
                    item.shape = parse_shape(root)
                except (ValueError, IndexError, shapely.errors.GEOSException):
                    item.issue = _BAD_GEOMETRY
                self._handle_placemark()

        self._set_handlers(builder.start, end_element, builder.data)


def parse_description_table(text: str | None) -> dict[str, str]:
    """Return the values of a table of names and values in a description, as GIS programs write it.

    An empty result means that the description is anything else: it stays text.
    """
    rows = _TABLE_ROW.findall(text[:_LONGEST_TABLE]) if text and "<t" in text else []
    cells = [[strip_markup(cell) for cell in _TABLE_CELL.findall(row)] for row in rows]
    pairs = [(row[0].rstrip(":："), row[1]) for row in cells if len(row) == 2 and row[0]]
    names = [name for name, _ in pairs]
    is_table = len(pairs) >= 2 and len(set(names)) == len(names)
    return {name: value for name, value in pairs if value} if is_table else {}


def strip_markup(markup: str) -> str:
    """Return the text of HTML."""
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
