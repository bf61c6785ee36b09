"""Every problem the service answers with, once: status, code, place, and the members of the body."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import structlog

from app.db.engine import Database
from tests.builders import (
    CITY,
    LAT,
    LON,
    OTHER,
    Json,
    KeyFor,
    Serve,
    camera,
    checkpoint,
    contents,
    control_point,
    jurisdiction,
    point,
    square,
)

TESTS = Path(__file__).parents[1]
DOCUMENTED = Path(__file__).parents[2] / "docs/errors.md"
RINGS = f"/v1/jurisdictions/{CITY}/rings"
TEXT = {"Content-Type": "text/plain"}


class Call(NamedTuple):
    """A request that meets a problem, and where its first fault is."""

    method: str
    url: str
    json: Any = None
    at: str | None = None
    headers: dict[str, str] | None = None


CAMERAS, CAMERA = "/v1/cameras", "/v1/cameras/camera-1"
BOWTIE = [[113.1, 35.1], [113.3, 35.3], [113.3, 35.1], [113.1, 35.3], [113.1, 35.1]]
SWAPPED, FAR = camera(geometry=point(LAT, LON)), camera(geometry=point(120, 35))
TOMORROW = {"code": "camera-1", "state": "online", "reported_at": "2999-01-01T00:00:00Z"}
OLD, WEAK, ANY, NEW = (
    {"If-Match": '"9"'}, {"If-Match": 'W/"1"'}, {"If-Match": "*"}, {"If-None-Match": "*"},
)  # fmt: skip
GIS = "/ogc/collections/cameras/items"
PROBLEMS: dict[tuple[int, str], list[Call]] = {
    (401, "unauthenticated"): [Call("GET", CAMERAS, headers={"Authorization": ""})],
    (404, "not-found"): [
        Call("GET", f"{CAMERAS}/absent"),
        Call("GET", f"{CAMERAS}/absent/history"),
        Call("GET", f"{CAMERA}?as_of=2000-01-01T00:00:00Z"),
        Call("PATCH", f"{CAMERAS}/absent", {}),
        Call("DELETE", f"{CAMERAS}/absent"),
        Call("GET", f"{RINGS}/city"),
        Call("PUT", "/v1/jurisdictions/410900/rings/core", square(0.1)),
        Call("POST", "/v1/jurisdictions/410900/membership", {"points": []}),
        Call("DELETE", "/v1/keys/abcdefghijkl"),
    ],
    (404, "no-such-path"): [Call("GET", "/v1/people"), Call("GET", f"{CAMERAS}/")],
    (405, "method-not-allowed"): [Call("POST", CAMERA, {})],
    (409, "already-exists"): [Call("POST", CAMERAS, camera(), at="/code")],
    (409, "jurisdiction-fixed"): [
        Call("PUT", CAMERA, camera(jurisdiction=OTHER), at="/jurisdiction"),
        Call("PATCH", CAMERA, {"jurisdiction": OTHER}, at="/jurisdiction"),
    ],
    (409, "code-fixed"): [
        Call("PATCH", CAMERA, {"code": "other"}, at="/code"),
        Call("PATCH", CAMERA, {"code": None}, at="/code"),
    ],
    (409, "still-referenced"): [Call("DELETE", "/v1/checkpoints/checkpoint-1")],
    (409, "rings-not-nested"): [
        Call("PUT", f"{RINGS}/urban", square(0.01), at="/geometry"),
        Call("PUT", f"{RINGS}/city", square(0.03, LON + 0.1), at="/geometry"),
    ],
    (412, "precondition-failed"): [
        Call("PUT", CAMERA, camera(), headers=OLD),
        Call("PUT", CAMERA, camera(), headers=WEAK),
        Call("PUT", CAMERA, camera(), headers=NEW),
        Call("PUT", f"{CAMERAS}/new", camera("new"), headers=ANY),
        Call("PATCH", CAMERA, {}, headers=OLD),
        Call("DELETE", CAMERA, headers=OLD),
        Call("PUT", f"{RINGS}/core", square(0.01), headers=OLD),
        Call("PUT", f"{RINGS}/core", square(0.01), headers=NEW),
        Call("DELETE", f"{RINGS}/core", headers=OLD),
    ],
    (413, "too-large"): [
        Call("POST", f"{CAMERAS}:batch", [1] * 10_001),
        Call("POST", "/v1/states", [1] * 10_001),
        Call("POST", f"/v1/jurisdictions/{CITY}/membership", {"points": [1] * 100_001}),
    ],
    (415, "unsupported-media-type"): [Call("PUT", CAMERA, camera(), headers=TEXT)],
    (422, "invalid"): [
        Call("PUT", CAMERA, camera(range_m=-1), at="/range_m"),
        Call("GET", f"{RINGS}/suburban", at="path:level"),
        Call("DELETE", CAMERA, at="header:X-Change-Reason", headers={"X-Change-Reason": "x" * 501}),
    ],
    (422, "forbidden-content"): [Call("PUT", CAMERA, camera(password="secret"), at="/password")],
    (422, "crs-distorts"): [Call("PATCH", "/v1/jurisdictions/410800", {"metric_epsg": 3857}, at="/metric_epsg")],
    (422, "invalid-geometry"): [
        Call("PUT", f"{RINGS}/core", {"type": "Polygon", "coordinates": [BOWTIE]}, at="/geometry")
    ],
    (422, "geometry-unclosed"): [
        Call("PUT", f"{RINGS}/core", {"type": "Polygon", "coordinates": [BOWTIE[1:]]}, at="/geometry")
    ],
    (422, "swapped-coordinates"): [Call("PUT", CAMERA, SWAPPED, at="/geometry")],
    (422, "outside-extent"): [Call("PUT", CAMERA, FAR, at="/geometry")],
    (422, "unknown-reference"): [Call("PUT", CAMERA, camera(checkpoint="none"), at="/checkpoint")],
    (422, "batch-refused"): [Call("POST", f"{CAMERAS}:batch", [camera(), 5], at="/items/1")],
    (422, "future-time"): [Call("POST", "/v1/states", [TOMORROW], at="/0/reported_at")],
    (400, "bad-query"): [
        Call("GET", f"{GIS}?limit=0", at="?limit"),
        Call("GET", f"{GIS}?bbox=1,2,3", at="?bbox"),
        Call("GET", "/ogc?f=csv", at="?f"),
    ],
    (400, "unknown-parameter"): [Call("GET", f"{GIS}?page=2", at="?page")],
    (400, "bad-filter"): [Call("GET", f"{GIS}?filter=colour=1", at="?filter")],
    (400, "filter-too-large"): [
        Call("GET", f"{GIS}?filter=" + "(" * 100, at="?filter"),
    ],
    (406, "not-acceptable"): [Call("GET", GIS, headers={"Accept": "text/csv"})],
    (422, "unknown-parameter"): [Call("GET", f"{CAMERAS}?page=2", at="?page")],
    (422, "invalid-query"): [
        Call("GET", f"{CAMERAS}?limit=1&limit=2", at="?limit"),
        Call("GET", "/v1/changes?after=elsewhere", at="?after"),
    ],
}
HERE = {
    "forbidden",
    "malformed-json",
    "rule-broken",
    "unavailable",
    "internal-error",
    "not-computable",
}
"""Codes that other tests of this file provoke."""
BY_STATUS = {"abandoned"}
"""The caller who would read it has left: tests see the status only."""


def _is_problem(answer: httpx.Response) -> Json:
    assert answer.headers["content-type"] == "application/problem+json"
    body: Json = answer.json()
    assert body["type"] == f"urn:coverage-registry:problem:{body['code']}"
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.url.path
    assert body["request_id"] == answer.headers["x-request-id"]
    assert all(set(fault) == {"pointer", "code", "message"} for fault in body["errors"])
    return body


@pytest.fixture
async def equipped(city: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a city with a core ring, and a camera on a checkpoint."""
    await city.put(f"{RINGS}/core", json=square(0.02))
    await city.put("/v1/checkpoints/checkpoint-1", json=checkpoint())
    await city.put(CAMERA, json=camera(checkpoint="checkpoint-1"))
    return city


async def test_every_problem_and_nothing_is_written(equipped: httpx.AsyncClient, database: Database) -> None:
    before = await contents(database)
    seen, expected = [], []
    for (status, code), calls in PROBLEMS.items():
        for call in calls:
            answer = await equipped.request(call.method, call.url, json=call.json, headers=call.headers)
            body = _is_problem(answer)
            pointer = body["errors"][0]["pointer"] if body["errors"] else None
            seen.append((call.method, call.url, answer.status_code, body["code"], pointer))
            expected.append((call.method, call.url, status, code, call.at))
    assert seen == expected
    assert await contents(database) == before


def test_every_documented_problem_is_provoked() -> None:
    rows = [row.split("|") for row in DOCUMENTED.read_text().splitlines() if row.startswith("| ")]
    documented = {
        (int(status), code) for _, status, codes, *_ in rows[1:] for code in re.findall(r"`([a-z-]+[a-z])`", codes)
    }
    elsewhere = "\n".join(file.read_text() for file in TESTS.rglob("test_*.py") if file.name != Path(__file__).name)
    others = {code for _, code in documented - PROBLEMS.keys()} - HERE - BY_STATUS
    assert {code for code in others if f'"{code}"' not in elsewhere} == set()


async def test_a_scope_or_role_that_lacks_is_forbidden(city: httpx.AsyncClient, key_for: KeyFor) -> None:
    answer = await city.put("/v1/cameras/a", json=camera("a"), headers=await key_for("analyst"))
    assert _is_problem(answer)["code"] == "forbidden"
    assert answer.status_code == 403


async def test_records_all_over_the_globe_are_not_computable(city: httpx.AsyncClient) -> None:
    await city.put(f"/v1/jurisdictions/{CITY}", json=jurisdiction(extent=None))
    await city.put("/v1/control-points/here", json=control_point("here"))
    await city.put("/v1/cameras/there", json=camera("there", geometry=point(LON - 90, 0)))
    answer = await city.get(f"/v1/jurisdictions/{CITY}/coverage")
    assert _is_problem(answer)["code"] == "not-computable"
    assert answer.status_code == 409


async def test_what_a_refusal_adds(equipped: httpx.AsyncClient) -> None:
    needed = await equipped.delete("/v1/checkpoints/checkpoint-1")
    assert needed.json()["referenced_by"] == [{"kind": "camera", "code": "camera-1"}]
    stale = await equipped.put("/v1/cameras/camera-1", json=camera(), headers={"If-Match": '"9"'})
    assert stale.headers["etag"] == '"1"'
    large = await equipped.post("/v1/states", json=[1] * 10_001)
    assert large.json()["limit"] == 10_000
    text = await equipped.post("/v1/cameras", json=camera("b"), headers=TEXT)
    assert text.headers["accept-post"] == "application/json, application/geo+json"
    patch = await equipped.patch("/v1/cameras/camera-1", json={}, headers=TEXT)
    assert patch.headers["accept-patch"].startswith("application/merge-patch+json")
    nobody = await equipped.get("/v1/cameras", headers={"Authorization": ""})
    assert nobody.headers["www-authenticate"] == "Bearer"


async def test_a_refused_method_is_told_the_others(city: httpx.AsyncClient) -> None:
    urls = ["/v1/cameras", "/v1/cameras/a", "/v1/cameras:batch", f"{RINGS}/core", "/v1/states"]
    told = {url: (await city.request("TRACE", url)).headers["allow"] for url in urls}
    assert list(told.values()) == [
        "GET, HEAD, POST", "DELETE, GET, HEAD, PATCH, PUT", "POST", "DELETE, GET, HEAD, PUT", "POST",
    ]  # fmt: skip


async def test_head_is_get_without_the_body(equipped: httpx.AsyncClient) -> None:
    for url in (CAMERA, CAMERAS, f"{RINGS}/core", f"{CAMERAS}/absent", "/livez"):
        got, head = await equipped.get(url), await equipped.head(url)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-type", "etag", "vary"):
            assert head.headers.get(name) == got.headers.get(name)
    assert (await equipped.head("/v1/states")).status_code == 405


async def test_all_faults_are_told_at_once(city: httpx.AsyncClient) -> None:
    wrong = checkpoint(kind="radar", lanes=[{"lane": 0, "direction": "up"}], geometry=None)
    faults = (await city.post("/v1/checkpoints", json=wrong)).json()["errors"]
    assert [fault["pointer"] for fault in faults] == [
        "/kind", "/lanes/0/lane", "/lanes/0/direction", "/geometry",
    ]  # fmt: skip


async def test_a_pointer_escapes_what_it_must(city: httpx.AsyncClient) -> None:
    answer = await city.post("/v1/cameras", json={**camera(), "a/b~c": 1})
    assert answer.json()["errors"][0]["pointer"] == "/a~1b~0c"


@pytest.mark.parametrize("given", ["ticket-7", "a.b:c_d-1", "x" * 100])
async def test_a_request_id_is_kept(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/v1/cameras", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"], answer.json()["request_id"]) == (given, given)


@pytest.mark.parametrize("given", ["", "x" * 101, "two words", "<script>", "号"])
async def test_a_request_id_that_is_no_plain_word_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    first = await client.get("/livez", headers=[(b"X-Request-ID", given.encode())])
    second = await client.get("/livez")
    ids = [answer.headers["x-request-id"] for answer in (first, second)]
    assert all(re.fullmatch("[0-9a-f]{16}", found) for found in ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize("reason", ["measured again", "按现场核查修正", "naïve", "x" * 500])
async def test_a_reason_is_kept_in_the_history(city: httpx.AsyncClient, reason: str) -> None:
    headers = [(b"X-Change-Reason", reason.encode()), (b"X-Request-ID", b"ticket-7")]
    await city.put("/v1/cameras/a", json=camera("a"), headers=headers)
    (entry,) = (await city.get("/v1/cameras/a/history")).json()["items"]
    assert (entry["reason"], entry["request_id"]) == (reason, "ticket-7")


async def test_a_database_that_is_away_is_503_everywhere(serve: Serve, key_for: KeyFor) -> None:
    key = await key_for("admin")
    async with serve(database_url="postgresql://nobody@127.0.0.1:1/none") as client:
        for method, url in (
            ("GET", "/v1/cameras"),
            ("GET", "/v1/cameras/a"),
            ("PUT", "/v1/cameras/a"),
            ("POST", "/v1/states"),
            ("GET", RINGS),
            ("GET", f"/v1/jurisdictions/{CITY}/coverage"),
            ("GET", "/v1/keys"),
        ):
            answer = await client.request(method, url, headers=key, json=camera("a"))
            assert _is_problem(answer)["code"] == "unavailable"
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["database"]["ok"]) == (503, False)


async def test_our_own_fault_is_a_plain_500(city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret inner working")

    monkeypatch.setattr("app.routers.records.build_page", broken)
    with structlog.testing.capture_logs() as logged:
        answer = await city.get("/v1/cameras", headers={"X-Request-ID": "ticket-7"})
    assert _is_problem(answer)["code"] == "internal-error"
    assert answer.status_code == 500
    assert "secret" not in answer.text
    (line,) = [line for line in logged if line["log_level"] == "error"]
    assert (line["request_id"], str(line["exc_info"])) == ("ticket-7", "the secret inner working")


async def test_ready_names_its_checks(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    checks = answer.json()["checks"]
    assert answer.status_code == 200
    assert list(checks) == ["database", "postgis", "migrations"]
    assert all(check["ok"] and check["ms"] >= 0 for check in checks.values())


async def test_version_names_the_schema(client: httpx.AsyncClient) -> None:
    assert set((await client.get("/version")).json()) == {"name", "version", "schema"}


async def test_control_points_of_another_city_are_no_reference(city: httpx.AsyncClient) -> None:
    await city.put(f"/v1/jurisdictions/{OTHER}", json=jurisdiction(OTHER))
    await city.put("/v1/control-points/p", json=control_point("p", jurisdiction=OTHER))
    answer = await city.put("/v1/cameras/a", json=camera("a", control_point="p"))
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-reference")
