"""Files of GIS programs, streamed through GDAL as Arrow.

GDAL opens only the given file, with the driver of the detected format, and integers keep all their digits.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError, GeometryError

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.content import SQLITE, FileContent
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.model import (
    Batch,
    DetectedFormat,
    ReadOptions,
    SourceFile,
    TableReader,
    build_geometry_issue,
    choose_layer,
    unsupported_content,
)
from app.ingest.values.crs import format_crs_title, parse_crs_name
from app.ingest.values.shapes import Shapes, parse_wkb
from app.ingest.values.text import build_text_column
from app.ingest.values.typed_text import format_arrow_column
from app.messages import Message

DRIVERS: Final = {
    "gpkg": "GPKG",
    "fgb": "FlatGeobuf",
    "shapefile": "ESRI Shapefile",
    "esrijson": "ESRIJSON",
    "mapinfo": "MapInfo File",
    "filegdb": "OpenFileGDB",
}
"""The GDAL driver of each format. A file that another driver opens is rejected."""
_PAGE_SIZE_OFFSET: Final = 16
_PAGE_COUNT_OFFSET: Final = 28
_MISFITS: Final = {
    "OFTInteger": ("typeof({0}) NOT IN ('integer', 'null') OR {0} NOT BETWEEN -2147483648 AND 2147483647"),
    "OFTInteger64": "typeof({0}) NOT IN ('integer', 'null')",
    "OFTReal": "typeof({0}) IN ('text', 'blob')",
    **dict.fromkeys(
        ("OFTDate", "OFTDateTime"),
        "typeof({0}) <> 'null' AND {0} NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'",
    ),
}
"""SQL condition for a cell that does not fit the type which GDAL gives its column."""
_ESRI_JSON: Final = re.compile(r'"(?:geometryType"\s*:\s*"esri|spatialReference"|objectIdFieldName")')
_ROW_NUMBER_NAMES: Final = frozenset(("", "fid", "ogc_fid", "id", "gid", "oid", "pk", "objectid", "rowid", "row_id"))
"""Names of a key that only counts the rows, lower case. A key of another name is a column."""
_MAX_LAYERS: Final = 100
_OVERFLOW: Final = {
    str(2**63 - 1): f"{2.0**63:.13E}",
    str(2**64 - 1): f"{2.0**64:.13E}",
}
"""What GDAL makes of an integer in JSON that is too large for it; no code may come of that."""
_MAPINFO_SUFFIXES: Final = ("tab", "dat", "map", "id", "ind", "mif", "mid")

# A view or function inside a database file must not make GDAL fetch or open anything.
pyogrio.set_gdal_config_options(
    {
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing-is-fetched",
        "OGRSQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
        "GDAL_HTTP_MAX_RETRY": "0",
        "SHAPE_RESTORE_SHX": "YES",
    }
)


def is_esri_json(content: FileContent) -> bool:
    """Return whether a file is the response of an ArcGIS server to a query."""
    return content.is_json and _ESRI_JSON.search(content.text) is not None


def is_geopackage(content: FileContent) -> bool:
    """Return whether a file is a GeoPackage; raise Invalid if it is cut off or has no layers."""
    if not content.head.startswith(SQLITE):
        return False
    path = content.file.path
    check_sqlite_complete(path)
    try:
        with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
            (layers,) = database.execute("SELECT count(*) FROM gpkg_contents").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    if not layers:
        raise Invalid(Message("The GeoPackage has no layers. Export a layer into it."), code="empty-file")
    return True


def check_sqlite_complete(path: Path) -> None:
    """Raise Invalid (``damaged-file``) if a database is shorter than its header states."""
    with path.open("rb") as file:
        head = file.read(100)
    size = int.from_bytes(head[_PAGE_SIZE_OFFSET : _PAGE_SIZE_OFFSET + 2], "big")
    pages = int.from_bytes(head[_PAGE_COUNT_OFFSET : _PAGE_COUNT_OFFSET + 4], "big")
    expected = pages * (65536 if size == 1 else size)
    # The count is valid only if its writer also wrote the change counter that it is for.
    is_valid = head[24:28] == head[92:96]
    if len(head) < 100 or (is_valid and path.stat().st_size < expected):
        raise _build_read_error(Message("the database is cut off"))


def describe_unsaved_changes(path: Path) -> tuple[Message, ...]:
    """Return a note if a database was copied while a program had it open."""
    with path.open("rb") as file:
        head = file.read(20)
    if head[18:20] != b"\x02\x02":
        return ()
    return (
        Message(
            "The GeoPackage was open in a program when it was copied; unsaved changes are missing. "
            "Close it in the program and copy it again."
        ),
    )


def build_text_query(
    path: Path, layer: str, types: Mapping[str, str], geometry: str | None, key: str | None
) -> str | None:
    """Return a query that gives columns with cells of another type as text; None if all cells fit.

    SQLite stores any value in any column. GDAL would make 0 of a word among numbers, and the largest integer of a code
    with twenty digits.

    Parameters
    ----------
    path : Path
        The database.
    layer : str
        The table or view.
    types : mapping of str to str
        Columns, in order, with the types that GDAL gives them.
    geometry : str or None
        The column of shapes.
    key : str or None
        The column of the primary key, if it is part of the content.
    """
    checked = [name for name, kind in types.items() if kind in _MISFITS]
    if not checked:
        return None
    misfits: tuple[int | None, ...] = ()
    conditions = ", ".join(f"max({_MISFITS[types[name]].format(quote_identifier(name))})" for name in checked)
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    # A view may use functions that only GDAL has; its columns stay as they are.
    with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as database:
        misfits = database.execute(f"SELECT {conditions} FROM {quote_identifier(layer)}").fetchone()
    as_text = {name for name, has_misfit in zip(checked, misfits, strict=False) if has_misfit}
    if not as_text:
        return None
    columns = [
        f"CAST({quote_identifier(name)} AS TEXT) AS {quote_identifier(name)}"
        if name in as_text
        else quote_identifier(name)
        for name in types
    ]
    first = [quote_identifier(geometry)] if geometry else []
    # As an expression the key is a column; under its plain name GDAL takes it for the row number.
    first += [f"{quote_identifier(key)} + 0 AS {quote_identifier(key)}"] if key else []
    return f"SELECT {', '.join([*first, *columns])} FROM {quote_identifier(layer)}"


def quote_identifier(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def open_gdal_layer(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open the named layer, or the first one that has shapes.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unknown-layer``, ``unsupported-format``.
    """
    kind = options.format or ""
    path = prepare_path(file, kind)
    layer, layers, notes = find_layer(path, kind, options.layer_name)
    info = read_layer_info(path, kind, layer)
    has_geometry = info["geometry_type"] is not None
    crs, crs_notes = detect_layer_crs(info) if has_geometry else (None, ())
    key = str(info.get("fid_column") or "")
    identifier = key if key.lower() not in _ROW_NUMBER_NAMES else None
    fields = [str(name) for name in info["fields"]]
    raw_names = [*([identifier] if identifier else []), *fields]
    names = build_headers(raw_names)
    arrow_options: dict[str, Any] = {}
    if kind == "gpkg":
        types = dict(zip(fields, info["ogr_types"], strict=True))
        geometry_name = info.get("geometry_name") if has_geometry else None
        query = build_text_query(path, layer, types, geometry_name, identifier)
        if query:
            arrow_options["sql"] = query
        elif identifier:
            arrow_options["return_fids"] = True
        notes = (*describe_unsaved_changes(file.path), *notes)
    detected = DetectedFormat(
        format=kind,
        layer=None if kind == "esrijson" else layer,
        layers=() if kind == "esrijson" else layers,
        crs=crs,
        geometry=has_geometry,
        rows=max(0, int(info["features"])),
        notes=(*notes, *crs_notes),
    )

    def read_batches(rows: int) -> Iterator[Batch]:
        first = 1
        for table, shapes in iter_arrow_batches(path, layer, rows, has_geometry, **arrow_options):
            columns = {name: format_column(table.column(raw)) for name, raw in zip(names, raw_names, strict=True)}
            if kind == "esrijson":
                columns = {name: mark_overflow(column) for name, column in columns.items()}
            yield build_feature_batch(first, table.num_rows, columns, shapes)
            first += table.num_rows

    return TableReader(detected, names, read_batches)


def find_layer(path: Path, kind: str, stated: str | None) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the layer to read, all layers, and notes."""
    with catch_gdal_errors():
        all_layers = pyogrio.list_layers(path)
    layers = tuple(str(name) for name, _ in all_layers)
    if not layers:
        raise _build_read_error(Message("it has no layers"))
    spatial = [str(name) for name, geometry_type in all_layers if geometry_type is not None]
    filled = (name for name in spatial[:_MAX_LAYERS] if read_layer_info(path, kind, name)["features"])
    first = next(filled, None) if len(layers) > 1 else None
    layer, notes = choose_layer(layers, [first] if first else spatial, stated)
    return layer, layers, notes


def prepare_path(file: SourceFile, kind: str) -> Path:
    """Return a path with the ending that GDAL expects; formats of several files are unpacked."""
    folder = file.create_folder()
    if kind not in ("mapinfo", "filegdb"):
        path = folder / f"file.{kind}"
        path.symlink_to(file.path.resolve())
        return path
    members = archive.list_members(file.path)
    target = folder / ("city.gdb" if kind == "filegdb" else "tables")
    target.mkdir()
    if kind == "filegdb":
        source = next(member.folder for member in members if member.suffix == "gdbtable")
        by_name = {member.base: member for member in members if member.folder == source}
    else:
        by_name = {member.base: member for member in members if member.suffix in _MAPINFO_SUFFIXES}
    for name, member in by_name.items():
        archive.unpack_member(file.path, member, target / name)
    return target


def read_layer_info(path: Path, kind: str, layer: str) -> dict[str, Any]:
    """Return the description of a layer; raise Invalid if another driver than the expected one opened it."""
    with catch_gdal_errors():
        info: dict[str, Any] = pyogrio.read_info(path, layer=layer, force_feature_count=True)
    if info["driver"] != DRIVERS[kind]:
        raise unsupported_content(Message("a file of GDAL driver {driver}", driver=info["driver"]))
    return info


def detect_layer_crs(info: dict[str, Any]) -> tuple[str | None, tuple[Message, ...]]:
    """Return the CRS of a layer, and a note if it is missing, unknown or not in EPSG."""
    definition = info["crs"]
    crs = parse_crs_name(definition)
    if crs is None:
        if not definition:
            return None, (Message("The layer has no CRS. Set the option crs."),)
        return None, (Message("The layer has a CRS without a position on Earth. Set the option crs."),)
    name = format_crs_title(crs)
    if name == crs:
        return crs, ()
    note = Message(
        "The parameters of the CRS {name!r} match no CRS of EPSG; it is used as the file defines it.", name=name
    )
    return crs, (note,)


def iter_arrow_batches(
    path: Path, layer: str, rows: int, geometry: bool, **options: Any
) -> Iterator[tuple[pa.RecordBatch, Shapes | None]]:
    """Yield record batches with their shapes as WKB."""
    with (
        catch_gdal_errors(),
        pyogrio.raw.open_arrow(
            path,
            layer=None if "sql" in options else layer,
            use_pyarrow=True,
            batch_size=rows,
            read_geometry=geometry,
            datetime_as_string=True,
            **options,
        ) as (meta, reader),
    ):
        for table in reader:
            shapes = None
            if geometry:
                column = table.column(meta["geometry_name"] or "wkb_geometry")
                shapes = np.array(column.to_pylist(), dtype=object)
            yield table, shapes


def build_feature_batch(first: int, count: int, columns: dict[str, pa.StringArray], wkb: Shapes | None) -> Batch:
    """Return a batch of features numbered from `first`."""
    row_numbers = np.arange(first, first + count, dtype=np.int64)
    if wkb is None:
        return Batch(row_numbers, columns)
    shapes, bad_shapes = parse_wkb(wkb)
    issues = tuple(build_geometry_issue(first + index, wkb[index]) for index in bad_shapes)
    return Batch(row_numbers, columns, shapes, issues)


def format_column(column: pa.Array) -> pa.StringArray:
    """Return a column as text; binary content is left out."""
    if is_binary_type(column.type):
        return build_text_column([None] * len(column))
    return format_arrow_column(column)


def mark_overflow(column: pa.StringArray) -> pa.StringArray:
    """Return a column in which integers that GDAL could not hold show lost digits."""
    for limit, text in _OVERFLOW.items():
        column = pc.if_else(pc.equal(column, limit), text, column)
    return column


def is_binary_type(kind: pa.DataType) -> bool:
    """Return whether a column has binary content, such as pictures."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


_GDAL_ERRORS: Final = (
    OSError,
    DataSourceError,
    DataLayerError,
    CRSError,
    FeatureError,
    GeometryError,
    pa.ArrowException,
    UnicodeDecodeError,
)


@contextmanager
def catch_gdal_errors() -> Iterator[None]:
    """Turn errors of GDAL and Arrow into an Invalid (``damaged-file``)."""
    try:
        yield
    except FileNotFoundError:
        raise
    except _GDAL_ERRORS as error:
        raise _build_read_error(str(error).split("; ")[0][:200]) from None


def _build_read_error(reason: str) -> Invalid:
    message = Message("The file cannot be read: {reason}. Export it again.", reason=reason)
    return Invalid(message, code="damaged-file")
