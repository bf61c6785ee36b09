"""Which crossing of its ring a control point stands for.

Promises the nearest crossing of a road of the same name, within a stated distance; else, nearer, the
nearest crossing at all. Several control points may stand for one crossing, as one for each carriageway.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from app.geo.arrays import Floats, Ints
from app.geo.reach import flat

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
