"""Cordons over HTTP: leaks, depth, what opens them, and sealing plans that seal them."""

import random
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.builders import (
    CITY,
    LAT,
    LON,
    MERGE_PATCH,
    Json,
    KeyFor,
    Serve,
    checkpoint,
    control_point,
    lay_crossroads,
)

CITY_URL = f"/v1/jurisdictions/{CITY}"
CORDON = f"{CITY_URL}/cordon"


async def put(client: httpx.AsyncClient, url: str, body: Json, **headers: str) -> httpx.Response:
    response = await client.put(url, json=body, headers=headers)
    assert response.status_code in (200, 201), response.text
    return response


async def get(client: httpx.AsyncClient, url: str) -> Any:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
async def crossroads(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of a city with two roads from outside all rings to a junction in the centre."""
    await lay_crossroads(ringed)
    return ringed


async def carry_out(client: httpx.AsyncClient, plan: Json, prefix: str, **changed: Any) -> list[str]:
    """Register the checkpoints of a sealing plan, and return their codes."""
    codes = []
    for number, feature in enumerate(plan["features"]):
        code = f"{prefix}-{number}"
        proposed = feature["properties"]["checkpoint"]
        body = checkpoint(code, **proposed, state="online", **changed)
        await put(client, f"/v1/checkpoints/{code}", body)
        codes.append(code)
    return codes


async def test_a_leaking_ring_is_sealed_and_opened_again(crossroads: httpx.AsyncClient) -> None:
    await put(
        crossroads,
        "/v1/control-points/p-1",
        control_point(
            "p-1",
            category="core_road",
            geometry={"type": "Point", "coordinates": [LON - 0.02, LAT]},
        ),
    )
    result = await get(crossroads, f"{CORDON}/core")
    inbound = result["inbound"]
    assert (inbound["connected"], inbound["sealed"], inbound["depth"]) == (True, False, 0)
    assert inbound["to_seal"] == 2
    assert inbound["critical"] == []

    leak = await get(crossroads, f"{CORDON}/core/leak")
    assert leak["type"] == "Feature"
    assert leak["geometry"]["type"] == "LineString"
    route = leak["geometry"]["coordinates"]
    # From the junction outside the core to the one in its middle, both roads are 0.035 degrees long.
    assert sorted([route[0][0], route[-1][0]])[0] in (113.165, LON)
    assert route[-1] == [LON, LAT]
    assert leak["properties"]["length_m"] == pytest.approx(0.035 * 91_100, rel=0.01)
    assert [item["level"] for item in leak["properties"]["crossings"]] == ["core"]

    plan = await get(crossroads, f"{CORDON}/core/sealing-plan")
    assert (plan["possible"], plan["places"], plan["cost"]) == (True, 2, 2)
    assert plan["proof"]["cut"] == plan["proof"]["flow"]
    assert plan["proof"]["proven"]
    assert {item["properties"]["stands_at"] for item in plan["features"]} == {
        "control_point",
        "crossing",
    }

    codes = await carry_out(crossroads, plan, "k")
    sealed = (await get(crossroads, f"{CORDON}/core"))["inbound"]
    assert (sealed["sealed"], sealed["depth"], sealed["to_seal"]) == (True, 1, 0)
    named = [item["groups"][0]["devices"] for item in sealed["critical"]]
    assert sorted(device["code"] for (device,) in named) == codes
    assert (await crossroads.get(f"{CORDON}/core/leak")).status_code == 204
    assert (await get(crossroads, f"{CORDON}/core/sealing-plan"))["features"] == []
    # The lanes of the plan lead inward: out of the core it leaks as before.
    outbound = (await get(crossroads, f"{CORDON}/core"))["outbound"]
    assert (outbound["sealed"], outbound["to_seal"]) == (False, 2)

    summary = await get(crossroads, f"{CITY_URL}/coverage")
    core = next(ring for ring in summary["rings"] if ring["level"] == "core")
    assert core["inbound"] == {"sealed": True, "depth": 1, "to_seal": 0, "critical": 2}
    assert core["outbound"] == {"sealed": False, "depth": 0, "to_seal": 2, "critical": 0}

    off = [{"kind": "checkpoint", "code": codes[0], "state": "fault"}]
    assert (await crossroads.post("/v1/states", json=off)).json()["applied"] == 1
    assert (await crossroads.get(f"{CORDON}/core/leak")).status_code == 200
    assert (await get(crossroads, f"{CORDON}/core"))["inbound"]["to_seal"] == 1


async def test_a_failure_group_fails_together(crossroads: httpx.AsyncClient) -> None:
    plan = await get(crossroads, f"{CORDON}/core/sealing-plan")
    await carry_out(crossroads, plan, "a", failure_group="cabinet 7")
    inbound = (await get(crossroads, f"{CORDON}/core"))["inbound"]
    (failure,) = inbound["critical"]
    (group,) = failure["groups"]
    assert [device["code"] for device in group["devices"]] == ["a-0", "a-1"]
    assert failure["leak"]["length_m"] == pytest.approx(0.035 * 91_100, rel=0.01)

    await carry_out(crossroads, plan, "b")
    inbound = (await get(crossroads, f"{CORDON}/core"))["inbound"]
    assert (inbound["depth"], inbound["critical"]) == (2, [])
    assert inbound["pairs"]["number"] == 2  # the cabinet with either of the others
    (first, second) = inbound["pairs"]["shortest"]
    for pair in (first, second):
        names = sorted(item["code"] for of in pair["groups"] for item in of["devices"])
        assert names in (["a-0", "a-1", "b-0"], ["a-0", "a-1", "b-1"])
    fewer = (await get(crossroads, f"{CORDON}/core?pairs=1"))["inbound"]["pairs"]
    assert (fewer["number"], len(fewer["shortest"])) == (2, 1)


async def test_the_cordon_through_all_rings(crossroads: httpx.AsyncClient) -> None:
    inbound = (await get(crossroads, f"{CORDON}/through"))["inbound"]
    assert (inbound["sealed"], inbound["to_seal"], inbound["depth"]) == (False, 2, 0)
    leaks = await get(crossroads, f"{CORDON}/through/leak?k=5")
    assert leaks["numberReturned"] == 2
    for feature in leaks["features"]:
        levels = [item["level"] for item in feature["properties"]["crossings"]]
        assert levels == ["city", "urban", "core"]
        steps = feature["geometry"]["coordinates"]
        assert all(item != next_item for item, next_item in pairwise(steps))
    for level in ("city", "urban", "core"):
        plan = await get(crossroads, f"{CORDON}/{level}/sealing-plan")
        await carry_out(crossroads, plan, level)
    result = await get(crossroads, f"{CORDON}/through")
    inbound = result["inbound"]
    assert result["levels"] == ["city", "urban", "core"]
    assert (inbound["sealed"], inbound["depth"], inbound["depth_exact"]) == (True, 3, True)
    met = [device["code"] for item in inbound["depth_route"]["guards"] for device in item["devices"]]
    assert [code.partition("-")[0] for code in sorted(met)] == ["city", "core", "urban"]


async def test_results_after_changes_equal_those_of_a_new_process(
    crossroads: httpx.AsyncClient, serve: Serve, key_for: KeyFor
) -> None:
    """What is cached between revisions does not show: a new process gives the same results."""
    state = crossroads._transport.app.state  # type: ignore[attr-defined]  # the application under test
    state.analysis.share_after_s = float("inf")  # the other process is to work for itself
    plans = [await get(crossroads, f"{CORDON}/{level}/sealing-plan") for level in ("core", "urban")]
    codes = [
        code
        for number, plan in enumerate(plans)
        for code in await carry_out(crossroads, plan, f"k{number}", failure_group=f"g{number}")
    ]
    dice = random.Random(8)
    analyst = await key_for("analyst")
    for _ in range(6):
        word = dice.choice(["online", "offline", "fault"])
        report = [{"kind": "checkpoint", "code": dice.choice(codes), "state": word}]
        assert (await crossroads.post("/v1/states", json=report)).json()["applied"] == 1
        if dice.random() < 0.4:
            moved = {"failure_group": dice.choice(["a", "b"])}
            url = f"/v1/checkpoints/{dice.choice(codes)}"
            assert (await crossroads.patch(url, json=moved, headers=MERGE_PATCH)).status_code == 200
        async with serve() as fresh:
            for url in ("core", "urban", "through", "core/leak?k=3", "urban/sealing-plan"):
                cached = await crossroads.get(f"{CORDON}/{url}", headers=analyst)
                computed = await fresh.get(f"{CORDON}/{url}", headers=analyst)
                assert cached.status_code == computed.status_code
                if cached.status_code == 200:
                    assert without_time(cached.json()) == without_time(computed.json()), url


def without_time(result: Json) -> Json:
    return {name: value for name, value in result.items() if name != "computed_at"}


async def test_costs_and_roads_that_cannot_be_guarded(crossroads: httpx.AsyncClient) -> None:
    url = f"{CORDON}/core/sealing-plan?direction=outbound"
    dear = await get(crossroads, f"{url}&cost.county=7")
    assert (dear["places"], dear["cost"], dear["costs"]["county"]) == (2, 14, 7)
    never = await get(crossroads, f"{url}&cost.county=never")
    assert (never["possible"], never["cost"], never["features"]) == (False, None, [])
    assert never["unguardable"]["roads"]
    assert never["unguardable"]["geometry"]["type"] == "LineString"


async def test_within_m_moves_sources_and_sinks_away_from_the_line(crossroads: httpx.AsyncClient) -> None:
    """Guards within it count, roads that end within it may go on, and without roads beyond it nothing is assessed."""
    # The core's middle is 1,822 m from its line, the junctions at 113.165 and 113.235 are 1,367 m off.
    plan = await get(crossroads, f"{CORDON}/core/sealing-plan?within_m=1800")
    assert (plan["places"], plan["proof"]["proven"]) == (2, True)
    guard = checkpoint(
        "far-out", geometry={"type": "Point", "coordinates": [113.1, LAT]}, road="west-1",
        state="online", lanes=[{"lane": 1, "direction": "inbound", "bearing_deg": 90}],
    )  # fmt: skip
    await put(crossroads, "/v1/checkpoints/far-out", guard)
    assert (await get(crossroads, f"{CORDON}/core"))["inbound"]["to_seal"] == 2
    # The side street at 113.165 ends within: traffic may come from there, so the guard does not seal it.
    assert (await get(crossroads, f"{CORDON}/core?within_m=1800"))["inbound"]["to_seal"] == 2
    assert (await crossroads.delete("/v1/roads/west-side-2")).status_code == 204
    assert (await get(crossroads, f"{CORDON}/core?within_m=1800"))["inbound"]["to_seal"] == 1

    too_far = await get(crossroads, f"{CORDON}/core?within_m=3000")
    assert (too_far["inbound"], too_far["outbound"]) == (None, None)
    (result,) = [item for item in too_far["not_assessed"] if item["what"] == "cordon"]
    assert result["reason"] == "no road lies inside and farther than 3000 m from the line"
    for url in ("leak", "sealing-plan"):
        response = await crossroads.get(f"{CORDON}/core/{url}?within_m=3000")
        assert (response.status_code, response.json()["code"]) == (409, "not-assessed")


async def test_missing_data_never_counts_as_sealed(city: httpx.AsyncClient, ringed: httpx.AsyncClient) -> None:
    result = await get(ringed, f"{CORDON}/core")
    assert (result["inbound"], result["outbound"]) == (None, None)
    reasons = {item["level"]: item["reason"] for item in result["not_assessed"] if item["what"] == "cordon"}
    assert set(reasons.values()) == {"no road is registered"}
    for url in ("core/leak", "through/leak", "core/sealing-plan", "through/sealing-plan"):
        response = await ringed.get(f"{CORDON}/{url}")
        assert (response.status_code, response.json()["code"]) == (409, "not-assessed"), url
    result = await get(ringed, f"{CORDON}/through")
    assert result["inbound"] is None
    assert any(item["what"] == "through" for item in result["not_assessed"])
    summary = await get(ringed, f"{CITY_URL}/coverage")
    assert summary["rings"][0]["inbound"] == {
        "sealed": None, "depth": None, "to_seal": None, "critical": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "core/leak?k=0",
        "core/leak?k=101",
        "core/leak?direction=up",
        "core/sealing-plan?cost.motorway=0",
        "core/sealing-plan?cost.motorway=1001",
        "core/sealing-plan?cost.motorway=1e3",
        "core/sealing-plan?cost.motorway=%D9%A3",
        "core/sealing-plan?cost.path=1",
        "core?within_m=-1",
        "core?within_m=inf",
        "core?pairs=51",
        "nowhere",
        "through?direction=inbound",
    ],
)
async def test_invalid_queries_are_rejected(ringed: httpx.AsyncClient, query: str) -> None:
    response = await ringed.get(f"{CORDON}/{query}")
    assert response.status_code == 422, response.text


async def test_only_analysts_of_the_city_may_read_leaks(crossroads: httpx.AsyncClient, key_for: KeyFor) -> None:
    for url in ("core", "through", "core/leak", "core/sealing-plan"):
        for headers, status in (
            (await key_for("reader"), 403),
            (await key_for("analyst", ["410100"]), 404),
            (await key_for("analyst", [CITY]), 200),
        ):
            assert (await crossroads.get(f"{CORDON}/{url}", headers=headers)).status_code == status
