"""Ring partition: the road network divided by each ring into inside, outside and the band along the boundary.

- Every path from one side of a ring to the other uses a listed passage.
- Road within the band of the ring (a few metres on both sides of its line) is *on* the line. So is a stub: road
  that leaves the band and, with all road connected to it, ends within `STUB_M`.
- Connected road on the line is one *border component*. A component belongs to one side: to the side that gives
  fewer road groups that pass. If the numbers are equal, or no road leaves it, it belongs to the inside, because
  a ring is a closed set.
- So a road along the line passes it at most where it joins and leaves the line; a road that weaves around the line
  or touches it does not pass; a road that ends on the line passes it if another road leads on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from app.geo.arrays import Bools, Floats, Ints
from app.geo.rings.closeness import BorderIntervals, find_border_intervals
from app.geo.roads.network import NodedNetwork

STUB_M: Final = 30.0
LEAST_BAND_M, MOST_BAND_M = 0.5, 25.0
"""The band is the tolerance of the ring, clamped to these limits."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """A network cut where the bands of rings begin and end; m pieces, n nodes, r rings."""

    node_xy: Floats
    """Shape (n, 2); the nodes of the network come first, in their order."""
    tail: Ints
    head: Ints
    forward: Bools
    backward: Bools
    edge: Ints
    """Shape (m,): row of the edge of the network."""
    from_m: Floats
    """Shape (m,): start of the piece, measured along the edge."""
    to_m: Floats
    group: Ints

    @property
    def length_m(self) -> Floats:
        """Lengths of the pieces."""
        return self.to_m - self.from_m

    @property
    def drivable(self) -> Bools:
        """Whether traffic can use the piece in at least one direction."""
        return np.asarray(self.forward | self.backward)


@dataclass(frozen=True, eq=False)
class RingBand:
    """Polygon and band of a ring, in the projection of the network."""

    polygon: shapely.Polygon | shapely.MultiPolygon
    band_m: float


@dataclass(frozen=True, eq=False)
class RingSide:
    """The road network divided by one ring; rows of pieces and nodes as in `Pieces`."""

    inside: Bools
    """Shape (n,): whether the node is inside; a node on the line has the side of its border component."""
    on_line: Bools
    """Shape (n,)."""
    border_component: Ints
    """Shape (n,): border component of each node on the line, -1 for other nodes."""
    passage: Ints
    """Shape (p,): pieces that lead from a border component to the side to which it does not belong."""
    end: Ints
    """Shape (p,): node on the line at which each passage meets its border component."""
    inbound: Bools
    """Shape (p,): whether traffic can use it inbound."""
    outbound: Bools
    hit_piece: Ints
    """Shape (h,): piece of every point where a road meets the line itself."""
    hit_xy: Floats
    """Shape (h, 2)."""


def compute_band_m(tolerance_m: float) -> float:
    """Return the half-width in metres of the band of a ring with this tolerance."""
    return float(min(max(tolerance_m, LEAST_BAND_M), MOST_BAND_M))


def cut_network(
    network: NodedNetwork, rings: Sequence[RingBand], tree: shapely.STRtree
) -> tuple[Pieces, list[RingSide]]:
    """Return the network cut at the bands of rings, and its partition by each ring.

    Parameters
    ----------
    network : NodedNetwork
    rings : sequence of RingBand
        Each is evaluated separately; they may share boundaries.
    tree : STRtree
        Over ``network.line``.

    Returns
    -------
    tuple of Pieces and list of RingSide
        One for each ring, in their order.

    Examples
    --------
    Two roads into a square; the second only touches its corner.

    >>> from app.geo.roads.network import build_network
    >>> lines = shapely.from_wkt(["LINESTRING (50 -90, 50 50)", "LINESTRING (190 90, 90 190)"])
    >>> none = [0, 0]
    >>> roads, _ = build_network(lines, oneway=none, layer=none, road_class=none, group=[0, 1])
    >>> ring = RingBand(shapely.box(0, 0, 140, 140), band_m=5)
    >>> pieces, (side,) = cut_network(roads, [ring], shapely.STRtree(roads.line))
    >>> pieces.edge[side.passage].tolist(), side.inbound.tolist()
    ([0], [True])
    """
    intervals = [
        find_border_intervals(network.line, network.length_m, tree, ring.polygon.boundary, ring.band_m)
        for ring in rings
    ]
    pieces = split_edges(network, intervals)
    return pieces, [build_side(network, pieces, ring, of) for ring, of in zip(rings, intervals, strict=True)]


def split_edges(network: NodedNetwork, intervals: Sequence[BorderIntervals]) -> Pieces:
    """Return the pieces of the edges, cut where bands begin and end."""
    cuts = [find_cut_offsets(of) for of in intervals]
    edge = np.concatenate([edge for edge, _ in cuts] or [np.empty(0, np.int64)])
    offset_m = np.concatenate([offset_m for _, offset_m in cuts] or [np.empty(0)])
    inner = (offset_m > 0) & (offset_m < network.length_m[edge])
    edge, offset_m = edge[inner], offset_m[inner]
    order = np.lexsort((offset_m, edge))
    edge, offset_m = edge[order], offset_m[order]
    fresh = np.append(True, (np.diff(edge) != 0) | (np.diff(offset_m) > 0))[: len(offset_m)]
    edge, offset_m = edge[fresh], offset_m[fresh]
    n, m, k = len(network.node_xy), len(network), len(edge)
    # Every edge gives one piece more than it has cuts; each cut starts a piece and ends the one before.
    every = np.concatenate([np.arange(m), edge])
    start = np.concatenate([np.zeros(m), offset_m])
    tail = np.concatenate([network.tail, n + np.arange(k)])
    order = np.lexsort((start, every))
    every, start, tail = every[order], start[order], tail[order]
    is_last = np.append(every[1:] != every[:-1], True)[: len(every)]
    to = np.where(is_last, network.length_m[every], np.append(start[1:], 0.0)[: len(every)])
    head = np.where(is_last, network.head[every], np.append(tail[1:], 0)[: len(every)])
    xy = shapely.get_coordinates(shapely.line_interpolate_point(network.line[edge], offset_m))
    return Pieces(
        np.vstack([network.node_xy, xy]),
        tail,
        head,
        network.forward[every],
        network.backward[every],
        every,
        start,
        to,
        network.group[every],
    )


def find_cut_offsets(intervals: BorderIntervals) -> tuple[Ints, Floats]:
    """Return edges and offsets at which the band of a ring begins and ends, and the middles between two bands.

    The middle is a node off the line on an edge that leaves the line and comes back.
    """
    again = np.flatnonzero(intervals.line[1:] == intervals.line[:-1])
    middle = (intervals.to_m[again] + intervals.from_m[again + 1]) / 2
    edge = np.concatenate([intervals.line, intervals.line, intervals.line[again]])
    return edge, np.concatenate([intervals.from_m, intervals.to_m, middle])


def build_side(network: NodedNetwork, pieces: Pieces, ring: RingBand, intervals: BorderIntervals) -> RingSide:
    """Return the partition of the network by one ring."""
    shapely.prepare(ring.polygon)
    middle = (pieces.from_m + pieces.to_m) / 2
    in_band = is_in_band(intervals, pieces.edge, middle)
    n = len(pieces.node_xy)
    on_line = np.zeros(n, np.bool_)
    on_line[pieces.tail[in_band]] = True
    on_line[pieces.head[in_band]] = True
    inside = np.asarray(shapely.intersects_xy(ring.polygon, *pieces.node_xy.T))
    on, off, on_line = add_stubs(
        pieces,
        np.flatnonzero(in_band & pieces.drivable),
        np.flatnonzero(~in_band & pieces.drivable),
        on_line,
    )
    piece_inside = find_inside_pieces(network, pieces, ring, off, middle, on_line, inside)
    count, component = connected_components(
        coo_matrix((np.ones(len(on), np.int8), (pieces.tail[on], pieces.head[on])), shape=(n, n)),
        directed=False,
    )
    component = component.astype(np.int64)  # it becomes a part of 64-bit keys
    # Pieces that leave the line, the node from which each leaves, and the side to which it leads.
    leaving = np.concatenate([off[on_line[pieces.tail[off]]], off[on_line[pieces.head[off]]]])
    at_tail = np.arange(len(leaving)) < int(on_line[pieces.tail[off]].sum())
    leads_in = piece_inside[leaving]
    end = np.where(at_tail, pieces.tail[leaving], pieces.head[leaving])
    away = np.where(at_tail, pieces.forward[leaving], pieces.backward[leaving])
    towards = np.where(at_tail, pieces.backward[leaving], pieces.forward[leaving])
    of = component[end]
    groups_in = count_distinct_groups(of[leads_in], pieces.group[leaving[leads_in]], count)
    groups_out = count_distinct_groups(of[~leads_in], pieces.group[leaving[~leads_in]], count)
    belongs_in = (groups_in > 0) & (groups_out <= groups_in) | (groups_out == 0)
    inside = np.where(on_line, belongs_in[component], inside)
    can_enter = any_by_node(of[~leads_in], towards[~leads_in], count) & any_by_node(of[leads_in], away[leads_in], count)
    can_leave = any_by_node(of[leads_in], towards[leads_in], count) & any_by_node(of[~leads_in], away[~leads_in], count)
    inbound = np.where(leads_in, away, towards) & can_enter[of]
    outbound = np.where(leads_in, towards, away) & can_leave[of]
    passes = np.flatnonzero((leads_in != belongs_in[of]) & (inbound | outbound))
    hit_piece = find_piece_at(pieces, intervals.hit_line, intervals.hit_m)
    return RingSide(
        inside,
        on_line,
        np.where(on_line, component, -1),
        leaving[passes],
        end[passes],
        inbound[passes],
        outbound[passes],
        hit_piece,
        intervals.hit_xy,
    )


def is_in_band(intervals: BorderIntervals, edge: Ints, offset_m: Floats) -> Bools:
    """Return which offsets along edges are in a band."""
    inside = np.zeros(len(edge), np.bool_)
    rows = np.flatnonzero(np.isin(edge, intervals.line))
    if not len(rows):
        return inside
    spacing = float(max(intervals.to_m.max(), offset_m[rows].max())) + 1.0
    starts = intervals.line * spacing + intervals.from_m
    interval = np.searchsorted(starts, edge[rows] * spacing + offset_m[rows], side="right") - 1
    inside[rows] = (
        (interval >= 0) & (intervals.line[interval] == edge[rows]) & (offset_m[rows] <= intervals.to_m[interval])
    )
    return inside


def add_stubs(pieces: Pieces, on: Ints, off: Ints, on_line: Bools) -> tuple[Ints, Ints, Bools]:
    """Return the pieces on the line, the pieces off it, and the nodes on it; stubs are on the line."""
    n = len(pieces.node_xy)
    tail, head = pieces.tail[off], pieces.head[off]
    free = ~on_line[tail] & ~on_line[head]
    graph = coo_matrix((np.ones(int(free.sum()), np.int8), (tail[free], head[free])), shape=(n, n))
    count, stub_piece = connected_components(graph, directed=False)
    # A piece between two nodes on the line has no node off the line: it is a component of its own.
    alone = on_line[tail] & on_line[head]
    of = np.where(on_line[tail], stub_piece[head], stub_piece[tail])
    of[alone] = count + np.arange(int(alone.sum()))
    length = np.bincount(of, weights=pieces.length_m[off], minlength=count)
    touches = np.zeros(len(length), np.bool_)
    touches[of[on_line[tail] | on_line[head]]] = True
    stub = (touches & (length <= STUB_M))[of]
    if stub.any():
        on_line = on_line.copy()
        on_line[tail[stub]] = True
        on_line[head[stub]] = True
    return np.concatenate([on, off[stub]]), off[~stub], on_line


def find_inside_pieces(
    network: NodedNetwork,
    pieces: Pieces,
    ring: RingBand,
    off: Ints,
    middle: Floats,
    on_line: Bools,
    inside: Bools,
) -> Bools:
    """Return whether pieces off the line are inside: decided by an end off the line, else by the middle."""
    inside_flags = inside[np.where(on_line[pieces.tail], pieces.head, pieces.tail)]
    both = off[on_line[pieces.tail[off]] & on_line[pieces.head[off]]]
    if len(both):
        node = shapely.line_interpolate_point(network.line[pieces.edge[both]], middle[both])
        inside_flags[both] = shapely.intersects(ring.polygon, node)
    return inside_flags


def count_distinct_groups(node: Ints, group: Ints, count: int) -> Ints:
    """Return the number of road groups that leave each border component."""
    if not len(node):
        return np.zeros(count, np.int64)
    width = int(group.max()) + 1
    return np.bincount(np.unique(node * width + group) // width, minlength=count)


def any_by_node(node: Ints, flag: Bools, count: int) -> Bools:
    """Return which border components have at least one flagged row."""
    flagged = np.zeros(count, np.bool_)
    flagged[node[flag]] = True
    return flagged


def find_piece_at(pieces: Pieces, edge: Ints, offset_m: Floats) -> Ints:
    """Return the pieces that contain offsets along edges."""
    if not len(edge):
        return np.empty(0, np.int64)
    piece_start = np.searchsorted(pieces.edge, edge)
    size = np.searchsorted(pieces.edge, edge, side="right") - piece_start
    spacing = float(max(pieces.to_m.max(initial=0), offset_m.max())) + 1.0
    starts = pieces.edge * spacing + pieces.from_m
    piece = np.searchsorted(starts, edge * spacing + offset_m, side="right") - 1
    return np.asarray(np.clip(piece, piece_start, piece_start + size - 1))
