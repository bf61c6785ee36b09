"""Which field a column heading means: plain forms, units, datums, and the names of each kind.

Promises one answer per heading or none; two headings for one field are the plan's to report.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from app.intake import aliases
from app.intake.targets import Kind, kind_of
from app.schemas.hanzi import simplified
from app.schemas.titles import heading, title

_UNITS: Final[dict[str, str]] = {
    "m": "m", "米": "m", "公尺": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "km": "km", "千米": "km", "公里": "km", "cm": "cm", "厘米": "cm", "公分": "cm",
    "mm": "mm", "毫米": "mm", "ft": "ft", "feet": "ft", "英尺": "ft",
    "度": "deg", "°": "deg", "deg": "deg", "degree": "deg", "degrees": "deg",
    "弧度": "rad", "rad": "rad",
    "天": "day", "日": "day", "day": "day", "days": "day", "月": "month", "个月": "month", "年": "year",
    "px": "px", "像素": "px", "pixel": "px", "pixels": "px",
    "km/h": "km/h", "kmh": "km/h", "公里/小时": "km/h", "千米/时": "km/h", "mph": "mph",
}  # fmt: skip
_DATUMS: Final[dict[str, str]] = {
    "wgs84": "wgs84", "wgs": "wgs84", "84": "wgs84", "gps": "wgs84", "cgcs2000": "cgcs2000",
    "国家2000": "cgcs2000", "gcj02": "gcj02", "gcj": "gcj02", "火星": "gcj02", "高德": "gcj02",
    "腾讯": "gcj02", "amap": "gcj02", "国测局": "gcj02", "bd09": "bd09", "bd": "bd09", "百度": "bd09",
    "baidu": "bd09", "bd09ll": "bd09", "2000国家大地": "cgcs2000", "国家大地2000": "cgcs2000",
    "大地2000": "cgcs2000", "2000": "cgcs2000", "天地图": "cgcs2000", "西安80": "EPSG:4610", "1980西安": "EPSG:4610",
    "xian80": "EPSG:4610", "xian1980": "EPSG:4610", "北京54": "EPSG:4214", "1954北京": "EPSG:4214",
    "beijing54": "EPSG:4214", "beijing1954": "EPSG:4214",
}  # fmt: skip
_SYSTEM: Final = re.compile(
    r"(?:大地)?(?:坐标系统|坐标系|坐标|经纬度|地图)+$|coord(?:inate)?s?(?:system)?$"
)
"""What stands behind the name of a datum and says nothing more."""
_BRACKETS: Final = re.compile(r"[(\[{【〔<《]([^)\]}】〕>》]*)[)\]}】〕>》]")
_ASIDE: Final = re.compile(r"^\d{1,3}\s*[.、．]\s*(?=\D)|[*\s]*(?:必填|选填|必录|非必填)项?[*\s]*$")
"""The number of a column, and whether it must be filled in."""
_PARTS: Final = re.compile(r"[,，、;；\s]+")
_MARKS: Final = re.compile(r"[\W_]+")
_DATUM: Final = re.compile("|".join(sorted(_DATUMS, key=len, reverse=True)))
_COORDINATES: Final = frozenset({"lon", "lat", "x", "y", "position"})


@dataclass(frozen=True)
class Heading:
    """A heading taken apart."""

    plain: str
    unit: str | None = None
    datum: str | None = None


@dataclass(frozen=True)
class Match:
    """The field a heading means."""

    field: str
    code_list: str | None = None
    unit: str | None = None
    datum: str | None = None
    rank: int = 0
    """How sure: 0 the field's own name or title, 1 a name of the kind, 2 a common name."""


def plain(text: str) -> str:
    """Return the plain form of a name: lower case, without spaces and marks.

    >>> plain("Info.Horizontal_Field Angle"), plain("ＪＤ "), plain("設備編碼")
    ('infohorizontalfieldangle', 'jd', '设备编码')
    """
    return simplified(_MARKS.sub("", unicodedata.normalize("NFKC", text).casefold()))


def taken_apart(column: str) -> Heading:
    """Return a heading without the unit and the datum that stand beside it.

    >>> taken_apart("安装高度/米"), taken_apart("Range (km)").unit
    (Heading(plain='安装高度', unit='m', datum=None), 'km')
    >>> taken_apart("经度（GCJ-02）")
    Heading(plain='经度', unit=None, datum='gcj02')
    >>> taken_apart("1、設備編碼 *必填").plain
    '设备编码'
    >>> taken_apart("经度（高德坐标系，度）")
    Heading(plain='经度', unit='deg', datum='gcj02')
    """
    text = simplified(unicodedata.normalize("NFKC", column).casefold()).strip().strip("*:：")
    text = _ASIDE.sub("", text) or text
    unit = datum = None
    for inner in _BRACKETS.findall(text):
        for part in (inner, *_PARTS.split(inner)):
            unit = unit or _UNITS.get(part.strip(" 单位:"))
            datum = datum or datum_of(part)
    text = _BRACKETS.sub("", text)
    head, slash, tail = text.partition("/")
    if slash and tail.strip() in _UNITS:
        text, unit = head, unit or _UNITS[tail.strip()]
    name = plain(text).removeprefix("info") if text.startswith("info.") else plain(text)
    return Heading(name, unit, datum)


def datum_of(text: str) -> str | None:
    """Return the datum that a text names, None when it names none.

    >>> (
    ...     datum_of("百度坐标"),
    ...     datum_of("CGCS2000坐标系"),
    ...     datum_of("1980西安坐标系"),
    ...     datum_of("地方坐标系"),
    ... )
    ('bd09', 'cgcs2000', 'EPSG:4610', None)
    """
    name = plain(text)
    return _DATUMS.get(name) or _DATUMS.get(_SYSTEM.sub("", name))


def recognise(column: str, kind: str) -> Match | None:
    """Return the field of a kind that a heading means, None when it is not known.

    >>> recognise("SXJGNLX", "camera")
    Match(field='functions', code_list=None, unit=None, datum=None, rank=2)
    >>> recognise("Range (km)", "camera")
    Match(field='range_m', code_list=None, unit='km', datum=None, rank=0)
    >>> recognise("过车数量", "camera") is None
    True
    """
    names = _names(kind)
    found = taken_apart(column)
    for name, datum in ((found.plain, found.datum), *_without_datum(found)):
        if name in names:
            target, rank = names[name]
            field, _, code_list = target.partition("@")
            return Match(field, code_list or None, found.unit, datum, rank)
    return None


def _without_datum(found: Heading) -> tuple[tuple[str, str], ...]:
    """Return the name without a datum in it: ``gcj02_lng`` is a longitude."""
    datum = _DATUM.search(found.plain)
    if datum is None:
        return ()
    rest = found.plain.replace(datum[0], "", 1)
    if rest in ("坐标", "坐标系"):
        return (("坐标", _DATUMS[datum[0]]),)
    rest = rest.replace("坐标", "")
    known = rest in _places()
    return ((rest, _DATUMS[datum[0]]),) if known else ()


@cache
def _places() -> frozenset[str]:
    return frozenset(
        name
        for field in _COORDINATES
        for name in (field, title(field, "zh"), *aliases.COMMON.get(field, "").split())
    )


@cache
def _names(kind: str) -> Mapping[str, tuple[str, int]]:
    """Return plain name -> (field or field@list, rank) of one kind, surest first."""
    target = kind_of(kind)
    names: dict[str, tuple[str, int]] = {}
    for field in [*target.fields, *target.helpers]:
        for name in _own_names(field):
            names.setdefault(name, (field, 0))
    undecided = {name for name in aliases.UNDECIDED if name not in names or name in _SHARED}
    for rank, table in ((1, aliases.OF_KIND.get(kind, {})), (2, aliases.COMMON)):
        for key, listed in table.items():
            if target.field(key.partition("@")[0]) is None:
                continue
            for name in listed.split():
                names.setdefault(plain(name), (key, rank))
    for name in undecided:
        if name in names and names[name][1] != 1 and choices(name, target):
            del names[name]
    return names


_SHARED: Final = frozenset({"direction"})
"""Names of our own that elsewhere mean another thing as well: the cells decide."""


def _own_names(field: str) -> set[str]:
    told = {field, title(field, "zh"), title(field), heading(field)}
    return {taken_apart(name).plain for name in told} | {plain(field)}


def choices(name: str, kind: Kind) -> tuple[str, ...]:
    """Return the fields of a kind among which the cells below a heading decide."""
    found = aliases.UNDECIDED.get(name, ())
    return tuple(target for target in found if kind.field(target.partition("@")[0]) is not None)


def known_names(kind: str) -> dict[str, list[str]]:
    """Return field -> the plain names that are recognised for it; for the documentation."""
    table: dict[str, list[str]] = {}
    for name, (target, _) in _names(kind).items():
        table.setdefault(target, []).append(name)
    return table
