"""Placement over HTTP: open points of a small city whose best sites one can see."""

from typing import Any

import httpx
import pytest

from app.analysis.planning import placement
from tests.builders import CITY, LAT, LON, Json, KeyFor, camera, control_point, lay_crossroads, point

URL = f"/v1/jurisdictions/{CITY}/planning/placement"
# Three points in a row, some 91 m apart, need a face device each; a fourth lies far off.
NEEDS = [{"function": "face"}]
EAST = (0.0, 0.001, 0.002, 0.02)


@pytest.fixture
async def row(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    for number, east in enumerate(EAST):
        body = control_point(f"p-{number}", geometry=point(LON + east), requirements=NEEDS)
        answer = await ringed.put(f"/v1/control-points/p-{number}", json=body)
        assert answer.status_code == 201, answer.text
    return ringed


async def ask(client: httpx.AsyncClient, **question: Any) -> Any:
    known: Json = {"goal": "cover_all", "function": "face", "range_m": 100}
    answer = await client.post(URL, json={**known, **question})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_fewest_sites_and_what_is_there_already(row: httpx.AsyncClient) -> None:
    told = await ask(row)
    assert told["type"] == "FeatureCollection"
    assert (told["status"], told["proven"], told["cost"], told["gap"]) == ("optimal", True, 2, 0)
    covers = [feature["properties"]["covers"] for feature in told["features"]]
    assert covers == [["p-0", "p-1", "p-2"], ["p-3"]]
    assert told["features"][0]["geometry"]["coordinates"] == pytest.approx([LON + 0.001, LAT])
    assert (told["points"], told["met_before"], told["met_after"]) == (4, 0, 4)

    there = camera("c-1", geometry=point(LON + 0.02), control_point="p-3", state="online",
                   horizontal_pixels=8000, opening_deg=30, azimuth_deg=0, range_m=30)  # fmt: skip
    assert (await row.put("/v1/cameras/c-1", json=there)).status_code == 201
    told = await ask(row)
    assert (told["met_before"], len(told["features"])) == (1, 1)
    twice = await ask(row, goal="backup")
    assert twice["cost"] == 3 + len([1])  # p-3 once more; the row twice needs two sites and one more
    assert twice["met_after"] == 4 - len(twice["out_of_reach"])


async def test_the_most_valuable_within_a_budget(row: httpx.AsyncClient) -> None:
    told = await ask(row, goal="most_valuable", budget=1)
    assert told["features"][0]["properties"]["covers"] == ["p-0", "p-1", "p-2"]
    assert (told["value"], told["bound"]) == (3, 3)
    nothing = await ask(row, goal="most_valuable", budget=0)
    assert (nothing["features"], nothing["value"]) == ([], 0)


async def test_given_sites_with_costs_and_points_out_of_reach(row: httpx.AsyncClient) -> None:
    sites = [
        {"at": [LON + 0.001, LAT], "cost": 9, "name": "middle"},
        {"at": [LON, LAT], "cost": 2, "name": "west"},
        {"at": [LON + 0.002, LAT], "cost": 2},
        {"at": [0.0, 0.0]},
    ]
    told = await ask(row, sites=sites)
    assert (told["cost"], told["candidates"]) == (4, 3)
    assert [one["properties"]["name"] for one in told["features"]] == ["west", None]
    assert told["out_of_reach"] == ["p-3"]
    assert told["met_after"] == 3
    some = await ask(row, sites=sites, points=["p-0"])
    assert (some["points"], some["cost"]) == (1, 2)


async def test_crossings_and_junctions_are_candidates(row: httpx.AsyncClient) -> None:
    await lay_crossroads(row)
    told = await ask(row, sources=["junction"], range_m=400, costs={"junction": 3})
    assert {one["properties"]["source"] for one in told["features"]} == {"junction"}
    assert told["cost"] == 3
    assert told["out_of_reach"] == ["p-3"]
    told = await ask(row, sources=["crossing"], points=["p-3"])
    assert told["features"][0]["properties"]["name"].startswith("core-")
    near = await ask(row, sources=["crossing"], range_m=1)  # p-3 lies on the line, where a road crosses
    assert near["out_of_reach"] == ["p-0", "p-1", "p-2"]


async def test_nothing_needs_this_function(row: httpx.AsyncClient) -> None:
    told = await ask(row, function="vehicle")
    assert (told["status"], told["points"], told["features"]) == ("nothing_to_do", 0, [])


async def test_without_a_site_near_points_that_lack_something_it_says_so(
    row: httpx.AsyncClient,
) -> None:
    for sites in ([], [{"at": [LON, LAT + 0.1]}]):
        told = await ask(row, sites=sites)
        assert (told["status"], told["features"]) == ("out_of_reach", [])
        assert told["out_of_reach"] == ["p-0", "p-1", "p-2", "p-3"]


async def test_questions_that_cannot_be(row: httpx.AsyncClient, key_for: KeyFor) -> None:
    good: Json = {"goal": "cover_all", "function": "face", "range_m": 100}
    wrong: list[tuple[Json, str, str]] = [
        ({"range_m": 0}, "/range_m", "greater-than"),
        ({"range_m": 5001}, "/range_m", "less-than-equal"),
        ({"goal": "all"}, "/goal", "literal-error"),
        ({"goal": "most_valuable"}, "/budget", "budget-of-goal"),
        ({"budget": 3}, "/budget", "budget-of-goal"),
        ({"points": ["nobody"]}, "/points/0", "not-found"),
        ({"sites": [{"at": [1]}]}, "/sites/0/at", "too-short"),
        ({"sites": [{"at": [LAT, LON]}]}, "/sites/0/at", "out-of-range"),
        ({"sites": [{"at": [LON, LAT], "cost": 0}]}, "/sites/0/cost", "greater-than"),
        ({"time_limit_s": 61}, "/time_limit_s", "less-than-equal"),
        ({"weights": {"city": 1}}, "/weights/city/[key]", "literal-error"),
        ({"more": 1}, "/more", "extra-forbidden"),
    ]
    for change, pointer, code in wrong:
        answer = await row.post(URL, json={**good, **change})
        assert answer.status_code == 422, (change, answer.text)
        found = {one["pointer"]: one["code"] for one in answer.json()["errors"]}
        assert found.get(pointer) == code, (change, found)
    for headers, status in (
        (await key_for("reader"), 403),
        (await key_for("analyst", ["410100"]), 404),
        (await key_for("analyst", [CITY]), 200),
    ):
        assert (await row.post(URL, json=good, headers=headers)).status_code == status


async def test_a_question_that_takes_long_is_asked_again_apart(
    row: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no time for a quick answer the solver runs in a process of its own."""
    known = await ask(row)
    monkeypatch.setattr(placement, "_IN_THREAD_S", 0.0)
    told = await ask(row)
    assert told["proven"]
    assert told["features"] == known["features"]
