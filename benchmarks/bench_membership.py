"""Time ring membership against Shapely: ``python benchmarks/bench_membership.py``.

What a user would pick instead is one prepared ``shapely.contains_xy`` per ring, which says neither
what lies on the border nor how far away it is. Prints ratios, best of several runs; asserts
nothing.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from app.geo.projection.local_projection import LocalProjection
from app.geo.rings.membership import LEVELS, Boundary, RingIndex

FRAME = LocalProjection(4547)


def ring(radius_deg: float, vertices: int, seed: int) -> MultiPolygon:
    """Return a wavy, slightly rough ring around Jiaozuo."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    rough = rng.standard_normal(vertices).cumsum() / np.sqrt(vertices)
    radius = radius_deg * (1 + 0.15 * np.sin(5 * angle) + 0.05 * rough)
    xy = np.column_stack([113.2 + 1.2 * radius * np.cos(angle), 35.2 + radius * np.sin(angle)])
    return MultiPolygon([Polygon(xy)])


def best_of(work: Callable[[], object], runs: int = 5) -> float:
    """Return the least time in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def index(tolerance_m: float) -> RingIndex:
    """Return a fresh index of three rings of 2,000 vertices, built by its first question."""
    return RingIndex(
        [
            Boundary(level, ring(radius, 2000, seed), tolerance_m)
            for seed, (level, radius) in enumerate(zip(LEVELS, (0.05, 0.12, 0.3), strict=True))
        ],
        FRAME,
    )


def main() -> None:
    """Run what the aims are stated for."""
    rng = np.random.default_rng(3)
    n = 1_000_000
    points = np.column_stack([rng.uniform(112.75, 113.65, n), rng.uniform(34.8, 35.6, n)])
    x, y = points.T.copy()
    rings = [boundary.polygon for boundary in index(0).boundaries]
    floor = best_of(lambda: [shapely.contains_xy(polygon, x, y) for polygon in rings])
    print(f"3 x shapely.contains_xy, prepared, 1,000,000 points: {floor:7.1f} ms")
    for tolerance in (0.0, 5.0, 50.0):
        ready = index(tolerance)
        cold = best_of(partial(ready.zones, points), 1)
        warm = best_of(partial(ready.zones, points))
        print(
            f"zones(), tolerance {tolerance:4.0f} m: {warm:7.1f} ms, {warm / floor:.2f}x; "
            f"first call with grid {cold:7.1f} ms, {cold / floor:.2f}x"
        )
    some = points[:100_000]
    ready = index(5.0)
    took = best_of(lambda: ready.locate_points(some), 3)
    print(f"locate() with distances, 100,000 points: {took:7.1f} ms (aim 1500)")
    for levels in (1, 3):
        big = [
            Boundary(level, ring(0.3 + 0.01 * place, 230_000, place), 5.0)
            for place, level in enumerate(LEVELS[:levels])
        ]
        made = best_of(partial(RingIndex, big, FRAME), 1)
        huge = RingIndex(big, FRAME)
        first = best_of(partial(huge.locate, [(113.2, 35.2)]), 1)
        then = best_of(partial(huge.locate, [(113.2, 35.2)]))
        many = best_of(partial(huge.zones, points), 1)
        print(
            f"{levels} ring(s) of 230,000 vertices: made in {made:.1f} ms, one point {first:.1f} ms, "
            f"next {then:.2f} ms, 1,000,000 points with grid {many:.0f} ms"
        )


if __name__ == "__main__":
    main()
