"""Validation of boundaries: invalid polygons with their reasons, and nesting of rings."""

import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.rings.validity import check_nesting, check_polygonal
from tests.geo.shapes import FRAME, blocks, multi, polygons

BOX = shapely.box(113.0, 35.0, 114.0, 36.0)


@given(polygons)
def test_valid_polygons_pass_unchanged_and_twice_is_once(shape: MultiPolygon) -> None:
    found = check_polygonal(shape)
    assert isinstance(found, MultiPolygon)
    assert found.equals_exact(shape)
    assert check_polygonal(found).equals_exact(found)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Point(113, 35), "not a polygon"),
        (BOX.boundary, "not a polygon"),
        (Polygon(), "empty"),
        (MultiPolygon(), "empty"),
        (Polygon([(113, 35, 1), (114, 35, 1), (114, 36, 1)]), "dimensions"),
        (Polygon([(113, 35), (114, 36), (114, 35), (113, 36)]), "self-intersection"),
        (Polygon([(113, 35), (114, 35), (115, 35)]), "too few|self-intersection"),
        (Polygon(BOX.exterior, [[(120, 35), (121, 35), (121, 36)]]), "hole lies outside"),
        (Polygon(BOX.exterior, [BOX.exterior.coords]), "intersection|nested|disconnected"),
        (MultiPolygon([BOX, BOX]), "duplicate|intersection|nested"),
        (Polygon([(35, 113), (36, 113), (36, 114)]), "out of range"),
        (Polygon([(113, 35), (200, 35), (114, 36)]), "out of range"),
        (shapely.transform(BOX, lambda xy: np.where(xy == 36, np.inf, xy)), "non-finite"),
        (shapely.transform(BOX, lambda xy: np.where(xy == 36, np.nan, xy)), "non-finite"),
    ],
)
def test_unusable_shapes_say_why(wrong: BaseGeometry, reason: str) -> None:
    with pytest.raises(InvalidShape, match=f"(?i){reason}"):
        check_polygonal(wrong)


def test_a_bowtie_names_its_knot() -> None:
    with pytest.raises(InvalidShape) as refused:
        check_polygonal(Polygon([(113, 35), (114, 36), (114, 35), (113, 36)]))
    assert refused.value.reason == "Self-intersection"
    assert refused.value.location == (113.5, 35.5)


@given(blocks(), blocks())
def test_a_part_lies_in_the_whole(one: MultiPolygon, other: MultiPolygon) -> None:
    whole = multi(one.union(other))
    assert check_nesting(whole, one, FRAME, 0.0) is None
    assert check_nesting(one, one, FRAME, 0.0) is None


@given(blocks(), blocks())
@settings(max_examples=50)
def test_what_sticks_out_is_found_and_measured(one: MultiPolygon, other: MultiPolygon) -> None:
    fault = check_nesting(one, other, FRAME, 1.0)
    out = other.difference(one)
    assert (fault is None) == (out.area == 0)
    if fault is None:
        return
    place = Point(fault.location)
    assert other.distance(place) < 1e-8  # a millimetre
    # Brute force: a dense lattice of places of what sticks out, measured by plain Shapely.
    xs = np.linspace(113, 113 + 6 / 64, 49)
    ys = np.linspace(35, 35 + 6 / 64, 49)
    lattice = shapely.points(np.column_stack([axis.ravel() for axis in np.meshgrid(xs, ys)]))
    held = np.asarray(lattice)[shapely.intersects(out, lattice)]
    metric = FRAME.project(shapely.segmentize(one, 0.00135))
    away = shapely.distance(metric, shapely.transform(held, FRAME.to_metres))
    assert fault.excess_m >= away.max() / 1.02 - 0.11
    # a step of the lattice is 178 m by 217 m
    assert fault.excess_m <= away.max() + 200
    measured = metric.distance(FRAME.project(place))
    assert measured == pytest.approx(fault.excess_m, abs=0.01)


@given(blocks(), blocks(), st.floats(0, 5000), st.floats(0, 5000))
@settings(max_examples=30)
def test_more_tolerance_never_makes_a_fault(one: MultiPolygon, other: MultiPolygon, low: float, more: float) -> None:
    if check_nesting(one, other, FRAME, low) is None:
        assert check_nesting(one, other, FRAME, low + more) is None


def test_a_hole_under_the_inner_ring_is_found_although_its_rim_is_shared() -> None:
    hole = shapely.box(113.2, 35.2, 113.21, 35.21)
    fault = check_nesting(multi(BOX - hole), shapely.box(113.1, 35.1, 113.3, 35.3), FRAME, 5.0)
    assert fault is not None
    # half of 0.01 degrees of longitude at 35.2 N: 455 m
    assert fault.excess_m == pytest.approx(455, abs=10)
    assert fault.location == pytest.approx((113.205, 35.205), abs=0.002)


def test_rounding_is_not_an_error() -> None:
    rough = Polygon([(113, 35), (114, 35), (114, 36), (113 + 1 / 3, 36), (113, 36)])
    inner = Polygon([(113, 35), (113.7, 35), (113.7, 36), (113 + 1e-13, 35.5)])
    assert check_nesting(rough, inner, FRAME, 0.0) is None


def test_disjoint_rings_are_as_far_out_as_they_reach() -> None:
    fault = check_nesting(BOX, shapely.box(114.5, 35.2, 115.0, 35.4), FRAME, 0.0)
    assert fault is not None
    assert fault.location[0] == pytest.approx(115.0)
    assert fault.excess_m == pytest.approx(91_000, abs=300)


def test_negative_tolerance_is_refused() -> None:
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="tolerance_m"):
            check_nesting(BOX, BOX, FRAME, wrong)


def test_large_rings_that_share_most_of_their_border() -> None:
    n = 100_000
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    radius = 0.6 * (1 + 0.15 * np.sin(5 * angle) + 0.0005 * np.sin(4000 * angle))
    inner = Polygon(np.column_stack([113.2 + radius * np.cos(angle), 35.2 + radius * np.sin(angle)]))
    outer = multi(inner.union(shapely.box(113.3, 35.0, 114.2, 35.4)))
    started = time.thread_time()
    assert check_nesting(outer, inner, FRAME, 5.0) is None
    assert time.thread_time() - started < 20  # aim 2; a bound on the method, not on the machine
