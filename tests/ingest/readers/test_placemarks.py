"""Placemarks as the parser meets them, held against the whole tree of the same document."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.ingest.readers import encoding, xml_text
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.gis import kml
from app.ingest.readers.gis.kml import SHAPES
from app.ingest.readers.model import SourceFile
from tests.ingest.readers.files import read, written

_NAMES = st.sampled_from(["a", "b", "name", "folder"])
_TEXTS = st.sampled_from(["", " ", "x", "东", "&amp;", "<![CDATA[<td>1</td>]]>", "<b>in</b>", "y\n"])
_OTHERS = st.sampled_from(
    ["", "<styleUrl>#s</styleUrl>", "<TimeStamp><when>2024</when></TimeStamp>", "\n", "<value>8</value>",
     "<Model/>", "<!-- <Placemark> -->", "<g:Track xmlns:g='g'><g:coord>1 2</g:coord></g:Track>"]
)  # fmt: skip
_LOCATIONS = st.sampled_from(["1,2", " 1.5 , 2 ,3 ", "1,2 3,4", "1,2,0\n3,4,0\t5,6", "x", "1", ""])


@st.composite
def _element(draw: st.DrawFn, names: list[str], inner: st.SearchStrategy[str]) -> str:
    name = draw(st.sampled_from(names))
    return f"<{name}>{draw(inner)}</{name}>"


_DATUM = st.one_of(
    _OTHERS,
    st.builds(
        "<Data name='{}'>{}<value>{}</value>{}</Data>".format,
        _NAMES, _OTHERS, st.lists(_TEXTS, max_size=3).map("".join), _OTHERS,
    ),
    st.builds("<Data name='{}'><displayName>z</displayName></Data>".format, _NAMES),
    st.builds("<Data><value>{}</value></Data>".format, _TEXTS),
    st.builds("<SchemaData><SimpleData name='{}'>{}</SimpleData></SchemaData>".format, _NAMES, _TEXTS),
)  # fmt: skip
_CHILD = st.one_of(
    _OTHERS,
    _element(["name", "description", "address"], st.lists(_TEXTS, max_size=3).map("".join)),
    st.lists(_DATUM, max_size=4).map(lambda data: f"<ExtendedData>{''.join(data)}</ExtendedData>"),
    st.builds("<{0}><coordinates>{1}</coordinates></{0}>".format,
              st.sampled_from(["Point", "LineString"]), _LOCATIONS),
)  # fmt: skip
_PLACEMARK = st.builds(
    "<Placemark{}>{}</Placemark>".format,
    st.sampled_from(["", " id='p'", " id=''"]),
    st.lists(_CHILD, max_size=6).map("".join),
)
_FOLDER = st.recursive(
    st.one_of(_PLACEMARK, _element(["name"], st.sampled_from(["一", " 二 ", ""])), _OTHERS),
    lambda inner: _element(["Folder", "Document", "other"], st.lists(inner, max_size=4).map("".join)),
    max_leaves=8,
)


def _text(element: Any) -> str | None:
    return element.text if element.text else None


def _expected(element: Any, folders: list[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the values of placemarks, and whether something of it cannot be read, from the tree."""
    tag = element.tag.rsplit("}")[-1]
    if tag != "Placemark":
        folders = [*folders, ""]
        for child in element:
            if child.tag == "name" and tag in ("Folder", "Document"):
                folders[-1] = (child.text or "").strip()
            yield from _expected(child, folders)
        return
    values: dict[str, Any] = {"@id": element.get("id")} if element.get("id") else {}
    if folder := "/".join(filter(None, folders)):
        values["folder"] = folder
    issues = False
    for child in element:
        tag = child.tag.rsplit("}")[-1]
        if tag in ("name", "address", "description"):
            values[tag] = _text(child)
        elif tag in ("Model", "Track"):
            issues = True
        elif tag in SHAPES:
            locations = [
                location.split(",")
                for location in " ".join((child[0].text or "").replace(" ,", ",").replace(", ", ",").split()).split()
            ]
            issues |= len(locations) < (1 if tag == "Point" else 2) or any(
                len(location) < 2 or location[0] == "x" for location in locations
            )
        elif tag == "ExtendedData":
            for item in child.iter():
                if item.get("name") and item.tag == "Data":
                    values[item.get("name")] = next((_text(v) for v in item if v.tag == "value"), None)
                elif item.get("name") and item.tag == "SimpleData":
                    values[item.get("name")] = _text(item)
    yield values, issues


@settings(max_examples=150, deadline=None)
@given(st.lists(_FOLDER, max_size=5), st.integers(1, 40))
def test_placemarks_are_those_of_the_tree(parts: list[str], cut: int) -> None:
    text = f"<kml><Document>{''.join(parts)}</Document></kml>"
    raw = text.encode()

    def blocks(_file: SourceFile, _coding: Encoding) -> Iterator[bytes]:
        yield from (raw[index : index + cut] for index in range(0, len(raw), cut))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kml, "iter_safe_blocks", blocks)
        result = list(kml.iter_placemarks(SourceFile(Path("x.kml"), "x.kml"), Encoding("utf-8"), set()))
    expected = list(_expected(ElementTree.fromstring(text), []))
    assert [(record.values, record.issue is not None) for record in result] == expected
    assert [list(record.values) for record in result] == [list(values) for values, _ in expected]


def test_a_placemark_in_another_is_one_too(tmp_path: Path) -> None:
    inner = "<Placemark><name>b</name></Placemark>"
    text = f"<kml><Placemark><name>a</name>{inner}<address>c</address></Placemark></kml>"
    assert read(written(tmp_path, text, "x.kml")).rows == [
        {"name": "b", "address": None}, {"name": "a", "address": "c"},
    ]  # fmt: skip


def test_shapes_nested_too_deeply_are_reported(tmp_path: Path) -> None:
    point = "<Point><coordinates>1,2</coordinates></Point>"
    for deep, bad in ((3, 0), (5_000, 1)):
        shape = "<MultiGeometry>" * deep + point + "</MultiGeometry>" * deep
        result = read(written(tmp_path, f"<kml><Placemark>{shape}</Placemark></kml>", "x.kml"))
        assert [odd.code for odd in result.odd] == ["bad-geometry"] * bad


@pytest.mark.parametrize(("text", "location"), [
    ("<kml>\n<Placemark><name>东东</name><<</Placemark></kml>", "line 2, character 28"),
    ("<kml><Placemark><name>&nbsp;</name></Placemark></kml>", "line 1, character 23"),
    ("<kml><Placemark><gx:Track/></Placemark></kml>", "line 1, character 17"),
    ("<kml><Placemark></Placemark></kml>\n<kml/>", "line 2, character 1"),
    ("<kml><Placemark>", "line 1, character 17"),
])  # fmt: skip
def test_invalid_xml_is_rejected_with_line_and_character(tmp_path: Path, text: str, location: str) -> None:
    with pytest.raises(Invalid, match=location) as rejection:
        read(written(tmp_path, text, "x.kml"))
    assert rejection.value.code == "damaged-file"


def test_a_document_type_is_rejected_wherever_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'<?xml version="1.0"?>\n<!dOcTyPe kml [<!ENTITY x "y">]><kml>&x;</kml>'
    file = SourceFile(written(tmp_path, text, "x.kml"), "x.kml")
    for cut in range(1, len(text)):
        pieces = [text[:cut], text[cut:]]
        monkeypatch.setattr(encoding, "iter_utf8_blocks", lambda *_, of=pieces, **__: iter(of))
        with pytest.raises(Invalid) as rejection:
            list(xml_text.iter_safe_blocks(file, Encoding("utf-8")))
        assert rejection.value.code == "unsafe-file"
