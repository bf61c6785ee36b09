"""Types of the arrays that the engine passes around, the check of locations, and operations on rows and keys."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from app.errors import InvalidShape
from app.messages import Message

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]
Shapes: TypeAlias = NDArray[np.object_]


def validate_locations(lonlat: ArrayLike) -> Floats:
    """Return locations as an (n, 2) array.

    Every function of the engine that takes locations calls this first, so that the code behind it need not care about
    lists, wrong shapes, NaN or swapped axes.

    Parameters
    ----------
    lonlat : array_like, shape (n, 2)
        Longitude and latitude in degrees, in this order. An empty sequence is an (0, 2) array.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        The input itself if it already has this form.

    Raises
    ------
    InvalidShape
        Not a sequence of number pairs, a NaN or infinite number, a longitude beyond 180 or a latitude beyond 90
        degrees; names the first wrong location.

    Examples
    --------
    >>> validate_locations([(113.2, 35.2)])
    array([[113.2,  35.2]])
    >>> validate_locations([(35.2, 113.2)])
    Traceback (most recent call last):
        ...
    app.errors.InvalidShape: The geometry is not valid: Coordinate out of range (longitude -180 to \
180, latitude -90 to 90) at or near [35.200000, 113.200000].
    """
    try:
        locations = np.asarray(lonlat, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidShape(Message("Positions are not pairs of numbers")) from None
    if locations.size == 0:
        return np.empty((0, 2))
    if locations.ndim != 2 or locations.shape[1] != 2:
        raise InvalidShape(Message("Positions are not pairs of longitude and latitude"))
    lon, lat = locations[:, 0], locations[:, 1]
    # A NaN makes every comparison false, so one pass of minima and maxima finds all three errors.
    if lon.min() >= -180 and lon.max() <= 180 and lat.min() >= -90 and lat.max() <= 90:
        return locations
    finite = np.isfinite(locations).all(axis=1)
    if not finite.all():
        raise InvalidShape(Message("Non-finite coordinate in position {index}", index=int(np.argmin(finite))))
    index = int(np.argmax((np.abs(lon) > 180) | (np.abs(lat) > 90)))
    raise InvalidShape(
        Message("Coordinate out of range (longitude -180 to 180, latitude -90 to 90)"),
        (float(lon[index]), float(lat[index])),
    )


def expand_ranges(counts: Ints, starts: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the members of ranges, one row each: the range, the index within it, and the index from `starts` on.

    >>> [column.tolist() for column in expand_ranges(np.array([2, 0, 1]), np.array([10, 20, 30]))]
    [[0, 0, 2], [0, 1, 0], [10, 11, 30]]
    """
    row = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, within, within + np.repeat(starts, counts)


def row_starts(row: Ints, count: int) -> Ints:
    """Return the index at which each of `count` rows starts among values sorted by row, shape (count + 1,).

    This is the index pointer of a sparse matrix in CSR form: the values of row `i` are those from `starts[i]` up to
    `starts[i + 1]`.

    >>> row_starts(np.array([0, 2, 2]), 3).tolist()
    [0, 1, 1, 3]
    """
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=count), out=starts[1:])
    return starts


def build_csr(row: Ints, column: Ints, data: NDArray[np.number], n: int) -> csr_array:
    """Return an n by n sparse matrix from entries that are sorted by row.

    Every entry stays, also one of value 0: the matrix is the graph of the pairs of row and column.

    >>> build_csr(np.array([0, 2]), np.array([1, 0]), np.array([5.0, 7.0]), 3).toarray().tolist()
    [[0.0, 5.0, 0.0], [0.0, 0.0, 0.0], [7.0, 0.0, 0.0]]
    """
    # The graph functions of scipy take indices of 32 bits and would convert others.
    return csr_array((data, column.astype(np.int32), row_starts(row, n).astype(np.int32)), shape=(n, n))


def label_components(n: int, first: Ints, second: Ints) -> tuple[int, Ints]:
    """Return the number of connected components of n nodes that pairs connect, and the component of each node.

    >>> count, label = label_components(4, np.array([0, 2]), np.array([1, 1]))
    >>> count, label.tolist()
    (2, [0, 0, 0, 1])
    """
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(n, n))
    count, label = connected_components(graph, directed=False)
    return int(count), label.astype(np.int64)


def mark_first(*columns: NDArray[np.generic]) -> Bools:
    """Return which rows of sorted columns are the first of a run of equal rows.

    >>> mark_first(np.array([1, 1, 2])).tolist()
    [True, False, True]
    """
    first = np.ones(len(columns[0]), np.bool_)
    if len(first):
        first[1:] = columns[0][1:] != columns[0][:-1]
        for column in columns[1:]:
            first[1:] |= column[1:] != column[:-1]
    return first


def match_keys(keys: Ints, queries: Ints) -> tuple[Ints, Ints]:
    """Return all pairs of a query and a row of `keys` that has the same value, sorted by query, then by row.

    >>> [column.tolist() for column in match_keys(np.array([7, 5, 7]), np.array([5, 6, 7]))]
    [[0, 2, 2], [1, 0, 2]]
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    start = np.searchsorted(ordered, queries)
    query, _, index = expand_ranges(np.searchsorted(ordered, queries, side="right") - start, start)
    return query, order[index]
