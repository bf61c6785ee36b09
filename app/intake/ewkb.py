"""Geometries as hexadecimal EWKB in SRID 4326, the text PostGIS reads fastest."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Floats

_POINT: Final = np.frombuffer(bytes.fromhex("0101000020e6100000"), np.uint8)
"""Little endian, a point with an SRID, 4326."""
_HEX: Final = np.frombuffer(b"0123456789ABCDEF", np.uint8)


def points(xy: Floats) -> Any:
    """Return points as an Arrow array of EWKB hex.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        lon, lat.

    Examples
    --------
    >>> points(np.array([[0.0, 0.5]]))[0].as_py()
    '0101000020E61000000000000000000000000000000000E03F'
    """
    count = len(xy)
    body = np.empty((count, 25), np.uint8)
    body[:, :9] = _POINT
    body[:, 9:] = np.ascontiguousarray(xy, "<f8").view(np.uint8).reshape(count, 16)
    text = np.empty((count, 50), np.uint8)
    text[:, 0::2] = _HEX[body >> 4]
    text[:, 1::2] = _HEX[body & 15]
    offsets = np.arange(0, 50 * count + 1, 50, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def shapes(geometries: NDArray[np.object_]) -> Any:
    """Return shapes as an Arrow array of EWKB hex."""
    marked = shapely.set_srid(geometries, 4326)
    return pa.array(shapely.to_wkb(marked, hex=True, include_srid=True), pa.string())
