"""Delimited text: what people's programs write, with exact row numbers."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.ingest.values.text import clean_cell
from tests.ingest.readers.files import read, written


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "，", "；"])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r", "\r\r\n"])
def test_delimiter_and_line_ends_are_found(tmp_path: Path, delimiter: str, line: str) -> None:
    rows = [["code", "name", "lon"], ["A1", "East gate", "113,5"], ["A2", "West", "113.6"]]
    if delimiter == ",":
        rows[1][2] = "113.5"
    text = line.join(delimiter.join(row) for row in rows) + line
    result = read(written(tmp_path, text))
    assert result.detected.delimiter == delimiter
    assert result.detected.format == ("tsv" if delimiter == "\t" else "csv")
    assert (result.columns, result.numbers) == (("code", "name", "lon"), [2, 3])
    assert result.column("name") == ["East gate", "West"]


def test_rows_are_counted_as_a_spreadsheet_counts_them(tmp_path: Path) -> None:
    text = 'code,name\n\nA1,"two\nlines"\n , \n,\nA2,"a ""quoted"" one"\nA3,last'
    result = read(written(tmp_path, text))
    assert result.numbers == [3, 6, 7]
    assert result.column("name") == ["two\nlines", 'a "quoted" one', "last"]
    assert any("line breaks" in note for note in result.detected.notes)


def test_titles_above_the_header_are_passed_over(tmp_path: Path) -> None:
    text = "焦作市摄像机台账,,\n单位:甲,,2024-01-02\n\n编号,名称,经度\nA1,东门,113.2\nA2,西门,113.3\n"
    result = read(written(tmp_path, text))
    assert result.detected.header_row == 4
    assert result.columns == ("编号", "名称", "经度")
    assert result.numbers == [5, 6]
    assert any("row 4" in note for note in result.detected.notes)


def test_a_header_may_take_two_rows(tmp_path: Path) -> None:
    text = "编号,坐标,,名称\n,经度,纬度,\nA1,113.2,35.1,东门\n"
    result = read(written(tmp_path, text))
    assert result.columns == ("编号", "经度", "纬度", "名称")
    assert (result.detected.header_row, result.numbers) == (2, [3])


def test_a_table_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    result = read(written(tmp_path, "A1,113.2,35.1\nA2,113.3,35.2\n"))
    assert result.detected.header_row is None
    assert result.columns == ("column 1", "column 2", "column 3")
    assert result.numbers == [1, 2]


def test_the_header_row_may_be_stated(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\nc,d\nA1,x\n")
    assert read(path, header_row=2).columns == ("c", "d")
    assert read(path, header_row=0).numbers == [1, 2, 3]
    with pytest.raises(Invalid) as rejection:
        read(path, header_row=9)
    assert rejection.value.code == "no-such-row"


def test_ragged_rows_are_reported_and_not_lost(tmp_path: Path) -> None:
    text = "code,name,note\nA1,x\nA2,x,y,,\nA3,x,y,z\nA4,x,y\nA5\n"
    result = read(written(tmp_path, text))
    assert result.numbers == [2, 3, 4, 5, 6]
    assert result.column("code") == ["A1", "A2", "A3", "A4", "A5"]
    codes_of = {(issue.row, issue.code, issue.severity) for issue in result.odd}
    assert codes_of == {
        (2, "too-few-cells", "warning"), (4, "too-many-cells", "error"), (6, "too-few-cells", "warning"),
    }  # fmt: skip
    assert any("(2, 6)" in note for note in result.detected.notes)


def test_blank_and_repeated_headers_get_names(tmp_path: Path) -> None:
    result = read(written(tmp_path, "code,,note,note,,\nA1,x,y,z,,\n"))
    assert result.columns == ("code", "column 2", "note", "note (2)")
    assert result.rows == [{"code": "A1", "column 2": "x", "note": "y", "note (2)": "z"}]


def test_values_without_a_header_are_reported(tmp_path: Path) -> None:
    rows = "".join(f"A{number},x,,\n" for number in range(200)) + "B,x,,late\n"
    result = read(written(tmp_path, "code,name,,\n" + rows))
    assert result.columns == ("code", "name")
    assert [(issue.row, issue.code) for issue in result.odd] == [(202, "too-many-cells")]


def test_invisible_characters_are_cleaned(tmp_path: Path) -> None:
    text = "\ufeffcode ,\u200bname\nA\u200b1\u00a0,\u3000东\u00a0门\u3000 \n"
    result = read(written(tmp_path, text))
    assert result.rows == [{"code": "A1", "name": "东 门"}]
    assert result.detected.encoding == "utf-8 with BOM"


def test_codes_stay_text(tmp_path: Path) -> None:
    text = "code,zeros\n41080000001320000001,007\n4.1080000000000E+19,1e5\n"
    result = read(written(tmp_path, text))
    assert result.column("code") == ["41080000001320000001", "4.1080000000000E+19"]
    assert result.column("zeros") == ["007", "1e5"]


def test_codes_that_are_forced_to_be_text(tmp_path: Path) -> None:
    text = 'code,name\n="41080000001320000001",x\n"=""41080000001320000002""",y\n'
    text += '\'41080000001320000003,\'s\n="",\'12a\n"4108\t",z\n'
    result = read(written(tmp_path, text))
    codes = [f"4108000000132000000{index}" for index in (1, 2, 3)]
    assert result.column("code") == [*codes, None, "4108"]
    assert result.column("name") == ["x", "y", "'s", "'12a", "z"]


def test_the_hint_of_a_spreadsheet_about_its_delimiter_is_followed(tmp_path: Path) -> None:
    result = read(written(tmp_path, "sep=;\ncode;name\nA1;x,y,z\n"))
    assert (result.columns, result.numbers) == (("code", "name"), [3])


def test_stray_quotes_stay(tmp_path: Path) -> None:
    text = 'code,name\nA1,5" pole\nA2,"quoted, well"\nA3,the "old" gate\n'
    result = read(written(tmp_path, text))
    assert result.column("name") == ['5" pole', "quoted, well", 'the "old" gate']
    assert result.numbers == [2, 3, 4]


def test_a_quote_that_is_never_closed_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, 'code,name\nA1,x\nA2,"open\n' + "A3,x\n" * 50))
    assert rejection.value.code == "unclosed-quote"
    assert "row 3" in rejection.value.detail


def test_a_stated_delimiter_must_be_one_sign(tmp_path: Path) -> None:
    path = written(tmp_path, "code name,x\nA1,y\n")
    assert read(path, delimiter="comma").columns == ("code name", "x")
    with pytest.raises(Invalid) as rejection:
        read(path, delimiter="::")
    assert rejection.value.code == "unknown-delimiter"


def test_batches_are_cut_to_size_and_can_be_read_again(tmp_path: Path) -> None:
    text = "code,name\n" + "".join(f"A{number},n\n" for number in range(1000))
    path = written(tmp_path, text)
    assert read(path, at_once=7).numbers == list(range(2, 1002))


def _unforced(cell: str) -> str:
    """Return a cell without the apostrophe that keeps digits from becoming a number."""
    return cell[1:] if re.fullmatch("'[0-9]+", cell) else cell


_CELL = st.text(alphabet="ab,;\"'\n |0é路 \u00a0", max_size=6)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(_CELL, min_size=3, max_size=3), max_size=12),
    style=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    at_once=st.integers(1, 5),
)
def test_what_python_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]], style: int, end: str, at_once: int,
) -> None:  # fmt: skip
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=style, lineterminator=end)  # type: ignore[arg-type]  # stub: Literal
    writer.writerows([["one", "two", "three"], *rows])
    path = written(tmp_path_factory.mktemp("laws"), out.getvalue())
    result = read(path, at_once=at_once, delimiter=",", header_row=1)
    cleaned = [[clean_cell(_unforced(cell)) for cell in row] for row in rows]
    expected = [(index, row) for index, row in enumerate(cleaned, 2) if any(row)]
    assert result.numbers == [index for index, _ in expected]
    assert [list(row.values()) for row in result.rows] == [row for _, row in expected]


@pytest.mark.parametrize(
    "content", ["x" * 200_000, "a,b\n1,2\n" + "x" * 200_000 + "\n", "a,b\n1,2\n" + "x" * 5_000_000]
)
def test_a_line_without_end_is_rejected(tmp_path: Path, content: str) -> None:
    with pytest.raises(Invalid) as codes_of:
        read(written(tmp_path, content))
    assert codes_of.value.code == "damaged-file"


def test_marks_of_ordinary_text_cut_only_what_nothing_else_cuts(tmp_path: Path) -> None:
    text = "code,地址\n" + "".join(f"A{index},解放路，近人民路\n" for index in range(9)) + "A10\nA11\n"
    assert read(written(tmp_path, text)).detected.delimiter == ","
    quoted = 'code，"地址，详细"\nA1，"解放路，""东""口"\n'
    result = read(written(tmp_path, quoted))
    assert result.rows == [{"code": "A1", "地址，详细": '解放路，"东"口'}]
    assert read(written(tmp_path, "code^x\nA1^y\n"), delimiter="caret").column("x") == ["y"]


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ('"解放路"东口"', '解放路"东口'),
        ('"解放路"东口"北"', '解放路"东口"北'),
        ('解放路"东口"', '解放路"东口"'),
        ('"解放""路"东口"', '解放"路"东口'),
        ('"a,""b"",c"', 'a,"b",c'),
        ('"""b"""', '"b"'),
        ('""', None),
    ],
)
def test_quotes_inside_quoted_cells_stay(tmp_path: Path, cell: str, meant: str | None) -> None:
    path = written(tmp_path, f'code,name,n\n1,{cell},3\n2,"甲"乙",3\n')
    assert read(path).rows == [
        {"code": "1", "name": meant, "n": "3"},
        {"code": "2", "name": '甲"乙', "n": "3"},
    ]


def test_a_header_below_many_lines_of_notes_is_found(tmp_path: Path) -> None:
    notes = ["填表说明", *(f"{index}. 请如实填写第 {index} 项" for index in range(1, 46))]
    path = written(tmp_path, "\n".join([*notes, "编码,名称,经度", "A1,甲,113.2", "A2,乙,113.3", ""]))
    result = read(path)
    assert (result.columns, result.detected.header_row) == (("编码", "名称", "经度"), 47)
    assert result.numbers == [48, 49]
