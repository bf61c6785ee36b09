"""Which stretch of road a device watches, and in which direction of travel.

Works on chains of road (`app.geo.roads.chains`). Promises that a device is only taken to watch a direction
that is known: stated as inbound or outbound at a ring, or by the bearing of its lanes elsewhere.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import ops

from app.geo.arrays import Bools, Floats, Ints, spread
from app.geo.coverage.tables import INBOUND, OUTBOUND
from app.geo.rings.ring_partition import Pieces, piece_at
from app.geo.roads.chains import Chains
from app.geo.roads.crossings import Crossings
from app.geo.roads.network import Network

APPROACH_M: Final = 150.0
"""How far from the line along the road, before any junction, a passage is watched."""
STANDS_WITHIN_M: Final = 30.0
"""How far from its road a device stands."""
TURN_DEG: Final = 60.0
"""How far a lane's bearing may be from the road's for the lane to run along it."""
_TANGENT_M: Final = 10.0
_HALF_WIDTH_M: Final = 2.0
_ACROSS: Final = 0.2
"""Cosine below which a road runs neither to nor from the middle."""

Polygons = NDArray[np.object_]


def approaches(found: Network, pieces: Pieces, of: Chains, crossed: Crossings) -> Polygons:
    """Return the stretch of road on which each passage is watched, as polygons 4 m wide.

    Parameters
    ----------
    found : Network
    pieces : Pieces
    of : Chains
        Of these pieces.
    crossed : Crossings

    Returns
    -------
    ndarray of Polygon or MultiPolygon, shape (p,)
        The road up to `APPROACH_M` on both sides, ending at junctions.
    """
    p = len(crossed.piece)
    if not p:
        return np.empty(0, dtype=object)
    chain = of.chain_of[crossed.piece]
    along, at = _positions(pieces, of), passages_m(pieces, of, crossed)
    count = np.where(chain >= 0, of.start[chain + 1] - of.start[chain], 0)
    passage, _, member = spread(count, np.where(chain >= 0, of.start[chain], 0))
    piece = of.piece[member]
    low = np.clip(at[passage] - APPROACH_M - along[member], 0, pieces.length_m[piece])
    high = np.clip(at[passage] + APPROACH_M - along[member], 0, pieces.length_m[piece])
    back = of.turned[member]
    first = np.where(back, pieces.to_m[piece] - high, pieces.from_m[piece] + low)
    last = np.where(back, pieces.to_m[piece] - low, pieces.from_m[piece] + high)
    some = np.flatnonzero(last > first)
    alone = np.flatnonzero(chain < 0)
    rows = np.concatenate([passage[some], alone])
    edge = np.concatenate([pieces.edge[piece[some]], pieces.edge[crossed.piece[alone]]])
    first = np.concatenate([first[some], pieces.from_m[crossed.piece[alone]]])
    last = np.concatenate([last[some], pieces.to_m[crossed.piece[alone]]])
    parts = [
        ops.substring(line, start, end)
        for line, start, end in zip(found.line[edge], first.tolist(), last.tolist(), strict=True)
    ]
    order = np.argsort(rows, kind="stable")
    every = np.array(parts, dtype=object)[order]
    lines = shapely.multilinestrings(every, indices=rows[order])
    wide = shapely.buffer(lines, _HALF_WIDTH_M, quad_segs=2, cap_style="flat", join_style="mitre")
    return np.asarray(wide, dtype=object)


def passages_m(pieces: Pieces, of: Chains, crossed: Crossings) -> Floats:
    """Return where each passage is, measured along its chain; 0 where it is on none."""
    at_tail = pieces.tail[crossed.piece] == crossed.end
    at = np.where(at_tail, pieces.from_m[crossed.piece], pieces.to_m[crossed.piece])
    return along_m(pieces, of, crossed.piece, at)


def along_m(pieces: Pieces, of: Chains, piece: Ints, at: Floats) -> Floats:
    """Return where places along edges are, measured along the chains of their pieces.

    Parameters
    ----------
    pieces : Pieces
    of : Chains
    piece : ndarray of int
        Piece each place is on.
    at : ndarray
        Metres along the edge of that piece.

    Returns
    -------
    ndarray
        Metres from the tail of the chain; 0 for pieces of no chain.
    """
    start = np.zeros(len(pieces.tail))
    start[of.piece] = _positions(pieces, of)
    into = np.where(of.turned_of[piece], pieces.to_m[piece] - at, at - pieces.from_m[piece])
    return np.asarray(np.where(of.chain_of[piece] >= 0, start[piece] + into, 0.0))


def _positions(pieces: Pieces, of: Chains) -> Floats:
    """Return where each member of a chain starts, measured along the chain."""
    length = pieces.length_m[of.piece]
    total = np.cumsum(length) - length
    return np.asarray(total - np.repeat(total[of.start[:-1]], np.diff(of.start)))


def inward_deg(found: Network, pieces: Pieces, crossed: Crossings, inside: Bools) -> Floats:
    """Return the grid bearing of inbound travel at each passage, shape (p,).

    Parameters
    ----------
    found : Network
    pieces : Pieces
    crossed : Crossings
    inside : ndarray of bool
        Side of each node, see `app.geo.rings.ring_partition.Side`.
    """
    edge = pieces.edge[crossed.piece]
    at_tail = pieces.tail[crossed.piece] == crossed.end
    start, stop = pieces.from_m[crossed.piece], pieces.to_m[crossed.piece]
    reach = np.minimum(_TANGENT_M, stop - start)
    near = np.where(at_tail, start, stop)
    far = np.where(at_tail, start + reach, stop - reach)
    here, there = (shapely.get_coordinates(shapely.line_interpolate_point(found.line[edge], at)) for at in (near, far))
    away = there - here  # from the line, towards the side the place does not belong to
    inward = np.where(inside[crossed.end], -1.0, 1.0)
    return np.asarray(np.degrees(np.arctan2(away[:, 0] * inward, away[:, 1] * inward)) % 360.0, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Standing:
    """Where devices stand on roads; d devices."""

    edge: Ints
    """Shape (d,): row of the edge each stands on, -1: on none."""
    at_m: Floats
    """Shape (d,): where, measured along the edge."""
    group: Ints
    """Shape (d,): road group of that edge, -1: none."""


def standing(
    found: Network,
    tree: shapely.STRtree,
    xy: Floats,
    stated: Ints,
    within_m: float = STANDS_WITHIN_M,
) -> Standing:
    """Return on which edge each device stands: the nearest, of its stated road group if it has one.

    Parameters
    ----------
    found : Network
    tree : STRtree
        Over ``found.line``.
    xy : ndarray, shape (d, 2)
        Devices in metres.
    stated : ndarray of int, shape (d,)
        Road group a person stated, -1: none. Such a device may stand a little farther off.
    within_m : float

    Returns
    -------
    Standing
    """
    points, d = np.asarray(shapely.points(xy), dtype=object), len(xy)
    reach = np.where(stated >= 0, 2 * within_m, within_m)
    device, edge = tree.query(points, predicate="dwithin", distance=reach)
    fits = ((stated[device] < 0) | (found.group[edge] == stated[device])) & found.drivable[edge]
    device, edge = device[fits], edge[fits]
    away = shapely.distance(points[device], found.line[edge])
    order = np.lexsort((edge, away, device))
    device, edge = device[order], edge[order]
    first = np.append(True, np.diff(device) != 0)[: len(device)]
    device, edge = device[first], edge[first]
    told = Standing(np.full(d, -1, np.int64), np.zeros(d), np.full(d, -1, np.int64))
    told.edge[device] = edge
    told.at_m[device] = shapely.line_locate_point(found.line[edge], points[device])
    told.group[device] = found.group[edge]
    # Who states a road is on it, however far off it was put on the map.
    told.group[stated >= 0] = stated[stated >= 0]
    return told


@dataclass(frozen=True, eq=False)
class Watching:
    """Directed chains that devices watch where they stand; w of them."""

    device: Ints
    chain: Ints
    ahead: Bools
    """From tail to head of the chain, or back."""
    at_m: Floats
    """Where the device stands, measured along the chain."""


def watching(
    found: Network,
    pieces: Pieces,
    of: Chains,
    stands: Standing,
    directions: NDArray[np.uint8],
    bearing_in: Floats,
    bearing_out: Floats,
    xy: Floats,
    middle: Floats,
) -> Watching:
    """Return which way devices look along the road they stand on.

    Parameters
    ----------
    found, pieces, of
        The network, cut and chained.
    stands : Standing
        Of d devices.
    directions : ndarray of uint8, shape (d,)
        Set of inbound (1) and outbound (2).
    bearing_in, bearing_out : ndarray, shape (d,)
        Grid bearing of the lanes of each direction, NaN where it is not known. Then inbound is
        towards the middle, where the road leads to or from it.
    xy : ndarray, shape (d, 2)
    middle : ndarray, shape (2,)
        Middle of the innermost ring.

    Returns
    -------
    Watching
        A device with both directions, or of which nothing more is known than that it has both,
        watches both.
    """
    device = np.flatnonzero((stands.edge >= 0) & (directions > 0))
    edge, at = stands.edge[device], stands.at_m[device]
    piece = piece_at(pieces, edge, at)
    chain = of.chain_of[piece]
    on = chain >= 0
    device, edge, at, piece, chain = device[on], edge[on], at[on], piece[on], chain[on]
    at_m = along_m(pieces, of, piece, at)
    road = _tangent_deg(found, edge, at)
    towards = middle - xy[device]
    inner = np.degrees(np.arctan2(towards[:, 0], towards[:, 1]))
    parts = []
    for bit, bearing, turn in ((INBOUND, bearing_in, 0.0), (OUTBOUND, bearing_out, 180.0)):
        has = directions[device] & bit > 0
        known = ~np.isnan(bearing[device])
        cosine = np.cos(np.radians(np.where(known, bearing[device], inner + turn) - road))
        least = np.where(known, np.cos(np.radians(TURN_DEG)), _ACROSS)
        both = ~known & (directions[device] == INBOUND | OUTBOUND)
        for way, along in ((True, cosine >= least), (False, -cosine >= least)):
            rows = np.flatnonzero(has & (along | both))
            ahead = np.full(len(rows), way) ^ of.turned_of[piece[rows]]
            parts.append((device[rows], chain[rows], ahead, at_m[rows]))
    return Watching(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _tangent_deg(found: Network, edge: Ints, at: Floats) -> Floats:
    """Return the grid bearing of edges, as drawn, at places along them."""
    line, length = found.line[edge], found.length_m[edge]
    ends = (np.maximum(at - _TANGENT_M / 2, 0.0), np.minimum(at + _TANGENT_M / 2, length))
    start, stop = (shapely.get_coordinates(shapely.line_interpolate_point(line, end)) for end in ends)
    return np.asarray(np.degrees(np.arctan2(*(stop - start).T)), dtype=np.float64)
