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

    @classmethod
    def of(
        cls,
        points: PointTable,
        devices: DeviceTable,
        parameters: Parameters,
        frame: Frame,
        roadside: Roadside | None = None,
    ) -> "Scene":
        """Return points and devices in the metres of the frame, and the needs as rows."""
        xy = frame.to_metres(points.lonlat)
        return cls(
            points,
            devices,
            parameters,
            frame,
            Sites.of(xy, _shapes(points, frame)),
            Gear.of(devices, parameters, frame),
            Units.of(points, parameters),
            roadside,
        )

    def looked_at(self, site: Ints, device: Ints) -> tuple[Floats, Floats, Floats]:
        """Return for pairs: distance, distance of what is seen, the same when looking all round."""
        gear, sites = self.gear, self.sites
        xy, near = gear.xy[device], gear.near_m[device]
        distance = sites.distance(site, xy)
        seen_all = seen_all_round(sites, site, xy, distance, near)
        seen = seen_all.copy()
        one_way = np.flatnonzero(~np.isnan(gear.azimuth_deg[device]))
        if len(one_way):
            rows = device[one_way]
            seen[one_way] = seen_in_sector(
                sites,
                site[one_way],
                xy[one_way],
                seen_all[one_way],
                near[one_way],
                self._bearings(rows),
                gear.opening_deg[rows],
            )
        return distance, seen, seen_all

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
