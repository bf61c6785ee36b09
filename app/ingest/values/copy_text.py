"""Geometries as hexadecimal EWKB in SRID 4326, the text PostGIS reads fastest."""

from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Floats

_POINT: Final = np.frombuffer(bytes.fromhex("0101000020e6100000"), np.uint8)
"""Little endian, a point with an SRID, 4326."""
_HEX: Final = np.frombuffer(b"0123456789ABCDEF", np.uint8)


def format_points(xy: Floats) -> Any:
    """Return points as an Arrow array of EWKB hex.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        lon, lat.

    Examples
    --------
    >>> format_points(np.array([[0.0, 0.5]]))[0].as_py()
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


def format_shapes(geometries: NDArray[np.object_]) -> Any:
    """Return shapes as an Arrow array of EWKB hex."""
    marked = shapely.set_srid(geometries, 4326)
    return pa.array(shapely.to_wkb(marked, hex=True, include_srid=True), pa.string())


def parse_points(hexed: Any) -> Floats | None:
    """Return lon and lat of an Arrow array of points as `format_points` writes them; None for others.

    Examples
    --------
    >>> parse_points(format_points(np.array([[113.2, 35.2]])))
    array([[113.2,  35.2]])
    """
    texts = hexed.combine_chunks() if isinstance(hexed, pa.ChunkedArray) else hexed
    count = len(texts)
    if not count or texts.null_count:
        return None
    _, places, signs = texts.buffers()
    offsets = np.frombuffer(places, np.int32, count + 1, 4 * texts.offset)
    if (np.diff(offsets) != 50).any():
        return None
    text = signs.slice(int(offsets[0]), 50 * count).to_pybytes().decode("ascii")
    body = np.frombuffer(bytes.fromhex(text), np.uint8).reshape(count, 25)
    if (body[:, :9] != _POINT).any():
        return None
    return np.ascontiguousarray(body[:, 9:]).view("<f8").reshape(count, 2).astype(np.float64)


# Values as the text that PostgreSQL's COPY reads into their columns.


def format_value(value: Any) -> str | None:
    """Return a value as the text that PostgreSQL reads into its column.

    >>> format_value(["face", "vehicle"]), format_value(True), format_value(0.5), format_value([{"lane": 1}])
    ('{face,vehicle}', 'true', '0.5', '[{"lane":1}]')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "{" + ",".join(_quoted(part) for part in value) + "}"
    return orjson.dumps(value).decode()


def _quoted(text: str) -> str:
    if text.replace("_", "").isalnum() and text.isascii():
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
