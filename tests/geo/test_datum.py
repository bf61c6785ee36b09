"""Chinese map datums: published values, round trips, and where no offset applies."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import Geod

from app.errors import InvalidShape
from app.geo.projection.datum import DATUMS, OFFSET_BOX, from_wgs84, geometry_to_wgs84, to_wgs84

GEOD = Geod(ellps="WGS84")
WEST, EAST, SOUTH, NORTH = OFFSET_BOX
offset = st.sampled_from(["gcj02", "bd09"])
inside = st.tuples(st.floats(WEST, EAST), st.floats(SOUTH, NORTH))
anywhere = st.tuples(st.floats(-180, 180), st.floats(-90, 90))


def metres(a: np.ndarray, b: np.ndarray) -> float:
    """Return the geodesic distance of two positions."""
    return float(GEOD.inv(a[0, 0], a[0, 1], b[0, 0], b[0, 1])[2])


def test_published_gcj02_value() -> None:
    # README of github.com/wandergis/coordtransform
    assert from_wgs84([(116.404, 39.915)], "gcj02") == pytest.approx(
        np.array([[116.41024449916938, 39.91640428150164]]), abs=1e-11
    )


def test_published_bd09_value() -> None:
    # The same README: GCJ-02 (116.404, 39.915) reads 116.41036949371029, 39.92133699351021
    wgs = to_wgs84([(116.404, 39.915)], "gcj02")
    assert from_wgs84(wgs, "bd09") == pytest.approx(np.array([[116.41036949371029, 39.92133699351021]]), abs=1e-10)


def test_offset_at_jiaozuo_is_nearly_due_east() -> None:
    wgs = np.array([[113.2418, 35.2159]])
    gcj = from_wgs84(wgs, "gcj02")
    azimuth, _, distance = GEOD.inv(*wgs[0], *gcj[0])
    assert distance == pytest.approx(582, abs=3)
    assert 92 <= azimuth <= 100


@given(inside, offset)
@example((105.0, 35.0), "gcj02")  # where the formula's square root has no slope
@example((105.0 + 1e-13, 35.0), "bd09")
@example((WEST, SOUTH), "bd09")
@example((EAST, NORTH), "bd09")
def test_round_trip_is_within_a_micrometre(place: tuple[float, float], datum: str) -> None:
    wgs = np.array([place])
    assert metres(to_wgs84(from_wgs84(wgs, datum), datum), wgs) < 1e-6


@given(inside, offset)
def test_the_other_round_trip(place: tuple[float, float], datum: str) -> None:
    # from the inner part of the box, where every reading has an origin
    shrunk = np.array([place]) * 0.99 + np.array([(WEST + EAST) / 2, (SOUTH + NORTH) / 2]) * 0.01
    assert metres(from_wgs84(to_wgs84(shrunk, datum), datum), shrunk) < 1e-6


@given(anywhere, offset)
def test_far_from_china_nothing_moves(place: tuple[float, float], datum: str) -> None:
    lon, lat = place
    if WEST - 0.1 < lon < EAST + 0.1 and SOUTH - 0.1 < lat < NORTH + 0.1:
        return
    assert np.array_equal(from_wgs84([place], datum), [place])
    assert np.array_equal(to_wgs84([place], datum), [place])


def test_vectors_equal_single_answers() -> None:
    rng = np.random.default_rng(1)
    many = np.column_stack([rng.uniform(60, 150, 500), rng.uniform(-10, 60, 500)])
    for datum in DATUMS:
        one_by_one = np.vstack([to_wgs84(place[np.newaxis], datum) for place in many])
        assert np.allclose(to_wgs84(many, datum), one_by_one, atol=1e-12, rtol=0)


@pytest.mark.parametrize("datum", ["wgs84", "cgcs2000"])
def test_modern_datums_are_copied(datum: str) -> None:
    given_ = np.array([[113.2, 35.2]])
    for move in (to_wgs84, from_wgs84):
        found = move(given_, datum)
        assert np.array_equal(found, given_)
        assert found is not given_


def test_geometry_moves_vertex_by_vertex() -> None:
    ring = shapely.box(113.0, 35.0, 113.5, 35.5)
    moved = geometry_to_wgs84(ring, "gcj02")
    assert moved.geom_type == "Polygon"
    expected = to_wgs84(shapely.get_coordinates(ring), "gcj02")
    assert np.array_equal(shapely.get_coordinates(moved), expected)


@pytest.mark.parametrize("wrong", ["WGS84", "nad27", ""])
def test_unknown_datum_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidShape, match="Unknown datum"):
        to_wgs84([(113.0, 35.0)], wrong)
    with pytest.raises(InvalidShape, match="Unknown datum"):
        geometry_to_wgs84(shapely.Point(), wrong)


def test_empty_input() -> None:
    assert to_wgs84([], "bd09").shape == (0, 2)
