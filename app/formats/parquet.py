"""Parquet and GeoParquet (1.0, 1.1), streamed batch by batch."""

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from app.errors import Invalid
from app.formats import crs as crses
from app.formats.header import labels
from app.formats.model import Batch, Detected, Named, Opened, Wanted
from app.formats.shapes import Shapes
from app.formats.vector import numbered, readable, text_of

_BUFFER: Final = 1 << 20
_WKB: Final = (b"geoarrow.wkb", b"ogc.wkb")


def open_parquet(file: Named, wanted: Wanted) -> Opened:
    """Open a Parquet file; its shapes are those of the primary geometry column.

    Raises
    ------
    Invalid
        ``damaged-file``; ``unsupported-format`` (a geometry encoding that is not read);
        ``unknown-layer`` (a stated geometry column that is not there).
    """
    with readable():
        opened = pq.ParquetFile(file.path, pre_buffer=False, buffer_size=_BUFFER)
        schema = opened.schema_arrow
    column, encoding, crs, notes = _geometry(schema, wanted.layer)
    raw = [name for name in schema.names if name != column]
    names = labels(raw)
    detected = Detected(
        format="parquet",
        layer=column,
        crs=crs,
        geometry=column is not None,
        rows=opened.metadata.num_rows,
        notes=notes,
    )

    def read(rows: int) -> Iterator[Batch]:
        first = 1
        with readable():
            for table in opened.iter_batches(batch_size=rows):
                shapes = None if column is None else _wkb(table.column(column), encoding)
                cells = {
                    name: text_of(table.column(key)) for name, key in zip(names, raw, strict=True)
                }
                yield numbered(first, table.num_rows, cells, shapes)
                first += table.num_rows

    source = Opened(detected, names, read)
    source.closing.callback(opened.close)
    return source


def _geometry(
    schema: pa.Schema, stated: str | None
) -> tuple[str | None, str, str | None, tuple[str, ...]]:
    """Return the geometry column, its encoding, its CRS and what to tell."""
    meta = _metadata(schema)
    columns: dict[str, Any] = meta.get("columns") or {}
    marked = [field.name for field in schema if _extension(field) in _WKB]
    choice = [name for name in (*columns, *marked) if name in schema.names]
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
    if about is None:
        return name, "WKB", _extension_crs(schema.field(name)), ()
    encoding = str(about.get("encoding", "WKB"))
    if encoding.lower() not in ("wkb", "point"):
        raise Invalid(
            f"The geometry column is written as {encoding!r}; save it as WKB.",
            code="unsupported-format",
        )
    # GeoParquet: no CRS means longitude and latitude, null means not known.
    crs = crses.of(about["crs"]) if about.get("crs") else None
    if "crs" not in about:
        crs = crses.LONLAT
    return (
        name,
        encoding,
        crs,
        () if crs else ("The file has no CRS with an EPSG number; state it.",),
    )


def _metadata(schema: pa.Schema) -> dict[str, Any]:
    raw = (schema.metadata or {}).get(b"geo")
    try:
        meta = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        meta = {}
    return meta if isinstance(meta, dict) else {}


def _extension(field: pa.Field) -> bytes:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name).encode()
    return bytes((field.metadata or {}).get(b"ARROW:extension:name", b""))


def _extension_crs(field: pa.Field) -> str | None:
    raw = (field.metadata or {}).get(b"ARROW:extension:metadata")
    try:
        stated = json.loads(raw).get("crs") if raw else None
    except (ValueError, AttributeError, RecursionError):
        return None
    return crses.LONLAT if stated is None else crses.of(stated)


def _wkb(column: pa.Array, encoding: str) -> Shapes:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if encoding.lower() == "point" and pa.types.is_struct(column.type):
        points = shapely.points(
            column.field("x").to_numpy(zero_copy_only=False),
            column.field("y").to_numpy(zero_copy_only=False),
        )
        out = np.array(shapely.to_wkb(points), dtype=object)
        out[np.asarray(column.is_null())] = None
        return out
    return np.array(column.to_pylist(), dtype=object)
