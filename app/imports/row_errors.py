"""Errors of rows that only the registry can find: one table of codes, messages and hints.

Each constant is one error. ``{value}`` is the value that the error shows; the other parameters are
named where the error is reported. A message that starts with ``{subject}`` names the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.errors import Issue
from app.ingest.validation.issues import RowIssue, shorten_value
from app.messages import Message
from app.models.cross_field_rules import Rule
from app.records.drafts import MAX_LANES


@dataclass(frozen=True)
class RowError:
    """One kind of error: its code, the field it is reported at, and English templates of its texts."""

    code: str
    field: str | None
    message: str
    hint: str | None = None

    def to_issue(self, row: int, value: str | None = None, *, field: str | None = None, **parameters: Any) -> RowIssue:
        """Return the error of a row; ``field`` replaces the usual one."""
        value = shorten_value(value)
        message = Message(self.message, value=value, **parameters)
        hint = None if self.hint is None else Message(self.hint, value=value, **parameters)
        return RowIssue(row, None, field or self.field, value, self.code, message, hint)


_CHECK_LOCATION: Final = Message("Check the coordinates, their CRS or datum, and the extent of the jurisdiction.")
_CHECK_CODE: Final = "Check the code, or register the record first."

DUPLICATE_CODE: Final = RowError(
    "duplicate-code", "code", "Code {value!r} is already in row {first}.", "Keep one of the two rows."
)
DUPLICATE_REFERENCE: Final = RowError(
    "duplicate-reference",
    "owner_reference",
    "The owner reference {value!r} is already in row {first}.",
    "Keep one of the two rows.",
)
UNKNOWN_JURISDICTION: Final = RowError(
    # A jurisdiction that does not exist and one outside the scope have the same text.
    "unknown-reference",
    "jurisdiction",
    "Jurisdiction {value!r} does not exist.",
    "Register the jurisdiction first, or use a key that may write it.",
)
CODE_OF_OTHER_JURISDICTION: Final = RowError(
    "already-exists",
    "code",
    "Code {value!r} is used by a {kind} of another jurisdiction.",
    "Codes are unique in the service, and a record cannot move to another jurisdiction. Use another code.",
)
RECORD_EXISTS: Final = RowError(
    "already-exists",
    "code",
    "Code {value!r} is already registered, and mode=create_only accepts new records only.",
    "Use mode=upsert to update the record.",
)
NOT_REGISTERED: Final = RowError(
    "not-found",
    "code",
    "{subject} is not registered, and mode=update_only accepts registered records only.",
    "Use mode=upsert to create it.",
)
NOT_REGISTERED_PARTIAL: Final = RowError(
    "not-found",
    "code",
    "{subject} is not registered, and mode=update_only accepts registered records only.",
    _CHECK_CODE,
)
FIELDS_MISSING: Final = RowError(
    "not-found",
    "code",
    "{subject} is not registered, and the file lacks fields that a new {kind} needs: {fields}.",
    "Check the code, register the record first, or map a column to each of these fields.",
)
TOO_MANY_LANES: Final = RowError(
    "too-long", "lanes", "The checkpoint would have more than {most} lanes.", "Remove lanes from the file."
)
LANE_WITHOUT_DIRECTION: Final = RowError(
    "missing",
    "lane_direction",
    "Lane {value} is new to the checkpoint and has no direction.",
    "Map a column to lane_direction.",
)
UNKNOWN_REFERENCE: Final = RowError(
    "unknown-reference",
    None,
    "There is no {kind} {value!r} in jurisdiction {jurisdiction}.",
    "Import the {kind} first, or leave the cell blank.",
)
REFERENCE_TAKEN: Final = RowError(
    "already-exists",
    "owner_reference",
    "The owner reference belongs to record {code!r}.",
    "Use key=owner_reference to update that record.",
)
FUTURE_TIME: Final = RowError(
    "future-time",
    "reported_at",
    "The report time is in the future.",
    "Check the clock and the time zone of the source.",
)
UNKNOWN_DEVICE: Final = RowError(
    "unknown-reference", "code", "There is no {kind} {value!r}.", "Register the device first."
)
STILL_REFERENCED: Final = RowError(
    "still-referenced",
    "code",
    "Record {value!r} is not in the file but {kind} {dependent!r} refers to it, so it cannot be removed.",
    "Remove or change the record that refers to it, or keep the row in the file.",
)
REFUSED_TOGETHER: Final = RowError(
    "refused-together",
    None,
    "Row {first} of the same checkpoint is refused, so this row is refused too.",
    "Correct row {first}.",
)
OwnerKey = tuple[str, str]
"""Owner unit and its reference."""


def not_registered(
    row: int,
    code: str,
    kind: str,
    *,
    key: OwnerKey | None = None,
    missing: Sequence[str] = (),
    update_only: bool = True,
) -> RowIssue:
    """Return the error of a row whose record is not registered.

    Parameters
    ----------
    key : OwnerKey, optional
        What identifies the record, if it is not the code.
    missing : sequence of str
        Fields of a new record that the file does not have.
    """
    subject = Message("Code {code!r}", code=code)
    if key is not None:
        unit, reference = shorten_value(key[0]), shorten_value(key[1])
        subject = Message("The {kind} {reference!r} of {unit!r}", kind=kind, reference=reference, unit=unit)
    value, field = (code, None) if key is None else (key[1], "owner_reference")
    if not update_only:
        return FIELDS_MISSING.to_issue(row, value, field=field, subject=subject, kind=kind, fields=", ".join(missing))
    error = NOT_REGISTERED_PARTIAL if missing else NOT_REGISTERED
    return error.to_issue(row, value, field=field, subject=subject)


def broken_rule(row: int, rule: Rule) -> RowIssue:
    """Return the error of a row that breaks a rule together with registered values."""
    message = Message("{rule}; some of these values are registered.", rule=rule.message)
    hint = Message("Correct the value, or give all of these fields: {fields}.", fields=", ".join(sorted(rule.fields)))
    return RowIssue(row, None, rule.member, None, rule.code, message, hint)


def wrong_location(row: int, issue: Issue, swap_hint: str) -> RowIssue:
    """Return the error of a location outside the extent; ``swap_hint`` is for swapped axes."""
    hint = swap_hint if issue.code == "swapped-coordinates" else _CHECK_LOCATION
    return refused_by_service(row, "geometry", issue.code, issue.message, hint)


def invalid_lanes(row: int, lane: int | None) -> RowIssue:
    """Return the error of a new lane without direction, or of too many lanes (``lane`` is None)."""
    if lane is None:
        return TOO_MANY_LANES.to_issue(row, most=MAX_LANES)
    return LANE_WITHOUT_DIRECTION.to_issue(row, str(lane))


def refused_by_service(row: int, field: str, code: str, message: str, hint: str | None = None) -> RowIssue:
    """Return the error of a row that a service refuses, with the service's text."""
    return RowIssue(row, None, field, None, code, message, hint)
