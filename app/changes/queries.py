"""SQL of changes: the history of one record, and the change feed.

The feed is read in two statements: the first finds up to where the history is complete, and the second
sees at least all entries up to there (see `registry_hold_number` in alembic/versions/0012_functions.sql).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch
from app.states.queries import STALE_BEFORE_ENTRY, STALE_RULES, build_stale_query

_STATE: Final = "jsonb_build_object('state', {state}, 'reported_at', {at})"
_HIDDEN: Final = "CAST(:hidden AS text[])"
_DERIVED: Final = """
    NULL::bigint AS seq, {at} AS at, 'registry' AS actor, NULL AS request_id, NULL AS reason,
    'state' AS operation, NULL::int AS version, {before} AS before,
    jsonb_set({before}, '{{state}}', '"unknown"') AS after, true AS derived"""
_LOGGED: Final = f"""
    c.seq, c.at, c.actor, c.request_id, c.reason, c.operation, c.version,
    c.before - {_HIDDEN} AS before, c.after - {_HIDDEN} AS after, false AS derived"""
_HISTORY_MEMBERS: Final = "seq, at, actor, request_id, reason, operation, version, before, after, derived"
_STORED_STATE: Final = _STATE.format(state="s.state", at="s.reported_at")


@cache
def _history_sql(device: bool, scoped: bool, first: bool) -> Any:
    scope = "AND c.jurisdiction = ANY(CAST(:scope AS text[]))" if scoped else ""
    limit_seq = "" if first else "AND c.seq <= CAST(:before AS bigint) / 2"
    selects = [f"SELECT 2 * c.seq AS position, {_LOGGED} FROM page AS c"]
    if device:
        selects.append(
            f"SELECT 2 * c.seq - 1, {_DERIVED.format(at='ended.at', before='c.before')} "
            f"FROM page AS c CROSS JOIN {STALE_BEFORE_ENTRY} WHERE ended.at IS NOT NULL"
        )
    if device and first:
        lasting = build_stale_query("s.jurisdiction", "s.reported_at", "s.received_at", "now()")
        selects.append(
            f"SELECT 2 * (SELECT max(seq) FROM page) + 1, "
            f"{_DERIVED.format(at='lasting.at', before=_STORED_STATE)} FROM device_state AS s "
            f"CROSS JOIN LATERAL ({lasting}) AS lasting WHERE s.kind = :kind AND s.code = :code "
            "AND s.state <> 'unknown' AND EXISTS (SELECT 1 FROM page)"
        )
    rules = STALE_RULES if device else "rules AS (SELECT 1)"
    return text(f"""
        WITH {rules}, page AS (
            SELECT c.* FROM change AS c WHERE c.kind = :kind AND c.code = :code {scope} {limit_seq}
            ORDER BY c.seq DESC LIMIT :limit + 1
        ), entries AS ({" UNION ALL ".join(selects)})
        SELECT position, row_to_json((SELECT d FROM (SELECT {_HISTORY_MEMBERS}) AS d))::text FROM entries
        {"" if first else "WHERE position < :before"} ORDER BY position DESC LIMIT :limit
    """)


async def fetch_history(
    connection: AsyncConnection,
    kind_name: str,
    code: str,
    *,
    device: bool = False,
    scope: Sequence[str] | None,
    hidden: Sequence[str],
    before: int | None,
    limit: int,
) -> list[tuple[int, str]]:
    """Return (position, JSON) of the changes of one record, newest first.

    With ``device``, entries are derived for the times at which the device became stale. The position of a
    change is twice its sequence number, so that a derived entry fits between two changes.
    """
    parameters: dict[str, Any] = {
        "kind": kind_name,
        "code": code,
        "hidden": list(hidden),
        "limit": limit,
    }
    if scope is not None:
        parameters["scope"] = list(scope)
    if before is not None:
        parameters["before"] = before
    statement = _history_sql(device, scope is not None, before is None)
    rows = await connection.execute(statement, parameters)
    return [(row[0], row[1]) for row in rows]


@dataclass(frozen=True)
class Horizon:
    """The end of the complete history: no entry will appear up to the sequence number, or before the time."""

    seq: int
    instant: datetime


@dataclass(frozen=True)
class StalePosition:
    """The last stale device that a reader has; kind and code order devices that became stale at one time."""

    instant: datetime
    kind: str = ""
    code: str = ""


@dataclass(frozen=True)
class FeedEntry:
    """One entry of the feed as JSON, and its position."""

    seq: int | None
    """Sequence number of its change; None for a device that is stale now."""
    body: str
    stale: StalePosition | None = None
    """Position of a device that is stale now."""


@dataclass(frozen=True)
class ChangeQuery:
    """The changes that a reader may see and asks for."""

    scope: Sequence[str] | None
    hidden: Sequence[str]
    """Fields that are left out of the entries."""
    jurisdiction: str | None = None
    kind: str | None = None

    def build_condition(self, alias: str) -> tuple[str, dict[str, Any]]:
        """Return the SQL condition on a table, which starts with AND or is empty, and its parameters."""
        clauses: list[str] = [""]
        parameters: dict[str, Any] = {}
        if self.scope is not None:
            clauses.append(f"{alias}.jurisdiction = ANY(CAST(:scope AS text[]))")
            parameters["scope"] = list(self.scope)
        if self.jurisdiction is not None:
            clauses.append(f"{alias}.jurisdiction = :jurisdiction")
            parameters["jurisdiction"] = self.jurisdiction
        if self.kind is not None:
            clauses.append(f"{alias}.kind = :kind")
            parameters["kind"] = self.kind
        return " AND ".join(clauses), parameters


async def fetch_horizon(fetch: Fetch) -> Horizon:
    """Return the end of the complete history."""
    rows = await fetch("SELECT number, instant FROM registry_horizon()")
    return Horizon(*rows[0])


async def fetch_change_time(connection: AsyncConnection, seq: int) -> datetime | None:
    """Return the time of the last change up to a sequence number, None if there is none."""
    rows = await connection.execute(
        text("SELECT at FROM change_log WHERE seq <= :seq ORDER BY seq DESC LIMIT 1"), {"seq": seq}
    )
    instant: datetime | None = rows.scalar()
    return instant


_FEED_MEMBERS: Final = (
    "seq, at, actor, request_id, reason, jurisdiction, kind, code, operation, version, before, after, derived"
)
_NEXT: Final = (
    "SELECT min(n.at) AS at FROM (SELECT at FROM change_log n WHERE n.kind = c.kind "
    "AND n.code = c.code AND n.operation = 'state' AND n.seq > c.seq ORDER BY n.seq LIMIT 1) AS n"
)


async def fetch_entries(
    connection: AsyncConnection, query: ChangeQuery, after: int, upto: int, stale: StalePosition, limit: int
) -> list[FeedEntry]:
    """Return the entries after a sequence number in order, with the stale devices that they end.

    Stale devices that the reader has already are left out. A report that arrived late is followed by an
    entry of its stale device, if the reader is past that time already.
    """
    condition, parameters = query.build_condition("c")
    of_row = build_stale_query(
        "c.jurisdiction",
        "(c.after ->> 'reported_at')::timestamptz",
        "c.at",
        "coalesce(following.at, 'infinity')",
    )
    key = "c.seq AS position, {rank} AS rank, c.jurisdiction, c.kind, c.code"
    statement = text(f"""
        WITH {STALE_RULES}, page AS (
            SELECT c.* FROM change AS c WHERE c.seq > :after AND c.seq <= :upto {condition}
            ORDER BY c.seq LIMIT :limit
        ), entries AS (
            SELECT {key.format(rank=1)}, {_LOGGED} FROM page AS c
            UNION ALL
            SELECT {key.format(rank=0)}, {_DERIVED.format(at="ended.at", before="c.before")}
            FROM page AS c CROSS JOIN {STALE_BEFORE_ENTRY}
            WHERE ended.at IS NOT NULL AND (ended.effective, c.kind COLLATE "C", c.code)
                  > (CAST(:stale AS timestamptz), CAST(:stale_kind AS text), CAST(:stale_code AS text))
            UNION ALL
            SELECT {key.format(rank=2)}, {_DERIVED.format(at="own.at", before="c.after")}
            FROM page AS c CROSS JOIN LATERAL ({_NEXT}) AS following
            CROSS JOIN LATERAL ({of_row}) AS own
            WHERE c.operation = 'state' AND c.after ->> 'state' <> 'unknown'
                  AND own.effective <= CAST(:stale AS timestamptz)
        )
        SELECT position, row_to_json((SELECT d FROM (SELECT {_FEED_MEMBERS}) AS d))::text
        FROM entries ORDER BY position, rank
    """)
    parameters |= {
        "after": after,
        "upto": upto,
        "limit": limit,
        "hidden": list(query.hidden),
        **_stale_parameters(stale),
    }
    rows = await connection.execute(statement, parameters)
    return [FeedEntry(row[0], row[1]) for row in rows]


def _stale_parameters(stale: StalePosition) -> dict[str, Any]:
    return {"stale": stale.instant, "stale_kind": stale.kind, "stale_code": stale.code}


async def fetch_stale_entries(
    connection: AsyncConnection, query: ChangeQuery, horizon: Horizon, stale: StalePosition, limit: int
) -> list[FeedEntry] | None:
    """Return the devices that are stale now and that the reader does not have, in the order they became stale.

    None if entries are visible beyond the horizon: they come first.
    """
    condition, parameters = query.build_condition("s")
    ends = "s.reported_at + make_interval(secs => rules.seconds)"
    began = f"greatest({ends}, s.received_at)"
    statement = text(f"""
        WITH {STALE_RULES}
        SELECT settled.yes, lasting.began, lasting.kind, lasting.code, lasting.body
        FROM (SELECT NOT EXISTS (SELECT 1 FROM change_log WHERE seq > :seq) AS yes) AS settled
        LEFT JOIN LATERAL (
            SELECT began, kind, code,
                   row_to_json((SELECT d FROM (SELECT {_FEED_MEMBERS}) AS d))::text AS body
            FROM (SELECT {began} AS began, s.jurisdiction, s.kind, s.code,
                         {_DERIVED.format(at=ends, before=_STORED_STATE)}
                  FROM device_state AS s JOIN rules ON rules.owner = s.jurisdiction
                  WHERE rules.valid_to = 'infinity' AND s.state <> 'unknown'
                  AND {began} < :instant AND {began} >= rules.valid_from
                  AND ({began}, s.kind COLLATE "C", s.code)
                      > (CAST(:stale AS timestamptz), CAST(:stale_kind AS text),
                         CAST(:stale_code AS text)) {condition}
                  ORDER BY began, s.kind COLLATE "C", s.code LIMIT :limit) AS stale_devices
        ) AS lasting ON settled.yes
        ORDER BY lasting.began, lasting.kind COLLATE "C", lasting.code
    """)
    parameters |= {
        "seq": horizon.seq,
        "instant": horizon.instant,
        "limit": limit,
        **_stale_parameters(stale),
    }
    rows = (await connection.execute(statement, parameters)).all()
    if not rows[0][0]:
        return None
    return [FeedEntry(None, row[4], StalePosition(row[1], row[2], row[3])) for row in rows if row[2] is not None]


async def fetch_next_stale_time(connection: AsyncConnection, after: datetime) -> datetime | None:
    """Return the time after which the next device becomes stale without a report; None if no device will."""
    rows = await connection.execute(
        text(
            "SELECT min(s.reported_at + make_interval(secs => j.stale_after_s)) "
            "FROM device_state s JOIN jurisdiction j ON j.code = s.jurisdiction "
            "WHERE s.state <> 'unknown' "
            "AND s.reported_at + make_interval(secs => j.stale_after_s) >= :after"
        ),
        {"after": after},
    )
    instant: datetime | None = rows.scalar()
    return instant
