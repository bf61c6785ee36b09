"""The call plan of a route: it responds as FastAPI does, calls each dependency once, and closes what it opens."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from app.http import problems
from app.http.routing import CallPlan, Route, RouteTable, iter_routes
from tests.builders import CITY, camera

CAMERA = camera()["code"]
URLS = (
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


def _summarize(response: httpx.Response) -> Any:
    body = response.json()
    headers = {name: response.headers.get(name) for name in ("content-type", "etag", "link", "vary")}
    return response.status_code, headers, {**body, "request_id": None, "computed_at": None}


def _find_app(client: httpx.AsyncClient) -> FastAPI:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


def _create_plain_app(app: FastAPI) -> FastAPI:
    """Return an application whose routes have the same endpoints, and FastAPI responds."""
    plain = FastAPI()
    plain.state = app.state
    problems.install_handlers(plain)
    for route in iter_routes(app.routes):
        if isinstance(route, Route):
            plain_route = APIRoute(
                route.path, route.endpoint, methods=route.methods, dependencies=route.dependencies, response_model=None
            )
            plain_route.query_names = route.query_names  # type: ignore[attr-defined]  # for the check of the query
            plain.router.routes.append(plain_route)
    return plain


@pytest.mark.parametrize("key", [None, "Bearer ccr_unknown_key"])
async def test_a_call_plan_responds_as_fastapi_does(city: httpx.AsyncClient, key: str | None) -> None:
    await city.put(f"/v1/cameras/{CAMERA}", json=camera())
    headers = dict(city.headers) if key is None else {"Authorization": key}
    transport = httpx.ASGITransport(app=_create_plain_app(_find_app(city)))
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as plain:
        for url in URLS:
            planned = await city.get(url, headers=headers)
            expected = await plain.get(url, headers=headers)
            assert _summarize(planned) == _summarize(expected), url


async def test_a_call_plan_does_without_fastapi(city: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def solve_dependencies(**_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("fastapi.routing.solve_dependencies", solve_dependencies)
    for url, status in (
        ("/v1/cameras?limit=5&zone=core", 200),
        ("/v1/cameras?limit=many", 422),
        (f"/v1/jurisdictions/{CITY}/coverage", 200),
        ("/ogc/collections/cameras/items", 200),
    ):
        assert (await city.get(url)).status_code == status


def _build_request(query: bytes = b"", **path: str) -> Request:
    headers = [(b"x-tone", b"high")]
    return Request({"type": "http", "method": "GET", "path_params": path, "query_string": query, "headers": headers})


async def test_each_dependency_is_called_once() -> None:
    calls = []

    async def read_word(word: Annotated[str, Query()] = "none") -> str:
        calls.append(word)
        return word

    async def read_tone(word: Annotated[str, Depends(read_word)], x_tone: Annotated[str, Header()] = "low") -> str:
        return f"{word} {x_tone}"

    async def endpoint(
        request: Request,
        number: int,
        word: Annotated[str, Depends(read_word)],
        tone: Annotated[str, Depends(read_tone)],
        rows: Annotated[int, Query(ge=1)] = 10,
    ) -> Response:
        return Response(f"{request.method} {number + 1} {word} {tone} {rows + 1}")

    plan = CallPlan.compile(endpoint, path_names=frozenset({"number"}))
    assert plan.query_names() == ("rows", "word")
    response = await plan.run(_build_request(b"word=hi&rows=3", number="7"))
    assert response.body == b"GET 8 hi hi high 4"
    assert calls == ["hi"]


async def test_every_invalid_parameter_is_named_and_nothing_that_needs_it_is_called() -> None:
    calls = []

    async def read_size(size: Annotated[int, Query(le=10)]) -> int:
        calls.append("size")
        return size

    async def read_area(size: Annotated[int, Depends(read_size)]) -> int:
        calls.append("area")
        return size * size

    async def read_other() -> int:
        calls.append("other")
        return 1

    async def endpoint(
        area: Annotated[int, Depends(read_area)],
        other: Annotated[int, Depends(read_other)],
        name: Annotated[str, Query(min_length=3)],
    ) -> Response:
        calls.append("endpoint")
        return Response()

    plan = CallPlan.compile(endpoint)
    with pytest.raises(RequestValidationError) as error:
        await plan.run(_build_request(b"size=11&name=ab"))
    assert [entry["loc"] for entry in error.value.errors()] == [("query", "size"), ("query", "name")]
    with pytest.raises(RequestValidationError) as error:
        await plan.run(_build_request())
    assert {entry["type"] for entry in error.value.errors()} == {"missing"}
    assert calls == ["other", "other"]


async def test_what_a_dependency_opens_is_closed_before_the_response_is_sent() -> None:
    events = []

    async def open_connection() -> AsyncIterator[int]:
        try:
            yield 1
        except ValueError:
            events.append("error")
            raise
        finally:
            events.append("closed")

    async def endpoint(
        connection: Annotated[int, Depends(open_connection)], fail: Annotated[bool, Query()]
    ) -> Response:
        events.append("endpoint")
        if fail:
            raise ValueError("failed")
        return Response()

    plan = CallPlan.compile(endpoint)
    await plan.run(_build_request(b"fail=0"))
    assert events == ["endpoint", "closed"]
    with pytest.raises(ValueError, match="failed"):
        await plan.run(_build_request(b"fail=1"))
    assert events[2:] == ["endpoint", "error", "closed"]


def _run_in_thread() -> int:
    return 1


async def _has_no_origin(number: int) -> int:
    return number


@pytest.mark.parametrize("dependency", [_run_in_thread, _has_no_origin])
def test_a_function_that_a_plan_cannot_call_is_refused_when_the_route_is_made(dependency: Any) -> None:
    async def endpoint(result: Annotated[int, Depends(dependency)]) -> Response:
        return Response(str(result))

    with pytest.raises(TypeError):
        CallPlan.compile(endpoint)


def test_the_first_segments_of_a_path_must_be_literal() -> None:
    async def endpoint() -> Response:
        return Response()

    with pytest.raises(ValueError, match="literal"):
        RouteTable([Route("/v1/{kind}", endpoint)])
