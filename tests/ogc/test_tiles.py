"""Vector tiles over HTTP: what is told about them, what is on them, for whom, and for how long."""

from xml.etree import ElementTree

import httpx
import pytest

from app.geo.projection.tile_matrix import MATRIX_SETS, WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD
from app.ogc import qgis
from app.ogc.collections import COLLECTIONS
from tests import builders
from tests.builders import KeyFor

MVT = "application/vnd.mapbox-vector-tile"


def tile_url(collection: str, matrix: int = 12, matrices: str = "WebMercatorQuad") -> str:
    row, _, column, _ = MATRIX_SETS[matrices].tile_limits((113.2, 35.2, 113.2, 35.2), matrix)
    return f"/ogc/collections/{collection}/tiles/{matrices}/{matrix}/{row}/{column}.mvt"


async def test_every_collection_has_tiles_that_lead_from_its_page_to_a_tile(
    gis: httpx.AsyncClient,
) -> None:
    for collection in COLLECTIONS:
        page = (await gis.get(f"/ogc/collections/{collection.id}")).json()
        listed = next(link["href"] for link in page["links"] if link["rel"].endswith("/tilesets-vector"))
        sets = (await gis.get(listed)).json()["tilesets"]
        assert [results["tileMatrixSetURI"] for results in sets] == [
            WEB_MERCATOR_QUAD.uri, WORLD_CRS84_QUAD.uri,
        ]  # fmt: skip
        for results in sets:
            links = {link["rel"]: link["href"] for link in results["links"]}
            assert (await gis.get(links["self"])).json() == results
            json = (await gis.get(links["describedby"])).json()
            assert json["vector_layers"][0]["id"] == collection.id
            place = {"tileMatrix": 12, "tileRow": 1, "tileCol": 1}
            response = await gis.get(links["item"].format(**place))
            assert response.status_code == 204, response.text
            scheme = next(href for rel, href in links.items() if rel.endswith("tiling-scheme"))
            assert (await gis.get(scheme)).json()["uri"] == results["tileMatrixSetURI"]


@pytest.mark.parametrize("matrices", MATRIX_SETS)
async def test_a_tile_changes_with_a_write_and_not_before(gis: httpx.AsyncClient, matrices: str) -> None:
    url = tile_url("roads", matrices=matrices)
    first = await gis.get(url)
    assert (first.status_code, first.headers["content-type"]) == (200, MVT)
    again = await gis.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await gis.get(url)).content == first.content
    await gis.patch("/v1/roads/road-1", json={"name_en": "Renamed"}, headers=builders.MERGE_PATCH)
    changed = await gis.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert b"Renamed" in changed.content


async def test_computed_features_are_on_tiles_too(gis: httpx.AsyncClient) -> None:
    response = await gis.get(tile_url("gaps"))
    assert response.status_code == 200
    assert b"point-1" in response.content
    assert b"uncovered" in response.content


async def test_a_tile_never_shows_another_jurisdiction(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    await gis.put(f"/v1/jurisdictions/{builders.OTHER}", json=builders.jurisdiction(builders.OTHER))
    stranger = await key_for("analyst", [builders.OTHER])
    for collection in ("cameras", "gaps", "coverage", "rings"):
        assert (await gis.get(tile_url(collection))).status_code == 200
        hidden = await gis.get(tile_url(collection), headers=stranger)
        assert hidden.status_code == 204


async def test_what_nobody_watches_is_not_on_a_readers_tiles(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    reader = await key_for("reader")
    assert (await gis.get(tile_url("cameras"), headers=reader)).status_code == 200
    assert (await gis.get(tile_url("gaps"), headers=reader)).status_code == 403
    assert (await gis.get(tile_url("gaps"), headers={"Authorization": ""})).status_code == 401


async def test_network_addresses_are_on_no_tile(gis: httpx.AsyncClient) -> None:
    assert b"198.51.100.7" not in (await gis.get(tile_url("cameras"))).content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("collections/nothing/tiles/WebMercatorQuad/0/0/0", 404),
        ("collections/cameras/tiles/Elsewhere/0/0/0", 404),
        ("collections/cameras/tiles/WebMercatorQuad/0/0/1", 404),
        ("collections/cameras/tiles/WebMercatorQuad/25/0/0", 404),
        ("collections/cameras/tiles/WebMercatorQuad/-1/0/0", 404),
        ("collections/cameras/tiles/WebMercatorQuad/a/0/0", 404),
        ("collections/cameras/tiles/WebMercatorQuad/1/9999999999999999999999/0", 404),
        ("collections/cameras/tiles/WebMercatorQuad/0/0/0?colour=red", 400),
        ("tileMatrixSets/Elsewhere", 404),
        ("collections/buildings/style.qml", 404),
    ],
)
async def test_what_is_no_tile_is_told_so(gis: httpx.AsyncClient, path: str, status: int) -> None:
    response = await gis.get(f"/ogc/{path}")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_project_has_the_layers_its_reader_may_see(gis: httpx.AsyncClient, key_for: KeyFor) -> None:
    async def layers(headers: dict[str, str]) -> set[str]:
        response = await gis.get("/ogc/qgis.qgs", headers=headers)
        assert response.status_code == 200
        root = ElementTree.fromstring(response.text)
        sources = [results.text or "" for results in root.iterfind(".//maplayer/datasource")]
        assert all("url='http://registry/ogc'" in source for source in sources)
        ids = [results.text for results in root.iterfind(".//maplayer/id")]
        assert ids == [results.get("id") for results in root.iterfind(".//layer-tree-layer")]
        return {source.partition("typename='")[2].partition("'")[0] for source in sources}

    seen = await layers({})
    assert {"coverage", "gaps", "rings", "cameras"} <= seen
    assert await layers(await key_for("reader")) == {"checkpoints", "cameras", "rings", "roads"}


async def test_labels_show_from_close_by_and_not_from_afar(gis: httpx.AsyncClient) -> None:
    """QGIS has the closest view in ``scaleMin``: turned round, no label is ever drawn."""
    response = await gis.get("/ogc/collections/gaps/style.qml")
    results = ElementTree.fromstring(response.text).find(".//labeling/settings/rendering")
    assert results is not None
    assert results.get("scaleVisibility") == "1"
    assert int(results.get("scaleMin", "")) < 5_000 < 20_000 < int(results.get("scaleMax", ""))


def test_every_style_is_of_a_collection_and_uses_its_properties() -> None:
    known = {collection.id: collection for collection in COLLECTIONS}
    for style in qgis.STYLES:
        if style.collection in known and style.attribute:
            words = known[style.collection].by_name[style.attribute].words
            assert set(style.symbols) <= set(words)
