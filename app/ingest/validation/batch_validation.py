"""Validation of a batch: the valid rows, ready for COPY, and every issue of the others.

The draft of the kind is the one set of rules. Rows that surely pass it are found by whole columns
(`app.ingest.validation.vectorized_validation`); every other row goes through the draft
(`app.ingest.validation.row_validation`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.geo.arrays import Bools
from app.ingest.columns.headings import to_plain_form
from app.ingest.columns.planner import ImportPlan
from app.ingest.readers.opening import Batch, TableReader
from app.ingest.validation import vectorized_validation
from app.ingest.validation.issues import BatchResult, RowIssue
from app.ingest.validation.location import LocatedRows, LocationIssue, locate_rows
from app.ingest.validation.redaction import redact_cells, redact_personal_text
from app.ingest.validation.row_validation import Row, is_exact_double
from app.ingest.values import gb_codes
from app.ingest.values.copy_text import format_value
from app.ingest.values.text import to_simplified
from app.messages import Message

# Rows of a sheet that are not records: totals, remarks, signatures, titles and repeated headers.
#
# Sheets are made to be printed, so they have more rows than records. Such a row is skipped with a warning. A row with a
# code and a location is always a record. The names and phones of people in skipped rows are removed.

_TOTAL: Final = re.compile(
    r"(?:[合总小共累]\s*计|总\s*数|总\s*和|汇\s*总|\S{0,12}(?:合计|小计|总计)"
    r"|(?:grand\s+|sub-?\s*)?total|sum)\s*(?:[:：(（\d].*)?",
    re.IGNORECASE | re.DOTALL,
)
_SIGNED: Final = (
    r"(?:单位)?(?:制\s*表|填\s*表|填\s*报|编\s*制|审\s*核|审\s*批|复\s*核|批\s*准|经\s*办|统\s*计|录\s*入|打\s*印"
    r"|导\s*出|联\s*系|负\s*责|签\s*[字名收章]|盖\s*章|主\s*管|分\s*管|领\s*导|校\s*对|复\s*查|核\s*对)"
)
_REMARK: Final = re.compile(
    r"(?:备\s*注|附?\s*注|说\s*明|注意事项|填表说明|(?:数据|资料)?来源|截[至止]\S*|生成(?:时间|日期)"
    rf"|{_SIGNED}(?:人|员|单位|部门|时间|日期|方式|电话)*|联系电话|notes?|remarks?|source|prepared by|printed)"
    r"\s*(?:\d{0,2}\s*[:：、.].*)?"
    r"|(?:数据)?截[至止].*|[\W_]*(?:以下空白|此页空白|以上|完|结束|end|[（(【]?(?:盖章|签章|公章)[)）】]?)[\W_]*"
    r"|第\s*\d+\s*页.*|共\s*\d+\s*[条页个台套处路点行].*|page\s+\d+.*",
    re.IGNORECASE | re.DOTALL,
)
_GROUP: Final = re.compile(
    r"[（(]?[一二三四五六七八九十]{1,3}[、.．)）].*|\d{1,2}\s*[、.．)）]\s*[^\d\s].*"
    r"|\S{1,20}(?:区|县|市|镇|乡|街道|分局|支队|大队|中队|派出所|办事处)(?:[（(].*[)）])?",
    re.DOTALL,
)
"""The one text of a row above a group of records: a number in words, a district, a unit."""
_LABEL: Final = re.compile(r"[\W_]*[\u4e00-\u9fff](?:\s*[\u4e00-\u9fff]){1,9}\s*[:：].*", re.DOTALL)
"""A label with its text, as below a printed table; not the name of a thing or the number of a row."""
_CODE: Final = re.compile(r"[A-Za-z0-9._:-]+")
_COUNT: Final = re.compile(r"\d{1,6}\s*\D?")
_LABELLED: Final = re.compile(r"([^\s:：,，;；。]{1,12})(\s*[:：]\s*)([^\s,，;；。]+)")
_HARMLESS: Final = re.compile(
    r".*(?:日期|时间|注|说明|单位|部门|来源|计|总数|总和|共|页|范围|坐标|依据|抄送|截止|截至|版本|total|sum|notes?|source|printed)"
    r"|\d+",
    re.IGNORECASE | re.DOTALL,
)
"""Labels that the name of a person does not follow."""
_LABEL_OF_PERSON: Final = re.compile(rf"(?:.*{_SIGNED}\s*(?:人|员)*|.*电\s*话|.*手\s*机|.*姓\s*名)\s*[:：]?", re.DOTALL)
_PHONE: Final = re.compile(r"(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)")


def find_non_record_rows(plan: ImportPlan, batch: Batch, located: Bools) -> tuple[Bools, list[RowIssue]]:
    """Return which rows are not records, and a warning for each.

    Parameters
    ----------
    located : array of bool
        Rows with a readable location, which are always records. Where rows have no location, those with a code are.
    """
    is_skipped = np.zeros(len(batch.row_numbers), dtype=bool)
    rows = np.flatnonzero(~(located if plan.has_location else _find_coded_rows(plan, batch)))
    if not len(rows):
        return is_skipped, []
    names = [name for name in batch.columns if name not in plan.dropped]
    texts = [batch.columns[name].take(pa.array(rows)).to_pylist() for name in names]
    key = _find_key_column(plan)
    key_index = names.index(key) if key in names else None
    issues: list[RowIssue] = []
    following: tuple[int, bool] = (-1, False)
    for index in range(len(rows) - 1, -1, -1):  # upwards, because a title is recognised by the header below it
        row = int(rows[index])
        cells = [column[index] for column in texts]
        is_header = _is_header(names, cells, key_index)
        is_title = following == (row + 1, True) and _is_single_text(cells)
        if is_header or is_title or _is_remark(cells, key_index):
            is_skipped[row] = True
            message = _HEADER_MESSAGE if is_header else _REMARK_MESSAGE
            row_number = int(batch.row_numbers[row])
            issues.append(RowIssue(row_number, None, None, None, "not-a-record", message, severity="warning"))
        following = (row, is_header)
    return is_skipped, issues


_HEADER_MESSAGE: Final = Message("The row is a repeated header, not a record; skipped")
_REMARK_MESSAGE: Final = Message("The row is a total, remark, signature or title, not a record; skipped")


def remove_personal_data(batch: Batch, is_skipped: Bools) -> None:
    """Remove the names and phones of people from skipped rows, in place."""
    rows = np.flatnonzero(is_skipped)
    names = list(batch.columns)
    texts = {name: batch.columns[name].take(pa.array(rows)).to_pylist() for name in names}
    changes: dict[str, dict[int, str | None]] = {}
    for index, row in enumerate(rows.tolist()):
        follows_label = False
        for name in names:
            cell = texts[name][index]
            if cell is None:
                continue
            cleaned = None if follows_label and not _has_colon(cell) else _remove_people(cell)
            if cleaned != cell:
                changes.setdefault(name, {})[row] = cleaned
            follows_label = _LABEL_OF_PERSON.fullmatch(to_simplified(cell)) is not None
    for name, cells in changes.items():
        column = batch.columns[name].to_pylist()
        for row, cleaned in cells.items():
            column[row] = cleaned
        batch.columns[name] = pa.array(column, pa.string())


def _has_colon(cell: str) -> bool:
    return ":" in cell or "：" in cell


def _remove_people(cell: str) -> str | None:
    """Return the text of a remark without phones and without what follows the labels of people."""
    text = to_simplified(cell)
    cleaned = _LABELLED.sub(lambda match: match[0] if _HARMLESS.fullmatch(match[1]) else match[1] + match[2], text)
    cleaned = _PHONE.sub("", cleaned)
    return cell if cleaned == text else cleaned.strip() or None


def _find_key_column(plan: ImportPlan) -> str | None:
    """Return the column that identifies the record of a row."""
    fields = ("owner_reference", "code") if plan.key == "owner_reference" else ("code",)
    columns = {source.spec.name: source.columns[0] for source in plan.sources}
    return next((columns[name] for name in fields if name in columns), None)


def _find_coded_rows(plan: ImportPlan, batch: Batch) -> Bools:
    key = _find_key_column(plan)
    if key is None:
        return np.ones(len(batch.row_numbers), dtype=bool)
    codes = batch.columns[key]
    is_code = pc.match_substring_regex(codes, f"^(?:{_CODE.pattern})$")
    is_word = pc.match_substring_regex(codes, "^(?i:sub-?total|total|sum|notes?|remarks?)$")
    is_coded = pc.and_not(pc.fill_null(is_code, False), pc.fill_null(is_word, False))
    is_coded = pc.and_not(is_coded, pc.fill_null(pc.equal(codes, key), False))
    return np.asarray(is_coded.to_numpy(zero_copy_only=False), dtype=bool)


def _is_header(names: Sequence[str], cells: Sequence[str | None], key_index: int | None) -> bool:
    """Return whether most cells repeat the headings of their columns, or the key does."""
    same = [
        cell is not None and to_plain_form(cell) == to_plain_form(name) != ""
        for name, cell in zip(names, cells, strict=True)
    ]
    filled = sum(cell is not None for cell in cells)
    return (sum(same) > 1 and 2 * sum(same) >= filled) or (key_index is not None and same[key_index])


def _is_single_text(cells: Sequence[str | None]) -> bool:
    """Return whether a row has one cell, which is not a code."""
    filled = [cell for cell in cells if cell is not None]
    return len(filled) == 1 and not _CODE.fullmatch(filled[0])


def _is_remark(cells: Sequence[str | None], key_index: int | None) -> bool:
    """Return whether a row is a total, remark, signature or the name of a group."""
    first = next((index for index, cell in enumerate(cells) if cell is not None), None)
    if first is None:
        return False
    text = to_simplified(str(cells[first]))
    code = cells[key_index] if key_index is not None and key_index != first else None
    is_signature = _LABEL_OF_PERSON.fullmatch(text) is not None and (code is None or not _CODE.fullmatch(code))
    if code is not None and not (is_signature or _COUNT.fullmatch(code) or _REMARK.fullmatch(code)):
        return False
    if is_signature or _TOTAL.fullmatch(text) or _REMARK.fullmatch(text) or _LABEL.fullmatch(text):
        return True
    return _is_single_text(cells) and bool(_GROUP.fullmatch(text))


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
