"""Rows of printed sheets that are no records: passed over with a warning, never a record."""

from typing import Any

import pytest

from app.imports.record_specs import find_record_spec
from app.ingest.columns.planner import Options, build_plan
from app.ingest.validation.batch_validation import validate_batch
from tests.ingest.validation.test_judge import judged, sheet

HEAD = "序号,设备编码,设备名称,经度,纬度,功能类型,状态"
GOOD = "1,c1,解放路口,113.2,35.2,人脸,在线"


@pytest.mark.parametrize(
    "row",
    [
        "合计,,,,,,", "合 计,2,,,,,", ",总计：2 台,,,,,", "解放区小计,12台,,,,,", "Total,2,,,,,", "总计,,2,,,2,2",
        "备注：坐标为 WGS84,,,,,,", "注：1、以上设备均已上线,,,,,,", ",说明：略,,,,,", "制表人：张三,,,审核人：李四,,,",
        "第 1 页 共 3 页,,,,,,", "共 120 条,,,,,,", "Page 1 of 3,,,,,,", "数据来源：市局,,,,,,", "一、解放区,,,,,,",
        "（二）山阳区,,,,,,", HEAD, ",设备编码,,坐标,,,",
    ],
)  # fmt: skip
def test_a_row_that_is_no_record_is_passed_over(row: str) -> None:
    answer = judged("camera", HEAD, GOOD, row, GOOD.replace("c1", "c2"))
    assert [(f.row, f.code, f.severity, f.value) for f in answer.issues] == [(3, "not-a-record", "warning", None)]
    assert answer.valid["code"].to_pylist() == ["c1", "c2"]
    assert answer.valid["state"].to_pylist() == ["online", "online"]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("合计,c9,总计,113.2,35.2,人脸,在线", None),  # a code and a place
        ("合计,c9,,,,人脸,", "geometry-missing"),
        ("7,c9,小计路口,,,人脸,", "geometry-missing"),
        ("8,,备注：x,,,人脸,", "geometry-missing"),
        (",c9,,,,,", "geometry-missing"),
        ("9,c9,注册中心,,35.2,人脸,", "missing-coordinates"),
    ],
)
def test_a_record_with_something_missing_is_an_error_as_ever(row: str, code: str | None) -> None:
    answer = judged("camera", HEAD, GOOD, row)
    errors = {fault.code for fault in answer.issues if fault.severity == "error"}
    assert (code in errors) if code else not answer.issues
    assert "not-a-record" not in {fault.code for fault in answer.issues}


def test_a_title_between_pages_is_passed_over_with_its_header() -> None:
    answer = judged("camera", HEAD, GOOD, "焦作市摄像机台账,,,,,,", HEAD, GOOD.replace("c1", "c2"))
    assert [(f.row, f.code) for f in answer.issues] == [(3, "not-a-record"), (4, "not-a-record")]
    alone = judged("camera", HEAD, GOOD, "焦作市摄像机台账,,,,,,", GOOD.replace("c1", "c2"))
    assert "not-a-record" not in {fault.code for fault in alone.issues}


def test_a_heading_said_again_does_not_hide_what_a_column_means() -> None:
    answer = judged("camera", "编码,类型,经度,纬度", "c1,人脸,113.2,35.2", "编码,类型,经度,纬度")
    assert answer.valid["functions"].to_pylist() == ["{face}"]


def test_states_and_lanes_have_such_rows_too() -> None:
    answer = judged("state", "编码,状态", "c1,在线", "合计,1", "编码,状态", "备注：无,")
    assert [(f.row, f.code) for f in answer.issues] == [(row, "not-a-record") for row in (3, 4, 5)]
    header = "卡口编码,卡口名称,经度,纬度,方向,卡口种类,车道编号"
    answer = judged(
        "checkpoint",
        header,
        "k1,东,113.2,35.2,进城,车辆,1",
        "k1,东,113.2,35.2,进城,车辆,2",
        "合计,2,,,,,",
    )
    assert [(f.row, f.code) for f in answer.issues] == [(4, "not-a-record")]
    assert answer.valid["code"].to_pylist() == ["k1"]


def test_whom_a_signature_names_is_not_kept() -> None:
    batch = sheet(HEAD, GOOD, "制表人：张三  审核：李四,,,联系电话:13800000000,,,")
    plan: Any = build_plan(
        Options(find_record_spec("camera"), jurisdiction="410800"), None, tuple(batch.columns), batch
    )
    validate_batch(plan, batch)
    kept = " ".join(str(column.to_pylist()) for column in batch.columns.values())
    assert "制表人：" in kept
    assert not any(word in kept for word in ("张三", "李四", "13800000000"))


@pytest.mark.parametrize(
    "row",
    [
        "（盖章）", "以下空白", "—— 完 ——", "【以下空白】", "山阳区", "解放分局（共12处）", "2.编码为二十位", "局长：王五", "數據截止2024年3月",
        "單位負責人簽字：王五", "主管：王五,制表：李四", "签名：,王五", "经办人,王五,审核人,李四", "联系人：王五,,,,,13800000000",
    ],
)  # fmt: skip
def test_what_is_printed_below_a_table_is_no_record_and_names_nobody(row: str) -> None:
    line = row + "," * (HEAD.count(",") - row.count(","))
    batch = sheet(HEAD, GOOD, line)
    plan: Any = build_plan(
        Options(find_record_spec("camera"), jurisdiction="410800"), None, tuple(batch.columns), batch
    )
    found = validate_batch(plan, batch)
    assert [(fault.row, fault.code) for fault in found.issues] == [(3, "not-a-record")]
    kept = " ".join(str(column.to_pylist()) for column in batch.columns.values())
    assert not any(word in kept for word in ("王五", "李四", "13800000000"))


@pytest.mark.parametrize("row", ["值班室,,备注：门口,,,人脸,", "东口：二号杆,c9,,,,人脸,"])
def test_a_record_is_no_label(row: str) -> None:
    answer = judged("camera", HEAD, GOOD, row)
    assert "not-a-record" not in {fault.code for fault in answer.issues}
