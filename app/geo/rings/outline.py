"""The boundary of a ring, straight in longitude and latitude, measured in metres.

A boundary is registered in degrees. A straight edge in degrees is a slight curve in a metric projection:
over 10 km it bends by more than a metre. Edges are divided before they are projected, so that distances
refer to the same line as the test of what is inside.
"""

import numpy as np
import shapely
from pyproj import Geod
from scipy.spatial import cKDTree
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Bools, Floats, Shapes
from app.geo.projection.local_projection import LocalProjection

STEP_DEG = 0.00135
"""Greatest length of a segment of an edge, at most 150 m. A parallel departs from its chord by
``length**2 * tan(latitude) / (8 * 6371 km)``: below 1 mm up to 66 degrees of latitude."""
_GEOD = Geod(ellps="WGS84")


def divide_edges(border: BaseGeometry) -> BaseGeometry:
    """Return a boundary in lon/lat with edges short enough to be projected vertex by vertex."""
    return shapely.segmentize(border, STEP_DEG)


class Outline:
    """The boundary of a polygon, prepared for distances from many points.

    Safe to use from many threads: the constructor builds the indexes that GEOS builds on first use.

    Parameters
    ----------
    polygon : Polygon or MultiPolygon
        In lon/lat; the lines of its holes belong to the boundary.
    projection : LocalProjection
        Projection in which distances are measured.

    Raises
    ------
    InvalidShape
        A vertex is outside the area of the projection.

    Examples
    --------
    >>> square = shapely.box(113, 35, 114, 36)
    >>> projection = LocalProjection(4547)
    >>> Outline(square, projection).distance(projection.to_metres([(113.5, 35.001), (113, 35.5)])).round(1)
    array([110.9,   0. ])
    """

    def __init__(self, polygon: BaseGeometry, projection: LocalProjection) -> None:
        border = divide_edges(polygon.boundary)
        self.lonlat: Floats = shapely.get_coordinates(border)
        """Vertices of the divided boundary in degrees, shape (v, 2)."""
        self.line = projection.project(border)
        """The divided boundary in metres."""
        shapely.prepare(self.line)
        probe = shapely.points(shapely.get_coordinates(self.line)[:1] + 1.0)
        shapely.dwithin(self.line, probe, 0.5)
        shapely.shortest_line(self.line, probe)

    def distance(self, xy: Floats, points: Shapes | None = None) -> Floats:
        """Return unsigned distances in metres from positions in the projection, shape (n, 2).

        ``points`` are the same positions as Shapely points; a caller that measures them from several
        boundaries builds them once.
        """
        metric_points = shapely.points(xy) if points is None else points
        # shapely.distance visits every edge; shortest_line uses the prepared index.
        return np.asarray(shapely.length(shapely.shortest_line(self.line, metric_points)))

    def is_within(self, xy: Floats, distance_m: float) -> Bools:
        """Return which positions in the projection, shape (n, 2), are within a distance of the boundary."""
        return np.asarray(shapely.dwithin(self.line, shapely.points(xy), distance_m))

    def geodesic_distance(self, lonlat: Floats) -> Floats:
        """Return geodesic distances in metres to the nearest vertex of the divided boundary.

        For locations outside the area of the projection: from 300 km on, the distances to the
        nearest vertex and to the nearest point of the boundary differ by less than a centimetre.
        """
        if not len(lonlat):
            return np.empty(0)
        _, nearest = cKDTree(to_unit_sphere(self.lonlat)).query(to_unit_sphere(lonlat))
        to = self.lonlat[nearest]
        _, _, away = _GEOD.inv(lonlat[:, 0], lonlat[:, 1], to[:, 0], to[:, 1])
        return np.asarray(away, dtype=np.float64)


def to_unit_sphere(lonlat: Floats) -> Floats:
    """Return locations as points on the unit sphere, shape (n, 3)."""
    lon, lat = np.radians(lonlat).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
