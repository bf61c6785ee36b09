"""Real files, if they are next to the repository: each opens as it is, with the right content."""

import csv
import gzip
import json

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from app.geo.projection.datum import detect_datum_mismatch, from_wgs84
from app.ingest.readers.opening import open_source
from app.ingest.values.coordinates import locations_to_lonlat, parse_columns
from tests.ingest.readers.files import SHARED, read

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real files are not there ({SHARED})")


def test_hong_kong_in_gbk_with_two_systems_of_coordinates() -> None:
    path = SHARED / "cameras/hongkong_td_cameras_2025_zh_header.gbk.csv"
    result = read(path)
    assert (result.detected.encoding, result.detected.delimiter) == ("gb18030", ",")
    assert result.columns[:8] == (
        "摄像头编号", "区域", "地区", "名称", "东坐标", "北坐标", "纬度", "经度",
    )  # fmt: skip
    assert result.numbers == list(range(2, 989))
    decoded = csv.reader(path.read_bytes().decode("gbk").splitlines())
    assert [list(row.values()) for row in result.rows] == [
        [cell.strip() or None for cell in row] for row in list(decoded)[1:]
    ]
    with open_source(path) as source:
        batch = next(source.iter_batches())
    degrees = locations_to_lonlat(parse_columns(batch.columns["经度"], batch.columns["纬度"]))
    grid = locations_to_lonlat(parse_columns(batch.columns["东坐标"], batch.columns["北坐标"]), "EPSG:2326")
    both = degrees.valid & grid.valid
    assert both.sum() > 980
    metres = Transformer.from_crs(4326, 2326, always_xy=True)
    apart = np.hypot(*(
        np.array(metres.transform(*grid.xy[both].T)) - np.array(metres.transform(*degrees.xy[both].T))
    ))  # fmt: skip
    assert np.median(apart) < 10


def test_toronto() -> None:
    result = read(SHARED / "cameras/toronto_rlc_locations.csv")
    assert len(result.rows) == 154
    assert result.rows[0]["Main"] == "JARVIS ST"
    assert result.rows[0]["Longitude"] == "-79.37965121"


def test_helsinki() -> None:
    result = read(SHARED / "cameras/helsinki_osm_surveillance.geojson")
    assert (len(result.rows), result.detected.crs) == (223, "EPSG:4326")
    assert all(shape.geom_type == "Point" for shape in result.shapes)
    assert result.column("id")[0] == "node/256257146"
    edges = read(SHARED / "roads/helsinki_center_edges.geojson.gz")
    assert len(edges.rows) == 1114
    buildings = read(SHARED / "buildings/helsinki_center_buildings.geojson.gz")
    assert {shape.geom_type for shape in buildings.shapes} <= {"Polygon", "MultiPolygon"}


@pytest.fixture(scope="module")
def xian() -> list[shapely.LineString]:
    result = read(SHARED / "roads/xian_modifiedConn_shp_gbk.zip")
    assert (result.detected.encoding, result.detected.crs) == ("gb18030", "EPSG:4326")
    assert result.detected.layers == ("modifiedConn_link", "modifiedConn_node")
    with gzip.open(SHARED / "roads/xian_links_utf8.geojson.gz") as file:
        same = json.load(file)["features"]
    assert result.column("road_name") == [item["properties"]["road_name"] or None for item in same]
    assert [float(cell or 0) for cell in result.column("length")] == pytest.approx(
        [item["properties"]["length"] for item in same]
    )
    assert shapely.get_coordinates(result.shapes) == pytest.approx(
        shapely.get_coordinates([shapely.geometry.shape(item["geometry"]) for item in same])
    )
    return result.shapes


def test_xian_in_gbk_is_the_same_as_in_utf8(xian: list[shapely.LineString]) -> None:
    assert len(xian) == 9842


def test_places_in_another_datum_are_suspected_in_a_real_town(
    xian: list[shapely.LineString],
) -> None:
    random = np.random.default_rng(1)
    roads = np.array(xian, dtype=object)[random.integers(0, len(xian), 400)]
    along = shapely.line_interpolate_point(roads, random.uniform(0, 1, 400), normalized=True)
    locations = shapely.get_coordinates(along) + random.normal(0, 1e-4, (400, 2))
    assert detect_datum_mismatch(locations, xian) is None
    result = detect_datum_mismatch(from_wgs84(locations, "gcj02"), xian)
    assert result is not None
    assert (result.datum, result.shifted) == ("gcj02", "points")


@pytest.mark.parametrize(
    ("layer", "count"),
    [("ne_110m_admin_0_countries", 177), ("ne_110m_rivers_lake_centerlines", 13)],
)
def test_natural_earth(layer: str, count: int) -> None:
    result = read(SHARED / "cql2/data/ne110m4cql2.gpkg", layer=layer)
    assert len(result.rows) == count
    assert all(shape is not None for shape in result.shapes)
