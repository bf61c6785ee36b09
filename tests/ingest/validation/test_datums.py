"""In which datum coordinates are: beside a heading, over two headings, in a column of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from app.errors import Invalid
from app.geo.projection.datum import from_wgs84
from app.imports.record_specs import find_record_spec
from app.ingest.columns.options import Options
from app.ingest.columns.planner import build_plan
from app.ingest.readers.opening import open_source
from app.ingest.validation.batch_validation import iter_batches, validate_batch
from app.ingest.validation.issues import BatchResult
from app.ingest.validation.location import locate_rows
from tests.ingest.readers.files import written

_TRUE = (113.2418, 35.2159)
_CODE = "4108020000132100000"


def _judged(folder: Path, *lines: str, kind: str = "camera", **wanted: Any) -> tuple[BatchResult, Any]:
    """Return the verdict and the places of a table."""
    path = written(folder, "\n".join(lines) + "\n")
    options = Options(find_record_spec(kind), jurisdiction="410800", **wanted)
    with open_source(path) as source:
        (sample,) = source.iter_batches(1000)
        plan = build_plan(options, source.detected, source.columns, sample)
        (batch,) = iter_batches(plan, source)
        return validate_batch(plan, batch), locate_rows(plan.location, plan.spec, batch)


def _written_in(datum: str) -> str:
    lon, lat = from_wgs84([_TRUE], datum)[0]
    return f"{lon:.9f},{lat:.9f}"


@pytest.mark.parametrize(
    ("heading", "datum"),
    [
        ("{}（高德坐标）", "gcj02"), ("{}(火星坐标系)", "gcj02"), ("{}（GCJ-02坐标系，度）", "gcj02"),
        ("{}（腾讯地图）", "gcj02"), ("{}（国测局）", "gcj02"), ("{}(百度坐标)", "bd09"), ("{}【BD09LL】", "bd09"),
        ("{}（WGS-84坐标系）", "wgs84"), ("{}（2000国家大地坐标系）", "cgcs2000"), ("{}(2000坐标系)", "cgcs2000"),
    ],
)  # fmt: skip
def test_a_datum_beside_a_heading_is_not_passed_over(tmp_path: Path, heading: str, datum: str) -> None:
    head = f"设备编码,{heading.format('经度').replace(',', '，')},{heading.format('纬度')},功能类型"
    _, places = _judged(tmp_path, head, f"{_CODE}1,{_written_in(datum)},车辆")
    assert_allclose(places.xy, [_TRUE], atol=1e-8)


def test_a_column_called_after_a_datum_is_a_place(tmp_path: Path) -> None:
    place = _written_in("bd09").replace(",", " ")
    _, places = _judged(tmp_path, "设备编码,百度坐标,功能类型", f"{_CODE}1,{place},车辆")
    assert_allclose(places.xy, [_TRUE], atol=1e-8)


def test_two_headings_that_name_two_datums_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refused:
        _judged(tmp_path, "设备编码,经度(GCJ02),纬度(WGS84),功能类型", f"{_CODE}1,113.2,35.2,车辆")
    assert refused.value.code == "ambiguous-columns"


def test_metres_under_a_heading_with_a_datum_need_their_grid(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refused:
        _judged(tmp_path, "设备编码,X(西安80),Y(西安80),功能类型", f"{_CODE}1,430700,3898500,车辆")
    assert refused.value.code == "crs-needed"


def test_rows_may_say_their_datum(tmp_path: Path) -> None:
    found, places = _judged(
        tmp_path,
        "设备编码,经度,纬度,坐标系,功能类型",
        f"{_CODE}1,{_written_in('wgs84')},WGS-84,车辆",
        f"{_CODE}2,{_written_in('gcj02')},火星坐标系（GCJ-02）,车辆",
        f"{_CODE}3,{_written_in('bd09')},百度,车辆",
        f"{_CODE}4,{_written_in('wgs84')},,车辆",
        f"{_CODE}5,{_written_in('wgs84')},地方独立坐标系,车辆",
        f"{_CODE}6,{_written_in('wgs84')},EPSG:4490,车辆",
    )
    assert [(fault.row, fault.column, fault.code) for fault in found.issues] == [(6, "坐标系", "unknown-crs")]
    good = np.flatnonzero(places.valid)
    assert good.tolist() == [0, 1, 2, 3, 5]
    assert_allclose(places.xy[good], [_TRUE] * 5, atol=1e-8)


@pytest.mark.parametrize(("crs", "row"), [("wgs84", "GCJ02"), ("EPSG:4547", "CGCS2000")])
def test_the_sender_is_believed_over_the_rows(tmp_path: Path, crs: str, row: str) -> None:
    place = _written_in("wgs84") if crs == "wgs84" else "430968.6,3898808.8"
    _, places = _judged(tmp_path, "设备编码,x,y,坐标系,功能类型", f"{_CODE}1,{place},{row},车辆", crs=crs)
    assert_allclose(places.xy, [_TRUE], atol=1e-4)


def test_a_ring_may_say_its_datum(tmp_path: Path) -> None:
    corners = np.array([(113.2, 35.2), (113.3, 35.2), (113.3, 35.3), (113.2, 35.2)])
    moved = ", ".join(f"{x:.9f} {y:.9f}" for x, y in from_wgs84(corners, "gcj02"))
    _, places = _judged(tmp_path, "圈层,wkt,坐标系", f'环市,"POLYGON(({moved}))",GCJ02', kind="ring")
    (shape,) = places.shapes
    assert_allclose(np.array(shape.exterior.coords), corners, atol=1e-8)


def test_each_row_is_told_which_metres_it_looks_like(tmp_path: Path) -> None:
    found, _ = _judged(
        tmp_path,
        "设备编码,经度,纬度,功能类型",
        *(f"{_CODE}{at},{_written_in('wgs84')},车辆" for at in range(1, 4)),
        f"{_CODE}4,521700.5,3898500.2,车辆",
        f"{_CODE}5,38521700.5,3898500.2,车辆",
        f"{_CODE}6,1e9,2e9,车辆",
    )
    hints = [str(fault.hint) for fault in found.issues]
    assert "without a zone number" in hints[0]
    assert "EPSG:4526" in hints[1]
    assert "look like" not in hints[2]
