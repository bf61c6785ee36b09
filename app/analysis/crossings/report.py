"""What is told about crossings: guarded, open or waived, by direction, beside the plan.

Pure: from a computed state to plain values. A crossing is guarded in a direction when every passage
that carries it is; a waiver covers what is left open until the moment it ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from scipy.spatial import cKDTree

from app.analysis.crossings import crossing_guards, road_network
from app.analysis.crossings.crossing_guards import Guards
from app.analysis.crossings.ring_crossings import CATEGORY
from app.analysis.engine_input import Computed
from app.analysis.metadata import FIXES, about, collection, nearest, telling
from app.geo.arrays import Ints
from app.geo.coverage import assessment as engine
from app.geo.roads.crossings import MERGE_M
from app.geo.roads.network import CLASSES
from app.models.vocabulary import LEVELS, Level

Status = Literal["guarded", "open", "waived"]
STATUSES: Final[tuple[Status, ...]] = ("guarded", "open", "waived")
GUARDED, OPEN, WAIVED = range(3)
WAIVER_M: Final = 60.0
"""How far a crossing may have moved, as by a new survey, and still be the one that was waived."""
_WORDS: Final = {engine.INBOUND: "inbound", engine.OUTBOUND: "outbound"}


@dataclass(frozen=True)
class Wanted:
    """Which crossings are asked for; None: all."""

    level: Level | None = None
    guarded: bool | None = None
    status: Status | None = None


@dataclass(frozen=True, eq=False)
class Verdict:
    """Status of every crossing of one ring."""

    status: Ints
    """Places in `STATUSES`."""
    missing: Ints
    """Set of directions that traffic can take and nothing guards."""
    waiver: Ints
    """Row of the waiver in force, -1: none."""


def of(found: Computed) -> dict[Level, Verdict]:
    """Return the verdict on the crossings of every ring that can be judged."""

    def make(before: dict[Level, Verdict] | None) -> dict[Level, Verdict]:
        del before  # a few hundred rows: made anew
        guarded = crossing_guards.of(found)
        if guarded is None:
            return {}
        net = guarded.net
        return {
            level: _verdict(found, guarded, place, level)
            for place, level in enumerate(net.levels)
            if net.not_assessed(level) is None
        }

    return found.parts.get("crossings", make)


def _verdict(found: Computed, guarded: Guards, place: int, level: Level) -> Verdict:
    passage, direction = guarded.passage_units
    unmet = np.flatnonzero(~guarded.met & (guarded.passages.level[passage] == place))
    missing = np.zeros(len(guarded.net.crossed[level]), np.int64)
    np.bitwise_or.at(missing, guarded.passages.crossing[passage[unmet]], direction[unmet])
    waiver = _waivers(found, guarded, level)
    status = np.where(missing == 0, GUARDED, np.where(waiver >= 0, WAIVED, OPEN))
    return Verdict(status, missing, waiver)


def _waivers(found: Computed, guarded: Guards, level: Level) -> Ints:
    """Return the waiver in force of each crossing: by its name, else by road and place."""
    net, table = guarded.net, found.loaded.waivers
    of_ring, names = net.crossed[level], net.name[level]
    told = np.full(len(of_ring), -1, np.int64)
    left = []
    for row, ends in enumerate(table.get("expires_at", ())):
        if table["level"][row] != level or ends < found.loaded.at:
            continue
        if table["crossing"][row] in names:
            told[names.index(table["crossing"][row])] = row
        else:
            left.append(row)
    for row in left:
        same = np.flatnonzero((net.base.label[of_ring.group] == table["road"][row]) & (told < 0))
        at = net.frame.to_metres([(table["lon"][row], table["lat"][row])])
        away = np.hypot(*(of_ring.xy[same] - at).T)
        if len(same) and away.min() <= WAIVER_M:
            told[same[np.argmin(away)]] = row
    return told


def counts(found: Computed, level: Level) -> dict[str, int | None]:
    """Return how many crossings of a ring have which status; null is not zero."""
    verdict = of(found).get(level)
    if verdict is None:
        return {"total": None, "guarded": None, "open": None, "waived": None}
    by_status = np.bincount(verdict.status, minlength=len(STATUSES)).tolist()
    return {"total": len(verdict.status), **dict(zip(STATUSES, by_status, strict=True))}


@telling("crossings")
def not_assessed(found: Computed) -> Iterator[dict[str, Any]]:
    """Yield the rings whose crossings were not judged, each with the reason."""
    net = road_network.of(found)
    for level in reversed(LEVELS):
        if net is not None:
            reason = net.not_assessed(level)
        elif level not in found.loaded.rings.get("level", ()):
            reason = "this ring is not registered"
        else:
            reason = "no road is registered"
        if reason is not None:
            yield {"what": "crossings", "level": level, "reason": reason}


def listed(found: Computed, wanted: Wanted, *, geojson: bool) -> dict[str, Any]:
    """Return the crossings asked for, and how they stand beside the plan."""
    items = [item for level in reversed(LEVELS) for item in items_of(found, level, wanted)]
    plan = [_beside_plan(found, level) for level in reversed(LEVELS) if level in of(found)]
    if geojson:
        return collection(found, [feature(item) for item in items], by_plan=plan)
    return about(found, items=items, by_plan=plan)


def one(found: Computed, name: str, geojson: bool) -> dict[str, Any] | None:
    """Return one crossing, None when there is none of this name."""
    for level, names in _names(found).items():
        if name in names:
            item = _item(found, level, names.index(name))
            return about(found, **(feature(item) if geojson else item))
    return None


def _names(found: Computed) -> dict[Level, list[str]]:
    net = road_network.of(found)
    return {} if net is None else {level: net.name[level] for level in of(found)}


def gaps(found: Computed, level: Level | None) -> Iterator[dict[str, Any]]:
    """Yield the open crossings as gaps, in the words of other gaps."""
    for place in reversed(LEVELS):
        for item in items_of(found, place, Wanted(level, status="open")):
            unmet = [need for need in item.pop("needs") if not need["met"]]
            first = unmet[0]
            near = first["nearest"] or {}
            told = feature(item)
            told["properties"] |= {
                "type": "crossing",
                "code": item["id"],
                "reason": first["reason"],
                "reasons": sorted({need["reason"] for need in unmet}),
                "missing": unmet,
                "nearest_code": near.get("code"),
                "nearest_distance_m": near.get("distance_m"),
                "fix": first["fix"],
            }
            yield told


def items_of(found: Computed, level: Level, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield the crossings of one ring that are asked for."""
    verdict = of(found).get(level)
    if verdict is None or wanted.level not in (None, level):
        return
    for row, status in enumerate(verdict.status.tolist()):
        guarded = bool(verdict.missing[row] == 0)
        if wanted.status in (None, STATUSES[status]) and wanted.guarded in (None, guarded):
            yield _item(found, level, row)


def feature(item: dict[str, Any]) -> dict[str, Any]:
    """Return a crossing as a GeoJSON Feature."""
    properties = {name: value for name, value in item.items() if name != "geometry"}
    return {
        "type": "Feature",
        "id": item["id"],
        "geometry": item["geometry"],
        "properties": properties,
    }


@dataclass(frozen=True, eq=False)
class _Details:
    """What the items of one ring are written from."""

    lonlat: list[list[float]]
    bearing_deg: list[float]
    units: list[list[int]]
    guards: dict[int, list[int]]
    """Devices that count, by unit."""
    points: dict[int, list[str]]
    same_place: list[list[str]]


def _details(found: Computed, level: Level) -> _Details:
    """Return the details of a ring's crossings, made once for each state."""

    def make(before: _Details | None) -> _Details:
        del before
        guarded = crossing_guards.of(found)
        assert guarded is not None  # noqa: S101  # there is a crossing
        return _detailed(found, guarded, level)

    return found.parts.get(f"crossings of {level}", make)


def _detailed(found: Computed, guarded: Guards, level: Level) -> _Details:
    net, place = guarded.net, guarded.net.levels.index(level)
    of_ring = net.crossed[level]
    lonlat = net.frame.to_lonlat(of_ring.xy)
    passages, (passage, _) = guarded.passages, guarded.passage_units
    mine = np.flatnonzero(passages.level == place)
    away = np.hypot(*(passages.xy[mine] - of_ring.xy[passages.crossing[mine]]).T)
    order = np.lexsort((away, passages.crossing[mine]))
    _, first = np.unique(passages.crossing[mine][order], return_index=True)
    bearing = passages.inward_deg[mine[order[first]]] + net.frame.convergence_deg(lonlat)
    units: list[list[int]] = [[] for _ in range(len(of_ring))]
    for unit in np.flatnonzero(passages.level[passage] == place).tolist():
        units[passages.crossing[passage[unit]]].append(unit)
    counting: dict[int, list[int]] = {}
    for unit, device in zip(*(column.tolist() for column in guarded.guarding), strict=True):
        counting.setdefault(unit, []).append(device)
    points: dict[int, list[str]] = {}
    for row in np.flatnonzero(guarded.point_crossing[level] >= 0).tolist():
        crossing = int(guarded.point_crossing[level][row])
        points.setdefault(crossing, []).append(found.points.code[row])
    return _Details(
        lonlat.round(7).tolist(), (bearing % 360).round(1).tolist(), units, counting, points,
        _same_place(guarded, level),
    )  # fmt: skip


def _same_place(guarded: Guards, level: Level) -> list[list[str]]:
    """Return for each crossing those of other rings by the same road in the same place."""
    net = guarded.net
    told: list[list[str]] = [[] for _ in range(len(net.crossed[level]))]
    for other in net.levels:
        mine, theirs = net.crossed[level], net.crossed[other]
        if other == level or not len(mine) or not len(theirs):
            continue
        stacked = [np.column_stack([one.xy, one.group * (4 * MERGE_M)]) for one in (mine, theirs)]
        away, at = cKDTree(stacked[1]).query(stacked[0], distance_upper_bound=MERGE_M)
        for row in np.flatnonzero(np.isfinite(away)).tolist():
            told[row].append(net.name[other][at[row]])
    return told


def _item(found: Computed, level: Level, row: int) -> dict[str, Any]:
    guarded = crossing_guards.of(found)
    assert guarded is not None  # noqa: S101  # there is a crossing
    net, verdict, details = guarded.net, of(found)[level], _details(found, level)
    of_ring = net.crossed[level]
    carries = int(of_ring.inbound[row]) * engine.INBOUND + int(of_ring.outbound[row]) * engine.OUTBOUND
    missing = int(verdict.missing[row])
    high, low = int(of_ring.highest[row]), int(of_ring.lowest[row])
    return {
        "id": net.name[level][row],
        "level": level,
        "status": STATUSES[verdict.status[row]],
        "guarded": missing == 0,
        "directions": [word for bit, word in _WORDS.items() if carries & bit],
        "missing_directions": [word for bit, word in _WORDS.items() if missing & bit],
        "road": _road(guarded, level, row),
        "grade": "bridge" if high > 0 else "tunnel" if low < 0 else "level",
        "passages": int((of_ring.crossing == row).sum()),
        "inbound_bearing_deg": details.bearing_deg[row],
        "needs": [
            _need(found, guarded, details, level, row, bit, word) for bit, word in _WORDS.items() if carries & bit
        ],
        "control_points": details.points.get(row, []),
        "same_place": details.same_place[row],
        "waiver": _waiver(found, int(verdict.waiver[row])),
        "geometry": {"type": "Point", "coordinates": details.lonlat[row]},
    }


def _road(guarded: Guards, level: Level, row: int) -> dict[str, Any]:
    net = guarded.net
    of_ring, roads = net.crossed[level], net.base.roads
    pieces = of_ring.piece[of_ring.crossing == row]
    rows = sorted(set(net.network.road[net.pieces.edge[pieces]].tolist()))
    road_class = min(net.network.road_class[net.pieces.edge[pieces]].tolist())
    named = {
        name: next((roads[name][road] for road in rows if roads[name][road]), None)
        for name in ("name_zh", "name_en", "road_number")
    }
    return {
        "group": str(net.base.label[of_ring.group[row]]),
        **named,
        "road_class": CLASSES[road_class],
        "codes": [roads["code"][road] for road in rows],
    }


def _need(
    found: Computed, guarded: Guards, details: _Details, level: Level, row: int, bit: int, word: str
) -> dict[str, Any]:
    """Return one direction of a crossing: of its passages, the one that is guarded least."""
    assessment = guarded.assessment
    units = [unit for unit in details.units[row] if guarded.passage_units[1][unit] == bit]
    worst = min(units, key=lambda unit: int(guarded.count[unit]))
    met = bool(guarded.met[worst])
    reason = None if met else engine.REASONS[assessment.primary[worst]]
    devices = sorted({device for unit in units for device in details.guards.get(unit, ())})
    counted = assessment.reason_count[worst]
    return {
        "function": "vehicle",
        "direction": word,
        "met": met,
        "working": int(guarded.count[worst]),
        "backed_up": all(bool(guarded.backed_up[unit]) for unit in units),
        "reason": reason,
        "reasons": {name: int(number) for name, number in zip(engine.REASONS, counted, strict=True) if number},
        "nearest": nearest(found.devices, assessment, worst),
        "fix": None if reason is None else FIXES[reason],
        "guards": [{"kind": found.devices.kind[device], "code": found.devices.code[device]} for device in devices],
    }


def _waiver(found: Computed, row: int) -> dict[str, Any] | None:
    if row < 0:
        return None
    table = found.loaded.waivers
    return {name: table[name][row] for name in ("reason", "expires_at", "waived_by", "crossing")}


def _beside_plan(found: Computed, level: Level) -> dict[str, Any]:
    """Return the crossings of a ring beside the control points that should stand at them."""
    guarded = crossing_guards.of(found)
    assert guarded is not None  # noqa: S101  # there is a ring with roads
    category, table = CATEGORY[level], found.loaded.points
    crossing = guarded.point_crossing[level]
    of_category = [row for row, word in enumerate(table["category"]) if word == category]
    taken = set(crossing[crossing >= 0].tolist())
    return {
        "level": level,
        "category": category,
        "planned": found.loaded.rules.plan.get(category, 0),
        "control_points": len(of_category),
        "crossings": len(guarded.net.crossed[level]),
        "control_points_without_crossing": [table["code"][row] for row in of_category if crossing[row] < 0],
        "crossings_without_control_point": [
            name for row, name in enumerate(guarded.net.name[level]) if row not in taken
        ],
    }
