"""Values of one statement: SQL text is made of our own words, what callers say is always bound."""

from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from app.db.engine import Fetch


class StatementParameters:
    """The positional parameters of a statement being made."""

    def __init__(self, *values: Any) -> None:
        self.values: list[Any] = list(values)

    def bind_value(self, value: Any, cast: str) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}::{cast}"

    def bind_geometry(self, geometry: BaseGeometry) -> str:
        """Return the placeholder of a geometry in longitude and latitude."""
        wkb = self.bind_value(shapely.to_wkb(geometry), "bytea")
        return f"ST_GeomFromWKB({wkb}, 4326)"


# How a moment is written inside PostgreSQL: in UTC and ending in Z, as the analysis writes it.


def build_instant(column: str) -> str:
    """Return the SQL of a time as JSON; null stays null. The column is ours, never a request's."""
    return f"""(left(to_json({column} AT TIME ZONE 'UTC')::text, -1) || 'Z"')::json"""


# What the database says of itself.


async def fetch_server_version(fetch: Fetch) -> str:
    """Return the version of PostgreSQL."""
    rows = await fetch("SELECT current_setting('server_version')")
    return str(rows[0][0])


async def fetch_postgis_version(fetch: Fetch) -> str | None:
    """Return the version of PostGIS, None when the database has not got it."""
    rows = await fetch("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
    return str(rows[0][0]) if rows else None


async def fetch_schema_revision(fetch: Fetch) -> str | None:
    """Return the revision of the schema, None when the database has none."""
    if (await fetch("SELECT to_regclass('alembic_version')"))[0][0] is None:
        return None
    rows = await fetch("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None
