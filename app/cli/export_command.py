"""`coverage-registry export`: writes one collection to a file or to standard output, with progress."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.access.roles import OPERATOR
from app.cli.common import console, database_url, open_database
from app.db import schema
from app.db.engine import Database
from app.errors import Invalid
from app.messages import Message
from app.ogc.collection_model import Collection
from app.ogc.collections import BY_ID
from app.settings import Settings

if TYPE_CHECKING:  # GDAL and Arrow are slow to import, and most commands do not export
    from app.exports.service import Export, ExportRequest

STANDARD_OUTPUT: Final = Path("-")
_RESULT_FILTERS: Final = ("category", "zone", "level", "status", "guarded", "type")


def export_file(
    kind: Annotated[str, typer.Argument(help="Collection: cameras, roads, rings, gaps ...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; `-`: standard output.")],
    format: Annotated[str | None, typer.Option(help="csv, xlsx, gpkg, ... Default: by the file name.")] = None,
    jurisdiction: Annotated[str | None, typer.Option(help="Division code. Default: all.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS84, EPSG:4547, EPSG:3857 ...")] = None,
    lang: Annotated[str, typer.Option(help="Headings: en or zh.")] = "en",
    fields: Annotated[str | None, typer.Option(help="Fields, separated by commas.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Filter as name=value; repeatable.")] = None,
    bom: Annotated[bool, typer.Option(help="CSV: start with a byte order mark.")] = False,
) -> None:
    """Export records or results of the analysis to a file, in any format of the API."""
    from app.exports import service as export_service

    if lang not in ("en", "zh"):
        raise Invalid(Message("Unknown language {language!r}. Languages: en, zh.", language=lang))
    if output != STANDARD_OUTPUT and not output.parent.is_dir():
        message = Message(
            "Cannot write {file}: folder {folder} does not exist.", file=output.name, folder=str(output.parent)
        )
        raise Invalid(message)
    collection = find_collection(kind)
    request = export_service.build_request(
        collection.id,
        choose_format(collection, format, output),
        {**parse_filters(collection, where or []), "jurisdiction": jurisdiction},
        crs=crs,
        language="zh" if lang == "zh" else "en",
        fields=fields,
        bom=bom,
    )

    async def export(url: str) -> None:
        async with open_database(url) as database:
            await schema.require_head(database)
            await write_export(database, request, output)

    with database_url(Settings(), create=False) as url:
        asyncio.run(export(url))


def find_collection(name: str) -> Collection:
    """Return a collection by its name or the name of its kind; raise Invalid if there is none."""
    by_kind = {c.kind.name: c for c in BY_ID.values() if c.kind is not None}
    collection = BY_ID.get(name) or by_kind.get(name.replace("-", "_"))
    if collection is None:
        message = Message("Unknown collection {name!r}. Collections: {known}.", name=name, known=", ".join(BY_ID))
        raise Invalid(message)
    return collection


def choose_format(collection: Collection, explicit_format: str | None, output: Path) -> str:
    """Return the explicit format or that of the file name; raise Invalid if the collection does not have it."""
    from app.exports.service import list_formats

    formats = list_formats(collection)
    ending = output.name.partition(".")[2]
    for candidate in (explicit_format,) if explicit_format else (ending, ending.rpartition(".")[2]):
        if candidate in formats:
            return candidate
    message = Message(
        "Unknown format {format!r} for {collection}. Formats: {known}.",
        format=explicit_format or output.name,
        collection=collection.id,
        known=", ".join(formats),
    )
    raise Invalid(message)


def parse_filters(collection: Collection, texts: list[str]) -> dict[str, Any]:
    """Return filters from texts ``name=value``; raise Invalid if the collection does not have a filter."""
    names = {"level"}
    if collection.kind is not None:
        names = {"q", *collection.kind.filters}
    elif collection.computed:
        names = set(_RESULT_FILTERS) & set(collection.by_name)
    filters: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in names or not equals:
            message = Message(
                "Invalid filter {text!r}. Write name=value with one of {known}.",
                text=text,
                known=", ".join(sorted(names)),
            )
            raise Invalid(message)
        filters[name] = {"true": True, "false": False}.get(value) if name == "guarded" else value
        if filters[name] is None:
            raise Invalid(Message("Invalid filter {text!r}. Use guarded=true or guarded=false.", text=text))
    return filters


async def write_export(database: Database, request: "ExportRequest", output: Path) -> None:
    """Write an export to a file that appears when it is complete, or to standard output."""
    from app.analysis.service import AnalysisService
    from app.exports.service import ExportService

    exports = ExportService(database, AnalysisService(database))
    with open_output(output) as file, create_progress() as progress:
        export = await exports.open_export(request, OPERATOR)
        for note in export.notes:
            console.print(f"  note: {escape(note)}", soft_wrap=True)
        task = progress.add_task(request.collection.id, summary="")
        size = 0
        async with aclosing(export.chunks) as chunks:
            async for chunk in chunks:
                file.write(chunk)
                size += len(chunk)
                progress.update(task, summary=format_progress(export, size, progress.tasks[0].elapsed))
                await asyncio.sleep(0)
    console.print(f"{export.row_count[0]:,} rows, {size / 1e6:,.1f} MB: {escape(str(output))}", soft_wrap=True)


def format_progress(export: "Export", size: int, elapsed_s: float | None) -> str:
    """Return rows, rows per second and megabytes so far."""
    rows = export.row_count[0]
    rate = rows / elapsed_s if elapsed_s else 0.0
    return f"{rows:,} rows, {rate:,.0f}/s, {size / 1e6:,.1f} MB"


def create_progress() -> Progress:
    """Return the progress display of an export."""
    columns = (SpinnerColumn(), TextColumn("{task.description}  {task.fields[summary]}"))
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True)


@contextmanager
def open_output(output: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file that is renamed to the output at the end, or standard output."""
    if output == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():  # a pipe or a device must not be replaced by a file
        with output.open("wb") as device:
            yield device
        return
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        mask = os.umask(0)  # reads the mask; mkstemp ignores it
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(output)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
