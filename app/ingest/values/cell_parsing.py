"""What one cell says: numbers with units, codes, text. Text in, value out; days are in `app.ingest.values.dates`.

Promises to read what people write and nothing that could mean two things: such a cell is
``Unreadable``, with the reason in English and Chinese and, where one helps, a hint.
"""

import re
import unicodedata
from typing import Final

from typing_extensions import override


class Unreadable(Exception):
    """A cell that cannot be read as what its field needs."""

    def __init__(self, code: str, english: str, chinese: str, hint: str | None = None) -> None:
        self.code, self.english, self.chinese, self.hint = code, english, chinese, hint
        super().__init__(code, english)

    @override
    def __str__(self) -> str:
        return self.english


_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(\.\d+)?")
_CONTINENTAL: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+,\d+")
_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
_AMBIGUOUS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
LOST: Final = re.compile(r"[+-]?\d(?:[.,]\d+)?[eE]\+?\d+")
"""A number in scientific notation: as a code it has lost its digits."""

SIGNS: Final = frozenset(
    {"/", "\\", "-", "--", "—", "——", "null", "(null)", "<null>", "\\n", "n/a"}
)  # fmt: skip
"""What stands in a cell only where there is nothing, even in a text."""
NOTHING: Final = SIGNS | {
    "无", "暂无", "不详", "未知", "空", "待定", "待补", "待补充", "待填", "未填", "未填写", "未登记", "?", "??", "***", "nil", "none",
    "na", "nan", "nat",
}  # fmt: skip
"""What people and databases write where there is no number, no day, no number of a thing."""


def _spelt(words: frozenset[str]) -> frozenset[str]:
    wide = {word: word.translate(_WIDE) for word in words}
    return frozenset(
        text for word in words for text in (word, word.upper(), word.title(), word.capitalize(), wide[word])
    )


_WIDE: Final = str.maketrans({"/": "／", "-": "－", "\\": "＼", "?": "？", "*": "＊"})
SIGNS_AS_WRITTEN: Final = _spelt(SIGNS)
NOTHING_AS_WRITTEN: Final = _spelt(NOTHING)
"""The same in the spellings that are looked for in whole columns."""
ERRORS: Final = frozenset({"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"})
"""What a spreadsheet shows where a formula has failed."""

LENGTHS_M: Final = {
    "m": 1.0, "米": 1.0, "公尺": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0,
    "km": 1000.0, "千米": 1000.0, "公里": 1000.0, "cm": 0.01, "厘米": 0.01, "公分": 0.01, "mm": 0.001,
    "毫米": 0.001, "ft": 0.3048, "feet": 0.3048, "英尺": 0.3048, "'": 0.3048,
}  # fmt: skip
_ANGLES: Final = {"": 1.0, "°": 1.0, "º": 1.0, "度": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0,
                  "rad": 57.29577951308232}  # fmt: skip
_DAYS: Final = {"天": 1.0, "日": 1.0, "d": 1.0, "day": 1.0, "days": 1.0, "个月": 30.0, "月": 30.0,
                "month": 30.0, "months": 30.0, "周": 7.0, "week": 7.0, "weeks": 7.0, "年": 365.0,
                "year": 365.0, "years": 365.0}  # fmt: skip
_PIXELS: Final = {"px": 1.0, "像素": 1.0, "pixel": 1.0, "pixels": 1.0}
_SPEEDS: Final = {
    "km/h": 1.0,
    "kmh": 1.0,
    "公里/小时": 1.0,
    "千米/时": 1.0,
    "km": 1.0,
    "mph": 1.609344,
}


def units_of(field: str) -> dict[str, float]:
    """Return the units a field may carry, with the factor to its own."""
    if field.endswith("_mm"):
        return {unit: factor * 1000.0 for unit, factor in LENGTHS_M.items()}
    if field.endswith("_m") or field in ("easting", "northing"):
        return LENGTHS_M
    for end, units in (
        ("_deg", _ANGLES), ("_days", _DAYS), ("_pixels", _PIXELS), ("_kmh", _SPEEDS)
    ):  # fmt: skip
        if field.endswith(end):
            return units
    return {"%": 0.01, "％": 0.01} if field.endswith(("_ratio", "_share")) else {}


_DASHES: Final = dict.fromkeys(map(ord, "‐‑‒–—―−﹣"), "-")


def narrow(text: str) -> str:
    """Return text with fullwidth letters, digits and signs as plain ones.

    >>> narrow("１２．５　ｍ"), narrow("㎡")
    ('12.5 m', 'm2')
    """
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def dashed(text: str) -> str:
    """Return text narrowed, with dashes of any length as hyphens: programs make one of the other.

    >>> dashed("2024—3‑5")
    '2024-3-5'
    """
    return text if text.isascii() else narrow(text).translate(_DASHES)


def number(text: str, field: str, unit: str | None = None) -> float:
    """Return a number in the field's own unit.

    >>> number("1,234.5 米", "range_m"), number("0.2km", "range_m"), number("3", "range_m", "km")
    (1234.5, 200.0, 3000.0)
    >>> number("12,5", "tilt_deg"), number("-５°", "tilt_deg")
    (12.5, -5.0)
    """
    units = units_of(field)
    plain = dashed(text).strip()
    digits, tail = _digits(plain.replace(" ", "").replace("_", ""))
    factor = units.get(tail.lower()) if tail else units.get(unit or "", 1.0)
    if factor is None or not digits:
        raise _no_number(text, units, tail if digits else "")
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _no_number(text, units, "")
    return value if factor == 1.0 else _scaled(value, factor)


def _scaled(value: float, factor: float) -> float:
    """Multiply without the dust of binary fractions: 5.3 cm are 0.053 m."""
    return float(f"{value * factor:.12g}")


def _digits(plain: str) -> tuple[str, str]:
    """Return the number in Python's spelling, and what follows it."""
    end = re.match(r"[+-]?[\d.,]*(?:[eE][+-]?\d+)?", plain)
    body = end[0] if end else ""
    tail = plain[len(body) :]
    if "," in body:
        body = _without_commas(body)
    found = _NUMBER.fullmatch(body)
    return (found[1], tail) if found else ("", tail)


def _without_commas(body: str) -> str:
    if _AMBIGUOUS.fullmatch(body):
        raise Unreadable(
            "ambiguous-number",
            f"{body} may be a thousand and some, or a number with a decimal comma",
            f"{body} 可能是带千位分隔符的整数，也可能是用逗号作小数点的数",
            "write it without the comma, or with a point",
        )
    if _THOUSANDS.fullmatch(body):
        return body.replace(",", "")
    if _CONTINENTAL.fullmatch(body):
        return body.replace(".", "").replace(",", ".")
    return body.replace(",", ".") if _COMMA.fullmatch(body) else ""


def _no_number(text: str, units: dict[str, float], tail: str) -> Unreadable:
    if tail and units:
        known = ", ".join(unit for unit in units if unit.isascii() and len(unit) > 0)
        return Unreadable(
            "unknown-unit", f"the unit {tail[:20]!r} is not known here", f"无法识别的单位 {tail[:20]}",
            f"units read here: {known}",
        )  # fmt: skip
    return Unreadable("not-a-number", "a number is needed", "应为数字")


def integer(text: str, field: str, unit: str | None = None) -> int:
    """Return a whole number; ``3.0`` is one, ``3.5`` is not.

    >>> integer("３.0", "layer"), integer("3个月", "retention_days")
    (3, 90)
    """
    value = number(text, field, unit)
    if value != int(value):
        raise Unreadable("not-whole", "a whole number is needed", "应为整数")
    return int(value)


OSM_ID: Final = re.compile(r"^(node|way|relation)/(?=[0-9]+$)")
"""What OpenStreetMap calls its things; a code has no slash."""
_GROUPED: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)
_WRAPPED: Final = re.compile(r'="?([^"]*)"?|\'(.+)')


def code(text: str) -> str:
    """Return a code as it is meant: without the marks that keep a spreadsheet from counting it.

    >>> code('="41080000001321000001"'), code("'0012"), code("4108 0000"), code("way/12")
    ('41080000001321000001', '0012', '41080000', 'way:12')
    """
    plain = dashed(text).strip()
    if wrapped := _WRAPPED.fullmatch(plain):
        plain = (wrapped[1] or wrapped[2] or "").strip()
    if LOST.fullmatch(plain) and (plain.upper().count("E+") or "." in plain):
        raise lost(plain)
    bare = plain.replace(" ", "")
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    return bare if bare.isdigit() else OSM_ID.sub(r"\1:", plain)


def no_value(text: str) -> Unreadable:
    """Return the fault of a cell in which a formula has failed."""
    return Unreadable(
        "cell-error",
        f"the cell holds {text}, the error of a spreadsheet formula, and no value",
        f"单元格为公式错误 {text}，没有值",
        "mend the formula or type the value, or leave the cell blank",
    )


def lost(text: str) -> Unreadable:
    """Return the fault of a code that a spreadsheet has rounded."""
    return Unreadable(
        "digits-lost",
        f"the code has lost its digits: {text[:30]} is a number in scientific notation",
        f"编码已丢失位数：{text[:30]} 是科学计数法的数字",
        "take the code from the source again, with the column formatted as text before it is pasted",
    )


def division(text: str) -> str:
    """Return a six-digit division code; shorter and longer levels are brought to it.

    >>> [division(t) for t in ("4108", "41080200", "410802001000", "410800.0")]
    ['410800', '410802', '410802', '410800']
    """
    plain = narrow(text).strip().removesuffix(".0").replace(" ", "")
    if plain.isdigit():
        if len(plain) in (2, 4):
            return plain.ljust(6, "0")
        if len(plain) in (8, 9, 12):
            return plain[:6]
    if LOST.fullmatch(plain):
        raise lost(plain)
    return plain


_LINES: Final = re.compile(r"\s*[\r\n\t\v\f]+\s*")


def line(text: str) -> str:
    r"""Return one line of text: breaks inside a cell become spaces.

    >>> line("解放路\n东口 ")
    '解放路 东口'
    """
    return _LINES.sub(" ", text.strip())


_SEPARATORS: Final = re.compile(r"[/,，、;；|+＋\s及和与]+")


def parts(text: str) -> list[str]:
    """Return the members of a list in one cell.

    >>> parts("人脸、车辆"), parts("人脸及车辆"), parts("1/2"), parts('["face", "vehicle"]')
    (['人脸', '车辆'], ['人脸', '车辆'], ['1', '2'], ['face', 'vehicle'])
    """
    bare = text.strip()
    if bare[:1] in "[{" and bare[-1:] in "]}":
        bare = bare[1:-1].replace('"', "").replace("'", "")
    return [part for part in _SEPARATORS.split(bare) if part]


_BY: Final = re.compile(r"\s*([x×*✕])\s*", re.IGNORECASE)
_BY_HAND: Final = re.compile(r"(\d{2,6})\s*[x×*✕]\s*(\d{2,6})p?", re.IGNORECASE)
_BESIDE: Final = re.compile(r"\([^()]*\)")
_FORMATS: Final = {
    "qcif": (176, 144), "cif": (352, 288), "4cif": (704, 576), "d1": (704, 576), "720p": (1280, 720),
    "1080p": (1920, 1080), "2k": (2560, 1440), "4k": (3840, 2160), "1080i": (1920, 1080),
    "1440p": (2560, 1440), "2160p": (3840, 2160),
    "1": (176, 144), "2": (352, 288), "3": (704, 576), "4": (704, 576), "5": (1280, 720), "6": (1920, 1080), "7": (3840, 2160),
}  # fmt: skip
"""Named resolutions, and the codes of GB/T 28181 SDP: 1 QCIF, 2 CIF, 3 4CIF, 4 D1, 5 720P, 6 1080P."""


def pixels(text: str) -> tuple[int, int]:
    """Return width and height in pixels; of several resolutions the largest.

    >>> pixels("1920x1080"), pixels("1080P（200万像素）"), pixels("5/6")
    ((1920, 1080), (1920, 1080), (1920, 1080))
    """
    found = []
    for part in parts(_BESIDE.sub("", _BY.sub(r"\1", narrow(text)))):
        if pair := _BY_HAND.fullmatch(part):
            found.append((int(pair[1]), int(pair[2])))
        elif part.lower() in _FORMATS:
            found.append(_FORMATS[part.lower()])
    if not found:
        raise Unreadable(
            "not-a-resolution",
            "the resolution cannot be read",
            "分辨率无法识别",
            "1920x1080 or 1080P",
        )
    return max(found)
