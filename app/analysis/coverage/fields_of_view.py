"""Fields of view of the cameras: computed once for each state of cameras and buildings, and only what changed.

No I/O. A camera whose optics and surroundings have not changed keeps its field of view, the same shape object.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final, Literal

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.analysis import engine_input
from app.analysis.engine_input import to_float_array
from app.analysis.metadata import ResultMetadata, build_result
from app.analysis.queries import Columns
from app.analysis.results import Analysis, BuildingObstacles, compute_obstacles, find_changed_footprints, find_rows_now
from app.geo.arrays import Bools, Ints
from app.geo.coverage import assessment as engine
from app.geo.projection.local_projection import LocalProjection, choose_projection
from app.geo.rings.outline import divide_edges
from app.geo.visibility.field_of_view import SCALES
from app.geo.visibility.obstacles import STANDING, WALL_M
from app.geo.visibility.sectors import VIEW_BASES, CameraOptics, Views, compute_views
from app.models.columns import DECIMALS
from app.models.vocabulary import FUNCTIONS, Function

_WALL_MARGIN_M: Final = WALL_M + 1.0
_BBOX_MARGIN_DEG: Final = 1.0
_stamps = count(1)


@dataclass(frozen=True)
class FieldOfViewQuery:
    """Which fields of view to list; None means all."""

    function: Function | None = None
    zone: str | None = None
    working: bool | None = None
    bbox: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class FieldsOfView:
    """The fields of view of all cameras, one row each in the order of their codes."""

    source: Columns
    """The table of cameras they are computed from."""
    codes: Sequence[str]
    optics: CameraOptics
    view_polygons: Sequence[str | None]
    """Registered view polygons as GeoJSON."""
    parameters: engine.Parameters
    projection: LocalProjection
    buildings: BuildingObstacles
    views: Views
    stamp: Ints
    """A number of each field of view; a changed one has a new number."""


def find_projection(analysis: Analysis) -> LocalProjection | None:
    """Return the projection of the analysis, else one for the first ring, else one for the cameras."""
    if analysis.projection is not None:
        return analysis.projection
    for wkb in analysis.snapshot.rings["shape"]:
        west, south, east, north = shapely.bounds(shapely.from_wkb(wkb))
        return choose_projection((west + east) / 2, (south + north) / 2)
    lon, lat = analysis.snapshot.cameras["lon"], analysis.snapshot.cameras["lat"]
    return choose_projection(float(np.median(lon)), float(np.median(lat))) if lon else None


def compute_fields_of_view(analysis: Analysis, function: Function | None) -> FieldsOfView | None:
    """Return the fields of view at the pixel density that a function needs, None without cameras."""
    projection = find_projection(analysis)
    if projection is None or not analysis.snapshot.cameras["code"]:
        return None
    buildings = compute_obstacles(analysis.snapshot, projection, analysis.derived)
    return analysis.derived.get_or_compute(
        f"fields of view: {function}",
        lambda earlier: _compute_changed(analysis, function, projection, buildings, earlier),
    )


def _compute_changed(
    analysis: Analysis,
    function: Function | None,
    projection: LocalProjection,
    buildings: BuildingObstacles,
    earlier: FieldsOfView | None,
) -> FieldsOfView:
    cameras = analysis.snapshot.cameras
    # Device states do not matter to a field of view.
    if (
        earlier is not None
        and earlier.source is cameras
        and earlier.buildings is buildings
        and earlier.projection == projection
        and earlier.parameters == analysis.parameters
    ):
        return earlier
    optics, codes, polygons = _build_optics(analysis, function), cameras["code"], cameras["view_polygon"]
    now, then = find_unchanged_rows(optics, codes, polygons, earlier, analysis.parameters, projection)
    if earlier is not None and len(now):
        undisturbed = ~find_disturbed(earlier, buildings)[then]
        now, then = now[undisturbed], then[undisturbed]
    changed = np.setdiff1d(np.arange(len(codes)), now)
    fields = compute_views(_select_optics(optics, changed), analysis.parameters, projection, buildings.obstacles)
    stamp = np.empty(len(codes), dtype=np.int64)
    stamp[changed] = [next(_stamps) for _ in range(len(changed))]
    if earlier is not None and len(now):
        unchanged = earlier.views.take_rows(then)
        camera, building = unchanged.cut_by
        unchanged = replace(unchanged, cut_by=(camera, find_rows_now(earlier.buildings, buildings)[building]))
        fields = unchanged.concatenate(fields).take_rows(np.argsort(np.concatenate([now, changed])))
        stamp[now] = earlier.stamp[then]
    return FieldsOfView(cameras, codes, optics, polygons, analysis.parameters, projection, buildings, fields, stamp)


def _build_optics(analysis: Analysis, function: Function | None) -> CameraOptics:
    cameras = analysis.snapshot.cameras
    planned = np.array(
        [
            SCALES[scale][level] if scale is not None and level is not None else np.nan
            for scale, level in zip(cameras["level_scale"], cameras["required_level"], strict=True)
        ],
        dtype=np.float64,
    )
    density = find_densities(analysis, function)
    sees_all_round = ~np.isnan(to_float_array(cameras["reach_m"]))
    return CameraOptics(
        lonlat=engine_input.to_lonlat_array(cameras["lon"], cameras["lat"]),
        azimuth_deg=engine_input.compute_azimuths(cameras),
        opening_deg=engine_input.compute_openings(cameras),
        range_m=engine_input.compute_ranges(cameras),
        near_m=engine_input.compute_near_limits(cameras),
        h_pixels=engine_input.compute_pixels(cameras),
        mount_height_m=to_float_array(cameras["mount_height_m"]),
        indoor=np.array([indoor is True for indoor in cameras["indoor"]], np.bool_),
        px_per_m=np.where(np.isnan(planned), density, planned),
        binding=~sees_all_round & ((function is not None) | ~np.isnan(planned)),
        drawn={row: shapely.from_geojson(text) for row, text in enumerate(cameras["view_polygon"]) if text is not None},
    )


def find_densities(analysis: Analysis, function: Function | None) -> NDArray[np.float64]:
    """Return the pixel density that each camera needs: for one function, or for the most demanding of its own."""
    bits = np.array(analysis.snapshot.cameras["functions"], np.int64)
    required = [analysis.parameters.density[name] for name in (FUNCTIONS if function is None else (function,))]
    density = np.array([np.nan if value is None else value for value in required], np.float64)
    if function is not None:
        return np.full(len(bits), density[0])
    has_function = bits[:, np.newaxis] >> np.arange(len(FUNCTIONS)) & 1 == 1
    return np.asarray(np.fmax.reduce(np.where(has_function, density, np.nan), axis=1))


def _select_optics(optics: CameraOptics, rows: Ints) -> CameraOptics:
    number_of = {int(row): number for number, row in enumerate(rows)}
    drawn = {number_of[row]: shape for row, shape in optics.drawn.items() if row in number_of}
    columns = {name: value[rows] for name, value in vars(optics).items() if name != "drawn"}
    return CameraOptics(**columns, drawn=drawn)


def find_unchanged_rows(
    optics: CameraOptics,
    codes: Sequence[str],
    polygons: Sequence[str | None],
    earlier: FieldsOfView | None,
    parameters: engine.Parameters,
    projection: LocalProjection,
) -> tuple[Ints, Ints]:
    """Return the rows of cameras whose optics are as before, and the rows that they had then."""
    if earlier is None or earlier.projection != projection or earlier.parameters != parameters:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if earlier.codes is codes or list(earlier.codes) == list(codes):
        now = then = np.arange(len(codes))
    else:
        row_of = {code: row for row, code in enumerate(earlier.codes)}
        earlier_row = np.array([row_of.get(code, -1) for code in codes], np.int64)
        now = np.flatnonzero(earlier_row >= 0)
        then = earlier_row[now]
    pairs = zip(now.tolist(), then.tolist(), strict=True)
    same = np.array([polygons[i] == earlier.view_polygons[j] for i, j in pairs], np.bool_)
    for name, column in vars(optics).items():
        if name == "drawn":
            continue
        left, right = column[now], getattr(earlier.optics, name)[then]
        equal = (left == right) | ((left != left) & (right != right))
        same &= equal if equal.ndim == 1 else equal.all(axis=1)
    return now[same], then[same]


def find_disturbed(earlier: FieldsOfView, buildings: BuildingObstacles) -> Bools:
    """Return which earlier cameras have a changed building within their range."""
    disturbed = np.zeros(len(earlier.codes), np.bool_)
    if earlier.buildings is buildings:
        return disturbed
    footprints = find_changed_footprints(earlier.buildings, buildings)
    if footprints:
        tree = shapely.STRtree(footprints)
        distance = earlier.views.range_m + _WALL_MARGIN_M
        rows, _ = tree.query(shapely.points(earlier.views.xy), predicate="dwithin", distance=distance)
        disturbed[rows] = True
    return disturbed


# Results.


def build_field_of_view(analysis: Analysis, camera: str, function: Function | None) -> dict[str, Any] | None:
    """Return the field of view of one camera as a Feature, None if the camera does not exist."""
    fields = compute_fields_of_view(analysis, function)
    row = analysis.snapshot.camera_states.row_of.get(camera)
    if fields is None or row is None:
        return None
    return build_result(analysis, **_build_features(analysis, fields, np.array([row], np.int64), function)[0])


def build_page(
    analysis: Analysis, query: FieldOfViewQuery, *, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return fields of view as features in code order, and the code after which the next page starts."""
    fields = compute_fields_of_view(analysis, query.function)
    if fields is None:
        return [], None
    rows = select_cameras(analysis, fields, query)
    if after is not None:
        codes = np.array(fields.codes, dtype=object)
        rows = rows[codes[rows] > after]
    page = rows[:limit]
    next_after = fields.codes[int(page[-1])] if len(rows) > limit else None
    return _build_features(analysis, fields, page, query.function), next_after


def select_cameras(analysis: Analysis, fields: FieldsOfView, query: FieldOfViewQuery) -> Ints:
    """Return the rows of the cameras that fit a query."""
    camera_count = len(fields.codes)
    devices = analysis.assessment.devices
    selected = np.ones(camera_count, np.bool_)
    if query.function is not None:
        selected &= devices.functions[:camera_count] >> FUNCTIONS.index(query.function) & 1 == 1
    if query.zone is not None:
        selected &= np.array([zone == query.zone for zone in analysis.snapshot.cameras["zone"]], np.bool_)
    if query.working is not None:
        selected &= (devices.state_reasons[:camera_count] == 0) == query.working
    if query.bbox is not None:
        selected &= intersects_bbox(fields, query.bbox)
    return np.flatnonzero(selected)


def intersects_bbox(fields: FieldsOfView, bbox: tuple[float, float, float, float]) -> Bools:
    """Return which fields of view intersect a bbox; west > east crosses the antimeridian."""
    west, south, east, north = bbox
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    intersects = np.zeros(len(fields.codes), np.bool_)
    # Only the part of the bbox near the cameras: the projection is not valid far away.
    low = fields.optics.lonlat.min(axis=0) - _BBOX_MARGIN_DEG
    high = fields.optics.lonlat.max(axis=0) + _BBOX_MARGIN_DEG
    for left, right in spans:
        first, last = np.maximum([left, south], low), np.minimum([right, north], high)
        if (first <= last).all():
            # The envelope of a bbox without area is a point or a line.
            bounds = shapely.envelope(shapely.linestrings([first, last]))
            in_metres = fields.projection.project(divide_edges(bounds))
            shapely.prepare(in_metres)
            intersects |= shapely.intersects(in_metres, fields.views.shape)
    return intersects


def _build_features(
    analysis: Analysis, fields: FieldsOfView, rows: Ints, function: Function | None
) -> list[dict[str, Any]]:
    geometries = to_geojson_fragments(fields.views.shape[rows], fields.projection)
    selected = fields.views.take_rows(rows)
    cut_by: dict[int, list[str]] = {}
    for camera, building in zip(*(column.tolist() for column in selected.cut_by), strict=True):
        cut_by.setdefault(camera, []).append(fields.buildings.codes[building])
    working = analysis.assessment.devices.state_reasons[: len(fields.codes)] == 0
    area_m2 = shapely.area(selected.shape)
    return [
        {
            "type": "Feature",
            "id": fields.codes[row],
            "geometry": geometries[index],
            "properties": {
                "code": fields.codes[row],
                "function": function,
                **_build_view_properties(selected, index, fields.optics.azimuth_deg[row], float(area_m2[index])),
                "px_per_m": None if np.isnan(fields.optics.px_per_m[row]) else float(fields.optics.px_per_m[row]),
                "cut_by": cut_by.get(index, []),
                "working": bool(working[row]),
            },
        }
        for index, row in enumerate(rows.tolist())
    ]


def _build_view_properties(selected: Views, index: int, azimuth_deg: float, area_m2: float) -> dict[str, Any]:
    is_drawn = VIEW_BASES[selected.basis[index]] == "drawn"
    sees_all_round = bool(np.isnan(selected.bearing_deg[index]))
    open_m2 = float(selected.open_m2[index])
    return {
        "basis": VIEW_BASES[selected.basis[index]],
        "range_m": round(float(selected.range_m[index]), 2),
        "near_m": None if is_drawn else round(float(selected.near_m[index]), 2),
        "azimuth_deg": None if sees_all_round or is_drawn else round(float(azimuth_deg), 4),
        "opening_deg": None if is_drawn else round(float(selected.opening_deg[index]), 4),
        "opening_assumed": bool(selected.opening_assumed[index]) and not is_drawn,
        "standing": STANDING[selected.standing[index]],
        "area_m2": round(area_m2, 2),
        "open_area_m2": round(open_m2, 2),
        "cut_ratio": round(1 - area_m2 / open_m2, 4) if open_m2 else None,
    }


def to_geojson_fragments(shapes: NDArray[np.object_], projection: LocalProjection) -> list[orjson.Fragment | None]:
    """Return shapes in metres as GeoJSON in degrees, None for empty shapes."""
    lonlat = shapely.transform(shapes, lambda xy: np.round(projection.to_lonlat(xy), DECIMALS) if len(xy) else xy)
    texts = np.atleast_1d(shapely.to_geojson(lonlat))
    return [
        None if is_empty else orjson.Fragment(text)
        for is_empty, text in zip(shapely.is_empty(shapes), texts, strict=True)
    ]


# Schemas of the response.


class ViewProperties(BaseModel):
    """What a field of view is computed from, and what cuts it."""

    code: str
    function: Function | None = Field(description="Function whose pixel density limits it; null: any.")
    basis: Literal["stated", "optics", "assumed", "drawn"] = Field(
        description="Where its extent comes from: a registered range or reach, resolution and lens, the assumption of "
        "the jurisdiction, or a registered view polygon."
    )
    range_m: float
    near_m: float | None = Field(description="Blind zone; null for a view polygon.")
    azimuth_deg: float | None = Field(description="From true north; null if it looks all round.")
    opening_deg: float | None
    opening_assumed: bool
    px_per_m: float | None = Field(description="Pixel density that limits the range; null if none does.")
    standing: Literal["free", "wall", "roof", "indoors"] = Field(
        description="Where the camera is in relation to the buildings."
    )
    area_m2: float
    open_area_m2: float = Field(description="Area before buildings cut it.")
    cut_ratio: float | None = Field(description="Share that buildings cut off.")
    cut_by: list[str] = Field(description="Codes of the buildings that cut it.")
    working: bool


class FieldOfView(ResultMetadata):
    """The field of view of one camera, as a GeoJSON Feature; the geometry is null if it sees nothing."""

    type: Literal["Feature"]
    id: str
    geometry: dict[str, Any] | None
    properties: ViewProperties
