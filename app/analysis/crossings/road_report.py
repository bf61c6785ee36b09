"""The report on the road network: what to check before relying on crossings and cordons.

No I/O. Lists are cut at a documented length, counts are not.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, Field

from app.analysis.crossings.road_network import DEAD_END_M, NO_ROAD, RoadNetwork, compute_road_network
from app.analysis.metadata import ResultMetadata, build_result
from app.analysis.results import Analysis
from app.messages import Message
from app.models.vocabulary import Level

MAX_LISTED: Final = 500
"""Roads or locations that are listed at most for each finding."""


def build_road_report(analysis: Analysis) -> dict[str, Any]:
    """Return the report on the road network; null if no road or no ring is registered."""
    network = compute_road_network(analysis)
    if network is None:
        result = build_result(analysis, network=None)
        reason = NO_ROAD
        if analysis.snapshot.get_codes("road"):
            reason = Message("no ring is registered: the road network is computed together with the rings")
        result["not_assessed"].append({"what": "network", "reason": reason})
        return result
    report, graph = network.roads.report, network.network
    length = report.component_length_m
    return build_result(
        analysis,
        network={
            "roads": len(network.roads.source["code"]),
            "groups": len(network.roads.label),
            "edges": len(graph),
            "junctions": len(graph.node_xy),
            "length_m": round(float(graph.length_m.sum()), 1),
            "not_drivable_edges": int((~graph.drivable).sum()),
            "components": {
                "count": len(length),
                "longest_m": length[:MAX_LISTED].round(1).tolist(),
                "outside_longest": _list_roads(network, find_unconnected_roads(network)),
            },
            "dead_ends": len(report.dead_end),
            "dead_ends_at_ring": [end for level in network.levels for end in list_dead_ends(network, level)],
            "duplicate": _list_roads(network, report.duplicate.tolist()),
            "zero_length": _list_roads(network, report.zero_length.tolist()),
            "self_crossing": _list_roads(network, report.self_crossing.tolist()),
            "snapped_ends": report.snapped_count,
        },
    )


def find_unconnected_roads(network: RoadNetwork) -> list[int]:
    """Return the roads that have no edge in the longest component."""
    graph = network.network
    in_longest = network.roads.report.component[graph.tail] == 0
    return sorted(set(graph.road[~in_longest].tolist()) - set(graph.road[in_longest].tolist()))


def _list_roads(network: RoadNetwork, roads: Sequence[int]) -> dict[str, Any]:
    codes = network.roads.source["code"]
    return {"count": len(roads), "roads": [codes[road] for road in roads[:MAX_LISTED]]}


def list_dead_ends(network: RoadNetwork, level: Level) -> list[dict[str, Any]]:
    """Return the roads that end shortly before the boundary of a ring."""
    nodes = network.find_dead_ends(level)[:MAX_LISTED]
    graph = network.network
    lonlat = network.projection.to_lonlat(graph.node_xy[nodes]).round(7).tolist() if len(nodes) else []
    ends = []
    for node, coordinates in zip(nodes.tolist(), lonlat, strict=True):
        edge = int(np.flatnonzero((graph.tail == node) | (graph.head == node))[0])
        ends.append(
            {
                "level": level,
                "road": network.roads.source["code"][graph.road[edge]],
                "within_m": DEAD_END_M,
                "geometry": {"type": "Point", "coordinates": coordinates},
            }
        )
    return ends


# Schemas of the response.


class OddRoads(BaseModel):
    """Roads with the same finding; all are counted, the first ones are listed."""

    count: int
    roads: list[str]


class Components(BaseModel):
    """Parts of the network that are not connected with each other."""

    count: int
    longest_m: list[float] = Field(description="Length of the roads of each part, the longest first.")
    outside_longest: OddRoads = Field(description="Roads that are not in the longest part.")


class DeadEnd(BaseModel):
    """A road that ends shortly before the boundary of a ring."""

    level: Level
    road: str
    within_m: float
    geometry: dict[str, Any]


class RoadNetworkReport(BaseModel):
    """The road network in numbers, and what is unusual in it."""

    roads: int
    groups: int = Field(description="Road groups: roads with the same group, number or name; else each road.")
    edges: int
    junctions: int
    length_m: float
    not_drivable_edges: int = Field(description="Paths: registered, but not for vehicles.")
    components: Components
    dead_ends: int
    dead_ends_at_ring: list[DeadEnd]
    duplicate: OddRoads = Field(description="Roads that repeat another; the one of the higher class counts.")
    zero_length: OddRoads = Field(description="Roads without length; they are left out.")
    self_crossing: OddRoads = Field(description="Roads that cross themselves without a junction.")
    snapped_ends: int = Field(description="Road ends moved by `road_snap_m` of the jurisdiction.")


class NetworkAnswer(ResultMetadata):
    """The report on the road network; null if no road or no ring is registered."""

    network: RoadNetworkReport | None
