"""The outcomes of an import's rows, read back as JSON and as an annotated file in CSV or XLSX."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import anyio.to_thread
import numpy as np
import orjson
import pyarrow as pa
import shapely
import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.cursors import INVALID_CURSOR
from app.db.engine import Database
from app.errors import InvalidQuery, NotFound
from app.geo.arrays import Ints
from app.imports.jobs import fetch_visible_job, is_rolled_back
from app.imports.queries import jobs as job_queries
from app.imports.result_store import DETAILS, ISSUES, NO_STATUS, STATUSES, WRITTEN, localize_issue, read_table
from app.imports.schemas import RowFilter
from app.messages import Language, Message, translate_message

FileFormat = Literal["csv", "xlsx"]
NOT_WRITTEN: Final = "not_written"
"""Status of rows that an import wrote before it failed; its transaction is rolled back."""
MERGED: Final = "merged"
"""Status of a row that is part of a record of another row: one of several lanes."""
PASSED_OVER: Final = "passed_over"
"""Status of a row that is not a record."""
_NON_RECORD_CODES: Final = frozenset({"not-a-record", "not-a-device"})
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_MAX_SHEET_ROWS: Final = 1_048_575
_MAX_CURSOR_LENGTH: Final = 20


async def load_rows(
    connection: AsyncConnection,
    job_id: str,
    principal: Principal,
    *,
    status: RowFilter | None,
    after: str | None,
    limit: int,
    language: Language,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return outcomes of rows in the order of the file, and the key that the next page starts after."""
    rolled_back = is_rolled_back(await fetch_visible_job(connection, job_id, principal))
    page, start = parse_position(after)
    if has_no_rows(status, rolled_back):
        return [], None
    rows: list[dict[str, Any]] = []
    stored_statuses = list_stored_statuses(status)
    while (stored := await job_queries.fetch_page(connection, job_id, page, stored_statuses)) is not None:
        number, results, _ = stored
        page_rows, next_start = await anyio.to_thread.run_sync(
            read_rows,
            results,
            status,
            language,
            start if number == page else 0,
            limit - len(rows),
            rolled_back,
        )
        rows += page_rows
        if next_start is not None:
            return rows, f"{number}:{next_start}"
        page, start = number + 1, 0
    return rows, None


def has_no_rows(status: RowFilter | None, rolled_back: bool) -> bool:
    """Return whether no row can have a status, because of the end of the job."""
    return (status in WRITTEN and rolled_back) or (status == NOT_WRITTEN and not rolled_back)


def list_stored_statuses(status: RowFilter | None) -> Sequence[str] | None:
    """Return the stored statuses of rows that a filter selects."""
    if status is None:
        return None
    return WRITTEN if status == NOT_WRITTEN else (status,)


def parse_position(after: str | None) -> tuple[int, int]:
    """Return the page number and the row index of a key ``page:row``."""
    if after is None:
        return 0, 0
    page, _, start = after.partition(":")
    if not (page.isdecimal() and start.isdecimal() and len(after) < _MAX_CURSOR_LENGTH):
        raise InvalidQuery(INVALID_CURSOR, parameter="cursor")
    return int(page), int(start)


def read_rows(
    results: bytes,
    status: RowFilter | None,
    language: Language,
    start: int,
    limit: int,
    rolled_back: bool = False,
) -> tuple[list[dict[str, Any]], int | None]:
    """Return up to ``limit`` rows of a stored page from an index on, and the index of the next one."""
    table = read_table(results)
    positions = select_rows(table, status)
    positions = positions[positions >= start]
    rows = []
    for row in table.take(pa.array(positions[:limit])).to_pylist():
        details = orjson.loads(row[DETAILS]) if row[DETAILS] else {}
        issues = details.get(ISSUES, [])
        rows.append(
            {
                "row": row["row"],
                "code": row["code"],
                "status": name_status(row["status"], issues, rolled_back),
                "problems": [localize_issue(issue, language) for issue in issues],
                "changes": details.get("changes"),
            }
        )
    return rows, int(positions[limit]) if len(positions) > limit else None


def name_status(status: int, issues: Sequence[dict[str, Any]], rolled_back: bool) -> str:
    """Return the name of a stored status."""
    if status == NO_STATUS:
        return PASSED_OVER if any(issue["code"] in _NON_RECORD_CODES for issue in issues) else MERGED
    name = STATUSES[status]
    return NOT_WRITTEN if rolled_back and name in WRITTEN else name


def select_rows(table: Any, status: RowFilter | None) -> Ints:
    """Return the indices of the rows with a status."""
    if status is None:
        return np.arange(table.num_rows)
    if status == "warning":
        with_details = np.flatnonzero(table[DETAILS].is_valid().to_numpy())
        details = map(orjson.loads, table[DETAILS].take(pa.array(with_details)).to_pylist())
        warned = [any(issue["severity"] == "warning" for issue in row.get(ISSUES, ())) for row in details]
        selected: Ints = with_details[np.array(warned, dtype=bool)]
        return selected
    names = WRITTEN if status == NOT_WRITTEN else ("refused" if status == "error" else status,)
    return np.flatnonzero(np.isin(table["status"].to_numpy(), [STATUSES.index(name) for name in names]))


# The annotated file: the cells of the original, and the issues of each row in the last column.


async def build_file_name(connection: AsyncConnection, job_id: str, principal: Principal, extension: FileFormat) -> str:
    """Return the name of the annotated file of a job.

    Raises
    ------
    NotFound
        if the job has no stored rows, or they are deleted.
    """
    job = await fetch_visible_job(connection, job_id, principal)
    if await job_queries.fetch_page(connection, job_id, 0, None) is None:
        raise NotFound("file of import", job_id)
    return f"{Path(job['file']['name']).stem}-{job_id[:8]}.{extension}"


async def stream_csv(
    database: Database, job_id: str, status: RowFilter | None, language: Language
) -> AsyncIterator[bytes]:
    """Yield the annotated file as CSV in UTF-8, with a byte order mark for Excel."""
    headings = await fetch_headings(database, job_id, language)
    yield "\ufeff".encode() + write_csv_lines([headings]) if headings else b""
    async for results, cells in stream_pages(database, job_id, status):
        lines = iter_annotated_rows(results, cells, status, language)
        yield await anyio.to_thread.run_sync(write_csv_lines, lines)


async def write_xlsx(database: Database, job_id: str, status: RowFilter | None, language: Language, path: Path) -> None:
    """Write the annotated file as a workbook, row by row."""
    book = xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet()
    try:
        for column, heading in enumerate(await fetch_headings(database, job_id, language)):
            sheet.write_string(0, column, heading)
        row = 1
        async for results, cells in stream_pages(database, job_id, status):
            lines = iter_annotated_rows(results, cells, status, language)
            row = await anyio.to_thread.run_sync(write_sheet_rows, sheet, lines, row)
    finally:
        await anyio.to_thread.run_sync(book.close)


async def fetch_headings(database: Database, job_id: str, language: Language) -> list[str]:
    """Return the column headings of the annotated file; also if no row matches the filter."""
    async with database.open_connection() as connection:
        stored = await job_queries.fetch_page(connection, job_id, 0, None, cells=True)
    if stored is None or stored[2] is None:
        return []
    names = [name for name in read_table(stored[2]).column_names if name != "row"]
    return [*names, translate_message(Message("errors"), language)]


async def stream_pages(database: Database, job_id: str, status: RowFilter | None) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the stored outcomes and cells of each page that has rows of a status."""
    async with database.open_connection() as connection:
        job = await job_queries.fetch_job(connection, job_id)
    if job is None or has_no_rows(status, is_rolled_back(job)):
        return
    page = 0
    while True:
        async with database.open_connection() as connection:
            stored = await job_queries.fetch_page(connection, job_id, page, list_stored_statuses(status), cells=True)
        if stored is None:
            return
        page = stored[0] + 1
        if stored[2] is not None:
            yield stored[1], stored[2]


def iter_annotated_rows(
    results: bytes, cells: bytes, status: RowFilter | None, language: Language
) -> Iterator[list[str | None]]:
    """Yield the cells of each row of a page, and the issues of the row as the last cell."""
    outcomes, originals = read_table(results), read_table(cells)
    columns = [to_texts(originals[name]) for name in originals.column_names if name != "row"]
    selected = outcomes.take(pa.array(select_rows(outcomes, status)))
    details_by_row = dict(zip(selected["row"].to_pylist(), selected[DETAILS].to_pylist(), strict=True))
    for index, row in enumerate(originals["row"].to_pylist()):
        if row not in details_by_row:
            continue
        issues = orjson.loads(details_by_row[row]).get(ISSUES, []) if details_by_row[row] else []
        notes = "; ".join(format_issue(issue, language) for issue in issues)
        yield [*(column[index] for column in columns), notes or None]


def to_texts(column: Any) -> list[str | None]:
    """Return the cells of a column; geometries as WKT."""
    if pa.types.is_binary(column.type):
        shapes = shapely.from_wkb(np.asarray(column.to_pylist(), dtype=object))
        texts: list[str | None] = shapely.to_wkt(shapes, rounding_precision=-1).tolist()
        return texts
    cells: list[str | None] = column.to_pylist()
    return cells


def format_issue(issue: dict[str, Any], language: Language) -> str:
    """Return an issue as one clause of a cell: without a final stop, because others may follow."""
    localized = localize_issue(issue, language)
    message = str(localized["message"]).rstrip(".。")
    column = localized["column"] or localized["field"]
    return f"{column}: {message}" if column else message


def write_csv_lines(lines: Iterable[Sequence[str | None]]) -> bytes:
    """Return lines as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for cells in lines:
        writer.writerow([escape_formula(cell) for cell in cells])
    return text.getvalue().encode()


def write_sheet_rows(sheet: Any, lines: Iterable[Sequence[str | None]], row: int) -> int:
    """Write rows from an index on and return the next index; rows beyond the size of a sheet are left out."""
    for cells in lines:
        if row > _MAX_SHEET_ROWS:
            break
        for column, cell in enumerate(cells):
            if cell:
                sheet.write_string(row, column, escape_formula(cell))
        row += 1
    return row


def escape_formula(cell: str | None) -> str:
    """Return a cell that a spreadsheet reads as text or a number, never as a formula.

    >>> escape_formula("=1+1"), escape_formula("-12.5"), escape_formula("@x"), escape_formula(None)
    ("'=1+1", '-12.5', "'@x", '')
    """
    if not cell:
        return ""
    if cell.startswith(_FORMULA_STARTS) and not is_number(cell):
        return "'" + cell
    return cell


def is_number(cell: str) -> bool:
    """Return whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
