"""All SQL about waivers of crossings."""

from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.registry import beside
from app.registry.moments import moment

_TOLD = (
    "json_build_object('crossing', crossing, 'jurisdiction', jurisdiction, 'level', level, "
    f"'road', road, 'reason', reason, 'expires_at', {moment('expires_at')}, "
    f"'waived_by', waived_by, 'version', version, 'created_at', {moment('created_at')}, "
    f"'updated_at', {moment('updated_at')})::text"
)


async def get(connection: AsyncConnection, code: str) -> tuple[int, str] | None:
    """Return version and JSON of one waiver."""
    return await beside.get(connection, "waiver", code, _TOLD)


async def put(
    connection: AsyncConnection, properties: dict[str, Any], lon: float, lat: float
) -> int:
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
