"""Cordons: whether one is sealed, its depth, what opens it, and what would seal it.

Each word has one definition, the same for every cordon and direction:

- **leak**: a path from a source to a sink that meets no working guard;
- **sealed**: there is no leak;
- **depth**: the fewest failure groups met on any path; a group counts once, however often it is met. So many failures
  are needed for a leak; 0 is a leak, 1 a single point of failure;
- **critical**: a group whose failure alone makes a leak of a sealed cordon;
- **sealing plan**: the cheapest arcs whose guarding leaves no leak.

The module works on plain arrays and knows nothing about roads, rings or devices; use it from a notebook.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from app.geo.arrays import Ints
from app.geo.cuts.failures import FailureLeak, FailureSearch, GuardedArcs
from app.geo.cuts.flow_graph import SINK, Arcs, FlowGraph, build_empty_guards, build_guards
from app.geo.cuts.min_cut import compute_minimum_cut, find_disjoint_paths

__all__ = [
    "UNGUARDABLE",
    "ArcRoute",
    "Arcs",
    "Cordon",
    "Depth",
    "Failure",
    "FailurePairs",
    "SealingPlan",
    "build_empty_guards",
    "build_guards",
]

UNGUARDABLE: Final = -1
"""Cost of an arc that cannot be guarded."""
_WORK: Final = 200_000
_ROWS: Final = 64


@dataclass(frozen=True, eq=False)
class ArcRoute:
    """A path from a source to a sink."""

    arcs: Ints
    """Rows of the arcs in driving order: each starts where the one before ends."""
    length_m: float
    groups: tuple[int, ...]
    """Distinct failure groups that the path meets, in numerical order."""


@dataclass(frozen=True, eq=False)
class Depth:
    """The fewest failure groups met on any path."""

    at_least: int
    at_most: int
    """Equal to `at_least` if the depth is exact; only the work limit makes it inexact."""
    route: ArcRoute | None
    """A path that meets `at_most` groups, the shortest of those that meet no other group."""
    guards_met: int | None
    """Sum over the observed arcs of the path with the smallest such sum: number of groups of each arc."""

    @property
    def exact(self) -> bool:
        """Whether the two bounds are equal."""
        return self.at_least == self.at_most


@dataclass(frozen=True, eq=False)
class Failure:
    """Groups whose common failure makes a leak, and the shortest leak it makes."""

    groups: tuple[int, ...]
    leak: ArcRoute


@dataclass(frozen=True, eq=False)
class FailurePairs:
    """Pairs of groups whose common failure makes a leak that neither makes alone."""

    ranked: list[Failure]
    """The shortest leaks first."""
    complete: bool
    """Whether none is missing among them; False if the work limit was reached."""
    count: int
    """How many such pairs exist."""
    count_exact: bool
    """Whether `count` includes all of them; False: there are at least so many."""


@dataclass(frozen=True, eq=False)
class SealingPlan:
    """The cheapest arcs to guard, with the proof."""

    possible: bool
    """False if a leak uses only arcs that cannot be guarded."""
    arcs: Ints
    """Rows of the arcs to guard."""
    cost: int
    """Value of the cut: the sum of the costs."""
    flow: int
    """Value of the greatest flow; no plan can cost less."""
    sealed_after: bool
    """Whether a new search finds no leak after the arcs are guarded."""
    unguardable: ArcRoute | None
    """A leak that cannot be closed, if the plan is not possible."""

    @property
    def proven(self) -> bool:
        """Whether cut and flow have the same value and nothing leaks."""
        return self.possible and self.cost == self.flow and self.sealed_after


@dataclass(frozen=True, eq=False)
class Cordon:
    """One cordon in one direction: sources on one side, sinks on the other.

    Examples
    --------
    Outside is node 0, inside is node 3. Two roads lead in; group 7 guards the lower one.

    >>> start, group = build_guards(4, np.array([3]), np.array([7]))
    >>> arcs = Arcs(
    ...     n=4,
    ...     tail=np.array([0, 1, 0, 2]),
    ...     head=np.array([1, 3, 2, 3]),
    ...     edge=np.arange(4),
    ...     length_m=np.array([100.0, 100.0, 50.0, 50.0]),
    ...     guard_start=start,
    ...     guard_group=group,
    ... )
    >>> cordon = Cordon.from_arcs(arcs, sources=[0], sinks=[3])
    >>> cordon.sealed, cordon.leak.arcs.tolist(), cordon.leak.length_m
    (False, [0, 1], 200.0)
    >>> plan = cordon.plan_sealing(np.ones(4, np.int64))
    >>> plan.arcs.tolist(), plan.cost, plan.flow, plan.proven
    ([0], 1, 1, True)

    With a guard on the other road as well, each of the two is critical.

    >>> closed = cordon.with_guards(*build_guards(4, np.array([3, 0]), np.array([7, 9])))
    >>> closed.sealed, closed.compute_depth().at_most, closed.critical
    (True, 1, (7, 9))
    >>> [(failure.groups, failure.leak.length_m) for failure in closed.find_failures()]
    [((7,), 100.0), ((9,), 200.0)]
    """

    graph: FlowGraph

    @classmethod
    def from_arcs(cls, arcs: Arcs, sources: ArrayLike, sinks: ArrayLike) -> "Cordon":
        """Return the cordon between sources and sinks.

        Parameters
        ----------
        arcs : Arcs
        sources, sinks : array_like of int
            Nodes; none may be in both.

        Raises
        ------
        ValueError
            A node that does not exist, or one on both sides.
        """
        return cls(FlowGraph.from_arcs(arcs, sources, sinks))

    def with_guards(self, guard_start: Ints, guard_group: Ints) -> "Cordon":
        """Return the same cordon with other guards; the graph is not built again."""
        return Cordon(self.graph.with_guards(guard_start, guard_group))

    @cached_property
    def _guarded_arcs(self) -> GuardedArcs:
        return GuardedArcs.from_graph(self.graph)

    @cached_property
    def _failure_search(self) -> FailureSearch:
        return FailureSearch(self.graph, self._guarded_arcs)

    @property
    def connected(self) -> bool:
        """Whether any path leads from a source to a sink, guarded or not."""
        return len(self.graph.tail) > 0

    @property
    def sealed(self) -> bool:
        """Whether every path meets a working guard."""
        return not self.graph.reached_freely[SINK]

    @cached_property
    def leak(self) -> ArcRoute | None:
        """The shortest leak by length, None if the cordon is sealed."""
        if self.sealed:
            return None
        path = self.graph.find_shortest_path(self.graph.free)
        return None if path is None else self._build_route(path)

    def find_leaks(self, max_count: int) -> list[ArcRoute]:
        """Return leaks that share no edge, the shortest first.

        Of all sets of as many leaks that share no edge, this is the one of the least total length; it has as many as
        exist, up to `max_count`. Their greatest number equals the least number of arcs that seal the cordon (Menger
        1927). Leaks may meet at nodes.
        """
        if self.sealed:
            return []
        return [self._build_route(path) for path in find_disjoint_paths(self.graph, self.graph.free, max_count)]

    def compute_depth(self, work: int = _WORK) -> Depth | None:
        """Return the fewest failure groups met on any path, None if no path leads through.

        Parameters
        ----------
        work : int
            Greatest number of sets of groups to try. This is the path of fewest labels, which is NP-hard in general. If
            the limit is reached, the result is bounded on both sides; the upper bound is the path that meets the fewest
            groups when a group counts each time it is met.
        """
        if not self.connected:
            return None
        if not self.sealed:
            return Depth(0, 0, self.leak, 0)
        path, guards_met = self._find_path_of_fewest_guards()
        number, groups, exact = self._guarded_arcs.find_fewest(work)
        if exact and groups is not None:
            route = self._build_route(self.graph.find_shortest_path(self.graph.find_open_arcs(groups)) or path)
            return Depth(number, number, route, guards_met)
        route = self._build_route(path)
        return Depth(min(number, len(route.groups)), len(route.groups), route, guards_met)

    @property
    def min_guards_met(self) -> int | None:
        """The fewest guards met on any path, a group counted each time it is met; None: no path.

        Never less than the depth, which counts a group once; one search finds it.
        """
        return self._find_path_of_fewest_guards()[1] if self.connected else None

    def _find_path_of_fewest_guards(self) -> tuple[list[int], int]:
        """Return the shortest path of those that meet the fewest groups, counted each time, and that number."""
        graph = self.graph
        count = np.zeros(len(graph.tail))
        count[graph.observed] = [len(groups) for groups in graph.guard_groups]
        guard_cost = float(graph.length_m.sum()) + 1.0  # more than the length of any path
        every = np.ones(len(count), np.bool_)
        path = graph.find_shortest_path(every, graph.length_m + count * guard_cost) or []
        return path, int(count[path].sum())

    @property
    def critical(self) -> tuple[int, ...]:
        """The groups whose failure alone makes a leak; none if there is a leak already."""
        return tuple(self._failure_search.critical)

    def find_failures(self, groups: Sequence[int] | None = None) -> list[Failure]:
        """Return the leak that each critical group, or each critical one of `groups`, would make."""
        selected = self.critical if groups is None else [group for group in groups if group in self.critical]
        return [self._build_failure(leak) for leak in self._failure_search.find_leaks(selected)]

    def find_pairs(self, max_count: int, work: int = _WORK, rows: int = _ROWS) -> FailurePairs:
        """Return the pairs of groups with the shortest leaks, and how many pairs exist.

        Parameters
        ----------
        max_count : int
            Greatest number of pairs to return.
        work : int
            Greatest number of pairs to try when they are counted.
        rows : int
            Greatest number of groups from which the shortest leaks are searched.
        """
        pairs, complete = self._guarded_arcs.find_pairs(frozenset(self.critical), work)
        if not pairs and complete:
            return FailurePairs([], True, 0, True)
        shortest = self._failure_search.find_pairs(max_count, rows)
        count = max(len(pairs), len(shortest.ranked))
        ranked = [self._build_failure(leak) for leak in shortest.ranked]
        return FailurePairs(ranked, shortest.complete, count, complete)

    def plan_sealing(self, cost: ArrayLike) -> SealingPlan:
        """Return the cheapest arcs to guard so that no leak remains.

        Parameters
        ----------
        cost : array_like of int, shape (k,)
            Cost of guarding each arc, 1 or more, or `UNGUARDABLE`. An arc is one direction of an edge and is paid as
            such; a cut needs at most one direction of an edge.

        Raises
        ------
        ValueError
            A cost of 0, a wrong number of costs, or costs whose sum is too large.
        """
        costs = np.asarray(cost, np.int64).reshape(-1)
        if len(costs) != len(self.graph.arcs):
            raise ValueError(f"{len(costs)} costs for {len(self.graph.arcs)} arcs: each arc needs one cost")
        cut = compute_minimum_cut(self.graph, costs[self.graph.arc_row])
        return SealingPlan(
            cut.possible,
            np.sort(self.graph.arc_row[cut.arcs]),
            cut.cost,
            cut.flow,
            cut.sealed_after,
            self._build_route(cut.unguardable) if cut.unguardable else None,
        )

    def is_sealed_by(self, arcs: ArrayLike) -> bool:
        """Return whether guarding these arcs as well, rows of `arcs`, leaves no leak."""
        free = self.graph.free & ~np.isin(self.graph.arc_row, np.asarray(arcs, np.int64))
        return not self.graph.find_reached_nodes(free)[SINK]

    def _build_failure(self, leak: FailureLeak) -> Failure:
        return Failure(leak.groups, self._build_route(leak.path))

    def _build_route(self, path: list[int]) -> ArcRoute:
        row = self.graph.arc_row[np.array(path, np.int64)]
        arcs = self.graph.arcs
        first, last = arcs.guard_start[row], arcs.guard_start[row + 1]
        observed = np.flatnonzero(last > first).tolist()
        groups = {group for index in observed for group in arcs.guard_group[first[index] : last[index]].tolist()}
        return ArcRoute(row, float(arcs.length_m[row].sum()), tuple(sorted(groups)))
