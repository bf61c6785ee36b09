"""Fields of view and area coverage: after any changes in any order, updating equals computing from the start."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest

from app.analysis.coverage.area import AreaQuery, build_area
from app.analysis.coverage.fields_of_view import compute_fields_of_view
from app.analysis.results import Analysis, compute_analysis
from app.analysis.snapshot import load_snapshot
from app.db.engine import Database
from app.geo.projection.local_projection import choose_projection
from tests import builders
from tests.builders import CITY, Json, building, camera

PROJECTION = choose_projection(builders.LON, builders.LAT)
QUERIES = [
    AreaQuery(k=3, shares=True),
    AreaQuery(function="face", working=False, k=2, shares=True),
]
Step = Callable[[httpx.AsyncClient, random.Random], Awaitable[httpx.Response]]


def draw_point(chance: random.Random) -> Json:
    """Return a location within 60 m of the centre of the city."""
    centre = PROJECTION.to_metres([(builders.LON, builders.LAT)])[0]
    xy = centre + np.array([chance.uniform(-60, 60), chance.uniform(-60, 60)])
    lon, lat = PROJECTION.to_lonlat([xy])[0]
    return builders.point(float(lon), float(lat))


def draw_camera(chance: random.Random) -> Json:
    """Return a camera with some of its optional fields."""
    geometry = draw_point(chance)
    fields: dict[str, Any] = {"geometry": geometry, "mount_height_m": 6.0}
    if chance.random() < 0.5:
        fields["azimuth_deg"] = chance.choice([0.0, 90.0, 200.0])
    fields |= {chance.choice(["range_m", "reach_m", "near_m"]): chance.choice([5.0, 40.0])}
    if chance.random() < 0.5:
        fields |= {"horizontal_pixels": 1920, "opening_deg": 30.0}
    if chance.random() < 0.2:
        fields["view_polygon"] = builders.square(0.0002, *geometry["coordinates"])
    functions = chance.choice([["face"], ["overview"], ["face", "vehicle"]])
    state = chance.choice(["online", "online", "offline"])
    return camera(f"c{chance.randrange(8)}", functions=functions, state=state, **fields)


async def put_camera(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    draft = draw_camera(chance)
    return await client.put(f"/v1/cameras/{draft['code']}", json=draft)


async def remove_camera(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    return await client.delete(f"/v1/cameras/c{chance.randrange(8)}")


async def put_building(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    lon, lat = draw_point(chance)["coordinates"]
    footprint = builders.square(chance.choice([0.00005, 0.0001]), lon, lat)
    code = f"b{chance.randrange(5)}"
    draft = building(code, geometry=footprint, height_m=chance.choice([None, 3.0, 20.0]))
    return await client.put(f"/v1/buildings/{code}", json=draft)


async def remove_building(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    return await client.delete(f"/v1/buildings/b{chance.randrange(5)}")


async def report_state(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    report = {"kind": "camera", "code": f"c{chance.randrange(8)}", "state": chance.choice(["online", "fault"])}
    return await client.post("/v1/states", json=[report])


async def move_ring(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    boundary = builders.square(chance.choice([0.0004, 0.0005]))
    return await client.put(f"/v1/jurisdictions/{CITY}/rings/core", json=boundary)


STEPS: list[Step] = [
    *[put_camera] * 3,
    remove_camera,
    *[put_building] * 2,
    remove_building,
    *[report_state] * 2,
    move_ring,
]


def list_results(analysis: Analysis) -> list[Any]:
    """Return all results about area and fields of view, except times and stamps."""
    results: list[Any] = []
    for query in QUERIES:
        area = build_area(analysis, query)
        results.append({name: area[name] for name in ("zones", "total", "cameras", "shares")})
    for function in (None, "face"):
        fields = compute_fields_of_view(analysis, function)
        if fields is not None:
            cut_by = [(row, fields.buildings.codes[index]) for row, index in zip(*fields.views.cut_by, strict=True)]
            results.append([shape.wkt for shape in fields.views.shape])
            results.append((sorted(cut_by), fields.views.basis.tolist(), fields.views.standing.tolist()))
    return results


@pytest.mark.parametrize("seed", range(3))
async def test_updating_after_each_change_equals_computing_everything(
    ringed: httpx.AsyncClient, database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    await move_ring(ringed, chance)
    before: Analysis | None = None
    reused = 0
    for _ in range(25):
        for _ in range(chance.choice([1, 1, 2])):
            response = await chance.choice(STEPS)(ringed, chance)
            assert response.status_code in (200, 201, 204, 404), response.text
        earlier = None if before is None else before.snapshot
        updated = compute_analysis(await load_snapshot(database, CITY, earlier), before)
        computed = compute_analysis(await load_snapshot(database, CITY))
        assert list_results(updated) == list_results(computed)
        assert updated.assessment.status.tolist() == computed.assessment.status.tolist()
        reused += count_reused_shapes(before, updated)
        before = updated
    assert reused > 0  # not everything was computed each time


def count_reused_shapes(before: Analysis | None, after: Analysis) -> int:
    if before is None:
        return 0
    old, new = (compute_fields_of_view(analysis, None) for analysis in (before, after))
    if old is None or new is None:
        return 0
    return len({id(shape) for shape in old.views.shape} & {id(shape) for shape in new.views.shape})
