"""SQL of API keys. Only keyed hashes are stored."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_COLUMNS = "id, label, role, jurisdictions, created_at, expires_at, revoked_at, last_used_at"


async def insert_key(connection: AsyncConnection, key: dict[str, Any]) -> None:
    """Insert the hash, role and scope of a key."""
    await connection.execute(
        text(
            "INSERT INTO api_key (id, hash, label, role, jurisdictions, expires_at) VALUES "
            "(:id, :hash, :label, :role, CAST(:jurisdictions AS text[]), :expires_at)"
        ),
        key,
    )


async def fetch_key(connection: AsyncConnection, key_id: str) -> dict[str, Any] | None:
    """Return a key that is neither revoked nor expired, with its hash."""
    result = await connection.execute(
        text(
            f"SELECT hash, {_COLUMNS} FROM api_key WHERE id = :id AND revoked_at IS NULL "
            "AND (expires_at IS NULL OR expires_at > now())"
        ),
        {"id": key_id},
    )
    row = result.mappings().first()
    return None if row is None else dict(row)


async def fetch_keys(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return every key without its hash."""
    rows = await connection.execute(text(f"SELECT {_COLUMNS} FROM api_key ORDER BY created_at, id"))
    return [dict(row) for row in rows.mappings()]


async def update_revoked(connection: AsyncConnection, key_id: str) -> bool:
    """Revoke a key; return whether it existed and was not revoked yet."""
    result = await connection.execute(
        text("UPDATE api_key SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING id"),
        {"id": key_id},
    )
    return result.first() is not None


async def update_last_used(connection: AsyncConnection, key_id: str) -> None:
    """Store the time of the last use of a key, at most once a minute."""
    await connection.execute(
        text(
            "UPDATE api_key SET last_used_at = now() WHERE id = :id "
            "AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"
        ),
        {"id": key_id},
    )
