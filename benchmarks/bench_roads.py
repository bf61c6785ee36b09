"""Time the road engine without a service: network, sides of three rings, crossings and chains of growing cities.

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

from app.geo.projection.local_projection import choose_projection
from app.geo.rings.ring_partition import RingBand, cut_network
from app.geo.roads.chains import build_chains
from app.geo.roads.crossings import find_crossings
from app.geo.roads.map_matching import build_approaches
from app.geo.roads.network import build_network

T = TypeVar("T")


def build_grid(edges: int) -> np.ndarray[Any, Any]:
    """Return about this many street edges of six vertices each, in metres around 0."""
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


def build_rings(lines: np.ndarray[Any, Any]) -> list[RingBand]:
    """Return three rings of 2,000 vertices around the centre of the roads."""
    west, south, east, north = shapely.total_bounds(lines)
    middle, reach = ((west + east) / 2, (south + north) / 2), min(east - west, north - south) / 2
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    bands = []
    for seed, share in enumerate((0.86, 0.5, 0.22)):
        rng = np.random.default_rng(seed)
        radius = reach * share * (1 + 0.04 * np.sin(5 * angle + seed) + rng.normal(0, 0.0015, 2000))
        xy = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None] + middle
        bands.append(RingBand(shapely.Polygon(xy).buffer(0), 5.0))
    return bands


def read_features(path: Path) -> list[dict[str, Any]]:
    """Return the features of a GeoJSON file that are LineStrings."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        features = json.load(file)["features"]
    return [feature for feature in features if (feature["geometry"] or {}).get("type") == "LineString"]


def to_metres(features: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """Return the lines of features in metres."""
    lines = np.array([shapely.geometry.shape(feature["geometry"]) for feature in features], dtype=object)
    x, y = shapely.get_coordinates(lines[0])[0]
    return np.asarray(shapely.transform(lines, choose_projection(x, y).to_metres))


def read_lines(path: Path) -> np.ndarray[Any, Any]:
    """Return the LineStrings of a GeoJSON file in metres."""
    return to_metres(read_features(path))


def measure(name: str, lines: np.ndarray[Any, Any]) -> None:
    times = []

    def timed(work: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = work()
        times.append((time.perf_counter() - started) * 1e3)
        return result

    zeros = np.zeros(len(lines), np.int64)
    groups = np.arange(len(lines))
    roads, report = timed(lambda: build_network(lines, oneway=zeros, layer=zeros, road_class=zeros, group=groups))
    bands = build_rings(lines)
    tree = timed(lambda: shapely.STRtree(roads.line))
    pieces, sides = timed(lambda: cut_network(roads, bands, tree))
    crossed = timed(lambda: [find_crossings(roads, pieces, *pair) for pair in zip(sides, bands, strict=True)])
    road_chains = timed(lambda: build_chains(pieces, sides))
    timed(lambda: [build_approaches(roads, pieces, road_chains, of_ring) for of_ring in crossed])
    numbers = " ".join(f"{milliseconds:9.1f}" for milliseconds in times)
    counts = "/".join(str(len(of_ring)) for of_ring in crossed)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:>22} {len(roads):9,} {numbers} {sum(times):9.1f}  {counts} crossings, "
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
        measure(path.name[:22], read_lines(path))
    for edges in (1_000, 10_000, 100_000, 1_000_000):
        if edges <= arguments.most:
            measure("grid", build_grid(edges))


if __name__ == "__main__":
    main()
