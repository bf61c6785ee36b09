"""Fixtures of all tests: one local cluster for each test process, migrated once and emptied before each test.

Set TEST_DATABASE_URL (of a superuser, to an empty database with PostGIS) to use another server. Hypothesis uses the
profile ``quick``, which repeats the same examples in every run; ``make laws`` uses ``long``, with new ones.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import hypothesis
import pytest

from app.access import keys
from app.db import schema
from app.db.cluster import LocalCluster
from app.db.engine import Database, WriteContext
from app.main import create_app
from app.settings import Settings, build_driver_url
from tests import builders
from tests.builders import KeyFor, Serve

# No deadline: laws are timed as a whole, because the first example pays for the start of libraries.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=60, derandomize=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

SECRET = "secret of the tests"
# Emptying the tables that a test has filled takes 27 ms, all tables 83 ms, a new database from a template 82 ms.
_EMPTY_TABLES = """
DO $$
DECLARE
    name text;
    is_used boolean;
BEGIN
    SET LOCAL session_replication_role = replica;  -- past the triggers that forbid it
    FOR name IN
        SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename NOT IN ('spatial_ref_sys', 'alembic_version')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO is_used;
        IF is_used THEN
            EXECUTE format('TRUNCATE %I CASCADE', name);
        END IF;
    END LOOP;
    FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
    LOOP
        EXECUTE format('ALTER SEQUENCE %I RESTART', name);
    END LOOP;
END $$
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster | None]:
    """The cluster of this process, None if the environment names a server."""
    if "TEST_DATABASE_URL" in os.environ:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="registry-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        cluster = LocalCluster(Path(folder), durable=False)
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture(scope="session")
def database_url(cluster: LocalCluster | None) -> str:
    """URL of a database with the newest schema."""
    url = os.environ["TEST_DATABASE_URL"] if cluster is None else cluster.url

    async def prepare() -> None:
        database = Database(url)
        await schema.migrate(database)
        await database.close()

    asyncio.run(prepare())
    return url


@pytest.fixture(scope="session")
def superuser_url(database_url: str) -> str:
    """URL of the same database for its superuser, who can empty it."""
    return database_url.replace("registry@", "postgres@")


@pytest.fixture
async def empty(superuser_url: str) -> None:
    """Empty every table."""
    connection = await asyncpg.connect(build_driver_url(superuser_url))
    await connection.execute(_EMPTY_TABLES)
    await connection.close()


@pytest.fixture
async def database(database_url: str, empty: None) -> AsyncIterator[Database]:
    """An empty registry."""
    opened = Database(database_url, pool_size=8)
    yield opened
    await opened.close()


def settings_for(url: str, folder: Path, **changed: Any) -> Settings:
    """Return settings for a test application."""
    defaults: dict[str, Any] = {
        "database_url": url,
        "data_dir": folder,
        "secret": SECRET,
        "log_level": "error",
        "pool_size": 8,
    }
    return Settings(**defaults | changed)


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://registry") as opened,
    ):
        yield opened


@pytest.fixture
def serve(database_url: str, empty: None, tmp_path: Path) -> Serve:
    """Starts the application with other settings: ``async with serve(max_body_mb=1) as client``."""
    return lambda **changed: open_client(settings_for(database_url, tmp_path, **changed))


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real application, without a key."""
    async with serve() as opened:
        yield opened


async def make_key(database: Database, role: str, jurisdictions: list[str] | None = None) -> dict[str, str]:
    """Return the Authorization header of a new key."""
    async with database.open_transaction(WriteContext("tests")) as connection:
        _, key = await keys.create_key(
            connection,
            SECRET.encode(),
            label="tests",
            role=role,  # type: ignore[arg-type]  # roles by name
            jurisdictions=jurisdictions,
            expires_at=None,
        )
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def key_for(database: Database) -> KeyFor:
    """Creates keys: ``await key_for("editor", ["410800"])`` is an Authorization header."""
    return partial(make_key, database)


@pytest.fixture
async def admin(client: httpx.AsyncClient, key_for: KeyFor) -> httpx.AsyncClient:
    """The same client, with the key of an administrator of all jurisdictions."""
    client.headers.update(await key_for("admin"))
    return client


@pytest.fixture
async def city(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """The administrator's client, and one city without rings."""
    answer = await admin.put(f"/v1/jurisdictions/{builders.CITY}", json=builders.jurisdiction())
    assert answer.status_code == 201, answer.text
    return admin


@pytest.fixture
async def ringed(city: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, with the three rings."""
    for level, half_deg in builders.HALF_DEG.items():
        url = f"/v1/jurisdictions/{builders.CITY}/rings/{level}"
        answer = await city.put(url, json=builders.square(half_deg))
        assert answer.status_code == 201, answer.text
    return city
