"""What only the registry can tell is wrong with the staged rows of a batch; such rows are left out.

Rows that are parts of registered records are judged with what stays registered of them.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.ext.asyncio import AsyncConnection

from app.geo.arrays import Floats
from app.geo.projection import datum
from app.imports import row_errors
from app.imports.queries import partial_rows
from app.imports.queries import staging as staging_queries
from app.imports.result_store import Page
from app.ingest.columns.planner import Plan
from app.ingest.validation.issues import RowFault
from app.records.kinds import BY_NAME, Kind
from app.states import queries as state_queries
from app.states.service import FUTURE_TOLERANCE


async def check(connection: AsyncConnection, kind: Kind, plan: Plan, mode: str, page: Page, known: int) -> None:
    """Find what is wrong with staged rows, and leave those out.

    Parameters
    ----------
    known : int
        How many of their records are registered, or were.
    """
    checking = _Checking(connection, kind, plan, page)
    if known:
        await checking.owners()
    await checking.presence(mode, known)
    if known and plan.merges_lanes:
        await checking.lanes()
    if known:
        await checking.rules()
    await checking.references()
    await checking.reports()
    bad = np.intersect1d(page.good, page.refused)
    if len(bad):
        await staging_queries.leave_out(connection, bad.tolist())


async def any_registered(connection: AsyncConnection, plan: Plan, good: Any, scope: list[str] | None) -> bool:
    """Tell whether one of some judged rows is of a registered record; of none, that is left open."""
    if good is None or not len(good):
        return True
    kind = BY_NAME[plan.kind.name]
    if await partial_rows.owners(connection, kind, good["code"].to_pylist(), scope):
        return True
    if plan.key != "owner_reference":
        return False
    pairs = zip(*(good[n].to_pylist() for n in ("owner_unit", "owner_reference")), strict=True)
    named = [(unit, word) for unit, word in pairs if unit and word]
    return await partial_rows.any_referred(connection, kind, named)


async def with_owners(
    connection: AsyncConnection,
    kind: Kind,
    plan: Plan,
    mode: str,
    page: Page,
    good: Any,
    scope: list[str] | None,
) -> Any:
    """Return judged rows with the jurisdictions of their records; those without one are refused."""
    codes = good["code"].to_pylist()
    found = await partial_rows.owners(connection, kind, codes, scope)
    absent = [code not in found for code in codes]
    rows = good["row"].to_pylist()
    page.refuse(
        _stranger(kind, plan, mode, row, code)
        for row, code, missing in zip(rows, codes, absent, strict=True)
        if missing
    )
    owners = pa.array([found.get(code) for code in codes], pa.string())
    at = good.schema.get_field_index("jurisdiction")
    return good.set_column(at, "jurisdiction", owners).filter(pc.invert(pa.array(absent, pa.bool_())))


def _stranger(kind: Kind, plan: Plan, mode: str, row: int, code: str, key: row_errors.Keys | None = None) -> RowFault:
    """Say that the record of a row is not registered, and needs to be."""
    if mode == "update_only":
        return row_errors.absent(row, code, kind.title, key, whole=not plan.missing)
    return row_errors.incomplete(row, code, kind.title, plan.missing, key)


class _Checking:
    """One batch while it is looked at."""

    def __init__(self, connection: AsyncConnection, kind: Kind, plan: Plan, page: Page) -> None:
        self.connection, self.kind, self.plan, self.page = connection, kind, plan, page
        self.fed = plan.fields
        self.codes = _Codes(page)

    async def owners(self) -> None:
        """Refuse records of other jurisdictions."""
        self.page.refuse(
            row_errors.taken(row, self.codes[row], self.kind.title)
            for row in await staging_queries.of_others(self.connection, self.kind)
        )

    async def presence(self, mode: str, known: int) -> None:
        """Refuse records that must not be there, or must."""
        if mode == "create_only" and known:
            there = await staging_queries.there(self.connection, self.kind)
            self.page.refuse(row_errors.exists(row, self.codes[row]) for row in there)
        if mode != "update_only" and not self.plan.missing:
            return
        absent = await staging_queries.not_there(self.connection, self.kind)
        if not absent:
            return
        keys = {}
        if self.plan.key == "owner_reference":
            keys = await partial_rows.keys(self.connection)
        self.page.refuse(_stranger(self.kind, self.plan, mode, row, self.codes[row], keys.get(row)) for row in absent)

    async def lanes(self) -> None:
        """Put lanes among those of their checkpoints."""
        wrong = await partial_rows.merge_lanes(self.connection)
        self.page.refuse(row_errors.bad_lanes(row, lane) for row, lane in wrong)

    async def rules(self) -> None:
        """Refuse what contradicts what stays registered."""
        rules = partial_rows.meeting(self.kind, self.fed)
        if rules:
            broken = await partial_rows.breaking(self.connection, self.kind, rules, self.fed)
            self.page.refuse(row_errors.broken(row, rule.member, rule.code) for row, rule in broken)

    async def references(self) -> None:
        """Refuse what points nowhere, and what another record is called."""
        for column, table in self.kind.references.items():
            if column in self.fed:
                nowhere = await staging_queries.pointing_nowhere(self.connection, column, table)
                self.page.refuse(
                    row_errors.pointing_nowhere(row, column, BY_NAME[table].title, owner, code)
                    for row, owner, code in nowhere
                )
        given = self.fed & {"owner_unit", "owner_reference"}
        if "owner_reference" in self.kind.draft.model_fields and given:
            if len(given) == 2:
                clashing = await staging_queries.reference_taken(self.connection, self.kind)
            else:
                clashing = await partial_rows.reference_taken(self.connection, self.kind, self.fed)
            self.page.refuse(row_errors.reference_taken(row, other) for row, other in clashing)

    async def reports(self) -> None:
        """Refuse reports from the future."""
        if "reported_at" in self.fed:
            latest = await state_queries.now(self.connection) + FUTURE_TOLERANCE
            ahead = await staging_queries.ahead(self.connection, latest)
            self.page.refuse(row_errors.ahead(row) for row in ahead)


class _Codes:
    """Codes of rows by row number, looked up when something is wrong with one."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._known: dict[int, str] | None = None

    def __getitem__(self, row: int) -> str:
        if self._known is None:
            pairs = zip(self._page.good.tolist(), self._page.codes.to_pylist(), strict=True)
            self._known = dict(pairs)
        return self._known[row]


# Whether coordinates said to be WGS 84 look shifted: they fit the roads clearly better moved back.
#
# Nothing is moved. What is found is told, and the sender says `crs=gcj02` or `bd09` if it is so.

_LEAST: Final = 20
"""Places from which a median says something."""
_NOWHERE_M: Final = 2000.0
"""Distance of a place with no road about it."""
_CLEARLY_M: Final = 50.0
_CLEARLY: Final = 0.5
_NAMES: Final = {"gcj02": "GCJ-02", "bd09": "BD-09"}


async def shifted(connection: AsyncConnection, jurisdiction: str, lonlat: Floats) -> dict[str, str] | None:
    """Return a note when places fit the road network clearly better after a shift.

    Clearly: the median distance to the nearest road is less than half, and fifty metres less.
    """
    if len(lonlat) < _LEAST:
        return None
    medians = {"": await _median(connection, jurisdiction, lonlat)}
    for name in _NAMES:
        medians[name] = await _median(connection, jurisdiction, datum.to_wgs84(lonlat, name))
    best = min(_NAMES, key=lambda name: medians[name])
    now, then = medians[""], medians[best]
    if then > _CLEARLY * now or then > now - _CLEARLY_M:
        return None
    told = _NAMES[best]
    return {
        "code": "datum-suspected",
        "message": f"the places look like {told}: half of {len(lonlat)} lie within {then:.0f} m of a "
        f"road when they are read so, and within {now:.0f} m as they are. Nothing was moved; say "
        f"crs={best} if it is so.",
        "message_zh": f"坐标疑为 {told}：按该坐标系解读时，{len(lonlat)} 个点中半数距最近道路不超过 "
        f"{then:.0f} 米，"
        f"现状为 {now:.0f} 米。未作任何偏移；如确为该坐标系，请指定 crs={best}。",
    }


async def _median(connection: AsyncConnection, jurisdiction: str, lonlat: Floats) -> float:
    found = await staging_queries.road_distances(connection, jurisdiction, lonlat.tolist())
    return float(np.median([_NOWHERE_M if away is None else away for away in found]))
