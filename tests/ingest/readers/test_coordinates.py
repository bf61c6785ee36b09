"""Coordinates as people write them; every row is a place or says why not."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from app.errors import Invalid
from app.geo.projection.datum import from_wgs84
from app.ingest.values.angles import parse_angle, parse_pair
from app.ingest.values.coordinates import (
    ISSUE_CODES,
    Locations,
    is_swapped,
    locations_to_lonlat,
    parse_columns,
    parse_pairs,
    parse_shapes,
    shapes_to_lonlat,
)


def column(*cells: str | None) -> pa.StringArray:
    return pa.array(cells, pa.string())


def codes_of(locations: Locations) -> list[str]:
    return [ISSUE_CODES[issue] for issue in locations.issue_codes]


@pytest.mark.parametrize("text", [
    "35°12'30\"N", "35 12 30", "35-12-30", "N35°12′30″", "35°12’30”", "35度12分30秒", "北纬35度12分30秒",
    "３５°１２′３０″", "35:12:30", "35.12.30", "35d12m30s", "35°12'30''", "35°12.5'",
    "35,2083333333333333",
    "纬度：35°12'30\"", "35º12´30¨".replace("¨", '"'), "+35 12 30", "lat 35 12 30", "35° 12' 30\" 北",
])  # fmt: skip
def test_spellings_of_one_angle(text: str) -> None:
    result = parse_angle(text)
    assert result is not None
    assert result.value == pytest.approx(35 + 12.5 / 60, abs=1e-12)


@pytest.mark.parametrize(("text", "value", "axis"), [
    ("东经113度30分", 113.5, "lon"), ("W113.5", -113.5, "lon"), ("35.5S", -35.5, "lat"),
    ("南纬35.5", -35.5, "lat"), ("-35 30 00", -35.5, None), ("3,898,808.80", 3898808.8, None),
    ("经度:113.5", 113.5, "lon"), ("X:430966.9", 430966.9, None),
])  # fmt: skip
def test_signs_axes_and_thousands(text: str, value: float, axis: str | None) -> None:
    result = parse_angle(text)
    assert result is not None
    assert result.value == pytest.approx(value)
    assert result.axis == axis


@pytest.mark.parametrize("text", [
    "", "x", "35 60 00", "35 12 61", "35.5 30", "35 12.5 30", "-35S", "N35E", "35 12 30 40", "1,2,3",
    "35.2 113.2", "--3", "35..2", "N", "°",
])  # fmt: skip
def test_what_can_be_read_in_no_or_two_ways_is_not_read(text: str) -> None:
    assert parse_angle(text) is None


@given(value=st.floats(0, 179.999, allow_nan=False), negative=st.booleans())
def test_degrees_minutes_and_seconds_come_back(value: float, negative: bool) -> None:
    seconds = round(value * 3600, 4)
    degrees, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{degrees:.0f}°{minutes:.0f}′{rest:.4f}″{'W' if negative else 'E'}"
    result = parse_angle(text)
    if rest < 59.99995:
        assert result is not None
        assert result.value == pytest.approx(-value if negative else value, abs=1e-7)


@pytest.mark.parametrize("text", [
    "35.5, 113.25", "35.5 113.25", "35.5，113.25", "35.5;113.25", "35.5/113.25", "(35.5, 113.25)",
    "35.5\t113.25", "N35.5 E113.25", "35°30'N113°15'E", "35 30 00 113 15 00", "35,5 113,25",
    "北纬35度30分，东经113度15分", "lat: 35.5, lon: 113.25", "35°30′ 113°15′", "35.5N, 113.25E",
])  # fmt: skip
def test_pairs_with_latitude_first(text: str) -> None:
    locations = parse_pairs(column(text))
    assert codes_of(locations) == [""]
    assert locations.xy[0] == pytest.approx([113.25, 35.5])
    assert locations.order == "latlon"


@pytest.mark.parametrize("text", ["113.25, 35.5", "E113°15' N35°30'", "113.25 35.5", "[113.25,35.5]"])
def test_pairs_with_longitude_first(text: str) -> None:
    locations = parse_pairs(column(text))
    assert locations.xy[0] == pytest.approx([113.25, 35.5])
    assert locations.order == "lonlat"


def test_pairs_that_name_one_axis_twice_are_not_read() -> None:
    assert parse_pair("35.5N, 36.5N") is None


def test_the_order_of_unclear_pairs() -> None:
    unclear = ("60.2, 24.9", "60.3, 24.8")
    assert codes_of(parse_pairs(column(*unclear))) == ["unknown-order"] * 2
    assert parse_pairs(column(*unclear), order="lonlat").xy[0].tolist() == [60.2, 24.9]
    by_others = parse_pairs(column(*unclear, "N60.1 E24.7", None, "x"))
    assert by_others.xy[:3].tolist() == [[24.9, 60.2], [24.8, 60.3], [24.7, 60.1]]
    assert codes_of(by_others)[3:] == ["blank", "not-a-number"]


def test_two_columns_tell_every_fault() -> None:
    x = column("113.2", "113,25", None, "1", None, "x", "NaN", "1e400", "35.5N", "113°30'", "181", "35N")
    y = column("35.1", "35.5", None, None, "2", "35", "35", "35", "E113.25", "35 30 0", "35", "36N")
    locations = parse_columns(x, y)
    assert codes_of(locations) == [
        "", "", "blank", "half-blank", "half-blank", "not-a-number", "not-finite", "not-finite", "", "",
        "", "unknown-order",
    ]  # fmt: skip
    assert locations.xy[[0, 1, 8, 9]].tolist() == [
        [113.2, 35.1], [113.25, 35.5], [113.25, 35.5], [113.5, 35.5],
    ]  # fmt: skip
    assert np.isnan(locations.xy[~locations.valid]).all()
    lonlat = locations_to_lonlat(locations)
    assert codes_of(lonlat)[10] == "out-of-range"
    assert np.isnan(lonlat.xy[10]).all()


def test_the_fast_way_and_the_slow_way_agree() -> None:
    random = np.random.default_rng(1)
    texts = [f"{value:.7f}" for value in random.uniform(-180, 180, 500)]
    fast = parse_columns(column(*texts), column(*texts))
    slow = parse_columns(column(*texts, "x"), column(*(text + "°" for text in texts), "x"))
    assert (fast.xy == slow.xy[:-1]).all()
    assert fast.valid.all()


@given(st.lists(st.none() | st.text(max_size=12) | st.sampled_from(["35", "-1e5", "inf", "1°"]), max_size=5))
def test_no_text_raises(cells: list[str | None]) -> None:
    item = column(*cells)
    for locations in (
        parse_columns(item, item),
        parse_pairs(item),
        locations_to_lonlat(parse_columns(item, item), "EPSG:4547"),
    ):
        assert (np.isfinite(locations.xy).all(axis=1) == locations.valid).all()
    shapes, issue, _ = parse_shapes(item)
    assert ((issue == 0) == ~shapely.is_missing(shapes)).all()


@pytest.mark.parametrize("epsg", [4547, 4526, 2326, 32649, 3857, 4490, 4214])
def test_any_system_is_read_with_x_first(epsg: int) -> None:
    location = (114.17, 22.28) if epsg == 2326 else (113.2418, 35.2159)
    forth = Transformer.from_crs(4326, epsg, always_xy=True)
    x, y = forth.transform(*location)
    result = locations_to_lonlat(parse_columns(column(repr(float(x))), column(repr(float(y)))), f"EPSG:{epsg}")
    assert codes_of(result) == [""]
    assert result.xy[0] == pytest.approx(location, abs=1e-8)


def test_a_known_place_of_the_national_zone() -> None:
    # 430 966.92, 3 898 808.80 in EPSG:4547 is 113.2418 E, 35.2159 N (EPSG registry, PROJ 9.5)
    locations = parse_columns(
        column("430966.92", "3898808.80", "38430966.92"),
        column("3898808.80", "430966.92", "3898808.80"),
    )
    result = locations_to_lonlat(locations, "EPSG:4547")
    assert codes_of(result) == ["", "outside-crs", "outside-crs"]
    assert result.xy[0] == pytest.approx([113.2418, 35.2159], abs=1e-6)
    assert not is_swapped(locations, "EPSG:4547")
    exchanged = parse_columns(column("3898808.80", "3898809.80"), column("430966.92", "430967.92"))
    assert is_swapped(exchanged, "EPSG:4547")


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
def test_chinese_datums(datum: str) -> None:
    location = np.array([[113.2418, 35.2159]])
    there = from_wgs84(location, datum)
    result = locations_to_lonlat(Locations(np.vstack([there, [[999, 1]]]), np.zeros(2, np.uint8)), datum)
    assert result.xy[0] == pytest.approx(location[0], abs=1e-9)
    assert codes_of(result) == ["", "out-of-range"]


@pytest.mark.parametrize("system", ["EPSG:999999", "mars", "EPSG:5773", ""])
def test_unknown_systems_are_rejected(system: str) -> None:
    with pytest.raises(Invalid) as rejection:
        locations_to_lonlat(Locations(np.zeros((1, 2)), np.zeros(1, np.uint8)), system)
    assert rejection.value.code == "unknown-crs"


def test_shapes_in_cells() -> None:
    hexed = shapely.to_wkb(shapely.set_srid(shapely.Point(2, 4), 4490), hex=True, include_srid=True)
    cells = column(
        "POINT (1 2)", "srid=4547; POINT Z (430966 3898808 90)", '{"type":"Point","coordinates":[1,2]}',
        hexed, None, "POINT (x)", "POINT EMPTY", "POINT (nan 1)", "{}", "LINESTRING (0 0, 1 1)",
        "01zz" * 20,
    )  # fmt: skip
    shapes, issue, srid = parse_shapes(cells)
    assert [ISSUE_CODES[item] for item in issue] == [
        "", "", "", "", "blank", *["bad-geometry"] * 4, "", "bad-geometry",
    ]  # fmt: skip
    assert srid.tolist() == [0, 4547, 0, 4490, 0, 0, 0, 0, 0, 0, 0]
    assert shapes[1] == shapely.Point(430966, 3898808)
    assert shapes[3] == shapely.Point(2, 4)


def test_shapes_of_any_system() -> None:
    line = shapely.LineString([(430966.92, 3898808.80), (430966.92, 3898908.80)])
    shapes = np.array([line, None, shapely.Point(3898808.80, 430966.92)], dtype=object)
    result, issue = shapes_to_lonlat(shapes, "EPSG:4547")
    assert [ISSUE_CODES[item] for item in issue] == ["", "blank", "outside-crs"]
    assert shapely.get_coordinates(result[0])[0] == pytest.approx([113.2418, 35.2159], abs=1e-6)
    assert result[1:].tolist() == [None, None]
    assert shapes[0] == line  # the input stays as it is
