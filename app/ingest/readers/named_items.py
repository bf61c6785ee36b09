"""Items that carry their own names (XML elements, JSON objects) as a table.

The items are read once and stored (`app.ingest.readers.spill`), so that no value is lost and memory does not grow.
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
from app.messages import Message

_NO_POINT: Final = (math.nan, math.nan)
_MAX_ITEM_BYTES: Final = 32 << 20
"""Bytes of the file whose items are in memory together."""


@dataclass(slots=True, eq=False)
class NamedItem:
    """One item of a file."""

    values: Mapping[str, Any]
    shape: BaseGeometry | tuple[float, float] | None = None
    """A shape, or the two finite coordinates of a point."""
    issue: tuple[str, Message] | None = None
    """Code and message of what is wrong with the form of the item."""
    severity: Literal["error", "warning"] = "error"
    size: int = 0
    """Bytes of the item in the file, if they may be many."""


@dataclass(eq=False)
class ItemTable:
    """All items of a file as a table."""

    store: RowStore
    headers: tuple[str, ...] = field(init=False)
    count: int = field(init=False)
    has_shapes: bool = field(init=False)
    """Whether any item has a shape."""

    def __post_init__(self) -> None:
        self.headers = build_headers([str(key) for key in self.store.keys])
        self.count, self.has_shapes = self.store.count, self.store.has_shapes

    def iter_batches(self, rows: int) -> Iterator[Batch]:
        """Yield the items as batches of at most so many rows."""
        return self.store.iter_batches(rows, self.headers, self.store.keys)

    def create_reader(self, detected: DetectedFormat) -> TableReader:
        """Return a reader of the items."""
        reader = TableReader(detected, self.headers, self.iter_batches)
        reader.resources.callback(self.store.close)
        return reader


def collect_items(items: Iterable[NamedItem]) -> ItemTable:
    """Read all items and store them."""
    with create_row_store() as store:
        pending: list[NamedItem] = []
        size = 0
        for item in items:
            pending.append(item)
            size += item.size
            if len(pending) == ROWS or size > _MAX_ITEM_BYTES:
                _store_items(store, pending)
                pending, size = [], 0
        if pending:
            _store_items(store, pending)
    return ItemTable(store)


def _store_items(store: RowStore, items: list[NamedItem]) -> None:
    names: dict[str, None] = {}
    for item in items:
        names.update(dict.fromkeys(item.values))
    columns = {name: format_json_column([item.values.get(name) for item in items]) for name in names}
    issues = [
        FormatIssue(store.count + 1 + index, *item.issue, severity=item.severity)
        for index, item in enumerate(items)
        if item.issue is not None
    ]
    store.add_rows(len(items), columns, _build_shapes(items), _build_points(items), issues)


def _build_shapes(items: list[NamedItem]) -> Shapes | None:
    values = [item.shape if isinstance(item.shape, BaseGeometry) else None for item in items]
    if all(shape is None for shape in values):
        return None
    shapes: Shapes = np.full(len(items), None, dtype=object)
    shapes[:] = values
    return shapes


def _build_points(items: list[NamedItem]) -> NDArray[np.float64] | None:
    points = [item.shape if isinstance(item.shape, tuple) else None for item in items]
    if all(point is None for point in points):
        return None
    return np.array([_NO_POINT if point is None else point for point in points], np.float64)
