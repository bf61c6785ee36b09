"""Names for the array types that `app.geo` passes around, and the one door for coordinates.

Every function that takes positions calls `positions` first, so nothing further in has to think
about lists, wrong shapes, NaN or swapped axes.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.errors import InvalidShape

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]
Shapes: TypeAlias = NDArray[np.object_]


def positions(lonlat: ArrayLike) -> Floats:
    """Return positions as an (n, 2) array, refusing what cannot be a place on Earth.

    Parameters
    ----------
    lonlat : array_like, shape (n, 2)
        Longitude and latitude in degrees, in this order. An empty sequence is an (0, 2) array.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        The input itself when it already has this form.

    Raises
    ------
    InvalidShape
        Not a sequence of number pairs, a NaN or infinite number, a longitude beyond 180 or a
        latitude beyond 90 degrees; names the first offender.

    Examples
    --------
    >>> positions([(113.2, 35.2)])
    array([[113.2,  35.2]])
    >>> positions([(35.2, 113.2)])
    Traceback (most recent call last):
        ...
    app.errors.InvalidShape: The geometry is not valid: Coordinate out of range (longitude -180 to \
180, latitude -90 to 90) at or near [35.200000, 113.200000].
    """
    try:
        array = np.asarray(lonlat, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidShape("Positions are not pairs of numbers") from None
    if array.size == 0:
        return np.empty((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise InvalidShape("Positions are not pairs of longitude and latitude")
    lon, lat = array[:, 0], array[:, 1]
    # A NaN makes every comparison false, so one pass of minima and maxima finds all three faults.
    if lon.min() >= -180 and lon.max() <= 180 and lat.min() >= -90 and lat.max() <= 90:
        return array
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise InvalidShape(f"Non-finite coordinate in position {int(np.argmin(finite))}")
    wrong = int(np.argmax((np.abs(lon) > 180) | (np.abs(lat) > 90)))
    raise InvalidShape(
        "Coordinate out of range (longitude -180 to 180, latitude -90 to 90)",
        (float(lon[wrong]), float(lat[wrong])),
    )


def spread(counts: Ints, starts: Ints) -> tuple[Ints, Ints, Ints]:
    """Return for ragged rows: the row, the place within it, and the place from `starts` on."""
    row = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, within, within + np.repeat(starts, counts)


def row_starts(row: Ints, count: int) -> Ints:
    """Return where each of `count` rows begins among values sorted by row, shape (count + 1,).

    This is the index pointer of a sparse matrix in CSR form: the values of row `i` are those from `starts[i]` up to
    `starts[i + 1]`.

    >>> row_starts(np.array([0, 2, 2]), 3).tolist()
    [0, 1, 1, 3]
    """
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=count), out=starts[1:])
    return starts
