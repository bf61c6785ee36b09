"""Compilation of CQL2 to SQL: names come from an allow-list, values are bound, types are checked.

The tree is that of CQL2 JSON. No text of a filter becomes SQL text: operators and properties are looked up in tables,
literals are bound as parameters. Geometries are converted to the coordinate system of the column, so that PostgreSQL
can use the spatial index.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from shapely.geometry.base import BaseGeometry

from app.db.queries import StatementParameters
from app.geo.projection.reference_systems import CRS84, Crs
from app.messages import Message
from app.ogc.collection_model import Type
from app.ogc.cql2 import (
    MAX_DEPTH,
    MAX_OPERANDS,
    MAX_VALUES,
    build_filter_error,
    build_size_error,
    parse_date,
    parse_filter_instant,
    parse_geometry,
)

COMPARISONS: Final = {"=": "=", "<>": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
ARITHMETIC: Final = {
    "+": "({} + {})",
    "-": "({} - {})",
    "*": "({} * {})",
    "/": "({} / nullif({}, 0))",
    "%": "mod(({})::numeric, nullif({}, 0)::numeric)::float8",
    "div": "trunc({} / nullif({}, 0))",
    "^": "power({}, {})",
}
SPATIAL: Final = {
    f"s_{name}": f"ST_{name.capitalize()}"
    for name in (
        "intersects",
        "equals",
        "disjoint",
        "touches",
        "within",
        "overlaps",
        "crosses",
        "contains",
    )
}
LISTS: Final = {
    "a_contains": "({0} @> {1})",
    "a_containedby": "({0} <@ {1})",
    "a_equals": "({0} @> {1} AND {0} <@ {1})",
    "a_overlaps": "({0} && {1})",
}
_METRES_PER_DEGREE: Final = 110_000.0
"""A little less than a degree of latitude has anywhere, so that a box in degrees is large enough."""


@dataclass(frozen=True)
class Term:
    """A SQL expression with its type."""

    sql: str
    type: Type | str
    shape: BaseGeometry | None = None
    """The geometry, if it is a literal."""


Vocabulary = Mapping[str, Term]
"""Properties that a filter can use: name to SQL."""


def build_box_condition(left: Term, right: Term, metres: float, bound: StatementParameters) -> str:
    """Return a condition on boxes in degrees, so that the spatial index is used, where possible."""
    shapes = [side.shape for side in (left, right)]
    if (shapes[0] is None) == (shapes[1] is None):
        return ""
    literal = shapes[0] if shapes[0] is not None else shapes[1]
    assert literal is not None  # noqa: S101  # exactly one side is a literal
    west, south, east, north = literal.bounds
    up = metres / _METRES_PER_DEGREE
    widest = max(abs(south), abs(north)) + up
    if widest >= 85:
        return ""
    across = up / math.cos(math.radians(widest))
    sides = (west - across, south - up, east + across, north + up)
    if sides[0] < -180 or sides[2] > 180:
        return ""
    corners = ", ".join(bound.bind_value(side, "float8") for side in sides)
    column = left.sql if left.shape is None else right.sql
    return f"{column} && ST_MakeEnvelope({corners}, 4326) AND "


def check_argument_count(name: str, args: Sequence[Any], count: int) -> None:
    """Raise BadQuery if a function has the wrong number of arguments."""
    if len(args) != count:
        raise build_filter_error(
            Message(
                "The number of arguments of {name} must be {expected}, not {actual}.",
                name=name[:60],
                expected=count,
                actual=len(args),
            )
        )


def date_to_instant(term: Term) -> Term:
    """Return a date as its first instant, in UTC."""
    if term.type != "day":
        return term
    return Term(f"(({term.sql})::timestamp AT TIME ZONE 'UTC')", "instant")


_TYPE_NAMES: Final[Mapping[str, Message]] = {
    "text": Message("text"),
    "words": Message("list"),
    "integer": Message("integer"),
    "number": Message("number"),
    "boolean": Message("boolean"),
    "day": Message("date"),
    "instant": Message("instant"),
    "json": Message("object"),
    "geometry": Message("geometry"),
}


def check_text(text: str) -> str:
    """Return a text that PostgreSQL can store, or raise BadQuery."""
    if "\x00" in text:
        raise build_filter_error(Message("The filter has a NUL character. Remove it."))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise build_filter_error(Message("The filter has an incomplete character (an unpaired surrogate).")) from error
    return text


# Temporal relations of CQL2 on instants and intervals, as SQL over the ends of both sides.

TEMPORAL: Final = {
    "t_after": "{as_} > {be}",
    "t_before": "{ae} < {bs}",
    "t_disjoint": "({ae} < {bs} OR {as_} > {be})",
    "t_equals": "({as_} = {bs} AND {ae} = {be})",
    "t_intersects": "({as_} <= {be} AND {ae} >= {bs})",
    "t_contains": "({as_} < {bs} AND {ae} > {be})",
    "t_during": "({as_} > {bs} AND {ae} < {be})",
    "t_finishes": "({as_} > {bs} AND {ae} = {be})",
    "t_finishedby": "({as_} < {bs} AND {ae} = {be})",
    "t_meets": "{ae} = {bs}",
    "t_metby": "{as_} = {be}",
    "t_overlaps": "({as_} < {bs} AND {ae} > {bs} AND {ae} < {be})",
    "t_overlappedby": "({as_} > {bs} AND {as_} < {be} AND {ae} > {be})",
    "t_starts": "({as_} = {bs} AND {ae} < {be})",
    "t_startedby": "({as_} = {bs} AND {ae} > {be})",
}
"""CQL2 7.9 (Allen's relations): a from ``as_`` to ``ae`` and b from ``bs`` to ``be``, inclusive."""


@dataclass(frozen=True)
class IntervalEnd:
    """One end of an interval: its type, and a function that returns its SQL when a relation needs it."""

    type: str
    sql: Callable[[], str]


End = IntervalEnd | None
"""One end; None is open."""


@dataclass(frozen=True)
class Interval:
    """An interval; both ends of an instant are the same."""

    start: End
    end: End

    @property
    def has_instants(self) -> bool:
        """Return whether an end is an instant; then dates count with their full length."""
        return any(end is not None and end.type == "instant" for end in (self.start, self.end))


def build_temporal_relation(name: str, a: Interval, b: Interval) -> str:
    """Return the SQL of a temporal relation; null where an end is null."""
    exact = a.has_instants or b.has_instants
    ends = {
        "as_": (a.start, False),
        "ae": (a.end, True),
        "bs": (b.start, False),
        "be": (b.end, True),
    }
    template = TEMPORAL[name]
    words = {
        word: build_end_sql(end, exact, is_last=is_last)
        for word, (end, is_last) in ends.items()
        if f"{{{word}}}" in template
    }
    return f"({template.format(**words)})"


def build_end_sql(end: End, exact: bool, *, is_last: bool) -> str:
    """Return one end as a date, or as its first or last instant."""
    if end is None:
        return f"'{'' if is_last else '-'}infinity'::{'timestamptz' if exact else 'date'}"
    sql = end.sql()
    if end.type == "instant" or not exact:
        return sql
    begins = f"(({sql})::timestamp AT TIME ZONE 'UTC')"
    return f"({begins} + interval '1 day' - interval '1 microsecond')" if is_last else begins


def compile_filter(tree: Any, vocabulary: Vocabulary, bound: StatementParameters, crs: Crs = CRS84) -> str:
    """Return the SQL condition of a filter; ``crs`` is the system of its geometries.

    Raises
    ------
    BadQuery
        when a name is not known, types do not match, or it is too large.
    """
    return FilterCompiler(vocabulary, bound, crs).compile_predicate(tree)


class FilterCompiler:
    """Compiles one CQL2 tree, node by node."""

    def __init__(self, vocabulary: Vocabulary, bound: StatementParameters, crs: Crs) -> None:
        self._vocabulary = vocabulary
        self._bound = bound
        self._crs = crs
        self._depth = self._parts = self._values = 0
        self._vertices = [0]

    # -- the tree -------------------------------------------------------------------------------

    def compile_predicate(self, node: Any) -> str:
        """Return the SQL of a node that must be boolean."""
        term = self.compile_term(node)
        if term.type != "boolean":
            raise build_filter_error(Message("{value} is not a condition.", value=self.find_property_name(node)))
        return term.sql

    def compile_term(self, node: Any) -> Term:
        """Return the SQL and type of any node."""
        if isinstance(node, Mapping):
            return self.compile_nested(node)
        self.count_values(1)
        if isinstance(node, bool):
            return Term("TRUE" if node else "FALSE", "boolean")
        if isinstance(node, int | float):
            return self.compile_number(node)
        if isinstance(node, str):
            return self.compile_text(node)
        if isinstance(node, list):
            return self.compile_text_list(node)
        raise build_filter_error(Message("null is not a value. Use IS NULL."))

    def count_values(self, extra_members: int) -> None:
        """Raise BadQuery if the filter contains too many values."""
        self._values += extra_members
        if self._values > MAX_VALUES:
            raise build_size_error(Message("it has more than {limit:,} values", limit=MAX_VALUES))

    def compile_nested(self, node: Mapping[str, Any]) -> Term:
        """Return the SQL of an object node."""
        if "property" in node:
            return self.compile_property(node["property"])
        if "date" in node:
            return Term(self._bound.bind_value(parse_date(node["date"]), "date"), "day")
        if "timestamp" in node:
            return Term(self._bound.bind_value(parse_filter_instant(node["timestamp"]), "timestamptz"), "instant")
        if "interval" in node:
            raise build_filter_error(Message("An interval is valid only in a temporal function such as T_INTERSECTS."))
        if "bbox" in node or "type" in node:
            built = parse_geometry(node, self._crs, self._vertices)
            return Term(self._bound.bind_geometry(built), "geometry", built)
        if "op" in node:
            return self.compile_operation(node["op"], node.get("args"))
        raise build_filter_error(Message("An object of the filter must be an operation, a property or a value."))

    def compile_operation(self, name: Any, args: Any) -> Term:
        """Return the SQL of an operation."""
        if not isinstance(name, str) or not isinstance(args, list):
            raise build_filter_error(Message("An operation must have a name in `op` and a list in `args`."))
        self._parts += 1
        if self._parts > MAX_OPERANDS:
            raise build_size_error(Message("it has more than {limit:,} operators", limit=MAX_OPERANDS))
        self._depth += 1
        if self._depth > 2 * MAX_DEPTH:
            raise build_size_error(Message("it is nested deeper than {limit} levels", limit=2 * MAX_DEPTH))
        built = self.dispatch_operation(name, args)
        self._depth -= 1
        return built

    def dispatch_operation(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of an operation, by its name."""
        low = name.lower()
        if low in ("and", "or"):
            return self.compile_and_or(low, args)
        families: tuple[tuple[Any, int, Callable[..., Term]], ...] = (
            (COMPARISONS, 2, self.compile_comparison),
            (ARITHMETIC, 2, self.compile_arithmetic),
            (SPATIAL, 2, self.compile_spatial),
            (TEMPORAL, 2, self.compile_temporal),
            (LISTS, 2, self.compile_list_comparison),
            (_SINGLE, 0, self.compile_single_argument),
        )
        for family, count, compile_family in families:
            if low in family:
                if count:
                    check_argument_count(name, args, count)
                return compile_family(low, args)
        names = "withinDistance, distance, CASEI, ACCENTI, S_..., T_..., A_..."
        raise build_filter_error(Message("Unknown function {name!r}. Functions: {names}.", name=name[:60], names=names))

    def compile_single_argument(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of a function of one argument."""
        count, method = _SINGLE[name]
        check_argument_count(name, args, count)
        built: Term = method(self, args)
        return built

    def find_property_name(self, node: Any) -> str:
        """Return the name of the property of a node, for messages."""
        if isinstance(node, Mapping) and isinstance(node.get("property"), str):
            return repr(node["property"][:60])
        return Message("a value")

    # -- names and literals ---------------------------------------------------------------------

    def compile_property(self, name: Any) -> Term:
        """Return the SQL of a property."""
        terms = self._vocabulary.get(name) if isinstance(name, str) else None
        if terms is None:
            raise build_filter_error(
                Message(
                    "Unknown property {name!r}. Properties of this collection: {names}.",
                    name=str(name)[:60],
                    names=", ".join(self._vocabulary),
                )
            )
        return terms

    def compile_number(self, value: float) -> Term:
        """Return a bound number."""
        number = float(value) if abs(value) < 1e308 else math.inf
        if not math.isfinite(number):
            raise build_filter_error(Message("A number is out of range."))
        return Term(self._bound.bind_value(number, "float8"), "number")

    def compile_text(self, value: str) -> Term:
        """Return a bound text."""
        return Term(self._bound.bind_value(check_text(value), "text"), "text")

    def compile_text_list(self, values: list[Any]) -> Term:
        """Return a bound list of texts."""
        self.count_values(len(values))
        if not all(isinstance(value, str) for value in values):
            raise build_filter_error(Message("A list in an array function must contain texts only."))
        return Term(self._bound.bind_value([check_text(value) for value in values], "text[]"), "words")

    # -- logic and comparison -------------------------------------------------------------------

    def compile_and_or(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of AND or OR."""
        if not args:
            raise build_filter_error(Message("{name} needs one condition or more.", name=name.upper()))
        operands = [self.compile_predicate(arg) for arg in args]
        return Term("(" + f" {name.upper()} ".join(operands) + ")", "boolean")

    def compile_not(self, args: list[Any]) -> Term:
        """Return the SQL of NOT."""
        return Term(f"(NOT {self.compile_predicate(args[0])})", "boolean")

    def compile_is_null(self, args: list[Any]) -> Term:
        """Return the SQL of IS NULL."""
        return Term(f"({self.compile_term(args[0]).sql} IS NULL)", "boolean")

    def compile_comparable(self, *nodes: Any) -> list[Term]:
        """Return terms of one comparable type; texts compared with times are parsed as times."""
        types = {self.find_type(node) for node in nodes}
        timed = types & {"day", "instant"}
        terms = [
            self.compile_time_text(node, timed) if timed and isinstance(node, str) else self.compile_term(node)
            for node in nodes
        ]
        term_types = {"number" if term.type == "integer" else term.type for term in terms}
        if term_types == {"day", "instant"}:
            return [date_to_instant(term) for term in terms]
        if len(term_types) > 1:
            raise build_filter_error(
                Message(
                    "{value}: the types {first} and {second} cannot be compared.",
                    value=self.find_property_name(nodes[0]),
                    first=_TYPE_NAMES[terms[0].type],
                    second=_TYPE_NAMES[terms[1].type],
                )
            )
        if term_types <= {"geometry", "words", "json"}:
            raise build_filter_error(
                Message("Compare geometries and lists with functions such as S_EQUALS and A_EQUALS.")
            )
        return terms

    def find_type(self, node: Any) -> str | None:
        """Return the type of a property or a time, without binding a value."""
        if isinstance(node, Mapping):
            if isinstance(name := node.get("property"), str) and name in self._vocabulary:
                return self._vocabulary[name].type
            return "day" if "date" in node else "instant" if "timestamp" in node else None
        return None

    def compile_time_text(self, text: str, timed: set[str | None]) -> Term:
        """Return a bound date or instant from its text."""
        if "instant" in timed and len(text) > 10:
            return Term(self._bound.bind_value(parse_filter_instant(text), "timestamptz"), "instant")
        return Term(self._bound.bind_value(parse_date(text), "date"), "day")

    def compile_comparison(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of a comparison."""
        left, right = self.compile_comparable(*args)
        return Term(f"({left.sql} {COMPARISONS[name]} {right.sql})", "boolean")

    def compile_between(self, args: list[Any]) -> Term:
        """Return the SQL of BETWEEN."""
        value, low, high = self.compile_comparable(*args)
        return Term(f"({value.sql} BETWEEN {low.sql} AND {high.sql})", "boolean")

    def compile_in(self, args: list[Any]) -> Term:
        """Return the SQL of IN."""
        items = args[1]
        if not isinstance(items, list) or not items:
            raise build_filter_error(Message("IN needs a list of values."))
        if all(isinstance(item, str) for item in items) and self.find_type(args[0]) == "text":
            listed = self.compile_text_list(items)
            return Term(f"({self.compile_term(args[0]).sql} = ANY({listed.sql}))", "boolean")
        value, *terms = self.compile_comparable(args[0], *items)
        return Term(f"({value.sql} IN ({', '.join(term.sql for term in terms)}))", "boolean")

    def compile_like(self, args: list[Any]) -> Term:
        """Return the SQL of LIKE."""
        value, pattern = (self.compile_term(arg) for arg in args)
        if (value.type, pattern.type) != ("text", "text"):
            raise build_filter_error(Message("LIKE compares a text with a pattern in quotes."))
        if isinstance(args[1], str) and (len(args[1]) - len(args[1].rstrip("\\"))) % 2:
            raise build_filter_error(Message("A pattern cannot end with a backslash that escapes nothing."))
        return Term(f"({value.sql} LIKE {pattern.sql})", "boolean")

    def compile_casei(self, args: list[Any]) -> Term:
        """Return the SQL of CASEI."""
        return Term(f"""lower({self.compile_text_argument(args[0], "CASEI")} COLLATE "und-x-icu")""", "text")

    def compile_accenti(self, args: list[Any]) -> Term:
        """Return the SQL of ACCENTI."""
        text = self.compile_text_argument(args[0], "ACCENTI")
        text_sql = f"regexp_replace(normalize({text}, NFD), '[\\u0300-\\u036f]', '', 'g')"
        return Term(text_sql, "text")

    def compile_text_argument(self, node: Any, function: str) -> str:
        """Return the SQL of an argument that must be text."""
        term = self.compile_term(node)
        if term.type != "text":
            raise build_filter_error(Message("The argument of {function} must be a text.", function=function))
        return term.sql

    def compile_arithmetic(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of an arithmetic operation."""
        left, right = (self.parse_distance(arg) for arg in args)
        return Term(ARITHMETIC[name].format(left, right), "number")

    def parse_distance(self, node: Any) -> str:
        """Return the distance in metres of an argument."""
        term = self.compile_term(node)
        if term.type not in ("number", "integer"):
            raise build_filter_error(Message("{value}: arithmetic needs numbers.", value=self.find_property_name(node)))
        return f"({term.sql})::float8" if term.type == "integer" else term.sql

    # -- geometries, times, lists -------------------------------------------------------------------

    def compile_geometry(self, node: Any) -> Term:
        """Return the SQL of a geometry argument."""
        term = self.compile_term(node)
        if term.type != "geometry":
            raise build_filter_error(Message("{value} is not a geometry.", value=self.find_property_name(node)))
        return term

    def compile_spatial(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of a spatial relation."""
        left, right = (self.compile_geometry(arg) for arg in args)
        mixed = any(side.shape is not None and side.shape.geom_type == "GeometryCollection" for side in (left, right))
        if mixed and name not in ("s_intersects", "s_disjoint"):
            raise build_filter_error(Message("{function} does not support GEOMETRYCOLLECTION.", function=name.upper()))
        if name == "s_disjoint":
            return Term(f"(NOT ST_Intersects({left.sql}, {right.sql}))", "boolean")
        return Term(f"{SPATIAL[name]}({left.sql}, {right.sql})", "boolean")

    def compile_distance(self, args: list[Any]) -> Term:
        """Return the SQL of a distance in metres."""
        left, right = (self.compile_geometry(arg) for arg in args)
        return Term(f"ST_Distance(({left.sql})::geography, ({right.sql})::geography)", "number")

    def compile_within_distance(self, args: list[Any]) -> Term:
        """Return the SQL of a distance condition, with a box condition for the index."""
        left, right = (self.compile_geometry(arg) for arg in args[:2])
        metres = args[2]
        if isinstance(metres, bool) or not isinstance(metres, int | float):
            raise build_filter_error(Message("withinDistance needs a number of metres."))
        if not 0 <= metres <= 1_000_000:
            raise build_filter_error(Message("The distance of withinDistance must be 0 to 1,000,000 metres."))
        reach = self._bound.bind_value(float(metres), "float8")
        exact = f"ST_DWithin(({left.sql})::geography, ({right.sql})::geography, {reach})"
        box_condition = build_box_condition(left, right, float(metres), self._bound)
        return Term(f"({box_condition}{exact})", "boolean")

    def compile_temporal(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of a temporal relation."""
        return Term(build_temporal_relation(name, *(self.compile_interval(arg) for arg in args)), "boolean")

    def compile_interval(self, node: Any) -> Interval:
        """Return an interval of a node."""
        if isinstance(node, Mapping) and "interval" in node:
            ends = node["interval"]
            if not isinstance(ends, list) or len(ends) != 2:
                raise build_filter_error(Message("An interval must have two ends."))
            return Interval(self.compile_interval_end(ends[0]), self.compile_interval_end(ends[1]))
        terms = self.compile_interval_end(node)
        if terms is None:
            raise build_filter_error(Message("'..' is not an instant; it is valid only as an end of an interval."))
        return Interval(terms, terms)

    def compile_interval_end(self, node: Any) -> End:
        """Return one end of an interval, None when it is open; its literal is bound when a relation uses it."""
        if node == "..":
            return None
        if isinstance(node, str):
            node = {"date" if len(node) == 10 else "timestamp": node}
        if isinstance(node, Mapping) and "date" in node:
            return IntervalEnd("day", partial(self._bound.bind_value, parse_date(node["date"]), "date"))
        if isinstance(node, Mapping) and "timestamp" in node:
            when = parse_filter_instant(node["timestamp"])
            return IntervalEnd("instant", partial(self._bound.bind_value, when, "timestamptz"))
        term = self.compile_term(node)
        if term.type not in ("day", "instant"):
            raise build_filter_error(
                Message("{value} is not a date or an instant.", value=self.find_property_name(node))
            )
        return IntervalEnd(term.type, lambda: term.sql)

    def compile_list_comparison(self, name: str, args: list[Any]) -> Term:
        """Return the SQL of a comparison of lists."""
        left, right = (self.compile_term(arg) for arg in args)
        if (left.type, right.type) != ("words", "words"):
            raise build_filter_error(
                Message("The arguments of {function} must be lists of texts.", function=name.upper())
            )
        return Term(LISTS[name].format(left.sql, right.sql), "boolean")


_SINGLE: Final[dict[str, tuple[int, Callable[..., Term]]]] = {
    "not": (1, FilterCompiler.compile_not),
    "isnull": (1, FilterCompiler.compile_is_null),
    "between": (3, FilterCompiler.compile_between),
    "in": (2, FilterCompiler.compile_in),
    "like": (2, FilterCompiler.compile_like),
    "casei": (1, FilterCompiler.compile_casei),
    "accenti": (1, FilterCompiler.compile_accenti),
    "distance": (2, FilterCompiler.compile_distance),
    "withindistance": (3, FilterCompiler.compile_within_distance),
}
