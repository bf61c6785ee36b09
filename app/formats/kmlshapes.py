"""Shapes of KML elements (OGC 12-007, clause 10), without heights.

Promises to nest no deeper than `app.formats.shapes` does.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final

import shapely
from shapely.geometry.base import BaseGeometry

_COMMA: Final = re.compile(r"\s*,\s*")
_MOST_NESTED: Final = 8
_SEVERAL: Final[dict[str, Callable[[Any], BaseGeometry]]] = {
    "Point": shapely.MultiPoint, "LineString": shapely.MultiLineString,
    "Polygon": shapely.MultiPolygon,
}  # fmt: skip


def local(element: Any) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rsplit("}", 1)[-1]


def shape_of(element: Any) -> BaseGeometry | tuple[float, float]:
    """Return the shape of an element of `SHAPES`; of a point its coordinates.

    Raises
    ------
    ValueError, IndexError, GEOSException
        It has none.
    """
    if local(element) == "Point":
        return _finite(*_positions(element)[0])
    return SHAPES[local(element)](element, 0)


def _finite(x: float, y: float) -> tuple[float, float]:
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("no place")
    return x, y


def _child(element: Any, tag: str) -> Any:
    return next((child for child in element if local(child) == tag), ())


def _text(element: Any, tag: str) -> str:
    return getattr(_child(element, tag), "text", None) or ""


def _positions(element: Any) -> list[tuple[float, float]]:
    text = _text(element, "coordinates").strip()
    if " " in text or "\n" in text or "\t" in text:
        text = _COMMA.sub(",", text)
    found = []
    for place in text.split():
        numbers = place.split(",", 2)
        found.append((float(numbers[0]), float(numbers[1])))
    if not found:
        raise ValueError("no coordinates")
    return found


def _point(element: Any, _depth: int) -> BaseGeometry:
    return shapely.Point(_positions(element)[0])


def _model(element: Any, _depth: int) -> BaseGeometry:
    """Return where a three-dimensional model stands: GDAL writes one where a field is called model."""
    location = _child(element, "Location")
    x, y = (float(_text(location, axis)) for axis in ("longitude", "latitude"))
    return shapely.Point(_finite(x, y))


def _line(element: Any, _depth: int) -> BaseGeometry:
    return shapely.LineString(_positions(element))


def _polygon(element: Any, _depth: int) -> BaseGeometry:
    rings: dict[str, list[Any]] = {"outerBoundaryIs": [], "innerBoundaryIs": []}
    for border in element:
        for ring in border:
            if local(ring) == "LinearRing" and local(border) in rings:
                rings[local(border)].append(_positions(ring))
    return shapely.Polygon(rings["outerBoundaryIs"][0], rings["innerBoundaryIs"])


def _several(element: Any, depth: int) -> BaseGeometry:
    if depth == _MOST_NESTED:
        raise ValueError("nested too deeply")
    parts = [SHAPES[local(child)](child, depth + 1) for child in element if local(child) in SHAPES]
    kinds = {part.geom_type for part in parts}
    make = _SEVERAL.get(kinds.pop()) if len(kinds) == 1 else None
    return (make or shapely.GeometryCollection)(parts)


SHAPES: Final[dict[str, Callable[[Any, int], BaseGeometry]]] = {
    "Point": _point,
    "Model": _model,
    "LineString": _line,
    "LinearRing": _line,
    "Polygon": _polygon,
    "MultiGeometry": _several,
}
"""Elements that are shapes."""
