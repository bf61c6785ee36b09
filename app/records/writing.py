"""Drafts into the registry: checked against what only the database knows, placed, written, heard of.

One draft or ten thousand take the same road. The caller holds the rings still and keeps the transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Invalid, Issue, NotFound
from app.geo.projection.local_projection import Frame
from app.records.drafts import Draft
from app.records.kinds import Kind
from app.records.queries import records as record_queries
from app.rings import queries as ring_queries
from app.rings import territory
from app.states import queries as state_queries
from app.states.service import FUTURE_TOLERANCE


async def hold(connection: AsyncConnection, kind: Kind, owners: Iterable[str]) -> None:
    """Keep the rings of jurisdictions still while records of theirs are written.

    Comes before any record is locked, in the order a writer of a ring keeps too, or each would wait
    for the other. A jurisdiction is written alone: its frame decides where everything lies.
    """
    await ring_queries.hold(connection, sorted(set(owners)), alone=kind.name == "jurisdiction")


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
                issues=found,
            )
    return await apply(connection, kind, items, who, create_only=create_only)


async def check(connection: AsyncConnection, kind: Kind, items: Sequence[Draft]) -> list[list[Issue]]:
    """Return, per draft, what only the database can tell is wrong with it; see ``hold``."""
    faults: list[list[Issue]] = [[] for _ in items]
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
            found.append(Issue("/jurisdiction", "unknown-reference", message))
        elif fault := territory.misplaced(known, getattr(item, "geometry")):  # noqa: B009
            found.append(fault)
    await _check_references(connection, kind, items, faults)
    await _check_reports(connection, items, faults)
    return faults


async def _check_reports(connection: AsyncConnection, items: Sequence[Draft], faults: list[list[Issue]]) -> None:
    told = [getattr(item, "reported_at", None) for item in items]
    if any(told):
        latest = await state_queries.now(connection) + FUTURE_TOLERANCE
        for when, found in zip(told, faults, strict=True):
            if when is not None and when > latest:
                message = "the report comes from the future"
                found.append(Issue("/reported_at", "future-time", message))


async def _check_references(
    connection: AsyncConnection, kind: Kind, items: Sequence[Draft], faults: list[list[Issue]]
) -> None:
    for column, table in kind.references.items():
        wanted = [(owner_of(kind, item), getattr(item, column)) for item in items]
        pairs = sorted({pair for pair in wanted if pair[1] is not None})
        if not pairs:
            continue
        there = await record_queries.existing(connection, table, pairs)
        for pair, found in zip(wanted, faults, strict=True):
            if pair[1] is not None and pair not in there:
                message = f"there is no {table.replace('_', ' ')} {pair[1]!r} in {pair[0]}"
                found.append(Issue(f"/{column}", "unknown-reference", message))


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
    versions = await record_queries.upsert(connection, kind, rows, create_only=create_only)
    if kind.device:
        await _record_states(connection, kind, items, versions, who)
    for owner, frame in frames.items():
        now = await territory.of(connection, owner)
        territory.check_metres(now)
        if now.frame != frame:
            await territory.place_all(connection, owner)
    return versions


async def _frames(connection: AsyncConnection, kind: Kind, items: Sequence[Draft]) -> dict[str, Frame | None]:
    """Return the frames of jurisdictions about to be written: a new one moves every distance."""
    frames: dict[str, Frame | None] = {}
    for item in items if kind.name == "jurisdiction" else ():
        with suppress(NotFound):
            frames[code_of(item)] = (await territory.of(connection, code_of(item))).frame
    return frames


async def _place(connection: AsyncConnection, kind: Kind, items: Sequence[Draft], rows: list[dict[str, Any]]) -> None:
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
        await state_queries.report(connection, reports, scope)


def _says_something(item: Draft) -> bool:
    """Tell whether a draft carries a report; one that was read before any report does not."""
    state, when = getattr(item, "state"), getattr(item, "reported_at")  # noqa: B009
    return state is not None and not (state == "unknown" and when is None)
