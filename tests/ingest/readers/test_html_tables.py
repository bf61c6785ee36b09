"""Tables that systems hand out under the name of a workbook: web pages, and Excel 2003 XML."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.ingest.readers import spill, xml_text
from app.ingest.readers.excel import html_tables
from tests.ingest.readers.files import read, written

PAGE = """<html xmlns:o="urn:schemas-microsoft-com:office:office"
xmlns:x="urn:schemas-microsoft-com:office:excel">
<head><meta http-equiv=Content-Type content="text/html; charset={charset}">
<!--[if gte mso 9]><xml><x:ExcelWorkbook>
<table><tr><td>none</td></tr></table></x:ExcelWorkbook></xml><![endif]-->
<style>td {{mso-number-format:"\\@";}} <table></style><script>var a = "<table>";</script></head><body>
<table border=1 id="台账">
<tr><td colspan=4 style='font-size:20px'>焦作市摄像机台账&nbsp;</td></tr>
<tr><th rowspan="2">设备编码</th><th rowspan=2>设备<br>名称</th><th colspan="2">坐标</th></tr>
<tr><th>经度</th><th>纬度</th>
<tr><td style='mso-number-format:"\\@"'>41080000001320000001</td><td><b>解放路</b>
   与<font color=red>人民路</font>&amp;东口</td><td>113.25</td><td x:num="35.2159123">35.22</td></tr>
<tr><td>&nbsp;</td><td></td><td></td><td></td></tr>
<tr><td x:num="4.108000000132E+19">4.108E+19</td><td rowspan=2>二号</td><td>113.3</td><td>35.3
<tr><td x:num="41080000001320000003">4.108E+19<td>113.4<td>35.4
</table></body></html>"""


@pytest.mark.parametrize(("charset", "codec"), [("gb2312", "gb18030"), ("utf-8", "utf-8"), ("gb2312", "utf-8")])
@pytest.mark.parametrize("name", ["a.xls", "a.xlsx", "a.html"])
def test_a_page_of_a_system_is_a_table(tmp_path: Path, charset: str, codec: str, name: str) -> None:
    result = read(written(tmp_path, PAGE.format(charset=charset), name, codec))
    assert result.columns == ("设备编码", "设备\n名称".replace("\n", " "), "经度", "纬度")
    assert result.numbers == [4, 6, 7]
    assert result.rows == [
        dict(zip(result.columns, cells, strict=True))
        for cells in (
            ("41080000001320000001", "解放路 与人民路&东口", "113.25", "35.2159123"),
            ("4.1080000001320E+19", "二号", "113.3", "35.3"),
            ("41080000001320000003", "二号", "113.4", "35.4"),
        )
    ]
    codes_of = result.detected
    assert (codes_of.format, codes_of.encoding, codes_of.layer, codes_of.header_row) == ("html", codec, "台账", 3)


def test_the_largest_table_is_read_unless_one_is_named(tmp_path: Path) -> None:
    menu = "<table><tr><td>首页</td><td>退出</td></tr><tr><td>a</td><td>b</td></tr></table>"
    data = "<table><caption>点位</caption><tr><th>code<th>name<tr><td>A1<td>x<tr><td>A2<td>y</table>"
    page = f"<!DOCTYPE html><body>{menu}<table><tr><td>{data}</td></tr></table>{menu}"
    path = written(tmp_path, page, "x.xls")
    result = read(path)
    assert (result.detected.layer, result.column("code")) == ("点位", ["A1", "A2"])
    assert result.detected.layers == ("table 1", "点位", "table 4")
    assert any("the workbook also has" in note for note in result.detected.notes)
    assert read(path, layer="table 1").columns == ("首页", "退出")
    with pytest.raises(Invalid) as rejected:
        read(path, sheet="none")
    assert rejected.value.code == "unknown-layer"


def test_a_large_page_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "MAX_MEMORY_BYTES", 100)
    monkeypatch.setattr(html_tables, "_PIECE", 7)  # tags and references are cut anywhere
    rows = "".join(f"<tr><td>A{index}</td><td>x &amp; y</td></tr>" for index in range(500))
    path = written(tmp_path, f"<table><tr><td>code</td><td>name</td></tr>{rows}</table>", "x.xls")
    result = read(path, at_once=64)
    assert result.column("code") == [f"A{index}" for index in range(500)]
    assert set(result.column("name")) == {"x & y"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("<html><body><form><table><tr><td>login<td><input></table></form>", "unsupported-format"),
        ("<html><body>no table", "unsupported-format"),
        ("<table>" * 200, "too-deep"),
        ("<table><tr><td>a<td>b<tr><td><![nonsense[ ]]>", "damaged-file"),
        ("<table><tr>" + "<td colspan=9999>a" * 20, "unpacks-too-large"),
        ("<table><tr><td>a<td>b<tr><td>" + "<!-- " + "x" * 3_000_000, "damaged-file"),
    ],
)
def test_pages_without_a_table_are_rejected(
    tmp_path: Path, content: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html_tables, "LONGEST_TAG", 1 << 20)
    with pytest.raises(Invalid) as rejected:
        read(written(tmp_path, content, "x.xls"))
    assert rejected.value.code == code


BOOK = """<?xml version="1.0"{encoding}?>
<?mso-application progid="Excel.Sheet"?>
<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"
xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">
<Worksheet ss:Name="列表"><Table><Row>
<Cell><Data ss:Type="String">a</Data></Cell>
<Cell><Data ss:Type="String">b</Data></Cell></Row>
<Row>
<Cell><Data ss:Type="String">x</Data></Cell></Row></Table>
<WorksheetOptions xmlns="urn:schemas-microsoft-com:office:excel">
<Visible>SheetHidden</Visible></WorksheetOptions></Worksheet>
<Worksheet ss:Name="相机"><Table ss:ExpandedColumnCount="9">
<Column ss:Width="100"/>
<Row>
<Cell ss:MergeAcross="4"><Data ss:Type="String">焦作市台账</Data></Cell></Row>
<Row ss:Index="3">
<Cell><Data ss:Type="String">编码</Data></Cell>
<Cell><Data ss:Type="String">单位</Data></Cell>
<Cell ss:Index="4"><Data ss:Type="String">经度</Data></Cell>
<Cell><Data ss:Type="String">启用</Data></Cell>
<Cell><Data ss:Type="String">日期</Data></Cell></Row>
<Row>
<Cell><Data ss:Type="String">41080000001320000001</Data></Cell>
<Cell ss:MergeDown="1">
<Data ss:Type="String">解放<B>分局</B></Data><Comment><Data>note</Data></Comment></Cell>
<Cell ss:Index="4"><Data ss:Type="Number">113.25</Data></Cell>
<Cell><Data ss:Type="Boolean">1</Data></Cell>
<Cell><Data ss:Type="DateTime">2024-03-01T00:00:00.000</Data></Cell></Row>
<Row>
<Cell><Data ss:Type="Number">4.1080000001320002E+19</Data></Cell>
<Cell ss:Index="4"><Data ss:Type="Error">#N/A</Data></Cell>
<Cell ss:Formula="=A1"/><Cell><Data ss:Type="DateTime">2024-03-01T08:30:00.000</Data></Cell></Row>
<Row ss:Index="9" ss:Hidden="1">
<Cell><Data ss:Type="Number">41080000001320000003</Data></Cell>
<Cell><Data ss:Type="String"></Data></Cell></Row>
</Table></Worksheet></Workbook>"""


@pytest.mark.parametrize(("encoding", "codec"), [("", "utf-8"), (' encoding="GB2312"', "gb18030")])
def test_a_workbook_of_excel_2003_is_a_table(tmp_path: Path, encoding: str, codec: str) -> None:
    result = read(written(tmp_path, BOOK.format(encoding=encoding), "x.xls", codec))
    assert (result.detected.format, result.detected.layer) == ("xml-spreadsheet", "相机")
    assert (result.detected.layers, result.detected.header_row) == (("相机",), 3)
    assert result.columns == ("编码", "单位", "经度", "启用", "日期")
    assert result.numbers == [4, 5, 9]
    assert [list(row.values()) for row in result.rows] == [
        ["41080000001320000001", "解放分局", "113.25", "true", "2024-03-01"],
        ["4.1080000001320E+19", "解放分局", "#N/A", "#CALC!", "2024-03-01T08:30:00"],
        ["41080000001320000003", None, None, None, None],
    ]
    assert read(tmp_path / "x.xls", sheet="列表").rows == [{"a": "x", "b": None}]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("<Workbook", '<!DOCTYPE a [<!ENTITY b "c">]><Workbook'), "unsafe-file"),
        (('ss:Index="9"', 'ss:Index="2"'), "damaged-file"),
        (('ss:Index="9"', 'ss:Index="x"'), "damaged-file"),
        (('ss:Index="4"', 'ss:Index="99999"'), "damaged-file"),
        (('ss:MergeAcross="4"', 'ss:MergeAcross="99999"'), "unpacks-too-large"),
        (("</Table></Worksheet></Workbook>", ""), "damaged-file"),
    ],
)
def test_an_impossible_workbook_is_rejected(tmp_path: Path, change: tuple[str, str], code: str) -> None:
    with pytest.raises(Invalid) as rejected:
        read(written(tmp_path, BOOK.format(encoding="").replace(*change), "x.xls"))
    assert rejected.value.code == code


def test_a_table_for_each_page_is_read_as_one(tmp_path: Path) -> None:
    head = "<tr><th>code<th>name</tr>"
    pages = [
        f"<table>{title}{head}<tr><td>{code}<td>x</tr></table>"
        for title, code in (("<tr><td colspan=2>台账</tr>", "A1"), ("", "A2"), ("", "A3"))
    ]
    second = "<table><tr><th>id<th>b</tr><tr><td>B1<td>y</tr></table>"
    result = read(written(tmp_path, pages[0] + second + "".join(pages[1:]), "x.xls"))
    assert (result.column("code"), result.numbers) == (["A1", "A2", "A3"], [3, 5, 7])
    assert any("same header" in note for note in result.detected.notes)
    assert read(tmp_path / "x.xls", layer="table 3").column("code") == ["A2"]
    nested = f"<table>{head}<tr><td>A1<td>x{pages[1]}</tr></table>"
    assert read(written(tmp_path, nested, "y.xls")).column("code") == ["A1"]


def test_what_programs_that_write_markup_by_hand_get_wrong(tmp_path: Path) -> None:
    book = "\r\n" + BOOK.format(encoding="").replace("解放<B>", "A&B & C &amp; D\x0b<B>")
    assert read(written(tmp_path, book, "x.xls")).column("单位")[0] == "A&B & C & D分局"
    for cut in range(1, 8):
        pieces = [book[index : index + cut] for index in range(0, len(book), cut)]
        text = "".join(xml_text.repair_text(iter(pieces)))
        assert text == "".join(xml_text.repair_text(iter([book])))
    page = "导出结果<br><TABLE><TR><TH>code<TH>name<TR><TD><input value='A1'><TD>x</TABLE>"
    assert read(written(tmp_path, page, "y.xls")).column("code") == ["A1"]


_BITS = st.sampled_from(
    [
        "<table>", "</table>", "<tr>", "</tr>", "<td colspan=3>", "<th rowspan=2>", "</td>",
        "<td rowspan=0>",
        "<![if x]>", "<![x[", "<!--", "-->", "<script>", "</script>", "<caption>", "</caption>", "<br/>",
        "&#x110000;", "&lt", "<a b='", "'", "<?", "<!", "code", "合计", "\x00", "<table id=a>", ">",
        "<input value=x>",
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_BITS, max_size=60))
def test_any_sequence_of_tags_is_read_or_rejected(tmp_path: Path, bits: list[str]) -> None:
    with suppress(Invalid):
        read(written(tmp_path, "<table><tr><td>a<td>b<tr><td>" + "".join(bits), "x.xls"))


_INNER = st.sampled_from(
    [
        "a", "41080000001320000001", " a  b ", "&amp;", "&nbsp;", "&lt", "&#x4e1c;", "\n", "",
        "\u3000x\u200b", "<b>b</b>", "<br>", "a < b", "<!-- c -->", "<input value=x>", "\x1e", "东",
        "<table><tr><td>n</table>",
    ]
)  # fmt: skip
_TOLD = st.sampled_from(
    [
        "", "", "", " style='mso-number-format:\"\\@\"'", ' width=50% title="a"', " nowrap",
        "\n class=x ", " rowspan=2", ' COLSPAN="2"', ' x:num="1.5"', " title='>'", " a=b=c", " rowspan",
    ]
)  # fmt: skip
_AROUND = st.sampled_from(["", "\n", "<tbody>", "<!-- </tr> -->", "<caption>t</caption>", "<script></tr></script>"])
_ENDS = st.sampled_from(["</td>", "</td>", "</TD>", "</th>", ""])
_CELL = st.builds("<{}{}>{}{}".format, st.sampled_from(["td", "td", "TD"]), _TOLD, _INNER, _ENDS)
_LINE = st.builds(
    "{}<tr{}>{}{}".format,
    _AROUND, _TOLD, st.lists(_CELL, max_size=4).map("\n".join),
    st.sampled_from(["</tr>", "</tr>", "</TR >", ""]),
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_LINE, max_size=8), st.integers(1, 200))
def test_plain_rows_are_what_the_parser_makes_of_them(tmp_path: Path, rows: list[str], piece: int) -> None:
    head = "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr>"
    path = written(tmp_path, head + "".join(rows) + "</table>", "x.xls")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html_tables, "_PIECE", piece)
        result = _read_or_refused(path)
        patch.setattr(html_tables._PageParser, "parse_text", lambda page, text: page.feed(text) or "")
        assert _read_or_refused(path) == result


def _read_or_refused(path: Path) -> object:
    try:
        return read(path)
    except Invalid as error:
        return error.code, error.detail


def test_plain_rows_do_not_reach_the_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = "<tr class=x><td nowrap>A{}</td>\n<td>x &amp; y</td></tr>\n"
    rows = "".join(row.format(index) for index in range(300))
    path = written(tmp_path, f"<table><tr><td>code</td><td>name</td></tr>{rows}</table>", "x.xls")
    met = _watched(monkeypatch, "begin_cell")
    result = read(path)
    assert result.column("code") == [f"A{index}" for index in range(300)]
    assert set(result.column("name")) == {"x & y"}
    assert len(met) <= 2


def test_an_unfinished_comment_is_not_gone_through_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "<tr><td>x</td></tr>" * 30_000
    path = written(tmp_path, f"<table><tr><td>a<td>b<tr><td>1<td>2</tr><!-- {rows}", "x.xls")
    met = _watched(monkeypatch, "feed")
    assert read(path).rows[0] == {"a": "1", "b": "2"}
    assert len(met) < 50


def _watched(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Return what grows with every call of a method of the page."""
    met: list[str] = []
    method = getattr(html_tables._PageParser, name)

    def called(page: object, codes_of: object) -> object:
        met.append(name)
        return method(page, codes_of)

    monkeypatch.setattr(html_tables._PageParser, name, called)
    return met
