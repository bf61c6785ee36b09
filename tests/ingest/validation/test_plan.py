"""How a file is read: what is chosen, what is told, what is refused."""

import csv
from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid
from app.imports.record_specs import SPECS, find_record_spec
from app.ingest.columns import templates
from app.ingest.columns.options import BUILT_IN, Profile, check_profile
from app.ingest.columns.planner import ImportPlan, Options, build_plan
from app.ingest.columns.templates import build_template, render_csv
from app.ingest.validation import issues
from tests.ingest.validation.test_judge import judged, sheet

NAMES = [spec.name for spec in SPECS]

ROOT = Path(__file__).resolve().parents[3]


def plan(kind: str, header: str, *rows: str, **options: Any) -> ImportPlan:
    found = sheet(header, *rows)
    wanted = Options(find_record_spec(kind), **{"jurisdiction": "410800", **options})
    return build_plan(wanted, None, tuple(found.columns), found)


def refused(kind: str, header: str, *rows: str, **options: Any) -> Invalid:
    with pytest.raises(Invalid) as error:
        plan(kind, header, *rows, **options)
    return error.value


def test_every_column_is_told_about() -> None:
    found = plan("camera", "SBBM,SBMC,JD,WD,SXJGNLX,LWSX,foo,状态", "1,x,113,35,1,0,y,7")
    told = found.describe()
    assert (told["profile"], told["profile_detected"]) == ("yjyd", True)
    assert [(c["columns"][0], c["field"]) for c in told["columns"]] == [
        ("SBBM", "code"),
        ("SBMC", "name_zh"),
        ("SXJGNLX", "functions"),
    ]
    assert told["geometry"] == {"from": "pair", "columns": ["JD", "WD"], "crs": "EPSG:4326"}
    ignored = {one["column"]: one["why"] for one in told["ignored"]}
    assert "inverted" in told["ignored"][0]["why"] or "0 = networked" in ignored["LWSX"]
    assert ignored["foo"] == "not recognised"
    assert "may mean" in ignored["状态"]


def test_the_senders_mapping_wins_and_joins_columns_of_text() -> None:
    found = plan(
        "camera", "a,b,编码,lon,lat", "1,2,3,113,35",
        mapping={"a": "code", "b": "code"}, defaults={"functions": "人脸"},
    )  # fmt: skip
    assert found.sources[0].columns == ("a", "b")
    assert "编码" in found.ignored
    assert found.defaults["functions"] == ["face"]


def test_a_profile_names_columns_values_and_lists() -> None:
    profile = Profile(
        name="city",
        columns={"号": "code", "朝": "azimuth_deg@gat1400", "状": "state", "注": None},
        values={"state": {"A": "online", "B": "offline"}},
        code_lists={"function": "gbt28181"},
        defaults={"functions": ["face"]},
        crs="gcj02",
    )
    header, row = "号,朝,状,注,lon,lat,功能", "c1,7,B,secret,113.2418,35.2159,03"
    answer = judged("camera", header, row, profile=profile)
    assert answer.issues == []
    (stored,) = answer.valid.select(["code", "azimuth_deg", "state", "functions"]).to_pylist()
    assert stored == {
        "code": "c1", "azimuth_deg": "135.0", "state": "offline", "functions": "{vehicle}",
    }  # fmt: skip
    told = plan("camera", header, row, profile=profile).describe()
    assert told["dropped"] == ["注"]
    assert told["geometry"]["crs"] == "gcj02"


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_profiles_hold_to_the_rules_of_profiles(name: str) -> None:
    check_profile(BUILT_IN[name], None)


def test_a_profile_with_unknown_fields_or_lists_is_refused_with_every_fault() -> None:
    profile = Profile(name="bad", kind="camera", columns={"a": "nothing"}, code_lists={"direction": "nope"})
    with pytest.raises(Invalid) as error:
        check_profile(profile, find_record_spec(profile.kind) if profile.kind else None)
    assert [fault.code for fault in error.value.issues] == ["unknown-field", "unknown-code-list"]
    with pytest.raises(ValueError, match="dropped and used"):
        Profile(name="x", columns={"a": "code"}, drop_columns=["a"])


HEADER = "code,lon,lat,functions"


@pytest.mark.parametrize(
    ("code", "kind", "header", "options"),
    [
        ("unknown-kind", "tree", HEADER, {}),
        ("unknown-column", "camera", HEADER, {"mapping": {"x": "code"}}),
        ("unknown-field", "camera", HEADER, {"mapping": {"code": "nothing"}}),
        ("unknown-field", "camera", HEADER, {"defaults": {"nothing": 1}}),
        ("unknown-code-list", "camera", HEADER, {"code_lists": "nope"}),
        ("bad-default", "camera", HEADER, {"defaults": {"range_m": "far"}}),
        ("bad-default", "camera", HEADER, {"defaults": {"range_m": -5.0}}),
        ("ambiguous-columns", "camera", "设备编码,设备编号,lon,lat,functions", {}),
        ("fields-missing", "camera", "code,lon,lat", {}),
        ("fields-missing", "camera", "code,functions", {}),
        ("fields-missing", "camera", HEADER, {"jurisdiction": None}),
        ("forbidden-content", "camera", f"{HEADER},联系人", {}),
        ("forbidden-content", "camera", f"{HEADER},联系人", {"mapping": {"联系人": "notes"}}),
        ("forbidden-content", "camera", f"{HEADER},Password", {}),
        ("unknown-crs", "camera", HEADER, {"crs": "EPSG:999999"}),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_code(
    code: str, kind: str, header: str, options: dict[str, Any]
) -> None:
    row = ",".join(["c1", "113.2", "35.2", "face", "x", "y"][: header.count(",") + 1])
    assert refused(kind, header, row, **options).code == code


def test_metres_of_no_crs_are_refused_and_degrees_in_x_and_y_are_read() -> None:
    header = "code,X,Y,functions"
    assert refused("camera", header, "c1,833549,812187,face").code == "crs-needed"
    assert plan("camera", header, "c1,833549,812187,face", crs="2326").location.crs == "EPSG:2326"
    assert plan("camera", header, "c1,113.2,35.2,face").location.crs == "EPSG:4326"


def test_degrees_are_preferred_to_metres_unless_a_projected_crs_is_named() -> None:
    header, row = "code,东坐标,北坐标,经度,纬度,functions", "c1,833549,812187,114.15,22.25,face"
    assert plan("camera", header, row).location.columns == ("经度", "纬度")
    assert plan("camera", header, row, crs="EPSG:2326").location.columns == ("东坐标", "北坐标")


def test_of_two_datums_wgs84_is_read_and_the_other_told_of() -> None:
    found = plan("camera", "code,gcj02_lng,gcj02_lat,wgs84_lng,wgs84_lat,functions", "c1,1,2,3,4,face")
    assert found.location.columns == ("wgs84_lng", "wgs84_lat")
    assert [note.code for note in found.notes] == ["column-not-used"] * 2


def test_swapped_axes_of_most_of_the_file_are_told_of_once() -> None:
    rows = [f"c{at},35.2,113.2,face" for at in range(5)]
    assert [note.code for note in plan("camera", HEADER, *rows).notes] == ["axes-swapped"]
    answer = judged("camera", HEADER, *rows)
    assert {fault.code for fault in answer.issues} == {"swapped-coordinates"}
    assert (answer.row_count, answer.location_count, answer.swapped) == (5, 0, 5)


def test_dropped_columns_appear_nowhere() -> None:
    answer = judged("camera", f"{HEADER},电话", "c1,bad,35.2,face,13800000000", drop_columns=["电话"])
    told = repr(answer.issues) + repr(answer.valid.to_pylist())
    assert "13800000000" not in told
    assert answer.issues


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_templates_import_as_they_stand(kind: str, language: Any) -> None:
    rows = list(csv.reader(render_csv(find_record_spec(kind), language).splitlines()))
    found = build_template(find_record_spec(kind), language)
    assert tuple(rows[0]) == found.headings == tuple(column[0] for column in found.columns)
    lines = ["|".join(row) for row in rows]
    answer = judged(kind, *lines, divided="|", jurisdiction=None)
    assert answer.issues == []
    assert answer.valid.num_rows == 2
    assert plan(kind, lines[0].replace("|", ","), jurisdiction="410800").ignored == {} or kind in (
        "camera", "checkpoint",
    )  # fmt: skip


def test_the_page_of_recognised_columns_is_that_of_the_code() -> None:
    assert (ROOT / "docs/import-columns.md").read_text() == templates.render_page(SPECS)


def test_every_row_code_is_documented() -> None:
    import re

    sources = [
        path.read_text()
        for room in ("columns", "validation", "values")
        for path in (ROOT / "app/ingest" / room).glob("*.py")
    ]
    said = {
        code
        for text in sources
        for code in re.findall(r'(?:CellError\(|_Texts\(|: \(|= \(|words = \()\s*"([a-z]+(?:-[a-z0-9]+)+)",', text)
    }
    assert len(said) > 10
    assert said <= set(issues.ROW_CODES) | {"crs-assumed"}
