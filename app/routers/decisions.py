"""The routes that waivers and scenarios share: one decision, its history, saving and removing it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.decisions.service import DecisionKind, SavedDecision, load_decision, load_decision_history, remove_decision
from app.http.dependencies import (
    AnalysisDep,
    BodyDep,
    DatabaseDep,
    EditorDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    WriteContextDep,
)
from app.http.openapi import describe_body, describe_problems
from app.http.paging import HistoryPage, PageDep, build_history_page
from app.http.parameters import JurisdictionPath
from app.http.responses import build_record_response


@dataclass(frozen=True)
class DecisionRoutes:
    """What differs between the routes of the kinds of decisions."""

    kind: DecisionKind
    path: str
    """Path of one decision below the prefix of its router."""
    parameter: Any
    """Declaration of the path parameter with the name."""
    draft: type[BaseModel]
    document: type[BaseModel]
    save: Callable[..., Awaitable[SavedDecision]]
    save_summary: str


def add_decision_routes(router: APIRouter, routes: DecisionRoutes) -> None:
    """Add the routes of one kind of decision to a router."""
    kind, title = routes.kind, routes.kind.title

    @router.get(
        routes.path,
        name=f"get_{title}",
        summary=f"Read one {title}",
        responses={200: {"model": routes.document}, **describe_problems(401, 403, 404, 422)},
    )
    async def get_decision(
        code: JurisdictionPath,
        name: Annotated[str, routes.parameter],
        principal: PrincipalDep,
        connection: ReadDep,
    ) -> Response:
        version, body = await load_decision(connection, kind, code, name, principal)
        return build_record_response(body, version)

    @router.get(
        f"{routes.path}/history",
        name=f"list_{title}_history",
        summary=f"Changes of one {title}, newest first",
        responses={200: {"model": HistoryPage}, **describe_problems(401, 403, 404, 422)},
    )
    async def list_decision_history(
        request: Request,
        code: JurisdictionPath,
        name: Annotated[str, routes.parameter],
        principal: PrincipalDep,
        connection: ReadDep,
        paging: PageDep,
    ) -> Response:
        changes, before = await load_decision_history(
            connection, kind, code, name, principal, before=paging.before_sequence, limit=paging.limit
        )
        return build_history_page(request, changes, before)

    @router.put(
        routes.path,
        name=f"put_{title}",
        summary=routes.save_summary,
        responses={
            200: {"model": routes.document},
            201: {"model": routes.document},
            **describe_problems(401, 403, 404, 409, 412, 413, 415, 422),
        },
        openapi_extra=describe_body(routes.draft),
    )
    async def put_decision(
        request: Request,
        code: JurisdictionPath,
        name: Annotated[str, routes.parameter],
        principal: EditorDep,
        payload: BodyDep,
        precondition: PreconditionDep,
        service: AnalysisDep,
        database: DatabaseDep,
        context: WriteContextDep,
    ) -> Response:
        saved = await routes.save(database, service, code, name, payload, principal, precondition, context)
        if not saved.created:
            return build_record_response(saved.body, saved.version)
        return build_record_response(saved.body, saved.version, status=201, Location=request.url.path)

    @router.delete(
        routes.path,
        name=f"remove_{title}",
        status_code=204,
        summary=f"Remove one {title}; its history stays",
        responses={204: {"description": "Removed."}, **describe_problems(401, 403, 404, 412, 422)},
    )
    async def delete_decision(
        code: JurisdictionPath,
        name: Annotated[str, routes.parameter],
        principal: EditorDep,
        precondition: PreconditionDep,
        database: DatabaseDep,
        context: WriteContextDep,
    ) -> Response:
        await remove_decision(database, kind, code, name, principal, precondition, context)
        return Response(status_code=204)
