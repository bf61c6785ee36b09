"""Map matching: assigns devices to roads, and finds the chains that they observe and in which direction.

A device observes a direction only if the direction is known: stated as inbound or outbound at a ring, or by the bearing
of its lanes elsewhere. See `app.geo.roads.chains` for chains of road.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from shapely import ops

from app.geo.arrays import Bools, Bytes, Floats, Ints, Shapes, expand_ranges, mark_first
from app.geo.coverage.tables import INBOUND, OUTBOUND
from app.geo.rings.ring_partition import Pieces, find_piece_at
from app.geo.roads.chains import Chains
from app.geo.roads.crossings import Crossings
from app.geo.roads.network import NodedNetwork

APPROACH_M: Final = 150.0
"""A passage is observed up to this distance along the road, but not beyond a junction."""
MATCH_WITHIN_M: Final = 30.0
"""Greatest distance of a device from its road."""
TURN_DEG: Final = 60.0
"""Greatest angle between a lane and the road that it follows."""
_TANGENT_M: Final = 10.0
_HALF_WIDTH_M: Final = 2.0
_MIN_COSINE: Final = 0.2
"""Cosine below which a road leads neither to nor from the middle."""


def build_approaches(network: NodedNetwork, pieces: Pieces, chains: Chains, crossings: Crossings) -> Shapes:
    """Return the road along which each passage is observed, as polygons 4 m wide.

    Parameters
    ----------
    network : NodedNetwork
    pieces : Pieces
    chains : Chains
        Of these pieces.
    crossings : Crossings

    Returns
    -------
    ndarray of Polygon or MultiPolygon, shape (p,)
        The road up to `APPROACH_M` on both sides of the line; it ends at junctions.
    """
    if not len(crossings.piece):
        return np.empty(0, dtype=object)
    chain = chains.chain_of[crossings.piece]
    along_m, passage_m = _compute_member_starts_m(pieces, chains), compute_passages_m(pieces, chains, crossings)
    count = np.where(chain >= 0, chains.start[chain + 1] - chains.start[chain], 0)
    passage, _, member = expand_ranges(count, np.where(chain >= 0, chains.start[chain], 0))
    piece = chains.piece[member]
    low = np.clip(passage_m[passage] - APPROACH_M - along_m[member], 0, pieces.length_m[piece])
    high = np.clip(passage_m[passage] + APPROACH_M - along_m[member], 0, pieces.length_m[piece])
    is_reversed = chains.is_reversed[member]
    start_m = np.where(is_reversed, pieces.to_m[piece] - high, pieces.from_m[piece] + low)
    end_m = np.where(is_reversed, pieces.to_m[piece] - low, pieces.from_m[piece] + high)
    rows_on_chain = np.flatnonzero(end_m > start_m)
    # A passage on no chain is observed along its own piece.
    single = np.flatnonzero(chain < 0)
    own = crossings.piece[single]
    rows = np.concatenate([passage[rows_on_chain], single])
    edge = np.concatenate([pieces.edge[piece[rows_on_chain]], pieces.edge[own]])
    start_m = np.concatenate([start_m[rows_on_chain], pieces.from_m[own]])
    end_m = np.concatenate([end_m[rows_on_chain], pieces.to_m[own]])
    sections = [
        ops.substring(line, start, end)
        for line, start, end in zip(network.line[edge], start_m.tolist(), end_m.tolist(), strict=True)
    ]
    order = np.argsort(rows, kind="stable")
    lines = shapely.multilinestrings(np.array(sections, dtype=object)[order], indices=rows[order])
    areas = shapely.buffer(lines, _HALF_WIDTH_M, quad_segs=2, cap_style="flat", join_style="mitre")
    return np.asarray(areas, dtype=object)


def compute_passages_m(pieces: Pieces, chains: Chains, crossings: Crossings) -> Floats:
    """Return the distance of each passage from the tail of its chain, along the chain; 0 if it is on none."""
    at_tail = pieces.tail[crossings.piece] == crossings.line_node
    along_edge = np.where(at_tail, pieces.from_m[crossings.piece], pieces.to_m[crossings.piece])
    return compute_along_chain_m(pieces, chains, crossings.piece, along_edge)


def compute_along_chain_m(pieces: Pieces, chains: Chains, piece: Ints, along_edge: Floats) -> Floats:
    """Return distances along chains for distances along edges.

    Parameters
    ----------
    pieces : Pieces
    chains : Chains
    piece : ndarray of int
        Piece that holds each point.
    along_edge : ndarray
        Metres from the tail of the edge of that piece.

    Returns
    -------
    ndarray
        Metres from the tail of the chain; 0 for pieces of no chain.
    """
    start = np.zeros(len(pieces.tail))
    start[chains.piece] = _compute_member_starts_m(pieces, chains)
    into_piece = np.where(chains.reversed_of[piece], pieces.to_m[piece] - along_edge, along_edge - pieces.from_m[piece])
    return np.asarray(np.where(chains.chain_of[piece] >= 0, start[piece] + into_piece, 0.0))


def _compute_member_starts_m(pieces: Pieces, chains: Chains) -> Floats:
    """Return the distance at which each member of a chain starts, along the chain."""
    length = pieces.length_m[chains.piece]
    total = np.cumsum(length) - length
    return np.asarray(total - np.repeat(total[chains.start[:-1]], np.diff(chains.start)))


def compute_inward_deg(network: NodedNetwork, pieces: Pieces, crossings: Crossings, inside: Bools) -> Floats:
    """Return the grid bearing of inbound travel at each passage, shape (p,).

    Parameters
    ----------
    network : NodedNetwork
    pieces : Pieces
    crossings : Crossings
    inside : ndarray of bool
        Side of each node, see `app.geo.rings.ring_partition.RingSide`.
    """
    edge = pieces.edge[crossings.piece]
    at_tail = pieces.tail[crossings.piece] == crossings.line_node
    start, stop = pieces.from_m[crossings.piece], pieces.to_m[crossings.piece]
    step = np.minimum(_TANGENT_M, stop - start)
    on_line, off_line = (
        shapely.get_coordinates(shapely.line_interpolate_point(network.line[edge], along))
        for along in (np.where(at_tail, start, stop), np.where(at_tail, start + step, stop - step))
    )
    away = off_line - on_line  # towards the side that the road on the line does not belong to
    inward = np.where(inside[crossings.line_node], -1.0, 1.0)
    return np.asarray(np.degrees(np.arctan2(away[:, 0] * inward, away[:, 1] * inward)) % 360.0, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class RoadMatches:
    """The road of each of d devices."""

    edge: Ints
    """Shape (d,): row of the edge that each device is on, -1: on none."""
    along_m: Floats
    """Shape (d,): distance along the edge."""
    group: Ints
    """Shape (d,): road group of that edge, -1: none."""


def match_devices_to_roads(
    network: NodedNetwork,
    tree: shapely.STRtree,
    xy: Floats,
    stated: Ints,
    within_m: float = MATCH_WITHIN_M,
) -> RoadMatches:
    """Return the edge of each device: the nearest, and of its stated road group if it has one.

    Parameters
    ----------
    network : NodedNetwork
    tree : STRtree
        Over ``network.line``.
    xy : ndarray, shape (d, 2)
        Devices in metres.
    stated : ndarray of int, shape (d,)
        Road group that the record states, -1: none. Such a device may be up to twice as far from its road.
    within_m : float

    Returns
    -------
    RoadMatches
    """
    points, d = np.asarray(shapely.points(xy), dtype=object), len(xy)
    max_distance = np.where(stated >= 0, 2 * within_m, within_m)
    device, edge = tree.query(points, predicate="dwithin", distance=max_distance)
    fits = ((stated[device] < 0) | (network.group[edge] == stated[device])) & network.drivable[edge]
    device, edge = device[fits], edge[fits]
    away = shapely.distance(points[device], network.line[edge])
    order = np.lexsort((edge, away, device))
    nearest = order[mark_first(device[order])]
    device, edge = device[nearest], edge[nearest]
    matches = RoadMatches(np.full(d, -1, np.int64), np.zeros(d), np.full(d, -1, np.int64))
    matches.edge[device] = edge
    matches.along_m[device] = shapely.line_locate_point(network.line[edge], points[device])
    matches.group[device] = network.group[edge]
    # A stated road group counts, however far from that road the location of the device is.
    matches.group[stated >= 0] = stated[stated >= 0]
    return matches


@dataclass(frozen=True, eq=False)
class ObservedChains:
    """Directed chains that devices observe from their location on the road; w of them."""

    device: Ints
    """Shape (w,): row of the device."""
    chain: Ints
    """Shape (w,): row of the chain."""
    ahead: Bools
    """Shape (w,): from tail to head of the chain, or back."""
    along_m: Floats
    """Shape (w,): location of the device, as a distance along the chain."""


def find_observed_chains(
    network: NodedNetwork,
    pieces: Pieces,
    chains: Chains,
    matches: RoadMatches,
    directions: Bytes,
    bearing_in: Floats,
    bearing_out: Floats,
    xy: Floats,
    middle: Floats,
) -> ObservedChains:
    """Return the chains that devices observe, each with its direction.

    Parameters
    ----------
    network, pieces, chains
        The network, cut and divided into chains.
    matches : RoadMatches
        Of d devices.
    directions : ndarray of uint8, shape (d,)
        Set of inbound (1) and outbound (2).
    bearing_in, bearing_out : ndarray, shape (d,)
        Grid bearing of the lanes of each direction, NaN if unknown. Then inbound is towards the middle, if the road
        leads to or from it.
    xy : ndarray, shape (d, 2)
    middle : ndarray, shape (2,)
        Middle of the innermost ring.

    Returns
    -------
    ObservedChains
        A device observes both directions if it has both, also if nothing else is known about it.
    """
    device = np.flatnonzero((matches.edge >= 0) & (directions > 0))
    edge, along_edge = matches.edge[device], matches.along_m[device]
    piece = find_piece_at(pieces, edge, along_edge)
    chain = chains.chain_of[piece]
    on_chain = chain >= 0
    device, edge, along_edge = device[on_chain], edge[on_chain], along_edge[on_chain]
    piece, chain = piece[on_chain], chain[on_chain]
    along_m = compute_along_chain_m(pieces, chains, piece, along_edge)
    road_deg = _compute_tangent_deg(network, edge, along_edge)
    towards = middle - xy[device]
    middle_deg = np.degrees(np.arctan2(towards[:, 0], towards[:, 1]))
    observed = []
    for bit, bearing, turn in ((INBOUND, bearing_in, 0.0), (OUTBOUND, bearing_out, 180.0)):
        has_direction = directions[device] & bit > 0
        has_bearing = ~np.isnan(bearing[device])
        cosine = np.cos(np.radians(np.where(has_bearing, bearing[device], middle_deg + turn) - road_deg))
        min_cosine = np.where(has_bearing, np.cos(np.radians(TURN_DEG)), _MIN_COSINE)
        both = ~has_bearing & (directions[device] == INBOUND | OUTBOUND)
        for forward, follows_road in ((True, cosine >= min_cosine), (False, -cosine >= min_cosine)):
            rows = np.flatnonzero(has_direction & (follows_road | both))
            ahead = np.full(len(rows), forward) ^ chains.reversed_of[piece[rows]]
            observed.append((device[rows], chain[rows], ahead, along_m[rows]))
    return ObservedChains(*(np.concatenate(column) for column in zip(*observed, strict=True)))


def _compute_tangent_deg(network: NodedNetwork, edge: Ints, along: Floats) -> Floats:
    """Return the grid bearing of edges, in the direction of drawing, at distances along them."""
    line, length = network.line[edge], network.length_m[edge]
    ends = (np.maximum(along - _TANGENT_M / 2, 0.0), np.minimum(along + _TANGENT_M / 2, length))
    start, stop = (shapely.get_coordinates(shapely.line_interpolate_point(line, end)) for end in ends)
    return np.asarray(np.degrees(np.arctan2(*(stop - start).T)), dtype=np.float64)
