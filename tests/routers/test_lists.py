"""Lists: what each filter finds, boxes, pages, and the parameters that are refused."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text

from app.db.engine import Database, WriteContext
from app.records.kinds import KINDS, Kind
from app.records.queries.documents import FilterClause, build_record_source
from tests.builders import (
    CITY,
    GEOJSON,
    OTHER,
    Json,
    KeyFor,
    camera,
    checkpoint,
    control_point,
    jurisdiction,
    point,
    road,
)

WORLD = [-180, -90, 180, 90]


async def _put(client: httpx.AsyncClient, plural: str, *items: Json) -> None:
    answer = await client.post(f"/v1/{plural}:batch", json=list(items))
    assert answer.status_code == 200, answer.text


async def _found(client: httpx.AsyncClient, url: str) -> list[str]:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return [item["code"] for item in answer.json()["items"]]


async def _each(client: httpx.AsyncClient, url: str, queries: list[str]) -> dict[str, list[str]]:
    return {query: await _found(client, f"{url}?{query}") for query in queries}


async def test_filters_of_jurisdictions(city: httpx.AsyncClient) -> None:
    await _put(city, "jurisdictions", jurisdiction(OTHER, name_en="Other city", name_zh="邻市"))
    expected = {
        "": [OTHER, CITY],
        f"jurisdiction={CITY}": [CITY],
        "q=other": [OTHER],
        "q=示例": [CITY],
        "q=_": [],
    }
    assert await _each(city, "/v1/jurisdictions", list(expected)) == expected


async def test_filters_of_control_points(ringed: httpx.AsyncClient) -> None:
    await _put(ringed, "jurisdictions", jurisdiction(OTHER))
    await _put(
        ringed,
        "control-points",
        control_point("core", name_zh="人民路", address="100% of Main_Street"),
        control_point("edge", category="city_road", geometry=point(113.4)),
        control_point("far", geometry=point(113.6)),
        control_point("other", jurisdiction=OTHER),
    )
    expected = {
        "": ["core", "edge", "far", "other"],
        "zone=core": ["core"],
        "zone=city": ["edge"],
        "zone=outside": ["far"],
        "category=core_site": ["core", "far", "other"],
        f"jurisdiction={OTHER}": ["other"],
        "q=人民": ["core"],
        "q=FA": ["far"],
        "q=%25": ["core"],
        "q=n_S": ["core"],
        "q=100_": [],
        "q=\\": [],
        "category=core_site&zone=outside": ["far"],
        "updated_since=2999-01-01T00:00:00Z": [],
        "updated_since=2000-01-01T00:00:00%2B08:00": ["core", "edge", "far", "other"],
    }
    assert await _each(ringed, "/v1/control-points", list(expected)) == expected


async def test_filters_of_roads(city: httpx.AsyncClient) -> None:
    await _put(city, "roads", road("a", group="ring-road"), road("b", road_class="path"))
    expected = {"road_class=path": ["b"], "group=ring-road": ["a"], "group=none": []}
    assert await _each(city, "/v1/roads", list(expected)) == expected


async def test_filters_of_checkpoints(ringed: httpx.AsyncClient) -> None:
    await _put(ringed, "control-points", control_point())
    await _put(
        ringed,
        "checkpoints",
        checkpoint("a", kind="face", control_point="point-1", state="online"),
        checkpoint("b", lifecycle="planned", geometry=point(113.4)),
    )
    expected = {
        "kind=face": ["a"],
        "function=vehicle": ["b"],
        "function=overview": [],
        "lifecycle=planned": ["b"],
        "state=online": ["a"],
        "state=unknown": ["b"],
        "control_point=point-1": ["a"],
        "zone=city": ["b"],
    }
    assert await _each(ringed, "/v1/checkpoints", list(expected)) == expected


async def test_filters_of_cameras(ringed: httpx.AsyncClient) -> None:
    await _put(ringed, "control-points", control_point())
    await _put(ringed, "checkpoints", checkpoint())
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    await _put(
        ringed,
        "cameras",
        camera("a", functions=["face", "overview"], state="online", checkpoint="checkpoint-1"),
        camera("b", control_point="point-1", structure="dome", state="offline"),
        camera("c", lifecycle="repair", geometry=point(113.24)),
        camera("d", state="online", reported_at=long_ago, functions=["vehicle"]),
    )
    expected = {
        "function=face": ["a", "b", "c"],
        "function=overview": ["a"],
        "lifecycle=repair": ["c"],
        "state=online": ["a"],
        "state=offline": ["b"],
        "state=unknown": ["c", "d"],
        "control_point=point-1": ["b"],
        "checkpoint=checkpoint-1": ["a"],
        "structure=dome": ["b"],
        "zone=urban": ["c"],
        "function=face&state=online&zone=core": ["a"],
    }
    assert await _each(ringed, "/v1/cameras", list(expected)) == expected


async def test_updated_since_finds_what_changed(city: httpx.AsyncClient) -> None:
    await _put(city, "cameras", camera("a"), camera("b"))
    changed = (await city.put("/v1/cameras/b", json=camera("b", range_m=9))).json()["updated_at"]
    assert await _found(city, "/v1/cameras?updated_since=" + changed.replace("+", "%2B")) == ["b"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
async def test_every_declared_filter_is_a_parameter(city: httpx.AsyncClient, kind: Kind) -> None:
    plural, filters = kind.plural, kind.filters
    refused = await city.get(f"/v1/{plural}?unheard_of=1")
    known = refused.json()["detail"].partition("Allowed here: ")[2].rstrip(".").split(", ")
    shaped = {"bbox", "f"} if kind.has_geometry else set()
    common = {"jurisdiction", "q", "updated_since", "limit", "cursor"}
    assert set(known) == filters | common | shaped


async def _around_the_date_line(client: httpx.AsyncClient) -> None:
    await client.put("/v1/jurisdictions/650000", json=jurisdiction("650000", extent=WORLD))
    places = {"west": -179.5, "east": 179.5, "line": 180.0, "zero": 0.0}
    await _put(
        client,
        "cameras",
        *(camera(code, jurisdiction="650000", geometry=point(lon, 10)) for code, lon in places.items()),
    )  # fmt: skip


async def test_boxes(city: httpx.AsyncClient) -> None:
    await _around_the_date_line(city)
    expected = {
        "bbox=-1,9,1,11": ["zero"],
        "bbox=0,10,0,10": ["zero"],
        "bbox=0,9,0,11": ["zero"],
        "bbox=0,10,1,11": ["zero"],
        "bbox=0.1,9,1,11": [],
        "bbox=-180,-90,180,90": ["east", "line", "west", "zero"],
        "bbox=179,9,-179,11": ["east", "line", "west"],
        "bbox=179.9,9,-179.9,11": ["line"],
        "bbox=179,20,-179,30": [],
        "bbox=-179,9,-180,11": ["east", "line", "zero"],
        "bbox=-1,9,1,11&function=vehicle": [],
    }
    assert await _each(city, "/v1/cameras", list(expected)) == expected


async def test_a_box_touches_what_reaches_into_it(city: httpx.AsyncClient) -> None:
    await _put(city, "roads", road())  # along 35.2 N from 113.1 to 113.3 E
    found = await _each(city, "/v1/roads", ["bbox=113.2,35,113.21,36", "bbox=113.2,35.21,113.3,36"])
    assert list(found.values()) == [["road-1"], []]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.has_geometry], ids=lambda k: k.plural)
@pytest.mark.parametrize("box", [(113.0, 35.0, 113.1, 35.1), (170.0, 0.0, -170.0, 10.0)])
async def test_boxes_go_through_the_spatial_index(database: Database, kind: Kind, box: tuple[float, ...]) -> None:
    where = FilterClause(kind, {"bbox": box})
    statement = f"EXPLAIN SELECT t.code FROM {build_record_source(kind)} WHERE {where.sql}"
    for number, value in enumerate(where.values, start=1):
        statement = statement.replace(f"${number}::", f"'{value}'::")
    async with database.open_transaction(WriteContext("tests")) as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join((await connection.execute(text(statement))).scalars())
    assert f"ix_{kind.name}_geometry" in plan


async def _walk(client: httpx.AsyncClient, url: str | None) -> list[list[str]]:
    pages = []
    while url is not None:
        answer = await client.get(url)
        body = answer.json()
        url = body["next"]
        assert answer.links.get("next", {}).get("url") == url
        pages.append([item["code"] for item in body["items"]])
    return pages


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 100])
async def test_pages_visit_every_record_once(city: httpx.AsyncClient, limit: int) -> None:
    codes = ["A", "B", "Z.1", "a", "a-b", "a:b", "z"]  # in byte order, which is the order of pages
    await _put(city, "cameras", *(camera(code) for code in reversed(codes)))
    pages = await _walk(city, f"/v1/cameras?limit={limit}")
    assert [code for page in pages for code in page] == codes
    assert {len(page) for page in pages[:-1]} <= {limit}


async def test_a_page_keeps_its_filters(city: httpx.AsyncClient) -> None:
    await _put(city, "cameras", *(camera(f"{n}", range_m=n + 1) for n in range(3)))
    await _put(city, "cameras", *(camera(f"{n}v", functions=["vehicle"]) for n in range(3)))
    pages = await _walk(city, "/v1/cameras?limit=2&function=face&bbox=113,35,114,36")
    assert pages == [["0", "1"], ["2"]]


async def test_what_is_written_behind_a_page_does_not_shift_it(city: httpx.AsyncClient) -> None:
    await _put(city, "cameras", *(camera(f"b{n}") for n in range(4)))
    first = (await city.get("/v1/cameras?limit=2")).json()
    await _put(city, "cameras", camera("a0"), {"delete": "b0"})
    assert await _found(city, first["next"]) == ["b2", "b3"]


async def test_a_page_has_at_most_a_thousand(city: httpx.AsyncClient) -> None:
    await _put(city, "cameras", *(camera(f"{n:04}") for n in range(1001)))
    asked = [await _walk(city, f"/v1/cameras?limit={limit}") for limit in (1000, 5000, "9" * 30)]
    assert [[len(page) for page in pages] for pages in asked] == [[1000, 1]] * 3
    assert len(await _found(city, "/v1/cameras")) == 100


REFUSED = {
    "limit=0": "greater-than-equal",
    "limit=-1": "greater-than-equal",
    "limit=ten": "int-parsing",
    "limit=": "int-parsing",
    "limit=1.5": "int-parsing",
    "limit=1&limit=2": "invalid-query",
    "unheard_of=1": "unknown-parameter",
    "Limit=1": "unknown-parameter",
    "cursor=%25%25": "invalid-query",
    "cursor=": "invalid-query",
    "cursor=AAAA": "invalid-query",
    "cursor=_w": "invalid-query",
    "cursor=" + "a" * 201: "string-too-long",
    "q=": "string-too-short",
    "q=" + "a" * 101: "string-too-long",
    "q=a%00b": "invalid-query",
    "zone=suburb": "literal-error",
    "state=ONLINE": "literal-error",
    "function=face,vehicle": "literal-error",
    "jurisdiction=4108": "string-pattern-mismatch",
    "jurisdiction=%EF%BC%94%EF%BC%91%EF%BC%90%EF%BC%98%EF%BC%90%EF%BC%90": "string-pattern-mismatch",
    "control_point=a%20b": "string-pattern-mismatch",
    "bbox=1,2,3": "invalid-query",
    "bbox=1,2,3,4,5,6": "invalid-query",
    "bbox=a,b,c,d": "invalid-query",
    "bbox=nan,0,1,1": "invalid-query",
    "bbox=inf,0,1,1": "invalid-query",
    "bbox=0,10,1,9": "invalid-query",
    "bbox=0,0,181,1": "invalid-query",
    "bbox=0,-91,1,1": "invalid-query",
    "f=xml": "literal-error",
    "updated_since=yesterday": "instant",
    "updated_since=1700000000": "instant",
    "updated_since=2026-01-01": "instant",
    "updated_since=2026-01-01T00:00:00": "timezone-aware",
    "updated_since=2026-01-01T00:00:00+08:00": "instant",  # a plus in a query is a space
    "updated_since=0001-01-01T00:00:00%2B14:00": "instant",
    "updated_since=9999-12-31T23:59:59-14:00": "instant",
    "updated_since=2026-02-30T00:00:00Z": "instant",
}  # fmt: skip


async def test_wrong_parameters_are_named(city: httpx.AsyncClient) -> None:
    seen = {}
    for query in REFUSED:
        answer = await city.get(f"/v1/cameras?{query}")
        assert answer.status_code == 422, query
        (fault,) = answer.json()["errors"]
        assert fault["pointer"] == "?" + query.partition("=")[0]
        seen[query] = fault["code"]
    assert seen == REFUSED


async def test_an_unknown_parameter_is_told_the_known_ones(city: httpx.AsyncClient) -> None:
    answer = await city.get("/v1/roads?limit=1&page=2")
    assert answer.json()["detail"] == (
        "Unknown query parameter 'page'. Allowed here: bbox, cursor, f, group, jurisdiction, limit, "
        "q, road_class, updated_since."
    )
    for url in ("/v1/keys?x=1", "/v1/cameras/a/history?x=1", f"/v1/jurisdictions/{CITY}/rings?x=1"):
        assert (await city.get(url)).json()["code"] == "unknown-parameter"


async def test_geojson_by_accept_and_by_f(city: httpx.AsyncClient) -> None:
    await _put(city, "cameras", camera("a"), camera("b"))
    by_accept = await city.get("/v1/cameras?limit=1", headers=GEOJSON)
    by_f = await city.get("/v1/cameras?limit=1&f=geojson", headers={"Accept": "application/json"})
    assert by_accept.headers["content-type"] == by_f.headers["content-type"] == GEOJSON["Accept"]
    collection = by_f.json()
    assert (collection["type"], collection["numberReturned"]) == ("FeatureCollection", 1)
    (feature,) = collection["features"]
    assert (feature["type"], feature["id"], feature["geometry"]) == ("Feature", "a", point())
    assert feature["properties"]["code"] == "a"
    assert "geometry" not in feature["properties"]
    following = (await city.get(collection["next"])).json()
    assert [feature["id"] for feature in following["features"]] == ["b"]
    assert "items" in (await city.get("/v1/cameras?f=json", headers=GEOJSON)).json()


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/geo+json", True),
        ("Application/Geo+JSON, application/json", True),
        ("application/json;q=0.5, application/geo+json", True),
        ("application/geo+json;q=0.5, application/json", False),
        ("application/geo+json;q=0", False),
        ("application/geo+json;q=none", False),
        ("application/geo+json-seq", False),
        ("*/*", False),
        ("", False),
    ],
)
async def test_accept_is_weighed(city: httpx.AsyncClient, accept: str, wanted: bool) -> None:
    answer = await city.get("/v1/cameras", headers={"Accept": accept})
    assert ("features" in answer.json()) == wanted


async def test_an_item_is_a_feature_when_wanted(city: httpx.AsyncClient) -> None:
    await _put(city, "cameras", camera("a"))
    item = await city.get("/v1/cameras/a", headers=GEOJSON)
    assert item.headers["content-type"] == GEOJSON["Accept"]
    assert (item.json()["id"], item.json()["geometry"]) == ("a", point())
    assert "Accept" in item.headers["vary"]


async def test_an_unchanged_record_is_304(city: httpx.AsyncClient) -> None:
    await _put(city, "control-points", control_point())
    url = "/v1/control-points/point-1"
    for tag in ('"1"', '"7", "1"', 'W/"1"', "*"):
        same = await city.get(url, headers={"If-None-Match": tag})
        assert (same.status_code, same.headers["etag"], same.content) == (304, '"1"', b"")
    assert (await city.get(url, headers={"If-None-Match": '"2"'})).status_code == 200


async def test_a_device_is_never_304_because_its_state_has_no_version(
    city: httpx.AsyncClient,
) -> None:
    await _put(city, "cameras", camera("a"))
    answer = await city.get("/v1/cameras/a", headers={"If-None-Match": '"1"'})
    assert answer.status_code == 200


@pytest.mark.parametrize(("role", "shown"), [("reader", False), ("analyst", False), ("editor", True)])
async def test_network_addresses_are_for_editors(
    city: httpx.AsyncClient, key_for: KeyFor, role: str, shown: bool
) -> None:
    address = "198.51.100.7"
    await _put(city, "cameras", camera("a", network_address=address))
    await _put(city, "checkpoints", checkpoint("k", network_address=address))
    key = await key_for(role)
    for plural, code in (("cameras", "a"), ("checkpoints", "k")):
        urls = [f"/v1/{plural}", f"/v1/{plural}?f=geojson", f"/v1/{plural}/{code}"]
        urls += [f"/v1/{plural}/{code}?f=geojson"]
        if role != "reader":
            urls += [f"/v1/{plural}/{code}/history"]
            urls += [f"/v1/{plural}/{code}?as_of=2999-01-01T00:00:00Z"]
        answers = {url: await city.get(url, headers=key) for url in urls}
        assert {answer.status_code for answer in answers.values()} == {200}
        assert {url: address in answer.text for url, answer in answers.items()} == dict.fromkeys(urls, shown)


async def test_a_search_does_not_guess_network_addresses(city: httpx.AsyncClient, key_for: KeyFor) -> None:
    await _put(city, "cameras", camera("a", network_address="198.51.100.7"))
    assert await _found(city, "/v1/cameras?q=198.51") == []
