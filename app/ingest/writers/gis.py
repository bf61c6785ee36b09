"""GeoPackage, FlatGeobuf, Shapefile and GeoParquet; GDAL writes the first three into a temporary file."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyogrio
import shapely

from app.ingest.readers.gis.shapefile import MAX_FIELD_BYTES, MEMBER, LongTextWriter, truncate_utf8
from app.ingest.writers.model import (
    GEOMETRY,
    LONLAT,
    Batches,
    FileWriter,
    Layout,
    format_column,
    iter_file_blocks,
    list_headers,
    list_type_notes,
    parse_json_lists,
    parse_shapes,
)
from app.messages import Message


def _format_crs(layout: Layout) -> str:
    return f"EPSG:{layout.srid}"


def create_batch_reader(layout: Layout, batches: Batches) -> pa.RecordBatchReader:
    """Return a reader of the batches with the headers as names."""
    names = [column.header for column in layout.columns] + [GEOMETRY]
    schema = pa.schema([pa.field(name, field.type) for name, field in zip(names, layout.schema, strict=True)])
    return pa.RecordBatchReader.from_batches(schema, (truncate_times(batch, schema) for batch in batches))


def truncate_times(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with times cut to the millisecond: GDAL rounds, which makes some times later."""
    arrays = [
        pc.floor_temporal(array, unit="millisecond") if pa.types.is_timestamp(array.type) else array
        for array in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def write_with_gdal(layout: Layout, batches: Batches, path: Path, driver: str, **options: Any) -> None:
    """Write all batches into a file with a driver of GDAL."""
    pyogrio.raw.write_arrow(
        create_batch_reader(layout, batches),
        path,
        layer=layout.name,
        driver=driver,
        geometry_name=GEOMETRY,
        geometry_type=layout.geometry_types[0] if len(layout.geometry_types) == 1 else "Unknown",
        crs=_format_crs(layout),
        **options,
    )


def write_gpkg(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a GeoPackage with one layer; its description lists what the format cannot hold."""
    path = folder / "export.gpkg"
    notes = " ".join(list_gpkg_notes(layout))
    write_with_gdal(
        layout,
        batches,
        path,
        "GPKG",
        layer_metadata={"DESCRIPTION": notes},
        layer_options={"DESCRIPTION": notes, "GEOMETRY_NAME": "geom", "FID": "fid"},
    )
    yield from iter_file_blocks(path)


def list_gpkg_notes(layout: Layout) -> Sequence[str]:
    """Return what a GeoPackage cannot hold."""
    return list_type_notes(layout, lists=True, times=True)


def write_fgb(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a FlatGeobuf file with its spatial index."""
    path = folder / "export.fgb"
    write_with_gdal(layout, batches, path, "FlatGeobuf")
    yield from iter_file_blocks(path)


def list_fgb_notes(layout: Layout) -> Sequence[str]:
    """Return what FlatGeobuf cannot hold."""
    return [
        Message("Rows are in the order of the spatial index."),
        *list_type_notes(layout, lists=True, times=True),
    ]


# GeoParquet


class _ForwardFile:
    """A file that is written forward only, and gives away what was written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def take_written(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        return data


def write_parquet(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield GeoParquet 1.1, row group by row group."""
    file = _ForwardFile()
    schema = build_parquet_schema(layout)
    with pq.ParquetWriter(pa.PythonFile(file, mode="w"), schema, compression="zstd") as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(build_parquet_batch(layout, batch, schema))
                yield file.take_written()
    yield file.take_written()


def build_parquet_schema(layout: Layout) -> pa.Schema:
    """Return the schema of a file, with the metadata of GeoParquet."""
    fields = [
        pa.field(column.header, pa.list_(pa.string()) if column.type == "words" else field.type)
        for column, field in zip(layout.columns, layout.schema, strict=False)
    ]
    if not layout.geometry_types:
        return pa.schema(fields)
    description: dict[str, Any] = {"encoding": "WKB", "geometry_types": list(layout.geometry_types)}
    if layout.srid != LONLAT:
        description["crs"] = layout.crs.to_json_dict()
    geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: description}}
    fields.append(pa.field(GEOMETRY, pa.binary()))
    return pa.schema(fields, metadata={"geo": orjson.dumps(geo)})


def build_parquet_batch(layout: Layout, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with lists as lists."""
    arrays = [
        parse_json_lists(batch.column(column.name)) if column.type == "words" else batch.column(column.name)
        for column in layout.columns
    ]
    if layout.geometry_types:
        arrays.append(batch.column(GEOMETRY))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def list_parquet_notes(layout: Layout) -> Sequence[str]:
    """Return what GeoParquet cannot hold."""
    nested = list_headers(layout, "json")
    return (Message("Nested values are JSON text: {columns}.", columns=nested),) if nested else ()


# Shapefile

_SUFFIXES: Final = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_MAX_NAME_BYTES: Final = 10
_SHORT_NAMES: Final = {
    "jurisdiction": "division",
    "division_code": "civil_code",
    "inbound_bearing_deg": "in_bearing",
    "requirements": "needs",
    "owner_reference": "owner_ref",
    "maintenance_unit": "maint_unit",
    "retention_days": "keep_days",
    "sign_present": "sign",
    "filing_number": "filing_no",
    "consent_reference": "consent",
    "control_point": "ctrl_point",
    "failure_group": "fail_group",
    "manufacturer": "maker",
    "network_address": "ip_address",
    "installed_on": "installed",
    "tollgate_category": "toll_cat",
    "tollgate_usage": "toll_usage",
    "capture_side": "capt_side",
    "azimuth_deg": "azimuth",
    "opening_deg": "opening",
    "vertical_opening_deg": "vopening",
    "horizontal_pixels": "h_pixels",
    "vertical_pixels": "v_pixels",
    "sensor_width_mm": "sensor_mm",
    "mount_height_m": "height",
    "serial_number": "serial_no",
    "legal_basis": "legal",
    "distance_m": "distance",
    "reported_at": "reported",
    "created_at": "created",
    "updated_at": "updated",
    "on_boundary": "on_border",
    "datum_received": "datum",
    "tolerance_m": "tolerance",
    "view_polygon": "view_poly",
    "point_class": "pt_class",
    "required_level": "req_level",
    "level_scale": "lvl_scale",
}


def build_short_names(layout: Layout) -> dict[str, str]:
    """Return the column names of a Shapefile by header: ten bytes, unique.

    >>> from app.ingest.writers.model import Column
    >>> build_short_names(Layout("x", (Column("azimuth_deg", "azimuth_deg", "number"),)))
    {'azimuth_deg': 'azimuth'}
    """
    taken: set[str] = set()
    names = {}
    for column in layout.columns:
        english = _SHORT_NAMES.get(column.name, column.name) if column.name == column.header else ""
        name = base = english[:_MAX_NAME_BYTES] or truncate_utf8(column.header, _MAX_NAME_BYTES)
        number = 1
        while name.lower() in taken:
            number += 1
            name = truncate_utf8(base, _MAX_NAME_BYTES - len(str(number))) + str(number)
        taken.add(name.lower())
        names[column.header] = name
    return names


def write_shapefile(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a zip: one Shapefile for each family of shapes, long texts, and the full names."""
    names, long_texts = build_short_names(layout), LongTextWriter(folder)
    paths: dict[str, Path] = {}
    empty = pa.RecordBatch.from_pylist([], schema=layout.schema)
    has_several = len({get_shape_family(geometry_type) for geometry_type in layout.geometry_types}) > 1
    for batch in batches:
        for family, rows in split_by_family(batch):
            stem = f"{layout.name}-{family}" if has_several else layout.name
            path = paths.setdefault(family, folder / f"{stem}.shp")
            append_to_shapefile(layout, build_shapefile_table(layout, rows, names, long_texts), path, family)
    if not paths:
        family = get_shape_family(layout.geometry_types[0])
        paths[family] = folder / f"{layout.name}.shp"
        table = build_shapefile_table(layout, empty, names, long_texts)
        append_to_shapefile(layout, table, paths[family], family)
    yield from iter_file_blocks(build_zip(layout, folder, paths, names, long_texts))


def get_shape_family(geometry_type: str) -> str:
    """Return whether a geometry type is a point, line or polygon."""
    return {"Point": "point", "LineString": "line", "MultiLineString": "line"}.get(geometry_type, "polygon")


def split_by_family(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield the rows with points, with lines and with polygons."""
    dimensions = shapely.get_dimensions(parse_shapes(batch))
    for dimension, family in enumerate(("point", "line", "polygon")):
        indices = np.flatnonzero(dimensions == dimension)
        if len(indices):
            yield family, batch.take(pa.array(indices))


def build_shapefile_table(
    layout: Layout, batch: pa.RecordBatch, names: dict[str, str], long_texts: LongTextWriter
) -> pa.Table:
    """Return a batch under short names, with times and booleans as text and long texts shortened."""
    columns: dict[str, pa.Array] = {}
    for column in layout.columns:
        array = batch.column(column.name)
        if column.type == "instant":
            array = format_column(array, column.type)
        elif column.type == "boolean":
            array = array.cast(pa.string())
        columns[names[column.header]] = long_texts.shorten_texts(array)
    return pa.table({**columns, GEOMETRY: batch.column(GEOMETRY)})


def append_to_shapefile(layout: Layout, table: pa.Table, path: Path, family: str) -> None:
    """Append rows to a Shapefile."""
    geometry_types = {"point": "Point", "line": "LineString", "polygon": "Polygon"}
    pyogrio.raw.write_arrow(
        table,
        path,
        driver="ESRI Shapefile",
        geometry_name=GEOMETRY,
        geometry_type=geometry_types[family],
        crs=_format_crs(layout),
        encoding="UTF-8",
        append=path.exists(),
    )


def build_zip(
    layout: Layout, folder: Path, paths: dict[str, Path], names: dict[str, str], long_texts: LongTextWriter
) -> Path:
    """Pack the Shapefiles, the long texts, a description and the mapping of columns into a zip."""
    target = folder / "export.zip"
    notes = [*list_shapefile_notes(layout), f"Texts that go on in {MEMBER}: {long_texts.count}."]
    columns = "\n".join(f"{short:<10}  {name}" for name, short in names.items())
    mapping = {
        short: None if column.read_only else column.name
        for column, short in zip(layout.columns, names.values(), strict=True)
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths.values():
            for suffix in _SUFFIXES:
                if path.with_suffix(suffix).exists():
                    archive.write(path.with_suffix(suffix), path.with_suffix(suffix).name)
        if long_texts.count:
            archive.write(long_texts.path, MEMBER)
        archive.writestr("README.txt", "\n".join([*notes, "", "Columns:", columns, ""]))
        archive.writestr("mapping.json", orjson.dumps(mapping, option=orjson.OPT_INDENT_2))
    return target


def list_shapefile_notes(layout: Layout) -> Sequence[str]:
    """Return what a Shapefile cannot hold."""
    notes = [
        Message(
            "Column names are cut to ten bytes: README.txt has the full names, and mapping.json the fields, with which "
            "the import reads the zip."
        ),
        Message(
            "Text is cut to {most} bytes and continues in {file}, where the import reads it; a blank text and a missing "
            "text are the same.",
            most=MAX_FIELD_BYTES,
            file=MEMBER,
        ),
        Message("Times and booleans are text."),
        *list_type_notes(layout, lists=True),
    ]
    if len({get_shape_family(geometry_type) for geometry_type in layout.geometry_types}) > 1:
        notes.append(Message("Points, lines and polygons are in separate Shapefiles."))
    return notes


GEOPACKAGE: Final = FileWriter("application/geopackage+sqlite3", write_gpkg, list_gpkg_notes)
FLATGEOBUF: Final = FileWriter("application/flatgeobuf", write_fgb, list_fgb_notes)
GEOPARQUET: Final = FileWriter("application/vnd.apache.parquet", write_parquet, list_parquet_notes)
SHAPEFILE: Final = FileWriter("application/zip", write_shapefile, list_shapefile_notes)
