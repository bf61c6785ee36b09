"""The transaction of one file: its batches are validated, staged, checked and written.

While PostgreSQL writes one batch, a thread validates the next one. Every row gets all its issues; the
end decides whether the transaction is committed. A dry run does the same and is rolled back.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, Self

import anyio
import anyio.to_thread
import numpy as np
import pyarrow as pa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database, WriteContext
from app.errors import Conflict, NotFound
from app.imports import registry_checks, result_store, row_errors
from app.imports.preparation import PreparedImport, build_note
from app.imports.queries import jobs as job_queries
from app.imports.queries import staging as staging_queries
from app.imports.result_store import RowOutcomes
from app.imports.staging import BatchStager, StagedBatch
from app.ingest.columns.planner import ImportPlan
from app.ingest.readers.opening import Batch
from app.ingest.validation.batch_validation import iter_batches, validate_batch
from app.ingest.validation.location import SWAP_HINTS
from app.messages import Message, translate_message
from app.records import ring_membership, writing
from app.records.kinds import BY_NAME, Kind
from app.records.queries import records as record_queries

BATCH_ROWS: Final = 20_000
"""Rows of a batch: the rows that are in memory at the same time."""
_TURN_INTERVAL_S: Final = 0.3


class Cancelled(Exception):
    """A user cancelled the import."""


class _RolledBack(Exception):
    """Ends the transaction of a dry run or of a refused file."""


@dataclass(eq=False)
class ImportOutcome:
    """The outcome of an import so far."""

    counts: dict[str, int] = field(default_factory=dict)
    jurisdictions: list[str] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    problem: dict[str, Any] | None = None

    def add_counts(self, counts: dict[str, int]) -> None:
        """Add the counts of a batch."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count


class JobRecorder:
    """Records the progress of an import in its job, outside the transaction of the import."""

    def __init__(self, database: Database, prepared: PreparedImport) -> None:
        self.prepared = prepared
        self.counts: dict[str, int] = {}
        self.finished = False
        self._database = database
        self._context = WriteContext(prepared.principal.name)

    def collect_notes(self, outcome: ImportOutcome | None) -> list[dict[str, str]]:
        """Return the notes of the plan, the file and the outcome."""
        file_notes = [build_note("file", message) for message in self.prepared.source.detected.notes]
        return [*self.prepared.plan_notes, *file_notes, *(outcome.notes if outcome else ())]

    async def wait_for_turn(self, connection: AsyncConnection) -> None:
        """Wait until no other import writes the jurisdiction.

        Raises
        ------
        Cancelled
            if a user cancels the import.
        """
        request, plan = self.prepared.request, self.prepared.plan
        names_jurisdictions = any(feed.spec.name == "jurisdiction" for feed in plan.sources)
        jurisdiction = None if names_jurisdictions else request.jurisdiction
        while not await job_queries.lock_turn(connection, jurisdiction):
            await self._record_state("received")
            await asyncio.sleep(_TURN_INTERVAL_S)
        await self._record_state("validating" if request.dry_run else "applying")

    async def _record_state(self, state: str) -> None:
        async with self._database.open_transaction(self._context) as connection:
            if not await job_queries.update_state(connection, self.prepared.id, state):
                raise Cancelled

    async def record_batch(self, batch: RowOutcomes, counts: dict[str, int], jurisdictions: list[str]) -> None:
        """Store the outcome of a batch, and the counts so far.

        Raises
        ------
        Cancelled
            if a user cancels the import.
        """
        self.counts = dict(counts)
        page = await anyio.to_thread.run_sync(result_store.pack_outcome, batch)
        owners = jurisdictions or self.prepared.jurisdictions
        async with self._database.open_transaction(self._context) as connection:
            goes_on = await job_queries.insert_page(connection, self.prepared.id, vars(page), counts, owners)
        if not goes_on:
            raise Cancelled

    async def finish(self, connection: AsyncConnection, outcome: ImportOutcome) -> None:
        """Record the end of the job in the transaction of the import.

        Raises
        ------
        Cancelled
            if a user cancelled the import before.
        """
        finished = await job_queries.finish_job(
            connection,
            self.prepared.id,
            "done",
            counts=outcome.counts,
            notes=self.collect_notes(outcome),
            unless_cancelled=True,
        )
        if not finished:
            raise Cancelled
        self.finished = True


@dataclass(eq=False)
class ImportTransaction:
    """One import in its transaction."""

    connection: AsyncConnection
    prepared: PreparedImport
    recorder: JobRecorder
    outcome: ImportOutcome

    async def iter_batches(self) -> AsyncIterator[tuple[RowOutcomes, Any, set[str]]]:
        """Yield the outcome of each batch, its valid rows as an Arrow table, and their jurisdictions."""
        rows = self.open_batches()
        while (validated := await anyio.to_thread.run_sync(validate_next_batch, rows, self.prepared.plan)) is not None:
            yield validated

    def open_batches(self) -> Iterator[Batch]:
        """Return the batches of the file."""
        return iter_batches(self.prepared.plan, self.prepared.source, BATCH_ROWS)

    async def record_batch(self, batch: RowOutcomes) -> None:
        """Add the outcome of a batch to that of the import, and record it."""
        self.outcome.add_counts(batch.count_rows())
        await self.recorder.record_batch(batch, self.outcome.counts, self.outcome.jurisdictions)

    def check_refused_rows(self) -> None:
        """Set the problem of the outcome if rows are refused and one is enough to refuse the file."""
        refused, rows = self.outcome.counts.get("refused", 0), self.outcome.counts.get("rows", 0)
        if not refused or self.prepared.request.on_error != "reject_all":
            return
        detail = Message(
            "{refused} of {rows} rows are refused, so no row is written. Correct them, or use on_error=skip_rows.",
            refused=refused,
            rows=rows,
        )
        if refused > rows:  # records that are not in the file and cannot be removed count as refused
            detail = Message(
                "{refused} rows or removals are refused, so no row is written. Correct them, or use "
                "on_error=skip_rows.",
                refused=refused,
            )
        self.outcome.problem = {
            "code": "rows-refused",
            "detail": detail,
            "detail_zh": translate_message(detail, "zh"),
            "errors": [],
        }


RowImporter = Callable[[ImportTransaction], Awaitable[None]]
"""Imports the rows of one kind of record."""


async def import_upload(
    database: Database, prepared: PreparedImport, recorder: JobRecorder, import_rows: RowImporter
) -> ImportOutcome:
    """Import a file in one transaction; it is rolled back if rows are refused, and after a dry run.

    Raises
    ------
    Cancelled
        if a user cancels the import; nothing is written.
    RegistryError
        if the file as a whole is refused; nothing is written.
    """
    outcome = ImportOutcome()
    context = WriteContext(prepared.principal.name, prepared.id, prepared.reason or f"import of {prepared.file.name}")
    try:
        async with database.open_transaction(context) as connection:
            await recorder.wait_for_turn(connection)
            await import_rows(ImportTransaction(connection, prepared, recorder, outcome))
            if prepared.request.dry_run or outcome.problem is not None:
                raise _RolledBack
            await recorder.finish(connection, outcome)
    except _RolledBack:
        pass
    return outcome


async def import_records(transaction: ImportTransaction) -> None:
    """Import located records."""
    await RecordImporter(transaction).import_rows()


class RecordImporter:
    """Imports the batches of a file of one kind of located record."""

    def __init__(self, transaction: ImportTransaction) -> None:
        self.transaction, self.connection, self.outcome = transaction, transaction.connection, transaction.outcome
        prepared = transaction.prepared
        self.request, self.plan, self.principal = prepared.request, prepared.plan, prepared.principal
        self.kind: Kind = BY_NAME[self.plan.spec.name]
        self.fields = self.plan.fields
        self.stager = BatchStager(self.kind, SWAP_HINTS.get(self.plan.location.mode, SWAP_HINTS["pair"]))
        self.unknown_jurisdictions: set[str] = set()
        self.datum_checked = False
        self.connection_lock = asyncio.Lock()
        """Two batches use the connection at the same time, and it runs one statement at a time."""

    async def import_rows(self) -> None:
        """Import all rows; then remove the records that are not in the file, as the request demands."""
        await staging_queries.create_staging_table(self.connection, self.kind)
        recorder = _BackgroundRecorder(self.transaction.recorder)
        async with aclosing(self._iter_staged_batches()) as staged_batches, recorder:
            async for batch, staged in staged_batches:
                await self._write_batch(batch, staged)
                batch.reject_groups()
                self.outcome.add_counts(batch.count_rows())
                self.outcome.jurisdictions = sorted(self.stager.jurisdictions)
                await recorder.record_batch(batch, self.outcome)
        if self.request.replace_missing == "remove":
            await self._remove_missing()
        self.transaction.check_refused_rows()

    # -- validate and stage, in a thread ----------------------------------------------------------

    async def _iter_staged_batches(self) -> AsyncGenerator[tuple[RowOutcomes, StagedBatch], None]:
        """Yield staged batches; the next one is validated while the caller writes one."""
        rows = self.transaction.open_batches()
        upcoming = asyncio.create_task(self._stage_next_batch(rows))
        try:
            while (staged := await upcoming) is not None:
                upcoming = asyncio.create_task(self._stage_next_batch(rows))
                yield staged
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)

    async def _stage_next_batch(self, rows: Iterator[Batch]) -> tuple[RowOutcomes, StagedBatch] | None:
        validated = await anyio.to_thread.run_sync(validate_next_batch, rows, self.plan)
        if validated is None:
            return None
        batch, records, owners = validated
        if "jurisdiction" in self.plan.missing:
            async with self.connection_lock:
                records = await registry_checks.add_jurisdictions(
                    self.connection,
                    self.kind,
                    self.plan,
                    self.request.mode,
                    batch,
                    records,
                    self.principal.require_scope("editor"),
                )
            owners = set(records["jurisdiction"].unique().to_pylist())
        await self._load_jurisdictions(owners)
        return batch, await anyio.to_thread.run_sync(self.stager.stage_batch, records)

    async def _load_jurisdictions(self, owners: set[str]) -> None:
        """Load jurisdictions, and lock their rings."""
        for owner in sorted(owners - set(self.stager.jurisdictions) - self.unknown_jurisdictions):
            try:
                self.principal.require_role_in("editor", [owner])
                async with self.connection_lock:
                    await writing.lock_jurisdictions(self.connection, self.kind, [owner])
                    self.stager.jurisdictions[owner] = await ring_membership.load_jurisdiction_rings(
                        self.connection, owner
                    )
            except NotFound:
                self.unknown_jurisdictions.add(owner)

    # -- check and write --------------------------------------------------------------------------

    async def _write_batch(self, batch: RowOutcomes, staged: StagedBatch) -> None:
        batch.add_issues(staged.issues)
        batch.staged, batch.codes = staged.rows, staged.codes
        if not len(staged.rows):
            return
        async with self.connection_lock:
            await self._check_datum(staged)
            await staging_queries.copy_batch(self.connection, staged.csv, staged.columns)
            if self.plan.key == "owner_reference":
                await staging_queries.adopt_codes(self.connection, self.kind)
                codes = await staging_queries.fetch_codes(self.connection)
                batch.staged = np.array([row for row, _ in codes], np.int64)
                batch.codes = pa.array([code for _, code in codes], pa.string())
            registered = await staging_queries.lock_records(self.connection, self.kind)
            await registry_checks.check_batch(
                self.connection, self.kind, self.plan, self.request.mode, batch, registered
            )
            if self.request.replace_missing == "remove":
                await staging_queries.store_codes(self.connection)
            if registered:
                await self._compare_with_registry(batch)
            if self._is_already_refused:
                return
            await staging_queries.write_records(self.connection, self.kind, self.fields, some_registered=registered > 0)
            if self.kind.is_device and "state" in staged.columns:
                states = await staging_queries.upsert_states(self.connection, self.kind)
                self.outcome.add_counts({"states": states})

    async def _check_datum(self, staged: StagedBatch) -> None:
        """Add a note, once for each file, if its locations look shifted by another datum."""
        is_shifted_datum = self.plan.location.crs in ("gcj02", "bd09")
        if self.datum_checked or is_shifted_datum or staged.owner is None:
            return
        self.datum_checked = True
        note = await registry_checks.detect_shifted_datum(self.connection, staged.owner, staged.sample)
        self.outcome.notes += [note] if note else []

    @property
    def _is_already_refused(self) -> bool:
        """Whether the transaction will be rolled back, so that writing is of no use."""
        refused = self.outcome.counts.get("refused", 0) > 0
        return refused and self.request.on_error == "reject_all" and not self.request.dry_run

    async def _compare_with_registry(self, batch: RowOutcomes) -> None:
        batch.changes = dict(await staging_queries.fetch_changes(self.connection, self.kind, self.fields))
        registered = await staging_queries.fetch_registered_rows(self.connection, self.kind)
        batch.unchanged = np.setdiff1d(np.array(registered, np.int64), list(batch.changes))

    # -- remove records that are not in the file --------------------------------------------------

    async def _remove_missing(self) -> None:
        """Remove the records of the file's jurisdictions that are in no row."""
        if self.outcome.counts.get("refused", 0):
            message = Message("Records that are not in the file were not removed, because rows are refused.")
            self.outcome.notes.append(build_note("nothing-removed", message))
            return
        owners = sorted(self.stager.jurisdictions)
        missing, total = await staging_queries.lock_missing_records(self.connection, self.kind, owners)
        if missing and len(missing) > self.request.max_remove_share * total:
            message = Message(
                "{missing} of {total} {kind} are not in the file and would be removed, more than the allowed share "
                "of {share:.0%}. Check the file, or set max_remove_share.",
                missing=len(missing),
                total=total,
                kind=self.kind.plural,
                share=self.request.max_remove_share,
            )
            raise Conflict(message, code="too-many-removed")
        batch = RowOutcomes(np.empty(0, np.int64))
        references = await record_queries.fetch_dependents(self.connection, self.kind, missing, limit=None)
        batch.add_issues(
            row_errors.STILL_REFERENCED.to_issue(0, code, kind=table, dependent=dependent)
            for code, table, dependent in references
        )
        spared = {code for code, _, _ in references}
        batch.removed = [code for code in missing if code not in spared]
        await record_queries.soft_delete_records(self.connection, self.kind.name, batch.removed)
        self.outcome.add_counts(batch.count_rows() | {"refused": len(spared)})
        await self.transaction.recorder.record_batch(batch, self.outcome.counts, owners)


class _BackgroundRecorder:
    """Records one batch while the next one is written."""

    def __init__(self, recorder: JobRecorder) -> None:
        self._recorder = recorder
        self._recording: asyncio.Task[None] | None = None

    async def record_batch(self, batch: RowOutcomes, outcome: ImportOutcome) -> None:
        """Start to record a batch when the one before is recorded; raise what that raised."""
        await self._wait_for_recording()
        recording = self._recorder.record_batch(batch, dict(outcome.counts), list(outcome.jurisdictions))
        self._recording = asyncio.create_task(recording)

    async def _wait_for_recording(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            await recording

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            await self._wait_for_recording()
        elif self._recording is not None:
            await asyncio.gather(self._recording, return_exceptions=True)


def validate_next_batch(rows: Iterator[Batch], plan: ImportPlan) -> tuple[RowOutcomes, Any, set[str]] | None:
    """Return the outcome of the next batch, its valid rows and their jurisdictions; in a thread."""
    batch = next(rows, None)
    if batch is None:
        return None
    judged = validate_batch(plan, batch)
    outcome = RowOutcomes(batch.row_numbers, geometry=batch.geometry, groups=judged.groups)
    outcome.cells = {name: cells for name, cells in batch.columns.items() if name not in plan.dropped}
    outcome.add_issues(judged.issues)
    has_jurisdictions = "jurisdiction" in judged.valid.column_names
    owners = set(judged.valid["jurisdiction"].unique().to_pylist()) if has_jurisdictions else set()
    return outcome, judged.valid, owners
