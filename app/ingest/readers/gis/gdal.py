"""Files of GIS programs, streamed through GDAL as Arrow.

Promises that GDAL opens nothing else than the file it is given, with the driver its content
belongs to, and that integers arrive with all their digits.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.model import Batch, DetectedFormat, ReadOptions, SourceFile, TableReader
from app.ingest.values import crs as crses
from app.ingest.values.shapes import Shapes, bad_geometry, parse_wkb
from app.ingest.values.text import build_text_column
from app.ingest.values.typed_text import format_arrow_column

# What a GeoPackage holds beside what GDAL reads of it: cells of another type, an unsaved state.
#
# SQLite keeps any value in any column. Promises that a value which does not fit the type of its column
# arrives as the text it is: GDAL makes 0 of a word among numbers, and the largest integer of a code
# with twenty digits.

_SIZE_AT: Final = 16
_COUNT_AT: Final = 28
_MISFITS: Final = {
    "OFTInteger": ("typeof({0}) NOT IN ('integer', 'null') OR {0} NOT BETWEEN -2147483648 AND 2147483647"),
    "OFTInteger64": "typeof({0}) NOT IN ('integer', 'null')",
    "OFTReal": "typeof({0}) IN ('text', 'blob')",
    **dict.fromkeys(
        ("OFTDate", "OFTDateTime"),
        "typeof({0}) <> 'null' AND {0} NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'",
    ),
}
"""By the type that GDAL takes a column for, what a cell is that it cannot hold."""


def check_sqlite_complete(path: Path) -> None:
    """Refuse a database that is shorter than it says.

    Raises
    ------
    Invalid
        ``damaged-file``.
    """
    with path.open("rb") as file:
        head = file.read(100)
    size = int.from_bytes(head[_SIZE_AT : _SIZE_AT + 2], "big")
    pages = int.from_bytes(head[_COUNT_AT : _COUNT_AT + 4], "big")
    needed = pages * (65536 if size == 1 else size)
    # The count is good only where its writer also wrote for which change it holds.
    good = head[24:28] == head[92:96]
    if len(head) < 100 or (good and path.stat().st_size < needed):
        raise Invalid("The file cannot be read: the database is cut off.", code="damaged-file")


def describe_unsaved_changes(path: Path) -> tuple[str, ...]:
    """Return what to tell of a database that was copied while a program had it open."""
    with path.open("rb") as file:
        head = file.read(20)
    if head[18:20] != b"\x02\x02":
        return ()
    return ("The GeoPackage was open in a program when it was copied; what was not yet saved is missing.",)


def build_text_query(
    path: Path, layer: str, types: Mapping[str, str], geometry: str | None, key: str | None
) -> str | None:
    """Return a query that gives columns with cells of another type as text; None: all fit.

    Parameters
    ----------
    path : Path
        The database.
    layer : str
        The table or view.
    types : mapping of str to str
        Columns, in order, with the types that GDAL takes them for.
    geometry : str or None
        The column of shapes.
    key : str or None
        The column of the primary key, where it is one of the content.
    """
    judged = [name for name, kind in types.items() if kind in _MISFITS]
    if not judged:
        return None
    found: tuple[int | None, ...] = ()
    asked = ", ".join(f"max({_MISFITS[types[name]].format(quote_identifier(name))})" for name in judged)
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    # A view may use functions that GDAL alone has; its columns are left as they are.
    with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as database:
        found = database.execute(f"SELECT {asked} FROM {quote_identifier(layer)}").fetchone()
    odd = {name for name, misfit in zip(judged, found, strict=False) if misfit}
    if not odd:
        return None
    columns = [
        f"CAST({quote_identifier(name)} AS TEXT) AS {quote_identifier(name)}" if name in odd else quote_identifier(name)
        for name in types
    ]
    others = [quote_identifier(geometry)] if geometry else []
    # As an expression it is a column; by its name alone GDAL takes it for the number of the row.
    others += [f"{quote_identifier(key)} + 0 AS {quote_identifier(key)}"] if key else []
    return f"SELECT {', '.join([*others, *columns])} FROM {quote_identifier(layer)}"


def quote_identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


DRIVERS: Final = {
    "gpkg": "GPKG", "fgb": "FlatGeobuf", "shapefile": "ESRI Shapefile", "esrijson": "ESRIJSON",
    "topojson": "TopoJSON", "mapinfo": "MapInfo File", "filegdb": "OpenFileGDB",
}  # fmt: skip
"""The GDAL driver of each format; a file that another one answers for is refused."""

_NUMBERS: Final = frozenset(("", "fid", "ogc_fid", "id", "gid", "oid", "pk", "objectid", "rowid", "row_id"))
"""Names of a key that only counts the rows, lower case; under another name it is a column."""
_MOST_LAYERS: Final = 100
_JSON: Final = ("esrijson", "topojson")
_LOST: Final = {
    str(2**63 - 1): f"{2.0**63:.13E}", str(2**64 - 1): f"{2.0**64:.13E}",
}  # fmt: skip
"""What GDAL makes of a whole number in JSON that is too large for it: no code may come of that."""
_OF_MAPINFO: Final = ("tab", "dat", "map", "id", "ind", "mif", "mid")

# A view or a function inside a database file must not make GDAL fetch or open anything.
pyogrio.set_gdal_config_options(
    {
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing-is-fetched",
        "OGR_SQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
        "GDAL_HTTP_MAX_RETRY": "0",
        "SHAPE_RESTORE_SHX": "YES",
    }
)


def open_vector(file: SourceFile, kind: str, wanted: ReadOptions, folder: Callable[[], Path]) -> TableReader:
    """Open the named layer, or the first one that has shapes.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unknown-layer``, ``unsupported-format``.
    """
    path = prepare_path(file, kind, folder())
    with catch_gdal_errors():
        listed = pyogrio.list_layers(path)
    layers = tuple(str(name) for name, _ in listed)
    if not layers:
        raise Invalid("The file cannot be read: it has no layers.", code="damaged-file")
    spatial = [str(name) for name, shape in listed if shape is not None]
    filled = (name for name in spatial[:_MOST_LAYERS] if read_layer_info(path, kind, name)["features"])
    first = next(filled, None) if len(layers) > 1 else None
    layer, notes = choose_layer(layers, [first] if first else spatial, wanted.layer or wanted.sheet)
    info = read_layer_info(path, kind, layer)
    crs, more = (crses.LONLAT, ()) if kind == "topojson" else detect_layer_crs(info)
    number = str(info.get("fid_column") or "")
    identifier = number if number.lower() not in _NUMBERS else None
    fields = [str(name) for name in info["fields"]]
    raw = [*([identifier] if identifier else []), *fields]
    geometry = info["geometry_type"] is not None
    names = build_headers(raw)
    options: dict[str, Any] = {}
    if kind == "gpkg":
        types = dict(zip(fields, info["ogr_types"], strict=True))
        shapes_in = info.get("geometry_name") if geometry else None
        query = build_text_query(path, layer, types, shapes_in, identifier)
        if query:
            options["sql"] = query
        elif identifier:
            options["return_fids"] = True
        notes = (*describe_unsaved_changes(file.path), *notes)
    detected = DetectedFormat(
        format=kind,
        layer=None if kind == "esrijson" else layer,
        layers=() if kind == "esrijson" else layers,
        crs=crs if geometry else None,
        geometry=geometry,
        rows=max(0, int(info["features"])),
        notes=(*notes, *(more if geometry else ())),
    )

    def read(rows: int) -> Iterator[Batch]:
        first = 1
        for table, shapes in iter_arrow_batches(path, layer, rows, geometry, **options):
            columns = {name: format_column(table.column(key)) for name, key in zip(names, raw, strict=True)}
            if kind in _JSON:
                columns = {name: mark_overflow(column) for name, column in columns.items()}
            yield build_feature_batch(first, table.num_rows, columns, shapes)
            first += table.num_rows

    return TableReader(detected, names, read)


def prepare_path(file: SourceFile, kind: str, folder: Path) -> Path:
    """Return where GDAL finds a file: under an ending of its kind; what consists of many, unpacked."""
    if kind not in ("mapinfo", "filegdb"):
        path = folder / f"file.{kind}"
        path.symlink_to(file.path.resolve())
        return path
    held = archive.list_members(file.path)
    target = folder / ("city.gdb" if kind == "filegdb" else "tables")
    target.mkdir()
    if kind == "filegdb":
        home = next(one.folder for one in held if one.suffix == "gdbtable")
        parts = {one.base: one for one in held if one.folder == home}
    else:
        parts = {one.base: one for one in held if one.suffix in _OF_MAPINFO}
    for name, member in parts.items():
        archive.unpack_member(file.path, member, target / name)
    return target


def choose_layer(layers: Sequence[str], better: Sequence[str], stated: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the layer to read and what to tell about the others."""
    if stated is not None:
        if stated not in layers:
            raise Invalid(
                f"There is no layer {stated!r}; the file has {', '.join(layers)}.",
                code="unknown-layer",
            )
        return stated, ()
    if not layers:
        raise Invalid("The file has nothing that can be read.", code="empty-file")
    layer = (better or layers)[0]
    others = ", ".join(name for name in layers if name != layer)
    return layer, (f"Layer {layer!r} is read; the file also has {others}.",) if others else ()


def read_layer_info(path: Path, kind: str, layer: str) -> dict[str, Any]:
    """Return what GDAL says about a layer, once the driver is the expected one."""
    with catch_gdal_errors():
        info: dict[str, Any] = pyogrio.read_info(path, layer=layer, force_feature_count=True)
    if info["driver"] != DRIVERS[kind]:
        raise Invalid(f"The file is one of {info['driver']}.", code="unsupported-format")
    return info


def detect_layer_crs(info: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the CRS of a layer, and what to tell where it has none that is known."""
    stated = info["crs"]
    code = crses.parse_crs_name(stated)
    if code is not None:
        name = crses.format_crs_title(code)
        told = f"The CRS {name!r} is by its numbers none of EPSG's; it is used as the file defines it."
        return code, () if name == code else (told,)
    told = "no CRS" if not stated else "a CRS that says of no place on Earth"
    return None, (f"The layer has {told}; state it.",)


def iter_arrow_batches(
    path: Path, layer: str, rows: int, geometry: bool, **more: Any
) -> Iterator[tuple[pa.RecordBatch, Shapes | None]]:
    """Yield record batches with their shapes."""
    with (
        catch_gdal_errors(),
        pyogrio.raw.open_arrow(
            path,
            layer=None if "sql" in more else layer,
            use_pyarrow=True,
            batch_size=rows,
            read_geometry=geometry,
            datetime_as_string=True,
            **more,
        ) as (meta, reader),
    ):
        for table in reader:
            shapes = None
            if geometry:
                column = table.column(meta["geometry_name"] or "wkb_geometry")
                shapes = np.array(column.to_pylist(), dtype=object)
            yield table, shapes


def build_feature_batch(first: int, count: int, columns: dict[str, pa.StringArray], wkb: Shapes | None) -> Batch:
    """Return a batch of items counted from `first`."""
    row = np.arange(first, first + count, dtype=np.int64)
    if wkb is None:
        return Batch(row, columns)
    shapes, bad = parse_wkb(wkb)
    return Batch(row, columns, shapes, tuple(bad_geometry(first + at, wkb[at]) for at in bad))


def format_column(column: pa.Array) -> pa.StringArray:
    """Return a column as text; binary content is left out."""
    if is_binary_type(column.type):
        return build_text_column([None] * len(column))
    return format_arrow_column(column)


def mark_overflow(column: pa.StringArray) -> pa.StringArray:
    for reached, shown in _LOST.items():
        column = pc.if_else(pc.equal(column, reached), shown, column)
    return column


def is_binary_type(kind: pa.DataType) -> bool:
    """Tell a column of binary content, such as pictures."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


@contextmanager
def catch_gdal_errors() -> Iterator[None]:
    """Turn what GDAL and Arrow complain about into a refusal of the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (
        OSError, DataSourceError, DataLayerError, CRSError, FeatureError, GeometryError,
        pa.ArrowException, UnicodeDecodeError,
    ) as error:  # fmt: skip
        shown = str(error).split("; ")[0][:200]
        raise Invalid(f"The file cannot be read: {shown}.", code="damaged-file") from None
