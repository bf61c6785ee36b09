"""Writers at the same time: one wins, nothing is lost, nobody waits for ever."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.builders import CITY, LAT, LON, MERGE_PATCH, Json, camera, control_point, point, square

RINGS = f"/v1/jurisdictions/{CITY}/rings"
Call = Coroutine[Any, Any, httpx.Response]


async def _statuses(*calls: Call) -> Counter[int]:
    return Counter(answer.status_code for answer in await asyncio.gather(*calls))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_of_two_writers_of_one_version_one_wins(city: httpx.AsyncClient, method: str) -> None:
    url = "/v1/cameras/camera-1"
    await city.put(url, json=camera())

    def write(number: int) -> Call:
        body = camera(name_en=f"{number}") if method != "DELETE" else None
        return city.request(method, url, json=body, headers={"If-Match": '"1"'})

    won = {"PUT": 200, "PATCH": 200, "DELETE": 204}[method]
    assert await _statuses(write(1), write(2)) == {won: 1, 412: 1}


async def test_of_fifty_creations_of_one_code_one_wins(city: httpx.AsyncClient) -> None:
    calls = (city.post("/v1/cameras", json=camera(name_en=f"{n}")) for n in range(50))
    assert await _statuses(*calls) == {201: 1, 409: 49}
    assert (await city.get("/v1/cameras/camera-1")).json()["version"] == 1
    assert len((await city.get("/v1/cameras/camera-1/history")).json()["items"]) == 1


async def test_of_many_put_if_absent_one_wins(city: httpx.AsyncClient) -> None:
    url, absent = "/v1/cameras/camera-1", {"If-None-Match": "*"}
    calls = (city.put(url, json=camera(name_en=f"{n}"), headers=absent) for n in range(20))
    assert await _statuses(*calls) == {201: 1, 412: 19}


async def test_patches_of_different_fields_all_arrive(city: httpx.AsyncClient) -> None:
    url = "/v1/cameras/camera-1"
    await city.put(url, json=camera())
    changes: Json = {
        "name_en": "a",
        "name_zh": "甲",
        "range_m": 5.0,
        "near_m": 1.0,
        "tilt_deg": -9.0,
    }
    calls = (city.patch(url, json={k: v}, headers=MERGE_PATCH) for k, v in changes.items())
    assert await _statuses(*calls) == {200: 5}
    stored = (await city.get(url)).json()
    assert {name: stored[name] for name in changes} == changes
    history = (await city.get(f"{url}/history")).json()["items"]
    assert [entry["version"] for entry in history] == [6, 5, 4, 3, 2, 1]


async def test_cameras_written_while_a_ring_changes_lie_where_membership_says(
    ringed: httpx.AsyncClient,
) -> None:
    def move(number: int, step: int) -> Call:
        place = point(round(LON + 0.018 + 0.001 * number + 0.0001 * step, 6), LAT)
        return ringed.put(f"/v1/cameras/c{number}", json=camera(f"c{number}", geometry=place))

    await asyncio.gather(*(move(number, 0) for number in range(8)))
    for step in range(1, 5):
        ring = ringed.put(f"{RINGS}/core", json=square(0.02 + 0.001 * step))
        moves = [move(number, step) for number in range(8)]
        assert await _statuses(*moves[:4], ring, *moves[4:]) == {200: 9}

    items = (await ringed.get("/v1/cameras")).json()["items"]
    places = {"points": [item["geometry"]["coordinates"] for item in items]}
    answer = await ringed.post(f"/v1/jurisdictions/{CITY}/membership", json=places)
    found = answer.json()["points"]
    assert [{name: item[name] for name in found[0]} for item in items] == found
    assert len({item["zone"] for item in items}) == 2


async def test_batches_and_rings_do_not_wait_for_each_other_for_ever(
    ringed: httpx.AsyncClient,
) -> None:
    rows = [camera(f"c{number:03}") for number in range(100)]
    deletions = [{"delete": row["code"]} for row in reversed(rows)]
    await ringed.post("/v1/cameras:batch", json=rows)
    for step in range(3):
        moved = [{**row, "range_m": step + 1} for row in rows]
        calls = (
            ringed.post("/v1/cameras:batch", json=moved),
            ringed.put(f"{RINGS}/core", json=square(0.021 + 0.001 * step)),
            ringed.post("/v1/cameras:batch?semantics=each", json=deletions),
            ringed.post("/v1/cameras:batch", json=moved[::-1]),
        )
        assert await _statuses(*calls) == {200: 4}


async def test_rings_changed_at_once_still_nest(ringed: httpx.AsyncClient) -> None:
    """Each is fine beside the other ring as it was, and both together are not."""
    grown = ringed.put(f"{RINGS}/core", json=square(0.045))
    shrunk = ringed.put(f"{RINGS}/urban", json=square(0.03))
    assert await _statuses(grown, shrunk) == {200: 1, 409: 1}


async def test_nothing_points_to_what_is_removed_meanwhile(city: httpx.AsyncClient) -> None:
    for number in range(5):
        code = f"p{number}"
        await city.put(f"/v1/control-points/{code}", json=control_point(code))
        made, removed = await asyncio.gather(
            city.post("/v1/cameras", json=camera(f"c{number}", control_point=code)),
            city.delete(f"/v1/control-points/{code}"),
        )
        outcome = (made.status_code, removed.status_code)
        assert outcome in ((201, 409), (422, 204)), (made.text, removed.text)


async def test_nothing_is_registered_in_a_jurisdiction_removed_meanwhile(
    city: httpx.AsyncClient,
) -> None:
    for number in range(5):
        made, removed = await asyncio.gather(
            city.post("/v1/cameras", json=camera(f"c{number}")),
            city.delete(f"/v1/jurisdictions/{CITY}"),
        )
        outcome = (made.status_code, removed.status_code)
        assert outcome in ((201, 409), (422, 204)), (made.text, removed.text)
        await city.delete(f"/v1/cameras/c{number}")
        await city.put(f"/v1/jurisdictions/{CITY}", json={"code": CITY})


async def test_the_newest_of_many_reports_counts(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/camera-1", json=camera())
    now = datetime.now(UTC)

    def report(age_s: int) -> Call:
        state = "fault" if age_s else "online"
        when = (now - timedelta(seconds=age_s)).isoformat()
        return city.post("/v1/states", json=[{"code": "camera-1", "state": state, "reported_at": when}])

    assert await _statuses(*(report((7 * n) % 20) for n in range(20))) == {200: 20}
    assert (await city.get("/v1/cameras/camera-1")).json()["state"] == "online"
