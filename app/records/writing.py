"""Saves validated drafts: checks them against the database, computes memberships, writes rows, records states.

One draft or ten thousand take the same way. The caller locks the jurisdictions and owns the transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Issue, NotFound, build_invalid
from app.geo.projection.local_projection import LocalProjection
from app.messages import Message
from app.records import ring_membership
from app.records.drafts import Draft
from app.records.kinds import BY_NAME, Kind
from app.records.queries import records as record_queries
from app.records.queries.memberships import lock_rings
from app.states import queries as state_queries
from app.states.service import FUTURE_TOLERANCE

_STATE_FIELDS: Final = {"state", "reported_at"}


async def lock_jurisdictions(connection: AsyncConnection, kind: Kind, owners: Iterable[str]) -> None:
    """Lock the rings of jurisdictions before their records are locked.

    A writer of a ring locks in the same order, so that the two cannot wait for each other. A jurisdiction is written
    under an exclusive lock: its projection decides the membership of all its records.
    """
    await lock_rings(connection, owners, exclusive=kind.name == "jurisdiction")


def get_code(draft: Draft) -> str:
    """Return the code of a draft."""
    return str(getattr(draft, "code"))  # noqa: B009  # the base class does not declare it


def get_owner(kind: Kind, draft: Draft) -> str:
    """Return the jurisdiction that a draft belongs to."""
    return str(getattr(draft, record_queries.get_owner_column(kind.name)))


async def save_drafts(
    connection: AsyncConnection,
    kind: Kind,
    drafts: Sequence[Draft],
    principal: Principal,
    *,
    create_only: bool = False,
) -> dict[str, int]:
    """Validate and write drafts of one kind; return the version of each code that was written.

    Raises
    ------
    Invalid
        if a draft is outside its jurisdiction or refers to a record that does not exist.
    """
    for issues in await validate_drafts(connection, kind, drafts):
        if issues:
            raise build_invalid(Message("The {kind} is not valid", kind=kind.title), issues, issues[0].code)
    return await apply_drafts(connection, kind, drafts, principal, create_only=create_only)


async def validate_drafts(connection: AsyncConnection, kind: Kind, drafts: Sequence[Draft]) -> list[list[Issue]]:
    """Return the issues of each draft that only the database can show; the jurisdictions are locked."""
    issues: list[list[Issue]] = [[] for _ in drafts]
    if kind.name == "jurisdiction":
        return issues
    rings_by_owner = {}
    for owner in sorted({get_owner(kind, draft) for draft in drafts}):
        with suppress(NotFound):
            rings_by_owner[owner] = await ring_membership.load_jurisdiction_rings(connection, owner)
    for draft, draft_issues in zip(drafts, issues, strict=True):
        owner = get_owner(kind, draft)
        if owner not in rings_by_owner:
            message = Message("jurisdiction {jurisdiction!r} does not exist", jurisdiction=owner)
            draft_issues.append(Issue("/jurisdiction", "unknown-reference", message))
        elif issue := ring_membership.find_location_issue(rings_by_owner[owner], getattr(draft, "geometry")):  # noqa: B009
            draft_issues.append(issue)
    await _validate_references(connection, kind, drafts, issues)
    await _validate_report_times(connection, drafts, issues)
    return issues


async def _validate_report_times(
    connection: AsyncConnection, drafts: Sequence[Draft], issues: list[list[Issue]]
) -> None:
    times = [getattr(draft, "reported_at", None) for draft in drafts]
    if not any(times):
        return
    latest = await state_queries.fetch_now(connection) + FUTURE_TOLERANCE
    for reported_at, draft_issues in zip(times, issues, strict=True):
        if reported_at is not None and reported_at > latest:
            message = Message("the time of the report is in the future")
            draft_issues.append(Issue("/reported_at", "future-time", message))


async def _validate_references(
    connection: AsyncConnection, kind: Kind, drafts: Sequence[Draft], issues: list[list[Issue]]
) -> None:
    for column, table in kind.references.items():
        references = [(get_owner(kind, draft), getattr(draft, column)) for draft in drafts]
        pairs = sorted({pair for pair in references if pair[1] is not None})
        if not pairs:
            continue
        existing = await record_queries.lock_references(connection, table, pairs)
        for (owner, code), draft_issues in zip(references, issues, strict=True):
            if code is not None and (owner, code) not in existing:
                message = Message(
                    "{kind} {code!r} does not exist in jurisdiction {jurisdiction}",
                    kind=BY_NAME[table].title,
                    code=code,
                    jurisdiction=owner,
                )
                draft_issues.append(Issue(f"/{column}", "unknown-reference", message))


async def apply_drafts(
    connection: AsyncConnection,
    kind: Kind,
    drafts: Sequence[Draft],
    principal: Principal,
    *,
    create_only: bool = False,
) -> dict[str, int]:
    """Write drafts that this transaction has validated; return the version of each code that was written."""
    rows = [draft.model_dump(mode="json", exclude=_STATE_FIELDS) for draft in drafts]
    if kind.has_zone:
        await _add_memberships(connection, kind, drafts, rows)
    projections = await load_projections(connection, kind, drafts)
    versions = await record_queries.upsert_records(connection, kind, rows, create_only=create_only)
    if kind.is_device:
        await _record_states(connection, kind, drafts, versions, principal)
    for owner, projection in projections.items():
        rings = await ring_membership.load_jurisdiction_rings(connection, owner)
        ring_membership.check_projection(rings)
        if rings.projection != projection:
            await ring_membership.recompute_memberships(connection, owner)
    return versions


async def load_projections(
    connection: AsyncConnection, kind: Kind, drafts: Sequence[Draft]
) -> dict[str, LocalProjection | None]:
    """Return the current projections of jurisdictions that are about to change; a new one changes every distance."""
    projections: dict[str, LocalProjection | None] = {}
    for draft in drafts if kind.name == "jurisdiction" else ():
        with suppress(NotFound):
            rings = await ring_membership.load_jurisdiction_rings(connection, get_code(draft))
            projections[get_code(draft)] = rings.projection
    return projections


async def _add_memberships(
    connection: AsyncConnection, kind: Kind, drafts: Sequence[Draft], rows: list[dict[str, Any]]
) -> None:
    indices_by_owner: dict[str, list[int]] = {}
    for index, draft in enumerate(drafts):
        indices_by_owner.setdefault(get_owner(kind, draft), []).append(index)
    for owner, indices in indices_by_owner.items():
        rings = await ring_membership.load_jurisdiction_rings(connection, owner)
        geometries = [getattr(drafts[index], "geometry") for index in indices]  # noqa: B009
        memberships = ring_membership.compute_memberships(rings, geometries)
        for index, membership in zip(indices, memberships, strict=True):
            rows[index].update(membership)


async def _record_states(
    connection: AsyncConnection,
    kind: Kind,
    drafts: Sequence[Draft],
    versions: Mapping[str, int],
    principal: Principal,
) -> None:
    reports = []
    for draft in drafts:
        state, reported_at = getattr(draft, "state"), getattr(draft, "reported_at")  # noqa: B009
        # A record that was read before its first report has the state unknown without a time; that is not a report.
        is_report = state is not None and not (state == "unknown" and reported_at is None)
        if is_report and get_code(draft) in versions:
            reports.append(
                {
                    "kind": kind.name,
                    "code": get_code(draft),
                    "state": state,
                    "reported_at": reported_at or datetime.now(UTC),
                }
            )
    if reports:
        await state_queries.upsert_reports(connection, reports, principal.require_scope("editor"))
