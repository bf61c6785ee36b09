"""Temporary storage of chunks of bytes and of rows: in memory while they are few, else in a temporary file.

The file has no name, so no other program can open it. A full disk is an error of the file that is read.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from app.ingest.readers.archive import disk_full
from app.ingest.readers.model import Batch, FormatIssue, nested_too_deeply
from app.ingest.values.shapes import Shapes
from app.messages import Message

MAX_MEMORY_BYTES: Final = 8 << 20
_FREE_BYTES: Final = 64 << 20
"""Bytes that must stay free on the disk."""
ROWS: Final = 20_000
"""Rows of one chunk: as many as a batch has by default."""
_MAX_CHUNK_BYTES: Final = 32 << 20
_SHAPES, _POINT, _ISSUES = "shapes", ("x", "y"), b"issues"


class SpillFile:
    """Chunks of bytes in the order in which they were added."""

    def __init__(self) -> None:
        self._chunks: list[bytes | tuple[int, int]] = []
        """The chunk, or its offset and size in the file."""
        self._memory_bytes = self._file_bytes = 0
        self._file: IO[bytes] | None = None

    def add_chunk(self, chunk: bytes) -> None:
        """Add a chunk.

        Raises
        ------
        Invalid
            ``unpacks-too-large``: the disk has no space for the temporary file.
        """
        if self._memory_bytes + len(chunk) <= MAX_MEMORY_BYTES:
            self._memory_bytes += len(chunk)
            self._chunks.append(chunk)
            return
        if shutil.disk_usage(tempfile.gettempdir()).free < _FREE_BYTES + len(chunk):
            raise disk_full()
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="registry-file-")  # noqa: SIM115 - see close
        self._file.seek(self._file_bytes)
        self._file.write(chunk)
        self._chunks.append((self._file_bytes, len(chunk)))
        self._file_bytes += len(chunk)

    def iter_chunks(self) -> Iterator[bytes]:
        """Yield all chunks from the first on."""
        for chunk in self._chunks:
            if isinstance(chunk, tuple) and self._file is not None:
                self._file.seek(chunk[0])
                yield self._file.read(chunk[1])
            elif isinstance(chunk, bytes):
                yield chunk

    def close(self) -> None:
        """Delete the temporary file."""
        if self._file is not None:
            self._file.close()


@contextmanager
def create_row_store() -> Iterator["RowStore"]:
    """Yield a row store to fill; close it if that fails.

    Raises
    ------
    Invalid
        ``too-deep``: a value cannot be formatted as text.
    """
    store = RowStore()
    try:
        yield store
        store.flush()
    except RecursionError:
        store.close()
        raise nested_too_deeply() from None
    except BaseException:
        store.close()
        raise


class RowStore:
    """Rows as columns of text, shapes and issues, numbered from 1 and stored as compressed Arrow.

    Items that carry their own names (JSON, XML) show all columns only at the end of the file. The store holds the
    rows until then, so the file is parsed once and memory does not grow.
    """

    def __init__(self) -> None:
        self._spill = SpillFile()
        self._field_numbers: dict[str | int, int] = {}
        self._pending: list[pa.RecordBatch] = []
        self._issues: list[FormatIssue] = []
        self._pending_rows = self._pending_bytes = 0
        self.count = 0
        self.has_shapes = False
        """Whether any row has a shape."""

    @property
    def keys(self) -> tuple[str | int, ...]:
        """Keys of the columns, in the order in which they first occurred."""
        return tuple(self._field_numbers)

    def add_rows(
        self,
        count: int,
        columns: Mapping[Any, pa.StringArray],
        shapes: Shapes | None = None,
        points: NDArray[np.float64] | None = None,
        issues: Sequence[FormatIssue] = (),
    ) -> None:
        """Add rows.

        Parameters
        ----------
        count : int
            Number of rows.
        columns : mapping of str or int to pyarrow.StringArray
            Cleaned text by the key of the column.
        shapes : array of shapes, optional
            None in a row without a shape.
        points : (count, 2) array of float, optional
            Coordinates of shapes that are points, NaN in a row that has none or another shape.
        issues : sequence of FormatIssue
            Issues of these rows.

        Raises
        ------
        Invalid
            ``unpacks-too-large``: the disk has no space for the temporary file.
        """
        arrays = {
            str(self._field_numbers.setdefault(key, len(self._field_numbers))): column
            for key, column in columns.items()
        }
        if shapes is not None:
            arrays[_SHAPES] = pa.array(shapely.to_wkb(shapes), pa.binary())
        if points is not None:
            for name, values in zip(_POINT, points.T, strict=True):
                arrays[name] = pa.array(values, pa.float64(), mask=np.isnan(values))
        self.has_shapes |= shapes is not None or points is not None
        arrays["row"] = pa.nulls(count)  # a row without any column counts too
        batch = pa.RecordBatch.from_pydict(arrays)
        self._pending.append(batch)
        self._issues += issues
        self._pending_rows += count
        self._pending_bytes += batch.nbytes
        self.count += count
        if self._pending_rows >= ROWS or self._pending_bytes >= _MAX_CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store the rows that wait for more rows."""
        if not self._pending_rows:
            return
        tables = [pa.Table.from_batches([batch]) for batch in self._pending]
        (batch,) = pa.concat_tables(tables, promote_options="default").combine_chunks().to_batches()
        issues = json.dumps([_to_json(issue) for issue in self._issues])
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        batch = batch.replace_schema_metadata({_ISSUES: issues})
        with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
            stream.write_batch(batch)
        self._spill.add_chunk(sink.getvalue().to_pybytes())
        self._pending, self._issues, self._pending_rows, self._pending_bytes = [], [], 0, 0

    def iter_batches(self, rows: int, headers: Sequence[str], keys: Sequence[str | int]) -> Iterator[Batch]:
        """Yield the stored rows, at most so many at a time, with a header for each key."""
        fields = [str(self._field_numbers[key]) for key in keys]
        first = 1
        for chunk in self._spill.iter_chunks():
            with pa.ipc.open_stream(pa.py_buffer(chunk)) as stream:
                table = stream.read_next_batch()
            for begin in range(0, table.num_rows, rows):
                yield self._build_batch(table.slice(begin, rows), first + begin, headers, fields)
            first += table.num_rows

    def _build_batch(self, table: pa.RecordBatch, first: int, headers: Sequence[str], fields: Sequence[str]) -> Batch:
        count = table.num_rows
        names = set(table.schema.names)
        blank = pa.nulls(count, pa.string())
        columns = {
            header: table.column(field) if field in names else blank
            for header, field in zip(headers, fields, strict=True)
        }
        shapes = np.full(count, None, object) if self.has_shapes else None
        if shapes is not None and _SHAPES in names:
            shapes[:] = shapely.from_wkb(table.column(_SHAPES).to_numpy(zero_copy_only=False))
        if shapes is not None and _POINT[0] in names:
            x, y = (table.column(name).to_numpy(zero_copy_only=False) for name in _POINT)
            is_point = ~np.isnan(x)
            shapes[is_point] = shapely.points(x[is_point], y[is_point])
        stored = (_from_json(*values) for values in json.loads(table.schema.metadata[_ISSUES]))
        issues = tuple(issue for issue in stored if first <= issue.row < first + count)
        return Batch(np.arange(first, first + count, dtype=np.int64), columns, shapes, issues)

    def close(self) -> None:
        """Delete the temporary file."""
        self._spill.close()


def _to_json(issue: FormatIssue) -> list[Any]:
    return [issue.row, issue.code, issue.message.template, issue.message.parameters, issue.column, issue.severity]


def _from_json(row: int, code: str, template: str, parameters: dict[str, Any], *others: Any) -> FormatIssue:
    return FormatIssue(row, code, Message(template, **parameters), *others)
