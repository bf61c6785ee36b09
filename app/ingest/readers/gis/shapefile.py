"""Shapefiles in a zip: shapes through GDAL, attributes through `app.ingest.readers.gis.dbf`."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import orjson
import shapely

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.archive import Member
from app.ingest.readers.gis.dbf import DbfTable, iter_ranges, open_dbf
from app.ingest.readers.gis.gdal import choose_layer, detect_layer_crs, iter_arrow_batches, read_layer_info
from app.ingest.readers.gis.shapefile_texts import MEMBER, LongTexts
from app.ingest.readers.model import Batch, DetectedFormat, ReadOptions, SourceFile, TableReader
from app.ingest.values.shapes import Shapes, bad_geometry, parse_wkb

_PARTS: Final = ("shp", "shx", "dbf", "prj", "cpg", "cst")
_LAYER: Final = "layer"
MAPPING: Final = "mapping.json"
"""What an export of ours says of its columns."""
FAMILIES: Final = ("point", "line", "polygon")
"""How the Shapefiles of one export end."""
_LARGEST_MAPPING: Final = 1 << 20
_TARGET: Final = re.compile(r"[a-z][a-z0-9_]{0,63}(@[a-z0-9_]{1,40})?")


@dataclass(frozen=True, eq=False)
class ShapefileLayer:
    """One Shapefile of a zip, unpacked."""

    name: str
    path: Path
    table: DbfTable
    crs: str | None
    notes: tuple[str, ...]


def open_shapefile(file: SourceFile, wanted: ReadOptions, folder: Callable[[], Path]) -> TableReader:
    """Open the named Shapefile of a zip, or its first; of an export of ours, all of them.

    Raises
    ------
    Invalid
        As `app.ingest.readers.archive.list_members`; ``damaged-file``, ``unknown-layer``, ``wrong-encoding``.
    """
    held = archive.list_members(file.path)
    bases = find_layers(held)
    layers = tuple(bases.values())
    mapping = read_export_mapping(file.path, held)
    stated = wanted.layer or wanted.sheet
    names = layers
    if mapping is not None and stated is None and len(layers) > 1 and is_one_export(layers):
        notes: tuple[str, ...] = (f"Layers {', '.join(layers)} are read, one after the other.",)
    else:
        layer, notes = choose_layer(layers, (), stated)
        names = (layer,)
    target = folder()
    opened = [open_layer(file, held, bases, name, target / str(at), wanted) for at, name in enumerate(names)]
    first = opened[0]
    if any((one.table.names, one.crs) != (first.table.names, first.crs) for one in opened):
        opened, (_, notes) = [first], choose_layer(layers, (first.name,), None)
    side = next((member for member in held if member.name == MEMBER), None)
    texts = LongTexts(archive.unpack_member(file.path, side, target / MEMBER) if side and mapping else None)
    told = [note for one in opened for note in (*one.notes, *one.table.notes)]
    detected = DetectedFormat(
        format="shapefile",
        encoding=first.table.codec,
        layer=" + ".join(one.name for one in opened),
        layers=layers,
        crs=first.crs,
        geometry=True,
        rows=sum(one.table.count for one in opened),
        notes=(*notes, *dict.fromkeys(told)),
        mapping=mapping,
    )
    return TableReader(detected, first.table.names, lambda rows: iter_layer_batches(opened, texts, rows))


def read_export_mapping(path: Path, held: list[Member]) -> dict[str, str | None] | None:
    """Return the mapping of columns that an export of ours has in its zip."""
    member = next((member for member in held if member.name == MAPPING), None)
    if member is None or member.size > _LARGEST_MAPPING:
        return None
    try:
        found = orjson.loads(archive.read_member_head(path, member, _LARGEST_MAPPING))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or not found:
        return None
    return found if all(is_field_target(target) for target in found.values()) else None


def is_field_target(value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(_TARGET.fullmatch(value)))


def is_one_export(layers: Sequence[str]) -> bool:
    """Tell whether Shapefiles are the points, lines and polygons of one export."""
    parts = [name.rpartition("-") for name in layers]
    return len({stem for stem, _, _ in parts}) == 1 and all(of in FAMILIES for _, _, of in parts)


def open_layer(
    file: SourceFile, held: list[Member], bases: dict[str, str], layer: str, target: Path, wanted: ReadOptions
) -> ShapefileLayer:
    """Unpack one Shapefile and open its parts."""
    stem = next(stem for stem, name in bases.items() if name == layer)
    target.mkdir()
    parts = unpack_layer(file, held, stem, target)
    if "dbf" not in parts:
        raise Invalid(f"The Shapefile {layer!r} has no .dbf file in the zip.", code="damaged-file")
    info = read_layer_info(parts["shp"], "shapefile", _LAYER)
    crs, notes = detect_layer_crs(info)
    shapes = int(info["features"])
    table = open_dbf(parts["dbf"], read_cpg(parts), wanted.encoding)
    if shapes > table.count:
        told = f"The Shapefile has {shapes:,} shapes and {table.count:,} records; the rest is not read."
        notes = (*notes, told)
    return ShapefileLayer(layer, parts["shp"], table, crs, notes)


def iter_layer_batches(layers: Sequence[ShapefileLayer], texts: LongTexts, rows: int) -> Iterator[Batch]:
    """Yield the records of Shapefiles one after the other, numbered on, with their long texts."""
    before = 0
    for layer in layers:
        for batch in iter_record_batches(layer.path, layer.table, rows):
            columns, odd = {}, list(batch.issues)
            for name, column in batch.columns.items():
                columns[name], wrong = texts.restore_texts(name, column, batch.row_numbers)
                odd += wrong
            numbered = tuple(replace(one, row=one.row + before) for one in odd)
            yield Batch(
                batch.row_numbers + before, columns, batch.geometry,
                tuple(sorted(numbered, key=lambda one: one.row)),
            )  # fmt: skip
        before += layer.table.count


def find_layers(held: list[Member]) -> dict[str, str]:
    """Return the Shapefiles of a zip by their stems, with the folder where names are alike."""
    paths = {member.stem: PurePosixPath(member.name).with_suffix("") for member in held if member.suffix == "shp"}
    names = [path.name for path in paths.values()]
    return {stem: path.name if names.count(path.name) == 1 else str(path) for stem, path in paths.items()}


def unpack_layer(file: SourceFile, held: list[Member], stem: str, target: Path) -> dict[str, Path]:
    parts: dict[str, Path] = {}
    for member in held:
        suffix = "cpg" if member.suffix == "cst" else member.suffix
        if member.stem == stem and member.suffix in _PARTS and suffix not in parts:
            # Under another name, so that GDAL sees shapes only: it must not guess at the text.
            name = f"attributes.{suffix}" if suffix in ("dbf", "cpg") else f"{_LAYER}.{suffix}"
            parts[suffix] = archive.unpack_member(file.path, member, target / name)
    return parts


def read_cpg(parts: dict[str, Path]) -> str | None:
    if "cpg" not in parts:
        return None
    text = parts["cpg"].read_bytes()[:64].decode("ascii", "ignore").strip("\x00 \r\n\t")
    # "936", "CP936", "ANSI 936", "GBK", "UTF-8", "65001"
    last = text.split()[-1] if text.split() else ""
    return {"65001": "utf-8", "936": "gbk", "54936": "gb18030", "950": "big5"}.get(last, last) or None


def iter_record_batches(path: Path, table: DbfTable, rows: int) -> Iterator[Batch]:
    """Yield records and shapes side by side; a deleted record keeps its number and is left out."""
    shapes = iter_shapes(path, rows, table.count)
    for first, count in iter_ranges(table.count, rows):
        columns, deleted, odd = table.read_cells(first, count)
        wkb = next(shapes)[: len(deleted)]
        geometry, bad = parse_wkb(wkb)
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


def iter_shapes(path: Path, rows: int, count: int) -> Iterator[Shapes]:
    """Yield WKB by record number, in pieces of `rows`, None where GDAL gives none."""
    out = np.full(rows, None, dtype=object)
    begin = 0
    for table, wkb in iter_arrow_batches(path, _LAYER, rows, True, columns=[], return_fids=True):
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
