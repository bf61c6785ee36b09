"""SQL of OGC features: PostgreSQL builds pages and items of any collection as JSON text.

A collection has a FROM clause, an expression for each property, and an expression for its properties as JSON. Names
come from the description of the collection; values of clients are bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import orjson
from shapely.geometry.base import BaseGeometry

from app.db.engine import Fetch
from app.db.queries import StatementParameters
from app.geo.projection.reference_systems import CRS84, Crs
from app.ogc.collection_model import Collection, Property, Type
from app.ogc.queries import cql2_to_sql
from app.ogc.queries.cql2_to_sql import Term
from app.records.queries.documents import EFFECTIVE_STATE, build_document_head, build_record_source, quote_identifier

_RING: Final = {"code": "replace(t.code, '/', '-')", "vertices": "ST_NPoints(t.geometry)"}
"""The id of a ring is 410800-core here, because an id in a URL path cannot contain a slash."""
_STATED: Final = {
    "state": f"({EFFECTIVE_STATE})",
    "reported_at": "s.reported_at",
    "working": f"(t.lifecycle = 'in_use' AND ({EFFECTIVE_STATE}) = 'online')",
}
_COLUMN: Final[Mapping[Type, str]] = {
    "text": "text",
    "integer": "bigint",
    "number": "float8",
    "boolean": "boolean",
    "day": "date",
    "instant": "timestamptz",
    "words": "text[]",
    "json": "json",
}
_EQUAL: Final[Mapping[Type, str]] = {
    "text": "text[]",
    "integer": "float8[]",
    "number": "float8[]",
    "boolean": "boolean[]",
    "day": "date[]",
    "instant": "timestamptz[]",
    "words": "text[]",
}
_FEW: Final = 250
"""Up to this number complete rows are sorted; above it only their keys and row ids are."""


@dataclass(frozen=True)
class SortKey:
    """One property to sort by."""

    property: Property
    descending: bool = False


class Representation(NamedTuple):
    """The CRS, properties and geometry of features in a response."""

    crs: Crs
    names: tuple[str, ...] | None
    shapes: bool
    reveal: bool


@dataclass(frozen=True)
class FeatureQuery:
    """Which features of a collection, and in which representation."""

    limit: int = 100
    area: BaseGeometry | None = None
    equal: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Property name to accepted values."""
    between: tuple[datetime | None, datetime | None] | None = None
    tree: Any = None
    """A CQL2 filter."""
    filter_crs: Crs = CRS84
    order: tuple[SortKey, ...] = ()
    after: tuple[Any, ...] | None = None
    """Sort values and code after which the page starts."""
    crs: Crs = CRS84
    names: tuple[str, ...] | None = None
    """Properties in the response; None for all."""
    shapes: bool = True
    """Whether the response contains geometries."""
    reveal: bool = False
    scope: Sequence[str] | None = None
    features: str | None = None
    """Candidates of a computed collection, as JSON rows."""
    total: int | None = None
    """Total number of features, if it is already known."""
    not_assessed: Sequence[Mapping[str, Any]] = ()
    """What could not be assessed, and why."""

    @property
    def representation(self) -> Representation:
        """Return the representation of the features."""
        return Representation(self.crs, self.names, self.shapes, self.reveal)

    @property
    def is_filtered(self) -> bool:
        """Return whether the query has any filter."""
        query = (self.area, self.between, self.tree)
        return bool(self.equal) or any(segment is not None for segment in query)


@dataclass(frozen=True)
class FeaturePage:
    """One page: the number of features, their JSON joined by commas, and the sort values of the next page start."""

    count: int
    bodies: bytes
    after: str | None
    """JSON of the sort values and the code of the last feature; None without a next page."""
    revision: str
    """Marker of the registry; equal if nothing was written in between."""


@cache
def build_vocabulary(collection: Collection, reveal: bool) -> Mapping[str, Term]:
    """Return the SQL of every property that a filter may use."""
    terms = {
        prop.name: Term(build_property_expression(collection, prop.name), prop.type)
        for prop in collection.visible_properties(reveal=reveal)
        if prop.queryable
    }
    return terms | {"geometry": Term("t.geometry", "geometry")}


def build_property_expression(collection: Collection, name: str) -> str:
    """Return the SQL of a property."""
    if collection.kind is not None and collection.kind.is_device and name in _STATED:
        return _STATED[name]
    if collection.id == "rings" and name in _RING:
        return _RING[name]
    return f"t.{quote_identifier(name)}"


def build_from_clause(collection: Collection, *, stated: bool, query: FeatureQuery, bound: StatementParameters) -> str:
    """Return the FROM clause; the joins of device states only if needed."""
    if collection.kind is not None:
        return build_record_source(collection.kind) if stated else f"{collection.kind.name} AS t"
    if collection.computed:
        return build_computed_columns(collection).format(rows=bound.bind_value(query.features or "[]", "json"))
    return "ring AS t"


@cache
def build_computed_columns(collection: Collection) -> str:
    """Return the column list of a result passed as JSON."""
    columns = ", ".join(f"{quote_identifier(prop.name)} {_COLUMN[prop.type]}" for prop in collection.properties)
    return (
        "(SELECT r.*, ST_GeomFromWKB(decode(r.wkb, 'hex'), 4326) AS geometry "
        f"FROM json_to_recordset({{rows}}) AS r({columns}, document text, wkb text)) AS t"
    )


@lru_cache(maxsize=1000)
def build_properties_json(collection: Collection, names: tuple[str, ...] | None, reveal: bool) -> str:
    """Return the SQL of a feature's properties as JSON text."""
    if names is None and collection.kind is not None:
        return f"{build_document_head(collection.kind, reveal=reveal)} || '}}'"
    if names is None and collection.computed:
        return "t.document"
    visible = [
        f"{build_property_expression(collection, prop.name)} AS {quote_identifier(prop.name)}"
        for prop in collection.visible_properties(reveal=reveal)
        if names is None or prop.name in names
    ]
    if not visible:
        return "'{}'"
    return f"row_to_json((SELECT d FROM (SELECT {', '.join(visible)}) AS d))::text"


def build_geometry_json(query: FeatureQuery, bound: StatementParameters, *, nullable: bool) -> str:
    """Return the SQL of a feature's geometry as JSON text, axes in the order of its system."""
    if not query.shapes:
        return "'null'"
    sql = "t.geometry"
    if query.crs.srid != CRS84.srid:
        sql = f"ST_Transform({sql}, {bound.bind_value(query.crs.srid, 'integer')})"
    if query.crs.swapped:
        sql = f"ST_FlipCoordinates({sql})"
    text = f"ST_AsGeoJSON({sql}, {query.crs.decimals})"
    return f"coalesce({text}, 'null')" if nullable else text


def build_feature_json(collection: Collection, query: FeatureQuery, bound: StatementParameters) -> str:
    """Return the SQL of a feature as JSON text."""
    code = build_property_expression(collection, "code")
    shape = build_geometry_json(query, bound, nullable=collection.computed)
    return (
        f"""'{{"type":"Feature","id":"' || {code} || '","geometry":' || {shape} """
        f"""|| ',"properties":' || {build_properties_json(collection, query.names, query.reveal)} || '}}'"""
    )


def build_conditions(collection: Collection, query: FeatureQuery, bound: StatementParameters) -> list[str]:
    """Return the SQL conditions of a query."""
    segments = [] if collection.computed else ["t.removed_at IS NULL"]
    if query.scope is not None:
        segments.append(f"t.jurisdiction = ANY({bound.bind_value(list(query.scope), 'text[]')})")
    for name, values in query.equal.items():
        prop = collection.by_name[name]
        accepted = bound.bind_value(list(values), _EQUAL[prop.type])
        sql = build_property_expression(collection, name)
        segments.append(f"{sql} && {accepted}" if prop.type == "words" else f"{sql} = ANY({accepted})")
    if query.area is not None:
        segments.append(f"ST_Intersects(t.geometry, {bound.bind_geometry(query.area)})")
    if query.between is not None:
        segments += build_interval_conditions(collection, query.between, bound)
    if query.tree is not None:
        words = build_vocabulary(collection, query.reveal)
        segments.append(cql2_to_sql.compile_filter(query.tree, words, bound, query.filter_crs))
    return segments


def check_filter(collection: Collection, query: FeatureQuery) -> None:
    """Raise BadQuery for an invalid filter, before the analysis runs for it.

    Raises
    ------
    BadQuery
        as for `compile_filter`.
    """
    if query.tree is not None:
        cql2_to_sql.compile_filter(
            query.tree, build_vocabulary(collection, query.reveal), StatementParameters(), query.filter_crs
        )


def build_interval_conditions(
    collection: Collection, between: tuple[datetime | None, datetime | None], bound: StatementParameters
) -> list[str]:
    """Return conditions for features valid at some time in an interval; without times a feature is always valid."""
    segments = []
    for name, when, compare in zip(collection.interval, reversed(between), ("<=", ">="), strict=True):
        if name is None or when is None:
            continue
        column = f"t.{quote_identifier(name)}"
        if collection.by_name[name].type == "day":
            value = bound.bind_value(when.date(), "date")
        else:
            value = bound.bind_value(when, "timestamptz")
        segments.append(f"({column} IS NULL OR {column} {compare} {value})")
    return segments


def build_keyset_condition(collection: Collection, query: FeatureQuery, bound: StatementParameters) -> str:
    """Return the condition that a feature comes after the last one of the previous page.

    In ascending order nulls come last, in descending order first, as in PostgreSQL.
    """
    assert query.after is not None  # noqa: S101  # callers check it
    *values, code = query.after
    condition = f"{_key(collection)} > {bound.bind_value(code, 'text')}"
    for sort, value in reversed(list(zip(query.order, values, strict=True))):
        sql = build_property_expression(collection, sort.property.name)
        if value is None:
            beyond = f"{sql} IS NOT NULL" if sort.descending else "FALSE"
            condition = f"({beyond} OR ({sql} IS NULL AND {condition}))"
            continue
        bound_value = bound.bind_value(value, _COLUMN[sort.property.type])
        beyond = f"{sql} < {bound_value}" if sort.descending else f"({sql} > {bound_value} OR {sql} IS NULL)"
        condition = f"({beyond} OR ({sql} = {bound_value} AND {condition}))"
    return condition


def _key(collection: Collection) -> str:
    """Return the default sort column, which also breaks ties."""
    if collection.id == "rings":
        return f"({_RING['code']})"
    return 't.code COLLATE "C"' if collection.computed else "t.code"


def list_sort_keys(collection: Collection, query: FeatureQuery) -> list[tuple[str, str]]:
    """Return the SQL and direction of each sort key."""
    keys = [
        (build_property_expression(collection, sort.property.name), " DESC" if sort.descending else "")
        for sort in query.order
    ]
    return [*keys, (_key(collection), "")]


def uses_device_state(segments: Sequence[str]) -> bool:
    """Return whether conditions use device states, which are stored in a separate table."""
    return any(_STATED["reported_at"] in segment for segment in segments)


def build_page_statement(collection: Collection, query: FeatureQuery) -> tuple[str, list[Any]]:
    """Return the statement of a page and its values."""
    if query.is_filtered or query.order or query.after is not None or collection.computed:
        return _build_any_page_statement(collection, query)
    statement = _build_first_page_statement(collection, query.representation, query.scope is not None)
    return statement, [*list_first_page_values(query), query.limit + 1]


@lru_cache(maxsize=500)
def _build_first_page_statement(collection: Collection, looks: Representation, scoped: bool) -> str:
    """Return the statement of an unfiltered first page; it is built once per representation."""
    return _build_any_page_statement(collection, FeatureQuery(**looks._asdict(), scope=() if scoped else None))[0]


def list_first_page_values(query: FeatureQuery) -> list[Any]:
    """Return the values of an unfiltered statement except its last, in binding order."""
    system = [] if query.crs.srid == CRS84.srid or not query.shapes else [query.crs.srid]
    return [*system, *([] if query.scope is None else [list(query.scope)])]


def _build_any_page_statement(collection: Collection, query: FeatureQuery) -> tuple[str, list[Any]]:
    """Return the statement of any page and its values.

    With a filter or a sort order, the rows of the page are selected first, without their JSON and without
    joins that the filter does not need. For a long or sorted page only keys and row ids (`ctid`) are
    selected, because short rows are sorted faster.
    """
    bound = StatementParameters()
    table = build_from_clause(collection, stated=True, query=query, bound=bound)
    body, is_last = build_feature_json(collection, query, bound), build_page_end(collection, query)
    segments = build_conditions(collection, query, bound)
    if query.after is not None:
        segments.append(build_keyset_condition(collection, query, bound))
    limit_count = bound.bind_value(query.limit + 1, "bigint")
    keys = list_sort_keys(collection, query)
    in_order = ", ".join(key + direction for key, direction in keys)
    chosen = f"WHERE {' AND '.join(segments) or 'TRUE'} ORDER BY {in_order} LIMIT {limit_count}"
    if (query.is_filtered or query.order) and not collection.computed:
        narrow = build_from_clause(collection, stated=uses_device_state(segments), query=query, bound=bound)
        name, _, joins = table.partition(" AS t")
        if query.order or query.limit > _FEW:
            members = ", ".join(f"{key} AS key_{index}" for index, (key, _) in enumerate(keys))
            subquery = f"SELECT t.ctid AS row, {members} FROM {narrow} {chosen}"
            table = f"({subquery}) AS k JOIN {name} AS t ON t.ctid = k.row{joins}"
            # Sorts by the keys of the subquery, so that expressions are not evaluated twice.
            chosen = "ORDER BY " + ", ".join(f"k.key_{index}{direction}" for index, (_, direction) in enumerate(keys))
        else:
            table = f"(SELECT t.* FROM {narrow} {chosen}) AS t{joins}"
            chosen = f"ORDER BY {in_order}"
    visible = f"FILTER (WHERE row_index < {limit_count})"
    members = f"max(last) FILTER (WHERE row_index = {limit_count} - 1)" if query.order else f"max(last) {visible}"
    return (
        f"SELECT count(*) {visible}, convert_to(string_agg(body, ',') {visible}, 'UTF8'), {members}, "
        "count(*), (SELECT count(*) || '.' || coalesce(sum(revision), 0) FROM revision) "
        "FROM (SELECT body, last, row_number() OVER () AS row_index FROM ("
        f"SELECT {body} AS body, {is_last} AS last FROM {table} {chosen}"
        ") AS selected) AS numbered",
        bound.values,
    )


def build_page_end(collection: Collection, query: FeatureQuery) -> str:
    """Return the SQL of the sort values after which the next page starts."""
    key = _key(collection)
    if not query.order:
        return key
    values = [build_property_expression(collection, sort.property.name) for sort in query.order]
    return f"json_build_array({', '.join([*values, key])})::text"


async def fetch_feature_page(fetch: Fetch, collection: Collection, query: FeatureQuery) -> FeaturePage:
    """Return up to ``limit`` features; one more row is read to know whether there is a next page."""
    statement, values = build_page_statement(collection, query)
    count, bodies, is_last, result, revision = (await fetch(statement, *values))[0]
    after = None
    if result > count:
        after = is_last if query.order else orjson.dumps([is_last]).decode()
    return FeaturePage(count, bodies or b"", after, revision)


async def count_features(fetch: Fetch, collection: Collection, query: FeatureQuery, *, most: int | None = None) -> int:
    """Return the number of features, or ``most`` if there are more."""
    bound = StatementParameters()
    segments = build_conditions(collection, query, bound)
    table = build_from_clause(collection, stated=uses_device_state(segments), query=query, bound=bound)
    result = f"FROM {table} WHERE {' AND '.join(segments) or 'TRUE'}"
    if most is not None:
        result = f"FROM (SELECT {result} LIMIT {bound.bind_value(most, 'bigint')}) AS selected"
    rows = await fetch(f"SELECT count(*) {result}", *bound.values)
    return int(rows[0][0])


async def fetch_feature(
    fetch: Fetch, collection: Collection, code: str, query: FeatureQuery
) -> tuple[int | None, bytes] | None:
    """Return version and JSON of one feature, None if it does not exist."""
    statement, values = build_item_statement(collection, code, query)
    rows = await fetch(statement, *values)
    return (rows[0][0], rows[0][1]) if rows else None


def build_item_statement(collection: Collection, code: str, query: FeatureQuery) -> tuple[str, list[Any]]:
    """Return the statement of one feature and its values."""
    if collection.computed:
        return _build_any_item_statement(collection, code, query)
    statement = _build_simple_item_statement(collection, query.representation, query.scope is not None)
    return statement, [*list_first_page_values(query), code]


@lru_cache(maxsize=500)
def _build_simple_item_statement(collection: Collection, looks: Representation, scoped: bool) -> str:
    """Return the statement of one feature in the default representation."""
    query = FeatureQuery(**looks._asdict(), scope=() if scoped else None)
    return _build_any_item_statement(collection, "", query)[0]


def _build_any_item_statement(collection: Collection, code: str, query: FeatureQuery) -> tuple[str, list[Any]]:
    """Return the statement of one feature in any representation."""
    bound = StatementParameters()
    table = build_from_clause(collection, stated=True, query=query, bound=bound)
    body = build_feature_json(collection, query, bound)
    segments = build_conditions(collection, query, bound)
    segments.append(f"{build_property_expression(collection, 'code')} = {bound.bind_value(code, 'text')}")
    version = "NULL::integer" if collection.computed else "t.version"
    return (
        f"SELECT {version}, convert_to({body}, 'UTF8') FROM {table} WHERE {' AND '.join(segments)}",
        bound.values,
    )


async def fetch_extent(fetch: Fetch, scope: Sequence[str] | None) -> tuple[float, float, float, float] | None:
    """Return the bounding box of all records in scope: from stated extents, otherwise from rings."""
    rows = await fetch(
        "SELECT min(w), min(s), max(e), max(n) FROM ("
        "SELECT (j.extent->>0)::float8 AS w, (j.extent->>1)::float8 AS s, "
        "(j.extent->>2)::float8 AS e, (j.extent->>3)::float8 AS n FROM jurisdiction AS j "
        "WHERE j.removed_at IS NULL AND jsonb_typeof(j.extent) = 'array' "
        "AND ($1::text[] IS NULL OR j.code = ANY($1::text[])) UNION ALL "
        "SELECT ST_XMin(r.geometry), ST_YMin(r.geometry), ST_XMax(r.geometry), ST_YMax(r.geometry) "
        "FROM ring AS r WHERE r.removed_at IS NULL "
        "AND ($1::text[] IS NULL OR r.jurisdiction = ANY($1::text[]))) AS sides",
        scope,
    )
    west, south, east, north = rows[0]
    return None if west is None else (west, south, east, north)


async def fetch_jurisdictions(fetch: Fetch, scope: Sequence[str] | None) -> list[str]:
    """Return the jurisdictions of a scope."""
    rows = await fetch(
        "SELECT code FROM jurisdiction WHERE removed_at IS NULL "
        "AND ($1::text[] IS NULL OR code = ANY($1::text[])) ORDER BY code",
        scope,
    )
    return [row[0] for row in rows]
