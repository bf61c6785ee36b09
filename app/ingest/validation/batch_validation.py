"""The verdict on rows: what is good, ready to be written; what is wrong, all of it.

The draft of the kind is the one set of rules. Rows that are certainly good are told by whole columns
at once (`app.ingest.validation.vectorized_validation`); every other row goes through the draft (`app.ingest.validation.row_validation`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.geo.arrays import Bools
from app.ingest.columns.planner import Plan
from app.ingest.readers.opening import Batch, TableReader
from app.ingest.validation import vectorized_validation
from app.ingest.validation.issues import Judged, RowFault
from app.ingest.validation.location import Located, PlaceFault, located
from app.ingest.validation.non_record_rows import passed_over, unsigned
from app.ingest.validation.redaction import told as told_of_people
from app.ingest.validation.redaction import withheld
from app.ingest.validation.row_validation import Row, is_double
from app.ingest.values import gb_codes
from app.ingest.values.copy_text import text_of

__all__ = ["Judged", "RowFault", "batches", "judge"]

_ALL_ROWS = 1_000_000
_ENOUGH = 2
_SHORT = 8
"""By what the first batch is shorter than the others."""


def batches(plan: Plan, source: TableReader, rows: int = 20_000) -> Iterator[Batch]:
    """Yield the rows of a file as `judge` takes them: all lanes of a checkpoint in one batch.

    The first batch is a short one, so that what comes after judging need not wait for a long one.
    """
    if not plan.grouped:
        read = (withheld(batch, plan.dropped) for batch in source.iter_batches(rows))
        first = next(read, None)
        if first is not None:
            yield from _begun(first, max(1, rows // _SHORT))
        yield from read
        return
    parts = [withheld(batch, plan.dropped) for batch in source.iter_batches(_ALL_ROWS)]
    if not parts:
        return
    shapes = None
    if all(part.geometry is not None for part in parts):
        shapes = np.concatenate([np.asarray(part.geometry) for part in parts])
    yield Batch(
        np.concatenate([part.row_numbers for part in parts]),
        {name: pa.chunked_array([part.columns[name] for part in parts]).combine_chunks() for name in parts[0].columns},
        shapes,
        tuple(odd for part in parts for odd in part.issues),
    )


def _begun(batch: Batch, rows: int) -> Iterator[Batch]:
    """Yield the first rows of a batch, and then the rest."""
    if len(batch.row_numbers) <= rows:
        yield batch
        return
    last = batch.row_numbers[rows - 1]
    for part, early in ((slice(rows), True), (slice(rows, None), False)):
        yield Batch(
            batch.row_numbers[part],
            {name: cells[part] for name, cells in batch.columns.items()},
            None if batch.geometry is None else batch.geometry[part],
            tuple(odd for odd in batch.issues if (odd.row <= last) is early),
        )


def judge(plan: Plan, batch: Batch, *, exact: bool = False) -> Judged:
    """Return the good rows of a batch and every fault of the others.

    Parameters
    ----------
    exact : bool
        Send every row through the draft; the answer is the same, and takes longer.
    """
    found = located(plan.place, plan.spec, batch)
    points = int(found.good.sum()) if plan.placed else 0
    judged = Judged(pa.table({}), [], len(batch.row_numbers), points, found.swapped)
    spoilt = _odd(judged, batch) | _no_devices(plan, batch, judged)
    aside, told = passed_over(plan, batch, found.good | spoilt)
    if told:
        judged.faults += told
        spoilt |= aside
        unsigned(batch, aside)
    spoilt |= _withheld(plan, batch, aside, judged)
    hopeful = np.zeros_like(spoilt) if exact else found.good & ~spoilt
    certain, quick = vectorized_validation.certain(plan, batch, hopeful)
    slow = _slowly(plan, batch, found, np.nonzero(~certain & ~spoilt)[0], judged)
    judged.good = _together(plan, batch, found, certain, quick, slow)
    judged.faults.sort(key=lambda fault: fault.row)
    return judged


def _odd(judged: Judged, batch: Batch) -> Bools:
    """Tell of rows whose form is wrong; the values of such a row cannot be trusted."""
    spoilt = np.zeros(len(batch.row_numbers), dtype=bool)
    for odd in batch.issues:
        judged.faults.append(
            RowFault(
                odd.row, odd.column, None, None, odd.code, odd.message, _FORM_ZH.get(odd.code, odd.message),
                _FORM_HINT.get(odd.code), odd.severity,
            )
        )  # fmt: skip
        if odd.severity == "error":
            spoilt |= batch.row_numbers == odd.row
    return spoilt


def _no_devices(plan: Plan, batch: Batch, judged: Judged) -> Bools:
    """Pass over what a GB/T 28181 catalogue has beside devices of the kind.

    Its tree (divisions, platforms, groups, organisations), alarm and audio channels beside cameras, and
    devices that a notification says were deleted.
    """
    feed = next((feed for feed in plan.feeds if feed.spec.name == "code"), None)
    nothing = np.zeros(len(batch.row_numbers), dtype=bool)
    if plan.recognised != "gbt28181" or plan.spec.name not in gb_codes.TYPES_OF or feed is None:
        return nothing
    codes = batch.columns[feed.columns[0]]
    found = [(_matching(codes, _TREE), _NODE)]
    if plan.spec.name == "camera":
        found.append((_matching(codes, _OTHER_TYPES), _OTHER))
    if "Event" in batch.columns:
        found.append((_matching(batch.columns["Event"], "^(?i:del)$"), _DELETED))
    for rows, (english, chinese) in found:
        for index in np.flatnonzero(rows & ~nothing):
            judged.faults.append(
                RowFault(
                    int(batch.row_numbers[index]), feed.columns[0], "code", codes[int(index)].as_py(), "not-a-device",
                    english, chinese, None, "warning",
                )
            )  # fmt: skip
        nothing |= rows
    return nothing


def _withheld(plan: Plan, batch: Batch, aside: Bools, judged: Judged) -> Bools:
    """Leave out what somebody has written of logins and people, and refuse the rows of records."""
    spoilt = np.zeros(len(batch.row_numbers), dtype=bool)
    for at, columns in told_of_people(batch, plan.dropped).items():
        if aside[at]:
            continue
        spoilt[at] = True
        judged.faults += [RowFault(int(batch.row_numbers[at]), name, None, None, *_TOLD) for name in columns]
    return spoilt


_TOLD = (
    "forbidden-content",
    "the cell tells a password, or the phone or identity number of a person; it is left out",
    "单元格写有密码、个人电话或身份证号，本库只存设备与地点；该内容已隐去，未保存",
    "take it out of the text, or name the column in drop_columns",
)


def _matching(column: Any, pattern: str) -> Bools:
    found = pc.fill_null(pc.match_substring_regex(column, pattern), False)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


_NODE = (
    "a division, platform, group or organisation of the catalogue, not a device; passed over",
    "目录中的行政区划、平台、分组或组织节点，不是设备，已略过",
)
_OTHER = (
    "an alarm, audio or other channel of the catalogue by digits 11-13 of its code, no camera; passed over",
    "按编码第 11-13 位为目录中的报警、音频等通道，不是摄像机，已略过",
)
_DELETED = (
    "the notification says that the device was deleted from the platform; passed over, and what is registered stays",
    "通知称该设备已从平台删除（Event=DEL），已略过；已登记的记录保持不变",
)
_TREE = r"^(?:[0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{8}|[0-9]{10}(?:2[0-9]{2})[0-9]{7})$"
"""Codes of the tree: a division of 2 to 8 digits, or twenty digits of a platform type (200-299)."""
_PERIPHERAL = sorted({*range(112, 118), *range(133, 140)} - gb_codes.TYPES_OF["camera"])
_OTHER_TYPES = rf"^[0-9]{{10}}(?:{'|'.join(map(str, _PERIPHERAL))})[0-9]{{7}}$"
"""Codes of encoders, decoders, switches, alarm controllers, displays, alarm and audio channels."""
_FORM_HINT = {
    "bad-geometry": "a ring of a polygon ends where it begins and has four points or more; coordinates are numbers",
}
_FORM_ZH = {
    "bad-geometry": "该行的几何无法读取",
    "bad-item": "该条目无法读取",
    "cut-item": "最后一个条目不完整",
    "cut-text": "该行的文字在写出时被截断在字符中间",
    "long-text-edited": "长文本超出 Shapefile 字段长度，其开头部分被改动；请用其他格式修改",
    "long-text-missing": "长文本的其余部分在 texts.jsonl 中，压缩包内没有导出时的该文件",
    "forbidden-content": "单元格含登录信息或图像，本库只存设备与地点；该内容已隐去，未保存",
    "too-many-cells": "该行的单元格多于表头",
    "too-few-cells": "该行的单元格少于表头",
}


def _slowly(
    plan: Plan, batch: Batch, found: Located, rows: NDArray[np.int64], judged: Judged
) -> dict[int, dict[str, Any]]:
    """Judge rows one by one; return the values of the good ones by place in the batch."""
    names = {column for feed in plan.feeds for column in feed.columns}
    taken = {name: batch.columns[name].take(pa.array(rows)).to_pylist() for name in names}
    cells = [{name: taken[name][at] for name in names} for at in range(len(rows))]
    bad: dict[int, list[PlaceFault]] = {}
    for fault in found.faults:
        bad.setdefault(fault.index, []).append(fault)
    good = {}
    rounded = _rounded(plan, batch)
    for members in _groups(plan, cells):
        first = int(rows[members[0]])
        numbers = [int(batch.row_numbers[rows[at]]) for at in members]
        if len(numbers) > 1:
            judged.groups.append(tuple(numbers))
        row = Row(plan, numbers, [cells[at] for at in members], rounded=rounded)
        row.read()
        for fault in bad.get(first, ()):
            row.refuse_place(fault)
        placed = plan.placed and bool(found.good[first])
        values = row.verdict(found.shape(first) if placed else None)
        judged.faults += row.faults
        if values is not None:
            good[first] = values
    return good


def _rounded(plan: Plan, batch: Batch) -> bool:
    """Tell whether the twenty-digit codes of a batch were rounded on the way: most are whole doubles."""
    feed = next((feed for feed in plan.feeds if feed.spec.name == "code"), None)
    if feed is None:
        return False
    column = batch.columns[feed.columns[0]]
    long = pc.sum(pc.match_substring_regex(column, "^[0-9]{20}$")).as_py() or 0
    doubtful = column.filter(pa.array(vectorized_validation.maybe_rounded(column))).to_pylist()
    rounded = sum(map(is_double, doubtful))
    return bool(rounded >= _ENOUGH and 2 * rounded >= long)


def _groups(plan: Plan, cells: list[dict[str, str | None]]) -> list[list[int]]:
    """Return rows that make one record: one each, or all lanes of a checkpoint."""
    if not plan.grouped:
        return [[at] for at in range(len(cells))]
    columns = {feed.spec.name: feed.columns[0] for feed in plan.feeds}
    key: tuple[str, ...] = ("code",)
    if "code" not in columns and plan.key == "owner_reference":
        key = ("owner_unit", "owner_reference")
    groups: dict[object, list[int]] = {}
    for at, row in enumerate(cells):
        names = tuple(row[columns[name]] if name in columns else None for name in key)
        groups.setdefault(at if None in names else names, []).append(at)
    return list(groups.values())


def _together(
    plan: Plan,
    batch: Batch,
    found: Located,
    certain: Bools,
    quick: dict[str, Any],
    slow: dict[int, dict[str, Any]],
) -> Any:
    """Return one table of the quick and the slow rows, in the order of the file."""
    few = np.array(sorted(slow), dtype=np.int64)
    rows = np.concatenate([np.nonzero(certain)[0], few])
    columns = {}
    for name in plan.spec.fields:
        exact = pa.array([text_of(slow[int(at)].get(name)) for at in few], pa.string())
        columns[name] = pa.chunked_array([quick[name], exact]) if name in quick else exact
    if plan.placed:
        columns["geometry"] = found.hexed(plan.spec, rows)
    table = pa.table({"row": pa.array(batch.row_numbers[rows], pa.int64()), **columns})
    if len(few) and certain.any():
        table = table.take(pc.sort_indices(table["row"]))
    return table.combine_chunks()
