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

from app.ingest.readers.header_row import labels
from app.ingest.readers.model import Batch, Detected, Oddity, Opened
from app.ingest.readers.spill import ROWS, Spool, filling
from app.ingest.values.shapes import Shapes
from app.ingest.values.typed_text import values_text

_NO_POINT: Final = (math.nan, math.nan)
_HELD: Final = 32 << 20
"""Bytes of the file whose items are held at a time."""


@dataclass(slots=True, eq=False)
class Record:
    """One item; ``fault`` is the code and sentence of what is wrong with its form."""

    values: Mapping[str, Any]
    shape: BaseGeometry | tuple[float, float] | None = None
    """A shape, or the two finite coordinates of a point."""
    fault: tuple[str, str] | None = None
    severity: Literal["error", "warning"] = "error"
    size: int = 0
    """Bytes it takes in the file, where they may be many."""


@dataclass(eq=False)
class Gathered:
    """What going through the items found."""

    spool: Spool
    names: tuple[str, ...] = field(init=False)
    """Headers of the columns."""
    count: int = field(init=False)
    shapes: bool = field(init=False)
    """Whether any item has a shape."""

    def __post_init__(self) -> None:
        self.names = labels([str(key) for key in self.spool.keys])
        self.count, self.shapes = self.spool.count, self.spool.shapes

    def batches(self, rows: int) -> Iterator[Batch]:
        """Read the items as batches."""
        return self.spool.batches(rows, self.names, self.spool.keys)

    def opened(self, detected: Detected) -> Opened:
        """Return the items as a source."""
        source = Opened(detected, self.names, self.batches)
        source.closing.callback(self.spool.close)
        return source


def gather(records: Iterable[Record]) -> Gathered:
    """Go through items."""
    with filling() as spool:
        part: list[Record] = []
        held = 0
        for record in records:
            part.append(record)
            held += record.size
            if len(part) == ROWS or held > _HELD:
                _put(spool, part)
                part, held = [], 0
        if part:
            _put(spool, part)
    return Gathered(spool)


def _put(spool: Spool, part: list[Record]) -> None:
    names: dict[str, None] = {}
    for record in part:
        names.update(dict.fromkeys(record.values))
    columns = {key: values_text([record.values.get(key) for record in part]) for key in names}
    odd = [
        Oddity(spool.count + 1 + at, *record.fault, severity=record.severity)
        for at, record in enumerate(part)
        if record.fault is not None
    ]
    spool.put(len(part), columns, _shapes(part), _points(part), odd)


def _shapes(part: list[Record]) -> Shapes | None:
    held = [record.shape if isinstance(record.shape, BaseGeometry) else None for record in part]
    if all(shape is None for shape in held):
        return None
    out: Shapes = np.full(len(part), None, dtype=object)
    out[:] = held
    return out


def _points(part: list[Record]) -> NDArray[np.float64] | None:
    held = [record.shape if isinstance(record.shape, tuple) else None for record in part]
    if all(point is None for point in held):
        return None
    return np.array([_NO_POINT if point is None else point for point in held], np.float64)
