"""Texts that do not fit into a field of a Shapefile: stored whole in a file of the zip, by number.

The field has the beginning of the text and a mark with the number (``...#12``), so that rows can be deleted, sorted and
edited in a GIS and still find their texts. A changed beginning is an issue: the intended text is not known.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from app.geo.arrays import Bools, Ints
from app.ingest.readers.model import FormatIssue
from app.ingest.values.text import clean_cell
from app.messages import Message

MEMBER: Final = "texts.jsonl"
MAX_FIELD_BYTES: Final = 254
_MARK: Final = "…#"
_MARKED: Final = f"{_MARK}[0-9]+$"
_MIN_MARKED_BYTES: Final = MAX_FIELD_BYTES - 24
"""Bytes of a field with a mark, at least."""
_BLOCK: Final = 1 << 20
_EDITED: Final = (
    "long-text-edited",
    Message("A text is too long for a Shapefile, and its beginning was changed. Change it in another format."),
)
_MISSING: Final = (
    "long-text-missing",
    Message("A long text is missing: the zip does not have {file} as it was exported. Add the file.", file=MEMBER),
)


def truncate_utf8(text: str, size: int) -> str:
    """Return the beginning of a text that fits into so many bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")


class LongTextWriter:
    """Stores texts that are too long, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MEMBER
        self.count = 0

    def shorten_texts(self, array: pa.Array) -> pa.Array:
        """Return a column whose texts fit into a field; longer texts are stored whole."""
        if not pa.types.is_string(array.type):
            return array
        size = pc.fill_null(pc.binary_length(array), 0)
        # A text that looks marked is stored too, so that it is read back as it is.
        long = np.flatnonzero(_to_mask(pc.greater(size, MAX_FIELD_BYTES)) | find_marked(array)).tolist()
        if not long:
            return array
        values = array.to_pylist()
        with self.path.open("ab") as file:
            for index in long:
                self.count += 1
                mark = f"{_MARK}{self.count}"
                file.write(orjson.dumps(values[index]) + b"\n")
                values[index] = truncate_utf8(values[index], MAX_FIELD_BYTES - len(mark.encode())) + mark
        return pa.array(values, pa.string())


class LongTexts:
    """The stored texts of a zip, read one at a time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offsets = np.array([0, *iter_line_ends(path)], np.int64) if path else np.zeros(1, np.int64)

    def restore_texts(
        self, name: str, column: pa.StringArray, row_numbers: Ints
    ) -> tuple[pa.StringArray, list[FormatIssue]]:
        """Return a column with whole texts, and issues of texts that are missing or changed."""
        marked = np.flatnonzero(find_marked(column)).tolist()
        if not marked:
            return column, []
        cells, issues = column.to_pylist(), []
        for index in marked:
            beginning, _, number = cells[index].rpartition(_MARK)
            text = clean_cell(self._read_text(int(number)))
            if text is not None and text.startswith(beginning):
                cells[index] = text
                continue
            code, message = _MISSING if text is None else _EDITED
            issues.append(FormatIssue(int(row_numbers[index]), code, message, name, "error"))
        return pa.array(cells, pa.string()), issues

    def _read_text(self, number: int) -> str | None:
        if self._path is None or not 0 < number < len(self._offsets):
            return None
        begin, end = (int(offset) for offset in self._offsets[number - 1 : number + 1])
        with self._path.open("rb") as file:
            file.seek(begin)
            line = file.read(end - begin)
        try:
            text = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        return text if isinstance(text, str) else None


def find_marked(column: pa.StringArray) -> Bools:
    """Return which texts end in a mark; most columns have no text of that length."""
    is_long = pc.greater_equal(pc.binary_length(column), _MIN_MARKED_BYTES)
    if not pc.any(is_long).as_py():
        return np.zeros(len(column), dtype=bool)
    return _to_mask(pc.and_(pc.match_substring_regex(column, _MARKED), is_long))


def _to_mask(flags: pa.BooleanArray) -> Bools:
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=bool)


def iter_line_ends(path: Path) -> Iterator[int]:
    """Yield the offsets at which lines end."""
    offset = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
            yield from (ends + offset + 1).tolist()
            offset += len(block)
