"""Routes of crossings and of their waivers."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.analysis.crossings.report import Wanted
from app.analysis.crossings.schemas import CrossingAnswer, CrossingList, CrossingStatus
from app.decisions import waivers
from app.decisions.waivers import Waiver, WaiverDraft
from app.http import responses
from app.http.dependencies import (
    BodyDep,
    ContextDep,
    DatabaseDep,
    GeoJsonDep,
    GoneDep,
    PageDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    WriterDep,
    known_parameters,
)
from app.http.openapi import body_of, problems
from app.models.vocabulary import Level
from app.routers.coverage import AnswersDep, Jurisdiction
from app.routers.records import HistoryPage

router = APIRouter(
    prefix="/v1/jurisdictions/{code}/coverage/crossings",
    tags=["crossings"],
    dependencies=[Depends(known_parameters)],
)

CrossingId = Annotated[str, Path(pattern="^(core|urban|city)-[0-9a-f]{12}$", description="Id of the crossing.")]
_OR_GEOJSON: dict[str, Any] = {"content": {"application/geo+json": {"schema": {"type": "object"}}}}


@router.get(
    "",
    summary="Where roads cross the rings: guarded, open or waived, and beside the plan",
    responses={200: {"model": CrossingList, **_OR_GEOJSON}, **problems(401, 403, 404, 409, 422)},
)
async def list_crossings(
    code: Jurisdiction,
    who: PrincipalDep,
    coverage: AnswersDep,
    geojson: GeoJsonDep,
    gone: GoneDep,
    level: Annotated[Level | None, Query(description="Ring that is crossed.")] = None,
    guarded: Annotated[bool | None, Query(description="Whether every direction traffic can take is guarded.")] = None,
    status: Annotated[CrossingStatus | None, Query(description="How it stands.")] = None,
) -> Response:
    wanted = Wanted(level=level, guarded=guarded, status=status)
    body = await coverage.crossings(code, who, wanted, geojson=geojson, gone=gone)
    return responses.raw(body, responses.GEOJSON if geojson else responses.JSON)


@router.get(
    "/{crossing}",
    summary="One crossing: directions, guards, what is missing and why",
    responses={200: {"model": CrossingAnswer, **_OR_GEOJSON}, **problems(401, 403, 404, 409, 422)},
)
async def get_crossing(
    code: Jurisdiction,
    crossing: CrossingId,
    who: PrincipalDep,
    coverage: AnswersDep,
    geojson: GeoJsonDep,
) -> Response:
    body = await coverage.crossing(code, who, crossing, geojson=geojson)
    return responses.raw(body, responses.GEOJSON if geojson else responses.JSON)


@router.get(
    "/{crossing}/waiver",
    summary="The waiver of a crossing",
    responses={200: {"model": Waiver}, **problems(401, 403, 404, 422)},
)
async def get_waiver(code: Jurisdiction, crossing: CrossingId, who: PrincipalDep, connection: ReadDep) -> Response:
    version, body = await waivers.get(connection, code, crossing, who)
    return responses.one(body, version)


@router.get(
    "/{crossing}/waiver/history",
    summary="Changes of the waiver of a crossing, newest first",
    responses={200: {"model": HistoryPage}, **problems(401, 403, 404, 422)},
)
async def list_waiver_history(
    request: Request,
    code: Jurisdiction,
    crossing: CrossingId,
    who: PrincipalDep,
    connection: ReadDep,
    paging: PageDep,
) -> Response:
    bodies, following = await waivers.history(
        connection, code, crossing, who,
        before=responses.decode_sequence(paging.cursor), limit=paging.limit,
    )  # fmt: skip
    after = None if following is None else str(following)
    return responses.page(request, ",".join(bodies), len(bodies), after)


@router.put(
    "/{crossing}/waiver",
    summary="Decide that a crossing need not be guarded, with a reason and an end",
    responses={
        200: {"model": Waiver},
        201: {"model": Waiver},
        **problems(401, 403, 404, 409, 412, 413, 415, 422),
    },
    openapi_extra=body_of(WaiverDraft),
)
async def put_waiver(
    code: Jurisdiction,
    crossing: CrossingId,
    who: WriterDep,
    payload: BodyDep,
    condition: PreconditionDep,
    coverage: AnswersDep,
    database: DatabaseDep,
    context: ContextDep,
) -> Response:
    done, body = await waivers.put(database, coverage, code, crossing, payload, who, condition, context)
    place = f"/v1/jurisdictions/{code}/coverage/crossings/{crossing}/waiver"
    return responses.one(body, done.version, status=201 if done.created else 200, Location=place)


@router.delete(
    "/{crossing}/waiver",
    status_code=204,
    summary="End a waiver before its time; its history stays",
    responses={204: {"description": "Removed."}, **problems(401, 403, 404, 412, 422)},
)
async def remove_waiver(
    code: Jurisdiction,
    crossing: CrossingId,
    who: WriterDep,
    condition: PreconditionDep,
    database: DatabaseDep,
    context: ContextDep,
) -> Response:
    await waivers.remove(database, code, crossing, who, condition, context)
    return Response(status_code=204)
