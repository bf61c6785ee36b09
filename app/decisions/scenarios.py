"""Scenarios: overlays stored under a name; their result, their comparison, and their records as batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field

from app.access.roles import Principal
from app.analysis.planning.diff import WhatIf, build_diff
from app.analysis.planning.overlay import MAX_CHANGES, ImaginedChange, RecordChanges
from app.analysis.planning.what_if import WhatIfQuery, apply_changes, load_what_if_query, parse_overlay
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService, DisconnectWaiter
from app.db.engine import Database, WriteContext
from app.decisions import queries as decision_queries
from app.decisions.service import DecisionKind, SavedDecision, load_decision, save_decision
from app.errors import Issue, build_invalid
from app.messages import Message
from app.models.fields import Instant, Line
from app.records.drafts import Draft
from app.records.kinds import BUILDING, CAMERA, CHECKPOINT, CONTROL_POINT, ROAD, Kind
from app.records.payloads import Precondition

SCENARIO: Final = DecisionKind("scenario", decision_queries.SCENARIOS, "editor")
_WRITE_ORDER: Final = (CONTROL_POINT, ROAD, BUILDING, CHECKPOINT, CAMERA)
"""Kinds in an order in which every record is written after the records that it refers to."""
_INVALID_SCENARIO: Final = Message("The scenario is not valid")
_MAX_TITLE_LENGTH: Final = 500


class ScenarioDraft(BaseModel):
    """Imagined changes to be kept under a name."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    title: Line | None = Field(None, description="What it is about.")
    changes: Annotated[list[ImaginedChange], Field(max_length=MAX_CHANGES)] = Field(
        description=f"As in a what-if question; at most {MAX_CHANGES:,}."
    )


class ScenarioHead(BaseModel):
    """A scenario without its changes."""

    name: str
    jurisdiction: str
    title: str | None
    author: str = Field(description="The key that wrote it last.")
    version: int
    created_at: Instant
    updated_at: Instant


class ScenarioItem(ScenarioHead):
    """A scenario in a list."""

    changes: int = Field(description="How many changes it has.")


class ScenarioDocument(ScenarioHead):
    """A scenario."""

    changes: list[dict[str, Any]]


class ScenarioPage(BaseModel):
    """Scenarios in the order of their names."""

    items: list[ScenarioItem]
    next: str | None


class ScenarioName(BaseModel):
    """Which scenario, in which version."""

    name: str
    version: int


class ScenarioResult(WhatIf):
    """What a scenario would change, from now or from another scenario."""

    scenario: ScenarioName
    against: ScenarioName | None


class PlanStep(BaseModel):
    """One batch, to be sent as it is to ``POST /v1/{kind}:batch``."""

    kind: str = Field(description="Name of the kind in routes.")
    items: list[dict[str, Any]]


class ScenarioPlan(BaseModel):
    """A scenario as batches, in the order in which they are to be sent."""

    scenario: ScenarioName
    planned: list[PlanStep] = Field(description="To register now: new places, and new devices as `planned`.")
    carried_out: list[PlanStep] = Field(description="To send when the work is done: everything as it was imagined.")
    left_out: int = Field(description="States and failures, because they are not records.")


@dataclass(frozen=True)
class StoredScenario:
    """A scenario as it is stored."""

    name: str
    version: int
    changes: list[Any]

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of a what-if query with its changes."""
        return {"changes": self.changes}

    @property
    def reference(self) -> dict[str, Any]:
        """Name and version, as results show them."""
        return {"name": self.name, "version": self.version}


async def save_scenario(
    database: Database,
    service: AnalysisService,
    jurisdiction: str,
    name: str,
    payload: object,
    principal: Principal,
    precondition: Precondition,
    context: WriteContext,
) -> SavedDecision:
    """Store changes under a name, if they can be applied to the registry now.

    Raises
    ------
    Invalid
        with every issue of the changes.
    """
    principal.require_role_in("editor", [jurisdiction])
    title, changes = _parse_payload(payload)
    analysis = await service.load_analysis(jurisdiction, principal)
    query = await load_what_if_query(database, jurisdiction, parse_overlay({"changes": changes}))
    await service.run_in_thread(partial(apply_changes, analysis, query))
    values = {"title": title, "author": principal.name, "changes": changes}
    async with database.open_transaction(context) as connection:
        return await save_decision(connection, SCENARIO, jurisdiction, name, values, precondition)


def _parse_payload(payload: object) -> tuple[str | None, list[Any]]:
    """Return title and changes of a payload, the changes as the client sent them."""
    if not isinstance(payload, Mapping):
        message = Message("must be an object with a title and changes")
        raise build_invalid(_INVALID_SCENARIO, [Issue("", "object-type", message)])
    unknown = {name: payload[name] for name in payload.keys() - {"title", "changes"}}
    parse_overlay({"changes": payload.get("changes"), **unknown})
    title = payload.get("title")
    is_line = isinstance(title, str) and 0 < len(title) <= _MAX_TITLE_LENGTH and title.isprintable()
    if title is not None and not is_line:
        message = Message("must be one line of 1 to {limit} characters", limit=_MAX_TITLE_LENGTH)
        raise build_invalid(_INVALID_SCENARIO, [Issue("/title", "title", message)])
    return title, payload["changes"]


async def _load_scenario(database: Database, jurisdiction: str, name: str, principal: Principal) -> StoredScenario:
    async with database.open_connection() as connection:
        version, body = await load_decision(connection, SCENARIO, jurisdiction, name, principal)
    return StoredScenario(name, version, orjson.loads(body)["changes"])


async def load_scenario_result(
    database: Database,
    service: AnalysisService,
    jurisdiction: str,
    name: str,
    against: str | None,
    principal: Principal,
    disconnect: DisconnectWaiter | None = None,
) -> bytes:
    """Return what a scenario would change, from now or from another scenario.

    The result is cached until a record, a state or one of the scenarios changes.

    Raises
    ------
    NotFound
        if there is no such scenario.
    Invalid
        if its changes can no longer be applied, because records have changed.
    """
    principal.require_role_in("analyst", [jurisdiction])
    scenario = await _load_scenario(database, jurisdiction, name, principal)
    baseline = None if against is None else await _load_scenario(database, jurisdiction, against, principal)
    query = await load_what_if_query(database, jurisdiction, parse_overlay(scenario.payload))
    baseline_query = None
    if baseline is not None:
        baseline_query = await load_what_if_query(database, jurisdiction, parse_overlay(baseline.payload))
    references = {"scenario": scenario.reference, "against": None if baseline is None else baseline.reference}
    build = partial(_build_result, references=references, query=query, baseline_query=baseline_query)
    return await service.load_response(jurisdiction, principal, f"scenario {references}", build, disconnect)


def _build_result(
    analysis: Analysis, *, references: dict[str, Any], query: WhatIfQuery, baseline_query: WhatIfQuery | None
) -> dict[str, Any]:
    after, changes = apply_changes(analysis, query)
    before = analysis if baseline_query is None else apply_changes(analysis, baseline_query)[0]
    return references | build_diff(before, after, applied=changes.to_document())


async def build_scenario_plan(
    database: Database, service: AnalysisService, jurisdiction: str, name: str, principal: Principal
) -> dict[str, Any]:
    """Return a scenario as batches of records: to register now as planned, and to send when the work is done.

    Raises
    ------
    NotFound
        if there is no such scenario.
    Invalid
        if its changes can no longer be applied, because records have changed.
    """
    principal.require_role_in("editor", [jurisdiction])
    scenario = await _load_scenario(database, jurisdiction, name, principal)
    analysis = await service.load_analysis(jurisdiction, principal)
    overlay = parse_overlay(scenario.payload)
    query = await load_what_if_query(database, jurisdiction, overlay, reveal=True)
    _, changes = await service.run_in_thread(partial(apply_changes, analysis, query))
    return {
        "scenario": scenario.reference,
        "planned": _build_steps(analysis, _select_new_records(analysis, changes.records), name, planned=True),
        "carried_out": _build_steps(analysis, changes.records, name, planned=False),
        "left_out": sum(change.state is not None or change.fail is not None for change in overlay.changes),
    }


def _select_new_records(analysis: Analysis, changes: RecordChanges) -> RecordChanges:
    """Return what can be registered before the work is done: new control points and devices."""
    new = RecordChanges()
    for kind in (CONTROL_POINT, CHECKPOINT, CAMERA):
        registered = set(analysis.snapshot.get_codes(kind.name))
        for code, draft in changes.drafts.get(kind.name, {}).items():
            if code not in registered:
                new.add_draft(kind.name, code, draft, "")
    return new


def _build_steps(analysis: Analysis, changes: RecordChanges, name: str, *, planned: bool) -> list[dict[str, Any]]:
    """Return batches: records are written after, and removed before, the records that they refer to."""
    registered = {kind.name: set(analysis.snapshot.get_codes(kind.name)) for kind in _WRITE_ORDER}
    available = {kind: registered[kind] | changes.drafts.get(kind, {}).keys() for kind in registered}
    steps: list[dict[str, Any]] = []
    for kind in _WRITE_ORDER:
        drafts = changes.drafts.get(kind.name, {})
        items = [{"upsert": _build_record(kind, draft, name, available, planned=planned)} for draft in drafts.values()]
        if items:
            steps.append({"kind": kind.plural, "items": items})
    for kind in reversed(_WRITE_ORDER):
        codes = sorted(changes.removed.get(kind.name, set()) & registered[kind.name])
        if codes:
            steps.append({"kind": kind.plural, "items": [{"delete": code} for code in codes]})
    return steps


def _build_record(
    kind: Kind, draft: Draft, name: str, available: Mapping[str, set[str]], *, planned: bool
) -> dict[str, Any]:
    """Return a record for a batch; every record that it refers to must be available by then."""
    record = draft.model_dump(mode="json", exclude_none=True, exclude={"state", "reported_at"})
    if record["code"].startswith("seal."):
        record["code"] = f"{name}.{record['code']}"  # several scenarios may seal the same road
    if planned and kind.is_device:
        record["lifecycle"] = "planned"
    for column, target in kind.references.items():
        if planned and record.get(column) not in available[target]:
            record.pop(column, None)  # for example a new road, which is built with the work
    return record
