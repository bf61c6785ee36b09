"""Workbooks as people fill them in: titles, merged cells, dates, lost digits, several sheets."""

import datetime as dt
import zipfile
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from app.errors import Invalid
from tests.ingest.readers.files import read


def workbook(folder: Path, **sheets: list[list[Any]]) -> Path:
    path = folder / "book.xlsx"
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return path


def test_values_come_as_text(tmp_path: Path) -> None:
    day = dt.datetime(2024, 3, 1)  # noqa: DTZ001 - a spreadsheet has no zone
    path = workbook(
        tmp_path,
        数据=[
            ["编号", "编码", "经度", "朝向", "日期", "启用"],
            ["A1", 4.108e19, 113.25, 90, day, True],
            ["A2", "41080000001320000001", 113.0, 0.1, "", False],
            [None] * 6,
            ["A3", 1234567890123456, 1e-7, -5, "", ""],
        ],
    )
    result = read(path)
    assert result.numbers == [2, 3, 5]
    assert result.column("编码") == [
        "4.1080000000000E+19",
        "41080000001320000001",
        "1.2345678901235E+15",
    ]
    assert result.column("经度") == ["113.25", "113", "1e-07"]
    assert result.column("朝向") == ["90", "0.1", "-5"]
    assert result.column("日期") == ["2024-03-01", None, None]
    assert result.column("启用") == ["true", "false", None]
    assert (result.detected.layer, result.detected.header_row) == ("数据", 1)


def test_titles_merged_cells_and_formulas(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.merge_range(0, 0, 0, 3, "焦作市卡口台账")
        sheet.write_row(2, 1, ["单位", "编号", "车道数"])
        sheet.merge_range(3, 1, 5, 1, "解放分局")
        sheet.write_column(3, 2, ["A1", "A2", "A3"])
        sheet.write_formula(3, 3, "=1+1", None, 2)
        sheet.write_formula(4, 3, '="x"&"y"', None, "xy")
    result = read(path)
    assert result.columns == ("单位", "编号", "车道数")
    assert result.numbers == [4, 5, 6]
    assert result.column("单位") == ["解放分局"] * 3
    assert result.column("车道数") == ["2", "xy", None]
    assert any("Merged" in note for note in result.detected.notes)


def test_two_header_rows_under_a_merged_group(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.merge_range(0, 0, 1, 0, "编号")
        sheet.merge_range(0, 1, 0, 2, "坐标")
        sheet.write_row(1, 1, ["经度", "纬度"])
        sheet.write_row(2, 0, ["A1", 113.2, 35.1])
    result = read(path)
    assert (result.columns, result.numbers) == (("编号", "经度", "纬度"), [3])


def test_the_first_sheet_with_a_table_is_read_unless_one_is_named(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        说明=[["请填写下表"]],
        相机=[["code", "name"], ["A1", "x"]],
        other=[["id", "b"], ["B1", "y"]],
    )
    result = read(path)
    assert (result.detected.layer, result.column("code")) == ("相机", ["A1"])
    assert result.detected.layers == ("说明", "相机", "other")
    assert read(path, sheet="other").column("id") == ["B1"]
    with pytest.raises(Invalid) as rejection:
        read(path, sheet="none")
    assert rejection.value.code == "unknown-layer"
    assert "相机" in rejection.value.detail


def test_hidden_sheets_are_not_chosen(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        hidden, shown = book.add_worksheet("lists"), book.add_worksheet("data")
        hidden.write_row(0, 0, ["code", "name"])
        hidden.write_row(1, 0, ["secret", "x"])
        hidden.hide()
        shown.write_row(0, 0, ["code", "name"])
        shown.write_row(1, 0, ["A1", "x"])
        shown.activate()
        shown.set_first_sheet()
    assert read(path).column("code") == ["A1"]


def test_a_broken_workbook_is_rejected(tmp_path: Path) -> None:
    path = workbook(tmp_path, a=[["code"], ["A1"]])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(Invalid) as rejection:
        read(path)
    assert rejection.value.code == "damaged-file"


def test_formulas_without_a_value_are_not_blank(tmp_path: Path) -> None:
    archive_file = tmp_path / "made.xlsx"
    with xlsxwriter.Workbook(archive_file) as book:
        sheet = book.add_worksheet("点位 & 表")
        for row, cells in enumerate((("编码", "名称"), ("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"))):
            sheet.write_row(3 + row, 2, cells)
        sheet.write_formula("D5", "=VLOOKUP(1,A1,1)", None, "#N/A")
        sheet.write_formula("D6", "=A1&A2", None, 987654)  # below: a formula without a computed value
        sheet.write_formula("D7", '=""', None, "blank")
        sheet.write_formula("D20", "=A1&A2", None, 987654)
    path = tmp_path / "file.xlsx"
    with zipfile.ZipFile(archive_file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name).replace(b"<v>blank</v>", b"<v></v>")
            new.writestr(name, content.replace(b"<v>987654</v>", b"<v></v>"))
    result = read(path)
    assert result.column("名称") == ["#N/A", "#CALC!", None, "d"]
    assert any("no computed values" in note for note in result.detected.notes)


def test_a_workbook_without_a_cell_is_empty(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as codes_of:
        read(workbook(tmp_path, one=[], two=[[]]))
    assert codes_of.value.code == "empty-file"


def test_a_group_name_is_added_to_repeated_names_and_a_datum_to_each(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        台账=[
            ["序号", "WGS84坐标", None, "高德坐标", None, "安装", None],
            [None, "经度", "纬度", "经度", "纬度", "日期", "单位"],
            [1, 113.2, 35.2, 113.3, 35.3, "2024-03-05", "甲"],
        ],
        一组=[["编码", "百度坐标", None], [None, "经度", "纬度"], ["A", 113.2, 35.2]],
    )
    wgs84, gcj02 = "（WGS84坐标）", "（高德坐标）"
    headers = (f"经度{wgs84}", f"纬度{wgs84}", f"经度{gcj02}", f"纬度{gcj02}")
    assert read(path).columns == ("序号", *headers, "日期", "单位")
    assert read(path, sheet="一组").columns == ("编码", "经度（百度坐标）", "纬度（百度坐标）")


def test_a_workbook_packed_with_backslashes_is_one(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("台账")
        sheet.write_row(0, 0, ["编码", "车道数"])
        sheet.write_row(1, 0, ["A1", 2])
        sheet.write(2, 0, "A2")
        sheet.write_formula(2, 1, "=1/0", None, "#DIV/0!")
    second = tmp_path / "windows.xlsx"
    with zipfile.ZipFile(path) as packed, zipfile.ZipFile(second, "w") as again:
        for info in packed.infolist():
            again.writestr(info.filename.replace("/", "\\"), packed.read(info))
        again.writestr("xl\\", b"")
    result = read(second)
    assert (result.detected.format, result.column("车道数")) == ("xlsx", ["2", "#DIV/0!"])


@pytest.mark.parametrize("early", [True, False])
def test_days_counted_from_1904_are_reported(tmp_path: Path, early: bool) -> None:
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path, {"date_1904": early}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["编码", "安装日期"])
        sheet.write(1, 0, "A1")
        day = dt.datetime(2024, 3, 5)  # noqa: DTZ001 - a spreadsheet has no zone
        sheet.write_datetime(1, 1, day, book.add_format({"num_format": "yyyy-mm-dd"}))
    result = read(path)
    assert result.column("安装日期") == ["2024-03-05"]
    assert any("1904" in note for note in result.detected.notes) is early
