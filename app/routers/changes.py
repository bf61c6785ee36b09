"""Routes of the change feed: pages by cursor, and a stream of events."""

from typing import Annotated, Literal
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.changes import service as change_service
from app.changes.service import ChangePage, Streams
from app.http import responses
from app.http.dependencies import DEFAULT_LIMIT, MAX_LIMIT, DatabaseDep, PrincipalDep, known_parameters
from app.http.openapi import problems

router = APIRouter(prefix="/v1", tags=["changes"], dependencies=[Depends(known_parameters)])

After = Annotated[
    str | None,
    Query(
        max_length=200,
        description="Where to go on: the `cursor` of the page before, or a sequence number.",
    ),
]
Division = Annotated[str | None, Query(pattern="^[0-9]{6}$", description="Division code of the jurisdiction.")]
KindName = Annotated[
    Literal[
        "jurisdiction", "ring", "control_point", "checkpoint", "camera", "road", "building", "waiver",
        "scenario",
    ]
    | None,
    Query(description="Only changes of this kind of record."),
]  # fmt: skip


async def _streams(request: Request) -> Streams:
    found: Streams = request.app.state.streams
    return found


@router.get(
    "/changes",
    summary="Everything that changed, in order; follow `next` and miss nothing",
    responses={200: {"model": ChangePage}, **problems(401, 403, 404, 422)},
)
async def list_changes(
    request: Request,
    who: PrincipalDep,
    database: DatabaseDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, description=f"Changes per page; at most {MAX_LIMIT} are given.")] = DEFAULT_LIMIT,
    jurisdiction: Division = None,
    kind: KindName = None,
) -> Response:
    wanted = change_service.asked(who, jurisdiction, kind)
    start = change_service.place(after or "0")
    found = await change_service.page(database, wanted, start, min(limit, MAX_LIMIT))
    query = dict(request.query_params) | {"after": str(found.after)}
    following = f"{request.url.path}?{urlencode(query)}"
    told = ",".join(body for _, body in found.entries)
    rest = orjson.dumps({"more": found.more, "cursor": str(found.after), "next": following})
    body = f'{{"items":[{told}],{rest.decode()[1:]}'
    return responses.raw(body.encode(), Link=f'<{following}>; rel="next"')


@router.get(
    "/changes/stream",
    summary="The same as server-sent events; resumes from `Last-Event-ID`",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events named `change`; `id` is where to go on.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(401, 403, 404, 422),
    },
)
async def stream_changes(
    who: PrincipalDep,
    streams: Annotated[Streams, Depends(_streams)],
    after: After = None,
    jurisdiction: Division = None,
    kind: KindName = None,
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
    wanted = change_service.asked(who, jurisdiction, kind)
    given = last_event_id or after
    start = change_service.place(given) if given else None
    return StreamingResponse(
        streams.follow(wanted, start, wait_s),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
