"""SQL of import jobs: workers and turns, jobs, stored pages of rows, saved profiles.

A worker is alive while its session holds the advisory lock of its name. A job whose worker has ended
has written nothing: a file is one transaction, and that transaction also records the end of the job.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.tables import FINISHED

_WORKER_LOCKS: Final = 4108_0003
"""Class of the advisory locks of living workers."""
_TURN_LOCKS: Final = 4108_0004
"""Class of the advisory locks that let one import at a time write a jurisdiction."""
_ALL_JURISDICTIONS: Final = 0
_JSON_COLUMNS: Final = ("options", "file", "plan", "counts", "notes", "problem")
_COLUMNS: Final = (
    "id, worker, state, kind, jurisdictions, actor, dry_run, options, file, plan, counts, notes, "
    "problem, cancel_requested, created_at, started_at, finished_at"
)
_UNFINISHED: Final = "state NOT IN (" + ", ".join(f"'{state}'" for state in FINISHED) + ")"
_IS_ALIVE: Final = (
    "EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.granted AND "
    f"l.classid = {_WORKER_LOCKS} AND l.objid = (hashtext(import_job.worker)::bigint & 4294967295)::oid "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


# Workers and turns.


async def lock_worker(connection: AsyncConnection, worker: str) -> None:
    """Hold the lock of a living worker until its session ends."""
    await connection.execute(
        text("SELECT pg_advisory_lock(:space, hashtext(:worker))"), {"space": _WORKER_LOCKS, "worker": worker}
    )


async def fetch_living_workers(connection: AsyncConnection, workers: Sequence[str]) -> set[str]:
    """Return which of some workers are alive."""
    rows = await connection.execute(
        text(f"SELECT worker FROM unnest(CAST(:workers AS text[])) AS import_job (worker) WHERE {_IS_ALIVE}"),
        {"workers": list(workers)},
    )
    return {row[0] for row in rows}


async def fail_orphans(connection: AsyncConnection, problem: Mapping[str, Any]) -> list[str]:
    """Fail the unfinished jobs of workers that have ended; return their ids."""
    rows = await connection.execute(
        text(
            "UPDATE import_job SET state = 'failed', finished_at = now(), "
            f"problem = CAST(:problem AS jsonb) WHERE {_UNFINISHED} AND NOT {_IS_ALIVE} RETURNING id"
        ),
        {"problem": _dump_json(problem)},
    )
    return [row[0] for row in rows]


async def lock_turn(connection: AsyncConnection, jurisdiction: str | None) -> bool:
    """Try to become the only import that writes a jurisdiction, or any (None), until the transaction ends.

    An import of any jurisdiction waits for all others, and all others for it. A failed attempt keeps
    the locks that it has; the next attempt takes the missing ones.
    """
    parameters: dict[str, Any] = {"space": _TURN_LOCKS, "all": _ALL_JURISDICTIONS}
    if jurisdiction is None:
        condition = "pg_try_advisory_xact_lock(:space, :all)"
    else:
        parameters["code"] = jurisdiction
        condition = (
            "pg_try_advisory_xact_lock(:space, hashtext(:code)) AND pg_try_advisory_xact_lock_shared(:space, :all)"
        )
    return bool((await connection.execute(text(f"SELECT {condition}"), parameters)).scalar_one())


# Jobs.


def _dump_json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


async def insert_job(connection: AsyncConnection, job: Mapping[str, Any]) -> None:
    """Insert a job."""
    parameters = {name: _dump_json(value) if name in _JSON_COLUMNS else value for name, value in job.items()}
    names = ", ".join(job)
    values = ", ".join(f"CAST(:{n} AS jsonb)" if n in _JSON_COLUMNS else f":{n}" for n in job)
    await connection.execute(text(f"INSERT INTO import_job ({names}) VALUES ({values})"), parameters)


async def update_state(connection: AsyncConnection, job_id: str, state: str) -> bool:
    """Set the state of a running job; return False if a user has cancelled it."""
    result = await connection.execute(
        text(
            "UPDATE import_job SET state = :state, started_at = coalesce(started_at, now()) "
            f"WHERE id = :id AND {_UNFINISHED} AND NOT cancel_requested"
        ),
        {"id": job_id, "state": state},
    )
    return int(result.rowcount) == 1


async def insert_page(
    connection: AsyncConnection,
    job_id: str,
    page: Mapping[str, Any],
    counts: Mapping[str, int],
    jurisdictions: Sequence[str],
) -> bool:
    """Store a page of rows and the counts so far; return False if a user has cancelled the job."""
    await connection.execute(
        text(
            "INSERT INTO import_page (job, page, rows, has, results, cells) "
            "SELECT :job, coalesce(max(page) + 1, 0), :rows, CAST(:has AS text[]), :results, :cells "
            "FROM import_page WHERE job = :job"
        ),
        {"job": job_id, **page},
    )
    result = await connection.execute(
        text(
            "UPDATE import_job SET counts = CAST(:counts AS jsonb), "
            "jurisdictions = CAST(:owners AS text[]) WHERE id = :id RETURNING cancel_requested"
        ),
        {"id": job_id, "counts": _dump_json(counts), "owners": list(jurisdictions)},
    )
    return not result.scalar_one()


async def finish_job(
    connection: AsyncConnection,
    job_id: str,
    state: str,
    *,
    problem: Mapping[str, Any] | None = None,
    counts: Mapping[str, int] | None = None,
    notes: Sequence[Mapping[str, str]] | None = None,
    unless_cancelled: bool = False,
) -> bool:
    """Set the final state of a job; with ``unless_cancelled`` return False if a user has cancelled it."""
    condition = " AND NOT cancel_requested" if unless_cancelled else ""
    result = await connection.execute(
        text(
            # Not now(): that is the start of the transaction, which is before the start of the job.
            "UPDATE import_job SET state = :state, finished_at = clock_timestamp(), "
            "problem = CAST(:problem AS jsonb), "
            "counts = coalesce(CAST(:counts AS jsonb), counts), "
            "notes = coalesce(CAST(:notes AS jsonb), notes) "
            f"WHERE id = :id AND {_UNFINISHED}{condition}"
        ),
        {
            "id": job_id,
            "state": state,
            "problem": _dump_json(problem),
            "counts": _dump_json(counts),
            "notes": _dump_json(notes),
        },
    )
    return int(result.rowcount) == 1


async def request_cancel(connection: AsyncConnection, job_id: str) -> bool:
    """Mark a job as cancelled by a user; return False if it has ended."""
    result = await connection.execute(
        text(f"UPDATE import_job SET cancel_requested = true WHERE id = :id AND {_UNFINISHED}"), {"id": job_id}
    )
    return int(result.rowcount) == 1


async def fetch_job(connection: AsyncConnection, job_id: str) -> dict[str, Any] | None:
    """Return a job, None if it does not exist."""
    rows = await connection.execute(text(f"SELECT {_COLUMNS} FROM import_job WHERE id = :id"), {"id": job_id})
    row = rows.mappings().first()
    return None if row is None else dict(row)


async def fetch_jobs(
    connection: AsyncConnection,
    *,
    scope: Sequence[str] | None,
    actor: str,
    after: tuple[str, str] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return jobs, newest first: those of the scope's jurisdictions, and those of the actor."""
    conditions = ["true"]
    parameters: dict[str, Any] = {"limit": limit}
    if scope is not None:
        conditions.append("(actor = :actor OR (jurisdictions <> '{}' AND jurisdictions <@ CAST(:scope AS text[])))")
        parameters |= {"actor": actor, "scope": list(scope)}
    if after is not None:
        conditions.append("(created_at, id) < (CAST(CAST(:created_at AS text) AS timestamptz), :id)")
        parameters |= {"created_at": after[0], "id": after[1]}
    rows = await connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM import_job WHERE {' AND '.join(conditions)} "
            "ORDER BY created_at DESC, id DESC LIMIT :limit"
        ),
        parameters,
    )
    return [dict(row) for row in rows.mappings()]


# Stored pages of rows.


async def fetch_page(
    connection: AsyncConnection,
    job_id: str,
    start: int,
    statuses: Sequence[str] | None,
    *,
    cells: bool = False,
) -> tuple[int, bytes, bytes | None] | None:
    """Return number, outcomes and cells of the first page from ``start`` on with a row of one of the statuses."""
    rows = await connection.execute(
        text(
            f"SELECT page, results, {'cells' if cells else 'CAST(NULL AS bytea)'} FROM import_page "
            "WHERE job = :job AND page >= :start "
            "AND (CAST(:statuses AS text[]) IS NULL OR has && CAST(:statuses AS text[])) "
            "ORDER BY page LIMIT 1"
        ),
        {"job": job_id, "start": start, "statuses": None if statuses is None else list(statuses)},
    )
    row = rows.first()
    return None if row is None else (row[0], row[1], row[2])


async def expire_pages(connection: AsyncConnection, days: float) -> int:
    """Delete the pages of jobs that ended more than some days ago; return their number. The jobs stay."""
    result = await connection.execute(
        text(
            "DELETE FROM import_page WHERE job IN (SELECT id FROM import_job "
            "WHERE finished_at < now() - make_interval(secs => :seconds))"
        ),
        {"seconds": days * 86_400},
    )
    return int(result.rowcount)


# Saved profiles.


async def fetch_profiles(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return the saved profiles, by name."""
    rows = await connection.execute(text("SELECT name, body, updated_at, updated_by FROM import_profile ORDER BY name"))
    return [dict(row) for row in rows.mappings()]


async def fetch_profile(connection: AsyncConnection, name: str) -> dict[str, Any] | None:
    """Return one saved profile, None if it does not exist."""
    rows = await connection.execute(
        text("SELECT name, body, updated_at, updated_by FROM import_profile WHERE name = :name"), {"name": name}
    )
    row = rows.mappings().first()
    return None if row is None else dict(row)


async def upsert_profile(connection: AsyncConnection, name: str, body: Mapping[str, Any], actor: str) -> bool:
    """Save a profile; return whether it is new."""
    rows = await connection.execute(
        text(
            "INSERT INTO import_profile (name, body, updated_by) "
            "VALUES (:name, CAST(:body AS jsonb), :actor) ON CONFLICT (name) DO UPDATE SET "
            "body = excluded.body, updated_by = excluded.updated_by, updated_at = now() "
            "RETURNING xmax = 0"
        ),
        {"name": name, "body": _dump_json(body), "actor": actor},
    )
    return bool(rows.scalar_one())


async def delete_profile(connection: AsyncConnection, name: str) -> bool:
    """Delete a profile; return False if it does not exist."""
    result = await connection.execute(text("DELETE FROM import_profile WHERE name = :name"), {"name": name})
    return int(result.rowcount) == 1
