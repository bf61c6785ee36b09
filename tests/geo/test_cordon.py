"""Cordons against brute force on small graphs: every answer is found again by trying everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.geo.cuts.cordon import UNGUARDABLE, Arcs, Cordon, build_empty_guards, build_guards
from tests.geo.cordons import Case, cases, closed, walk

EITHER = st.one_of(closed(), cases())


def cordon_of(case: Case) -> Cordon:
    return Cordon.from_arcs(case.arcs, case.sources, case.sinks)


def arcs_of(n: int, ends: list[tuple[int, int]], watched: dict[int, list[int]]) -> Arcs:
    pairs = [(arc, group) for arc, groups in watched.items() for group in groups]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    columns = np.array(ends, np.int64).reshape(-1, 2)
    return Arcs(
        n,
        columns[:, 0],
        columns[:, 1],
        np.arange(len(ends)),
        np.full(len(ends), 10.0),
        *build_guards(len(ends), table[:, 0], table[:, 1]),
    )


@settings(max_examples=100, deadline=None)
@given(cases())
def test_sealed_and_the_shortest_leak_are_those_of_trying_everything(case: Case) -> None:
    cordon = cordon_of(case)
    length = case.leak_m()
    assert cordon.sealed == (length is None)
    if cordon.leak is None:
        assert length is None
    else:
        walk(case, cordon.leak)
        assert cordon.leak.length_m == length


@settings(max_examples=100, deadline=None)
@given(EITHER)
def test_depth_is_the_least_number_of_groups_whose_failure_makes_a_leak(case: Case) -> None:
    depth = cordon_of(case).compute_depth()
    expected = case.depth()
    if depth is None:
        assert expected is None
        return
    assert depth.exact
    assert depth.at_most == expected
    assert depth.route is not None
    walk(case, depth.route, set(depth.route.groups))
    assert len(depth.route.groups) == expected


@settings(max_examples=100, deadline=None)
@given(EITHER, st.integers(0, 12))
def test_a_depth_cut_short_still_bounds_the_true_one(case: Case, work: int) -> None:
    depth = cordon_of(case).compute_depth(work)
    expected = case.depth()
    if depth is None or expected is None:
        assert depth is None
        assert expected is None
        return
    assert depth.at_least <= expected <= depth.at_most
    assert depth.guards_met is not None
    assert depth.guards_met >= expected


@settings(max_examples=150, deadline=None)
@given(EITHER)
def test_critical_groups_and_their_leaks_are_those_of_failing_each_in_turn(case: Case) -> None:
    cordon = cordon_of(case)
    expected = case.opening(1) if case.leak_m() is None else {}
    assert {(group,) for group in cordon.critical} == set(expected)
    failures = cordon.find_failures()
    assert {failure.groups: failure.leak.length_m for failure in failures} == expected
    assert [failure.leak.length_m for failure in failures] == sorted(expected.values())
    for failure in failures:
        walk(case, failure.leak, set(failure.groups))


@settings(max_examples=150, deadline=None)
@given(EITHER, st.integers(1, 4))
def test_pairs_are_those_of_failing_every_two(case: Case, max_count: int) -> None:
    expected = case.opening(2) if case.leak_m() is None else {}
    pairs = cordon_of(case).find_pairs(max_count)
    assert pairs.complete
    assert pairs.count_exact
    assert pairs.count == len(expected)
    assert [pair.leak.length_m for pair in pairs.ranked] == sorted(expected.values())[:max_count]
    for pair in pairs.ranked:
        assert expected[pair.groups] == pair.leak.length_m
        walk(case, pair.leak, set(pair.groups))


@settings(max_examples=100, deadline=None)
@given(EITHER, st.integers(0, 3), st.integers(0, 2))
def test_pairs_cut_short_are_true_and_say_that_there_may_be_more(case: Case, work: int, rows: int) -> None:
    expected = case.opening(2) if case.leak_m() is None else {}
    pairs = cordon_of(case).find_pairs(3, work, rows)
    assert all(expected[pair.groups] == pair.leak.length_m for pair in pairs.ranked)
    assert pairs.count <= len(expected)
    assert pairs.count == len(expected) or not pairs.count_exact
    complete = [pair.leak.length_m for pair in pairs.ranked] == sorted(expected.values())[:3]
    assert complete or not pairs.complete


@settings(max_examples=150, deadline=None)
@given(cases(nodes=12, edges=9, watched=0.3), st.data())
def test_the_sealing_plan_costs_the_least_of_all_that_seal(case: Case, data: st.DataObject) -> None:
    k = len(case.arcs)
    cost = data.draw(st.lists(st.sampled_from([1, 1, 2, 5, UNGUARDABLE]), min_size=k, max_size=k))
    cordon = cordon_of(case)
    plan = cordon.plan_sealing(cost)
    expected = case.cheapest(cost)
    assert plan.possible == (expected is not None)
    if expected is None:
        assert plan.unguardable is not None
        walk(case, plan.unguardable)
        assert all(cost[arc] < 0 for arc in plan.unguardable.arcs.tolist())
        return
    assert plan.cost == plan.flow == expected == sum(cost[arc] for arc in plan.arcs.tolist())
    assert plan.sealed_after
    assert plan.proven
    assert cordon.is_sealed_by(plan.arcs)
    # The same said by the graph itself: with those arcs guarded the cordon is sealed.
    watched = [(arc, group) for arc in range(k) for group in case.guards(arc)]
    watched += [(arc, 99) for arc in plan.arcs.tolist()]
    table = np.array(watched, np.int64).reshape(-1, 2)
    assert cordon.with_guards(*build_guards(k, table[:, 0], table[:, 1])).sealed


@settings(max_examples=100, deadline=None)
@given(cases(nodes=12, edges=12, watched=0.2), st.integers(1, 4))
def test_disjoint_leaks_are_the_shortest_set_of_their_number(case: Case, max_count: int) -> None:
    leaks = cordon_of(case).find_leaks(max_count)
    for route in leaks:
        walk(case, route)
    edges = [edge for route in leaks for edge in case.arcs.edge[route.arcs].tolist()]
    assert len(edges) == len(set(edges))
    assert [route.length_m for route in leaks] == sorted(route.length_m for route in leaks)
    number, total = _best_disjoint(case, max_count)
    assert len(leaks) == number
    assert sum(route.length_m for route in leaks) == pytest.approx(total)


def _best_disjoint(case: Case, max_count: int) -> tuple[int, float]:
    """The greatest number of ways up to `most` without a common edge, and their least total length."""
    ways = [
        (float(case.arcs.length_m[path].sum()), frozenset(case.arcs.edge[path].tolist())) for path in case.simple_ways()
    ]
    best: dict[int, float] = {0: 0.0}

    def on(first: int, taken: frozenset[int], number: int, total: float) -> None:
        best[number] = min(total, best.get(number, np.inf))
        if number == max_count:
            return
        for index in range(first, len(ways)):
            length, edges = ways[index]
            if not edges & taken:
                on(index + 1, taken | edges, number + 1, total + length)

    on(0, frozenset(), 0, 0.0)
    return max(best), best[max(best)]


@settings(max_examples=100, deadline=None)
@given(cases())
def test_other_guards_give_the_same_as_a_new_graph(case: Case) -> None:
    bare = Arcs(
        case.arcs.n,
        case.arcs.tail,
        case.arcs.head,
        case.arcs.edge,
        case.arcs.length_m,
        *build_empty_guards(len(case.arcs)),
    )
    prepared = Cordon.from_arcs(bare, case.sources, case.sinks)
    prepared = prepared.with_guards(case.arcs.guard_start, case.arcs.guard_group)
    rebuilt = cordon_of(case)
    assert (prepared.sealed, prepared.critical) == (rebuilt.sealed, rebuilt.critical)
    assert (prepared.leak is None) == (rebuilt.leak is None)


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(0, 4))
def test_one_more_working_group_never_opens_anything(case: Case, group: int) -> None:
    before, k = cordon_of(case), len(case.arcs)
    pairs = [(arc, own_group) for arc in range(k) for own_group in case.guards(arc)] + [(0, 50 + group)]
    table = np.array(pairs, np.int64)
    after = before.with_guards(*build_guards(k, table[:, 0], table[:, 1]))
    assert after.sealed >= before.sealed
    depth_before, depth_after = before.compute_depth(), after.compute_depth()
    assert (depth_before is None) == (depth_after is None)
    if depth_before is not None and depth_after is not None:
        assert depth_after.at_most >= depth_before.at_most


def test_a_group_with_gates_one_behind_the_other_counts_once() -> None:
    # 0 -> 1 -> 2 -> 3, all watched by one pole: three gates, one failure.
    arcs = arcs_of(4, [(0, 1), (1, 2), (2, 3)], {0: [5], 1: [5], 2: [5]})
    cordon = Cordon.from_arcs(arcs, [0], [3])
    depth = cordon.compute_depth()
    assert depth is not None
    assert (depth.at_most, depth.guards_met) == (1, 3)
    assert cordon.critical == (5,)
    assert cordon.find_failures()[0].leak.arcs.tolist() == [0, 1, 2]


def test_which_group_failed_matters_where_it_guards_again_further_in() -> None:
    # Three belts. Groups 1 and 2 open the first alike, but 2 guards the last as well, 1 does not.
    arcs = arcs_of(4, [(0, 1), (0, 1), (1, 2), (2, 3)], {0: [1], 1: [2], 2: [3], 3: [2]})
    depth = Cordon.from_arcs(arcs, [0], [3]).compute_depth()
    assert depth is not None
    assert (depth.at_most, depth.route and depth.route.groups) == (2, (2, 3))


def test_an_arc_with_two_groups_opens_when_both_fail() -> None:
    arcs = arcs_of(2, [(0, 1)], {0: [3, 8]})
    cordon = Cordon.from_arcs(arcs, [0], [1])
    depth = cordon.compute_depth()
    assert depth is not None
    assert depth.at_most == 2
    assert cordon.critical == ()
    pairs = cordon.find_pairs(5)
    assert [pair.groups for pair in pairs.ranked] == [(3, 8)]


def test_a_group_twice_on_the_shortest_way_is_found_where_once_is_longer() -> None:
    # Through gates 0 and 2 of group 1 it is 30 m; through gate 3 alone it is 100 m.
    ends = [(0, 1), (1, 2), (2, 3), (0, 3)]
    arcs = arcs_of(4, ends, {0: [1], 2: [1], 3: [1]})
    arcs.length_m[3] = 100.0
    (opening,) = Cordon.from_arcs(arcs, [0], [3]).find_failures()
    assert (opening.leak.length_m, opening.leak.arcs.tolist()) == (30.0, [0, 1, 2])


def test_a_graph_with_more_nodes_than_fit_in_32_bits_when_squared() -> None:
    n = 60_000  # one long street, driven from its last node to its first
    arcs = Arcs(
        n,
        np.arange(1, n),
        np.arange(n - 1),
        np.arange(n - 1),
        np.ones(n - 1),
        *build_guards(n - 1, np.array([n // 2]), np.array([4])),
    )
    cordon = Cordon.from_arcs(arcs, [n - 1], [0])
    assert cordon.critical == (4,)
    (opening,) = cordon.find_failures()
    assert opening.leak.arcs.tolist() == list(range(n - 2, -1, -1))
    bare = cordon.with_guards(*build_empty_guards(n - 1))
    assert bare.leak is not None
    assert bare.leak.arcs.tolist() == list(range(n - 2, -1, -1))
    assert [route.length_m for route in bare.find_leaks(2)] == [n - 1.0]


def test_nothing_leads_in() -> None:
    arcs = arcs_of(4, [(0, 1), (2, 3)], {})
    cordon = Cordon.from_arcs(arcs, [0], [3])
    assert (cordon.connected, cordon.sealed, cordon.leak, cordon.compute_depth()) == (
        False,
        True,
        None,
        None,
    )
    assert cordon.critical == ()
    assert cordon.find_leaks(3) == []
    assert cordon.find_pairs(3).count == 0
    assert cordon.plan_sealing([1, 1]).proven


def test_no_arcs_at_all() -> None:
    cordon = Cordon.from_arcs(arcs_of(2, [], {}), [0], [1])
    assert (cordon.connected, cordon.sealed, cordon.compute_depth()) == (False, True, None)
    assert cordon.plan_sealing([]).arcs.tolist() == []


def test_one_side_is_empty() -> None:
    cordon = Cordon.from_arcs(arcs_of(2, [(0, 1)], {}), [0], [])
    assert not cordon.connected
    assert cordon.sealed


@pytest.mark.parametrize(
    ("sources", "sinks", "message"),
    [
        ([0, 1], [1], "a source and a sink"),
        ([-1], [1], "does not exist"),
        ([0], [9], "does not exist"),
    ],
)
def test_sides_that_cannot_be(sources: list[int], sinks: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cordon.from_arcs(arcs_of(2, [(0, 1)], {}), sources, sinks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": [5]}, "does not exist"),
        ({"length_m": [-1.0]}, "negative or not finite"),
        ({"length_m": [np.nan]}, "negative or not finite"),
        ({"edge": [0, 1]}, "unequal"),
        ({"guard_start": [0, 1]}, "do not belong"),
        ({"guard_start": [0]}, "do not belong"),
    ],
)
def test_columns_that_cannot_be(change: dict[str, list[float]], message: str) -> None:
    columns: dict[str, list[float]] = {
        "tail": [0],
        "head": [1],
        "edge": [0],
        "length_m": [1.0],
        "guard_start": [0, 0],
        "guard_group": [],
    }
    columns |= change
    whole = {name: np.array(value, np.int64) for name, value in columns.items() if name != "length_m"}
    with pytest.raises(ValueError, match=message):
        Arcs(
            2,
            whole["tail"],
            whole["head"],
            whole["edge"],
            np.array(columns["length_m"]),
            whole["guard_start"],
            whole["guard_group"],
        )


@pytest.mark.parametrize(
    ("cost", "message"),
    [([0], "1 or more"), ([1, 1], "needs one cost"), ([2**30], "add up to")],
)
def test_costs_that_cannot_be(cost: list[int], message: str) -> None:
    cordon = Cordon.from_arcs(arcs_of(2, [(0, 1)], {}), [0], [1])
    with pytest.raises(ValueError, match=message):
        cordon.plan_sealing(cost)


def test_the_plan_is_the_one_nearest_to_the_source_from_whichever_side_it_is_sought() -> None:
    # Two streets into two junctions, one on from each, and one out: 1 and 2 of them cut alike. More
    # could enter than leave in the first, less in the second.
    narrow = [(0, 1), (0, 1), (0, 2), (0, 2), (1, 3), (2, 3), (3, 4), (3, 4)]
    wide = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (3, 4), (3, 4)]
    for ends, cut in ((narrow, [4, 5]), (wide, [0, 1])):
        plan = Cordon.from_arcs(arcs_of(5, ends, {}), [0], [4]).plan_sealing(np.ones(len(ends), np.int64))
        assert plan.proven
        assert plan.arcs.tolist() == cut


@settings(max_examples=100, deadline=None)
@given(st.one_of(closed(), cases(edges=14)))
def test_the_least_number_of_guards_met_is_that_of_driving_every_way(case: Case) -> None:
    cordon = cordon_of(case)
    met = [sum(len(case.guards(arc)) for arc in path) for path in case.simple_ways(free=False)]
    assert cordon.min_guards_met == min(met, default=None)
    depth = cordon.compute_depth()
    assert (None if depth is None else depth.guards_met) == cordon.min_guards_met
