"""Scenarios over HTTP: kept, changed, compared, turned into batches that the registry takes."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.builders import CITY, LON, Json, KeyFor, camera, checkpoint, lay_crossroads, point, road

CITY_URL = f"/v1/jurisdictions/{CITY}"
SCENARIOS = f"{CITY_URL}/scenarios"


async def get(client: httpx.AsyncClient, url: str) -> Any:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def crossroads(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a city with two roads from outside all rings to a junction in the middle."""
    await lay_crossroads(ringed)
    return ringed


def scenario(*changes: Json, **more: Any) -> Json:
    return {"title": "Close the core", "changes": list(changes), **more}


async def seals(client: httpx.AsyncClient) -> list[Json]:
    """Changes that seal every crossing of the core."""
    listed = await get(client, f"{CITY_URL}/coverage/crossings?level=core")
    return [{"seal": {"crossing": one["id"]}} for one in listed["items"]]


async def test_the_life_of_a_scenario(crossroads: httpx.AsyncClient, key_for: KeyFor) -> None:
    url = f"{SCENARIOS}/close-core"
    assert (await crossroads.get(url)).status_code == 404
    body = scenario(*await seals(crossroads))
    made = await crossroads.put(url, json=body, headers={"X-Change-Reason": "council"})
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert made.headers["location"] == url
    told = await get(crossroads, url)
    assert (told["name"], told["title"], told["version"]) == ("close-core", "Close the core", 1)
    assert told["changes"] == body["changes"]
    assert told["author"]

    result = await get(crossroads, f"{url}/result")
    assert result["scenario"] == {"name": "close-core", "version": 1}
    core = [one for one in result["rings"] if one["level"] == "core"]
    assert all(one["after"]["sealed"] and not one["before"]["sealed"] for one in core)

    assert (await crossroads.put(url, json=body, headers={"If-Match": '"7"'})).status_code == 412
    assert (await crossroads.put(url, json=body, headers={"If-None-Match": "*"})).status_code == 412
    again = await crossroads.put(url, json=scenario(), headers={"If-Match": '"1"'})
    assert (again.status_code, again.headers["etag"]) == (200, '"2"')
    history = await get(crossroads, f"{url}/history")
    assert [one["operation"] for one in history["items"]] == ["update", "create"]
    assert history["items"][-1]["reason"] == "council"

    analyst, reader = await key_for("analyst", [CITY]), await key_for("reader")
    assert (await crossroads.get(url, headers=analyst)).status_code == 200
    assert (await crossroads.put(url, json=body, headers=analyst)).status_code == 403
    assert (await crossroads.delete(url, headers=analyst)).status_code == 403
    assert (await crossroads.post(f"{url}:plan", headers=analyst)).status_code == 403
    elsewhere = await key_for("editor", ["410100"])
    for name in ("", "/close-core", "/close-core/result", "/close-core/history"):
        assert (await crossroads.get(f"{SCENARIOS}{name}", headers=reader)).status_code == 403
        assert (await crossroads.get(f"{SCENARIOS}{name}", headers=elsewhere)).status_code == 404
    assert (await crossroads.put(url, json=body, headers=elsewhere)).status_code == 404

    assert (await crossroads.delete(url)).status_code == 204
    assert (await crossroads.delete(url)).status_code == 404
    assert (await crossroads.get(f"{url}/result")).status_code == 404
    assert (await crossroads.put(url, json=body)).status_code == 201  # the name is free again
    assert (await crossroads.get(url)).headers["etag"] == '"4"'


async def test_moments_are_written_as_in_every_answer(crossroads: httpx.AsyncClient) -> None:
    made = (await crossroads.put(f"{SCENARIOS}/a", json=scenario())).json()
    (listed,) = (await get(crossroads, SCENARIOS))["items"]
    crossing = (await get(crossroads, f"{CITY_URL}/coverage/crossings"))["items"][0]["id"]
    url = f"{CITY_URL}/coverage/crossings/{crossing}/waiver"
    body = {"reason": "dead end", "expires_at": "2999-01-02T03:04:05+08:00"}
    waived = (await crossroads.put(url, json=body)).json()
    assert waived["expires_at"] == "2999-01-01T19:04:05Z"
    for one in (made, listed, waived):
        for name in ("created_at", "updated_at"):
            assert one[name].endswith("Z"), one
            assert datetime.fromisoformat(one[name]).tzinfo == UTC


async def test_an_unknown_jurisdiction_has_no_list(crossroads: httpx.AsyncClient) -> None:
    answer = await crossroads.get("/v1/jurisdictions/999999/scenarios")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_a_result_is_kept_until_something_changes(crossroads: httpx.AsyncClient) -> None:
    for name, changes in (("some", await seals(crossroads)), ("none", [])):
        assert (await crossroads.put(f"{SCENARIOS}/{name}", json=scenario(*changes))).status_code == 201
    url = f"{SCENARIOS}/some/result"
    first = await crossroads.get(url)
    again = await crossroads.get(url)
    assert first.content == again.content  # computed_at and all
    beside = await get(crossroads, f"{url}?against=none")
    assert beside["against"] == {"name": "none", "version": 1}
    assert beside["crossings"] == first.json()["crossings"]
    # Another version of the scenario, then another record, make another answer.
    await crossroads.put(f"{SCENARIOS}/some", json=scenario())
    told = await get(crossroads, url)
    assert (told["scenario"]["version"], told["crossings"]) == (2, [])
    assert (await get(crossroads, f"{url}?against=none"))["crossings"] == []
    where = {"geometry": point(LON + 0.03), "road": "east-1"}
    await crossroads.put("/v1/checkpoints/k-9", json=checkpoint("k-9", **where))
    after = await get(crossroads, url)
    assert after["revision"] > told["revision"]
    assert after["devices"] != told["devices"]


async def test_a_list_in_pages(crossroads: httpx.AsyncClient) -> None:
    for name in ("b", "a", "c"):
        answer = await crossroads.put(f"{SCENARIOS}/{name}", json=scenario())
        assert answer.status_code == 201, answer.text
    first = await get(crossroads, f"{SCENARIOS}?limit=2")
    assert [one["name"] for one in first["items"]] == ["a", "b"]
    assert first["items"][0]["changes"] == 0
    rest = await get(crossroads, first["next"])
    assert [one["name"] for one in rest["items"]] == ["c"]
    assert rest["next"] is None


async def test_two_scenarios_compared(crossroads: httpx.AsyncClient) -> None:
    one, other = await seals(crossroads)
    for name, changes in (("half", [one]), ("whole", [one, other])):
        answer = await crossroads.put(f"{SCENARIOS}/{name}", json=scenario(*changes))
        assert answer.status_code == 201, answer.text
    told = await get(crossroads, f"{SCENARIOS}/whole/result?against=half")
    assert told["against"] == {"name": "half", "version": 1}
    assert [one["id"] for one in told["crossings"]] == [other["seal"]["crossing"]]
    core = next(one for one in told["rings"] if one["level"] == "core")
    assert (core["before"]["to_seal"], core["after"]["to_seal"]) == (1, 0)
    same = await get(crossroads, f"{SCENARIOS}/half/result?against=half")
    assert same["crossings"] == same["control_points"]["changed"] == []
    assert (await crossroads.get(f"{SCENARIOS}/half/result?against=none")).status_code == 404


async def test_a_plan_that_the_registry_takes(crossroads: httpx.AsyncClient) -> None:
    old = checkpoint("old-1", geometry=point(LON + 0.001), network_address="10.0.0.7", state="online")
    for kind, item in (("checkpoints", old), ("cameras", camera("gone-1", checkpoint="old-1"))):
        answer = await crossroads.post(f"/v1/{kind}:batch", json=[item])
        assert answer.json()["summary"]["created"] == 1, answer.text
    north = {"type": "LineString", "coordinates": [[LON, 35.2], [LON, 35.215]]}
    new_road = road("r-new", geometry=north)
    changes = [
        *await seals(crossroads),
        {"kind": "road", "upsert": new_road},
        {"kind": "checkpoint", "upsert": checkpoint("k-new", road="r-new", geometry=point(LON, 35.21))},
        {"kind": "camera", "upsert": camera("c-new", checkpoint="k-new", geometry=point(LON, 35.21))},
        {"kind": "checkpoint", "patch": {"code": "old-1", "geometry": point(LON + 0.002)}},
        {"kind": "camera", "delete": "gone-1"},
        {"fail": {"codes": ["old-1"]}},
    ]  # fmt: skip
    put = await crossroads.put(f"{SCENARIOS}/build", json=scenario(*changes))
    assert put.status_code == 201, put.text
    plan = (await crossroads.post(f"{SCENARIOS}/build:plan")).json()
    assert plan["left_out"] == 1
    assert [step["kind"] for step in plan["planned"]] == ["checkpoints", "cameras"]
    records = [item["upsert"] for step in plan["planned"] for item in step["items"]]
    assert {one["lifecycle"] for one in records} == {"planned"}
    assert {one["code"] for one in records} == {
        "build.seal.0.0",
        "build.seal.1.0",
        "k-new",
        "c-new",
    }

    before = await get(crossroads, f"{CITY_URL}/coverage")
    for step in plan["planned"]:
        answer = await crossroads.post(f"/v1/{step['kind']}:batch", json=step["items"])
        assert answer.status_code == 200, answer.text
        assert answer.json()["summary"]["created"] == len(step["items"])
    after = await get(crossroads, f"{CITY_URL}/coverage")
    assert after["rings"] == before["rings"]  # what is only planned guards nothing
    assert after["devices"]["not_in_use"] == before["devices"]["not_in_use"] + 4

    plan = (await crossroads.post(f"{SCENARIOS}/build:plan")).json()
    assert [step["kind"] for step in plan["carried_out"]] == [
        "roads", "checkpoints", "cameras", "cameras",
    ]  # fmt: skip
    for step in plan["carried_out"]:
        answer = await crossroads.post(f"/v1/{step['kind']}:batch", json=step["items"])
        assert answer.status_code == 200, answer.text
        assert answer.json()["summary"]["refused"] == 0
    moved = await get(crossroads, "/v1/checkpoints/old-1")
    assert moved["geometry"]["coordinates"][0] == LON + 0.002
    assert moved["network_address"] == "10.0.0.7"
    assert (await crossroads.get("/v1/cameras/gone-1")).status_code == 404
    states = [{"kind": "checkpoint", "code": f"build.seal.{n}.0", "state": "online"} for n in (0, 1)]
    assert (await crossroads.post("/v1/states", json=states)).json()["applied"] == 2
    done = await get(crossroads, f"{CITY_URL}/coverage")
    core = next(ring for ring in done["rings"] if ring["level"] == "core")
    assert core["inbound"]["sealed"]
    assert core["outbound"]["sealed"]


async def test_what_no_longer_can_be_imagined_says_so(crossroads: httpx.AsyncClient) -> None:
    await crossroads.put("/v1/cameras/c-1", json=camera("c-1"))
    url = f"{SCENARIOS}/lose-c1"
    change = {"kind": "camera", "code": "c-1", "state": "offline"}
    assert (await crossroads.put(url, json=scenario(change))).status_code == 201
    assert (await crossroads.delete("/v1/cameras/c-1")).status_code == 204
    answer = await crossroads.get(f"{url}/result")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/changes/0/code"


async def test_scenarios_that_are_none(crossroads: httpx.AsyncClient) -> None:
    url = f"{SCENARIOS}/bad"
    bodies: list[Any] = [
        [], {}, {"changes": 3}, scenario(title=""), scenario(title="a\nb"), scenario(title=3),
        scenario(more=1), scenario({"kind": "camera", "delete": "nobody"}),
    ]  # fmt: skip
    for body in bodies:
        answer = await crossroads.put(url, json=body)
        assert answer.status_code == 422, (body, answer.text)
    for name in ("Upper", "a b", "x" * 41, "a.b"):
        assert (await crossroads.put(f"{SCENARIOS}/{name}", json=scenario())).status_code == 422
    assert (await get(crossroads, SCENARIOS))["items"] == []
