"""Many upserts and removals of one kind in one request: all or nothing, or each on its own.

Rows are judged together and written set-based. With ``atomic`` one fault refuses everything; with
``each`` the good rows are written and every other row says what is wrong with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Conflict, Invalid, Issue, TooLarge
from app.records import payloads, writing
from app.records import service as record_service
from app.records.drafts import Draft
from app.records.kinds import Kind
from app.records.queries import records as record_queries

MAX_ITEMS: Final = 10_000
_CODE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
Semantics = Literal["atomic", "each"]


@dataclass
class _Row:
    """One item of a batch on its way to a result."""

    position: int
    action: Literal["upsert", "delete"]
    prefix: str = ""
    """Where the record stands in the item."""
    code: str | None = None
    draft: Draft | None = None
    faults: list[Issue] = field(default_factory=list)
    result: str = ""
    version: int | None = None

    def refuse(self, member: str, code: str, message: str) -> None:
        """Add a fault of one member of the record, or of the code to delete."""
        pointer = "/delete" if self.action == "delete" else self.prefix + member
        self.faults.append(Issue(pointer, code, message))

    def view(self) -> dict[str, Any]:
        """Return the row's result as it travels."""
        told: dict[str, Any] = {
            "row": self.position,
            "code": self.code,
            "result": "refused" if self.faults else self.result,
            "version": self.version,
        }
        if self.faults:
            told["errors"] = [vars(fault) for fault in self.faults]
        return told


async def run(
    connection: AsyncConnection,
    kind: Kind,
    payload: object,
    who: Principal,
    semantics: Semantics,
) -> dict[str, Any]:
    """Run a batch and return its summary and a result per row, in order.

    Raises
    ------
    Invalid
        with ``atomic``, when any row is refused: the faults of all rows, nothing written.
    """
    who.need(kind.write_role)
    rows = [_row(kind, position, item) for position, item in enumerate(_items(payload))]
    _refuse_duplicates(rows)
    owners = {writing.owner_of(kind, row.draft) for row in rows if row.draft is not None}
    await writing.hold(connection, kind, owners)
    known = await record_queries.lock(connection, kind, sorted({r.code for r in rows if r.code}))
    _judge(kind, rows, known, who)
    await _check(connection, kind, rows)
    if semantics == "atomic":
        _refuse_all(kind, rows)
    else:
        await _spare_needed(connection, kind, rows)
    await _apply(connection, kind, rows, known, who)
    counted = [row.view() for row in rows]
    summary = {
        word: sum(row["result"] == word for row in counted)
        for word in ("created", "updated", "unchanged", "removed", "refused")
    }
    return {"semantics": semantics, "summary": summary, "rows": counted}


def _items(payload: object) -> Sequence[object]:
    items = payload.get("items") if isinstance(payload, dict) and len(payload) == 1 else payload
    if not isinstance(items, list):
        message = "a batch is an array of items, or an object with the one member 'items'"
        raise Invalid(message.capitalize() + ".", issues=(Issue("", "batch-type", message),))
    if len(items) > MAX_ITEMS:
        raise TooLarge(f"A batch has at most {MAX_ITEMS:,} items, not {len(items):,}.", MAX_ITEMS)
    return items


def _row(kind: Kind, position: int, item: object) -> _Row:
    """Read one item: {"upsert": record}, {"delete": code}, or a bare record to upsert."""
    if isinstance(item, dict) and set(item) == {"delete"}:
        row = _Row(position, "delete", code=_code(item["delete"]))
        if row.code is None:
            row.refuse("", "string-pattern-mismatch", "the code of a record is needed")
        return row
    wrapped = isinstance(item, dict) and set(item) == {"upsert"}
    record = item["upsert"] if wrapped and isinstance(item, dict) else item
    row = _Row(position, "upsert", "/upsert" if wrapped else "")
    if isinstance(record, dict):
        row.code = _code(record.get("code"))
    try:
        row.draft = payloads.draft(kind, record)
        row.code = writing.code_of(row.draft)
    except Invalid as error:
        row.faults = [fault.with_prefix(row.prefix) for fault in error.issues]
    return row


def _code(value: object) -> str | None:
    """Return what may be a code; nothing else is looked up or repeated."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _refuse_duplicates(rows: Sequence[_Row]) -> None:
    first: dict[str, int] = {}
    for row in rows:
        if row.code is None:
            continue
        if row.code in first:
            message = f"code {row.code!r} stands in row {first[row.code]} already"
            row.refuse("/code", "duplicate-code", message)
        else:
            first[row.code] = row.position


def _judge(kind: Kind, rows: Sequence[_Row], known: dict[str, record_queries.Known], who: Principal) -> None:
    """Refuse rows outside the caller's scope, and codes of other jurisdictions."""
    for row in rows:
        if row.faults or row.code is None:
            continue
        found = known.get(row.code)
        if row.action == "delete":
            visible = found is not None and not found.removed and _in_scope(who, found.jurisdiction)
            if not visible:
                message = f"there is no {kind.title} {row.code!r}"
                row.refuse("", "not-found", message)
            continue
        assert row.draft is not None  # noqa: S101  # rows without faults have drafts
        owner = writing.owner_of(kind, row.draft)
        if not _in_scope(who, owner):
            message = f"there is no jurisdiction {owner!r}"
            row.refuse("/jurisdiction", "not-found", message)
        elif found is not None and found.jurisdiction != owner:
            message = f"code {row.code!r} is taken in another jurisdiction"
            row.refuse("/code", "already-exists", message)


def _in_scope(who: Principal, jurisdiction: str) -> bool:
    return who.jurisdictions is None or jurisdiction in who.jurisdictions


async def _check(connection: AsyncConnection, kind: Kind, rows: Sequence[_Row]) -> None:
    good = [row for row in rows if row.draft is not None and not row.faults]
    items = [row.draft for row in good if row.draft is not None]
    for row, faults in zip(good, await writing.check(connection, kind, items), strict=True):
        row.faults.extend(fault.with_prefix(row.prefix) for fault in faults)


def _refuse_all(kind: Kind, rows: Sequence[_Row]) -> None:
    refused = [row for row in rows if row.faults]
    if refused:
        faults = [f.with_prefix(f"/items/{row.position}") for row in refused for f in row.faults]
        raise Invalid(
            f"{len(refused)} of {len(rows)} {kind.plural} are refused, so none is written: "
            f"row {refused[0].position}: {refused[0].faults[0].message}.",
            code="batch-refused",
            issues=faults[:10_000],
        )


async def _spare_needed(connection: AsyncConnection, kind: Kind, rows: Sequence[_Row]) -> None:
    """Refuse the removals of records that others still point to, and only those."""
    removals = {row.code: row for row in rows if row.action == "delete" and not row.faults}
    codes = [code for code in removals if code is not None]
    for code, table, dependent in await record_queries.dependents(connection, kind, codes, limit=None):
        if not removals[code].faults:
            message = f"it is still pointed to by {table} {dependent}"
            removals[code].refuse("", "still-referenced", message)


async def _apply(
    connection: AsyncConnection,
    kind: Kind,
    rows: Sequence[_Row],
    known: dict[str, record_queries.Known],
    who: Principal,
) -> None:
    removals = [row for row in rows if row.action == "delete" and not row.faults]
    await _remove(connection, kind, removals)
    upserts = [row for row in rows if row.draft is not None and not row.faults]
    items = [row.draft for row in upserts if row.draft is not None]
    if not items:
        return
    versions = await writing.apply(connection, kind, items, who)
    for row in upserts:
        assert row.code is not None  # noqa: S101  # drafts have codes
        if row.code not in versions:
            raise Conflict(f"The code {row.code!r} was taken meanwhile.", code="already-exists")
        before = known.get(row.code)
        row.version = versions[row.code]
        if before is None or before.removed:
            row.result = "created"
        else:
            row.result = "unchanged" if before.version == row.version else "updated"


async def _remove(connection: AsyncConnection, kind: Kind, rows: Sequence[_Row]) -> None:
    codes = [row.code for row in rows if row.code is not None]
    if not codes:
        return
    await record_service.refuse_dependents(connection, kind, codes)
    await record_queries.remove(connection, kind, codes)
    for row in rows:
        row.result = "removed"
