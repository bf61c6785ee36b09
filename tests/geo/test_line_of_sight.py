"""Lines of sight in the coverage engine: buildings between devices and control points, and drawn views."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from app.geo.coverage.assessment import (
    IN_USE,
    ONLINE,
    Assessment,
    DeviceTable,
    Need,
    Parameters,
    PointTable,
    assess_coverage,
    name_reasons,
)
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.line_of_sight import LinesOfSight
from app.geo.visibility.obstacles import Obstacles
from tests.geo.scenes import NAN, Camera, cameras, clear_of, houses, seen

FRAME = LocalProjection(4547)
MIDDLE = FRAME.to_metres([(113.2, 35.2)])[0]
TURN_DEG = float(FRAME.convergence_deg([(113.2, 35.2)])[0])


def lonlat(*places: tuple[float, float]) -> Any:
    return FRAME.to_lonlat(np.array(places, dtype=np.float64) + MIDDLE)


def moved(shape: BaseGeometry) -> Any:
    return shapely.affinity.translate(shape, *MIDDLE)


def looked(
    camera: Camera,
    target: tuple[float, float] | Polygon,
    *buildings: BaseGeometry,
    heights: list[float] | None = None,
    drawn: Mapping[int, Polygon] | None = None,
    assigned: bool = False,
    stated: bool = True,
) -> Assessment:
    """Return how one camera serves one control point among buildings."""
    one = np.ones(1)
    byte = one.astype(np.uint8)
    area = isinstance(target, Polygon)
    at = target.representative_point().coords[0] if isinstance(target, Polygon) else target
    points = PointTable(
        ["P"],
        lonlat((at[0], at[1])),
        {0: FRAME.unproject(moved(target))} if isinstance(target, Polygon) else {},
        [(Need("overview"),)],
    )
    assert area == bool(points.shape)
    all_round = camera.opening_deg == 360
    devices = DeviceTable(
        ["camera"], ["C"], lonlat((camera.east, camera.north)),
        functions=byte * 8, directions=byte * 0, lifecycle=byte * IN_USE, state=byte * ONLINE,
        stale=byte < 1,
        azimuth_deg=one * (NAN if all_round else (camera.bearing_deg + TURN_DEG) % 360),
        opening_deg=one * camera.opening_deg,
        range_m=one * (camera.range_m if stated else NAN), near_m=one * camera.near_m,
        h_pixels=one * NAN, assigned=np.zeros(1, np.int64) - (not assigned),
        installation=-np.ones(1, np.int64), group=-np.ones(1, np.int64),
    )  # fmt: skip
    high = np.array(heights if heights is not None else [NAN] * len(buildings), dtype=np.float64)
    shapes = np.array([moved(shape) for shape in buildings], dtype=object)
    by_hand = {row: moved(shape) for row, shape in (drawn or {}).items()}
    sight = LinesOfSight(Obstacles(shapes, high), one * camera.mount_m, np.array([camera.indoor]), by_hand)
    return assess_coverage(points, devices, Parameters(), FRAME, visibility=sight)


def reasons(*arguments: Any, **more: Any) -> tuple[str, ...]:
    found = looked(*arguments, **more)
    return name_reasons(int(found.best_reasons[0])) if not found.met[0] else ()


EAST = Camera(0, 0, 90, 60, 100)
WALL = shapely.box(20, -50, 22, 50)


def test_a_building_in_the_way_puts_a_place_out_of_view_and_is_named() -> None:
    assert reasons(EAST, (50, 0)) == ()
    found = looked(EAST, (50, 0), shapely.box(60, -9, 70, 9), shapely.box(40, -9, 42, 9), WALL)
    assert name_reasons(int(found.best_reasons[0])) == ("out_of_view",)
    assert found.explain_point(0)[0].candidates[0].hidden_by == 2  # the first on the way
    assert looked(EAST, (50, 0)).explain_point(0)[0].candidates[0].hidden_by is None


def test_the_building_that_is_the_place_does_not_hide_it() -> None:
    house = shapely.box(45, -5, 55, 5)
    assert reasons(EAST, (50, 0), house) == ()
    assert reasons(EAST, house, house) == ()
    assert reasons(EAST, house, house, WALL) == ("out_of_view",)


def test_an_area_is_reached_where_a_part_of_it_is_in_view_and_not_hidden() -> None:
    ground = shapely.box(40, -20, 60, 20)
    screen = shapely.box(20, -30, 22, 5)
    assert reasons(EAST, ground, screen) == ()
    # In view is only what the screen hides: all else of the ground lies north of the view.
    narrow = EAST._replace(bearing_deg=100, opening_deg=10)
    assert reasons(narrow, ground) == ()
    assert reasons(narrow, ground, screen) == ("out_of_view",)


def test_over_a_low_wall_one_sees_what_lies_beyond_its_shadow() -> None:
    high_up = EAST._replace(mount_m=6.0)  # the shadow of 3 m at 22 m ends at 33 m
    assert reasons(high_up, (32, 0), WALL, heights=[3.0]) == ("out_of_view",)
    assert reasons(high_up, (34, 0), WALL, heights=[3.0]) == ()
    assert reasons(high_up, (34, 0), WALL, heights=[7.0]) == ("out_of_view",)
    assert reasons(EAST, (34, 0), WALL, heights=[3.0]) == ("out_of_view",)


def test_where_the_camera_hangs() -> None:
    house = shapely.box(-20, -10, 0, 10)
    assert reasons(EAST, (30, 0), house) == ()  # on its wall
    assert reasons(EAST._replace(bearing_deg=270), (-30, 0), house) == ("out_of_view",)
    deep = EAST._replace(east=-10)
    assert reasons(deep, (30, 0), house) == ()  # on its roof
    indoors = deep._replace(indoor=True)
    assert reasons(indoors, (30, 0), house) == ("out_of_view",)
    assert reasons(indoors, (-5, 0), house) == ()


def test_whoever_is_said_to_watch_a_place_cannot_look_through_a_wall_either() -> None:
    silent = EAST._replace(opening_deg=360.0)
    assert reasons(silent, (50, 0), assigned=True, stated=False) == ()
    assert reasons(silent, (50, 0), WALL, assigned=True, stated=False) == ("out_of_view",)


def test_a_drawn_view_decides_alone() -> None:
    drawn = {0: shapely.box(10, 10, 80, 30)}
    assert reasons(EAST, (50, 0), drawn=drawn) == ("out_of_view",)
    assert reasons(EAST, (50, 20), WALL, drawn=drawn) == ()
    assert reasons(EAST, (95, 0), drawn=drawn) == ("too_far", "out_of_view")
    assert reasons(EAST, shapely.box(70, 25, 90, 40), drawn=drawn) == ()
    assert reasons(EAST, shapely.box(70, 31, 90, 40), drawn=drawn) == ("out_of_view",)


@given(cameras, st.lists(houses(), min_size=1, max_size=5), st.integers(0, 2**16))
def test_the_engine_sees_what_the_field_of_view_holds(camera: Camera, town: list[Polygon], seed: int) -> None:
    assume(clear_of(camera, town))
    rng = np.random.default_rng(seed)
    shape = seen(camera, *town)
    for east, north in rng.uniform(-60, 60, (6, 2)):
        place = shapely.Point(camera.east + east, camera.north + north)
        away = float(np.hypot(east, north))
        if away < 1.5 or any(house.distance(place) < 0.1 for house in town):
            continue
        if shape.boundary.distance(place) < 0.2 or abs(away - camera.near_m) < 0.3:
            continue  # chords of an arc lie a little inside it
        met = bool(looked(camera, (place.x, place.y), *town).met[0])
        assert met == bool(shape.contains(place)), (east, north)


def test_without_anything_in_the_way_nothing_changes() -> None:
    with_sight = looked(EAST, (50, 10))
    assert with_sight.met[0] == pytest.approx(1)
    assert with_sight.best_distance_m[0] == pytest.approx(np.hypot(50, 10), abs=1e-3)
