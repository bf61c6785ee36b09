"""What the database says of itself."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def server_version(connection: AsyncConnection) -> str:
    """Return the version of PostgreSQL."""
    return str((await connection.execute(text("SHOW server_version"))).scalar_one())


async def postgis_version(connection: AsyncConnection) -> str | None:
    """Return the version of PostGIS, None when the database has not got it."""
    statement = text("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
    found = (await connection.execute(statement)).scalar()
    return None if found is None else str(found)
