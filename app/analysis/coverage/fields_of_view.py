"""Fields of view of the cameras of a jurisdiction: computed once per state, and only what changed.

Pure: from a computed state to plain values. A camera whose optics and surroundings are as before
keeps its field of view, the very same shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from app.analysis.coverage.buildings import Buildings, buildings_of, changed, renamed
from app.analysis.engine_input import Computed, azimuths, nears, numbers, openings, pairs, pixels, ranges
from app.analysis.metadata import about
from app.analysis.queries import Columns
from app.geo.coverage import assessment as engine
from app.geo.projection.local_projection import Frame, frame_for
from app.geo.rings.outline import divided
from app.geo.visibility.field_of_view import SCALES
from app.geo.visibility.obstacles import STANDING, WALL_M
from app.geo.visibility.sectors import VIEW_BASES, Optics, Views, views
from app.models.vocabulary import FUNCTIONS, Function
from app.records.geojson import DECIMALS

_NEAR_M: Final = WALL_M + 1.0
_FAR_DEG: Final = 1.0
_stamps = count(1)


@dataclass(frozen=True, eq=False)
class Seen:
    """What all cameras of a jurisdiction see, one row each in the order of their codes."""

    source: Columns
    """The table of cameras they were made from."""
    codes: Sequence[str]
    optics: Optics
    drawn: Sequence[str | None]
    """Drawn views as they are registered."""
    parameters: engine.Parameters
    frame: Frame
    buildings: Buildings
    views: Views
    stamp: NDArray[np.int64]
    """Names of the fields of view: one that changed has another."""


@dataclass(frozen=True)
class Wanted:
    """Which fields of view are asked for; None: all."""

    function: Function | None = None
    zone: str | None = None
    working: bool | None = None
    bbox: tuple[float, float, float, float] | None = None


def metric(found: Computed) -> Frame | None:
    """Return the frame of a jurisdiction; without one stated or points, of a ring or the cameras."""
    if found.frame is not None:
        return found.frame
    for wkb in found.loaded.rings["shape"]:
        west, south, east, north = shapely.bounds(shapely.from_wkb(wkb))
        return frame_for((west + east) / 2, (south + north) / 2)
    lon, lat = found.loaded.cameras["lon"], found.loaded.cameras["lat"]
    return frame_for(float(np.median(lon)), float(np.median(lat))) if lon else None


def seen(found: Computed, function: Function | None) -> Seen | None:
    """Return what all cameras see at the density a function needs; None without cameras."""
    frame = metric(found)
    if frame is None or not found.loaded.cameras["code"]:
        return None
    buildings = buildings_of(found.loaded, frame, found.parts)
    return found.parts.get(f"seen:{function}", lambda before: _seen(found, function, frame, buildings, before))


def _optics(found: Computed, function: Function | None) -> Optics:
    cameras, parameters = found.loaded.cameras, found.parameters
    reach = numbers(cameras["reach_m"])
    bits = np.array(cameras["functions"], np.int64)
    if function is None:
        needs = [np.nan if parameters.density[f] is None else parameters.density[f] for f in FUNCTIONS]
        has = bits[:, np.newaxis] >> np.arange(len(FUNCTIONS)) & 1 == 1
        density = np.fmax.reduce(np.where(has, np.array(needs, np.float64), np.nan), axis=1)
    else:
        needed = parameters.density[function]
        density = np.full(len(bits), np.nan if needed is None else needed)
    planned = np.array(
        [
            SCALES[scale][level] if scale is not None and level is not None else np.nan
            for scale, level in zip(cameras["level_scale"], cameras["required_level"], strict=True)
        ],
        dtype=np.float64,
    )
    drawn = {row: shapely.from_geojson(text) for row, text in enumerate(cameras["view_polygon"]) if text is not None}
    return Optics(
        lonlat=pairs(cameras["lon"], cameras["lat"]),
        azimuth_deg=azimuths(cameras),
        opening_deg=openings(cameras),
        range_m=ranges(cameras),
        near_m=nears(cameras),
        h_pixels=pixels(cameras),
        mount_height_m=numbers(cameras["mount_height_m"]),
        indoor=np.array([indoor is True for indoor in cameras["indoor"]], np.bool_),
        px_per_m=np.where(np.isnan(planned), density, planned),
        binding=np.isnan(reach) & ((function is not None) | ~np.isnan(planned)),
        drawn=drawn,
    )


def _seen(
    found: Computed,
    function: Function | None,
    frame: Frame,
    buildings: Buildings,
    before: Seen | None,
) -> Seen:
    cameras = found.loaded.cameras
    if before is not None and _same(before, found, frame, buildings):
        return before
    optics, codes, drawn = _optics(found, function), cameras["code"], cameras["view_polygon"]
    kept, old = _unchanged(optics, codes, drawn, before, found, frame)
    if before is not None and len(kept):
        still = ~_touched(before, buildings)[old]
        kept, old = kept[still], old[still]
    fresh = np.setdiff1d(np.arange(len(codes)), kept)
    made = views(_some(optics, fresh), found.parameters, frame, buildings.obstacles)
    stamp = np.empty(len(codes), dtype=np.int64)
    stamp[fresh] = [next(_stamps) for _ in range(len(fresh))]
    if before is not None and len(kept):
        earlier = before.views.at(old)
        now_called = renamed(before.buildings, buildings)[earlier.cut_by[1]]
        earlier = replace(earlier, cut_by=(earlier.cut_by[0], now_called))
        order = np.argsort(np.concatenate([kept, fresh]))
        made = earlier.beside(made).at(order)
        stamp[kept] = before.stamp[old]
    return Seen(cameras, codes, optics, drawn, found.parameters, frame, buildings, made, stamp)


def _same(before: Seen, found: Computed, frame: Frame, buildings: Buildings) -> bool:
    """Tell whether nothing has changed that a view depends on; states do not count."""
    return (
        before.source is found.loaded.cameras
        and before.buildings is buildings
        and before.frame == frame
        and before.parameters == found.parameters
    )


def _some(optics: Optics, rows: NDArray[np.int64]) -> Optics:
    place = {int(row): number for number, row in enumerate(rows)}
    drawn = {place[row]: shape for row, shape in optics.drawn.items() if row in place}
    columns = {name: value[rows] for name, value in vars(optics).items() if name != "drawn"}
    return Optics(**columns, drawn=drawn)


def _unchanged(
    optics: Optics,
    codes: Sequence[str],
    drawn: Sequence[str | None],
    before: Seen | None,
    found: Computed,
    frame: Frame,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows whose optics are as before, and the rows they had then."""
    nothing = np.empty(0, np.int64)
    if before is None or before.frame != frame or before.parameters != found.parameters:
        return nothing, nothing
    if before.codes is codes or list(before.codes) == list(codes):
        now = then = np.arange(len(codes))
    else:
        row_of = {code: row for row, code in enumerate(before.codes)}
        at = np.array([row_of.get(code, -1) for code in codes], np.int64)
        now = np.flatnonzero(at >= 0)
        then = at[now]
    rows = zip(now.tolist(), then.tolist(), strict=True)
    same = np.array([drawn[i] == before.drawn[j] for i, j in rows], np.bool_)
    for name, column in vars(optics).items():
        if name == "drawn":
            continue
        one, other = column[now], getattr(before.optics, name)[then]
        equal = (one == other) | ((one != one) & (other != other))
        same &= equal if equal.ndim == 1 else equal.all(axis=1)
    return now[same], then[same]


def _touched(before: Seen, buildings: Buildings) -> NDArray[np.bool_]:
    """Return which cameras of before have a building in reach that is not as it was."""
    touched = np.zeros(len(before.codes), np.bool_)
    if before.buildings is buildings:
        return touched
    moved = changed(before.buildings, buildings)
    if moved:
        tree = shapely.STRtree(moved)
        reach = before.views.range_m + _NEAR_M
        rows, _ = tree.query(shapely.points(before.views.xy), predicate="dwithin", distance=reach)
        touched[rows] = True
    return touched


# -- told -----------------------------------------------------------------------------------------


def one(found: Computed, code: str, function: Function | None) -> dict[str, Any] | None:
    """Return the field of view of one camera as a Feature, None when there is no such camera."""
    what = seen(found, function)
    row = found.loaded.camera_states.row_of.get(code)
    if what is None or row is None:
        return None
    features = _features(found, what, np.array([row], np.int64), function)
    return about(found, **features[0])


def listed(
    found: Computed, wanted: Wanted, *, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return fields of view as features in code order, and the code the next page starts after."""
    what = seen(found, wanted.function)
    if what is None:
        return [], None
    rows = chosen(found, what, wanted)
    if after is not None:
        codes = np.array(what.codes, dtype=object)
        rows = rows[codes[rows] > after]
    shown = rows[:limit]
    following = what.codes[int(shown[-1])] if len(rows) > limit else None
    return _features(found, what, shown, wanted.function), following


def chosen(found: Computed, what: Seen, wanted: Wanted) -> NDArray[np.int64]:
    """Return the rows of the cameras asked for."""
    n = len(what.codes)
    devices = found.assessment.devices
    kept = np.ones(n, np.bool_)
    if wanted.function is not None:
        kept &= devices.functions[:n] >> FUNCTIONS.index(wanted.function) & 1 == 1
    if wanted.zone is not None:
        kept &= np.array([zone == wanted.zone for zone in found.loaded.cameras["zone"]], np.bool_)
    if wanted.working is not None:
        kept &= (devices.state_bits[:n] == 0) == wanted.working
    if wanted.bbox is not None:
        kept &= _in_box(what, wanted.bbox)
    return np.flatnonzero(kept)


def _in_box(what: Seen, bbox: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """Return which views touch a box; west > east crosses the antimeridian."""
    west, south, east, north = bbox
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    flags = np.zeros(len(what.codes), np.bool_)
    # Only so much of the box as cameras could see: farther off the frame has no metres.
    low = what.optics.lonlat.min(axis=0) - _FAR_DEG
    high = what.optics.lonlat.max(axis=0) + _FAR_DEG
    for left, right in spans:
        first, last = np.maximum([left, south], low), np.minimum([right, north], high)
        if (first <= last).all():
            # The envelope of a box without area is a point or a line.
            asked = shapely.envelope(shapely.linestrings([first, last]))
            ground = what.frame.project(divided(asked))
            shapely.prepare(ground)
            flags |= shapely.intersects(ground, what.views.shape)
    return flags


def _features(found: Computed, what: Seen, rows: NDArray[np.int64], function: Function | None) -> list[dict[str, Any]]:
    shapes = geometries(what.views.shape[rows], what.frame)
    some = what.views.at(rows)
    cut_by: dict[int, list[str]] = {}
    for camera, building in zip(*(part.tolist() for part in some.cut_by), strict=True):
        cut_by.setdefault(camera, []).append(what.buildings.codes[building])
    working = found.assessment.devices.state_bits[: len(what.codes)] == 0
    area = shapely.area(some.shape)
    features = []
    for place, row in enumerate(rows.tolist()):
        bearing = what.optics.azimuth_deg[row]
        all_round = bool(np.isnan(some.bearing_deg[place]))
        drawn = VIEW_BASES[some.basis[place]] == "drawn"
        open_m2 = float(some.open_m2[place])
        features.append(
            {
                "type": "Feature",
                "id": what.codes[row],
                "geometry": shapes[place],
                "properties": {
                    "code": what.codes[row],
                    "function": function,
                    "basis": VIEW_BASES[some.basis[place]],
                    "range_m": round(float(some.range_m[place]), 2),
                    "near_m": None if drawn else round(float(some.near_m[place]), 2),
                    "azimuth_deg": None if all_round or drawn else round(float(bearing), 4),
                    "opening_deg": None if drawn else round(float(some.opening_deg[place]), 4),
                    "opening_assumed": bool(some.opening_assumed[place]) and not drawn,
                    "px_per_m": _or_none(what.optics.px_per_m[row]),
                    "standing": STANDING[some.standing[place]],
                    "area_m2": round(float(area[place]), 2),
                    "open_area_m2": round(open_m2, 2),
                    "cut_ratio": round(1 - float(area[place]) / open_m2, 4) if open_m2 else None,
                    "cut_by": cut_by.get(place, []),
                    "working": bool(working[row]),
                },
            }
        )
    return features


def _or_none(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def geometries(shapes: NDArray[np.object_], frame: Frame) -> list[orjson.Fragment | None]:
    """Return shapes in metres as GeoJSON in degrees, null where nothing is left."""
    lonlat = shapely.transform(shapes, lambda xy: np.round(frame.to_lonlat(xy), DECIMALS) if len(xy) else xy)
    empty = shapely.is_empty(shapes)
    texts = np.atleast_1d(shapely.to_geojson(lonlat))
    return [None if nothing else orjson.Fragment(text) for nothing, text in zip(empty, texts, strict=True)]
