"""The border of a ring, straight in longitude and latitude, measured in metres.

A border is registered in degrees, and a straight edge there is a slight curve in a metric frame:
over 10 km it bends by more than a metre. Here edges are divided first, so that distances belong
to the same line that decides what is inside.
"""

import numpy as np
import shapely
from pyproj import Geod
from scipy.spatial import cKDTree
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Bools, Floats, Shapes
from app.geo.projection.local_projection import LocalProjection

STEP_DEG = 0.00135
"""Greatest length of a piece of an edge, at most 150 m. A parallel departs from its chord by
``length**2 * tan(latitude) / (8 * 6371 km)``: below 1 mm up to 66 degrees of latitude."""
_GEOD = Geod(ellps="WGS84")


def divide_edges(border: BaseGeometry) -> BaseGeometry:
    """Return a border in lon/lat with edges short enough to be projected piece by piece."""
    return shapely.segmentize(border, STEP_DEG)


class Outline:
    """The border of a polygon, ready to be measured from many places.

    Safe to use from many threads: what GEOS builds on first use is built here.

    Parameters
    ----------
    polygon : Polygon or MultiPolygon
        In lon/lat; its holes have borders too.
    frame : Frame
        Where distances are measured.

    Raises
    ------
    InvalidShape
        A vertex is out of the frame's reach.

    Examples
    --------
    >>> square = shapely.box(113, 35, 114, 36)
    >>> frame = LocalProjection(4547)
    >>> Outline(square, frame).distance(frame.to_metres([(113.5, 35.001), (113, 35.5)])).round(1)
    array([110.9,   0. ])
    """

    def __init__(self, polygon: BaseGeometry, projection: LocalProjection) -> None:
        border = divide_edges(polygon.boundary)
        self.lonlat: Floats = shapely.get_coordinates(border)
        """Vertices of the divided border in degrees, shape (v, 2)."""
        self.line = projection.project(border)
        """The divided border in metres."""
        shapely.prepare(self.line)
        probe = shapely.points(shapely.get_coordinates(self.line)[:1] + 1.0)
        shapely.dwithin(self.line, probe, 0.5)
        shapely.shortest_line(self.line, probe)

    def distance(self, xy: Floats, points: Shapes | None = None) -> Floats:
        """Return unsigned distances in metres from places in the frame, shape (n, 2).

        Who measures the same places from several borders hands over ``points``, made of them once.
        """
        metric_points = shapely.points(xy) if points is None else points
        # shapely.distance would go through every edge; this one uses the prepared index.
        return np.asarray(shapely.length(shapely.shortest_line(self.line, metric_points)))

    def is_within(self, xy: Floats, distance_m: float) -> Bools:
        """Tell which places in the frame, shape (n, 2), are at most so far from the border."""
        return np.asarray(shapely.dwithin(self.line, shapely.points(xy), distance_m))

    def geodesic_distance(self, lonlat: Floats) -> Floats:
        """Return geodesic distances in metres to the nearest vertex of the divided border.

        For places so far away that a metric frame says nothing about them: from 300 km on the
        nearest vertex and the nearest place of the border differ by less than a centimetre.
        """
        if not len(lonlat):
            return np.empty(0)
        _, nearest = cKDTree(to_unit_sphere(self.lonlat)).query(to_unit_sphere(lonlat))
        to = self.lonlat[nearest]
        _, _, away = _GEOD.inv(lonlat[:, 0], lonlat[:, 1], to[:, 0], to[:, 1])
        return np.asarray(away, dtype=np.float64)


def to_unit_sphere(lonlat: Floats) -> Floats:
    lon, lat = np.radians(lonlat).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
