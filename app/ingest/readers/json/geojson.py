"""GeoJSON collections and sequences of features (RFC 7946, RFC 8142), read feature by feature.

Numbers keep the digits of the file, and every property of every feature is read. A structure inside a property is
JSON text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final

import pyarrow as pa

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.content import FileContent
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.json.stream import JsonStream
from app.ingest.readers.model import (
    DetectedFormat,
    FormatIssue,
    ReadOptions,
    SourceFile,
    TableReader,
    build_geometry_issue,
)
from app.ingest.readers.spill import RowStore, create_row_store
from app.ingest.values.crs import LONLAT, parse_crs_name
from app.ingest.values.shapes import GEOJSON_TYPES, parse_geojson_objects, parse_geojson_points
from app.ingest.values.typed_text import format_json_column
from app.messages import Message

_TYPE: Final = re.compile(
    r'"type"\s*:\s*"(?:Feature|FeatureCollection|Point|LineString|Polygon|Multi\w+|GeometryCollection)"'
)
TOPOJSON: Final = re.compile(r'"type"\s*:\s*"Topology"')
_COLLECTION: Final = re.compile(r'"features"\s*:|"type"\s*:\s*"FeatureCollection"')
_NEXT_FEATURE: Final = re.compile(r'\}\s*[\r\n]+\s*\{\s*"type"\s*:\s*"Feature"')
_FEATURES: Final = ("features",)
_NOT_A_FEATURE: Final = Message("A member of the list is not a feature.")
_MAX_BATCH_CHARACTERS: Final = 16 << 20
_MAX_BATCH_FEATURES: Final = 1_000
_ID: Final = 0
"""Key of the identifier among the names of properties, which are text."""


def has_geojson_type(content: FileContent) -> bool:
    """Return whether a JSON text has a ``type`` of GeoJSON."""
    has_type = content.is_json and _TYPE.search(content.text) is not None
    return has_type and TOPOJSON.search(content.text) is None


def is_geojson(content: FileContent) -> bool:
    """Return whether a file is a GeoJSON collection, feature or geometry."""
    return has_geojson_type(content)


def is_geojson_sequence(content: FileContent) -> bool:
    """Return whether a file is a sequence of GeoJSON features, without a collection around them."""
    if not has_geojson_type(content):
        return False
    has_several = "\x1e" in content.text or _NEXT_FEATURE.search(content.text) is not None
    is_collection = _COLLECTION.search(content.text) is not None
    return has_several and (not is_collection or content.start.startswith('{"type":"Feature"'))


def open_geojson(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open a collection, a feature, a geometry, or a sequence of features.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``wrong-encoding``, ``unsupported-format`` (JSON that is not GeoJSON).
    """
    encoding = encodings.detect_encoding(file.path, options.encoding, narrow=True)
    stream = JsonStream(encodings.iter_utf8_blocks(file.path, encoding))
    with create_row_store() as store:
        for features in iter_feature_batches(stream):
            features.store_rows(store)
    names = [key for key in store.keys if isinstance(key, str)]
    keys: list[str | int] = [*names]
    columns = names
    if _ID in store.keys:
        keys = [_ID, *names]
        columns = ["@id" if "id" in names else "id", *names]
    crs, notes = parse_crs_member(stream.head, store.has_shapes)
    name = stream.head.get("name")
    detected = DetectedFormat(
        format="geojson" if options.format == "geojson" else "geojsonseq",
        encoding=encoding.name,
        layer=name if isinstance(name, str) else None,
        crs=crs,
        geometry=store.has_shapes,
        rows=store.count,
        notes=(*encoding.notes, *notes),
    )
    headers = build_headers(columns)
    reader = TableReader(detected, headers, lambda rows: store.iter_batches(rows, headers, keys))
    reader.resources.callback(store.close)
    return reader


@dataclass(slots=True, eq=False)
class FeatureBatch:
    """Some features as lists of properties, geometries and identifiers."""

    properties: list[dict[str, Any]] = field(default_factory=list)
    geometries: list[Any] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    bad_items: list[int] = field(default_factory=list)
    """Indices of list members that are not features."""

    def add_values(self, list_name: str, values: list[Any]) -> None:
        """Add the members of a list, or values outside a list (`list_name` is "").

        Raises
        ------
        Invalid
            ``unsupported-format``: a value is not GeoJSON.
        """
        if all(type(value) is dict and value.get("type") == "Feature" for value in values):
            properties = [value.get("properties") for value in values]
            self.properties += [members if isinstance(members, dict) else {} for members in properties]
            self.geometries += [value.get("geometry") for value in values]
            self.ids += [value.get("id") for value in values]
            return
        for value in values:
            kind = value.get("type") if isinstance(value, dict) else None
            if kind == "Feature":
                members = value.get("properties")
                self.add_feature(members if isinstance(members, dict) else {}, value.get("geometry"), value.get("id"))
            elif kind in GEOJSON_TYPES:
                self.add_feature({}, value)
            elif kind == "FeatureCollection":
                pass  # an empty collection
            elif list_name and not isinstance(value, dict):
                self.bad_items.append(len(self.ids))
                self.add_feature({}, None)
            else:
                message = Message(
                    "The file is JSON and not GeoJSON: {value} is not a feature. Send GeoJSON, or a list of objects.",
                    value=format_value(value),
                )
                raise Invalid(message, code="unsupported-format")

    def add_feature(self, properties: dict[str, Any], geometry: Any, identifier: Any = None) -> None:
        """Add one feature."""
        self.properties.append(properties)
        self.geometries.append(geometry)
        self.ids.append(identifier)

    def store_rows(self, store: RowStore) -> None:
        """Add the features to a row store."""
        columns: dict[str | int, pa.StringArray] = {}
        if any(identifier is not None for identifier in self.ids):
            columns[_ID] = format_json_column(self.ids)
        for name, values in iter_columns(self.properties):
            columns[name] = format_json_column(values)
        points = parse_geojson_points(self.geometries)
        shapes, bad_shapes = (None, []) if points is not None else parse_geojson_objects(self.geometries)
        first = store.count + 1
        issues = [build_geometry_issue(first + index) for index in bad_shapes]
        issues += [FormatIssue(first + index, "bad-item", _NOT_A_FEATURE, severity="error") for index in self.bad_items]
        has_none = shapes is None or all(shape is None for shape in shapes)
        store.add_rows(len(self.ids), columns, None if has_none else shapes, points, issues)


def iter_columns(objects: list[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the values of each member that any object has."""
    kinds = dict.fromkeys(map(tuple, objects))
    if len(kinds) == 1:
        # All objects have the same members in the same order: nearly every file.
        columns = zip(*(members.values() for members in objects), strict=True)
        yield from zip(next(iter(kinds)), map(list, columns), strict=True)
        return
    for name in dict.fromkeys(chain.from_iterable(kinds)):
        yield name, [members.get(name) for members in objects]


def iter_feature_batches(stream: JsonStream) -> Iterator[FeatureBatch]:
    """Yield the features of a stream in batches."""
    batch, begin = FeatureBatch(), 0
    for name, values in stream.iter_runs(_FEATURES):
        batch.add_values(name, values)
        if len(batch.ids) >= _MAX_BATCH_FEATURES or stream.consumed - begin > _MAX_BATCH_CHARACTERS:
            yield batch
            batch, begin = FeatureBatch(), stream.consumed
    if batch.ids:
        yield batch


def format_value(value: Any) -> Message | str:
    """Return a short text of a JSON value for an error message."""
    if isinstance(value, dict):
        names = ", ".join(repr(str(name)) for name in islice(value, 5))
        return Message("an object with {names}", names=names) if names else Message("an empty object")
    return f"{str(value)[:40]!r}"


def parse_crs_member(head: dict[str, Any], has_shapes: bool) -> tuple[str | None, tuple[str, ...]]:
    """Return the CRS of a collection, and a note if it is not known."""
    if not has_shapes:
        return None, ()
    member = head.get("crs")
    if not isinstance(member, dict):
        return LONLAT, ()
    properties = member.get("properties")
    name = properties.get("name") if isinstance(properties, dict) else None
    if name is None and isinstance(properties, dict) and member.get("type") == "EPSG":
        name = f"EPSG:{properties.get('code')}"  # as before GeoJSON 2008
    crs = parse_crs_name(name) if isinstance(name, str) else None
    if crs is None:
        return None, (Message("The file names an unknown CRS: {name!r}. Set the option crs.", name=str(name)[:80]),)
    return crs, ()
