"""The responses of a service with the demo city are those in docs/demo.md."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access.roles import OPERATOR
from app.db.engine import Database
from app.demo.city import build_city
from app.demo.load import is_empty, load_demo_city
from app.demo.planted_faults import ALONG, CRITICAL, EXPECTED, EXPECTED_RINGS, LEAKS, SHARED_BORDER

COVERAGE = "/v1/jurisdictions/410800/coverage"


@pytest.fixture
async def city(admin: httpx.AsyncClient, database: Database) -> httpx.AsyncClient:
    await load_demo_city(database, OPERATOR)
    return admin


async def _json(client: httpx.AsyncClient, url: str) -> Any:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_loaded_city_answers_as_documented(city: httpx.AsyncClient, database: Database) -> None:
    assert not await is_empty(database)

    summary = await _json(city, COVERAGE)
    points = summary["control_points"]
    assert {status: points[status] for status in EXPECTED["total"]} == EXPECTED["total"]
    for category, counts in EXPECTED["by_category"].items():
        document = points["by_category"][category]
        assert {status: document[status] for status in counts} == counts
        assert document["planned"] == document["registered"]
    assert summary["plan"]["total"] == points["registered"] == 409
    assert sum(zone["registered"] for zone in summary["by_zone"].values()) == 409

    gaps = await _json(city, f"{COVERAGE}/gaps?type=control_point")
    actual = {
        (feature["id"], need["function"], need["direction"], need["reason"])
        for feature in gaps["features"]
        for need in feature["properties"]["missing"]
    }
    planted = {(f.control_point, f.function, f.direction, f.reason) for f in build_city().faults}
    assert actual == planted

    listed = await _json(city, f"{COVERAGE}/control-points")
    assert len(listed["items"]) == 409
    first_item = await _json(city, f"{COVERAGE}/control-points/{listed['items'][0]['code']}")
    assert first_item["needs"][0]["candidates"] is not None

    history = await _json(city, "/v1/jurisdictions/410800/history")
    assert history["items"][0]["reason"] == "synthetic demo city"


async def test_a_camera_closes_a_gap_and_its_silence_opens_it_again(
    city: httpx.AsyncClient,
) -> None:
    location = await _json(city, "/v1/control-points/CP-CR-005")
    camera = {
        "jurisdiction": "410800", "functions": ["vehicle"], "direction": "both", "state": "online",
        "control_point": "CP-CR-005", "geometry": location["geometry"],
    }  # fmt: skip
    status = f"{COVERAGE}/control-points/CP-CR-005"
    assert (await _json(city, status))["status"] == "uncovered"

    put = await city.put("/v1/cameras/41080000041320999001", json=camera)
    assert put.status_code == 201, put.text
    assert (await _json(city, status))["status"] == "covered"

    offline = [{"kind": "camera", "code": "41080000041320999001", "state": "offline"}]
    assert (await city.post("/v1/states", json=offline)).json()["applied"] == 1
    reopened = await _json(city, status)
    assert (reopened["status"], reopened["needs"][0]["reason"]) == ("uncovered", "offline")

    await city.delete("/v1/cameras/41080000041320999001")
    assert (await _json(city, status))["needs"][0]["reason"] == "none"


async def test_records_too_far_apart_to_measure_are_a_conflict(admin: httpx.AsyncClient) -> None:
    """Without an extent and without rings nothing keeps a record off the other side of the globe."""
    await admin.put("/v1/jurisdictions/990001", json={})
    for number, lon in enumerate([24.94, 24.95, 117.0]):
        point = {
            "jurisdiction": "990001", "category": "core_site",
            "geometry": {"type": "Point", "coordinates": [lon, 0.0]},
        }  # fmt: skip
        put = await admin.put(f"/v1/control-points/far-{number}", json=point)
        assert put.status_code == 201, put.text
    answer = await admin.get("/v1/jurisdictions/990001/coverage")
    assert (answer.status_code, answer.json()["code"]) == (409, "not-computable")


CORDON = "/v1/jurisdictions/410800/cordon"


async def test_the_rings_of_the_loaded_city_answer_as_documented(city: httpx.AsyncClient) -> None:
    summary = await _json(city, COVERAGE)
    document = {ring.pop("level"): ring for ring in summary["rings"]}
    assert document == EXPECTED_RINGS
    assert [first_item["what"] for first_item in summary["not_assessed"] if first_item["what"] != "area"] == []

    listed = await _json(city, f"{COVERAGE}/crossings")
    crossing_of = {point: item for item in listed["items"] for point in item["control_points"]}
    assert len(crossing_of) == 129 + 39 + 47
    assert all(not plan["crossings_without_control_point"] for plan in listed["by_plan"])
    assert all(not plan["control_points_without_crossing"] for plan in listed["by_plan"])
    roads = [item["road"]["group"] for item in listed["items"]]
    assert ALONG not in roads
    assert roads.count("RG-M1") == 1
    assert sorted(item["grade"] for item in listed["items"] if item["grade"] != "level") == [
        "bridge", "tunnel",
    ]  # fmt: skip

    core, urban = (crossing_of[point] for point in SHARED_BORDER)
    assert (core["same_place"], urban["same_place"]) == ([urban["id"]], [core["id"]])
    assert sum(bool(item["same_place"]) for item in listed["items"] if item["level"] == "core") == 8

    leaks = await _json(city, f"{CORDON}/core/leak?direction=inbound&k=5")
    entered = [
        crossing["id"]
        for leak in leaks["features"]
        for crossing in leak["properties"]["crossings"]
        if crossing["level"] == "core"
    ]
    assert sorted(entered) == sorted(crossing_of[point]["id"] for point in LEAKS)
    outbound = (await _json(city, f"{CORDON}/core"))["outbound"]
    (only,) = outbound["critical"]
    assert only["leak"]["crossings"] == [{"level": "core", "id": crossing_of[CRITICAL]["id"]}]
    assert sorted(first_item["kind"] for first_item in only["groups"][0]["devices"]) == ["camera", "checkpoint"]
    through = await _json(city, f"{CORDON}/through")
    assert through["inbound"]["depth"] == 0
    _document_says(DEMO, document)


DOCS = Path(__file__).parents[2] / "docs"
DEMO = (DOCS / "demo.md").read_text(encoding="utf-8")


def _document_says(text: str, rings: Any) -> None:
    """Check the table of the rings, and the text below it, against the response of the service."""
    for level, ring in rings.items():
        counts = ring["crossings"]
        ways = [_describe_direction(ring[direction]) for direction in ("inbound", "outbound")]
        row = [level, *(str(counts[name]) for name in ("total", "guarded", "open")), *ways]
        assert f"| {' | '.join(row)} |" in text
    prose = " ".join(text.split())
    leaks = " and at ".join(f"`{point}`" for point in LEAKS)
    assert f"**Two leaks.** A vehicle can enter the core without a guard at {leaks}" in prose
    assert "**One critical checkpoint.**" in prose
    assert f"except at `{CRITICAL}`, which has only the outbound checkpoint" in prose
    assert f"`{SHARED_BORDER[0]}` and `{SHARED_BORDER[1]}` are at one location" in prose
    assert f"**A road along the line.** `{ALONG}` follows the urban line" in prose


def _describe_direction(document: Any) -> str:
    if not document["sealed"]:
        return f"leaks, {document['to_seal']} checkpoints to seal"
    critical = {1: "one critical checkpoint"}.get(document["critical"], f"{document['critical']} critical failures")
    return f"sealed, depth {document['depth']}, {critical}"


async def test_the_documented_what_if(city: httpx.AsyncClient) -> None:
    text = (DOCS / "cordon.md").read_text(encoding="utf-8")
    query, failed = re.search(
        r"-d '(\{\"changes\": \[\{\"fail\".*?)' \| jq \.applied\.failed\n(\{.*?\})", text, re.DOTALL
    ).groups()  # type: ignore[union-attr]  # it is there
    answer = await city.post(f"{COVERAGE}/what-if", json=json.loads(query))
    document = answer.json()
    assert document["applied"]["failed"] == json.loads(failed)
    counts = document["control_points"]["counts"]
    assert (
        f"There {counts['after']['uncovered']} control points are uncovered instead of "
        f"{counts['before']['uncovered']}" in text
    )
    core = next(r for r in document["rings"] if (r["level"], r["direction"]) == ("core", "inbound"))
    assert (
        f"the core takes {core['after']['to_seal']} places to seal inward instead of "
        f"{core['before']['to_seal']}." in text
    )


async def test_crossings_agree_with_their_control_points(
    city: httpx.AsyncClient,
) -> None:
    """A covered control point has a guarded crossing; an open crossing has an uncovered need."""
    points = {item["code"]: item for item in (await _json(city, f"{COVERAGE}/control-points"))["items"]}
    for crossing in (await _json(city, f"{COVERAGE}/crossings"))["items"]:
        (point,) = (points[code] for code in crossing["control_points"])
        unmet = {need["direction"] for need in point["needs"] if not need["met"]}
        assert set(crossing["missing_directions"]) <= unmet
