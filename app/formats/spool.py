"""Rows put aside between the pass that finds out a file's columns and the reading of its rows.

Items that carry their own names tell all columns only at their end. Promises that such a file is
parsed once and that memory stays flat: what the pass made is kept as compressed Arrow, in memory
while it is small, beyond that in a temporary file that nobody else can open.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import IO, Final

import numpy as np
import pyarrow as pa
import shapely

from app.errors import Invalid
from app.formats.header import labels
from app.formats.model import Batch, Oddity
from app.formats.shapes import Shapes

ROWS: Final = 20_000
"""Rows that are put aside at a time, so many as are asked for by default."""
KEPT_BYTES: Final = 8 << 20
"""What is kept in memory."""
_ROOM: Final = 64 << 20
_SHAPES, _ODD = "shapes", b"odd"


class Spool:
    """Rows as columns of text, shapes and oddities; numbered from 1."""

    def __init__(self) -> None:
        self._parts: list[pa.Buffer | tuple[int, int]] = []
        """What was put aside: kept, or place and size in the file."""
        self._kept = self._written = 0
        self._file: IO[bytes] | None = None
        self._places: dict[str, int] = {}
        self.count = 0
        self.shapes = False
        """Whether any row has a shape."""

    @property
    def raw(self) -> tuple[str, ...]:
        """Names as they stand in the file, in the order in which they were met."""
        return tuple(self._places)

    def put(
        self,
        count: int,
        columns: Mapping[str, pa.StringArray],
        shapes: Shapes | None = None,
        odd: Sequence[Oddity] = (),
    ) -> None:
        """Put the next rows aside.

        Raises
        ------
        Invalid
            ``unpacks-too-large``: there is no room for the temporary file.
        """
        arrays = {str(self._places.setdefault(name, len(self._places))): column
                  for name, column in columns.items()}  # fmt: skip
        if shapes is not None and any(shape is not None for shape in shapes):
            self.shapes = True
            arrays[_SHAPES] = pa.array(shapely.to_wkb(shapes), pa.binary())
        # A row without any column is a row too.
        arrays["row"] = pa.nulls(count)
        batch = pa.RecordBatch.from_pydict(
            arrays, metadata={_ODD: json.dumps([astuple(one) for one in odd])}
        )
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
            stream.write_batch(batch)
        self._keep(sink.getvalue())
        self.count += count

    def _keep(self, packed: pa.Buffer) -> None:
        if self._kept + packed.size <= KEPT_BYTES:
            self._kept += packed.size
            self._parts.append(packed)
            return
        if shutil.disk_usage(tempfile.gettempdir()).free < _ROOM + packed.size:
            raise Invalid("There is no room to unpack the file.", code="unpacks-too-large")
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="registry-file-")  # noqa: SIM115 - see close
        self._file.seek(self._written)
        self._file.write(packed)
        self._parts.append((self._written, packed.size))
        self._written += packed.size

    def _unpacked(self, part: pa.Buffer | tuple[int, int]) -> pa.RecordBatch:
        if isinstance(part, tuple) and self._file is not None:
            self._file.seek(part[0])
            part = pa.py_buffer(self._file.read(part[1]))
        with pa.ipc.open_stream(part) as stream:
            return stream.read_next_batch()

    def batches(self, rows: int, order: Sequence[str] | None = None) -> Iterator[Batch]:
        """Read what was put aside, with the columns in another order than `raw` where one is given."""
        order = self.raw if order is None else order
        names = labels(order)
        fields = [str(self._places[name]) for name in order]
        first = 1
        for part in self._parts:
            table = self._unpacked(part)
            for begin in range(0, table.num_rows, rows):
                yield self._batch(table.slice(begin, rows), first + begin, names, fields)
            first += table.num_rows

    def _batch(
        self, table: pa.RecordBatch, first: int, names: Sequence[str], fields: Sequence[str]
    ) -> Batch:
        count = table.num_rows
        there = set(table.schema.names)
        blank = pa.nulls(count, pa.string())
        cells = {
            name: table.column(field) if field in there else blank
            for name, field in zip(names, fields, strict=True)
        }
        shapes = np.full(count, None, object) if self.shapes else None
        if _SHAPES in there:
            shapes = np.asarray(shapely.from_wkb(table.column(_SHAPES).to_numpy(False)), object)
        odd = (Oddity(*one) for one in json.loads(table.schema.metadata[_ODD]))
        here = tuple(one for one in odd if first <= one.row < first + count)
        return Batch(np.arange(first, first + count, dtype=np.int64), cells, shapes, here)

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._file is not None:
            self._file.close()
