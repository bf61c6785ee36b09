"""Houses at some crossroads of the core, so that the demo shows views that buildings cut.

Promises that no house stands between a crossroads and the devices that watch it: houses keep off
both streets, and the poles stand nearer. So nothing here changes what is covered.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from app.demo.frame import to_lonlat
from app.demo.points import Place
from app.demo.streets import TILT

SEED: Final = 4108_01
_CROSSROADS: Final = 12
_SETBACK_M: Final = 18.0
"""Poles at a corner stand up to 22 m from the middle: 15.6 m off each street."""
_PAVEMENT_M: Final = 4.0


def build(places: Sequence[Place], jurisdiction: str) -> list[dict[str, Any]]:
    """Return a house in each quarter of the first crossroads of the core."""
    rng = np.random.default_rng(SEED)
    crossroads = [place for place in places if place.category == "core_junction"]
    return [
        _house(rng, place, quarter, jurisdiction)
        for place in crossroads[:_CROSSROADS]
        for quarter in range(4)
    ]


def _house(
    rng: np.random.Generator, place: Place, quarter: int, jurisdiction: str
) -> dict[str, Any]:
    """Return one house, its walls along the streets; every other one with a courtyard."""
    near = _SETBACK_M + rng.uniform(0, _PAVEMENT_M, 2)
    far = near + rng.uniform(18, 40, 2)
    levels = int(rng.integers(1, 8))
    known = {"height_m": round(levels * 3.2, 1)} if rng.random() < 0.7 else {}
    rings = [_ring(place, quarter, near, far)]
    if quarter % 2:
        rings.append(_ring(place, quarter, near + 6, far - 6)[::-1])
    return {
        "code": f"DEMO-H-{place.code}-{quarter + 1}",
        "jurisdiction": jurisdiction,
        "levels": levels,
        **known,
        "geometry": {"type": "Polygon", "coordinates": rings},
    }


def _ring(
    place: Place, quarter: int, near: np.ndarray[Any, Any], far: np.ndarray[Any, Any]
) -> list[list[float]]:
    """Return a closed ring of lon/lat, anticlockwise, from two corners seen from the crossroads."""
    (x0, y0), (x1, y1) = near, far
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    turn = TILT + np.radians(90.0 * quarter)
    cos, sin = np.cos(turn), np.sin(turn)
    placed = place.xy + corners @ np.array([[cos, sin], [-sin, cos]])
    return [[float(lon), float(lat)] for lon, lat in to_lonlat(placed)]
