"""Fields of view of many cameras: from their registered optics to polygons in metres, with their basis.

Every missing value has one documented rule. Polygons are within the exact field of view. A view drawn by hand is
used as it is. See docs/fields-of-view.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.coverage.tables import Parameters
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.building_shadows import CameraViews, cut_views
from app.geo.visibility.field_of_view import build_sectors, range_for_density
from app.geo.visibility.obstacles import Obstacles

VIEW_BASES: Final = ("stated", "optics", "assumed", "drawn")
"""Names of the codes of what determines the extent of a field of view."""
STATED, OPTICS, ASSUMED, DRAWN = range(4)
MAX_RANGE_M: Final = 100_000.0
"""Upper limit of derived ranges, which matters for lenses with a very small opening."""


@dataclass(frozen=True, eq=False)
class CameraOptics:
    """Registered optics of cameras, one row each; NaN if a value is not registered.

    Parameters
    ----------
    lonlat : ndarray, shape (n, 2)
    azimuth_deg : ndarray, shape (n,)
        Clockwise from true north; NaN: all directions.
    opening_deg, range_m, near_m, h_pixels, mount_height_m : ndarray, shape (n,)
    indoor : ndarray of bool, shape (n,)
    px_per_m : ndarray, shape (n,)
        Required pixel density of the view; NaN if pixels do not limit the range.
    binding : ndarray of bool, shape (n,)
        Whether a stated range is limited to the range of this density.
    drawn : mapping of int to Polygon or MultiPolygon
        Views drawn by hand, in lon/lat, by row.

    Raises
    ------
    ValueError
        Columns of unequal length, or a drawing for a row that does not exist.
    """

    lonlat: Floats
    azimuth_deg: Floats
    opening_deg: Floats
    range_m: Floats
    near_m: Floats
    h_pixels: Floats
    mount_height_m: Floats
    indoor: Bools
    px_per_m: Floats
    binding: Bools
    drawn: Mapping[int, Polygon | MultiPolygon]

    def __post_init__(self) -> None:
        """Raise ValueError if the columns do not match."""
        n = len(self.lonlat)
        columns = (value for name, value in vars(self).items() if name != "drawn")
        if any(len(column) != n for column in columns):
            raise ValueError("the columns of cameras have unequal lengths")
        if any(not 0 <= row < n for row in self.drawn):
            raise ValueError("a drawn view belongs to no camera")

    def __len__(self) -> int:
        """Return the number of cameras."""
        return len(self.lonlat)


@dataclass(frozen=True, eq=False)
class Views:
    """Fields of view, one row for each camera."""

    shape: NDArray[np.object_]
    """Polygon or MultiPolygon in metres; empty if nothing is seen."""
    open_m2: Floats
    """Area before it is cut by buildings."""
    basis: Bytes
    """Index of `VIEW_BASES`."""
    xy: Floats
    bearing_deg: Floats
    """Middle of the view, clockwise from grid north; NaN: all directions."""
    opening_deg: Floats
    opening_assumed: Bools
    range_m: Floats
    """For a drawn view, the distance to its farthest point."""
    near_m: Floats
    standing: Ints
    """See `app.geo.visibility.obstacles.STANDING`."""
    cut_by: tuple[Ints, Ints]
    """Camera and building of each pair in which the building cuts the field of view."""

    def take_rows(self, rows: Ints) -> "Views":
        """Return the views of these rows, in their order."""
        taken_row = np.full(len(self.shape), -1, dtype=np.int64)
        taken_row[rows] = np.arange(len(rows))
        camera, building = self.cut_by
        selected = taken_row[camera] >= 0
        pairs = taken_row[camera[selected]], building[selected]
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return Views(**columns, cut_by=pairs)

    def concatenate(self, second: "Views") -> "Views":
        """Return these views, followed by those of a second table."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(second, name)]) for name in _COLUMNS
        }
        camera, building = self.cut_by
        pairs = (
            np.concatenate([camera, second.cut_by[0] + len(self.shape)]),
            np.concatenate([building, second.cut_by[1]]),
        )
        return Views(**columns, cut_by=pairs)


_COLUMNS: Final = tuple(name for name in Views.__dataclass_fields__ if name != "cut_by")


def compute_views(
    optics: CameraOptics, parameters: Parameters, projection: LocalProjection, obstacles: Obstacles | None = None
) -> Views:
    """Return what cameras see on the ground.

    Parameters
    ----------
    optics : CameraOptics
    parameters : Parameters
        Values to assume if a camera has none.
    projection : LocalProjection
    obstacles : Obstacles, optional
        Buildings, in metres of the projection.

    Notes
    -----
    The range is the stated range; if the density is binding, at most the range of that density. Without
    a stated range it is the range of the density, else ``parameters.assumed_range_m``. A camera without
    an azimuth, or with an opening of 360 degrees, sees a disc without its blind zone; a camera with an
    azimuth sees a sector of its opening, or of ``parameters.assumed_opening_deg``.
    """
    xy = projection.to_metres(optics.lonlat)
    azimuth = np.where(optics.opening_deg == 360.0, np.nan, optics.azimuth_deg % 360.0)
    all_round = np.isnan(azimuth)
    unstated = np.isnan(optics.opening_deg)
    opening = np.where(unstated & ~all_round, parameters.assumed_opening_deg, optics.opening_deg)
    range_m, basis = compute_ranges(optics, opening, parameters)
    bearing = azimuth - projection.convergence_deg(optics.lonlat)
    near_m = np.nan_to_num(optics.near_m, nan=0.0)
    looks = CameraViews(
        xy,
        np.where(all_round, 0.0, bearing),
        np.where(all_round, 360.0, opening),
        range_m,
        optics.mount_height_m,
        optics.indoor,
    )
    shape = build_sectors(xy, looks.bearing_deg, looks.opening_deg, range_m, near_m)
    open_m2 = shapely.area(shape)
    standing, by = np.zeros(len(xy), np.int64), (np.empty(0, np.int64), np.empty(0, np.int64))
    if obstacles is not None and len(obstacles):
        undrawn = np.setdiff1d(np.arange(len(xy)), list(optics.drawn))
        result = cut_views(shape[undrawn], looks.take_rows(undrawn), obstacles)
        shape[undrawn], standing[undrawn] = result.shape, result.standing
        by = (undrawn[result.by[0]], result.by[1])
    apply_drawn_views(optics.drawn, projection, xy, shape, range_m, open_m2)
    basis[list(optics.drawn)] = DRAWN
    return Views(
        shape,
        open_m2,
        basis,
        xy,
        bearing,
        looks.opening_deg,
        unstated & ~all_round,
        range_m,
        near_m,
        standing,
        by,
    )


def compute_ranges(optics: CameraOptics, opening: Floats, parameters: Parameters) -> tuple[Floats, Bytes]:
    """Return ranges in metres and their bases."""
    stated = optics.range_m
    derived = range_for_density(optics.h_pixels, opening, optics.px_per_m)
    derived = np.minimum(derived, MAX_RANGE_M)
    with np.errstate(invalid="ignore"):
        ends = optics.binding & (derived < stated)
    derives = ends | (np.isnan(stated) & ~np.isnan(derived))
    assumes = np.isnan(stated) & np.isnan(derived)
    range_m = np.where(derives, derived, np.where(assumes, parameters.assumed_range_m, stated))
    basis = np.where(derives, OPTICS, np.where(assumes, ASSUMED, STATED)).astype(np.uint8)
    return range_m, basis


def apply_drawn_views(
    drawn: Mapping[int, Polygon | MultiPolygon],
    projection: LocalProjection,
    xy: Floats,
    shape: NDArray[np.object_],
    range_m: Floats,
    open_m2: Floats,
) -> None:
    """Replace computed views by drawn views, in place."""
    if not drawn:
        return
    rows = np.array(list(drawn), dtype=np.int64)
    metric = shapely.transform(np.array(list(drawn.values()), dtype=object), projection.to_metres)
    # A drawing that is valid in degrees may touch itself in metres after rounding.
    broken = ~shapely.is_valid(metric)
    metric[broken] = shapely.make_valid(metric[broken])
    shape[rows], open_m2[rows] = metric, shapely.area(metric)
    vertices, of = shapely.get_coordinates(metric, return_index=True)
    farthest = np.zeros(len(rows))
    np.maximum.at(farthest, of, np.hypot(*(vertices - xy[rows[of]]).T))
    range_m[rows] = farthest
