"""Vector tiles beside tipg: cold, when something was just written, and warm, when nothing was.

Cold is the latency of one request at a time, medians of turns A B A B; warm is requests a second with
four connections. The tile of matrix 8 holds the whole city, that of 15 a few streets.
"""

import json
import shutil
import statistics
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from app.db.cluster import LocalCluster
from app.geo.projection.tile_matrix import WEB_MERCATOR_QUAD
from benchmarks import bench_service as service
from benchmarks.city import fill

MATRICES = (8, 12, 15)
MIDDLE = (113.24, 35.21)
TURNS = 15


def _get(url: str) -> tuple[float, int]:
    """Return how many milliseconds an answer took, and its bytes."""
    began = time.perf_counter()
    with urllib.request.urlopen(url) as answer:
        size = len(answer.read())
    return (time.perf_counter() - began) * 1000, size


def _touch(base: str, key: str, turn: int) -> None:
    """Change the state of one device, so that no tile made before holds."""
    report = [{"code": service.ITEM, "state": ("offline", "online")[turn % 2]}]
    request = urllib.request.Request(
        f"{base}/v1/states",
        data=json.dumps(report).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).read()


def _cold(base: str, key: str, ours: str, theirs: str, name: str) -> None:
    mine, peer, sizes = [], [], (0, 0)
    for turn in range(TURNS):
        _touch(base, key, turn)
        took, size = _get(ours)
        other, peer_size = _get(theirs)
        mine.append(took)
        peer.append(other)
        sizes = (size, peer_size)
    here, there = statistics.median(mine), statistics.median(peer)
    against = f"tipg ({sizes[0]:,} and {sizes[1]:,} bytes)"
    ratio = f"{there / here:.2f}x"
    print(f"| {name}, cold | {against} | {here:.1f} ms | {there:.1f} ms | {ratio} | 2x |")


def main() -> None:
    """Measure and print table rows."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        data.chmod(0o755)
        cluster = LocalCluster(data)
        cluster.start()
        stack.callback(cluster.stop)
        fill(cluster.url)
        base, peer, _ = service.serve_both(stack, cluster.url, data)
        key = service._key(data, cluster.url)
        time.sleep(service.SETTLE_S)
        for matrix in MATRICES:
            row, _, column, _ = WEB_MERCATOR_QUAD.tile_limits((*MIDDLE, *MIDDLE), matrix)
            place = f"tiles/WebMercatorQuad/{matrix}"
            ours = f"{base}/ogc/collections/cameras/{place}/{row}/{column}.mvt"
            theirs = f"{peer}/collections/public.camera/{place}/{column}/{row}"
            _cold(base, key, ours, theirs, f"tile at {matrix}")
            service._pair(f"tile at {matrix}, warm", "tipg", ours, theirs, "10x")


if __name__ == "__main__":
    main()
