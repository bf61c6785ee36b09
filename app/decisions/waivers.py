"""Waivers: a person decides that a crossing need not be guarded, with a reason and an end.

A waiver belongs to the crossing of a road at a ring, not to a number: when the road is surveyed anew
and the crossing moves a little, the waiver stays with it.
"""

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.analysis.crossings.crossing_guards import compute_crossing_statuses
from app.analysis.crossings.road_network import compute_road_network
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService
from app.db.engine import Database, WriteContext
from app.decisions import queries as decision_queries
from app.errors import Invalid, Issue, NotFound
from app.models.fields import Instant, Line
from app.models.vocabulary import Level
from app.records import payloads
from app.records import service as record_service
from app.records.payloads import Precondition
from app.records.service import Written
from app.states import queries as state_queries

# Waivers of crossings as they travel.


class WaiverDraft(BaseModel):
    """Why a crossing need not be guarded, and until when."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Line = Field(min_length=1, description="Why it need not be guarded; kept in the history.")
    expires_at: Instant = Field(
        description="When the waiver ends and the crossing reads as open again; in the future.",
        examples=["2027-01-01T00:00:00Z"],
    )


class Waiver(BaseModel):
    """A waiver in force or past its end."""

    crossing: str = Field(description="Id of the crossing.")
    jurisdiction: str
    level: str
    road: str = Field(description="Group, number or name of the road.")
    reason: str
    expires_at: Instant
    waived_by: str
    version: int
    created_at: Instant
    updated_at: Instant


async def get(connection: AsyncConnection, jurisdiction: str, crossing: str, who: Principal) -> tuple[int, str]:
    """Return version and JSON of the waiver of a crossing.

    Raises
    ------
    NotFound
        when it has none.
    """
    who.need_in("analyst", [jurisdiction])
    found = await decision_queries.select_waiver(connection, _code(jurisdiction, crossing))
    if found is None:
        raise NotFound("waiver", crossing)
    return found


async def history(
    connection: AsyncConnection,
    jurisdiction: str,
    crossing: str,
    who: Principal,
    *,
    before: int | None,
    limit: int,
) -> tuple[list[str], int | None]:
    """Return the changes of the waiver of a crossing, newest first.

    Raises
    ------
    NotFound
        when it never had one.
    """
    who.need_in("analyst", [jurisdiction])
    return await record_service.page(
        connection, "waiver", _code(jurisdiction, crossing), scope=[jurisdiction], before=before,
        limit=limit, known_as=("waiver", crossing),
    )  # fmt: skip


async def put(
    database: Database,
    answers: AnalysisService,
    jurisdiction: str,
    crossing: str,
    payload: object,
    who: Principal,
    precondition: Precondition,
    context: WriteContext,
) -> tuple[Written, str]:
    """Waive a crossing, or say anew why and until when; return the waiver as JSON beside it.

    Raises
    ------
    NotFound
        when there is no such crossing now.
    Invalid
        when the reason is missing, or the end is not in the future.
    """
    who.need_in("admin", [jurisdiction])
    draft = _draft(payload)
    found = await answers.load_analysis(jurisdiction, who)
    place = await answers.run_in_thread(_place, found, crossing)
    if place is None:
        raise NotFound("crossing", crossing)
    level, road, (lon, lat), known_as = place
    code = _code(jurisdiction, crossing)
    row = {
        "code": code, "jurisdiction": jurisdiction, "crossing": crossing, "level": level,
        "road": road, "waived_by": who.name, **draft.model_dump(mode="json"),
    }  # fmt: skip
    async with database.writing(context) as connection:
        if draft.expires_at <= await state_queries.now(connection):
            raise _past()
        present = await decision_queries.lock_decision(connection, "waiver", code)
        precondition.check(present)
        if known_as not in (None, crossing):
            await decision_queries.remove_decision(connection, "waiver", _code(jurisdiction, str(known_as)))
        version = await decision_queries.save_waiver(connection, row, lon, lat)
        _, body = await get(connection, jurisdiction, crossing, who)
    return Written(code, version, created=present is None), body


async def remove(
    database: Database,
    jurisdiction: str,
    crossing: str,
    who: Principal,
    precondition: Precondition,
    context: WriteContext,
) -> None:
    """End a waiver before its time; the crossing may be gone.

    Raises
    ------
    NotFound
        when the crossing has none.
    """
    who.need_in("admin", [jurisdiction])
    code = _code(jurisdiction, crossing)
    async with database.writing(context) as connection:
        present = await decision_queries.lock_decision(connection, "waiver", code)
        precondition.check(present)
        if present is None:
            raise NotFound("waiver", crossing)
        await decision_queries.remove_decision(connection, "waiver", code)


def _code(jurisdiction: str, crossing: str) -> str:
    return f"{jurisdiction}/{crossing}"


def _draft(payload: object) -> WaiverDraft:
    try:
        return WaiverDraft.model_validate(payload)
    except ValidationError as error:
        faults = payloads.faults_of(error)
        detail = f"The waiver is not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error


def _past() -> Invalid:
    message = "a waiver ends in the future"
    return Invalid(
        f"The waiver is not valid: /expires_at: {message}.",
        issues=(Issue("/expires_at", "past-time", message),),
    )


def _place(found: Analysis, crossing: str) -> tuple[Level, str, tuple[float, float], str | None] | None:
    """Return ring, road and place of a crossing, and the name under which it is waived now."""
    network = compute_road_network(found)
    if network is None:
        return None
    for level, statuses in compute_crossing_statuses(found).items():
        if crossing in network.crossing_ids[level]:
            row = network.crossing_ids[level].index(crossing)
            lon, lat = network.projection.to_lonlat(network.crossed[level].xy[row]).ravel().round(9).tolist()
            waiver = int(statuses.waiver[row])
            known = found.snapshot.waivers["crossing"][waiver] if waiver >= 0 else None
            road = str(network.roads.label[network.crossed[level].group[row]])
            return level, road, (lon, lat), known
    return None
