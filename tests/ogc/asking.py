"""Short ways to ask for features."""

from collections.abc import Sequence

import httpx

from tests.builders import Json

CAMERAS = "/ogc/collections/cameras/items"


async def page(client: httpx.AsyncClient, url: str = CAMERAS, **asked: object) -> Json:
    """Return a page; underscores in names are hyphens."""
    given = {name.replace("_", "-") if "_" in name else name: str(v) for name, v in asked.items()}
    answer = await client.get(url, params=given)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


async def codes(client: httpx.AsyncClient, query: str, url: str = CAMERAS) -> list[str]:
    """Return the ids of every page, the links followed to the end."""
    found: list[str] = []
    following = f"{url}?{query}"
    while following:
        answer = await client.get(following)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        found += [feature["id"] for feature in told["features"]]
        links = {link["rel"]: link["href"] for link in told["links"]}
        following = links.get("next", "")
    return found


async def filtered(client: httpx.AsyncClient, text: str, url: str = CAMERAS) -> list[str]:
    """Return the ids of the features a CQL2 filter selects."""
    told = await page(client, url, filter=text, limit=1000)
    assert told["numberMatched"] == told["numberReturned"]
    return [feature["id"] for feature in told["features"]]


def cams(*numbers: int) -> list[str]:
    """Return the ids of cameras of the ``gis`` fixture."""
    return [f"cam-{number:02}" for number in numbers]


def ids(numbers: Sequence[int] | range) -> list[str]:
    """Return the same for a range."""
    return cams(*numbers)
