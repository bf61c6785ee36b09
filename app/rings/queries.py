"""All SQL about jurisdictions' rings and the places of records in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.vocabulary import Level
from app.models.columns import DECIMALS

PLACED = ("control_point", "checkpoint", "camera")
_LOCK_SPACE = 4108_0002


@dataclass(frozen=True)
class TerritoryRow:
    """A jurisdiction as far as geometry is concerned, and which boundaries are in force."""

    code: str
    version: int
    extent: list[float] | None
    metric_epsg: int | None
    rings: tuple[tuple[str, int], ...]
    """(level, version) of every boundary, ordered by level."""
    made: tuple[str, ...]
    """When the jurisdiction and its boundaries were written: no other database has the same."""


@dataclass(frozen=True)
class BoundaryRow:
    """One boundary in force."""

    level: Level
    version: int
    tolerance_m: float
    geometry: BaseGeometry


async def territory(connection: AsyncConnection, code: str) -> TerritoryRow | None:
    """Return the geometry-related facts of a jurisdiction."""
    row = (
        await connection.execute(
            text(
                "SELECT j.code, j.version, j.extent, j.metric_epsg, j.updated_at::text, "
                "(SELECT coalesce(json_agg(json_build_array(r.level, r.version, r.updated_at) "
                "ORDER BY r.level), '[]') "
                "FROM ring r WHERE r.jurisdiction = j.code AND r.removed_at IS NULL) "
                "FROM jurisdiction j WHERE j.code = :code AND j.removed_at IS NULL"
            ),
            {"code": code},
        )
    ).first()
    if row is None:
        return None
    code, version, extent, metric_epsg, updated, found = row
    rings = tuple((ring[0], ring[1]) for ring in found)
    made = (updated, *(ring[2] for ring in found))
    return TerritoryRow(code, version, extent, metric_epsg, rings, made)


async def boundaries(connection: AsyncConnection, jurisdiction: str) -> list[BoundaryRow]:
    """Return the boundaries in force."""
    rows = await connection.execute(
        text(
            "SELECT level, version, tolerance_m, ST_AsBinary(geometry) FROM ring "
            "WHERE jurisdiction = :code AND removed_at IS NULL ORDER BY level"
        ),
        {"code": jurisdiction},
    )
    return [BoundaryRow(row[0], row[1], row[2], _shape(row[3])) for row in rows]


def _shape(wkb: bytes) -> BaseGeometry:
    geometry: BaseGeometry | None = shapely.from_wkb(wkb)
    assert geometry is not None  # noqa: S101  # the column is not null
    return geometry


async def hold(connection: AsyncConnection, jurisdictions: Sequence[str], *, alone: bool) -> None:
    """Keep the rings of jurisdictions still until the transaction ends.

    Writers of placed records hold them together; a writer of a ring holds them alone, so that no
    record is placed by a boundary that is being replaced.
    """
    function = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
    for jurisdiction in sorted(set(jurisdictions)):
        await connection.execute(
            text(f"SELECT {function}(:space, hashtext(:code))"),
            {"space": _LOCK_SPACE, "code": jurisdiction},
        )


_LINKS = (
    "json_build_object('code', t.code, 'jurisdiction', t.jurisdiction, 'level', t.level, "
    "'name_zh', t.name_zh, 'name_en', t.name_en, 'tolerance_m', t.tolerance_m, "
    "'source', t.source, 'datum_received', t.datum_received, 'valid_from', t.valid_from, "
    "'vertices', ST_NPoints(t.geometry), "
    "'version', t.version, 'created_at', t.created_at, 'updated_at', t.updated_at)"
)
_FEATURE = (
    f"json_build_object('type', 'Feature', 'id', t.code, 'geometry', "
    f"ST_AsGeoJSON(t.geometry, {DECIMALS})::json, 'properties', {_LINKS})::text"
)


async def features(connection: AsyncConnection, jurisdiction: str, level: str | None = None) -> list[tuple[int, str]]:
    """Return (version, GeoJSON Feature) of the boundaries in force, innermost first."""
    condition = "" if level is None else " AND t.level = :level"
    bound = {"code": jurisdiction} | ({} if level is None else {"level": level})
    rows = await connection.execute(
        text(
            f"SELECT t.version, {_FEATURE} FROM ring t WHERE t.jurisdiction = :code "
            f"AND t.removed_at IS NULL{condition} "
            "ORDER BY array_position(ARRAY['core', 'urban', 'city'], t.level)"
        ),
        bound,
    )
    return [(row[0], row[1]) for row in rows]


async def lock(connection: AsyncConnection, code: str) -> int | None:
    """Lock one ring and return its version, None when it is not there."""
    row = (
        await connection.execute(
            text("SELECT version, removed_at FROM ring WHERE code = :code FOR UPDATE"),
            {"code": code},
        )
    ).first()
    return None if row is None or row[1] is not None else int(row[0])


async def put(connection: AsyncConnection, properties: dict[str, Any], geometry: BaseGeometry) -> int:
    """Write a boundary and return its version."""
    names = [
        "code", "jurisdiction", "level", "name_zh", "name_en", "tolerance_m", "source",
        "datum_received", "valid_from",
    ]  # fmt: skip
    row = await connection.execute(
        text(
            f"INSERT INTO ring ({', '.join(names)}, geometry) "
            f"SELECT {', '.join(names)}, ST_SetSRID(ST_GeomFromWKB(:wkb), 4326) "
            "FROM json_populate_record(CAST(NULL AS ring), CAST(:row AS json)) "
            "ON CONFLICT (code) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in names[3:])
            + ", geometry = excluded.geometry, removed_at = NULL RETURNING version"
        ),
        {"row": orjson.dumps(properties).decode(), "wkb": shapely.to_wkb(geometry)},
    )
    return int(row.scalar_one())


async def remove(connection: AsyncConnection, code: str) -> None:
    """Remove a boundary softly."""
    await connection.execute(text("UPDATE ring SET removed_at = now() WHERE code = :code"), {"code": code})


async def places(connection: AsyncConnection, table: str, jurisdiction: str) -> tuple[list[str], list[bytes]]:
    """Return codes and WKB of every record of a table, locked in code order, to be placed anew."""
    rows = await connection.execute(
        text(
            f"SELECT code, ST_AsBinary(geometry) FROM {table} "
            "WHERE jurisdiction = :code AND removed_at IS NULL ORDER BY code FOR NO KEY UPDATE"
        ),
        {"code": jurisdiction},
    )
    found = rows.all()
    return [row[0] for row in found], [row[1] for row in found]


async def place(connection: AsyncConnection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Set zone, rings, on_boundary and distances of many records; makes no new version."""
    await connection.execute(
        text(
            f"UPDATE {table} AS t SET zone = r.zone, rings = r.rings, on_boundary = r.on_boundary, "
            "distance_m = r.distance_m "
            f"FROM json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json)) AS r "
            "WHERE t.code = r.code"
        ),
        {"rows": orjson.dumps(rows).decode()},
    )
