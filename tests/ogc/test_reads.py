"""Reading features: pages, links, single features, formats, rights."""

import httpx
import pytest

from tests.builders import CITY, KeyFor

RECORDS = ["control-points", "checkpoints", "cameras", "rings", "roads", "buildings"]
ANSWERS = ["coverage", "gaps", "crossings", "fields-of-view", "area-gaps", "leaks"]


async def test_the_landing_page_leads_to_everything(gis: httpx.AsyncClient) -> None:
    told = (await gis.get("/ogc")).json()
    links = {link["rel"]: link for link in told["links"]}
    assert {"self", "service-desc", "service-doc", "conformance", "data"} <= links.keys()
    for link in told["links"]:
        answer = await gis.get(link["href"], headers={"Accept": link["type"]})
        assert answer.status_code == 200, link
        assert answer.headers["content-type"].startswith(link["type"].partition(";")[0]), link


async def test_every_link_of_every_collection_works(gis: httpx.AsyncClient) -> None:
    told = (await gis.get("/ogc/collections")).json()
    assert {known["id"] for known in told["collections"]} >= {*RECORDS, *ANSWERS}
    for known in told["collections"]:
        for link in known["links"]:
            answer = await gis.get(link["href"])
            assert answer.status_code == 200, link
            assert answer.headers["content-type"].startswith(link["type"]), link


async def test_pages_follow_each_other_to_the_end(gis: httpx.AsyncClient) -> None:
    url, seen = "/ogc/collections/cameras/items?limit=5", []
    for expected in (5, 5, 2):
        answer = await gis.get(url)
        told = answer.json()
        assert told["numberReturned"] == len(told["features"]) == expected
        assert told["numberMatched"] == 12
        seen += [feature["id"] for feature in told["features"]]
        following = [link["href"] for link in told["links"] if link["rel"] == "next"]
        assert bool(following) == (expected == 5) == ("link" in answer.headers)
        url = following[0] if following else ""
    assert seen == [f"cam-{number:02}" for number in range(12)]


async def test_a_page_of_exactly_the_limit_has_no_next(gis: httpx.AsyncClient) -> None:
    told = (await gis.get("/ogc/collections/cameras/items?limit=12")).json()
    assert told["numberReturned"] == told["numberMatched"] == 12
    assert all(link["rel"] != "next" for link in told["links"])


@pytest.mark.parametrize("collection", [*RECORDS, *ANSWERS])
async def test_a_feature_of_a_page_is_the_feature_itself(gis: httpx.AsyncClient, collection: str) -> None:
    listed = (await gis.get(f"/ogc/collections/{collection}/items?limit=1")).json()["features"][0]
    answer = await gis.get(f"/ogc/collections/{collection}/items/{listed['id']}")
    assert answer.headers["content-type"] == "application/geo+json"
    item = answer.json()
    assert {link["rel"] for link in item.pop("links")} >= {"self", "collection"}
    assert item == listed


async def test_a_record_reads_the_same_here_and_in_the_native_api(gis: httpx.AsyncClient) -> None:
    native = await gis.get("/v1/cameras/cam-03?f=geojson")
    feature = (await gis.get("/ogc/collections/cameras/items/cam-03")).json()
    del feature["links"]
    assert feature == native.json()


async def test_every_property_a_feature_has_is_in_the_schema(gis: httpx.AsyncClient) -> None:
    for collection in [*RECORDS, *ANSWERS]:
        home = f"/ogc/collections/{collection}"
        schema = (await gis.get(f"{home}/schema")).json()
        feature = (await gis.get(f"{home}/items?limit=1")).json()["features"][0]
        assert feature["properties"].keys() <= schema["properties"].keys(), collection
        if collection in RECORDS:
            assert schema["properties"].keys() - feature["properties"].keys() == {"geometry"}


async def test_head_and_conditional_reads(gis: httpx.AsyncClient) -> None:
    url = "/ogc/collections/roads/items"
    page = await gis.get(url)
    head = await gis.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == page.headers["etag"]
    again = await gis.get(url, headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    item = await gis.get(f"{url}/road-1")
    again = await gis.get(f"{url}/road-1", headers={"If-None-Match": item.headers["etag"]})
    assert again.status_code == 304


EMPTY_FOR_WANT_OF = {
    "coverage": "zone", "gaps": "crossings", "crossings": "crossings", "area-gaps": "area",
    "leaks": "cordon",
}  # fmt: skip


@pytest.mark.parametrize(("collection", "what"), EMPTY_FOR_WANT_OF.items())
async def test_what_could_not_be_assessed_is_told_and_is_not_zero(
    city: httpx.AsyncClient, collection: str, what: str
) -> None:
    url = f"/ogc/collections/{collection}/items"
    told = (await city.get(url)).json()
    assert told["features"] == []
    missing = [entry for entry in told["not_assessed"] if entry["what"] == what]
    assert {entry["level"] for entry in missing} == {"city", "urban", "core"}
    for entry in missing:
        assert entry["jurisdiction"] == CITY
        assert entry["reason"] == "this ring is not registered"
    assert f"Not assessed in {CITY}: {what} core" in (await city.get(f"{url}?f=html")).text


async def test_records_and_assessed_answers_have_nothing_to_add(gis: httpx.AsyncClient) -> None:
    records = (await gis.get("/ogc/collections/cameras/items")).json()
    assert "not_assessed" not in records
    answer = (await gis.get("/ogc/collections/area-gaps/items")).json()
    assert answer["not_assessed"] == []


async def test_a_reader_sees_records_and_no_gaps(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    reader = await key_for("reader")
    told = (await gis.get("/ogc/collections", headers=reader)).json()
    assert {known["id"] for known in told["collections"]} == set(RECORDS)
    for collection in ANSWERS:
        answer = await gis.get(f"/ogc/collections/{collection}/items", headers=reader)
        assert answer.status_code == 403
    camera = await gis.get("/ogc/collections/cameras/items/cam-01", headers=reader)
    assert "network_address" not in camera.json()["properties"]
    answer = await gis.get("/ogc/collections/cameras/items?network_address=x", headers=reader)
    assert answer.status_code == 400


async def test_another_jurisdiction_sees_nothing(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    elsewhere = await key_for("analyst", ["410100"])
    for collection in [*RECORDS, *ANSWERS]:
        url = f"/ogc/collections/{collection}/items"
        told = (await gis.get(url, headers=elsewhere)).json()
        assert (told["numberReturned"], told["numberMatched"]) == (0, 0), collection
    answer = await gis.get("/ogc/collections/cameras/items/cam-01", headers=elsewhere)
    assert answer.status_code == 404
    here = await key_for("reader", [CITY])
    answer = await gis.get("/ogc/collections/cameras/items/cam-01", headers=here)
    assert answer.status_code == 200


async def test_nobody_in_particular_is_asked_for_a_key(client: httpx.AsyncClient) -> None:
    assert (await client.get("/ogc")).status_code == 200
    answer = await client.get("/ogc/collections")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
