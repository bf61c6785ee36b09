"""Loads the demo city through the public services, without SQL."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.db.engine import Database, WriteContext
from app.demo.city import build_city
from app.models.vocabulary import LEVELS
from app.records import batches, payloads
from app.records import service as record_service
from app.records.kinds import BUILDING, CAMERA, CHECKPOINT, CONTROL_POINT, JURISDICTION, ROAD, Kind
from app.records.payloads import Precondition
from app.rings import service as ring_service

REASON: Final = "synthetic demo city"
_MAX_VERTICES: Final = 1_000_000


async def is_empty(database: Database) -> bool:
    """Return whether the registry has no jurisdiction."""
    principal = Principal("demo", "admin")
    page = await record_service.load_record_page(database.fetch, JURISDICTION, {}, principal, limit=1, after=None)
    return page.count == 0


async def load_demo_city(database: Database, principal: Principal) -> None:
    """Register the whole city in one transaction."""
    city = build_city()
    code = city.jurisdiction["code"]
    async with database.open_transaction(WriteContext(principal.name, "demo", REASON)) as connection:
        await record_service.create_record(
            connection, JURISDICTION, payloads.parse_draft(JURISDICTION, city.jurisdiction), principal
        )
        for level in reversed(LEVELS):
            await ring_service.save_ring(
                connection,
                code,
                level,
                city.rings[level],
                principal,
                Precondition(),
                datum="wgs84",
                max_vertices=_MAX_VERTICES,
            )
        for kind, items in (
            (ROAD, city.roads),
            (BUILDING, city.buildings),
            (CONTROL_POINT, city.control_points),
            (CHECKPOINT, city.checkpoints),
            (CAMERA, city.cameras),
        ):
            await register_records(connection, kind, items, principal)


async def register_records(
    connection: AsyncConnection, kind: Kind, items: Sequence[dict[str, Any]], principal: Principal
) -> None:
    """Write records of one kind in batches."""
    for start in range(0, len(items), batches.MAX_ITEMS):
        batch = list(items[start : start + batches.MAX_ITEMS])
        await batches.run_batch(connection, kind, batch, principal, "atomic")
