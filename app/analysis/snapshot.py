"""One state of a jurisdiction in memory: loaded whole, or brought up to date from an earlier one.

Promises that both ways lead to equal states, and that a table nothing has changed in is the very same
object afterwards, so that whoever computed something from it can tell by ``is``.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis import queries as analysis_queries
from app.analysis.queries import Columns, Rules
from app.db.engine import Database, within
from app.errors import NotFound
from app.geo.coverage.assessment import STATE_CODES

MOST_CHANGES: Final = 20_000
"""Changes up to which a state is brought up to date; beyond, loading everything is quicker."""
_RECORDS: Final = ("control_point", "camera", "checkpoint", "building", "waiver")
"""Tables of which changed rows are replaced; others change rarely and are read again."""
_READ_WHOLE: Final = ("road", "ring")
_MAKES_ALL_OLD: Final = ("ring",)
"""What places every record anew without a word in the history."""
_IN_FLIGHT_S: Final = 120
"""How long a report may have been under way when its device went silent."""
_NOTHING: Final[Columns] = {}


@dataclass(frozen=True, eq=False)
class States:
    """What devices of one kind said last, in the order of their records."""

    state: NDArray[np.uint8]
    """Places in `STATE_CODES`; unknown for a device that never reported."""
    reported: NDArray[np.float64]
    """Seconds since 1970, NaN for a device that never reported."""
    row_of: Mapping[str, int]
    """Row by code."""

    @classmethod
    def of(cls, columns: dict[str, list[Any]]) -> "States":
        """Return the states of a table, and take them out of its columns."""
        words, reported = columns.pop("state"), columns.pop("reported")
        return cls(
            np.array([STATE_CODES[word] for word in words], np.uint8),
            np.array(reported, np.float64),
            {code: row for row, code in enumerate(columns["code"])},
        )

    def with_reports(self, reports: Iterable[tuple[str, str, float]]) -> "States":
        """Return the states after some reports: code, state, time. Unknown codes are passed over."""
        state, reported = self.state.copy(), self.reported.copy()
        for code, word, at in reports:
            row = self.row_of.get(code)
            if row is not None:
                state[row], reported[row] = STATE_CODES[word], at
        return States(state, reported, self.row_of)


_NO_STATES: Final = States(np.empty(0, np.uint8), np.empty(0), {})


@dataclass(frozen=True)
class Loaded:
    """One consistent state of a jurisdiction."""

    jurisdiction: str
    revision: int
    at: datetime
    rules: Rules
    points: Columns
    cameras: Columns
    checkpoints: Columns
    camera_states: States = field(default=_NO_STATES)
    checkpoint_states: States = field(default=_NO_STATES)
    roads: Columns = field(default_factory=dict)
    rings: Columns = field(default_factory=dict)
    buildings: Columns = field(default_factory=dict)
    waivers: Columns = field(default_factory=dict)
    snapshot: str = ""
    """What the database calls the state: which transactions it has seen."""
    settled: int = 0
    """Number in the history up to which it has seen everything."""

    @property
    def oldest(self) -> float:
        """Time of report (seconds since 1970) before which a device is no longer believed."""
        return self.at.timestamp() - self.rules.stale_after_s


_FIELDS: Final = {
    "control_point": "points",
    "camera": "cameras",
    "checkpoint": "checkpoints",
    "road": "roads",
    "ring": "rings",
    "building": "buildings",
    "waiver": "waivers",
}
_STATES: Final = {"camera": "camera_states", "checkpoint": "checkpoint_states"}


async def load(database: Database, jurisdiction: str, earlier: Loaded | None = None) -> Loaded:
    """Return the state of now, from an earlier one where that is less work.

    Raises
    ------
    NotFound
        when there is no such jurisdiction.
    """
    settled = await analysis_queries.settled(database.fetch)
    async with database.snapshot() as connection:
        # A first statement through SQLAlchemy opens the transaction the others share.
        rules = await analysis_queries.rules(connection, jurisdiction)
        pulse = await analysis_queries.pulse(await within(connection), jurisdiction)
        if rules is None or pulse is None:
            raise NotFound("jurisdiction", jurisdiction)
        snapshot = await analysis_queries.snapshot(connection)
        base = Loaded(
            jurisdiction, pulse.revision, pulse.at, rules, _NOTHING, _NOTHING, _NOTHING,
            snapshot=snapshot, settled=settled,
        )  # fmt: skip
        if earlier is not None and earlier.snapshot:
            changes = await analysis_queries.changed(
                connection, jurisdiction, earlier.snapshot, earlier.settled, MOST_CHANGES
            )
            if changes is not None and not any(kind in _MAKES_ALL_OLD for kind, *_ in changes):
                return await _brought_up(connection, base, earlier, changes)
        return await _whole(connection, base)


async def _whole(connection: AsyncConnection, base: Loaded) -> Loaded:
    parts: dict[str, Any] = {}
    for table, name in _FIELDS.items():
        found = await analysis_queries.columns(connection, table, base.jurisdiction)
        if table in _STATES:
            parts[_STATES[table]] = States.of(found)
        parts[name] = found
    return replace(base, **parts)


async def _brought_up(
    connection: AsyncConnection,
    base: Loaded,
    earlier: Loaded,
    changes: Sequence[tuple[str, bool, str]],
) -> Loaded:
    """Return the earlier state with what has changed since."""
    parts: dict[str, Any] = {name: getattr(earlier, name) for name in (*_FIELDS.values(), *_STATES.values())}
    for table in _READ_WHOLE:
        if any(kind == table for kind, *_ in changes):
            parts[_FIELDS[table]] = await analysis_queries.columns(connection, table, base.jurisdiction)
    for table in _RECORDS:
        codes = sorted({code for kind, state, code in changes if kind == table and not state})
        if codes:
            fresh = await analysis_queries.columns(connection, table, base.jurisdiction, codes)
            _splice(parts, table, codes, fresh)
    for table, name in _STATES.items():
        states: States = parts[name]
        codes = sorted({code for kind, state, code in changes if kind == table and state})
        codes += _gone_silent(states, earlier.oldest - _IN_FLIGHT_S, base.oldest)
        if codes:
            reports = await analysis_queries.states(connection, table, codes)
            parts[name] = states.with_reports(reports)
    return replace(base, **parts)


def _gone_silent(states: States, since: float, oldest: float) -> list[str]:
    """Return the devices that look silent by now and may have spoken since, saying nothing new."""
    rows = set(np.flatnonzero((states.reported >= since) & (states.reported < oldest)).tolist())
    return [code for code, row in states.row_of.items() if row in rows] if rows else []


def _splice(parts: dict[str, Any], table: str, codes: Sequence[str], fresh: dict[str, list[Any]]) -> None:
    """Replace the rows of some codes in a table and in the states beside it."""
    name = _FIELDS[table]
    old: Columns = parts[name]
    gone = set(codes)
    merged = sorted(
        [(code, 0, row) for row, code in enumerate(old["code"]) if code not in gone]
        + [(code, 1, row) for row, code in enumerate(fresh["code"])]
    )
    if table in _STATES:
        said: States = parts[_STATES[table]]
        new = States.of(fresh)
        pick = np.array([row + which * len(said.state) for _, which, row in merged], np.int64)
        parts[_STATES[table]] = States(
            np.concatenate([said.state, new.state])[pick],
            np.concatenate([said.reported, new.reported])[pick],
            {code: row for row, (code, *_) in enumerate(merged)},
        )
    parts[name] = {column: [(fresh if which else old)[column][row] for _, which, row in merged] for column in fresh}


# What follows from one state of a jurisdiction besides the coverage of its control points.

T = TypeVar("T")


class Parts:
    """What else follows from one state: each part made once, by whoever asks first.

    A part may be made from the same part of the state before, so that only what changed is computed.
    """

    def __init__(self, before: "Parts | None" = None) -> None:
        self._made: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        if before is not None:
            self._before = {**before._before, **before._made}
        self._locks: dict[str, threading.RLock] = {}

    def get(self, name: str, make: Callable[[T | None], T]) -> T:
        """Return a part; ``make`` is given the part of the state before, or None."""
        lock = self._locks.setdefault(name, threading.RLock())
        with lock:
            if name not in self._made:
                self._made[name] = make(self._before.pop(name, None))
            made: T = self._made[name]
            return made
