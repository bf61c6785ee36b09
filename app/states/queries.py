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


# Silence as SQL: when a device began to read as unknown, found at read time from what is kept.
#
# A device is silent from its last report plus `stale_after_s`, as that was in force then; a report that
# is too old when it arrives is silent at once. Nothing is written when it happens: the entries of the
# history and of the feed are derived from the state entries (the next one carries the report before it)
# and, for a silence that lasts, from `device_state`.

RULES: Final = """
rules AS MATERIALIZED (
    SELECT owner, seconds,
           CASE WHEN lag(since) OVER told IS NULL THEN '-infinity' ELSE since END AS begins,
           lead(since, 1, 'infinity') OVER told AS gives_way
    FROM (SELECT code AS owner, seq, (after ->> 'updated_at')::timestamptz AS since,
                 (after ->> 'stale_after_s')::int AS seconds,
                 lag(after ->> 'stale_after_s') OVER (PARTITION BY code ORDER BY seq) AS earlier
          FROM change WHERE kind = 'jurisdiction' AND operation <> 'remove') AS all_told
    WHERE seconds IS NOT NULL AND earlier IS DISTINCT FROM seconds::text
    WINDOW told AS (PARTITION BY owner ORDER BY seq)
)"""
"""Which `stale_after_s` was in force from when to when, one row for each value in turn.

From when: `updated_at`, which another value takes after it has held back the readers (`registry_begin_patience`).
"""


def silence(owner: str, reported: str, since: str, before: str) -> str:
    """Return the SQL of the silence that followed a report, if it began before something else.

    Rows of ``at`` (report plus `stale_after_s`) and ``effective`` (not before the report arrived).
    """
    ends = f"{reported} + make_interval(secs => rules.seconds)"
    effective = f"greatest({ends}, {since})"
    return (
        f"SELECT {ends} AS at, {effective} AS effective FROM rules WHERE rules.owner = {owner} "
        f"AND {effective} >= rules.begins AND {effective} < rules.gives_way "
        f"AND {effective} < {before} ORDER BY 2 LIMIT 1"
    )


BELIEVED: Final = "(c.before ->> 'state' <> 'unknown' OR c.before ->> 'reported_at' = c.after ->> 'reported_at')"
"""Whether the report before a state entry said anything that silence could take back.

An entry with one and the same report was made by another `stale_after_s`.
"""

EARLIER: Final = (
    "SELECT max(p.at) AS at FROM (SELECT at FROM change_log p WHERE p.kind = c.kind "
    "AND p.code = c.code AND p.operation = 'state' AND p.seq < c.seq ORDER BY p.seq DESC LIMIT 1) AS p"
)
"""When the state entry before one arrived."""

ENDED: Final = (
    f"LATERAL ({EARLIER}) AS earlier LEFT JOIN LATERAL ("
    + silence(
        "c.jurisdiction", "(c.before ->> 'reported_at')::timestamptz",
        "coalesce(earlier.at, '-infinity')", "c.at",
    )
    + f") AS ended ON c.operation = 'state' AND c.before IS NOT NULL AND {BELIEVED}"
)  # fmt: skip
"""The silence that a state entry ``c`` ended: joins ``ended``, null where there was none."""
