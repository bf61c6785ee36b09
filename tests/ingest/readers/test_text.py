"""Cleaning of cells: the same for one cell and for a column, once and twice."""

import datetime as dt
import doctest
import importlib
import pkgutil
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app.ingest
from app.ingest.values.text import clean_cell, clean_column, to_narrow
from app.ingest.values.typed_text import format_double, format_integer, format_json_column, format_value

MODULES = sorted(result.name for result in pkgutil.walk_packages(app.ingest.__path__, "app.ingest."))
_ODD = st.text(alphabet="a1 路\t\n\r\x00\x1f\x7f\x85\xa0\xad\u061c\u1680\u180e\u200b\u200f\u2028\u202e"
               "\u205f\u2060\u2800\u3000\u3164\ufeff\ufffb“”—", max_size=8)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@settings(deadline=None)
@given(st.lists(st.none() | _ODD | st.text(max_size=8), max_size=8), st.integers(0, 3))
def test_a_column_is_cleaned_as_its_cells(cells: list[str | None], cut: int) -> None:
    column = pa.array(cells, pa.string()).slice(cut)
    cleaned = clean_column(column).to_pylist()
    assert cleaned == [clean_cell(cell) for cell in cells[cut:]]
    assert [clean_cell(cell) for cell in cleaned] == cleaned
    assert "" not in cleaned


def test_characters_that_stay_and_characters_that_go() -> None:
    assert clean_cell(" 人\u200b民\u3000路，“东” ") == "人民 路，“东”"
    assert clean_cell("two\r\nlines") == "two\nlines"
    assert clean_cell("\ufeff \u200b\u00a0\u3000") is None
    assert to_narrow("１１３．５°Ｅ，ａ") == "113.5°E,a"


@pytest.mark.parametrize(("value", "text"), [
    (4.108e19, "4.1080000000000E+19"), (2.0**53, "9.0071992547410E+15"),
    (2.0**53 - 1, "9007199254740991"),
    (-5.0, "-5"), (0.1, "0.1"), (float("nan"), None), (float("inf"), None), (True, "true"), (None, None),
    ("", None), (" x", " x"), ([1, "路"], '[1,"路"]'), ({"a": None}, '{"a":null}'),
    (10**30 + 1, str(10**30 + 1)),
    (dt.date(2024, 1, 2), "2024-01-02"), (dt.timedelta(hours=30), "1 day, 6:00:00"),
])  # fmt: skip
def test_values_as_text(value: object, text: str | None) -> None:
    assert format_value(value) == text


_JSON = st.one_of(
    st.none(), st.text(max_size=5), st.booleans(), st.floats(), st.integers(-(2**70), 2**70),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(st.one_of(st.lists(_JSON, max_size=5), st.lists(st.none() | st.floats()), st.lists(st.integers())))
def test_a_column_of_values_is_written_as_its_values(values: list[object]) -> None:
    assert format_json_column(values).to_pylist() == [clean_cell(format_value(value)) for value in values]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_or_shows_its_loss(value: float) -> None:
    text = format_double(value)
    assert text is not None
    if abs(value) < 2**53:
        assert float(text) == value
        assert "." in text or "e" in text or int(text) == value
    else:
        assert "E+" in text


@given(st.integers(10**19, 10**20 - 1))
def test_a_code_that_went_through_a_double_shows(code: int) -> None:
    # What programs print that keep numbers as doubles (ECMA-262, Number::toString).
    printed = int(Decimal(repr(float(code))))
    assert "E+" in format_integer(printed)
    assert format_integer(code) == str(code) or code == printed
