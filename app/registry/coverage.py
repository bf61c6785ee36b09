"""All SQL for coverage: the state of a jurisdiction as columns, one statement a table.

Columns travel as arrays, which asyncpg decodes many times faster than rows of as many fields.
What has changed since an earlier state is found by that state's snapshot, so that a transaction which
was under way then is neither missed nor taken twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch


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
    rows = await fetch(
        "SELECT jurisdiction FROM camera WHERE code = $1 AND removed_at IS NULL", code
    )
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
    "lon": "ST_X(CASE WHEN ST_Dimension(t.geometry) = 0 THEN t.geometry "
    "ELSE ST_PointOnSurface(t.geometry) END)",
    "lat": "ST_Y(CASE WHEN ST_Dimension(t.geometry) = 0 THEN t.geometry "
    "ELSE ST_PointOnSurface(t.geometry) END)",
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
    states = (
        f" LEFT JOIN device_state s ON s.kind = '{table}' AND s.code = t.code"
        if "reported" in wanted
        else ""
    )
    chosen = " AND t.code = ANY(CAST(:codes AS text[]))" if some else ""
    return (
        f"SELECT {gathered} FROM (SELECT {members} FROM {table} t{states} "
        f"WHERE t.jurisdiction = :jurisdiction AND t.removed_at IS NULL{chosen} "
        "ORDER BY t.code) AS d"
    )


async def states(
    connection: AsyncConnection, kind: str, codes: Sequence[str]
) -> list[tuple[str, str, float]]:
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
