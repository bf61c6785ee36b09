"""The change feed: in order, nothing missed under concurrent writers, silences in their place."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.changes import service as change_service
from app.changes.queries import ChangeQuery
from app.changes.service import ChangeStreams, FeedPosition
from app.db.engine import Database, WriteContext
from tests.builders import CITY, MERGE_PATCH, OTHER, Json, KeyFor, camera, jurisdiction

ALL = ChangeQuery(None, [])
WHO = WriteContext("writer")


def _report(code: str, ago_s: float = 0, state: str = "online") -> Json:
    when = datetime.now(UTC) - timedelta(seconds=ago_s)
    return {"code": code, "state": state, "reported_at": when.isoformat()}


async def _feed(client: httpx.AsyncClient, url: str = "/v1/changes") -> list[Json]:
    """Return everything there is, page by page."""
    items = []
    while True:
        page = (await client.get(url)).json()
        items += page["items"]
        url = page["next"]
        if not page["more"]:
            return items


async def _patience(client: httpx.AsyncClient, seconds: int) -> None:
    answer = await client.patch(f"/v1/jurisdictions/{CITY}", json={"stale_after_s": seconds}, headers=MERGE_PATCH)
    assert answer.status_code == 200, answer.text


def _told(items: list[Json]) -> list[tuple[Any, ...]]:
    return [(item["code"], item["operation"], (item["after"] or {}).get("state"), item["derived"]) for item in items]


async def test_everything_is_told_in_order(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    await city.patch("/v1/cameras/a", json={"name_en": "later"}, headers=MERGE_PATCH)
    await city.post("/v1/states", json=[_report("a")])
    await city.delete("/v1/cameras/a")
    items = await _feed(city)
    told = [(item["kind"], item["operation"], item["version"]) for item in items]
    assert told == [
        ("jurisdiction", "create", 1), ("camera", "create", 1), ("camera", "update", 2),
        ("camera", "state", None), ("camera", "remove", 3),
    ]  # fmt: skip
    assert [item["seq"] for item in items] == sorted(item["seq"] for item in items)
    assert "name_en" not in items[2]["before"]
    assert items[2]["after"]["name_en"] == "later"


async def test_a_page_says_where_to_go_on(city: httpx.AsyncClient) -> None:
    for number in range(5):
        await city.put(f"/v1/cameras/c{number}", json=camera(f"c{number}"))
    first = (await city.get("/v1/changes?limit=2&kind=camera")).json()
    assert ([item["code"] for item in first["items"]], first["more"]) == (["c0", "c1"], True)
    rest = await _feed(city, first["next"])
    assert [item["code"] for item in rest] == ["c2", "c3", "c4"]
    numbered = await _feed(city, f"/v1/changes?after={first['items'][1]['seq']}&kind=camera")
    assert numbered == rest
    last = (await city.get("/v1/changes?kind=camera")).json()
    idle = (await city.get(last["next"])).json()
    assert (idle["items"], idle["more"]) == ([], False)
    await city.put("/v1/cameras/late", json=camera("late"))
    assert [item["code"] for item in await _feed(city, idle["next"])] == ["late"]


async def test_a_page_has_a_largest_size(city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in "abcd":
        await city.put(f"/v1/cameras/{code}", json=camera(code))
    monkeypatch.setattr("app.routers.changes.MAX_LIMIT", 3)
    page = (await city.get("/v1/changes?limit=999999&kind=camera")).json()
    assert (len(page["items"]), page["more"]) == (3, True)
    described = (await city.get("/openapi.json")).json()["paths"]["/v1/changes"]["get"]
    (told,) = [one["description"] for one in described["parameters"] if one["name"] == "limit"]
    assert "at most 1000" in told


async def test_a_silence_is_told_when_it_begins(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    await city.post("/v1/states", json=[_report("a", 3599)])
    page = (await city.get("/v1/changes?kind=camera")).json()
    assert _told(page["items"])[-1] == ("a", "state", "online", False)
    await asyncio.sleep(1.1)
    page = (await city.get(page["next"])).json()
    assert _told(page["items"]) == [("a", "state", "unknown", True)]
    silence = page["items"][0]
    assert (silence["seq"], silence["actor"]) == (None, "registry")
    reported = datetime.fromisoformat(silence["before"]["reported_at"])
    assert datetime.fromisoformat(silence["at"]) == reported + timedelta(seconds=3600)
    page = (await city.get(page["next"])).json()
    assert page["items"] == []  # once
    await city.post("/v1/states", json=[_report("a")])
    page = (await city.get(page["next"])).json()
    assert _told(page["items"]) == [("a", "state", "online", False)]
    whole = _told(await _feed(city, "/v1/changes?kind=camera"))
    assert [entry[2:] for entry in whole] == [
        (None, False), ("online", False), ("unknown", True), ("online", False),
    ]  # fmt: skip


async def test_a_report_that_is_too_old_when_it_arrives(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    await city.post("/v1/states", json=[_report("a", 7200)])
    told = [("a", "state", "online", False), ("a", "state", "unknown", True)]
    page = (await city.get("/v1/changes?kind=camera")).json()
    assert _told(page["items"])[1:] == told
    await city.post("/v1/states", json=[_report("a", 5400)])
    assert _told(await _feed(city, page["next"])) == told
    history = (await city.get("/v1/cameras/a/history")).json()["items"]
    assert [(h["after"].get("state"), h["derived"]) for h in history] == [
        ("unknown", True), ("online", False), ("unknown", True), ("online", False), (None, False),
    ]  # fmt: skip


async def test_history_has_the_silences_and_pages_through_them(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    for ago in (9000, 4000):
        await city.post("/v1/states", json=[_report("a", ago)])
    whole = (await city.get("/v1/cameras/a/history")).json()["items"]
    assert [h["derived"] for h in whole] == [True, False, True, False, False]
    for limit in (1, 2, 3):
        paged, url = [], f"/v1/cameras/a/history?limit={limit}"
        while url is not None:
            page = (await city.get(url)).json()
            assert len(page["items"]) <= limit
            paged += page["items"]
            url = page["next"]
        assert paged == whole


async def test_another_patience_is_told_for_the_devices_it_changes(city: httpx.AsyncClient) -> None:
    for code, ago in (("a", 120), ("b", 10), ("c", 7200)):
        await city.put(f"/v1/cameras/{code}", json=camera(code))
        await city.post("/v1/states", json=[_report(code, ago)])
    start = (await city.get("/v1/changes?kind=camera")).json()["next"]
    await _patience(city, 60)
    page = (await city.get(start)).json()
    assert _told(page["items"]) == [("a", "state", "unknown", False)]
    await _patience(city, 86_400)
    page = (await city.get(page["next"])).json()
    assert _told(page["items"]) == [
        ("a", "state", "online", False), ("c", "state", "online", False),
    ]  # fmt: skip
    whole = await _feed(city, "/v1/changes?kind=camera")
    assert {code: state for code, _, state, _ in _told(whole) if state} == dict.fromkeys("abc", "online")


async def test_a_device_that_reports_unknown_does_not_fall_silent(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    await city.post("/v1/states", json=[_report("a", 7200, "unknown")])
    assert not any(item["derived"] for item in await _feed(city))


async def test_scope_and_hidden_columns_hold_in_the_feed(city: httpx.AsyncClient, key_for: KeyFor) -> None:
    await city.put(f"/v1/jurisdictions/{OTHER}", json=jurisdiction(OTHER))
    own = camera("a", network_address="198.51.100.7", state="online")
    await city.put("/v1/cameras/a", json=own | {"reported_at": _report("a", 7200)["reported_at"]})
    await city.put("/v1/cameras/b", json=camera("b", jurisdiction=OTHER))
    analyst, editor = await key_for("analyst", [CITY]), await key_for("editor", [CITY])
    seen = (await city.get("/v1/changes", headers=analyst)).json()["items"]
    assert {item["jurisdiction"] for item in seen} == {CITY}
    assert [item["derived"] for item in seen] == [False, False, False, True]
    assert "198.51.100.7" not in str(seen)
    assert "198.51.100.7" in (await city.get("/v1/changes", headers=editor)).text
    outside = await city.get(f"/v1/changes?jurisdiction={OTHER}", headers=analyst)
    assert outside.status_code == 404
    elsewhere = (await city.get(f"/v1/changes?jurisdiction={OTHER}")).json()["items"]
    assert {item["code"] for item in elsewhere} == {OTHER, "b"}


@pytest.mark.parametrize("after", ["-1", "x", "MSAy", "9" * 19, "1 2", "é"])
async def test_a_cursor_that_is_none_of_ours(city: httpx.AsyncClient, after: str) -> None:
    answer = await city.get("/v1/changes", params={"after": after})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "?after")


async def test_a_place_survives_being_written_down() -> None:
    for place in (FeedPosition(0), FeedPosition(7), change_service.parse_position(str(FeedPosition(3)))):
        assert change_service.parse_position(str(place)) == place


# -- under concurrent writers -----------------------------------------------------------------------

_CAMERAS = text(
    "INSERT INTO camera (code, jurisdiction, lifecycle, functions, geometry) "
    "SELECT :name || n, '410800', 'in_use', ARRAY['face'], "
    "ST_SetSRID(ST_MakePoint(113, 35), 4326) FROM generate_series(1, :count) AS n"
)


async def _write(database: Database, name: str, dice: random.Random) -> None:
    """Write some records, wait with the transaction open, and sometimes take it all back."""
    try:
        async with database.open_transaction(WHO) as connection:
            for part in range(dice.randint(1, 3)):
                bound = {"name": f"{name}-{part}-", "count": dice.randint(1, 5)}
                await connection.execute(_CAMERAS, bound)
                await asyncio.sleep(dice.random() * 0.02)
            if dice.random() < 0.2:
                raise RuntimeError
    except RuntimeError:
        pass


async def _followed(database: Database, done: asyncio.Event) -> list[int]:
    """Follow the feed with small pages until the writers are done and nothing more comes."""
    place, seen = FeedPosition(0), []
    while True:
        last = done.is_set()
        page = await change_service.load_page(database, ALL, place, 7)
        seen += [page_place.seq for page_place, _ in page.entries]
        place = page.after
        if last and not page.more and not page.entries:
            return seen
        await asyncio.sleep(0.001)


async def test_a_reader_misses_nothing_while_many_write(database: Database) -> None:
    async with database.open_transaction(WHO) as connection:
        await connection.execute(
            text("INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, "
                 "stale_after_s, synthetic) VALUES ('410800', '{}', '{}', '{}', 3600, true)")
        )  # fmt: skip
    dice, done = random.Random(3), asyncio.Event()
    reader = asyncio.create_task(_followed(database, done))

    async def writer(number: int) -> None:
        for turn in range(15):
            await _write(database, f"w{number}-{turn}", dice)

    await asyncio.gather(*(writer(number) for number in range(5)))
    done.set()
    seen = await reader
    async with database.open_connection() as connection:
        rows = await connection.execute(text("SELECT seq FROM change_log ORDER BY seq"))
        written = [row[0] for row in rows]
    assert seen == written  # all, once, in order
    assert len(written) > 100


async def test_nothing_is_told_past_a_writer_that_has_not_committed(
    city: httpx.AsyncClient, database: Database
) -> None:
    async with database.open_transaction(WHO) as slow:
        await slow.execute(_CAMERAS, {"name": "slow", "count": 1})
        await city.put("/v1/cameras/fast", json=camera("fast"))
        await city.post("/v1/states", json=[_report("fast", 7200)])
        page = (await city.get("/v1/changes?kind=camera")).json()
        assert page["items"] == []
    told = [item["code"] for item in await _feed(city, page["next"])]
    assert told == ["slow1", "fast", "fast", "fast"]


async def test_what_a_reader_heard_last_is_how_a_device_reads(city: httpx.AsyncClient, database: Database) -> None:
    """Devices report late, early and not at all while a reader follows: it ends with their state."""
    codes = [f"c{number}" for number in range(12)]
    answer = await city.post("/v1/cameras:batch", json=[camera(code) for code in codes])
    assert answer.status_code == 200
    await _patience(city, 1)
    done, dice = asyncio.Event(), random.Random(5)

    async def reports(mine: list[str]) -> None:
        for _ in range(25):
            chosen = dice.sample(mine, 3)
            states = ("online", "offline")
            body = [_report(code, dice.random() * 1.5, dice.choice(states)) for code in chosen]
            await city.post("/v1/states", json=body)
            await asyncio.sleep(dice.random() * 0.1)

    heard: dict[str, str] = {}

    async def reads() -> None:
        place = FeedPosition(0)
        while True:
            last = done.is_set()
            page = await change_service.load_page(database, ALL, place, 5)
            for _, body in page.entries:
                item = httpx.Response(200, text=body).json()
                if item["operation"] == "state":
                    heard[item["code"]] = item["after"]["state"]
            place = page.after
            if last and not page.more and not page.entries:
                return

    reader = asyncio.create_task(reads())
    await asyncio.gather(reports(codes), reports(codes))
    await asyncio.sleep(0.3)
    quick = [_report(code) for code in codes[:4]]
    await _patience(city, 3600)
    await _patience(city, 2)
    await city.post("/v1/states", json=quick)
    await _patience(city, 3600)
    done.set()
    await reader
    listed = (await city.get("/v1/cameras?limit=100")).json()["items"]
    now = {item["code"]: item["state"] for item in listed}
    assert heard == {code: state for code, state in now.items() if code in heard}
    assert {code for code, state in now.items() if state != "unknown"} <= heard.keys()


async def _heard(database: Database, place: FeedPosition, heard: dict[str, str]) -> FeedPosition:
    """Read on to the end of the feed, noting the last state of each device."""
    while True:
        page = await change_service.load_page(database, ALL, place, 50)
        for _, body in page.entries:
            item = httpx.Response(200, text=body).json()
            if item["operation"] == "state":
                heard[item["code"]] = item["after"]["state"]
        place = page.after
        if not page.more:
            return place


@pytest.mark.parametrize(("before", "after", "last"), [(2, 3600, "online"), (3600, 2, "unknown")])
async def test_a_device_falls_silent_while_the_rule_is_being_changed(
    city: httpx.AsyncClient, database: Database, before: int, after: int, last: str
) -> None:
    """The transaction begins before the device is silent by either rule, and ends after."""
    await city.put("/v1/cameras/a", json=camera("a"))
    await _patience(city, before)
    await city.post("/v1/states", json=[_report("a", 1.6)])
    heard: dict[str, str] = {}
    rule = text("UPDATE jurisdiction SET stale_after_s = :seconds")
    async with database.open_transaction(WHO) as connection:
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(0.6)
        place = await _heard(database, FeedPosition(0), heard)
        assert heard == {"a": "unknown" if before == 2 else "online"}
        await connection.execute(rule, {"seconds": after})
    await _heard(database, place, heard)
    assert heard == {"a": last} == {"a": (await city.get("/v1/cameras/a")).json()["state"]}


async def test_no_silence_is_told_while_the_rule_is_being_changed(city: httpx.AsyncClient, database: Database) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    await _patience(city, 2)
    await city.post("/v1/states", json=[_report("a", 1.6)])
    heard: dict[str, str] = {}
    place = await _heard(database, FeedPosition(0), heard)
    async with database.open_transaction(WHO) as connection:
        await connection.execute(text("UPDATE jurisdiction SET stale_after_s = 3600"))
        await asyncio.sleep(0.6)
        place = await _heard(database, place, heard)
        assert heard == {"a": "online"}
    await _heard(database, place, heard)
    assert heard == {"a": "online"}


# -- the stream -------------------------------------------------------------------------------------


async def _events(parts: AsyncIterator[str]) -> list[tuple[str, str]]:
    """Return (id, data) of the events of a stream that ends."""
    found = []
    async for part in parts:
        fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields["id"], fields["data"]))
    return found


async def test_a_stream_resumes_where_it_broke(city: httpx.AsyncClient) -> None:
    for number in range(3):
        await city.put(f"/v1/cameras/c{number}", json=camera(f"c{number}"))
    answer = await city.get("/v1/changes/stream?after=0&wait_s=0&kind=camera")
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [dict(line.split(": ", 1) for line in block.splitlines())
              for block in answer.text.split("\n\n") if "event: change" in block]  # fmt: skip
    assert len(blocks) == 3
    resumed = await city.get("/v1/changes/stream?wait_s=0&kind=camera", headers={"Last-Event-ID": blocks[1]["id"]})
    assert resumed.text.count("event: change") == 1
    assert blocks[2]["data"] in resumed.text


async def test_a_stream_begins_now_and_tells_what_comes(city: httpx.AsyncClient, database: Database) -> None:
    await city.put("/v1/cameras/old", json=camera("old"))
    streams = ChangeStreams(database)
    parts = streams.stream_events(ALL, None)
    assert (await anext(parts)).startswith("retry: ")
    waiting = asyncio.ensure_future(anext(parts))
    await city.put("/v1/cameras/new", json=camera("new"))
    assert '"code":"new"' in await asyncio.wait_for(waiting, 10)
    ending = asyncio.ensure_future(anext(parts))
    streams.stop()
    assert "stopping" in await asyncio.wait_for(ending, 5)
    assert await _events(parts) == []


async def test_a_stream_tells_a_silence(city: httpx.AsyncClient, database: Database) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    await city.post("/v1/states", json=[_report("a", 3599)])
    streams = ChangeStreams(database)
    parts = streams.stream_events(ALL, None)
    await anext(parts)
    told = await asyncio.wait_for(anext(parts), 10)
    assert '"derived":true' in told
    assert '"code":"a"' in told
    streams.stop()
