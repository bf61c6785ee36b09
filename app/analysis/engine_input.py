"""From database columns to the coverage engine's tables, and the engine run: no I/O here.

Everything in this module may run in a worker thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from app.analysis.coverage.buildings import sight_of
from app.analysis.queries import Columns
from app.analysis.snapshot import Loaded, Parts
from app.geo.coverage import assessment as engine
from app.geo.projection.local_projection import Frame, frame, frame_for
from app.geo.visibility.field_of_view import near_blind_m, opening_from_lens
from app.models.vocabulary import FUNCTIONS

Lanes = tuple[tuple[str | None, int], ...]
"""Camera and direction bits of each lane."""
DIRECTION_BITS: Final = {"": 0, "none": 0, "inbound": 1, "outbound": 2, "both": 3}
_NEVER_M: Final = 1e6
"""Blind zone of a camera that never looks down to its target."""
_BIT_OF: Final = {function: 1 << place for place, function in enumerate(FUNCTIONS)}
_LENGTHS: Final = ("search_m", "assumed_range_m", "assigned_range_m", "assumed_opening_deg")


@dataclass(frozen=True)
class Computed:
    """One state of a jurisdiction and what follows from it."""

    loaded: Loaded
    points: engine.PointTable
    devices: engine.DeviceTable
    assessment: engine.Assessment
    parameters: engine.Parameters
    frame: Frame | None
    holds_until: datetime | None
    """When the next device goes stale or the next waiver ends: a change without a write."""
    parts: Parts = field(default_factory=Parts, repr=False, compare=False)


def compute(loaded: Loaded, before: Computed | None = None) -> Computed:
    """Run the coverage engine over one state, from what followed from the state before."""
    parts = Parts(None if before is None else before.parts)
    until = _holds_until(loaded)
    if before is not None and _only_states_differ(loaded, before.loaded):
        again = _restated(loaded, before)
        return Computed(
            loaded, before.points, again.devices, again, before.parameters, before.frame, until,
            parts,
        )  # fmt: skip
    points = before.points if before and _same_points(loaded, before.loaded) else _points(loaded)
    devices = _devices(loaded, points.code)
    metric = _frame(loaded)
    parameters = engine.Parameters(**_lengths(loaded.rules.parameters))
    sight = None if metric is None else sight_of(loaded, metric, parts)
    assessment = engine.assess(
        points, devices, parameters, metric or frame(4547), sight=sight,
        before=None if before is None else before.assessment,
    )  # fmt: skip
    return Computed(loaded, points, devices, assessment, parameters, metric, until, parts)


def _same_points(loaded: Loaded, before: Loaded) -> bool:
    return loaded.points is before.points and loaded.rules.requirements == before.rules.requirements


def _only_states_differ(loaded: Loaded, before: Loaded) -> bool:
    rules, earlier = loaded.rules, before.rules
    return (
        loaded.points is before.points
        and loaded.cameras is before.cameras
        and loaded.checkpoints is before.checkpoints
        and loaded.buildings is before.buildings
        and (rules.requirements, rules.parameters, rules.metric_epsg)
        == (earlier.requirements, earlier.parameters, earlier.metric_epsg)
    )


def _restated(loaded: Loaded, before: Computed) -> engine.Assessment:
    state, stale = _said(loaded)
    old = before.assessment.devices
    if np.array_equal(state, old.state) and np.array_equal(stale, old.stale):
        return before.assessment
    return before.assessment.restated(old.lifecycle, state, stale)


def _lengths(parameters: dict[str, float]) -> dict[str, Any]:
    return {name: float(parameters[name]) for name in _LENGTHS if name in parameters}


def _frame(loaded: Loaded) -> Frame | None:
    if loaded.rules.metric_epsg is not None:
        return frame(loaded.rules.metric_epsg)
    lon, lat = loaded.points["lon"], loaded.points["lat"]
    if not lon:
        return None
    return frame_for(float(np.median(lon)), float(np.median(lat)))


def _points(loaded: Loaded) -> engine.PointTable:
    table = loaded.points
    of_category = {name: _needs(rows) for name, rows in loaded.rules.requirements.items()}
    needs = [
        of_category.get(category, ()) if own is None else _needs(orjson.loads(own))
        for category, own in zip(table["category"], table["requirements"], strict=True)
    ]
    areas = enumerate(table["area"])
    shapes = {row: shapely.from_wkb(wkb) for row, wkb in areas if wkb is not None}
    lonlat = pairs(table["lon"], table["lat"])
    return engine.PointTable(code=table["code"], lonlat=lonlat, shape=shapes, needs=needs)


def _needs(requirements: Sequence[dict[str, Any]]) -> tuple[engine.Need, ...]:
    return tuple(
        engine.Need(found["function"], direction, found.get("working", 1), found.get("min_px_per_m"))
        for found in requirements
        for direction in (found.get("directions") or [None])
    )


def pairs(lon: Sequence[float], lat: Sequence[float]) -> NDArray[np.float64]:
    """Return longitudes and latitudes side by side, shape (n, 2)."""
    return np.column_stack([np.asarray(lon, np.float64), np.asarray(lat, np.float64)]).reshape(-1, 2)


def numbers(column: Sequence[float | None]) -> NDArray[np.float64]:
    """Return a column of numbers, NaN where nothing is stated."""
    return np.array(column, dtype=np.float64)


def _devices(loaded: Loaded, point_codes: Sequence[str]) -> engine.DeviceTable:
    cameras, checkpoints = loaded.cameras, loaded.checkpoints
    n, m = len(cameras["code"]), len(checkpoints["code"])
    row_of_point = {code: row for row, code in enumerate(point_codes)}
    row_of_checkpoint = loaded.checkpoint_states.row_of
    lanes = [_lanes(text) for text in checkpoints["lanes"]]
    installation = [
        -1 if code is None else row_of_checkpoint.get(code, -1 - n) + n for code in cameras["checkpoint"]
    ] + [-1] * m
    nothing = np.full(m, np.nan)
    state, stale = _said(loaded)
    return engine.DeviceTable(
        kind=["camera"] * n + ["checkpoint"] * m,
        code=[*cameras["code"], *checkpoints["code"]],
        lonlat=pairs([*cameras["lon"], *checkpoints["lon"]], [*cameras["lat"], *checkpoints["lat"]]),
        functions=np.array([*cameras["functions"], *(_BIT_OF[kind] for kind in checkpoints["kind"])], np.uint8),
        directions=_directions(cameras, lanes, installation, n),
        lifecycle=np.where(
            np.array([*cameras["in_use"], *checkpoints["in_use"]], bool),
            engine.IN_USE,
            engine.NOT_IN_USE,
        ).astype(np.uint8),
        state=state,
        stale=stale,
        azimuth_deg=np.concatenate([azimuths(cameras), nothing]),
        opening_deg=np.concatenate([openings(cameras), nothing]),
        range_m=np.concatenate([ranges(cameras), nothing]),
        near_m=np.concatenate([nears(cameras), nothing]),
        h_pixels=np.concatenate([pixels(cameras), nothing]),
        assigned=np.array(
            [row_of_point.get(code, -1) for code in (*cameras["control_point"], *checkpoints["control_point"])],
            np.int64,
        ),
        installation=np.array(installation, np.int64),
        group=_groups(cameras, checkpoints, installation),
    )


def _directions(cameras: Columns, lanes: Sequence[Lanes], installation: Sequence[int], n: int) -> NDArray[np.uint8]:
    """Return direction bits: stated, or those of the lanes of the checkpoint a camera is part of."""
    of_checkpoint = [_lane_bits(of) for of in lanes]
    bits = np.array([DIRECTION_BITS[word] for word in cameras["direction"]], np.uint8)
    for row, word in enumerate(cameras["direction"]):
        if word == "" and installation[row] >= 0:
            place = installation[row] - n
            own = [lane for lane in lanes[place] if lane[0] == cameras["code"][row]]
            bits[row] = _lane_bits(own) if own else of_checkpoint[place]
    return np.concatenate([bits, np.array(of_checkpoint, np.uint8)])


@lru_cache(maxsize=65_536)
def _lanes(text: str) -> Lanes:
    """Return camera and direction bits of the lanes of a checkpoint; few change between states."""
    lanes = orjson.loads(text)
    return tuple((lane.get("camera"), DIRECTION_BITS[lane["direction"]]) for lane in lanes)


def _lane_bits(lanes: Sequence[tuple[str | None, int]]) -> int:
    bits = 0
    for _, served in lanes:
        bits |= served
    return bits


def azimuths(cameras: Columns) -> NDArray[np.float64]:
    """Return stated azimuths, none for a camera that states how far it reaches all round."""
    return np.where(np.isnan(numbers(cameras["reach_m"])), numbers(cameras["azimuth_deg"]), np.nan)


def ranges(cameras: Columns) -> NDArray[np.float64]:
    """Return stated ranges, the reach of a camera that states one."""
    reach = numbers(cameras["reach_m"])
    return np.where(np.isnan(reach), numbers(cameras["range_m"]), reach)


def pixels(cameras: Columns) -> NDArray[np.float64]:
    """Return pixels across, unknown for a camera that reaches all round: it zooms."""
    reach = numbers(cameras["reach_m"])
    return np.where(np.isnan(reach), numbers(cameras["horizontal_pixels"]), np.nan)


def openings(cameras: Columns) -> NDArray[np.float64]:
    """Return stated openings, and where there is none but a lens, the lens's."""
    focal, sensor = numbers(cameras["focal_mm"]), numbers(cameras["sensor_width_mm"])
    known = ~np.isnan(focal + sensor)
    return _or_else(numbers(cameras["opening_deg"]), known, opening_from_lens, sensor, focal)


def nears(cameras: Columns) -> NDArray[np.float64]:
    """Return stated blind zones, and where height, tilt and vertical opening are known, theirs."""
    height, down = numbers(cameras["mount_height_m"]), -numbers(cameras["tilt_deg"])
    vertical = numbers(cameras["vertical_opening_deg"])
    known = ~np.isnan(height + down + vertical)
    near = _or_else(numbers(cameras["near_m"]), known, near_blind_m, height, down, vertical)
    return np.minimum(near, _NEVER_M)


def _or_else(
    stated: NDArray[np.float64],
    known: NDArray[np.bool_],
    derive: Callable[..., NDArray[np.float64]],
    *arguments: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the stated values, derived ones where nothing is stated but all arguments are known."""
    rows = np.isnan(stated) & known
    if rows.any():
        stated[rows] = derive(*(argument[rows] for argument in arguments))
    return stated


def _said(loaded: Loaded) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return state and staleness of all devices; what is too old to be believed reads as unknown."""
    parts = (loaded.camera_states, loaded.checkpoint_states)
    state = np.concatenate([part.state for part in parts])
    reported = np.concatenate([part.reported for part in parts])
    stale = ~(reported >= loaded.oldest)
    return np.where(stale, np.uint8(engine.UNKNOWN), state), stale


def _holds_until(loaded: Loaded) -> datetime | None:
    parts = (loaded.camera_states, loaded.checkpoint_states)
    reported = np.concatenate([part.reported for part in parts])
    fresh = reported[reported >= loaded.oldest]
    ends = [moment for moment in loaded.waivers.get("expires_at", ()) if moment >= loaded.at]
    if len(fresh):
        silent = float(fresh.min()) + loaded.rules.stale_after_s
        ends.append(datetime.fromtimestamp(silent, UTC))
    return min(ends, default=None)


def _groups(cameras: Columns, checkpoints: Columns, installation: Sequence[int]) -> NDArray[np.int64]:
    """Return failure groups: the stated one, else the checkpoint's, else the device alone."""
    n = len(cameras["code"])
    names = [
        f"g:{group}" if group else f"k:{code}"
        for group, code in zip(checkpoints["failure_group"], checkpoints["code"], strict=True)
    ]
    of_camera = []
    for row, group in enumerate(cameras["failure_group"]):
        if group:
            of_camera.append(f"g:{group}")
        elif installation[row] >= 0:
            of_camera.append(names[installation[row] - n])
        else:
            of_camera.append(f"c:{cameras['code'][row]}")
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*of_camera, *names]))}
    return np.array([numbers[name] for name in (*of_camera, *names)], np.int64)
