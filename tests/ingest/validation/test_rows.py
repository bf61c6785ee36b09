"""Places, lanes, lost digits, and what is said of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import shapely
from pyproj import Transformer

from app.errors import Invalid
from app.geo.projection.datum import from_wgs84
from app.imports.record_specs import find_record_spec
from app.ingest.columns.planner import Options, build_plan
from app.ingest.readers.opening import Batch, FormatIssue
from app.ingest.validation.batch_validation import iter_batches, validate_batch
from app.messages import Message
from tests.ingest.validation.test_judge import judged, sheet


def point(answer: Any) -> tuple[float, float]:
    x, y = shapely.from_wkb(answer.valid["geometry"][0].as_py()).coords[0]
    return float(x), float(y)


@pytest.mark.parametrize(
    "cells",
    [
        "113.2418|35.2159",
        "１１３．２４１８|35.2159°",
        "113°14'30.48\"E|35°12'57.24\"N",
        "35.2159N|113.2418E",
    ],
)
def test_coordinates_as_people_write_them(cells: str) -> None:
    answer = judged("camera", "code|经度|纬度|functions", f"c1|{cells}|face", divided="|")
    assert answer.issues == []
    assert point(answer) == pytest.approx((113.2418, 35.2159), abs=1e-7)


@pytest.mark.parametrize(
    ("heading", "cell"),
    [
        ("经纬度", "113.2418, 35.2159"),
        ("latlon", "35.2159 113.2418"),
        ("坐标", "35.2159,113.2418"),
        ("wkt", "POINT (113.2418 35.2159)"),
        ("geometry", '{"type":"Point","coordinates":[113.2418,35.2159]}'),
        ("geom", "SRID=4326;POINT (113.2418 35.2159)"),
    ],
)
def test_a_place_in_one_cell(heading: str, cell: str) -> None:
    answer = judged("camera", f"code|{heading}|functions", f"c1|{cell}|face", divided="|")
    assert answer.issues == []
    assert point(answer) == (113.2418, 35.2159)


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
def test_chinese_datums_are_undone_when_the_sender_or_the_heading_says_so(datum: str) -> None:
    lon, lat = from_wgs84([(113.2418, 35.2159)], datum)[0]
    row = f"c1,{lon:.9f},{lat:.9f},face"
    for header, options in (
        ("code,lon,lat,functions", {"crs": datum.upper()}),
        (f"code,经度({datum}),纬度({datum}),functions", {}),
    ):
        assert point(judged("camera", header, row, **options)) == pytest.approx((113.2418, 35.2159), abs=1e-8)


def test_a_projected_crs_is_undone() -> None:
    # Hong Kong 1980 grid; the degrees stand beside it in the same published list.
    answer = judged("camera", "code,X,Y,functions", "H429F,833549,812187,face", crs="EPSG:2326")
    assert point(answer) == pytest.approx((114.1505, 22.24845), abs=2e-5)


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ("0,0", "zero-coordinates"),
        (",35", "missing-coordinates"),
        (",", "geometry-missing"),
        ("abc,35", "not-a-coordinate"),
        ("35.2,113.2", "swapped-coordinates"),
        ("833549,812187", "geometry-out-of-range"),
        ("nan,35", "geometry-not-finite"),
    ],
)
def test_what_is_no_place_is_told_with_its_code(cells: str, code: str) -> None:
    (fault,) = judged("camera", "code,lon,lat,functions", f"c1,{cells},face").issues
    assert (fault.code, fault.column, fault.field) == (code, "lon", "geometry")


@pytest.mark.parametrize(
    ("kind", "shape", "code"),
    [
        ("road", "POINT (113 35)", "geometry-type"),
        ("road", "LINESTRING (113 35, 113 35)", "invalid-geometry"),
        ("road", "LINESTRING (35 113, 35.1 113)", "swapped-coordinates"),
        ("road", "MULTILINESTRING ((113 35, 113.1 35), (114 35, 114.1 35))", "geometry-type"),
        ("ring", "POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))", "invalid-geometry"),
        ("control_point", "LINESTRING (113 35, 113.1 35)", "geometry-type"),
        ("road", "LINESTRING EMPTY", "not-a-geometry"),
        ("road", "nonsense", "not-a-geometry"),
    ],
)
def test_shapes_that_cannot_be_kept(kind: str, shape: str, code: str) -> None:
    given = {
        "control_point": {"category": "core_site"},
        "road": {"road_class": "service"},
        "ring": {"level": "core"},
    }
    answer = judged(kind, "code|wkt", f"c1|{shape}", divided="|", defaults=given[kind])
    assert [fault.code for fault in answer.issues] == [code]


def test_parts_that_are_one_become_one_and_heights_are_left_out() -> None:
    shapes = (
        "MULTILINESTRING ((113 35, 113.1 35), (113.1 35, 113.2 35))",
        "LINESTRING Z (113 35 7, 113.1 35 8)",
    )
    rows = [f"c{at}|{shape}" for at, shape in enumerate(shapes)]
    answer = judged("road", "code|wkt", *rows, divided="|", defaults={"road_class": "service"})
    assert answer.issues == []
    kept = [shapely.from_wkb(text).wkt for text in answer.valid["geometry"].to_pylist()]
    assert kept == ["LINESTRING (113 35, 113.1 35, 113.2 35)", "LINESTRING (113 35, 113.1 35)"]


def test_a_ring_is_kept_as_many_polygons_with_its_datum() -> None:
    square = "POLYGON ((113 35, 114 35, 114 36, 113 36, 113 35))"
    answer = judged("ring", "level|wkt", f"环城|{square}", divided="|", crs="gcj02")
    (row,) = answer.valid.to_pylist()
    assert (row["level"], row["datum_received"]) == ("urban", "gcj02")
    shape = shapely.from_wkb(row["geometry"])
    assert shape.geom_type == "MultiPolygon"
    assert shapely.get_srid(shape) == 4326


# Codes


def test_codes_rounded_by_a_spreadsheet_are_never_taken() -> None:
    header = "code,lon,lat,functions"
    (fault,) = judged("camera", header, "4.10800000000013E+19,113,35,face").issues
    assert (fault.code, fault.severity) == ("digits-lost", "error")
    assert "科学计数法" in fault.message_zh
    rows = [f"4108020000132{at}00000{'0'},113,35,face" for at in range(3)]
    answer = judged("camera", header, *rows)
    assert {fault.code for fault in answer.issues} == {"digits-lost"}
    assert answer.valid.num_rows == 0
    good = [f"4108020000132000000{at},113,35,face" for at in range(1, 5)]
    answer = judged("camera", header, rows[0], *good)
    assert [(f.code, f.severity) for f in answer.issues] == [("digits-doubtful", "warning")]
    assert answer.valid.num_rows == 5


@pytest.mark.parametrize(
    ("code", "word"),
    [("41080200003001000001", "用户编码"), ("99080200001321000001", "省级"), ("41080200009991000001", "类型码"), ("410802000013210000", None),
     ("4108020000132100000", "20 位")],
)  # fmt: skip
def test_twenty_digits_are_checked_as_a_put_does(code: str, word: str | None) -> None:
    answer = judged("camera", "code,lon,lat,functions", f"{code},113,35,face")
    assert [fault.code for fault in answer.issues] == (["gb28181-code"] if word else [])
    assert word is None or word in answer.issues[0].message_zh


def test_a_thing_known_by_its_owners_number_gets_the_same_code_each_time() -> None:
    header, row = "资产编号,管理单位,lon,lat,functions", "A-1,甲,113,35,face"
    first = judged("camera", header, row, key="owner_reference")
    again = judged("camera", header, "A-2,甲,113,35,face", row, key="owner_reference")
    codes = again.valid["code"].to_pylist()
    assert first.valid["code"].to_pylist() == codes[1:]
    assert codes[0] != codes[1]


# Lanes

LANES = "TollgateID|Name|Longitude|Latitude|FunctionType|LaneId|CityPass|Direction|MaxSpeed|ApeID"


def test_rows_of_lanes_are_grouped_by_their_checkpoint() -> None:
    gate = "41080205001211000001|卡口|113.2|35.2|1"
    answer = judged(
        "checkpoint", LANES,
        f"{gate}|1|1|1|60|41080200001191000001", f"{gate}|2|2|2|80|", "41080205001211000002|另|113.3|35.3|1|||||",
        divided="|",
    )  # fmt: skip
    assert answer.issues == []
    first, second = answer.valid.to_pylist()
    assert orjson.loads(first["lanes"]) == [
        {"lane": 1, "direction": "inbound", "bearing_deg": 90.0, "name": None, "max_speed_kmh": 60,
         "camera": "41080200001191000001"},
        {"lane": 2, "direction": "outbound", "bearing_deg": 270.0, "name": None, "max_speed_kmh": 80, "camera": None},
    ]  # fmt: skip
    assert (first["kind"], first["row"], second["lanes"]) == ("vehicle", 2, "[]")


def test_a_fault_of_a_lane_names_its_own_row_and_column() -> None:
    gate = "g1|卡口|113.2|35.2|1"
    answer = judged("checkpoint", LANES, f"{gate}|1|1|1||", f"{gate}|1|2|1|900|", f"{gate}|3||1||", divided="|")
    assert {(fault.row, fault.column, fault.code) for fault in answer.issues} == {
        (3, "MaxSpeed", "less-than-equal"),
        (4, "CityPass", "missing"),
    }


def test_lanes_in_json_with_the_names_of_the_standard() -> None:
    lanes = '[{"LaneId":"1","CityPass":1,"Direction":"7","Name":"一"}]'
    header = "TollgateID|Longitude|Latitude|kind|lanes"
    answer = judged("checkpoint", header, f"g1|113|35|face|{lanes}", divided="|")
    (row,) = answer.valid.to_pylist()
    assert orjson.loads(row["lanes"])[0]["bearing_deg"] == 135.0
    bad = lanes.replace("Name", "Password")
    (fault,) = judged("checkpoint", header, f"g1|113|35|face|{bad}", divided="|").issues
    assert (fault.code, fault.value) == ("forbidden-content", None)


class _Source:
    def __init__(self, *parts: Batch) -> None:
        self.parts = parts

    def iter_batches(self, rows: int = 20_000) -> Any:
        return iter(self.parts)


def test_lanes_of_one_checkpoint_are_never_torn_apart() -> None:
    gate = "g1|卡口|113.2|35.2|1"
    one, two = (
        sheet(LANES, f"{gate}|1|1|1||", divided="|"),
        sheet(LANES, f"{gate}|2|2|1||", divided="|"),
    )
    plan = build_plan(Options(find_record_spec("checkpoint"), jurisdiction="410800"), None, tuple(one.columns), one)
    (whole,) = iter_batches(plan, _Source(one, two))  # type: ignore[arg-type]  # only batches() is asked
    answer = validate_batch(plan, whole)
    assert len(orjson.loads(answer.valid["lanes"][0].as_py())) == 2


def test_rows_whose_form_is_wrong_are_refused_and_told() -> None:
    batch = sheet("code,lon,lat,functions", "c1,113,35,face", "c2,113,35,face")
    batch = replace(batch, issues=(FormatIssue(3, "too-many-cells", Message("More cells."), None, "error"),))
    plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), None, tuple(batch.columns), batch)
    answer = validate_batch(plan, batch)
    assert [(fault.row, fault.code) for fault in answer.issues] == [(3, "too-many-cells")]
    assert answer.valid["code"].to_pylist() == ["c1"]


def test_an_empty_batch_has_no_rows_and_no_faults() -> None:
    batch = Batch(
        np.empty(0, np.int64),
        {n: pa.array([], pa.string()) for n in ("code", "lon", "lat", "functions")},
    )
    plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), None, tuple(batch.columns), batch)
    assert (validate_batch(plan, batch).valid.num_rows, validate_batch(plan, batch).issues) == (0, [])


def test_states_need_no_place_and_leave_the_clock_to_the_caller() -> None:
    answer = judged("state", "code,状态,时间", "c1,在线,2024-03-05 08:30:00", "c2,故障,")
    assert answer.issues == []
    assert answer.valid.select(["kind", "state", "reported_at"]).to_pylist() == [
        {"kind": "camera", "state": "online", "reported_at": "2024-03-05T00:30:00Z"},
        {"kind": "camera", "state": "fault", "reported_at": None},
    ]


def test_the_tree_of_a_catalogue_is_passed_over_and_told_of() -> None:
    header = "DeviceID,CivilCode,Parental,Longitude,Latitude,Status"
    rows = [
        "4108,,,,,", "41080000002000000001,,,,,", "41080000002160000001,,,,,",
        "41080200001320000001,410802,0,113.2,35.2,ON",
    ]  # fmt: skip
    answer = judged("camera", header, *rows)
    assert [(f.row, f.code, f.severity) for f in answer.issues] == [
        (row, "not-a-device", "warning") for row in (2, 3, 4)
    ]
    assert answer.valid.select(["code", "functions", "state"]).to_pylist() == [
        {"code": "41080200001320000001", "functions": "{overview}", "state": "online"}
    ]


def test_what_a_catalogue_has_beside_cameras_is_passed_over() -> None:
    header = "DeviceID,CivilCode,Parental,Longitude,Latitude,Status,Event"
    place = "410802,0,113.2,35.2,ON"
    rows = [
        "41080200001340000001,,,,,ON,", "41080200001370000001,,,,,ON,ADD", f"41080200001320000002,{place},DEL",
        f"41080200001320000001,{place},UPDATE", f"41080200003010000001,{place},",
    ]  # fmt: skip
    answer = judged("camera", header, *rows)
    assert [(f.row, f.code, f.severity) for f in answer.issues] == [
        (2, "not-a-device", "warning"), (3, "not-a-device", "warning"), (4, "not-a-device", "warning"),
        (6, "gb28181-code", "error"),
    ]  # fmt: skip
    assert answer.valid["code"].to_pylist() == ["41080200001320000001"]


class _Told:
    format, crs, geometry, layers = "geojson", "EPSG:4326", True, ()


def test_columns_give_the_place_where_the_geometries_of_a_file_are_all_null() -> None:
    batch = sheet("code,lon,lat,functions", "c1,113,35,face")
    batch = replace(batch, geometry=np.array([None], dtype=object))
    plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), _Told(), tuple(batch.columns), batch)  # type: ignore[arg-type]  # only what the plan reads
    assert point(validate_batch(plan, batch)) == (113.0, 35.0)


def test_a_geometry_of_the_file_is_brought_to_degrees() -> None:
    batch = sheet("code,functions", "c1,face", "c2,face")
    shapes = np.array([shapely.Point(833549, 812187), None], dtype=object)
    batch = replace(batch, geometry=shapes)
    wanted = Options(find_record_spec("camera"), jurisdiction="810000", crs="EPSG:2326")
    plan = build_plan(wanted, _Told(), tuple(batch.columns), batch)  # type: ignore[arg-type]  # as above
    answer = validate_batch(plan, batch)
    assert point(answer) == pytest.approx((114.1505, 22.24845), abs=2e-5)
    assert [(fault.row, fault.code) for fault in answer.issues] == [(3, "geometry-missing")]


def test_letters_that_look_like_digits_are_warned_of_on_both_ways() -> None:
    header = "code,lon,lat,functions"
    rows = [
        f"{code},113.2,35.2,face"
        for code in (
            "4108O000001320000001",
            "4108000000132000000l",
            "Oil-lOI",
            "OOOOOOOOIIIIIIllllll",
        )
    ]
    answer = judged("camera", header, *rows)
    assert [(f.row, f.code, f.severity) for f in answer.issues] == [
        (2, "letters-for-digits", "warning"), (3, "letters-for-digits", "warning")
    ]  # fmt: skip
    assert answer.valid.num_rows == 4


def test_a_code_of_strange_signs_is_refused_in_plain_words() -> None:
    (fault,) = judged("camera", "code,lon,lat,functions", "相机 1号,113.2,35.2,face").issues
    assert fault.code == "string-pattern-mismatch"
    assert "[" not in fault.message + fault.message_zh
    assert "64" in fault.message
    assert "64" in fault.message_zh


def test_a_row_without_owner_or_reference_says_which_is_missing() -> None:
    header = "单位,自编号,编码,经度,纬度,功能"
    answer = judged(
        "camera", header, "市局,A1,,113,35,人脸", "市局,,,113,35,人脸", ",A3,,113,35,人脸",
        ",,c4,113,35,人脸", key="owner_reference",
    )  # fmt: skip
    assert [(f.row, f.column, f.code) for f in answer.issues] == [
        (3, "自编号", "missing"), (4, "单位", "missing")
    ]  # fmt: skip
    assert answer.valid.num_rows == 2
    with pytest.raises(Invalid) as told:
        judged("camera", "自编号,经度,纬度,功能", "A1,113,35,人脸", key="owner_reference")
    assert "owner_unit" in told.value.detail


@pytest.mark.parametrize(
    ("kind", "shape", "hint"),
    [
        ("camera", "POLYGON ((113 35, 114 35, 114 36, 113 35))", "as a point"),
        ("camera", "MULTIPOINT (113 35, 114 35)", "each point a row"),
        ("camera", "LINESTRING (113 35, 114 35)", "another layer"),
        ("road", "MULTILINESTRING ((113 35, 113.1 35), (114 35, 114.1 35))", "each a row and a code"),
        ("ring", "LINESTRING (113 35, 114 35, 114 36, 113 35)", "Close the line"),
    ],
)
def test_a_geometry_of_another_type_is_refused_with_what_helps(kind: str, shape: str, hint: str) -> None:
    given = {"camera": {"functions": "face"}, "road": {"road_class": "service"}, "ring": {}}
    row = f"{'core' if kind == 'ring' else 'c1'}|{shape}"
    name = "level" if kind == "ring" else "code"
    answer = judged(kind, f"{name}|wkt", row, divided="|", defaults=given[kind])
    (fault,) = answer.issues
    assert fault.code == "geometry-type"
    assert hint in str(fault.hint)


@pytest.mark.parametrize(
    ("crs", "like"),
    [
        (3857, "Web Mercator (EPSG:3857)"),
        (4526, "zone 38 of 3 degrees (EPSG:4526 in CGCS2000)"),
        (4497, "zone 19 of 6 degrees (EPSG:4497 in CGCS2000)"),
        (4547, "without a zone number"),
    ],
)
def test_metres_are_told_for_what_they_look_like(crs: int, like: str) -> None:
    shape = shapely.from_wkt("LINESTRING (113.2 35.2, 113.3 35.3)")
    move = Transformer.from_crs(4326, crs, always_xy=True)
    straight = shapely.transform(shape, lambda xy: np.stack(move.transform(*xy.T), axis=1))
    for turned in (False, True):
        metres = shapely.transform(straight, lambda xy: xy[:, ::-1]) if turned else straight
        answer = judged("road", "code|wkt", f"c1|{metres.wkt}", divided="|", defaults={"road_class": "service"})
        (fault,) = answer.issues
        assert like in str(fault.hint)
        assert str(fault.hint).endswith("the northing first.") is turned
