"""Rows of a sheet that are not records: totals, remarks, signatures, titles and repeated headers.

Sheets are made to be printed, so they have more rows than records. Such a row is skipped with a warning. A row with a
code and a location is always a record. The names and phones of people in skipped rows are removed.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.geo.arrays import Bools
from app.ingest.columns.headings import to_plain_form
from app.ingest.columns.planner import ImportPlan
from app.ingest.readers.opening import Batch
from app.ingest.validation.issues import RowIssue
from app.ingest.values.text import to_simplified
from app.messages import Message

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
