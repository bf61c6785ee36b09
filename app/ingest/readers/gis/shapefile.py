"""Shapefiles in a zip: shapes through GDAL, attributes through `app.ingest.readers.gis.dbf`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from app.errors import Invalid
from app.geo.arrays import Bools, Ints
from app.ingest.readers import archive
from app.ingest.readers.archive import Member
from app.ingest.readers.content import FileContent
from app.ingest.readers.gis.dbf import DbfTable, iter_ranges, open_dbf
from app.ingest.readers.gis.gdal import detect_layer_crs, iter_arrow_batches, read_layer_info
from app.ingest.readers.model import (
    Batch,
    DetectedFormat,
    FormatIssue,
    ReadOptions,
    SourceFile,
    TableReader,
    build_geometry_issue,
    choose_layer,
)
from app.ingest.values.shapes import Shapes, parse_wkb
from app.ingest.values.text import clean_cell
from app.messages import Message

# Texts that do not fit into a field of a Shapefile: stored whole in a file of the zip, by number.
#
# The field has the beginning of the text and a mark with the number (``...#12``), so that rows can be deleted, sorted and
# edited in a GIS and still find their texts. A changed beginning is an issue: the intended text is not known.

MEMBER: Final = "texts.jsonl"
MAX_FIELD_BYTES: Final = 254
_MARK: Final = "…#"
_MARKED: Final = f"{_MARK}[0-9]+$"
_MIN_MARKED_BYTES: Final = MAX_FIELD_BYTES - 24
"""Bytes of a field with a mark, at least."""
_BLOCK: Final = 1 << 20
_EDITED: Final = (
    "long-text-edited",
    Message("A text is too long for a Shapefile, and its beginning was changed. Change it in another format."),
)
_MISSING: Final = (
    "long-text-missing",
    Message("A long text is missing: the zip does not have {file} as it was exported. Add the file.", file=MEMBER),
)


def truncate_utf8(text: str, size: int) -> str:
    """Return the beginning of a text that fits into so many bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")


class LongTextWriter:
    """Stores texts that are too long, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MEMBER
        self.count = 0

    def shorten_texts(self, array: pa.Array) -> pa.Array:
        """Return a column whose texts fit into a field; longer texts are stored whole."""
        if not pa.types.is_string(array.type):
            return array
        size = pc.fill_null(pc.binary_length(array), 0)
        # A text that looks marked is stored too, so that it is read back as it is.
        long = np.flatnonzero(_to_mask(pc.greater(size, MAX_FIELD_BYTES)) | find_marked(array)).tolist()
        if not long:
            return array
        values = array.to_pylist()
        with self.path.open("ab") as file:
            for index in long:
                self.count += 1
                mark = f"{_MARK}{self.count}"
                file.write(orjson.dumps(values[index]) + b"\n")
                values[index] = truncate_utf8(values[index], MAX_FIELD_BYTES - len(mark.encode())) + mark
        return pa.array(values, pa.string())


class LongTexts:
    """The stored texts of a zip, read one at a time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offsets = np.array([0, *iter_line_ends(path)], np.int64) if path else np.zeros(1, np.int64)

    def restore_texts(
        self, name: str, column: pa.StringArray, row_numbers: Ints
    ) -> tuple[pa.StringArray, list[FormatIssue]]:
        """Return a column with whole texts, and issues of texts that are missing or changed."""
        marked = np.flatnonzero(find_marked(column)).tolist()
        if not marked:
            return column, []
        cells, issues = column.to_pylist(), []
        for index in marked:
            beginning, _, number = cells[index].rpartition(_MARK)
            text = clean_cell(self._read_text(int(number)))
            if text is not None and text.startswith(beginning):
                cells[index] = text
                continue
            code, message = _MISSING if text is None else _EDITED
            issues.append(FormatIssue(int(row_numbers[index]), code, message, name, "error"))
        return pa.array(cells, pa.string()), issues

    def _read_text(self, number: int) -> str | None:
        if self._path is None or not 0 < number < len(self._offsets):
            return None
        begin, end = (int(offset) for offset in self._offsets[number - 1 : number + 1])
        with self._path.open("rb") as file:
            file.seek(begin)
            line = file.read(end - begin)
        try:
            text = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        return text if isinstance(text, str) else None


def find_marked(column: pa.StringArray) -> Bools:
    """Return which texts end in a mark; most columns have no text of that length."""
    is_long = pc.greater_equal(pc.binary_length(column), _MIN_MARKED_BYTES)
    if not pc.any(is_long).as_py():
        return np.zeros(len(column), dtype=bool)
    return _to_mask(pc.and_(pc.match_substring_regex(column, _MARKED), is_long))


def _to_mask(flags: pa.BooleanArray) -> Bools:
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=bool)


def iter_line_ends(path: Path) -> Iterator[int]:
    """Yield the offsets at which lines end."""
    offset = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
            yield from (ends + offset + 1).tolist()
            offset += len(block)


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
