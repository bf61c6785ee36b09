"""Versions, changes and revisions that the database writes, for every writer."""

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import Text, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from app.db.engine import Database, WriteContext
from app.records.kinds import BUILDING, CHECKPOINT, CONTROL_POINT, ROAD, Kind
from app.records.kinds import CAMERA as CAMERA_RECORD
from app.records.queries import records as record_queries
from app.records.queries.documents import list_public_columns

WHO = WriteContext("tester", "request-1", "because")
CAMERA = (
    "INSERT INTO camera (code, jurisdiction, lifecycle, functions, geometry) "
    "SELECT 'c' || n, '410800', 'in_use', '{face}', ST_SetSRID(ST_MakePoint(113.2, 35.2), 4326) "
    "FROM generate_series(1, :count) AS n"
)


async def _jurisdiction(connection: AsyncConnection, code: str = "410800") -> None:
    await connection.execute(
        text(
            "INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, "
            "stale_after_s, synthetic) VALUES (:code, '{}', '{}', '{}', 3600, false)"
        ),
        {"code": code},
    )


@pytest.fixture(autouse=True)
async def _a_jurisdiction(database: Database) -> None:
    async with database.open_transaction(WHO) as connection:
        await _jurisdiction(connection)


async def _rows(database: Database, sql: str, **bound: Any) -> Sequence[Any]:
    async with database.open_connection() as connection:
        return (await connection.execute(text(sql), bound)).all()


async def _revision(database: Database) -> int:
    rows = await _rows(database, "SELECT revision FROM revision WHERE jurisdiction = '410800'")
    return int(rows[0][0])


async def _do(database: Database, sql: str, **bound: Any) -> None:
    async with database.open_transaction(WHO) as connection:
        await connection.execute(text(sql), bound)


async def test_a_bulk_insert_is_logged_row_by_row_and_counts_once(database: Database) -> None:
    before = await _revision(database)
    await _do(database, CAMERA, count=500)
    logged = await _rows(
        database,
        "SELECT actor, request_id, reason, operation, version, after ->> 'code' FROM change "
        "WHERE kind = 'camera' ORDER BY seq",
    )
    assert len(logged) == 500
    assert logged[0] == ("tester", "request-1", "because", "create", 1, "c1")
    assert await _revision(database) == before + 1


async def test_an_update_makes_a_version_and_keeps_before_and_after(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    await _do(database, "UPDATE camera SET name_en = 'north gate'")
    rows = await _rows(database, "SELECT version, before, after FROM change WHERE operation = 'update'")
    assert [(row[0], row[1].get("name_en"), row[2]["name_en"]) for row in rows] == [(2, None, "north gate")]


async def test_a_write_without_a_change_is_not_logged(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    before = await _revision(database)
    await _do(database, "UPDATE camera SET name_en = NULL, lifecycle = 'in_use'")
    assert await _rows(database, "SELECT version FROM camera") == [(1,)]
    assert await _revision(database) == before


async def test_a_new_membership_is_not_a_new_version(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    await _do(database, "UPDATE camera SET zone = 'core', rings = '{core}', distance_m = '{}'")
    assert await _rows(database, "SELECT version, zone FROM camera") == [(1, "core")]


async def test_the_version_cannot_be_set_by_hand(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    await _do(database, "UPDATE camera SET version = 77, created_at = 'epoch'")
    assert await _rows(database, "SELECT version FROM camera") == [(1,)]


async def test_a_record_that_is_created_again_continues_its_versions(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    await _do(database, "UPDATE camera SET removed_at = now()")
    await _do(database, "UPDATE camera SET removed_at = NULL")
    rows = await _rows(database, "SELECT operation, version FROM change WHERE kind = 'camera' ORDER BY seq")
    assert rows == [("create", 1), ("remove", 2), ("create", 3)]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE change SET actor = 'somebody else'",
        "DELETE FROM change",
        "UPDATE change_log SET after = NULL",
        "DELETE FROM change_log",
        "TRUNCATE change_log",
        "DELETE FROM camera",
        "TRUNCATE camera CASCADE",
        "DELETE FROM jurisdiction",
    ],
)
async def test_history_and_records_cannot_be_deleted(database: Database, sql: str) -> None:
    await _do(database, CAMERA, count=1)
    with pytest.raises(DBAPIError, match="refused"):
        await _do(database, sql)
    assert len(await _rows(database, "SELECT 1 FROM change WHERE kind = 'camera'")) == 1


@pytest.mark.parametrize("code", ["", "a" * 65, "a b", "é", "a\n"])
async def test_the_database_rejects_an_invalid_code(database: Database, code: str) -> None:
    with pytest.raises(DBAPIError, match="ck_camera_code"):
        await _do(database, CAMERA.replace("'c' || n", ":code"), count=1, code=code)


async def test_the_date_style_of_a_session_does_not_change_the_document(
    database: Database,
) -> None:
    async with database.open_transaction(WHO) as connection:
        await connection.execute(text("SET LOCAL datestyle = 'German, DMY'"))
        await connection.execute(text("SET LOCAL timezone = 'Asia/Shanghai'"))
        await connection.execute(text(CAMERA), {"count": 1})
        await connection.execute(text("UPDATE camera SET installed_on = '31.12.2025'"))
    record = await record_queries.fetch_record(database.fetch, CAMERA_RECORD, "c1", scope=None)
    assert record is not None
    body = orjson.loads(record.body)
    assert body["installed_on"] == "2025-12-31"
    assert body["updated_at"].endswith("+00:00")
    at = await _rows(database, "SELECT updated_at FROM camera")
    assert datetime.fromisoformat(body["updated_at"]) == at[0][0]


async def test_a_change_written_through_the_view_is_in_the_history(database: Database) -> None:
    await _do(
        database,
        "INSERT INTO change (actor, jurisdiction, kind, code, operation, after) "
        "VALUES ('a', '410800', 'other', 'o', 'create', '{\"x\": 1, \"y\": null}')",
    )
    rows = await _rows(database, "SELECT after, transaction > 0 FROM change WHERE kind = 'other'")
    assert rows == [({"x": 1}, True)]


async def test_only_changed_states_are_logged(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    insert = "INSERT INTO device_state VALUES ('camera', 'c1', '410800', 'online', now(), now())"
    await _do(database, insert)
    first = await _revision(database)
    await _do(database, "UPDATE device_state SET reported_at = now()")
    assert await _revision(database) == first
    await _do(database, "UPDATE device_state SET state = 'offline', reported_at = now()")
    assert await _revision(database) == first + 1
    assert await _rows(database, "SELECT version FROM camera") == [(1,)]
    logged = await _rows(
        database,
        "SELECT before ->> 'state', after ->> 'state' FROM change WHERE operation = 'state'",
    )
    assert logged == [(None, "online"), ("online", "offline")]


async def test_a_report_after_a_stale_state_is_a_change(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    await _do(
        database,
        "INSERT INTO device_state VALUES ('camera', 'c1', '410800', 'online', now() - interval '2 hours', now())",
    )
    first = await _revision(database)
    await _do(database, "UPDATE device_state SET reported_at = now()")
    assert await _revision(database) == first + 1


async def test_a_slow_transaction_is_a_new_revision(database: Database) -> None:
    """The slow transaction writes first and commits last; its commit must still be a new revision."""
    async with database.open_transaction(WHO) as slow:
        await slow.execute(text(CAMERA), {"count": 1})
        await _do(database, "UPDATE jurisdiction SET name_en = 'fast'")
        between = await _revision(database)
    assert await _revision(database) == between + 1


async def test_two_long_transactions_do_not_wait_for_each_other(database: Database) -> None:
    async with database.open_transaction(WHO) as first:
        await first.execute(text(CAMERA), {"count": 1})
        async with asyncio.timeout(5), database.open_transaction(WHO) as second:
            await second.execute(text(CAMERA.replace("'c'", "'d'")), {"count": 1})
    assert len(await _rows(database, "SELECT 1 FROM camera")) == 2


async def test_a_rolled_back_write_leaves_no_trace(database: Database) -> None:
    before = await _revision(database)

    async def fails_half_way() -> None:
        async with database.open_transaction(WHO) as connection:
            await connection.execute(text(CAMERA), {"count": 10})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fails_half_way()
    assert await _revision(database) == before
    assert await _rows(database, "SELECT 1 FROM change WHERE kind = 'camera'") == []
    assert await _rows(database, "SELECT 1 FROM touched") == []


async def test_a_reference_stays_inside_the_jurisdiction(database: Database) -> None:
    async with database.open_transaction(WHO) as connection:
        await _jurisdiction(connection, "410100")
        await connection.execute(
            text(
                "INSERT INTO control_point (code, jurisdiction, category, geometry) VALUES "
                "('p', '410100', 'core_site', ST_SetSRID(ST_MakePoint(113, 35), 4326))"
            )
        )
    await _do(database, CAMERA, count=1)
    with pytest.raises(DBAPIError, match="fk_camera_control_point"):
        await _do(database, "UPDATE camera SET control_point = 'p'")


@pytest.mark.parametrize("kind", [CONTROL_POINT, ROAD, BUILDING, CHECKPOINT, CAMERA_RECORD], ids=lambda k: k.name)
async def test_documents_have_the_columns_of_their_table(database: Database, kind: Kind) -> None:
    """A migration that adds a column must replace the trigger that writes the document."""
    rows = await _rows(
        database,
        "SELECT prosrc FROM pg_proc WHERE proname = :name",
        name=f"registry_write_{kind.name}",
    )
    expected = [name for name in list_public_columns(kind) if name not in kind.restricted]
    branches = re.findall(r"NEW\.document := (.*?)\);", rows[0][0], re.DOTALL)
    assert [re.findall(r'NEW\."(\w+)"', branch) for branch in branches] == [expected, expected]
    looked_at = re.findall(r'NEW\."(\w+)"', rows[0][0].partition("THEN")[0])
    texts = SQLModel.metadata.tables[kind.name].columns
    assert looked_at == [name for name in expected if isinstance(texts[name].type, Text)]


async def test_a_document_escapes_every_character_that_json_does(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    for number in [*range(1, 0x100), 0x2028, 0xFEFF, 0x1F4F7]:
        odd = f"a{chr(number)}z"
        await _do(database, "UPDATE camera SET notes = :odd, model = 'plain'", odd=odd)
        rows = await _rows(database, "SELECT document FROM camera")
        body = orjson.loads(rows[0][0] + "}")
        assert (body["notes"], body["model"]) == (odd, "plain"), number


async def test_a_record_of_an_unknown_jurisdiction_is_rejected(database: Database) -> None:
    with pytest.raises(DBAPIError, match="999999 is not registered"):
        await _do(database, CAMERA.replace("410800", "999999"), count=1)


async def test_a_document_has_all_values_of_its_record(database: Database) -> None:
    await _do(database, CAMERA, count=1)
    odd = 'quote " backslash \\ newline \n 摄像机'
    await _do(database, "UPDATE camera SET name_zh = :odd, network_address = :odd", odd=odd)
    record = await record_queries.fetch_record(database.fetch, CAMERA_RECORD, "c1", scope=None, reveal=True)
    assert record is not None
    body = orjson.loads(record.body)
    assert (body["name_zh"], body["network_address"], body["state"]) == (odd, odd, "unknown")
    logged = await _rows(database, "SELECT after FROM change WHERE operation = 'update'")
    assert logged[0][0]["network_address"] == odd
    assert "zone" not in logged[0][0]
