"""CQL2 as it travels: text or JSON in, one tree of JSON out, bounded before anything reads it.

The parser of CQL2 text recurses on the machine's own stack, and a deep filter would end the process:
what it is given is measured first. The tree is that of CQL2 JSON in both cases.
"""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

import cql2
import orjson
import shapely
from shapely.errors import GEOSException
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from app.errors import BadQuery, InvalidShape
from app.geo.projection.reference_systems import Crs, boxes, to_lonlat
from app.instants import parse_day, parse_instant

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
_SHAPES: Final = frozenset({"point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "bbox"})
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


# The literals of a CQL2 tree: geometries, days and instants, checked before SQL sees them.

_DEPTH: Final = {
    "Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2,
    "MultiPolygon": 3,
}  # fmt: skip
When = date | datetime


def _position(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or not 2 <= len(value) <= 4:
        raise bad("A position of a geometry has two numbers, or three.")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise bad("A position of a geometry holds numbers only.")
        if not math.isfinite(number):
            raise bad("The coordinates of a geometry must be finite numbers.")
    return float(value[0]), float(value[1])


def _flat(value: Any, depth: int, count: list[int]) -> Any:
    """Return coordinates without heights, checked to be nested exactly ``depth`` deep."""
    if depth == 0:
        count[0] += 1
        if count[0] > MOST_VALUES:
            raise bad(f"The geometries of a filter may have {MOST_VALUES:,} vertices.", "filter-too-large")
        return _position(value)
    if not isinstance(value, list) or not value:
        raise bad("The coordinates of a geometry are empty, or nested wrongly for its type.")
    return [_flat(part, depth - 1, count) for part in value]


def _shape(value: Mapping[str, Any], count: list[int], depth: int = 0) -> BaseGeometry:
    kind = value.get("type")
    if kind == "GeometryCollection" and isinstance(value.get("geometries"), list) and depth < 4:
        parts = value["geometries"]
        if not all(isinstance(part, Mapping) for part in parts):
            raise bad("A GeometryCollection holds geometries.")
        return shapely.GeometryCollection([_shape(part, count, depth + 1) for part in parts])
    if not isinstance(kind, str) or kind not in _DEPTH:
        raise bad("The type of a geometry is not one of GeoJSON's.")
    coordinates = _flat(value.get("coordinates"), _DEPTH[kind], count)
    rings = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(kind, [])
    for ring in (ring for polygon in rings for ring in polygon):
        if len(ring) < 4 or ring[0] != ring[-1]:
            raise bad("A ring of a polygon has four positions or more and ends where it starts.")
    try:
        return shape({"type": kind, "coordinates": coordinates})
    except (ValueError, GEOSException) as error:
        raise bad(f"A geometry cannot be made: {error}.") from error


def _in_range(lonlat: BaseGeometry, crs: Crs) -> BaseGeometry:
    west, south, east, north = shapely.bounds(lonlat).tolist()
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        order = "latitude and longitude" if crs.swapped else "longitude and latitude"
        raise bad(f"A geometry lies outside the Earth: positions are {order} in {crs.uri}.")
    return lonlat


def geometry(value: Mapping[str, Any], crs: Crs, count: list[int]) -> BaseGeometry:
    """Return a geometry of the tree in longitude and latitude.

    Raises
    ------
    BadQuery
        when it is not a valid geometry, lies outside the Earth, or has too many vertices.
    """
    try:
        if "bbox" in value:
            return box(value["bbox"], crs)
        made = to_lonlat(_shape(value, count), crs)
    except InvalidShape as error:
        raise bad(error.detail) from error
    if not made.is_valid:
        raise bad(f"A geometry is not valid: {shapely.is_valid_reason(made)}.")
    return _in_range(made, crs)


def box(value: object, crs: Crs) -> BaseGeometry:
    """Return the area of a bounding box of four numbers, or of six with heights between."""
    if not isinstance(value, list) or len(value) not in (4, 6):
        raise bad("A bounding box has four numbers, or six.")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise bad("A bounding box holds numbers only.")
        if not math.isfinite(number):
            raise bad("The sides of a bounding box must be finite numbers.")
    sides = value if len(value) == 4 else [*value[:2], *value[3:5]]
    low_1, low_2, high_1, high_2 = (float(side) for side in sides)
    crossing_may_be = 1 if crs.swapped else 0
    for axis, (low, high) in enumerate(((low_1, high_1), (low_2, high_2))):
        if low > high and (crs.metric or axis != crossing_may_be):
            raise bad(f"A bounding box has its lower corner first: {low:g} is above {high:g}.")
    try:
        made = boxes((low_1, low_2, high_1, high_2), crs)
    except InvalidShape as error:
        raise bad(error.detail) from error
    return _in_range(made, crs)


def day(text: object) -> date:
    """Return a day of the calendar, written YYYY-MM-DD."""
    if (value := parse_day(text)) is None:
        raise bad(f"{_short(text)} is not a day, written YYYY-MM-DD.")
    return value


def instant(text: object) -> datetime:
    """Return an instant as in RFC 3339, in UTC."""
    if (value := parse_instant(text, complete=True)) is not None:
        with suppress(OverflowError):
            return value.astimezone(UTC)
    raise bad(f"{_short(text)} is not an instant, written as in 2026-01-31T08:00:00Z.")


def day_or_instant(text: object) -> When:
    """Return a day or an instant, whichever it is written as."""
    return day(text) if isinstance(text, str) and len(text) == 10 else instant(text)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:59] + "…"
