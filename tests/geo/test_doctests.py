"""The examples in the documentation of `app.geo` are true."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import app.geo

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"
MODULES = sorted(module.name for module in pkgutil.walk_packages(app.geo.__path__, "app.geo."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_modules_of_packages_have_examples() -> None:
    counts = {name: doctest.testmod(importlib.import_module(name)).attempted for name in MODULES}
    assert counts["app.geo.cuts.cordon"] > 0
    assert sum(counts.values()) > 100


@pytest.mark.parametrize("name", ["cordon.md"])
def test_examples_of_a_document_run(name: str) -> None:
    result = doctest.testfile(str(DOCUMENTS / name), module_relative=False)
    assert result.attempted
    assert result.failed == 0
