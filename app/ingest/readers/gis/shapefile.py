"""Shapefiles in a zip: shapes through GDAL, attributes through `app.ingest.readers.gis.dbf`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import orjson
import shapely

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers.archive import Member
from app.ingest.readers.content import FileContent
from app.ingest.readers.gis.dbf import DbfTable, iter_ranges, open_dbf
from app.ingest.readers.gis.gdal import detect_layer_crs, iter_arrow_batches, read_layer_info
from app.ingest.readers.gis.shapefile_texts import MEMBER, LongTexts
from app.ingest.readers.model import (
    Batch,
    DetectedFormat,
    ReadOptions,
    SourceFile,
    TableReader,
    build_geometry_issue,
    choose_layer,
)
from app.ingest.values.shapes import Shapes, parse_wkb
from app.messages import Message

_MEMBER_SUFFIXES: Final = ("shp", "shx", "dbf", "prj", "cpg", "cst")
_LAYER: Final = "layer"
MAPPING: Final = "mapping.json"
"""File of our export with the fields of its columns."""
FAMILIES: Final = ("point", "line", "polygon")
"""Endings of the names of the Shapefiles of one export."""
_MAX_MAPPING_BYTES: Final = 1 << 20
_TARGET: Final = re.compile(r"[a-z][a-z0-9_]{0,63}(@[a-z0-9_]{1,40})?")


@dataclass(frozen=True, eq=False)
class ShapefileLayer:
    """One Shapefile of a zip, unpacked."""

    name: str
    path: Path
    table: DbfTable
    crs: str | None
    notes: tuple[str, ...]


def is_shapefile(content: FileContent) -> bool:
    """Return whether a file is a zip with a Shapefile."""
    return "shp" in content.member_suffixes


def open_shapefile(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open the named Shapefile of a zip, or its first; of our own export, all of them.

    Raises
    ------
    Invalid
        As `app.ingest.readers.archive.list_members`; ``damaged-file``, ``unknown-layer``, ``wrong-encoding``.
    """
    members = archive.list_members(file.path)
    names_by_stem = find_layers(members)
    layers = tuple(names_by_stem.values())
    mapping = read_export_mapping(file.path, members)
    stated = options.layer_name
    if mapping is not None and stated is None and len(layers) > 1 and is_one_export(layers):
        chosen = layers
        notes: tuple[str, ...] = (Message("Layers {layers} are read, one after the other.", layers=", ".join(layers)),)
    else:
        layer, notes = choose_layer(layers, (), stated)
        chosen = (layer,)
    folder = file.create_folder()
    opened = [
        open_layer(file, members, names_by_stem, name, folder / str(number), options)
        for number, name in enumerate(chosen)
    ]
    first = opened[0]
    if any((layer.table.names, layer.crs) != (first.table.names, first.crs) for layer in opened):
        opened, (_, notes) = [first], choose_layer(layers, (first.name,), None)
    texts_member = next((member for member in members if member.name == MEMBER), None)
    has_texts = texts_member is not None and mapping
    texts = LongTexts(
        archive.unpack_member(file.path, texts_member, folder / MEMBER) if texts_member and has_texts else None
    )
    layer_notes = [note for layer in opened for note in (*layer.notes, *layer.table.notes)]
    detected = DetectedFormat(
        format="shapefile",
        encoding=first.table.codec,
        layer=" + ".join(layer.name for layer in opened),
        layers=layers,
        crs=first.crs,
        geometry=True,
        rows=sum(layer.table.count for layer in opened),
        notes=(*notes, *dict.fromkeys(layer_notes)),
        mapping=mapping,
    )
    return TableReader(detected, first.table.names, lambda rows: iter_layer_batches(opened, texts, rows))


def read_export_mapping(path: Path, members: list[Member]) -> dict[str, str | None] | None:
    """Return the mapping of columns to fields in a zip of our own export, None if there is none."""
    member = next((member for member in members if member.name == MAPPING), None)
    if member is None or member.size > _MAX_MAPPING_BYTES:
        return None
    try:
        mapping = orjson.loads(archive.read_member_head(path, member, _MAX_MAPPING_BYTES))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(mapping, dict) or not mapping:
        return None
    return mapping if all(is_field_target(target) for target in mapping.values()) else None


def is_field_target(value: object) -> bool:
    """Return whether a value of a mapping is a field, or null."""
    return value is None or (isinstance(value, str) and bool(_TARGET.fullmatch(value)))


def is_one_export(layers: Sequence[str]) -> bool:
    """Return whether Shapefiles are the points, lines and polygons of one export."""
    names = [name.rpartition("-") for name in layers]
    return len({stem for stem, _, _ in names}) == 1 and all(family in FAMILIES for _, _, family in names)


def open_layer(
    file: SourceFile,
    members: list[Member],
    names_by_stem: dict[str, str],
    layer: str,
    folder: Path,
    options: ReadOptions,
) -> ShapefileLayer:
    """Unpack one Shapefile and open its files."""
    stem = next(stem for stem, name in names_by_stem.items() if name == layer)
    folder.mkdir()
    paths = unpack_layer(file, members, stem, folder)
    if "dbf" not in paths:
        message = Message("The Shapefile {layer!r} has no .dbf file in the zip. Add the .dbf file.", layer=layer)
        raise Invalid(message, code="damaged-file")
    info = read_layer_info(paths["shp"], "shapefile", _LAYER)
    crs, notes = detect_layer_crs(info)
    shapes = int(info["features"])
    table = open_dbf(paths["dbf"], read_cpg(paths), options.encoding)
    if shapes > table.count:
        note = Message(
            "The Shapefile has {shapes:,} shapes and {records:,} records; shapes without a record are not read.",
            shapes=shapes,
            records=table.count,
        )
        notes = (*notes, note)
    return ShapefileLayer(layer, paths["shp"], table, crs, notes)


def iter_layer_batches(layers: Sequence[ShapefileLayer], texts: LongTexts, rows: int) -> Iterator[Batch]:
    """Yield the records of Shapefiles one after the other, numbered through, with their long texts."""
    offset = 0
    for layer in layers:
        for batch in iter_record_batches(layer.path, layer.table, rows):
            columns, issues = {}, list(batch.issues)
            for name, column in batch.columns.items():
                columns[name], text_issues = texts.restore_texts(name, column, batch.row_numbers)
                issues += text_issues
            numbered = [replace(issue, row=issue.row + offset) for issue in issues]
            numbered.sort(key=lambda issue: issue.row)
            yield Batch(batch.row_numbers + offset, columns, batch.geometry, tuple(numbered))
        offset += layer.table.count


def find_layers(members: list[Member]) -> dict[str, str]:
    """Return the names of the Shapefiles of a zip by their stems, with the folder where names are equal."""
    paths = {member.stem: PurePosixPath(member.name).with_suffix("") for member in members if member.suffix == "shp"}
    names = [path.name for path in paths.values()]
    return {stem: path.name if names.count(path.name) == 1 else str(path) for stem, path in paths.items()}


def unpack_layer(file: SourceFile, members: list[Member], stem: str, folder: Path) -> dict[str, Path]:
    """Unpack the files of one Shapefile; return their paths by ending."""
    paths: dict[str, Path] = {}
    for member in members:
        suffix = "cpg" if member.suffix == "cst" else member.suffix
        if member.stem == stem and member.suffix in _MEMBER_SUFFIXES and suffix not in paths:
            # The table gets another name, so that GDAL reads shapes only and does not guess the encoding of text.
            name = f"attributes.{suffix}" if suffix in ("dbf", "cpg") else f"{_LAYER}.{suffix}"
            paths[suffix] = archive.unpack_member(file.path, member, folder / name)
    return paths


def read_cpg(paths: dict[str, Path]) -> str | None:
    """Return the encoding in the .cpg file: "936", "CP936", "ANSI 936", "GBK", "UTF-8", "65001"."""
    if "cpg" not in paths:
        return None
    text = paths["cpg"].read_bytes()[:64].decode("ascii", "ignore").strip("\x00 \r\n\t")
    last = text.split()[-1] if text.split() else ""
    return {"65001": "utf-8", "936": "gbk", "54936": "gb18030", "950": "big5"}.get(last, last) or None


def iter_record_batches(path: Path, table: DbfTable, rows: int) -> Iterator[Batch]:
    """Yield records with their shapes. A deleted record keeps its number and is left out."""
    shapes = iter_shapes(path, rows, table.count)
    for first, count in iter_ranges(table.count, rows):
        columns, is_deleted, issues = table.read_cells(first, count)
        wkb = next(shapes)[: len(is_deleted)]
        geometry, bad_shapes = parse_wkb(wkb)
        # A Shapefile winds outer rings clockwise, all other formats anticlockwise (RFC 7946).
        geometry = np.asarray(shapely.orient_polygons(geometry), dtype=object)
        issues += [build_geometry_issue(first + index + 1) for index in bad_shapes]
        row_numbers = np.arange(first + 1, first + len(is_deleted) + 1, dtype=np.int64)
        if is_deleted.any():
            is_present = ~is_deleted
            row_numbers, geometry = row_numbers[is_present], geometry[is_present]
            columns = {name: column.filter(is_present) for name, column in columns.items()}
            present = set(row_numbers.tolist())
            issues = [issue for issue in issues if issue.row in present]
        yield Batch(row_numbers, columns, geometry, tuple(sorted(issues, key=lambda issue: issue.row)))


def iter_shapes(path: Path, rows: int, count: int) -> Iterator[Shapes]:
    """Yield WKB by record number, `rows` at a time, None where GDAL gives no shape."""
    shapes = np.full(rows, None, dtype=object)
    first = 0
    for table, wkb in iter_arrow_batches(path, _LAYER, rows, True, columns=[], return_fids=True):
        numbers = table.column("OGC_FID").to_numpy(zero_copy_only=False)
        if wkb is None:
            continue
        while len(numbers):
            is_current = numbers < first + rows
            shapes[numbers[is_current] - first] = wkb[is_current]
            numbers, wkb = numbers[~is_current], wkb[~is_current]
            if len(numbers):
                yield shapes
                shapes = np.full(rows, None, dtype=object)
                first += rows
    while first < max(count, 1):
        yield shapes
        shapes = np.full(rows, None, dtype=object)
        first += rows
