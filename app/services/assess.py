"""From database columns to the coverage engine's tables, and the engine run: no I/O here.

Everything in this module may run in a worker thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from app.geo import coverage as engine
from app.geo.frame import Frame, frame, frame_for
from app.geo.view import near_blind_m, opening_from_lens
from app.models.vocabulary import FUNCTIONS
from app.registry.coverage import Rules

Columns = Sequence[Sequence[Any]]

DIRECTION_BITS: Final = {"": 0, "none": 0, "inbound": 1, "outbound": 2, "both": 3}
_NEVER_M: Final = 1e6
"""Blind zone of a camera that never looks down to its target."""
_BIT_OF: Final = {function: 1 << place for place, function in enumerate(FUNCTIONS)}


@dataclass(frozen=True)
class Loaded:
    """One consistent state of a jurisdiction."""

    jurisdiction: str
    revision: int
    at: datetime
    rules: Rules
    points: Columns
    cameras: Columns
    checkpoints: Columns


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
    """When the next device goes stale, which changes the answer without a write."""


def compute(loaded: Loaded) -> Computed:
    """Run the coverage engine over one state."""
    points = _points(loaded)
    devices = _devices(loaded, points.code)
    metric = _frame(loaded)
    parameters = engine.Parameters(**_lengths(loaded.rules.parameters))
    assessment = engine.assess(points, devices, parameters, metric or frame(4547))
    return Computed(loaded, points, devices, assessment, parameters, metric, _holds_until(loaded))


def _lengths(parameters: dict[str, float]) -> dict[str, Any]:
    return {name: float(value) for name, value in parameters.items()}


def _frame(loaded: Loaded) -> Frame | None:
    if loaded.rules.metric_epsg is not None:
        return frame(loaded.rules.metric_epsg)
    lon, lat = loaded.points[5], loaded.points[6]
    if not lon:
        return None
    return frame_for(float(np.median(lon)), float(np.median(lat)))


def _points(loaded: Loaded) -> engine.PointTable:
    code, _, _, category, _, lon, lat, area, requirements = loaded.points
    of_category = {name: _needs(rows) for name, rows in loaded.rules.requirements.items()}
    needs = [
        of_category.get(category[row], ()) if own is None else _needs(orjson.loads(own))
        for row, own in enumerate(requirements)
    ]
    shapes = {row: shapely.from_wkb(wkb) for row, wkb in enumerate(area) if wkb is not None}
    return engine.PointTable(code=code, lonlat=_pairs(lon, lat), shape=shapes, needs=needs)


def _needs(requirements: Sequence[dict[str, Any]]) -> tuple[engine.Need, ...]:
    return tuple(
        engine.Need(
            found["function"], direction, found.get("working", 1), found.get("min_px_per_m")
        )
        for found in requirements
        for direction in (found.get("directions") or [None])
    )


def _pairs(lon: Sequence[float], lat: Sequence[float]) -> NDArray[np.float64]:
    return np.column_stack([np.asarray(lon, np.float64), np.asarray(lat, np.float64)]).reshape(
        -1, 2
    )


def _numbers(column: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(column, dtype=np.float64)


def _devices(loaded: Loaded, point_codes: Sequence[str]) -> engine.DeviceTable:
    cameras, checkpoints = loaded.cameras, loaded.checkpoints
    n, m = len(cameras[0]), len(checkpoints[0])
    row_of_point = {code: row for row, code in enumerate(point_codes)}
    row_of_checkpoint = {code: n + row for row, code in enumerate(checkpoints[0])}
    lanes = [orjson.loads(text) for text in checkpoints[4]]
    installation = [row_of_checkpoint.get(code, -1) for code in cameras[14]] + [-1] * m
    nothing = np.full(m, np.nan)
    stale = _stale(loaded, [*cameras[7], *checkpoints[7]])
    reported = [*cameras[6], *checkpoints[6]]
    states = np.array([engine.STATE_CODES[word or "unknown"] for word in reported], np.uint8)
    return engine.DeviceTable(
        kind=["camera"] * n + ["checkpoint"] * m,
        code=[*cameras[0], *checkpoints[0]],
        lonlat=_pairs([*cameras[1], *checkpoints[1]], [*cameras[2], *checkpoints[2]]),
        functions=np.array([*cameras[3], *(_BIT_OF[kind] for kind in checkpoints[3])], np.uint8),
        directions=_directions(cameras, lanes, installation, n),
        lifecycle=np.where(
            np.array([*cameras[5], *checkpoints[5]], bool), engine.IN_USE, engine.NOT_IN_USE
        ).astype(np.uint8),
        state=np.where(stale, np.uint8(engine.UNKNOWN), states),  # too old reads as unknown
        stale=stale,
        azimuth_deg=np.concatenate([_numbers(cameras[8]), nothing]),
        opening_deg=np.concatenate([_openings(cameras), nothing]),
        range_m=np.concatenate([_numbers(cameras[10]), nothing]),
        near_m=np.concatenate([_nears(cameras), nothing]),
        h_pixels=np.concatenate([_numbers(cameras[12]), nothing]),
        assigned=np.array(
            [row_of_point.get(code, -1) for code in (*cameras[13], *checkpoints[8])], np.int64
        ),
        installation=np.array(installation, np.int64),
        group=_groups(cameras, checkpoints, installation),
    )


def _directions(
    cameras: Columns, lanes: Sequence[list[dict[str, Any]]], installation: Sequence[int], n: int
) -> NDArray[np.uint8]:
    """Return direction bits: stated, or those of the lanes of the checkpoint a camera is part of."""
    of_checkpoint = [_lane_bits(of) for of in lanes]
    bits = np.array([DIRECTION_BITS[word] for word in cameras[4]], np.uint8)
    for row, word in enumerate(cameras[4]):
        if word == "" and installation[row] >= 0:
            place = installation[row] - n
            own = [lane for lane in lanes[place] if lane.get("camera") == cameras[0][row]]
            bits[row] = _lane_bits(own) if own else of_checkpoint[place]
    return np.concatenate([bits, np.array(of_checkpoint, np.uint8)])


def _lane_bits(lanes: Sequence[dict[str, Any]]) -> int:
    bits = 0
    for lane in lanes:
        bits |= DIRECTION_BITS[lane["direction"]]
    return bits


def _openings(cameras: Columns) -> NDArray[np.float64]:
    """Return stated openings, and where there is none but a lens, the lens's."""
    focal, sensor = _numbers(cameras[16]), _numbers(cameras[17])
    return _or_else(
        _numbers(cameras[9]), ~np.isnan(focal + sensor), opening_from_lens, sensor, focal
    )


def _nears(cameras: Columns) -> NDArray[np.float64]:
    """Return stated blind zones, and where height, tilt and vertical opening are known, theirs."""
    height, down, vertical = _numbers(cameras[18]), -_numbers(cameras[19]), _numbers(cameras[20])
    known = ~np.isnan(height + down + vertical)
    near = _or_else(_numbers(cameras[11]), known, near_blind_m, height, down, vertical)
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


def _stale(loaded: Loaded, reported: Sequence[datetime | None]) -> NDArray[np.bool_]:
    oldest = loaded.at - timedelta(seconds=loaded.rules.stale_after_s)
    return np.array([when is None or when < oldest for when in reported], bool)


def _holds_until(loaded: Loaded) -> datetime | None:
    oldest = loaded.at - timedelta(seconds=loaded.rules.stale_after_s)
    fresh = [
        when
        for column in (loaded.cameras[7], loaded.checkpoints[7])
        for when in column
        if when is not None and when >= oldest
    ]
    return min(fresh) + timedelta(seconds=loaded.rules.stale_after_s) if fresh else None


def _groups(
    cameras: Columns, checkpoints: Columns, installation: Sequence[int]
) -> NDArray[np.int64]:
    """Return failure groups: the stated one, else the checkpoint's, else the device alone."""
    n = len(cameras[0])
    names = [
        f"g:{group}" if group else f"k:{code}"
        for group, code in zip(checkpoints[9], checkpoints[0], strict=True)
    ]
    of_camera = []
    for row, group in enumerate(cameras[15]):
        if group:
            of_camera.append(f"g:{group}")
        elif installation[row] >= 0:
            of_camera.append(names[installation[row] - n])
        else:
            of_camera.append(f"c:{cameras[0][row]}")
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*of_camera, *names]))}
    return np.array([numbers[name] for name in (*of_camera, *names)], np.int64)
