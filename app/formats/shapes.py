"""Shapes out of GeoJSON objects and WKB, many at a time, flat (no heights)."""

import json
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from app.formats.model import Oddity

Shapes = NDArray[np.object_]


def from_objects(geometries: list[Any]) -> tuple[Shapes, list[int]]:
    """Return shapes of GeoJSON geometry objects, and the places of those that are none.

    Null is no shape and no fault.
    """
    out = np.full(len(geometries), None, dtype=object)
    points: list[int] = []
    places: list[tuple[float, float]] = []
    others: list[int] = []
    for at, geometry in enumerate(geometries):
        place = _point(geometry)
        if place is not None:
            points.append(at)
            places.append(place)
        elif geometry is not None:
            others.append(at)
    if points:
        out[points] = shapely.points(np.array(places, np.float64))
    if others:
        texts = [json.dumps(geometries[at]) for at in others]
        with np.errstate(all="ignore"):  # numbers beyond a double make no shape
            out[others] = shapely.force_2d(shapely.from_geojson(texts, on_invalid="ignore"))
    bad = [at for at in others if out[at] is None]
    return out, bad


def from_wkb(values: NDArray[np.object_]) -> tuple[Shapes, list[int]]:
    """Return shapes of WKB values, and the places of those that are none."""
    shapes: Shapes = np.asarray(shapely.from_wkb(values, on_invalid="ignore"), dtype=object)
    if shapely.has_z(shapes).any():
        shapes = np.asarray(shapely.force_2d(shapes), dtype=object)
    return shapes, [
        at for at, shape in enumerate(shapes) if shape is None and values[at] is not None
    ]


def bad_geometry(row: int) -> Oddity:
    """Return the oddity of a row whose geometry cannot be read."""
    return Oddity(row, "bad-geometry", "The geometry of a row cannot be read.", severity="error")


def _point(geometry: Any) -> tuple[float, float] | None:
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return None
    place = geometry.get("coordinates")
    if not isinstance(place, list) or len(place) < 2:
        return None
    x, y = place[0], place[1]
    if type(x) not in (int, float) or type(y) not in (int, float):
        return None
    return (x, y) if abs(x) < 1e300 and abs(y) < 1e300 else None
