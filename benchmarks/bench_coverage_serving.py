"""Time a coverage summary of a large city: load, compute and build it, change one record, and again.

``python -m benchmarks.bench_coverage_serving [--points 10000 --devices 100000 --edges 100000]`` fills a private
database with a city of three rings. With ``--peer`` networkx computes the graph part in the same run. Prints
milliseconds; asserts nothing.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import shapely
from sqlalchemy import text

from app.access.roles import OPERATOR
from app.analysis.cordon.cordons import build_guarded_road_graph
from app.analysis.coverage.report import build_summary
from app.analysis.crossings.crossing_guards import compute_guards
from app.analysis.crossings.report import CrossingQuery, build_crossings
from app.analysis.crossings.road_network import compute_road_network
from app.analysis.results import Analysis, compute_analysis
from app.analysis.service import AnalysisService
from app.analysis.snapshot import load_snapshot
from app.db import schema
from app.db.cluster import LocalCluster
from app.db.engine import Database, WriteContext
from app.geo.projection.local_projection import LocalProjection
from app.server import reduce_garbage_collection

CODE = "410800"
PROJECTION = LocalProjection(4547)
CENTRE = (430_000.0, 3_898_000.0)
T = TypeVar("T")
RADII = {"city": 0.86, "urban": 0.5, "core": 0.22}


class Clock:
    """Prints the time of each step."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def print_time(self, name: str, started: float) -> None:
        """Print the time since a step started."""
        self.times[name] = (time.perf_counter() - started) * 1e3
        print(f"  {name:<58} {self.times[name]:9.1f} ms")

    def run(self, name: str, work: Callable[[], T]) -> T:
        """Time a function."""
        started = time.perf_counter()
        result = work()
        self.print_time(name, started)
        return result

    async def wait(self, name: str, work: Awaitable[T]) -> T:
        """Time an awaitable."""
        started = time.perf_counter()
        result = await work
        self.print_time(name, started)
        return result


def build_streets(edges: int, rng: np.random.Generator) -> tuple[list[bytes], list[str], list[str], float]:
    """Return a bent grid with about this many street edges: WKB, groups, classes; and half its width."""
    side = max(int(np.sqrt(edges / 2)), 3)
    block = 200.0
    half = block * (side - 1) / 2
    axis = np.arange(side) * block - half
    nodes = np.stack(np.meshgrid(axis, axis), axis=-1) + rng.normal(0, 18, (side, side, 2))
    along, across = np.repeat(np.arange(side), side - 1), np.tile(np.arange(side), side - 1)
    ends = [
        (nodes[:, :-1].reshape(-1, 2), nodes[:, 1:].reshape(-1, 2), "EW", along),
        (nodes[:-1].reshape(-1, 2), nodes[1:].reshape(-1, 2), "NS", across),
    ]
    lines, groups, classes = [], [], []
    for start, stop, axis_name, number in ends:
        share = np.linspace(0, 1, 6)[None, :, None]
        xy = start[:, None] * (1 - share) + stop[:, None] * share
        xy[:, 1:-1] += rng.normal(0, 2, (len(xy), 4, 2))
        lonlat = PROJECTION.to_lonlat((xy + CENTRE).reshape(-1, 2)).reshape(xy.shape)
        lines += list(shapely.to_wkb(np.asarray(shapely.linestrings(lonlat))))
        groups += [f"{axis_name}{street}" for street in number.tolist()]
        classes += ["urban_arterial" if street % 5 == 0 else "urban_minor" for street in number.tolist()]
    return lines, groups, classes, half


def build_ring(radius: float, seed: int) -> str:
    """Return a ring of 2,000 vertices around the centre, as WKT in degrees."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    reach = radius * (1 + 0.04 * np.sin(5 * angle + seed) + rng.normal(0, 0.0015, len(angle)))
    xy = np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None] + CENTRE
    return shapely.MultiPolygon([shapely.Polygon(PROJECTION.to_lonlat(xy))]).wkt


async def fill(database: Database, points: int, devices: int, edges: int) -> None:
    """Write the city directly into the tables; triggers write the history."""
    rng = np.random.default_rng(7)
    lines, groups, classes, half = build_streets(edges, rng)
    point_xy = rng.uniform(-half, half, (points, 2)) * 0.95
    categories = np.array(["core_junction", "core_site", "city_road", "urban_road", "core_road"])
    nearest = rng.integers(0, points, devices)
    device_xy = point_xy[nearest] + rng.normal(0, 40, (devices, 2))
    lonlats = [PROJECTION.to_lonlat(xy + CENTRE).tolist() for xy in (point_xy, device_xy)]
    checkpoint = rng.random(devices) < 0.2
    state = np.where(rng.random(devices) < 0.9, "online", "offline")
    functions = np.array(["vehicle", "face", "overview"])[rng.integers(0, 3, devices)]

    def choose_point(row: int) -> str | None:
        return f"p{nearest[row]}" if row % 3 else None

    async with database.open_transaction(WriteContext("benchmark")) as connection:

        async def put(sql: str, rows: list[Any], size: int = 20_000) -> None:
            for start in range(0, len(rows), size):
                part = orjson.dumps(rows[start : start + size]).decode()
                await connection.execute(text(sql), {"rows": part})

        await connection.execute(
            text(
                "INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, "
                "stale_after_s, synthetic, metric_epsg) SELECT :code, '{}', "
                "CAST(:needs AS jsonb), '{}', 864000, true, 4547"
            ),
            {"code": CODE, "needs": orjson.dumps(NEEDS).decode()},
        )
        for seed, (level, radius) in enumerate(RADII.items()):
            await connection.execute(
                text(
                    "INSERT INTO ring (code, jurisdiction, level, tolerance_m, datum_received, "
                    "geometry) SELECT :code || '/' || :level, :code, :level, 5, 'wgs84', "
                    "ST_GeomFromText(:wkt, 4326)"
                ),
                {"code": CODE, "level": level, "wkt": build_ring(half * radius, seed)},
            )
        await put(
            'INSERT INTO road (code, jurisdiction, road_class, "group", oneway, layer, bridge, '
            "tunnel, geometry) SELECT r->>0, '410800', r->>1, r->>2, r->>3, 0, false, false, "
            "ST_SetSRID(ST_GeomFromWKB(decode(r->>4, 'hex')), 4326) "
            "FROM json_array_elements(CAST(:rows AS json)) r",
            [
                [f"r{row}", kind, group, "forward" if row % 23 == 0 else "no", wkb.hex()]
                for row, (wkb, group, kind) in enumerate(zip(lines, groups, classes, strict=True))
            ],
        )
        await put(
            "INSERT INTO control_point (code, jurisdiction, category, zone, geometry) "
            "SELECT r->>0, '410800', r->>1, 'core', ST_SetSRID(ST_MakePoint((r->>2)::float8, "
            "(r->>3)::float8), 4326) FROM json_array_elements(CAST(:rows AS json)) r",
            [[f"p{row}", str(categories[row % 5]), *lonlat] for row, lonlat in enumerate(lonlats[0])],
        )
        lanes = '[{"lane": 1, "direction": "both"}]'
        await put(
            "INSERT INTO checkpoint (code, jurisdiction, kind, lifecycle, lanes, control_point, "
            f"geometry) SELECT r->>0, '410800', 'vehicle', 'in_use', '{lanes}', r->>1, "
            "ST_SetSRID(ST_MakePoint((r->>2)::float8, (r->>3)::float8), 4326) "
            "FROM json_array_elements(CAST(:rows AS json)) r",
            [[f"k{row}", choose_point(row), *lonlats[1][row]] for row in np.flatnonzero(checkpoint).tolist()],
        )
        await put(
            "INSERT INTO camera (code, jurisdiction, functions, lifecycle, direction, azimuth_deg, "
            "opening_deg, horizontal_pixels, control_point, geometry) SELECT r->>0, '410800', "
            "ARRAY[r->>1], 'in_use', 'both', (r->>2)::float8, 35, 3840, r->>3, "
            "ST_SetSRID(ST_MakePoint((r->>4)::float8, (r->>5)::float8), 4326) "
            "FROM json_array_elements(CAST(:rows AS json)) r",
            [
                [f"c{row}", str(functions[row]), row * 37 % 360, choose_point(row), *lonlats[1][row]]
                for row in np.flatnonzero(~checkpoint).tolist()
            ],
        )  # fmt: skip
        await put(
            "INSERT INTO device_state (kind, code, jurisdiction, state, reported_at) "
            "SELECT r->>0, r->>1, '410800', r->>2, now() - interval '1 hour' "
            "FROM json_array_elements(CAST(:rows AS json)) r",
            [
                ["checkpoint" if mark == "k" else "camera", f"{mark}{row}", str(state[row])]
                for row, mark in enumerate(np.where(checkpoint, "k", "c").tolist())
            ],
        )  # fmt: skip
    async with database.open_connection() as connection:
        await connection.execute(text("ANALYZE"))


_BOTH = [{"function": "vehicle", "directions": ["inbound", "outbound"], "working": 1}]
NEEDS = {
    "city_road": _BOTH, "urban_road": _BOTH, "core_road": _BOTH,
    "core_junction": [{"function": "vehicle", "working": 1}, {"function": "face", "working": 1}],
    "core_site": [{"function": "face", "working": 1}, {"function": "overview", "working": 1}],
}  # fmt: skip


async def set_state(database: Database, state: str) -> None:
    async with database.open_transaction(WriteContext("benchmark")) as connection:
        await connection.execute(
            text(
                "UPDATE device_state SET state = :state, reported_at = now() WHERE kind = 'checkpoint' "
                "AND code = (SELECT min(code) FROM checkpoint)"
            ),
            {"state": state},
        )


async def turn_camera(database: Database, azimuth: float) -> None:
    async with database.open_transaction(WriteContext("benchmark")) as connection:
        await connection.execute(
            text(
                "UPDATE camera SET azimuth_deg = :azimuth WHERE code = (SELECT min(code) FROM camera "
                "WHERE 'vehicle' = ANY(functions))"
            ),
            {"azimuth": azimuth},
        )


async def measure_update(database: Database, analysis: Analysis, clock: Clock) -> None:
    """Measure the update after a camera was turned."""
    await turn_camera(database, 77.0)
    snapshot = await clock.wait("load what changed", load_snapshot(database, CODE, analysis.snapshot))
    updated = clock.run("control points: the coverage engine", lambda: compute_analysis(snapshot, analysis))
    clock.run("guards of the crossings", lambda: compute_guards(updated))
    clock.run("guarded road graph", lambda: build_guarded_road_graph(updated))
    clock.run("summary", lambda: build_summary(updated))


def run_peer(analysis: Analysis) -> None:
    """Compute the graph part of the summary with networkx: minimum cuts of three rings in both directions."""
    import networkx as nx

    guarded = build_guarded_road_graph(analysis)
    assert guarded is not None
    arcs = guarded.arcs
    is_free = np.diff(arcs["guard_start"]) == 0
    for level in guarded.network.levels:
        for inward in (True, False):
            graph = nx.DiGraph()
            ends = zip(arcs["tail"].tolist(), arcs["head"].tolist(), is_free.tolist(), strict=True)
            for tail, head, free in ends:
                if free:
                    graph.add_edge(tail, head, capacity=1)
            for node in guarded.find_nodes(level, inside=not inward).tolist():
                graph.add_edge("s", node)
            for node in guarded.find_nodes(level, inside=inward).tolist():
                graph.add_edge(node, "t")
            nx.maximum_flow_value(graph, "s", "t", flow_func=nx.algorithms.flow.preflow_push)


async def measure(url: str, arguments: argparse.Namespace) -> None:
    database, clock = Database(url, statement_timeout_s=600), Clock()
    await schema.migrate(database)
    await clock.wait("fill the registry", fill(database, arguments.points, arguments.devices, arguments.edges))
    print("cold, step by step")
    snapshot = await clock.wait("load all columns", load_snapshot(database, CODE))
    analysis = clock.run("control points: the coverage engine", lambda: compute_analysis(snapshot))
    network = clock.run("road network, sides, crossings, chains", lambda: compute_road_network(analysis))
    clock.run("guards of the crossings", lambda: compute_guards(analysis))
    guarded = clock.run("guarded road graph", lambda: build_guarded_road_graph(analysis))
    clock.run("summary (with the cordons of three rings, both directions)", lambda: build_summary(analysis))
    clock.run("all crossings, listed", lambda: build_crossings(analysis, CrossingQuery()))
    assert network is not None
    assert guarded is not None
    print(
        f"  {len(network.network):,} edges, {guarded.arcs['n']:,} junctions, crossings "
        f"{[len(of_ring) for of_ring in network.crossed.values()]}, {len(snapshot.cameras['code']):,} cameras, "
        f"{len(snapshot.checkpoints['code']):,} checkpoints"
    )
    print("after a camera was turned, step by step")
    await measure_update(database, analysis, clock)
    print("as served: cold, unchanged, after one state change")
    service = AnalysisService(database)
    await clock.wait("summary, cold", service.load_result(CODE, OPERATOR, build_summary))
    started = time.perf_counter()
    for _ in range(50):
        await service.load_result(CODE, OPERATOR, build_summary)
    clock.print_time("summary, nothing changed (50 times)", started)
    for state in ("fault", "online", "fault", "online"):
        await set_state(database, state)
        await clock.wait(f"summary after a checkpoint went {state}", service.load_result(CODE, OPERATOR, build_summary))
    for azimuth in (11.0, 12.0):
        await turn_camera(database, azimuth)
        await clock.wait("summary after a camera was turned", service.load_result(CODE, OPERATOR, build_summary))
    await service.wait_for_writes()
    second_service = AnalysisService(database)
    await clock.wait("summary in another process, shared", second_service.load_result(CODE, OPERATOR, build_summary))
    await service.close()
    await database.close()
    if arguments.peer:
        clock.run("networkx: six minimum cuts on the same graph", lambda: run_peer(analysis))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def main() -> None:
    """Measure in a private database that is deleted afterwards, with the garbage collection of the service."""
    reduce_garbage_collection()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--edges", type=int, default=100_000)
    parser.add_argument("--peer", action="store_true", help="time networkx on the same graph")
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
        Path(folder).chmod(0o755)
        cluster = LocalCluster(Path(folder), durable=False)
        cluster.start()
        try:
            asyncio.run(measure(cluster.url, parser.parse_args()))
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
