"""CSV, GeoJSON, GeoJSON text sequences and KML, written while the rows come: no file in between."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

import orjson
import pyarrow as pa
import shapely
from pyarrow import csv as pacsv

from app.ingest.writers.model import LONLAT, Batches, Layout, format_column, guard_formulas, list_headers, parse_shapes

_OPTIONS: Final = pacsv.WriteOptions(include_header=False, quoting_style="needed")
_AT_ONCE: Final = 500
"""Rows that are objects of Python at the same time."""
_BOM: Final = b"\xef\xbb\xbf"


# -- CSV --------------------------------------------------------------------------------------------


def write_csv(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield CSV as in RFC 4180, UTF-8; points as two columns, other shapes as WKT."""
    headers = [column.header for column in layout.columns] + list_location_headers(layout)
    head = _format_csv_rows({f"{at}": pa.array([name]) for at, name in enumerate(headers)})
    yield (_BOM if layout.bom else b"") + head
    for batch in batches:
        yield _format_csv_rows(build_table_columns(layout, batch))


def _format_csv_rows(columns: dict[str, pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(pa.table(columns), sink, _OPTIONS)
    return bytes(sink.getvalue())


def list_location_headers(layout: Layout) -> list[str]:
    """Return what stands above the columns of a place."""
    x, y, shape = layout.location_headers
    return [x, y] if layout.has_only_points else [shape] if layout.geometry_types else []


def build_table_columns(layout: Layout, batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return the columns of a table by position: text that is no formula, and where it is."""
    found = []
    for column in layout.columns:
        array = format_column(batch.column(column.name), column.type)
        found.append(guard_formulas(array) if pa.types.is_string(array.type) else array)
    if layout.has_only_points:
        shapes = parse_shapes(batch)
        found += [pa.array(shapely.get_x(shapes)), pa.array(shapely.get_y(shapes))]
    elif layout.geometry_types:
        found.append(pa.array(shapely.to_wkt(parse_shapes(batch), rounding_precision=-1)))
    return {f"{at}": array for at, array in enumerate(found)}


def list_csv_notes(layout: Layout) -> Sequence[str]:
    """Return what CSV cannot hold."""
    notes = [
        "Columns have no types: a spreadsheet programme turns 20-digit codes into numbers and loses "
        "digits when it opens the file; import them as text.",
        "Text that begins like a formula has an apostrophe before it; the import takes it away.",
    ]
    if lists := list_headers(layout, "words", "json"):
        notes.append(f"Lists are JSON text: {lists}.")
    if layout.srid != LONLAT:
        notes.append(f"Coordinates are in EPSG:{layout.srid}, which the file does not say itself.")
    return notes


# -- GeoJSON ----------------------------------------------------------------------------------------


def write_geojson(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield a FeatureCollection (RFC 7946); another CRS is named as GeoJSON 2008 did."""
    head: dict[str, Any] = {"type": "FeatureCollection", "name": layout.name}
    if layout.srid != LONLAT:
        name = f"urn:ogc:def:crs:EPSG::{layout.srid}"
        head["crs"] = {"type": "name", "properties": {"name": name}}
    yield orjson.dumps(head)[:-1] + b',"features":[\n'
    before = b""
    for batch in iter_small_batches(batches):
        if batch.num_rows:
            yield before + b",\n".join(build_features(layout, batch))
            before = b",\n"
    yield b"\n]}\n"


def write_geojsonl(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield one feature a line."""
    for batch in iter_small_batches(batches):
        if batch.num_rows:
            yield b"\n".join(build_features(layout, batch)) + b"\n"


def iter_small_batches(batches: Batches) -> Batches:
    """Yield batches cut small: the objects that are made of a row take ten times what it holds."""
    for batch in batches:
        for start in range(0, batch.num_rows, _AT_ONCE):
            yield batch.slice(start, _AT_ONCE)


def build_features(layout: Layout, batch: pa.RecordBatch) -> list[bytes]:
    headers = [column.header for column in layout.columns]
    nested = [column.type in ("words", "json") for column in layout.columns]
    columns = [format_column(batch.column(column.name), column.type).to_pylist() for column in layout.columns]
    for at, is_nested in enumerate(nested):
        if is_nested:
            columns[at] = [None if text is None else orjson.Fragment(text) for text in columns[at]]
    code = next((at for at, c in enumerate(layout.columns) if c.name == "code"), None)
    shapes = (
        [orjson.Fragment(text) for text in shapely.to_geojson(parse_shapes(batch)).tolist()]
        if layout.geometry_types
        else [None] * batch.num_rows
    )
    return [
        orjson.dumps(
            {
                "type": "Feature",
                **({} if code is None else {"id": row[code]}),
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
        f"Coordinates are in EPSG:{layout.srid}, named by a member that RFC 7946 has taken out: "
        "programs that follow it to the letter read degrees.",
    )


def list_geojsonl_notes(layout: Layout) -> Sequence[str]:
    """Return what a sequence of features cannot hold."""
    if layout.srid == LONLAT:
        return ()
    return (f"Coordinates are in EPSG:{layout.srid}, which the file does not say itself.",)


# -- KML --------------------------------------------------------------------------------------------


def write_kml(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield KML 2.2 (OGC 12-007): a placemark a row, every column as extended data."""
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">'
        f"<Document><name>{escape(layout.name)}</name>\n"
    ).encode()
    for batch in iter_small_batches(batches):
        yield "".join(iter_placemark_texts(layout, batch)).encode()
    yield b"</Document></kml>\n"


def iter_placemark_texts(layout: Layout, batch: pa.RecordBatch) -> Iterator[str]:
    columns = [_to_strings(format_column(batch.column(column.name), column.type)) for column in layout.columns]
    openings = [f"<Data name={quoteattr(column.header)}><value>" for column in layout.columns]
    names = [column.name for column in layout.columns]
    named = [names.index(name) for name in ("name_zh", "name_en") if name in names]
    shapes = parse_shapes(batch)
    for shape, row in zip(shapes, zip(*columns, strict=True), strict=True):
        title = next((row[at] for at in named if row[at] is not None), None)
        name = "" if title is None else f"<name>{escape(title)}</name>"
        data = "".join(
            f"{opening}{escape(value)}</value></Data>"
            for opening, value in zip(openings, row, strict=True)
            if value is not None
        )
        yield (f"<Placemark>{name}<ExtendedData>{data}</ExtendedData>{format_kml_shape(shape)}</Placemark>\n")


def _to_strings(array: pa.Array) -> list[str | None]:
    return array.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]  # pyarrow is untyped


def format_kml_shape(shape: Any) -> str:
    kind = shape.geom_type
    if kind in ("Point", "LineString"):
        return f"<{kind}>{format_kml_coordinates(shape)}</{kind}>"
    if kind == "Polygon":
        rings = chain(
            [("outerBoundaryIs", shape.exterior)],
            (("innerBoundaryIs", inner) for inner in shape.interiors),
        )
        inside = "".join(
            f"<{border}><LinearRing>{format_kml_coordinates(ring)}</LinearRing></{border}>" for border, ring in rings
        )
        return f"<Polygon>{inside}</Polygon>"
    return f"<MultiGeometry>{''.join(format_kml_shape(part) for part in shape.geoms)}</MultiGeometry>"


def format_kml_coordinates(shape: Any) -> str:
    places = " ".join(f"{x!r},{y!r}" for x, y in shapely.get_coordinates(shape).tolist())
    return f"<coordinates>{places}</coordinates>"


def list_kml_notes(layout: Layout) -> Sequence[str]:
    """Return what KML cannot hold."""
    notes = ["Columns have no types, and there are no styles; every value is text."]
    if lists := list_headers(layout, "words", "json"):
        notes.append(f"Lists are JSON text: {lists}.")
    return notes
