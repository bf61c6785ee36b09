"""Connections to PostgreSQL, and the errors of the driver as errors of the service.

``open_transaction`` is committed when its block ends without an error; ``open_connection`` runs single statements
without a transaction; ``open_snapshot`` is a read-only transaction in which all statements see the same data. ``fetch``
gives one statement directly to the driver, for the most frequent reads (ADR 7).
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
from app.messages import Message
from app.settings import build_driver_url

CONNECT_TIMEOUT_S = 1.5
POOL_TIMEOUT_S = 10.0
_UNAVAILABLE_STATES = ("08", "57P01", "57P02", "57P03", "53300", "40P01", "40001", "57014", "55P03")
"""SQLSTATE prefixes of errors that may pass: not reachable, shutting down, deadlock, time-out."""
_UNREACHABLE = (
    *(OSError, TimeoutError, PoolTimeoutError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,  # raised while the server closes the connection
)


Fetch = Callable[..., Awaitable[Sequence[Any]]]
"""Runs one statement with positional parameters (``$1``, ``$2``) and returns its rows."""


@dataclass(frozen=True)
class WriteContext:
    """The principal, the request and the reason of a write; the triggers record them in the history."""

    actor: str
    request_id: str = ""
    reason: str = ""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection of the driver that keeps its plan mode."""

    _replans = False

    async def set_plan_mode(self, *, replan: bool) -> None:
        """Let PostgreSQL plan each statement for its values, or reuse plans; costs a round trip only for a change."""
        if replan != self._replans:
            mode = "force_custom_plan" if replan else "auto"
            await self.execute(f"SET plan_cache_mode = {mode}")
            self._replans = replan


class Database:
    """The connection pools of one process."""

    def __init__(self, url: str, *, pool_size: int = 10, statement_timeout_s: float = 60.0) -> None:
        options: dict[str, Any] = {
            "timeout": CONNECT_TIMEOUT_S,
            # The server ends long statements itself. This is for a server that does not respond any more.
            "command_timeout": statement_timeout_s + 5,
            "server_settings": {
                "application_name": "coverage-registry",
                "timezone": "UTC",
                "jit": "off",
                # Starting parallel workers takes longer than most of our statements.
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
        self._create_pool = partial(
            asyncpg.create_pool,
            build_driver_url(url),
            min_size=0,
            max_size=pool_size,
            connection_class=_Connection,
            reset=_reset_nothing,
            **options,
        )
        self._pool: Any = None
        self._pool_lock = asyncio.Lock()
        event.listen(self.engine.sync_engine, "checkout", _check_open)
        self._autocommit_engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshot_engine = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @asynccontextmanager
    async def open_transaction(self, context: WriteContext) -> AsyncIterator[AsyncConnection]:
        """Open a transaction; commit it when the block ends, roll it back after an error."""
        with _ErrorTranslation():
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
        """Open a connection for single statements, without a transaction."""
        with _ErrorTranslation():
            async with self._autocommit_engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def open_snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read-only transaction in which every statement sees the same data."""
        with _ErrorTranslation():
            async with self._snapshot_engine.begin() as connection:
                yield connection

    async def fetch(self, statement: str, *parameters: Any, replan: bool = False) -> Sequence[Any]:
        """Run one statement and return its rows.

        Parameters
        ----------
        replan : bool
            Plan the statement for its values. By default PostgreSQL reuses one plan for all values of a frequent
            statement, which is slow where the best plan depends on them, for example on the size of a box.
        """
        with _ErrorTranslation():
            pool = self._pool or await self._open_pool()
            async with pool.acquire(timeout=POOL_TIMEOUT_S) as connection:
                await connection.set_plan_mode(replan=replan)
                rows: Sequence[Any] = await connection.fetch(statement, *parameters)
                return rows

    async def fetch_with_timeout(
        self, timeout_s: float, statement: str, *parameters: Any, replan: bool = False
    ) -> Sequence[Any]:
        """Run one statement as ``fetch`` does.

        Raises
        ------
        BadQuery
            when it takes longer than ``timeout_s``.
        """
        with _ErrorTranslation():
            pool = self._pool or await self._open_pool()
            async with pool.acquire(timeout=POOL_TIMEOUT_S) as connection:
                await connection.set_plan_mode(replan=replan)
                try:
                    rows: Sequence[Any] = await connection.fetch(statement, *parameters, timeout=timeout_s)
                except TimeoutError as error:
                    raise _build_too_expensive(timeout_s) from error
                return rows

    @asynccontextmanager
    async def open_probe(self) -> AsyncIterator[Fetch]:
        """Open a connection outside the pools, for health checks: it works also when the pools are exhausted.

        It is terminated, not closed: a database that does not respond cannot block the caller.
        """
        connection = await self._connect()
        try:
            yield connection.fetch
        finally:
            connection.terminate()

    async def _open_pool(self) -> Any:
        """Return the pool of the driver, created at its first use because it belongs to the running event loop."""
        async with self._pool_lock:
            if self._pool is None:
                self._pool = await self._create_pool()
        return self._pool

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
        if self._pool is not None:
            self._pool.terminate()


async def _reset_nothing(_connection: object) -> None:
    """Do nothing: single statements leave nothing to reset, and a reset costs a round trip."""


async def get_fetch(connection: AsyncConnection) -> Fetch:
    """Return a ``fetch`` that runs inside the transaction of a connection."""
    raw_connection = await connection.get_raw_connection()
    driver_connection: Any = raw_connection.driver_connection
    fetch: Fetch = driver_connection.fetch
    return fetch


def _build_too_expensive(timeout_s: float) -> BadQuery:
    message = Message(
        "The query took longer than {seconds:g} s. Request fewer features, or filter by an indexed property.",
        seconds=timeout_s,
    )
    return BadQuery(message, parameter="filter", code="query-too-expensive")


def _check_open(connection: Any, _record: object, _proxy: object) -> None:
    """Raise DisconnectionError if the server has closed a pooled connection, so that the pool opens another."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class _ErrorTranslation:
    """A block in which every error that means "the database is not reachable" becomes ``Unavailable``."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and is_unreachable(error):
            raise Unavailable from error


def is_unreachable(error: BaseException) -> bool:
    """Return whether an exception means that the database cannot respond now."""
    if isinstance(error, _UNREACHABLE):
        return True
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return (
            error.connection_invalidated
            or isinstance(error, InterfaceError | OperationalError)
            or state.startswith(_UNAVAILABLE_STATES)
        )
    state = str(getattr(error, "sqlstate", None) or "")
    return bool(state) and state.startswith(_UNAVAILABLE_STATES)


def find_constraint(error: DBAPIError) -> str | None:
    """Return the name of the constraint that a statement violated, None if it violated none."""
    cause: BaseException | None = error.orig
    while cause is not None:
        name = getattr(cause, "constraint_name", None)
        if name:
            return str(name)
        cause = cause.__cause__
    return None
