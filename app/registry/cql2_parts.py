"""What the CQL2 compiler is made of: the tables of operators, typed SQL, and small conversions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shapely.geometry.base import BaseGeometry

from app.registry.bound import Bound
from app.schemas.collections import Type
from app.schemas.cql2 import bad

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
