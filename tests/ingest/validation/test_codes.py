"""The same code means other things elsewhere: each list, and which one is in force."""

from typing import Any

import pytest

from app.errors import Invalid
from app.imports.record_specs import find_record_spec
from app.ingest.columns.planner import Options, build_plan
from app.ingest.values.code_lists import TOPICS, find_topic
from app.ingest.values.field_parsers import FieldParser
from tests.ingest.validation.test_judge import judged, sheet

HEADER = "code,lon,lat,functions"


def stored(header: str, row: str, field: str, **options: Any) -> Any:
    answer = judged("camera", f"{HEADER},{header}", f"c1,113.2,35.2,face,{row}", **options)
    assert answer.issues == []
    return answer.valid[field][0].as_py()


@pytest.mark.parametrize(
    ("code_list", "expected"),
    [
        ("gbt28181", [90, 270, 180, 0, 135, 45, 225, 315]),
        ("gat1400", [90, 270, 180, 0, 45, 225, 135, 315]),
    ],
)
def test_direction_codes_differ_between_the_standards(code_list: str, expected: list[int]) -> None:
    found = [stored("监视方位", str(c), "azimuth_deg", code_lists=code_list) for c in range(1, 9)]
    assert [float(turn) for turn in found] == expected
    assert stored("监视方位", "9", "azimuth_deg", code_lists=code_list) is None


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("NE", 45), ("东南", 135), ("西南方向", 225), ("由东向西", 270), ("S", 180), ("WNW", 292.5), ("112.5", 112.5), ("360", 0),
     ("-90", 270), ("１８０°", 180)],
)  # fmt: skip
def test_directions_in_words_and_degrees(text: str, degrees: float) -> None:
    assert float(stored("azimuth_deg", text, "azimuth_deg")) == degrees


def test_degrees_counted_from_east_are_turned() -> None:
    mapped = {"角度": "azimuth_deg@east0"}
    assert float(stored("角度", "90", "azimuth_deg", mapping=mapped)) == 180


@pytest.mark.parametrize(
    ("code_list", "cells"),
    [
        ("gat1400", {"1": "vehicle", "2": "face", "1/2": "vehicle,face", "5": "overview", "99": "electronic"}),
        ("gbt28181", {"01": "face", "03": "vehicle", "01/03": "face,vehicle", "02": "structured"}),
    ],
)  # fmt: skip
def test_function_codes_differ_between_the_standards(code_list: str, cells: dict[str, str]) -> None:
    for cell, words in cells.items():
        answer = judged("camera", HEADER, f"c1,113.2,35.2,{cell}", code_lists=code_list)
        assert answer.valid["functions"].to_pylist() == ["{" + words + "}"]


@pytest.mark.parametrize(
    ("header", "cell", "field", "value"),
    [
        ("SBZT", "1", "lifecycle", "in_use"),
        ("SBZT", "2", "lifecycle", "repair"),
        ("SBZT", "3", "lifecycle", "removed"),
        ("使用状态", "停用", "lifecycle", "repair"),
        ("状态", "拆除", "lifecycle", "removed"),
        ("状态", "离线", "state", "offline"),
        ("IsOnline", "2", "state", "offline"),
        ("IsOnline", "9", "state", "unknown"),
        ("online", "ON", "state", "online"),
        ("SNWSX", "2", "indoor", "true"),
        ("SNWSX", "1", "indoor", "false"),
        ("indoor", "1", "indoor", "true"),
        ("SXJLX", "3", "structure", "fixed"),
        ("设备类型", "球机", "structure", "dome"),
        ("JKDWLX", "一类", "point_class", "1"),
        ("CityPass", "4", "direction", "both"),
        ("方向", "进城", "direction", "inbound"),
        ("方向", "东南", "azimuth_deg", "135.0"),
        ("俯角", "15", "tilt_deg", "-15.0"),
        ("可视距离(km)", "0.2", "range_m", "200.0"),
        ("分辨率", "1080P", "horizontal_pixels", "1920"),
        ("录像保存天数", "3个月", "retention_days", "90"),
    ],
)
def test_codes_and_words_of_the_archive(header: str, cell: str, field: str, value: str) -> None:
    assert stored(header, cell, field) == value


def test_the_inverted_networked_flag_is_told_and_inverted_where_it_is_wanted() -> None:
    answer = judged("camera", f"{HEADER},LWSX", "c1,113.2,35.2,face,0")
    assert answer.valid["state"][0].as_py() is None
    for cell, state in (("0", "online"), ("1", "offline")):
        assert stored("LWSX", cell, "state", mapping={"LWSX": "state@lwsx"}) == state


@pytest.mark.parametrize(
    ("cell", "words"),
    [("motorway_link", "motorway"), ("国道", "national"), ("县道", "county"), ("次干路", "urban_arterial"),
     ("residential", "urban_minor"), ("匝道", "service"), ("footway", "path")],
)  # fmt: skip
def test_road_classes(cell: str, words: str) -> None:
    row = f"r1,{cell},-1,LINESTRING (113 35;113.1 35)".replace(";", ", ")
    columns = ["code", "highway", "oneway", "wkt"]
    answer = judged("road", "|".join(columns), "|".join(row.split(",", 3)), divided="|")
    assert answer.issues == []
    assert answer.valid.select(["road_class", "oneway"]).to_pylist() == [{"road_class": words, "oneway": "backward"}]


def test_a_code_of_no_list_is_a_fault_that_names_the_list() -> None:
    rows = [f"c{at},113.2,35.2,face,{cell}" for at, cell in enumerate("1230")]
    (fault,) = judged("camera", f"{HEADER},JSFW", *rows).issues
    assert (fault.code, fault.column, fault.value) == ("unknown-code", "JSFW", "0")
    assert "gbt28181" in fault.message
    assert "gbt28181" in fault.message_zh


def plan_notes(header: str, *rows: str, **options: Any) -> list[str]:
    found = sheet(header, *rows)
    wanted = Options(find_record_spec("camera"), jurisdiction="410800", **options)
    return [note.code for note in build_plan(wanted, None, tuple(found.columns), found).notes]


def test_lists_that_disagree_are_told_of_while_the_source_is_not_known() -> None:
    rows = ["c1,113.2,35.2,1,5", "c2,113.2,35.2,2,1"]
    header = "code,lon,lat,功能类型,监视方位"
    assert plan_notes(header, *rows) == ["code-list-assumed", "code-list-assumed"]
    assert plan_notes(header, *rows, code_lists="gat1400") == []
    assert plan_notes("SBBM,JD,WD,SXJGNLX,JSFW,SBMC", *[f"{row},x" for row in rows]) == []
    assert plan_notes(header, "c1,113.2,35.2,人脸,1") == []


def test_directions_that_cannot_be_codes_are_degrees_and_the_other_way_round_is_told() -> None:
    header = "code,lon,lat,functions,监视方位"
    rows = [f"c{turn},113.2,35.2,face,{turn}" for turn in (10, 95, 181, 7)]
    assert plan_notes(header, *rows) == ["direction-degrees"]
    assert judged("camera", header, *rows).valid["azimuth_deg"].to_pylist() == [
        "10",
        "95",
        "181",
        "7",
    ]
    header = "code,lon,lat,functions,方位角"
    assert plan_notes(header, *[f"c{t},113.2,35.2,face,{t}" for t in (1, 3, 5, 8)]) == ["direction-codes"]


def test_a_list_that_is_not_there_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        judged("camera", HEADER, "c1,113.2,35.2,face", code_lists={"direction": "nope"})
    assert refused.value.code == "unknown-code-list"


def test_every_value_of_every_list_is_a_value_of_its_fields() -> None:
    words: dict[str, set[Any]] = {}
    for kind in ("camera", "checkpoint", "road", "control_point", "ring"):
        target = find_record_spec(kind)
        for field in (*target.fields.values(), *target.helpers.values()):
            if field.words and (topic := find_topic(field.name, field.form)):
                words.setdefault(topic.name, set()).update(field.words)
    words["checkpoint_kind"] |= {"camera", "checkpoint"}
    for name, known in words.items():
        for table in (TOPICS[name].words, *TOPICS[name].lists.values()):
            assert {v for v in table.values() if v is not None} <= known, name


@pytest.mark.parametrize(
    ("field", "kind", "words", "value"),
    [
        ("category", "control_point", "市际卡口 市界道路 环市 市界卡口", "city_road"),
        ("category", "control_point", "城区边界道路 城区边界 进出城道路", "urban_road"),
        ("category", "control_point", "主城区道路 主城区卡口 核心区道路", "core_road"),
        ("category", "control_point", "重点路口 核心路口 重要路口", "core_junction"),
        ("category", "control_point", "重点部位 核心部位 要害部位 重点目标", "core_site"),
        ("kind", "checkpoint", "人脸卡口 人像卡口 人脸抓拍机", "face"),
        ("kind", "checkpoint", "车辆卡口 电子警察 卡口式电警 测速卡口 机动车卡口", "vehicle"),
    ],
)
def test_places_and_checkpoints_by_their_chinese_names(field: str, kind: str, words: str, value: str) -> None:
    target = find_record_spec(kind).field(field)
    assert target is not None
    assert {FieldParser(target).parse(word) for word in words.split()} == {value}
