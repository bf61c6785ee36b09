"""A directed graph with guarded arcs, and the way through it from one side to the other.

Promises one small problem for any network: all sources are one node, all sinks another, and only
what lies on some way between them is kept. Nothing of that depends on which guards work, so a
passage is prepared once and asked again after every change of state. Knows nothing of roads.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, dijkstra

from app.geo.arrays import Bools, Floats, Ints, row_starts

SOURCE: Final = 0
SINK: Final = 1


@dataclass(frozen=True, eq=False)
class Arcs:
    """Directed arcs between n nodes, each with the failure groups of the guards that observe it.

    An edge that may be driven both ways is two arcs of the same edge. Groups are those of
    **working** guards: an arc without any is free. An arc is observed until all its groups fail.
    """

    n: int
    tail: Ints
    """Shape (k,): node each arc leaves."""
    head: Ints
    """Shape (k,): node each arc leads to."""
    edge: Ints
    """Shape (k,): number of the edge the arc is one direction of."""
    length_m: Floats
    """Shape (k,): finite, not negative."""
    guard_start: Ints
    """Shape (k + 1,): the groups of arc i are ``guard_group[guard_start[i]:guard_start[i + 1]]``."""
    guard_group: Ints
    """Shape (g,): numbers of failure groups, not negative."""

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together.

        Raises
        ------
        ValueError
            Unequal lengths, a node that is not there, a length that is no length, or guards that
            do not belong to an arc.
        """
        k = len(self.tail)
        if not len(self.head) == len(self.edge) == len(self.length_m) == k:
            raise ValueError("columns of arcs have unequal lengths")
        ends = np.concatenate([self.tail, self.head])
        if len(ends) and not (ends.min() >= 0 and ends.max() < self.n):
            raise ValueError("an arc ends at a node that does not exist")
        if not (np.isfinite(self.length_m).all() and (self.length_m >= 0).all()):
            raise ValueError("an arc has a length that is not a length")
        starts = self.guard_start
        fits = len(starts) == k + 1 and starts[0] == 0 and starts[-1] == len(self.guard_group)
        if not fits or (np.diff(starts) < 0).any() or (self.guard_group < 0).any():
            raise ValueError("guards do not belong to arcs")

    def __len__(self) -> int:
        return len(self.tail)

    def guarded_by(self, guard_start: Ints, guard_group: Ints) -> "Arcs":
        """Return the same arcs under other guards."""
        return replace(self, guard_start=guard_start, guard_group=guard_group)


@dataclass(frozen=True, eq=False)
class Sides:
    """Where a way starts and ends: node numbers; a node is on one side at most."""

    sources: Ints
    sinks: Ints

    @classmethod
    def of(cls, sources: ArrayLike, sinks: ArrayLike, n: int) -> "Sides":
        """Return checked sides of a graph of n nodes.

        Raises
        ------
        ValueError
            A node that does not exist, or one that is on both sides.
        """
        start = np.unique(np.asarray(sources, np.int64).reshape(-1))
        end = np.unique(np.asarray(sinks, np.int64).reshape(-1))
        for side in (start, end):
            if len(side) and not (side[0] >= 0 and side[-1] < n):
                raise ValueError("a side has a node that does not exist")
        if len(np.intersect1d(start, end, assume_unique=True)):
            raise ValueError("a node is a source and a sink")
        return cls(start, end)


@dataclass(frozen=True, eq=False)
class Tree:
    """Shortest ways from one node, or to it: distances, and the arc of the last step."""

    distance: Floats
    """Shape (n,), infinite where there is no way."""
    arc: Ints
    """Shape (n,): arc by which each node is entered (from) or left (to); -1: none."""


@dataclass(frozen=True, eq=False)
class Passage:
    """Arcs on some way from the source (node 0) to the sink (node 1), sorted by tail and head.

    Arcs into a source or out of a sink are left out: a way that uses one is no shorter, and meets
    no fewer guards, than its part after the last source and before the first sink.
    """

    arcs: Arcs
    sides: Sides
    n: int
    own: Ints
    """Shape (k,): row in `arcs` of each arc kept."""
    tail: Ints
    head: Ints
    length_m: Floats
    by_head: Ints
    """Places of the arcs sorted by head: what is needed to search backward."""

    @classmethod
    def of(cls, arcs: Arcs, sources: ArrayLike, sinks: ArrayLike) -> "Passage":
        """Return the passage through a graph from any of the sources to any of the sinks."""
        sides = Sides.of(sources, sinks, arcs.n)
        node = np.arange(2, arcs.n + 2)
        node[sides.sources], node[sides.sinks] = SOURCE, SINK
        tail, head = node[arcs.tail], node[arcs.head]
        own = np.flatnonzero((head != SOURCE) & (tail != SINK) & (tail != head))
        own = own[_between(tail[own], head[own], arcs.n + 2)]
        tail, head = tail[own], head[own]
        used = np.zeros(arcs.n + 2, np.bool_)
        used[[SOURCE, SINK]] = used[tail] = used[head] = True
        renamed, n = np.cumsum(used) - 1, int(used.sum())
        tail, head = renamed[tail], renamed[head]
        order = np.lexsort((arcs.length_m[own], tail * n + head))
        own, tail, head = own[order], tail[order], head[order]
        by_head = np.argsort(head, kind="stable")
        return cls(arcs, sides, n, own, tail, head, arcs.length_m[own], by_head)

    def guarded_by(self, guard_start: Ints, guard_group: Ints) -> "Passage":
        """Return the same passage under other guards; nothing is searched again."""
        return replace(self, arcs=self.arcs.guarded_by(guard_start, guard_group))

    @cached_property
    def free(self) -> Bools:
        """Which arcs no guard observes, shape (k,)."""
        return np.asarray((np.diff(self.arcs.guard_start) == 0)[self.own])

    @cached_property
    def guards(self) -> list[frozenset[int]]:
        """The failure groups of every observed arc, in the order of `observed`."""
        row, start = self.own[self.observed], self.arcs.guard_start
        group = self.arcs.guard_group.tolist()
        return [
            frozenset(group[first:last])
            for first, last in zip(start[row].tolist(), start[row + 1].tolist(), strict=True)
        ]

    @cached_property
    def observed(self) -> Ints:
        """Places of the observed arcs."""
        return np.flatnonzero(~self.free)

    def opened_by(self, failed: frozenset[int]) -> Bools:
        """Which arcs are open when these groups have failed, shape (k,)."""
        is_open = self.free.copy()
        is_open[self.observed] = [groups <= failed for groups in self.guards]
        return is_open

    @cached_property
    def ahead(self) -> Bools:
        """Which nodes the source reaches freely, shape (n,)."""
        return self.reached(self.free)

    @cached_property
    def behind(self) -> Bools:
        """Which nodes reach the sink freely, shape (n,)."""
        return self.reached(self.free, backward=True)

    def reached(self, is_open: Bools, *, backward: bool = False) -> Bools:
        """Which nodes can be reached from the source, or reach the sink, shape (n,)."""
        if backward:
            rows = self.by_head[is_open[self.by_head]]
            tail, head = self.head[rows], self.tail[rows]
        else:
            rows = np.flatnonzero(is_open)
            tail, head = self.tail[rows], self.head[rows]
        graph = _csr(self.n, tail, head, np.ones(len(rows)))
        found = np.zeros(self.n, np.bool_)
        found[breadth_first_order(graph, SINK if backward else SOURCE, return_predecessors=False)] = True
        return found

    def tree(self, is_open: Bools, *, backward: bool = False, cost: Floats | None = None) -> Tree:
        """Return the shortest ways from the source, or to the sink, over open arcs.

        Parameters
        ----------
        is_open : ndarray of bool, shape (k,)
        backward : bool
            To the sink.
        cost : ndarray of float, shape (k,), optional
            Not negative; the lengths where not given.
        """
        rows = np.flatnonzero(is_open)
        weight = self.length_m if cost is None else cost
        if cost is not None:  # the best of parallel arcs first
            rows = rows[np.lexsort((cost[rows], self.head[rows], self.tail[rows]))]
        tail, head = self.tail[rows], self.head[rows]
        first = np.ones(len(rows), np.bool_)
        first[1:] = (tail[1:] != tail[:-1]) | (head[1:] != head[:-1])
        rows, tail, head = rows[first], tail[first], head[first]
        if backward:
            order = np.argsort(head, kind="stable")
            graph = _csr(self.n, head[order], tail[order], weight[rows[order]])
        else:
            graph = _csr(self.n, tail, head, weight[rows])
        distance, before = dijkstra(graph, indices=SINK if backward else SOURCE, return_predecessors=True)
        before = before.astype(np.int64)  # it becomes part of keys
        at = np.flatnonzero(before >= 0)
        pair = (at, before[at]) if backward else (before[at], at)
        arc = np.full(self.n, -1, np.int64)
        arc[at] = rows[np.searchsorted(tail * self.n + head, pair[0] * self.n + pair[1])]
        return Tree(distance, arc)

    def walked(self, tree: Tree, node: int, *, backward: bool = False) -> list[int]:
        """Return the arcs from the source to a node, or from it to the sink, in driving order."""
        steps = []
        while (arc := int(tree.arc[node])) >= 0:
            steps.append(arc)
            node = int(self.head[arc] if backward else self.tail[arc])
        return steps if backward else steps[::-1]

    def shortest(self, is_open: Bools, cost: Floats | None = None) -> list[int] | None:
        """Return the arcs of the cheapest way from source to sink, None when there is none."""
        tree = self.tree(is_open, cost=cost)
        return self.walked(tree, SINK) if np.isfinite(tree.distance[SINK]) else None


def _between(tail: Ints, head: Ints, n: int) -> Bools:
    """Which arcs lie between what the source reaches and what reaches the sink."""
    from_source, to_sink = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for found, start, one, other in (
        (from_source, SOURCE, tail, head),
        (to_sink, SINK, head, tail),
    ):
        order = np.argsort(one, kind="stable")
        graph = _csr(n, one[order], other[order], np.ones(len(one)))
        found[breadth_first_order(graph, start, return_predecessors=False)] = True
    return np.asarray(from_source[tail] & to_sink[head])


def _csr(n: int, tail: Ints, head: Ints, weight: Floats) -> csr_array:
    """Return arcs sorted by tail as a matrix, every one kept even where its weight is 0."""
    return csr_array((weight, head.astype(np.int32), row_starts(tail, n).astype(np.int32)), shape=(n, n))


def no_guards(k: int) -> tuple[Ints, Ints]:
    """Return the guards of k arcs that nothing observes."""
    return np.zeros(k + 1, np.int64), np.empty(0, np.int64)


def guards(k: int, arc: Ints, group: Ints) -> tuple[Ints, Ints]:
    """Return the guards of k arcs from pairs of arc and group, in any order.

    Examples
    --------
    >>> start, group = guards(3, np.array([2, 0, 2]), np.array([7, 5, 4]))
    >>> start.tolist(), group.tolist()
    ([0, 1, 1, 3], [5, 4, 7])
    """
    order = np.lexsort((group, arc))
    return row_starts(arc, k), np.asarray(group, np.int64)[order]
