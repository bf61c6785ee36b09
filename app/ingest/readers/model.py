"""Types that every reader uses: the file, the options, the detected format, batches of rows, and the open table.

Every cell is text, so that a code never becomes a number. Numbers of a typed source are formatted so that lost
digits show (`app.ingest.values.typed_text`).
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.errors import Invalid
from app.ingest.values.shapes import is_curved_wkb
from app.messages import Message


@dataclass(frozen=True)
class SourceFile:
    """A file on disk, the name that it was sent under, and what to clean up when it is closed."""

    path: Path
    name: str
    resources: ExitStack = field(default_factory=ExitStack)

    @property
    def suffix(self) -> str:
        """The ending of the name, lower case, without the dot."""
        return Path(self.name).suffix.lower().lstrip(".")

    def create_folder(self) -> Path:
        """Return a new temporary folder that is deleted when the file is closed."""
        return Path(self.resources.enter_context(tempfile.TemporaryDirectory(prefix="registry-file-")))


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file. None: the reader detects it."""

    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header_row: int | None = None
    sheet: str | None = None
    layer: str | None = None

    @property
    def layer_name(self) -> str | None:
        """The sheet or layer to read: two words for one option."""
        return self.layer or self.sheet


@dataclass(frozen=True)
class DetectedFormat:
    """What a reader detected about a file; the import reports it to the sender."""

    format: str
    encoding: str | None = None
    delimiter: str | None = None
    header_row: int | None = None
    """Row of the header (the lower one of two), from 1. None: the table has no header."""
    layer: str | None = None
    """Sheet, layer or list that is read."""
    layers: tuple[str, ...] = ()
    crs: str | None = None
    """Such as ``EPSG:4326``. None: not known, or no geometry."""
    geometry: bool = False
    rows: int | None = None
    """Rows below the header. Of delimited text: lines, until the last batch has been read."""
    notes: tuple[str, ...] = ()
    mapping: Mapping[str, str | None] | None = None
    """Column to field (None: not read), if the file has its own mapping."""


@dataclass(frozen=True)
class FormatIssue:
    """An issue with the form of one row. Severity ``error``: the values of the row cannot be trusted."""

    row: int
    code: str
    message: Message
    column: str | None = None
    severity: Literal["error", "warning"] = "warning"


BAD_GEOMETRY: Final = Message("The geometry of a row cannot be read.")
_CURVED_GEOMETRY: Final = Message("The geometry of a row is curved. Save it with straight segments.")


def build_geometry_issue(row: int, wkb: bytes | None = None) -> FormatIssue:
    """Return the issue of a row whose geometry cannot be read, also because its WKB is curved."""
    message = _CURVED_GEOMETRY if wkb is not None and is_curved_wkb(wkb) else BAD_GEOMETRY
    return FormatIssue(row, "bad-geometry", message, severity="error")


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file. Blank rows are left out, but they are counted in the row numbers."""

    row_numbers: NDArray[np.int64]
    """Row as a spreadsheet program shows it: the header is row 1 if it is the first, and a quoted line break does
    not begin a row. In files without rows: number of the item, from 1."""
    columns: dict[str, pa.StringArray]
    """Cleaned text by header. Null is blank; a structure inside a cell is JSON text."""
    geometry: NDArray[np.object_] | None = None
    """Shapes in the CRS of the file, x before y; None in a row without a shape."""
    issues: tuple[FormatIssue, ...] = ()


@dataclass(eq=False)
class TableReader:
    """An open table. Close it, or use it in a ``with`` statement."""

    detected: DetectedFormat
    """What was detected. Row count and notes are complete after the last batch."""
    columns: tuple[str, ...]
    """Headers in the order of the file; every batch has exactly these columns."""
    read_batches: Callable[[int], Iterable[Batch]]
    """Reads from the first row, at most so many rows at a time."""
    issue_log: "IssueLog" = field(default_factory=lambda: IssueLog())
    resources: ExitStack = field(default_factory=ExitStack)

    def iter_batches(self, rows: int = 20_000) -> Iterator[Batch]:
        """Yield batches from the first row on, at most so many rows at a time."""
        self.issue_log.reset()
        count = 0
        for batch in self._iter_checked(rows):
            count += len(batch.row_numbers)
            self.issue_log.add_issues(batch.issues)
            if len(batch.row_numbers) or batch.issues:
                yield batch
        notes = tuple(dict.fromkeys((*self.detected.notes, *self.issue_log.build_notes())))
        self.detected = replace(self.detected, rows=count, notes=notes)

    def _iter_checked(self, rows: int) -> Iterator[Batch]:
        try:
            yield from self.read_batches(rows)
        except RecursionError:
            raise nested_too_deeply() from None

    def close(self) -> None:
        """Close files and delete temporary folders."""
        self.resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def nested_too_deeply() -> Invalid:
    """Return the error of a file with a value that is nested too deeply."""
    return Invalid(Message("A value of the file is nested too deeply. Send flatter values."), code="too-deep")


def choose_layer(layers: Sequence[str], preferred: Sequence[str], stated: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the layer to read, and a note about the others.

    Raises
    ------
    Invalid
        ``unknown-layer``; ``empty-file``: the file has no layers.
    """
    if stated is not None:
        if stated not in layers:
            message = Message("Unknown layer {name!r}. Layers: {layers}.", name=stated, layers=", ".join(layers))
            raise Invalid(message, code="unknown-layer")
        return stated, ()
    if not layers:
        raise Invalid(Message("The file has nothing that can be read. Send a file with rows."), code="empty-file")
    layer = (preferred or layers)[0]
    others = ", ".join(name for name in layers if name != layer)
    if not others:
        return layer, ()
    return layer, (Message("Layer {name!r} is read; the file also has {others}.", name=layer, others=others),)


def unsupported_content(description: Message) -> Invalid:
    """Return the error of a file whose content cannot be read as a table."""
    message = Message(
        "The file is {description}. Readable formats are tables (CSV, XLSX, ODS), GIS files (GeoJSON, GeoPackage, "
        "Shapefile, KML, GeoParquet) and the catalogues of GB/T 28181 and GA/T 1400.",
        description=description,
    )
    return Invalid(message, code="unsupported-format")


class IssueLog:
    """Counts the issues of a file by code, and sums them up in a few notes."""

    _MOST_LISTED: Final = 5

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Delete all counts and notes."""
        self._first: dict[str, list[FormatIssue]] = {}
        self._counts: dict[str, int] = {}
        self._notes: dict[str, None] = {}

    def add_note(self, sentence: Message) -> None:
        """Add a note about the whole file, once."""
        self._notes[sentence] = None

    def add_issues(self, issues: Iterable[FormatIssue]) -> None:
        """Count issues."""
        for issue in issues:
            self._counts[issue.code] = self._counts.get(issue.code, 0) + 1
            first = self._first.setdefault(issue.code, [])
            if len(first) < self._MOST_LISTED:
                first.append(issue)

    def build_notes(self) -> tuple[str, ...]:
        """Return the notes, and one note for each code with the number of rows and the first of them."""
        notes = []
        for code, first in self._first.items():
            rows = ", ".join(str(issue.row) for issue in first)
            rows += ", ..." if self._counts[code] > len(first) else ""
            notes.append(
                Message(
                    "{message} Rows: {count} ({rows}).", message=first[0].message, count=self._counts[code], rows=rows
                )
            )
        return (*self._notes, *notes)
