"""Roads as a graph: where lines meet, which way each piece may be driven, and what is odd about it.

Promises the same graph for the same roads in whatever order and direction they were drawn. Knows
nothing of rings. **Where lines join:** lines of one layer join at every vertex they share. Across
layers they join where lines of both end, or where a line ends that meets nothing in its own layer,
for a road does not end in mid-air; lines that only pass each other do not. Vertices are shared
when they are equal; ends may be snapped within a tolerance first, never across layers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from app.geo.arrays import Bools, Floats, Ints
from app.geo.roads.snapping import snapped

Lines = NDArray[np.object_]

CLASSES: Final = (
    "motorway",
    "national",
    "provincial",
    "county",
    "urban_arterial",
    "urban_minor",
    "service",
    "path",
)
"""Names of the class codes, greatest road first."""
PATH: Final = CLASSES.index("path")
"""For walkers and cycles: never driven, whatever its rule says."""
ONE_WAY: Final = ("no", "forward", "backward", "reversible")
"""Names of the one-way codes; forward is the direction of drawing. A reversible road is open now one
way and now the other, so both have to be reckoned with."""
NO, FORWARD, BACKWARD, REVERSIBLE = range(4)


@dataclass(frozen=True, eq=False)
class Network:
    """A road graph: n nodes, m edges, each edge a piece of one road between two nodes."""

    node_xy: Floats
    """Shape (n, 2), metres in the frame."""
    tail: Ints
    """Shape (m,): node at which the edge starts, in the direction it was drawn."""
    head: Ints
    """Shape (m,): node at which it ends."""
    forward: Bools
    """Shape (m,): may be driven from tail to head."""
    backward: Bools
    """Shape (m,): may be driven from head to tail. Neither: not for vehicles."""
    length_m: Floats
    """Shape (m,)."""
    road: Ints
    """Shape (m,): row of the road the edge is a piece of."""
    line: Lines
    """Shape (m,): LineStrings in metres, from tail to head."""
    layer: Ints
    """Shape (m,)."""
    road_class: Ints
    """Shape (m,), places in `CLASSES`."""
    group: Ints
    """Shape (m,): number of the road group."""

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.tail)

    @property
    def drivable(self) -> Bools:
        """Which edges may be driven at all, shape (m,)."""
        return np.asarray(self.forward | self.backward)


@dataclass(frozen=True, eq=False)
class Report:
    """What a person should know about the roads before believing what follows from them."""

    component: Ints
    """Shape (n,): number of the connected component of each node, the longest first."""
    component_length_m: Floats
    """Shape (c,): metres of road in each component."""
    degree: Ints
    """Shape (n,): ends of edges at each node."""
    dead_end: Ints
    """Nodes at which a single edge ends."""
    duplicate: Ints
    """Rows of roads of which a piece repeats one of another, greater or earlier; it is used once."""
    zero_length: Ints
    """Rows of roads without extent, or that snapping left without any; they are left out."""
    self_crossing: Ints
    """Rows of roads with a piece that crosses itself where it has no vertex."""
    snapped: int
    """How many ends were moved."""


def network(
    lines: ArrayLike,
    *,
    oneway: ArrayLike,
    layer: ArrayLike,
    road_class: ArrayLike,
    group: ArrayLike,
    snap_m: float = 0.0,
) -> tuple[Network, Report]:
    """Return the graph of roads and what is odd about them.

    Parameters
    ----------
    lines : array_like of LineString, shape (k,)
        In metres of one frame.
    oneway : array_like of int, shape (k,)
        Places in `ONE_WAY`.
    layer : array_like of int, shape (k,)
        Level above (bridge) or below (tunnel) the ground.
    road_class : array_like of int, shape (k,)
        Places in `CLASSES`. A `PATH` is in the graph and cannot be driven.
    group : array_like of int, shape (k,)
        Equal for both carriageways and the slip roads of one road.
    snap_m : float
        Ends that lie no farther than this from another end of their layer are brought together,
        and those that lie so near a line of their layer are joined to it; 0: none.

    Returns
    -------
    tuple of Network and Report

    Raises
    ------
    ValueError
        Columns of unequal length, an unknown code, a negative tolerance, or something that is not
        a LineString with finite coordinates.

    Notes
    -----
    Pieces that repeat another (same layer, same vertices, drawn either way) are one edge, which may
    be driven in every direction that any of them may. Lines that cross without a shared vertex do
    not join: so data says that they pass over each other, or that a junction is missing.

    Examples
    --------
    A street drawn through a junction, a side street that ends there, and a bridge over both.

    >>> lines = shapely.from_wkt(
    ...     [
    ...         "LINESTRING (0 0, 50 0, 100 0)",
    ...         "LINESTRING (50 80, 50 0)",
    ...         "LINESTRING (20 -9, 20 9)",
    ...     ]
    ... )
    >>> none = [0, 0, 0]
    >>> found, report = network(lines, oneway=[NO, FORWARD, NO], layer=[0, 0, 1], road_class=none, group=[0, 1, 2])
    >>> found.road.tolist(), found.length_m.tolist(), found.backward.tolist()
    ([0, 0, 1, 2], [50.0, 50.0, 80.0, 18.0], [True, True, False, True])
    >>> report.component_length_m.tolist(), len(report.dead_end)
    ([180.0, 18.0], 5)
    """
    drawn, columns = _checked(lines, oneway, layer, road_class, group)
    if not 0 <= snap_m < np.inf:
        raise ValueError("snap_m must be a distance in metres")
    moved = 0
    if snap_m > 0:
        drawn, moved = snapped(drawn, columns[1], snap_m)
    pieces = _noded(drawn, columns[1])
    kept, twin = _unrepeated(pieces, *columns[1:])
    built = _built(pieces, kept, twin, columns)
    return built, _report(built, pieces, kept, len(drawn), moved)


def dead_ends_at(found: Network, report: Report, border: shapely.Geometry, within_m: float) -> Ints:
    """Return the dead ends that lie so near a border that the road may be meant to cross it.

    Parameters
    ----------
    found : Network
    report : Report
        Of this network.
    border : LineString or MultiLineString
        In metres of the same frame.
    within_m : float

    Returns
    -------
    ndarray of int64
        Nodes at which a single edge ends that does not itself meet the border elsewhere.
    """
    ends = report.dead_end
    if not len(ends):
        return ends
    near = ends[shapely.dwithin(shapely.points(found.node_xy[ends]), border, within_m)]
    of_node = np.full(len(found.node_xy), -1, np.int64)
    of_node[found.tail] = np.arange(len(found))
    of_node[found.head] = np.arange(len(found))
    edge = of_node[near]
    clear = ~shapely.crosses(found.line[edge], border)
    return np.asarray(near[clear & found.drivable[edge]])


Columns = tuple[Ints, Ints, Ints, Ints]


def _checked(lines: ArrayLike, *columns: ArrayLike) -> tuple[Lines, Columns]:
    drawn = np.asarray(lines, dtype=object).reshape(-1)
    oneway, layer, road_class, group = (np.asarray(one, np.int64).reshape(-1) for one in columns)
    if any(len(one) != len(drawn) for one in (oneway, layer, road_class, group)):
        raise ValueError("columns of roads have unequal lengths")
    if np.any((oneway < 0) | (oneway >= len(ONE_WAY))):
        raise ValueError("unknown one-way code")
    if np.any((road_class < 0) | (road_class >= len(CLASSES))):
        raise ValueError("unknown class code")
    if np.any(shapely.get_type_id(drawn) != shapely.GeometryType.LINESTRING):
        raise ValueError("a road is not a LineString")
    if not np.isfinite(shapely.get_coordinates(drawn)).all():
        raise ValueError("a road has a coordinate that is not finite")
    return drawn, (oneway, layer, road_class, group)


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Lines cut at their junctions: vertices in order, and where each piece starts and ends."""

    xy: Floats
    """Vertices without immediate repetitions, shape (v, 2)."""
    place: Ints
    """Number of the place of each vertex, equal for equal coordinates, shape (v,)."""
    start: Ints
    """Vertex at which each piece starts, shape (p,)."""
    end: Ints
    road: Ints
    tail: Ints
    """Number of the junction at the start, shape (p,)."""
    head: Ints
    node_xy: Floats


def _noded(lines: Lines, layer: Ints) -> _Pieces:
    xy, road = shapely.get_coordinates(lines, return_index=True)
    xy = xy + 0.0  # one zero, not two
    fresh = np.ones(len(xy), np.bool_)
    fresh[1:] = (road[1:] != road[:-1]) | (xy[1:] != xy[:-1]).any(axis=1)
    xy, road = xy[fresh], road[fresh].astype(np.int64)
    first = np.ones(len(xy), np.bool_)
    first[1:] = road[1:] != road[:-1]
    last = np.append(first[1:], True)[: len(xy)]
    extended = ~(first & last)  # a line whose vertices are all the same has one left
    xy, road, first, last = xy[extended], road[extended], first[extended], last[extended]
    place = _places(xy)
    cut, node, node_xy = _junctions(xy, place, layer[road], first | last)
    at = np.flatnonzero(cut)
    start, end = at[:-1], at[1:]
    within = road[start] == road[end]
    start, end = start[within], end[within]
    return _Pieces(xy, place, start, end, road[start], node[start], node[end], node_xy)


def _places(xy: Floats) -> Ints:
    """Return a number for each vertex, equal where coordinates are equal."""
    if not len(xy):
        return np.empty(0, np.int64)
    order = np.lexsort((xy[:, 1], xy[:, 0]))
    run = xy[order]
    new = np.append(False, (run[1:] != run[:-1]).any(axis=1))
    place = np.empty(len(xy), np.int64)
    place[order] = np.cumsum(new)
    return place


def _junctions(xy: Floats, place: Ints, layer: Ints, end: Bools) -> tuple[Bools, Ints, Floats]:
    """Return which vertices are junctions, the junction of each (or -1), and where they are."""
    if not len(xy):
        return np.empty(0, np.bool_), np.empty(0, np.int64), np.empty((0, 2))
    low = layer - layer.min()
    width = int(low.max()) + 1
    # One level: the vertices of one place in one layer, ordered by place, then layer.
    key, level, count = np.unique(place * width + low, return_inverse=True, return_counts=True)
    ends = np.bincount(level, weights=end, minlength=len(key)).astype(np.int64)
    junction = (count > 1) | (ends > 0)
    joined = _across(key // width, key % width, ends, count)
    junction |= joined != np.arange(len(key))
    junction[joined[junction]] = True
    cut = junction[level]
    _, number = np.unique(joined[level[cut]], return_inverse=True)
    node = np.full(len(xy), -1, np.int64)
    node[cut] = number
    node_xy = np.empty((int(number.max()) + 1 if len(number) else 0, 2))
    node_xy[number] = xy[cut]
    return cut, node, node_xy


def _across(place: Ints, layer: Ints, ends: Ints, count: Ints) -> Ints:
    """Return for each level the level it is one junction with: itself where nothing joins layers."""
    joined = np.arange(len(place))
    first = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
    size = np.diff(np.append(first, len(place)))
    for start, many in zip(first[size > 1].tolist(), size[size > 1].tolist(), strict=True):
        levels = np.arange(start, start + many)
        ending = levels[ends[levels] > 0]
        if len(ending) > 1:
            joined[ending] = ending[0]
        elif len(ending) == 1 and count[ending[0]] == 1:
            others = levels[levels != ending[0]]
            nearest = others[np.argmin(np.abs(layer[others] - layer[ending[0]]))]
            joined[ending[0]] = nearest
    return joined


def _unrepeated(pieces: _Pieces, layer: Ints, road_class: Ints, group: Ints) -> tuple[Ints, Ints]:
    """Return the pieces to keep, and for every piece the kept one it is the same as.

    Same: in one layer with the same vertices, drawn either way. The greatest road is kept.
    """
    p = len(pieces.start)
    low, high = np.minimum(pieces.tail, pieces.head), np.maximum(pieces.tail, pieces.head)
    vertices, of = pieces.end - pieces.start, layer[pieces.road]
    order = np.lexsort((np.arange(p), of, vertices, high, low))
    columns = (low, high, vertices, of)
    alike = np.append(False, np.all([one[order][1:] == one[order][:-1] for one in columns], axis=0))[:p]
    twin = np.arange(p)
    run = np.cumsum(~alike)
    doubtful = np.flatnonzero(np.bincount(run, minlength=p + 1)[run] > 1)
    seen: dict[bytes, int] = {}
    rows = order[doubtful]
    road = pieces.road[rows]
    for row in rows[np.lexsort((rows, group[road], road_class[road]))].tolist():
        path = pieces.place[pieces.start[row] : pieces.end[row] + 1]
        told = min(path.tobytes(), path[::-1].tobytes()) + bytes(str(of[row]), "ascii")
        twin[row] = seen.setdefault(told, row)
    return np.flatnonzero(twin == np.arange(p)), twin


def _built(pieces: _Pieces, kept: Ints, twin: Ints, columns: Columns) -> Network:
    oneway, layer, road_class, group = columns
    rule, driven = oneway[pieces.road], road_class[pieces.road] != PATH
    forward, backward = driven & (rule != BACKWARD), driven & (rule != FORWARD)
    again = np.flatnonzero(twin != np.arange(len(twin)))
    for row in again.tolist():  # few
        kept_row = twin[row]
        same_way = pieces.place[pieces.start[row]] == pieces.place[pieces.start[kept_row]] and (
            pieces.place[pieces.start[row] + 1] == pieces.place[pieces.start[kept_row] + 1]
        )
        forward[kept_row] |= forward[row] if same_way else backward[row]
        backward[kept_row] |= backward[row] if same_way else forward[row]
    road = pieces.road[kept]
    line = _lines(pieces, kept)
    return Network(
        node_xy=pieces.node_xy,
        tail=pieces.tail[kept],
        head=pieces.head[kept],
        forward=forward[kept],
        backward=backward[kept],
        length_m=shapely.length(line),
        road=road,
        line=line,
        layer=layer[road],
        road_class=road_class[road],
        group=group[road],
    )


def _lines(pieces: _Pieces, kept: Ints) -> Lines:
    """Return the kept pieces as LineStrings."""
    start, size = pieces.start[kept], pieces.end[kept] - pieces.start[kept] + 1
    if not len(kept):
        return np.empty(0, dtype=object)
    offset = np.cumsum(size) - size
    of = np.repeat(np.arange(len(kept)), size)
    vertex = np.arange(int(size.sum())) - offset[of] + start[of]
    return np.asarray(shapely.linestrings(pieces.xy[vertex], indices=of), dtype=object)


def _report(found: Network, pieces: _Pieces, kept: Ints, roads: int, moved: int) -> Report:
    n, m = len(found.node_xy), len(found)
    degree = np.bincount(found.tail, minlength=n) + np.bincount(found.head, minlength=n)
    graph = coo_matrix((np.ones(m, np.int8), (found.tail, found.head)), shape=(n, n))
    count, component = connected_components(graph, directed=False)
    length = np.zeros(count)
    np.add.at(length, component[found.tail], found.length_m)
    order = np.argsort(-length, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    present = np.zeros(roads, np.bool_)
    present[pieces.road] = True
    repeated = np.ones(len(pieces.road), np.bool_)
    repeated[kept] = False
    return Report(
        component=rank[component],
        component_length_m=length[order],
        degree=degree,
        dead_end=np.flatnonzero(degree == 1),
        duplicate=np.unique(pieces.road[repeated]),
        zero_length=np.flatnonzero(~present),
        self_crossing=np.unique(found.road[~shapely.is_simple(found.line)]),
        snapped=moved,
    )
