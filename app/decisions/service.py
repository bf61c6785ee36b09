"""Decisions with a history: read, list, save under a precondition, remove. Waivers and scenarios are the two kinds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal, Role
from app.changes.history import HistoryPage, load_history
from app.db.engine import Database, WriteContext
from app.decisions import queries as decision_queries
from app.decisions.queries import DecisionTable
from app.errors import NotFound
from app.records.payloads import Precondition
from app.records.queries import records as record_queries
from app.records.queries.memberships import fetch_jurisdiction


@dataclass(frozen=True)
class DecisionKind:
    """What differs between the kinds of decisions."""

    title: str
    table: DecisionTable
    write_role: Role


@dataclass(frozen=True)
class SavedDecision:
    """A decision that was written, as JSON."""

    version: int
    body: str
    created: bool


def build_code(jurisdiction: str, name: str) -> str:
    """Return the code of a decision: it is unique in all jurisdictions."""
    return f"{jurisdiction}/{name}"


async def load_decision(
    connection: AsyncConnection, kind: DecisionKind, jurisdiction: str, name: str, principal: Principal
) -> tuple[int, str]:
    """Return version and JSON of a decision.

    Raises
    ------
    NotFound
        if there is none with this name in the scope of the principal.
    """
    principal.require_role_in("analyst", [jurisdiction])
    decision = await decision_queries.fetch_decision(connection, kind.table, build_code(jurisdiction, name))
    if decision is None:
        raise NotFound(kind.title, name)
    return decision


async def load_decision_page(
    connection: AsyncConnection,
    kind: DecisionKind,
    jurisdiction: str,
    principal: Principal,
    *,
    after: str | None,
    limit: int,
) -> tuple[list[str], str | None]:
    """Return decisions as JSON in the order of their names, and the cursor of the next page.

    Raises
    ------
    NotFound
        if there is no such jurisdiction in the scope of the principal.
    """
    principal.require_role_in("analyst", [jurisdiction])
    if await fetch_jurisdiction(connection, jurisdiction) is None:
        raise NotFound("jurisdiction", jurisdiction)
    rows = await decision_queries.fetch_decision_page(
        connection, kind.table, jurisdiction, after=after, limit=limit + 1
    )
    page = rows[:limit]
    return [body for _, body in page], page[-1][0] if len(rows) > limit else None


async def load_decision_history(
    connection: AsyncConnection,
    kind: DecisionKind,
    jurisdiction: str,
    name: str,
    principal: Principal,
    *,
    before: int | None,
    limit: int,
) -> HistoryPage:
    """Return the changes of a decision, newest first.

    Raises
    ------
    NotFound
        if there never was one with this name.
    """
    principal.require_role_in("analyst", [jurisdiction])
    return await load_history(
        connection,
        kind.table.name,
        build_code(jurisdiction, name),
        scope=[jurisdiction],
        before=before,
        limit=limit,
        missing=(kind.title, name),
    )


async def save_decision(
    connection: AsyncConnection,
    kind: DecisionKind,
    jurisdiction: str,
    name: str,
    values: Mapping[str, Any],
    precondition: Precondition,
) -> SavedDecision:
    """Create or replace a decision; the caller has checked the role and the values.

    Raises
    ------
    PreconditionFailed
        if If-Match or If-None-Match does not match.
    """
    code = build_code(jurisdiction, name)
    version = await record_queries.lock_version(connection, kind.table.name, code)
    precondition.check_version(version)
    row = {**values, "code": code, "jurisdiction": jurisdiction, kind.table.key: name}
    await decision_queries.upsert_decision(connection, kind.table, row)
    saved = await decision_queries.fetch_decision(connection, kind.table, code)
    assert saved is not None  # noqa: S101  # written in this transaction
    return SavedDecision(*saved, created=version is None)


async def remove_decision(
    database: Database,
    kind: DecisionKind,
    jurisdiction: str,
    name: str,
    principal: Principal,
    precondition: Precondition,
    context: WriteContext,
) -> None:
    """Remove a decision; its history stays.

    Raises
    ------
    NotFound
        if there is none with this name.
    PreconditionFailed
        if If-Match does not match.
    """
    principal.require_role_in(kind.write_role, [jurisdiction])
    code = build_code(jurisdiction, name)
    async with database.open_transaction(context) as connection:
        version = await record_queries.lock_version(connection, kind.table.name, code)
        precondition.check_version(version)
        if version is None:
            raise NotFound(kind.title, name)
        await record_queries.soft_delete_records(connection, kind.table.name, [code])
