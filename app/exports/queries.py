"""All SQL of exports: the rows of a collection through a cursor, typed, in one consistent state."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ogc.collection_model import Collection, Property
from app.ogc.queries.features import expression
from app.records.queries.documents import Conditions, source

Next = Callable[[int], Awaitable[Sequence[Any]]]
"""Returns so many more rows, none at the end."""

IDLE_S: Final = 600
"""How long a reader may leave an export lying before the database takes its connection back."""


async def opened(
    connection: AsyncConnection,
    collection: Collection,
    properties: Sequence[Property],
    filters: Mapping[str, Any],
    srid: int,
) -> Next:
    """Open a cursor over the records of a collection, ordered by code; the shape comes last."""
    await connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_S}s'"))
    table, condition, values = _where(collection, filters)
    columns = [_column(collection, known) for known in properties]
    shape = "t.geometry" if srid == 4326 else f"ST_Transform(t.geometry, {int(srid)})"
    statement = (
        f"SELECT {', '.join([*columns, f'ST_AsBinary({shape})'])} FROM {table} WHERE {condition} ORDER BY t.code"
    )
    raw: Any = (await connection.get_raw_connection()).driver_connection
    cursor = await raw.cursor(statement, *values)
    fetch: Next = cursor.fetch
    return fetch


def _where(collection: Collection, filters: Mapping[str, Any]) -> tuple[str, str, list[Any]]:
    if collection.kind is not None:
        where = Conditions(collection.kind, filters)
        return source(collection.kind), where.sql, where.values
    parts, values = ["t.removed_at IS NULL"], []
    for name, value in filters.items():
        if value is not None:
            values.append(value)
            comparison = f"ANY(${len(values)}::text[])" if name == "scope" else f"${len(values)}"
            column = "jurisdiction" if name == "scope" else name
            parts.append(f"t.{column} = {comparison}")
    return "ring AS t", " AND ".join(parts), values


def _column(collection: Collection, known: Property) -> str:
    sql = expression(collection, known.name)
    if known.type == "words":
        return f"array_to_json({sql})::text"
    if known.type == "json":
        return f"({sql})::text"
    return f"({sql})::bigint" if known.type == "integer" else sql


async def count(connection: AsyncConnection, collection: Collection, filters: Mapping[str, Any], also: str = "") -> int:
    """Return how many records there are; ``also`` is a further condition of ours."""
    table, condition, values = _where(collection, filters)
    raw: Any = (await connection.get_raw_connection()).driver_connection
    rows = await raw.fetch(f"SELECT count(*) FROM {table} WHERE {condition} {also}", *values)
    return int(rows[0][0])


CATALOGUED: Final = "AND t.code ~ '^[0-9]{20}$' AND t.lifecycle IN ('in_use', 'repair')"
"""What a video platform can take."""
