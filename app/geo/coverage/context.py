"""What the engine looks at: sites, devices, needs and what is assumed, in one frame.

Promises that nothing here is measured again when only lifecycle and state of devices change, and
one answer to how far a device is from a site and how near the nearest place is that it sees.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from app.geo.arrays import Bools, Floats, Ints
from app.geo.coverage.needs import Units
from app.geo.coverage.tables import DeviceTable, Parameters, PointTable, Roadside
from app.geo.projection.local_projection import Frame
from app.geo.visibility.line_of_sight import Sight
from app.geo.visibility.reach import Gear, Sites, seen_all_round, seen_in_sector


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that does not change with lifecycle and state."""

    points: PointTable
    devices: DeviceTable
    parameters: Parameters
    frame: Frame
    sites: Sites
    gear: Gear
    units: Units
    roadside: Roadside | None = None
    sight: Sight | None = None

    @classmethod
    def of(
        cls,
        points: PointTable,
        devices: DeviceTable,
        parameters: Parameters,
        frame: Frame,
        roadside: Roadside | None = None,
        sight: Sight | None = None,
    ) -> "Scene":
        """Return points and devices in the metres of the frame, and the needs as rows."""
        xy = frame.to_metres(points.lonlat)
        gear = Gear.of(devices, parameters, frame)
        return cls(
            points,
            devices,
            parameters,
            frame,
            Sites.of(xy, _shapes(points, frame)),
            gear if sight is None else sight.fitted(gear),
            Units.of(points, parameters),
            roadside,
            sight,
        )

    def looked_at(self, site: Ints, device: Ints) -> tuple[Floats, Floats, Floats]:
        """Return for pairs: distance, distance of what is seen, the same when looking all round."""
        gear, sites = self.gear, self.sites
        xy, near = gear.xy[device], gear.near_m[device]
        distance = sites.distance(site, xy)
        seen_all = seen_all_round(sites, site, xy, distance, near)
        seen = seen_all.copy()
        one_way = np.flatnonzero(~np.isnan(gear.azimuth_deg[device]))
        bearing = np.full(len(device), np.nan)
        if len(one_way):
            rows = device[one_way]
            bearing[one_way] = self._bearings(rows)
            seen[one_way] = seen_in_sector(
                sites,
                site[one_way],
                xy[one_way],
                seen_all[one_way],
                near[one_way],
                bearing[one_way],
                gear.opening_deg[rows],
            )
        if self.sight is not None:
            within = self._reach()[device]
            seen = self.sight.limited(sites, gear, (site, device), seen, bearing, seen <= within)
            # Looking all round matters where a person says that the device watches the place.
            said = (self.devices.assigned[device] == site) & (seen_all <= within)
            nowhere = np.full(len(device), np.nan)
            seen_all = self.sight.limited(sites, gear, (site, device), seen_all, nowhere, said)
        return distance, seen, seen_all

    def _reach(self) -> Floats:
        """Return how far each device may reach at most, shape (m,)."""
        gear, parameters = self.gear, self.parameters
        derived = gear.pixels_at_1m / np.nanmin(self.units.density, initial=np.inf)
        assumed = max(parameters.assumed_range_m, parameters.assigned_range_m)
        farthest = np.where(np.isnan(gear.range_m), derived, gear.range_m)
        return np.where(np.isnan(farthest), assumed, farthest)

    def _bearings(self, device: Ints) -> Floats:
        """Return the grid bearing of the middle of the view of device rows."""
        bearing = np.full(len(self.devices), np.nan)
        needed = np.zeros(len(bearing), np.bool_)
        needed[device] = True
        rows = np.flatnonzero(needed)
        convergence = self.frame.convergence_deg(self.devices.lonlat[rows])
        bearing[rows] = self.gear.azimuth_deg[rows] - convergence
        return bearing[device]


_LOOKS = ("functions", "directions", "azimuth_deg", "opening_deg", "range_m", "near_m", "h_pixels")
"""Columns of devices that decide what they serve, beside where they are and what works."""


def as_before(now: Scene, then: Scene) -> Ints | None:
    """Return the row each device had in an earlier scene, -1 where it is not as it was.

    States apart; None where anything but devices is different.
    """
    if now.points is not then.points or now.parameters != then.parameters:
        return None
    if now.frame != then.frame or not _same_surroundings(now, then):
        return None
    was = _rows_before(now.devices, then.devices)
    row = np.flatnonzero(was >= 0)
    old = was[row]
    same = (now.devices.lonlat[row] == then.devices.lonlat[old]).all(axis=1)
    same &= now.devices.assigned[row] == then.devices.assigned[old]
    for name in _LOOKS:
        same &= _equal(getattr(now.devices, name)[row], getattr(then.devices, name)[old])
    if now.roadside is not None and then.roadside is not None:
        same &= now.roadside.stands_on[row] == then.roadside.stands_on[old]
    if now.sight is not None and then.sight is not None:
        same &= _equal(now.sight.mount_height_m[row], then.sight.mount_height_m[old])
        same &= now.sight.indoor[row] == then.sight.indoor[old]
        same &= ~(now.sight.is_drawn[row] | then.sight.is_drawn[old])  # few: looked at again
    was[row[~same]] = -1
    return was


def _same_surroundings(now: Scene, then: Scene) -> bool:
    one, other = now.roadside, then.roadside
    if (one is None) is not (other is None) or (now.sight is None) is not (then.sight is None):
        return False
    if one is not None and other is not None:
        alike = one.road is other.road and one.axis_deg is other.axis_deg
        if not alike or one.across_deg != other.across_deg:
            return False
    return now.sight is None or (then.sight is not None and now.sight.obstacles is then.sight.obstacles)


def _rows_before(now: DeviceTable, then: DeviceTable) -> Ints:
    if now.kind == then.kind and now.code == then.code:
        return np.arange(len(now))
    row_of = {key: row for row, key in enumerate(zip(then.kind, then.code, strict=True))}
    keys = zip(now.kind, now.code, strict=True)
    return np.array([row_of.get(key, -1) for key in keys], np.int64)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> Bools:
    """Tell where columns are equal, unknown (NaN) numbers included."""
    return np.asarray((one == other) | ((one != one) & (other != other)))


def _shapes(points: PointTable, frame: Frame) -> dict[int, shapely.Geometry]:
    polygons = np.array(list(points.shape.values()), dtype=object)
    if not len(polygons):
        return {}
    metric = shapely.transform(polygons, frame.to_metres)
    return dict(zip(points.shape, metric, strict=True))
