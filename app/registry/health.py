"""What the database says of itself."""

from app.db.engine import Fetch


async def server_version(fetch: Fetch) -> str:
    """Return the version of PostgreSQL."""
    rows = await fetch("SELECT current_setting('server_version')")
    return str(rows[0][0])


async def postgis_version(fetch: Fetch) -> str | None:
    """Return the version of PostGIS, None when the database has not got it."""
    rows = await fetch("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
    return str(rows[0][0]) if rows else None


async def schema_revision(fetch: Fetch) -> str | None:
    """Return the revision of the schema, None when the database has none."""
    if (await fetch("SELECT to_regclass('alembic_version')"))[0][0] is None:
        return None
    rows = await fetch("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None
