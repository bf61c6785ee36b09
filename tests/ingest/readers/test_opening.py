"""What a file is, by its content; what is something else is refused and named."""

import gzip
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from app.errors import Invalid
from app.ingest.readers import archive, delimited
from app.ingest.readers.excel import workbook
from app.ingest.readers.gis.dbf import open_dbf
from app.ingest.readers.opening import open_source
from tests.ingest.readers.files import read, written

CSV = "code,name\nA1,East\n"


def rejection(path: Path, **stated: Any) -> Invalid:
    with pytest.raises(Invalid) as rejected:
        read(path, **stated)
    return rejected.value


def zipped(folder: Path, *members: tuple[str, str | bytes], name: str = "x.zip") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for member, content in members:
            archive_file.writestr(member, content)
    return path


@pytest.mark.parametrize(("content", "named"), [
    (b"%PDF-1.7\n...", "PDF"), (b"MZ\x90\x00", "Windows program"), (b"\x7fELF\x02", "program"),
    (b"\xff\xd8\xff\xe0\x00", "JPEG"), (b"\x89PNG\r\n", "PNG"), (b"Rar!\x1a\x07", "RAR"),
    (b"<!DOCTYPE html><html><form>login</form></html>", "web page"),
    (b"\n <html><table><tr><td>code</td></tr></table></html>", "web page"),
    (b"<osm><meta osm_base='x'/></osm>", "OpenStreetMap"), (b"<svg><script/></svg>", "SVG"),
    (b"MIME-Version: 1.0\r\nContent-Type: multipart/related", "MHT"),
    (b"<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/vsicurl/http://x</SrcDataSource>"
     b"</OGRVRTLayer></OGRVRTDataSource>", "virtual"),
    (b"<?xml version='1.0'?><gpx></gpx>", "GPX"), (b"<other/>", "<other>"),
    (b'{"a":1}', "JSON"), (b"[1,2]", "JSON"),
    (b"\x00\x00\x27\x0a" + b"\x00" * 60, "Shapefile"),
    (b"SQLite format 3\x00" + b"\x00" * 100, "SQLite"), (bytes(range(256)) * 4, "unknown type"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "Office"),
    (b"AC1032\x00\x00\x00\x00" + bytes(200), "CAD"), (b"  0\r\nSECTION\r\n  2\r\nHEADER\r\n", "CAD"),
    (b"\x00\x00\x00\x0d\x0a\x09OSMHeader\x18" + bytes(range(200)), "OpenStreetMap"),
    (b"!table\r\n!version 300\r\n", "MapInfo"), (b'Version 300\nCharset "Neutral"\n', "MapInfo"),
    (b"-- dump\n/*!40101 SET a */;\nINSERT INTO `camera` (`sbbm`) VALUES\n('1');\n", "SQL dump"),
    (b'HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{"APEListObject": {"APEObject": []}}', "HTTP message"),
    (b"\x00\x01\x00\x00Standard Jet DB\x00" + bytes(range(100)), "Access"),
])  # fmt: skip
def test_something_else_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    error = rejection(written(tmp_path, content, "cameras.csv"))
    assert error.code == "unsupported-format"
    assert named in error.detail


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b" \r\n\r\n", b"\x00" * 50])
def test_an_empty_file_is_rejected(tmp_path: Path, content: bytes) -> None:
    assert rejection(written(tmp_path, content)).code == "empty-file"


def test_unwritten_blocks_at_the_end_are_not_text(tmp_path: Path) -> None:
    result = read(written(tmp_path, CSV.encode() + bytes(5000)))
    assert (result.numbers, result.column("name")) == ([2], ["East"])


def test_the_name_does_not_decide(tmp_path: Path) -> None:
    assert read(written(tmp_path, CSV, "x.xlsx")).detected.format == "csv"
    text = '{"type":"FeatureCollection","features":[]}'
    result = read(written(tmp_path, text, "x.csv"))
    assert (result.detected.format, result.rows) == ("geojson", [])


def test_a_stated_format_must_fit(tmp_path: Path) -> None:
    path = written(tmp_path, CSV)
    assert read(path, format="CSV").numbers == [2]
    assert rejection(path, format="xlsx").code == "unsupported-format"
    assert rejection(path, format="dwg").code == "unsupported-format"


def test_archives_of_one_file_count_as_that_file(tmp_path: Path) -> None:
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    assert read(packed).column("code") == ["A1"]
    assert read(zipped(tmp_path, ("资料/相机.csv", CSV))).column("code") == ["A1"]
    book = io.BytesIO()
    with xlsxwriter.Workbook(book) as archive_file:
        archive_file.add_worksheet().write_row(0, 0, ["code", "name"])
    result = read(zipped(tmp_path, ("book.xlsx", book.getvalue())))
    assert (result.detected.format, result.columns) == ("xlsx", ("code", "name"))


def test_nothing_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = zipped(tmp_path, ("x.csv", CSV))
    with open_source(path) as source:
        assert len(list(source.iter_batches())) == 1
        assert len(list(tmp_path.iterdir())) == 2
    rejection(zipped(tmp_path, ("x.csv", b"%PDF")))
    assert [left.name for left in tmp_path.iterdir()] == ["x.zip"]


def test_archives_of_other_files_are_rejected(tmp_path: Path) -> None:
    error = rejection(zipped(tmp_path, ("a.txt", "x"), ("b.doc", "y")))
    assert (error.code, "a.txt" in error.detail) == ("unsupported-format", True)
    assert "Word" in rejection(zipped(tmp_path, ("word/document.xml", "x"), ("y", "z"))).detail
    assert rejection(zipped(tmp_path)).code == "empty-file"
    broken = zipped(tmp_path, ("a.csv", CSV))
    broken.write_bytes(broken.read_bytes()[:-30])
    assert rejection(broken).code == "damaged-file"
    cut = tmp_path / "x.gz"
    cut.write_bytes(gzip.compress(CSV.encode() * 100)[:-9])
    assert rejection(cut).code == "damaged-file"


@pytest.mark.parametrize("name", ["../x.shp", "/etc/x.shp", "C:\\x.shp", "a/../../x.shp", "..\\x.shp"])
def test_paths_out_of_an_archive_are_rejected(tmp_path: Path, name: str) -> None:
    assert rejection(zipped(tmp_path, (name, "x"), ("y", "z"))).code == "unsafe-file"


def test_links_in_an_archive_are_rejected(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x.csv")
    info.external_attr = 0o120777 << 16
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive_file:
        archive_file.writestr(info, "/etc/passwd")
    assert rejection(path).code == "unsafe-file"


def test_zip_bombs_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    packed = zipped(tmp_path, ("x.csv", CSV + "A2,x\n" * 300_000))
    assert packed.stat().st_size < 20_000
    assert rejection(packed).code == "unpacks-too-large"
    many = zipped(tmp_path, *((f"{at}.shp", "") for at in range(archive.MAX_MEMBERS + 1)))
    assert rejection(many).code == "unpacks-too-large"


def test_what_comes_out_is_counted_and_not_what_is_claimed(tmp_path: Path) -> None:
    bomb = tmp_path / "x.gz"
    bomb.write_bytes(gzip.compress(b"x" * 3_000_000))
    with pytest.raises(Invalid) as rejected:
        archive.unpack_gzip(bomb, tmp_path / "out", limit=1 << 20)
    assert rejected.value.code == "unpacks-too-large"
    assert (tmp_path / "out").stat().st_size <= 1 << 20


def test_a_workbook_that_unpacks_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_BYTES", 50_000)
    path = tmp_path / "x.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for at in range(2_000):
            sheet.write_row(at, 0, ["code", "name"])
    assert rejection(path).code == "unpacks-too-large"


def test_a_protected_archive_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path, ("x.csv", CSV))
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert rejection(path).code == "encrypted-file"


def test_a_row_without_end_does_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "LONGEST_ROW", 1 << 16)
    for row in ('A2,"never closed', 'A2,5" and then "'):
        path = written(tmp_path, CSV + row + "x" * 3_000_000)
        assert rejection(path).code == "unclosed-quote"


def test_dates_and_flags_of_an_attribute_table(tmp_path: Path) -> None:
    fields = [
        (b"DAY", b"D", 8),
        (b"WORKS", b"L", 1),
        (b"N", b"N", 20),
        (b"I", b"I", 4),
        (b"B", b"B", 8),
    ]
    rows = [
        b"20240102T                12.500" + struct.pack("<id", -7, 0.1),
        b"        ?    41080000001320000000"[:29] + struct.pack("<id", 0, 4.0),
        b"bad day F-1.500000000000000e+01"[:29] + struct.pack("<id", 1, 1e20),
    ]
    record = 1 + sum(width for *_, width in fields)
    begin = 32 + 32 * len(fields) + 1
    head = struct.pack("<BBBBIHH20x", 3, 124, 1, 2, len(rows), begin, record)
    head += b"".join(
        name.ljust(11, b"\x00") + kind + b"\x00" * 4 + bytes((width, 0)) + b"\x00" * 14 for name, kind, width in fields
    )
    body = b"".join(b" " + row[: record - 1 - 12].ljust(record - 13) + row[-12:] for row in rows)
    path = written(tmp_path, head + b"\r" + body, "x.dbf")
    columns, deleted, issue = open_dbf(path, None, None).read_cells(0, 9)
    assert columns["DAY"].to_pylist() == ["2024-01-02", None, "bad day"]
    assert columns["WORKS"].to_pylist() == ["true", None, "false"]
    assert columns["I"].to_pylist() == ["-7", "0", "1"]
    assert columns["B"].to_pylist() == ["0.1", "4", "1.0000000000000E+20"]
    assert columns["N"].to_pylist()[0] == "12.5"
    assert (deleted.tolist(), issue) == ([False] * 3, [])
    with pytest.raises(Invalid) as rejected:
        open_dbf(written(tmp_path, head[:20], "y.dbf"), None, None)
    assert rejected.value.code == "damaged-file"


def test_a_workbook_with_a_password_is_reported_as_such(tmp_path: Path) -> None:
    container = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000)
    path = written(tmp_path, container + "EncryptedPackage".encode("utf-16-le") + bytes(2000), "a.xlsx")
    assert rejection(path).code == "encrypted-file"
    second = written(tmp_path, container + bytes(2000), "b.doc")
    assert rejection(second).code == "unsupported-format"
