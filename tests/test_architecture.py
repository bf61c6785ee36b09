"""Rules of the house that a program can check."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount, Route

from app.http.asgi_routes import LeanRoute, flat
from app.http.dependencies import known_parameters, principal
from app.main import create_app
from app.settings import Settings

OPEN = {"/livez", "/readyz", "/version"}
FRAMEWORK = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/docs/assets"}
ROOT = Path(__file__).resolve().parents[1]


def _calls(dependant: Dependant) -> set[Any]:
    return {dependant.call}.union(*(_calls(below) for below in dependant.dependencies), set())


def _app(folder: Path) -> FastAPI:
    url = SecretStr("postgresql://nobody@localhost/none")
    return create_app(Settings(database_url=url, data_dir=folder, anonymous_role="analyst"))


def _routes(folder: Path) -> list[APIRoute]:
    routes = [route for route in _app(folder).routes if not _of_the_framework(route)]
    return [route for route in routes if isinstance(route, APIRoute)]


def _of_the_framework(route: BaseRoute) -> bool:
    return isinstance(route, Route | Mount) and route.path in FRAMEWORK


async def _answers(folder: Path, query: str, **headers: str) -> dict[str, int]:
    """Ask every lean route in each of its methods; none of these answers needs the database."""
    app = _app(folder)
    transport = httpx.ASGITransport(app=app)
    found = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        for route in (known for known in flat(app.routes) if isinstance(known, LeanRoute)):
            for method in sorted(route.methods or set()):
                path = re.sub("{collection[^}]*}", "cameras", route.path)
                path = re.sub("{[^}]*}", "1", path)
                answer = await client.request(method, path + query, headers=headers)
                found[f"{method} {path}"] = answer.status_code
    return found


def test_every_route_but_health_asks_who_is_calling(tmp_path: Path) -> None:
    routes = _routes(tmp_path)
    assert len(routes) > 40
    unguarded = {route.path for route in routes if principal not in _calls(route.dependant)}
    assert unguarded == OPEN


def test_every_route_but_health_refuses_unknown_parameters(tmp_path: Path) -> None:
    lax = {r.path for r in _routes(tmp_path) if known_parameters not in _calls(r.dependant)}
    assert lax == OPEN


def test_every_route_is_of_a_kind_that_is_checked_here(tmp_path: Path) -> None:
    others = [route for route in flat(_app(tmp_path).routes) if not _of_the_framework(route)]
    assert [route for route in others if not isinstance(route, APIRoute | LeanRoute)] == []


async def test_every_lean_route_asks_who_is_calling(tmp_path: Path) -> None:
    answers = await _answers(tmp_path, "", Authorization="Bearer nonsense")
    assert len(answers) > 15
    assert set(answers.values()) == {401}, answers


async def test_every_lean_route_refuses_unknown_parameters(tmp_path: Path) -> None:
    answers = await _answers(tmp_path, "?no-such-parameter=1")
    assert {call: status for call, status in answers.items() if status != 400} == {}


@pytest.mark.parametrize("folder", ["app", "app/routers", "app/geo", "alembic", "tests", "docs/adr"])
def test_the_rooms_of_the_house_are_there(folder: str) -> None:
    assert (ROOT / folder).is_dir()
