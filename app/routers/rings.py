"""Routes of ring boundaries and of membership in them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.http import responses
from app.http.dependencies import (
    AsOf,
    BodyDep,
    PageDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    SettingsDep,
    WriteDep,
    WriterDep,
    known_parameters,
)
from app.http.openapi import body_of, problems
from app.models.vocabulary import Datum, Level
from app.records.views import Placed
from app.rings import service as ring_service
from app.routers.records import HistoryPage

MAX_POINTS = 100_000

router = APIRouter(prefix="/v1/jurisdictions/{code}", tags=["rings"], dependencies=[Depends(known_parameters)])

Jurisdiction = Annotated[str, Path(pattern="^[0-9]{6}$", description="Division code.")]
RingLevel = Annotated[Level, Path(description="core, urban or city.")]
_FEATURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "GeoJSON Feature.",
        "content": {"application/geo+json": {"schema": {"type": "object"}}},
    }
}


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
    responses={**_FEATURE, **problems(401, 403, 404, 422)},
)
async def list_rings(request: Request, code: Jurisdiction, who: PrincipalDep, connection: ReadDep) -> Response:
    bodies = await ring_service.listed(connection, code, who)
    return responses.page(request, ",".join(bodies), len(bodies), None, geojson=True)


@router.get(
    "/rings/{level}",
    summary="One boundary, now or as of an instant",
    responses={**_FEATURE, **problems(401, 403, 404, 422)},
)
async def get_ring(
    code: Jurisdiction, level: RingLevel, who: PrincipalDep, connection: ReadDep, as_of: AsOf = None
) -> Response:
    if as_of is not None:
        version, body = await ring_service.get_as_of(connection, code, level, as_of, who)
    else:
        version, body = await ring_service.get(connection, code, level, who)
    return responses.one(body, version, media_type=responses.GEOJSON)


@router.get(
    "/rings/{level}/history",
    summary="Changes of one boundary, newest first",
    responses={200: {"model": HistoryPage}, **problems(401, 403, 404, 422)},
)
async def list_ring_history(
    request: Request,
    code: Jurisdiction,
    level: RingLevel,
    who: PrincipalDep,
    connection: ReadDep,
    paging: PageDep,
) -> Response:
    bodies, following = await ring_service.history(
        connection, code, level, who,
        before=responses.decode_sequence(paging.cursor), limit=paging.limit,
    )  # fmt: skip
    after = None if following is None else str(following)
    return responses.page(request, ",".join(bodies), len(bodies), after)


@router.put(
    "/rings/{level}",
    summary="Put a boundary in force; every record is placed anew",
    responses={**_FEATURE, 201: _FEATURE[200], **problems(401, 403, 404, 409, 412, 413, 415, 422)},
    openapi_extra=body_of(RingBody),
)
async def put_ring(
    code: Jurisdiction,
    level: RingLevel,
    who: WriterDep,
    payload: BodyDep,
    condition: PreconditionDep,
    settings: SettingsDep,
    connection: WriteDep,
    datum: Annotated[Datum, Query(description="Datum of the coordinates sent.")] = "wgs84",
) -> Response:
    done = await ring_service.put(
        connection, code, level, payload, who, condition,
        datum=datum, max_vertices=settings.max_ring_vertices,
    )  # fmt: skip
    version, body = await ring_service.get(connection, code, level, who)
    status = 201 if done.created else 200
    return responses.one(
        body,
        version,
        status=status,
        media_type=responses.GEOJSON,
        Location=f"/v1/jurisdictions/{code}/rings/{level}",
    )


@router.delete(
    "/rings/{level}",
    status_code=204,
    summary="Take a boundary out of force; its history stays",
    responses={204: {"description": "Removed."}, **problems(401, 403, 404, 412, 422)},
)
async def remove_ring(
    code: Jurisdiction,
    level: RingLevel,
    who: WriterDep,
    condition: PreconditionDep,
    connection: WriteDep,
) -> Response:
    await ring_service.remove(connection, code, level, who, condition)
    return Response(status_code=204)


@router.post(
    "/membership",
    summary="Zone, rings and signed distances of up to 100,000 points",
    responses={200: {"model": MembershipAnswer}, **problems(401, 403, 404, 413, 415, 422)},
    openapi_extra=body_of(MembershipBody),
)
async def membership(code: Jurisdiction, who: PrincipalDep, payload: BodyDep, connection: ReadDep) -> Response:
    return responses.computed(await ring_service.membership(connection, code, payload, who, MAX_POINTS))
