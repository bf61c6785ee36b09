"""Routes of fields of view and of the area they cover."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.analysis.coverage.area import MOST_TIMES, Wanted
from app.analysis.coverage.area_schemas import AreaCoverage, FieldOfView
from app.analysis.coverage.fields_of_view import Wanted as Views
from app.http import responses
from app.http.dependencies import BboxDep, GoneDep, PageDep, PrincipalDep, known_parameters
from app.http.openapi import problems
from app.models.vocabulary import Function, Level, Zone
from app.routers.coverage import AnswersDep, Jurisdiction
from app.routers.records import Code

router = APIRouter(prefix="/v1", tags=["area"], dependencies=[Depends(known_parameters)])

_GEOJSON: dict[str, Any] = {
    "description": "GeoJSON FeatureCollection, a page of it.",
    "content": {"application/geo+json": {"schema": {"type": "object"}}},
}
ForFunction = Annotated[
    Function | None,
    Query(description="Function whose pixel density limits the view; not given: any camera's own."),
]
_ONLY_GEOJSON: Any = Query(alias="f", description="GeoJSON is the one format.", pattern="^geojson$")


@router.get(
    "/cameras/{code}/field-of-view",
    summary="What one camera sees on the ground, why so far, and which buildings cut it",
    responses={
        200: {
            "model": FieldOfView,
            "content": {"application/geo+json": {"schema": {"type": "object"}}},
        },
        **problems(401, 403, 404, 409, 422),
    },
)
async def get_field_of_view(
    code: Code,
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    function: ForFunction = None,
    _f: Annotated[str | None, _ONLY_GEOJSON] = None,
) -> Response:
    body = await coverage.view_of(code, who, function, gone)
    return responses.raw(body, responses.GEOJSON)


@router.get(
    "/jurisdictions/{code}/coverage/fields-of-view",
    summary="What every camera sees, as GeoJSON in code order",
    responses={200: _GEOJSON, **problems(401, 403, 404, 409, 422)},
)
async def list_fields_of_view(
    request: Request,
    code: Jurisdiction,
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    paging: PageDep,
    bbox: BboxDep,
    function: ForFunction = None,
    zone: Annotated[Zone | None, Query(description="Zone the camera hangs in.")] = None,
    working: Annotated[bool | None, Query(description="Whether the camera works now.")] = None,
    _f: Annotated[str | None, _ONLY_GEOJSON] = None,
) -> Response:
    wanted = Views(function=function, zone=zone, working=working, bbox=bbox)
    bodies, count, after, also = await coverage.views(
        code, who, wanted,
        limit=paging.limit, after=responses.decode_cursor(paging.cursor), gone=gone,
    )  # fmt: skip
    return responses.page(request, bodies, count, after, geojson=True, also=also)


@router.get(
    "/jurisdictions/{code}/coverage/area",
    summary="Covered area of each zone: once, k times, and what only one camera sees",
    responses={200: {"model": AreaCoverage}, **problems(401, 403, 404, 409, 413, 422)},
)
async def get_area(
    code: Jurisdiction,
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    zone: Annotated[Level | None, Query(description="Zone asked for; not given: all.")] = None,
    function: ForFunction = None,
    k: Annotated[int, Query(ge=1, le=MOST_TIMES, description="Up to how many cameras on one place.")] = 2,
    working: Annotated[bool, Query(description="Only cameras that work now; `false`: every camera in use.")] = True,
    shares: Annotated[bool, Query(description="Add what each camera sees and what only it sees.")] = False,
) -> Response:
    wanted = Wanted(zone=zone, function=function, k=k, working=working, shares=shares)
    return responses.raw(await coverage.covered_area(code, who, wanted, gone))
