"""MapInfo tables, file geodatabases and Esri JSON: files of GIS programs that GDAL reads."""

import json
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from app.errors import Invalid
from tests.ingest.readers.files import read, written

pytestmark = pytest.mark.filterwarnings("ignore:.*64.?bit integer:RuntimeWarning")

CODES = ["41080000001320000001", "A2"]
POINTS = [shapely.Point(430966.5, 3898808.5), shapely.Point(430967, 3898809)]


def build_frame() -> geopandas.GeoDataFrame:
    columns = {"code": CODES, "名称": ["东门", "西门"], "azimuth": np.array([90, 180], np.int32)}
    return geopandas.GeoDataFrame(columns, geometry=POINTS, crs=4547)


def zipped(folder: Path, name: str = "x.zip", within: str = "") -> Path:
    path = folder.parent / name
    with zipfile.ZipFile(path, "w") as archive_file:
        for batch_items in sorted(folder.rglob("*")):
            if batch_items.is_file():
                archive_file.write(batch_items, within + str(batch_items.relative_to(folder)))
    return path


@pytest.mark.parametrize("ending", ["tab", "mif"])
@pytest.mark.parametrize("within", ["", "城区/"])
def test_mapinfo_tables(tmp_path: Path, ending: str, within: str) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    build_frame().to_file(folder / f"cameras.{ending}", driver="MapInfo File", ENCODING="CP936")
    result = read(zipped(folder, within=within), at_once=1)
    assert (result.detected.format, result.detected.layer) == ("mapinfo", "cameras")
    assert result.column("code") == CODES
    assert result.column("名称") == ["东门", "西门"]
    assert result.column("azimuth") == ["90", "180"]
    # The parameters of its projection are those of several systems.
    assert all(map(shapely.dwithin, result.shapes, POINTS, [0.1, 0.1]))


def test_layers_of_a_file_geodatabase(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    build_frame().to_file(folder / "city.gdb", driver="OpenFileGDB", layer="cameras")
    build_frame().iloc[:1].to_file(folder / "city.gdb", driver="OpenFileGDB", layer="gates", mode="a")
    path = zipped(folder)
    result = read(path)
    assert (result.detected.format, result.detected.crs) == ("filegdb", "EPSG:4547")
    assert (result.detected.layer, result.detected.layers) == ("cameras", ("cameras", "gates"))
    assert (result.column("code"), result.shapes) == (CODES, POINTS)
    assert read(path, layer="gates").column("名称") == ["东门"]
    with pytest.raises(Invalid) as refusal:
        read(path, layer="none")
    assert refusal.value.code == "unknown-layer"


def test_esri_json(tmp_path: Path) -> None:
    features = [
        {"attributes": {"code": code, "on": 1704067200000}, "geometry": {"x": index.x, "y": index.y}}
        for code, index in zip(CODES, POINTS, strict=True)
    ]
    content: dict[str, Any] = {
        "geometryType": "esriGeometryPoint",
        "spatialReference": {"wkid": 4547},
        "fields": [
            {"name": "code", "type": "esriFieldTypeString"},
            {"name": "on", "type": "esriFieldTypeDate"},
        ],
        "features": features,
    }
    result = read(written(tmp_path, json.dumps(content), "query.json"))
    assert (result.detected.format, result.detected.crs) == ("esrijson", "EPSG:4547")
    assert (result.column("code"), result.shapes) == (CODES, POINTS)
    assert result.column("on") == ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"]


def test_topojson_is_rejected_with_what_to_do(tmp_path: Path) -> None:
    content = {"type": "Topology", "objects": {"cameras": {"type": "GeometryCollection", "geometries": []}}, "arcs": []}
    with pytest.raises(Invalid, match="a TopoJSON file; save it as GeoJSON") as rejection:
        read(written(tmp_path, json.dumps(content), "x.json"))
    assert rejection.value.code == "unsupported-format"


@pytest.mark.parametrize(("kind", "shown"), [
    ("String", "1.8446744073710E+19"), ("Double", "1.8446744073710E+19"),
    ("BigInteger", "9.2233720368548E+18"),
])  # fmt: skip
def test_a_number_too_large_for_gdal_shows_that_it_is_lost(tmp_path: Path, kind: str, shown: str) -> None:
    content = {
        "geometryType": "esriGeometryPoint",
        "spatialReference": {"wkid": 4326},
        "fields": [{"name": "code", "type": f"esriFieldType{kind}"}],
        "features": [{"attributes": {"code": int(CODES[0])}, "geometry": {"x": 113.2, "y": 35.1}}],
    }
    assert read(written(tmp_path, json.dumps(content), "x.json")).column("code") == [shown]


@pytest.mark.parametrize(("members", "code"), [
    ({"a.tab": b"!table\n!version 300\nOpen table of nothing"}, "damaged-file"),
    ({"city.gdb/a00000001.gdbtable": b"\x00" * 40}, "damaged-file"),
])  # fmt: skip
def test_damaged_files_are_rejected(tmp_path: Path, members: dict[str, bytes], code: str) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive_file:
        archive_file.writestr("readme.txt", "")
        for name, content in members.items():
            archive_file.writestr(name, content)
    with pytest.raises(Invalid) as refusal:
        read(path)
    assert refusal.value.code == code
