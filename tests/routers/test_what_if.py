"""What-if: the result equals the summary after the real changes, and the registry stays as it is."""

from typing import Any

import httpx
import orjson
import pytest
import shapely

from app.access.roles import OPERATOR
from app.analysis.planning.overlay import OVERLAY_KINDS
from app.analysis.planning.what_if import apply_changes, load_what_if_query, parse_overlay
from app.db.engine import Database
from tests.builders import (
    CITY,
    LAT,
    LON,
    MERGE_PATCH,
    Json,
    KeyFor,
    box,
    building,
    camera,
    checkpoint,
    contents,
    control_point,
    lay_crossroads,
    point,
    road,
)

CITY_URL = f"/v1/jurisdictions/{CITY}"
WHAT_IF = f"{CITY_URL}/coverage/what-if"
WEST = LON - 0.02
"""Longitude of the western side of the core."""


async def run_what_if(client: httpx.AsyncClient, *changes: Json) -> Any:
    response = await client.post(WHAT_IF, json={"changes": list(changes)})
    assert response.status_code == 200, response.text
    return response.json()


async def save(client: httpx.AsyncClient, kind: str, *items: Json) -> None:
    response = await client.post(f"/v1/{kind}:batch", json=list(items))
    assert response.status_code == 200, response.text
    assert response.json()["summary"]["refused"] == 0, response.text


async def get_summary(client: httpx.AsyncClient) -> Any:
    response = await client.get(f"{CITY_URL}/coverage")
    assert response.status_code == 200, response.text
    return response.json()


def index_cordons(result: Json) -> dict[tuple[str, str], Json]:
    return {
        (ring["level"], direction): ring[direction] for ring in result["rings"] for direction in ("inbound", "outbound")
    }


async def check_against_real_changes(client: httpx.AsyncClient, imagined: Json) -> None:
    """Compare a what-if result with the summary after the same real changes."""
    now = await get_summary(client)
    counts = {name: value for name, value in now["control_points"].items() if name != "by_category"}
    assert imagined["control_points"]["counts"]["after"] == counts
    assert imagined["devices"]["after"] == now["devices"]
    after = {(item["level"], item["direction"]): item["after"] for item in imagined["rings"]}
    assert after == index_cordons(now)
    points = (await client.get(f"{CITY_URL}/coverage/control-points")).json()["items"]
    status = {item["code"]: item["status"] for item in points}
    for item in imagined["control_points"]["changed"]:
        assert status.get(item["code"]) == item["after"]
    listed = (await client.get(f"{CITY_URL}/coverage/crossings")).json()["items"]
    crossings = {item["id"]: (item["status"], item["missing_directions"]) for item in listed}
    for item in imagined["crossings"]:
        assert crossings.get(item["id"], (None, [])) == (item["after"], item["missing_after"])


LANES = [
    {"lane": 1, "direction": "inbound", "bearing_deg": 90},
    {"lane": 2, "direction": "outbound", "bearing_deg": 270},
]


def build_guard(code: str = "k-1", **changed: Any) -> Json:
    fields: Json = {"geometry": point(WEST + 0.0003), "lanes": LANES, "road": "west-1"}
    return checkpoint(code, **{**fields, **changed})


@pytest.fixture
async def equipped(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of a city with a guarded crossing, control points and cameras."""
    await lay_crossroads(ringed)
    await save(
        ringed,
        "control-points",
        control_point("p-site", geometry=point(LON + 0.003, LAT + 0.003)),
        control_point("p-west", category="core_road", geometry=point(WEST), road_name="West Road"),
        control_point(
            "p-area", geometry=box(LON + 0.004, LAT, LON + 0.0041, LAT + 0.0001),
            requirements=[{"function": "face"}],
        ),
    )  # fmt: skip
    await save(ringed, "checkpoints", build_guard(state="online", control_point="p-west"))
    await save(
        ringed,
        "cameras",
        camera(
            "c-1", geometry=point(LON + 0.003, LAT + 0.0029), state="online",
            functions=["face", "structured"], control_point="p-site", horizontal_pixels=3840,
            owner_unit="North unit", manufacturer="Maker A", failure_group="pole 4",
        ),
        camera("c-2", geometry=point(LON + 0.0041, LAT), state="online", manufacturer="Maker B",
               view_polygon=box(LON + 0.004, LAT - 0.0001, LON + 0.0042, LAT),
               azimuth_deg=10, opening_deg=90, range_m=50, near_m=1, focal_mm=4, sensor_width_mm=6),
        camera("c-3", geometry=point(WEST + 0.0003), functions=["vehicle"], checkpoint="k-1",
               state="online", mount_height_m=6, tilt_deg=-20, vertical_opening_deg=30),
    )  # fmt: skip
    await save(ringed, "buildings", building("b-1", levels=4), building("b-2", height_m=9))
    return ringed


async def test_a_what_if_writes_nothing_and_an_empty_overlay_changes_nothing(
    equipped: httpx.AsyncClient, database: Database
) -> None:
    await get_summary(equipped)
    before = await contents(database)
    result = await run_what_if(equipped)
    assert result["control_points"]["changed"] == result["crossings"] == []
    assert not any(item["changed"] for item in result["rings"])
    assert result["devices"]["before"] == result["devices"]["after"]
    await run_what_if(equipped, {"kind": "checkpoint", "delete": "k-1"}, {"kind": "camera", "delete": "c-3"})
    assert await contents(database) == before


async def test_a_draft_becomes_the_row_that_sql_reads(equipped: httpx.AsyncClient) -> None:
    """Every column of the row of a draft equals the column that SQL reads."""
    state = equipped._transport.app.state  # type: ignore[attr-defined]  # the application under test
    base = await state.analysis.load_analysis(CITY, OPERATOR)
    for kind in OVERLAY_KINDS:
        table = base.snapshot.get_table(kind)
        assert table["code"]
        payload = {"changes": [{"kind": kind, "patch": {"code": code}} for code in table["code"]]}
        query = await load_what_if_query(state.database, CITY, parse_overlay(payload))
        after, _ = apply_changes(base, query)
        again = after.snapshot.get_table(kind)
        for name in table:
            was, now = table[name], again[name]
            assert [to_readable(name, item) for item in now] == [to_readable(name, item) for item in was], name


def to_readable(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return shapely.normalize(shapely.from_wkb(value)).wkt
    if name in ("requirements", "lanes", "view_polygon") and value is not None:
        return orjson.loads(value)
    return value


async def test_a_guard_is_added_and_another_fails(equipped: httpx.AsyncClient) -> None:
    east = build_guard("k-east", geometry=point(LON + 0.0197), road="east-1",
                 lanes=[{"lane": 1, "direction": "inbound", "bearing_deg": 270}])  # fmt: skip
    result = await run_what_if(equipped, {"kind": "checkpoint", "upsert": east})
    (core,) = [item for item in result["rings"] if item["changed"]]
    assert (core["level"], core["direction"]) == ("core", "inbound")
    assert (core["before"]["sealed"], core["before"]["to_seal"]) == (False, 1)
    assert core["after"] == {"sealed": True, "depth": 1, "to_seal": 0, "critical": 2}
    (crossing,) = result["crossings"]
    assert crossing["missing_after"] == ["outbound"]
    assert result["applied"]["upserted"] == {"checkpoint": 1}
    await save(equipped, "checkpoints", {**east, "state": "online"})
    await check_against_real_changes(equipped, result)

    result = await run_what_if(equipped, {"kind": "checkpoint", "code": "k-1", "state": "offline"},
                     {"kind": "camera", "code": "c-3", "state": "fault"})  # fmt: skip
    assert result["control_points"]["opened"] == ["p-west"]
    reports = [{"kind": "checkpoint", "code": "k-1", "state": "offline"},
               {"kind": "camera", "code": "c-3", "state": "fault"}]  # fmt: skip
    assert (await equipped.post("/v1/states", json=reports)).json()["applied"] == 2
    await check_against_real_changes(equipped, result)


async def test_records_are_moved_turned_and_removed(equipped: httpx.AsyncClient) -> None:
    changes: list[Json] = [
        {"kind": "camera", "patch": {"code": "c-1", "geometry": point(LON + 0.01)}},
        {"kind": "camera", "patch": {"code": "c-1", "control_point": None}},
        {"kind": "camera", "patch": {"code": "c-2", "azimuth_deg": 180, "lifecycle": "repair"}},
        {"kind": "camera", "patch": {"code": "c-2", "range_m": 20}},
        {"kind": "building", "patch": {"code": "b-1", "geometry": box(LON, LAT, 113.201, 35.201)}},
        {"kind": "camera", "delete": "c-3"},
        {"kind": "checkpoint", "delete": "k-1"},
        {"kind": "control_point", "delete": "p-west"},
        {"kind": "control_point", "upsert": control_point("p-new", geometry=point(LON + 0.04, LAT))},
        {"kind": "road", "upsert": road("new-1", road_class="county", geometry={
            "type": "LineString", "coordinates": [[LON, LAT], [LON, LAT + 0.1]]})},
    ]  # fmt: skip
    result = await run_what_if(equipped, *changes)
    assert result["applied"]["deleted"] == {"camera": 1, "checkpoint": 1, "control_point": 1}
    new = next(item for item in result["control_points"]["changed"] if item["code"] == "p-new")
    assert (new["before"], new["after"], new["zone"]) == (None, "uncovered", "urban")
    assert any(item["before"] is None for item in result["crossings"])  # of the new road
    for change in changes:
        plural = {"camera": "cameras", "checkpoint": "checkpoints", "control_point": "control-points",
                  "road": "roads", "building": "buildings"}[change["kind"]]  # fmt: skip
        if "patch" in change:
            url = f"/v1/{plural}/{change['patch']['code']}"
            response = await equipped.patch(url, json=change["patch"], headers=MERGE_PATCH)
            assert response.status_code == 200, response.text
        else:
            await save(
                equipped,
                plural,
                {name: change[name] for name in ("upsert", "delete") if name in change},
            )
    await check_against_real_changes(equipped, result)


FAILURES: list[tuple[Json, Json]] = [
    ({"manufacturer": "Maker A"}, {"camera": 1}),
    ({"owner_unit": "North unit", "kind": "camera"}, {"camera": 1}),
    ({"owner_unit": "North unit", "manufacturer": "Maker B"}, {}),
    ({"road": "West Road"}, {"camera": 1, "checkpoint": 1}),
    ({"road": "west-1", "kind": "checkpoint"}, {"checkpoint": 1}),
    ({"failure_group": "pole 4"}, {"camera": 1}),
    ({"codes": ["k-1", "c-2"]}, {"camera": 1, "checkpoint": 1}),
    (
        {"area": box(WEST - 0.01, LAT - 0.01, WEST + 0.01, LAT + 0.01)},
        {"camera": 1, "checkpoint": 1},
    ),
    ({"area": box(112.6, 34.6, 112.7, 34.7)}, {}),
]


async def test_devices_that_fit_all_filters_fail(equipped: httpx.AsyncClient) -> None:
    for failing, failed in FAILURES:
        result = await run_what_if(equipped, {"fail": failing})
        assert result["applied"]["failed"] == failed, failing
        lost = result["devices"]["before"]["working"] - result["devices"]["after"]["working"]
        assert lost == sum(failed.values()), failing


async def test_a_failure_that_fits_no_device_is_listed(equipped: httpx.AsyncClient) -> None:
    for failing, filters in [
        ({"manufacturer": "Maker Z"}, ["manufacturer"]),
        ({"failure_group": "pole 99"}, ["failure_group"]),
        ({"owner_unit": "North unit", "manufacturer": "Maker Z"}, ["manufacturer"]),
        ({"owner_unit": "North unit", "manufacturer": "Maker B"}, ["manufacturer", "owner_unit"]),
        ({"area": box(112.6, 34.6, 112.7, 34.7), "kind": "camera"}, ["area"]),
    ]:
        result = await run_what_if(equipped, {"fail": {"road": "West Road"}}, {"fail": failing})
        (nothing,) = result["applied"]["failed_nothing"]
        assert (nothing["change"], sorted(nothing["filters"])) == (1, filters), failing
    result = await run_what_if(equipped, {"fail": {"road": "West Road"}})
    assert result["applied"]["failed_nothing"] == []


async def test_sealing_all_open_crossings_seals_the_ring(equipped: httpx.AsyncClient) -> None:
    listed = (await equipped.get(f"{CITY_URL}/coverage/crossings?guarded=false")).json()["items"]
    assert len(listed) == 5
    result = await run_what_if(equipped, *({"seal": {"crossing": item["id"]}} for item in listed))
    assert {item["after"] for item in result["crossings"]} == {"guarded"}
    assert len(result["crossings"]) == 5
    assert all(item["after"]["sealed"] for item in result["rings"])
    assert result["applied"]["sealed"] == 5
    half = await run_what_if(equipped, {"seal": {"crossing": listed[0]["id"], "directions": ["inbound"]}})
    assert half["crossings"][0]["missing_after"] == ["outbound"]
    road_result = await run_what_if(equipped, {"seal": {"road": "east-1"}})
    core = next(item for item in road_result["rings"] if (item["level"], item["direction"]) == ("core", "inbound"))
    assert core["after"]["sealed"]


async def test_failures_apply_to_changed_records(equipped: httpx.AsyncClient) -> None:
    new = build_guard("k-2", geometry=point(LON + 0.0197), road="east-1", manufacturer="Maker C")
    result = await run_what_if(
        equipped,
        {"fail": {"manufacturer": "Maker C"}},
        {"kind": "checkpoint", "upsert": new},
        {"kind": "camera", "patch": {"code": "c-2", "manufacturer": "Maker C"}},
    )
    assert result["applied"]["failed"] == {"camera": 1, "checkpoint": 1}


def build_upsert(**changed: Any) -> Json:
    return {"kind": "camera", "upsert": camera("a", **changed)}


INVALID_CHANGES: list[tuple[Json, str, str]] = [
    ({}, "", "one-action"),
    ({"kind": "camera"}, "", "one-action"),
    ({"kind": "camera", "delete": "a", "upsert": {}}, "", "one-action"),
    ({"delete": "a"}, "/kind", "kind-of-change"),
    ({"kind": "ring", "delete": "a"}, "/kind", "literal-error"),
    ({"kind": "road", "code": "a", "state": "online"}, "/kind", "kind-of-change"),
    ({"kind": "camera", "state": "online"}, "", "code-of-change"),
    ({"kind": "camera", "code": "nobody", "state": "online"}, "/code", "not-found"),
    ({"kind": "camera", "upsert": {"code": "a"}}, "/upsert/functions", "missing"),
    (build_upsert(password="x"), "/upsert/password", "forbidden-content"),
    (build_upsert(jurisdiction="410100"), "/upsert/jurisdiction", "jurisdiction-fixed"),
    (build_upsert(geometry=point(80.0)), "/upsert/geometry", "outside-extent"),
    (build_upsert(geometry=point(LAT, 80.0)), "/upsert/geometry", "outside-extent"),
    (build_upsert(control_point="nowhere"), "/upsert/control_point", "unknown-reference"),
    ({"kind": "camera", "patch": {"azimuth_deg": 3}}, "/patch/code", "missing"),
    ({"kind": "camera", "patch": {"code": "nobody"}}, "/patch/code", "not-found"),
    (
        {"kind": "camera", "patch": {"code": "c-1", "azimuth_deg": 360}},
        "/patch/azimuth_deg",
        "less-than",
    ),
    ({"kind": "checkpoint", "delete": "k-1"}, "/delete", "still-referenced"),
    ({"kind": "camera", "delete": "nobody"}, "/delete", "not-found"),
    ({"fail": {}}, "/fail", "nothing-said"),
    ({"fail": {"kind": "camera"}}, "/fail", "nothing-said"),
    ({"fail": {"manufacturer": None}}, "/fail", "nothing-said"),
    ({"fail": {"manufacturer": ""}}, "/fail/manufacturer", "too-short"),
    ({"fail": {"owner_unit": "  "}}, "/fail/owner_unit", "too-short"),
    ({"fail": {"failure_group": ""}}, "/fail/failure_group", "too-short"),
    ({"fail": {"road": "nowhere"}}, "/fail/road", "not-found"),
    ({"fail": {"codes": ["c-1", "nobody"]}}, "/fail/codes/1", "not-found"),
    ({"fail": {"area": point()}}, "/fail/area", "geometry-type"),
    ({"seal": {"crossing": "core-0123456789ab"}}, "/seal/crossing", "not-found"),
    ({"seal": {"road": "nowhere"}}, "/seal/road", "not-found"),
    ({"seal": {}}, "/seal", "one-place"),
]


async def test_invalid_changes_are_rejected_with_a_pointer(equipped: httpx.AsyncClient) -> None:
    for change, pointer, code in INVALID_CHANGES:
        response = await equipped.post(WHAT_IF, json={"changes": [change]})
        assert response.status_code == 422, (change, response.text)
        codes = {item["pointer"]: item["code"] for item in response.json()["errors"]}
        assert codes.get(f"/changes/0{pointer}") == code, (change, codes)


async def test_too_many_changes_and_invalid_bodies_are_rejected(equipped: httpx.AsyncClient, key_for: KeyFor) -> None:
    many = {"changes": [{"kind": "camera", "delete": "c-1"}] * 5_001}
    assert (await equipped.post(WHAT_IF, json=many)).status_code == 413
    bodies: list[Any] = [[], {}, {"changes": {}}, {"changes": None}, 3]
    for body in bodies:
        assert (await equipped.post(WHAT_IF, json=body)).status_code == 422
    for headers, status in (
        (await key_for("reader"), 403),
        (await key_for("analyst", ["410100"]), 404),
        (await key_for("analyst", [CITY]), 200),
    ):
        response = await equipped.post(WHAT_IF, json={"changes": []}, headers=headers)
        assert response.status_code == status
