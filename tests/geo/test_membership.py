"""Ring membership: laws, brute force, and geodesics of pyproj."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from shapely.geometry import MultiPolygon, Polygon

from app.errors import InvalidShape
from app.geo.projection.local_projection import LocalProjection
from app.geo.rings.membership import GRID_FROM, LEVELS, OUTSIDE, ZONES, Boundary, RingIndex
from app.geo.rings.outline import Outline
from tests.geo.shapes import FRAME, multi, places, polygons, stars

GEOD = Geod(ellps="WGS84")
tolerances = st.sampled_from([0.0, 0.5, 5.0, 150.0, 3000.0])


def square(size_deg: float, middle: tuple[float, float] = (113.25, 35.25)) -> MultiPolygon:
    """Return a square with exact corners."""
    x, y = middle
    return MultiPolygon([shapely.box(x - size_deg, y - size_deg, x + size_deg, y + size_deg)])


def three(tolerance_m: float = 5.0) -> RingIndex:
    """Return core, urban and city as nested squares, given in no good order."""
    sizes = {"urban": 0.125, "city": 0.25, "core": 0.0625}
    return RingIndex(
        [Boundary(level, square(size), tolerance_m) for level, size in sizes.items()],  # type: ignore[arg-type]  # keys are levels
        FRAME,
    )


def brute(boundaries: tuple[Boundary, ...], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return zone codes and border bits by unprepared predicates, ring by ring."""
    codes = np.full(len(points), OUTSIDE, np.uint8)
    bits = np.zeros(len(points), np.uint8)
    made = shapely.points(points)
    xy = FRAME.to_metres(points)
    for boundary in reversed(boundaries):
        bit = LEVELS.index(boundary.level)
        polygon = shapely.from_wkb(boundary.polygon.wkb)
        covered = shapely.covers(polygon, made)
        codes[covered] = bit
        line = FRAME.project(shapely.segmentize(polygon.boundary, 0.00135))
        away = shapely.distance(line, shapely.points(xy))
        on_line = shapely.intersects(polygon.boundary, made)
        near = on_line | (np.maximum(away, 1e-9) <= boundary.tolerance_m)
        bits |= near.astype(np.uint8) << bit
    return codes, bits


@given(polygons, tolerances, st.data())
def test_zones_equal_brute_force(shape: MultiPolygon, tolerance: float, data: st.DataObject) -> None:
    points = data.draw(places(shape))
    index = RingIndex([Boundary("city", shape, tolerance)], FRAME)
    expected = brute(index.boundaries, points)
    for found in (index.classify_points(points), _by_grid(index, points)):
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])


@given(polygons, polygons, polygons, tolerances, st.data())
@settings(max_examples=40)
def test_zones_of_three_rings_equal_brute_force(
    core: MultiPolygon,
    urban: MultiPolygon,
    city: MultiPolygon,
    tolerance: float,
    data: st.DataObject,
) -> None:
    shapes = dict(zip(LEVELS, (core, urban, city), strict=True))
    index = RingIndex([Boundary(of, shape, tolerance) for of, shape in shapes.items()], FRAME)
    points = np.concatenate([data.draw(places(shape)) for shape in shapes.values()])
    expected = brute(index.boundaries, points)
    for found in (index.classify_points(points), _by_grid(index, points)):
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])


def _by_grid(index: RingIndex, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the answer the way millions of points are answered."""
    index.load_grid()
    return index.classify_points(points)


def test_many_points_take_the_grid_and_answer_the_same() -> None:
    rng = np.random.default_rng(4)
    points = np.column_stack([rng.uniform(112.9, 113.6, GRID_FROM), rng.uniform(34.9, 35.6, GRID_FROM)])
    index = three(20.0)
    codes, bits = index.classify_points(points)
    assert index._grid is not None
    expected = brute(index.boundaries, points)
    assert np.array_equal(codes, expected[0])
    assert np.array_equal(bits, expected[1])
    assert len(np.unique(codes)) == 4
    assert len(np.unique(bits)) == 4


@given(polygons, tolerances, st.data())
def test_locate_agrees_with_zones(shape: MultiPolygon, tolerance: float, data: st.DataObject) -> None:
    points = data.draw(places(shape))
    index = RingIndex([Boundary("urban", shape, tolerance)], FRAME)
    found = index.locate_points(points)
    codes, bits = index.classify_points(points)
    assert found.zone == [ZONES[code] for code in codes]
    assert np.array_equal(found.on_boundary[:, 0], bits == 2)


@given(polygons, st.data())
def test_sign_and_zero_follow_the_predicates(shape: MultiPolygon, data: st.DataObject) -> None:
    points = data.draw(places(shape))
    found = RingIndex([Boundary("core", shape)], FRAME).locate_points(points)
    distance = found.distance_m[:, 0]
    made = shapely.points(points)
    assert np.array_equal(found.inside[:, 0], distance <= 0)
    assert np.array_equal(distance == 0, shapely.intersects(shape.boundary, made))
    assert np.array_equal(distance < 0, shapely.contains_properly(shape, made))
    assert np.array_equal(found.on_boundary[:, 0], distance == 0)
    assert not np.signbit(distance[distance == 0]).any()


@given(stars(0.1), st.data())
@settings(max_examples=30)
def test_distances_agree_with_the_ellipsoid(shape: MultiPolygon, data: st.DataObject) -> None:
    points = data.draw(places(shape, 5))[:10]
    border = shapely.get_coordinates(shapely.segmentize(shape.boundary, 1e-4))
    found = RingIndex([Boundary("core", shape)], FRAME).locate_points(points)
    for point, distance in zip(points, found.distance_m[:, 0], strict=True):
        n = len(border)
        lon, lat = np.full(n, point[0]), np.full(n, point[1])
        _, _, away = GEOD.inv(lon, lat, border[:, 0], border[:, 1])
        # Vertices are at most 15 m apart, so the nearest is at most that much too far: with
        # half a step aside at most hypot(d, 7.5). Scale of the zone here: up to 1.00021.
        assert abs(distance) <= away.min() * 1.00022 + 1e-6
        assert np.hypot(distance, 7.5) >= away.min() * (1 - 1e-6)


def test_long_edges_are_straight_in_longitude_and_latitude() -> None:
    # An edge of half a degree along the parallel 35.5; between its ends a straight line of the
    # metric frame runs up to 70 m off the parallel.
    index = RingIndex([Boundary("city", square(0.25), 5.0)], FRAME)
    found = index.locate_points([(113.25, 35.5), (113.25, 35.50001), (113.25, 35.49999)])
    assert found.distance_m[:, 0] == pytest.approx([0.0, 1.11, -1.11], abs=0.01)
    assert found.on_boundary.all()


def test_the_tie_rule() -> None:
    hole = shapely.box(113.125, 35.125, 113.375, 35.375)
    ring = multi(shapely.box(113, 35, 113.5, 35.5).difference(hole))
    index = RingIndex([Boundary("city", ring)], FRAME)
    on_line = [(113.0, 35.0), (113.25, 35.0), (113.125, 35.25), (113.375, 35.375)]
    found = index.locate_points([*on_line, (113.25, 35.25)])
    assert found.zone == ["city"] * 4 + ["outside"]
    assert found.distance_m[:4, 0].tolist() == [0.0] * 4
    assert found.on_boundary[:, 0].tolist() == [True] * 4 + [False]


def test_innermost_ring_names_the_zone() -> None:
    index = three()
    assert index.levels == ("core", "urban", "city")
    found = index.locate_points([(113.25, 35.25), (113.25, 35.35), (113.25, 35.45), (113.25, 36.0)])
    assert found.zone == list(ZONES)
    assert found.inside.sum(axis=1).tolist() == [3, 2, 1, 0]


def test_a_shared_border_is_on_both_rings() -> None:
    inner = shapely.box(113.0, 35.0, 113.25, 35.25)
    outer = shapely.box(113.0, 35.0, 113.5, 35.5)
    rings = [Boundary("core", MultiPolygon([inner])), Boundary("city", MultiPolygon([outer]))]
    index = RingIndex(rings, FRAME)
    codes, bits = index.classify_points([(113.0, 35.125)])
    assert (ZONES[codes[0]], bits[0]) == ("core", 1 | 4)


def test_order_of_rings_is_irrelevant() -> None:
    rng = np.random.default_rng(5)
    points = np.column_stack([rng.uniform(112.9, 113.6, 500), rng.uniform(34.9, 35.6, 500)])
    index = three()
    other = RingIndex(index.boundaries[::-1], FRAME)
    assert np.array_equal(index.locate_points(points).distance_m, other.locate_points(points).distance_m)
    assert np.array_equal(index.classify_points(points)[0], other.classify_points(points)[0])


@pytest.mark.parametrize("place", [(0.0, 0.0), (-67.0, -35.0), (113.2, -35.2), (180.0, 90.0)])
def test_the_other_end_of_the_world_is_outside_and_measured(place: tuple[float, float]) -> None:
    found = three().locate_points([place])
    assert found.zone == ["outside"]
    expected = GEOD.inv(*place, 113.25, 35.25)[2]
    assert found.distance_m[0] == pytest.approx([expected] * 3, abs=40_000)
    assert three(10_000.0).classify_points([place])[1].tolist() == [0]


def test_both_ways_to_measure_meet() -> None:
    # 3 degrees west of the city ring the answer changes from the frame to the ellipsoid
    found = three().locate_points([(110.0, 35.25), (109.9999, 35.25)])
    assert found.distance_m[0] == pytest.approx(found.distance_m[1], rel=2e-3)


@pytest.mark.parametrize("wrong", [(np.nan, 35.0), (113.0, np.inf), (35.2, 113.2)])
def test_what_is_no_place_is_refused(wrong: tuple[float, float]) -> None:
    index = three()
    for ask in (index.locate_points, index.classify_points):
        with pytest.raises(InvalidShape):
            ask([(113.0, 35.0), wrong])


def test_nothing_asked_nothing_answered() -> None:
    index = three()
    found = index.locate_points([])
    assert (found.zone, found.inside.shape, found.distance_m.shape) == ([], (0, 3), (0, 3))
    for _ in range(2):
        codes, bits = index.classify_points([])
        assert codes.shape == bits.shape == (0,)
        index.load_grid()


def test_impossible_rings_are_refused() -> None:
    ring = Boundary("core", square(0.1))
    with pytest.raises(ValueError, match="at least one"):
        RingIndex([], FRAME)
    with pytest.raises(ValueError, match="at most one"):
        RingIndex([ring, ring], FRAME)
    with pytest.raises(ValueError, match="unknown level"):
        Boundary("village", square(0.1))  # type: ignore[arg-type]  # on purpose
    for tolerance in (-1.0, np.nan, 1e6):
        with pytest.raises(ValueError, match="tolerance_m"):
            Boundary("core", square(0.1), tolerance)


def test_threads_share_a_fresh_index() -> None:
    rng = np.random.default_rng(6)
    points = np.column_stack([rng.uniform(112.9, 113.6, 20_000), rng.uniform(34.9, 35.6, 20_000)])
    expected = three().classify_points(points)
    for _ in range(2):
        index = three()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _, i=index: i.classify_points(points), range(4)))
        assert all(np.array_equal(one[0], expected[0]) for one in found)
        assert all(np.array_equal(one[1], expected[1]) for one in found)


def test_a_ring_elsewhere_uses_its_own_frame() -> None:
    ring = MultiPolygon([Polygon([(-58.5, -34.7), (-58.3, -34.7), (-58.4, -34.5)])])
    index = RingIndex([Boundary("city", ring, 10.0)], LocalProjection(32721))
    found = index.locate_points([(-58.4, -34.6), (-58.4, -34.7001)])
    assert found.zone == ["city", "outside"]
    assert found.distance_m[1, 0] == pytest.approx(11.1, abs=0.1)


def test_an_outline_measures_what_shapely_measures() -> None:
    polygon = square(0.01)
    outline = Outline(polygon, FRAME)
    rng = np.random.default_rng(7)
    xy = FRAME.to_metres(np.column_stack([rng.uniform(113, 113.5, 200), rng.uniform(35, 35.5, 200)]))
    line = shapely.from_wkb(outline.line.wkb)
    expected = shapely.distance(line, shapely.points(xy))
    assert outline.distance(xy) == pytest.approx(expected, abs=1e-9)
    assert np.array_equal(outline.is_within(xy, 9000.0), expected <= 9000.0)
