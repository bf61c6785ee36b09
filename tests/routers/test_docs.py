"""The interactive description of the API, which must work on a network that ends at the wall."""

import re

import httpx


async def test_the_description_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    wanted = re.findall(r"""(?:src|href|url)["']?\s*[=:]\s*["']([^"']+)["']""", page.text)
    assert {"/openapi.json", "/docs/assets/swagger-ui-bundle.js"} < set(wanted)
    for address in wanted:
        assert address.startswith("/"), address
        assert (await client.get(address)).status_code == 200, address
    missing = await client.get("/docs/assets/nothing.js")
    assert (missing.status_code, missing.headers["content-type"]) == (
        404,
        "application/problem+json",
    )
