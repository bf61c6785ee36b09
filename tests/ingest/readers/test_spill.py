"""Stored rows come back as they were, from memory and from the temporary file."""

import shutil
from typing import Any

import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.ingest.readers import named_items, spill
from app.ingest.readers.model import FormatIssue
from app.ingest.readers.named_items import NamedItem, collect_items
from app.ingest.readers.spill import RowStore
from app.messages import Message

_ISSUE = ("bad-item", Message("An item cannot be read."))
_SHAPES = st.sampled_from(
    [None, (1.5, 2.5), shapely.Point(3, 4), shapely.LineString([(0, 0), (1, 1)]),
     shapely.GeometryCollection([shapely.Point(1, 1), shapely.box(0, 0, 1, 1)])]
)  # fmt: skip
_RECORDS = st.lists(
    st.builds(
        NamedItem,
        st.dictionaries(st.sampled_from(["a", "b", " a", "", "row", "shapes", "\ud800"]),
                        st.sampled_from(["x", 1, None, "东\ud800", 2.5, [1]])),
        _SHAPES, st.sampled_from([None, _ISSUE]), st.sampled_from([0, 50]),
    )
)  # fmt: skip
_TEXTS = {"x": "x", 1: "1", None: None, "东\ud800": "东\\ud800", 2.5: "2.5"}


@settings(max_examples=100, deadline=None)
@given(_RECORDS, st.integers(1, 7), st.sampled_from([0, 900, 1 << 20]), st.integers(1, 9))
def test_items_come_back(items: list[NamedItem], at_once: int, memory_bytes: int, together: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "MAX_MEMORY_BYTES", memory_bytes)
        patch.setattr(named_items, "ROWS", together)
        patch.setattr(spill, "ROWS", together + 2)
        patch.setattr(named_items, "_MAX_ITEM_BYTES", 120)
        result = collect_items(iter(items))
    raw = list(dict.fromkeys(name for item in items for name in item.values))
    assert (result.count, len(result.headers)) == (len(items), len(raw))
    for _ in range(2):
        index = 0
        for batch in result.iter_batches(at_once):
            batch_items = items[index : index + len(batch.row_numbers)]
            assert 0 < len(batch_items) <= at_once
            assert batch.row_numbers.tolist() == list(range(index + 1, index + 1 + len(batch_items)))
            for name, key in zip(result.headers, raw, strict=True):
                values = [item.values.get(key) for item in batch_items]
                assert batch.columns[name].to_pylist() == ["[1]" if value == [1] else _TEXTS[value] for value in values]
            shapes = [shapely.Point(item.shape) if isinstance(item.shape, tuple) else item.shape
                      for item in batch_items]  # fmt: skip
            assert (batch.geometry is not None) == any(item.shape is not None for item in items)
            assert batch.geometry is None or list(batch.geometry) == shapes
            assert [odd.row for odd in batch.issues] == [
                index + 1 + location for location, item in enumerate(batch_items) if item.issue
            ]
            index += len(batch_items)
        assert index == len(items)
    result.store.close()


def test_stored_issues_keep_their_message_and_its_parameters() -> None:
    issue = FormatIssue(2, "a", Message("{name} is closed.", name="东门"), column="x", severity="error")
    store = RowStore()
    store.add_rows(3, {"x": pa.array(["1", None, "3"])}, issues=[issue])
    store.flush()
    (batch,) = store.iter_batches(10, ["x"], store.keys)
    assert batch.issues == (issue,)
    message = batch.issues[0].message
    assert (message.template, message.parameters) == ("{name} is closed.", {"name": "东门"})
    assert batch.geometry is None


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    full: Any = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    monkeypatch.setattr(spill, "MAX_MEMORY_BYTES", 0)
    with pytest.raises(Invalid, match="disk space") as rejection:
        collect_items(iter([NamedItem({"a": "x"})]))
    assert rejection.value.code == "unpacks-too-large"
