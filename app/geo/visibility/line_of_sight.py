"""Lines of sight from devices to control points: buildings that block them, and views drawn by hand.

Buildings only reduce what is seen. A building that is the control point itself does not hide it: a building that
contains the point, or that an area covers by more than half.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from app.geo.arrays import Bools, Floats, Ints
from app.geo.visibility.building_shadows import TARGET_M, CameraViews, cut_views
from app.geo.visibility.field_of_view import build_sectors
from app.geo.visibility.obstacles import INDOORS, ON_ROOF, Footing, Obstacles, compute_footing
from app.geo.visibility.reach import DeviceOptics, Sites

_TOUCH_M: Final = 1e-6


@dataclass(frozen=True, eq=False)
class LinesOfSight:
    """Limits of views in addition to optics, one row for each device.

    Parameters
    ----------
    obstacles : Obstacles
        Buildings, in the projection of the devices.
    mount_height_m : ndarray, shape (m,)
        NaN if it is not known.
    indoor : ndarray of bool, shape (m,)
    drawn : mapping of int to Polygon or MultiPolygon
        Views drawn by hand, in metres, by row.
    """

    obstacles: Obstacles
    mount_height_m: Floats
    indoor: Bools
    drawn: Mapping[int, Polygon | MultiPolygon]

    @cached_property
    def is_drawn(self) -> Bools:
        """Whether each device has a drawn view, shape (m,)."""
        flags = np.zeros(len(self.indoor), np.bool_)
        flags[list(self.drawn)] = True
        return flags

    def limit_optics(self, optics: DeviceOptics) -> DeviceOptics:
        """Return the optics of devices; a device with a drawn view has the range of the drawing."""
        if not self.drawn:
            return optics
        rows = np.array(list(self.drawn), dtype=np.int64)
        vertices, of = shapely.get_coordinates(list(self.drawn.values()), return_index=True)
        farthest = np.zeros(len(rows))
        np.maximum.at(farthest, of, np.hypot(*(vertices - optics.xy[rows[of]]).T))
        azimuth, range_m, near_m = optics.azimuth_deg.copy(), optics.range_m.copy(), optics.near_m.copy()
        azimuth[rows], range_m[rows], near_m[rows] = np.nan, np.maximum(farthest, _TOUCH_M), 0.0
        return replace(optics, azimuth_deg=azimuth, range_m=range_m, near_m=near_m)

    def visible_distance(
        self,
        sites: Sites,
        optics: DeviceOptics,
        pairs: tuple[Ints, Ints],
        seen: Floats,
        bearing_deg: Floats,
        selected: Bools,
    ) -> Floats:
        """Return the distance to the nearest visible point of each site.

        Parameters
        ----------
        sites, optics
            In metres.
        pairs : tuple of ndarray of int, shape (k,)
            Sites and devices.
        seen : ndarray, shape (k,)
            The same distance on open ground; infinite if nothing is seen.
        bearing_deg : ndarray, shape (k,)
            Middle of the view, clockwise from grid north; NaN: all directions.
        selected : ndarray of bool, shape (k,)
            Pairs to evaluate; the other distances are not changed.
        """
        site, device = pairs
        distance = seen.copy()
        by_hand = self.is_drawn[device]
        rows = np.flatnonzero(by_hand)
        if len(rows):
            distance[rows] = self.distance_in_drawn_view(sites, optics, site[rows], device[rows])
        if len(self.obstacles):
            subset = selected & ~by_hand & np.isfinite(seen)
            points = np.flatnonzero(subset & ~sites.area[site])
            hider = self.find_hiding_buildings(optics, device[points], sites.xy[site[points]])
            distance[points[hider >= 0]] = np.inf
            grounds = np.flatnonzero(subset & sites.area[site])
            if len(grounds):
                distance[grounds] = self.distance_in_sight(
                    sites, optics, site[grounds], device[grounds], bearing_deg[grounds]
                )
        return distance

    def find_hiding_building(self, sites: Sites, optics: DeviceOptics, site: int, device: int) -> int:
        """Return the nearest building that hides a point site from a device; -1 if none does."""
        if self.is_drawn[device] or sites.area[site] or not len(self.obstacles):
            return -1
        return int(self.find_hiding_buildings(optics, np.array([device]), sites.xy[[site]])[0])

    def distance_in_drawn_view(self, sites: Sites, optics: DeviceOptics, site: Ints, device: Ints) -> Floats:
        """Return the distance to the nearest point of each site within the drawn view of the device."""
        views = np.array([self.drawn[row] for row in device.tolist()], dtype=object)
        points = np.asarray(shapely.points(sites.xy[site]))
        sites_xy = np.where(sites.area[site], sites.shape[site], points)
        common = shapely.intersection(sites_xy, views)
        away = shapely.distance(common, shapely.points(optics.xy[device]))
        return np.where(np.isnan(away), np.inf, away)

    def build_footing(self, optics: DeviceOptics, device: Ints) -> Footing:
        """Return the viewpoints of devices."""
        return compute_footing(optics.xy[device], self.mount_height_m[device], self.indoor[device], self.obstacles)

    def find_hiding_buildings(self, optics: DeviceOptics, device: Ints, target: Floats) -> Ints:
        """Return the nearest building that hides each target from its device; -1 if none does."""
        hider = np.full(len(device), -1, dtype=np.int64)
        if not len(device):
            return hider
        feet, m = self.build_footing(optics, device), len(self.obstacles)
        lines = np.asarray(shapely.linestrings(np.stack([feet.xy, target], axis=1)))
        row, building = self.obstacles.tree.query(lines, predicate="intersects")
        shapes = self.obstacles.shape[building]
        its_own = shapely.intersects_xy(shapes, target[row, 0], target[row, 1])
        carried = np.isin(row * m + building, feet.carrier[0] * m + feet.carrier[1])
        stands_on = carried & (feet.code[row] == ON_ROOF)
        indoors = feet.code[row] == INDOORS
        hiding = np.flatnonzero(~its_own & ~stands_on & ~(indoors & ~carried))
        row, building, carried = row[hiding], building[hiding], carried[hiding]
        enclosed = carried & (feet.code[row] == INDOORS)
        overlap = shapely.intersection(lines[row], self.obstacles.shape[building])
        eye = shapely.points(feet.xy[row])
        begins, ends = shapely.distance(eye, overlap), shapely.hausdorff_distance(overlap, eye)
        hides = enclosed | (shapely.length(lines[row]) <= ends * self.compute_shadow_stretch(device[row], building))
        row, building, begins = row[hides], building[hides], begins[hides]
        order = np.lexsort((building, -begins, row))
        hider[row[order]] = building[order]  # the nearest building is assigned last
        return hider

    def compute_shadow_stretch(self, device: Ints, building: Ints) -> Floats:
        """Return the end of shadows as a multiple of the building distance; infinite if a building ends the view."""
        mount, height = self.mount_height_m[device], self.obstacles.height_m[building]
        with np.errstate(invalid="ignore", divide="ignore"):
            low = height < mount
            cast = (height > TARGET_M) & (mount > TARGET_M)
            factor = np.where(cast, (mount - TARGET_M) / (mount - height), 1.0)
        return np.where(low, factor, np.inf)

    def distance_in_sight(
        self, sites: Sites, optics: DeviceOptics, site: Ints, device: Ints, bearing_deg: Floats
    ) -> Floats:
        """Return the distance to the nearest point of each area that is in view and not hidden."""
        all_round = np.isnan(bearing_deg)
        radius = np.hypot(*(sites.xy[site] - optics.xy[device]).T) + sites.radius_m[site] + 1.0
        looks = CameraViews(
            optics.xy[device],
            np.where(all_round, 0.0, bearing_deg),
            np.where(all_round, 360.0, optics.opening_deg[device]),
            radius * 1.01,  # compensates for the chords that replace the arc
            self.mount_height_m[device],
            self.indoor[device],
        )
        open_ground = build_sectors(
            looks.xy, looks.bearing_deg, looks.opening_deg, looks.range_m, optics.near_m[device]
        )
        lit = cut_views(open_ground, looks, self.obstacles, self.find_covering_pairs(sites, site)).shape
        common = shapely.intersection(sites.shape[site], lit)
        away = shapely.distance(common, shapely.points(looks.xy))
        return np.where(np.isnan(away), np.inf, away)

    def find_covering_pairs(self, sites: Sites, site: Ints) -> tuple[Ints, Ints]:
        """Return row and building of all pairs in which the area covers more than half of the building."""
        row, building = self.obstacles.tree.query(sites.shape[site], predicate="intersects")
        shapes: NDArray[np.object_] = self.obstacles.shape[building]
        common = shapely.area(shapely.intersection(sites.shape[site[row]], shapes))
        own = common > shapely.area(shapes) / 2
        return row[own], building[own]
