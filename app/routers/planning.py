"""Routes of planning: what would change if, and scenarios kept under a name."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.analysis.planning import placement, what_if
from app.analysis.planning.overlay_schemas import Overlay, WhatIf
from app.analysis.planning.placement import PlacementAnswer, PlacementQuestion
from app.decisions import scenarios
from app.decisions.scenario_schemas import Scenario, ScenarioDraft, ScenarioPage, ScenarioPlan, ScenarioResult
from app.http import responses
from app.http.dependencies import (
    BodyDep,
    ContextDep,
    DatabaseDep,
    GoneDep,
    PageDep,
    PreconditionDep,
    PrincipalDep,
    ReadDep,
    WriterDep,
    known_parameters,
)
from app.http.openapi import body_of, problems
from app.routers.coverage import AnswersDep, Jurisdiction
from app.routers.records import HistoryPage

router = APIRouter(
    prefix="/v1/jurisdictions/{code}",
    tags=["planning"],
    dependencies=[Depends(known_parameters)],
)


@router.post(
    "/coverage/what-if",
    summary="What would change: imagined records, sealed places, states and failures",
    responses={200: {"model": WhatIf}, **problems(401, 403, 404, 409, 413, 415, 422)},
    openapi_extra=body_of(Overlay),
)
async def post_what_if(
    code: Jurisdiction,
    who: PrincipalDep,
    payload: BodyDep,
    database: DatabaseDep,
    coverage: AnswersDep,
    gone: GoneDep,
) -> Response:
    return responses.computed(await what_if.answer(database, coverage, code, payload, who, gone))


@router.post(
    "/planning/placement",
    summary="Where new devices should go: all open points, every point by two, or the most valuable",
    responses={
        200: {
            "model": PlacementAnswer,
            "description": "A FeatureCollection of sites.",
            "content": {responses.GEOJSON: {"schema": {"type": "object"}}},
        },
        **problems(401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra=body_of(PlacementQuestion),
)
async def post_placement(
    code: Jurisdiction,
    who: PrincipalDep,
    payload: BodyDep,
    coverage: AnswersDep,
    gone: GoneDep,
) -> Response:
    told = await placement.answer(coverage, code, payload, who, gone)
    return responses.computed(told, responses.GEOJSON)


ScenarioName = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name of the scenario.")]


@router.get(
    "/scenarios",
    summary="The scenarios of the jurisdiction, in the order of their names",
    responses={200: {"model": ScenarioPage}, **problems(401, 403, 404, 422)},
)
async def list_scenarios(
    request: Request, code: Jurisdiction, who: PrincipalDep, connection: ReadDep, paging: PageDep
) -> Response:
    bodies, after = await scenarios.listed(
        connection, code, who, after=responses.decode_cursor(paging.cursor), limit=paging.limit
    )
    return responses.page(request, ",".join(bodies), len(bodies), after)


@router.get(
    "/scenarios/{name}",
    summary="One scenario",
    responses={200: {"model": Scenario}, **problems(401, 403, 404, 422)},
)
async def get_scenario(code: Jurisdiction, name: ScenarioName, who: PrincipalDep, connection: ReadDep) -> Response:
    version, body = await scenarios.get(connection, code, name, who)
    return responses.one(body, version)


@router.put(
    "/scenarios/{name}",
    summary="Keep imagined changes under a name, or replace them",
    responses={
        200: {"model": Scenario},
        201: {"model": Scenario},
        **problems(401, 403, 404, 409, 412, 413, 415, 422),
    },
    openapi_extra=body_of(ScenarioDraft),
)
async def put_scenario(
    code: Jurisdiction,
    name: ScenarioName,
    who: WriterDep,
    payload: BodyDep,
    condition: PreconditionDep,
    coverage: AnswersDep,
    database: DatabaseDep,
    context: ContextDep,
) -> Response:
    done, body = await scenarios.put(database, coverage, code, name, payload, who, condition, context)
    place = f"/v1/jurisdictions/{code}/scenarios/{name}"
    return responses.one(body, done.version, status=201 if done.created else 200, Location=place)


@router.delete(
    "/scenarios/{name}",
    status_code=204,
    summary="Remove a scenario; its history stays",
    responses={204: {"description": "Removed."}, **problems(401, 403, 404, 412, 422)},
)
async def remove_scenario(
    code: Jurisdiction,
    name: ScenarioName,
    who: WriterDep,
    condition: PreconditionDep,
    database: DatabaseDep,
    context: ContextDep,
) -> Response:
    await scenarios.remove(database, code, name, who, condition, context)
    return Response(status_code=204)


@router.get(
    "/scenarios/{name}/history",
    summary="Changes of a scenario, newest first",
    responses={200: {"model": HistoryPage}, **problems(401, 403, 404, 422)},
)
async def list_scenario_history(
    request: Request,
    code: Jurisdiction,
    name: ScenarioName,
    who: PrincipalDep,
    connection: ReadDep,
    paging: PageDep,
) -> Response:
    bodies, following = await scenarios.history(
        connection, code, name, who,
        before=responses.decode_sequence(paging.cursor), limit=paging.limit,
    )  # fmt: skip
    after = None if following is None else str(following)
    return responses.page(request, ",".join(bodies), len(bodies), after)


@router.get(
    "/scenarios/{name}/result",
    summary="What a scenario would change, from now or from another scenario",
    responses={200: {"model": ScenarioResult}, **problems(401, 403, 404, 409, 422)},
)
async def get_scenario_result(
    code: Jurisdiction,
    name: ScenarioName,
    who: PrincipalDep,
    database: DatabaseDep,
    coverage: AnswersDep,
    gone: GoneDep,
    against: Annotated[
        str | None,
        Query(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Scenario to compare with."),
    ] = None,
) -> Response:
    return responses.raw(await scenarios.result(database, coverage, code, name, against, who, gone))


@router.post(
    "/scenarios/{name}:plan",
    summary="A scenario as batches of records: to register as planned, and to send when it is done",
    responses={200: {"model": ScenarioPlan}, **problems(401, 403, 404, 409, 422)},
)
async def plan_scenario(
    code: Jurisdiction,
    name: ScenarioName,
    who: WriterDep,
    database: DatabaseDep,
    coverage: AnswersDep,
) -> Response:
    return responses.computed(await scenarios.planned(database, coverage, code, name, who))
