"""Tables of the coverage engine, built from the columns of a snapshot. No I/O."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from app.analysis.queries import Columns
from app.analysis.snapshot import Snapshot
from app.geo.arrays import Bools, Floats, Ints
from app.geo.coverage import assessment as engine
from app.geo.projection.local_projection import LocalProjection, choose_projection, get_projection
from app.geo.visibility.field_of_view import near_blind_m, opening_from_lens
from app.models.vocabulary import FUNCTIONS

LaneDirections = tuple[tuple[str | None, int], ...]
"""Camera and direction bits of each lane."""
DIRECTION_BITS: Final = {"": 0, "none": 0, "inbound": 1, "outbound": 2, "both": 3}
_MAX_NEAR_M: Final = 1e6
"""Near limit of a camera whose picture never reaches the ground."""
_FUNCTION_BITS: Final = {function: 1 << index for index, function in enumerate(FUNCTIONS)}
_LENGTHS: Final = ("search_m", "assumed_range_m", "assigned_range_m", "assumed_opening_deg")


def build_parameters(snapshot: Snapshot) -> engine.Parameters:
    """Return the parameters of the engine: those of the jurisdiction, else the defaults."""
    parameters: dict[str, Any] = snapshot.rules.parameters
    lengths: dict[str, Any] = {name: float(parameters[name]) for name in _LENGTHS if name in parameters}
    return engine.Parameters(**lengths)


def find_projection(snapshot: Snapshot) -> LocalProjection | None:
    """Return the registered projection, else one for the middle of the control points, None without any."""
    if snapshot.rules.metric_epsg is not None:
        return get_projection(snapshot.rules.metric_epsg)
    lon, lat = snapshot.points["lon"], snapshot.points["lat"]
    if not lon:
        return None
    return choose_projection(float(np.median(lon)), float(np.median(lat)))


def build_point_table(snapshot: Snapshot) -> engine.PointTable:
    """Return the control points with their needs: from their own requirements, else from their category."""
    table = snapshot.points
    by_category = {name: _expand_needs(rows) for name, rows in snapshot.rules.requirements.items()}
    needs = [
        by_category.get(category, ()) if own is None else _expand_needs(orjson.loads(own))
        for category, own in zip(table["category"], table["requirements"], strict=True)
    ]
    polygons = {row: shapely.from_wkb(wkb) for row, wkb in enumerate(table["area"]) if wkb is not None}
    lonlat = to_lonlat_array(table["lon"], table["lat"])
    return engine.PointTable(code=table["code"], lonlat=lonlat, shape=polygons, needs=needs)


def _expand_needs(requirements: Sequence[dict[str, Any]]) -> tuple[engine.Need, ...]:
    return tuple(
        engine.Need(requirement["function"], direction, requirement.get("working", 1), requirement.get("min_px_per_m"))
        for requirement in requirements
        for direction in (requirement.get("directions") or [None])
    )


def to_lonlat_array(lon: Sequence[float], lat: Sequence[float]) -> Floats:
    """Return longitudes and latitudes as an array of shape (n, 2)."""
    return np.column_stack([np.asarray(lon, np.float64), np.asarray(lat, np.float64)]).reshape(-1, 2)


def to_float_array(column: Sequence[float | None]) -> Floats:
    """Return a column of numbers, NaN for None."""
    return np.array(column, dtype=np.float64)


def build_device_table(snapshot: Snapshot, point_codes: Sequence[str]) -> engine.DeviceTable:
    """Return the devices: all cameras, then all checkpoints."""
    cameras, checkpoints = snapshot.cameras, snapshot.checkpoints
    camera_count, checkpoint_count = len(cameras["code"]), len(checkpoints["code"])
    row_of_point = {code: row for row, code in enumerate(point_codes)}
    installation = find_installations(snapshot)
    lanes = [_parse_lanes(text) for text in checkpoints["lanes"]]
    # Checkpoints register no optics.
    no_optics = np.full(checkpoint_count, np.nan)
    state, stale = build_states(snapshot)
    return engine.DeviceTable(
        kind=["camera"] * camera_count + ["checkpoint"] * checkpoint_count,
        code=[*cameras["code"], *checkpoints["code"]],
        lonlat=to_lonlat_array([*cameras["lon"], *checkpoints["lon"]], [*cameras["lat"], *checkpoints["lat"]]),
        functions=np.array([*cameras["functions"], *(_FUNCTION_BITS[kind] for kind in checkpoints["kind"])], np.uint8),
        directions=build_directions(cameras, lanes, installation),
        lifecycle=np.where(
            np.array([*cameras["in_use"], *checkpoints["in_use"]], bool), engine.IN_USE, engine.NOT_IN_USE
        ).astype(np.uint8),
        state=state,
        stale=stale,
        azimuth_deg=np.concatenate([compute_azimuths(cameras), no_optics]),
        opening_deg=np.concatenate([compute_openings(cameras), no_optics]),
        range_m=np.concatenate([compute_ranges(cameras), no_optics]),
        near_m=np.concatenate([compute_near_limits(cameras), no_optics]),
        h_pixels=np.concatenate([compute_pixels(cameras), no_optics]),
        assigned=np.array(
            [row_of_point.get(code, -1) for code in (*cameras["control_point"], *checkpoints["control_point"])],
            np.int64,
        ),
        installation=np.array(installation, np.int64),
        group=number_failure_groups(cameras, checkpoints, installation),
    )


def find_installations(snapshot: Snapshot) -> list[int]:
    """Return the row of the checkpoint that each device is a part of, -1 if none."""
    camera_count = len(snapshot.cameras["code"])
    row_of = snapshot.checkpoint_states.row_of
    of_cameras = [row_of[code] + camera_count if code in row_of else -1 for code in snapshot.cameras["checkpoint"]]
    return of_cameras + [-1] * len(snapshot.checkpoints["code"])


def build_directions(
    cameras: Columns, lanes: Sequence[LaneDirections], installation: Sequence[int]
) -> NDArray[np.uint8]:
    """Return direction bits: as registered, else those of the camera's lanes at its checkpoint."""
    camera_count = len(cameras["code"])
    of_checkpoint = [_combine_bits(directions) for directions in lanes]
    bits = np.array([DIRECTION_BITS[direction] for direction in cameras["direction"]], np.uint8)
    for row, direction in enumerate(cameras["direction"]):
        if direction == "" and installation[row] >= 0:
            checkpoint = installation[row] - camera_count
            own_lanes = [lane for lane in lanes[checkpoint] if lane[0] == cameras["code"][row]]
            bits[row] = _combine_bits(own_lanes) if own_lanes else of_checkpoint[checkpoint]
    return np.concatenate([bits, np.array(of_checkpoint, np.uint8)])


@lru_cache(maxsize=65_536)
def _parse_lanes(text: str) -> LaneDirections:
    # Cached: few lanes change between two snapshots.
    return tuple((lane.get("camera"), DIRECTION_BITS[lane["direction"]]) for lane in orjson.loads(text))


def _combine_bits(lanes: Sequence[tuple[str | None, int]]) -> int:
    bits = 0
    for _, directions in lanes:
        bits |= directions
    return bits


def compute_azimuths(cameras: Columns) -> Floats:
    """Return registered azimuths, NaN for a camera that looks all round."""
    return np.where(np.isnan(to_float_array(cameras["reach_m"])), to_float_array(cameras["azimuth_deg"]), np.nan)


def compute_ranges(cameras: Columns) -> Floats:
    """Return registered ranges; the reach of a camera that looks all round."""
    reach = to_float_array(cameras["reach_m"])
    return np.where(np.isnan(reach), to_float_array(cameras["range_m"]), reach)


def compute_pixels(cameras: Columns) -> Floats:
    """Return the horizontal pixels, NaN for a camera that looks all round, because it zooms."""
    reach = to_float_array(cameras["reach_m"])
    return np.where(np.isnan(reach), to_float_array(cameras["horizontal_pixels"]), np.nan)


def compute_openings(cameras: Columns) -> Floats:
    """Return registered openings, else those that follow from the lens, in degrees."""
    focal, sensor = to_float_array(cameras["focal_mm"]), to_float_array(cameras["sensor_width_mm"])
    has_lens = ~np.isnan(focal + sensor)
    return _fill_missing(to_float_array(cameras["opening_deg"]), has_lens, opening_from_lens, sensor, focal)


def compute_near_limits(cameras: Columns) -> Floats:
    """Return registered near limits, else those that follow from height, tilt and vertical opening, in metres."""
    height, down = to_float_array(cameras["mount_height_m"]), -to_float_array(cameras["tilt_deg"])
    vertical = to_float_array(cameras["vertical_opening_deg"])
    has_mounting = ~np.isnan(height + down + vertical)
    near_m = _fill_missing(to_float_array(cameras["near_m"]), has_mounting, near_blind_m, height, down, vertical)
    return np.minimum(near_m, _MAX_NEAR_M)


def _fill_missing(registered: Floats, derivable: Bools, derive: Callable[..., Floats], *arguments: Floats) -> Floats:
    rows = np.isnan(registered) & derivable
    if rows.any():
        registered[rows] = derive(*(argument[rows] for argument in arguments))
    return registered


def build_states(snapshot: Snapshot) -> tuple[NDArray[np.uint8], Bools]:
    """Return state and staleness of all devices; the state of a stale device is unknown."""
    states = (snapshot.camera_states, snapshot.checkpoint_states)
    state = np.concatenate([of_kind.state for of_kind in states])
    reported = np.concatenate([of_kind.reported for of_kind in states])
    stale = ~(reported >= snapshot.oldest_report)
    return np.where(stale, np.uint8(engine.UNKNOWN), state), stale


def number_failure_groups(cameras: Columns, checkpoints: Columns, installation: Sequence[int]) -> Ints:
    """Return numbers of failure groups: as registered, else that of the checkpoint, else one for the device."""
    camera_count = len(cameras["code"])
    of_checkpoints = [
        f"g:{group}" if group else f"k:{code}"
        for group, code in zip(checkpoints["failure_group"], checkpoints["code"], strict=True)
    ]
    of_cameras = []
    for row, group in enumerate(cameras["failure_group"]):
        if group:
            of_cameras.append(f"g:{group}")
        elif installation[row] >= 0:
            of_cameras.append(of_checkpoints[installation[row] - camera_count])
        else:
            of_cameras.append(f"c:{cameras['code'][row]}")
    names = [*of_cameras, *of_checkpoints]
    number_of = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([number_of[name] for name in names], np.int64)
