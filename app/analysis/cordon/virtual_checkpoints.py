"""Checkpoints that would guard a place: a stretch of road, every passage of a crossing, a whole road.

Pure. They are records as a person would register them, so the engine judges them like any other.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import shapely

from app.analysis.crossings.crossing_guards import Guards
from app.analysis.crossings.road_network import RoadNet
from app.analysis.crossings.schemas import Passing
from app.analysis.planning.overlay_schemas import Sealing
from app.geo.arrays import Floats
from app.geo.coverage import assessment as engine
from app.models.vocabulary import Level

MOST: Final = 500
"""Stretches of one road that are guarded at most."""
_BITS: Final[dict[Passing, int]] = {"inbound": engine.INBOUND, "outbound": engine.OUTBOUND}
_TANGENT_M: Final = 5.0

Lane = tuple[Passing, bool]
"""Direction, and whether it runs along the chain of road, from its tail to its head."""


def chain_xy(net: RoadNet, chain: int) -> Floats:
    """Return the vertices of a chain of road from tail to head, in metres."""
    chains, pieces = net.chains, net.pieces
    parts = []
    for place in range(int(chains.start[chain]), int(chains.start[chain + 1])):
        piece = int(chains.piece[place])
        line = net.network.line[pieces.edge[piece]]
        if pieces.from_m[piece] > 0 or pieces.to_m[piece] < line.length:
            line = shapely.ops.substring(line, pieces.from_m[piece], pieces.to_m[piece])
        xy = shapely.get_coordinates(line)
        parts.append(xy[::-1] if chains.turned[place] else xy)
    joined = np.concatenate(parts)
    return np.asarray(joined[np.append(True, (joined[1:] != joined[:-1]).any(axis=1))])


def checkpoint(net: RoadNet, chain: int, near: Floats | None, lanes: Sequence[Lane]) -> dict[str, Any]:
    """Return a vehicle checkpoint that guards a chain of road in some directions.

    Parameters
    ----------
    near : ndarray, shape (2,), optional
        Where along the chain it stands, in metres; half way where not given.
    """
    line = shapely.LineString(chain_xy(net, chain))
    at = line.length / 2 if near is None else float(line.project(shapely.Point(near)))
    start, place, stop = (
        line.interpolate(min(max(along, 0.0), line.length)) for along in (at - _TANGENT_M, at, at + _TANGENT_M)
    )
    lonlat = net.frame.to_lonlat([(place.x, place.y)])
    grid = float(np.degrees(np.arctan2(stop.x - start.x, stop.y - start.y)))
    ahead = grid + float(net.frame.convergence_deg(lonlat)[0])
    pieces = net.chains.piece[net.chains.start[chain] : net.chains.start[chain + 1]]
    along = np.cumsum(net.pieces.length_m[pieces])
    piece = pieces[min(int(np.searchsorted(along, at)), len(pieces) - 1)]
    road = net.network.road[net.pieces.edge[piece]]
    return {
        "kind": "vehicle",
        "road": str(net.base.roads["code"][road]),
        "geometry": {"type": "Point", "coordinates": lonlat[0].round(7).tolist()},
        "lanes": [
            {
                "lane": number,
                "direction": direction,
                "bearing_deg": round((ahead if along_it else ahead + 180) % 360, 1) % 360,
            }
            for number, (direction, along_it) in enumerate(lanes, start=1)
        ],
    }


def passage_on(net: RoadNet, chain: int, first: Level | None = None) -> Floats | None:
    """Return where a chain meets the line of a ring, None where it meets none.

    A checkpoint there is judged at that crossing, and elsewhere on the chain might not be seen by it.
    """
    levels = sorted(net.levels, key=lambda level: level != first)
    for level in levels:
        of_ring = net.crossed[level]
        mine = np.flatnonzero(net.chains.chain_of[of_ring.piece] == chain)
        if len(mine):
            return np.asarray(of_ring.passage_xy[mine[0]])
    return None


def checkpoints(guarded: Guards, sealing: Sealing) -> list[dict[str, Any]]:
    """Return the checkpoints that seal a place; none where there is no such place."""
    if sealing.road is not None:
        return _on_road(guarded.net, sealing.road)
    return _at_crossing(guarded, str(sealing.crossing), sealing.directions or list(_BITS))


def _at_crossing(guarded: Guards, name: str, wanted: Sequence[Passing]) -> list[dict[str, Any]]:
    net, passages = guarded.net, guarded.passages
    found = []
    for place, level in enumerate(net.levels):
        if name not in net.name[level]:
            continue
        row = net.name[level].index(name)
        mine = (passages.level == place) & (passages.crossing == row) & (passages.chain >= 0)
        for passage in np.flatnonzero(mine).tolist():
            carried = int(passages.carries[passage])
            inward = bool(passages.ahead_in[passage])
            lanes: list[Lane] = [
                (way, inward if way == "inbound" else not inward) for way in wanted if carried & _BITS[way]
            ]
            if lanes:
                chain = int(passages.chain[passage])
                found.append(checkpoint(net, chain, passages.xy[passage], lanes))
    return found


def _on_road(net: RoadNet, code: str) -> list[dict[str, Any]]:
    codes = list(net.base.roads["code"])
    if code not in codes:
        return []
    edges = np.flatnonzero(net.network.road == codes.index(code))
    chains = np.unique(net.chains.chain_of[np.isin(net.pieces.edge, edges)])
    found = []
    for chain in chains[chains >= 0][:MOST].tolist():
        lanes: list[Lane] = []
        if net.chains.forward[chain]:
            lanes.append(("inbound", True))
        if net.chains.backward[chain]:
            lanes.append(("outbound", False))
        found.append(checkpoint(net, chain, passage_on(net, chain), lanes))
    return found
