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
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.json.stream import JsonStream
from app.ingest.readers.model import DetectedFormat, FormatIssue, ReadOptions, SourceFile, TableReader
from app.ingest.readers.spill import RowStore, create_row_store
from app.ingest.values import crs as crses
from app.ingest.values.shapes import bad_geometry, parse_geojson_objects, parse_geojson_points
from app.ingest.values.typed_text import format_json_column

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


def open_geojson(file: SourceFile, kind: str, wanted: ReadOptions) -> TableReader:
    """Open a collection, a feature, a geometry, or a sequence of features.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``wrong-encoding``, ``unsupported-format`` (JSON that is
        not GeoJSON).
    """
    coding = encodings.detect_encoding(file.path, wanted.encoding, narrow=True)
    stream = JsonStream(encodings.iter_utf8_blocks(file.path, coding))
    with create_row_store() as spool:
        for features in iter_feature_batches(stream):
            features.spill(spool)
    found = stream.head
    names = [key for key in spool.keys if isinstance(key, str)]
    keys: list[str | int] = [*names]
    columns = names
    if _ID in spool.keys:
        keys = [_ID, *names]
        columns = ["@id" if "id" in names else "id", *names]
    crs, notes = parse_crs_member(found, spool.has_shapes)
    detected = DetectedFormat(
        format="geojson" if kind == "geojson" else "geojsonseq",
        encoding=coding.name,
        layer=found["name"] if isinstance(found.get("name"), str) else None,
        crs=crs,
        geometry=spool.has_shapes,
        rows=spool.count,
        notes=(*coding.notes, *notes),
    )
    headers = build_headers(columns)
    source = TableReader(detected, headers, lambda rows: spool.iter_batches(rows, headers, keys))
    source.resources.callback(spool.close)
    return source


@dataclass(slots=True, eq=False)
class FeatureBatch:
    """Some features, by what they consist of."""

    properties: list[dict[str, Any]] = field(default_factory=list)
    geometries: list[Any] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    bad_items: list[int] = field(default_factory=list)
    """Places of what is no feature."""

    def add_values(self, name: str, values: list[Any]) -> None:
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
                self.add_feature(
                    properties if isinstance(properties, dict) else {},
                    value.get("geometry"),
                    value.get("id"),
                )
            elif kind in GEOMETRIES:
                self.add_feature({}, value)
            elif kind == "FeatureCollection":
                pass  # an empty one
            elif name and not isinstance(value, dict):
                self.bad_items.append(len(self.ids))
                self.add_feature({}, None)
            else:
                raise Invalid(
                    f"The file is JSON and not GeoJSON: {format_value(value)} is no feature.",
                    code="unsupported-format",
                )

    def add_feature(self, properties: dict[str, Any], geometry: Any, identifier: Any = None) -> None:
        self.properties.append(properties)
        self.geometries.append(geometry)
        self.ids.append(identifier)

    def spill(self, spool: RowStore) -> None:
        """Put the features aside."""
        cells: dict[str | int, pa.StringArray] = {}
        if any(one is not None for one in self.ids):
            cells[_ID] = format_json_column(self.ids)
        for name, values in iter_columns(self.properties):
            cells[name] = format_json_column(values)
        points = parse_geojson_points(self.geometries)
        shapes, wrong = (None, []) if points is not None else parse_geojson_objects(self.geometries)
        first = spool.count + 1
        odd = [bad_geometry(first + at) for at in wrong]
        odd += [FormatIssue(first + at, "bad-item", _NO_FEATURE, severity="error") for at in self.bad_items]
        none = shapes is None or all(shape is None for shape in shapes)
        spool.add_rows(len(self.ids), cells, None if none else shapes, points, odd)


def iter_columns(objects: list[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the values of each member that any object has."""
    kinds = dict.fromkeys(map(tuple, objects))
    if len(kinds) == 1:
        values = zip(*(held.values() for held in objects), strict=True)
        yield from zip(next(iter(kinds)), map(list, values), strict=True)
        return
    for name in dict.fromkeys(chain.from_iterable(kinds)):
        yield name, [held.get(name) for held in objects]


def iter_feature_batches(stream: JsonStream) -> Iterator[FeatureBatch]:
    """Yield features as they are at hand, those that come one by one together."""
    part, passed = FeatureBatch(), 0
    for name, values in stream.runs(_FEATURES):
        part.add_values(name, values)
        if len(part.ids) >= _AT_ONCE or stream.passed - passed > _HELD:
            yield part
            part, passed = FeatureBatch(), stream.passed
    if part.ids:
        yield part


def format_value(value: Any) -> str:
    if isinstance(value, dict):
        return "an object with " + (", ".join(repr(str(key)) for key in islice(value, 5)) or "nothing")
    return f"{str(value)[:40]!r}"


def parse_crs_member(head: dict[str, Any], shapes: bool) -> tuple[str | None, tuple[str, ...]]:
    if not shapes:
        return None, ()
    stated = head.get("crs")
    if not isinstance(stated, dict):
        return crses.LONLAT, ()
    properties = stated.get("properties")
    name = properties.get("name") if isinstance(properties, dict) else None
    if name is None and isinstance(properties, dict) and stated.get("type") == "EPSG":
        name = f"EPSG:{properties.get('code')}"  # of before 2008
    code = crses.parse_crs_name(name) if isinstance(name, str) else None
    if code is None:
        return None, (f"The file names a CRS that is not known: {str(name)[:80]!r}.",)
    return code, ()
