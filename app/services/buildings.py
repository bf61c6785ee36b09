"""The buildings of a jurisdiction, ready to be asked: made once, and again when one changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.frame import Frame
from app.geo.obstacles import Obstacles, heights
from app.geo.sight import Sight
from app.registry.coverage import Columns
from app.services.loading import Loaded
from app.services.parts import Parts


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
    lonlat = np.array([shapely.from_wkb(wkb) for wkb in table["shape"]], dtype=object)
    shapes = shapely.transform(lonlat, frame.to_metres) if len(lonlat) else lonlat
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    high = heights(_numbers(table["height_m"]), _numbers(table["levels"]))
    return Buildings(table, table["code"], table["shape"], frame, Obstacles(shapes, high))


def _numbers(column: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(column, dtype=np.float64)


def contents(buildings: Buildings) -> dict[tuple[str, bytes, float], shapely.Geometry]:
    """Return footprints by all that tells one building from another."""
    obstacles = buildings.obstacles
    high = np.nan_to_num(obstacles.height_m, nan=-1.0).tolist()
    keys = zip(buildings.codes, buildings.shapes, high, strict=True)
    return dict(zip(keys, obstacles.shape, strict=True))


def renamed(before: Buildings, now: Buildings) -> NDArray[np.int64]:
    """Return where the buildings of before are now; those that have gone cut nothing any more."""
    row_of = {code: row for row, code in enumerate(now.codes)}
    return np.array([row_of.get(code, -1) for code in before.codes], np.int64)
