"""Chinese for sentences made in English: known ones, and none that the code no longer says."""

import ast
from functools import cache
from pathlib import Path

import pytest

from app.ingest.messages import chinese
from app.ingest.messages import chinese as refusals

_APP = Path(chinese.__file__).parents[1]
_KNOWN = ("chinese.py", "refusals.py")


@cache
def _said() -> str:
    """Return all fixed texts of the readers, the import and its service."""
    files = [
        *_APP.glob("formats/*.py"),
        *(_APP / "services" / "imports").glob("*.py"),
        *(path for path in _APP.glob("intake/*.py") if path.name not in _KNOWN),
    ]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    return "\n".join(str(node.value) for node in nodes if isinstance(node, ast.Constant))


@pytest.mark.parametrize("english", chinese._NOTES | chinese._HINTS | chinese._ENDINGS | refusals._READING)
def test_every_known_sentence_is_still_said(english: str) -> None:
    missing = [part for part in english.split("{}") if part.strip("'. ") and part not in _said()]
    assert missing == []
    told = chinese.in_chinese(english.replace("{}", "H7"))
    assert any("一" <= sign <= "鿿" for sign in told)
    assert told.count("H7") == english.count("{}") or english.startswith("The layer has")


def test_the_pattern_with_the_most_words_wins() -> None:
    told = chinese.in_chinese("The options do not fit the file: a file of format csv has no sheet.")
    assert told == "选项与文件不符：csv 格式的文件没有 sheet。"


def test_a_sentence_within_a_sentence() -> None:
    told = chinese.in_chinese("The last item is cut off. Rows: 2 (3, 4).")
    assert told == "最后一个条目不完整。共 2 行（3, 4）。"


_REFUSING = ("Invalid", "MalformedBody", "Conflict", "refused", "_damaged", "_broken", "_bad")
"""Calls whose text is, or is a part of, the refusal of a file."""


def _template(node: ast.expr) -> str | None:
    """Return a text with a mark where values stand; None where it is not written out."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [_template(part) if isinstance(part, ast.Constant) else "H7" for part in node.values]
        return "".join(part or "" for part in parts)
    return None


def _refusals() -> dict[str, str]:
    """Return every sentence with which a file is refused, and where it is said."""
    found = {}
    files = [
        *_APP.glob("formats/*.py"), *_APP.glob("intake/*.py"),
        *(_APP / "services" / "imports").glob("*.py"), _APP / "routers" / "uploads.py",
    ]  # fmt: skip
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            told = [_template(argument) for argument in node.args] if name in _REFUSING else []
            for text in told:
                if text and " " in text and set(text) - set("H7., "):
                    found[text] = f"{path.name}:{node.lineno}"
    return found


def test_every_refusal_of_a_file_is_known_in_chinese() -> None:
    said = _refusals()
    assert len(said) > 80
    english = {
        where: text
        for text, where in said.items()
        if not any("一" <= sign <= "鿿" for sign in chinese.in_chinese(text))
    }
    assert english == {}


def _told_of_files() -> dict[str, str]:
    """Return every sentence that a reader says of a file, and where."""
    found = {}
    for path in _APP.glob("formats/*.py"):
        if path.name.startswith(("write", "writing")):
            continue
        tree = ast.parse(path.read_text())
        parts = {
            id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
            for value in node.values
        }  # fmt: skip
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.expr) or id(node) in parts | said:
                continue
            text = _template(node)
            if text and " " in text and text[0].isupper() and text.endswith("."):
                found[text] = f"{path.name}:{node.lineno}"
    return found


def test_every_note_of_a_reader_is_known_in_chinese() -> None:
    told = _told_of_files()
    assert len(told) > 60
    unknown = {
        text: where
        for text, where in told.items()
        if not any("一" <= sign <= "鿿" for sign in chinese.in_chinese(text))
    }
    assert unknown == {}


def test_a_sentence_of_others_stays_as_it_is() -> None:
    for sentence in ("The camera is not valid: /code: and so on.", "a and b", "x" * 6000):
        assert chinese.in_chinese(sentence) == sentence
