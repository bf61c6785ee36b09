"""What if: the analysis over imagined changes, answered as a difference. The registry is not touched.

What is imagined is judged by the rules a real write is judged by, and computed by the same engine; so
an answer is what the summary would say after doing it (tested by doing it).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import orjson
import shapely
from pydantic import ValidationError

from app.access.roles import Principal
from app.analysis import queries as analysis_queries
from app.analysis.cordon import virtual_checkpoints
from app.analysis.crossings import crossing_guards, ring_crossings
from app.analysis.engine_input import Computed, compute
from app.analysis.planning import overlay
from app.analysis.planning.difference import difference
from app.analysis.planning.overlay import Edits
from app.analysis.planning.overlay_schemas import MOST_CHANGES, OVERLAY, Failing, ImaginedChange, Overlay, Sealing
from app.analysis.service import Answers
from app.analysis.single_flight import Gone
from app.analysis.snapshot import Loaded
from app.db.engine import Database
from app.errors import Invalid, Issue, TooLarge
from app.geo.arrays import Bools
from app.records import payloads, writing
from app.records.drafts import Draft
from app.records.kinds import BY_NAME, CAMERA, CHECKPOINT, DEVICES, Kind
from app.rings import territory
from app.rings.territory import Territory


@dataclass(frozen=True)
class Question:
    """Imagined changes with everything that has to be looked up for them."""

    jurisdiction: str
    overlay: Overlay
    where: Territory
    current: Mapping[tuple[str, str], str]
    """JSON of the records that are patched, by kind and code."""
    chosen: Mapping[int, Mapping[str, Mapping[str, list[str]]]]
    """For failures by unit or make: codes of the devices, by place of the change, filter and kind."""


@dataclass
class Applied:
    """What the changes amount to."""

    edits: Edits = field(default_factory=Edits)
    sealed: int = 0
    states: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    failed_nothing: list[dict[str, Any]] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return it as it travels."""
        upserted = {kind: len(of) for kind, of in self.edits.drafts.items() if of}
        if self.sealed:
            upserted["checkpoint"] -= self.sealed
        failing = Counter(kind for kind, _ in self.failed)
        return {
            "upserted": {kind: number for kind, number in upserted.items() if number},
            "deleted": {kind: len(of) for kind, of in self.edits.gone.items() if of},
            "sealed": self.sealed,
            "states": len(self.states),
            "failed": dict(failing),
            "failed_nothing": self.failed_nothing,
        }


def read(payload: object) -> Overlay:
    """Return the overlay of a payload.

    Raises
    ------
    TooLarge
        when it has more changes than are taken.
    Invalid
        with every fault of the payload.
    """
    changes = payload.get("changes") if isinstance(payload, Mapping) else None
    if isinstance(changes, list) and len(changes) > MOST_CHANGES:
        detail = f"At most {MOST_CHANGES:,} changes are imagined at once, not {len(changes):,}."
        raise TooLarge(detail, MOST_CHANGES)
    try:
        return OVERLAY.validate_python(payload)
    except ValidationError as error:
        faults = payloads.faults_of(error)
        detail = f"The changes are not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error


async def asked(database: Database, jurisdiction: str, changes: Overlay, *, reveal: bool = False) -> Question:
    """Return the question with what has to be looked up for it.

    Raises
    ------
    NotFound
        when there is no such jurisdiction.
    """
    patched: dict[str, list[str]] = {}
    for change in changes.changes:
        if change.patch is not None and isinstance(change.patch.get("code"), str):
            patched.setdefault(str(change.kind), []).append(change.patch["code"])
    current: dict[tuple[str, str], str] = {}
    for name, codes in patched.items():
        found = await analysis_queries.documents(database.fetch, BY_NAME[name], jurisdiction, codes, reveal=reveal)
        current |= {(name, code): body for code, body in found.items()}
    chosen: dict[int, dict[str, dict[str, list[str]]]] = {}
    for place, change in enumerate(changes.changes):
        wanted = {} if change.fail is None else _chosen_by(change.fail)
        for name, value in wanted.items():
            chosen.setdefault(place, {})[name] = {
                kind.name: await analysis_queries.devices(database.fetch, kind, jurisdiction, {name: value})
                for kind in DEVICES
            }
    async with database.reading() as connection:
        where = await territory.of(connection, jurisdiction)
    return Question(jurisdiction, changes, where, current, chosen)


def _chosen_by(failing: Failing) -> dict[str, str]:
    told = {name: getattr(failing, name) for name in analysis_queries.FILTERS}
    return {name: value for name, value in told.items() if value is not None}


async def answer(
    database: Database,
    answers: Answers,
    jurisdiction: str,
    payload: object,
    who: Principal,
    gone: Gone | None = None,
) -> dict[str, Any]:
    """Return what would change.

    Raises
    ------
    Invalid
        with every fault of the changes, each with its place.
    """
    who.need_in("analyst", [jurisdiction])
    changes = read(payload)
    base = await answers.computed(jurisdiction, who, gone)
    question = await asked(database, jurisdiction, changes)
    told: dict[str, Any] = await answers.aside(partial(_answer, base, question))
    return told


def _answer(base: Computed, question: Question) -> dict[str, Any]:
    after, changes = imagined(base, question)
    return difference(base, after, applied=changes.told())


def imagined(base: Computed, question: Question) -> tuple[Computed, Applied]:
    """Return the state with all changes in it, and what they amount to.

    Raises
    ------
    Invalid
        with every fault of the changes, each with its place.
    """
    done, faults = Applied(), list[Issue]()
    for place, change in enumerate(question.overlay.changes):
        faults += _edit(base.loaded, question, place, change, done.edits)
    _refuse(faults)
    with_records = compute(overlay.applied(base.loaded, done.edits, question.where), base)
    for place, change in enumerate(question.overlay.changes):
        if change.seal is not None:
            faults += _seal(with_records, question.jurisdiction, place, change.seal, done)
    _refuse(faults)
    loaded = overlay.applied(base.loaded, done.edits, question.where)
    _refuse(overlay.faults(loaded, done.edits))
    present = compute(loaded, base) if done.sealed else with_records
    for place, change in enumerate(question.overlay.changes):
        if change.state is not None:
            faults += _say(present, place, change, done)
        if change.fail is not None:
            faults += _fail(present, question, place, change.fail, done)
    _refuse(faults)
    spoken = overlay.said(present.loaded, {**done.states, **done.failed})
    return compute(spoken, present), done


def _refuse(faults: Sequence[Issue]) -> None:
    if faults:
        first = faults[0]
        detail = f"The changes are not valid: {first.pointer}: {first.message}."
        raise Invalid(detail, issues=faults)


def _edit(loaded: Loaded, question: Question, place: int, change: ImaginedChange, edits: Edits) -> Iterator[Issue]:
    """Take in one change of a record, or yield what is wrong with it."""
    if change.kind is None or change.state is not None:
        return
    kind, pointer = BY_NAME[change.kind], f"/changes/{place}"
    if change.delete is not None:
        pointer += "/delete"
        if edits.has(loaded, kind.name, change.delete):
            edits.take(kind.name, change.delete, pointer)
        else:
            yield Issue(pointer, "not-found", f"there is no {kind.title} {change.delete!r}")
        return
    member = "upsert" if change.upsert is not None else "patch"
    pointer += f"/{member}"
    try:
        draft = (
            _drafted(kind, question, change.upsert)
            if change.upsert is not None
            else _patched(kind, question, edits, change.patch or {})
        )
    except Invalid as error:
        yield from (fault.with_prefix(pointer) for fault in error.issues)
        return
    code = writing.code_of(draft)
    wrong = territory.misplaced(question.where, getattr(draft, "geometry"))  # noqa: B009
    if writing.owner_of(kind, draft) != question.jurisdiction:
        message = f"only records of {question.jurisdiction} can be imagined here"
        yield Issue(f"{pointer}/jurisdiction", "jurisdiction-fixed", message)
    elif wrong is not None:
        yield wrong.with_prefix(pointer)
    else:
        edits.put(kind.name, code, draft, pointer)


def _drafted(kind: Kind, question: Question, record: Mapping[str, Any]) -> Draft:
    if "jurisdiction" not in record and record.get("type") != "Feature":
        record = {**record, "jurisdiction": question.jurisdiction}
    return payloads.draft(kind, record)


def _patched(kind: Kind, question: Question, edits: Edits, patch: Mapping[str, Any]) -> Draft:
    """Return a record after a patch, on top of what was imagined of it before."""
    code = patch.get("code")
    if not isinstance(code, str):
        message = "a patch needs the code of its record"
        raise Invalid(message, issues=(Issue("/code", "missing", message),))
    before = edits.drafts.get(kind.name, {}).get(code)
    if before is not None:
        current = before.model_dump(mode="json", exclude_none=True)
    elif (kind.name, code) in question.current and code not in edits.gone.get(kind.name, ()):
        current = payloads.patchable(orjson.loads(question.current[kind.name, code]), kind)
    else:
        message = f"there is no {kind.title} {code!r}"
        raise Invalid(message, issues=(Issue("/code", "not-found", message),))
    return payloads.draft(kind, payloads.merged(current, patch), code=code)


def _seal(found: Computed, jurisdiction: str, place: int, sealing: Sealing, done: Applied) -> Iterator[Issue]:
    """Imagine checkpoints where a place is to be guarded."""
    pointer = f"/changes/{place}/seal"
    guarded = crossing_guards.of(found)
    bodies = [] if guarded is None else virtual_checkpoints.checkpoints(guarded, sealing)
    if not bodies:
        word = "crossing" if sealing.crossing is not None else "road"
        message = f"there is no such {word} with traffic to guard"
        yield Issue(f"{pointer}/{word}", "not-found", message)
        return
    for number, body in enumerate(bodies):
        code = f"seal.{place}.{number}"
        record = {**body, "code": code, "jurisdiction": jurisdiction, "state": "online"}
        done.edits.put("checkpoint", code, payloads.draft(CHECKPOINT, record), pointer)
        done.sealed += 1


def _say(found: Computed, place: int, change: ImaginedChange, done: Applied) -> Iterator[Issue]:
    kind, code, word = str(change.kind), str(change.code), str(change.state)
    known = getattr(found.loaded, overlay.STATES[kind]).row_of
    if code not in known:
        yield Issue(f"/changes/{place}/code", "not-found", f"there is no {kind} {code!r}")
        return
    done.states[kind, code] = word


def _fail(found: Computed, question: Question, place: int, failing: Failing, done: Applied) -> Iterator[Issue]:
    wrong = list(_unknown(found, place, failing))
    if wrong:
        yield from wrong
        return
    fits = _fitting(found, question, place, failing, done.edits)
    every = np.logical_and.reduce(list(fits.values()))
    for row in np.flatnonzero(every).tolist():
        done.failed[found.devices.kind[row], found.devices.code[row]] = "fault"
    if not every.any():
        alone = [name for name, column in fits.items() if not column.any()]
        done.failed_nothing.append({"change": place, "filters": alone or list(fits)})


def _unknown(found: Computed, place: int, failing: Failing) -> Iterator[Issue]:
    """Yield what is named by its code or name and is not there."""
    known = {*found.devices.code}
    for number, code in enumerate(failing.codes or ()):
        if code not in known:
            message = f"there is no device {code!r}"
            yield Issue(f"/changes/{place}/fail/codes/{number}", "not-found", message)
    if failing.road is not None and _on_road(found, failing.road) is None:
        message = f"there is no road {failing.road!r}"
        yield Issue(f"/changes/{place}/fail/road", "not-found", message)


def _fitting(found: Computed, question: Question, place: int, failing: Failing, edits: Edits) -> dict[str, Bools]:
    """Return which devices fit each thing that is said of those that fail."""
    devices = found.devices
    fits: dict[str, Bools] = {}
    if failing.kind is not None:
        fits["kind"] = np.array([kind == failing.kind for kind in devices.kind], np.bool_)
    if failing.codes is not None:
        fits["codes"] = np.isin(np.array(devices.code, dtype=str), failing.codes)
    if failing.area is not None:
        shapely.prepare(failing.area)
        fits["area"] = np.asarray(shapely.intersects_xy(failing.area, *devices.lonlat.T))
    if failing.failure_group is not None:
        fits["failure_group"] = _in_group(found, failing.failure_group)
    if failing.road is not None and (on_road := _on_road(found, failing.road)) is not None:
        fits["road"] = on_road
    for name, value in _chosen_by(failing).items():
        chosen = question.chosen[place][name]
        fits[name] = _chosen(found, chosen, {name: value}, edits)
    return fits


def _in_group(found: Computed, name: str) -> Bools:
    """Tell which devices share the failure group of this name, said of them or of their checkpoint."""
    loaded = found.loaded
    stated = np.array([*loaded.cameras["failure_group"], *loaded.checkpoints["failure_group"]], dtype=object)
    groups = found.devices.group[stated == name]
    return np.isin(found.devices.group, groups)


def _chosen(found: Computed, chosen: Mapping[str, list[str]], wanted: Mapping[str, str], edits: Edits) -> Bools:
    """Tell which devices have the units and makes asked for, imagined ones by what is imagined."""
    fits: list[bool] = []
    for kind in (CAMERA, CHECKPOINT):
        codes = set(chosen[kind.name])
        drawn = edits.drafts.get(kind.name, {})
        for code in getattr(found.loaded, overlay.FIELDS[kind.name])["code"]:
            if code in drawn:
                told = all(getattr(drawn[code], name) == value for name, value in wanted.items())
                fits.append(told)
            else:
                fits.append(code in codes)
    return np.array(fits, np.bool_)


def _on_road(found: Computed, road: str) -> Bools | None:
    """Tell which vehicle devices stand on a road, None when there is none called so."""
    guarded = crossing_guards.of(found)
    if guarded is None:
        return None
    net = guarded.net
    rows = net.base.roads["code"]
    groups = {int(net.group_of_road[row]) for row, code in enumerate(rows) if code == road}
    groups |= {group for group in range(len(net.base.label)) if road in ring_crossings.road_names(net, group)}
    if not groups:
        return None
    on: Bools = np.isin(guarded.stands.group, list(groups))
    return on
