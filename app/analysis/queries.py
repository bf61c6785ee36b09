"""SQL of the analysis: the tables of a snapshot, changes since an earlier one, stored responses, what-if records.

Columns travel as arrays, which asyncpg decodes many times faster than rows with as many fields. Changes since an
earlier snapshot are found by its PostgreSQL snapshot, so that a transaction that was running then is neither missed
nor read twice.
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
from app.records.queries.documents import build_document_sql, build_record_source, quote_identifier

Columns = Mapping[str, Sequence[Any]]
"""A table by columns, rows ordered by code."""
StoreError = asyncpg.PostgresError
"""The database does not store a response: it is read-only or away."""
DEVICE_FILTERS: Final = ("owner_unit", "maintenance_unit", "manufacturer", "model")
"""Columns by which devices can be selected to fail."""


@dataclass(frozen=True)
class RevisionState:
    """The current revision of a jurisdiction and the time: they decide whether a result is still valid."""

    revision: int
    now: datetime


@dataclass(frozen=True)
class JurisdictionRules:
    """Plan, requirements and parameters of a jurisdiction."""

    plan: dict[str, int]
    requirements: dict[str, list[dict[str, Any]]]
    parameters: dict[str, float]
    metric_epsg: int | None
    stale_after_s: int
    rings: tuple[str, ...]
    """Levels of the registered rings."""


@dataclass(frozen=True)
class StoredResponse:
    """A compressed response, and how long it is valid at its revision."""

    body: bytes
    valid_until: datetime | None


async def fetch_revision(fetch: Fetch, jurisdiction: str) -> RevisionState | None:
    """Return the revision and the time, None if the jurisdiction does not exist."""
    rows = await fetch(
        "SELECT coalesce(r.revision, 0), now() FROM jurisdiction j "
        "LEFT JOIN revision r ON r.jurisdiction = j.code WHERE j.code = $1 AND j.removed_at IS NULL",
        jurisdiction,
    )
    return RevisionState(*rows[0]) if rows else None


async def fetch_camera_jurisdiction(fetch: Fetch, code: str) -> str | None:
    """Return the jurisdiction of a camera, None if the camera does not exist."""
    rows = await fetch("SELECT jurisdiction FROM camera WHERE code = $1 AND removed_at IS NULL", code)
    return rows[0][0] if rows else None


async def fetch_rules(connection: AsyncConnection, jurisdiction: str) -> JurisdictionRules | None:
    """Return plan, requirements and parameters, None if the jurisdiction does not exist."""
    row = (
        await connection.execute(
            text(
                "SELECT plan, requirements, coverage_parameters, metric_epsg, stale_after_s, "
                "ARRAY(SELECT level FROM ring WHERE jurisdiction = j.code AND removed_at IS NULL) "
                "FROM jurisdiction j WHERE code = :code AND removed_at IS NULL"
            ),
            {"code": jurisdiction},
        )
    ).first()
    if row is None:
        return None
    return JurisdictionRules(row[0], row[1], row[2], row[3], row[4], tuple(row[5]))


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
            "azimuth_deg",
            "opening_deg",
            "range_m",
            "near_m",
            "horizontal_pixels",
            "focal_mm",
            "sensor_width_mm",
            "mount_height_m",
            "tilt_deg",
            "vertical_opening_deg",
            "reach_m",
            "indoor",
            "required_level",
            "level_scale",
        )
    },
    "view_polygon": "t.view_polygon::text",
}
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
"""The columns that are read of each table: name and SQL."""


async def fetch_columns(
    connection: AsyncConnection, table: str, jurisdiction: str, codes: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Return the rows of a table in a jurisdiction by columns; with `codes` only rows with one of them."""
    parameters: dict[str, Any] = {"jurisdiction": jurisdiction}
    if codes is not None:
        parameters["codes"] = list(codes)
    statement = text(_build_column_query(table, with_codes=codes is not None))
    row = (await connection.execute(statement, parameters)).one()
    return {name: column or [] for name, column in zip(TABLES[table], row, strict=True)}


def _build_column_query(table: str, *, with_codes: bool) -> str:
    columns = TABLES[table]
    arrays = ", ".join(f'array_agg(d."{name}")' for name in columns)
    members = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    states = f" LEFT JOIN device_state s ON s.kind = '{table}' AND s.code = t.code" if "reported" in columns else ""
    condition = " AND t.code = ANY(CAST(:codes AS text[]))" if with_codes else ""
    return (
        f"SELECT {arrays} FROM (SELECT {members} FROM {table} t{states} "
        f"WHERE t.jurisdiction = :jurisdiction AND t.removed_at IS NULL{condition} "
        "ORDER BY t.code) AS d"
    )


async def fetch_states(connection: AsyncConnection, kind: str, codes: Sequence[str]) -> list[tuple[str, str, float]]:
    """Return code, state and time of the last report of devices that have reported."""
    rows = await connection.execute(
        text(
            "SELECT code, state, extract(epoch FROM reported_at)::float8 FROM device_state "
            "WHERE kind = :kind AND code = ANY(CAST(:codes AS text[]))"
        ),
        {"kind": kind, "codes": list(codes)},
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def fetch_database_snapshot(connection: AsyncConnection) -> str:
    """Return the PostgreSQL snapshot of the transaction: which other transactions it sees."""
    return str((await connection.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one())


async def fetch_settled_sequence(fetch: Fetch) -> int:
    """Return the sequence number up to which the history is complete for every later snapshot."""
    return int((await fetch("SELECT number FROM registry_horizon()"))[0][0])


async def fetch_changes(
    connection: AsyncConnection, jurisdiction: str, database_snapshot: str, settled_sequence: int, limit: int
) -> list[tuple[str, bool, str]] | None:
    """Return what has changed since an earlier snapshot; None if there are more than `limit` changes.

    Each change has its kind, whether only a device state changed, and the code. `settled_sequence` was fetched before
    `database_snapshot`.
    """
    rows = (
        await connection.execute(
            text(
                "SELECT DISTINCT kind, operation = 'state', code FROM change_log "
                "WHERE seq > :settled_sequence AND jurisdiction = :jurisdiction "
                "AND NOT pg_visible_in_snapshot(transaction::text::xid8, "
                "CAST(CAST(:database_snapshot AS text) AS pg_snapshot)) LIMIT :limit"
            ),
            {
                "jurisdiction": jurisdiction,
                "database_snapshot": database_snapshot,
                "settled_sequence": settled_sequence,
                "limit": limit + 1,
            },
        )
    ).all()
    return None if len(rows) > limit else [(row[0], row[1], row[2]) for row in rows]


async def fetch_response(
    fetch: Fetch, jurisdiction: str, name: str, revision: int, fingerprint: str
) -> StoredResponse | None:
    """Return the response that the same program has stored at a revision, None if there is none or it is not valid."""
    rows = await fetch(
        "SELECT body, holds_until FROM analysis_answer WHERE jurisdiction = $1 AND name = $2 "
        "AND revision = $3 AND made_by = $4 AND (holds_until IS NULL OR holds_until >= now())",
        jurisdiction,
        name,
        revision,
        fingerprint,
    )
    return StoredResponse(bytes(rows[0][0]), rows[0][1]) if rows else None


async def upsert_response(
    fetch: Fetch, jurisdiction: str, name: str, revision: int, fingerprint: str, response: StoredResponse
) -> None:
    """Store a response, and delete those of earlier revisions of this jurisdiction."""
    await fetch(
        "WITH outdated AS (DELETE FROM analysis_answer "
        "WHERE jurisdiction = $1 AND revision < $3 AND name <> $2) "
        "INSERT INTO analysis_answer AS a (jurisdiction, name, revision, made_by, holds_until, body) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (jurisdiction, name) DO UPDATE SET "
        "revision = excluded.revision, made_by = excluded.made_by, made_at = now(), "
        "holds_until = excluded.holds_until, body = excluded.body "
        "WHERE a.revision <= excluded.revision",
        jurisdiction,
        name,
        revision,
        fingerprint,
        response.valid_until,
        response.body,
    )


async def fetch_documents(
    fetch: Fetch, kind: Kind, jurisdiction: str, codes: Sequence[str], *, reveal: bool
) -> dict[str, str]:
    """Return the JSON of records of a jurisdiction by code, without codes that do not exist."""
    rows = await fetch(
        f"SELECT t.code, {build_document_sql(kind, reveal=reveal)} FROM {build_record_source(kind)} "
        "WHERE t.jurisdiction = $1 AND t.code = ANY($2::text[]) AND t.removed_at IS NULL",
        jurisdiction,
        list(codes),
    )
    return {row[0]: row[1] for row in rows}


async def fetch_device_codes(fetch: Fetch, kind: Kind, jurisdiction: str, filters: Mapping[str, str]) -> list[str]:
    """Return the codes of the devices with these values in columns of `DEVICE_FILTERS`."""
    names = [name for name in DEVICE_FILTERS if name in filters]
    conditions = " AND ".join(f"t.{quote_identifier(name)} = ${number}" for number, name in enumerate(names, start=2))
    rows = await fetch(
        f"SELECT t.code FROM {kind.name} AS t WHERE t.jurisdiction = $1 "
        f"AND t.removed_at IS NULL AND {conditions} ORDER BY t.code",
        jurisdiction,
        *(filters[name] for name in names),
    )
    return [row[0] for row in rows]
