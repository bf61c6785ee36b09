"""SQL of a running import: the staging table, checks of its rows, writes to the table of the records.

``import_stage`` has the rows of one batch, with the columns of the table of the records, so that memory
does not grow with the file. It ends with the transaction. Functions return the rows that have a
property; the caller decides whether that is an error.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.columns import DECIMALS
from app.records.kinds import Kind
from app.records.queries.documents import list_written_columns, quote_identifier
from app.records.queries.records import to_conflict

_MEMBERSHIP_COLUMNS: Final = ("zone", "rings", "on_boundary", "distance_m")
_REPORT_COLUMNS: Final = {"state": "text", "reported_at": "timestamptz"}
_KEY_COLUMNS: Final = frozenset({"code", "jurisdiction"})
_SEARCH_DEG: Final = 0.02
"""Distance from a location within which roads are searched: about two kilometres."""
_MAX_PAIRS: Final = 45
"""Pairs of one call of jsonb_build_object; a function has at most a hundred arguments."""
WORK_MEM: Final = "96MB"
"""Memory for a batch and the documents that triggers build of it."""


@cache
def list_staged_columns(kind: Kind) -> tuple[str, ...]:
    """Return the columns of the staging table, without the row number."""
    return (*list_written_columns(kind), *(_REPORT_COLUMNS if kind.is_device else ()))


async def create_staging_table(connection: AsyncConnection, kind: Kind) -> None:
    """Create the staging table, and give the transaction the time and memory of a bulk load.

    With the usual cost of a random page the planner reads the whole table for every batch, and a long
    file takes longer and longer; with a lower cost it uses the index.
    """
    for setting, value in (
        ("random_page_cost", "1.1"),
        ("work_mem", WORK_MEM),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "600000"),
    ):
        await connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": setting, "value": value})
    await connection.execute(text(_build_staging_table(kind)))
    await connection.execute(
        text('CREATE TEMP TABLE import_seen (jurisdiction text COLLATE "C", code text COLLATE "C") ON COMMIT DROP')
    )


@cache
def _build_staging_table(kind: Kind) -> str:
    columns = ", ".join(quote_identifier(name) for name in list_written_columns(kind))
    report_columns = _REPORT_COLUMNS if kind.is_device else {}
    report = "".join(f', CAST(NULL AS {sql_type}) AS "{name}"' for name, sql_type in report_columns.items())
    return (
        f'CREATE TEMP TABLE import_stage ON COMMIT DROP AS SELECT CAST(NULL AS bigint) AS "row", '
        f"{columns}{report} FROM {kind.name} WITH NO DATA"
    )


async def copy_batch(connection: AsyncConnection, csv: bytes, columns: Sequence[str]) -> None:
    """Replace the rows of the staging table by one batch, with COPY in the running transaction."""
    await connection.execute(text("TRUNCATE import_stage"))
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.copy_to_table("import_stage", source=BytesIO(csv), columns=list(columns), format="csv")


async def adopt_codes(connection: AsyncConnection, kind: Kind) -> None:
    """Set the code of rows to that of the record with the same owner reference."""
    await connection.execute(
        text(
            f"UPDATE import_stage AS s SET code = c.code FROM {kind.name} AS c "
            "WHERE c.jurisdiction = s.jurisdiction AND c.owner_unit = s.owner_unit "
            "AND c.owner_reference = s.owner_reference AND c.removed_at IS NULL"
        )
    )


async def lock_records(connection: AsyncConnection, kind: Kind) -> int:
    """Lock the records of the staged rows in code order; return their number."""
    rows = await connection.execute(
        text(
            "SELECT count(*) FROM (SELECT code FROM import_stage ORDER BY code) AS s "
            f"CROSS JOIN LATERAL (SELECT 1 FROM {kind.name} AS c WHERE c.code = s.code "
            "LIMIT 1 FOR UPDATE) AS locked"
        )
    )
    return int(rows.scalar_one())


async def fetch_rows_of_other_jurisdictions(connection: AsyncConnection, kind: Kind) -> list[int]:
    """Return rows whose code is used in another jurisdiction."""
    return await _fetch_row_numbers(
        connection,
        f'SELECT s."row" FROM import_stage AS s JOIN {kind.name} AS c ON c.code = s.code '
        "WHERE c.jurisdiction <> s.jurisdiction",
    )


async def fetch_registered_rows(connection: AsyncConnection, kind: Kind) -> list[int]:
    """Return rows whose record is registered."""
    return await _fetch_row_numbers(
        connection,
        f'SELECT s."row" FROM import_stage AS s JOIN {kind.name} AS c ON c.code = s.code WHERE c.removed_at IS NULL',
    )


async def fetch_new_rows(connection: AsyncConnection, kind: Kind) -> list[int]:
    """Return rows whose record is not registered."""
    return await _fetch_row_numbers(
        connection,
        f'SELECT s."row" FROM import_stage AS s LEFT JOIN {kind.name} AS c '
        "ON c.code = s.code AND c.removed_at IS NULL WHERE c.code IS NULL",
    )


async def _fetch_row_numbers(connection: AsyncConnection, sql: str, **parameters: Any) -> list[int]:
    """Return the sorted row numbers of a query, as one array because the driver reads it fast."""
    rows = await connection.execute(
        text(f'SELECT array_agg("row" ORDER BY "row") FROM ({sql}) AS selected'), parameters
    )
    return list(rows.scalar_one() or ())


async def fetch_unknown_references(connection: AsyncConnection, column: str, table: str) -> list[tuple[int, str, str]]:
    """Return (row, jurisdiction, code) where a column names no record; lock the named records."""
    name = quote_identifier(column)
    rows = await connection.execute(
        text(
            f"WITH named AS (SELECT DISTINCT jurisdiction, {name} AS code FROM import_stage "
            f"WHERE {name} IS NOT NULL), "
            f"existing AS (SELECT t.jurisdiction, t.code FROM {table} AS t "
            "JOIN named USING (jurisdiction, code) WHERE t.removed_at IS NULL "
            "ORDER BY t.code FOR KEY SHARE OF t) "
            f'SELECT s."row", s.jurisdiction, s.{name} FROM import_stage AS s LEFT JOIN existing '
            f"ON existing.jurisdiction = s.jurisdiction AND existing.code = s.{name} "
            f'WHERE s.{name} IS NOT NULL AND existing.code IS NULL ORDER BY s."row"'
        )
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def fetch_taken_references(connection: AsyncConnection, kind: Kind) -> list[tuple[int, str]]:
    """Return (row, code of the other record) where another record has the owner reference."""
    rows = await connection.execute(
        text(
            f'SELECT s."row", c.code FROM import_stage AS s JOIN {kind.name} AS c '
            "ON c.jurisdiction = s.jurisdiction AND c.owner_unit = s.owner_unit "
            "AND c.owner_reference = s.owner_reference AND c.removed_at IS NULL "
            'AND c.code <> s.code WHERE s.owner_reference IS NOT NULL ORDER BY s."row"'
        )
    )
    return [(row[0], row[1]) for row in rows]


async def fetch_future_rows(connection: AsyncConnection, latest: datetime) -> list[int]:
    """Return rows with a report after an instant."""
    return await _fetch_row_numbers(
        connection, 'SELECT "row" FROM import_stage WHERE reported_at > :latest', latest=latest
    )


async def delete_rows(connection: AsyncConnection, rows: Sequence[int]) -> None:
    """Delete rows from the staging table."""
    await connection.execute(
        text('DELETE FROM import_stage WHERE "row" = ANY(CAST(:rows AS bigint[]))'),
        {"rows": list(rows)},
    )


async def store_codes(connection: AsyncConnection) -> None:
    """Store the codes of the staged rows, to find the missing records at the end of the file."""
    await connection.execute(text("INSERT INTO import_seen SELECT jurisdiction, code FROM import_stage"))


async def fetch_codes(connection: AsyncConnection) -> list[tuple[int, str]]:
    """Return (row, code) of the staged rows."""
    rows = await connection.execute(text('SELECT "row", code FROM import_stage'))
    return [(row[0], row[1]) for row in rows]


@cache
def _build_difference(kind: Kind, fields: frozenset[str]) -> str:
    """Return the SQL condition that a staged row ``s`` differs from its record ``c`` in some fields."""
    names = [quote_identifier(n) for n in list_written_columns(kind) if n in fields and n not in _KEY_COLUMNS]
    if not names:  # a state, which is not a field of the record
        return "FALSE"
    registered, staged = (", ".join(f"{alias}.{name}" for name in names) for alias in "cs")
    return f"ROW({registered}) IS DISTINCT FROM ROW({staged})"


@cache
def _build_changes(kind: Kind, fields: frozenset[str]) -> str:
    """Return the SQL of a JSON object with the changed fields: field to values before and after."""
    pairs = []
    for name in list_written_columns(kind):
        if name not in fields or name in _KEY_COLUMNS or name in _MEMBERSHIP_COLUMNS:
            continue
        registered, staged = before, after = f"c.{quote_identifier(name)}", f"s.{quote_identifier(name)}"
        if name == "geometry":
            before, after = (f"ST_AsGeoJSON({value}, {DECIMALS})::jsonb" for value in (registered, staged))
        pairs.append(
            f"'{name}', CASE WHEN {registered} IS DISTINCT FROM {staged} THEN jsonb_build_array({before}, {after}) END"
        )
    calls = [pairs[start : start + _MAX_PAIRS] for start in range(0, len(pairs), _MAX_PAIRS)]
    objects = " || ".join(f"jsonb_build_object({', '.join(call)})" for call in calls)
    return f"jsonb_strip_nulls({objects})" if pairs else "jsonb_build_object()"


async def fetch_changes(connection: AsyncConnection, kind: Kind, fields: frozenset[str]) -> list[tuple[int, str]]:
    """Return (row, JSON of what changes) of staged rows that differ from their record."""
    rows = await connection.execute(
        text(
            f'SELECT s."row", {_build_changes(kind, fields)}::text FROM import_stage AS s '
            f"JOIN {kind.name} AS c ON c.code = s.code "
            f'WHERE c.removed_at IS NULL AND {_build_difference(kind, fields)} ORDER BY s."row"'
        )
    )
    return [(row[0], row[1]) for row in rows]


async def write_records(
    connection: AsyncConnection, kind: Kind, fields: frozenset[str], *, some_registered: bool
) -> None:
    """Write the staged rows: new records, removed records that return, and records that differ.

    A registered record keeps the values of fields that the file does not have; one that returns does not.

    Raises
    ------
    Conflict
        if one of the codes was registered concurrently.
    """
    try:
        for statement in _build_writes(kind, fields, some_registered):
            await connection.execute(text(statement))
    except IntegrityError as error:
        raise to_conflict(kind, error) from error


@cache
def _build_writes(kind: Kind, fields: frozenset[str], some_registered: bool) -> tuple[str, ...]:
    """Return the statements that write the staged rows."""
    names = list_written_columns(kind)
    columns = ", ".join(quote_identifier(name) for name in names)
    insert = f"INSERT INTO {kind.name} ({columns}) SELECT {columns} FROM import_stage AS s "
    if not some_registered:
        return (f"{insert} ORDER BY s.code",)
    values = [name for name in names if name not in _KEY_COLUMNS]
    updated = {*fields, *(_MEMBERSHIP_COLUMNS if "geometry" in fields else ())} & set(values)
    updates = [_build_update(kind, values, "removed_at IS NOT NULL")]
    if updated:
        condition = f"removed_at IS NULL AND {_build_difference(kind, fields)}"
        updates.append(_build_update(kind, [name for name in values if name in updated], condition))
    new = f"WHERE NOT EXISTS (SELECT FROM {kind.name} AS c WHERE c.code = s.code)"
    return (*updates, f"{insert} {new} ORDER BY s.code")


def _build_update(kind: Kind, names: Sequence[str], condition: str) -> str:
    values = ", ".join(f"{quote_identifier(name)} = s.{quote_identifier(name)}" for name in names)
    return (
        f"UPDATE {kind.name} AS c SET {values}, removed_at = NULL FROM import_stage AS s "
        f"WHERE c.code = s.code AND c.{condition}"
    )


async def upsert_states(connection: AsyncConnection, kind: Kind) -> int:
    """Write the device states of the staged rows that are newer than the registered ones; return their number."""
    result = await connection.execute(
        text(
            "INSERT INTO device_state AS d (kind, code, jurisdiction, state, reported_at) "
            f"SELECT '{kind.name}', code, jurisdiction, state, coalesce(reported_at, now()) "
            "FROM import_stage WHERE state <> 'unknown' OR reported_at IS NOT NULL ORDER BY code "
            "ON CONFLICT (kind, code) DO UPDATE SET state = excluded.state, "
            "reported_at = excluded.reported_at, received_at = now() "
            "WHERE excluded.reported_at > d.reported_at"
        )
    )
    return int(result.rowcount)


async def lock_missing_records(
    connection: AsyncConnection, kind: Kind, jurisdictions: Sequence[str]
) -> tuple[list[str], int]:
    """Lock the records that are in no row of the file; return their codes, and the number of all records.

    The index and the statistics are needed: the planner expects few rows in a table that was filled in
    the same transaction, and would read all codes of the file for each record.
    """
    parameters = {"owners": list(jurisdictions)}
    condition = "t.jurisdiction = ANY(CAST(:owners AS text[])) AND t.removed_at IS NULL"
    await connection.execute(text("CREATE INDEX ON import_seen (code)"))
    await connection.execute(text("ANALYZE import_seen"))
    rows = await connection.execute(
        text(
            f"SELECT t.code FROM {kind.name} AS t WHERE {condition} AND NOT EXISTS "
            "(SELECT FROM import_seen AS n WHERE n.code = t.code) ORDER BY t.code FOR UPDATE"
        ),
        parameters,
    )
    codes = [row[0] for row in rows]
    total = await connection.execute(text(f"SELECT count(*) FROM {kind.name} AS t WHERE {condition}"), parameters)
    return codes, int(total.scalar_one())


async def fetch_road_distances(
    connection: AsyncConnection, jurisdiction: str, lonlat: Sequence[tuple[float, float]]
) -> list[float | None]:
    """Return the distance of each location from the nearest road in metres, None without a road nearby."""
    rows = await connection.execute(
        text(
            "SELECT ARRAY(SELECT (SELECT ST_Distance(r.geometry::geography, p.location::geography) "
            "FROM road AS r WHERE r.jurisdiction = :owner AND r.removed_at IS NULL "
            f"AND r.geometry && ST_Expand(p.location, {_SEARCH_DEG}) "
            "ORDER BY r.geometry <-> p.location LIMIT 1) "
            "FROM (SELECT ST_SetSRID(ST_MakePoint(lon, lat), 4326) AS location, number "
            "FROM unnest(CAST(:lon AS float8[]), CAST(:lat AS float8[])) "
            "WITH ORDINALITY AS locations (lon, lat, number)) AS p ORDER BY number)"
        ),
        {
            "owner": jurisdiction,
            "lon": [location[0] for location in lonlat],
            "lat": [location[1] for location in lonlat],
        },
    )
    return list(rows.scalar_one())
