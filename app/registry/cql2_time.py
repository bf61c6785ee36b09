"""Temporal relations of CQL2 on instants and intervals, as SQL over the ends of both sides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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
    words = {
        word: _sql(end, exact, last=last)
        for word, (end, last) in ends.items()
        if f"{{{word}}}" in template
    }
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
