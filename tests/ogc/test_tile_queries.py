"""Tiles as PostGIS makes them: what is drawn, what is thinned, and for whom; decoded by GDAL."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pyogrio
import pytest
from shapely import Point, to_wkb
from sqlalchemy import text

from app.db.engine import Database
from app.geo.projection.tile_matrix import WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD, TileMatrixSet
from app.ogc.queries import tiles as tile_queries
from app.records.kinds import BY_NAME
from tests import builders

CAMERA, ROAD = BY_NAME["camera"], BY_NAME["road"]
HERE = (113.2, 35.2)


def tile_at(
    lon: float,
    lat: float,
    matrix: int,
    *,
    matrices: TileMatrixSet = WEB_MERCATOR_QUAD,
    scope: Sequence[str] | None = None,
) -> tile_queries.TileQuery:
    row, _, column, _ = matrices.tile_limits((lon, lat, lon, lat), matrix)
    return tile_queries.TileQuery(matrices, matrix, row, column, scope)


def decoded(body: bytes) -> list[dict[str, Any]]:
    """Return the properties of a tile's features, read by GDAL."""
    if not body:
        return []
    with tempfile.NamedTemporaryFile(suffix=".mvt") as file:
        Path(file.name).write_bytes(body)
        meta, _, shapes, columns = pyogrio.raw.read(file.name)
    rows = zip(*columns, strict=True) if len(shapes) else iter(())
    named = (dict(zip(meta["fields"], row, strict=True)) for row in rows)
    return [{name: document for name, document in row.items() if name != "mvt_id"} for row in named]


async def drawn(database: Database, kind: str, tile: tile_queries.TileQuery) -> list[dict[str, Any]]:
    return decoded(await tile_queries.fetch_kind_tile(database.fetch, BY_NAME[kind], tile))


@pytest.fixture
async def cameras(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """Two cameras in sight of each other and one far away."""
    places = {"near": HERE, "beside": (113.2001, 35.2001), "far": (113.25, 35.25)}
    for code, place in places.items():
        camera = builders.camera(code, geometry=builders.point(*place))
        assert (await ringed.put(f"/v1/cameras/{code}", json=camera)).status_code == 201
    return ringed


@pytest.mark.parametrize("matrices", [WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD])
async def test_a_tile_holds_what_lies_there(
    cameras: httpx.AsyncClient, database: Database, matrices: TileMatrixSet
) -> None:
    results = await drawn(database, "camera", tile_at(*HERE, 16, matrices=matrices))
    assert sorted(row["code"] for row in results) == ["beside", "near"]
    assert {row["zone"] for row in results} == {"core"}
    wide = await drawn(database, "camera", tile_at(*HERE, 3, matrices=matrices))
    assert len(wide) == 3
    assert await tile_queries.fetch_kind_tile(database.fetch, CAMERA, tile_at(-60, -30, 10)) == b""


async def test_the_tile_of_a_scope_holds_nothing_else(cameras: httpx.AsyncClient, database: Database) -> None:
    assert await drawn(database, "camera", tile_at(*HERE, 3, scope=["410700"])) == []
    assert len(await drawn(database, "camera", tile_at(*HERE, 3, scope=[builders.CITY]))) == 3


async def test_a_crowded_tile_is_thinned_evenly(
    cameras: httpx.AsyncClient, database: Database, superuser_url: str
) -> None:
    """A grid of cameras much denser than a tile: every part of it stays drawn, at most one a cell."""
    side = 80
    over = Database(superuser_url)
    async with over.engine.begin() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        await connection.execute(
            text(
                "INSERT INTO camera (code, jurisdiction, functions, lifecycle, document, geometry) "
                "SELECT 'g' || x || '-' || y, :city, '{face}', 'in_use', '{', "
                "ST_SetSRID(ST_MakePoint(113.1 + 0.2 * x / :side, 35.1 + 0.2 * y / :side), 4326) "
                "FROM generate_series(1, :side) x, generate_series(1, :side) y"
            ),
            {"city": builders.CITY, "side": side},
        )
    await over.close()
    tile = tile_at(*HERE, 8)
    crowded = await drawn(database, "camera", tile)
    assert all(row["thinned"] for row in crowded)
    west, south, east, north = tile.matrices.tile_bounds(8, tile.row, tile.column, margin=1 / 64)
    occupied = {
        (
            int((113.1 + 0.2 * x / side - west) / (east - west) * 48),
            int((35.1 + 0.2 * y / side - south) / (north - south) * 48),
        )
        for x in range(1, side + 1)
        for y in range(1, side + 1)
    }
    assert len(crowded) == pytest.approx(len(occupied), abs=8)  # and the three cameras' own cells
    near = await drawn(database, "camera", tile_at(*HERE, 14))
    assert near
    assert all("thinned" not in row for row in near)


async def test_minor_roads_come_with_the_zoom(ringed: httpx.AsyncClient, database: Database) -> None:
    for number, road_class in enumerate(("motorway", "urban_arterial", "service")):
        road = builders.road(f"r{number}", road_class=road_class)
        assert (await ringed.put(f"/v1/roads/r{number}", json=road)).status_code == 201
    shown = {
        matrix: {row["road_class"] for row in await drawn(database, "road", tile_at(*HERE, matrix))}
        for matrix in (8, 10, 13)
    }
    assert shown == {
        8: {"motorway"},
        10: {"motorway", "urban_arterial"},
        13: {"motorway", "urban_arterial", "service"},
    }


async def test_the_pulse_changes_with_every_write_in_scope(cameras: httpx.AsyncClient, database: Database) -> None:
    before = [await tile_queries.fetch_change_marker(database.fetch, scope) for scope in (None, [builders.CITY], ["1"])]
    await cameras.delete("/v1/cameras/far")
    after = [await tile_queries.fetch_change_marker(database.fetch, scope) for scope in (None, [builders.CITY], ["1"])]
    assert [a == b for a, b in itertools.zip_longest(before, after)] == [False, False, True]


async def test_computed_features_are_drawn_with_their_properties(database: Database) -> None:
    shapes = [to_wkb(Point(113.2, 35.2)), to_wkb(Point(0, 0))]
    document = ['{"status": "uncovered", "missing": 2}', "{}"]
    body = await tile_queries.build_feature_tile(database.fetch, "gaps", tile_at(*HERE, 12), shapes, document)
    assert decoded(body) == [{"status": "uncovered", "missing": 2}]
