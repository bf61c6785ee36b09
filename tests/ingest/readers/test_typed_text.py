"""Columns of typed values as text: the same as their cells one by one."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.values.text import clean_cell, escape_surrogates
from app.ingest.values.typed_text import (
    EXACT_BINARY,
    EXACT_SPREADSHEET,
    format_arrow_column,
    format_json_column,
    format_sheet_column,
    format_value,
)

_WORDS = st.sampled_from(["", "face", "东", ' a"b', "\\", "x\ny", "\x1f", "\x7f", "\ud800", "[]", "\u3000"])
_LISTS = st.lists(st.one_of(_WORDS, _WORDS, st.none(), st.just(1)), max_size=3)
_COLUMNS = st.one_of(
    st.lists(st.one_of(st.none(), st.lists(_WORDS, max_size=3))),
    st.lists(st.one_of(st.none(), _LISTS)),
    st.lists(st.one_of(st.none(), st.booleans())),
    st.lists(st.one_of(st.none(), st.floats(), st.floats(1e14, 1e20))),
    st.lists(st.one_of(st.none(), st.integers())),
    st.lists(st.one_of(st.none(), st.integers(), st.booleans(), st.floats(), _WORDS, _LISTS)),
)  # fmt: skip


def _cell(value: Any, exact: int = EXACT_BINARY) -> str | None:
    text = format_value(value, exact)
    return clean_cell(None if text is None else escape_surrogates(text))


@settings(max_examples=200, deadline=None)
@given(_COLUMNS)
def test_a_column_is_its_cells(values: list[Any]) -> None:
    assert format_json_column(values).to_pylist() == [_cell(value) for value in values]


_NUMBERS = st.one_of(st.floats(), st.sampled_from([1e15, -1e15, 999999999999999.0, 2.0**53, 0.5, 1e-7]))
_BLANKS = st.one_of(_NUMBERS, st.just(""))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.lists(_BLANKS), st.lists(_WORDS), st.lists(st.one_of(_BLANKS, _WORDS, st.integers())),
        st.lists(st.one_of(st.dates(), st.just(""))),
        st.lists(st.one_of(st.dates(), st.datetimes(), st.booleans(), st.just(""))),
    )
)  # fmt: skip
def test_a_column_of_a_spreadsheet_is_its_cells(values: list[Any]) -> None:
    expected = [_cell(value, EXACT_SPREADSHEET) for value in values]
    assert format_sheet_column(values).to_pylist() == expected


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.list_(pa.int64()), pa.large_list(pa.string())])
@pytest.mark.parametrize("cut", [slice(0, 9), slice(2, 5)])
def test_lists_of_arrow_are_json(kind: pa.DataType, cut: slice) -> None:
    words = pa.types.is_string(kind.value_type)
    lists = [["a", "b"], [], None, ["东"], ["c"], [None]] if words else [[1, 2], [], None, [3], [4], [None]]
    column = pa.array(lists, kind)[cut]
    assert format_arrow_column(column).to_pylist() == [_cell(value) for value in lists[cut]]
    plain = column.filter(column.is_valid())
    assert format_arrow_column(plain[:3]).to_pylist() == [_cell(value) for value in plain[:3].to_pylist()]


def test_other_kinds_of_arrow() -> None:
    assert format_arrow_column(pa.array([True, None, False])).to_pylist() == ["true", None, "false"]
    assert format_arrow_column(pa.array([Decimal("4.10"), Decimal("41080000001320000001")])).to_pylist() == [
        "4.10", "41080000001320000001",
    ]  # fmt: skip
    assert format_arrow_column(pa.array([dt.date(2024, 3, 1)])).to_pylist() == ["2024-03-01"]
