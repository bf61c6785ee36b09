"""Fields of view and area coverage over HTTP: cases whose numbers can be computed by hand."""

import math
from typing import Any

import httpx
import pytest

from app.geo.projection.local_projection import choose_projection
from app.geo.visibility.field_of_view import range_for_density
from tests.builders import (
    CITY,
    LAT,
    LON,
    MERGE_PATCH,
    OTHER,
    Json,
    KeyFor,
    building,
    camera,
    control_point,
    jurisdiction,
    point,
    square,
)

COVERAGE = f"/v1/jurisdictions/{CITY}/coverage"
AREA = f"{COVERAGE}/area"
VIEWS = f"{COVERAGE}/fields-of-view"
EAST: Json = {"azimuth_deg": 90.0, "opening_deg": 60.0, "range_m": 50.0, "state": "online"}
ROUND: Json = {"range_m": 40.0, "state": "online"}
SECTOR_M2 = 50**2 * math.pi / 6
DISC_M2 = 40**2 * math.pi
FRAME = choose_projection(LON, LAT)


def to_lonlat(east_m: float, north_m: float) -> tuple[float, float]:
    """Return the location at a distance in metres from the centre of the city."""
    east, north = FRAME.to_metres([(LON, LAT)])[0]
    lon, lat = FRAME.to_lonlat([(east + east_m, north + north_m)])[0]
    return float(lon), float(lat)


def build_block(west: float, south: float, east: float, north: float) -> Json:
    """Return a rectangle in metres from the centre of the city."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return {"type": "Polygon", "coordinates": [[list(to_lonlat(*corner)) for corner in corners]]}


async def put(client: httpx.AsyncClient, plural: str, *records: Json) -> None:
    for record in records:
        response = await client.put(f"/v1/{plural}/{record['code']}", json=record)
        assert response.status_code in (200, 201), response.text


async def get(client: httpx.AsyncClient, url: str) -> Any:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    return response.json()


async def get_view(client: httpx.AsyncClient, code: str, query: str = "") -> Json:
    properties: Json = (await get(client, f"/v1/cameras/{code}/field-of-view{query}"))["properties"]
    return properties


# -- one field of view ----------------------------------------------------------------------------


async def test_a_field_of_view_has_the_values_it_is_computed_from(city: httpx.AsyncClient) -> None:
    await put(city, "cameras", camera("c", **EAST))
    response = await city.get("/v1/cameras/c/field-of-view")
    assert response.headers["content-type"] == "application/geo+json"
    feature = response.json()
    assert (feature["type"], feature["id"], feature["geometry"]["type"]) == (
        "Feature",
        "c",
        "Polygon",
    )
    result = feature["properties"]
    assert result["area_m2"] == result["open_area_m2"] == pytest.approx(SECTOR_M2, rel=0.002)
    del result["area_m2"], result["open_area_m2"]
    assert result == {
        "code": "c", "function": None, "basis": "stated", "range_m": 50.0, "near_m": 0.0,
        "azimuth_deg": 90.0, "opening_deg": 60.0, "opening_assumed": False, "px_per_m": 250.0,
        "standing": "free", "cut_ratio": 0.0, "cut_by": [], "working": True,
    }  # fmt: skip
    lons = [lon for lon, _ in feature["geometry"]["coordinates"][0]]
    assert min(lons) == pytest.approx(LON, abs=1e-8)
    assert max(lons) == pytest.approx(to_lonlat(50, 0)[0], abs=1e-6)
    assert {"revision", "computed_at", "parameters", "not_assessed"} <= feature.keys()


async def test_the_basis_of_a_field_of_view(city: httpx.AsyncClient) -> None:
    lens = {"azimuth_deg": 0.0, "opening_deg": 60.0, "horizontal_pixels": 1920}
    planned = {"required_level": "observe", "level_scale": "iec2014"}
    await put(
        city,
        "cameras",
        camera("lens", functions=["face", "overview"], **lens),
        camera("planned", **lens, range_m=500.0, **planned),
        camera("nothing"),
        camera("ptz", azimuth_deg=10.0, opening_deg=30.0, range_m=20.0, reach_m=120.0, near_m=5.0),
        camera("drawn", **EAST, view_polygon=build_block(10, 10, 40, 20)),
    )
    result = {code: await get_view(city, code) for code in ("lens", "planned", "nothing", "ptz", "drawn")}
    face, observe = (float(range_for_density(1920, 60, density)) for density in (250, 62.5))
    assert {code: (view["basis"], view["range_m"]) for code, view in result.items()} == {
        "lens": ("optics", round(face, 2)),
        "planned": ("optics", round(observe, 2)),
        "nothing": ("assumed", 30.0),
        "ptz": ("stated", 120.0),
        "drawn": ("drawn", pytest.approx(math.hypot(40, 20), abs=0.01)),
    }
    assert result["ptz"]["azimuth_deg"] is None
    assert result["ptz"]["area_m2"] == pytest.approx(math.pi * (120**2 - 5**2), rel=0.002)
    assert result["drawn"]["area_m2"] == pytest.approx(300, rel=0.001)
    overview = await get_view(city, "lens", "?function=overview")
    assert overview["range_m"] == round(float(range_for_density(1920, 60, 25)), 2)


async def test_a_building_cuts_the_view_until_it_is_removed(city: httpx.AsyncClient) -> None:
    await put(city, "cameras", camera("c", **EAST, mount_height_m=6.0))
    await put(city, "buildings", building("b", geometry=build_block(20, -90, 30, 90)))
    cut = await get_view(city, "c")
    # A wall at 20 m leaves a triangle with a base of 2 * 20 tan 30.
    assert cut["area_m2"] == pytest.approx(20 * 20 * math.tan(math.pi / 6), rel=0.001)
    assert (cut["cut_by"], cut["basis"]) == (["b"], "stated")
    assert cut["cut_ratio"] == pytest.approx(1 - cut["area_m2"] / cut["open_area_m2"], abs=1e-4)

    await city.patch("/v1/buildings/b", json={"height_m": 3.0}, headers=MERGE_PATCH)
    low = await get_view(city, "c")  # hides from 20 m to 30 * 4.5 / 3 = 45 m
    assert cut["area_m2"] < low["area_m2"] < cut["open_area_m2"]
    await city.delete("/v1/buildings/b")
    free = await get_view(city, "c")
    assert (free["area_m2"], free["cut_by"]) == (free["open_area_m2"], [])


async def test_a_camera_on_a_wall_looks_away_from_its_building(city: httpx.AsyncClient) -> None:
    await put(city, "buildings", building("house", geometry=build_block(-20, -10, 0.5, 10)))
    await put(city, "cameras", camera("out", **EAST), camera("in", **{**EAST, "azimuth_deg": 270.0}))
    out, inwards = await get_view(city, "out"), await get_view(city, "in")
    assert (out["standing"], inwards["standing"]) == ("wall", "wall")
    assert out["cut_ratio"] < 0.01
    assert inwards["cut_ratio"] > 0.99


async def test_only_analysts_may_read_fields_of_view(city: httpx.AsyncClient, key_for: KeyFor) -> None:
    await put(city, "cameras", camera("c", **EAST))
    urls = ("/v1/cameras/c/field-of-view", VIEWS, AREA, f"{COVERAGE}/gaps?type=area")
    for role, jurisdictions, expected in (
        ("reader", None, 403), ("analyst", [OTHER], 404), ("analyst", [CITY], 200),
    ):  # fmt: skip
        headers = await key_for(role, jurisdictions)
        result = {url: (await city.get(url, headers=headers)).status_code for url in urls}
        assert result == dict.fromkeys(urls, expected)
    assert (await city.get("/v1/cameras/none/field-of-view")).status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "/v1/cameras/c/field-of-view?function=smell", "/v1/cameras/c/field-of-view?x=1",
        f"{AREA}?k=0", f"{AREA}?k=6", f"{AREA}?zone=outside", f"{AREA}?working=perhaps",
        f"{COVERAGE}/gaps?type=area&min_gap_m2=-1", f"{COVERAGE}/gaps?type=area&min_gap_m2=nan",
        f"{VIEWS}?bbox=1,2,3", f"{VIEWS}?cursor=!",
    ],
)  # fmt: skip
async def test_invalid_queries_are_rejected(city: httpx.AsyncClient, url: str) -> None:
    assert (await city.get(url)).status_code == 422


async def test_a_control_point_behind_a_building_is_out_of_view(city: httpx.AsyncClient) -> None:
    lon, lat = to_lonlat(40, 0)
    document = control_point("p", geometry=point(lon, lat))
    await put(city, "control-points", document)
    await put(city, "cameras", camera("c", **EAST))

    async def face() -> tuple[bool, list[str], str | None]:
        result = await get(city, f"{COVERAGE}/control-points/p")
        need = next(need for need in result["needs"] if need["function"] == "face")
        (candidate,) = need["candidates"]
        return need["met"], candidate["reasons"], candidate["hidden_by"]

    assert await face() == (True, [], None)
    await put(city, "buildings", building("b", geometry=build_block(20, -50, 22, 50)))
    assert await face() == (False, ["out_of_view"], "b")
    await city.patch("/v1/buildings/b", json={"levels": 1}, headers=MERGE_PATCH)
    await city.patch("/v1/cameras/c", json={"mount_height_m": 12.0}, headers=MERGE_PATCH)
    assert await face() == (True, [], None)  # over 4 m at 22 m one sees again from 29 m on
    drawn = {"view_polygon": build_block(0, 10, 50, 20)}
    await city.patch("/v1/cameras/c", json=drawn, headers=MERGE_PATCH)
    assert await face() == (False, ["out_of_view"], None)


# -- many -----------------------------------------------------------------------------------------


async def test_fields_of_view_are_paged_and_filtered(ringed: httpx.AsyncClient) -> None:
    distant = {"geometry": point(LON + 0.1)}
    await put(
        ringed,
        "cameras",
        *(camera(f"c{number}", **ROUND) for number in range(4)),
        camera("d-far", **{**ROUND, **distant}, functions=["vehicle"]),
        camera("e-off", range_m=10.0),
    )
    codes, url = [], f"{VIEWS}?limit=4"
    while url:
        page = await get(ringed, url)
        codes += [feature["id"] for feature in page["features"]]
        url = page["next"]
    assert codes == ["c0", "c1", "c2", "c3", "d-far", "e-off"]
    west, east = LON + 0.0995, LON + 0.11
    queries = {
        "function=vehicle": ["d-far"],
        "zone=city": ["d-far"],
        "working=false": ["e-off"],
        f"bbox={west},35,{east},36": ["d-far"],
        f"bbox={east},35,{east + 1},36": [],
        f"bbox={west},35,{west},35.3": [],
        f"bbox={LON + 0.1},{LAT},{LON + 0.1},{LAT}": ["d-far"],
        "bbox=-180,-90,180,90": ["c0", "c1", "c2", "c3", "d-far", "e-off"],
        f"bbox={east},-90,{west},90": ["c0", "c1", "c2", "c3", "e-off"],
    }
    for query, expected in queries.items():
        page = await get(ringed, f"{VIEWS}?{query}")
        assert [feature["id"] for feature in page["features"]] == expected, query


async def test_without_records_nothing_is_covered(city: httpx.AsyncClient) -> None:
    empty = await get(city, VIEWS)
    assert empty["features"] == []
    # Also a page says of what state it is, and what was not assessed.
    assert {"jurisdiction", "revision", "computed_at", "parameters"} <= empty.keys()
    assert "area" in {element["what"] for element in empty["not_assessed"]}
    response = await get(city, AREA)
    assert (response["zones"], response["total"]["covered_ratio"]) == ([], None)
    result = [(item["level"], item["reason"]) for item in response["not_assessed"] if item["what"] == "area"]
    assert result == [(level, "this ring is not registered") for level in ("city", "urban", "core")]
    assert (await get(city, f"{COVERAGE}/gaps?type=area"))["features"] == []


async def test_rings_without_cameras_are_one_gap_each(ringed: httpx.AsyncClient) -> None:
    response = await get(ringed, AREA)
    assert [zone["covered_m2"] for zone in response["zones"]] == [0, 0, 0]
    assert [zone["zone"] for zone in response["zones"]] == ["city", "urban", "core"]
    gaps = (await get(ringed, f"{COVERAGE}/gaps?type=area"))["features"]
    areas = {gap["properties"]["zone"]: gap["properties"]["area_m2"] for gap in gaps}
    assert areas == {zone["zone"]: pytest.approx(zone["area_m2"], abs=0.1) for zone in response["zones"]}


async def test_area_of_one_and_two_cameras_and_what_each_adds(
    ringed: httpx.AsyncClient,
) -> None:
    lon, lat = to_lonlat(40, 0)
    await put(
        ringed,
        "cameras",
        camera("a", **ROUND),
        camera("b", **{**ROUND, "geometry": point(lon, lat)}),
        camera("vehicle", **ROUND, functions=["vehicle"], lifecycle="repair"),
        camera("room", **ROUND, indoor=True),
        camera("off", range_m=1000.0),
    )
    response = await get(ringed, f"{AREA}?shares=true")
    core = next(zone for zone in response["zones"] if zone["zone"] == "core")
    # Two discs of radius r, r apart, share r^2 (2 pi / 3 - sqrt(3) / 2).
    lens = 40**2 * (2 * math.pi / 3 - math.sqrt(3) / 2)
    assert core["covered_m2"] == pytest.approx(2 * DISC_M2 - lens, rel=0.003)
    assert core["at_least"][1]["covered_m2"] == pytest.approx(lens, rel=0.01)
    assert core["covered_ratio"] == pytest.approx(core["covered_m2"] / core["area_m2"], abs=1e-6)
    only = {share["code"]: share["only_m2"] for share in response["shares"]}
    assert only == {code: pytest.approx(DISC_M2 - lens, rel=0.01) for code in ("a", "b")}
    assert response["cameras"] == {
        "counted": 2,
        "left_out": {"without_the_function": 0, "not_in_use": 1, "indoors": 1, "not_working": 1},
    }
    assert "area" not in {item["what"] for item in response["not_assessed"]}

    everyone = await get(ringed, f"{AREA}?working=false&zone=core&k=1")
    assert everyone["total"]["covered_m2"] == pytest.approx(math.pi * 1e6, rel=0.003)
    vehicles = await get(ringed, f"{AREA}?function=vehicle")
    assert (vehicles["total"]["covered_m2"], vehicles["cameras"]["counted"]) == (0, 0)


async def test_a_change_shows_in_the_next_response(ringed: httpx.AsyncClient) -> None:
    await put(ringed, "cameras", camera("a", **ROUND), camera("b", **ROUND))

    async def total() -> float:
        properties: float = (await get(ringed, AREA))["total"]["covered_m2"]
        return properties

    assert await total() == pytest.approx(DISC_M2, rel=0.003)
    states = [{"kind": "camera", "code": code, "state": "offline"} for code in "ab"]
    await ringed.post("/v1/states", json=states[:1])
    assert await total() == pytest.approx(DISC_M2, rel=0.003)
    await ringed.post("/v1/states", json=states[1:])
    assert await total() == 0
    await put(ringed, "cameras", camera("a", **{**ROUND, "range_m": 20.0}))
    assert await total() == pytest.approx(DISC_M2 / 4, rel=0.003)
    await put(ringed, "buildings", building(geometry=build_block(5, -50, 10, 50)))
    halved = await total()
    assert DISC_M2 / 8 < halved < DISC_M2 / 6
    await ringed.delete("/v1/buildings/building-1")
    assert await total() == pytest.approx(DISC_M2 / 4, rel=0.003)


async def test_area_gaps_have_a_minimum_size(ringed: httpx.AsyncClient) -> None:
    ring = {"range_m": 40.0, "near_m": 10.0, "state": "online"}
    await put(ringed, "cameras", camera("ring", **ring))
    url = f"{COVERAGE}/gaps?type=area&zone=core"
    gaps = (await get(ringed, url))["features"]
    pocket = math.pi * 10**2
    assert [gap["properties"]["area_m2"] for gap in gaps][1:] == [pytest.approx(pocket, rel=0.02)]
    assert len((await get(ringed, f"{url}&min_gap_m2=1000"))["features"]) == 1
    assert len((await get(ringed, f"{url}&k=2"))["features"]) == 1
    only_points = await get(ringed, f"{COVERAGE}/gaps")
    assert "area" not in {gap["properties"]["type"] for gap in only_points["features"]}
    reasons = {item["what"]: item["reason"] for item in only_points["not_assessed"]}
    assert "type=area" in reasons["area"]


async def test_zones_are_rings_without_the_rings_inside(city: httpx.AsyncClient) -> None:
    await city.put(f"/v1/jurisdictions/{CITY}/rings/core", json=square(0.01))
    await city.put(f"/v1/jurisdictions/{CITY}/rings/city", json=square(0.02))
    response = await get(city, AREA)
    outer, inner = (zone["area_m2"] for zone in response["zones"])
    assert outer == pytest.approx(3 * inner, rel=0.001)
    result = [item.get("level") for item in response["not_assessed"] if item["what"] == "area"]
    assert result == ["urban"]


async def test_cities_do_not_see_each_others_buildings(city: httpx.AsyncClient) -> None:
    await city.put(f"/v1/jurisdictions/{OTHER}", json=jurisdiction(OTHER))
    await put(city, "cameras", camera("c", **EAST))
    await put(city, "buildings", building(geometry=build_block(20, -90, 30, 90), jurisdiction=OTHER))
    assert (await get_view(city, "c"))["cut_by"] == []
