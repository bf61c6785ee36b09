"""The migrations that ship: they go up and down, and agree with the models."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from geoalchemy2 import alembic_helpers
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from alembic import command
from app.db import schema
from app.db.engine import Database
from app.models import tables  # noqa: F401  # registers the tables


async def _left(database: Database) -> list[str]:
    async with database.reading() as connection:
        rows = await connection.execute(
            text(
                "SELECT proname FROM pg_proc WHERE proname LIKE 'registry%' UNION ALL "
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
                "AND tablename NOT IN ('alembic_version', 'spatial_ref_sys')"
            )
        )
        return [row[0] for row in rows]


def _drift(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection,
        opts={"include_object": alembic_helpers.include_object, "compare_type": True},
    )
    return list(compare_metadata(context, SQLModel.metadata))


async def test_no_drift_between_tables_and_models(database: Database) -> None:
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_drift) == []


async def test_down_leaves_nothing_and_up_comes_back(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda bare: command.downgrade(schema._config(bare), "base"))
    try:
        assert await _left(database) == []
    finally:
        await schema.migrate(database)
    async with database.reading() as connection:
        assert await schema.current(connection) == schema.head()


async def test_cameras_keep_version_and_history_when_their_documents_gain_fields(
    database: Database,
) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda bare: command.downgrade(schema._config(bare), "0003"))
    try:
        async with database.engine.begin() as connection:
            await connection.execute(
                text("INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, "
                     "stale_after_s, synthetic) VALUES ('410800', '{}', '{}', '{}', 60, false)")
            )  # fmt: skip
            await connection.execute(
                text("INSERT INTO camera (code, jurisdiction, functions, lifecycle, geometry) "
                     "VALUES ('c', '410800', '{face}', 'in_use', 'SRID=4326;POINT(113 35)')")
            )  # fmt: skip
    finally:
        await schema.migrate(database)
    async with database.reading() as connection:
        rows = await connection.execute(
            text("SELECT c.version, (document || '}')::jsonb, (SELECT count(*) FROM change "
                 "WHERE kind = 'camera') FROM camera c")
        )  # fmt: skip
        version, document, changes = rows.one()
    assert (version, changes, document["view_polygon"]) == (1, 1, None)
    assert (document["code"], document["functions"], document["version"]) == ("c", ["face"], 1)


async def test_the_history_reads_the_same_before_and_after_it_is_kept_as_text(
    database: Database,
) -> None:
    told = "SELECT json_agg(c ORDER BY seq)::text FROM change c"

    async def history() -> str:
        async with database.reading() as connection:
            return str((await connection.execute(text(told))).scalar_one())

    async with database.engine.begin() as connection:
        await connection.run_sync(lambda bare: command.downgrade(schema._config(bare), "0005"))
    try:
        async with database.engine.begin() as connection:
            await connection.execute(
                text("INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, "
                     "stale_after_s, synthetic) VALUES ('410800', '{}', '{}', '{}', 60, false)")
            )  # fmt: skip
            await connection.execute(
                text("INSERT INTO camera (code, jurisdiction, functions, lifecycle, zone, geometry) "
                     "VALUES ('c', '410800', '{face}', 'in_use', 'core', 'SRID=4326;POINT(113 35)')")
            )  # fmt: skip
            await connection.execute(text("UPDATE camera SET address = 'a \"b\"'"))
        first = await history()
        await schema.migrate(database)
        assert await history() == first
        async with database.engine.begin() as connection:
            await connection.run_sync(lambda bare: command.downgrade(schema._config(bare), "0005"))
        assert await history() == first
    finally:
        await schema.migrate(database)


async def test_a_newer_schema_is_refused(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(schema.SchemaMismatch, match="newer"):
            await schema.migrate(database)
    finally:
        async with database.engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": schema.head()})
