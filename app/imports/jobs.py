"""Import jobs: create, run, list, cancel; fail the jobs of workers that have ended.

Each process has one service. Every worker can answer for every job, because the database holds
all that is shown. The worker that received a file runs its job; the job fails if that worker ends.
"""

import asyncio
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.cursors import INVALID_CURSOR
from app.db.engine import Database, WriteContext, is_unreachable
from app.errors import Conflict, InvalidQuery, NotFound, RegistryError, Unavailable
from app.imports import preparation, profiles, registry_checks
from app.imports.preparation import PreparedImport, Upload
from app.imports.queries import jobs as job_queries
from app.imports.result_store import WRITTEN
from app.imports.ring_and_state_import import import_rings, import_states
from app.imports.schemas import Counts, ImportFile, ImportJob, ImportNote, ImportProblem, ImportRequest
from app.imports.transaction import Cancelled, ImportOutcome, JobRecorder, RowImporter, import_records, import_upload
from app.ingest.columns import import_plan
from app.ingest.columns.planner import ImportPlan
from app.ingest.readers.opening import TableReader
from app.instants import format_instant, parse_instant
from app.messages import Language, Message, translate_message
from app.models.tables import FINISHED
from app.records.queries import memberships as membership_queries

log = structlog.get_logger("imports")
MAX_RUNNING: Final = 2
"""Imports that one process runs at the same time; each uses a connection and a thread."""
FILE_PREFIX: Final = "import-"
"""Start of the names of uploaded files."""
_MAX_ISSUES: Final = 1000
_IMPORTERS: Final[Mapping[str, RowImporter]] = {"ring": import_rings, "state": import_states}
"""Importers of kinds that are not located records."""


_INTERRUPTED: Final = Message("The service stopped during this import; nothing was written. Send the file again.")
_CANCELLED: Final = Message("The import was cancelled; nothing was written.")
_UNEXPECTED: Final = Message(
    "The import failed because of an error in the service; nothing was written. Report it to the operator."
)


def _build_problem(code: str, detail: str) -> dict[str, Any]:
    return {"code": code, "detail": detail, "detail_zh": translate_message(detail, "zh"), "errors": []}


def _problem_of_error(error: RegistryError) -> dict[str, Any]:
    issues = [
        vars(issue) | {"message_zh": translate_message(issue.message, "zh")} for issue in error.issues[:_MAX_ISSUES]
    ]
    return _build_problem(error.code, error.detail) | {"errors": issues}


class ImportService:
    """The imports of one process."""

    def __init__(self, database: Database, folder: Path, *, keep_days: float, max_vertices: int) -> None:
        self.database, self.folder = database, folder
        self._keep_days, self._max_vertices = keep_days, max_vertices
        self.worker = secrets.token_hex(8)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(MAX_RUNNING)
        self._lock_connection: AsyncConnection | None = None
        self._locking = asyncio.Lock()

    # -- start and stop ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Fail orphaned jobs; delete expired results and the files of workers that have ended."""
        async with self.database.open_transaction(WriteContext("service")) as connection:
            for job_id in await _fail_orphans(connection):
                log.warning("import interrupted", job=job_id)
            await job_queries.expire_pages(connection, self._keep_days)
            workers = {file: file.name.split("-")[1] for file in self.folder.glob(f"{FILE_PREFIX}*-*")}
            living = await job_queries.fetch_living_workers(connection, sorted(set(workers.values())))
        for file, worker in workers.items():
            if worker not in living:
                with suppress(OSError):
                    file.unlink()

    async def stop(self) -> None:
        """Cancel the running imports; their transactions are rolled back."""
        running = list(self._running.values())
        for job in running:
            job.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._lock_connection is not None:
            with suppress(Exception):
                await self._lock_connection.close()
            self._lock_connection = None

    async def _lock_worker(self) -> None:
        """Hold the lock that shows other processes that this one is alive."""
        async with self._locking:
            if self._lock_connection is not None:
                raw = await self._lock_connection.get_raw_connection()
                driver: Any = raw.driver_connection
                if not driver.is_closed():
                    return
                self._lock_connection = None
            connection = await self.database.engine.connect()
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await job_queries.lock_worker(autocommit, self.worker)
            self._lock_connection = autocommit

    async def create_upload_path(self) -> Path:
        """Return a new path for an uploaded file; its name has the worker that deletes it."""
        await self._lock_worker()
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{FILE_PREFIX}{self.worker}-{secrets.token_hex(6)}"

    # -- create a job -----------------------------------------------------------------------------

    async def prepare_import(
        self, file: Upload, request: ImportRequest, principal: Principal, reason: str = ""
    ) -> PreparedImport:
        """Open a file and plan its import.

        Raises
        ------
        Invalid
            if the file cannot be read, or is refused as a whole.
        NotFound
            if there is no such profile, or no such jurisdiction in the caller's scope.
        """
        principal.require_role("editor")
        if request.jurisdiction is not None:
            principal.require_role_in("editor", [request.jurisdiction])
        async with self.database.open_connection() as connection:
            owner = request.jurisdiction
            profile = None if request.profile is None else await profiles.load_profile(connection, request.profile)
            if owner is not None and await membership_queries.fetch_jurisdiction(connection, owner) is None:
                raise NotFound("jurisdiction", owner)
        resources = ExitStack()
        try:
            source, plan = await anyio.to_thread.run_sync(
                resources.enter_context, preparation.open_import(file, request, profile)
            )
            preparation.check_kind_options(request, plan)
            if plan.missing and request.mode == "upsert":
                await self._check_registered(source, plan, principal)
        except BaseException:
            resources.close()
            raise
        job_id = str(uuid.uuid4())
        return PreparedImport(
            job_id, file, request, principal, reason, source, plan, resources, max_vertices=self._max_vertices
        )

    async def _check_registered(self, source: TableReader, plan: ImportPlan, principal: Principal) -> None:
        """Raise Invalid if fields are missing and none of the first rows is a registered record."""
        sample = await anyio.to_thread.run_sync(preparation.read_valid_sample, source, plan)
        async with self.database.open_connection() as connection:
            if not await registry_checks.has_registered(connection, plan, sample, principal.require_scope("editor")):
                raise import_plan.build_plan_error(plan)

    async def start_job(self, prepared: PreparedImport, on_end: Callable[[], None]) -> None:
        """Insert the job of a prepared and start it in the background; call ``on_end`` when it ends."""
        try:
            await self._lock_worker()
            async with self.database.open_transaction(WriteContext(prepared.principal.name)) as connection:
                await job_queries.insert_job(connection, prepared.build_job(self.worker))
        except BaseException:
            prepared.resources.close()
            on_end()
            raise
        running = asyncio.create_task(self._run_in_turn(prepared))
        self._running[prepared.id] = running

        def end_job(_: object) -> None:
            self._running.pop(prepared.id, None)
            on_end()

        running.add_done_callback(end_job)

    async def wait_for_job(self, job_id: str, seconds: float) -> None:
        """Wait until a job of this process ends, or the seconds are over."""
        running = self._running.get(job_id)
        if running is not None:
            await asyncio.wait([running], timeout=seconds)

    # -- run a job --------------------------------------------------------------------------------

    async def _run_in_turn(self, prepared: PreparedImport) -> None:
        async with self._turns:
            await self.run_job(prepared)

    async def run_job(self, prepared: PreparedImport) -> None:
        """Run the import of a prepared, and record the end of its job whatever happens."""
        recorder = JobRecorder(self.database, prepared)
        problem: Mapping[str, Any]
        state = "failed"
        try:
            with prepared.resources:
                importer = _IMPORTERS.get(prepared.plan.spec.name, import_records)
                outcome = await import_upload(self.database, prepared, recorder, importer)
            if not recorder.finished:
                state = "done" if prepared.request.dry_run or outcome.problem is None else "failed"
                await self._finish_job(recorder, state, outcome.problem, outcome)
            return
        except Cancelled:
            state, problem = "cancelled", _build_problem("cancelled", _CANCELLED)
        except RegistryError as error:
            problem = _problem_of_error(error)
        except asyncio.CancelledError:
            await asyncio.shield(self._finish_job(recorder, "failed", _build_problem("interrupted", _INTERRUPTED)))
            raise
        except Exception as error:  # the job must end whatever the error is
            if is_unreachable(error):
                problem = _problem_of_error(Unavailable())
            else:
                problem = _build_problem("internal-error", _UNEXPECTED)
                log.error("import failed", job=prepared.id, exc_info=error)
        await self._finish_job(recorder, state, problem)

    async def _finish_job(
        self,
        recorder: JobRecorder,
        state: str,
        problem: Mapping[str, Any] | None,
        outcome: ImportOutcome | None = None,
    ) -> None:
        """Record the end of a job; without the database the job is failed later, as an orphan."""
        with suppress(Unavailable, OSError):
            async with self.database.open_transaction(WriteContext(recorder.prepared.principal.name)) as connection:
                await job_queries.finish_job(
                    connection,
                    recorder.prepared.id,
                    state,
                    problem=problem,
                    counts=outcome.counts if outcome else recorder.counts,
                    notes=recorder.collect_notes(outcome),
                )

    # -- read a job -------------------------------------------------------------------------------

    async def load_job(
        self, connection: AsyncConnection, job_id: str, principal: Principal, language: Language
    ) -> ImportJob:
        """Return a job; a job whose worker has ended is failed first."""
        job = await load_job(connection, job_id, principal, language)
        if job.finished_at is None and job_id not in self._running:
            await _fail_orphans(connection)
            job = await load_job(connection, job_id, principal, language)
        return job


async def _fail_orphans(connection: AsyncConnection) -> list[str]:
    """Fail the jobs of workers that have ended; return their ids."""
    return await job_queries.fail_orphans(connection, _build_problem("interrupted", _INTERRUPTED))


async def load_job(
    connection: AsyncConnection, job_id: str, principal: Principal, language: Language = "en"
) -> ImportJob:
    """Return a job.

    Raises
    ------
    NotFound
        if there is no such job in the caller's scope.
    """
    return build_job_document(await fetch_visible_job(connection, job_id, principal), language)


async def fetch_visible_job(connection: AsyncConnection, job_id: str, principal: Principal) -> dict[str, Any]:
    """Return the row of a job that the caller may see: of jurisdictions in scope, or the caller's own."""
    scope = principal.require_scope("editor")
    job = await job_queries.fetch_job(connection, job_id)
    if job is not None and scope is not None and job["actor"] != principal.name:
        owners = set(job["jurisdictions"])
        job = job if owners and owners <= set(scope) else None
    if job is None:
        raise NotFound("import", job_id)
    return job


async def load_jobs(
    connection: AsyncConnection, principal: Principal, *, after: str | None, limit: int, language: Language
) -> tuple[list[ImportJob], str | None]:
    """Return jobs, newest first, and the key that the next page starts after."""
    scope = principal.require_scope("editor")
    position = None if after is None else _parse_position(after)
    rows = await job_queries.fetch_jobs(connection, scope=scope, actor=principal.name, after=position, limit=limit + 1)
    jobs = [build_job_document(row, language) for row in rows[:limit]]
    if len(rows) <= limit:
        return jobs, None
    return jobs, f"{format_instant(jobs[-1].created_at)} {jobs[-1].id}"


def _parse_position(after: str) -> tuple[str, str]:
    """Return the instant and the id of a key ``instant id``."""
    created_at, _, job_id = after.partition(" ")
    if parse_instant(created_at) is None:
        raise InvalidQuery(INVALID_CURSOR, parameter="cursor")
    return created_at, job_id


async def cancel_job(connection: AsyncConnection, job_id: str, principal: Principal) -> None:
    """Request that a job stops; nothing of it is written.

    Raises
    ------
    Conflict
        if the job has ended.
    """
    job = await fetch_visible_job(connection, job_id, principal)
    if not await job_queries.request_cancel(connection, job_id):
        message = Message("The import cannot be cancelled: it has ended with state {state}.", state=job["state"])
        raise Conflict(message, code="import-ended")


def is_rolled_back(job: Mapping[str, Any]) -> bool:
    """Return whether a job wrote rows and its transaction was rolled back."""
    return job["state"] in FINISHED and job["state"] != "done" and not job["dry_run"]


def build_job_document(job: Mapping[str, Any], language: Language) -> ImportJob:
    """Return the document of a job from its row, with its texts in one language."""
    file = ImportFile.model_validate(job["file"])
    counts = Counts.model_validate(job["counts"])
    if is_rolled_back(job):
        lost = counts.created + counts.updated + counts.removed
        counts = counts.model_copy(update={**dict.fromkeys((*WRITTEN, "states"), 0), "not_written": lost})
    return ImportJob(
        **{name: job[name] for name in _MEMBERS},
        file=file,
        counts=counts,
        progress=_compute_progress(counts.rows, file.rows, finished=job["state"] in FINISHED),
        written=job["state"] == "done" and not job["dry_run"],
        notes=[
            ImportNote(code=note["code"], message=note["message_zh" if language == "zh" else "message"])
            for note in job["notes"]
        ],
        problem=None if job["problem"] is None else _localize_problem(job["problem"], language),
        links={
            "self": f"/v1/imports/{job['id']}",
            "rows": f"/v1/imports/{job['id']}/rows",
            "file": f"/v1/imports/{job['id']}/file",
        },
    )


_MEMBERS: Final = (
    *("id", "state", "kind", "dry_run", "jurisdictions", "actor", "options", "plan"),
    *("created_at", "started_at", "finished_at"),
)


def _compute_progress(done: int, total: int | None, *, finished: bool) -> float | None:
    if finished:
        return 1.0
    if not total:
        return None
    return min(1.0, round(done / total, 4))


def _localize_problem(problem: Mapping[str, Any], language: Language) -> ImportProblem:
    """Return a stored problem in one language; text without Chinese stays English."""
    detail = problem.get("detail_zh", problem["detail"]) if language == "zh" else problem["detail"]
    issues = [
        {name: value for name, value in issue.items() if name != "message_zh"}
        | ({"message": issue["message_zh"]} if language == "zh" and "message_zh" in issue else {})
        for issue in problem["errors"]
    ]
    return ImportProblem(code=problem["code"], detail=detail, errors=issues)
