"""Shapes from GeoJSON objects, WKT and WKB, many at a time, without heights.

No text or bytes of a file reach GEOS that nest shapes deeper than a collection of simple shapes and their multiples:
the parsers of GEOS follow any depth and overflow the stack. Curved shapes are not read.
"""

import json
import re
import struct
from contextlib import suppress
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

Shapes = NDArray[np.object_]

GEOJSON_TYPES: Final = frozenset(
    ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
)
_MAX_NESTED: Final = 8
_MAX_COORDINATE: Final = 1e300
"""GEOS accepts no infinite coordinates."""
_CURVED_TYPES: Final = re.compile(r"CURVE|SURFACE|CIRCULAR|TRIANGLE|TIN\b", re.IGNORECASE)
_COLLECTION: Final = re.compile("COLLECTION", re.IGNORECASE)
# Type numbers of WKB (OGC 06-103r4, 8.2.3).
_POINT, _LINE, _POLYGON, _MULTI_POINT, _MULTI_POLYGON, _GEOMETRY_COLLECTION = 1, 2, 3, 4, 6, 7
_CURVES: Final = range(8, 15)
_HEADER_BYTES: Final = 5
"""Bytes of the byte order and the type."""
_SIMPLE: Final = frozenset(struct.pack("<BI", 1, kind) for kind in (_POINT, _LINE, _POLYGON))


def parse_geojson_objects(geometries: list[Any]) -> tuple[Shapes, list[int]]:
    """Return the shapes of GeoJSON geometry objects, and the indices of those that are not valid.

    None is not a shape, and it is valid.
    """
    shapes = np.full(len(geometries), None, dtype=object)
    point_indices: list[int] = []
    points: list[tuple[float, float]] = []
    others: list[int] = []
    for index, geometry in enumerate(geometries):
        point = _parse_point(geometry)
        if point is not None:
            point_indices.append(index)
            points.append(point)
        elif geometry is not None:
            others.append(index)
    if point_indices:
        shapes[point_indices] = shapely.points(np.array(points, np.float64))
    if others:
        shapes[others] = shapely.force_2d(parse_geojson_texts([_to_json(geometries[index]) for index in others]))
    return shapes, [index for index in others if shapes[index] is None]


def parse_geojson_points(geometries: list[Any]) -> NDArray[np.float64] | None:
    """Return the coordinates of GeoJSON points, None if any of the objects may be something else."""
    try:
        if {geometry["type"] for geometry in geometries} != {"Point"}:
            return None
        positions = [geometry["coordinates"] for geometry in geometries]
        are_equal = set(map(type, positions)) == {list} and len(set(map(len, positions))) == 1
        if not are_equal or not set(map(type, chain.from_iterable(positions))) <= {int, float}:
            return None
        coordinates = np.array(positions, np.float64)
    except (TypeError, KeyError, OverflowError):
        return None
    if coordinates.shape[1] < 2 or not (np.abs(coordinates[:, :2]) < _MAX_COORDINATE).all():
        return None
    return coordinates[:, :2]


def parse_wkb(values: Shapes) -> tuple[Shapes, list[int]]:
    """Return the shapes of WKB values, and the indices of those that are not valid."""
    safe = [
        value if value is not None and (value[:_HEADER_BYTES] in _SIMPLE or is_shallow_wkb(value)) else None
        for value in values
    ]
    shapes: Shapes = np.asarray(shapely.from_wkb(np.array(safe, dtype=object), on_invalid="ignore"), dtype=object)
    if shapely.has_z(shapes).any():
        shapes = np.asarray(shapely.force_2d(shapes), dtype=object)
    return shapes, [index for index, shape in enumerate(shapes) if shape is None and values[index] is not None]


def parse_geojson_texts(texts: list[str]) -> Shapes:
    """Return the shapes of GeoJSON texts, None for a text that is not valid."""
    safe = [text if text.count("GeometryCollection") <= _MAX_NESTED else None for text in texts]
    with np.errstate(all="ignore"):  # numbers beyond a double are not a shape
        return np.asarray(shapely.from_geojson(np.array(safe, object), on_invalid="ignore"), object)


def parse_wkt(texts: list[str]) -> Shapes:
    """Return the shapes of WKT, None for a text that is not valid."""
    safe = [
        text if not _CURVED_TYPES.search(text) and len(_COLLECTION.findall(text)) <= _MAX_NESTED else None
        for text in texts
    ]
    with np.errstate(all="ignore"):
        return np.asarray(shapely.from_wkt(np.array(safe, object), on_invalid="ignore"), object)


def parse_hex_wkb(texts: list[str]) -> Shapes:
    """Return the shapes of hexadecimal WKB with their SRID, None for a text that is not valid."""
    safe: list[bytes | None] = []
    for text in texts:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        safe.append(raw if is_shallow_wkb(raw) else None)
    return np.asarray(shapely.from_wkb(np.array(safe, object), on_invalid="ignore"), object)


def _to_json(geometry: Any) -> str:
    with suppress(TypeError):  # nested deeply, or integers beyond 64 bits
        return orjson.dumps(geometry).decode("utf-8")
    try:
        return json.dumps(geometry)
    except RecursionError:
        return ""


def is_shallow_wkb(raw: bytes) -> bool:
    """Return whether WKB is a simple shape, a multiple of one, or a collection of these."""
    try:
        kind = parse_wkb_header(raw, 0)[1]
        return kind <= _POLYGON or find_wkb_end(raw, 0, _GEOMETRY_COLLECTION) is not None
    except (struct.error, IndexError):
        return False


def is_curved_wkb(raw: bytes) -> bool:
    """Return whether WKB is a shape with curves."""
    return len(raw) >= _HEADER_BYTES and parse_wkb_header(raw, 0)[1] in _CURVES


def parse_wkb_header(raw: bytes, offset: int) -> tuple[str, int, int, int]:
    """Return byte order, type, numbers of a position, and the offset of the content."""
    order = "<" if raw[offset] == 1 else ">"
    (stated,) = struct.unpack_from(order + "I", raw, offset + 1)
    kind = stated & 0x0FFFFFFF
    dimensions = 2 + bool(stated & 0x80000000) + bool(stated & 0x40000000)
    dimensions += (0, 1, 1, 2)[kind // 1000 % 4]
    return order, kind % 1000, dimensions, offset + _HEADER_BYTES + 4 * bool(stated & 0x20000000)


def find_wkb_end(raw: bytes, offset: int, max_kind: int) -> int | None:
    """Return the offset at which a shape of at most a type ends; None if it nests deeper."""
    order, kind, dimensions, offset = parse_wkb_header(raw, offset)
    if kind > max_kind or kind < _POINT:
        return None
    if kind == _POINT:
        return offset + 8 * dimensions
    (count,) = struct.unpack_from(order + "I", raw, offset)
    offset += 4
    if kind == _LINE:
        return offset + 8 * dimensions * int(count)
    if kind == _POLYGON:
        for _ in range(count):
            (size,) = struct.unpack_from(order + "I", raw, offset)
            offset += 4 + 8 * dimensions * int(size)
        return offset
    inner_kind = _MULTI_POLYGON if kind == _GEOMETRY_COLLECTION else kind - _MULTI_POINT + _POINT
    for _ in range(count):
        end = find_wkb_end(raw, offset, inner_kind)
        if end is None:
            return None
        offset = end
    return offset


def _parse_point(geometry: Any) -> tuple[float, float] | None:
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return None
    position = geometry.get("coordinates")
    if not isinstance(position, list) or len(position) < 2:
        return None
    x, y = position[0], position[1]
    if type(x) not in (int, float) or type(y) not in (int, float):
        return None
    return (x, y) if abs(x) < _MAX_COORDINATE and abs(y) < _MAX_COORDINATE else None
