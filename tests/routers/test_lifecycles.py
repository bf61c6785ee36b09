"""The life of each resource over HTTP, from before it is there to after it has come back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.builders import (
    CITY,
    MERGE_PATCH,
    OTHER,
    Json,
    box,
    building,
    camera,
    checkpoint,
    control_point,
    jurisdiction,
    point,
    road,
    square,
)

OPTICS: Json = {"azimuth_deg": 45.5, "opening_deg": 60, "range_m": 35.0, "horizontal_pixels": 3840}
ACCOUNT: Json = {
    "owner_unit": "示例单位", "purpose": "public safety", "legal_basis": "State Council Decree 799",
    "retention_days": 30, "sign_present": True, "sign_on": "2026-01-31", "filing_number": "F-1",
    "filed_on": "2026-02-28",
}  # fmt: skip
LANES = [
    {"lane": 1, "direction": "inbound", "bearing_deg": 90.0, "name": "东进口"},
    {"lane": 2, "direction": "outbound"},
]
KINDS = [
    ("jurisdictions", jurisdiction(OTHER, plan={"core_site": 17}), "q=示例", "q=nowhere"),
    ("control-points", control_point(), "category=core_site", "category=city_road"),
    ("roads", road(), "road_class=national", "road_class=path"),
    ("buildings", building(height_m=12.5, levels=4), "q=building", "q=nowhere"),
    ("checkpoints", checkpoint(lanes=LANES, **ACCOUNT), "kind=vehicle", "kind=face"),
    ("cameras", camera(**OPTICS, **ACCOUNT), "function=face", "function=vehicle"),
]


def _bare(value: Any) -> Any:
    """Return a JSON value without its nulls."""
    if isinstance(value, dict):
        return {name: _bare(part) for name, part in value.items() if part is not None}
    return [_bare(part) for part in value] if isinstance(value, list) else value


def _holds(body: Json, sent: Json) -> bool:
    return all(_bare(body[name]) == _bare(value) for name, value in sent.items())


async def _codes(client: httpx.AsyncClient, url: str) -> list[str]:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return [item["code"] for item in answer.json()["items"]]


async def _history(client: httpx.AsyncClient, url: str) -> list[tuple[str, int]]:
    answer = await client.get(f"{url}/history")
    assert answer.status_code == 200, answer.text
    return [(entry["operation"], entry["version"]) for entry in answer.json()["items"]]


@pytest.mark.parametrize(("plural", "draft", "hit", "miss"), KINDS, ids=[k[0] for k in KINDS])
async def test_a_record_lives_and_comes_back(
    city: httpx.AsyncClient, plural: str, draft: Json, hit: str, miss: str
) -> None:
    listed, url = f"/v1/{plural}", f"/v1/{plural}/{draft['code']}"
    assert (await city.get(url)).status_code == 404

    made = await city.post(listed, json=draft)
    assert (made.status_code, made.headers["etag"], made.headers["location"]) == (201, '"1"', url)
    assert _holds(made.json(), {**draft, "version": 1})
    assert (await city.post(listed, json=draft)).status_code == 409

    read = await city.get(url)
    assert (read.json(), read.headers["etag"]) == (made.json(), '"1"')
    assert draft["code"] in await _codes(city, f"{listed}?{hit}")
    assert draft["code"] not in await _codes(city, f"{listed}?{miss}")

    named = await city.patch(url, json={"name_en": "North gate"}, headers=MERGE_PATCH)
    assert (named.status_code, named.headers["etag"], named.json()["name_en"]) == (
        200, '"2"', "North gate",
    )  # fmt: skip
    again = await city.put(url, json=named.json())
    assert (again.status_code, again.headers["etag"]) == (200, '"2"')

    stale = await city.put(url, json=draft, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.headers["etag"]) == (412, '"2"')
    assert (await city.put(url, json=draft, headers={"If-None-Match": "*"})).status_code == 412
    replaced = await city.put(url, json=draft, headers={"If-Match": '"2"'})
    assert (replaced.status_code, replaced.json()["name_en"]) == (200, None)
    assert await _history(city, url) == [("update", 3), ("update", 2), ("create", 1)]

    assert (await city.delete(url, headers={"If-Match": '"2"'})).status_code == 412
    assert (await city.delete(url, headers={"If-Match": '"3"'})).status_code == 204
    assert [(await city.request(verb, url)).status_code for verb in ("GET", "DELETE")] == [404, 404]
    assert draft["code"] not in await _codes(city, listed)
    assert (await _history(city, url))[0] == ("remove", 4)

    back = await city.put(url, json=draft, headers={"If-None-Match": "*"})
    assert (back.status_code, back.json()["version"]) == (201, 5)
    assert draft["code"] in await _codes(city, listed)


@pytest.mark.parametrize(("plural", "draft"), [k[:2] for k in KINDS], ids=[k[0] for k in KINDS])
async def test_every_version_stays_readable(city: httpx.AsyncClient, plural: str, draft: Json) -> None:
    url = f"/v1/{plural}/{draft['code']}"
    await city.put(url, json={**draft, "name_en": "first"})
    await city.put(url, json={**draft, "name_en": "second"})
    await city.delete(url)
    await city.put(url, json={**draft, "name_en": "third"})
    entries = (await city.get(f"{url}/history")).json()["items"]
    seen = {}
    for entry in reversed(entries):
        then = await city.get(url, params={"as_of": entry["at"]})
        seen[entry["version"]] = then.json().get("name_en") if then.status_code == 200 else None
    assert seen == {1: "first", 2: "second", 3: None, 4: "third"}
    assert (await city.get(url, params={"as_of": "2000-01-01T00:00:00Z"})).status_code == 404


async def test_the_past_is_a_feature_when_geojson_is_wanted(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/camera-1", json=camera(name_en="here"))
    then = await city.get("/v1/cameras/camera-1?f=geojson&as_of=2999-01-01T00:00:00Z")
    assert then.headers["content-type"] == "application/geo+json"
    feature = then.json()
    assert (feature["type"], feature["id"], feature["geometry"]) == ("Feature", "camera-1", point())
    assert feature["properties"]["name_en"] == "here"


async def test_history_tells_who_when_why_and_what(city: httpx.AsyncClient) -> None:
    url = "/v1/cameras/camera-1"
    await city.put(url, json=camera())
    await city.patch(
        url,
        json={"range_m": 20},
        headers={**MERGE_PATCH, "X-Request-ID": "ticket-7", "X-Change-Reason": "measured"},
    )
    newest, oldest = (await city.get(f"{url}/history")).json()["items"]
    assert newest["actor"].startswith("key:")
    assert (newest["request_id"], newest["reason"]) == ("ticket-7", "measured")
    assert newest["seq"] > oldest["seq"]
    assert oldest["before"] is None
    assert ("range_m" in newest["before"], newest["after"]["range_m"]) == (False, 20)


async def test_history_is_paged_newest_first(city: httpx.AsyncClient) -> None:
    url = "/v1/cameras/camera-1"
    for number in range(5):
        await city.put(url, json=camera(name_en=f"{number}"))
    page = (await city.get(f"{url}/history?limit=2")).json()
    versions = [entry["version"] for entry in page["items"]]
    while page["next"] is not None:
        page = (await city.get(page["next"])).json()
        versions += [entry["version"] for entry in page["items"]]
    assert versions == [5, 4, 3, 2, 1]


async def test_what_was_read_can_be_sent_back(city: httpx.AsyncClient) -> None:
    await city.put("/v1/control-points/point-1", json=control_point())
    url = "/v1/cameras/camera-1"
    await city.put(url, json=camera(control_point="point-1", state="online", **OPTICS))
    as_json = (await city.get(url)).json()
    as_feature = (await city.get(f"{url}?f=geojson")).json()
    for body in (as_json, as_feature):
        sent = await city.put(url, json=body)
        assert (sent.status_code, sent.json()["version"]) == (200, 1), sent.text
    assert len((await city.get(f"{url}/history")).json()["items"]) == 2  # created, and its state


async def test_a_patch_merges_deeply_and_null_removes(city: httpx.AsyncClient) -> None:
    url = f"/v1/jurisdictions/{CITY}"
    await city.patch(url, json={"plan": {"core_site": 17, "city_road": 129}}, headers=MERGE_PATCH)
    changes: Json = {"plan": {"core_site": None, "core_road": 47}, "name_zh": None}
    answer = await city.patch(url, json=changes, headers=MERGE_PATCH)
    assert answer.json()["plan"] == {"city_road": 129, "core_road": 47}
    assert answer.json()["name_zh"] is None


async def test_a_record_that_others_need_stays(city: httpx.AsyncClient) -> None:
    await city.put("/v1/control-points/point-1", json=control_point())
    await city.put("/v1/roads/road-1", json=road())
    stands = checkpoint(road="road-1", control_point="point-1")
    await city.put("/v1/checkpoints/checkpoint-1", json=stands)
    await city.put("/v1/cameras/camera-1", json=camera(checkpoint="checkpoint-1"))
    order = [
        "cameras/camera-1", "checkpoints/checkpoint-1", "roads/road-1", "control-points/point-1",
        f"jurisdictions/{CITY}",
    ]  # fmt: skip
    for url in reversed(order[1:]):
        refused = await city.delete(f"/v1/{url}")
        assert (refused.status_code, refused.json()["code"]) == (409, "still-referenced")
        assert refused.json()["referenced_by"], url
    assert [(await city.delete(f"/v1/{url}")).status_code for url in order] == [204] * 5


async def test_a_ring_lives_and_comes_back(city: httpx.AsyncClient) -> None:
    rings, url = f"/v1/jurisdictions/{CITY}/rings", f"/v1/jurisdictions/{CITY}/rings/core"
    assert (await city.get(url)).status_code == 404
    properties = {"name_zh": "核心区", "tolerance_m": 20, "valid_from": "2026-01-01"}
    feature = {"type": "Feature", "geometry": square(0.1), "properties": properties}
    made = await city.put(url, json=feature, headers={"If-None-Match": "*"})
    assert (made.status_code, made.headers["etag"], made.headers["location"]) == (201, '"1"', url)
    assert made.json()["id"] == f"{CITY}/core"
    assert _holds(made.json()["properties"], properties)

    assert (await city.put(url, json=feature, headers={"If-Match": '"9"'})).status_code == 412
    again = await city.put(url, json=made.json(), headers={"If-Match": '"1"'})
    assert (again.status_code, again.headers["etag"]) == (200, '"1"')
    moved = await city.put(url, json={**feature, "geometry": square(0.2)})
    assert (moved.status_code, moved.headers["etag"]) == (200, '"2"')
    collection = (await city.get(rings)).json()
    assert [found["id"] for found in collection["features"]] == [f"{CITY}/core"]
    assert await _history(city, url) == [("update", 2), ("create", 1)]

    assert (await city.delete(url, headers={"If-Match": '"1"'})).status_code == 412
    assert (await city.delete(url)).status_code == 204
    assert [(await city.request(verb, url)).status_code for verb in ("GET", "DELETE")] == [404, 404]
    back = await city.put(url, json=box(113.1, 35.1, 113.3, 35.3))
    assert (back.status_code, back.json()["properties"]["version"]) == (201, 4)


async def test_a_key_lives_and_is_revoked(city: httpx.AsyncClient) -> None:
    draft = {"label": "nightly import", "role": "editor", "jurisdictions": [CITY]}
    made = await city.post("/v1/keys", json=draft)
    assert made.status_code == 201
    key, key_id = made.json()["key"], made.json()["id"]
    assert key.startswith(f"ccr_{key_id}_")

    shown = next(k for k in (await city.get("/v1/keys")).json()["items"] if k["id"] == key_id)
    assert _holds(shown, draft)
    assert key not in (await city.get("/v1/keys")).text
    assert "hash" not in shown

    assert (await city.delete(f"/v1/keys/{key_id}")).status_code == 204
    assert (await city.delete(f"/v1/keys/{key_id}")).status_code == 404
    refused = await city.get("/v1/cameras", headers={"Authorization": f"Bearer {key}"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def _report(state: str, minutes: float, code: str = "camera-1") -> dict[str, Any]:
    when = datetime.now(UTC) + timedelta(minutes=minutes)
    return {"kind": "camera", "code": code, "state": state, "reported_at": when.isoformat()}


async def test_a_device_reports_and_falls_silent(city: httpx.AsyncClient) -> None:
    url = "/v1/cameras/camera-1"
    await city.put(url, json=camera())

    async def told() -> tuple[str, bool]:
        device = (await city.get(url)).json()
        return device["state"], device["working"]

    assert await told() == ("unknown", False)
    await city.post("/v1/states", json=[_report("online", -10)])
    assert await told() == ("online", True)
    late = await city.post("/v1/states", json={"states": [_report("fault", -20)]})
    assert late.json() == {"received": 1, "applied": 0, "ignored": 1, "unknown": []}
    assert await told() == ("online", True)
    await city.post("/v1/states", json=[_report("fault", -5), _report("offline", -4)])
    assert await told() == ("offline", False)
    await city.post("/v1/states", json=[_report("online", -3)])
    silent = {"stale_after_s": 60}
    await city.patch(f"/v1/jurisdictions/{CITY}", json=silent, headers=MERGE_PATCH)
    assert await told() == ("unknown", False)
    assert (await city.get(url)).json()["version"] == 1
    assert [operation for operation, _ in await _history(city, url)] == ["state"] * 4 + ["create"]


async def test_a_device_that_is_not_in_use_does_not_work(city: httpx.AsyncClient) -> None:
    url = "/v1/cameras/camera-1"
    answer = await city.put(url, json=camera(state="online", lifecycle="repair"))
    assert (answer.json()["state"], answer.json()["working"]) == ("online", False)


async def test_reports_name_the_devices_nobody_knows(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/camera-1", json=camera())
    reports = [_report("online", 0), _report("online", 0, "ghost")]
    answer = (await city.post("/v1/states", json=reports)).json()
    assert (answer["applied"], answer["ignored"]) == (1, 0)
    assert answer["unknown"] == [{"kind": "camera", "code": "ghost"}]


async def test_a_record_as_of_its_own_updated_at_is_that_version(city: httpx.AsyncClient) -> None:
    first = (await city.post("/v1/cameras", json=camera("c-1"))).json()
    second = (await city.patch("/v1/cameras/c-1", json={"name_en": "later"})).json()
    for known in (first, second):
        then = await city.get("/v1/cameras/c-1", params={"as_of": known["updated_at"]})
        assert then.json()["version"] == known["version"]
