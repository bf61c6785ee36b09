"""Where new devices should go: the question of placement asked of a state.

A device that is not there yet serves every direction; so a point lacks as many as its most wanting
need of the function does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from scipy.sparse import csr_array

from app.access.roles import Principal
from app.analysis.coverage.schemas import Answer
from app.analysis.crossings import road_network
from app.analysis.engine_input import Computed
from app.analysis.metadata import collection
from app.analysis.service import Answers
from app.analysis.single_flight import Gone
from app.errors import Invalid, Issue, TooLarge
from app.geo.arrays import Floats, Ints
from app.geo.coverage import placement
from app.geo.projection.local_projection import Frame
from app.models.fields import CodeText
from app.models.vocabulary import Category, Function
from app.records import payloads

# Questions of placement and their answers as they travel.

MOST_SITES: Final = 20_000
Place = Literal["crossing", "junction", "control_point"]
_PLACES: Final[tuple[Place, ...]] = ("crossing", "junction", "control_point")
Goal = Literal["cover_all", "backup", "most_valuable"]
_Cost = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Site(_Strict):
    """A place where a device could be put."""

    at: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)] = Field(
        description="[lon, lat] in degrees.", examples=[[113.24, 35.22]]
    )
    cost: _Cost = Field(1.0, description="What a device there costs.")
    name: str | None = Field(None, max_length=100, description="What to call it in the answer.")


class PlacementQuestion(_Strict):
    """Where new devices should go. What is covered now stays as it is and is not bought twice."""

    goal: Goal = Field(
        description="`cover_all`: cheapest that covers every open point; `backup`: every point by "
        "two devices; `most_valuable`: the greatest value within `budget`."
    )
    function: Function = Field("vehicle", description="What the new devices can do.")
    range_m: float = Field(gt=0, le=5000, allow_inf_nan=False, description="How far a new device serves.")
    points: list[CodeText] | None = Field(
        None, max_length=10_000, description="Control points that matter; not given: all."
    )
    weights: dict[Category, Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="Value of a point by its category; not given: 1."
    )
    sites: list[Site] | None = Field(
        None, max_length=MOST_SITES, description="Where devices could go; not given: see `sources`."
    )
    sources: list[Place] = Field(
        default_factory=lambda: list(_PLACES),
        max_length=3,
        description="Places of the registry where devices could go, where no sites are given.",
    )
    costs: dict[Place, _Cost] = Field(default_factory=dict, description="Cost of a device by source; not given: 1.")
    budget: float | None = Field(
        None, ge=0, le=1e12, allow_inf_nan=False,
        description="With `most_valuable`: what may be spent; with costs of 1, how many devices.",
    )  # fmt: skip
    time_limit_s: float = Field(
        10.0, ge=0.1, le=60, allow_inf_nan=False,
        description="When it is up, the best found so far is told with its bound.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _budget_where_it_counts(self) -> "PlacementQuestion":
        if (self.goal == "most_valuable") is not (self.budget is not None):
            raise PydanticCustomError(
                "budget-of-goal", "most_valuable needs a budget, nothing else has one",
                {"member": "budget"},
            )  # fmt: skip
        return self


class PlacementAnswer(Answer):
    """The sites to take, as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"]
    features: list[dict[str, Any]] = Field(
        description="Points with `cost`, `source`, `name` and the codes they `cover`."
    )
    goal: Goal
    status: Literal["optimal", "time_limit", "nothing_to_do", "out_of_reach"]
    proven: bool = Field(description="No better answer exists among these sites.")
    cost: float
    value: float
    bound: float = Field(description="No answer costs less; with `most_valuable`: none is worth more.")
    gap: float = Field(description="How far the answer may be from the optimum; 0 is proven.")
    points: int = Field(description="Control points that matter and need this function.")
    met_before: int = Field(description="Of these, met as often as needed now.")
    met_after: int
    candidates: int = Field(description="Sites within range of a point that lacks something.")
    out_of_reach: list[str] = Field(description="Points that no choice of these sites can meet.")


_QUESTION: Final = TypeAdapter(PlacementQuestion)
_BACKUP: Final = 2
_QUICK_S: Final = 1.0
"""Most questions are answered in less; what takes longer is asked again in a process of its own."""
_SITE_FAR_DEG: Final = 2.0
"""A site so far from every point that it must be a mistake."""


@dataclass(frozen=True, eq=False)
class _Points:
    """Control points that need the function."""

    row: Ints
    shape: NDArray[np.object_]
    """In metres."""
    need: Ints
    have: Ints
    value: Floats


@dataclass(frozen=True, eq=False)
class _Sites:
    """Places where a device could go."""

    lonlat: Floats
    cost: Floats
    source: list[str]
    name: list[str | None]


async def answer(
    answers: Answers,
    jurisdiction: str,
    payload: object,
    who: Principal,
    gone: Gone | None = None,
) -> dict[str, Any]:
    """Return the sites to take.

    Raises
    ------
    Invalid
        with every fault of the question.
    TooLarge
        when there are more sites than can be weighed.
    """
    who.need_in("analyst", [jurisdiction])
    try:
        question = _QUESTION.validate_python(payload)
    except ValidationError as error:
        faults = payloads.faults_of(error)
        detail = f"The question is not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error
    base = await answers.computed(jurisdiction, who, gone)
    problem = await answers.aside(_problem, base, question)
    limit = question.time_limit_s
    best = await answers.aside(problem.solved, min(limit, _QUICK_S))
    if best.status == "time_limit" and limit > _QUICK_S:
        best = await answers.apart(problem.solved, limit, gone=gone)
    told: dict[str, Any] = await answers.aside(partial(_told, base, question, problem, best))
    return told


@dataclass(frozen=True, eq=False)
class _Problem:
    """A question as the solver takes it: plain columns, fit for another process."""

    points: _Points
    sites: _Sites
    covers: csr_array
    """Which sites serve which points."""
    budget: float | None
    """None: cover everything."""

    def solved(self, time_limit_s: float) -> placement.Placement:
        """Return the best sites that are found in the time."""
        points, sites = self.points, self.sites
        known = {"need": points.need, "have": points.have, "value": points.value}
        if self.budget is None:
            return placement.fewest(self.covers, sites.cost, **known, time_limit_s=time_limit_s)
        return placement.most(self.covers, sites.cost, self.budget, **known, time_limit_s=time_limit_s)


def _problem(found: Computed, question: PlacementQuestion) -> _Problem:
    frame = found.frame
    points = _points(found, question, frame)
    lacking = points.have < points.need
    sites = _within(_sites(found, question), points, lacking, question.range_m, frame)
    xy = sites.lonlat if frame is None else frame.to_metres(sites.lonlat)
    covers = placement.coverage(xy, points.shape, question.range_m)
    valuable = question.goal == "most_valuable"
    return _Problem(points, sites, covers, (question.budget or 0.0) if valuable else None)


def _told(found: Computed, question: PlacementQuestion, problem: _Problem, best: placement.Placement) -> dict[str, Any]:
    points, sites, covers = problem.points, problem.sites, problem.covers
    lacking = points.have < points.need
    code = found.points.code
    return collection(
        found,
        [
            _site(sites, site, [code[points.row[point]] for point in covers[[site]].indices])
            for site in best.sites.tolist()
        ],
        goal=question.goal,
        status=best.status,
        proven=best.status != "time_limit",
        cost=best.cost,
        value=best.value,
        bound=best.bound,
        gap=best.gap,
        points=len(points.row),
        met_before=int((~lacking).sum()),
        met_after=int((best.covered >= points.need).sum()),
        candidates=len(sites.cost),
        out_of_reach=[code[row] for row in points.row[best.out_of_reach].tolist()],
    )


def _site(sites: _Sites, site: int, codes: list[str]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": site,
        "geometry": {"type": "Point", "coordinates": sites.lonlat[site].round(7).tolist()},
        "properties": {
            "source": sites.source[site],
            "name": sites.name[site],
            "cost": float(sites.cost[site]),
            "covers": sorted(codes),
        },
    }


def _points(found: Computed, question: PlacementQuestion, frame: Frame | None) -> _Points:
    """Return the points that need the function: how many devices in all, and how many there are."""
    need, have = _lacks(found, question)
    row = np.flatnonzero(need > 0)
    if question.points is not None:
        row_of = {code: place for place, code in enumerate(found.points.code)}
        wanted = [row_of.get(code, -1) for code in question.points]
        faults = [
            Issue(f"/points/{place}", "not-found", f"there is no control point {code!r}")
            for place, (code, at) in enumerate(zip(question.points, wanted, strict=True))
            if at < 0
        ]
        if faults:
            raise Invalid(f"The question is not valid: {faults[0].message}.", issues=faults)
        row = np.intersect1d(row, np.array(wanted, np.int64))
    category = found.loaded.points["category"]
    weights = {str(name): weight for name, weight in question.weights.items()}
    value = np.array([weights.get(category[at], 1.0) for at in row.tolist()], np.float64)
    shapes = np.empty(len(row), dtype=object)
    for place, at in enumerate(row.tolist()):
        shapes[place] = found.points.shape.get(at) or shapely.Point(*found.points.lonlat[at])
    if len(row) and frame is not None:
        shapes = np.asarray(shapely.transform(shapes, frame.to_metres), dtype=object)
    return _Points(row, shapes, need[row], have[row], value)


def _lacks(found: Computed, question: PlacementQuestion) -> tuple[Ints, Ints]:
    """Return for every control point how many devices it needs, and how many count towards that.

    Told by the need that lacks most, so that what is there of another need is not counted for it.
    """
    assessment = found.assessment
    need = np.zeros(len(found.points), np.int64)
    have, lack = need.copy(), np.full(len(need), -1, np.int64)
    least = _BACKUP if question.goal == "backup" else 1
    for unit, (point, place) in enumerate(
        zip(assessment.unit_point.tolist(), assessment.unit_need.tolist(), strict=True)
    ):
        wanted = found.points.needs[point][place]
        if wanted.function != question.function:
            continue
        required, there = max(wanted.working, least), int(assessment.count[unit])
        missing = max(required - there, 0)
        if missing > lack[point]:
            need[point], have[point], lack[point] = required, min(there, required), missing
    return need, have


def _sites(found: Computed, question: PlacementQuestion) -> _Sites:
    rows = list(_given(question) if question.sites is not None else _known(found, question))
    lonlat = np.array([at for at, *_ in rows], np.float64).reshape(-1, 2)
    cost = np.array([cost for _, cost, *_ in rows], np.float64)
    return _Sites(lonlat, cost, [row[2] for row in rows], [row[3] for row in rows])


_Row = tuple[list[float], float, str, str | None]


def _given(question: PlacementQuestion) -> Iterator[_Row]:
    for place, site in enumerate(question.sites or ()):
        lon, lat = site.at
        if not (-180 <= lon <= 180 and -90 <= lat <= 90):
            message = "a site is [lon, lat] in degrees"
            fault = Issue(f"/sites/{place}/at", "out-of-range", message)
            raise Invalid(f"The question is not valid: {message}.", issues=(fault,))
        yield site.at, site.cost, "given", site.name


def _known(found: Computed, question: PlacementQuestion) -> Iterator[_Row]:
    """Yield the places of the registry that are asked for."""
    costs = {str(name): cost for name, cost in question.costs.items()}
    if "control_point" in question.sources:
        cost = costs.get("control_point", 1.0)
        for code, at in zip(found.points.code, found.points.lonlat.tolist(), strict=True):
            yield at, cost, "control_point", code
    net = road_network.of(found)
    if net is None:
        return
    if "crossing" in question.sources:
        cost = costs.get("crossing", 1.0)
        for level in net.levels:
            lonlat = net.frame.to_lonlat(net.crossed[level].xy).tolist()
            for name, at in zip(net.name[level], lonlat, strict=True):
                yield at, cost, "crossing", name
    if "junction" in question.sources:
        cost = costs.get("junction", 1.0)
        junctions = np.flatnonzero(net.base.report.degree > 2)
        for at in net.frame.to_lonlat(net.network.node_xy[junctions]).tolist():
            yield at, cost, "junction", None


def _within(
    sites: _Sites,
    points: _Points,
    lacking: np.ndarray[Any, Any],
    range_m: float,
    frame: Frame | None,
) -> _Sites:
    """Return the sites within range of a point that lacks something."""
    if frame is None or not len(sites.cost) or not lacking.any():
        keep = np.zeros(len(sites.cost), np.bool_)
    else:
        near = np.abs(sites.lonlat - _middle(points, frame)).max(axis=1) < _SITE_FAR_DEG
        keep = near.copy()
        rows = np.flatnonzero(near)
        covers = placement.coverage(frame.to_metres(sites.lonlat[rows]), points.shape[lacking], range_m)
        keep[rows] = np.diff(covers.indptr) > 0
    kept = np.flatnonzero(keep)
    if len(kept) > MOST_SITES:
        raise TooLarge(
            f"{len(kept):,} sites are within range; at most {MOST_SITES:,} can be weighed: ask about "
            "fewer points, or of fewer sources.",
            MOST_SITES,
        )
    return _Sites(
        sites.lonlat[kept],
        sites.cost[kept],
        [sites.source[row] for row in kept.tolist()],
        [sites.name[row] for row in kept.tolist()],
    )


def _middle(points: _Points, frame: Frame) -> Floats:
    xy = shapely.get_coordinates(points.shape).mean(axis=0)
    return np.asarray(frame.to_lonlat(xy[np.newaxis])[0])
