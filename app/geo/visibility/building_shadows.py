"""Fields of view cut by buildings: exact visibility on the ground, for many cameras at once.

Buildings only make fields of view smaller. The field of view of a camera without obstacles is returned as it is.
All coordinates are metres in one projection.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from app.errors import TooLarge
from app.geo.arrays import Bools, Floats, Ints, expand_ranges
from app.geo.coverage.overlap import keep_areas
from app.geo.visibility.field_of_view import build_sectors
from app.geo.visibility.obstacles import INDOORS, ON_ROOF, Footing, Obstacles, compute_footing
from app.geo.visibility.radial_visibility import WallSpans, compute_envelope
from app.messages import Message

TARGET_M: Final = 1.5
"""Height of the target (a face or a plate), as for `app.geo.visibility.field_of_view.near_blind_m`."""
BLOCK: Final = 400_000
"""Walls that are evaluated in one block, which bounds the memory."""
MAX_PAIRS: Final = 10_000_000
"""Limit of pairs of camera and building; a city has about a million."""
_MAX_TILT_STEPS: Final = 50_000_000
_MAX_STRETCH: Final = 1e6
_SLIVER_M: Final = 0.0005
_SWEEP_DEG: Final = 30.0


@dataclass(frozen=True, eq=False)
class CameraViews:
    """Directions and ranges of cameras, one row each.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    bearing_deg : ndarray, shape (n,)
        Middle of the view, clockwise from grid north; ignored if the opening is 360.
    opening_deg, range_m : ndarray, shape (n,)
    mount_height_m : ndarray, shape (n,)
        NaN if it is not known.
    indoor : ndarray of bool, shape (n,)
    """

    xy: Floats
    bearing_deg: Floats
    opening_deg: Floats
    range_m: Floats
    mount_height_m: Floats
    indoor: Bools

    def take_rows(self, rows: Ints) -> "CameraViews":
        """Return the cameras of these rows."""
        return CameraViews(*(column[rows] for column in vars(self).values()))


@dataclass(frozen=True, eq=False)
class ShadowedViews:
    """Fields of view cut by buildings."""

    shape: NDArray[np.object_]
    """Polygon or MultiPolygon, shape (n,); the input object if no building cuts it."""
    standing: Ints
    """See `app.geo.visibility.obstacles.STANDING`."""
    by: tuple[Ints, Ints]
    """Camera and building of every pair in which the building cuts the field of view, sorted."""


def cut_views(
    shape: NDArray[np.object_],
    views: CameraViews,
    obstacles: Obstacles,
    spared: tuple[Ints, Ints] | None = None,
) -> ShadowedViews:
    """Return fields of view cut by buildings.

    Parameters
    ----------
    shape : ndarray of Polygon, shape (n,)
        Fields of view on open ground, as `app.geo.visibility.field_of_view.build_sectors` returns them.
    views : CameraViews
        Directions and ranges of the same cameras.
    obstacles : Obstacles
    spared : tuple of ndarray, optional
        Camera and building of pairs in which the building does not block the view.

    Returns
    -------
    ShadowedViews

    Notes
    -----
    A building ends every line of sight at its first wall if it is at least as high as the camera, or
    if one of the two heights is not known. A building of height H below the height h of the camera
    hides its footprint and its shadow: for each point of the footprint at distance d, the ground up to
    ``d (h - t) / (h - H)``, where the line over its edge comes down to a target of height t =
    `TARGET_M` (similar triangles; flat ground). Beyond the shadow the camera sees the ground.
    For cameras on or in a footprint see `app.geo.visibility.obstacles.compute_footing`.
    """
    n = len(shape)
    if not len(obstacles) or not n:
        return ShadowedViews(shape, np.zeros(n, np.int64), (np.empty(0, np.int64), np.empty(0, np.int64)))
    feet = compute_footing(views.xy, views.mount_height_m, views.indoor, obstacles)
    camera, building = find_camera_building_pairs(views, obstacles, feet)
    if spared is not None:
        m = len(obstacles)
        blocks = ~np.isin(camera * m + building, spared[0] * m + spared[1])
        camera, building = camera[blocks], building[blocks]
    with np.errstate(invalid="ignore"):
        low = obstacles.height_m[building] < views.mount_height_m[camera]
    low &= feet.code[camera] != INDOORS
    result = shape.copy()
    by = [
        cut_by_walls(result, views, feet, obstacles, camera[~low], building[~low]),
        subtract_shadows(result, views, feet, obstacles, camera[low], building[low]),
    ]
    pairs = np.sort(
        np.concatenate([shadow_camera * len(obstacles) + shadow_building for shadow_camera, shadow_building in by])
    )
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return ShadowedViews(result, feet.code, (pairs // len(obstacles), pairs % len(obstacles)))


def find_camera_building_pairs(views: CameraViews, obstacles: Obstacles, feet: Footing) -> tuple[Ints, Ints]:
    """Return camera and building of all pairs in which the building may block the view, sorted by camera.

    Raises
    ------
    TooLarge
        More than `MAX_PAIRS` pairs.
    """
    # The blind zone is included: a building in it hides the ground beyond.
    whole = build_sectors(views.xy, views.bearing_deg, views.opening_deg, views.range_m)
    m = len(obstacles)
    pairs, count, step = [np.empty((2, 0), np.int64)], 0, max(_MAX_TILT_STEPS // m, 1)
    for start in range(0, len(whole), step):
        chunk = obstacles.tree.query(whole[start : start + step], predicate="intersects")
        count += chunk.shape[1]
        if count > MAX_PAIRS:
            raise TooLarge(
                Message(
                    "More than {limit:,} pairs of a camera and a building within its range. "
                    "Reduce the cameras, their ranges or the buildings.",
                    limit=MAX_PAIRS,
                ),
                MAX_PAIRS,
            )
        pairs.append(chunk + np.array([[start], [0]]))
    camera, building = np.concatenate(pairs, axis=1)
    key, under = camera * m + building, feet.carrier[0] * m + feet.carrier[1]
    on_roof, indoors = feet.code[camera] == ON_ROOF, feet.code[camera] == INDOORS
    carried = np.isin(key, under)
    selected = np.sort(key[~(on_roof & carried) & (~indoors | carried)])
    return selected // m, selected % m


def cut_by_walls(
    shape: NDArray[np.object_],
    views: CameraViews,
    feet: Footing,
    obstacles: Obstacles,
    camera: Ints,
    building: Ints,
) -> tuple[Ints, Ints]:
    """Cut shapes in place at the first walls; return camera and building of each pair that cuts."""
    walls = obstacles.walls
    counts = np.diff(walls.first)[building]
    cuts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for block in iter_blocks(camera, counts):
        pair, _, row = expand_ranges(counts[block], walls.first[:-1][building[block]])
        viewers, owner = camera[block][pair], building[block][pair]
        spans = build_spans(views, feet, walls.start[row], walls.end[row], viewers, owner)
        rows = np.unique(spans.viewer)
        seen = compute_envelope(spans, _SWEEP_DEG)
        cutting = seen.nearest_m[seen.wall >= 0]
        wall = seen.wall[seen.wall >= 0]
        nearest = cutting < compute_view_radius(views, feet)[spans.viewer[wall]]
        wall = np.unique(wall[nearest])
        hit = np.unique(spans.viewer[wall])
        open_to = seen.visible_polygons(rows)
        shape[hit] = keep_areas(shapely.intersection(shape[hit], open_to[np.searchsorted(rows, hit)]))
        cuts.append((spans.viewer[wall], spans.owner[wall]))
    return np.concatenate([cut_camera for cut_camera, _ in cuts]), np.concatenate(
        [cut_building for _, cut_building in cuts]
    )


def iter_blocks(camera: Ints, counts: Ints) -> Iterator[slice]:
    """Yield blocks of pairs with about `BLOCK` walls; all pairs of a camera are in one block."""
    if not len(camera):
        return
    block = np.cumsum(counts) // BLOCK
    block_start = np.flatnonzero(np.diff(camera, prepend=-1))
    starts = block_start[np.flatnonzero(np.diff(block[block_start], prepend=-1))]
    for start, stop in zip(starts, np.append(starts[1:], len(camera)), strict=True):
        yield slice(int(start), int(stop))


def compute_view_radius(views: CameraViews, feet: Footing) -> Floats:
    """Return the range of each camera from its viewpoint, shape (n,)."""
    return np.asarray(views.range_m + np.hypot(*(feet.xy - views.xy).T))


def build_spans(views: CameraViews, feet: Footing, start: Floats, end: Floats, viewer: Ints, owner: Ints) -> WallSpans:
    """Return the walls that face a camera and are within its range, as spans of angles."""
    a, b = start - feet.xy[viewer], end - feet.xy[viewer]
    # A camera indoors sees the inner side of the walls.
    turned = (feet.code[viewer] == INDOORS)[:, np.newaxis]
    a, b = np.where(turned, b, a), np.where(turned, a, b)
    facing = b[:, 0] * a[:, 1] - b[:, 1] * a[:, 0]  # clockwise from a to b: positive
    along = b - a
    wall = np.clip(-(a * along).sum(axis=1) / (along**2).sum(axis=1), 0.0, 1.0)
    nearest = np.hypot(*(a + wall[:, np.newaxis] * along).T)
    radius = compute_view_radius(views, feet)
    moved = (feet.xy != views.xy).any(axis=1) | (feet.code == INDOORS)
    opening = np.where(moved, 360.0, views.opening_deg)
    first = np.where(moved, 0.0, views.bearing_deg - views.opening_deg / 2.0)
    facing_rows = np.flatnonzero((facing > 0) & (nearest < radius[viewer]))
    return WallSpans(
        viewer[facing_rows],
        owner[facing_rows],
        a[facing_rows],
        b[facing_rows],
        nearest[facing_rows],
        feet.xy,
        first,
        opening,
        radius,
    )


def subtract_shadows(
    shape: NDArray[np.object_],
    views: CameraViews,
    feet: Footing,
    obstacles: Obstacles,
    camera: Ints,
    building: Ints,
) -> tuple[Ints, Ints]:
    """Subtract low buildings and their shadows from shapes in place; return the pairs that cut."""
    if not len(camera):
        return camera, building
    shadows = build_shadows(views, feet, obstacles, camera, building)
    cutting = shapely.intersects(shape[camera], shadows)
    camera, building, shadows = camera[cutting], building[cutting], shadows[cutting]
    first = np.flatnonzero(np.diff(camera, prepend=-1))
    groups = np.split(shadows, first[1:]) if len(first) else []
    rows = camera[first]
    together = np.array([shapely.union_all(group) for group in groups], dtype=object)
    if len(rows):
        shape[rows] = remove_slivers(keep_areas(shapely.difference(shape[rows], together)))
    return camera, building


def remove_slivers(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return shapes without the slivers that rounding leaves between shadows with a common edge."""
    less = shapely.buffer(shapes, -_SLIVER_M, join_style="mitre", mitre_limit=50.0)
    back = shapely.buffer(less, _SLIVER_M, join_style="mitre", mitre_limit=50.0)
    return np.asarray(back)


def build_shadows(
    views: CameraViews, feet: Footing, obstacles: Obstacles, camera: Ints, building: Ints
) -> NDArray[np.object_]:
    """Return the union of footprint and shadow of the building of each pair."""
    walls = obstacles.walls
    mount, height = views.mount_height_m[camera], obstacles.height_m[building]
    stretch = np.where((height > TARGET_M) & (mount > TARGET_M), (mount - TARGET_M) / (mount - height), 1.0)
    stretch = np.minimum(stretch, _MAX_STRETCH)
    counts = np.diff(walls.first)[building]
    pair, _, row = expand_ranges(counts, walls.first[:-1][building])
    eye = feet.xy[camera[pair]]
    a, b = walls.start[row] - eye, walls.end[row] - eye
    k = stretch[pair, np.newaxis]
    broad = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) > 1e-9
    broad &= k[:, 0] > 1.0
    of_pair = np.cumsum(np.bincount(pair[broad], minlength=len(camera)))[:-1]
    quads = np.asarray(shapely.polygons(np.stack([a, b, b * k, a * k], axis=1)[broad] + eye[broad, np.newaxis]))
    return np.array(
        [
            shapely.union_all([obstacles.shape[under], *cast])
            for under, cast in zip(building, np.split(quads, of_pair), strict=True)
        ],
        dtype=np.object_,
    )
