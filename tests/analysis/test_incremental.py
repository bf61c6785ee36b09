"""A snapshot and an analysis that are brought up to date equal those loaded and computed from the start."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from app.analysis.coverage.report import CoverageQuery, GapQuery, build_gaps, build_points, build_summary
from app.analysis.crossings.report import CrossingQuery, build_crossings
from app.analysis.results import Analysis, compute_analysis
from app.analysis.snapshot import load_snapshot
from app.db.engine import Database, WriteContext
from tests.builders import CITY, LAT, LON, Json, camera, checkpoint, control_point, point, road, square

CITY_URL = f"/v1/jurisdictions/{CITY}"
NEVER = "2999-01-01T00:00:00Z"


def line(*lonlat: tuple[float, float]) -> Json:
    return {"type": "LineString", "coordinates": [list(coordinates) for coordinates in lonlat]}


def to_plain(result: dict[str, Any]) -> Any:
    result.pop("computed_at")
    return orjson.loads(orjson.dumps(result, option=orjson.OPT_SERIALIZE_NUMPY))


def list_results(analysis: Analysis) -> dict[str, Any]:
    """Return all results of an analysis, except when they were computed."""
    return {
        "summary": to_plain(build_summary(analysis)),
        "points": to_plain(build_points(analysis, CoverageQuery())),
        "gaps": to_plain(build_gaps(analysis, GapQuery())),
        "crossings": to_plain(build_crossings(analysis, CrossingQuery())),
    }


class RandomCity:
    """A small city that changes at random."""

    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self.client, self.chance = client, random.Random(seed)
        self.changes: list[Callable[[], Awaitable[None]]] = [
            *[self.report_states] * 3,
            self.put_camera,
            self.put_checkpoint,
            self.put_point,
            self.remove_camera,
            self.put_road,
            self.change_waiver,
            self.change_rules,
            self.put_ring,
            self.patch_camera,
        ]

    async def _put(self, url: str, body: Json) -> None:
        response = await self.client.put(url, json=body)
        assert response.status_code in (200, 201), response.text

    def _draw_point(self) -> Json:
        lon = LON + self.chance.choice([-0.05, -0.02, 0.0, 0.02, 0.05]) + self.chance.uniform(-3e-4, 3e-4)
        return point(lon, LAT + self.chance.uniform(-2e-4, 2e-4))

    def _draw_code(self, prefix: str, count: int = 5) -> str:
        return f"{prefix}-{self.chance.randrange(count)}"

    async def build(self) -> None:
        for number, end in enumerate([LON - 0.1, LON + 0.1]):
            await self._put(f"/v1/roads/r-{number}", road(f"r-{number}", geometry=line((LON, LAT), (end, LAT))))
        for _ in range(8):
            await self.put_point()
            await self.put_checkpoint()
            await self.put_camera()
        await self.report_states()

    async def put_point(self) -> None:
        code = self._draw_code("p")
        category = self.chance.choice(["core_road", "urban_road", "core_junction"])
        body = control_point(code, category=category, geometry=self._draw_point())
        await self._put(f"/v1/control-points/{code}", body)

    async def put_checkpoint(self) -> None:
        code = self._draw_code("k")
        lanes = [{"lane": 1, "direction": self.chance.choice(["inbound", "outbound", "both"])}]
        body = checkpoint(code, geometry=self._draw_point(), lanes=lanes, state="online")
        await self._put(f"/v1/checkpoints/{code}", body)

    async def put_camera(self) -> None:
        code = self._draw_code("c", 8)
        body = camera(
            code,
            functions=[self.chance.choice(["face", "vehicle"])],
            geometry=self._draw_point(),
            direction=self.chance.choice(["inbound", "outbound", "both"]),
            state="online",
            lifecycle=self.chance.choice(["in_use", "in_use", "repair"]),
        )
        await self._put(f"/v1/cameras/{code}", body)

    async def patch_camera(self) -> None:
        url, body = f"/v1/cameras/{self._draw_code('c', 8)}", {"lifecycle": "in_use", "range_m": 60.0}
        response = await self.client.patch(url, json=body)
        assert response.status_code in (200, 404), response.text

    async def remove_camera(self) -> None:
        await self.client.delete(f"/v1/cameras/{self._draw_code('c', 8)}")

    async def report_states(self) -> None:
        reports = [
            {"kind": kind, "code": f"{prefix}-{number}", "state": self.chance.choice(["online", "fault"])}
            for kind, prefix, count in (("camera", "c", 8), ("checkpoint", "k", 5))
            for number in range(count)
            if self.chance.random() < 0.4
        ]
        assert (await self.client.post("/v1/states", json=reports)).status_code == 200

    async def put_road(self) -> None:
        code, length = self._draw_code("side", 3), self.chance.choice([0.01, 0.03, 0.07])
        body = road(code, geometry=line((LON, LAT), (LON + 1e-3 * self.chance.random(), LAT + length)))
        await self._put(f"/v1/roads/{code}", body)

    async def change_waiver(self) -> None:
        crossings = (await self.client.get(f"{CITY_URL}/coverage/crossings")).json()["items"]
        if crossings:
            url = f"{CITY_URL}/coverage/crossings/{self.chance.choice(crossings)['id']}/waiver"
            if self.chance.random() < 0.6:
                await self._put(url, {"reason": "closed", "expires_at": NEVER})
            else:
                await self.client.delete(url)

    async def change_rules(self) -> None:
        parameters = {"search_m": float(self.chance.choice([100, 200, 400]))}
        body = {"coverage_parameters": parameters, "stale_after_s": self.chance.choice([600, 3600])}
        assert (await self.client.patch(CITY_URL, json=body)).status_code == 200

    async def put_ring(self) -> None:
        body = square(0.02 + self.chance.choice([0.0, 1e-4, 2e-4]))
        await self._put(f"{CITY_URL}/rings/core", body)

    async def change(self) -> None:
        await self.chance.choice(self.changes)()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_an_updated_analysis_equals_a_computed_one(
    ringed: httpx.AsyncClient, database: Database, seed: int
) -> None:
    city = RandomCity(ringed, seed)
    await city.build()
    updated: Analysis | None = None
    for _ in range(10):
        for _ in range(city.chance.randint(1, 3)):
            await city.change()
        earlier = None if updated is None else updated.snapshot
        updated = compute_analysis(await load_snapshot(database, CITY, earlier), updated)
        computed = compute_analysis(await load_snapshot(database, CITY))
        assert list_results(updated) == list_results(computed)


async def test_only_changed_tables_are_new_objects(ringed: httpx.AsyncClient, database: Database) -> None:
    city = RandomCity(ringed, 5)
    await city.build()
    first = await load_snapshot(database, CITY)
    report = {"kind": "checkpoint", "code": first.checkpoints["code"][0], "state": "offline"}
    assert (await ringed.post("/v1/states", json=[report])).json()["applied"] == 1
    second = await load_snapshot(database, CITY, first)
    unchanged = ("points", "cameras", "checkpoints", "roads", "rings", "camera_states")
    assert all(getattr(second, name) is getattr(first, name) for name in unchanged)
    assert second.checkpoint_states is not first.checkpoint_states

    before = compute_analysis(first)
    after = compute_analysis(second, before)
    assert after.points is before.points
    list_results(before)
    assert list_results(compute_analysis(second, before)) == list_results(after)


async def test_a_transaction_that_is_still_open_is_neither_missed_nor_read_twice(
    city: httpx.AsyncClient, database: Database
) -> None:
    await city.put("/v1/cameras/c-1", json=camera("c-1"))
    async with database.open_transaction(WriteContext("tests")) as connection:
        await connection.execute(text("UPDATE camera SET range_m = 33 WHERE code = 'c-1'"))
        # Another transaction has a later sequence number and commits first.
        await city.put("/v1/cameras/c-2", json=camera("c-2"))
        first = await load_snapshot(database, CITY)
    second = await load_snapshot(database, CITY, first)
    third = await load_snapshot(database, CITY, second)
    ranges = [list(snapshot.cameras["range_m"]) for snapshot in (first, second, third)]
    assert ranges == [[None, None], [33.0, None], [33.0, None]]
    assert third.cameras is second.cameras


async def test_a_report_without_a_change_keeps_a_device_from_becoming_stale(
    city: httpx.AsyncClient, database: Database
) -> None:
    """A report that changes no state is not in the history; its time must be read all the same."""
    # Long enough that a slow machine does not change the order of events.
    await city.patch(CITY_URL, json={"stale_after_s": 3})
    for code in ("quiet", "reporting"):
        await city.put(f"/v1/cameras/{code}", json=camera(code, state="online"))
    first = compute_analysis(await load_snapshot(database, CITY))
    assert first.devices.stale.tolist() == [False, False]
    await asyncio.sleep(1.5)
    report = {"kind": "camera", "code": "reporting", "state": "online"}
    assert (await city.post("/v1/states", json=[report])).json()["applied"] == 1
    await asyncio.sleep(1.6)
    second = compute_analysis(await load_snapshot(database, CITY, first.snapshot), first)
    assert second.snapshot.revision == first.snapshot.revision
    assert second.devices.stale.tolist() == [True, False]
