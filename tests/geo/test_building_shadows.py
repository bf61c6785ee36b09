"""Fields of view cut by buildings: examples with numbers, laws, and rays cast one by one."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Polygon

from app.errors import TooLarge
from app.geo.visibility import building_shadows
from app.geo.visibility.field_of_view import sector
from app.geo.visibility.obstacles import STANDING, Obstacles, PreviousObstacles, compute_heights
from tests.geo.scenes import (
    NAN,
    Camera,
    apart,
    beyond,
    cameras,
    clear_of,
    common,
    first_hits,
    houses,
    looks,
    obstacles,
    rays,
    seen,
    seen_by,
)

EAST = Camera(0, 0, 90, 60, 100)
ROUND = Camera(0, 0, 0, 360, 50)
towns = st.lists(houses(), min_size=1, max_size=6)


# -- examples -------------------------------------------------------------------------------------


def test_without_buildings_the_view_is_the_very_sector() -> None:
    shapes, how = looks([EAST, ROUND])
    found = building_shadows.cut_views(shapes, how, obstacles())
    assert all(one is other for one, other in zip(found.shape, shapes, strict=True))
    far = seen_by([EAST], obstacles(shapely.box(-50, -5, -40, 5), shapely.box(150, -5, 160, 5)))
    assert far.shape[0] == sector((0, 0), 90, 60, 100)
    assert len(far.by[0]) == 0


def test_a_wall_ends_the_view_and_casts_a_shadow() -> None:
    # A house 10 m wide at 20 m hides the wedge whose sides pass through its corners (20, 5) and
    # (20, -5): a right triangle on each side of the axis, up to x = 20.
    shape = seen(Camera(0, 0, 90, 20, 40), shapely.box(20, -50, 30, 50))
    assert shape.area == pytest.approx(20 * 20 * np.tan(np.radians(10)))
    shape = seen(EAST, shapely.box(20, -5, 30, 5))
    assert shape.contains(shapely.Point(19.9, 0))
    assert not shape.intersects(shapely.Point(31, 0))
    assert shape.contains(shapely.Point(60, 16))  # 16/60 is more than 5/20
    assert not shape.intersects(shapely.Point(60, 14))


def test_what_stands_in_the_blind_zone_hides_what_lies_beyond() -> None:
    camera = EAST._replace(near_m=10)
    kiosk = shapely.box(3, -1, 4, 1)
    assert seen(camera).intersects(shapely.Point(50, 0))
    assert not seen(camera, kiosk).intersects(shapely.Point(50, 0))


def test_houses_that_touch_in_a_corner_let_no_light_through() -> None:
    one, other = shapely.box(10, 0, 20, 10), shapely.box(20, -10, 30, 0)
    shape = seen(Camera(0, -15, 45, 60, 60), one, other)  # looks along the gap that is none
    line = shapely.LineString([(0, -15), (40, 11.25)])  # through (20, 0)... and past it
    beyond = shapely.difference(shapely.intersection(line, shape), shapely.Point(20, -1.25).buffer(1))
    assert beyond.length == pytest.approx(np.hypot(20, 13.75) - 1, abs=1.5)


def test_a_row_of_houses_is_one_wall() -> None:
    row = [shapely.box(20, y, 30, y + 10) for y in range(-50, 50, 10)]
    merged = shapely.box(20, -50, 30, 50)
    assert apart(seen(EAST, *row), seen(EAST, merged)) < 1e-4


def test_overlapping_houses_are_seen_as_what_they_cover_together() -> None:
    one, other = shapely.box(20, -10, 40, 4), shapely.box(25, -4, 35, 20)
    tilted = affinity.rotate(shapely.box(15, -15, 45, -5), 30)
    together = seen(EAST, shapely.union_all([one, other, tilted]))
    assert apart(seen(EAST, one, other, tilted), together) < 1e-4


def test_from_a_courtyard_one_sees_the_courtyard() -> None:
    court = shapely.box(-10, -10, 10, 10)
    house = shapely.box(-20, -20, 20, 20).difference(court)
    assert apart(seen(ROUND, house), court) < 1e-4


def test_the_buildings_that_cut_are_named() -> None:
    near, hidden, beside = (
        shapely.box(20, -5, 30, 5), shapely.box(50, -2, 60, 2), shapely.box(-30, 0, -20, 10),
    )  # fmt: skip
    found = seen_by([EAST], obstacles(hidden, near, beside))
    assert (found.by[0].tolist(), found.by[1].tolist()) == ([0], [1])


# -- where the camera hangs -----------------------------------------------------------------------

HOUSE = shapely.box(-20, -10, 0, 10)
"""Its east wall runs along x = 0."""


def _standing(camera: Camera, *shapes: Polygon, heights: list[float] | None = None) -> str:
    return STANDING[seen_by([camera], obstacles(*shapes, heights=heights)).standing[0]]


@pytest.mark.parametrize("east", [0.0, 0.02, -0.3, -2.9])
def test_a_camera_on_a_wall_sees_the_street_and_nothing_behind_the_wall(east: float) -> None:
    camera = Camera(east, 1, 90, 120, 30)
    assert _standing(camera, HOUSE) == "wall"
    shape, street = seen(camera, HOUSE), sector((east, 1), 90, 120, 30)
    front = street.intersection(shapely.box(0.1, -50, 50, 50))
    assert shape.intersection(front).area == pytest.approx(front.area, rel=0.01)
    round_about = seen(camera._replace(opening_deg=360.0), HOUSE)
    assert round_about.intersection(HOUSE.buffer(-0.01)).area == 0
    assert not round_about.intersects(shapely.Point(-25, 1))


def test_a_camera_deep_inside_a_footprint_stands_on_the_roof() -> None:
    camera = Camera(-10, 0, 90, 60, 40)
    assert _standing(camera, HOUSE) == "roof"
    assert seen(camera, HOUSE) == sector((-10, 0), 90, 60, 40)
    other = shapely.box(10, -50, 20, 50)
    assert seen(camera, HOUSE, other).bounds[2] == pytest.approx(10)  # others still block


def test_a_camera_known_to_be_higher_than_its_house_stands_on_the_roof() -> None:
    camera = Camera(-1, 0, 270, 60, 60, mount_m=9.0)
    assert _standing(camera, HOUSE, heights=[6.0]) == "roof"
    assert _standing(camera, HOUSE, heights=[12.0]) == "wall"


def test_indoors_one_sees_the_inside_of_the_house() -> None:
    camera = Camera(-10, 0, 0, 360, 60, indoor=True)
    assert _standing(camera, HOUSE) == "indoors"
    assert apart(seen(camera, HOUSE, shapely.box(5, -5, 9, 5)), HOUSE) < 1e-4
    outside = Camera(10, 0, 270, 60, 60, indoor=True)
    assert _standing(outside, HOUSE) == "free"


def test_a_wall_two_houses_share_is_no_place_to_hang() -> None:
    other = shapely.box(0, -10, 20, 10)
    assert _standing(Camera(0, 0, 90, 60, 60), HOUSE, other) == "roof"
    assert _standing(Camera(-1, 9.5, 0, 60, 60), HOUSE, other) == "wall"  # the north wall is free


# -- height ---------------------------------------------------------------------------------------


def test_a_low_building_hides_itself_and_its_shadow() -> None:
    # Camera at 6 m, wall of 3 m from 20 to 22 m, target at 1.5 m: the line over the far edge comes
    # down to 1.5 m at 22 * (6 - 1.5) / (6 - 3) = 33 m.
    camera = Camera(0, 0, 90, 10, 100, mount_m=6.0)
    wall = shapely.box(20, -50, 22, 50)
    shape = seen(camera, wall, heights=[3.0])
    axis = shapely.intersection(shape, shapely.LineString([(0, 0), (99, 0)]))
    assert [tuple(round(x, 3) for x in part.bounds[::2]) for part in shapely.get_parts(axis)] == [
        (0, 20), (33, 99),
    ]  # fmt: skip
    lower_than_the_target = seen(camera, wall, heights=[1.0])
    axis = shapely.intersection(lower_than_the_target, shapely.LineString([(0, 0), (99, 0)]))
    assert axis.length == pytest.approx(97)


@pytest.mark.parametrize(("mount", "height"), [(NAN, 3.0), (6.0, NAN), (6.0, 6.0), (6.0, 9.0)])
def test_what_is_not_known_to_be_lower_ends_the_view(mount: float, height: float) -> None:
    shape = seen(EAST._replace(mount_m=mount), shapely.box(20, -90, 22, 90), heights=[height])
    assert shape.bounds[2] == pytest.approx(20)


def test_heights_come_from_storeys_where_none_is_stated() -> None:
    found = compute_heights(np.array([10.0, NAN, NAN]), np.array([2.0, 3.0, NAN]))
    assert found.tolist()[:2] == [10.0, 12.0]
    assert np.isnan(found[2])


def test_more_than_can_be_looked_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building_shadows, "MAX_PAIRS", 3)
    with pytest.raises(TooLarge):
        seen_by([EAST], obstacles(*(shapely.box(20 + i, -1, 20.5 + i, 1) for i in range(4))))


# -- laws -----------------------------------------------------------------------------------------


@given(cameras, towns)
def test_rays_cast_one_by_one_see_the_same(camera: Camera, town: list[Polygon]) -> None:
    assume(clear_of(camera, town))
    shape = seen(camera, *town)
    lines = rays(camera, camera.range_m * 0.99 * np.cos(np.radians(2.5)))
    hits = np.minimum(first_hits(camera, lines, *town), shapely.length(lines))
    lit = shapely.length(shapely.intersection(lines, shape))
    dark = np.minimum(
        hits,
        shapely.length(
            shapely.intersection(
                lines,
                shapely.Point(camera.east, camera.north).buffer(camera.near_m / np.cos(np.radians(2.5)), quad_segs=64),
            )
        ),
    )
    # A ray that grazes a corner may see it or not; all others agree to the millimetre.
    differs = np.abs(lit - (hits - dark)) > 0.02
    assert differs.mean() <= 0.01


@given(st.lists(cameras, min_size=1, max_size=4), towns)
def test_buildings_only_take_away_and_leave_valid_shapes(many: list[Camera], town: list[Polygon]) -> None:
    open_ground, _ = looks(many)
    found = seen_by(many, obstacles(*town)).shape
    assert shapely.is_valid(found).all()
    assert set(shapely.get_type_id(found).tolist()) <= {3, 6}
    assert max(map(beyond, found, open_ground)) < 1e-4


@given(cameras, towns, houses())
def test_another_building_takes_more_away(camera: Camera, town: list[Polygon], other: Polygon) -> None:
    assume(clear_of(camera, [*town, other]))
    assert beyond(seen(camera, *town, other), seen(camera, *town)) < 1e-4


@given(cameras, towns, st.integers(0, 2**16))
def test_what_is_seen_is_seen_along_a_straight_line(camera: Camera, town: list[Polygon], seed: int) -> None:
    assume(clear_of(camera, town))
    camera = camera._replace(near_m=0.0)
    shape = seen(camera, *town).buffer(1e-6)
    assume(shape.area > 1)
    rng = np.random.default_rng(seed)
    vertices = shapely.get_coordinates(shapely.get_parts(shape.buffer(-2e-6)))
    assume(len(vertices))
    places = vertices[rng.integers(0, len(vertices), 20)]
    start = np.broadcast_to([camera.east, camera.north], places.shape)
    lines = shapely.linestrings(np.stack([start, places], axis=1))
    outside = shapely.length(shapely.difference(lines, shape))
    assert outside.max() < 0.01


@given(cameras, towns, st.integers(1, 359), st.integers(-500, 500))
def test_turning_and_moving_everything_moves_the_result(
    camera: Camera, town: list[Polygon], turn: int, move: int
) -> None:
    assume(clear_of(camera, town))
    angle = np.radians(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = [cos, sin, -sin, cos, move, 2 * move]  # clockwise, as bearings are
    east, north = affinity.affine_transform(shapely.Point(camera.east, camera.north), matrix).coords[0]
    moved = camera._replace(east=east, north=north, bearing_deg=(camera.bearing_deg + turn) % 360)
    there = seen(moved, *(affinity.affine_transform(house, matrix) for house in town))
    back = affinity.affine_transform(seen(camera, *town), matrix)
    if camera.opening_deg == 360:  # the corners of a disc turn with the grid, not with it
        assert there.area == pytest.approx(back.area, rel=2e-3, abs=1e-3)
    else:
        assert apart(there, back) < 1e-3


@given(st.lists(cameras, min_size=2, max_size=5), towns)
def test_cameras_do_not_see_each_other(many: list[Camera], town: list[Polygon]) -> None:
    together = seen_by(many, obstacles(*town))
    for row, camera in enumerate(many):
        alone = seen_by([camera], obstacles(*town))
        assert shapely.equals(together.shape[row], alone.shape[0]) or (
            apart(together.shape[row], alone.shape[0]) < 1e-4
        )


@given(cameras, houses(), st.integers(2, 20))
def test_a_lower_building_hides_less(camera: Camera, house: Polygon, height: int) -> None:
    assume(clear_of(camera, [house]))
    camera = camera._replace(mount_m=10.0)
    low, high = (seen(camera, house, heights=[h]) for h in (float(height), float(height + 1)))
    assert beyond(high, low) < 1e-4
    assert common(low, house) < 1e-4


def test_shadows_that_share_an_edge_leave_no_sliver_between_them() -> None:
    # A sector of zero width, from a corner of the shadow of one wall along that of the next.
    court = shapely.box(23.365378578549933, -36.28448487436472, 49.17086561864578, -23.74133300369713)
    house = shapely.box(17.365378578549933, -42.28448487436472, 55.17086561864578, -17.74133300369713)
    turned = affinity.rotate(house.difference(court), 213.94801087189086, origin=(0, 0))
    camera = Camera(0, 0, 0, 360, 80, mount_m=6.49274857874417)
    shape = seen(camera, turned, heights=[2.33545214368127])
    opened = shape.buffer(-0.0004, join_style="mitre").buffer(0.0006, join_style="mitre")
    assert opened.covers(shape)


FAR = [shapely.box(1000 + 9 * number, 0, 1010 + 9 * number, 8 + number % 3) for number in range(40)]
"""A row of houses each of which overlaps the next."""


@given(towns, st.lists(houses(), max_size=3), st.randoms())
def test_walls_after_a_change_are_those_made_from_nothing(
    town: list[Polygon], more: list[Polygon], chance: Any
) -> None:
    every = [*town, *FAR]
    before = obstacles(*every)
    assert len(before.walls.first) == len(every) + 1
    kept = [row for row in range(len(every)) if row >= len(town) or chance.random() < 0.7]
    if chance.random() < 0.3:
        kept.remove(len(town) + chance.randrange(len(FAR)))
    chance.shuffle(kept)
    shapes = np.array([every[row] for row in kept] + more, dtype=object)
    was = np.array(kept + [-1] * len(more), np.int64)
    high = np.full(len(shapes), np.nan)
    found, anew = Obstacles.update_from(shapes, high, PreviousObstacles(before, was)), Obstacles(shapes, high)
    assert "walls" in vars(found)  # taken over
    for name in ("start", "end", "first"):
        assert np.array_equal(getattr(found.walls, name), getattr(anew.walls, name)), name
