"""GeoJSON in, Shapely out, and back: position order, finite numbers, closed rings, and nothing else.

Coordinates are lon, lat in degrees and are kept to nine decimals (0.1 mm), so that what is read
back is exactly what was stored.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import numpy as np
import shapely
from pydantic import PlainValidator, WithJsonSchema
from pydantic.functional_serializers import PlainSerializer
from pydantic_core import PydanticCustomError
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from app.models.columns import DECIMALS

_DEPTH: Final = {"Point": 0, "LineString": 1, "Polygon": 2, "MultiPolygon": 3}

__all__ = ["AnyPlace", "Area", "Line", "Point", "parse", "to_geojson"]


def _fault(code: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(code, message.replace("{", "{{").replace("}", "}}"))


def _positions(coordinates: object, depth: int) -> Iterable[Sequence[float]]:
    """Yield every position of a coordinate array that must be nested exactly ``depth`` deep."""
    if not isinstance(coordinates, list):
        raise _fault("geometry-coordinates", "coordinates are nested wrongly for this type")
    if depth == 0:
        yield coordinates
        return
    if not coordinates:
        raise _fault("geometry-empty", "the geometry is empty")
    for part in coordinates:
        yield from _positions(part, depth - 1)


def _check_position(position: Sequence[object]) -> None:
    if len(position) != 2:
        if not position:
            raise _fault("geometry-empty", "the geometry is empty")
        raise _fault(
            "geometry-dimensions",
            f"a position has two numbers, longitude and latitude, not {len(position)}",
        )
    for number in position:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise _fault("geometry-coordinates", "a position holds numbers only")
        if not math.isfinite(number):
            raise _fault("geometry-not-finite", "coordinates must be finite numbers")
    lon, lat = float(position[0]), float(position[1])  # type: ignore[arg-type]  # checked above
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        hint = "; longitude and latitude look swapped" if abs(lat) <= 180 and abs(lon) <= 90 else ""
        raise _fault(
            "swapped-coordinates" if hint else "geometry-out-of-range",
            f"[{lon:g}, {lat:g}] is not a longitude and a latitude in degrees{hint}",
        )


def _check_closed(rings: Iterable[list[list[float]]]) -> None:
    for ring in rings:
        if len(ring) < 4:
            raise _fault("geometry-ring-too-short", "a polygon ring has at least four positions")
        if ring[0] != ring[-1]:
            raise _fault(
                "geometry-unclosed",
                f"a polygon ring must end where it starts: {ring[0]} is not {ring[-1]}",
            )


def parse(value: object, types: Sequence[str]) -> BaseGeometry:
    """Return the Shapely geometry of a GeoJSON geometry object of one of ``types``.

    Raises
    ------
    PydanticCustomError
        with a code that says what is wrong; becomes a 422 with a pointer.
    """
    if isinstance(value, BaseGeometry):
        return value
    if not isinstance(value, Mapping):
        raise _fault("geometry-type", "a GeoJSON geometry object is needed")
    kind = value.get("type")
    if kind not in types:
        found = repr(kind) if isinstance(kind, str) else "what is sent"
        raise _fault("geometry-type", f"the geometry must be a {' or '.join(types)}, not {found}")
    extra = set(value) - {"type", "coordinates", "bbox"}
    if extra:
        raise _fault("geometry-member", f"unknown geometry member {sorted(extra)[0]!r}")
    coordinates = value.get("coordinates")
    for position in _positions(coordinates, _DEPTH[str(kind)]):
        _check_position(position)
    if kind == "Polygon":
        _check_closed(coordinates)  # type: ignore[arg-type]  # nesting checked above
    elif kind == "MultiPolygon":
        for polygon in coordinates:  # type: ignore[union-attr]  # nesting checked above
            _check_closed(polygon)
    elif kind == "LineString" and len(coordinates) < 2:  # type: ignore[arg-type]  # likewise
        raise _fault("geometry-line-too-short", "a line has at least two positions")
    geometry = shape({"type": kind, "coordinates": coordinates})
    return shapely.transform(geometry, lambda xy: np.round(xy, DECIMALS))


def converted(
    geometry: Mapping[str, Any], convert: Callable[[list[list[float]]], Sequence[Sequence[float]]]
) -> dict[str, Any]:
    """Return a geometry whose positions are converted, all at once; what is no position stays."""
    found: list[list[float]] = []
    _collect(geometry.get("coordinates"), found, depth=4)
    fresh = iter(convert(found))
    return {**geometry, "coordinates": _replaced(geometry.get("coordinates"), fresh, depth=4)}


def _is_position(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(n, int | float) and not isinstance(n, bool) for n in value)
        and all(abs(number) < 1e12 for number in value)
    )


def _collect(value: object, found: list[list[float]], depth: int) -> None:
    if _is_position(value):
        found.append([float(number) for number in value])  # type: ignore[attr-defined]  # a list
    elif isinstance(value, list) and depth:
        for part in value:
            _collect(part, found, depth - 1)


def _replaced(value: object, fresh: Iterator[Sequence[float]], depth: int) -> object:
    if _is_position(value):
        return [float(number) for number in next(fresh)]
    if isinstance(value, list) and depth:
        return [_replaced(part, fresh, depth - 1) for part in value]
    return value


def to_geojson(geometry: BaseGeometry) -> dict[str, Any]:
    """Return the GeoJSON geometry object, coordinates to nine decimals."""
    rounded = shapely.transform(geometry, lambda xy: np.round(xy, DECIMALS))
    return _as_lists(mapping(rounded))  # type: ignore[return-value]  # a mapping stays a mapping


def _as_lists(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _as_lists(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_as_lists(part) for part in value]
    return value


def _validator(types: tuple[str, ...]) -> Callable[[object], BaseGeometry]:
    def validate(value: object) -> BaseGeometry:
        geometry = parse(value, types)
        if not geometry.is_valid:
            raise _fault("invalid-geometry", shapely.is_valid_reason(geometry))
        return geometry

    return validate


def _schema(types: tuple[str, ...], example: object) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "object",
            "title": "GeoJSON " + " or ".join(types),
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"type": "string", "enum": list(types)},
                "coordinates": {"type": "array", "items": {}, "description": "lon, lat in degrees"},
            },
            "additionalProperties": False,
            "examples": [{"type": types[0], "coordinates": example}],
        }
    )


_POINT = ("Point",)
_PLACE = ("Point", "Polygon", "MultiPolygon")
_AREA = ("Polygon", "MultiPolygon")
_LINE = ("LineString",)
_out = PlainSerializer(to_geojson)

Point = Annotated[BaseGeometry, PlainValidator(_validator(_POINT)), _out, _schema(_POINT, [113.2418, 35.2159])]
"""A GeoJSON Point."""

AnyPlace = Annotated[BaseGeometry, PlainValidator(_validator(_PLACE)), _out, _schema(_PLACE, [113.2418, 35.2159])]
"""A GeoJSON Point, or a Polygon or MultiPolygon for a site."""

Area = Annotated[
    BaseGeometry,
    PlainValidator(_validator(_AREA)),
    _out,
    _schema(_AREA, [[[113.2, 35.2], [113.201, 35.2], [113.201, 35.201], [113.2, 35.2]]]),
]
"""A GeoJSON Polygon or MultiPolygon."""

Line = Annotated[
    BaseGeometry,
    PlainValidator(_validator(_LINE)),
    _out,
    _schema(_LINE, [[113.2, 35.2], [113.3, 35.2]]),
]
"""A GeoJSON LineString."""
