"""Parquet and GeoParquet (1.0, 1.1), streamed batch by batch."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from shapely.geometry.base import BaseGeometry

from app.errors import Invalid
from app.ingest.readers.gis.gdal import build_feature_batch, catch_gdal_errors, format_column, is_binary_type
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.model import Batch, DetectedFormat, ReadOptions, SourceFile, TableReader
from app.ingest.values.crs import LONLAT, parse_crs
from app.ingest.values.shapes import Shapes, parse_wkb, parse_wkt
from app.messages import Message

_BUFFER: Final = 1 << 20
_WKB_EXTENSIONS: Final = (b"geoarrow.wkb", b"ogc.wkb")
_GEOMETRY_NAMES: Final = frozenset(
    ("geometry", "geom", "the_geom", "wkb_geometry", "wkb", "shape", "geometry_wkb", "geom_wkb")
)
"""Usual names of geometry columns in files without metadata, lower case."""
_SAMPLE_ROWS: Final = 100


def open_parquet(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open a Parquet file; its shapes are those of the primary geometry column.

    Raises
    ------
    Invalid
        ``damaged-file``; ``unsupported-format`` (a geometry encoding that is not read); ``unknown-layer`` (the stated
        geometry column does not exist).
    """
    with catch_gdal_errors():
        opened = pq.ParquetFile(file.path, pre_buffer=False, buffer_size=_BUFFER)
        schema = opened.schema_arrow
        column, encoding, crs, notes = find_geometry_column(opened, options.layer)
    geometry_index = None if column is None else schema.get_field_index(column)
    others = [index for index in range(len(schema)) if index != geometry_index]
    names = build_headers([schema.names[index] for index in others])
    detected = DetectedFormat(
        format="parquet",
        layer=column,
        crs=crs,
        geometry=column is not None,
        rows=opened.metadata.num_rows,
        notes=notes,
    )

    def read_batches(rows: int) -> Iterator[Batch]:
        first = 1
        with catch_gdal_errors():
            for table in opened.iter_batches(batch_size=rows):
                shapes = None if geometry_index is None else to_wkb_array(table.column(geometry_index), encoding)
                columns = {
                    name: format_parquet_column(table.column(index)) for name, index in zip(names, others, strict=True)
                }
                yield build_feature_batch(first, table.num_rows, columns, shapes)
                first += table.num_rows

    reader = TableReader(detected, names, read_batches)
    reader.resources.callback(opened.close)
    return reader


def find_geometry_column(
    opened: pq.ParquetFile, stated: str | None
) -> tuple[str | None, str, str | None, tuple[Message, ...]]:
    """Return the geometry column, its encoding, its CRS, and notes."""
    schema = opened.schema_arrow
    metadata = read_geo_metadata(schema)
    columns = _object_members(metadata.get("columns"))
    marked = [field.name for field in schema if _extension_name(field) in _WKB_EXTENSIONS]
    candidates = [name for name in (*columns, *marked) if schema.names.count(name) == 1]
    candidates = candidates or find_unmarked_columns(opened)
    if stated is not None and stated not in candidates:
        message = Message(
            "Unknown geometry column {name!r}. Geometry columns: {columns}.",
            name=stated,
            columns=", ".join(candidates) or "-",
        )
        raise Invalid(message, code="unknown-layer")
    primary = metadata.get("primary_column")
    name = stated or (primary if primary in candidates else next(iter(candidates), None))
    if name is None:
        return None, "", None, ()
    description = columns.get(name)
    if description is not None:
        return (name, *parse_column_metadata(description))
    if name in marked:
        return name, "WKB", read_extension_crs(schema.field(name)), ()
    note = Message("Column {name!r} has shapes without a CRS. Set the option crs.", name=name)
    return name, "point" if is_point_type(schema.field(name)) else "WKB", None, (note,)


def parse_column_metadata(description: dict[str, Any]) -> tuple[str, str | None, tuple[Message, ...]]:
    """Return the encoding and the CRS of a column in the metadata of GeoParquet, and notes."""
    encoding = str(description.get("encoding", "WKB")).lower()
    if encoding not in ("wkb", "wkt", *_NATIVE):
        message = Message("Unknown geometry encoding {encoding!r}. Save the geometry as WKB.", encoding=encoding)
        raise Invalid(message, code="unsupported-format")
    if "crs" not in description:
        return encoding, LONLAT, ()  # GeoParquet: a missing CRS is longitude and latitude, null is unknown
    crs = parse_crs(description["crs"]) if description["crs"] else None
    notes = () if crs else (Message("The file has no CRS with an EPSG number. Set the option crs."),)
    return encoding, crs, notes


def _object_members(value: Any) -> dict[str, dict[str, Any]]:
    """Return the members of an object that are objects; metadata may be anything."""
    if not isinstance(value, dict):
        return {}
    return {name: member for name, member in value.items() if isinstance(member, dict)}


def find_unmarked_columns(opened: pq.ParquetFile) -> list[str]:
    """Return columns with a usual name that have shapes, in a file without metadata."""
    schema = opened.schema_arrow
    candidates = [
        field.name
        for field in schema
        if field.name.lower() in _GEOMETRY_NAMES
        and (is_binary_type(field.type) or is_point_type(field))
        and schema.names.count(field.name) == 1
    ]
    names = []
    for name in candidates:
        head = next(opened.iter_batches(batch_size=_SAMPLE_ROWS, columns=[name]), None)
        values = head.column(0).drop_null() if head is not None else []
        if len(values) and (is_point_type(schema.field(name)) or not parse_wkb(_to_object_array(values))[1]):
            names.append(name)
    return names


def is_point_type(field: pa.Field) -> bool:
    """Return whether a column has points as structs of x and y."""
    return pa.types.is_struct(field.type) and {"x", "y"} <= {member.name for member in field.type}


def format_parquet_column(column: pa.Array) -> pa.StringArray:
    """Return a column as text, also text that an old program stored as bytes."""
    if is_binary_type(column.type):
        with suppress(pa.ArrowException):
            texts = column.cast(pa.binary()).cast(pa.string())
            if not pc.any(pc.match_substring_regex(texts, r"[\x00-\x08\x0e-\x1f]")).as_py():
                return format_column(texts)
    return format_column(column)


def read_geo_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return the metadata of GeoParquet, empty if there are none."""
    raw = (schema.metadata or {}).get(b"geo")
    try:
        metadata = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        metadata = {}
    return metadata if isinstance(metadata, dict) else {}


def _extension_name(field: pa.Field) -> bytes:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name).encode()
    return bytes((field.metadata or {}).get(b"ARROW:extension:name", b""))


def read_extension_crs(field: pa.Field) -> str | None:
    """Return the CRS in the metadata of GeoArrow."""
    raw = (field.metadata or {}).get(b"ARROW:extension:metadata")
    try:
        definition = json.loads(raw).get("crs") if raw else None
    except (ValueError, AttributeError, RecursionError):
        return None
    return LONLAT if definition is None else parse_crs(definition)


def to_wkb_array(column: pa.Array, encoding: str) -> Shapes:
    """Return the shapes of a column in any encoding as WKB, b"" for a value that is not a shape."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if encoding == "point" and pa.types.is_struct(column.type):
        points = shapely.points(
            column.field("x").to_numpy(zero_copy_only=False),
            column.field("y").to_numpy(zero_copy_only=False),
        )
        wkb = np.array(shapely.to_wkb(points), dtype=object)
        wkb[np.asarray(column.is_null())] = None
        return wkb
    if encoding == "wkt":
        texts = [text or "" for text in column.to_pylist()]
        wkb = np.array(shapely.to_wkb(parse_wkt(texts)), dtype=object)
        wkb[[index for index, text in enumerate(texts) if text and wkb[index] is None]] = b""
        return wkb
    values = _to_object_array(column)
    if encoding in _NATIVE:
        build_shape = _NATIVE[encoding]
        for index, value in enumerate(values):
            values[index] = None if value is None else _build_wkb(build_shape, value)
    return values


def _to_object_array(column: pa.Array) -> Shapes:
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def _build_wkb(build_shape: Callable[[Any], BaseGeometry], value: Any) -> bytes:
    try:
        return bytes(shapely.to_wkb(build_shape(value)))
    except (ValueError, TypeError, KeyError, IndexError, shapely.errors.GEOSException):
        return b""


def _to_xy(positions: Any) -> list[tuple[float, float]]:
    """Return positions that are ``{x, y}`` (separated) or lists (interleaved)."""
    return [
        (position["x"], position["y"]) if isinstance(position, dict) else (position[0], position[1])
        for position in positions
    ]


def _build_polygon(rings: Any) -> shapely.Polygon:
    return shapely.Polygon(_to_xy(rings[0]), [_to_xy(ring) for ring in rings[1:]])


_NATIVE: Final[dict[str, Callable[[Any], BaseGeometry]]] = {
    "point": lambda value: shapely.Point(_to_xy([value])[0]),
    "linestring": lambda value: shapely.LineString(_to_xy(value)),
    "polygon": _build_polygon,
    "multipoint": lambda value: shapely.MultiPoint(_to_xy(value)),
    "multilinestring": lambda value: shapely.MultiLineString([_to_xy(line) for line in value]),
    "multipolygon": lambda value: shapely.MultiPolygon([_build_polygon(rings) for rings in value]),
}
"""The encodings of GeoParquet 1.1 that are lists of coordinates."""
