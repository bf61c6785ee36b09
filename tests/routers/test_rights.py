"""Who may do what: every role at every kind of route, and what a scope hides."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import httpx
import pytest

from app.access import keys
from app.access.roles import ROLES
from app.db.engine import Database
from tests.builders import (
    CITY,
    EXTENT,
    MERGE_PATCH,
    OTHER,
    Json,
    KeyFor,
    Serve,
    building,
    camera,
    checkpoint,
    contents,
    control_point,
    jurisdiction,
    road,
    square,
)

NOW = "2999-01-01T00:00:00Z"
CITY_URL = f"/v1/jurisdictions/{CITY}"


class Route(NamedTuple):
    """A request, and the lowest role that may make it."""

    role: str
    method: str
    url: str
    json: object = None


ROUTES = [
    Route("reader", "GET", "/v1/jurisdictions"),
    Route("reader", "GET", CITY_URL),
    Route("reader", "GET", "/v1/cameras"),
    Route("reader", "GET", "/v1/cameras/camera-1"),
    Route("reader", "GET", f"{CITY_URL}/rings"),
    Route("reader", "GET", f"{CITY_URL}/rings/core"),
    Route("reader", "POST", f"{CITY_URL}/membership", {"points": []}),
    Route("analyst", "GET", "/v1/cameras/camera-1/history"),
    Route("analyst", "GET", f"/v1/cameras/camera-1?as_of={NOW}"),
    Route("analyst", "GET", f"{CITY_URL}/rings/core/history"),
    Route("analyst", "GET", f"{CITY_URL}/rings/core?as_of={NOW}"),
    Route("analyst", "GET", "/v1/changes"),
    Route("analyst", "GET", "/v1/exports/cameras.csv"),
    Route("analyst", "GET", f"/v1/exports/gaps.csv?jurisdiction={CITY}"),
    Route("analyst", "GET", "/v1/changes/stream?wait_s=0"),
    Route("analyst", "GET", f"{CITY_URL}/coverage"),
    Route("analyst", "GET", f"{CITY_URL}/coverage/control-points"),
    Route("analyst", "GET", f"{CITY_URL}/coverage/gaps"),
    Route("analyst", "GET", f"{CITY_URL}/coverage/area"),
    Route("analyst", "GET", f"{CITY_URL}/coverage/fields-of-view"),
    Route("analyst", "GET", "/v1/cameras/camera-1/field-of-view"),
    Route("editor", "POST", "/v1/cameras", camera("new")),
    Route("editor", "PUT", "/v1/cameras/camera-1", camera()),
    Route("editor", "PATCH", "/v1/cameras/camera-1", {}),
    Route("editor", "DELETE", "/v1/cameras/camera-1"),
    Route("editor", "POST", "/v1/cameras:batch", []),
    Route("editor", "POST", "/v1/states", []),
    Route("editor", "PUT", f"{CITY_URL}/rings/core", square(0.1)),
    Route("editor", "DELETE", f"{CITY_URL}/rings/core"),
    Route("admin", "PUT", CITY_URL, jurisdiction()),
    Route("admin", "PATCH", CITY_URL, {}),
    Route("admin", "POST", "/v1/jurisdictions", jurisdiction(OTHER)),
    Route("admin", "POST", "/v1/jurisdictions:batch", []),
    Route("admin", "GET", "/v1/keys"),
    Route("admin", "POST", "/v1/keys", {"label": "x", "role": "reader"}),
    Route("admin", "DELETE", "/v1/keys/abcdefghijkl"),
]


@pytest.fixture
async def equipped(city: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client without a key, of a city with a ring and a camera."""
    await city.put(f"{CITY_URL}/rings/core", json=square(0.1))
    await city.put("/v1/cameras/camera-1", json=camera())
    del city.headers["Authorization"]
    return city


async def _refusals(client: httpx.AsyncClient, key: dict[str, str]) -> dict[tuple[str, str], int]:
    """Return the refusals of the routes, the widest first, so that deletions come last."""
    found = {}
    for route in ROUTES:
        answer = await client.request(route.method, route.url, json=route.json, headers=key)
        if answer.status_code in (401, 403):
            found[route.method, route.url] = answer.status_code
        else:
            assert answer.status_code < 500
    return found


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_may_do_what_it_includes(equipped: httpx.AsyncClient, key_for: KeyFor, role: str) -> None:
    above = ROLES[ROLES.index(role) + 1 :]
    expected = {(route.method, route.url): 403 for route in ROUTES if route.role in above}
    assert await _refusals(equipped, await key_for(role)) == expected


async def test_without_a_key_nothing_is_told(equipped: httpx.AsyncClient, database: Database) -> None:
    before = await contents(database)
    assert await _refusals(equipped, {}) == {(route.method, route.url): 401 for route in ROUTES}
    assert await contents(database) == before


@pytest.mark.parametrize("url", ["/livez", "/readyz", "/version", "/openapi.json", "/docs"])
async def test_health_and_description_need_no_key(client: httpx.AsyncClient, url: str) -> None:
    assert (await client.get(url)).status_code == 200


async def test_anonymous_analysts_read_and_do_not_write(equipped: httpx.AsyncClient, serve: Serve) -> None:
    async with serve(anonymous_role="analyst") as client:
        refused = await _refusals(client, {})
        assert refused == {(route.method, route.url): 401 for route in ROUTES if route.role in ("editor", "admin")}
        bad_key = {"Authorization": "Bearer ccr_none"}
        assert (await client.get("/v1/cameras", headers=bad_key)).status_code == 401


async def test_rights_are_asked_before_the_body_is_read(equipped: httpx.AsyncClient, key_for: KeyFor) -> None:
    headers = await key_for("reader") | {"Content-Type": "text/plain"}
    for method, url in (("PUT", "/v1/cameras/a"), ("POST", "/v1/keys"), ("POST", "/v1/states")):
        answer = await equipped.request(method, url, content=b"{", headers=headers)
        assert answer.status_code == 403


# -- scope ----------------------------------------------------------------------------------------


DRAFTS = {
    "control-points": control_point, "roads": road, "buildings": building,
    "checkpoints": checkpoint, "cameras": camera,
}  # fmt: skip


@pytest.fixture
async def two_cities(city: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the administrator's client of two cities with one record of each kind."""
    await city.put(f"/v1/jurisdictions/{OTHER}", json=jurisdiction(OTHER))
    for code in (CITY, OTHER):
        await city.put(f"/v1/jurisdictions/{code}/rings/core", json=square(0.1))
        for plural, draft in DRAFTS.items():
            answer = await city.post(f"/v1/{plural}", json=draft(code, jurisdiction=code))
            assert answer.status_code == 201, answer.text
    return city


async def test_lists_end_at_the_scope(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("editor", [CITY])
    for plural in ("jurisdictions", *DRAFTS):
        for query, expected in (("", [CITY]), (f"?jurisdiction={OTHER}", []), ("?limit=1", [CITY])):
            page = (await two_cities.get(f"/v1/{plural}{query}", headers=key)).json()
            assert ([item["code"] for item in page["items"]], page["next"]) == (expected, None)


async def test_a_key_of_two_cities_sees_both(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("reader", [CITY, OTHER, "410900"])
    page = (await two_cities.get("/v1/cameras", headers=key)).json()
    assert [item["code"] for item in page["items"]] == [OTHER, CITY]


async def _looks_absent(
    client: httpx.AsyncClient, key: dict[str, str], method: str, url: str, body: Json | None = None
) -> None:
    """Hold an answer about the other city against the answer about a city that never was."""
    answers = []
    for code in (OTHER, "410999"):
        there = url.replace(OTHER, code)
        sent = None if body is None else {**body, "jurisdiction": code} if "code" in body else body
        sent = {**sent, "code": code} if sent and "code" in sent else sent
        answer = await client.request(method, there, json=sent, headers=key)
        told = answer.text.replace(code, "*").replace(answer.json()["request_id"], "")
        answers.append((answer.status_code, told, "etag" in answer.headers))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


async def test_outside_the_scope_nothing_is_there(
    two_cities: httpx.AsyncClient, key_for: KeyFor, database: Database
) -> None:
    key = await key_for("editor", [CITY])
    before = await contents(database)
    for plural, draft in DRAFTS.items():
        url = f"/v1/{plural}/{OTHER}"
        for read in (url, f"{url}?f=geojson", f"{url}/history", f"{url}?as_of={NOW}"):
            await _looks_absent(two_cities, key, "GET", read)
        await _looks_absent(two_cities, key, "DELETE", url)
        await _looks_absent(two_cities, key, "PATCH", url, {"name_en": "mine"})
        await _looks_absent(two_cities, key, "PUT", url, draft(OTHER, jurisdiction=OTHER))
        await _looks_absent(two_cities, key, "POST", f"/v1/{plural}", draft("x", jurisdiction=OTHER))
    there = f"/v1/jurisdictions/{OTHER}"
    for read in ("", "/history", "/rings", "/rings/core", "/rings/core/history", "/coverage"):
        await _looks_absent(two_cities, key, "GET", there + read)
    for read in (f"?as_of={NOW}", f"/rings/core?as_of={NOW}", "/coverage/gaps"):
        await _looks_absent(two_cities, key, "GET", there + read)
    await _looks_absent(two_cities, key, "GET", f"{there}/coverage/control-points/{OTHER}")
    await _looks_absent(two_cities, key, "POST", f"{there}/membership", {"points": []})
    await _looks_absent(two_cities, key, "PUT", f"{there}/rings/core", square(0.1))
    await _looks_absent(two_cities, key, "DELETE", f"{there}/rings/core")
    assert await contents(database) == before


async def test_a_condition_does_not_tell_a_version_outside_the_scope(
    two_cities: httpx.AsyncClient, key_for: KeyFor
) -> None:
    headers = await key_for("editor", [CITY]) | {"If-Match": '"9"'}
    for method in ("PATCH", "DELETE"):
        answer = await two_cities.request(method, f"/v1/cameras/{OTHER}", json={}, headers=headers)
        assert (answer.status_code, "etag" in answer.headers) == (412, False)
        assert "the record does not exist" in answer.json()["detail"]


async def test_a_code_taken_outside_the_scope_does_not_say_where(
    two_cities: httpx.AsyncClient, key_for: KeyFor
) -> None:
    key = await key_for("editor", [CITY])
    for answer in (
        await two_cities.put(f"/v1/cameras/{OTHER}", json=camera(OTHER), headers=key),
        await two_cities.post("/v1/cameras", json=camera(OTHER), headers=key),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "already-exists")
        assert "jurisdiction" not in answer.json()["detail"]


async def test_batches_end_at_the_scope(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("editor", [CITY])
    items = [
        {"delete": OTHER},
        {"delete": "absent"},
        camera("a", jurisdiction=OTHER),
        camera("b", jurisdiction="410999"),
        camera("c"),
    ]
    url = "/v1/cameras:batch?semantics=each"
    rows = (await two_cities.post(url, json=items, headers=key)).json()["rows"]
    assert [row["errors"][0]["code"] for row in rows[:4]] == ["not-found"] * 4
    assert rows[4]["result"] == "created"
    (row,) = (await two_cities.post(url, json=[camera(OTHER)], headers=key)).json()["rows"]
    assert row["errors"][0]["code"] == "already-exists"
    assert (await two_cities.get(f"/v1/cameras/{OTHER}")).json()["version"] == 1


async def test_states_end_at_the_scope(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("editor", [CITY])
    reports = [{"code": code, "state": "online"} for code in (CITY, OTHER, "absent")]
    answer = (await two_cities.post("/v1/states", json=reports, headers=key)).json()
    assert (answer["applied"], [device["code"] for device in answer["unknown"]]) == (
        1,
        [OTHER, "absent"],
    )
    assert (await two_cities.get(f"/v1/cameras/{OTHER}")).json()["state"] == "unknown"


async def test_a_reference_outside_the_scope_is_unknown(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("editor", [CITY])
    faults = []
    for code in (OTHER, "absent"):
        body = camera("a", control_point=code)
        answer = await two_cities.put("/v1/cameras/a", json=body, headers=key)
        faults.append(answer.text.replace(code, "*").replace(answer.json()["request_id"], ""))
    assert faults[0] == faults[1]


async def test_an_administrator_of_one_city_keeps_to_it(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("admin", [CITY])
    changed = await two_cities.patch(CITY_URL, json={"name_en": "x"}, headers=key | MERGE_PATCH)
    assert changed.status_code == 200
    for body in (jurisdiction(OTHER), jurisdiction("410900")):
        url = f"/v1/jurisdictions/{body['code']}"
        assert (await two_cities.put(url, json=body, headers=key)).status_code == 404
    for method, url in (("GET", "/v1/keys"), ("DELETE", "/v1/keys/abcdefghijkl")):
        assert (await two_cities.request(method, url, headers=key)).status_code == 403
    draft = {"label": "mine", "role": "admin"}
    assert (await two_cities.post("/v1/keys", json=draft, headers=key)).status_code == 403


async def test_a_restricted_field_is_for_editors_of_the_place(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    body = camera(CITY, network_address="198.51.100.7")
    await two_cities.put(f"/v1/cameras/{CITY}", json=body)
    shown = await two_cities.get(f"/v1/cameras/{CITY}", headers=await key_for("editor", [CITY]))
    assert "198.51.100.7" in shown.text


# -- keys -----------------------------------------------------------------------------------------


async def test_an_expired_key_is_none(city: httpx.AsyncClient) -> None:
    draft = {"label": "x", "role": "reader"}
    for hours, status in ((-1, 401), (1, 200)):
        expires = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        made = await city.post("/v1/keys", json={**draft, "expires_at": expires})
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        assert (await city.get("/v1/cameras", headers=key)).status_code == status


async def test_a_revoked_key_is_none_at_once_when_nothing_is_remembered(
    city: httpx.AsyncClient, key_for: KeyFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "CACHE_S", 0)
    key = await key_for("reader")
    assert (await city.get("/v1/cameras", headers=key)).status_code == 200
    key_id = key["Authorization"].split("_")[1]
    assert (await city.delete(f"/v1/keys/{key_id}")).status_code == 204
    assert (await city.get("/v1/cameras", headers=key)).status_code == 401


async def test_a_key_remembers_when_it_was_used(city: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("reader")
    key_id = key["Authorization"].split("_")[1]
    for used in (False, True):
        items = (await city.get("/v1/keys")).json()["items"]
        (shown,) = [item for item in items if item["id"] == key_id]
        assert (shown["last_used_at"] is not None) == used
        await city.get("/v1/cameras", headers=key)


async def test_garbage_is_no_key(city: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = (await key_for("admin"))["Authorization"].removeprefix("Bearer ")
    prefix, key_id, secret = key.split("_", 2)
    garbage = [
        "", " ", "Bearer", "Bearer ", key, f"Basic {key}", f"Token {key}", f"Bearer {key}x",
        f"Bearer {key[:-1]}", f"Bearer {prefix}_{key_id}_{'A' * 43}", f"Bearer {prefix}_{key_id}_",
        f"Bearer {prefix}_{'0' * 12}_{secret}", f"Bearer {prefix.upper()}_{key_id}_{secret}",
        f"Bearer {key}, Bearer {key}", f"Bearer {key} {key}", "Bearer ' OR 1=1 --", "Bearer 密钥",
        "Bearer " + "x" * 10_000, f"Bearer {key}\x00",
    ]  # fmt: skip
    for text in garbage:
        answer = await city.get("/v1/cameras", headers=[(b"Authorization", text.encode())])
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), text
        assert key not in answer.text
    for text in (f"bearer {key}", f"BEARER {key}", f"Bearer   {key}"):
        assert (await city.get("/v1/cameras", headers={"Authorization": text})).status_code == 200


async def test_a_key_of_another_service_is_none(city: httpx.AsyncClient, serve: Serve, key_for: KeyFor) -> None:
    key = await key_for("admin")
    async with serve(secret="the secret of another service") as other:
        assert (await other.get("/v1/cameras", headers=key)).status_code == 401


async def test_only_the_keyed_hash_is_stored(city: httpx.AsyncClient, key_for: KeyFor, database: Database) -> None:
    key = (await key_for("reader"))["Authorization"]
    rows = await database.fetch("SELECT row_to_json(k)::text AS row FROM api_key k")
    assert all(key.split("_", 2)[2] not in row["row"] for row in rows)


async def test_extents_do_not_leak_between_cities(two_cities: httpx.AsyncClient, key_for: KeyFor) -> None:
    key = await key_for("admin", [CITY])
    moved = jurisdiction(extent=[EXTENT[0] + 0.1, *EXTENT[1:]])
    assert (await two_cities.put(CITY_URL, json=moved, headers=key)).status_code == 200
    other = (await two_cities.get(f"/v1/jurisdictions/{OTHER}")).json()
    assert (other["extent"], other["version"]) == (EXTENT, 1)
