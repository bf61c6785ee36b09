"""Placement against trying everything, and against spopt with another solver."""

from itertools import combinations

import numpy as np
import pulp
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from spopt.locate import LSCP, MCLP

from app.geo.coverage.placement import build_site_coverage, solve_maximal_covering, solve_set_covering


@st.composite
def problems(draw: st.DrawFn) -> dict[str, np.ndarray]:
    n, m = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    flags = st.lists(st.sampled_from([0, 0, 1]), min_size=m, max_size=m)
    return {
        "covers": np.array(draw(st.lists(flags, min_size=n, max_size=n))),
        "cost": np.array(draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)), np.float64),
        "need": np.array(draw(st.lists(st.integers(0, 2), min_size=m, max_size=m))),
        "have": np.array(draw(st.lists(st.sampled_from([0, 0, 1, 2]), min_size=m, max_size=m))),
        "value": np.array(draw(st.lists(st.integers(0, 5), min_size=m, max_size=m)), np.float64),
    }  # fmt: skip


def choices(n: int) -> list[np.ndarray]:
    return [np.array(sites, np.int64) for size in range(n + 1) for sites in combinations(range(n), size)]


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_cheapest_sites_are_those_of_trying_all(problem: dict[str, np.ndarray]) -> None:
    covers, need, have = problem["covers"], problem["need"], problem["have"]
    placement = solve_set_covering(csr_array(covers), problem["cost"], need=need, have=have)
    able = have + covers.sum(axis=0)
    reachable = np.minimum(need, able)
    cheapest = min(
        problem["cost"][sites].sum()
        for sites in choices(len(covers))
        if (have + covers[sites].sum(axis=0) >= reachable).all()
    )
    assert placement.status in ("optimal", "nothing_to_do", "out_of_reach")
    if placement.status == "out_of_reach":
        assert len(placement.out_of_reach)
    assert placement.cost == cheapest == pytest.approx(placement.bound)
    assert placement.gap == 0
    assert (placement.covered >= reachable).all()
    assert placement.covered.tolist() == (have + covers[placement.sites].sum(axis=0)).tolist()
    assert placement.out_of_reach.tolist() == np.flatnonzero(able < need).tolist()


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 8))
def test_the_most_valuable_sites_are_those_of_trying_all(problem: dict[str, np.ndarray], budget: int) -> None:
    covers, need, have = problem["covers"], problem["need"], problem["have"]
    placement = solve_maximal_covering(
        csr_array(covers), problem["cost"], budget, need=need, have=have, value=problem["value"]
    )
    best = max(
        problem["value"][have + covers[sites].sum(axis=0) >= need].sum()
        for sites in choices(len(covers))
        if problem["cost"][sites].sum() <= budget
    )
    assert placement.value == best == pytest.approx(placement.bound)
    assert placement.gap == pytest.approx(0)
    assert placement.cost <= budget
    assert placement.status in ("optimal", "nothing_to_do", "out_of_reach")
    if placement.status == "out_of_reach":
        assert len(placement.out_of_reach)
    assert placement.value == problem["value"][placement.covered >= need].sum()


def scattered(seed: int, sites: int, points: int) -> tuple[np.ndarray, np.ndarray, csr_array]:
    dice = np.random.default_rng(seed)
    sites_xy, points_xy = dice.uniform(0, 1000, (sites, 2)), dice.uniform(0, 1000, (points, 2))
    return (
        sites_xy,
        points_xy,
        build_site_coverage(sites_xy, np.asarray(shapely.points(points_xy), dtype=object), 220.0),
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_as_spopt(seed: int) -> None:
    sites_xy, points_xy, covers = scattered(seed, 40, 60)
    distance = np.hypot(*(points_xy[:, np.newaxis] - sites_xy).transpose(2, 0, 1))
    assert ((distance <= 220) == covers.toarray().T).all()
    weight = np.random.default_rng(seed).integers(1, 9, len(points_xy)).astype(np.float64)
    solver = pulp.PULP_CBC_CMD(msg=False)
    reached = distance.min(axis=1) <= 220  # spopt knows no point out of reach
    theirs = LSCP.from_cost_matrix(distance[reached], 220.0).solve(solver)
    assert solve_set_covering(covers, np.ones(40)).cost == theirs.problem.objective.value()
    for p in (1, 3, 6):
        peer = MCLP.from_cost_matrix(distance, weight, 220.0, p_facilities=p).solve(solver)
        placement = solve_maximal_covering(covers, np.ones(40), p, value=weight)
        assert placement.value == peer.problem.objective.value()
        assert len(placement.sites) <= p


def test_a_bound_is_reported_when_time_is_up() -> None:
    dice = np.random.default_rng(4)
    covers = csr_array((dice.random((600, 900)) < 0.02).astype(np.int8))
    cost = dice.integers(5, 15, 600).astype(np.float64)
    placement = solve_set_covering(covers, cost, time_limit_s=0.2)
    assert placement.status == "time_limit"
    assert 0 <= placement.bound < placement.cost
    assert placement.gap > 0
    assert (placement.covered >= np.minimum(1, covers.toarray().sum(axis=0))).all()


def test_more_sites_never_cost_more_and_more_budget_is_never_worth_less() -> None:
    _, _, covers = scattered(7, 60, 80)
    fewer = csr_array(covers[:30])
    reached = np.asarray(fewer.sum(axis=0)).reshape(-1) > 0
    need = reached.astype(np.int64)
    assert (
        solve_set_covering(covers, np.ones(60), need=need).cost
        <= solve_set_covering(fewer, np.ones(30), need=need).cost
    )
    values = [solve_maximal_covering(covers, np.ones(60), budget).value for budget in range(6)]
    assert values == sorted(values)


def test_areas_count_from_their_nearest_place() -> None:
    points = np.array([shapely.box(100, 0, 200, 50), shapely.Point(0, 0)], dtype=object)
    assert build_site_coverage([[90, 25], [150, 25]], points, 10).toarray().tolist() == [[1, 0], [1, 0]]


def test_nothing_to_cover_and_nothing_to_cover_with() -> None:
    nothing = solve_set_covering(csr_array((0, 3), dtype=np.int8), [])
    assert (nothing.status, nothing.out_of_reach.tolist()) == ("out_of_reach", [0, 1, 2])
    assert solve_maximal_covering(csr_array((0, 3), dtype=np.int8), [], 5).status == "out_of_reach"
    worthless = solve_maximal_covering(csr_array((0, 3), dtype=np.int8), [], 5, value=0)
    assert worthless.status == "nothing_to_do"
    placement = solve_set_covering(csr_array((2, 0), dtype=np.int8), [1, 1])
    assert (placement.status, placement.sites.tolist(), placement.cost) == ("nothing_to_do", [], 0.0)
    assert solve_maximal_covering(csr_array((2, 0), dtype=np.int8), [1, 1], 5).value == 0
    assert build_site_coverage([], np.empty(0, dtype=object), 5).shape == (0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": [0.0]}, "greater than 0"),
        ({"cost": [1.0, 1.0]}, "greater than 0"),
        ({"need": -1}, "must not be negative"),
        ({"have": -1}, "must not be negative"),
        ({"value": np.nan}, "must not be negative"),
        ({"value": -1}, "must not be negative"),
    ],
)
def test_numbers_that_cannot_be(change: dict[str, float], message: str) -> None:
    valid: dict[str, object] = {"cost": [1.0], "need": 1, "have": 0, "value": 1.0}
    with pytest.raises(ValueError, match=message):
        solve_set_covering(csr_array(np.ones((1, 2))), **{**valid, **change})  # type: ignore[arg-type]
