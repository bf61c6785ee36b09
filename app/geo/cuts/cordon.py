"""Whether a cordon is closed, how deeply, what opens it, and what would close it.

Promises one definition of each word, the same for every cordon and direction:

- **leak**: a way from a source to a sink that meets no working guard;
- **sealed**: there is no leak;
- **depth**: the fewest failure groups met on any way, each counted once however often it is met. So
  many failures are needed for a leak; 0 is a leak, 1 a single point of failure;
- **critical**: a group whose failure alone makes a leak of a sealed cordon;
- **sealing plan**: the cheapest arcs whose guarding leaves no leak.

Works on plain arrays and knows nothing of roads, rings or devices; usable from a notebook.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from app.geo.arrays import Ints
from app.geo.cuts.failures import Failures, Gates, Opening
from app.geo.cuts.flow_graph import SINK, Arcs, Passage, guards, no_guards
from app.geo.cuts.min_cut import Plan, disjoint, plan

__all__ = [
    "UNGUARDABLE",
    "Arcs",
    "Cordon",
    "Depth",
    "Failure",
    "Pairs",
    "Route",
    "SealingPlan",
    "guards",
    "no_guards",
]

UNGUARDABLE: Final = -1
"""Cost of an arc that cannot be guarded."""
_WORK: Final = 200_000
_ROWS: Final = 64


@dataclass(frozen=True, eq=False)
class Route:
    """A way from a source to a sink."""

    arcs: Ints
    """Rows of the arcs in driving order: each starts where the one before ends."""
    length_m: float
    groups: tuple[int, ...]
    """Distinct failure groups met, in numerical order."""


@dataclass(frozen=True, eq=False)
class Depth:
    """The fewest failure groups met on any way."""

    at_least: int
    at_most: int
    """Equal to `at_least` where the depth is exact: wherever the work allowed."""
    route: Route | None
    """A way that meets `at_most` groups, the shortest of those that meet no other group."""
    met: int | None
    """Observed arcs times groups along the cheapest way by that count, a group counted each time."""

    @property
    def exact(self) -> bool:
        """Tell whether the two bounds meet."""
        return self.at_least == self.at_most


@dataclass(frozen=True, eq=False)
class Failure:
    """Groups whose common failure makes a leak, and the shortest leak it makes."""

    groups: tuple[int, ...]
    leak: Route


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of groups whose common failure makes a leak that neither makes alone."""

    ranked: list[Failure]
    """The shortest leaks first."""
    complete: bool
    """Whether none is missing among them; False where the bound on the work was met."""
    number: int
    """How many such pairs there are."""
    number_exact: bool
    """Whether `number` counts all of them; False: there are at least so many."""


@dataclass(frozen=True, eq=False)
class SealingPlan:
    """The cheapest arcs to guard, with the proof."""

    possible: bool
    """False where a leak uses only arcs that cannot be guarded."""
    arcs: Ints
    """Rows of the arcs to guard."""
    cost: int
    """Value of the cut: the sum of the costs."""
    flow: int
    """Value of the greatest flow; no plan can cost less."""
    sealed_after: bool
    """Whether a new search finds no leak once the arcs are guarded."""
    unguardable: Route | None
    """A leak that cannot be closed, where the plan is not possible."""

    @property
    def proven(self) -> bool:
        """Tell whether cut and flow have the same value and nothing leaks."""
        return self.possible and self.cost == self.flow and self.sealed_after


@dataclass(frozen=True, eq=False)
class Cordon:
    """One cordon in one direction: sources on one side, sinks on the other.

    Examples
    --------
    Outside is node 0, inside is node 3. Two roads lead in; group 7 guards the lower one.

    >>> start, group = guards(4, np.array([3]), np.array([7]))
    >>> arcs = Arcs(
    ...     n=4,
    ...     tail=np.array([0, 1, 0, 2]),
    ...     head=np.array([1, 3, 2, 3]),
    ...     edge=np.arange(4),
    ...     length_m=np.array([100.0, 100.0, 50.0, 50.0]),
    ...     guard_start=start,
    ...     guard_group=group,
    ... )
    >>> cordon = Cordon.of(arcs, sources=[0], sinks=[3])
    >>> cordon.sealed, cordon.leak.arcs.tolist(), cordon.leak.length_m
    (False, [0, 1], 200.0)
    >>> plan = cordon.plan(np.ones(4, np.int64))
    >>> plan.arcs.tolist(), plan.cost, plan.flow, plan.proven
    ([0], 1, 1, True)

    With a second guard on that road each of the two is critical.

    >>> closed = cordon.guarded_by(*guards(4, np.array([3, 0]), np.array([7, 9])))
    >>> closed.sealed, closed.depth().at_most, closed.critical
    (True, 1, (7, 9))
    >>> [(one.groups, one.leak.length_m) for one in closed.failures()]
    [((7,), 100.0), ((9,), 200.0)]
    """

    passage: Passage

    @classmethod
    def of(cls, arcs: Arcs, sources: ArrayLike, sinks: ArrayLike) -> "Cordon":
        """Return the cordon between sources and sinks.

        Parameters
        ----------
        arcs : Arcs
        sources, sinks : array_like of int
            Nodes; none may be both.

        Raises
        ------
        ValueError
            A node that does not exist, or one on both sides.
        """
        return cls(Passage.of(arcs, sources, sinks))

    def guarded_by(self, guard_start: Ints, guard_group: Ints) -> "Cordon":
        """Return the same cordon under other guards, without preparing the graph again."""
        return Cordon(self.passage.guarded_by(guard_start, guard_group))

    @cached_property
    def _gates(self) -> Gates:
        return Gates.of(self.passage)

    @cached_property
    def _failures(self) -> Failures:
        return Failures(self.passage, self._gates)

    @property
    def connected(self) -> bool:
        """Whether any way leads from a source to a sink, guarded or not."""
        return len(self.passage.tail) > 0

    @property
    def sealed(self) -> bool:
        """Whether no way leads through without meeting a working guard."""
        return not self.passage.ahead[SINK]

    @cached_property
    def leak(self) -> Route | None:
        """The shortest leak by length, None where the cordon is sealed."""
        if self.sealed:
            return None
        way = self.passage.shortest(self.passage.free)
        return None if way is None else self._route(way)

    def leaks(self, most: int) -> list[Route]:
        """Return leaks that share no edge, the shortest first.

        Of all sets of as many leaks that share no edge, the one of the least total length; as many as
        there are, up to `most`. Their greatest number equals the least number of arcs that seal the
        cordon (Menger 1927). They may meet at nodes.
        """
        if self.sealed:
            return []
        return [self._route(way) for way in disjoint(self.passage, self.passage.free, most)]

    def depth(self, work: int = _WORK) -> Depth | None:
        """Return the fewest failure groups met on any way, None where no way leads through.

        Parameters
        ----------
        work : int
            How many sets of groups to try. The question is that of the path of fewest labels, which
            is NP-hard in general; where the work runs out the answer is bounded on both sides, from
            above by the way that meets the fewest groups when one is counted each time it is met.
        """
        if not self.connected:
            return None
        if not self.sealed:
            return Depth(0, 0, self.leak, 0)
        way, met = self._fewest_met()
        found, groups, exact = self._gates.fewest(work)
        if exact and groups is not None:
            route = self._route(self.passage.shortest(self.passage.opened_by(groups)) or way)
            return Depth(found, found, route, met)
        route = self._route(way)
        return Depth(min(found, len(route.groups)), len(route.groups), route, met)

    @property
    def met(self) -> int | None:
        """Guards met on the way that meets the fewest, a group counted each time; None: no way.

        Never less than the depth, which counts a group once; found in one search.
        """
        return self._fewest_met()[1] if self.connected else None

    def _fewest_met(self) -> tuple[list[int], int]:
        """Return the way that meets the fewest groups counted each time, the shortest; and how many."""
        passage = self.passage
        count = np.zeros(len(passage.tail))
        count[passage.observed] = [len(groups) for groups in passage.guards]
        one = float(passage.length_m.sum()) + 1.0  # more than any way is long
        every = np.ones(len(count), np.bool_)
        way = passage.shortest(every, passage.length_m + count * one) or []
        return way, int(count[way].sum())

    @property
    def critical(self) -> tuple[int, ...]:
        """The groups whose failure alone makes a leak; none where there is a leak already."""
        return tuple(self._failures.critical)

    def failures(self, groups: Sequence[int] | None = None) -> list[Failure]:
        """Return the leak that each critical group would make, or each of some of them."""
        wanted = self.critical if groups is None else [one for one in groups if one in self.critical]
        return [self._failure(one) for one in self._failures.openings(wanted)]

    def pairs(self, most: int, work: int = _WORK, rows: int = _ROWS) -> Pairs:
        """Return the pairs of groups with the shortest leaks, and how many pairs there are.

        Parameters
        ----------
        most : int
            How many pairs to return at most.
        work : int
            How many pairs to try at most for their number.
        rows : int
            From how many groups to search at most for the shortest.
        """
        found, complete = self._gates.pairs(frozenset(self.critical), work)
        if not found and complete:
            return Pairs([], True, 0, True)
        ranked = self._failures.pairs(most, rows)
        number = max(len(found), len(ranked.ranked))
        return Pairs([self._failure(one) for one in ranked.ranked], ranked.complete, number, complete)

    def plan(self, cost: ArrayLike) -> SealingPlan:
        """Return the cheapest arcs to guard so that no leak remains.

        Parameters
        ----------
        cost : array_like of int, shape (k,)
            What it costs to guard each arc, 1 or more, or `UNGUARDABLE`. An arc is one direction of
            an edge and is paid as such; a cut needs one direction of an edge at most.

        Raises
        ------
        ValueError
            A cost of 0, a wrong number of costs, or costs too large to be added up.
        """
        costs = np.asarray(cost, np.int64).reshape(-1)
        if len(costs) != len(self.passage.arcs):
            raise ValueError("there is not one cost for each arc")
        return self._plan(plan(self.passage, costs[self.passage.own]))

    def sealed_by(self, arcs: ArrayLike) -> bool:
        """Tell whether guarding these arcs as well, rows of `arcs`, leaves no leak."""
        free = self.passage.free & ~np.isin(self.passage.own, np.asarray(arcs, np.int64))
        return not self.passage.reached(free)[SINK]

    def _plan(self, found: Plan) -> SealingPlan:
        return SealingPlan(
            found.possible,
            np.sort(self.passage.own[found.arcs]),
            found.cost,
            found.flow,
            found.sealed_after,
            self._route(found.unguardable) if found.unguardable else None,
        )

    def _failure(self, opening: Opening) -> Failure:
        return Failure(opening.groups, self._route(opening.way))

    def _route(self, way: list[int]) -> Route:
        own = self.passage.own[np.array(way, np.int64)]
        arcs = self.passage.arcs
        first, last = arcs.guard_start[own], arcs.guard_start[own + 1]
        met = np.flatnonzero(last > first).tolist()
        groups = {group for at in met for group in arcs.guard_group[first[at] : last[at]].tolist()}
        return Route(own, float(arcs.length_m[own].sum()), tuple(sorted(groups)))
