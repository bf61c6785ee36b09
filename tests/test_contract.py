"""The API description: valid, complete, and true of what the service answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.python.asgi import shutdown_lifespans

from app.http.problems import MEDIA_TYPE
from app.main import create_app
from tests.builders import CITY, Json, KeyFor, building, camera, checkpoint, control_point, road
from tests.conftest import settings_for

METHODS = {"get", "put", "post", "patch", "delete"}
READS = {"include-method": "GET", "parameters": {"path.code": CITY, "path.control_point": CITY}}
"""Reads ask for records that are there, so that there is something to hold against the schema."""
STREAM = {"include-path": "/v1/changes/stream", "parameters": {"query.wait_s": 0}}
"""A stream has no end unless it is asked for one."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Return the API description."""
    folder = tmp_path_factory.mktemp("contract")
    app = create_app(settings_for("postgresql://nobody@127.0.0.1:1/none", folder))
    described: Json = app.openapi()
    return described


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield method, path, item[method]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def test_the_description_is_openapi(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()


def test_its_schemas_are_json_schema_and_all_there(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema_rs.meta.validate(schema)
    known = {f"#/components/schemas/{name}" for name in schemas}
    assert set(_references(document)) <= known


def test_its_examples_are_what_they_exemplify(document: Json) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            whole = {**described, "components": document["components"]}
            for example in described.get("examples", []):
                assert jsonschema_rs.validator_for(whole).is_valid(example), (name, field)


def test_every_operation_has_a_summary_and_a_name_of_its_own(document: Json) -> None:
    operations = [operation for _, _, operation in _operations(document)]
    assert all(operation["summary"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)


def test_every_operation_documents_its_problems(document: Json) -> None:
    for method, path, operation in _operations(document):
        if not path.startswith("/v1/"):
            continue
        needed = {"401", "403", "422", "503"}
        needed |= {"413", "415"} if "requestBody" in operation else set()
        needed |= {"404"} if "{" in path else set()
        responses = operation["responses"]
        assert needed <= responses.keys(), (method, path)
        problems = [found for status, found in responses.items() if int(status) >= 400]
        assert all(list(found["content"]) == [MEDIA_TYPE] for found in problems), (method, path)


def test_whatever_is_sent_is_described(document: Json) -> None:
    drafts = {
        name: schema["properties"]
        for name, schema in document["components"]["schemas"].items()
        if name.endswith("Draft") or name in ("Lane", "Requirement", "StateReport")
    }
    assert len(drafts) == 12
    for name, fields in drafts.items():
        assert [field for field in fields if not fields[field].get("description")] == [], name
    for method, path, operation in _operations(document):
        parameters = operation.get("parameters", [])
        assert [p["name"] for p in parameters if not p.get("description")] == [], (method, path)


@pytest.mark.parametrize("name", ["Overlay", "ScenarioDraft"])
def test_a_change_that_is_imagined_is_not_described_as_one_of_the_history(document: Json, name: str) -> None:
    schemas = document["components"]["schemas"]
    items = schemas[name]["properties"]["changes"]["items"]
    change = schemas[items["$ref"].rpartition("/")[2]]
    assert {"kind", "upsert", "patch", "delete", "state", "fail", "seal"} <= {*change["properties"]}


@pytest.fixture
async def key(ringed: httpx.AsyncClient, key_for: KeyFor) -> str:
    """Return an administrator's key to a city with a record of each kind."""
    for plural, draft in (
        ("control-points", control_point(CITY)),
        ("roads", road(CITY)),
        ("buildings", building(CITY)),
        ("checkpoints", checkpoint(CITY, state="online", network_address="198.51.100.7")),
        ("cameras", camera(CITY, state="online", control_point=CITY)),
    ):
        answer = await ringed.put(f"/v1/{plural}/{CITY}", json=draft)
        assert answer.status_code == 201, answer.text
    return (await key_for("admin"))["Authorization"]


@pytest.fixture
def config(key: str) -> SchemathesisConfig:
    """Return how far schemathesis goes: the same requests on every run, and not too many."""
    return SchemathesisConfig.from_dict(
        {
            "seed": 410800,
            "headers": {"Authorization": key},
            "generation": {
                "max-examples": 3, "deterministic": True, "no-shrink": True, "database": "none",
            },
            "phases": {"stateful": {"enabled": False}},
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
            "operations": [STREAM, READS],
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
        }
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_the_service_answers_as_described(config: SchemathesisConfig, database_url: str, tmp_path: Path) -> None:
    app = create_app(settings_for(database_url, tmp_path))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    failed: dict[tuple[str | None, str], str] = {}
    driven: dict[str | None, int] = {}
    try:
        for event in from_schema(schema).execute():
            assert not isinstance(event, events.NonFatalError | events.FatalError), event
            if isinstance(event, events.ScenarioFinished):
                driven[event.label] = driven.get(event.label, 0) + len(event.recorder.cases)
                for checks in event.recorder.checks.values():
                    for check in checks:
                        if check.status == Status.FAILURE and check.failure_info is not None:
                            said = f"{check.failure_info.failure}\n{check.failure_info.code_sample}"
                            failed.setdefault((event.label, check.name), said)
    finally:
        shutdown_lifespans()
    assert failed == {}
    operations = {f"{method.upper()} {path}" for method, path, _ in _operations(app.openapi())}
    assert {label for label, cases in driven.items() if cases} == operations
