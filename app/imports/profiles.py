"""Profiles of sources: those that come with the product, and those that were saved."""

import io
from typing import Any, Literal

import xlsxwriter
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Conflict, Invalid, Issue, NotFound
from app.imports.queries import jobs as job_queries
from app.ingest.columns import templates
from app.ingest.columns.field_specs import kind_of
from app.ingest.columns.options import BUILT_IN, check_profile
from app.ingest.columns.profiles import Profile
from app.records import payloads


async def find(connection: AsyncConnection, name: str) -> Profile:
    """Return a profile by name.

    Raises
    ------
    NotFound
        when there is none.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    row = await job_queries.profile(connection, name)
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
    return own + [_saved(row) for row in await job_queries.profiles(connection)]


async def view(connection: AsyncConnection, name: str, who: Principal) -> dict[str, Any]:
    """Return one profile as it is kept."""
    for profile in await listed(connection, who):
        if profile["name"] == name:
            return profile
    raise NotFound("import profile", name)


def _saved(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("name", "updated_at", "updated_by")}
    return {**row["body"], **kept, "built_in": False}


async def put(connection: AsyncConnection, name: str, payload: object, who: Principal) -> tuple[dict[str, Any], bool]:
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
        raise Invalid(message.capitalize() + ".", issues=(Issue("/name", "code-mismatch", message),))
    try:
        body = {**payload, "name": name} if isinstance(payload, dict) else payload
        profile = Profile.model_validate(body)
    except ValidationError as error:
        faults = payloads.faults_of(error)
        detail = f"The profile is not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error
    check_profile(profile)
    new = await job_queries.put_profile(connection, name, profile.model_dump(mode="json"), who.name)
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
    if not await job_queries.remove_profile(connection, name):
        raise NotFound("import profile", name)


# Templates of the kinds as files: text for any program, a workbook whose cells keep twenty digits.

_WIDE = 18


def template(kind: str, file_format: Literal["csv", "xlsx"], language: Literal["zh", "en"]) -> bytes:
    """Return the template of a kind.

    Raises
    ------
    NotFound
        when there is no such kind.
    """
    try:
        name = kind_of(kind if kind.endswith("s") else kind.replace("-", "_")).name
    except Invalid as error:
        raise NotFound("import template", kind) from error
    if file_format == "csv":
        text = templates.csv_text(name, language)
        return (text if text.startswith("\ufeff") else "\ufeff" + text).encode()
    return _workbook(templates.template(name, language))


def _workbook(wanted: templates.Template) -> bytes:
    """Return a workbook: the table to fill in, and what each column takes."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    text, bold = book.add_format({"num_format": "@"}), book.add_format({"bold": True})
    table = book.add_worksheet(wanted.kind)
    table.set_column(0, len(wanted.headings) - 1, _WIDE, text)
    _fill(table, [wanted.headings, *wanted.examples], bold)
    told = book.add_worksheet("列说明" if wanted.language == "zh" else "columns")
    told.set_column(0, len(wanted.columns_heading) - 1, _WIDE, text)
    _fill(told, [wanted.columns_heading, *wanted.columns], bold)
    book.close()
    return file.getvalue()


def _fill(sheet: Any, rows: list[tuple[str, ...]], bold: Any) -> None:
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            sheet.write_string(at, column, cell, *([bold] if at == 0 else []))
    sheet.freeze_panes(1, 0)
