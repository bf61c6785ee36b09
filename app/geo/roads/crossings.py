"""Where road groups cross a ring: one crossing for each group and place, with what leads through it.

Promises one crossing for a divided road with its slip roads, for a road that weaves, and for one that
runs along the line and changes side; none for a road that touches the line or comes back to its
side. Bridges and tunnels cross like any road. See `app.geo.rings.ring_partition` for what counts as passing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from app.geo.arrays import Bools, Floats, Ints, spread
from app.geo.rings.ring_partition import Pieces, Ring, Side
from app.geo.roads.network import Network
from app.geo.visibility.reach import flat

MERGE_M: Final = 100.0
"""Passages of one group within this distance of each other are one crossing."""
_CELL_DEG: Final = 0.0006
"""Side of the cell a crossing's name is made from: its diagonal is shorter than `MERGE_M`."""


@dataclass(frozen=True, eq=False)
class Crossings:
    """c crossings of one ring with p passages, sorted by crossing."""

    group: Ints
    """Shape (c,)."""
    xy: Floats
    """Shape (c, 2): where it is, on the ring's line, in metres."""
    inbound: Bools
    """Shape (c,): traffic can take it inward."""
    outbound: Bools
    lowest: Ints
    """Shape (c,): lowest layer of the road there; below 0: a tunnel."""
    highest: Ints
    """Shape (c,): highest layer; above 0: a bridge."""
    crossing: Ints
    """Shape (p,): crossing of each passage."""
    piece: Ints
    """Shape (p,): piece of road that leads through it."""
    end: Ints
    """Shape (p,): node at which the piece meets the line."""
    passage_in: Bools
    """Shape (p,): this passage can be taken inward."""
    passage_out: Bools
    passage_xy: Floats
    """Shape (p, 2): where the passage meets the ring's line."""

    def __len__(self) -> int:
        """Return the number of crossings."""
        return len(self.group)


def crossings(found: Network, pieces: Pieces, side: Side, ring: Ring) -> Crossings:
    """Return the crossings of a ring.

    Parameters
    ----------
    found : Network
    pieces : Pieces
        The network cut, see `app.geo.rings.ring_partition.cut`.
    side : Side
        What this ring sees of it.
    ring : Ring

    Returns
    -------
    Crossings
        Sorted by group, then by place.

    Notes
    -----
    The place of a passage is the nearest point, within `MERGE_M`, at which its group meets the line
    itself; else the foot on the line. The place of a crossing is that of its passage; of
    several, the place on the line nearest to the middle of theirs.

    Examples
    --------
    A divided road: two carriageways of one group, 20 m apart.

    >>> from app.geo.roads.network import FORWARD, network
    >>> from app.geo.rings.ring_partition import cut
    >>> lines = shapely.from_wkt(["LINESTRING (0 -90, 0 90)", "LINESTRING (20 90, 20 -90)"])
    >>> roads, _ = network(lines, oneway=[FORWARD] * 2, layer=[0, 0], road_class=[0, 0], group=[7, 7])
    >>> ring = Ring(shapely.box(-500, 0, 500, 500), band_m=5)
    >>> pieces, (side,) = cut(roads, [ring], shapely.STRtree(roads.line))
    >>> one = crossings(roads, pieces, side, ring)
    >>> one.group.tolist(), one.xy.tolist(), one.inbound.tolist(), one.outbound.tolist()
    ([7], [[10.0, 0.0]], [True], [True])
    """
    group = pieces.group[side.passage]
    xy = _places(pieces, side, ring, group)
    label, place = _merged(group, xy, ring)
    order = np.lexsort((side.end, side.passage, label))
    label, xy = label[order], xy[order]
    piece, end = side.passage[order], side.end[order]
    inbound, outbound = side.inbound[order], side.outbound[order]
    layer = found.layer[pieces.edge[piece]]
    first = np.flatnonzero(np.append(True, np.diff(label) != 0))[: len(place)]
    return Crossings(
        group[order][first],
        place,
        np.logical_or.reduceat(inbound, first) if len(first) else inbound,
        np.logical_or.reduceat(outbound, first) if len(first) else outbound,
        np.minimum.reduceat(layer, first) if len(first) else layer,
        np.maximum.reduceat(layer, first) if len(first) else layer,
        label,
        piece,
        end,
        inbound,
        outbound,
        xy,
    )


def _places(pieces: Pieces, side: Side, ring: Ring, group: Ints) -> Floats:
    """Return where each passage meets the line of the ring."""
    at = pieces.node_xy[side.end]
    if not len(at):
        return np.empty((0, 2))
    xy = _feet(ring, at)
    # The meetings of the same group in the same place on the line, nearest first.
    met_at = side.place[pieces.tail[side.hit_piece]]
    met_at = np.where(met_at < 0, side.place[pieces.head[side.hit_piece]], met_at)
    width = int(pieces.group.max()) + 1
    key = met_at * width + pieces.group[side.hit_piece]
    order = np.argsort(key, kind="stable")
    wanted = side.place[side.end] * width + group
    first = np.searchsorted(key[order], wanted)
    size = np.searchsorted(key[order], wanted, side="right") - first
    passage, _, hit = spread(size, first)
    hit_xy = side.hit_xy[order[hit]]
    away = np.hypot(*(hit_xy - at[passage]).T)
    near = np.flatnonzero(away <= MERGE_M)
    best = near[np.lexsort((hit_xy[near, 1], hit_xy[near, 0], away[near], passage[near]))]
    rows, one = np.unique(passage[best], return_index=True)
    xy[rows] = hit_xy[best[one]]
    return np.asarray(xy)


def _feet(ring: Ring, xy: Floats) -> Floats:
    """Return the nearest places on the line of the ring."""
    line = ring.polygon.boundary
    shapely.prepare(line)
    return np.asarray(shapely.get_coordinates(shapely.shortest_line(line, shapely.points(xy)))[::2])


def _merged(group: Ints, xy: Floats, ring: Ring) -> tuple[Ints, Floats]:
    """Return the crossing of each passage, and the places of the crossings in their order."""
    p = len(group)
    if not p:
        return np.empty(0, np.int64), np.empty((0, 2))
    # Groups are laid out in layers, farther apart than anything is merged.
    stacked = np.column_stack([xy, np.unique(group, return_inverse=True)[1] * (4 * MERGE_M)])
    near = cKDTree(stacked).query_pairs(MERGE_M, output_type="ndarray")
    graph = coo_matrix((np.ones(len(near), np.int8), (near[:, 0], near[:, 1])), shape=(p, p))
    count, label = connected_components(graph, directed=False)
    size = np.bincount(label)
    middle = np.column_stack([np.bincount(label, xy[:, axis]) / size for axis in (0, 1)])
    several = np.flatnonzero(size > 1)
    if len(several):
        middle[several] = _feet(ring, middle[several])
    of = np.empty(count, np.int64)
    of[label] = group
    by = np.lexsort((middle[:, 1], middle[:, 0], of))
    rank = np.empty(count, np.int64)
    rank[by] = np.arange(count)
    return rank[label], middle[by]


def names(level: str, road: NDArray[np.object_], lonlat: Floats) -> list[str]:
    """Return the names of crossings: the same for the same ring, road and place.

    Parameters
    ----------
    level : str
        Level of the ring.
    road : ndarray of str, shape (c,)
        What the road group is called in the registry.
    lonlat : ndarray, shape (c, 2)
        Degrees, longitude first.

    Returns
    -------
    list of str
        The level and 12 hexadecimal digits. They are made from the road and from the cell of
        0.0006 degrees (about 60 m) the crossing lies in, so they depend on nothing farther away.

    Examples
    --------
    >>> names("core", np.array(["G327"], object), np.array([[113.2, 35.2]]))
    ['core-b24b04d782fe']
    """
    cells = np.floor(lonlat / _CELL_DEG).astype(np.int64)
    told: list[str] = []
    seen: set[str] = set()
    for of, (x, y) in zip(road.tolist(), cells.tolist(), strict=True):
        again = 0
        while True:
            text = f"{level}\n{of}\n{x}\n{y}" + (f"\n{again}" if again else "")
            name = f"{level}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
            if name not in seen:
                break
            again += 1
        seen.add(name)
        told.append(name)
    return told


# Which crossing of its ring a control point stands for.
#
# Promises the nearest crossing of a road of the same name, within a stated distance; else, nearer, the
# nearest crossing at all. Several control points may stand for one crossing, as one for each carriageway.

NAMED_M: Final = 150.0
"""How far a control point may be from the crossing of the road it names."""
UNNAMED_M: Final = 60.0
"""How far where the names do not agree, or one has none."""


def matched(
    points: Floats,
    point_names: Sequence[frozenset[str]],
    crossings: Floats,
    crossing_names: Sequence[frozenset[str]],
) -> Ints:
    """Return the crossing of each control point, -1 where there is none.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Control points of one ring in metres.
    point_names : sequence of frozenset of str
        What each calls its road.
    crossings : ndarray, shape (c, 2)
        Crossings of this ring in metres.
    crossing_names : sequence of frozenset of str
        Names, numbers and group of the road of each.

    Returns
    -------
    ndarray of int, shape (n,)

    Examples
    --------
    >>> north, south = frozenset({"North Road"}), frozenset({"South Road"})
    >>> at = np.array([[0.0, 0.0], [90.0, 0.0]])
    >>> matched(np.array([[10.0, 0.0], [10.0, 9.0]]), [south, frozenset()], at, [north, south])
    array([1, 0])
    """
    told = np.full(len(points), -1, np.int64)
    if not len(points) or not len(crossings):
        return told
    lists = cKDTree(crossings).query_ball_point(points, NAMED_M)
    point = np.repeat(np.arange(len(points)), [len(one) for one in lists])
    crossing = flat(lists)
    away = np.hypot(*(points[point] - crossings[crossing]).T)
    alike = np.array(
        [
            not point_names[a].isdisjoint(crossing_names[b])
            for a, b in zip(point.tolist(), crossing.tolist(), strict=True)
        ],
        np.bool_,
    )
    fits = np.flatnonzero(alike | (away <= UNNAMED_M))
    order = fits[np.lexsort((crossing[fits], away[fits].round(6), ~alike[fits], point[fits]))]
    rows, first = np.unique(point[order], return_index=True)
    told[rows] = crossing[order[first]]
    return told
