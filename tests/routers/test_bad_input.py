"""Bad input of every sort: each is refused with a clear problem, and nothing is written."""

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import orjson
import pytest
import structlog

from app.db.engine import Database
from app.ingest.values.forbidden_names import FORBIDDEN_PARTS
from app.records.kinds import KINDS
from tests.builders import (
    CITY,
    LAT,
    LON,
    Json,
    KeyFor,
    Serve,
    box,
    building,
    camera,
    checkpoint,
    contents,
    control_point,
    jurisdiction,
    point,
    road,
    square,
)

JSON = {"Content-Type": "application/json"}
RING = f"/v1/jurisdictions/{CITY}/rings/core"
MEMBERSHIP = f"/v1/jurisdictions/{CITY}/membership"
TWO_MB = "道" * 2_000_000
DEEP = 100_000

Told = tuple[str, str]
"""Pointer and code of the first fault."""


def line(*positions: Any) -> Json:
    """Return a LineString."""
    return {"type": "LineString", "coordinates": list(positions)}


def polygon(*rings: Any) -> Json:
    """Return a Polygon."""
    return {"type": "Polygon", "coordinates": list(rings)}


async def _told(client: httpx.AsyncClient, method: str, url: str, body: object) -> Told:
    """Send a body and return its first fault; the answer is a 422 that does not echo the body."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await client.request(method, url, content=content, headers=JSON)
    assert answer.status_code == 422, answer.text[:500]
    assert len(answer.content) < 10_000
    problem = answer.json()
    fault = problem["errors"][0]
    assert problem["detail"]
    assert fault["message"]
    return fault["pointer"], fault["code"]


@pytest.fixture
async def _untouched(city: httpx.AsyncClient, database: Database) -> AsyncIterator[None]:
    """Fail a test that writes anything."""
    await city.put("/v1/cameras/camera-1", json=camera())
    before = await contents(database)
    yield
    assert await contents(database) == before


pytestmark = pytest.mark.usefixtures("_untouched")


def _raw(value: str, name: str = "range_m") -> bytes:
    """Return a camera with one member written literally."""
    return json.dumps(camera())[:-1].encode() + f', "{name}": {value}}}'.encode()


NOT_JSON = {
    "empty": b"",
    "blank": b"  \n",
    "truncated": orjson.dumps(camera())[:-1],
    "truncated in a string": orjson.dumps(camera())[:20],
    "two documents": b"{}{}",
    "trailing comma": b'{"a":1,}',
    "comment": b"{} // nothing",
    "single quotes": b"{'a':1}",
    "NaN": _raw("NaN"),
    "Infinity": _raw("Infinity"),
    "minus Infinity": _raw("-Infinity"),
    "NaN in a position": b'{"geometry":{"type":"Point","coordinates":[NaN,35]}}',
    "1e999": _raw("1e999"),
    "400 digits": _raw("1" + "0" * 400),
    "leading zero": _raw("007"),
    "hexadecimal": _raw("0x10"),
    "lone surrogate": _raw(r'"\ud800"', "name_en"),
    "reversed surrogates": _raw(r'"\udc00\ud800"', "name_en"),
    "surrogate in UTF-8": _raw('"', "name_en")[:-1] + b'\xed\xa0\x80"}',
    "Latin-1": '{"name_en":"é"}'.encode("latin-1"),
    "GBK": '{"name_zh":"人民路"}'.encode("gbk"),
    "UTF-16": "{}".encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "raw NUL": b'{"name_en":"a\x00b"}',
    "raw line feed": b'{"name_en":"a\nb"}',
    "100,000 arrays": b"[" * DEEP + b"]" * DEEP,
    "100,000 open arrays": b"[" * DEEP,
    "100,000 objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "form": b"code=camera-1&jurisdiction=410800",
    "XML": b"<camera/>",
}


async def test_what_is_not_json(city: httpx.AsyncClient) -> None:
    told = {name: await _told(city, "PUT", "/v1/cameras/new", body) for name, body in NOT_JSON.items()}
    assert told == dict.fromkeys(NOT_JSON, ("", "malformed-json"))


ROUTES = [
    *(("POST", f"/v1/{kind.plural}") for kind in KINDS),
    *(("PUT", f"/v1/{kind.plural}/{CITY}") for kind in KINDS),
    *(("PATCH", f"/v1/{kind.plural}/{CITY}") for kind in KINDS),
    *(("POST", f"/v1/{kind.plural}:batch") for kind in KINDS),
    ("PUT", RING),
    ("POST", MEMBERSHIP),
    ("POST", "/v1/states"),
    ("POST", "/v1/keys"),
]  # fmt: skip


async def test_every_body_is_read_strictly(city: httpx.AsyncClient) -> None:
    for method, url in ROUTES:
        for body in (b"", b"{", b"[NaN]", b"[" * DEEP):
            assert await _told(city, method, url, body) == ("", "malformed-json"), (method, url)


async def test_every_body_must_be_what_the_route_takes(city: httpx.AsyncClient) -> None:
    for method, url in ROUTES:
        if method == "PATCH" and not url.startswith("/v1/jurisdictions"):
            continue  # nothing there to be patched
        for body in (b"null", b"5", b'"text"', b"true", b"[[]]"):
            await _told(city, method, url, body)


async def test_every_body_has_a_content_type(city: httpx.AsyncClient) -> None:
    merge = "application/merge-patch+json"
    for method, url in ROUTES:
        types = ["", "text/plain", "application/x-www-form-urlencoded", "application/xml", "json"]
        for content_type in [*types, *([] if method == "PATCH" else [merge])]:
            headers = {"Content-Type": content_type} if content_type else {}
            answer = await city.request(method, url, content=b"{}", headers=headers)
            assert answer.status_code == 415, (method, url, content_type)
            assert answer.json()["accepted"]


async def test_json_has_several_content_types(city: httpx.AsyncClient) -> None:
    for content_type in ("application/json; charset=utf-8", "application/GEO+json"):
        headers = {"Content-Type": content_type}
        answer = await city.put("/v1/cameras/camera-1", json=camera(), headers=headers)
        assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')


@pytest.mark.parametrize("depth", [100, 250, 1000])
async def test_deep_values_at_every_place(city: httpx.AsyncClient, depth: int) -> None:
    """Under the parser's own limit of 1,024 levels."""
    depth -= 5  # for what is around the deep value
    array, thing = b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth
    for deep in (array, thing):
        for name in ("name_zh", "geometry", "functions", "properties", "unheard_of", "code"):
            await _told(city, "PUT", "/v1/cameras/new", _raw(deep.decode(), name))
        for member in (b"type", b"coordinates"):
            geometry = b'{"type":"Polygon","coordinates":[],"' + member + b'":' + deep + b"}"
            await _told(city, "PUT", RING, geometry)
            await _told(city, "PUT", "/v1/control-points/p", b'{"geometry":' + geometry + b"}")
        for url in ("/v1/states", "/v1/cameras:batch", MEMBERSHIP, "/v1/keys"):
            await _told(city, "POST", url, deep)
            await _told(city, "POST", url, b'{"items":[' + deep + b"]}")
        await _told(city, "PATCH", f"/v1/jurisdictions/{CITY}", b'{"plan":' + deep + b"}")
        await _told(city, "PATCH", "/v1/cameras/camera-1", b'{"geometry":' + deep + b"}")


POINTS = {
    "swapped": (point(LAT, LON), "swapped-coordinates"),
    "outside the city": (point(120, 30), "outside-extent"),
    "nowhere": (point(0, 0), "outside-extent"),
    "no longitude": (point(181, LAT), "geometry-out-of-range"),
    "metres": (point(39_480_000, 3_897_000), "geometry-out-of-range"),
    "huge": (point(10**17, 10**17), "geometry-out-of-range"),
    "three dimensions": ({"type": "Point", "coordinates": [LON, LAT, 12]}, "geometry-dimensions"),
    "one dimension": ({"type": "Point", "coordinates": [LON]}, "geometry-dimensions"),
    "empty": ({"type": "Point", "coordinates": []}, "geometry-empty"),
    "text": ({"type": "Point", "coordinates": [str(LON), str(LAT)]}, "geometry-coordinates"),
    "null": ({"type": "Point", "coordinates": [None, None]}, "geometry-coordinates"),
    "truth": ({"type": "Point", "coordinates": [True, False]}, "geometry-coordinates"),
    "nested": ({"type": "Point", "coordinates": [[LON, LAT]]}, "geometry-dimensions"),
    "no coordinates": ({"type": "Point"}, "geometry-coordinates"),
    "object": ({"type": "Point", "coordinates": {"lon": LON}}, "geometry-coordinates"),
    "no type": ({"coordinates": [LON, LAT]}, "geometry-type"),
    "strange type": ({"type": "point", "coordinates": [LON, LAT]}, "geometry-type"),
    "long type": ({"type": TWO_MB, "coordinates": [LON, LAT]}, "geometry-type"),
    "polygon": (square(0.1), "geometry-type"),
    "many points": ({"type": "MultiPoint", "coordinates": [[LON, LAT]]}, "geometry-type"),
    "collection": ({"type": "GeometryCollection", "geometries": []}, "geometry-type"),
    "WKT": ("POINT (113.2 35.2)", "geometry-type"),
    "absent": (None, "geometry-type"),
    "foreign CRS": ({**point(), "crs": {"type": "name"}}, "geometry-member"),
    "long member": ({**point(), TWO_MB: 1}, "geometry-member"),
}


async def test_points_that_are_none(city: httpx.AsyncClient) -> None:
    told = {
        name: await _told(city, "PUT", "/v1/cameras/new", camera("new", geometry=geometry))
        for name, (geometry, _) in POINTS.items()
    }
    assert told == {name: ("/geometry", code) for name, (_, code) in POINTS.items()}


A, B, C, D = [113.1, 35.1], [113.3, 35.1], [113.3, 35.3], [113.1, 35.3]
HOLE_OUTSIDE = [[113.5, 35.5], [113.6, 35.5], [113.6, 35.6], [113.5, 35.5]]
POLYGONS = {
    "unclosed": (polygon([A, B, C, D]), "geometry-unclosed"),
    "bowtie": (polygon([A, C, B, D, A]), "invalid-geometry"),
    "spike": (polygon([A, B, A, A]), "invalid-geometry"),
    "hole outside": (polygon([A, B, C, D, A], HOLE_OUTSIDE), "invalid-geometry"),
    "two positions": (polygon([A, A]), "geometry-ring-too-short"),
    "no ring": (polygon(), "geometry-empty"),
    "empty ring": (polygon([]), "geometry-empty"),
    "no polygon": ({"type": "MultiPolygon", "coordinates": []}, "geometry-empty"),
    "overlapping": (
        {"type": "MultiPolygon", "coordinates": [[[A, B, C, D, A]], [[A, B, C, D, A]]]},
        "invalid-geometry",
    ),
    "three dimensions": (polygon([[*A, 1], [*B, 1], [*C, 1], [*A, 1]]), "geometry-dimensions"),
    "swapped": (square(0.1, LAT, LON), "swapped-coordinates"),
    "outside": (square(0.1, 120), "outside-extent"),
    "too large": (square(3), "outside-extent"),
    "line": (line(A, B), "geometry-type"),
}


async def test_areas_that_are_none(city: httpx.AsyncClient) -> None:
    told = {
        name: await _told(city, "PUT", "/v1/control-points/p", control_point("p", geometry=geometry))
        for name, (geometry, _) in POLYGONS.items()
    }
    assert told == {name: ("/geometry", code) for name, (_, code) in POLYGONS.items()}


async def test_rings_that_are_none(city: httpx.AsyncClient) -> None:
    reasons = {
        "bowtie": "self-intersection",
        "spike": "too-few-points",
        "hole outside": "hole-lies-outside",
        "overlapping": "self-intersection",
    }
    for name, (geometry, code) in POLYGONS.items():
        pointer, told = await _told(city, "PUT", RING, geometry)
        assert pointer == "/geometry"
        assert told == code or told.startswith(reasons[name]), (name, told)
        as_feature = {"type": "Feature", "geometry": geometry, "properties": None}
        assert await _told(city, "PUT", RING, as_feature) == (pointer, told)


async def test_rings_that_are_no_feature_at_all(city: httpx.AsyncClient) -> None:
    empty = {"type": "FeatureCollection", "features": []}
    for body in ({}, {"type": "Feature"}, {"type": "Feature", "geometry": None}, empty):
        assert (await _told(city, "PUT", RING, body))[1] == "geometry-type"
    for name, value in (("tolerance_m", -1), ("tolerance_m", 1e9), ("colour", "red"), ("plate", 1)):
        feature = {"type": "Feature", "geometry": square(0.1), "properties": {name: value}}
        assert (await _told(city, "PUT", RING, feature))[0] in (
            f"/properties/{name}",
            "/properties",
        )


LINES = {
    "one position": (line(A), "geometry-line-too-short"),
    "the same place twice": (line(A, A), "invalid-geometry"),
    "empty": (line(), "geometry-empty"),
    "three dimensions": (line([*A, 1], [*B, 1]), "geometry-dimensions"),
    "partly outside": (line(A, [120, 30]), "outside-extent"),
    "many lines": ({"type": "MultiLineString", "coordinates": [[A, B]]}, "geometry-type"),
}


async def test_lines_that_are_none(city: httpx.AsyncClient) -> None:
    told = {
        name: await _told(city, "PUT", "/v1/roads/r", road("r", geometry=geometry))
        for name, (geometry, _) in LINES.items()
    }
    assert told == {name: ("/geometry", code) for name, (_, code) in LINES.items()}


new = partial(camera, "new")
FIELDS: dict[str, tuple[Json, Told]] = {
    "2 MB name": (new(name_zh=TWO_MB), ("/name_zh", "string-too-long")),
    "NUL": (new(name_en="a\x00b"), ("/name_en", "control-characters")),
    "line feed": (new(address="a\nb"), ("/address", "control-characters")),
    "delete": (new(notes="a\x7fb"), ("/notes", "control-characters")),
    "C1 control": (new(notes="a\x85b"), ("/notes", "control-characters")),
    "text turned round": (new(notes="a\u202eb"), ("/notes", "control-characters")),
    "line separator": (new(notes="a\u2028b"), ("/notes", "control-characters")),
    "unknown": (new(colour="red"), ("/colour", "extra-forbidden")),
    "2 MB unknown": ({**new(), TWO_MB: 1}, ("/" + TWO_MB[:998] + "…", "extra-forbidden")),
    "number for text": (new(name_zh=5), ("/name_zh", "string-type")),
    "text for number": (new(range_m="30"), ("/range_m", "float-type")),
    "text for integer": (new(retention_days="30"), ("/retention_days", "int-type")),
    "truth for integer": (new(retention_days=True), ("/retention_days", "int-type")),
    "fraction for integer": (new(retention_days=30.5), ("/retention_days", "int-type")),
    "text for truth": (new(sign_present="yes"), ("/sign_present", "bool-type")),
    "number for truth": (new(sign_present=1), ("/sign_present", "bool-type")),
    "number for day": (new(installed_on=86_400), ("/installed_on", "day")),
    "no such day": (new(installed_on="2026-02-30"), ("/installed_on", "day")),
    "another calendar": (new(installed_on="30.01.2026"), ("/installed_on", "day")),
    "instant for day": (new(installed_on="2026-01-30T00:00:00Z"), ("/installed_on", "day")),
    "text for list": (new(functions="face"), ("/functions", "list-type")),
    "no function": (new(functions=[]), ("/functions", "too-short")),
    "repeated function": (new(functions=["face", "face"]), ("/functions", "duplicate-value")),
    "unknown function": (new(functions=["smell"]), ("/functions/0", "literal-error")),
    "unknown word": (new(lifecycle="broken"), ("/lifecycle", "literal-error")),
    "null where needed": (new(jurisdiction=None), ("/jurisdiction", "string-type")),
    "huge integer": (new(horizontal_pixels=2**63), ("/horizontal_pixels", "less-than-equal")),
    "huge number": (new(range_m=1e308), ("/range_m", "less-than-equal")),
    "negative": (new(near_m=-0.1), ("/near_m", "greater-than-equal")),
    "full circle": (new(azimuth_deg=360), ("/azimuth_deg", "less-than")),
    "unlawful retention": (new(retention_days=29), ("/retention_days", "greater-than-equal")),
    "naive time": (
        new(state="online", reported_at="2026-01-01T00:00:00"), ("/reported_at", "timezone-aware"),
    ),
    "number for time": (new(state="online", reported_at=1.7e9), ("/reported_at", "instant")),
    "before year 1": (
        new(state="online", reported_at="0001-01-01T00:00:00+14:00"), ("/reported_at", "instant"),
    ),
    "report from the future": (
        new(state="online", reported_at="2999-01-01T00:00:00Z"), ("/reported_at", "future-time"),
    ),
    "unknown jurisdiction": (new(jurisdiction="410900"), ("/jurisdiction", "unknown-reference")),
    "short division": (new(jurisdiction="4108"), ("/jurisdiction", "string-pattern-mismatch")),
    "wide digits": (new(jurisdiction="４１０８００"), ("/jurisdiction", "string-pattern-mismatch")),
    "unknown control point": (new(control_point="none"), ("/control_point", "unknown-reference")),
    "unknown checkpoint": (new(checkpoint="none"), ("/checkpoint", "unknown-reference")),
    "feature without properties": (
        {"type": "Feature", "geometry": point(), "properties": [1]}, ("", "object-type"),
    ),
    "two codes": (
        {"type": "Feature", "id": "new", "geometry": point(), "properties": camera("other")},
        ("/code", "code-mismatch"),
    ),
}  # fmt: skip


async def test_fields_that_are_wrong(city: httpx.AsyncClient) -> None:
    url = "/v1/cameras/new"
    told = {name: await _told(city, "PUT", url, body) for name, (body, _) in FIELDS.items()}
    assert told == {name: fault for name, (_, fault) in FIELDS.items()}


LANE = {"lane": 1, "direction": "inbound"}
BUILDERS: dict[str, Callable[[], Json]] = {
    "checkpoints": checkpoint, "control-points": control_point, "roads": road,
    "buildings": building, "cameras": camera,
    "jurisdictions": partial(jurisdiction, "410900"),
}  # fmt: skip
OTHERS: dict[str, list[tuple[Json, Told]]] = {
    "checkpoints": [
        ({"lanes": [LANE, LANE]}, ("/lanes", "duplicate-lane")),
        ({"lanes": [LANE] * 41}, ("/lanes", "too-long")),
        ({"lanes": {"1": LANE}}, ("/lanes", "list-type")),
        ({"lanes": [{**LANE, "plate": "x"}]}, ("/lanes/0/plate", "extra-forbidden")),
        ({"lanes": [{**LANE, "name": "a\x00"}]}, ("/lanes/0/name", "control-characters")),
        ({"lanes": [{**LANE, "bearing_deg": 360}]}, ("/lanes/0/bearing_deg", "less-than")),
        ({"road": "none"}, ("/road", "unknown-reference")),
        ({"tollgate_usage": "83"}, ("/tollgate_usage", "string-pattern-mismatch")),
    ],
    "control-points": [
        ({"category": "site"}, ("/category", "literal-error")),
        ({"requirements": [{}] * 21}, ("/requirements", "too-long")),
        ({"requirements": [{"working": 1}]}, ("/requirements/0/function", "missing")),
    ],
    "roads": [
        ({"layer": 11}, ("/layer", "less-than-equal")),
        ({"oneway": True}, ("/oneway", "literal-error")),
        ({"bridge": "no"}, ("/bridge", "bool-type")),
    ],
    "buildings": [
        ({"height_m": 0}, ("/height_m", "greater-than")),
        ({"levels": 0}, ("/levels", "greater-than-equal")),
        ({"geometry": point()}, ("/geometry", "geometry-type")),
        ({"geometry": box(35.2, 113.2, 35.3, 113.3)}, ("/geometry", "swapped-coordinates")),
        ({"zone": "core", "storeys": 2}, ("/storeys", "extra-forbidden")),
    ],
    "cameras": [
        ({"view_polygon": point()}, ("/view_polygon", "geometry-type")),
        ({"view_polygon": square(0.1, LON + 2)}, ("/view_polygon", "view-elsewhere")),
        ({"view_polygon": polygon([A, C, B, D, A])}, ("/view_polygon", "invalid-geometry")),
        ({"required_level": "identify"}, ("/level_scale", "level-and-scale")),
        ({"level_scale": "iec2025"}, ("/required_level", "level-and-scale")),
        (
            {"required_level": "identify", "level_scale": "iec2025"},
            ("/required_level", "level-of-other-scale"),
        ),
        ({"reach_m": 0}, ("/reach_m", "greater-than")),
        ({"reach_m": 5, "near_m": 5}, ("/near_m", "sees-nothing")),
    ],
    "jurisdictions": [
        ({"code": "4108"}, ("/code", "string-pattern-mismatch")),
        ({"plan": {"core_site": -1}}, ("/plan/core_site", "greater-than-equal")),
        ({"plan": {"gate": 1}}, ("/plan/gate/[key]", "literal-error")),
        ({"extent": [114, 34, 113, 36]}, ("/extent", "extent")),
        ({"extent": [1, 2, 3]}, ("/extent", "too-short")),
        ({"metric_epsg": 4326}, ("/metric_epsg", "crs-not-metric")),
        ({"metric_epsg": 2225}, ("/metric_epsg", "crs-not-metric")),  # feet
        ({"metric_epsg": 1999}, ("/metric_epsg", "unknown-crs")),
        ({"stale_after_s": 0}, ("/stale_after_s", "greater-than-equal")),
    ],
}


async def test_fields_of_other_kinds_that_are_wrong(city: httpx.AsyncClient) -> None:
    for plural, cases in OTHERS.items():
        told = [
            (changed, await _told(city, "POST", f"/v1/{plural}", BUILDERS[plural]() | changed)) for changed, _ in cases
        ]
        assert told == cases


async def test_a_registry_of_things_holds_no_people(city: httpx.AsyncClient) -> None:
    names = [*FORBIDDEN_PARTS, "Password", "face_image_url", "车牌号", "operator_phone"]
    for name in names:
        body = {**camera("new"), name: "x"}
        feature = {"type": "Feature", "geometry": point(), "properties": {name: "x"}}
        answers = [
            await city.put("/v1/cameras/new", json=body),
            await city.put("/v1/cameras/new", json=feature),
            await city.post("/v1/cameras", json=body),
            await city.patch("/v1/cameras/camera-1", json={name: "x"}),
        ]
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (422, "forbidden-content"), name
            assert name in answer.json()["detail"]
        batch = (await city.post("/v1/cameras:batch", json=[body])).json()
        assert batch["errors"][0] == {**batch["errors"][0], "code": "forbidden-content"}


CODES = {
    "": "string-pattern-mismatch",
    "a b": "string-pattern-mismatch",
    "a/b": "string-pattern-mismatch",
    "号": "string-pattern-mismatch",
    "a\x00": "string-pattern-mismatch",
    "a\n": "string-pattern-mismatch",
    "x" * 65: "string-pattern-mismatch",
    TWO_MB: "string-pattern-mismatch",
    "41080000002151000001": "gb28181-code",  # 215: a platform, no camera
    "41080000003001000001": "gb28181-code",  # 300 and up number people
    "41080000004991000001": "gb28181-code",
    "99080000001321000001": "gb28181-code",  # 99: no province
}


async def test_codes_that_are_none(city: httpx.AsyncClient) -> None:
    told = {code: await _told(city, "POST", "/v1/cameras", camera(code)) for code in CODES}
    places = {"string-pattern-mismatch": "/code", "gb28181-code": "/code"}
    assert told == {code: (places[fault], fault) for code, fault in CODES.items()}
    assert await _told(city, "POST", "/v1/cameras", {**camera(), "code": 5}) == (
        "/code",
        "string-type",
    )


async def test_a_code_says_which_digits_are_wrong(city: httpx.AsyncClient) -> None:
    answer = await city.post("/v1/checkpoints", json=checkpoint("41080000001321000001"))
    assert "digits 11-13 are 132, and a checkpoint has one of 119, 121" in answer.json()["detail"]


async def test_paths_that_are_none(city: httpx.AsyncClient) -> None:
    for code in ("a%20b", "%00", "%ff", "x" * 65, "%E5%8F%B7", "a%0A"):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            url = f"/v1/cameras/{code}"
            told = await _told(city, method, url, {})
            assert told == ("path:code", "string-pattern-mismatch"), (method, code)
    for url in ("/v1/jurisdictions/4108/rings", "/v1/jurisdictions/4108000/coverage"):
        assert (await city.get(url)).json()["errors"][0]["pointer"] == "path:code"


TIME = "reported_at"
REPORTS: list[tuple[Json, Told]] = [
    ({"kind": "road"}, ("/0/kind", "literal-error")),
    ({"state": "on"}, ("/0/state", "literal-error")),
    ({"state": None}, ("/0/state", "literal-error")),
    ({"code": "a\x00"}, ("/0/code", "string-pattern-mismatch")),
    ({"x": 1}, ("/0/x", "extra-forbidden")),
    ({TIME: "2026-01-01T00:00:00"}, (f"/0/{TIME}", "timezone-aware")),
    ({TIME: 1_700_000_000}, (f"/0/{TIME}", "instant")),
    ({TIME: "2999-01-01T00:00:00Z"}, (f"/0/{TIME}", "future-time")),
    ({TIME: "9999-12-31T23:59:59-14:00"}, (f"/0/{TIME}", "instant")),
]


async def test_reports_that_are_none(city: httpx.AsyncClient) -> None:
    good = {"code": "camera-1", "state": "online"}
    told = [(bad, await _told(city, "POST", "/v1/states", [good | bad])) for bad, _ in REPORTS]
    assert told == REPORTS
    assert await _told(city, "POST", "/v1/states", {"reports": []}) == ("", "list-type")
    inner = await _told(city, "POST", "/v1/states", {"states": [good, {"code": "a"}]})
    assert inner == ("/states/1/state", "missing")


KEYS: list[tuple[Json, Told]] = [
    ({"label": ""}, ("/label", "string-too-short")),
    ({"label": 5}, ("/label", "string-type")),
    ({"role": "root"}, ("/role", "literal-error")),
    ({"jurisdictions": []}, ("/jurisdictions", "too-short")),
    ({"jurisdictions": ["x"]}, ("/jurisdictions/0", "string-pattern-mismatch")),
    ({"expires_at": "9999-12-31T23:59:59-14:00"}, ("/expires_at", "instant")),
    ({"secret": "mine"}, ("/secret", "extra-forbidden")),
]


async def test_keys_that_are_none(city: httpx.AsyncClient) -> None:
    before = (await city.get("/v1/keys")).json()["items"]
    good = {"label": "import", "role": "reader"}
    assert [(bad, await _told(city, "POST", "/v1/keys", good | bad)) for bad, _ in KEYS] == KEYS
    assert len((await city.get("/v1/keys")).json()["items"]) == len(before)


MEMBERS: dict[str, tuple[Any, str]] = {
    "no list": ({"points": "x"}, "/points"),
    "no points": ({}, "/points"),
    "one number": ({"points": [[LON, LAT], [LON]]}, "/points/1"),
    "three numbers": ({"points": [[LON, LAT, 1]]}, "/points/0"),
    "text": ({"points": [[str(LON), str(LAT)]]}, "/points/0"),
    "truth": ({"points": [[True, True]]}, "/points/0"),
    "objects": ({"points": [{"lon": LON, "lat": LAT}]}, "/points/0"),
    "swapped": ({"points": [[LON, LAT], [LAT, LON]]}, "/points/1"),
}


async def test_points_to_place_that_are_none(city: httpx.AsyncClient) -> None:
    told = {name: await _told(city, "POST", MEMBERSHIP, body) for name, (body, _) in MEMBERS.items()}
    assert told == {name: (pointer, "invalid-point") for name, (_, pointer) in MEMBERS.items()}


async def _in_parts(body: bytes) -> AsyncIterator[bytes]:
    """Send a body of unsaid length."""
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_body_over_the_limit(serve: Serve, key_for: KeyFor, method: str) -> None:
    headers = await key_for("admin") | JSON
    fits = orjson.dumps(camera()).ljust(2048)
    async with serve(max_body_mb=2 / 1024) as client:

        async def sent(content: bytes | AsyncIterator[bytes]) -> int:
            url = "/v1/cameras/camera-1"
            answer = await client.request(method, url, content=content, headers=headers)
            assert answer.status_code == 200 or answer.json()["limit"] == 2048
            return answer.status_code

        assert [await sent(fits), await sent(_in_parts(fits))] == [200, 200]
        assert [await sent(fits + b" "), await sent(_in_parts(fits + b" "))] == [413, 413]
        assert await sent(_in_parts(fits * 100)) == 413


async def test_a_caller_who_hangs_up_in_the_middle(city: httpx.AsyncClient) -> None:
    app = city._transport.app  # type: ignore[attr-defined]  # what httpx never does
    arriving = [{"type": "http.request", "body": b'{"code":"new"', "more_body": True}]

    async def receive() -> Json:
        return arriving.pop() if arriving else {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        """Nobody listens any more."""

    headers = [(b"authorization", city.headers["authorization"].encode())]
    scope = {
        "type": "http", "method": "PUT", "path": "/v1/cameras/new", "query_string": b"",
        "headers": [*headers, (b"content-type", b"application/json")],
    }  # fmt: skip
    with structlog.testing.capture_logs() as logged:
        await app(scope, receive, send)
    assert [line for line in logged if line["log_level"] == "error"] == []


async def test_what_a_second_pair_of_eyes_found(city: httpx.AsyncClient) -> None:
    """Each was accepted once: a login in an address, lost digits, contradictions, strange members."""
    refused = [
        ("/network_address", camera("c-1") | {"network_address": "rtsp://admin:pass@10.0.0.1/1"}),
        ("/code", camera("4108000004132099900")),
        ("/near_m", camera("c-1") | {"near_m": 50, "range_m": 10}),
        ("/removed_on", camera("c-1") | {"installed_on": "2025-01-02", "removed_on": "2025-01-01"}),
        ("/point_class", camera("c-1") | {"point_class": 5}),
        ("/state", camera("c-1") | {"reported_at": "2025-01-01T00:00:00Z"}),
        ("/foo", {"type": "Feature", "foo": 1, "geometry": point(), "properties": camera("c-1")}),
        (
            "",
            {"type": "Feature", "geometry": point(113.3, 35.3), "properties": camera("c-1")},
        ),
    ]
    told = []
    for _, body in refused:
        answer = await city.post("/v1/cameras", json=body)
        assert answer.status_code == 422, answer.text
        told.append(answer.json()["errors"][0]["pointer"])
    assert told == [pointer for pointer, _ in refused]

    site = {
        "jurisdiction": "410800",
        "category": "core_site",
        "geometry": point(),
        "requirements": [],
    }
    assert (await city.put("/v1/control-points/s", json=site)).status_code == 422
    points = {"points": [[113.2, 35.2]], "datum": "gcj02"}
    answer = await city.post("/v1/jurisdictions/410800/membership", json=points)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/datum")
    mercator = await city.patch("/v1/jurisdictions/410800", json={"metric_epsg": 3857})
    assert (mercator.status_code, mercator.json()["code"]) == (422, "crs-distorts")
