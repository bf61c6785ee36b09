"""JSON values out of a text that may be larger than memory.

Promises whole numbers with all their digits, the line of a mistake, and memory for one value at a
time. Takes one value, a sequence of values (lines or record separators, RFC 8142 and RFC 7464),
or lists inside objects.
"""

import codecs
import json
import re
from collections.abc import Collection, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from app.errors import Invalid

# Whole objects at the head of a JSON text, found by their brackets and parsed one by one.
#
# Promises the values that the parser of the standard library gives. The fast parser reads whole
# numbers beyond 64 bits as doubles, so an object with a long one goes to the other; an object that
# neither reads is left to `app.ingest.readers.json.stream`, which says what is wrong.

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


LARGEST_VALUE: Final = 64 << 20
"""Characters of one value, for instance of one feature."""
_BLANK: Final = " \t\r\n\x1e\ufeff"
_ENOUGH: Final = 1 << 20
# An escape or a literal that is cut may be reported up to this far before the end of the text.
_CUT: Final = 12
# Members of these endings wrap lists, as in GA/T 1400.
_WRAPPERS: Final = ("list", "listobject", "list_object")
_HEAD: Final = ("crs", "type", "name")
_DECODER: Final = json.JSONDecoder()


class JsonStream:
    """A cursor in a JSON text that comes in blocks of UTF-8."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._line, self._ended = "", 0, 1, False
        self._before = 0
        """Characters of the line that were let go of."""
        self.head: dict[str, Any] = {}
        """Members met beside the lists, such as ``crs``."""
        self.passed = 0
        """About how many characters were gone through."""

    def items(self, lists: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Yield every object with the member name of the list it is in, "" for none.

        Parameters
        ----------
        lists : collection of str
            Names of members whose value is an object, or a list of objects, to be yielded; a
            member of another name that holds an object with such a member is looked into.

        Raises
        ------
        Invalid
            ``damaged-file``: not JSON, with the line; ``too-deep``: nested too deeply.
        """
        for name, values in self.runs(lists):
            for value in values:
                yield name, value

    def runs(self, lists: Collection[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield the same as `items`, as many objects of one list at a time as are at hand."""
        while sign := self._peek():
            if sign == "[":
                yield from self._elements("", lists)
            elif sign == "{":
                if objects := self._run():
                    for value in objects:
                        self._see(value)
                    yield from _unfolded("", objects, lists)
                else:
                    yield from self._object("", lists, depth=0)
            elif sign == ",":
                self._at += 1
            else:
                raise self._broken("an object or a list is expected")

    def _elements(self, name: str, lists: Collection[str]) -> Iterator[tuple[str, list[Any]]]:
        self._at += 1
        while (sign := self._peek()) != "]":
            if not sign:
                raise self._broken("the text ends inside a list")
            if sign == ",":
                self._at += 1
            else:
                objects = (self._run() if sign == "{" else []) or [self._value()]
                if name:
                    yield name, objects
                else:
                    yield from _unfolded("", objects, lists)
        self._at += 1

    def _run(self) -> list[Any]:
        """Return the whole objects at hand, none where the first has to be read patiently."""
        self._fill(_ENOUGH)
        raw = self._text[self._at : self._at + _ENOUGH].encode("utf-8")
        found, size = whole_objects(raw)
        self._at += len(raw[:size].decode("utf-8"))
        return found

    def _see(self, value: dict[str, Any]) -> None:
        self.head.update({key: value[key] for key in _HEAD if key in value})

    def _object(self, name: str, lists: Collection[str], depth: int) -> Iterator[tuple[str, list[Any]]]:
        self._fill(_ENOUGH)
        try:
            value, end = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            if self._ended or not self._incomplete(error):
                raise self._broken(error.msg, error.pos) from None
        except ValueError as error:  # a number of thousands of digits
            raise self._broken(str(error)) from None
        except RecursionError:
            raise _too_deep() from None
        else:
            self._at = end
            if name == "" and isinstance(value, dict):
                self._see(value)
            yield from _unfolded(name, [value], lists)
            return
        yield from self._members(lists, depth)

    def _members(self, lists: Collection[str], depth: int) -> Iterator[tuple[str, list[Any]]]:
        """Go through an object too large to be held: only its lists are."""
        if depth > 8:
            raise _too_deep()
        self._at += 1
        rest: dict[str, Any] = {}
        met = False
        while (sign := self._peek()) != "}":
            if sign == ",":
                self._at += 1
                continue
            if sign != '"':
                raise self._broken("a member name is expected")
            key = self._value()
            if self._peek() != ":":
                raise self._broken("a colon is expected")
            self._at += 1
            sign = self._peek()
            if sign == "[" and key in lists:
                met = True
                yield from self._elements(key, lists)
            elif sign == "{" and (key in lists or key.lower().endswith(_WRAPPERS)):
                met = True
                yield from self._object(key, lists, depth + 1)
            else:
                rest[key] = self._value()
        self._at += 1
        if met:
            self.head.update(rest)
        else:
            yield "", [rest]

    def _value(self) -> Any:
        wanted = _ENOUGH
        self._fill(wanted // 4)
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or not self._incomplete(error):
                    raise self._broken(error.msg, error.pos) from None
            except ValueError as error:  # a number of thousands of digits
                raise self._broken(str(error)) from None
            except RecursionError:
                raise _too_deep() from None
            else:
                # A number at the very end may go on.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            wanted *= 2
            if wanted > LARGEST_VALUE:
                raise self._broken(f"one value is longer than {LARGEST_VALUE >> 20} million signs")
            self._fill(wanted)

    def _incomplete(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _CUT

    def _peek(self) -> str:
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _BLANK:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if self._ended:
                return ""
            self._fill(1)

    def _fill(self, wanted: int) -> None:
        if len(self._text) - self._at >= wanted or self._ended:
            return
        self._line += self._text.count("\n", 0, self._at)
        self._before = self._column(self._at)
        self.passed += self._at
        parts = [self._text[self._at :]]
        have = len(parts[0])
        while have < wanted:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                break
            parts.append(self._decode.decode(block))
            have += len(parts[-1])
        self._text, self._at = "".join(parts), 0

    def _column(self, at: int) -> int:
        """Return how many characters of its line stand before a place of the text at hand."""
        begun = self._text.rfind("\n", 0, at)
        return at - begun - 1 if begun >= 0 else self._before + at

    def _broken(self, what: str, at: int | None = None) -> Invalid:
        place = self._at if at is None else at
        line = self._line + self._text.count("\n", 0, place)
        column = self._column(place) + 1
        ends = " The file seems to be cut off." if self._ended and place >= len(self._text) - 1 else ""
        return Invalid(
            f"The file is not valid JSON: {what[:1].lower()}{what[1:]}, line {line:,}, sign {column:,}.{ends}",
            code="damaged-file",
        )


def _unfolded(name: str, values: list[Any], lists: Collection[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yield runs of the objects of some that were read whole, what has no lists as it is."""
    for of, inner in groupby((found for value in values for found in _inside(name, value, lists)), itemgetter(0)):
        yield of, [value for _, value in inner]


def _inside(name: str, value: Any, lists: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield the objects of an object that was read whole."""
    if not isinstance(value, dict):
        yield name, value
        return
    met = False
    for key, member in value.items():
        if isinstance(member, list) and key in lists:
            met = True
            for one in member:
                yield key, one
        elif isinstance(member, dict) and (key in lists or key.lower().endswith(_WRAPPERS)):
            met = True
            yield from _inside(key, member, lists)
    if not met:
        yield name, value


def _too_deep() -> Invalid:
    return Invalid("The JSON is nested too deeply.", code="too-deep")
