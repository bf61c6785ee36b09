"""All SQL of the GIS interface: pages and single features of any collection, made by PostgreSQL as text.

A collection is a FROM clause, an expression for each property, and a way to write its properties as
JSON. Names come from the collection's description; what callers say is bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import orjson
from shapely.geometry.base import BaseGeometry

from app.db.engine import Fetch
from app.db.queries import Bound
from app.geo.projection.reference_systems import CRS84, Crs
from app.ogc.collection_model import Collection, Property, Type
from app.ogc.queries import cql2_to_sql
from app.ogc.queries.cql2_to_sql import Term
from app.records.queries.documents import EFFECTIVE_STATE, opened, quoted, source

_RING: Final = {"code": "replace(t.code, '/', '-')", "vertices": "ST_NPoints(t.geometry)"}
"""A ring is named 410800-core here: a slash has no place in the last part of an address."""
_STATED: Final = {
    "state": f"({EFFECTIVE_STATE})",
    "reported_at": "s.reported_at",
    "working": f"(t.lifecycle = 'in_use' AND ({EFFECTIVE_STATE}) = 'online')",
}
_COLUMN: Final[Mapping[Type, str]] = {
    "text": "text", "integer": "bigint", "number": "float8", "boolean": "boolean", "day": "date",
    "instant": "timestamptz", "words": "text[]", "json": "json",
}  # fmt: skip
_EQUAL: Final[Mapping[Type, str]] = {
    "text": "text[]", "integer": "float8[]", "number": "float8[]", "boolean": "boolean[]",
    "day": "date[]", "instant": "timestamptz[]", "words": "text[]",
}  # fmt: skip
_FEW: Final = 250
"""Rows that are put in order whole; of more only their places are."""


@dataclass(frozen=True)
class Sort:
    """One property features are put in the order of."""

    property: Property
    descending: bool = False


class Looks(NamedTuple):
    """How features are to look."""

    crs: Crs
    names: tuple[str, ...] | None
    shapes: bool
    reveal: bool


@dataclass(frozen=True)
class Asked:
    """Which features of a collection, and how they are to look."""

    limit: int = 100
    area: BaseGeometry | None = None
    equal: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Property name to the values it may have."""
    between: tuple[datetime | None, datetime | None] | None = None
    tree: Any = None
    """A CQL2 filter."""
    filter_crs: Crs = CRS84
    order: tuple[Sort, ...] = ()
    after: tuple[Any, ...] | None = None
    """The sort values and the code the page starts after."""
    crs: Crs = CRS84
    names: tuple[str, ...] | None = None
    """Properties to show, None for all."""
    shapes: bool = True
    """Whether geometries are shown."""
    reveal: bool = False
    scope: Sequence[str] | None = None
    features: str | None = None
    """The features of an answer that may be needed, as JSON rows."""
    total: int | None = None
    """How many features there are in all, where that is known before."""
    not_assessed: Sequence[Mapping[str, Any]] = ()
    """What of an answer could not be assessed, and why."""

    @property
    def looks(self) -> Looks:
        """Return how features are to look."""
        return Looks(self.crs, self.names, self.shapes, self.reveal)

    @property
    def filtered(self) -> bool:
        """Tell whether anything narrows the collection."""
        asked = (self.area, self.between, self.tree)
        return bool(self.equal) or any(part is not None for part in asked)


@dataclass(frozen=True)
class Page:
    """A page: how many features, their JSON with commas between, where the next page starts."""

    count: int
    bodies: bytes
    after: str | None
    """JSON of the last feature's sort values and code, None when there is no next page."""
    revision: str
    """What the registry stood at; equal when nothing was written in between."""


@cache
def vocabulary(collection: Collection, reveal: bool) -> Mapping[str, Term]:
    """Return what a filter may speak of, as SQL."""
    terms = {
        known.name: Term(expression(collection, known.name), known.type)
        for known in collection.shown(reveal=reveal)
        if known.queryable
    }
    return terms | {"geometry": Term("t.geometry", "geometry")}


def expression(collection: Collection, name: str) -> str:
    """Return the SQL of a property."""
    if collection.kind is not None and collection.kind.device and name in _STATED:
        return _STATED[name]
    if collection.id == "rings" and name in _RING:
        return _RING[name]
    return f"t.{quoted(name)}"


def _from(collection: Collection, *, stated: bool, asked: Asked, bound: Bound) -> str:
    """Return the FROM clause; the joins of a device's state only where they are needed."""
    if collection.kind is not None:
        return source(collection.kind) if stated else f"{collection.kind.name} AS t"
    if collection.answer:
        return _answer(collection).format(rows=bound.bind(asked.features or "[]", "json"))
    return "ring AS t"


@cache
def _answer(collection: Collection) -> str:
    columns = ", ".join(f"{quoted(known.name)} {_COLUMN[known.type]}" for known in collection.properties)
    return (
        "(SELECT r.*, ST_GeomFromWKB(decode(r.wkb, 'hex'), 4326) AS geometry "
        f"FROM json_to_recordset({{rows}}) AS r({columns}, document text, wkb text)) AS t"
    )


@lru_cache(maxsize=1000)
def _properties(collection: Collection, names: tuple[str, ...] | None, reveal: bool) -> str:
    """Return the SQL of a feature's properties as JSON text."""
    if names is None and collection.kind is not None:
        return f"{opened(collection.kind, reveal=reveal)} || '}}'"
    if names is None and collection.answer:
        return "t.document"
    shown = [
        f"{expression(collection, known.name)} AS {quoted(known.name)}"
        for known in collection.shown(reveal=reveal)
        if names is None or known.name in names
    ]
    if not shown:
        return "'{}'"
    return f"row_to_json((SELECT d FROM (SELECT {', '.join(shown)}) AS d))::text"


def _shape(asked: Asked, bound: Bound, *, nullable: bool) -> str:
    """Return the SQL of a feature's geometry as JSON text, axes in the order of its system."""
    if not asked.shapes:
        return "'null'"
    sql = "t.geometry"
    if asked.crs.srid != CRS84.srid:
        sql = f"ST_Transform({sql}, {bound.bind(asked.crs.srid, 'integer')})"
    if asked.crs.swapped:
        sql = f"ST_FlipCoordinates({sql})"
    text = f"ST_AsGeoJSON({sql}, {asked.crs.decimals})"
    return f"coalesce({text}, 'null')" if nullable else text


def _feature(collection: Collection, asked: Asked, bound: Bound) -> str:
    code = expression(collection, "code")
    shape = _shape(asked, bound, nullable=collection.answer)
    return (
        f"""'{{"type":"Feature","id":"' || {code} || '","geometry":' || {shape} """
        f"""|| ',"properties":' || {_properties(collection, asked.names, asked.reveal)} || '}}'"""
    )


def _conditions(collection: Collection, asked: Asked, bound: Bound) -> list[str]:
    parts = [] if collection.answer else ["t.removed_at IS NULL"]
    if asked.scope is not None:
        parts.append(f"t.jurisdiction = ANY({bound.bind(list(asked.scope), 'text[]')})")
    for name, values in asked.equal.items():
        known = collection.by_name[name]
        wanted = bound.bind(list(values), _EQUAL[known.type])
        sql = expression(collection, name)
        parts.append(f"{sql} && {wanted}" if known.type == "words" else f"{sql} = ANY({wanted})")
    if asked.area is not None:
        parts.append(f"ST_Intersects(t.geometry, {bound.shape(asked.area)})")
    if asked.between is not None:
        parts += _holding(collection, asked.between, bound)
    if asked.tree is not None:
        words = vocabulary(collection, asked.reveal)
        parts.append(cql2_to_sql.condition(asked.tree, words, bound, asked.filter_crs))
    return parts


def check_filter(collection: Collection, asked: Asked) -> None:
    """Refuse a filter that cannot be asked, before anything is computed for it.

    Raises
    ------
    BadQuery
        as ``cql2.condition``.
    """
    if asked.tree is not None:
        cql2_to_sql.condition(asked.tree, vocabulary(collection, asked.reveal), Bound(), asked.filter_crs)


def _holding(collection: Collection, between: tuple[datetime | None, datetime | None], bound: Bound) -> list[str]:
    """Return conditions that a feature holds at some time of an interval; not told: it always does."""
    parts = []
    for name, when, compare in zip(collection.interval, reversed(between), ("<=", ">="), strict=True):
        if name is None or when is None:
            continue
        column = f"t.{quoted(name)}"
        if collection.by_name[name].type == "day":
            value = bound.bind(when.date(), "date")
        else:
            value = bound.bind(when, "timestamptz")
        parts.append(f"({column} IS NULL OR {column} {compare} {value})")
    return parts


def _following(collection: Collection, asked: Asked, bound: Bound) -> str:
    """Return the condition that a feature comes after the last of the page before.

    In ascending order nulls come last, in descending order first, as PostgreSQL has it.
    """
    assert asked.after is not None  # noqa: S101  # asked for by callers that have one
    *values, code = asked.after
    condition = f"{_key(collection)} > {bound.bind(code, 'text')}"
    for sort, value in reversed(list(zip(asked.order, values, strict=True))):
        sql = expression(collection, sort.property.name)
        if value is None:
            beyond = f"{sql} IS NOT NULL" if sort.descending else "FALSE"
            condition = f"({beyond} OR ({sql} IS NULL AND {condition}))"
            continue
        placed = bound.bind(value, _COLUMN[sort.property.type])
        beyond = f"{sql} < {placed}" if sort.descending else f"({sql} > {placed} OR {sql} IS NULL)"
        condition = f"({beyond} OR ({sql} = {placed} AND {condition}))"
    return condition


def _key(collection: Collection) -> str:
    """Return what features are put in order by when nothing else is asked, and what settles ties."""
    if collection.id == "rings":
        return f"({_RING['code']})"
    return 't.code COLLATE "C"' if collection.answer else "t.code"


def _keys(collection: Collection, asked: Asked) -> list[tuple[str, str]]:
    """Return what features are put in order by: SQL, and its direction."""
    keys = [(expression(collection, sort.property.name), " DESC" if sort.descending else "") for sort in asked.order]
    return [*keys, (_key(collection), "")]


def _speaks_of_states(parts: Sequence[str]) -> bool:
    """Tell whether conditions are about device states, which are kept in a table of their own."""
    return any(_STATED["reported_at"] in part for part in parts)


def page_statement(collection: Collection, asked: Asked) -> tuple[str, list[Any]]:
    """Return the statement of a page and its values."""
    if asked.filtered or asked.order or asked.after is not None or collection.answer:
        return _page_statement(collection, asked)
    statement = _plain_page(collection, asked.looks, asked.scope is not None)
    return statement, [*_plain_values(asked), asked.limit + 1]


@lru_cache(maxsize=500)
def _plain_page(collection: Collection, looks: Looks, scoped: bool) -> str:
    """Return the statement of a first page of everything: made once, asked over and over."""
    return _page_statement(collection, Asked(**looks._asdict(), scope=() if scoped else None))[0]


def _plain_values(asked: Asked) -> list[Any]:
    """Return the values of a plain statement but for its last, in the order they are bound."""
    system = [] if asked.crs.srid == CRS84.srid or not asked.shapes else [asked.crs.srid]
    return [*system, *([] if asked.scope is None else [list(asked.scope)])]


def _page_statement(collection: Collection, asked: Asked) -> tuple[str, list[Any]]:
    """Return the statement of any page and its values.

    Where something narrows, the rows of the page are found first, without their JSON and without the
    joins of device states that a filter does not speak of. Of a long page, or a sorted one, only their
    places (`ctid`) are: many short rows are put in order faster than many long ones.
    """
    bound = Bound()
    table = _from(collection, stated=True, asked=asked, bound=bound)
    body, last = _feature(collection, asked, bound), _last(collection, asked)
    parts = _conditions(collection, asked, bound)
    if asked.after is not None:
        parts.append(_following(collection, asked, bound))
    most = bound.bind(asked.limit + 1, "bigint")
    keys = _keys(collection, asked)
    in_order = ", ".join(key + way for key, way in keys)
    chosen = f"WHERE {' AND '.join(parts) or 'TRUE'} ORDER BY {in_order} LIMIT {most}"
    if (asked.filtered or asked.order) and not collection.answer:
        narrow = _from(collection, stated=_speaks_of_states(parts), asked=asked, bound=bound)
        name, _, joins = table.partition(" AS t")
        if asked.order or asked.limit > _FEW:
            told = ", ".join(f"{key} AS key_{at}" for at, (key, _) in enumerate(keys))
            table = (
                f"(SELECT t.ctid AS row, {told} FROM {narrow} {chosen}) AS k JOIN {name} AS t ON t.ctid = k.row{joins}"
            )
            # By the keys as they were found, so that nothing is put in order twice.
            chosen = "ORDER BY " + ", ".join(f"k.key_{at}{way}" for at, (_, way) in enumerate(keys))
        else:
            table = f"(SELECT t.* FROM {narrow} {chosen}) AS t{joins}"
            chosen = f"ORDER BY {in_order}"
    shown = f"FILTER (WHERE place < {most})"
    told = f"max(last) FILTER (WHERE place = {most} - 1)" if asked.order else f"max(last) {shown}"
    return (
        f"SELECT count(*) {shown}, convert_to(string_agg(body, ',') {shown}, 'UTF8'), {told}, "
        "count(*), (SELECT count(*) || '.' || coalesce(sum(revision), 0) FROM revision) "
        "FROM (SELECT body, last, row_number() OVER () AS place FROM ("
        f"SELECT {body} AS body, {last} AS last FROM {table} {chosen}"
        ") AS found) AS numbered",
        bound.values,
    )


def _last(collection: Collection, asked: Asked) -> str:
    """Return the SQL of what a next page starts after."""
    key = _key(collection)
    if not asked.order:
        return key
    values = [expression(collection, sort.property.name) for sort in asked.order]
    return f"json_build_array({', '.join([*values, key])})::text"


async def page(fetch: Fetch, collection: Collection, asked: Asked) -> Page:
    """Return up to ``limit`` features; one more is asked for, to tell whether there is a next page."""
    statement, values = page_statement(collection, asked)
    count, bodies, last, found, revision = (await fetch(statement, *values))[0]
    after = None
    if found > count:
        after = last if asked.order else orjson.dumps([last]).decode()
    return Page(count, bodies or b"", after, revision)


async def count(fetch: Fetch, collection: Collection, asked: Asked, *, most: int | None = None) -> int:
    """Return how many features there are, or ``most`` when there are more."""
    bound = Bound()
    parts = _conditions(collection, asked, bound)
    table = _from(collection, stated=_speaks_of_states(parts), asked=asked, bound=bound)
    found = f"FROM {table} WHERE {' AND '.join(parts) or 'TRUE'}"
    if most is not None:
        found = f"FROM (SELECT {found} LIMIT {bound.bind(most, 'bigint')}) AS found"
    rows = await fetch(f"SELECT count(*) {found}", *bound.values)
    return int(rows[0][0])


async def item(fetch: Fetch, collection: Collection, code: str, asked: Asked) -> tuple[int | None, bytes] | None:
    """Return version and JSON of one feature, None when there is none."""
    statement, values = item_statement(collection, code, asked)
    rows = await fetch(statement, *values)
    return (rows[0][0], rows[0][1]) if rows else None


def item_statement(collection: Collection, code: str, asked: Asked) -> tuple[str, list[Any]]:
    """Return the statement of one feature and its values."""
    if collection.answer:
        return _item_statement(collection, code, asked)
    statement = _plain_item(collection, asked.looks, asked.scope is not None)
    return statement, [*_plain_values(asked), code]


@lru_cache(maxsize=500)
def _plain_item(collection: Collection, looks: Looks, scoped: bool) -> str:
    asked = Asked(**looks._asdict(), scope=() if scoped else None)
    return _item_statement(collection, "", asked)[0]


def _item_statement(collection: Collection, code: str, asked: Asked) -> tuple[str, list[Any]]:
    bound = Bound()
    table = _from(collection, stated=True, asked=asked, bound=bound)
    body = _feature(collection, asked, bound)
    parts = _conditions(collection, asked, bound)
    parts.append(f"{expression(collection, 'code')} = {bound.bind(code, 'text')}")
    version = "NULL::integer" if collection.answer else "t.version"
    return (
        f"SELECT {version}, convert_to({body}, 'UTF8') FROM {table} WHERE {' AND '.join(parts)}",
        bound.values,
    )


async def extent(fetch: Fetch, scope: Sequence[str] | None) -> tuple[float, float, float, float] | None:
    """Return the box that holds every record of a scope: stated extents, else the rings."""
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


async def jurisdictions(fetch: Fetch, scope: Sequence[str] | None) -> list[str]:
    """Return the jurisdictions of a scope."""
    rows = await fetch(
        "SELECT code FROM jurisdiction WHERE removed_at IS NULL "
        "AND ($1::text[] IS NULL OR code = ANY($1::text[])) ORDER BY code",
        scope,
    )
    return [row[0] for row in rows]
