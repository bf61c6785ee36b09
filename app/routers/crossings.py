"""Routes of crossings and of their waivers."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from app.analysis.crossings.report import (
    CrossingAnswer,
    CrossingList,
    CrossingQuery,
    CrossingStatus,
    build_crossing,
    build_crossings,
)
from app.decisions.waivers import WAIVER, WaiverDocument, WaiverDraft, save_waiver
from app.http.dependencies import AnalysisDep, DisconnectDep, GeoJsonDep, PrincipalDep, check_query_names
from app.http.negotiation import GEOJSON, JSON
from app.http.openapi import GEOJSON_CONTENT, describe_problems
from app.http.parameters import JurisdictionPath
from app.http.responses import build_json_response
from app.http.routing import Route
from app.models.vocabulary import Level
from app.routers.decisions import DecisionRoutes, add_decision_routes

router = APIRouter(
    prefix="/v1/jurisdictions/{code}/coverage/crossings",
    tags=["crossings"],
    dependencies=[Depends(check_query_names)],
    route_class=Route,
)

_CROSSING_PARAMETER: Any = Path(
    alias="crossing", pattern="^(core|urban|city)-[0-9a-f]{12}$", description="Id of the crossing."
)
CrossingPath = Annotated[str, _CROSSING_PARAMETER]
_OR_GEOJSON: dict[str, Any] = {"content": GEOJSON_CONTENT}


@router.get(
    "",
    summary="Where roads cross the rings: guarded, open or waived, and compared with the plan",
    responses={200: {"model": CrossingList, **_OR_GEOJSON}, **describe_problems(401, 403, 404, 409, 422)},
)
async def list_crossings(
    code: JurisdictionPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    geojson: GeoJsonDep,
    disconnect: DisconnectDep,
    level: Annotated[Level | None, Query(description="Ring that is crossed.")] = None,
    guarded: Annotated[bool | None, Query(description="Whether every direction traffic can take is guarded.")] = None,
    status: Annotated[CrossingStatus | None, Query(description="How it stands.")] = None,
) -> Response:
    query = CrossingQuery(level=level, guarded=guarded, status=status, geojson=geojson)
    body = await service.load_result(code, principal, build_crossings, query, disconnect)
    return build_json_response(body, GEOJSON if geojson else JSON)


@router.get(
    "/{crossing}",
    summary="One crossing: directions, guards, what is missing and why",
    responses={200: {"model": CrossingAnswer, **_OR_GEOJSON}, **describe_problems(401, 403, 404, 409, 422)},
)
async def get_crossing(
    code: JurisdictionPath,
    crossing: CrossingPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    geojson: GeoJsonDep,
) -> Response:
    body = await service.load_item(code, principal, "crossing", crossing, build_crossing, geojson)
    return build_json_response(body, GEOJSON if geojson else JSON)


add_decision_routes(
    router,
    DecisionRoutes(
        WAIVER,
        path="/{crossing}/waiver",
        parameter=_CROSSING_PARAMETER,
        draft=WaiverDraft,
        document=WaiverDocument,
        save=save_waiver,
        save_summary="Decide that a crossing need not be guarded, with a reason and an end",
    ),
)
