"""Failed formulas of old workbooks and of OpenDocument: an error, never a blank and never 0."""

import struct
import zipfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ingest.readers.excel import error_cells
from tests.ingest.readers.files import read, written

NONE, END, TABLE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def _record(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def _begin(kind: int) -> bytes:
    return _record(0x809, struct.pack("<HHHHII", 0x600, kind, 0x0DBB, 0x07CC, 0, 6))


def _label(row: int, column: int, text: str) -> bytes:
    head = struct.pack("<HHHHB", row, column, 0, len(text), 1)
    return _record(0x204, head + text.encode("utf-16-le"))


def _error(row: int, column: int, code: int) -> bytes:
    return _record(0x205, struct.pack("<HHHBB", row, column, 0, code, 1))


def _failed_formula(row: int, column: int, code: int) -> bytes:
    result = bytes([2, 0, code, 0, 0, 0, 0xFF, 0xFF])
    return _record(0x06, struct.pack("<HHH", row, column, 0) + result + struct.pack("<HIH", 0, 0, 0))


def _sheet(*cells: bytes) -> bytes:
    return _begin(0x10) + b"".join(cells) + _record(0x0A)


def _bound(location: int, name: str) -> bytes:
    head = struct.pack("<IBBBB", location, 0, 0, len(name), 1)
    return _record(0x85, head + name.encode("utf-16-le"))


def xls(**sheets: bytes) -> bytes:
    """Return a binary workbook: container, globals, sheets."""
    before = len(_begin(5) + b"".join(_bound(0, name) for name in sheets) + _record(0x0A))
    codes_of, body = b"", b""
    for name, sheet in sheets.items():
        codes_of += _bound(before + len(body), name)
        body += sheet
    stream = (_begin(5) + codes_of + _record(0x0A) + body).ljust(4608, b"\x00")
    sectors = len(stream) // 512
    chain = [TABLE, END, *range(3, sectors + 2), END]
    chain += [NONE] * (128 - len(chain))

    def entry(name: str, kind: int, first: int, size: int, child: int = NONE) -> bytes:
        text = name.encode("utf-16-le") + b"\x00\x00"
        codes_of = struct.pack("<HBBIII", len(text), kind, 1, NONE, NONE, child)
        return text.ljust(64, b"\x00") + codes_of + b"\x00" * 36 + struct.pack("<IQ", first, size)

    directory = entry("Root Entry", 5, END, 0, 1) + entry("Workbook", 2, 2, len(stream))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 16
    head += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIIIIIIII", 0, 1, 1, 0, 4096, END, 0, END, 0, 0) + b"\xff" * 432
    return head + struct.pack("<128I", *chain) + directory.ljust(512, b"\x00") + stream


OTHER = _sheet(_label(0, 0, "a"), _label(0, 1, "b"), _error(1, 0, 0x17), _error(1, 1, 0x17))
BOOK = xls(
    说明=OTHER,
    点位=_sheet(
        _label(0, 0, "编码"), _label(0, 1, "名称"), _label(1, 0, "A1"), _error(1, 1, 0x2A),
        _label(2, 0, "A2"), _failed_formula(2, 1, 0x07), _label(3, 0, "A3"),
        _record(0x203, struct.pack("<HHHd", 3, 1, 0, 5)), _label(4, 0, "A4"),
        _record(0x205, struct.pack("<HHHBB", 4, 1, 0, 1, 0)),
    ),
)  # fmt: skip


def test_a_binary_workbook_tells_its_failed_formulas(tmp_path: Path) -> None:
    found = read(written(tmp_path, BOOK, "book.xls"), sheet="点位")
    assert found.detected.format == "xls"
    assert found.column("编码") == ["A1", "A2", "A3", "A4"]
    assert found.column("名称") == ["#N/A", "#DIV/0!", "5", "true"]
    assert read(tmp_path / "book.xls", format="xlsx", sheet="点位").rows == found.rows


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_broken_container_is_gone_through_in_the_end(tmp_path: Path, data: st.DataObject) -> None:
    broken = bytearray(BOOK[: data.draw(st.integers(0, len(BOOK)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if broken:
            index = data.draw(st.integers(0, len(broken) - 1))
            broken[index] = data.draw(st.integers(0, 255))
    found = error_cells.find_xls_errors(written(tmp_path, bytes(broken), "x.xls"), ["a", "b"], "a")
    assert all(row < 65_536 for row in found)


def _cell(text: str, more: str = 'office:value-type="string"') -> str:
    return f"<table:table-cell {more}><text:p>{text}</text:p></table:table-cell>"


def test_an_open_document_tells_its_failed_formulas(tmp_path: Path) -> None:
    failed = 'table:formula="of:=NA()" calcext:value-type="error" office:value-type='
    zero = '"float" office:value="0"'
    rows = [
        _cell("code") + _cell("name") + _cell("note"),
        _cell("A1") + _cell("#N/A", failed + '"string" office:string-value=""') + _cell("x"),
        _cell("A2") + _cell("#DIV/0!", failed + zero) + _cell("Err:502", failed + zero),
        _cell("A3") + '<table:table-cell table:number-columns-repeated="1"/>' + _cell("z"),
    ]  # fmt: skip
    body = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    wrong = _cell("A") + _cell("#REF!", failed + '"string"')
    second = f"<table:table-row>{wrong}</table:table-row>"
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = (
        f'<office:document-content {spaces} xmlns:calcext="urn:org:documentfoundation:names:'
        'experimental:calc:xmlns:calcext:1.0"><office:body><office:spreadsheet>'
        f'<table:table table:name="a &amp; b">{body}</table:table>'
        f'<table:table table:name="other">{second}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    manifest = (
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        '<manifest:file-entry manifest:full-path="/" '
        'manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/></manifest:manifest>'
    )
    path = tmp_path / "book.ods"
    with zipfile.ZipFile(path, "w") as archive_file:
        archive_file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive_file.writestr("content.xml", content)
        archive_file.writestr("META-INF/manifest.xml", manifest)
    found = read(path)
    assert found.column("code") == ["A1", "A2", "A3"]
    assert found.column("name") == ["#N/A", "#DIV/0!", None]
    assert found.column("note") == ["x", "#VALUE!", "z"]
