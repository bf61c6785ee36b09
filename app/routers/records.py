"""Routes of the records: the same for every kind, from its declaration."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from app.access.roles import Principal
from app.changes.history import load_record_history
from app.http.dependencies import (
    BboxDep,
    BodyDep,
    DatabaseDep,
    EditorDep,
    GeoJsonDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    WriteDep,
    check_query_names,
)
from app.http.negotiation import GEOJSON, JSON
from app.http.openapi import GEOJSON_CONTENT, describe_body, describe_problems
from app.http.paging import HistoryPage, PageDep, build_history_page, build_page
from app.http.parameters import (
    AsOfQuery,
    CodePath,
    JurisdictionQuery,
    TextQuery,
    UpdatedSinceQuery,
    create_filter_dependency,
)
from app.http.responses import build_record_response, build_value_response
from app.http.routing import Route
from app.records import batches, payloads
from app.records import service as record_service
from app.records.kinds import KINDS, Kind
from app.records.payloads import is_unchanged


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


def create_router(kind: Kind) -> APIRouter:
    """Return the routes of one kind."""
    router = APIRouter(
        prefix="/v1",
        tags=[kind.plural],
        dependencies=[Depends(check_query_names)],
        route_class=Route,
    )
    for add_routes in (_add_list, _add_read, _add_writes, _add_patch, _add_remove, _add_batch):
        add_routes(router, kind)
    return router


async def _read_bbox_and_format(bbox: BboxDep, geojson: GeoJsonDep) -> tuple[dict[str, Any], bool]:
    return {"bbox": bbox}, geojson


async def _read_format(geojson: GeoJsonDep) -> bool:
    return geojson


async def _read_no_bbox() -> tuple[dict[str, Any], bool]:
    return {}, False


async def _read_no_format() -> bool:
    return False


def _add_list(router: APIRouter, kind: Kind) -> None:
    own_filters = Depends(create_filter_dependency(kind))
    bbox_and_format = Depends(_read_bbox_and_format if kind.has_geometry else _read_no_bbox)

    @router.get(
        f"/{kind.plural}",
        summary=f"List {kind.plural}",
        responses={200: _describe_page(kind), **describe_problems(401, 403, 422)},
    )
    async def list_records(
        request: Request,
        principal: PrincipalDep,
        database: DatabaseDep,
        paging: PageDep,
        own: Annotated[dict[str, Any], own_filters],
        box: Annotated[tuple[dict[str, Any], bool], bbox_and_format],
        jurisdiction: JurisdictionQuery = None,
        q: TextQuery = None,
        updated_since: UpdatedSinceQuery = None,
    ) -> Response:
        bbox, geojson = box
        filters = {**own, **bbox, "jurisdiction": jurisdiction, "q": q, "updated_since": updated_since}
        page = await record_service.load_record_page(
            partial(database.fetch, replan=bbox.get("bbox") is not None),
            kind,
            filters,
            principal,
            limit=paging.limit,
            after=paging.after,
            feature=geojson,
        )
        return build_page(request, page.bodies, page.count, page.after, geojson=geojson)


def _describe_page(kind: Kind) -> dict[str, Any]:
    """Return the response with a page of records, as JSON and, where they have a geometry, as GeoJSON."""
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{kind.view.__name__}"}}
    schema = {
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": items, "next": {"type": ["string", "null"]}},
    }
    content = {JSON: {"schema": schema}, **(GEOJSON_CONTENT if kind.has_geometry else {})}
    return {"description": f"A page of {kind.plural}.", "content": content}


def _add_read(router: APIRouter, kind: Kind) -> None:
    read_format = Depends(_read_format if kind.has_geometry else _read_no_format)

    @router.get(
        f"/{kind.plural}/{{code}}",
        summary=f"Read one {kind.title}",
        responses={
            200: {"model": kind.view | kind.past, **({"content": GEOJSON_CONTENT} if kind.has_geometry else {})},
            304: {"description": "Unchanged."},
            **describe_problems(401, 403, 404, 422),
        },
    )
    async def get_record(
        request: Request,
        code: CodePath,
        principal: PrincipalDep,
        database: DatabaseDep,
        geojson: Annotated[bool, read_format],
        as_of: AsOfQuery = None,
    ) -> Response:
        media_type = GEOJSON if geojson else JSON
        if as_of is not None:
            async with database.open_connection() as connection:
                past = await record_service.load_past_record(connection, kind, code, as_of, principal, feature=geojson)
            return build_record_response(past.body, past.version, media_type=media_type)
        record = await record_service.load_record(database.fetch, kind, code, principal, feature=geojson)
        # The state of a device changes without a new version.
        if not kind.is_device and is_unchanged(request.headers.get("if-none-match"), record.version):
            return Response(status_code=304, headers={"ETag": f'"{record.version}"'})
        return build_record_response(record.body, record.version, media_type=media_type)

    @router.get(
        f"/{kind.plural}/{{code}}/history",
        summary=f"Changes of one {kind.title}, newest first",
        responses={200: {"model": HistoryPage}, **describe_problems(401, 403, 404, 422)},
    )
    async def list_history(
        request: Request, code: CodePath, principal: PrincipalDep, connection: ReadDep, paging: PageDep
    ) -> Response:
        changes, before = await load_record_history(
            connection, kind, code, principal, before=paging.before_sequence, limit=paging.limit
        )
        return build_history_page(request, changes, before)


def _describe_written(kind: Kind) -> dict[str, Any]:
    return {"model": kind.view, "headers": {"ETag": {"schema": {"type": "string"}}}}


_WRITE_PROBLEMS = describe_problems(401, 403, 404, 409, 412, 413, 415, 422)


def _add_writes(router: APIRouter, kind: Kind) -> None:
    @router.post(
        f"/{kind.plural}",
        status_code=201,
        summary=f"Create one {kind.title}; an existing code is a conflict",
        responses={201: _describe_written(kind), **_WRITE_PROBLEMS},
        openapi_extra=describe_body(kind.draft),
    )
    async def create_record(principal: EditorDep, payload: BodyDep, connection: WriteDep) -> Response:
        written = await record_service.create_record(connection, kind, payloads.parse_draft(kind, payload), principal)
        return await _build_written(connection, kind, written, principal)

    @router.put(
        f"/{kind.plural}/{{code}}",
        summary=f"Create or replace one {kind.title}",
        responses={200: _describe_written(kind), 201: _describe_written(kind), **_WRITE_PROBLEMS},
        openapi_extra=describe_body(kind.draft),
    )
    async def put_record(
        code: CodePath,
        principal: EditorDep,
        payload: BodyDep,
        precondition: PreconditionDep,
        connection: WriteDep,
    ) -> Response:
        draft = payloads.parse_draft(kind, payload, code=code)
        written = await record_service.save_record(connection, kind, draft, principal, precondition)
        return await _build_written(connection, kind, written, principal)


def _add_patch(router: APIRouter, kind: Kind) -> None:
    @router.patch(
        f"/{kind.plural}/{{code}}",
        summary=f"Change one {kind.title} by JSON Merge Patch",
        responses={200: _describe_written(kind), **_WRITE_PROBLEMS},
        openapi_extra=describe_body(kind.draft, is_patch=True),
    )
    async def patch_record(
        code: CodePath,
        principal: EditorDep,
        payload: BodyDep,
        precondition: PreconditionDep,
        connection: WriteDep,
    ) -> Response:
        written = await record_service.patch_record(connection, kind, code, payload, principal, precondition)
        return await _build_written(connection, kind, written, principal)


async def _build_written(
    connection: WriteDep, kind: Kind, written: record_service.WriteResult, principal: Principal
) -> Response:
    """Return the record as it is stored now, with 201 and its address when it is new."""
    record = await record_service.load_written_record(connection, kind, written.code, principal)
    if not written.created:
        return build_record_response(record.body, record.version)
    location = f"/v1/{kind.plural}/{written.code}"
    return build_record_response(record.body, record.version, status=201, Location=location)


def _add_remove(router: APIRouter, kind: Kind) -> None:
    @router.delete(
        f"/{kind.plural}/{{code}}",
        status_code=204,
        summary=f"Remove one {kind.title}; its history stays",
        responses={204: {"description": "Removed."}, **describe_problems(401, 403, 404, 409, 412, 422)},
    )
    async def remove_record(
        code: CodePath, principal: EditorDep, precondition: PreconditionDep, connection: WriteDep
    ) -> Response:
        await record_service.remove_record(connection, kind, code, principal, precondition)
        return Response(status_code=204)


def _add_batch(router: APIRouter, kind: Kind) -> None:
    @router.post(
        f"/{kind.plural}:batch",
        summary=f"Upsert and remove many {kind.plural}",
        responses={200: {"model": BatchOutcome}, **describe_problems(401, 403, 409, 413, 415, 422)},
        openapi_extra=describe_body(BatchBody),
    )
    async def batch_records(
        principal: EditorDep,
        payload: BodyDep,
        connection: WriteDep,
        semantics: Annotated[
            Literal["atomic", "each"],
            Query(description="`atomic`: all or nothing; `each`: every good row is written."),
        ] = "atomic",
    ) -> Response:
        return build_value_response(await batches.run_batch(connection, kind, payload, principal, semantics))


ROUTERS = [create_router(kind) for kind in KINDS]
