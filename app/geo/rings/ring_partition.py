"""Roads cut at the rings: which pieces of road lie inside, outside or on the line of each ring.

Promises that every way from one side of a ring to the other leads over a listed passage. What lies
within the ring's band (a few metres either side of its line) is *on* the line, and so is a stub:
road that leaves the band and, with all it leads to, ends within `STUB_M`. Connected road that is on
the line is one *place*, and a place belongs to one side, whichever makes fewer road groups pass;
when equal, and where no road leaves it, the inside, for a ring is closed. So a road along the line
passes it at most where it comes and goes, weaving and touching are nothing, and a road that ends on
the line passes it when another leads on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from app.geo.arrays import Bools, Floats, Ints
from app.geo.rings.closeness import Closeness, closeness
from app.geo.roads.network import Network

STUB_M: Final = 30.0
LEAST_BAND_M, MOST_BAND_M = 0.5, 25.0
"""The band is the ring's tolerance, kept within these limits."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """A network cut where bands of rings begin and end; m pieces, n nodes, r rings."""

    node_xy: Floats
    """Shape (n, 2); the nodes of the network come first, in their order."""
    tail: Ints
    head: Ints
    forward: Bools
    backward: Bools
    edge: Ints
    """Shape (m,): row of the edge of the network."""
    from_m: Floats
    """Shape (m,): where the piece starts, measured along the edge."""
    to_m: Floats
    group: Ints

    @property
    def length_m(self) -> Floats:
        """Lengths of the pieces."""
        return self.to_m - self.from_m

    @property
    def drivable(self) -> Bools:
        """Which pieces may be driven at all."""
        return np.asarray(self.forward | self.backward)


@dataclass(frozen=True, eq=False)
class Ring:
    """A ring to cut by: polygon and band, in the metres of the network's frame."""

    polygon: shapely.Polygon | shapely.MultiPolygon
    band_m: float


@dataclass(frozen=True, eq=False)
class Side:
    """The roads as one ring sees them; columns of pieces and nodes as in `Pieces`."""

    inside: Bools
    """Shape (n,): side of each node; nodes on the line have the side of their place."""
    on_line: Bools
    """Shape (n,)."""
    place: Ints
    """Shape (n,): number of the place of each node on the line, -1 elsewhere."""
    passage: Ints
    """Shape (p,): pieces that lead from a place on the line to the side it does not belong to."""
    end: Ints
    """Shape (p,): the node on the line at which each passage meets its place."""
    inbound: Bools
    """Shape (p,): traffic can take it inward."""
    outbound: Bools
    hit_piece: Ints
    """Shape (h,): piece of every place where a road meets the line itself."""
    hit_xy: Floats
    """Shape (h, 2)."""


def band_m(tolerance_m: float) -> float:
    """Return how far from its line a ring with this tolerance counts as the line."""
    return float(min(max(tolerance_m, LEAST_BAND_M), MOST_BAND_M))


def cut(found: Network, rings: Sequence[Ring], tree: shapely.STRtree) -> tuple[Pieces, list[Side]]:
    """Return the network cut at the bands of rings, and what each ring sees of it.

    Parameters
    ----------
    found : Network
    rings : sequence of Ring
        Each is judged for itself; they may share borders.
    tree : STRtree
        Over ``found.line``.

    Returns
    -------
    tuple of Pieces and list of Side
        A side for each ring, in their order.

    Examples
    --------
    Two roads into a square; the second only touches its corner.

    >>> from app.geo.roads.network import network
    >>> lines = shapely.from_wkt(["LINESTRING (50 -90, 50 50)", "LINESTRING (190 90, 90 190)"])
    >>> none = [0, 0]
    >>> roads, _ = network(lines, oneway=none, layer=none, road_class=none, group=[0, 1])
    >>> ring = Ring(shapely.box(0, 0, 140, 140), band_m=5)
    >>> pieces, (side,) = cut(roads, [ring], shapely.STRtree(roads.line))
    >>> pieces.edge[side.passage].tolist(), side.inbound.tolist()
    ([0], [True])
    """
    near = [closeness(found.line, found.length_m, tree, ring.polygon.boundary, ring.band_m) for ring in rings]
    pieces = _cut(found, near)
    return pieces, [_side(found, pieces, ring, of) for ring, of in zip(rings, near, strict=True)]


def _cut(found: Network, near: Sequence[Closeness]) -> Pieces:
    cuts = [_cuts(of) for of in near]
    edge = np.concatenate([edge for edge, _ in cuts] or [np.empty(0, np.int64)])
    at = np.concatenate([at for _, at in cuts] or [np.empty(0)])
    inner = (at > 0) & (at < found.length_m[edge])
    edge, at = edge[inner], at[inner]
    order = np.lexsort((at, edge))
    edge, at = edge[order], at[order]
    fresh = np.append(True, (np.diff(edge) != 0) | (np.diff(at) > 0))[: len(at)]
    edge, at = edge[fresh], at[fresh]
    n, m, k = len(found.node_xy), len(found), len(edge)
    # Every edge gives one piece more than it has cuts; each cut starts a piece and ends the one before.
    every = np.concatenate([np.arange(m), edge])
    start = np.concatenate([np.zeros(m), at])
    tail = np.concatenate([found.tail, n + np.arange(k)])
    order = np.lexsort((start, every))
    every, start, tail = every[order], start[order], tail[order]
    last = np.append(every[1:] != every[:-1], True)[: len(every)]
    to = np.where(last, found.length_m[every], np.append(start[1:], 0.0)[: len(every)])
    head = np.where(last, found.head[every], np.append(tail[1:], 0)[: len(every)])
    xy = shapely.get_coordinates(shapely.line_interpolate_point(found.line[edge], at))
    return Pieces(
        np.vstack([found.node_xy, xy]),
        tail,
        head,
        found.forward[every],
        found.backward[every],
        every,
        start,
        to,
        found.group[every],
    )


def _cuts(near: Closeness) -> tuple[Ints, Floats]:
    """Return where the band of a ring begins and ends, and the middles of what lies between.

    The middle is a node off the line on an edge that leaves it and comes back.
    """
    again = np.flatnonzero(near.line[1:] == near.line[:-1])
    middle = (near.to_m[again] + near.from_m[again + 1]) / 2
    edge = np.concatenate([near.line, near.line, near.line[again]])
    return edge, np.concatenate([near.from_m, near.to_m, middle])


def _side(found: Network, pieces: Pieces, ring: Ring, near: Closeness) -> Side:
    shapely.prepare(ring.polygon)
    middle = (pieces.from_m + pieces.to_m) / 2
    in_band = _within(near, pieces.edge, middle)
    n = len(pieces.node_xy)
    on_line = np.zeros(n, np.bool_)
    on_line[pieces.tail[in_band]] = True
    on_line[pieces.head[in_band]] = True
    inside = np.asarray(shapely.intersects_xy(ring.polygon, *pieces.node_xy.T))
    on, off, on_line = _with_stubs(
        pieces,
        np.flatnonzero(in_band & pieces.drivable),
        np.flatnonzero(~in_band & pieces.drivable),
        on_line,
    )
    piece_inside = _pieces_inside(found, pieces, ring, off, middle, on_line, inside)
    count, place = connected_components(
        coo_matrix((np.ones(len(on), np.int8), (pieces.tail[on], pieces.head[on])), shape=(n, n)),
        directed=False,
    )
    place = place.astype(np.int64)  # it becomes part of keys
    # What leaves the line: a piece, the node it leaves from, and the side it leads to.
    leaving = np.concatenate([off[on_line[pieces.tail[off]]], off[on_line[pieces.head[off]]]])
    at_tail = np.arange(len(leaving)) < int(on_line[pieces.tail[off]].sum())
    leads_in = piece_inside[leaving]
    end = np.where(at_tail, pieces.tail[leaving], pieces.head[leaving])
    away = np.where(at_tail, pieces.forward[leaving], pieces.backward[leaving])
    towards = np.where(at_tail, pieces.backward[leaving], pieces.forward[leaving])
    of = place[end]
    groups_in = _distinct(of[leads_in], pieces.group[leaving[leads_in]], count)
    groups_out = _distinct(of[~leads_in], pieces.group[leaving[~leads_in]], count)
    belongs_in = (groups_in > 0) & (groups_out <= groups_in) | (groups_out == 0)
    inside = np.where(on_line, belongs_in[place], inside)
    can_enter = _any(of[~leads_in], towards[~leads_in], count) & _any(of[leads_in], away[leads_in], count)
    can_leave = _any(of[leads_in], towards[leads_in], count) & _any(of[~leads_in], away[~leads_in], count)
    inbound = np.where(leads_in, away, towards) & can_enter[of]
    outbound = np.where(leads_in, towards, away) & can_leave[of]
    passes = np.flatnonzero((leads_in != belongs_in[of]) & (inbound | outbound))
    hit_piece = piece_at(pieces, near.hit_line, near.hit_m)
    return Side(
        inside,
        on_line,
        np.where(on_line, place, -1),
        leaving[passes],
        end[passes],
        inbound[passes],
        outbound[passes],
        hit_piece,
        near.hit_xy,
    )


def _within(near: Closeness, edge: Ints, at: Floats) -> Bools:
    """Tell which places along edges lie in a band."""
    inside = np.zeros(len(edge), np.bool_)
    rows = np.flatnonzero(np.isin(edge, near.line))
    if not len(rows):
        return inside
    apart = float(max(near.to_m.max(), at[rows].max())) + 1.0
    starts = near.line * apart + near.from_m
    place = np.searchsorted(starts, edge[rows] * apart + at[rows], side="right") - 1
    inside[rows] = (place >= 0) & (near.line[place] == edge[rows]) & (at[rows] <= near.to_m[place])
    return inside


def _with_stubs(pieces: Pieces, on: Ints, off: Ints, on_line: Bools) -> tuple[Ints, Ints, Bools]:
    """Return the pieces on the line, those off it, and the nodes on it, stubs counted to the line."""
    n = len(pieces.node_xy)
    tail, head = pieces.tail[off], pieces.head[off]
    free = ~on_line[tail] & ~on_line[head]
    graph = coo_matrix((np.ones(int(free.sum()), np.int8), (tail[free], head[free])), shape=(n, n))
    count, part = connected_components(graph, directed=False)
    # A piece between two nodes on the line leads nowhere else: a part of its own.
    alone = on_line[tail] & on_line[head]
    of = np.where(on_line[tail], part[head], part[tail])
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


def _pieces_inside(
    found: Network,
    pieces: Pieces,
    ring: Ring,
    off: Ints,
    middle: Floats,
    on_line: Bools,
    inside: Bools,
) -> Bools:
    """Return the side of pieces off the line: that of an end off it, or of the middle."""
    told = inside[np.where(on_line[pieces.tail], pieces.head, pieces.tail)]
    both = off[on_line[pieces.tail[off]] & on_line[pieces.head[off]]]
    if len(both):
        at = shapely.line_interpolate_point(found.line[pieces.edge[both]], middle[both])
        told[both] = shapely.intersects(ring.polygon, at)
    return told


def _distinct(place: Ints, group: Ints, count: int) -> Ints:
    """Return how many groups leave each place."""
    if not len(place):
        return np.zeros(count, np.int64)
    width = int(group.max()) + 1
    return np.bincount(np.unique(place * width + group) // width, minlength=count)


def _any(place: Ints, flag: Bools, count: int) -> Bools:
    told = np.zeros(count, np.bool_)
    told[place[flag]] = True
    return told


def piece_at(pieces: Pieces, edge: Ints, at: Floats) -> Ints:
    """Return the piece that holds a place along an edge."""
    if not len(edge):
        return np.empty(0, np.int64)
    first = np.searchsorted(pieces.edge, edge)
    size = np.searchsorted(pieces.edge, edge, side="right") - first
    apart = float(max(pieces.to_m.max(initial=0), at.max())) + 1.0
    starts = pieces.edge * apart + pieces.from_m
    place = np.searchsorted(starts, edge * apart + at, side="right") - 1
    return np.asarray(np.clip(place, first, first + size - 1))
