"""All SQL about answers that workers share: found by what they depend on, or not at all."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from app.db.engine import Fetch

Failed = asyncpg.PostgresError
"""The database would not keep an answer: read only, or gone."""


@dataclass(frozen=True)
class Stored:
    """An answer some worker has made: compressed, and how long it holds at this revision."""

    body: bytes
    holds_until: datetime | None


async def find(
    fetch: Fetch, jurisdiction: str, name: str, revision: int, made_by: str
) -> Stored | None:
    """Return the answer of a name that was made at a revision by the same program, if it holds."""
    rows = await fetch(
        "SELECT body, holds_until FROM analysis_answer WHERE jurisdiction = $1 AND name = $2 "
        "AND revision = $3 AND made_by = $4 AND (holds_until IS NULL OR holds_until >= now())",
        jurisdiction, name, revision, made_by,
    )  # fmt: skip
    return Stored(bytes(rows[0][0]), rows[0][1]) if rows else None


async def keep(
    fetch: Fetch, jurisdiction: str, name: str, revision: int, made_by: str, answer: Stored
) -> None:
    """Keep an answer, and drop those of this jurisdiction that are of an earlier revision."""
    await fetch(
        "WITH outdated AS (DELETE FROM analysis_answer "
        "WHERE jurisdiction = $1 AND revision < $3 AND name <> $2) "
        "INSERT INTO analysis_answer AS a (jurisdiction, name, revision, made_by, holds_until, body) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (jurisdiction, name) DO UPDATE SET "
        "revision = excluded.revision, made_by = excluded.made_by, made_at = now(), "
        "holds_until = excluded.holds_until, body = excluded.body "
        "WHERE a.revision <= excluded.revision",
        jurisdiction, name, revision, made_by, answer.holds_until, answer.body,
    )  # fmt: skip
