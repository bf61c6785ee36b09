"""Rings: what is accepted as one, how they must nest, and where things lie in them."""

import httpx
import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from app.geo.projection.datum import from_wgs84
from tests.builders import (
    CITY,
    HALF_DEG,
    LAT,
    LON,
    MERGE_PATCH,
    Json,
    KeyFor,
    Serve,
    box,
    camera,
    control_point,
    jurisdiction,
    point,
    square,
)

RINGS = f"/v1/jurisdictions/{CITY}/rings"
MEMBERSHIP = f"/v1/jurisdictions/{CITY}/membership"
M_PER_DEG_LAT = 110_940.0
"""At 35.2 N, to within 0.1 %."""


async def _put(client: httpx.AsyncClient, level: str, body: Json, query: str = "") -> httpx.Response:
    return await client.put(f"{RINGS}/{level}{query}", json=body)


async def _placed(client: httpx.AsyncClient, *points: tuple[float, float]) -> list[Json]:
    answer = await client.post(MEMBERSHIP, json={"points": points})
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["points"]
    return found


async def test_a_feature_a_geometry_and_a_collection_of_one_are_the_same(
    city: httpx.AsyncClient,
) -> None:
    feature = {"type": "Feature", "geometry": square(0.1), "properties": None}
    collection = {"type": "FeatureCollection", "features": [feature]}
    stored = [(await _put(city, "core", body)).json() for body in (square(0.1), feature, collection)]
    assert stored[0]["geometry"]["type"] == "MultiPolygon"
    assert stored[0]["properties"]["vertices"] == 5
    assert stored == [stored[0]] * 3
    assert (await _put(city, "core", {**collection, "features": [feature] * 2})).status_code == 422


async def test_an_area_of_several_parts_with_a_hole(city: httpx.AsyncClient) -> None:
    hole = square(0.01)["coordinates"][0]
    parts = [[square(0.05)["coordinates"][0], hole], square(0.05, LON + 0.2)["coordinates"]]
    area = {"type": "MultiPolygon", "coordinates": parts}
    stored = await _put(city, "core", area)
    assert shapely.equals(shape(stored.json()["geometry"]), shape(area))
    places = [(LON, LAT), (LON + 0.03, LAT), (LON + 0.2, LAT), (LON + 0.1, LAT)]
    zones = [found["zone"] for found in await _placed(city, *places)]
    assert zones == ["outside", "core", "core", "outside"]


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
async def test_other_datums_come_back_in_wgs84(city: httpx.AsyncClient, datum: str) -> None:
    true = shape(square(0.1))
    shifted = shapely.transform(true, lambda xy: from_wgs84(xy, datum))
    stored = await _put(city, "core", shapely.geometry.mapping(shifted), f"?datum={datum}")
    assert stored.json()["properties"]["datum_received"] == datum
    apart = shapely.hausdorff_distance(shape(stored.json()["geometry"]), true)
    assert apart < 1e-8, "a millimetre"
    assert shapely.hausdorff_distance(shifted, true) > 1e-3, "a hundred metres"


async def test_cgcs2000_is_taken_as_it_is(city: httpx.AsyncClient) -> None:
    stored = await _put(city, "core", square(0.1), "?datum=cgcs2000")
    assert stored.json()["geometry"]["coordinates"] == [square(0.1)["coordinates"]]
    assert (await _put(city, "core", square(0.1), "?datum=beijing54")).status_code == 422


async def test_the_datum_of_a_feature_is_what_the_query_says(city: httpx.AsyncClient) -> None:
    first = (await _put(city, "core", square(0.1), "?datum=gcj02")).json()
    again = (await _put(city, "core", first)).json()
    assert again["geometry"] == first["geometry"]
    assert again["properties"]["datum_received"] == "wgs84"


async def test_rings_may_share_a_border(city: httpx.AsyncClient) -> None:
    west, north = round(LON - 0.1, 9), round(LAT + 0.1, 9)
    for level, reach in (("city", 0.3), ("urban", 0.2), ("core", 0.1)):
        answer = await _put(city, level, box(west, LAT - reach, LON + reach, north))
        assert answer.status_code == 201, answer.text
    (corner,) = await _placed(city, (west, north))
    assert (corner["zone"], corner["on_boundary"]) == ("core", ["core", "urban", "city"])


async def test_an_inner_ring_that_sticks_out_is_refused_with_the_place(
    ringed: httpx.AsyncClient,
) -> None:
    out = await _put(ringed, "core", box(LON - 0.02, LAT - 0.02, LON + 0.02, LAT + 0.06))
    (fault,) = out.json()["errors"]
    assert (out.status_code, fault["pointer"], fault["code"]) == (
        409,
        "/geometry",
        "rings-not-nested",
    )
    assert "The urban ring must cover the core ring: it misses 11" in fault["message"]
    assert "35.260000]; the tolerance is 5 m" in fault["message"]
    assert (await ringed.get(f"{RINGS}/core")).headers["etag"] == '"1"'


async def test_an_outer_ring_that_falls_short_is_refused(ringed: httpx.AsyncClient) -> None:
    short = await _put(ringed, "city", square(0.04))
    assert (short.status_code, short.json()["code"]) == (409, "rings-not-nested")
    assert "must cover the urban ring" in short.json()["detail"]


async def test_rings_are_held_against_each_other_in_any_order(city: httpx.AsyncClient) -> None:
    assert (await _put(city, "core", square(0.05))).status_code == 201
    assert (await _put(city, "city", square(0.2))).status_code == 201
    assert (await _put(city, "urban", square(0.3))).status_code == 409
    assert (await _put(city, "urban", square(0.04))).status_code == 409
    assert (await _put(city, "urban", square(0.1))).status_code == 201


@pytest.mark.parametrize(("excess_m", "status"), [(4, 201), (6, 409)])
async def test_a_ring_may_stick_out_by_its_tolerance(city: httpx.AsyncClient, excess_m: float, status: int) -> None:
    await _put(city, "city", square(0.1))
    north = LAT + 0.1 + excess_m / M_PER_DEG_LAT
    assert (await _put(city, "core", box(LON - 0.05, LAT, LON + 0.05, north))).status_code == status


async def _zones(client: httpx.AsyncClient) -> list[str | None]:
    """Return the zones of all cameras, none of which has got a new version."""
    items = (await client.get("/v1/cameras")).json()["items"]
    assert {item["version"] for item in items} == {1}
    return [item["zone"] for item in items]


async def test_a_replaced_ring_places_every_record_anew(ringed: httpx.AsyncClient) -> None:
    for code, lon in {"a": LON, "b": LON + 0.03, "c": LON + 0.1, "d": LON + 0.3}.items():
        await ringed.put(f"/v1/cameras/{code}", json=camera(code, geometry=point(lon)))
    assert await _zones(ringed) == ["core", "urban", "city", "outside"]
    await _put(ringed, "core", square(0.04))
    await _put(ringed, "city", square(0.4))
    assert await _zones(ringed) == ["core", "core", "city", "city"]
    await ringed.delete(f"{RINGS}/core")
    assert await _zones(ringed) == ["urban", "urban", "city", "city"]
    await ringed.delete(f"{RINGS}/urban")
    await ringed.delete(f"{RINGS}/city")
    assert await _zones(ringed) == [None] * 4
    history = (await ringed.get("/v1/cameras/a/history")).json()["items"]
    assert [entry["operation"] for entry in history] == ["create"]


async def test_an_earlier_boundary_stays_readable(city: httpx.AsyncClient) -> None:
    for half in (0.1, 0.2):
        await _put(city, "core", square(half))
    history = (await city.get(f"{RINGS}/core/history")).json()["items"]
    for entry, half in zip(reversed(history), (0.1, 0.2), strict=True):
        then = await city.get(f"{RINGS}/core", params={"as_of": entry["at"]})
        assert then.headers["content-type"] == "application/geo+json"
        feature = then.json()
        assert feature["geometry"]["coordinates"] == [square(half)["coordinates"]]
        assert (feature["id"], feature["properties"]["level"]) == (f"{CITY}/core", "core")
    assert (await city.get(f"{RINGS}/core?as_of=2000-01-01T00:00:00Z")).status_code == 404


async def test_a_ring_has_a_most_of_vertices(serve: Serve, key_for: KeyFor) -> None:
    async with serve(max_ring_vertices=9) as client:
        client.headers.update(await key_for("admin"))
        await client.put(f"/v1/jurisdictions/{CITY}", json=jurisdiction())
        two = {"type": "MultiPolygon", "coordinates": [square(0.1)["coordinates"]] * 2}
        large = await _put(client, "core", two)
        assert (large.status_code, large.json()["code"], large.json()["limit"]) == (
            413,
            "too-large",
            9,
        )
        assert (await _put(client, "core", square(0.1))).status_code == 201


async def test_a_ring_of_a_real_citys_size(city: httpx.AsyncClient) -> None:
    angles = np.linspace(0, 2 * np.pi, 230_000, endpoint=False)
    circle = np.column_stack([LON + 0.2 * np.cos(angles), LAT + 0.2 * np.sin(angles)]).round(9)
    ring = [*circle.tolist(), circle[0].tolist()]
    answer = await _put(city, "city", {"type": "Polygon", "coordinates": [ring]})
    assert (answer.status_code, answer.json()["properties"]["vertices"]) == (201, 230_001)


def _expected(lon: float, lat: float) -> str:
    """Return the zone in rings that are squares around one place."""
    off = max(abs(lon - LON), abs(lat - LAT))
    return next((level for level, half in HALF_DEG.items() if off <= half), "outside")


async def test_membership_answers_in_the_order_of_the_points(ringed: httpx.AsyncClient) -> None:
    random = np.random.default_rng(410800)
    places = (np.array([LON, LAT]) + random.uniform(-0.3, 0.3, (500, 2))).round(6).tolist()
    found = await _placed(ringed, *places)
    assert [place["zone"] for place in found] == [_expected(lon, lat) for lon, lat in places]


async def test_a_hundred_thousand_points_at_once(city: httpx.AsyncClient) -> None:
    await _put(city, "core", square(0.02))
    places = [(LON, LAT), (LON + 0.03, LAT)] * 50_000
    zones = [found["zone"] for found in await _placed(city, *places)]
    assert zones == ["core", "outside"] * 50_000


async def test_a_point_on_the_line_is_inside_and_on_the_boundary(ringed: httpx.AsyncClient) -> None:
    east = LON + HALF_DEG["core"]
    near = 4 / M_PER_DEG_LAT / np.cos(np.radians(LAT))
    lons = (east, east + near, east + 3 * near)
    on, just_out, far_out = await _placed(ringed, *((lon, LAT) for lon in lons))
    assert (on["zone"], on["rings"]) == ("core", ["core", "urban", "city"])
    assert (on["on_boundary"], on["distance_m"]["core"]) == (["core"], 0)
    assert (just_out["zone"], just_out["on_boundary"]) == ("urban", ["core"])
    assert just_out["distance_m"]["core"] == pytest.approx(4, abs=0.05)
    assert (far_out["zone"], far_out["on_boundary"]) == ("urban", [])


async def test_distances_are_signed_metres(ringed: httpx.AsyncClient) -> None:
    (found,) = await _placed(ringed, (LON, LAT + 0.04))
    expected = {"core": 0.02, "urban": -0.01, "city": -0.16}
    assert found["distance_m"] == {
        level: pytest.approx(degrees * M_PER_DEG_LAT, rel=2e-3) for level, degrees in expected.items()
    }


async def test_a_record_answers_with_its_membership(ringed: httpx.AsyncClient) -> None:
    stored = (await ringed.put("/v1/cameras/a", json=camera("a", geometry=point(LON + 0.01)))).json()
    (found,) = await _placed(ringed, (LON + 0.01, LAT))
    assert {name: stored[name] for name in found} == found


async def test_a_site_lies_where_a_point_inside_it_lies(ringed: httpx.AsyncClient) -> None:
    site = control_point(geometry=square(0.001, LON + 0.03))
    assert (await ringed.put("/v1/control-points/point-1", json=site)).json()["zone"] == "urban"


async def test_without_rings_nothing_is_assessed(city: httpx.AsyncClient) -> None:
    answer = (await city.post(MEMBERSHIP, json={"points": [[LON, LAT]]})).json()
    assert answer["levels"] == []
    assert answer["points"] == [dict.fromkeys(("zone", "rings", "on_boundary", "distance_m"))]
    assert answer["not_assessed"] == [{"what": "membership", "reason": "no ring is registered"}]
    assert (await city.put("/v1/cameras/a", json=camera("a"))).json()["zone"] is None


async def test_a_level_without_a_ring_is_not_assessed(city: httpx.AsyncClient) -> None:
    await _put(city, "city", square(0.2))
    answer = (await city.post(MEMBERSHIP, json={"points": [[LON, LAT]]})).json()
    assert (answer["levels"], answer["points"][0]["rings"]) == (["city"], ["city"])
    assert [gap["level"] for gap in answer["not_assessed"]] == ["core", "urban"]


async def test_no_points_are_no_places(ringed: httpx.AsyncClient) -> None:
    assert await _placed(ringed) == []


async def test_rings_are_listed_from_the_inside_out(ringed: httpx.AsyncClient) -> None:
    collection = (await ringed.get(RINGS)).json()
    levels = [feature["properties"]["level"] for feature in collection["features"]]
    assert levels == ["core", "urban", "city"]


async def test_without_an_extent_the_city_ring_makes_one(city: httpx.AsyncClient) -> None:
    await city.patch(f"/v1/jurisdictions/{CITY}", json={"extent": None}, headers=MERGE_PATCH)
    anywhere = camera("a", geometry=point(87.6, 43.8))
    assert (await city.put("/v1/cameras/a", json=anywhere)).status_code == 201
    await _put(city, "city", square(0.2))
    refused = await city.put("/v1/cameras/b", json={**anywhere, "code": "b"})
    assert refused.json()["code"] == "outside-extent"


async def test_another_metric_frame_measures_every_record_anew(ringed: httpx.AsyncClient) -> None:
    await ringed.put("/v1/cameras/a", json=camera("a"))
    was = (await ringed.get("/v1/cameras/a")).json()
    change = {"metric_epsg": 32649}  # UTM, 0.4 m to the kilometre shorter
    await ringed.patch(f"/v1/jurisdictions/{CITY}", json=change, headers=MERGE_PATCH)
    now = (await ringed.get("/v1/cameras/a")).json()
    (found,) = await _placed(ringed, (LON, LAT))
    assert now["distance_m"] == found["distance_m"] != was["distance_m"]
    assert now["version"] == 1


@pytest.mark.parametrize("epsg", [3857, 3031, 32633])
async def test_a_frame_whose_metres_are_none_is_refused(city: httpx.AsyncClient, epsg: int) -> None:
    """Web Mercator is 22 % too long here, the others are made for elsewhere."""
    answer = await city.put(f"/v1/jurisdictions/{CITY}", json=jurisdiction(metric_epsg=epsg))
    assert answer.json()["errors"][0]["code"] == "crs-distorts"


async def test_rings_of_a_jurisdiction_lie_in_it(city: httpx.AsyncClient) -> None:
    far = await _put(city, "core", square(0.1, 120))
    assert far.json()["code"] == "outside-extent"
    swapped = await _put(city, "core", square(0.1, LAT, 80))
    assert swapped.json()["code"] in ("outside-extent", "swapped-coordinates")
