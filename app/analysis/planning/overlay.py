"""The overlay: assumed changes of records, and a snapshot in which they are made.

No I/O. Pydantic validates the form of a change here; the drafts of their kinds validate the records in it. A draft
becomes a row as the SQL in `app.analysis.queries.TABLES` would read it; tests compare the two for every column. A table
without changes stays the same object, so that only results that depend on changed tables are computed again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal

import numpy as np
import orjson
import shapely
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from shapely.geometry.base import BaseGeometry

from app.analysis.crossings.road_network import TravelDirection
from app.analysis.queries import TABLES, Columns
from app.analysis.snapshot import STATE_FIELDS, TABLE_FIELDS, DeviceStates, Snapshot
from app.errors import Issue, to_pydantic_error
from app.geo.arrays import Floats
from app.geo.coverage.assessment import STATE_CODES
from app.messages import Message
from app.models.fields import CodeText, Line
from app.models.vocabulary import FUNCTIONS, State
from app.records import ring_membership
from app.records.drafts import Draft
from app.records.geojson import Area
from app.records.ring_membership import JurisdictionRings

MAX_CHANGES: Final = 5_000
OverlayKind = Literal["camera", "checkpoint", "control_point", "road", "building"]
DeviceKind = Literal["camera", "checkpoint"]
NameText = Annotated[Line, Field(min_length=1)]
OVERLAY_KINDS: Final = ("control_point", "camera", "checkpoint", "road", "building")
_ACTIONS: Final = ("upsert", "patch", "delete", "state", "fail", "seal")
_STATE_COLUMNS: Final = frozenset({"state", "reported"})
"""Columns that are read with a device and kept in `DeviceStates`."""
_REFERENCES: Final = (
    ("camera", "control_point", "control_point"),
    ("camera", "checkpoint", "checkpoint"),
    ("checkpoint", "control_point", "control_point"),
    ("checkpoint", "road", "road"),
)
"""Kind, column, and the kind that the column refers to."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class Failing(_StrictModel):
    """The devices that fail: those that fit all filters. At least one filter besides `kind` is needed."""

    area: Area | None = Field(None, description="Devices inside this polygon or on its boundary.")
    road: NameText | None = Field(None, description="Vehicle devices on this road: its code, group, number or name.")
    failure_group: NameText | None = Field(None, description="Devices of this failure group.")
    kind: DeviceKind | None = Field(None, description="Only cameras, or only checkpoints.")
    codes: list[CodeText] | None = Field(None, min_length=1, max_length=10_000, description="Devices with these codes.")
    owner_unit: NameText | None = Field(None, description="Devices that this unit owns.")
    maintenance_unit: NameText | None = Field(None, description="Devices that this unit maintains.")
    manufacturer: NameText | None = Field(None, description="Devices of this manufacturer.")
    model: NameText | None = Field(None, description="Devices of this model.")

    @model_validator(mode="after")
    def _check_filters(self) -> "Failing":
        if not {name for name, value in self if value is not None} - {"kind"}:
            message = Message("state which devices fail: set at least one filter besides kind")
            raise to_pydantic_error("nothing-said", message)
        return self


class Sealing(_StrictModel):
    """Where working vehicle checkpoints are assumed: at every passage of a crossing, or on a road."""

    crossing: str | None = Field(None, pattern="^(core|urban|city)-[0-9a-f]{12}$", description="Id of a crossing.")
    road: CodeText | None = Field(None, description="Code of a road; every chain of it between junctions is guarded.")
    directions: list[TravelDirection] | None = Field(
        None, min_length=1, max_length=2, description="Directions at a crossing; both if not given."
    )

    @model_validator(mode="after")
    def _check_target(self) -> "Sealing":
        if (self.crossing is None) is (self.road is None):
            raise to_pydantic_error("one-place", Message("set either a crossing or a road"))
        if self.road is not None and self.directions is not None:
            message = Message("a road is sealed in both directions: remove directions")
            raise to_pydantic_error("direction-of-road", message, "directions")
        return self


class ImaginedChange(_StrictModel):
    """One assumed change: exactly one of upsert, patch, delete, state, fail, seal."""

    kind: OverlayKind | None = Field(None, description="Kind of record; needed with upsert, patch, delete and state.")
    upsert: dict[str, Any] | None = Field(
        None, description="A whole record as in `PUT`. A new device is online unless its state is given."
    )
    patch: dict[str, Any] | None = Field(None, description="A merge patch of an existing record, with its `code`.")
    delete: CodeText | None = Field(None, description="Code of a record to remove.")
    code: CodeText | None = Field(None, description="With state: code of the device.")
    state: State | None = Field(None, description="The state that the device reports.")
    fail: Failing | None = Field(None, description="Devices that fail.")
    seal: Sealing | None = Field(None, description="A crossing or road that is guarded.")

    @model_validator(mode="after")
    def _check_action(self) -> "ImaginedChange":
        actions = [name for name in _ACTIONS if getattr(self, name) is not None]
        if len(actions) != 1:
            raise to_pydantic_error("one-action", Message("set exactly one of {actions}", actions=", ".join(_ACTIONS)))
        needs_kind = actions[0] in ("upsert", "patch", "delete", "state")
        if needs_kind is not (self.kind is not None):
            message = (
                Message("{action} needs a kind", action=actions[0])
                if needs_kind
                else Message("{action} has no kind: remove it", action=actions[0])
            )
            raise to_pydantic_error("kind-of-change", message, "kind")
        if (self.code is not None) is not (actions[0] == "state"):
            raise to_pydantic_error("code-of-change", Message("state needs a code, other changes have none"))
        if actions[0] == "state" and self.kind not in STATE_FIELDS:
            message = Message("only a camera or a checkpoint has a state")
            raise to_pydantic_error("kind-of-change", message, "kind")
        return self


class Overlay(_StrictModel):
    """Assumed changes; records change first in the given order, then seals, then states, then failures."""

    changes: Annotated[list[ImaginedChange], Field(max_length=MAX_CHANGES)] = Field(
        description=f"At most {MAX_CHANGES:,}."
    )


OVERLAY: Final = TypeAdapter(Overlay)


@dataclass
class RecordChanges:
    """Changed and removed records by kind and code; the last change of a code counts."""

    drafts: dict[str, dict[str, Draft]] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)
    pointers: dict[tuple[str, str], str] = field(default_factory=dict)
    """JSON Pointer to the change of each record."""

    def add_draft(self, kind: str, code: str, draft: Draft, pointer: str) -> None:
        """Add a new or changed record."""
        self.drafts.setdefault(kind, {})[code] = draft
        self.removed.setdefault(kind, set()).discard(code)
        self.pointers[kind, code] = pointer

    def add_removal(self, kind: str, code: str, pointer: str) -> None:
        """Remove a record."""
        self.drafts.setdefault(kind, {}).pop(code, None)
        self.removed.setdefault(kind, set()).add(code)
        self.pointers[kind, code] = pointer

    def has_record(self, snapshot: Snapshot, kind: str, code: str) -> bool:
        """Return whether a record exists after the changes so far."""
        if code in self.drafts.get(kind, {}):
            return True
        return code not in self.removed.get(kind, ()) and code in snapshot.get_codes(kind)


def apply_records(snapshot: Snapshot, changes: RecordChanges, jurisdiction: JurisdictionRings) -> Snapshot:
    """Return the snapshot with changed records.

    A new device has the state of its draft, else it is online. An existing device keeps its state unless the draft
    has one.
    """
    fields: dict[str, Any] = {}
    for kind in OVERLAY_KINDS:
        drafts, removed = changes.drafts.get(kind, {}), changes.removed.get(kind, set())
        if not drafts and not removed:
            continue
        zones = _find_zones(kind, drafts, jurisdiction)
        table, origin = merge_rows(kind, snapshot.get_table(kind), drafts, removed, zones)
        fields[TABLE_FIELDS[kind]] = table
        if kind in STATE_FIELDS:
            fields[STATE_FIELDS[kind]] = _merge_states(snapshot, kind, table["code"], origin, drafts)
    return replace(snapshot, **fields, database_snapshot="") if fields else snapshot


def _find_zones(kind: str, drafts: Mapping[str, Draft], jurisdiction: JurisdictionRings) -> dict[str, str]:
    if "zone" not in TABLES[kind] or not drafts:
        return {}
    memberships = ring_membership.compute_memberships(jurisdiction, [_get_geometry(draft) for draft in drafts.values()])
    return {code: membership["zone"] or "" for code, membership in zip(drafts, memberships, strict=True)}


def merge_rows(
    kind: str, table: Columns, drafts: Mapping[str, Draft], removed: set[str], zones: Mapping[str, str]
) -> tuple[dict[str, list[Any]], list[int]]:
    """Return a table with rows replaced, added and removed, and the earlier row of each (-1: new)."""
    row_of: dict[str, int] = {code: row for row, code in enumerate(table.get("code", ()))}
    codes = sorted((row_of.keys() - removed) | drafts.keys())
    origin = [row_of.get(code, -1) for code in codes]
    changed = [row for row, code in enumerate(codes) if code in drafts]
    merged: dict[str, list[Any]] = {}
    for name in TABLES[kind].keys() - _STATE_COLUMNS:
        column = table.get(name, ())
        merged[name] = [column[row] if row >= 0 else None for row in origin]
        for row in changed:
            merged[name][row] = compute_value(kind, name, drafts[codes[row]], zones)
    return merged, origin


def _merge_states(
    snapshot: Snapshot, kind: str, codes: Sequence[str], origin: Sequence[int], drafts: Mapping[str, Draft]
) -> DeviceStates:
    earlier, earlier_row = snapshot.get_states(kind), np.array(origin, np.int64)
    exists = earlier_row >= 0
    states = np.full(len(origin), STATE_CODES["online"], np.uint8)
    reported = np.full(len(origin), snapshot.taken_at.timestamp())
    states[exists] = earlier.state[earlier_row[exists]]
    reported[exists] = earlier.reported[earlier_row[exists]]
    for row, code in enumerate(codes):
        state = getattr(drafts[code], "state", None) if code in drafts else None
        if state is not None:
            reported_at = getattr(drafts[code], "reported_at", None) or snapshot.taken_at
            states[row], reported[row] = STATE_CODES[state], reported_at.timestamp()
    return DeviceStates(states, reported, {code: row for row, code in enumerate(codes)})


def apply_states(snapshot: Snapshot, states: Mapping[tuple[str, str], str]) -> Snapshot:
    """Return the snapshot after devices have reported states, by kind and code."""
    fields: dict[str, Any] = {}
    seconds = snapshot.taken_at.timestamp()
    for kind, name in STATE_FIELDS.items():
        reports = [(code, state, seconds) for (device_kind, code), state in states.items() if device_kind == kind]
        if reports:
            fields[name] = snapshot.get_states(kind).with_reports(reports)
    return replace(snapshot, **fields, database_snapshot="") if fields else snapshot


def find_broken_references(snapshot: Snapshot, changes: RecordChanges) -> list[Issue]:
    """Return references of changed records to missing records, and references to removed records."""
    issues = []
    for kind, column, target in _REFERENCES:
        if kind not in changes.drafts and target not in changes.removed:
            continue
        table, target_codes = snapshot.get_table(kind), set(snapshot.get_codes(target))
        for code, reference in zip(table.get("code", ()), table.get(column, ()), strict=True):
            if reference is None or reference in target_codes:
                continue
            if code in changes.drafts.get(kind, {}):
                message = Message("there is no {kind} {code!r}", kind=target.replace("_", " "), code=reference)
                issues.append(Issue(f"{changes.pointers[kind, code]}/{column}", "unknown-reference", message))
            elif reference in changes.removed.get(target, ()):
                message = Message("{kind} {code} still refers to it", kind=kind, code=code)
                issues.append(Issue(changes.pointers[target, reference], "still-referenced", message))
    return issues


def _get_geometry(draft: Draft) -> BaseGeometry:
    geometry: BaseGeometry = getattr(draft, "geometry")  # noqa: B009  # every kind of an overlay has one
    return geometry


def compute_value(kind: str, name: str, draft: Draft, zones: Mapping[str, str]) -> Any:
    """Return one column of the row that a draft would be read as."""
    if name == "zone":
        return zones[getattr(draft, "code")]  # noqa: B009  # every draft has a code
    compute = _COMPUTED_COLUMNS.get((kind, name)) or _COMPUTED_COLUMNS.get(("", name))
    return getattr(draft, name) if compute is None else compute(draft)


def _find_location(draft: Draft) -> Floats:
    return np.asarray(ring_membership.to_representative_points([_get_geometry(draft)])[0])


def _to_area_wkb(draft: Draft) -> bytes | None:
    geometry = _get_geometry(draft)
    return None if shapely.get_dimensions(geometry) == 0 else shapely.to_wkb(geometry)


def _to_json_text(name: str) -> Callable[[Draft], str | None]:
    def format_value(draft: Draft) -> str | None:
        value = draft.model_dump(mode="json", include={name})[name]
        return None if value is None else orjson.dumps(value).decode()

    return format_value


def _to_function_bits(draft: Draft) -> int:
    functions = getattr(draft, "functions")  # noqa: B009  # every camera has functions
    return sum(1 << FUNCTIONS.index(function) for function in functions)


def _to_levels(draft: Draft) -> float | None:
    levels: int | None = getattr(draft, "levels")  # noqa: B009  # every building has this field
    return None if levels is None else float(levels)


_COMPUTED_COLUMNS: Final[dict[tuple[str, str], Callable[[Draft], Any]]] = {
    ("", "lon"): lambda draft: float(_find_location(draft)[0]),
    ("", "lat"): lambda draft: float(_find_location(draft)[1]),
    ("", "in_use"): lambda draft: getattr(draft, "lifecycle") == "in_use",  # noqa: B009
    ("", "shape"): lambda draft: shapely.to_wkb(_get_geometry(draft)),
    ("control_point", "area"): _to_area_wkb,
    ("control_point", "requirements"): _to_json_text("requirements"),
    ("camera", "functions"): _to_function_bits,
    ("camera", "direction"): lambda draft: getattr(draft, "direction") or "",  # noqa: B009
    ("camera", "view_polygon"): _to_json_text("view_polygon"),
    ("checkpoint", "lanes"): _to_json_text("lanes"),
    ("building", "levels"): _to_levels,
}
"""Columns that are not simply a field of the draft, by kind ("": any) and name."""
