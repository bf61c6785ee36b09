"""Encodings: found by content, reported, overridable; nothing is mangled silently."""

from pathlib import Path

import pytest

from app.errors import Invalid
from tests.ingest.readers.files import read, written

CHINESE = "编号,名称,地址\n" + "".join(
    f"A{number},人民路与建设路交叉口{number},焦作市解放区民主路派出所门前\n" for number in range(40)
)
TRADITIONAL = "編號,名稱,地址\n" + "".join(
    f"A{number},中環干諾道中{number},香港島國際機場道路與環境\n" for number in range(40)
)
RUSSIAN = "номер,название,адрес\n" + "".join(
    f"A{number},Камера у въезда в город,улица Ленина дом {number}\n" for number in range(40)
)
FRENCH = "code,désignation,où\n" + "".join(
    f"A{number},Caméra côté nord de l'hôtel,à l'entrée du périphérique\n" for number in range(40)
)


@pytest.mark.parametrize(
    ("text", "codec", "reported"),
    [
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8 with BOM"),
        (CHINESE, "gbk", "gb18030"),
        (CHINESE + "B,㐀龥𠀀,䶮\n", "gb18030", "gb18030"),
        (CHINESE, "utf-16", "utf-16-le with BOM"),
        (CHINESE, "utf-16-le", None),
        (TRADITIONAL, "big5", "big5hkscs"),
        (RUSSIAN, "cp1251", "cp1251"),
        (FRENCH, "cp1252", "cp1252"),
    ],
)
def test_an_encoding_is_detected_and_reported(tmp_path: Path, text: str, codec: str, reported: str | None) -> None:
    result = read(written(tmp_path, text, codec=codec))
    lines = [line.split(",") for line in text.splitlines()]
    assert list(result.columns) == lines[0]
    assert [list(row.values()) for row in result.rows] == lines[1:]
    if reported is not None:
        assert result.detected.encoding == reported


@pytest.mark.parametrize("text", ["编号,经度\nA1,113.2\n", "设备编码,名称\nA1,东门\n", "编号\n东\n"])
def test_a_few_chinese_characters_are_enough(tmp_path: Path, text: str) -> None:
    result = read(written(tmp_path, text, codec="gbk"))
    assert result.detected.encoding == "gb18030"
    assert list(result.columns) == text.split("\n")[0].split(",")


def test_chinese_that_begins_late_is_not_mangled(tmp_path: Path) -> None:
    text = "code,name\n" + "A,plain\n" * 200_000 + "B,人民路与建设路交叉口\n" * 20
    result = read(written(tmp_path, text, codec="gbk"))
    assert result.column("name")[-1] == "人民路与建设路交叉口"


def test_damage_late_in_utf8_is_named_with_byte_and_line(tmp_path: Path) -> None:
    good = CHINESE.encode() * 3
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, good + b"C,\xff\xfe,x\n"))
    assert rejection.value.code == "wrong-encoding"
    assert f"byte {len(good) + 2:,} (0xFF)" in rejection.value.detail
    assert f"line {good.count(bytes([10])) + 1:,}" in rejection.value.detail


def test_damage_late_in_gbk_is_named_with_byte_and_line(tmp_path: Path) -> None:
    good = (CHINESE * 400).encode("gbk")
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, good + b"C,\xff\xff,x\n"))
    assert rejection.value.code == "wrong-encoding"
    assert f"byte {len(good) + 2:,} (0xFF)" in rejection.value.detail
    assert f"line {good.count(bytes([10])) + 1:,}" in rejection.value.detail


def test_a_stated_encoding_is_used(tmp_path: Path) -> None:
    path = written(tmp_path, "code,name\nA1,ÄÖ\n", codec="cp1252")
    assert read(path, encoding="windows-1252").column("name") == ["ÄÖ"]
    with pytest.raises(Invalid) as rejection:
        read(path, encoding="klingon")
    assert rejection.value.code == "unknown-encoding"
    with pytest.raises(Invalid) as rejection:
        read(path, encoding="utf-8")
    assert rejection.value.code == "wrong-encoding"


@pytest.mark.parametrize("text", [
    '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,"properties":{"a":"%s"}}]}',
    '<?xml version="1.0" encoding="%s"?><kml><Placemark><name>%s</name></Placemark></kml>',
    "<Response><CmdType>Catalog</CmdType><Item><Name>%s</Name></Item></Response>",
])  # fmt: skip
def test_formats_in_utf8_may_also_be_chinese_and_nothing_else(tmp_path: Path, text: str) -> None:
    parts = ("utf-8", "人民路") if text.count("%s") == 2 else ("人民路",)
    result = read(written(tmp_path, text % parts, codec="gbk"))
    assert "人民路" in result.rows[0].values()
    broken = (text % parts).encode().replace("民".encode(), b"\xff")
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, broken))
    assert rejection.value.code == "wrong-encoding"
    assert "0xFF" in rejection.value.detail


@pytest.mark.parametrize("first", [30, 60_000])
def test_a_line_of_another_encoding_is_named(tmp_path: Path, first: int) -> None:
    lines = ["编码,名称", *(f"A{index},解放路与民主路交叉口" for index in range(first))]
    content = "\n".join(lines).encode("gbk") + "\nB,山阳路口东\nC,塔南路口西\n".encode()
    with pytest.raises(Invalid, match=f"line {first + 2:,} is UTF-8") as rejected:
        read(written(tmp_path, content))
    assert rejected.value.code == "wrong-encoding"


def test_rare_characters_of_gbk_are_not_taken_for_utf8(tmp_path: Path) -> None:
    rare = "".join(bytes((lead, 0xA8)).decode("gbk") + "阿" for lead in range(0xE4, 0xEA))
    path = written(tmp_path, f"编码,名称\nA1,{rare}路口\nA2,解放路\n", codec="gbk")
    assert read(path).column("名称") == [f"{rare}路口", "解放路"]
