"""Detection of a wrong datum: reported on clear evidence, not reported for correct points."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from app.geo.arrays import Floats
from app.geo.projection.datum import detect_datum_mismatch, from_wgs84

WEST, SOUTH = 113.15, 35.15


def streets(spacing_m: float = 350.0, count: int = 30, seed: int = 1) -> list[shapely.LineString]:
    """A town of crooked streets."""
    random = np.random.default_rng(seed)
    step_x, step_y = spacing_m / 91_000, spacing_m / 111_000
    ends_x, ends_y = WEST + count * step_x, SOUTH + count * step_y
    lines = []
    for at in range(count):
        x = WEST + (at + random.uniform(-0.3, 0.3)) * step_x
        y = SOUTH + (at + random.uniform(-0.3, 0.3)) * step_y
        lines.append(shapely.LineString([(x, SOUTH), (x + step_x * 0.4, ends_y)]))
        lines.append(shapely.LineString([(WEST, y), (ends_x, y + step_y * 0.4)]))
    return lines


def beside(lines: list[shapely.LineString], count: int, seed: int, noise_m: float = 8.0) -> Floats:
    random = np.random.default_rng(seed)
    chosen = np.array(lines, dtype=object)[random.integers(0, len(lines), count)]
    places = shapely.line_interpolate_point(chosen, random.uniform(0, 1, count), normalized=True)
    return shapely.get_coordinates(places) + random.normal(0, noise_m / 100_000, (count, 2))


TOWN = streets()


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(40, 400),
    datum=st.sampled_from(["gcj02", "bd09"]),
)
def test_shifted_places_beside_roads_are_found(seed: int, count: int, datum: str) -> None:
    found = detect_datum_mismatch(from_wgs84(beside(TOWN, count, seed), datum), TOWN)
    assert found is not None
    assert (found.datum, found.shifted, found.basis) == (datum, "points", "roads")
    assert found.fit_after > 0.9 > found.fit_before
    assert (found.median_after_m or 99) < 10


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 400),
    noise_m=st.sampled_from([0.0, 8.0, 40.0]),
)
def test_honest_places_are_left_alone(seed: int, count: int, noise_m: float) -> None:
    assert detect_datum_mismatch(beside(TOWN, count, seed, noise_m), TOWN) is None


@given(seed=st.integers(0, 10_000), count=st.integers(0, 400))
def test_places_anywhere_prove_nothing(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    anywhere = np.array([WEST, SOUTH]) + random.uniform(0, 0.1, (count, 2))
    assert detect_datum_mismatch(anywhere, TOWN) is None


def test_roads_in_another_datum_are_told_apart() -> None:
    points = beside(TOWN, 300, 1)
    moved = [shapely.transform(line, lambda xy: from_wgs84(xy, "gcj02")) for line in TOWN]
    found = detect_datum_mismatch(points, moved)
    assert found is not None
    assert (found.datum, found.shifted) == ("gcj02", "roads")


def test_a_territory_is_asked_when_there_are_no_roads() -> None:
    random = np.random.default_rng(3)
    area = shapely.box(113.20, 35.20, 113.22, 35.22)
    honest = np.array([113.2005, 35.2005]) + random.uniform(0, 0.019, (300, 2))
    assert detect_datum_mismatch(honest, None, area) is None
    found = detect_datum_mismatch(from_wgs84(honest, "gcj02"), None, area)
    assert found is not None
    assert (found.datum, found.basis, found.fit_after) == ("gcj02", "territory", 1.0)
    assert found.fit_before < 0.8
    assert found.median_after_m is None


@pytest.mark.parametrize("points", [[], [(113.2, 35.2)] * 19, [(2.35, 48.85)] * 200])
def test_too_few_or_abroad_says_nothing(points: list[tuple[float, float]]) -> None:
    assert detect_datum_mismatch(points, TOWN, shapely.box(0, 0, 1, 1)) is None


def test_roads_far_away_say_nothing() -> None:
    points = beside(TOWN, 100, 1) + np.array([1.0, 0.0])
    assert detect_datum_mismatch(points, TOWN) is None
    assert detect_datum_mismatch(points, []) is None
