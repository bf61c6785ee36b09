"""Imports that are cancelled, interrupted, concurrent or without disk space: all or nothing is written."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.http import uploads
from app.imports.queries import staging as staging_queries
from tests import builders
from tests.builders import KeyFor, Serve
from tests.imports.files import brought, cameras, row, rows_of, send, table

Real = Callable[..., Awaitable[None]]


@asynccontextmanager
async def held(
    client: httpx.AsyncClient, count: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Give an import that waits in the middle of its third batch, and what lets it go on."""
    reached, going, real = asyncio.Event(), asyncio.Event(), staging_queries.write_records
    batches = 0

    async def waiting(*given: Any, **more: Any) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            reached.set()
            await going.wait()
        await real(*given, **more)

    monkeypatch.setattr("app.imports.transaction.BATCH_ROWS", 5)
    monkeypatch.setattr(staging_queries, "write_records", waiting)
    url = f"/v1/imports?kind=camera&jurisdiction={builders.CITY}&name=held.csv"
    response = await client.post(url, content=cameras(count))
    assert response.status_code == 202, response.text
    await asyncio.wait_for(reached.wait(), 30)
    monkeypatch.setattr(staging_queries, "write_records", real)
    yield response.json()["links"]["self"], going
    going.set()


async def at_row(client: httpx.AsyncClient, url: str, count: int) -> builders.Json:
    """Return a job once a number of rows is counted, shortly after they are written."""
    job: builders.Json = {}
    for _ in range(300):
        job = (await client.get(url)).json()
        if job["counts"]["rows"] == count:
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(job)


async def ended(client: httpx.AsyncClient, url: str) -> builders.Json:
    """Return a job at its end."""
    job: builders.Json = {}
    for _ in range(3000):
        job = (await client.get(url)).json()
        if job["finished_at"]:
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(job)


async def test_cancelled_in_the_middle_nothing_is_written(
    city: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await builders.contents(database)
    async with held(city, 20, monkeypatch) as (url, going):
        seen = await at_row(city, url, 5)
        assert (seen["state"], seen["progress"]) == ("applying", 0.25)
        assert (await city.post(url + ":cancel")).status_code == 200
        going.set()
        job = await ended(city, url)
    assert (job["state"], job["problem"]["code"], job["written"]) == (
        "cancelled",
        "cancelled",
        False,
    )
    counts = job["counts"]
    assert counts["created"] == counts["updated"] == counts["removed"] == 0
    assert counts["not_written"] == counts["rows"] >= 5
    assert {item["status"] for item in await rows_of(city, job)} == {"not_written"}
    assert len(await rows_of(city, job, "not_written")) == counts["rows"]
    assert await rows_of(city, job, "created") == []
    assert await builders.contents(database) == before


async def test_cut_off_from_the_database_nothing_is_written(
    city: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await builders.contents(database)
    async with held(city, 20, monkeypatch) as (url, going):
        async with database.engine.begin() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                    "AND xact_start IS NOT NULL AND backend_type = 'client backend'"
                )
            )
        going.set()
        job = await ended(city, url)
    assert (job["state"], job["problem"]["code"]) == ("failed", "unavailable")
    assert await builders.contents(database) == before
    assert (await brought(city, cameras(20)))["counts"]["created"] == 20


async def test_the_next_import_of_the_jurisdiction_waits_its_turn(
    city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held(city, 20, monkeypatch) as (url, going):
        response = await city.post(f"/v1/imports?kind=camera&jurisdiction={builders.CITY}", content=cameras(20))
        second = response.json()["links"]["self"]
        await asyncio.sleep(0.5)
        assert (await city.get(second)).json()["state"] == "received"
        going.set()
        first, then = await ended(city, url), await ended(city, second)
    assert (first["counts"]["created"], then["counts"]["unchanged"]) == (20, 20)


async def test_an_import_that_waits_can_be_cancelled(city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with held(city, 20, monkeypatch) as (url, going):
        rows = [row(0, jurisdiction=builders.CITY)]  # any jurisdiction: waits for all others
        response = await city.post("/v1/imports?kind=camera&name=x.csv", content=table(rows))
        waiting = response.json()["links"]["self"]
        assert (await city.post(waiting + ":cancel")).status_code == 200
        assert (await ended(city, waiting))["state"] == "cancelled"
        going.set()
        assert (await ended(city, url))["state"] == "done"


async def test_another_worker_answers_for_it_and_lets_it_live(
    city: httpx.AsyncClient, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held(city, 20, monkeypatch) as (url, going), serve() as expected:
        expected.headers.update(city.headers)
        seen = (await expected.get(url)).json()
        assert (seen["state"], seen["problem"]) == ("applying", None)
        assert len(await rows_of(expected, seen)) == 5
        assert (await expected.post(url + ":cancel")).status_code == 200
        going.set()
        assert (await ended(expected, url))["state"] == "cancelled"


async def test_a_worker_that_stops_leaves_a_failed_import(
    serve: Serve, key_for: KeyFor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await key_for("admin")
    async with AsyncExitStack() as afterwards, serve() as stopping:
        stopping.headers.update(key)
        body = builders.jurisdiction()
        await stopping.put(f"/v1/jurisdictions/{builders.CITY}", json=body)
        before = await builders.contents(database)
        url, _ = await afterwards.enter_async_context(held(stopping, 20, monkeypatch))
    async with serve() as after:
        after.headers.update(key)
        job = (await after.get(url)).json()
    assert (job["state"], job["problem"]["code"]) == ("failed", "interrupted")
    assert await builders.contents(database) == before


async def test_a_job_whose_worker_vanished_is_found_dead(city: httpx.AsyncClient, database: Database) -> None:
    job = await brought(city, cameras(1))
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE import_job SET state = 'applying', finished_at = NULL, worker = 'gone'"))
    result = (await city.get(job["links"]["self"])).json()
    assert (result["state"], result["problem"]["code"]) == ("failed", "interrupted")


async def test_a_full_disk(city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def full(_sink: object, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads._UploadFile, "_write_bytes", full)
    response = await send(city, cameras(1))
    assert (response.status_code, response.json()["code"]) == (507, "no-space")
    assert list((tmp_path / "imports").iterdir()) == []


async def test_files_are_gone_when_their_import_is_over(city: httpx.AsyncClient, tmp_path: Any) -> None:
    await brought(city, cameras(1))
    await send(city, b"")
    await send(city, cameras(1), kind="nothing")
    assert list((tmp_path / "imports").iterdir()) == []
