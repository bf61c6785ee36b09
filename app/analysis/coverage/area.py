"""Area coverage: the covered area of each zone, k-fold coverage, gaps, and what each camera adds.

No I/O. Sections whose fields of view have not changed keep their result, so a changed camera or state is recomputed
only where it is.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from pydantic import BaseModel, Field
from shapely.geometry.base import BaseGeometry

from app.analysis.coverage.fields_of_view import (
    FieldOfViewQuery,
    FieldsOfView,
    compute_fields_of_view,
    find_projection,
    select_cameras,
    to_geojson_fragments,
)
from app.analysis.crossings.road_network import RING_NOT_REGISTERED
from app.analysis.metadata import ResultMetadata, build_feature_collection, build_result
from app.analysis.queries import Columns
from app.analysis.results import Analysis
from app.geo.arrays import Ints
from app.geo.coverage import assessment as engine
from app.geo.coverage.area import CoveredSections, ZoneSections, compute_area_coverage
from app.geo.coverage.overlap import keep_areas
from app.geo.projection.local_projection import LocalProjection
from app.geo.rings.outline import divide_edges
from app.messages import Message
from app.models.vocabulary import LEVELS, Function, Level, Zone

MAX_K: Final = 5
"""The largest k of k-fold coverage."""


@dataclass(frozen=True)
class AreaQuery:
    """What to compute of the area coverage; zone None means all zones."""

    zone: Zone | None = None
    function: Function | None = None
    k: int = 1
    min_gap_m2: float = 100.0
    working: bool = True
    shares: bool = False


@dataclass(frozen=True, eq=False)
class _ZoneSections:
    """The zones of a jurisdiction, cut into sections along a grid."""

    source: Columns
    """The table of rings it is computed from."""
    projection: LocalProjection
    levels: tuple[Level, ...]
    sections: ZoneSections

    def find_sections(self, level: Level) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.asarray(self.sections.zone == self.levels.index(level))


@dataclass(frozen=True, eq=False)
class _CoveredZones:
    zones: _ZoneSections
    views: FieldsOfView | None
    rows: Ints
    """Rows of the cameras that count."""
    left_out: dict[str, int]
    """Number of cameras that do not count, by reason."""
    cover: CoveredSections


def build_area(analysis: Analysis, query: AreaQuery) -> dict[str, Any]:
    """Return covered area and ratio of the zones of a query, from one-fold to k-fold."""
    covered = compute_covered_zones(analysis, query)
    levels = [level for level in reversed(LEVELS) if query.zone in (None, level)]
    zones = [_build_zone(covered, level, query.k) for level in levels if covered and level in covered.zones.levels]
    total_m2 = sum(zone["area_m2"] for zone in zones)
    totals = [sum(zone["at_least"][index]["covered_m2"] for zone in zones) for index in range(query.k)]
    result = build_result(
        analysis,
        function=query.function,
        working=query.working,
        k=query.k,
        zones=zones,
        total=build_extent(total_m2, totals),
        cameras={
            "counted": len(covered.rows) if covered else 0,
            "left_out": covered.left_out if covered else {},
        },
    )
    if query.shares:
        result["shares"] = [] if covered is None else list_shares(covered)
    return add_metadata(result, covered, levels)


def build_area_gaps(analysis: Analysis, query: AreaQuery) -> dict[str, Any]:
    """Return the parts of zones that fewer than k cameras see, as a FeatureCollection."""
    covered = compute_covered_zones(analysis, query)
    levels = [level for level in LEVELS if query.zone in (None, level)]
    features: list[dict[str, Any]] = []
    if covered is not None:
        zone_levels = covered.zones.levels
        numbers = np.array([zone_levels.index(level) for level in levels if level in zone_levels], np.int64)
        shapes, zone = covered.cover.find_gaps(numbers, query.k, query.min_gap_m2)
        geometries = to_geojson_fragments(shapes, covered.zones.projection)
        rows = zip(zone.tolist(), geometries, shapely.area(shapes).tolist(), strict=True)
        features = [
            _build_gap(number, zone_levels[zone_index], geometry, size, query)
            for number, (zone_index, geometry, size) in enumerate(rows, start=1)
        ]
    result = build_feature_collection(analysis, features)
    result["parameters"] |= {
        "function": query.function,
        "working": query.working,
        "k": query.k,
        "min_gap_m2": query.min_gap_m2,
    }
    return add_metadata(result, covered, levels)


def _build_gap(number: int, level: Level, geometry: Any, size_m2: float, query: AreaQuery) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"area-{level}-{number}",
        "geometry": geometry,
        "properties": {
            "type": "area",
            "zone": level,
            "area_m2": round(size_m2, 2),
            "function": query.function,
            "k": query.k,
            "reason": "none",
            "reasons": ["none"],
            "fix": Message("install, turn or repair a camera that sees this area"),
        },
    }


def add_metadata(result: dict[str, Any], covered: _CoveredZones | None, levels: list[Level]) -> dict[str, Any]:
    """Return a result with the grid size, and with the zones that it lacks instead of the general remark on area."""
    known_levels = covered.zones.levels if covered else ()
    missing = [
        {"what": "area", "level": level, "reason": RING_NOT_REGISTERED} for level in levels if level not in known_levels
    ]
    result["parameters"] |= {"cell_m": covered.zones.sections.cell_m if covered else None}
    result["not_assessed"] = [entry for entry in result["not_assessed"] if entry["what"] != "area"] + missing
    return result


def _build_zone(covered: _CoveredZones, level: Level, k: int) -> dict[str, Any]:
    rows = covered.zones.find_sections(level)
    total_m2 = float(covered.zones.sections.area_m2[rows].sum())
    covered_m2 = [float(covered.cover.covered_m2(times)[rows].sum()) for times in range(1, k + 1)]
    return {"zone": level, **build_extent(total_m2, covered_m2)}


def build_extent(total_m2: float, covered_m2: list[float]) -> dict[str, Any]:
    """Return area and ratio; `covered_m2` is the area that at least 1, 2, ... cameras see."""
    ratios = [round(min(covered / total_m2, 1.0), 6) if total_m2 else None for covered in covered_m2]
    return {
        "area_m2": round(total_m2, 1),
        "covered_m2": round(covered_m2[0], 1),
        "covered_ratio": ratios[0],
        "at_least": [
            {"k": k, "covered_m2": round(covered, 1), "covered_ratio": ratio}
            for k, (covered, ratio) in enumerate(zip(covered_m2, ratios, strict=True), start=1)
        ],
    }


def list_shares(covered: _CoveredZones) -> list[dict[str, Any]]:
    """Return what each camera sees of the zones and what only it sees, the most valuable camera first."""
    if covered.views is None:
        return []
    seen_m2, only_m2 = covered.cover.compute_view_areas(covered.views.stamp[covered.rows])
    order = np.lexsort((covered.rows, -only_m2))
    return [
        {
            "code": covered.views.codes[int(covered.rows[index])],
            "seen_m2": round(float(seen_m2[index]), 2),
            "only_m2": round(float(only_m2[index]), 2),
        }
        for index in order.tolist()
    ]


def compute_covered_zones(analysis: Analysis, query: AreaQuery) -> _CoveredZones | None:
    """Return how the zones are covered, None without rings."""
    projection = find_projection(analysis)
    if projection is None or not analysis.snapshot.rings["code"]:
        return None
    zones = analysis.derived.get_or_compute(
        "zones", lambda earlier: _cut_zones(analysis.snapshot.rings, projection, earlier)
    )
    k = max(query.k, 2)  # the area that only one camera sees needs k = 2
    return analysis.derived.get_or_compute(
        f"covered zones:{query.function}:{query.working}:{k}",
        lambda earlier: _cover_zones(analysis, query, zones, k, earlier),
    )


def _cut_zones(table: Columns, projection: LocalProjection, earlier: _ZoneSections | None) -> _ZoneSections:
    if earlier is not None and earlier.source is table and earlier.projection == projection:
        return earlier
    rings = {level: shapely.from_wkb(wkb) for level, wkb in zip(table["level"], table["shape"], strict=True)}
    inner: BaseGeometry = shapely.Polygon()
    levels, shapes = [], []
    for level in LEVELS:
        if level in rings:
            ring = projection.project(divide_edges(rings[level]))
            zone = keep_areas(np.array([shapely.difference(ring, inner)], dtype=object))[0]
            inner = shapely.union(inner, ring)
            if not zone.is_empty:
                levels.append(level)
                shapes.append(zone)
    return _ZoneSections(table, projection, tuple(levels), ZoneSections.from_zones(shapes))


def _cover_zones(
    analysis: Analysis, query: AreaQuery, zones: _ZoneSections, k: int, earlier: _CoveredZones | None
) -> _CoveredZones:
    views = compute_fields_of_view(analysis, query.function)
    earlier_cover = None if earlier is None else earlier.cover
    if views is None:
        no_rows = np.empty(0, np.int64)
        nothing = compute_area_coverage(zones.sections, np.empty(0, dtype=object), no_rows, k, earlier_cover)
        return _CoveredZones(zones, None, no_rows, {}, nothing)
    count = len(views.codes)
    devices = analysis.assessment.devices
    able = np.zeros(count, np.bool_)
    able[select_cameras(analysis, views, FieldOfViewQuery(function=query.function))] = True
    in_use = devices.lifecycle[:count] == engine.IN_USE
    outdoors = ~views.optics.indoor
    working = devices.state_reasons[:count] == 0
    rows = np.flatnonzero(able & in_use & outdoors & (working | (not query.working)))
    left_out = {
        "without_the_function": int((~able).sum()),
        "not_in_use": int((able & ~in_use).sum()),
        "indoors": int((able & in_use & ~outdoors).sum()),
        "not_working": int((able & in_use & outdoors & ~working).sum()) if query.working else 0,
    }
    covered = compute_area_coverage(zones.sections, views.views.shape[rows], views.stamp[rows], k, earlier_cover)
    return _CoveredZones(zones, views, rows, left_out, covered)


# Schemas of the responses.


class Times(BaseModel):
    """The area that at least k cameras see."""

    k: int
    covered_m2: float
    covered_ratio: float | None


class Extent(BaseModel):
    """An area, and how much of it is covered."""

    area_m2: float
    covered_m2: float
    covered_ratio: float | None
    at_least: list[Times]


class ZoneArea(Extent):
    """One zone: a ring without the rings inside it."""

    zone: Level


class Counted(BaseModel):
    """The cameras that count."""

    counted: int
    left_out: dict[str, int] = Field(description="Number of cameras that do not count, by reason.")


class Share(BaseModel):
    """What one camera adds."""

    code: str
    seen_m2: float = Field(description="Area of the zones that it sees.")
    only_m2: float = Field(description="Area of the zones that no other camera sees.")


class AreaCoverage(ResultMetadata):
    """Area coverage of the zones of a jurisdiction."""

    function: Function | None
    working: bool
    k: int
    zones: list[ZoneArea]
    total: Extent
    cameras: Counted
    shares: list[Share] | None = Field(None, description="Only if requested.")
