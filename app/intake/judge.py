"""The verdict on rows: what is good, ready to be written; what is wrong, all of it.

The draft of the kind is the one set of rules: a row that is not certainly good goes through it.
"""

from base64 import b32encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
from pydantic import ValidationError

from app.intake import faults, places
from app.intake.cells import Unreadable
from app.intake.faults import Judged, RowFault, Rows
from app.intake.plan import Feed, Plan

__all__ = ["Judged", "RowFault", "judge"]

_ANYWHERE = shapely.Point(0, 0)
"""Stands in for a place that is at fault already, so that the draft judges the rest."""


def judge(plan: Plan, batch: Rows) -> Judged:
    """Return the good rows of a batch and every fault of the others."""
    found = places.located(plan.place, plan.kind, batch)
    judged = Judged(pa.table({}), [], len(batch.row), int(found.good.sum()), found.swapped)
    cells = {c: batch.columns[c].to_pylist() for feed in plan.feeds for c in feed.columns}
    kept: list[int] = []
    written: dict[str, list[str | None]] = {name: [] for name in plan.kind.fields}
    by_row: dict[int, list[places.PlaceFault]] = {}
    for fault in found.faults:
        by_row.setdefault(fault.index, []).append(fault)
    for index in range(len(batch.row)):
        row = _Row(plan, int(batch.row[index]), {c: cells[c][index] for c in cells})
        row.read()
        for fault in by_row.get(index, ()):
            row.place_fault(fault)
        values = row.verdict(
            None if not plan.kind.shapes or not found.good[index] else found.shape(index)
        )
        judged.faults += row.faults
        if values is not None:
            kept.append(index)
            for name in written:
                written[name].append(text_of(values.get(name)))
    rows = np.array(kept, dtype=np.int64)
    columns: dict[str, Any] = {"row": pa.array(batch.row[rows], pa.int64())}
    columns |= {name: pa.array(texts, pa.string()) for name, texts in written.items()}
    if plan.kind.shapes:
        columns["geometry"] = places.hexed(found, plan.kind, rows)
    judged.good = pa.table(columns)
    return judged


class _Row:
    """One row on its way through the draft."""

    def __init__(self, plan: Plan, number: int, cells: Mapping[str, str | None]) -> None:
        self.plan, self.number, self.cells = plan, number, cells
        self.record: dict[str, Any] = {}
        self.faults: list[RowFault] = []
        self.unread: set[str] = set()
        self.column_of = {feed.field.name: feed.columns[0] for feed in plan.feeds}

    def read(self) -> None:
        for feed in self.plan.feeds:
            text = self._text(feed)
            if text is None:
                continue
            try:
                self._set(feed, feed.reader.read(text))
            except Unreadable as reason:
                self.unread.add(feed.field.name)
                self._add(
                    feed.columns[0],
                    feed.field.name,
                    text,
                    reason.code,
                    reason.english,
                    reason.chinese,
                    reason.hint,
                )
        for name, value in self.plan.defaults.items():
            if name not in self.record and name not in self.unread:
                self.record[name] = value
        if self.plan.key == "owner_reference" and "code" not in self.record:
            self._derive_code()

    def _text(self, feed: Feed) -> str | None:
        texts = [text for column in feed.columns if (text := self.cells[column]) is not None]
        joint = "-" if feed.field.form == "code" else " "
        return joint.join(texts) if texts else None

    def _set(self, feed: Feed, value: Any) -> None:
        self.record[feed.field.name] = value

    def _derive_code(self) -> None:
        owner, reference = self.record.get("owner_unit"), self.record.get("reference")
        if owner and reference:
            self.record["code"] = reference_code(owner, reference)

    def place_fault(self, fault: places.PlaceFault) -> None:
        columns = self.plan.place.columns
        value = fault.value
        self._add(
            columns[0] if columns else None,
            "geometry",
            value,
            fault.code,
            fault.message,
            fault.message_zh,
            fault.hint,
        )

    def verdict(self, shape: Any) -> dict[str, Any] | None:
        kind = self.plan.kind
        record = {name: value for name, value in self.record.items() if name in kind.fields}
        own_geometry = "geometry" in kind.draft.model_fields
        if own_geometry:
            record["geometry"] = _ANYWHERE if shape is None else shape
        try:
            draft = kind.draft.model_validate(record)
        except ValidationError as error:
            self._take(error, record)
            return None
        if any(fault.severity == "error" for fault in self.faults):
            return None
        values = draft.model_dump(mode="json", exclude={"geometry"})
        if kind.name == "state" and "reported_at" not in record:
            values["reported_at"] = None
        return values

    def _take(self, error: ValidationError, record: Mapping[str, Any]) -> None:
        for found, name in faults.errors_of(error):
            if name in self.unread:
                continue
            column = self.column_of.get(name or "")
            code, english, chinese, hint = faults.of_error(
                found, self.plan.kind.name, record.get("code")
            )
            value = None if column is None else self.cells.get(column)
            self._add(column, name, value, code, english, chinese, hint)

    def _add(self, column: str | None, field: str | None, value: Any, *told: str | None) -> None:
        code, english, chinese, hint = told
        self.faults.append(
            RowFault(
                self.number,
                column,
                field,
                faults.shown(value),
                code or "",
                english or "",
                chinese or "",
                hint,
            )
        )


def reference_code(owner: str, reference: str) -> str:
    """Return the code of a thing known by its owner's number: always the same for the same two.

    >>> reference_code("市公安局", "A-17")
    'ref:UJ5JX7OC6PPOFKFZ'
    """
    digest = sha256(f"{owner}\x00{reference}".encode()).digest()
    return "ref:" + b32encode(digest)[:16].decode()


def text_of(value: Any) -> str | None:
    """Return a value as the text that PostgreSQL reads into its column.

    >>> text_of(["face", "vehicle"]), text_of(True), text_of(0.5), text_of([{"lane": 1}])
    ('{face,vehicle}', 'true', '0.5', '[{"lane":1}]')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "{" + ",".join(_quoted(part) for part in value) + "}"
    return orjson.dumps(value).decode()


def _quoted(text: str) -> str:
    if text.replace("_", "").isalnum():
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
