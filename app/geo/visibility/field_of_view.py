"""Field of view of a camera on the ground: angles, ranges, pixel densities and sectors.

Azimuths are clockwise from true north, bearings clockwise from grid north; the meridian convergence is the
difference. Openings are in (0, 360] degrees. Polygons are conservative: they are within the exact sector.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import Polygon

from app.geo.arrays import Bools, Floats, Ints

_THIN_M: Final = 0.001
"""Sectors and blind zones thinner than this are empty; GEOS cannot separate their sides."""
_ROUND_DEG: Final = 1e-6
"""An opening within this of 360 degrees is 360 degrees."""
PANORAMIC_FROM_DEG: Final = 120.0
"""Opening from which a lens is treated as panoramic: from there on the tangent overstates the width."""

SCALES: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        # IEC 62676-4:2014 (EN 62676-4:2015); "inspect" is not verified against the text of the standard.
        "iec2014": MappingProxyType(
            {
                "monitor": 12.5,
                "detect": 25.0,
                "observe": 62.5,
                "recognise": 125.0,
                "identify": 250.0,
                "inspect": 1000.0,
            }
        ),
        # IEC 62676-4:2025, as published by manufacturers (jvsg.com/?p=11243), not verified against the text.
        "iec2025": MappingProxyType(
            {
                "overview": 20.0,
                "outline": 40.0,
                "discern": 80.0,
                "perceive": 125.0,
                "characterise": 250.0,
                "validate": 500.0,
                "scrutinise": 1500.0,
            }
        ),
    }
)
"""Least pixel density in px/m by level, coarsest first, by scale."""


def find_level(px_per_m: float, scale: str) -> str | None:
    """Return the finest level of a scale that a pixel density reaches; None below the first level.

    Parameters
    ----------
    px_per_m : float
        Pixels per metre across the view.
    scale : str
        A key of `SCALES`.

    Raises
    ------
    ValueError
        Unknown scale.

    Examples
    --------
    >>> find_level(130, "iec2014"), find_level(130, "iec2025"), find_level(10, "iec2025")
    ('recognise', 'perceive', None)
    """
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}; scales: {', '.join(SCALES)}")
    reached = [level for level, minimum in SCALES[scale].items() if px_per_m >= minimum]
    return reached[-1] if reached else None


def width_per_m(opening_deg: ArrayLike) -> Floats:
    """Return the width of the view at a distance of one metre, in metres.

    Parameters
    ----------
    opening_deg : array_like
        Horizontal opening in (0, 360] degrees; NaN gives NaN.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        An opening outside (0, 360].

    Notes
    -----
    Below `PANORAMIC_FROM_DEG` it is the width of the plane at right angles to the axis,
    ``2 tan(opening / 2)``, as for a rectilinear lens; from there on the length of the arc, ``opening``
    in radians. The arc is shorter, so the density at one distance rises by a factor of 1.65 at the change.

    Examples
    --------
    >>> width_per_m([90, 360]).round(4)
    array([2.    , 6.2832])
    """
    opening = np.asarray(opening_deg, dtype=np.float64)
    raise_if_any((opening <= 0) | (opening > 360), "opening_deg must be in (0, 360]")
    flat = opening < PANORAMIC_FROM_DEG
    narrow = 2.0 * np.tan(np.radians(np.where(flat, opening, 0.0)) / 2.0)
    return np.where(flat, narrow, np.radians(opening))


def range_for_density(h_pixels: ArrayLike, opening_deg: ArrayLike, px_per_m: ArrayLike) -> Floats:
    """Return the greatest distance at which a pixel density is reached, in metres.

    Parameters
    ----------
    h_pixels : array_like
        Pixels across the image.
    opening_deg : array_like
        Horizontal opening in (0, 360] degrees.
    px_per_m : array_like
        Required density, see `SCALES`.

    Returns
    -------
    ndarray, of the broadcast shape
        NaN where an input is NaN.

    Raises
    ------
    ValueError
        An opening outside (0, 360].

    Notes
    -----
    Density is image width divided by view width (IEC 62676-4:2014 annex on pixel density); see
    `width_per_m` for the view width. The distance is on the axis; off the axis a rectilinear lens
    reaches farther, so a sector of this radius is an underestimate.

    Examples
    --------
    >>> range_for_density(1920, [60, 10], 250).round(1)
    array([ 6.7, 43.9])
    """
    needed = np.asarray(px_per_m, dtype=np.float64)
    pixels = np.asarray(h_pixels, dtype=np.float64)
    return np.asarray(pixels / (needed * width_per_m(opening_deg)))


def density_at(h_pixels: ArrayLike, opening_deg: ArrayLike, distance_m: ArrayLike) -> Floats:
    """Return the pixel density at a distance, in px/m; the inverse of `range_for_density`.

    Parameters
    ----------
    h_pixels, opening_deg : array_like
        As for `range_for_density`.
    distance_m : array_like
        Metres; infinite density at 0.

    Returns
    -------
    ndarray, of the broadcast shape

    Raises
    ------
    ValueError
        An opening outside (0, 360].

    Examples
    --------
    >>> density_at(1920, 90, [3.84, 48]).round(2)
    array([250.,  20.])
    """
    distance = np.asarray(distance_m, dtype=np.float64)
    pixels = np.asarray(h_pixels, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(pixels / (distance * width_per_m(opening_deg)))


def opening_from_lens(sensor_width_mm: ArrayLike, focal_mm: ArrayLike) -> Floats:
    """Return the horizontal opening of a rectilinear lens, in degrees.

    Parameters
    ----------
    sensor_width_mm, focal_mm : array_like
        Millimetres, above 0; NaN gives NaN.

    Returns
    -------
    ndarray, of the broadcast shape

    Raises
    ------
    ValueError
        A length of 0 or less.

    Notes
    -----
    ``2 atan(width / (2 focal))``, the pinhole model. Sensor widths are nominal; manufacturers differ.

    Examples
    --------
    >>> opening_from_lens(4.8, [2.8, 12]).round(1)
    array([81.2, 22.6])
    """
    width = np.asarray(sensor_width_mm, dtype=np.float64)
    focal = np.asarray(focal_mm, dtype=np.float64)
    raise_if_any((width <= 0) | (focal <= 0), "sensor_width_mm and focal_mm must be above 0")
    return np.asarray(np.degrees(2.0 * np.arctan(width / (2.0 * focal))))


def near_blind_m(
    mount_height_m: ArrayLike,
    tilt_deg_below_horizontal: ArrayLike,
    vertical_opening_deg: ArrayLike,
    target_height_m: ArrayLike = 1.5,
) -> Floats:
    """Return the radius of the blind zone, within which a camera looks over its target, in metres.

    Parameters
    ----------
    mount_height_m : array_like
        Height of the lens above the ground.
    tilt_deg_below_horizontal : array_like
        Tilt of the axis, positive downwards.
    vertical_opening_deg : array_like
        Vertical opening of the lens.
    target_height_m : array_like, optional
        Height of the target; 1.5 m is a face or a plate.

    Returns
    -------
    ndarray, of the broadcast shape
        0 if the lower edge of the view points straight down or the lens is not above the target;
        infinite if the lower edge never reaches the target height; NaN for NaN.

    Notes
    -----
    ``(height - target) / tan(tilt + vertical / 2)``: where the lower edge of the view meets the
    target's height.

    Examples
    --------
    >>> near_blind_m(6.0, [20.0, 70.0], 40.0).round(2)
    array([5.36, 0.  ])
    """
    above = np.asarray(mount_height_m, dtype=np.float64) - np.asarray(target_height_m)
    lower = np.asarray(tilt_deg_below_horizontal) + np.asarray(vertical_opening_deg) / 2.0
    above, lower = np.broadcast_arrays(above, np.asarray(lower, dtype=np.float64))
    meets = (lower > 0) & (lower < 90)
    distance = above / np.tan(np.radians(np.where(meets, lower, 45.0)))
    distance = np.where(lower <= 0, np.inf, np.where(lower >= 90, 0.0, distance))
    distance = np.where(above <= 0, 0.0, distance)
    return np.where(np.isnan(above) | np.isnan(lower), np.nan, distance)


def sector(
    xy: tuple[float, float],
    bearing_deg: float,
    opening_deg: float,
    range_m: float,
    near_m: float = 0.0,
    step_deg: float = 5.0,
) -> Polygon:
    """Return the sector that one device sees on the ground, in metres.

    Parameters
    ----------
    xy : tuple of float
        Easting and northing of the device.
    bearing_deg : float
        Middle of the view, clockwise from grid north.
    opening_deg : float
        In (0, 360]. 360 is a disc, or an annulus if `near_m` is above 0.
    range_m, near_m : float
        Outer and inner radius, to the millimetre. If the inner radius is not below the outer one, or
        the sector is less than a millimetre wide, the polygon is empty.
    step_deg : float, optional
        Greatest angle between vertices on an arc, in (0, 30].

    Returns
    -------
    Polygon
        Within the exact sector: the outer arc is replaced by chords, the inner one by tangents. See
        `sector_area` for the exact area and `build_sectors` for many devices.

    Raises
    ------
    ValueError
        An opening outside (0, 360], a negative or non-finite length, a step outside (0, 30].

    Notes
    -----
    With steps of s radians the area is too small by at most ``opening/2 * s**2 * (range**2 / 6 +
    near**2 / 11)``, opening in radians: 0.13 % of a full sector at 5 degrees.

    Examples
    --------
    >>> shapely.set_precision(sector((0, 0), 90, 60, 100, step_deg=30), 0.1).wkt
    'POLYGON ((86.6 50, 100 0, 86.6 -50, 0 0, 86.6 50))'
    """
    shape: Polygon = build_sectors([xy], [bearing_deg], [opening_deg], [range_m], [near_m], step_deg)[0]
    return shape


def sector_area(opening_deg: float, range_m: float, near_m: float = 0.0) -> float:
    """Return the area of the exact sector, in square metres.

    Examples
    --------
    >>> round(sector_area(90, 100), 3)
    7853.982
    """
    return float(np.radians(opening_deg) / 2.0 * max(range_m**2 - near_m**2, 0.0))


def build_sectors(
    xy: ArrayLike,
    bearing_deg: ArrayLike,
    opening_deg: ArrayLike,
    range_m: ArrayLike,
    near_m: ArrayLike = 0.0,
    step_deg: float = 5.0,
) -> NDArray[np.object_]:
    """Return the sectors that many devices see on the ground, in metres.

    Parameters
    ----------
    xy : array_like, shape (n, 2)
        Easting and northing of each device.
    bearing_deg, opening_deg, range_m, near_m : array_like, shape (n,) or scalar
        As for `sector`.
    step_deg : float, optional
        As for `sector`.

    Returns
    -------
    ndarray of Polygon, shape (n,)
        The same polygons as `sector` returns for each device.

    Raises
    ------
    ValueError
        As for `sector`; the message names the rule.

    Examples
    --------
    >>> [round(s.area, 2) for s in build_sectors([(0, 0), (9, 9)], 0, [90, 360], 10, [0, 5], 30)]
    [75.0, 219.62]
    """
    centre = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    n = len(centre)
    bearing, opening, outer, near_limit = (
        np.broadcast_to(np.asarray(column, dtype=np.float64), n)
        for column in (bearing_deg, opening_deg, range_m, near_m)
    )
    raise_if_any(~((opening > 0) & (opening <= 360)), "opening_deg must be in (0, 360]")
    raise_if_any(~(np.isfinite(outer) & (outer >= 0)), "range_m must be 0 or more")
    raise_if_any(~(np.isfinite(near_limit) & (near_limit >= 0)), "near_m must be 0 or more")
    raise_if_any(~np.isfinite(bearing) | ~np.isfinite(centre).all(axis=1), "positions must be finite")
    raise_if_any(np.asarray(not 0 < step_deg <= 30), "step_deg must be in (0, 30]")

    near_limit = np.where(near_limit < _THIN_M, 0.0, near_limit)
    opening = np.where(opening > 360 - _ROUND_DEG, 360.0, opening)
    steps = np.maximum(np.ceil(opening / step_deg - 1e-9), 1).astype(np.int64)
    inner = near_limit / np.cos(np.radians(opening / steps) / 2.0)
    shapes = np.full(n, Polygon(), dtype=object)
    selected = (inner < outer - _THIN_M) & (np.radians(opening) * outer > _THIN_M)
    full = opening == 360
    fan, open_ring, disc, annulus = (
        np.flatnonzero(rows)
        for rows in (
            selected & ~full & (near_limit == 0),
            selected & ~full & (near_limit > 0),
            selected & full & (near_limit == 0),
            selected & full & (near_limit > 0),
        )
    )
    arcs = _Arcs(centre, bearing, opening, steps)
    if len(fan):
        shapes[fan] = build_polygons([arcs.apex_vertices(fan), arcs.arc_vertices(fan, outer)])
    if len(open_ring):
        back = arcs.arc_vertices(open_ring, inner, backwards=True)
        shapes[open_ring] = build_polygons([arcs.arc_vertices(open_ring, outer), back])
    if len(disc):
        shapes[disc] = build_polygons([arcs.arc_vertices(disc, outer)])
    if len(annulus):
        holes = build_vertex_rings([arcs.arc_vertices(annulus, inner, backwards=True)])
        shells = build_vertex_rings([arcs.arc_vertices(annulus, outer)])
        shapes[annulus] = shapely.polygons(shells, holes[:, np.newaxis])
    return shapes


_Ragged = tuple[Floats, Ints]
"""Coordinates of all rows, concatenated, and the number of each row."""


class _Arcs:
    """Vertices on the arcs of many devices."""

    def __init__(self, centre: Floats, bearing: Floats, opening: Floats, steps: Ints) -> None:
        self._centre, self._steps = centre, steps
        self._first, self._step = bearing - opening / 2.0, opening / steps

    def apex_vertices(self, rows: Ints) -> _Ragged:
        """Return the position of the device, one vertex for each row."""
        return self._centre[rows], np.ones(len(rows), dtype=np.int64)

    def arc_vertices(self, rows: Ints, radius: Floats, *, backwards: bool = False) -> _Ragged:
        """Return the vertices on arcs, clockwise, or counterclockwise if `backwards`."""
        counts = self._steps[rows] + 1
        row = np.repeat(rows, counts)
        vertex = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        if backwards:
            vertex = self._steps[row] - vertex
        angle = np.radians(self._first[row] + self._step[row] * vertex)
        # The last vertex of a closed arc repeats the first one exactly and closes the ring.
        closing = (vertex == self._steps[row]) & (self._step[row] * self._steps[row] == 360)
        angle = np.where(closing, np.radians(self._first[row]), angle)
        spokes = np.stack([np.sin(angle), np.cos(angle)], axis=1) * radius[row, np.newaxis]
        return self._centre[row] + spokes, counts


def build_vertex_rings(sections: list[_Ragged]) -> NDArray[np.object_]:
    """Return one ring for each row, from its sections in their order."""
    totals = np.sum([counts for _, counts in sections], axis=0)
    xy = np.empty((int(totals.sum()), 2))
    starts = np.cumsum(totals) - totals
    for section, counts in sections:
        shift = starts - (np.cumsum(counts) - counts)
        xy[np.arange(len(section)) + np.repeat(shift, counts)] = section
        starts = starts + counts
    rows = np.repeat(np.arange(len(totals)), totals)
    return np.asarray(shapely.linearrings(xy, indices=rows))


def build_polygons(sections: list[_Ragged]) -> NDArray[np.object_]:
    """Return one polygon for each row, from its sections in their order."""
    return np.asarray(shapely.polygons(build_vertex_rings(sections)))


def raise_if_any(broken: Bools, rule: str) -> None:
    """Raise ValueError with the rule if any row breaks it."""
    if np.any(broken):
        raise ValueError(rule)
