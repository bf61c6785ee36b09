"""Results about cordons: sealed, depth, what opens them, where they leak, and how to seal them.

No I/O. What was not assessed is null with a reason, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import orjson
from pydantic import BaseModel, Field

from app.analysis.cordon.cordons import (
    THROUGH,
    CordonKey,
    CordonSet,
    compute_cordons,
    count_to_seal,
    explain_not_assessed,
)
from app.analysis.crossings.crossing_guards import compute_guards
from app.analysis.crossings.report import Guard
from app.analysis.crossings.road_network import TRAVEL_DIRECTIONS, TravelDirection
from app.analysis.metadata import ResultMetadata, build_feature_collection, build_result
from app.analysis.results import Analysis
from app.errors import Conflict, InvalidQuery
from app.geo.arrays import Ints
from app.geo.cuts.cordon import UNGUARDABLE, ArcRoute, Cordon, Depth, Failure, SealingPlan
from app.geo.roads.network import ROAD_CLASSES
from app.messages import Message
from app.models.vocabulary import Level

Costs = Mapping[str, int | None]
"""Cost of guarding one direction of a road, by class; None: it cannot be guarded."""
MAX_COST: Final = 1000
_UNITS_PER_COST: Final = 4096
"""Costs are multiplied by this, so that preferred locations can cost one unit less."""
_AT_POINT, _AT_CROSSING, _ON_ROAD = 0, 1, 2
_LOCATIONS: Final = ("control_point", "crossing", "road")
SEALED: Final[dict[str, Any]] = {"sealed": True}
"""The result about leaks of a cordon that has none."""
SEALED_BODY: Final = orjson.dumps(SEALED)


@dataclass(frozen=True)
class CordonQuery:
    """What to compute of a cordon."""

    level: Level | Literal["through"]
    direction: TravelDirection = "inbound"
    within_m: float = 0.0
    limit: int = 1
    """How many leaks or pairs to list at most."""
    cost: tuple[tuple[str, int | None], ...] = field(default=())

    @property
    def key(self) -> CordonKey:
        """The cordon in the direction of the query."""
        return CordonKey(self.level, self.direction, self.within_m)


def parse_costs(**texts: str) -> Costs:
    """Return costs by road class from texts: a whole number, or ``never``.

    Raises
    ------
    InvalidQuery
        if a cost is neither.
    """
    costs: dict[str, int | None] = {}
    for name, text in texts.items():
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
        if text != "never" and not 1 <= number <= MAX_COST:
            detail = Message(
                "Cost {cost!r} is not valid. Send a whole number from 1 to {limit:,}, or never.",
                cost=text[:20],
                limit=MAX_COST,
            )
            raise InvalidQuery(detail, parameter=f"cost.{name}")
        costs[name] = None if text == "never" else number
    return costs


def build_ring_cordon(analysis: Analysis, query: CordonQuery) -> dict[str, Any]:
    """Return the cordon of one ring, both directions."""
    return _build_directions(analysis, query, level=query.level)


def build_through_cordon(analysis: Analysis, query: CordonQuery) -> dict[str, Any]:
    """Return the cordon from outside the outermost ring to the inside of the innermost, both directions."""
    cordons = compute_cordons(analysis)
    return _build_directions(analysis, query, levels=[] if cordons is None else list(cordons.network.levels))


def _build_directions(analysis: Analysis, query: CordonQuery, **members: Any) -> dict[str, Any]:
    reason = explain_not_assessed(analysis, query.key)
    cordons = None if reason is not None else compute_cordons(analysis)
    result = build_result(
        analysis,
        **members,
        within_m=query.within_m,
        **{
            direction: None if cordons is None else _build_direction(cordons, query, direction)
            for direction in TRAVEL_DIRECTIONS
        },
    )
    # The metadata lists the reasons of whole rings; those of this query are added here.
    if reason is not None and (query.level == THROUGH or query.within_m > 0):
        entry = {"what": "cordon", "level": query.level, "reason": reason}
        if query.level == THROUGH:
            entry = {"what": "through", "reason": reason}
        if entry not in result["not_assessed"]:
            result["not_assessed"].append(entry)
    return result


def _build_direction(cordons: CordonSet, query: CordonQuery, direction: TravelDirection) -> dict[str, Any]:
    cordon = cordons.get(CordonKey(query.level, direction, query.within_m))
    depth = cordon.compute_depth()
    pairs = cordon.find_pairs(query.limit)
    return {
        "connected": cordon.connected,
        "sealed": cordon.sealed,
        "leak": None if cordon.leak is None else _build_route(cordons, cordon.leak),
        "to_seal": count_to_seal(cordons, cordon),
        **_build_depth(cordons, depth),
        "critical": [_build_failure(cordons, failure) for failure in cordon.find_failures()],
        "pairs": {
            "number": pairs.count,
            "number_exact": pairs.count_exact,
            "complete": pairs.complete,
            "shortest": [_build_failure(cordons, failure) for failure in pairs.ranked],
        },
    }


def _build_depth(cordons: CordonSet, depth: Depth | None) -> dict[str, Any]:
    if depth is None:
        return {"depth": None, "depth_at_most": None, "depth_exact": True, "depth_route": None}
    return {
        "depth": depth.at_least,
        "depth_at_most": depth.at_most,
        "depth_exact": depth.exact,
        "depth_route": None if depth.route is None else _build_route(cordons, depth.route),
    }


def _build_route(cordons: CordonSet, route: ArcRoute) -> dict[str, Any]:
    return {
        "length_m": round(route.length_m, 1),
        "crossings": [{"level": level, "id": crossing} for level, crossing in cordons.list_crossings(route)],
        "guards": [_build_failure_group(cordons, group) for group in route.groups],
    }


def _build_failure_group(cordons: CordonSet, group: int) -> dict[str, Any]:
    return {"devices": [{"kind": kind, "code": code} for kind, code in cordons.guarded.list_members(group)]}


def _build_failure(cordons: CordonSet, failure: Failure) -> dict[str, Any]:
    return {
        "groups": [_build_failure_group(cordons, group) for group in failure.groups],
        "leak": _build_route(cordons, failure.leak),
    }


def build_leak_route(analysis: Analysis, query: CordonQuery) -> dict[str, Any]:
    """Return the shortest leak as a Feature, or several leaks without a common road; `SEALED` if there are none.

    Raises
    ------
    Conflict
        if the cordon cannot be assessed: that is not the same as no leak.
    """
    cordons = _require_cordons(analysis, query)
    cordon = cordons.get(query.key)
    if cordon.sealed or cordon.leak is None:
        return SEALED
    if query.limit == 1:
        return build_result(analysis, **_build_leak(cordons, cordon.leak, query, 1))
    routes = cordon.find_leaks(query.limit)
    return build_feature_collection(
        analysis,
        [_build_leak(cordons, route, query, rank) for rank, route in enumerate(routes, start=1)],
        disjoint=Message("no two use the same road, and together they are as short as possible"),
    )


def _build_leak(cordons: CordonSet, route: ArcRoute, query: CordonQuery, rank: int) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"{query.level}-{query.direction}-{rank}",
        "geometry": {"type": "LineString", "coordinates": cordons.to_line(route.arcs)},
        "properties": {
            "level": query.level,
            "direction": query.direction,
            "rank": rank,
            **_build_route(cordons, route),
            "roads": list_roads(cordons, route.arcs),
        },
    }


def list_roads(cordons: CordonSet, arcs: Ints) -> list[str]:
    """Return the codes of the roads along arcs in driving order, without repeating the one before."""
    network = cordons.network
    codes: list[str] = []
    for arc in arcs.tolist():
        for road in network.network.road[cordons.find_edges(arc)].tolist():
            code = str(network.roads.source["code"][road])
            if not codes or codes[-1] != code:
                codes.append(code)
    return codes


def _require_cordons(analysis: Analysis, query: CordonQuery) -> CordonSet:
    reason, cordons = explain_not_assessed(analysis, query.key), compute_cordons(analysis)
    if cordons is None or reason is not None:
        raise Conflict(Message("The cordon cannot be assessed: {reason}.", reason=reason), code="not-assessed")
    return cordons


def build_sealing_plan(analysis: Analysis, query: CordonQuery) -> dict[str, Any]:
    """Return the cheapest chains of road to guard so that no leak remains, with the proof.

    Raises
    ------
    Conflict
        if the cordon cannot be assessed.
    InvalidQuery
        if the sum of the costs is too large to compute.
    """
    cordons = _require_cordons(analysis, query)
    cost, location = compute_arc_costs(cordons, dict(query.cost)), classify_arcs(analysis, cordons)
    plan, units_per_cost = compute_plan(cordons.get(query.key), cost, location)
    features = [
        build_place(analysis, cordons, query, int(arc), int(cost[arc]), int(location[arc])) for arc in plan.arcs
    ]
    impossible = plan.unguardable
    return build_feature_collection(
        analysis,
        features,
        level=query.level,
        direction=query.direction,
        within_m=query.within_m,
        costs={name: dict(query.cost).get(name, 1) for name in ROAD_CLASSES[:-1]},
        possible=plan.possible,
        places=len(features),
        cost=int(cost[plan.arcs].sum()) if plan.possible else None,
        proof={
            "cut": plan.cost,
            "flow": plan.flow,
            "units_per_cost": units_per_cost,
            "sealed_after": plan.sealed_after,
            "proven": plan.proven,
        },
        unguardable=None
        if impossible is None
        else {
            **_build_route(cordons, impossible),
            "roads": list_roads(cordons, impossible.arcs),
            "geometry": {"type": "LineString", "coordinates": cordons.to_line(impossible.arcs)},
        },
    )


def compute_plan(cordon: Cordon, cost: Ints, location: Ints) -> tuple[SealingPlan, int]:
    """Return the plan, and how many units of its proof are one unit of cost.

    Of the cheapest plans the one with most control points, then most crossings: other locations cost a little more.
    """
    weighted = np.where(cost < 0, UNGUARDABLE, cost * _UNITS_PER_COST + location)
    try:
        plan = cordon.plan_sealing(weighted)
    except ValueError:
        plan = None
    if plan is not None and int(location[plan.arcs].sum()) < _UNITS_PER_COST:
        return plan, _UNITS_PER_COST
    # With so many locations the preferences would outweigh a unit of cost, or the sum is too large: leave them out.
    try:
        return cordon.plan_sealing(cost), 1
    except ValueError as error:
        detail = Message("The costs are too large to add up: {reason}. Use smaller costs.", reason=str(error))
        raise InvalidQuery(detail, parameter="cost") from error


def compute_arc_costs(cordons: CordonSet, cost: dict[str, int | None]) -> Ints:
    """Return the cost of guarding each arc: that of the cheapest road along it."""
    never = np.iinfo(np.int64).max
    cost_of_class = np.array([cost.get(name, 1) or never for name in ROAD_CLASSES], np.int64)
    network = cordons.network
    if not len(network.chains):
        return np.empty(0, np.int64)
    cost_of_piece = cost_of_class[network.network.road_class[network.pieces.edge[network.chains.piece]]]
    cost_of_chain = np.minimum.reduceat(cost_of_piece, network.chains.start[:-1])
    return np.where(cost_of_chain == never, UNGUARDABLE, cost_of_chain)[cordons.graph.chain]


def classify_arcs(analysis: Analysis, cordons: CordonSet) -> Ints:
    """Return for each arc whether it has a crossing with a control point, a crossing, or neither."""
    location = np.full(len(cordons.arcs), _ON_ROAD, np.int64)
    points = list_crossing_points(analysis)
    for level, crossing in cordons.crossing.items():
        location[crossing >= 0] = np.minimum(location[crossing >= 0], _AT_CROSSING)
        location[np.isin(crossing, list(points[level])) & (crossing >= 0)] = _AT_POINT
    return location


def list_crossing_points(analysis: Analysis) -> dict[Level, dict[int, list[str]]]:
    """Return the codes of the control points of each crossing, by ring and row of the crossing."""
    guards = compute_guards(analysis)
    assert guards is not None  # noqa: S101  # there is a cordon
    points: dict[Level, dict[int, list[str]]] = {}
    for level, crossing in guards.point_crossing.items():
        points[level] = {}
        for row in np.flatnonzero(crossing >= 0).tolist():
            points[level].setdefault(int(crossing[row]), []).append(analysis.points.code[row])
    return points


def build_place(
    analysis: Analysis, cordons: CordonSet, query: CordonQuery, arc: int, cost: int, location: int
) -> dict[str, Any]:
    """Return one place of a sealing plan: the road to guard, and a checkpoint that would guard it."""
    network = cordons.network
    rows = {level: int(crossing[arc]) for level, crossing in cordons.crossing.items() if crossing[arc] >= 0}
    points = list_crossing_points(analysis)
    edge = cordons.find_edges(arc)
    classes = network.network.road_class[edge]
    roads = list(dict.fromkeys(str(network.roads.source["code"][row]) for row in network.network.road[edge]))
    return {
        "type": "Feature",
        "id": f"{query.level}-{query.direction}-{arc}",
        "geometry": {"type": "LineString", "coordinates": cordons.to_line(np.array([arc]))},
        "properties": {
            "cost": cost,
            "stands_at": _LOCATIONS[location],
            "crossings": [{"level": level, "id": network.crossing_ids[level][row]} for level, row in rows.items()],
            "control_points": [code for level, row in rows.items() for code in points[level].get(row, ())],
            "road": str(network.roads.label[network.network.group[edge[0]]]),
            "roads": roads,
            "road_class": ROAD_CLASSES[int(classes.min())],
            "length_m": round(float(cordons.arcs.length_m[arc]), 1),
            "checkpoint": cordons.build_checkpoint(query.key, arc),
        },
    }


# Schemas of the responses.


class CrossingName(BaseModel):
    """A crossing on a route."""

    level: Level
    id: str


class FailureGroup(BaseModel):
    """Devices that fail together: the same pole, cabinet or link."""

    devices: list[Guard]


class CordonRoute(BaseModel):
    """A drivable route through a cordon."""

    length_m: float
    crossings: list[CrossingName] = Field(description="Crossings on the route, in driving order.")
    guards: list[FailureGroup] = Field(description="Failure groups on the route.")


class CordonFailure(BaseModel):
    """Failure groups that open a sealed cordon if they fail, and the shortest leak then."""

    groups: list[FailureGroup]
    leak: CordonRoute


class CordonPairs(BaseModel):
    """Pairs of failure groups that open a cordon together and not alone."""

    number: int = Field(description="Number of such pairs.")
    number_exact: bool = Field(description="False: there are at least so many.")
    complete: bool = Field(description="No pair with a shorter leak is missing from `shortest`.")
    shortest: list[CordonFailure]


class CordonDirection(BaseModel):
    """One direction through a cordon."""

    connected: bool = Field(description="Whether a road leads through, guarded or not.")
    sealed: bool = Field(description="Whether every route through meets a working checkpoint.")
    leak: CordonRoute | None = Field(description="The shortest leak; null if sealed.")
    to_seal: int = Field(description="The fewest chains of road whose guarding seals it.")
    depth: int | None = Field(
        description="The fewest failure groups on any route: 0 is a leak, 1 a single point of failure. Null if no road "
        "leads through. A lower limit if not exact."
    )
    depth_at_most: int | None
    depth_exact: bool
    depth_route: CordonRoute | None = Field(description="A route with the fewest failure groups.")
    critical: list[CordonFailure] = Field(
        description="Failure groups that open it alone, those with the shortest leak first."
    )
    pairs: CordonPairs


class CordonAnswer(ResultMetadata):
    """The cordon of one ring; a direction is null if it is not assessed."""

    level: Level
    within_m: float
    inbound: CordonDirection | None
    outbound: CordonDirection | None


class ThroughAnswer(ResultMetadata):
    """The cordon from outside the outermost ring to the inside of the innermost."""

    levels: list[Level] = Field(description="The rings on the way, from the outside in.")
    within_m: float
    inbound: CordonDirection | None
    outbound: CordonDirection | None
