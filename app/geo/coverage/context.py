"""The context of the engine: sites, optics, needs and parameters in one local projection.

Nothing here depends on lifecycle and state of devices, so nothing is measured again if only these change.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Bools, Floats, Ints
from app.geo.coverage.tables import DeviceTable, NeedTable, Parameters, PointTable, Roadside
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.line_of_sight import LinesOfSight
from app.geo.visibility.reach import DeviceOptics, Sites, distance_all_round, distance_in_sector


@dataclass(frozen=True, eq=False)
class CoverageContext:
    """Everything that an assessment is computed from."""

    points: PointTable
    devices: DeviceTable
    parameters: Parameters
    projection: LocalProjection
    sites: Sites
    optics: DeviceOptics
    needs: NeedTable
    roadside: Roadside | None = None
    visibility: LinesOfSight | None = None

    @classmethod
    def from_tables(
        cls,
        points: PointTable,
        devices: DeviceTable,
        parameters: Parameters,
        projection: LocalProjection,
        roadside: Roadside | None = None,
        visibility: LinesOfSight | None = None,
    ) -> "CoverageContext":
        """Return the context of points and devices."""
        xy = projection.to_metres(points.lonlat)
        optics = DeviceOptics.from_devices(devices, parameters, projection)
        return cls(
            points,
            devices,
            parameters,
            projection,
            Sites.from_points(xy, _project_shapes(points, projection)),
            optics if visibility is None else visibility.limit_optics(optics),
            NeedTable.from_points(points, parameters),
            roadside,
            visibility,
        )

    def compute_views(self, site: Ints, device: Ints) -> tuple[Floats, Floats, Floats]:
        """Return the distance, and the distance of the nearest visible point, of pairs of site and device.

        Returns
        -------
        distance, visible, visible_all_round : ndarray, shape (k,)
            The last is the distance of the nearest visible point if the device looked all round. Infinite if no point
            of the site is visible.
        """
        optics, sites = self.optics, self.sites
        xy, near_m = optics.xy[device], optics.near_m[device]
        distance = sites.distance(site, xy)
        visible_all_round = distance_all_round(sites, site, xy, distance, near_m)
        visible = visible_all_round.copy()
        one_way = np.flatnonzero(~np.isnan(optics.azimuth_deg[device]))
        bearing = np.full(len(device), np.nan)
        if len(one_way):
            rows = device[one_way]
            bearing[one_way] = self._compute_grid_bearings(rows)
            visible[one_way] = distance_in_sector(
                sites,
                site[one_way],
                xy[one_way],
                visible_all_round[one_way],
                near_m[one_way],
                bearing[one_way],
                optics.opening_deg[rows],
            )
        if self.visibility is not None:
            max_range = self._compute_max_range_m()[device]
            in_range = visible <= max_range
            visible = self.visibility.visible_distance(sites, optics, (site, device), visible, bearing, in_range)
            # Looking all round matters only for a device that is assigned to the point.
            assigned = (self.devices.assigned[device] == site) & (visible_all_round <= max_range)
            no_bearing = np.full(len(device), np.nan)
            visible_all_round = self.visibility.visible_distance(
                sites, optics, (site, device), visible_all_round, no_bearing, assigned
            )
        return distance, visible, visible_all_round

    def _compute_max_range_m(self) -> Floats:
        """Return the greatest range that each device can have for any need, shape (m,)."""
        optics, parameters = self.optics, self.parameters
        derived = optics.pixels_at_1m / np.nanmin(self.needs.density, initial=np.inf)
        assumed = max(parameters.assumed_range_m, parameters.assigned_range_m)
        range_m = np.where(np.isnan(optics.range_m), derived, optics.range_m)
        return np.where(np.isnan(range_m), assumed, range_m)

    def _compute_grid_bearings(self, device: Ints) -> Floats:
        """Return the grid bearing of the azimuth of device rows."""
        bearing = np.full(len(self.devices), np.nan)
        needed = np.zeros(len(bearing), np.bool_)
        needed[device] = True
        rows = np.flatnonzero(needed)
        convergence = self.projection.convergence_deg(self.devices.lonlat[rows])
        bearing[rows] = self.optics.azimuth_deg[rows] - convergence
        return bearing[device]


_SERVICE_COLUMNS = ("functions", "directions", "azimuth_deg", "opening_deg", "range_m", "near_m", "h_pixels")
"""Columns of devices that decide, with the location, which needs a device can serve."""


def match_unchanged_devices(current: CoverageContext, earlier: CoverageContext) -> Ints | None:
    """Return for each device its row in an earlier context, -1 if the device is new or has changed.

    Lifecycle and state do not matter. None if anything except devices is different.
    """
    if current.points is not earlier.points or current.parameters != earlier.parameters:
        return None
    if current.projection != earlier.projection or not _has_same_surroundings(current, earlier):
        return None
    matches = _match_rows(current.devices, earlier.devices)
    row = np.flatnonzero(matches >= 0)
    old = matches[row]
    same = (current.devices.lonlat[row] == earlier.devices.lonlat[old]).all(axis=1)
    same &= current.devices.assigned[row] == earlier.devices.assigned[old]
    for name in _SERVICE_COLUMNS:
        same &= _is_equal(getattr(current.devices, name)[row], getattr(earlier.devices, name)[old])
    if current.roadside is not None and earlier.roadside is not None:
        same &= current.roadside.device_road[row] == earlier.roadside.device_road[old]
    if current.visibility is not None and earlier.visibility is not None:
        same &= _is_equal(current.visibility.mount_height_m[row], earlier.visibility.mount_height_m[old])
        same &= current.visibility.indoor[row] == earlier.visibility.indoor[old]
        # Devices with a drawn view are few: they are always computed again.
        same &= ~(current.visibility.is_drawn[row] | earlier.visibility.is_drawn[old])
    matches[row[~same]] = -1
    return matches


def _has_same_surroundings(current: CoverageContext, earlier: CoverageContext) -> bool:
    """Return whether roads and buildings are the same objects in both contexts."""
    roadside, earlier_roadside = current.roadside, earlier.roadside
    visibility, earlier_visibility = current.visibility, earlier.visibility
    if (roadside is None) is not (earlier_roadside is None) or (visibility is None) is not (earlier_visibility is None):
        return False
    if roadside is not None and earlier_roadside is not None:
        same_roads = roadside.road is earlier_roadside.road and roadside.axis_deg is earlier_roadside.axis_deg
        if not same_roads or roadside.max_off_axis_deg != earlier_roadside.max_off_axis_deg:
            return False
    return visibility is None or (
        earlier_visibility is not None and visibility.obstacles is earlier_visibility.obstacles
    )


def _match_rows(current: DeviceTable, earlier: DeviceTable) -> Ints:
    """Return for each device the row of the same kind and code in an earlier table, -1 without one."""
    if current.kind == earlier.kind and current.code == earlier.code:
        return np.arange(len(current))
    row_by_key = {key: row for row, key in enumerate(zip(earlier.kind, earlier.code, strict=True))}
    keys = zip(current.kind, current.code, strict=True)
    return np.array([row_by_key.get(key, -1) for key in keys], np.int64)


def _is_equal(first: NDArray[Any], second: NDArray[Any]) -> Bools:
    """Return where columns are equal; NaN equals NaN."""
    return np.asarray((first == second) | ((first != first) & (second != second)))


def _project_shapes(points: PointTable, projection: LocalProjection) -> dict[int, shapely.Geometry]:
    """Return the shapes of points that are areas, in metres, by row."""
    polygons = np.array(list(points.shape.values()), dtype=object)
    if not len(polygons):
        return {}
    metric = shapely.transform(polygons, projection.to_metres)
    return dict(zip(points.shape, metric, strict=True))
