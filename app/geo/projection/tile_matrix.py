"""Tile matrix sets: the extents of tiles, and the documents that describe the sets.

Two well-known sets of OGC 17-083r4. Tiles are numbered as in the standard: matrix (zoom), row from the top,
column from the left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import asinh, atan, degrees, pi, radians, sinh, tan
from typing import Any, Final, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]
"""Left, lower, right and upper side."""

PIXELS: Final = 256
"""Side of a tile in pixels, as the well-known sets define it."""
MAX_MATRIX: Final = 24
"""Last matrix that is served; a pixel of it is about a centimetre."""
_PIXEL_M: Final = 0.00028
"""Side of the rendering pixel of the standard, which defines scale denominators."""
_EARTH_M: Final = 6378137.0
_HALF_M: Final = pi * _EARTH_M


@dataclass(frozen=True)
class TileMatrixSet:
    """A pyramid of tiles: ``columns`` x 1 tiles at matrix 0, four times as many at each next one."""

    name: str
    scale_set: str
    crs: str
    srid: int
    """SRID of the extents of tiles, x before y."""
    west: float
    north: float
    side: float
    """Side of a tile of matrix 0 in units of the CRS."""
    columns: int
    metres_per_unit: float

    @property
    def uri(self) -> str:
        """Return the identifier of the set in the standard."""
        return f"http://www.opengis.net/def/tilematrixset/OGC/1.0/{self.name}"

    def matrix_size(self, matrix: int) -> tuple[int, int]:
        """Return the numbers of columns and rows of a matrix."""
        return self.columns << matrix, 1 << matrix

    def has_tile(self, matrix: int, row: int, column: int) -> bool:
        """Return whether the set has this tile."""
        if not 0 <= matrix <= MAX_MATRIX:
            return False
        columns, rows = self.matrix_size(matrix)
        return 0 <= row < rows and 0 <= column < columns

    def tile_extent(self, matrix: int, row: int, column: int) -> Box:
        """Return a tile's (xmin, ymin, xmax, ymax) in the CRS of the set.

        Examples
        --------
        >>> WORLD_CRS84_QUAD.tile_extent(0, 0, 1)
        (0.0, -90.0, 180.0, 90.0)
        """
        side = self.side / (1 << matrix)
        x, y = self.west + column * side, self.north - row * side
        return (x, y - side, x + side, y)

    def tile_bounds(self, matrix: int, row: int, column: int, *, margin: float = 0.0) -> Box:
        """Return a tile's (west, south, east, north) in degrees.

        Parameters
        ----------
        matrix, row, column : int
            The tile.
        margin : float, optional
            Enlarge the tile on every side by this share of its side.

        Examples
        --------
        >>> [round(degree, 4) for degree in WEB_MERCATOR_QUAD.tile_bounds(1, 0, 0)]
        [-180.0, 0.0, 0.0, 85.0511]
        """
        grown = self.side / (1 << matrix) * margin
        x0, y0, x1, y1 = self.tile_extent(matrix, row, column)
        return self.to_degrees((x0 - grown, y0 - grown, x1 + grown, y1 + grown))

    def to_degrees(self, box: Box) -> Box:
        """Return a box in the CRS of the set as (west, south, east, north) in degrees."""
        if self.srid != _MERCATOR:
            return box
        x0, y0, x1, y1 = box
        west, east = degrees(x0 / _EARTH_M), degrees(x1 / _EARTH_M)
        return (west, degrees(atan(sinh(y0 / _EARTH_M))), east, degrees(atan(sinh(y1 / _EARTH_M))))

    def tile_limits(self, box: Box, matrix: int) -> tuple[int, int, int, int]:
        """Return (first row, last row, first column, last column) of the tiles that meet a box.

        Parameters
        ----------
        box : (west, south, east, north)
            Degrees; clamped to the extent of the set.
        matrix : int
            The matrix.

        Examples
        --------
        >>> WEB_MERCATOR_QUAD.tile_limits((113.0, 35.0, 113.5, 35.4), 8)
        (101, 101, 208, 208)
        """
        west, south, east, north = box
        side = self.side / (1 << matrix)
        columns, rows = self.matrix_size(matrix)

        def to_index(units: float, count: int) -> int:
            return min(max(int(units // side), 0), count - 1)

        left, right = (to_index(self._project_lon(lon) - self.west, columns) for lon in (west, east))
        top, bottom = (to_index(self.north - self._project_lat(lat), rows) for lat in (north, south))
        return top, bottom, left, right

    def _project_lon(self, lon: float) -> float:
        return radians(lon) * _EARTH_M if self.srid == _MERCATOR else lon

    def _project_lat(self, lat: float) -> float:
        if self.srid != _MERCATOR:
            return lat
        clamped = min(max(lat, -85.06), 85.06)  # the set ends at 85.0511 degrees
        return _EARTH_M * asinh(tan(radians(clamped)))

    def pixel_size(self, matrix: int) -> float:
        """Return the side of a pixel in units of the CRS."""
        return self.side / PIXELS / (1 << matrix)

    def build_document(self) -> dict[str, Any]:
        """Return the set as a TileMatrixSet document (OGC 17-083r4, annex on JSON)."""
        return {
            "id": self.name,
            "title": self.name,
            "uri": self.uri,
            "crs": self.crs,
            "orderedAxes": ["X", "Y"] if self.srid == _MERCATOR else ["Lon", "Lat"],
            "wellKnownScaleSet": f"http://www.opengis.net/def/wkss/OGC/1.0/{self.scale_set}",
            "tileMatrices": [self.build_matrix_document(matrix) for matrix in range(MAX_MATRIX + 1)],
        }

    def build_matrix_document(self, matrix: int) -> dict[str, Any]:
        """Return one matrix of the document."""
        columns, rows = self.matrix_size(matrix)
        return {
            "id": str(matrix),
            "scaleDenominator": self.pixel_size(matrix) * self.metres_per_unit / _PIXEL_M,
            "cellSize": self.pixel_size(matrix),
            "cornerOfOrigin": "topLeft",
            "pointOfOrigin": [self.west, self.north],
            "tileWidth": PIXELS,
            "tileHeight": PIXELS,
            "matrixWidth": columns,
            "matrixHeight": rows,
        }


_MERCATOR: Final = 3857
WEB_MERCATOR_QUAD: Final = TileMatrixSet(
    "WebMercatorQuad",
    "GoogleMapsCompatible",
    "http://www.opengis.net/def/crs/EPSG/0/3857",
    _MERCATOR,
    -_HALF_M,
    _HALF_M,
    2 * _HALF_M,
    1,
    1.0,
)
WORLD_CRS84_QUAD: Final = TileMatrixSet(
    "WorldCRS84Quad",
    "GoogleCRS84Quad",
    "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
    4326,
    -180.0,
    90.0,
    180.0,
    2,
    pi * _EARTH_M / 180,
)
MATRIX_SETS: Final[Mapping[str, TileMatrixSet]] = {
    matrix_set.name: matrix_set for matrix_set in (WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD)
}
