"""The schema of the database: bring it to head, tell whether it is there, refuse a newer one."""

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from alembic import command
from app.db.engine import Database

MIGRATIONS = Path(__file__).resolve().parents[2] / "alembic"
_LOCK = 4108_0001
"""Advisory lock that makes migrating processes wait for each other."""


class SchemaMismatch(Exception):
    """The database has another schema than this program; the message says what to do."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@cache
def head() -> str:
    """Return the newest revision this program knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101  # the package ships its migrations
    return revision


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def current(connection: AsyncConnection) -> str | None:
    """Return the revision the database is at, None when it is empty."""
    return await connection.run_sync(_current)


def _known(revision: str) -> bool:
    scripts = ScriptDirectory.from_config(_config())
    return revision in {script.revision for script in scripts.walk_revisions()}


async def migrate(database: Database, target: str = "head") -> str:
    """Bring the schema to head in one transaction and return the revision.

    Raises
    ------
    SchemaMismatch
        when the database was made by a newer program, or has no PostGIS and may not be given it.
    """
    async with database.engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await _need_postgis(connection)
        found = await current(connection)
        if found is not None and not _known(found):
            msg = (
                f"the database is at schema {found}, which this version does not know: "
                "it belongs to a newer coverage-registry; update the program or use another database"
            )
            raise SchemaMismatch(msg)
        if found != head() or target != "head":
            await connection.run_sync(lambda bare: command.upgrade(_config(bare), target))
    return head()


async def _need_postgis(connection: AsyncConnection) -> None:
    """Make the extension where this role may; on most servers that is for a superuser to do."""
    there = text("SELECT 1 FROM pg_extension WHERE extname = 'postgis'")
    if (await connection.execute(there)).scalar():
        return
    try:
        async with connection.begin_nested():
            await connection.execute(text("CREATE EXTENSION postgis"))
    except DBAPIError as error:
        msg = (
            "the database has no PostGIS, and this role may not add it: install PostGIS on the "
            "server and have a superuser run `CREATE EXTENSION postgis` in this database"
        )
        raise SchemaMismatch(msg) from error


async def require_head(database: Database) -> None:
    """Raise ``SchemaMismatch`` unless the database is at this program's schema."""
    async with database.reading() as connection:
        found = await current(connection)
    if found != head():
        msg = (
            f"the database is at schema {found or '(none)'}, this program needs {head()}: "
            "run `coverage-registry migrate`"
        )
        raise SchemaMismatch(msg)
