"""Routes with a plan: they answer what FastAPI answers, and without asking it."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.routing import APIRoute

from app.http.precompiled_routes import Plan, PreparedRoute
from tests.builders import CITY, camera

CAMERA = camera()["code"]
ASKED = (
    "/v1/cameras",
    "/v1/cameras?limit=1&f=geojson",
    "/v1/cameras?limit=0",
    "/v1/cameras?limit=many&zone=nowhere",
    "/v1/cameras?zone=core&function=face&lifecycle=in_use&state=unknown",
    "/v1/cameras?bbox=113,35,114,36&updated_since=2020-01-01T00:00:00Z",
    "/v1/cameras?bbox=113,35",
    "/v1/cameras?updated_since=yesterday",
    "/v1/cameras?limit=1&limit=2",
    "/v1/cameras?colour=red",
    "/v1/cameras?q=",
    "/v1/cameras?cursor=%00",
    f"/v1/cameras/{CAMERA}",
    f"/v1/cameras/{CAMERA}?f=geojson",
    f"/v1/cameras/{CAMERA}?as_of=2020-01-01T00:00:00Z",
    "/v1/cameras/absent",
    "/v1/cameras/not%20a%20code",
    f"/v1/jurisdictions/{CITY}",
    "/v1/jurisdictions?jurisdiction=12",
    f"/v1/jurisdictions/{CITY}/coverage",
    "/v1/jurisdictions/12/coverage",
    f"/v1/jurisdictions/{CITY}/coverage/gaps?type=point",
)


async def nobody() -> None:
    """Stand for a dependency that no route has."""


def _told(answer: httpx.Response) -> Any:
    told = answer.json()
    kept = {name: answer.headers.get(name) for name in ("content-type", "etag", "link", "vary")}
    return answer.status_code, kept, {**told, "request_id": None, "computed_at": None}


def _serving(client: httpx.AsyncClient) -> FastAPI:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


@pytest.mark.parametrize("key", [None, "Bearer ccr_nobody_nothing"])
async def test_a_plan_answers_what_fastapi_answers(
    city: httpx.AsyncClient, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await city.put(f"/v1/cameras/{CAMERA}", json=camera())
    headers = {} if key is None else {"Authorization": key}
    app = _serving(city)
    for url in ASKED:
        planned = await city.get(url, headers=headers)
        monkeypatch.setitem(app.dependency_overrides, nobody, nobody)
        ordinary = await city.get(url, headers=headers)
        monkeypatch.delitem(app.dependency_overrides, nobody)
        assert _told(planned) == _told(ordinary), url


async def test_a_plan_goes_without_fastapi(city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def solve(**_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("fastapi.routing.solve_dependencies", solve)
    for url in ("/v1/cameras?limit=5&zone=core", f"/v1/jurisdictions/{CITY}/coverage"):
        assert (await city.get(url)).status_code == 200
    left_to_fastapi = await city.get("/v1/cameras?limit=many")
    assert left_to_fastapi.status_code == 500


def _route(endpoint: Any) -> APIRoute:
    router = APIRouter(route_class=PreparedRoute)
    router.get("/here/{place}")(endpoint)
    (route,) = router.routes
    assert isinstance(route, APIRoute)
    return route


async def test_each_dependency_is_asked_once() -> None:
    asked = []

    async def below(word: str = "none") -> str:
        asked.append(word)
        return word

    async def above(given: Annotated[str, Depends(below)], x_tone: str = Header("low")) -> str:
        return f"{given} {x_tone}"

    async def endpoint(
        request: Request,
        place: int,
        low: Annotated[str, Depends(below)],
        high: Annotated[str, Depends(above)],
        rows: Annotated[int, Query(ge=1)] = 10,
    ) -> Response:
        return Response()

    plan = Plan.of(_route(endpoint).dependant)
    assert plan is not None
    request = Request(
        {
            "type": "http",
            "path_params": {"place": "7"},
            "query_string": b"word=hi&rows=3",
            "headers": [(b"x-tone", b"high")],
        }
    )
    assert await plan.solve(request) == {
        "request": request, "place": 7, "low": "hi", "high": "hi high", "rows": 3,
    }  # fmt: skip
    assert asked == ["hi"]


async def _opened() -> Any:
    yield 1


def _in_a_thread() -> int:
    return 1


@pytest.mark.parametrize("dependency", [_opened, _in_a_thread])
async def test_what_is_opened_or_runs_in_a_thread_has_no_plan(dependency: Any) -> None:
    async def endpoint(place: int, found: Annotated[int, Depends(dependency)]) -> Response:
        return Response(str(found))

    assert Plan.of(_route(endpoint).dependant) is None
