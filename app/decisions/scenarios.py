"""Scenarios: imagined changes kept under a name, their result, their comparison, their plan."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.analysis.planning.diff import build_diff
from app.analysis.planning.overlay import RecordChanges
from app.analysis.planning.what_if import WhatIfQuery, apply_changes, load_what_if_query, parse_overlay
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService, DisconnectWaiter
from app.db.engine import Database, WriteContext
from app.decisions import queries as decision_queries
from app.errors import Invalid, Issue, NotFound
from app.records import service as record_service
from app.records.drafts import Draft
from app.records.kinds import BUILDING, CAMERA, CHECKPOINT, CONTROL_POINT, ROAD, Kind
from app.records.payloads import Precondition
from app.records.service import Written
from app.rings import queries as ring_queries

_FIRST: Final = (CONTROL_POINT, ROAD, BUILDING, CHECKPOINT, CAMERA)
"""What is written before what points to it."""


async def get(connection: AsyncConnection, jurisdiction: str, name: str, who: Principal) -> tuple[int, str]:
    """Return version and JSON of a scenario.

    Raises
    ------
    NotFound
        when there is none of this name in the caller's scope.
    """
    who.need_in("analyst", [jurisdiction])
    found = await decision_queries.select_scenario(connection, _code(jurisdiction, name))
    if found is None:
        raise NotFound("scenario", name)
    return found


async def listed(
    connection: AsyncConnection, jurisdiction: str, who: Principal, *, after: str | None, limit: int
) -> tuple[list[str], str | None]:
    """Return the scenarios of a jurisdiction, and after which name the next page starts.

    Raises
    ------
    NotFound
        when there is no such jurisdiction in the caller's scope.
    """
    who.need_in("analyst", [jurisdiction])
    if await ring_queries.territory(connection, jurisdiction) is None:
        raise NotFound("jurisdiction", jurisdiction)
    rows = await decision_queries.page(connection, jurisdiction, after=after, limit=limit + 1)
    shown = rows[:limit]
    return [body for _, body in shown], shown[-1][0] if len(rows) > limit else None


async def history(
    connection: AsyncConnection,
    jurisdiction: str,
    name: str,
    who: Principal,
    *,
    before: int | None,
    limit: int,
) -> tuple[list[str], int | None]:
    """Return the changes of a scenario, newest first.

    Raises
    ------
    NotFound
        when there never was one of this name.
    """
    who.need_in("analyst", [jurisdiction])
    return await record_service.page(
        connection, "scenario", _code(jurisdiction, name), scope=[jurisdiction], before=before,
        limit=limit, known_as=("scenario", name),
    )  # fmt: skip


async def put(
    database: Database,
    answers: AnalysisService,
    jurisdiction: str,
    name: str,
    payload: object,
    who: Principal,
    precondition: Precondition,
    context: WriteContext,
) -> tuple[Written, str]:
    """Keep changes under a name, provided they can be imagined now.

    Raises
    ------
    Invalid
        with every fault of the changes, each with its place.
    """
    who.need_in("editor", [jurisdiction])
    title, changes = _read(payload)
    base = await answers.load_analysis(jurisdiction, who)
    question = await load_what_if_query(database, jurisdiction, parse_overlay({"changes": changes}))
    await answers.run_in_thread(partial(apply_changes, base, question))
    code = _code(jurisdiction, name)
    row = {
        "code": code, "jurisdiction": jurisdiction, "name": name, "title": title,
        "author": who.name, "changes": changes,
    }  # fmt: skip
    async with database.writing(context) as connection:
        present = await decision_queries.lock_decision(connection, "scenario", code)
        precondition.check(present)
        version = await decision_queries.save_scenario(connection, row)
        _, body = await get(connection, jurisdiction, name, who)
    return Written(code, version, created=present is None), body


def _read(payload: object) -> tuple[str | None, list[Any]]:
    """Return title and changes of a payload, the changes as they were sent."""
    if not isinstance(payload, Mapping):
        message = "a scenario is an object with a title and changes"
        raise Invalid(message.capitalize() + ".", issues=(Issue("", "object-type", message),))
    known = {"changes": payload.get("changes")}
    unknown = payload.keys() - {"title", "changes"}
    parse_overlay({**known, **{name: payload[name] for name in unknown}})
    title = payload.get("title")
    if title is not None and not (isinstance(title, str) and 0 < len(title) <= 500 and title.isprintable()):
        message = "a title is one line of up to 500 characters"
        raise Invalid(f"The scenario is not valid: {message}.", issues=(Issue("/title", "title", message),))
    return title, payload["changes"]


async def remove(
    database: Database,
    jurisdiction: str,
    name: str,
    who: Principal,
    precondition: Precondition,
    context: WriteContext,
) -> None:
    """Remove a scenario; its history stays.

    Raises
    ------
    NotFound
        when there is none of this name.
    """
    who.need_in("editor", [jurisdiction])
    code = _code(jurisdiction, name)
    async with database.writing(context) as connection:
        present = await decision_queries.lock_decision(connection, "scenario", code)
        precondition.check(present)
        if present is None:
            raise NotFound("scenario", name)
        await decision_queries.remove_decision(connection, "scenario", code)


async def result(
    database: Database,
    answers: AnalysisService,
    jurisdiction: str,
    name: str,
    against: str | None,
    who: Principal,
    gone: DisconnectWaiter | None = None,
) -> bytes:
    """Return what a scenario would change, from now or from another scenario.

    Kept like every answer, until a record, a state or one of the scenarios changes.

    Raises
    ------
    NotFound
        when there is no such scenario.
    Invalid
        when it cannot be imagined any more, since records have changed.
    """
    who.need_in("analyst", [jurisdiction])
    mine = await _kept(database, jurisdiction, name, who)
    other = None if against is None else await _kept(database, jurisdiction, against, who)
    question = await load_what_if_query(database, jurisdiction, parse_overlay(mine.payload))
    beside = None if other is None else await load_what_if_query(database, jurisdiction, parse_overlay(other.payload))
    named = {
        "scenario": {"name": name, "version": mine.version},
        "against": None if other is None else {"name": against, "version": other.version},
    }
    make = partial(_compared, named=named, question=question, beside=beside)
    return await answers.load_response(jurisdiction, who, f"scenario {named}", make, gone)


def _compared(
    base: Analysis, *, named: dict[str, Any], question: WhatIfQuery, beside: WhatIfQuery | None
) -> dict[str, Any]:
    after, changes = apply_changes(base, question)
    before = base if beside is None else apply_changes(base, beside)[0]
    return named | build_diff(before, after, applied=changes.to_document())


class _Kept:
    """A scenario as it is kept."""

    def __init__(self, version: int, body: str) -> None:
        self.version = version
        self.payload = {"changes": orjson.loads(body)["changes"]}


async def _kept(database: Database, jurisdiction: str, name: str, who: Principal) -> _Kept:
    async with database.reading() as connection:
        return _Kept(*await get(connection, jurisdiction, name, who))


async def planned(
    database: Database, answers: AnalysisService, jurisdiction: str, name: str, who: Principal
) -> dict[str, Any]:
    """Return a scenario as batches of records.

    Raises
    ------
    NotFound
        when there is no such scenario.
    Invalid
        when it cannot be imagined any more, since records have changed.
    """
    who.need_in("editor", [jurisdiction])
    mine = await _kept(database, jurisdiction, name, who)
    base = await answers.load_analysis(jurisdiction, who)
    overlay = parse_overlay(mine.payload)
    question = await load_what_if_query(database, jurisdiction, overlay, reveal=True)
    _, changes = await answers.run_in_thread(partial(apply_changes, base, question))
    return {
        "scenario": {"name": name, "version": mine.version},
        "planned": _steps(base, _only_new(base, changes.records), name, planned=True),
        "carried_out": _steps(base, changes.records, name, planned=False),
        "left_out": sum(change.state is not None or change.fail is not None for change in overlay.changes),
    }


def _only_new(base: Analysis, edits: RecordChanges) -> RecordChanges:
    """Return what can be registered before the work is done: new devices and places."""
    told = RecordChanges()
    for kind in (CONTROL_POINT, CHECKPOINT, CAMERA):
        there = set(base.snapshot.get_codes(kind.name))
        for code, draft in edits.drafts.get(kind.name, {}).items():
            if code not in there:
                told.add_draft(kind.name, code, draft, "")
    return told


def _steps(base: Analysis, edits: RecordChanges, name: str, *, planned: bool) -> list[dict[str, Any]]:
    """Return batches: what others point to is written first and removed last."""
    there = {kind.name: set(base.snapshot.get_codes(kind.name)) for kind in _FIRST}
    written = {kind: there[kind] | edits.drafts.get(kind, {}).keys() for kind in there}
    steps = []
    for kind in _FIRST:
        drafts = edits.drafts.get(kind.name, {})
        items = [{"upsert": _record(kind, draft, name, written, planned=planned)} for draft in drafts.values()]
        if items:
            steps.append({"kind": kind.plural, "items": items})
    for kind in reversed(_FIRST):
        codes = sorted(edits.removed.get(kind.name, set()) & there[kind.name])
        if codes:
            steps.append({"kind": kind.plural, "items": [{"delete": code} for code in codes]})
    return steps


def _record(kind: Kind, draft: Draft, name: str, written: Mapping[str, set[str]], *, planned: bool) -> dict[str, Any]:
    """Return a record as a batch takes it; what it points to must be there by then."""
    record = draft.model_dump(mode="json", exclude_none=True, exclude={"state", "reported_at"})
    if record["code"].startswith("seal."):
        record["code"] = f"{name}.{record['code']}"
    if planned and kind.device:
        record["lifecycle"] = "planned"
    for column, target in kind.references.items():
        if planned and record.get(column) not in written[target]:
            record.pop(column, None)  # a new road, say, which is built with the rest
    return record


def _code(jurisdiction: str, name: str) -> str:
    return f"{jurisdiction}/{name}"
