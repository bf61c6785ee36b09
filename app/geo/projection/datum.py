"""Chinese map datums: conversion of GCJ-02 and BD-09 to and from WGS 84, and detection of a wrong datum.

The inverse conversion is exact to a micrometre. Outside China the datums have no offset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.geometry.base import BaseGeometry

from app.errors import InvalidShape
from app.geo.arrays import Bools, Floats, validate_locations
from app.geo.projection.local_projection import LocalProjection, choose_projection
from app.messages import Message

_G = TypeVar("_G", bound=BaseGeometry)

DATUMS: Final = ("wgs84", "cgcs2000", "gcj02", "bd09")
"""``cgcs2000`` is treated as WGS 84: PROJ has only a null operation between the two."""

# Constants of the published GCJ-02 formula (eviltransform, github.com/googollee/eviltransform);
# the semi-major axis and squared eccentricity are those of the Krasovsky 1940 ellipsoid.
_A: Final = 6378245.0
_EE: Final = 0.00669342162296594323
# Rectangle of WGS 84 positions that have an offset, from the same source: west, east, south, north.
OFFSET_BOX: Final = (72.004, 137.8347, 0.8293, 55.8271)
# BD-09 is GCJ-02, slightly rotated and scaled (same source).
_X_PI: Final = np.pi * 3000.0 / 180.0
# No offset within the rectangle exceeds this, so only positions this near to it are solved.
_REACH_DEG: Final = 0.05
_MAX_STEPS: Final = 40
_CONVERGED_DEG: Final = 1e-13
_EDGE_DEG: Final = 1e-11


def from_wgs84(lonlat: ArrayLike, datum: str) -> Floats:
    """Return WGS 84 positions converted to another datum.

    Parameters
    ----------
    lonlat : array_like, shape (n, 2)
        WGS 84 degrees, longitude first.
    datum : str
        One of `DATUMS`.

    Returns
    -------
    ndarray, shape (n, 2)
        A new array. Positions outside `OFFSET_BOX` are unchanged, also for BD-09.

    Raises
    ------
    InvalidShape
        Unknown datum, or a position that is not a location on Earth.

    Examples
    --------
    >>> from_wgs84([(116.404, 39.915)], "gcj02").round(8)
    array([[116.4102445 ,  39.91640428]])
    """
    array = validate_locations(lonlat)
    out = array.copy()
    if is_offset_datum(datum):
        inside = is_in_offset_box(array)
        out[inside] = apply_offset(array[inside], datum)
    return out


def to_wgs84(lonlat: ArrayLike, datum: str) -> Floats:
    """Return positions of another datum converted to WGS 84.

    Parameters
    ----------
    lonlat : array_like, shape (n, 2)
        Degrees in `datum`, longitude first.
    datum : str
        One of `DATUMS`.

    Returns
    -------
    ndarray, shape (n, 2)
        A new array. Each result is the WGS 84 position within `OFFSET_BOX` that `from_wgs84`
        converts to the input, or the input itself if there is none. So
        ``from_wgs84(to_wgs84(p)) == p`` for every ``p`` that can occur, and
        ``to_wgs84(from_wgs84(p)) == p`` for every position inside the rectangle. Within about a
        kilometre outside its edge, at sea or abroad, two positions convert to the same input;
        the one inside is returned.

    Raises
    ------
    InvalidShape
        Unknown datum, or a position that is not a location on Earth.

    Notes
    -----
    Fixed-point iteration: each step subtracts the offset at the last estimate. Over a distance d
    the offset changes by less than 0.02 d, so a step gains two decimals or more. Steps stop when
    the error is below 1e-13 degrees.

    Examples
    --------
    >>> to_wgs84(from_wgs84([(113.24, 35.21)], "bd09"), "bd09").round(9)
    array([[113.24,  35.21]])
    """
    array = validate_locations(lonlat)
    out = array.copy()
    if not is_offset_datum(datum):
        return out
    solvable = is_in_offset_box(array, _REACH_DEG)
    target = array[solvable]
    guess = target.copy()
    for _ in range(_MAX_STEPS):
        error = apply_offset(guess, datum) - target
        guess -= error
        if not error.size or np.abs(error).max() < _CONVERGED_DEG:
            break
    # Rounding may move a position on the edge just outside it.
    origin = is_in_offset_box(guess, _EDGE_DEG)
    west, east, south, north = OFFSET_BOX
    target = target.copy()
    target[origin] = np.clip(guess[origin], (west, south), (east, north))
    out[solvable] = target
    return out


def geometry_to_wgs84(geometry: _G, datum: str) -> _G:
    """Return a geometry with every vertex converted to WGS 84.

    Parameters
    ----------
    geometry : shapely geometry
        Degrees in `datum`, longitude first.
    datum : str
        One of `DATUMS`.

    Returns
    -------
    shapely geometry
        Of the same type. Edges stay straight between the converted vertices.

    Raises
    ------
    InvalidShape
        As for `to_wgs84`.

    Examples
    --------
    >>> geometry_to_wgs84(shapely.Point(113.2, 35.2), "cgcs2000")
    <POINT (113.2 35.2)>
    """
    is_offset_datum(datum)
    return shapely.transform(geometry, lambda xy: to_wgs84(xy, datum))


def is_offset_datum(datum: str) -> bool:
    """Return whether a datum has an offset from WGS 84; raise InvalidShape for an unknown datum."""
    if datum not in DATUMS:
        raise InvalidShape(Message("Unknown datum {datum!r}; datums: {known}", datum=datum, known=", ".join(DATUMS)))
    return datum in ("gcj02", "bd09")


def is_in_offset_box(lonlat: Floats, margin: float = 0.0) -> Bools:
    """Return which positions are in `OFFSET_BOX`, enlarged by a margin in degrees."""
    west, east, south, north = OFFSET_BOX
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    return (lon >= west - margin) & (lon <= east + margin) & (lat >= south - margin) & (lat <= north + margin)


def apply_offset(lonlat: Floats, datum: str) -> Floats:
    """Return WGS 84 positions in GCJ-02 or BD-09."""
    gcj = lonlat + compute_gcj_offset(lonlat)
    return gcj if datum == "gcj02" else gcj_to_bd(gcj)


def compute_gcj_offset(lonlat: Floats) -> Floats:
    """Return the GCJ-02 offset in degrees at WGS 84 positions (formula of eviltransform)."""
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    x, y = lon - 105.0, lat - 35.0
    root = 0.1 * np.sqrt(np.abs(x))
    shared = (20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 2.0 * root + shared
    north += (20.0 * np.sin(y * np.pi) + 40.0 * np.sin(y / 3.0 * np.pi)) * 2.0 / 3.0
    north += (160.0 * np.sin(y / 12.0 * np.pi) + 320.0 * np.sin(y * np.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + root + shared
    east += (20.0 * np.sin(x * np.pi) + 40.0 * np.sin(x / 3.0 * np.pi)) * 2.0 / 3.0
    east += (150.0 * np.sin(x / 12.0 * np.pi) + 300.0 * np.sin(x / 30.0 * np.pi)) * 2.0 / 3.0
    latitude = np.radians(lat)
    magic = 1.0 - _EE * np.sin(latitude) ** 2
    meridian = _A * (1.0 - _EE) / (magic * np.sqrt(magic))
    parallel = _A / np.sqrt(magic) * np.cos(latitude)
    return np.degrees(np.stack([east / parallel, north / meridian], axis=1))


def gcj_to_bd(gcj: Floats) -> Floats:
    """Return GCJ-02 positions in BD-09."""
    x, y = gcj[:, 0], gcj[:, 1]
    radius = np.hypot(x, y) + 0.00002 * np.sin(y * _X_PI)
    angle = np.arctan2(y, x) + 0.000003 * np.cos(x * _X_PI)
    return np.stack([radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006], axis=1)


# Detection of points in another datum than declared. The points are compared with the roads next to which
# they should be, or with the area in which they should be. Only clear evidence is reported, with its numbers;
# no evidence does not prove that the datum is correct.

DETECTED_DATUMS: Final = ("gcj02", "bd09")
"""Datums that points may be in without a declaration."""

NEAR_ROAD_M: Final = 30.0
"""A device or junction within this distance of a centreline is next to that road."""
_MAX_ROAD_DISTANCE_M: Final = 1_000.0  # a point farther from every road is not compared
_MIN_POINTS: Final = 20
_MAX_POINTS: Final = 2_000
_GAIN: Final = 0.2
_SHRINK: Final = 0.6
_SIGMAS: Final = 4.0
_MIN_POINTS_ENTERING: Final = 10
_NEAR_DEG: Final = 1.5
_MARGIN_DEG: Final = 0.02


@dataclass(frozen=True)
class DatumMismatch:
    """Evidence that points are in another datum than declared."""

    datum: str
    """The detected datum: one of `DATUMS`."""
    shifted: Literal["points", "roads"]
    """What is in this datum: ``roads`` if the points match better after the opposite conversion."""
    basis: Literal["roads", "territory"]
    """What the points were compared with."""
    points: int
    """Number of points compared."""
    fit_before: float
    """Share of the points next to a road (within the area) before the conversion."""
    fit_after: float
    """The same share after the conversion from `datum`."""
    median_after_m: float | None = None
    """Median distance to the nearest road in metres, after the conversion; None without roads."""


def detect_datum_mismatch(
    points_lonlat: ArrayLike,
    roads: Sequence[BaseGeometry] | None = None,
    territory: BaseGeometry | None = None,
) -> DatumMismatch | None:
    """Return the evidence that points match a reference clearly better in another datum; None without.

    Parameters
    ----------
    points_lonlat : array_like, shape (n, 2)
        Degrees as received, longitude first; a few thousand are enough.
    roads : sequence of LineString or MultiLineString, optional
        Centrelines in lon/lat.
    territory : Polygon or MultiPolygon, optional
        Area in which all points should be; used if the roads give no evidence.

    Returns
    -------
    DatumMismatch or None
        None for fewer than 20 points, points outside `OFFSET_BOX`, no reference, or no clear
        difference.

    Raises
    ------
    InvalidShape
        A position is not a location on Earth.

    Notes
    -----
    Roads: the share of points within `NEAR_ROAD_M` of a road must rise by 0.2 to at least 0.5, the
    median distance must shrink to 0.6 of itself, and the points that come nearer must outnumber
    those that move away by four standard deviations of a fair coin (sign test). The offset is about
    half a kilometre, so in a dense network points in a wrong datum are near a road only by chance.

    Territory: at least ten points and 5 % of all must enter it, and at most a tenth as many leave it.

    Examples
    --------
    >>> road = shapely.LineString([(113.2, 35.0), (113.2, 35.3)])
    >>> along = [(113.2, 35.0 + step / 200) for step in range(60)]
    >>> detect_datum_mismatch(along, [road]) is None
    True
    >>> mismatch = detect_datum_mismatch(from_wgs84(along, "gcj02"), [road])
    >>> mismatch.datum, mismatch.shifted, mismatch.fit_before, mismatch.fit_after
    ('gcj02', 'points', 0.0, 1.0)
    """
    points = sample_points(validate_locations(points_lonlat))
    if len(points) < _MIN_POINTS:
        return None
    mismatch = compare_with_roads(points, roads) if roads else None
    if mismatch is None and territory is not None:
        mismatch = compare_with_territory(points, territory)
    return mismatch


def sample_points(points: Floats) -> Floats:
    """Return at most `_MAX_POINTS` points in China near the median of all, at even intervals."""
    west, east, south, north = OFFSET_BOX
    lon, lat = points[:, 0], points[:, 1]
    inside = points[(lon > west) & (lon < east) & (lat > south) & (lat < north)]
    if not len(inside):
        return inside
    central = np.abs(inside - np.median(inside, axis=0)).max(axis=1) < _NEAR_DEG
    inside = inside[central]
    picked: Floats = inside[:: max(1, len(inside) // _MAX_POINTS)]
    return picked


def compare_with_roads(points: Floats, roads: Sequence[BaseGeometry]) -> DatumMismatch | None:
    """Return the evidence from distances to roads; None without."""
    lines = np.asarray(roads, dtype=object)
    west, south = points.min(axis=0) - _MARGIN_DEG
    east, north = points.max(axis=0) + _MARGIN_DEG
    lines = lines[shapely.intersects(lines, shapely.box(west, south, east, north))]
    if not len(lines):
        return None
    projection = choose_projection(*np.median(points, axis=0))
    tree = shapely.STRtree([projection.project(line) for line in lines])
    distance_before = measure_road_distance(points, tree, projection)
    candidates = [
        evaluate_shift(distance_before, measure_road_distance(moved, tree, projection), datum, shifted)
        for datum in DETECTED_DATUMS
        for shifted, moved in (("points", to_wgs84(points, datum)), ("roads", from_wgs84(points, datum)))
    ]
    mismatches = [mismatch for mismatch in candidates if mismatch is not None]
    return min(mismatches, key=lambda mismatch: mismatch.median_after_m or 0.0, default=None)


def measure_road_distance(points: Floats, tree: shapely.STRtree, projection: LocalProjection) -> Floats:
    """Return the distance in metres from each point to the nearest road."""
    metric_points = shapely.points(projection.to_metres(points))
    _, distance = tree.query_nearest(metric_points, return_distance=True, all_matches=False)
    return np.asarray(distance, dtype=np.float64)


def evaluate_shift(distance_before: Floats, distance_after: Floats, datum: str, shifted: str) -> DatumMismatch | None:
    """Return the evidence if the distances to roads shrink clearly after a conversion; None otherwise."""
    comparable: Bools = np.minimum(distance_before, distance_after) < _MAX_ROAD_DISTANCE_M
    distance_before, distance_after = distance_before[comparable], distance_after[comparable]
    count = len(distance_before)
    if count < _MIN_POINTS:
        return None
    fit_before, fit_after = (float((away <= NEAR_ROAD_M).mean()) for away in (distance_before, distance_after))
    median_before, median_after = float(np.median(distance_before)), float(np.median(distance_after))
    nearer = int((distance_after < distance_before).sum()) - int((distance_after > distance_before).sum())
    significant = (
        fit_after >= 0.5
        and fit_after - fit_before >= _GAIN
        and median_after <= median_before * _SHRINK
        and nearer >= _SIGMAS * np.sqrt(count)
    )
    if not significant:
        return None
    shifted_set: Literal["points", "roads"] = "points" if shifted == "points" else "roads"
    return DatumMismatch(datum, shifted_set, "roads", count, fit_before, fit_after, median_after)


def compare_with_territory(points: Floats, territory: BaseGeometry) -> DatumMismatch | None:
    """Return the evidence from points that enter an area after a conversion; None without."""
    shapely.prepare(territory)
    inside_before = shapely.intersects_xy(territory, points)
    mismatch = None
    for datum in DETECTED_DATUMS:
        inside_after = shapely.intersects_xy(territory, to_wgs84(points, datum))
        entered, left_out = int((inside_after & ~inside_before).sum()), int((inside_before & ~inside_after).sum())
        enough = entered >= max(_MIN_POINTS_ENTERING, 0.05 * len(points)) and left_out * 10 <= entered
        if enough and (mismatch is None or inside_after.mean() > mismatch.fit_after):
            mismatch = DatumMismatch(
                datum, "points", "territory", len(points), float(inside_before.mean()), float(inside_after.mean())
            )
    return mismatch
