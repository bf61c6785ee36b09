"""Minimum cuts and disjoint ways: the cheapest places to guard, and how many ways there are.

Promises a plan together with its proof: a flow of the same value as the cut (no cheaper plan can
exist), and a search after the cut that finds no leak.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, dijkstra, maximum_flow

from app.geo.arrays import Bools, Floats, Ints, row_starts
from app.geo.cuts.flow_graph import SINK, SOURCE, Passage

LARGEST: Final = 2**30 - 2
"""Largest sum of costs at the edge of what cannot be guarded: a capacity and a flow against it are
added up in 32 bits."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The cheapest set of arcs whose guarding leaves no leak, and its proof."""

    possible: bool
    """False where a leak uses only arcs that cannot be guarded; it is `unguardable` then."""
    arcs: Ints
    """Places of the arcs to guard, in the passage."""
    cost: int
    """What they cost together: the value of the cut."""
    flow: int
    """Value of the greatest flow under the same costs, conserved at every node."""
    sealed_after: bool
    """Whether a fresh search finds no leak once they are guarded."""
    unguardable: list[int]
    """Arcs of the shortest leak that no plan can close; empty where there is none."""

    @property
    def proven(self) -> bool:
        """Tell whether the proof holds: the cut costs what flows, and nothing leaks after it."""
        return self.possible and self.cost == self.flow and self.sealed_after


def plan(passage: Passage, cost: Ints) -> Plan:
    """Return the cheapest sealing of a passage.

    Parameters
    ----------
    passage : Passage
    cost : ndarray of int64, shape (k,)
        What it costs to guard each arc of the passage, 1 or more; negative: it cannot be guarded.

    Returns
    -------
    Plan
        Of several cheapest plans, the one nearest to the source.

    Raises
    ------
    ValueError
        A cost of 0, or costs too large to be added up in 32 bits.

    Notes
    -----
    An arc is one direction: a two-way edge is guarded, and paid, per direction. A minimum cut between
    a source and a sink never needs both [1]_.

    .. [1] Ford and Fulkerson 1956, Maximal flow through a network.
    """
    if (cost == 0).any():
        raise ValueError("guarding an arc costs 1 or more, or is impossible (negative)")
    none = np.empty(0, np.int64)
    unguardable = passage.free & (cost < 0)
    if unguardable.any() and passage.reached(unguardable)[SINK]:
        return Plan(False, none, 0, 0, False, passage.shortest(unguardable) or [])
    useful = _useful(passage)
    if not len(useful):
        return Plan(True, none, 0, 0, not passage.ahead[SINK], [])
    flow, cut = _cut(passage, useful, *_capacities(passage, useful, cost))
    left = passage.free.copy()
    left[cut] = False
    return Plan(True, cut, int(cost[cut].sum()), flow, not passage.reached(left)[SINK], [])


def _useful(passage: Passage) -> Ints:
    """Return the free arcs on some free way from source to sink."""
    if not passage.ahead[SINK]:
        return np.empty(0, np.int64)
    on_way = passage.ahead[passage.tail] & passage.behind[passage.head]
    return np.flatnonzero(passage.free & on_way)


def _capacities(passage: Passage, useful: Ints, cost: Ints) -> tuple[Ints, int]:
    """Return costs as capacities, and one that is more than some cut has in all.

    The latter is the capacity of what cannot be guarded.
    """
    capacity = cost[useful]
    near = np.arange(passage.n) == SOURCE
    if (capacity < 0).any():
        fixed = np.zeros(len(passage.tail), np.bool_)
        fixed[useful[capacity < 0]] = True
        near = passage.reached(fixed)
    tail, head = passage.tail[useful], passage.head[useful]
    bound = int(capacity[near[tail] & ~near[head]].sum())
    if bound > LARGEST:
        raise ValueError(f"costs add up to {bound}, more than {LARGEST}")
    return np.where(capacity < 0, bound + 1, np.minimum(capacity, bound + 1)), bound + 1


def _cut(passage: Passage, useful: Ints, capacity: Ints, most: int) -> tuple[int, Ints]:
    """Return the value of the greatest flow, and the arcs of the cut nearest to the source.

    The flow is sought from the side that less can leave or enter: from there the search runs into
    full arcs soon, and from the other it would go over everything first.
    """
    tail, head, n = passage.tail[useful], passage.head[useful], passage.n
    most_through, one, other = _summed(tail, head, capacity, n)
    most_through = np.minimum(most_through, most)  # no more can flow, so this changes nothing
    turned = most_through[one == SOURCE].sum() > most_through[other == SINK].sum()
    if turned:
        order = np.argsort(other, kind="stable")
        most_through, one, other = most_through[order], other[order], one[order]
    graph = _matrix(most_through, one, other, n)
    found = maximum_flow(graph, *((SINK, SOURCE) if turned else (SOURCE, SINK)))
    _conserved(found.flow, n)
    residual = graph - found.flow
    left = residual.data > 0
    one = np.repeat(np.arange(n), np.diff(residual.indptr))[left]
    other = residual.indices[left]
    if turned:
        order = np.argsort(other, kind="stable")
        one, other = other[order], one[order]
    near = np.zeros(n, np.bool_)
    onward = _matrix(np.ones(len(one), np.int32), one, other, n)
    near[breadth_first_order(onward, SOURCE, return_predecessors=False)] = True
    return int(found.flow_value), useful[near[tail] & ~near[head]]


def _summed(tail: Ints, head: Ints, capacity: Ints, n: int) -> tuple[Ints, Ints, Ints]:
    """Return the capacity between two nodes, and those nodes: parallel arcs add up.

    Arcs of a passage are sorted by tail and head.
    """
    key = tail * n + head
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    return np.add.reduceat(capacity, first), tail[first], head[first]


def _matrix(data: Ints, row: Ints, column: Ints, n: int) -> csr_array:
    """Return the matrix of entries sorted by row, in the 32 bits that flows are computed in."""
    entries = (data.astype(np.int32), column.astype(np.int32), row_starts(row, n).astype(np.int32))
    return csr_array(entries, shape=(n, n))


def _conserved(flow: csr_array, n: int) -> None:
    """Refuse a flow that is lost or made at a node between its two ends."""
    net = np.bincount(np.repeat(np.arange(n), np.diff(flow.indptr)), flow.data, minlength=n)
    net[[SOURCE, SINK]] = 0
    if net.any():
        raise ArithmeticError("the flow is not conserved")


def disjoint(passage: Passage, is_open: Bools, most: int) -> list[list[int]]:
    """Return ways from source to sink that share no edge, of the least total length.

    Parameters
    ----------
    passage : Passage
    is_open : ndarray of bool, shape (k,)
        Arcs that may be used.
    most : int
        How many ways at most.

    Returns
    -------
    list of list of int
        Arcs of each way in driving order, the shortest way first. As many ways as there are, up to
        `most`; one way is the shortest of all. The set of j ways has the least total length of all
        sets of j ways that share no edge, so the ways of a larger set need not contain those of a
        smaller one. Ways may meet at nodes.

    Notes
    -----
    A flow of least cost, augmented along shortest ways in reduced costs [1]_.

    .. [1] Suurballe and Tarjan 1984, A quick method for finding shortest pairs of disjoint paths.
    """
    used = np.zeros(len(passage.tail), np.bool_)
    potential = np.zeros(passage.n)
    for _ in range(most):
        steps, distance = _augmentation(passage, is_open, used, potential)
        if steps is None:
            break
        used[steps] ^= True
        potential += np.minimum(distance, distance[SINK])
    _cancel(passage, used)
    found = _ways(passage, used)
    return sorted(found, key=lambda way: (passage.length_m[way].sum(), way))


def _augmentation(passage: Passage, is_open: Bools, used: Bools, potential: Floats) -> tuple[Ints | None, Floats]:
    """Return the arcs by which the cheapest further way differs, and the reduced distances."""
    rows = np.flatnonzero(is_open)
    back = used[rows]
    tail = np.where(back, passage.head[rows], passage.tail[rows])
    head = np.where(back, passage.tail[rows], passage.head[rows])
    weight = np.where(back, -passage.length_m[rows], passage.length_m[rows])
    weight = np.maximum(weight + potential[tail] - potential[head], 0.0)  # rounding only
    order = np.lexsort((weight, head, tail))
    key = tail[order] * passage.n + head[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = key[1:] != key[:-1]
    order, key = order[first], key[first]
    start = row_starts(tail[order], passage.n).astype(np.int32)
    graph = csr_array((weight[order], head[order].astype(np.int32), start), shape=(passage.n, passage.n))
    distance, before = dijkstra(graph, indices=SOURCE, return_predecessors=True)
    if not np.isfinite(distance[SINK]):
        return None, distance
    steps, node = [], SINK
    while node != SOURCE:
        earlier = int(before[node])
        steps.append(rows[order[np.searchsorted(key, earlier * passage.n + node)]])
        node = earlier
    return np.array(steps, np.int64), distance


def _cancel(passage: Passage, used: Bools) -> None:
    """Drop both directions of an edge where both are used: without length, neither saves any."""
    rows = np.flatnonzero(used)
    tail, head = passage.tail[rows], passage.head[rows]
    ends = (np.minimum(tail, head), np.maximum(tail, head), passage.arcs.edge[passage.own[rows]])
    _, number = np.unique(np.column_stack(ends), axis=0, return_inverse=True)
    count = np.bincount(number, weights=np.where(tail < head, 1, 1000))
    used[rows[count[number] == 1001]] = False


def _ways(passage: Passage, used: Bools) -> list[list[int]]:
    """Return the ways a flow of ones is made of; what merely circulates is left out."""
    leaving: dict[int, list[int]] = {}
    for arc in np.flatnonzero(used).tolist():
        leaving.setdefault(int(passage.tail[arc]), []).append(arc)
    found = []
    for first in leaving.get(SOURCE, []):
        way, been, arc = [first], {SOURCE: 0}, first
        while (node := int(passage.head[arc])) != SINK:
            if (turn := been.get(node)) is not None:
                for dropped in way[turn:]:
                    been.pop(int(passage.head[dropped]), None)
                del way[turn:]
            been[node] = len(way)
            arc = leaving[node].pop()
            way.append(arc)
        found.append(way)
    return found
