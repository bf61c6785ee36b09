"""The literals of a CQL2 tree: geometries, days and instants, checked before SQL sees them."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, Final

import shapely
from shapely.errors import GEOSException
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.crs import Crs, boxes, to_lonlat
from app.schemas.cql2 import MOST_VALUES, bad

_DEPTH: Final = {
    "Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2,
    "MultiPolygon": 3,
}  # fmt: skip
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

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
            raise bad(
                f"The geometries of a filter may have {MOST_VALUES:,} vertices.", "filter-too-large"
            )
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
    if isinstance(text, str) and _DAY.fullmatch(text):
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise bad(f"{_short(text)} is not a day, written YYYY-MM-DD.")


def instant(text: object) -> datetime:
    """Return an instant as in RFC 3339, in UTC."""
    if isinstance(text, str) and _INSTANT.fullmatch(text):
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    raise bad(f"{_short(text)} is not an instant, written as in 2026-01-31T08:00:00Z.")


def day_or_instant(text: object) -> When:
    """Return a day or an instant, whichever it is written as."""
    return day(text) if isinstance(text, str) and len(text) == 10 else instant(text)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:59] + "…"
