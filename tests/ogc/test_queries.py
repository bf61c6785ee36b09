"""What may be asked of a collection: boxes, times, values, order, looks, reference systems."""

from itertools import pairwise

import httpx
import pytest
from pyproj import Transformer

from app.geo.projection.reference_systems import SYSTEMS
from tests.builders import CITY, camera, control_point, point
from tests.ogc.feature_requests import CAMERAS, cams, codes, ids, page


async def test_a_box_selects_what_touches_it(gis: httpx.AsyncClient) -> None:
    for box, expected in (
        ("113.1995,35.1,113.2025,35.3", ids(range(3))),
        ("113.202,35.2,113.202,35.2", cams(2)),  # a box without area is a point
        ("113.202,35.1,113.202,35.3", cams(2)),  # or a line
        ("113.1995,35.1,-1,113.2025,35.3,99", ids(range(3))),  # heights are passed over
        ("113.209,-90,113.201,90", cams(0, 1, 9, 10, 11)),  # round the other side of the Earth
        ("0,0,1,1", []),
    ):
        assert await codes(gis, f"bbox={box}") == expected, box


async def test_a_box_comes_in_any_system(gis: httpx.AsyncClient) -> None:
    for srid in (4326, 4490, 3857, 4547):
        there = Transformer.from_crs(4326, srid)
        low, high = there.transform(35.15, 113.1995), there.transform(35.25, 113.2025)
        box = ",".join(str(number) for number in (*low, *high))
        uri = f"http://www.opengis.net/def/crs/EPSG/0/{srid}"
        assert await codes(gis, f"bbox={box}&bbox-crs={uri}") == ids(range(3)), srid
    document = "bbox=35.1,113.209,35.3,113.201&bbox-crs=EPSG:4326"
    assert await codes(gis, document) == cams(0, 1, 9, 10, 11)


async def test_features_come_in_any_system_offered(gis: httpx.AsyncClient) -> None:
    document = (await gis.get("/ogc/collections/cameras")).json()
    assert document["crs"] == [system.uri for system in SYSTEMS]
    assert document["storageCrs"] == SYSTEMS[0].uri
    for system in SYSTEMS[1:]:
        response = await gis.get(CAMERAS, params={"crs": system.uri, "limit": 1})
        assert response.headers["content-crs"] == f"<{system.uri}>"
        results = response.json()["features"][0]["geometry"]["coordinates"]
        there = Transformer.from_crs(4326, system.srid).transform(35.2, 113.2)
        # 0.1 mm where the zone is near; further off PROJ's series differ by less than a centimetre
        near = 1e-3 if abs(there[-1] - 5e5) < 5e5 or not system.metric else 2e-2
        assert results == pytest.approx(list(there), abs=near), system.uri
    assert (await gis.get(CAMERAS)).headers["content-crs"] == f"<{SYSTEMS[0].uri}>"


async def test_northing_comes_first_in_a_national_zone(gis: httpx.AsyncClient) -> None:
    document = await page(gis, crs="EPSG:4547", limit=1)
    northing, easting = document["features"][0]["geometry"]["coordinates"]
    assert (3.89e6 < northing < 3.90e6, 4.2e5 < easting < 4.3e5) == (True, True)


async def test_a_time_selects_what_was_there_then(gis: httpx.AsyncClient) -> None:
    """Camera n was installed on January n+1; camera 5 was removed on March 1."""
    late = [number for number in range(12) if number != 5]
    for when, expected in (
        ("2026-01-03", ids(range(3))),
        ("2026-01-03T12:00:00Z", ids(range(3))),
        ("../2026-01-02", ids(range(2))),
        ("2026-03-02/..", ids(late)),
        ("2026-03-01/2026-03-02", ids(range(12))),
        ("/2025-12-31", []),
        ("2026-01-03T00:00:00+08:00", ids(range(2))),
    ):
        assert await codes(gis, f"datetime={when.replace('+', '%2B')}") == expected, when


async def test_what_tells_no_time_always_holds(gis: httpx.AsyncClient) -> None:
    items = "/ogc/collections/rings/items"
    assert len(await codes(gis, "datetime=1999-01-01", items)) == 3
    gaps = "/ogc/collections/gaps/items"
    assert await codes(gis, "datetime=1999-01-01", gaps) == await codes(gis, "", gaps) != []


async def test_values_select_by_themselves(gis: httpx.AsyncClient) -> None:
    for query, expected in (
        ("code=cam-03", cams(3)),
        ("code=cam-03,cam-05,nothing", cams(3, 5)),
        ("functions=face", ids(range(1, 12, 2))),
        ("functions=overview,electronic", ids(range(0, 12, 2))),
        ("range_m=25", cams(2)),
        ("range_m=2.5e1,35.0", cams(2, 3)),
        ("sign_present=true", ids(range(7, 12))),
        ("installed_on=2026-01-04", cams(3)),
        (f"jurisdiction={CITY}&code=cam-01", cams(1)),
        ("state=unknown&code=cam-01", cams(1)),
        ("working=true", []),
        ("zone=core&functions=face", ids(range(1, 12, 2))),
        ("rings=core,city&code=cam-01", cams(1)),
        ("name_zh=摄像机7", cams(7)),
    ):
        assert await codes(gis, query) == expected, query


ORDERS = (
    "range_m", "-range_m", "sign_present,-range_m", "-sign_present,name_en", "name_zh", "version",
    "-installed_on", "-removed_on,code", "lifecycle,-code", "%2Bcreated_at",
)  # fmt: skip


async def test_pages_in_any_order_show_everything_once(gis: httpx.AsyncClient) -> None:
    for sortby in ORDERS:
        whole = await codes(gis, f"limit=100&sortby={sortby}")
        assert sorted(whole) == ids(range(12))
        for limit in (1, 5):
            assert await codes(gis, f"limit={limit}&sortby={sortby}") == whole, sortby


async def test_the_order_is_the_one_asked_for(gis: httpx.AsyncClient) -> None:
    assert await codes(gis, "sortby=-range_m") == ids(range(11, -1, -1))
    document = await page(gis, sortby="-sign_present,range_m")
    signs = [feature["properties"]["sign_present"] for feature in document["features"]]
    assert signs == [None, *[True] * 5, *[False] * 6]  # nulls first when descending
    names = [f["properties"]["name_zh"] for f in (await page(gis, sortby="name_zh"))["features"]]
    assert names[-1] is None
    assert all(before <= after for before, after in pairwise(names[:-1]))


async def test_pages_stay_right_while_records_come_and_go(gis: httpx.AsyncClient) -> None:
    first = await page(gis, sortby="-range_m", limit=4)
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    await gis.delete("/v1/cameras/cam-11")
    await gis.delete("/v1/cameras/cam-07")
    await gis.post("/v1/cameras", json=camera("cam-90", range_m=500))
    second = (await gis.get(following)).json()
    assert [feature["id"] for feature in second["features"]] == cams(6, 5, 4, 3)


async def test_only_the_properties_asked_for(gis: httpx.AsyncClient) -> None:
    document = await page(gis, properties="range_m,functions,state,distance_m", limit=1)
    shown = document["features"][0]["properties"]
    assert set(shown) == {"functions", "range_m", "state", "distance_m"}
    whole = (await gis.get(f"{CAMERAS}/cam-00")).json()["properties"]
    assert shown == {name: whole[name] for name in shown}
    item = (await gis.get(f"{CAMERAS}/cam-00?properties=code&skipGeometry=true")).json()
    assert (item["properties"], item["geometry"]) == ({"code": "cam-00"}, None)
    for collection in ("rings", "gaps", "roads", "coverage"):
        url = f"/ogc/collections/{collection}/items"
        document = await page(gis, url, properties="code")
        assert all(list(results["properties"]) == ["code"] for results in document["features"])


async def test_the_count_is_exact_and_follows_writes(gis: httpx.AsyncClient) -> None:
    assert (await page(gis, limit=1))["numberMatched"] == 12
    assert (await page(gis, limit=1, code="cam-01,cam-02,x"))["numberMatched"] == 2
    await gis.delete("/v1/cameras/cam-01")
    assert (await page(gis, limit=1))["numberMatched"] == 11
    assert (await page(gis, limit=1, code="cam-01,cam-02,x"))["numberMatched"] == 1
    for _ in range(2):
        assert (await page(gis, limit=1, filter="range_m > 20"))["numberMatched"] == 10
    report = [{"code": "cam-02", "state": "online"}, {"code": "cam-03", "state": "online"}]
    for filtered, before in (("working = TRUE", 0), ("NOT working = TRUE", 11)):
        document = (await page(gis, limit=1, filter=filtered)).get("numberMatched")
        assert document == before
    assert (await gis.post("/v1/states", json=report)).status_code == 200
    assert (await page(gis, limit=1, filter="working = TRUE"))["numberMatched"] == 2
    assert (await page(gis, limit=1, filter="NOT working = TRUE"))["numberMatched"] == 9


async def test_a_limit_beyond_the_greatest_gives_the_greatest(gis: httpx.AsyncClient) -> None:
    assert (await page(gis, limit=10**9))["numberReturned"] == 12


async def test_a_long_page_is_the_pages_it_is_made_of(gis: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent in pieces: 12 features in pieces of 5 are the same bytes as one page of 12."""
    plain = (await gis.get(f"{CAMERAS}?limit=12&sortby=-range_m")).content
    short = (await gis.get(f"{CAMERAS}?limit=11&sortby=-range_m")).json()
    monkeypatch.setattr("app.ogc.features.PIECE", 5)
    monkeypatch.setattr("app.routers.ogc.features.PIECE", 5)
    assert (await gis.get(f"{CAMERAS}?limit=12&sortby=-range_m")).content == plain
    again = (await gis.get(f"{CAMERAS}?limit=11&sortby=-range_m")).json()
    assert again == short
    following = next(link["href"] for link in again["links"] if link["rel"] == "next")
    assert [f["id"] for f in (await gis.get(following)).json()["features"]] == cams(0)


async def test_answers_are_asked_like_records(gis: httpx.AsyncClient) -> None:
    gaps = "/ogc/collections/gaps/items"
    await gis.put("/v1/control-points/p3", json=control_point("p3", geometry=point(113.3, 35.3)))
    points = "type=control_point"
    assert sorted(await codes(gis, f"limit=1&{points}", gaps)) == ["p3", "point-1", "point-2"]
    assert await codes(gis, "bbox=113.25,35.25,113.35,35.35", gaps) == ["p3"]
    assert await codes(gis, f"sortby=-code&{points}", gaps) == ["point-2", "point-1", "p3"]
    open_ones = await codes(gis, "type=crossing&road_class=national&sortby=code", gaps)
    crossings = await codes(gis, "status=open&sortby=code", "/ogc/collections/crossings/items")
    assert open_ones == crossings != []
    near = "withinDistance(geometry, POINT(113.2 35.2), 100) AND status='uncovered'"
    document = await page(gis, gaps, filter=near, crs="EPSG:4547")
    assert [feature["id"] for feature in document["features"]] == ["point-1"]
    assert document["features"][0]["geometry"]["coordinates"][0] > 3e6
    reasons = document["features"][0]["properties"]
    assert reasons["reason"] in reasons["reasons"]
    assert await codes(gis, "reasons=none&sortby=code", gaps)
    assert await codes(gis, "jurisdiction=410100", gaps) == []
    statuses = await page(gis, "/ogc/collections/coverage/items", filter="status <> 'covered'")
    assert statuses["numberMatched"] == 3


async def test_a_plus_is_a_plus_where_spaces_are_written_in_full(gis: httpx.AsyncClient) -> None:
    """QGIS leaves a plus as it is; forms write a space with it."""
    for query in (
        "filter=((%22range_m%22%20+%201)%20%3E%20106)&filter-lang=cql2-text",
        "filter=range_m+%2B+1+%3E+106&limit=5",
        "filter=range_m%20%2B%201%20%3E%20106",
        "limit=5&filter=range_m%2B1%3E106",
        "filter=range_m+>+106&sortby=%2Bcode&properties=code%20",
    ):
        assert await codes(gis, query) == cams(11), query
