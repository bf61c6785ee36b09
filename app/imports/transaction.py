"""The one transaction of a file: batch after batch is judged, staged, checked and written.

While PostgreSQL writes one batch, a thread judges the next. Whatever is found wrong is told of every
row; whether the transaction is kept is decided at the end. A dry run is the same, and not kept.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

import anyio
import numpy as np
import pyarrow as pa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.db.engine import Database, WriteContext
from app.errors import Conflict, NotFound
from app.imports import registry_checks, row_errors
from app.imports.queries import staging as staging_queries
from app.imports.registry_checks import check, with_owners
from app.imports.result_store import Page
from app.imports.schemas import ImportRequest
from app.imports.staging import Desk, Ready
from app.ingest.columns.planner import Plan
from app.ingest.readers.opening import Batch, Source
from app.ingest.validation.batch_validation import batches, judge
from app.ingest.validation.location import TURN
from app.records import writing
from app.records.kinds import BY_NAME, Kind
from app.records.queries import records as record_queries
from app.rings import territory

ROWS: Final = 20_000
"""Rows of a batch: what is in memory at once."""


class Cancelled(Exception):
    """Somebody asked for the import to stop."""


class Watch(Protocol):
    """Who is told how the import goes."""

    async def turn(self, connection: AsyncConnection) -> None:
        """Wait until no other import writes the jurisdiction; raises ``Cancelled``."""

    async def page(self, page: Page, counts: dict[str, int], jurisdictions: list[str]) -> None:
        """Keep what became of a batch; raises ``Cancelled`` when the import is to stop.

        One page at a time, and while the next batch is written.
        """

    async def finish(self, connection: AsyncConnection, outcome: "Outcome") -> None:
        """Say in the very transaction that it is done; raises ``Cancelled`` when that is too late."""


@dataclass(eq=False)
class Outcome:
    """What an import came to."""

    counts: dict[str, int] = field(default_factory=dict)
    jurisdictions: list[str] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    problem: dict[str, Any] | None = None

    def add(self, counts: dict[str, int]) -> None:
        """Count in a page."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count


@dataclass(eq=False)
class Work:
    """What is to be done with one file."""

    source: Source
    plan: Plan
    wanted: ImportRequest
    who: Principal
    context: WriteContext
    watch: Watch
    max_vertices: int = 1_000_000
    """Of a ring."""


class _NotKept(Exception):
    """Ends the transaction of a dry run or of a refused file."""


async def run(database: Database, work: Work) -> Outcome:
    """Bring a file into the registry, or tell why not; in one transaction.

    Raises
    ------
    Cancelled
        when somebody asked for it; nothing is written.
    RegistryError
        when the file as a whole is refused; nothing is written.
    """
    from app.imports import ring_and_state_import  # rings and states call back into this module

    outcome = Outcome()
    try:
        async with database.writing(work.context) as connection:
            await work.watch.turn(connection)
            special = ring_and_state_import.IMPORTERS.get(work.plan.kind.name)
            if special is not None:
                await special(connection, work, outcome)
            else:
                await Importer(connection, work, outcome).run()
            if work.wanted.dry_run or outcome.problem is not None:
                raise _NotKept
            await work.watch.finish(connection, outcome)
    except _NotKept:
        pass
    return outcome


class Importer:
    """Takes the batches of a file of one kind of record through the transaction."""

    def __init__(self, connection: AsyncConnection, work: Work, outcome: Outcome) -> None:
        self.connection, self.work, self.outcome = connection, work, outcome
        self.wanted, self.plan = work.wanted, work.plan
        self.kind: Kind = BY_NAME[work.plan.kind.name]
        self.fed = work.plan.fields
        self.desk = Desk(self.kind, TURN.get(work.plan.place.mode, TURN["pair"]))
        self.unknown: set[str] = set()
        self.suspected = False
        self.speaking = asyncio.Lock()
        """The connection answers one question at a time, and two batches are under way."""

    async def run(self) -> None:
        """Read, judge, check and write all rows, then what the file does not have."""
        await staging_queries.prepare(self.connection, self.kind)
        async with aclosing(self._batches()) as coming, _Behind(self.work.watch) as telling:
            async for page, ready in coming:
                await self._take(page, ready)
                page.refuse_together()
                self.outcome.add(page.counts())
                owners = self.outcome.jurisdictions = sorted(self.desk.territories)
                await telling.page(page, self.outcome.counts, owners)
        if self.wanted.replace_missing == "remove":
            await self._remove_missing()
        conclude(self.work, self.outcome)

    # -- reading, in a thread ---------------------------------------------------------------------

    async def _batches(self) -> AsyncGenerator[tuple[Page, Ready], None]:
        """Yield batches that are ready; the next one is made while one is written."""
        rows = batches(self.plan, self.work.source, ROWS)
        following = asyncio.create_task(self._next(rows))
        try:
            while (found := await following) is not None:
                following = asyncio.create_task(self._next(rows))
                yield found
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _next(self, rows: Iterator[Batch]) -> tuple[Page, Ready] | None:
        judged = await anyio.to_thread.run_sync(judged_batch, rows, self.plan)
        if judged is None:
            return None
        page, good, owners = judged
        if "jurisdiction" in self.plan.missing:
            scope = self.work.who.scope("editor")
            async with self.speaking:
                good = await with_owners(self.connection, self.kind, self.plan, self.wanted.mode, page, good, scope)
            owners = set(good["jurisdiction"].unique().to_pylist())
        await self._survey(owners)
        return page, await anyio.to_thread.run_sync(self.desk.ready, good)

    async def _survey(self, owners: set[str]) -> None:
        """Get to know the jurisdictions of rows, and keep their rings still."""
        for owner in sorted(owners - set(self.desk.territories) - self.unknown):
            try:
                self.work.who.need_in("editor", [owner])
                async with self.speaking:
                    await writing.hold(self.connection, self.kind, [owner])
                    self.desk.territories[owner] = await territory.of(self.connection, owner)
            except NotFound:
                self.unknown.add(owner)

    # -- writing ------------------------------------------------------------------------------------

    async def _take(self, page: Page, ready: Ready) -> None:
        page.refuse(ready.faults)
        page.good, page.codes = ready.rows, ready.codes
        if not len(ready.rows):
            return
        async with self.speaking:
            await self._suspect(ready)
            await staging_queries.stage(self.connection, ready.csv, ready.columns)
            if self.plan.key == "owner_reference":
                await staging_queries.adopt_codes(self.connection, self.kind)
                found = await staging_queries.codes(self.connection)
                page.good = np.array([row for row, _ in found], np.int64)
                page.codes = pa.array([code for _, code in found], pa.string())
            known = await staging_queries.lock_known(self.connection, self.kind)
            await check(self.connection, self.kind, self.plan, self.wanted.mode, page, known)
            if self.wanted.replace_missing == "remove":
                await staging_queries.remember(self.connection)
            if known:
                await self._compare(page)
            if self._pointless:
                return
            await staging_queries.write(self.connection, self.kind, self.fed, known=known > 0)
            if self.kind.device and "state" in ready.columns:
                states = await staging_queries.record_states(self.connection, self.kind)
                self.outcome.add({"states": states})

    async def _suspect(self, ready: Ready) -> None:
        """Look, once, whether the places of a file are shifted."""
        stated = self.plan.place.crs in ("gcj02", "bd09")
        if self.suspected or stated or ready.owner is None:
            return
        self.suspected = True
        note = await registry_checks.shifted(self.connection, ready.owner, ready.sample)
        self.outcome.notes += [note] if note else []

    @property
    def _pointless(self) -> bool:
        """Whether nothing can be kept any more, so that writing on would only cost."""
        refused = self.outcome.counts.get("refused", 0) > 0
        return refused and self.wanted.on_error == "reject_all" and not self.wanted.dry_run

    async def _compare(self, page: Page) -> None:
        changed = await staging_queries.changed(self.connection, self.kind, self.fed)
        page.changes = dict(changed)
        there = await staging_queries.there(self.connection, self.kind)
        page.unchanged = np.setdiff1d(np.array(there, np.int64), list(page.changes))

    # -- the end ------------------------------------------------------------------------------------

    async def _remove_missing(self) -> None:
        """Remove the records of the file's jurisdictions that no row spoke of."""
        if self.outcome.counts.get("refused", 0):
            self.outcome.notes.append(
                {
                    "code": "nothing-removed",
                    "message": "records that are not in the file were not looked for, because rows were refused",
                    "message_zh": "因有数据行被拒绝，未处理文件中缺失的记录",
                }
            )
            return
        owners = sorted(self.desk.territories)
        gone, count = await staging_queries.missing(self.connection, self.kind, owners)
        if gone and len(gone) > self.wanted.max_remove_share * count:
            raise Conflict(
                f"{len(gone)} of {count} {self.kind.plural} are not in the file and would be removed; "
                f"at most {self.wanted.max_remove_share:.0%} may be: say max_remove_share if this is "
                "meant.",
                code="too-many-removed",
            )
        page = Page(np.empty(0, np.int64))
        for code, table, dependent in await record_queries.dependents(self.connection, self.kind, gone, limit=None):
            page.refuse([row_errors.still_referenced(code, table, dependent)])
        spared = {fault.value for fault in page.faults.get(0, ())}
        page.removed = [code for code in gone if code not in spared]
        await record_queries.remove(self.connection, self.kind, page.removed)
        self.outcome.add(page.counts() | {"refused": len(spared)})
        await self.work.watch.page(page, self.outcome.counts, owners)


class _Behind:
    """Tells a watch of one page while the next is written."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._telling: asyncio.Task[None] | None = None

    async def page(self, page: Page, counts: dict[str, int], jurisdictions: list[str]) -> None:
        """Begin to tell of a page when the one before is told; raises what that raised."""
        await self._told()
        told = self._watch.page(page, dict(counts), list(jurisdictions))
        self._telling = asyncio.create_task(told)

    async def _told(self) -> None:
        telling, self._telling = self._telling, None
        if telling is not None:
            await telling

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._told()
        elif self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)


def conclude(work: Work, outcome: Outcome) -> None:
    """Say why nothing is written, when one bad row is enough for that."""
    refused, rows = outcome.counts.get("refused", 0), outcome.counts.get("rows", 0)
    if refused and work.wanted.on_error == "reject_all":
        detail = f"{refused} of {rows} rows are refused, so none is written."
        if refused > rows:  # records that are not in the file, and cannot be removed
            detail = f"{refused} rows, or records to be removed, are refused, so none is written."
        outcome.problem = {"code": "rows-refused", "detail": detail, "errors": []}


def judged_batch(rows: Iterator[Batch], plan: Plan) -> tuple[Page, Any, set[str]] | None:
    """Return the next batch judged, its good rows and their jurisdictions; in a thread."""
    batch = next(rows, None)
    if batch is None:
        return None
    judged = judge(plan, batch)
    page = Page(batch.row, geometry=batch.geometry, groups=judged.groups)
    page.cells = {name: cells for name, cells in batch.columns.items() if name not in plan.dropped}
    page.refuse(judged.faults)
    owners = judged.good["jurisdiction"] if "jurisdiction" in judged.good.column_names else None
    return page, judged.good, set() if owners is None else set(owners.unique().to_pylist())
