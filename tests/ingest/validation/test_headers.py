"""Headings: what is recognised, what is not, and that no name means two things."""

import pytest

from app.imports.record_specs import SPECS, find_record_spec
from app.ingest.columns import headings
from app.ingest.columns.headings import find_known_names, match_heading, to_plain_form
from app.ingest.values.forbidden_names import is_forbidden_name
from app.models.titles import build_heading

NAMES = [spec.name for spec in SPECS]


@pytest.mark.parametrize(
    ("kind", "column", "target"),
    [
        ("camera", "SBBM", "code"),
        ("camera", " 设备编码 ", "code"),
        ("camera", "設備編碼", "code"),
        ("camera", "攝影機名稱", "name_zh"),
        ("camera", "緯度", "lat"),
        ("camera", "1、设备编码", "code"),
        ("camera", "设备编码 必填", "code"),
        ("camera", "*设备编码（必填）", "code"),
        ("camera", "ＳＢＭＣ", "name_zh"),
        ("camera", "经度(度)", "lon"),
        ("camera", "gcj02_lng", "lon"),
        ("camera", "安装高度/米", "mount_height_m"),
        ("camera", "Range (m)", "range_m"),
        ("camera", "Info.HorizontalFieldAngle", "opening_deg"),
        ("camera", "MonitorDirection", "azimuth_deg@code"),
        ("camera", "camera:direction", "azimuth_deg"),
        ("camera", "surveillance:type", "functions"),
        ("camera", "卡口编码", "checkpoint"),
        ("camera", "俯角", "tilt_deg@down"),
        ("checkpoint", "卡口编码", "code"),
        ("checkpoint", "TollgateCat", "tollgate_category"),
        ("checkpoint", "CityPass", "lane_direction"),
        ("road", "name:en", "name_en"),
        ("road", "highway", "road_class"),
        ("road", "道路编号", "road_number"),
        ("control_point", "防控点类别", "category"),
        ("ring", "圈层", "level"),
        ("state", "IsOnline", "state"),
        ("building", "height (m)", "height_m"),
        ("camera", "name", "name"),
    ],
)
def test_a_heading_means_its_field(kind: str, column: str, target: str) -> None:
    found = match_heading(column, find_record_spec(kind))
    assert found is not None
    assert found.field + (f"@{found.code_list}" if found.code_list else "") == target


@pytest.mark.parametrize("column", ["过车数量", "状态", "类型", "方向", "LWSX", "foo", "姓名", ""])
def test_other_headings_mean_nothing_by_themselves(column: str) -> None:
    assert match_heading(column, find_record_spec("camera")) is None


def test_units_and_datums_beside_a_heading_are_kept() -> None:
    found = [
        match_heading(c, find_record_spec("camera"))
        for c in ("可视距离（公里）", "经度(GCJ-02)", "百度纬度", "WGS84经度")
    ]
    assert [(m.field, m.unit, m.datum) for m in found if m] == [
        ("range_m", "km", None),
        ("lon", None, "gcj02"),
        ("lat", None, "bd09"),
        ("lon", None, "wgs84"),
    ]


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_field_is_recognised_by_its_own_name_and_titles(kind: str, language: str) -> None:
    shared = {"direction"}  # the cells decide between passage and viewing direction
    for field in find_record_spec(kind).fields:
        for name in (field, build_heading(field, language), field.upper(), field.replace("_", " ")):
            found = match_heading(name, find_record_spec(kind))
            assert field in shared or (found is not None and found.field == field), name


@pytest.mark.parametrize("kind", NAMES)
def test_no_name_stands_for_two_fields_of_a_kind(kind: str) -> None:
    target = find_record_spec(kind)
    own, common = headings.OF_KIND.get(kind, {}), headings.COMMON
    for table in (own, common):
        seen: dict[str, str] = {}
        for key, listed in table.items():
            if target.field(key.partition("@")[0]) is not None:
                for name in listed.split():
                    assert to_plain_form(name) == name, f"{name} is not in plain form"
                    assert seen.setdefault(name, key) == key, f"{name} is {seen[name]} and {key}"


def test_every_alias_belongs_to_some_kind() -> None:
    fields = {f for kind in NAMES for f in (*find_record_spec(kind).fields, *find_record_spec(kind).helpers)}
    for table in (headings.COMMON, *headings.OF_KIND.values()):
        assert {key.partition("@")[0] for key in table} <= fields


def test_what_is_recognised_is_not_forbidden_by_accident() -> None:
    ours = {name for kind in NAMES for listed in find_known_names(find_record_spec(kind)).values() for name in listed}
    assert {name for name in ours if is_forbidden_name(name)} <= {"imagewidth", "recordingdays"}


@pytest.mark.parametrize(
    "name",
    ["联系人", "责任人姓名", "身份证号", "Password", "userName", "plateNo", "照片", "图片地址", "GLDWLXFS", "联系电话",
     "ContactInfo", "UserId", "登录密码", "人脸图片", "车牌号", "号牌种类", "snapshot_url", "e-mail", "driver name",
     "电话亭管理人", "电话亭联系电话", "手机号", "mobile phone"],
)  # fmt: skip
def test_personal_columns_are_forbidden(name: str) -> None:
    assert is_forbidden_name(name)


@pytest.mark.parametrize(
    "name",
    ["过车数量", "人脸", "是否人脸卡口", "ImageSensor", "MobileDeviceType", "责任单位", "图像分辨率", "template", "录像保存天数",
     "PersonCheckpoint", "imaging_type", "driver version", "设备编码", "抓拍方向", "电话亭编号", "手机信号", "手机信号覆盖",
     "phone_booth_id", "mobile signal"],
)  # fmt: skip
def test_equipment_that_sounds_alike_is_not(name: str) -> None:
    assert not is_forbidden_name(name)
