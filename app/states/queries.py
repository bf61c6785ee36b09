"""SQL of device states: the last report of each device, and the times at which devices became stale."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch, get_fetch

UPSERT_REPORTS: Final = """
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
"""Writes reports given as columns. The devices are written in code order, so that batches cannot deadlock."""


async def upsert_reports(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], scope: Sequence[str] | None
) -> tuple[int, list[tuple[str, str]]]:
    """Write reports that are newer than the stored ones; return their number, and the unknown devices."""
    columns = [[row[name] for row in rows] for name in ("kind", "code", "state", "reported_at")]
    return await upsert_report_columns(await get_fetch(connection), columns, scope)


async def upsert_report_columns(
    fetch: Fetch, columns: Sequence[Sequence[Any]], scope: Sequence[str] | None
) -> tuple[int, list[tuple[str, str]]]:
    """Write reports given as columns kind, code, state and time; see `upsert_reports`."""
    applied, unknown = (await fetch(UPSERT_REPORTS, *columns, scope))[0]
    return int(applied), [(kind, code) for kind, code in unknown]


async def fetch_now(connection: AsyncConnection) -> datetime:
    """Return the time of the database, which all workers share."""
    fetch = await get_fetch(connection)
    now: datetime = (await fetch("SELECT now()"))[0][0]
    return now


# Stale devices as SQL. A device is stale from its last report plus the `stale_after_s` that was valid
# then; a report that is too old when it arrives is stale at once. Nothing is written when a device
# becomes stale: the entries of the history and the change feed are derived, from the next state entry,
# which has the report before it, or from `device_state` while the device is stale.

STALE_RULES: Final = """
rules AS MATERIALIZED (
    SELECT owner, seconds,
           CASE WHEN lag(since) OVER by_change IS NULL THEN '-infinity' ELSE since END AS valid_from,
           lead(since, 1, 'infinity') OVER by_change AS valid_to
    FROM (SELECT code AS owner, seq, (after ->> 'updated_at')::timestamptz AS since,
                 (after ->> 'stale_after_s')::int AS seconds,
                 lag(after ->> 'stale_after_s') OVER (PARTITION BY code ORDER BY seq) AS previous
          FROM change WHERE kind = 'jurisdiction' AND operation <> 'remove') AS versions
    WHERE seconds IS NOT NULL AND previous IS DISTINCT FROM seconds::text
    WINDOW by_change AS (PARTITION BY owner ORDER BY seq)
)"""
"""The values of `stale_after_s` of each jurisdiction, and the time during which each is valid.

A value is valid from `updated_at` of its change; the trigger sets that after it has locked out the
readers of the change feed (`registry_begin_patience`).
"""


def build_stale_query(owner: str, reported: str, since: str, before: str) -> str:
    """Return the SQL of the time at which a device became stale after a report, before something else.

    Its columns are ``at``, the time of the report plus `stale_after_s`, and ``effective``, the same but not
    before the report arrived (``since``). It has no row if the device did not become stale. The parameters
    are SQL expressions.
    """
    stale_at = f"{reported} + make_interval(secs => rules.seconds)"
    effective = f"greatest({stale_at}, {since})"
    return (
        f"SELECT {stale_at} AS at, {effective} AS effective FROM rules WHERE rules.owner = {owner} "
        f"AND {effective} >= rules.valid_from AND {effective} < rules.valid_to "
        f"AND {effective} < {before} ORDER BY 2 LIMIT 1"
    )


_HAS_KNOWN_STATE: Final = (
    "(c.before ->> 'state' <> 'unknown' OR c.before ->> 'reported_at' = c.after ->> 'reported_at')"
)
"""Whether the report before a state entry had a state that becomes unknown when the device is stale.

An entry whose two reports are the same was made by a change of `stale_after_s`.
"""

_PREVIOUS_ENTRY: Final = (
    "SELECT max(p.at) AS at FROM (SELECT at FROM change_log p WHERE p.kind = c.kind "
    "AND p.code = c.code AND p.operation = 'state' AND p.seq < c.seq ORDER BY p.seq DESC LIMIT 1) AS p"
)
_STALE_BEFORE_ENTRY: Final = build_stale_query(
    "c.jurisdiction",
    "(c.before ->> 'reported_at')::timestamptz",
    "coalesce(earlier.at, '-infinity')",
    "c.at",
)
STALE_BEFORE_ENTRY: Final = (
    f"LATERAL ({_PREVIOUS_ENTRY}) AS earlier LEFT JOIN LATERAL ({_STALE_BEFORE_ENTRY}) AS ended "
    f"ON c.operation = 'state' AND c.before IS NOT NULL AND {_HAS_KNOWN_STATE}"
)
"""Joins ``ended`` to a state entry ``c``: when the device became stale before that entry, else null."""
