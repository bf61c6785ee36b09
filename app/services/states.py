"""Device states as the equipment reports them: out of order, in duplicate, in great number."""

from datetime import timedelta

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Fault, Invalid, TooLarge
from app.registry import states as registry
from app.schemas.states import MAX_REPORTS, REPORTS, StateOutcome, StateReport, UnknownDevice
from app.services import drafts
from app.services.access import Principal

FUTURE_TOLERANCE = timedelta(minutes=5)


def parse(payload: object) -> list[StateReport]:
    """Return the reports of a body: an array, or an object with a member ``states``.

    Raises
    ------
    Invalid
        with every fault of every report.
    """
    prefix = ""
    if isinstance(payload, dict) and "states" in payload and len(payload) == 1:
        payload, prefix = payload["states"], "/states"
    if isinstance(payload, list) and len(payload) > MAX_REPORTS:
        raise TooLarge(f"At most {MAX_REPORTS:,} reports are taken at once.", MAX_REPORTS)
    try:
        return REPORTS.validate_python(payload)
    except ValidationError as error:
        faults = [fault.under(prefix) for fault in drafts.faults_of(error)]
        detail = f"The reports are not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, faults=faults) from error


async def report(
    connection: AsyncConnection, reports: list[StateReport], who: Principal
) -> StateOutcome:
    """Record reports; the newest of each device counts.

    Raises
    ------
    Invalid
        when a report comes from the future.
    """
    scope = who.scope("editor")
    latest = await registry.now(connection) + FUTURE_TOLERANCE
    ahead = [
        Fault(f"/{position}/reported_at", "future-time", "the report comes from the future")
        for position, found in enumerate(reports)
        if found.reported_at > latest
    ]
    if ahead:
        minutes = int(FUTURE_TOLERANCE.total_seconds() // 60)
        raise Invalid(
            f"{len(ahead)} reports are more than {minutes} minutes ahead of the clock.",
            code="future-time",
            faults=ahead[:1000],
        )
    rows = [found.model_dump() for found in reports]
    applied, unknown = await registry.report(connection, rows, scope)
    strangers = {(found["kind"], found["code"]) for found in unknown}
    counted = sum((found.kind, found.code) not in strangers for found in reports)
    return StateOutcome(
        received=len(reports),
        applied=applied,
        ignored=counted - applied,
        unknown=[UnknownDevice(**found) for found in unknown],
    )
