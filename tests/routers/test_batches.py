"""Batches: all or nothing, or each on its own; a result for every row, in order."""

import httpx
import pytest

from app.db.engine import Database
from tests.builders import (
    CITY,
    LAT,
    LON,
    OTHER,
    Json,
    camera,
    contents,
    control_point,
    jurisdiction,
    point,
    road,
)

CAMERAS, POINTS = "/v1/cameras:batch", "/v1/control-points:batch"
BAD = camera("bad", range_m=-1)


async def _run(client: httpx.AsyncClient, url: str, items: object) -> Json:
    answer = await client.post(url, json=items)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    assert sum(body["summary"].values()) == len(body["rows"])
    assert [row["row"] for row in body["rows"]] == list(range(len(body["rows"])))
    return body


def _results(body: Json) -> list[tuple[str, str, int | None]]:
    return [(row["code"], row["result"], row["version"]) for row in body["rows"]]


async def test_a_batch_upserts_and_removes(city: httpx.AsyncClient) -> None:
    await _run(city, CAMERAS, [camera("a"), camera("b"), camera("c")])
    body = await _run(
        city,
        CAMERAS,
        [camera("a", range_m=9), {"upsert": camera("new")}, {"delete": "b"}, camera("c")],
    )
    assert _results(body) == [
        ("a", "updated", 2), ("new", "created", 1), ("b", "removed", None), ("c", "unchanged", 1),
    ]  # fmt: skip
    assert body["summary"] == {
        "created": 1,
        "updated": 1,
        "unchanged": 1,
        "removed": 1,
        "refused": 0,
    }
    assert body["semantics"] == "atomic"
    items = (await city.get("/v1/cameras")).json()["items"]
    assert [item["code"] for item in items] == ["a", "c", "new"]


async def test_features_and_an_object_around_the_items_are_taken(city: httpx.AsyncClient) -> None:
    feature = {"type": "Feature", "id": "a", "geometry": point(), "properties": camera("a")}
    body = await _run(city, CAMERAS, {"items": [feature, {"upsert": {**feature, "id": "a"}}][:1]})
    assert _results(body) == [("a", "created", 1)]
    assert (await _run(city, CAMERAS, []))["rows"] == []


async def test_a_removed_record_comes_back_in_a_batch(city: httpx.AsyncClient) -> None:
    await _run(city, CAMERAS, [camera("a")])
    await _run(city, CAMERAS, [{"delete": "a"}])
    assert _results(await _run(city, CAMERAS, [camera("a")])) == [("a", "created", 3)]


async def test_one_bad_row_refuses_an_atomic_batch(city: httpx.AsyncClient, database: Database) -> None:
    await _run(city, CAMERAS, [camera("a")])
    before = await contents(database)
    items = [
        camera("b"),
        BAD,
        {"upsert": BAD | {"code": "bad2"}},
        {"delete": "none"},
        camera("b"),
        5,
    ]
    answer = await city.post(CAMERAS, json=items)
    assert (answer.status_code, answer.json()["code"]) == (422, "batch-refused")
    assert "5 of 6 rows are not valid, so none is written. Row 1" in answer.json()["detail"]
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [
        ("/items/1/range_m", "greater-than-equal"),
        ("/items/2/upsert/range_m", "greater-than-equal"),
        ("/items/3/delete", "not-found"),
        ("/items/4/code", "duplicate-code"),
        ("/items/5", "model-attributes-type"),
    ]
    assert await contents(database) == before


async def test_faults_point_into_wrapped_records(city: httpx.AsyncClient) -> None:
    await _run(city, CAMERAS, [camera("taken")])
    items = [
        {"upsert": camera("far", geometry=point(120, 30))},
        {"upsert": camera("lost", checkpoint="none")},
        {"upsert": camera("lost")},
        {"upsert": camera("taken", jurisdiction=OTHER)},
        {"delete": "taken"},
    ]
    faults = (await city.post(CAMERAS, json=items)).json()["errors"]
    assert [fault["pointer"] for fault in faults] == [
        "/items/0/upsert/geometry", "/items/1/upsert/checkpoint", "/items/2/upsert/code",
        "/items/3/upsert/code", "/items/4/delete",
    ]  # fmt: skip


async def test_each_writes_every_good_row(city: httpx.AsyncClient) -> None:
    await _run(city, CAMERAS, [camera("old"), camera("same")])
    items = [
        camera("a"), BAD, {"delete": "old"}, {"delete": "none"}, camera("same"), camera("a"),
        camera("far", geometry=point(120, 30)), camera("lost", control_point="none"), None,
        {"delete": 5}, {"delete": "x\x00"}, camera("x\x00"), {}, {"upsert": camera("b"), "delete": "b"},
    ]  # fmt: skip
    body = await _run(city, f"{CAMERAS}?semantics=each", items)
    assert _results(body) == [
        ("a", "created", 1), ("bad", "refused", None), ("old", "removed", None),
        ("none", "refused", None), ("same", "unchanged", 1), ("a", "refused", None),
        ("far", "refused", None), ("lost", "refused", None), (None, "refused", None),
        (None, "refused", None), (None, "refused", None), (None, "refused", None),
        (None, "refused", None), (None, "refused", None),
    ]  # fmt: skip
    faults = {row["row"]: row["errors"][0]["pointer"] for row in body["rows"] if "errors" in row}
    assert {n: faults[n] for n in (1, 3, 5, 6, 7, 9)} == {
        1: "/range_m", 3: "/delete", 5: "/code", 6: "/geometry", 7: "/control_point", 9: "/delete",
    }  # fmt: skip
    items_now = (await city.get("/v1/cameras")).json()["items"]
    assert [item["code"] for item in items_now] == ["a", "same"]


async def test_what_others_need_is_not_removed(city: httpx.AsyncClient, database: Database) -> None:
    await _run(city, POINTS, [control_point("needed"), control_point("free")])
    await _run(city, CAMERAS, [camera("a", control_point="needed")])
    before = await contents(database)
    atomic = await city.post(POINTS, json=[{"delete": "free"}, {"delete": "needed"}])
    assert (atomic.status_code, atomic.json()["code"]) == (409, "still-referenced")
    assert await contents(database) == before
    body = await _run(city, f"{POINTS}?semantics=each", [{"delete": "free"}, {"delete": "needed"}])
    assert [row["result"] for row in body["rows"]] == ["removed", "refused"]
    (fault,) = body["rows"][1]["errors"]
    assert fault == {
        "pointer": "/delete", "code": "still-referenced",
        "message": "camera a refers to this record",
    }  # fmt: skip


async def test_a_batch_spans_jurisdictions_and_none_takes_anothers_code(
    city: httpx.AsyncClient,
) -> None:
    await _run(city, "/v1/jurisdictions:batch", [jurisdiction(OTHER)])
    await _run(city, CAMERAS, [camera("a"), camera("b", jurisdiction=OTHER)])
    refused = await city.post(CAMERAS, json=[camera("a", jurisdiction=OTHER)])
    assert refused.json()["errors"][0]["pointer"] == "/items/0/code"
    assert refused.json()["errors"][0]["code"] == "already-exists"


async def test_batches_of_every_kind(city: httpx.AsyncClient) -> None:
    assert _results(await _run(city, "/v1/roads:batch", [road()])) == [("road-1", "created", 1)]
    await _run(city, "/v1/jurisdictions:batch", [jurisdiction(OTHER), {"delete": CITY}][:1])
    body = await _run(city, "/v1/jurisdictions:batch", [{"delete": OTHER}])
    assert body["summary"]["removed"] == 1


async def test_a_batch_of_states_goes_with_its_devices(city: httpx.AsyncClient) -> None:
    await _run(city, CAMERAS, [camera("a", state="online"), camera("b")])
    items = (await city.get("/v1/cameras")).json()["items"]
    assert [(item["state"], item["working"]) for item in items] == [
        ("online", True),
        ("unknown", False),
    ]


@pytest.mark.parametrize("body", [{}, {"items": {}}, {"items": [], "more": 1}, "x", None, {"rows": []}])
async def test_a_batch_is_a_list(city: httpx.AsyncClient, body: object) -> None:
    headers = {"Content-Type": "application/json"}
    content = httpx.Request("POST", "/", json=body).content if body is not None else b"null"
    answer = await city.post(CAMERAS, content=content, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "batch-type")


async def test_unknown_semantics_are_refused(city: httpx.AsyncClient) -> None:
    answer = await city.post(f"{CAMERAS}?semantics=some", json=[])
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "?semantics")


async def test_ten_thousand_rows_and_again(ringed: httpx.AsyncClient, database: Database) -> None:
    rows = [camera(f"c{number:05}", geometry=point(round(LON + number * 1e-5, 6), LAT)) for number in range(10_000)]
    first = await _run(ringed, CAMERAS, rows)
    assert first["summary"]["created"] == 10_000
    before = await contents(database)
    again = await _run(ringed, CAMERAS, rows)
    assert again["summary"]["unchanged"] == 10_000
    assert await contents(database) == before, "no history, no revision"
    refused = await ringed.post(CAMERAS, json=[*rows, camera("one more")])
    assert (refused.status_code, refused.json()["limit"]) == (413, 10_000)
