"""The annotated file has the rows that the list of rows has, whatever they are asked for by."""

import csv
import io
from typing import Any, get_args

import httpx
import pytest
from python_calamine import CalamineWorkbook

from app.imports.schemas import RowFilter
from tests.imports.files import brought, cameras, row, rows_of, table

_ROWS = [row(0, name_zh="新"), row(1), row(2), row(3, lon="x"), row(4, address="=1+1")]


async def _codes(client: httpx.AsyncClient, url: str) -> list[str]:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    if "xlsx" in url:
        book = CalamineWorkbook.from_filelike(io.BytesIO(answer.content))
        rows: list[list[Any]] = book.get_sheet_by_index(0).to_python()
    else:
        rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    header, *cells = rows
    assert (header[0], header[-1]) == ("code", "errors"), url
    return [str(line[0]) for line in cells]


@pytest.mark.parametrize("options", [{}, {"on_error": "skip_rows"}, {"dry_run": True}, {"max_remove_share": 0}])
async def test_a_filter_means_the_same_of_rows_and_of_the_file(
    city: httpx.AsyncClient, options: dict[str, Any]
) -> None:
    await brought(city, cameras(2))
    job = await brought(city, table(_ROWS), **options)
    found = {}
    for status in (None, *get_args(RowFilter)):
        told = [item["code"] for item in await rows_of(city, job, status) if item["row"]]
        query = f"?status={status}" if status else "?"
        for more in ("&format=csv", "&format=xlsx"):
            codes = await _codes(city, job["links"]["file"] + query + more)
            refused = [code for code in codes if code == "cam-3"]  # its code was not judged
            assert [code for code in codes if code not in refused] == [c for c in told if c]
            assert len(codes) == len(told)
        found[status] = len(told)
    unwritten = 3 if not options or "max_remove_share" in options else 0
    assert found["not_written"] == unwritten
    assert found["created"] == (0 if unwritten else 2)
    assert (found["refused"], found[None]) == (1, 5)
