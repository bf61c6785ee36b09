"""Whole objects at the head of a JSON text, found by their brackets and parsed one by one.

Promises the values that the parser of the standard library gives. The fast parser reads whole
numbers beyond 64 bits as doubles, so an object with a long one goes to the other; an object that
neither reads is left to `app.formats.jsonstream`, which says what is wrong.
"""

import json
import re
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_BETWEEN: Final = b" \t\r\n,\x1e"
_QUOTE, _OPENING, _CLOSING, _CASE = 0x22, 0x7B, 0x7D, 0x20
_SAFE_DIGITS: Final = 18
"""Digits that every 64-bit number can have."""


def whole_objects(raw: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the objects that a text begins with, and how many bytes they take.

    Objects follow each other in a list or in a sequence; the text may end inside one.
    """
    plain = _ESCAPE.sub(b"__", raw) if b"\\" in raw else raw
    codes = np.frombuffer(plain, np.uint8)
    quotes = np.flatnonzero(codes == _QUOTE)
    ends = _ends(codes, quotes)
    long = np.zeros(len(ends), bool)
    within = np.searchsorted(ends, _long_numbers(codes, quotes), side="right")
    long[within[within < len(ends)]] = True
    found: list[dict[str, Any]] = []
    begin = 0
    for end, exact in zip(ends.tolist(), long.tolist(), strict=True):
        piece = raw[begin:end].strip(_BETWEEN)
        if not piece.startswith(b"{"):
            break
        try:
            found.append(_exactly(piece) if exact else orjson.loads(piece))
        except orjson.JSONDecodeError:
            try:
                found.append(_exactly(piece))
            except (ValueError, RecursionError):
                break
        except (ValueError, RecursionError):
            break
        begin = end
    return found, begin


def _exactly(piece: bytes) -> Any:
    return json.loads(piece.decode("utf-8"))


def _ends(codes: NDArray[np.uint8], quotes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where values end that are not inside of others, up to the end of their list."""
    folded = codes | _CASE  # brackets become braces
    places = np.flatnonzero((folded == _OPENING) | (folded == _CLOSING))
    places = places[np.searchsorted(quotes, places) % 2 == 0]
    steps = np.where(folded[places] == _OPENING, 1, -1)
    depth = np.cumsum(steps)
    beyond = np.flatnonzero(depth < 0)
    upto = beyond[0] if len(beyond) else len(places)
    ends: NDArray[np.intp] = places[:upto][depth[:upto] == 0] + 1
    return ends


def _long_numbers(codes: NDArray[np.uint8], quotes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return places in runs of digits outside strings that may be more than 64 bits can hold."""
    digit = (codes >= ord("0")) & (codes <= ord("9"))
    run, length = digit, 1
    while length <= _SAFE_DIGITS:
        step = min(length, _SAFE_DIGITS + 1 - length)
        run = run[:-step] & run[step:]
        length += step
    places = np.flatnonzero(run)
    outside: NDArray[np.intp] = places[np.searchsorted(quotes, places) % 2 == 0]
    return outside
