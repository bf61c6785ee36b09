"""The engine runs without the service, as `docs/notebook.md` shows; `app.geo` lists all its modules."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import app.geo

ROOT = Path(__file__).resolve().parents[2]


def test_the_notebook_prints_its_output() -> None:
    text = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|text)\n(.*?)```", text, re.DOTALL)
    codes, outputs = blocks[::2], blocks[1::2]
    assert {kind for kind, _ in codes} == {"python"}
    names: dict[str, Any] = {}
    for (_, code), (kind, output) in zip(codes, outputs, strict=True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)  # the document's own code
        assert (kind, printed.getvalue()) == ("text", output)


def test_the_package_lists_every_module() -> None:
    folder = ROOT / "app" / "geo"
    modules = {path.stem for path in folder.rglob("[!_]*.py")} | {path.name for path in folder.glob("[!_]*/")}
    listed = set(re.findall(r"[a-z_]+", (app.geo.__doc__ or "").partition("notebook.md")[2]))
    assert modules <= listed, modules - listed
