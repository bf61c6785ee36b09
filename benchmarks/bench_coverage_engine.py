"""Time the coverage engine: ``python benchmarks/bench_coverage_engine.py``.

Three in four devices are within 150 m of a control point, the others anywhere in the city. Prints the best of several
runs; asserts nothing.
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
    assess_coverage,
)
from app.geo.projection.local_projection import LocalProjection

PROJECTION = LocalProjection(4547)
WEST, SOUTH, EAST, NORTH = 113.0, 35.0, 113.5, 35.4
NEEDS = (
    (Need("vehicle", "inbound"), Need("vehicle", "outbound")),
    (Need("vehicle"), Need("face")),
    (Need("face", working=2), Need("overview")),
)


def build_city(n: int, m: int, seed: int = 7) -> tuple[PointTable, DeviceTable]:
    """Return n control points and m devices."""
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.uniform(WEST, EAST, n), rng.uniform(SOUTH, NORTH, n)])
    is_near = rng.random(m) < 0.75
    anchor = rng.integers(0, n, m)
    lonlat = np.column_stack([rng.uniform(WEST, EAST, m), rng.uniform(SOUTH, NORTH, m)])
    lonlat[is_near] = points[anchor[is_near]] + rng.normal(0, 0.0008, (int(is_near.sum()), 2))
    checkpoint = rng.random(m) < 0.1
    assigned = np.where(is_near & (rng.random(m) < 0.2), anchor, -1)

    def fill_share(values: np.ndarray, share: float) -> np.ndarray:
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
        azimuth_deg=fill_share(rng.uniform(0, 360, m), 0.8),
        opening_deg=fill_share(rng.uniform(10, 110, m), 0.8),
        range_m=fill_share(rng.choice([30.0, 60, 120, 250, 800], m, p=[0.3, 0.3, 0.3, 0.08, 0.02]), 0.4),
        near_m=fill_share(rng.uniform(0, 6, m), 0.3),
        h_pixels=fill_share(rng.choice([1920.0, 2560, 3840], m), 0.6),
        assigned=assigned,
        installation=np.full(m, -1),
        group=np.where(rng.random(m) < 0.5, rng.integers(0, m // 4, m), -1),
    )
    return PointTable([f"P{row:05d}" for row in range(n)], points, {}, repeat_needs(n)), devices


def repeat_needs(n: int) -> list[tuple[Need, ...]]:
    return [NEEDS[row % len(NEEDS)] for row in range(n)]


def run_best(work: Callable[[], object], runs: int = 5) -> float:
    """Return the least time in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def main() -> None:
    """Measure the two sizes that have an aim."""
    for n, m, aim in ((409, 20_000, 40), (10_000, 100_000, 1000)):
        points, devices = build_city(n, m)

        def assess_again(points: PointTable = points, devices: DeviceTable = devices) -> Assessment:
            vars(devices).pop("rank", None)
            vars(devices).pop("is_checkpoint", None)
            vars(devices).pop("state_bits", None)
            return assess_coverage(points, devices, Parameters(), PROJECTION)

        assess_ms = run_best(assess_again)
        assessment = assess_again()
        states = (devices.lifecycle, devices.state, devices.stale)
        states_ms = run_best(partial(assessment.with_device_states, *states))
        explain_ms = run_best(partial(assessment.explain_point, 0))
        print(
            f"{n:6,} points x {m:7,} devices: {assess_ms:7.1f} ms (aim {aim}), "
            f"after states changed {states_ms:6.1f} ms, one point explained {explain_ms:5.2f} ms; "
            f"{int(assessment.candidate_count.sum()):,} candidates, statuses "
            f"{np.bincount(assessment.status, minlength=4).tolist()}"
        )


if __name__ == "__main__":
    main()
