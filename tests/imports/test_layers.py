"""Which layer of a GIS file is read for which kind."""

from pathlib import Path

import geopandas
import httpx
import shapely

from tests.builders import LAT, LON
from tests.imports.files import brought, send


async def test_the_layer_with_the_shapes_of_the_kind_is_read(city: httpx.AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    layers = {
        "roads": shapely.LineString([(LON, LAT), (LON + 0.01, LAT)]),
        "areas": shapely.Point(LON, LAT).buffer(0.01),
        "点位": shapely.Point(LON, LAT),
    }
    for name, shape in layers.items():
        table = {"code": ["A1"], "functions": ["face"]}
        geopandas.GeoDataFrame(table, geometry=[shape], crs=4326).to_file(
            path, layer=name, mode="a" if path.exists() else "w"
        )
    job = await brought(city, path.read_bytes(), name="a.gpkg")
    assert (job["counts"]["created"], job["file"]["layer"]) == (1, "点位")
    assert "layer-chosen" in [note["code"] for note in job["notes"]]
    refused = await send(city, path.read_bytes(), name="a.gpkg", layer="areas")
    assert (refused.status_code, refused.json()["code"]) == (422, "fields-missing")
    assert "layer 'areas' has geometries of type Polygon" in refused.json()["detail"]
