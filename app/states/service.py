"""Device state reports: parse a batch, and store the newest report of each device.

A batch is checked column by column. If all reports have the usual form, a few set operations and
regular expressions are enough; otherwise the model validates each report and finds every error.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.db.engine import get_fetch
from app.errors import Invalid, Issue, MalformedBody, TooLarge, to_issues
from app.messages import Message
from app.models.fields import Instant
from app.models.vocabulary import DEVICE_KINDS, State
from app.states import queries as state_queries

MAX_REPORTS: Final = 10_000
FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""Time by which the clock of a device may be ahead of the database."""
_MAX_ISSUES: Final = 1000


class StateReport(BaseModel):
    """The state of one device at a time."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["camera", "checkpoint"] = Field("camera", description="Kind of the device.")
    code: str = Field(pattern=r"^[A-Za-z0-9._:\-]{1,64}$", description="Code of the device.")
    state: State = Field(description="State that the device reports.")
    reported_at: Instant = Field(
        default_factory=lambda: datetime.now(UTC), description="Time of the report. Default: now."
    )


class StateReports(BaseModel):
    """A batch of reports."""

    model_config = ConfigDict(extra="forbid", strict=True)

    states: Annotated[list[StateReport], Field(max_length=MAX_REPORTS)]


class UnknownDevice(BaseModel):
    """A device that the registry does not have, or that is outside the caller's scope."""

    kind: str
    code: str


class StateOutcome(BaseModel):
    """The outcome of a batch."""

    received: int
    applied: int = Field(description="Reports that are the newest of their device.")
    ignored: int = Field(description="Duplicates, and reports that are older than the stored one.")
    unknown: list[UnknownDevice]


REPORTS: Final = TypeAdapter(list[StateReport])
_STATES: Final = frozenset(get_args(State))
_KINDS: Final = frozenset(DEVICE_KINDS)
_CODES: Final = re.compile(r"(?:[A-Za-z0-9._:\-]{1,64}\n)*")
_TIMES: Final = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)\n)*"
)
_USUAL_MEMBERS: Final = (
    frozenset({"kind", "code", "state", "reported_at"}),
    frozenset({"code", "state", "reported_at"}),
)


@dataclass(frozen=True)
class ReportColumns:
    """A batch of reports by column."""

    kind: Sequence[str]
    code: Sequence[str]
    state: Sequence[str]
    reported_at: Sequence[datetime]
    pointer: str = ""
    """JSON Pointer of the list in the body."""

    def __len__(self) -> int:
        return len(self.code)


def parse_json_lines(body: bytes) -> list[Any]:
    """Return the values of newline-delimited JSON; blank lines are skipped.

    Raises
    ------
    MalformedBody
        with the number of the first line that is not valid JSON.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    try:
        values: list[Any] = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError:
        values = []
    if len(values) == len(lines):
        return values
    return parse_each_line(body)


def parse_each_line(body: bytes) -> list[Any]:
    """Return the values of the lines; raise MalformedBody for the first line that is not valid JSON."""
    values = []
    for number, line in enumerate(body.split(b"\n"), 1):
        try:
            if line.strip():
                values.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            message = Message("Line {number} is not valid JSON: {reason}.", number=number, reason=str(error))
            raise MalformedBody(message) from error
    return values


def parse_reports(payload: object) -> ReportColumns:
    """Return the reports of a payload: an array, or an object with the member ``states``.

    Raises
    ------
    Invalid
        with every error of every report.
    TooLarge
        if there are more than ``MAX_REPORTS``.
    """
    pointer = ""
    if isinstance(payload, dict) and "states" in payload and len(payload) == 1:
        payload, pointer = payload["states"], "/states"
    if isinstance(payload, list):
        if len(payload) > MAX_REPORTS:
            raise TooLarge(Message("A batch has at most {limit:,} reports.", limit=MAX_REPORTS), MAX_REPORTS)
        columns = parse_usual_reports(payload, pointer)
        if columns is not None:
            return columns
    try:
        reports = REPORTS.validate_python(payload)
    except ValidationError as error:
        issues = [issue.with_prefix(pointer) for issue in to_issues(error)]
        message = Message(
            "The reports are not valid: {pointer}: {reason}.",
            pointer=issues[0].pointer or "/",
            reason=issues[0].message,
        )
        raise Invalid(message, issues=issues) from error
    return ReportColumns(
        [report.kind for report in reports],
        [report.code for report in reports],
        [report.state for report in reports],
        [report.reported_at for report in reports],
        pointer,
    )


def parse_usual_reports(payload: list[Any], pointer: str) -> ReportColumns | None:
    """Return reports that are certainly valid, None if one has another form.

    A code or a time has no newline. Joined by newlines, all of them are matched by one expression.
    """
    try:
        if not all(report.keys() in _USUAL_MEMBERS for report in payload):
            return None
        kinds = [report.get("kind", "camera") for report in payload]
        codes = [report["code"] for report in payload]
        states = [report["state"] for report in payload]
        times = [report["reported_at"] for report in payload]
        if not (_KINDS.issuperset(kinds) and _STATES.issuperset(states)):
            return None
        if not (match_all(_CODES, codes) and match_all(_TIMES, times)):
            return None
        # Many reports of a batch have the same time: each text is parsed once.
        instants = {time: datetime.fromisoformat(time).astimezone(UTC) for time in set(times)}
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return ReportColumns(kinds, codes, states, [instants[time] for time in times], pointer)


def match_all(pattern: re.Pattern[str], texts: list[str]) -> bool:
    """Return whether all texts match a pattern, in one match of the joined texts."""
    joined = "\n".join(texts) + "\n" if texts else ""
    return joined.count("\n") == len(texts) and pattern.fullmatch(joined) is not None


async def save_reports(connection: AsyncConnection, reports: ReportColumns, principal: Principal) -> StateOutcome:
    """Store the newest report of each device.

    Raises
    ------
    Invalid
        if a report is in the future.
    """
    scope = principal.require_scope("editor")
    check_times(reports, await state_queries.fetch_now(connection) + FUTURE_TOLERANCE)
    columns = (reports.kind, reports.code, reports.state, reports.reported_at)
    applied, unknown = await state_queries.upsert_report_columns(await get_fetch(connection), columns, scope)
    unknown_devices = set(unknown)
    known_count = len(reports)
    if unknown_devices:
        known_count -= sum(device in unknown_devices for device in zip(reports.kind, reports.code, strict=True))
    return StateOutcome(
        received=len(reports),
        applied=applied,
        ignored=known_count - applied,
        unknown=[UnknownDevice(kind=kind, code=code) for kind, code in unknown],
    )


def check_times(reports: ReportColumns, latest: datetime) -> None:
    """Raise Invalid if reports are after the latest accepted time."""
    message = Message("The report time is in the future.")
    issues = [
        Issue(f"{reports.pointer}/{index}/reported_at", "future-time", message)
        for index, reported_at in enumerate(reports.reported_at)
        if reported_at > latest
    ]
    if issues:
        detail = Message(
            "{count} reports are more than {minutes} minutes in the future. Check the clock and the time zone of "
            "the source.",
            count=len(issues),
            minutes=int(FUTURE_TOLERANCE.total_seconds() // 60),
        )
        raise Invalid(detail, code="future-time", issues=issues[:_MAX_ISSUES])
