"""Crossings: the hard cases one by one, laws of drawing, and brute force as the second opinion."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from app.geo.rings.ring_partition import STUB_M, Pieces, RingBand, RingSide, compute_band_m, cut_network
from app.geo.roads.chains import Chains, build_chains
from app.geo.roads.crossings import MERGE_M, Crossings, find_crossings, name_crossings
from app.geo.roads.map_matching import APPROACH_M, build_approaches, compute_inward_deg
from app.geo.roads.network import BACKWARD, FORWARD, PATH, TWO_WAY, NodedNetwork, build_network, find_dead_ends_at

BAND_M = 5.0
SQUARE = shapely.box(0, 0, 1000, 1000)
TURNED = np.array([TWO_WAY, BACKWARD, FORWARD, 3])
Line = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Road:
    """A line to be crossed with."""

    xy: Line
    group: int = 0
    oneway: int = TWO_WAY
    layer: int = 0
    road_class: int = 0

    def reversed(self) -> "Road":
        return Road(self.xy[::-1], self.group, int(TURNED[self.oneway]), self.layer, self.road_class)


@dataclass(frozen=True)
class Seen:
    network: NodedNetwork
    pieces: Pieces
    side: RingSide
    crossed: Crossings
    chains: Chains


def look(roads: Sequence[Road], ring: BaseGeometry = SQUARE, band: float = BAND_M) -> Seen:
    """Return what one ring sees of some roads."""
    assert isinstance(ring, shapely.Polygon | shapely.MultiPolygon)
    network, _ = build_network(
        np.array([shapely.LineString(road.xy) for road in roads], dtype=object),
        oneway=[road.oneway for road in roads],
        layer=[road.layer for road in roads],
        road_class=[road.road_class for road in roads],
        group=[road.group for road in roads],
    )
    ring_band = RingBand(ring, band)
    pieces, (side,) = cut_network(network, [ring_band], shapely.STRtree(network.line))
    crossed = find_crossings(network, pieces, side, ring_band)
    return Seen(network, pieces, side, crossed, build_chains(pieces, [side]))


def list_crossings(seen: Seen) -> list[tuple[int, tuple[float, ...], bool, bool]]:
    """Return group, place and directions of every crossing."""
    crossings = seen.crossed
    return sorted(
        (int(group), tuple(xy.round(3).tolist()), bool(inbound), bool(outbound))
        for group, xy, inbound, outbound in zip(
            crossings.group, crossings.xy, crossings.inbound, crossings.outbound, strict=True
        )
    )


IN_AND_OUT = (True, True)


def test_a_road_through_the_line_is_one_crossing_where_it_meets_it() -> None:
    seen = look([Road([(300, -200), (400, 200)])])
    assert list_crossings(seen) == [(0, (350.0, 0.0), *IN_AND_OUT)]
    bearing = compute_inward_deg(seen.network, seen.pieces, seen.crossed, seen.side.inside)
    assert bearing == pytest.approx([np.degrees(np.arctan2(100, 400))])


def test_a_road_along_the_line_that_comes_back_is_none() -> None:
    inside = [(100, 200), (100, 1), (500, -1), (900, 1), (900, 200)]
    outside = [(100, -200), (100, 1), (500, -1), (900, 1), (900, -200)]
    assert list_crossings(look([Road(inside)])) == []
    assert list_crossings(look([Road(outside)])) == []


def test_a_road_along_the_line_that_changes_side_is_one() -> None:
    seen = look([Road([(100, -200), (100, 1), (300, -1), (500, 1), (700, -2), (900, 200)])])
    assert len(seen.crossed) == 1
    assert seen.crossed.xy[0].tolist() == [100.0, 0.0]  # where it comes from outside


def test_touching_is_none() -> None:
    assert list_crossings(look([Road([(300, -200), (400, 0), (500, -200)])])) == []
    assert list_crossings(look([Road([(300, 200), (400, 0), (500, 200)])])) == []
    assert list_crossings(look([Road([(-100, 100), (0, 0), (100, -100)])])) == []


def test_weaving_is_one_and_its_net_change_decides() -> None:
    weave = [(400, -200), (400, 8), (403, -9), (406, 8), (409, 200)]
    assert len(look([Road(weave)]).crossed) == 1
    back = [(400, -200), (400, 8), (403, -9), (406, 8), (409, -200)]
    assert list_crossings(look([Road(back)])) == []
    forth = [(400, 200), (400, -9), (406, 200)]
    assert list_crossings(look([Road(forth)])) == []


def test_a_dip_that_leads_on_is_a_crossing() -> None:
    """Out-in-out within a few metres is nothing, unless one can turn off inside."""
    dip = Road([(400, -200), (400, 8), (406, -200)])
    lane = Road([(400, 8), (400, 200)], group=1)
    assert list_crossings(look([dip])) == []
    # Inside lies a few metres of the road itself, so it is this road that crosses.
    ((group, xy, *ways),) = list_crossings(look([dip, lane]))
    assert (group, *ways) == (0, *IN_AND_OUT)
    assert xy == pytest.approx((400.1, 0.0), abs=0.1)


def test_leaving_for_long_and_coming_back_is_two() -> None:
    seen = look([Road([(200, 200), (200, -300), (700, -300), (700, 200)])])
    assert [xy for _, xy, *_ in list_crossings(seen)] == [(200.0, 0.0), (700.0, 0.0)]
    # Nothing joins it outside, and still a vehicle may appear there.
    assert len(seen.chains) == 2


def test_the_same_road_twice_is_two_and_two_roads_in_one_place_are_two() -> None:
    twice = Road([(200, -200), (200, 200), (500, 200), (500, -200)])
    assert len(look([twice]).crossed) == 2
    near_roads = [Road([(x, -200), (x, 200)], group=x) for x in (500, 512)]
    assert len(look(near_roads).crossed) == 2


def test_a_divided_road_with_its_slip_road_is_one() -> None:
    seen = look(
        [
            Road([(500, -200), (500, 200)], oneway=FORWARD),
            Road([(528, 200), (528, -200)], oneway=FORWARD),
            Road([(560, -200), (570, 200)], oneway=FORWARD),
        ]
    )
    assert list_crossings(seen) == [(0, ((500 + 528 + 565) / 3, 0.0), *IN_AND_OUT)]
    assert len(seen.crossed.piece) == 3
    assert seen.crossed.passage_inbound.sum() == 2
    assert seen.crossed.passage_outbound.sum() == 1


def test_one_way_roads_are_passed_one_way() -> None:
    xy: Line = [(300, -200), (300, 200)]
    assert list_crossings(look([Road(xy, oneway=FORWARD)])) == [(0, (300.0, 0.0), True, False)]
    assert list_crossings(look([Road(xy, oneway=BACKWARD)])) == [(0, (300.0, 0.0), False, True)]
    # Two one-way streets that meet head on at the line let nobody through.
    facing = [Road([(300, -200), (300, 0)], oneway=FORWARD),
              Road([(300, 200), (300, 0)], oneway=FORWARD)]  # fmt: skip
    assert list_crossings(look(facing)) == []


def test_bridges_and_tunnels_cross() -> None:
    bridge = look([Road([(300, -200), (300, 200)], layer=1)])
    tunnel = look([Road([(300, -200), (300, 200)], layer=-1)])
    assert (bridge.crossed.highest_layer[0], tunnel.crossed.lowest_layer[0]) == (1, -1)


def test_a_path_is_for_walkers() -> None:
    assert list_crossings(look([Road([(300, -200), (300, 200)], road_class=PATH)])) == []


def test_a_road_that_ends_on_the_line_crosses_when_another_leads_on() -> None:
    outer, inner = Road([(300, -200), (300, 0)], group=1), Road([(300, 0), (300, 200)], group=2)
    assert list_crossings(look([outer])) == []
    assert list_crossings(look([inner])) == []
    assert [group for group, *_ in list_crossings(look([outer, inner]))] == [1]
    distant = Road([(300.5, 0), (300.5, 200)], group=2)
    assert list_crossings(look([outer, distant])) == []


def test_a_road_that_ends_a_little_beyond_is_reported_as_a_dead_end() -> None:
    seen = look([Road([(300, 200), (300, -20)])])
    assert list_crossings(seen) == []
    _, report = build_network(seen.network.line, oneway=[0], layer=[0], road_class=[0], group=[0])
    assert len(find_dead_ends_at(seen.network, report, SQUARE.boundary, 5.0)) == 0
    short = look([Road([(300, 200), (300, 3)])])
    ends = find_dead_ends_at(short.network, report, SQUARE.boundary, 5.0)
    assert short.network.node_xy[ends].tolist() == [[300.0, 3.0]]


def test_a_side_road_that_joins_on_the_line_does_not_cross() -> None:
    through = [Road([(300, -200), (300, 0)], group=1), Road([(300, 0), (300, 200)], group=1)]
    side = Road([(500, -200), (300, 0)], group=2)
    assert [group for group, *_ in list_crossings(look([*through, side]))] == [1]


def test_a_ring_road_on_the_line_is_passed_where_fewer_roads_leave_it() -> None:
    xs = (0, 200, 300, 500, 800, 1000)
    ring = Road([(0, 500), *((x, 0) for x in xs), (1000, 500)], group=9)
    inner = [Road([(x, 0), (x, 300)], group=x) for x in (200, 500, 800)]
    outer = [Road([(x, 0), (x, -300)], group=x + 1) for x in (200, 300, 500, 800)]
    assert [group for group, *_ in list_crossings(look([ring, *inner, outer[0]]))] == [201]
    assert [group for group, *_ in list_crossings(look([ring, *inner, *outer]))] == [200, 500, 800]


def test_a_border_two_rings_share_is_crossed_twice() -> None:
    wide = shapely.box(-500, 0, 1500, 2000)
    network, _ = build_network(
        np.array([shapely.LineString([(300, -200), (300, 200)])]),
        oneway=[0], layer=[0], road_class=[0], group=[0],
    )  # fmt: skip
    rings = [RingBand(wide, 5.0), RingBand(SQUARE, 10.0)]
    pieces, sides = cut_network(network, rings, shapely.STRtree(network.line))
    both = [find_crossings(network, pieces, side, ring) for side, ring in zip(sides, rings, strict=True)]
    assert [crossings.xy.tolist() for crossings in both] == [[[300.0, 0.0]]] * 2
    # Both stand on the same chain, so one guard is one guard.
    of = build_chains(pieces, sides).chain_of
    assert of[both[0].piece].tolist() == of[both[1].piece].tolist()


def test_holes_and_parts_of_a_ring_have_lines_too() -> None:
    holed = SQUARE.difference(shapely.box(400, 400, 600, 600))
    parts = shapely.union_all([holed, shapely.box(2000, 0, 2500, 1000)])
    seen = look([Road([(-200, 500), (2200, 500)])], parts)
    assert [xy[0] for _, xy, *_ in list_crossings(seen)] == [0.0, 400.0, 600.0, 1000.0, 2000.0]


def test_approaches_end_at_junctions_and_reach_no_farther_than_they_say() -> None:
    long = look([Road([(300, -900), (300, 900)])])
    (area,) = build_approaches(long.network, long.pieces, long.chains, long.crossed)
    assert area.bounds == pytest.approx((298, -APPROACH_M - BAND_M, 302, APPROACH_M - BAND_M))
    short = look([Road([(300, -900), (300, -40), (300, 900)]), Road([(300, -40), (0, -40)], 1)])
    (area,) = build_approaches(short.network, short.pieces, short.chains, short.crossed)
    assert area.bounds[1] == pytest.approx(-40)


def test_names_stay_when_nothing_near_changed() -> None:
    lonlat = np.array([[113.2, 35.2], [113.21, 35.2]])
    roads = np.array(["G327", "G327"], dtype=object)
    first, second = name_crossings("core", roads, lonlat)
    assert name_crossings("core", roads[:1], lonlat[:1] + 1e-6) == [first]
    assert name_crossings("core", roads[1:], lonlat[1:]) == [second]
    assert name_crossings("urban", roads[:1], lonlat[:1]) != [first]
    assert len(set(name_crossings("core", roads, lonlat[[0, 0]]))) == 2


def test_the_band_is_the_tolerance_within_limits() -> None:
    assert [compute_band_m(value) for value in (0.0, 5.0, 900.0)] == [0.5, 5.0, 25.0]


# Laws: streets on a wide lattice, so that they meet; a ring that no lattice line is parallel to.
RING = shapely.Polygon([(-30, 110), (130, -60), (500, 40), (560, 330), (300, 570), (40, 420)])
lattice = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=6)
streets = st.lists(
    st.tuples(lattice, st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 0, 0, 1])),
    min_size=1,
    max_size=9,
)
Streets = list[tuple[list[tuple[int, int]], int, int, int]]


def build_roads(drawn: Streets) -> list[Road]:
    roads = [
        Road([(x * 90.0 - 10, y * 90.0 + 7) for x, y in xy], group, oneway, layer) for xy, oneway, group, layer in drawn
    ]
    return [road for road in roads if len(set(road.xy)) > 1]


@given(streets, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_order_and_direction_of_drawing_change_nothing(drawn: Streets, random: object) -> None:
    roads = build_roads(drawn)
    turned = [road.reversed() if (len(road.xy) + index) % 2 else road for index, road in enumerate(roads)]
    random.shuffle(turned)  # type: ignore[attr-defined]  # Hypothesis's Random
    assert list_crossings(look(roads, RING)) == list_crossings(look(turned, RING))


@given(streets, st.floats(0.05, 0.95))
@example([([(0, 0), (5, 0), (0, 0), (0, 1), (5, 0)], 0, 0, 0)], 0.5)
@settings(max_examples=50)
def test_splitting_roads_changes_nothing(drawn: Streets, share: float) -> None:
    roads, split = build_roads(drawn), []
    for road in roads:
        (ax, ay), (bx, by) = road.xy[0], road.xy[1]
        middle = (ax + (bx - ax) * share, ay + (by - ay) * share)
        first = Road([road.xy[0], middle], road.group, road.oneway, road.layer)
        second = Road([middle, *road.xy[1:]], road.group, road.oneway, road.layer)
        split += [first, second]
    assume(all(len(set(road.xy)) > 1 for road in split))
    # Where a split falls on another road it makes a junction of what only crossed.
    assume(_unmet(roads, split))
    assert list_crossings(look(roads, RING)) == list_crossings(look(split, RING))


def _unmet(roads: list[Road], split: list[Road]) -> bool:
    """Tell whether no split falls on another road, or on its own where that comes back to it."""
    lines = [shapely.LineString(road.xy) for road in roads]
    later = [shapely.LineString(road.xy[1:]) if len(road.xy) > 2 else None for road in roads]
    ends = [shapely.Point(split[row].xy[-1]) for row in range(0, len(split), 2)]
    return all(
        met is None or end.distance(met) > 1e-6
        for index, end in enumerate(ends)
        for met in (later[index], *(line for number, line in enumerate(lines) if number != index))
    )


@given(streets, st.floats(-5000, 5000), st.floats(0, 360))
@settings(max_examples=40)
def test_moving_and_turning_everything_moves_the_crossings(drawn: Streets, away: float, angle: float) -> None:
    def moved(shape: BaseGeometry) -> BaseGeometry:
        return affinity.translate(affinity.rotate(shape, angle, origin=(0, 0)), away, -away)

    roads = build_roads(drawn)
    original = look(roads, RING)
    transformed = look(
        [
            Road(
                [(x, y) for x, y, *_ in moved(shapely.LineString(road.xy)).coords],
                road.group, road.oneway, road.layer,
            )
            for road in roads
        ],
        moved(RING),
    )  # fmt: skip
    expected = [
        (group, np.array(moved(shapely.Point(xy)).coords[0]), ways) for group, xy, *ways in list_crossings(original)
    ]
    for group, xy, *ways in list_crossings(transformed):
        matches = [has for of, point, has in expected if of == group and np.hypot(*(point - np.array(xy))) < 0.01]
        assert matches == [ways]
    assert len(transformed.crossed) == len(expected)


@given(streets)
@settings(max_examples=50)
def test_every_way_through_leads_over_a_passage(drawn: Streets) -> None:
    seen = look(build_roads(drawn), RING)
    side, of = seen.side, seen.chains
    crossed_chains = set(of.chain_of[seen.crossed.piece].tolist())
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(seen.pieces.node_xy)))
    for row in range(len(of)):
        if row in crossed_chains:
            continue
        if of.forward[row]:
            graph.add_edge(int(of.tail[row]), int(of.head[row]))
        if of.backward[row]:
            graph.add_edge(int(of.head[row]), int(of.tail[row]))
    for inward in (True, False):
        starts = np.flatnonzero(~side.on_line & (side.inside != inward))
        goals = set(np.flatnonzero(~side.on_line & (side.inside == inward)).tolist())
        for start in starts.tolist():
            assert not goals & nx.descendants(graph, start)


@given(streets)
@settings(max_examples=40)
def test_chains_hold_every_drivable_metre_once_and_end_at_junctions(drawn: Streets) -> None:
    seen = look(build_roads(drawn), RING)
    pieces, of = seen.pieces, seen.chains
    assert len(set(of.piece.tolist())) == len(of.piece)
    for row in range(len(of)):
        walk = of.piece[of.start[row] : of.start[row + 1]].tolist()
        node = int(of.tail[row])
        for piece in walk:
            ends = [int(pieces.tail[piece]), int(pieces.head[piece])]
            if of.reversed_of[piece]:
                ends.reverse()
            assert ends[0] == node
            node = ends[1]
        assert node == of.head[row]
    left = np.flatnonzero(pieces.drivable & (of.chain_of < 0))
    inner = np.concatenate([pieces.tail[left], pieces.head[left]])
    assert not set(inner.tolist()) & {*of.tail.tolist(), *of.head.tolist()}


wander = st.lists(st.tuples(st.floats(-300, 700), st.floats(-300, 700)), min_size=2, max_size=7, unique=True)


@given(wander, st.sampled_from([2.0, 5.0, 20.0]))
@settings(max_examples=40)
def test_passages_of_a_single_road_equal_sampling_along_it(xy: Line, band: float) -> None:
    """Walk along the road in small steps: off the band long enough, how often does the side change?"""
    road = shapely.LineString(xy)
    assume(road.length > 1)
    step = 0.25
    distances = np.arange(0, road.length, step)
    points = shapely.line_interpolate_point(road, distances)
    away = shapely.distance(points, RING.boundary)
    # Where the road just grazes the edge of the band, sampling cannot tell.
    is_near = np.abs(away - band)
    turns = (np.diff(np.sign(np.diff(away))) != 0) & (is_near[1:-1] < 2 * step)
    assume(not turns.any())
    side = np.where(away <= band, 0, np.where(shapely.contains(RING, points), 1, -1))
    starts = np.flatnonzero(np.append(True, np.diff(side) != 0))
    lengths = np.diff(np.append(starts, len(side))) * step
    runs = list(zip(side[starts].tolist(), lengths.tolist(), strict=True))
    assume(all(abs(length - STUB_M) > 1 for of, length in runs if of))
    off = [of for of, length in runs if of and length > STUB_M]
    if len(runs) == 1 and runs[0][0]:
        off = [runs[0][0]]
    changes = sum(a != b for a, b in pairwise(off))
    assert len(look([Road(xy)], RING, band).crossed.piece) == changes


@given(st.floats(-200, 700), st.floats(-200, 700), st.floats(0, np.pi))
@settings(max_examples=50)
def test_places_of_a_straight_road_are_its_intersections(x: float, y: float, turn: float) -> None:
    reach = 2000 * np.array([np.cos(turn), np.sin(turn)])
    ends = [tuple((np.array([x, y]) + sign * reach).tolist()) for sign in (-1, 1)]
    road = shapely.LineString(ends)
    points = shapely.get_coordinates(road.intersection(RING.boundary))
    # A corner cut off, or met at a sharp angle, is on the line as far as the band goes.
    assume(len(points) == 2 and road.intersection(RING.buffer(-2 * BAND_M)).length > 2 * STUB_M)
    on_line = shapely.get_parts(road.intersection(RING.boundary.buffer(BAND_M)))
    assume(shapely.length(on_line).max() < MERGE_M)
    passages = look([Road(ends)], RING).crossed.passage_xy
    assert len(passages) == 2
    for passage in passages:
        assert np.hypot(*(points - passage).T).min() < 1e-6
