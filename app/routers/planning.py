"""Routes of planning: what would change if."""

from fastapi import APIRouter, Depends, Response

from app.deps import BodyDep, DatabaseDep, GoneDep, PrincipalDep, known_parameters
from app.routers import answers
from app.routers.coverage import AnswersDep, Jurisdiction
from app.routers.openapi import body_of, problems
from app.schemas.overlay import Overlay, WhatIf
from app.services import what_if

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
    return answers.computed(await what_if.answer(database, coverage, code, payload, who, gone))
