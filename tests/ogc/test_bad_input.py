"""Bad input on the GIS interface: the OGC status, a problem body, no 5xx. One test for each kind."""

from typing import Any

import httpx
import pytest

from app.http.problems import MEDIA_TYPE
from app.ogc import analysis_features
from tests.builders import CITY, Json
from tests.ogc.feature_requests import CAMERAS

HOME = "/ogc/collections/cameras"


async def fetch_problem(client: httpx.AsyncClient, url: str, status: int = 400, **headers: str) -> Json:
    """Return the problem that answers a request."""
    response = await client.get(url, headers=headers)
    assert response.status_code == status, (url, response.text)
    assert response.headers["content-type"] == MEDIA_TYPE
    document: Json = response.json()
    assert document["request_id"] == response.headers["x-request-id"]
    return document


BOXES = [
    "",
    "1",
    "1,2,3",
    "1,2,3,4,5",
    "1,2,3,4,5,6,7",
    "a,b,c,d",
    "nan,nan,nan,nan",
    "1,2,inf,4",
    "1,5,3,4",
    "-181,0,1,1",
    "0,0,1,91",
    "0,0,1,1e400",
    "1;2;3;4",
    "0x1,2,3,4",
    "1_0,2,30,4",
]


async def test_a_bad_bbox(gis: httpx.AsyncClient) -> None:
    for box in BOXES:
        document = await fetch_problem(gis, f"{CAMERAS}?bbox={box}")
        assert (document["code"], document["errors"][0]["pointer"]) == ("bad-query", "?bbox")


async def test_a_bbox_outside_its_system(gis: httpx.AsyncClient) -> None:
    await fetch_problem(gis, f"{CAMERAS}?bbox=113,35,114,36&bbox-crs=EPSG:4326")
    await fetch_problem(gis, f"{CAMERAS}?bbox=1e30,1e30,2e30,2e30&bbox-crs=EPSG:4547")
    await fetch_problem(gis, f"{CAMERAS}?bbox=4,3,2,5&bbox-crs=EPSG:3857")


LIMITS = ["0", "-1", "1.5", "ten", "", "1e3", "٣", "0x10", "1" * 21]


async def test_a_bad_limit(gis: httpx.AsyncClient) -> None:
    for limit in LIMITS:
        document = await fetch_problem(gis, f"{CAMERAS}?limit={limit}")
        assert document["errors"][0]["pointer"] == "?limit"


async def test_an_unknown_parameter(gis: httpx.AsyncClient) -> None:
    for url in (
        "/ogc",
        "/ogc/collections",
        HOME,
        f"{HOME}/schema",
        CAMERAS,
        f"{CAMERAS}/cam-01",
    ):
        document = await fetch_problem(gis, f"{url}?colour=red")
        assert document["code"] == "unknown-parameter"
        assert "f" in document["detail"].partition("Parameters of this route: ")[2].rstrip(".").split(", ")


async def test_a_parameter_given_twice(gis: httpx.AsyncClient) -> None:
    await fetch_problem(gis, f"{CAMERAS}?limit=1&limit=2")
    await fetch_problem(gis, f"{CAMERAS}?" + "&".join(f"a{number}=1" for number in range(300)))
    await fetch_problem(gis, f"{CAMERAS}?code=%00")


SYSTEMS = ["crs", "bbox-crs", "filter-crs"]


async def test_an_unknown_reference_system(gis: httpx.AsyncClient) -> None:
    for parameter in SYSTEMS:
        for name in (
            "http://www.opengis.net/def/crs/EPSG/0/27700",
            "EPSG:4796",
            "",
            "4326",
            "x" * 999,
        ):
            document = await fetch_problem(gis, f"{CAMERAS}?{parameter}={name}&bbox=1,1,2,2&filter=range_m=1")
            assert document["errors"][0]["pointer"] == f"?{parameter}"


async def test_an_unknown_collection(gis: httpx.AsyncClient) -> None:
    for name in (
        "nothing",
        "camera",
        "Cameras",
        "jurisdictions",
        "api_key",
        "%00",
        "é",
        "x" * 999,
    ):
        for tail in ("", "/items", "/schema", "/queryables", "/sortables", "/items/x"):
            document = await fetch_problem(gis, f"/ogc/collections/{name}{tail}", 404)
            assert document["code"] == "not-found"


async def test_an_unknown_feature(gis: httpx.AsyncClient) -> None:
    for code in ("nothing", "%00", "é", "x" * 999, "cam-01%27", "CAM-01"):
        for collection in ("cameras", "rings", "gaps"):
            await fetch_problem(gis, f"/ogc/collections/{collection}/items/{code}", 404)


async def test_an_unknown_path(gis: httpx.AsyncClient) -> None:
    assert (await fetch_problem(gis, "/ogc/nothing", 404))["code"] == "no-such-path"
    await fetch_problem(gis, f"{CAMERAS}/cam-01/x", 404)


async def test_a_format_that_is_not_there(gis: httpx.AsyncClient) -> None:
    for url in (
        "/ogc",
        "/ogc/conformance",
        HOME,
        f"{HOME}/schema",
        CAMERAS,
        f"{CAMERAS}/cam-01",
    ):
        document = await fetch_problem(gis, url, 406, Accept="text/csv")
        assert document["code"] == "not-acceptable"
        assert "json" in document["detail"]
        assert (await fetch_problem(gis, f"{url}?f=shapefile"))["errors"][0]["pointer"] == "?f"
    await fetch_problem(gis, f"{HOME}/schema?f=geojson", 406)
    await fetch_problem(gis, CAMERAS, 406, Accept="*/*;q=0")


async def test_accept_is_read_as_it_is_meant(gis: httpx.AsyncClient) -> None:
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for accept, expected in (
        (browser, "text/html"),
        ("*/*", "application/geo+json"),
        ("application/geo+json, application/json;q=0.9", "application/geo+json"),
        ("application/json", "application/json"),
        ("application/*", "application/geo+json"),
        ("text/html;q=0.5, application/geo+json;q=0.4", "text/html"),
        ("text/csv, application/geo+json;q=0.1", "application/geo+json"),
        ("", "application/geo+json"),
        ("application/geo+json;q=oops, text/html", "text/html"),
    ):
        for url in (CAMERAS, f"{CAMERAS}/cam-01"):
            response = await gis.get(url, headers={"Accept": accept})
            assert response.headers.get("content-type", "").startswith(expected), (
                accept,
                response.text,
            )
    response = await gis.get(f"{CAMERAS}?f=json", headers={"Accept": "text/html"})
    assert response.headers["content-type"] == "application/geo+json"


TIMES = [
    "",
    "..",
    "yesterday",
    "2026-02-30",
    "2026",
    "2026-01-01T00:00:00",
    "2026-01-02/2026-01-01",
    "2026-01-01/2026-01-02/2026-01-03",
    "0001-01-01T00:00:00%2B14:00",
    "2026-01-01T25:00:00Z",
]


async def test_a_bad_time(gis: httpx.AsyncClient) -> None:
    for when in TIMES:
        assert (await fetch_problem(gis, f"{CAMERAS}?datetime={when}"))["errors"][0]["pointer"] == "?datetime"


async def test_the_ends_of_time(gis: httpx.AsyncClient) -> None:
    for when in ("9999-12-31", "0001-01-01", "../..", "/", "9999-12-31T23:59:59Z/.."):
        assert (await gis.get(f"{CAMERAS}?datetime={when}")).status_code == 200, when


VALUES = [
    "range_m=far",
    "range_m=nan",
    "range_m=1e400",
    "range_m=",
    "sign_present=yes",
    "installed_on=2026-02-30",
    "installed_on=2026-01-01T00:00:00Z",
    "updated_at=2026-01-01",
    "point_class=x",
    "lanes=x",
    "geometry=x",
    "distance_m=1",
    "version=1_0",
    "code=" + "x," * 1001,
]


async def test_a_bad_value(gis: httpx.AsyncClient) -> None:
    for query in VALUES:
        await fetch_problem(gis, f"{CAMERAS}?{query}")


ORDERS = [
    "",
    "nothing",
    "code,code",
    "code,-code",
    "lanes",
    "geometry",
    "state",
    "-",
    "--code",
    "network_address",
    "code;drop",
    "functions",
]


async def test_a_bad_order(gis: httpx.AsyncClient) -> None:
    for names in ORDERS:
        assert (await fetch_problem(gis, f"{CAMERAS}?sortby={names}"))["errors"][0]["pointer"] == "?sortby"


async def test_properties_that_are_not_there(gis: httpx.AsyncClient) -> None:
    for url in (CAMERAS, f"{CAMERAS}/cam-01"):
        await fetch_problem(gis, f"{url}?properties=code,nothing")
        await fetch_problem(gis, f"{url}?properties=document")
        await fetch_problem(gis, f"{url}?skipGeometry=maybe")


async def test_a_cursor_of_another_kind(gis: httpx.AsyncClient) -> None:
    first = (await gis.get(f"{CAMERAS}?limit=1&sortby=range_m")).json()
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    cursor = following.partition("cursor=")[2].partition("&")[0]
    assert (await gis.get(f"{CAMERAS}?sortby=range_m&cursor={cursor}")).status_code == 200
    for query in (
        f"cursor={cursor}", f"sortby=-range_m&cursor={cursor}", f"sortby=code&cursor={cursor}",
        "cursor=", "cursor=x", "cursor=é", "cursor=W10", "cursor=bnVsbA", "cursor=eyJhIjoxfQ",
        "cursor=W251bGwsW11d", "cursor=W251bGwsWzFdXQ", "cursor=W251bGwsWyJcdTAwMDAiXV0",
        "sortby=range_m&cursor=WyJyYW5nZV9tIixbImEiLCJiIl1d", "cursor=" + "A" * 5000,
    ):  # fmt: skip
        document = await fetch_problem(gis, f"{CAMERAS}?{query}")
        assert document["errors"][0]["pointer"] == "?cursor", query


async def test_an_unknown_filter_language(gis: httpx.AsyncClient) -> None:
    document = await fetch_problem(gis, f"{CAMERAS}?filter=a=1&filter-lang=cql-text")
    assert "cql2-text or cql2-json" in document["detail"]


async def test_a_filter_of_thousands_of_parts(gis: httpx.AsyncClient) -> None:
    document = await fetch_problem(gis, f"{CAMERAS}?filter=" + "+OR+".join(["a=1"] * 9000))
    assert document["code"] == "filter-too-large"


async def test_a_feature_beyond_a_projection(gis: httpx.AsyncClient) -> None:
    """A pole has no place in web Mercator: refused, or answered, and never a 5xx."""
    await gis.put("/v1/jurisdictions/410100", json={"code": "410100"})
    pole = {"code": "pole", "jurisdiction": "410100", "functions": ["face"],
            "geometry": {"type": "Point", "coordinates": [0, -90]}}  # fmt: skip
    assert (await gis.post("/v1/cameras", json=pole)).status_code == 201
    for srid in (3857, 4534, 4554):
        for url in (f"{CAMERAS}/pole", CAMERAS):
            response = await gis.get(f"{url}?crs=EPSG:{srid}")
            assert response.status_code in (200, 400), response.text


async def test_strange_hosts_and_headers(gis: httpx.AsyncClient) -> None:
    for host in (b"", b"a b", b"x:y:z", "é".encode(), b"[::1", b"127.0.0.1:99999"):
        response = await gis.get("/ogc", headers={b"Host": host})
        assert response.status_code < 500, host
    for accept in (",", ";", "a" * 5000, "q=1;;,"):
        assert (await gis.get(CAMERAS, headers={"Accept": accept})).status_code in (200, 406)


async def test_a_wrong_filter_costs_no_computation(gis: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer takes seconds in a large city; what cannot be asked of it is refused before."""
    computed: list[str] = []
    source = analysis_features.SOURCES["coverage"]

    async def counted(*query: Any) -> bytes:
        computed.append(query[1])
        return await source(*query)

    monkeypatch.setitem(analysis_features.SOURCES, "coverage", counted)
    url = "/ogc/collections/coverage/items"
    for text in ("zone", "nosuch = 1", "zone = 5", "zone ="):
        await fetch_problem(gis, f"{url}?filter={text}")
    assert computed == []
    assert (await gis.get(url, params={"filter": "zone = 'core'"})).status_code == 200
    assert computed == [CITY]
