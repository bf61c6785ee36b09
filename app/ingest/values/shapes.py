"""Shapes out of GeoJSON objects, WKT and WKB, many at a time, flat (no heights).

Promises that no text or bytes from outside reach GEOS that nest shapes deeper than a collection of
simple ones and their multiples: its readers follow any depth, and run out of stack. Curved shapes
are not read.
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

from app.ingest.readers.model import FormatIssue

Shapes = NDArray[np.object_]

_MOST_NESTED: Final = 8
_FAR: Final = 1e300
"""No place is so far away; GEOS takes no infinities."""
_CURVED: Final = re.compile(r"CURVE|SURFACE|CIRCULAR|TRIANGLE|TIN\b", re.IGNORECASE)
_COLLECTION: Final = re.compile("COLLECTION", re.IGNORECASE)
# Type numbers of WKB (OGC 06-103r4, 8.2.3).
_POINT, _LINE, _POLYGON, _MULTI_POINT, _MULTI_POLYGON, _SEVERAL = 1, 2, 3, 4, 6, 7
_CURVES: Final = range(8, 15)
_HEADED: Final = 5
"""Bytes that say the order and the type."""
_SIMPLE: Final = frozenset(struct.pack("<BI", 1, kind) for kind in (_POINT, _LINE, _POLYGON))


def parse_geojson_objects(geometries: list[Any]) -> tuple[Shapes, list[int]]:
    """Return shapes of GeoJSON geometry objects, and the places of those that are none.

    Null is no shape and no fault.
    """
    out = np.full(len(geometries), None, dtype=object)
    points: list[int] = []
    places: list[tuple[float, float]] = []
    others: list[int] = []
    for at, geometry in enumerate(geometries):
        place = _parse_point(geometry)
        if place is not None:
            points.append(at)
            places.append(place)
        elif geometry is not None:
            others.append(at)
    if points:
        out[points] = shapely.points(np.array(places, np.float64))
    if others:
        out[others] = shapely.force_2d(parse_geojson_texts([_to_json(geometries[at]) for at in others]))
    bad = [at for at in others if out[at] is None]
    return out, bad


def parse_geojson_points(geometries: list[Any]) -> NDArray[np.float64] | None:
    """Return the coordinates of GeoJSON geometry objects, None where not all may be points."""
    try:
        if {geometry["type"] for geometry in geometries} != {"Point"}:
            return None
        places = [geometry["coordinates"] for geometry in geometries]
        plain = set(map(type, places)) == {list} and len(set(map(len, places))) == 1
        if not plain or not set(map(type, chain.from_iterable(places))) <= {int, float}:
            return None
        held = np.array(places, np.float64)
    except (TypeError, KeyError, OverflowError):
        return None
    if held.shape[1] < 2 or not (np.abs(held[:, :2]) < _FAR).all():
        return None
    return held[:, :2]


def parse_wkb(values: Shapes) -> tuple[Shapes, list[int]]:
    """Return shapes of WKB values, and the places of those that are none."""
    held = [
        value if value is not None and (value[:5] in _SIMPLE or is_shallow_wkb(value)) else None for value in values
    ]
    read = shapely.from_wkb(np.array(held, dtype=object), on_invalid="ignore")
    shapes: Shapes = np.asarray(read, dtype=object)
    if shapely.has_z(shapes).any():
        shapes = np.asarray(shapely.force_2d(shapes), dtype=object)
    return shapes, [at for at, shape in enumerate(shapes) if shape is None and values[at] is not None]


def parse_geojson_texts(texts: list[str]) -> Shapes:
    """Return shapes of GeoJSON texts, None where a text is none."""
    held = [text if text.count("GeometryCollection") <= _MOST_NESTED else None for text in texts]
    with np.errstate(all="ignore"):  # numbers beyond a double make no shape
        return np.asarray(shapely.from_geojson(np.array(held, object), on_invalid="ignore"), object)


def parse_wkt(texts: list[str]) -> Shapes:
    """Return shapes of WKT, None where a text is none."""
    held = [
        text if not _CURVED.search(text) and len(_COLLECTION.findall(text)) <= _MOST_NESTED else None for text in texts
    ]
    with np.errstate(all="ignore"):
        return np.asarray(shapely.from_wkt(np.array(held, object), on_invalid="ignore"), object)


def parse_hex_wkb(texts: list[str]) -> Shapes:
    """Return shapes of hexadecimal WKB with their SRID, None where a text is none."""
    held: list[bytes | None] = []
    for text in texts:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        held.append(raw if is_shallow_wkb(raw) else None)
    return np.asarray(shapely.from_wkb(np.array(held, object), on_invalid="ignore"), object)


def _to_json(geometry: Any) -> str:
    with suppress(TypeError):  # nested deeply, or whole numbers beyond 64 bits
        return orjson.dumps(geometry).decode("utf-8")
    try:
        return json.dumps(geometry)
    except RecursionError:
        return ""


def is_shallow_wkb(raw: bytes) -> bool:
    """Tell whether WKB is a simple shape, several of one kind, or a collection of these."""
    try:
        kind = parse_wkb_header(raw, 0)[1]
        return kind <= _POLYGON or find_wkb_end(raw, 0, _SEVERAL) is not None
    except (struct.error, IndexError):
        return False


def parse_wkb_header(raw: bytes, at: int) -> tuple[str, int, int, int]:
    """Return byte order, type, numbers in a position, and where the content begins."""
    order = "<" if raw[at] == 1 else ">"
    (stated,) = struct.unpack_from(order + "I", raw, at + 1)
    plain = stated & 0x0FFFFFFF
    dimensions = 2 + bool(stated & 0x80000000) + bool(stated & 0x40000000)
    dimensions += (0, 1, 1, 2)[plain // 1000 % 4]
    return order, plain % 1000, dimensions, at + 5 + 4 * bool(stated & 0x20000000)


def find_wkb_end(raw: bytes, at: int, allowed: int) -> int | None:
    """Return where a shape of at most a type ends; None where it nests further."""
    order, kind, dimensions, at = parse_wkb_header(raw, at)
    if kind > allowed or kind < _POINT:
        return None
    if kind == _POINT:
        return at + 8 * dimensions
    (count,) = struct.unpack_from(order + "I", raw, at)
    at += 4
    if kind == _LINE:
        return at + 8 * dimensions * int(count)
    if kind == _POLYGON:
        for _ in range(count):
            (size,) = struct.unpack_from(order + "I", raw, at)
            at += 4 + 8 * dimensions * int(size)
        return at
    inner = _MULTI_POLYGON if kind == _SEVERAL else kind - _MULTI_POINT + _POINT
    for _ in range(count):
        end = find_wkb_end(raw, at, inner)
        if end is None:
            return None
        at = end
    return at


def bad_geometry(row: int, wkb: bytes | None = None) -> FormatIssue:
    """Return the oddity of a row whose geometry cannot be read; of WKB it is told when it curves."""
    if wkb is not None and len(wkb) >= _HEADED and parse_wkb_header(wkb, 0)[1] in _CURVES:
        message = "The geometry of a row is curved; save it with straight segments."
        return FormatIssue(row, "bad-geometry", message, severity="error")
    return FormatIssue(row, "bad-geometry", "The geometry of a row cannot be read.", severity="error")


def _parse_point(geometry: Any) -> tuple[float, float] | None:
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return None
    place = geometry.get("coordinates")
    if not isinstance(place, list) or len(place) < 2:
        return None
    x, y = place[0], place[1]
    if type(x) not in (int, float) or type(y) not in (int, float):
        return None
    return (x, y) if abs(x) < _FAR and abs(y) < _FAR else None
