"""Placement of new devices: covering models on candidate sites, solved to a proven optimum.

The result is either the optimum with its proof, or the best solution in the time limit with a bound of its error.
Existing devices are fixed: what they cover is not covered again. Two models, by their names in the literature:

- `solve_set_covering`: the cheapest sites that cover every point as often as it needs (location set covering, LSCP
  [1]_; with a need of two its backup form [3]_);
- `solve_maximal_covering`: the sites within a budget that cover the greatest value (maximal covering, MCLP [2]_).

References
----------
.. [1] Toregas, Swain, ReVelle, Bergman 1971, The location of emergency service facilities.
.. [2] Church, ReVelle 1974, The maximal covering location problem.
.. [3] Hogan, ReVelle 1986, Concepts and applications of backup coverage.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, eye_array, hstack

from app.geo.arrays import Bools, Floats, Ints, Shapes

Status = Literal["optimal", "time_limit", "nothing_to_do", "out_of_reach"]
_TIME_LIMIT: Final = 1
"""Status code of scipy: HiGHS stopped at the time limit."""


@dataclass(frozen=True, eq=False)
class Placement:
    """The selected sites, and the quality of the solution."""

    status: Status
    """`optimal`: proven. `time_limit`: the best solution in the time limit; see `bound`. `nothing_to_do`: every point
    is covered already. `out_of_reach`: some are not, and no site covers them."""
    sites: Ints
    """Rows of the selected sites, in order."""
    cost: float
    """Total cost of the sites."""
    value: float
    """Value of the points that are covered as often as they need, including those that were covered before."""
    covered: Ints
    """Shape (m,): how often each point is covered with these sites."""
    bound: float
    """No solution can cost less (set covering), or have a greater value (maximal covering)."""
    out_of_reach: Ints
    """Rows of points that no selection of sites can cover as often as they need."""
    gap: float
    """Greatest relative distance of the solution from the optimum; 0 is proven."""


def build_site_coverage(sites: ArrayLike, points: Shapes, range_m: float) -> csr_array:
    """Return which sites cover which points: those within a distance.

    Parameters
    ----------
    sites : array_like, shape (n, 2)
        In metres.
    points : ndarray of Geometry, shape (m,)
        In metres of the same local projection; an area counts from its nearest point.
    range_m : float

    Returns
    -------
    csr_array of int8, shape (n, m)

    Examples
    --------
    >>> points = shapely.points([[0.0, 0.0], [30.0, 0.0]])
    >>> build_site_coverage([[10.0, 0.0], [25.0, 0.0]], points, 12).toarray().tolist()
    [[1, 0], [0, 1]]
    """
    xy = np.asarray(sites, np.float64).reshape(-1, 2)
    if not range_m > 0:
        raise ValueError("the range must be greater than 0")
    if not len(xy) or not len(points):
        return csr_array((len(xy), len(points)), dtype=np.int8)
    tree = shapely.STRtree(points)
    site, point = tree.query(shapely.points(xy), predicate="dwithin", distance=range_m)
    ones = np.ones(len(site), np.int8)
    return csr_array((ones, (site, point)), shape=(len(xy), len(points)))


def solve_set_covering(
    covers: csr_array,
    cost: ArrayLike,
    *,
    need: ArrayLike = 1,
    have: ArrayLike = 0,
    value: ArrayLike = 1.0,
    time_limit_s: float = 10.0,
) -> Placement:
    """Return the cheapest sites that cover every point as often as it needs.

    Parameters
    ----------
    covers : csr_array, shape (n, m)
        Not zero where a site covers a point.
    cost : array_like, shape (n,)
        Greater than 0; all 1: the fewest sites.
    need : array_like of int, shape (m,)
        How often each point must be covered; a site counts once.
    have : array_like of int, shape (m,)
        How often existing devices cover it.
    value : array_like, shape (m,)
        Only reported, as the value of what is covered.
    time_limit_s : float

    Returns
    -------
    Placement
        A point that all sites together cannot cover as often as it needs is covered as often as possible, and listed
        in `out_of_reach`.

    Examples
    --------
    The middle site covers all three points.

    >>> covers = csr_array(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]]))
    >>> solve_set_covering(covers, [1, 1, 1]).sites.tolist()
    [1]
    >>> solve_set_covering(covers, [1, 3, 1]).sites.tolist()
    [0, 2]
    >>> twice = solve_set_covering(covers, [1, 1, 1], need=2)
    >>> twice.sites.tolist(), twice.covered.tolist()
    ([0, 1, 2], [2, 3, 2])
    """
    model = _CoveringModel.from_columns(covers, cost, need, have, value)
    coverable = np.asarray(model.covers.sum(axis=0)).reshape(-1)
    missing = np.minimum(np.maximum(model.need - model.have, 0), coverable)
    uncovered = np.flatnonzero(missing > 0)
    if not len(uncovered):
        return model.build_placement(_explain_idle(model.have < model.need), np.empty(0, np.int64), 0.0, 0.0)
    demand = LinearConstraint(csr_array(model.covers[:, uncovered].T), lb=missing[uncovered])
    solution = _solve_program(model.cost, np.ones(len(model.cost)), [demand], time_limit_s)
    # If the time limit leaves no solution at all, all sites together are one.
    selected = solution.x > 0.5 if solution.x is not None else np.ones(len(model.cost), np.bool_)
    sites = np.flatnonzero(selected)
    spent = float(model.cost[sites].sum())
    bound = min(max(_get_bound(solution, spent), 0.0), spent)
    return model.build_placement(_get_status(solution), sites, bound, (spent - bound) / spent)


def solve_maximal_covering(
    covers: csr_array,
    cost: ArrayLike,
    budget: float,
    *,
    need: ArrayLike = 1,
    have: ArrayLike = 0,
    value: ArrayLike = 1.0,
    time_limit_s: float = 10.0,
) -> Placement:
    """Return the sites within a budget that cover the greatest value.

    Parameters
    ----------
    covers, cost, need, have
        As in `solve_set_covering`.
    budget : float
        Greatest total cost of the sites; with costs of 1, their number.
    value : array_like, shape (m,)
        Value of each point that is covered as often as it needs; not negative.
    time_limit_s : float

    Examples
    --------
    >>> covers = csr_array(np.array([[1, 1, 0], [0, 0, 1]]))
    >>> best = solve_maximal_covering(covers, [1, 1], 1, value=[1, 1, 5])
    >>> best.sites.tolist(), best.value
    ([1], 5.0)
    """
    model = _CoveringModel.from_columns(covers, cost, need, have, value)
    if not budget >= 0:
        raise ValueError("the budget must not be negative")
    coverable = np.asarray(model.covers.sum(axis=0)).reshape(-1) + model.have
    lacking = (model.have < model.need) & (model.value > 0)
    uncovered = np.flatnonzero(lacking & (coverable >= model.need))
    before = float(model.value[model.have >= model.need].sum())
    if not len(uncovered):
        return model.build_placement(_explain_idle(lacking), np.empty(0, np.int64), before, 0.0)
    n, m = len(model.cost), len(uncovered)
    missing = (model.need - model.have)[uncovered]
    # A point counts (y = 1) if it is covered as often as it lacks: missing * y <= sum of its sites.
    counts = hstack([csr_array(model.covers[:, uncovered].T), -eye_array(m).multiply(missing)])
    spent = csr_array(np.concatenate([model.cost, np.zeros(m)])[np.newaxis])
    objective = np.concatenate([np.zeros(n), -model.value[uncovered]])
    is_integer = np.concatenate([np.ones(n), (missing > 1).astype(np.float64)])
    constraints = [LinearConstraint(csr_array(counts), lb=0), LinearConstraint(spent, ub=budget)]
    solution = _solve_program(objective, is_integer, constraints, time_limit_s)
    selected = solution.x[:n] > 0.5 if solution.x is not None else np.zeros(n, np.bool_)
    sites = _remove_useless_sites(model, np.flatnonzero(selected))
    reached = float(model.value[model.count_coverage(sites) >= model.need].sum())
    greatest = before + float(model.value[uncovered].sum())
    bound = max(min(before - _get_bound(solution, before - reached), greatest), reached)
    return model.build_placement(_get_status(solution), sites, bound, (bound - reached) / bound if bound else 0.0)


@dataclass(frozen=True, eq=False)
class _CoveringModel:
    """The input of both models; n sites, m points."""

    covers: csr_array
    cost: Floats
    need: Ints
    have: Ints
    value: Floats

    @classmethod
    def from_columns(
        cls,
        covers: csr_array,
        cost: ArrayLike,
        need: ArrayLike,
        have: ArrayLike,
        value: ArrayLike,
    ) -> "_CoveringModel":
        """Return the model of columns that fit together; raise ValueError if a value is not valid."""
        n, m = covers.shape
        costs = np.asarray(cost, np.float64).reshape(-1)
        if len(costs) != n or not (np.isfinite(costs).all() and (costs > 0).all()):
            raise ValueError("every site has a cost greater than 0")
        needs, haves = (np.broadcast_to(np.asarray(column, np.int64), (m,)).astype(np.int64) for column in (need, have))
        values = np.broadcast_to(np.asarray(value, np.float64), (m,)).astype(np.float64)
        if (needs < 0).any() or (haves < 0).any():
            raise ValueError("need and have must not be negative")
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError("values must not be negative")
        return cls(csr_array(covers != 0).astype(np.int8), costs, needs, haves, values)

    def count_coverage(self, sites: Ints) -> Ints:
        """Return how often each point is covered with some sites."""
        added = np.asarray(self.covers[sites].sum(axis=0)).reshape(-1)
        return np.asarray(self.have + added, dtype=np.int64)

    def build_placement(self, status: Status, sites: Ints, bound: float, gap: float) -> Placement:
        """Return the placement of some sites."""
        covered = self.count_coverage(sites)
        coverable = self.count_coverage(np.arange(len(self.cost)))
        met: Bools = covered >= self.need
        return Placement(
            status,
            sites,
            float(self.cost[sites].sum()),
            float(self.value[met].sum()),
            covered,
            bound,
            np.flatnonzero(coverable < self.need),
            gap,
        )


def _solve_program(
    objective: Floats, is_integer: Floats, constraints: list[LinearConstraint], time_limit_s: float
) -> Any:
    """Return the solution of a mixed-integer linear program with variables from 0 to 1."""
    return milp(
        objective,
        integrality=is_integer,
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
    )


def _explain_idle(lacking: Bools) -> Status:
    """Return why no site is selected: every point is covered, or no site covers those that are not."""
    return "out_of_reach" if lacking.any() else "nothing_to_do"


def _get_status(solution: Any) -> Status:
    return "time_limit" if solution.status == _TIME_LIMIT else "optimal"


def _get_bound(solution: Any, reached: float) -> float:
    """Return the proven bound of the objective: the reached value if that is the optimum.

    Both in the numbers of the solver, which minimises.
    """
    if solution.status != _TIME_LIMIT or solution.mip_dual_bound is None:
        return reached
    return float(solution.mip_dual_bound)


def _remove_useless_sites(model: _CoveringModel, sites: Ints) -> Ints:
    """Return sites without those that add nothing: the solver may select them if the budget allows."""
    retained = sites.tolist()
    for site in sorted(sites.tolist(), key=lambda row: -model.cost[row]):
        fewer = np.array([row for row in retained if row != site], np.int64)
        covered = model.count_coverage(np.array(retained, np.int64))
        if not ((covered >= model.need) & (model.count_coverage(fewer) < model.need)).any():
            retained.remove(site)
    return np.array(retained, np.int64)
