"""Catalogue dumps as platforms leave them behind."""

from pathlib import Path

import pytest

from app.errors import Invalid
from app.ingest.readers import spill
from tests.ingest.readers.files import read, written

ITEM = """<Item>
<DeviceID>4108020000132000000{at}</DeviceID>
<Name>人民路{at}</Name>
<Longitude>113.24{at}</Longitude><Latitude>35.21</Latitude>
<Status>ON</Status>
<Info><PTZType>3</PTZType><DirectionType>1</DirectionType></Info>
</Item>"""


def build_response(*numbers: int, number: int = 1, total: int = 0, command: str = "Catalog") -> str:
    items = "\n".join(ITEM.format(at=item) for item in numbers)
    return (
        f'<?xml version="1.0" encoding="GB2312"?>\n<Response>\n<CmdType>{command}</CmdType>\n'
        f"<SN>{number}</SN><DeviceID>41080000002000000001</DeviceID><SumNum>{total}</SumNum>\n"
        f'<DeviceList Num="{len(numbers)}">\n{items}\n</DeviceList>\n</Response>\n'
    )


def test_one_answer(tmp_path: Path) -> None:
    result = read(written(tmp_path, build_response(1, 2, total=2), "catalog.xml", "gbk"))
    assert (result.detected.format, result.detected.encoding) == ("gb28181", "gb18030")
    assert result.detected.notes == ()
    assert result.columns == (
        "DeviceID", "Name", "Longitude", "Latitude", "Status", "Info.PTZType", "Info.DirectionType",
    )  # fmt: skip
    assert result.column("DeviceID") == ["41080200001320000001", "41080200001320000002"]
    assert result.column("Name") == ["人民路1", "人民路2"]
    assert result.column("Info.PTZType") == ["3", "3"]


@pytest.mark.parametrize("memory_bytes", [0, 8 << 20])
def test_several_answers_with_headers_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int
) -> None:
    monkeypatch.setattr(spill, "MAX_MEMORY_BYTES", memory_bytes)
    header = "MESSAGE sip:41080000002000000001@4108000000 SIP/2.0\r\nFrom: <sip:1@2>;tag=3\r\n\r\n"
    text = "".join(header + build_response(index, index + 1, total=4, number=7) for index in (1, 3))
    result = read(written(tmp_path, text, "dump.log"), at_once=3)
    assert result.detected.format == "gb28181"
    assert result.column("Longitude") == ["113.241", "113.242", "113.243", "113.244"]
    assert result.numbers == [1, 2, 3, 4]
    assert any("GB2312" in note and "UTF-8" in note for note in result.detected.notes)


def test_fragments_without_a_root(tmp_path: Path) -> None:
    result = read(written(tmp_path, ITEM.format(at=1) + "\n" + ITEM.format(at=2), "x.xml"))
    assert result.column("Name") == ["人民路1", "人民路2"]


def test_items_of_other_answers_are_not_taken(tmp_path: Path) -> None:
    text = build_response(1, total=1) + build_response(2, 3, command="RecordInfo", number=2)
    result = read(written(tmp_path, text, "x.xml"))
    assert result.column("Name") == ["人民路1"]
    assert any("2 items" in note and "recordinfo" in note for note in result.detected.notes)


def test_a_missing_item_is_reported(tmp_path: Path) -> None:
    result = read(written(tmp_path, build_response(1, 2, total=5), "x.xml"))
    assert any("announce 5 items; the file has 2" in note for note in result.detected.notes)


def test_broken_items_are_reported_and_the_others_are_read(tmp_path: Path) -> None:
    broken = ITEM.format(at=2).replace("</Name>", "</Nam>")
    careless = ITEM.format(at=3).replace("人民路3", "A & B \x01")
    text = ITEM.format(at=1) + broken + careless + ITEM.format(at=4)[:60]
    result = read(written(tmp_path, text, "x.xml"))
    assert result.column("Name") == ["人民路1", None, "A & B", None]
    assert [(issue.row, issue.code, issue.severity) for issue in result.odd] == [
        (2, "bad-item", "error"), (4, "cut-item", "error"),
    ]  # fmt: skip


@pytest.mark.parametrize("codec", ["utf-8", "gbk"])
def test_entities_are_rejected(tmp_path: Path, codec: str) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, bomb + build_response(1), "x.xml", codec))
    assert rejection.value.code == "unsafe-file"


def test_a_name_cut_in_the_middle_of_a_character_is_reported_and_the_item_is_read(
    tmp_path: Path,
) -> None:
    content = build_response(*range(1, 9), total=8).encode("gbk")
    cut = content.replace("人民路3".encode("gbk"), "人民路".encode("gbk")[:-1])
    result = read(written(tmp_path, cut, "catalog.xml"))
    assert result.column("Name")[1:4] == ["人民路2", "人民", "人民路4"]
    assert [(issue.row, issue.code, issue.severity) for issue in result.odd] == [(3, "cut-text", "warning")]
    broken = content.replace("人民路3".encode("gbk"), "人".encode("gbk") + b"\xff" + "路".encode("gbk"))
    result = read(written(tmp_path, broken, "catalog.xml"))
    assert [(issue.row, issue.code, issue.severity) for issue in result.odd] == [(3, "bad-item", "error")]


def test_text_of_another_encoding_is_rejected_as_a_whole(tmp_path: Path) -> None:
    content = build_response(*range(1, 9), total=8).replace("人民路", "人民路口").encode() + b"<!-- \xff -->"
    with pytest.raises(Invalid) as rejected:
        read(written(tmp_path, content, "catalog.xml"))
    assert rejected.value.code == "wrong-encoding"


def test_a_message_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="recordinfo") as rejected:
        read(written(tmp_path, build_response(1, command="RecordInfo"), "x.xml"))
    assert rejected.value.code == "unsupported-format"
