"""Responses are computed once, shared by workers, never outdated, and cancelled when no client waits for them."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from app.access.roles import OPERATOR
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService, SingleFlight
from app.db.engine import Database
from app.errors import ClientDisconnected
from tests.builders import CITY, camera

OpenWorker = Callable[[], AbstractAsyncContextManager[AnalysisService]]


@pytest.fixture
def open_worker(database: Database) -> OpenWorker:
    """Opens workers that share every response, however quickly it was computed."""

    @asynccontextmanager
    async def open_service() -> AsyncIterator[AnalysisService]:
        service = AnalysisService(database)
        service.share_after_s = 0.0
        yield service
        await service.wait_for_writes()
        await service.close()

    return open_service


async def load(
    service: AnalysisService, key: str, build: Callable[[Analysis], dict[str, Any]], *disconnect: Any
) -> bytes:
    return await service.load_response(CITY, OPERATOR, key, build, *disconnect)


def fail_if_built(_: Analysis) -> dict[str, Any]:
    message = "this response was stored already"
    raise AssertionError(message)


async def fetch_stored(database: Database) -> list[tuple[str, int]]:
    async with database.open_connection() as connection:
        rows = await connection.execute(text("SELECT name, revision FROM analysis_answer ORDER BY name"))
        return [(row[0].partition(":")[0], row[1]) for row in rows]


async def test_another_process_uses_the_stored_response(city: httpx.AsyncClient, open_worker: OpenWorker) -> None:
    async with open_worker() as first:
        body = await load(first, "number", lambda _: {"number": 1})
    async with open_worker() as second:
        assert await load(second, "number", fail_if_built) == body
        assert await load(second, "number", fail_if_built) == body


async def test_a_write_outdates_stored_responses_and_deletes_them(
    city: httpx.AsyncClient, database: Database, open_worker: OpenWorker
) -> None:
    async with open_worker() as first:
        for key in ("left", "right"):
            await load(first, key, lambda _: {"round": 1})
    await city.put("/v1/cameras/c-1", json=camera("c-1"))
    async with open_worker() as second:
        body = await load(second, "left", lambda _: {"round": 2})
    assert orjson.loads(body) == {"round": 2}
    assert [name for name, _ in await fetch_stored(database)] == ["left"]


async def test_a_response_ends_when_a_device_becomes_stale(city: httpx.AsyncClient, open_worker: OpenWorker) -> None:
    await city.patch(f"/v1/jurisdictions/{CITY}", json={"stale_after_s": 3})
    await city.put("/v1/cameras/c-1", json=camera("c-1", state="online"))

    def count_stale(analysis: Analysis) -> dict[str, Any]:
        return {"stale": int(analysis.devices.stale.sum())}

    async with open_worker() as service:
        first = await load(service, "stale", count_stale)
        await asyncio.sleep(3.1)
        second = await load(service, "stale", count_stale)
    async with open_worker() as service:
        third = await load(service, "stale", count_stale)
    assert [orjson.loads(body)["stale"] for body in (first, second, third)] == [0, 1, 1]


async def test_concurrent_requests_share_one_computation(city: httpx.AsyncClient, open_worker: OpenWorker) -> None:
    calls = []

    def count_calls(_: Analysis) -> dict[str, Any]:
        calls.append(1)
        return {}

    async with open_worker() as service:
        await asyncio.gather(*(load(service, "once", count_calls) for _ in range(20)))
    assert len(calls) == 1


async def test_a_client_that_disconnects_does_not_wait_and_the_others_get_the_response(
    city: httpx.AsyncClient, open_worker: OpenWorker
) -> None:
    started, may_end, disconnected = threading.Event(), threading.Event(), asyncio.Event()

    def build_slowly(_: Analysis) -> dict[str, Any]:
        started.set()
        may_end.wait(10)
        return {"slow": True}

    async def wait_for_disconnect() -> None:
        await disconnected.wait()

    async with open_worker() as service:
        leaving = asyncio.create_task(load(service, "slow", build_slowly, wait_for_disconnect))
        staying = asyncio.create_task(load(service, "slow", build_slowly))
        await asyncio.to_thread(started.wait, 10)
        disconnected.set()
        with pytest.raises(ClientDisconnected):
            await leaving
        may_end.set()
        assert orjson.loads(await staying) == {"slow": True}


async def test_work_is_cancelled_when_no_client_waits_for_it() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def disconnect() -> None:
        await asyncio.sleep(0)

    with pytest.raises(ClientDisconnected):
        await SingleFlight().run("work", work, disconnect)
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_process_ends_with_its_client_and_the_next_one_can_start(database: Database) -> None:
    service = AnalysisService(database)
    first_pid = await service.run_in_process(os.getpid)
    assert first_pid != os.getpid()

    async def disconnect() -> None:
        await asyncio.sleep(0.05)

    with pytest.raises(ClientDisconnected):
        await service.run_in_process(time.sleep, 600, disconnect=disconnect)
    next_pid = await asyncio.wait_for(service.run_in_process(os.getpid), 60)
    assert next_pid not in (first_pid, os.getpid())  # the process that slept has ended
    with pytest.raises(ProcessLookupError):
        os.kill(first_pid, 0)


async def test_a_failure_reaches_all_callers_and_is_not_cached() -> None:
    flights, tries = SingleFlight(), []

    async def fail() -> None:
        tries.append(1)
        await asyncio.sleep(0)
        raise ValueError

    outcomes = await asyncio.gather(*(flights.run("work", fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    with pytest.raises(ValueError):
        await flights.run("work", fail)
    assert len(tries) == 2


async def test_a_closed_connection_cancels_the_request(
    city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ASGI server sends http.disconnect while the response is computed."""
    app = city._transport.app  # type: ignore[attr-defined]  # httpx's in-process transport
    service: AnalysisService = app.state.analysis
    started, may_end = threading.Event(), threading.Event()
    original = service.load_response

    def build_slowly(_: Analysis) -> dict[str, Any]:
        started.set()
        may_end.wait(10)
        return {}

    async def load_slowly(jurisdiction: str, principal: Any, key: str, _: Any, disconnect: Any) -> bytes:
        return await original(jurisdiction, principal, key, build_slowly, disconnect)

    monkeypatch.setattr(service, "load_response", load_slowly)
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.to_thread(started.wait, 10)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/v1/jurisdictions/{CITY}/coverage",
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"authorization", city.headers["authorization"].encode())],
        "client": ("test", 1),
        "server": ("test", 80),
    }
    await asyncio.wait_for(app(scope, receive, send), 10)
    may_end.set()
    assert messages[0]["status"] == 499
