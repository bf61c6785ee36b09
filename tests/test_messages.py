"""The message catalogue: every English template in the code has its Chinese, with the same parameters."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.messages import Message, load_translations, translate_message

APP = Path(__file__).parents[1] / "app"


def iter_templates() -> Iterator[tuple[str, str]]:
    """Yield file and line, and template, of every message in the code."""
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "Message":
                continue
            if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                yield f"{path.relative_to(APP)}:{node.lineno}", node.args[0].value


def list_parameters(template: str) -> set[str]:
    return {name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(template) if name}


TEMPLATES = list(iter_templates())


def test_every_template_has_chinese() -> None:
    translations = load_translations()
    assert [(place, template) for place, template in TEMPLATES if template not in translations] == []


def test_both_languages_use_the_same_parameters() -> None:
    differing = [
        english
        for english, chinese in load_translations().items()
        if list_parameters(english) != list_parameters(chinese)
    ]
    assert differing == []


@pytest.mark.parametrize(
    ("english", "chinese"),
    [("plain text", "plain text"), (Message("no such template {n}", n=1), "no such template 1")],
)
def test_a_text_without_translation_stays_english(english: str, chinese: str) -> None:
    assert translate_message(english, "zh") == chinese


def test_parameters_that_are_messages_are_translated() -> None:
    english, chinese = next(iter((e, c) for e, c in load_translations().items() if not list_parameters(e)))
    outer = Message("{inner}", inner=Message(english))
    assert outer == english
    assert outer.parameters["inner"].template in load_translations()
    assert translate_message(outer.parameters["inner"], "zh") == chinese
