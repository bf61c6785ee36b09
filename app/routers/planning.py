"""Routes of planning: what would change if, and scenarios kept under a name."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.analysis.planning.diff import WhatIf
from app.analysis.planning.overlay import Overlay
from app.analysis.planning.placement import PlacementAnswer, PlacementQuestion, run_placement
from app.analysis.planning.what_if import run_what_if
from app.decisions.scenarios import (
    SCENARIO,
    ScenarioDocument,
    ScenarioDraft,
    ScenarioPage,
    ScenarioPlan,
    ScenarioResult,
    build_scenario_plan,
    load_scenario_result,
    save_scenario,
)
from app.decisions.service import load_decision_page
from app.http.dependencies import (
    AnalysisDep,
    BodyDep,
    DatabaseDep,
    DisconnectDep,
    EditorDep,
    PrincipalDep,
    ReadDep,
    check_query_names,
)
from app.http.negotiation import GEOJSON
from app.http.openapi import GEOJSON_CONTENT, describe_body, describe_problems
from app.http.paging import PageDep, build_page
from app.http.parameters import JurisdictionPath
from app.http.responses import build_json_response, build_value_response
from app.http.routing import Route
from app.routers.decisions import DecisionRoutes, add_decision_routes

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


_SCENARIO_PARAMETER: Any = Path(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name of the scenario.")
ScenarioPath = Annotated[str, _SCENARIO_PARAMETER]


@router.get(
    "/scenarios",
    summary="The scenarios of the jurisdiction, in the order of their names",
    responses={200: {"model": ScenarioPage}, **describe_problems(401, 403, 404, 422)},
)
async def list_scenarios(
    request: Request, code: JurisdictionPath, principal: PrincipalDep, connection: ReadDep, paging: PageDep
) -> Response:
    bodies, after = await load_decision_page(
        connection, SCENARIO, code, principal, after=paging.after, limit=paging.limit
    )
    return build_page(request, ",".join(bodies), len(bodies), after)


add_decision_routes(
    router,
    DecisionRoutes(
        SCENARIO,
        path="/scenarios/{name}",
        parameter=_SCENARIO_PARAMETER,
        draft=ScenarioDraft,
        document=ScenarioDocument,
        save=save_scenario,
        save_summary="Keep imagined changes under a name, or replace them",
    ),
)


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
    return build_json_response(
        await load_scenario_result(database, service, code, name, against, principal, disconnect)
    )


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
    return build_value_response(await build_scenario_plan(database, service, code, name, principal))
