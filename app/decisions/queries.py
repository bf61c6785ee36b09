"""SQL about decisions; `app.records.queries` locks and removes them like records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import build_instant
from app.records.queries.records import upsert_rows


@dataclass(frozen=True)
class DecisionTable:
    """The table of one kind of decision."""

    name: Literal["waiver", "scenario"]
    key: str
    """Column with the name of a decision in its jurisdiction."""
    columns: tuple[str, ...]
    document: str
    """SQL of the members of its document."""
    summary: str
    """SQL of the members of its document in a list."""


_VERSION_MEMBERS: Final = (
    f"'version', version, 'created_at', {build_instant('created_at')}, 'updated_at', {build_instant('updated_at')}"
)
_WAIVER_MEMBERS: Final = (
    "'crossing', crossing, 'jurisdiction', jurisdiction, 'level', level, 'road', road, 'reason', reason, "
    f"'expires_at', {build_instant('expires_at')}, 'waived_by', waived_by, {_VERSION_MEMBERS}"
)
_SCENARIO_MEMBERS: Final = (
    f"'name', name, 'jurisdiction', jurisdiction, 'title', title, 'author', author, {_VERSION_MEMBERS}"
)
WAIVERS: Final = DecisionTable(
    "waiver",
    "crossing",
    ("code", "jurisdiction", "crossing", "level", "road", "reason", "expires_at", "waived_by", "geometry"),
    _WAIVER_MEMBERS,
    _WAIVER_MEMBERS,
)
SCENARIOS: Final = DecisionTable(
    "scenario",
    "name",
    ("code", "jurisdiction", "name", "title", "author", "changes"),
    f"{_SCENARIO_MEMBERS}, 'changes', changes",
    f"{_SCENARIO_MEMBERS}, 'changes', jsonb_array_length(changes)",
)


async def fetch_decision(connection: AsyncConnection, table: DecisionTable, code: str) -> tuple[int, str] | None:
    """Return version and JSON of one decision, or None."""
    row = (
        await connection.execute(
            text(
                f"SELECT version, json_build_object({table.document})::text FROM {table.name} "
                "WHERE code = :code AND removed_at IS NULL"
            ),
            {"code": code},
        )
    ).first()
    return None if row is None else (row[0], row[1])


async def fetch_decision_page(
    connection: AsyncConnection, table: DecisionTable, jurisdiction: str, *, after: str | None, limit: int
) -> list[tuple[str, str]]:
    """Return name and JSON of decisions, in the order of their names."""
    rows = await connection.execute(
        text(
            f"SELECT {table.key}, json_build_object({table.summary})::text FROM {table.name} "
            f"WHERE jurisdiction = :jurisdiction AND removed_at IS NULL AND {table.key} > :after "
            f"ORDER BY {table.key} LIMIT :limit"
        ),
        {"jurisdiction": jurisdiction, "after": after or "", "limit": limit},
    )
    return [(row[0], row[1]) for row in rows]


async def upsert_decision(connection: AsyncConnection, table: DecisionTable, row: Mapping[str, Any]) -> int:
    """Write a decision and return its version."""
    versions = await upsert_rows(connection, table.name, table.columns, [row])
    return versions[row["code"]]
