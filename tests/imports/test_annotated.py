"""The annotated file has the rows that the list of rows has, for every filter."""

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
    response = await client.get(url)
    assert response.status_code == 200, response.text
    if "xlsx" in url:
        book = CalamineWorkbook.from_filelike(io.BytesIO(response.content))
        rows: list[list[Any]] = book.get_sheet_by_index(0).to_python()
    else:
        rows = list(csv.reader(io.StringIO(response.text.removeprefix("\ufeff"))))
    header, *cells = rows
    assert (header[0], header[-1]) == ("code", "errors"), url
    return [str(line[0]) for line in cells]


@pytest.mark.parametrize("options", [{}, {"on_error": "skip_rows"}, {"dry_run": True}, {"max_remove_share": 0}])
async def test_a_filter_means_the_same_of_rows_and_of_the_file(
    city: httpx.AsyncClient, options: dict[str, Any]
) -> None:
    await brought(city, cameras(2))
    job = await brought(city, table(_ROWS), **options)
    result = {}
    for status in (None, *get_args(RowFilter)):
        reported = [item["code"] for item in await rows_of(city, job, status) if item["row"]]
        query = f"?status={status}" if status else "?"
        for more in ("&format=csv", "&format=xlsx"):
            codes = await _codes(city, job["links"]["file"] + query + more)
            refused = [code for code in codes if code == "cam-3"]  # its code was not judged
            assert [code for code in codes if code not in refused] == [c for c in reported if c]
            assert len(codes) == len(reported)
        result[status] = len(reported)
    unwritten = 3 if not options or "max_remove_share" in options else 0
    assert result["not_written"] == unwritten
    assert result["created"] == (0 if unwritten else 2)
    assert (result["refused"], result[None]) == (1, 5)
