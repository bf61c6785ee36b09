"""What is told about cordons: sealed, depth, what opens them, where they leak, how to seal them.

Pure: from a computed state to plain values. What was not assessed is null and says why, never zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from app.analysis.cordon import cordons
from app.analysis.cordon.cordons import DIRECTIONS, THROUGH, Asked, Cordons, Direction
from app.analysis.crossings import crossing_guards
from app.analysis.engine_input import Computed
from app.analysis.metadata import about, collection, telling
from app.errors import Conflict, InvalidQuery
from app.geo.arrays import Ints
from app.geo.cuts.cordon import UNGUARDABLE, Cordon, Depth, Failure, Route, SealingPlan
from app.geo.roads.network import CLASSES
from app.models.vocabulary import LEVELS, Level

Costs = Mapping[str, int | None]
"""Cost of guarding one direction of a road, by class; None: it cannot be guarded."""
MOST_COST: Final = 1000
_SCALE: Final = 4096
"""Units of preference in one unit of cost: so many places are told apart by what stands there."""
_AT_POINT, _AT_CROSSING, _ELSEWHERE = 0, 1, 2
SEALED: Final[dict[str, Any]] = {"sealed": True}
"""What is told of the leaks of a cordon that has none."""


@dataclass(frozen=True)
class Wanted:
    """What is asked about a cordon; as text it names the answer."""

    level: Level | Literal["through"]
    direction: Direction = "inbound"
    within_m: float = 0.0
    most: int = 1
    cost: tuple[tuple[str, int | None], ...] = field(default=())

    @property
    def asked(self) -> Asked:
        """Return the cordon."""
        return Asked(self.level, self.direction, self.within_m)


def counts(found: Computed, level: Level, direction: Direction) -> dict[str, Any]:
    """Return one direction through a ring in four numbers; null is not zero."""
    known = cordons.compute_cordons(found)
    if known is None or cordons.why_not(found, level) is not None:
        return {"sealed": None, "depth": None, "to_seal": None, "critical": None}

    cordon = known.get(Asked(level, direction))
    depth = cordon.depth()
    plan = None if cordon.sealed else cordon.plan(np.ones(len(known.arcs), np.int64))
    return {
        "sealed": cordon.sealed,
        "depth": None if depth is None else depth.at_least,
        "to_seal": 0 if plan is None else len(plan.arcs),
        "critical": len(cordon.critical),
    }


@telling("cordon")
def _not_assessed(found: Computed) -> Iterator[dict[str, Any]]:
    for level in reversed(LEVELS):
        if (reason := cordons.why_not(found, level)) is not None:
            yield {"what": "cordon", "level": level, "reason": reason}


def build_ring_cordon(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return the cordon of one ring, both directions."""
    return _both(found, wanted, level=wanted.level)


def build_through_cordon(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return the way from outside the outermost ring to the inside of the innermost, and back."""
    known = cordons.compute_cordons(found)
    return _both(found, wanted, levels=[] if known is None else list(known.watch.net.levels))


def _both(found: Computed, wanted: Wanted, **told: Any) -> dict[str, Any]:
    """Return both directions, null where there is no answer, and why there is none."""
    reason = cordons.unanswerable(found, wanted.asked)
    known = None if reason is not None else cordons.compute_cordons(found)
    answer = about(
        found,
        **told,
        within_m=wanted.within_m,
        **{direction: None if known is None else _direction(known, wanted, direction) for direction in DIRECTIONS},
    )
    if reason is not None and (wanted.level == THROUGH or wanted.within_m > 0):
        what = "through" if wanted.level == THROUGH else "cordon"
        level = {} if wanted.level == THROUGH else {"level": wanted.level}
        if (entry := {"what": what, **level, "reason": reason}) not in answer["not_assessed"]:
            answer["not_assessed"].append(entry)
    return answer


def _direction(known: Cordons, wanted: Wanted, direction: Direction) -> dict[str, Any]:
    cordon = known.get(Asked(wanted.level, direction, wanted.within_m))
    depth = cordon.depth()
    plan = None if cordon.sealed else cordon.plan(np.ones(len(known.arcs), np.int64))
    pairs = cordon.pairs(wanted.most)
    return {
        "connected": cordon.connected,
        "sealed": cordon.sealed,
        "leak": None if cordon.leak is None else _route(known, cordon.leak),
        "to_seal": 0 if plan is None else len(plan.arcs),
        **_depth(known, depth),
        "critical": [_failure(known, one) for one in cordon.failures()],
        "pairs": {
            "number": pairs.number,
            "number_exact": pairs.number_exact,
            "complete": pairs.complete,
            "shortest": [_failure(known, one) for one in pairs.ranked],
        },
    }


def _depth(known: Cordons, depth: Depth | None) -> dict[str, Any]:
    if depth is None:
        return {"depth": None, "depth_at_most": None, "depth_exact": True, "depth_route": None}
    return {
        "depth": depth.at_least,
        "depth_at_most": depth.at_most,
        "depth_exact": depth.exact,
        "depth_route": None if depth.route is None else _route(known, depth.route),
    }


def _route(known: Cordons, route: Route) -> dict[str, Any]:
    """Return a route in words: its length, the crossings it uses, the guards it meets."""
    return {
        "length_m": round(route.length_m, 1),
        "crossings": [{"level": level, "id": name} for level, name in known.crossed(route)],
        "guards": [_group(known, group) for group in route.groups],
    }


def _group(known: Cordons, group: int) -> dict[str, Any]:
    """Return a failure group: what fails together."""
    return {
        "devices": [{"kind": kind, "code": code} for kind, code in known.watch.members(group)],
    }


def _failure(known: Cordons, failure: Failure) -> dict[str, Any]:
    return {
        "groups": [_group(known, group) for group in failure.groups],
        "leak": _route(known, failure.leak),
    }


def build_leak_route(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return the shortest leak as a Feature, or several without a common road; `SEALED` if none.

    Raises
    ------
    Conflict
        when leaks of this cordon cannot be assessed: that is not the same as none.
    """
    known = _known(found, wanted)
    cordon = known.get(wanted.asked)
    if cordon.sealed or cordon.leak is None:
        return SEALED
    if wanted.most == 1:
        return about(found, **_leak(known, cordon.leak, wanted, 1))
    routes = cordon.leaks(wanted.most)
    return collection(
        found,
        [_leak(known, route, wanted, rank) for rank, route in enumerate(routes, start=1)],
        disjoint="no two use the same road, and together they are as short as possible",
    )


def _leak(known: Cordons, route: Route, wanted: Wanted, rank: int) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"{wanted.level}-{wanted.direction}-{rank}",
        "geometry": {"type": "LineString", "coordinates": known.path(route)},
        "properties": {
            "level": wanted.level,
            "direction": wanted.direction,
            "rank": rank,
            **_route(known, route),
            "roads": _roads(known, route.arcs),
        },
    }


def _roads(known: Cordons, arcs: Ints) -> list[str]:
    """Return the codes of the roads arcs run over, in order, each once in a row."""
    net = known.watch.net
    told: list[str] = []
    for arc in arcs.tolist():
        for road in net.network.road[known.edges(arc)].tolist():
            code = str(net.base.roads["code"][road])
            if not told or told[-1] != code:
                told.append(code)
    return told


def _known(found: Computed, wanted: Wanted) -> Cordons:
    reason, known = cordons.unanswerable(found, wanted.asked), cordons.compute_cordons(found)
    if known is None or reason is not None:
        raise Conflict(f"This cannot be assessed: {reason}.", code="not-assessed")
    return known


def build_sealing_plan(found: Computed, wanted: Wanted) -> dict[str, Any]:
    """Return the cheapest roads to guard so that no leak remains, with the proof.

    Raises
    ------
    Conflict
        when leaks of this cordon cannot be assessed.
    InvalidQuery
        when the costs are too large to be added up.
    """
    known = _known(found, wanted)
    cordon = known.get(wanted.asked)
    cost, standing = _costs(known, dict(wanted.cost)), _standing(found, known)
    plan, scale = _planned(cordon, cost, standing)
    features = [_place(found, known, int(arc), int(cost[arc]), int(standing[arc]), wanted) for arc in plan.arcs]
    impossible = plan.unguardable
    return collection(
        found,
        features,
        level=wanted.level,
        direction=wanted.direction,
        within_m=wanted.within_m,
        costs={name: dict(wanted.cost).get(name, 1) for name in CLASSES[:-1]},
        possible=plan.possible,
        places=len(features),
        cost=int(cost[plan.arcs].sum()) if plan.possible else None,
        proof={
            "cut": plan.cost,
            "flow": plan.flow,
            "units_per_cost": scale,
            "sealed_after": plan.sealed_after,
            "proven": plan.proven,
        },
        unguardable=None
        if impossible is None
        else {
            **_route(known, impossible),
            "roads": _roads(known, impossible.arcs),
            "geometry": {"type": "LineString", "coordinates": known.path(impossible)},
        },
    )


def _planned(cordon: Cordon, cost: Ints, standing: Ints) -> tuple[SealingPlan, int]:
    """Return the plan, and in how many units its proof counts one unit of cost.

    Of the cheapest plans the one with most control points, then most crossings, in it: each place
    costs a little more without.
    """
    weighed = np.where(cost < 0, UNGUARDABLE, cost * _SCALE + standing)
    try:
        plan = cordon.plan(weighed)
    except ValueError:
        plan = None
    if plan is not None and int(standing[plan.arcs].sum()) < _SCALE:
        return plan, _SCALE
    try:  # so many places that what stands there would outweigh a cost
        return cordon.plan(cost), 1
    except ValueError as error:
        raise InvalidQuery(f"The costs are too large: {error}.", parameter="cost") from error


def _costs(known: Cordons, cost: dict[str, int | None]) -> Ints:
    """Return what it costs to guard each arc: as much as the cheapest piece of road on it."""
    never = np.iinfo(np.int64).max
    by_class = np.array([cost.get(name, 1) or never for name in CLASSES], np.int64)
    net = known.watch.net
    pieces = by_class[net.network.road_class[net.pieces.edge[net.chains.piece]]]
    if not len(net.chains):
        return np.empty(0, np.int64)
    of_chain = np.minimum.reduceat(pieces, net.chains.start[:-1])
    return np.where(of_chain == never, UNGUARDABLE, of_chain)[known.watch.ways.chain]


def _standing(found: Computed, known: Cordons) -> Ints:
    """Return for each arc whether it leads through a crossing, and that has a control point."""
    told = np.full(len(known.arcs), _ELSEWHERE, np.int64)
    matched = _matched(found)
    for level, crossing in known.crossing.items():
        told[crossing >= 0] = np.minimum(told[crossing >= 0], _AT_CROSSING)
        with_point = np.isin(crossing, list(matched[level])) & (crossing >= 0)
        told[with_point] = _AT_POINT
    return told


def _matched(found: Computed) -> dict[Level, dict[int, list[str]]]:
    """Return the control points of crossings, by ring and crossing."""
    guarded = crossing_guards.of(found)
    assert guarded is not None  # noqa: S101  # there is a cordon
    told: dict[Level, dict[int, list[str]]] = {}
    for level, crossing in guarded.point_crossing.items():
        of_level: dict[int, list[str]] = {}
        for row in np.flatnonzero(crossing >= 0).tolist():
            of_level.setdefault(int(crossing[row]), []).append(found.points.code[row])
        told[level] = of_level
    return told


def _place(found: Computed, known: Cordons, arc: int, cost: int, standing: int, wanted: Wanted) -> dict[str, Any]:
    """Return one place of a plan: the road to guard, and a checkpoint that would do it."""
    net = known.watch.net
    at_level = [level for level in net.levels if known.crossing[level][arc] >= 0]
    rows = {level: int(known.crossing[level][arc]) for level in at_level}
    matched = _matched(found)
    edge = known.edges(arc)
    classes = net.network.road_class[edge]
    roads = list(dict.fromkeys(str(net.base.roads["code"][row]) for row in net.network.road[edge]))
    return {
        "type": "Feature",
        "id": f"{wanted.level}-{wanted.direction}-{arc}",
        "geometry": {"type": "LineString", "coordinates": known.lines(np.array([arc]))[0]},
        "properties": {
            "cost": cost,
            "stands_at": ("control_point", "crossing", "road")[standing],
            "crossings": [{"level": level, "id": net.name[level][row]} for level, row in rows.items()],
            "control_points": [code for level, row in rows.items() for code in matched[level].get(row, ())],
            "road": str(net.base.label[net.network.group[edge[0]]]),
            "roads": roads,
            "road_class": CLASSES[int(classes.min())],
            "length_m": round(float(known.arcs.length_m[arc]), 1),
            "checkpoint": known.checkpoint(wanted.asked, arc),
        },
    }
