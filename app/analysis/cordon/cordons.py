"""Cordons: each ring as a barrier for vehicles, by direction, and the way through all rings.

No I/O. A cordon is prepared once for each state of roads and rings. After a change of devices it gets new guards, and
a cordon whose guards have not changed is used again.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypedDict

import numpy as np
import shapely

from app.analysis.cordon import virtual_checkpoints
from app.analysis.crossings import road_network
from app.analysis.crossings.crossing_guards import CrossingGuards, compute_guards, find_working_vehicle_devices
from app.analysis.crossings.road_network import RoadNetwork, TravelDirection
from app.analysis.results import Analysis
from app.geo.arrays import Bools, Floats, Ints, expand_ranges, row_starts
from app.geo.coverage import assessment as engine
from app.geo.cuts.cordon import ArcRoute, Arcs, Cordon
from app.geo.cuts.flow_graph import FlowGraph
from app.messages import Message
from app.models.vocabulary import LEVELS, Level

THROUGH: Final = "through"
"""The cordon from outside the outermost ring to the inside of the innermost."""

# The road graph: chains as arcs. Vehicles appear and stay at junctions and dead ends only, so a guard anywhere on a
# chain meets all traffic of the chain. An arc has a failure group once, however many of its devices guard it.


@dataclass(frozen=True, eq=False)
class RoadGraph:
    """Directed chains between junctions; k arcs over n nodes."""

    node: Ints
    """Shape (n,): row of each node in ``RoadNetwork.pieces``."""
    number: Ints
    """Number of each node of ``RoadNetwork.pieces``, -1 within a chain."""
    chain: Ints
    """Shape (k,): chain of each arc."""
    ahead: Bools
    """Shape (k,): whether the arc runs from tail to head of the chain."""
    arc: Ints
    """Shape (c, 2): arc of each chain back (column 0) and ahead (column 1), -1: not drivable."""
    tail: Ints
    """Shape (k,): node that each arc leaves."""
    head: Ints
    length_m: Floats


class ArcColumns(TypedDict):
    """The arguments of `Arcs`."""

    n: int
    tail: Ints
    head: Ints
    edge: Ints
    """The chain."""
    length_m: Floats
    guard_start: Ints
    guard_group: Ints


@dataclass(frozen=True, eq=False)
class GuardedRoadGraph:
    """The road graph with the guards of its arcs."""

    network: RoadNetwork
    graph: RoadGraph
    arcs: ArcColumns
    devices: engine.DeviceTable

    def find_nodes(self, level: Level, *, inside: bool) -> Ints:
        """Return the nodes on one side of a ring, except those on its boundary: sources or sinks."""
        return np.asarray(self.graph.number[self.network.find_nodes(level, inside=inside)])

    def list_members(self, group: int) -> list[tuple[str, str]]:
        """Return kind and code of the working vehicle devices of a failure group."""
        rows = np.flatnonzero((self.devices.group == group) & find_working_vehicle_devices(self.devices))
        return sorted((self.devices.kind[row], self.devices.code[row]) for row in rows.tolist())

    def find_crossings(self, level: Level) -> Ints:
        """Return for every arc the crossing of a ring that it leads through, -1 if none.

        A chain that leads through several crossings has the first one.
        """
        of_ring, chains = self.network.crossed[level], self.network.chains
        crossing_of_chain = np.full(len(chains), -1, np.int64)
        chain = chains.chain_of[of_ring.piece]
        # In reverse order, so that the first crossing of a chain is written last.
        rows = np.flatnonzero(chain >= 0)[::-1]
        crossing_of_chain[chain[rows]] = of_ring.crossing[rows]
        return np.asarray(crossing_of_chain[self.graph.chain])


def build_guarded_road_graph(analysis: Analysis) -> GuardedRoadGraph | None:
    """Return the guarded road graph of an analysis, None if no road or no ring is registered."""

    def compute_guarded(earlier: GuardedRoadGraph | None) -> GuardedRoadGraph | None:
        guards = compute_guards(analysis)
        if guards is None:
            return None
        same_roads = earlier is not None and earlier.network is guards.network
        graph = earlier.graph if earlier is not None and same_roads else _build_road_graph(guards.network)
        arc, group = find_guarded_arcs(analysis.devices, guards, graph)
        arcs = ArcColumns(
            n=len(graph.node),
            tail=graph.tail,
            head=graph.head,
            edge=graph.chain,
            length_m=graph.length_m,
            guard_start=row_starts(arc, len(graph.chain)),
            guard_group=group,
        )
        return GuardedRoadGraph(guards.network, graph, arcs, analysis.devices)

    return analysis.derived.get_or_compute("guarded road graph", compute_guarded)


def _build_road_graph(network: RoadNetwork) -> RoadGraph:
    chains = network.chains
    node = np.flatnonzero(network.terminal)
    number = np.full(len(network.terminal), -1, np.int64)
    number[node] = np.arange(len(node))
    forward, backward = np.flatnonzero(chains.forward), np.flatnonzero(chains.backward)
    arc = np.full((len(chains), 2), -1, np.int64)
    arc[forward, 1] = np.arange(len(forward))
    arc[backward, 0] = len(forward) + np.arange(len(backward))
    ahead = np.arange(len(forward) + len(backward)) < len(forward)
    chain = np.concatenate([forward, backward])
    length = np.empty(0)
    if len(chains):
        length = np.add.reduceat(network.pieces.length_m[chains.piece], chains.start[:-1])
    return RoadGraph(
        node,
        number,
        chain,
        ahead,
        arc,
        tail=number[np.where(ahead, chains.tail[chain], chains.head[chain])],
        head=number[np.where(ahead, chains.head[chain], chains.tail[chain])],
        length_m=length[chain],
    )


def find_guarded_arcs(devices: engine.DeviceTable, guards: CrossingGuards, graph: RoadGraph) -> tuple[Ints, Ints]:
    """Return arc and failure group of every guard, each pair once, sorted by arc."""
    unit, device = guards.assessment.counting_pairs
    passage, direction = (column[unit] for column in guards.passage_units)
    is_inbound = direction == engine.INBOUND
    chain = guards.passages.chain[passage]
    ahead = np.where(is_inbound, guards.passages.ahead_in[passage], ~guards.passages.ahead_in[passage])
    group = devices.group[device]
    watches = guards.watches
    working = np.flatnonzero(find_working_vehicle_devices(devices)[watches.device])
    chain = np.concatenate([chain, watches.chain[working]])
    ahead = np.concatenate([ahead, watches.ahead[working]])
    group = np.concatenate([group, devices.group[watches.device[working]]])
    width = int(devices.group.max(initial=0)) + 1
    arc = np.where(chain >= 0, graph.arc[chain, ahead.astype(np.int64)], -1)
    pairs = np.sort(arc[arc >= 0] * width + group[arc >= 0])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return pairs // width, pairs % width


# The cordons.


@dataclass(frozen=True)
class CordonKey:
    """Which cordon: a ring or all rings, in one direction."""

    level: Level | Literal["through"]
    direction: TravelDirection
    within_m: float = 0.0
    """A vehicle within this distance of the boundary is still on its way through."""


class CordonSet:
    """The cordons of one analysis, each computed when it is needed first."""

    def __init__(self, guarded: GuardedRoadGraph, earlier: "CordonSet | None" = None) -> None:
        self.guarded = guarded
        self.network, self.graph = guarded.network, guarded.graph
        self.arcs = Arcs(**guarded.arcs)
        self._cordons: dict[CordonKey, Cordon] = {}
        self._earlier: dict[CordonKey, Cordon] = {}
        self._lock = threading.RLock()
        if earlier is not None and earlier.graph is guarded.graph:
            with earlier._lock:
                self._earlier = {**earlier._earlier, **earlier._cordons}

    def get(self, key: CordonKey) -> Cordon:
        """Return a cordon."""
        with self._lock:
            if key not in self._cordons:
                self._cordons[key] = self._prepare_cordon(key)
            return self._cordons[key]

    def _prepare_cordon(self, key: CordonKey) -> Cordon:
        earlier = self._earlier.pop(key, None)
        if earlier is not None:
            if self._has_same_guards(earlier.graph):
                return earlier
            return earlier.with_guards(self.arcs.guard_start, self.arcs.guard_group)
        outside, inside = self.find_sides(key)
        if key.direction == "outbound":
            return Cordon.from_arcs(self.arcs, inside, outside)
        return Cordon.from_arcs(self.arcs, outside, inside)

    def _has_same_guards(self, passage: FlowGraph) -> bool:
        then, now = (list_guards(arcs, passage.arc_row) for arcs in (passage.arcs, self.arcs))
        return all(np.array_equal(left, right) for left, right in zip(then, now, strict=True))

    def find_sides(self, key: CordonKey) -> tuple[Ints, Ints]:
        """Return the nodes outside and the nodes inside a cordon.

        A road outside that ends within `within_m` of the boundary may go on beyond what is registered, so traffic can
        come from its end as well.
        """
        levels = self.network.levels
        outer, inner = (levels[0], levels[-1]) if key.level == THROUGH else (key.level,) * 2
        outside = self.guarded.find_nodes(outer, inside=False)
        inside = self.guarded.find_nodes(inner, inside=True)
        if key.within_m > 0:
            is_far = self._compute_distances(outside, outer) > key.within_m
            outside = outside[is_far | self._is_dead_end[outside]]
            inside = inside[self._compute_distances(inside, inner) > key.within_m]
        return outside, inside

    @cached_property
    def _is_dead_end(self) -> Bools:
        chains, number = self.network.chains, self.graph.number
        ends = np.concatenate([number[chains.tail], number[chains.head]])
        return np.asarray(np.bincount(ends, minlength=self.arcs.n) == 1)

    def _compute_distances(self, nodes: Ints, level: Level) -> Floats:
        """Return the distance of nodes from the boundary of a ring, in metres."""
        boundary = self.network.ring[level].polygon.boundary
        shapely.prepare(boundary)
        xy = self.network.pieces.node_xy[self.graph.node[nodes]]
        return np.asarray(shapely.distance(shapely.points(xy), boundary))

    @cached_property
    def crossing(self) -> dict[Level, Ints]:
        """For every arc the crossing of each ring that it leads through, -1 if none."""
        return {level: self.guarded.find_crossings(level) for level in self.network.levels}

    def list_crossings(self, route: ArcRoute) -> list[tuple[Level, str]]:
        """Return level and id of the crossings that a route leads through, in driving order, each once."""
        ids = self.network.crossing_ids
        crossings = {
            (level, ids[level][self.crossing[level][arc]]): None
            for arc in route.arcs.tolist()
            for level in self.network.levels
            if self.crossing[level][arc] >= 0
        }
        return list(crossings)

    def to_line(self, arcs: Ints) -> list[list[float]]:
        """Return consecutive arcs as one line of longitude and latitude, in driving direction."""
        line: list[list[float]] = []
        for arc in arcs.tolist():
            xy = virtual_checkpoints.find_vertices(self.network, int(self.graph.chain[arc]))
            lonlat: list[list[float]] = (
                self.network.projection.to_lonlat(xy if self.graph.ahead[arc] else xy[::-1]).round(7).tolist()
            )
            line += lonlat[1:] if line and line[-1] == lonlat[0] else lonlat
        return line

    def build_checkpoint(self, key: CordonKey, arc: int) -> dict[str, Any]:
        """Return a checkpoint that would guard an arc: at a crossing on it, else half way."""
        chain = int(self.graph.chain[arc])
        preferred = None if key.level == THROUGH else key.level
        location = virtual_checkpoints.find_passage(self.network, chain, preferred)
        lanes = [(key.direction, bool(self.graph.ahead[arc]))]
        return virtual_checkpoints.build_checkpoint(self.network, chain, location, lanes)

    def find_edges(self, arc: int) -> Ints:
        """Return the edges of the network along an arc, each once, in the order of the chain."""
        chains, chain = self.network.chains, int(self.graph.chain[arc])
        edge = self.network.pieces.edge[chains.piece[chains.start[chain] : chains.start[chain + 1]]]
        return edge[np.sort(np.unique(edge, return_index=True)[1])]


def list_guards(arcs: Arcs, rows: Ints) -> tuple[Ints, Ints]:
    """Return how many failure groups some arcs have, and which."""
    count = arcs.guard_start[rows + 1] - arcs.guard_start[rows]
    return count, arcs.guard_group[expand_ranges(count, arcs.guard_start[rows])[2]]


def compute_cordons(analysis: Analysis) -> CordonSet | None:
    """Return the cordons of an analysis, None if no road or no ring is registered."""

    def compute_set(earlier: CordonSet | None) -> CordonSet | None:
        guarded = build_guarded_road_graph(analysis)
        return None if guarded is None else CordonSet(guarded, earlier)

    return analysis.derived.get_or_compute("cordons", compute_set)


def explain_not_assessed(analysis: Analysis, key: CordonKey) -> Message | None:
    """Return the reason why a cordon cannot be assessed, None if it can."""
    if key.level == THROUGH:
        for level in reversed(LEVELS):
            if (reason := road_network.explain_not_assessed(analysis, level)) is not None:
                return Message("{level}: {reason}", level=level, reason=reason)
    elif (reason := road_network.explain_not_assessed(analysis, key.level)) is not None:
        return reason
    cordons = compute_cordons(analysis)
    assert cordons is not None  # noqa: S101  # a reason would have been returned
    outside, inside = cordons.find_sides(key)
    if not len(outside):
        return Message("no road lies outside and farther than {distance:g} m from the line", distance=key.within_m)
    if not len(inside):
        return Message("no road lies inside and farther than {distance:g} m from the line", distance=key.within_m)
    return None


def count_to_seal(cordons: CordonSet, cordon: Cordon) -> int:
    """Return the fewest chains whose guarding seals a cordon."""
    return 0 if cordon.sealed else len(cordon.plan_sealing(np.ones(len(cordons.arcs), np.int64)).arcs)


def count_cordon(analysis: Analysis, level: Level, direction: TravelDirection) -> dict[str, Any]:
    """Return one direction through a ring in four numbers; None is not zero, it is not assessed."""
    cordons = compute_cordons(analysis)
    if cordons is None or road_network.explain_not_assessed(analysis, level) is not None:
        return {"sealed": None, "depth": None, "to_seal": None, "critical": None}
    cordon = cordons.get(CordonKey(level, direction))
    depth = cordon.compute_depth()
    return {
        "sealed": cordon.sealed,
        "depth": None if depth is None else depth.at_least,
        "to_seal": count_to_seal(cordons, cordon),
        "critical": len(cordon.critical),
    }
