"""Routes of the record kinds: the same for each, described by its descriptor."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.http import responses
from app.http.dependencies import (
    AsOf,
    BboxDep,
    BodyDep,
    DatabaseDep,
    GeoJsonDep,
    PageDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    WriteDep,
    WriterDep,
    known_parameters,
)
from app.http.openapi import body_of, problems
from app.http.precompiled_routes import PreparedRoute
from app.models.fields import Instant
from app.models.vocabulary import Category, CheckpointKind, Function, Lifecycle, RoadClass, State, Structure, Zone
from app.records import batches, payloads
from app.records import service as record_service
from app.records.kinds import BUILDING, CAMERA, CHECKPOINT, CONTROL_POINT, JURISDICTION, KINDS, ROAD, Kind
from app.records.payloads import unchanged
from app.records.views import HistoryEntry

Code = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:\-]{1,64}$", description="Code of the record.")]
Text = Annotated[
    str | None,
    Query(min_length=1, max_length=100, description="Part of code, name or address."),
]
Division = Annotated[str | None, Query(pattern="^[0-9]{6}$", description="Division code of the jurisdiction.")]
Since = Annotated[
    Instant | None,
    Query(description="Changed at or after this instant; state reports do not count."),
]
CodeQuery = Annotated[
    str | None,
    Query(pattern=r"^[A-Za-z0-9._:\-]{1,64}$", description="Code the records carry there."),
]


class HistoryPage(BaseModel):
    """Changes of one record, newest first."""

    items: list[HistoryEntry]
    next: str | None


class BatchRow(BaseModel):
    """What became of one row."""

    row: int
    code: str | None
    result: Literal["created", "updated", "unchanged", "removed", "refused"]
    version: int | None
    errors: list[dict[str, str]] | None = None


class BatchOutcome(BaseModel):
    """What became of a batch."""

    semantics: Literal["atomic", "each"]
    summary: dict[str, int]
    rows: list[BatchRow]


class BatchBody(BaseModel):
    """A batch: upserts as ``{"upsert": record}`` or bare records, removals as ``{"delete": code}``."""

    items: list[dict[str, Any]] = Field(max_length=batches.MAX_ITEMS)


async def _no_filter() -> dict[str, Any]:
    return {}


async def _control_point_filter(
    zone: Annotated[Zone | None, Query(description="Innermost ring it lies in.")] = None,
    category: Annotated[Category | None, Query(description="Category of control point.")] = None,
) -> dict[str, Any]:
    return {"zone": zone, "category": category}


async def _road_filter(
    road_class: Annotated[RoadClass | None, Query(description="Class of the road.")] = None,
    group: CodeQuery = None,
) -> dict[str, Any]:
    return {"road_class": road_class, "group": group}


async def _device_filter(
    zone: Annotated[Zone | None, Query(description="Innermost ring it lies in.")] = None,
    function: Annotated[Function | None, Query(description="What the device can do.")] = None,
    lifecycle: Annotated[Lifecycle | None, Query(description="What a person decided about it.")] = None,
    state: Annotated[State | None, Query(description="What it reads as now; unknown when silent for too long.")] = None,
    control_point: CodeQuery = None,
) -> dict[str, Any]:
    return {
        "zone": zone, "function": function, "lifecycle": lifecycle, "state": state,
        "control_point": control_point,
    }  # fmt: skip


async def _checkpoint_filter(
    device: Annotated[dict[str, Any], Depends(_device_filter)],
    kind: Annotated[CheckpointKind | None, Query(description="Kind of checkpoint.")] = None,
) -> dict[str, Any]:
    return {**device, "kind": kind}


async def _camera_filter(
    device: Annotated[dict[str, Any], Depends(_device_filter)],
    structure: Annotated[Structure | None, Query(description="Build of the camera.")] = None,
    checkpoint: CodeQuery = None,
) -> dict[str, Any]:
    return {**device, "structure": structure, "checkpoint": checkpoint}


FILTERS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    JURISDICTION.name: _no_filter,
    CONTROL_POINT.name: _control_point_filter,
    ROAD.name: _road_filter,
    BUILDING.name: _no_filter,
    CHECKPOINT.name: _checkpoint_filter,
    CAMERA.name: _camera_filter,
}


async def _spatial(bbox: BboxDep, geojson: GeoJsonDep) -> tuple[dict[str, Any], bool]:
    return {"bbox": bbox}, geojson


async def _not_spatial() -> tuple[dict[str, Any], bool]:
    return {}, False


def router_of(kind: Kind) -> APIRouter:
    """Return the routes of one kind."""
    router = APIRouter(
        prefix="/v1",
        tags=[kind.plural],
        dependencies=[Depends(known_parameters)],
        route_class=PreparedRoute,
    )
    _add_reads(router, kind)
    _add_writes(router, kind)
    return router


def _add_reads(router: APIRouter, kind: Kind) -> None:
    own_filter = Depends(FILTERS[kind.name])
    spatial = Depends(_spatial if kind.shaped else _not_spatial)
    page_of: dict[int | str, dict[str, Any]] = {200: {"description": f"A page of {kind.plural}.", **_listed(kind)}}

    @router.get(
        f"/{kind.plural}",
        summary=f"List {kind.plural}",
        responses={**page_of, **problems(401, 403, 422)},
    )
    async def list_records(
        request: Request,
        who: PrincipalDep,
        database: DatabaseDep,
        paging: PageDep,
        own: Annotated[dict[str, Any], own_filter],
        box: Annotated[tuple[dict[str, Any], bool], spatial],
        jurisdiction: Division = None,
        q: Text = None,
        updated_since: Since = None,
    ) -> Response:
        filters = {
            **own,
            **box[0],
            "jurisdiction": jurisdiction,
            "q": q,
            "updated_since": updated_since,
        }
        found = await record_service.listed(
            partial(database.fetch, anew=box[0].get("bbox") is not None), kind, filters, who,
            limit=paging.limit, after=responses.decode_cursor(paging.cursor), feature=box[1],
        )  # fmt: skip
        return responses.page(request, found.bodies, found.count, found.after, geojson=box[1])

    @router.get(
        f"/{kind.plural}/{{code}}",
        summary=f"Read one {kind.title}",
        responses={
            200: {"model": kind.view | kind.past, **_as_geojson(kind)},
            304: {"description": "Unchanged."},
            **problems(401, 403, 404, 422),
        },
    )
    async def get_record(
        request: Request,
        code: Code,
        who: PrincipalDep,
        database: DatabaseDep,
        box: Annotated[tuple[dict[str, Any], bool], Depends(_as_feature if kind.shaped else _not_spatial)],
        as_of: AsOf = None,
    ) -> Response:
        media_type = responses.GEOJSON if box[1] else responses.JSON
        if as_of is not None:
            async with database.reading() as connection:
                then = await record_service.get_as_of(connection, kind, code, as_of, who, feature=box[1])
            return responses.one(then.body, then.version, media_type=media_type)
        found = await record_service.get(database.fetch, kind, code, who, feature=box[1])
        if not kind.device and unchanged(request.headers.get("if-none-match"), found.version):
            return Response(status_code=304, headers={"ETag": f'"{found.version}"'})
        return responses.one(found.body, found.version, media_type=media_type)

    @router.get(
        f"/{kind.plural}/{{code}}/history",
        summary=f"Changes of one {kind.title}, newest first",
        responses={200: {"model": HistoryPage}, **problems(401, 403, 404, 422)},
    )
    async def list_history(
        request: Request, code: Code, who: PrincipalDep, connection: ReadDep, paging: PageDep
    ) -> Response:
        before = responses.decode_sequence(paging.cursor)
        bodies, following = await record_service.history(connection, kind, code, who, before=before, limit=paging.limit)
        after = None if following is None else str(following)
        return responses.page(request, ",".join(bodies), len(bodies), after)


async def _as_feature(geojson: GeoJsonDep) -> tuple[dict[str, Any], bool]:
    return {}, geojson


def _listed(kind: Kind) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["items", "next"],
                "properties": {
                    "items": {
                        "type": "array",
                        "items": {"$ref": f"#/components/schemas/{kind.view.__name__}"},
                    },
                    "next": {"type": ["string", "null"]},
                },
            }
        }
    }
    return {"content": {**content, **_as_geojson(kind).get("content", {})}}


def _as_geojson(kind: Kind) -> dict[str, Any]:
    """Return the other form of an answer, where there is one."""
    if not kind.shaped:
        return {}
    return {"content": {"application/geo+json": {"schema": {"type": "object"}}}}


def _add_writes(router: APIRouter, kind: Kind) -> None:
    written = {"model": kind.view, "headers": {"ETag": {"schema": {"type": "string"}}}}
    refusals = problems(401, 403, 404, 409, 412, 413, 415, 422)

    @router.post(
        f"/{kind.plural}",
        status_code=201,
        summary=f"Create one {kind.title}; an existing code is a conflict",
        responses={201: written, **refusals},
        openapi_extra=body_of(kind.draft),
    )
    async def create_record(who: WriterDep, payload: BodyDep, connection: WriteDep) -> Response:
        done = await record_service.create(connection, kind, payloads.draft(kind, payload), who)
        return await _told(connection, kind, done, who)

    @router.put(
        f"/{kind.plural}/{{code}}",
        summary=f"Create or replace one {kind.title}",
        responses={200: written, 201: written, **refusals},
        openapi_extra=body_of(kind.draft),
    )
    async def put_record(
        code: Code,
        who: WriterDep,
        payload: BodyDep,
        condition: PreconditionDep,
        connection: WriteDep,
    ) -> Response:
        wanted = payloads.draft(kind, payload, code=code)
        done = await record_service.put(connection, kind, wanted, who, condition)
        return await _told(connection, kind, done, who)

    @router.patch(
        f"/{kind.plural}/{{code}}",
        summary=f"Change one {kind.title} by JSON Merge Patch",
        responses={200: written, **refusals},
        openapi_extra=body_of(kind.draft, patch=True),
    )
    async def patch_record(
        code: Code,
        who: WriterDep,
        payload: BodyDep,
        condition: PreconditionDep,
        connection: WriteDep,
    ) -> Response:
        done = await record_service.patch(connection, kind, code, payload, who, condition)
        return await _told(connection, kind, done, who)

    @router.delete(
        f"/{kind.plural}/{{code}}",
        status_code=204,
        summary=f"Remove one {kind.title}; its history stays",
        responses={204: {"description": "Removed."}, **problems(401, 403, 404, 409, 412, 422)},
    )
    async def remove_record(code: Code, who: WriterDep, condition: PreconditionDep, connection: WriteDep) -> Response:
        await record_service.remove(connection, kind, code, who, condition)
        return Response(status_code=204)

    @router.post(
        f"/{kind.plural}:batch",
        summary=f"Upsert and remove many {kind.plural}",
        responses={200: {"model": BatchOutcome}, **problems(401, 403, 409, 413, 415, 422)},
        openapi_extra=body_of(BatchBody),
    )
    async def batch_records(
        who: WriterDep,
        payload: BodyDep,
        connection: WriteDep,
        semantics: Annotated[
            Literal["atomic", "each"],
            Query(description="`atomic`: all or nothing; `each`: every good row is written."),
        ] = "atomic",
    ) -> Response:
        return responses.computed(await batches.run(connection, kind, payload, who, semantics))


async def _told(connection: Any, kind: Kind, done: record_service.Written, who: Any) -> Response:
    """Return the record as it is now stored, 201 with its place when it is new."""
    stored = await record_service.get_written(connection, kind, done.code, who)
    if not done.created:
        return responses.one(stored.body, stored.version)
    return responses.one(stored.body, stored.version, status=201, Location=f"/v1/{kind.plural}/{done.code}")


ROUTERS = [router_of(kind) for kind in KINDS]
"""Made once, as every other router is."""
