"""The examples in the documentation of `app.geo` are true."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import app.geo

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"
MODULES = sorted(found.name for found in pkgutil.iter_modules(app.geo.__path__, "app.geo."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["cordon.md"])
def test_examples_of_a_document_run(name: str) -> None:
    found = doctest.testfile(str(DOCUMENTS / name), module_relative=False)
    assert found.attempted
    assert found.failed == 0
