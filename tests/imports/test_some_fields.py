"""Files that give some fields of registered records: only those change, and what comes out is whole."""

import io
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import xlsxwriter
from pydantic import ValidationError
from sqlmodel import SQLModel

from app.messages import translate_message
from app.models.cross_field_rules import RULES
from app.records.kinds import CameraDraft
from tests import builders
from tests.builders import CITY, LAT, LON, MERGE_PATCH, OTHER, Json, KeyFor
from tests.imports.files import brought, cameras, row, rows_of, send, table

_SERVER = ("version", "updated_at")


async def _record(client: httpx.AsyncClient, code: str, plural: str = "cameras") -> Json:
    result: Json = (await client.get(f"/v1/{plural}/{code}")).json()
    return result


async def _codes(client: httpx.AsyncClient, job: Json) -> list[tuple[int, str]]:
    return [
        (item["row"], problem["code"]) for item in await rows_of(client, job, "error") for problem in item["problems"]
    ]


def _csv(*lines: str) -> bytes:
    return "\n".join(lines).encode() + b"\n"


async def _register(client: httpx.AsyncClient, *cameras: Json) -> None:
    for camera in cameras:
        response = await client.put(f"/v1/cameras/{camera['code']}", json=camera)
        assert response.status_code == 201, response.text


@pytest.mark.parametrize("mode", ["update_only", "upsert"])
async def test_only_what_the_file_gives_changes(ringed: httpx.AsyncClient, mode: str) -> None:
    await _register(
        ringed,
        builders.camera("c1", azimuth_deg=10, range_m=30, functions=["face", "vehicle"], notes="n"),
        builders.camera("c2", maintenance_unit="旧单位", installed_on="2020-01-01"),
    )
    before = {code: await _record(ringed, code) for code in ("c1", "c2")}
    assert before["c1"]["zone"] == "core"
    content = _csv("编码,维护单位,方位角", "c1,新单位,275.5", "c2,新单位,")
    trial = await brought(ringed, content, mode=mode, jurisdiction=None, dry_run=True)
    reported = {item["code"]: item["changes"] for item in await rows_of(ringed, trial, "updated")}
    assert reported == {
        "c1": {"maintenance_unit": [None, "新单位"], "azimuth_deg": [10, 275.5]},
        "c2": {"maintenance_unit": ["旧单位", "新单位"]},
    }
    assert {code: await _record(ringed, code) for code in before} == before
    job = await brought(ringed, content, mode=mode, jurisdiction=None)
    assert (job["counts"]["updated"], job["counts"]["refused"], job["written"]) == (2, 0, True)
    assert job["jurisdictions"] == [CITY]
    assert job["plan"]["missing"] == ["jurisdiction", "functions", "geometry"]
    (note,) = [note for note in job["notes"] if note["code"] == "some-fields"]
    assert "camera" in note["message"]
    after = await _record(ringed, "c1")
    changed = {name for name in after if after[name] != before["c1"][name]}
    assert changed == {"maintenance_unit", "azimuth_deg", *_SERVER}
    history = (await ringed.get("/v1/cameras/c1/history")).json()["items"]
    assert history[0]["request_id"] == job["id"]
    assert history[0]["after"]["maintenance_unit"] == "新单位"
    assert history[0]["after"]["geometry"] == before["c1"]["geometry"]
    again = await brought(ringed, content, mode=mode)
    assert again["counts"]["unchanged"] == 2


async def test_a_row_that_is_not_registered_is_refused_with_what_it_lacks(
    city: httpx.AsyncClient,
) -> None:
    await brought(city, cameras(1))
    content = _csv("code,azimuth_deg", "cam-0,10", "cam-9,20")
    job = await brought(city, content, on_error="skip_rows")
    assert (job["counts"]["updated"], job["counts"]["refused"]) == (1, 1)
    (refused,) = await rows_of(city, job, "error")
    (problem,) = refused["problems"]
    assert problem["code"] == "not-found"
    assert "fields that a new camera needs: functions, geometry" in problem["message"]
    assert problem["hint"].startswith("Check the code")
    only = await brought(city, content, mode="update_only", on_error="skip_rows")
    assert await _codes(city, only) == [(3, "not-found")]
    chinese = (await rows_of(city, job, "error", **{"Accept-Language": "zh"}))[0]["problems"][0]
    assert "尚未登记" in chinese["message"]
    assert "编码" in chinese["hint"]


async def test_a_file_of_new_records_is_refused_as_a_whole(city: httpx.AsyncClient) -> None:
    """One error for the file is clearer than one for each row if a column was forgotten."""
    content = _csv("code,azimuth_deg,其他", "cam-1,10,x", "cam-2,20,y")
    response = await send(city, content)
    assert (response.status_code, response.json()["code"]) == (422, "fields-missing")
    assert response.json()["detail"] == (
        "Missing required fields: functions, geometry. Map a column to each, or give it a default. "
        "Columns not used: 其他."
    )
    await brought(city, cameras(3))
    assert (await send(city, content, mode="create_only")).status_code == 422
    assert (await brought(city, content))["counts"]["updated"] == 2


async def test_rows_need_their_key_and_something_to_change(city: httpx.AsyncClient) -> None:
    await brought(city, cameras(1))
    for mode in ("update_only", "upsert"):
        keyless = await send(city, _csv("azimuth_deg,notes", "10,x"), mode=mode)
        assert keyless.status_code == 422
        assert keyless.json()["detail"].startswith("Missing required fields: code")
        alone = await send(city, _csv("code,somewhat", "cam-0,x"), mode="update_only")
        assert alone.json()["code"] == "fields-missing"
        assert "only the key of its records" in alone.json()["detail"]
        assert "somewhat" in alone.json()["detail"]


async def test_records_are_found_by_their_owners_reference(city: httpx.AsyncClient) -> None:
    await _register(
        city,
        builders.camera("c1", owner_unit="甲", owner_reference="A-1"),
        builders.camera("c2", owner_unit="乙", owner_reference="A-1"),
    )
    content = _csv("owner_unit,owner_reference,azimuth_deg", "甲,A-1,10", "乙,A-1,20", "乙,A-2,30")
    job = await brought(city, content, mode="update_only", key="owner_reference", on_error="skip_rows")
    assert (job["counts"]["updated"], job["counts"]["refused"]) == (2, 1)
    assert (await _record(city, "c2"))["azimuth_deg"] == 20
    (refused,) = await rows_of(city, job, "error")
    assert "'A-2' of '乙' is not registered" in refused["problems"][0]["message"]
    upsert = await brought(city, content, key="owner_reference", on_error="skip_rows")
    assert (upsert["counts"]["unchanged"], upsert["counts"]["refused"]) == (2, 1)
    strange = _csv("owner_unit,owner_reference,azimuth_deg", "丙,A-1,10")
    assert (await send(city, strange, key="owner_reference")).status_code == 422
    nowhere = await send(city, content, mode="update_only", key="owner_reference", jurisdiction=None)
    assert nowhere.json()["detail"].startswith("Missing required fields: jurisdiction")


async def test_records_of_others_are_as_absent(city: httpx.AsyncClient, key_for: KeyFor) -> None:
    body = builders.jurisdiction(OTHER)
    assert (await city.put(f"/v1/jurisdictions/{OTHER}", json=body)).status_code == 201
    await brought(city, table([row(0), row(1)]))
    await brought(city, table([row(2)]), jurisdiction=OTHER)
    content = _csv("code,notes", "cam-0,a", "cam-2,b", "cam-8,c")
    key = await key_for("editor", [CITY])
    job = await brought(city, content, jurisdiction=None, mode="update_only", headers=key, on_error="skip_rows")
    assert (job["counts"]["updated"], job["counts"]["refused"]) == (1, 2)
    result = await city.get(job["links"]["rows"] + "?status=error", headers=key)
    messages = [item["problems"][0]["message"] for item in result.json()["items"]]
    assert messages[0].replace("cam-2", "cam-8") == messages[1]
    assert (await _record(city, "cam-2"))["notes"] is None
    every = await brought(city, content, jurisdiction=None, mode="update_only", on_error="skip_rows")
    assert every["jurisdictions"] == [OTHER, CITY]
    assert (await _record(city, "cam-2"))["notes"] == "b"


async def test_blank_cells_empty_what_may_be_empty(city: httpx.AsyncClient) -> None:
    await _register(city, builders.camera("c1", notes="n", lifecycle="planned"))
    emptied = await brought(city, _csv("code,notes,lifecycle", "c1,,"), mode="update_only")
    assert emptied["counts"]["updated"] == 1
    after = await _record(city, "c1")
    assert (after["notes"], after["lifecycle"]) == (None, "in_use")
    job = await brought(city, _csv("code,functions,notes", "c1,,x"), mode="update_only")
    (refused,) = await rows_of(city, job, "error")
    (problem,) = refused["problems"]
    assert (problem["code"], problem["field"]) == ("missing", "functions")
    assert "drop_columns" in problem["hint"]
    job = await brought(city, _csv("code,notes", ",x"), mode="update_only")
    (refused,) = await rows_of(city, job, "error")
    assert "drop_columns" not in refused["problems"][0]["hint"]
    job = await brought(city, _csv("code,lon,lat,notes", "c1,,,x"), mode="update_only")
    (refused,) = await rows_of(city, job, "error")
    (problem,) = refused["problems"]
    assert problem["code"] == "geometry-missing"
    assert "drop_columns" in problem["hint"]


async def test_a_place_that_is_given_is_judged(ringed: httpx.AsyncClient) -> None:
    await _register(ringed, builders.camera("c1"))
    distant = await brought(ringed, _csv("code,lon,lat", "c1,120.5,35.2"), mode="update_only")
    assert await _codes(ringed, distant) == [(2, "outside-extent")]
    moved = await brought(ringed, _csv("code,lon,lat", f"c1,{LON + 0.03},{LAT}"), mode="update_only")
    assert moved["counts"]["updated"] == 1
    after = await _record(ringed, "c1")
    assert (after["zone"], after["functions"]) == ("urban", ["face"])


@pytest.mark.parametrize("mode", ["update_only", "upsert"])
async def test_half_a_place_is_not_passed_over(city: httpx.AsyncClient, mode: str) -> None:
    await brought(city, cameras(1))
    content = _csv("code,lon,纬度值,notes", f"cam-0,{LON + 0.1},{LAT},x")
    response = await send(city, content, mode=mode)
    assert (response.status_code, response.json()["code"]) == (422, "fields-missing")
    stored = await brought(city, content, mode=mode, drop_columns="lon")
    assert stored["counts"]["updated"] == 1


async def test_places_outside_the_extent_of_today_do_not_matter_to_other_fields(
    city: httpx.AsyncClient,
) -> None:
    await _register(city, builders.camera("c1"))
    narrow = {"extent": [112.5, 34.5, 112.6, 34.6]}
    response = await city.patch(f"/v1/jurisdictions/{CITY}", json=narrow, headers=MERGE_PATCH)
    assert response.status_code == 200
    job = await brought(city, _csv("code,notes", "c1,x"), mode="update_only")
    assert job["counts"]["updated"] == 1


async def test_states_alone_do_not_change_the_record(city: httpx.AsyncClient) -> None:
    await brought(city, cameras(2))
    content = _csv("code,在线状态", "cam-0,在线", "cam-1,离线")
    job = await brought(city, content, mode="update_only")
    assert (job["counts"]["unchanged"], job["counts"]["states"]) == (2, 2), job
    after = await _record(city, "cam-1")
    assert (after["state"], after["version"]) == ("offline", 1)


async def test_features_without_geometry_keep_their_places(city: httpx.AsyncClient) -> None:
    await _register(city, builders.camera("c1"))
    feature = {"type": "Feature", "geometry": None, "properties": {"code": "c1", "notes": "x"}}
    job = await brought(city, orjson.dumps(feature), name="c.geojson", mode="update_only")
    assert job["counts"]["updated"] == 1, job
    assert (await _record(city, "c1"))["geometry"] == builders.point()


async def test_a_sheet_of_whole_records_is_found_before_parts_are_thought_of(
    city: httpx.AsyncClient,
) -> None:
    """A sheet of explanations may have a column `code` too."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheets: dict[str, list[list[Any]]] = {
        "说明": [["code", "notes"], ["the code of the device", "free text"]],
        "cameras": [["code", "functions", "lon", "lat"], ["c1", "face", LON, LAT]],
    }
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for index, cells in enumerate(rows):
            sheet.write_row(index, 0, cells)
    book.close()
    job = await brought(city, file.getvalue(), name="c.xlsx")
    assert job["counts"]["created"] == 1
    assert "layer-chosen" in [note["code"] for note in job["notes"]]


async def test_what_a_built_in_profile_assumes_is_for_new_records(city: httpx.AsyncClient) -> None:
    code = "41080000001320000001"
    await _register(city, builders.camera(code, functions=["face"]))
    item = f"<Item><DeviceID>{{}}</DeviceID><Name>n</Name><Longitude>{LON}</Longitude><Latitude>{LAT}</Latitude></Item>"
    items = item.format(code) + item.format("41080000001320000002")
    xml = f"<Response><CmdType>Catalog</CmdType><DeviceList>{items}</DeviceList></Response>"
    job = await brought(city, xml.encode(), name="c.xml")
    assert (job["counts"]["created"], job["counts"]["updated"]) == (1, 1)
    assert (await _record(city, code))["functions"] == ["face"]
    assert (await _record(city, "41080000001320000002"))["functions"] == ["overview"]
    stated = await brought(city, xml.encode(), name="c.xml", defaults="functions=vehicle")
    assert stated["counts"]["updated"] == 2


async def test_two_records_never_come_to_one_reference(city: httpx.AsyncClient) -> None:
    await _register(
        city,
        builders.camera("c1", owner_unit="甲", owner_reference="A-1"),
        builders.camera("c2", owner_unit="乙", owner_reference="A-1"),
        builders.camera("c3", owner_unit="丙", owner_reference="A-1"),
    )
    options: Json = {"mode": "update_only", "on_error": "skip_rows"}
    job = await brought(city, _csv("code,owner_unit", "c1,乙"), **options)
    assert await _codes(city, job) == [(2, "already-exists")]
    both = await brought(city, _csv("code,owner_unit", "c1,丁", "c3,丁"), **options)
    assert await _codes(city, both) == [(3, "already-exists")]
    assert (await _record(city, "c1"))["owner_unit"] == "丁"
    reference = await brought(city, _csv("code,owner_reference", "c1,B", "c2,B"), **options)
    assert reference["counts"]["updated"] == 2


@pytest.mark.parametrize("kind", RULES)
def test_rules_over_several_fields_read_columns_and_have_a_chinese_text(kind: str) -> None:
    columns = SQLModel.metadata.tables[kind].columns.keys()
    for rule in RULES[kind]:
        assert rule.fields <= set(columns) or not rule.is_stored
        assert translate_message(rule.message, "zh") != rule.message


_DOMAINS: dict[str, list[Any]] = {
    "owner_unit": [None, "甲", "乙"],
    "owner_reference": [None, "own"],
    "installed_on": [None, "2024-01-01", "2024-06-01"],
    "in_use_on": [None, "2024-02-01"],
    "removed_on": [None, "2024-01-15", "2024-07-01"],
    "range_m": [None, 20.0, 60.0],
    "reach_m": [None, 25.0, 70.0],
    "near_m": [None, 5.0, 22.0, 65.0],
    "required_level": [None, "observe", "inspect", "perceive"],
    "level_scale": [None, "iec2014", "iec2025"],
    "view_polygon": [None, builders.square(0.01), builders.square(0.01, LON + 0.5)],
    "retention_days": [None, 30, 29],
    "geometry": [builders.point(), builders.point(LON - 0.65), builders.point(LON + 2)],
}
_SHEETS = (
    ("removed_on",),
    ("near_m",),
    ("owner_reference", "required_level"),
    ("owner_unit", "range_m"),
    ("installed_on", "level_scale"),
    ("in_use_on", "reach_m", "view_polygon"),
    ("geometry", "retention_days"),
)


def _drawn(chance: random.Random, names: tuple[str, ...], number: int) -> Json:
    values = {name: chance.choice([None, *_DOMAINS[name]]) for name in names}
    values["geometry"] = chance.choice(_DOMAINS["geometry"])
    if values.get("owner_reference"):
        values["owner_reference"] = f"own-{number}"
    return values


def _whole(chance: random.Random, number: int) -> Json:
    """Return a random camera that may be registered."""
    while True:
        drawn = _drawn(chance, tuple(_DOMAINS), number)
        location = {"geometry": chance.choice(_DOMAINS["geometry"][:2])}
        with suppress(ValidationError):
            record = builders.camera(f"m-{number}", **(drawn | location))
            CameraDraft.model_validate(record)
            return record


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("sheet", _SHEETS)
async def test_a_row_comes_to_what_a_patch_comes_to(ringed: httpx.AsyncClient, sheet: tuple[str, ...]) -> None:
    """The oracle: PATCH merges into a whole draft, and holds every rule over what comes out."""
    chance = random.Random(sheet[0])
    twin = builders.jurisdiction(OTHER)
    assert (await ringed.put(f"/v1/jurisdictions/{OTHER}", json=twin)).status_code == 201
    rows = []
    for number in range(30):
        actual = _whole(chance, number)
        await _register(ringed, actual, {**actual, "code": f"t-{number}", "jurisdiction": OTHER})
        drawn = _drawn(chance, sheet, number)
        rows.append({"number": number, **{name: drawn[name] for name in sheet}})
    lines = [",".join(["code", *sheet])]
    lines += [",".join([f"m-{r['number']}", *(_cell(r[n]) for n in sheet)]) for r in rows]
    job = await brought(ringed, _csv(*lines), mode="update_only", on_error="skip_rows")
    refused = {item["row"] for item in await rows_of(ringed, job, "error")}
    for index, arguments in enumerate(rows):
        number = arguments.pop("number")
        response = await ringed.patch(f"/v1/cameras/t-{number}", json=arguments, headers=MERGE_PATCH)
        assert (response.status_code != 200) is (index + 2 in refused), (arguments, response.text)
        actual, expected = await _record(ringed, f"m-{number}"), await _record(ringed, f"t-{number}")
        for name in ("geometry", *_DOMAINS):
            assert actual[name] == expected[name], (number, name)
    assert 0 < len(refused) < len(rows)


def _session() -> tuple[str, str]:
    """Return the file and the output of the session in docs/import.md."""
    page = (Path(__file__).parents[2] / "docs/import.md").read_text()
    section = page.split("$ cat units.csv\n")[1].split("```")[0]
    file, _, output = section.partition("$ coverage-registry import")
    return file, " ".join(output.split())


async def test_the_documented_session(city: httpx.AsyncClient) -> None:
    content, output = _session()
    known: Json = {"maintenance_unit": "演示系统运维单位"}
    for line in content.splitlines()[1:3]:
        await _register(city, builders.camera(line.partition(",")[0], **known))
    job = await brought(city, content.encode(), mode="update_only", jurisdiction=None, dry_run=True)
    assert "--mode update_only --dry-run" in output
    assert f"note {job['notes'][0]['message']} " in output
    counts = {name: count for name, count in job["counts"].items() if count}
    reported = ", ".join(f"{count} {name}" for name, count in counts.items())
    assert f"done {reported} (dry run, nothing written) {job['problem']['detail']} " in output
    for item in await rows_of(city, job):
        for problem in item["problems"]:
            text = f"{problem['message']} ({problem['hint']})"
            assert f"{item['row']} {problem['field']} {problem['value']} {text}" in output
        for name, (before, after) in (item["changes"] or {}).items():
            assert f"{item['row']} {item['code']} {name} {before!r} -> {after!r}" in output


async def test_rings_keep_what_a_file_does_not_give(city: httpx.AsyncClient) -> None:
    url = f"/v1/jurisdictions/{CITY}/rings/core"
    properties = {"name_zh": "核心圈", "tolerance_m": 7.5, "valid_from": "2024-01-01"}
    body = {"type": "Feature", "geometry": builders.square(0.02), "properties": properties}
    assert (await city.put(url, json=body)).status_code == 201
    before = (await city.get(url)).json()
    expected = {"type": "Feature", "geometry": builders.square(0.03), "properties": {"level": "core"}}
    moved = await brought(city, orjson.dumps(expected), name="r.geojson", kind="ring")
    assert moved["counts"]["updated"] == 1, moved
    after = (await city.get(url)).json()
    ((row_of_ring,),) = [await rows_of(city, moved)]
    assert row_of_ring["changes"] == {"geometry": [before["geometry"], after["geometry"]]}
    assert after["geometry"] != before["geometry"]
    assert after["properties"] | properties == after["properties"]
    sheet = _csv("level,tolerance_m,name_zh", "core,9,", "urban,3,x")
    options: Json = {"kind": "ring", "mode": "update_only", "on_error": "skip_rows"}
    job = await brought(city, sheet, **options)
    assert (job["counts"]["updated"], job["counts"]["refused"]) == (1, 1)
    assert await _codes(city, job) == [(3, "not-found")]
    (changed,) = await rows_of(city, job, "updated")
    assert changed["changes"] == {"tolerance_m": [7.5, 9], "name_zh": ["核心圈", None]}
    last = (await city.get(url)).json()
    assert last["geometry"] == after["geometry"]
    assert (last["properties"]["tolerance_m"], last["properties"]["name_zh"]) == (9, None)
    assert last["properties"]["valid_from"] == "2024-01-01"
    again = await brought(city, sheet, **options)
    assert again["counts"]["unchanged"] == 1
    alone = await send(city, _csv("level", "core"), kind="ring", mode="update_only")
    assert alone.json()["code"] == "fields-missing"
    assert (await send(city, sheet, kind="ring")).json()["code"] == "fields-missing"


@pytest.mark.parametrize(
    ("kind", "plural", "record", "sheet", "changed"),
    [
        ("road", "roads", builders.road("r", name_zh="路"), "oneway\nr,forward", "oneway"),
        ("building", "buildings", builders.building("b"), "height_m\nb,21.5", "height_m"),
        (
            "control_point", "control-points", builders.control_point("p", notes="n"),
            'requirements\np,"[{""function"": ""face""}]"', "requirements",
        ),
        ("checkpoint", "checkpoints", builders.checkpoint("k"), "capture_side\nk,rear",
         "capture_side"),
    ],
)  # fmt: skip
async def test_records_of_any_kind(
    ringed: httpx.AsyncClient, kind: str, plural: str, record: Json, sheet: str, changed: str
) -> None:
    url = f"/v1/{plural}/{record['code']}"
    assert (await ringed.put(url, json=record)).status_code == 201
    before = (await ringed.get(url)).json()
    content = f"code,{sheet}\n".encode()
    job = await brought(ringed, content, kind=kind, mode="update_only", jurisdiction=None)
    assert job["counts"]["updated"] == 1, job
    after = (await ringed.get(url)).json()
    assert {name for name in after if after[name] != before[name]} == {changed, *_SERVER}
    again = await brought(ringed, content, kind=kind, jurisdiction=None)
    assert again["counts"]["unchanged"] == 1
