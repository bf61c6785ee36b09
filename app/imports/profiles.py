"""Import profiles, built in and saved, and the templates of files to fill in."""

import io
from typing import Any, Final, Literal

import xlsxwriter
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Conflict, Invalid, Issue, NotFound, to_issues
from app.imports.queries import jobs as job_queries
from app.imports.record_specs import find_record_spec
from app.ingest.columns import templates
from app.ingest.columns.options import BUILT_IN, Profile, check_profile
from app.messages import Language, Message, translate_message


async def load_profile(connection: AsyncConnection, name: str) -> Profile:
    """Return a profile by name.

    Raises
    ------
    NotFound
        if there is no such profile.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    row = await job_queries.fetch_profile(connection, name)
    if row is None:
        raise NotFound("import profile", name)
    return Profile.model_validate({**row["body"], "name": name})


async def load_profile_documents(connection: AsyncConnection, principal: Principal) -> list[dict[str, Any]]:
    """Return all profiles, the built-in ones first."""
    principal.require_role("reader")
    built_in = [
        {**profile.model_dump(mode="json"), "built_in": True, "updated_at": None, "updated_by": None}
        for profile in BUILT_IN.values()
    ]
    saved = [
        {**row["body"], **{name: row[name] for name in ("name", "updated_at", "updated_by")}, "built_in": False}
        for row in await job_queries.fetch_profiles(connection)
    ]
    return built_in + saved


async def load_profile_document(connection: AsyncConnection, name: str, principal: Principal) -> dict[str, Any]:
    """Return one profile, and who saved it."""
    for profile in await load_profile_documents(connection, principal):
        if profile["name"] == name:
            return profile
    raise NotFound("import profile", name)


async def save_profile(
    connection: AsyncConnection, name: str, payload: object, principal: Principal
) -> tuple[dict[str, Any], bool]:
    """Save a profile; return its document, and whether it is new.

    Raises
    ------
    Conflict
        if the name is that of a built-in profile.
    Invalid
        if the profile has unknown fields or code lists.
    """
    principal.require_role("editor")
    _check_not_built_in(name)
    if isinstance(payload, dict) and payload.get("name", name) != name:
        message = Message("The name in the body differs from the name in the URL, {name!r}.", name=name)
        raise Invalid(message, issues=(Issue("/name", "code-mismatch", message),))
    try:
        profile = Profile.model_validate({**payload, "name": name} if isinstance(payload, dict) else payload)
    except ValidationError as error:
        issues = to_issues(error)
        message = Message(
            "The profile is not valid: {pointer}: {reason}.",
            pointer=issues[0].pointer or "/",
            reason=issues[0].message,
        )
        raise Invalid(message, issues=issues) from error
    check_profile(profile, find_record_spec(profile.kind) if profile.kind else None)
    is_new = await job_queries.upsert_profile(connection, name, profile.model_dump(mode="json"), principal.name)
    return await load_profile_document(connection, name, principal), is_new


async def remove_profile(connection: AsyncConnection, name: str, principal: Principal) -> None:
    """Remove a saved profile.

    Raises
    ------
    NotFound
        if there is no such profile.
    """
    principal.require_role("editor")
    _check_not_built_in(name)
    if not await job_queries.delete_profile(connection, name):
        raise NotFound("import profile", name)


def _check_not_built_in(name: str) -> None:
    if name in BUILT_IN:
        message = Message("Profile {name!r} is part of the product. Use another name.", name=name)
        raise Conflict(message, code="profile-built-in")


# Templates of the kinds as files. The cells of a workbook are text, so that they keep twenty digits.

_COLUMN_WIDTH: Final = 18


def build_template(kind: str, file_format: Literal["csv", "xlsx"], language: Language) -> bytes:
    """Return the template of a kind as a file.

    Raises
    ------
    NotFound
        if there is no such kind.
    """
    try:
        spec = find_record_spec(kind if kind.endswith("s") else kind.replace("-", "_"))
    except Invalid as error:
        raise NotFound("import template", kind) from error
    if file_format == "csv":
        text = templates.render_csv(spec, language)
        return (text if text.startswith("\ufeff") else "\ufeff" + text).encode()
    return _write_workbook(templates.build_template(spec, language))


def _write_workbook(template: templates.Template) -> bytes:
    """Return a workbook with two sheets: the table to fill in, and the description of its columns."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    text, bold = book.add_format({"num_format": "@"}), book.add_format({"bold": True})
    table = book.add_worksheet(template.kind)
    table.set_column(0, len(template.headings) - 1, _COLUMN_WIDTH, text)
    _write_sheet(table, [template.headings, *template.examples], bold)
    descriptions = book.add_worksheet(translate_message(Message("columns"), template.language))
    descriptions.set_column(0, len(template.columns_heading) - 1, _COLUMN_WIDTH, text)
    _write_sheet(descriptions, [template.columns_heading, *template.columns], bold)
    book.close()
    return file.getvalue()


def _write_sheet(sheet: Any, rows: list[tuple[str, ...]], bold: Any) -> None:
    for index, row in enumerate(rows):
        for column, cell in enumerate(row):
            sheet.write_string(index, column, cell, *([bold] if index == 0 else []))
    sheet.freeze_panes(1, 0)
