"""Whole rows through plan and verdict."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.errors import Invalid
from app.imports.record_specs import find_record_spec
from app.ingest.columns.planner import Options, build_plan
from app.ingest.readers.opening import Batch
from app.ingest.validation.batch_validation import BatchResult, validate_batch


def sheet(header: str, *rows: str, divided: str = ",") -> Batch:
    names = header.split(divided)
    cells = [row.split(divided) for row in rows]
    columns = {name: pa.array([line[at] or None for line in cells], pa.string()) for at, name in enumerate(names)}
    return Batch(np.arange(2, len(rows) + 2), columns)


def judged(kind: str, header: str, *rows: str, divided: str = ",", **options: Any) -> BatchResult:
    found = sheet(header, *rows, divided=divided)
    wanted = Options(find_record_spec(kind), **{"jurisdiction": "410800", **options})
    return validate_batch(build_plan(wanted, None, tuple(found.columns), found), found)


def test_a_row_of_the_archive_becomes_a_camera() -> None:
    answer = judged(
        "camera",
        "SBBM,SBMC,JD,WD,SXJGNLX,SXJLX,JSFW,SBZT,AZSJ,AZGD",
        "41080200001321000001,解放路口,113.2418,35.2159,1/2,3,5,1,2024/3/5,6.8米",
    )
    assert answer.issues == []
    (row,) = answer.valid.to_pylist()
    told = {name: row[name] for name in ("code", "functions", "structure", "azimuth_deg")}
    assert told == {
        "code": "41080200001321000001",
        "functions": "{vehicle,face}",
        "structure": "fixed",
        "azimuth_deg": "135.0",
    }
    assert (row["lifecycle"], row["installed_on"], row["mount_height_m"]) == (
        "in_use", "2024-03-05", "6.8",
    )  # fmt: skip


def test_every_fault_of_every_row_is_told() -> None:
    answer = judged(
        "camera",
        "编码,经度,纬度,功能类型,可视距离,安装日期",
        "4.1080000000000E+19,0,0,人脸,abc,2024-13-01",
        "c2,113.2,35.2,什么,30,",
    )
    assert [(fault.row, fault.column, fault.code) for fault in answer.issues] == [
        (2, "编码", "digits-lost"),
        (2, "可视距离", "not-a-number"),
        (2, "安装日期", "not-a-day"),
        (2, "经度", "zero-coordinates"),
        (3, "功能类型", "unknown-code"),
    ]
    assert answer.valid.num_rows == 0


def test_personal_columns_are_refused_by_name_unless_dropped() -> None:
    header, row = "编码,经度,纬度,功能类型,联系人,联系电话", "c1,113.2,35.2,人脸,someone,123"
    with pytest.raises(Invalid) as refused:
        judged("camera", header, row)
    assert refused.value.code == "forbidden-content"
    assert "联系人, 联系电话" in refused.value.detail
    assert judged("camera", header, row, drop_columns=["联系人", "联系电话"]).valid.num_rows == 1


def test_two_numbers_in_a_cell_are_read_in_the_order_the_mapping_says() -> None:
    sent = "编码;功能类型;经纬度", "c1;人脸;35.2, 113.2", "c2;人脸;35.3, 113.3"
    refused = judged("camera", *sent, divided=";")
    assert [fault.code for fault in refused.issues] == ["swapped-coordinates"] * 2
    assert "position@latlon" in str(refused.issues[0].hint)
    read = judged("camera", *sent, divided=";", mapping={"经纬度": "position@latlon"})
    assert read.issues == []
    assert (read.location_count, read.swapped) == (2, 0)
    listed = judged("camera", *sent, divided=";", code_lists={"position": "latlon"})
    assert listed.issues == []
    with pytest.raises(Invalid) as unknown:
        judged("camera", *sent, divided=";", mapping={"经纬度": "position@sideways"})
    assert unknown.value.code == "unknown-code-list"


def test_the_note_of_swapped_axes_says_what_can_be_done() -> None:
    for header, row, told in (
        ("编码;功能类型;经纬度", "c1;人脸;35.2, 113.2", "position@latlon"),
        ("编码;功能类型;经度;纬度", "c1;人脸;35.2;113.2", "Swap the two columns"),
    ):
        found = sheet(header, row, divided=";")
        plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), None, tuple(found.columns), found)
        assert [note.code for note in plan.notes] == ["axes-swapped"]
        assert told in plan.notes[0].message


@pytest.mark.parametrize(
    ("lon", "lat", "column", "code"),
    [
        ("", "35.2", "经度", "missing-coordinates"),
        ("113.2", "", "纬度", "missing-coordinates"),
        ("about", "35.2", "经度", "not-a-coordinate"),
        ("113.2", "about", "纬度", "not-a-coordinate"),
        ("35.2N", "about", "纬度", "not-a-coordinate"),
    ],
)
def test_the_coordinate_that_is_wrong_is_named(lon: str, lat: str, column: str, code: str) -> None:
    (fault,) = judged("camera", "编码,功能类型,经度,纬度", f"c1,人脸,{lon},{lat}").issues
    assert (fault.column, fault.code) == (column, code)
