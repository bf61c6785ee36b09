"""SQL about records, the same for every kind; rings, waivers and scenarios use the parts that take a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch, find_constraint
from app.errors import Conflict, Issue
from app.messages import Message
from app.records.kinds import KINDS, Kind
from app.records.queries.documents import (
    FilterClause,
    build_document_sql,
    build_record_source,
    list_written_columns,
    quote_identifier,
)


@dataclass(frozen=True)
class StoredRecord:
    """The document of one record as the bytes that are sent, and its version."""

    code: str
    version: int
    body: bytes


@dataclass(frozen=True)
class LockedRecord:
    """What a write needs to know of a record that may exist already."""

    code: str
    jurisdiction: str
    version: int
    removed: bool


@dataclass(frozen=True)
class RecordPage:
    """A page of records: their number, their documents with commas between, and the cursor of the next page."""

    count: int
    bodies: bytes
    after: str | None


def get_owner_column(table: str) -> str:
    """Return the column that holds the jurisdiction of a record; a jurisdiction belongs to itself."""
    return "code" if table == "jurisdiction" else "jurisdiction"


@cache
def _fetch_record_sql(kind: Kind, feature: bool, reveal: bool) -> str:
    return (
        "SELECT t.code, t.version, "
        f"convert_to({build_document_sql(kind, feature=feature, reveal=reveal)}, 'UTF8') AS body "
        f"FROM {build_record_source(kind)} WHERE t.code = $1 AND t.removed_at IS NULL "
        f"AND ($2::text[] IS NULL OR t.{get_owner_column(kind.name)} = ANY($2::text[]))"
    )


async def fetch_record(
    fetch: Fetch,
    kind: Kind,
    code: str,
    *,
    scope: Sequence[str] | None,
    feature: bool = False,
    reveal: bool = False,
) -> StoredRecord | None:
    """Return one record inside the scope, or None."""
    rows = await fetch(_fetch_record_sql(kind, feature, reveal), code, scope)
    return StoredRecord(*rows[0]) if rows else None


async def fetch_record_page(
    fetch: Fetch, kind: Kind, filters: Mapping[str, Any], *, limit: int, feature: bool, reveal: bool
) -> RecordPage:
    """Return up to ``limit`` records in code order.

    The statement reads one record more, to know whether there is a next page. PostgreSQL joins the documents: one
    long value travels faster than a hundred rows, and bytes need no decoding.
    """
    clause = FilterClause(kind, filters)
    limit_parameter = clause.bind(limit + 1)
    on_page = f"FILTER (WHERE row_number < {limit_parameter})"
    rows = await fetch(
        f"SELECT count(*) {on_page}, convert_to(string_agg(body, ',') {on_page}, 'UTF8'), "
        f"max(code) {on_page}, count(*) "
        "FROM (SELECT code, body, row_number() OVER () AS row_number FROM ("
        f"SELECT t.code, {build_document_sql(kind, feature=feature, reveal=reveal)} AS body "
        f"FROM {build_record_source(kind)} WHERE {clause.sql} ORDER BY t.code LIMIT {limit_parameter}"
        ") AS matches) AS numbered",
        *clause.values,
    )
    count, bodies, last_code, count_with_next = rows[0]
    return RecordPage(count, bodies or b"", last_code if count_with_next > count else None)


async def fetch_owner(connection: AsyncConnection, kind: Kind, code: str) -> str | None:
    """Return the jurisdiction of a record, removed or not; it never changes."""
    if kind.name == "jurisdiction":
        return code
    rows = await connection.execute(text(f"SELECT jurisdiction FROM {kind.name} WHERE code = :code"), {"code": code})
    return rows.scalar()


async def lock_records(connection: AsyncConnection, table: str, codes: Sequence[str]) -> dict[str, LockedRecord]:
    """Lock the records that exist, removed ones too, in code order; return them by code."""
    rows = await connection.execute(
        text(
            f"SELECT code, {get_owner_column(table)}, version, removed_at IS NOT NULL FROM {table} "
            "WHERE code = ANY(CAST(:codes AS text[])) ORDER BY code FOR UPDATE"
        ),
        {"codes": list(codes)},
    )
    return {row[0]: LockedRecord(*row) for row in rows}


async def lock_version(connection: AsyncConnection, table: str, code: str) -> int | None:
    """Lock one record and return its version; None if it does not exist or is removed."""
    record = (await lock_records(connection, table, [code])).get(code)
    return None if record is None or record.removed else record.version


@cache
def _upsert_sql(table: str, columns: tuple[str, ...], create_only: bool) -> TextClause:
    names = [quote_identifier(name) for name in columns]
    owner = get_owner_column(table)
    updates = [f"{name} = excluded.{name}" for name in names if name not in ('"code"', '"jurisdiction"')]
    condition = f"{table}.{owner} = excluded.{owner}"
    if create_only:
        condition += f" AND {table}.removed_at IS NOT NULL"
    return text(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(names)} "
        f"FROM json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json)) "
        f"ORDER BY code ON CONFLICT (code) DO UPDATE SET {', '.join(updates)}, removed_at = NULL "
        f"WHERE {condition} RETURNING code, version"
    )


async def upsert_rows(
    connection: AsyncConnection,
    table: str,
    columns: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    *,
    create_only: bool = False,
) -> dict[str, int]:
    """Write rows by code in one statement and return the version of each row that was written.

    A row is not written, and has no version in the result, if its code belongs to another jurisdiction, or exists
    although ``create_only`` is set. A geometry is a GeoJSON object or hexadecimal EWKB.
    """
    statement = _upsert_sql(table, columns, create_only)
    written = await connection.execute(statement, {"rows": orjson.dumps(rows).decode()})
    return {row[0]: row[1] for row in written}


async def upsert_records(
    connection: AsyncConnection, kind: Kind, rows: Sequence[Mapping[str, Any]], *, create_only: bool = False
) -> dict[str, int]:
    """Write records of a kind; see `upsert_rows`.

    Raises
    ------
    Conflict
        if the database rejects a row: a reference that was removed, a rule of the table.
    """
    try:
        return await upsert_rows(connection, kind.name, list_written_columns(kind), rows, create_only=create_only)
    except IntegrityError as error:
        raise to_conflict(kind, error) from error


def to_conflict(kind: Kind, error: IntegrityError) -> Conflict:
    """Return the conflict that describes why the database rejects a row."""
    constraint = find_constraint(error) or ""
    message: Message
    if constraint.endswith("_owner_reference") and constraint.startswith("uq_"):
        message = Message("Another {kind} of this owner unit has the same owner_reference.", kind=kind.title)
        return Conflict(message, code="already-exists", issues=(Issue("/owner_reference", "already-exists", message),))
    if constraint in (f"uq_{kind.name}_code", f"uq_{kind.name}_jurisdiction_code"):
        message = Message("A {kind} with this code was created at the same time.", kind=kind.title)
        return Conflict(message, code="already-exists", issues=(Issue("/code", "already-exists", message),))
    column = constraint.partition(f"_{kind.name}_")[2]
    if constraint == "fk_touched_jurisdiction":  # `registry_touch` checks the jurisdiction once for each statement
        column = "jurisdiction"
    message = Message(
        "The database rejects the {kind}: it violates {rule}.", kind=kind.title, rule=constraint or "a rule"
    )
    return Conflict(message, code="rule-broken", issues=(Issue(f"/{column}", "rule-broken", message),))


async def soft_delete_records(connection: AsyncConnection, table: str, codes: Sequence[str]) -> set[str]:
    """Mark records as removed and return the codes of those that were not removed before."""
    rows = await connection.execute(
        text(
            f"UPDATE {table} SET removed_at = now() "
            "WHERE code = ANY(CAST(:codes AS text[])) AND removed_at IS NULL RETURNING code"
        ),
        {"codes": list(codes)},
    )
    return {row[0] for row in rows}


async def lock_references(
    connection: AsyncConnection, table: str, pairs: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return which (jurisdiction, code) pairs are records of a table, and lock these against removal."""
    rows = await connection.execute(
        text(
            f"SELECT jurisdiction, code FROM {table} WHERE (jurisdiction, code) IN "
            "(SELECT * FROM unnest(CAST(:j AS text[]), CAST(:c AS text[]))) "
            "AND removed_at IS NULL ORDER BY code FOR KEY SHARE"
        ),
        {"j": [jurisdiction for jurisdiction, _ in pairs], "c": [code for _, code in pairs]},
    )
    return {(jurisdiction, code) for jurisdiction, code in rows}


def _list_referring_columns(kind: Kind) -> list[tuple[str, str]]:
    """Return the tables and columns that refer to records of a kind."""
    if kind.name == "jurisdiction":
        return [(referring.name, "jurisdiction") for referring in KINDS if referring is not kind] + [
            ("ring", "jurisdiction")
        ]
    return [
        (referring.name, field)
        for referring in KINDS
        for field, target in referring.references.items()
        if target == kind.name
    ]


async def fetch_dependents(
    connection: AsyncConnection, kind: Kind, codes: Sequence[str], *, limit: int | None = 10
) -> list[tuple[str, str, str]]:
    """Return (code, table, dependent code) of records that refer to the records."""
    selects = [
        f"SELECT {column} AS target, '{table}' AS kind, code FROM {table} "
        f"WHERE {column} = ANY(CAST(:codes AS text[])) AND removed_at IS NULL"
        for table, column in _list_referring_columns(kind)
    ]
    if not selects:
        return []
    statement = text(f"{' UNION ALL '.join(selects)} LIMIT CAST(:limit AS bigint)")
    rows = await connection.execute(statement, {"codes": list(codes), "limit": limit})
    return [(code, table, dependent) for code, table, dependent in rows]


async def fetch_past_record(
    connection: AsyncConnection, table: str, code: str, instant: datetime, *, scope: Sequence[str] | None
) -> tuple[int, dict[str, Any]] | None:
    """Return version and document of a record at an instant, or None if it did not exist then."""
    condition = "" if scope is None else "AND jurisdiction = ANY(CAST(:scope AS text[]))"
    parameters: dict[str, Any] = {"kind": table, "code": code, "instant": instant}
    if scope is not None:
        parameters["scope"] = list(scope)
    row = (
        await connection.execute(
            text(
                "SELECT version, after FROM change WHERE kind = :kind AND code = :code "
                f"AND operation <> 'state' AND at <= :instant {condition} ORDER BY seq DESC LIMIT 1"
            ),
            parameters,
        )
    ).first()
    return None if row is None or row[1] is None else (row[0], row[1])
