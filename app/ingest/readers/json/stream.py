"""JSON values from a text that may be larger than memory: one value, a sequence of values, or lists inside objects.

Whole numbers keep all their digits, an error gives its line and character, and memory holds about one value at a
time. Values of a sequence may be separated by blanks, line ends, commas or record separators (RFC 8142, RFC 7464).

The parser of the standard library decides what is valid JSON. orjson only parses objects faster: what it rejects,
and what it would read with other digits, goes to the standard parser (docs/adr/0019-readers-compared.md).
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
from app.messages import Message

LARGEST_VALUE: Final = 64 << 20
"""Characters of one value, for example of one feature."""
_CHUNK: Final = 1 << 20
"""Characters that are parsed together."""
_BLANKS: Final = " \t\r\n\x1e\ufeff"
_SEPARATORS: Final = b" \t\r\n,\x1e"
_LONGEST_TOKEN: Final = 12
"""The parser reports a cut escape or literal up to this far before the end of the text."""
_CUT_TOKEN: Final = re.compile(r"\s*|tr?u?|fa?l?s?|nu?l?|[.eE][+-]?|-|\\?u?[0-9a-fA-F]{0,3}")
"""What remains at an error if the text ends too early."""
_MOST_NESTED: Final = 8
_LIST_SUFFIXES: Final = ("list", "listobject", "list_object")
"""Endings of members that wrap lists in GA/T 1400, lower case."""
_HEAD_MEMBERS: Final = ("crs", "type", "name")
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_QUOTE, _OPENING, _CLOSING, _CASE = 0x22, 0x7B, 0x7D, 0x20
_SAFE_DIGITS: Final = 18
"""Digits that every 64-bit integer can have."""
_DECODER: Final = json.JSONDecoder()


class JsonStream:
    """A cursor in a JSON text that arrives in blocks of UTF-8."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._offset, self._is_last = "", 0, False
        self._line, self._line_prefix = 1, 0
        """Line in which the buffered text begins, and the characters of that line before it."""
        self.head: dict[str, Any] = {}
        """Members of the outer object next to its lists, such as ``crs``."""
        self.consumed = 0
        """About how many characters have been parsed."""

    def iter_items(self, lists: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Yield every object with the name of the member that lists it, "" if there is none.

        Parameters
        ----------
        lists : collection of str
            Names of members whose value is an object, or a list of objects, to yield. An object in a member of
            another name is searched for these members if that name ends like a list of GA/T 1400.

        Raises
        ------
        Invalid
            ``damaged-file``: not JSON, with the line; ``too-deep``: nested too deeply.
        """
        for name, values in self.iter_runs(lists):
            for value in values:
                yield name, value

    def iter_runs(self, lists: Collection[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield the same as `iter_items`, consecutive objects of one list together."""
        while sign := self._skip_blanks():
            if sign == "[":
                yield from self._iter_list("", lists)
            elif sign == ",":
                self._offset += 1
            elif sign != "{":
                raise self._syntax_error(Message("an object or a list is expected"))
            elif objects := self._parse_objects():
                for value in objects:
                    self._add_head(value)
                yield from _unfold_lists("", objects, lists)
            else:
                yield from self._iter_object("", lists, depth=0)

    def _iter_list(self, name: str, lists: Collection[str]) -> Iterator[tuple[str, list[Any]]]:
        self._offset += 1
        while (sign := self._skip_blanks()) != "]":
            if not sign:
                raise self._syntax_error(Message("the text ends inside a list"))
            if sign == ",":
                self._offset += 1
                continue
            values = (self._parse_objects() if sign == "{" else []) or [self._parse_value()]
            if name:
                yield name, values
            else:
                yield from _unfold_lists("", values, lists)
        self._offset += 1

    def _iter_object(self, name: str, lists: Collection[str], depth: int) -> Iterator[tuple[str, list[Any]]]:
        """Yield the objects listed in one object: parsed whole if it is short, else member by member."""
        self._fill_buffer(_CHUNK)
        is_whole, value = self._try_value()
        if not is_whole:
            yield from self._iter_members(name, lists, depth)
            return
        if depth == 0:
            self._add_head(value)
        yield from _unfold_lists(name, [value], lists)

    def _iter_members(self, name: str, lists: Collection[str], depth: int) -> Iterator[tuple[str, list[Any]]]:
        if depth > _MOST_NESTED:
            raise _nested_too_deeply()
        self._offset += 1
        members: dict[str, Any] = {}
        has_lists = False
        while (sign := self._skip_blanks()) != "}":
            if sign == ",":
                self._offset += 1
                continue
            if sign != '"':
                raise self._syntax_error(Message("a member name is expected"))
            key = self._parse_value()
            if self._skip_blanks() != ":":
                raise self._syntax_error(Message("a colon is expected"))
            self._offset += 1
            sign = self._skip_blanks()
            if sign == "[" and key in lists:
                has_lists = True
                yield from self._iter_list(key, lists)
            elif sign == "{" and _may_have_lists(key, lists):
                has_lists = True
                yield from self._iter_object(key, lists, depth + 1)
            else:
                members[key] = self._parse_value()
        self._offset += 1
        if has_lists:
            self.head.update(members)
        else:
            yield name, [members]

    def _parse_objects(self) -> list[Any]:
        """Return the whole objects in the buffered text; none if the first one needs the standard parser."""
        self._fill_buffer(_CHUNK)
        raw = self._text[self._offset : self._offset + _CHUNK].encode("utf-8")
        objects, size = parse_whole_objects(raw)
        self._offset += len(raw[:size].decode("utf-8"))
        return objects

    def _parse_value(self) -> Any:
        size = _CHUNK
        self._fill_buffer(size // 4)
        while True:
            is_whole, value = self._try_value()
            if is_whole:
                return value
            size *= 2
            if size > LARGEST_VALUE:
                raise self._syntax_error(
                    Message("one value is longer than {most} million characters", most=LARGEST_VALUE >> 20)
                )
            self._fill_buffer(size)

    def _try_value(self) -> tuple[bool, Any]:
        """Return whether the buffered text has the whole next value, and the value."""
        try:
            value, end = _DECODER.raw_decode(self._text, self._offset)
        except json.JSONDecodeError as error:
            is_cut = error.msg.startswith("Unterminated string")
            if not self._is_last and (is_cut or error.pos >= len(self._text) - _LONGEST_TOKEN):
                return False, None
            is_cut = is_cut or _CUT_TOKEN.fullmatch(self._text, error.pos) is not None
            reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
            raise self._syntax_error(reason, error.pos, is_cut=is_cut) from None
        except ValueError:  # the standard library limits the digits of an integer
            raise self._syntax_error(Message("a number has thousands of digits")) from None
        except RecursionError:
            raise _nested_too_deeply() from None
        if end == len(self._text) and not self._is_last and self._text[end - 1] not in '}]"':
            return False, None  # a number may go on
        self._offset = end
        return True, value

    def _add_head(self, value: Any) -> None:
        if isinstance(value, dict):
            self.head.update({name: value[name] for name in _HEAD_MEMBERS if name in value})

    def _skip_blanks(self) -> str:
        """Return the next character that is not blank, "" at the end of the text."""
        while True:
            text, offset = self._text, self._offset
            while offset < len(text) and text[offset] in _BLANKS:
                offset += 1
            self._offset = offset
            if offset < len(text):
                return text[offset]
            if self._is_last:
                return ""
            self._fill_buffer(1)

    def _fill_buffer(self, size: int) -> None:
        """Buffer at least so many characters, fewer at the end of the text."""
        if len(self._text) - self._offset >= size or self._is_last:
            return
        self._line += self._text.count("\n", 0, self._offset)
        self._line_prefix = self._count_line_characters(self._offset)
        self.consumed += self._offset
        pieces = [self._text[self._offset :]]
        length = len(pieces[0])
        while length < size:
            block = next(self._blocks, None)
            if block is None:
                self._is_last = True
                break
            pieces.append(self._decoder.decode(block))
            length += len(pieces[-1])
        self._text, self._offset = "".join(pieces), 0

    def _count_line_characters(self, offset: int) -> int:
        """Return how many characters of its line come before an offset of the buffered text."""
        line_end = self._text.rfind("\n", 0, offset)
        return offset - line_end - 1 if line_end >= 0 else self._line_prefix + offset

    def _syntax_error(self, reason: str, offset: int | None = None, *, is_cut: bool = False) -> Invalid:
        offset = self._offset if offset is None else offset
        parameters = {
            "reason": reason,
            "line": self._line + self._text.count("\n", 0, offset),
            "column": self._count_line_characters(offset) + 1,
        }
        message = Message("The file is not valid JSON: {reason}, line {line:,}, character {column:,}.", **parameters)
        if is_cut or offset >= len(self._text):
            message = Message("{message} The file seems to be cut off.", message=message)
        return Invalid(message, code="damaged-file")


def parse_whole_objects(raw: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the objects that a text begins with, and how many bytes they take.

    The objects follow each other in a list or in a sequence. The text may end inside an object.
    """
    without_escapes = _ESCAPE.sub(b"__", raw) if b"\\" in raw else raw
    codes = np.frombuffer(without_escapes, np.uint8)
    quotes = np.flatnonzero(codes == _QUOTE)
    ends = find_value_ends(codes, quotes)
    # orjson reads integers beyond 64 bits as doubles: an object with a long one goes to the standard parser.
    has_long_number = np.zeros(len(ends), bool)
    owners = np.searchsorted(ends, find_long_numbers(codes, quotes), side="right")
    has_long_number[owners[owners < len(ends)]] = True
    if len(ends) and not has_long_number.any():
        together = _parse_list(raw[: int(ends[-1])], len(ends))
        if together is not None:
            return together, int(ends[-1])
    objects: list[dict[str, Any]] = []
    begin = 0
    for end, is_long in zip(ends.tolist(), has_long_number.tolist(), strict=True):
        piece = raw[begin:end].strip(_SEPARATORS)
        if not piece.startswith(b"{"):
            break
        try:
            objects.append(_parse_object(piece, is_long))
        except (ValueError, RecursionError):
            break
        begin = end
    return objects, begin


def _parse_list(raw: bytes, count: int) -> list[dict[str, Any]] | None:
    """Return objects that are separated by commas, None if anything else is between them."""
    try:
        values = orjson.loads(b"[" + raw + b"]")
    except orjson.JSONDecodeError:
        return None
    return values if len(values) == count and all(type(value) is dict for value in values) else None


def _parse_object(piece: bytes, has_long_number: bool) -> Any:
    if not has_long_number:
        try:
            return orjson.loads(piece)
        except orjson.JSONDecodeError:
            pass  # NaN and half characters are valid for the standard parser only
    return json.loads(piece.decode("utf-8"))


def find_value_ends(codes: NDArray[np.uint8], quotes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the offsets at which objects and lists of the outermost level end, up to the end of their list."""
    folded = codes | _CASE  # brackets become braces
    offsets = np.flatnonzero((folded == _OPENING) | (folded == _CLOSING))
    offsets = offsets[np.searchsorted(quotes, offsets) % 2 == 0]
    depth = np.cumsum(np.where(folded[offsets] == _OPENING, 1, -1))
    beyond = np.flatnonzero(depth < 0)
    count = beyond[0] if len(beyond) else len(offsets)
    ends: NDArray[np.intp] = offsets[:count][depth[:count] == 0] + 1
    return ends


def find_long_numbers(codes: NDArray[np.uint8], quotes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return offsets in runs of digits outside strings that may not fit into 64 bits."""
    run, length = (codes >= ord("0")) & (codes <= ord("9")), 1
    while length <= _SAFE_DIGITS:
        step = min(length, _SAFE_DIGITS + 1 - length)
        run = run[:-step] & run[step:]
        length += step
    offsets = np.flatnonzero(run)
    outside: NDArray[np.intp] = offsets[np.searchsorted(quotes, offsets) % 2 == 0]
    return outside


def _may_have_lists(name: str, lists: Collection[str]) -> bool:
    return name in lists or name.lower().endswith(_LIST_SUFFIXES)


def _unfold_lists(name: str, values: list[Any], lists: Collection[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the objects listed in values that were parsed whole; a value without such lists as it is."""
    listed = (item for value in values for item in _iter_listed(name, value, lists))
    for list_name, items in groupby(listed, itemgetter(0)):
        yield list_name, [item for _, item in items]


def _iter_listed(name: str, value: Any, lists: Collection[str]) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    has_lists = False
    for key, member in value.items():
        if isinstance(member, list) and key in lists:
            has_lists = True
            for item in member:
                yield key, item
        elif isinstance(member, dict) and _may_have_lists(key, lists):
            has_lists = True
            yield from _iter_listed(key, member, lists)
    if not has_lists:
        yield name, value


def _nested_too_deeply() -> Invalid:
    return Invalid(Message("The JSON is nested too deeply. Send flatter objects."), code="too-deep")
