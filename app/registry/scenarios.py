"""All SQL about scenarios."""

from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.registry import beside
from app.registry.moments import moment

_HEAD = (
    "'name', name, 'jurisdiction', jurisdiction, 'title', title, 'author', author, "
    f"'version', version, 'created_at', {moment('created_at')}, "
    f"'updated_at', {moment('updated_at')}"
)
_WHOLE = f"json_build_object({_HEAD}, 'changes', changes)::text"
_SHORT = f"json_build_object({_HEAD}, 'changes', jsonb_array_length(changes))::text"


async def get(connection: AsyncConnection, code: str) -> tuple[int, str] | None:
    """Return version and JSON of one scenario."""
    return await beside.get(connection, "scenario", code, _WHOLE)


async def page(
    connection: AsyncConnection, jurisdiction: str, *, after: str | None, limit: int
) -> list[tuple[str, str]]:
    """Return name and JSON, with the number of changes for the changes, in the order of names."""
    rows = await connection.execute(
        text(
            f"SELECT name, {_SHORT} FROM scenario WHERE jurisdiction = :jurisdiction "
            "AND removed_at IS NULL AND name > :after ORDER BY name LIMIT :limit"
        ),
        {"jurisdiction": jurisdiction, "after": after or "", "limit": limit},
    )
    return [(row[0], row[1]) for row in rows]


async def put(connection: AsyncConnection, row: dict[str, Any]) -> int:
    """Write a scenario and return its version."""
    names = ["code", "jurisdiction", "name", "title", "author", "changes"]
    written = await connection.execute(
        text(
            f"INSERT INTO scenario ({', '.join(names)}) SELECT {', '.join(names)} "
            "FROM json_populate_record(CAST(NULL AS scenario), CAST(:row AS json)) "
            "ON CONFLICT (code) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in names[3:])
            + ", removed_at = NULL RETURNING version"
        ),
        {"row": orjson.dumps(row).decode()},
    )
    return int(written.scalar_one())
