"""The cordons of a state: each ring in each direction, and the way from outside the city to the core.

Pure. A cordon is prepared once for each state of roads and rings; after a change of devices it is asked
again under other guards, and what has the same guards as before is not asked at all.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypedDict

import numpy as np
import shapely

from app.analysis.cordon import virtual_checkpoints
from app.analysis.crossings import crossing_guards, road_network
from app.analysis.crossings.crossing_guards import Guards, working
from app.analysis.crossings.road_network import RoadNet
from app.analysis.engine_input import Computed
from app.geo.arrays import Bools, Floats, Ints, spread
from app.geo.coverage import assessment as engine
from app.geo.cuts.cordon import Arcs, Cordon, Route
from app.geo.cuts.flow_graph import Passage
from app.models.vocabulary import LEVELS, Level

# The road graph for questions of getting through: chains as arcs, and who watches each of them.
#
# Pure. Vehicles appear and stay at junctions and dead ends only, so a guard anywhere on a chain of road
# meets all traffic along it. A failure group stands on an arc once, however many of its devices do.


@dataclass(frozen=True, eq=False)
class Ways:
    """Directed chains between junctions; k arcs over n nodes."""

    node: Ints
    """Shape (n,): row of each node in ``RoadNet.pieces``."""
    number: Ints
    """Number of each node of ``RoadNet.pieces``, -1 for what lies within a chain."""
    chain: Ints
    """Shape (k,): chain each arc is one direction of."""
    ahead: Bools
    """Shape (k,): from tail to head of the chain, or back."""
    arc: Ints
    """Shape (c, 2): arc of each chain back (column 0) and ahead (column 1), -1: not to be driven."""
    tail: Ints
    """Shape (k,): node each arc leaves."""
    head: Ints
    length_m: Floats


class ArcColumns(TypedDict):
    """The arcs by the names the cordon engine knows their columns by."""

    n: int
    tail: Ints
    head: Ints
    edge: Ints
    """The chain."""
    length_m: Floats
    guard_start: Ints
    guard_group: Ints


@dataclass(frozen=True, eq=False)
class Watch:
    """Who watches which arc in one state."""

    net: RoadNet
    ways: Ways
    arcs: ArcColumns
    devices: engine.DeviceTable

    def nodes(self, level: Level, *, inside: bool) -> Ints:
        """Return the nodes of the arcs on one side of a ring, off its line: sources and sinks."""
        return np.asarray(self.ways.number[self.net.nodes(level, inside=inside)])

    def members(self, group: int) -> list[tuple[str, str]]:
        """Return kind and code of the working vehicle devices of a failure group."""
        rows = np.flatnonzero((self.devices.group == group) & working(self.devices))
        return sorted((self.devices.kind[row], self.devices.code[row]) for row in rows.tolist())

    def passages(self, level: Level) -> Ints:
        """Return for every arc the crossing of a ring it leads through, -1: none."""
        return passing(self.net, self.ways, level)


def build_road_graph(found: Computed) -> Watch | None:
    """Return who watches the roads in a state, None when no road or no ring is registered."""

    def make(before: Watch | None) -> Watch | None:
        guarded = crossing_guards.of(found)
        if guarded is None:
            return None
        same = before is not None and before.net is guarded.net
        ways = before.ways if before is not None and same else _ways(guarded.net)
        return Watch(guarded.net, ways, _arcs(found, guarded, ways), found.devices)

    return found.parts.get("watch", make)


def passing(net: RoadNet, ways: Ways, level: Level) -> Ints:
    """Return for every arc the crossing of a ring it leads through, -1: none.

    A chain that leads through several is told by the first in the order of crossings.
    """
    of_ring = net.crossed[level]
    of_chain = np.full(len(net.chains), -1, np.int64)
    chain = net.chains.chain_of[of_ring.piece]
    known = np.flatnonzero(chain >= 0)[::-1]
    of_chain[chain[known]] = of_ring.crossing[known]
    return np.asarray(of_chain[ways.chain])


def _ways(net: RoadNet) -> Ways:
    chains = net.chains
    node = np.flatnonzero(net.terminal)
    number = np.full(len(net.terminal), -1, np.int64)
    number[node] = np.arange(len(node))
    there, back = np.flatnonzero(chains.forward), np.flatnonzero(chains.backward)
    arc = np.full((len(chains), 2), -1, np.int64)
    arc[there, 1] = np.arange(len(there))
    arc[back, 0] = len(there) + np.arange(len(back))
    ahead = np.arange(len(there) + len(back)) < len(there)
    chain = np.concatenate([there, back])
    length = np.add.reduceat(net.pieces.length_m[chains.piece], chains.start[:-1]) if len(chains) else np.empty(0)
    return Ways(
        node, number, chain, ahead, arc,
        number[np.where(ahead, chains.tail[chain], chains.head[chain])],
        number[np.where(ahead, chains.head[chain], chains.tail[chain])],
        length[chain],
    )  # fmt: skip


def _arcs(found: Computed, guarded: Guards, ways: Ways) -> ArcColumns:
    arc, group = _guarding_arcs(found.devices, guarded, ways)
    return ArcColumns(
        n=len(ways.node),
        tail=ways.tail,
        head=ways.head,
        edge=ways.chain,
        length_m=ways.length_m,
        guard_start=np.searchsorted(arc, np.arange(len(ways.chain) + 1)),
        guard_group=group,
    )


def _guarding_arcs(devices: engine.DeviceTable, guarded: Guards, ways: Ways) -> tuple[Ints, Ints]:
    """Return arc and failure group of every guard, each pair once, sorted by arc."""
    unit, device = guarded.assessment.counting
    passage, direction = (column[unit] for column in guarded.passage_units)
    inward = direction == engine.INBOUND
    chain = guarded.passages.chain[passage]
    ahead = np.where(inward, guarded.passages.ahead_in[passage], ~guarded.passages.ahead_in[passage])
    group = devices.group[device]
    watches = guarded.watches
    on = np.flatnonzero(working(devices)[watches.device])
    chain = np.concatenate([chain, watches.chain[on]])
    ahead = np.concatenate([ahead, watches.ahead[on]])
    group = np.concatenate([group, devices.group[watches.device[on]]])
    width = int(devices.group.max(initial=0)) + 1
    arc = np.where(chain >= 0, ways.arc[chain, ahead.astype(np.int64)], -1)
    pairs = np.sort(arc[arc >= 0] * width + group[arc >= 0])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return pairs // width, pairs % width


Direction = Literal["inbound", "outbound"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("inbound", "outbound")
THROUGH: Final = "through"
"""The name of the cordon from outside the outermost ring to the inside of the innermost."""


@dataclass(frozen=True)
class Asked:
    """Which cordon is asked about."""

    level: Level | Literal["through"]
    direction: Direction
    within_m: float = 0.0
    """How far from the line a vehicle may be and is still on its way through."""


class Cordons:
    """The cordons of one state, each made when it is first asked for."""

    def __init__(self, of_watch: Watch, before: "Cordons | None" = None) -> None:
        self.watch = of_watch
        self.arcs = Arcs(**of_watch.arcs)
        self._made: dict[Asked, Cordon] = {}
        self._earlier: dict[Asked, Cordon] = {}
        self._lock = threading.RLock()
        if before is not None and before.watch.ways is of_watch.ways:
            with before._lock:
                self._earlier = {**before._earlier, **before._made}

    def get(self, asked: Asked) -> Cordon:
        """Return a cordon."""
        with self._lock:
            if asked not in self._made:
                self._made[asked] = self._make(asked)
            return self._made[asked]

    def _make(self, asked: Asked) -> Cordon:
        earlier = self._earlier.pop(asked, None)
        if earlier is not None:
            if self._same_guards(earlier.passage):
                return earlier
            return earlier.guarded_by(self.arcs.guard_start, self.arcs.guard_group)
        outside, inside = self.sides(asked)
        if asked.direction == "outbound":
            return Cordon.of(self.arcs, inside, outside)
        return Cordon.of(self.arcs, outside, inside)

    def _same_guards(self, passage: Passage) -> bool:
        """Tell whether the arcs of an earlier passage have the guards they had."""
        was, now = (_guarding_columns(arcs, passage.own) for arcs in (passage.arcs, self.arcs))
        return all(np.array_equal(one, other) for one, other in zip(was, now, strict=True))

    def sides(self, asked: Asked) -> tuple[Ints, Ints]:
        """Return the nodes outside and the nodes inside.

        A road outside that ends within reach of the line may go on beyond what is registered: traffic
        can come from its end as well.
        """
        levels = self.watch.net.levels
        outer, inner = (levels[0], levels[-1]) if asked.level == THROUGH else (asked.level,) * 2
        outside = self.watch.nodes(outer, inside=False)
        inside = self.watch.nodes(inner, inside=True)
        if asked.within_m > 0:
            far = self._away(outside, outer) > asked.within_m
            outside = outside[far | self._ends[outside]]
            inside = inside[self._away(inside, inner) > asked.within_m]
        return outside, inside

    @cached_property
    def _ends(self) -> Bools:
        """Which nodes are dead ends."""
        chains, number = self.watch.net.chains, self.watch.ways.number
        ends = np.concatenate([number[chains.tail], number[chains.head]])
        return np.asarray(np.bincount(ends, minlength=self.arcs.n) == 1)

    def _away(self, nodes: Ints, level: Level) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return how far nodes are from the line of a ring, in metres."""
        line = self.watch.net.ring[level].polygon.boundary
        shapely.prepare(line)
        xy = self.watch.net.pieces.node_xy[self.watch.ways.node[nodes]]
        return np.asarray(shapely.distance(shapely.points(xy), line))

    @cached_property
    def crossing(self) -> dict[Level, Ints]:
        """For every arc the crossing of each ring it leads through, -1: none."""
        return {level: self.watch.passages(level) for level in self.watch.net.levels}

    def crossed(self, route: Route) -> list[tuple[Level, str]]:
        """Return ring and name of the crossings a route leads through, in driving order."""
        net = self.watch.net
        told = {
            (level, net.name[level][self.crossing[level][arc]]): None
            for arc in route.arcs.tolist()
            for level in net.levels
            if self.crossing[level][arc] >= 0
        }
        return list(told)

    def lines(self, arcs: Ints) -> list[list[list[float]]]:
        """Return the geometry of arcs in driving direction: lists of longitude and latitude."""
        return [self._line(arc) for arc in arcs.tolist()]

    def path(self, route: Route) -> list[list[float]]:
        """Return a route as one line of longitude and latitude, vertices once where arcs meet."""
        told: list[list[float]] = []
        for line in self.lines(route.arcs):
            told += line[1:] if told and told[-1] == line[0] else line
        return told

    def _line(self, arc: int) -> list[list[float]]:
        ways, net = self.watch.ways, self.watch.net
        xy = virtual_checkpoints.chain_xy(net, int(ways.chain[arc]))
        if not ways.ahead[arc]:
            xy = xy[::-1]
        told: list[list[float]] = net.frame.to_lonlat(xy).round(7).tolist()
        return told

    def checkpoint(self, asked: Asked, arc: int) -> dict[str, Any]:
        """Return a checkpoint that would guard an arc: at a crossing on it, else half way."""
        net, ways = self.watch.net, self.watch.ways
        chain = int(ways.chain[arc])
        near = virtual_checkpoints.passage_on(net, chain, None if asked.level == THROUGH else asked.level)
        return virtual_checkpoints.checkpoint(net, chain, near, [(asked.direction, bool(ways.ahead[arc]))])

    def edges(self, arc: int) -> Ints:
        """Return the edges of the network an arc runs over, each once, in order of the chain."""
        chains, net = self.watch.net.chains, self.watch.net
        chain = int(self.watch.ways.chain[arc])
        edge = net.pieces.edge[chains.piece[chains.start[chain] : chains.start[chain + 1]]]
        return edge[np.sort(np.unique(edge, return_index=True)[1])]


def _guarding_columns(arcs: Arcs, own: Ints) -> tuple[Ints, Ints]:
    """Return how many groups some arcs have, and which."""
    count = arcs.guard_start[own + 1] - arcs.guard_start[own]
    return count, arcs.guard_group[spread(count, arcs.guard_start[own])[2]]


def compute_cordons(found: Computed) -> Cordons | None:
    """Return the cordons of a state, None when no road or no ring is registered."""

    def make(before: Cordons | None) -> Cordons | None:
        watched = build_road_graph(found)
        return None if watched is None else Cordons(watched, before)

    return found.parts.get("cordons", make)


def why_not(found: Computed, level: Level) -> str | None:
    """Return why nothing can be said about the cordon of a ring, None when it can."""
    net = road_network.of(found)
    if net is not None:
        return net.not_assessed(level)
    if level not in found.loaded.rings.get("level", ()):
        return "this ring is not registered"
    return "no road is registered"


def unanswerable(found: Computed, asked: Asked) -> str | None:
    """Return why a question about a cordon has no answer, None when it has one."""
    if asked.level == THROUGH:
        for level in reversed(LEVELS):
            if (reason := why_not(found, level)) is not None:
                return f"{level}: {reason}"
    elif (reason := why_not(found, asked.level)) is not None:
        return reason
    known = compute_cordons(found)
    assert known is not None  # noqa: S101  # else there was a reason
    for side, nodes in zip(("outside", "inside"), known.sides(asked), strict=True):
        if not len(nodes):
            return f"no road lies {side} and farther than {asked.within_m:g} m from the line"
    return None
