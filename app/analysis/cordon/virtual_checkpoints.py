"""Checkpoints that would guard a chain of road, every passage of a crossing, or a whole road.

No I/O. They are documents as a unit would register them, so the engine assesses them like any other.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import shapely

from app.analysis.crossings.crossing_guards import CrossingGuards
from app.analysis.crossings.road_network import DIRECTION_BITS, RoadNetwork, TravelDirection
from app.geo.arrays import Floats
from app.models.vocabulary import Level

MAX_PER_ROAD: Final = 500
"""Chains of one road that get a checkpoint at most."""
_TANGENT_M: Final = 5.0

LanePlan = tuple[TravelDirection, bool]
"""Direction of a lane, and whether it runs from tail to head of the chain."""


def find_vertices(network: RoadNetwork, chain: int) -> Floats:
    """Return the vertices of a chain from tail to head, shape (n, 2), in metres."""
    chains, pieces = network.chains, network.pieces
    lines = []
    for index in range(int(chains.start[chain]), int(chains.start[chain + 1])):
        piece = int(chains.piece[index])
        line = network.network.line[pieces.edge[piece]]
        if pieces.from_m[piece] > 0 or pieces.to_m[piece] < line.length:
            line = shapely.ops.substring(line, pieces.from_m[piece], pieces.to_m[piece])
        xy = shapely.get_coordinates(line)
        lines.append(xy[::-1] if chains.is_reversed[index] else xy)
    joined = np.concatenate(lines)
    # The end of a piece is the start of the next one.
    return np.asarray(joined[np.append(True, (joined[1:] != joined[:-1]).any(axis=1))])


def build_checkpoint(
    network: RoadNetwork, chain: int, location: Floats | None, lanes: Sequence[LanePlan]
) -> dict[str, Any]:
    """Return a vehicle checkpoint that guards a chain of road in some directions.

    Parameters
    ----------
    location : ndarray, shape (2,), optional
        The point in metres next to which it is placed on the chain; half way if not given.
    """
    line = shapely.LineString(find_vertices(network, chain))
    along = line.length / 2 if location is None else float(line.project(shapely.Point(location)))
    start, point, end = (
        line.interpolate(min(max(distance, 0.0), line.length))
        for distance in (along - _TANGENT_M, along, along + _TANGENT_M)
    )
    lonlat = network.projection.to_lonlat([(point.x, point.y)])
    grid_deg = float(np.degrees(np.arctan2(end.x - start.x, end.y - start.y)))
    ahead_deg = grid_deg + float(network.projection.convergence_deg(lonlat)[0])
    pieces = network.chains.piece[network.chains.start[chain] : network.chains.start[chain + 1]]
    piece_end = np.cumsum(network.pieces.length_m[pieces])
    piece = pieces[min(int(np.searchsorted(piece_end, along)), len(pieces) - 1)]
    road = network.network.road[network.pieces.edge[piece]]
    return {
        "kind": "vehicle",
        "road": str(network.roads.source["code"][road]),
        "geometry": {"type": "Point", "coordinates": lonlat[0].round(7).tolist()},
        "lanes": [
            {
                "lane": number,
                "direction": direction,
                "bearing_deg": round((ahead_deg if ahead else ahead_deg + 180) % 360, 1) % 360,
            }
            for number, (direction, ahead) in enumerate(lanes, start=1)
        ],
    }


def find_passage(network: RoadNetwork, chain: int, preferred: Level | None = None) -> Floats | None:
    """Return where a chain crosses the boundary of a ring, the preferred one first; None if it crosses none.

    A checkpoint there is a candidate of that crossing; elsewhere on the chain it might not be.
    """
    for level in sorted(network.levels, key=lambda level: level != preferred):
        of_ring = network.crossed[level]
        rows = np.flatnonzero(network.chains.chain_of[of_ring.piece] == chain)
        if len(rows):
            return np.asarray(of_ring.passage_xy[rows[0]])
    return None


def build_crossing_checkpoints(
    guards: CrossingGuards, crossing: str, directions: Sequence[TravelDirection]
) -> list[dict[str, Any]]:
    """Return checkpoints that guard every passage of a crossing; none if the id does not exist."""
    network, passages = guards.network, guards.passages
    checkpoints = []
    for index, level in enumerate(network.levels):
        if crossing not in network.crossing_ids[level]:
            continue
        row = network.crossing_ids[level].index(crossing)
        is_passage = (passages.level == index) & (passages.crossing == row) & (passages.chain >= 0)
        for passage in np.flatnonzero(is_passage).tolist():
            bits, ahead_in = int(passages.carries[passage]), bool(passages.ahead_in[passage])
            lanes: list[LanePlan] = [
                (direction, ahead_in if direction == "inbound" else not ahead_in)
                for direction in directions
                if bits & DIRECTION_BITS[direction]
            ]
            if lanes:
                chain = int(passages.chain[passage])
                checkpoints.append(build_checkpoint(network, chain, passages.xy[passage], lanes))
    return checkpoints


def build_road_checkpoints(network: RoadNetwork, road: str) -> list[dict[str, Any]]:
    """Return checkpoints that guard every chain of a road in all directions; none if the code does not exist."""
    codes = list(network.roads.source["code"])
    if road not in codes:
        return []
    edges = np.flatnonzero(network.network.road == codes.index(road))
    chains = np.unique(network.chains.chain_of[np.isin(network.pieces.edge, edges)])
    checkpoints = []
    for chain in chains[chains >= 0][:MAX_PER_ROAD].tolist():
        lanes: list[LanePlan] = []
        if network.chains.forward[chain]:
            lanes.append(("inbound", True))
        if network.chains.backward[chain]:
            lanes.append(("outbound", False))
        checkpoints.append(build_checkpoint(network, chain, find_passage(network, chain), lanes))
    return checkpoints
