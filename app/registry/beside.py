"""What decisions kept beside the records have in common: they are locked, and removed softly."""

from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Table = Literal["scenario", "waiver"]


async def lock(connection: AsyncConnection, table: Table, code: str) -> int | None:
    """Lock one row and return its version, None when it is not there."""
    row = (
        await connection.execute(
            text(f"SELECT version, removed_at FROM {table} WHERE code = :code FOR UPDATE"),
            {"code": code},
        )
    ).first()
    return None if row is None or row[1] is not None else int(row[0])


async def get(
    connection: AsyncConnection, table: Table, code: str, told: str
) -> tuple[int, str] | None:
    """Return version and JSON of one row; ``told`` is the SQL of the JSON."""
    row = (
        await connection.execute(
            text(f"SELECT version, {told} FROM {table} WHERE code = :code AND removed_at IS NULL"),
            {"code": code},
        )
    ).first()
    return None if row is None else (int(row[0]), row[1])


async def remove(connection: AsyncConnection, table: Table, code: str) -> None:
    """Remove one row softly."""
    await connection.execute(
        text(f"UPDATE {table} SET removed_at = now() WHERE code = :code"), {"code": code}
    )
