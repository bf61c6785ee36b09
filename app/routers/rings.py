"""Routes of ring boundaries and of membership in them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.http.dependencies import (
    BodyDep,
    EditorDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    SettingsDep,
    WriteDep,
    check_query_names,
)
from app.http.negotiation import GEOJSON
from app.http.openapi import GEOJSON_CONTENT, describe_body, describe_problems
from app.http.paging import HistoryPage, PageDep, build_history_page, build_page
from app.http.parameters import AsOfQuery, JurisdictionPath
from app.http.responses import build_record_response, build_value_response
from app.http.routing import Route
from app.models.vocabulary import Datum, Level
from app.records.drafts import Placed
from app.rings import service as ring_service

MAX_POINTS = 100_000

router = APIRouter(
    prefix="/v1/jurisdictions/{code}", tags=["rings"], dependencies=[Depends(check_query_names)], route_class=Route
)

LevelPath = Annotated[Level, Path(description="core, urban or city.")]
_FEATURE: dict[str, Any] = {"description": "GeoJSON Feature.", "content": GEOJSON_CONTENT}


class RingBody(BaseModel):
    """A GeoJSON Feature, or a geometry, of type Polygon or MultiPolygon."""

    type: str = Field(examples=["Feature"])
    geometry: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    coordinates: list[Any] | None = None


class MembershipBody(BaseModel):
    """Points to be placed."""

    points: list[list[float]] = Field(
        max_length=MAX_POINTS, description="[lon, lat] in degrees.", examples=[[[113.24, 35.22]]]
    )


class MembershipAnswer(BaseModel):
    """Where the points lie, in the order they were sent."""

    jurisdiction: str
    levels: list[Level]
    points: list[Placed]
    not_assessed: list[dict[str, str]]


@router.get(
    "/rings",
    summary="The boundaries in force, innermost first",
    responses={200: _FEATURE, **describe_problems(401, 403, 404, 422)},
)
async def list_rings(
    request: Request, code: JurisdictionPath, principal: PrincipalDep, connection: ReadDep
) -> Response:
    features = await ring_service.load_rings(connection, code, principal)
    return build_page(request, ",".join(features), len(features), None, geojson=True)


@router.get(
    "/rings/{level}",
    summary="One boundary, now or as of an instant",
    responses={200: _FEATURE, **describe_problems(401, 403, 404, 422)},
)
async def get_ring(
    code: JurisdictionPath, level: LevelPath, principal: PrincipalDep, connection: ReadDep, as_of: AsOfQuery = None
) -> Response:
    if as_of is not None:
        version, body = await ring_service.load_past_ring(connection, code, level, as_of, principal)
    else:
        version, body = await ring_service.load_ring(connection, code, level, principal)
    return build_record_response(body, version, media_type=GEOJSON)


@router.get(
    "/rings/{level}/history",
    summary="Changes of one boundary, newest first",
    responses={200: {"model": HistoryPage}, **describe_problems(401, 403, 404, 422)},
)
async def list_ring_history(
    request: Request,
    code: JurisdictionPath,
    level: LevelPath,
    principal: PrincipalDep,
    connection: ReadDep,
    paging: PageDep,
) -> Response:
    changes, before = await ring_service.load_ring_history(
        connection, code, level, principal, before=paging.before_sequence, limit=paging.limit
    )
    return build_history_page(request, changes, before)


@router.put(
    "/rings/{level}",
    summary="Put a boundary in force; the zone of every record is computed again",
    responses={200: _FEATURE, 201: _FEATURE, **describe_problems(401, 403, 404, 409, 412, 413, 415, 422)},
    openapi_extra=describe_body(RingBody),
)
async def put_ring(
    code: JurisdictionPath,
    level: LevelPath,
    principal: EditorDep,
    payload: BodyDep,
    precondition: PreconditionDep,
    settings: SettingsDep,
    connection: WriteDep,
    datum: Annotated[Datum, Query(description="Datum of the coordinates sent.")] = "wgs84",
) -> Response:
    written = await ring_service.save_ring(
        connection,
        code,
        level,
        payload,
        principal,
        precondition,
        datum=datum,
        max_vertices=settings.max_ring_vertices,
    )
    version, body = await ring_service.load_ring(connection, code, level, principal)
    status = 201 if written.created else 200
    location = f"/v1/jurisdictions/{code}/rings/{level}"
    return build_record_response(body, version, status=status, media_type=GEOJSON, Location=location)


@router.delete(
    "/rings/{level}",
    status_code=204,
    summary="Take a boundary out of force; its history stays",
    responses={204: {"description": "Removed."}, **describe_problems(401, 403, 404, 412, 422)},
)
async def remove_ring(
    code: JurisdictionPath,
    level: LevelPath,
    principal: EditorDep,
    precondition: PreconditionDep,
    connection: WriteDep,
) -> Response:
    await ring_service.remove_ring(connection, code, level, principal, precondition)
    return Response(status_code=204)


@router.post(
    "/membership",
    operation_id="membership_v1_jurisdictions__code__membership_post",
    summary="Zone, rings and signed distances of up to 100,000 points",
    responses={200: {"model": MembershipAnswer}, **describe_problems(401, 403, 404, 413, 415, 422)},
    openapi_extra=describe_body(MembershipBody),
)
async def compute_membership(
    code: JurisdictionPath, principal: PrincipalDep, payload: BodyDep, connection: ReadDep
) -> Response:
    return build_value_response(await ring_service.compute_membership(connection, code, payload, principal, MAX_POINTS))
