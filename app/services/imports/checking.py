"""What only the registry can tell is wrong with the staged rows of a batch; such rows are left out.

Rows that are parts of registered records are judged with what stays registered of them.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.ext.asyncio import AsyncConnection

from app.intake.faults import RowFault
from app.intake.plan import Plan
from app.registry import intake, parts
from app.registry import states as states_registry
from app.schemas.kinds import BY_NAME, Kind
from app.services.imports import told
from app.services.imports.pages import Page
from app.services.states import FUTURE_TOLERANCE


async def check(
    connection: AsyncConnection, kind: Kind, plan: Plan, mode: str, page: Page, known: int
) -> None:
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
        await intake.leave_out(connection, bad.tolist())


async def any_registered(
    connection: AsyncConnection, plan: Plan, good: Any, scope: list[str] | None
) -> bool:
    """Tell whether one of some judged rows is of a registered record; of none, that is left open."""
    if good is None or not len(good):
        return True
    kind = BY_NAME[plan.kind.name]
    if await parts.owners(connection, kind, good["code"].to_pylist(), scope):
        return True
    if plan.key != "owner_reference":
        return False
    pairs = zip(*(good[n].to_pylist() for n in ("owner_unit", "owner_reference")), strict=True)
    named = [(unit, word) for unit, word in pairs if unit and word]
    return await parts.any_referred(connection, kind, named)


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
    found = await parts.owners(connection, kind, codes, scope)
    absent = [code not in found for code in codes]
    rows = good["row"].to_pylist()
    page.refuse(
        _stranger(kind, plan, mode, row, code)
        for row, code, missing in zip(rows, codes, absent, strict=True)
        if missing
    )
    owners = pa.array([found.get(code) for code in codes], pa.string())
    at = good.schema.get_field_index("jurisdiction")
    return good.set_column(at, "jurisdiction", owners).filter(
        pc.invert(pa.array(absent, pa.bool_()))
    )


def _stranger(
    kind: Kind, plan: Plan, mode: str, row: int, code: str, key: told.Keys | None = None
) -> RowFault:
    """Say that the record of a row is not registered, and needs to be."""
    if mode == "update_only":
        return told.absent(row, code, kind.title, key, whole=not plan.missing)
    return told.incomplete(row, code, kind.title, plan.missing, key)


class _Checking:
    """One batch while it is looked at."""

    def __init__(self, connection: AsyncConnection, kind: Kind, plan: Plan, page: Page) -> None:
        self.connection, self.kind, self.plan, self.page = connection, kind, plan, page
        self.fed = plan.fields
        self.codes = _Codes(page)

    async def owners(self) -> None:
        """Refuse records of other jurisdictions."""
        self.page.refuse(
            told.taken(row, self.codes[row], self.kind.title)
            for row in await intake.of_others(self.connection, self.kind)
        )

    async def presence(self, mode: str, known: int) -> None:
        """Refuse records that must not be there, or must."""
        if mode == "create_only" and known:
            there = await intake.there(self.connection, self.kind)
            self.page.refuse(told.exists(row, self.codes[row]) for row in there)
        if mode != "update_only" and not self.plan.missing:
            return
        absent = await intake.not_there(self.connection, self.kind)
        if not absent:
            return
        keys = {}
        if self.plan.key == "owner_reference":
            keys = await parts.keys(self.connection)
        self.page.refuse(
            _stranger(self.kind, self.plan, mode, row, self.codes[row], keys.get(row))
            for row in absent
        )

    async def lanes(self) -> None:
        """Put lanes among those of their checkpoints."""
        wrong = await parts.merge_lanes(self.connection)
        self.page.refuse(told.bad_lanes(row, lane) for row, lane in wrong)

    async def rules(self) -> None:
        """Refuse what contradicts what stays registered."""
        rules = parts.meeting(self.kind, self.fed)
        if rules:
            broken = await parts.breaking(self.connection, self.kind, rules, self.fed)
            self.page.refuse(told.broken(row, rule.member, rule.code) for row, rule in broken)

    async def references(self) -> None:
        """Refuse what points nowhere, and what another record is called."""
        for column, table in self.kind.references.items():
            if column in self.fed:
                nowhere = await intake.pointing_nowhere(self.connection, column, table)
                self.page.refuse(
                    told.pointing_nowhere(row, column, BY_NAME[table].title, owner, code)
                    for row, owner, code in nowhere
                )
        given = self.fed & {"owner_unit", "owner_reference"}
        if "owner_reference" in self.kind.draft.model_fields and given:
            if len(given) == 2:
                clashing = await intake.reference_taken(self.connection, self.kind)
            else:
                clashing = await parts.reference_taken(self.connection, self.kind, self.fed)
            self.page.refuse(told.reference_taken(row, other) for row, other in clashing)

    async def reports(self) -> None:
        """Refuse reports from the future."""
        if "reported_at" in self.fed:
            latest = await states_registry.now(self.connection) + FUTURE_TOLERANCE
            ahead = await intake.ahead(self.connection, latest)
            self.page.refuse(told.ahead(row) for row in ahead)


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
