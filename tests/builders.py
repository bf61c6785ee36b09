"""Payloads the registry takes, to be sent as they are or with something changed; all lie in one city."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
from sqlalchemy import text

from app.db.engine import Database

Json = dict[str, Any]
KeyFor = Callable[..., Awaitable[dict[str, str]]]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

CITY = "410800"
OTHER = "410100"
LON, LAT = 113.2, 35.2
EXTENT = [112.5, 34.5, 114.0, 36.0]
HALF_DEG = {"core": 0.02, "urban": 0.05, "city": 0.2}
"""Half the side of each square ring around (LON, LAT)."""
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
GEOJSON = {"Accept": "application/geo+json"}


def point(lon: float = LON, lat: float = LAT) -> Json:
    """Return a GeoJSON Point."""
    return {"type": "Point", "coordinates": [lon, lat]}


def square(half_deg: float, lon: float = LON, lat: float = LAT) -> Json:
    """Return a GeoJSON Polygon with sides along the axes, anticlockwise from its south-west."""
    return box(lon - half_deg, lat - half_deg, lon + half_deg, lat + half_deg)


def box(west: float, south: float, east: float, north: float) -> Json:
    """Return a GeoJSON Polygon with sides along the axes, anticlockwise from its south-west."""
    west, south, east, north = (round(side, 9) for side in (west, south, east, north))
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [corners]}


def jurisdiction(code: str = CITY, **changed: Any) -> Json:
    """Return a jurisdiction."""
    return {"code": code, "name_zh": "示例市", "extent": EXTENT, **changed}


def control_point(code: str = "point-1", **changed: Any) -> Json:
    """Return a control point."""
    known = {"jurisdiction": CITY, "category": "core_site", "geometry": point()}
    return {"code": code, **known, **changed}


def road(code: str = "road-1", **changed: Any) -> Json:
    """Return a road."""
    line = {"type": "LineString", "coordinates": [[113.1, LAT], [113.3, LAT]]}
    known = {"jurisdiction": CITY, "road_class": "national", "geometry": line}
    return {"code": code, **known, **changed}


def building(code: str = "building-1", **changed: Any) -> Json:
    """Return a building, some 20 m across, 20 m north-east of the middle."""
    known = {"jurisdiction": CITY, "geometry": square(0.0001, LON + 0.0002, LAT + 0.0002)}
    return {"code": code, **known, **changed}


def checkpoint(code: str = "checkpoint-1", **changed: Any) -> Json:
    """Return a checkpoint with a lane in and a lane out."""
    lanes = [{"lane": 1, "direction": "inbound"}, {"lane": 2, "direction": "outbound"}]
    known = {"jurisdiction": CITY, "kind": "vehicle", "lanes": lanes, "geometry": point()}
    return {"code": code, **known, **changed}


def camera(code: str = "camera-1", **changed: Any) -> Json:
    """Return a camera."""
    known = {"jurisdiction": CITY, "functions": ["face"], "geometry": point()}
    return {"code": code, **known, **changed}


async def lay_crossroads(client: httpx.AsyncClient) -> None:
    """Register two roads from outside all rings to a junction in the middle.

    Each has a junction between any two rings, so that vehicles can turn there.
    """
    stops = {"west": (112.95, 113.08, 113.165), "east": (113.45, 113.32, 113.235)}
    lines: dict[str, list[tuple[float, float]]] = {"end-1": [(LON, LAT), (LON, LAT + 0.002)]}
    for name, lons in stops.items():
        lines[f"{name}-1"] = [*((lon, LAT) for lon in lons), (LON, LAT)]
        for number, lon in enumerate(lons):
            lines[f"{name}-side-{number}"] = [(lon, LAT), (lon, LAT + 0.002)]
    for code, line in lines.items():
        geometry = {"type": "LineString", "coordinates": line}
        words = {"road_class": "county", "name_en": f"{code[:4].title()} Road"}
        body = road(code, geometry=geometry, **(words if code.endswith("t-1") else {}))
        answer = await client.put(f"/v1/roads/{code}", json=body)
        assert answer.status_code == 201, answer.text


TABLES = (
    "jurisdiction", "ring", "control_point", "checkpoint", "camera", "road", "building", "device_state",
    "change", "revision", "touched",
)  # fmt: skip


async def contents(database: Database) -> dict[str, str | None]:
    """Return a digest of every table but the keys': equal before and after, nothing was written."""
    digests = ", ".join(
        f"(SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t) AS {table}" for table in TABLES
    )
    async with database.open_connection() as connection:
        row = (await connection.execute(text(f"SELECT {digests}"))).mappings().one()
    return dict(row)
