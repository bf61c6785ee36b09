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
from app.ingest.values import crs as crses
from app.ingest.values.shapes import Shapes, parse_wkb, parse_wkt

_BUFFER: Final = 1 << 20
_WKB: Final = (b"geoarrow.wkb", b"ogc.wkb")
_USUAL: Final = frozenset(("geometry", "geom", "the_geom", "wkb_geometry", "wkb", "shape", "geometry_wkb", "geom_wkb"))
"""Names of columns of shapes in files that were written without metadata, lower case."""
_SAMPLE: Final = 100


def open_parquet(file: SourceFile, wanted: ReadOptions) -> TableReader:
    """Open a Parquet file; its shapes are those of the primary geometry column.

    Raises
    ------
    Invalid
        ``damaged-file``; ``unsupported-format`` (a geometry encoding that is not read);
        ``unknown-layer`` (a stated geometry column that is not there).
    """
    with catch_gdal_errors():
        opened = pq.ParquetFile(file.path, pre_buffer=False, buffer_size=_BUFFER)
        schema = opened.schema_arrow
        column, encoding, crs, notes = find_geometry_column(opened, wanted.layer)
    at = None if column is None else schema.get_field_index(column)
    raw = [number for number in range(len(schema)) if number != at]
    names = build_headers([schema.names[number] for number in raw])
    detected = DetectedFormat(
        format="parquet",
        layer=column,
        crs=crs,
        geometry=column is not None,
        rows=opened.metadata.num_rows,
        notes=notes,
    )

    def read(rows: int) -> Iterator[Batch]:
        first = 1
        with catch_gdal_errors():
            for table in opened.iter_batches(batch_size=rows):
                shapes = None if at is None else to_wkb_array(table.column(at), encoding)
                cells = {
                    name: format_parquet_column(table.column(number)) for name, number in zip(names, raw, strict=True)
                }
                yield build_feature_batch(first, table.num_rows, cells, shapes)
                first += table.num_rows

    source = TableReader(detected, names, read)
    source.resources.callback(opened.close)
    return source


def find_geometry_column(
    opened: pq.ParquetFile, stated: str | None
) -> tuple[str | None, str, str | None, tuple[str, ...]]:
    """Return the geometry column, its encoding, its CRS and what to tell."""
    schema = opened.schema_arrow
    meta = read_geo_metadata(schema)
    columns = _object_members(meta.get("columns"))
    marked = [field.name for field in schema if _extension_name(field) in _WKB]
    choice = [name for name in (*columns, *marked) if schema.names.count(name) == 1]
    choice = choice or find_unmarked_columns(opened)
    if stated is not None and stated not in choice:
        raise Invalid(
            f"There is no geometry column {stated!r}; the file has {', '.join(choice) or 'none'}.",
            code="unknown-layer",
        )
    primary = meta.get("primary_column")
    name = stated or (primary if primary in choice else next(iter(choice), None))
    if name is None:
        return None, "", None, ()
    about = columns.get(name)
    if about is None and name not in marked:
        told = f"Column {name!r} holds shapes and the file does not say of which CRS; state it."
        return name, "point" if is_point_type(schema.field(name)) else "WKB", None, (told,)
    if about is None:
        return name, "WKB", read_extension_crs(schema.field(name)), ()
    encoding = str(about.get("encoding", "WKB")).lower()
    if encoding not in ("wkb", "wkt", *_NATIVE):
        raise Invalid(
            f"The geometry column is written as {encoding!r}; save it as WKB.",
            code="unsupported-format",
        )
    # GeoParquet: no CRS means longitude and latitude, null means not known.
    crs = crses.parse_crs(about["crs"]) if about.get("crs") else None
    if "crs" not in about:
        crs = crses.LONLAT
    return (
        name,
        encoding,
        crs,
        () if crs else ("The file has no CRS with an EPSG number; state it.",),
    )


def _object_members(value: Any) -> dict[str, dict[str, Any]]:
    """Return the members of an object that are objects themselves; metadata may be anything."""
    if not isinstance(value, dict):
        return {}
    return {name: about for name, about in value.items() if isinstance(about, dict)}


def find_unmarked_columns(opened: pq.ParquetFile) -> list[str]:
    """Return columns with a usual name that hold shapes, where nothing in the file says so."""
    schema = opened.schema_arrow
    able = [
        field.name
        for field in schema
        if field.name.lower() in _USUAL
        and (is_binary_type(field.type) or is_point_type(field))
        and schema.names.count(field.name) == 1
    ]
    found = []
    for name in able:
        head = next(opened.iter_batches(batch_size=_SAMPLE, columns=[name]), None)
        values = head.column(0).drop_null() if head is not None else []
        if len(values) and (is_point_type(schema.field(name)) or not parse_wkb(_to_object_array(values))[1]):
            found.append(name)
    return found


def is_point_type(field: pa.Field) -> bool:
    return pa.types.is_struct(field.type) and {"x", "y"} <= {one.name for one in field.type}


def format_parquet_column(column: pa.Array) -> pa.StringArray:
    """Return a column as text, also where old programs wrote text without saying that it is."""
    if is_binary_type(column.type):
        with suppress(pa.ArrowException):
            texts = column.cast(pa.binary()).cast(pa.string())
            if not pc.any(pc.match_substring_regex(texts, r"[\x00-\x08\x0e-\x1f]")).as_py():
                return format_column(texts)
    return format_column(column)


def read_geo_metadata(schema: pa.Schema) -> dict[str, Any]:
    raw = (schema.metadata or {}).get(b"geo")
    try:
        meta = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        meta = {}
    return meta if isinstance(meta, dict) else {}


def _extension_name(field: pa.Field) -> bytes:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name).encode()
    return bytes((field.metadata or {}).get(b"ARROW:extension:name", b""))


def read_extension_crs(field: pa.Field) -> str | None:
    raw = (field.metadata or {}).get(b"ARROW:extension:metadata")
    try:
        stated = json.loads(raw).get("crs") if raw else None
    except (ValueError, AttributeError, RecursionError):
        return None
    return crses.LONLAT if stated is None else crses.parse_crs(stated)


def to_wkb_array(column: pa.Array, encoding: str) -> Shapes:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if encoding == "point" and pa.types.is_struct(column.type):
        points = shapely.points(
            column.field("x").to_numpy(zero_copy_only=False),
            column.field("y").to_numpy(zero_copy_only=False),
        )
        out = np.array(shapely.to_wkb(points), dtype=object)
        out[np.asarray(column.is_null())] = None
        return out
    if encoding == "wkt":
        texts = [text or "" for text in column.to_pylist()]
        out = np.array(shapely.to_wkb(parse_wkt(texts)), dtype=object)
        # What cannot be read is told of the row, like WKB that cannot.
        out[[at for at, text in enumerate(texts) if text and out[at] is None]] = b""
        return out
    held = _to_object_array(column)
    if encoding in _NATIVE:
        make = _NATIVE[encoding]
        for at, value in enumerate(held):
            held[at] = None if value is None else _build_wkb(make, value)
    return held


def _to_object_array(column: pa.Array) -> Shapes:
    out = np.empty(len(column), dtype=object)
    out[:] = column.to_pylist()
    return out


def _build_wkb(make: Callable[[Any], BaseGeometry], value: Any) -> bytes:
    try:
        return bytes(shapely.to_wkb(make(value)))
    except (ValueError, TypeError, KeyError, IndexError, shapely.errors.GEOSException):
        return b""


def _to_xy(places: Any) -> list[tuple[float, float]]:
    """Return positions written as ``{x, y}`` (separated) or as lists (interleaved)."""
    return [(place["x"], place["y"]) if isinstance(place, dict) else (place[0], place[1]) for place in places]


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
