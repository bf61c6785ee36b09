"""The outcome of each row of a batch, and its compressed form in the database.

A stored page has the outcomes and, separately, the cells, so that the annotated file can be written
after the original is deleted. Cells of dropped columns are never stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Ints
from app.imports import row_errors
from app.ingest.validation.issues import RowIssue
from app.messages import translate_message

STATUSES: Final = ("created", "updated", "unchanged", "removed", "refused")
CREATED, UPDATED, UNCHANGED, REMOVED, REFUSED = range(5)
NO_STATUS: Final = -1
"""Status of a row that is not a record of its own: merged into another row, or passed over."""
WRITTEN: Final = ("created", "updated", "removed")
GEOMETRY: Final = "geometry (WKT)"
DETAILS: Final = "told"
"""Column of a stored page: JSON with the issues and changes of a row."""
ISSUES: Final = "faults"
"""Member of that JSON; the names of both are those of pages that are stored already."""
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd")


@dataclass(eq=False)
class RowOutcomes:
    """The rows of one batch during the import, and the outcome of each."""

    rows: Ints
    """Row numbers as a spreadsheet shows them."""
    staged: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Rows that are ready to be written."""
    codes: Any = field(default_factory=lambda: pa.array([], pa.string()))
    """Codes of the staged rows."""
    issues: dict[int, list[RowIssue]] = field(default_factory=dict)
    """Issues by row; row 0 has those of records that are not in the file."""
    changes: dict[int, str] = field(default_factory=dict)
    """JSON of what changes, by row."""
    unchanged: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    removed: list[str] = field(default_factory=list)
    """Codes of records that are not in the file."""
    cells: dict[str, Any] = field(default_factory=dict)
    geometry: NDArray[np.object_] | None = None
    groups: list[tuple[int, ...]] = field(default_factory=list)
    """Rows that are one record together."""

    def add_issues(self, issues: Iterable[RowIssue]) -> None:
        """Add issues to their rows."""
        for issue in issues:
            self.issues.setdefault(issue.row, []).append(issue)

    def reject_groups(self) -> None:
        """Refuse all rows of a record if one of them is refused."""
        refused = set(self.refused)
        for rows in self.groups:
            cause = next((row for row in rows if row in refused), None)
            if cause is not None:
                self.add_issues(
                    row_errors.REFUSED_TOGETHER.to_issue(row, first=cause) for row in rows if row not in refused
                )

    @property
    def refused(self) -> list[int]:
        """Rows with an error."""
        return self._rows_with("error")

    @property
    def warned(self) -> list[int]:
        """Rows with a warning."""
        return self._rows_with("warning")

    def _rows_with(self, severity: str) -> list[int]:
        return [row for row, issues in self.issues.items() if any(issue.severity == severity for issue in issues)]

    def collect_rows(self) -> Ints:
        """Return the sorted numbers of all rows, including rows that have an issue only."""
        rows_with_issues = np.array([row for row in self.issues if row > 0], np.int64)
        return np.union1d(self.rows, rows_with_issues)

    def classify_rows(self, rows: Ints) -> NDArray[np.int8]:
        """Return the index of each row's status in ``STATUSES``, or ``NO_STATUS``."""
        statuses = np.full(len(rows), NO_STATUS, np.int8)
        statuses[np.isin(rows, self.staged)] = CREATED
        statuses[np.isin(rows, self.unchanged)] = UNCHANGED
        statuses[np.isin(rows, list(self.changes))] = UPDATED
        statuses[np.isin(rows, self.refused)] = REFUSED
        return statuses

    def count_rows(self) -> dict[str, int]:
        """Return the number of rows of each outcome."""
        statuses = self.classify_rows(self.collect_rows())
        return {
            "rows": len(self.rows),
            "created": int((statuses == CREATED).sum()),
            "updated": int((statuses == UPDATED).sum()),
            "unchanged": int((statuses == UNCHANGED).sum()),
            "removed": len(self.removed),
            "refused": int((statuses == REFUSED).sum()),
            "warned": len(self.warned),
            "errors": sum(issue.severity == "error" for issues in self.issues.values() for issue in issues),
        }


@dataclass(frozen=True)
class StoredPage:
    """The outcome of a batch as the database stores it."""

    rows: int
    has: list[str]
    """Statuses that occur, so that a reader can skip the page."""
    results: bytes
    cells: bytes | None


def pack_outcome(outcome: RowOutcomes) -> StoredPage:
    """Return the stored form of an outcome: its rows first, then records that are not in the file."""
    rows = outcome.collect_rows()
    row_details: list[str | None] = [None] * len(rows)
    for row in sorted({*outcome.issues, *outcome.changes} - {0}):
        row_details[int(np.searchsorted(rows, row))] = _dump_details(
            outcome.issues.get(row, ()), outcome.changes.get(row)
        )
    spared = outcome.issues.get(0, [])  # records that are not in the file and cannot be removed
    absent_codes = [*outcome.removed, *(issue.value for issue in spared)]
    absent_statuses = [REMOVED] * len(outcome.removed) + [REFUSED] * len(spared)
    absent_details = [None] * len(outcome.removed) + [_dump_details([issue]) for issue in spared]
    statuses = np.append(outcome.classify_rows(rows), np.array(absent_statuses, np.int8))
    table = pa.table(
        {
            "row": pa.concat_arrays([pa.array(rows, pa.int64()), pa.nulls(len(absent_codes), pa.int64())]),
            "code": pa.concat_arrays([_codes_of_rows(outcome, rows), pa.array(absent_codes, pa.string())]),
            "status": pa.array(statuses, pa.int8()),
            DETAILS: pa.array(row_details + absent_details, pa.string()),
        }
    )
    has = [STATUSES[status] for status in sorted(set(statuses.tolist())) if status != NO_STATUS]
    has += ["error"] * bool(outcome.refused) + ["warning"] * bool(outcome.warned)
    return StoredPage(table.num_rows, has, _write_table(table), _pack_cells(outcome))


def _codes_of_rows(outcome: RowOutcomes, rows: Ints) -> Any:
    """Return the code of each row, null for rows that are not staged."""
    if not len(outcome.staged):
        return pa.nulls(len(rows), pa.string())
    order = np.argsort(outcome.staged, kind="stable")
    positions = np.searchsorted(outcome.staged[order], rows)
    positions[positions == len(order)] = 0
    return outcome.codes.take(pa.array(order[positions], mask=~np.isin(rows, outcome.staged)))


def _dump_details(issues: Iterable[RowIssue], changes: str | None = None) -> str:
    """Return the JSON of a row's issues and changes."""
    documents = [_build_issue(issue) for issue in issues]
    details: dict[str, Any] = {ISSUES: documents} if documents else {}
    if changes is not None:
        details["changes"] = orjson.Fragment(changes)
    return orjson.dumps(details).decode()


def _build_issue(issue: RowIssue) -> dict[str, Any]:
    """Return an issue with its texts in both languages: a reader's language is not known yet."""
    document = {name: value for name, value in vars(issue).items() if name != "row" and value is not None}
    texts = {f"{name}_zh": translate_message(document[name], "zh") for name in ("message", "hint") if name in document}
    return texts | document


def localize_issue(issue: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return a stored issue as a row shows it, in one language; text without Chinese stays English."""
    message, hint = issue["message"], issue.get("hint")
    if language == "zh":
        message, hint = issue.get("message_zh", message), issue.get("hint_zh", hint)
    names = ("column", "field", "value", "code")
    return {
        **{name: issue.get(name) for name in names},
        "message": message,
        "hint": hint,
        "severity": issue["severity"],
    }


def _pack_cells(outcome: RowOutcomes) -> bytes | None:
    if not outcome.cells and outcome.geometry is None:
        return None
    columns = {"row": pa.array(outcome.rows), **outcome.cells}
    if outcome.geometry is not None:
        columns[GEOMETRY] = pa.array(shapely.to_wkb(outcome.geometry), pa.binary())
    return _write_table(pa.table(columns))


def _write_table(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_COMPRESSED) as writer:
        writer.write_table(table)
    stored: bytes = sink.getvalue().to_pybytes()
    return stored


def read_table(stored: bytes) -> Any:
    """Return the Arrow table of a stored page."""
    with pa.ipc.open_stream(stored) as reader:
        return reader.read_all()
