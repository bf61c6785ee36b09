"""All SQL about what has changed: the history of one record, and the feed of everything.

The feed is read in two statements on purpose: the first finds how far the history is settled, the second
sees at least everything up to there (`registry_hold_number` in alembic/versions/0012_functions.sql says why).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch
from app.states.queries import ENDED, RULES, silence

_REPORT: Final = "jsonb_build_object('state', {state}, 'reported_at', {at})"
_HIDDEN: Final = "CAST(:hidden AS text[])"
_DERIVED: Final = """
    NULL::bigint AS seq, {at} AS at, 'registry' AS actor, NULL AS request_id, NULL AS reason,
    'state' AS operation, NULL::int AS version, {before} AS before,
    jsonb_set({before}, '{{state}}', '"unknown"') AS after, true AS derived"""
_LOGGED: Final = f"""
    c.seq, c.at, c.actor, c.request_id, c.reason, c.operation, c.version,
    c.before - {_HIDDEN} AS before, c.after - {_HIDDEN} AS after, false AS derived"""
_MEMBERS: Final = "seq, at, actor, request_id, reason, operation, version, before, after, derived"
_NOW_SAID: Final = _REPORT.format(state="s.state", at="s.reported_at")


@cache
def _history_sql(device: bool, scoped: bool, first: bool) -> Any:
    scope = "AND c.jurisdiction = ANY(CAST(:scope AS text[]))" if scoped else ""
    upto = "" if first else "AND c.seq <= CAST(:before AS bigint) / 2"
    parts = [f"SELECT 2 * c.seq AS place, {_LOGGED} FROM page AS c"]
    if device:
        parts.append(
            f"SELECT 2 * c.seq - 1, {_DERIVED.format(at='ended.at', before='c.before')} "
            f"FROM page AS c CROSS JOIN {ENDED} WHERE ended.at IS NOT NULL"
        )
    if device and first:
        lasting = silence("s.jurisdiction", "s.reported_at", "s.received_at", "now()")
        parts.append(
            f"SELECT 2 * (SELECT max(seq) FROM page) + 1, "
            f"{_DERIVED.format(at='lasting.at', before=_NOW_SAID)} FROM device_state AS s "
            f"CROSS JOIN LATERAL ({lasting}) AS lasting WHERE s.kind = :kind AND s.code = :code "
            "AND s.state <> 'unknown' AND EXISTS (SELECT 1 FROM page)"
        )
    rules = RULES if device else "rules AS (SELECT 1)"
    return text(f"""
        WITH {rules}, page AS (
            SELECT c.* FROM change AS c WHERE c.kind = :kind AND c.code = :code {scope} {upto}
            ORDER BY c.seq DESC LIMIT :limit + 1
        ), entries AS ({" UNION ALL ".join(parts)})
        SELECT place, row_to_json((SELECT d FROM (SELECT {_MEMBERS}) AS d))::text FROM entries
        {"" if first else "WHERE place < :before"} ORDER BY place DESC LIMIT :limit
    """)


async def history(
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
    """Return changes of one record, newest first, as (place, JSON); silences are among them."""
    bound: dict[str, Any] = {
        "kind": kind_name, "code": code, "hidden": list(hidden), "limit": limit,
    }  # fmt: skip
    if scope is not None:
        bound["scope"] = list(scope)
    if before is not None:
        bound["before"] = before
    statement = _history_sql(device, scope is not None, before is None)
    rows = await connection.execute(statement, bound)
    return [(row[0], row[1]) for row in rows]


@dataclass(frozen=True)
class Horizon:
    """How far the history is settled: nothing will appear up to the number, or before the instant."""

    number: int
    instant: datetime


@dataclass(frozen=True)
class Told:
    """The last silence a reader was told of; by code where several began at one instant."""

    instant: datetime
    kind: str = ""
    code: str = ""


@dataclass(frozen=True)
class Entry:
    """One entry of the feed as JSON, and where it stands."""

    place: int | None
    """Number of the entry it is or belongs to; None for a silence that lasts."""
    body: str
    told: Told | None = None
    """Which silence it is, where that decides what comes next."""


@dataclass(frozen=True)
class Asked:
    """What part of the feed a reader sees."""

    scope: Sequence[str] | None
    hidden: Sequence[str]
    jurisdiction: str | None = None
    kind: str | None = None

    def conditions(self, alias: str) -> tuple[str, dict[str, Any]]:
        """Return SQL and values."""
        parts: list[str] = [""]
        bound: dict[str, Any] = {}
        if self.scope is not None:
            parts.append(f"{alias}.jurisdiction = ANY(CAST(:scope AS text[]))")
            bound["scope"] = list(self.scope)
        if self.jurisdiction is not None:
            parts.append(f"{alias}.jurisdiction = :jurisdiction")
            bound["jurisdiction"] = self.jurisdiction
        if self.kind is not None:
            parts.append(f"{alias}.kind = :kind")
            bound["kind"] = self.kind
        return " AND ".join(parts), bound


async def horizon(fetch: Fetch) -> Horizon:
    """Return how far the history is settled now."""
    rows = await fetch("SELECT number, instant FROM registry_horizon()")
    return Horizon(*rows[0])


async def at(connection: AsyncConnection, seq: int) -> datetime | None:
    """Return the time of a change, or of the last one before it; None when there is none."""
    rows = await connection.execute(
        text("SELECT at FROM change_log WHERE seq <= :seq ORDER BY seq DESC LIMIT 1"), {"seq": seq}
    )
    moment: datetime | None = rows.scalar()
    return moment


_FEED_MEMBERS: Final = (
    "seq, at, actor, request_id, reason, jurisdiction, kind, code, operation, version, before, after, derived"
)
_NEXT: Final = (
    "SELECT min(n.at) AS at FROM (SELECT at FROM change_log n WHERE n.kind = c.kind "
    "AND n.code = c.code AND n.operation = 'state' AND n.seq > c.seq ORDER BY n.seq LIMIT 1) AS n"
)


async def logged(
    connection: AsyncConnection, asked: Asked, after: int, upto: int, told: Told | None, limit: int
) -> list[Entry]:
    """Return the entries after a number, with the silences they ended, in order.

    A silence the reader was told of is left out. An entry that arrived late is followed by its own
    silence when the reader has passed that instant already.
    """
    where, bound = asked.conditions("c")
    of_row = silence(
        "c.jurisdiction", "(c.after ->> 'reported_at')::timestamptz", "c.at",
        "coalesce(following.at, 'infinity')",
    )  # fmt: skip
    place = "c.seq AS place, {part} AS part, c.jurisdiction, c.kind, c.code"
    statement = text(f"""
        WITH {RULES}, page AS (
            SELECT c.* FROM change AS c WHERE c.seq > :after AND c.seq <= :upto {where}
            ORDER BY c.seq LIMIT :limit
        ), entries AS (
            SELECT {place.format(part=1)}, {_LOGGED} FROM page AS c
            UNION ALL
            SELECT {place.format(part=0)}, {_DERIVED.format(at="ended.at", before="c.before")}
            FROM page AS c CROSS JOIN {ENDED}
            WHERE ended.at IS NOT NULL AND (ended.effective, c.kind COLLATE "C", c.code)
                  > (CAST(:told AS timestamptz), CAST(:told_kind AS text), CAST(:told_code AS text))
            UNION ALL
            SELECT {place.format(part=2)}, {_DERIVED.format(at="own.at", before="c.after")}
            FROM page AS c CROSS JOIN LATERAL ({_NEXT}) AS following
            CROSS JOIN LATERAL ({of_row}) AS own
            WHERE c.operation = 'state' AND c.after ->> 'state' <> 'unknown'
                  AND own.effective <= CAST(:told AS timestamptz)
        )
        SELECT place, row_to_json((SELECT d FROM (SELECT {_FEED_MEMBERS}) AS d))::text
        FROM entries ORDER BY place, part
    """)
    bound |= {
        "after": after, "upto": upto, "limit": limit, "hidden": list(asked.hidden),
        "told": _LONG_AGO if told is None else told.instant,
        "told_kind": "" if told is None else told.kind,
        "told_code": "" if told is None else told.code,
    }  # fmt: skip
    rows = await connection.execute(statement, bound)
    return [Entry(row[0], row[1]) for row in rows]


_LONG_AGO: Final = datetime.fromisoformat("0001-01-02T00:00:00+00:00")


async def silences(
    connection: AsyncConnection, asked: Asked, until: Horizon, told: Told | None, limit: int
) -> list[Entry] | None:
    """Return the silences that last and the reader was not told of, in the order they began.

    None while entries are visible that are not settled yet: they come first.
    """
    where, bound = asked.conditions("s")
    ends = "s.reported_at + make_interval(secs => rules.seconds)"
    began = f"greatest({ends}, s.received_at)"
    statement = text(f"""
        WITH {RULES}
        SELECT settled.yes, lasting.began, lasting.kind, lasting.code, lasting.body
        FROM (SELECT NOT EXISTS (SELECT 1 FROM change_log WHERE seq > :number) AS yes) AS settled
        LEFT JOIN LATERAL (
            SELECT began, kind, code,
                   row_to_json((SELECT d FROM (SELECT {_FEED_MEMBERS}) AS d))::text AS body
            FROM (SELECT {began} AS began, s.jurisdiction, s.kind, s.code,
                         {_DERIVED.format(at=ends, before=_NOW_SAID)}
                  FROM device_state AS s JOIN rules ON rules.owner = s.jurisdiction
                  WHERE rules.gives_way = 'infinity' AND s.state <> 'unknown'
                  AND {began} < :instant AND {began} >= rules.begins
                  AND ({began}, s.kind COLLATE "C", s.code)
                      > (CAST(:told AS timestamptz), CAST(:told_kind AS text),
                         CAST(:told_code AS text)) {where}
                  ORDER BY began, s.kind COLLATE "C", s.code LIMIT :limit) AS found
        ) AS lasting ON settled.yes
        ORDER BY lasting.began, lasting.kind COLLATE "C", lasting.code
    """)
    bound |= {
        "number": until.number, "instant": until.instant, "limit": limit,
        "told": _LONG_AGO if told is None else told.instant,
        "told_kind": "" if told is None else told.kind,
        "told_code": "" if told is None else told.code,
    }  # fmt: skip
    rows = (await connection.execute(statement, bound)).all()
    if not rows[0][0]:
        return None
    return [Entry(None, row[4], Told(row[1], row[2], row[3])) for row in rows if row[2] is not None]


async def next_silence(connection: AsyncConnection, after: datetime) -> datetime | None:
    """Return when the next device falls silent if nobody reports until then; None: none will."""
    rows = await connection.execute(
        text(
            "SELECT min(s.reported_at + make_interval(secs => j.stale_after_s)) "
            "FROM device_state s JOIN jurisdiction j ON j.code = s.jurisdiction "
            "WHERE s.state <> 'unknown' "
            "AND s.reported_at + make_interval(secs => j.stale_after_s) >= :after"
        ),
        {"after": after},
    )
    moment: datetime | None = rows.scalar()
    return moment
