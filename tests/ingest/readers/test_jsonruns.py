"""Objects read many at a time are those that the patient parser reads one by one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.ingest.readers.json import stream as jsonstream
from app.ingest.readers.json.stream import JsonStream, whole_objects
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
    text = "".join(json.dumps(one, ensure_ascii=draw(st.booleans())) + draw(_BETWEEN) for one in several)
    shape = draw(st.sampled_from(_AROUND))
    return shape.format(text.encode("utf-8", "replace").decode())


def _items(text: str, block: int) -> tuple[list[Any], dict[str, Any], str]:
    raw = text.encode()
    stream = JsonStream(raw[at : at + block] for at in range(0, len(raw), block))
    found: list[Any] = []
    try:
        found.extend(stream.items(("features",)))
    except Invalid as error:
        return found, stream.head, error.detail
    return found, stream.head, ""


@settings(max_examples=250, deadline=None)
@given(_text(), st.integers(1, 300), st.integers(20, 400))
def test_runs_are_what_the_patient_parser_reads(text: str, block: int, enough: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonstream, "_ENOUGH", enough)
        found = _items(text, block)
        patch.setattr(jsonstream, "whole_objects", lambda _: ([], 0))
        assert repr(found) == repr(_items(text, block))


def test_whole_objects_end_where_their_list_does() -> None:
    text = '{"a":"}"},\n{"b":[{}],"c":-41080000001320000001},{"d":{"e":1'
    expected: list[Any] = [{"a": "}"}, {"b": [{}], "c": -41080000001320000001}]
    cut = text.index(',{"d"')
    assert whole_objects(text.encode()) == (expected, cut)
    for end in (']},{"x":1}', "}]", '],"crs":{}}'):
        found, size = whole_objects((text[:cut] + end).encode())
        assert (found, size) == (expected, cut)
    escaped: list[Any] = [{"a": '"}'}, {"b": "\\"}, {"c": '\\"{'}]
    assert whole_objects(",".join(map(json.dumps, escaped)).encode())[0] == escaped
    assert whole_objects(b'{"a":}{}') == ([], 0)
    assert whole_objects(b"") == ([], 0)


def test_a_number_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    text = '{"type":"Feature","geometry":null,"properties":{"a":' + "1" * 5_000 + "}}"
    for content in (text, f'{{"type":"FeatureCollection","features":[{text}]}}'):
        with pytest.raises(Invalid) as refusal:
            read(written(tmp_path, content, "x.geojson"))
        assert refusal.value.code == "damaged-file"
