"""The change feed: all changes in order, as pages and as a stream of server-sent events.

A position in the feed is a sequence number of the history and, once a reader has all entries, the time
up to which it has the devices that became stale. Each entry is delivered at least once. The last entry
of a device has its present state: an entry of a stale device comes before the report that ends it and
after the report that precedes it.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from time import monotonic
from typing import Final

from pydantic import BaseModel, Field
from typing_extensions import override

from app.access.roles import Principal
from app.changes import queries as change_queries
from app.changes.queries import ChangeQuery, FeedEntry, StalePosition
from app.cursors import decode_cursor, encode_cursor
from app.db.engine import Database
from app.errors import InvalidQuery
from app.messages import Message
from app.records.drafts import HistoryEntry
from app.records.kinds import KINDS

POLL_INTERVAL_S: Final = 1.0
KEEP_ALIVE_S: Final = 15.0
_STREAM_PAGE_SIZE: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SEQUENCE: Final = re.compile(r"[0-9]{1,18}")
_CURSOR: Final = re.compile(r"([0-9]{1,18}) ([0-9]{1,17}) ([a-z_]{0,20}) ([A-Za-z0-9._:\-]{0,64})")


class Change(HistoryEntry):
    """One change of one record, or a device that became stale."""

    jurisdiction: str
    kind: str
    code: str


class ChangePage(BaseModel):
    """A page of changes in order, and the cursor of the next page."""

    items: list[Change]
    more: bool = Field(description="True if more changes exist; otherwise request again later.")
    cursor: str = Field(description="Cursor of the next page, for `?after=`. Opaque.")
    next: str = Field(description="URL of the next page; never null, because the feed has no end.")


@dataclass(frozen=True)
class FeedPosition:
    """The position of a reader in the feed."""

    seq: int
    stale: StalePosition | None = None

    @override
    def __str__(self) -> str:
        if self.stale is None:
            return str(self.seq)
        microseconds = (self.stale.instant - _EPOCH) // _MICROSECOND
        return encode_cursor(f"{self.seq} {microseconds} {self.stale.kind} {self.stale.code}")


def parse_position(text: str, parameter: str = "after") -> FeedPosition:
    """Return the position of a sequence number or a cursor.

    Raises
    ------
    InvalidQuery
        if the text is neither.
    """
    if _SEQUENCE.fullmatch(text):
        return FeedPosition(int(text))
    match = _CURSOR.fullmatch(decode_cursor(text, parameter=parameter))
    if match is not None:
        with suppress(OverflowError):
            instant = _EPOCH + int(match[2]) * _MICROSECOND
            return FeedPosition(int(match[1]), StalePosition(instant, match[3], match[4]))
    message = Message("Invalid position {text!r}. Send a sequence number, or the cursor of a page.", text=text)
    raise InvalidQuery(message, parameter=parameter)


@dataclass(frozen=True)
class FeedPage:
    """Some entries, each with the position after it, and the position after the page."""

    entries: list[tuple[FeedPosition, str]]
    after: FeedPosition
    more: bool


def build_query(principal: Principal, jurisdiction: str | None, kind: str | None) -> ChangeQuery:
    """Return the query for the changes that a caller may see and asks for.

    Raises
    ------
    NotFound
        if the jurisdiction is outside the caller's scope.
    """
    if jurisdiction is not None:
        principal.require_role_in("analyst", [jurisdiction])
    scope = principal.require_scope("analyst")
    restricted = (
        set() if principal.sees_restricted else {name for record_kind in KINDS for name in record_kind.restricted}
    )
    return ChangeQuery(scope, sorted(restricted), jurisdiction, kind)


async def load_page(database: Database, query: ChangeQuery, start: FeedPosition, limit: int) -> FeedPage:
    """Return the next entries of the feed.

    Entries with the same sequence number are on one page, so a page may have two more than the limit.
    """
    horizon = await change_queries.fetch_horizon(database.fetch)
    async with database.open_connection() as connection:
        stale = start.stale or StalePosition(await change_queries.fetch_change_time(connection, start.seq) or _EPOCH)
        rows = await change_queries.fetch_entries(connection, query, start.seq, horizon.seq, stale, limit + 1)
        entries = [(FeedPosition(seq, stale), body) for seq, body in _select_complete(rows, limit)]
        if len(entries) < len(rows):
            return FeedPage(entries, entries[-1][0], True)
        settled = FeedPosition(max(start.seq, horizon.seq), stale)
        remaining = limit - len(entries)
        if remaining <= 0:
            return FeedPage(entries, settled, True)
        stale_entries = await change_queries.fetch_stale_entries(connection, query, horizon, stale, remaining + 1)
    if stale_entries is None:
        return FeedPage(entries, settled, False)
    entries += [(replace(settled, stale=row.stale), row.body) for row in stale_entries[:remaining]]
    if len(stale_entries) > remaining:
        return FeedPage(entries, entries[-1][0], True)
    passed = stale if stale.instant >= horizon.instant else StalePosition(horizon.instant)
    return FeedPage(entries, replace(settled, stale=passed), False)


def _select_complete(rows: list[FeedEntry], limit: int) -> list[tuple[int, str]]:
    """Return entries up to the limit with the sequence number after each; a number is complete or absent.

    Between the entries of one number the position is still before it, so that a reader that stops there
    gets them again.
    """
    selected: list[tuple[int, str]] = []
    for seq, group in groupby(rows, lambda row: row.seq or 0):
        bodies = [row.body for row in group]
        if selected and len(selected) + len(bodies) > limit:
            break
        selected += [(seq - 1, body) for body in bodies[:-1]] + [(seq, bodies[-1])]
    return selected


class ChangeStreams:
    """The open streams of one process; they end when the process stops."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every stream."""
        self._stopping.set()

    async def stream_events(
        self, query: ChangeQuery, start: FeedPosition | None, wait_s: float | None = None
    ) -> AsyncIterator[str]:
        """Yield the feed as server-sent events, from a position or from now on.

        With ``wait_s``, the stream ends if there is no event for that many seconds.
        """
        if start is None:
            horizon = await change_queries.fetch_horizon(self._database.fetch)
            start = FeedPosition(horizon.seq, StalePosition(horizon.instant))
        yield f"retry: 2000\nid: {start}\n\n"
        position, last_event = start, monotonic()
        last_output = last_event
        quiet_until: datetime | None = None
        while not self._stopping.is_set():
            page = await self._load_new_page(query, position, quiet_until)
            for after, body in () if page is None else page.entries:
                yield f"id: {after}\nevent: change\ndata: {body}\n\n"
                last_event = last_output = monotonic()
            if page is not None:
                position = page.after
                if page.more:
                    continue
                quiet_until = await self._fetch_quiet_until(position)
            if wait_s is not None and monotonic() - last_event >= wait_s:
                return
            if monotonic() - last_output > KEEP_ALIVE_S:
                last_output = monotonic()
                yield f"id: {position}\n: still here\n\n"
            await self._wait_for_poll()
        yield ": the service is stopping\n\n"

    async def _load_new_page(
        self, query: ChangeQuery, position: FeedPosition, quiet_until: datetime | None
    ) -> FeedPage | None:
        """Return the next page, None if nothing can be new."""
        if quiet_until is not None:
            horizon = await change_queries.fetch_horizon(self._database.fetch)
            if horizon.seq <= position.seq and horizon.instant <= quiet_until:
                return None
        return await load_page(self._database, query, position, _STREAM_PAGE_SIZE)

    async def _fetch_quiet_until(self, position: FeedPosition) -> datetime | None:
        """Return the time until which no device becomes stale unless an entry comes first."""
        if position.stale is None:
            return None
        async with self._database.open_connection() as connection:
            next_time = await change_queries.fetch_next_stale_time(connection, position.stale.instant)
        return datetime.max.replace(tzinfo=UTC) if next_time is None else next_time

    async def _wait_for_poll(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), POLL_INTERVAL_S)
