"""Routes of cordons: sealed or not, how deeply, what opens them, and what would close them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from app.analysis.cordon import service as cordon_service
from app.analysis.cordon.report import Costs, Wanted
from app.analysis.cordon.schemas import CordonAnswer, ThroughAnswer
from app.http import responses
from app.http.dependencies import GoneDep, PrincipalDep, known_parameters
from app.http.openapi import problems
from app.models.vocabulary import Level
from app.routers.coverage import AnswersDep, Jurisdiction

router = APIRouter(
    prefix="/v1/jurisdictions/{code}/cordon",
    tags=["cordon"],
    dependencies=[Depends(known_parameters)],
)

Which = Annotated[
    Level | Literal["through"],
    Path(description="A ring; or `through`: from outside all rings to the inside of the innermost."),
]
Way = Annotated[Literal["inbound", "outbound"], Query(description="Into the ring, or out of it.")]
Within = Annotated[
    float,
    Query(
        ge=0,
        le=10_000,
        allow_inf_nan=False,
        description="Metres from the line within which a vehicle is still on its way through, so "
        "that guards there count and places there may be proposed.",
    ),
]
Pairs = Annotated[int, Query(ge=0, le=50, description="How many pairs to name at most.")]
_COST = "What guarding one direction of such a road costs: 1 to 1000, or `never`."
_FEATURE: dict[str, Any] = {"content": {"application/geo+json": {"schema": {"type": "object"}}}}


async def costs(
    motorway: Annotated[str, Query(alias="cost.motorway", description=_COST)] = "1",
    national: Annotated[str, Query(alias="cost.national", description=_COST)] = "1",
    provincial: Annotated[str, Query(alias="cost.provincial", description=_COST)] = "1",
    county: Annotated[str, Query(alias="cost.county", description=_COST)] = "1",
    urban_arterial: Annotated[str, Query(alias="cost.urban_arterial", description=_COST)] = "1",
    urban_minor: Annotated[str, Query(alias="cost.urban_minor", description=_COST)] = "1",
    service: Annotated[str, Query(alias="cost.service", description=_COST)] = "1",
) -> Costs:
    """Return what guarding one direction of a road costs, by class: 1 to 1,000, or ``never``."""
    return cordon_service.costs(
        motorway=motorway,
        national=national,
        provincial=provincial,
        county=county,
        urban_arterial=urban_arterial,
        urban_minor=urban_minor,
        service=service,
    )


CostsDep = Annotated[Costs, Depends(costs)]


@router.get(
    "/through",
    summary="From outside the city to the core: how many guards are met at least, and where",
    responses={200: {"model": ThroughAnswer}, **problems(401, 403, 404, 409, 422)},
)
async def get_through(
    code: Jurisdiction,
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    within_m: Within = 0.0,
    pairs: Pairs = 5,
) -> Response:
    wanted = Wanted("through", within_m=within_m, most=pairs)
    return responses.raw(await cordon_service.get_through_cordon(coverage, code, who, wanted, gone))


@router.get(
    "/{level}",
    summary="One ring: sealed, depth, critical checkpoints, pairs, per direction",
    responses={200: {"model": CordonAnswer}, **problems(401, 403, 404, 409, 422)},
)
async def get_cordon(
    code: Jurisdiction,
    level: Annotated[Level, Path(description="The ring.")],
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    within_m: Within = 0.0,
    pairs: Pairs = 5,
) -> Response:
    wanted = Wanted(level, within_m=within_m, most=pairs)
    return responses.raw(await cordon_service.get_ring_cordon(coverage, code, who, wanted, gone))


@router.get(
    "/{level}/leak",
    summary="The shortest way through that meets no working checkpoint, or several",
    responses={
        200: {"description": "A Feature, or with k > 1 a FeatureCollection.", **_FEATURE},
        204: {"description": "Sealed: there is none."},
        **problems(401, 403, 404, 409, 422),
    },
)
async def get_leak(
    code: Jurisdiction,
    level: Which,
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    direction: Way = "inbound",
    k: Annotated[
        int,
        Query(ge=1, le=100, description="How many leaks at most, no two over the same road."),
    ] = 1,
    within_m: Within = 0.0,
) -> Response:
    wanted = Wanted(level, direction, within_m, most=k)
    body = await cordon_service.get_leak_route(coverage, code, who, wanted, gone)
    return Response(status_code=204) if body is None else responses.raw(body, responses.GEOJSON)


@router.get(
    "/{level}/sealing-plan",
    summary="The cheapest roads to guard so that nothing leaks, with the proof",
    responses={
        200: {"description": "A FeatureCollection of places.", **_FEATURE},
        **problems(401, 403, 404, 409, 422),
    },
)
async def get_sealing_plan(
    code: Jurisdiction,
    level: Which,
    who: PrincipalDep,
    coverage: AnswersDep,
    gone: GoneDep,
    cost: CostsDep,
    direction: Way = "inbound",
    within_m: Within = 0.0,
) -> Response:
    wanted = Wanted(level, direction, within_m, cost=tuple(cost.items()))
    body = await cordon_service.get_sealing_plan(coverage, code, who, wanted, gone)
    return responses.raw(body, responses.GEOJSON)
