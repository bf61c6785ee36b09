"""The table of file formats: names are unique, and the documentation lists every format."""

import re
from pathlib import Path

import pytest

from app.errors import Invalid
from app.ingest.formats import FORMATS, WRITERS, parse_format_name

_DOCS = Path(__file__).parents[2] / "docs"


def test_names_and_aliases_are_unique() -> None:
    names = [name for known in FORMATS.values() for name in (known.name, *known.aliases)]
    assert len(set(names)) == len(names)
    for known in FORMATS.values():
        for name in (known.name, *known.aliases):
            assert parse_format_name(f" {name.upper()} ") == known.name


def test_an_unknown_format_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match=r"Unknown format 'dwg'\. Formats: xlsx, ods") as rejection:
        parse_format_name("dwg")
    assert rejection.value.code == "unsupported-format"


def test_the_content_test_of_csv_comes_after_all_others() -> None:
    assert list(FORMATS)[-2:] == ["csv", "tsv"]


def test_the_documentation_lists_every_format_that_is_read() -> None:
    page = (_DOCS / "formats.md").read_text()
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`([\w-]+)`", row)
    }
    assert set(FORMATS) <= listed


def test_the_documentation_lists_every_format_that_is_written() -> None:
    page = (_DOCS / "export.md").read_text()
    assert [ending for ending in WRITERS if f"`{ending}`" not in page] == []
