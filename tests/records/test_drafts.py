"""Merge patches (RFC 7396) and JSON Pointers (RFC 6901)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Invalid, build_pointer
from app.records import payloads
from app.records.kinds import CAMERA
from tests.builders import camera, point

VECTORS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""Appendix A of RFC 7396, where targets and patches are objects."""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=4)


@pytest.mark.parametrize(("target", "patch", "result"), VECTORS)
def test_vectors_of_the_standard(target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    assert payloads.apply_merge_patch(target, patch) == result


@settings(deadline=None)
@given(objects, objects)
def test_a_patch_applied_twice_changes_as_much_as_once(target: dict[str, Any], patch: dict[str, Any]) -> None:
    once = payloads.apply_merge_patch(target, patch)
    assert payloads.apply_merge_patch(once, patch) == once


@settings(deadline=None)
@given(objects)
def test_an_empty_patch_changes_nothing(target: dict[str, Any]) -> None:
    assert payloads.apply_merge_patch(target, {}) == target


def test_a_patch_does_not_change_its_target() -> None:
    target = {"a": {"b": 1}}
    payloads.apply_merge_patch(target, {"a": {"b": 2}})
    assert target == {"a": {"b": 1}}


def test_a_geometry_is_replaced_as_a_whole() -> None:
    merged = payloads.apply_merge_patch({"geometry": point()}, {"geometry": {"type": "Point"}})
    assert merged == {"geometry": {"type": "Point"}}


def test_a_feature_patches_its_properties_and_geometry() -> None:
    feature = {"type": "Feature", "geometry": point(113.3), "properties": {"name_en": "x"}}
    merged = payloads.apply_merge_patch(camera(), feature)
    assert (merged["geometry"], merged["name_en"]) == (point(113.3), "x")


@pytest.mark.parametrize("patch", [None, 5, "x", [], [{}]])
def test_a_patch_must_be_an_object(patch: object) -> None:
    with pytest.raises(Invalid):
        payloads.apply_merge_patch({}, patch)


def test_pointers_are_escaped() -> None:
    assert build_pointer(["a/b", 0, "m~n", ""]) == "/a~1b/0/m~0n/"


@pytest.mark.parametrize("stated", ["other", 5, ["camera-1"], {}])
def test_the_code_of_the_body_must_be_the_code_of_the_url(stated: object) -> None:
    with pytest.raises(Invalid) as refused:
        payloads.parse_draft(CAMERA, {**camera(), "code": stated}, code="camera-1")
    assert refused.value.issues[0].code == "code-mismatch"


@pytest.mark.parametrize("body", [camera(), {k: v for k, v in camera().items() if k != "code"}])
def test_the_code_may_be_in_the_url_only(body: dict[str, Any]) -> None:
    assert getattr(payloads.parse_draft(CAMERA, body, code="camera-1"), "code") == "camera-1"  # noqa: B009
