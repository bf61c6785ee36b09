"""The history of one record, ring, waiver or scenario: its changes, newest first."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.changes import queries as change_queries
from app.errors import NotFound
from app.records.kinds import Kind

HistoryPage = tuple[list[str], int | None]
"""Changes as JSON, and the cursor of the next page or None."""


async def load_history(
    connection: AsyncConnection,
    kind_name: str,
    code: str,
    *,
    scope: Sequence[str] | None,
    before: int | None,
    limit: int,
    device: bool = False,
    hidden: Sequence[str] = (),
    missing: tuple[str, str] | None = None,
) -> HistoryPage:
    """Return a page of changes.

    Parameters
    ----------
    scope : sequence of str, optional
        Jurisdictions that the principal may read; None for all.
    device : bool
        Whether to derive the instants at which the state became unknown.
    hidden : sequence of str
        Members to leave out of the values.
    missing : tuple of str, optional
        Title and name for the error if there are no changes, where they differ from kind and code.

    Raises
    ------
    NotFound
        if there never was such a record in the scope.
    """
    rows = await change_queries.fetch_history(
        connection, kind_name, code, device=device, scope=scope, hidden=hidden, before=before, limit=limit + 1
    )
    if not rows and before is None:
        raise NotFound(*(missing or (kind_name, code)))
    page = rows[:limit]
    return [body for _, body in page], page[-1][0] if len(rows) > limit else None


async def load_record_history(
    connection: AsyncConnection, kind: Kind, code: str, principal: Principal, *, before: int | None, limit: int
) -> HistoryPage:
    """Return a page of the changes of one record.

    Raises
    ------
    NotFound
        if there never was such a record in the scope of the principal.
    """
    return await load_history(
        connection,
        kind.name,
        code,
        scope=principal.require_scope("analyst"),
        before=before,
        limit=limit,
        device=kind.is_device,
        hidden=[] if principal.sees_restricted else sorted(kind.restricted),
        missing=(kind.title, code),
    )
