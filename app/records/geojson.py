"""GeoJSON geometries as types of fields: strict validation into Shapely, and back.

Coordinates are longitude, latitude in degrees. They are rounded to the decimals that are stored, so that a client
reads back exactly what it sent.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import numpy as np
import orjson
import shapely
from pydantic import PlainValidator, WithJsonSchema
from pydantic.functional_serializers import PlainSerializer
from shapely.geometry.base import BaseGeometry

from app.errors import to_pydantic_error
from app.ingest.values.shapes import parse_geojson_objects
from app.messages import Message
from app.models.columns import DECIMALS

_NESTING: Final = {"Point": 0, "LineString": 1, "Polygon": 2, "MultiPolygon": 3}
"""Depth of arrays around a position, by type."""
_MAX_NESTING: Final = 4
_MAX_COORDINATE: Final = 1e12


def parse_geometry(value: object, types: Sequence[str]) -> BaseGeometry:
    """Return the Shapely geometry of a GeoJSON geometry object of one of ``types``.

    Raises
    ------
    PydanticCustomError
        with a code for what is wrong.
    """
    if isinstance(value, BaseGeometry):
        return value
    if not isinstance(value, Mapping):
        raise to_pydantic_error("geometry-type", Message("must be a GeoJSON geometry object"))
    geometry_type = value.get("type")
    if geometry_type not in types:
        expected = " or ".join(types)
        if not isinstance(geometry_type, str):
            raise to_pydantic_error("geometry-type", Message("the geometry type must be {expected}", expected=expected))
        message = Message(
            "the geometry type must be {expected}, not {actual!r}", expected=expected, actual=geometry_type
        )
        raise to_pydantic_error("geometry-type", message)
    unknown = set(value) - {"type", "coordinates", "bbox"}
    if unknown:
        raise to_pydantic_error("geometry-member", Message("unknown geometry member {name!r}", name=min(unknown)))
    coordinates = value.get("coordinates")
    for position in iter_positions(coordinates, _NESTING[str(geometry_type)]):
        _validate_position(position)
    if geometry_type == "Polygon":
        _validate_rings(coordinates)  # type: ignore[arg-type]  # nesting is valid
    elif geometry_type == "MultiPolygon":
        for polygon in coordinates:  # type: ignore[union-attr]  # nesting is valid
            _validate_rings(polygon)
    elif geometry_type == "LineString" and len(coordinates) < 2:  # type: ignore[arg-type]  # nesting is valid
        raise to_pydantic_error("geometry-line-too-short", Message("a line needs at least two positions"))
    shapes, _ = parse_geojson_objects([{"type": geometry_type, "coordinates": coordinates}])
    geometry: BaseGeometry = shapes[0]
    return shapely.transform(geometry, lambda lonlat: np.round(lonlat, DECIMALS))


def iter_positions(coordinates: object, nesting: int) -> Iterable[Sequence[float]]:
    """Yield every position of an array that must be nested exactly ``nesting`` deep."""
    if not isinstance(coordinates, list):
        raise to_pydantic_error(
            "geometry-coordinates", Message("the coordinates do not have the nesting of this geometry type")
        )
    if nesting == 0:
        yield coordinates
        return
    if not coordinates:
        raise to_pydantic_error("geometry-empty", Message("the geometry is empty"))
    for element in coordinates:
        yield from iter_positions(element, nesting - 1)


def _validate_position(position: Sequence[object]) -> None:
    if not position:
        raise to_pydantic_error("geometry-empty", Message("the geometry is empty"))
    if len(position) != 2:
        message = Message("a position must have two numbers, longitude and latitude, not {count}", count=len(position))
        raise to_pydantic_error("geometry-dimensions", message)
    for number in position:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise to_pydantic_error("geometry-coordinates", Message("a position must consist of numbers"))
        if not math.isfinite(number):
            raise to_pydantic_error("geometry-not-finite", Message("coordinates must be finite numbers"))
    lon, lat = float(position[0]), float(position[1])  # type: ignore[arg-type]  # numbers
    if -180 <= lon <= 180 and -90 <= lat <= 90:
        return
    if abs(lat) <= 180 and abs(lon) <= 90:
        message = Message(
            "[{lon:g}, {lat:g}] is not a valid longitude and latitude; they may be swapped", lon=lon, lat=lat
        )
        raise to_pydantic_error("swapped-coordinates", message)
    message = Message("[{lon:g}, {lat:g}] is not a valid longitude and latitude", lon=lon, lat=lat)
    raise to_pydantic_error("geometry-out-of-range", message)


def _validate_rings(rings: Iterable[list[list[float]]]) -> None:
    for ring in rings:
        if len(ring) < 4:
            raise to_pydantic_error("geometry-ring-too-short", Message("a polygon ring needs at least four positions"))
        if ring[0] != ring[-1]:
            message = Message(
                "a polygon ring must end at its first position {first}, not at {last}", first=ring[0], last=ring[-1]
            )
            raise to_pydantic_error("geometry-unclosed", message)


def convert_positions(
    geometry: Mapping[str, Any], convert: Callable[[list[list[float]]], Sequence[Sequence[float]]]
) -> dict[str, Any]:
    """Return a GeoJSON geometry with all positions converted in one call; anything else stays for validation."""
    positions: list[list[float]] = []
    _collect_positions(geometry.get("coordinates"), positions, _MAX_NESTING)
    converted = iter(convert(positions))
    return {**geometry, "coordinates": _replace_positions(geometry.get("coordinates"), converted, _MAX_NESTING)}


def _is_position(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, int | float) and not isinstance(number, bool) for number in value)
        and all(abs(number) < _MAX_COORDINATE for number in value)
    )


def _collect_positions(value: object, positions: list[list[float]], nesting: int) -> None:
    if _is_position(value):
        positions.append([float(number) for number in value])  # type: ignore[attr-defined]  # a list
    elif isinstance(value, list) and nesting:
        for element in value:
            _collect_positions(element, positions, nesting - 1)


def _replace_positions(value: object, positions: Iterator[Sequence[float]], nesting: int) -> object:
    if _is_position(value):
        return [float(number) for number in next(positions)]
    if isinstance(value, list) and nesting:
        return [_replace_positions(element, positions, nesting - 1) for element in value]
    return value


def to_geojson(geometry: BaseGeometry) -> dict[str, Any]:
    """Return the GeoJSON geometry object, with the stored decimals."""
    rounded = shapely.transform(geometry, lambda lonlat: np.round(lonlat, DECIMALS))
    document: dict[str, Any] = orjson.loads(shapely.to_geojson(rounded))
    return document


def _build_validator(types: tuple[str, ...]) -> PlainValidator:
    def validate_geometry(value: object) -> BaseGeometry:
        geometry = parse_geometry(value, types)
        if not geometry.is_valid:
            raise to_pydantic_error("invalid-geometry", Message("{reason}", reason=shapely.is_valid_reason(geometry)))
        return geometry

    return PlainValidator(validate_geometry)


def _build_schema(types: tuple[str, ...], example: object) -> WithJsonSchema:
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


_POINT: Final = ("Point",)
_POINT_OR_AREA: Final = ("Point", "Polygon", "MultiPolygon")
_AREA: Final = ("Polygon", "MultiPolygon")
_LINE: Final = ("LineString",)
_POINT_EXAMPLE: Final = [113.2418, 35.2159]
_AREA_EXAMPLE: Final = [[[113.2, 35.2], [113.201, 35.2], [113.201, 35.201], [113.2, 35.2]]]
_LINE_EXAMPLE: Final = [[113.2, 35.2], [113.3, 35.2]]
_SERIALIZER: Final = PlainSerializer(to_geojson)

Point = Annotated[BaseGeometry, _build_validator(_POINT), _SERIALIZER, _build_schema(_POINT, _POINT_EXAMPLE)]
"""A GeoJSON Point."""

AnyPlace = Annotated[
    BaseGeometry, _build_validator(_POINT_OR_AREA), _SERIALIZER, _build_schema(_POINT_OR_AREA, _POINT_EXAMPLE)
]
"""A GeoJSON Point, or a Polygon or MultiPolygon for a site."""

Area = Annotated[BaseGeometry, _build_validator(_AREA), _SERIALIZER, _build_schema(_AREA, _AREA_EXAMPLE)]
"""A GeoJSON Polygon or MultiPolygon."""

Line = Annotated[BaseGeometry, _build_validator(_LINE), _SERIALIZER, _build_schema(_LINE, _LINE_EXAMPLE)]
"""A GeoJSON LineString."""
