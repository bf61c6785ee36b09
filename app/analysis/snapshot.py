"""The snapshot of a jurisdiction: all records that an analysis reads, at one revision.

A snapshot is loaded whole, or brought up to date from an earlier one; both ways give equal snapshots. A table in
which nothing has changed stays the same object, so results that depend on it find out with ``is``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis import queries as analysis_queries
from app.analysis.queries import Columns, JurisdictionRules
from app.db.engine import Database, get_fetch
from app.errors import NotFound
from app.geo.coverage.assessment import STATE_CODES

MAX_CHANGES: Final = 20_000
"""With more changes than this, loading everything is quicker than bringing a snapshot up to date."""
TABLE_FIELDS: Final = {
    "control_point": "points",
    "camera": "cameras",
    "checkpoint": "checkpoints",
    "road": "roads",
    "ring": "rings",
    "building": "buildings",
    "waiver": "waivers",
}
"""The field of a snapshot that holds the table of each kind."""
STATE_FIELDS: Final = {"camera": "camera_states", "checkpoint": "checkpoint_states"}
"""The field of a snapshot that holds the states of each kind of device."""
_SPLICED_TABLES: Final = ("control_point", "camera", "checkpoint", "building", "waiver")
"""Tables of which only changed rows are read."""
_REREAD_TABLES: Final = ("road", "ring")
"""Tables that change rarely and are read whole."""
_FULL_LOAD_TABLES: Final = ("ring",)
"""A change of these assigns new zones to all records, which the history does not list."""
_REPORT_DELAY_S: Final = 120
"""A report may be written so long after the time that it carries."""


@dataclass(frozen=True, eq=False)
class DeviceStates:
    """The last state report of each device of one kind, in the order of their records."""

    state: NDArray[np.uint8]
    """Codes of `STATE_CODES`; unknown for a device that never reported."""
    reported: NDArray[np.float64]
    """Seconds since 1970, NaN for a device that never reported."""
    row_of: Mapping[str, int]
    """Row by code."""

    @classmethod
    def from_columns(cls, columns: dict[str, list[Any]]) -> "DeviceStates":
        """Return the states of a table, and remove them from its columns."""
        states, reported = columns.pop("state"), columns.pop("reported")
        return cls(
            np.array([STATE_CODES[state] for state in states], np.uint8),
            np.array(reported, np.float64),
            {code: row for row, code in enumerate(columns["code"])},
        )

    def with_reports(self, reports: Iterable[tuple[str, str, float]]) -> "DeviceStates":
        """Return the states after reports of code, state and time; unknown codes are skipped."""
        states, reported = self.state.copy(), self.reported.copy()
        for code, state, seconds in reports:
            row = self.row_of.get(code)
            if row is not None:
                states[row], reported[row] = STATE_CODES[state], seconds
        return DeviceStates(states, reported, self.row_of)


_NO_STATES: Final = DeviceStates(np.empty(0, np.uint8), np.empty(0), {})


@dataclass(frozen=True)
class Snapshot:
    """All records of a jurisdiction that an analysis reads, at one revision."""

    jurisdiction: str
    revision: int
    taken_at: datetime
    rules: JurisdictionRules
    points: Columns
    cameras: Columns
    checkpoints: Columns
    camera_states: DeviceStates = field(default=_NO_STATES)
    checkpoint_states: DeviceStates = field(default=_NO_STATES)
    roads: Columns = field(default_factory=dict)
    rings: Columns = field(default_factory=dict)
    buildings: Columns = field(default_factory=dict)
    waivers: Columns = field(default_factory=dict)
    database_snapshot: str = ""
    """The PostgreSQL snapshot: which transactions are included. Empty for a snapshot with assumed changes."""
    settled_sequence: int = 0
    """Sequence number of the history up to which every change is included."""

    @property
    def oldest_report(self) -> float:
        """Seconds since 1970; a device whose last report is older is stale."""
        return self.taken_at.timestamp() - self.rules.stale_after_s

    def get_table(self, kind: str) -> Columns:
        """Return the table of a kind of record."""
        table: Columns = getattr(self, TABLE_FIELDS[kind])
        return table

    def get_codes(self, kind: str) -> Sequence[str]:
        """Return the codes of all records of a kind."""
        return self.get_table(kind).get("code", ())

    def get_states(self, kind: str) -> DeviceStates:
        """Return the states of a kind of device."""
        states: DeviceStates = getattr(self, STATE_FIELDS[kind])
        return states


async def load_snapshot(database: Database, jurisdiction: str, earlier: Snapshot | None = None) -> Snapshot:
    """Return the current snapshot, brought up to date from an earlier one if that is less work.

    Raises
    ------
    NotFound
        if the jurisdiction does not exist.
    """
    settled_sequence = await analysis_queries.fetch_settled_sequence(database.fetch)
    async with database.open_snapshot() as connection:
        # The first statement goes through SQLAlchemy: it opens the transaction that the others share.
        rules = await analysis_queries.fetch_rules(connection, jurisdiction)
        current = await analysis_queries.fetch_revision(await get_fetch(connection), jurisdiction)
        if rules is None or current is None:
            raise NotFound("jurisdiction", jurisdiction)
        base = Snapshot(
            jurisdiction,
            current.revision,
            current.now,
            rules,
            points={},
            cameras={},
            checkpoints={},
            database_snapshot=await analysis_queries.fetch_database_snapshot(connection),
            settled_sequence=settled_sequence,
        )
        if earlier is not None and earlier.database_snapshot:
            changes = await analysis_queries.fetch_changes(
                connection, jurisdiction, earlier.database_snapshot, earlier.settled_sequence, MAX_CHANGES
            )
            if changes is not None and not any(kind in _FULL_LOAD_TABLES for kind, *_ in changes):
                return await update_snapshot(connection, base, earlier, changes)
        return await _load_tables(connection, base)


async def _load_tables(connection: AsyncConnection, base: Snapshot) -> Snapshot:
    fields: dict[str, Any] = {}
    for kind, name in TABLE_FIELDS.items():
        columns = await analysis_queries.fetch_columns(connection, kind, base.jurisdiction)
        if kind in STATE_FIELDS:
            fields[STATE_FIELDS[kind]] = DeviceStates.from_columns(columns)
        fields[name] = columns
    return replace(base, **fields)


async def update_snapshot(
    connection: AsyncConnection,
    base: Snapshot,
    earlier: Snapshot,
    changes: Sequence[tuple[str, bool, str]],
) -> Snapshot:
    """Return `base` with the tables and states of an earlier snapshot and the changes since."""
    fields: dict[str, Any] = {name: getattr(earlier, name) for name in (*TABLE_FIELDS.values(), *STATE_FIELDS.values())}
    for kind in _REREAD_TABLES:
        if any(changed_kind == kind for changed_kind, *_ in changes):
            fields[TABLE_FIELDS[kind]] = await analysis_queries.fetch_columns(connection, kind, base.jurisdiction)
    for kind in _SPLICED_TABLES:
        codes = sorted({code for changed_kind, is_state, code in changes if changed_kind == kind and not is_state})
        if codes:
            fresh = await analysis_queries.fetch_columns(connection, kind, base.jurisdiction, codes)
            splice_rows(fields, kind, codes, fresh)
    for kind, name in STATE_FIELDS.items():
        states: DeviceStates = fields[name]
        codes = sorted({code for changed_kind, is_state, code in changes if changed_kind == kind and is_state})
        codes += find_newly_stale(states, earlier.oldest_report - _REPORT_DELAY_S, base.oldest_report)
        if codes:
            fields[name] = states.with_reports(await analysis_queries.fetch_states(connection, kind, codes))
    return replace(base, **fields)


def find_newly_stale(states: DeviceStates, since: float, oldest_report: float) -> list[str]:
    """Return the devices that have become stale; a report that changes no state is not in the history."""
    rows = set(np.flatnonzero((states.reported >= since) & (states.reported < oldest_report)).tolist())
    return [code for code, row in states.row_of.items() if row in rows] if rows else []


def splice_rows(fields: dict[str, Any], kind: str, codes: Sequence[str], fresh: dict[str, list[Any]]) -> None:
    """Replace the rows of some codes in the table of a kind, and in its states if it has any."""
    name = TABLE_FIELDS[kind]
    table: Columns = fields[name]
    replaced = set(codes)
    # Which table each row comes from (0: earlier, 1: fresh), in the order of codes.
    rows = sorted(
        [(code, 0, row) for row, code in enumerate(table["code"]) if code not in replaced]
        + [(code, 1, row) for row, code in enumerate(fresh["code"])]
    )
    if kind in STATE_FIELDS:
        earlier: DeviceStates = fields[STATE_FIELDS[kind]]
        added = DeviceStates.from_columns(fresh)
        order = np.array([row + is_fresh * len(earlier.state) for _, is_fresh, row in rows], np.int64)
        fields[STATE_FIELDS[kind]] = DeviceStates(
            np.concatenate([earlier.state, added.state])[order],
            np.concatenate([earlier.reported, added.reported])[order],
            {code: row for row, (code, *_) in enumerate(rows)},
        )
    fields[name] = {
        column: [(fresh if is_fresh else table)[column][row] for _, is_fresh, row in rows] for column in fresh
    }
