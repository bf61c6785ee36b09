"""All SQL for coverage: the state of a jurisdiction as columns, one statement a table.

Columns travel as arrays, which asyncpg decodes many times faster than rows of as many fields.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

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


async def pulse(fetch: Fetch, jurisdiction: str) -> Pulse | None:
    """Return the revision and the time, None when there is no such jurisdiction."""
    rows = await fetch(_PULSE, jurisdiction)
    return Pulse(*rows[0]) if rows else None


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


_POINTS = text("""
SELECT array_agg(code ORDER BY code), array_agg(name_zh ORDER BY code),
       array_agg(name_en ORDER BY code), array_agg(category ORDER BY code),
       array_agg(coalesce(zone, '') ORDER BY code),
       array_agg(ST_X(centre) ORDER BY code), array_agg(ST_Y(centre) ORDER BY code),
       array_agg(area ORDER BY code), array_agg(requirements::text ORDER BY code)
FROM (SELECT code, name_zh, name_en, category, zone, requirements,
             CASE WHEN ST_Dimension(geometry) = 0 THEN geometry
                  ELSE ST_PointOnSurface(geometry) END AS centre,
             CASE WHEN ST_Dimension(geometry) = 0 THEN NULL ELSE ST_AsBinary(geometry) END AS area
      FROM control_point WHERE jurisdiction = :code AND removed_at IS NULL) AS p
""")

_CAMERAS = text("""
SELECT array_agg(code), array_agg(ST_X(geometry)), array_agg(ST_Y(geometry)),
       array_agg(function_bits), array_agg(coalesce(direction, '')),
       array_agg(lifecycle = 'in_use'), array_agg(state), array_agg(reported_at),
       array_agg(azimuth_deg), array_agg(opening_deg), array_agg(range_m), array_agg(near_m),
       array_agg(horizontal_pixels), array_agg(control_point), array_agg(checkpoint),
       array_agg(failure_group), array_agg(focal_mm), array_agg(sensor_width_mm),
       array_agg(mount_height_m), array_agg(tilt_deg), array_agg(vertical_opening_deg)
FROM (SELECT t.code, geometry, direction, lifecycle, s.state, s.reported_at, azimuth_deg,
             opening_deg, range_m, near_m, horizontal_pixels, control_point, checkpoint,
             failure_group, focal_mm, sensor_width_mm, mount_height_m, tilt_deg,
             vertical_opening_deg,
             ('face' = ANY(functions))::int + 2 * ('vehicle' = ANY(functions))::int
             + 4 * ('structured' = ANY(functions))::int + 8 * ('overview' = ANY(functions))::int
             + 16 * ('electronic' = ANY(functions))::int AS function_bits
      FROM camera t LEFT JOIN device_state s ON s.kind = 'camera' AND s.code = t.code
      WHERE t.jurisdiction = :code AND t.removed_at IS NULL ORDER BY t.code) AS d
""")

_CHECKPOINTS = text("""
SELECT array_agg(code), array_agg(ST_X(geometry)), array_agg(ST_Y(geometry)),
       array_agg(kind), array_agg(lanes::text), array_agg(lifecycle = 'in_use'),
       array_agg(state), array_agg(reported_at), array_agg(control_point),
       array_agg(failure_group)
FROM (SELECT t.code, geometry, t.kind, lanes, lifecycle, s.state, s.reported_at, control_point,
             failure_group
      FROM checkpoint t LEFT JOIN device_state s ON s.kind = 'checkpoint' AND s.code = t.code
      WHERE t.jurisdiction = :code AND t.removed_at IS NULL ORDER BY t.code) AS d
""")


async def _columns(connection: AsyncConnection, statement: Any, code: str) -> list[list[Any]]:
    row = (await connection.execute(statement, {"code": code})).one()
    return [column or [] for column in row]


async def points(connection: AsyncConnection, jurisdiction: str) -> list[list[Any]]:
    """Return the control points: code, names, category, zone, lon, lat, area WKB, requirements."""
    return await _columns(connection, _POINTS, jurisdiction)


async def cameras(connection: AsyncConnection, jurisdiction: str) -> list[list[Any]]:
    """Return the cameras as columns, in the order of the statement above."""
    return await _columns(connection, _CAMERAS, jurisdiction)


async def checkpoints(connection: AsyncConnection, jurisdiction: str) -> list[list[Any]]:
    """Return the checkpoints as columns, in the order of the statement above."""
    return await _columns(connection, _CHECKPOINTS, jurisdiction)
