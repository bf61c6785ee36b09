"""What decisions kept beside the records have in common: they are locked, and removed softly."""

from typing import Any, Literal

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import moment

Table = Literal["scenario", "waiver"]


async def lock_decision(connection: AsyncConnection, table: Table, code: str) -> int | None:
    """Lock one row and return its version, None when it is not there."""
    row = (
        await connection.execute(
            text(f"SELECT version, removed_at FROM {table} WHERE code = :code FOR UPDATE"),
            {"code": code},
        )
    ).first()
    return None if row is None or row[1] is not None else int(row[0])


async def select_decision(connection: AsyncConnection, table: Table, code: str, told: str) -> tuple[int, str] | None:
    """Return version and JSON of one row; ``told`` is the SQL of the JSON."""
    row = (
        await connection.execute(
            text(f"SELECT version, {told} FROM {table} WHERE code = :code AND removed_at IS NULL"),
            {"code": code},
        )
    ).first()
    return None if row is None else (int(row[0]), row[1])


async def remove_decision(connection: AsyncConnection, table: Table, code: str) -> None:
    """Remove one row softly."""
    await connection.execute(text(f"UPDATE {table} SET removed_at = now() WHERE code = :code"), {"code": code})


# All SQL about waivers of crossings.

_TOLD = (
    "json_build_object('crossing', crossing, 'jurisdiction', jurisdiction, 'level', level, "
    f"'road', road, 'reason', reason, 'expires_at', {moment('expires_at')}, "
    f"'waived_by', waived_by, 'version', version, 'created_at', {moment('created_at')}, "
    f"'updated_at', {moment('updated_at')})::text"
)


async def select_waiver(connection: AsyncConnection, code: str) -> tuple[int, str] | None:
    """Return version and JSON of one waiver."""
    return await select_decision(connection, "waiver", code, _TOLD)


async def save_waiver(connection: AsyncConnection, properties: dict[str, Any], lon: float, lat: float) -> int:
    """Write a waiver and return its version."""
    names = [
        "code", "jurisdiction", "crossing", "level", "road", "reason", "expires_at", "waived_by",
    ]  # fmt: skip
    row = await connection.execute(
        text(
            f"INSERT INTO waiver ({', '.join(names)}, geometry) "
            f"SELECT {', '.join(names)}, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) "
            "FROM json_populate_record(CAST(NULL AS waiver), CAST(:row AS json)) "
            "ON CONFLICT (code) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in names[3:])
            + ", geometry = excluded.geometry, removed_at = NULL RETURNING version"
        ),
        {"row": orjson.dumps(properties).decode(), "lon": lon, "lat": lat},
    )
    return int(row.scalar_one())


# All SQL about scenarios.

_HEAD = (
    "'name', name, 'jurisdiction', jurisdiction, 'title', title, 'author', author, "
    f"'version', version, 'created_at', {moment('created_at')}, "
    f"'updated_at', {moment('updated_at')}"
)
_WHOLE = f"json_build_object({_HEAD}, 'changes', changes)::text"
_SHORT = f"json_build_object({_HEAD}, 'changes', jsonb_array_length(changes))::text"


async def select_scenario(connection: AsyncConnection, code: str) -> tuple[int, str] | None:
    """Return version and JSON of one scenario."""
    return await select_decision(connection, "scenario", code, _WHOLE)


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


async def save_scenario(connection: AsyncConnection, row: dict[str, Any]) -> int:
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
