"""What is wrong with a row, in English and Chinese, and what rows become.

A fault names the row and the column as the file shows them. Values are cut short, and never those
of a dropped column.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pyarrow as pa
from pydantic_core import ErrorDetails

from app.ingest.values import gb_codes

LONGEST: Final = 80
"""Characters of a value that a fault repeats."""


Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class RowFault:
    """One thing wrong with one row."""

    row: int
    column: str | None
    """The column as the file names it; None when no column is to blame."""
    field: str | None
    value: str | None
    code: str
    message: str
    message_zh: str
    hint: str | None = None
    severity: Severity = "error"


@dataclass(eq=False)
class Judged:
    """Rows that are good, and what is wrong with the others."""

    good: pa.Table
    """``row`` and the columns of the kind's table as text ready for COPY; null is absent."""
    faults: list[RowFault] = field(default_factory=list)
    rows: int = 0
    points: int = 0
    """Rows with a readable place."""
    swapped: int = 0
    """Places that are none, and would be one with the axes swapped."""
    groups: list[tuple[int, ...]] = field(default_factory=list)
    """Rows that make one record together, where that is more than one."""


def shown(value: object) -> str | None:
    """Return a value as a fault repeats it."""
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


_ZH: Final[dict[str, str]] = {
    "missing": "缺少必填项",
    "string-type": "应为文本",
    "string-too-long": "文字过长，最多 {max_length} 个字符",
    "string-too-short": "文字过短，至少 {min_length} 个字符",
    "string-pattern-mismatch": "格式不符，应符合 {pattern}",
    "literal-error": "取值应为 {expected} 之一",
    "greater-than": "应大于 {gt}",
    "greater-than-equal": "应不小于 {ge}",
    "less-than": "应小于 {lt}",
    "less-than-equal": "应不大于 {le}",
    "finite-number": "应为有限的数字",
    "float-type": "应为数字",
    "int-type": "应为整数",
    "bool-type": "应为是或否",
    "too-short": "至少要有 {min_length} 项",
    "too-long": "最多 {max_length} 项",
    "list-type": "应为列表",
    "day": "应为日期，写作 YYYY-MM-DD",
    "instant": "应为带时区的时间（RFC 3339）",
    "control-characters": "不允许控制字符",
    "value-error": "取值不合规则：网络地址不得带登录信息",
    "dates-in-disorder": "拆除日期早于 {name}",
    "sees-nothing": "近端盲区已达到或超过可视距离",
    "state-missing": "有上报时间而无状态",
    "duplicate-value": "列表内有重复项",
    "duplicate-lane": "同一卡口的车道号重复",
    "extra-forbidden": "没有此字段",
    "invalid-geometry": "几何图形无效",
}
_HINTS: Final[dict[str, str]] = {
    "missing": "map a column to it, or give it a default",
    "gb28181-code": "check the code against the device list of the platform",
}
_PATTERNS: Final[dict[str, tuple[str, str, str | None]]] = {
    r"^[A-Za-z0-9._:\-]{1,64}$": (
        "a code has letters, digits and . _ : - only, at most 64 of them",
        "编码只能用字母、数字和 . _ : -，最多 64 个字符",
        "take spaces, Chinese signs and other marks out of it",
    ),
    r"^[0-9]{6}$": ("six digits are needed", "应为六位数字", "such as 410800 (GB/T 2260)"),
}
"""What is said instead of a pattern: message, Chinese, hint."""
_PROVINCE, _PERSON, _TYPE = (
    "前两位 {0} 不是省级区划代码",
    "第 11-13 位 {0} 是用户编码，本库不存人员",
    "第 11-13 位类型码 {0} 不适合此类记录",
)


class Words(dict[str, Any]):
    """Context of a message; what is not there stays a blank."""

    def __missing__(self, key: str) -> str:
        return ""


def of_error(found: ErrorDetails, kind: str, code: str | None) -> tuple[str, str, str, str | None]:
    """Return code, message, Chinese message and hint of what a draft found."""
    name = found["type"].replace("_", "-")
    context = Words(found.get("ctx", {}))
    told = _PATTERNS.get(str(context["pattern"]))
    if name == "string-pattern-mismatch" and told is not None:
        return name, *told
    if name == "gb28181-code":
        chinese = _gb_in_chinese(code or "", kind)
    else:
        chinese = _ZH.get(name, "不合规则：" + found["msg"]).format_map(context)
    return name, found["msg"], chinese, _HINTS.get(name)


def _gb_in_chinese(code: str, kind: str) -> str:
    if not gb_codes.TWENTY_DIGITS.match(code):
        return f"{len(code)} 位数字：国标编码应为 20 位（本地系统为 18 位）"
    parts = gb_codes.split_code(code)
    if parts.division[:2] not in gb_codes.PROVINCES:
        return _PROVINCE.format(parts.division[:2])
    told = _PERSON if parts.type in gb_codes.PERSON_TYPES else _TYPE
    return told.format(f"{parts.type:03d}")


ROW_CODES: Final[dict[str, str]] = {
    "digits-lost": "a code that a spreadsheet has turned into a number; it is never rounded back",
    "digits-doubtful": "(warning) a twenty-digit code that ends in five zeros",
    "letters-for-digits": "(warning) twenty signs of which some are O, o, I or l and the others digits",
    "gb28181-code": "twenty digits that are no code of such a thing",
    "not-a-device": "(warning) a node of the tree of a GB/T 28181 catalogue, an alarm or audio channel, a device deleted from the platform; passed over",
    "not-a-record": "(warning) a total, a remark, a signature, a title or the header said again; passed over",
    "cell-error": "`#N/A`, `#REF!` and the like: a spreadsheet formula that has failed",
    "unknown-code": "a word or code that is in no list in force",
    "not-a-number": "no number",
    "ambiguous-number": "1,234 may be a thousand and some, or one and some",
    "unknown-unit": "a number with a unit that does not belong to the field",
    "not-whole": "a fraction where a whole number is needed",
    "not-a-day": "no day of the calendar, or one that could be two",
    "not-yes-or-no": "neither yes nor no",
    "not-json": "no JSON",
    "not-text": "a structure with members where a text is needed",
    "not-a-resolution": "no resolution such as 1920x1080",
    "forbidden-content": "a cell with a login in an address, a picture, or members that tell of people, images or logins; it is blanked",
    "geometry-missing": "no place",
    "missing-coordinates": "one coordinate of two",
    "not-a-coordinate": "coordinates that cannot be read",
    "not-a-geometry": "no WKT, GeoJSON or WKB",
    "zero-coordinates": "0, 0",
    "swapped-coordinates": "no longitude and latitude, and one with the axes swapped",
    "geometry-out-of-range": "no longitude and latitude in degrees",
    "geometry-not-finite": "NaN or infinity",
    "geometry-type": "another type of geometry than the kind has",
    "invalid-geometry": "a geometry that crosses itself, or the like",
    "unknown-crs": "a row names a coordinate system that is not known",
    "outside-crs": "a place outside the area of the stated CRS",
    "refused-together": "a lane of a checkpoint of which another row is refused",
    "long-text-edited": "a text too long for a Shapefile of which the beginning that stands there was changed",
    "long-text-missing": "a text that goes on in `texts.jsonl`, which is not in the zip",
    "unknown-order": "two numbers of which either may be the longitude",
}
"""What can be wrong with a row, beside what the draft itself says (as for a PUT of the record)."""
