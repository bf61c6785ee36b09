"""Local projections: lengths compared with geodesics of pyproj, and the choice of a projection."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from app.errors import InvalidShape
from app.geo.arrays import validate_locations
from app.geo.projection.local_projection import LocalProjection, choose_projection, get_projection

GEOD = Geod(ellps="WGS84")
city_lon = st.floats(112.57, 113.65)
city_lat = st.floats(34.8, 35.5)


def test_reference_coordinate_of_jiaozuo() -> None:
    # EPSG:4547 at 113.2418 E, 35.2159 N as computed with PROJ for the project's domain notes
    assert LocalProjection(4547).to_metres([(113.2418, 35.2159)]) == pytest.approx(
        np.array([[430966.92, 3898808.80]]), abs=0.01
    )


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (113.2, 35.2, 4547),
        (112.5, 35.0, 4547),  # between two meridians: the eastern one
        (112.4999, 35.0, 4546),
        (73.5, 39.0, 4534),
        (136.5, 48.0, 4554),  # beyond the last meridian's 1.5 degrees: still the last
        (87.6, 43.8, 4538),
        (4.9, 52.4, 32631),
        (113.2, -35.2, 32749),
        (180.0, 10.0, 32660),
        (-180.0, 10.0, 32601),
    ],
)
def test_choice_of_frame(lon: float, lat: float, epsg: int) -> None:
    assert choose_projection(lon, lat) == LocalProjection(epsg)


@pytest.mark.parametrize("place", [(0.0, 85.0), (0.0, -81.0), (200.0, 0.0), (np.nan, 0.0)])
def test_no_frame_where_none_fits(place: tuple[float, float]) -> None:
    with pytest.raises(InvalidShape):
        choose_projection(*place)


@pytest.mark.parametrize("epsg", [4326, 4490, 2263, 999999, 4978])
def test_what_is_not_metric_is_refused(epsg: int) -> None:
    # 2263 is New York in feet, 4978 is geocentric
    with pytest.raises(InvalidShape):
        get_projection(epsg)


@given(city_lon, city_lat)
def test_there_and_back_is_within_a_micrometre(lon: float, lat: float) -> None:
    metric = LocalProjection(4547)
    back = metric.to_lonlat(metric.to_metres([(lon, lat)]))
    assert np.abs(back - (lon, lat)).max() < 1e-11


@given(city_lon, city_lat, st.floats(-180, 180), st.floats(1, 2000))
def test_lengths_and_azimuths_agree_with_the_ellipsoid(lon: float, lat: float, azimuth: float, length: float) -> None:
    metric = LocalProjection(4547)
    there = GEOD.fwd(lon, lat, azimuth, length)[:2]
    ends = metric.to_metres([(lon, lat), there])
    east, north = ends[1] - ends[0]
    # scale of the zone within the city: 1 to 1.00021
    assert np.hypot(east, north) == pytest.approx(length, rel=2.2e-4)
    bearing = np.degrees(np.arctan2(east, north))
    true = bearing + metric.convergence_deg([(lon, lat)])[0]
    assert abs((true - azimuth + 180) % 360 - 180) < 0.002


def test_geometries_and_arrays_take_the_same_door() -> None:
    metric = LocalProjection(4547)
    line = shapely.LineString([(113.2, 35.2), (113.3, 35.3)])
    projected = metric.project(line)
    assert np.array_equal(shapely.get_coordinates(projected), metric.project(line.coords))
    assert metric.unproject(projected).equals_exact(line, 1e-11)
    assert np.allclose(metric.unproject(metric.project([(113.2, 35.2)])), [(113.2, 35.2)])


def test_nothing_gives_nothing() -> None:
    metric = LocalProjection(4547)
    assert metric.to_metres([]).shape == (0, 2)
    assert metric.to_lonlat(np.empty((0, 2))).shape == (0, 2)
    assert metric.convergence_deg([]).shape == (0,)


def test_threads_share_a_frame() -> None:
    metric = LocalProjection(4547)
    rng = np.random.default_rng(0)
    places = [np.column_stack([rng.uniform(112, 114, 5000), rng.uniform(34, 36, 5000)])] * 16
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(metric.to_metres, places))
    assert all(np.array_equal(one, found[0]) for one in found)


def test_out_of_reach_is_refused_with_the_place() -> None:
    with pytest.raises(InvalidShape, match="outside the area") as refused:
        LocalProjection(4547).to_metres([(113.0, 35.0), (-156.0, 0.0)])
    assert refused.value.location == (-156.0, 0.0)
    with pytest.raises(InvalidShape):
        LocalProjection(4547).to_lonlat([(np.nan, 0.0)])


@pytest.mark.parametrize(
    "wrong",
    [
        [(np.nan, 35.0)],
        [(113.0, np.inf)],
        [(181.0, 0.0)],
        [(0.0, -90.1)],
        [(1.0, 2.0, 3.0)],
        [1.0, 2.0],
        [("a", "b")],
        [(1.0, 2.0), (1.0,)],
    ],
)
def test_what_is_no_position_is_refused(wrong: list[object]) -> None:
    with pytest.raises(InvalidShape):
        validate_locations(wrong)  # type: ignore[arg-type]  # on purpose


def test_refusal_names_the_place() -> None:
    with pytest.raises(InvalidShape, match="out of range") as refused:
        validate_locations([(113.0, 35.0), (35.0, 113.0)])
    assert refused.value.location == (35.0, 113.0)
