"""What the engine looks at: sites, devices, needs and what is assumed, in one frame.

Promises that nothing here is measured again when only lifecycle and state of devices change, and
one answer to how far a device is from a site and how near the nearest place is that it sees.
"""

from dataclasses import dataclass

import numpy as np
import shapely

from app.geo.arrays import Floats, Ints
from app.geo.frame import Frame
from app.geo.gear import Gear
from app.geo.reach import Sites, seen_all_round, seen_in_sector
from app.geo.sight import Sight
from app.geo.tables import DeviceTable, Parameters, PointTable, Roadside
from app.geo.units import Units


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


def _shapes(points: PointTable, frame: Frame) -> dict[int, shapely.Geometry]:
    polygons = np.array(list(points.shape.values()), dtype=object)
    if not len(polygons):
        return {}
    metric = shapely.transform(polygons, frame.to_metres)
    return dict(zip(points.shape, metric, strict=True))
