"""Headings of columns and the fields that they mean; the table is ``headings.toml``.

A heading means one field or none. Two headings for one field are an issue for the planner.
"""

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from app.ingest.columns.field_specs import RecordSpec
from app.ingest.values.text import to_simplified
from app.models.titles import build_heading, find_title

_TABLE: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
COMMON: Final[Mapping[str, str]] = _TABLE["common"]
"""Field, or field@list, to the headings that mean it for every kind, separated by spaces."""
OF_KIND: Final[Mapping[str, Mapping[str, str]]] = _TABLE["kinds"]
"""The same for one kind; these come first."""
UNDECIDED: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(targets.split()) for name, targets in _TABLE["undecided"].items()
}
"""Headings to the fields that they may mean; the cells decide."""
KNOWN_BUT_NOT_KEPT: Final[Mapping[str, str]] = _TABLE["not_kept"]
"""Headings that are recognised and have no field, with what they are."""
_UNITS: Final = {name: unit for unit, names in _TABLE["units"].items() for name in names.split()}
_DATUMS: Final = {name: datum for datum, names in _TABLE["datums"].items() for name in names.split()}
_SYSTEM: Final = re.compile(r"(?:大地)?(?:坐标系统|坐标系|坐标|经纬度|地图)+$|coord(?:inate)?s?(?:system)?$")
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

    name: str
    unit: str | None = None
    datum: str | None = None


@dataclass(frozen=True)
class HeadingMatch:
    """The field a heading means."""

    field: str
    code_list: str | None = None
    unit: str | None = None
    datum: str | None = None
    rank: int = 0
    """How sure: 0 the field's own name or title, 1 a name of the kind, 2 a common name."""


def to_plain_form(text: str) -> str:
    """Return the plain form of a name: lower case, without spaces and marks.

    >>> to_plain_form("Info.Horizontal_Field Angle"), to_plain_form("ＪＤ "), to_plain_form("設備編碼")
    ('infohorizontalfieldangle', 'jd', '设备编码')
    """
    return to_simplified(_MARKS.sub("", unicodedata.normalize("NFKC", text).casefold()))


def parse_heading(column: str) -> Heading:
    """Return a heading without its unit and datum.

    >>> parse_heading("安装高度/米"), parse_heading("Range (km)").unit
    (Heading(name='安装高度', unit='m', datum=None), 'km')
    >>> parse_heading("经度（GCJ-02）")
    Heading(name='经度', unit=None, datum='gcj02')
    >>> parse_heading("1、設備編碼 *必填").name
    '设备编码'
    >>> parse_heading("经度（高德坐标系，度）")
    Heading(name='经度', unit='deg', datum='gcj02')
    """
    text = to_simplified(unicodedata.normalize("NFKC", column).casefold()).strip().strip("*:：")
    text = _ASIDE.sub("", text) or text
    unit = datum = None
    for inner in _BRACKETS.findall(text):
        for part in (inner, *_PARTS.split(inner)):
            unit = unit or _UNITS.get(part.strip(" 单位:"))
            datum = datum or find_datum(part)
    text = _BRACKETS.sub("", text)
    head, slash, tail = text.partition("/")
    if slash and tail.strip() in _UNITS:
        text, unit = head, unit or _UNITS[tail.strip()]
    name = to_plain_form(text).removeprefix("info") if text.startswith("info.") else to_plain_form(text)
    return Heading(name, unit, datum)


def find_datum(text: str) -> str | None:
    """Return the datum that a text names, None when it names none.

    >>> (
    ...     find_datum("百度坐标"),
    ...     find_datum("CGCS2000坐标系"),
    ...     find_datum("1980西安坐标系"),
    ...     find_datum("地方坐标系"),
    ... )
    ('bd09', 'cgcs2000', 'EPSG:4610', None)
    """
    name = to_plain_form(text)
    return _DATUMS.get(name) or _DATUMS.get(_SYSTEM.sub("", name))


def match_heading(column: str, spec: RecordSpec) -> HeadingMatch | None:
    """Return the field of a kind that a heading means, None when it is not known."""
    names = _names(spec)
    heading = parse_heading(column)
    for name, datum in ((heading.name, heading.datum), *_without_datum(heading)):
        if name in names:
            target, rank = names[name]
            field, _, code_list = target.partition("@")
            return HeadingMatch(field, code_list or None, heading.unit, datum, rank)
    return None


def _without_datum(heading: Heading) -> tuple[tuple[str, str], ...]:
    """Return the name without a datum in it: ``gcj02_lng`` is a longitude."""
    datum = _DATUM.search(heading.name)
    if datum is None:
        return ()
    remaining = heading.name.replace(datum[0], "", 1)
    if remaining in ("坐标", "坐标系"):
        return (("坐标", _DATUMS[datum[0]]),)
    remaining = remaining.replace("坐标", "")
    is_location = remaining in _places()
    return ((remaining, _DATUMS[datum[0]]),) if is_location else ()


@cache
def _places() -> frozenset[str]:
    return frozenset(
        name for field in _COORDINATES for name in (field, find_title(field, "zh"), *COMMON.get(field, "").split())
    )


@cache
def _names(spec: RecordSpec) -> Mapping[str, tuple[str, int]]:
    """Return plain name -> (field or field@list, rank) of one kind, surest first."""
    names: dict[str, tuple[str, int]] = {}
    for field in [*spec.fields, *spec.helpers]:
        for name in _own_names(field):
            names.setdefault(name, (field, 0))
    undecided = {name for name in UNDECIDED if name not in names or name in _SHARED}
    for rank, table in ((1, OF_KIND.get(spec.name, {})), (2, COMMON)):
        for key, listed in table.items():
            if spec.field(key.partition("@")[0]) is None:
                continue
            for name in listed.split():
                names.setdefault(to_plain_form(name), (key, rank))
    for name in undecided:
        if name in names and names[name][1] != 1 and find_candidates(name, spec):
            del names[name]
    return names


_SHARED: Final = frozenset({"direction"})
"""Names of our own that elsewhere mean another thing as well: the cells decide."""


def _own_names(field: str) -> set[str]:
    names = {field, find_title(field, "zh"), find_title(field), build_heading(field)}
    return {parse_heading(name).name for name in names} | {to_plain_form(field)}


def find_candidates(name: str, spec: RecordSpec) -> tuple[str, ...]:
    """Return the fields of a kind among which the cells below a heading decide."""
    targets = UNDECIDED.get(name, ())
    return tuple(target for target in targets if spec.field(target.partition("@")[0]) is not None)


def find_known_names(spec: RecordSpec) -> dict[str, list[str]]:
    """Return field -> the plain names that are recognised for it; for the documentation."""
    table: dict[str, list[str]] = {}
    for name, (target, _) in _names(spec).items():
        table.setdefault(target, []).append(name)
    return table
