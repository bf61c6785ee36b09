"""`coverage-registry import`: one file into the registry from the command line.

The same engine as `POST /v1/imports`, with the rights of the operator, also while the service runs.
"""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

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
from app.cli.common import console, database_url, give_up, opened
from app.db import schema
from app.db.engine import Database
from app.errors import RegistryError
from app.imports import job_results, preparation
from app.imports.jobs import Admitted, Imports
from app.imports.schemas import ImportJob
from app.ingest.messages.chinese import in_chinese
from app.ingest.values.crs import format_crs_title
from app.settings import Settings

_ASK_EVERY_S = 0.2
Language = Literal["zh", "en"]


class _Rate(ProgressColumn):
    """Rows a second."""

    @override
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} rows/s")


def import_file(
    file: Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False)],
    kind: Annotated[str, typer.Option(help="Kind of record, or ring or state.")],
    jurisdiction: Annotated[str | None, typer.Option(help="Jurisdiction of rows that do not name one.")] = None,
    mapping: Annotated[list[str] | None, typer.Option(help="column=field, as often as needed; or JSON.")] = None,
    default: Annotated[list[str] | None, typer.Option(help="field=value where the cell is blank; repeat.")] = None,
    drop_column: Annotated[list[str] | None, typer.Option(help="Column that is never read nor kept; repeat.")] = None,
    values: Annotated[str | None, typer.Option(help="JSON: field to cell text to value.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile to read by.")] = None,
    code_lists: Annotated[str | None, typer.Option(help="Code list of all topics, or JSON: topic to list.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS or datum: EPSG:2326, gcj02, bd09 ...")] = None,
    key: Annotated[str | None, typer.Option(help="code or owner_reference.")] = None,
    mode: Annotated[str | None, typer.Option(help="upsert, create_only or update_only (key and what changes).")] = None,
    replace_missing: Annotated[str | None, typer.Option(help="keep, or remove what is not in the file.")] = None,
    max_remove_share: Annotated[
        str | None, typer.Option(help="Largest share of the records that may be removed.")
    ] = None,
    on_error: Annotated[str | None, typer.Option(help="reject_all or skip_rows.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, tell the outcome, write nothing.")] = False,
    format: Annotated[str | None, typer.Option(help="Format of the file.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the file.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Delimiter of the file.")] = None,
    header_row: Annotated[str | None, typer.Option(help="Row of the header; 0: none.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of a GIS file.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    show: Annotated[int, typer.Option(help="Rows to show of those that have something.")] = 20,
    lang: Annotated[str, typer.Option(help="Language of messages: zh or en.")] = "en",
) -> None:
    """Bring a file in: CSV, XLSX, GeoJSON, GeoPackage, Shapefile, GB/T 28181 ..."""
    single = {
        "kind": kind, "jurisdiction": jurisdiction, "profile": profile, "values": values,
        "code_lists": code_lists, "crs": crs, "key": key, "mode": mode,
        "replace_missing": replace_missing, "max_remove_share": max_remove_share,
        "on_error": on_error, "dry_run": "true" if dry_run else None, "format": format,
        "encoding": encoding, "delimiter": delimiter, "header_row": header_row, "sheet": sheet,
        "layer": layer,
    }  # fmt: skip
    many = {"mapping": mapping, "defaults": default, "drop_columns": drop_column}
    given = [(name, text) for name, text in single.items() if text is not None]
    given += [(name, text) for name, texts in many.items() for text in texts or ()]
    if lang not in ("zh", "en"):
        give_up(f"there is no language {lang!r}; there are zh and en")
    settings = Settings()
    with database_url(settings) as url:
        try:
            job = asyncio.run(_run(settings, url, file, given, reason, show, cast(Language, lang)))
        except RegistryError as error:
            error.detail = in_chinese(error.detail) if lang == "zh" else error.detail
            raise
    if job.state != "done" or job.counts.refused:
        sys.exit(1)


async def _run(
    settings: Settings,
    url: str,
    file: Path,
    given: Iterable[tuple[str, str]],
    reason: str,
    show: int,
    language: Language,
) -> ImportJob:
    wanted = preparation.request_of(preparation.payload_of(given))
    async with opened(url) as database:
        await schema.migrate(database)
        imports = Imports(
            database, settings.import_dir, keep_days=settings.import_keep_days,
            max_vertices=settings.max_ring_vertices,
        )  # fmt: skip
        try:
            with console.status(f"Opening {escape(file.name)} ..."):
                arrived = await asyncio.to_thread(preparation.arrived, file)
                admitted = await imports.admit(arrived, wanted, OPERATOR, reason)
            _tell_plan(admitted)
            await imports.submit(admitted, lambda: None)
            job = await _watched(database, imports, admitted.id, language)
            await _tell(database, job, show, language)
            return job
        finally:
            await imports.stop()


async def _watched(database: Database, imports: Imports, job_id: str, language: Language) -> ImportJob:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        _Rate(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("received", total=None)
        while True:
            await imports.wait(job_id, _ASK_EVERY_S)
            async with database.reading() as connection:
                job = await job_results.get(connection, job_id, OPERATOR, language)
            bar.update(task, description=job.state, total=job.file.rows, completed=job.counts.rows)
            if job.finished_at is not None:
                return job


def _tell_plan(admitted: Admitted) -> None:
    found, plan = admitted.source.detected, admitted.plan.describe()
    words = [found.format, found.encoding, found.layer, found.crs and format_crs_title(found.crs)]
    rows = "" if found.rows is None else f", {found.rows:,} rows"
    told = " ".join(word for word in words if word)
    console.print(f"{escape(admitted.file.name)}: {escape(told)}{rows}, profile {plan['profile']}")
    table = Table("column", "field", "how", box=None, pad_edge=False)
    for feed in plan["columns"]:
        how = " ".join(str(feed[name]) for name in ("why", "code_list", "unit") if feed.get(name))
        table.add_row(escape(", ".join(feed["columns"])), feed["field"], how)
    place = plan["geometry"]
    if place["from"] != "none":
        columns = ", ".join(place["columns"]) or "the geometry of the file"
        table.add_row(escape(columns), "geometry", place["crs"])
    ignored = ", ".join(column["column"] for column in plan["ignored"])
    console.print(table)
    if ignored:
        console.print(f"not used: {escape(ignored)}")
    if plan["dropped"]:
        console.print(f"dropped: {escape(', '.join(plan['dropped']))}")


async def _tell(database: Database, job: ImportJob, show: int, language: Language) -> None:
    for note in job.notes:
        console.print(f"[yellow]note[/yellow] {escape(note.message)}", soft_wrap=True)
    counts = {name: count for name, count in job.counts.model_dump().items() if count}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "no rows"
    ended = {"done": "[green]done[/green]"}.get(job.state, f"[red]{job.state}[/red]")
    changes = job.counts.created + job.counts.updated + job.counts.removed + job.counts.states
    word = "written" if changes else "nothing to write"
    word = "dry run, nothing written" if job.dry_run else word if job.written else ""
    console.print(f"{ended} {told}{f' ({word})' if word else ''}")
    if job.problem is not None:
        console.print(escape(job.problem.detail), soft_wrap=True)
    table = _Faults()
    for status in ("error", "warning", *(("updated",) if job.dry_run else ())):
        async with database.reading() as connection:
            rows, _ = await job_results.rows(
                connection, job.id, OPERATOR, wanted=cast(Any, status), after=None, limit=show,
                language=language,
            )  # fmt: skip
        for row in rows:
            table.add(row)
    table.show()
    console.print(f"import {job.id}")


class _Faults:
    """The table of what is told of rows; a row with an error and a warning stands in it once."""

    def __init__(self) -> None:
        self._table = Table("row", "code", "column", "value", "what", box=None, pad_edge=False)
        self._seen: set[tuple[Any, Any]] = set()

    def add(self, row: dict[str, Any]) -> None:
        place = (row["row"], row["code"])
        if place in self._seen:
            return
        self._seen.add(place)
        number, code = "" if row["row"] is None else str(row["row"]), row["code"] or ""
        for found in row["problems"]:
            hint = f" ({found['hint']})" if found["hint"] else ""
            column, value = found["column"] or found["field"] or "", found["value"] or ""
            told = f"{found['message']}{hint}"
            self._table.add_row(number, code, escape(column), escape(value), escape(told))
        for field, (before, after) in (row["changes"] or {}).items():
            self._table.add_row(number, code, field, "", escape(f"{before!r} -> {after!r}"))

    def show(self) -> None:
        if self._table.row_count:
            Console(highlight=False).print(self._table)
