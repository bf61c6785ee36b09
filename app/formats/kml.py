"""KML and KMZ (OGC 12-007): placemarks of all folders, with their extended data.

Reads the file itself and nothing it points to: network links, images and styles are not followed.
"""

import html
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import shapely
from shapely.geometry.base import BaseGeometry

from app.errors import Invalid
from app.formats import archive, crs
from app.formats.encoding import Encoding
from app.formats.markup import coding_of, events, text_of
from app.formats.model import Detected, Named, Opened, Wanted
from app.formats.records import Record, gather

_COMMA: Final = re.compile(r"\s*,\s*")
_ROW: Final = re.compile(r"<tr\b[^<>]*>((?:(?!<t(?:r|able)\b).)*?)</tr>", re.IGNORECASE | re.DOTALL)
_CELL: Final = re.compile(
    r"<t[dh]\b[^<>]*>((?:(?!<t[dh]\b).)*?)</t[dh]>", re.IGNORECASE | re.DOTALL
)
_TAG: Final = re.compile("<[^<>]*>")
_LONGEST_TABLE: Final = 100_000
"""Signs of a description that are looked at for a table."""
_FOLDERS: Final = ("Folder", "Document")
_LINKED: Final = "The KML links to other files; they are not fetched."
_FAULT: Final = ("bad-geometry", "The geometry of a row cannot be read.")


def open_kml(file: Named, wanted: Wanted, folder: Callable[[], Path]) -> Opened:
    """Open KML, or the first KML file of a KMZ.

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
    coding = coding_of(file, wanted.encoding)
    links: set[str] = set()
    found = gather(lambda: _placemarks(file, coding, links), file.path.stat().st_size)
    if links and not found.count:
        raise Invalid(
            "The KML has no places, only links to other files; send the file it links to.",
            code="empty-file",
        )
    detected = Detected(
        format="kml",
        encoding=coding.name,
        layer=file.name if layers else None,
        layers=layers,
        crs=crs.LONLAT if found.shapes else None,
        geometry=found.shapes,
        rows=found.count,
        notes=(*coding.notes, *((_LINKED,) if links else ())),
    )
    return Opened(detected, found.names, found.batches)


def _placemarks(file: Named, coding: Encoding, links: set[str]) -> Iterator[Record]:
    path: list[Any] = []
    names: list[str] = []  # of the folders on the path, "" for what is none or has none
    for event, element in events(text_of(file, coding)):
        if event == "start":
            path.append(element)
            names.append("")
            continue
        path.pop()
        names.pop()
        tag = _local(element)
        if tag == "name" and path and _local(path[-1]) in _FOLDERS:
            names[-1] = (element.text or "").strip()
        elif tag == "NetworkLink":
            links.add(tag)
        elif tag == "Placemark":
            yield _record(element, "/".join(filter(None, names)))
            if path:
                path[-1].remove(element)  # nothing is kept that was told


def _record(placemark: Any, folder: str) -> Record:
    values: dict[str, Any] = {}
    if placemark.get("id"):
        values["@id"] = placemark.get("id")
    if folder:
        values["folder"] = folder
    shape: BaseGeometry | None = None
    fault = None
    for child in placemark:
        tag = _local(child)
        if tag == "description" and (told := _tabled(child.text)):
            values.update((name, text) for name, text in told.items() if name not in values)
        elif tag in ("name", "description", "address"):
            values[tag] = child.text
        elif tag == "ExtendedData":
            values.update(_extended(child))
        elif tag in _SHAPES:
            try:
                shape = _SHAPES[tag](child)
            except (ValueError, IndexError, shapely.errors.GEOSException):
                fault = _FAULT
        elif tag in ("Track", "MultiTrack", "Model"):
            fault = _FAULT
    return Record(values, shape, fault)


def _extended(data: Any) -> dict[str, Any]:
    values = {}
    for one in data.iter():
        name = one.get("name")
        if name and _local(one) == "Data":
            values[name] = _child(one, "value")
        elif name and _local(one) == "SimpleData":
            values[name] = one.text
    return values


def _tabled(text: str | None) -> dict[str, str]:
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


def _child(element: Any, tag: str) -> str | None:
    return next((child.text for child in element if _local(child) == tag), None)


def _local(element: Any) -> str:
    return str(element.tag).rsplit("}", 1)[-1]


def _positions(element: Any) -> list[tuple[float, float]]:
    text = _COMMA.sub(",", (_child(element, "coordinates") or "").strip())
    found = [(float(place.split(",")[0]), float(place.split(",")[1])) for place in text.split()]
    if not found:
        raise ValueError("no coordinates")
    return found


def _polygon(element: Any) -> BaseGeometry:
    rings: dict[str, list[Any]] = {"outerBoundaryIs": [], "innerBoundaryIs": []}
    for border in element:
        for ring in border:
            if _local(ring) == "LinearRing" and _local(border) in rings:
                rings[_local(border)].append(_positions(ring))
    return shapely.Polygon(rings["outerBoundaryIs"][0], rings["innerBoundaryIs"])


def _several(element: Any) -> BaseGeometry:
    parts = [_SHAPES[_local(child)](child) for child in element if _local(child) in _SHAPES]
    kinds = {part.geom_type for part in parts}
    several: dict[str, Callable[[Any], BaseGeometry]] = {
        "Point": shapely.MultiPoint, "LineString": shapely.MultiLineString,
        "Polygon": shapely.MultiPolygon,
    }  # fmt: skip
    make = several.get(kinds.pop(), shapely.GeometryCollection) if len(kinds) == 1 else None
    return (make or shapely.GeometryCollection)(parts)


_SHAPES: Final[dict[str, Callable[[Any], BaseGeometry]]] = {
    "Point": lambda element: shapely.Point(_positions(element)[0]),
    "LineString": lambda element: shapely.LineString(_positions(element)),
    "LinearRing": lambda element: shapely.LineString(_positions(element)),
    "Polygon": _polygon,
    "MultiGeometry": _several,
}
