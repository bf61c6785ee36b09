"""The road graph for questions of getting through: chains as arcs, and who watches each of them.

Pure. Vehicles appear and stay at junctions and dead ends only, so a guard anywhere on a chain of road
meets all traffic along it. A failure group stands on an arc once, however many of its devices do.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from app.geo import coverage as engine
from app.geo.arrays import Bools, Floats, Ints
from app.models.vocabulary import Level
from app.services import guards
from app.services.assess import Computed
from app.services.guards import Guards, working
from app.services.roadnet import RoadNet


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


def of(found: Computed) -> Watch | None:
    """Return who watches the roads in a state, None when no road or no ring is registered."""

    def make(before: Watch | None) -> Watch | None:
        guarded = guards.of(found)
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
    if len(chains):
        length = np.add.reduceat(net.pieces.length_m[chains.piece], chains.start[:-1])
    else:
        length = np.empty(0)
    return Ways(
        node, number, chain, ahead, arc,
        number[np.where(ahead, chains.tail[chain], chains.head[chain])],
        number[np.where(ahead, chains.head[chain], chains.tail[chain])],
        length[chain],
    )  # fmt: skip


def _arcs(found: Computed, guarded: Guards, ways: Ways) -> ArcColumns:
    arc, group = _guarding(found.devices, guarded, ways)
    return ArcColumns(
        n=len(ways.node),
        tail=ways.tail,
        head=ways.head,
        edge=ways.chain,
        length_m=ways.length_m,
        guard_start=np.searchsorted(arc, np.arange(len(ways.chain) + 1)),
        guard_group=group,
    )


def _guarding(devices: engine.DeviceTable, guarded: Guards, ways: Ways) -> tuple[Ints, Ints]:
    """Return arc and failure group of every guard, each pair once, sorted by arc."""
    unit, device = guarded.assessment.counting
    passage, direction = (column[unit] for column in guarded.passage_units)
    inward = direction == engine.INBOUND
    chain = guarded.passages.chain[passage]
    ahead = np.where(
        inward, guarded.passages.ahead_in[passage], ~guarded.passages.ahead_in[passage]
    )
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
