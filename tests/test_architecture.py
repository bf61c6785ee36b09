"""Rules of the house that a program can check."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import SecretStr

from app.deps import known_parameters, principal
from app.main import create_app
from app.settings import Settings

OPEN = {"/livez", "/readyz", "/version"}
ROOT = Path(__file__).resolve().parents[1]


def _calls(dependant: Dependant) -> set[Any]:
    return {dependant.call}.union(*(_calls(below) for below in dependant.dependencies), set())


def _routes(folder: Path) -> list[APIRoute]:
    url = SecretStr("postgresql://nobody@localhost/none")
    app = create_app(Settings(database_url=url, data_dir=folder))
    return [route for route in app.routes if isinstance(route, APIRoute)]


def test_every_route_but_health_asks_who_is_calling(tmp_path: Path) -> None:
    routes = _routes(tmp_path)
    assert len(routes) > 40
    unguarded = {route.path for route in routes if principal not in _calls(route.dependant)}
    assert unguarded == OPEN


def test_every_route_but_health_refuses_unknown_parameters(tmp_path: Path) -> None:
    lax = {r.path for r in _routes(tmp_path) if known_parameters not in _calls(r.dependant)}
    assert lax == OPEN


@pytest.mark.parametrize(
    "folder", ["app", "app/routers", "app/geo", "alembic", "tests", "docs/adr"]
)
def test_the_rooms_of_the_house_are_there(folder: str) -> None:
    assert (ROOT / folder).is_dir()
