"""An empty table to fill in: the headings of a kind in one language, and one row as an example."""

import csv
import io
from typing import Final, Literal

import xlsxwriter

from app.errors import Invalid, NotFound
from app.intake.targets import Field, Kind, kind_of
from app.schemas.titles import heading

_EXAMPLES: Final = {
    "text": "", "code": "", "number": "", "integer": "", "boolean": "true", "day": "2026-01-31",
    "instant": "2026-01-31T08:00:00Z", "json": "",
}  # fmt: skip
_GIVEN: Final = {
    "code": "cam-0001", "jurisdiction": "410800", "lon": "113.2418", "lat": "35.2159",
    "kind": "vehicle", "geometry": "",
}  # fmt: skip


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
        known = kind_of(kind if kind.endswith("s") else kind.replace("-", "_"))
    except Invalid as error:
        raise NotFound("import template", kind) from error
    columns = [*known.fields.values(), *_place(known)]
    header = [heading(field.name, language) for field in columns]
    example = [_example(field) for field in columns]
    return _sheet(header, example) if file_format == "xlsx" else _text(header, example)


def _place(kind: Kind) -> list[Field]:
    """Return the columns that give the place: a pair for points, else one geometry."""
    names = ("lon", "lat") if "Point" in kind.shapes else ("geometry",) if kind.shapes else ()
    return [kind.helpers[name] for name in names]


def _example(field: Field) -> str:
    if field.name in _GIVEN:
        return _GIVEN[field.name]
    if field.words:
        return str(field.words[0])
    return _EXAMPLES.get(field.form, "")


def _text(header: list[str], example: list[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([header, example])
    return ("\ufeff" + text.getvalue()).encode()


def _sheet(header: list[str], example: list[str]) -> bytes:
    """Return a workbook whose cells are text, so that no code of twenty digits loses any."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    sheet = book.add_worksheet()
    text, bold = book.add_format({"num_format": "@"}), book.add_format({"bold": True})
    sheet.set_column(0, len(header) - 1, 18, text)
    for at, (title, cell) in enumerate(zip(header, example, strict=True)):
        sheet.write_string(0, at, title, bold)
        sheet.write_string(1, at, cell, text)
    sheet.freeze_panes(1, 0)
    book.close()
    return file.getvalue()
