"""GIS clients as people use them, against a really served process: GDAL, GeoPandas' reader, OWSLib."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from owslib.ogcapi.features import Features
from pyproj import Transformer

from tests.e2e.running import CHECKOUT, CITY, Service, camera

GUIDE = CHECKOUT / "docs" / "gis.md"

MANY = 2500
"""More than two of GDAL's pages."""


@pytest.fixture(scope="module")
def equipped(shared: Service) -> Service:
    """The shared service with cameras in a row, a checkpoint and a control point."""
    if not shared.running:
        shared.start(workers=2)
    with shared.client() as client:
        items = [
            camera(
                number, code=f"gis{number:05}", range_m=number + 0.5, installed_on="2026-01-02",
                name_zh=f"摄像机{number}", sign_present=number % 2 == 0,
            )
            for number in range(MANY)
        ]  # fmt: skip
        client.post("/v1/cameras:batch", json={"items": items}).raise_for_status()
        point = {"type": "Point", "coordinates": [113.2, 35.2]}
        lane = {"lane": 1, "direction": "inbound"}
        gate = {"code": "gate", "jurisdiction": CITY, "kind": "vehicle", "lanes": [lane]}
        client.put("/v1/checkpoints/gate", json=gate | {"geometry": point}).raise_for_status()
        place = {"code": "place", "jurisdiction": CITY, "category": "core_site"}
        client.put("/v1/control-points/place", json=place | {"geometry": point}).raise_for_status()
    return shared


@pytest.fixture
def gdal(equipped: Service) -> Iterator[str]:
    """What GDAL opens; it sends our key."""
    options = {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": equipped.key}
    pyogrio.set_gdal_config_options(options)
    yield f"OAPIF:{equipped.base}/ogc"
    pyogrio.set_gdal_config_options(dict.fromkeys(options))


def read(source: str, layer: str, **asked: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return meta, geometries and columns."""
    meta, _, shapes, columns = pyogrio.raw.read(source, layer=layer, **asked)
    return meta, shapely.from_wkb(shapes), dict(zip(meta["fields"], columns, strict=True))


def test_gdal_lists_the_collections(gdal: str) -> None:
    layers = {name for name, _ in pyogrio.list_layers(gdal)}
    assert {"cameras", "checkpoints", "control-points", "roads", "rings", "gaps"} <= layers


def test_gdal_knows_types_and_system_before_it_reads(gdal: str) -> None:
    info = pyogrio.read_info(gdal, layer="cameras", force_feature_count=True)
    types = dict(zip(info["fields"], info["dtypes"], strict=True))
    assert types["range_m"] == "float64"
    assert types["retention_days"] == "int32"
    assert types["installed_on"].startswith("datetime64[D]")
    assert types["updated_at"].startswith("datetime64[ms]")
    assert info["geometry_type"] == "Point"
    assert "CRS84" in info["crs"]
    assert info["features"] == MANY


def test_gdal_knows_the_types_of_an_empty_collection(gdal: str) -> None:
    info = pyogrio.read_info(gdal, layer="roads")
    types = dict(zip(info["fields"], info["dtypes"], strict=True))
    assert (types["layer"], types["bridge"], types["road_class"]) == ("int32", "bool", "object")


def test_gdal_reads_every_page(gdal: str) -> None:
    _, shapes, columns = read(gdal, "cameras", columns=["code", "name_zh", "range_m"])
    assert len(set(columns["code"])) == MANY
    assert columns["name_zh"][0] == "摄像机0"
    order = np.argsort(columns["code"])
    x, y = shapely.get_x(shapes)[order], shapely.get_y(shapes)[order]
    assert x == pytest.approx(113.2 + np.arange(MANY) * 1e-6, abs=1e-9)
    assert set(y) == {35.2}


def test_gdal_asks_for_boxes_and_values(gdal: str) -> None:
    box = (113.2000005, 35.1, 113.2000025, 35.3)
    _, _, columns = read(gdal, "cameras", bbox=box)
    assert sorted(columns["code"]) == ["gis00001", "gis00002"]
    _, _, columns = read(gdal, "cameras", where="code = 'gis00007'")
    assert list(columns["range_m"]) == [7.5]
    _, _, columns = read(gdal, "cameras", where="range_m > 2490 AND sign_present = 1")
    assert sorted(columns["code"]) == [f"gis{n:05}" for n in (2490, 2492, 2494, 2496, 2498)]


def test_gdal_reads_another_system_the_right_way_round(gdal: str) -> None:
    """Northing comes first on the wire, and GDAL turns it back: x is easting in its geometries."""
    uri = "http://www.opengis.net/def/crs/EPSG/0/4547"
    meta, shapes, _ = read(gdal, "cameras", where="code = 'gis00000'", CRS=uri)
    assert meta["crs"] == "EPSG:4547"
    east, north = Transformer.from_crs(4326, 4547, always_xy=True).transform(113.2, 35.2)
    assert (shapes[0].x, shapes[0].y) == pytest.approx((east, north), abs=1e-3)


def test_gdal_reads_answers(gdal: str) -> None:
    _, shapes, columns = read(gdal, "gaps")
    assert list(columns["code"]) == ["place"]
    assert list(columns["status"]) == ["uncovered"]
    assert (shapes[0].x, shapes[0].y) == (113.2, 35.2)
    assert list(columns["id"]) == ["place"]  # GDAL's own name for a feature's id


def guide(language: str) -> str:
    """Return the one snippet of a language in the analyst's guide."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


@pytest.mark.skipif(shutil.which("ogr2ogr") is None, reason="GDAL's programs are not there")
def test_the_guide_for_the_shell_runs_as_it_stands(equipped: Service, tmp_path: Path) -> None:
    script = guide("sh").replace("http://localhost:8000", equipped.base)
    assert script.count(equipped.base) >= 5
    environment = os.environ | {"REGISTRY_KEY": equipped.key}
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "range_m: Real" in ran.stdout
    assert f"Feature Count: {MANY}" in ran.stdout
    for file, layer, count in (
        ("city", "cameras", MANY), ("city", "checkpoints", 1), ("core", "cameras", MANY),
        ("zone", "cameras", MANY),
    ):  # fmt: skip
        found = pyogrio.read_info(tmp_path / f"{file}.gpkg", layer=layer)
        assert found["features"] == count, (file, layer)
    metres = pyogrio.read_info(tmp_path / "zone.gpkg", layer="cameras")
    assert metres["crs"] == "EPSG:4547"
    assert metres["total_bounds"][0] == pytest.approx(427_000, abs=5000)


def test_the_guide_for_python_runs_as_it_stands(equipped: Service) -> None:
    code = guide("python").replace("http://localhost:8000", equipped.base)
    names: dict[str, Any] = {}
    try:
        exec(code.replace("ccr_...", equipped.key), names)
    finally:
        options = ("GDAL_HTTP_AUTH", "GDAL_HTTP_BEARER")
        pyogrio.set_gdal_config_options(dict.fromkeys(options))
    assert len(names["cameras"]) == MANY
    with equipped.client() as client:
        told = client.get(names["url"]).raise_for_status().json()
    assert {feature["properties"]["zone"] for feature in told["features"]} <= {"core"}


def test_every_filter_of_the_guide_can_be_asked(equipped: Service) -> None:
    block = GUIDE.read_text("utf-8").partition("### Filters\n\n```\n")[2].partition("```")[0]
    lines = block.splitlines()
    assert len(lines) > 5
    with equipped.client() as client:
        for line in lines:
            text, _, told = line.partition(" --")
            where = told.partition(" on ")[2].strip()
            collection = where if where in ("coverage", "gaps") else "cameras"
            if "road_number" in text:
                collection = "roads"
            url = f"/ogc/collections/{collection}/items"
            answer = client.get(url, params={"filter": text.strip(), "limit": "1"})
            assert answer.status_code == 200, (line, answer.text)


def test_owslib_walks_the_service(equipped: Service) -> None:
    headers = {"Authorization": f"Bearer {equipped.key}"}
    found = Features(f"{equipped.base}/ogc", headers=headers)
    assert "cameras" in found.feature_collections()
    assert any("ogcapi-features-1" in uri for uri in found.conformance()["conformsTo"])
    assert found.api()["openapi"].startswith("3.0")
    assert "range_m" in found.collection_queryables("cameras")["properties"]
    page = found.collection_items("cameras", limit=10, bbox=[113.1, 35.1, 113.3, 35.3])
    assert (page["numberReturned"], page["numberMatched"]) == (10, MANY)
    text = "range_m BETWEEN 3 AND 5"
    chosen = found.collection_items("cameras", filter=text)
    assert [feature["id"] for feature in chosen["features"]] == ["gis00003", "gis00004"]
    item = found.collection_item("cameras", "gis00003")
    assert item["properties"]["range_m"] == 3.5


def test_owslib_writes(equipped: Service) -> None:
    kinds = {"Content-Type": "application/geo+json"}
    headers = {"Authorization": f"Bearer {equipped.key}"} | kinds
    found = Features(f"{equipped.base}/ogc", headers=headers)
    sent = camera(0, code="ows1")
    feature = {
        "type": "Feature",
        "geometry": sent.pop("geometry"),
        "properties": sent,
    }
    assert found.collection_item_create("cameras", json.dumps(feature))
    assert found.collection_item("cameras", "ows1")["id"] == "ows1"
    assert found.collection_item_delete("cameras", "ows1")
    with equipped.client() as client:
        told = client.get("/v1/cameras/ows1/history").json()["items"]
    assert [entry["operation"] for entry in told] == ["remove", "create"]


def test_a_new_feature_is_told_in_the_spelling_qgis_knows(equipped: Service) -> None:
    """Without a ``Location`` spelled so, QGIS 3.40 takes the feature for one that was not added."""
    sent = camera(0, code="spelled")
    feature = {"type": "Feature", "geometry": sent.pop("geometry"), "properties": sent}
    place = "/ogc/collections/cameras/items"
    with equipped.client() as client:
        other = feature | {"properties": sent | {"code": "spelt"}}
        created = client.post(place, json=feature), client.put(f"{place}/spelt", json=other)
        for answer, code in zip(created, ("spelled", "spelt"), strict=True):
            assert answer.status_code == 201, answer.text
            told = dict(answer.headers.raw)
            assert told[b"Location"].decode() == f"{equipped.base}{place}/{code}"
        for code in ("spelled", "spelt"):
            assert client.delete(f"{place}/{code}").status_code == 204


def test_a_download_of_everything_in_one_page(equipped: Service) -> None:
    """A page longer than a piece is sent as it is made; every feature is there once."""
    with equipped.client() as client:
        answer = client.get("/ogc/collections/cameras/items?limit=10000")
    told = answer.json()
    assert told["numberReturned"] == len({feature["id"] for feature in told["features"]}) == MANY
    assert told["numberMatched"] == MANY
