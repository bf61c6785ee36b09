"""The examples in the documentation of `app.geo` are true."""

import doctest
import importlib
import pkgutil

import pytest

import app.geo

MODULES = sorted(found.name for found in pkgutil.iter_modules(app.geo.__path__, "app.geo."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
