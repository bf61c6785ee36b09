"""All SQL about the rows of a running import: a staging table, what is wrong with them, their writing.

One batch of rows lies in ``import_stage`` at a time, typed as the table they go to, so that memory
does not grow with the file. The staging table belongs to the transaction and ends with it. Nothing
here decides what is an error; each function answers which rows have a property.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.records.geojson import DECIMALS
from app.records.kinds import Kind
from app.records.queries.documents import quoted, written_columns
from app.records.queries.records import refused

_PLACED: Final = ("zone", "rings", "on_boundary", "distance_m")
_REPORT: Final = {"state": "text", "reported_at": "timestamptz"}
_ABOUT_DEG: Final = 0.02
"""How far about a place a road is looked for: some two kilometres."""
_PAIRS: Final = 45  # a function takes a hundred arguments
WORK_MEM: Final = "96MB"
"""A batch with its documents stays in memory while triggers look at it."""


@cache
def staged_columns(kind: Kind) -> tuple[str, ...]:
    """Return the columns of the staging table but the row number."""
    return (*written_columns(kind), *(_REPORT if kind.device else ()))


async def prepare(connection: AsyncConnection, kind: Kind) -> None:
    """Make the staging table, and let the transaction take the time and memory of a bulk load.

    A batch finds its records through an index: with what is usually said of a random page, the
    planner would read the whole table for every batch, and a long file would take ever longer.
    """
    for setting, value in (
        ("random_page_cost", "1.1"),
        ("work_mem", WORK_MEM),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "600000"),
    ):
        await connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": setting, "value": value})
    columns = ", ".join(quoted(name) for name in written_columns(kind))
    report = "".join(f', CAST(NULL AS {kind_of}) AS "{name}"' for name, kind_of in _REPORT.items() if kind.device)
    await connection.execute(
        text(
            f'CREATE TEMP TABLE import_stage ON COMMIT DROP AS SELECT CAST(NULL AS bigint) AS "row", '
            f"{columns}{report} FROM {kind.name} WITH NO DATA"
        )
    )
    await connection.execute(
        text('CREATE TEMP TABLE import_seen (jurisdiction text COLLATE "C", code text COLLATE "C") ON COMMIT DROP')
    )


async def stage(connection: AsyncConnection, csv: bytes, columns: Sequence[str]) -> None:
    """Fill the staging table with one batch, by COPY inside the running transaction."""
    await connection.execute(text("TRUNCATE import_stage"))
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.copy_to_table("import_stage", source=BytesIO(csv), columns=list(columns), format="csv")


async def adopt_codes(connection: AsyncConnection, kind: Kind) -> None:
    """Give rows the code of the record that has their owner's reference already."""
    await connection.execute(
        text(
            f"UPDATE import_stage AS s SET code = c.code FROM {kind.name} AS c "
            "WHERE c.jurisdiction = s.jurisdiction AND c.owner_unit = s.owner_unit "
            "AND c.owner_reference = s.owner_reference AND c.removed_at IS NULL"
        )
    )


async def lock_known(connection: AsyncConnection, kind: Kind) -> int:
    """Lock the records that staged rows speak of, in code order, and return how many there are."""
    rows = await connection.execute(
        text(
            "SELECT count(*) FROM (SELECT code FROM import_stage ORDER BY code) AS s "
            f"CROSS JOIN LATERAL (SELECT 1 FROM {kind.name} AS c WHERE c.code = s.code "
            "LIMIT 1 FOR UPDATE) AS locked"
        )
    )
    return int(rows.scalar_one())


async def of_others(connection: AsyncConnection, kind: Kind) -> list[int]:
    """Return rows whose code belongs to another jurisdiction."""
    return await _rows(
        connection,
        f'SELECT s."row" FROM import_stage AS s JOIN {kind.name} AS c ON c.code = s.code '
        "WHERE c.jurisdiction <> s.jurisdiction",
    )


async def there(connection: AsyncConnection, kind: Kind) -> list[int]:
    """Return rows whose record is registered."""
    return await _rows(
        connection,
        f'SELECT s."row" FROM import_stage AS s JOIN {kind.name} AS c ON c.code = s.code WHERE c.removed_at IS NULL',
    )


async def not_there(connection: AsyncConnection, kind: Kind) -> list[int]:
    """Return rows whose record is not registered."""
    return await _rows(
        connection,
        f'SELECT s."row" FROM import_stage AS s LEFT JOIN {kind.name} AS c '
        "ON c.code = s.code AND c.removed_at IS NULL WHERE c.code IS NULL",
    )


async def _rows(connection: AsyncConnection, sql: str, **bound: Any) -> list[int]:
    """Return the numbers a query finds, sorted; as one array, which the driver reads at once."""
    found = await connection.execute(text(f'SELECT array_agg("row" ORDER BY "row") FROM ({sql}) AS found'), bound)
    return list(found.scalar_one() or ())


async def pointing_nowhere(connection: AsyncConnection, column: str, table: str) -> list[tuple[int, str, str]]:
    """Return (row, jurisdiction, code) where a column names no record; keep those it names."""
    name = quoted(column)
    rows = await connection.execute(
        text(
            f"WITH wanted AS (SELECT DISTINCT jurisdiction, {name} AS code FROM import_stage "
            f"WHERE {name} IS NOT NULL), "
            f"there AS (SELECT t.jurisdiction, t.code FROM {table} AS t "
            "JOIN wanted USING (jurisdiction, code) WHERE t.removed_at IS NULL "
            "ORDER BY t.code FOR KEY SHARE OF t) "
            f'SELECT s."row", s.jurisdiction, s.{name} FROM import_stage AS s LEFT JOIN there '
            f"ON there.jurisdiction = s.jurisdiction AND there.code = s.{name} "
            f'WHERE s.{name} IS NOT NULL AND there.code IS NULL ORDER BY s."row"'
        )
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def reference_taken(connection: AsyncConnection, kind: Kind) -> list[tuple[int, str]]:
    """Return (row, code of the other record) where the owner's reference is another record's."""
    rows = await connection.execute(
        text(
            f'SELECT s."row", c.code FROM import_stage AS s JOIN {kind.name} AS c '
            "ON c.jurisdiction = s.jurisdiction AND c.owner_unit = s.owner_unit "
            "AND c.owner_reference = s.owner_reference AND c.removed_at IS NULL "
            'AND c.code <> s.code WHERE s.owner_reference IS NOT NULL ORDER BY s."row"'
        )
    )
    return [(row[0], row[1]) for row in rows]


async def ahead(connection: AsyncConnection, latest: datetime) -> list[int]:
    """Return rows whose report comes from after an instant."""
    return await _rows(connection, 'SELECT "row" FROM import_stage WHERE reported_at > :latest', latest=latest)


async def leave_out(connection: AsyncConnection, rows: Sequence[int]) -> None:
    """Take rows out of the staging table."""
    await connection.execute(
        text('DELETE FROM import_stage WHERE "row" = ANY(CAST(:rows AS bigint[]))'),
        {"rows": list(rows)},
    )


async def remember(connection: AsyncConnection) -> None:
    """Keep the codes of the staged rows, to tell at the end what the file does not have."""
    await connection.execute(text("INSERT INTO import_seen SELECT jurisdiction, code FROM import_stage"))


async def codes(connection: AsyncConnection) -> list[tuple[int, str]]:
    """Return (row, code) of the staged rows."""
    rows = await connection.execute(text('SELECT "row", code FROM import_stage'))
    return [(row[0], row[1]) for row in rows]


@cache
def _differs(kind: Kind, fed: frozenset[str]) -> str:
    names = [quoted(n) for n in written_columns(kind) if n in fed and n not in _KEYS]
    if not names:  # a state, which is no field of the record
        return "FALSE"
    ours, theirs = (", ".join(f"{row}.{name}" for name in names) for row in "cs")
    return f"ROW({ours}) IS DISTINCT FROM ROW({theirs})"


_KEYS: Final = frozenset({"code", "jurisdiction"})


@cache
def _changes(kind: Kind, fed: frozenset[str]) -> str:
    """Return the SQL of a JSON object with what differs: field to before and after."""
    pairs = []
    for name in written_columns(kind):
        if name not in fed or name in _KEYS or name in _PLACED:
            continue
        ours, theirs = f"c.{quoted(name)}", f"s.{quoted(name)}"
        shown = (ours, theirs)
        if name == "geometry":
            shown = tuple(f"ST_AsGeoJSON({value}, {DECIMALS})::jsonb" for value in shown)  # type: ignore[assignment]  # still two
        pairs.append(
            f"'{name}', CASE WHEN {ours} IS DISTINCT FROM {theirs} THEN jsonb_build_array({shown[0]}, {shown[1]}) END"
        )
    parts = [pairs[start : start + _PAIRS] for start in range(0, len(pairs), _PAIRS)]
    objects = " || ".join(f"jsonb_build_object({', '.join(part)})" for part in parts)
    return f"jsonb_strip_nulls({objects})" if pairs else "jsonb_build_object()"


async def changed(connection: AsyncConnection, kind: Kind, fed: frozenset[str]) -> list[tuple[int, str]]:
    """Return (row, JSON of what changes) of staged rows that differ from their record."""
    rows = await connection.execute(
        text(
            f'SELECT s."row", {_changes(kind, fed)}::text FROM import_stage AS s '
            f"JOIN {kind.name} AS c ON c.code = s.code "
            f'WHERE c.removed_at IS NULL AND {_differs(kind, fed)} ORDER BY s."row"'
        )
    )
    return [(row[0], row[1]) for row in rows]


async def write(connection: AsyncConnection, kind: Kind, fed: frozenset[str], *, known: bool) -> None:
    """Write the staged rows: new records, records that come back, records that differ.

    A record that is there keeps the fields the file does not give; one that comes back does not.

    Raises
    ------
    Conflict
        when somebody registered one of the codes meanwhile.
    """
    names = [quoted(name) for name in written_columns(kind)]
    listed = ", ".join(names)
    new = f"WHERE NOT EXISTS (SELECT FROM {kind.name} AS c WHERE c.code = s.code)"
    statements = []
    if known:
        every = [name for name in names if name not in ('"code"', '"jurisdiction"')]
        placed = _PLACED if "geometry" in fed else ()
        given = [name for name in every if name.strip('"') in {*fed, *placed}]
        statements.append(_update(kind, every, "removed_at IS NOT NULL"))
        if given:
            statements.append(_update(kind, given, f"removed_at IS NULL AND {_differs(kind, fed)}"))
    statements.append(
        f"INSERT INTO {kind.name} ({listed}) SELECT {listed} FROM import_stage AS s "
        f"{new if known else ''} ORDER BY s.code"
    )
    try:
        for statement in statements:
            await connection.execute(text(statement))
    except IntegrityError as error:
        raise refused(kind, error) from error


def _update(kind: Kind, names: Sequence[str], condition: str) -> str:
    sets = ", ".join(f"{name} = s.{name}" for name in names)
    return (
        f"UPDATE {kind.name} AS c SET {sets}, removed_at = NULL FROM import_stage AS s "
        f"WHERE c.code = s.code AND c.{condition}"
    )


async def record_states(connection: AsyncConnection, kind: Kind) -> int:
    """Record the states that staged rows carry, where they are news; return how many."""
    done = await connection.execute(
        text(
            "INSERT INTO device_state AS d (kind, code, jurisdiction, state, reported_at) "
            f"SELECT '{kind.name}', code, jurisdiction, state, coalesce(reported_at, now()) "
            "FROM import_stage WHERE state <> 'unknown' OR reported_at IS NOT NULL ORDER BY code "
            "ON CONFLICT (kind, code) DO UPDATE SET state = excluded.state, "
            "reported_at = excluded.reported_at, received_at = now() "
            "WHERE excluded.reported_at > d.reported_at"
        )
    )
    return int(done.rowcount)


async def missing(connection: AsyncConnection, kind: Kind, jurisdictions: Sequence[str]) -> tuple[list[str], int]:
    """Return the codes of records that no row of the file spoke of, and how many records there are.

    With an index: of records that were written a moment ago the planner knows nothing, takes them for
    a few, and would go through all rows of the file for each.
    """
    bound = {"owners": list(jurisdictions)}
    mine = "t.jurisdiction = ANY(CAST(:owners AS text[])) AND t.removed_at IS NULL"
    await connection.execute(text("CREATE INDEX ON import_seen (code)"))
    await connection.execute(text("ANALYZE import_seen"))
    rows = await connection.execute(
        text(
            f"SELECT t.code FROM {kind.name} AS t WHERE {mine} AND NOT EXISTS "
            "(SELECT FROM import_seen AS n WHERE n.code = t.code) ORDER BY t.code FOR UPDATE"
        ),
        bound,
    )
    found = [row[0] for row in rows]
    count = await connection.execute(text(f"SELECT count(*) FROM {kind.name} AS t WHERE {mine}"), bound)
    return found, int(count.scalar_one())


async def road_distances(
    connection: AsyncConnection, jurisdiction: str, lonlat: Sequence[tuple[float, float]]
) -> list[float | None]:
    """Return how far each place is from the nearest road in metres, None when there is none about."""
    rows = await connection.execute(
        text(
            "SELECT ARRAY(SELECT (SELECT ST_Distance(r.geometry::geography, p.place::geography) "
            "FROM road AS r WHERE r.jurisdiction = :owner AND r.removed_at IS NULL "
            f"AND r.geometry && ST_Expand(p.place, {_ABOUT_DEG}) "
            "ORDER BY r.geometry <-> p.place LIMIT 1) "
            "FROM (SELECT ST_SetSRID(ST_MakePoint(lon, lat), 4326) AS place, place_number "
            "FROM unnest(CAST(:lon AS float8[]), CAST(:lat AS float8[])) "
            "WITH ORDINALITY AS given (lon, lat, place_number)) AS p ORDER BY place_number)"
        ),
        {
            "owner": jurisdiction,
            "lon": [place[0] for place in lonlat],
            "lat": [place[1] for place in lonlat],
        },
    )
    return list(rows.scalar_one())
