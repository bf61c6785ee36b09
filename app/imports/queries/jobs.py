"""All SQL about imports as jobs: who runs what, what became of the rows, profiles of sources.

A worker is alive as long as its session holds the advisory lock of its name; a job whose worker is
gone can have written nothing, because a file is one transaction that also says that it is done.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.import_tables import FINISHED

_WORKERS: Final = 4108_0003
"""Space of the advisory locks that say a worker lives."""
_TURNS: Final = 4108_0004
"""Space of the advisory locks that give a jurisdiction to one import at a time."""
_ALL: Final = 0
_JSON: Final = ("options", "file", "plan", "counts", "notes", "problem")
_COLUMNS: Final = (
    "id, worker, state, kind, jurisdictions, actor, dry_run, options, file, plan, counts, notes, "
    "problem, cancel_requested, created_at, started_at, finished_at"
)
_UNFINISHED: Final = "state NOT IN (" + ", ".join(f"'{word}'" for word in FINISHED) + ")"
_LIVING: Final = (
    "EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.granted AND "
    f"l.classid = {_WORKERS} AND l.objid = (hashtext(import_job.worker)::bigint & 4294967295)::oid "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


async def live(connection: AsyncConnection, worker: str) -> None:
    """Hold the lock that says a worker lives, until its session ends."""
    await connection.execute(
        text("SELECT pg_advisory_lock(:space, hashtext(:worker))"),
        {"space": _WORKERS, "worker": worker},
    )


async def living(connection: AsyncConnection, workers: Sequence[str]) -> set[str]:
    """Return which workers live."""
    rows = await connection.execute(
        text(f"SELECT worker FROM unnest(CAST(:workers AS text[])) AS import_job (worker) WHERE {_LIVING}"),
        {"workers": list(workers)},
    )
    return {row[0] for row in rows}


async def bury(connection: AsyncConnection, problem: Mapping[str, Any]) -> list[str]:
    """Fail the unfinished jobs of workers that are gone and return their ids."""
    rows = await connection.execute(
        text(
            "UPDATE import_job SET state = 'failed', finished_at = now(), "
            f"problem = CAST(:problem AS jsonb) WHERE {_UNFINISHED} AND NOT {_LIVING} RETURNING id"
        ),
        {"problem": orjson.dumps(problem).decode()},
    )
    return [row[0] for row in rows]


async def take_turn(connection: AsyncConnection, jurisdiction: str | None) -> bool:
    """Try to become the one import that writes a jurisdiction (None: any), for the transaction.

    An import of any jurisdiction waits for all others, and they for it. Asked again after a refusal,
    what was had already is had still.
    """
    bound = {"space": _TURNS, "all": _ALL, "code": jurisdiction}
    if jurisdiction is None:
        asked = "pg_try_advisory_xact_lock(:space, :all)"
        bound.pop("code")
    else:
        asked = "pg_try_advisory_xact_lock(:space, hashtext(:code)) AND pg_try_advisory_xact_lock_shared(:space, :all)"
    return bool((await connection.execute(text(f"SELECT {asked}"), bound)).scalar_one())


async def add(connection: AsyncConnection, job: Mapping[str, Any]) -> None:
    """Register a job."""
    bound = {name: orjson.dumps(value).decode() if name in _JSON else value for name, value in job.items()}
    names = ", ".join(job)
    values = ", ".join(f"CAST(:{n} AS jsonb)" if n in _JSON else f":{n}" for n in job)
    await connection.execute(text(f"INSERT INTO import_job ({names}) VALUES ({values})"), bound)


async def start(connection: AsyncConnection, job: str, state: str) -> bool:
    """Say that a job is under way; False when it was cancelled first."""
    done = await connection.execute(
        text(
            "UPDATE import_job SET state = :state, started_at = coalesce(started_at, now()) "
            f"WHERE id = :id AND {_UNFINISHED} AND NOT cancel_requested"
        ),
        {"id": job, "state": state},
    )
    return int(done.rowcount) == 1


async def progress(
    connection: AsyncConnection,
    job: str,
    page: Mapping[str, Any],
    counts: Mapping[str, int],
    jurisdictions: Sequence[str],
) -> bool:
    """Keep a page and the counts so far; False when the job is to stop."""
    await connection.execute(
        text(
            "INSERT INTO import_page (job, page, rows, has, results, cells) "
            "SELECT :job, coalesce(max(page) + 1, 0), :rows, CAST(:has AS text[]), :results, :cells "
            "FROM import_page WHERE job = :job"
        ),
        {"job": job, **page},
    )
    done = await connection.execute(
        text(
            "UPDATE import_job SET counts = CAST(:counts AS jsonb), "
            "jurisdictions = CAST(:owners AS text[]) WHERE id = :id RETURNING cancel_requested"
        ),
        {
            "id": job,
            "counts": orjson.dumps(counts).decode(),
            "owners": list(jurisdictions),
        },
    )
    return not done.scalar_one()


async def finish(
    connection: AsyncConnection,
    job: str,
    state: str,
    *,
    problem: Mapping[str, Any] | None = None,
    counts: Mapping[str, int] | None = None,
    notes: Sequence[Mapping[str, str]] | None = None,
    heed: bool = False,
) -> bool:
    """Say how a job ended; with ``heed``, False when somebody asked it to stop first."""
    condition = " AND NOT cancel_requested" if heed else ""
    done = await connection.execute(
        text(
            # now() is when the transaction of the import began, before the job was said to start.
            "UPDATE import_job SET state = :state, finished_at = clock_timestamp(), "
            "problem = CAST(:problem AS jsonb), "
            "counts = coalesce(CAST(:counts AS jsonb), counts), "
            "notes = coalesce(CAST(:notes AS jsonb), notes) "
            f"WHERE id = :id AND {_UNFINISHED}{condition}"
        ),
        {
            "id": job,
            "state": state,
            "problem": None if problem is None else orjson.dumps(problem).decode(),
            "counts": None if counts is None else orjson.dumps(counts).decode(),
            "notes": None if notes is None else orjson.dumps(list(notes)).decode(),
        },
    )
    return int(done.rowcount) == 1


async def cancel(connection: AsyncConnection, job: str) -> bool:
    """Ask a job to stop; False when it has ended."""
    done = await connection.execute(
        text(f"UPDATE import_job SET cancel_requested = true WHERE id = :id AND {_UNFINISHED}"),
        {"id": job},
    )
    return int(done.rowcount) == 1


async def find(connection: AsyncConnection, job: str) -> dict[str, Any] | None:
    """Return a job, None when there is none."""
    rows = await connection.execute(text(f"SELECT {_COLUMNS} FROM import_job WHERE id = :id"), {"id": job})
    row = rows.mappings().first()
    return None if row is None else dict(row)


async def page(
    connection: AsyncConnection,
    *,
    scope: Sequence[str] | None,
    actor: str,
    after: tuple[str, str] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return jobs, newest first: those of the scope's jurisdictions, and the caller's own."""
    where = ["true"]
    bound: dict[str, Any] = {"limit": limit}
    if scope is not None:
        where.append("(actor = :actor OR (jurisdictions <> '{}' AND jurisdictions <@ CAST(:scope AS text[])))")
        bound |= {"actor": actor, "scope": list(scope)}
    if after is not None:
        where.append("(created_at, id) < (CAST(CAST(:at AS text) AS timestamptz), :id)")
        bound |= {"at": after[0], "id": after[1]}
    rows = await connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM import_job WHERE {' AND '.join(where)} "
            "ORDER BY created_at DESC, id DESC LIMIT :limit"
        ),
        bound,
    )
    return [dict(row) for row in rows.mappings()]


async def results(
    connection: AsyncConnection,
    job: str,
    start: int,
    wanted: Sequence[str] | None,
    *,
    cells: bool = False,
) -> tuple[int, bytes, bytes | None] | None:
    """Return the next page, from a number on, that has a row of one of some statuses."""
    rows = await connection.execute(
        text(
            f"SELECT page, results, {'cells' if cells else 'CAST(NULL AS bytea)'} FROM import_page "
            "WHERE job = :job AND page >= :start "
            "AND (CAST(:wanted AS text[]) IS NULL OR has && CAST(:wanted AS text[])) "
            "ORDER BY page LIMIT 1"
        ),
        {"job": job, "start": start, "wanted": None if wanted is None else list(wanted)},
    )
    row = rows.first()
    return None if row is None else (row[0], row[1], row[2])


async def forget(connection: AsyncConnection, days: float) -> int:
    """Drop the rows of jobs that ended long ago; the jobs stay."""
    done = await connection.execute(
        text(
            "DELETE FROM import_page WHERE job IN (SELECT id FROM import_job "
            "WHERE finished_at < now() - make_interval(secs => :seconds))"
        ),
        {"seconds": days * 86_400},
    )
    return int(done.rowcount)


async def profiles(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return the profiles that were saved, by name."""
    rows = await connection.execute(text("SELECT name, body, updated_at, updated_by FROM import_profile ORDER BY name"))
    return [dict(row) for row in rows.mappings()]


async def profile(connection: AsyncConnection, name: str) -> dict[str, Any] | None:
    """Return one profile, None when there is none."""
    rows = await connection.execute(
        text("SELECT name, body, updated_at, updated_by FROM import_profile WHERE name = :name"),
        {"name": name},
    )
    row = rows.mappings().first()
    return None if row is None else dict(row)


async def put_profile(connection: AsyncConnection, name: str, body: Mapping[str, Any], actor: str) -> bool:
    """Save a profile and tell whether it is new."""
    rows = await connection.execute(
        text(
            "INSERT INTO import_profile (name, body, updated_by) "
            "VALUES (:name, CAST(:body AS jsonb), :actor) ON CONFLICT (name) DO UPDATE SET "
            "body = excluded.body, updated_by = excluded.updated_by, updated_at = now() "
            "RETURNING xmax = 0"
        ),
        {"name": name, "body": orjson.dumps(body).decode(), "actor": actor},
    )
    return bool(rows.scalar_one())


async def remove_profile(connection: AsyncConnection, name: str) -> bool:
    """Remove a profile; False when there is none."""
    done = await connection.execute(text("DELETE FROM import_profile WHERE name = :name"), {"name": name})
    return int(done.rowcount) == 1
