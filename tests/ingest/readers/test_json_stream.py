"""Objects parsed together are those that the standard parser reads one by one; errors have their place."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.ingest.readers.json import stream
from app.ingest.readers.json.stream import JsonStream, parse_whole_objects
from tests.ingest.readers.files import read, written

_SCALARS = st.one_of(
    st.sampled_from(
        ["a{b", "}", "[", "]\\", '"', "\\", '\\"{', "东\ud800", "\n", "x 41080000001320000001"]
    ),
    st.integers(-(10**25), 10**25), st.floats(), st.booleans(), st.none(),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b{", "features", "type", "crs"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_OBJECTS = st.dictionaries(st.sampled_from(["a", "b{", "type", "name"]), _VALUES, max_size=3)
_AROUND = ("{}", "[{}]", '{{"name":"n","features":[{}]}}', '{{"features":[{}')
_BETWEEN = st.sampled_from([",", ", ", "\n", ",\n\t", "\x1e", "", ",,", "\ufeff", "x"])


@st.composite
def _text(draw: st.DrawFn) -> str:
    several = draw(st.lists(st.one_of(_OBJECTS, _OBJECTS, _VALUES), max_size=8))
    text = "".join(json.dumps(item, ensure_ascii=draw(st.booleans())) + draw(_BETWEEN) for item in several)
    shape = draw(st.sampled_from(_AROUND))
    return shape.format(text.encode("utf-8", "replace").decode())


def _items(text: str, block: int) -> tuple[list[Any], dict[str, Any], str]:
    raw = text.encode()
    cursor = JsonStream(raw[begin : begin + block] for begin in range(0, len(raw), block))
    items: list[Any] = []
    try:
        items.extend(cursor.iter_items(("features",)))
    except Invalid as error:
        return items, cursor.head, error.detail
    return items, cursor.head, ""


_FALSELY_CUT = '{},{},{"a": ["a{b"]}x'


@settings(max_examples=250, deadline=None)
@given(_text(), st.integers(1, 300), st.integers(20, 400))
@example(_FALSELY_CUT, 1, 20)
@example(_FALSELY_CUT, 300, 20)
def test_objects_parsed_together_are_those_that_the_standard_parser_reads(text: str, block: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_CHUNK", chunk)
        together = _items(text, block)
        patch.setattr(stream, "parse_whole_objects", lambda _: ([], 0))
        assert repr(together) == repr(_items(text, block))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_FALSELY_CUT, "an object or a list is expected, line 1, character 21."),
        ('[{"a": 1},\n{"a": oops}]', "expecting value, line 2, character 7."),
        ('[{"a": 1},\n{"a": 1 "b": 2}]', "expecting ',' delimiter, line 2, character 9."),
        ('[{"a": 1}', "the text ends inside a list, line 1, character 10. The file seems to be cut off."),
        ('[{"a": 1},\n{"a": "b', "unterminated string, line 2, character 7. The file seems to be cut off."),
        ('[{"a": tru', "expecting value, line 1, character 8. The file seems to be cut off."),
        ('[{"a": "\\u12', "invalid \\uXXXX escape, line 1, character 10. The file seems to be cut off."),
        ('[{"a":', "expecting value, line 1, character 7. The file seems to be cut off."),
        ('[{"a": 1}, x]', "expecting value, line 1, character 12."),
        ('{"a": 1}}', "an object or a list is expected, line 1, character 9."),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("chunk", [4, 1 << 20])
def test_an_error_has_its_line_and_character(
    text: str, message: str, block: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_CHUNK", chunk)
    assert _items(text, block)[2] == f"The file is not valid JSON: {message}"


def test_whole_objects_end_where_their_list_does() -> None:
    text = '{"a":"}"},\n{"b":[{}],"c":-41080000001320000001},{"d":{"e":1'
    expected: list[Any] = [{"a": "}"}, {"b": [{}], "c": -41080000001320000001}]
    cut = text.index(',{"d"')
    assert parse_whole_objects(text.encode()) == (expected, cut)
    for end in (']},{"x":1}', "}]", '],"crs":{}}'):
        result, size = parse_whole_objects((text[:cut] + end).encode())
        assert (result, size) == (expected, cut)
    escaped: list[Any] = [{"a": '"}'}, {"b": "\\"}, {"c": '\\"{'}]
    assert parse_whole_objects(",".join(map(json.dumps, escaped)).encode())[0] == escaped
    assert parse_whole_objects(b'{"a":}{}') == ([], 0)
    assert parse_whole_objects(b"") == ([], 0)


def test_a_number_of_thousands_of_digits_is_rejected(tmp_path: Path) -> None:
    text = '{"type":"Feature","geometry":null,"properties":{"a":' + "1" * 5_000 + "}}"
    for content in (text, f'{{"type":"FeatureCollection","features":[{text}]}}'):
        with pytest.raises(Invalid) as rejection:
            read(written(tmp_path, content, "x.geojson"))
        assert rejection.value.code == "damaged-file"
