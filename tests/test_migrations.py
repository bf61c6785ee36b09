"""The migrations build the schema that the models and the kinds declare, and recognise databases of other versions."""

import hashlib
import io
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from geoalchemy2 import alembic_helpers
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from alembic import command
from app.db import schema
from app.db.cluster import LocalCluster
from app.db.engine import Database
from app.db.record_triggers import NEWEST_TEMPLATE, CreateRecordTriggers
from app.records.queries import triggers

DUMP = Path(__file__).parent / "db" / "schema.sql"
"""The newest schema as PostgreSQL 15 dumps it. UPDATE_SCHEMA_DUMP=1 writes it; its diff shows what a migration does."""

MIGRATION_DIGESTS = {
    "0012": "97748cdbc0351f5c9ee5a3287b683faddf182f32fa56649e42df4503185f213a",
}
"""SHA-256 of the SQL that each migration runs. Databases have run it, so it never changes."""

JURISDICTION = (
    "INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, stale_after_s, synthetic) "
    "VALUES ('410800', '{}', '{}', '{}', 60, false)"
)


@pytest.fixture
async def fresh(cluster: LocalCluster | None) -> AsyncIterator[Database]:
    """A database of its own with the newest schema."""
    if cluster is None:
        pytest.skip("needs the cluster that the tests start themselves")
    cluster.drop_database("fresh")
    database = Database(cluster.create_database("fresh"), pool_size=2)
    await schema.migrate(database)
    yield database
    await database.close()
    cluster.drop_database("fresh")


def dump_schema(cluster: LocalCluster | None) -> str:
    """Return the schema of the fresh database as SQL, without comments and settings."""
    assert cluster is not None
    dumped = cluster._server.run_client("pg_dump", "--schema-only", "--no-owner", "--no-privileges", "fresh")
    if "Dumped from database version 15." not in dumped:
        pytest.skip(f"other versions of PostgreSQL write {DUMP.name} differently")
    noise = ("--", "\\", "SET ", "SELECT pg_catalog.set_config", "COMMENT ON EXTENSION", "CREATE EXTENSION")
    lines = [line for line in dumped.splitlines() if not line.startswith(noise)]
    return re.sub("\n{2,}", "\n\n", "\n".join(lines)).strip() + "\n"


async def run(database: Database, *statements: str) -> None:
    async with database.engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def read(database: Database, statement: str) -> list[tuple[object, ...]]:
    async with database.open_connection() as connection:
        return [tuple(row) for row in await connection.execute(text(statement))]


async def run_operations(database: Database, operations: Callable[[Operations], None]) -> None:
    def with_context(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)) as bound:
            operations(bound)

    async with database.engine.begin() as connection:
        await connection.run_sync(with_context)


def find_drift(connection: Connection) -> list[object]:
    options = {"include_object": alembic_helpers.include_object, "compare_type": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata))


async def find_missing(database: Database) -> list[CreateRecordTriggers]:
    async with database.engine.connect() as connection:
        return await connection.run_sync(lambda bare: list(triggers.find_missing_triggers(bare)))


async def test_tables_and_triggers_are_those_of_the_models_and_kinds(database: Database) -> None:
    """If this fails: `alembic revision --autogenerate` writes the migration that is missing."""
    async with database.engine.connect() as connection:
        assert await connection.run_sync(find_drift) == []


async def test_the_committed_dump_is_the_schema(fresh: Database, cluster: LocalCluster | None) -> None:
    dumped = dump_schema(cluster)
    if os.environ.get("UPDATE_SCHEMA_DUMP"):
        DUMP.write_text(dumped)
    assert dumped == DUMP.read_text(), (
        "The schema has changed. Run this test with UPDATE_SCHEMA_DUMP=1, review the diff."
    )


def test_migrations_do_not_change() -> None:
    digests = {}
    for script in ScriptDirectory.from_config(schema.config_for()).walk_revisions():
        config = schema.config_for()
        config.output_buffer = io.StringIO()
        command.upgrade(config, f"{script.down_revision or 'base'}:{script.revision}", sql=True)
        statements = re.sub("^--.*\n", "", config.output_buffer.getvalue(), flags=re.MULTILINE)
        digests[script.revision] = hashlib.sha256(statements.encode()).hexdigest()
    assert digests == MIGRATION_DIGESTS, (
        "A migration that databases have already run does other things now. Undo that and write a new migration; "
        "for other triggers, copy the template (docs/adr/0018-one-baseline.md). Add the digest of a new migration here."
    )


async def test_a_database_of_version_0_1_becomes_the_baseline(fresh: Database, cluster: LocalCluster | None) -> None:
    before = dump_schema(cluster)
    await run(
        fresh,
        JURISDICTION,
        "INSERT INTO road (code, jurisdiction, road_class, oneway, layer, bridge, tunnel, geometry) "
        "VALUES ('r', '410800', 'primary', 'no', 0, false, false, 'SRID=4326;LINESTRING(113 35, 114 35)')",
        f"UPDATE alembic_version SET version_num = '{schema.LAST_OF_0_1}'",
        "CREATE FUNCTION registry_snapshot(document text, extra text, shape geometry) RETURNS jsonb LANGUAGE sql "
        "AS 'SELECT NULL::jsonb'",
        "CREATE OR REPLACE FUNCTION registry_actor() RETURNS text LANGUAGE sql STABLE AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION registry_write_road() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )
    records = "SELECT version, document, updated_at, (SELECT count(*) FROM change) FROM road"
    stored = await read(fresh, records)
    assert await schema.migrate(fresh) == schema.head()
    assert await read(fresh, records) == stored
    assert await read(fresh, "SELECT version_num FROM alembic_version") == [(schema.head(),)]
    assert dump_schema(cluster) == before


@pytest.mark.parametrize(
    ("revision", "message"),
    [("0010", "early schema of version 0.1.0 .* Run `coverage-registry migrate`"), ("9999", "newer version")],
)
async def test_a_schema_that_cannot_be_upgraded_is_refused(fresh: Database, revision: str, message: str) -> None:
    await run(fresh, f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(schema.SchemaMismatch, match=message):
        await schema.migrate(fresh)
    assert await read(fresh, "SELECT version_num FROM alembic_version") == [(revision,)]
    with pytest.raises(schema.SchemaMismatch, match="Run `coverage-registry migrate`"):
        await schema.require_head(fresh)


async def test_a_new_table_gets_its_triggers_from_one_call(fresh: Database) -> None:
    await run(
        fresh,
        JURISDICTION,
        "CREATE TABLE pole (id bigint GENERATED ALWAYS AS IDENTITY, version integer NOT NULL DEFAULT 1, "
        "created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), "
        "removed_at timestamptz, code text NOT NULL, jurisdiction text NOT NULL, height_m double precision, "
        "serial_number text, document text NOT NULL, geometry geometry(Point, 4326) NOT NULL)",
    )
    pole = CreateRecordTriggers(
        "pole",
        NEWEST_TEMPLATE,
        document="code text, jurisdiction text, height_m double precision, version integer",
        restricted=["serial_number"],
    )
    await run_operations(fresh, lambda operations: operations.invoke(pole))
    await run(
        fresh,
        "INSERT INTO pole (code, jurisdiction, serial_number, geometry) "
        "VALUES ('p', '410800', 's', 'SRID=4326;POINT(113 35)')",
        "UPDATE pole SET height_m = 6.5",
        "UPDATE pole SET removed_at = now()",
    )
    assert await read(fresh, "SELECT document FROM pole") == [
        ('{"code":"p","jurisdiction":"410800","height_m":6.5,"version":3',),
    ]
    assert await read(
        fresh,
        "SELECT operation, version, before ->> 'height_m', after ->> 'height_m', after ->> 'serial_number' "
        "FROM change WHERE kind = 'pole' ORDER BY seq",
    ) == [("create", 1, None, None, "s"), ("update", 2, None, "6.5", "s"), ("remove", 3, "6.5", None, None)]


async def test_a_generated_call_repairs_triggers_and_documents(fresh: Database) -> None:
    await run(
        fresh,
        JURISDICTION,
        "INSERT INTO camera (code, jurisdiction, functions, lifecycle, geometry) "
        "VALUES ('c', '410800', '{face}', 'in_use', 'SRID=4326;POINT(113 35)')",
        "DROP TRIGGER refuse ON waiver",
    )
    short = CreateRecordTriggers("camera", NEWEST_TEMPLATE, "code text", ["network_address"], located=True)
    short.rewrite_documents = True
    stored = "SELECT version, document, updated_at, (SELECT count(*) FROM change) FROM camera"
    [(version, document, updated_at, changes)] = await read(fresh, stored)
    await run_operations(fresh, lambda operations: operations.invoke(short))
    assert await read(fresh, stored) == [(version, '{"code":"c"', updated_at, changes)]

    missing = await find_missing(fresh)
    assert {call.table: call.rewrite_documents for call in missing} == {"camera": True, "waiver": False}
    migration = "\n".join(call.to_call() for call in missing)
    await run_operations(fresh, lambda bound: exec(migration, {"op": bound}))
    assert await find_missing(fresh) == []
    assert await read(fresh, stored) == [(version, document, updated_at, changes)]
