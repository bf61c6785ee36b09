"""What a file is once it is open: what was found out about it, and its rows in batches.

Everything is text: a code never becomes a number on the way. Numbers of a typed source are written
so that lost digits show (`app.ingest.values.typed_text`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from app.errors import Invalid

FORMATS: Final = (
    "csv", "tsv", "xlsx", "xls", "ods", "geojson", "geojsonseq", "gpkg", "fgb", "shapefile",
    "parquet", "kml", "gb28181", "gat1400", "html", "xml-spreadsheet", "json", "esrijson", "topojson",
    "mapinfo", "filegdb",
)  # fmt: skip
"""Names of what can be read."""


@dataclass(frozen=True)
class ReadOptions:
    """What the sender states about a file; None is found out."""

    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header_row: int | None = None
    sheet: str | None = None
    layer: str | None = None


@dataclass(frozen=True)
class DetectedFormat:
    """What was found out about a file, told to its sender as it is."""

    format: str
    encoding: str | None = None
    delimiter: str | None = None
    header_row: int | None = None
    """Row of the header (the lower one of two), counted from 1; None: there is none."""
    layer: str | None = None
    """Sheet, layer or list that is read."""
    layers: tuple[str, ...] = ()
    crs: str | None = None
    """Such as ``EPSG:4326``; None: not known, or no geometry."""
    geometry: bool = False
    rows: int | None = None
    """Rows below the header. Delimited text: lines, until the last batch has been read."""
    notes: tuple[str, ...] = ()
    mapping: Mapping[str, str | None] | None = None
    """Column to field (None: not read), where the file brings a mapping of its own."""


@dataclass(frozen=True)
class FormatIssue:
    """Something wrong with the form of one row; ``error``: its values cannot be trusted."""

    row: int
    code: str
    message: str
    column: str | None = None
    severity: Literal["error", "warning"] = "warning"


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file. Wholly blank rows are left out, and counted in the numbers."""

    row_numbers: NDArray[np.int64]
    """Row as a spreadsheet programme shows it (the header is row 1 when it is the first); item
    number from 1 in files without rows. A quoted line break does not begin a row."""
    columns: dict[str, pa.StringArray]
    """Cleaned text by header; null is blank. Structures inside a cell are JSON text."""
    geometry: NDArray[np.object_] | None = None
    """Shapes in the file's CRS, x before y; None where there is none."""
    issues: tuple[FormatIssue, ...] = ()
    """What is wrong with the form of rows of this batch."""


class TableSource(Protocol):
    """An open file. Close it, or use it in a ``with`` statement."""

    @property
    def detected(self) -> DetectedFormat:
        """What was found out; counts and notes are complete after the last batch."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Headers in the order of the file; every batch has exactly these."""

    def iter_batches(self, rows: int = 20_000) -> Iterator[Batch]:
        """Read from the beginning, at most so many rows at a time."""

    def close(self) -> None:
        """Let go of files and temporary folders."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(eq=False)
class TableReader(TableSource):
    """A source made of what was found out and a function that reads from the beginning."""

    description: DetectedFormat
    headers: tuple[str, ...]
    read_batches: Callable[[int], Iterable[Batch]]
    issue_log: "IssueLog" = field(default_factory=lambda: IssueLog())
    resources: ExitStack = field(default_factory=ExitStack)

    @property
    @override
    def detected(self) -> DetectedFormat:
        return self.description

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        return self.headers

    @override
    def iter_batches(self, rows: int = 20_000) -> Iterator[Batch]:
        self.issue_log.reset()
        count = 0
        for batch in self._iter_checked(rows):
            count += len(batch.row_numbers)
            self.issue_log.add_issues(batch.issues)
            if len(batch.row_numbers) or batch.issues:
                yield batch
        notes = tuple(dict.fromkeys((*self.description.notes, *self.issue_log.build_notes())))
        self.description = replace(self.description, rows=count, notes=notes)

    def _iter_checked(self, rows: int) -> Iterator[Batch]:
        try:
            yield from self.read_batches(rows)
        except RecursionError:
            raise Invalid("A value of the file is nested too deeply.", code="too-deep") from None

    @override
    def close(self) -> None:
        self.resources.close()

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class IssueLog:
    """Counts what was odd while reading, and tells it in a few sentences."""

    _NAMED: Final = 5

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self._first: dict[str, list[FormatIssue]] = {}
        self._counts: dict[str, int] = {}
        self._plain: dict[str, None] = {}

    def add_note(self, sentence: str) -> None:
        """Remember a sentence, once."""
        self._plain[sentence] = None

    def add_issues(self, odd: Iterable[FormatIssue]) -> None:
        """Count oddities by their code."""
        for one in odd:
            self._counts[one.code] = self._counts.get(one.code, 0) + 1
            first = self._first.setdefault(one.code, [])
            if len(first) < self._NAMED:
                first.append(one)

    def build_notes(self) -> tuple[str, ...]:
        """Return one sentence for each kind of oddity, with the first rows."""
        told = []
        for code, first in self._first.items():
            rows = ", ".join(str(one.row) for one in first)
            more = ", ..." if self._counts[code] > len(first) else ""
            told.append(f"{first[0].message} Rows: {self._counts[code]} ({rows}{more}).")
        return (*self._plain, *told)


@dataclass(frozen=True)
class SourceFile:
    """A file on disk and the name it was sent under."""

    path: Path
    name: str

    @property
    def suffix(self) -> str:
        """The ending of the name, lower case, without the dot."""
        return Path(self.name).suffix.lower().lstrip(".")
