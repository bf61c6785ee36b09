"""Routes of crossings and of their waivers."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.analysis.crossings.report import (
    CrossingAnswer,
    CrossingList,
    CrossingQuery,
    CrossingStatus,
    build_crossing,
    build_crossings,
)
from app.decisions import waivers
from app.decisions.waivers import Waiver, WaiverDraft
from app.http.dependencies import (
    AnalysisDep,
    BodyDep,
    DatabaseDep,
    DisconnectDep,
    EditorDep,
    GeoJsonDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    WriteContextDep,
    check_query_names,
)
from app.http.negotiation import GEOJSON, JSON
from app.http.openapi import GEOJSON_CONTENT, describe_body, describe_problems
from app.http.paging import HistoryPage, PageDep, build_history_page
from app.http.parameters import JurisdictionPath
from app.http.responses import build_json_response, build_record_response
from app.http.routing import Route
from app.models.vocabulary import Level

router = APIRouter(
    prefix="/v1/jurisdictions/{code}/coverage/crossings",
    tags=["crossings"],
    dependencies=[Depends(check_query_names)],
    route_class=Route,
)

CrossingPath = Annotated[str, Path(pattern="^(core|urban|city)-[0-9a-f]{12}$", description="Id of the crossing.")]
_OR_GEOJSON: dict[str, Any] = {"content": GEOJSON_CONTENT}


@router.get(
    "",
    summary="Where roads cross the rings: guarded, open or waived, and beside the plan",
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


@router.get(
    "/{crossing}/waiver",
    summary="The waiver of a crossing",
    responses={200: {"model": Waiver}, **describe_problems(401, 403, 404, 422)},
)
async def get_waiver(
    code: JurisdictionPath, crossing: CrossingPath, principal: PrincipalDep, connection: ReadDep
) -> Response:
    version, body = await waivers.get(connection, code, crossing, principal)
    return build_record_response(body, version)


@router.get(
    "/{crossing}/waiver/history",
    summary="Changes of the waiver of a crossing, newest first",
    responses={200: {"model": HistoryPage}, **describe_problems(401, 403, 404, 422)},
)
async def list_waiver_history(
    request: Request,
    code: JurisdictionPath,
    crossing: CrossingPath,
    principal: PrincipalDep,
    connection: ReadDep,
    paging: PageDep,
) -> Response:
    changes, before = await waivers.history(
        connection, code, crossing, principal, before=paging.before_sequence, limit=paging.limit
    )
    return build_history_page(request, changes, before)


@router.put(
    "/{crossing}/waiver",
    summary="Decide that a crossing need not be guarded, with a reason and an end",
    responses={
        200: {"model": Waiver},
        201: {"model": Waiver},
        **describe_problems(401, 403, 404, 409, 412, 413, 415, 422),
    },
    openapi_extra=describe_body(WaiverDraft),
)
async def put_waiver(
    code: JurisdictionPath,
    crossing: CrossingPath,
    principal: EditorDep,
    payload: BodyDep,
    precondition: PreconditionDep,
    service: AnalysisDep,
    database: DatabaseDep,
    context: WriteContextDep,
) -> Response:
    written, body = await waivers.put(database, service, code, crossing, payload, principal, precondition, context)
    location = f"/v1/jurisdictions/{code}/coverage/crossings/{crossing}/waiver"
    return build_record_response(body, written.version, status=201 if written.created else 200, Location=location)


@router.delete(
    "/{crossing}/waiver",
    status_code=204,
    summary="End a waiver before its time; its history stays",
    responses={204: {"description": "Removed."}, **describe_problems(401, 403, 404, 412, 422)},
)
async def remove_waiver(
    code: JurisdictionPath,
    crossing: CrossingPath,
    principal: EditorDep,
    precondition: PreconditionDep,
    database: DatabaseDep,
    context: WriteContextDep,
) -> Response:
    await waivers.remove(database, code, crossing, principal, precondition, context)
    return Response(status_code=204)
