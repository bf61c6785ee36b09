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
    location: tuple[float, float] = (0.0, 0.0)
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
    location: tuple[float, float]
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
    checkpoints = {device.code: row for row, device in enumerate(devices) if device.kind == "checkpoint"}
    bits = {"inbound": 1, "outbound": 2}
    return (
        PointTable(
            [point.code for point in points],
            np.array([point.location for point in points], float).reshape(-1, 2),
            {},
            [point.needs for point in points],
        ),
        DeviceTable(
            kind=[device.kind for device in devices],
            code=[device.code for device in devices],
            lonlat=np.array([device.location for device in devices], float).reshape(-1, 2),
            functions=np.array([sum(FUNCTION_BITS[name] for name in device.functions) for device in devices], np.uint8),
            directions=np.array([sum(bits[name] for name in device.directions) for device in devices], np.uint8),
            lifecycle=np.array([IN_USE if device.in_use else NOT_IN_USE for device in devices], np.uint8),
            state=np.array([STATE_CODES[device.state] for device in devices], np.uint8),
            stale=np.array([device.stale for device in devices], bool),
            azimuth_deg=np.array([device.azimuth for device in devices], float),
            opening_deg=np.array([device.opening for device in devices], float),
            range_m=np.array([device.range_m for device in devices], float),
            near_m=np.array([device.near_m for device in devices], float),
            h_pixels=np.array([device.pixels for device in devices], float),
            assigned=np.array([rows.get(device.assigned or "", -1) for device in devices], np.int64),
            installation=np.array([checkpoints.get(device.part_of or "", -1) for device in devices], np.int64),
            group=np.array([device.group for device in devices], np.int64),
        ),
    )


def units(point: Point, devices: list[Device], p: Parameters, projection: LocalProjection) -> list[Unit]:
    """Return what the rules say of each need of one control point."""
    return [_unit(point, need, devices, p, projection) for need in point.needs]


def status(of: list[Unit]) -> str:
    """Return the status of a control point from its units."""
    if not of:
        return "covered"
    if all(unit.backed_up for unit in of):
        return "backed_up"
    if all(unit.met for unit in of):
        return "covered"
    return "partial" if any(unit.met for unit in of) else "uncovered"


def _unit(point: Point, need: Need, devices: list[Device], p: Parameters, projection: LocalProjection) -> Unit:
    seen = {}
    margin = math.inf
    for device in devices:
        fails, candidate, distance, closeness = _tests(point, need, device, p, projection)
        margin = min(margin, closeness)
        seen[device.code] = (device, fails, candidate, distance)
    candidates = {code: row for code, row in seen.items() if row[2]}
    qualified = [row[0] for row in candidates.values() if not row[1]]
    counting = _counting(qualified)
    met = len(counting) >= need.working
    groups = {_group(device) for device in counting}
    backed = met and all(
        len(_counting([device for device in qualified if _group(device) != group])) >= need.working for group in groups
    )
    codes = {device.code for device in counting}
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


def _counting(qualified: list[Device]) -> list[Device]:
    represented = {device.part_of for device in qualified if device.kind == "camera"}
    return [device for device in qualified if device.kind == "camera" or device.code not in represented]


def _group(device: Device) -> object:
    return device.group if device.group >= 0 else device.code


def _tests(
    point: Point, need: Need, device: Device, p: Parameters, projection: LocalProjection
) -> tuple[list[str], bool, float, float]:
    """Return what a device lacks, whether it is a candidate, its distance, and the margin."""
    (px, py), (dx, dy) = projection.to_metres([point.location, device.location]).tolist()
    distance = math.hypot(px - dx, py - dy)
    assigned = device.assigned == point.code
    needed = need.min_px_per_m or p.density[need.function]

    optics = device.kind == "camera"
    azimuth = device.azimuth if optics else math.nan
    opening = device.opening if optics else math.nan
    if math.isnan(opening) and not math.isnan(azimuth):
        opening = p.assumed_opening_deg
    all_round = math.isnan(azimuth) or opening == 360
    stated = device.range_m if optics else math.nan
    per_metre = math.nan
    if optics and not math.isnan(device.pixels) and not math.isnan(opening):
        if opening < 120:
            per_metre = device.pixels / (2 * math.tan(math.radians(opening / 2)))
        else:
            per_metre = device.pixels / math.radians(opening)
    if not math.isnan(stated):
        reach = stated
    elif not math.isnan(per_metre) and needed is not None:
        reach = per_metre / needed
    elif assigned:
        reach, all_round = p.assigned_range_m, True
    else:
        reach = p.assumed_range_m
    blind = device.near_m if optics and not math.isnan(device.near_m) else 0.0

    margin = min(abs(distance - edge) / max(edge, 1.0) for edge in (reach, blind, p.search_m, 1.0))
    in_sector = True
    if not all_round:
        convergence = float(projection.convergence_deg([device.location])[0])
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
    able = need.function in device.functions
    fails = {
        "not_in_use": not device.in_use,
        "offline": device.state in ("offline", "fault"),
        "stale": device.stale or device.state == "unknown",
        "wrong_function": not able,
        "wrong_direction": need.direction is not None and need.direction not in device.directions,
        "too_far": too_far,
        "out_of_view": out_of_view,
        "too_coarse": too_coarse,
    }
    candidate = assigned or not (too_far or out_of_view) or (able and distance <= p.search_m)
    return [name for name in ORDER if fails[name]], candidate, distance, margin
