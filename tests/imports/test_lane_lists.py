"""Lanes without their checkpoints: put among the lanes of those that are registered."""

from typing import Any

import httpx
import orjson
import pytest

from tests import builders
from tests.builders import Json
from tests.imports.files import brought, rows_of, send

GATE = "41080000001210000001"
OTHER_GATE = "41080000001210000002"
STRANGER = "41080000001210000009"


def _lane(gate: str, number: int | None, **more: Any) -> Json:
    return {"TollgateID": gate, "LaneId": number, "LaneNo": number, "CityPass": "1", **more}


def _list(*lanes: Json) -> bytes:
    return orjson.dumps({"LaneListObject": {"LaneObject": list(lanes)}})


@pytest.fixture
async def gates(city: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a city with two checkpoints, the first with lanes 1 and 2."""
    lanes = [
        {"lane": 2, "direction": "outbound", "max_speed_kmh": 60, "name": "出城"},
        {"lane": 1, "direction": "outbound", "bearing_deg": 90.5, "camera": "c-1"},
    ]
    for code, of in ((GATE, lanes), (OTHER_GATE, [])):
        body = builders.checkpoint(code, name_zh="卡口", lanes=of)
        assert (await city.put(f"/v1/checkpoints/{code}", json=body)).status_code == 201
    return city


async def _lanes(client: httpx.AsyncClient, code: str) -> list[Json]:
    result = (await client.get(f"/v1/checkpoints/{code}")).json()
    assert result["name_zh"] == "卡口"
    return [{k: v for k, v in lane.items() if v is not None} for lane in result["lanes"]]


async def _brought(client: httpx.AsyncClient, content: bytes, **more: Any) -> Json:
    options: Json = {"name": "l.json", "kind": "checkpoint", "jurisdiction": None, **more}
    return await brought(client, content, **options)


@pytest.mark.parametrize("mode", ["upsert", "update_only"])
async def test_lanes_are_put_among_the_registered_by_number(gates: httpx.AsyncClient, mode: str) -> None:
    content = _list(
        _lane(GATE, 3, Name="新车道", MaxSpeed=80, Direction="7"),
        _lane(GATE, 1, Name="一", MaxSpeed=40, Direction="1"),
        _lane(OTHER_GATE, 1, CityPass="2", Name=None, MaxSpeed=None, Direction=None),
    )
    before = (await gates.get(f"/v1/checkpoints/{GATE}")).json()
    job = await _brought(gates, content, mode=mode)
    assert (job["counts"]["rows"], job["counts"]["updated"]) == (3, 2), job
    assert job["plan"]["missing"] == ["jurisdiction", "kind", "geometry"]
    assert await _lanes(gates, GATE) == [
        {"lane": 2, "direction": "outbound", "max_speed_kmh": 60, "name": "出城"},
        {"lane": 1, "direction": "inbound", "bearing_deg": 90, "name": "一", "max_speed_kmh": 40,
         "camera": "c-1"},
        {"lane": 3, "direction": "inbound", "bearing_deg": 135, "name": "新车道",
         "max_speed_kmh": 80},
    ]  # fmt: skip
    assert await _lanes(gates, OTHER_GATE) == [{"lane": 1, "direction": "outbound"}]
    after = (await gates.get(f"/v1/checkpoints/{GATE}")).json()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"lanes", "version", "updated_at"}
    draft = {name: value for name, value in after.items() if name not in ("state", "reported_at")}
    put = await gates.put(f"/v1/checkpoints/{GATE}", json=draft)
    assert put.status_code == 200, put.text
    assert (await gates.get(f"/v1/checkpoints/{GATE}")).json()["lanes"] == after["lanes"]
    again = await _brought(gates, content, mode=mode)
    assert (again["counts"]["updated"], again["counts"]["unchanged"]) == (0, 2)


async def test_lanes_of_a_stranger_are_refused_by_name_all_of_them(
    gates: httpx.AsyncClient,
) -> None:
    content = _list(_lane(STRANGER, 1), _lane(GATE, 1), _lane(STRANGER, 2))
    job = await _brought(gates, content, on_error="skip_rows")
    assert (job["counts"]["updated"], job["counts"]["refused"]) == (1, 2)
    refused = {item["row"]: item["problems"][0] for item in await rows_of(gates, job, "error")}
    assert {row: reported["code"] for row, reported in refused.items()} == {
        1: "not-found", 3: "refused-together",
    }  # fmt: skip
    assert STRANGER in refused[1]["message"]
    assert "fields that a new checkpoint needs" in refused[1]["message"]
    strange = await send(gates, _list(_lane(STRANGER, 1)), name="l.json", kind="checkpoint")
    assert (strange.status_code, strange.json()["code"]) == (422, "fields-missing")
    assert "none of the checkpoints is registered" in strange.json()["detail"]


async def test_a_bad_lane_refuses_its_checkpoint_and_says_where(gates: httpx.AsyncClient) -> None:
    content = _list(_lane(GATE, 1), _lane(GATE, None), _lane(OTHER_GATE, 7), _lane(OTHER_GATE, 7))
    job = await _brought(gates, content, on_error="skip_rows")
    reported = {item["row"]: item["problems"] for item in await rows_of(gates, job, "error")}
    assert {row: [p["code"] for p in problems] for row, problems in reported.items()} == {
        1: ["refused-together"], 2: ["missing"], 3: ["duplicate-lane"], 4: ["refused-together"],
    }  # fmt: skip
    assert "lane" in reported[2][0]["field"]
    assert await _lanes(gates, OTHER_GATE) == []


async def test_lanes_in_a_table_change_what_they_give(gates: httpx.AsyncClient) -> None:
    content = f"code,lane,lane_max_speed_kmh\n{GATE},1,30\n{GATE},2,\n".encode()
    job = await _brought(gates, content, name="l.csv", mode="update_only")
    assert job["counts"]["updated"] == 1, job
    assert await _lanes(gates, GATE) == [
        {"lane": 2, "direction": "outbound", "name": "出城"},
        {"lane": 1, "direction": "outbound", "bearing_deg": 90.5, "camera": "c-1",
         "max_speed_kmh": 30},
    ]  # fmt: skip
    new = f"code,lane,lane_max_speed_kmh\n{GATE},5,30\n".encode()
    refused = await _brought(gates, new, name="l.csv", mode="update_only")
    ((reported,),) = [item["problems"] for item in await rows_of(gates, refused, "error")]
    assert (reported["code"], reported["field"]) == ("missing", "lane_direction")
    assert "Lane 5" in reported["message"]
    numberless = f"code,lane_direction\n{GATE},inbound\n".encode()
    response = await send(gates, numberless, name="l.csv", kind="checkpoint", mode="update_only")
    assert response.json()["detail"].startswith("Missing required fields: lane.")


async def test_a_checkpoint_has_forty_lanes_at_most(gates: httpx.AsyncClient) -> None:
    content = _list(*(_lane(GATE, number) for number in range(3, 42)))
    job = await _brought(gates, content)
    first, *others = await rows_of(gates, job, "error")
    assert "more than 40" in first["problems"][0]["message"]
    assert len(others) == 38


async def test_lanes_given_whole_in_one_cell_replace_those_that_are_there(
    gates: httpx.AsyncClient,
) -> None:
    content = f'code,lanes\n{GATE},"[{{""lane"":9,""direction"":""both""}}]"\n'.encode()
    await _brought(gates, content, name="l.csv", mode="update_only")
    assert await _lanes(gates, GATE) == [{"lane": 9, "direction": "both"}]


async def test_a_refused_lane_of_a_whole_checkpoint_refuses_its_other_rows(
    city: httpx.AsyncClient,
) -> None:
    content = (
        b"code,kind,lon,lat,lane,lane_direction\nk1,vehicle,113.2,35.2,1,inbound\nk1,vehicle,113.2,35.2,2,nowhere\n"
    )
    job = await brought(city, content, kind="checkpoint")
    assert (job["counts"]["refused"], job["counts"]["rows"]) == (2, 2)
    statuses = {item["row"]: item["status"] for item in await rows_of(city, job)}
    assert statuses == {2: "refused", 3: "refused"}
