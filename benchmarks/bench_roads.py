"""Time roads without a service: network, sides of three rings, crossings, chains, as cities grow.

``python -m benchmarks.bench_roads [--most 1000000] [--file roads.geojson.gz]``; a file is any
GeoJSON FeatureCollection of LineStrings in degrees. Prints milliseconds; asserts nothing.
"""

import argparse
import gzip
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import shapely

from app.geo.projection.local_projection import frame_for
from app.geo.rings.ring_partition import Ring, cut
from app.geo.roads.chains import chains
from app.geo.roads.crossings import crossings
from app.geo.roads.map_matching import approaches
from app.geo.roads.network import network

T = TypeVar("T")


def grid(edges: int) -> np.ndarray[Any, Any]:
    """Return about so many street pieces of six vertices each, in metres around 0."""
    rng = np.random.default_rng(7)
    side = max(int(np.sqrt(edges / 2)), 3)
    axis = (np.arange(side) - side / 2) * 200.0
    nodes = np.stack(np.meshgrid(axis, axis), axis=-1) + rng.normal(0, 18, (side, side, 2))
    start = np.concatenate([nodes[:, :-1].reshape(-1, 2), nodes[:-1].reshape(-1, 2)])
    stop = np.concatenate([nodes[:, 1:].reshape(-1, 2), nodes[1:].reshape(-1, 2)])
    share = np.linspace(0, 1, 6)[None, :, None]
    xy = start[:, None] * (1 - share) + stop[:, None] * share
    xy[:, 1:-1] += rng.normal(0, 2, (len(xy), 4, 2))
    return np.asarray(shapely.linestrings(xy))


def rings(lines: np.ndarray[Any, Any]) -> list[Ring]:
    """Return three rings of 2,000 vertices around the middle of the roads."""
    west, south, east, north = shapely.total_bounds(lines)
    middle, reach = ((west + east) / 2, (south + north) / 2), min(east - west, north - south) / 2
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    found = []
    for seed, share in enumerate((0.86, 0.5, 0.22)):
        rng = np.random.default_rng(seed)
        radius = reach * share * (1 + 0.04 * np.sin(5 * angle + seed) + rng.normal(0, 0.0015, 2000))
        xy = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None] + middle
        found.append(Ring(shapely.Polygon(xy).buffer(0), 5.0))
    return found


def features(path: Path) -> list[dict[str, Any]]:
    """Return the features of a GeoJSON file that are LineStrings."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        found = json.load(file)["features"]
    return [one for one in found if (one["geometry"] or {}).get("type") == "LineString"]


def metres(found: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """Return the lines of features in metres."""
    lines = np.array([shapely.geometry.shape(one["geometry"]) for one in found], dtype=object)
    x, y = shapely.get_coordinates(lines[0])[0]
    return np.asarray(shapely.transform(lines, frame_for(x, y).to_metres))


def read(path: Path) -> np.ndarray[Any, Any]:
    """Return the LineStrings of a GeoJSON file in metres."""
    return metres(features(path))


def measure(name: str, lines: np.ndarray[Any, Any]) -> None:
    took = []

    def timed(work: Callable[[], T]) -> T:
        started = time.perf_counter()
        made = work()
        took.append((time.perf_counter() - started) * 1e3)
        return made

    none = np.zeros(len(lines), np.int64)
    found, report = timed(lambda: network(lines, oneway=none, layer=none, road_class=none, group=np.arange(len(lines))))
    three = rings(lines)
    tree = timed(lambda: shapely.STRtree(found.line))
    pieces, sides = timed(lambda: cut(found, three, tree))
    crossed = timed(lambda: [crossings(found, pieces, *one) for one in zip(sides, three, strict=True)])
    of = timed(lambda: chains(pieces, sides))
    timed(lambda: [approaches(found, pieces, of, one) for one in crossed])
    numbers = " ".join(f"{one:9.1f}" for one in took)
    counts = "/".join(str(len(one)) for one in crossed)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:>22} {len(found):9,} {numbers} {sum(took):9.1f}  {counts} crossings, "
        f"{len(report.component_length_m)} parts, peak {memory:,.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--file", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    print(
        f"{'':>22} {'edges':>9} {'network':>9} {'tree':>9} {'sides':>9} {'crossings':>9} "
        f"{'chains':>9} {'approach':>9} {'all, ms':>9}"
    )
    for path in arguments.file:
        measure(path.name[:22], read(path))
    for edges in (1_000, 10_000, 100_000, 1_000_000):
        if edges <= arguments.most:
            measure("grid", grid(edges))


if __name__ == "__main__":
    main()
