"""The database checks the rules too; its errors become conflicts with the field."""

import pytest

from app.db.engine import Database, WriteContext
from app.errors import Conflict
from app.records import payloads
from app.records.kinds import CAMERA, JURISDICTION, Kind
from app.records.queries.records import upsert_records
from tests.builders import CITY, OTHER, Json, camera, jurisdiction

WHO = WriteContext("tests")


async def _write(database: Database, kind: Kind, row: Json) -> None:
    async with database.open_transaction(WHO) as connection:
        await upsert_records(connection, kind, [row])


def _row(**changed: object) -> Json:
    return payloads.parse_draft(CAMERA, camera()).model_dump(mode="json") | changed


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"lifecycle": "broken"}, "/lifecycle"),
        ({"azimuth_deg": 400}, "/azimuth_deg"),
        ({"retention_days": 3}, "/retention_days"),
        ({"functions": []}, "/functions"),
        ({"functions": ["smell"]}, "/functions"),
        ({"control_point": "none"}, "/control_point"),
        ({"jurisdiction": OTHER}, "/jurisdiction"),
        ({"code": "a b"}, "/code"),
    ],
)
async def test_a_broken_rule_is_a_conflict_with_its_column(database: Database, changed: Json, pointer: str) -> None:
    await _write(database, JURISDICTION, payloads.parse_draft(JURISDICTION, jurisdiction()).model_dump(mode="json"))
    with pytest.raises(Conflict) as refused:
        await _write(database, CAMERA, _row(**changed))
    assert (refused.value.code, refused.value.issues[0].pointer) == ("rule-broken", pointer)
    rows = await database.fetch("SELECT count(*) AS cameras FROM camera")
    assert rows[0]["cameras"] == 0
    assert CITY
