"""Strategies for cameras among buildings, and a slow reference that casts rays one by one."""

from typing import Any, NamedTuple

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Floats
from app.geo.visibility.building_shadows import CameraViews, ShadowedViews, cut_views
from app.geo.visibility.field_of_view import build_sectors
from app.geo.visibility.obstacles import Obstacles

NAN = float("nan")
STEP_DEG = 5.0


class Camera(NamedTuple):
    """One camera on open ground."""

    east: float
    north: float
    bearing_deg: float
    opening_deg: float
    range_m: float
    near_m: float = 0.0
    mount_m: float = NAN
    indoor: bool = False


def looks(cameras: list[Camera]) -> tuple[NDArray[np.object_], CameraViews]:
    """Return fields of view on open ground, and how the cameras look."""
    xy = np.array([(c.east, c.north) for c in cameras])
    bearing, opening, reach, near, mount = (
        np.array([c[column] for c in cameras], dtype=np.float64) for column in range(2, 7)
    )
    indoor = np.array([c.indoor for c in cameras])
    found = CameraViews(xy, bearing, opening, reach, mount, indoor)
    return build_sectors(xy, bearing, opening, reach, near, STEP_DEG), found


def obstacles(*shapes: BaseGeometry, heights: list[float] | None = None) -> Obstacles:
    """Return buildings, all of unknown height unless heights are given."""
    known = np.array(heights if heights is not None else [NAN] * len(shapes), dtype=np.float64)
    return Obstacles(np.array(shapes, dtype=object), known)


def seen(camera: Camera, *shapes: BaseGeometry, heights: list[float] | None = None) -> BaseGeometry:
    """Return what one camera sees among buildings."""
    found: BaseGeometry = seen_by([camera], obstacles(*shapes, heights=heights)).shape[0]
    return found


def seen_by(cameras: list[Camera], buildings: Obstacles) -> ShadowedViews:
    """Return what cameras see among buildings."""
    shapes, how = looks(cameras)
    return cut_views(shapes, how, buildings)


def rays(camera: Camera, radius_m: float, count: int = 720) -> NDArray[np.object_]:
    """Return lines of sight all over the opening of a camera, none along its edges."""
    step = camera.opening_deg / count
    degrees = camera.bearing_deg - camera.opening_deg / 2 + (np.arange(count) + 0.5) * step
    way = np.stack([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))], axis=1)
    start = np.array([camera.east, camera.north])
    ends = np.stack([np.broadcast_to(start, way.shape), start + way * radius_m], axis=1)
    return np.asarray(shapely.linestrings(ends))


def first_hits(camera: Camera, lines: NDArray[np.object_], *shapes: BaseGeometry) -> Floats:
    """Return where each line of sight meets the first of the shapes; infinite where none."""
    met = shapely.intersection(lines, shapely.union_all(shapes))
    away = shapely.distance(met, shapely.Point(camera.east, camera.north))
    return np.where(np.isnan(away), np.inf, away)


quarters = st.integers(-160, 160).map(lambda number: number / 4)
"""Places on a lattice, so that corners touch and walls are collinear."""


@st.composite
def houses(draw: st.DrawFn) -> Polygon:
    """Return a building: a box on the lattice, turned or not, now and then with a courtyard."""
    east, north = draw(quarters), draw(quarters)
    wide, deep = (draw(st.integers(4, 60)) / 4 for _ in range(2))
    shape: Any = shapely.box(east, north, east + wide, north + deep)
    if draw(st.booleans()):
        shape = affinity.rotate(shape, draw(st.integers(1, 89)))
    if draw(st.integers(0, 3)) == 0:
        shape = shape.difference(shape.buffer(-min(wide, deep) * 0.3, join_style="mitre"))
    assert isinstance(shape, Polygon)
    return shape


cameras = st.builds(
    Camera,
    east=quarters,
    north=quarters,
    bearing_deg=st.integers(0, 359).map(float),
    opening_deg=st.sampled_from([7.5, 60.0, 90.0, 179.0, 270.0, 360.0]),
    range_m=st.sampled_from([5.0, 20.0, 60.0]),
    near_m=st.sampled_from([0.0, 0.0, 2.0]),
)


def clear_of(camera: Camera, shapes: list[Polygon]) -> bool:
    """Tell whether a camera stands clear of all footprints."""
    where = shapely.Point(camera.east, camera.north)
    return all(shape.distance(where) > 0.1 for shape in shapes)


FINE_M = 1e-6
"""Grid of the overlays in tests: what is the same but for rounding lies on the same lines."""


def beyond(one: BaseGeometry, other: BaseGeometry) -> float:
    """Return the area of what lies in one and not in the other."""
    return float(shapely.difference(one, other, grid_size=FINE_M).area)


def apart(one: BaseGeometry, other: BaseGeometry) -> float:
    """Return the area in which two shapes differ."""
    return float(shapely.symmetric_difference(one, other, grid_size=FINE_M).area)


def common(one: BaseGeometry, other: BaseGeometry) -> float:
    """Return the area that two shapes share."""
    return float(shapely.intersection(one, other, grid_size=FINE_M).area)
