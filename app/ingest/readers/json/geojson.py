"""GeoJSON collections and sequences of features (RFC 7946, RFC 8142), read feature by feature.

Promises numbers with the digits that stand in the file, and every property of every feature.
Structures inside properties are delivered as JSON text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final

import pyarrow as pa

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.header_row import labels
from app.ingest.readers.json.stream import JsonStream
from app.ingest.readers.model import Detected, Named, Oddity, Opened, Wanted
from app.ingest.readers.spill import Spool, filling
from app.ingest.values import crs as crses
from app.ingest.values.shapes import bad_geometry, from_objects, points_of
from app.ingest.values.typed_text import values_text

GEOMETRIES: Final = frozenset(
    ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
     "GeometryCollection")
)  # fmt: skip
_FEATURES: Final = ("features",)
_NO_FEATURE: Final = "A member of the list is no feature."
_HELD: Final = 16 << 20
_AT_ONCE: Final = 1_000
"""Characters of the file, and features, that are held at a time."""
_ID: Final = 0
"""Stands for the identifier among the names of properties, which are text."""


def open_geojson(file: Named, kind: str, wanted: Wanted) -> Opened:
    """Open a collection, a feature, a geometry, or a sequence of features.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``wrong-encoding``, ``unsupported-format`` (JSON that is
        not GeoJSON).
    """
    coding = encodings.detect(file.path, wanted.encoding, narrow=True)
    stream = JsonStream(encodings.text_blocks(file.path, coding))
    with filling() as spool:
        for features in _parts(stream):
            features.put(spool)
    found = stream.head
    names = [key for key in spool.keys if isinstance(key, str)]
    keys: list[str | int] = [*names]
    columns = names
    if _ID in spool.keys:
        keys = [_ID, *names]
        columns = ["@id" if "id" in names else "id", *names]
    crs, notes = _crs(found, spool.shapes)
    detected = Detected(
        format="geojson" if kind == "geojson" else "geojsonseq",
        encoding=coding.name,
        layer=found["name"] if isinstance(found.get("name"), str) else None,
        crs=crs,
        geometry=spool.shapes,
        rows=spool.count,
        notes=(*coding.notes, *notes),
    )
    headers = labels(columns)
    source = Opened(detected, headers, lambda rows: spool.batches(rows, headers, keys))
    source.closing.callback(spool.close)
    return source


@dataclass(slots=True, eq=False)
class _Features:
    """Some features, by what they consist of."""

    properties: list[dict[str, Any]] = field(default_factory=list)
    geometries: list[Any] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)
    """Places of what is no feature."""

    def take(self, name: str, values: list[Any]) -> None:
        """Add what stands in the member `name`, or in none."""
        if all(type(value) is dict and value.get("type") == "Feature" for value in values):
            properties = [value.get("properties") for value in values]
            self.properties += [held if isinstance(held, dict) else {} for held in properties]
            self.geometries += [value.get("geometry") for value in values]
            self.ids += [value.get("id") for value in values]
            return
        for value in values:
            kind = value.get("type") if isinstance(value, dict) else None
            if kind == "Feature":
                properties = value.get("properties")
                self._add(
                    properties if isinstance(properties, dict) else {},
                    value.get("geometry"),
                    value.get("id"),
                )
            elif kind in GEOMETRIES:
                self._add({}, value)
            elif kind == "FeatureCollection":
                pass  # an empty one
            elif name and not isinstance(value, dict):
                self.bad.append(len(self.ids))
                self._add({}, None)
            else:
                raise Invalid(
                    f"The file is JSON and not GeoJSON: {_shown(value)} is no feature.",
                    code="unsupported-format",
                )

    def _add(self, properties: dict[str, Any], geometry: Any, identifier: Any = None) -> None:
        self.properties.append(properties)
        self.geometries.append(geometry)
        self.ids.append(identifier)

    def put(self, spool: Spool) -> None:
        """Put the features aside."""
        cells: dict[str | int, pa.StringArray] = {}
        if any(one is not None for one in self.ids):
            cells[_ID] = values_text(self.ids)
        for name, values in _columns(self.properties):
            cells[name] = values_text(values)
        points = points_of(self.geometries)
        shapes, wrong = (None, []) if points is not None else from_objects(self.geometries)
        first = spool.count + 1
        odd = [bad_geometry(first + at) for at in wrong]
        odd += [Oddity(first + at, "bad-item", _NO_FEATURE, severity="error") for at in self.bad]
        none = shapes is None or all(shape is None for shape in shapes)
        spool.put(len(self.ids), cells, None if none else shapes, points, odd)


def _columns(objects: list[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the values of each member that any object has."""
    kinds = dict.fromkeys(map(tuple, objects))
    if len(kinds) == 1:
        values = zip(*(held.values() for held in objects), strict=True)
        yield from zip(next(iter(kinds)), map(list, values), strict=True)
        return
    for name in dict.fromkeys(chain.from_iterable(kinds)):
        yield name, [held.get(name) for held in objects]


def _parts(stream: JsonStream) -> Iterator[_Features]:
    """Yield features as they are at hand, those that come one by one together."""
    part, passed = _Features(), 0
    for name, values in stream.runs(_FEATURES):
        part.take(name, values)
        if len(part.ids) >= _AT_ONCE or stream.passed - passed > _HELD:
            yield part
            part, passed = _Features(), stream.passed
    if part.ids:
        yield part


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object with " + (", ".join(repr(str(key)) for key in islice(value, 5)) or "nothing")
    return f"{str(value)[:40]!r}"


def _crs(head: dict[str, Any], shapes: bool) -> tuple[str | None, tuple[str, ...]]:
    if not shapes:
        return None, ()
    stated = head.get("crs")
    if not isinstance(stated, dict):
        return crses.LONLAT, ()
    properties = stated.get("properties")
    name = properties.get("name") if isinstance(properties, dict) else None
    if name is None and isinstance(properties, dict) and stated.get("type") == "EPSG":
        name = f"EPSG:{properties.get('code')}"  # of before 2008
    code = crses.named(name) if isinstance(name, str) else None
    if code is None:
        return None, (f"The file names a CRS that is not known: {str(name)[:80]!r}.",)
    return code, ()
