"""Routes of API keys, for administrators of everything."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.access import keys
from app.access.roles import Role
from app.errors import Invalid
from app.http import responses
from app.http.dependencies import BodyDep, PrincipalDep, ReadDep, WriteDep, WriterDep, known_parameters
from app.http.openapi import body_of, problems
from app.models.fields import DivisionText, Instant, Line
from app.records import payloads

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(known_parameters)])


class KeyDraft(BaseModel):
    """A key to be made for a program."""

    model_config = ConfigDict(extra="forbid", strict=True)

    label: Line = Field(min_length=1, description="What program it is for; never a person.")
    role: Role = Field(description="What it may do, each role including the ones before.")
    jurisdictions: list[DivisionText] | None = Field(
        None, min_length=1, max_length=1000, description="Where it counts. Not given: everywhere."
    )
    expires_at: Instant | None = Field(None, description="When it ends. Not given: never.")


@router.get("", summary="List keys, without their secrets", responses=problems(401, 403, 422))
async def list_keys(who: PrincipalDep, connection: ReadDep) -> Response:
    who.need_everywhere("admin")
    return responses.computed({"items": await keys.listed(connection)})


@router.post(
    "",
    status_code=201,
    summary="Make a key; the answer is the only time it is shown",
    responses=problems(401, 403, 413, 415, 422),
    openapi_extra=body_of(KeyDraft),
)
async def create_key(request: Request, who: WriterDep, payload: BodyDep, connection: WriteDep) -> dict[str, Any]:
    who.need_everywhere("admin")
    try:
        draft = KeyDraft.model_validate(payload)
    except ValidationError as error:
        faults = payloads.faults_of(error)
        detail = f"The key is not valid: {faults[0].pointer}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error
    key_id, key = await keys.create(
        connection, request.app.state.secret, label=draft.label, role=draft.role,
        jurisdictions=draft.jurisdictions, expires_at=draft.expires_at,
    )  # fmt: skip
    return {"id": key_id, "key": key, "role": draft.role, "jurisdictions": draft.jurisdictions}


@router.delete(
    "/{key_id}",
    status_code=204,
    summary="Revoke a key",
    responses={204: {"description": "Revoked."}, **problems(401, 403, 404, 422)},
)
async def revoke_key(
    key_id: Annotated[str, Path(pattern="^[a-z0-9]{12}$", description="Visible id of the key.")],
    who: WriterDep,
    connection: WriteDep,
) -> Response:
    who.need_everywhere("admin")
    await keys.revoke(connection, key_id)
    return Response(status_code=204)
