"""All SQL about device states: many, small, latest wins."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch, within

REPORT: Final = """
WITH report AS (
    SELECT DISTINCT ON (kind, code) kind, code, state, reported_at
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
         AS r(kind, code, state, reported_at)
    ORDER BY kind, code, reported_at DESC
), known AS (
    SELECT r.*, coalesce(c.jurisdiction, p.jurisdiction) AS jurisdiction
    FROM report r
    LEFT JOIN camera c ON r.kind = 'camera' AND c.code = r.code AND c.removed_at IS NULL
    LEFT JOIN checkpoint p ON r.kind = 'checkpoint' AND p.code = r.code AND p.removed_at IS NULL
), allowed AS (
    SELECT * FROM known WHERE jurisdiction IS NOT NULL
    AND ($5::text[] IS NULL OR jurisdiction = ANY($5::text[]))
), written AS (
    INSERT INTO device_state AS d (kind, code, jurisdiction, state, reported_at, received_at)
    SELECT kind, code, jurisdiction, state, reported_at, now() FROM allowed ORDER BY kind, code
    ON CONFLICT (kind, code) DO UPDATE SET state = excluded.state,
        reported_at = excluded.reported_at, received_at = excluded.received_at
    WHERE excluded.reported_at > d.reported_at
    RETURNING 1
)
SELECT (SELECT count(*) FROM written) AS applied,
       ARRAY(SELECT ARRAY[k.kind, k.code] FROM known k LEFT JOIN allowed a USING (kind, code)
             WHERE a.code IS NULL ORDER BY k.kind, k.code) AS unknown
"""
"""Records reports given as columns; codes are locked in order, so that batches cannot deadlock."""


async def report(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], scope: Sequence[str] | None
) -> tuple[int, list[tuple[str, str]]]:
    """Record reports that are newer than what is known; return how many, and the unknown devices."""
    columns = [[row[name] for row in rows] for name in ("kind", "code", "state", "reported_at")]
    return await report_columns(await within(connection), columns, scope)


async def report_columns(
    fetch: Fetch, columns: Sequence[Sequence[Any]], scope: Sequence[str] | None
) -> tuple[int, list[tuple[str, str]]]:
    """Do the same with columns: kinds, codes, states, times."""
    applied, unknown = (await fetch(REPORT, *columns, scope))[0]
    return int(applied), [(kind, code) for kind, code in unknown]


async def now(connection: AsyncConnection) -> Any:
    """Return the time of the database, the one clock all workers agree on."""
    fetch = await within(connection)
    return (await fetch("SELECT now()"))[0][0]
