"""Small files as a technical unit sends them."""

import csv
import io
from typing import Any

import httpx

from tests import builders

HEADER = ("code", "name_zh", "functions", "lon", "lat", "owner_unit")


def row(number: int, **changed: str) -> dict[str, str]:
    """Return one camera as a row."""
    known = {
        "code": f"cam-{number}", "name_zh": f"摄像机{number}", "functions": "face",
        "lon": f"{builders.LON + number * 1e-4:.6f}", "lat": f"{builders.LAT:.6f}",
        "owner_unit": "市技术单位",
    }  # fmt: skip
    return known | changed


def table(rows: list[dict[str, str]], header: tuple[str, ...] | None = None) -> bytes:
    """Return rows as CSV."""
    names = header or tuple(dict.fromkeys([*HEADER, *(name for result in rows for name in result)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def cameras(count: int) -> bytes:
    """Return a file of cameras."""
    return table([row(number) for number in range(count)])


async def send(
    client: httpx.AsyncClient,
    content: bytes,
    *,
    name: str = "cameras.csv",
    kind: str = "camera",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> httpx.Response:
    """Send a file as a form, and wait for its end."""
    fields = {"kind": kind, "jurisdiction": builders.CITY, **options}
    data = {
        name: str(value).lower() if value is True else str(value) for name, value in fields.items() if value is not None
    }
    return await client.post("/v1/imports?wait=60", files={"file": (name, content)}, data=data, headers=headers)


async def brought(client: httpx.AsyncClient, content: bytes, **more: Any) -> builders.Json:
    """Send a file and return the job at its end."""
    response = await send(client, content, **more)
    assert response.status_code == 200, response.text
    job: builders.Json = response.json()
    return job


async def rows_of(
    client: httpx.AsyncClient, job: builders.Json, status: str | None = None, **headers: str
) -> list[builders.Json]:
    """Return what became of the rows, page by page."""
    result: list[builders.Json] = []
    url = job["links"]["rows"] + "?limit=3" + (f"&status={status}" if status else "")
    while url:
        response = await client.get(url, headers=headers)
        assert response.status_code == 200, response.text
        result += response.json()["items"]
        url = response.json()["next"]
    return result
