"""The engine is used without the service, as `docs/notebook.md` shows; its rooms are all named."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import app.geo

ROOT = Path(__file__).resolve().parents[2]


def test_the_notebook_prints_what_it_says() -> None:
    told = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|text)\n(.*?)```", told, re.DOTALL)
    codes, answers = blocks[::2], blocks[1::2]
    assert {kind for kind, _ in codes} == {"python"}
    names: dict[str, Any] = {}
    for (_, code), (kind, said) in zip(codes, answers, strict=True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)  # the document's own code
        assert (kind, printed.getvalue()) == ("text", said)


def test_every_module_of_geo_has_a_room() -> None:
    modules = {path.stem for path in (ROOT / "app" / "geo").glob("[!_]*.py")}
    rooms = (app.geo.__doc__ or "").partition("notebook.md")[2]
    named = re.findall(r"[a-z]+", rooms)
    assert modules <= set(named), modules - set(named)
