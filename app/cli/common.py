"""Parts that the commands share: the console, the database, the exit with an error."""

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
    """The named database does not accept a connection; the message has the reason."""


def format_cause(error: BaseException) -> str:
    """Return the text of the driver in one line, without the names of its classes."""
    while isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig.__cause__ or error.orig
    return str(error).partition("\n")[0] or type(error).__name__


def exit_with_error(message: str) -> NoReturn:
    """Print a message and exit with code 1."""
    console.print(f"[red]coverage-registry:[/red] {escape(message)}", soft_wrap=True)
    raise SystemExit(1)


@contextmanager
def database_url(settings: Settings, *, create: bool = True) -> Iterator[str]:
    """Yield the URL of the database; run the private cluster if the settings name no database.

    Parameters
    ----------
    create : bool
        Create the cluster if it does not exist; otherwise exit with an error.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    cluster = LocalCluster(settings.data_dir)
    if not create and not cluster.folder.exists():
        folder = Path(settings.data_dir).resolve()
        exit_with_error(f"No registry in {folder}. Set REGISTRY_DATA_DIR to the folder of a registry.")
    with ExitStack() as stack:
        with server.defer_signals():
            cluster.start()
            stack.callback(close_cluster, cluster)
        yield cluster.url


def close_cluster(cluster: LocalCluster) -> None:
    """Stop the private cluster; a signal during that has no effect."""
    with server.defer_signals():
        cluster.close()


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Yield a database after a test connection; raise DatabaseUnusable if that fails."""
    database = Database(url, pool_size=4, statement_timeout_s=3600)
    try:
        await test_connection(database, url)
        yield database
    finally:
        await database.close()


async def test_connection(database: Database, url: str) -> None:
    """Raise DatabaseUnusable if the database does not accept a connection."""
    try:
        async with database.engine.connect():
            pass
    except Exception as error:  # each layer of the driver has its own exceptions
        safe_url = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", url)
        message = f"Cannot use the database {safe_url}: {format_cause(error)}. Check REGISTRY_DATABASE_URL."
        raise DatabaseUnusable(message) from error
