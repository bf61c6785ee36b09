"""SQL of exports: the rows of a collection through a cursor, typed, in one consistent state."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ogc.collection_model import Collection, Property
from app.ogc.queries.features import build_property_expression
from app.records.queries.documents import FilterClause, build_record_source

FetchRows = Callable[[int], Awaitable[Sequence[Any]]]
"""Returns up to a number of rows; none at the end."""

MAX_IDLE_S: Final = 600
"""Time that a reader may pause before the database closes the transaction."""


async def open_cursor(
    connection: AsyncConnection,
    collection: Collection,
    properties: Sequence[Property],
    filters: Mapping[str, Any],
    srid: int,
) -> FetchRows:
    """Open a cursor over the records of a collection in code order; the last column is the geometry as WKB."""
    await connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{MAX_IDLE_S}s'"))
    table, condition, values = build_source(collection, filters)
    columns = [build_column(collection, item) for item in properties]
    geometry = "t.geometry" if srid == 4326 else f"ST_Transform(t.geometry, {int(srid)})"
    statement = (
        f"SELECT {', '.join([*columns, f'ST_AsBinary({geometry})'])} FROM {table} WHERE {condition} ORDER BY t.code"
    )
    raw: Any = (await connection.get_raw_connection()).driver_connection
    cursor = await raw.cursor(statement, *values)
    fetch: FetchRows = cursor.fetch
    return fetch


def build_source(collection: Collection, filters: Mapping[str, Any]) -> tuple[str, str, list[Any]]:
    """Return the table, the condition and its values."""
    if collection.kind is not None:
        clause = FilterClause(collection.kind, filters)
        return build_record_source(collection.kind), clause.sql, clause.values
    clauses, values = ["t.removed_at IS NULL"], []
    for name, value in filters.items():
        if value is not None:
            values.append(value)
            comparison = f"ANY(${len(values)}::text[])" if name == "scope" else f"${len(values)}"
            column = "jurisdiction" if name == "scope" else name
            clauses.append(f"t.{column} = {comparison}")
    return "ring AS t", " AND ".join(clauses), values


def build_column(collection: Collection, item: Property) -> str:
    """Return the SQL of a property in the type of its column."""
    sql = build_property_expression(collection, item.name)
    if item.type == "words":
        return f"array_to_json({sql})::text"
    if item.type == "json":
        return f"({sql})::text"
    return f"({sql})::bigint" if item.type == "integer" else sql


async def count_catalogued(connection: AsyncConnection, collection: Collection, filters: Mapping[str, Any]) -> int:
    """Return the number of records that a GB/T 28181 catalogue accepts: a 20-digit code, in use or in repair."""
    table, condition, values = build_source(collection, filters)
    raw: Any = (await connection.get_raw_connection()).driver_connection
    rows = await raw.fetch(
        f"SELECT count(*) FROM {table} WHERE {condition} "
        "AND t.code ~ '^[0-9]{20}$' AND t.lifecycle IN ('in_use', 'repair')",
        *values,
    )
    return int(rows[0][0])
