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


def feature(at: int = 1, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [113.0 + at, 35.5]},
        "properties": properties,
    }


def collection(*features: dict[str, Any], **more: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features, **more}, ensure_ascii=False)


def test_a_collection_with_all_its_properties(tmp_path: Path) -> None:
    text = collection(feature(1, code="A1", name="东门"), {**feature(2, code="A2", lanes=[{"no": 1}]), "id": 7})
    found = read(written(tmp_path, text, "x.json"))
    assert found.detected.format == "geojson"
    assert (found.detected.crs, found.detected.geometry) == ("EPSG:4326", True)
    assert found.columns == ("id", "code", "name", "lanes")
    assert found.rows[0] == {"id": None, "code": "A1", "name": "东门", "lanes": None}
    assert found.rows[1] == {"id": "7", "code": "A2", "name": None, "lanes": '[{"no":1}]'}
    assert found.numbers == [1, 2]
    assert found.shapes == [shapely.Point(114, 35.5), shapely.Point(115, 35.5)]


@pytest.mark.parametrize("join", [
    "\n".join, "\r\n".join, lambda lines: "".join(f"\x1e{line}\n" for line in lines),
])  # fmt: skip
def test_a_sequence_of_features(tmp_path: Path, join: Callable[[list[str]], str]) -> None:
    lines = [json.dumps(feature(at, code=f"A{at}")) for at in range(1, 6)]
    found = read(written(tmp_path, join(lines), "x.txt"), at_once=2)
    assert found.detected.format == "geojsonseq"
    assert found.column("code") == ["A1", "A2", "A3", "A4", "A5"]
    assert found.shapes[4] == shapely.Point(118, 35.5)


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
    text = collection(*({**feature(code=str(at)), "geometry": shape} for at, shape in enumerate(shapes)))
    found = read(written(tmp_path, text, "x.geojson"))
    assert found.shapes[0] == shapely.LineString([(0, 0), (1, 1)])
    assert found.shapes[1].area == 0.5
    assert found.shapes[2:] == [None] * 5
    assert [(odd.row, odd.code) for odd in found.odd] == [(at, "bad-geometry") for at in (4, 5, 6, 7)]


def test_the_crs_member_of_before_2008_is_read(tmp_path: Path) -> None:
    text = collection(feature(code="A"), crs={"type": "EPSG", "properties": {"code": 4547}})
    assert read(written(tmp_path, text, "x.geojson")).detected.crs == "EPSG:4547"


@pytest.mark.parametrize(("crs", "code"), [
    ("urn:ogc:def:crs:EPSG::4547", "EPSG:4547"), ("EPSG:4490", "EPSG:4490"),
    ("urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"), ("local grid", None),
])  # fmt: skip
def test_the_old_crs_member_is_read(tmp_path: Path, crs: str, code: str | None) -> None:
    text = collection(feature(code="A"), crs={"type": "name", "properties": {"name": crs}})
    found = read(written(tmp_path, text, "x.geojson"))
    assert found.detected.crs == code
    assert bool(found.detected.notes) == (code is None)


@pytest.mark.parametrize("text", [
    '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,"prop',
    '{"type":"FeatureCollection","features":[{"type":"Feature" "geometry":null}]}',
    '{"type":"Feature","geometry":null,"properties":{}}\n{"type":"Feature",}\n',
])  # fmt: skip
def test_broken_json_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read(written(tmp_path, text, "x.geojson"))
    assert refusal.value.code == "damaged-file"
    assert f"line {text.count(chr(10)) or 1}" in refusal.value.detail


def test_json_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refusal:
        read(written(tmp_path, '{"type":"Feature","properties":{}}\n{"state":"ON"}', "x.geojson"))
    assert refusal.value.code == "unsupported-format"
    assert "'state'" in refusal.value.detail


def test_deep_json_is_refused(tmp_path: Path) -> None:
    text = '{"type":"Feature","geometry":null,"properties":{"a":' + "[" * 100_000 + "]" * 100_000 + "}}"
    with pytest.raises(Invalid) as refusal:
        read(written(tmp_path, text, "x.geojson"))
    assert refusal.value.code == "too-deep"


def test_a_large_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_CHUNK", 300)
    monkeypatch.setattr(geojson, "_MAX_BATCH_CHARACTERS", 2_000)
    features = [feature(at % 60, code=f"A{at}", name="路" * (at % 400)) for at in range(300)]
    path = written(tmp_path, collection(*features, name="x"), "x.geojson")
    found = read(path, at_once=50)
    assert found.column("code") == [f"A{at}" for at in range(300)]
    assert found.column("name") == ["路" * (at % 400) or None for at in range(300)]
    seq = "\n".join(json.dumps(one, indent=1) for one in features)
    assert read(written(tmp_path, seq, "x.geojsonl"), at_once=50).rows == found.rows


def test_features_with_other_members_stand_in_one_table(tmp_path: Path) -> None:
    first = [feature(at, code=f"A{at}", lanes=at) for at in range(3)]
    second = [feature(at, lanes="x", code=None, on=at == 1) for at in range(3)]
    text = "\n".join(json.dumps(one) for one in (*first, *second, feature(9)))
    found = read(written(tmp_path, text, "x.geojsonl"), at_once=4)
    assert found.columns == ("code", "lanes", "on")
    assert found.column("code") == ["A0", "A1", "A2", None, None, None, None]
    assert found.column("lanes") == ["0", "1", "2", "x", "x", "x", None]
    assert found.column("on") == [None, None, None, "false", "true", "false", None]


def test_points_are_read_alike_alone_and_among_others(tmp_path: Path) -> None:
    good: list[Any] = [[1, 2.5], [1, 2, 3], []]
    bad: list[Any] = [[True, 2], ["1", 2], [1], None, [10**400, 1], [[1, 2]], "x"]
    several = [{**feature(), "geometry": {"type": "Point", "coordinates": one}} for one in good + bad]
    among = read(written(tmp_path, collection(*several), "x.json"))
    for one, shape in zip(several, among.shapes, strict=True):
        alone = read(written(tmp_path, collection(one), "x.json"))
        assert (alone.shapes or [None]) == [shape]
        assert bool(alone.odd) == (shape is None)
    assert [None if shape is None else shape.wkt for shape in among.shapes] == [
        "POINT (1 2.5)", "POINT (1 2)", "POINT EMPTY", *[None] * 7,
    ]  # fmt: skip
    assert [odd.row for odd in among.odd] == list(range(4, 11))


def test_a_mistake_far_into_one_long_line_is_named_with_its_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_CHUNK", 300)
    monkeypatch.setattr("app.ingest.readers.encoding.iter_utf8_blocks.__defaults__", (100,))
    text = collection(*(feature(code=f"A{at}", name="路") for at in range(40)))
    text = text.replace('"A30"', "oops")
    with pytest.raises(Invalid, match=f"line 1, character {text.index('oops') + 1:,}"):
        read(written(tmp_path, text, "x.geojson"))
