"""Items that carry their own names (XML elements, JSON objects) as a table.

Goes through the items once and puts their values aside (`app.ingest.readers.spill`), so that no value is
lost and memory stays flat.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from app.ingest.readers.header_row import build_headers
from app.ingest.readers.model import Batch, DetectedFormat, FormatIssue, TableReader
from app.ingest.readers.spill import ROWS, RowStore, create_row_store
from app.ingest.values.shapes import Shapes
from app.ingest.values.typed_text import format_json_column

_NO_POINT: Final = (math.nan, math.nan)
_HELD: Final = 32 << 20
"""Bytes of the file whose items are held at a time."""


@dataclass(slots=True, eq=False)
class NamedItem:
    """One item; ``issue`` is the code and sentence of what is wrong with its form."""

    values: Mapping[str, Any]
    shape: BaseGeometry | tuple[float, float] | None = None
    """A shape, or the two finite coordinates of a point."""
    issue: tuple[str, str] | None = None
    severity: Literal["error", "warning"] = "error"
    size: int = 0
    """Bytes it takes in the file, where they may be many."""


@dataclass(eq=False)
class ItemTable:
    """What going through the items found."""

    spool: RowStore
    headers: tuple[str, ...] = field(init=False)
    """Headers of the columns."""
    count: int = field(init=False)
    has_shapes: bool = field(init=False)
    """Whether any item has a shape."""

    def __post_init__(self) -> None:
        self.headers = build_headers([str(key) for key in self.spool.keys])
        self.count, self.has_shapes = self.spool.count, self.spool.has_shapes

    def iter_batches(self, rows: int) -> Iterator[Batch]:
        """Read the items as batches."""
        return self.spool.iter_batches(rows, self.headers, self.spool.keys)

    def create_reader(self, detected: DetectedFormat) -> TableReader:
        """Return the items as a source."""
        source = TableReader(detected, self.headers, self.iter_batches)
        source.resources.callback(self.spool.close)
        return source


def collect_items(records: Iterable[NamedItem]) -> ItemTable:
    """Go through items."""
    with create_row_store() as spool:
        part: list[NamedItem] = []
        held = 0
        for record in records:
            part.append(record)
            held += record.size
            if len(part) == ROWS or held > _HELD:
                _spill_items(spool, part)
                part, held = [], 0
        if part:
            _spill_items(spool, part)
    return ItemTable(spool)


def _spill_items(spool: RowStore, part: list[NamedItem]) -> None:
    names: dict[str, None] = {}
    for record in part:
        names.update(dict.fromkeys(record.values))
    columns = {key: format_json_column([record.values.get(key) for record in part]) for key in names}
    odd = [
        FormatIssue(spool.count + 1 + at, *record.issue, severity=record.severity)
        for at, record in enumerate(part)
        if record.issue is not None
    ]
    spool.add_rows(len(part), columns, _build_shapes(part), _build_points(part), odd)


def _build_shapes(part: list[NamedItem]) -> Shapes | None:
    held = [record.shape if isinstance(record.shape, BaseGeometry) else None for record in part]
    if all(shape is None for shape in held):
        return None
    out: Shapes = np.full(len(part), None, dtype=object)
    out[:] = held
    return out


def _build_points(part: list[NamedItem]) -> NDArray[np.float64] | None:
    held = [record.shape if isinstance(record.shape, tuple) else None for record in part]
    if all(point is None for point in held):
        return None
    return np.array([_NO_POINT if point is None else point for point in held], np.float64)
