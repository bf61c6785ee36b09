"""The flow graph: directed arcs with guards, between one source and one sink.

All sources are one node and all sinks another; only arcs on some path between them are retained. That does not depend
on which guards work, so a flow graph is built once and used again after every change of states. The module knows
nothing about roads.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import breadth_first_order, dijkstra

from app.geo.arrays import Bools, Floats, Ints, build_csr, mark_first, row_starts

SOURCE: Final = 0
SINK: Final = 1

FailureGroups = frozenset[int]
"""Numbers of failure groups."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """k directed arcs between n nodes, each with the failure groups of the guards that observe it.

    An edge that may be driven both ways is two arcs of the same edge. Groups are those of **working** guards: an arc
    without any is free. An arc is observed until all its groups fail.
    """

    n: int
    tail: Ints
    """Shape (k,): node at which each arc starts."""
    head: Ints
    """Shape (k,): node at which each arc ends."""
    edge: Ints
    """Shape (k,): number of the edge; the arc is one of its directions."""
    length_m: Floats
    """Shape (k,): finite, not negative."""
    guard_start: Ints
    """Shape (k + 1,): the groups of arc i are ``guard_group[guard_start[i]:guard_start[i + 1]]``."""
    guard_group: Ints
    """Shape (g,): numbers of failure groups, not negative."""

    def __post_init__(self) -> None:
        """Raise ValueError if columns have unequal lengths or values that are not valid."""
        k = len(self.tail)
        if not len(self.head) == len(self.edge) == len(self.length_m) == k:
            raise ValueError("columns of arcs have unequal lengths")
        ends = np.concatenate([self.tail, self.head])
        if len(ends) and not (ends.min() >= 0 and ends.max() < self.n):
            raise ValueError("an arc ends at a node that does not exist")
        if not (np.isfinite(self.length_m).all() and (self.length_m >= 0).all()):
            raise ValueError("the length of an arc is negative or not finite")
        starts = self.guard_start
        fits = len(starts) == k + 1 and starts[0] == 0 and starts[-1] == len(self.guard_group)
        if not fits or (np.diff(starts) < 0).any() or (self.guard_group < 0).any():
            raise ValueError("guards do not belong to arcs")

    def __len__(self) -> int:
        """Return the number of arcs."""
        return len(self.tail)

    def with_guards(self, guard_start: Ints, guard_group: Ints) -> "Arcs":
        """Return the same arcs with other guards."""
        return replace(self, guard_start=guard_start, guard_group=guard_group)


@dataclass(frozen=True, eq=False)
class Terminals:
    """The nodes at which paths start and end; no node is both."""

    sources: Ints
    sinks: Ints

    @classmethod
    def from_nodes(cls, sources: ArrayLike, sinks: ArrayLike, n: int) -> "Terminals":
        """Return the terminals of a graph of n nodes; raise ValueError if a node does not exist or is in both sets."""
        source_nodes = np.unique(np.asarray(sources, np.int64).reshape(-1))
        sink_nodes = np.unique(np.asarray(sinks, np.int64).reshape(-1))
        for nodes in (source_nodes, sink_nodes):
            if len(nodes) and not (nodes[0] >= 0 and nodes[-1] < n):
                raise ValueError("a source or sink is a node that does not exist")
        if len(np.intersect1d(source_nodes, sink_nodes, assume_unique=True)):
            raise ValueError("a node is a source and a sink")
        return cls(source_nodes, sink_nodes)


@dataclass(frozen=True, eq=False)
class ShortestPathTree:
    """Shortest paths from one node, or to it: distances, and the arc of the last step."""

    distance: Floats
    """Shape (n,), infinite if there is no path."""
    arc: Ints
    """Shape (n,): last arc of the path to each node, or first arc of the path from it; -1: none."""


@dataclass(frozen=True, eq=False)
class FlowGraph:
    """Arcs on some path from the source (node 0) to the sink (node 1), sorted by tail and head.

    Arcs into a source or out of a sink are left out: the section of a path between
    its last source and its first sink is at most as long, and meets at most as many guards.
    """

    arcs: Arcs
    terminals: Terminals
    n: int
    arc_row: Ints
    """Shape (k,): row in `arcs` of each retained arc."""
    tail: Ints
    head: Ints
    length_m: Floats
    by_head: Ints
    """Shape (k,): indices of the arcs, sorted by head, for backward searches."""

    @classmethod
    def from_arcs(cls, arcs: Arcs, sources: ArrayLike, sinks: ArrayLike) -> "FlowGraph":
        """Return the flow graph from any of the sources to any of the sinks."""
        terminals = Terminals.from_nodes(sources, sinks, arcs.n)
        node = np.arange(2, arcs.n + 2)
        node[terminals.sources], node[terminals.sinks] = SOURCE, SINK
        tail, head = node[arcs.tail], node[arcs.head]
        row = np.flatnonzero((head != SOURCE) & (tail != SINK) & (tail != head))
        row = row[_find_arcs_between(tail[row], head[row], arcs.n + 2)]
        tail, head = tail[row], head[row]
        used = np.zeros(arcs.n + 2, np.bool_)
        used[[SOURCE, SINK]] = used[tail] = used[head] = True
        renumbered, n = np.cumsum(used) - 1, int(used.sum())
        tail, head = renumbered[tail], renumbered[head]
        order = np.lexsort((arcs.length_m[row], tail * n + head))
        row, tail, head = row[order], tail[order], head[order]
        by_head = np.argsort(head, kind="stable")
        return cls(arcs, terminals, n, row, tail, head, arcs.length_m[row], by_head)

    def with_guards(self, guard_start: Ints, guard_group: Ints) -> "FlowGraph":
        """Return the same graph with other guards; nothing is searched again."""
        return replace(self, arcs=self.arcs.with_guards(guard_start, guard_group))

    @cached_property
    def free(self) -> Bools:
        """Which arcs have no guard, shape (k,)."""
        return np.asarray((np.diff(self.arcs.guard_start) == 0)[self.arc_row])

    @cached_property
    def observed(self) -> Ints:
        """Indices of the arcs with a guard."""
        return np.flatnonzero(~self.free)

    @cached_property
    def guard_groups(self) -> list[FailureGroups]:
        """The failure groups of every observed arc, in the order of `observed`."""
        row, start = self.arc_row[self.observed], self.arcs.guard_start
        group = self.arcs.guard_group.tolist()
        return [
            frozenset(group[first:last])
            for first, last in zip(start[row].tolist(), start[row + 1].tolist(), strict=True)
        ]

    def find_open_arcs(self, failed: FailureGroups) -> Bools:
        """Return which arcs are open after these groups have failed, shape (k,)."""
        is_open = self.free.copy()
        is_open[self.observed] = [groups <= failed for groups in self.guard_groups]
        return is_open

    @cached_property
    def reached_freely(self) -> Bools:
        """Which nodes the source reaches over free arcs, shape (n,)."""
        return self.find_reached_nodes(self.free)

    @cached_property
    def leads_freely(self) -> Bools:
        """Which nodes reach the sink over free arcs, shape (n,)."""
        return self.find_reached_nodes(self.free, backward=True)

    def find_reached_nodes(self, is_open: Bools, *, backward: bool = False) -> Bools:
        """Return which nodes the source reaches over open arcs; backward: which nodes reach the sink. Shape (n,)."""
        if backward:
            rows = self.by_head[is_open[self.by_head]]
            return _find_reached(self.n, SINK, self.head[rows], self.tail[rows])
        rows = np.flatnonzero(is_open)
        return _find_reached(self.n, SOURCE, self.tail[rows], self.head[rows])

    def build_tree(self, is_open: Bools, *, backward: bool = False, cost: Floats | None = None) -> ShortestPathTree:
        """Return the shortest paths from the source, or to the sink, over open arcs.

        Parameters
        ----------
        is_open : ndarray of bool, shape (k,)
        backward : bool
            To the sink.
        cost : ndarray of float, shape (k,), optional
            Not negative; default: the lengths.
        """
        rows = np.flatnonzero(is_open)
        weight = self.length_m if cost is None else cost
        if cost is not None:  # the cheapest of parallel arcs first
            rows = rows[np.lexsort((cost[rows], self.head[rows], self.tail[rows]))]
        rows = rows[mark_first(self.tail[rows], self.head[rows])]
        tail, head = self.tail[rows], self.head[rows]
        if backward:
            order = np.argsort(head, kind="stable")
            graph = build_csr(head[order], tail[order], weight[rows[order]], self.n)
        else:
            graph = build_csr(tail, head, weight[rows], self.n)
        distance, previous = dijkstra(graph, indices=SINK if backward else SOURCE, return_predecessors=True)
        previous = previous.astype(np.int64)  # it becomes part of keys
        node = np.flatnonzero(previous >= 0)
        start, end = (node, previous[node]) if backward else (previous[node], node)
        arc = np.full(self.n, -1, np.int64)
        arc[node] = rows[np.searchsorted(tail * self.n + head, start * self.n + end)]
        return ShortestPathTree(distance, arc)

    def trace_path(self, tree: ShortestPathTree, node: int, *, backward: bool = False) -> list[int]:
        """Return the arcs from the source to a node, or from it to the sink, in driving order."""
        steps = []
        while (arc := int(tree.arc[node])) >= 0:
            steps.append(arc)
            node = int(self.head[arc] if backward else self.tail[arc])
        return steps if backward else steps[::-1]

    def find_shortest_path(self, is_open: Bools, cost: Floats | None = None) -> list[int] | None:
        """Return the arcs of the cheapest path from source to sink, None if there is none."""
        tree = self.build_tree(is_open, cost=cost)
        return self.trace_path(tree, SINK) if np.isfinite(tree.distance[SINK]) else None


def _find_arcs_between(tail: Ints, head: Ints, n: int) -> Bools:
    """Return which arcs start at a node that the source reaches and end at a node that reaches the sink."""
    by_tail, by_head = np.argsort(tail, kind="stable"), np.argsort(head, kind="stable")
    from_source = _find_reached(n, SOURCE, tail[by_tail], head[by_tail])
    to_sink = _find_reached(n, SINK, head[by_head], tail[by_head])
    return np.asarray(from_source[tail] & to_sink[head])


def _find_reached(n: int, start: int, tail: Ints, head: Ints) -> Bools:
    """Return which of n nodes can be reached from a node over arcs that are sorted by tail."""
    reached = np.zeros(n, np.bool_)
    graph = build_csr(tail, head, np.ones(len(tail)), n)
    reached[breadth_first_order(graph, start, return_predecessors=False)] = True
    return reached


def build_empty_guards(k: int) -> tuple[Ints, Ints]:
    """Return `guard_start` and `guard_group` of k arcs that nothing observes."""
    return np.zeros(k + 1, np.int64), np.empty(0, np.int64)


def build_guards(k: int, arc: Ints, group: Ints) -> tuple[Ints, Ints]:
    """Return `guard_start` and `guard_group` of k arcs from pairs of arc and group, in any order.

    Examples
    --------
    >>> start, group = build_guards(3, np.array([2, 0, 2]), np.array([7, 5, 4]))
    >>> start.tolist(), group.tolist()
    ([0, 1, 1, 3], [5, 4, 7])
    """
    order = np.lexsort((group, arc))
    return row_starts(arc, k), np.asarray(group, np.int64)[order]
