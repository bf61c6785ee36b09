"""GeoJSON in one piece or in lines: digits kept, every property of every feature."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely

from app.errors import Invalid
from app.ingest.readers.json import geojson, stream
from tests.ingest.readers.files import read, written


def feature(index: int = 1, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [113.0 + index, 35.5]},
        "properties": properties,
    }


def collection(*features: dict[str, Any], **more: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features, **more}, ensure_ascii=False)


def test_a_collection_with_all_its_properties(tmp_path: Path) -> None:
    text = collection(feature(1, code="A1", name="东门"), {**feature(2, code="A2", lanes=[{"no": 1}]), "id": 7})
    result = read(written(tmp_path, text, "x.json"))
    assert result.detected.format == "geojson"
    assert (result.detected.crs, result.detected.geometry) == ("EPSG:4326", True)
    assert result.columns == ("id", "code", "name", "lanes")
    assert result.rows[0] == {"id": None, "code": "A1", "name": "东门", "lanes": None}
    assert result.rows[1] == {"id": "7", "code": "A2", "name": None, "lanes": '[{"no":1}]'}
    assert result.numbers == [1, 2]
    assert result.shapes == [shapely.Point(114, 35.5), shapely.Point(115, 35.5)]


@pytest.mark.parametrize("join", [
    "\n".join, "\r\n".join, lambda lines: "".join(f"\x1e{line}\n" for line in lines),
])  # fmt: skip
def test_a_sequence_of_features(tmp_path: Path, join: Callable[[list[str]], str]) -> None:
    lines = [json.dumps(feature(index, code=f"A{index}")) for index in range(1, 6)]
    result = read(written(tmp_path, join(lines), "x.txt"), at_once=2)
    assert result.detected.format == "geojsonseq"
    assert result.column("code") == ["A1", "A2", "A3", "A4", "A5"]
    assert result.shapes[4] == shapely.Point(118, 35.5)


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    text = (
        '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,"properties":'
        '{"a":41080000001320000001,"b":41080000001320000000,"c":4.108e19,"d":5.0,"e":true,"f":113.20}}]}'
    )
    row = read(written(tmp_path, text, "x.geojson")).rows[0]
    assert row == {
        "a": "41080000001320000001", "b": "4.1080000001320E+19", "c": "4.1080000000000E+19",
        "d": "5", "e": "true", "f": "113.2",
    }  # fmt: skip


def test_other_shapes_and_broken_ones(tmp_path: Path) -> None:
    shapes: list[Any] = [
        {"type": "LineString", "coordinates": [[0, 0, 9], [1, 1, 9]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
        None,
        {"type": "Point", "coordinates": ["x", 1]},
        {"type": "LineString", "coordinates": [[0, 0]]},
        "POINT (1 2)",
        {"type": "Point", "coordinates": [1e999, 2]},
    ]
    text = collection(*({**feature(code=str(index)), "geometry": shape} for index, shape in enumerate(shapes)))
    result = read(written(tmp_path, text, "x.geojson"))
    assert result.shapes[0] == shapely.LineString([(0, 0), (1, 1)])
    assert result.shapes[1].area == 0.5
    assert result.shapes[2:] == [None] * 5
    assert [(issue.row, issue.code) for issue in result.odd] == [(index, "bad-geometry") for index in (4, 5, 6, 7)]


def test_the_crs_member_of_before_2008_is_read(tmp_path: Path) -> None:
    text = collection(feature(code="A"), crs={"type": "EPSG", "properties": {"code": 4547}})
    assert read(written(tmp_path, text, "x.geojson")).detected.crs == "EPSG:4547"


@pytest.mark.parametrize(("crs", "code"), [
    ("urn:ogc:def:crs:EPSG::4547", "EPSG:4547"), ("EPSG:4490", "EPSG:4490"),
    ("urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"), ("local grid", None),
])  # fmt: skip
def test_the_old_crs_member_is_read(tmp_path: Path, crs: str, code: str | None) -> None:
    text = collection(feature(code="A"), crs={"type": "name", "properties": {"name": crs}})
    result = read(written(tmp_path, text, "x.geojson"))
    assert result.detected.crs == code
    assert bool(result.detected.notes) == (code is None)


@pytest.mark.parametrize("text", [
    '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,"prop',
    '{"type":"FeatureCollection","features":[{"type":"Feature" "geometry":null}]}',
    '{"type":"Feature","geometry":null,"properties":{}}\n{"type":"Feature",}\n',
])  # fmt: skip
def test_broken_json_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, text, "x.geojson"))
    assert rejection.value.code == "damaged-file"
    assert f"line {text.count(chr(10)) or 1}" in rejection.value.detail


def test_json_of_another_kind_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, '{"type":"Feature","properties":{}}\n{"state":"ON"}', "x.geojson"))
    assert rejection.value.code == "unsupported-format"
    assert "'state'" in rejection.value.detail


def test_deep_json_is_rejected(tmp_path: Path) -> None:
    text = '{"type":"Feature","geometry":null,"properties":{"a":' + "[" * 100_000 + "]" * 100_000 + "}}"
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, text, "x.geojson"))
    assert rejection.value.code == "too-deep"


def test_a_large_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_CHUNK", 300)
    monkeypatch.setattr(geojson, "_MAX_BATCH_CHARACTERS", 2_000)
    features = [feature(index % 60, code=f"A{index}", name="路" * (index % 400)) for index in range(300)]
    path = written(tmp_path, collection(*features, name="x"), "x.geojson")
    result = read(path, at_once=50)
    assert result.column("code") == [f"A{index}" for index in range(300)]
    assert result.column("name") == ["路" * (index % 400) or None for index in range(300)]
    seq = "\n".join(json.dumps(item, indent=1) for item in features)
    assert read(written(tmp_path, seq, "x.geojsonl"), at_once=50).rows == result.rows


def test_features_with_other_members_stand_in_one_table(tmp_path: Path) -> None:
    first = [feature(index, code=f"A{index}", lanes=index) for index in range(3)]
    second = [feature(index, lanes="x", code=None, on=index == 1) for index in range(3)]
    text = "\n".join(json.dumps(item) for item in (*first, *second, feature(9)))
    result = read(written(tmp_path, text, "x.geojsonl"), at_once=4)
    assert result.columns == ("code", "lanes", "on")
    assert result.column("code") == ["A0", "A1", "A2", None, None, None, None]
    assert result.column("lanes") == ["0", "1", "2", "x", "x", "x", None]
    assert result.column("on") == [None, None, None, "false", "true", "false", None]


def test_points_are_read_alike_with_and_without_other_shapes(tmp_path: Path) -> None:
    good: list[Any] = [[1, 2.5], [1, 2, 3], []]
    bad: list[Any] = [[True, 2], ["1", 2], [1], None, [10**400, 1], [[1, 2]], "x"]
    several = [{**feature(), "geometry": {"type": "Point", "coordinates": item}} for item in good + bad]
    among = read(written(tmp_path, collection(*several), "x.json"))
    for item, shape in zip(several, among.shapes, strict=True):
        alone = read(written(tmp_path, collection(item), "x.json"))
        assert (alone.shapes or [None]) == [shape]
        assert bool(alone.odd) == (shape is None)
    assert [None if shape is None else shape.wkt for shape in among.shapes] == [
        "POINT (1 2.5)", "POINT (1 2)", "POINT EMPTY", *[None] * 7,
    ]  # fmt: skip
    assert [issue.row for issue in among.odd] == list(range(4, 11))


def test_a_mistake_far_into_one_long_line_is_named_with_its_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_CHUNK", 300)
    monkeypatch.setattr("app.ingest.readers.encoding.iter_utf8_blocks.__defaults__", (100,))
    text = collection(*(feature(code=f"A{index}", name="路") for index in range(40)))
    text = text.replace('"A30"', "oops")
    with pytest.raises(Invalid, match=f"line 1, character {text.index('oops') + 1:,}"):
        read(written(tmp_path, text, "x.geojson"))
