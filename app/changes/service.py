"""The change feed: everything that changed, in order, so that a reader who follows misses nothing.

A place in the feed is a number of the history and, once a reader has caught up, the instant up to which
silent devices were told. Entries are told at least once, and each device's last entry is what it reads
as: a silence comes before the report that ended it and after the report that preceded it.
"""

import asyncio
import base64
import binascii
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
from app.changes.queries import Asked, Entry, Told
from app.db.engine import Database
from app.errors import InvalidQuery
from app.records.kinds import KINDS
from app.records.views import HistoryEntry

POLL_S: Final = 1.0
KEEP_ALIVE_S: Final = 15.0
_STREAM_PAGE: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_PLACE: Final = re.compile(r"([0-9]{1,18}) ([0-9]{1,17}) ([a-z_]{0,20}) ([A-Za-z0-9._:\-]{0,64})")


@dataclass(frozen=True)
class Place:
    """Where a reader of the feed stands."""

    seq: int
    told: Told | None = None

    @override
    def __str__(self) -> str:
        if self.told is None:
            return str(self.seq)
        instant = (self.told.instant - _EPOCH) // _MICROSECOND
        words = f"{self.seq} {instant} {self.told.kind} {self.told.code}"
        return base64.urlsafe_b64encode(words.encode()).decode().rstrip("=")


def place(text: str, parameter: str = "after") -> Place:
    """Read a place: a number of the history, or a cursor made here.

    Raises
    ------
    InvalidQuery
        when it is neither.
    """
    if _NUMBER.fullmatch(text):
        return Place(int(text))
    try:
        words = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = _PLACE.fullmatch(words.decode("ascii"))
        if found is not None:
            instant = _EPOCH + int(found[2]) * _MICROSECOND
            return Place(int(found[1]), Told(instant, found[3], found[4]))
    except (binascii.Error, ValueError, OverflowError):
        pass
    message = "It is neither a sequence number nor a cursor of this feed."
    raise InvalidQuery(message, parameter=parameter)


@dataclass(frozen=True)
class Page:
    """Some entries, each with the place after it, and where to go on."""

    entries: list[tuple[Place, str]]
    after: Place
    more: bool


def asked(who: Principal, jurisdiction: str | None, kind: str | None) -> Asked:
    """Return the part of the feed a caller may see and wants.

    Raises
    ------
    NotFound
        when the jurisdiction is outside the caller's scope.
    """
    if jurisdiction is not None:
        who.need_in("analyst", [jurisdiction])
    scope = who.scope("analyst")
    hidden = set() if who.reveals else {name for known in KINDS for name in known.restricted}
    return Asked(scope, sorted(hidden), jurisdiction, kind)


async def page(database: Database, wanted: Asked, start: Place, limit: int) -> Page:
    """Return the next entries of the feed.

    The entries of one number stay together, so a page may have two more than asked for.
    """
    until = await change_queries.horizon(database.fetch)
    async with database.reading() as connection:
        told = start.told or Told(await change_queries.at(connection, start.seq) or _EPOCH)
        rows = await change_queries.logged(connection, wanted, start.seq, until.number, told, limit + 1)
        entries = [(Place(seq, told), body) for seq, body in _whole(rows, limit)]
        if len(entries) < len(rows):
            return Page(entries, entries[-1][0], True)
        reached = Place(max(start.seq, until.number), told)
        room = limit - len(entries)
        if room <= 0:
            return Page(entries, reached, True)
        found = await change_queries.silences(connection, wanted, until, told, room + 1)
    if found is None:
        return Page(entries, reached, False)
    entries += [(replace(reached, told=row.told), row.body) for row in found[:room]]
    if len(found) > room:
        return Page(entries, entries[-1][0], True)
    passed = told if told.instant >= until.instant else Told(until.instant)
    return Page(entries, replace(reached, told=passed), False)


def _whole(rows: list[Entry], limit: int) -> list[tuple[int, str]]:
    """Return the entries of as many numbers as the limit allows, each with the place after it.

    After all but the last of one number the place is still before it: what was broken off is told again.
    """
    kept: list[tuple[int, str]] = []
    for number, together in groupby(rows, lambda row: row.place or 0):
        bodies = [row.body for row in together]
        if kept and len(kept) + len(bodies) > limit:
            break
        kept += [(number - 1, body) for body in bodies[:-1]] + [(number, bodies[-1])]
    return kept


class Streams:
    """The open streams of one process, which end when the process is asked to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Ask every stream to end."""
        self._ending.set()

    async def follow(self, wanted: Asked, start: Place | None, wait_s: float | None = None) -> AsyncIterator[str]:
        """Yield the feed as server-sent events, from a place or from now on, until asked to end.

        With ``wait_s``, end as well when nothing has come for so long.
        """
        if start is None:
            until = await change_queries.horizon(self._database.fetch)
            start = Place(until.number, Told(until.instant))
        yield f"retry: 2000\nid: {start}\n\n"
        reached, last = start, monotonic()
        spoken = last
        quiet_until: datetime | None = None
        while not self._ending.is_set():
            found = await self._news(wanted, reached, quiet_until)
            for after, body in () if found is None else found.entries:
                yield f"id: {after}\nevent: change\ndata: {body}\n\n"
                last = spoken = monotonic()
            if found is not None:
                reached = found.after
                if found.more:
                    continue
                quiet_until = await self._next_silence(reached)
            if wait_s is not None and monotonic() - last >= wait_s:
                return
            if monotonic() - spoken > KEEP_ALIVE_S:
                spoken = monotonic()
                yield f"id: {reached}\n: still here\n\n"
            await self._rest()
        yield ": the service is stopping\n\n"

    async def _news(self, wanted: Asked, reached: Place, quiet_until: datetime | None) -> Page | None:
        """Return the next page, None when there cannot be anything new."""
        if quiet_until is not None:
            until = await change_queries.horizon(self._database.fetch)
            if until.number <= reached.seq and until.instant <= quiet_until:
                return None
        return await page(self._database, wanted, reached, _STREAM_PAGE)

    async def _next_silence(self, reached: Place) -> datetime | None:
        """Return until when no device can fall silent without an entry that says so before."""
        if reached.told is None:
            return None
        async with self._database.reading() as connection:
            found = await change_queries.next_silence(connection, reached.told.instant)
        return datetime.max.replace(tzinfo=UTC) if found is None else found

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), POLL_S)


# What the change feed answers.


class Change(HistoryEntry):
    """One change of one record, or a device that fell silent."""

    jurisdiction: str
    kind: str
    code: str


class ChangePage(BaseModel):
    """Changes in order, and where to go on."""

    items: list[Change]
    more: bool = Field(description="More is there already; else ask again later.")
    cursor: str = Field(description="Where to go on: `?after=` of the next request. Opaque.")
    next: str = Field(description="The next request; never null, a feed has no end.")
