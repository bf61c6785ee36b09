"""SQL about rings as records; `app.records.queries` locks, writes and removes them like any other record."""

from typing import Any, Final

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.columns import DECIMALS
from app.records.queries.records import upsert_rows

_COLUMNS: Final = (
    "code",
    "jurisdiction",
    "level",
    "name_zh",
    "name_en",
    "tolerance_m",
    "source",
    "datum_received",
    "valid_from",
    "geometry",
)
_PROPERTIES: Final = (
    "json_build_object('code', t.code, 'jurisdiction', t.jurisdiction, 'level', t.level, "
    "'name_zh', t.name_zh, 'name_en', t.name_en, 'tolerance_m', t.tolerance_m, "
    "'source', t.source, 'datum_received', t.datum_received, 'valid_from', t.valid_from, "
    "'vertices', ST_NPoints(t.geometry), "
    "'version', t.version, 'created_at', t.created_at, 'updated_at', t.updated_at)"
)
_FEATURE: Final = (
    f"json_build_object('type', 'Feature', 'id', t.code, 'geometry', "
    f"ST_AsGeoJSON(t.geometry, {DECIMALS})::json, 'properties', {_PROPERTIES})::text"
)


async def fetch_ring_features(
    connection: AsyncConnection, jurisdiction: str, level: str | None = None
) -> list[tuple[int, str]]:
    """Return version and GeoJSON Feature of the rings in force, innermost first."""
    condition = "" if level is None else " AND t.level = :level"
    parameters = {"code": jurisdiction} | ({} if level is None else {"level": level})
    rows = await connection.execute(
        text(
            f"SELECT t.version, {_FEATURE} FROM ring t WHERE t.jurisdiction = :code "
            f"AND t.removed_at IS NULL{condition} "
            "ORDER BY array_position(ARRAY['core', 'urban', 'city'], t.level)"
        ),
        parameters,
    )
    return [(row[0], row[1]) for row in rows]


async def upsert_ring(connection: AsyncConnection, properties: dict[str, Any], geometry: BaseGeometry) -> int:
    """Write a ring and return its version."""
    ewkb = shapely.to_wkb(shapely.set_srid(geometry, 4326), hex=True, include_srid=True)
    versions = await upsert_rows(connection, "ring", _COLUMNS, [{**properties, "geometry": ewkb}])
    return versions[properties["code"]]
