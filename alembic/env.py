"""Runs migrations: on the connection handed over by ``app.db.schema``, which decides the database.

From the command line (`alembic revision --autogenerate`) the URL comes from REGISTRY_DATABASE_URL.
"""

import asyncio
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from geoalchemy2 import alembic_helpers
from sqlalchemy import Connection
from sqlmodel import SQLModel

from alembic import context
from app.db.engine import Database
from app.models import tables  # noqa: F401  # registers every table in the metadata
from app.models.columns import Shape
from app.settings import Settings


def _render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our Shapely column as the plain GeoAlchemy2 type it wraps."""
    if isinstance(item, Shape):
        autogen.imports.add("from geoalchemy2 import Geometry")
        return f'Geometry("{item.geometry_type}", srid=4326, spatial_index=False)'
    return alembic_helpers.render_item(kind, item, autogen)


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        include_object=alembic_helpers.include_object,
        render_item=_render_item,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run_from_the_command_line() -> None:
    url = Settings().database_url
    if url is None:
        msg = "Set REGISTRY_DATABASE_URL to run alembic by hand."
        raise SystemExit(msg)
    database = Database(url.get_secret_value())
    async with database.engine.begin() as connection:
        await connection.run_sync(_run)
    await database.close()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    _run(handed_over)
else:
    asyncio.run(_run_from_the_command_line())
