"""Cells that must not be kept whatever their column is called.

Logins in addresses, pictures, structures with members that tell of people, images or logins; in free
text a password or a personal phone with the word for it beside. Names of columns are refused for the
whole file by the plan; this looks at what stands in the cells of columns with innocent names. Promises that such a cell is blanked before anybody sees it, and its row
refused. Costs a search for a few bytes in columns that have nothing of the kind.
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
_PICTURES: Final = (b"data:image/", b"/9j/4AA", b"iVBORw0KGgo")
_SHORTEST: Final = 30
"""Bytes of a cell that can be a picture."""
_STRUCTURE: Final = r"^\s*(?:\{|\[\s*\{)"
_NAMES: Final = re.compile(r'"(\w*)"\s*:')
_OF_SHAPES: Final = frozenset({"type", "coordinates", "geometries", "crs", "properties", "name", "bbox"})
"""Members of a geometry as GeoJSON, which may be long."""
_MESSAGE: Final = Message(
    "A cell holds a login or a picture; the registry holds equipment and places only. It is left out."
)
_TOLD: Final = (
    r"(?i)(?:密码|口令|password|passwd|pwd)\s*(?:[:：=为是]\s*\S|[A-Za-z0-9@#$!]{4})"
    r"|(?:电话|手机|联系|责任人|负责人|phone|mobile)[^0-9]{0,20}(?:86[- ]?)?1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4}(?:[^0-9]|$)"
    r"|身份证[^0-9]{0,9}[0-9]{17}[0-9Xx]"
)
"""A password, the phone or the identity number of a person, with the word that says so beside it."""
_REDACTED_WORDS: Final = tuple(word.encode() for word in ("密", "口令", "话", "手机", "联系", "责", "证"))
"""Short, as they are looked for in every cell; the pattern decides."""
_ASCII: Final = {
    sign: tuple(word for part in parts for word in (part, part.upper()))
    for sign, parts in ((b"w", (b"assword", b"asswd", b"pwd", b"Pwd")), (b"o", (b"hone", b"obile")))
}
"""Letter that a column of numbers and codes has not -> words with it."""


def redact_cells(batch: Batch, dropped: Collection[str]) -> Batch:
    """Return a batch without such cells, and its rows told as at fault.

    Parameters
    ----------
    dropped : collection of str
        Columns that are not read anyhow.
    """
    columns, odd = dict(batch.columns), list(batch.issues)
    for name, column in batch.columns.items():
        if name in dropped or column.null_count == len(column):
            continue
        rows = _found(column)
        if not len(rows):
            continue
        mask = np.zeros(len(column), dtype=bool)
        mask[rows] = True
        columns[name] = pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), column)
        odd += [FormatIssue(int(batch.row_numbers[at]), "forbidden-content", _MESSAGE, name, "error") for at in rows]
    return batch if len(odd) == len(batch.issues) else replace(batch, columns=columns, issues=tuple(odd))


def redact_personal_text(batch: Batch, dropped: Collection[str]) -> dict[int, list[str]]:
    """Blank the cells of a batch in which somebody has written of a login or a person, in place.

    Returns
    -------
    dict
        Place of the row to the columns of such cells.
    """
    found: dict[int, list[str]] = {}
    for name, column in batch.columns.items():
        if name in dropped or not _may_tell(column):
            continue
        rows = np.flatnonzero(_matching(column, _TOLD))
        for at in rows:
            found.setdefault(int(at), []).append(name)
        if len(rows):
            mask = np.zeros(len(column), dtype=bool)
            mask[rows] = True
            batch.columns[name] = pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), column)
    return found


def _may_tell(column: Any) -> bool:
    """Look for the words in all cells at once: in nearly all columns there is none of them."""
    _, places, data = column.buffers()
    if data is None or places is None:
        return False
    offsets = np.frombuffer(places, np.int32, len(column) + 1, column.offset * 4)
    content = memoryview(data)[offsets[0] : offsets[-1]].tobytes()
    for sign, words in _ASCII.items():
        if (sign in content or sign.upper() in content) and any(word in content for word in words):
            return True
    return not content.isascii() and any(word in content for word in _REDACTED_WORDS)


def _found(column: Any) -> Any:
    """Return the places of cells that must not be kept; most columns cost a look for two signs."""
    found = np.zeros(len(column), dtype=bool)
    _, places, data = column.buffers()
    if data is None or places is None:
        return np.flatnonzero(found)
    offsets = np.frombuffer(places, np.int32, len(column) + 1, column.offset * 4)
    content = memoryview(data)[offsets[0] : offsets[-1]].tobytes()
    if b"@" in content and b"://" in content:
        found |= _matching(column, _LOGIN)
    if np.diff(offsets).max() >= _SHORTEST and any(sign in content for sign in _PICTURES):
        found |= _matching(column, _PICTURE)
    if b"{" in content:
        for at in np.flatnonzero(_matching(column, _STRUCTURE)):
            found[at] |= _tells(column[int(at)].as_py())
    return np.flatnonzero(found)


def _matching(column: Any, pattern: str) -> Any:
    told = pc.fill_null(pc.match_substring_regex(column, pattern), False)
    return np.asarray(told.to_numpy(zero_copy_only=False), dtype=bool)


def _tells(text: str) -> bool:
    """Tell whether JSON text has a member of a forbidden name; what is no JSON has no members."""
    if text.startswith('{"type"') and set(_NAMES.findall(text)) <= _OF_SHAPES:
        return False
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if any(is_forbidden_name(str(name)) for name in one):
                return True
            left += one.values()
        elif isinstance(one, list):
            left += one
    return False
