"""Connections to PostgreSQL: one pool, three ways to use it, and the driver's complaints in our words.

``writing`` is one transaction committed when the block ends well; ``reading`` is single statements
without a transaction; ``snapshot`` is one consistent, read-only view for several statements.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.errors import Unavailable
from app.settings import async_url

CONNECT_TIMEOUT_S = 1.5
_GONE_STATES = ("08", "57P01", "57P02", "57P03", "53300", "40P01", "40001", "57014", "55P03")
"""SQLSTATE prefixes that mean: try again later (away, shutting down, deadlock, time-out)."""


@dataclass(frozen=True)
class WriteContext:
    """Who writes, in which request, and why: passed to the triggers that write the history."""

    actor: str
    request_id: str = ""
    reason: str = ""


class Database:
    """The pool of one process."""

    def __init__(self, url: str, *, pool_size: int = 10, statement_timeout_s: float = 60.0) -> None:
        self.engine = create_async_engine(
            async_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "server_settings": {
                    "application_name": "coverage-registry",
                    "timezone": "UTC",
                    "jit": "off",
                    "statement_timeout": str(int(statement_timeout_s * 1000)),
                    "lock_timeout": "20000",
                    "idle_in_transaction_session_timeout": "120000",
                },
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._frozen = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @asynccontextmanager
    async def writing(self, context: WriteContext) -> AsyncIterator[AsyncConnection]:
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
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection whose every statement stands alone."""
        with _translated():
            async with self._single.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read-only transaction in which every statement sees the same data."""
        with _translated():
            async with self._frozen.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Give every connection back."""
        await self.engine.dispose()


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Take a fresh connection when the server has closed the pooled one; costs no round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class _translated:  # reads as a verb at its uses
    """Turn "the database is away" in all its spellings into ``Unavailable``."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and is_away(error):
            raise Unavailable from error


def is_away(error: BaseException) -> bool:
    """Tell whether an exception means that the database cannot answer now."""
    if isinstance(error, OSError | PoolTimeoutError | asyncio.TimeoutError):
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


def constraint_of(error: DBAPIError) -> str | None:
    """Return the name of the constraint a statement broke, if it broke one."""
    cause: BaseException | None = error.orig
    while cause is not None:
        name = getattr(cause, "constraint_name", None)
        if name:
            return str(name)
        cause = cause.__cause__
    return None
