"""What a writer of files is given: columns with their types, and rows in batches.

Promises nothing by itself. A batch is an Arrow record batch with the columns of the layout by field
name and, where there are shapes, ``geometry`` as WKB, x before y, in the CRS of the layout. Lists and
nested values come as JSON text.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
import shapely
from numpy.typing import NDArray

Type = Literal["text", "integer", "number", "boolean", "day", "instant", "words", "json"]

ARROW: Final[dict[str, pa.DataType]] = {
    "text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(),
    "day": pa.date32(), "instant": pa.timestamp("us", tz="UTC"), "words": pa.string(),
    "json": pa.string(),
}  # fmt: skip
GEOMETRY: Final = "geometry"
LONLAT: Final = 4326


@dataclass(frozen=True)
class Column:
    """One column: the field it holds, what stands above it, and its type."""

    name: str
    header: str
    type: Type
    read_only: bool = False
    """Set by the registry: an import leaves it out."""


@dataclass(frozen=True)
class Layout:
    """What a file holds."""

    name: str
    """Name of the layer or sheet."""
    columns: tuple[Column, ...]
    geometry_types: tuple[str, ...] = ()
    """GeoJSON types of the geometries; none: there are no geometries."""
    srid: int = LONLAT
    location_headers: tuple[str, str, str] = ("lon", "lat", GEOMETRY)
    """What stands above x, y and a shape in a table."""
    bom: bool = False
    count: int | None = None
    """How many rows there will be, where that is known."""
    platform: str = ""
    """Code of the platform that a catalogue speaks for."""

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the batches."""
        fields = [pa.field(column.name, ARROW[column.type]) for column in self.columns]
        if self.geometry_types:
            fields.append(pa.field(GEOMETRY, pa.binary()))
        return pa.schema(fields)

    @property
    def has_only_points(self) -> bool:
        """Tell whether every shape is a point, so that a table needs two numbers only."""
        return self.geometry_types == ("Point",)

    @property
    def crs(self) -> pyproj.CRS:
        """Return the CRS of the shapes, x before y."""
        return pyproj.CRS.from_user_input("OGC:CRS84" if self.srid == LONLAT else f"EPSG:{self.srid}")


Batches = Iterator[pa.RecordBatch]
Write = Callable[[Layout, Batches, Path], Iterator[bytes]]
"""Write all batches; yield the file in pieces. The folder is the writer's own, and goes afterwards."""


@dataclass(frozen=True)
class FileWriter:
    """One format that can be written."""

    media_type: str
    write: Write
    notes: Callable[[Layout], Sequence[str]] = field(default=lambda _layout: ())
    """What it cannot hold of this layout."""
    lonlat: bool = False
    """Knows longitude and latitude only."""
    kinds: tuple[str, ...] = ()
    """Layouts it is for; none: all."""


def parse_shapes(batch: pa.RecordBatch) -> NDArray[np.object_]:
    """Return the shapes of a batch."""
    found: NDArray[np.object_] = shapely.from_wkb(batch.column(GEOMETRY).to_numpy(zero_copy_only=False))
    return found


def format_column(array: pa.Array, kind: Type) -> pa.Array:
    """Return a column as a table has it: times and days as ISO 8601, the rest as it is."""
    if kind == "instant":
        plain = array.cast(pa.timestamp("us"))
        return pc.binary_join_element_wise(pc.strftime(plain, format="%Y-%m-%dT%H:%M:%S"), "Z", "")
    if kind == "day":
        return array.cast(pa.string())
    return array


_RISKY: Final = "^('*[=+\\-@\\t\\r])"
"""What a spreadsheet programme takes for a formula; apostrophes before it count, to be reversible."""


def guard_formulas(array: pa.Array) -> pa.Array:
    """Return text in which no cell is a formula: an apostrophe stands before what could be one."""
    return pc.replace_substring_regex(array, _RISKY, "'\\1")


def iter_file_blocks(path: Path, size: int = 1 << 18) -> Iterator[bytes]:
    """Yield a file in pieces."""
    with path.open("rb") as file:
        while piece := file.read(size):
            yield piece


def parse_json_lists(array: pa.Array) -> pa.Array:
    """Return lists of words that came as JSON text."""
    parsed = [None if text is None else orjson.loads(text) for text in array.to_pylist()]
    return pa.array(parsed, pa.list_(pa.string()))


def list_headers(layout: Layout, *types: Type) -> str:
    """Return the names of the columns of some types, for a sentence."""
    return ", ".join(column.header for column in layout.columns if column.type in types)
