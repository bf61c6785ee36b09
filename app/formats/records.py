"""Items that carry their own names (XML elements, JSON objects) as a table.

Goes through the items once and puts their values aside (`app.formats.spool`), so that no value is
lost and memory stays flat.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from app.formats.header import labels
from app.formats.model import Batch, Detected, Oddity, Opened
from app.formats.shapes import Shapes
from app.formats.spool import ROWS, Spool
from app.formats.typed import values_text

_HELD: Final = 32 << 20
"""Bytes of the file whose items are held at a time."""


@dataclass(slots=True, eq=False)
class Record:
    """One item; ``fault`` is the code and sentence of what is wrong with its form."""

    values: Mapping[str, Any]
    shape: BaseGeometry | tuple[float, float] | None = None
    """A shape, or the two coordinates of a point."""
    fault: tuple[str, str] | None = None
    size: int = 0
    """Bytes it takes in the file, where they may be many."""


@dataclass(eq=False)
class Gathered:
    """What going through the items found."""

    spool: Spool

    @property
    def names(self) -> tuple[str, ...]:
        """Headers of the columns."""
        return labels(self.spool.raw)

    @property
    def count(self) -> int:
        """Items."""
        return self.spool.count

    @property
    def shapes(self) -> bool:
        """Whether any item has a shape."""
        return self.spool.shapes

    def batches(self, rows: int) -> Iterator[Batch]:
        """Read the items as batches."""
        return self.spool.batches(rows)

    def opened(self, detected: Detected) -> Opened:
        """Return the items as a source."""
        source = Opened(detected, self.names, self.batches)
        source.closing.callback(self.spool.close)
        return source


def gather(records: Iterable[Record]) -> Gathered:
    """Go through items."""
    spool = Spool()
    try:
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
    except BaseException:
        spool.close()
        raise
    return Gathered(spool)


def _put(spool: Spool, part: list[Record]) -> None:
    names: dict[str, None] = {}
    for record in part:
        names.update(dict.fromkeys(record.values))
    columns = {key: values_text([record.values.get(key) for record in part]) for key in names}
    odd = [
        Oddity(spool.count + 1 + at, *record.fault, severity="error")
        for at, record in enumerate(part)
        if record.fault is not None
    ]
    spool.put(len(part), columns, _shapes(part), odd)


def _shapes(part: list[Record]) -> Shapes | None:
    held = [record.shape for record in part]
    out: Shapes = np.full(len(part), None, dtype=object)
    points = [at for at, shape in enumerate(held) if isinstance(shape, tuple)]
    if points:
        out[points] = shapely.points(np.array([held[at] for at in points], np.float64))
    others = [at for at, shape in enumerate(held) if isinstance(shape, BaseGeometry)]
    for at in others:
        out[at] = held[at]
    return out if points or others else None
