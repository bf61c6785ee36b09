"""Templates as files: what is sent out comes back in."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import NotFound
from app.imports.profiles import build_template
from app.imports.record_specs import find_record_spec
from app.ingest.columns.planner import Options, build_plan
from app.ingest.readers.opening import open_source
from app.ingest.validation.batch_validation import validate_batch

KINDS = ("cameras", "checkpoints", "control-points", "roads", "rings", "states", "buildings")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_template_imports_as_it_is_sent(kind: str, form: Any, tmp_path: Path) -> None:
    file = tmp_path / f"template.{form}"
    file.write_bytes(build_template(kind, form, "zh"))
    with open_source(file) as source:
        batch = next(iter(source.iter_batches()))
        plan = build_plan(Options(find_record_spec(kind)), source.detected, source.columns, batch)
    response = validate_batch(plan, batch)
    assert (response.valid.num_rows, response.issues) == (2, [])


def test_only_kinds_that_are_imported_have_a_template() -> None:
    with pytest.raises(NotFound):
        build_template("persons", "csv", "zh")


async def test_a_message_about_a_profile_keeps_the_words_of_its_sender(city: httpx.AsyncClient) -> None:
    body = {"name": "mine", "columns": {"SBBM": "code"}}
    response = await city.put("/v1/import-profiles/other", json=body)
    assert response.status_code == 422
    assert "URL, 'other'" in response.json()["detail"]
