"""A state with imagined changes in it: tables as they would be read, had the changes been made.

Pure. A draft becomes a row by the rules of the SQL that reads tables (`app.analysis.queries.TABLES`);
that the two agree is tested on every column. Tables that nothing is imagined in stay the very same
objects, so that only what depends on the others is computed anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import orjson
import shapely
from shapely.geometry.base import BaseGeometry

from app.analysis.queries import TABLES, Columns
from app.analysis.snapshot import Loaded, States
from app.errors import Issue
from app.geo.arrays import Floats
from app.geo.coverage.assessment import STATE_CODES
from app.models.vocabulary import FUNCTIONS
from app.records.drafts import Draft
from app.rings import territory
from app.rings.territory import Territory

FIELDS: Final = {
    "control_point": "points",
    "camera": "cameras",
    "checkpoint": "checkpoints",
    "road": "roads",
    "building": "buildings",
}
"""Kinds that can be imagined, and the table of the state each is in."""
STATES: Final = {"camera": "camera_states", "checkpoint": "checkpoint_states"}
_SAID: Final = {"state", "reported"}
"""What is read with a device and kept beside its table."""
_REFERENCES: Final = (
    ("camera", "control_point", "control_point"),
    ("camera", "checkpoint", "checkpoint"),
    ("checkpoint", "control_point", "control_point"),
    ("checkpoint", "road", "road"),
)
"""Kind, column, and the kind it points to."""


@dataclass
class Edits:
    """Changes of records, by kind and code; the last word on a code counts."""

    drafts: dict[str, dict[str, Draft]] = field(default_factory=dict)
    gone: dict[str, set[str]] = field(default_factory=dict)
    place: dict[tuple[str, str], str] = field(default_factory=dict)
    """Where in the request each code was changed: a JSON Pointer."""

    def put(self, kind: str, code: str, draft: Draft, pointer: str) -> None:
        """Take in a new or changed record."""
        self.drafts.setdefault(kind, {})[code] = draft
        self.gone.setdefault(kind, set()).discard(code)
        self.place[kind, code] = pointer

    def take(self, kind: str, code: str, pointer: str) -> None:
        """Take a record away."""
        self.drafts.setdefault(kind, {}).pop(code, None)
        self.gone.setdefault(kind, set()).add(code)
        self.place[kind, code] = pointer

    def has(self, loaded: Loaded, kind: str, code: str) -> bool:
        """Tell whether there is a record, with the changes so far."""
        if code in self.drafts.get(kind, {}):
            return True
        there = getattr(loaded, FIELDS[kind]).get("code", ())
        return code not in self.gone.get(kind, ()) and code in there


def applied(loaded: Loaded, edits: Edits, where: Territory) -> Loaded:
    """Return the state with records changed.

    A device that is new says what its draft says, online where it says nothing. A device that was
    there keeps what it said, unless its draft says something.
    """
    parts: dict[str, Any] = {}
    for kind, name in FIELDS.items():
        drafts, gone = edits.drafts.get(kind, {}), edits.gone.get(kind, set())
        if not drafts and not gone:
            continue
        before: Columns = getattr(loaded, name)
        zones = _zones(kind, drafts, where)
        after, origin = _merged(kind, before, drafts, gone, zones)
        parts[name] = after
        if kind in STATES:
            states: States = getattr(loaded, STATES[kind])
            parts[STATES[kind]] = _states(states, after["code"], origin, drafts, loaded)
    if not parts:
        return loaded
    changed = replace(loaded, **parts, snapshot="")
    return replace(changed, rules=replace(loaded.rules, roads=bool(changed.roads.get("code"))))


def _zones(kind: str, drafts: Mapping[str, Draft], where: Territory) -> dict[str, str]:
    if "zone" not in TABLES[kind]:
        return {}
    shapes = [_shape(draft) for draft in drafts.values()]
    placed = territory.placed(where, shapes) if shapes else []
    return {code: one["zone"] or "" for code, one in zip(drafts, placed, strict=True)}


def _merged(
    kind: str,
    before: Columns,
    drafts: Mapping[str, Draft],
    gone: set[str],
    zones: Mapping[str, str],
) -> tuple[dict[str, list[Any]], list[int]]:
    """Return a table with rows replaced, added and taken out, and the row each came from (-1: new)."""
    rows: dict[str, int] = {code: row for row, code in enumerate(before.get("code", ()))}
    codes = sorted((rows.keys() - gone) | drafts.keys())
    origin = [rows.get(code, -1) for code in codes]
    drawn = [place for place, code in enumerate(codes) if code in drafts]
    table: dict[str, list[Any]] = {}
    for name in TABLES[kind].keys() - _SAID:
        old = before.get(name, ())
        column = [old[row] if row >= 0 else None for row in origin]
        for place in drawn:
            column[place] = _value(kind, name, drafts[codes[place]], zones)
        table[name] = column
    return table, origin


def _states(
    before: States,
    codes: Sequence[str],
    origin: Sequence[int],
    drafts: Mapping[str, Draft],
    loaded: Loaded,
) -> States:
    was = np.array(origin, np.int64)
    known = was >= 0
    state = np.full(len(was), STATE_CODES["online"], np.uint8)
    reported = np.full(len(was), loaded.at.timestamp())
    state[known], reported[known] = before.state[was[known]], before.reported[was[known]]
    for place, code in enumerate(codes):
        said = getattr(drafts[code], "state", None) if code in drafts else None
        if said is not None:
            when = getattr(drafts[code], "reported_at", None) or loaded.at
            state[place], reported[place] = STATE_CODES[said], when.timestamp()
    return States(state, reported, {code: row for row, code in enumerate(codes)})


def said(loaded: Loaded, states: Mapping[tuple[str, str], str]) -> Loaded:
    """Return the state after devices have said something, now, by kind and code."""
    parts: dict[str, Any] = {}
    at = loaded.at.timestamp()
    for kind, name in STATES.items():
        reports = [(code, word, at) for (of, code), word in states.items() if of == kind]
        if reports:
            parts[name] = getattr(loaded, name).with_reports(reports)
    return replace(loaded, **parts, snapshot="") if parts else loaded


def faults(loaded: Loaded, edits: Edits) -> list[Issue]:
    """Return what the registry would refuse: references to what is not there.

    Only records that were changed, and those that point to a record that was taken away, are at fault.
    """
    found = []
    for kind, column, target in _REFERENCES:
        if kind not in edits.drafts and target not in edits.gone:
            continue
        table: Columns = getattr(loaded, FIELDS[kind])
        there = set(getattr(loaded, FIELDS[target]).get("code", ()))
        for code, pointed in zip(table.get("code", ()), table.get(column, ()), strict=True):
            if pointed is None or pointed in there:
                continue
            if code in edits.drafts.get(kind, {}):
                message = f"there is no {target.replace('_', ' ')} {pointed!r}"
                found.append(Issue(f"{edits.place[kind, code]}/{column}", "unknown-reference", message))
            elif pointed in edits.gone.get(target, ()):
                message = f"it is still pointed to by {kind} {code}"
                found.append(Issue(edits.place[target, pointed], "still-referenced", message))
    return found


def _shape(draft: Draft) -> BaseGeometry:
    geometry: BaseGeometry = getattr(draft, "geometry")  # noqa: B009  # drafts of places have one
    return geometry


def _value(kind: str, name: str, draft: Draft, zones: Mapping[str, str]) -> Any:
    """Return a column of the row that a draft would be read as."""
    if name == "zone":
        return zones[getattr(draft, "code")]  # noqa: B009  # every draft has a code
    special = _SPECIAL.get((kind, name)) or _SPECIAL.get(("", name))
    return getattr(draft, name) if special is None else special(draft)


def _lonlat(draft: Draft) -> Floats:
    return np.asarray(territory.representatives([_shape(draft)])[0])


def _area(draft: Draft) -> bytes | None:
    shape = _shape(draft)
    return None if shapely.get_dimensions(shape) == 0 else shapely.to_wkb(shape)


def _text(name: str) -> Callable[[Draft], str | None]:
    def make(draft: Draft) -> str | None:
        value = draft.model_dump(mode="json", include={name})[name]
        return None if value is None else orjson.dumps(value).decode()

    return make


def _functions(draft: Draft) -> int:
    words = getattr(draft, "functions")  # noqa: B009  # a camera has them
    return sum(1 << FUNCTIONS.index(word) for word in words)


def _levels(draft: Draft) -> float | None:
    levels: int | None = getattr(draft, "levels")  # noqa: B009  # a building may have them
    return None if levels is None else float(levels)


_SPECIAL: Final[dict[tuple[str, str], Callable[[Draft], Any]]] = {
    ("", "lon"): lambda draft: float(_lonlat(draft)[0]),
    ("", "lat"): lambda draft: float(_lonlat(draft)[1]),
    ("", "in_use"): lambda draft: getattr(draft, "lifecycle") == "in_use",  # noqa: B009
    ("", "shape"): lambda draft: shapely.to_wkb(_shape(draft)),
    ("control_point", "area"): _area,
    ("control_point", "requirements"): _text("requirements"),
    ("camera", "functions"): _functions,
    ("camera", "direction"): lambda draft: getattr(draft, "direction") or "",  # noqa: B009
    ("camera", "view_polygon"): _text("view_polygon"),
    ("checkpoint", "lanes"): _text("lanes"),
    ("building", "levels"): _levels,
}
"""Columns that are not simply a field of the draft, by kind ("": any) and name."""
