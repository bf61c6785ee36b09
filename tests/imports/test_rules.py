"""What the registry itself finds wrong with rows and files, one code at a time."""

import io
from typing import Any

import httpx
import orjson
import pytest
import xlsxwriter
from sqlalchemy import text

from app.db.engine import Database
from app.errors import Issue
from app.geo.projection import datum
from app.imports import row_errors
from app.imports.queries import staging as staging_queries
from app.ingest.validation.location import SWAP_HINTS
from app.messages import translate_message
from tests import builders
from tests.builders import KeyFor
from tests.imports.files import brought, cameras, row, rows_of, send, table

LINE = {"type": "LineString", "coordinates": [[113, 35], [113.1, 35]]}


async def _codes(client: httpx.AsyncClient, job: builders.Json) -> list[tuple[Any, str]]:
    return [
        (item["row"], problem["code"]) for item in await rows_of(client, job, "error") for problem in item["problems"]
    ]


async def _other_city(client: httpx.AsyncClient) -> None:
    body = builders.jurisdiction(builders.OTHER)
    assert (await client.put(f"/v1/jurisdictions/{builders.OTHER}", json=body)).status_code == 201


async def test_duplicates_are_found_across_batches(city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.imports.transaction.BATCH_ROWS", 2)
    rows = [row(number) for number in range(5)] + [row(1), row(1), row(4)]
    job = await brought(city, table(rows))
    assert await _codes(city, job) == [(row, "duplicate-code") for row in (7, 8, 9)]
    messages = [item["problems"][0]["message"] for item in await rows_of(city, job, "error")]
    assert [message.split("row ")[1].rstrip(".") for message in messages] == ["3", "3", "6"]


async def test_a_code_of_another_jurisdiction_is_taken(city: httpx.AsyncClient) -> None:
    await _other_city(city)
    await brought(city, cameras(1), jurisdiction=builders.OTHER)
    job = await brought(city, cameras(2))
    assert await _codes(city, job) == [(2, "already-exists")]
    assert (await city.get("/v1/cameras/cam-0")).json()["jurisdiction"] == builders.OTHER


async def test_rows_may_name_their_jurisdictions(city: httpx.AsyncClient) -> None:
    await _other_city(city)
    rows = [row(0, jurisdiction=builders.CITY), row(1, jurisdiction=builders.OTHER)]
    rows.append(row(2, jurisdiction="999999"))
    job = await brought(city, table(rows), jurisdiction=None, on_error="skip_rows")
    assert job["jurisdictions"] == [builders.OTHER, builders.CITY]
    assert await _codes(city, job) == [(4, "unknown-reference")]
    assert (await city.get("/v1/cameras/cam-1")).json()["jurisdiction"] == builders.OTHER


async def test_rows_outside_the_rights_of_the_key_are_refused_like_absent_ones(
    city: httpx.AsyncClient, key_for: KeyFor
) -> None:
    await _other_city(city)
    key = await key_for("editor", [builders.CITY])
    rows = [row(0, jurisdiction=builders.CITY), row(1, jurisdiction=builders.OTHER)]
    job = await brought(city, table(rows), jurisdiction=None, headers=key, on_error="skip_rows")
    assert job["counts"]["created"] == 1
    result = await city.get(job["links"]["rows"] + "?status=error", headers=key)
    assert result.json()["items"][0]["problems"][0]["code"] == "unknown-reference"
    refused = await send(city, cameras(1), jurisdiction=builders.OTHER, headers=key)
    assert refused.status_code == 404
    reader = await key_for("analyst")
    assert (await send(city, cameras(1), headers=reader)).status_code == 403


async def test_references_stay_in_the_jurisdiction(city: httpx.AsyncClient) -> None:
    await city.post("/v1/control-points", json=builders.control_point("p1"))
    rows = [row(0, control_point="p1"), row(1, control_point="p2"), row(2)]
    job = await brought(city, table(rows))
    assert await _codes(city, job) == [(3, "unknown-reference")]
    problem = (await rows_of(city, job, "error"))[0]["problems"][0]
    assert problem["message"] == f"There is no control point 'p2' in jurisdiction {builders.CITY}."


async def test_places_outside_and_swapped_axes(city: httpx.AsyncClient) -> None:
    rows = [row(0), row(1, lon="120.5"), row(2, lon=str(builders.LAT), lat=str(builders.LON))]
    job = await brought(city, table(rows))
    assert await _codes(city, job) == [(3, "outside-extent"), (4, "swapped-coordinates")]


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("c.csv", table([row(0, lon="35.2", lat="113.2")]), "Swap the two columns"),
        (
            "c.csv",
            b"code,functions,position\nc,face,POINT(35.2 113.2)\n",
            "Longitude comes first in a",
        ),
        (
            "c.geojson",
            b'{"type":"Feature","geometry":{"type":"Point","coordinates":[35.2,113.2]},'
            b'"properties":{"code":"c","functions":["face"]}}',
            "Longitude must come first in the geometry of a file",
        ),
    ],
)
async def test_the_hint_for_swapped_axes_fits_the_columns_of_the_location(
    city: httpx.AsyncClient, name: str, content: bytes, hint: str
) -> None:
    job = await brought(city, content, name=name)
    (refused,) = await rows_of(city, job, "error")
    (problem,) = refused["problems"]
    assert problem["code"] == "swapped-coordinates"
    assert problem["hint"].startswith(hint)


def test_swapped_axes_have_the_hint_of_their_columns() -> None:
    """If both numbers can be a latitude, only the extent shows that the axes are swapped."""
    issue = Issue("/geometry", "swapped-coordinates", "...")
    for hint in SWAP_HINTS.values():
        error = row_errors.wrong_location(2, issue, hint)
        assert error.hint == hint
        assert translate_message(hint, "zh") != hint


async def test_shifted_coordinates_are_reported_and_not_moved(city: httpx.AsyncClient) -> None:
    await city.post("/v1/roads", json=builders.road())  # along builders.LAT
    locations = [(builders.LON - 0.09 + 0.008 * number, builders.LAT) for number in range(22)]
    right = await brought(city, table([row(n, lon=f"{x:.6f}", lat=f"{y:.6f}") for n, (x, y) in enumerate(locations)]))
    assert "datum-suspected" not in [note["code"] for note in right["notes"]]
    moved = [(float(x), float(y)) for x, y in datum.from_wgs84(locations, "gcj02")]
    rows = [row(n, lon=f"{x:.6f}", lat=f"{y:.6f}") for n, (x, y) in enumerate(moved)]
    job = await brought(city, table(rows))
    note = next(note for note in job["notes"] if note["code"] == "datum-suspected")
    assert "crs=gcj02" in note["message"]
    stored = (await city.get("/v1/cameras/cam-3")).json()["geometry"]["coordinates"]
    assert stored == [round(moved[3][0], 6), round(moved[3][1], 6)]
    stated = await brought(city, table(rows), crs="gcj02")
    assert "datum-suspected" not in [note["code"] for note in stated["notes"]]
    back = (await city.get("/v1/cameras/cam-3")).json()["geometry"]["coordinates"]
    assert back == pytest.approx(locations[3], abs=2e-6)


@pytest.mark.parametrize(
    ("mode", "codes"),
    [("create_only", [(2, "already-exists")]), ("update_only", [(3, "not-found")])],
)
async def test_modes(city: httpx.AsyncClient, mode: str, codes: list[Any]) -> None:
    await brought(city, cameras(1))
    job = await brought(city, cameras(2), mode=mode)
    assert await _codes(city, job) == codes


async def test_a_report_from_the_future(city: httpx.AsyncClient) -> None:
    rows = [row(0, state="online", reported_at="2090-01-01T00:00:00Z")]
    job = await brought(city, table(rows))
    assert await _codes(city, job) == [(2, "future-time")]


async def test_states_come_with_the_rows(city: httpx.AsyncClient) -> None:
    job = await brought(city, table([row(0, state="online"), row(1, state="fault"), row(2)]))
    assert (job["counts"]["created"], job["counts"]["states"]) == (3, 2)
    assert (await city.get("/v1/cameras/cam-1")).json()["state"] == "fault"


async def test_a_row_and_what_stays_registered_must_agree(city: httpx.AsyncClient) -> None:
    await brought(city, table([row(0, installed_on="2024-05-01", range_m="30")]))
    late = await brought(city, table([row(0, removed_on="2024-04-30")]))
    assert await _codes(city, late) == [(2, "dates-in-disorder")]
    blind = await brought(city, table([row(0, near_m="30")]))
    assert await _codes(city, blind) == [(2, "sees-nothing")]


async def test_records_are_known_by_their_owners_reference(city: httpx.AsyncClient) -> None:
    camera = builders.camera("known", owner_unit="甲", owner_reference="A-1")
    assert (await city.post("/v1/cameras", json=camera)).status_code == 201
    rows = [
        {"自编号": "A-1", "单位": "甲", "lon": "113.3", "lat": "35.2"},
        {"自编号": "A-2", "单位": "甲", "lon": "113.3", "lat": "35.2"},
    ]
    options = {
        "key": "owner_reference", "defaults": "functions=face",
        "mapping": '{"自编号": "owner_reference", "单位": "owner_unit"}',
    }  # fmt: skip
    content = table(rows, ("自编号", "单位", "lon", "lat"))
    job = await brought(city, content, **options)
    assert (job["counts"]["created"], job["counts"]["updated"]) == (1, 1), job
    codes = {item["row"]: item["code"] for item in await rows_of(city, job)}
    assert codes[2] == "known"
    again = await brought(city, content, **options)
    assert again["counts"]["unchanged"] == 2
    assert (await city.get(f"/v1/cameras/{codes[3]}")).json()["owner_reference"] == "A-2"
    twice = await brought(city, table([*rows, rows[0]], ("自编号", "单位", "lon", "lat")), **options)
    assert [code for _, code in await _codes(city, twice)] == ["duplicate-code"]


async def test_two_records_cannot_have_one_reference(city: httpx.AsyncClient) -> None:
    first = builders.camera("c1", owner_unit="甲", owner_reference="A-1")
    assert (await city.post("/v1/cameras", json=first)).status_code == 201
    second = await city.post("/v1/cameras", json={**first, "code": "c2"})
    assert (second.status_code, second.json()["code"]) == (409, "already-exists")
    alone = await city.post("/v1/cameras", json=builders.camera("c3", owner_reference="A-1"))
    assert alone.status_code == 422
    job = await brought(city, table([row(0, owner_unit="甲", owner_reference="A-1")]))
    assert await _codes(city, job) == [(2, "already-exists")]
    rows = [row(n, owner_unit="乙", owner_reference="B-1") for n in range(2)]
    job = await brought(city, table(rows))
    assert await _codes(city, job) == [(3, "duplicate-reference")]


async def test_what_the_file_does_not_have_is_removed_within_a_limit(
    city: httpx.AsyncClient,
) -> None:
    await brought(city, cameras(20))
    few = await brought(city, cameras(10), replace_missing="remove")
    assert (few["state"], few["problem"]["code"]) == ("failed", "too-many-removed")
    assert "10 of 20" in few["problem"]["detail"]
    meant = await brought(city, cameras(10), replace_missing="remove", max_remove_share=0.5)
    assert (meant["counts"]["unchanged"], meant["counts"]["removed"]) == (10, 10)
    removed = [item["code"] for item in await rows_of(city, meant, "removed")]
    assert removed == sorted(f"cam-{number}" for number in range(10, 20))
    assert (await city.get("/v1/cameras/cam-15")).status_code == 404
    back = await brought(city, cameras(11))
    assert (back["counts"]["created"], back["counts"]["unchanged"]) == (1, 10)
    assert (await city.get("/v1/cameras/cam-10")).json()["version"] == 3


async def test_records_that_are_pointed_to_are_not_removed(city: httpx.AsyncClient) -> None:
    for code in ("p1", "p2"):
        await city.post("/v1/control-points", json=builders.control_point(code))
    await city.post("/v1/cameras", json=builders.camera(control_point="p2"))
    content = b"code,category,lon,lat\np1,core_site,113.2,35.2\n"
    options: dict[str, Any] = {
        "kind": "control_point", "replace_missing": "remove", "max_remove_share": 1,
    }  # fmt: skip
    job = await brought(city, content, **options)
    assert (job["state"], job["problem"]["code"]) == ("failed", "rows-refused")
    assert await _codes(city, job) == [(None, "still-referenced")]
    spared = await brought(city, content, **options, on_error="skip_rows")
    assert (spared["state"], spared["counts"]["removed"]) == ("done", 0)
    assert (await city.get("/v1/control-points/p2")).status_code == 200


async def test_nothing_is_removed_when_rows_are_skipped(city: httpx.AsyncClient) -> None:
    await brought(city, cameras(3))
    job = await brought(
        city, table([row(0), row(1, lon="x")]), replace_missing="remove", on_error="skip_rows",
        max_remove_share=1,
    )  # fmt: skip
    assert (job["state"], job["counts"]["removed"]) == ("done", 0)
    assert "nothing-removed" in [note["code"] for note in job["notes"]]


async def test_checkpoints_with_lanes_a_row_each(city: httpx.AsyncClient) -> None:
    content = (
        "code,kind,lon,lat,lane,lane_direction\n"
        "k1,vehicle,113.2,35.2,1,inbound\nk1,vehicle,113.2,35.2,2,outbound\n"
        "k2,vehicle,113.2,35.2,1,both\n"
    )
    job = await brought(city, content.encode(), kind="checkpoint")
    assert (job["counts"]["created"], job["counts"]["rows"]) == (2, 3), job
    lanes = (await city.get("/v1/checkpoints/k1")).json()["lanes"]
    assert [(lane["lane"], lane["direction"]) for lane in lanes] == [
        (1, "inbound"),
        (2, "outbound"),
    ]


async def test_a_catalogue_over_own_data_can_leave_out_what_is_coarser(
    city: httpx.AsyncClient,
) -> None:
    """As docs/import.md says: what a dropped column would give stays as it is registered."""
    code = "41080000001320000001"
    await city.put(f"/v1/cameras/{code}", json=builders.camera(code, azimuth_deg=137))
    item = (
        f"<Item><DeviceID>{code}</DeviceID><Name>n</Name><Longitude>{builders.LON}</Longitude>"
        f"<Latitude>{builders.LAT}</Latitude><DirectionType>5</DirectionType></Item>"
    )
    xml = f"<Response><CmdType>Catalog</CmdType><DeviceList>{item}</DeviceList></Response>".encode()
    trial = await brought(city, xml, name="c.xml", dry_run=True)
    (row,) = await rows_of(city, trial, "updated")
    assert row["changes"]["azimuth_deg"] == [137, 135]
    await brought(city, xml, name="c.xml", drop_columns="DirectionType")
    result = (await city.get(f"/v1/cameras/{code}")).json()
    assert (result["azimuth_deg"], result["name_zh"] or result["name_en"]) == (137, "n")


async def test_tollgates_need_a_kind_and_lanes_their_tollgates(city: httpx.AsyncClient) -> None:
    code = "41080000001210000001"
    lane = {"TollgateID": code, "LaneId": 1, "LaneNo": 1, "CityPass": "1", "Direction": "7"}
    tollgate = {"TollgateID": code, "Name": "卡口", "Longitude": builders.LON, "Latitude": builders.LAT}
    lanes = {"LaneListObject": {"LaneObject": [lane]}}
    both = lanes | {"TollgateListObject": {"TollgateObject": [tollgate]}}
    alone = await send(city, _json(lanes), name="l.json", kind="checkpoint", defaults="kind=vehicle")
    assert (alone.status_code, alone.json()["code"]) == (422, "fields-missing")
    assert "none of the checkpoints is registered" in alone.json()["detail"]
    nothing = await send(city, _json(both), name="l.json", kind="checkpoint")
    assert nothing.json()["detail"].startswith("Missing required fields: kind.")
    job = await brought(city, _json(both), name="l.json", kind="checkpoint", defaults="kind=vehicle")
    assert job["counts"]["created"] == 1
    (stored,) = (await city.get(f"/v1/checkpoints/{code}")).json()["lanes"]
    assert (stored["lane"], stored["direction"], stored["bearing_deg"]) == (1, "inbound", 135)


async def test_rings_go_in_by_the_rules_of_rings(city: httpx.AsyncClient) -> None:
    features = [
        {"type": "Feature", "geometry": builders.square(half), "properties": {"level": level}}
        for level, half in builders.HALF_DEG.items()
    ]
    collection = {"type": "FeatureCollection", "features": features}
    job = await brought(city, _json(collection), name="rings.geojson", kind="ring")
    assert (job["state"], job["counts"]["created"]) == ("done", 3), job
    again = await brought(city, _json(collection), name="rings.geojson", kind="ring")
    assert again["counts"]["unchanged"] == 3
    features[0]["geometry"] = builders.square(0.5)
    invalid = await brought(city, _json(collection), name="rings.geojson", kind="ring")
    assert [code for _, code in await _codes(city, invalid)] == ["rings-not-nested"]
    (row,) = await rows_of(city, invalid, "error", **{"Accept-Language": "zh"})
    assert "圈必须包含" in row["problems"][0]["message"]
    bow = [[113.1, 35.1], [113.3, 35.3], [113.3, 35.1], [113.1, 35.3], [113.1, 35.1]]
    features[0]["geometry"] = {"type": "Polygon", "coordinates": [bow]}
    invalid = await brought(city, _json(collection), name="rings.geojson", kind="ring")
    (row,) = await rows_of(city, invalid, "error", **{"Accept-Language": "zh"})
    assert row["problems"][0]["message"] == "几何图形无效：边线自相交，位于 113.2 35.2"
    stored = (await city.get(f"/v1/jurisdictions/{builders.CITY}/rings/core")).json()
    assert stored["geometry"]["coordinates"][0][0][0] == [113.18, 35.18]


def _json(value: object) -> bytes:
    return orjson.dumps(value)


async def test_areas_and_lines_go_in_like_points(ringed: httpx.AsyncClient) -> None:
    """Any kind there is, with the geometry it has; a site lies where a place inside it lies."""
    kinds: list[tuple[str, builders.Json, builders.Json]] = [
        ("building", builders.square(0.001), {"code": "b", "height_m": 12}),
        ("control_point", builders.square(0.001), {"code": "s", "category": "core_site"}),
        ("road", LINE, {"code": "r", "road_class": "national"}),
    ]
    for kind, geometry, properties in kinds:
        feature = {"type": "Feature", "geometry": geometry, "properties": properties}
        content = _json({"type": "FeatureCollection", "features": [feature]})
        job = await brought(ringed, content, name="f.geojson", kind=kind)
        assert (job["state"], job["counts"]["created"]) == ("done", 1), (job, kind)
        again = await brought(ringed, content, name="f.geojson", kind=kind)
        assert again["counts"]["unchanged"] == 1, kind
        response = await ringed.get(again["links"]["file"])
        assert "geometry (WKT)" in response.text
    assert (await ringed.get("/v1/control-points/s")).json()["zone"] == "core"


async def test_device_states_at_volume(city: httpx.AsyncClient) -> None:
    await brought(city, cameras(3))
    content = (
        "kind,code,state,reported_at\n"
        "camera,cam-0,online,2026-01-01T00:00:00Z\ncamera,cam-1,offline,2026-01-01T00:00:00Z\n"
        "camera,none,online,2026-01-01T00:00:00Z\ncamera,cam-2,online,2090-01-01T00:00:00Z\n"
    )
    job = await brought(city, content.encode(), kind="state", jurisdiction=None, on_error="skip_rows")
    assert (job["state"], job["counts"]["states"], job["counts"]["refused"]) == ("done", 2, 2), job
    assert await _codes(city, job) == [(4, "unknown-reference"), (5, "future-time")]
    again = await brought(city, content.encode(), kind="state", jurisdiction=None, on_error="skip_rows")
    assert again["counts"]["states"] == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"kind": "nothing"}, "unknown-kind"),
        ({"kind": ""}, "invalid"),
        ({"mapping": "x=code"}, "unknown-column"),
        ({"mapping": "code"}, "invalid"),
        ({"mapping": "{"}, "invalid"),
        ({"mode": "sometimes"}, "invalid"),
        ({"max_remove_share": "2"}, "invalid"),
        ({"colour": "red"}, "invalid"),
        ({"profile": "none"}, "not-found"),
        ({"jurisdiction": "999999"}, "not-found"),
        ({"kind": "ring", "replace_missing": "remove"}, None),
    ],
)
async def test_invalid_options(city: httpx.AsyncClient, options: dict[str, Any], code: str | None) -> None:
    response = await send(city, cameras(1), **options)
    assert response.status_code in (404, 422), response.text
    assert response.json()["code"] == code or code is None
    assert (await city.get("/v1/imports")).json()["items"] == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"sheet": "Sheet1"}, "not-for-this-format"),
        ({"layer": "cameras"}, "not-for-this-format"),
        ({"defaults": "lon=5"}, "bad-default"),
        ({"defaults": "position=5"}, "bad-default"),
        ({"defaults": "name=x"}, "bad-default"),
        ({"defaults": "resolution=1920x1080"}, "bad-default"),
        ({"defaults": "colour=red"}, "unknown-field"),
    ],
)
async def test_an_option_that_would_be_passed_over_is_refused(
    city: httpx.AsyncClient, options: dict[str, Any], code: str
) -> None:
    response = await send(city, cameras(1), **options)
    reported = response.json()
    assert (response.status_code, reported["code"]) == (422, code)
    name, value = next(iter(options.items()))
    where = f"/{name}/{value.partition('=')[0]}" if name == "defaults" else f"/{name}"
    assert reported["errors"][0]["pointer"] == where


@pytest.mark.parametrize("options", [{"delimiter": ";"}, {"header_row": 1}, {"layer": "x"}, {"sheet": "x"}])
async def test_geojson_has_no_table(city: httpx.AsyncClient, options: dict[str, Any]) -> None:
    feature = {"type": "Feature", "geometry": builders.point(), "properties": {"code": "c"}}
    content = _json({"type": "FeatureCollection", "features": [feature]})
    response = await send(city, content, name="f.geojson", defaults="functions=face", **options)
    assert (response.status_code, response.json()["code"]) == (422, "not-for-this-format")
    assert (await brought(city, content, name="f.geojson", defaults="functions=face"))["written"]


@pytest.mark.parametrize(
    ("geometry", "properties", "options"),
    [
        (builders.square(0.1), {"level": "core"}, {"kind": "ring", "replace_missing": "remove"}),
        (
            LINE,
            {"code": "r", "road_class": "path"},
            {"kind": "road", "key": "owner_reference", "defaults": "code=r"},
        ),
    ],
)
async def test_what_a_kind_cannot_do(
    city: httpx.AsyncClient,
    geometry: builders.Json,
    properties: builders.Json,
    options: dict[str, Any],
) -> None:
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    content = _json({"type": "FeatureCollection", "features": [feature]})
    response = await send(city, content, name="f.geojson", **options)
    assert (response.status_code, response.json()["code"]) == (422, "not-for-this-kind")


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty-file"), (b"\x89PNG\r\n\x1a\n1234", "unsupported-format")],
)
async def test_files_that_are_none(city: httpx.AsyncClient, content: bytes, code: str) -> None:
    response = await send(city, content)
    assert (response.status_code, response.json()["code"]) == (422, code)


async def test_a_header_alone_is_a_file_without_rows(city: httpx.AsyncClient) -> None:
    job = await brought(city, table([]))
    assert (job["state"], job["counts"]["rows"], job["progress"]) == ("done", 0, 1.0)


async def test_a_form_without_its_file(city: httpx.AsyncClient) -> None:
    response = await city.post("/v1/imports", data={"kind": "camera"}, files={"other": b"x"})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "file-missing")


@pytest.mark.parametrize(
    "body",
    [b"", b"--b", b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nhalf", b"x" * 100],
)
async def test_a_broken_form(city: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = await city.post("/v1/imports", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "malformed-json")


def _form(name: bytes, **fields: str) -> bytes:
    """Return a form as programs write it that do not care for the rules."""
    known = {"kind": "camera", "jurisdiction": builders.CITY} | fields
    parts = [f'name="{field}"\r\n\r\n{text}'.encode() for field, text in known.items()]
    parts.append(b'name="file"; filename="' + name + b'"\r\n\r\n' + table([row(1)]))
    start = b"--b\r\nContent-Disposition: form-data; "
    return b"".join(start + section + b"\r\n" for section in parts) + b"--b--\r\n"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("台账.csv".encode("gbk"), "台账.csv"),
        ("台账.csv".encode(), "台账.csv"),
        (b"a\x00b.csv", "ab.csv"),
        (b"\xff\xff.csv", "\ufffd\ufffd.csv"),
        (b"\x01", "file"),
        (("汉" * 300 + ".csv").encode(), "汉" * 180 + "…" + "汉" * 15 + ".csv"),
    ],
)
async def test_the_name_of_a_file_is_never_in_the_way(city: httpx.AsyncClient, sent: bytes, kept: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = await city.post("/v1/imports?wait=60", content=_form(sent), headers=headers)
    assert response.status_code == 200, response.text
    assert response.json()["file"]["name"] == kept


@pytest.mark.parametrize("option", ["values", "defaults", "mapping"])
async def test_an_option_cannot_hold_a_nul(city: httpx.AsyncClient, option: str) -> None:
    fields = {option: '{"name_zh": "a\\u0000"}'}
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = await city.post("/v1/imports", content=_form(b"a.csv", **fields), headers=headers)
    assert response.status_code == 422, response.text
    body = {"columns": {"a\x00": "code"}}
    assert (await city.put("/v1/import-profiles/odd", json=body)).status_code == 422


async def test_another_kind_of_multipart(city: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "multipart/mixed; boundary=b"}
    response = await city.post("/v1/imports", content=b"--b--", headers=headers)
    assert response.status_code == 415


async def test_a_file_over_the_limit_leaves_nothing_behind(
    serve: builders.Serve, key_for: KeyFor, database: Database
) -> None:
    async with serve(import_max_mb=0.001, max_body_mb=1) as client:
        client.headers.update(await key_for("admin"))
        body = builders.jurisdiction()
        await client.put(f"/v1/jurisdictions/{builders.CITY}", json=body)
        response = await send(client, cameras(100))
        assert (response.status_code, response.json()["code"]) == (413, "too-large")
        assert (await client.get("/v1/imports")).json()["items"] == []


async def test_an_ended_import_cannot_be_cancelled(city: httpx.AsyncClient) -> None:
    job = await brought(city, cameras(1))
    response = await city.post(job["links"]["self"] + ":cancel")
    assert (response.status_code, response.json()["code"]) == (409, "import-ended")
    unknown = "/v1/imports/00000000-0000-0000-0000-000000000000"
    assert (await city.post(unknown + ":cancel")).status_code == 404
    assert (await city.get(unknown)).status_code == 404
    assert (await city.get(job["links"]["rows"] + "?cursor=!!")).status_code == 422
    assert (await city.get(job["links"]["rows"] + "?cursor=eA")).status_code == 422


@pytest.mark.parametrize("name", ["gbt28181", "osm"])
async def test_profiles_of_the_product_stay(city: httpx.AsyncClient, name: str) -> None:
    put = await city.put(f"/v1/import-profiles/{name}", json={})
    removed = await city.delete(f"/v1/import-profiles/{name}")
    assert [put.status_code, removed.status_code] == [409, 409]
    assert put.json()["code"] == "profile-built-in"


async def test_profiles_that_speak_of_nothing(city: httpx.AsyncClient) -> None:
    bodies: list[Any] = [{"kind": "camera", "columns": {"a": "nothing"}}, {"colour": 1}, []]
    for body in bodies:
        response = await city.put("/v1/import-profiles/ours", json=body)
        assert response.status_code == 422, body


async def test_a_code_is_registered_concurrently(city: httpx.AsyncClient, database: Database) -> None:
    """The file loses, whole; the writer who was first wins."""
    real = staging_queries.write_records

    async def late(*given: Any, **more: Any) -> None:
        async with database.engine.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO camera (code, jurisdiction, functions, lifecycle, geometry) "
                    "VALUES ('cam-1', '410800', '{face}', 'in_use', 'SRID=4326;POINT(113 35)')"
                )
            )
        await real(*given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging_queries, "write_records", late)
        job = await brought(city, cameras(3))
    assert (job["state"], job["problem"]["code"]) == ("failed", "already-exists")
    assert len((await city.get("/v1/cameras")).json()["items"]) == 1


async def test_the_sheet_that_gives_what_is_needed_is_read(city: httpx.AsyncClient) -> None:
    def book(*sheets: str) -> bytes:
        sink = io.BytesIO()
        with xlsxwriter.Workbook(sink) as created:
            for name in sheets:
                sheet = created.add_worksheet(name)
                lines = [["代码", "含义"], ["1", "车辆"], ["2", "人脸"]]
                if name == "点位":
                    result = row(1)
                    lines = [list(result), list(result.values())]
                for index, line in enumerate(lines):
                    sheet.write_row(index, 0, line)
        return sink.getvalue()

    job = await brought(city, book("字典", "点位", "旧"), name="a.xlsx")
    assert (job["counts"]["created"], job["file"]["layer"]) == (1, "点位")
    assert [note["code"] for note in job["notes"]] == ["layer-chosen"]
    for sheets, stated in ((("字典", "旧"), None), (("字典", "点位"), "字典")):
        refused = await send(city, book(*sheets), name="a.xlsx", sheet=stated)
        assert (refused.status_code, refused.json()["code"]) == (422, "fields-missing")
