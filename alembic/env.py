"""Runs migrations, on the connection that ``app.db.schema`` passes.

From the command line (``alembic revision --autogenerate``) the database URL comes from REGISTRY_DATABASE_URL.
With ``--sql`` the statements are printed and no database is needed.
"""

import asyncio
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrationScript
from geoalchemy2 import alembic_helpers
from sqlalchemy import Connection
from sqlmodel import SQLModel

from alembic import context
from app.db.engine import Database
from app.models.columns import Shape
from app.records.queries import triggers  # noqa: F401  # compares triggers, and registers every table in the metadata
from app.settings import Settings


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write a Shapely column as the plain GeoAlchemy2 type that it wraps."""
    if isinstance(item, Shape):
        autogen.imports.add("from geoalchemy2 import Geometry")
        return f'Geometry("{item.geometry_type}", srid=4326, spatial_index=False)'
    return alembic_helpers.render_item(kind, item, autogen)


def number_revision(_: Any, head: Any, scripts: list[MigrationScript]) -> None:
    """Name a new revision by the number after the newest, e.g. 0013."""
    scripts[0].rev_id = f"{int(head[0]) + 1:04d}"


def run(connection: Connection) -> None:
    """Run the migrations in one transaction."""
    # A migration that waits longer for a lock would make the service wait behind it.
    connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        include_object=alembic_helpers.include_object,
        render_item=render_item,
        process_revision_directives=number_revision,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def print_sql() -> None:
    """Print the statements of the migrations."""
    context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()


async def run_on_configured_database() -> None:
    """Run the migrations on the database of the settings."""
    url = Settings().database_url
    if url is None:
        raise SystemExit("REGISTRY_DATABASE_URL is not set. Set it to the URL of the database that alembic works on.")
    database = Database(url.get_secret_value())
    async with database.engine.begin() as connection:
        await connection.run_sync(run)
    await database.close()


passed_connection = context.config.attributes.get("connection")
if context.is_offline_mode():
    print_sql()
elif passed_connection is not None:
    run(passed_connection)
else:
    asyncio.run(run_on_configured_database())
