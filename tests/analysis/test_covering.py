"""Whatever changes, in whatever order: the answer from the state before is the answer from nothing."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest

from app.analysis.coverage import area, fields_of_view
from app.analysis.results import Analysis, compute_analysis
from app.analysis.snapshot import load_snapshot
from app.db.engine import Database
from app.geo.projection.local_projection import choose_projection
from tests import builders
from tests.builders import CITY, Json, building, camera

FRAME = choose_projection(builders.LON, builders.LAT)
WANTED = [
    area.AreaQuery(k=3, shares=True),
    area.AreaQuery(function="face", working=False, k=2, shares=True),
]
Step = Callable[[httpx.AsyncClient, random.Random], Awaitable[httpx.Response]]


def place(chance: random.Random) -> Json:
    """Return a place within 60 m of the middle of the city."""
    middle = FRAME.to_metres([(builders.LON, builders.LAT)])[0]
    spot = middle + np.array([chance.uniform(-60, 60), chance.uniform(-60, 60)])
    lon, lat = FRAME.to_lonlat([spot])[0]
    return builders.point(float(lon), float(lat))


def some_camera(chance: random.Random) -> Json:
    """Return a camera that states this or that."""
    lon, lat = (spot := place(chance))["coordinates"]
    known: dict[str, Any] = {"geometry": spot, "mount_height_m": 6.0}
    if chance.random() < 0.5:
        known["azimuth_deg"] = chance.choice([0.0, 90.0, 200.0])
    known |= {chance.choice(["range_m", "reach_m", "near_m"]): chance.choice([5.0, 40.0])}
    if chance.random() < 0.5:
        known |= {"horizontal_pixels": 1920, "opening_deg": 30.0}
    if chance.random() < 0.2:
        known["view_polygon"] = builders.square(0.0002, lon, lat)
    functions = chance.choice([["face"], ["overview"], ["face", "vehicle"]])
    state = chance.choice(["online", "online", "offline"])
    return camera(f"c{chance.randrange(8)}", functions=functions, state=state, **known)


async def _put_camera(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    draft = some_camera(chance)
    return await client.put(f"/v1/cameras/{draft['code']}", json=draft)


async def _remove_camera(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    return await client.delete(f"/v1/cameras/c{chance.randrange(8)}")


async def _put_building(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    lon, lat = place(chance)["coordinates"]
    shape = builders.square(chance.choice([0.00005, 0.0001]), lon, lat)
    height = chance.choice([None, 3.0, 20.0])
    code = f"b{chance.randrange(5)}"
    draft = building(code, geometry=shape, height_m=height)
    return await client.put(f"/v1/buildings/{code}", json=draft)


async def _remove_building(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    return await client.delete(f"/v1/buildings/b{chance.randrange(5)}")


async def _report(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    said = {"kind": "camera", "code": f"c{chance.randrange(8)}", "state": "online"}
    return await client.post("/v1/states", json=[said | {"state": chance.choice(["online", "fault"])}])


async def _move_ring(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    half = chance.choice([0.0004, 0.0005])
    return await client.put(f"/v1/jurisdictions/{CITY}/rings/core", json=builders.square(half))


STEPS: list[Step] = [
    _put_camera, _put_camera, _put_camera, _remove_camera, _put_building, _put_building,
    _remove_building, _report, _report, _move_ring,
]  # fmt: skip


def _told(found: Analysis) -> list[Any]:
    """Return all that is told about area and views, without when and names of shapes."""
    told: list[Any] = []
    for wanted in WANTED:
        answer = area.build_area(found, wanted)
        told.append({name: answer[name] for name in ("zones", "total", "cameras", "shares")})
    for function in (None, "face"):
        seen = fields_of_view.compute_fields_of_view(found, function)
        if seen is not None:
            names = [(row, seen.buildings.codes[b]) for row, b in zip(*seen.views.cut_by, strict=True)]
            told.append([shape.wkt for shape in seen.views.shape])
            told.append((sorted(names), seen.views.basis.tolist(), seen.views.standing.tolist()))
    return told


@pytest.mark.parametrize("seed", range(3))
async def test_changes_one_at_a_time_give_what_computing_everything_gives(
    ringed: httpx.AsyncClient, database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    await _move_ring(ringed, chance)
    before: Analysis | None = None
    kept = 0
    for _ in range(25):
        for _ in range(chance.choice([1, 1, 2])):
            answer = await chance.choice(STEPS)(ringed, chance)
            assert answer.status_code in (200, 201, 204, 404), answer.text
        earlier = None if before is None else before.snapshot
        now = compute_analysis(await load_snapshot(database, CITY, earlier), before)
        anew = compute_analysis(await load_snapshot(database, CITY))
        assert _told(now) == _told(anew)
        assert now.assessment.status.tolist() == anew.assessment.status.tolist()
        kept += _same_shapes(before, now)
        before = now
    assert kept > 0  # it was not computed anew each time


def _same_shapes(before: Analysis | None, now: Analysis) -> int:
    if before is None:
        return 0
    old, new = (fields_of_view.compute_fields_of_view(found, None) for found in (before, now))
    if old is None or new is None:
        return 0
    return len({id(shape) for shape in old.views.shape} & {id(shape) for shape in new.views.shape})
