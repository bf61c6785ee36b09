"""Writing features: the life of one, as a GIS tells it, and the same history as the native API."""

import httpx
import pytest
from pyproj import Transformer

from tests.builders import CITY, MERGE_PATCH, Json, KeyFor, camera, point, square

CAMERAS = "/ogc/collections/cameras/items"
GEO = {"Content-Type": "application/geo+json"}


def feature(code: str = "new-1", **changed: object) -> Json:
    """Return a camera as a GIS sends it."""
    properties = {"code": code, "jurisdiction": CITY, "functions": ["face"], **changed}
    return {"type": "Feature", "geometry": point(), "properties": properties}


async def test_the_life_of_a_feature(gis: httpx.AsyncClient) -> None:
    created = await gis.post(CAMERAS, json=feature(name_en="First"), headers=GEO)
    assert (created.status_code, created.headers["etag"]) == (201, '"1"'), created.text
    place = created.headers["location"]
    assert place.endswith(f"{CAMERAS}/new-1")
    assert (await gis.post(CAMERAS, json=feature())).status_code == 409

    moved = {"geometry": point(113.21, 35.21)}
    patched = await gis.patch(place, json=moved, headers=MERGE_PATCH)
    assert (patched.status_code, patched.headers["etag"]) == (204, '"2"'), patched.text
    renamed = {"type": "Feature", "id": "new-1", "properties": {"name_en": "Second", "notes": "x"}}
    assert (await gis.patch(place, json=renamed, headers=MERGE_PATCH)).status_code == 204
    now = (await gis.get(place)).json()
    assert now["geometry"] == point(113.21, 35.21)
    assert (now["properties"]["name_en"], now["properties"]["notes"]) == ("Second", "x")

    del now["links"]
    now["properties"]["notes"] = None
    replaced = await gis.put(place, json=now, headers=GEO)
    assert (replaced.status_code, replaced.headers["etag"]) == (204, '"4"'), replaced.text
    assert (await gis.get(place)).json()["properties"]["notes"] is None

    assert (await gis.delete(place)).status_code == 204
    assert (await gis.get(place)).status_code == 404
    assert (await gis.delete(place)).status_code == 404
    document = (await gis.get("/v1/cameras/new-1/history")).json()["items"]
    assert [entry["operation"] for entry in document] == ["remove", *["update"] * 3, "create"]


async def test_put_creates_what_is_not_there(gis: httpx.AsyncClient) -> None:
    response = await gis.put(f"{CAMERAS}/new-2", json=feature("new-2"))
    assert response.status_code == 201
    assert response.headers["location"].endswith("/new-2")


async def test_a_reason_stands_in_the_history(gis: httpx.AsyncClient) -> None:
    reason = {b"X-Change-Reason": "现场核对".encode()}
    await gis.post(CAMERAS, json=feature(), headers=reason)
    entry = (await gis.get("/v1/cameras/new-1/history")).json()["items"][0]
    assert entry["reason"] == "现场核对"


async def test_coordinates_come_in_the_system_the_header_names(gis: httpx.AsyncClient) -> None:
    for srid in (4326, 4490, 3857, 4547):
        # pyproj with always_xy=False has the authority's axis order: an oracle of its own
        there = Transformer.from_crs(4326, srid).transform(35.2159, 113.2418)
        uri = f"http://www.opengis.net/def/crs/EPSG/0/{srid}"
        sent = feature() | {"geometry": {"type": "Point", "coordinates": list(there)}}
        for name in (uri, f"<{uri}>"):
            headers = GEO | {"Content-Crs": name}
            response = await gis.put(f"{CAMERAS}/new-1", json=sent, headers=headers)
            assert response.status_code in (201, 204), response.text
            stored = (await gis.get("/v1/cameras/new-1")).json()["geometry"]["coordinates"]
            assert stored == pytest.approx([113.2418, 35.2159], abs=2e-9)
        read = await gis.get(f"{CAMERAS}/new-1", params={"crs": uri})
        assert read.headers["content-crs"] == f"<{uri}>"
        assert read.json()["geometry"]["coordinates"] == pytest.approx(list(there), abs=1e-3)


async def test_swapped_axes_are_told(gis: httpx.AsyncClient) -> None:
    headers = GEO | {"Content-Crs": "http://www.opengis.net/def/crs/EPSG/0/4326"}
    response = await gis.post(CAMERAS, json=feature(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "swapped-coordinates")


async def test_a_gis_may_send_what_it_read(gis: httpx.AsyncClient) -> None:
    """QGIS sends every property back, nested ones as text and what is empty as null."""
    place = "/ogc/collections/checkpoints/items/checkpoint-1"
    read = (await gis.get(place)).json()
    read["properties"]["lanes"] = '[{"lane": 1, "direction": "both"}]'
    read["properties"]["name_en"] = "Gate"
    response = await gis.put(place, json=read, headers=GEO)
    assert response.status_code == 204, response.text
    now = (await gis.get(place)).json()["properties"]
    assert [lane["direction"] for lane in now["lanes"]] == ["both"]
    schema = (await gis.get("/ogc/collections/cameras/schema")).json()["properties"]
    empty: Json = dict.fromkeys(schema.keys() - {"geometry"})
    sent = feature("new-3")
    sent["properties"] = empty | sent["properties"]
    response = await gis.post(CAMERAS, json=sent, headers=GEO)
    assert response.status_code == 201, response.text


TEXTS: list[tuple[str, str, object]] = [
    ("functions", '["face", "vehicle"]', ["face", "vehicle"]),
    ("functions", "face, vehicle", ["face", "vehicle"]),
    ("range_m", "42.5", 42.5),
    ("retention_days", "30", 30),
    ("sign_present", "true", True),
    ("installed_on", "2026-02-01", "2026-02-01"),
    ("focal_mm", "", None),
    ("review_due", " ", None),
]
UNREADABLE = [
    ("functions", '["face"'), ("functions", '{"a": 1}'), ("functions", "face;vehicle"),
    ("range_m", "true"), ("range_m", "NaN"), ("range_m", "1e999"), ("range_m", "forty"),
    ("retention_days", "30.5"), ("sign_present", "1"), ("sign_present", "maybe"),
]  # fmt: skip


async def test_a_gis_may_send_anything_as_text(gis: httpx.AsyncClient) -> None:
    """What was empty in the first rows read is a text to QGIS; many formats have no lists."""
    place = f"{CAMERAS}/new-1"
    for name, text, meant in TEXTS:
        await gis.delete(place)
        created = await gis.post(CAMERAS, json=feature(**{name: text}), headers=GEO)
        assert created.status_code == 201, (name, text, created.text)
        assert (await gis.get(place)).json()["properties"][name] == meant
        for send, method in (
            (feature(**{name: text}), "PUT"),
            ({"properties": {name: text}}, "PATCH"),
        ):
            headers = GEO if method == "PUT" else MERGE_PATCH
            response = await gis.request(method, place, json=send, headers=headers)
            assert response.status_code == 204, (method, name, text, response.text)
            assert (await gis.get(place)).json()["properties"][name] == meant
    before = (await gis.get(place)).json()["properties"]
    for name, text in UNREADABLE:
        response = await gis.patch(place, json={"properties": {name: text}}, headers=MERGE_PATCH)
        assert response.status_code == 422, (name, text, response.text)
    assert (await gis.get(place)).json()["properties"] == before


async def test_a_null_does_not_put_a_removed_device_back(gis: httpx.AsyncClient) -> None:
    await gis.put("/v1/cameras/cam-01", json=camera("cam-01", lifecycle="removed"))
    read = (await gis.get(f"{CAMERAS}/cam-01")).json()
    read["properties"]["lifecycle"] = None
    assert (await gis.put(f"{CAMERAS}/cam-01", json=read)).status_code == 422
    cleared = {"properties": {"lifecycle": None}}
    response = await gis.patch(f"{CAMERAS}/cam-01", json=cleared, headers=MERGE_PATCH)
    assert response.status_code == 422


async def test_preconditions_guard_and_are_not_needed(gis: httpx.AsyncClient) -> None:
    change = {"properties": {"notes": "a"}}
    stale = MERGE_PATCH | {"If-Match": '"7"'}
    assert (await gis.patch(f"{CAMERAS}/cam-01", json=change, headers=stale)).status_code == 412
    fresh = MERGE_PATCH | {"If-Match": '"1"'}
    assert (await gis.patch(f"{CAMERAS}/cam-01", json=change, headers=fresh)).status_code == 204
    only_new = {"If-None-Match": "*"}
    response = await gis.put(f"{CAMERAS}/cam-01", json=feature("cam-01"), headers=only_new)
    assert response.status_code == 412


async def test_a_ring_is_drawn_moved_and_taken_down(gis: httpx.AsyncClient) -> None:
    rings = "/ogc/collections/rings/items"
    place = f"{rings}/{CITY}-core"
    response = await gis.patch(place, json={"properties": {"name_en": "Core"}}, headers=MERGE_PATCH)
    assert response.status_code == 204, response.text
    response = await gis.patch(place, json={"geometry": square(0.03)}, headers=MERGE_PATCH)
    assert response.status_code == 204, response.text
    now = (await gis.get(place)).json()
    assert now["properties"]["name_en"] == "Core"
    assert len(now["geometry"]["coordinates"][0][0]) == 5
    response = await gis.put(place, json=now | {"geometry": square(0.5)}, headers=GEO)
    assert (response.status_code, response.json()["code"]) == (409, "rings-not-nested")
    assert (await gis.delete(place)).status_code == 204
    sent = {
        "type": "Feature",
        "geometry": square(0.02),
        "properties": {"jurisdiction": CITY, "level": "core"},
    }
    response = await gis.post(rings, json=sent, headers=GEO)
    assert (response.status_code, response.headers["location"][-11:]) == (201, "410800-core")
    assert (await gis.post(rings, json=sent)).status_code == 409
    elsewhere = sent | {"properties": {"jurisdiction": CITY, "level": "urban"}}
    assert (await gis.put(place, json=elsewhere)).status_code == 422


NOT_CAMERAS: list[tuple[object, int]] = [
    ([], 422),
    ({}, 422),
    ("x", 422),
    ({"type": "FeatureCollection", "features": []}, 422),
    ({"type": "Feature", "geometry": None, "properties": None}, 422),
    ({"type": "Feature", "geometry": point(), "properties": []}, 422),
    (feature(licence_plate="x"), 422),
    (feature(colour="red"), 422),
    (feature() | {"id": "another"}, 422),
    (feature() | {"owner": "x"}, 422),
    (feature(jurisdiction="999999"), 404),
    (feature() | {"geometry": {"type": "Point", "coordinates": [[[[[[1, 2]]]]]]}}, 422),
    (feature() | {"geometry": {"type": "Point", "coordinates": [1e300, 2]}}, 422),
    (feature() | {"geometry": {"type": "Point", "coordinates": [1, 2, 3]}}, 422),
    (feature() | {"geometry": "POINT(1 2)"}, 422),
]


async def test_what_is_not_a_camera_is_refused(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    editor = await key_for("editor", [CITY])
    for crs in ("CRS84", "EPSG:4547"):
        for body, status in NOT_CAMERAS:
            response = await gis.post(CAMERAS, json=body, headers=editor | {"Content-Crs": crs})
            assert response.status_code == status, (body, response.text)
            assert response.headers["content-type"] == "application/problem+json"


async def test_methods_are_told_and_reflect_rights(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    async def allowed(path: str, **headers: str) -> set[str]:
        response = await gis.options(f"/ogc/collections/{path}", headers=headers)
        assert response.status_code == 200
        return set(response.headers["allow"].split(", "))

    reads = {"GET", "HEAD", "OPTIONS"}
    reader = await key_for("analyst")
    for collection in ("cameras", "rings", "roads"):
        assert await allowed(f"{collection}/items") == reads | {"POST"}
        changes = {"PUT", "PATCH", "DELETE"}
        assert await allowed(f"{collection}/items/unknown_id") == reads | changes
        assert await allowed(f"{collection}/items", **reader) == reads
        assert await allowed(f"{collection}/items/x", **reader) == reads
    assert await allowed("gaps/items") == reads
    response = await gis.post("/ogc/collections/gaps/items", json=feature())
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert response.json()["code"] == "method-not-allowed"
    response = await gis.put(CAMERAS, json=feature())
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == reads | {"POST"}


async def test_a_reader_writes_nothing(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    reader = await key_for("analyst")
    place = f"{CAMERAS}/cam-01"
    for response in (
        await gis.post(CAMERAS, json=feature(), headers=reader),
        await gis.put(place, json=feature("cam-01"), headers=reader),
        await gis.patch(place, json={}, headers=reader | MERGE_PATCH),
        await gis.delete(place, headers=reader),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    elsewhere = await key_for("editor", ["410100"])
    assert (await gis.delete(place, headers=elsewhere)).status_code == 404


async def test_other_content_and_systems_are_refused(gis: httpx.AsyncClient) -> None:
    response = await gis.post(CAMERAS, content=b"<x/>", headers={"Content-Type": "text/xml"})
    assert response.status_code == 415
    headers = {"Content-Crs": "<http://www.opengis.net/def/crs/EPSG/0/27700>"}
    response = await gis.post(CAMERAS, json=feature(), headers=headers)
    assert response.status_code == 400
