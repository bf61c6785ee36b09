"""Time fields of view and area coverage: ``python -m benchmarks area``.

The peer is what a user would write: one ``shapely.union_all`` of all fields of view, in the same run. It gives the
covered area only, without zones, k-fold coverage and what each camera adds. Prints ratios, asserts nothing.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely

from app.geo.coverage.area import ZoneSections, compute_area_coverage
from app.geo.coverage.tables import Parameters
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.obstacles import Obstacles
from app.geo.visibility.sectors import CameraOptics, compute_views

PROJECTION = LocalProjection(4547)
SIDE_M = 31_600.0
RINGS_M = (3_000.0, 8_000.0, 15_500.0)


def run_timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    start = time.perf_counter()
    outcome = work()
    return time.perf_counter() - start, outcome


def draw_cameras(n: int, rng: np.random.Generator) -> CameraOptics:
    """Return cameras in a city of 1,000 square kilometres, most of them with an azimuth."""
    middle = PROJECTION.to_metres([(113.24, 35.21)])[0]
    xy = middle + rng.uniform(-SIDE_M / 2, SIDE_M / 2, (n, 2))
    opening = rng.choice([30.0, 60.0, 90.0, 360.0], n, p=[0.3, 0.4, 0.25, 0.05])
    return CameraOptics(
        lonlat=PROJECTION.to_lonlat(xy),
        azimuth_deg=rng.uniform(0, 360, n),
        opening_deg=opening,
        range_m=rng.uniform(15, 80, n),
        near_m=rng.choice([0.0, 4.0], n),
        h_pixels=np.full(n, np.nan),
        mount_height_m=np.where(rng.random(n) < 0.8, rng.uniform(3, 8, n), np.nan),
        indoor=np.zeros(n, np.bool_),
        px_per_m=np.full(n, np.nan),
        binding=np.zeros(n, np.bool_),
        drawn={},
    )


def draw_buildings(n: int, rng: np.random.Generator) -> Obstacles:
    """Return buildings in the same area; some have no height."""
    middle = PROJECTION.to_metres([(113.24, 35.21)])[0]
    xy = middle + rng.uniform(-SIDE_M / 2, SIDE_M / 2, (n, 2))
    wide, deep = rng.uniform(5, 12, n), rng.uniform(5, 12, n)
    boxes = shapely.box(xy[:, 0] - wide, xy[:, 1] - deep, xy[:, 0] + wide, xy[:, 1] + deep)
    has_height = rng.random(n) < 0.8
    return Obstacles(np.asarray(boxes), np.where(has_height, rng.uniform(3, 30, n), np.nan))


def main() -> None:
    """Measure 1,000, 10,000 and 100,000 cameras."""
    middle = shapely.Point(PROJECTION.to_metres([(113.24, 35.21)])[0])
    core, urban, city = (middle.buffer(radius, quad_segs=500) for radius in RINGS_M)
    zones: list[Any] = [core, urban.difference(core), city.difference(urban)]
    sections = ZoneSections.from_zones(zones)
    for n in (1_000, 10_000, 100_000):
        measure_cameras(n, sections)


def measure_cameras(n: int, sections: ZoneSections) -> None:
    """Measure one number of cameras."""
    rng = np.random.default_rng(5)
    optics, parameters = draw_cameras(n, rng), Parameters()
    open_s, views = run_timed(lambda: compute_views(optics, parameters, PROJECTION))
    obstacles = draw_buildings(n, rng)
    ready_s, _ = run_timed(lambda: (obstacles.tree, obstacles.walls))
    cut_s, cut_views = run_timed(lambda: compute_views(optics, parameters, PROJECTION, obstacles))
    cut = len(np.unique(cut_views.cut_by[0]))
    peer_s, union = run_timed(lambda: shapely.union_all(views.shape))
    fast_s, _ = run_timed(lambda: shapely.disjoint_subset_union_all(views.shape))
    stamp = np.arange(n)
    cover_s, covered = run_timed(lambda: compute_area_coverage(sections, views.shape, stamp))
    shape, names = views.shape.copy(), stamp.copy()
    shape[0], names[0] = shapely.affinity.translate(shape[0], 25, 0), n
    change_s, after = run_timed(lambda: compute_area_coverage(sections, shape, names, before=covered))
    gaps_s, (gaps, _) = run_timed(lambda: covered.find_gaps(np.array([0, 1, 2]), 1, 100.0))
    within = shapely.intersection(union, shapely.union_all(sections.zones)).area
    difference = covered.covered_m2().sum() / within - 1
    print(f"{n:,} cameras")
    print(f"  fields of view on open ground        {open_s * 1e3:9.1f} ms")
    print(
        f"  cut by {n:,} buildings ({cut:,} are)   {(cut_s - open_s) * 1e3:9.1f} ms"
        f" ({ready_s * 1e3:.0f} ms once to prepare the buildings)"
    )
    print(f"  peer: shapely.union_all              {peer_s * 1e3:9.1f} ms")
    print(f"  shapely.disjoint_subset_union_all    {fast_s * 1e3:9.1f} ms, {peer_s / fast_s:.1f}x faster")
    print(
        f"  zones, once and twice, shares        {cover_s * 1e3:9.1f} ms, "
        f"{peer_s / cover_s:.1f}x faster than the peer; area differs from its by {difference:.0e}"
    )
    print(
        f"  after one changed camera             {change_s * 1e3:9.1f} ms, "
        f"{after.recomputed_count} of {len(covered.section_coverage):,} sections computed again"
    )
    print(f"  {len(gaps):,} gaps of 100 m2 and more          {gaps_s * 1e3:9.1f} ms")


if __name__ == "__main__":
    main()
