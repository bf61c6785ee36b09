"""Reach of devices: which devices are near which sites, at what distance, and whether they look at them.

All coordinates are metres in one projection. A site is a point or an area; the distance to an area is the distance
to its nearest point, 0 inside.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from app.errors import TooLarge
from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.coverage.tables import DeviceTable, NeedTable, Parameters
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.field_of_view import build_sectors, range_for_density
from app.messages import Message

MAX_PAIRS: Final = 10_000_000
"""Limit of pairs of site and device; a city of 10,000 sites has about 200,000."""
_SLACK_DEG: Final = 1e-9
_WEDGE_STEP_DEG: Final = 30.0


@dataclass(frozen=True, eq=False)
class Sites:
    """Control points as points or areas.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        A point of each site in metres.
    area : ndarray of bool, shape (n,)
        Whether each site is an area.
    shape : ndarray of object, shape (n,)
        Their polygons in metres; None for points.
    radius_m : ndarray, shape (n,)
        Distance from the point to the farthest vertex of the area; 0 for points.
    """

    xy: Floats
    area: Bools
    shape: NDArray[np.object_]
    radius_m: Floats

    @classmethod
    def from_points(cls, xy: Floats, shapes: dict[int, shapely.Geometry]) -> "Sites":
        """Return sites from their points and, for those that are areas, their polygons in metres by row."""
        n = len(xy)
        area, shape, radius = np.zeros(n, np.bool_), np.full(n, None, dtype=object), np.zeros(n)
        for row, polygon in shapes.items():
            area[row], shape[row] = True, polygon
        rows = np.flatnonzero(area)
        vertices, of = shapely.get_coordinates(shape[rows], return_index=True)
        away = np.hypot(*(vertices - xy[rows[of]]).T)
        np.maximum.at(radius, rows[of], away)
        return cls(xy, area, shape, radius)

    def distance(self, site: Ints, xy: Floats) -> Floats:
        """Return the distance in metres from each site, shape (k,), to the position in the same row."""
        away = xy - self.xy[site]
        distance = np.hypot(away[:, 0], away[:, 1])
        rows = np.flatnonzero(self.area[site])
        if len(rows):
            distance[rows] = shapely.distance(self.shape[site[rows]], shapely.points(xy[rows]))
        return distance


def find_pairs(sites: Sites, xy: Floats, reach_m: Floats, always: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Return site and device of every pair within reach, sorted by site, then device.

    Parameters
    ----------
    sites : Sites
    xy : ndarray, shape (m, 2)
        Devices in metres.
    reach_m : ndarray, shape (m,)
        Greatest distance of each device from a site.
    always : tuple of ndarray
        Sites and devices of pairs that are included at any distance.

    Returns
    -------
    tuple of ndarray of int64, shape (k,)
        All pairs within reach and a few more, because areas are replaced by the circles around them.

    Raises
    ------
    TooLarge
        More than `MAX_PAIRS` pairs.

    Notes
    -----
    Devices are searched in classes of reach, each twice as wide as the one before it, so that one
    camera with a range of kilometres does not widen the search for all.
    """
    m = max(len(xy), 1)
    keys = [always[0] * m + always[1]]
    count = len(always[0])
    points, areas = np.flatnonzero(~sites.area), np.flatnonzero(sites.area)
    tree = cKDTree(sites.xy[points])
    for rows in group_by_reach(reach_m):
        radius = float(reach_m[rows].max()) * (1 + 1e-9) + 1e-6
        nearby = cKDTree(xy[rows], compact_nodes=False, balanced_tree=False)
        around = radius + sites.radius_m[areas]
        lengths = nearby.query_ball_point(sites.xy[areas], around, return_length=True)
        count += int(tree.count_neighbors(nearby, radius)) + int(np.sum(lengths))
        if count > MAX_PAIRS:
            raise TooLarge(
                Message(
                    "More than {limit:,} pairs of a control point and a device within its range. "
                    "Reduce the control points, the devices or their ranges.",
                    limit=MAX_PAIRS,
                ),
                MAX_PAIRS,
            )
        neighbours = tree.sparse_distance_matrix(nearby, radius, output_type="ndarray")
        site, device = points[neighbours["i"]], rows[neighbours["j"]]
        inside = neighbours["v"] <= reach_m[device] + 1e-6
        keys.append(site[inside] * m + device[inside])
        site = np.repeat(areas, lengths)
        device = rows[flatten_lists(nearby.query_ball_point(sites.xy[areas], around))]
        away = np.hypot(*(xy[device] - sites.xy[site]).T)
        inside = away <= reach_m[device] + sites.radius_m[site] + 1e-6
        keys.append(site[inside] * m + device[inside])
    # numpy.unique uses hashing since 2.3, which is ten times as slow for these keys
    key = np.sort(np.concatenate(keys))
    site, device = np.divmod(key[np.diff(key, prepend=-1) > 0], m)
    return site, device


def group_by_reach(reach_m: Floats) -> list[Ints]:
    """Return rows of devices whose reaches differ by no more than a factor of two."""
    if not len(reach_m):
        return []
    shortest = max(float(reach_m.min()), 1.0)
    classes = np.ceil(np.log2(np.maximum(reach_m / shortest, 1.0)))
    return [np.flatnonzero(classes == reach_class) for reach_class in sorted(set(classes.tolist()))]


def flatten_lists(lists: NDArray[np.object_]) -> Ints:
    """Return the lists of `scipy.spatial.cKDTree.query_ball_point`, concatenated."""
    flattened = [np.asarray(items, dtype=np.int64) for items in lists]
    return np.concatenate(flattened) if flattened else np.empty(0, np.int64)


def distance_all_round(sites: Sites, site: Ints, xy: Floats, distance: Floats, near_m: Floats) -> Floats:
    """Return the distance to the nearest point of a site that a device with an opening of 360 degrees sees.

    Parameters
    ----------
    sites : Sites
    site : ndarray of int, shape (k,)
    xy : ndarray, shape (k, 2)
        The device of each pair.
    distance : ndarray, shape (k,)
        From the device to the site.
    near_m : ndarray, shape (k,)
        Radius of the blind zone.

    Returns
    -------
    ndarray, shape (k,)
        Metres; infinite if the whole site is in the blind zone.
    """
    seen = np.where(distance >= near_m, distance, np.inf)
    rows = np.flatnonzero(sites.area[site] & (distance < near_m))
    if len(rows):
        seen[rows] = nearest_visible_distance(sites.shape[site[rows]], xy[rows], near_m[rows])
    return seen


def distance_in_sector(
    sites: Sites,
    site: Ints,
    xy: Floats,
    all_round: Floats,
    near_m: Floats,
    bearing_deg: Floats,
    opening_deg: Floats,
) -> Floats:
    """Return the same distance for a device with an azimuth, without limit of range.

    Parameters
    ----------
    sites, site, xy, near_m
        As for `distance_all_round`.
    all_round : ndarray, shape (k,)
        Result of `distance_all_round` for the same rows.
    bearing_deg, opening_deg : ndarray, shape (k,)
        Middle, clockwise from grid north, and width of the view. The edges are in view.

    Returns
    -------
    ndarray, shape (k,)
        Metres; infinite if no point of the site is seen.
    """
    towards = sites.xy[site] - xy
    off, half = off_axis_deg(towards, bearing_deg), opening_deg / 2 + _SLACK_DEG
    seen = np.where(off <= half, all_round, np.inf)
    rows = np.flatnonzero(sites.area[site])
    if len(rows):
        # For most areas the circle around them is wholly in view or wholly out of view.
        away, radius = np.hypot(*towards[rows].T), sites.radius_m[site[rows]]
        spread = np.where(away > radius, np.degrees(np.arcsin(radius / np.maximum(away, radius))) + 1e-6, 180.0)
        whole, none = off[rows] + spread <= half[rows], off[rows] - spread > half[rows]
        seen[rows] = np.where(whole, all_round[rows], np.inf)
        rows = rows[~(whole | none)]
        shape, apex = sites.shape[site[rows]], xy[rows]
        # With this radius a sector with chords of 30 degrees contains the whole area.
        away = np.hypot(*towards[rows].T) + sites.radius_m[site[rows]]
        radius = away / np.cos(np.radians(_WEDGE_STEP_DEG / 2)) * 1.01 + 1.0
        wedge = build_sectors(apex, bearing_deg[rows], opening_deg[rows], radius, 0, _WEDGE_STEP_DEG)
        seen[rows] = nearest_visible_distance(shapely.intersection(shape, wedge), apex, near_m[rows])
    return seen


def off_axis_deg(towards: Floats, bearing_deg: Floats) -> Floats:
    """Return the angle between a bearing and the direction of a vector (east, north), in [0, 180]."""
    to = np.degrees(np.arctan2(towards[:, 0], towards[:, 1]))
    return np.abs((to - bearing_deg + 180.0) % 360.0 - 180.0)


def nearest_visible_distance(shape: NDArray[np.object_], apex: Floats, near_m: Floats) -> Floats:
    """Return the distance to the nearest point of each shape that is not nearer than `near_m`.

    A connected polygon has points at every distance between its nearest and its farthest point, so its
    nearest visible point is at the edge of the blind zone or at the nearest point of the polygon.
    """
    seen = np.full(len(shape), np.inf)
    components, of = shapely.get_parts(shape, return_index=True)
    vertices, component = shapely.get_coordinates(components, return_index=True)
    farthest = np.full(len(components), -np.inf)
    np.maximum.at(farthest, component, np.hypot(*(vertices - apex[of[component]]).T))
    nearest = shapely.distance(components, shapely.points(apex[of]))
    visible = np.where(farthest >= near_m[of], np.maximum(nearest, near_m[of]), np.inf)
    np.minimum.at(seen, of, visible)
    return seen


# Optics of devices. This is the only code that fills in missing values from the assumptions of the parameters.
# A checkpoint has no optics, also if its record has optical fields.

ALWAYS_WITHIN_M: Final = 1.0
"""Every device covers a site within this distance, because a bearing over such a distance is not exact."""


@dataclass(frozen=True, eq=False)
class DeviceOptics:
    """Optics of devices, in metres; missing values are filled in from the parameters."""

    xy: Floats
    azimuth_deg: Floats
    """NaN: all directions."""
    opening_deg: Floats
    range_m: Floats
    near_m: Floats
    pixels_at_1m: Floats
    """Pixel density at one metre; NaN if pixels or opening are not known."""

    @classmethod
    def from_devices(cls, devices: DeviceTable, parameters: Parameters, projection: LocalProjection) -> "DeviceOptics":
        """Return the optics of all devices, in metres of the projection."""
        blank = np.where(devices.is_checkpoint, np.nan, 0.0)
        azimuth = devices.azimuth_deg % 360.0 + blank
        opening = devices.opening_deg + blank
        opening = np.where(np.isnan(opening) & ~np.isnan(azimuth), parameters.assumed_opening_deg, opening)
        return cls(
            projection.to_metres(devices.lonlat),
            np.where(opening == 360.0, np.nan, azimuth),
            opening,
            devices.range_m + blank,
            np.nan_to_num(devices.near_m + blank, nan=0.0),
            range_for_density(devices.h_pixels + blank, opening, 1.0),
        )

    def farthest_m(self, units: NeedTable, parameters: Parameters) -> Floats:
        """Return the distance at which each device may still be a candidate, shape (m,)."""
        lowest_density = np.nanmin(units.density, initial=np.inf)
        derived = np.nan_to_num(self.pixels_at_1m / lowest_density, nan=0.0)
        stated = np.where(np.isnan(self.range_m), derived, self.range_m)
        return np.maximum(stated, max(parameters.search_m, parameters.assumed_range_m, 1.0))

    def compute_range(
        self, device: Ints, density: Floats, assigned: Bools, parameters: Parameters
    ) -> tuple[Floats, Bytes]:
        """Return range in metres and its basis (index of `RANGE_BASES`) of device rows."""
        stated = self.range_m[device]
        derived = self.pixels_at_1m[device] / density
        otherwise = np.where(assigned, parameters.assigned_range_m, parameters.assumed_range_m)
        unstated, underived = np.isnan(stated), np.isnan(derived)
        basis = np.where(underived, np.where(assigned, 2, 3), 1) * unstated
        return (
            np.where(unstated, np.where(underived, otherwise, derived), stated),
            basis.astype(np.uint8),
        )
