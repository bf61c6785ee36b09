"""Answers of the analysis: computed once per state of a jurisdiction, given many times.

An answer holds for one revision until the next device goes stale. Every request asks the database for
the revision, so a write on any worker shows in the very next answer on every worker. What one
worker has made the others find in the database, and so does the next process. Heavy work
leaves the event loop, a few at a time, and is given up when nobody waits for it any more.
"""

import asyncio
import hashlib
import os
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_process
import orjson

import app
from app.access.roles import Principal
from app.analysis import queries as analysis_queries
from app.analysis import snapshot
from app.analysis.coverage import area, fields_of_view
from app.analysis.coverage import report as coverage_report
from app.analysis.crossings import report as crossing_report
from app.analysis.crossings import road_report
from app.analysis.engine_input import Computed, compute
from app.analysis.metadata import about
from app.analysis.single_flight import Flights, Gone
from app.db.engine import Database
from app.errors import Conflict, InvalidShape, NotFound, RegistryError
from app.models.vocabulary import Function

T = TypeVar("T")
Make = Callable[[Computed], dict[str, Any]]
_KEPT: Final = 32
_KEPT_BYTES: Final = 256 * 2**20
_LARGEST_SHARED: Final = 16 * 2**20
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z


@dataclass(frozen=True)
class _Body:
    """A finished answer and for how long it is one."""

    revision: int
    holds_until: datetime | None
    body: bytes

    def holds(self, pulse: analysis_queries.Pulse) -> bool:
        """Tell whether nothing has changed, by a write or by time passing."""
        return self.revision == pulse.revision and (self.holds_until is None or pulse.at <= self.holds_until)


class Answers:
    """The analysis answers of one process.

    Attributes
    ----------
    worth_sharing_s : float
        An answer that took less time to make is not kept in the database.
    """

    def __init__(self, database: Database) -> None:
        self.worth_sharing_s = 0.02
        self._database = database
        self._states: OrderedDict[str, Computed] = OrderedDict()
        self._bodies: OrderedDict[tuple[str, str], _Body] = OrderedDict()
        self._size = 0
        self._flights = Flights()
        self._sharing: set[asyncio.Task[None]] = set()
        self._limiter: anyio.CapacityLimiter | None = None
        self._slow: anyio.CapacityLimiter | None = None

    async def summary(self, jurisdiction: str, who: Principal, gone: Gone | None = None) -> bytes:
        """Return the summary as JSON.

        Raises
        ------
        NotFound
            when there is no such jurisdiction in the caller's scope.
        """
        return await self.document(jurisdiction, who, "summary", coverage_report.summary, gone)

    async def points(
        self,
        jurisdiction: str,
        who: Principal,
        wanted: coverage_report.Wanted,
        *,
        geojson: bool,
        gone: Gone | None = None,
    ) -> bytes:
        """Return status and reasons of the control points asked for."""
        make = partial(coverage_report.points, wanted=wanted, geojson=geojson)
        return await self.document(jurisdiction, who, f"points {wanted} {geojson}", make, gone)

    async def gaps(
        self,
        jurisdiction: str,
        who: Principal,
        wanted: coverage_report.Wanted,
        gone: Gone | None = None,
    ) -> bytes:
        """Return the gaps as a GeoJSON FeatureCollection.

        Raises
        ------
        InvalidQuery
            when they are to be narrowed by what gaps of their type do not have.
        """
        coverage_report.refuse_misplaced(wanted)
        make = partial(coverage_report.gaps, wanted=wanted)
        return await self.document(jurisdiction, who, f"gaps {wanted}", make, gone)

    async def point(self, jurisdiction: str, who: Principal, code: str, *, geojson: bool) -> bytes:
        """Return one control point explained: every candidate and what it lacks.

        Raises
        ------
        NotFound
            when the jurisdiction has no such control point.
        """
        computed = await self.computed(jurisdiction, who)
        explained = await self.aside(coverage_report.point, computed, code, geojson)
        if explained is None:
            raise NotFound("control point", code)
        return orjson.dumps(explained, option=_OPTIONS)

    async def crossings(
        self,
        jurisdiction: str,
        who: Principal,
        wanted: crossing_report.Wanted,
        *,
        geojson: bool,
        gone: Gone | None = None,
    ) -> bytes:
        """Return the crossings asked for, guarded, open or waived, beside the plan."""
        make = partial(crossing_report.listed, wanted=wanted, geojson=geojson)
        return await self.document(jurisdiction, who, f"crossings {wanted} {geojson}", make, gone)

    async def crossing(self, jurisdiction: str, who: Principal, name: str, *, geojson: bool) -> bytes:
        """Return one crossing.

        Raises
        ------
        NotFound
            when the jurisdiction has no such crossing.
        """
        computed = await self.computed(jurisdiction, who)
        told = await self.aside(crossing_report.one, computed, name, geojson)
        if told is None:
            raise NotFound("crossing", name)
        return orjson.dumps(told, option=_OPTIONS)

    async def covered_area(
        self, jurisdiction: str, who: Principal, wanted: area.Wanted, gone: Gone | None = None
    ) -> bytes:
        """Return the covered area of the zones asked for."""
        make = partial(area.summary, wanted=wanted)
        return await self.document(jurisdiction, who, f"area {wanted}", make, gone)

    async def view_of(self, camera: str, who: Principal, function: Function | None, gone: Gone | None = None) -> bytes:
        """Return what one camera sees as a GeoJSON Feature.

        Raises
        ------
        NotFound
            when there is no such camera in the caller's scope.
        """
        scope = who.scope("analyst")
        jurisdiction = await analysis_queries.camera_owner(self._database.fetch, camera)
        if jurisdiction is None or (scope is not None and jurisdiction not in scope):
            raise NotFound("camera", camera)
        computed = await self.computed(jurisdiction, who, gone)
        told = await self.aside(fields_of_view.one, computed, camera, function)
        if told is None:
            raise NotFound("camera", camera)
        return orjson.dumps(told, option=_OPTIONS)

    async def views(
        self,
        jurisdiction: str,
        who: Principal,
        wanted: fields_of_view.Wanted,
        *,
        limit: int,
        after: str | None,
        gone: Gone | None = None,
    ) -> tuple[str, int, str | None, str]:
        """Return a page of fields of view: features with commas between, how many, what follows.

        And, as JSON members, what every answer carries.
        """
        computed = await self.computed(jurisdiction, who, gone)
        features, following = await self.aside(
            partial(fields_of_view.listed, computed, wanted, limit=limit, after=after)
        )
        bodies = ",".join(orjson.dumps(one, option=_OPTIONS).decode() for one in features)
        also = orjson.dumps(about(computed), option=_OPTIONS)[1:-1].decode()
        return bodies, len(features), following, also

    async def network(self, jurisdiction: str, who: Principal, gone: Gone | None = None) -> bytes:
        """Return what is odd about the road network."""
        return await self.document(jurisdiction, who, "network", road_report.told, gone)

    async def document(
        self, jurisdiction: str, who: Principal, name: str, make: Make, gone: Gone | None = None
    ) -> bytes:
        """Return an answer as JSON, made from the computed state unless it is there already.

        Parameters
        ----------
        name : str
            What the answer is, with all its parameters.
        make : callable
            Makes it; runs in a worker thread.
        gone : callable, optional
            Returns when the caller has left.

        Raises
        ------
        NotFound
            when there is no such jurisdiction in the caller's scope.
        Conflict
            when the records cannot be measured together.
        """
        pulse = await self._pulse(jurisdiction, who)
        kept = self._bodies.get((jurisdiction, name))
        if kept is not None and kept.holds(pulse):
            self._bodies.move_to_end((jurisdiction, name))
            return kept.body
        made = await self._flights.join(
            ("answer", jurisdiction, name, pulse.revision),
            lambda: self._made(jurisdiction, name, make, pulse),
            gone,
        )
        return made.body

    async def computed(self, jurisdiction: str, who: Principal, gone: Gone | None = None) -> Computed:
        """Return the computed state of now, for answers that are made for one caller.

        Raises
        ------
        NotFound
            when there is no such jurisdiction in the caller's scope.
        """
        return await self._state(jurisdiction, await self._pulse(jurisdiction, who), gone)

    async def aside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run work in a thread, as one of a few at a time; given up, it ends unheard.

        Raises
        ------
        Conflict
            when the records cannot be measured together.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(max(2, os.cpu_count() or 1))
        try:
            return await anyio.to_thread.run_sync(work, *arguments, limiter=self._limiter, abandon_on_cancel=True)
        except InvalidShape as error:
            # Possible only where neither an extent nor a ring kept far-off records out.
            raise Conflict(
                f"Coverage cannot be computed: {error.detail} State the jurisdiction's extent, "
                "and correct the records that lie outside.",
                code="not-computable",
            ) from error

    async def apart(self, work: Callable[..., T], *arguments: Any, gone: Gone | None = None) -> T:
        """Run work that may take many seconds, one at a time, so that it never keeps `aside` waiting.

        A thread cannot be stopped, so it runs in a process of its own, which ends with the caller's
        leaving; work and arguments have to be fit for being sent there.

        Raises
        ------
        Abandoned
            when the caller has left meanwhile.
        """
        if self._slow is None:
            self._slow = anyio.CapacityLimiter(1)
        run = partial(anyio.to_process.run_sync, work, *arguments)
        started = partial(run, cancellable=True, limiter=self._slow)
        return await self._flights.join(object(), started, gone)

    async def settled(self) -> None:
        """Wait until what is being shared is in the database."""
        await asyncio.gather(*self._sharing, return_exceptions=True)

    async def close(self) -> None:
        """Stop sharing; what is not written yet will be computed again."""
        for task in self._sharing:
            task.cancel()
        await self.settled()

    async def _pulse(self, jurisdiction: str, who: Principal) -> analysis_queries.Pulse:
        who.need_in("analyst", [jurisdiction])
        pulse = await analysis_queries.pulse(self._database.fetch, jurisdiction)
        if pulse is None:
            raise NotFound("jurisdiction", jurisdiction)
        return pulse

    async def _made(self, jurisdiction: str, name: str, make: Make, pulse: analysis_queries.Pulse) -> _Body:
        if not self._is_current(jurisdiction, pulse):
            found = await analysis_queries.find(
                self._database.fetch, jurisdiction, _key(name), pulse.revision, fingerprint()
            )
            if found is not None:
                body = await self.aside(zlib.decompress, found.body)
                return self._keep(jurisdiction, name, _Body(pulse.revision, found.holds_until, body))
        started = time.perf_counter()
        computed = await self._state(jurisdiction, pulse)
        body = await self.aside(_document, make, computed)
        made = _Body(computed.loaded.revision, computed.holds_until, body)
        if time.perf_counter() - started >= self.worth_sharing_s:
            self._share(self._shared(jurisdiction, name, made))
        return self._keep(jurisdiction, name, made)

    def _is_current(self, jurisdiction: str, pulse: analysis_queries.Pulse) -> bool:
        kept = self._states.get(jurisdiction)
        return kept is not None and _holds(kept, pulse)

    async def _state(self, jurisdiction: str, pulse: analysis_queries.Pulse, gone: Gone | None = None) -> Computed:
        kept = self._states.get(jurisdiction)
        if kept is not None and _holds(kept, pulse):
            self._states.move_to_end(jurisdiction)
            return kept
        return await self._flights.join(
            ("state", jurisdiction, pulse.revision), lambda: self._renewed(jurisdiction), gone
        )

    async def _renewed(self, jurisdiction: str) -> Computed:
        before = self._states.get(jurisdiction)
        earlier = None if before is None else before.loaded
        loaded = await snapshot.load(self._database, jurisdiction, earlier)
        computed = await self.aside(compute, loaded, before)
        newer = self._states.get(jurisdiction)
        if newer is None or newer.loaded.at <= loaded.at:
            self._states[jurisdiction] = computed
            self._states.move_to_end(jurisdiction)
        while len(self._states) > _KEPT:
            self._states.popitem(last=False)
        return computed

    def _keep(self, jurisdiction: str, name: str, body: _Body) -> _Body:
        replaced = self._bodies.pop((jurisdiction, name), None)
        self._size += len(body.body) - (len(replaced.body) if replaced else 0)
        self._bodies[jurisdiction, name] = body
        while self._size > _KEPT_BYTES and len(self._bodies) > 1:
            _, old = self._bodies.popitem(last=False)
            self._size -= len(old.body)
        return body

    def _share(self, writing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(writing)
        self._sharing.add(task)
        task.add_done_callback(self._sharing.discard)

    async def _shared(self, jurisdiction: str, name: str, made: _Body) -> None:
        """Put an answer where other workers find it. A copy that fails costs nothing but time."""
        body = await anyio.to_thread.run_sync(zlib.compress, made.body, 1)
        if len(body) > _LARGEST_SHARED:
            return
        stored = analysis_queries.Stored(body, made.holds_until)
        try:
            await analysis_queries.keep(
                self._database.fetch, jurisdiction, _key(name), made.revision, fingerprint(), stored
            )
        except (RegistryError, OSError, analysis_queries.Failed):
            return


def _document(make: Make, computed: Computed) -> bytes:
    return orjson.dumps(make(computed), option=_OPTIONS)


def _holds(computed: Computed, pulse: analysis_queries.Pulse) -> bool:
    return computed.loaded.revision == pulse.revision and (
        computed.holds_until is None or pulse.at <= computed.holds_until
    )


def _key(name: str) -> str:
    """Return a name short enough for a key, whatever its parameters."""
    word = name.partition(" ")[0]
    return f"{word}:{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


@cache
def fingerprint() -> str:
    """Return what changes with the program: answers of another are not ours."""
    digest = hashlib.blake2b(digest_size=12)
    root = Path(app.__file__).parent
    for source in sorted(root.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
