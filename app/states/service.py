"""Device states as the equipment reports them: out of order, in duplicate, in great number.

A batch is read column by column. Reports of the ordinary form are checked by a few set and pattern
operations; any other report goes through the model, which has the last word and the exact faults.
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
from app.db.engine import within
from app.errors import Invalid, Issue, MalformedBody, TooLarge
from app.models.fields import Instant
from app.models.vocabulary import DEVICE_KINDS, State
from app.records import payloads
from app.states import queries as state_queries

# Device state reports and what becomes of them.

MAX_REPORTS = 10_000


class StateReport(BaseModel):
    """What one device said."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["camera", "checkpoint"] = Field("camera", description="Kind of the device.")
    code: str = Field(pattern=r"^[A-Za-z0-9._:\-]{1,64}$", description="Code of the device.")
    state: State = Field(description="What it said.")
    reported_at: Instant = Field(
        default_factory=lambda: datetime.now(UTC), description="When it said so. Not given: now."
    )


class StateReports(BaseModel):
    """A batch of reports."""

    model_config = ConfigDict(extra="forbid", strict=True)

    states: Annotated[list[StateReport], Field(max_length=MAX_REPORTS)]


class UnknownDevice(BaseModel):
    """A device the registry does not have, or not in the caller's scope."""

    kind: str
    code: str


class StateOutcome(BaseModel):
    """What became of a batch."""

    received: int
    applied: int = Field(description="Reports that are the newest of their device.")
    ignored: int = Field(description="Duplicates and reports older than what is known.")
    unknown: list[UnknownDevice]


REPORTS = TypeAdapter(list[StateReport])


FUTURE_TOLERANCE = timedelta(minutes=5)

_STATES: Final = frozenset(get_args(State))
_KINDS: Final = frozenset(DEVICE_KINDS)
_CODES: Final = re.compile(r"(?:[A-Za-z0-9._:\-]{1,64}\n)*")
_TIMES: Final = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)\n)*"
)
_ORDINARY: Final = (
    frozenset({"kind", "code", "state", "reported_at"}),
    frozenset({"code", "state", "reported_at"}),
)


@dataclass(frozen=True)
class Reports:
    """A batch by columns."""

    kind: Sequence[str]
    code: Sequence[str]
    state: Sequence[str]
    reported_at: Sequence[datetime]
    prefix: str = ""
    """Where they stand in the body."""

    def __len__(self) -> int:
        return len(self.code)


def lines(body: bytes) -> list[Any]:
    """Return the values of newline-delimited JSON; blank lines are passed over.

    Raises
    ------
    MalformedBody
        with the number of the first line that is not JSON.
    """
    found = [line for line in body.split(b"\n") if line.strip()]
    try:
        values: list[Any] = orjson.loads(b"[" + b",".join(found) + b"]")
    except orjson.JSONDecodeError:
        values = []
    if len(values) == len(found):
        return values
    return _line_by_line(body)


def _line_by_line(body: bytes) -> list[Any]:
    values = []
    for number, line in enumerate(body.split(b"\n"), 1):
        try:
            if line.strip():
                values.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise MalformedBody(f"Line {number} is not valid JSON: {error}.") from error
    return values


def parse(payload: object) -> Reports:
    """Return the reports of a body: an array, or an object with a member ``states``.

    Raises
    ------
    Invalid
        with every fault of every report.
    """
    prefix = ""
    if isinstance(payload, dict) and "states" in payload and len(payload) == 1:
        payload, prefix = payload["states"], "/states"
    if isinstance(payload, list):
        if len(payload) > MAX_REPORTS:
            raise TooLarge(f"At most {MAX_REPORTS:,} reports are taken at once.", MAX_REPORTS)
        ordinary = _ordinary(payload, prefix)
        if ordinary is not None:
            return ordinary
    try:
        found = REPORTS.validate_python(payload)
    except ValidationError as error:
        faults = [fault.with_prefix(prefix) for fault in payloads.faults_of(error)]
        detail = f"The reports are not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error
    return Reports(
        [report.kind for report in found],
        [report.code for report in found],
        [report.state for report in found],
        [report.reported_at for report in found],
        prefix,
    )


def _ordinary(payload: list[Any], prefix: str) -> Reports | None:
    """Return reports that are certain to be valid, None when one is of another form.

    A newline cannot stand in a code or a time, so joined by newlines they are matched all at once.
    """
    try:
        if not all(report.keys() in _ORDINARY for report in payload):
            return None
        kinds = [report.get("kind", "camera") for report in payload]
        codes = [report["code"] for report in payload]
        states = [report["state"] for report in payload]
        times = [report["reported_at"] for report in payload]
        if not (_KINDS.issuperset(kinds) and _STATES.issuperset(states)):
            return None
        if not (_all_match(_CODES, codes) and _all_match(_TIMES, times)):
            return None
        moments = {time: datetime.fromisoformat(time).astimezone(UTC) for time in set(times)}
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return Reports(kinds, codes, states, [moments[time] for time in times], prefix)


def _all_match(pattern: re.Pattern[str], texts: list[str]) -> bool:
    joined = "\n".join(texts) + "\n" if texts else ""
    return joined.count("\n") == len(texts) and pattern.fullmatch(joined) is not None


async def report(connection: AsyncConnection, reports: Reports, who: Principal) -> StateOutcome:
    """Record reports; the newest of each device counts.

    Raises
    ------
    Invalid
        when a report comes from the future.
    """
    scope = who.scope("editor")
    _refuse_future(reports, await state_queries.now(connection) + FUTURE_TOLERANCE)
    columns = (reports.kind, reports.code, reports.state, reports.reported_at)
    applied, unknown = await state_queries.report_columns(await within(connection), columns, scope)
    strangers = set(unknown)
    counted = len(reports)
    if strangers:
        pairs = zip(reports.kind, reports.code, strict=True)
        counted -= sum(pair in strangers for pair in pairs)
    return StateOutcome(
        received=len(reports),
        applied=applied,
        ignored=counted - applied,
        unknown=[UnknownDevice(kind=kind, code=code) for kind, code in unknown],
    )


def _refuse_future(reports: Reports, latest: datetime) -> None:
    ahead = [
        Issue(f"{reports.prefix}/{at}/reported_at", "future-time", "the report comes from the future")
        for at, moment in enumerate(reports.reported_at)
        if moment > latest
    ]
    if ahead:
        minutes = int(FUTURE_TOLERANCE.total_seconds() // 60)
        raise Invalid(
            f"{len(ahead)} reports are more than {minutes} minutes ahead of the clock.",
            code="future-time",
            issues=ahead[:1000],
        )
