"""KML and KMZ: placemarks of all folders with their data; nothing is followed."""

import zipfile
from pathlib import Path

import pytest
import shapely

from app.errors import Invalid
from tests.ingest.readers.files import read, written

KML = """<?xml version="1.0" encoding="{codec}"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>卡口</name>
<NetworkLink><Link><href>http://127.0.0.1:1/more.kml</href></Link></NetworkLink>
<Folder><name>一环</name>
<Placemark id="p1"><name>东门</name><ExtendedData><Data name="code"><value>A1</value></Data>
<SchemaData schemaUrl="#s"><SimpleData name="azimuth">90</SimpleData></SchemaData></ExtendedData>
<Point><coordinates> 113.2, 35.1, 80 </coordinates></Point></Placemark>
<Placemark><name>路</name><LineString><coordinates>113,35,0 114,36,0</coordinates></LineString>
</Placemark>
</Folder>
<Placemark><name>面</name><Polygon><outerBoundaryIs><LinearRing><coordinates>0,0 4,0 4,4 0,4 0,0
</coordinates></LinearRing></outerBoundaryIs><innerBoundaryIs><LinearRing><coordinates>1,1 2,1 2,2 1,1
</coordinates></LinearRing></innerBoundaryIs></Polygon></Placemark>
<Placemark><name>多</name><MultiGeometry><Point><coordinates>1,2</coordinates></Point>
<Point><coordinates>3,4</coordinates></Point></MultiGeometry></Placemark>
<Placemark><name>坏</name><Point><coordinates>x,y</coordinates></Point></Placemark>
</Document></kml>"""


@pytest.mark.parametrize("codec", ["utf-8", "gbk"])
def test_placemarks(tmp_path: Path, codec: str) -> None:
    result = read(written(tmp_path, KML.format(codec=codec), "x.kml", codec))
    assert (result.detected.format, result.detected.crs) == ("kml", "EPSG:4326")
    assert result.columns == ("@id", "folder", "name", "code", "azimuth")
    assert result.rows[0] == {
        "@id": "p1", "folder": "卡口/一环", "name": "东门", "code": "A1", "azimuth": "90",
    }  # fmt: skip
    assert result.column("name") == ["东门", "路", "面", "多", "坏"]
    assert result.shapes[:2] == [
        shapely.Point(113.2, 35.1),
        shapely.LineString([(113, 35), (114, 36)]),
    ]
    assert result.shapes[2].area == 15.5
    assert result.shapes[3] == shapely.MultiPoint([(1, 2), (3, 4)])
    assert result.shapes[4] is None
    assert [(issue.row, issue.code) for issue in result.odd] == [(5, "bad-geometry")]


def test_a_model_is_at_its_location(tmp_path: Path) -> None:
    """``ogr2ogr -f LIBKML`` writes models for points that have a field called model."""
    model = "<Placemark><Model><Location>{}</Location><Link><href>M-1</href></Link></Model></Placemark>"
    locations = (
        "<longitude>113.2</longitude><latitude>35.1</latitude>",
        "<latitude>35.1</latitude>",
        "<longitude>nan</longitude><latitude>35.1</latitude>",
    )
    parts = "".join(map(model.format, locations))
    result = read(written(tmp_path, f"<kml><Document>{parts}</Document></kml>", "x.kml"))
    assert result.shapes == [shapely.Point(113.2, 35.1), None, None]
    assert [(issue.row, issue.code) for issue in result.odd] == [(2, "bad-geometry"), (3, "bad-geometry")]


def test_kmz(tmp_path: Path) -> None:
    path = tmp_path / "x.kmz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/a.png", b"\x89PNG")
        archive.writestr("doc.kml", KML.format(codec="utf-8"))
    assert read(path).column("name")[0] == "东门"
    with pytest.raises(Invalid) as rejection:
        read(path, layer="none.kml")
    assert rejection.value.code == "unknown-layer"


def test_a_folder_is_a_layer(tmp_path: Path) -> None:
    def of(name: str, *within: str) -> str:
        return f"<Folder><name>{name}</name>{''.join(within)}</Folder>"

    def placemark(name: str) -> str:
        point = "<Point><coordinates>113.2,35.1</coordinates></Point>"
        return f"<Placemark><name>{name}</name>{point}</Placemark>"

    inner = of("东区", placemark("b"), of("南", placemark("c")))
    folders = of("摄像机", placemark("a"), inner) + of("卡口", placemark("d"))
    text = f"<kml><Document>{folders}</Document></kml>"
    path = written(tmp_path, text, "x.kml")
    assert read(path).column("name") == ["a", "b", "c", "d"]
    for layer, names in (
        ("摄像机", ["a", "b", "c"]), ("东区", ["b", "c"]), ("摄像机/东区/南", ["c"]), ("卡口", ["d"]),
    ):  # fmt: skip
        result = read(path, layer=layer)
        assert (result.column("name"), result.detected.layer) == (names, layer)
    for layer in ("区", "摄像机/南", "x.kml"):
        with pytest.raises(Invalid, match="摄像机, 摄像机/东区, 摄像机/东区/南, 卡口") as rejection:
            read(path, layer=layer)
        assert rejection.value.code == "unknown-layer"
    with pytest.raises(Invalid, match="no folder"):
        read(written(tmp_path, f"<kml>{placemark('a')}</kml>", "y.kml"), layer="摄像机")


def test_broken_and_unsafe_kml(tmp_path: Path) -> None:
    text = KML.format(codec="utf-8")
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, text[:900], "x.kml"))
    assert rejection.value.code == "damaged-file"
    bomb = text.replace("<kml", '<!DOCTYPE kml [<!ENTITY x SYSTEM "file:///etc/passwd">]><kml')
    with pytest.raises(Invalid) as rejection:
        read(written(tmp_path, bomb, "x.kml"))
    assert rejection.value.code == "unsafe-file"


def placemark(description: str) -> str:
    return (
        "<kml><Document><Placemark><name>东门</name><description><![CDATA["
        f"{description}]]></description><Point><coordinates>1,2</coordinates></Point></Placemark>"
        "</Document></kml>"
    )


def test_a_table_in_a_description_is_read_as_what_it_says(tmp_path: Path) -> None:
    rows = "<tr><td>编码：</td><td><b>A&amp;1</b></td></tr><TR><TH>高度</TH><TD>5.5</TD></TR>"
    rows += "<tr><td>name</td><td>other</td></tr><tr><td>blank</td><td></td></tr>"
    inner = f"<html><table border='1'><tr><td><table>{rows}</table></td></tr></table></html>"
    result = read(written(tmp_path, placemark(inner), "x.kml"))
    assert result.rows == [{"name": "东门", "编码": "A&1", "高度": "5.5"}]


@pytest.mark.parametrize("text", ["plain", "<table><tr><td>a</td><td>1</td></tr></table>",
                                  "<table><tr><td>a</td><td>b</td><td>c</td></tr></table>"])  # fmt: skip
def test_a_description_that_is_not_a_table_of_names_stays(tmp_path: Path, text: str) -> None:
    assert read(written(tmp_path, placemark(text), "x.kml")).column("description") == [text]


def test_links_are_reported_and_never_followed(tmp_path: Path) -> None:
    notes = read(written(tmp_path, KML.format(codec="utf-8"))).detected.notes
    assert any("not fetched" in note for note in notes)
    alone = "<kml><NetworkLink><Link><href>http://127.0.0.1:1/a.kml</href></Link></NetworkLink></kml>"
    with pytest.raises(Invalid, match="only links") as rejection:
        read(written(tmp_path, alone))
    assert rejection.value.code == "empty-file"
