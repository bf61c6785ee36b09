"""CQL2 to SQL: every name comes from an allow-list, every value is bound, every type is checked.

The tree is that of CQL2 JSON. Nothing of a filter ever becomes SQL text: operators and properties are
looked up, literals become parameters. Geometries are converted to the system the column is in, so that
the spatial index serves.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from shapely.geometry.base import BaseGeometry

from app.db.queries import Bound
from app.geo.projection.reference_systems import CRS84, Crs
from app.ogc.collection_model import Type
from app.ogc.cql2 import DEEPEST, MOST_PARTS, MOST_VALUES, bad, day, geometry, instant

# What the CQL2 compiler is made of: the tables of operators, typed SQL, and small conversions.

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
        "intersects", "equals", "disjoint", "touches", "within", "overlaps", "crosses", "contains",
    )
}  # fmt: skip
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
    """SQL of a known type."""

    sql: str
    type: Type | str
    shape: BaseGeometry | None = None
    """The geometry when it is a literal."""


Vocabulary = Mapping[str, Term]
"""What a filter may speak of: property name to SQL."""


def near_box(left: Term, right: Term, metres: float, bound: Bound) -> str:
    """Return a condition on boxes in degrees that lets the index narrow, where one can be said."""
    known = [side.shape for side in (left, right)]
    if (known[0] is None) == (known[1] is None):
        return ""
    place = known[0] if known[0] is not None else known[1]
    assert place is not None  # noqa: S101  # one of them is known
    west, south, east, north = place.bounds
    up = metres / _METRES_PER_DEGREE
    widest = max(abs(south), abs(north)) + up
    if widest >= 85:
        return ""
    across = up / math.cos(math.radians(widest))
    sides = (west - across, south - up, east + across, north + up)
    if sides[0] < -180 or sides[2] > 180:
        return ""
    corners = ", ".join(bound.bind(side, "float8") for side in sides)
    column = left.sql if left.shape is None else right.sql
    return f"{column} && ST_MakeEnvelope({corners}, 4326) AND "


def counted(name: str, args: Sequence[Any], count: int) -> None:
    """Refuse another number of arguments."""
    if len(args) != count:
        raise bad(f"{name[:60]} takes {count} argument{'s' * (count > 1)}, not {len(args)}.")


def as_instant(term: Term) -> Term:
    """Return a day as the instant it begins, in UTC."""
    if term.type != "day":
        return term
    return Term(f"(({term.sql})::timestamp AT TIME ZONE 'UTC')", "instant")


def called(kind: str) -> str:
    """Return what a type is called in a sentence."""
    names = {"words": "a list", "day": "a day", "instant": "an instant", "json": "an object"}
    return names.get(kind, f"a {kind}")


def utf8(text: str) -> str:
    """Return a text that PostgreSQL can hold."""
    if "\x00" in text:
        raise bad("The filter has a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise bad("The filter has half a character.") from error
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
class Ending:
    """One end of an interval: a day or an instant, and its SQL, made when a relation asks for it."""

    type: str
    sql: Callable[[], str]


End = Ending | None
"""One end; None is open."""


@dataclass(frozen=True)
class Span:
    """An interval; an instant is one whose ends are the same."""

    start: End
    end: End

    @property
    def instants(self) -> bool:
        """Tell whether an end is an instant, so that days must be seen as the time they last."""
        return any(end is not None and end.type == "instant" for end in (self.start, self.end))


def relation(name: str, a: Span, b: Span) -> str:
    """Return the SQL of a temporal relation; unknown where an end is unknown."""
    exact = a.instants or b.instants
    ends = {
        "as_": (a.start, False),
        "ae": (a.end, True),
        "bs": (b.start, False),
        "be": (b.end, True),
    }
    template = TEMPORAL[name]
    words = {word: _sql(end, exact, last=last) for word, (end, last) in ends.items() if f"{{{word}}}" in template}
    return f"({template.format(**words)})"


def _sql(end: End, exact: bool, *, last: bool) -> str:
    """Return one end as a day, or as the first or last instant of it."""
    if end is None:
        return f"'{'' if last else '-'}infinity'::{'timestamptz' if exact else 'date'}"
    sql = end.sql()
    if end.type == "instant" or not exact:
        return sql
    begins = f"(({sql})::timestamp AT TIME ZONE 'UTC')"
    return f"({begins} + interval '1 day' - interval '1 microsecond')" if last else begins


def condition(tree: Any, vocabulary: Vocabulary, bound: Bound, crs: Crs = CRS84) -> str:
    """Return the SQL condition of a filter; ``crs`` is the system of its geometries.

    Raises
    ------
    BadQuery
        when a name is not known, types do not fit, or it is too large.
    """
    return _Compiler(vocabulary, bound, crs).predicate(tree)


class _Compiler:
    def __init__(self, vocabulary: Vocabulary, bound: Bound, crs: Crs) -> None:
        self._vocabulary = vocabulary
        self._bound = bound
        self._crs = crs
        self._depth = self._parts = self._values = 0
        self._vertices = [0]

    # -- the tree -------------------------------------------------------------------------------

    def predicate(self, node: Any) -> str:
        """Return a node that must be true or false."""
        term = self.term(node)
        if term.type != "boolean":
            raise bad(f"A condition is needed where {self._named(node)} stands.")
        return term.sql

    def term(self, node: Any) -> Term:
        """Return any node."""
        if isinstance(node, Mapping):
            return self._nested(node)
        self._count_values(1)
        if isinstance(node, bool):
            return Term("TRUE" if node else "FALSE", "boolean")
        if isinstance(node, int | float):
            return self._number(node)
        if isinstance(node, str):
            return self._text(node)
        if isinstance(node, list):
            return self._words(node)
        raise bad("null is not a value: ask with IS NULL.")

    def _count_values(self, more: int) -> None:
        self._values += more
        if self._values > MOST_VALUES:
            raise bad(f"The filter is too large: more than {MOST_VALUES:,} values.", "filter-too-large")

    def _nested(self, node: Mapping[str, Any]) -> Term:
        if "property" in node:
            return self._property(node["property"])
        if "date" in node:
            return Term(self._bound.bind(day(node["date"]), "date"), "day")
        if "timestamp" in node:
            return Term(self._bound.bind(instant(node["timestamp"]), "timestamptz"), "instant")
        if "interval" in node:
            raise bad("An interval stands in temporal functions only, such as T_INTERSECTS.")
        if "bbox" in node or "type" in node:
            made = geometry(node, self._crs, self._vertices)
            return Term(self._bound.shape(made), "geometry", made)
        if "op" in node:
            return self._operation(node["op"], node.get("args"))
        raise bad("A part of the filter is neither an operation, a property nor a value.")

    def _operation(self, name: Any, args: Any) -> Term:
        if not isinstance(name, str) or not isinstance(args, list):
            raise bad("An operation has a name in `op` and a list in `args`.")
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise bad(f"The filter is too large: more than {MOST_PARTS:,} operations.", "filter-too-large")
        self._depth += 1
        if self._depth > 2 * DEEPEST:
            raise bad(f"The filter is nested deeper than {2 * DEEPEST} levels.", "filter-too-large")
        made = self._dispatched(name, args)
        self._depth -= 1
        return made

    def _dispatched(self, name: str, args: list[Any]) -> Term:
        low = name.lower()
        if low in ("and", "or"):
            return self._joined(low, args)
        families: tuple[tuple[Any, int, Callable[..., Term]], ...] = (
            (COMPARISONS, 2, self._comparison),
            (ARITHMETIC, 2, self._arithmetic),
            (SPATIAL, 2, self._spatial),
            (TEMPORAL, 2, self._temporal),
            (LISTS, 2, self._list),
            (_SINGLE, 0, self._single),
        )
        for family, count, make in families:
            if low in family:
                if count:
                    counted(name, args, count)
                return make(low, args)
        known = "withinDistance, distance, CASEI, ACCENTI, S_..., T_... and A_..."
        raise bad(f"There is no function {name[:60]!r}; there are {known}.")

    def _single(self, name: str, args: list[Any]) -> Term:
        count, method = _SINGLE[name]
        counted(name, args, count)
        made: Term = method(self, args)
        return made

    def _named(self, node: Any) -> str:
        if isinstance(node, Mapping) and isinstance(node.get("property"), str):
            return repr(node["property"][:60])
        return "another value"

    # -- names and literals ---------------------------------------------------------------------

    def _property(self, name: Any) -> Term:
        found = self._vocabulary.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(self._vocabulary)
            raise bad(f"There is no property {str(name)[:60]!r} to ask about; there are {known}.")
        return found

    def _number(self, value: float) -> Term:
        number = float(value) if abs(value) < 1e308 else math.inf
        if not math.isfinite(number):
            raise bad("A number is out of range.")
        return Term(self._bound.bind(number, "float8"), "number")

    def _text(self, value: str) -> Term:
        return Term(self._bound.bind(utf8(value), "text"), "text")

    def _words(self, values: list[Any]) -> Term:
        self._count_values(len(values))
        if not all(isinstance(value, str) for value in values):
            raise bad("A list in an array function holds texts.")
        return Term(self._bound.bind([utf8(value) for value in values], "text[]"), "words")

    # -- logic and comparison -------------------------------------------------------------------

    def _joined(self, name: str, args: list[Any]) -> Term:
        if not args:
            raise bad(f"{name.upper()} needs conditions.")
        parts = [self.predicate(arg) for arg in args]
        return Term("(" + f" {name.upper()} ".join(parts) + ")", "boolean")

    def _negated(self, args: list[Any]) -> Term:
        return Term(f"(NOT {self.predicate(args[0])})", "boolean")

    def _null(self, args: list[Any]) -> Term:
        return Term(f"({self.term(args[0]).sql} IS NULL)", "boolean")

    def _alike(self, *nodes: Any) -> list[Term]:
        """Return terms that can be compared: texts beside times are read as times."""
        types = {self._type_of(node) for node in nodes}
        timed = types & {"day", "instant"}
        terms = [self._as_time(node, timed) if timed and isinstance(node, str) else self.term(node) for node in nodes]
        found = {"number" if term.type == "integer" else term.type for term in terms}
        if found == {"day", "instant"}:
            return [as_instant(term) for term in terms]
        if len(found) > 1:
            told = " and ".join(called(term.type) for term in terms[:2])
            raise bad(f"{self._named(nodes[0])}: {told} cannot be compared.")
        if found <= {"geometry", "words", "json"}:
            raise bad("Geometries and lists are compared by functions (S_EQUALS, A_EQUALS).")
        return terms

    def _type_of(self, node: Any) -> str | None:
        """Return what a property or a time is, without binding anything."""
        if isinstance(node, Mapping):
            if isinstance(name := node.get("property"), str) and name in self._vocabulary:
                return self._vocabulary[name].type
            return "day" if "date" in node else "instant" if "timestamp" in node else None
        return None

    def _as_time(self, text: str, timed: set[str | None]) -> Term:
        if "instant" in timed and len(text) > 10:
            return Term(self._bound.bind(instant(text), "timestamptz"), "instant")
        return Term(self._bound.bind(day(text), "date"), "day")

    def _comparison(self, name: str, args: list[Any]) -> Term:
        left, right = self._alike(*args)
        return Term(f"({left.sql} {COMPARISONS[name]} {right.sql})", "boolean")

    def _between(self, args: list[Any]) -> Term:
        value, low, high = self._alike(*args)
        return Term(f"({value.sql} BETWEEN {low.sql} AND {high.sql})", "boolean")

    def _among(self, args: list[Any]) -> Term:
        items = args[1]
        if not isinstance(items, list) or not items:
            raise bad("IN needs a list of values.")
        if all(isinstance(item, str) for item in items) and self._type_of(args[0]) == "text":
            listed = self._words(items)
            return Term(f"({self.term(args[0]).sql} = ANY({listed.sql}))", "boolean")
        value, *found = self._alike(args[0], *items)
        return Term(f"({value.sql} IN ({', '.join(term.sql for term in found)}))", "boolean")

    def _like(self, args: list[Any]) -> Term:
        value, pattern = (self.term(arg) for arg in args)
        if (value.type, pattern.type) != ("text", "text"):
            raise bad("LIKE compares a text with a pattern in quotes.")
        if isinstance(args[1], str) and (len(args[1]) - len(args[1].rstrip("\\"))) % 2:
            raise bad("A pattern cannot end with a backslash that has nothing to escape.")
        return Term(f"({value.sql} LIKE {pattern.sql})", "boolean")

    def _casei(self, args: list[Any]) -> Term:
        return Term(f"""lower({self._one_text(args[0], "CASEI")} COLLATE "und-x-icu")""", "text")

    def _accenti(self, args: list[Any]) -> Term:
        text = self._one_text(args[0], "ACCENTI")
        plain = f"regexp_replace(normalize({text}, NFD), '[\\u0300-\\u036f]', '', 'g')"
        return Term(plain, "text")

    def _one_text(self, node: Any, function: str) -> str:
        term = self.term(node)
        if term.type != "text":
            raise bad(f"{function} is for texts.")
        return term.sql

    def _arithmetic(self, name: str, args: list[Any]) -> Term:
        left, right = (self._measure(arg) for arg in args)
        return Term(ARITHMETIC[name].format(left, right), "number")

    def _measure(self, node: Any) -> str:
        term = self.term(node)
        if term.type not in ("number", "integer"):
            raise bad(f"{self._named(node)}: arithmetic is for numbers.")
        return f"({term.sql})::float8" if term.type == "integer" else term.sql

    # -- places, times, lists -------------------------------------------------------------------

    def _place(self, node: Any) -> Term:
        term = self.term(node)
        if term.type != "geometry":
            raise bad(f"{self._named(node)}: a geometry is needed.")
        return term

    def _spatial(self, name: str, args: list[Any]) -> Term:
        left, right = (self._place(arg) for arg in args)
        mixed = any(side.shape is not None and side.shape.geom_type == "GeometryCollection" for side in (left, right))
        if mixed and name not in ("s_intersects", "s_disjoint"):
            raise bad(f"{name.upper()} cannot take a GEOMETRYCOLLECTION.")
        if name == "s_disjoint":
            return Term(f"(NOT ST_Intersects({left.sql}, {right.sql}))", "boolean")
        return Term(f"{SPATIAL[name]}({left.sql}, {right.sql})", "boolean")

    def _distance(self, args: list[Any]) -> Term:
        left, right = (self._place(arg) for arg in args)
        return Term(f"ST_Distance(({left.sql})::geography, ({right.sql})::geography)", "number")

    def _within_distance(self, args: list[Any]) -> Term:
        left, right = (self._place(arg) for arg in args[:2])
        metres = args[2]
        if isinstance(metres, bool) or not isinstance(metres, int | float):
            raise bad("withinDistance needs a number of metres.")
        if not 0 <= metres <= 1_000_000:
            raise bad("withinDistance takes 0 to 1,000,000 metres.")
        reach = self._bound.bind(float(metres), "float8")
        exact = f"ST_DWithin(({left.sql})::geography, ({right.sql})::geography, {reach})"
        near = near_box(left, right, float(metres), self._bound)
        return Term(f"({near}{exact})", "boolean")

    def _temporal(self, name: str, args: list[Any]) -> Term:
        return Term(relation(name, *(self._span(arg) for arg in args)), "boolean")

    def _span(self, node: Any) -> Span:
        if isinstance(node, Mapping) and "interval" in node:
            ends = node["interval"]
            if not isinstance(ends, list) or len(ends) != 2:
                raise bad("An interval has two ends.")
            return Span(self._end(ends[0]), self._end(ends[1]))
        found = self._end(node)
        if found is None:
            raise bad("'..' is an end of an interval, not an instant.")
        return Span(found, found)

    def _end(self, node: Any) -> End:
        """Return one end, None when it is open; a literal is bound when it is used, or never."""
        if node == "..":
            return None
        if isinstance(node, str):
            node = {"date" if len(node) == 10 else "timestamp": node}
        if isinstance(node, Mapping) and "date" in node:
            return Ending("day", partial(self._bound.bind, day(node["date"]), "date"))
        if isinstance(node, Mapping) and "timestamp" in node:
            when = instant(node["timestamp"])
            return Ending("instant", partial(self._bound.bind, when, "timestamptz"))
        term = self.term(node)
        if term.type not in ("day", "instant"):
            raise bad(f"{self._named(node)}: a time is needed.")
        return Ending(term.type, lambda: term.sql)

    def _list(self, name: str, args: list[Any]) -> Term:
        left, right = (self.term(arg) for arg in args)
        if (left.type, right.type) != ("words", "words"):
            raise bad(f"{name.upper()} is for lists of texts.")
        return Term(LISTS[name].format(left.sql, right.sql), "boolean")


_SINGLE: Final[dict[str, tuple[int, Callable[..., Term]]]] = {
    "not": (1, _Compiler._negated),
    "isnull": (1, _Compiler._null),
    "between": (3, _Compiler._between),
    "in": (2, _Compiler._among),
    "like": (2, _Compiler._like),
    "casei": (1, _Compiler._casei),
    "accenti": (1, _Compiler._accenti),
    "distance": (2, _Compiler._distance),
    "withindistance": (3, _Compiler._within_distance),
}
