"""Routes of the change feed: pages by cursor, and a stream of events."""

from typing import Annotated, Literal
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.changes import service as change_service
from app.changes.service import ChangePage, ChangeStreams
from app.http.dependencies import DatabaseDep, PrincipalDep, check_query_names
from app.http.openapi import describe_problems
from app.http.paging import DEFAULT_LIMIT, MAX_LIMIT
from app.http.parameters import JurisdictionQuery
from app.http.responses import build_json_response
from app.http.routing import Route

router = APIRouter(prefix="/v1", tags=["changes"], dependencies=[Depends(check_query_names)], route_class=Route)

AfterQuery = Annotated[
    str | None,
    Query(
        max_length=200,
        description="Where to go on: the `cursor` of the page before, or a sequence number.",
    ),
]
KindQuery = Annotated[
    Literal[
        "jurisdiction",
        "ring",
        "control_point",
        "checkpoint",
        "camera",
        "road",
        "building",
        "waiver",
        "scenario",
    ]
    | None,
    Query(description="Only changes of this kind of record."),
]


async def get_stream_service(request: Request) -> ChangeStreams:
    """Return the change streams of the service."""
    service: ChangeStreams = request.app.state.streams
    return service


@router.get(
    "/changes",
    summary="Everything that changed, in order; follow `next` and miss nothing",
    responses={200: {"model": ChangePage}, **describe_problems(401, 403, 404, 422)},
)
async def list_changes(
    request: Request,
    principal: PrincipalDep,
    database: DatabaseDep,
    after: AfterQuery = None,
    limit: Annotated[int, Query(ge=1, description=f"Changes per page; at most {MAX_LIMIT} are given.")] = DEFAULT_LIMIT,
    jurisdiction: JurisdictionQuery = None,
    kind: KindQuery = None,
) -> Response:
    query = change_service.build_query(principal, jurisdiction, kind)
    start = change_service.parse_position(after or "0")
    page = await change_service.load_page(database, query, start, min(limit, MAX_LIMIT))
    next_query = dict(request.query_params) | {"after": str(page.after)}
    next_url = f"{request.url.path}?{urlencode(next_query)}"
    items = ",".join(body for _, body in page.entries)
    members = orjson.dumps({"more": page.more, "cursor": str(page.after), "next": next_url})
    body = f'{{"items":[{items}],{members.decode()[1:]}'
    return build_json_response(body.encode(), Link=f'<{next_url}>; rel="next"')


@router.get(
    "/changes/stream",
    summary="The same as server-sent events; resumes from `Last-Event-ID`",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events named `change`; `id` is where to go on.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **describe_problems(401, 403, 404, 422),
    },
)
async def stream_changes(
    principal: PrincipalDep,
    service: Annotated[ChangeStreams, Depends(get_stream_service)],
    after: AfterQuery = None,
    jurisdiction: JurisdictionQuery = None,
    kind: KindQuery = None,
    wait_s: Annotated[
        float | None,
        Query(
            ge=0,
            le=86_400,
            allow_inf_nan=False,
            description="End when nothing has come for so many seconds. Not given: stay.",
        ),
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=200, description="Where a broken stream goes on.")] = None,
) -> StreamingResponse:
    query = change_service.build_query(principal, jurisdiction, kind)
    cursor = last_event_id or after
    start = change_service.parse_position(cursor) if cursor else None
    return StreamingResponse(
        service.stream_events(query, start, wait_s),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
