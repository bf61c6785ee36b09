"""Types that every writer uses: columns with their types, the layout of a file, and the writer of a format.

A batch is an Arrow record batch with the columns of the layout by field name and, if there are shapes, ``geometry`` as
WKB, x before y, in the CRS of the layout. Lists and nested values are JSON text.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
import shapely
from numpy.typing import NDArray

from app.messages import Message

Type = Literal["text", "integer", "number", "boolean", "day", "instant", "words", "json"]

ARROW: Final[dict[str, pa.DataType]] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "day": pa.date32(),
    "instant": pa.timestamp("us", tz="UTC"),
    "words": pa.string(),
    "json": pa.string(),
}
GEOMETRY: Final = "geometry"
LONLAT: Final = 4326


@dataclass(frozen=True)
class Column:
    """One column: the field in it, its header and its type."""

    name: str
    header: str
    type: Type
    read_only: bool = False
    """Set by the registry: an import leaves it out."""


@dataclass(frozen=True)
class Layout:
    """Structure of a file."""

    name: str
    """Name of the layer or sheet."""
    columns: tuple[Column, ...]
    geometry_types: tuple[str, ...] = ()
    """GeoJSON types of the geometries; empty: no geometries."""
    srid: int = LONLAT
    location_headers: tuple[str, str, str] = ("lon", "lat", GEOMETRY)
    """Headers of x, y and a shape in a table."""
    bom: bool = False
    count: int | None = None
    """Number of rows, if it is known."""
    platform: str = ""
    """Code of the platform that sends a catalogue."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of the batches."""
        fields = [pa.field(column.name, ARROW[column.type]) for column in self.columns]
        if self.geometry_types:
            fields.append(pa.field(GEOMETRY, pa.binary()))
        return pa.schema(fields)

    @property
    def has_only_points(self) -> bool:
        """Whether every shape is a point, so that a table needs two numbers only."""
        return self.geometry_types == ("Point",)

    @property
    def crs(self) -> pyproj.CRS:
        """The CRS of the shapes, x before y."""
        return pyproj.CRS.from_user_input("OGC:CRS84" if self.srid == LONLAT else f"EPSG:{self.srid}")


Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class FileWriter:
    """Writes files of one format."""

    media_type: str
    write: Callable[[Layout, Batches, Path], Iterator[bytes]]
    """Yields the file in pieces. The folder is temporary, for this file only."""
    notes: Callable[[Layout], Sequence[str]]
    """Lists what the format cannot hold of a layout."""
    lonlat: bool = False
    """Holds longitude and latitude only."""
    kinds: tuple[str, ...] = ()
    """Collections that it is for; empty: all."""


def parse_shapes(batch: pa.RecordBatch) -> NDArray[np.object_]:
    """Return the shapes of a batch."""
    shapes: NDArray[np.object_] = shapely.from_wkb(batch.column(GEOMETRY).to_numpy(zero_copy_only=False))
    return shapes


def format_column(array: pa.Array, kind: Type) -> pa.Array:
    """Return a column for a table: instants and days as ISO 8601, others as they are."""
    if kind == "instant":
        utc = array.cast(pa.timestamp("us"))
        return pc.binary_join_element_wise(pc.strftime(utc, format="%Y-%m-%dT%H:%M:%S"), "Z", "")
    if kind == "day":
        return array.cast(pa.string())
    return array


_FORMULA: Final = "^('*[=+\\-@\\t\\r])"
"""Text that a spreadsheet program takes for a formula; apostrophes before it count, so that the import can undo it."""


def guard_formulas(array: pa.Array) -> pa.Array:
    """Return text with an apostrophe before what could be a formula."""
    return pc.replace_substring_regex(array, _FORMULA, "'\\1")


def iter_file_blocks(path: Path, size: int = 1 << 18) -> Iterator[bytes]:
    """Yield a file in blocks."""
    with path.open("rb") as file:
        while block := file.read(size):
            yield block


def parse_json_lists(array: pa.Array) -> pa.Array:
    """Return a column of JSON text as lists of strings."""
    lists = [None if text is None else orjson.loads(text) for text in array.to_pylist()]
    return pa.array(lists, pa.list_(pa.string()))


def list_headers(layout: Layout, *types: Type) -> str:
    """Return the headers of the columns of some types, for a note."""
    return ", ".join(column.header for column in layout.columns if column.type in types)


def list_type_notes(layout: Layout, *, lists: bool = False, times: bool = False) -> list[Message]:
    """Return the notes about lists that become JSON text, and about times that are cut to the millisecond."""
    notes = []
    if lists and (headers := list_headers(layout, "words", "json")):
        notes.append(Message("Lists are JSON text: {columns}.", columns=headers))
    if times and (headers := list_headers(layout, "instant")):
        notes.append(Message("Times are cut to the millisecond: {columns}.", columns=headers))
    return notes


def describe_unstated_crs(layout: Layout) -> list[Message]:
    """Return a note if a file has coordinates of a CRS that it does not state."""
    if layout.srid == LONLAT:
        return []
    return [Message("Coordinates are in EPSG:{srid}; the file does not state it.", srid=layout.srid)]
