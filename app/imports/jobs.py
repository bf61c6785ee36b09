"""Imports as jobs beside the requests: taken in, run in turn, told of, cancelled, found dead.

One instance a process. Every worker can answer for every job, because what it answers is in the
database; a job is run by the worker that took the file in, and is dead when that worker is.
"""

import asyncio
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from app.access.roles import Principal
from app.db.engine import Database, WriteContext, is_away
from app.errors import Invalid, NotFound, RegistryError, Unavailable
from app.imports import job_results, preparation, profiles, registry_checks, result_store, transaction
from app.imports.job_results import Language
from app.imports.preparation import Arrived
from app.imports.queries import jobs as job_queries
from app.imports.result_store import Page
from app.imports.schemas import ImportJob, ImportRequest
from app.imports.transaction import Cancelled, Outcome, Work
from app.ingest.columns import import_plan
from app.ingest.columns.planner import Plan
from app.ingest.messages.chinese import in_chinese
from app.ingest.readers.opening import Source
from app.records.kinds import BY_NAME
from app.rings import queries as ring_queries

log = structlog.get_logger("imports")
AT_ONCE: Final = 2
"""Imports a process runs at the same time; each takes a connection and a thread."""
_ASK_AGAIN_S: Final = 0.3
INTERRUPTED: Final = {
    "code": "interrupted",
    "detail": "The service ended while this import was under way; nothing was written. Send the file again.",
    "errors": [],
}
_CANCELLED: Final = {
    "code": "cancelled",
    "detail": "The import was cancelled; nothing was written.",
    "errors": [],
}


@dataclass(eq=False)
class Admitted:
    """A file that can be read, and how; holds it open until the import is over."""

    id: str
    file: Arrived
    wanted: ImportRequest
    who: Principal
    reason: str
    source: Source
    plan: Plan
    closing: ExitStack
    max_vertices: int

    def row(self, worker: str) -> dict[str, Any]:
        """Return the job as it is registered."""
        owners = [] if self.wanted.jurisdiction is None else [self.wanted.jurisdiction]
        notes = [vars(note) for note in self.plan.notes]
        return {
            "id": self.id, "worker": worker, "state": "received", "kind": self.plan.kind.name,
            "jurisdictions": owners, "actor": self.who.name, "dry_run": self.wanted.dry_run,
            "options": self.wanted.model_dump(mode="json", exclude_defaults=True),
            "file": preparation.described(self.file, self.source.detected),
            "plan": self.plan.describe(), "counts": {}, "notes": notes, "cancel_requested": False,
        }  # fmt: skip


class Imports:
    """The imports of one process."""

    def __init__(self, database: Database, folder: Path, *, keep_days: float, max_vertices: int) -> None:
        self.database, self.folder = database, folder
        self._keep_days, self._max_vertices = keep_days, max_vertices
        self.worker = secrets.token_hex(8)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._alive: AsyncConnection | None = None
        self._waking = asyncio.Lock()

    # -- the life of the process ------------------------------------------------------------------

    async def start(self) -> None:
        """Fail what died with its worker, and drop what was kept long enough."""
        async with self.database.writing(WriteContext("service")) as connection:
            for job in await job_queries.bury(connection, INTERRUPTED):
                log.warning("import interrupted", job=job)
            await job_queries.forget(connection, self._keep_days)
            left = {file: file.name.split("-")[1] for file in self.folder.glob(f"{PREFIX}*-*")}
            living = await job_queries.living(connection, sorted(set(left.values())))
        for file, worker in left.items():
            if worker not in living:
                with suppress(OSError):
                    file.unlink()

    async def place(self) -> Path:
        """Return where a file that comes in is kept until its import is over."""
        await self._live()
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{PREFIX}{self.worker}-{secrets.token_hex(6)}"

    async def stop(self) -> None:
        """End what is running; the transactions roll back."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._alive is not None:
            with suppress(Exception):
                await self._alive.close()
            self._alive = None

    async def _live(self) -> None:
        """Hold the lock by which others see that this process lives."""
        async with self._waking:
            if self._alive is not None:
                raw = await self._alive.get_raw_connection()
                driver: Any = raw.driver_connection
                if not driver.is_closed():
                    return
                self._alive = None
            connection = await self.database.engine.connect()
            alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await job_queries.live(alone, self.worker)
            self._alive = alone

    async def get(self, connection: AsyncConnection, job: str, who: Principal, language: Language) -> ImportJob:
        """Return a job; one whose worker is gone is failed first, whoever asks."""
        found = await job_results.get(connection, job, who, language)
        if found.finished_at is None and job not in self._running:
            await job_queries.bury(connection, INTERRUPTED)
            found = await job_results.get(connection, job, who, language)
        return found

    # -- taking in --------------------------------------------------------------------------------

    async def admit(self, file: Arrived, wanted: ImportRequest, who: Principal, reason: str = "") -> Admitted:
        """Open a file and plan how it is read.

        Raises
        ------
        Invalid
            when it cannot be read, or is refused as a whole.
        """
        who.need("editor")
        if wanted.jurisdiction is not None:
            who.need_in("editor", [wanted.jurisdiction])
        async with self.database.reading() as connection:
            named, owner = wanted.profile, wanted.jurisdiction
            profile = None if named is None else await profiles.find(connection, named)
            if owner is not None and await ring_queries.territory(connection, owner) is None:
                raise NotFound("jurisdiction", owner)
        closing = ExitStack()
        try:
            source, plan = await anyio.to_thread.run_sync(
                closing.enter_context, preparation.opened(file, wanted, profile)
            )
            check(wanted, plan)
            if plan.missing and wanted.mode == "upsert":
                await self._need_known(source, plan, who)
        except BaseException:
            closing.close()
            raise
        return Admitted(str(uuid.uuid4()), file, wanted, who, reason, source, plan, closing, self._max_vertices)

    async def _need_known(self, source: Source, plan: Plan, who: Principal) -> None:
        """Refuse what would be new records and lacks fields: rows can be parts of registered ones only.

        Raises
        ------
        Invalid
            when none of the first rows is of a registered record.
        """
        good = await anyio.to_thread.run_sync(preparation.sampled, source, plan)
        async with self.database.reading() as connection:
            if not await registry_checks.any_registered(connection, plan, good, who.scope("editor")):
                raise import_plan.refused(plan)

    async def submit(self, admitted: Admitted, done: Callable[[], None]) -> None:
        """Register a job and run it beside the request; ``done`` is called at its end."""
        try:
            await self._live()
            async with self.database.writing(WriteContext(admitted.who.name)) as connection:
                await job_queries.add(connection, admitted.row(self.worker))
        except BaseException:
            admitted.closing.close()
            done()
            raise
        task = asyncio.create_task(self._run_in_turn(admitted))
        self._running[admitted.id] = task

        def ended(_: object) -> None:
            self._running.pop(admitted.id, None)
            done()

        task.add_done_callback(ended)

    async def wait(self, job: str, seconds: float) -> None:
        """Wait for a job of this process to end, at most so long."""
        task = self._running.get(job)
        if task is not None:
            await asyncio.wait([task], timeout=seconds)

    async def _run_in_turn(self, admitted: Admitted) -> None:
        async with self._turns:
            await self.run(admitted)

    # -- running ----------------------------------------------------------------------------------

    async def run(self, admitted: Admitted, watch: "_Keeper | None" = None) -> None:
        """Bring a registered file in, and say how it ended whatever happens."""
        keeper = watch or _Keeper(self.database, admitted)
        problem: Mapping[str, Any]
        state = "failed"
        try:
            with admitted.closing:
                await self._run(admitted, keeper)
            return
        except Cancelled:
            state, problem = "cancelled", _CANCELLED
        except RegistryError as error:
            problem = _problem(error)
        except asyncio.CancelledError:
            await asyncio.shield(self._end(admitted, "failed", INTERRUPTED, keeper))
            raise
        except Exception as error:  # whatever it is, the job must not seem to run for ever
            problem = _problem(Unavailable()) if is_away(error) else _UNEXPECTED
            if not is_away(error):
                log.error("import failed", job=admitted.id, exc_info=error)
        await self._end(admitted, state, problem, keeper)

    async def _run(self, admitted: Admitted, keeper: "_Keeper") -> None:
        why = admitted.reason or f"import of {admitted.file.name}"
        context = WriteContext(admitted.who.name, admitted.id, why)
        work = Work(
            admitted.source, admitted.plan, admitted.wanted, admitted.who, context, keeper,
            admitted.max_vertices,
        )  # fmt: skip
        outcome = await transaction.run(self.database, work)
        if not keeper.finished:
            kept = admitted.wanted.dry_run or outcome.problem is None
            await self._end(admitted, "done" if kept else "failed", outcome.problem, keeper, outcome)

    async def _end(
        self,
        admitted: Admitted,
        state: str,
        problem: Mapping[str, Any] | None,
        keeper: "_Keeper",
        outcome: Outcome | None = None,
    ) -> None:
        """Say how a job ended; when the database is away, it will be found dead."""
        with suppress(Unavailable, OSError):
            async with self.database.writing(WriteContext(admitted.who.name)) as connection:
                counts = outcome.counts if outcome else keeper.counts
                await job_queries.finish(
                    connection, admitted.id, state, problem=problem, counts=counts,
                    notes=keeper.notes(outcome),
                )  # fmt: skip


PREFIX: Final = "import-"
"""Start of the names of files that are being taken in."""
_UNEXPECTED: Final = {
    "code": "internal-error",
    "detail": "Something went wrong on our side; nothing was written.",
    "errors": [],
}


def _problem(error: RegistryError) -> dict[str, Any]:
    faults = [vars(fault) for fault in error.issues[:1000]]
    return {"code": error.code, "detail": error.detail, "errors": faults}


def check(wanted: ImportRequest, plan: Plan) -> None:
    """Refuse what a kind cannot do.

    Raises
    ------
    Invalid
        ``not-for-this-kind``.
    """
    name = plan.kind.name
    wrong = None
    if name not in BY_NAME and wanted.replace_missing == "remove":
        wrong = f"replace_missing=remove is not possible for a {name}"
    elif name == "state" and wanted.mode != "upsert":
        wrong = f"mode={wanted.mode} is not possible for a {name}"
    elif plan.key == "owner_reference" and "owner_reference" not in plan.kind.fields:
        wrong = f"a {name} has no owner_reference to go by"
    if wrong is not None:
        raise Invalid(wrong[0].upper() + wrong[1:] + ".", code="not-for-this-kind")


class _Keeper(transaction.Watch):
    """Keeps what became of the rows while the transaction of the import is open."""

    def __init__(self, database: Database, admitted: Admitted) -> None:
        self._database, self._admitted = database, admitted
        self._context = WriteContext(admitted.who.name)
        self.counts: dict[str, int] = {}
        self.finished = False

    def notes(self, outcome: Outcome | None) -> list[dict[str, str]]:
        """Return what the sender should know, in both languages."""
        notes = [vars(note) for note in self._admitted.plan.notes]
        notes += [
            {"code": "file", "message": told, "message_zh": in_chinese(told)}
            for told in self._admitted.source.detected.notes
        ]
        return notes + (outcome.notes if outcome else [])

    @override
    async def turn(self, connection: AsyncConnection) -> None:
        wanted, plan = self._admitted.wanted, self._admitted.plan
        many = any(feed.field.name == "jurisdiction" for feed in plan.feeds)
        while not await job_queries.take_turn(connection, None if many else wanted.jurisdiction):
            await self._say("received")
            await asyncio.sleep(_ASK_AGAIN_S)
        await self._say("validating" if wanted.dry_run else "applying")

    async def _say(self, state: str) -> None:
        """Tell what the job is at.

        Raises
        ------
        Cancelled
            when somebody asked for it.
        """
        async with self._database.writing(self._context) as connection:
            if not await job_queries.start(connection, self._admitted.id, state):
                raise Cancelled

    @override
    async def page(self, page: Page, counts: dict[str, int], jurisdictions: list[str]) -> None:
        self.counts = dict(counts)
        kept = await anyio.to_thread.run_sync(result_store.packed, page)
        owners = jurisdictions or self._admitted.row("")["jurisdictions"]
        async with self._database.writing(self._context) as connection:
            going = await job_queries.progress(connection, self._admitted.id, vars(kept), counts, owners)
        if not going:
            raise Cancelled

    @override
    async def finish(self, connection: AsyncConnection, outcome: Outcome) -> None:
        done = await job_queries.finish(
            connection, self._admitted.id, "done", counts=outcome.counts,
            notes=self.notes(outcome), heed=True,
        )  # fmt: skip
        if not done:
            raise Cancelled
        self.finished = True
