"""Lists of objects in JSON, as interfaces hand them out."""

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.ingest.readers.json.tables import find_tables
from tests.ingest.readers.files import read, written

EAST = {"code": "A1", "lanes": [{"number": 1}], "place": {"lon": 113.2, "lat": 35.1}}
WEST = {"code": "A2", "lanes": [], "place": {"lon": 113.3, "lat": 35.2}}
ROWS = [
    {"code": "A1", "lanes": '[{"number":1}]', "lon": "113.2", "lat": "35.1"},
    {"code": "A2", "lanes": "[]", "lon": "113.3", "lat": "35.2"},
]


def saved(folder: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return written(folder, text, "answer.json")


@pytest.mark.parametrize(("content", "layer"), [
    ([EAST, WEST], None),
    (json.dumps(EAST) + "\n" + json.dumps(WEST) + "\n", None),
    ({"items": [EAST, WEST], "next": None}, "items"),
    ({"code": 0, "msg": "ok", "data": {"total": 2, "records": [EAST, WEST]}}, "data.records"),
    ({"tags": ["x"], "rows": [EAST, WEST]}, "rows"),
])  # fmt: skip
def test_lists_in_every_wrapper(tmp_path: Path, content: Any, layer: str | None) -> None:
    result = read(saved(tmp_path, content), at_once=1)
    assert (result.detected.format, result.detected.layer) == ("json", layer)
    assert result.rows == ROWS


def test_a_list_larger_than_what_is_held(tmp_path: Path) -> None:
    many = [{**EAST, "code": f"A{index}", "note": "\u8def" * 100} for index in range(20_000)]
    result = read(saved(tmp_path, {"total": 1, "data": {"list": many}}))
    assert result.column("code") == [row["code"] for row in many]


def test_inner_members_keep_both_names_where_one_would_not_do(tmp_path: Path) -> None:
    item = {"name": "a", "owner": {"name": "b", "unit": "c", "more": {"deep": 1}}}
    assert read(saved(tmp_path, [item])).rows == [{"name": "a", "owner.name": "b", "unit": "c", "more": '{"deep":1}'}]


def test_geometries_are_shapes(tmp_path: Path) -> None:
    shapes = [
        {"type": "Point", "coordinates": [113.2, 35.1]}, None, {"type": "Point", "coordinates": "x"},
    ]  # fmt: skip
    result = read(saved(tmp_path, {"items": [{"code": "A", "geometry": one} for one in shapes]}))
    assert result.detected.crs == "EPSG:4326"
    assert result.shapes == [shapely.Point(113.2, 35.1), None, None]
    assert [(issue.row, issue.code) for issue in result.odd] == [(3, "bad-geometry")]


def test_codes_keep_their_digits(tmp_path: Path) -> None:
    result = read(saved(tmp_path, '[{"code": 41080000001320000001}, {"code": 4.108e19}]'))
    assert result.column("code") == ["41080000001320000001", "4.1080000000000E+19"]


def test_members_that_are_not_objects_are_reported(tmp_path: Path) -> None:
    result = read(saved(tmp_path, {"items": [EAST, 7, "x"]}))
    assert [(issue.row, issue.code) for issue in result.odd] == [(2, "bad-item"), (3, "bad-item")]


def test_the_named_list_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, {"gates": [{"a": 1}], "data": {"cameras": [{"b": 2}]}})
    result = read(path, layer="data.cameras")
    assert (result.rows, result.detected.layers) == ([{"b": "2"}], ("gates", "data.cameras"))
    assert read(path).rows == [{"a": "1"}]
    with pytest.raises(Invalid) as rejection:
        read(path, layer="none")
    assert rejection.value.code == "unknown-layer"


@pytest.mark.parametrize("content", [
    {"error": "login required"}, [1, 2], [], '[{"code": "A1"},',
    {"meta": {"view": {"columns": [{"name": "x"}]}}, "data": [[1]]},
])  # fmt: skip
def test_json_without_a_list_of_objects_is_rejected(tmp_path: Path, content: Any) -> None:
    with pytest.raises(Invalid) as rejection:
        read(saved(tmp_path, content))
    assert rejection.value.code in ("unsupported-format", "damaged-file")


_JSON = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=4), st.sampled_from(['"', "{[", "}]", "\\"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=12,
)


def _lists(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, list):
        return [path] if value and isinstance(value[0], dict) and len(path) <= 2 else []
    inner = value.items() if isinstance(value, dict) else ()
    return [result for key, member in inner for result in _lists(member, (*path, key))]


@given(_JSON)
def test_lists_are_found_where_they_are(value: Any) -> None:
    assert set(find_tables(json.dumps(value))) == set(_lists(value))
