"""Reading features: pages, links, single features, formats, rights."""

import httpx
import pytest

from tests.builders import CITY, KeyFor

RECORDS = ["control-points", "checkpoints", "cameras", "rings", "roads", "buildings"]
ANSWERS = ["coverage", "gaps", "crossings", "fields-of-view", "area-gaps", "leaks"]


async def test_the_landing_page_leads_to_everything(gis: httpx.AsyncClient) -> None:
    document = (await gis.get("/ogc")).json()
    links = {link["rel"]: link for link in document["links"]}
    assert {"self", "service-desc", "service-doc", "conformance", "data"} <= links.keys()
    for link in document["links"]:
        response = await gis.get(link["href"], headers={"Accept": link["type"]})
        assert response.status_code == 200, link
        assert response.headers["content-type"].startswith(link["type"].partition(";")[0]), link


async def test_every_link_of_every_collection_works(gis: httpx.AsyncClient) -> None:
    document = (await gis.get("/ogc/collections")).json()
    assert {known["id"] for known in document["collections"]} >= {*RECORDS, *ANSWERS}
    for known in document["collections"]:
        for link in known["links"]:
            response = await gis.get(link["href"])
            assert response.status_code == 200, link
            assert response.headers["content-type"].startswith(link["type"]), link


async def test_pages_follow_each_other_to_the_end(gis: httpx.AsyncClient) -> None:
    url, seen = "/ogc/collections/cameras/items?limit=5", []
    for expected in (5, 5, 2):
        response = await gis.get(url)
        document = response.json()
        assert document["numberReturned"] == len(document["features"]) == expected
        assert document["numberMatched"] == 12
        seen += [feature["id"] for feature in document["features"]]
        following = [link["href"] for link in document["links"] if link["rel"] == "next"]
        assert bool(following) == (expected == 5) == ("link" in response.headers)
        url = following[0] if following else ""
    assert seen == [f"cam-{number:02}" for number in range(12)]


async def test_a_page_of_exactly_the_limit_has_no_next(gis: httpx.AsyncClient) -> None:
    document = (await gis.get("/ogc/collections/cameras/items?limit=12")).json()
    assert document["numberReturned"] == document["numberMatched"] == 12
    assert all(link["rel"] != "next" for link in document["links"])


@pytest.mark.parametrize("collection", [*RECORDS, *ANSWERS])
async def test_a_feature_of_a_page_is_the_feature_itself(gis: httpx.AsyncClient, collection: str) -> None:
    listed = (await gis.get(f"/ogc/collections/{collection}/items?limit=1")).json()["features"][0]
    response = await gis.get(f"/ogc/collections/{collection}/items/{listed['id']}")
    assert response.headers["content-type"] == "application/geo+json"
    item = response.json()
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
    document = (await city.get(url)).json()
    assert document["features"] == []
    missing = [entry for entry in document["not_assessed"] if entry["what"] == what]
    assert {entry["level"] for entry in missing} == {"city", "urban", "core"}
    for entry in missing:
        assert entry["jurisdiction"] == CITY
        assert entry["reason"] == "this ring is not registered"
    assert f"Not assessed in {CITY}: {what} core" in (await city.get(f"{url}?f=html")).text


async def test_records_and_assessed_answers_have_nothing_to_add(gis: httpx.AsyncClient) -> None:
    records = (await gis.get("/ogc/collections/cameras/items")).json()
    assert "not_assessed" not in records
    response = (await gis.get("/ogc/collections/area-gaps/items")).json()
    assert response["not_assessed"] == []


async def test_a_reader_sees_records_and_no_gaps(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    reader = await key_for("reader")
    document = (await gis.get("/ogc/collections", headers=reader)).json()
    assert {known["id"] for known in document["collections"]} == set(RECORDS)
    for collection in ANSWERS:
        response = await gis.get(f"/ogc/collections/{collection}/items", headers=reader)
        assert response.status_code == 403
    camera = await gis.get("/ogc/collections/cameras/items/cam-01", headers=reader)
    assert "network_address" not in camera.json()["properties"]
    response = await gis.get("/ogc/collections/cameras/items?network_address=x", headers=reader)
    assert response.status_code == 400


async def test_another_jurisdiction_sees_nothing(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    elsewhere = await key_for("analyst", ["410100"])
    for collection in [*RECORDS, *ANSWERS]:
        url = f"/ogc/collections/{collection}/items"
        document = (await gis.get(url, headers=elsewhere)).json()
        assert (document["numberReturned"], document["numberMatched"]) == (0, 0), collection
    response = await gis.get("/ogc/collections/cameras/items/cam-01", headers=elsewhere)
    assert response.status_code == 404
    here = await key_for("reader", [CITY])
    response = await gis.get("/ogc/collections/cameras/items/cam-01", headers=here)
    assert response.status_code == 200


async def test_nobody_in_particular_is_asked_for_a_key(client: httpx.AsyncClient) -> None:
    assert (await client.get("/ogc")).status_code == 200
    response = await client.get("/ogc/collections")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
