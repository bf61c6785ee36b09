"""Checks of staged rows against the registry; rows with errors leave the staging table.

A row that has some fields of a registered record is checked together with the registered values.
"""

from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.ext.asyncio import AsyncConnection

from app.geo.arrays import Floats
from app.geo.projection import datum
from app.imports import row_errors
from app.imports.preparation import build_note
from app.imports.queries import partial_rows
from app.imports.queries import staging as staging_queries
from app.imports.result_store import RowOutcomes
from app.ingest.columns.planner import ImportPlan
from app.ingest.validation.issues import RowIssue
from app.messages import Message
from app.records.kinds import BY_NAME, Kind
from app.states import queries as state_queries
from app.states.service import FUTURE_TOLERANCE


async def has_registered(connection: AsyncConnection, plan: ImportPlan, records: Any, scope: list[str] | None) -> bool:
    """Return whether one of some valid rows is a registered record; True if there are no rows."""
    if records is None or not len(records):
        return True
    kind = BY_NAME[plan.spec.name]
    if await partial_rows.fetch_owners(connection, kind, records["code"].to_pylist(), scope):
        return True
    if plan.key != "owner_reference":
        return False
    pairs = zip(*(records[n].to_pylist() for n in ("owner_unit", "owner_reference")), strict=True)
    keys = [(unit, reference) for unit, reference in pairs if unit and reference]
    return await partial_rows.has_registered_reference(connection, kind, keys)


async def add_jurisdictions(
    connection: AsyncConnection,
    kind: Kind,
    plan: ImportPlan,
    mode: str,
    batch: RowOutcomes,
    records: Any,
    scope: list[str] | None,
) -> Any:
    """Return valid rows with the jurisdictions of their records; rows without a record are refused."""
    codes, rows = records["code"].to_pylist(), records["row"].to_pylist()
    owners = await partial_rows.fetch_owners(connection, kind, codes, scope)
    batch.add_issues(
        _not_registered(kind, plan, mode, row, code)
        for row, code in zip(rows, codes, strict=True)
        if code not in owners
    )
    jurisdictions = pa.array([owners.get(code) for code in codes], pa.string())
    index = records.schema.get_field_index("jurisdiction")
    return records.set_column(index, "jurisdiction", jurisdictions).filter(pc.is_valid(jurisdictions))


def _not_registered(
    kind: Kind, plan: ImportPlan, mode: str, row: int, code: str, key: row_errors.OwnerKey | None = None
) -> RowIssue:
    return row_errors.not_registered(
        row, code, kind.title, key=key, missing=plan.missing, update_only=mode == "update_only"
    )


async def check_batch(
    connection: AsyncConnection, kind: Kind, plan: ImportPlan, mode: str, batch: RowOutcomes, registered_count: int
) -> None:
    """Add the issues of staged rows to the outcome, and delete rows with errors from the staging table.

    Parameters
    ----------
    registered_count : int
        Number of rows whose records are registered, or were.
    """
    checker = _BatchChecker(connection, kind, plan, batch)
    if registered_count:
        await checker.check_jurisdictions()
    await checker.check_mode(mode, registered_count)
    if registered_count and plan.merges_lanes:
        await checker.merge_lanes()
    if registered_count:
        await checker.check_rules()
    await checker.check_references()
    await checker.check_owner_references(registered_count)
    await checker.check_report_times()
    refused = np.intersect1d(batch.staged, batch.refused)
    if len(refused):
        await staging_queries.delete_rows(connection, refused.tolist())


class _BatchChecker:
    """Checks one staged batch."""

    def __init__(self, connection: AsyncConnection, kind: Kind, plan: ImportPlan, batch: RowOutcomes) -> None:
        self.connection, self.kind, self.plan, self.batch = connection, kind, plan, batch
        self.fields = plan.fields

    @cached_property
    def codes(self) -> dict[int, str]:
        """Codes by row number; built when a row has an error."""
        return dict(zip(self.batch.staged.tolist(), self.batch.codes.to_pylist(), strict=True))

    async def check_jurisdictions(self) -> None:
        """Refuse rows whose code belongs to a record of another jurisdiction."""
        self.batch.add_issues(
            row_errors.CODE_OF_OTHER_JURISDICTION.to_issue(row, self.codes[row], kind=self.kind.title)
            for row in await staging_queries.fetch_rows_of_other_jurisdictions(self.connection, self.kind)
        )

    async def check_mode(self, mode: str, registered_count: int) -> None:
        """Refuse registered records with create_only, and new records that are not allowed or lack fields."""
        if mode == "create_only" and registered_count:
            registered = await staging_queries.fetch_registered_rows(self.connection, self.kind)
            self.batch.add_issues(row_errors.RECORD_EXISTS.to_issue(row, self.codes[row]) for row in registered)
        if mode != "update_only" and not self.plan.missing:
            return
        new = await staging_queries.fetch_new_rows(self.connection, self.kind)
        if not new:
            return
        keys = {}
        if self.plan.key == "owner_reference":
            keys = await partial_rows.fetch_owner_references(self.connection)
        self.batch.add_issues(
            _not_registered(self.kind, self.plan, mode, row, self.codes[row], keys.get(row)) for row in new
        )

    async def merge_lanes(self) -> None:
        """Merge the lanes of rows with the registered lanes of their checkpoints."""
        invalid = await partial_rows.merge_lanes(self.connection)
        self.batch.add_issues(row_errors.invalid_lanes(row, lane) for row, lane in invalid)

    async def check_rules(self) -> None:
        """Refuse rows that break a rule together with registered values."""
        rules = partial_rows.find_partial_rules(self.kind, self.fields)
        if rules:
            broken = await partial_rows.fetch_broken_rules(self.connection, self.kind, rules, self.fields)
            self.batch.add_issues(row_errors.broken_rule(row, rule) for row, rule in broken)

    async def check_references(self) -> None:
        """Refuse rows that refer to a record that does not exist."""
        for column, table in self.kind.references.items():
            if column in self.fields:
                unknown = await staging_queries.fetch_unknown_references(self.connection, column, table)
                self.batch.add_issues(
                    row_errors.UNKNOWN_REFERENCE.to_issue(
                        row, code, field=column, kind=BY_NAME[table].title, jurisdiction=owner
                    )
                    for row, owner, code in unknown
                )

    async def check_owner_references(self, registered_count: int) -> None:
        """Refuse rows with the owner reference of another record."""
        key_fields = self.fields & {"owner_unit", "owner_reference"}
        if "owner_reference" not in self.kind.draft.model_fields or not key_fields:
            return
        if len(key_fields) == 2:
            taken = await staging_queries.fetch_taken_references(self.connection, self.kind)
        elif not registered_count:
            return  # a new record without one of the two fields has no key
        else:
            taken = await partial_rows.fetch_taken_references(self.connection, self.kind, self.fields)
        self.batch.add_issues(row_errors.REFERENCE_TAKEN.to_issue(row, code=code) for row, code in taken)

    async def check_report_times(self) -> None:
        """Refuse device states that are reported in the future."""
        if "reported_at" in self.fields:
            latest = await state_queries.fetch_now(self.connection) + FUTURE_TOLERANCE
            future = await staging_queries.fetch_future_rows(self.connection, latest)
            self.batch.add_issues(row_errors.FUTURE_TIME.to_issue(row) for row in future)


# Detection of a shifted datum: coordinates without a stated datum that fit the roads clearly better if
# they are read as GCJ-02 or BD-09. Nothing is moved; a note says what the sender can do.

_MIN_LOCATIONS: Final = 20
"""Locations from which a median is meaningful."""
_NO_ROAD_M: Final = 2000.0
"""Distance of a location without a road nearby."""
_MIN_GAIN_M: Final = 50.0
_MAX_SHARE: Final = 0.5
_DATUM_NAMES: Final = {"gcj02": "GCJ-02", "bd09": "BD-09"}


async def detect_shifted_datum(connection: AsyncConnection, jurisdiction: str, lonlat: Floats) -> dict[str, str] | None:
    """Return a note if locations fit the road network clearly better in another datum.

    Clearly better: the median distance to the nearest road is less than half of what it was, and at
    least 50 metres less.
    """
    if len(lonlat) < _MIN_LOCATIONS:
        return None
    current = await _median_road_distance(connection, jurisdiction, lonlat)
    medians = {
        name: await _median_road_distance(connection, jurisdiction, datum.to_wgs84(lonlat, name))
        for name in _DATUM_NAMES
    }
    best = min(medians, key=lambda name: medians[name])
    if medians[best] > _MAX_SHARE * current or medians[best] > current - _MIN_GAIN_M:
        return None
    message = Message(
        "The coordinates look like {datum}: read as {datum}, half of {count} locations are within {best:.0f} m of "
        "a road; as they are, within {current:.0f} m. Nothing was moved. Use crs={crs} if they are {datum}.",
        datum=_DATUM_NAMES[best],
        count=len(lonlat),
        best=medians[best],
        current=current,
        crs=best,
    )
    return build_note("datum-suspected", message)


async def _median_road_distance(connection: AsyncConnection, jurisdiction: str, lonlat: Floats) -> float:
    distances = await staging_queries.fetch_road_distances(connection, jurisdiction, lonlat.tolist())
    return float(np.median([_NO_ROAD_M if distance is None else distance for distance in distances]))
