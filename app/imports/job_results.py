"""What is told of imports: the job, its rows, the file with what is wrong beside each row."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.db.engine import Database
from app.errors import Conflict, InvalidQuery, NotFound
from app.imports import result_store
from app.imports.queries import jobs as job_queries
from app.imports.result_store import NOT_WRITTEN, WRITTEN
from app.imports.schemas import Asked, Counts, ImportFile, ImportJob, ImportNote, ImportProblem
from app.ingest.messages.chinese import in_chinese
from app.models.import_tables import FINISHED

Language = Literal["zh", "en"]
FileFormat = Literal["csv", "xlsx"]
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_MOST_SHEET_ROWS: Final = 1_048_575


def view(row: dict[str, Any], language: Language) -> ImportJob:
    """Return a job as it travels."""
    file = ImportFile.model_validate(row["file"])
    finished = row["state"] in FINISHED
    counts = Counts.model_validate(row["counts"])
    if _unwritten(row):
        counts = _not_kept(counts)
    return ImportJob(
        **{name: row[name] for name in _PLAIN},
        file=file,
        counts=counts,
        progress=_progress(counts.rows, file.rows, finished=finished),
        written=row["state"] == "done" and not row["dry_run"],
        notes=[_note(note, language) for note in row["notes"]],
        problem=None if row["problem"] is None else _problem(row["problem"], language),
        links={
            "self": f"/v1/imports/{row['id']}",
            "rows": f"/v1/imports/{row['id']}/rows",
            "file": f"/v1/imports/{row['id']}/file",
        },
    )


def _unwritten(row: Mapping[str, Any]) -> bool:
    """Tell whether a job has ended in which rows were written, and then taken back."""
    return row["state"] in FINISHED and row["state"] != "done" and not row["dry_run"]


def _not_kept(counts: Counts) -> Counts:
    """Return the counts of a job of which nothing was kept: none was created, updated or removed."""
    lost = counts.created + counts.updated + counts.removed
    none = dict.fromkeys((*WRITTEN, "states"), 0)
    return counts.model_copy(update={**none, "not_written": lost})


_PLAIN: Final = (
    "id", "state", "kind", "dry_run", "jurisdictions", "actor", "options", "plan", "created_at",
    "started_at", "finished_at",
)  # fmt: skip


def _note(note: dict[str, str], language: Language) -> ImportNote:
    message = note["message_zh" if language == "zh" else "message"]
    return ImportNote(code=note["code"], message=message)


def _problem(problem: dict[str, Any], language: Language) -> ImportProblem:
    found = ImportProblem.model_validate(problem)
    if language == "zh":
        found.detail = in_chinese(found.detail)
    return found


def _progress(done: int, all_rows: int | None, *, finished: bool) -> float | None:
    if finished:
        return 1.0
    if not all_rows:
        return None
    return min(1.0, round(done / all_rows, 4))


async def get(connection: AsyncConnection, job: str, who: Principal, language: Language = "en") -> ImportJob:
    """Return a job.

    Raises
    ------
    NotFound
        when there is none in the caller's scope.
    """
    return view(await _seen(connection, job, who), language)


async def _seen(connection: AsyncConnection, job: str, who: Principal) -> dict[str, Any]:
    """Return a job the caller may see: of jurisdictions in scope, or the caller's own."""
    scope = who.scope("editor")
    found = await job_queries.find(connection, job)
    if found is not None and scope is not None and found["actor"] != who.name:
        owners = set(found["jurisdictions"])
        found = found if owners and owners <= set(scope) else None
    if found is None:
        raise NotFound("import", job)
    return found


async def listed(
    connection: AsyncConnection,
    who: Principal,
    *,
    after: str | None,
    limit: int,
    language: Language,
) -> tuple[list[ImportJob], str | None]:
    """Return jobs, newest first, and where the next page starts."""
    scope = who.scope("editor")
    place = None if after is None else _place(after)
    found = await job_queries.page(connection, scope=scope, actor=who.name, after=place, limit=limit + 1)
    shown = found[:limit]
    jobs = [view(row, language) for row in shown]
    if len(found) <= limit:
        return jobs, None
    return jobs, f"{shown[-1]['created_at'].isoformat()} {shown[-1]['id']}"


def _place(after: str) -> tuple[str, str]:
    at, _, job = after.partition(" ")
    try:
        datetime.fromisoformat(at)
    except ValueError as error:
        raise _bad_cursor() from error
    return at, job


def _bad_cursor() -> InvalidQuery:
    message = "The cursor is not one of ours: follow `next` as it is given."
    return InvalidQuery(message, parameter="cursor")


async def cancel(connection: AsyncConnection, job: str, who: Principal) -> None:
    """Ask a job to stop; nothing of it will be written.

    Raises
    ------
    Conflict
        when it has ended.
    """
    found = await _seen(connection, job, who)
    if not await job_queries.cancel(connection, job):
        raise Conflict(f"The import has ended: it is {found['state']}.", code="import-ended")


async def rows(
    connection: AsyncConnection,
    job: str,
    who: Principal,
    *,
    wanted: Asked | None,
    after: str | None,
    limit: int,
    language: Language,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return what became of rows, in the order of the file, and where the next page starts."""
    unwritten = _unwritten(await _seen(connection, job, who))
    page, start = _position(after)
    if _none(wanted, unwritten):
        return [], None
    found: list[dict[str, Any]] = []
    while (stored := await job_queries.results(connection, job, page, _kept(wanted))) is not None:
        number, results, _ = stored
        part, rest = await anyio.to_thread.run_sync(
            result_store.rows_of, results, wanted, language, start if number == page else 0,
            limit - len(found), unwritten,
        )  # fmt: skip
        found += part
        if rest is not None:
            return found, f"{number}:{rest}"
        page, start = number + 1, 0
    return found, None


def _none(wanted: Asked | None, unwritten: bool) -> bool:
    """Tell whether no row can have become what is asked for, because of how the job ended."""
    return (wanted in WRITTEN and unwritten) or (wanted == NOT_WRITTEN and not unwritten)


def _kept(wanted: Asked | None) -> Sequence[str] | None:
    """Return the statuses under which rows that are asked for are kept."""
    if wanted is None:
        return None
    return WRITTEN if wanted == NOT_WRITTEN else (wanted,)


def _position(after: str | None) -> tuple[int, int]:
    if after is None:
        return 0, 0
    page, _, start = after.partition(":")
    if not (page.isdecimal() and start.isdecimal() and len(after) < 20):
        raise _bad_cursor()
    return int(page), int(start)


async def file_name(connection: AsyncConnection, job: str, who: Principal, extension: FileFormat) -> str:
    """Return what the annotated file of a job is called.

    Raises
    ------
    NotFound
        when its rows are not kept any more, or there are none.
    """
    found = await _seen(connection, job, who)
    if await job_queries.results(connection, job, 0, None) is None:
        raise NotFound("file of import", job)
    return f"{Path(found['file']['name']).stem}-{job[:8]}.{extension}"


async def as_csv(database: Database, job: str, wanted: Asked | None, language: Language) -> AsyncIterator[bytes]:
    """Yield the annotated file as CSV, page by page, in UTF-8 with a byte order mark for Excel."""
    yield await anyio.to_thread.run_sync(_csv_header, await _headings(database, job, language))
    async for results, cells in _pages(database, job, wanted):
        lines = result_store.annotated(results, cells, wanted, language)
        yield await anyio.to_thread.run_sync(_csv_part, lines)


async def _headings(database: Database, job: str, language: Language) -> list[str]:
    """Return what stands above the columns of an annotated file, also where no row does."""
    async with database.reading() as connection:
        stored = await job_queries.results(connection, job, 0, None, cells=True)
    cells = None if stored is None else stored[2]
    return [] if cells is None else result_store.headings(result_store.table_of(cells), language)


async def _pages(database: Database, job: str, wanted: Asked | None) -> AsyncIterator[tuple[bytes, bytes]]:
    async with database.reading() as connection:
        found = await job_queries.find(connection, job)
    if found is None or _none(wanted, _unwritten(found)):
        return
    page = 0
    while True:
        async with database.reading() as connection:
            stored = await job_queries.results(connection, job, page, _kept(wanted), cells=True)
        if stored is None:
            return
        page = stored[0] + 1
        if stored[2] is not None:
            yield stored[1], stored[2]


def _csv_header(names: list[str]) -> bytes:
    return "\ufeff".encode() + _csv_part([names]) if names else b""


def _csv_part(lines: Iterable[Sequence[str | None]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for cells in lines:
        writer.writerow([harmless(cell) for cell in cells])
    return text.getvalue().encode()


def harmless(cell: str | None) -> str:
    """Return a cell that a spreadsheet takes for text or a number, never for a formula.

    >>> harmless("=1+1"), harmless("-12.5"), harmless("@x"), harmless(None)
    ("'=1+1", '-12.5', "'@x", '')
    """
    if not cell:
        return ""
    if cell.startswith(_FORMULA) and not _is_number(cell):
        return "'" + cell
    return cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


async def as_xlsx(database: Database, job: str, wanted: Asked | None, language: Language, path: Path) -> None:
    """Write the annotated file as a workbook, row by row."""
    book = xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet()
    try:
        for at, name in enumerate(await _headings(database, job, language)):
            sheet.write_string(0, at, name)
        row = 1
        async for results, cells in _pages(database, job, wanted):
            lines = result_store.annotated(results, cells, wanted, language)
            row = await anyio.to_thread.run_sync(_sheet_part, sheet, lines, row)
    finally:
        await anyio.to_thread.run_sync(book.close)


def _sheet_part(sheet: Any, lines: Iterable[Sequence[str | None]], row: int) -> int:
    for cells in lines:
        if row > _MOST_SHEET_ROWS:
            break
        for at, cell in enumerate(cells):
            if cell:
                sheet.write_string(row, at, harmless(cell))
        row += 1
    return row
