"""Templates of the kinds as files: text for any program, a workbook whose cells keep twenty digits."""

import io
from typing import Any, Literal

import xlsxwriter

from app.errors import Invalid, NotFound
from app.intake import templates
from app.intake.targets import kind_of

_WIDE = 18


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
        text = templates.csv_text(name, language)
        return (text if text.startswith("\ufeff") else "\ufeff" + text).encode()
    return _workbook(templates.template(name, language))


def _workbook(wanted: templates.Template) -> bytes:
    """Return a workbook: the table to fill in, and what each column takes."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    text, bold = book.add_format({"num_format": "@"}), book.add_format({"bold": True})
    table = book.add_worksheet(wanted.kind)
    table.set_column(0, len(wanted.headings) - 1, _WIDE, text)
    _fill(table, [wanted.headings, *wanted.examples], bold)
    told = book.add_worksheet("列说明" if wanted.language == "zh" else "columns")
    told.set_column(0, len(wanted.columns_heading) - 1, _WIDE, text)
    _fill(told, [wanted.columns_heading, *wanted.columns], bold)
    book.close()
    return file.getvalue()


def _fill(sheet: Any, rows: list[tuple[str, ...]], bold: Any) -> None:
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            sheet.write_string(at, column, cell, *([bold] if at == 0 else []))
    sheet.freeze_panes(1, 0)
