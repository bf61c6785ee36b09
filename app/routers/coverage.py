"""Routes of coverage: the summary, the control points with their reasons, the gaps."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.analysis.coverage.area import MOST_TIMES
from app.analysis.coverage.area import Wanted as AreaWanted
from app.analysis.coverage.report import Wanted
from app.analysis.coverage.schemas import CoverageSummary, PointCoverage, PointCoverageList
from app.analysis.crossings.road_report import NetworkAnswer
from app.analysis.service import Answers
from app.http import responses
from app.http.dependencies import GeoJsonDep, GoneDep, PrincipalDep, known_parameters
from app.http.openapi import problems
from app.http.precompiled_routes import PreparedRoute
from app.models.vocabulary import Category, Function, Level, Status, Zone

router = APIRouter(
    prefix="/v1/jurisdictions/{code}/coverage",
    tags=["coverage"],
    dependencies=[Depends(known_parameters)],
    route_class=PreparedRoute,
)

Jurisdiction = Annotated[str, Path(pattern="^[0-9]{6}$", description="Division code.")]
_OR_GEOJSON: dict[str, Any] = {"content": {"application/geo+json": {"schema": {"type": "object"}}}}
_GEOJSON: dict[str, Any] = {"description": "GeoJSON FeatureCollection.", **_OR_GEOJSON}


async def _answers(request: Request) -> Answers:
    found: Answers = request.app.state.answers
    return found


AnswersDep = Annotated[Answers, Depends(_answers)]


@router.get(
    "",
    summary="The summary: plan, statuses, zones, rings, devices",
    responses={200: {"model": CoverageSummary}, **problems(401, 403, 404, 409, 422)},
)
async def get_summary(code: Jurisdiction, who: PrincipalDep, coverage: AnswersDep, gone: GoneDep) -> Response:
    return responses.raw(await coverage.summary(code, who, gone))


@router.get(
    "/network",
    summary="The road network: components, dead ends at the rings, what is drawn twice or not at all",
    responses={200: {"model": NetworkAnswer}, **problems(401, 403, 404, 409, 422)},
)
async def get_network(code: Jurisdiction, who: PrincipalDep, coverage: AnswersDep, gone: GoneDep) -> Response:
    return responses.raw(await coverage.network(code, who, gone))


@router.get(
    "/control-points",
    summary="Every control point with its status and reasons",
    responses={
        200: {"model": PointCoverageList, **_OR_GEOJSON},
        **problems(401, 403, 404, 409, 422),
    },
)
async def list_points(
    code: Jurisdiction,
    who: PrincipalDep,
    coverage: AnswersDep,
    geojson: GeoJsonDep,
    gone: GoneDep,
    status: Annotated[Status | None, Query(description="How it is covered.")] = None,
    category: Annotated[Category | None, Query(description="Category of control point.")] = None,
    zone: Annotated[Zone | None, Query(description="Innermost ring it lies in.")] = None,
) -> Response:
    wanted = Wanted(status=status, category=category, zone=zone)
    body = await coverage.points(code, who, wanted, geojson=geojson, gone=gone)
    return responses.raw(body, responses.GEOJSON if geojson else responses.JSON)


@router.get(
    "/control-points/{control_point}",
    summary="One control point explained: every candidate device and what it lacks",
    responses={200: {"model": PointCoverage, **_OR_GEOJSON}, **problems(401, 403, 404, 409, 422)},
)
async def get_point(
    code: Jurisdiction,
    control_point: Annotated[str, Path(pattern=r"^[A-Za-z0-9._:\-]{1,64}$", description="Code of the control point.")],
    who: PrincipalDep,
    coverage: AnswersDep,
    geojson: GeoJsonDep,
) -> Response:
    body = await coverage.point(code, who, control_point, geojson=geojson)
    return responses.raw(body, responses.GEOJSON if geojson else responses.JSON)


@router.get(
    "/gaps",
    summary="What is not covered, and why, as GeoJSON",
    responses={200: _GEOJSON, **problems(401, 403, 404, 409, 422)},
)
async def list_gaps(
    code: Jurisdiction,
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    type: Annotated[Literal["control_point", "crossing", "area"] | None, Query(description="Kind of gap.")] = None,
    level: Annotated[Level | None, Query(description="Ring of an open crossing.")] = None,
    category: Annotated[Category | None, Query(description="Category of control point.")] = None,
    zone: Annotated[Zone | None, Query(description="Innermost ring it lies in.")] = None,
    function: Annotated[
        Function | None, Query(description="Area: function whose pixel density limits the views.")
    ] = None,
    k: Annotated[int, Query(ge=1, le=MOST_TIMES, description="Area: seen by fewer than so many cameras.")] = 1,
    min_gap_m2: Annotated[float, Query(ge=0, le=1e9, description="Area: smaller pieces are left out.")] = 100.0,
    working: Annotated[bool, Query(description="Area: only cameras that work now; `false`: all in use.")] = True,
    _f: Annotated[Literal["geojson"] | None, Query(alias="f", description="GeoJSON is the one format.")] = None,
) -> Response:
    ground = AreaWanted(zone, function, k, min_gap_m2, working)
    wanted = Wanted(category=category, zone=zone, type=type, level=level, ground=ground)
    return responses.raw(await coverage.gaps(code, who, wanted, gone), responses.GEOJSON)
