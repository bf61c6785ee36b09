"""The API description of the GIS interface: valid OpenAPI 3.0, true, and in the shape QGIS reads."""

from pathlib import Path

import anyio
import httpx
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.python.asgi import shutdown_lifespans

from app.main import create_app
from app.ogc import parameters as query
from app.ogc.collections import COLLECTIONS
from tests.builders import Json
from tests.conftest import settings_for

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.fixture
async def document(client: httpx.AsyncClient) -> Json:
    """Return the description."""
    response = await client.get("/ogc/api")
    assert response.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    content: Json = response.json()
    return content


async def test_it_is_openapi_3_0(document: Json) -> None:
    assert document["openapi"].startswith("3.0.")
    assert document["servers"] == [{"url": "http://registry/ogc"}]
    schemathesis.openapi.from_dict(document).validate()


async def test_qgis_finds_its_page_size_and_its_filters(document: Json) -> None:
    limit = document["components"]["parameters"]["limit"]["schema"]
    assert (limit["maximum"], limit["default"]) == (query.MAX_LIMIT, query.DEFAULT_LIMIT)
    for collection in COLLECTIONS:
        listed = document["paths"][f"/collections/{collection.id}/items"]["get"]["parameters"]
        simple = {known["name"]: known for known in listed if "name" in known}
        assert simple.keys() == query.list_equality_parameters(collection, reveal=False)
        for known in simple.values():
            assert (known["in"], known["style"], known["explode"]) == ("query", "form", False)
            assert isinstance(known["schema"]["type"], str)


async def test_qgis_learns_which_queryable_is_the_geometry(gis: httpx.AsyncClient) -> None:
    """It sends spatial filters only where one is a reference to a GeoJSON schema without a type."""
    for collection in COLLECTIONS:
        response = await gis.get(f"/ogc/collections/{collection.id}/queryables")
        content = response.json()["properties"]["geometry"]
        assert content["$ref"].startswith("https://geojson.org/schema/")
        assert "type" not in content


async def test_no_client_is_refused_the_description(client: httpx.AsyncClient) -> None:
    for accept in ("application/openapi+json;version=3.1", "text/csv", "application/json"):
        response = await client.get("/ogc/api", headers={"Accept": accept})
        assert response.status_code == 200, accept
    page = await client.get("/ogc/api", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.timeout(300)
async def test_the_service_answers_as_described(gis: httpx.AsyncClient, database_url: str, tmp_path: Path) -> None:
    parameters = {"path.featureId": "cam-01"}
    config = SchemathesisConfig.from_dict(
        {
            "seed": 410800,
            "headers": {"Authorization": gis.headers["authorization"]},
            "generation": {
                "max-examples": 2, "deterministic": True, "no-shrink": True, "database": "none",
            },
            "phases": {"stateful": {"enabled": False}},
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
            "operations": [{"include-method": "GET", "parameters": parameters}],
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
        }
    )  # fmt: skip
    failed, driven = await anyio.to_thread.run_sync(_drive, config, database_url, tmp_path)
    assert failed == {}
    assert driven > 200


def _drive(config: SchemathesisConfig, url: str, folder: Path) -> tuple[Json, int]:
    app = create_app(settings_for(url, folder))
    schema = schemathesis.openapi.from_asgi("/ogc/api", app, config=config)
    failed: Json = {}
    driven = 0
    try:
        for event in from_schema(schema).execute():
            assert not isinstance(event, events.NonFatalError | events.FatalError), event
            if isinstance(event, events.ScenarioFinished):
                driven += len(event.recorder.cases)
                for checks in event.recorder.checks.values():
                    for check in checks:
                        if check.status == Status.FAILURE and check.failure_info is not None:
                            said = f"{check.failure_info.failure}\n{check.failure_info.code_sample}"
                            failed.setdefault(f"{event.label} {check.name}", said)
    finally:
        shutdown_lifespans()
    return failed, driven
