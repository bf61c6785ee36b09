"""A file of cameras into the registry, beside ogr2ogr and a bare COPY of the same file.

The peers validate nothing, know no history, no rings and no other rows: what they take is the time of
reading the file and writing a table with one spatial index. Every run is a process of its own, on a
database made anew, so that its peak of memory is its own. Prints ratios; asserts nothing.

``python -m benchmarks.bench_import [rows ...]`` (default 100,000 and 1,000,000);
``python -m benchmarks.bench_import formats`` takes 100,000 rows in other formats, which ogr2ogr writes.
"""

import asyncio
import csv
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from app.access.roles import OPERATOR
from app.db import schema
from app.db.cluster import LocalCluster
from app.db.engine import Database
from app.demo.load import load_demo_city
from app.imports import jobs as import_jobs
from app.imports import preparation
from app.imports.jobs import ImportService
from app.imports.schemas import ImportRequest

ROWS = (100_000, 1_000_000)
ROUNDS = 3
FORMATS = {"gpkg": "GPKG", "fgb": "FlatGeobuf", "geojson": "GeoJSON", "xlsx": "XLSX"}
"""GDAL's name of each format by the ending of its files."""
_POINTS = ("-oo", "X_POSSIBLE_NAMES=longitude", "-oo", "Y_POSSIBLE_NAMES=latitude")
COLUMNS = (
    "code", "jurisdiction", "name_zh", "name_en", "functions", "owner_unit", "maintenance_unit",
    "purpose", "legal_basis", "retention_days", "lifecycle", "manufacturer", "model", "installed_on",
    "direction", "azimuth_deg", "opening_deg", "range_m", "horizontal_pixels", "address", "longitude",
    "latitude",
)  # fmt: skip


def cameras(path: Path, count: int) -> None:
    """Write a CSV of cameras in the demo city."""
    dice = random.Random(4108)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(count):
            writer.writerow(
                [
                    f"4108000004132{4_000_000 + number:07d}", "410800", f"摄像机{number}",
                    f"Camera {number}",
                    dice.choice(["vehicle", "face", "overview", "structured"]), "市技术单位",
                    "维护单位", "public order", "Decree 799", 30 + number % 60, "in_use", "Maker",
                    f"M-{number % 50}", f"2024-{1 + number % 12:02d}-{1 + number % 28:02d}",
                    dice.choice(["inbound", "outbound", "both"]), dice.randrange(360), 40, 35, 2560,
                    f"焦作市某路{number}号", round(dice.uniform(113.05, 113.43), 6),
                    round(dice.uniform(35.12, 35.31), 6),
                ]
            )  # fmt: skip


# -- one run, in a process of its own ---------------------------------------------------------------


async def _ours(url: str, path: Path, folder: Path) -> dict[str, Any]:
    database = Database(url, statement_timeout_s=600)
    imports = ImportService(database, folder, keep_days=1, max_vertices=1_000_000)
    request = ImportRequest(kind="camera")
    start = time.perf_counter()
    prepared = await imports.prepare_import(preparation.read_upload(path), request, OPERATOR)
    opened = time.perf_counter()
    await imports.start_job(prepared, lambda: None)
    await imports.wait_for_job(prepared.id, 3600)
    took = time.perf_counter() - start
    async with database.open_connection() as connection:
        job = await import_jobs.load_job(connection, prepared.id, OPERATOR)
    await imports.stop()
    await database.close()
    assert job.state == "done", job.problem
    return {"seconds": took, "opening": opened - start, "counts": job.counts.model_dump()}


async def _bare_copy(url: str, path: Path) -> dict[str, Any]:
    """COPY into a table of text without an index, a point made of it, and a GiST index."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    start = time.perf_counter()
    columns = ", ".join(f"{name} text" for name in COLUMNS)
    await connection.execute(f"CREATE TABLE peer ({columns})")
    await connection.copy_to_table("peer", source=path, format="csv", header=True)
    await connection.execute(
        "CREATE TABLE peer_points AS SELECT *, ST_SetSRID(ST_MakePoint(longitude::float8, "
        "latitude::float8), 4326) AS geometry FROM peer"
    )
    await connection.execute("CREATE INDEX ON peer_points USING gist (geometry)")
    took = time.perf_counter() - start
    await connection.close()
    return {"seconds": took}


def _ogr2ogr(url: str, path: Path) -> dict[str, Any]:
    host = parse_qs(urlsplit(url).query)["host"][0]
    name = urlsplit(url).path.lstrip("/")
    start = time.perf_counter()
    points = _POINTS if path.suffix == ".csv" else ()
    subprocess.run(
        [
            "ogr2ogr", "-f", "PostgreSQL", f"PG:host={host} user=registry dbname={name}", str(path),
            "-nln", "peer", *points, "-a_srs", "EPSG:4326", "--config", "PG_USE_COPY", "YES",
        ],
        check=True,
    )  # fmt: skip
    return {"seconds": time.perf_counter() - start}


def one(what: str, url: str, path: Path, folder: Path) -> None:
    """Do one run and print what it took as JSON."""
    if what == "ogr2ogr":
        told = _ogr2ogr(url, path)
    elif what == "copy":
        told = asyncio.run(_bare_copy(url, path))
    else:
        told = asyncio.run(_ours(url, path, folder))
    told["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told))


# -- all runs ---------------------------------------------------------------------------------------


async def _city(url: str) -> None:
    database = Database(url)
    await schema.migrate(database)
    await load_demo_city(database, OPERATOR)
    await database.close()


def _run(what: str, cluster: LocalCluster, path: Path, folder: Path) -> dict[str, Any]:
    """Run in a new database, a copy of the demo city's."""
    url = cluster.create_database("bench_import", template="registry")
    try:
        command = [sys.executable, "-m", "benchmarks.bench_import", "--one", what, url, str(path)]
        said = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False, env=os.environ)
        if said.returncode:
            raise SystemExit(said.stderr)
        answer: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
        return answer
    finally:
        cluster.drop_database("bench_import")


def main(rows: tuple[int, ...] = ROWS, *, formats: bool = False) -> None:
    """Measure and print."""
    peers = [*(["ogr2ogr"] if shutil.which("ogr2ogr") else []), *([] if formats else ["copy"])]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with LocalCluster(folder) as cluster:
            asyncio.run(_city(cluster.url))
            for count in rows:
                path = folder / f"cameras-{count}.csv"
                cameras(path, count)
                for other in _converted(path) if formats else (path,):
                    _compare(cluster, other, folder, peers, count)


def _converted(path: Path) -> Iterator[Path]:
    """Yield the same rows in other formats."""
    for ending, driver in FORMATS.items():
        other = path.with_suffix(f".{ending}")
        points = () if ending == "xlsx" else (*_POINTS, "-a_srs", "EPSG:4326")
        command = ["ogr2ogr", "-f", driver, str(other), str(path), *points]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        yield other


def _compare(cluster: LocalCluster, path: Path, folder: Path, peers: list[str], count: int) -> None:
    rounds = ROUNDS if count <= 100_000 else 1
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):  # in turns, A B A B
        for what in [*peers, "ours"]:
            found.setdefault(what, []).append(_run(what, cluster, path, folder))
    seconds = {what: statistics.median(run["seconds"] for run in runs) for what, runs in found.items()}
    ours = seconds["ours"]
    peak = max(run["peak_mb"] for run in found["ours"])
    opening_s = statistics.median(run["opening"] for run in found["ours"])
    print(
        f"{count:>9,} rows of {path.suffix[1:]}, {path.stat().st_size / 2**20:.0f} MiB: "
        f"ours {ours:.2f} s "
        f"({count / ours:,.0f} rows/s; {opening_s:.2f} s of it opening), peak {peak:.0f} MiB"
    )
    for what in peers:
        print(f"           {what}: {seconds[what]:.2f} s; ours takes {ours / seconds[what]:.2f}x")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
    elif sys.argv[1:2] == ["formats"]:
        main((100_000,), formats=True)
    else:
        main(tuple(int(word) for word in sys.argv[1:]) or ROWS)
