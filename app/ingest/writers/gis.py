"""GeoPackage, FlatGeobuf, Shapefile and GeoParquet; the first three go through GDAL and a file."""

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

from app.ingest.readers.gis.shapefile_texts import LONGEST, MEMBER, LongTextWriter, truncate_utf8
from app.ingest.writers.model import (
    GEOMETRY,
    LONLAT,
    Batches,
    Layout,
    format_column,
    iter_file_blocks,
    list_headers,
    parse_json_lists,
    parse_shapes,
)

_ROWS: Final = 20_000


def _format_crs(layout: Layout) -> str:
    return f"EPSG:{layout.srid}"


def _layer_geometry_type(layout: Layout) -> str:
    return layout.geometry_types[0] if len(layout.geometry_types) == 1 else "Unknown"


def create_batch_reader(layout: Layout, batches: Batches) -> pa.RecordBatchReader:
    """Return the batches with the headers as names, read one at a time."""
    names = [column.header for column in layout.columns] + [GEOMETRY]
    schema = pa.schema([pa.field(name, known.type) for name, known in zip(names, layout.schema, strict=True)])
    return pa.RecordBatchReader.from_batches(schema, (truncate_times(batch, schema) for batch in batches))


def truncate_times(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with times cut to the millisecond: GDAL rounds, which makes some later."""
    arrays = [
        pc.floor_temporal(array, unit="millisecond") if pa.types.is_timestamp(array.type) else array
        for array in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def write_with_gdal(layout: Layout, batches: Batches, path: Path, driver: str, **options: Any) -> None:
    pyogrio.raw.write_arrow(
        create_batch_reader(layout, batches),
        path,
        layer=layout.name,
        driver=driver,
        geometry_name=GEOMETRY,
        geometry_type=_layer_geometry_type(layout),
        crs=_format_crs(layout),
        **options,
    )


def write_gpkg(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a GeoPackage with one layer; what it cannot hold stands in its description."""
    path = folder / "export.gpkg"
    notes = " ".join(list_gpkg_notes(layout))
    write_with_gdal(
        layout, batches, path, "GPKG", layer_metadata={"DESCRIPTION": notes},
        layer_options={"DESCRIPTION": notes, "GEOMETRY_NAME": "geom", "FID": "fid"},
    )  # fmt: skip
    yield from iter_file_blocks(path)


def list_gpkg_notes(layout: Layout) -> Sequence[str]:
    """Return what a GeoPackage cannot hold."""
    notes = []
    if lists := list_headers(layout, "words", "json"):
        notes.append(f"Lists are JSON text: {lists}.")
    if times := list_headers(layout, "instant"):
        notes.append(f"Times are cut to the millisecond: {times}.")
    return notes


def write_fgb(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a FlatGeobuf file with its spatial index."""
    path = folder / "export.fgb"
    write_with_gdal(layout, batches, path, "FlatGeobuf")
    yield from iter_file_blocks(path)


def list_fgb_notes(layout: Layout) -> Sequence[str]:
    """Return what FlatGeobuf cannot hold."""
    notes = ["Rows are in the order of the spatial index."]
    if times := list_headers(layout, "instant"):
        notes.append(f"Times are cut to the millisecond: {times}.")
    if lists := list_headers(layout, "words", "json"):
        notes.append(f"Lists are JSON text: {lists}.")
    return notes


# -- GeoParquet -------------------------------------------------------------------------------------


class _ForwardFile:
    """A file that only goes forward and gives away what was written."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._written = 0
        self.closed = False

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._held.append(piece)
        self._written += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def take_written(self) -> bytes:
        piece, self._held = b"".join(self._held), []
        return piece


def write_parquet(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield GeoParquet 1.1, row group by row group."""
    pieces = _ForwardFile()
    schema = build_parquet_schema(layout)
    with pq.ParquetWriter(pa.PythonFile(pieces, mode="w"), schema, compression="zstd") as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(build_parquet_batch(layout, batch, schema))
                yield pieces.take_written()
    yield pieces.take_written()


def build_parquet_schema(layout: Layout) -> pa.Schema:
    fields = [
        pa.field(column.header, pa.list_(pa.string()) if column.type == "words" else known.type)
        for column, known in zip(layout.columns, layout.schema, strict=False)
    ]
    if not layout.geometry_types:
        return pa.schema(fields)
    told: dict[str, Any] = {"encoding": "WKB", "geometry_types": list(layout.geometry_types)}
    if layout.srid != LONLAT:
        told["crs"] = layout.crs.to_json_dict()
    geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: told}}
    fields.append(pa.field(GEOMETRY, pa.binary()))
    return pa.schema(fields, metadata={"geo": orjson.dumps(geo)})


def build_parquet_batch(layout: Layout, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
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
    return (f"Nested values are JSON text: {nested}.",) if nested else ()


# -- Shapefile --------------------------------------------------------------------------------------

_PARTS: Final = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_SHORT: Final = {
    "jurisdiction": "division", "division_code": "civil_code", "inbound_bearing_deg": "in_bearing",
    "requirements": "needs", "owner_reference": "owner_ref", "maintenance_unit": "maint_unit",
    "retention_days": "keep_days", "sign_present": "sign", "filing_number": "filing_no",
    "consent_reference": "consent", "control_point": "ctrl_point", "failure_group": "fail_group",
    "manufacturer": "maker", "network_address": "ip_address", "installed_on": "installed",
    "tollgate_category": "toll_cat", "tollgate_usage": "toll_usage", "capture_side": "capt_side",
    "azimuth_deg": "azimuth", "opening_deg": "opening", "vertical_opening_deg": "vopening",
    "horizontal_pixels": "h_pixels", "vertical_pixels": "v_pixels", "sensor_width_mm": "sensor_mm",
    "mount_height_m": "height", "serial_number": "serial_no", "legal_basis": "legal",
    "distance_m": "distance", "reported_at": "reported",
    "created_at": "created", "updated_at": "updated", "on_boundary": "on_border",
    "datum_received": "datum", "tolerance_m": "tolerance", "view_polygon": "view_poly",
    "point_class": "pt_class",
    "required_level": "req_level", "level_scale": "lvl_scale",
}  # fmt: skip


def build_short_names(layout: Layout) -> dict[str, str]:
    """Return the names of the columns in a Shapefile: ten bytes, no two alike.

    >>> from app.ingest.writers.model import Column
    >>> build_short_names(Layout("x", (Column("azimuth_deg", "azimuth_deg", "number"),)))
    {'azimuth_deg': 'azimuth'}
    """
    taken: set[str] = set()
    names = {}
    for column in layout.columns:
        wanted = _SHORT.get(column.name, column.name) if column.name == column.header else ""
        name = base = wanted[:10] or truncate_utf8(column.header, 10)
        number = 1
        while name.lower() in taken:
            number += 1
            name = truncate_utf8(base, 10 - len(str(number))) + str(number)
        taken.add(name.lower())
        names[column.header] = name
    return names


def write_shapefile(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield a zip: a Shapefile for each kind of shape, long texts, and the full names."""
    names, long = build_short_names(layout), LongTextWriter(folder)
    made: dict[str, Path] = {}
    empty = pa.RecordBatch.from_pylist([], schema=layout.schema)
    several = len({get_shape_family(shape) for shape in layout.geometry_types}) > 1
    for batch in batches:
        for family, part in split_by_family(batch):
            stem = f"{layout.name}-{family}" if several else layout.name
            path = made.setdefault(family, folder / f"{stem}.shp")
            append_to_shapefile(layout, build_shapefile_table(layout, part, names, long), path, family)
    if not made:
        family = get_shape_family(layout.geometry_types[0])
        made[family] = folder / f"{layout.name}.shp"
        append_to_shapefile(layout, build_shapefile_table(layout, empty, names, long), made[family], family)
    yield from iter_file_blocks(build_zip(layout, folder, made, names, long))


def get_shape_family(shape: str) -> str:
    return {"Point": "point", "LineString": "line", "MultiLineString": "line"}.get(shape, "polygon")


def split_by_family(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    dimension = shapely.get_dimensions(parse_shapes(batch))
    for number, family in enumerate(("point", "line", "polygon")):
        rows = np.flatnonzero(dimension == number)
        if len(rows):
            yield family, batch.take(pa.array(rows))


def build_shapefile_table(
    layout: Layout, batch: pa.RecordBatch, names: dict[str, str], long: LongTextWriter
) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for column in layout.columns:
        array = (
            format_column(batch.column(column.name), column.type)
            if column.type == "instant"
            else (batch.column(column.name))
        )
        if column.type == "boolean":
            array = array.cast(pa.string())
        columns[names[column.header]] = long.shorten_texts(array)
    return pa.table({**columns, GEOMETRY: batch.column(GEOMETRY)})


def append_to_shapefile(layout: Layout, table: pa.Table, path: Path, family: str) -> None:
    kinds = {"point": "Point", "line": "LineString", "polygon": "Polygon"}
    pyogrio.raw.write_arrow(
        table,
        path,
        driver="ESRI Shapefile",
        geometry_name=GEOMETRY,
        geometry_type=kinds[family],
        crs=_format_crs(layout),
        encoding="UTF-8",
        append=path.exists(),
    )


def build_zip(layout: Layout, folder: Path, made: dict[str, Path], names: dict[str, str], long: LongTextWriter) -> Path:
    target = folder / "export.zip"
    told = [*list_shapefile_notes(layout), f"Texts that go on in {MEMBER}: {long.count}."]
    columns = "\n".join(f"{short:<10}  {name}" for name, short in names.items())
    mapping = {
        short: None if column.read_only else column.name
        for column, short in zip(layout.columns, names.values(), strict=True)
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in made.values():
            for suffix in _PARTS:
                if path.with_suffix(suffix).exists():
                    archive.write(path.with_suffix(suffix), path.with_suffix(suffix).name)
        if long.count:
            archive.write(long.path, MEMBER)
        archive.writestr("README.txt", "\n".join([*told, "", "Columns:", columns, ""]))
        archive.writestr("mapping.json", orjson.dumps(mapping, option=orjson.OPT_INDENT_2))
    return target


def list_shapefile_notes(layout: Layout) -> Sequence[str]:
    """Return what a Shapefile cannot hold."""
    notes = [
        "Column names are cut to ten bytes: README.txt has the full ones, and mapping.json, by which "
        "the import reads the zip.",
        f"Text is cut to {LONGEST} bytes and goes on in {MEMBER}, where the import finds it; a blank "
        "text and none are the same.",
        "Times and booleans are text.",
    ]
    if lists := list_headers(layout, "words", "json"):
        notes.append(f"Lists are JSON text: {lists}.")
    if len({get_shape_family(shape) for shape in layout.geometry_types}) > 1:
        notes.append("Points, lines and polygons are in a Shapefile each.")
    return notes
