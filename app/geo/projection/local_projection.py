"""Local projections: conversion between longitude/latitude and metres.

Metres are easting before northing, and always finite. Transformers are built once and can be used from many
threads. A coordinate system that is not projected, or whose unit is not the metre, is an error.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, overload

import numpy as np
import shapely
from numpy.typing import ArrayLike
from pyproj import CRS, Proj, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.arrays import Floats, validate_locations
from app.messages import Message

_G = TypeVar("_G", bound=BaseGeometry)

# Extent in which the national zones are used; a little more than the land of China, so that a
# border town and the sea next to it are in one projection.
CHINA_LON = (73.5, 136.5)
CHINA_LAT = (3.0, 54.0)
_FIRST_ZONE_EPSG, _FIRST_MERIDIAN, _LAST_MERIDIAN = 4534, 75, 135


@lru_cache(maxsize=64)
def load_metric_crs(epsg: int) -> CRS:
    """Return a projected system in metres; raise InvalidShape for any other EPSG number."""
    try:
        crs = CRS.from_epsg(epsg)
    except CRSError:
        raise InvalidShape(Message("Unknown coordinate system EPSG:{epsg}", epsg=epsg)) from None
    if not crs.is_projected:
        raise InvalidShape(Message("EPSG:{epsg} is not a projected coordinate system", epsg=epsg))
    if any(axis.unit_conversion_factor != 1.0 for axis in crs.axis_info):
        raise InvalidShape(Message("The unit of EPSG:{epsg} is not the metre", epsg=epsg))
    return crs


# Since pyproj 3.1 a Transformer keeps its PROJ context in thread-local storage and may be shared
# (https://pyproj4.github.io/pyproj/stable/advanced_examples.html#multithreading); a Proj may not.
@lru_cache(maxsize=64)
def _load_transformer(epsg: int) -> Transformer:
    return Transformer.from_crs("EPSG:4326", load_metric_crs(epsg), always_xy=True)


@dataclass(frozen=True)
class LocalProjection:
    """A projected coordinate system in metres, named by its EPSG number.

    WGS 84 and CGCS2000 are treated as the same datum: PROJ has only a null operation between
    them, and the difference is far below the accuracy of the registry.

    Parameters
    ----------
    epsg : int
        EPSG number of a projected system in metres.

    Raises
    ------
    InvalidShape
        The number is unknown, the system is not projected, or its unit is not the metre.

    Examples
    --------
    >>> LocalProjection(4547).to_metres([(113.2418, 35.2159)]).round(2)
    array([[ 430966.92, 3898808.8 ]])
    """

    epsg: int

    def __post_init__(self) -> None:
        """Raise InvalidShape if the system is not metric."""
        load_metric_crs(self.epsg)

    def to_metres(self, lonlat: ArrayLike) -> Floats:
        """Return easting and northing in metres.

        Parameters
        ----------
        lonlat : array_like, shape (n, 2)
            Degrees, longitude first.

        Returns
        -------
        ndarray, shape (n, 2)

        Raises
        ------
        InvalidShape
            A position is not a location on Earth, or the projection has no value there.
        """
        array = validate_locations(lonlat)
        metres = apply_transformer(_load_transformer(self.epsg), array, inverse=False)
        if not np.isfinite(metres).all():
            unprojectable = array[int(np.argmin(np.isfinite(metres).all(axis=1)))]
            raise InvalidShape(
                Message("Position is outside the area of EPSG:{epsg}", epsg=self.epsg),
                (float(unprojectable[0]), float(unprojectable[1])),
            )
        return metres

    def to_lonlat(self, metres: ArrayLike) -> Floats:
        """Return longitude and latitude in degrees; the inverse of `to_metres`.

        Parameters
        ----------
        metres : array_like, shape (n, 2)
            Easting and northing.

        Returns
        -------
        ndarray, shape (n, 2)

        Raises
        ------
        InvalidShape
            A number is not finite, or the coordinates have no longitude and latitude.
        """
        array = np.asarray(metres, dtype=np.float64).reshape(-1, 2)
        lonlat = apply_transformer(_load_transformer(self.epsg), array, inverse=True)
        if not np.isfinite(lonlat).all():
            raise InvalidShape(Message("Coordinates are outside the area of EPSG:{epsg}", epsg=self.epsg))
        return lonlat

    @overload
    def project(self, shape: _G) -> _G: ...
    @overload
    def project(self, shape: ArrayLike) -> Floats: ...
    def project(self, shape: BaseGeometry | ArrayLike) -> BaseGeometry | Floats:
        """Return a geometry or an (n, 2) array in metres.

        Edges stay straight between their projected ends. A long edge of a ring is therefore not
        the same line in both systems; `app.geo.rings.outline` divides boundaries for this reason.
        """
        if isinstance(shape, BaseGeometry):
            return shapely.transform(shape, self.to_metres)
        return self.to_metres(shape)

    @overload
    def unproject(self, shape: _G) -> _G: ...
    @overload
    def unproject(self, shape: ArrayLike) -> Floats: ...
    def unproject(self, shape: BaseGeometry | ArrayLike) -> BaseGeometry | Floats:
        """Return a geometry or an (n, 2) array in degrees; the inverse of `project`."""
        if isinstance(shape, BaseGeometry):
            return shapely.transform(shape, self.to_lonlat)
        return self.to_lonlat(shape)

    def convergence_deg(self, lonlat: ArrayLike) -> Floats:
        """Return the meridian convergence: the angle from true north clockwise to grid north, in degrees.

        The grid bearing of a true azimuth *a* is ``a - convergence``.

        Parameters
        ----------
        lonlat : array_like, shape (n, 2)
            Degrees, longitude first.

        Returns
        -------
        ndarray, shape (n,)

        Raises
        ------
        InvalidShape
            As for `to_metres`.

        Notes
        -----
        PROJ computes it from the derivatives of the projection (``proj_factors``), so it is valid
        for every kind of projection.

        Examples
        --------
        >>> LocalProjection(4547).convergence_deg([(113.2418, 35.2159), (114, 35)]).round(2) + 0.0
        array([-0.44,  0.  ])
        """
        array = validate_locations(lonlat)
        if not len(array):
            return np.empty(0)
        factors = Proj(load_metric_crs(self.epsg)).get_factors(array[:, 0], array[:, 1])
        convergence = np.asarray(factors.meridian_convergence, dtype=np.float64)
        if not np.isfinite(convergence).all():
            raise InvalidShape(Message("Position is outside the area of EPSG:{epsg}", epsg=self.epsg))
        return convergence

    def scale_error(self, lonlat: ArrayLike) -> Floats:
        """Return the largest relative error of lengths at locations.

        Parameters
        ----------
        lonlat : array_like, shape (n, 2)
            Degrees, longitude first.

        Returns
        -------
        ndarray, shape (n,)
            0 where the projection keeps lengths; infinite where it has no value.

        Examples
        --------
        >>> LocalProjection(4547).scale_error([(113.2418, 35.2159)]).round(5)
        array([6.e-05])
        >>> LocalProjection(3857).scale_error([(113.2418, 35.2159)]).round(2)
        array([0.22])
        """
        array = validate_locations(lonlat)
        factors = Proj(load_metric_crs(self.epsg)).get_factors(array[:, 0], array[:, 1])
        scales = np.column_stack([factors.meridional_scale, factors.parallel_scale])
        return np.asarray(np.nan_to_num(np.abs(scales - 1), nan=np.inf).max(axis=1))


def apply_transformer(transformer: Transformer, array: Floats, *, inverse: bool) -> Floats:
    """Return the transformed positions, shape (n, 2)."""
    transformed = np.empty_like(array)
    transformed[:, 0], transformed[:, 1] = transformer.transform(
        array[:, 0], array[:, 1], direction="INVERSE" if inverse else "FORWARD"
    )
    return transformed


def get_projection(epsg: int) -> LocalProjection:
    """Return the local projection with this EPSG number.

    Raises
    ------
    InvalidShape
        The number is unknown, the system is not projected, or its unit is not the metre.

    Examples
    --------
    >>> get_projection(4490)
    Traceback (most recent call last):
        ...
    app.errors.InvalidShape: The geometry is not valid: EPSG:4490 is not a projected coordinate \
system.
    """
    return LocalProjection(epsg)


def choose_projection(lon: float, lat: float) -> LocalProjection:
    """Return the local projection for measurements around a location.

    In China's extent the CGCS2000 3-degree Gauss-Kruger zone without zone number whose central
    meridian is nearest (EPSG:4534 for 75 E up to EPSG:4554 for 135 E); exactly between two
    meridians it is the eastern one. Elsewhere WGS 84 / UTM, by the plain 6-degree rule, without
    the exceptions around Norway, which are for map sheets and not for measurements.

    Parameters
    ----------
    lon, lat : float
        Degrees.

    Returns
    -------
    LocalProjection

    Raises
    ------
    InvalidShape
        The location is not on Earth, or beyond 84 N or 80 S, where UTM ends.

    Examples
    --------
    >>> choose_projection(113.2, 35.2), choose_projection(4.9, 52.4)
    (LocalProjection(epsg=4547), LocalProjection(epsg=32631))
    """
    validate_locations([(lon, lat)])
    if CHINA_LON[0] <= lon <= CHINA_LON[1] and CHINA_LAT[0] <= lat <= CHINA_LAT[1]:
        meridian = min(3 * math.floor(lon / 3 + 0.5), _LAST_MERIDIAN)
        return LocalProjection(_FIRST_ZONE_EPSG + (meridian - _FIRST_MERIDIAN) // 3)
    if not -80 <= lat <= 84:
        raise InvalidShape(Message("UTM has no zone this close to a pole"), (lon, lat))
    zone = min(int((lon + 180) // 6) + 1, 60)
    return LocalProjection((32600 if lat >= 0 else 32700) + zone)
