"""Routes of coverage: the summary, the control points with their reasons, the gaps."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response

from app.analysis.coverage.area import MAX_K, AreaQuery
from app.analysis.coverage.report import (
    CoverageQuery,
    CoverageSummary,
    GapQuery,
    PointCoverage,
    PointCoverageList,
    build_gaps,
    build_point,
    build_points,
    build_summary,
)
from app.analysis.crossings.road_report import NetworkAnswer, build_road_report
from app.http.dependencies import AnalysisDep, DisconnectDep, GeoJsonDep, PrincipalDep, check_query_names
from app.http.negotiation import GEOJSON, JSON
from app.http.openapi import GEOJSON_CONTENT, describe_problems
from app.http.parameters import (
    CategoryQuery,
    ControlPointPath,
    JurisdictionPath,
    LevelQuery,
    OnlyGeoJsonQuery,
    ZoneQuery,
)
from app.http.responses import build_json_response
from app.http.routing import Route
from app.models.vocabulary import Function, Status

router = APIRouter(
    prefix="/v1/jurisdictions/{code}/coverage",
    tags=["coverage"],
    dependencies=[Depends(check_query_names)],
    route_class=Route,
)

_OR_GEOJSON: dict[str, Any] = {"content": GEOJSON_CONTENT}
_GEOJSON: dict[str, Any] = {"description": "GeoJSON FeatureCollection.", **_OR_GEOJSON}


@router.get(
    "",
    summary="The summary: plan, statuses, zones, rings, devices",
    responses={200: {"model": CoverageSummary}, **describe_problems(401, 403, 404, 409, 422)},
)
async def get_summary(
    code: JurisdictionPath, principal: PrincipalDep, service: AnalysisDep, disconnect: DisconnectDep
) -> Response:
    return build_json_response(await service.load_result(code, principal, build_summary, None, disconnect))


@router.get(
    "/network",
    summary="The road network: components, dead ends at the rings, what is drawn twice or not at all",
    responses={200: {"model": NetworkAnswer}, **describe_problems(401, 403, 404, 409, 422)},
)
async def get_network(
    code: JurisdictionPath, principal: PrincipalDep, service: AnalysisDep, disconnect: DisconnectDep
) -> Response:
    return build_json_response(await service.load_result(code, principal, build_road_report, None, disconnect))


@router.get(
    "/control-points",
    summary="Every control point with its status and reasons",
    responses={
        200: {"model": PointCoverageList, **_OR_GEOJSON},
        **describe_problems(401, 403, 404, 409, 422),
    },
)
async def list_points(
    code: JurisdictionPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    geojson: GeoJsonDep,
    disconnect: DisconnectDep,
    status: Annotated[Status | None, Query(description="How it is covered.")] = None,
    category: CategoryQuery = None,
    zone: ZoneQuery = None,
) -> Response:
    query = CoverageQuery(status=status, category=category, zone=zone, geojson=geojson)
    body = await service.load_result(code, principal, build_points, query, disconnect)
    return build_json_response(body, GEOJSON if geojson else JSON)


@router.get(
    "/control-points/{control_point}",
    summary="One control point explained: every candidate device and what it lacks",
    responses={200: {"model": PointCoverage, **_OR_GEOJSON}, **describe_problems(401, 403, 404, 409, 422)},
)
async def get_point(
    code: JurisdictionPath,
    control_point: ControlPointPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    geojson: GeoJsonDep,
) -> Response:
    body = await service.load_item(code, principal, "control point", control_point, build_point, geojson)
    return build_json_response(body, GEOJSON if geojson else JSON)


@router.get(
    "/gaps",
    summary="What is not covered, and why, as GeoJSON",
    responses={200: _GEOJSON, **describe_problems(401, 403, 404, 409, 422)},
)
async def list_gaps(
    code: JurisdictionPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    type: Annotated[Literal["control_point", "crossing", "area"] | None, Query(description="Kind of gap.")] = None,
    level: LevelQuery = None,
    category: CategoryQuery = None,
    zone: ZoneQuery = None,
    function: Annotated[
        Function | None, Query(description="Area: function whose pixel density limits the views.")
    ] = None,
    k: Annotated[int, Query(ge=1, le=MAX_K, description="Area: seen by fewer than so many cameras.")] = 1,
    min_gap_m2: Annotated[float, Query(ge=0, le=1e9, description="Area: smaller pieces are left out.")] = 100.0,
    working: Annotated[bool, Query(description="Area: only cameras that work now; `false`: all in use.")] = True,
    _f: OnlyGeoJsonQuery = None,
) -> Response:
    query = GapQuery(type, level, category, zone, AreaQuery(zone, function, k, min_gap_m2, working))
    return build_json_response(await service.load_result(code, principal, build_gaps, query, disconnect), GEOJSON)
