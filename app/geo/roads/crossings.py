"""Crossings: the locations where road groups cross a ring, and the passages of each.

A divided road with its slip roads has one crossing, and so has a road that weaves, or that runs along the line and
changes sides. A road that touches the line, or returns to its side, has none. Bridges and tunnels cross like any road.
`app.geo.rings.ring_partition` defines what leads from one side to the other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from scipy.spatial import cKDTree

from app.geo.arrays import Bools, Floats, Ints, Shapes, label_components, mark_first, match_keys
from app.geo.rings.ring_partition import Pieces, RingBand, RingSide
from app.geo.roads.network import NodedNetwork
from app.geo.visibility.reach import flatten_lists

MERGE_M: Final = 100.0
"""Passages of one group within this distance of each other are one crossing."""
_CELL_DEG: Final = 0.0006
"""Side of the cell that gives a crossing its name: its diagonal is shorter than `MERGE_M`."""
NAMED_M: Final = 150.0
"""Greatest distance of a control point from the crossing of the road that it names."""
UNNAMED_M: Final = 60.0
"""Greatest distance if the names do not agree, or one has no name."""


@dataclass(frozen=True, eq=False)
class Crossings:
    """c crossings of one ring with p passages, sorted by crossing."""

    group: Ints
    """Shape (c,): road group."""
    xy: Floats
    """Shape (c, 2): the point on the ring's line, in metres."""
    inbound: Bools
    """Shape (c,): traffic can take it inward."""
    outbound: Bools
    """Shape (c,): traffic can take it outward."""
    lowest_layer: Ints
    """Shape (c,): lowest layer of its roads; below 0: a tunnel."""
    highest_layer: Ints
    """Shape (c,): highest layer; above 0: a bridge."""
    crossing: Ints
    """Shape (p,): crossing of each passage."""
    piece: Ints
    """Shape (p,): piece of road that leads through it."""
    line_node: Ints
    """Shape (p,): node at which the piece meets the line."""
    passage_inbound: Bools
    """Shape (p,): traffic can take this passage inward."""
    passage_outbound: Bools
    """Shape (p,): traffic can take this passage outward."""
    passage_xy: Floats
    """Shape (p, 2): the point at which the passage meets the ring's line."""

    def __len__(self) -> int:
        """Return the number of crossings."""
        return len(self.group)


def find_crossings(network: NodedNetwork, pieces: Pieces, side: RingSide, ring: RingBand) -> Crossings:
    """Return the crossings of a ring.

    Parameters
    ----------
    network : NodedNetwork
    pieces : Pieces
        The network, cut by `app.geo.rings.ring_partition.cut_network`.
    side : RingSide
        The partition of the pieces by this ring.
    ring : RingBand

    Returns
    -------
    Crossings
        Sorted by group, then by point.

    Notes
    -----
    The point of a passage is the nearest one, within `MERGE_M`, at which its group meets the line itself; otherwise the
    foot on the line. The point of a crossing with one passage is that of the passage; with several passages it is the
    point of the line nearest to the mean of theirs.

    Examples
    --------
    A divided road: two carriageways of one group, 20 m apart.

    >>> from app.geo.roads.network import FORWARD, build_network
    >>> from app.geo.rings.ring_partition import cut_network
    >>> lines = shapely.from_wkt(["LINESTRING (0 -90, 0 90)", "LINESTRING (20 90, 20 -90)"])
    >>> roads, _ = build_network(lines, oneway=[FORWARD] * 2, layer=[0, 0], road_class=[0, 0], group=[7, 7])
    >>> ring = RingBand(shapely.box(-500, 0, 500, 500), band_m=5)
    >>> pieces, (side,) = cut_network(roads, [ring], shapely.STRtree(roads.line))
    >>> crossings = find_crossings(roads, pieces, side, ring)
    >>> crossings.group.tolist(), crossings.xy.tolist(), crossings.inbound.tolist(), crossings.outbound.tolist()
    ([7], [[10.0, 0.0]], [True], [True])
    """
    group = pieces.group[side.passage]
    xy = _locate_passages(pieces, side, ring, group)
    label, crossing_xy = _merge_passages(group, xy, ring)
    order = np.lexsort((side.end, side.passage, label))
    label, xy = label[order], xy[order]
    piece, line_node = side.passage[order], side.end[order]
    inbound, outbound = side.inbound[order], side.outbound[order]
    layer = network.layer[pieces.edge[piece]]
    first = np.flatnonzero(mark_first(label))
    return Crossings(
        group=group[order][first],
        xy=crossing_xy,
        inbound=np.logical_or.reduceat(inbound, first) if len(first) else inbound,
        outbound=np.logical_or.reduceat(outbound, first) if len(first) else outbound,
        lowest_layer=np.minimum.reduceat(layer, first) if len(first) else layer,
        highest_layer=np.maximum.reduceat(layer, first) if len(first) else layer,
        crossing=label,
        piece=piece,
        line_node=line_node,
        passage_inbound=inbound,
        passage_outbound=outbound,
        passage_xy=xy,
    )


def _locate_passages(pieces: Pieces, side: RingSide, ring: RingBand, group: Ints) -> Floats:
    """Return the point at which each passage meets the line of the ring."""
    end_xy = pieces.node_xy[side.end]
    if not len(end_xy):
        return np.empty((0, 2))
    xy = _project_to_line(ring, end_xy)
    # The points at which roads of the same group meet the same part of the line; the nearest is taken.
    hit_part = side.border_component[pieces.tail[side.hit_piece]]
    hit_part = np.where(hit_part < 0, side.border_component[pieces.head[side.hit_piece]], hit_part)
    width = int(pieces.group.max()) + 1
    passage, hit = match_keys(
        hit_part * width + pieces.group[side.hit_piece], side.border_component[side.end] * width + group
    )
    hit_xy = side.hit_xy[hit]
    away = np.hypot(*(hit_xy - end_xy[passage]).T)
    rows = np.flatnonzero(away <= MERGE_M)
    order = rows[np.lexsort((hit_xy[rows, 1], hit_xy[rows, 0], away[rows], passage[rows]))]
    nearest = order[mark_first(passage[order])]
    xy[passage[nearest]] = hit_xy[nearest]
    return np.asarray(xy)


def _project_to_line(ring: RingBand, xy: Floats) -> Floats:
    """Return the nearest points on the line of the ring."""
    line = ring.polygon.boundary
    shapely.prepare(line)
    return np.asarray(shapely.get_coordinates(shapely.shortest_line(line, shapely.points(xy)))[::2])


def _merge_passages(group: Ints, xy: Floats, ring: RingBand) -> tuple[Ints, Floats]:
    """Return the crossing of each passage, and the points of the crossings in their order."""
    if not len(group):
        return np.empty(0, np.int64), np.empty((0, 2))
    # The group is a third coordinate, so that passages of different groups are never near.
    xyz = np.column_stack([xy, np.unique(group, return_inverse=True)[1] * (4 * MERGE_M)])
    pairs = cKDTree(xyz).query_pairs(MERGE_M, output_type="ndarray")
    count, label = label_components(len(group), pairs[:, 0], pairs[:, 1])
    size = np.bincount(label)
    middle = np.column_stack([np.bincount(label, xy[:, axis]) / size for axis in (0, 1)])
    several = np.flatnonzero(size > 1)
    if len(several):
        middle[several] = _project_to_line(ring, middle[several])
    crossing_group = np.empty(count, np.int64)
    crossing_group[label] = group
    order = np.lexsort((middle[:, 1], middle[:, 0], crossing_group))
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    return rank[label], middle[order]


def name_crossings(level: str, road: Shapes, lonlat: Floats) -> list[str]:
    """Return the names of crossings: the same for the same ring, road and location.

    Parameters
    ----------
    level : str
        Level of the ring.
    road : ndarray of str, shape (c,)
        Name of the road group in the registry.
    lonlat : ndarray, shape (c, 2)
        Degrees, longitude first.

    Returns
    -------
    list of str
        The level and 12 hexadecimal digits. They depend on the road and on the cell of 0.0006 degrees (about 60 m) that
        holds the crossing, and on nothing farther away.

    Examples
    --------
    >>> name_crossings("core", np.array(["G327"], object), np.array([[113.2, 35.2]]))
    ['core-b24b04d782fe']
    """
    cells = np.floor(lonlat / _CELL_DEG).astype(np.int64)
    names: dict[str, None] = {}
    for road_name, (x, y) in zip(road.tolist(), cells.tolist(), strict=True):
        attempt = 0
        while True:
            text = f"{level}\n{road_name}\n{x}\n{y}" + (f"\n{attempt}" if attempt else "")
            name = f"{level}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
            if name not in names:
                break
            attempt += 1
        names[name] = None
    return list(names)


def match_points_to_crossings(
    points: Floats,
    point_names: Sequence[frozenset[str]],
    crossings: Floats,
    crossing_names: Sequence[frozenset[str]],
) -> Ints:
    """Return the crossing that each control point covers, -1 if it covers none.

    That is the nearest crossing of a road with the same name, within `NAMED_M`; otherwise the nearest crossing within
    `UNNAMED_M`. Several control points may cover one crossing, for example one for each carriageway.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Control points of one ring in metres.
    point_names : sequence of frozenset of str
        Names of its road that each control point states.
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
    >>> crossings = np.array([[0.0, 0.0], [90.0, 0.0]])
    >>> match_points_to_crossings(np.array([[10.0, 0.0], [10.0, 9.0]]), [south, frozenset()], crossings, [north, south])
    array([1, 0])
    """
    matches = np.full(len(points), -1, np.int64)
    if not len(points) or not len(crossings):
        return matches
    lists = cKDTree(crossings).query_ball_point(points, NAMED_M)
    point = np.repeat(np.arange(len(points)), [len(items) for items in lists])
    crossing = flatten_lists(lists)
    away = np.hypot(*(points[point] - crossings[crossing]).T)
    same_name = np.array(
        [
            not point_names[point_row].isdisjoint(crossing_names[crossing_row])
            for point_row, crossing_row in zip(point.tolist(), crossing.tolist(), strict=True)
        ],
        np.bool_,
    )
    fits = np.flatnonzero(same_name | (away <= UNNAMED_M))
    order = fits[np.lexsort((crossing[fits], away[fits].round(6), ~same_name[fits], point[fits]))]
    best = order[mark_first(point[order])]
    matches[point[best]] = crossing[best]
    return matches
