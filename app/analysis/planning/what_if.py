"""What-if: the analysis of a snapshot with an overlay, returned as a diff. The registry stays as it is.

Assumed changes are validated like real ones and computed by the same engine, so the result is what the summary would
show after making them; tests make them and compare.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import orjson
import shapely
from pydantic import ValidationError

from app.access.roles import Principal
from app.analysis import queries as analysis_queries
from app.analysis.cordon.virtual_checkpoints import build_crossing_checkpoints, build_road_checkpoints
from app.analysis.crossings.crossing_guards import CrossingGuards, compute_guards
from app.analysis.crossings.road_network import TRAVEL_DIRECTIONS
from app.analysis.planning.diff import build_diff
from app.analysis.planning.overlay import (
    MAX_CHANGES,
    OVERLAY,
    Failing,
    ImaginedChange,
    Overlay,
    RecordChanges,
    Sealing,
    apply_records,
    apply_states,
    find_broken_references,
)
from app.analysis.results import Analysis, compute_analysis
from app.analysis.service import AnalysisService, DisconnectWaiter
from app.db.engine import Database
from app.errors import Invalid, Issue, TooLarge, build_invalid, to_issues
from app.geo.arrays import Bools
from app.messages import Message
from app.records import payloads, ring_membership, writing
from app.records.drafts import Draft
from app.records.kinds import BY_NAME, CAMERA, CHECKPOINT, DEVICES, Kind
from app.records.ring_membership import JurisdictionRings

_INVALID_CHANGES: Final = Message("The changes are not valid")


@dataclass(frozen=True)
class WhatIfQuery:
    """An overlay, and everything from the database that it needs."""

    jurisdiction: str
    overlay: Overlay
    territory: JurisdictionRings
    current: Mapping[tuple[str, str], str]
    """JSON of the records that are patched, by kind and code."""
    matches: Mapping[int, Mapping[str, Mapping[str, list[str]]]]
    """Codes of the devices that fail by unit or model, by index of the change, filter and kind."""


@dataclass
class AppliedChanges:
    """What the changes do."""

    records: RecordChanges = field(default_factory=RecordChanges)
    sealed: int = 0
    states: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    failed_nothing: list[dict[str, Any]] = field(default_factory=list)

    def to_document(self) -> dict[str, Any]:
        """Return the numbers of changes for the response."""
        upserted = {kind: len(drafts) for kind, drafts in self.records.drafts.items()}
        if self.sealed:
            upserted["checkpoint"] -= self.sealed
        return {
            "upserted": {kind: count for kind, count in upserted.items() if count},
            "deleted": {kind: len(codes) for kind, codes in self.records.removed.items() if codes},
            "sealed": self.sealed,
            "states": len(self.states),
            "failed": dict(Counter(kind for kind, _ in self.failed)),
            "failed_nothing": self.failed_nothing,
        }


def parse_overlay(payload: object) -> Overlay:
    """Return the overlay of a payload.

    Raises
    ------
    TooLarge
        if it has more changes than the limit.
    Invalid
        with every issue of the payload.
    """
    changes = payload.get("changes") if isinstance(payload, Mapping) else None
    if isinstance(changes, list) and len(changes) > MAX_CHANGES:
        detail = Message(
            "The overlay has {count:,} changes. Send at most {limit:,}.", count=len(changes), limit=MAX_CHANGES
        )
        raise TooLarge(detail, MAX_CHANGES)
    try:
        return OVERLAY.validate_python(payload)
    except ValidationError as error:
        raise build_invalid(_INVALID_CHANGES, to_issues(error)) from error


def _raise_issues(issues: Sequence[Issue]) -> None:
    if issues:
        raise build_invalid(_INVALID_CHANGES, issues)


async def load_what_if_query(
    database: Database, jurisdiction: str, overlay: Overlay, *, reveal: bool = False
) -> WhatIfQuery:
    """Return an overlay with what it needs from the database; with `reveal` also addresses of devices.

    Raises
    ------
    NotFound
        if the jurisdiction does not exist.
    """
    patched: dict[str, list[str]] = {}
    matches: dict[int, dict[str, dict[str, list[str]]]] = {}
    for index, change in enumerate(overlay.changes):
        if change.patch is not None and isinstance(change.patch.get("code"), str):
            patched.setdefault(str(change.kind), []).append(change.patch["code"])
        for name, value in {} if change.fail is None else _list_device_filters(change.fail).items():
            matches.setdefault(index, {})[name] = {
                kind.name: await analysis_queries.fetch_device_codes(database.fetch, kind, jurisdiction, {name: value})
                for kind in DEVICES
            }
    current: dict[tuple[str, str], str] = {}
    for name, codes in patched.items():
        documents = await analysis_queries.fetch_documents(
            database.fetch, BY_NAME[name], jurisdiction, codes, reveal=reveal
        )
        current |= {(name, code): document for code, document in documents.items()}
    async with database.open_connection() as connection:
        return WhatIfQuery(
            jurisdiction,
            overlay,
            await ring_membership.load_jurisdiction_rings(connection, jurisdiction),
            current,
            matches,
        )


def _list_device_filters(failing: Failing) -> dict[str, str]:
    filters = {name: getattr(failing, name) for name in analysis_queries.DEVICE_FILTERS}
    return {name: value for name, value in filters.items() if value is not None}


async def run_what_if(
    database: Database,
    service: AnalysisService,
    jurisdiction: str,
    payload: object,
    principal: Principal,
    disconnect: DisconnectWaiter | None = None,
) -> dict[str, Any]:
    """Return the diff that an overlay makes.

    Raises
    ------
    Invalid
        with every issue of the changes, each with its JSON Pointer.
    """
    principal.require_role_in("analyst", [jurisdiction])
    overlay = parse_overlay(payload)
    base = await service.load_analysis(jurisdiction, principal, disconnect)
    query = await load_what_if_query(database, jurisdiction, overlay)
    return await service.run_in_thread(partial(_build_what_if, base, query))


def _build_what_if(base: Analysis, query: WhatIfQuery) -> dict[str, Any]:
    after, applied = apply_changes(base, query)
    return build_diff(base, after, applied=applied.to_document())


def apply_changes(base: Analysis, query: WhatIfQuery) -> tuple[Analysis, AppliedChanges]:
    """Return the analysis with all changes of an overlay, and what they do.

    Raises
    ------
    Invalid
        with every issue of the changes, each with its JSON Pointer.
    """
    applied, issues = AppliedChanges(), list[Issue]()
    changes = list(enumerate(query.overlay.changes))
    for index, change in changes:
        issues += change_record(base, query, index, change, applied.records)
    _raise_issues(issues)
    # Crossings to seal may exist only after the changes of the records.
    with_records = compute_analysis(apply_records(base.snapshot, applied.records, query.territory), base)
    for index, change in changes:
        if change.seal is not None:
            issues += seal_target(with_records, query.jurisdiction, index, change.seal, applied)
    _raise_issues(issues)
    snapshot = apply_records(base.snapshot, applied.records, query.territory)
    _raise_issues(find_broken_references(snapshot, applied.records))
    analysis = compute_analysis(snapshot, base) if applied.sealed else with_records
    for index, change in changes:
        if change.state is not None:
            issues += _set_state(analysis, index, change, applied)
        if change.fail is not None:
            issues += _fail_devices(analysis, query, index, change.fail, applied)
    _raise_issues(issues)
    with_states = apply_states(analysis.snapshot, {**applied.states, **applied.failed})
    return compute_analysis(with_states, analysis), applied


def change_record(
    base: Analysis, query: WhatIfQuery, index: int, change: ImaginedChange, records: RecordChanges
) -> Iterator[Issue]:
    """Add one change of a record to `records`, or yield its issues."""
    if change.kind is None or change.state is not None:
        return
    kind, pointer = BY_NAME[change.kind], f"/changes/{index}"
    if change.delete is not None:
        pointer += "/delete"
        if records.has_record(base.snapshot, kind.name, change.delete):
            records.add_removal(kind.name, change.delete, pointer)
        else:
            yield Issue(pointer, "not-found", _format_missing(kind, change.delete))
        return
    pointer += "/upsert" if change.upsert is not None else "/patch"
    try:
        if change.upsert is not None:
            draft = _parse_record(kind, query, change.upsert)
        else:
            draft = patch_record(kind, query, records, change.patch or {})
    except Invalid as error:
        yield from (issue.with_prefix(pointer) for issue in error.issues)
        return
    misplaced = ring_membership.find_location_issue(query.territory, getattr(draft, "geometry"))  # noqa: B009
    if writing.get_owner(kind, draft) != query.jurisdiction:
        message = Message("only records of {jurisdiction} can be changed here", jurisdiction=query.jurisdiction)
        yield Issue(f"{pointer}/jurisdiction", "jurisdiction-fixed", message)
    elif misplaced is not None:
        yield misplaced.with_prefix(pointer)
    else:
        records.add_draft(kind.name, writing.get_code(draft), draft, pointer)


def _format_missing(kind: Kind, code: str) -> Message:
    return Message("there is no {kind} {code!r}", kind=kind.title, code=code)


def _parse_record(kind: Kind, query: WhatIfQuery, record: Mapping[str, Any]) -> Draft:
    if "jurisdiction" not in record and record.get("type") != "Feature":
        record = {**record, "jurisdiction": query.jurisdiction}
    return payloads.parse_draft(kind, record)


def patch_record(kind: Kind, query: WhatIfQuery, records: RecordChanges, patch: Mapping[str, Any]) -> Draft:
    """Return a record after a merge patch, on top of earlier changes of the same overlay."""
    code = patch.get("code")
    if not isinstance(code, str):
        message = Message("a patch needs the code of its record")
        raise Invalid(message, issues=(Issue("/code", "missing", message),))
    earlier = records.drafts.get(kind.name, {}).get(code)
    if earlier is not None:
        current = earlier.model_dump(mode="json", exclude_none=True)
    elif (kind.name, code) in query.current and code not in records.removed.get(kind.name, ()):
        current = payloads.drop_server_fields(orjson.loads(query.current[kind.name, code]), kind)
    else:
        message = _format_missing(kind, code)
        raise Invalid(message, issues=(Issue("/code", "not-found", message),))
    return payloads.parse_draft(kind, payloads.apply_merge_patch(current, patch), code=code)


def seal_target(
    analysis: Analysis, jurisdiction: str, index: int, sealing: Sealing, applied: AppliedChanges
) -> Iterator[Issue]:
    """Add checkpoints that guard a crossing or a road, or yield an issue."""
    pointer = f"/changes/{index}/seal"
    guards = compute_guards(analysis)
    documents = [] if guards is None else _build_checkpoints(guards, sealing)
    if not documents:
        member = "crossing" if sealing.crossing is not None else "road"
        message = Message("there is no {kind} with this id, or no traffic to guard on it", kind=member)
        yield Issue(f"{pointer}/{member}", "not-found", message)
        return
    for number, document in enumerate(documents):
        code = f"seal.{index}.{number}"
        record = {**document, "code": code, "jurisdiction": jurisdiction, "state": "online"}
        applied.records.add_draft("checkpoint", code, payloads.parse_draft(CHECKPOINT, record), pointer)
        applied.sealed += 1


def _build_checkpoints(guards: CrossingGuards, sealing: Sealing) -> list[dict[str, Any]]:
    if sealing.road is not None:
        return build_road_checkpoints(guards.network, sealing.road)
    return build_crossing_checkpoints(guards, str(sealing.crossing), sealing.directions or TRAVEL_DIRECTIONS)


def _set_state(analysis: Analysis, index: int, change: ImaginedChange, applied: AppliedChanges) -> Iterator[Issue]:
    kind, code = BY_NAME[str(change.kind)], str(change.code)
    if code in analysis.snapshot.get_states(kind.name).row_of:
        applied.states[kind.name, code] = str(change.state)
    else:
        yield Issue(f"/changes/{index}/code", "not-found", _format_missing(kind, code))


def _fail_devices(
    analysis: Analysis, query: WhatIfQuery, index: int, failing: Failing, applied: AppliedChanges
) -> Iterator[Issue]:
    issues = list(find_unknown(analysis, index, failing))
    if issues:
        yield from issues
        return
    fits_filter = match_filters(analysis, query, index, failing, applied.records)
    fits_all = np.logical_and.reduce(list(fits_filter.values()))
    for row in np.flatnonzero(fits_all).tolist():
        applied.failed[analysis.devices.kind[row], analysis.devices.code[row]] = "fault"
    if not fits_all.any():
        without_device = [name for name, fits in fits_filter.items() if not fits.any()]
        applied.failed_nothing.append({"change": index, "filters": without_device or list(fits_filter)})


def find_unknown(analysis: Analysis, index: int, failing: Failing) -> Iterator[Issue]:
    """Yield an issue for each device or road that does not exist."""
    codes = {*analysis.devices.code}
    for number, code in enumerate(failing.codes or ()):
        if code not in codes:
            message = Message("there is no device {code!r}", code=code)
            yield Issue(f"/changes/{index}/fail/codes/{number}", "not-found", message)
    if failing.road is not None and find_devices_on_road(analysis, failing.road) is None:
        message = Message("there is no road {code!r}", code=failing.road)
        yield Issue(f"/changes/{index}/fail/road", "not-found", message)


def match_filters(
    analysis: Analysis, query: WhatIfQuery, index: int, failing: Failing, records: RecordChanges
) -> dict[str, Bools]:
    """Return for each filter which devices fit it."""
    devices = analysis.devices
    fits: dict[str, Bools] = {}
    if failing.kind is not None:
        fits["kind"] = np.array([kind == failing.kind for kind in devices.kind], np.bool_)
    if failing.codes is not None:
        fits["codes"] = np.isin(np.array(devices.code, dtype=str), failing.codes)
    if failing.area is not None:
        shapely.prepare(failing.area)
        fits["area"] = np.asarray(shapely.intersects_xy(failing.area, *devices.lonlat.T))
    if failing.failure_group is not None:
        fits["failure_group"] = find_failure_group(analysis, failing.failure_group)
    if failing.road is not None and (on_road := find_devices_on_road(analysis, failing.road)) is not None:
        fits["road"] = on_road
    for name, value in _list_device_filters(failing).items():
        fits[name] = match_field(analysis, query.matches[index][name], name, value, records)
    return fits


def find_failure_group(analysis: Analysis, name: str) -> Bools:
    """Return which devices are in a failure group, also those that have it from their checkpoint."""
    snapshot = analysis.snapshot
    registered = np.array([*snapshot.cameras["failure_group"], *snapshot.checkpoints["failure_group"]], dtype=object)
    return np.isin(analysis.devices.group, analysis.devices.group[registered == name])


def match_field(
    analysis: Analysis, codes: Mapping[str, list[str]], name: str, value: str, records: RecordChanges
) -> Bools:
    """Return which devices have a value in a field; drafts of the overlay replace what is registered."""
    fits: list[bool] = []
    for kind in (CAMERA, CHECKPOINT):
        registered, drafts = set(codes[kind.name]), records.drafts.get(kind.name, {})
        fits += [
            getattr(drafts[code], name) == value if code in drafts else code in registered
            for code in analysis.snapshot.get_codes(kind.name)
        ]
    return np.array(fits, np.bool_)


def find_devices_on_road(analysis: Analysis, road: str) -> Bools | None:
    """Return which vehicle devices are on a road, given by code or by a name of its group; None if unknown."""
    guards = compute_guards(analysis)
    if guards is None:
        return None
    network = guards.network
    groups = {
        int(group)
        for group, code in zip(network.group_of_road, network.roads.source["code"], strict=True)
        if code == road
    }
    groups |= {group for group in range(len(network.roads.label)) if road in network.collect_names(group)}
    return np.isin(guards.stands.group, list(groups)) if groups else None
