"""All SQL about device states: many, small, latest wins."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_REPORT = text("""
WITH report AS (
    SELECT DISTINCT ON (kind, code) kind, code, state, reported_at
    FROM json_to_recordset(CAST(:rows AS json))
         AS r(kind text, code text, state text, reported_at timestamptz)
    ORDER BY kind, code, reported_at DESC
), known AS (
    SELECT r.*, coalesce(c.jurisdiction, p.jurisdiction) AS jurisdiction
    FROM report r
    LEFT JOIN camera c ON r.kind = 'camera' AND c.code = r.code AND c.removed_at IS NULL
    LEFT JOIN checkpoint p ON r.kind = 'checkpoint' AND p.code = r.code AND p.removed_at IS NULL
), allowed AS (
    SELECT * FROM known WHERE jurisdiction IS NOT NULL
    AND (CAST(:scope AS text[]) IS NULL OR jurisdiction = ANY(CAST(:scope AS text[])))
), written AS (
    INSERT INTO device_state AS d (kind, code, jurisdiction, state, reported_at, received_at)
    SELECT kind, code, jurisdiction, state, reported_at, now() FROM allowed ORDER BY kind, code
    ON CONFLICT (kind, code) DO UPDATE SET state = excluded.state,
        reported_at = excluded.reported_at, received_at = excluded.received_at
    WHERE excluded.reported_at > d.reported_at
    RETURNING 1
)
SELECT (SELECT count(*) FROM written) AS applied,
       (SELECT coalesce(json_agg(json_build_object('kind', k.kind, 'code', k.code)), '[]')
        FROM known k LEFT JOIN allowed a USING (kind, code) WHERE a.code IS NULL) AS unknown
""")


async def report(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], scope: Sequence[str] | None
) -> tuple[int, list[dict[str, str]]]:
    """Record reports that are newer than what is known; return how many, and the unknown devices."""
    answer = await connection.execute(
        _REPORT,
        {"rows": orjson.dumps(rows).decode(), "scope": None if scope is None else list(scope)},
    )
    applied, unknown = answer.one()
    return int(applied), list(unknown)


async def now(connection: AsyncConnection) -> Any:
    """Return the time of the database, the one clock all workers agree on."""
    return (await connection.execute(text("SELECT now()"))).scalar_one()
