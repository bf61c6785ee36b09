"""Profiles of sources: those that come with the product, and those that were saved."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Conflict, Fault, Invalid, NotFound
from app.intake.options import BUILT_IN, check_profile
from app.registry import jobs as registry
from app.schemas.imports import Profile
from app.services import drafts
from app.services.access import Principal


async def find(connection: AsyncConnection, name: str) -> Profile:
    """Return a profile by name.

    Raises
    ------
    NotFound
        when there is none.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    row = await registry.profile(connection, name)
    if row is None:
        raise NotFound("import profile", name)
    return Profile.model_validate({**row["body"], "name": name})


async def listed(connection: AsyncConnection, who: Principal) -> list[dict[str, Any]]:
    """Return all profiles, those of the product first."""
    who.need("reader")
    own = [
        {
            **profile.model_dump(mode="json"),
            "built_in": True,
            "updated_at": None,
            "updated_by": None,
        }
        for profile in BUILT_IN.values()
    ]
    return own + [_saved(row) for row in await registry.profiles(connection)]


async def view(connection: AsyncConnection, name: str, who: Principal) -> dict[str, Any]:
    """Return one profile as it is kept."""
    for profile in await listed(connection, who):
        if profile["name"] == name:
            return profile
    raise NotFound("import profile", name)


def _saved(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("name", "updated_at", "updated_by")}
    return {**row["body"], **kept, "built_in": False}


async def put(
    connection: AsyncConnection, name: str, payload: object, who: Principal
) -> tuple[dict[str, Any], bool]:
    """Save a profile; return it and whether it is new.

    Raises
    ------
    Conflict
        when the name is one of the product's own.
    Invalid
        when it speaks of fields or code lists that are none.
    """
    who.need("editor")
    if name in BUILT_IN:
        raise Conflict(
            f"The profile {name!r} comes with the product; save yours under another name.",
            code="profile-built-in",
        )
    if isinstance(payload, dict) and payload.get("name", name) != name:
        message = f"the name in the body is not the name in the URL, {name!r}"
        raise Invalid(
            message.capitalize() + ".", faults=(Fault("/name", "code-mismatch", message),)
        )
    try:
        body = {**payload, "name": name} if isinstance(payload, dict) else payload
        profile = Profile.model_validate(body)
    except ValidationError as error:
        faults = drafts.faults_of(error)
        detail = f"The profile is not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, faults=faults) from error
    check_profile(profile)
    new = await registry.put_profile(connection, name, profile.model_dump(mode="json"), who.name)
    return await view(connection, name, who), new


async def remove(connection: AsyncConnection, name: str, who: Principal) -> None:
    """Remove a saved profile.

    Raises
    ------
    NotFound
        when there is none.
    """
    who.need("editor")
    if name in BUILT_IN:
        raise Conflict(f"The profile {name!r} comes with the product.", code="profile-built-in")
    if not await registry.remove_profile(connection, name):
        raise NotFound("import profile", name)
