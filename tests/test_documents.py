"""Documents that are tables of something in the code are held against the code."""

import re
from pathlib import Path

import pytest

from app import errors
from app.http.problems import STATUS, find_status
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    default = "—" if field.default is None else f"`{field.default}`"
    row = f"| `REGISTRY_{name.upper()}` | {default} | {field.description} |"
    assert row in (ROOT / "docs/settings.md").read_text()


def test_no_setting_is_documented_that_does_not_exist() -> None:
    lines = (ROOT / "docs/settings.md").read_text().splitlines()
    named = {line.split("`")[1] for line in lines if line.startswith("| `REGISTRY_")}
    assert named == {f"REGISTRY_{name.upper()}" for name in Settings.model_fields}


def _families() -> list[type[errors.RegistryError]]:
    found: list[type[errors.RegistryError]] = []
    waiting = [errors.RegistryError]
    while waiting:
        below = waiting.pop().__subclasses__()
        found += below
        waiting += below
    return found


@pytest.mark.parametrize("family", _families())
def test_every_error_has_a_status(family: type[errors.RegistryError]) -> None:
    assert any(known in STATUS for known in family.__mro__)
    assert family.__name__ in errors.__doc__


def test_the_nearest_family_gives_the_status() -> None:
    assert find_status(errors.InvalidShape("bowtie")) == 422
    assert find_status(errors.NotFound("camera", "x")) == 404


def test_every_problem_code_is_documented() -> None:
    documented = (ROOT / "docs/errors.md").read_text()
    sources = [path.read_text() for path in (ROOT / "app").rglob("*.py")]
    raised = {code for text in sources for code in re.findall(r'\bcode="([a-z-]+)"', text)}
    raised |= set(re.findall(r'super\(\).__init__\([^)]*"([a-z]+(?:-[a-z]+)*)"', sources_of("errors")))
    assert len(raised) > 15
    assert {code for code in raised if f"`{code}`" not in documented} == set()


def sources_of(module: str) -> str:
    return (ROOT / "app" / f"{module}.py").read_text()
