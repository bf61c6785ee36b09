"""Routes of exports: one for each collection, with the filters of its list."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse

from app.analysis.crossings.schemas import CrossingStatus
from app.exports import service as export_service
from app.exports.service import Exports, Language
from app.http.dependencies import BboxDep, PrincipalDep, known_parameters
from app.http.openapi import problems
from app.models.fields import Instant
from app.models.vocabulary import Category, Level, Status, Zone
from app.ogc.collection_model import Collection
from app.ogc.collections import COLLECTIONS
from app.routers.records import FILTERS

router = APIRouter(prefix="/v1/exports", tags=["exports"], dependencies=[Depends(known_parameters)])

Division = Annotated[str | None, Query(pattern="^[0-9]{6}$", description="Division code of the jurisdiction.")]


Filters = Callable[..., Awaitable[dict[str, Any]]]


_OBJECT = {"type": "object"}
_BYTES = {"type": "string", "format": "binary"}


async def _exports(request: Request) -> Exports:
    found: Exports = request.app.state.exports
    return found


async def _looks(
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
    return {"crs": crs, "language": lang, "fields": fields, "bom": bom}


async def _record_filters(
    bbox: BboxDep,
    jurisdiction: Division = None,
    q: Annotated[
        str | None,
        Query(min_length=1, max_length=100, description="Part of code, name or address."),
    ] = None,
    updated_since: Annotated[
        Instant | None,
        Query(description="Changed at or after this instant; state reports do not count."),
    ] = None,
) -> dict[str, Any]:
    return {"jurisdiction": jurisdiction, "bbox": bbox, "q": q, "updated_since": updated_since}


async def _ring_filters(
    jurisdiction: Division = None,
    level: Annotated[Level | None, Query(description="Which of the three rings.")] = None,
) -> dict[str, Any]:
    return {"jurisdiction": jurisdiction, "level": level}


async def _answer_filters(
    jurisdiction: Division = None,
    category: Annotated[Category | None, Query(description="Category of control point.")] = None,
    zone: Annotated[Zone | None, Query(description="Innermost ring it lies in.")] = None,
    level: Annotated[Level | None, Query(description="Ring of an open crossing.")] = None,
    status: Annotated[
        Status | CrossingStatus | None,
        Query(description="How a control point is covered, or a crossing stands."),
    ] = None,
    guarded: Annotated[bool | None, Query(description="Whether every direction of a crossing is guarded.")] = None,
    type: Annotated[Literal["control_point", "crossing"] | None, Query(description="Kind of gap.")] = None,
) -> dict[str, Any]:
    return {
        "jurisdiction": jurisdiction, "category": category, "zone": zone, "level": level,
        "status": status, "guarded": guarded, "type": type,
    }  # fmt: skip


async def _no_more() -> dict[str, Any]:
    return {}


def _add(collection: Collection) -> None:
    own: Filters = _no_more if collection.kind is None else FILTERS[collection.kind.name]
    common: Filters = _answer_filters if collection.answer else _ring_filters
    if collection.kind is not None:
        common = _record_filters
    formats = export_service.formats_of(collection)
    known = Literal[tuple(formats)]  # type: ignore[valid-type]  # the formats of this collection

    @router.get(
        f"/{collection.id}.{{format}}",
        name=f"export_{collection.id}",
        operation_id=f"export_{collection.id.replace('-', '_')}",
        summary=f"Export {collection.title_en.lower()} as a file",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "The file; `Export-Notes` says what the format cannot hold.",
                "content": {
                    media_type: {"schema": _OBJECT if media_type.endswith("json") else _BYTES}
                    for media_type in formats.values()
                },
                "headers": {"Export-Notes": {"schema": {"type": "string"}}},
            },
            **problems(401, 403, 404, 409, 422),
        },
    )
    async def export(
        format: Annotated[
            known,  # type: ignore[valid-type]  # a name made for this collection
            Path(description="End of the file name."),
        ],
        who: PrincipalDep,
        running: Annotated[Exports, Depends(_exports)],
        own_filters: Annotated[dict[str, Any], Depends(own)],
        filters: Annotated[dict[str, Any], Depends(common)],
        looks: Annotated[dict[str, Any], Depends(_looks)],
    ) -> StreamingResponse:
        asked = export_service.wanted(collection.id, str(format), {**own_filters, **filters}, **looks)
        made = await running.open(asked, who)
        return StreamingResponse(
            made.pieces,
            media_type=made.media_type,
            headers={
                "Content-Disposition": _attachment(made.name, collection.id, str(format)),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                **({"Export-Notes": " | ".join(made.notes)} if made.notes else {}),
            },
        )


def _attachment(name: str, plain: str, ending: str) -> str:
    """Return how the file is called (RFC 6266), for clients that read UTF-8 and for others."""
    return f"attachment; filename=\"{plain}.{ending}\"; filename*=UTF-8''{quote(name)}"


for _collection in COLLECTIONS:
    _add(_collection)
