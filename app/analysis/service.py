"""The analysis service: results computed once for each revision of a jurisdiction, and sent many times.

A response is valid for one revision, until the next device becomes stale or the next waiver ends. Every request
reads the revision from the database, so a write on any worker shows in the next response of every worker. A response
that took long to compute is stored in the database, where other workers and later processes read it. Computation
runs in worker threads, a few at a time, and is cancelled when no client waits for it any more.
"""

import asyncio
import hashlib
import os
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
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
from app.analysis.coverage import fields_of_view
from app.analysis.coverage.fields_of_view import FieldOfViewQuery
from app.analysis.metadata import build_result
from app.analysis.queries import RevisionState
from app.analysis.results import Analysis, compute_analysis
from app.analysis.snapshot import load_snapshot
from app.db.engine import Database
from app.errors import ClientDisconnected, Conflict, InvalidShape, NotFound, RegistryError
from app.messages import Message
from app.models.vocabulary import Function

T = TypeVar("T")
BuildResult = Callable[..., dict[str, Any]]
"""Builds a result from an analysis, and from ``query`` where it has one."""
DisconnectWaiter = Callable[[], Awaitable[None]]
"""Returns when the client has disconnected."""
_MAX_ANALYSES: Final = 32
_MAX_CACHE_BYTES: Final = 256 * 2**20
_MAX_STORED_BYTES: Final = 16 * 2**20
_JSON_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z


@dataclass
class _Flight:
    task: asyncio.Task[Any]
    waiting: int = 0


class SingleFlight:
    """Runs each piece of work once, however many callers wait for it at the same time."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def run(
        self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]], disconnect: DisconnectWaiter | None = None
    ) -> T:
        """Return the outcome of the work under a key; start the work unless it is running already.

        The work is cancelled when the last caller that waits for it is gone.

        Raises
        ------
        ClientDisconnected
            if the client of this caller disconnects first.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(start()))
            flight.task.add_done_callback(lambda _: self._remove(key, flight))
        flight.waiting += 1
        try:
            return await _wait_unless_disconnected(flight.task, disconnect)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._remove(key, flight)  # a caller that comes now starts the work again
                flight.task.cancel()

    def _remove(self, key: Hashable, flight: _Flight | None) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


async def _wait_unless_disconnected(task: asyncio.Task[T], disconnect: DisconnectWaiter | None) -> T:
    if disconnect is None:
        return await asyncio.shield(task)
    leaving = asyncio.ensure_future(disconnect())
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        leaving.cancel()


@dataclass(frozen=True)
class _Response:
    """The body of a response, and how long it is valid."""

    revision: int
    valid_until: datetime | None
    body: bytes


class AnalysisService:
    """The analysis of all jurisdictions, as one process computes and caches it.

    Attributes
    ----------
    share_after_s : float
        A response that took less time to compute is not stored in the database.
    """

    def __init__(self, database: Database) -> None:
        self.share_after_s = 0.02
        self._database = database
        self._analyses: OrderedDict[str, Analysis] = OrderedDict()
        self._responses: OrderedDict[tuple[str, str], _Response] = OrderedDict()
        self._cache_bytes = 0
        self._single_flight = SingleFlight()
        self._pending_writes: set[asyncio.Task[None]] = set()
        self._thread_limiter: anyio.CapacityLimiter | None = None
        self._process_limiter: anyio.CapacityLimiter | None = None

    async def load_result(
        self,
        jurisdiction: str,
        principal: Principal,
        build: BuildResult,
        query: object = None,
        disconnect: DisconnectWaiter | None = None,
    ) -> bytes:
        """Return a result as JSON.

        Parameters
        ----------
        build : callable
            Builds the result from the analysis, and from `query` if there is one.
        query : dataclass, optional
            What the result depends on besides the analysis; its text is a part of the cache key.

        Raises
        ------
        NotFound
            if the jurisdiction does not exist in the scope of the caller.
        Conflict
            if the records cannot be computed together.
        """
        if query is None:
            return await self.load_response(jurisdiction, principal, build.__name__, build, disconnect)
        key = f"{build.__name__} {query}"
        return await self.load_response(jurisdiction, principal, key, partial(build, query=query), disconnect)

    async def load_item(
        self,
        jurisdiction: str,
        principal: Principal,
        title: str,
        code: str,
        build: Callable[..., dict[str, Any] | None],
        *options: object,
        disconnect: DisconnectWaiter | None = None,
    ) -> bytes:
        """Return the result of one element as JSON; it is computed again for every request.

        Parameters
        ----------
        title : str
            What the element is, for the error message.
        build : callable
            Returns the result from analysis, code and options, None if the code does not exist.

        Raises
        ------
        NotFound
            if the jurisdiction or the element does not exist in the scope of the caller.
        """
        analysis = await self.load_analysis(jurisdiction, principal, disconnect)
        item = await self.run_in_thread(build, analysis, code, *options)
        if item is None:
            raise NotFound(title, code)
        return orjson.dumps(item, option=_JSON_OPTIONS)

    async def load_field_of_view(
        self,
        camera: str,
        principal: Principal,
        function: Function | None,
        disconnect: DisconnectWaiter | None = None,
    ) -> bytes:
        """Return the field of view of one camera as a GeoJSON Feature.

        Raises
        ------
        NotFound
            if the camera does not exist in the scope of the caller.
        """
        scope = principal.require_scope("analyst")
        jurisdiction = await analysis_queries.fetch_camera_jurisdiction(self._database.fetch, camera)
        if jurisdiction is None or (scope is not None and jurisdiction not in scope):
            raise NotFound("camera", camera)
        build = fields_of_view.build_field_of_view
        return await self.load_item(jurisdiction, principal, "camera", camera, build, function, disconnect=disconnect)

    async def load_field_of_view_page(
        self,
        jurisdiction: str,
        principal: Principal,
        query: FieldOfViewQuery,
        *,
        limit: int,
        after: str | None,
        disconnect: DisconnectWaiter | None = None,
    ) -> tuple[str, int, str | None, str]:
        """Return a page of fields of view.

        Returns
        -------
        tuple
            The features as JSON, separated by commas; their number; the code after which the next page starts, None
            on the last page; the members that every result carries, as JSON without braces.
        """
        analysis = await self.load_analysis(jurisdiction, principal, disconnect)
        features, next_after = await self.run_in_thread(
            partial(fields_of_view.build_page, analysis, query, limit=limit, after=after)
        )
        bodies = ",".join(orjson.dumps(feature, option=_JSON_OPTIONS).decode() for feature in features)
        members = orjson.dumps(build_result(analysis), option=_JSON_OPTIONS)[1:-1].decode()
        return bodies, len(features), next_after, members

    async def load_response(
        self,
        jurisdiction: str,
        principal: Principal,
        key: str,
        build: Callable[[Analysis], dict[str, Any]],
        disconnect: DisconnectWaiter | None = None,
    ) -> bytes:
        """Return a result as JSON; build it from the analysis unless it is in the cache or in the database.

        Parameters
        ----------
        key : str
            What the result is, with all its parameters; the first word names the kind of result.
        build : callable
            Builds the result; runs in a worker thread.
        disconnect : callable, optional
            Returns when the client has disconnected.

        Raises
        ------
        NotFound
            if the jurisdiction does not exist in the scope of the caller.
        Conflict
            if the records cannot be computed together.
        """
        current = await self._check_revision(jurisdiction, principal)
        cached = self._responses.get((jurisdiction, key))
        if cached is not None and is_valid(cached.revision, cached.valid_until, current):
            self._responses.move_to_end((jurisdiction, key))
            return cached.body
        response = await self._single_flight.run(
            ("response", jurisdiction, key, current.revision),
            lambda: self._fetch_or_build(jurisdiction, key, build, current),
            disconnect,
        )
        return response.body

    async def load_analysis(
        self, jurisdiction: str, principal: Principal, disconnect: DisconnectWaiter | None = None
    ) -> Analysis:
        """Return the current analysis, for a result that is built for one caller.

        Raises
        ------
        NotFound
            if the jurisdiction does not exist in the scope of the caller.
        """
        current = await self._check_revision(jurisdiction, principal)
        return await self._load_analysis(jurisdiction, current, disconnect)

    async def run_in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run work in a worker thread, a few at a time; the result is discarded if the caller is cancelled.

        Raises
        ------
        Conflict
            if the records cannot be computed together.
        """
        if self._thread_limiter is None:
            self._thread_limiter = anyio.CapacityLimiter(max(2, os.cpu_count() or 1))
        try:
            return await anyio.to_thread.run_sync(
                work, *arguments, limiter=self._thread_limiter, abandon_on_cancel=True
            )
        except InvalidShape as error:
            # Only a jurisdiction without extent and without rings accepts records that are so far apart.
            detail = Message(
                "Coverage cannot be computed: {reason} Set the extent of the jurisdiction, and correct the records "
                "that are outside it.",
                reason=error.detail,
            )
            raise Conflict(detail, code="not-computable") from error

    async def run_in_process(
        self, work: Callable[..., T], *arguments: Any, disconnect: DisconnectWaiter | None = None
    ) -> T:
        """Run work that may take many seconds in a process of its own, one at a time.

        A thread cannot be stopped; the process ends when the client disconnects. `work` and `arguments` must be
        fit for pickling.

        Raises
        ------
        ClientDisconnected
            if the client disconnects first.
        """
        if self._process_limiter is None:
            self._process_limiter = anyio.CapacityLimiter(1)
        run = partial(anyio.to_process.run_sync, work, *arguments)
        start = partial(run, cancellable=True, limiter=self._process_limiter)
        return await self._single_flight.run(object(), start, disconnect)

    async def wait_for_writes(self) -> None:
        """Wait until all responses that are to be stored are in the database."""
        await asyncio.gather(*self._pending_writes, return_exceptions=True)

    async def close(self) -> None:
        """Cancel pending writes to the database; the responses will be computed again."""
        for task in self._pending_writes:
            task.cancel()
        await self.wait_for_writes()

    async def _check_revision(self, jurisdiction: str, principal: Principal) -> RevisionState:
        principal.require_role_in("analyst", [jurisdiction])
        current = await analysis_queries.fetch_revision(self._database.fetch, jurisdiction)
        if current is None:
            raise NotFound("jurisdiction", jurisdiction)
        return current

    async def _fetch_or_build(
        self, jurisdiction: str, key: str, build: Callable[[Analysis], dict[str, Any]], current: RevisionState
    ) -> _Response:
        # With a current analysis in memory, building the result is quicker than reading it.
        if not self._has_analysis(jurisdiction, current):
            stored = await analysis_queries.fetch_response(
                self._database.fetch, jurisdiction, storage_name(key), current.revision, compute_fingerprint()
            )
            if stored is not None:
                body = await self.run_in_thread(zlib.decompress, stored.body)
                return self._cache_response(jurisdiction, key, _Response(current.revision, stored.valid_until, body))
        started = time.perf_counter()
        analysis = await self._load_analysis(jurisdiction, current)
        body = await self.run_in_thread(lambda: orjson.dumps(build(analysis), option=_JSON_OPTIONS))
        response = _Response(analysis.snapshot.revision, analysis.valid_until, body)
        if time.perf_counter() - started >= self.share_after_s:
            task = asyncio.create_task(self._store_response(jurisdiction, key, response))
            self._pending_writes.add(task)
            task.add_done_callback(self._pending_writes.discard)
        return self._cache_response(jurisdiction, key, response)

    def _has_analysis(self, jurisdiction: str, current: RevisionState) -> bool:
        analysis = self._analyses.get(jurisdiction)
        return analysis is not None and is_valid(analysis.snapshot.revision, analysis.valid_until, current)

    async def _load_analysis(
        self, jurisdiction: str, current: RevisionState, disconnect: DisconnectWaiter | None = None
    ) -> Analysis:
        if self._has_analysis(jurisdiction, current):
            self._analyses.move_to_end(jurisdiction)
            return self._analyses[jurisdiction]
        key = ("analysis", jurisdiction, current.revision)
        return await self._single_flight.run(key, lambda: self._recompute_analysis(jurisdiction), disconnect)

    async def _recompute_analysis(self, jurisdiction: str) -> Analysis:
        earlier = self._analyses.get(jurisdiction)
        snapshot = await load_snapshot(self._database, jurisdiction, None if earlier is None else earlier.snapshot)
        analysis = await self.run_in_thread(compute_analysis, snapshot, earlier)
        cached = self._analyses.get(jurisdiction)
        # Two revisions may be computed at the same time; the later snapshot stays.
        if cached is None or cached.snapshot.taken_at <= snapshot.taken_at:
            self._analyses[jurisdiction] = analysis
            self._analyses.move_to_end(jurisdiction)
        while len(self._analyses) > _MAX_ANALYSES:
            self._analyses.popitem(last=False)
        return analysis

    def _cache_response(self, jurisdiction: str, key: str, response: _Response) -> _Response:
        replaced = self._responses.pop((jurisdiction, key), None)
        self._cache_bytes += len(response.body) - (len(replaced.body) if replaced else 0)
        self._responses[jurisdiction, key] = response
        while self._cache_bytes > _MAX_CACHE_BYTES and len(self._responses) > 1:
            _, oldest = self._responses.popitem(last=False)
            self._cache_bytes -= len(oldest.body)
        return response

    async def _store_response(self, jurisdiction: str, key: str, response: _Response) -> None:
        """Store a response for other workers. If the database refuses it, they compute it themselves."""
        body = await anyio.to_thread.run_sync(zlib.compress, response.body, 1)
        if len(body) > _MAX_STORED_BYTES:
            return
        stored = analysis_queries.StoredResponse(body, response.valid_until)
        try:
            await analysis_queries.upsert_response(
                self._database.fetch, jurisdiction, storage_name(key), response.revision, compute_fingerprint(), stored
            )
        except (RegistryError, OSError, analysis_queries.StoreError):
            return


def is_valid(revision: int, valid_until: datetime | None, current: RevisionState) -> bool:
    """Return whether neither a write nor the passing of time has changed a result."""
    return revision == current.revision and (valid_until is None or current.now <= valid_until)


def storage_name(key: str) -> str:
    """Return a name that is short enough for the primary key, whatever the parameters in `key`."""
    kind = key.partition(" ")[0]
    return f"{kind}:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


@cache
def compute_fingerprint() -> str:
    """Return a digest of the source code: responses that another program has stored are not used."""
    digest = hashlib.blake2b(digest_size=12)
    root = Path(app.__file__).parent
    for source in sorted(root.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
