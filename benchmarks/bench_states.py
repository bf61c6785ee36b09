"""Device states at volume: 100,000 devices, batches of 1,000, one worker, all on this machine.

Every device reports in turn. Told are reports a second over HTTP for heartbeats that change nothing,
for one in a hundred that changes its state, and for NDJSON; beside them the floor: the statement that
writes the same reports, called by the driver with nothing in front of it.

With ``STATES_SOAK_MIN`` in the environment it sends for so many minutes instead, 1 report in 100 with
another state, and tells the rate and the memory of the service for each of them.
"""

import asyncio
import http.client
import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from sqlalchemy import text

from app.access.roles import OPERATOR
from app.db import schema
from app.db.cluster import LocalCluster
from app.db.engine import Database, WriteContext
from app.settings import build_driver_url
from app.states.queries import UPSERT_REPORTS
from benchmarks.bench_service import _key, _running

DEVICES, BATCH = 100_000, 1_000
ROUNDS, BATCHES, CONNECTIONS = 3, 300, 2
PORT = 8393
STATES = ("online", "offline", "fault")
_CAMERAS = text(f"""
INSERT INTO camera (code, jurisdiction, lifecycle, functions, geometry, retention_days)
SELECT '41080000041320' || to_char(n, 'FM000000'), '410800', 'in_use', ARRAY['vehicle'],
       ST_SetSRID(ST_MakePoint(113 + 0.4 * random(), 35 + 0.3 * random()), 4326), 30
FROM generate_series(0, {DEVICES} - 1) AS n
""")


async def _fill(url: str) -> None:
    database = Database(url, statement_timeout_s=600)
    await schema.migrate(database)
    async with database.open_transaction(WriteContext(OPERATOR.name)) as connection:
        await connection.execute(
            text("INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, "
                 "stale_after_s, synthetic) VALUES ('410800', '{}', '{}', '{}', 3600, true)")
        )  # fmt: skip
        await connection.execute(_CAMERAS)
    async with database.engine.connect() as connection:
        bare = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await bare.execute(text("VACUUM ANALYZE camera, change"))
    await database.close()


class Fleet:
    """The devices, each reporting in its turn, every time with a later time."""

    def __init__(self) -> None:
        self._turn = itertools.count()
        self._began = datetime.now(UTC) - timedelta(minutes=10)

    def batch(self, every: int = 0) -> list[dict[str, str]]:
        """Return the next batch; ``every`` n-th device says another state than the time before."""
        turn = next(self._turn)
        rounds, place = divmod(turn, DEVICES // BATCH)
        when = (self._began + timedelta(milliseconds=turn)).isoformat()
        numbers = range(place * BATCH, (place + 1) * BATCH)
        return [
            {
                "kind": "camera",
                "code": f"41080000041320{number:06d}",
                "state": STATES[rounds % 3] if every and number % every == 0 else "online",
                "reported_at": when,
            }
            for number in numbers
        ]


def _json(reports: list[dict[str, str]]) -> bytes:
    return orjson.dumps(reports)


def _ndjson(reports: list[dict[str, str]]) -> bytes:
    return b"\n".join(orjson.dumps(report) for report in reports)


def _send(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> None:
    connection.request("POST", "/v1/states", body, headers)
    answer = connection.getresponse()
    told = orjson.loads(answer.read())
    if answer.status != 200 or told["applied"] != BATCH:
        raise SystemExit(f"{answer.status}: {told}")


def _http_rate(key: str, fleet: Fleet, form: Callable[[list[dict[str, str]]], bytes] = _json, every: int = 0) -> float:
    """Return reports a second; the bodies are made before the clock runs."""
    bodies = [form(fleet.batch(every)) for _ in range(BATCHES)]
    kind = "application/json" if form is _json else "application/x-ndjson"
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}

    def work(mine: list[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        for body in mine:
            _send(connection, body, headers)

    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        # In stretches, so that no device's later report overtakes its earlier one.
        list(pool.map(work, [bodies[number::CONNECTIONS] for number in range(CONNECTIONS)]))
    return BATCHES * BATCH / (time.perf_counter() - began)


def _columns(reports: list[dict[str, str]]) -> list[list[Any]]:
    columns: list[list[Any]] = [[report[name] for report in reports] for name in reports[0]]
    return [*columns[:3], [datetime.fromisoformat(when) for when in columns[3]]]


async def _floor_rate(url: str, fleet: Fleet) -> float:
    """Return reports a second of the bare statement, on as many connections."""
    made = [_columns(fleet.batch()) for _ in range(BATCHES)]
    connections = [await asyncpg.connect(build_driver_url(url)) for _ in range(CONNECTIONS)]

    async def work(number: int) -> None:
        for given in made[number::CONNECTIONS]:
            await connections[number].fetch(UPSERT_REPORTS, *given, None)

    began = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(CONNECTIONS)))
    rate = BATCHES * BATCH / (time.perf_counter() - began)
    for connection in connections:
        await connection.close()
    return rate


def _medians(*measures: Callable[[], float]) -> list[float]:
    """Return the median of each, measured in turns."""
    rates = [[measure() for measure in measures] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*rates, strict=True)]


def _memory(port: int) -> tuple[float, float]:
    """Return MB of the service's processes and of the database's, together."""
    mine = theirs = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_bytes()
            environment = (status.parent / "environ").read_bytes()
            told = status.read_text()
        except OSError:  # it has ended
            continue
        kilobytes = sum(int(line.split()[1]) for line in told.splitlines() if line.startswith("RssAnon"))
        if f"REGISTRY_PORT={port}".encode() in environment:
            mine += kilobytes / 1024
        elif command.startswith(b"postgres"):
            theirs += kilobytes / 1024
    return mine, theirs


def _soak(key: str, minutes: float) -> None:
    """Send for minutes, and print a table row for each."""
    fleet = Fleet()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def work(until: float) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        sent = 0
        while time.perf_counter() < until:
            with turn:  # so that no device's later report overtakes its earlier one by a whole round
                body = _json(fleet.batch(100))
            _send(connection, body, headers)
            sent += BATCH
        return sent

    turn = threading.Lock()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for minute in range(1, int(minutes) + 1):
            began = time.perf_counter()
            sent = sum(pool.map(work, [began + 60] * CONNECTIONS))
            rate = sent / (time.perf_counter() - began)
            mine, theirs = _memory(PORT)
            print(
                f"| states, minute {minute} | {rate:,.0f}/s | service {mine:.0f} MB "
                f"| database {theirs:.0f} MB of its own |",
                flush=True,
            )


def main() -> None:
    """Measure and print table rows."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        data.chmod(0o755)
        cluster = LocalCluster(data)
        cluster.start()
        stack.callback(cluster.stop)
        asyncio.run(_fill(cluster.url))
        stack.enter_context(
            _running(
                [sys.executable, "-m", "app.cli.main", "serve"], f"http://127.0.0.1:{PORT}/readyz",
                REGISTRY_DATABASE_URL=cluster.url, REGISTRY_PORT=str(PORT),
                REGISTRY_DATA_DIR=str(data), REGISTRY_LOG_LEVEL="warning",
            )
        )  # fmt: skip
        key = _key(data, cluster.url)
        if minutes := float(os.environ.get("STATES_SOAK_MIN", "0")):
            _soak(key, minutes)
            return
        fleet = Fleet()
        _http_rate(key, fleet)  # every device has reported before
        heartbeat, changed, lines, floor = _medians(
            lambda: _http_rate(key, fleet),
            lambda: _http_rate(key, fleet, every=100),
            lambda: _http_rate(key, fleet, _ndjson),
            lambda: asyncio.run(_floor_rate(cluster.url, fleet)),
        )
        for name, rate in (
            ("heartbeats, JSON", heartbeat),
            ("the same, 1 in 100 says another state", changed),
            ("heartbeats, NDJSON", lines),
        ):
            print(
                f"| state reports: {name} | the bare statement, {floor:,.0f}/s "
                f"| {rate:,.0f}/s | {rate / floor:.2f}x | 20,000/s |"
            )


if __name__ == "__main__":
    main()
