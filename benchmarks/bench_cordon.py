"""Time the cordon questions against networkx, in the same run and on the same graph.

``python -m benchmarks.bench_cordon [edges ...]`` on generated cities of so many streets (two-way and
one-way); outside is the rim of the map, inside a block in its middle, so that nothing is decided near
the line alone. ``python -m benchmarks.bench_cordon real [roads.geojson.gz ...]`` on real roads, by
default those of ``REGISTRY_BENCH_ROADS``: the network, a ring half way out and one nearer in, and the
passages through them are those the service finds (`app.geo`). Both have two belts of guards. The peer
answers the same questions each the way its documentation shows. Prints ratios and memory; asserts
that both say the same, never how long it takes.
"""

import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import shapely

from app.geo.cuts.cordon import Arcs, Cordon, guards, no_guards
from app.geo.rings.ring_partition import Ring, cut
from app.geo.roads.network import network
from benchmarks.bench_roads import features, metres

EDGES = (1_000, 10_000, 100_000)
ROADS = "REGISTRY_BENCH_ROADS"
"""Files of roads to measure on, as a search path."""
PEER_UP_TO = 1_000_000
"""Streets up to which networkx is asked for ways; it holds about 1 GB for a million."""
CUTS_UP_TO = 100_000
"""Streets up to which it is asked for a minimum cut: minutes beyond."""
FAILURES_UP_TO = 12_000
"""Streets up to which each guard is failed in turn, as one would with networkx."""


@dataclass(frozen=True)
class City:
    """Streets with two belts of guards, and the nodes outside and inside."""

    arcs: Arcs
    outer: np.ndarray
    """Rows of the arcs the outer belt guards."""
    sources: np.ndarray
    sinks: np.ndarray
    opened: float
    """Share of the guarded streets that is unguarded where the city leaks."""

    @property
    def streets(self) -> int:
        """Number of edges."""
        return len(np.unique(self.arcs.edge))


def real(path: Path) -> City:
    """Return the streets of a file of roads, belts where they pass two rings around their middle."""
    found = features(path)
    lines = metres(found)
    rule = [_rule(feature["properties"]) for feature in found]
    none = np.zeros(len(lines), np.int64)
    roads, _ = network(lines, oneway=rule, layer=none, road_class=none, group=np.arange(len(lines)))
    low, high = np.percentile(roads.node_xy, [5, 95], axis=0)  # a few long roads lead far out
    middle, reach = (low + high) / 2, float((high - low).min()) / 2
    rings = [Ring(shapely.Point(middle).buffer(reach * share, 64), 5.0) for share in (0.6, 0.3)]
    pieces, sides = cut(roads, rings, shapely.STRtree(roads.line))
    ahead, back = np.flatnonzero(pieces.forward), np.flatnonzero(pieces.backward)
    piece = np.concatenate([ahead, back])
    tail = np.concatenate([pieces.tail[ahead], pieces.head[back]])
    head = np.concatenate([pieces.head[ahead], pieces.tail[back]])
    passed = [np.flatnonzero(np.isin(piece, side.passage)) for side in sides]
    every = np.unique(np.concatenate(passed))
    guarded = guards(len(piece), every, piece[every])
    arcs = Arcs(len(pieces.node_xy), tail, head, piece, pieces.length_m[piece], *guarded)
    used = np.bincount(np.concatenate([tail, head]), minlength=arcs.n) > 0
    away = np.hypot(*(pieces.node_xy - middle).T) / reach
    sources, sinks = np.flatnonzero(used & (away > 0.8)), np.flatnonzero(used & (away < 0.1))
    return City(arcs, passed[0], sources, sinks, 0.5)


def _rule(told: dict[str, Any]) -> int:
    """Return the one-way code of a street, from the tag of OSM or from 1 for one-way."""
    word = str(told.get("oneway", "yes" if told.get("dir") == 1 else "no")).lower()
    return {"yes": 1, "1": 1, "true": 1, "-1": 2, "reverse": 2, "reversible": 3}.get(word, 0)


def city(edges: int, seed: int = 7) -> City:
    """Return about so many generated streets."""
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
    arcs = Arcs(side * side, tail, head, edge, length[edge], *guards(len(tail), guarded, edge[guarded]))
    outer = np.minimum(away[tail[guarded]], away[head[guarded]]) == third + 1
    outside, inside = away >= side // 2 - 1, away <= max(side // 12, 1)
    return City(arcs, guarded[outer], np.flatnonzero(outside), np.flatnonzero(inside), 0.2)


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


def measure(found: City, name: str = "generated") -> None:
    """Ask everything of one city, open and closed, and networkx the same where it is not too large."""
    arcs, sources, sinks, edges = found.arcs, found.sources, found.sinks, found.streets
    leaky = opened(arcs, found.opened)
    runs = 20 if edges < 5_000 else 3  # the peer as often where that is quick
    with_peer = edges <= PEER_UP_TO
    print(f"\n{name}: {edges:,} streets, {len(arcs):,} arcs, {arcs.n:,} nodes")
    ours = theirs = 0.0

    def both(what: str, mine: Callable[[], Any], other: Callable[[], Any] | None) -> None:
        nonlocal ours, theirs
        answer, took = timed(mine, runs)
        peer_took = None
        if with_peer and other is not None:
            expected, peer_took = timed(other, runs if edges < 5_000 else 1)
            assert answer == expected or abs(answer - expected) < 1e-6 * abs(expected), what
            ours, theirs = ours + took, theirs + peer_took
        _line(what, took, peer_took)

    _, built = timed(lambda: Cordon.of(leaky, sources, sinks), runs)
    free = nx.DiGraph()
    free_took: float | None = None
    if with_peer:
        free, free_took = timed(lambda: peer(leaky, sources, sinks, free=True))
        ours, theirs = ours + built, theirs + free_took
    _line("graph made ready", built, free_took)
    cost = np.ones(len(arcs), np.int64)
    open_city, two_belts = (Cordon.of(one, sources, sinks) for one in (leaky, arcs))
    outer = guards(len(arcs), found.outer, arcs.edge[found.outer])
    one_belt = two_belts.guarded_by(*outer)
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
        lambda: _fresh(two_belts).met,
        lambda: nx.dijkstra_path_length(closed, "in", "out", weight="met"),
    )
    both(
        "sealing plan, minimum cut with proof",
        lambda: _fresh(open_city).plan(cost).cost,
        (lambda: nx.minimum_cut(free, "in", "out")[0]) if edges <= CUTS_UP_TO else None,
    )
    both(
        "critical guards",
        lambda: len(_fresh(one_belt).critical),
        (lambda: _critical_peer(one_belt.passage.arcs, sources, sinks)) if edges <= FAILURES_UP_TO else None,
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


def _fresh(cordon: Cordon) -> Cordon:
    """Return a prepared cordon that has not been asked anything yet."""
    arcs = cordon.passage.arcs
    return cordon.guarded_by(arcs.guard_start, arcs.guard_group)


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
    """Run the sizes named, else the usual ones; after ``real`` the files named."""
    if words[:1] == ["real"]:
        files = words[1:] or [one for one in os.environ.get(ROADS, "").split(os.pathsep) if one]
        if not files:
            sys.exit(f"name a file of roads (GeoJSON, may be gzipped), or set {ROADS}")
        for path in map(Path, files):
            measure(real(path), path.name.split(".")[0])
    else:
        for edges in [int(word) for word in words] or EDGES:
            measure(city(edges))
    print(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB resident at most")


if __name__ == "__main__":
    main(sys.argv[1:])
