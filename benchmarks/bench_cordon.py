"""Time the cordon questions against networkx: ``python -m benchmarks.bench_cordon [edges ...]``.

A generated city of streets (two-way and one-way) with two belts of guards; outside is the rim of the
map, inside a block in its middle, so that nothing is decided near the line alone. The peer answers
the same questions on the same graph in the same run, each the way its documentation shows. Prints
ratios and memory; asserts that both say the same, never how long it takes.
"""

import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np

from app.geo.cordon import Arcs, Cordon, guards, no_guards

EDGES = (1_000, 10_000, 100_000)
PEER_UP_TO = 100_000


def city(edges: int, seed: int = 7) -> tuple[Arcs, np.ndarray, np.ndarray]:
    """Return arcs of about so many streets, the nodes outside and the nodes inside."""
    side = round((edges / 1.84) ** 0.5)
    dice = np.random.default_rng(seed)
    number = np.arange(side * side).reshape(side, side)
    one = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    other = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    kept = dice.random(len(one)) > 0.08
    one, other = one[kept], other[kept]
    rule = dice.choice(3, len(one), p=[0.7, 0.15, 0.15])  # two-way, forward, backward
    length = dice.uniform(40, 200, len(one))
    ahead, back = np.flatnonzero(rule != 2), np.flatnonzero(rule != 1)
    edge = np.concatenate([ahead, back])
    tail = np.concatenate([one[ahead], other[back]])
    head = np.concatenate([other[ahead], one[back]])
    row, column = np.divmod(np.arange(side * side), side)
    away = np.maximum(abs(row - side // 2), abs(column - side // 2))
    third = side // 3
    belts = np.isin(np.minimum(away[tail], away[head]), [third - 2, third + 1])
    guarded = np.flatnonzero(belts & (away[tail] != away[head]))
    arcs = Arcs(
        side * side, tail, head, edge, length[edge], *guards(len(tail), guarded, edge[guarded])
    )
    return arcs, np.flatnonzero(away >= side // 2 - 1), np.flatnonzero(away <= max(side // 12, 1))


def opened(arcs: Arcs, share: float, seed: int = 3) -> Arcs:
    """Return the city with this share of the guarded streets left unguarded."""
    count = np.diff(arcs.guard_start)
    guarded = np.flatnonzero(count > 0)
    gone = np.random.default_rng(seed).random(int(arcs.edge.max()) + 1) < share
    kept = guarded[~gone[arcs.edge[guarded]]]
    return arcs.guarded_by(*guards(len(arcs), kept, arcs.edge[kept]))


def peer(arcs: Arcs, sources: np.ndarray, sinks: np.ndarray, *, free: bool) -> nx.DiGraph:
    """Return the graph as networkx keeps it, the best of parallel streets."""
    found = nx.DiGraph()
    watched = np.diff(arcs.guard_start)
    for tail, head, length, met in zip(
        arcs.tail.tolist(),
        arcs.head.tolist(),
        arcs.length_m.tolist(),
        watched.tolist(),
        strict=True,
    ):
        if not (free and met):
            found.add_edge(tail, head, length=length, met=met, capacity=1)
    found.add_edges_from((("in", node) for node in sources.tolist()), length=0.0, met=0)
    found.add_edges_from(((node, "out") for node in sinks.tolist()), length=0.0, met=0)
    return found


def timed(work: Callable[[], Any], runs: int = 1) -> tuple[Any, float]:
    """Return the answer and the least time in milliseconds."""
    times, answer = [], None
    for _ in range(runs):
        start = time.perf_counter()
        answer = work()
        times.append(time.perf_counter() - start)
    return answer, min(times) * 1e3


def _line(what: str, ours: float, theirs: float | None) -> None:
    told = "" if theirs is None else f"   networkx {theirs:10.1f} ms   {theirs / ours:7.1f}x"
    print(f"  {what:<46} {ours:9.1f} ms{told}")


def measure(edges: int) -> None:
    """Ask everything of one city, open and closed, and networkx the same where it is not too large."""
    arcs, sources, sinks = city(edges)
    leaky = opened(arcs, 0.2)
    with_peer = edges <= PEER_UP_TO
    print(f"\n{len(np.unique(arcs.edge)):,} streets, {len(arcs):,} arcs, {arcs.n:,} nodes")
    ours = theirs = 0.0

    def both(what: str, mine: Callable[[], Any], other: Callable[[], Any] | None) -> None:
        nonlocal ours, theirs
        answer, took = timed(mine, 3)
        peer_took = None
        if with_peer and other is not None:
            expected, peer_took = timed(other)
            assert answer == expected or abs(answer - expected) < 1e-6 * abs(expected), what
            ours, theirs = ours + took, theirs + peer_took
        _line(what, took, peer_took)

    _, built = timed(lambda: Cordon.of(leaky, sources, sinks), 3)
    free = nx.DiGraph()
    free_took: float | None = None
    if with_peer:
        free, free_took = timed(lambda: peer(leaky, sources, sinks, free=True))
        ours, theirs = ours + built, theirs + free_took
    _line("graph made ready", built, free_took)
    cost = np.ones(len(arcs), np.int64)
    open_city, two_belts = (Cordon.of(one, sources, sinks) for one in (leaky, arcs))
    one_belt = two_belts.guarded_by(*_one_belt(arcs))
    both(
        "sealed?",
        lambda: _fresh(open_city).sealed,
        lambda: not nx.has_path(free, "in", "out"),
    )
    both(
        "leak, shortest",
        lambda: _length(_fresh(open_city)),
        lambda: nx.dijkstra_path_length(free, "in", "out", weight="length"),
    )
    closed = peer(arcs, sources, sinks, free=False) if with_peer else nx.DiGraph()
    both(
        "fewest guards met (each time counted)",
        lambda: _met(_fresh(two_belts)),
        lambda: nx.dijkstra_path_length(closed, "in", "out", weight="met"),
    )
    both(
        "sealing plan, minimum cut with proof",
        lambda: _fresh(open_city).plan(cost).cost,
        lambda: nx.minimum_cut(free, "in", "out")[0],
    )
    both(
        "critical guards",
        lambda: len(_fresh(one_belt).critical),
        (lambda: _critical_peer(one_belt.passage.arcs, sources, sinks))
        if edges <= 10_000
        else None,
    )
    both("critical guards, each with its leak", lambda: len(_fresh(one_belt).failures()), None)
    both("depth, exact, of two belts", lambda: _fresh(two_belts).depth(), None)
    both("the 10 shortest pairs, all pairs counted", lambda: _fresh(two_belts).pairs(10), None)
    both("10 disjoint leaks of least length", lambda: _fresh(open_city).leaks(10), None)
    both("after one guard failed: sealed, depth, critical", lambda: _again(two_belts), None)
    if with_peer:
        print(f"  together {ours:.1f} ms, networkx {theirs:.1f} ms: {theirs / ours:.1f}x")
    tracemalloc.start()
    _everything(leaky, sources, sinks)
    print(f"  memory at most {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB beside the arcs")
    tracemalloc.stop()


def _length(cordon: Cordon) -> float:
    return cordon.leak.length_m if cordon.leak else float("inf")


def _met(cordon: Cordon) -> int | None:
    found = cordon.depth()
    return found.met if found else None


def _fresh(cordon: Cordon) -> Cordon:
    """Return a prepared cordon that has not been asked anything yet."""
    arcs = cordon.passage.arcs
    return cordon.guarded_by(arcs.guard_start, arcs.guard_group)


def _one_belt(arcs: Arcs) -> tuple[np.ndarray, np.ndarray]:
    """Return the guards of the outer belt only: every one of them is critical."""
    guarded = np.flatnonzero(np.diff(arcs.guard_start) > 0)
    side = round(arcs.n**0.5)
    row, column = np.divmod(np.arange(arcs.n), side)
    away = np.maximum(abs(row - side // 2), abs(column - side // 2))
    outer = np.minimum(away[arcs.tail[guarded]], away[arcs.head[guarded]]) == side // 3 + 1
    return guards(len(arcs), guarded[outer], arcs.edge[guarded[outer]])


def _critical_peer(arcs: Arcs, sources: np.ndarray, sinks: np.ndarray) -> int:
    """Fail each guard in turn, as one would with networkx."""
    graph = peer(arcs, sources, sinks, free=True)
    guarded = np.flatnonzero(np.diff(arcs.guard_start) > 0)
    count = 0
    for edge in np.unique(arcs.edge[guarded]).tolist():
        rows = guarded[arcs.edge[guarded] == edge]
        ends = list(zip(arcs.tail[rows].tolist(), arcs.head[rows].tolist(), strict=True))
        graph.add_edges_from(ends)
        count += nx.has_path(graph, "in", "out")
        graph.remove_edges_from(ends)
    return count


def _again(ready: Cordon) -> tuple[bool, Any, int]:
    arcs = ready.passage.arcs
    guarded = np.flatnonzero(np.diff(arcs.guard_start) > 0)[1:]
    again = ready.guarded_by(*guards(len(arcs), guarded, arcs.edge[guarded]))
    return again.sealed, again.depth(), len(again.critical)


def _everything(arcs: Arcs, sources: np.ndarray, sinks: np.ndarray) -> None:
    cordon = Cordon.of(arcs, sources, sinks)
    cordon.plan(np.ones(len(arcs), np.int64))
    closed = cordon.guarded_by(*no_guards(len(arcs)))
    for found in (cordon, closed):
        _ = (found.leak, found.depth(), found.critical, found.leaks(3))


def main(words: list[str]) -> None:
    """Run the sizes named, else the usual ones."""
    sizes = [int(word) for word in words] or list(EDGES)
    for edges in sizes:
        measure(edges)
    print(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB resident at most")


if __name__ == "__main__":
    main(sys.argv[1:])
