"""Time the control-point coverage engine: ``python benchmarks/bench_coverage_engine.py``.

Devices stand where people put them: three in four within 150 m of a control point, the rest
anywhere in the city. Prints the best of several runs; asserts nothing.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from app.geo.coverage.assessment import (
    DIRECTION_BITS,
    IN_USE,
    Assessment,
    DeviceTable,
    Need,
    Parameters,
    PointTable,
    assess,
)
from app.geo.projection.local_projection import Frame

FRAME = Frame(4547)
WEST, SOUTH, EAST, NORTH = 113.0, 35.0, 113.5, 35.4
NEEDS = (
    (Need("vehicle", "inbound"), Need("vehicle", "outbound")),
    (Need("vehicle"), Need("face")),
    (Need("face", working=2), Need("overview")),
)


def city(n: int, m: int, seed: int = 7) -> tuple[PointTable, DeviceTable]:
    """Return n control points and m devices."""
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.uniform(WEST, EAST, n), rng.uniform(SOUTH, NORTH, n)])
    near = rng.random(m) < 0.75
    anchor = rng.integers(0, n, m)
    lonlat = np.column_stack([rng.uniform(WEST, EAST, m), rng.uniform(SOUTH, NORTH, m)])
    lonlat[near] = points[anchor[near]] + rng.normal(0, 0.0008, (int(near.sum()), 2))
    checkpoint = rng.random(m) < 0.1
    assigned = np.where(near & (rng.random(m) < 0.2), anchor, -1)

    def some(values: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(m) < share, values, np.nan)

    devices = DeviceTable(
        kind=np.where(checkpoint, "checkpoint", "camera").tolist(),
        code=[f"D{row:06d}" for row in range(m)],
        lonlat=lonlat,
        functions=(1 << rng.integers(0, 5, m)).astype(np.uint8),
        directions=rng.integers(0, max(DIRECTION_BITS.values()) * 2, m).astype(np.uint8),
        lifecycle=np.where(rng.random(m) < 0.95, IN_USE, 0).astype(np.uint8),
        state=rng.choice(4, m, p=[0.85, 0.05, 0.05, 0.05]).astype(np.uint8),
        stale=rng.random(m) < 0.05,
        azimuth_deg=some(rng.uniform(0, 360, m), 0.8),
        opening_deg=some(rng.uniform(10, 110, m), 0.8),
        range_m=some(rng.choice([30.0, 60, 120, 250, 800], m, p=[0.3, 0.3, 0.3, 0.08, 0.02]), 0.4),
        near_m=some(rng.uniform(0, 6, m), 0.3),
        h_pixels=some(rng.choice([1920.0, 2560, 3840], m), 0.6),
        assigned=assigned,
        installation=np.full(m, -1),
        group=np.where(rng.random(m) < 0.5, rng.integers(0, m // 4, m), -1),
    )
    return PointTable([f"P{row:05d}" for row in range(n)], points, {}, _needs(n)), devices


def _needs(n: int) -> list[tuple[Need, ...]]:
    return [NEEDS[row % len(NEEDS)] for row in range(n)]


def best_of(work: Callable[[], object], runs: int = 5) -> float:
    """Return the least time in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def main() -> None:
    """Run the two sizes the aims are stated for."""
    for n, m, aim in ((409, 20_000, 40), (10_000, 100_000, 1000)):
        points, devices = city(n, m)

        def fresh(points: PointTable = points, devices: DeviceTable = devices) -> Assessment:
            vars(devices).pop("rank", None)
            vars(devices).pop("is_checkpoint", None)
            vars(devices).pop("state_bits", None)
            return assess(points, devices, Parameters(), FRAME)

        took = best_of(fresh)
        found = fresh()
        changed = (devices.lifecycle, devices.state, devices.stale)
        again = best_of(partial(found.restated, *changed))
        explain = best_of(partial(found.explain, 0))
        print(
            f"{n:6,} points x {m:7,} devices: {took:7.1f} ms (aim {aim}), "
            f"after states changed {again:6.1f} ms, one point explained {explain:5.2f} ms; "
            f"{int(found.candidates.sum()):,} candidates, statuses "
            f"{np.bincount(found.status, minlength=4).tolist()}"
        )


if __name__ == "__main__":
    main()
