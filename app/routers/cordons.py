"""Routes of cordons: sealed or not, how deeply, what opens them, and what would close them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from app.analysis.cordon.report import (
    SEALED_BODY,
    CordonAnswer,
    CordonQuery,
    Costs,
    ThroughAnswer,
    build_leak_route,
    build_ring_cordon,
    build_sealing_plan,
    build_through_cordon,
    parse_costs,
)
from app.http.dependencies import AnalysisDep, DisconnectDep, PrincipalDep, check_query_names
from app.http.negotiation import GEOJSON
from app.http.openapi import GEOJSON_CONTENT, describe_problems
from app.http.parameters import JurisdictionPath
from app.http.responses import build_json_response
from app.http.routing import Route
from app.models.vocabulary import Level

router = APIRouter(
    prefix="/v1/jurisdictions/{code}/cordon",
    tags=["cordon"],
    dependencies=[Depends(check_query_names)],
    route_class=Route,
)

RingOrThroughPath = Annotated[
    Level | Literal["through"],
    Path(description="A ring; or `through`: from outside all rings to the inside of the innermost."),
]
DirectionQuery = Annotated[Literal["inbound", "outbound"], Query(description="Into the ring, or out of it.")]
WithinQuery = Annotated[
    float,
    Query(
        ge=0,
        le=10_000,
        allow_inf_nan=False,
        description="Metres from the line within which a vehicle is still on its way through, so "
        "that guards there count and places there may be proposed.",
    ),
]
PairsQuery = Annotated[int, Query(ge=0, le=50, description="How many pairs to name at most.")]
_COST = "What guarding one direction of such a road costs: 1 to 1000, or `never`."
_FEATURE: dict[str, Any] = {"content": GEOJSON_CONTENT}


async def read_costs(
    motorway: Annotated[str, Query(alias="cost.motorway", description=_COST)] = "1",
    national: Annotated[str, Query(alias="cost.national", description=_COST)] = "1",
    provincial: Annotated[str, Query(alias="cost.provincial", description=_COST)] = "1",
    county: Annotated[str, Query(alias="cost.county", description=_COST)] = "1",
    urban_arterial: Annotated[str, Query(alias="cost.urban_arterial", description=_COST)] = "1",
    urban_minor: Annotated[str, Query(alias="cost.urban_minor", description=_COST)] = "1",
    service: Annotated[str, Query(alias="cost.service", description=_COST)] = "1",
) -> Costs:
    """Return the cost of a guard for one direction of a road, by class: 1 to 1,000, or ``never``."""
    return parse_costs(
        motorway=motorway,
        national=national,
        provincial=provincial,
        county=county,
        urban_arterial=urban_arterial,
        urban_minor=urban_minor,
        service=service,
    )


CostsDep = Annotated[Costs, Depends(read_costs)]


@router.get(
    "/through",
    summary="From outside the city to the core: how many guards are met at least, and where",
    responses={200: {"model": ThroughAnswer}, **describe_problems(401, 403, 404, 409, 422)},
)
async def get_through(
    code: JurisdictionPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    within_m: WithinQuery = 0.0,
    pairs: PairsQuery = 5,
) -> Response:
    query = CordonQuery("through", within_m=within_m, limit=pairs)
    return build_json_response(await service.load_result(code, principal, build_through_cordon, query, disconnect))


@router.get(
    "/{level}",
    summary="One ring: sealed, depth, critical checkpoints, pairs, per direction",
    responses={200: {"model": CordonAnswer}, **describe_problems(401, 403, 404, 409, 422)},
)
async def get_cordon(
    code: JurisdictionPath,
    level: Annotated[Level, Path(description="The ring.")],
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    within_m: WithinQuery = 0.0,
    pairs: PairsQuery = 5,
) -> Response:
    query = CordonQuery(level, within_m=within_m, limit=pairs)
    return build_json_response(await service.load_result(code, principal, build_ring_cordon, query, disconnect))


@router.get(
    "/{level}/leak",
    summary="The shortest way through that meets no working checkpoint, or several",
    responses={
        200: {"description": "A Feature, or with k > 1 a FeatureCollection.", **_FEATURE},
        204: {"description": "Sealed: there is none."},
        **describe_problems(401, 403, 404, 409, 422),
    },
)
async def get_leak(
    code: JurisdictionPath,
    level: RingOrThroughPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    direction: DirectionQuery = "inbound",
    k: Annotated[
        int,
        Query(ge=1, le=100, description="How many leaks at most, no two over the same road."),
    ] = 1,
    within_m: WithinQuery = 0.0,
) -> Response:
    query = CordonQuery(level, direction, within_m, limit=k)
    body = await service.load_result(code, principal, build_leak_route, query, disconnect)
    return Response(status_code=204) if body == SEALED_BODY else build_json_response(body, GEOJSON)


@router.get(
    "/{level}/sealing-plan",
    summary="The cheapest roads to guard so that nothing leaks, with the proof",
    responses={
        200: {"description": "A FeatureCollection of places.", **_FEATURE},
        **describe_problems(401, 403, 404, 409, 422),
    },
)
async def get_sealing_plan(
    code: JurisdictionPath,
    level: RingOrThroughPath,
    principal: PrincipalDep,
    service: AnalysisDep,
    disconnect: DisconnectDep,
    cost: CostsDep,
    direction: DirectionQuery = "inbound",
    within_m: WithinQuery = 0.0,
) -> Response:
    query = CordonQuery(level, direction, within_m, cost=tuple(cost.items()))
    body = await service.load_result(code, principal, build_sealing_plan, query, disconnect)
    return build_json_response(body, GEOJSON)
