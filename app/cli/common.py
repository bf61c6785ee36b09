"""What commands of the command line share: the console, the database they work on, how they give up."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import DBAPIError

from app import server
from app.db.cluster import LocalCluster
from app.db.engine import Database
from app.settings import Settings

console = Console(stderr=True, highlight=False)


class DatabaseUnusable(Exception):
    """The database that was named cannot be connected to; the message says why."""


def cause(error: BaseException) -> str:
    """Return what the driver said, in one line and without the names of its classes."""
    while isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig.__cause__ or error.orig
    return str(error).partition("\n")[0] or type(error).__name__


def give_up(message: str) -> NoReturn:
    """Say why and leave with 1."""
    console.print(f"[red]coverage-registry:[/red] {escape(message)}", soft_wrap=True)
    raise SystemExit(1)


@contextmanager
def database_url(settings: Settings, *, make: bool = True) -> Iterator[str]:
    """Give the URL of the database, running the private cluster when none is named."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    cluster = LocalCluster(settings.data_dir)
    if not make and not cluster.folder.exists():
        where = Path(settings.data_dir).resolve()
        give_up(f"there is no registry in {where}; name its folder with REGISTRY_DATA_DIR")
    with ExitStack() as leaving:
        with server.signals_wait():
            cluster.start()
            leaving.callback(_leave, cluster)
        yield cluster.url


def _leave(cluster: LocalCluster) -> None:
    with server.signals_wait():
        cluster.close()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Give a database that can be used."""
    database = Database(url, pool_size=4, statement_timeout_s=3600)
    try:
        await _connect(database, url)
        yield database
    finally:
        await database.close()


async def _connect(database: Database, url: str) -> None:
    """Find out, before anything is done, whether the database can be used at all."""
    try:
        async with database.engine.connect():
            pass
    except Exception as error:  # each layer of the driver has its own kinds
        shown = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", url)
        msg = f"cannot use the database {shown}: {cause(error)}; see REGISTRY_DATABASE_URL."
        raise DatabaseUnusable(msg) from error
