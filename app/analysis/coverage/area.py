"""Covered area of the zones of a jurisdiction: once, k times, gaps, and what each camera adds.

Pure: from a computed state to plain values. Parcels whose fields of view are as before keep their
result, so that one changed camera or state is recomputed where it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from app.analysis.coverage.fields_of_view import Seen, chosen, geometries, metric, seen
from app.analysis.coverage.fields_of_view import Wanted as Views
from app.analysis.engine_input import Computed
from app.analysis.metadata import about, telling
from app.geo.coverage import assessment as engine
from app.geo.coverage.area import Cover, Parcels, cover
from app.geo.coverage.layers import areas
from app.geo.projection.local_projection import Frame
from app.geo.rings.outline import divided
from app.models.vocabulary import LEVELS, Function, Level, Zone

MOST_TIMES: Final = 5
"""How many times ground is counted at most."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of the covered area; zone None: all zones."""

    zone: Zone | None = None
    function: Function | None = None
    k: int = 1
    min_gap_m2: float = 100.0
    working: bool = True
    shares: bool = False


@dataclass(frozen=True, eq=False)
class _Zones:
    """The zones of a jurisdiction along the grid."""

    source: Any
    frame: Frame
    levels: tuple[Level, ...]
    parcels: Parcels


@dataclass(frozen=True, eq=False)
class _Covered:
    zones: _Zones
    seen: Seen | None
    rows: NDArray[np.int64]
    """Cameras that count."""
    left_out: dict[str, int]
    cover: Cover


@telling("area")
def _asked_for(found: Computed) -> Iterator[dict[str, Any]]:
    """Say that area is assessed when it is asked for, and what stands against it."""
    if not found.loaded.rings["code"]:
        yield {"what": "area", "reason": "no ring is registered"}
    else:
        reason = "assessed when it is asked for: coverage/area and coverage/gaps?type=area"
        yield {"what": "area", "reason": reason}


def _without_area(answer: dict[str, Any], told: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an answer about area, with what was not assessed of it."""
    others = [item for item in answer["not_assessed"] if item["what"] != "area"]
    return answer | {"not_assessed": [*others, *told]}


def summary(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return covered area and ratio of the zones asked for, once and up to k times."""
    covered = _covered(found, wanted)
    known = () if covered is None else covered.zones.levels
    levels = [level for level in reversed(LEVELS) if wanted.zone in (None, level)]
    zones = [_zone(covered, level, wanted.k) for level in levels if covered and level in known]
    counted = {"counted": 0, "left_out": {}} if covered is None else {
        "counted": len(covered.rows), "left_out": covered.left_out,
    }  # fmt: skip
    answer = about(
        found,
        function=wanted.function,
        working=wanted.working,
        k=wanted.k,
        zones=zones,
        total=_total(zones, wanted.k),
        cameras=counted,
    )
    if wanted.shares:
        answer["shares"] = [] if covered is None else _shares(covered)
    answer["parameters"] |= {"cell_m": covered.zones.parcels.cell_m if covered else None}
    return _without_area(answer, [_no_ring(level) for level in levels if level not in known])


def gaps(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return the pieces of zones that fewer than k cameras see, as a FeatureCollection."""
    covered = _covered(found, wanted)
    known = () if covered is None else covered.zones.levels
    levels = [level for level in LEVELS if wanted.zone in (None, level)]
    features: list[dict[str, Any]] = []
    if covered is not None:
        numbers = np.array([known.index(level) for level in levels if level in known], np.int64)
        shapes, zone = covered.cover.gaps(numbers, wanted.k, wanted.min_gap_m2)
        told = geometries(shapes, covered.zones.frame)
        of_zone = [known[number] for number in zone.tolist()]
        sizes = shapely.area(shapes).tolist()
        features = [
            _gap(place, level, geometry, size, wanted)
            for place, (level, geometry, size) in enumerate(zip(of_zone, told, sizes, strict=True), start=1)
        ]
    answer = {
        "type": "FeatureCollection",
        "numberReturned": len(features),
        **about(found, features=features),
    }
    answer["parameters"] |= {
        "function": wanted.function, "working": wanted.working, "k": wanted.k,
        "min_gap_m2": wanted.min_gap_m2,
        "cell_m": covered.zones.parcels.cell_m if covered else None,
    }  # fmt: skip
    return _without_area(answer, [_no_ring(level) for level in levels if level not in known])


def _gap(place: int, level: Level, geometry: Any, size: float, wanted: Wanted) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"area-{level}-{place}",
        "geometry": geometry,
        "properties": {
            "type": "area",
            "zone": level,
            "area_m2": round(size, 2),
            "function": wanted.function,
            "k": wanted.k,
            "reason": "none",
            "reasons": ["none"],
            "fix": "install, turn or repair a camera that sees this ground",
        },
    }


def _no_ring(level: Level) -> dict[str, Any]:
    return {"what": "area", "level": level, "reason": "this ring is not registered"}


def _zone(covered: _Covered, level: Level, k: int) -> dict[str, Any]:
    parcels = covered.zones.parcels
    rows = parcels.zone == covered.zones.levels.index(level)
    total = float(parcels.area_m2[rows].sum())
    at_least = [float(covered.cover.covered_m2(t)[rows].sum()) for t in range(1, k + 1)]
    return {"zone": level, **_told(total, at_least)}


def _total(zones: list[dict[str, Any]], k: int) -> dict[str, Any]:
    total = sum(zone["area_m2"] for zone in zones)
    at_least = [sum(zone["at_least"][t]["covered_m2"] for zone in zones) for t in range(k)]
    return _told(total, at_least)


def _told(total: float, at_least: list[float]) -> dict[str, Any]:
    def share(covered: float) -> float | None:
        return round(min(covered / total, 1.0), 6) if total else None

    return {
        "area_m2": round(total, 1),
        "covered_m2": round(at_least[0], 1),
        "covered_ratio": share(at_least[0]),
        "at_least": [
            {"k": t, "covered_m2": round(area, 1), "covered_ratio": share(area)}
            for t, area in enumerate(at_least, start=1)
        ],
    }


def _shares(covered: _Covered) -> list[dict[str, Any]]:
    """Return what each camera sees of the zones and what only it sees, most valuable first."""
    if covered.seen is None:
        return []
    seen_m2, only_m2 = covered.cover.shares(covered.seen.stamp[covered.rows])
    order = np.lexsort((covered.rows, -only_m2))
    return [
        {
            "code": covered.seen.codes[int(covered.rows[place])],
            "seen_m2": round(float(seen_m2[place]), 2),
            "only_m2": round(float(only_m2[place]), 2),
        }
        for place in order.tolist()
    ]


def _covered(found: Computed, wanted: Wanted) -> _Covered | None:
    """Return how the zones are covered, None without zones."""
    frame = metric(found)
    if frame is None or not found.loaded.rings["code"]:
        return None
    zones = found.parts.get("zones", lambda before: _zones(found, frame, before))
    most = max(wanted.k, 2)
    name = f"cover:{wanted.function}:{wanted.working}:{most}"
    return found.parts.get(name, lambda before: _cover(found, wanted, zones, most, before))


def _zones(found: Computed, frame: Frame, before: _Zones | None) -> _Zones:
    table = found.loaded.rings
    if before is not None and before.source is table and before.frame == frame:
        return before
    shape_of = zip(table["level"], table["shape"], strict=True)
    rings = {level: shapely.from_wkb(wkb) for level, wkb in shape_of}
    inner: BaseGeometry = shapely.Polygon()
    levels, shapes = [], []
    for level in LEVELS:
        if level in rings:
            ring = frame.project(divided(rings[level]))
            zone = areas(np.array([shapely.difference(ring, inner)], dtype=object))[0]
            inner = shapely.union(inner, ring)
            if not zone.is_empty:
                levels.append(level)
                shapes.append(zone)
    return _Zones(table, frame, tuple(levels), Parcels.of(shapes))


def _cover(found: Computed, wanted: Wanted, zones: _Zones, most: int, before: _Covered | None) -> _Covered:
    what = seen(found, wanted.function)
    earlier = None if before is None else before.cover
    if what is None:
        nothing = np.empty(0, np.int64)
        empty = cover(zones.parcels, np.empty(0, dtype=object), nothing, most, earlier)
        return _Covered(zones, None, nothing, {}, empty)
    n = len(what.codes)
    devices = found.assessment.devices
    able = np.zeros(n, np.bool_)
    able[chosen(found, what, Views(function=wanted.function))] = True
    in_use = devices.lifecycle[:n] == engine.IN_USE
    outdoors = ~what.optics.indoor
    working = devices.state_bits[:n] == 0
    counts = able & in_use & outdoors & (working | (not wanted.working))
    left_out = {
        "without_the_function": int((~able).sum()),
        "not_in_use": int((able & ~in_use).sum()),
        "indoors": int((able & in_use & ~outdoors).sum()),
        "not_working": int((able & in_use & outdoors & ~working).sum()) if wanted.working else 0,
    }
    rows = np.flatnonzero(counts)
    shapes, stamp = what.views.shape[rows], what.stamp[rows]
    return _Covered(zones, what, rows, left_out, cover(zones.parcels, shapes, stamp, most, earlier))
