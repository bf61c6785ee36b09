"""Rules of the house that a program can check."""

import ast
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as StarletteRoute

from app.http.routing import Route, iter_routes
from app.main import create_app
from app.settings import Settings

OPEN = {"/livez", "/readyz", "/version"}
FRAMEWORK = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/docs/assets"}
ROOT = Path(__file__).resolve().parents[1]


def _create_app(folder: Path) -> FastAPI:
    url = SecretStr("postgresql://unknown@localhost/none")
    return create_app(Settings(database_url=url, data_dir=folder, anonymous_role="analyst"))


def _is_of_framework(route: BaseRoute) -> bool:
    return isinstance(route, StarletteRoute | Mount) and route.path in FRAMEWORK


def _list_routes(app: FastAPI) -> list[Route]:
    return [route for route in iter_routes(app.routes) if isinstance(route, Route) and route.path not in OPEN]


async def _request_all(folder: Path, query: str = "", **headers: str) -> dict[str, httpx.Response]:
    """Send a request to every route in each of its methods; none of these responses needs the database."""
    app = _create_app(folder)
    responses = {}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        for route in _list_routes(app):
            for method in sorted(route.methods or set()):
                path = re.sub("{collection[^}]*}", "cameras", route.path)
                path = re.sub("{[^}]*}", "1", path)
                responses[f"{method} {path}"] = await client.request(method, path + query, headers=headers)
    return responses


def test_every_route_is_of_the_one_route_class(tmp_path: Path) -> None:
    routes = [route for route in iter_routes(_create_app(tmp_path).routes) if not _is_of_framework(route)]
    assert len(routes) > 100
    assert [route for route in routes if not isinstance(route, Route)] == []


async def test_every_route_but_health_checks_the_key(tmp_path: Path) -> None:
    responses = await _request_all(tmp_path, Authorization="Bearer nonsense")
    assert len(responses) > 100
    assert {request: found.status_code for request, found in responses.items() if found.status_code != 401} == {}


async def test_every_route_but_health_rejects_unknown_parameters(tmp_path: Path) -> None:
    for request, response in (await _request_all(tmp_path, "?no-such-parameter=1")).items():
        expected = 400 if " /ogc" in request else 422
        assert (response.status_code, response.json()["code"]) == (expected, "unknown-parameter"), request


@pytest.mark.parametrize("folder", ["app", "app/routers", "app/geo", "alembic", "tests", "docs/adr"])
def test_the_rooms_of_the_house_are_there(folder: str) -> None:
    assert (ROOT / folder).is_dir()


def test_no_private_name_of_the_framework_is_imported() -> None:
    private: list[str] = []
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            private += [name for name in modules if name.startswith(("fastapi.", "starlette.")) and "._" in name]
    assert private == []
