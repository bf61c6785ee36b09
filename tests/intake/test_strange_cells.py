"""Cells as strangers send them: nothing written in words, failed formulas, logins and pictures."""

import json
from pathlib import Path

import pytest
from formats.files import read, written

from app.formats.source import open_source
from app.intake.judge import Judged, batches, judge
from app.intake.options import Options
from app.intake.plan import plan_for
from app.schemas.forbidden import forbidden

_HEAD = "设备编码,设备名称,经度,纬度,功能类型,安装高度,安装日期,备注"
_ROW = "41080200001321000001,解放路东,113.2418,35.2159,车辆"


def _judged(folder: Path, *rows: str) -> tuple[Judged, list[str | None]]:
    path = written(folder, "\n".join((_HEAD, *rows)) + "\n")
    with open_source(path) as source:
        plan = plan_for(
            Options("camera", jurisdiction="410800"), source.detected, source.columns, None
        )
        (batch,) = batches(plan, source)
        return judge(plan, batch), batch.columns["备注"].to_pylist()


@pytest.mark.parametrize("word", ["无", "/", "-", "——", "NULL", "\\N", "N/A", "<Null>", "暂无"])
def test_a_word_for_nothing_is_no_number_and_no_day(tmp_path: Path, word: str) -> None:
    found, _ = _judged(tmp_path, f"{_ROW},{word},{word},")
    assert found.faults == []
    (row,) = found.good.to_pylist()
    assert (row["mount_height_m"], row["installed_on"]) == (None, None)


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#DIV/0!", "#NAME?"])
def test_a_failed_formula_is_no_text(tmp_path: Path, error: str) -> None:
    found, _ = _judged(tmp_path, f"{_ROW},,,{error}", f"{_ROW},{error},,")
    assert {(fault.row, fault.code) for fault in found.faults} == {
        (2, "cell-error"),
        (3, "cell-error"),
    }
    assert not found.good.num_rows


@pytest.mark.parametrize(
    "cell",
    [
        "rtsp://admin:12345@10.1.1.1/h264",
        "见 http://u:p@10.1.1.1",
        "data:image/png;base64-iVBORw0KGgo",
        '"{""设备"": {""Password"": ""x""}}"',
        '"[{""a"": {""coordinates"": 1; ""b"": 2}}]"'.replace("; ", ", ").replace("b", "手机号"),
    ],
)
def test_logins_and_pictures_in_innocent_columns_are_blanked_and_refused(
    tmp_path: Path, cell: str
) -> None:
    found, kept = _judged(
        tmp_path, f"{_ROW},,,{cell}", f"{_ROW[:19]}2{_ROW[20:]},,,见 http://a.b/c"
    )
    assert [(fault.row, fault.column, fault.code) for fault in found.faults] == [
        (2, "备注", "forbidden-content")
    ]
    assert found.faults[0].value is None
    assert kept == [None, "见 http://a.b/c"]
    assert found.good["row"].to_pylist() == [3]


def test_a_login_in_a_network_address_is_not_repeated(tmp_path: Path) -> None:
    path = written(tmp_path, f"{_HEAD.replace('备注', 'IP地址')}\n{_ROW},,,admin:12345@10.0.0.1\n")
    with open_source(path) as source:
        plan = plan_for(Options("camera", jurisdiction="410800"), source.detected, source.columns)
        (batch,) = batches(plan, source)
        (fault,) = judge(plan, batch).faults
    assert (fault.column, fault.value) == ("IP地址", None)


def test_what_a_device_can_do_is_no_forbidden_name() -> None:
    assert not any(map(forbidden, ("车牌识别", "plate_reader function", "号牌识别功能", "车站路")))
    assert all(map(forbidden, ("车牌识别结果", "plate_reader_result", "车牌号码", "plate")))


def test_a_code_with_thousands_separators_keeps_its_digits(tmp_path: Path) -> None:
    row = _ROW.replace("41080200001321000001", '"41,080,200,001,321,000,001"')
    found, _ = _judged(tmp_path, f"{row},,,")
    assert found.good["code"].to_pylist() == ["41080200001321000001"]


def test_members_that_are_no_features_are_rows_at_fault(tmp_path: Path) -> None:
    point = {
        "type": "Feature",
        "properties": {"code": "A"},
        "geometry": {"type": "Point", "coordinates": [1, 2]},
    }
    content = json.dumps({"type": "FeatureCollection", "features": [point, None, 5, point]})
    found = read(written(tmp_path, content, "a.geojson"))
    assert found.column("code") == ["A", None, None, "A"]
    assert [(odd.row, odd.code, odd.severity) for odd in found.odd] == [
        (2, "bad-item", "error"),
        (3, "bad-item", "error"),
    ]
