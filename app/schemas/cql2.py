"""CQL2 as it travels: text or JSON in, one tree of JSON out, bounded before anything reads it.

The parser of CQL2 text recurses on the machine's own stack, and a deep filter would end the process:
what it is given is measured first. The tree is that of CQL2 JSON in both cases.
"""

import re
from typing import Any, Final, Literal

import cql2
import orjson

from app.errors import BadQuery

Language = Literal["cql2-text", "cql2-json"]
LANGUAGES: Final[tuple[Language, ...]] = ("cql2-text", "cql2-json")

DEEPEST: Final = 32
"""Levels of brackets in a filter."""
MOST_PARTS: Final = 1000
"""Operators and functions in a filter."""
MOST_VALUES: Final = 10_000
"""Values in the lists of a filter, and vertices in its geometries."""

_TOKEN: Final = re.compile(
    r"""(?P<text>'(?:[^']|'')*+')
    |(?P<name>"(?:[^"]|"")*+"|[^\W\d][\w.:]*)
    |(?P<number>[0-9.][0-9.eE]*(?:(?<=[eE])[+-][0-9]+)?)
    |(?P<operator><>|<=|>=|[=<>+\-*/^%])
    |(?P<open>\()
    |(?P<close>\))
    |(?P<other>\S)""",
    re.VERBOSE,
)
_WORDS: Final = frozenset({"and", "or", "not", "like", "between", "in", "is", "div"})
_SHAPES: Final = frozenset(
    {"point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "bbox"}
)
_NUMBER: Final = r"[-+]?[0-9.]++(?:[eE][-+]?[0-9]++)?"
_COORDINATES: Final = re.compile(
    rf"\s*(?:Z\b)?\s*[(](?:[\s,()]|{_NUMBER}(?:\s++{_NUMBER}){{0,3}}+(?=\s*[,)]))*+", re.IGNORECASE
)
"""Positions of up to four numbers; nothing that could be read as arithmetic."""
_PLACE: Final = re.compile(r"--> (\d+):(\d+)")
_EXPECTED: Final = re.compile(r"= (.+)")


def bad(detail: str, code: str = "bad-filter") -> BadQuery:
    """Return the refusal of a filter."""
    return BadQuery(detail, parameter="filter", code=code)


def _too_large(what: str) -> BadQuery:
    return bad(f"The filter is too large: {what}.", "filter-too-large")


def parse(text: str, language: Language) -> Any:
    """Return the tree of a filter.

    Raises
    ------
    BadQuery
        when it cannot be read, with the place, or is too large.
    """
    if "\x00" in text:
        raise bad("The filter has a NUL character.")
    tree = _from_text(text) if language == "cql2-text" else _from_json(text)
    if tree is None:
        raise bad("The filter is null, and a condition is needed.")
    return tree


def _from_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad(f"The filter is not JSON: {error}.") from error


def _from_text(text: str) -> Any:
    _measure(text)
    try:
        return cql2.parse_text(text).to_json()
    except (cql2.ParseError, cql2.ValidationError) as error:
        raise bad(_told(str(error))) from error


def _told(said: str) -> str:
    """Return what the parser says, in one sentence."""
    place, expected = _PLACE.search(said), _EXPECTED.search(said)
    where = f" at line {place[1]}, column {place[2]}" if place else ""
    why = f": {expected[1]}" if expected else f": {said.strip()}" if not place else ""
    return f"The filter cannot be read{where}{why}."


def _measure(text: str) -> None:
    """Refuse a filter that is too deep or has too many parts; see the module for why."""
    depth = parts = 0
    position = 0
    while found := _TOKEN.search(text, position):
        position = found.end()
        kind, word = found.lastgroup, found[0].lower()
        if kind == "name" and word in _SHAPES:
            position = _after_coordinates(text, position)
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(depth - 1, 0)
        elif kind in ("operator", "name") and (kind == "operator" or word in _WORDS):
            parts += 1
        if depth > DEEPEST:
            raise _too_large(f"brackets are nested deeper than {DEEPEST} levels")
        if parts > MOST_PARTS:
            raise _too_large(f"it has more than {MOST_PARTS:,} operators")


def _after_coordinates(text: str, position: int) -> int:
    """Return where the coordinates of a geometry end, all brackets closed; they are counted apart."""
    found = _COORDINATES.match(text, position)
    if found is None:
        return position
    depth = 0
    for place in range(position, found.end()):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth > 4:
            raise _too_large("the brackets of a geometry are nested deeper than 4 levels")
        if depth == 0 and text[place] == ")":
            return place + 1
    return position
