"""The road network: a directed graph with junctions as nodes, and a report on what looks wrong in the roads.

The same roads give the same graph, in whatever order and direction they were drawn. Lines of one layer join at every
vertex that they share. Lines of different layers join where both end, and where a line ends that meets nothing in its
own layer, because a road does not end in mid-air. Lines that only pass each other do not join. Vertices are shared if
they are equal; ends may be snapped within a tolerance first, never across layers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import ArrayLike

from app.geo.arrays import Bools, Floats, Ints, Shapes, expand_ranges, label_components, mark_first
from app.geo.roads.snapping import snap_ends

ROAD_CLASSES: Final = (
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
PATH: Final = ROAD_CLASSES.index("path")
"""For walkers and cycles: never driven, whatever its one-way rule is."""
ONE_WAY_RULES: Final = ("no", "forward", "backward", "reversible")
"""Names of the one-way codes; forward is the direction of drawing. A reversible road changes its direction with time,
so it counts as open in both."""
TWO_WAY, FORWARD, BACKWARD, REVERSIBLE = range(4)


@dataclass(frozen=True, eq=False)
class NodedNetwork:
    """A road graph: n nodes, m edges; each edge is a segment of one road between two nodes."""

    node_xy: Floats
    """Shape (n, 2), metres in the local projection."""
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
    """Shape (m,): row of the road that the edge belongs to."""
    line: Shapes
    """Shape (m,): LineStrings in metres, from tail to head."""
    layer: Ints
    """Shape (m,): level above (bridge) or below (tunnel) the ground."""
    road_class: Ints
    """Shape (m,): index in `ROAD_CLASSES`."""
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
class NetworkReport:
    """Properties of the roads that a person should check before using results of the network."""

    component: Ints
    """Shape (n,): number of the connected component of each node, the longest first."""
    component_length_m: Floats
    """Shape (c,): metres of road in each component."""
    degree: Ints
    """Shape (n,): number of ends of edges at each node."""
    dead_end: Ints
    """Nodes at which a single edge ends."""
    duplicate: Ints
    """Rows of roads of which a segment repeats one of another road, greater or earlier; it is used once."""
    zero_length: Ints
    """Rows of roads without extent, also after snapping; they are left out."""
    self_crossing: Ints
    """Rows of roads with a segment that crosses itself where it has no vertex."""
    snapped_count: int
    """How many ends were moved."""


def build_network(
    lines: ArrayLike,
    *,
    oneway: ArrayLike,
    layer: ArrayLike,
    road_class: ArrayLike,
    group: ArrayLike,
    snap_m: float = 0.0,
) -> tuple[NodedNetwork, NetworkReport]:
    """Return the graph of roads and a report on what looks wrong in them.

    Parameters
    ----------
    lines : array_like of LineString, shape (k,)
        In metres of one local projection.
    oneway : array_like of int, shape (k,)
        Indices in `ONE_WAY_RULES`.
    layer : array_like of int, shape (k,)
        Level above (bridge) or below (tunnel) the ground.
    road_class : array_like of int, shape (k,)
        Indices in `ROAD_CLASSES`. A `PATH` is in the graph and cannot be driven.
    group : array_like of int, shape (k,)
        Equal for both carriageways and the slip roads of one road.
    snap_m : float
        Tolerance for ends of lines, see `app.geo.roads.snapping.snap_ends`; 0: no snapping.

    Returns
    -------
    tuple of NodedNetwork and NetworkReport

    Raises
    ------
    ValueError
        Columns of unequal length, an unknown code, a negative tolerance, or something that is not a LineString with
        finite coordinates.

    Notes
    -----
    Segments that repeat another (same layer, same vertices, in either direction) are one edge, which may be driven in
    every direction in which one of them may be driven. Lines that cross without a shared vertex do not join: either
    one passes over the other, or the data lack a junction.

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
    >>> rules, zeros = [TWO_WAY, FORWARD, TWO_WAY], [0, 0, 0]
    >>> network, report = build_network(lines, oneway=rules, layer=[0, 0, 1], road_class=zeros, group=[0, 1, 2])
    >>> network.road.tolist(), network.length_m.tolist(), network.backward.tolist()
    ([0, 0, 1, 2], [50.0, 50.0, 80.0, 18.0], [True, True, False, True])
    >>> report.component_length_m.tolist(), len(report.dead_end)
    ([180.0, 18.0], 5)
    """
    shapes, columns = _check_columns(lines, oneway, layer, road_class, group)
    if not 0 <= snap_m < np.inf:
        raise ValueError("snap_m must be a distance in metres")
    snapped_count = 0
    if snap_m > 0:
        shapes, snapped_count = snap_ends(shapes, columns[1], snap_m)
    segments = _split_at_junctions(shapes, columns[1])
    retained, twin = _find_duplicates(segments, *columns[1:])
    network = _assemble_network(segments, retained, twin, columns)
    return network, _build_report(network, segments, retained, len(shapes), snapped_count)


def find_dead_ends_at(network: NodedNetwork, report: NetworkReport, border: shapely.Geometry, within_m: float) -> Ints:
    """Return the dead ends that are so near a border that the road may be meant to cross it.

    Parameters
    ----------
    network : NodedNetwork
    report : NetworkReport
        Of this network.
    border : LineString or MultiLineString
        In metres of the same local projection.
    within_m : float

    Returns
    -------
    ndarray of int64
        Nodes at which a single edge ends that does not itself meet the border elsewhere.
    """
    ends = report.dead_end
    if not len(ends):
        return ends
    candidates = ends[shapely.dwithin(shapely.points(network.node_xy[ends]), border, within_m)]
    node_edge = np.full(len(network.node_xy), -1, np.int64)
    node_edge[network.tail] = np.arange(len(network))
    node_edge[network.head] = np.arange(len(network))
    edge = node_edge[candidates]
    stays_clear = ~shapely.crosses(network.line[edge], border)
    return np.asarray(candidates[stays_clear & network.drivable[edge]])


_Columns = tuple[Ints, Ints, Ints, Ints]


def _check_columns(lines: ArrayLike, *columns: ArrayLike) -> tuple[Shapes, _Columns]:
    """Return lines and columns as arrays; raise ValueError if they cannot be roads."""
    shapes = np.asarray(lines, dtype=object).reshape(-1)
    oneway, layer, road_class, group = (np.asarray(column, np.int64).reshape(-1) for column in columns)
    if any(len(column) != len(shapes) for column in (oneway, layer, road_class, group)):
        raise ValueError("columns of roads have unequal lengths")
    if np.any((oneway < 0) | (oneway >= len(ONE_WAY_RULES))):
        raise ValueError("unknown one-way code")
    if np.any((road_class < 0) | (road_class >= len(ROAD_CLASSES))):
        raise ValueError("unknown class code")
    if np.any(shapely.get_type_id(shapes) != shapely.GeometryType.LINESTRING):
        raise ValueError("a road is not a LineString")
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise ValueError("a road has a coordinate that is not finite")
    return shapes, (oneway, layer, road_class, group)


@dataclass(frozen=True, eq=False)
class _Segments:
    """Lines cut at their junctions: vertices in order, and the range of vertices of each segment."""

    xy: Floats
    """Vertices without immediate repetitions, shape (v, 2)."""
    point: Ints
    """Number of the point of each vertex, equal for equal coordinates, shape (v,)."""
    start: Ints
    """Vertex at which each segment starts, shape (p,)."""
    end: Ints
    """Vertex at which it ends, shape (p,)."""
    road: Ints
    """Row of the road, shape (p,)."""
    tail: Ints
    """Number of the junction at the start, shape (p,)."""
    head: Ints
    """Number of the junction at the end, shape (p,)."""
    node_xy: Floats


def _split_at_junctions(lines: Shapes, layer: Ints) -> _Segments:
    """Return the segments of lines between junctions."""
    xy, road = shapely.get_coordinates(lines, return_index=True)
    xy = xy + 0.0  # makes -0.0 equal to 0.0 also as bytes
    changes = mark_first(road, xy[:, 0], xy[:, 1])
    xy, road = xy[changes], road[changes].astype(np.int64)
    first = mark_first(road)
    last = np.append(first[1:], True)[: len(xy)]
    has_length = ~(first & last)  # a line whose vertices are all the same has one left
    xy, road, first, last = xy[has_length], road[has_length], first[has_length], last[has_length]
    point = _number_points(xy)
    cut, node, node_xy = _find_junctions(xy, point, layer[road], first | last)
    vertices = np.flatnonzero(cut)
    start, end = vertices[:-1], vertices[1:]
    same_road = road[start] == road[end]
    start, end = start[same_road], end[same_road]
    return _Segments(xy, point, start, end, road[start], node[start], node[end], node_xy)


def _number_points(xy: Floats) -> Ints:
    """Return a number for each vertex, equal where coordinates are equal."""
    order = np.lexsort((xy[:, 1], xy[:, 0]))
    point = np.empty(len(xy), np.int64)
    point[order] = np.cumsum(mark_first(xy[order, 0], xy[order, 1])) - 1
    return point


def _find_junctions(xy: Floats, point: Ints, layer: Ints, end: Bools) -> tuple[Bools, Ints, Floats]:
    """Return which vertices are junctions, the junction of each (or -1), and the locations of junctions."""
    if not len(xy):
        return np.empty(0, np.bool_), np.empty(0, np.int64), np.empty((0, 2))
    low = layer - layer.min()
    width = int(low.max()) + 1
    # One level: the vertices at one point in one layer, ordered by point, then layer.
    key, level, count = np.unique(point * width + low, return_inverse=True, return_counts=True)
    ends = np.bincount(level, weights=end, minlength=len(key)).astype(np.int64)
    junction = (count > 1) | (ends > 0)
    joined = _join_layers(key // width, key % width, ends, count)
    junction |= joined != np.arange(len(key))
    junction[joined[junction]] = True
    cut = junction[level]
    _, number = np.unique(joined[level[cut]], return_inverse=True)
    node = np.full(len(xy), -1, np.int64)
    node[cut] = number
    node_xy = np.empty((int(number.max()) + 1 if len(number) else 0, 2))
    node_xy[number] = xy[cut]
    return cut, node, node_xy


def _join_layers(point: Ints, layer: Ints, ends: Ints, count: Ints) -> Ints:
    """Return for each level the level that it is one junction with: itself if nothing joins layers."""
    joined = np.arange(len(point))
    first = np.flatnonzero(mark_first(point))
    size = np.diff(np.append(first, len(point)))
    for start, levels_count in zip(first[size > 1].tolist(), size[size > 1].tolist(), strict=True):
        levels = np.arange(start, start + levels_count)
        ending = levels[ends[levels] > 0]
        if len(ending) > 1:
            joined[ending] = ending[0]
        elif len(ending) == 1 and count[ending[0]] == 1:
            # The line meets nothing in its own layer: it joins the nearest other layer.
            others = levels[levels != ending[0]]
            joined[ending[0]] = others[np.argmin(np.abs(layer[others] - layer[ending[0]]))]
    return joined


def _find_duplicates(segments: _Segments, layer: Ints, road_class: Ints, group: Ints) -> tuple[Ints, Ints]:
    """Return the segments to retain, and for every segment the retained one that it repeats.

    A segment repeats another in the same layer with the same vertices, drawn in either direction. The one of the
    greatest road is retained.
    """
    p = len(segments.start)
    low, high = np.minimum(segments.tail, segments.head), np.maximum(segments.tail, segments.head)
    vertices, level = segments.end - segments.start, layer[segments.road]
    order = np.lexsort((np.arange(p), level, vertices, high, low))
    run = np.cumsum(mark_first(low[order], high[order], vertices[order], level[order]))
    twin = np.arange(p)
    rows = order[np.bincount(run, minlength=p + 1)[run] > 1]
    by_path: dict[bytes, int] = {}
    road = segments.road[rows]
    for row in rows[np.lexsort((rows, group[road], road_class[road]))].tolist():
        path = segments.point[segments.start[row] : segments.end[row] + 1]
        path_key = min(path.tobytes(), path[::-1].tobytes()) + bytes(str(level[row]), "ascii")
        twin[row] = by_path.setdefault(path_key, row)
    return np.flatnonzero(twin == np.arange(p)), twin


def _assemble_network(segments: _Segments, retained: Ints, twin: Ints, columns: _Columns) -> NodedNetwork:
    """Return the network of the retained segments; each may also be driven as its duplicates may."""
    oneway, layer, road_class, group = columns
    rule, driven = oneway[segments.road], road_class[segments.road] != PATH
    forward, backward = driven & (rule != BACKWARD), driven & (rule != FORWARD)
    point, start = segments.point, segments.start
    for row in np.flatnonzero(twin != np.arange(len(twin))).tolist():  # few
        first = twin[row]
        same_direction = point[start[row]] == point[start[first]] and point[start[row] + 1] == point[start[first] + 1]
        forward[first] |= forward[row] if same_direction else backward[row]
        backward[first] |= backward[row] if same_direction else forward[row]
    road = segments.road[retained]
    line = _build_lines(segments, retained)
    return NodedNetwork(
        node_xy=segments.node_xy,
        tail=segments.tail[retained],
        head=segments.head[retained],
        forward=forward[retained],
        backward=backward[retained],
        length_m=shapely.length(line),
        road=road,
        line=line,
        layer=layer[road],
        road_class=road_class[road],
        group=group[road],
    )


def _build_lines(segments: _Segments, retained: Ints) -> Shapes:
    """Return the retained segments as LineStrings."""
    if not len(retained):
        return np.empty(0, dtype=object)
    start = segments.start[retained]
    segment, _, vertex = expand_ranges(segments.end[retained] - start + 1, start)
    return np.asarray(shapely.linestrings(segments.xy[vertex], indices=segment), dtype=object)


def _build_report(
    network: NodedNetwork, segments: _Segments, retained: Ints, road_count: int, snapped_count: int
) -> NetworkReport:
    """Return the report on a network."""
    n = len(network.node_xy)
    degree = np.bincount(network.tail, minlength=n) + np.bincount(network.head, minlength=n)
    count, component = label_components(n, network.tail, network.head)
    length = np.asarray(np.bincount(component[network.tail], network.length_m, minlength=count), np.float64)
    order = np.argsort(-length, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    present = np.zeros(road_count, np.bool_)
    present[segments.road] = True
    repeated = np.ones(len(segments.road), np.bool_)
    repeated[retained] = False
    return NetworkReport(
        component=rank[component],
        component_length_m=length[order],
        degree=degree,
        dead_end=np.flatnonzero(degree == 1),
        duplicate=np.unique(segments.road[repeated]),
        zero_length=np.flatnonzero(~present),
        self_crossing=np.unique(network.road[~shapely.is_simple(network.line)]),
        snapped_count=snapped_count,
    )
