"""All SQL for coverage: the state of a jurisdiction as columns, one statement a table.

Columns travel as arrays, which asyncpg decodes many times faster than rows of as many fields.
What has changed since an earlier state is found by that state's snapshot, so that a transaction which
was under way then is neither missed nor taken twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch
from app.records.kinds import Kind
from app.records.queries.documents import document, quoted, source


@dataclass(frozen=True)
class Pulse:
    """What decides whether an earlier answer still holds."""

    revision: int
    at: datetime


@dataclass(frozen=True)
class Rules:
    """What a jurisdiction demands."""

    plan: dict[str, int]
    requirements: dict[str, list[dict[str, Any]]]
    parameters: dict[str, float]
    metric_epsg: int | None
    stale_after_s: int
    rings: tuple[str, ...]
    roads: bool


Columns = Mapping[str, Sequence[Any]]
"""A table by columns, rows ordered by code."""


async def pulse(fetch: Fetch, jurisdiction: str) -> Pulse | None:
    """Return the revision and the time, None when there is no such jurisdiction."""
    rows = await fetch(_PULSE, jurisdiction)
    return Pulse(*rows[0]) if rows else None


async def camera_owner(fetch: Fetch, code: str) -> str | None:
    """Return the jurisdiction of a camera, None when there is no such camera."""
    rows = await fetch("SELECT jurisdiction FROM camera WHERE code = $1 AND removed_at IS NULL", code)
    return rows[0][0] if rows else None


_PULSE = (
    "SELECT coalesce(r.revision, 0), now() FROM jurisdiction j "
    "LEFT JOIN revision r ON r.jurisdiction = j.code WHERE j.code = $1 AND j.removed_at IS NULL"
)


async def rules(connection: AsyncConnection, jurisdiction: str) -> Rules | None:
    """Return plan, requirements and parameters, None when there is no such jurisdiction."""
    row = (
        await connection.execute(
            text(
                "SELECT plan, requirements, coverage_parameters, metric_epsg, stale_after_s, "
                "ARRAY(SELECT level FROM ring WHERE jurisdiction = j.code AND removed_at IS NULL), "
                "EXISTS (SELECT 1 FROM road WHERE jurisdiction = j.code AND removed_at IS NULL) "
                "FROM jurisdiction j WHERE code = :code AND removed_at IS NULL"
            ),
            {"code": jurisdiction},
        )
    ).first()
    if row is None:
        return None
    return Rules(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), row[6])


_POINTS: Final = {
    "code": "t.code",
    "name_zh": "t.name_zh",
    "name_en": "t.name_en",
    "category": "t.category",
    "zone": "coalesce(t.zone, '')",
    "lon": "ST_X(CASE WHEN ST_Dimension(t.geometry) = 0 THEN t.geometry ELSE ST_PointOnSurface(t.geometry) END)",
    "lat": "ST_Y(CASE WHEN ST_Dimension(t.geometry) = 0 THEN t.geometry ELSE ST_PointOnSurface(t.geometry) END)",
    "area": "CASE WHEN ST_Dimension(t.geometry) > 0 THEN ST_AsBinary(t.geometry) END",
    "requirements": "t.requirements::text",
    "road_name": "t.road_name",
    "inbound_bearing_deg": "t.inbound_bearing_deg",
}
_DEVICE: Final = {
    "code": "t.code",
    "lon": "ST_X(t.geometry)",
    "lat": "ST_Y(t.geometry)",
    "in_use": "t.lifecycle = 'in_use'",
    "control_point": "t.control_point",
    "failure_group": "t.failure_group",
    "state": "coalesce(s.state, 'unknown')",
    "reported": "extract(epoch FROM s.reported_at)::float8",
}
_CAMERAS: Final = {
    **_DEVICE,
    "zone": "coalesce(t.zone, '')",
    "functions": "('face' = ANY(t.functions))::int + 2 * ('vehicle' = ANY(t.functions))::int "
    "+ 4 * ('structured' = ANY(t.functions))::int + 8 * ('overview' = ANY(t.functions))::int "
    "+ 16 * ('electronic' = ANY(t.functions))::int",
    "direction": "coalesce(t.direction, '')",
    "checkpoint": "t.checkpoint",
    **{
        name: f"t.{name}"
        for name in (
            "azimuth_deg", "opening_deg", "range_m", "near_m", "horizontal_pixels", "focal_mm",
            "sensor_width_mm", "mount_height_m", "tilt_deg", "vertical_opening_deg", "reach_m",
            "indoor", "required_level", "level_scale",
        )
    },
    "view_polygon": "t.view_polygon::text",
}  # fmt: skip
_CHECKPOINTS: Final = {**_DEVICE, "kind": "t.kind", "lanes": "t.lanes::text", "road": "t.road"}
_ROADS: Final = {
    "code": "t.code",
    "shape": "ST_AsBinary(t.geometry)",
    "road_class": "t.road_class",
    "oneway": "t.oneway",
    "layer": "t.layer",
    "group": 't."group"',
    "road_number": "t.road_number",
    "name_zh": "t.name_zh",
    "name_en": "t.name_en",
}
_RINGS: Final = {
    "code": "t.code",
    "level": "t.level",
    "tolerance_m": "t.tolerance_m",
    "shape": "ST_AsBinary(t.geometry)",
}
_BUILDINGS: Final = {
    "code": "t.code",
    "shape": "ST_AsBinary(t.geometry)",
    "height_m": "t.height_m",
    "levels": "t.levels::float8",
}
_WAIVERS: Final = {
    "code": "t.code",
    "crossing": "t.crossing",
    "level": "t.level",
    "road": "t.road",
    "reason": "t.reason",
    "expires_at": "t.expires_at",
    "waived_by": "t.waived_by",
    "lon": "ST_X(t.geometry)",
    "lat": "ST_Y(t.geometry)",
}
TABLES: Final = {
    "control_point": _POINTS,
    "camera": _CAMERAS,
    "checkpoint": _CHECKPOINTS,
    "road": _ROADS,
    "ring": _RINGS,
    "building": _BUILDINGS,
    "waiver": _WAIVERS,
}
"""What is read of each table: name of the column, and its SQL."""


async def columns(
    connection: AsyncConnection, table: str, jurisdiction: str, codes: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Return a table of a jurisdiction, or those of its rows that have one of the codes."""
    wanted = TABLES[table]
    bound: dict[str, Any] = {"jurisdiction": jurisdiction}
    if codes is not None:
        bound["codes"] = list(codes)
    row = (await connection.execute(text(_statement(table, codes is not None)), bound)).one()
    return {name: column or [] for name, column in zip(wanted, row, strict=True)}


def _statement(table: str, some: bool) -> str:
    wanted = TABLES[table]
    gathered = ", ".join(f'array_agg(d."{name}")' for name in wanted)
    members = ", ".join(f'{sql} AS "{name}"' for name, sql in wanted.items())
    states = f" LEFT JOIN device_state s ON s.kind = '{table}' AND s.code = t.code" if "reported" in wanted else ""
    chosen = " AND t.code = ANY(CAST(:codes AS text[]))" if some else ""
    return (
        f"SELECT {gathered} FROM (SELECT {members} FROM {table} t{states} "
        f"WHERE t.jurisdiction = :jurisdiction AND t.removed_at IS NULL{chosen} "
        "ORDER BY t.code) AS d"
    )


async def states(connection: AsyncConnection, kind: str, codes: Sequence[str]) -> list[tuple[str, str, float]]:
    """Return code, state and time of the last report of devices, those that ever reported."""
    rows = await connection.execute(
        text(
            "SELECT code, state, extract(epoch FROM reported_at)::float8 FROM device_state "
            "WHERE kind = :kind AND code = ANY(CAST(:codes AS text[]))"
        ),
        {"kind": kind, "codes": list(codes)},
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def snapshot(connection: AsyncConnection) -> str:
    """Return the snapshot of the transaction: which others it sees."""
    return str((await connection.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one())


async def settled(fetch: Fetch) -> int:
    """Return the number up to which the history is complete: a later snapshot sees all of it."""
    return int((await fetch("SELECT number FROM registry_horizon()"))[0][0])


async def changed(
    connection: AsyncConnection, jurisdiction: str, since: str, number: int, limit: int
) -> list[tuple[str, bool, str]] | None:
    """Return kind, whether it was a device's state alone, and code of what changed since a snapshot.

    ``number`` is how far the history was settled before that snapshot. None: more than ``limit``.
    """
    rows = (
        await connection.execute(
            text(
                "SELECT DISTINCT kind, operation = 'state', code FROM change_log "
                "WHERE seq > :number AND jurisdiction = :jurisdiction "
                "AND NOT pg_visible_in_snapshot(transaction::text::xid8, "
                "CAST(CAST(:since AS text) AS pg_snapshot)) LIMIT :limit"
            ),
            {"jurisdiction": jurisdiction, "since": since, "number": number, "limit": limit + 1},
        )
    ).all()
    return None if len(rows) > limit else [(row[0], row[1], row[2]) for row in rows]


# All SQL about answers that workers share: found by what they depend on, or not at all.

Failed = asyncpg.PostgresError
"""The database would not keep an answer: read only, or gone."""


@dataclass(frozen=True)
class Stored:
    """An answer some worker has made: compressed, and how long it holds at this revision."""

    body: bytes
    holds_until: datetime | None


async def find(fetch: Fetch, jurisdiction: str, name: str, revision: int, made_by: str) -> Stored | None:
    """Return the answer of a name that was made at a revision by the same program, if it holds."""
    rows = await fetch(
        "SELECT body, holds_until FROM analysis_answer WHERE jurisdiction = $1 AND name = $2 "
        "AND revision = $3 AND made_by = $4 AND (holds_until IS NULL OR holds_until >= now())",
        jurisdiction, name, revision, made_by,
    )  # fmt: skip
    return Stored(bytes(rows[0][0]), rows[0][1]) if rows else None


async def keep(fetch: Fetch, jurisdiction: str, name: str, revision: int, made_by: str, answer: Stored) -> None:
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


# All SQL that planning needs beside the state of a jurisdiction: records as they can be sent back.

FILTERS = ("owner_unit", "maintenance_unit", "manufacturer", "model")
"""Columns by which devices can be chosen to fail."""


async def documents(
    fetch: Fetch, kind: Kind, jurisdiction: str, codes: Sequence[str], *, reveal: bool
) -> dict[str, str]:
    """Return the JSON of some records of a jurisdiction by code, those that are there."""
    rows = await fetch(
        f"SELECT t.code, {document(kind, reveal=reveal)} FROM {source(kind)} "
        "WHERE t.jurisdiction = $1 AND t.code = ANY($2::text[]) AND t.removed_at IS NULL",
        jurisdiction,
        list(codes),
    )
    return {row[0]: row[1] for row in rows}


async def devices(fetch: Fetch, kind: Kind, jurisdiction: str, chosen: Mapping[str, str]) -> list[str]:
    """Return the codes of the devices with these values in `FILTERS`."""
    names = [name for name in FILTERS if name in chosen]
    conditions = " AND ".join(f"t.{quoted(name)} = ${place}" for place, name in enumerate(names, start=2))
    rows = await fetch(
        f"SELECT t.code FROM {kind.name} AS t WHERE t.jurisdiction = $1 "
        f"AND t.removed_at IS NULL AND {conditions} ORDER BY t.code",
        jurisdiction,
        *(chosen[name] for name in names),
    )
    return [row[0] for row in rows]
