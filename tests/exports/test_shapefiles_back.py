"""Shapefiles of ours that come back from a GIS: whole, edited, or with something left out."""

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyogrio
import pytest

from tests import builders
from tests.builders import LAT, LON, Json
from tests.imports.files import brought, rows_of

LANES = [{"lane": at, "direction": "both", "name": f"第{at}车道", "max_speed_kmh": 60} for at in range(1, 9)]


async def _exported(client: httpx.AsyncClient, name: str) -> dict[str, bytes]:
    response = await client.get(f"/v1/exports/{name}.shp.zip")
    assert response.status_code == 200, response.text
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


async def _back(client: httpx.AsyncClient, members: dict[str, bytes], **options: Any) -> Json:
    headers: Json = {"name": "back.zip", "kind": "checkpoint", **options}
    return await brought(client, _zip(members), **headers)


@pytest.fixture
async def gates(city: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a city with two checkpoints of many lanes."""
    for code in ("k-1", "k-2"):
        body = builders.checkpoint(code, lanes=LANES, notes=f"{code} " + "注" * 150)
        assert (await city.put(f"/v1/checkpoints/{code}", json=body)).status_code == 201
    return city


async def test_the_mapping_of_the_zip_is_used_and_reported(gates: httpx.AsyncClient) -> None:
    members = await _exported(gates, "checkpoints")
    job = await _back(gates, members)
    assert job["counts"]["unchanged"] == 2
    (note,) = [note for note in job["notes"] if note["code"] == "mapping-found"]
    assert "mapping.json" in note["message"]
    fields = {feed["columns"][0]: feed["field"] for feed in job["plan"]["columns"]}
    assert fields["division"] == "jurisdiction"
    stated = await _back(gates, members, mapping='{"division": null}')
    assert "mapping-found" not in [note["code"] for note in stated["notes"]]


async def test_what_was_edited_in_a_gis_counts(gates: httpx.AsyncClient) -> None:
    members = await _exported(gates, "checkpoints")
    members["checkpoints.dbf"] = members["checkpoints.dbf"].replace(b"vehicle", b"face   ", 1)
    job = await _back(gates, members)
    assert (job["counts"]["updated"], job["counts"]["unchanged"]) == (1, 1)
    (row,) = await rows_of(gates, job, "updated")
    assert row["changes"] == {"kind": ["vehicle", "face"]}


async def test_a_long_text_whose_beginning_was_edited_is_refused(gates: httpx.AsyncClient) -> None:
    members = await _exported(gates, "checkpoints")
    members["checkpoints.dbf"] = members["checkpoints.dbf"].replace("k-2 注".encode(), "k-3 注".encode())
    job = await _back(gates, members)
    (row,) = await rows_of(gates, job, "error")
    (problem,) = row["problems"]
    assert (row["row"], problem["code"], problem["column"]) == (2, "long-text-edited", "notes")
    assert "was changed" in problem["message"]


@pytest.mark.parametrize("side", [None, b"", b"{\n}\n", b"1\n2\n[]\nnull\n"])
async def test_a_long_text_that_is_not_there_is_refused_not_cut(gates: httpx.AsyncClient, side: bytes | None) -> None:
    members = await _exported(gates, "checkpoints")
    del members["texts.jsonl"]
    job = await _back(gates, members if side is None else {**members, "texts.jsonl": side})
    assert (job["state"], job["counts"]["refused"]) == ("failed", 2)
    codes = {p["code"] for row in await rows_of(gates, job, "error") for p in row["problems"]}
    assert codes == {"long-text-missing"}
    chinese = await rows_of(gates, job, "error", **{"Accept-Language": "zh"})
    assert all("长文本" in p["message"] for row in chinese for p in row["problems"])


@pytest.mark.parametrize(
    "mapping",
    [b"[1]", b"{", b"{}", b'{"code": 7}', b'{"code": "No Field"}', b'"x"', b"[" * 100_000],
)
async def test_another_mapping_json_is_none_of_ours(gates: httpx.AsyncClient, mapping: bytes) -> None:
    members = await _exported(gates, "checkpoints")
    job = await _back(gates, {**members, "mapping.json": mapping}, dry_run=True)
    assert "mapping-found" not in [note["code"] for note in job["notes"]]


async def test_columns_that_are_gone_or_strange_do_not_matter(gates: httpx.AsyncClient) -> None:
    members = await _exported(gates, "checkpoints")
    mapping = orjson.loads(members["mapping.json"]) | {"gone": "notes", "road": "azimuth_deg"}
    job = await _back(gates, {**members, "mapping.json": orjson.dumps(mapping)})
    assert job["counts"]["unchanged"] == 2, job


async def test_points_and_areas_of_one_export_come_back_together(city: httpx.AsyncClient) -> None:
    for code, shape in (("p-1", builders.point()), ("p-2", builders.square(0.001)),
                        ("p-3", builders.point(LON, LAT + 0.01))):  # fmt: skip
        body = builders.control_point(code, geometry=shape)
        assert (await city.put(f"/v1/control-points/{code}", json=body)).status_code == 201
    members = await _exported(city, "control-points")
    job = await _back(city, members, kind="control_point")
    assert job["counts"] | {"rows": 3, "unchanged": 3} == job["counts"]
    assert job["file"]["layer"] == "control-points-point + control-points-polygon"
    assert {item["code"]: item["row"] for item in await rows_of(city, job)} == {
        "p-1": 1, "p-3": 2, "p-2": 3,
    }  # fmt: skip
    one = await _back(city, members, kind="control_point", layer="control-points-polygon")
    assert one["counts"]["unchanged"] == 1
    renamed = {name.replace("-polygon", "-areas"): content for name, content in members.items()}
    first = await _back(city, renamed, kind="control_point")
    assert first["counts"]["rows"] == 2


@pytest.mark.parametrize("encoding", ["UTF-8", "GB18030"])
async def test_a_gis_may_save_the_shapefile_again(gates: httpx.AsyncClient, tmp_path: Path, encoding: str) -> None:
    """Other widths, another order, another encoding, a record less: what stays finds its texts."""
    members = await _exported(gates, "checkpoints")
    for name, content in members.items():
        (tmp_path / name).write_bytes(content)
    meta, table = pyogrio.read_arrow(tmp_path / "checkpoints.shp")
    turned = table.take([1])
    again = tmp_path / "again"
    again.mkdir()
    pyogrio.write_arrow(
        turned, again / "checkpoints.shp", driver="ESRI Shapefile", encoding=encoding,
        geometry_name=meta["geometry_name"] or "wkb_geometry", geometry_type="Point",
        crs=meta["crs"],
    )  # fmt: skip
    saved = {path.name: path.read_bytes() for path in again.iterdir()}
    sides = {name: members[name] for name in ("mapping.json", "texts.jsonl")}
    job = await _back(gates, {**saved, **sides})
    assert (job["counts"]["rows"], job["counts"]["unchanged"]) == (1, 1), job
