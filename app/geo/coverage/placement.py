"""Where new devices pay most: covering problems on given sites, solved to a proven optimum.

Promises either the optimum with its proof, or the best that was found in the time given together with
the bound it can be wrong by. Existing devices are fixed: what they cover already is not bought twice.

Three questions, by the names of the literature:

- `fewest`: the cheapest sites that cover every point as often as it needs (location set covering,
  LSCP [1]_; with a need of two its backup form [3]_);
- `most`: the sites of a limited number or budget that cover the greatest value (maximal covering,
  MCLP [2]_).

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
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, eye_array, hstack

from app.geo.arrays import Bools, Floats, Ints

Status = Literal["optimal", "time_limit", "nothing_to_do", "out_of_reach"]
_TIME_LIMIT: Final = 1
"""HiGHS stopped early, as scipy numbers it."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Sites to take, and how good that is."""

    status: Status
    """`optimal`: proven. `time_limit`: the best found in the time given; see `bound`.
    `nothing_to_do`: no point lacks anything. `out_of_reach`: points do, and no site serves them."""
    sites: Ints
    """Rows of the chosen sites, in order."""
    cost: float
    """What the sites cost together."""
    value: float
    """Value of the points covered as often as they need, those covered before included."""
    covered: Ints
    """Shape (m,): how often each point is covered then."""
    bound: float
    """No answer can cost less than this (`fewest`), or be worth more (`most`)."""
    out_of_reach: Ints
    """Rows of points that no choice of sites can cover as often as they need."""
    gap: float
    """How far the answer may be from the optimum, relative to the larger of both; 0 is proven."""


def coverage(sites: ArrayLike, points: NDArray[np.object_], range_m: float) -> csr_array:
    """Return which sites cover which points: those within a distance.

    Parameters
    ----------
    sites : array_like, shape (n, 2)
        In metres.
    points : ndarray of Geometry, shape (m,)
        In metres of the same frame; an area counts from its nearest place.
    range_m : float

    Returns
    -------
    csr_array of int8, shape (n, m)

    Examples
    --------
    >>> points = shapely.points([[0.0, 0.0], [30.0, 0.0]])
    >>> coverage([[10.0, 0.0], [25.0, 0.0]], points, 12).toarray().tolist()
    [[1, 0], [0, 1]]
    """
    xy = np.asarray(sites, np.float64).reshape(-1, 2)
    if not range_m > 0:
        raise ValueError("the range is a distance greater than 0")
    if not len(xy) or not len(points):
        return csr_array((len(xy), len(points)), dtype=np.int8)
    tree = shapely.STRtree(points)
    site, point = tree.query(shapely.points(xy), predicate="dwithin", distance=range_m)
    ones = np.ones(len(site), np.int8)
    return csr_array((ones, (site, point)), shape=(len(xy), len(points)))


def fewest(
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
        How often each point is to be covered; a site counts once.
    have : array_like of int, shape (m,)
        How often existing devices cover it.
    value : array_like, shape (m,)
        Only told, as the value of what is covered.
    time_limit_s : float

    Returns
    -------
    Placement
        A point that all sites together cannot cover as often as it needs is covered as often as
        they can, and listed in `out_of_reach`.

    Examples
    --------
    The middle site covers all three points.

    >>> covers = csr_array(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]]))
    >>> fewest(covers, [1, 1, 1]).sites.tolist()
    [1]
    >>> fewest(covers, [1, 3, 1]).sites.tolist()
    [0, 2]
    >>> twice = fewest(covers, [1, 1, 1], need=2)
    >>> twice.sites.tolist(), twice.covered.tolist()
    ([0, 1, 2], [2, 3, 2])
    """
    known = _Known.of(covers, cost, need, have, value)
    able = np.asarray(known.covers.sum(axis=0)).reshape(-1)
    missing = np.minimum(np.maximum(known.need - known.have, 0), able)
    open_ = np.flatnonzero(missing > 0)
    if not len(open_):
        return known.placed(_idle(known.have < known.need), np.empty(0, np.int64), 0.0, 0.0)
    demand = LinearConstraint(csr_array(known.covers[:, open_].T), lb=missing[open_])
    found = _solved(known.cost, np.ones(len(known.cost)), [demand], time_limit_s)
    # Without even a first answer in the time, all sites are one.
    taken = found.x > 0.5 if found.x is not None else np.ones(len(known.cost), np.bool_)
    sites = np.flatnonzero(taken)
    spent = float(known.cost[sites].sum())
    bound = min(max(_bound(found, spent), 0.0), spent)
    return known.placed(_status(found), sites, bound, (spent - bound) / spent)


def most(
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
        As in `fewest`.
    budget : float
        What the sites may cost together; with costs of 1, how many.
    value : array_like, shape (m,)
        What it is worth that a point is covered as often as it needs; not negative.
    time_limit_s : float

    Examples
    --------
    >>> covers = csr_array(np.array([[1, 1, 0], [0, 0, 1]]))
    >>> best = most(covers, [1, 1], 1, value=[1, 1, 5])
    >>> best.sites.tolist(), best.value
    ([1], 5.0)
    """
    known = _Known.of(covers, cost, need, have, value)
    if not budget >= 0:
        raise ValueError("a budget is not negative")
    able = np.asarray(known.covers.sum(axis=0)).reshape(-1) + known.have
    open_ = np.flatnonzero((known.have < known.need) & (able >= known.need) & (known.value > 0))
    before = float(known.value[known.have >= known.need].sum())
    if not len(open_):
        lacking = (known.have < known.need) & (known.value > 0)
        return known.placed(_idle(lacking), np.empty(0, np.int64), before, 0.0)
    n, m = len(known.cost), len(open_)
    need_left = (known.need - known.have)[open_]
    # A point counts (y = 1) when it is covered as often as it lacks: need * y <= sum of its sites.
    counts = hstack([csr_array(known.covers[:, open_].T), -eye_array(m).multiply(need_left)])
    spent = csr_array(np.concatenate([known.cost, np.zeros(m)])[np.newaxis])
    worth = np.concatenate([np.zeros(n), -known.value[open_]])
    whole = np.concatenate([np.ones(n), (need_left > 1).astype(np.float64)])
    constraints = [LinearConstraint(csr_array(counts), lb=0), LinearConstraint(spent, ub=budget)]
    found = _solved(worth, whole, constraints, time_limit_s)
    taken = found.x[:n] > 0.5 if found.x is not None else np.zeros(n, np.bool_)
    sites = _needed(known, np.flatnonzero(taken))
    reached = float(known.value[known.covered(sites) >= known.need].sum())
    most_possible = before + float(known.value[open_].sum())
    bound = max(min(before - _bound(found, before - reached), most_possible), reached)
    return known.placed(_status(found), sites, bound, (bound - reached) / bound if bound else 0.0)


@dataclass(frozen=True, eq=False)
class _Known:
    """A problem with columns of equal lengths."""

    covers: csr_array
    cost: Floats
    need: Ints
    have: Ints
    value: Floats

    @classmethod
    def of(
        cls,
        covers: csr_array,
        cost: ArrayLike,
        need: ArrayLike,
        have: ArrayLike,
        value: ArrayLike,
    ) -> "_Known":
        n, m = covers.shape
        costs = np.asarray(cost, np.float64).reshape(-1)
        if len(costs) != n or not (np.isfinite(costs).all() and (costs > 0).all()):
            raise ValueError("every site has a cost greater than 0")
        needs, haves = (np.broadcast_to(np.asarray(one, np.int64), (m,)).astype(np.int64) for one in (need, have))
        values = np.broadcast_to(np.asarray(value, np.float64), (m,)).astype(np.float64)
        if (needs < 0).any() or (haves < 0).any():
            raise ValueError("needs and what is there are not negative")
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError("values are not negative")
        return cls(csr_array(covers != 0).astype(np.int8), costs, needs, haves, values)

    def covered(self, sites: Ints) -> Ints:
        """Return how often each point is covered with some sites."""
        new = np.asarray(self.covers[sites].sum(axis=0)).reshape(-1)
        return np.asarray(self.have + new, dtype=np.int64)

    def placed(self, status: Status, sites: Ints, bound: float, gap: float) -> Placement:
        """Return the placement of some sites."""
        covered = self.covered(sites)
        able = self.covered(np.arange(len(self.cost)))
        met: Bools = covered >= self.need
        return Placement(
            status,
            sites,
            float(self.cost[sites].sum()),
            float(self.value[met].sum()),
            covered,
            bound,
            np.flatnonzero(able < self.need),
            gap,
        )


def _solved(cost: Floats, whole: Floats, constraints: list[LinearConstraint], time_limit_s: float) -> Any:
    return milp(
        cost,
        integrality=whole,
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
    )


def _idle(lacking: Bools) -> Status:
    """Return why no site is taken: nothing is lacking, or nothing that lacks can be served."""
    return "out_of_reach" if lacking.any() else "nothing_to_do"


def _status(found: Any) -> Status:
    return "time_limit" if found.status == _TIME_LIMIT else "optimal"


def _bound(found: Any, reached: float) -> float:
    """Return the bound that was proven: what was reached, where that is the optimum.

    Both in the numbers of the solver, which minimises.
    """
    if found.status != _TIME_LIMIT or found.mip_dual_bound is None:
        return reached
    return float(found.mip_dual_bound)


def _needed(known: _Known, sites: Ints) -> Ints:
    """Return sites without those that could be left out at no loss: they were free within the budget."""
    kept = sites.tolist()
    for site in sorted(sites.tolist(), key=lambda one: -known.cost[one]):
        fewer = np.array([one for one in kept if one != site], np.int64)
        now, then = known.covered(np.array(kept, np.int64)), known.covered(fewer)
        if not ((now >= known.need) & (then < known.need)).any():
            kept.remove(site)
    return np.array(kept, np.int64)
