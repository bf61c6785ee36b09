"""A state brought up to date equals one loaded and computed from nothing, whatever happened between."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from app.analysis.coverage import report as coverage_report
from app.analysis.crossings import report as crossing_report
from app.analysis.results import Analysis, compute_analysis
from app.analysis.snapshot import load_snapshot
from app.db.engine import Database, WriteContext
from tests.builders import CITY, LAT, LON, Json, camera, checkpoint, control_point, road, square

CITY_URL = f"/v1/jurisdictions/{CITY}"
FOREVER = "2999-01-01T00:00:00Z"


def line(*lonlat: tuple[float, float]) -> Json:
    return {"type": "LineString", "coordinates": [list(one) for one in lonlat]}


def _plain(answer: dict[str, Any]) -> Any:
    answer.pop("computed_at")
    return orjson.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


def documents(found: Analysis) -> dict[str, Any]:
    """Return every answer that follows from a state, but for when it was computed."""
    return {
        "summary": _plain(coverage_report.build_summary(found)),
        "points": _plain(coverage_report.build_points(found, coverage_report.CoverageQuery())),
        "gaps": _plain(coverage_report.build_gaps(found, coverage_report.GapQuery())),
        "crossings": _plain(crossing_report.build_crossings(found, crossing_report.CrossingQuery())),
    }


class Town:
    """A small city to do random things to."""

    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self.client, self.pick = client, random.Random(seed)
        self.deeds: list[Callable[[], Awaitable[None]]] = [
            self.report, self.report, self.report, self.put_camera, self.put_checkpoint,
            self.put_point, self.remove_device, self.put_road, self.waive, self.change_rules,
            self.put_ring, self.repair,
        ]  # fmt: skip

    async def _put(self, url: str, body: Json) -> None:
        answer = await self.client.put(url, json=body)
        assert answer.status_code in (200, 201), answer.text

    def _place(self) -> Json:
        lon = LON + self.pick.choice([-0.05, -0.02, 0.0, 0.02, 0.05]) + self.pick.uniform(-3e-4, 3e-4)
        return {"type": "Point", "coordinates": [lon, LAT + self.pick.uniform(-2e-4, 2e-4)]}

    def _some(self, word: str, many: int = 5) -> str:
        return f"{word}-{self.pick.randrange(many)}"

    async def build(self) -> None:
        for number, (start, stop) in enumerate([(LON, LON - 0.1), (LON, LON + 0.1)]):
            body = road(f"r-{number}", geometry=line((start, LAT), (stop, LAT)))
            await self._put(f"/v1/roads/r-{number}", body)
        for _ in range(8):
            await self.put_point()
            await self.put_checkpoint()
            await self.put_camera()
        await self.report()

    async def put_point(self) -> None:
        code = self._some("p")
        category = self.pick.choice(["core_road", "urban_road", "core_junction"])
        body = control_point(code, category=category, geometry=self._place())
        await self._put(f"/v1/control-points/{code}", body)

    async def put_checkpoint(self) -> None:
        code = self._some("k")
        lanes = [{"lane": 1, "direction": self.pick.choice(["inbound", "outbound", "both"])}]
        body = checkpoint(code, geometry=self._place(), lanes=lanes, state="online")
        await self._put(f"/v1/checkpoints/{code}", body)

    async def put_camera(self) -> None:
        code = self._some("c", 8)
        body = camera(
            code, functions=[self.pick.choice(["face", "vehicle"])], geometry=self._place(),
            direction=self.pick.choice(["inbound", "outbound", "both"]), state="online",
            lifecycle=self.pick.choice(["in_use", "in_use", "repair"]),
        )  # fmt: skip
        await self._put(f"/v1/cameras/{code}", body)

    async def repair(self) -> None:
        url, body = f"/v1/cameras/{self._some('c', 8)}", {"lifecycle": "in_use", "range_m": 60.0}
        answer = await self.client.patch(url, json=body)
        assert answer.status_code in (200, 404), answer.text

    async def remove_device(self) -> None:
        await self.client.delete(f"/v1/cameras/{self._some('c', 8)}")

    async def report(self) -> None:
        reports = [
            {
                "kind": kind,
                "code": f"{word}-{number}",
                "state": self.pick.choice(["online", "fault"]),
            }
            for kind, word, many in (("camera", "c", 8), ("checkpoint", "k", 5))
            for number in range(many)
            if self.pick.random() < 0.4
        ]
        assert (await self.client.post("/v1/states", json=reports)).status_code == 200

    async def put_road(self) -> None:
        code, up = self._some("side", 3), self.pick.choice([0.01, 0.03, 0.07])
        body = road(code, geometry=line((LON, LAT), (LON + 1e-3 * self.pick.random(), LAT + up)))
        await self._put(f"/v1/roads/{code}", body)

    async def waive(self) -> None:
        told = (await self.client.get(f"{CITY_URL}/coverage/crossings")).json()["items"]
        if told:
            url = f"{CITY_URL}/coverage/crossings/{self.pick.choice(told)['id']}/waiver"
            if self.pick.random() < 0.6:
                await self._put(url, {"reason": "closed", "expires_at": FOREVER})
            else:
                await self.client.delete(url)

    async def change_rules(self) -> None:
        lengths = {"search_m": float(self.pick.choice([100, 200, 400]))}
        body = {"coverage_parameters": lengths, "stale_after_s": self.pick.choice([600, 3600])}
        assert (await self.client.patch(CITY_URL, json=body)).status_code == 200

    async def put_ring(self) -> None:
        body = square(0.02 + self.pick.choice([0.0, 1e-4, 2e-4]))
        await self._put(f"{CITY_URL}/rings/core", body)

    async def live(self) -> None:
        await self.pick.choice(self.deeds)()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_brought_up_to_date_equals_loaded_anew(ringed: httpx.AsyncClient, database: Database, seed: int) -> None:
    town = Town(ringed, seed)
    await town.build()
    found: Analysis | None = None
    for _ in range(10):
        for _ in range(town.pick.randint(1, 3)):
            await town.live()
        earlier = None if found is None else found.snapshot
        found = compute_analysis(await load_snapshot(database, CITY, earlier), found)
        fresh = compute_analysis(await load_snapshot(database, CITY))
        assert documents(found) == documents(fresh)


async def test_only_what_changed_is_another_object(ringed: httpx.AsyncClient, database: Database) -> None:
    town = Town(ringed, 5)
    await town.build()
    first = await load_snapshot(database, CITY)
    off = [{"kind": "checkpoint", "code": first.checkpoints["code"][0], "state": "offline"}]
    assert (await ringed.post("/v1/states", json=off)).json()["applied"] == 1
    second = await load_snapshot(database, CITY, first)
    kept = ("points", "cameras", "checkpoints", "roads", "rings", "camera_states")
    assert all(getattr(second, name) is getattr(first, name) for name in kept)
    assert second.checkpoint_states is not first.checkpoint_states

    before = compute_analysis(first)
    after = compute_analysis(second, before)
    assert after.points is before.points
    documents(before)
    assert documents(compute_analysis(second, before)) == documents(after)


async def test_a_transaction_under_way_is_neither_missed_nor_taken_twice(
    city: httpx.AsyncClient, database: Database
) -> None:
    await city.put("/v1/cameras/c-1", json=camera("c-1"))
    async with database.writing(WriteContext("tests")) as slow:
        await slow.execute(text("UPDATE camera SET range_m = 33 WHERE code = 'c-1'"))
        # Another, later by number, is finished first.
        await city.put("/v1/cameras/c-2", json=camera("c-2"))
        first = await load_snapshot(database, CITY)
    second = await load_snapshot(database, CITY, first)
    third = await load_snapshot(database, CITY, second)
    assert [state.cameras["range_m"] for state in (first, second, third)] == [
        [None, None], [33.0, None], [33.0, None],
    ]  # fmt: skip
    assert third.cameras is second.cameras


async def test_a_device_that_spoke_without_news_is_believed(city: httpx.AsyncClient, database: Database) -> None:
    """A heartbeat that changes nothing is not in the history; time alone must not make it stale."""
    await city.patch(CITY_URL, json={"stale_after_s": 1})
    for code in ("quiet", "talks"):
        await city.put(f"/v1/cameras/{code}", json=camera(code, state="online"))
    first = compute_analysis(await load_snapshot(database, CITY))
    assert first.devices.stale.tolist() == [False, False]
    await asyncio.sleep(0.6)
    beat = [{"kind": "camera", "code": "talks", "state": "online"}]
    assert (await city.post("/v1/states", json=beat)).json()["applied"] == 1
    await asyncio.sleep(0.6)
    second = compute_analysis(await load_snapshot(database, CITY, first.snapshot), first)
    assert second.snapshot.revision == first.snapshot.revision
    assert second.devices.stale.tolist() == [True, False]
