"""Short ways to ask for features."""

from collections.abc import Sequence

import httpx

from tests.builders import Json

CAMERAS = "/ogc/collections/cameras/items"


async def page(client: httpx.AsyncClient, url: str = CAMERAS, **params: object) -> Json:
    """Return a page; underscores in names are hyphens."""
    query = {name.replace("_", "-") if "_" in name else name: str(v) for name, v in params.items()}
    response = await client.get(url, params=query)
    assert response.status_code == 200, response.text
    document: Json = response.json()
    return document


async def codes(client: httpx.AsyncClient, query: str, url: str = CAMERAS) -> list[str]:
    """Return the ids of every page, the links followed to the end."""
    results: list[str] = []
    following = f"{url}?{query}"
    while following:
        response = await client.get(following)
        assert response.status_code == 200, response.text
        document = response.json()
        results += [feature["id"] for feature in document["features"]]
        links = {link["rel"]: link["href"] for link in document["links"]}
        following = links.get("next", "")
    return results


async def filtered(client: httpx.AsyncClient, text: str, url: str = CAMERAS) -> list[str]:
    """Return the ids of the features a CQL2 filter selects."""
    document = await page(client, url, filter=text, limit=1000)
    assert document["numberMatched"] == document["numberReturned"]
    return [feature["id"] for feature in document["features"]]


def cams(*numbers: int) -> list[str]:
    """Return the ids of cameras of the ``gis`` fixture."""
    return [f"cam-{number:02}" for number in numbers]


def ids(numbers: Sequence[int] | range) -> list[str]:
    """Return the same for a range."""
    return cams(*numbers)
