"""Waivers: an administrator decides that a crossing needs no guard, with a reason and an expiry.

A waiver belongs to the crossing of a road at a ring, not to the id of the crossing. If a new survey of the road moves
the crossing a little, the waiver stays with it.
"""

from dataclasses import dataclass
from typing import Final

import shapely
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.access.roles import Principal
from app.analysis.crossings.crossing_guards import compute_crossing_statuses
from app.analysis.crossings.road_network import compute_road_network
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService
from app.db.engine import Database, WriteContext
from app.decisions import queries as decision_queries
from app.decisions.service import DecisionKind, SavedDecision, build_code, save_decision
from app.errors import Issue, NotFound, build_invalid, to_issues
from app.messages import Message
from app.models.fields import Instant, Line
from app.models.vocabulary import Level
from app.records.payloads import Precondition
from app.records.queries.records import soft_delete_records
from app.states import queries as state_queries

WAIVER: Final = DecisionKind("waiver", decision_queries.WAIVERS, "admin")
_INVALID_WAIVER: Final = Message("The waiver is not valid")


class WaiverDraft(BaseModel):
    """Why a crossing need not be guarded, and until when."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Line = Field(min_length=1, description="Why it need not be guarded; kept in the history.")
    expires_at: Instant = Field(
        description="When the waiver ends and the crossing reads as open again; in the future.",
        examples=["2027-01-01T00:00:00Z"],
    )


class WaiverDocument(BaseModel):
    """A waiver, in force or expired."""

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


@dataclass(frozen=True)
class WaivedCrossing:
    """The crossing that a waiver is for."""

    level: Level
    road: str
    lon: float
    lat: float
    current_waiver: str | None
    """Crossing id of the waiver that is in force for it, which may differ from its own id."""


async def save_waiver(
    database: Database,
    service: AnalysisService,
    jurisdiction: str,
    crossing: str,
    payload: object,
    principal: Principal,
    precondition: Precondition,
    context: WriteContext,
) -> SavedDecision:
    """Waive a crossing, or replace its waiver.

    Raises
    ------
    NotFound
        if there is no such crossing now.
    Invalid
        if the reason is missing, or the expiry is not in the future.
    """
    principal.require_role_in("admin", [jurisdiction])
    try:
        draft = WaiverDraft.model_validate(payload)
    except ValidationError as error:
        raise build_invalid(_INVALID_WAIVER, to_issues(error)) from error
    analysis = await service.load_analysis(jurisdiction, principal)
    waived = await service.run_in_thread(find_crossing, analysis, crossing)
    if waived is None:
        raise NotFound("crossing", crossing)
    location = shapely.set_srid(shapely.Point(waived.lon, waived.lat), 4326)
    values = {
        **draft.model_dump(mode="json"),
        "level": waived.level,
        "road": waived.road,
        "waived_by": principal.name,
        "geometry": shapely.to_wkb(location, hex=True, include_srid=True),
    }
    async with database.open_transaction(context) as connection:
        if draft.expires_at <= await state_queries.fetch_now(connection):
            issue = Issue("/expires_at", "past-time", Message("a waiver must expire in the future"))
            raise build_invalid(_INVALID_WAIVER, [issue])
        saved = await save_decision(connection, WAIVER, jurisdiction, crossing, values, precondition)
        if waived.current_waiver not in (None, crossing):
            replaced = build_code(jurisdiction, str(waived.current_waiver))
            await soft_delete_records(connection, "waiver", [replaced])
    return saved


def find_crossing(analysis: Analysis, crossing: str) -> WaivedCrossing | None:
    """Return the crossing with an id, or None."""
    network = compute_road_network(analysis)
    if network is None:
        return None
    for level, statuses in compute_crossing_statuses(analysis).items():
        if crossing not in network.crossing_ids[level]:
            continue
        row = network.crossing_ids[level].index(crossing)
        crossings = network.crossed[level]
        lon, lat = network.projection.to_lonlat(crossings.xy[row]).ravel().round(9).tolist()
        waiver = int(statuses.waiver[row])
        current_waiver = analysis.snapshot.waivers["crossing"][waiver] if waiver >= 0 else None
        return WaivedCrossing(level, str(network.roads.label[crossings.group[row]]), lon, lat, current_waiver)
    return None
