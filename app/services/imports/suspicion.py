"""Whether coordinates said to be WGS 84 look shifted: they fit the roads clearly better moved back.

Nothing is moved. What is found is told, and the sender says `crs=gcj02` or `bd09` if it is so.
"""

from typing import Final

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from app.geo import datum
from app.geo.arrays import Floats
from app.registry import intake

_LEAST: Final = 20
"""Places from which a median says something."""
_NOWHERE_M: Final = 2000.0
"""Distance of a place with no road about it."""
_CLEARLY_M: Final = 50.0
_CLEARLY: Final = 0.5
_NAMES: Final = {"gcj02": "GCJ-02", "bd09": "BD-09"}


async def shifted(
    connection: AsyncConnection, jurisdiction: str, lonlat: Floats
) -> dict[str, str] | None:
    """Return a note when places fit the road network clearly better after a shift.

    Clearly: the median distance to the nearest road is less than half, and fifty metres less.
    """
    if len(lonlat) < _LEAST:
        return None
    medians = {"": await _median(connection, jurisdiction, lonlat)}
    for name in _NAMES:
        medians[name] = await _median(connection, jurisdiction, datum.to_wgs84(lonlat, name))
    best = min(_NAMES, key=lambda name: medians[name])
    now, then = medians[""], medians[best]
    if then > _CLEARLY * now or then > now - _CLEARLY_M:
        return None
    told = _NAMES[best]
    return {
        "code": "datum-suspected",
        "message": f"the places look like {told}: half of {len(lonlat)} lie within {then:.0f} m of a "
        f"road when they are read so, and within {now:.0f} m as they are. Nothing was moved; say "
        f"crs={best} if it is so.",
        "message_zh": f"坐标疑为 {told}：按该坐标系解读时，{len(lonlat)} 个点中半数距最近道路不超过 "
        f"{then:.0f} 米，"
        f"现状为 {now:.0f} 米。未作任何偏移；如确为该坐标系，请指定 crs={best}。",
    }


async def _median(connection: AsyncConnection, jurisdiction: str, lonlat: Floats) -> float:
    found = await intake.road_distances(connection, jurisdiction, lonlat.tolist())
    return float(np.median([_NOWHERE_M if away is None else away for away in found]))
