"""Temporal relations of CQL2 on instants and intervals, as SQL over the ends of both sides."""

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

End = tuple[str, str] | None
"""SQL and type (day or instant) of one end; None is open."""


@dataclass(frozen=True)
class Span:
    """An interval; an instant is one whose ends are the same."""

    start: End
    end: End

    @classmethod
    def of(cls, start: End, end: End) -> "Span":
        """Return the interval between two ends."""
        return cls(start, end)

    @property
    def instants(self) -> bool:
        """Tell whether an end is an instant, so that days must be seen as the time they last."""
        return any(end is not None and end[1] == "instant" for end in (self.start, self.end))


def relation(name: str, a: Span, b: Span) -> str:
    """Return the SQL of a temporal relation; unknown where an end is unknown."""
    exact = a.instants or b.instants
    words = {
        "as_": _sql(a.start, exact, last=False),
        "ae": _sql(a.end, exact, last=True),
        "bs": _sql(b.start, exact, last=False),
        "be": _sql(b.end, exact, last=True),
    }
    return f"({TEMPORAL[name].format(**words)})"


def _sql(end: End, exact: bool, *, last: bool) -> str:
    """Return one end as a day, or as the first or last instant of it."""
    if end is None:
        return f"'{'' if last else '-'}infinity'::{'timestamptz' if exact else 'date'}"
    sql, kind = end
    if kind == "instant" or not exact:
        return sql
    begins = f"(({sql})::timestamp AT TIME ZONE 'UTC')"
    return f"({begins} + interval '1 day' - interval '1 microsecond')" if last else begins
