"""`coverage-registry export`: the engine of ``/v1/exports`` writing to a file, with its progress."""

import asyncio
import os
import sys
import tempfile
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.access.roles import OPERATOR
from app.cli.common import console, database_url, opened
from app.db import schema
from app.db.engine import Database
from app.errors import Invalid
from app.ogc.collection_model import Collection
from app.ogc.collections import BY_ID
from app.settings import Settings

if TYPE_CHECKING:  # GDAL and Arrow are slow to import, and most commands export nothing
    from app.exports.service import Export, Wanted

STANDARD_OUTPUT = Path("-")
_OF_ANSWERS = ("category", "zone", "level", "status", "guarded", "type")


def export_file(
    kind: Annotated[str, typer.Argument(help="What to export: cameras, roads, rings, gaps ...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; `-`: print it.")],
    format: Annotated[str | None, typer.Option(help="csv, xlsx, gpkg, ... Default: by the file name.")] = None,
    jurisdiction: Annotated[str | None, typer.Option(help="Division code. Default: all.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS84, EPSG:4547, EPSG:3857 ...")] = None,
    lang: Annotated[str, typer.Option(help="Headings: en or zh.")] = "en",
    fields: Annotated[str | None, typer.Option(help="Fields, with commas between.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Filter as name=value; repeat for several.")] = None,
    bom: Annotated[bool, typer.Option(help="CSV: begin with a byte order mark.")] = False,
) -> None:
    """Write records or answers to a file, in any format the API has."""
    from app.exports import service as export_service

    if lang not in ("en", "zh"):
        raise Invalid(f"there is no language {lang!r}; there are en and zh")
    if output != STANDARD_OUTPUT and not output.parent.is_dir():
        raise Invalid(f"there is no folder {output.parent} to write {output.name} to")
    collection = collection_of(kind)
    asked = export_service.wanted(
        collection.id,
        format_of(collection, format, output),
        {**filters_of(collection, where or []), "jurisdiction": jurisdiction},
        crs=crs, language="zh" if lang == "zh" else "en", fields=fields, bom=bom,
    )  # fmt: skip

    async def work(url: str) -> None:
        async with opened(url) as database:
            await schema.require_head(database)
            await run(database, asked, output)

    with database_url(Settings(), make=False) as url:
        asyncio.run(work(url))


def collection_of(name: str) -> Collection:
    """Return a collection by its name; the name of the kind is taken too.

    Raises
    ------
    Invalid
        when there is none.
    """
    singular = {c.kind.name: c for c in BY_ID.values() if c.kind is not None}
    found = BY_ID.get(name) or singular.get(name.replace("-", "_"))
    if found is None:
        raise Invalid(f"there is nothing called {name!r} to export; there are {', '.join(BY_ID)}")
    return found


def format_of(collection: Collection, stated: str | None, output: Path) -> str:
    """Return the format that is stated, or that the end of the file name says.

    Raises
    ------
    Invalid
        when it is none of this collection's.
    """
    from app.exports.service import formats_of

    formats = formats_of(collection)
    ending = output.name.partition(".")[2]
    for wanted in (stated,) if stated else (ending, ending.rpartition(".")[2]):
        if wanted in formats:
            return wanted
    raise Invalid(f"{stated or output.name!r} names no format of {collection.id}; there are {', '.join(formats)}")


def filters_of(collection: Collection, given: list[str]) -> dict[str, Any]:
    """Return filters given as ``name=value``.

    Raises
    ------
    Invalid
        when the collection cannot be narrowed so.
    """
    known = {"level"}
    if collection.kind is not None:
        known = {"q", *collection.kind.filters}
    elif collection.answer:
        known = set(_OF_ANSWERS) & set(collection.by_name)
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in known or not equals:
            raise Invalid(f"{text!r} is no filter: name=value with {', '.join(sorted(known))}")
        found[name] = {"true": True, "false": False}.get(value) if name == "guarded" else value
        if found[name] is None:
            raise Invalid(f"{text!r}: guarded is true or false")
    return found


async def run(database: Database, asked: "Wanted", output: Path) -> None:
    """Write an export to a file that appears when it is complete, or to standard output."""
    from app.analysis.service import Answers
    from app.exports.service import Exports

    exports = Exports(database, Answers(database))
    with _target(output) as file, _shown() as progress:
        made = await exports.open(asked, OPERATOR)
        for note in made.notes:
            console.print(f"  note: {escape(note)}", soft_wrap=True)
        task = progress.add_task(asked.collection.id, told="")
        size = 0
        async with aclosing(made.pieces) as pieces:
            async for piece in pieces:
                file.write(piece)
                size += len(piece)
                progress.update(task, told=_told(made, size, progress.tasks[0].elapsed))
                await asyncio.sleep(0)
    console.print(f"{made.rows[0]:,} rows, {size / 1e6:,.1f} MB: {escape(str(output))}", soft_wrap=True)


def _told(made: "Export", size: int, elapsed: float | None) -> str:
    rate = made.rows[0] / elapsed if elapsed else 0.0
    return f"{made.rows[0]:,} rows, {rate:,.0f}/s, {size / 1e6:,.1f} MB"


def _shown() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}  {task.fields[told]}"))
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True)


@contextmanager
def _target(output: Path) -> Any:
    """Give a file that takes its name when everything is in it."""
    if output == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():  # a pipe or a device: never replaced by a file
        with output.open("wb") as there:
            yield there
        return
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    file: IO[bytes] = os.fdopen(handle, "wb")
    try:
        with file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(output)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
