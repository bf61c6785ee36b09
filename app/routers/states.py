"""Routes of device states."""

from fastapi import APIRouter, Depends

from app.http.dependencies import LinesDep, WriteDep, WriterDep, known_parameters
from app.http.openapi import body_of, problems
from app.states import service as state_service
from app.states.service import StateOutcome, StateReport, StateReports

router = APIRouter(prefix="/v1", tags=["states"], dependencies=[Depends(known_parameters)])


@router.post(
    "/states",
    summary="Report device states; the newest of each device counts",
    responses=problems(401, 403, 413, 415, 422),
    openapi_extra=body_of(StateReports, lines_of=StateReport),
)
async def report_states(who: WriterDep, payload: LinesDep, connection: WriteDep) -> StateOutcome:
    return await state_service.report(connection, state_service.parse(payload), who)
