"""One private PostGIS cluster a session, migrated by the real migrations; emptied before each test.

Set TEST_DATABASE_URL (a superuser's, to an empty database with PostGIS) to use a server of your own.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.access import keys
from app.db import schema
from app.db.cluster import LocalCluster
from app.db.engine import Database, WriteContext
from app.main import create_app
from app.settings import Settings
from tests import builders
from tests.builders import KeyFor, Serve

SECRET = "secret of the tests"  # not a secret
_EMPTIED = (
    "jurisdiction, ring, control_point, checkpoint, camera, road, building, device_state, "
    "change_log, revision, touched, waiver, scenario, analysis_answer, api_key, import_job, "
    "import_page, import_profile"
)


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster | None]:
    """A cluster of our own, None when the environment names a server."""
    if "TEST_DATABASE_URL" in os.environ:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="registry-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        own = LocalCluster(Path(folder), durable=False)
        own.start()
        yield own
        own.stop()


@pytest.fixture(scope="session")
def database_url(cluster: LocalCluster | None) -> str:
    """URL of a database at head."""
    url = os.environ["TEST_DATABASE_URL"] if cluster is None else cluster.url

    async def prepare() -> None:
        database = Database(url)
        await schema.migrate(database)
        await database.close()

    asyncio.run(prepare())
    return url


@pytest.fixture(scope="session")
def superuser_url(database_url: str) -> str:
    """URL of the same database for its superuser, who may empty it."""
    return database_url.replace("registry@", "postgres@")


@pytest.fixture
async def empty(superuser_url: str) -> None:
    """Empty every table, past the triggers that forbid it."""
    database = Database(superuser_url, pool_size=1)
    async with database.engine.begin() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        await connection.execute(text(f"TRUNCATE {_EMPTIED} RESTART IDENTITY CASCADE"))
    await database.close()


@pytest.fixture
async def database(database_url: str, empty: None) -> AsyncIterator[Database]:
    """An empty registry."""
    opened = Database(database_url, pool_size=8)
    yield opened
    await opened.close()


def settings_for(url: str, folder: Path, **changed: Any) -> Settings:
    """Return settings for a test application."""
    known: dict[str, Any] = {
        "database_url": url, "data_dir": folder, "secret": SECRET, "log_level": "error",
        "pool_size": 8, **changed,
    }  # fmt: skip
    return Settings(**known)


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://registry") as opened,
    ):
        yield opened


@pytest.fixture
def serve(database_url: str, empty: None, tmp_path: Path) -> Serve:
    """Serves with other settings: ``async with serve(max_body_mb=1) as client``."""
    return lambda **changed: _serving(settings_for(database_url, tmp_path, **changed))


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real application, nobody in particular."""
    async with serve() as opened:
        yield opened


async def make_key(database: Database, role: str, jurisdictions: list[str] | None = None) -> dict[str, str]:
    """Return the Authorization header of a new key."""
    async with database.open_transaction(WriteContext("tests")) as connection:
        _, key = await keys.create_key(
            connection, SECRET.encode(), label="tests", role=role,  # type: ignore[arg-type]  # roles by name
            jurisdictions=jurisdictions, expires_at=None,
        )  # fmt: skip
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def key_for(database: Database) -> KeyFor:
    """Makes keys: ``await key_for("editor", ["410800"])`` is an Authorization header."""
    return partial(make_key, database)


@pytest.fixture
async def admin(client: httpx.AsyncClient, key_for: KeyFor) -> httpx.AsyncClient:
    """The same client, as an administrator of everything."""
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
