"""How many files of the application one request crosses; `pytest -s` lists them in order.

Each request runs once before it is traced: what is built once for each process does not count.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from tests import builders
from tests.builders import KeyFor, Serve
from tests.e2e.request_trace import RequestTrace
from tests.imports.files import row, send, table

_NUMBERS = itertools.count(10, 3)
"""First row number of each import, so that its records are new."""
Request = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def _put_camera(client: httpx.AsyncClient) -> httpx.Response:
    return await client.put("/v1/cameras/cam-1", json=builders.camera("cam-1", range_m=30))


async def _import_rows(client: httpx.AsyncClient) -> httpx.Response:
    first = next(_NUMBERS)
    return await send(client, table([row(number) for number in range(first, first + 3)]))


async def _get_summary(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get(f"/v1/jurisdictions/{builders.CITY}/coverage")


async def _get_items(client: httpx.AsyncClient) -> httpx.Response:
    query = {"filter": "range_m > 10 AND S_INTERSECTS(geometry, BBOX(113, 35, 114, 36))", "limit": "10"}
    return await client.get("/ogc/collections/cameras/items", params=query)


ROADS: dict[str, tuple[Request, int]] = {
    "camera PUT": (_put_camera, 24),
    "CSV row": (_import_rows, 64),
    "coverage summary": (_get_summary, 35),
    "OGC page with CQL2": (_get_items, 19),
}


@pytest.fixture
async def traced(serve: Serve, key_for: KeyFor) -> AsyncIterator[tuple[httpx.AsyncClient, RequestTrace]]:
    """A client of a registry with one city and its rings, and the trace of its process."""
    trace = RequestTrace()
    key = await key_for("admin")
    with trace.install():
        async with serve() as client:
            client.headers.update(key)
            await client.put(f"/v1/jurisdictions/{builders.CITY}", json=builders.jurisdiction())
            for level, half_deg in builders.HALF_DEG.items():
                url = f"/v1/jurisdictions/{builders.CITY}/rings/{level}"
                await client.put(url, json=builders.square(half_deg))
            yield client, trace


@pytest.mark.parametrize("name", ROADS)
async def test_a_request_crosses_few_files(traced: tuple[httpx.AsyncClient, RequestTrace], name: str) -> None:
    client, trace = traced
    request, limit = ROADS[name]
    for address in ("1", "2"):
        assert (await _put_camera(client)).status_code in (200, 201)
        assert (await request(client)).status_code in (200, 201)
        # A change between the runs makes the answer of the second one new.
        body = builders.camera("cam-1", address=address)
        assert (await client.put("/v1/cameras/cam-1", json=body)).status_code == 200
    with trace.record():
        answer = await request(client)
    assert answer.status_code in (200, 201), answer.text
    lines = [f"{file}: {', '.join(functions)}" for file, functions in trace.functions.items()]
    print(f"\n{name}: {len(lines)} files", *lines, sep="\n  ")  # noqa: T201  # shown by `pytest -s`
    assert len(trace.files) <= limit
