"""Exports: rows a second and peak memory of one process, at a tenth of the rows and at all of them.

Each format runs in a process of its own through the command line, against one database; memory that
does not grow with the rows is the point. Beside it stands ogr2ogr writing the same table, where it is
installed. Rows: ``EXPORT_ROWS`` in the environment, 100,000 by default.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import text

from app.access.roles import OPERATOR
from app.db import schema
from app.db.cluster import LocalCluster
from app.db.engine import Database, WriteContext

ROWS = int(os.environ.get("EXPORT_ROWS", "100000"))
FORMATS = ("csv", "geojsonl", "parquet", "gpkg", "fgb", "shp.zip", "xlsx", "kml")
_CAMERAS = text("""
INSERT INTO camera (code, jurisdiction, name_zh, name_en, lifecycle, functions, azimuth_deg,
                    opening_deg, range_m, owner_unit, purpose, retention_days, geometry)
SELECT '4108000004132' || to_char(n, 'FM0000000'), :city, '摄像机' || n, 'Camera ' || n, 'in_use',
       ARRAY['vehicle', 'face'], n % 360, 40, 35, '单位' || n % 50, 'benchmark', 30,
       ST_SetSRID(ST_MakePoint(113 + 0.4 * random(), 35 + 0.3 * random()), 4326)
FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n
""")
_RUN = """
import resource, sys
from app.cli.main import main
try:
    main()
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak {peak:.0f}", file=sys.stderr)
"""


async def _fill(url: str) -> None:
    database = Database(url, statement_timeout_s=1800)
    await schema.migrate(database)
    async with database.open_transaction(WriteContext(OPERATOR.name)) as connection:
        for city in ("410100", "410800"):
            await connection.execute(
                text("INSERT INTO jurisdiction (code, plan, requirements, coverage_parameters, "
                     "stale_after_s, synthetic) VALUES (:city, '{}', '{}', '{}', 3600, true)"),
                {"city": city},
            )  # fmt: skip
    for city, first, last in (("410100", 0, ROWS // 10 - 1), ("410800", ROWS // 10, ROWS - 1)):
        async with database.open_transaction(WriteContext(OPERATOR.name)) as connection:
            await connection.execute(_CAMERAS, {"city": city, "first": first, "last": last})
    async with database.engine.connect() as connection:
        bare = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await bare.execute(text("VACUUM ANALYZE camera"))
    await database.close()


def _export(folder: Path, url: str, ending: str, *more: str) -> tuple[float, float, float]:
    """Return seconds, peak MB and size in MB."""
    target = folder / f"out.{ending}"
    command = [sys.executable, "-c", _RUN, "export", "cameras", "-o", str(target), *more]
    environment = os.environ | {"REGISTRY_DATA_DIR": str(folder), "REGISTRY_DATABASE_URL": url}
    began = time.perf_counter()
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    took = time.perf_counter() - began
    peak = re.search(r"peak (\d+)", said.stderr)
    assert peak is not None, said.stderr
    return took, float(peak[1]), target.stat().st_size / 1e6


def _ogr2ogr(folder: Path, url: str) -> float | None:
    """Return seconds in which ogr2ogr writes the same columns as GeoPackage, in the same order."""
    if shutil.which("ogr2ogr") is None:
        return None
    socket = re.sub(r".*host=([^&]+).*", r"\1", url)
    source = f"PG:host={socket} user=registry dbname=registry"
    target = folder / "theirs.gpkg"
    told = subprocess.run(["ogrinfo", "-so", source, "camera"], check=True, capture_output=True, text=True)
    names = re.findall(r"^(\w+): (?:String|Integer|Real|Date)", told.stdout, re.MULTILINE)
    columns = ", ".join(f'"{name}"' for name in names if name != "document")  # ours, not a column
    statement = f"SELECT {columns}, geometry FROM camera ORDER BY code"
    began = time.perf_counter()
    subprocess.run(["ogr2ogr", "-q", target, source, "-sql", statement], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print table rows."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        data.chmod(0o755)
        cluster = LocalCluster(data)
        cluster.start()
        stack.callback(cluster.stop)
        asyncio.run(_fill(cluster.url))
        ours = 0.0
        for ending in FORMATS:
            _, few, _ = _export(data, cluster.url, ending, "--jurisdiction", "410100")
            took, many, size = _export(data, cluster.url, ending)
            ours = took if ending == "gpkg" else ours
            print(
                f"| export {ending}, {ROWS:,} cameras | {took:.1f} s | {ROWS / took:,.0f} rows/s "
                f"| {size:,.0f} MB | peak {few:.0f} MB at {ROWS // 10:,}, {many:.0f} MB at {ROWS:,} |",
                flush=True,
            )
        theirs = _ogr2ogr(data, cluster.url)
        if theirs is not None:
            print(f"| ogr2ogr, the same columns as GeoPackage | {theirs:.1f} s | ours {ours / theirs:.2f}x |")


if __name__ == "__main__":
    main()
