"""Routes of planning: what would change if, and scenarios kept under a name."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.analysis.planning.diff import WhatIf
from app.analysis.planning.overlay import Overlay
from app.analysis.planning.placement import PlacementAnswer, PlacementQuestion, run_placement
from app.analysis.planning.what_if import run_what_if
from app.decisions import scenarios
from app.decisions.scenario_schemas import Scenario, ScenarioDraft, ScenarioPage, ScenarioPlan, ScenarioResult
from app.http.dependencies import (
    AnalysisDep,
    BodyDep,
    DatabaseDep,
    DisconnectDep,
    EditorDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    WriteContextDep,
    check_query_names,
)
from app.http.negotiation import GEOJSON
from app.http.openapi import GEOJSON_CONTENT, describe_body, describe_problems
from app.http.paging import HistoryPage, PageDep, build_history_page, build_page
from app.http.parameters import JurisdictionPath
from app.http.responses import build_json_response, build_record_response, build_value_response
from app.http.routing import Route

router = APIRouter(
    prefix="/v1/jurisdictions/{code}", tags=["planning"], dependencies=[Depends(check_query_names)], route_class=Route
)


@router.post(
    "/coverage/what-if",
    summary="What would change: imagined records, sealed places, states and failures",
    responses={200: {"model": WhatIf}, **describe_problems(401, 403, 404, 409, 413, 415, 422)},
    openapi_extra=describe_body(Overlay),
)
async def post_what_if(
    code: JurisdictionPath,
    principal: PrincipalDep,
    payload: BodyDep,
    database: DatabaseDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
) -> Response:
    return build_value_response(await run_what_if(database, service, code, payload, principal, disconnect))


@router.post(
    "/planning/placement",
    summary="Where new devices should go: all open points, every point by two, or the most valuable",
    responses={
        200: {
            "model": PlacementAnswer,
            "description": "A FeatureCollection of sites.",
            "content": GEOJSON_CONTENT,
        },
        **describe_problems(401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra=describe_body(PlacementQuestion),
)
async def post_placement(
    code: JurisdictionPath,
    principal: PrincipalDep,
    payload: BodyDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
) -> Response:
    result = await run_placement(service, code, payload, principal, disconnect)
    return build_value_response(result, GEOJSON)


ScenarioPath = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name of the scenario.")]


@router.get(
    "/scenarios",
    summary="The scenarios of the jurisdiction, in the order of their names",
    responses={200: {"model": ScenarioPage}, **describe_problems(401, 403, 404, 422)},
)
async def list_scenarios(
    request: Request, code: JurisdictionPath, principal: PrincipalDep, connection: ReadDep, paging: PageDep
) -> Response:
    bodies, after = await scenarios.listed(connection, code, principal, after=paging.after, limit=paging.limit)
    return build_page(request, ",".join(bodies), len(bodies), after)


@router.get(
    "/scenarios/{name}",
    summary="One scenario",
    responses={200: {"model": Scenario}, **describe_problems(401, 403, 404, 422)},
)
async def get_scenario(
    code: JurisdictionPath, name: ScenarioPath, principal: PrincipalDep, connection: ReadDep
) -> Response:
    version, body = await scenarios.get(connection, code, name, principal)
    return build_record_response(body, version)


@router.put(
    "/scenarios/{name}",
    summary="Keep imagined changes under a name, or replace them",
    responses={
        200: {"model": Scenario},
        201: {"model": Scenario},
        **describe_problems(401, 403, 404, 409, 412, 413, 415, 422),
    },
    openapi_extra=describe_body(ScenarioDraft),
)
async def put_scenario(
    code: JurisdictionPath,
    name: ScenarioPath,
    principal: EditorDep,
    payload: BodyDep,
    precondition: PreconditionDep,
    service: AnalysisDep,
    database: DatabaseDep,
    context: WriteContextDep,
) -> Response:
    written, body = await scenarios.put(database, service, code, name, payload, principal, precondition, context)
    location = f"/v1/jurisdictions/{code}/scenarios/{name}"
    return build_record_response(body, written.version, status=201 if written.created else 200, Location=location)


@router.delete(
    "/scenarios/{name}",
    status_code=204,
    summary="Remove a scenario; its history stays",
    responses={204: {"description": "Removed."}, **describe_problems(401, 403, 404, 412, 422)},
)
async def remove_scenario(
    code: JurisdictionPath,
    name: ScenarioPath,
    principal: EditorDep,
    precondition: PreconditionDep,
    database: DatabaseDep,
    context: WriteContextDep,
) -> Response:
    await scenarios.remove(database, code, name, principal, precondition, context)
    return Response(status_code=204)


@router.get(
    "/scenarios/{name}/history",
    summary="Changes of a scenario, newest first",
    responses={200: {"model": HistoryPage}, **describe_problems(401, 403, 404, 422)},
)
async def list_scenario_history(
    request: Request,
    code: JurisdictionPath,
    name: ScenarioPath,
    principal: PrincipalDep,
    connection: ReadDep,
    paging: PageDep,
) -> Response:
    changes, before = await scenarios.history(
        connection, code, name, principal, before=paging.before_sequence, limit=paging.limit
    )
    return build_history_page(request, changes, before)


@router.get(
    "/scenarios/{name}/result",
    summary="What a scenario would change, from now or from another scenario",
    responses={200: {"model": ScenarioResult}, **describe_problems(401, 403, 404, 409, 422)},
)
async def get_scenario_result(
    code: JurisdictionPath,
    name: ScenarioPath,
    principal: PrincipalDep,
    database: DatabaseDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    against: Annotated[
        str | None,
        Query(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Scenario to compare with."),
    ] = None,
) -> Response:
    return build_json_response(await scenarios.result(database, service, code, name, against, principal, disconnect))


@router.post(
    "/scenarios/{name}:plan",
    summary="A scenario as batches of records: to register as planned, and to send when it is done",
    responses={200: {"model": ScenarioPlan}, **describe_problems(401, 403, 404, 409, 422)},
)
async def plan_scenario(
    code: JurisdictionPath,
    name: ScenarioPath,
    principal: EditorDep,
    database: DatabaseDep,
    service: AnalysisDep,
) -> Response:
    return build_value_response(await scenarios.planned(database, service, code, name, principal))
