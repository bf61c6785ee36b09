"""Chinese for sentences made in English: known ones, and none that the code no longer says."""

import ast
from functools import cache
from pathlib import Path

import pytest

from app.intake import chinese

_APP = Path(chinese.__file__).parents[1]


@cache
def _said() -> str:
    """Return all fixed texts of the readers, the import and its service."""
    files = [
        *_APP.glob("formats/*.py"),
        *(_APP / "services" / "imports").glob("*.py"),
        *(path for path in _APP.glob("intake/*.py") if path.name != "chinese.py"),
    ]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    return "\n".join(str(node.value) for node in nodes if isinstance(node, ast.Constant))


@pytest.mark.parametrize("english", chinese._NOTES | chinese._HINTS | chinese._ENDINGS)
def test_every_known_sentence_is_still_said(english: str) -> None:
    missing = [part for part in english.split("{}") if part.strip("'. ") and part not in _said()]
    assert missing == []
    told = chinese.in_chinese(english.replace("{}", "H7"))
    assert any("一" <= sign <= "鿿" for sign in told)
    assert told.count("H7") == english.count("{}") or english.startswith("The layer has")


def test_a_sentence_within_a_sentence() -> None:
    told = chinese.in_chinese("The last item is cut off. Rows: 2 (3, 4).")
    assert told == "最后一个条目不完整。共 2 行（3, 4）。"
