"""What a client of the GIS interface asks for: query parameters read, checked and named when wrong."""

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from app.errors import BadQuery
from app.geo.projection.reference_systems import CRS84, Crs, named
from app.ogc import cql2
from app.ogc import cql2 as cql2_values
from app.ogc.collection_model import Collection, Property
from app.ogc.queries.features import Asked, Sort

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 10_000
ITEM_PARAMETERS: Final = frozenset({"f", "crs", "properties", "skipGeometry"})
ITEMS_PARAMETERS: Final = ITEM_PARAMETERS | {
    "limit", "cursor", "bbox", "bbox-crs", "datetime", "filter", "filter-lang", "filter-crs", "sortby",
}  # fmt: skip
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?")
_MOST_VALUES: Final = 1000

Parameters = Mapping[str, str]


def items(collection: Collection, given: Parameters, *, reveal: bool) -> Asked:
    """Return the page that is asked for.

    Raises
    ------
    BadQuery
        naming the parameter that is wrong, and what would be right.
    """
    simple = equal_names(collection, reveal=reveal)
    for name in given:
        if name not in ITEMS_PARAMETERS and name not in simple:
            check_known(given, ITEMS_PARAMETERS | simple)
    order = _order(collection, given.get("sortby"))
    return Asked(
        limit=_limit(given.get("limit")),
        area=None if "bbox" not in given else _area(given["bbox"], _crs(given, "bbox-crs")),
        equal={name: _values(collection, name, given[name]) for name in given if name in simple},
        between=None if "datetime" not in given else _between(given["datetime"]),
        tree=_tree(given),
        filter_crs=_crs(given, "filter-crs"),
        order=order,
        after=_after(given.get("cursor"), given.get("sortby"), order),
        **_looks(collection, given, reveal=reveal),
    )


def one(collection: Collection, given: Parameters, *, reveal: bool) -> Asked:
    """Return how one feature is asked for."""
    check_known(given, ITEM_PARAMETERS)
    return Asked(**_looks(collection, given, reveal=reveal))


@lru_cache
def equal_names(collection: Collection, *, reveal: bool) -> frozenset[str]:
    """Return the properties that are query parameters by themselves."""
    shown = collection.shown(reveal=reveal)
    return frozenset(known.name for known in shown if known.queryable)


def check_known(given: Parameters, known: frozenset[str]) -> None:
    """Refuse a parameter that is not known, naming those that are."""
    for name in given:
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise BadQuery(
                f"Unknown query parameter {name[:60]!r}; known here: {has}.",
                parameter=name[:60],
                code="unknown-parameter",
            )


def wrong(parameter: str, detail: str) -> BadQuery:
    """Return the refusal of a parameter's value."""
    return BadQuery(detail, parameter=parameter, code="bad-query")


def _looks(collection: Collection, given: Parameters, *, reveal: bool) -> dict[str, Any]:
    return {
        "crs": _crs(given, "crs"),
        "names": _names(collection, given.get("properties"), reveal=reveal),
        "shapes": not _flag(given, "skipGeometry"),
        "reveal": reveal,
    }


def _flag(given: Parameters, name: str) -> bool:
    value = given.get(name, "false").lower()
    if value not in ("true", "false"):
        raise wrong(name, f"{name} is true or false.")
    return value == "true"


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) >= 1):
        raise wrong("limit", "limit is a whole number, 1 or more.")
    return min(int(text), MAX_LIMIT)


def _crs(given: Parameters, parameter: str) -> Crs:
    if parameter not in given:
        return CRS84
    found = named(given[parameter])
    if found is None:
        raise wrong(
            parameter,
            f"{parameter}: {given[parameter][:120]!r} is not offered; a collection lists its systems in `crs`.",
        )
    return found


def content_crs(header: str | None) -> Crs:
    """Return the system a feature is sent in."""
    if header is None:
        return CRS84
    found = named(header)
    if found is None:
        raise wrong("Content-Crs", f"Content-Crs: {header[:120]!r} is not offered.")
    return found


def _area(text: str, crs: Crs) -> Any:
    parts = text.split(",")
    if len(parts) not in (4, 6) or not all(_NUMBER.fullmatch(part.strip()) for part in parts):
        raise wrong("bbox", "bbox is four numbers, or six with heights: lower corner, upper corner.")
    try:
        return cql2_values.box([float(part) for part in parts], crs)
    except BadQuery as error:
        raise wrong("bbox", f"bbox: {error.detail}") from error


def _moment(text: str, *, last: bool) -> datetime | None:
    """Return an end of an interval; a day is its first or last instant, and ``..`` is open."""
    if text in ("", ".."):
        return None
    try:
        found = cql2_values.day_or_instant(text)
    except BadQuery as error:
        raise wrong("datetime", f"datetime: {error.detail}") from error
    if isinstance(found, datetime):
        return found
    begins = datetime.combine(found, time(), UTC)
    return begins + timedelta(days=1, microseconds=-1) if last and found < date.max else begins


def _between(text: str) -> tuple[datetime | None, datetime | None]:
    first, separator, second = text.partition("/")
    if not separator:
        if text in ("", ".."):
            raise wrong("datetime", "datetime is an instant, or two with a slash between.")
        return _moment(text, last=False), _moment(text, last=True)
    start, end = _moment(first, last=False), _moment(second, last=True)
    if start is not None and end is not None and start > end:
        raise wrong("datetime", "datetime: the interval ends before it begins.")
    return start, end


def _tree(given: Parameters) -> Any:
    language = given.get("filter-lang", "cql2-text")
    if language not in cql2.LANGUAGES:
        raise wrong("filter-lang", f"filter-lang is {' or '.join(cql2.LANGUAGES)}.")
    if "filter" not in given:
        return None
    return cql2.parse(given["filter"], language)


def _order(collection: Collection, text: str | None) -> tuple[Sort, ...]:
    if text is None:
        return ()
    found: dict[str, Sort] = {}
    for word in text.split(","):
        name = word.strip().removeprefix("-").removeprefix("+").strip()
        known = collection.by_name.get(name)
        if known is None or not known.sortable or known.restricted:
            names = ", ".join(p.name for p in collection.shown(reveal=False) if p.sortable)
            raise wrong("sortby", f"{name[:60]!r} cannot be sorted by; there are {names}.")
        if name in found:
            raise wrong("sortby", f"{name!r} is named twice.")
        found[name] = Sort(known, descending=word.strip().startswith("-"))
    return tuple(found.values())


def _names(collection: Collection, text: str | None, *, reveal: bool) -> tuple[str, ...] | None:
    if text is None:
        return None
    shown = [known.name for known in collection.shown(reveal=reveal)]
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    for name in wanted:
        if name not in shown and name != "geometry":
            raise wrong("properties", f"There is no property {name[:60]!r}; there are {', '.join(shown)}.")
    return tuple(sorted(set(wanted)))


def _values(collection: Collection, name: str, text: str) -> list[Any]:
    known = collection.by_name[name]
    parts = text.split(",")
    if len(parts) > _MOST_VALUES:
        raise wrong(name, f"{name} takes at most {_MOST_VALUES:,} values.")
    return [_value(known, part) for part in parts]


def _value(known: Property, text: str) -> Any:
    try:
        return _read(known, text)
    except (BadQuery, ValueError, KeyError) as error:
        kind = {"day": "a day, YYYY-MM-DD", "instant": "an instant, RFC 3339"}.get(known.type, f"a {known.type}")
        raise wrong(known.name, f"{known.name}: {text[:60]!r} is not {kind}.") from error


def _read(known: Property, text: str) -> Any:
    """Return a value of a property from its text."""
    if known.type in ("text", "words"):
        return text
    if known.type == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
    if known.type == "day":
        return cql2_values.day(text.strip())
    if known.type == "instant":
        return cql2_values.instant(text.strip())
    if not _NUMBER.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def encode_cursor(after: str, sortby: str | None) -> str:
    """Return the opaque form of where a page starts; it knows the order it belongs to."""
    told = orjson.dumps([sortby, orjson.Fragment(after)])
    return base64.urlsafe_b64encode(told).decode().rstrip("=")


def _after(cursor: str | None, sortby: str | None, order: Sequence[Sort]) -> tuple[Any, ...] | None:
    """Return where a page starts."""
    if cursor is None:
        return None
    refused = wrong("cursor", "The cursor is not one of ours: follow the `next` link as it is.")
    try:
        told = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        told_sortby, values = orjson.loads(told)
        *keys, code = values
        if told_sortby != sortby or len(keys) != len(order) or not isinstance(code, str):
            raise refused
        if "\x00" in code:
            raise refused
        placed = [_kept(sort.property, key) for sort, key in zip(order, keys, strict=True)]
    except (binascii.Error, ValueError, TypeError, UnicodeError, BadQuery) as error:
        raise refused from error
    return (*placed, code)


def _kept(known: Property, value: Any) -> Any:
    """Return a sort value of a cursor in its own type."""
    if value is None:
        return None
    if known.type == "boolean" and isinstance(value, bool):
        return value
    if known.type in ("integer", "number") and isinstance(value, int | float):
        if known.type == "integer" and not -(2**63) <= value < 2**63:
            raise ValueError(value)
        return int(value) if known.type == "integer" else float(value)
    if isinstance(value, str):
        if known.type == "text" and "\x00" not in value:
            return value
        if known.type == "day":
            return date.fromisoformat(value)
        if known.type == "instant":
            return datetime.fromisoformat(value)
    raise ValueError(value)


def replaced(asked: Asked, after: str, limit: int) -> Asked:
    """Return the same question from where a page ended."""
    *keys, code = orjson.loads(after)
    placed = [_kept(sort.property, key) for sort, key in zip(asked.order, keys, strict=True)]
    return replace(asked, after=(*placed, code), limit=limit)


def limited(asked: Asked, limit: int) -> Asked:
    """Return the same question for fewer features."""
    return replace(asked, limit=limit)
