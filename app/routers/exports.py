"""Routes of exports: one for each collection, with the filters of its list."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.analysis.crossings.report import CrossingStatus
from app.exports import service as export_service
from app.exports.service import ExportService
from app.http.dependencies import BboxDep, PrincipalDep, check_query_names
from app.http.openapi import describe_problems
from app.http.parameters import (
    CategoryQuery,
    JurisdictionQuery,
    LevelQuery,
    TextQuery,
    UpdatedSinceQuery,
    ZoneQuery,
    create_filter_dependency,
)
from app.http.responses import format_attachment
from app.http.routing import Route
from app.messages import Language
from app.models.vocabulary import Level, Status
from app.ogc.collection_model import Collection
from app.ogc.collections import COLLECTIONS

router = APIRouter(prefix="/v1/exports", tags=["exports"], dependencies=[Depends(check_query_names)], route_class=Route)

ReadFilters = Callable[..., Awaitable[dict[str, Any]]]


async def get_export_service(request: Request) -> ExportService:
    """Return the exports of the service."""
    service: ExportService = request.app.state.exports
    return service


async def read_export_options(
    crs: Annotated[
        str | None,
        Query(
            max_length=100,
            description="CRS of the coordinates: CRS84 (default), EPSG:4326, EPSG:4490, EPSG:4547 "
            "and the other national zones, EPSG:3857. In files x comes before y.",
        ),
    ] = None,
    lang: Annotated[Language, Query(description="Headings: `en` are field names, `zh` are Chinese titles.")] = "en",
    fields: Annotated[
        str | None,
        Query(max_length=2000, description="Fields to export, with commas between. Default: all."),
    ] = None,
    bom: Annotated[bool, Query(description="CSV: begin with a byte order mark, so that Excel reads Chinese.")] = False,
) -> dict[str, Any]:
    """Return the format options of an export."""
    return {"crs": crs, "language": lang, "fields": fields, "bom": bom}


async def read_record_filters(
    bbox: BboxDep,
    jurisdiction: JurisdictionQuery = None,
    q: TextQuery = None,
    updated_since: UpdatedSinceQuery = None,
) -> dict[str, Any]:
    """Return the filters that every kind of record has."""
    return {"jurisdiction": jurisdiction, "bbox": bbox, "q": q, "updated_since": updated_since}


async def read_ring_filters(
    jurisdiction: JurisdictionQuery = None,
    level: Annotated[Level | None, Query(description="Which of the three rings.")] = None,
) -> dict[str, Any]:
    """Return the filters of rings."""
    return {"jurisdiction": jurisdiction, "level": level}


async def read_result_filters(
    jurisdiction: JurisdictionQuery = None,
    category: CategoryQuery = None,
    zone: ZoneQuery = None,
    level: LevelQuery = None,
    status: Annotated[
        Status | CrossingStatus | None,
        Query(description="How a control point is covered, or a crossing stands."),
    ] = None,
    guarded: Annotated[bool | None, Query(description="Whether every direction of a crossing is guarded.")] = None,
    type: Annotated[Literal["control_point", "crossing"] | None, Query(description="Kind of gap.")] = None,
) -> dict[str, Any]:
    """Return the filters of results of the analysis."""
    return {
        "jurisdiction": jurisdiction,
        "category": category,
        "zone": zone,
        "level": level,
        "status": status,
        "guarded": guarded,
        "type": type,
    }


async def read_no_filters() -> dict[str, Any]:
    """Return no filters."""
    return {}


def _choose_filters(collection: Collection) -> tuple[ReadFilters, ReadFilters]:
    """Return what reads the filters that a collection shares with others, and its own."""
    if collection.kind is not None:
        return read_record_filters, create_filter_dependency(collection.kind)
    return read_result_filters if collection.computed else read_ring_filters, read_no_filters


def _describe_file(formats: dict[str, str]) -> dict[str, Any]:
    """Return the response with a file, in the media type of each format."""
    binary = {"type": "string", "format": "binary"}
    return {
        "description": "The file; `Export-Notes` says what the format cannot hold.",
        "content": {
            media_type: {"schema": {"type": "object"} if media_type.endswith("json") else binary}
            for media_type in formats.values()
        },
        "headers": {"Export-Notes": {"schema": {"type": "string"}}},
    }


def _add_export(collection: Collection) -> None:
    read_filters, read_own_filters = _choose_filters(collection)
    formats = export_service.list_formats(collection)
    format_type = Literal[tuple(formats)]  # type: ignore[valid-type]  # the formats of this collection

    @router.get(
        f"/{collection.id}.{{format}}",
        name=f"export_{collection.id}",
        operation_id=f"export_{collection.id.replace('-', '_')}",
        summary=f"Export {collection.title_en.lower()} as a file",
        response_class=StreamingResponse,
        responses={200: _describe_file(formats), **describe_problems(401, 403, 404, 409, 422)},
    )
    async def export(
        format: Annotated[
            format_type,  # type: ignore[valid-type]  # a name made for this collection
            Path(description="End of the file name."),
        ],
        principal: PrincipalDep,
        service: Annotated[ExportService, Depends(get_export_service)],
        own_filters: Annotated[dict[str, Any], Depends(read_own_filters)],
        filters: Annotated[dict[str, Any], Depends(read_filters)],
        options: Annotated[dict[str, Any], Depends(read_export_options)],
    ) -> Response:
        query = export_service.build_request(collection.id, str(format), {**own_filters, **filters}, **options)
        file = await service.open_export(query, principal)
        headers = {
            "Content-Disposition": format_attachment(file.name, f"{collection.id}.{format}"),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        if file.notes:
            headers["Export-Notes"] = " | ".join(file.notes)
        return StreamingResponse(file.chunks, media_type=file.media_type, headers=headers)


for _collection in COLLECTIONS:
    _add_export(_collection)
