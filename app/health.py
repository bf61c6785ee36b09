"""Health checks: can the service use its database, and how long does it take."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from app.db import queries as database_queries
from app.db import schema
from app.db.engine import Database, Fetch

TIMEOUT_S = 1.5
"""Time limit of all checks, so that the response is sent within two seconds."""


async def run_checks(database: Database) -> dict[str, dict[str, Any]]:
    """Return the result of every check by name; after a failure the remaining checks fail too."""
    results: dict[str, dict[str, Any]] = {}
    started = perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_S), database.open_probe() as fetch:
            for name, check in _CHECKS.items():
                results[name] = _build_result(await check(fetch), started)
                started = perf_counter()
    except Exception as error:  # any failure means that the service is not ready
        for name in _CHECKS:
            if name not in results:
                results[name] = _build_result((False, type(error).__name__), started)
    return results


def _build_result(outcome: tuple[bool, str], started: float) -> dict[str, Any]:
    ok, detail = outcome
    return {"ok": ok, "detail": detail, "ms": round((perf_counter() - started) * 1000, 2)}


async def _check_database(fetch: Fetch) -> tuple[bool, str]:
    return True, await database_queries.fetch_server_version(fetch)


async def _check_postgis(fetch: Fetch) -> tuple[bool, str]:
    version = await database_queries.fetch_postgis_version(fetch)
    return version is not None, version or "the extension is not installed"


async def _check_migrations(fetch: Fetch) -> tuple[bool, str]:
    revision = await database_queries.fetch_schema_revision(fetch)
    return revision == schema.head(), f"at {revision}, head is {schema.head()}"


_CHECKS: dict[str, Callable[[Fetch], Awaitable[tuple[bool, str]]]] = {
    "database": _check_database,
    "postgis": _check_postgis,
    "migrations": _check_migrations,
}
