"""Batches: many upserts and removals of one kind in one request.

All rows are validated together and written set-based. With the semantics ``atomic``, one invalid row rejects the
whole batch. With ``each``, every valid row is written, and the other rows list their issues.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Conflict, Invalid, Issue, TooLarge, build_invalid
from app.messages import Message
from app.records import payloads, writing
from app.records.drafts import Draft
from app.records.kinds import Kind
from app.records.queries import records as record_queries
from app.records.queries.records import LockedRecord
from app.records.service import check_no_dependents

MAX_ITEMS: Final = 10_000
_MAX_ISSUES: Final = 10_000
_CODE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
Semantics = Literal["atomic", "each"]
RESULTS: Final = ("created", "updated", "unchanged", "removed", "refused")


@dataclass
class BatchItem:
    """One item of a batch, and its result so far."""

    index: int
    action: Literal["upsert", "delete"]
    prefix: str = ""
    """JSON Pointer of the record in the item."""
    code: str | None = None
    draft: Draft | None = None
    issues: list[Issue] = field(default_factory=list)
    result: str = ""
    version: int | None = None

    def reject(self, member: str, code: str, message: Message) -> None:
        """Add an issue of one member of the record, or of the code to delete."""
        pointer = "/delete" if self.action == "delete" else self.prefix + member
        self.issues.append(Issue(pointer, code, message))

    def build_result(self) -> dict[str, Any]:
        """Return the result of the item as JSON."""
        result: dict[str, Any] = {
            "row": self.index,
            "code": self.code,
            "result": "refused" if self.issues else self.result,
            "version": self.version,
        }
        if self.issues:
            result["errors"] = [vars(issue) for issue in self.issues]
        return result


async def run_batch(
    connection: AsyncConnection, kind: Kind, payload: object, principal: Principal, semantics: Semantics
) -> dict[str, Any]:
    """Write a batch and return a summary and the result of each item, in order.

    Raises
    ------
    Invalid
        with ``atomic``, if any item is not valid: the issues of all items; nothing is written.
    """
    principal.require_role(kind.write_role)
    items = [parse_item(kind, index, item) for index, item in enumerate(_list_items(payload))]
    _reject_duplicates(items)
    owners = {writing.get_owner(kind, item.draft) for item in items if item.draft is not None}
    await writing.lock_jurisdictions(connection, kind, owners)
    codes = sorted({item.code for item in items if item.code})
    existing = await record_queries.lock_records(connection, kind.name, codes)
    reject_outside_scope(kind, items, existing, principal)
    await _validate_items(connection, kind, items)
    if semantics == "atomic":
        _check_all_valid(items)
    else:
        await reject_referenced(connection, kind, items)
    await _remove_records(connection, kind, items)
    await _upsert_records(connection, kind, items, existing, principal)
    results = [item.build_result() for item in items]
    counts = Counter(result["result"] for result in results)
    return {"semantics": semantics, "summary": {word: counts[word] for word in RESULTS}, "rows": results}


def _list_items(payload: object) -> Sequence[object]:
    items = payload.get("items") if isinstance(payload, dict) and len(payload) == 1 else payload
    if not isinstance(items, list):
        message = Message("send an array of items, or an object with the one member 'items'")
        raise build_invalid(Message("The batch is not valid"), [Issue("", "batch-type", message)])
    if len(items) > MAX_ITEMS:
        message = Message(
            "The batch has {count:,} items; at most {limit:,} are allowed. Send several batches.",
            count=len(items),
            limit=MAX_ITEMS,
        )
        raise TooLarge(message, MAX_ITEMS)
    return items


def parse_item(kind: Kind, index: int, value: object) -> BatchItem:
    """Parse one item: {"upsert": record}, {"delete": code}, or a record to upsert."""
    if isinstance(value, dict) and set(value) == {"delete"}:
        item = BatchItem(index, "delete", code=parse_code(value["delete"]))
        if item.code is None:
            item.reject("", "string-pattern-mismatch", Message("must be the code of a record"))
        return item
    has_upsert = isinstance(value, dict) and set(value) == {"upsert"}
    record = value["upsert"] if has_upsert and isinstance(value, dict) else value
    item = BatchItem(index, "upsert", "/upsert" if has_upsert else "")
    if isinstance(record, dict):
        item.code = parse_code(record.get("code"))
    try:
        item.draft = payloads.parse_draft(kind, record)
        item.code = writing.get_code(item.draft)
    except Invalid as error:
        item.issues = [issue.with_prefix(item.prefix) for issue in error.issues]
    return item


def parse_code(value: object) -> str | None:
    """Return a value that can be a code, else None: the response does not repeat other values."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _reject_duplicates(items: Sequence[BatchItem]) -> None:
    first_index: dict[str, int] = {}
    for item in items:
        if item.code is None:
            continue
        if item.code in first_index:
            message = Message("code {code!r} is in row {row} already", code=item.code, row=first_index[item.code])
            item.reject("/code", "duplicate-code", message)
        else:
            first_index[item.code] = item.index


def reject_outside_scope(
    kind: Kind, items: Sequence[BatchItem], existing: Mapping[str, LockedRecord], principal: Principal
) -> None:
    """Reject items outside the scope of the principal, and codes of other jurisdictions."""
    for item in items:
        if item.issues or item.code is None:
            continue
        record = existing.get(item.code)
        if item.action == "delete":
            if record is None or record.removed or not _is_in_scope(principal, record.jurisdiction):
                message = Message("{kind} {code!r} does not exist", kind=kind.title, code=item.code)
                item.reject("", "not-found", message)
            continue
        assert item.draft is not None  # noqa: S101  # an item without issues has a draft
        owner = writing.get_owner(kind, item.draft)
        if not _is_in_scope(principal, owner):
            message = Message("jurisdiction {jurisdiction!r} does not exist", jurisdiction=owner)
            item.reject("/jurisdiction", "not-found", message)
        elif record is not None and record.jurisdiction != owner:
            message = Message("code {code!r} belongs to another jurisdiction", code=item.code)
            item.reject("/code", "already-exists", message)


def _is_in_scope(principal: Principal, jurisdiction: str) -> bool:
    return principal.jurisdictions is None or jurisdiction in principal.jurisdictions


def select_drafts(items: Sequence[BatchItem]) -> tuple[list[BatchItem], list[Draft]]:
    """Return the items with a valid draft, and the drafts."""
    pairs = [(item, item.draft) for item in items if item.draft is not None and not item.issues]
    return [item for item, _ in pairs], [draft for _, draft in pairs]


async def _validate_items(connection: AsyncConnection, kind: Kind, items: Sequence[BatchItem]) -> None:
    valid_items, drafts = select_drafts(items)
    for item, issues in zip(valid_items, await writing.validate_drafts(connection, kind, drafts), strict=True):
        item.issues.extend(issue.with_prefix(item.prefix) for issue in issues)


def _check_all_valid(items: Sequence[BatchItem]) -> None:
    invalid = [item for item in items if item.issues]
    if not invalid:
        return
    message = Message(
        "{count} of {total} rows are not valid, so none is written. Row {row}: {message}.",
        count=len(invalid),
        total=len(items),
        row=invalid[0].index,
        message=invalid[0].issues[0].message,
    )
    issues = [issue.with_prefix(f"/items/{item.index}") for item in invalid for issue in item.issues]
    raise Invalid(message, code="batch-refused", issues=issues[:_MAX_ISSUES])


async def reject_referenced(connection: AsyncConnection, kind: Kind, items: Sequence[BatchItem]) -> None:
    """Reject the removals of records that other records refer to, and only these."""
    removals = {item.code: item for item in items if item.action == "delete" and not item.issues}
    codes = [code for code in removals if code is not None]
    for code, table, dependent in await record_queries.fetch_dependents(connection, kind, codes, limit=None):
        if not removals[code].issues:
            message = Message("{kind} {code} refers to this record", kind=table, code=dependent)
            removals[code].reject("", "still-referenced", message)


async def _remove_records(connection: AsyncConnection, kind: Kind, items: Sequence[BatchItem]) -> None:
    removals = [item for item in items if item.action == "delete" and not item.issues]
    codes = [item.code for item in removals if item.code is not None]
    if not codes:
        return
    await check_no_dependents(connection, kind, codes)
    await record_queries.soft_delete_records(connection, kind.name, codes)
    for item in removals:
        item.result = "removed"


async def _upsert_records(
    connection: AsyncConnection,
    kind: Kind,
    items: Sequence[BatchItem],
    existing: Mapping[str, LockedRecord],
    principal: Principal,
) -> None:
    valid_items, drafts = select_drafts(items)
    if not drafts:
        return
    versions = await writing.apply_drafts(connection, kind, drafts, principal)
    for item in valid_items:
        assert item.code is not None  # noqa: S101  # a draft has a code
        if item.code not in versions:
            # A concurrent transaction created the code for another jurisdiction after the lock.
            message = Message("A record with the code {code!r} was created at the same time.", code=item.code)
            raise Conflict(message, code="already-exists")
        before = existing.get(item.code)
        item.version = versions[item.code]
        if before is None or before.removed:
            item.result = "created"
        else:
            item.result = "unchanged" if before.version == item.version else "updated"
