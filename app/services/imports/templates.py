"""A table to fill in: the headings of a kind in one language, with rows as examples, as a file."""

import io
from collections.abc import Sequence
from typing import Any, Final, Literal

import xlsxwriter

from app.errors import Invalid, NotFound
from app.intake.targets import kind_of
from app.intake.templates import Template, csv_text
from app.intake.templates import template as table

_WIDE: Final = 18
_TOLD: Final = {"zh": "说明", "en": "Columns"}


def template(
    kind: str, file_format: Literal["csv", "xlsx"], language: Literal["zh", "en"]
) -> bytes:
    """Return the template of a kind.

    Raises
    ------
    NotFound
        when there is no such kind.
    """
    try:
        name = kind_of(kind if kind.endswith("s") else kind.replace("-", "_")).name
    except Invalid as error:
        raise NotFound("import template", kind) from error
    if file_format == "csv":
        return ("\ufeff" + csv_text(name, language)).encode()
    return _workbook(table(name, language))


def _workbook(found: Template) -> bytes:
    """Return a workbook whose cells are text, so that no code of twenty digits loses any.

    Its second sheet says what each column takes.
    """
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    _sheet(book, found.kind, [found.headings, *found.examples])
    _sheet(book, _TOLD[found.language], [found.columns_heading, *found.columns])
    book.close()
    return file.getvalue()


def _sheet(book: Any, name: str, rows: Sequence[Sequence[str]]) -> None:
    sheet = book.add_worksheet(name)
    text, bold = book.add_format({"num_format": "@"}), book.add_format({"bold": True})
    sheet.set_column(0, len(rows[0]) - 1, _WIDE, text)
    for at, row in enumerate(rows):
        for place, cell in enumerate(row):
            sheet.write_string(at, place, cell, text if at else bold)
    sheet.freeze_panes(1, 0)
