"""Exports as their users meet them: formats opened by others, filters, rights, what is lost."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from app.ingest.values.text import remove_guards
from app.ingest.writers.model import guard_formulas
from tests.builders import CITY, LAT, LON, OTHER, Json, KeyFor, camera, checkpoint, control_point, road
from tests.builders import jurisdiction as a_jurisdiction

CODE = "41080000001320000001"


@pytest.fixture
async def equipped(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a city with a few cameras and a checkpoint."""
    first = camera(
        CODE, name_zh="=HYPERLINK(\"x\")", functions=["face", "vehicle"], azimuth_deg=135,
        network_address="198.51.100.7", installed_on="2020-02-29", owner_unit="-单位", state="online",
        model="@x", manufacturer="+x", horizontal_pixels=1920, vertical_pixels=1080,
        structure="half_dome", indoor=True,
    )  # fmt: skip
    tollgate = checkpoint(
        "41080000001210000001", tollgate_category="31", tollgate_usage="80", in_use_on="2024-03-01",
        lanes=[{"lane": 1, "direction": "inbound", "bearing_deg": 45},
               {"lane": 2, "direction": "both", "bearing_deg": 225, "camera": CODE},
               {"lane": 3, "direction": "inbound", "max_speed_kmh": 60}],
    )  # fmt: skip
    for plural, draft in (
        ("cameras", first), ("cameras", camera("c-2", lifecycle="repair")),
        ("cameras", camera("41080000001320000003", lifecycle="planned")),
        ("checkpoints", tollgate), ("control-points", control_point()),
    ):  # fmt: skip
        response = await ringed.put(f"/v1/{plural}/{draft['code']}", json=draft)
        assert response.status_code == 201, response.text
    return ringed


async def _export(client: httpx.AsyncClient, path: str, **asked: Any) -> httpx.Response:
    response = await client.get(f"/v1/exports/{path}", params=asked)
    assert response.status_code == 200, response.text
    return response


async def _saved(client: httpx.AsyncClient, folder: Path, path: str, **asked: Any) -> Path:
    target = folder / path
    target.write_bytes((await _export(client, path, **asked)).content)
    return target


def _table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


async def test_csv_is_text_for_people_and_programs(equipped: httpx.AsyncClient) -> None:
    response = await _export(equipped, "cameras.csv", bom="true", lang="zh")
    assert response.content.startswith(b"\xef\xbb\xbf")
    rows = _table(response.content[3:])
    assert [row["编码"] for row in rows] == [CODE, "41080000001320000003", "c-2"]
    assert rows[0]["功能类型"] == '["face","vehicle"]'
    assert [float(rows[0][name]) for name in ("经度", "纬度")] == [LON, LAT]
    assert rows[0]["安装日期"] == "2020-02-29"
    assert unquote(response.headers["content-disposition"]).endswith(".csv")
    assert "摄像机" in unquote(response.headers["content-disposition"])
    assert "20-digit codes" in response.headers["export-notes"]


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
async def test_no_cell_is_a_formula(equipped: httpx.AsyncClient, tmp_path: Path, ending: str) -> None:
    path = await _saved(equipped, tmp_path, f"cameras.{ending}")
    if ending == "csv":
        cells = [value for row in _table(path.read_bytes()) for value in row.values()]
    else:
        sheet = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0)
        cells = [value for row in sheet.to_python() for value in row if isinstance(value, str)]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")]
    assert {'\'=HYPERLINK("x")', "'-单位", "'@x", "'+x"} <= set(cells)


@given(st.text(st.sampled_from("'=+-@a1"), max_size=4))
def test_guarding_can_be_undone(text: str) -> None:
    """Exported text comes back unchanged, and is not a formula in the file."""
    shown = guard_formulas(pa.array([text]))
    assert shown[0].as_py()[:1] not in tuple("=+-@")
    assert remove_guards(shown)[0].as_py() == text


async def test_a_workbook_keeps_codes_as_text_and_says_what_it_lost(
    equipped: httpx.AsyncClient, tmp_path: Path
) -> None:
    book = CalamineWorkbook.from_path(str(await _saved(equipped, tmp_path, "cameras.xlsx")))
    assert book.sheet_names == ["cameras", "notes"]
    head, first, *_ = book.get_sheet_by_index(0).to_python()
    row = dict(zip(head, first, strict=False))
    assert row["code"] == CODE
    assert str(row["installed_on"]) == "2020-02-29"
    assert "apostrophe" in str(book.get_sheet_by_name("notes").to_python())


@pytest.mark.parametrize("ending", ["gpkg", "fgb", "geojson", "geojsonl", "parquet"])
@pytest.mark.parametrize("crs", [None, "EPSG:4490", "EPSG:4547", "3857"])
async def test_other_programs_find_the_places(
    equipped: httpx.AsyncClient, tmp_path: Path, ending: str, crs: str | None
) -> None:
    path = await _saved(equipped, tmp_path, f"cameras.{ending}", **({"crs": crs} if crs else {}))
    number = 4326 if crs is None else int(crs.removeprefix("EPSG:"))
    if ending == "parquet":
        table = pq.read_table(path)
        reported = orjson.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
        system = pyproj.CRS.from_json_dict(reported["crs"]) if "crs" in reported else pyproj.CRS(4326)
        shapes = shapely.from_wkb(np.array(table["geometry"].to_pylist(), dtype=object))
        codes = table["code"].to_pylist()
    else:
        meta, _, wkb, fields = pyogrio.raw.read(path)
        system, shapes = pyproj.CRS(meta["crs"]), shapely.from_wkb(wkb)
        codes = fields[list(meta["fields"]).index("code")].tolist()
    assert sorted(codes) == [CODE, "41080000001320000003", "c-2"]
    if not (ending == "geojsonl" and crs):  # which has no place to say so
        assert system.to_epsg() == number
    there = pyproj.Transformer.from_crs(number, 4326, always_xy=True)
    lonlat = there.transform(shapely.get_x(shapes), shapely.get_y(shapes))
    assert np.allclose(lonlat, [[LON] * 3, [LAT] * 3], atol=1e-8)


async def test_a_shapefile_has_long_texts_in_a_file_next_to_it(equipped: httpx.AsyncClient, tmp_path: Path) -> None:
    long = camera("c-long", notes="长" * 100)
    assert (await equipped.put("/v1/cameras/c-long", json=long)).status_code == 201
    path = await _saved(equipped, tmp_path, "cameras.shp.zip")
    with zipfile.ZipFile(path) as archive:
        reported = archive.read("README.txt").decode()
        assert archive.read("cameras.cpg") == b"UTF-8"
        archive.extractall(tmp_path)
        assert orjson.loads(archive.read("texts.jsonl")) == "长" * 100
    assert "Texts that go on in texts.jsonl: 1." in reported
    assert "azimuth     azimuth_deg" in reported
    meta, _, _, fields = pyogrio.raw.read(tmp_path / "cameras.shp")
    names = list(meta["fields"])
    assert len({name.lower() for name in names}) == len(names)
    assert max(len(name.encode()) for name in names) <= 10
    notes = fields[names.index("notes")].tolist()
    assert notes[-1] == "长" * 83 + "…#1"  # 254 bytes: no character is cut in half


async def test_points_and_polygons_are_a_shapefile_each(ringed: httpx.AsyncClient, tmp_path: Path) -> None:
    site = control_point("site", geometry={"type": "Polygon", "coordinates": [
        [[LON, LAT], [LON + 0.001, LAT], [LON, LAT + 0.001], [LON, LAT]]]})  # fmt: skip
    for draft in (control_point(), site):
        await ringed.put(f"/v1/control-points/{draft['code']}", json=draft)
    path = await _saved(ringed, tmp_path, "control-points.shp.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    for shape in ("Point", "Polygon"):
        reported = pyogrio.read_info(tmp_path / f"control-points-{shape.lower()}.shp")
        assert (reported["geometry_type"], reported["features"]) == (shape, 1)


@pytest.mark.parametrize("ending", ["csv", "xlsx", "geojson", "geojsonl", "gpkg", "fgb", "parquet", "shp.zip", "kml"])
async def test_nothing_is_a_file_too(city: httpx.AsyncClient, ending: str) -> None:
    for plural in ("cameras", "control-points", "rings"):
        response = await _export(city, f"{plural}.{ending}")
        assert len(response.content) > (0 if ending != "geojsonl" else -1)


async def test_filters_and_fields_are_those_of_the_list(equipped: httpx.AsyncClient) -> None:
    async def codes(**asked: Any) -> list[str]:
        result = _table((await _export(equipped, "cameras.csv", fields="code", **asked)).content)
        return [row["code"] for row in result]

    assert await codes(lifecycle="repair") == ["c-2"]
    assert await codes(state="online") == [CODE]
    assert await codes(q="000003") == ["41080000001320000003"]
    assert await codes(bbox="0,0,1,1") == []
    assert len(await codes(function="face", zone="core", jurisdiction=CITY)) == 3
    item = (await _export(equipped, "rings.geojson", level="core", fields="level")).json()
    assert [feature["properties"] for feature in item["features"]] == [{"level": "core"}]


@pytest.mark.parametrize(
    ("path", "asked", "at"),
    [
        ("cameras.csv", {"fields": "code,plate"}, "?fields"),
        ("cameras.csv", {"crs": "EPSG:27700"}, "?crs"),
        ("cameras.kml", {"crs": "EPSG:4547"}, "?crs"),
        ("cameras.csv", {"category": "core_site"}, "?category"),
        ("cameras.docx", {}, "path:format"),
        ("roads.gat1400.json", {}, "path:format"),
        ("gaps.csv", {}, "?jurisdiction"),
        ("cameras.gb28181.xml", {}, "?jurisdiction"),
    ],
)
async def test_what_cannot_be_exported_is_said(
    equipped: httpx.AsyncClient, path: str, asked: dict[str, str], at: str
) -> None:
    response = await equipped.get(f"/v1/exports/{path}", params=asked)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, at)


async def test_rights_and_scope_hold_for_files(equipped: httpx.AsyncClient, key_for: KeyFor) -> None:
    await equipped.put(f"/v1/jurisdictions/{OTHER}", json=a_jurisdiction(OTHER))
    await equipped.put("/v1/cameras/other", json=camera("other", jurisdiction=OTHER))
    keys = {role: await key_for(role, [CITY]) for role in ("reader", "analyst", "editor")}
    url = "/v1/exports/cameras.csv"
    assert (await equipped.get(url, headers=keys["reader"])).status_code == 403
    seen = {role: _table((await equipped.get(url, headers=keys[role])).content)
            for role in ("analyst", "editor")}  # fmt: skip
    assert all("other" not in [row["code"] for row in rows] for rows in seen.values())
    assert "network_address" not in seen["analyst"][0]
    assert seen["editor"][0]["network_address"] == "198.51.100.7"
    for ending in ("gb28181.xml", "gat1400.json"):
        params = {"jurisdiction": CITY}
        reported = [
            (await equipped.get(f"/v1/exports/cameras.{ending}", params=params, headers=keys[role]))
            for role in ("analyst", "editor")
        ]
        assert ["198.51.100.7" in response.text for response in reported] == [False, True]
    outside = await equipped.get(f"{url}?jurisdiction={OTHER}", headers=keys["analyst"])
    assert outside.status_code == 404
    gaps = await equipped.get(f"/v1/exports/gaps.csv?jurisdiction={OTHER}", headers=keys["editor"])
    assert gaps.status_code == 404


async def test_gaps_are_what_the_analysis_answers(equipped: httpx.AsyncClient) -> None:
    reported = (await equipped.get(f"/v1/jurisdictions/{CITY}/coverage/gaps")).json()["features"]
    rows = _table((await _export(equipped, "gaps.csv", jurisdiction=CITY)).content)
    assert len(reported) > 0
    assert [row["code"] for row in rows] == [str(feature["id"]) for feature in reported]
    there = (await _export(equipped, "gaps.geojson", jurisdiction=CITY, crs="EPSG:4547")).json()
    x, _ = there["features"][0]["geometry"]["coordinates"]
    assert 400_000 < x < 600_000  # east of the central meridian at 114 degrees: 500 km and less


def _item(xml: str) -> dict[str, str]:
    result = ET.fromstring(xml).find("DeviceList/Item")  # our own file
    assert result is not None
    return {element.tag: element.text or "" for element in result.iter() if not len(element)}


async def test_an_answer_refuses_filters_it_would_pass_over(equipped: httpx.AsyncClient) -> None:
    for collection, name in (
        ("crossings", "zone"),
        ("coverage", "level"),
        ("area-gaps", "category"),
    ):
        url = f"/v1/exports/{collection}.csv?jurisdiction={CITY}"
        value = {"zone": "core", "level": "core", "category": "core_site"}[name]
        response = await equipped.get(f"{url}&{name}={value}")
        assert (response.status_code, response.json()["code"]) == (422, "invalid-query")
        assert (await equipped.get(url)).status_code == 200


@pytest.mark.parametrize(
    ("collection", "path", "asked"),
    [
        ("gaps", "gaps", {"type": "control_point"}), ("gaps", "gaps", {"type": "crossing"}),
        ("coverage", "control-points", {"status": "uncovered"}),
        ("coverage", "control-points", {"zone": "core"}),
        ("crossings", "crossings", {"guarded": "false"}), ("crossings", "crossings", {"status": "open"}),
        ("crossings", "crossings", {"level": "core"}),
    ],
)  # fmt: skip
async def test_answers_are_narrowed_as_their_lists_are(
    equipped: httpx.AsyncClient, collection: str, path: str, asked: dict[str, str]
) -> None:
    line = {"type": "LineString", "coordinates": [[LON, LAT], [LON + 0.5, LAT]]}
    body = road("r", geometry=line)
    response = await equipped.put("/v1/roads/r", json=body)
    assert response.status_code == 201, response.text
    url = f"/v1/jurisdictions/{CITY}/coverage/{path}"
    listed = (await equipped.get(url, params=asked, headers={"Accept": "application/geo+json"})).json()
    params = {"jurisdiction": CITY, **asked}
    filed = (await _export(equipped, f"{collection}.geojson", **params)).json()
    assert [item["id"] for item in filed["features"]] == [item["id"] for item in listed["features"]]
    whole = (await _export(equipped, f"{collection}.geojson", jurisdiction=CITY)).json()
    assert len(whole["features"]) > 0


async def test_a_file_says_what_was_not_assessed(city: httpx.AsyncClient) -> None:
    response = await city.get(f"/v1/exports/crossings.csv?jurisdiction={CITY}")
    assert response.status_code == 200
    assert "Not assessed: crossings city: this ring is not registered." in response.headers["export-notes"]


async def test_a_catalogue_speaks_gb28181(equipped: httpx.AsyncClient) -> None:
    response = await _export(equipped, "cameras.gb28181.xml", jurisdiction=CITY)
    root = ET.fromstring(response.text)
    assert (root.findtext("CmdType"), root.findtext("SumNum")) == ("Catalog", "1")
    assert len(root.findall("DeviceList/Item")) == 1  # planned ones and other codes are left out
    item = _item(response.text)
    expected = {
        "DeviceID": CODE, "CivilCode": CITY, "Parental": "0", "Status": "ON", "PTZType": "2",
        "DirectionType": "5", "RoomType": "2", "Resolution": "6", "FunctionType": "01/03",
        "InstallTime": "2020-02-29T00:00:00", "Secrecy": "0", "RegisterWay": "1",
        "ParentID": "41080000002000000001", "GrassrootsCode": "000000",
    }  # fmt: skip
    assert {name: item[name] for name in expected} == expected
    assert not {"Password", "UserId", "Port"} & item.keys()


async def test_objects_speak_gat1400(equipped: httpx.AsyncClient) -> None:
    devices = (await _export(equipped, "cameras.gat1400.json", jurisdiction=CITY)).json()
    device = devices["APEListObject"]["APEObject"][0]
    expected = {"ApeID": CODE, "MonitorDirection": "7", "IsOnline": "1", "FunctionType": "2/1",
                "PlaceCode": CITY}  # fmt: skip
    assert {name: device[name] for name in expected} == expected
    assert not {"Password", "UserId"} & device.keys()
    gates = (await _export(equipped, "checkpoints.gat1400.json")).json()
    tollgate = gates["TollgateListObject"]["TollgateObject"][0]
    assert (tollgate["TollgateCat"], tollgate["TollgateUsage"], tollgate["Status"]) == ("31", 80, "1")
    assert (tollgate["LaneNum"], tollgate["ActiveTime"]) == (3, "20240301000000")
    lanes: list[Json] = gates["LaneListObject"]["LaneObject"]
    reported = [(lane["LaneId"], lane["LaneNo"], lane["Direction"], lane["CityPass"]) for lane in lanes]
    assert reported == [(1, 1, "5", 1), (2, 1, "6", 4), (3, 2, "9", 1)]
    assert lanes[1]["ApeID"] == CODE


@pytest.mark.parametrize("ending", ["gb28181.xml", "gat1400.json"])
async def test_what_a_platform_gets_reads_back(equipped: httpx.AsyncClient, ending: str) -> None:
    """The import of the same file finds the same direction, functions, place and state."""
    content = (await _export(equipped, f"cameras.{ending}", jurisdiction=CITY)).content
    response = await equipped.post(
        "/v1/imports",
        params={"kind": "camera", "wait": 60, "name": f"x.{ending.rpartition('.')[2]}",
                "jurisdiction": CITY, "dry_run": "true"},
        content=content,
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip
    job = response.json()
    assert job["problem"] is None, job
    rows = (await equipped.get(f"/v1/imports/{job['id']}/rows")).json()["items"]
    changes = rows[0]["changes"] or {}
    assert rows[0]["code"] == CODE
    assert not {"azimuth_deg", "functions", "state", "geometry"} & changes.keys(), changes


async def test_an_export_sees_one_moment(equipped: httpx.AsyncClient) -> None:
    """Rows written while a file is under way are not in it, and the file is complete."""
    rows = [camera(f"m{number:05}") for number in range(6000)]
    assert (await equipped.post("/v1/cameras:batch", json=rows)).status_code == 200
    app: Any = equipped._transport.app  # type: ignore[attr-defined]  # the application of the test
    from app.access.roles import OPERATOR
    from app.exports import service as export_service

    headers = export_service.build_request("cameras", "geojsonl", {"jurisdiction": CITY}, fields="code,name_en")
    created = await app.state.exports.open_export(headers, OPERATOR)
    removed = await equipped.delete("/v1/cameras/m05999")
    assert removed.status_code == 204
    content = b"".join([piece async for piece in created.chunks])
    codes = [orjson.loads(line)["id"] for line in content.splitlines()]
    assert len(codes) == 6003
    assert "m05999" in codes
