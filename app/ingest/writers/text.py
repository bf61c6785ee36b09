"""CSV, GeoJSON, GeoJSON lines and KML, written while the rows arrive: no temporary file."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

import orjson
import pyarrow as pa
import shapely
from pyarrow import csv as pacsv

from app.ingest.writers.model import (
    LONLAT,
    Batches,
    FileWriter,
    Layout,
    describe_unstated_crs,
    format_column,
    guard_formulas,
    list_type_notes,
    parse_shapes,
)
from app.messages import Message

_OPTIONS: Final = pacsv.WriteOptions(include_header=False, quoting_style="needed")
_MAX_OBJECTS: Final = 500
"""Rows that are Python objects at the same time."""
_BOM: Final = b"\xef\xbb\xbf"


# CSV


def write_csv(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield CSV (RFC 4180, UTF-8); points are two columns, other shapes WKT."""
    headers = [column.header for column in layout.columns] + list_location_headers(layout)
    first_row = _format_csv_rows({f"{index}": pa.array([name]) for index, name in enumerate(headers)})
    yield (_BOM if layout.bom else b"") + first_row
    for batch in batches:
        yield _format_csv_rows(build_table_columns(layout, batch))


def _format_csv_rows(columns: dict[str, pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(pa.table(columns), sink, _OPTIONS)
    return bytes(sink.getvalue())


def list_location_headers(layout: Layout) -> list[str]:
    """Return the headers of the columns of a location."""
    x, y, shape = layout.location_headers
    return [x, y] if layout.has_only_points else [shape] if layout.geometry_types else []


def build_table_columns(layout: Layout, batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return the columns of a table by position: text without formulas, then the location."""
    columns = []
    for column in layout.columns:
        array = format_column(batch.column(column.name), column.type)
        columns.append(guard_formulas(array) if pa.types.is_string(array.type) else array)
    if layout.has_only_points:
        shapes = parse_shapes(batch)
        columns += [pa.array(shapely.get_x(shapes)), pa.array(shapely.get_y(shapes))]
    elif layout.geometry_types:
        columns.append(pa.array(shapely.to_wkt(parse_shapes(batch), rounding_precision=-1)))
    return {f"{index}": array for index, array in enumerate(columns)}


def list_csv_notes(layout: Layout) -> Sequence[str]:
    """Return what CSV cannot hold."""
    return [
        Message(
            "Columns have no types: a spreadsheet program turns 20-digit codes into numbers and loses digits when it "
            "opens the file. Import them as text."
        ),
        Message("Text that begins like a formula has an apostrophe before it; the import removes it."),
        *list_type_notes(layout, lists=True),
        *describe_unstated_crs(layout),
    ]


# GeoJSON


def write_geojson(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield a FeatureCollection (RFC 7946); another CRS is named as in GeoJSON 2008."""
    head: dict[str, Any] = {"type": "FeatureCollection", "name": layout.name}
    if layout.srid != LONLAT:
        name = f"urn:ogc:def:crs:EPSG::{layout.srid}"
        head["crs"] = {"type": "name", "properties": {"name": name}}
    yield orjson.dumps(head)[:-1] + b',"features":[\n'
    separator = b""
    for batch in iter_small_batches(batches):
        if batch.num_rows:
            yield separator + b",\n".join(build_features(layout, batch))
            separator = b",\n"
    yield b"\n]}\n"


def write_geojsonl(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield one feature in each line."""
    for batch in iter_small_batches(batches):
        if batch.num_rows:
            yield b"\n".join(build_features(layout, batch)) + b"\n"


def iter_small_batches(batches: Batches) -> Batches:
    """Yield batches in slices: the Python objects of a row take ten times the memory of the row."""
    for batch in batches:
        for first in range(0, batch.num_rows, _MAX_OBJECTS):
            yield batch.slice(first, _MAX_OBJECTS)


def build_features(layout: Layout, batch: pa.RecordBatch) -> list[bytes]:
    """Return the rows of a batch as GeoJSON features."""
    headers = [column.header for column in layout.columns]
    columns = [format_column(batch.column(column.name), column.type).to_pylist() for column in layout.columns]
    for index, column in enumerate(layout.columns):
        if column.type in ("words", "json"):
            columns[index] = [None if text is None else orjson.Fragment(text) for text in columns[index]]
    code_index = next((index for index, column in enumerate(layout.columns) if column.name == "code"), None)
    shapes = (
        [orjson.Fragment(text) for text in shapely.to_geojson(parse_shapes(batch)).tolist()]
        if layout.geometry_types
        else [None] * batch.num_rows
    )
    return [
        orjson.dumps(
            {
                "type": "Feature",
                **({} if code_index is None else {"id": row[code_index]}),
                "geometry": shape,
                "properties": dict(zip(headers, row, strict=True)),
            }
        )
        for shape, row in zip(shapes, zip(*columns, strict=True), strict=True)
    ]


def list_geojson_notes(layout: Layout) -> Sequence[str]:
    """Return what GeoJSON cannot hold."""
    if layout.srid == LONLAT:
        return ()
    return (
        Message(
            "Coordinates are in EPSG:{srid}, stated by the member crs, which RFC 7946 has removed: strict programs "
            "read degrees.",
            srid=layout.srid,
        ),
    )


# KML


def write_kml(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield KML 2.2 (OGC 12-007): one placemark for each row, every column as extended data."""
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">'
        f"<Document><name>{escape(layout.name)}</name>\n"
    ).encode()
    for batch in iter_small_batches(batches):
        yield "".join(iter_placemark_texts(layout, batch)).encode()
    yield b"</Document></kml>\n"


def iter_placemark_texts(layout: Layout, batch: pa.RecordBatch) -> Iterator[str]:
    """Yield the rows of a batch as placemarks."""
    columns = [_to_strings(format_column(batch.column(column.name), column.type)) for column in layout.columns]
    openings = [f"<Data name={quoteattr(column.header)}><value>" for column in layout.columns]
    names = [column.name for column in layout.columns]
    title_indices = [names.index(name) for name in ("name_zh", "name_en") if name in names]
    shapes = parse_shapes(batch)
    for shape, row in zip(shapes, zip(*columns, strict=True), strict=True):
        title = next((row[index] for index in title_indices if row[index] is not None), None)
        name = "" if title is None else f"<name>{escape(title)}</name>"
        data = "".join(
            f"{opening}{escape(value)}</value></Data>"
            for opening, value in zip(openings, row, strict=True)
            if value is not None
        )
        yield f"<Placemark>{name}<ExtendedData>{data}</ExtendedData>{format_kml_shape(shape)}</Placemark>\n"


def _to_strings(array: pa.Array) -> list[str | None]:
    return array.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]  # pyarrow is untyped


def format_kml_shape(shape: Any) -> str:
    """Return a shape as an element of KML."""
    kind = shape.geom_type
    if kind in ("Point", "LineString"):
        return f"<{kind}>{format_kml_coordinates(shape)}</{kind}>"
    if kind == "Polygon":
        rings = chain(
            [("outerBoundaryIs", shape.exterior)],
            (("innerBoundaryIs", interior) for interior in shape.interiors),
        )
        boundaries = "".join(
            f"<{name}><LinearRing>{format_kml_coordinates(ring)}</LinearRing></{name}>" for name, ring in rings
        )
        return f"<Polygon>{boundaries}</Polygon>"
    return f"<MultiGeometry>{''.join(format_kml_shape(member) for member in shape.geoms)}</MultiGeometry>"


def format_kml_coordinates(shape: Any) -> str:
    """Return the coordinates of a point, line or ring as an element of KML."""
    positions = " ".join(f"{x!r},{y!r}" for x, y in shapely.get_coordinates(shape).tolist())
    return f"<coordinates>{positions}</coordinates>"


def list_kml_notes(layout: Layout) -> Sequence[str]:
    """Return what KML cannot hold."""
    return [
        Message("Columns have no types, and there are no styles; every value is text."),
        *list_type_notes(layout, lists=True),
    ]


CSV: Final = FileWriter("text/csv; charset=utf-8", write_csv, list_csv_notes)
GEOJSON: Final = FileWriter("application/geo+json", write_geojson, list_geojson_notes)
GEOJSON_LINES: Final = FileWriter("application/geo+json-seq", write_geojsonl, describe_unstated_crs)
KML: Final = FileWriter("application/vnd.google-earth.kml+xml", write_kml, list_kml_notes, lonlat=True)
