"""Files made to break a reader, by malice or by accident: refused, never a crash."""

import io
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from app.errors import Invalid
from app.ingest.values.coordinates import ISSUE_CODES, parse_shapes
from app.ingest.values.shapes import parse_wkb
from tests.ingest.readers.files import read, written
from tests.ingest.readers.test_opening import rejection, zipped


def sheet(folder: Path, cells: str, name: str = "stray.xlsx") -> Path:
    """A workbook whose sheet has the given XML."""
    book = io.BytesIO()
    with xlsxwriter.Workbook(book) as archive_file:
        archive_file.add_worksheet().write(0, 0, "x")
    path = folder / name
    with zipfile.ZipFile(book) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("sheet1.xml"):
                begin, end = content.index(b"<sheetData>"), content.index(b"</sheetData>")
                content = content[: begin + 11] + cells.encode() + content[end:]
            new.writestr(info.filename, content)
    return path


TABLE = (
    '<row r="1"><c r="A1" t="str"><v>code</v></c><c r="B1" t="str"><v>name</v></c></row>'
    '<row r="2"><c r="A2" t="str"><v>A1</v></c><c r="B2" t="str"><v>x</v></c></row>'
)


@pytest.mark.parametrize("stray", [
    '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
    "<row r='1048576'><c s='1' r='XFD1048576' t='n'><v>1</v></c></row>",
    '<row r = "90000"><c r = "XFD90000"><v>1</v></c></row>',
])  # fmt: skip
def test_a_stray_value_far_away_does_not_fill_memory(tmp_path: Path, stray: str) -> None:
    error = rejection(sheet(tmp_path, TABLE + stray))
    assert error.code == "unpacks-too-large"
    assert "XFD" in error.detail


def test_formatted_blank_cells_far_away_do_no_harm(tmp_path: Path) -> None:
    result = read(sheet(tmp_path, TABLE + '<row r="1048576"><c r="XFD1048576" s="0"/></row>'))
    assert result.column("code") == ["A1"]


def ods(folder: Path, rows: str) -> Path:
    content = (
        '<?xml version="1.0" encoding="UTF-8"?><office:document-content '
        'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
        f'<table:table table:name="相机">{rows}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    return zipped(
        folder, ("mimetype", kind), ("content.xml", content), ("META-INF/manifest.xml", manifest),
        name="x.ods",
    )  # fmt: skip


def cell(text: str, more: str = "") -> str:
    kind = 'office:value-type="string"'
    return f"<table:table-cell {kind}{more}><text:p>{text}</text:p></table:table-cell>"


def test_an_opendocument_spreadsheet(tmp_path: Path) -> None:
    rows = (
        f"<table:table-row>{cell('编号')}{cell('名称')}</table:table-row>"
        f"<table:table-row>{cell('A1')}{cell('东门')}</table:table-row>"
        '<table:table-row table:number-rows-repeated="1048574">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    )
    result = read(ods(tmp_path, rows))
    assert (result.detected.format, result.detected.layer) == ("ods", "相机")
    assert result.rows == [{"编号": "A1", "名称": "东门"}]


@pytest.mark.parametrize("rows", [
    '<table:table-row table:number-rows-repeated="1048576">'
    + cell("x", ' table:number-columns-repeated="16384"') + "</table:table-row>",
    '<table:table-row table:number-rows-repeated="1048575">' + cell("x") + "</table:table-row>"
    "<table:table-row>" + cell("x", ' table:number-columns-repeated="16384"') + "</table:table-row>",
])  # fmt: skip
def test_repeated_cells_do_not_fill_memory(tmp_path: Path, rows: str) -> None:
    assert rejection(ods(tmp_path, rows)).code == "unpacks-too-large"


DEEP = 200_000


@pytest.mark.parametrize("text", [
    "GEOMETRYCOLLECTION(" * DEEP + "POINT(1 1)" + ")" * DEEP,
    "COMPOUNDCURVE(" * DEEP + "(0 0,1 1)" + ")" * DEEP,
    (struct.pack("<BII", 1, 7, 1) * DEEP + struct.pack("<BIdd", 1, 1, 1, 1)).hex(),
    (struct.pack("<BII", 1, 6, 1) * DEEP + struct.pack("<BIdd", 1, 1, 1, 1)).hex(),
    '{"type":"GeometryCollection","geometries":[' * DEEP + "]}" * DEEP,
    '{"type":"Point","coordinates":' + "[" * DEEP + "]" * DEEP + "}",
])  # fmt: skip
def test_nested_shapes_in_a_cell_do_not_run_out_of_stack(text: str) -> None:
    shapes, issue, _ = parse_shapes(pa.array([text, "POINT (1 2)"]))
    assert ISSUE_CODES[issue[0]] == "bad-geometry"
    assert shapes[1] == shapely.Point(1, 2)


@given(st.lists(st.sampled_from([
    shapely.Point(1, 2), shapely.LineString([(0, 0), (1, 1)]), shapely.box(0, 0, 2, 2),
    shapely.box(0, 0, 9, 9) - shapely.box(1, 1, 2, 2), shapely.Point(), shapely.Point(1, 2, 3),
]), max_size=4), st.booleans(), st.booleans())  # fmt: skip
def test_ordinary_shapes_pass_in_every_spelling_of_wkb(parts: list[BaseGeometry], mixed: bool, big: bool) -> None:
    several: list[Any] = [batch_items for batch_items in parts if mixed or batch_items.geom_type == "Polygon"]
    shape: BaseGeometry = shapely.GeometryCollection(several)
    if not mixed:
        shape = shapely.MultiPolygon(several)
    for flavor in ("extended", "iso"):
        raw = shapely.to_wkb(
            shapely.set_srid(shape, 4326), byte_order=0 if big else 1, flavor=flavor,
            include_srid=flavor == "extended",
        )  # fmt: skip
        shapes, bad = parse_wkb(np.array([raw, None, raw[:-1] or b"x"], dtype=object))
        assert shapely.force_2d(shape).equals_exact(shapes[0])
        assert (shapes[1], bad) == (None, [2])


def test_deep_values_of_properties_are_read_or_rejected(tmp_path: Path) -> None:
    begin, end = '{"type":"Feature","geometry":null,"properties":{"a":', "}}"
    path = written(tmp_path, begin + "[" * 200 + "]" * 200 + end)
    assert read(path).rows[0]["a"] == "[" * 200 + "]" * 200
    for deep in range(900, 1100, 20):
        with suppress(Invalid):
            read(written(tmp_path, begin + "[" * deep + "]" * deep + end))
    assert rejection(written(tmp_path, begin + "[" * 5000 + "]" * 5000 + end)).code == "too-deep"
