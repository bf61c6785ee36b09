"""Reading and writing records of any kind: one or a page, now or in the past; create, replace, patch, remove.

The mechanism is the same for every kind; `app.records.kinds` declares what differs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.db.engine import Fetch, get_fetch
from app.errors import Conflict, Issue, NotFound, PreconditionFailed
from app.messages import Message
from app.records import payloads, writing
from app.records.drafts import Draft
from app.records.kinds import Kind
from app.records.payloads import Precondition
from app.records.queries import records as record_queries
from app.records.queries.documents import list_public_columns

_DERIVED_COLUMNS: Final = frozenset({"zone", "rings", "on_boundary", "distance_m"})


@dataclass(frozen=True)
class WriteResult:
    """The record that a write created or replaced."""

    code: str
    version: int
    created: bool


async def load_record(
    fetch: Fetch, kind: Kind, code: str, principal: Principal, *, feature: bool = False
) -> record_queries.StoredRecord:
    """Return one record.

    Raises
    ------
    NotFound
        if it does not exist in the scope of the principal.
    """
    scope = principal.require_scope("reader")
    record = await record_queries.fetch_record(
        fetch, kind, code, scope=scope, feature=feature, reveal=principal.sees_restricted
    )
    if record is None:
        raise NotFound(kind.title, code)
    return record


async def load_written_record(
    connection: AsyncConnection, kind: Kind, code: str, principal: Principal
) -> record_queries.StoredRecord:
    """Return one record as the current transaction sees it."""
    return await load_record(await get_fetch(connection), kind, code, principal)


async def load_past_record(
    connection: AsyncConnection,
    kind: Kind,
    code: str,
    instant: datetime,
    principal: Principal,
    *,
    feature: bool = False,
) -> record_queries.StoredRecord:
    """Return one record as it was at an instant, from its history.

    Raises
    ------
    NotFound
        if it did not exist then.
    """
    scope = principal.require_scope("analyst")
    past = await record_queries.fetch_past_record(connection, kind.name, code, instant, scope=scope)
    if past is None:
        raise NotFound(f"{kind.title} at {instant.isoformat()}", code)
    version, document = past
    hidden = _DERIVED_COLUMNS if principal.sees_restricted else _DERIVED_COLUMNS | kind.restricted
    body = {name: document.get(name) for name in list_public_columns(kind) if name not in hidden}
    if feature:
        body = {"type": "Feature", "id": code, "geometry": document["geometry"], "properties": body}
    elif kind.has_geometry:
        body["geometry"] = document["geometry"]
    return record_queries.StoredRecord(code, version, orjson.dumps(body))


async def load_record_page(
    fetch: Fetch,
    kind: Kind,
    filters: Mapping[str, Any],
    principal: Principal,
    *,
    limit: int,
    after: str | None,
    feature: bool = False,
) -> record_queries.RecordPage:
    """Return one page of records in code order."""
    scoped = {**filters, "scope": principal.require_scope("reader"), "after": after}
    return await record_queries.fetch_record_page(
        fetch, kind, scoped, limit=limit, feature=feature, reveal=principal.sees_restricted
    )


async def save_record(
    connection: AsyncConnection, kind: Kind, draft: Draft, principal: Principal, precondition: Precondition
) -> WriteResult:
    """Create or replace one record.

    Raises
    ------
    PreconditionFailed
        if If-Match or If-None-Match does not match.
    Conflict
        if the code belongs to another jurisdiction.
    """
    code, owner = writing.get_code(draft), writing.get_owner(kind, draft)
    principal.require_role_in(kind.write_role, [owner])
    await writing.lock_jurisdictions(connection, kind, [owner])
    existing = (await record_queries.lock_records(connection, kind.name, [code])).get(code)
    if existing is not None and existing.removed:
        existing = None
    if existing is not None and existing.jurisdiction != owner:
        raise build_owner_conflict(kind, code, principal, existing.jurisdiction)
    precondition.check_version(None if existing is None else existing.version)
    try:
        versions = await writing.save_drafts(connection, kind, [draft], principal, create_only=precondition.create_only)
    except Conflict as error:
        # A unique index may report a concurrent writer of the same code before the upsert sees its row.
        if precondition.create_only and [issue.pointer for issue in error.issues] == ["/code"]:
            raise _build_exists_error(kind, code) from error
        raise
    if code not in versions:
        raise _build_exists_error(kind, code) if precondition.create_only else _build_code_conflict(kind, code)
    return WriteResult(code, versions[code], created=existing is None)


def _build_exists_error(kind: Kind, code: str) -> PreconditionFailed:
    return PreconditionFailed(
        Message("If-None-Match *: the {kind} {code!r} exists already.", kind=kind.title, code=code)
    )


def _build_code_conflict(kind: Kind, code: str) -> Conflict:
    message = Message("The code {code!r} belongs to another {kind}.", kind=kind.title, code=code)
    return Conflict(message, code="already-exists", issues=(Issue("/code", "already-exists", message),))


def build_owner_conflict(kind: Kind, code: str, principal: Principal, owner: str) -> Conflict:
    """Return the conflict for a record of another jurisdiction; its owner is named only inside the scope."""
    if principal.jurisdictions is not None and owner not in principal.jurisdictions:
        return _build_code_conflict(kind, code)
    message = Message(
        "The {kind} {code!r} belongs to jurisdiction {owner}, and a record cannot move to another one. Remove it there "
        "and register it under another code.",
        kind=kind.title,
        code=code,
        owner=owner,
    )
    issue = Issue("/jurisdiction", "jurisdiction-fixed", message)
    return Conflict(message, code="jurisdiction-fixed", issues=(issue,))


async def create_record(connection: AsyncConnection, kind: Kind, draft: Draft, principal: Principal) -> WriteResult:
    """Create one record.

    Raises
    ------
    Conflict
        if the code exists.
    """
    code, owner = writing.get_code(draft), writing.get_owner(kind, draft)
    principal.require_role_in(kind.write_role, [owner])
    await writing.lock_jurisdictions(connection, kind, [owner])
    versions = await writing.save_drafts(connection, kind, [draft], principal, create_only=True)
    if code not in versions:
        raise _build_code_conflict(kind, code)
    return WriteResult(code, versions[code], created=True)


async def patch_record(
    connection: AsyncConnection,
    kind: Kind,
    code: str,
    patch: object,
    principal: Principal,
    precondition: Precondition,
) -> WriteResult:
    """Merge a patch into one record (RFC 7396).

    Raises
    ------
    NotFound
        if there is no such record in the scope of the principal.
    Conflict
        if the patch changes the code or the jurisdiction.
    """
    scope = principal.require_scope(kind.write_role)
    if owner := await record_queries.fetch_owner(connection, kind, code):
        await writing.lock_jurisdictions(connection, kind, [owner])
    await record_queries.lock_records(connection, kind.name, [code])
    record = await record_queries.fetch_record(await get_fetch(connection), kind, code, scope=scope, reveal=True)
    precondition.check_version(None if record is None else record.version)
    if record is None:
        raise NotFound(kind.title, code)
    current = payloads.drop_server_fields(orjson.loads(record.body), kind)
    merged = payloads.apply_merge_patch(current, patch)
    for fixed in ("code", "jurisdiction"):
        if fixed in current and merged.get(fixed) != current[fixed]:
            message = Message("{field} cannot change; it is {value!r}.", field=fixed, value=current[fixed])
            raise Conflict(message, code=f"{fixed}-fixed", issues=(Issue(f"/{fixed}", f"{fixed}-fixed", message),))
    draft = payloads.parse_draft(kind, merged, code=code)
    versions = await writing.save_drafts(connection, kind, [draft], principal)
    return WriteResult(code, versions[code], created=False)


async def remove_record(
    connection: AsyncConnection, kind: Kind, code: str, principal: Principal, precondition: Precondition
) -> None:
    """Mark one record as removed; its history stays.

    Raises
    ------
    NotFound
        if there is no such record in the scope of the principal.
    Conflict
        if other records refer to it.
    """
    scope = principal.require_scope(kind.write_role)
    if kind.name == "jurisdiction":
        await writing.lock_jurisdictions(connection, kind, [code])
    record = (await record_queries.lock_records(connection, kind.name, [code])).get(code)
    if record is not None and (record.removed or (scope is not None and record.jurisdiction not in scope)):
        record = None
    precondition.check_version(None if record is None else record.version)
    if record is None:
        raise NotFound(kind.title, code)
    await check_no_dependents(connection, kind, [code])
    await record_queries.soft_delete_records(connection, kind.name, [code])


async def check_no_dependents(connection: AsyncConnection, kind: Kind, codes: Sequence[str]) -> None:
    """Raise Conflict if other records refer to one of the codes."""
    dependents = await record_queries.fetch_dependents(connection, kind, codes)
    if not dependents:
        return
    message = Message(
        "The {kind} {code!r} cannot be removed: {count} records refer to it, for example {names}. Remove or change "
        "them first.",
        kind=kind.title,
        code=dependents[0][0],
        count=len(dependents),
        names=", ".join(f"{table} {dependent}" for _, table, dependent in dependents[:3]),
    )
    referenced_by = [{"kind": table, "code": dependent} for _, table, dependent in dependents]
    raise Conflict(message, code="still-referenced", extra={"referenced_by": referenced_by})
