"""Items that carry their own names (XML elements, JSON objects) as a table.

Goes through the items twice, for the names and for the values, so that no value is lost and
memory stays flat; small files are kept after the first time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np

from app.formats.header import labels
from app.formats.model import Batch, Oddity
from app.formats.typed import values_text

KEPT_BYTES: Final = 8 << 20
"""Size of a file that is kept after the first pass."""


@dataclass(frozen=True, eq=False)
class Record:
    """One item; ``fault`` is the code and sentence of what is wrong with its form."""

    values: Mapping[str, Any]
    shape: Any = None
    fault: tuple[str, str] | None = None


@dataclass(eq=False)
class Gathered:
    """What the first pass found."""

    raw: tuple[str, ...]
    count: int
    shapes: bool
    again: Callable[[], Iterable[Record]]
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = labels(self.raw)

    def batches(self, rows: int) -> Iterator[Batch]:
        """Read the items as batches."""
        records, first = iter(self.again()), 1
        while part := list(islice(records, rows)):
            columns = {
                name: values_text([record.values.get(key) for record in part])
                for name, key in zip(self.names, self.raw, strict=True)
            }
            geometry = None
            if self.shapes:
                geometry = np.full(len(part), None, dtype=object)
                geometry[:] = [record.shape for record in part]
            odd = tuple(
                Oddity(first + at, *record.fault, severity="error")
                for at, record in enumerate(part)
                if record.fault is not None
            )
            row = np.arange(first, first + len(part), dtype=np.int64)
            yield Batch(row, columns, geometry, odd)
            first += len(part)


def gather(open_: Callable[[], Iterable[Record]], size: int) -> Gathered:
    """Go through items a first time; `size` is that of the file in bytes."""
    names: dict[str, None] = {}
    kept: list[Record] = []
    count, shapes, small = 0, False, size <= KEPT_BYTES
    for record in open_():
        count += 1
        names.update(dict.fromkeys(record.values))
        shapes = shapes or record.shape is not None
        if small:
            kept.append(record)
    return Gathered(tuple(names), count, shapes, (lambda: kept) if small else open_)
