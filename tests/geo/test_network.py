"""The road graph: rules of joining one by one, laws of drawing, and networkx as the second opinion."""

from collections.abc import Sequence
from typing import get_args

import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from app.geo.roads.network import (
    BACKWARD,
    FORWARD,
    ONE_WAY_RULES,
    PATH,
    REVERSIBLE,
    ROAD_CLASSES,
    TWO_WAY,
    NetworkReport,
    NodedNetwork,
    build_network,
    find_dead_ends_at,
)
from app.models.vocabulary import OneWay, RoadClass

TURNED = np.array([TWO_WAY, BACKWARD, FORWARD, REVERSIBLE])


def build(
    wkt: Sequence[str],
    oneway: Sequence[int] | None = None,
    layer: Sequence[int] | None = None,
    road_class: Sequence[int] | None = None,
    snap_m: float = 0.0,
) -> tuple[NodedNetwork, NetworkReport]:
    """Return the network of lines, every one a group of its own."""
    none = [0] * len(wkt)
    return build_network(
        shapely.from_wkt([f"LINESTRING ({text})" for text in wkt]),
        oneway=oneway or none,
        layer=layer or none,
        road_class=road_class or none,
        group=list(range(len(wkt))),
        snap_m=snap_m,
    )


def joined(network: NodedNetwork, a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Tell whether one can get from one place to the other along edges."""
    graph = nx.Graph(zip(network.tail.tolist(), network.head.tolist(), strict=True))
    nodes = [int(np.argmin(np.hypot(*(network.node_xy - point).T))) for point in (a, b)]
    return bool(nx.has_path(graph, *nodes))


def test_words_are_those_of_the_registry() -> None:
    assert get_args(RoadClass) == ROAD_CLASSES
    assert get_args(OneWay) == ONE_WAY_RULES


def test_lines_of_a_layer_join_at_a_vertex_both_pass() -> None:
    network, report = build(["0 0, 5 5, 10 10", "0 10, 5 5, 10 0"])
    assert (len(network), len(network.node_xy), len(report.component_length_m)) == (4, 5, 1)


def test_lines_that_cross_without_a_vertex_do_not_join() -> None:
    network, report = build(["0 0, 10 10", "0 10, 10 0"])
    assert (len(network), len(report.component_length_m)) == (2, 2)


def test_a_bridge_with_a_vertex_over_the_vertex_of_a_road_does_not_join_it() -> None:
    network, _ = build(["0 0, 5 5, 10 10", "0 10, 5 5, 10 0"], layer=[0, 1])
    assert len(network) == 2
    assert not joined(network, (0, 0), (0, 10))


def test_a_bridge_that_ends_where_a_road_ends_joins_it() -> None:
    network, _ = build(["0 0, 5 0", "5 0, 9 0"], layer=[0, 1])
    assert joined(network, (0, 0), (9, 0))


def test_a_bridge_that_would_end_in_mid_air_joins_the_road_it_ends_on() -> None:
    network, _ = build(["0 0, 5 0, 10 0", "5 0, 5 9"], layer=[0, 1])
    assert len(network) == 3
    assert joined(network, (0, 0), (5, 9))


def test_it_joins_the_nearest_layer_only() -> None:
    network, _ = build(["0 0, 5 0, 10 0", "5 -9, 5 0, 5 9", "5 0, 9 9"], layer=[-2, 0, 1])
    assert joined(network, (9, 9), (5, 9))
    assert not joined(network, (9, 9), (0, 0))


def test_a_tunnel_under_a_junction_of_roads_that_end_there_stays_apart() -> None:
    network, _ = build(["0 0, 5 0", "5 0, 9 0", "5 -9, 5 0, 5 9"], layer=[0, 0, -1])
    assert not joined(network, (0, 0), (5, 9))


def test_rules_of_driving() -> None:
    network, _ = build(
        ["0 0, 1 0", "0 1, 1 1", "0 2, 1 2", "0 3, 1 3", "0 4, 1 4"],
        oneway=[TWO_WAY, FORWARD, BACKWARD, REVERSIBLE, TWO_WAY],
        road_class=[0, 0, 0, 0, PATH],
    )
    assert network.forward.tolist() == [True, True, False, True, False]
    assert network.backward.tolist() == [True, False, True, True, False]
    assert network.drivable.tolist() == [True, True, True, True, False]


def test_a_piece_drawn_twice_is_one_edge_with_the_directions_of_both() -> None:
    network, report = build(["0 0, 4 1, 9 0", "9 0, 4 1, 0 0", "0 0, 4 2, 9 0"], oneway=[FORWARD, FORWARD, TWO_WAY])
    assert report.duplicate.tolist() == [1]
    assert network.road.tolist() == [0, 0, 2]
    assert network.forward.tolist() == network.backward.tolist() == [True, True, True]


def test_the_same_line_on_a_bridge_is_not_a_repetition() -> None:
    network, report = build(["0 0, 9 0", "0 0, 9 0"], layer=[0, 1])
    assert (len(network), len(report.duplicate)) == (2, 0)


def test_a_road_without_extent_is_left_out_and_reported() -> None:
    network, report = build(["3 3, 3 3", "0 0, 0 0, 9 0, 9 0"])
    assert report.zero_length.tolist() == [0]
    assert network.length_m.tolist() == [9.0]


def test_a_line_that_crosses_itself_is_reported_and_one_that_meets_itself_is_noded() -> None:
    crossing, report = build(["0 0, 10 10, 10 0, 0 10"])
    meeting, quiet = build(["0 0, 5 5, 10 10, 10 0, 5 5, 0 10"])
    assert (len(crossing), report.self_crossing.tolist()) == (1, [0])
    assert (len(meeting), quiet.self_crossing.tolist()) == (3, [])


def test_a_closed_line_is_an_edge_from_its_end_to_its_end() -> None:
    network, report = build(["0 0, 9 0, 9 9, 0 0"])
    assert network.tail.tolist() == network.head.tolist()
    assert len(report.dead_end) == 0


def test_an_empty_network() -> None:
    network, report = build([])
    assert len(network) == len(network.node_xy) == len(report.component_length_m) == 0


def test_components_come_with_the_longest_first() -> None:
    network, report = build(["0 0, 1 0", "50 0, 90 0", "90 0, 95 0"])
    assert report.component_length_m.tolist() == [45.0, 1.0]
    assert report.component[network.tail].tolist() == [1, 0, 0]


def test_dead_ends_at_a_border_are_those_that_stop_short_of_it() -> None:
    border = shapely.from_wkt("LINESTRING (10 -99, 10 99)")
    network, report = build(["0 0, 8 0", "0 5, 12 5", "0 9, 2 9", "0 20, 8 20"],
                          road_class=[0, 0, 0, PATH])  # fmt: skip
    nodes = find_dead_ends_at(network, report, border, 3.0)
    assert network.node_xy[nodes].tolist() == [[8.0, 0.0]]


@pytest.mark.parametrize(
    "change",
    [{"oneway": [4]}, {"road_class": [8]}, {"layer": [0, 0]}, {"snap_m": -1.0}, {"snap_m": np.nan}],
)
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    columns: dict[str, object] = {"oneway": [0], "layer": [0], "road_class": [0], "group": [0]}
    with pytest.raises(ValueError):
        build_network(shapely.from_wkt(["LINESTRING (0 0, 1 1)"]), **{**columns, **change})  # type: ignore[arg-type]  # wrong on purpose


def test_only_lines_are_accepted() -> None:
    endless = shapely.LineString([(0, 0), (np.inf, 1)])
    for shape in (shapely.Point(0, 0), shapely.MultiLineString([[(0, 0), (1, 1)]]), endless):
        with pytest.raises(ValueError):
            build_network(np.array([shape]), oneway=[0], layer=[0], road_class=[0], group=[0])


def test_ends_are_snapped_to_ends_and_to_lines_of_their_layer() -> None:
    lines = ["0 0, 9.7 0", "10 0, 20 0", "5 8, 5 0.3", "15 8, 15 0.2"]
    loose, _ = build(lines)
    assert not joined(loose, (0, 0), (20, 0))
    network, report = build(lines, layer=[0, 0, 0, 1], snap_m=0.5)
    assert report.snapped_count == 2
    assert joined(network, (0, 0), (20, 0))
    assert joined(network, (5, 8), (0, 0))
    assert not joined(network, (15, 8), (0, 0))


def test_snapping_reports_what_it_leaves_without_extent() -> None:
    _, report = build(["0 0, 9 0", "9 0, 9.1 0"], snap_m=0.5)
    assert report.zero_length.tolist() == [1]


lattice = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=6)
streets = st.lists(st.tuples(lattice, st.integers(0, 3), st.integers(-1, 1), st.integers(0, 7)), max_size=9)
Streets = list[tuple[list[tuple[int, int]], int, int, int]]


def build_drawn(drawn: Streets) -> tuple[NodedNetwork, NetworkReport]:
    return build_network(
        np.array([shapely.LineString(xy) for xy, *_ in drawn], dtype=object),
        oneway=[rule for _, rule, _, _ in drawn],
        layer=[layer for _, _, layer, _ in drawn],
        road_class=[kind for *_, kind in drawn],
        group=range(len(drawn)),
    )


def ways(network: NodedNetwork) -> set[tuple[object, ...]]:
    """Return every directed way: places, shape and layer, however the edge was drawn."""
    directions: set[tuple[object, ...]] = set()
    for row in range(len(network)):
        xy = tuple(map(tuple, shapely.get_coordinates(network.line[row]).tolist()))
        layer = int(network.layer[row])
        assert xy[0] == tuple(network.node_xy[network.tail[row]])
        assert xy[-1] == tuple(network.node_xy[network.head[row]])
        if network.forward[row]:
            directions.add((layer, xy))
        if network.backward[row]:
            directions.add((layer, xy[::-1]))
        directions.add((layer, min(xy, xy[::-1]), "there"))
    return directions


@given(streets, st.randoms(use_true_random=False))
@settings(max_examples=120)
def test_order_and_direction_of_drawing_change_nothing(drawn: Streets, random: object) -> None:
    turned = [
        (xy[::-1], int(TURNED[rule]), layer, kind) if (len(xy) + rule) % 2 else (xy, rule, layer, kind)
        for xy, rule, layer, kind in drawn
    ]  # fmt: skip
    random.shuffle(turned)  # type: ignore[attr-defined]  # Hypothesis's Random
    assert ways(build_drawn(drawn)[0]) == ways(build_drawn(turned)[0])


@given(streets)
@settings(max_examples=120)
def test_every_metre_is_retained_once_and_nodes_are_distinct(drawn: Streets) -> None:
    network, report = build_drawn(drawn)
    assert len({tuple(xy) for xy in network.node_xy.tolist()}) <= len(network.node_xy)
    if not len(report.duplicate):
        total = sum(shapely.LineString(xy).length for xy, *_ in drawn)
        assert network.length_m.sum() == pytest.approx(total)
    assert np.all(network.length_m > 0)
    assert np.array_equal(network.length_m, shapely.length(network.line))


@given(streets)
@settings(max_examples=120)
def test_components_and_degrees_equal_networkx(drawn: Streets) -> None:
    network, report = build_drawn(drawn)
    graph = nx.MultiGraph(zip(network.tail.tolist(), network.head.tolist(), strict=True))
    mine = {
        frozenset(np.flatnonzero(report.component == number).tolist())
        for number in range(len(report.component_length_m))
    }
    assert mine == {frozenset(nodes) for nodes in nx.connected_components(graph)}
    assert {node: int(report.degree[node]) for node in graph} == dict(graph.degree())


@given(streets)
@settings(max_examples=80)
def test_junctions_equal_the_rule_read_aloud(drawn: Streets) -> None:
    """Brute force of the joining rule, place by place, in plain Python."""
    network, _ = build_drawn(drawn)
    nodes = {
        (tuple(network.node_xy[node]), int(network.layer[edge])): int(node)
        for edge in range(len(network))
        for node in (network.tail[edge], network.head[edge])
    }
    visits: dict[tuple[float, float], dict[int, list[bool]]] = {}
    for xy, _, layer, _ in drawn:
        run = [vertex for index, vertex in enumerate(xy) if index == 0 or vertex != xy[index - 1]]
        if len(run) < 2:
            continue
        for index, vertex in enumerate(run):
            of = visits.setdefault((float(vertex[0]), float(vertex[1])), {}).setdefault(layer, [])
            of.append(index in {0, len(run) - 1})
    for point, layers in visits.items():
        ending = sorted(layer for layer, ends in layers.items() if any(ends))
        alike = {layer: layer for layer in layers}
        if len(ending) > 1:
            alike |= dict.fromkeys(ending, ending[0])
        elif len(ending) == 1 and len(layers) > 1 and len(layers[ending[0]]) == 1:
            others = sorted(layer for layer in layers if layer != ending[0])
            alike[ending[0]] = min(others, key=lambda level: abs(level - ending[0]))
        for a in layers:
            for b in layers:
                if (point, a) in nodes and (point, b) in nodes:
                    assert (nodes[point, a] == nodes[point, b]) == (alike[a] == alike[b])
            if any(layers[a]) or len(layers[a]) > 1:
                assert (point, a) in nodes
