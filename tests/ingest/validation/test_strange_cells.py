"""Cells as strangers send them: nothing written in words, failed formulas, logins and pictures."""

import json
from pathlib import Path

import pytest

from app.imports.record_specs import find_record_spec
from app.ingest.columns.options import Options
from app.ingest.columns.planner import build_plan
from app.ingest.readers.opening import open_source
from app.ingest.validation.batch_validation import BatchResult, iter_batches, validate_batch
from app.ingest.values.cell_parsing import NO_VALUE_SIGN_SPELLINGS
from app.ingest.values.forbidden_names import is_forbidden_name
from tests.ingest.readers.files import read, written

_HEAD = "设备编码,设备名称,经度,纬度,功能类型,安装高度,安装日期,备注"
_ROW = "41080200001321000001,解放路东,113.2418,35.2159,车辆"


def _judged(folder: Path, *rows: str) -> tuple[BatchResult, list[str | None]]:
    path = written(folder, "\n".join((_HEAD, *rows)) + "\n")
    with open_source(path) as source:
        plan = build_plan(
            Options(find_record_spec("camera"), jurisdiction="410800"), source.detected, source.columns, None
        )
        (batch,) = iter_batches(plan, source)
        return validate_batch(plan, batch), batch.columns["备注"].to_pylist()


@pytest.mark.parametrize("word", ["无", "/", "-", "——", "NULL", "\\N", "N/A", "<Null>", "暂无"])
def test_a_word_for_nothing_is_no_number_and_no_day(tmp_path: Path, word: str) -> None:
    found, _ = _judged(tmp_path, f"{_ROW},{word},{word},")
    assert found.issues == []
    (row,) = found.valid.to_pylist()
    assert (row["mount_height_m"], row["installed_on"]) == (None, None)


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#DIV/0!", "#NAME?"])
def test_a_failed_formula_is_no_text(tmp_path: Path, error: str) -> None:
    found, _ = _judged(tmp_path, f"{_ROW},,,{error}", f"{_ROW},{error},,")
    assert {(fault.row, fault.code) for fault in found.issues} == {
        (2, "cell-error"),
        (3, "cell-error"),
    }
    assert not found.valid.num_rows


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
def test_logins_and_pictures_in_innocent_columns_are_blanked_and_refused(tmp_path: Path, cell: str) -> None:
    found, kept = _judged(tmp_path, f"{_ROW},,,{cell}", f"{_ROW[:19]}2{_ROW[20:]},,,见 http://a.b/c")
    assert [(fault.row, fault.column, fault.code) for fault in found.issues] == [(2, "备注", "forbidden-content")]
    assert found.issues[0].value is None
    assert kept == [None, "见 http://a.b/c"]
    assert found.valid["row"].to_pylist() == [3]


def test_a_login_in_a_network_address_is_not_repeated(tmp_path: Path) -> None:
    path = written(tmp_path, f"{_HEAD.replace('备注', 'IP地址')}\n{_ROW},,,admin:12345@10.0.0.1\n")
    with open_source(path) as source:
        plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), source.detected, source.columns)
        (batch,) = iter_batches(plan, source)
        (fault,) = validate_batch(plan, batch).issues
    assert (fault.column, fault.value) == ("IP地址", None)


def test_what_a_device_can_do_is_no_forbidden_name() -> None:
    assert not any(map(is_forbidden_name, ("车牌识别", "plate_reader function", "号牌识别功能", "车站路")))
    assert not any(map(is_forbidden_name, ("Info.PhotoelectricImagingType", "抓拍图片分辨率")))
    assert all(map(is_forbidden_name, ("密碼", "聯絡人", "身份證號", "電話", "車牌號碼", "圖片")))
    assert all(map(is_forbidden_name, ("车牌识别结果", "plate_reader_result", "车牌号码", "plate")))


def test_a_code_with_thousands_separators_keeps_its_digits(tmp_path: Path) -> None:
    row = _ROW.replace("41080200001321000001", '"41,080,200,001,321,000,001"')
    found, _ = _judged(tmp_path, f"{row},,,")
    assert found.valid["code"].to_pylist() == ["41080200001321000001"]


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


_OWNED = "设备编码,设备名称,经度,纬度,功能类型,管理单位,资产编号,杆号,IP地址,所属防控点,使用状态,备注"


@pytest.mark.parametrize(
    "word",
    ["无", "/", "-", "——", "NULL", "Null", "\\N", "N/A", "(null)", "暂无", "未知", "／", "？"],
)
@pytest.mark.parametrize("exact", [True, False])
def test_a_word_for_nothing_is_no_pole_and_no_unit(tmp_path: Path, word: str, exact: bool) -> None:
    rows = [f"{_ROW[:19]}{at}{_ROW[20:]},{word},{word},{word},{word},{word},,{word}" for at in range(1, 3)]
    path = written(tmp_path, "\n".join((_OWNED, *rows)) + "\n")
    with open_source(path) as source:
        plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), source.detected, source.columns)
        (batch,) = iter_batches(plan, source)
        found = validate_batch(plan, batch, exact=exact)
    assert found.issues == []
    for row in found.valid.to_pylist():
        fields = ("owner_unit", "owner_reference", "failure_group", "network_address")
        assert [row[name] for name in (*fields, "control_point")] == [None] * 5
        assert row["notes"] == (None if word in NO_VALUE_SIGN_SPELLINGS else word)


def test_a_word_for_nothing_is_no_state_of_a_device_and_no_code(tmp_path: Path) -> None:
    found, _ = _judged(tmp_path, f"{_ROW},,,".replace("车辆", "无"), "NULL,甲,113.2,35.2,车辆,,,")
    assert [(fault.row, fault.field, fault.code) for fault in found.issues] == [
        (2, "functions", "unknown-code"),
        (3, "code", "missing"),
    ]


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        ("无", "无", "geometry-missing"), ("/", "", "geometry-missing"), ("113.2", "暂无", "missing-coordinates"),
        ("见附图", "无", "missing-coordinates"), ("见附图", "35.2", "not-a-coordinate"),
    ],
)  # fmt: skip
def test_a_word_for_nothing_is_no_place(tmp_path: Path, lon: str, lat: str, code: str) -> None:
    found, _ = _judged(tmp_path, f"41080200001321000001,解放路东,{lon},{lat},车辆,,,")
    assert [fault.code for fault in found.issues] == [code]


@pytest.mark.parametrize(
    "day",
    [
        "2024‑3‑5",
        "2024—03—05",
        "2024年3月5日星期二",
        "2024/3/5（周二）",
        "2024/3/5 上午 8:30",
        "2024-03-05 PM 2:05",
    ],
)
def test_a_day_with_long_dashes_or_a_weekday_is_read(tmp_path: Path, day: str) -> None:
    found, _ = _judged(tmp_path, f"{_ROW},,{day},")
    assert found.issues == []
    assert found.valid["installed_on"].to_pylist() == ["2024-03-05"]


def test_a_code_with_another_hyphen_is_the_same(tmp_path: Path) -> None:
    found, _ = _judged(tmp_path, _ROW.replace("41080200001321000001", "KK‑0–12") + ",,,")
    assert found.valid["code"].to_pylist() == ["KK-0-12"]


@pytest.mark.parametrize(
    "text",
    [
        "用户名admin 密码：12345", "口令=abc", "Password: x1", "密码Hik12345", "联系人张三，电话 138-1234-5678",
        "手机13812345678", "负责人 李四 +86 13912345678", "身份证号：41080219900101001X",
    ],
)  # fmt: skip
def test_logins_and_phones_in_a_remark_are_blanked_and_refused(tmp_path: Path, text: str) -> None:
    found, _ = _judged(tmp_path, f"{_ROW},,,{text}", f"{_ROW[:19]}2{_ROW[20:]},,,值班室旁")
    assert [(fault.row, fault.column, fault.code, fault.value) for fault in found.issues] == [
        (2, "备注", "forbidden-content", None)
    ]
    assert found.valid["row"].to_pylist() == [3]


@pytest.mark.parametrize(
    "text",
    [
        "电话亭旁",
        "密码锁店门口",
        "联系杆 3 号",
        "负责人民路段",
        "手机信号塔下 2024",
        "mobile phone shop",
    ],
)
def test_words_of_places_are_no_secrets(tmp_path: Path, text: str) -> None:
    found, kept = _judged(tmp_path, f"{_ROW},,,{text}")
    assert (found.issues, kept) == ([], [text])


def test_a_signature_with_a_phone_is_passed_over_and_kept_nowhere(tmp_path: Path) -> None:
    found, kept = _judged(tmp_path, f"{_ROW},,,", "制表人：张三,,,,,,,联系电话：13812345678")
    assert [(fault.row, fault.code) for fault in found.issues] == [(3, "not-a-record")]
    assert not any("138" in text for text in kept if text)


@pytest.mark.parametrize("exact", [True, False])
def test_a_structure_is_no_name(tmp_path: Path, exact: bool) -> None:
    row = _ROW.replace("解放路东", '"{""zh"": ""解放路东""}"')
    plain = f"{_ROW[:19]}2{_ROW[20:]}".replace("解放路东", "{甲}")
    path = written(tmp_path, "\n".join((_HEAD, f"{row},,,", f"{plain},,,")) + "\n")
    with open_source(path) as source:
        plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), source.detected, source.columns)
        (batch,) = iter_batches(plan, source)
        found = validate_batch(plan, batch, exact=exact)
    assert [(fault.row, fault.field, fault.code) for fault in found.issues] == [(2, "name_zh", "not-text")]
    assert found.valid["name_zh"].to_pylist() == ["{甲}"]


@pytest.mark.parametrize("exact", [True, False])
def test_codes_that_went_through_a_float_are_lost(tmp_path: Path, exact: bool) -> None:
    true = [f"4108020000132027{at:04d}" for at in range(3066, 3070)]
    rounded = [f"{float(code):.0f}" for code in true]
    assert not any(code.endswith("00000") for code in rounded)
    found = _codes_judged(tmp_path, rounded, exact=exact)
    assert {(fault.field, fault.code) for fault in found.issues} == {("code", "digits-lost")}
    assert not found.valid.num_rows
    one = _codes_judged(tmp_path, [*true, "41080200001320271872"], exact=exact)  # one in 8192 is so
    assert (one.issues, one.valid.num_rows) == ([], 5)


def _codes_judged(folder: Path, codes: list[str], *, exact: bool) -> BatchResult:
    lines = [_HEAD, *(f"{code}{_ROW[20:]},,," for code in codes)]
    with open_source(written(folder, "\n".join(lines) + "\n")) as source:
        plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), source.detected, source.columns)
        (batch,) = iter_batches(plan, source)
        return validate_batch(plan, batch, exact=exact)


@pytest.mark.parametrize(
    ("cell", "turn"),
    [
        ("东→西", 270), ("南 -> 北", 0), ("由东向西", 270), ("正北", 0), ("正东方向", 90), ("东偏南30°", 120), ("北偏西 30", 330),
        ("西偏北10.5度", 280.5), ("南偏西20", 200), ("—45", 315), ("西北", 315),
    ],
)  # fmt: skip
def test_a_direction_in_words(tmp_path: Path, cell: str, turn: float) -> None:
    (found,) = _directions(tmp_path, cell).valid["azimuth_deg"].to_pylist()
    assert float(found) == turn


@pytest.mark.parametrize("cell", ["南北", "东-西", "西/北", "东、南", "东和南", "西，北", "东偏西10", "双向"])
def test_two_directions_are_no_third(tmp_path: Path, cell: str) -> None:
    found = _directions(tmp_path, cell)
    assert [(fault.row, fault.field) for fault in found.issues] == [(2, "azimuth_deg")]


def _directions(folder: Path, cell: str) -> BatchResult:
    path = written(folder, f'{_HEAD.replace("备注", "方位角")}\n{_ROW},,,"{cell}"\n')
    with open_source(path) as source:
        plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), source.detected, source.columns)
        (batch,) = iter_batches(plan, source)
        return validate_batch(plan, batch)


@pytest.mark.parametrize(("names", "read"), [(("解放区", "山阳区"), False), (("410802", "解放区"), True)])
def test_names_of_divisions_are_no_codes(tmp_path: Path, names: tuple[str, str], read: bool) -> None:
    head = _HEAD.replace("备注", "行政区划")
    rows = [f"{_ROW[:19]}{at}{_ROW[20:]},,,{name}" for at, name in enumerate(names, 1)]
    with open_source(written(tmp_path, "\n".join((head, *rows)) + "\n")) as source:
        (sample,) = source.iter_batches(100)
        plan = build_plan(
            Options(find_record_spec("camera"), jurisdiction="410800"), source.detected, source.columns, sample
        )
        (batch,) = iter_batches(plan, source)
        found = validate_batch(plan, batch)
    assert ("行政区划" in plan.ignored) is not read
    assert len(found.issues) == read
