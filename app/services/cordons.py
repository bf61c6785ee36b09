"""The cordons of a state: each ring in each direction, and the way from outside the city to the core.

Pure. A cordon is prepared once for each state of roads and rings; after a change of devices it is asked
again under other guards, and what has the same guards as before is not asked at all.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import shapely

from app.geo.arrays import Bools, Ints
from app.geo.cordon import Arcs, Cordon, Route
from app.geo.passage import Passage
from app.geo.units import spread
from app.models.vocabulary import LEVELS, Level
from app.services import roadnet, seals, watch
from app.services.assess import Computed
from app.services.watch import Watch

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
        was, now = (_guarding(arcs, passage.own) for arcs in (passage.arcs, self.arcs))
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
        xy = seals.chain_xy(net, int(ways.chain[arc]))
        if not ways.ahead[arc]:
            xy = xy[::-1]
        told: list[list[float]] = net.frame.to_lonlat(xy).round(7).tolist()
        return told

    def checkpoint(self, asked: Asked, arc: int) -> dict[str, Any]:
        """Return a checkpoint that would guard an arc: at a crossing on it, else half way."""
        net, ways = self.watch.net, self.watch.ways
        chain = int(ways.chain[arc])
        near = seals.passage_on(net, chain, None if asked.level == THROUGH else asked.level)
        return seals.checkpoint(net, chain, near, [(asked.direction, bool(ways.ahead[arc]))])

    def edges(self, arc: int) -> Ints:
        """Return the edges of the network an arc runs over, each once, in order of the chain."""
        chains, net = self.watch.net.chains, self.watch.net
        chain = int(self.watch.ways.chain[arc])
        edge = net.pieces.edge[chains.piece[chains.start[chain] : chains.start[chain + 1]]]
        return edge[np.sort(np.unique(edge, return_index=True)[1])]


def _guarding(arcs: Arcs, own: Ints) -> tuple[Ints, Ints]:
    """Return how many groups some arcs have, and which."""
    count = arcs.guard_start[own + 1] - arcs.guard_start[own]
    return count, arcs.guard_group[spread(count, arcs.guard_start[own])[2]]


def of(found: Computed) -> Cordons | None:
    """Return the cordons of a state, None when no road or no ring is registered."""

    def make(before: Cordons | None) -> Cordons | None:
        watched = watch.of(found)
        return None if watched is None else Cordons(watched, before)

    return found.parts.get("cordons", make)


def why_not(found: Computed, level: Level) -> str | None:
    """Return why nothing can be said about the cordon of a ring, None when it can."""
    net = roadnet.of(found)
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
    known = of(found)
    assert known is not None  # noqa: S101  # else there was a reason
    for side, nodes in zip(("outside", "inside"), known.sides(asked), strict=True):
        if not len(nodes):
            return f"no road lies {side} and farther than {asked.within_m:g} m from the line"
    return None
