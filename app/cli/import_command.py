"""`coverage-registry import`: imports one file, with a progress bar and a table of row errors.

It uses the engine of `POST /v1/imports` with the rights of the operator, also while the service runs.
"""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from app.access.roles import OPERATOR
from app.cli.common import console, database_url, exit_with_error, open_database
from app.db import schema
from app.db.engine import Database
from app.errors import RegistryError
from app.imports import job_results, preparation
from app.imports import jobs as import_jobs
from app.imports.jobs import ImportService
from app.imports.preparation import PreparedImport
from app.imports.schemas import ImportJob, RowFilter
from app.ingest.values.crs import format_crs_title
from app.messages import Language, translate_message
from app.settings import Settings

_REFRESH_INTERVAL_S: Final = 0.2


class _RowRate(ProgressColumn):
    """Rows per second."""

    @override
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} rows/s")


def import_file(
    file: Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False)],
    kind: Annotated[str, typer.Option(help="Kind of record, or ring or state.")],
    jurisdiction: Annotated[str | None, typer.Option(help="Jurisdiction of rows that do not name one.")] = None,
    mapping: Annotated[list[str] | None, typer.Option(help="column=field, repeatable; or JSON.")] = None,
    default: Annotated[list[str] | None, typer.Option(help="field=value for blank cells; repeatable.")] = None,
    drop_column: Annotated[
        list[str] | None, typer.Option(help="Column that is neither read nor stored; repeatable.")
    ] = None,
    values: Annotated[str | None, typer.Option(help="JSON: field to cell text to value.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile of the source. Default: detected.")] = None,
    code_lists: Annotated[str | None, typer.Option(help="Code list of all topics, or JSON: topic to list.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS or datum: EPSG:2326, gcj02, bd09 ...")] = None,
    key: Annotated[str | None, typer.Option(help="code or owner_reference.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="upsert, create_only or update_only (key and changed fields).")
    ] = None,
    replace_missing: Annotated[
        str | None, typer.Option(help="keep or remove records that are not in the file.")
    ] = None,
    max_remove_share: Annotated[
        str | None, typer.Option(help="Largest share of the records that may be removed.")
    ] = None,
    on_error: Annotated[str | None, typer.Option(help="reject_all or skip_rows.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report the outcome of each row, write nothing.")] = False,
    format: Annotated[str | None, typer.Option(help="Format of the file.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the file.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Delimiter of the file.")] = None,
    header_row: Annotated[str | None, typer.Option(help="Row of the header; 0: no header.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of a GIS file.")] = None,
    reason: Annotated[str, typer.Option(help="Reason in the history of the records.")] = "",
    show: Annotated[int, typer.Option(help="Number of rows with errors or warnings to show.")] = 20,
    lang: Annotated[str, typer.Option(help="Language of messages: zh or en.")] = "en",
) -> None:
    """Import a file: CSV, XLSX, GeoJSON, GeoPackage, Shapefile, GB/T 28181 ..."""
    options = {
        "kind": kind,
        "jurisdiction": jurisdiction,
        "profile": profile,
        "values": values,
        "code_lists": code_lists,
        "crs": crs,
        "key": key,
        "mode": mode,
        "replace_missing": replace_missing,
        "max_remove_share": max_remove_share,
        "on_error": on_error,
        "dry_run": "true" if dry_run else None,
        "format": format,
        "encoding": encoding,
        "delimiter": delimiter,
        "header_row": header_row,
        "sheet": sheet,
        "layer": layer,
    }
    repeated = {"mapping": mapping, "defaults": default, "drop_columns": drop_column}
    pairs = [(name, text) for name, text in options.items() if text is not None]
    pairs += [(name, text) for name, texts in repeated.items() for text in texts or ()]
    if lang not in ("zh", "en"):
        exit_with_error(f"Unknown language {lang!r}. Languages: zh, en.")
    settings = Settings()
    with database_url(settings) as url:
        try:
            job = asyncio.run(run_import(settings, url, file, pairs, reason, show, cast(Language, lang)))
        except RegistryError as error:
            error.detail = translate_message(error.detail, "zh" if lang == "zh" else "en")
            raise
    if job.state != "done" or job.counts.refused:
        sys.exit(1)


async def run_import(
    settings: Settings,
    url: str,
    file: Path,
    options: Iterable[tuple[str, str]],
    reason: str,
    show: int,
    language: Language,
) -> ImportJob:
    """Run an import with the rights of the operator, print its outcome, and return the job."""
    request = preparation.parse_request(preparation.parse_options(options))
    async with open_database(url) as database:
        await schema.migrate(database)
        imports = ImportService(
            database,
            settings.import_dir,
            keep_days=settings.import_keep_days,
            max_vertices=settings.max_ring_vertices,
        )
        try:
            with console.status(f"Opening {escape(file.name)} ..."):
                upload = await asyncio.to_thread(preparation.read_upload, file)
                prepared = await imports.prepare_import(upload, request, OPERATOR, reason)
            print_plan(prepared)
            await imports.start_job(prepared, lambda: None)
            job = await show_progress(database, imports, prepared.id, language)
            print_summary(job)
            await print_rows(database, job, show, language)
            return job
        finally:
            await imports.stop()


async def show_progress(database: Database, imports: ImportService, job_id: str, language: Language) -> ImportJob:
    """Show a progress bar until the job ends; return the job."""
    columns = (
        *(SpinnerColumn(), TextColumn("{task.description}"), BarColumn()),
        *(MofNCompleteColumn(), _RowRate(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("received", total=None)
        while True:
            await imports.wait_for_job(job_id, _REFRESH_INTERVAL_S)
            async with database.open_connection() as connection:
                job = await import_jobs.load_job(connection, job_id, OPERATOR, language)
            bar.update(task, description=job.state, total=job.file.rows, completed=job.counts.rows)
            if job.finished_at is not None:
                return job


def print_plan(prepared: PreparedImport) -> None:
    """Print the detected format, and the column of each field."""
    detected, plan = prepared.source.detected, prepared.plan.describe()
    properties = [detected.format, detected.encoding, detected.layer, detected.crs and format_crs_title(detected.crs)]
    rows = "" if detected.rows is None else f", {detected.rows:,} rows"
    description = " ".join(text for text in properties if text)
    console.print(f"{escape(prepared.file.name)}: {escape(description)}{rows}, profile {plan['profile']}")
    table = Table("column", "field", "how", box=None, pad_edge=False)
    for feed in plan["columns"]:
        details = " ".join(str(feed[name]) for name in ("why", "code_list", "unit") if feed.get(name))
        table.add_row(escape(", ".join(feed["columns"])), feed["field"], details)
    location = plan["geometry"]
    if location["from"] != "none":
        columns = ", ".join(location["columns"]) or "the geometry of the file"
        table.add_row(escape(columns), "geometry", location["crs"])
    console.print(table)
    ignored = ", ".join(column["column"] for column in plan["ignored"])
    if ignored:
        console.print(f"ignored: {escape(ignored)}")
    if plan["dropped"]:
        console.print(f"dropped: {escape(', '.join(plan['dropped']))}")


def print_summary(job: ImportJob) -> None:
    """Print the notes, the end and the counts of a job."""
    for note in job.notes:
        console.print(f"[yellow]note[/yellow] {escape(note.message)}", soft_wrap=True)
    counts = {name: count for name, count in job.counts.model_dump().items() if count}
    summary = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "no rows"
    color = "green" if job.state == "done" else "red"
    changes = job.counts.created + job.counts.updated + job.counts.removed + job.counts.states
    effect = ""
    if job.dry_run:
        effect = " (dry run, nothing written)"
    elif job.written:
        effect = " (written)" if changes else " (nothing to write)"
    console.print(f"[{color}]{job.state}[/{color}] {summary}{effect}")
    if job.problem is not None:
        console.print(escape(job.problem.detail), soft_wrap=True)


async def print_rows(database: Database, job: ImportJob, limit: int, language: Language) -> None:
    """Print rows with errors and warnings; after a dry run, rows with changes as well."""
    table = Table("row", "code", "column", "value", "what", box=None, pad_edge=False)
    statuses: list[RowFilter] = ["error", "warning", *(("updated",) if job.dry_run else ())]
    printed: set[tuple[Any, Any]] = set()
    for status in statuses:
        async with database.open_connection() as connection:
            rows, _ = await job_results.load_rows(
                connection, job.id, OPERATOR, status=status, after=None, limit=limit, language=language
            )
        for row in rows:
            identity = (row["row"], row["code"])
            if identity not in printed:  # a row may have errors and warnings
                printed.add(identity)
                _add_row(table, row)
    if table.row_count:
        Console(highlight=False).print(table)
    console.print(f"import {job.id}")


def _add_row(table: Table, row: dict[str, Any]) -> None:
    number, code = "" if row["row"] is None else str(row["row"]), row["code"] or ""
    for problem in row["problems"]:
        hint = f" ({problem['hint']})" if problem["hint"] else ""
        column, value = problem["column"] or problem["field"] or "", problem["value"] or ""
        table.add_row(number, code, escape(column), escape(value), escape(f"{problem['message']}{hint}"))
    for field, (before, after) in (row["changes"] or {}).items():
        table.add_row(number, code, field, "", escape(f"{before!r} -> {after!r}"))
