"""Small files made on the spot, and their whole content read back."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ingest.readers.opening import DetectedFormat, FormatIssue, open_source

SHARED = Path(os.environ.get("REGISTRY_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
"""Real files to try things on; where they are not, the tests that need them say so."""


@dataclass
class Read:
    """Everything that came out of a file."""

    detected: DetectedFormat
    columns: tuple[str, ...]
    numbers: list[int]
    rows: list[dict[str, str | None]]
    shapes: list[Any]
    odd: list[FormatIssue]

    def column(self, name: str) -> list[str | None]:
        """All values of one column."""
        return [row[name] for row in self.rows]


def read(path: Path, at_once: int = 20_000, **stated: Any) -> Read:
    """Read a file to its end; every batch must keep the promises of the seam."""
    with open_source(path, **stated) as source:
        out = Read(source.detected, source.columns, [], [], [], [])
        for batch in source.iter_batches(at_once):
            assert tuple(batch.columns) == source.columns
            assert len(batch.row_numbers) <= at_once
            assert all(len(column) == len(batch.row_numbers) for column in batch.columns.values())
            assert (batch.geometry is not None) == out.detected.geometry
            out.numbers += batch.row_numbers.tolist()
            cells = {name: column.to_pylist() for name, column in batch.columns.items()}
            out.rows += [{name: column[at] for name, column in cells.items()} for at in range(len(batch.row_numbers))]
            out.shapes += [] if batch.geometry is None else list(batch.geometry)
            out.odd += batch.issues
        out.detected = source.detected
    assert out.numbers == sorted(set(out.numbers))
    assert out.detected.rows == len(out.numbers)
    return out


def written(folder: Path, content: str | bytes, name: str = "file.csv", codec: str = "utf-8") -> Path:
    """Write a file."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(codec))
    return path
