"""Parameters of SQL statements, and queries about the database itself."""

from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from app.db.engine import Fetch


class StatementParameters:
    """The positional parameters of a statement while its text is built; values of requests are always bound."""

    def __init__(self, *values: Any) -> None:
        self.values: list[Any] = list(values)

    def bind_value(self, value: Any, cast: str) -> str:
        """Add a value and return its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}::{cast}"

    def bind_geometry(self, geometry: BaseGeometry) -> str:
        """Add a geometry in longitude and latitude and return its placeholder."""
        wkb = self.bind_value(shapely.to_wkb(geometry), "bytea")
        return f"ST_GeomFromWKB({wkb}, 4326)"


def build_instant(column: str) -> str:
    """Return the SQL that writes a time as JSON in UTC with ``Z``; null stays null."""
    return f"""(left(to_json({column} AT TIME ZONE 'UTC')::text, -1) || 'Z"')::json"""


async def fetch_server_version(fetch: Fetch) -> str:
    """Return the version of PostgreSQL."""
    rows = await fetch("SELECT current_setting('server_version')")
    return str(rows[0][0])


async def fetch_postgis_version(fetch: Fetch) -> str | None:
    """Return the version of PostGIS, None if it is not installed."""
    rows = await fetch("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
    return str(rows[0][0]) if rows else None


async def fetch_schema_revision(fetch: Fetch) -> str | None:
    """Return the revision of the schema, None for a database without one."""
    if (await fetch("SELECT to_regclass('alembic_version')"))[0][0] is None:
        return None
    rows = await fetch("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None
