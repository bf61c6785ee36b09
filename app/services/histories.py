"""The changes of one thing, newest first: records, boundaries, waivers and scenarios read alike."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import NotFound
from app.registry import changes


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
    rows = await changes.history(
        connection, kind, code, device=device, scope=scope, hidden=hidden, before=before,
        limit=limit + 1,
    )  # fmt: skip
    if not rows and before is None:
        raise NotFound(*(known_as or (kind, code)))
    shown = rows[:limit]
    return [body for _, body in shown], shown[-1][0] if len(rows) > limit else None
