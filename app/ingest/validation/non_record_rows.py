"""Rows of a sheet that are no records: totals, remarks, signatures, titles and headers said again.

People write sheets to be printed, so there is more in them than records. Promises that such a row is
passed over and told of, that a row with a code and a place never is one, and that whom a signature
names is not kept.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.geo.arrays import Bools
from app.ingest.columns.headings import plain
from app.ingest.columns.planner import Plan
from app.ingest.readers.opening import Batch
from app.ingest.validation.issues import RowFault
from app.ingest.values.text import to_simplified

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
"""What stands alone in its row above a group of records: a number in words, a district, a unit."""
_LABEL: Final = re.compile(r"[\W_]*[\u4e00-\u9fff](?:\s*[\u4e00-\u9fff]){1,9}\s*[:：].*", re.DOTALL)
"""A label and what it says, as below a printed table; no name of a thing and no number of a row."""
_CODE: Final = re.compile(r"[A-Za-z0-9._:-]+")
_COUNT: Final = re.compile(r"\d{1,6}\s*\D?")
_SAID: Final = re.compile(r"([^\s:：,，;；。]{1,12})(\s*[:：]\s*)([^\s,，;；。]+)")
_HARMLESS: Final = re.compile(
    r".*(?:日期|时间|注|说明|单位|部门|来源|计|总数|总和|共|页|范围|坐标|依据|抄送|截止|截至|版本|total|sum|notes?|source|printed)"
    r"|\d+",
    re.IGNORECASE | re.DOTALL,
)
"""Labels that no name of a person follows."""
_ALONE: Final = re.compile(rf"(?:.*{_SIGNED}\s*(?:人|员)*|.*电\s*话|.*手\s*机|.*姓\s*名)\s*[:：]?", re.DOTALL)
_PHONE: Final = re.compile(r"(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)")


def passed_over(plan: Plan, batch: Batch, placed: Bools) -> tuple[Bools, list[RowFault]]:
    """Tell which rows are no records, and what is told of each.

    Parameters
    ----------
    placed : array of bool
        Rows with a readable place; they are never passed over. Where rows have no places, those
        whose code is one.
    """
    found = np.zeros(len(batch.row_numbers), dtype=bool)
    at = np.flatnonzero(~(placed if plan.placed else _coded(plan, batch)))
    if not len(at):
        return found, []
    names = [name for name in batch.columns if name not in plan.dropped]
    taken = [batch.columns[name].take(pa.array(at)).to_pylist() for name in names]
    key = _key(plan)
    place = names.index(key) if key in names else None
    faults: list[RowFault] = []
    following: tuple[int, bool] = (-1, False)
    for index in range(len(at) - 1, -1, -1):
        row = int(at[index])
        cells = [column[index] for column in taken]
        heading = _is_header(names, cells, place)
        over_header = following == (row + 1, True) and _is_title(cells)
        if heading or over_header or _is_aside(cells, place):
            found[row] = True
            faults.append(_told(int(batch.row_numbers[row]), heading))
        following = (row, heading)
    return found, faults


def unsigned(batch: Batch, rows: Bools) -> None:
    """Take the names and numbers of people out of rows that are no records, in place."""
    at = np.flatnonzero(rows)
    names = list(batch.columns)
    taken = {name: batch.columns[name].take(pa.array(at)).to_pylist() for name in names}
    changed: dict[str, dict[int, str | None]] = {}
    for place, row in enumerate(at.tolist()):
        follows = False
        for name in names:
            cell = taken[name][place]
            if cell is None:
                continue
            left = None if follows and not _said(cell) else _without_people(cell)
            if left != cell:
                changed.setdefault(name, {})[row] = left
            follows = _ALONE.fullmatch(to_simplified(cell)) is not None
    for name, cells in changed.items():
        texts = batch.columns[name].to_pylist()
        for row, left in cells.items():
            texts[row] = left
        batch.columns[name] = pa.array(texts, pa.string())


def _said(cell: str) -> bool:
    return ":" in cell or "：" in cell


def _without_people(cell: str) -> str | None:
    """Return the text of an aside without what follows labels of people, and without phones."""
    text = to_simplified(cell)
    kept = _SAID.sub(lambda said: said[0] if _HARMLESS.fullmatch(said[1]) else said[1] + said[2], text)
    kept = _PHONE.sub("", kept)
    return cell if kept == text else kept.strip() or None


def _key(plan: Plan) -> str | None:
    """Return the column that says which record a row is."""
    wanted = ("owner_reference", "code") if plan.key == "owner_reference" else ("code",)
    columns = {feed.spec.name: feed.columns[0] for feed in plan.feeds}
    return next((columns[name] for name in wanted if name in columns), None)


def _coded(plan: Plan, batch: Batch) -> Bools:
    key = _key(plan)
    if key is None:
        return np.ones(len(batch.row_numbers), dtype=bool)
    codes = batch.columns[key]
    coded = pc.match_substring_regex(codes, f"^(?:{_CODE.pattern})$")
    word = pc.match_substring_regex(codes, "^(?i:sub-?total|total|sum|notes?|remarks?)$")
    fine = pc.and_not(pc.fill_null(coded, False), pc.fill_null(word, False))
    fine = pc.and_not(fine, pc.fill_null(pc.equal(codes, key), False))
    return np.asarray(fine.to_numpy(zero_copy_only=False), dtype=bool)


def _is_header(names: Sequence[str], cells: Sequence[str | None], place: int | None) -> bool:
    same = [cell is not None and plain(cell) == plain(name) != "" for name, cell in zip(names, cells, strict=True)]
    filled = sum(cell is not None for cell in cells)
    return (sum(same) > 1 and 2 * sum(same) >= filled) or (place is not None and same[place])


def _is_title(cells: Sequence[str | None]) -> bool:
    """Tell the one text of a row that is no code."""
    filled = [cell for cell in cells if cell is not None]
    return len(filled) == 1 and not _CODE.fullmatch(filled[0])


def _is_aside(cells: Sequence[str | None], place: int | None) -> bool:
    first = next((at for at, cell in enumerate(cells) if cell is not None), None)
    if first is None:
        return False
    text = to_simplified(str(cells[first]))
    code = cells[place] if place is not None and place != first else None
    signed = _ALONE.fullmatch(text) is not None and (code is None or not _CODE.fullmatch(code))
    if code is not None and not (signed or _COUNT.fullmatch(code) or _REMARK.fullmatch(code)):
        return False
    if signed or _TOTAL.fullmatch(text) or _REMARK.fullmatch(text) or _LABEL.fullmatch(text):
        return True
    return _is_title(cells) and bool(_GROUP.fullmatch(text))


def _told(row: int, heading: bool) -> RowFault:
    what, chinese = _HEADER if heading else _ASIDE
    return RowFault(row, None, None, None, "not-a-record", what, chinese, None, "warning")


_HEADER: Final = (
    "the header said again, not a record; passed over",
    "重复的表头，不是记录，已略过",
)
_ASIDE: Final = (
    "a total, remark, signature or title, not a record; passed over",
    "合计、备注、签注或标题行，不是记录，已略过",
)
