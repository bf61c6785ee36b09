"""AnalysisService are made once, shared by workers, never outdated, and given up when nobody waits."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from app.access.roles import OPERATOR
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService, SingleFlight
from app.db.engine import Database
from app.errors import Abandoned
from tests import builders

Opened = Callable[[], Any]


@pytest.fixture
def worker(database: Database) -> Opened:
    """Opens workers that share every answer, however quickly it was made."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[AnalysisService]:
        answers = AnalysisService(database)
        answers.share_after_s = 0.0
        yield answers
        await answers.wait_for_writes()
        await answers.close()

    return opened


def _never(_: Analysis) -> dict[str, Any]:
    msg = "this answer was there already"
    raise AssertionError(msg)


async def _rows(database: Database) -> list[tuple[str, int]]:
    async with database.reading() as connection:
        rows = await connection.execute(text("SELECT name, revision FROM analysis_answer ORDER BY name"))
        return [(row[0].partition(":")[0], row[1]) for row in rows]


async def test_what_one_worker_made_the_next_process_finds(
    city: httpx.AsyncClient, database: Database, worker: Opened
) -> None:
    async with worker() as first:
        made = await first.load_response(builders.CITY, OPERATOR, "told", lambda _: {"told": 1})
    async with worker() as second:
        assert await second.load_response(builders.CITY, OPERATOR, "told", _never) == made
        assert await second.load_response(builders.CITY, OPERATOR, "told", _never) == made


async def test_a_write_outdates_it_and_old_answers_go(
    city: httpx.AsyncClient, database: Database, worker: Opened
) -> None:
    async with worker() as first:
        for name in ("one", "two"):
            await first.load_response(builders.CITY, OPERATOR, name, lambda _: {"round": 1})
    await city.put("/v1/cameras/c-1", json=builders.camera("c-1"))
    async with worker() as second:
        body = await second.load_response(builders.CITY, OPERATOR, "one", lambda _: {"round": 2})
    assert orjson.loads(body) == {"round": 2}
    assert [name for name, _ in await _rows(database)] == ["one"]


async def test_an_answer_ends_when_a_device_goes_silent(
    city: httpx.AsyncClient, database: Database, worker: Opened
) -> None:
    await city.patch(f"/v1/jurisdictions/{builders.CITY}", json={"stale_after_s": 1})
    await city.put("/v1/cameras/c-1", json=builders.camera("c-1", state="online"))

    def working(found: Analysis) -> dict[str, Any]:
        return {"stale": int(found.devices.stale.sum())}

    async with worker() as answers:
        first = await answers.load_response(builders.CITY, OPERATOR, "silent", working)
        await asyncio.sleep(1.1)
        second = await answers.load_response(builders.CITY, OPERATOR, "silent", working)
    async with worker() as other:
        third = await other.load_response(builders.CITY, OPERATOR, "silent", working)
    assert [orjson.loads(body)["stale"] for body in (first, second, third)] == [0, 1, 1]


async def test_many_who_ask_at_once_wait_for_one(city: httpx.AsyncClient, worker: Opened) -> None:
    made = []

    def once(_: Analysis) -> dict[str, Any]:
        made.append(1)
        return {}

    async with worker() as answers:
        await asyncio.gather(*(answers.load_response(builders.CITY, OPERATOR, "once", once) for _ in range(20)))
    assert len(made) == 1


async def test_who_leaves_waits_no_longer_and_the_others_get_their_answer(
    city: httpx.AsyncClient, worker: Opened
) -> None:
    started, go_on, left = threading.Event(), threading.Event(), asyncio.Event()

    def slow(_: Analysis) -> dict[str, Any]:
        started.set()
        go_on.wait(10)
        return {"slow": True}

    async def leave() -> None:
        await left.wait()

    async with worker() as answers:
        impatient = asyncio.create_task(answers.load_response(builders.CITY, OPERATOR, "slow", slow, leave))
        patient = asyncio.create_task(answers.load_response(builders.CITY, OPERATOR, "slow", slow))
        await asyncio.to_thread(started.wait, 10)
        left.set()
        with pytest.raises(Abandoned):
            await impatient
        go_on.set()
        assert orjson.loads(await patient) == {"slow": True}


async def test_work_nobody_waits_for_is_given_up() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def at_once() -> None:
        await asyncio.sleep(0)

    with pytest.raises(Abandoned):
        await SingleFlight().run("it", work, at_once)
    await asyncio.wait_for(ended.wait(), 5)


async def test_slow_work_ends_with_its_caller_and_gives_its_turn_away(database: Database) -> None:
    answers = AnalysisService(database)
    own = await answers.run_in_process(os.getpid)
    assert own != os.getpid()

    async def at_once() -> None:
        await asyncio.sleep(0.05)

    with pytest.raises(Abandoned):
        await answers.run_in_process(time.sleep, 600, disconnect=at_once)
    next_one = await asyncio.wait_for(answers.run_in_process(os.getpid), 60)
    assert next_one not in (own, os.getpid())  # the process that slept is gone
    with pytest.raises(ProcessLookupError):
        os.kill(own, 0)


async def test_a_failure_reaches_everyone_and_is_not_kept() -> None:
    flights, tries = SingleFlight(), []

    async def fail() -> None:
        tries.append(1)
        await asyncio.sleep(0)
        raise ValueError

    outcomes = await asyncio.gather(*(flights.run("it", fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    with pytest.raises(ValueError):
        await flights.run("it", fail)
    assert len(tries) == 2


async def test_a_closed_connection_is_noticed(city: httpx.AsyncClient) -> None:
    """The ASGI server says http.disconnect while the answer is being made."""
    app = city._transport.app  # type: ignore[attr-defined]  # httpx's in-process transport
    started, go_on = threading.Event(), threading.Event()
    original = app.state.answers.load_response

    def slow(_: Analysis) -> dict[str, Any]:
        started.set()
        go_on.wait(10)
        return {}

    async def load_response(jurisdiction: str, principal: Any, key: str, _: Any, disconnect: Any) -> bytes:
        body: bytes = await original(jurisdiction, principal, key, slow, disconnect)
        return body

    app.state.answers.load_response = load_response
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.to_thread(started.wait, 10)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"authorization", city.headers["authorization"].encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": f"/v1/jurisdictions/{builders.CITY}/coverage", "raw_path": b"",
        "query_string": b"", "headers": headers, "client": ("test", 1), "server": ("test", 80),
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 10)
    go_on.set()
    assert sent[0]["status"] == 499
