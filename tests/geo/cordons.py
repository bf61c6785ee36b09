"""Graphs for cordons, and answers to every question about them by trying everything."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from app.geo.cuts.cordon import ArcRoute, Arcs, build_guards


@dataclass(frozen=True)
class Case:
    arcs: Arcs
    sources: list[int]
    sinks: list[int]

    @property
    def groups(self) -> list[int]:
        return sorted(set(self.arcs.guard_group.tolist()))

    def guards(self, arc: int) -> set[int]:
        start, end = self.arcs.guard_start[arc : arc + 2]
        return set(self.arcs.guard_group[start:end].tolist())

    def graph(self, failed: set[int] | frozenset[int], *, without: tuple[int, ...] = ()) -> nx.DiGraph:
        """The arcs that are open, with a node before all sources and one behind all sinks."""
        graph = nx.DiGraph()
        graph.add_nodes_from(["in", "out"])
        graph.add_edges_from((("in", node) for node in self.sources), length=0.0)
        graph.add_edges_from(((node, "out") for node in self.sinks), length=0.0)
        for arc in range(len(self.arcs)):
            if arc in without or not self.guards(arc) <= failed:
                continue
            tail, head = int(self.arcs.tail[arc]), int(self.arcs.head[arc])
            length = float(self.arcs.length_m[arc])
            if not graph.has_edge(tail, head) or graph[tail][head]["length"] > length:
                graph.add_edge(tail, head, length=length)
        return graph

    def leak_m(self, failed: set[int] | frozenset[int] = frozenset()) -> float | None:
        """Length of the shortest leak when groups have failed, None where there is none."""
        try:
            return float(nx.dijkstra_path_length(self.graph(failed), "in", "out", weight="length"))
        except nx.NetworkXNoPath:
            return None

    def opening(self, size: int) -> dict[tuple[int, ...], float]:
        """Every set of so many groups that opens what no smaller part of it opens."""
        leaks = {}
        for failed in combinations(self.groups, size):
            subsets = (set(subset) for less in range(size) for subset in combinations(failed, less))
            length = self.leak_m(set(failed))
            if length is not None and all(self.leak_m(subset) is None for subset in subsets):
                leaks[failed] = length
        return leaks

    def depth(self) -> int | None:
        """The fewest groups whose failure makes a leak."""
        for size in range(len(self.groups) + 1):
            if any(self.leak_m(set(subset)) is not None for subset in combinations(self.groups, size)):
                return size
        return None

    def cheapest(self, cost: list[int]) -> int | None:
        """The least cost of free arcs without which there is no leak, None where there is none."""
        free = [arc for arc in range(len(self.arcs)) if not self.guards(arc) and cost[arc] > 0]
        best = None
        for size in range(len(free) + 1):
            for cut in combinations(free, size):
                spent = sum(cost[arc] for arc in cut)
                if best is not None and spent >= best:
                    continue
                if not nx.has_path(self.graph(set(), without=cut), "in", "out"):
                    best = spent
        return best

    def simple_ways(self, *, free: bool = True) -> Iterator[list[int]]:
        """Every leak, or every way, that visits no node twice, as arcs."""
        leaving: dict[int, list[int]] = {}
        for arc in range(len(self.arcs)):
            if not (free and self.guards(arc)):
                leaving.setdefault(int(self.arcs.tail[arc]), []).append(arc)

        def on(node: int, been: frozenset[int], path: list[int]) -> Iterator[list[int]]:
            if node in self.sinks:
                yield path
                return
            for arc in leaving.get(node, []):
                head = int(self.arcs.head[arc])
                if head not in been:
                    yield from on(head, been | {head}, [*path, arc])

        for source in self.sources:
            yield from on(source, frozenset(self.sources), [])


def walk(case: Case, route: ArcRoute, failed: set[int] | frozenset[int] = frozenset()) -> None:
    """Drive a route arc by arc and refuse whatever is wrong with it.

    An independent checker: it looks only at the arcs.
    """
    arcs = route.arcs.tolist()
    assert arcs, "a route without arcs"
    assert int(case.arcs.tail[arcs[0]]) in case.sources
    assert int(case.arcs.head[arcs[-1]]) in case.sinks
    for arc, following in pairwise(arcs):
        assert case.arcs.head[arc] == case.arcs.tail[following], "a jump"
    met = set().union(*(case.guards(arc) for arc in arcs))
    assert met <= failed, "a working guard is met"
    assert met == set(route.groups)
    assert math.isclose(route.length_m, sum(case.arcs.length_m[arcs].tolist()), abs_tol=1e-6)


@st.composite
def cases(draw: st.DrawFn, *, nodes: int = 12, edges: int = 22, groups: int = 5, watched: float = 0.6) -> Case:
    """A small graph, mostly with two-way edges, some of them guarded by one group or two."""
    n = draw(st.integers(2, nodes))
    node = st.integers(0, n - 1)
    drawn = draw(st.lists(st.tuples(node, node, st.booleans(), st.integers(0, 9)), min_size=1, max_size=edges))
    tail, head, edge, length = [], [], [], []
    for number, (first, second, two_way, long) in enumerate(drawn):
        for start, end in [(first, second), (second, first)][: 1 + two_way]:
            tail.append(start)
            head.append(end)
            edge.append(number)
            length.append(float(long))
    k = len(tail)
    guard_pairs = draw(
        st.lists(
            st.tuples(st.integers(0, k - 1), st.integers(0, groups - 1)),
            min_size=int(watched * k) if watched else 0,
            max_size=max(int(watched * k) + k // 2, 0) if watched else 0,
        )
    )
    pairs = np.array(guard_pairs, np.int64).reshape(-1, 2)
    arcs = Arcs(
        n,
        np.array(tail, np.int64),
        np.array(head, np.int64),
        np.array(edge, np.int64),
        np.array(length, np.float64),
        *build_guards(k, pairs[:, 0], pairs[:, 1]),
    )
    sides = draw(st.permutations(range(n)))
    ins = draw(st.integers(1, min(3, n - 1)))
    outs = draw(st.integers(1, min(3, n - ins)))
    return Case(arcs, sorted(sides[:ins]), sorted(sides[ins : ins + outs]))


@st.composite
def closed(draw: st.DrawFn) -> Case:
    """A graph in belts, nearly every arc guarded, so that only failures open it.

    Few groups guard many arcs: the same group is met in several belts.
    """
    widths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    belts, n = [[0]], 1
    for width in widths:
        belts.append(list(range(n, n + width)))
        n += width
    ends = [(first, second) for belt, following in pairwise(belts) for first in belt for second in following]
    extra = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=6))
    ends = draw(st.permutations(ends + extra))[:22]
    k = len(ends)
    groups = draw(st.integers(2, 6))
    guard_groups = st.lists(st.integers(0, groups - 1), min_size=1, max_size=2, unique=True)
    groups_of_arcs = [draw(guard_groups) if draw(st.integers(0, 5)) else [] for _ in range(k)]
    pairs = [(arc, group) for arc, arc_groups in enumerate(groups_of_arcs) for group in arc_groups]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    length = draw(st.lists(st.integers(0, 9), min_size=k, max_size=k))
    columns = np.array(ends, np.int64).reshape(-1, 2)
    start, group = build_guards(k, table[:, 0], table[:, 1])
    arcs = Arcs(n, columns[:, 0], columns[:, 1], np.arange(k), np.array(length, np.float64), start, group)
    return Case(arcs, [0], belts[-1][-1:])


def grid(side: int, seed: int, guarded: float = 0.5) -> Case:
    """A street grid with one-way streets and gaps: outside is its rim, inside a block at the centre."""
    dice = np.random.default_rng(seed)
    number = np.arange(side * side).reshape(side, side)
    from_node = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    to_node = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    retained = dice.random(len(from_node)) > 0.08
    from_node, to_node = from_node[retained], to_node[retained]
    m = len(from_node)
    rule = dice.choice(3, m, p=[0.7, 0.15, 0.15])  # two-way, forward, backward
    length = dice.integers(40, 200, m).astype(np.float64)
    ahead, back = np.flatnonzero(rule != 2), np.flatnonzero(rule != 1)
    edge = np.concatenate([ahead, back])
    tail = np.concatenate([from_node[ahead], to_node[back]])
    head = np.concatenate([to_node[ahead], from_node[back]])
    row, column = np.divmod(np.arange(side * side), side)
    away = np.maximum(abs(row - side // 2), abs(column - side // 2))
    third = side // 3
    # Guards stand on two belts; both directions of an edge share a group.
    belts = (away[tail] != away[head]) & np.isin(np.minimum(away[tail], away[head]), [third, third + 2])
    chosen = np.flatnonzero(belts & (dice.random(m)[edge] < guarded))
    start, group = build_guards(len(tail), chosen, edge[chosen])
    arcs = Arcs(side * side, tail, head, edge, length[edge], start, group)
    rim = np.flatnonzero(away >= side // 2 - 1)
    centre = np.flatnonzero(away <= max(side // 12, 1))
    return Case(arcs, rim.tolist(), centre.tolist())
