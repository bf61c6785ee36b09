"""Time fields of view and covered area: ``python -m benchmarks area``.

The peer is what a user would write: one ``shapely.union_all`` of all fields of view, in the same run.
It says how much is covered, and nothing of zones, of how often, or of what each camera adds. Prints
ratios, asserts nothing.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely

from app.geo.coverage.area import Parcels, cover
from app.geo.coverage.tables import Parameters
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.obstacles import Obstacles
from app.geo.visibility.sectors import CameraOptics, compute_views

FRAME = LocalProjection(4547)
SIDE_M = 31_600.0
RINGS_M = (3_000.0, 8_000.0, 15_500.0)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and outcome."""
    start = time.perf_counter()
    outcome = work()
    return time.perf_counter() - start, outcome


def cameras(n: int, rng: np.random.Generator) -> CameraOptics:
    """Return cameras all over a city of 1,000 square kilometres, most of them with a direction."""
    middle = FRAME.to_metres([(113.24, 35.21)])[0]
    xy = middle + rng.uniform(-SIDE_M / 2, SIDE_M / 2, (n, 2))
    opening = rng.choice([30.0, 60.0, 90.0, 360.0], n, p=[0.3, 0.4, 0.25, 0.05])
    return CameraOptics(
        lonlat=FRAME.to_lonlat(xy),
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


def buildings(n: int, rng: np.random.Generator) -> Obstacles:
    """Return houses all over the same ground, of heights known and unknown."""
    middle = FRAME.to_metres([(113.24, 35.21)])[0]
    at = middle + rng.uniform(-SIDE_M / 2, SIDE_M / 2, (n, 2))
    wide, deep = rng.uniform(5, 12, n), rng.uniform(5, 12, n)
    boxes = shapely.box(at[:, 0] - wide, at[:, 1] - deep, at[:, 0] + wide, at[:, 1] + deep)
    known = rng.random(n) < 0.8
    return Obstacles(np.asarray(boxes), np.where(known, rng.uniform(3, 30, n), np.nan))


def main() -> None:
    """Run what the aims are stated for, and the growth."""
    middle = shapely.Point(FRAME.to_metres([(113.24, 35.21)])[0])
    core, urban, city = (middle.buffer(radius, quad_segs=500) for radius in RINGS_M)
    parcels = Parcels.of([core, urban.difference(core), city.difference(urban)])
    for n in (1_000, 10_000, 100_000):
        one_size(n, parcels)


def one_size(n: int, parcels: Parcels) -> None:
    """Time one number of cameras."""
    rng = np.random.default_rng(5)
    optics, parameters = cameras(n, rng), Parameters()
    made_s, seen = timed(lambda: compute_views(optics, parameters, FRAME))
    around = buildings(n, rng)
    ready_s, _ = timed(lambda: (around.tree, around.walls))
    cut_s, among = timed(lambda: compute_views(optics, parameters, FRAME, around))
    cut = len(np.unique(among.cut_by[0]))
    peer_s, union = timed(lambda: shapely.union_all(seen.shape))
    fast_s, _ = timed(lambda: shapely.disjoint_subset_union_all(seen.shape))
    stamp = np.arange(n)
    whole_s, found = timed(lambda: cover(parcels, seen.shape, stamp))
    shape, names = seen.shape.copy(), stamp.copy()
    shape[0], names[0] = shapely.affinity.translate(shape[0], 25, 0), n
    change_s, after = timed(lambda: cover(parcels, shape, names, before=found))
    gaps_s, (gaps, _) = timed(lambda: found.gaps(np.array([0, 1, 2]), 1, 100.0))
    within = shapely.intersection(union, shapely.union_all(parcels.zones)).area
    off = found.covered_m2().sum() / within - 1
    print(f"{n:,} cameras")
    print(f"  fields of view on open ground        {made_s * 1e3:9.1f} ms")
    print(
        f"  cut by {n:,} buildings ({cut:,} are)   {(cut_s - made_s) * 1e3:9.1f} ms"
        f" ({ready_s * 1e3:.0f} ms once to make the buildings ready)"
    )
    print(f"  peer: shapely.union_all              {peer_s * 1e3:9.1f} ms")
    print(f"  shapely.disjoint_subset_union_all    {fast_s * 1e3:9.1f} ms, {peer_s / fast_s:.1f}x faster")
    print(
        f"  zones, once and twice, shares        {whole_s * 1e3:9.1f} ms, "
        f"{peer_s / whole_s:.1f}x faster than the peer; area differs from its by {off:.0e}"
    )
    print(
        f"  after one changed camera             {change_s * 1e3:9.1f} ms, "
        f"{after.renewed} of {len(found.found):,} parcels computed again"
    )
    print(f"  {len(gaps):,} gaps of 100 m2 and more          {gaps_s * 1e3:9.1f} ms")


if __name__ == "__main__":
    main()
