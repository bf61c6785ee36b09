"""Redaction of cells that must not be stored, whatever the name of their column is.

These are logins in addresses, pictures, JSON with members about people, images or logins, and, in free text, a password
or a personal phone together with the word for it. Such a cell is removed before anything else sees it, and its row is an
error. (The names of columns are checked by the planner.) A column that has nothing of the kind costs a search for a few
bytes.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from app.ingest.readers.opening import Batch, FormatIssue
from app.ingest.values.forbidden_names import is_forbidden_name
from app.messages import Message

_LOGIN: Final = r"://[^/\s:@]*:[^/\s@]*@"
_PICTURE: Final = r"^(?:data:image/|/9j/4AA|iVBORw0KGgo)"
_PICTURE_STARTS: Final = (b"data:image/", b"/9j/4AA", b"iVBORw0KGgo")
_MIN_PICTURE_BYTES: Final = 30
"""Bytes of a cell that can be a picture."""
_STRUCTURE: Final = r"^\s*(?:\{|\[\s*\{)"
_MEMBER_NAMES: Final = re.compile(r'"(\w*)"\s*:')
_GEOJSON_MEMBERS: Final = frozenset({"type", "coordinates", "geometries", "crs", "properties", "name", "bbox"})
"""Members of a GeoJSON geometry, which may be too long to parse."""
_REDACTED: Final = Message(
    "The cell has a login or a picture. The registry holds equipment and places only, so the cell is removed."
)
_PERSONAL_TEXT: Final = (
    r"(?i)(?:密码|口令|password|passwd|pwd)\s*(?:[:：=为是]\s*\S|[A-Za-z0-9@#$!]{4})"
    r"|(?:电话|手机|联系|责任人|负责人|phone|mobile)[^0-9]{0,20}(?:86[- ]?)?1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4}(?:[^0-9]|$)"
    r"|身份证[^0-9]{0,9}[0-9]{17}[0-9Xx]"
)
"""A password, or the phone or identity number of a person, together with the word for it."""
_PERSONAL_WORDS: Final = tuple(word.encode() for word in ("密", "口令", "话", "手机", "联系", "责", "证"))
"""Parts of the words of the pattern: a column without them need not be matched."""
_ASCII_WORDS: Final = {
    sign: tuple(spelling for word in words for spelling in (word, word.upper()))
    for sign, words in ((b"w", (b"assword", b"asswd", b"pwd", b"Pwd")), (b"o", (b"hone", b"obile")))
}
"""Letter that columns of numbers and codes do not have, to the words with it."""


def redact_cells(batch: Batch, dropped: Collection[str]) -> Batch:
    """Return a batch without such cells, with an error for the row of each.

    Parameters
    ----------
    dropped : collection of str
        Columns that are not read.
    """
    columns, issues = dict(batch.columns), list(batch.issues)
    for name, column in batch.columns.items():
        if name in dropped or column.null_count == len(column):
            continue
        rows = _find_rows(column)
        if not len(rows):
            continue
        columns[name] = _remove_cells(column, rows)
        issues += [
            FormatIssue(int(batch.row_numbers[row]), "forbidden-content", _REDACTED, name, "error") for row in rows
        ]
    return batch if len(issues) == len(batch.issues) else replace(batch, columns=columns, issues=tuple(issues))


def redact_personal_text(batch: Batch, dropped: Collection[str]) -> dict[int, list[str]]:
    """Remove the cells of a batch with text about a login or a person, in place.

    Returns
    -------
    dict
        Index of the row to the columns of such cells.
    """
    removed: dict[int, list[str]] = {}
    for name, column in batch.columns.items():
        if name in dropped or not _has_personal_words(column):
            continue
        rows = np.flatnonzero(_match_pattern(column, _PERSONAL_TEXT))
        for row in rows.tolist():
            removed.setdefault(row, []).append(name)
        if len(rows):
            batch.columns[name] = _remove_cells(column, rows)
    return removed


def _remove_cells(column: Any, rows: Any) -> Any:
    is_removed = np.zeros(len(column), dtype=bool)
    is_removed[rows] = True
    return pc.if_else(pa.array(is_removed), pa.scalar(None, pa.string()), column)


def _has_personal_words(column: Any) -> bool:
    """Return whether the bytes of a column have one of the words; nearly all columns have none."""
    content, offsets = _read_buffers(column)
    if not content or offsets is None:
        return False
    for sign, words in _ASCII_WORDS.items():
        if (sign in content or sign.upper() in content) and any(word in content for word in words):
            return True
    return not content.isascii() and any(word in content for word in _PERSONAL_WORDS)


def _read_buffers(column: Any) -> tuple[bytes, Any]:
    """Return the text of all cells as bytes, and where each begins; no offsets if there is no text."""
    _, offset_buffer, data = column.buffers()
    if data is None or offset_buffer is None:
        return b"", None
    offsets = np.frombuffer(offset_buffer, np.int32, len(column) + 1, column.offset * 4)
    return memoryview(data)[offsets[0] : offsets[-1]].tobytes(), offsets


def _find_rows(column: Any) -> Any:
    """Return the rows of a column with a login, a picture or JSON about people."""
    is_refused = np.zeros(len(column), dtype=bool)
    content, offsets = _read_buffers(column)
    if offsets is None:
        return np.flatnonzero(is_refused)
    if b"@" in content and b"://" in content:
        is_refused |= _match_pattern(column, _LOGIN)
    if np.diff(offsets).max() >= _MIN_PICTURE_BYTES and any(sign in content for sign in _PICTURE_STARTS):
        is_refused |= _match_pattern(column, _PICTURE)
    if b"{" in content:
        for row in np.flatnonzero(_match_pattern(column, _STRUCTURE)).tolist():
            is_refused[row] |= _has_forbidden_member(column[row].as_py())
    return np.flatnonzero(is_refused)


def _match_pattern(column: Any, pattern: str) -> Any:
    matches = pc.fill_null(pc.match_substring_regex(column, pattern), False)
    return np.asarray(matches.to_numpy(zero_copy_only=False), dtype=bool)


def _has_forbidden_member(text: str) -> bool:
    """Return whether JSON text has a member with a forbidden name; other text has no members."""
    if text.startswith('{"type"') and set(_MEMBER_NAMES.findall(text)) <= _GEOJSON_MEMBERS:
        return False
    try:
        remaining = [orjson.loads(text)]
    except orjson.JSONDecodeError:
        return False
    while remaining:
        value = remaining.pop()
        if isinstance(value, dict):
            if any(is_forbidden_name(str(name)) for name in value):
                return True
            remaining += value.values()
        elif isinstance(value, list):
            remaining += value
    return False
