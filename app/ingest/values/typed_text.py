"""Typed values as text, so that lost digits show.

A number that its type cannot hold exactly is written in E-notation: it is then not a valid code, and a person sees why.
Other integers are written without a point, other numbers with the fewest digits that read back the same.
"""

import datetime as dt
import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from app.ingest.values.text import build_text_column, clean_column

_ESCAPED: Final = r'["\\\x00-\x1f]'
EXACT_BINARY: Final = 2**53
"""A double holds every smaller integer exactly."""
EXACT_SPREADSHEET: Final = 10**15
"""Spreadsheet programs keep fifteen digits and make zeros of the others."""


def format_double(value: float, exact: int = EXACT_BINARY) -> str | None:
    """Return a double as text; None for NaN and infinities.

    Examples
    --------
    >>> format_double(4.108e19), format_double(5.0), format_double(113.25)
    ('4.1080000000000E+19', '5', '113.25')
    """
    if not math.isfinite(value):
        return None
    if abs(value) >= exact:
        return f"{value:.13E}"
    return str(int(value)) if value == int(value) else repr(value)


def format_integer(value: int) -> str:
    """Return an integer of a JSON text, in E-notation if it has lost digits.

    Programs that store numbers as doubles write the shortest digits that read back the same, and zeros:
    41080000001320000001 becomes 41080000001320000000.

    Examples
    --------
    >>> format_integer(41080000001320000001)
    '41080000001320000001'
    >>> format_integer(41080000001320000000)
    '4.1080000001320E+19'
    """
    if abs(value) < EXACT_BINARY:
        return str(value)
    if abs(value) < 10**25 and int(Decimal(repr(float(value)))) == value:
        return f"{value:.13E}"
    return str(value)


def format_value(value: object, exact: int = EXACT_BINARY) -> str | None:
    """Return one value of JSON or of a spreadsheet as text, not cleaned."""
    match value:
        case None | "":
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return format_integer(value)
        case float():
            return format_double(value, exact)
        case dt.datetime():
            return value.isoformat(sep="T")
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return str(value)
        case bytes():
            return value.hex()
        case list() if all(type(item) is str for item in value):
            return _format_text_list(value)
        case _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _format_text_list(value: list[str]) -> str:
    try:
        return orjson.dumps(value).decode("utf-8")
    except TypeError:  # half a character
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _format_text_lists(values: list[Any]) -> pa.StringArray | None:
    """Return lists of strings as JSON text; None if they may have other values."""
    try:
        array = pa.array(values, pa.list_(pa.string()))
    except (pa.ArrowException, UnicodeEncodeError):
        return None
    return _join_lists(array)


def _join_lists(array: pa.ListArray) -> pa.StringArray | None:
    words = array.flatten()
    if words.null_count or pc.any(pc.match_substring_regex(words, _ESCAPED)).as_py():
        return None
    texts = pc.binary_join_element_wise('["', pc.binary_join(array, '","'), '"]', "")
    return clean_column(pc.if_else(pc.equal(pc.list_value_length(array), 0), "[]", texts))


def format_json_column(values: list[Any]) -> pa.StringArray:
    """Return a column of JSON values as cleaned text, as `format_value` does for each."""
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if kinds <= {str}:
        return build_text_column(values)
    if kinds == {float}:
        return format_doubles(pa.array(values, pa.float64()))
    if kinds == {list} and (words := _format_text_lists(values)) is not None:
        return words
    if kinds == {bool}:
        return pa.array(values, pa.bool_()).cast(pa.string())
    if kinds == {int}:
        # Beyond this, lost digits are looked for.
        small = all(value is None or -EXACT_BINARY < value < EXACT_BINARY for value in values)
        if small:
            return pa.array(values, pa.int64()).cast(pa.string())
    return build_text_column([format_value(value) for value in values])


def format_sheet_column(values: Sequence[Any]) -> pa.StringArray:
    """Return a column of a spreadsheet as cleaned text, as `format_value` does for each."""
    kinds = set(map(type, values))
    if kinds <= {str}:
        return build_text_column(list(values))
    if kinds == {float} or (kinds == {float, str} and _has_only_blank_texts(values)):
        numbers = pa.array([None if value == "" else value for value in values], pa.float64())
        return format_doubles(numbers, EXACT_SPREADSHEET)
    if kinds == {dt.date} or (kinds == {dt.date, str} and _has_only_blank_texts(values)):
        days = pa.array([None if value == "" else value for value in values], pa.date32())
        return days.cast(pa.string())
    return build_text_column(
        [value if type(value) is str else format_value(value, EXACT_SPREADSHEET) for value in values]
    )


def _has_only_blank_texts(values: Sequence[Any]) -> bool:
    """Return whether all texts among the values are blank."""
    return {value for value in values if type(value) is str} == {""}


def format_arrow_column(array: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Return an Arrow column of any type as cleaned text."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_string(kind):
        return clean_column(array)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return clean_column(array.cast(pa.string()))
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        texts = _join_lists(array)
        if texts is not None:
            return texts
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):
        return format_doubles(array)
    if pa.types.is_date(kind):
        return array.cast(pa.string())
    if pa.types.is_timestamp(kind):
        texts = pc.replace_substring_regex(array.cast(pa.string()), r"\.0+(Z?)$", r"\1")
        return pc.replace_substring(texts, " ", "T", max_replacements=1)
    return build_text_column([_format_scalar(value) for value in array.to_pylist()])


def _format_scalar(value: Any) -> str | None:
    if isinstance(value, Decimal):
        return format(value.to_integral_value() if value == int(value) else value, "f")
    return format_value(value)


def format_doubles(array: pa.Array, exact: int = EXACT_BINARY) -> pa.StringArray:
    """Return a column of numbers as text; as `format_double` does for each."""
    if not pa.types.is_float64(array.type):
        # The shortest digits of a single are fewer than those of the double it widens to.
        texts = array.cast(pa.float32()).cast(pa.string()) if pa.types.is_float32(array.type) else None
        array = array.cast(pa.float64())
    else:
        texts = None
    values = array.to_numpy(zero_copy_only=False)
    finite = np.isfinite(values)
    whole = finite & (np.abs(values) < exact)
    whole[whole] = values[whole] == np.trunc(values[whole])
    large = finite & (np.abs(values) >= exact)
    integers = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    others = texts if texts is not None else array.cast(pa.string())
    out = pc.if_else(pa.array(whole), integers, others)
    # Arrow turns to exponents sooner than Python, and an exponent is the sign of lost digits.
    is_special = large | (finite & ~whole & ((np.abs(values) >= 1e9) | (np.abs(values) < 1e-3)))
    if is_special.any():
        special_texts = np.full(len(values), None, dtype=object)
        special_texts[is_special] = [format_double(value, exact) for value in values[is_special].tolist()]
        out = pc.coalesce(pa.array(special_texts, pa.string()), out)
    return pc.if_else(pa.array(finite), out, pa.scalar(None, pa.string()))
