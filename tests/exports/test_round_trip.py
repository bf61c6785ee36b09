"""Export, then import of the same file: nothing changes, in every format that can carry the kind."""

import math
from typing import Any

import httpx
import orjson
import pytest

from app.records.kinds import KINDS as DESCRIBED
from tests.builders import (
    CITY,
    LAT,
    LON,
    MERGE_PATCH,
    Json,
    building,
    camera,
    checkpoint,
    control_point,
    road,
    square,
)

FORMATS = ("csv", "xlsx", "geojson", "geojsonl", "gpkg", "fgb", "parquet", "shp.zip", "kml")

ODD = '=SUM(A1:A9) "quoted", 中文，逗号; and a very long tail ' + "长" * 40
ROUND = [
    [LON + math.cos(at / 50 * math.tau) / 1000, LAT + math.sin(at / 50 * math.tau) / 1000] for at in (*range(50), 0)
]
"""A view drawn by hand: its JSON fits into no field of a Shapefile."""
RICH: dict[str, list[Json]] = {
    "control-points": [
        control_point("41080000000000000001", name_zh="=1+1", notes="'-5", category="core_junction"),
        control_point(
            "site.1", geometry=square(0.001), name_en="Site <b>&\"quoted\"", address="a, b",
            requirements=[{"function": "face", "directions": ["inbound"], "working": 2,
                           "min_px_per_m": 80.5}],
        ),
    ],
    "roads": [
        road("r-1", name_zh="人民路", road_number="G327", group="g", oneway="backward", layer=-1,
             tunnel=True),
        road("r-2", road_class="path"),
    ],
    "buildings": [building("b-1", height_m=21.5), building("b-2")],
    "checkpoints": [
        checkpoint("41080000001210000001", road="r-1", name_zh="卡口", notes="@home",
                   tollgate_category="31", tollgate_usage="80", capture_side="rear",
                   lanes=[{"lane": 1, "direction": "inbound", "bearing_deg": 90.5, "name": "一",
                           "max_speed_kmh": 60, "camera": "c-1"},
                          {"lane": 2, "direction": "outbound"}]),
        checkpoint("k-2", kind="face", lanes=[], lifecycle="planned"),
        checkpoint("k-3", notes="、" * 199 + "。", lanes=[
            {"lane": at, "direction": "both", "name": f"第 {at} 车道" + "长" * 60, "max_speed_kmh": 80}
            for at in range(1, 41)
        ]),
    ],
    "cameras": [
        camera("41080000001320000001", name_zh=ODD, name_en="+1", functions=["face", "vehicle"],
               checkpoint="k-2", control_point="site.1", azimuth_deg=0.0, opening_deg=31.123456789,
               range_m=1e-3, tilt_deg=-12.5, indoor=False, point_class=9, structure="dome",
               horizontal_pixels=3840, vertical_pixels=2160, owner_unit="单位", retention_days=30,
               owner_reference="0007", installed_on="2020-02-29", sign_present=True,
               network_address="198.51.100.7", serial_number="007", mount_height_m=6,
               geometry={"type": "Point", "coordinates": [LON + 0.000000001, LAT - 0.123456789]}),
        camera("c-1", notes="路" * 76 + "…#1", purpose="路" * 80 + "…#99"),
        camera("c-2", notes="路" * 200, view_polygon={"type": "Polygon", "coordinates": [ROUND]}),
    ],
}  # fmt: skip
KINDS = (*RICH, "rings")
NAMES = {kind.plural: kind.name for kind in DESCRIBED} | {"rings": "ring"}


@pytest.fixture
async def filled(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a city with rich and with bare records of every kind."""
    for plural, drafts in RICH.items():
        for draft in drafts:
            response = await ringed.put(f"/v1/{plural}/{draft['code']}", json=draft)
            assert response.status_code == 201, response.text
    states = [{"code": "c-1", "state": "fault"}]
    assert (await ringed.post("/v1/states", json=states)).json()["applied"] == 1
    return ringed


async def _stored(client: httpx.AsyncClient, plural: str) -> list[Json]:
    if plural == "rings":
        response = await client.get(f"/v1/jurisdictions/{CITY}/rings")
        result: list[Json] = response.json()["features"]
        return result
    items: list[Json] = (await client.get(f"/v1/{plural}?limit=1000")).json()["items"]
    return items


async def _exported(client: httpx.AsyncClient, path: str, **asked: Any) -> bytes:
    response = await client.get(f"/v1/exports/{path}", params=asked)
    assert response.status_code == 200, response.text
    return response.content


async def _imported(client: httpx.AsyncClient, plural: str, name: str, content: bytes, **options: Any) -> Json:
    reported = {key: value if isinstance(value, str) else orjson.dumps(value).decode()
            for key, value in options.items()}  # fmt: skip
    response = await client.post(
        "/v1/imports",
        params={"kind": NAMES[plural], "wait": 60, "name": name, "jurisdiction": CITY, **reported},
        content=content,
        headers={"Content-Type": "application/octet-stream"},
    )
    job: Json = response.json()
    assert response.status_code == 200, response.text
    return job


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_what_is_exported_comes_back_the_same(filled: httpx.AsyncClient, language: str) -> None:
    before = {plural: await _stored(filled, plural) for plural in KINDS}
    changed = {}
    for plural in KINDS:
        for ending in FORMATS:
            name = f"{plural}.{ending}"
            content = await _exported(filled, name, lang=language)
            job = await _imported(filled, plural, name, content)
            if job["problem"] or _told(job["counts"]) != ["unchanged"]:
                rows = await filled.get(f"/v1/imports/{job['id']}/rows")
                changed[name] = (job["state"], job["counts"], job["problem"], rows.json())
    assert changed == {}
    assert {plural: await _stored(filled, plural) for plural in KINDS} == before


_OWN = ("id", "version", "created_at", "updated_at", "state", "reported_at", "in_service")
"""Columns that the registry counts or derives again."""


def _sent(records: list[Json]) -> list[Json]:
    """Return what an inventory says of records, without what the registry adds."""
    return [{k: v for k, v in record.items() if k not in _OWN} for record in records]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("ending", FORMATS)
async def test_an_export_brings_everything_back_that_was_removed(
    filled: httpx.AsyncClient, ending: str, language: str
) -> None:
    """A column that the import passes over would read as unchanged above, and be lost here."""
    before = {plural: await _stored(filled, plural) for plural in RICH}
    files = {plural: await _exported(filled, f"{plural}.{ending}", lang=language) for plural in RICH}
    for plural in reversed(RICH):
        for record in before[plural]:
            removed = await filled.delete(f"/v1/{plural}/{record['code']}")
            if removed.status_code == 409:  # lanes name cameras, which name checkpoints
                bare: Json = {"lanes": []}
                await filled.patch("/v1/checkpoints/41080000001210000001", json=bare,
                                   headers=MERGE_PATCH)  # fmt: skip
                removed = await filled.delete(f"/v1/{plural}/{record['code']}")
            assert removed.status_code == 204, removed.text
    for plural, content in files.items():
        job = await _imported(filled, plural, f"{plural}.{ending}", content)
        assert _told(job["counts"]) == ["created"], (plural, job["counts"], job["problem"])
        assert _sent(await _stored(filled, plural)) == _sent(before[plural])


def _told(counts: Json) -> list[str]:
    return [name for name in ("created", "updated", "removed", "refused", "unchanged") if counts.get(name)]
