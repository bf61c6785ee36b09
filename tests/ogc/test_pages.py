"""Pages for people: a small map of what is listed, safe whatever a name holds."""

import html
import re
from xml.etree import ElementTree

import httpx
import pytest
from markupsafe import Markup

from app.routers.ogc.pages import MAP_WIDTH, MIN_MAP_HEIGHT, render_preview
from tests import builders

HTML = {"Accept": "text/html"}


def feature(geometry: object, code: str = "one", **properties: object) -> dict[str, object]:
    return {"type": "Feature", "id": code, "geometry": geometry, "properties": properties}


def shapes(drawn: Markup) -> list[ElementTree.Element]:
    return [results for results in ElementTree.fromstring(drawn).iter() if results.tag in ("circle", "path")]


@pytest.mark.parametrize(
    "geometry",
    [
        builders.point(),
        {"type": "MultiPoint", "coordinates": [[113.2, 35.2], [113.3, 35.2]]},
        {"type": "LineString", "coordinates": [[113.2, 35.2], [113.3, 35.3]]},
        {"type": "MultiLineString", "coordinates": [[[113.2, 35.2], [113.3, 35.3]]]},
        builders.square(0.1),
        {"type": "MultiPolygon", "coordinates": [builders.square(0.1)["coordinates"]]},
    ],
)
def test_every_shape_is_drawn_on_the_sheet(geometry: dict[str, object]) -> None:
    drawn = render_preview([feature(geometry)], "/home")
    height = float(re.search(rf'viewBox="0 0 {MAP_WIDTH} (\d+)"', drawn)[1])  # type: ignore[index]  # else it fails
    marks = shapes(drawn)[:-1]  # the last is the scale bar
    assert marks
    text = " ".join(f"{mark.get('d', '')} {mark.get('cx')},{mark.get('cy')}" for mark in marks)
    places = re.findall(r"(-?[\d.]+),(-?[\d.]+)", text)
    assert places
    assert all(0 <= float(x) <= MAP_WIDTH and 0 <= float(y) <= height for x, y in places)


def test_north_is_up_and_east_is_right() -> None:
    there = [feature(builders.point(113.2, 35.2), "a"), feature(builders.point(113.3, 35.3), "b")]
    low, high = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in shapes(render_preview(there, "/h"))[:2]]
    assert low[0] < high[0]
    assert low[1] > high[1]


@pytest.mark.parametrize(("lon", "lat"), [(123.2, 35.2), (113.2, 45.2), (113.2, 35.2)])
def test_what_lies_far_apart_is_still_a_map(lon: float, lat: float) -> None:
    """Two cities in a row would make a strip: the sheet keeps a height, and they lie in its middle."""
    there = [feature(builders.point(), "a"), feature(builders.point(lon, lat), "b")]
    drawn = render_preview(there, "/h")
    height = int(re.search(rf'viewBox="0 0 {MAP_WIDTH} (\d+)"', drawn)[1])  # type: ignore[index]  # else it fails
    assert height >= MIN_MAP_HEIGHT
    x, y = ([float(mark.get(side, 0)) for mark in shapes(drawn)[:2]] for side in ("cx", "cy"))
    assert sum(x) / 2 == pytest.approx(MAP_WIDTH / 2, abs=1)
    assert sum(y) / 2 == pytest.approx(height / 2, abs=1)


def test_what_has_no_place_is_left_out() -> None:
    assert render_preview([feature(None)], "/home") == ""
    assert render_preview([], "/home") == ""


def test_a_name_cannot_write_markup() -> None:
    drawn = render_preview([feature(builders.point(), 'x"><script>', name_zh="<b>&")], "/home")
    assert "<script>" not in drawn
    assert "<b>" not in drawn
    assert ElementTree.fromstring(drawn) is not None


async def test_a_list_shows_its_features_on_a_map_that_leads_to_them(
    gis: httpx.AsyncClient,
) -> None:
    page = (await gis.get("/ogc/collections/cameras/items?limit=5", headers=HTML)).text
    assert page.count("<circle") == 5
    assert "/ogc/collections/cameras/items/cam-03?f=html" in page
    item = await gis.get("/ogc/collections/cameras/items/cam-03", headers=HTML)
    assert item.text.count("<circle") == 1
    assert "Ünïcode" in item.text


async def test_other_coordinates_than_degrees_are_not_drawn(gis: httpx.AsyncClient) -> None:
    mercator = "http://www.opengis.net/def/crs/EPSG/0/3857"
    response = await gis.get(f"/ogc/collections/cameras/items?crs={mercator}", headers=HTML)
    assert response.status_code == 200
    assert "<svg" not in response.text


async def test_a_reader_of_pages_meets_pages_only(gis: httpx.AsyncClient) -> None:
    """Every address of the start page and what it leads to can be read; files and tiles are said so."""
    waiting, seen = {"/ogc"}, set()
    files = re.compile(r"\.qgs|\.json$|f=json|/items/|cursor=")
    while waiting:
        address = waiting.pop()
        seen.add(address)
        response = await gis.get(address, headers=HTML)
        assert response.status_code == 200, address
        assert response.headers["content-type"].startswith("text/html"), address
        results = re.findall(r'href="([^"]+)"', response.text)
        there = {html.unescape(href).removeprefix(str(gis.base_url).rstrip("/")) for href in results}
        waiting |= {href for href in there if not files.search(href)} - seen
    assert len(seen) > 100
    for part in ("sortables", "queryables", "schema", "tiles", "tiles/WorldCRS84Quad"):
        assert any(results.partition("?")[0].endswith(f"/roads/{part}") for results in seen), part
    assert any("tileMatrixSets/WebMercatorQuad" in results for results in seen)


async def test_what_filters_may_name_can_be_read(gis: httpx.AsyncClient) -> None:
    page = (await gis.get("/ogc/collections/cameras/queryables?f=html")).text
    for document in ("<code>range_m</code>", "in_use, ", "date-time", "control-points</a>"):
        assert document in page, document
    members = (await gis.get("/ogc/collections/cameras/schema/feature", headers=HTML)).text
    assert "<code>range_m</code>" in members
