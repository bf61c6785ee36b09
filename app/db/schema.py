"""The schema of the database: upgrade it, check that it is current, refuse one that this program does not know."""

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from alembic import command
from app.db import record_triggers  # noqa: F401  # registers the operations that migrations use
from app.db.engine import Database

MIGRATIONS = Path(__file__).resolve().parents[2] / "alembic"
BASELINE = "0012"
LAST_OF_0_1 = "0011"
"""The last schema of version 0.1.0, equal to the baseline except for the text of functions (ADR 18)."""
EARLIER_OF_0_1 = frozenset(f"{number:04d}" for number in range(1, 11))

_LOCK = 4108_0001
"""Advisory lock: processes migrate one after the other."""


class SchemaMismatch(Exception):
    """The database has another schema than this program; the message says what to do."""


def config_for(connection: Connection | None = None) -> Config:
    """Return the configuration of Alembic for a connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@cache
def head() -> str:
    """Return the newest revision that this program knows."""
    revision = ScriptDirectory.from_config(config_for()).get_current_head()
    assert revision is not None  # noqa: S101  # the package contains its migrations
    return revision


async def current(connection: AsyncConnection) -> str | None:
    """Return the revision of the database, None when it is empty."""
    return await connection.run_sync(lambda bare: MigrationContext.configure(bare).get_current_revision())


async def migrate(database: Database) -> str:
    """Upgrade the schema to the newest revision, in one transaction, and return the revision.

    Raises
    ------
    SchemaMismatch
        when the database has a revision that this program cannot upgrade, or lacks PostGIS and this role may not
        create it.
    """
    async with database.engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await create_postgis(connection)
        revision = await current(connection)
        if revision == LAST_OF_0_1:
            await connection.run_sync(adopt_baseline)
            revision = BASELINE
        require_known(revision)
        if revision != head():
            await connection.run_sync(lambda bare: command.upgrade(config_for(bare), "head"))
    return head()


def require_known(revision: str | None) -> None:
    """Raise ``SchemaMismatch`` when no migration of this program starts at the revision."""
    if revision in EARLIER_OF_0_1:
        msg = (
            f"The database has schema {revision}, an early schema of version 0.1.0 that this version cannot upgrade. "
            f"Run `coverage-registry migrate` of the last version 0.1.0 first (it ends at schema {LAST_OF_0_1}), "
            "or use an empty database."
        )
        raise SchemaMismatch(msg)
    known = {script.revision for script in ScriptDirectory.from_config(config_for()).walk_revisions()}
    if revision is not None and revision not in known:
        msg = (
            f"The database has schema {revision}, which this version does not know: a newer version of "
            "coverage-registry has upgraded it. Update the program, or use another database."
        )
        raise SchemaMismatch(msg)


def adopt_baseline(connection: Connection) -> None:
    """Make a database of version 0.1.0 one of the baseline: replace its functions and its revision."""
    baseline = ScriptDirectory.from_config(config_for()).get_revision(BASELINE)
    with Operations.context(MigrationContext.configure(connection)):
        baseline.module.adopt()
    connection.execute(text("UPDATE alembic_version SET version_num = :baseline"), {"baseline": BASELINE})


async def create_postgis(connection: AsyncConnection) -> None:
    """Create the extension if it is missing and this role may; on most servers only a superuser may."""
    installed = text("SELECT 1 FROM pg_extension WHERE extname = 'postgis'")
    if (await connection.execute(installed)).scalar():
        return
    try:
        async with connection.begin_nested():
            await connection.execute(text("CREATE EXTENSION postgis"))
    except DBAPIError as error:
        msg = (
            "The database has no PostGIS, and this role may not create it. Install PostGIS on the server, then run "
            "`CREATE EXTENSION postgis` in this database as a superuser."
        )
        raise SchemaMismatch(msg) from error


async def require_head(database: Database) -> None:
    """Raise ``SchemaMismatch`` unless the database has the newest schema of this program."""
    async with database.open_connection() as connection:
        revision = await current(connection)
    if revision != head():
        msg = (
            f"The database has schema {revision or '(none)'}, this program needs {head()}. "
            "Run `coverage-registry migrate`."
        )
        raise SchemaMismatch(msg)
