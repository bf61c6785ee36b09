"""CQL2 filters: parse text or JSON to a tree of CQL2 JSON, and parse its literals.

The parser of CQL2 text recurses on the stack of the process, and a deeply nested filter would crash it. So the depth
and the size of a text are checked before it is parsed.
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
from app.geo.projection.reference_systems import Crs, geometry_to_lonlat, parse_bbox
from app.instants import parse_day, parse_instant
from app.messages import Message

Language = Literal["cql2-text", "cql2-json"]
LANGUAGES: Final[tuple[Language, ...]] = ("cql2-text", "cql2-json")

MAX_DEPTH: Final = 32
"""Levels of brackets in a filter."""
MAX_OPERANDS: Final = 1000
"""Operators and functions in a filter."""
MAX_VALUES: Final = 10_000
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
_POSITION: Final = re.compile(r"--> (\d+):(\d+)")
_EXPECTED: Final = re.compile(r"= (.+)")


def build_filter_error(detail: str, code: str = "bad-filter") -> BadQuery:
    """Return the error for a filter that is not valid."""
    return BadQuery(detail, parameter="filter", code=code)


def build_size_error(subject: Message) -> BadQuery:
    """Return the error for a filter that is too large."""
    return build_filter_error(Message("The filter is too large: {subject}.", subject=subject), "filter-too-large")


def parse_filter(text: str, language: Language) -> Any:
    """Return the tree of a filter.

    Raises
    ------
    BadQuery
        when it cannot be parsed (with line and column), or is too large.
    """
    if "\x00" in text:
        raise build_filter_error(Message("The filter has a NUL character. Remove it."))
    tree = parse_text_filter(text) if language == "cql2-text" else parse_json_filter(text)
    if tree is None:
        raise build_filter_error(Message("The filter is null. Write a condition."))
    return tree


def parse_json_filter(text: str) -> Any:
    """Return the tree of a filter written as JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise build_filter_error(Message("The filter is not JSON: {error}.", error=str(error))) from error


def parse_text_filter(text: str) -> Any:
    """Return the tree of a filter written as text."""
    check_filter_size(text)
    try:
        return cql2.parse_text(text).to_json()
    except (cql2.ParseError, cql2.ValidationError) as error:
        raise build_filter_error(describe_parser_error(str(error))) from error


def describe_parser_error(message: str) -> Message:
    """Return the message of the parser as one sentence."""
    position, expected = _POSITION.search(message), _EXPECTED.search(message)
    reason = expected[1] if expected else message.strip()
    if not position:
        return Message("The filter cannot be parsed: {reason}.", reason=reason)
    if not expected:
        return Message(
            "The filter cannot be parsed at line {line}, column {column}.", line=position[1], column=position[2]
        )
    return Message(
        "The filter cannot be parsed at line {line}, column {column}: {reason}.",
        line=position[1],
        column=position[2],
        reason=reason,
    )


def check_filter_size(text: str) -> None:
    """Raise BadQuery if a filter is nested too deeply or has too many operators."""
    depth = operators = 0
    position = 0
    while match := _TOKEN.search(text, position):
        position = match.end()
        kind, word = match.lastgroup, match[0].lower()
        if kind == "name" and word in _SHAPES:
            position = skip_coordinates(text, position)
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(depth - 1, 0)
        elif kind in ("operator", "name") and (kind == "operator" or word in _WORDS):
            operators += 1
        if depth > MAX_DEPTH:
            raise build_size_error(Message("brackets are nested deeper than {limit} levels", limit=MAX_DEPTH))
        if operators > MAX_OPERANDS:
            raise build_size_error(Message("it has more than {limit:,} operators", limit=MAX_OPERANDS))


def skip_coordinates(text: str, position: int) -> int:
    """Return the position after the coordinates of a geometry; their brackets are counted separately."""
    match = _COORDINATES.match(text, position)
    if match is None:
        return position
    depth = 0
    for index in range(position, match.end()):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth > 4:
            raise build_size_error(Message("the brackets of a geometry are nested deeper than {limit} levels", limit=4))
        if depth == 0 and text[index] == ")":
            return index + 1
    return position


# Literals of a CQL2 tree: geometries, dates and instants, validated before they are bound to SQL.

_DEPTH: Final = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
"""Levels of lists in the coordinates of a geometry type."""
When = date | datetime


def parse_position(value: Any) -> tuple[float, float]:
    """Return longitude and latitude of a coordinate."""
    if not isinstance(value, list) or not 2 <= len(value) <= 4:
        raise build_filter_error(Message("A position of a geometry must have two or three numbers."))
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise build_filter_error(Message("A position of a geometry must contain only numbers."))
        if not math.isfinite(number):
            raise build_filter_error(Message("The coordinates of a geometry must be finite numbers."))
    return float(value[0]), float(value[1])


def drop_heights(value: Any, depth: int, count: list[int]) -> Any:
    """Return coordinates without heights, checked to be nested exactly ``depth`` levels deep."""
    if depth == 0:
        count[0] += 1
        if count[0] > MAX_VALUES:
            raise build_filter_error(
                Message("The geometries of a filter can have at most {limit:,} vertices.", limit=MAX_VALUES),
                "filter-too-large",
            )
        return parse_position(value)
    if not isinstance(value, list) or not value:
        raise build_filter_error(
            Message("The coordinates of a geometry are empty, or not nested as its type requires.")
        )
    return [drop_heights(component, depth - 1, count) for component in value]


def build_shape(value: Mapping[str, Any], count: list[int], depth: int = 0) -> BaseGeometry:
    """Return the Shapely geometry of a GeoJSON object."""
    kind = value.get("type")
    if kind == "GeometryCollection" and isinstance(value.get("geometries"), list) and depth < 4:
        components = value["geometries"]
        if not all(isinstance(component, Mapping) for component in components):
            raise build_filter_error(Message("A GeometryCollection must contain geometries only."))
        return shapely.GeometryCollection([build_shape(component, count, depth + 1) for component in components])
    if not isinstance(kind, str) or kind not in _DEPTH:
        raise build_filter_error(Message("The type of a geometry is not a GeoJSON geometry type."))
    coordinates = drop_heights(value.get("coordinates"), _DEPTH[kind], count)
    rings = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(kind, [])
    for ring in (ring for polygon in rings for ring in polygon):
        if len(ring) < 4 or ring[0] != ring[-1]:
            raise build_filter_error(
                Message("A ring of a polygon must have four positions or more, and the last must equal the first.")
            )
    try:
        return shape({"type": kind, "coordinates": coordinates})
    except (ValueError, GEOSException) as error:
        raise build_filter_error(Message("A geometry is not valid: {reason}.", reason=str(error))) from error


def check_range(lonlat: BaseGeometry, crs: Crs) -> BaseGeometry:
    """Return the geometry, or raise BadQuery if a coordinate is not a valid longitude or latitude."""
    west, south, east, north = shapely.bounds(lonlat).tolist()
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        order = Message("latitude, longitude") if crs.swapped else Message("longitude, latitude")
        raise build_filter_error(
            Message(
                "A coordinate of a geometry is out of range. The axis order of {crs} is {order}.",
                order=order,
                crs=crs.uri,
            )
        )
    return lonlat


def parse_geometry(value: Mapping[str, Any], crs: Crs, count: list[int]) -> BaseGeometry:
    """Return a geometry of the tree in longitude and latitude.

    Raises
    ------
    BadQuery
        when it is not valid, a coordinate is out of range, or it has too many vertices.
    """
    try:
        if "bbox" in value:
            return parse_box(value["bbox"], crs)
        shape = geometry_to_lonlat(build_shape(value, count), crs)
    except InvalidShape as error:
        raise build_filter_error(error.detail) from error
    if not shape.is_valid:
        raise build_filter_error(Message("A geometry is not valid: {reason}.", reason=shapely.is_valid_reason(shape)))
    return check_range(shape, crs)


def parse_box(value: object, crs: Crs) -> BaseGeometry:
    """Return the area of a bounding box of four numbers, or of six with heights."""
    if not isinstance(value, list) or len(value) not in (4, 6):
        raise build_filter_error(Message("A bounding box must have four or six numbers."))
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise build_filter_error(Message("A bounding box must contain only numbers."))
        if not math.isfinite(number):
            raise build_filter_error(Message("The sides of a bounding box must be finite numbers."))
    sides = value if len(value) == 4 else [*value[:2], *value[3:5]]
    low_1, low_2, high_1, high_2 = (float(side) for side in sides)
    longitude_axis = 1 if crs.swapped else 0  # a box may cross the antimeridian
    for axis, (low, high) in enumerate(((low_1, high_1), (low_2, high_2))):
        if low > high and (crs.metric or axis != longitude_axis):
            raise build_filter_error(
                Message(
                    "The lower corner of a bounding box comes first: {low:g} is greater than {high:g}.",
                    low=low,
                    high=high,
                )
            )
    try:
        shape = parse_bbox((low_1, low_2, high_1, high_2), crs)
    except InvalidShape as error:
        raise build_filter_error(error.detail) from error
    return check_range(shape, crs)


def parse_date(text: object) -> date:
    """Return the date of a text written YYYY-MM-DD."""
    if (value := parse_day(text)) is None:
        raise build_filter_error(Message("{value} is not a date. Write YYYY-MM-DD.", value=shorten(text)))
    return value


def parse_filter_instant(text: object) -> datetime:
    """Return the instant of an RFC 3339 text, in UTC."""
    if (value := parse_instant(text, complete=True)) is not None:
        with suppress(OverflowError):
            return value.astimezone(UTC)
    raise build_filter_error(
        Message("{value} is not an instant. Write it as in 2026-01-31T08:00:00Z.", value=shorten(text))
    )


def parse_date_or_instant(text: object) -> When:
    """Return a date or an instant, depending on how the text is written."""
    return parse_date(text) if isinstance(text, str) and len(text) == 10 else parse_filter_instant(text)


def shorten(value: object) -> str:
    """Return a value as text, cut to a length that fits a message."""
    text_shown = repr(value)
    return text_shown if len(text_shown) <= 60 else text_shown[:59] + "…"
