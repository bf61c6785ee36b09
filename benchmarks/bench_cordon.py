"""Time cordons against networkx, in the same run and on the same graph.

``python -m benchmarks.bench_cordon [edges ...]`` measures generated cities with this many streets, two-way and
one-way. Outside is the edge of the map, inside a block in its centre, so that whole routes decide. ``python -m
benchmarks.bench_cordon real [roads.geojson.gz ...]`` measures real roads, by default the files of
``REGISTRY_BENCH_ROADS``, with two rings and the passages that `app.geo` finds. Both have two belts of guards. networkx
computes the same results as its documentation shows. Prints ratios and memory; asserts that the results are equal,
never how long they take.
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

from app.geo.cuts.cordon import Arcs, Cordon, build_empty_guards, build_guards
from app.geo.rings.ring_partition import RingBand, cut_network
from app.geo.roads.network import build_network
from benchmarks.bench_roads import read_features, to_metres

EDGES = (1_000, 10_000, 100_000)
ROADS = "REGISTRY_BENCH_ROADS"
"""Environment variable with the files of real roads, as a search path."""
PEER_UP_TO = 1_000_000
"""Largest number of streets for routes with networkx; it needs about 1 GB for a million."""
CUTS_UP_TO = 100_000
"""Largest number of streets for its minimum cut; more take minutes."""
FAILURES_UP_TO = 12_000
"""Largest number of streets for failing each guard in turn with networkx."""


@dataclass(frozen=True)
class City:
    """Streets with two belts of guards, and the nodes outside and inside."""

    arcs: Arcs
    outer: np.ndarray
    """Rows of the arcs that the outer belt guards."""
    sources: np.ndarray
    sinks: np.ndarray
    unguarded_share: float
    """Share of the guarded streets that loses its guards to make the city leak."""

    @property
    def streets(self) -> int:
        """Number of edges."""
        return len(np.unique(self.arcs.edge))


def read_city(path: Path) -> City:
    """Return the streets of a file of roads, with belts of guards where they cross two rings around their centre."""
    features = read_features(path)
    lines = to_metres(features)
    rule = [parse_one_way(feature["properties"]) for feature in features]
    none = np.zeros(len(lines), np.int64)
    roads, _ = build_network(lines, oneway=rule, layer=none, road_class=none, group=np.arange(len(lines)))
    low, high = np.percentile(roads.node_xy, [5, 95], axis=0)  # a few long roads lead far out
    middle, reach = (low + high) / 2, float((high - low).min()) / 2
    rings = [RingBand(shapely.Point(middle).buffer(reach * share, 64), 5.0) for share in (0.6, 0.3)]
    pieces, sides = cut_network(roads, rings, shapely.STRtree(roads.line))
    ahead, back = np.flatnonzero(pieces.forward), np.flatnonzero(pieces.backward)
    piece = np.concatenate([ahead, back])
    tail = np.concatenate([pieces.tail[ahead], pieces.head[back]])
    head = np.concatenate([pieces.head[ahead], pieces.tail[back]])
    passed = [np.flatnonzero(np.isin(piece, side.passage)) for side in sides]
    every = np.unique(np.concatenate(passed))
    guarded = build_guards(len(piece), every, piece[every])
    arcs = Arcs(len(pieces.node_xy), tail, head, piece, pieces.length_m[piece], *guarded)
    used = np.bincount(np.concatenate([tail, head]), minlength=arcs.n) > 0
    away = np.hypot(*(pieces.node_xy - middle).T) / reach
    sources, sinks = np.flatnonzero(used & (away > 0.8)), np.flatnonzero(used & (away < 0.1))
    return City(arcs, passed[0], sources, sinks, 0.5)


def parse_one_way(properties: dict[str, Any]) -> int:
    """Return the one-way code of a street, from the tag of OSM or from `dir`."""
    value = str(properties.get("oneway", "yes" if properties.get("dir") == 1 else "no")).lower()
    return {"yes": 1, "1": 1, "true": 1, "-1": 2, "reverse": 2, "reversible": 3}.get(value, 0)


def build_city(edges: int, seed: int = 7) -> City:
    """Return a city with about this many generated streets."""
    side = round((edges / 1.84) ** 0.5)
    dice = np.random.default_rng(seed)
    number = np.arange(side * side).reshape(side, side)
    start = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    end = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    selected = dice.random(len(start)) > 0.08
    start, end = start[selected], end[selected]
    rule = dice.choice(3, len(start), p=[0.7, 0.15, 0.15])  # two-way, forward, backward
    length = dice.uniform(40, 200, len(start))
    ahead, back = np.flatnonzero(rule != 2), np.flatnonzero(rule != 1)
    edge = np.concatenate([ahead, back])
    tail = np.concatenate([start[ahead], end[back]])
    head = np.concatenate([end[ahead], start[back]])
    row, column = np.divmod(np.arange(side * side), side)
    away = np.maximum(abs(row - side // 2), abs(column - side // 2))
    third = side // 3
    belts = np.isin(np.minimum(away[tail], away[head]), [third - 2, third + 1])
    guarded = np.flatnonzero(belts & (away[tail] != away[head]))
    arcs = Arcs(side * side, tail, head, edge, length[edge], *build_guards(len(tail), guarded, edge[guarded]))
    outer = np.minimum(away[tail[guarded]], away[head[guarded]]) == third + 1
    outside, inside = away >= side // 2 - 1, away <= max(side // 12, 1)
    return City(arcs, guarded[outer], np.flatnonzero(outside), np.flatnonzero(inside), 0.2)


def remove_guards(arcs: Arcs, share: float, seed: int = 3) -> Arcs:
    """Return the arcs with a share of the guarded streets without guards."""
    count = np.diff(arcs.guard_start)
    guarded = np.flatnonzero(count > 0)
    removed = np.random.default_rng(seed).random(int(arcs.edge.max()) + 1) < share
    remaining = guarded[~removed[arcs.edge[guarded]]]
    return arcs.with_guards(*build_guards(len(arcs), remaining, arcs.edge[remaining]))


def build_peer(arcs: Arcs, sources: np.ndarray, sinks: np.ndarray, *, free: bool) -> nx.DiGraph:
    """Return the graph for networkx, with the best of parallel streets."""
    graph = nx.DiGraph()
    guard_count = np.diff(arcs.guard_start)
    for tail, head, length, met in zip(
        arcs.tail.tolist(),
        arcs.head.tolist(),
        arcs.length_m.tolist(),
        guard_count.tolist(),
        strict=True,
    ):
        if not (free and met):
            graph.add_edge(tail, head, length=length, met=met, capacity=1)
    graph.add_edges_from((("in", node) for node in sources.tolist()), length=0.0, met=0)
    graph.add_edges_from(((node, "out") for node in sinks.tolist()), length=0.0, met=0)
    return graph


def run_timed(work: Callable[[], Any], runs: int = 1) -> tuple[Any, float]:
    """Return the result and the least time in milliseconds."""
    times, result = [], None
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, min(times) * 1e3


def print_line(name: str, ours: float, theirs: float | None) -> None:
    comparison = "" if theirs is None else f"   networkx {theirs:10.1f} ms   {theirs / ours:7.1f}x"
    print(f"  {name:<46} {ours:9.1f} ms{comparison}")


def measure(city: City, name: str = "generated") -> None:
    """Measure one city, with and without leaks, and networkx if the city is not too large for it."""
    arcs, sources, sinks, edges = city.arcs, city.sources, city.sinks, city.streets
    leaky = remove_guards(arcs, city.unguarded_share)
    runs = 20 if edges < 5_000 else 3  # the peer as often where that is quick
    with_peer = edges <= PEER_UP_TO
    print(f"\n{name}: {edges:,} streets, {len(arcs):,} arcs, {arcs.n:,} nodes")
    ours = theirs = 0.0

    def compare(title: str, ours_run: Callable[[], Any], peer_run: Callable[[], Any] | None) -> None:
        nonlocal ours, theirs
        result, took = run_timed(ours_run, runs)
        peer_took = None
        if with_peer and peer_run is not None:
            expected, peer_took = run_timed(peer_run, runs if edges < 5_000 else 1)
            assert result == expected or abs(result - expected) < 1e-6 * abs(expected), title
            ours, theirs = ours + took, theirs + peer_took
        print_line(title, took, peer_took)

    _, built = run_timed(lambda: Cordon.from_arcs(leaky, sources, sinks), runs)
    free = nx.DiGraph()
    free_took: float | None = None
    if with_peer:
        free, free_took = run_timed(lambda: build_peer(leaky, sources, sinks, free=True))
        ours, theirs = ours + built, theirs + free_took
    print_line("graph prepared", built, free_took)
    cost = np.ones(len(arcs), np.int64)
    open_city, two_belts = (Cordon.from_arcs(graph, sources, sinks) for graph in (leaky, arcs))
    outer = build_guards(len(arcs), city.outer, arcs.edge[city.outer])
    one_belt = two_belts.with_guards(*outer)
    compare(
        "sealed?",
        lambda: renew(open_city).sealed,
        lambda: not nx.has_path(free, "in", "out"),
    )
    compare(
        "leak, shortest",
        lambda: get_leak_length(renew(open_city)),
        lambda: nx.dijkstra_path_length(free, "in", "out", weight="length"),
    )
    closed = build_peer(arcs, sources, sinks, free=False) if with_peer else nx.DiGraph()
    compare(
        "fewest guards met (each time counted)",
        lambda: renew(two_belts).min_guards_met,
        lambda: nx.dijkstra_path_length(closed, "in", "out", weight="met"),
    )
    compare(
        "sealing plan, minimum cut with proof",
        lambda: renew(open_city).plan_sealing(cost).cost,
        (lambda: nx.minimum_cut(free, "in", "out")[0]) if edges <= CUTS_UP_TO else None,
    )
    compare(
        "critical guards",
        lambda: len(renew(one_belt).critical),
        (lambda: count_critical_with_peer(one_belt.graph.arcs, sources, sinks)) if edges <= FAILURES_UP_TO else None,
    )
    compare("critical guards, each with its leak", lambda: len(renew(one_belt).find_failures()), None)
    compare("depth, exact, of two belts", lambda: renew(two_belts).compute_depth(), None)
    compare("the 10 shortest pairs, all pairs counted", lambda: renew(two_belts).find_pairs(10), None)
    compare("10 disjoint leaks of least length", lambda: renew(open_city).find_leaks(10), None)
    compare("after one guard failed: sealed, depth, critical", lambda: fail_one_guard(two_belts), None)
    if with_peer:
        print(f"  together {ours:.1f} ms, networkx {theirs:.1f} ms: {theirs / ours:.1f}x")
    tracemalloc.start()
    compute_everything(leaky, sources, sinks)
    print(f"  memory at most {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB in addition to the arcs")
    tracemalloc.stop()


def get_leak_length(cordon: Cordon) -> float:
    return cordon.leak.length_m if cordon.leak else float("inf")


def renew(cordon: Cordon) -> Cordon:
    """Return a prepared cordon without computed results."""
    arcs = cordon.graph.arcs
    return cordon.with_guards(arcs.guard_start, arcs.guard_group)


def count_critical_with_peer(arcs: Arcs, sources: np.ndarray, sinks: np.ndarray) -> int:
    """Return the number of critical guards, by failing each in turn."""
    graph = build_peer(arcs, sources, sinks, free=True)
    guarded = np.flatnonzero(np.diff(arcs.guard_start) > 0)
    count = 0
    for edge in np.unique(arcs.edge[guarded]).tolist():
        rows = guarded[arcs.edge[guarded] == edge]
        ends = list(zip(arcs.tail[rows].tolist(), arcs.head[rows].tolist(), strict=True))
        graph.add_edges_from(ends)
        count += nx.has_path(graph, "in", "out")
        graph.remove_edges_from(ends)
    return count


def fail_one_guard(ready: Cordon) -> tuple[bool, Any, int]:
    arcs = ready.graph.arcs
    guarded = np.flatnonzero(np.diff(arcs.guard_start) > 0)[1:]
    reguarded = ready.with_guards(*build_guards(len(arcs), guarded, arcs.edge[guarded]))
    return reguarded.sealed, reguarded.compute_depth(), len(reguarded.critical)


def compute_everything(arcs: Arcs, sources: np.ndarray, sinks: np.ndarray) -> None:
    cordon = Cordon.from_arcs(arcs, sources, sinks)
    cordon.plan_sealing(np.ones(len(arcs), np.int64))
    closed = cordon.with_guards(*build_empty_guards(len(arcs)))
    for computed in (cordon, closed):
        _ = (computed.leak, computed.compute_depth(), computed.critical, computed.find_leaks(3))


def main(arguments: list[str]) -> None:
    """Measure the sizes in the arguments, else the usual ones; after ``real`` the files."""
    if arguments[:1] == ["real"]:
        files = arguments[1:] or [name for name in os.environ.get(ROADS, "").split(os.pathsep) if name]
        if not files:
            sys.exit(f"name a file of roads (GeoJSON, may be gzipped), or set {ROADS}")
        for path in map(Path, files):
            measure(read_city(path), path.name.split(".")[0])
    else:
        for edges in [int(argument) for argument in arguments] or EDGES:
            measure(build_city(edges))
    print(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB resident at most")


if __name__ == "__main__":
    main(sys.argv[1:])
