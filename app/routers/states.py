"""Routes of device states."""

from fastapi import APIRouter, Depends, Response

from app.http.dependencies import EditorDep, LinesDep, WriteDep, check_query_names
from app.http.openapi import describe_body, describe_problems
from app.http.responses import build_json_response
from app.http.routing import Route
from app.states import service as state_service
from app.states.service import StateOutcome, StateReport, StateReports

router = APIRouter(prefix="/v1", tags=["states"], dependencies=[Depends(check_query_names)], route_class=Route)


@router.post(
    "/states",
    summary="Report device states; the newest of each device counts",
    response_model=StateOutcome,
    responses=describe_problems(401, 403, 413, 415, 422),
    openapi_extra=describe_body(StateReports, line_model=StateReport),
)
async def report_states(principal: EditorDep, payload: LinesDep, connection: WriteDep) -> Response:
    outcome = await state_service.save_reports(connection, state_service.parse_reports(payload), principal)
    return build_json_response(outcome.model_dump_json().encode())
