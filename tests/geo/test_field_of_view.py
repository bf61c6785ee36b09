"""Field of view: tables from the domain notes, and laws of sectors."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from app.geo.visibility.field_of_view import (
    SCALES,
    build_sectors,
    density_at,
    find_level,
    near_blind_m,
    opening_from_lens,
    range_for_density,
    sector,
    sector_area,
)

bearings = st.floats(-720, 720)
openings = st.floats(0.5, 360) | st.just(360.0)
ranges = st.floats(1, 5000)
shares = st.floats(0, 0.9)


@pytest.mark.parametrize(
    ("pixels", "opening", "distances"),
    [  # distance in m at which 20, 40, 80, 125, 250, 500 and 1500 px/m end
        (1920, 90, (48.0, 24.0, 12.0, 7.7, 3.8, 1.9, 0.6)),
        (1920, 30, (179.1, 89.6, 44.8, 28.7, 14.3, 7.2, 2.4)),
        (1920, 10, (548.6, 274.3, 137.2, 87.8, 43.9, 21.9, 7.3)),
        (3840, 30, (358.3, 179.1, 89.6, 57.3, 28.7, 14.3, 4.8)),
    ],
)
def test_ranges_of_the_domain_notes(pixels: int, opening: int, distances: tuple[float, ...]) -> None:
    levels = list(SCALES["iec2025"].values())
    assert range_for_density(pixels, opening, levels).round(1).tolist() == list(distances)


@pytest.mark.parametrize(
    ("width", "focal", "opening"),
    [(4.8, 2.8, 81.2), (4.8, 50, 5.5), (5.6, 2.8, 90.0), (5.6, 25, 12.8), (7.2, 12, 33.4)],
)
def test_openings_of_the_domain_notes(width: float, focal: float, opening: float) -> None:
    assert float(opening_from_lens(width, focal)) == pytest.approx(opening, abs=0.05)


@given(st.floats(100, 8000), openings, st.floats(1, 2000))
def test_density_and_range_are_inverse(pixels: float, opening: float, density: float) -> None:
    distance = range_for_density(pixels, opening, density)
    assert float(density_at(pixels, opening, distance)) == pytest.approx(density)


def test_panoramic_form_begins_at_120_degrees() -> None:
    assert float(range_for_density(1920, 360, 1)) == pytest.approx(1920 / (2 * math.pi))
    flat, round_ = range_for_density(1920, [119.999999, 120], 1)
    assert round_ / flat == pytest.approx(2 * math.tan(math.pi / 3) / (2 * math.pi / 3), rel=1e-6)


def test_nan_passes_and_nonsense_is_refused() -> None:
    assert np.isnan(range_for_density(np.nan, 60, 1))
    assert np.isnan(range_for_density(1920, np.nan, 1))
    assert np.isnan(near_blind_m(np.nan, 10, 10))
    assert math.isinf(density_at(1920, 60, 0))
    for wrong in (0, -1, 361):
        with pytest.raises(ValueError, match="opening_deg"):
            range_for_density(1920, wrong, 1)
    with pytest.raises(ValueError, match="above 0"):
        opening_from_lens(0, 4)
    with pytest.raises(ValueError, match="unknown scale"):
        find_level(1, "iec1999")


def test_near_blind_zone() -> None:
    # 6 m pole, tilt 20, vertical 40: lower edge 40 degrees down, (6 - 1.5) / tan 40 = 5.36
    found = near_blind_m([6, 6, 6, 1.2, 6], [20, 80, -30, 20, 0], [40, 40, 40, 40, 1e-9])
    assert found[:4].tolist() == pytest.approx([5.363, 0, math.inf, 0], abs=1e-3)
    assert found[4] > 1e10


@pytest.mark.parametrize("scale", SCALES)
def test_scales_rise(scale: str) -> None:
    needed = list(SCALES[scale].values())
    assert needed == sorted(needed)
    for name, value in SCALES[scale].items():
        assert find_level(value, scale) == name
        assert find_level(value - 0.01, scale) != name


@given(bearings, openings, ranges, shares)
def test_sector_lies_in_its_disc_and_its_area_follows_the_formula(
    bearing: float, opening: float, range_m: float, share: float
) -> None:
    near = range_m * share
    shape = sector((1000.0, -500.0), bearing, opening, range_m, near)
    assert shape.is_valid
    assert shape.geom_type == "Polygon"
    away = np.hypot(*(shapely.get_coordinates(shape) - (1000.0, -500.0)).T)
    assert away.max() <= range_m * (1 + 1e-9)
    true = sector_area(opening, range_m, near)
    step = math.radians(5)
    bound = math.radians(opening) / 2 * step**2 * (range_m**2 / 6 + near**2 / 11)
    assert true * (1 + 1e-9) >= shape.area >= true - bound - 1e-9 * range_m**2
    if near:
        assert shape.distance(shapely.Point(1000, -500)) >= near - 1e-3


@given(bearings, openings, ranges, shares, st.floats(0, 1), st.floats(-180, 180))
def test_what_a_sector_holds_is_in_view(
    bearing: float, opening: float, range_m: float, share: float, part: float, angle: float
) -> None:
    shape = sector((0, 0), bearing, opening, range_m, range_m * share)
    away, direction = range_m * part, math.radians(bearing + angle)
    place = shapely.Point(away * math.sin(direction), away * math.cos(direction))
    if shape.buffer(-1e-6 * range_m).contains(place):
        assert abs(angle) <= opening / 2 + 1e-3
        assert range_m * share - 1e-3 <= away <= range_m


@given(bearings, openings, ranges)
def test_a_full_turn_changes_nothing(bearing: float, opening: float, range_m: float) -> None:
    one, other = (sector((0, 0), bearing + turn, opening, range_m) for turn in (0, 360))
    assert one.equals_exact(other, 1e-6 * range_m)


def test_hair_thin_sectors_and_gaps_are_none() -> None:
    assert sector((0, 0), 0, 1e-9, 100).is_empty
    nearly = sector((0, 0), 0, 359.99999999999994, 1)
    assert nearly.is_valid
    assert nearly.equals(sector((0, 0), 0, 360, 1))


def test_many_equal_one_by_one() -> None:
    rng = np.random.default_rng(2)
    n = 300
    columns = (
        rng.uniform(0, 1e5, (n, 2)),
        rng.uniform(0, 360, n),
        rng.choice([5.0, 60, 200, 359.9, 360], n),
        rng.uniform(5, 100, n),
        rng.choice([0.0, 2, 200], n),
    )
    many = build_sectors(*columns)
    for row in range(n):
        xy, *rest = (column[row] for column in columns)
        assert many[row].equals(sector((xy[0], xy[1]), *map(float, rest)))
    assert (shapely.is_empty(many) == (columns[4] == 200)).all()
    assert build_sectors(np.empty((0, 2)), [], [], []).shape == (0,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"opening_deg": 0.0},
        {"opening_deg": math.nan},
        {"range_m": -1.0},
        {"range_m": math.inf},
        {"near_m": -0.1},
        {"bearing_deg": math.nan},
        {"step_deg": 0.0},
    ],
)
def test_impossible_sectors_are_refused(wrong: dict[str, float]) -> None:
    usual = {"bearing_deg": 0.0, "opening_deg": 9.0, "range_m": 9.0}
    with pytest.raises(ValueError, match="must"):
        sector((0, 0), **(usual | wrong))
