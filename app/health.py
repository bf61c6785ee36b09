"""Whether the service can answer: each check with its outcome and its time."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from app.db import queries as database_queries
from app.db import schema
from app.db.engine import Database, Fetch

LIMIT_S = 1.5
"""A check that takes longer has failed; leaves room to answer within two seconds."""


async def run_checks(database: Database) -> dict[str, dict[str, Any]]:
    """Return every check by name; after a failure the ones that depend on it fail too."""
    done: dict[str, dict[str, Any]] = {}
    began = perf_counter()
    try:
        async with asyncio.timeout(LIMIT_S), database.open_probe() as fetch:
            for name, check in _CHECKS.items():
                done[name] = _outcome(await check(fetch), began)
                began = perf_counter()
    except Exception as error:  # any failure means: not ready
        for name in _CHECKS:
            if name not in done:
                done[name] = _outcome((False, type(error).__name__), began)
    return done


def _outcome(found: tuple[bool, str], began: float) -> dict[str, Any]:
    ok, detail = found
    return {"ok": ok, "detail": detail, "ms": round((perf_counter() - began) * 1000, 2)}


async def _database(fetch: Fetch) -> tuple[bool, str]:
    return True, await database_queries.fetch_server_version(fetch)


async def _postgis(fetch: Fetch) -> tuple[bool, str]:
    found = await database_queries.fetch_postgis_version(fetch)
    return found is not None, found or "the extension is not installed"


async def _migrations(fetch: Fetch) -> tuple[bool, str]:
    found = await database_queries.fetch_schema_revision(fetch)
    return found == schema.head(), f"at {found}, head is {schema.head()}"


_CHECKS: dict[str, Callable[[Fetch], Awaitable[tuple[bool, str]]]] = {
    "database": _database,
    "postgis": _postgis,
    "migrations": _migrations,
}
