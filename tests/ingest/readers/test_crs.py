"""Names of coordinate systems as files write them."""

from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import shapely

from app.ingest.values import crs
from app.ingest.values.coordinates import shapes_to_lonlat
from tests.ingest.readers.files import read

CHINA = [*range(2327, 2443), *range(4491, 4555), *range(21453, 21464), 4214, 4490, 4610, 3857, 2326]
LOCATION = shapely.Point(113.24, 35.21)


def grid(name: str = "CGCS2000_3_Degree_GK_CM_114E", **changed: str) -> str:
    """A .prj as Esri's programs write it, with other numbers under the same name."""
    text = pyproj.CRS.from_epsg(4547).to_wkt("WKT1_ESRI").replace("CGCS2000_3_Degree_GK_CM_114E", name)
    for parameter, number in changed.items():
        start = text.index(f'"{parameter}",') + len(parameter) + 3
        text = text[:start] + number + text[text.index("]", start) :]
    return text


@pytest.mark.parametrize("number", CHINA)
def test_the_systems_of_china_are_known_by_what_esri_calls_them(number: int) -> None:
    assert crs.parse_crs(pyproj.CRS.from_epsg(number).to_wkt("WKT1_ESRI")) == f"EPSG:{number}"


@pytest.mark.parametrize("changed", [
    {"Central_Meridian": "113.25"}, {"False_Easting": "499000.0"}, {"False_Northing": "-100.0"},
    {"Scale_Factor": "1.00005"}, {"name": "某市独立坐标系", "Central_Meridian": "113.25"},
])  # fmt: skip
def test_a_grid_of_a_citys_own_is_not_taken_for_the_national_one(changed: dict[str, str]) -> None:
    text = grid(**changed)
    result = crs.parse_crs(text)
    assert result is not None
    assert crs.format_crs_title(result) == changed.get("name", "CGCS2000 / 3-degree Gauss-Kruger CM 114E")
    xy = pyproj.Proj(text)(LOCATION.x, LOCATION.y)
    (there,), issue = shapes_to_lonlat(np.array([shapely.Point(xy)]), result)
    assert not issue.any()
    assert there.distance(LOCATION) < 1e-8


def test_the_same_grid_under_another_name_has_its_number() -> None:
    assert crs.parse_crs(grid(name="某市坐标系")) == "EPSG:4547"


def test_a_definition_without_a_position_is_not_a_crs() -> None:
    for text in (
        'GEOGCS["Undefined geographic SRS",DATUM["unknown",SPHEROID["unknown",6378137,298.257223563]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]',
        'LOCAL_CS["x",UNIT["metre",1]]',
    ):
        assert crs.parse_crs(text) is None


def test_a_file_in_a_grid_of_its_own_says_so(tmp_path: Path) -> None:
    text = grid(name="Own", Central_Meridian="113.25")
    location = shapely.Point(pyproj.Proj(text)(LOCATION.x, LOCATION.y))
    frame = geopandas.GeoDataFrame({"code": ["A"]}, geometry=[location], crs=text)
    frame.to_file(tmp_path / "x.gpkg")
    result = read(tmp_path / "x.gpkg").detected
    assert crs.format_crs_title(str(result.crs)) == "Own"
    assert result.notes == ("The parameters of the CRS 'Own' match no CRS of EPSG; it is used as the file defines it.",)
