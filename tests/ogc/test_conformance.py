"""The conformance list, held to what the service does: each class named has a behaviour named here."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from app.ogc.documents import CONFORMANCE
from tests.ogc import test_cql2
from tests.ogc.feature_requests import CAMERAS, cams, filtered

Check = Callable[[httpx.AsyncClient], Awaitable[None]]
HOME = "/ogc/collections/cameras"


def _has(url: str, *members: str, accept: str = "application/json") -> Check:
    async def check(client: httpx.AsyncClient) -> None:
        response = await client.get(url, headers={"Accept": accept})
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(accept)
        assert set(members) <= response.json().keys()

    return check


def _is_html(url: str) -> Check:
    async def check(client: httpx.AsyncClient) -> None:
        response = await client.get(url, headers={"Accept": "text/html"})
        assert response.headers["content-type"].startswith("text/html")
        assert response.text.startswith("<!doctype html>")

    return check


def _selects(text: str, expected: list[str]) -> Check:
    async def check(client: httpx.AsyncClient) -> None:
        assert await filtered(client, text) == expected

    return check


def _all_of(start: str) -> Check:
    """Hold every filter of ``test_cql2`` that uses functions of one kind."""
    chosen = [(text, results) for text, results in test_cql2.SELECTED if start in text.upper()]
    assert len(chosen) > 3

    async def check(client: httpx.AsyncClient) -> None:
        for text, expected in chosen:
            assert await filtered(client, text) == expected, text

    return check


async def _json_filter(client: httpx.AsyncClient) -> None:
    tree = '{"op":"=","args":[{"property":"code"},"cam-02"]}'
    response = await client.get(CAMERAS, params={"filter": tree, "filter-lang": "cql2-json"})
    assert [feature["id"] for feature in response.json()["features"]] == cams(2)


async def _crs(client: httpx.AsyncClient) -> None:
    for uri in (await client.get(HOME)).json()["crs"]:
        response = await client.get(CAMERAS, params={"crs": uri, "limit": "1"})
        assert response.headers["content-crs"] == f"<{uri}>"


async def _query_parameters(client: httpx.AsyncClient) -> None:
    """Each queryable is a parameter by itself; nothing else is."""
    names = (await client.get(f"{HOME}/queryables")).json()["properties"]
    feature = (await client.get(f"{CAMERAS}/cam-07")).json()["properties"]
    for name in names.keys() - {"geometry"}:
        several = feature[name] if isinstance(feature[name], list) else [feature[name]]
        if (value := next(iter(several), None)) is None:
            continue
        query = str(value).lower() if isinstance(value, bool) else str(value)
        document = (await client.get(CAMERAS, params={name: query, "limit": "100"})).json()
        assert "cam-07" in [results["id"] for results in document["features"]], name


async def _sorting(client: httpx.AsyncClient) -> None:
    names = (await client.get(f"{HOME}/sortables")).json()["properties"]
    assert len(names) > 20
    for name in names:
        response = await client.get(CAMERAS, params={"sortby": f"-{name}"})
        assert response.json()["numberReturned"] == 12, name


async def _properties(client: httpx.AsyncClient) -> None:
    document = (await client.get(f"{CAMERAS}?properties=range_m")).json()
    assert all(list(feature["properties"]) == ["range_m"] for feature in document["features"])


async def _options(client: httpx.AsyncClient) -> None:
    assert "POST" in (await client.options(CAMERAS)).headers["allow"]
    allowed = (await client.options(f"{CAMERAS}/x")).headers["allow"]
    assert {"PUT", "DELETE", "PATCH"} <= set(allowed.split(", "))


async def _etags(client: httpx.AsyncClient) -> None:
    current = (await client.get(f"{CAMERAS}/cam-01")).headers["etag"]
    response = await client.delete(f"{CAMERAS}/cam-01", headers={"If-Match": '"x"'})
    assert (response.status_code, response.headers["etag"]) == (412, current)


async def _functions(client: httpx.AsyncClient) -> None:
    document = (await client.get("/ogc/functions")).json()["functions"]
    assert {known["name"] for known in document} == {"withinDistance", "distance"}
    for text in ("withinDistance(geometry,POINT(0 0),1)", "distance(geometry,POINT(0 0)) < 1"):
        assert await filtered(client, text) == []


async def _oas30(client: httpx.AsyncClient) -> None:
    response = await client.get("/ogc/api")
    assert response.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert response.json()["openapi"].startswith("3.0.")


_FILTER = _selects("code = 'cam-02'", cams(2))
_SCHEMA = _has(f"{HOME}/schema", "properties", "$schema", accept="application/schema+json")
_QUERYABLES = _has(f"{HOME}/queryables", "properties", accept="application/schema+json")
_SORTABLES = _has(f"{HOME}/sortables", "properties", accept="application/schema+json")

BEHAVIOUR: dict[str, Check] = {
    "ogcapi-common-1/core": _has("/ogc/conformance", "conformsTo"),
    "ogcapi-common-1/landing-page": _has("/ogc", "links", "title"),
    "ogcapi-common-1/json": _has("/ogc", "links"),
    "ogcapi-common-1/html": _is_html("/ogc"),
    "ogcapi-common-1/oas30": _oas30,
    "ogcapi-common-2/collections": _has("/ogc/collections", "collections", "links"),
    "ogcapi-features-1/core": _has(CAMERAS, "features", "links", accept="application/geo+json"),
    "ogcapi-features-1/geojson": _has(CAMERAS, "type", accept="application/geo+json"),
    "ogcapi-features-1/html": _is_html(CAMERAS),
    "ogcapi-features-1/oas30": _oas30,
    "ogcapi-features-2/crs": _crs,
    "ogcapi-features-3/queryables": _QUERYABLES,
    "ogcapi-features-3/queryables-query-parameters": _query_parameters,
    "ogcapi-features-3/filter": _FILTER,
    "ogcapi-features-3/features-filter": _FILTER,
    "cql2/cql2-text": _FILTER,
    "cql2/cql2-json": _json_filter,
    "cql2/basic-cql2": _selects("range_m > 95 AND NOT (code = 'cam-10')", cams(11)),
    "cql2/advanced-comparison-operators": _selects(
        "code LIKE 'cam-0%' AND range_m BETWEEN 20 AND 40 AND code IN ('cam-02')", cams(2)
    ),
    "cql2/case-insensitive-comparison": _selects("CASEI(code) = CASEI('CAM-03')", cams(3)),
    "cql2/accent-insensitive-comparison": _selects("ACCENTI(name_en) = ACCENTI('Unicode')", cams(3)),
    "cql2/basic-spatial-functions": _selects("S_INTERSECTS(geometry, POINT(113.2 35.2))", cams(0)),
    "cql2/basic-spatial-functions-plus": _all_of("S_INTERSECTS("),
    "cql2/basic-spatial-operators": _selects("S_INTERSECTS(geometry, POINT(113.2 35.2))", cams(0)),
    "cql2/spatial-functions": _all_of("S_"),
    "cql2/temporal-functions": _all_of("T_"),
    "cql2/array-functions": _all_of("A_"),
    "cql2/property-property": _selects("range_m = range_m AND range_m < 10", cams(0)),
    "cql2/functions": _functions,
    "cql2/arithmetic": _selects("range_m * 2 = 10", cams(0)),
    "ogcapi-common-3/schemas": _SCHEMA,
    "ogcapi-common-3/queryables": _QUERYABLES,
    "ogcapi-common-3/sortables": _SORTABLES,
    "ogcapi-features-5/schemas": _SCHEMA,
    "ogcapi-features-4/create-replace-delete": _options,
    "ogcapi-features-4/update": _options,
    "ogcapi-features-4/features": _options,
    "ogcapi-features-4/optimistic-locking-etags": _etags,
    "ogcapi-features-6/properties": _properties,
    "ogcapi-features-6/properties-features": _properties,
    "ogcapi-features-8/sortables": _SORTABLES,
    "ogcapi-features-8/sorting": _sorting,
    "ogcapi-features-8/features-sorting": _sorting,
}


def _short(uri: str) -> str:
    part, _, name = uri.removeprefix("http://www.opengis.net/spec/").partition("/1.0/conf/")
    return f"{part}/{name}"


def test_what_is_declared_is_what_is_held_here() -> None:
    declared = [_short(uri) for uri in CONFORMANCE]
    assert len(set(declared)) == len(declared)
    features = {name for name in declared if "-tiles-" not in name}
    assert features == BEHAVIOUR.keys()


async def test_the_service_does_what_it_declares(gis: httpx.AsyncClient) -> None:
    declared = (await gis.get("/ogc/conformance")).json()["conformsTo"]
    assert declared == list(CONFORMANCE)
    for name, check in BEHAVIOUR.items():
        try:
            await check(gis)
        except Exception as error:
            pytest.fail(f"{name}: {error}")
