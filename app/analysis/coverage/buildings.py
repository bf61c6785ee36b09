"""The buildings of a jurisdiction, ready to be asked: made once, and again when one changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from app.analysis.queries import Columns
from app.analysis.snapshot import Loaded, Parts
from app.geo.projection.local_projection import Frame
from app.geo.visibility.line_of_sight import Sight
from app.geo.visibility.obstacles import Earlier, Obstacles, heights


@dataclass(frozen=True, eq=False)
class Buildings:
    """The buildings of a jurisdiction, ready to be asked."""

    source: Any
    """The table they were made from."""
    codes: Sequence[str]
    shapes: Sequence[bytes]
    frame: Frame
    obstacles: Obstacles


def buildings_of(loaded: Loaded, frame: Frame, parts: Parts) -> Buildings:
    """Return the buildings of a state in the metres of a frame."""
    return parts.get("buildings", lambda before: _made(loaded.buildings, frame, before))


def sight_of(loaded: Loaded, frame: Frame, parts: Parts) -> Sight | None:
    """Return what limits the views of all devices, None where nothing does."""
    cameras, n = loaded.cameras, len(loaded.checkpoints["code"])
    texts = enumerate(cameras["view_polygon"])
    drawn = {row: shapely.from_geojson(text) for row, text in texts if text is not None}
    obstacles = buildings_of(loaded, frame, parts).obstacles
    if not drawn and not len(obstacles):
        return None
    metric = shapely.transform(np.array(list(drawn.values()), dtype=object), frame.to_metres)
    broken = ~shapely.is_valid(metric)
    metric[broken] = shapely.make_valid(metric[broken])
    return Sight(
        obstacles,
        np.concatenate([_numbers(cameras["mount_height_m"]), np.full(n, np.nan)]),
        np.array([*(indoor is True for indoor in cameras["indoor"]), *[False] * n], np.bool_),
        dict(zip(drawn, metric, strict=True)),
    )


def _made(table: Columns, frame: Frame, before: Buildings | None) -> Buildings:
    if before is not None and before.source is table and before.frame == frame:
        return before
    was = _as_before(table, frame, before)
    shapes = np.empty(len(was), dtype=object)
    earlier = None
    if before is not None and (was >= 0).any():
        kept = was >= 0
        shapes[kept] = before.obstacles.shape[was[kept]]
        earlier = Earlier(before.obstacles, was)
    new = np.flatnonzero(was < 0)
    shapes[new] = _in_metres(np.array(table["shape"], dtype=object)[new], frame)
    high = heights(_numbers(table["height_m"]), _numbers(table["levels"]))
    obstacles = Obstacles.after(shapes, high, earlier)
    return Buildings(table, table["code"], table["shape"], frame, obstacles)


def _as_before(table: Columns, frame: Frame, before: Buildings | None) -> NDArray[np.int64]:
    """Return the row each footprint had before, -1 for one that is new or has another shape."""
    if before is None or before.frame != frame:
        return np.full(len(table["code"]), -1, np.int64)
    earlier = zip(before.codes, before.shapes, strict=True)
    row_of = {key: row for row, key in enumerate(earlier)}
    keys = zip(table["code"], table["shape"], strict=True)
    return np.array([row_of.get(key, -1) for key in keys], np.int64)


def _in_metres(wkb: NDArray[np.object_], frame: Frame) -> NDArray[np.object_]:
    if not len(wkb):
        return wkb
    shapes = np.asarray(shapely.transform(shapely.from_wkb(wkb), frame.to_metres))
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    return shapes


def _numbers(column: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(column, dtype=np.float64)


def changed(before: Buildings, now: Buildings) -> list[shapely.Geometry]:
    """Return the footprints that have come, gone, or rise to another height; a kept one is the same."""
    one, other = _by_identity(before), _by_identity(now)
    found = [shape for key, shape in one.items() if key not in other]
    return found + [shape for key, shape in other.items() if key not in one]


def _by_identity(buildings: Buildings) -> dict[tuple[int, float], shapely.Geometry]:
    shapes = buildings.obstacles.shape.tolist()
    high = np.nan_to_num(buildings.obstacles.height_m, nan=-1.0).tolist()
    return dict(zip(zip(map(id, shapes), high, strict=True), shapes, strict=True))


def renamed(before: Buildings, now: Buildings) -> NDArray[np.int64]:
    """Return where the buildings of before are now; those that have gone cut nothing any more."""
    row_of = {code: row for row, code in enumerate(now.codes)}
    return np.array([row_of.get(code, -1) for code in before.codes], np.int64)
