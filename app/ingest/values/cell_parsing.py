"""Parsers of cells: numbers with units, codes, lists, resolutions, text. Days are in `app.ingest.values.dates`.

A parser accepts what people write and nothing that could mean two things. Such a cell is a `CellError` with the reason
and, where one helps, a hint.
"""

import re
from collections.abc import Mapping
from typing import Final

from typing_extensions import override

from app.ingest.values.text import to_narrow
from app.messages import Message


class CellError(Exception):
    """A cell that cannot be parsed as what its field needs."""

    def __init__(self, code: str, message: Message, hint: Message | None = None) -> None:
        self.code, self.message, self.hint = code, message, hint
        super().__init__(code, message)

    @override
    def __str__(self) -> str:
        return self.message


_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(\.\d+)?")
_CONTINENTAL: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+,\d+")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
_AMBIGUOUS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
SCIENTIFIC_NUMBER: Final = re.compile(r"[+-]?\d(?:[.,]\d+)?[eE]\+?\d+")
"""A number in scientific notation: a code so written has lost its digits."""

NO_VALUE_SIGNS: Final = frozenset({"/", "\\", "-", "--", "—", "——", "null", "(null)", "<null>", "\\n", "n/a"})
"""Signs that people write where there is no value, also in a column of text."""
NO_VALUE_WORDS: Final = NO_VALUE_SIGNS | frozenset(
    [
        "无",
        "暂无",
        "不详",
        "未知",
        "空",
        "待定",
        "待补",
        "待补充",
        "待填",
        "未填",
        "未填写",
        "未登记",
        "?",
        "??",
        "***",
        "nil",
        "none",
        "na",
        "nan",
        "nat",
    ]
)
"""Words that people and databases write where there is no number, no day, no number of a thing."""
_WIDE: Final = str.maketrans({"/": "／", "-": "－", "\\": "＼", "?": "？", "*": "＊"})


def _spell(words: frozenset[str]) -> frozenset[str]:
    """Return words in the spellings that are looked for in whole columns."""
    return frozenset(
        spelling
        for word in words
        for spelling in (word, word.upper(), word.title(), word.capitalize(), word.translate(_WIDE))
    )


NO_VALUE_SIGN_SPELLINGS: Final = _spell(NO_VALUE_SIGNS)
NO_VALUE_SPELLINGS: Final = _spell(NO_VALUE_WORDS)
FORMULA_ERRORS: Final = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}
)
"""What a spreadsheet shows where a formula has failed."""


def _build_units(**factors: str) -> dict[str, float]:
    """Return unit to factor, from factor to units; ``_`` is the decimal point of a factor."""
    return {unit: float(factor[1:].replace("_", ".")) for factor, units in factors.items() for unit in units.split()}


LENGTHS_M: Final = _build_units(
    f1="m 米 公尺 meter meters metre metres",
    f1000="km 千米 公里",
    f0_01="cm 厘米 公分",
    f0_001="mm 毫米",
    f0_3048="ft feet 英尺 '",
)
_ANGLES: Final = {"": 1.0, "rad": 57.29577951308232} | _build_units(f1="° º 度 deg degree degrees")
_DAYS: Final = _build_units(f1="天 日 d day days", f30="个月 月 month months", f7="周 week weeks", f365="年 year years")
_PIXELS: Final = _build_units(f1="px 像素 pixel pixels")
_SPEEDS: Final = _build_units(f1="km/h kmh 公里/小时 千米/时 km", f1_609344="mph")
_LENGTHS_MM: Final = {unit: factor * 1000.0 for unit, factor in LENGTHS_M.items()}
_SHARES: Final = {"%": 0.01, "％": 0.01}
_UNITS: Final[Mapping[str, dict[str, float]]] = {
    "_mm": _LENGTHS_MM,
    "_m": LENGTHS_M,
    "_deg": _ANGLES,
    "_days": _DAYS,
    "_pixels": _PIXELS,
    "_kmh": _SPEEDS,
    "_ratio": _SHARES,
    "_share": _SHARES,
}
"""Units by the end of the name of a field."""


def find_units(field: str) -> dict[str, float]:
    """Return the units that a field may have, with their factors to its own unit."""
    if field in ("easting", "northing"):
        return LENGTHS_M
    return next((units for ending, units in _UNITS.items() if field.endswith(ending)), {})


_DASHES: Final = dict.fromkeys(map(ord, "‐‑‒–—―−﹣"), "-")


def normalize_dashes(text: str) -> str:
    """Return narrow text with dashes of any length as hyphens, since programs replace one by the other.

    >>> normalize_dashes("2024—3‑5")
    '2024-3-5'
    """
    return text if text.isascii() else to_narrow(text).translate(_DASHES)


def parse_number(text: str, field: str, unit: str | None = None) -> float:
    """Return a number in the unit of the field; ``unit`` is the unit of cells that name none.

    >>> parse_number("1,234.5 米", "range_m"), parse_number("0.2km", "range_m"), parse_number("3", "range_m", "km")
    (1234.5, 200.0, 3000.0)
    >>> parse_number("12,5", "tilt_deg"), parse_number("-５°", "tilt_deg")
    (12.5, -5.0)
    """
    units = find_units(field)
    plain = normalize_dashes(text).strip()
    digits, tail = _split_number(plain.replace(" ", "").replace("_", ""))
    factor = units.get(tail.lower()) if tail else units.get(unit or "", 1.0)
    if factor is None or not digits:
        raise _build_number_error(units, tail if digits else "")
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _build_number_error(units, "")
    return value if factor == 1.0 else _scale(value, factor)


def _scale(value: float, factor: float) -> float:
    """Return the product without the noise of binary fractions: 5.3 cm are 0.053 m."""
    return float(f"{value * factor:.12g}")


def _split_number(plain: str) -> tuple[str, str]:
    """Return the number as Python writes it, and what follows it."""
    start = re.match(r"[+-]?[\d.,]*(?:[eE][+-]?\d+)?", plain)
    body = start[0] if start else ""
    tail = plain[len(body) :]
    if "," in body:
        body = _remove_commas(body)
    number = _NUMBER.fullmatch(body)
    return (number[1], tail) if number else ("", tail)


def _remove_commas(body: str) -> str:
    if _AMBIGUOUS.fullmatch(body):
        raise CellError(
            "ambiguous-number",
            Message("{number} may have a thousands separator or a decimal comma", number=body),
            Message("Write the number without the comma, or with a decimal point."),
        )
    if _THOUSANDS.fullmatch(body):
        return body.replace(",", "")
    if _CONTINENTAL.fullmatch(body):
        return body.replace(".", "").replace(",", ".")
    return body.replace(",", ".") if _DECIMAL_COMMA.fullmatch(body) else ""


def _build_number_error(units: Mapping[str, float], tail: str) -> CellError:
    if tail and units:
        return CellError(
            "unknown-unit",
            Message("Unknown unit {unit!r}", unit=tail[:20]),
            Message(
                "Units of this field: {units}.", units=", ".join(unit for unit in units if unit.isascii() and unit)
            ),
        )
    return CellError("not-a-number", Message("The cell is not a number"))


def parse_integer(text: str, field: str, unit: str | None = None) -> int:
    """Return a whole number: ``3.0`` is one, ``3.5`` is not.

    >>> parse_integer("３.0", "layer"), parse_integer("3个月", "retention_days")
    (3, 90)
    """
    value = parse_number(text, field, unit)
    if value != int(value):
        raise CellError("not-whole", Message("The cell is not a whole number"))
    return int(value)


OSM_ID: Final = re.compile(r"^(node|way|relation)/(?=[0-9]+$)")
"""Start of an OpenStreetMap id; the registry writes a colon for the slash, which a code cannot have."""
_GROUPED: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)
_WRAPPED: Final = re.compile(r'="?([^"]*)"?|\'(.+)')


def parse_code(text: str) -> str:
    """Return a code without the marks that keep a spreadsheet from reading it as a number.

    >>> parse_code('="41080000001321000001"'), parse_code("'0012"), parse_code("4108 0000"), parse_code("way/12")
    ('41080000001321000001', '0012', '41080000', 'way:12')
    """
    plain = normalize_dashes(text).strip()
    if wrapped := _WRAPPED.fullmatch(plain):
        plain = (wrapped[1] or wrapped[2] or "").strip()
    if SCIENTIFIC_NUMBER.fullmatch(plain) and (plain.upper().count("E+") or "." in plain):
        raise build_digits_lost_error(plain)
    bare = plain.replace(" ", "")
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    return bare if bare.isdigit() else OSM_ID.sub(r"\1:", plain)


def build_formula_error(text: str) -> CellError:
    """Return the error of a cell in which a formula has failed."""
    return CellError(
        "cell-error",
        Message("The cell has the formula error {error} and no value", error=text),
        Message("Correct the formula, enter the value, or leave the cell blank."),
    )


def build_digits_lost_error(text: str) -> CellError:
    """Return the error of a code that a spreadsheet has rounded."""
    return CellError(
        "digits-lost",
        Message("The code has lost digits: {number} is a number in scientific notation", number=text[:30]),
        Message("Copy the code from its source again, into a column that is formatted as text."),
    )


def parse_division_code(text: str) -> str:
    """Return a division code of six digits from one of any level.

    >>> [parse_division_code(text) for text in ("4108", "41080200", "410802001000", "410800.0")]
    ['410800', '410802', '410802', '410800']
    """
    plain = to_narrow(text).strip().removesuffix(".0").replace(" ", "")
    if plain.isdigit():
        if len(plain) in (2, 4):
            return plain.ljust(6, "0")
        if len(plain) in (8, 9, 12):
            return plain[:6]
    if SCIENTIFIC_NUMBER.fullmatch(plain):
        raise build_digits_lost_error(plain)
    return plain


_LINE_BREAKS: Final = re.compile(r"\s*[\r\n\t\v\f]+\s*")


def join_lines(text: str) -> str:
    r"""Return text on one line: line breaks inside a cell become spaces.

    >>> join_lines("解放路\n东口 ")
    '解放路 东口'
    """
    return _LINE_BREAKS.sub(" ", text.strip())


_SEPARATORS: Final = re.compile(r"[/,，、;；|+＋\s及和与]+")


def split_list(text: str) -> list[str]:
    """Return the members of a list in one cell.

    >>> split_list("人脸、车辆"), split_list("人脸及车辆"), split_list("1/2"), split_list('["face", "vehicle"]')
    (['人脸', '车辆'], ['人脸', '车辆'], ['1', '2'], ['face', 'vehicle'])
    """
    bare = text.strip()
    if bare[:1] in "[{" and bare[-1:] in "]}":
        bare = bare[1:-1].replace('"', "").replace("'", "")
    return [member for member in _SEPARATORS.split(bare) if member]


_TIMES_SIGN: Final = re.compile(r"\s*([x×*✕])\s*", re.IGNORECASE)
_WIDTH_AND_HEIGHT: Final = re.compile(r"(\d{2,6})\s*[x×*✕]\s*(\d{2,6})p?", re.IGNORECASE)
_IN_BRACKETS: Final = re.compile(r"\([^()]*\)")
_QCIF, _CIF, _4CIF = (176, 144), (352, 288), (704, 576)
_720P, _1080P, _1440P, _2160P = (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160)
_RESOLUTIONS: Final = {
    **{"qcif": _QCIF, "cif": _CIF, "4cif": _4CIF, "d1": _4CIF},
    **{"720p": _720P, "1080p": _1080P, "1080i": _1080P, "1440p": _1440P, "2k": _1440P, "2160p": _2160P, "4k": _2160P},
    **{"1": _QCIF, "2": _CIF, "3": _4CIF, "4": _4CIF, "5": _720P, "6": _1080P, "7": _2160P},
}
"""Names of resolutions, and the codes of GB/T 28181 SDP: 1 QCIF, 2 CIF, 3 4CIF, 4 D1, 5 720P, 6 1080P."""


def parse_resolution(text: str) -> tuple[int, int]:
    """Return width and height in pixels; of several resolutions the largest.

    >>> parse_resolution("1920x1080"), parse_resolution("1080P（200万像素）"), parse_resolution("5/6")
    ((1920, 1080), (1920, 1080), (1920, 1080))
    """
    resolutions = []
    for member in split_list(_IN_BRACKETS.sub("", _TIMES_SIGN.sub(r"\1", to_narrow(text)))):
        if pair := _WIDTH_AND_HEIGHT.fullmatch(member):
            resolutions.append((int(pair[1]), int(pair[2])))
        elif member.lower() in _RESOLUTIONS:
            resolutions.append(_RESOLUTIONS[member.lower()])
    if not resolutions:
        raise CellError(
            "not-a-resolution", Message("The cell is not a resolution"), Message("Write 1920x1080 or 1080P.")
        )
    return max(resolutions)
