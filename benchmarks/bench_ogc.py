"""The GIS interface beside tipg and beside PostgreSQL itself: same machine, same tables, same run.

Pages, a box, a CQL2 filter, one item, and a download of 100,000 features with the memory it takes. Each
pair is measured in turns and the medians are told; one worker each, four connections.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg

from app.geo.projection.reference_systems import CRS84
from app.ogc import cql2
from app.ogc.collections import BY_ID
from app.ogc.cql2 import parse_box
from app.ogc.queries.features import FeatureQuery, build_item_statement, build_page_statement
from benchmarks import bench_service as service

BOX = "113.20,35.18,113.28,35.24"
AREA = "POLYGON((113.20 35.18, 113.28 35.18, 113.28 35.24, 113.20 35.24, 113.20 35.18))"
DOWNLOADED = 100_000
CAMERAS = BY_ID["cameras"]


def _as_script(statement: str, values: list[Any]) -> str:
    """Return a statement with its values written in, for pgbench."""
    for number in range(len(values), 0, -1):
        value = values[number - 1]
        told = f"'\\x{value.hex()}'" if isinstance(value, bytes) else repr(value)
        statement = statement.replace(f"${number}::", f"{told}::")
    return statement + ";"


def _beside_sql(name: str, url: str, asked: FeatureQuery, socket: Path) -> None:
    service._beside_sql(name, url, _as_script(*build_page_statement(CAMERAS, asked)), socket, "0.5x")


def _more_cameras(url: str, count: int) -> None:
    """Copy cameras until there are so many, round the service: only their number matters here."""

    async def run() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        names = await connection.fetchval(
            "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns "
            "WHERE table_name = 'camera' AND column_name NOT IN "
            "('id', 'code', 'version', 'created_at', 'updated_at', 'document')"
        )
        have = await connection.fetchval("SELECT count(*) FROM camera WHERE removed_at IS NULL")
        copies = -(-count // have) - 1
        await connection.execute(
            f"INSERT INTO camera (code, {names}) SELECT code || '-' || n, {names} "
            f"FROM camera, generate_series(1, {copies}) AS n LIMIT {count - have}"
        )
        await connection.execute("VACUUM ANALYZE camera")
        await connection.close()

    asyncio.run(run())


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def _download(first: str, pid: int) -> tuple[int, float, float]:
    """Follow the pages to the end; return features, seconds, and the memory that was added."""
    url: str | None = first
    before = peak = _memory_mb(pid)
    seen, began = 0, time.perf_counter()
    while url is not None and seen < DOWNLOADED:
        with urllib.request.urlopen(url) as answer:
            told = answer.read()
        peak = max(peak, _memory_mb(pid))
        page = json.loads(told)
        seen += len(page["features"])
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return seen, time.perf_counter() - began, peak - before


def _downloads(ours: tuple[str, int], theirs: tuple[str, int]) -> None:
    runs = [(_download(*ours), _download(*theirs)) for _ in range(2)]
    for pages, who in ((0, "ours"), (1, "tipg")):
        found = [run[pages] for run in runs]
        count, took, grown = found[0][0], min(run[1] for run in found), max(run[2] for run in found)
        print(f"| download of {count:,} features, {who} | | {took:.1f} s | +{grown:.0f} MB | | |")


def main() -> None:
    """Measure and print table rows."""
    with ExitStack() as stack:
        cluster, data = service.filled(stack)
        base, peer, pids = service.serve_both(stack, cluster.url, data)
        time.sleep(service.SETTLE_S)
        mine = f"{base}/ogc/collections/cameras/items"
        theirs = f"{peer}/collections/public.camera/items"
        for warming in (f"{mine}?limit=100", f"{theirs}?limit=100", f"{base}/livez"):
            service._wrk(warming)
        socket = service.socket_of(cluster.url)
        _pages(mine, theirs, socket)
        _more_cameras(cluster.url, DOWNLOADED)
        _downloads((f"{mine}?limit=10000", pids[0]), (f"{theirs}?limit=10000", pids[1]))


def _pages(mine: str, theirs: str, socket: Path) -> None:
    pair: Callable[..., None] = service._pair
    pair("100-feature page", "tipg", f"{mine}?limit=100", f"{theirs}?limit=100", "8x")
    pair(
        "1,000-feature bbox", "tipg", f"{mine}?limit=1000&bbox={BOX}",
        f"{theirs}?limit=1000&bbox={BOX}", "8x",
    )  # fmt: skip
    text = f"S_INTERSECTS(geometry,{AREA}) AND range_m > 30"
    asked = urlencode({"limit": 100, "filter": text, "filter-lang": "cql2-text"}, quote_via=quote)
    pair("CQL2 filter, 100 features", "tipg", f"{mine}?{asked}", f"{theirs}?{asked}", "8x")
    pair("one item", "tipg", f"{mine}/{service.ITEM}", f"{theirs}/1600", "2x")
    _beside_sql("100-feature page", f"{mine}?limit=100", FeatureQuery(limit=100), socket)
    area = parse_box([float(side) for side in BOX.split(",")], CRS84)
    asked_box = FeatureQuery(limit=1000, area=area)
    _beside_sql("1,000-feature bbox", f"{mine}?limit=1000&bbox={BOX}", asked_box, socket)
    tree = cql2.parse_filter(text, "cql2-text")
    _beside_sql("CQL2 filter", f"{mine}?{asked}", FeatureQuery(limit=100, tree=tree), socket)
    one = _as_script(*build_item_statement(CAMERAS, service.ITEM, FeatureQuery()))
    service._beside_sql("one item", f"{mine}/{service.ITEM}", one, socket, "0.5x")
    livez = mine.partition("/ogc")[0] + "/livez"
    pair("one item", "an empty route of the same service", f"{mine}/{service.ITEM}", livez, "-")


if __name__ == "__main__":
    main()
