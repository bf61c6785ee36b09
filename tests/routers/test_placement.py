"""Placement over HTTP: open control points of a small city with known best sites."""

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
        response = await ringed.put(f"/v1/control-points/p-{number}", json=body)
        assert response.status_code == 201, response.text
    return ringed


async def run_placement(client: httpx.AsyncClient, **question: Any) -> Any:
    query: Json = {"goal": "cover_all", "function": "face", "range_m": 100}
    response = await client.post(URL, json={**query, **question})
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_fewest_sites_besides_existing_devices(row: httpx.AsyncClient) -> None:
    result = await run_placement(row)
    assert result["type"] == "FeatureCollection"
    assert (result["status"], result["proven"], result["cost"], result["gap"]) == ("optimal", True, 2, 0)
    covers = [feature["properties"]["covers"] for feature in result["features"]]
    assert covers == [["p-0", "p-1", "p-2"], ["p-3"]]
    assert result["features"][0]["geometry"]["coordinates"] == pytest.approx([LON + 0.001, LAT])
    assert (result["points"], result["met_before"], result["met_after"]) == (4, 0, 4)

    working_camera = camera("c-1", geometry=point(LON + 0.02), control_point="p-3", state="online",
                   horizontal_pixels=8000, opening_deg=30, azimuth_deg=0, range_m=30)  # fmt: skip
    assert (await row.put("/v1/cameras/c-1", json=working_camera)).status_code == 201
    result = await run_placement(row)
    assert (result["met_before"], len(result["features"])) == (1, 1)
    twice = await run_placement(row, goal="backup")
    assert twice["cost"] == 3 + len([1])  # p-3 once more; the row twice needs two sites and one more
    assert twice["met_after"] == 4 - len(twice["out_of_reach"])


async def test_the_most_valuable_points_within_a_budget(row: httpx.AsyncClient) -> None:
    result = await run_placement(row, goal="most_valuable", budget=1)
    assert result["features"][0]["properties"]["covers"] == ["p-0", "p-1", "p-2"]
    assert (result["value"], result["bound"]) == (3, 3)
    nothing = await run_placement(row, goal="most_valuable", budget=0)
    assert (nothing["features"], nothing["value"]) == ([], 0)


async def test_given_sites_with_costs_and_points_out_of_reach(row: httpx.AsyncClient) -> None:
    sites = [
        {"at": [LON + 0.001, LAT], "cost": 9, "name": "middle"},
        {"at": [LON, LAT], "cost": 2, "name": "west"},
        {"at": [LON + 0.002, LAT], "cost": 2},
        {"at": [0.0, 0.0]},
    ]
    result = await run_placement(row, sites=sites)
    assert (result["cost"], result["candidates"]) == (4, 3)
    assert [item["properties"]["name"] for item in result["features"]] == ["west", None]
    assert result["out_of_reach"] == ["p-3"]
    assert result["met_after"] == 3
    subset = await run_placement(row, sites=sites, points=["p-0"])
    assert (subset["points"], subset["cost"]) == (1, 2)


async def test_crossings_and_junctions_can_be_sites(row: httpx.AsyncClient) -> None:
    await lay_crossroads(row)
    result = await run_placement(row, sources=["junction"], range_m=400, costs={"junction": 3})
    assert {item["properties"]["source"] for item in result["features"]} == {"junction"}
    assert result["cost"] == 3
    assert result["out_of_reach"] == ["p-3"]
    result = await run_placement(row, sources=["crossing"], points=["p-3"])
    assert result["features"][0]["properties"]["name"].startswith("core-")
    nearby = await run_placement(row, sources=["crossing"], range_m=1)  # p-3 lies on the line, where a road crosses
    assert nearby["out_of_reach"] == ["p-0", "p-1", "p-2"]


async def test_no_point_needs_the_function(row: httpx.AsyncClient) -> None:
    result = await run_placement(row, function="vehicle")
    assert (result["status"], result["points"], result["features"]) == ("nothing_to_do", 0, [])


async def test_open_points_without_a_site_in_range_are_out_of_reach(
    row: httpx.AsyncClient,
) -> None:
    for sites in ([], [{"at": [LON, LAT + 0.1]}]):
        result = await run_placement(row, sites=sites)
        assert (result["status"], result["features"]) == ("out_of_reach", [])
        assert result["out_of_reach"] == ["p-0", "p-1", "p-2", "p-3"]


async def test_invalid_queries_are_rejected(row: httpx.AsyncClient, key_for: KeyFor) -> None:
    valid: Json = {"goal": "cover_all", "function": "face", "range_m": 100}
    cases: list[tuple[Json, str, str]] = [
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
    for change, pointer, code in cases:
        response = await row.post(URL, json={**valid, **change})
        assert response.status_code == 422, (change, response.text)
        codes = {item["pointer"]: item["code"] for item in response.json()["errors"]}
        assert codes.get(pointer) == code, (change, codes)
    for headers, status in (
        (await key_for("reader"), 403),
        (await key_for("analyst", ["410100"]), 404),
        (await key_for("analyst", [CITY]), 200),
    ):
        assert (await row.post(URL, json=valid, headers=headers)).status_code == status


async def test_a_slow_query_is_solved_in_another_process(
    row: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no time for a quick answer the solver runs in a process of its own."""
    query = await run_placement(row)
    monkeypatch.setattr(placement, "_IN_THREAD_S", 0.0)
    result = await run_placement(row)
    assert result["proven"]
    assert result["features"] == query["features"]
