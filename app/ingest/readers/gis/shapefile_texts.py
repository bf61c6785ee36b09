"""Texts that do not fit into a field of a Shapefile: whole in a file of the zip, by number.

The field holds how the text begins and ends in a mark with the number (``...#12``), so that rows may be
deleted, sorted and edited in a GIS and still find their texts. A beginning that was edited is told: what
is meant cannot be known.
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

MEMBER: Final = "texts.jsonl"
LONGEST: Final = 254
"""Bytes of a field."""
_MARK: Final = "…#"
_MARKED: Final = f"{_MARK}[0-9]+$"
_SHORTEST: Final = LONGEST - 24
"""Bytes that a field with a mark has at least."""
_BLOCK: Final = 1 << 20
_EDITED: Final = (
    "long-text-edited",
    "A text is too long for a Shapefile, and the beginning that stands there was changed; change it in another format.",
)
_ABSENT: Final = (
    "long-text-missing",
    f"A text goes on in {MEMBER}, which is not in the zip as it was exported.",
)


def truncate_utf8(text: str, most: int) -> str:
    """Return as much of a text as fits into so many bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore")


class LongTextWriter:
    """Takes texts that are too long, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MEMBER
        self.count = 0

    def shorten_texts(self, array: pa.Array) -> pa.Array:
        """Return a column of text that fits; what does not is kept whole."""
        if not pa.types.is_string(array.type):
            return array
        size = pc.fill_null(pc.binary_length(array), 0)
        long = np.flatnonzero(_to_mask(pc.greater(size, LONGEST)) | find_marked(array)).tolist()
        if not long:
            return array
        values = array.to_pylist()
        with self.path.open("ab") as file:
            for at in long:
                self.count += 1
                mark = f"{_MARK}{self.count}"
                file.write(orjson.dumps(values[at]) + b"\n")
                values[at] = truncate_utf8(values[at], LONGEST - len(mark.encode())) + mark
        return pa.array(values, pa.string())


class LongTexts:
    """The whole texts of a zip, read one at a time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._begins = np.array([0, *iter_line_ends(path)], np.int64) if path else np.zeros(1, np.int64)

    def restore_texts(
        self, name: str, column: pa.StringArray, numbers: Ints
    ) -> tuple[pa.StringArray, list[FormatIssue]]:
        """Return a column with its texts whole, and what is wrong with those that are not.

        Parameters
        ----------
        numbers : int array
            Numbers of the records.
        """
        rows = np.flatnonzero(find_marked(column)).tolist()
        if not rows:
            return column, []
        cells, odd = column.to_pylist(), []
        for at in rows:
            begin, _, number = cells[at].rpartition(_MARK)
            text = clean_cell(self._read_text(int(number)))
            if text is not None and text.startswith(begin):
                cells[at] = text
                continue
            told = _ABSENT if text is None else _EDITED
            odd.append(FormatIssue(int(numbers[at]), *told, name, "error"))
        return pa.array(cells, pa.string()), odd

    def _read_text(self, number: int) -> str | None:
        if self._path is None or not 0 < number < len(self._begins):
            return None
        begin, end = (int(place) for place in self._begins[number - 1 : number + 1])
        with self._path.open("rb") as file:
            file.seek(begin)
            line = file.read(end - begin)
        try:
            text = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        return text if isinstance(text, str) else None


def find_marked(column: pa.StringArray) -> Bools:
    """Return where a text is as one that goes on elsewhere; most columns have none so long."""
    long = pc.greater_equal(pc.binary_length(column), _SHORTEST)
    if not pc.any(long).as_py():
        return np.zeros(len(column), dtype=bool)
    return _to_mask(pc.and_(pc.match_substring_regex(column, _MARKED), long))


def _to_mask(flags: pa.BooleanArray) -> Bools:
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=bool)


def iter_line_ends(path: Path) -> Iterator[int]:
    """Yield where lines end."""
    place = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
            yield from (ends + place + 1).tolist()
            place += len(block)
