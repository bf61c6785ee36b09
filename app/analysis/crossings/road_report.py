"""What a person should know of the roads before believing what follows from them.

Pure: from a computed state to plain values. Lists are cut off at a stated length, counts never are.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, Field

from app.analysis.coverage.schemas import Answer
from app.analysis.crossings import road_network
from app.analysis.crossings.road_network import DEAD_END_M, RoadNet
from app.analysis.engine_input import Computed
from app.analysis.metadata import about
from app.models.vocabulary import Level

LISTED: Final = 500
"""Roads or places named at most of each oddity."""


def told(found: Computed) -> dict[str, Any]:
    """Return the report on the road network; null where there is none."""
    net = road_network.of(found)
    if net is None:
        answer = about(found, network=None)
        answer["not_assessed"].append({"what": "network", "reason": _why_not(found)})
        return answer
    report, network = net.base.report, net.network
    length = report.component_length_m
    return about(
        found,
        network={
            "roads": len(net.base.roads["code"]),
            "groups": len(net.base.label),
            "edges": len(network),
            "junctions": len(network.node_xy),
            "length_m": round(float(network.length_m.sum()), 1),
            "not_drivable_edges": int((~network.drivable).sum()),
            "components": {
                "count": len(length),
                "longest_m": length[:LISTED].round(1).tolist(),
                "outside_longest": _codes(net, _apart(net)),
            },
            "dead_ends": len(report.dead_end),
            "dead_ends_at_ring": [end for level in net.levels for end in _dead_ends(net, level)],
            "duplicate": _codes(net, report.duplicate.tolist()),
            "zero_length": _codes(net, report.zero_length.tolist()),
            "self_crossing": _codes(net, report.self_crossing.tolist()),
            "snapped_ends": report.snapped,
        },
    )


def _why_not(found: Computed) -> str:
    if not found.loaded.roads.get("code"):
        return "no road is registered"
    return "no ring is registered: roads are looked at as the rings see them"


def _apart(net: RoadNet) -> list[int]:
    """Return the roads of which no piece belongs to the longest component."""
    network = net.network
    within = net.base.report.component[network.tail] == 0
    return sorted(set(network.road[~within].tolist()) - set(network.road[within].tolist()))


def _codes(net: RoadNet, roads: Sequence[int]) -> dict[str, Any]:
    codes = net.base.roads["code"]
    return {"count": len(roads), "roads": [codes[road] for road in roads[:LISTED]]}


def _dead_ends(net: RoadNet, level: Level) -> list[dict[str, Any]]:
    """Return roads that stop near a ring's line without crossing it."""
    nodes = net.dead_ends(level)[:LISTED]
    network = net.network
    lonlat = net.frame.to_lonlat(network.node_xy[nodes]).round(7).tolist() if len(nodes) else []
    ends = []
    for node, place in zip(nodes.tolist(), lonlat, strict=True):
        edge = int(np.flatnonzero((network.tail == node) | (network.head == node))[0])
        ends.append(
            {
                "level": level,
                "road": net.base.roads["code"][network.road[edge]],
                "within_m": DEAD_END_M,
                "geometry": {"type": "Point", "coordinates": place},
            }
        )
    return ends


# The report on the road network as it travels.


class OddRoads(BaseModel):
    """Roads with something odd about them; all are counted, some are named."""

    count: int
    roads: list[str]


class Components(BaseModel):
    """Parts of the network that no road joins."""

    count: int
    longest_m: list[float] = Field(description="Metres of road in each, the longest first.")
    outside_longest: OddRoads = Field(description="Roads that do not reach the longest part.")


class DeadEnd(BaseModel):
    """A road that stops near a ring's line without crossing it."""

    level: Level
    road: str
    within_m: float
    geometry: dict[str, Any]


class Network(BaseModel):
    """What the roads make together."""

    roads: int
    groups: int = Field(description="Road groups: by group, number or name, else each its own.")
    edges: int
    junctions: int
    length_m: float
    not_drivable_edges: int = Field(description="Paths: in the registry, not for vehicles.")
    components: Components
    dead_ends: int
    dead_ends_at_ring: list[DeadEnd]
    duplicate: OddRoads = Field(description="They repeat another; the greater road counts.")
    zero_length: OddRoads = Field(description="Without extent; left out.")
    self_crossing: OddRoads = Field(description="They cross themselves without a junction.")
    snapped_ends: int = Field(description="Ends moved by the jurisdiction's road_snap_m.")


class NetworkAnswer(Answer):
    """The report on the road network; null when no road or no ring is registered."""

    network: Network | None
