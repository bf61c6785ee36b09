"""Covered area: against plain set operations of Shapely, laws, and changes one at a time."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from app.errors import TooLarge
from app.geo.coverage import area
from app.geo.coverage.area import CoveredSections, ZoneSections, compute_area_coverage
from app.geo.coverage.overlap import compute_overlap_levels, keep_areas, subtract_covered
from app.geo.visibility.field_of_view import sector
from tests.geo.scenes import FINE_M, Camera, common, houses, obstacles, seen

CELL_M = 10.0
CITY = shapely.Point(0, 0).buffer(50)
CORE = shapely.box(-15, -15, 12, 17)
ZONES: list[Any] = [CORE, CITY.difference(CORE)]
SECTIONS = ZoneSections.from_zones(ZONES, CELL_M)


def shapes_of(*shapes: BaseGeometry) -> NDArray[np.object_]:
    return np.array(shapes, dtype=object)


def covered(*shapes: BaseGeometry, max_count: int = 3, **options: Any) -> CoveredSections:
    return compute_area_coverage(SECTIONS, shapes_of(*shapes), np.arange(len(shapes)), max_count, **options)


def by_zone(coverage: CoveredSections, k: int = 1) -> list[float]:
    """Return the covered area of each zone."""
    sums: list[float] = np.bincount(SECTIONS.zone, coverage.covered_m2(k), minlength=2).tolist()
    return sums


def at_least(k: int, *shapes: BaseGeometry) -> BaseGeometry:
    """Return what k shapes or more cover, by the definition."""
    levels = shapes_of(*[Polygon()] * k)
    for shape in shapes:
        for t in range(k - 1, 0, -1):
            overlap = keep_areas(shapely.intersection(levels[t - 1 : t], shape, grid_size=FINE_M))
            levels[t : t + 1] = keep_areas(shapely.union(levels[t : t + 1], overlap, grid_size=FINE_M))
        levels[:1] = keep_areas(shapely.union(levels[:1], shape, grid_size=FINE_M))
    expected: BaseGeometry = levels[k - 1]
    return expected


coordinates = st.integers(-60, 60)
views = st.builds(
    lambda e, n, bearing, opening, reach, near_m: sector((e, n), bearing, opening, reach, near_m),
    coordinates,
    coordinates,
    st.sampled_from([0, 45, 90, 200]),
    st.sampled_from([30, 90, 360]),
    st.sampled_from([5, 12, 30]),
    st.sampled_from([0, 0, 2]),
)
many = st.lists(views, min_size=1, max_size=8)


# -- examples -------------------------------------------------------------------------------------


def test_two_boxes_in_one_zone() -> None:
    first, second = shapely.box(-10, 0, 0, 10), shapely.box(-5, 0, 5, 10)
    coverage = covered(first, second)
    assert by_zone(coverage) == pytest.approx([150, 0])
    assert by_zone(coverage, 2) == pytest.approx([50, 0])
    assert by_zone(coverage, 3) == [0, 0]
    seen_m2, alone_m2 = coverage.compute_view_areas(np.arange(2))
    assert (seen_m2.tolist(), alone_m2.tolist()) == (
        pytest.approx([100, 100]), pytest.approx([50, 50]),
    )  # fmt: skip


def test_what_lies_outside_every_zone_is_not_counted() -> None:
    assert by_zone(covered(shapely.box(100, 100, 200, 200))) == [0, 0]
    half = covered(shapely.box(2, 0, 22, 10))  # 10 m in the core, 10 m beyond it
    assert by_zone(half) == pytest.approx([100, 100])


def test_nothing_at_all_leaves_the_zones_as_gaps() -> None:
    for coverage in (covered(), covered(Polygon())):
        gaps, zone = coverage.find_gaps(np.array([0, 1]))
        assert sorted(zone.tolist()) == [0, 1]
        assert shapely.area(gaps).sum() == pytest.approx(CITY.area)


def test_gaps_are_connected_pieces_above_a_size_largest_first() -> None:
    wall = shapely.box(-15, 0, 12, 1)  # divides the core into 27 x 15 and 27 x 16
    ring = sector((0, 8), 0, 360, 6, 5.5)  # encloses a disc of about 95 m2
    coverage = covered(wall, ring)
    gaps, _ = coverage.find_gaps(np.array([0]))
    disc = sector((0, 8), 0, 360, 5.5)
    assert shapely.area(gaps).tolist() == pytest.approx(
        [405, 432 - ring.area - disc.area, disc.area], rel=0.01
    ) or shapely.area(gaps).tolist() == pytest.approx(
        sorted([405, 432 - ring.area - disc.area, disc.area], reverse=True), rel=0.01
    )
    assert len(coverage.find_gaps(np.array([0]), 1, 200.0)[0]) == 2


def test_a_patch_in_a_pocket_is_a_hole_of_the_pocket() -> None:
    zone = shapely.box(0, 0, 20, 20)
    border = shapely.box(2, 2, 18, 18).difference(shapely.box(4, 4, 16, 16))
    island = shapely.box(8, 8, 12, 12)
    coverage = subtract_covered(zone, shapes_of(border, island))
    assert sorted(shapely.area(coverage).tolist()) == [144 - 16, 400 - 256]
    assert shapely.is_valid(coverage).all()


def test_edges_that_all_but_coincide_do_not_turn_a_shape_inside_out() -> None:
    # GEOS 3.14 takes the house for a part of the view that goes round it: 195 m2 in common.
    house = shapely.affinity.rotate(shapely.box(-16.75, 0.25, -3.75, 15.25), 64)
    view = seen(Camera(-16.25, 18.25, 1, 270, 20, mount_m=10), house, heights=[2.0])
    coverage = compute_overlap_levels(shapes_of(view, house), np.zeros(2, np.int64), 2)
    assert shapely.area(coverage.at_least[0]).sum() == pytest.approx(view.area + house.area)
    assert shapely.area(coverage.at_least[1]).sum() == pytest.approx(0, abs=1e-3)
    assert coverage.exclusive_m2 == pytest.approx([view.area, house.area], rel=1e-4)


def test_views_that_reach_too_far_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(area, "MAX_PIECES", 20)
    with pytest.raises(TooLarge):
        covered(shapely.box(-50, -50, 50, 50))


def test_what_was_not_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="max_count"):
        covered(max_count=1)
    with pytest.raises(ValueError, match="k must"):
        covered(max_count=2).covered_m2(3)
    with pytest.raises(ValueError, match="k must"):
        covered(max_count=2).collect_covered(0)
    with pytest.raises(ValueError, match="zone"):
        ZoneSections.from_zones([])


# -- laws -----------------------------------------------------------------------------------------


def test_sections_make_up_the_zones() -> None:
    for number, zone in enumerate(ZONES):
        parts = SECTIONS.shape[SECTIONS.zone == number]
        assert shapely.area(parts).sum() == pytest.approx(zone.area)
        assert shapely.union_all(parts).symmetric_difference(zone).area < 1e-6
    large = ZoneSections.from_zones([shapely.box(0, 0, 1e6, 1e6)], 1.0)
    assert len(large) <= area.MAX_CELLS * 1.1


@given(many)
def test_plain_set_operations_say_the_same(shapes: list[Polygon]) -> None:
    coverage = covered(*shapes)
    for k in (1, 2, 3):
        level = at_least(k, *shapes)
        expected = [common(level, zone) for zone in ZONES]
        assert by_zone(coverage, k) == pytest.approx(expected, abs=0.01)


@given(many)
def test_covered_ground_and_gaps_make_up_the_zone(shapes: list[Polygon]) -> None:
    coverage = covered(*shapes)
    for k in (1, 2):
        gaps, zone = coverage.find_gaps(np.array([0, 1]), k)
        left = np.bincount(zone, shapely.area(gaps), minlength=2)
        total = [zone.area for zone in ZONES]
        assert (left + by_zone(coverage, k)).tolist() == pytest.approx(total, abs=0.01)
        assert shapely.is_valid(gaps).all()
        assert common(shapely.union_all(gaps), at_least(k, *shapes)) < 0.01


@given(many, views)
def test_another_view_adds_no_more_than_it_sees_and_takes_nothing_away(
    shapes: list[Polygon], added_view: Polygon
) -> None:
    before, after = covered(*shapes), covered(*shapes, added_view)
    for k in (1, 2, 3):
        added = after.covered_m2(k).sum() - before.covered_m2(k).sum()
        assert -0.01 <= added <= common(added_view, CITY) + 0.01
        assert after.covered_m2(k).sum() <= before.covered_m2(max(k - 1, 1)).sum() + added_view.area + 0.01
    alone = after.compute_view_areas(np.arange(len(shapes) + 1))[1][-1]
    added = after.covered_m2().sum() - before.covered_m2().sum()
    assert alone == pytest.approx(added, abs=0.01)


@given(many)
def test_shares_lie_between_nothing_and_everything(shapes: list[Polygon]) -> None:
    coverage = covered(*shapes)
    seen_m2, alone_m2 = coverage.compute_view_areas(np.arange(len(shapes)))
    assert (alone_m2 >= 0).all()
    assert (alone_m2 <= seen_m2 + 0.01).all()
    once = coverage.covered_m2().sum() - coverage.covered_m2(2).sum()
    assert alone_m2.sum() == pytest.approx(once, abs=0.01)
    assert seen_m2 == pytest.approx([common(shape, CITY) for shape in shapes], abs=0.01)


@given(many, st.randoms(use_true_random=False))
def test_order_does_not_matter(shapes: list[Polygon], chance: Any) -> None:
    turned = list(range(len(shapes)))
    chance.shuffle(turned)
    first = covered(*shapes)
    second = compute_area_coverage(SECTIONS, shapes_of(*(shapes[i] for i in turned)), np.array(turned), 3)
    for k in (1, 2, 3):
        assert second.covered_m2(k) == pytest.approx(first.covered_m2(k), abs=1e-6)
    stamps = np.arange(len(shapes))
    assert second.compute_view_areas(stamps)[1] == pytest.approx(first.compute_view_areas(stamps)[1], abs=1e-6)


@given(many, st.lists(st.tuples(st.integers(0, 7), views | st.none()), min_size=1, max_size=6))
def test_changes_one_at_a_time_give_what_computing_everything_gives(
    shapes: list[Polygon], changes: list[tuple[int, Polygon | None]]
) -> None:
    now: dict[int, Polygon] = dict(enumerate(shapes))
    coverage = covered(*shapes)
    for step, (choice, new) in enumerate(changes):
        old = sorted(now)[choice % len(now)] if now else None
        if old is not None:
            del now[old]
        if new is not None:
            now[100 + step] = new
        stamps = np.array(sorted(now), dtype=np.int64)
        views_now = shapes_of(*(now[stamp] for stamp in stamps.tolist()))
        coverage = compute_area_coverage(SECTIONS, views_now, stamps, 3, before=coverage)
        fresh = compute_area_coverage(SECTIONS, views_now, stamps, 3)
        assert coverage.recomputed_count <= fresh.recomputed_count
        for k in (1, 2, 3):
            assert coverage.covered_m2(k).tolist() == fresh.covered_m2(k).tolist()
        assert [s.tolist() for s in coverage.compute_view_areas(stamps)] == [
            s.tolist() for s in fresh.compute_view_areas(stamps)
        ]


def test_a_change_is_recomputed_where_it_is_and_nowhere_else() -> None:
    shapes = [sector((e, n), 0, 360, 4) for e in range(-30, 31, 10) for n in range(-30, 31, 10)]
    before = covered(*shapes)
    stamps = np.arange(len(shapes))
    stamps[0], shapes[0] = 1000, sector((-30, -30), 0, 360, 3)
    after = compute_area_coverage(SECTIONS, shapes_of(*shapes), stamps, 3, before=before)
    assert 1 <= after.recomputed_count <= 4 < before.recomputed_count
    same = compute_area_coverage(SECTIONS, shapes_of(*shapes), stamps, 3, before=after)
    assert same.recomputed_count == 0


@given(st.lists(houses(), min_size=1, max_size=4), st.integers(0, 359))
def test_views_cut_by_the_same_walls_are_added_up_right(town: list[Polygon], turn: int) -> None:
    cameras = [
        Camera(-45, -45, 45, 90, 60),
        Camera(-45, -45, turn, 90, 60),
        Camera(50, 3, 270, 60, 60),
    ]
    shapes = [seen(camera, *town) for camera in cameras]
    coverage = compute_area_coverage(SECTIONS, shapes_of(*shapes), np.arange(3), 3)
    assert obstacles(*town).tree is not None
    for k in (1, 2):
        expected = common(at_least(k, *shapes), CITY)
        assert coverage.covered_m2(k).sum() == pytest.approx(expected, abs=0.05)


def test_patches_that_touch_in_corners_cut_off_what_they_enclose() -> None:
    corners = [(3, 1, 6, 3), (3, 6, 6, 8), (1, 3, 3, 6), (6, 3, 8, 6)]
    coverage = subtract_covered(shapely.box(0, 0, 9, 9), shapes_of(*(shapely.box(*corner) for corner in corners)))
    assert sorted(shapely.area(coverage).tolist()) == [9.0, 48.0]
    assert shapely.is_valid(coverage).all()
