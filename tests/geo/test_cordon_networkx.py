"""Cordons on street networks against networkx: shortest paths, greatest flow, disjoint paths."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from app.geo.arrays import Ints
from app.geo.cuts.cordon import UNGUARDABLE, Arcs, Cordon, build_empty_guards, build_guards
from tests.geo.cordons import Case, grid, walk

SHARED = Path(__file__).resolve().parents[3] / "shared/data/roads"
HELSINKI = SHARED / "helsinki_center_edges.geojson.gz"
XIAN = SHARED / "xian_links_utf8.geojson.gz"


def street_case(path: Path) -> Case:
    """Real streets: outside is all but the middle half of the map, inside its middle tenth."""
    if not path.exists():
        pytest.skip("the shared road data is not on this machine")
    features = json.loads(gzip.decompress(path.read_bytes()))["features"]
    node_by_xy: dict[tuple[float, float], int] = {}
    rows = []
    for number, feature in enumerate(features):
        line = feature["geometry"]["coordinates"]
        ends = [node_by_xy.setdefault((round(x, 7), round(y, 7)), len(node_by_xy)) for x, y in (line[0], line[-1])]
        metres = sum(
            np.hypot((b[0] - a[0]) * 111e3 * np.cos(np.radians(a[1])), (b[1] - a[1]) * 111e3) for a, b in pairwise(line)
        )
        properties = feature["properties"]
        rule = properties.get("oneway", "yes" if properties.get("dir") == 1 else "no")
        if rule != "-1":
            rows.append((ends[0], ends[1], number, metres))
        if rule not in ("yes", "1", "true"):
            rows.append((ends[1], ends[0], number, metres))
    tail, head, edge = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    length = np.array([row[3] for row in rows])
    xy = np.array(list(node_by_xy))
    away = np.abs((xy - np.median(xy, axis=0)) / (np.ptp(xy, axis=0) / 2)).max(axis=1)
    is_near = (away[tail] < 0.6) & (away[head] < 0.6)
    tail, head, edge, length = tail[is_near], head[is_near], edge[is_near], length[is_near]
    # A belt of guards half way out, with a gap: both directions of an edge are one group.
    crossing = (away[tail] > 0.3) != (away[head] > 0.3)
    chosen = np.flatnonzero(crossing & (edge % 7 != 0))
    arcs = Arcs(len(node_by_xy), tail, head, edge, length, *build_guards(len(tail), chosen, edge[chosen]))
    return Case(arcs, np.flatnonzero(away > 0.5).tolist(), np.flatnonzero(away < 0.1).tolist())


CASES = {
    "grid-1": lambda: grid(24, 1, 0.5),
    "grid-2": lambda: grid(30, 2, 0.9),
    "grid-3": lambda: grid(22, 3, 1.0),
    "helsinki": lambda: street_case(HELSINKI),
    "xian": lambda: street_case(XIAN),
}


@pytest.fixture(params=list(CASES), scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture
def cordon(case: Case) -> Cordon:
    return Cordon.from_arcs(case.arcs, case.sources, case.sinks)


def flows(case: Case, cost: Ints | None = None) -> nx.DiGraph:
    """The free arcs with their costs as capacities, added up where arcs are parallel."""
    graph = nx.DiGraph()
    graph.add_nodes_from(["in", "out"])
    graph.add_edges_from(("in", node) for node in case.sources)
    graph.add_edges_from((node, "out") for node in case.sinks)
    for arc in range(len(case.arcs)):
        if case.guards(arc):
            continue
        tail, head = int(case.arcs.tail[arc]), int(case.arcs.head[arc])
        capacity = 1 if cost is None else int(cost[arc])
        if capacity < 0:
            graph.add_edge(tail, head)  # no capacity: without limit
        elif not graph.has_edge(tail, head):
            graph.add_edge(tail, head, capacity=capacity)
        elif "capacity" in graph[tail][head]:
            graph[tail][head]["capacity"] += capacity
    return graph


def test_the_leak_is_the_shortest_path(case: Case, cordon: Cordon) -> None:
    length = case.leak_m()
    assert (cordon.leak is None) == (length is None)
    if cordon.leak is not None:
        walk(case, cordon.leak)
        assert cordon.leak.length_m == pytest.approx(length)


def test_the_plan_is_a_minimum_cut(case: Case, cordon: Cordon) -> None:
    plan = cordon.plan_sealing(np.ones(len(case.arcs), np.int64))
    value, _ = nx.minimum_cut(flows(case), "in", "out")
    assert plan.cost == plan.flow == value == len(plan.arcs)
    assert plan.sealed_after
    assert not nx.has_path(case.graph(set(), without=tuple(plan.arcs.tolist())), "in", "out")


def test_the_plan_with_costs_is_a_minimum_cut(case: Case, cordon: Cordon) -> None:
    cost = np.random.default_rng(5).choice([1, 2, 3, 10, UNGUARDABLE], len(case.arcs))
    plan = cordon.plan_sealing(cost)
    try:
        value, _ = nx.minimum_cut(flows(case, cost), "in", "out")
    except nx.NetworkXUnbounded:
        assert not plan.possible
        return
    assert plan.proven
    assert plan.cost == value == cost[plan.arcs].sum()


def test_there_are_as_many_disjoint_leaks_as_arcs_in_the_plan(case: Case, cordon: Cordon) -> None:
    leaks = cordon.find_leaks(10_000)
    for route in leaks:
        walk(case, route)
    edges = np.concatenate([[], *(case.arcs.edge[route.arcs] for route in leaks)])
    assert len(edges) == len(np.unique(edges))
    if cordon.sealed:
        assert not leaks
        return
    value = nx.maximum_flow_value(flows(case), "in", "out")
    assert len(leaks) == value


def test_the_set_of_disjoint_leaks_has_the_least_length(case: Case, cordon: Cordon) -> None:
    leaks = cordon.find_leaks(3)
    if not leaks:
        assert cordon.sealed
        return
    graph = flows(case)
    for tail, head in list(graph.edges):
        graph[tail][head]["weight"] = 0
    for arc in range(len(case.arcs)):
        if not case.guards(arc):
            tail, head = int(case.arcs.tail[arc]), int(case.arcs.head[arc])
            millimetres = round(float(case.arcs.length_m[arc]) * 1000)
            edge = graph[tail][head]
            edge["weight"] = min(edge["weight"] or millimetres, millimetres)
            edge["capacity"] = 1
    graph.add_node("in", demand=-len(leaks))
    graph.add_node("out", demand=len(leaks))
    minimum_mm = nx.min_cost_flow_cost(graph)
    # Parallel streets are one arc of the peer, so ours may be shorter, never longer.
    total = sum(route.length_m for route in leaks)
    assert total <= minimum_mm / 1000 + 0.01
    assert total >= len(leaks) * leaks[0].length_m - 1e-6


def test_critical_groups_are_those_whose_failure_joins_the_sides(case: Case, cordon: Cordon) -> None:
    if not cordon.sealed:
        assert cordon.critical == ()
        return
    expected = [group for group in case.groups if nx.has_path(case.graph({group}), "in", "out")]
    assert list(cordon.critical) == expected
    for failure in cordon.find_failures()[:5]:
        walk(case, failure.leak, set(failure.groups))
        assert failure.leak.length_m == pytest.approx(case.leak_m(set(failure.groups)))


def test_the_shortest_pairs(case: Case, cordon: Cordon) -> None:
    pairs = cordon.find_pairs(5)
    for failure in pairs.ranked:
        walk(case, failure.leak, set(failure.groups))
        assert failure.leak.length_m == pytest.approx(case.leak_m(set(failure.groups)))
        assert all(case.leak_m({group}) is None for group in failure.groups)
    depth = cordon.compute_depth()
    assert depth is not None
    assert depth.exact
    assert (pairs.count > 0) or depth.at_most != 2


def test_depth_meets_no_more_than_any_shortest_count(case: Case, cordon: Cordon) -> None:
    depth = cordon.compute_depth()
    assert depth is not None
    assert depth.route is not None
    walk(case, depth.route, set(depth.route.groups))
    graph = nx.DiGraph()
    graph.add_edges_from((("in", node) for node in case.sources), met=0)
    graph.add_edges_from(((node, "out") for node in case.sinks), met=0)
    for arc in range(len(case.arcs)):
        tail, head = int(case.arcs.tail[arc]), int(case.arcs.head[arc])
        met = len(case.guards(arc))
        if not graph.has_edge(tail, head) or graph[tail][head]["met"] > met:
            graph.add_edge(tail, head, met=met)
    assert depth.guards_met is not None
    assert depth.guards_met == nx.dijkstra_path_length(graph, "in", "out", weight="met")
    assert depth.at_most <= depth.guards_met


def test_a_graph_of_any_guards_has_a_leak_once_all_have_failed(case: Case) -> None:
    bare = case.arcs.with_guards(*build_empty_guards(len(case.arcs)))
    cordon = Cordon.from_arcs(bare, case.sources, case.sinks)
    assert cordon.leak is not None
    assert cordon.leak.length_m == pytest.approx(case.leak_m(set(case.groups)))
