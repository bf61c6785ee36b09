"""Work several callers wait for, done once; given up when the last of them has left."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from app.errors import Abandoned

T = TypeVar("T")
Gone = Callable[[], Awaitable[None]]
"""Returns when the caller has left."""


@dataclass
class _Flight:
    task: asyncio.Task[Any]
    waiting: int = 0


class Flights:
    """Work under way, by what it is about."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Flight] = {}

    async def join(self, about: Hashable, start: Callable[[], Coroutine[Any, Any, T]], gone: Gone | None = None) -> T:
        """Return the outcome of the work about something, started unless it is under way.

        Raises
        ------
        Abandoned
            when the caller has left meanwhile.
        """
        flight = self._under_way.get(about)
        if flight is None:
            flight = self._under_way[about] = _Flight(asyncio.create_task(start()))
            flight.task.add_done_callback(lambda _: self._landed(about, flight))
        flight.waiting += 1
        try:
            return await _unless_gone(flight.task, gone)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._landed(about, flight)  # whoever comes now starts anew
                flight.task.cancel()

    def _landed(self, about: Hashable, flight: _Flight | None) -> None:
        if self._under_way.get(about) is flight:
            del self._under_way[about]


async def _unless_gone(task: asyncio.Task[T], gone: Gone | None) -> T:
    if gone is None:
        return await asyncio.shield(task)
    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Abandoned
        return task.result()
    finally:
        leaving.cancel()
