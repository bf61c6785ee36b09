"""Shapefiles in a zip: shapes through GDAL, attributes through `app.formats.dbf`."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import shapely

from app.errors import Invalid
from app.formats import archive
from app.formats.archive import Member
from app.formats.dbf import Table, open_table, pieces
from app.formats.model import Batch, Detected, Named, Opened, Wanted
from app.formats.shapes import Shapes, bad_geometry, from_wkb
from app.formats.vector import arrow_batches, chosen, crs_of, layer_info

_PARTS: Final = ("shp", "shx", "dbf", "prj", "cpg", "cst")
_LAYER: Final = "layer"


def open_shapefile(file: Named, wanted: Wanted, folder: Callable[[], Path]) -> Opened:
    """Open the named Shapefile of a zip, or its first.

    Raises
    ------
    Invalid
        As `app.formats.archive.members`; ``damaged-file``, ``unknown-layer``, ``wrong-encoding``.
    """
    held = archive.members(file.path)
    bases = _layers(held)
    layers = tuple(bases.values())
    layer, notes = chosen(layers, (), wanted.layer or wanted.sheet)
    stem = next(stem for stem, name in bases.items() if name == layer)
    target = folder()
    parts = _unpacked(file, held, stem, target)
    if "dbf" not in parts:
        raise Invalid(f"The Shapefile {layer!r} has no .dbf file in the zip.", code="damaged-file")
    info = layer_info(parts["shp"], "shapefile", _LAYER)
    crs, more = crs_of(info)
    shapes = int(info["features"])
    claimed = _claim(parts)
    table = open_table(parts["dbf"], claimed, wanted.encoding)
    if shapes > table.count:
        told = f"The Shapefile has {shapes:,} shapes and {table.count:,} records; the rest is not read."
        more = (*more, told)
    detected = Detected(
        format="shapefile",
        encoding=table.codec,
        layer=layer,
        layers=layers,
        crs=crs,
        geometry=True,
        rows=table.count,
        notes=(*notes, *more, *table.notes),
    )
    return Opened(detected, table.names, lambda rows: _batches(parts["shp"], table, rows))


def _layers(held: list[Member]) -> dict[str, str]:
    """Return the Shapefiles of a zip by their stems, with the folder where names are alike."""
    paths = {
        member.stem: PurePosixPath(member.name).with_suffix("")
        for member in held
        if member.suffix == "shp"
    }
    names = [path.name for path in paths.values()]
    return {
        stem: path.name if names.count(path.name) == 1 else str(path)
        for stem, path in paths.items()
    }


def _unpacked(file: Named, held: list[Member], stem: str, target: Path) -> dict[str, Path]:
    parts: dict[str, Path] = {}
    for member in held:
        suffix = "cpg" if member.suffix == "cst" else member.suffix
        if member.stem == stem and member.suffix in _PARTS and suffix not in parts:
            # Under another name, so that GDAL sees shapes only: it must not guess at the text.
            name = f"attributes.{suffix}" if suffix in ("dbf", "cpg") else f"{_LAYER}.{suffix}"
            parts[suffix] = archive.unpack(file.path, member, target / name)
    return parts


def _claim(parts: dict[str, Path]) -> str | None:
    if "cpg" not in parts:
        return None
    text = parts["cpg"].read_bytes()[:64].decode("ascii", "ignore").strip("\x00 \r\n\t")
    # "936", "CP936", "ANSI 936", "GBK", "UTF-8", "65001"
    last = text.split()[-1] if text.split() else ""
    return {"65001": "utf-8", "936": "gbk", "54936": "gb18030", "950": "big5"}.get(
        last, last
    ) or None


def _batches(path: Path, table: Table, rows: int) -> Iterator[Batch]:
    """Yield records and shapes side by side; a deleted record keeps its number and is left out."""
    shapes = _shapes(path, rows, table.count)
    for first, count in pieces(table.count, rows):
        columns, deleted, odd = table.cells(first, count)
        wkb = next(shapes)[: len(deleted)]
        geometry, bad = from_wkb(wkb)
        # The format winds outer rings clockwise; everywhere else they are anticlockwise (RFC 7946).
        geometry = np.asarray(shapely.orient_polygons(geometry), dtype=object)
        odd += [bad_geometry(first + at + 1) for at in bad]
        row = np.arange(first + 1, first + len(deleted) + 1, dtype=np.int64)
        if deleted.any():
            kept = ~deleted
            row, geometry = row[kept], geometry[kept]
            columns = {name: column.filter(kept) for name, column in columns.items()}
            left = set(row.tolist())
            odd = [one for one in odd if one.row in left]
        yield Batch(row, columns, geometry, tuple(sorted(odd, key=lambda one: one.row)))


def _shapes(path: Path, rows: int, count: int) -> Iterator[Shapes]:
    """Yield WKB by record number, in pieces of `rows`, None where GDAL gives none."""
    out = np.full(rows, None, dtype=object)
    begin = 0
    for table, wkb in arrow_batches(path, _LAYER, rows, True, columns=[], return_fids=True):
        numbers = table.column("OGC_FID").to_numpy(zero_copy_only=False)
        if wkb is None:
            continue
        while len(numbers):
            here = numbers < begin + rows
            out[numbers[here] - begin] = wkb[here]
            numbers, wkb = numbers[~here], wkb[~here]
            if len(numbers):
                yield out
                out = np.full(rows, None, dtype=object)
                begin += rows
    while begin < max(count, 1):
        yield out
        out = np.full(rows, None, dtype=object)
        begin += rows
