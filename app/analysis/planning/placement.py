"""Placement: the locations where new devices cover most needs.

A new device serves every direction, so a control point lacks as many devices as its need of the function that lacks
most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from scipy.sparse import csr_array

from app.access.roles import Principal
from app.analysis.crossings.road_network import compute_road_network
from app.analysis.metadata import ResultMetadata, build_feature_collection
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService, DisconnectWaiter
from app.errors import Issue, TooLarge, build_invalid, to_issues, to_pydantic_error
from app.geo.arrays import Bools, Floats, Ints
from app.geo.coverage import placement as placement_engine
from app.geo.projection.local_projection import LocalProjection
from app.messages import Message
from app.models.fields import CodeText
from app.models.vocabulary import Category, Function

MAX_SITES: Final = 20_000
SiteSource = Literal["crossing", "junction", "control_point"]
Goal = Literal["cover_all", "backup", "most_valuable"]
_SOURCES: Final[tuple[SiteSource, ...]] = ("crossing", "junction", "control_point")
_Cost = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
_BACKUP_COUNT: Final = 2
_IN_THREAD_S: Final = 1.0
"""Most queries are solved in less; one that takes longer is solved again in a process of its own."""
_MAX_DISTANCE_DEG: Final = 2.0
"""A site so far from every control point must be a mistake."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Site(_StrictModel):
    """A location where a device could be installed."""

    at: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)] = Field(
        description="[lon, lat] in degrees.", examples=[[113.24, 35.22]]
    )
    cost: _Cost = Field(1.0, description="Cost of a device there.")
    name: str | None = Field(None, max_length=100, description="Its name in the result.")


class PlacementQuestion(_StrictModel):
    """Where to install new devices. What is covered now stays as it is and is not bought twice."""

    goal: Goal = Field(
        description="`cover_all`: cheapest that covers every open point; `backup`: every point by two devices; "
        "`most_valuable`: the greatest value within `budget`."
    )
    function: Function = Field("vehicle", description="What the new devices can do.")
    range_m: float = Field(gt=0, le=5000, allow_inf_nan=False, description="How far a new device serves.")
    points: list[CodeText] | None = Field(
        None, max_length=10_000, description="Codes of the control points to cover; all if not given."
    )
    weights: dict[Category, Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="Value of a point by its category; 1 if not given."
    )
    sites: list[Site] | None = Field(
        None, max_length=MAX_SITES, description="Where devices could be installed; see `sources` if not given."
    )
    sources: list[SiteSource] = Field(
        default_factory=lambda: list(_SOURCES),
        max_length=3,
        description="Locations of the registry where devices could be installed; only without `sites`.",
    )
    costs: dict[SiteSource, _Cost] = Field(
        default_factory=dict, description="Cost of a device by source; 1 if not given."
    )
    budget: float | None = Field(
        None,
        ge=0,
        le=1e12,
        allow_inf_nan=False,
        description="With `most_valuable`: the total cost allowed; with costs of 1, the number of devices.",
    )
    time_limit_s: float = Field(
        10.0,
        ge=0.1,
        le=60,
        allow_inf_nan=False,
        description="After this time the best result so far is returned with its bound.",
    )

    @model_validator(mode="after")
    def _check_budget(self) -> "PlacementQuestion":
        if (self.goal == "most_valuable") is not (self.budget is not None):
            message = Message("most_valuable needs a budget, other goals have none")
            raise to_pydantic_error("budget-of-goal", message, "budget")
        return self


class PlacementAnswer(ResultMetadata):
    """The selected sites, as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"]
    features: list[dict[str, Any]] = Field(
        description="Points with `cost`, `source`, `name` and the codes that they cover as `covers`."
    )
    goal: Goal
    status: Literal["optimal", "time_limit", "nothing_to_do", "out_of_reach"]
    proven: bool = Field(description="Whether there is no better selection of these sites.")
    cost: float
    value: float
    bound: float = Field(description="No selection costs less; with `most_valuable`: none has a greater value.")
    gap: float = Field(description="How far the result may be from the optimum; 0 is proven.")
    points: int = Field(description="Number of control points to cover that need this function.")
    met_before: int = Field(description="Of these, the number that is covered now.")
    met_after: int
    candidates: int = Field(description="Number of sites within range of a point that lacks a device.")
    out_of_reach: list[str] = Field(description="Codes of points that no selection of these sites can cover.")


_QUERY: Final = TypeAdapter(PlacementQuestion)
_INVALID_QUERY: Final = Message("The placement query is not valid")


@dataclass(frozen=True, eq=False)
class _Points:
    """The control points to cover that need the function."""

    row: Ints
    shape: NDArray[np.object_]
    """In metres."""
    need: Ints
    """How many devices each needs."""
    have: Ints
    """How many of these it has."""
    value: Floats

    @property
    def is_open(self) -> Bools:
        return np.asarray(self.have < self.need)


@dataclass(frozen=True, eq=False)
class _Sites:
    """Locations where a device could be installed."""

    lonlat: Floats
    cost: Floats
    source: list[str]
    name: list[str | None]


@dataclass(frozen=True, eq=False)
class _Problem:
    """The input of the solver: plain columns that can be sent to another process."""

    points: _Points
    sites: _Sites
    covers: csr_array
    """Which sites serve which points."""
    budget: float | None
    """None: cover everything."""

    def select_sites(self, time_limit_s: float) -> placement_engine.Placement:
        """Return the best selection of sites that is found within the time limit."""
        points, cost = self.points, self.sites.cost
        columns = {"need": points.need, "have": points.have, "value": points.value}
        if self.budget is None:
            return placement_engine.solve_set_covering(self.covers, cost, **columns, time_limit_s=time_limit_s)
        return placement_engine.solve_maximal_covering(
            self.covers, cost, self.budget, **columns, time_limit_s=time_limit_s
        )


async def run_placement(
    service: AnalysisService,
    jurisdiction: str,
    payload: object,
    principal: Principal,
    disconnect: DisconnectWaiter | None = None,
) -> dict[str, Any]:
    """Return the sites to select.

    Raises
    ------
    Invalid
        with every issue of the query.
    TooLarge
        if there are more sites than the solver can compare.
    """
    principal.require_role_in("analyst", [jurisdiction])
    try:
        query = _QUERY.validate_python(payload)
    except ValidationError as error:
        raise build_invalid(_INVALID_QUERY, to_issues(error)) from error
    analysis = await service.load_analysis(jurisdiction, principal, disconnect)
    problem = await service.run_in_thread(_build_problem, analysis, query)
    best = await service.run_in_thread(problem.select_sites, min(query.time_limit_s, _IN_THREAD_S))
    if best.status == "time_limit" and query.time_limit_s > _IN_THREAD_S:
        best = await service.run_in_process(problem.select_sites, query.time_limit_s, disconnect=disconnect)
    return await service.run_in_thread(partial(_build_placement, analysis, query, problem, best))


def _build_problem(analysis: Analysis, query: PlacementQuestion) -> _Problem:
    projection = analysis.projection
    points = _select_points(analysis, query, projection)
    rows = list(_iter_given_sites(query) if query.sites is not None else iter_registry_sites(analysis, query))
    sites = _Sites(
        np.array([lonlat for lonlat, *_ in rows], np.float64).reshape(-1, 2),
        np.array([cost for _, cost, *_ in rows], np.float64),
        [source for _, _, source, _ in rows],
        [name for *_, name in rows],
    )
    sites = select_sites_in_range(sites, points, query.range_m, projection)
    xy = sites.lonlat if projection is None else projection.to_metres(sites.lonlat)
    covers = placement_engine.build_site_coverage(xy, points.shape, query.range_m)
    budget = (query.budget or 0.0) if query.goal == "most_valuable" else None
    return _Problem(points, sites, covers, budget)


def _build_placement(
    analysis: Analysis, query: PlacementQuestion, problem: _Problem, best: placement_engine.Placement
) -> dict[str, Any]:
    points, sites, code = problem.points, problem.sites, analysis.points.code
    return build_feature_collection(
        analysis,
        [
            {
                "type": "Feature",
                "id": site,
                "geometry": {"type": "Point", "coordinates": sites.lonlat[site].round(7).tolist()},
                "properties": {
                    "source": sites.source[site],
                    "name": sites.name[site],
                    "cost": float(sites.cost[site]),
                    "covers": sorted(code[points.row[point]] for point in problem.covers[[site]].indices),
                },
            }
            for site in best.sites.tolist()
        ],
        goal=query.goal,
        status=best.status,
        proven=best.status != "time_limit",
        cost=best.cost,
        value=best.value,
        bound=best.bound,
        gap=best.gap,
        points=len(points.row),
        met_before=int((~points.is_open).sum()),
        met_after=int((best.covered >= points.need).sum()),
        candidates=len(sites.cost),
        out_of_reach=[code[row] for row in points.row[best.out_of_reach].tolist()],
    )


def _select_points(analysis: Analysis, query: PlacementQuestion, projection: LocalProjection | None) -> _Points:
    need, have = count_devices(analysis, query)
    rows = np.flatnonzero(need > 0)
    if query.points is not None:
        row_of = {code: row for row, code in enumerate(analysis.points.code)}
        issues = [
            Issue(
                f"/points/{index}", "not-found", Message("there is no {kind} {code!r}", kind="control point", code=code)
            )
            for index, code in enumerate(query.points)
            if code not in row_of
        ]
        if issues:
            raise build_invalid(_INVALID_QUERY, issues)
        rows = np.intersect1d(rows, np.array([row_of[code] for code in query.points], np.int64))
    category = analysis.snapshot.points["category"]
    weights = {str(name): weight for name, weight in query.weights.items()}
    value = np.array([weights.get(category[row], 1.0) for row in rows.tolist()], np.float64)
    shapes = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows.tolist()):
        shapes[index] = analysis.points.shape.get(row) or shapely.Point(*analysis.points.lonlat[row])
    if len(rows) and projection is not None:
        shapes = np.asarray(shapely.transform(shapes, projection.to_metres), dtype=object)
    return _Points(rows, shapes, need[rows], have[rows], value)


def count_devices(analysis: Analysis, query: PlacementQuestion) -> tuple[Ints, Ints]:
    """Return for every control point how many devices it needs, and how many of these it has.

    The need that lacks most decides, so that devices for another need do not count for it.
    """
    assessment = analysis.assessment
    need_count = np.zeros(len(analysis.points), np.int64)
    have_count, lack = need_count.copy(), np.full(len(need_count), -1, np.int64)
    minimum = _BACKUP_COUNT if query.goal == "backup" else 1
    for unit, (point, need_index) in enumerate(
        zip(assessment.need_point.tolist(), assessment.need_index.tolist(), strict=True)
    ):
        need = analysis.points.needs[point][need_index]
        if need.function != query.function:
            continue
        required, working = max(need.working, minimum), int(assessment.count[unit])
        missing = max(required - working, 0)
        if missing > lack[point]:
            need_count[point], have_count[point], lack[point] = required, min(working, required), missing
    return need_count, have_count


_SiteRow = tuple[list[float], float, str, str | None]
"""Location, cost, source and name."""


def _iter_given_sites(query: PlacementQuestion) -> Iterator[_SiteRow]:
    for index, site in enumerate(query.sites or ()):
        lon, lat = site.at
        if not (-180 <= lon <= 180 and -90 <= lat <= 90):
            message = Message("not a longitude and latitude in degrees")
            raise build_invalid(_INVALID_QUERY, [Issue(f"/sites/{index}/at", "out-of-range", message)])
        yield site.at, site.cost, "given", site.name


def iter_registry_sites(analysis: Analysis, query: PlacementQuestion) -> Iterator[_SiteRow]:
    """Yield the control points, crossings and junctions of the registry, as far as the query has these sources."""
    cost_of = {str(source): query.costs.get(source, 1.0) for source in query.sources}
    if "control_point" in cost_of:
        for code, lonlat in zip(analysis.points.code, analysis.points.lonlat.tolist(), strict=True):
            yield lonlat, cost_of["control_point"], "control_point", code
    network = compute_road_network(analysis)
    if network is None:
        return
    if "crossing" in cost_of:
        for level in network.levels:
            locations = network.projection.to_lonlat(network.crossed[level].xy).tolist()
            for crossing, lonlat in zip(network.crossing_ids[level], locations, strict=True):
                yield lonlat, cost_of["crossing"], "crossing", crossing
    if "junction" in cost_of:
        junctions = np.flatnonzero(network.roads.report.degree > 2)
        for lonlat in network.projection.to_lonlat(network.network.node_xy[junctions]).tolist():
            yield lonlat, cost_of["junction"], "junction", None


def select_sites_in_range(sites: _Sites, points: _Points, range_m: float, projection: LocalProjection | None) -> _Sites:
    """Return the sites within range of a point that lacks a device."""
    in_range = np.zeros(len(sites.cost), np.bool_)
    if projection is not None and len(sites.cost) and points.is_open.any():
        centre_xy = shapely.get_coordinates(points.shape).mean(axis=0)
        centre = projection.to_lonlat(centre_xy[np.newaxis])[0]
        rows = np.flatnonzero(np.abs(sites.lonlat - centre).max(axis=1) < _MAX_DISTANCE_DEG)
        xy = projection.to_metres(sites.lonlat[rows])
        covers = placement_engine.build_site_coverage(xy, points.shape[points.is_open], range_m)
        in_range[rows] = np.diff(covers.indptr) > 0
    rows = np.flatnonzero(in_range)
    if len(rows) > MAX_SITES:
        detail = Message(
            "{count:,} sites are within range; at most {limit:,} can be compared. Send fewer points or fewer sources.",
            count=len(rows),
            limit=MAX_SITES,
        )
        raise TooLarge(detail, MAX_SITES)
    return _Sites(
        sites.lonlat[rows],
        sites.cost[rows],
        [sites.source[row] for row in rows.tolist()],
        [sites.name[row] for row in rows.tolist()],
    )
