"""Connections to PostgreSQL: four ways to use them, and the driver's complaints in our words.

``open_transaction`` is one transaction committed when the block ends well; ``open_connection`` is single statements
without a transaction; ``open_snapshot`` is one consistent, read-only view for several statements. ``fetch``
is one statement straight to the driver, for the few reads that are asked for most (see ADR 7).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.errors import BadQuery, Unavailable
from app.settings import build_driver_url

CONNECT_TIMEOUT_S = 1.5
POOL_TIMEOUT_S = 10.0
_GONE_STATES = ("08", "57P01", "57P02", "57P03", "53300", "40P01", "40001", "57014", "55P03")
"""SQLSTATE prefixes that mean: try again later (away, shutting down, deadlock, time-out)."""
_UNREACHABLE = (
    *(OSError, TimeoutError, PoolTimeoutError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,  # asked in the moment between the server's last word and its end
)


Fetch = Callable[..., Awaitable[Sequence[Any]]]
"""Runs one statement with positional parameters (``$1``, ``$2``) and returns its rows."""


@dataclass(frozen=True)
class WriteContext:
    """Who writes, in which request, and why: passed to the triggers that write the history."""

    actor: str
    request_id: str = ""
    reason: str = ""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection of the driver that knows how PostgreSQL plans its statements."""

    _anew = False

    async def plan_anew(self, *, anew: bool) -> None:
        """Plan each time, or only once; asks the server only when that is not so already."""
        if anew != self._anew:
            mode = "force_custom_plan" if anew else "auto"
            await self.execute(f"SET plan_cache_mode = {mode}")
            self._anew = anew


class Database:
    """The pool of one process."""

    def __init__(self, url: str, *, pool_size: int = 10, statement_timeout_s: float = 60.0) -> None:
        options: dict[str, Any] = {
            "timeout": CONNECT_TIMEOUT_S,
            # The server ends long statements itself; this is for one that cannot be heard any more.
            "command_timeout": statement_timeout_s + 5,
            "server_settings": {
                "application_name": "coverage-registry",
                "timezone": "UTC",
                "jit": "off",
                # Starting workers takes longer than most of our statements, and there are few cores.
                "max_parallel_workers_per_gather": "0",
                "statement_timeout": str(int(statement_timeout_s * 1000)),
                "lock_timeout": "20000",
                "idle_in_transaction_session_timeout": "120000",
            },
        }
        self._connect = partial(asyncpg.connect, build_driver_url(url), **options)
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,  # so that the driver alone reads the URL
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
        )
        self._make_pool = partial(
            asyncpg.create_pool,
            build_driver_url(url),
            min_size=0,
            max_size=pool_size,
            connection_class=_Connection,
            reset=_nothing_to_reset,
            **options,
        )
        self._pool: Any = None
        self._opening = asyncio.Lock()
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._frozen = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @asynccontextmanager
    async def open_transaction(self, context: WriteContext) -> AsyncIterator[AsyncConnection]:
        """Open one transaction; commit it when the block ends, roll back on any error."""
        with _translated():
            async with self.engine.begin() as connection:
                await connection.execute(
                    text(
                        "SELECT set_config('registry.actor', :actor, true), "
                        "set_config('registry.request_id', :request_id, true), "
                        "set_config('registry.reason', :reason, true)"
                    ),
                    {
                        "actor": context.actor,
                        "request_id": context.request_id,
                        "reason": context.reason,
                    },
                )
                yield connection

    @asynccontextmanager
    async def open_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection whose every statement stands alone."""
        with _translated():
            async with self._single.connect() as connection:
                yield connection

    @asynccontextmanager
    async def open_snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read-only transaction in which every statement sees the same data."""
        with _translated():
            async with self._frozen.begin() as connection:
                yield connection

    async def fetch(self, statement: str, *parameters: Any, replan: bool = False) -> Sequence[Any]:
        """Run one statement by itself and return its rows.

        PostgreSQL plans a statement that comes again and again without looking at its values. Where the
        best plan depends on them, as it does on the size of a box, ``anew`` has it planned each time.
        """
        with _translated():
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=POOL_TIMEOUT_S) as connection:
                await connection.plan_anew(anew=replan)
                rows: Sequence[Any] = await connection.fetch(statement, *parameters)
                return rows

    async def fetch_with_timeout(
        self, timeout_s: float, statement: str, *parameters: Any, replan: bool = False
    ) -> Sequence[Any]:
        """Run one statement by itself, cut off when it takes too long; ``anew`` as in ``fetch``.

        Raises
        ------
        BadQuery
            when it takes longer than ``timeout_s``: the caller asked for too much.
        """
        with _translated():
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=POOL_TIMEOUT_S) as connection:
                await connection.plan_anew(anew=replan)
                try:
                    rows: Sequence[Any] = await connection.fetch(statement, *parameters, timeout=timeout_s)
                except TimeoutError as error:
                    raise _too_expensive(timeout_s) from error
                return rows

    @asynccontextmanager
    async def open_probe(self) -> AsyncIterator[Fetch]:
        """Open a connection beside the pools: it tells of the database, however busy the pools.

        It is cut off, not closed, so that a database that hangs cannot hold the caller back.
        """
        connection = await self._connect()
        try:
            yield connection.fetch
        finally:
            connection.terminate()

    async def _open(self) -> Any:
        """Open the direct pool at its first use: it belongs to the loop that runs then."""
        async with self._opening:
            if self._pool is None:
                self._pool = await self._make_pool()
        return self._pool

    async def close(self) -> None:
        """Give every connection back."""
        await self.engine.dispose()
        if self._pool is not None:
            self._pool.terminate()


async def _nothing_to_reset(_connection: object) -> None:
    """Save the round trip that puts a connection in order: single statements leave it so."""


async def get_fetch(connection: AsyncConnection) -> Fetch:
    """Return a ``fetch`` that runs inside the transaction of a connection."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    fetch: Fetch = driver.fetch
    return fetch


def _too_expensive(timeout_s: float) -> BadQuery:
    return BadQuery(
        f"The query took longer than {timeout_s:g} s: ask for less, or by an indexed property.",
        parameter="filter",
        code="query-too-expensive",
    )


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Take a fresh connection when the server has closed the pooled one; costs no round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class _translated:  # reads as a verb at its uses
    """Turn "the database is away" in all its spellings into ``Unavailable``."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and is_unreachable(error):
            raise Unavailable from error


def is_unreachable(error: BaseException) -> bool:
    """Tell whether an exception means that the database cannot answer now."""
    if isinstance(error, _UNREACHABLE):
        return True
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return (
            error.connection_invalidated
            or isinstance(error, InterfaceError | OperationalError)
            or state.startswith(_GONE_STATES)
        )
    state = str(getattr(error, "sqlstate", None) or "")
    return bool(state) and state.startswith(_GONE_STATES)


def find_constraint(error: DBAPIError) -> str | None:
    """Return the name of the constraint a statement broke, if it broke one."""
    cause: BaseException | None = error.orig
    while cause is not None:
        name = getattr(cause, "constraint_name", None)
        if name:
            return str(name)
        cause = cause.__cause__
    return None
