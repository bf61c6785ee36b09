"""The registry the measurements run on: the demo city, filled up to 20,000 cameras."""

import asyncio
import random
from typing import Any

from sqlalchemy import text

from app.access.roles import OPERATOR
from app.db import schema
from app.db.engine import Database, WriteContext
from app.demo.city import build_city
from app.demo.load import load_demo_city
from app.records import batches
from app.records.kinds import CAMERA

CAMERAS = 20_000
_BATCH = 5_000


def _camera(number: int, dice: random.Random) -> dict[str, Any]:
    return {
        "code": f"41080000041320{500_000 + number:06d}",
        "jurisdiction": "410800",
        "name_zh": f"补充摄像机{number}",
        "name_en": f"Filler camera {number}",
        "functions": [dice.choice(["vehicle", "face", "overview", "structured"])],
        "direction": dice.choice(["inbound", "outbound", "both"]),
        "azimuth_deg": dice.randrange(360),
        "opening_deg": 40,
        "range_m": 35,
        "horizontal_pixels": 2560,
        "owner_unit": "演示单位",
        "purpose": "benchmark",
        "retention_days": 30,
        "state": "online",
        "geometry": {
            "type": "Point",
            "coordinates": [
                round(dice.uniform(113.05, 113.43), 6),
                round(dice.uniform(35.12, 35.31), 6),
            ],
        },
    }


async def _fill(url: str) -> None:
    database = Database(url, statement_timeout_s=600)
    await schema.migrate(database)
    await load_demo_city(database, OPERATOR)
    dice = random.Random(4108)
    rows = [_camera(number, dice) for number in range(CAMERAS - len(build_city().cameras))]
    for start in range(0, len(rows), _BATCH):
        async with database.open_transaction(WriteContext(OPERATOR.name)) as connection:
            await batches.run_batch(connection, CAMERA, rows[start : start + _BATCH], OPERATOR, "atomic")
    async with database.engine.connect() as connection:
        bare = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await bare.execute(text("VACUUM ANALYZE camera, control_point, checkpoint, device_state"))
    await database.close()


def fill(url: str) -> None:
    """Load the city into an empty database."""
    asyncio.run(_fill(url))
