"""Bytes put aside for a while: in memory while they are few, beyond that in a temporary file.

Promises that nobody else can open the file, and that a disk without room is told.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from app.errors import Invalid
from app.ingest.readers.model import Batch, FormatIssue
from app.ingest.values.shapes import Shapes

KEPT_BYTES: Final = 8 << 20
"""What is kept in memory."""
_ROOM: Final = 64 << 20


class SpillFile:
    """Parts in the order in which they were put aside."""

    def __init__(self) -> None:
        self._parts: list[bytes | tuple[int, int]] = []
        """Kept, or place and size in the file."""
        self._kept = self._written = 0
        self._file: IO[bytes] | None = None

    def add_chunk(self, part: bytes) -> None:
        """Put the next part aside.

        Raises
        ------
        Invalid
            ``unpacks-too-large``: there is no room for the temporary file.
        """
        if self._kept + len(part) <= KEPT_BYTES:
            self._kept += len(part)
            self._parts.append(part)
            return
        if shutil.disk_usage(tempfile.gettempdir()).free < _ROOM + len(part):
            raise Invalid("There is no room to unpack the file.", code="unpacks-too-large")
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="registry-file-")  # noqa: SIM115 - see close
        self._file.seek(self._written)
        self._file.write(part)
        self._parts.append((self._written, len(part)))
        self._written += len(part)

    def iter_chunks(self) -> Iterator[bytes]:
        """Yield what was put aside, from the beginning."""
        for part in self._parts:
            if isinstance(part, tuple) and self._file is not None:
                self._file.seek(part[0])
                yield self._file.read(part[1])
            elif isinstance(part, bytes):
                yield part

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._file is not None:
            self._file.close()


# Rows put aside between the pass that finds out a file's columns and the reading of its rows.
#
# Items that carry their own names tell all columns only at their end. Promises that such a file is
# parsed once and that memory stays flat: what the pass made is put aside as compressed Arrow
# (`app.ingest.readers.spill`).

ROWS: Final = 20_000
"""Rows that are put aside at a time, so many as are asked for by default."""
_TOGETHER: Final = 32 << 20
"""Bytes that are put aside at a time at most, of rows that are long."""
_SHAPES, _POINT, _ODD = "shapes", ("x", "y"), b"odd"


@contextmanager
def create_row_store() -> Iterator["RowStore"]:
    """Give a spool to fill, which is let go of when that fails.

    Raises
    ------
    Invalid
        ``too-deep``: a value cannot be written as text.
    """
    spool = RowStore()
    try:
        yield spool
        spool.flush()
    except RecursionError:
        spool.close()
        raise Invalid("A value of the file is nested too deeply.", code="too-deep") from None
    except BaseException:
        spool.close()
        raise


class RowStore:
    """Rows as columns of text, shapes and oddities; numbered from 1."""

    def __init__(self) -> None:
        self._shelf = SpillFile()
        self._places: dict[str | int, int] = {}
        self._pending: list[pa.RecordBatch] = []
        self._odd: list[FormatIssue] = []
        self._rows = self._bytes = 0
        """Rows and bytes that wait to be put aside together."""
        self.count = 0
        self.has_shapes = False
        """Whether any row has a shape."""

    @property
    def keys(self) -> tuple[str | int, ...]:
        """What the columns were put aside under, in the order in which they were met."""
        return tuple(self._places)

    def add_rows(
        self,
        count: int,
        columns: Mapping[Any, pa.StringArray],
        shapes: Shapes | None = None,
        points: NDArray[np.float64] | None = None,
        odd: Sequence[FormatIssue] = (),
    ) -> None:
        """Put the next rows aside.

        Parameters
        ----------
        count : int
            How many they are.
        columns : mapping of str or int to pyarrow.StringArray
            Cleaned text by what the column is called in the file.
        shapes : array of shapes, optional
            None for a row without one.
        points : (count, 2) array of float, optional
            Shapes that are points, NaN for a row that has none or another one.
        odd : sequence of Oddity
            What is wrong with them.

        Raises
        ------
        Invalid
            ``unpacks-too-large``: there is no room for the temporary file.
        """
        arrays = {str(self._places.setdefault(name, len(self._places))): column
                  for name, column in columns.items()}  # fmt: skip
        if shapes is not None:
            arrays[_SHAPES] = pa.array(shapely.to_wkb(shapes), pa.binary())
        if points is not None:
            for name, values in zip(_POINT, points.T, strict=True):
                arrays[name] = pa.array(values, pa.float64(), mask=np.isnan(values))
        self.has_shapes |= shapes is not None or points is not None
        # A row without any column is a row too.
        arrays["row"] = pa.nulls(count)
        batch = pa.RecordBatch.from_pydict(arrays)
        self._pending.append(batch)
        self._odd += odd
        self._rows += count
        self._bytes += batch.nbytes
        self.count += count
        if self._rows >= ROWS or self._bytes >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Put aside what waits for more rows."""
        if not self._rows:
            return
        tables = [pa.Table.from_batches([batch]) for batch in self._pending]
        (batch,) = pa.concat_tables(tables, promote_options="default").combine_chunks().to_batches()
        told = json.dumps([astuple(one) for one in self._odd])
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        batch = batch.replace_schema_metadata({_ODD: told})
        with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
            stream.write_batch(batch)
        self._shelf.add_chunk(sink.getvalue().to_pybytes())
        self._pending, self._odd, self._rows, self._bytes = [], [], 0, 0

    def iter_batches(self, rows: int, headers: Sequence[str], keys: Sequence[str | int]) -> Iterator[Batch]:
        """Read what was put aside, at most so many rows at a time, with a header for each key."""
        fields = [str(self._places[key]) for key in keys]
        first = 1
        for part in self._shelf.iter_chunks():
            with pa.ipc.open_stream(pa.py_buffer(part)) as stream:
                table = stream.read_next_batch()
            for begin in range(0, table.num_rows, rows):
                yield self._build_batch(table.slice(begin, rows), first + begin, headers, fields)
            first += table.num_rows

    def _build_batch(self, table: pa.RecordBatch, first: int, headers: Sequence[str], fields: Sequence[str]) -> Batch:
        count = table.num_rows
        there = set(table.schema.names)
        blank = pa.nulls(count, pa.string())
        cells = {
            name: table.column(field) if field in there else blank for name, field in zip(headers, fields, strict=True)
        }
        shapes = np.full(count, None, object) if self.has_shapes else None
        if shapes is not None and _SHAPES in there:
            shapes[:] = shapely.from_wkb(table.column(_SHAPES).to_numpy(zero_copy_only=False))
        if shapes is not None and _POINT[0] in there:
            x, y = (table.column(name).to_numpy(zero_copy_only=False) for name in _POINT)
            held = ~np.isnan(x)
            shapes[held] = shapely.points(x[held], y[held])
        odd = (FormatIssue(*one) for one in json.loads(table.schema.metadata[_ODD]))
        here = tuple(one for one in odd if first <= one.row < first + count)
        return Batch(np.arange(first, first + count, dtype=np.int64), cells, shapes, here)

    def close(self) -> None:
        """Let go of the temporary file."""
        self._shelf.close()
