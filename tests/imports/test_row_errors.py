"""The table of row errors: every text has a translation with the same parameters."""

import string

import pytest

from app.imports import row_errors
from app.imports.row_errors import RowError
from app.messages import load_translations

ERRORS = [value for value in vars(row_errors).values() if isinstance(value, RowError)]
TEXTS = [text for error in ERRORS for text in (error.message, error.hint) if text is not None]


def list_parameters(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_has_chinese(text: str) -> None:
    assert list_parameters(load_translations()[text]) == list_parameters(text)


def test_a_row_error_names_code_field_and_value() -> None:
    issue = row_errors.DUPLICATE_CODE.to_issue(7, "cam-1", first=3)
    assert (issue.row, issue.code, issue.field, issue.value) == (7, "duplicate-code", "code", "cam-1")
    assert (issue.message, issue.hint) == ("Code 'cam-1' is already in row 3.", "Keep one of the two rows.")


def test_a_long_value_is_shortened() -> None:
    issue = row_errors.DUPLICATE_REFERENCE.to_issue(7, "A" * 200, first=3)
    assert issue.value is not None
    assert len(issue.value) == 80
    assert issue.value in issue.message
