"""What became of the rows of a file, a compressed page for each batch, and how it is read back.

A page holds the outcome of each row and, apart, its cells, so that the annotated file can be given
back after the original is gone. Cells of dropped columns never get here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Ints
from app.imports.schemas import Asked
from app.ingest.messages.chinese import in_chinese
from app.ingest.validation.issues import RowFault

STATUSES: Final = ("created", "updated", "unchanged", "removed", "refused")
_CREATED, _UPDATED, _UNCHANGED, _REMOVED, _REFUSED = range(5)
WRITTEN: Final = ("created", "updated", "removed")
NOT_WRITTEN: Final = "not_written"
"""Outcome of rows that were written in an import that failed, and taken back with it."""
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd")
GEOMETRY: Final = "geometry (WKT)"
MERGED: Final = "merged"
"""Outcome of a row that is a part of a record told of in another row: one of several lanes."""
PASSED_OVER: Final = "passed_over"
"""Outcome of a row that is no record at all."""
_NO_RECORDS: Final = frozenset({"not-a-record", "not-a-device"})


@dataclass(eq=False)
class Page:
    """The rows of one batch while it goes through, and what is told of each."""

    rows: Ints
    good: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Rows that were ready to be written, and their codes beside them."""
    codes: Any = field(default_factory=lambda: pa.array([], pa.string()))
    faults: dict[int, list[RowFault]] = field(default_factory=dict)
    changes: dict[int, str] = field(default_factory=dict)
    """Row to the JSON of what changes."""
    unchanged: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    removed: list[str] = field(default_factory=list)
    cells: dict[str, Any] = field(default_factory=dict)
    geometry: NDArray[np.object_] | None = None
    groups: list[tuple[int, ...]] = field(default_factory=list)
    """Rows that make one record together."""

    def refuse(self, faults: Iterable[RowFault]) -> None:
        """Add what is wrong with rows."""
        for fault in faults:
            self.faults.setdefault(fault.row, []).append(fault)

    def refuse_together(self) -> None:
        """Refuse all rows of a record of which one is refused."""
        refused = set(self.refused)
        for rows in self.groups:
            wrong = [row for row in rows if row in refused]
            if wrong:
                self.refuse(_together(row, wrong[0]) for row in rows if row not in refused)

    @property
    def refused(self) -> list[int]:
        """Rows with an error."""
        return self._with("error")

    @property
    def warned(self) -> list[int]:
        """Rows with a warning."""
        return self._with("warning")

    def _with(self, severity: str) -> list[int]:
        return [row for row, faults in self.faults.items() if any(fault.severity == severity for fault in faults)]

    def every(self) -> Ints:
        """Return the numbers of all rows, also of those that only a fault speaks of."""
        others = np.array([row for row in self.faults if row > 0], np.int64)
        return np.union1d(self.rows, others)

    def statuses(self, rows: Ints) -> NDArray[np.int8]:
        """Return the outcome of each row as its place in ``STATUSES``, -1 for none of its own."""
        found = np.full(len(rows), -1, np.int8)
        found[np.isin(rows, self.good)] = _CREATED
        found[np.isin(rows, self.unchanged)] = _UNCHANGED
        found[np.isin(rows, list(self.changes))] = _UPDATED
        found[np.isin(rows, self.refused)] = _REFUSED
        return found

    def counts(self) -> dict[str, int]:
        """Return how many rows there are of each outcome."""
        status = self.statuses(self.every())
        faults = [fault for found in self.faults.values() for fault in found]
        return {
            "rows": len(self.rows),
            "created": int((status == _CREATED).sum()),
            "updated": int((status == _UPDATED).sum()),
            "unchanged": int((status == _UNCHANGED).sum()),
            "removed": len(self.removed),
            "refused": int((status == _REFUSED).sum()),
            "warned": len(self.warned),
            "errors": sum(fault.severity == "error" for fault in faults),
        }


def _together(row: int, other: int) -> RowFault:
    return RowFault(
        row, None, None, None, "refused-together",
        f"row {other} of the same checkpoint is refused, so this one is too",
        f"同一卡口的第 {other} 行被拒绝，本行随之被拒绝",
    )  # fmt: skip


@dataclass(frozen=True)
class Packed:
    """A page as it is stored."""

    rows: int
    has: list[str]
    results: bytes
    cells: bytes | None


def packed(page: Page) -> Packed:
    """Return a page for the database."""
    rows = page.every()
    status = page.statuses(rows)
    order = np.argsort(page.good, kind="stable")
    places = np.searchsorted(page.good[order], rows)
    places[places == len(order)] = 0
    known = np.isin(rows, page.good)
    codes = page.codes.take(pa.array(order[places], mask=~known)) if len(order) else pa.nulls(len(rows), pa.string())
    told: list[str | None] = [None] * len(rows)
    for row in sorted({*page.faults, *page.changes} - {0}):
        told[int(np.searchsorted(rows, row))] = _told(page, row)
    spared = page.faults.get(0, [])  # records the file does not have, and that have to stay
    gone = [*page.removed, *(fault.value for fault in spared)]
    after = [_REMOVED] * len(page.removed) + [_REFUSED] * len(spared)
    told += [None] * len(page.removed)
    told += [orjson.dumps({"faults": [_fault(fault)]}).decode() for fault in spared]
    status = np.append(status, np.array(after, np.int8))
    table = pa.table(
        {
            "row": pa.concat_arrays([pa.array(rows, pa.int64()), pa.nulls(len(gone), pa.int64())]),
            "code": pa.concat_arrays([codes, pa.array(gone, pa.string())]),
            "status": pa.array(status, pa.int8()),
            "told": pa.array(told, pa.string()),
        }
    )
    present = set(status.tolist())
    has = [STATUSES[at] for at in sorted(present) if at >= 0]
    has += ["error"] * bool(page.refused) + ["warning"] * bool(page.warned)
    return Packed(table.num_rows, has, _written(table), _cells(page))


def _told(page: Page, row: int) -> str:
    """Return the JSON of a row's faults and changes."""
    faults = [_fault(fault) for fault in page.faults.get(row, ())]
    told: dict[str, Any] = {"faults": faults} if faults else {}
    if row in page.changes:
        told["changes"] = orjson.Fragment(page.changes[row])
    return orjson.dumps(told).decode()


def _fault(fault: RowFault) -> dict[str, Any]:
    return {name: value for name, value in vars(fault).items() if name != "row" and value is not None}


def _cells(page: Page) -> bytes | None:
    if not page.cells and page.geometry is None:
        return None
    columns = {"row": pa.array(page.rows), **page.cells}
    if page.geometry is not None:
        columns[GEOMETRY] = pa.array(shapely.to_wkb(page.geometry), pa.binary())
    return _written(pa.table(columns))


def _written(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_COMPRESSED) as writer:
        writer.write_table(table)
    packed_bytes: bytes = sink.getvalue().to_pybytes()
    return packed_bytes


def table_of(stored: bytes) -> Any:
    """Return the Arrow table of a stored page."""
    with pa.ipc.open_stream(stored) as reader:
        return reader.read_all()


def rows_of(
    results: bytes,
    wanted: Asked | None,
    language: str,
    start: int,
    most: int,
    unwritten: bool = False,
) -> tuple[list[dict[str, Any]], int | None]:
    """Return up to ``most`` rows of a page from a position on, and where the next ones start.

    ``unwritten`` says that nothing of the import was kept.
    """
    table = table_of(results)
    places = _matching(table, wanted)
    places = places[places >= start]
    shown = table.take(pa.array(places[:most])).to_pylist()
    found = []
    for row in shown:
        detail = orjson.loads(row["told"]) if row["told"] else {}
        faults = detail.get("faults", [])
        passed = row["status"] < 0 and any(fault["code"] in _NO_RECORDS for fault in faults)
        found.append(
            {
                "row": row["row"],
                "code": row["code"],
                "status": PASSED_OVER if passed else _status(row["status"], unwritten),
                "problems": [problem(fault, language) for fault in faults],
                "changes": detail.get("changes"),
            }
        )
    return found, int(places[most]) if len(places) > most else None


def _status(number: int, unwritten: bool) -> str:
    found = STATUSES[number] if number >= 0 else MERGED
    return NOT_WRITTEN if unwritten and found in WRITTEN else found


def _matching(table: Any, wanted: Asked | None) -> Ints:
    """Return the positions of rows with a status."""
    if wanted is None:
        return np.arange(table.num_rows)
    if wanted == "warning":
        telling = np.flatnonzero(table["told"].is_valid().to_numpy())
        texts = table["told"].take(pa.array(telling)).to_pylist()
        faults = [orjson.loads(text).get("faults", []) for text in texts]
        warned = [any(f["severity"] == "warning" for f in told) for told in faults]
        found: Ints = telling[np.array(warned, dtype=bool)]
        return found
    if wanted == NOT_WRITTEN:
        written = [STATUSES.index(name) for name in WRITTEN]
        return np.flatnonzero(np.isin(table["status"].to_numpy(), written))
    status = STATUSES.index("refused" if wanted == "error" else wanted)
    return np.flatnonzero(table["status"].to_numpy() == status)


def problem(fault: dict[str, Any], language: str) -> dict[str, Any]:
    """Return a fault as it travels, in one language."""
    message = fault["message_zh"] if language == "zh" else fault["message"]
    hint = fault.get("hint")
    return {
        "column": fault.get("column"),
        "field": fault.get("field"),
        "value": fault.get("value"),
        "code": fault["code"],
        "message": message,
        "hint": in_chinese(hint) if hint and language == "zh" else hint,
        "severity": fault["severity"],
    }


def headings(shown: Any, language: str) -> list[str]:
    """Return what stands above the cells of the rows of a page."""
    names = [name for name in shown.column_names if name != "row"]
    return [*names, "错误" if language == "zh" else "errors"]


def annotated(results: bytes, cells: bytes, wanted: Asked | None, language: str) -> Iterator[list[str | None]]:
    """Yield the cells of the rows of a page, what is wrong with each in the last one."""
    told = table_of(results)
    shown = table_of(cells)
    columns = [_texts(shown[name]) for name in shown.column_names if name != "row"]
    matching = told.take(pa.array(_matching(told, wanted)))
    texts = dict(zip(matching["row"].to_pylist(), matching["told"].to_pylist(), strict=True))
    for at, row in enumerate(shown["row"].to_pylist()):
        if row not in texts:
            continue
        faults = orjson.loads(texts[row]).get("faults", []) if texts[row] else []
        sentences = "; ".join(_sentence(fault, language) for fault in faults)
        yield [*(column[at] for column in columns), sentences or None]


def _texts(column: Any) -> list[str | None]:
    if pa.types.is_binary(column.type):
        shapes = shapely.from_wkb(np.asarray(column.to_pylist(), dtype=object))
        texts: list[str | None] = shapely.to_wkt(shapes, rounding_precision=-1).tolist()
        return texts
    plain: list[str | None] = column.to_pylist()
    return plain


def _sentence(fault: dict[str, Any], language: str) -> str:
    told = problem(fault, language)
    where = told["column"] or told["field"]
    return f"{where}: {told['message']}" if where else str(told["message"])
