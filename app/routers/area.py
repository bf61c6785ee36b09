"""Routes of fields of view and of the area they cover."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.analysis.coverage.area import MAX_K, AreaCoverage, AreaQuery, build_area
from app.analysis.coverage.fields_of_view import FieldOfView, FieldOfViewQuery
from app.http.dependencies import AnalysisDep, BboxDep, DisconnectDep, PrincipalDep, check_query_names
from app.http.negotiation import GEOJSON
from app.http.openapi import GEOJSON_CONTENT, describe_problems
from app.http.paging import PageDep, build_page
from app.http.parameters import CodePath, JurisdictionPath, OnlyGeoJsonQuery
from app.http.responses import build_json_response
from app.http.routing import Route
from app.models.vocabulary import Function, Level, Zone

router = APIRouter(prefix="/v1", tags=["area"], dependencies=[Depends(check_query_names)], route_class=Route)

_GEOJSON: dict[str, Any] = {
    "description": "GeoJSON FeatureCollection, a page of it.",
    "content": GEOJSON_CONTENT,
}
FunctionQuery = Annotated[
    Function | None,
    Query(description="Function whose pixel density limits the view; not given: any camera's own."),
]


@router.get(
    "/cameras/{code}/field-of-view",
    summary="What one camera sees on the ground, why so far, and which buildings cut it",
    responses={
        200: {"model": FieldOfView, "content": GEOJSON_CONTENT},
        **describe_problems(401, 403, 404, 409, 422),
    },
)
async def get_field_of_view(
    code: CodePath,
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    function: FunctionQuery = None,
    _f: OnlyGeoJsonQuery = None,
) -> Response:
    body = await service.load_field_of_view(code, principal, function, disconnect)
    return build_json_response(body, GEOJSON)


@router.get(
    "/jurisdictions/{code}/coverage/fields-of-view",
    summary="What every camera sees, as GeoJSON in code order",
    responses={200: _GEOJSON, **describe_problems(401, 403, 404, 409, 422)},
)
async def list_fields_of_view(
    request: Request,
    code: JurisdictionPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    paging: PageDep,
    bbox: BboxDep,
    function: FunctionQuery = None,
    zone: Annotated[Zone | None, Query(description="Zone the camera hangs in.")] = None,
    working: Annotated[bool | None, Query(description="Whether the camera works now.")] = None,
    _f: OnlyGeoJsonQuery = None,
) -> Response:
    query = FieldOfViewQuery(function=function, zone=zone, working=working, bbox=bbox)
    bodies, count, after, members = await service.load_field_of_view_page(
        code, principal, query, limit=paging.limit, after=paging.after, disconnect=disconnect
    )
    return build_page(request, bodies, count, after, geojson=True, members=members)


@router.get(
    "/jurisdictions/{code}/coverage/area",
    summary="Covered area of each zone: once, k times, and what only one camera sees",
    responses={200: {"model": AreaCoverage}, **describe_problems(401, 403, 404, 409, 413, 422)},
)
async def get_area(
    code: JurisdictionPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    zone: Annotated[Level | None, Query(description="Zone asked for; not given: all.")] = None,
    function: FunctionQuery = None,
    k: Annotated[int, Query(ge=1, le=MAX_K, description="Up to how many cameras on one place.")] = 2,
    working: Annotated[bool, Query(description="Only cameras that work now; `false`: every camera in use.")] = True,
    shares: Annotated[bool, Query(description="Add what each camera sees and what only it sees.")] = False,
) -> Response:
    query = AreaQuery(zone=zone, function=function, k=k, working=working, shares=shares)
    return build_json_response(await service.load_result(code, principal, build_area, query, disconnect))
