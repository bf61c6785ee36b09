"""Minimum cuts and disjoint paths: the cheapest arcs to guard, and how many paths lead through.

A minimum cut comes with its proof: a flow of the same value (so no cheaper cut exists), and a search after the cut that
finds no leak.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, dijkstra, maximum_flow

from app.geo.arrays import Bools, Floats, Ints, build_csr, mark_first
from app.geo.cuts.flow_graph import SINK, SOURCE, FlowGraph

LARGEST: Final = 2**30 - 2
"""Greatest sum of costs around arcs that cannot be guarded: a capacity and a flow against it are added in 32 bits."""


@dataclass(frozen=True, eq=False)
class MinimumCut:
    """The cheapest set of arcs whose guarding leaves no leak, with its proof."""

    possible: bool
    """False if a leak uses only arcs that cannot be guarded; it is `unguardable` then."""
    arcs: Ints
    """Indices of the arcs to guard, in the flow graph."""
    cost: int
    """Sum of their costs: the value of the cut."""
    flow: int
    """Value of the greatest flow under the same costs, conserved at every node."""
    sealed_after: bool
    """Whether a new search finds no leak after they are guarded."""
    unguardable: list[int]
    """Arcs of the shortest leak that no cut can close; empty if there is none."""


def compute_minimum_cut(graph: FlowGraph, cost: Ints) -> MinimumCut:
    """Return the cheapest cut of a flow graph.

    Parameters
    ----------
    graph : FlowGraph
    cost : ndarray of int64, shape (k,)
        Cost of guarding each arc of the graph, 1 or more; negative: the arc cannot be guarded.

    Returns
    -------
    MinimumCut
        Of several minimum cuts, the one nearest to the source.

    Raises
    ------
    ValueError
        A cost of 0, or costs whose sum exceeds 32 bits.

    Notes
    -----
    An arc is one direction: a two-way edge is guarded, and paid, per direction. A minimum cut between a source and a
    sink never needs both [1]_.

    .. [1] Ford and Fulkerson 1956, Maximal flow through a network.
    """
    if (cost == 0).any():
        raise ValueError("guarding an arc costs 1 or more, or is impossible (negative)")
    no_arcs = np.empty(0, np.int64)
    unguardable = graph.free & (cost < 0)
    if unguardable.any() and graph.find_reached_nodes(unguardable)[SINK]:
        return MinimumCut(False, no_arcs, 0, 0, False, graph.find_shortest_path(unguardable) or [])
    useful = _find_useful_arcs(graph)
    if not len(useful):
        return MinimumCut(True, no_arcs, 0, 0, not graph.reached_freely[SINK], [])
    flow, cut = _solve_maximum_flow(graph, useful, *_compute_capacities(graph, useful, cost))
    still_free = graph.free.copy()
    still_free[cut] = False
    return MinimumCut(True, cut, int(cost[cut].sum()), flow, not graph.find_reached_nodes(still_free)[SINK], [])


def _find_useful_arcs(graph: FlowGraph) -> Ints:
    """Return the free arcs on some free path from source to sink."""
    if not graph.reached_freely[SINK]:
        return np.empty(0, np.int64)
    on_path = graph.reached_freely[graph.tail] & graph.leads_freely[graph.head]
    return np.flatnonzero(graph.free & on_path)


def _compute_capacities(graph: FlowGraph, useful: Ints, cost: Ints) -> tuple[Ints, int]:
    """Return costs as capacities, and a capacity that exceeds the value of some cut.

    The latter is the capacity of arcs that cannot be guarded.
    """
    capacity = cost[useful]
    near_source = np.arange(graph.n) == SOURCE
    if (capacity < 0).any():
        unguardable = np.zeros(len(graph.tail), np.bool_)
        unguardable[useful[capacity < 0]] = True
        near_source = graph.find_reached_nodes(unguardable)
    tail, head = graph.tail[useful], graph.head[useful]
    bound = int(capacity[near_source[tail] & ~near_source[head]].sum())
    if bound > LARGEST:
        raise ValueError(f"costs add up to {bound}, more than {LARGEST}")
    return np.where(capacity < 0, bound + 1, np.minimum(capacity, bound + 1)), bound + 1


def _solve_maximum_flow(graph: FlowGraph, useful: Ints, capacity: Ints, limit: int) -> tuple[int, Ints]:
    """Return the value of the greatest flow, and the arcs of the cut nearest to the source.

    The search starts at the side with the smaller capacity: from there it soon meets full arcs; from the other side it
    would visit everything first.
    """
    tail, head, n = graph.tail[useful], graph.head[useful], graph.n
    # Parallel arcs add up; arcs of a flow graph are sorted by tail and head.
    first = np.flatnonzero(mark_first(tail, head))
    total = np.minimum(np.add.reduceat(capacity, first), limit)  # no more than the limit can flow
    start, end = tail[first], head[first]
    is_reversed = total[start == SOURCE].sum() > total[end == SINK].sum()
    if is_reversed:
        order = np.argsort(end, kind="stable")
        total, start, end = total[order], end[order], start[order]
    # Flows are computed in 32 bits.
    capacities = build_csr(start, end, total.astype(np.int32), n)
    result = maximum_flow(capacities, *((SINK, SOURCE) if is_reversed else (SOURCE, SINK)))
    _check_conservation(result.flow, n)
    residual = capacities - result.flow
    has_residual = residual.data > 0
    start = np.repeat(np.arange(n), np.diff(residual.indptr))[has_residual]
    end = residual.indices[has_residual]
    if is_reversed:
        order = np.argsort(end, kind="stable")
        start, end = end[order], start[order]
    near_source = np.zeros(n, np.bool_)
    onward = build_csr(start, end, np.ones(len(start), np.int32), n)
    near_source[breadth_first_order(onward, SOURCE, return_predecessors=False)] = True
    return int(result.flow_value), useful[near_source[tail] & ~near_source[head]]


def _check_conservation(flow: csr_array, n: int) -> None:
    """Raise ArithmeticError if a flow is lost or created at a node between its two ends."""
    net = np.bincount(np.repeat(np.arange(n), np.diff(flow.indptr)), flow.data, minlength=n)
    net[[SOURCE, SINK]] = 0
    if net.any():
        raise ArithmeticError("the flow is not conserved")


def find_disjoint_paths(graph: FlowGraph, is_open: Bools, max_count: int) -> list[list[int]]:
    """Return paths from source to sink that share no edge, of the least total length.

    Parameters
    ----------
    graph : FlowGraph
    is_open : ndarray of bool, shape (k,)
        Arcs that may be used.
    max_count : int
        Greatest number of paths.

    Returns
    -------
    list of list of int
        Arcs of each path in driving order, the shortest path first; as many paths as exist, up to `max_count`. A set
        of j paths has the least total length of all sets of j paths that share no edge, so a larger set need not
        contain the paths of a smaller one. Paths may meet at nodes.

    Notes
    -----
    A flow of least cost, augmented along shortest paths in reduced costs [1]_.

    .. [1] Suurballe and Tarjan 1984, A quick method for finding shortest pairs of disjoint paths.
    """
    used = np.zeros(len(graph.tail), np.bool_)
    potential = np.zeros(graph.n)
    for _ in range(max_count):
        steps, distance = _find_augmenting_path(graph, is_open, used, potential)
        if steps is None:
            break
        used[steps] ^= True
        potential += np.minimum(distance, distance[SINK])
    _cancel_opposite_arcs(graph, used)
    paths = _split_into_paths(graph, used)
    return sorted(paths, key=lambda path: (graph.length_m[path].sum(), path))


def _find_augmenting_path(
    graph: FlowGraph, is_open: Bools, used: Bools, potential: Floats
) -> tuple[Ints | None, Floats]:
    """Return the arcs of the cheapest augmenting path, None if there is none; and the reduced distances."""
    rows = np.flatnonzero(is_open)
    backward = used[rows]
    tail = np.where(backward, graph.head[rows], graph.tail[rows])
    head = np.where(backward, graph.tail[rows], graph.head[rows])
    weight = np.where(backward, -graph.length_m[rows], graph.length_m[rows])
    weight = np.maximum(weight + potential[tail] - potential[head], 0.0)  # less than 0 only by rounding
    order = np.lexsort((weight, head, tail))
    order = order[mark_first(tail[order], head[order])]
    key = tail[order] * graph.n + head[order]
    reduced = build_csr(tail[order], head[order], weight[order], graph.n)
    distance, previous = dijkstra(reduced, indices=SOURCE, return_predecessors=True)
    if not np.isfinite(distance[SINK]):
        return None, distance
    steps, node = [], SINK
    while node != SOURCE:
        earlier = int(previous[node])
        steps.append(rows[order[np.searchsorted(key, earlier * graph.n + node)]])
        node = earlier
    return np.array(steps, np.int64), distance


def _cancel_opposite_arcs(graph: FlowGraph, used: Bools) -> None:
    """Remove both directions of an edge if both are used: they cancel out."""
    rows = np.flatnonzero(used)
    tail, head = graph.tail[rows], graph.head[rows]
    ends = (np.minimum(tail, head), np.maximum(tail, head), graph.arcs.edge[graph.arc_row[rows]])
    _, number = np.unique(np.column_stack(ends), axis=0, return_inverse=True)
    count = np.bincount(number, weights=np.where(tail < head, 1, 1000))
    used[rows[count[number] == 1001]] = False


def _split_into_paths(graph: FlowGraph, used: Bools) -> list[list[int]]:
    """Return the paths of a flow of ones; cycles are left out."""
    leaving: dict[int, list[int]] = {}
    for arc in np.flatnonzero(used).tolist():
        leaving.setdefault(int(graph.tail[arc]), []).append(arc)
    paths = []
    for first in leaving.get(SOURCE, []):
        path, visited, arc = [first], {SOURCE: 0}, first
        while (node := int(graph.head[arc])) != SINK:
            if (cycle_start := visited.get(node)) is not None:
                for dropped in path[cycle_start:]:
                    visited.pop(int(graph.head[dropped]), None)
                del path[cycle_start:]
            visited[node] = len(path)
            arc = leaving[node].pop()
            path.append(arc)
        paths.append(path)
    return paths
