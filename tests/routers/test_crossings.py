"""Crossings over HTTP: guards by direction, waivers, the comparison with the plan, and missing data."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.builders import (
    CITY,
    GEOJSON,
    LAT,
    LON,
    Json,
    KeyFor,
    camera,
    checkpoint,
    control_point,
    point,
    road,
)

CITY_URL = f"/v1/jurisdictions/{CITY}"
CROSSINGS = f"{CITY_URL}/coverage/crossings"
WEST = LON - 0.02
"""Longitude of the western side of the core."""
NEXT_YEAR = "2999-01-01T00:00:00Z"


def line(*lonlat: tuple[float, float]) -> Json:
    return {"type": "LineString", "coordinates": [list(item) for item in lonlat]}


def format_now() -> str:
    return datetime.now(UTC).isoformat()


async def put(client: httpx.AsyncClient, url: str, body: Json, **headers: str) -> httpx.Response:
    response = await client.put(url, json=body, headers=headers)
    assert response.status_code in (200, 201), response.text
    return response


async def get(client: httpx.AsyncClient, url: str) -> Any:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
async def streets(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of a city with a road from its centre to the west, across two rings."""
    geometry = line((LON, LAT), (113.16, LAT), (113.1, LAT))
    await put(ringed, "/v1/roads/west-1", road("west-1", geometry=geometry, name_en="West Road"))
    side = line((113.16, LAT), (113.16, LAT + 0.01))
    await put(ringed, "/v1/roads/side-1", road("side-1", geometry=side))
    return ringed


async def test_a_crossing_is_guarded_and_opened_again(streets: httpx.AsyncClient) -> None:
    result = await get(streets, f"{CROSSINGS}?level=core")
    (crossing,) = result["items"]
    assert crossing["status"] == "open"
    assert crossing["directions"] == crossing["missing_directions"] == ["inbound", "outbound"]
    assert crossing["geometry"]["coordinates"] == pytest.approx([WEST, LAT], abs=1e-6)
    assert crossing["road"]["name_en"] == "West Road"
    assert crossing["road"]["codes"] == ["west-1"]
    assert crossing["grade"] == "level"
    assert crossing["inbound_bearing_deg"] == pytest.approx(90, abs=1)
    assert [need["reason"] for need in crossing["needs"]] == ["none", "none"]
    url = f"{CROSSINGS}/{crossing['id']}"

    # A checkpoint on the road, 30 m inward, with one lane in: outbound stays open.
    location = {"type": "Point", "coordinates": [WEST + 0.0003, LAT]}
    lanes = [{"lane": 1, "direction": "inbound", "bearing_deg": 90}]
    body = checkpoint("k-1", geometry=location, lanes=lanes, state="online", road="west-1")
    await put(streets, "/v1/checkpoints/k-1", body)
    half = await get(streets, url)
    assert (half["status"], half["missing_directions"]) == ("open", ["outbound"])
    assert half["needs"][0]["guards"] == [{"kind": "checkpoint", "code": "k-1"}]
    assert half["needs"][1]["reason"] == "wrong_direction"

    lanes.append({"lane": 2, "direction": "outbound", "bearing_deg": 270})
    await put(streets, "/v1/checkpoints/k-1", body)
    assert (await get(streets, url))["status"] == "guarded"
    summary = await get(streets, f"{CITY_URL}/coverage")
    rings = {ring["level"]: ring["crossings"] for ring in summary["rings"]}
    assert rings["core"] == {"total": 1, "guarded": 1, "open": 0, "waived": 0}
    assert rings["urban"] == {"total": 1, "guarded": 0, "open": 1, "waived": 0}

    off = [{"kind": "checkpoint", "code": "k-1", "state": "offline"}]
    assert (await streets.post("/v1/states", json=off)).json()["applied"] == 1
    assert (await get(streets, url))["needs"][0]["reason"] == "offline"
    assert len((await get(streets, f"{CROSSINGS}?guarded=false"))["items"]) == 2


async def test_open_crossings_are_gaps_of_their_type(streets: httpx.AsyncClient) -> None:
    gaps = f"{CITY_URL}/coverage/gaps"
    every = await get(streets, gaps)
    assert {item["properties"]["type"] for item in every["features"]} == {"crossing"}
    (core,) = (await get(streets, f"{gaps}?level=core"))["features"]
    assert core["properties"]["level"] == "core"
    assert core["properties"]["reason"] == "none"
    assert core["properties"]["fix"]
    assert core["geometry"]["type"] == "Point"
    assert (await get(streets, f"{gaps}?type=control_point"))["features"] == []


MISPLACED = [
    ("function=face", "function"), ("k=2", "k"), ("working=false", "working"),
    ("min_gap_m2=5", "min_gap_m2"), ("type=crossing&k=2", "k"), ("type=crossing&zone=core", "zone"),
    ("type=crossing&category=core_road", "category"), ("type=control_point&level=core", "level"),
    ("level=core&category=core_road", "level"), ("level=core&zone=core", "level"),
    ("type=area&level=core", "level"), ("type=area&category=core_site", "category"),
    ("type=area&zone=outside", "zone"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "parameter"), MISPLACED)
async def test_a_filter_that_gaps_do_not_have_is_rejected(
    streets: httpx.AsyncClient, query: str, parameter: str
) -> None:
    response = await streets.get(f"{CITY_URL}/coverage/gaps?{query}")
    assert response.status_code == 422, response.text
    assert [item["pointer"] for item in response.json()["errors"]] == [f"?{parameter}"]


async def test_a_waiver_is_created_changed_and_removed(streets: httpx.AsyncClient, key_for: KeyFor) -> None:
    crossing = (await get(streets, f"{CROSSINGS}?level=core"))["items"][0]["id"]
    url = f"{CROSSINGS}/{crossing}/waiver"
    assert (await streets.get(url)).status_code == 404

    revision = (await get(streets, f"{CITY_URL}/coverage"))["revision"]
    waiver = {"reason": "closed by a gate", "expires_at": NEXT_YEAR}
    created = await put(streets, url, waiver, **{"X-Change-Reason": "council"})
    assert created.status_code == 201
    assert created.json()["waived_by"]
    assert (await get(streets, url))["reason"] == "closed by a gate"

    result = await get(streets, f"{CROSSINGS}/{crossing}")
    assert (result["status"], result["guarded"]) == ("waived", False)
    assert result["waiver"]["reason"] == "closed by a gate"
    assert result["revision"] == revision + 1
    assert (await get(streets, f"{CITY_URL}/coverage/gaps?level=core"))["features"] == []
    assert (await get(streets, f"{CROSSINGS}?status=waived"))["items"][0]["id"] == crossing
    summary = await get(streets, f"{CITY_URL}/coverage")
    rings = {ring["level"]: ring["crossings"] for ring in summary["rings"]}
    assert rings["core"] == {"total": 1, "guarded": 0, "open": 0, "waived": 1}

    stale = {"If-Match": '"9"'}
    assert (await streets.put(url, json=waiver, headers=stale)).status_code == 412
    again = await put(streets, url, {**waiver, "reason": "gate stays"}, **{"If-Match": '"1"'})
    assert (again.status_code, again.headers["etag"]) == (200, '"2"')

    editor = await key_for("editor")
    assert (await streets.put(url, json=waiver, headers=editor)).status_code == 403
    assert (await streets.delete(url, headers=editor)).status_code == 403
    assert (await streets.delete(url)).status_code == 204
    assert (await streets.delete(url)).status_code == 404
    assert (await get(streets, f"{CROSSINGS}/{crossing}"))["status"] == "open"
    history = await get(streets, f"{url}/history")
    assert [change["operation"] for change in history["items"]] == ["remove", "update", "create"]
    assert history["items"][-1]["reason"] == "council"
    await put(streets, url, waiver)
    assert (await get(streets, f"{CROSSINGS}/{crossing}"))["status"] == "waived"


async def test_a_waiver_ends_at_its_time(streets: httpx.AsyncClient) -> None:
    crossing = (await get(streets, f"{CROSSINGS}?level=core"))["items"][0]["id"]
    soon = (datetime.now(UTC) + timedelta(seconds=1.2)).isoformat()
    await put(streets, f"{CROSSINGS}/{crossing}/waiver", {"reason": "works", "expires_at": soon})
    assert (await get(streets, f"{CROSSINGS}/{crossing}"))["status"] == "waived"
    await asyncio.sleep(1.3)
    assert (await get(streets, f"{CROSSINGS}/{crossing}"))["status"] == "open"


async def test_a_waiver_stays_with_a_road_after_a_new_survey(
    streets: httpx.AsyncClient,
) -> None:
    old = (await get(streets, f"{CROSSINGS}?level=core"))["items"][0]["id"]
    waiver = {"reason": "closed by a gate", "expires_at": NEXT_YEAR}
    await put(streets, f"{CROSSINGS}/{old}/waiver", waiver)
    moved = line((LON, LAT), (WEST, LAT - 0.00045), (113.1, LAT))
    await put(streets, "/v1/roads/west-1", road("west-1", geometry=moved, name_en="West Road"))
    (now,) = (await get(streets, f"{CROSSINGS}?level=core"))["items"]
    assert now["geometry"]["coordinates"][1] == pytest.approx(LAT - 0.00045, abs=1e-6)
    assert now["id"] != old
    assert (now["status"], now["waiver"]["crossing"]) == ("waived", old)
    # After a new decision the waiver has the new id only.
    await put(streets, f"{CROSSINGS}/{now['id']}/waiver", waiver)
    assert (await streets.get(f"{CROSSINGS}/{old}/waiver")).status_code == 404
    result = await get(streets, f"{CROSSINGS}/{now['id']}")
    assert result["waiver"]["crossing"] == now["id"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/reason"),
        ({"reason": "", "expires_at": NEXT_YEAR}, "/reason"),
        ({"reason": "why", "expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({"reason": "why", "expires_at": "soon"}, "/expires_at"),
        ({"reason": "why", "expires_at": 5}, "/expires_at"),
        ({"reason": "why", "expires_at": NEXT_YEAR, "who": "me"}, "/who"),
        ([], ""),
    ],
)
async def test_a_waiver_without_reason_or_end_is_rejected(
    streets: httpx.AsyncClient, body: object, pointer: str
) -> None:
    crossing = (await get(streets, f"{CROSSINGS}?level=core"))["items"][0]["id"]
    response = await streets.put(f"{CROSSINGS}/{crossing}/waiver", json=body)
    assert response.status_code == 422
    assert pointer in [fault["pointer"] for fault in response.json()["errors"]]


async def test_unknown_crossings_and_waivers_are_not_found(streets: httpx.AsyncClient) -> None:
    nowhere = f"{CROSSINGS}/core-000000000000"
    waiver = {"reason": "why", "expires_at": NEXT_YEAR}
    assert (await streets.get(nowhere)).status_code == 404
    assert (await streets.put(f"{nowhere}/waiver", json=waiver)).status_code == 404
    assert (await streets.get(f"{nowhere}/waiver/history")).status_code == 404
    assert (await streets.get(f"{CROSSINGS}/elsewhere-1")).status_code == 422
    assert (await streets.get(f"{CROSSINGS}?status=shut")).status_code == 422


async def test_crossings_are_compared_with_the_plan(streets: httpx.AsyncClient) -> None:
    location = {"type": "Point", "coordinates": [WEST, LAT]}
    distant = {"type": "Point", "coordinates": [WEST, LAT + 0.01]}
    body = control_point("cp-1", category="core_road", road_name="West Road", geometry=location)
    await put(streets, "/v1/control-points/cp-1", body)
    await put(streets, "/v1/control-points/cp-2",
              control_point("cp-2", category="core_road", geometry=distant))  # fmt: skip
    result = await get(streets, CROSSINGS)
    core = next(plan for plan in result["by_plan"] if plan["level"] == "core")
    assert core["control_points_without_crossing"] == ["cp-2"]
    assert core["crossings_without_control_point"] == []
    urban = next(plan for plan in result["by_plan"] if plan["level"] == "urban")
    assert len(urban["crossings_without_control_point"]) == urban["crossings"] == 1
    crossing = next(item for item in result["items"] if item["level"] == "core")
    assert crossing["control_points"] == ["cp-1"]

    # A camera assigned to the control point guards its crossing from where it stands.
    watcher = camera(
        "c-1", functions=["vehicle"], direction="both", control_point="cp-1", state="online",
        geometry={"type": "Point", "coordinates": [WEST, LAT + 0.0005]},
    )  # fmt: skip
    await put(streets, "/v1/cameras/c-1", watcher)
    assert (await get(streets, f"{CROSSINGS}/{crossing['id']}"))["status"] == "guarded"
    # One that looks across the road serves no direction of it.
    await put(streets, "/v1/cameras/c-1", {**watcher, "azimuth_deg": 180.0})
    result = await get(streets, f"{CROSSINGS}/{crossing['id']}")
    assert (result["status"], result["needs"][0]["reason"]) == ("open", "wrong_direction")


async def test_a_device_on_another_road_is_not_a_guard(streets: httpx.AsyncClient) -> None:
    """The other road is parallel, 20 m to the north, and has a checkpoint."""
    lane = line((LON - 0.015, LAT + 0.0002), (LON - 0.025, LAT + 0.0002))
    await put(streets, "/v1/roads/lane-1", road("lane-1", geometry=lane, road_class="service"))
    location = {"type": "Point", "coordinates": [WEST, LAT + 0.00019]}
    await put(streets, "/v1/checkpoints/k-1", checkpoint("k-1", geometry=location, state="online"))
    result = (await get(streets, f"{CROSSINGS}?level=core"))["items"]
    by_road = {item["road"]["codes"][0]: item["status"] for item in result}
    assert by_road == {"west-1": "open", "lane-1": "guarded"}


async def test_crossings_as_geojson_and_for_analysts_only(streets: httpx.AsyncClient, key_for: KeyFor) -> None:
    response = await streets.get(CROSSINGS, headers=GEOJSON)
    assert response.headers["content-type"] == "application/geo+json"
    assert response.json()["features"][0]["id"] == response.json()["features"][0]["properties"]["id"]
    reader = await key_for("reader")
    assert (await streets.get(CROSSINGS, headers=reader)).status_code == 403
    elsewhere = await key_for("analyst", ["410100"])
    assert (await streets.get(CROSSINGS, headers=elsewhere)).status_code == 404


def list_reasons(response: Json) -> dict[str, str]:
    return {result["level"]: result["reason"] for result in response["not_assessed"] if result["what"] == "crossings"}


async def test_missing_data_is_null_not_zero(ringed: httpx.AsyncClient) -> None:
    summary = await get(ringed, f"{CITY_URL}/coverage")
    assert {ring["crossings"]["total"] for ring in summary["rings"]} == {None}
    assert set(list_reasons(summary).values()) == {"no road is registered"}

    inside = line((LON, LAT), (LON + 0.01, LAT))
    await put(ringed, "/v1/roads/inner", road("inner", geometry=inside))
    reasons = list_reasons(await get(ringed, CROSSINGS))
    assert set(reasons) == {"core", "urban", "city"}
    assert "do not reach beyond" in reasons["core"]

    await put(ringed, "/v1/roads/outer", road("outer", geometry=line((113.3, LAT), (113.33, LAT))))
    reasons = list_reasons(await get(ringed, CROSSINGS))
    assert "no road crosses this ring" in reasons["core"]
    assert (await ringed.delete(f"{CITY_URL}/rings/core")).status_code == 204
    assert list_reasons(await get(ringed, CROSSINGS))["core"] == "this ring is not registered"


async def test_the_road_report_needs_a_ring(
    city: httpx.AsyncClient,
) -> None:
    await put(city, "/v1/roads/a", road("a", geometry=line((LON, LAT), (LON + 0.01, LAT))))
    result = await get(city, f"{CITY_URL}/coverage/network")
    assert result["network"] is None
    (why,) = [item["reason"] for item in result["not_assessed"] if item["what"] == "network"]
    assert why.startswith("no ring is registered")


@pytest.mark.parametrize("metres", [100, 160, 228, 330, 400, 1200])
async def test_a_checkpoint_on_the_same_road_before_any_junction_is_a_guard(
    streets: httpx.AsyncClient, metres: float
) -> None:
    """The road has no exit between the boundary and its junction 1.8 km outside."""
    (before,) = (await get(streets, f"{CROSSINGS}?level=core"))["items"]
    assert before["status"] == "open"
    body = checkpoint("k-1", geometry=point(WEST - metres / 91_100), state="online", road="west-1")
    await put(streets, "/v1/checkpoints/k-1", body)
    result = await get(streets, f"{CROSSINGS}/{before['id']}")
    assert (result["status"], result["missing_directions"]) == ("guarded", [])
    for need in result["needs"]:
        assert (need["met"], need["working"], need["reason"]) == (True, 1, None)
        assert need["guards"] == [{"kind": "checkpoint", "code": "k-1"}]
        assert not need["backed_up"]
    cordon = await get(streets, f"{CITY_URL}/cordon/core")
    assert cordon["inbound"]["sealed"]
    assert cordon["outbound"]["sealed"]

    # Off duty it guards nothing, and the answer follows.
    report = {"kind": "checkpoint", "code": "k-1", "state": "fault", "reported_at": format_now()}
    assert (await streets.post("/v1/states", json={"states": [report]})).status_code == 200
    result = await get(streets, f"{CROSSINGS}/{before['id']}")
    assert (result["status"], len(result["missing_directions"])) == ("open", 2)
    assert not (await get(streets, f"{CITY_URL}/cordon/core"))["inbound"]["sealed"]


async def test_a_checkpoint_behind_a_junction_or_for_the_other_direction_is_not_a_guard(
    streets: httpx.AsyncClient,
) -> None:
    (before,) = (await get(streets, f"{CROSSINGS}?level=core"))["items"]
    beyond = checkpoint("k-1", geometry=point(113.159), state="online", road="west-1")
    await put(streets, "/v1/checkpoints/k-1", beyond)
    assert (await get(streets, f"{CROSSINGS}/{before['id']}"))["status"] == "open"
    lanes = [{"lane": 1, "direction": "inbound", "bearing_deg": 90}]
    one_way = checkpoint("k-2", geometry=point(WEST - 0.004), state="online", lanes=lanes)
    await put(streets, "/v1/checkpoints/k-2", one_way)
    result = await get(streets, f"{CROSSINGS}/{before['id']}")
    assert result["missing_directions"] == ["outbound"]


async def test_the_road_report_lists_dead_ends_and_snapping_joins_them(ringed: httpx.AsyncClient) -> None:
    network = f"{CITY_URL}/coverage/network"
    nothing = await get(ringed, network)
    assert nothing["network"] is None
    assert {"what": "network", "reason": "no road is registered"} in nothing["not_assessed"]
    near_lon = LON + 0.02 - 0.00002  # 1.8 m short of the eastern side of the core
    for code, geometry in {
        "a": line((LON, LAT), (LON + 0.01, LAT)),
        "b": line((LON + 0.01, LAT), (LON, LAT)),
        "short": line((LON + 0.01001, LAT), (near_lon, LAT)),
        "bow": line(
            (LON, LAT + 0.005), (LON + 0.01, LAT + 0.01), (LON + 0.01, LAT + 0.005), (LON, LAT + 0.01)
        ),
    }.items():  # fmt: skip
        await put(ringed, f"/v1/roads/{code}", road(code, geometry=geometry))
    result = (await get(ringed, network))["network"]
    assert (result["roads"], result["edges"], result["components"]["count"]) == (4, 3, 3)
    assert result["duplicate"] == {"count": 1, "roads": ["b"]}
    assert result["self_crossing"]["roads"] == ["bow"]
    assert [(end["level"], end["road"]) for end in result["dead_ends_at_ring"]] == [("core", "short")]

    patch = {"coverage_parameters": {"road_snap_m": 2.0}}
    assert (await ringed.patch(CITY_URL, json=patch)).status_code == 200
    mended = await get(ringed, network)
    assert mended["parameters"]["road_snap_m"] == 2.0
    assert mended["network"]["snapped_ends"] == 1
    assert mended["network"]["components"]["count"] == 2
