"""The analysis of one snapshot: the assessment of its control points, and other results computed on demand.

No I/O; everything here may run in a worker thread.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from app.analysis import engine_input
from app.analysis.engine_input import to_float_array
from app.analysis.queries import Columns
from app.analysis.snapshot import Snapshot
from app.geo.arrays import Ints
from app.geo.coverage import assessment as engine
from app.geo.projection.local_projection import LocalProjection, get_projection
from app.geo.visibility.line_of_sight import LinesOfSight
from app.geo.visibility.obstacles import Obstacles, PreviousObstacles, compute_heights

T = TypeVar("T")
_DEFAULT_EPSG: Final = 4547
"""Any projection will do for a jurisdiction without control points."""


class DerivedResults:
    """Results that follow from one snapshot, each computed when it is needed first.

    A result may be computed from the same result of an earlier snapshot, so that only what changed is computed.
    """

    def __init__(self, earlier: "DerivedResults | None" = None) -> None:
        self._results: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}
        if earlier is not None:
            self._earlier = {**earlier._earlier, **earlier._results}
        self._locks: dict[str, threading.RLock] = {}

    def get_or_compute(self, name: str, compute: Callable[[T | None], T]) -> T:
        """Return a result; ``compute`` receives the result of the earlier snapshot, or None."""
        lock = self._locks.setdefault(name, threading.RLock())
        with lock:
            if name not in self._results:
                self._results[name] = compute(self._earlier.pop(name, None))
            result: T = self._results[name]
            return result


@dataclass(frozen=True)
class Analysis:
    """The results computed from one snapshot."""

    snapshot: Snapshot
    points: engine.PointTable
    devices: engine.DeviceTable
    assessment: engine.Assessment
    parameters: engine.Parameters
    projection: LocalProjection | None
    """None for a jurisdiction that states no CRS and has no control points."""
    valid_until: datetime | None
    """When the next device becomes stale or the next waiver ends: the results change then without a write."""
    derived: DerivedResults = field(default_factory=DerivedResults, repr=False, compare=False)


def compute_analysis(snapshot: Snapshot, earlier: Analysis | None = None) -> Analysis:
    """Return the analysis of a snapshot, computed from an earlier analysis where nothing has changed."""
    derived = DerivedResults(None if earlier is None else earlier.derived)
    valid_until = _find_valid_until(snapshot)
    if earlier is not None and _differ_only_in_states(snapshot, earlier.snapshot):
        assessment = _reassess_states(snapshot, earlier)
        return Analysis(
            snapshot,
            earlier.points,
            assessment.devices,
            assessment,
            earlier.parameters,
            earlier.projection,
            valid_until,
            derived,
        )
    same_points = (
        earlier is not None
        and snapshot.points is earlier.snapshot.points
        and snapshot.rules.requirements == earlier.snapshot.rules.requirements
    )
    points = earlier.points if earlier is not None and same_points else engine_input.build_point_table(snapshot)
    devices = engine_input.build_device_table(snapshot, points.code)
    parameters = engine_input.build_parameters(snapshot)
    projection = engine_input.find_projection(snapshot)
    assessment = engine.assess_coverage(
        points,
        devices,
        parameters,
        projection or get_projection(_DEFAULT_EPSG),
        visibility=None if projection is None else compute_line_of_sight(snapshot, projection, derived),
        before=None if earlier is None else earlier.assessment,
    )
    return Analysis(snapshot, points, devices, assessment, parameters, projection, valid_until, derived)


def _differ_only_in_states(snapshot: Snapshot, earlier: Snapshot) -> bool:
    rules, earlier_rules = snapshot.rules, earlier.rules
    return (
        snapshot.points is earlier.points
        and snapshot.cameras is earlier.cameras
        and snapshot.checkpoints is earlier.checkpoints
        and snapshot.buildings is earlier.buildings
        and (rules.requirements, rules.parameters, rules.metric_epsg)
        == (earlier_rules.requirements, earlier_rules.parameters, earlier_rules.metric_epsg)
    )


def _reassess_states(snapshot: Snapshot, earlier: Analysis) -> engine.Assessment:
    state, stale = engine_input.build_states(snapshot)
    devices = earlier.assessment.devices
    if np.array_equal(state, devices.state) and np.array_equal(stale, devices.stale):
        return earlier.assessment
    return earlier.assessment.with_device_states(devices.lifecycle, state, stale)


def _find_valid_until(snapshot: Snapshot) -> datetime | None:
    reported = np.concatenate([snapshot.camera_states.reported, snapshot.checkpoint_states.reported])
    fresh = reported[reported >= snapshot.oldest_report]
    ends = [end for end in snapshot.waivers.get("expires_at", ()) if end >= snapshot.taken_at]
    if len(fresh):
        ends.append(datetime.fromtimestamp(float(fresh.min()) + snapshot.rules.stale_after_s, UTC))
    return min(ends, default=None)


# Buildings, and what else limits the view of a device.


@dataclass(frozen=True, eq=False)
class BuildingObstacles:
    """The buildings of a jurisdiction as obstacles."""

    source: Columns
    """The table they are computed from."""
    codes: Sequence[str]
    shapes: Sequence[bytes]
    projection: LocalProjection
    obstacles: Obstacles


def compute_obstacles(snapshot: Snapshot, projection: LocalProjection, derived: DerivedResults) -> BuildingObstacles:
    """Return the buildings of a snapshot as obstacles; those that have not changed are taken from the earlier ones."""
    table = snapshot.buildings

    def compute_buildings(earlier: BuildingObstacles | None) -> BuildingObstacles:
        if earlier is not None and earlier.source is table and earlier.projection == projection:
            return earlier
        earlier_row = find_earlier_rows(table, projection, earlier)
        shapes = np.empty(len(earlier_row), dtype=object)
        reused = None
        if earlier is not None and (earlier_row >= 0).any():
            unchanged = earlier_row >= 0
            shapes[unchanged] = earlier.obstacles.shape[earlier_row[unchanged]]
            reused = PreviousObstacles(earlier.obstacles, earlier_row)
        added = np.flatnonzero(earlier_row < 0)
        footprints = shapely.from_wkb(np.array(table["shape"], dtype=object)[added])
        shapes[added] = _to_valid_metres(np.asarray(footprints, dtype=object), projection)
        height = compute_heights(to_float_array(table["height_m"]), to_float_array(table["levels"]))
        obstacles = Obstacles.update_from(shapes, height, reused)
        return BuildingObstacles(table, table["code"], table["shape"], projection, obstacles)

    return derived.get_or_compute("buildings", compute_buildings)


def find_earlier_rows(table: Columns, projection: LocalProjection, earlier: BuildingObstacles | None) -> Ints:
    """Return the earlier row of each footprint, -1 for one that is new or has another shape."""
    if earlier is None or earlier.projection != projection:
        return np.full(len(table["code"]), -1, np.int64)
    row_of = {key: row for row, key in enumerate(zip(earlier.codes, earlier.shapes, strict=True))}
    keys = zip(table["code"], table["shape"], strict=True)
    return np.array([row_of.get(key, -1) for key in keys], np.int64)


def compute_line_of_sight(
    snapshot: Snapshot, projection: LocalProjection, derived: DerivedResults
) -> LinesOfSight | None:
    """Return what limits the views of all devices, None if nothing does."""
    cameras, checkpoint_count = snapshot.cameras, len(snapshot.checkpoints["code"])
    polygons = {row: shapely.from_geojson(text) for row, text in enumerate(cameras["view_polygon"]) if text is not None}
    obstacles = compute_obstacles(snapshot, projection, derived).obstacles
    if not polygons and not len(obstacles):
        return None
    in_metres = _to_valid_metres(np.array(list(polygons.values()), dtype=object), projection)
    return LinesOfSight(
        obstacles,
        np.concatenate([to_float_array(cameras["mount_height_m"]), np.full(checkpoint_count, np.nan)]),
        np.array([*(indoor is True for indoor in cameras["indoor"]), *[False] * checkpoint_count], np.bool_),
        dict(zip(polygons, in_metres, strict=True)),
    )


def _to_valid_metres(shapes: NDArray[np.object_], projection: LocalProjection) -> NDArray[np.object_]:
    if not len(shapes):
        return shapes
    in_metres = np.asarray(shapely.transform(shapes, projection.to_metres))
    invalid = ~shapely.is_valid(in_metres)
    in_metres[invalid] = shapely.make_valid(in_metres[invalid])
    return in_metres


def find_changed_footprints(earlier: BuildingObstacles, now: BuildingObstacles) -> list[shapely.Geometry]:
    """Return the footprints that were added, removed, or have another height."""
    old, new = _index_footprints(earlier), _index_footprints(now)
    return [shape for key, shape in old.items() if key not in new] + [
        shape for key, shape in new.items() if key not in old
    ]


def _index_footprints(buildings: BuildingObstacles) -> dict[tuple[int, float], shapely.Geometry]:
    # A footprint that has not changed is the same object.
    shapes = buildings.obstacles.shape.tolist()
    height = np.nan_to_num(buildings.obstacles.height_m, nan=-1.0).tolist()
    return dict(zip(zip(map(id, shapes), height, strict=True), shapes, strict=True))


def find_rows_now(earlier: BuildingObstacles, now: BuildingObstacles) -> Ints:
    """Return the row that each earlier building has now, -1 if it was removed."""
    row_of = {code: row for row, code in enumerate(now.codes)}
    return np.array([row_of.get(code, -1) for code in earlier.codes], np.int64)
