"""Query parameters of the OGC interface: parsed, validated, with errors that name the parameter."""

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
from app.geo.projection.reference_systems import CRS84, Crs, find_crs
from app.messages import Message
from app.ogc import cql2
from app.ogc.collection_model import Collection, Property
from app.ogc.queries.features import FeatureQuery, SortKey

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 10_000
ITEM_PARAMETERS: Final = frozenset({"f", "crs", "properties", "skipGeometry"})
ITEMS_PARAMETERS: Final = ITEM_PARAMETERS | {
    "limit",
    "cursor",
    "bbox",
    "bbox-crs",
    "datetime",
    "filter",
    "filter-lang",
    "filter-crs",
    "sortby",
}
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?")
_MAX_PARAMETER_VALUES: Final = 1000

Parameters = Mapping[str, str]


def parse_items_query(collection: Collection, parameters: Parameters, *, reveal: bool) -> FeatureQuery:
    """Return the query of an items request.

    Raises
    ------
    BadQuery
        if a parameter is not valid; the message says which one, and what is valid.
    """
    simple = list_equality_parameters(collection, reveal=reveal)
    for name in parameters:
        if name not in ITEMS_PARAMETERS and name not in simple:
            check_parameters(parameters, ITEMS_PARAMETERS | simple)
    order = parse_sortby(collection, parameters.get("sortby"))
    return FeatureQuery(
        limit=parse_limit(parameters.get("limit")),
        area=None if "bbox" not in parameters else parse_area(parameters["bbox"], parse_crs(parameters, "bbox-crs")),
        equal={name: parse_values(collection, name, parameters[name]) for name in parameters if name in simple},
        between=None if "datetime" not in parameters else parse_interval(parameters["datetime"]),
        tree=parse_filter_parameter(parameters),
        filter_crs=parse_crs(parameters, "filter-crs"),
        order=order,
        after=parse_page_start(parameters.get("cursor"), parameters.get("sortby"), order),
        **parse_representation(collection, parameters, reveal=reveal),
    )


def parse_item_query(collection: Collection, parameters: Parameters, *, reveal: bool) -> FeatureQuery:
    """Return the query of a single feature."""
    check_parameters(parameters, ITEM_PARAMETERS)
    return FeatureQuery(**parse_representation(collection, parameters, reveal=reveal))


@lru_cache
def list_equality_parameters(collection: Collection, *, reveal: bool) -> frozenset[str]:
    """Return the names of the properties that are also query parameters."""
    visible = collection.visible_properties(reveal=reveal)
    return frozenset(field.name for field in visible if field.queryable)


def check_parameters(parameters: Parameters, known_names: frozenset[str]) -> None:
    """Raise BadQuery for an unknown parameter, and list the known ones."""
    for name in parameters:
        if name not in known_names:
            raise BadQuery(
                Message(
                    "Unknown query parameter {name!r}. Parameters of this route: {names}.",
                    name=name[:60],
                    names=", ".join(sorted(known_names)) or "-",
                ),
                parameter=name[:60],
                code="unknown-parameter",
            )


def build_parameter_error(parameter: str, detail: str) -> BadQuery:
    """Return the error for the value of a parameter."""
    return BadQuery(detail, parameter=parameter, code="bad-query")


def parse_representation(collection: Collection, parameters: Parameters, *, reveal: bool) -> dict[str, Any]:
    """Return CRS, property names and geometry options of a request."""
    return {
        "crs": parse_crs(parameters, "crs"),
        "names": parse_property_names(collection, parameters.get("properties"), reveal=reveal),
        "shapes": not parse_flag(parameters, "skipGeometry"),
        "reveal": reveal,
    }


def parse_flag(parameters: Parameters, name: str) -> bool:
    """Return the value of a boolean parameter."""
    value = parameters.get(name, "false").lower()
    if value not in ("true", "false"):
        raise build_parameter_error(name, Message("{parameter} must be true or false.", parameter=name))
    return value == "true"


def parse_limit(text: str | None) -> int:
    """Return the page size."""
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) >= 1):
        raise build_parameter_error("limit", Message("limit must be a whole number, 1 or more."))
    return min(int(text), MAX_LIMIT)


def parse_crs(parameters: Parameters, parameter: str) -> Crs:
    """Return the coordinate reference system that a parameter names."""
    if parameter not in parameters:
        return CRS84
    parsed = find_crs(parameters[parameter])
    if parsed is None:
        raise build_parameter_error(
            parameter,
            Message(
                "{parameter}: the coordinate system {name!r} is not available. "
                "A collection lists its systems in `crs`.",
                parameter=parameter,
                name=parameters[parameter][:120],
            ),
        )
    return parsed


def parse_content_crs(header: str | None) -> Crs:
    """Return the coordinate reference system of a request body."""
    if header is None:
        return CRS84
    parsed = find_crs(header)
    if parsed is None:
        raise build_parameter_error(
            "Content-Crs",
            Message(
                "{parameter}: the coordinate system {name!r} is not available. "
                "A collection lists its systems in `crs`.",
                parameter="Content-Crs",
                name=header[:120],
            ),
        )
    return parsed


def parse_area(text: str, crs: Crs) -> Any:
    """Return the polygon of a bbox parameter."""
    numbers = text.split(",")
    if len(numbers) not in (4, 6) or not all(_NUMBER.fullmatch(number.strip()) for number in numbers):
        raise build_parameter_error(
            "bbox", Message("bbox must be four numbers, or six with heights: lower corner, then upper corner.")
        )
    try:
        return cql2.parse_box([float(number) for number in numbers], crs)
    except BadQuery as error:
        raise build_parameter_error(
            "bbox", Message("{parameter}: {detail}", parameter="bbox", detail=error.detail)
        ) from error


def parse_interval_end(text: str, *, is_last: bool) -> datetime | None:
    """Return one end of an interval: a date is its first or last instant, and ``..`` is open."""
    if text in ("", ".."):
        return None
    try:
        parsed = cql2.parse_date_or_instant(text)
    except BadQuery as error:
        raise build_parameter_error(
            "datetime", Message("{parameter}: {detail}", parameter="datetime", detail=error.detail)
        ) from error
    if isinstance(parsed, datetime):
        return parsed
    begins = datetime.combine(parsed, time(), UTC)
    return begins + timedelta(days=1, microseconds=-1) if is_last and parsed < date.max else begins


def parse_interval(text: str) -> tuple[datetime | None, datetime | None]:
    """Return both ends of a datetime parameter."""
    first, separator, second = text.partition("/")
    if not separator:
        if text in ("", ".."):
            raise build_parameter_error(
                "datetime", Message("datetime must be a date or an instant, or two of them with a slash between.")
            )
        return parse_interval_end(text, is_last=False), parse_interval_end(text, is_last=True)
    start, end = parse_interval_end(first, is_last=False), parse_interval_end(second, is_last=True)
    if start is not None and end is not None and start > end:
        raise build_parameter_error("datetime", Message("datetime: the end of the interval is before its start."))
    return start, end


def parse_filter_parameter(parameters: Parameters) -> Any:
    """Return the tree of the filter parameter, None without one."""
    language = parameters.get("filter-lang", "cql2-text")
    if language not in cql2.LANGUAGES:
        raise build_parameter_error("filter-lang", Message("filter-lang must be cql2-text or cql2-json."))
    if "filter" not in parameters:
        return None
    return cql2.parse_filter(parameters["filter"], language)


def parse_sortby(collection: Collection, text: str | None) -> tuple[SortKey, ...]:
    """Return the sort keys of the sortby parameter."""
    if text is None:
        return ()
    parsed: dict[str, SortKey] = {}
    for word in text.split(","):
        name = word.strip().removeprefix("-").removeprefix("+").strip()
        field = collection.by_name.get(name)
        if field is None or not field.sortable or field.restricted:
            names = ", ".join(p.name for p in collection.visible_properties(reveal=False) if p.sortable)
            raise build_parameter_error(
                "sortby",
                Message(
                    "sortby: {name!r} is not a sortable property. Use one of: {names}.", name=name[:60], names=names
                ),
            )
        if name in parsed:
            raise build_parameter_error("sortby", Message("sortby: {name!r} is named twice.", name=name))
        parsed[name] = SortKey(field, descending=word.strip().startswith("-"))
    return tuple(parsed.values())


def parse_property_names(collection: Collection, text: str | None, *, reveal: bool) -> tuple[str, ...] | None:
    """Return the property names of the properties parameter."""
    if text is None:
        return None
    visible = [field.name for field in collection.visible_properties(reveal=reveal)]
    requested = [name.strip() for name in text.split(",") if name.strip()]
    for name in requested:
        if name not in visible and name != "geometry":
            raise build_parameter_error(
                "properties",
                Message(
                    "Unknown property {name!r}. Properties of this collection: {names}.",
                    name=name[:60],
                    names=", ".join(visible),
                ),
            )
    return tuple(sorted(set(requested)))


def parse_values(collection: Collection, name: str, text: str) -> list[Any]:
    """Return the values of an equality parameter."""
    field = collection.by_name[name]
    values = text.split(",")
    if len(values) > _MAX_PARAMETER_VALUES:
        raise build_parameter_error(
            name, Message("{parameter} can have at most {limit:,} values.", parameter=name, limit=_MAX_PARAMETER_VALUES)
        )
    return [parse_value(field, value) for value in values]


_TYPE_NAMES: Final[Mapping[str, Message]] = {
    "text": Message("text"),
    "words": Message("list of texts"),
    "integer": Message("integer"),
    "number": Message("number"),
    "boolean": Message("boolean"),
    "day": Message("date (YYYY-MM-DD)"),
    "instant": Message("instant (RFC 3339)"),
    "json": Message("object"),
}


def parse_value(field: Property, text: str) -> Any:
    """Return one value of an equality parameter, in the type of its property."""
    try:
        return convert_value(field, text)
    except (BadQuery, ValueError, KeyError) as error:
        message = Message(
            "{parameter}: {value!r} is not of the type {type}.",
            parameter=field.name,
            value=text[:60],
            type=_TYPE_NAMES[field.type],
        )
        raise build_parameter_error(field.name, message) from error


def convert_value(field: Property, text: str) -> Any:
    """Return a value of a property from its text."""
    if field.type in ("text", "words"):
        return text
    if field.type == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
    if field.type == "day":
        return cql2.parse_date(text.strip())
    if field.type == "instant":
        return cql2.parse_filter_instant(text.strip())
    if not _NUMBER.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def encode_cursor(after: str, sortby: str | None) -> str:
    """Return the opaque cursor of a page start; it contains the sort order it belongs to."""
    document = orjson.dumps([sortby, orjson.Fragment(after)])
    return base64.urlsafe_b64encode(document).decode().rstrip("=")


def parse_page_start(cursor: str | None, sortby: str | None, order: Sequence[SortKey]) -> tuple[Any, ...] | None:
    """Return the sort values after which the page starts."""
    if cursor is None:
        return None
    error = build_parameter_error("cursor", Message("The cursor is not valid. Use the `next` link unchanged."))
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        cursor_sortby, values = orjson.loads(decoded)
        *keys, code = values
        if cursor_sortby != sortby or len(keys) != len(order) or not isinstance(code, str):
            raise error
        if "\x00" in code:
            raise error
        sort_values = [convert_cursor_value(sort.property, key) for sort, key in zip(order, keys, strict=True)]
    except (binascii.Error, ValueError, TypeError, UnicodeError, BadQuery) as cause:
        raise error from cause
    return (*sort_values, code)


def convert_cursor_value(field: Property, value: Any) -> Any:
    """Return a sort value of a cursor in the type of its property."""
    if value is None:
        return None
    if field.type == "boolean" and isinstance(value, bool):
        return value
    if field.type in ("integer", "number") and isinstance(value, int | float):
        if field.type == "integer" and not -(2**63) <= value < 2**63:
            raise ValueError(value)
        return int(value) if field.type == "integer" else float(value)
    if isinstance(value, str):
        if field.type == "text" and "\x00" not in value:
            return value
        if field.type == "day":
            return date.fromisoformat(value)
        if field.type == "instant":
            return datetime.fromisoformat(value)
    raise ValueError(value)


def continue_from(query: FeatureQuery, after: str, limit: int) -> FeatureQuery:
    """Return the query for the page after a cursor."""
    *keys, code = orjson.loads(after)
    sort_values = [convert_cursor_value(sort.property, key) for sort, key in zip(query.order, keys, strict=True)]
    return replace(query, after=(*sort_values, code), limit=limit)


def with_limit(query: FeatureQuery, limit: int) -> FeatureQuery:
    """Return the query with a smaller page size."""
    return replace(query, limit=limit)
