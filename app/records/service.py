"""What is done with records of any kind: read, list, put, patch, remove, tell their history.

The mechanism is the same for every kind; what differs stands in ``app.records.kinds``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.changes import queries as change_queries
from app.db.engine import Fetch, within
from app.errors import Conflict, Issue, NotFound, PreconditionFailed
from app.records import payloads, writing
from app.records.drafts import Draft
from app.records.kinds import Kind
from app.records.payloads import Precondition
from app.records.queries import records as record_queries
from app.records.queries.documents import columns

# The changes of one thing, newest first: records, boundaries, waivers and scenarios read alike.


async def page(
    connection: AsyncConnection,
    kind: str,
    code: str,
    *,
    scope: Sequence[str] | None,
    before: int | None,
    limit: int,
    device: bool = False,
    hidden: Sequence[str] = (),
    known_as: tuple[str, str] | None = None,
) -> tuple[list[str], int | None]:
    """Return changes as JSON, and before which the next page starts.

    Parameters
    ----------
    scope : sequence of str, optional
        Jurisdictions the caller may read; None: all.
    device : bool
        Tell of silences too, which nobody wrote.
    hidden : sequence of str
        Members that are left out.
    known_as : tuple of str
        What to call it when it is not found, kind and code, where that differs.

    Raises
    ------
    NotFound
        when there never was such a thing in the scope.
    """
    rows = await change_queries.history(
        connection, kind, code, device=device, scope=scope, hidden=hidden, before=before,
        limit=limit + 1,
    )  # fmt: skip
    if not rows and before is None:
        raise NotFound(*(known_as or (kind, code)))
    shown = rows[:limit]
    return [body for _, body in shown], shown[-1][0] if len(rows) > limit else None


@dataclass(frozen=True)
class Written:
    """The outcome of one write."""

    code: str
    version: int
    created: bool


async def get(fetch: Fetch, kind: Kind, code: str, who: Principal, *, feature: bool = False) -> record_queries.Stored:
    """Return one record.

    Raises
    ------
    NotFound
        when there is none in the caller's scope.
    """
    scope = who.scope("reader")
    found = await record_queries.find(fetch, kind, code, scope=scope, feature=feature, reveal=who.reveals)
    if found is None:
        raise NotFound(kind.title, code)
    return found


async def get_written(connection: AsyncConnection, kind: Kind, code: str, who: Principal) -> record_queries.Stored:
    """Return one record as the running transaction sees it."""
    return await get(await within(connection), kind, code, who)


async def get_as_of(
    connection: AsyncConnection,
    kind: Kind,
    code: str,
    at: datetime,
    who: Principal,
    *,
    feature: bool = False,
) -> record_queries.Stored:
    """Return one record as it was at an instant, from the history.

    Raises
    ------
    NotFound
        when it was not there then.
    """
    scope = who.scope("analyst")
    found = await record_queries.as_of(connection, kind.name, code, at, scope=scope)
    if found is None:
        raise NotFound(f"{kind.title} at {at.isoformat()}", code)
    version, document = found
    hidden = set() if who.reveals else kind.restricted
    names = [name for name in columns(kind) if name not in hidden]
    body = {name: document.get(name) for name in names if name not in _DERIVED}
    if feature:
        shape = document["geometry"]
        body = {"type": "Feature", "id": code, "geometry": shape, "properties": body}
    elif kind.shaped:
        body["geometry"] = document["geometry"]
    return record_queries.Stored(code, version, orjson.dumps(body))


_DERIVED = frozenset({"zone", "rings", "on_boundary", "distance_m"})


async def listed(
    fetch: Fetch,
    kind: Kind,
    filters: Mapping[str, Any],
    who: Principal,
    *,
    limit: int,
    after: str | None,
    feature: bool = False,
) -> record_queries.Listed:
    """Return one page in code order."""
    scoped = {**filters, "scope": who.scope("reader"), "after": after}
    return await record_queries.page(fetch, kind, scoped, limit=limit, feature=feature, reveal=who.reveals)


async def put(
    connection: AsyncConnection,
    kind: Kind,
    draft: Draft,
    who: Principal,
    precondition: Precondition,
) -> Written:
    """Create or replace one record.

    Raises
    ------
    PreconditionFailed
        when If-Match or If-None-Match does not hold.
    Conflict
        when the code belongs to another jurisdiction.
    """
    code = writing.code_of(draft)
    owner = writing.owner_of(kind, draft)
    who.need_in(kind.write_role, [owner])
    await writing.hold(connection, kind, [owner])
    known = (await record_queries.lock(connection, kind, [code])).get(code)
    present = known if known is not None and not known.removed else None
    if present is not None and present.jurisdiction != owner:
        _check_same_owner(kind, code, who, present.jurisdiction)
    precondition.check(None if present is None else present.version)
    exists = PreconditionFailed(f"The {kind.title} {code!r} exists already.")
    try:
        versions = await writing.write(connection, kind, [draft], who, create_only=precondition.create_only)
    except Conflict as error:
        # Another writer of the same code may be noticed by an index before the upsert sees its row.
        if precondition.create_only and [fault.pointer for fault in error.issues] == ["/code"]:
            raise exists from error
        raise
    if code not in versions:
        raise exists if precondition.create_only else _taken(kind, code)
    return Written(code, versions[code], created=present is None)


def _check_same_owner(kind: Kind, code: str, who: Principal, owner: str) -> None:
    if who.jurisdictions is not None and owner not in who.jurisdictions:
        raise _taken(kind, code)
    raise Conflict(
        f"The {kind.title} {code!r} belongs to jurisdiction {owner}; records do not move between "
        "jurisdictions: remove it there and register it under another code.",
        code="jurisdiction-fixed",
        issues=(Issue("/jurisdiction", "jurisdiction-fixed", f"it is {owner}"),),
    )


def _taken(kind: Kind, code: str) -> Conflict:
    return Conflict(
        f"The code {code!r} is taken by another {kind.title}.",
        code="already-exists",
        issues=(Issue("/code", "already-exists", f"{code!r} is taken"),),
    )


async def create(connection: AsyncConnection, kind: Kind, draft: Draft, who: Principal) -> Written:
    """Create one record and refuse a code that exists.

    Raises
    ------
    Conflict
        when the code exists.
    """
    owner = writing.owner_of(kind, draft)
    who.need_in(kind.write_role, [owner])
    await writing.hold(connection, kind, [owner])
    versions = await writing.write(connection, kind, [draft], who, create_only=True)
    code = writing.code_of(draft)
    if code not in versions:
        raise _taken(kind, code)
    return Written(code, versions[code], created=True)


async def patch(
    connection: AsyncConnection,
    kind: Kind,
    code: str,
    changes: object,
    who: Principal,
    precondition: Precondition,
) -> Written:
    """Merge changes into one record (RFC 7396).

    Raises
    ------
    NotFound
        when there is no such record in the caller's scope.
    """
    scope = who.scope(kind.write_role)
    if owner := await record_queries.owner(connection, kind, code):
        await writing.hold(connection, kind, [owner])
    await record_queries.lock(connection, kind, [code])
    found = await record_queries.find(await within(connection), kind, code, scope=scope, reveal=True)
    precondition.check(None if found is None else found.version)
    if found is None:
        raise NotFound(kind.title, code)
    current = payloads.patchable(orjson.loads(found.body), kind)
    wanted = payloads.merged(current, changes)
    for fixed in ("code", "jurisdiction"):
        if fixed in current and wanted.get(fixed) != current[fixed]:
            raise Conflict(
                f"{fixed} cannot be changed.",
                code=f"{fixed}-fixed",
                issues=(Issue(f"/{fixed}", f"{fixed}-fixed", f"it is {current[fixed]!r}"),),
            )
    versions = await writing.write(connection, kind, [payloads.draft(kind, wanted, code=code)], who)
    return Written(code, versions[code], created=False)


async def remove(
    connection: AsyncConnection, kind: Kind, code: str, who: Principal, precondition: Precondition
) -> None:
    """Remove one record softly: gone from every read, kept in the history.

    Raises
    ------
    NotFound
        when there is no such record in the caller's scope.
    Conflict
        when other records still point to it.
    """
    scope = who.scope(kind.write_role)
    if kind.name == "jurisdiction":
        await writing.hold(connection, kind, [code])
    known = (await record_queries.lock(connection, kind, [code])).get(code)
    visible = known is not None and not known.removed
    if known is not None and scope is not None and known.jurisdiction not in scope:
        visible = False
    precondition.check(known.version if known is not None and visible else None)
    if not visible:
        raise NotFound(kind.title, code)
    await refuse_dependents(connection, kind, [code])
    await record_queries.remove(connection, kind, [code])


async def refuse_dependents(connection: AsyncConnection, kind: Kind, codes: Sequence[str]) -> None:
    """Raise ``Conflict`` when records still point to one of ``codes``."""
    pointing = await record_queries.dependents(connection, kind, codes)
    if pointing:
        names = ", ".join(f"{table} {dependent}" for _, table, dependent in pointing[:3])
        raise Conflict(
            f"The {kind.title} {pointing[0][0]!r} is still pointed to by {names}"
            f"{' and others' if len(pointing) > 3 else ''}: remove or change those first.",
            code="still-referenced",
            extra={"referenced_by": [{"kind": t, "code": c} for _, t, c in pointing]},
        )


async def history(
    connection: AsyncConnection,
    kind: Kind,
    code: str,
    who: Principal,
    *,
    before: int | None,
    limit: int,
) -> tuple[list[str], int | None]:
    """Return the changes of one record, newest first, and where the next page starts.

    Raises
    ------
    NotFound
        when there never was such a record in the caller's scope.
    """
    scope = who.scope("analyst")
    hidden = [] if who.reveals else sorted(kind.restricted)
    return await page(
        connection, kind.name, code, device=kind.device, scope=scope, hidden=hidden, before=before,
        limit=limit, known_as=(kind.title, code),
    )  # fmt: skip
