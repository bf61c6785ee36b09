"""Routes of API keys, for administrators of everything."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.access import keys
from app.access.roles import Role
from app.errors import Invalid, to_issues
from app.http.dependencies import BodyDep, EditorDep, PrincipalDep, ReadDep, WriteDep, check_query_names
from app.http.openapi import describe_body, describe_problems
from app.http.responses import build_value_response
from app.http.routing import Route
from app.messages import Message
from app.models.fields import DivisionText, Instant, Line

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(check_query_names)], route_class=Route)


class KeyDraft(BaseModel):
    """A key to be made for a program."""

    model_config = ConfigDict(extra="forbid", strict=True)

    label: Line = Field(min_length=1, description="What program it is for; never a person.")
    role: Role = Field(description="What it may do, each role including the ones before.")
    jurisdictions: list[DivisionText] | None = Field(
        None, min_length=1, max_length=1000, description="Where it counts. Not given: everywhere."
    )
    expires_at: Instant | None = Field(None, description="When it ends. Not given: never.")


@router.get("", summary="List keys, without their secrets", responses=describe_problems(401, 403, 422))
async def list_keys(principal: PrincipalDep, connection: ReadDep) -> Response:
    principal.require_role_everywhere("admin")
    return build_value_response({"items": await keys.load_keys(connection)})


@router.post(
    "",
    status_code=201,
    response_model=dict[str, Any],
    summary="Make a key; the answer is the only time it is shown",
    responses=describe_problems(401, 403, 413, 415, 422),
    openapi_extra=describe_body(KeyDraft),
)
async def create_key(request: Request, principal: EditorDep, payload: BodyDep, connection: WriteDep) -> Response:
    principal.require_role_everywhere("admin")
    try:
        draft = KeyDraft.model_validate(payload)
    except ValidationError as error:
        issues = to_issues(error)
        message = Message(
            "The key is not valid: {pointer}: {message}.", pointer=issues[0].pointer, message=issues[0].message
        )
        raise Invalid(message, issues=issues) from error
    key_id, key = await keys.create_key(
        connection,
        request.app.state.secret,
        label=draft.label,
        role=draft.role,
        jurisdictions=draft.jurisdictions,
        expires_at=draft.expires_at,
    )
    document = {"id": key_id, "key": key, "role": draft.role, "jurisdictions": draft.jurisdictions}
    return build_value_response(document, status=201, headers={"Cache-Control": "no-store"})


@router.delete(
    "/{key_id}",
    status_code=204,
    summary="Revoke a key",
    responses={204: {"description": "Revoked."}, **describe_problems(401, 403, 404, 422)},
)
async def revoke_key(
    key_id: Annotated[str, Path(pattern="^[a-z0-9]{12}$", description="Visible id of the key.")],
    principal: EditorDep,
    connection: WriteDep,
) -> Response:
    principal.require_role_everywhere("admin")
    await keys.revoke_key(connection, key_id)
    return Response(status_code=204)
