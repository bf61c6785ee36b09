"""What is done with records of any kind: read, list, put, patch, remove, tell their history.

The mechanism is the same for every kind; what differs stands in ``app.schemas.kinds``.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Fetch, within
from app.errors import Conflict, Fault, Invalid, NotFound, PreconditionFailed
from app.geo.frame import Frame
from app.registry import records as registry
from app.registry import rings as rings_registry
from app.registry import states as states_registry
from app.registry.documents import columns
from app.schemas.kinds import Kind
from app.schemas.records import Draft
from app.services import drafts, histories, territory
from app.services.access import Principal
from app.services.preconditions import Precondition
from app.services.states import FUTURE_TOLERANCE


@dataclass(frozen=True)
class Written:
    """The outcome of one write."""

    code: str
    version: int
    created: bool


async def get(
    fetch: Fetch, kind: Kind, code: str, who: Principal, *, feature: bool = False
) -> registry.Stored:
    """Return one record.

    Raises
    ------
    NotFound
        when there is none in the caller's scope.
    """
    scope = who.scope("reader")
    found = await registry.find(fetch, kind, code, scope=scope, feature=feature, reveal=who.reveals)
    if found is None:
        raise NotFound(kind.title, code)
    return found


async def get_written(
    connection: AsyncConnection, kind: Kind, code: str, who: Principal
) -> registry.Stored:
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
) -> registry.Stored:
    """Return one record as it was at an instant, from the history.

    Raises
    ------
    NotFound
        when it was not there then.
    """
    scope = who.scope("analyst")
    found = await registry.as_of(connection, kind.name, code, at, scope=scope)
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
    return registry.Stored(code, version, orjson.dumps(body).decode())


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
) -> registry.Listed:
    """Return one page in code order."""
    scoped = {**filters, "scope": who.scope("reader"), "after": after}
    return await registry.page(
        fetch, kind, scoped, limit=limit, feature=feature, reveal=who.reveals
    )


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
    code = code_of(draft)
    owner = owner_of(kind, draft)
    who.need_in(kind.write_role, [owner])  # type: ignore[arg-type]  # roles in descriptors are roles
    await hold(connection, kind, [owner])
    known = (await registry.lock(connection, kind, [code])).get(code)
    present = known if known is not None and not known.removed else None
    if present is not None and present.jurisdiction != owner:
        _check_same_owner(kind, code, who, present.jurisdiction)
    precondition.check(None if present is None else present.version)
    exists = PreconditionFailed(f"The {kind.title} {code!r} exists already.")
    try:
        versions = await write(connection, kind, [draft], who, create_only=precondition.create_only)
    except Conflict as error:
        # Another writer of the same code may be noticed by an index before the upsert sees its row.
        if precondition.create_only and [fault.pointer for fault in error.faults] == ["/code"]:
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
        faults=(Fault("/jurisdiction", "jurisdiction-fixed", f"it is {owner}"),),
    )


def _taken(kind: Kind, code: str) -> Conflict:
    return Conflict(
        f"The code {code!r} is taken by another {kind.title}.",
        code="already-exists",
        faults=(Fault("/code", "already-exists", f"{code!r} is taken"),),
    )


async def create(connection: AsyncConnection, kind: Kind, draft: Draft, who: Principal) -> Written:
    """Create one record and refuse a code that exists.

    Raises
    ------
    Conflict
        when the code exists.
    """
    owner = owner_of(kind, draft)
    who.need_in(kind.write_role, [owner])  # type: ignore[arg-type]  # as above
    await hold(connection, kind, [owner])
    versions = await write(connection, kind, [draft], who, create_only=True)
    code = code_of(draft)
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
    scope = who.scope(kind.write_role)  # type: ignore[arg-type]  # as above
    if owner := await registry.owner(connection, kind, code):
        await hold(connection, kind, [owner])
    await registry.lock(connection, kind, [code])
    found = await registry.find(await within(connection), kind, code, scope=scope, reveal=True)
    precondition.check(None if found is None else found.version)
    if found is None:
        raise NotFound(kind.title, code)
    current = drafts.patchable(orjson.loads(found.body), kind)
    wanted = drafts.merged(current, changes)
    for fixed in ("code", "jurisdiction"):
        if fixed in current and wanted.get(fixed) != current[fixed]:
            raise Conflict(
                f"{fixed} cannot be changed.",
                code=f"{fixed}-fixed",
                faults=(Fault(f"/{fixed}", f"{fixed}-fixed", f"it is {current[fixed]!r}"),),
            )
    versions = await write(connection, kind, [drafts.draft(kind, wanted, code=code)], who)
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
    scope = who.scope(kind.write_role)  # type: ignore[arg-type]  # as above
    if kind.name == "jurisdiction":
        await hold(connection, kind, [code])
    known = (await registry.lock(connection, kind, [code])).get(code)
    visible = known is not None and not known.removed
    if known is not None and scope is not None and known.jurisdiction not in scope:
        visible = False
    precondition.check(known.version if known is not None and visible else None)
    if not visible:
        raise NotFound(kind.title, code)
    await refuse_dependents(connection, kind, [code])
    await registry.remove(connection, kind, [code])


async def refuse_dependents(connection: AsyncConnection, kind: Kind, codes: Sequence[str]) -> None:
    """Raise ``Conflict`` when records still point to one of ``codes``."""
    pointing = await registry.dependents(connection, kind, codes)
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
    return await histories.page(
        connection, kind.name, code, device=kind.device, scope=scope, hidden=hidden, before=before,
        limit=limit, known_as=(kind.title, code),
    )  # fmt: skip


async def hold(connection: AsyncConnection, kind: Kind, owners: Iterable[str]) -> None:
    """Keep the rings of jurisdictions still while records of theirs are written.

    Comes before any record is locked, in the order a writer of a ring keeps too, or each would wait
    for the other. A jurisdiction is written alone: its frame decides where everything lies.
    """
    await rings_registry.hold(connection, sorted(set(owners)), alone=kind.name == "jurisdiction")


def code_of(draft: Draft) -> str:
    """Return the code of a draft."""
    return str(getattr(draft, "code"))  # noqa: B009  # every draft has one, the base class does not


def owner_of(kind: Kind, draft: Draft) -> str:
    """Return the jurisdiction a draft belongs to."""
    return str(getattr(draft, "code" if kind.name == "jurisdiction" else "jurisdiction"))


async def write(
    connection: AsyncConnection,
    kind: Kind,
    items: Sequence[Draft],
    who: Principal,
    *,
    create_only: bool = False,
) -> dict[str, int]:
    """Write many drafts of one kind at once: checked, placed, upserted, their states recorded.

    Raises
    ------
    Invalid
        when a draft lies outside its jurisdiction or points to nothing; pointers are those of a
        single record.
    """
    faults = await check(connection, kind, items)
    for found in faults:
        if found:
            raise Invalid(
                f"The {kind.title} is not valid: {found[0].message}.",
                code=found[0].code,
                faults=found,
            )
    return await apply(connection, kind, items, who, create_only=create_only)


async def check(
    connection: AsyncConnection, kind: Kind, items: Sequence[Draft]
) -> list[list[Fault]]:
    """Return, per draft, what only the database can tell is wrong with it; see ``hold``."""
    faults: list[list[Fault]] = [[] for _ in items]
    if kind.name == "jurisdiction":
        return faults
    territories = {}
    for owner in sorted({owner_of(kind, item) for item in items}):
        with suppress(NotFound):
            territories[owner] = await territory.of(connection, owner)
    for item, found in zip(items, faults, strict=True):
        known = territories.get(owner_of(kind, item))
        if known is None:
            message = f"there is no jurisdiction {owner_of(kind, item)!r}"
            found.append(Fault("/jurisdiction", "unknown-reference", message))
        elif fault := territory.misplaced(known, getattr(item, "geometry")):  # noqa: B009
            found.append(fault)
    await _check_references(connection, kind, items, faults)
    await _check_reports(connection, items, faults)
    return faults


async def _check_reports(
    connection: AsyncConnection, items: Sequence[Draft], faults: list[list[Fault]]
) -> None:
    told = [getattr(item, "reported_at", None) for item in items]
    if any(told):
        latest = await states_registry.now(connection) + FUTURE_TOLERANCE
        for when, found in zip(told, faults, strict=True):
            if when is not None and when > latest:
                message = "the report comes from the future"
                found.append(Fault("/reported_at", "future-time", message))


async def _check_references(
    connection: AsyncConnection, kind: Kind, items: Sequence[Draft], faults: list[list[Fault]]
) -> None:
    for column, table in kind.references.items():
        wanted = [(owner_of(kind, item), getattr(item, column)) for item in items]
        pairs = sorted({pair for pair in wanted if pair[1] is not None})
        if not pairs:
            continue
        there = await registry.existing(connection, table, pairs)
        for pair, found in zip(wanted, faults, strict=True):
            if pair[1] is not None and pair not in there:
                message = f"there is no {table.replace('_', ' ')} {pair[1]!r} in {pair[0]}"
                found.append(Fault(f"/{column}", "unknown-reference", message))


async def apply(
    connection: AsyncConnection,
    kind: Kind,
    items: Sequence[Draft],
    who: Principal,
    *,
    create_only: bool = False,
) -> dict[str, int]:
    """Write drafts that were checked in this transaction."""
    rows = [item.model_dump(mode="json", exclude={"state", "reported_at"}) for item in items]
    if kind.placed:
        await _place(connection, kind, items, rows)
    frames = await _frames(connection, kind, items)
    versions = await registry.upsert(connection, kind, rows, create_only=create_only)
    if kind.device:
        await _record_states(connection, kind, items, versions, who)
    for owner, frame in frames.items():
        now = await territory.of(connection, owner)
        territory.check_metres(now)
        if now.frame != frame:
            await territory.place_all(connection, owner)
    return versions


async def _frames(
    connection: AsyncConnection, kind: Kind, items: Sequence[Draft]
) -> dict[str, Frame | None]:
    """Return the frames of jurisdictions about to be written: a new one moves every distance."""
    frames: dict[str, Frame | None] = {}
    for item in items if kind.name == "jurisdiction" else ():
        with suppress(NotFound):
            frames[code_of(item)] = (await territory.of(connection, code_of(item))).frame
    return frames


async def _place(
    connection: AsyncConnection, kind: Kind, items: Sequence[Draft], rows: list[dict[str, Any]]
) -> None:
    by_owner: dict[str, list[int]] = {}
    for position, item in enumerate(items):
        by_owner.setdefault(owner_of(kind, item), []).append(position)
    for owner, positions in by_owner.items():
        where = await territory.of(connection, owner)
        geometries = [getattr(items[position], "geometry") for position in positions]  # noqa: B009
        for position, place in zip(positions, territory.placed(where, geometries), strict=True):
            rows[position].update(place)


async def _record_states(
    connection: AsyncConnection,
    kind: Kind,
    items: Sequence[Draft],
    versions: Mapping[str, int],
    who: Principal,
) -> None:
    reports = [
        {
            "kind": kind.name,
            "code": code_of(item),
            "state": getattr(item, "state"),  # noqa: B009
            "reported_at": getattr(item, "reported_at") or datetime.now(UTC),  # noqa: B009
        }
        for item in items
        if _says_something(item) and code_of(item) in versions
    ]
    if reports:
        scope = who.scope("editor")
        await states_registry.report(connection, reports, scope)


def _says_something(item: Draft) -> bool:
    """Tell whether a draft carries a report; one that was read before any report does not."""
    state, when = getattr(item, "state"), getattr(item, "reported_at")  # noqa: B009
    return state is not None and not (state == "unknown" and when is None)
