"""Validation of a batch: the valid rows, ready for COPY, and every issue of the others.

The draft of the kind is the one set of rules. Rows that surely pass it are found by whole columns
(`app.ingest.validation.vectorized_validation`); every other row goes through the draft
(`app.ingest.validation.row_validation`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.geo.arrays import Bools
from app.ingest.columns.planner import ImportPlan
from app.ingest.readers.opening import Batch, TableReader
from app.ingest.validation import vectorized_validation
from app.ingest.validation.issues import BatchResult, RowIssue
from app.ingest.validation.location import LocatedRows, LocationIssue, locate_rows
from app.ingest.validation.non_record_rows import find_non_record_rows, remove_personal_data
from app.ingest.validation.redaction import redact_cells, redact_personal_text
from app.ingest.validation.row_validation import Row, is_exact_double
from app.ingest.values import gb_codes
from app.ingest.values.copy_text import format_value
from app.messages import Message

__all__ = ["BatchResult", "RowIssue", "iter_batches", "validate_batch"]

_ALL_ROWS: Final = 1_000_000
_MIN_ROUNDED: Final = 2
"""Rounded codes of a batch from which a program, not chance, has rounded them."""
_FIRST_BATCH_DIVISOR: Final = 8
"""How much shorter the first batch is than the others."""


def iter_batches(plan: ImportPlan, source: TableReader, rows: int = 20_000) -> Iterator[Batch]:
    """Yield the rows of a file for `validate_batch`: all lanes of a checkpoint are in one batch.

    The first batch is short, so that the work that follows validation starts early.
    """
    batches = (
        redact_cells(batch, plan.dropped) for batch in source.iter_batches(_ALL_ROWS if plan.groups_lanes else rows)
    )
    if plan.groups_lanes:
        if members := list(batches):
            yield _concatenate(members)
        return
    first = next(batches, None)
    if first is not None:
        yield from _split_batch(first, max(1, rows // _FIRST_BATCH_DIVISOR))
    yield from batches


def _concatenate(batches: Sequence[Batch]) -> Batch:
    shapes = None
    if all(batch.geometry is not None for batch in batches):
        shapes = np.concatenate([np.asarray(batch.geometry) for batch in batches])
    columns = {
        name: pa.chunked_array([batch.columns[name] for batch in batches]).combine_chunks()
        for name in batches[0].columns
    }
    issues = tuple(issue for batch in batches for issue in batch.issues)
    return Batch(np.concatenate([batch.row_numbers for batch in batches]), columns, shapes, issues)


def _split_batch(batch: Batch, rows: int) -> Iterator[Batch]:
    """Yield the first rows of a batch, and then the other rows."""
    if len(batch.row_numbers) <= rows:
        yield batch
        return
    last = batch.row_numbers[rows - 1]
    for selected, is_first in ((slice(rows), True), (slice(rows, None), False)):
        yield Batch(
            batch.row_numbers[selected],
            {name: cells[selected] for name, cells in batch.columns.items()},
            None if batch.geometry is None else batch.geometry[selected],
            tuple(issue for issue in batch.issues if (issue.row <= last) is is_first),
        )


def validate_batch(plan: ImportPlan, batch: Batch, *, exact: bool = False) -> BatchResult:
    """Return the valid rows of a batch and every issue of the others.

    Parameters
    ----------
    exact : bool
        Validate every row with the draft. The result is the same; it takes longer.
    """
    located = locate_rows(plan.location, plan.spec, batch)
    location_count = int(located.valid.sum()) if plan.has_location else 0
    result = BatchResult(pa.table({}), [], len(batch.row_numbers), location_count, located.swapped)
    excluded = _add_format_issues(result, batch) | _skip_other_catalogue_items(plan, batch, result)
    skipped, issues = find_non_record_rows(plan, batch, located.valid | excluded)
    if issues:
        result.issues += issues
        excluded |= skipped
        remove_personal_data(batch, skipped)
    excluded |= _redact_personal_text(plan, batch, skipped, result)
    candidates = np.zeros_like(excluded) if exact else located.valid & ~excluded
    certain, columns = vectorized_validation.validate_columns(plan, batch, candidates)
    values = _validate_rows(plan, batch, located, np.nonzero(~certain & ~excluded)[0], result)
    result.valid = _build_table(plan, batch, located, certain, columns, values)
    result.issues.sort(key=lambda issue: issue.row)
    return result


def _add_format_issues(result: BatchResult, batch: Batch) -> Bools:
    """Add what the reader found wrong; return the rows whose values cannot be trusted."""
    excluded = np.zeros(len(batch.row_numbers), dtype=bool)
    for issue in batch.issues:
        hint = _FORMAT_HINTS.get(issue.code)
        result.issues.append(
            RowIssue(issue.row, issue.column, None, None, issue.code, issue.message, hint, issue.severity)
        )
        if issue.severity == "error":
            excluded |= batch.row_numbers == issue.row
    return excluded


_FORMAT_HINTS: Final = {
    "bad-geometry": Message(
        "A ring of a polygon ends where it begins and has four points or more. Coordinates are numbers."
    ),
}


def _skip_other_catalogue_items(plan: ImportPlan, batch: Batch, result: BatchResult) -> Bools:
    """Return the rows of a GB/T 28181 catalogue that are not devices of the kind, and add a warning for each.

    These are the tree (divisions, platforms, groups, organisations), alarm and audio channels next to cameras, and
    devices that a notification reports as deleted.
    """
    source = next((source for source in plan.sources if source.spec.name == "code"), None)
    skipped = np.zeros(len(batch.row_numbers), dtype=bool)
    if plan.recognised != "gbt28181" or plan.spec.name not in gb_codes.TYPES_OF or source is None:
        return skipped
    codes = batch.columns[source.columns[0]]
    groups = [(_match_pattern(codes, _TREE), _NODE)]
    if plan.spec.name == "camera":
        groups.append((_match_pattern(codes, _OTHER_TYPES), _OTHER_DEVICE))
    if "Event" in batch.columns:
        groups.append((_match_pattern(batch.columns["Event"], "^(?i:del)$"), _DELETED))
    for rows, message in groups:
        for index in np.flatnonzero(rows & ~skipped).tolist():
            row_number, code = int(batch.row_numbers[index]), codes[index].as_py()
            result.issues.append(
                RowIssue(row_number, source.columns[0], "code", code, "not-a-device", message, severity="warning")
            )
        skipped |= rows
    return skipped


_NODE: Final = Message("This is a division, platform, group or organisation of the catalogue, not a device; skipped")
_OTHER_DEVICE: Final = Message(
    "Digits 11-13 of the code are of an alarm, audio or other channel of the catalogue, not of a camera; skipped"
)
_DELETED: Final = Message(
    "The notification reports the device as deleted from the platform (Event=DEL); skipped, the registered record stays"
)
_TREE: Final = r"^(?:[0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{8}|[0-9]{10}(?:2[0-9]{2})[0-9]{7})$"
"""Codes of the tree: a division of 2 to 8 digits, or twenty digits of a platform type (200-299)."""
_PERIPHERAL_TYPES: Final = sorted({*range(112, 118), *range(133, 140)} - gb_codes.TYPES_OF["camera"])
_OTHER_TYPES: Final = rf"^[0-9]{{10}}(?:{'|'.join(map(str, _PERIPHERAL_TYPES))})[0-9]{{7}}$"
"""Codes of encoders, decoders, switches, alarm controllers, displays, alarm and audio channels."""


def _redact_personal_text(plan: ImportPlan, batch: Batch, skipped: Bools, result: BatchResult) -> Bools:
    """Remove text about logins and people; return the rows of records that had such text."""
    excluded = np.zeros(len(batch.row_numbers), dtype=bool)
    for index, columns in redact_personal_text(batch, plan.dropped).items():
        if skipped[index]:
            continue
        excluded[index] = True
        row_number = int(batch.row_numbers[index])
        result.issues += [RowIssue(row_number, name, None, None, *_PERSONAL_TEXT) for name in columns]
    return excluded


_PERSONAL_TEXT: Final = (
    "forbidden-content",
    Message("The cell has a password, or a person's phone or identity number; it is removed and not stored"),
    Message("Remove it from the text, or name the column in drop_columns."),
)


def _match_pattern(column: Any, pattern: str) -> Bools:
    matches = pc.fill_null(pc.match_substring_regex(column, pattern), False)
    return np.asarray(matches.to_numpy(zero_copy_only=False), dtype=bool)


def _validate_rows(
    plan: ImportPlan, batch: Batch, located: LocatedRows, rows: NDArray[np.int64], result: BatchResult
) -> dict[int, dict[str, Any]]:
    """Validate rows one by one; return the values of the valid ones by index in the batch."""
    names = {column for source in plan.sources for column in source.columns}
    texts = {name: batch.columns[name].take(pa.array(rows)).to_pylist() for name in names}
    cells = [{name: texts[name][index] for name in names} for index in range(len(rows))]
    location_issues: dict[int, list[LocationIssue]] = {}
    for issue in located.issues:
        location_issues.setdefault(issue.index, []).append(issue)
    valid = {}
    rounded = _has_rounded_codes(plan, batch)
    for members in _group_rows(plan, cells):
        first = int(rows[members[0]])
        row_numbers = [int(batch.row_numbers[rows[index]]) for index in members]
        if len(row_numbers) > 1:
            result.groups.append(tuple(row_numbers))
        row = Row(plan, row_numbers, [cells[index] for index in members], rounded=rounded)
        row.parse_cells()
        for issue in location_issues.get(first, ()):
            row.add_location_issue(issue)
        has_location = plan.has_location and bool(located.valid[first])
        values = row.validate(located.shape(first) if has_location else None)
        result.issues += row.issues
        if values is not None:
            valid[first] = values
    return valid


def _has_rounded_codes(plan: ImportPlan, batch: Batch) -> bool:
    """Return whether most codes of twenty digits are exact doubles, so that a program has rounded them."""
    source = next((source for source in plan.sources if source.spec.name == "code"), None)
    if source is None:
        return False
    column = batch.columns[source.columns[0]]
    count = pc.sum(pc.match_substring_regex(column, "^[0-9]{20}$")).as_py() or 0
    candidates = column.filter(pa.array(vectorized_validation.find_possibly_rounded(column))).to_pylist()
    rounded = sum(map(is_exact_double, candidates))
    return bool(rounded >= _MIN_ROUNDED and 2 * rounded >= count)


def _group_rows(plan: ImportPlan, cells: list[dict[str, str | None]]) -> list[list[int]]:
    """Return the rows that make one record: one each, or all lanes of a checkpoint."""
    if not plan.groups_lanes:
        return [[index] for index in range(len(cells))]
    columns = {source.spec.name: source.columns[0] for source in plan.sources}
    key: tuple[str, ...] = ("code",)
    if "code" not in columns and plan.key == "owner_reference":
        key = ("owner_unit", "owner_reference")
    groups: dict[object, list[int]] = {}
    for index, row in enumerate(cells):
        values = tuple(row[columns[name]] if name in columns else None for name in key)
        groups.setdefault(index if None in values else values, []).append(index)
    return list(groups.values())


def _build_table(
    plan: ImportPlan,
    batch: Batch,
    located: LocatedRows,
    certain: Bools,
    columns: dict[str, Any],
    values: dict[int, dict[str, Any]],
) -> Any:
    """Return one table of the rows that both ways found valid, in the order of the file."""
    validated = np.array(sorted(values), dtype=np.int64)
    rows = np.concatenate([np.nonzero(certain)[0], validated])
    joined = {}
    for name in plan.spec.fields:
        texts = pa.array([format_value(values[int(index)].get(name)) for index in validated], pa.string())
        joined[name] = pa.chunked_array([columns[name], texts]) if name in columns else texts
    if plan.has_location:
        joined["geometry"] = located.format_geometries(plan.spec, rows)
    table = pa.table({"row": pa.array(batch.row_numbers[rows], pa.int64()), **joined})
    if len(validated) and certain.any():
        table = table.take(pc.sort_indices(table["row"]))
    return table.combine_chunks()
