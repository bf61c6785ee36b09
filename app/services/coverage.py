"""Coverage of control points: computed once per state of a jurisdiction, answered many times.

An answer holds for one revision until the next device goes stale. Every request asks the database for
the revision, so a write on any worker shows in the very next answer on every worker.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio
import orjson

from app.db.engine import Database
from app.errors import Conflict, InvalidShape, NotFound
from app.registry import coverage as registry
from app.services import loading, report
from app.services.access import Principal
from app.services.assess import Computed, compute

_KEPT: Final = 32
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z


@dataclass
class _Answer:
    """A computed state with the documents already made from it."""

    computed: Computed
    made: dict[str, bytes]

    def holds(self, pulse: registry.Pulse) -> bool:
        """Tell whether nothing has changed, by a write or by time passing."""
        until = self.computed.holds_until
        return self.computed.loaded.revision == pulse.revision and (
            until is None or pulse.at <= until
        )


class Answers:
    """The coverage answers of one process, one per jurisdiction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[str, _Answer] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def summary(self, jurisdiction: str, who: Principal) -> bytes:
        """Return the summary as JSON.

        Raises
        ------
        NotFound
            when there is no such jurisdiction in the caller's scope.
        """
        return await self._document(jurisdiction, who, "summary", report.summary)

    async def points(
        self, jurisdiction: str, who: Principal, wanted: report.Wanted, *, geojson: bool
    ) -> bytes:
        """Return status and reasons of the control points asked for."""
        name = f"points {wanted} {geojson}"
        return await self._document(
            jurisdiction, who, name, lambda found: report.points(found, wanted, geojson=geojson)
        )

    async def gaps(self, jurisdiction: str, who: Principal, wanted: report.Wanted) -> bytes:
        """Return the gaps as a GeoJSON FeatureCollection."""
        name = f"gaps {wanted}"
        return await self._document(
            jurisdiction, who, name, lambda found: report.gaps(found, wanted)
        )

    async def point(self, jurisdiction: str, who: Principal, code: str, *, geojson: bool) -> bytes:
        """Return one control point explained: every candidate and what it lacks.

        Raises
        ------
        NotFound
            when the jurisdiction has no such control point.
        """
        answer = await self._answer(jurisdiction, who)
        explained = await anyio.to_thread.run_sync(report.point, answer.computed, code, geojson)
        if explained is None:
            raise NotFound("control point", code)
        return orjson.dumps(explained, option=_OPTIONS)

    async def _document(
        self,
        jurisdiction: str,
        who: Principal,
        name: str,
        make: Callable[[Computed], dict[str, Any]],
    ) -> bytes:
        answer = await self._answer(jurisdiction, who)
        if name not in answer.made:
            value = await anyio.to_thread.run_sync(make, answer.computed)
            answer.made[name] = orjson.dumps(value, option=_OPTIONS)
        return answer.made[name]

    async def _answer(self, jurisdiction: str, who: Principal) -> _Answer:
        who.need_in("analyst", [jurisdiction])
        pulse = await registry.pulse(self._database.fetch, jurisdiction)
        if pulse is None:
            raise NotFound("jurisdiction", jurisdiction)
        kept = self._kept.get(jurisdiction)
        if kept is not None and kept.holds(pulse):
            self._kept.move_to_end(jurisdiction)
            return kept
        async with self._locks.setdefault(jurisdiction, asyncio.Lock()):
            kept = self._kept.get(jurisdiction)
            if kept is not None and kept.holds(pulse):
                return kept
            return await self._renew(jurisdiction)

    async def _renew(self, jurisdiction: str) -> _Answer:
        kept = self._kept.get(jurisdiction)
        before = None if kept is None else kept.computed
        earlier = None if before is None else before.loaded
        loaded = await loading.load(self._database, jurisdiction, earlier)
        try:
            answer = _Answer(await anyio.to_thread.run_sync(compute, loaded, before), {})
        except InvalidShape as error:
            # Possible only where neither an extent nor a ring kept far-off records out.
            raise Conflict(
                f"Coverage cannot be computed: {error.detail} State the jurisdiction's extent, "
                "and correct the records that lie outside.",
                code="not-computable",
            ) from error
        self._kept[jurisdiction] = answer
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return answer
