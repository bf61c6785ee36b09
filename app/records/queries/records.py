"""All SQL about records, one question per function, the same for every kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch, constraint_of
from app.errors import Conflict, Issue
from app.records.kinds import Kind
from app.records.queries.documents import Conditions, document, quoted, source, written_columns


@dataclass(frozen=True)
class Stored:
    """One record's JSON, as the bytes that are sent, and its version."""

    code: str
    version: int
    body: bytes


@dataclass(frozen=True)
class Known:
    """What a write must know of a record that may exist already."""

    code: str
    jurisdiction: str
    version: int
    removed: bool


@cache
def _get_sql(kind: Kind, feature: bool, reveal: bool) -> str:
    owner = "code" if kind.name == "jurisdiction" else "jurisdiction"
    return (
        "SELECT t.code, t.version, "
        f"convert_to({document(kind, feature=feature, reveal=reveal)}, 'UTF8') AS body "
        f"FROM {source(kind)} WHERE t.code = $1 AND t.removed_at IS NULL "
        f"AND ($2::text[] IS NULL OR t.{owner} = ANY($2::text[]))"
    )


async def find(
    fetch: Fetch,
    kind: Kind,
    code: str,
    *,
    scope: Sequence[str] | None,
    feature: bool = False,
    reveal: bool = False,
) -> Stored | None:
    """Return one record inside the scope, None when there is none."""
    rows = await fetch(_get_sql(kind, feature, reveal), code, scope)
    return Stored(*rows[0]) if rows else None


@dataclass(frozen=True)
class Listed:
    """A page of records: how many, their JSON with commas between, where the next page starts."""

    count: int
    bodies: bytes
    after: str | None


async def page(
    fetch: Fetch,
    kind: Kind,
    filters: Mapping[str, Any],
    *,
    limit: int,
    feature: bool,
    reveal: bool,
) -> Listed:
    """Return up to ``limit`` records in code order.

    One more is asked for, to tell whether there is a next page. PostgreSQL joins the bodies: one
    long value travels faster than a hundred rows, and bytes faster than a text that would be decoded
    only to be encoded again.
    """
    where = Conditions(kind, filters)
    asked = where.bind(limit + 1)
    shown = f"FILTER (WHERE place < {asked})"
    rows = await fetch(
        f"SELECT count(*) {shown}, convert_to(string_agg(body, ',') {shown}, 'UTF8'), "
        f"max(code) {shown}, count(*) "
        "FROM (SELECT code, body, row_number() OVER () AS place FROM ("
        f"SELECT t.code, {document(kind, feature=feature, reveal=reveal)} AS body "
        f"FROM {source(kind)} WHERE {where.sql} ORDER BY t.code LIMIT {asked}"
        ") AS found) AS numbered",
        *where.values,
    )
    count, bodies, last, found = rows[0]
    return Listed(count, bodies or b"", last if found > count else None)


async def owner(connection: AsyncConnection, kind: Kind, code: str) -> str | None:
    """Return the jurisdiction of a record, removed or not; it never changes."""
    if kind.name == "jurisdiction":
        return code
    rows = await connection.execute(text(f"SELECT jurisdiction FROM {kind.name} WHERE code = :code"), {"code": code})
    return rows.scalar()


async def lock(connection: AsyncConnection, kind: Kind, codes: Sequence[str]) -> dict[str, Known]:
    """Lock the records that exist, removed ones too, in code order, and tell about them."""
    owner = "code" if kind.name == "jurisdiction" else "jurisdiction"
    rows = await connection.execute(
        text(
            f"SELECT code, {owner}, version, removed_at IS NOT NULL FROM {kind.name} "
            "WHERE code = ANY(CAST(:codes AS text[])) ORDER BY code FOR UPDATE"
        ),
        {"codes": list(codes)},
    )
    return {row[0]: Known(*row) for row in rows}


@cache
def _upsert_sql(kind: Kind, create_only: bool) -> Any:
    names = [quoted(name) for name in written_columns(kind)]
    fixed = {'"code"', '"jurisdiction"'}
    updates = [f"{name} = excluded.{name}" for name in names if name not in fixed]
    owner = "code" if kind.name == "jurisdiction" else "jurisdiction"
    guard = f"{kind.name}.{owner} = excluded.{owner}"
    if create_only:
        guard += f" AND {kind.name}.removed_at IS NOT NULL"
    return text(
        f"INSERT INTO {kind.name} ({', '.join(names)}) "
        f"SELECT {', '.join(names)} "
        f"FROM json_populate_recordset(CAST(NULL AS {kind.name}), CAST(:rows AS json)) "
        f"ORDER BY code ON CONFLICT (code) DO UPDATE SET {', '.join(updates)}, removed_at = NULL "
        f"WHERE {guard} RETURNING code, version"
    )


async def upsert(
    connection: AsyncConnection,
    kind: Kind,
    rows: Sequence[Mapping[str, Any]],
    *,
    create_only: bool = False,
) -> dict[str, int]:
    """Write rows by code in one statement and return the version of each that was written.

    A row is left out of the answer when its code exists (with ``create_only``) or belongs to
    another jurisdiction.

    Raises
    ------
    Conflict
        when the database refuses a row: a reference that has gone, a rule of the table.
    """
    statement = _upsert_sql(kind, create_only)
    try:
        answer = await connection.execute(statement, {"rows": orjson.dumps(rows).decode()})
    except IntegrityError as error:
        raise refused(kind, error) from error
    return {row[0]: row[1] for row in answer}


def refused(kind: Kind, error: IntegrityError) -> Conflict:
    """Return the database's refusal of a row in our words."""
    constraint = constraint_of(error) or ""
    if constraint.endswith("_owner_reference") and constraint.startswith("uq_"):
        detail = f"The owner unit has another {kind.title} of this owner_reference already."
        fault = Issue("/owner_reference", "already-exists", detail)
        return Conflict(detail, code="already-exists", issues=(fault,))
    if constraint in (f"uq_{kind.name}_code", f"uq_{kind.name}_jurisdiction_code"):
        detail = f"Somebody registered a {kind.title} of the same code meanwhile."
        return Conflict(detail, code="already-exists", issues=(Issue("/code", "already-exists", detail),))
    column = constraint.partition(f"_{kind.name}_")[2]
    if constraint == "fk_touched_jurisdiction":  # asked once a statement, by `registry_touch`
        column = "jurisdiction"
    detail = f"The database refuses this: {constraint or 'a rule of the table'} does not hold."
    return Conflict(detail, code="rule-broken", issues=(Issue(f"/{column}", "rule-broken", detail),))


async def remove(connection: AsyncConnection, kind: Kind, codes: Sequence[str]) -> set[str]:
    """Remove records softly and return the codes that were there."""
    rows = await connection.execute(
        text(
            f"UPDATE {kind.name} SET removed_at = now() "
            "WHERE code = ANY(CAST(:codes AS text[])) AND removed_at IS NULL RETURNING code"
        ),
        {"codes": list(codes)},
    )
    return {row[0] for row in rows}


async def existing(connection: AsyncConnection, table: str, pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return which (jurisdiction, code) pairs are records of a table now, and keep them so."""
    rows = await connection.execute(
        text(
            f"SELECT jurisdiction, code FROM {table} WHERE (jurisdiction, code) IN "
            "(SELECT * FROM unnest(CAST(:j AS text[]), CAST(:c AS text[]))) "
            "AND removed_at IS NULL ORDER BY code FOR KEY SHARE"
        ),
        {"j": [pair[0] for pair in pairs], "c": [pair[1] for pair in pairs]},
    )
    return {(row[0], row[1]) for row in rows}


_DEPENDENTS = {
    "control_point": (("camera", "control_point"), ("checkpoint", "control_point")),
    "checkpoint": (("camera", "checkpoint"),),
    "road": (("checkpoint", "road"),),
    "jurisdiction": tuple(
        (table, "jurisdiction") for table in ("control_point", "checkpoint", "camera", "road", "building", "ring")
    ),
}


async def dependents(
    connection: AsyncConnection, kind: Kind, codes: Sequence[str], *, limit: int | None = 10
) -> list[tuple[str, str, str]]:
    """Return (code, table, dependent code) of records that still point to the records."""
    parts = [
        f"SELECT {column} AS target, '{table}' AS kind, code FROM {table} "
        f"WHERE {column} = ANY(CAST(:codes AS text[])) AND removed_at IS NULL"
        for table, column in _DEPENDENTS.get(kind.name, ())
    ]
    if not parts:
        return []
    statement = text(f"{' UNION ALL '.join(parts)} LIMIT CAST(:most AS bigint)")
    rows = await connection.execute(statement, {"codes": list(codes), "most": limit})
    return [(row[0], row[1], row[2]) for row in rows]


async def as_of(
    connection: AsyncConnection,
    kind_name: str,
    code: str,
    at: datetime,
    *,
    scope: Sequence[str] | None,
) -> tuple[int, dict[str, Any]] | None:
    """Return version and document of a record at an instant, None when it was not there."""
    condition = "" if scope is None else "AND jurisdiction = ANY(CAST(:scope AS text[]))"
    bound: dict[str, Any] = {"kind": kind_name, "code": code, "at": at}
    if scope is not None:
        bound["scope"] = list(scope)
    row = (
        await connection.execute(
            text(
                "SELECT version, after FROM change WHERE kind = :kind AND code = :code "
                f"AND operation <> 'state' AND at <= :at {condition} ORDER BY seq DESC LIMIT 1"
            ),
            bound,
        )
    ).first()
    return None if row is None or row[1] is None else (row[0], row[1])
