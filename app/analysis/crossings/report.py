"""Results about crossings: guarded, open or waived, by direction, and compared with the plan.

No I/O. What was not assessed is null, never zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, Field
from scipy.spatial import cKDTree

from app.analysis.crossings.crossing_guards import (
    CROSSING_STATUSES,
    CrossingGuards,
    compute_crossing_statuses,
    compute_guards,
)
from app.analysis.crossings.road_network import CATEGORY_OF_LEVEL, DIRECTION_BITS, TravelDirection
from app.analysis.metadata import (
    FIXES,
    CandidateDevice,
    ResultMetadata,
    build_feature_collection,
    build_gap_properties,
    build_nearest_candidate,
    build_reason_counts,
    build_result,
    to_feature,
)
from app.analysis.results import Analysis
from app.geo.coverage import assessment as engine
from app.geo.roads.crossings import MERGE_M
from app.geo.roads.network import ROAD_CLASSES
from app.models.fields import Instant
from app.models.vocabulary import LEVELS, Category, Level, RoadClass

CrossingStatus = Literal["guarded", "open", "waived"]
_GROUP_OFFSET_M: Final = 4 * MERGE_M
"""Crossings of different road groups are moved so far apart that they never match."""


@dataclass(frozen=True)
class CrossingQuery:
    """Which crossings to list; None means all."""

    level: Level | None = None
    guarded: bool | None = None
    status: CrossingStatus | None = None
    geojson: bool = False


def build_crossings(analysis: Analysis, query: CrossingQuery) -> dict[str, Any]:
    """Return the crossings of a query, and all crossings of each ring compared with the plan."""
    items = [item for level in reversed(LEVELS) for item in iter_crossings(analysis, level, query)]
    statuses = compute_crossing_statuses(analysis)
    plan = [compare_with_plan(analysis, level) for level in reversed(LEVELS) if level in statuses]
    if query.geojson:
        return build_feature_collection(analysis, [to_feature(item, "id") for item in items], by_plan=plan)
    return build_result(analysis, items=items, by_plan=plan)


def build_crossing(analysis: Analysis, crossing: str, geojson: bool) -> dict[str, Any] | None:
    """Return the crossing with an id, None if it does not exist."""
    guards = compute_guards(analysis)
    for level in compute_crossing_statuses(analysis):
        ids = guards.network.crossing_ids[level] if guards is not None else []
        if crossing in ids:
            item = _build_item(analysis, level, ids.index(crossing))
            return build_result(analysis, **(to_feature(item, "id") if geojson else item))
    return None


def iter_open_crossings(analysis: Analysis, level: Level | None) -> Iterator[dict[str, Any]]:
    """Yield the open crossings as gaps: GeoJSON features with the same properties as other gaps."""
    for ring in reversed(LEVELS):
        for item in iter_crossings(analysis, ring, CrossingQuery(level, status="open")):
            unmet = [need for need in item.pop("needs") if not need["met"]]
            feature = to_feature(item, "id")
            feature["properties"] |= {"type": "crossing", "code": item["id"], **build_gap_properties(unmet)}
            yield feature


def iter_crossings(analysis: Analysis, level: Level, query: CrossingQuery) -> Iterator[dict[str, Any]]:
    """Yield the crossings of one ring that fit a query."""
    statuses = compute_crossing_statuses(analysis).get(level)
    if statuses is None or query.level not in (None, level):
        return
    for row, status in enumerate(statuses.status.tolist()):
        guarded = bool(statuses.missing[row] == 0)
        if query.status in (None, CROSSING_STATUSES[status]) and query.guarded in (None, guarded):
            yield _build_item(analysis, level, row)


@dataclass(frozen=True, eq=False)
class _RingDetails:
    """What the items of one ring are built from; lists have one element for each crossing."""

    lonlat: list[list[float]]
    bearing_deg: list[float]
    units: list[list[int]]
    guards: dict[int, list[int]]
    """Working guards by unit."""
    points: dict[int, list[str]]
    """Codes of control points by crossing."""
    same_place: list[list[str]]


def _compute_details(analysis: Analysis, guards: CrossingGuards, level: Level) -> _RingDetails:
    def compute_details(earlier: _RingDetails | None) -> _RingDetails:
        del earlier
        network, of_ring = guards.network, guards.network.crossed[level]
        passages, (passage, _) = guards.passages, guards.passage_units
        on_ring = passages.level == network.levels.index(level)
        lonlat = network.projection.to_lonlat(of_ring.xy)
        bearing = compute_inward_bearings(guards, level) + network.projection.convergence_deg(lonlat)
        units: list[list[int]] = [[] for _ in range(len(of_ring))]
        for unit in np.flatnonzero(on_ring[passage]).tolist():
            units[passages.crossing[passage[unit]]].append(unit)
        guards_of: dict[int, list[int]] = {}
        for unit, device in zip(*(column.tolist() for column in guards.guarding), strict=True):
            guards_of.setdefault(unit, []).append(device)
        points: dict[int, list[str]] = {}
        for row in np.flatnonzero(guards.point_crossing[level] >= 0).tolist():
            points.setdefault(int(guards.point_crossing[level][row]), []).append(analysis.points.code[row])
        return _RingDetails(
            lonlat.round(7).tolist(),
            (bearing % 360).round(1).tolist(),
            units,
            guards_of,
            points,
            find_same_place(guards, level),
        )

    return analysis.derived.get_or_compute(f"crossings of {level}", compute_details)


def compute_inward_bearings(guards: CrossingGuards, level: Level) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the grid bearing of inbound travel at each crossing: that of its nearest passage."""
    passages, of_ring = guards.passages, guards.network.crossed[level]
    rows = np.flatnonzero(passages.level == guards.network.levels.index(level))
    distance = np.hypot(*(passages.xy[rows] - of_ring.xy[passages.crossing[rows]]).T)
    order = np.lexsort((distance, passages.crossing[rows]))
    _, nearest = np.unique(passages.crossing[rows][order], return_index=True)
    return np.asarray(passages.inward_deg[rows[order[nearest]]])


def find_same_place(guards: CrossingGuards, level: Level) -> list[list[str]]:
    """Return for each crossing the ids of crossings of other rings by the same road at the same location."""
    network = guards.network
    ids: list[list[str]] = [[] for _ in range(len(network.crossed[level]))]
    for other_level in network.levels:
        crossed, other_crossed = network.crossed[level], network.crossed[other_level]
        if other_level == level or not len(crossed) or not len(other_crossed):
            continue
        located, other_located = (
            np.column_stack([of_ring.xy, of_ring.group * _GROUP_OFFSET_M]) for of_ring in (crossed, other_crossed)
        )
        distance, nearest = cKDTree(other_located).query(located, distance_upper_bound=MERGE_M)
        for row in np.flatnonzero(np.isfinite(distance)).tolist():
            ids[row].append(network.crossing_ids[other_level][nearest[row]])
    return ids


def _build_item(analysis: Analysis, level: Level, row: int) -> dict[str, Any]:
    guards = compute_guards(analysis)
    assert guards is not None  # noqa: S101  # there is a crossing
    statuses, details = compute_crossing_statuses(analysis)[level], _compute_details(analysis, guards, level)
    of_ring = guards.network.crossed[level]
    carries = {"inbound": bool(of_ring.inbound[row]), "outbound": bool(of_ring.outbound[row])}
    missing = int(statuses.missing[row])
    high, low = int(of_ring.highest_layer[row]), int(of_ring.lowest_layer[row])
    return {
        "id": guards.network.crossing_ids[level][row],
        "level": level,
        "status": CROSSING_STATUSES[statuses.status[row]],
        "guarded": missing == 0,
        "directions": [direction for direction in DIRECTION_BITS if carries[direction]],
        "missing_directions": [direction for direction, bit in DIRECTION_BITS.items() if missing & bit],
        "road": _build_road(guards, level, row),
        "grade": "bridge" if high > 0 else "tunnel" if low < 0 else "level",
        "passages": int((of_ring.crossing == row).sum()),
        "inbound_bearing_deg": details.bearing_deg[row],
        "needs": [
            build_need(analysis, guards, details, row, direction) for direction in DIRECTION_BITS if carries[direction]
        ],
        "control_points": details.points.get(row, []),
        "same_place": details.same_place[row],
        "waiver": _build_waiver(analysis, int(statuses.waiver[row])),
        "geometry": {"type": "Point", "coordinates": details.lonlat[row]},
    }


def _build_road(guards: CrossingGuards, level: Level, row: int) -> dict[str, Any]:
    network = guards.network
    of_ring, source = network.crossed[level], network.roads.source
    edges = network.pieces.edge[of_ring.piece[of_ring.crossing == row]]
    rows = sorted(set(network.network.road[edges].tolist()))
    names = {
        name: next((source[name][road] for road in rows if source[name][road]), None)
        for name in ("name_zh", "name_en", "road_number")
    }
    return {
        "group": str(network.roads.label[of_ring.group[row]]),
        **names,
        "road_class": ROAD_CLASSES[min(network.network.road_class[edges].tolist())],
        "codes": [source["code"][road] for road in rows],
    }


def build_need(
    analysis: Analysis, guards: CrossingGuards, details: _RingDetails, row: int, direction: TravelDirection
) -> dict[str, Any]:
    """Return one direction of a crossing: the passage with the fewest guards decides."""
    assessment, devices = guards.assessment, analysis.devices
    units = [unit for unit in details.units[row] if guards.passage_units[1][unit] == DIRECTION_BITS[direction]]
    weakest = min(units, key=lambda unit: int(guards.count[unit]))
    met = bool(guards.is_guarded[weakest])
    reason = None if met else engine.REASONS[assessment.primary[weakest]]
    guard_rows = sorted({device for unit in units for device in details.guards.get(unit, ())})
    return {
        "function": "vehicle",
        "direction": direction,
        "met": met,
        "working": int(guards.count[weakest]),
        "backed_up": all(bool(guards.backed_up[unit]) for unit in units),
        "reason": reason,
        "reasons": build_reason_counts(assessment, weakest),
        "nearest": build_nearest_candidate(devices, assessment, weakest),
        "fix": None if reason is None else FIXES[reason],
        "guards": [{"kind": devices.kind[device], "code": devices.code[device]} for device in guard_rows],
    }


def _build_waiver(analysis: Analysis, row: int) -> dict[str, Any] | None:
    if row < 0:
        return None
    table = analysis.snapshot.waivers
    return {name: table[name][row] for name in ("reason", "expires_at", "waived_by", "crossing")}


def compare_with_plan(analysis: Analysis, level: Level) -> dict[str, Any]:
    """Return the crossings of a ring compared with the control points of its category."""
    guards = compute_guards(analysis)
    assert guards is not None  # noqa: S101  # there is a ring with roads
    category, table = CATEGORY_OF_LEVEL[level], analysis.snapshot.points
    crossing = guards.point_crossing[level]
    points = [row for row, of_point in enumerate(table["category"]) if of_point == category]
    matched = set(crossing[crossing >= 0].tolist())
    ids = guards.network.crossing_ids[level]
    return {
        "level": level,
        "category": category,
        "planned": analysis.snapshot.rules.plan.get(category, 0),
        "control_points": len(points),
        "crossings": len(ids),
        "control_points_without_crossing": [table["code"][row] for row in points if crossing[row] < 0],
        "crossings_without_control_point": [name for row, name in enumerate(ids) if row not in matched],
    }


# Schemas of the responses.


class CrossingRoad(BaseModel):
    """The road group of a crossing."""

    group: str = Field(description="Its group; else its number, its name, or the code of the road.")
    name_zh: str | None
    name_en: str | None
    road_number: str | None
    road_class: RoadClass = Field(description="The highest class of its roads at the crossing.")
    codes: list[str] = Field(description="Codes of the roads that cross.")


class Guard(BaseModel):
    """A working device that guards a crossing or a road."""

    kind: str
    code: str


class CrossingNeed(BaseModel):
    """One direction that traffic can take, and its guards."""

    function: Literal["vehicle"]
    direction: TravelDirection
    met: bool = Field(description="Whether every passage in this direction is guarded.")
    working: int = Field(description="Number of guards at the passage with the fewest.")
    backed_up: bool
    reason: str | None = Field(description="Why it is not guarded; null if it is.")
    reasons: dict[str, int] = Field(description="Number of candidates that do not count, by reason.")
    nearest: CandidateDevice | None
    fix: str | None
    guards: list[Guard]


class WaiverInForce(BaseModel):
    """The decision that the crossing needs no guard."""

    crossing: str = Field(description="Id of the crossing when it was waived.")
    reason: str
    expires_at: Instant
    waived_by: str


class CrossingItem(BaseModel):
    """The crossing of a road and a ring."""

    id: str = Field(description="Stays the same for the same ring, road and location (to about 60 m).")
    level: Level
    status: CrossingStatus
    guarded: bool = Field(description="Whether every direction that traffic can take is guarded.")
    directions: list[TravelDirection] = Field(description="Directions that traffic can take.")
    missing_directions: list[TravelDirection]
    road: CrossingRoad
    grade: Literal["level", "bridge", "tunnel"]
    passages: int = Field(description="Number of carriageways and slip roads.")
    inbound_bearing_deg: float = Field(description="True bearing of inbound travel.")
    needs: list[CrossingNeed]
    control_points: list[str] = Field(description="Codes of the control points at this crossing.")
    same_place: list[str] = Field(description="Crossings of other rings by this road at this location.")
    waiver: WaiverInForce | None
    geometry: dict[str, Any]


class RingPlan(BaseModel):
    """The crossings of a ring compared with its control points."""

    level: Level
    category: Category
    planned: int
    control_points: int
    crossings: int
    control_points_without_crossing: list[str]
    crossings_without_control_point: list[str]


class CrossingList(ResultMetadata):
    """Crossings, and all crossings of each ring compared with the plan."""

    items: list[CrossingItem]
    by_plan: list[RingPlan]


class CrossingAnswer(ResultMetadata, CrossingItem):
    """One crossing."""
