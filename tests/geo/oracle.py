"""The coverage rules once more, one device at a time, in plain Python: slow and easy to read.

Shares no line with `app.geo.coverage.assessment`; only point sites, which is where all rules meet. Devices
refer to each other and to points by code, so that their order cannot matter.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from app.geo.coverage.assessment import (
    FUNCTION_BITS,
    IN_USE,
    NOT_IN_USE,
    STATE_CODES,
    DeviceTable,
    Need,
    Parameters,
    PointTable,
)
from app.geo.projection.local_projection import LocalProjection

ORDER = [
    "not_in_use",
    "offline",
    "stale",
    "wrong_function",
    "wrong_direction",
    "too_far",
    "out_of_view",
    "too_coarse",
]


@dataclass(frozen=True)
class Device:
    """One device as a person would describe it; NaN: not given."""

    code: str = "D"
    at: tuple[float, float] = (0.0, 0.0)
    """Longitude and latitude."""
    kind: str = "camera"
    functions: frozenset[str] = frozenset({"face"})
    directions: frozenset[str] = frozenset()
    in_use: bool = True
    state: str = "online"
    stale: bool = False
    azimuth: float = math.nan
    opening: float = math.nan
    range_m: float = math.nan
    near_m: float = math.nan
    pixels: float = math.nan
    assigned: str | None = None
    part_of: str | None = None
    group: int = -1


@dataclass(frozen=True)
class Point:
    """One control point."""

    code: str
    at: tuple[float, float]
    needs: tuple[Need, ...]


@dataclass
class Unit:
    """What the rules say of one need."""

    met: bool
    backed_up: bool
    count: int
    groups: int
    primary: str | None
    best: str | None
    reasons: dict[str, tuple[str, ...]] = field(default_factory=dict)
    margin: float = math.inf
    """How near the closest decision was, relative to what it was about."""


def tables(points: list[Point], devices: list[Device]) -> tuple[PointTable, DeviceTable]:
    """Return the same world as column tables."""
    rows = {point.code: row for row, point in enumerate(points)}
    checkpoints = {one.code: row for row, one in enumerate(devices) if one.kind == "checkpoint"}
    bits = {"inbound": 1, "outbound": 2}
    return (
        PointTable(
            [point.code for point in points],
            np.array([point.at for point in points], float).reshape(-1, 2),
            {},
            [point.needs for point in points],
        ),
        DeviceTable(
            kind=[one.kind for one in devices],
            code=[one.code for one in devices],
            lonlat=np.array([one.at for one in devices], float).reshape(-1, 2),
            functions=np.array([sum(FUNCTION_BITS[name] for name in one.functions) for one in devices], np.uint8),
            directions=np.array([sum(bits[name] for name in one.directions) for one in devices], np.uint8),
            lifecycle=np.array([IN_USE if one.in_use else NOT_IN_USE for one in devices], np.uint8),
            state=np.array([STATE_CODES[one.state] for one in devices], np.uint8),
            stale=np.array([one.stale for one in devices], bool),
            azimuth_deg=np.array([one.azimuth for one in devices], float),
            opening_deg=np.array([one.opening for one in devices], float),
            range_m=np.array([one.range_m for one in devices], float),
            near_m=np.array([one.near_m for one in devices], float),
            h_pixels=np.array([one.pixels for one in devices], float),
            assigned=np.array([rows.get(one.assigned or "", -1) for one in devices], np.int64),
            installation=np.array([checkpoints.get(one.part_of or "", -1) for one in devices], np.int64),
            group=np.array([one.group for one in devices], np.int64),
        ),
    )


def units(point: Point, devices: list[Device], p: Parameters, frame: LocalProjection) -> list[Unit]:
    """Return what the rules say of each need of one control point."""
    return [_unit(point, need, devices, p, frame) for need in point.needs]


def status(of: list[Unit]) -> str:
    """Return the status of a control point from its units."""
    if not of:
        return "covered"
    if all(unit.backed_up for unit in of):
        return "backed_up"
    if all(unit.met for unit in of):
        return "covered"
    return "partial" if any(unit.met for unit in of) else "uncovered"


def _unit(point: Point, need: Need, devices: list[Device], p: Parameters, frame: LocalProjection) -> Unit:
    seen = {}
    margin = math.inf
    for one in devices:
        fails, candidate, distance, near = _tests(point, need, one, p, frame)
        margin = min(margin, near)
        seen[one.code] = (one, fails, candidate, distance)
    candidates = {code: row for code, row in seen.items() if row[2]}
    passing = [row[0] for row in candidates.values() if not row[1]]
    counting = _counting(passing)
    met = len(counting) >= need.working
    groups = {_group(one) for one in counting}
    backed = met and all(
        len(_counting([one for one in passing if _group(one) != group])) >= need.working for group in groups
    )
    codes = {one.code for one in counting}
    eligible = [row for row in candidates.values() if (row[0].code in codes if met else bool(row[1]))]
    primary = best = None
    if eligible:
        top = min(
            eligible,
            key=lambda row: (len(row[1]), row[0].assigned != point.code, row[3], row[0].code),
        )
        best = top[0].code
        primary = None if met else top[1][0]
    elif not met:
        primary = "none"
        others = [row for code, row in seen.items() if code not in candidates and need.function in row[0].functions]
        if others:
            best = min(others, key=lambda row: (row[3], row[0].code))[0].code
    reasons = {code: tuple(row[1]) for code, row in candidates.items()}
    return Unit(met, backed, len(counting), len(groups), primary, best, reasons, margin)


def _counting(passing: list[Device]) -> list[Device]:
    represented = {one.part_of for one in passing if one.kind == "camera"}
    return [one for one in passing if one.kind == "camera" or one.code not in represented]


def _group(one: Device) -> object:
    return one.group if one.group >= 0 else one.code


def _tests(
    point: Point, need: Need, one: Device, p: Parameters, frame: LocalProjection
) -> tuple[list[str], bool, float, float]:
    """Return what a device lacks, whether it is a candidate, its distance, and the margin."""
    (px, py), (dx, dy) = frame.to_metres([point.at, one.at]).tolist()
    distance = math.hypot(px - dx, py - dy)
    assigned = one.assigned == point.code
    needed = need.min_px_per_m or p.density[need.function]

    optics = one.kind == "camera"
    azimuth = one.azimuth if optics else math.nan
    opening = one.opening if optics else math.nan
    if math.isnan(opening) and not math.isnan(azimuth):
        opening = p.assumed_opening_deg
    all_round = math.isnan(azimuth) or opening == 360
    stated = one.range_m if optics else math.nan
    per_metre = math.nan
    if optics and not math.isnan(one.pixels) and not math.isnan(opening):
        if opening < 120:
            per_metre = one.pixels / (2 * math.tan(math.radians(opening / 2)))
        else:
            per_metre = one.pixels / math.radians(opening)
    if not math.isnan(stated):
        reach = stated
    elif not math.isnan(per_metre) and needed is not None:
        reach = per_metre / needed
    elif assigned:
        reach, all_round = p.assigned_range_m, True
    else:
        reach = p.assumed_range_m
    blind = one.near_m if optics and not math.isnan(one.near_m) else 0.0

    margin = min(abs(distance - edge) / max(edge, 1.0) for edge in (reach, blind, p.search_m, 1.0))
    in_sector = True
    if not all_round:
        convergence = float(frame.convergence_deg([one.at])[0])
        true = math.degrees(math.atan2(px - dx, py - dy)) + convergence
        off = abs((true - azimuth + 180) % 360 - 180)
        in_sector = off <= opening / 2 + 1e-9
        margin = min(margin, abs(off - opening / 2) / 180)

    too_far = out_of_view = too_coarse = False
    if distance >= 1.0:
        too_far = distance > reach
        out_of_view = not in_sector or distance < blind
        if not (too_far or out_of_view) and not math.isnan(stated) and needed is not None:
            density = per_metre / distance
            too_coarse = density < needed * (1 - 1e-12)
            if not math.isnan(density):
                margin = min(margin, abs(density - needed) / needed)
    able = need.function in one.functions
    fails = {
        "not_in_use": not one.in_use,
        "offline": one.state in ("offline", "fault"),
        "stale": one.stale or one.state == "unknown",
        "wrong_function": not able,
        "wrong_direction": need.direction is not None and need.direction not in one.directions,
        "too_far": too_far,
        "out_of_view": out_of_view,
        "too_coarse": too_coarse,
    }
    candidate = assigned or not (too_far or out_of_view) or (able and distance <= p.search_m)
    return [name for name in ORDER if fails[name]], candidate, distance, margin
