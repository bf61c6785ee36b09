"""Whether a set of places reads as if it were in another Chinese datum.

Promises to speak only on clear evidence, and with its numbers: the places are compared with roads
they should stand beside, or with an area they should lie in. Moves nothing; silence proves
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Bools, Floats, positions
from app.geo.datum import OFFSET_BOX, from_wgs84, to_wgs84
from app.geo.frame import Frame, frame_for

DATUMS: Final = ("gcj02", "bd09")
"""Datums a set of places may be in without saying so."""

BESIDE_M: Final = 30.0
"""A device or junction so near to a centreline stands beside that road."""
_KNOWN_M: Final = 1_000.0  # farther from every road, the network says nothing of a place
_FEWEST: Final = 20
_MOST: Final = 2_000
_GAIN: Final = 0.2
_SHRINK: Final = 0.6
_SIGMAS: Final = 4.0
_FEWEST_IN: Final = 10
_NEAR_DEG: Final = 1.5
_MARGIN_DEG: Final = 0.02


@dataclass(frozen=True)
class Suspicion:
    """Evidence that places are in another datum than stated."""

    datum: str
    """What they seem to be in: one of `DATUMS`."""
    of: Literal["points", "roads"]
    """Whose datum it is: ``roads`` when the places fit better moved the other way."""
    basis: Literal["roads", "territory"]
    """What the places were compared with."""
    points: int
    """Places that were judged."""
    fit_before: float
    """Share of them beside a road (within the area), as they are."""
    fit_after: float
    """The same after the conversion from `datum`."""
    median_before_m: float | None = None
    """Median distance to the nearest road in metres, as they are."""
    median_after_m: float | None = None
    """The same after the conversion."""


def suspicion(
    points_lonlat: ArrayLike,
    roads: Sequence[BaseGeometry] | None = None,
    territory: BaseGeometry | None = None,
) -> Suspicion | None:
    """Tell whether places fit a reference clearly better once they are read in another datum.

    Parameters
    ----------
    points_lonlat : array_like, shape (n, 2)
        Degrees as they were received, longitude first; a few thousand are enough.
    roads : sequence of LineString or MultiLineString, optional
        Centrelines in lon/lat.
    territory : Polygon or MultiPolygon, optional
        Where all of the places should lie; asked when the roads say nothing.

    Returns
    -------
    Suspicion or None
        None for fewer than 20 places, places outside `app.geo.datum.OFFSET_BOX`, no reference,
        or no clear difference.

    Raises
    ------
    InvalidShape
        A position is no place on Earth.

    Notes
    -----
    Roads: the share of places within `BESIDE_M` of a road must rise by a fifth of all places to at
    least a half, the median distance must shrink by two fifths, and the places that come nearer must
    outnumber those that go away by four standard deviations of a fair coin (sign test). The offset is
    about half a kilometre, so in a dense network a wrong datum leaves a share that chance explains.

    Territory: at least ten places, a twentieth of all, must come in and hardly any may go out.

    Examples
    --------
    >>> road = shapely.LineString([(113.2, 35.0), (113.2, 35.3)])
    >>> along = [(113.2, 35.0 + step / 200) for step in range(60)]
    >>> suspicion(along, [road]) is None
    True
    >>> found = suspicion(from_wgs84(along, "gcj02"), [road])
    >>> found.datum, found.of, found.fit_before, found.fit_after
    ('gcj02', 'points', 0.0, 1.0)
    """
    points = _sample(positions(points_lonlat))
    if len(points) < _FEWEST:
        return None
    found = _by_roads(points, roads) if roads else None
    if found is None and territory is not None:
        found = _by_territory(points, territory)
    return found


def _sample(points: Floats) -> Floats:
    """Return places in China near to most others, evenly picked from many."""
    west, east, south, north = OFFSET_BOX
    lon, lat = points[:, 0], points[:, 1]
    there = points[(lon > west) & (lon < east) & (lat > south) & (lat < north)]
    if not len(there):
        return there
    near = np.abs(there - np.median(there, axis=0)).max(axis=1) < _NEAR_DEG
    there = there[near]
    picked: Floats = there[:: max(1, len(there) // _MOST)]
    return picked


def _by_roads(points: Floats, roads: Sequence[BaseGeometry]) -> Suspicion | None:
    lines = np.asarray(roads, dtype=object)
    west, south = points.min(axis=0) - _MARGIN_DEG
    east, north = points.max(axis=0) + _MARGIN_DEG
    lines = lines[shapely.intersects(lines, shapely.box(west, south, east, north))]
    if not len(lines):
        return None
    metric = frame_for(*np.median(points, axis=0))
    tree = shapely.STRtree([metric.project(line) for line in lines])
    before = _away(points, tree, metric)
    candidates = [
        _compared(before, _away(moved, tree, metric), datum, of)
        for datum in DATUMS
        for of, moved in (("points", to_wgs84(points, datum)), ("roads", from_wgs84(points, datum)))
    ]
    clear = [found for found in candidates if found is not None]
    return min(clear, key=lambda found: found.median_after_m or 0.0, default=None)


def _away(points: Floats, tree: shapely.STRtree, metric: Frame) -> Floats:
    places = shapely.points(metric.to_metres(points))
    _, away = tree.query_nearest(places, return_distance=True, all_matches=False)
    return np.asarray(away, dtype=np.float64)


def _compared(before: Floats, after: Floats, datum: str, of: str) -> Suspicion | None:
    told: Bools = np.minimum(before, after) < _KNOWN_M
    before, after = before[told], after[told]
    count = len(before)
    if count < _FEWEST:
        return None
    fit_before, fit_after = (float((away <= BESIDE_M).mean()) for away in (before, after))
    median_before, median_after = float(np.median(before)), float(np.median(after))
    nearer = int((after < before).sum()) - int((after > before).sum())
    clear = (
        fit_after >= 0.5
        and fit_after - fit_before >= _GAIN
        and median_after <= median_before * _SHRINK
        and nearer >= _SIGMAS * np.sqrt(count)
    )
    if not clear:
        return None
    whose: Literal["points", "roads"] = "points" if of == "points" else "roads"
    return Suspicion(
        datum, whose, "roads", count, fit_before, fit_after, median_before, median_after
    )


def _by_territory(points: Floats, territory: BaseGeometry) -> Suspicion | None:
    shapely.prepare(territory)
    before = shapely.intersects_xy(territory, points)
    found = None
    for datum in DATUMS:
        after = shapely.intersects_xy(territory, to_wgs84(points, datum))
        came, went = int((after & ~before).sum()), int((before & ~after).sum())
        enough = came >= max(_FEWEST_IN, 0.05 * len(points)) and went * 10 <= came
        if enough and (found is None or after.mean() > found.fit_after):
            found = Suspicion(
                datum, "points", "territory", len(points), float(before.mean()), float(after.mean())
            )
    return found
