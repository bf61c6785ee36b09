"""The service beside tipg and beside PostgreSQL itself: same machine, same tables, same run.

Needs `wrk` (Debian package) and makes a virtual environment with tipg in it. Each pair is measured in
turns, A B A B A B, and the medians are told; one worker each, four connections.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from app.db.cluster import LocalCluster
from app.records.kinds import CAMERA
from app.records.queries.documents import build_document_sql, build_from_clause
from benchmarks.city import fill

ROUNDS, SECONDS, CONNECTIONS = 3, 4, 4
SETTLE_S = 20
HERE = Path(__file__).parent
ITEM = "41080000041320500100"
PAGE_SQL = (
    f"SELECT t.code, {build_document_sql(CAMERA, feature=True)} AS body FROM {build_from_clause(CAMERA)} "
    "WHERE t.removed_at IS NULL ORDER BY t.code LIMIT 101;"
)
ITEM_SQL = (
    f"SELECT t.code, t.version, {build_document_sql(CAMERA, feature=True)} AS body FROM {build_from_clause(CAMERA)} "
    f"WHERE t.code = '{ITEM}' AND t.removed_at IS NULL;"
)


def _tipg() -> Path:
    """Return the Python that has tipg, made once."""
    folder = HERE / ".venv-peers"
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        requirements = HERE / "requirements-peers.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    return python


@contextmanager
def _running(command: Sequence[str | Path], url: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(word) for word in command],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            time.sleep(0.2)
            try:
                urllib.request.urlopen(url, timeout=2).read()
                break
            except OSError:
                continue
        else:
            raise SystemExit(f"{command[0]} did not answer at {url}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # MapServer finishes a request that never comes
            process.kill()
            process.wait(10)


def _wrk(url: str) -> float:
    """Return requests a second; any answer but 2xx ends the run."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"{url} answered with errors:\n{said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None
    return float(found[1])


def _pgbench(sql: str, socket: Path) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(sql + "\n")
        script.flush()
        pgbench = shutil.which("pgbench") or next(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
        command = [
            str(pgbench), "-n", "-M", "prepared", f"-c{CONNECTIONS}", "-j1", f"-T{SECONDS}",
            "-f", script.name, "-h", str(socket), "-U", "registry", "registry",
        ]  # fmt: skip
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None
    return float(found[1])


def _row(name: str, against: str, ours: float, other: float, aim: str) -> None:
    print(f"| {name} | {against} | {ours:,.0f}/s | {other:,.0f}/s | {ours / other:.2f}x | {aim} |")


def _pair(name: str, against: str, ours: str, other: str, aim: str) -> None:
    rates = [(_wrk(ours), _wrk(other)) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
    _row(name, against, mine, theirs, aim)


def _beside_sql(name: str, ours: str, sql: str, socket: Path, aim: str) -> None:
    rates = [(_wrk(ours), _pgbench(sql, socket)) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
    _row(name, "pgbench, the SQL that makes the same bytes", mine, theirs, aim)


def _cold_coverage(base: str, key: str) -> None:
    """Change one device's state and time the next summary, over and over."""
    took = []
    for turn in range(15):
        report = [{"code": ITEM, "state": ("offline", "online")[turn % 2]}]
        request = urllib.request.Request(
            f"{base}/v1/states",
            data=json.dumps(report).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).read()
        began = time.perf_counter()
        urllib.request.urlopen(f"{base}/v1/jurisdictions/410800/coverage").read()
        took.append((time.perf_counter() - began) * 1000)
    median = statistics.median(took)
    print(f"| 409 points, 20,000 cameras, one state change | - | {median:.0f} ms | - | - | |")


def _key(data: Path, url: str) -> str:
    command = [sys.executable, "-m", "app.cli.main", "keys", "create", "--role", "editor"]
    environment = os.environ | {"REGISTRY_DATA_DIR": str(data), "REGISTRY_DATABASE_URL": url}
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def socket_of(url: str) -> Path:
    """Return the folder of the socket a private cluster listens on."""
    return Path(re.sub(r".*host=([^&]+).*", r"\1", url))


def filled(stack: ExitStack) -> tuple[LocalCluster, Path]:
    """Start a private cluster that holds the city; return it and its temporary folder."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")
    data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    data.chmod(0o755)
    cluster = LocalCluster(data)
    cluster.start()
    stack.callback(cluster.stop)
    fill(cluster.url)
    return cluster, data


def serve_ours(stack: ExitStack, url: str, data: Path) -> tuple[str, int]:
    """Start the service on a database; return its address and process."""
    port = _free_port()
    base = f"http://127.0.0.1:{port}"
    mine = stack.enter_context(
        _running(
            [sys.executable, "-m", "app.cli.main", "serve"], f"{base}/readyz",
            REGISTRY_DATABASE_URL=url, REGISTRY_PORT=str(port), REGISTRY_DATA_DIR=str(data),
            REGISTRY_ANONYMOUS_ROLE="analyst", REGISTRY_LOG_LEVEL="warning",
        )
    )  # fmt: skip
    return base, mine.pid


def serve_both(stack: ExitStack, url: str, data: Path) -> tuple[str, str, tuple[int, int]]:
    """Start the service and tipg on a database; return their addresses and processes."""
    base, mine = serve_ours(stack, url, data)
    peers = _free_port()
    theirs = f"http://127.0.0.1:{peers}"
    database = quote(str(socket_of(url)), safe="")
    peer = stack.enter_context(
        _running(
            [_tipg(), "-m", "uvicorn", "tipg.main:app", "--port", str(peers),
             "--log-level", "warning"], f"{theirs}/healthz",
            DATABASE_URL=f"postgresql://registry@{database}:5432/registry",
            TIPG_DB_SPATIAL_EXTENT="false", TIPG_DB_DATETIME_EXTENT="false",
        )
    )  # fmt: skip
    return base, theirs, (mine, peer.pid)


def main() -> None:
    """Measure and print table rows."""
    with ExitStack() as stack:
        cluster, data = filled(stack)
        socket = socket_of(cluster.url)
        base, theirs, _ = serve_both(stack, cluster.url, data)
        key = _key(data, cluster.url)
        time.sleep(SETTLE_S)  # PostgreSQL writes out what was loaded; that is nobody's request
        mine, peer = f"{base}/v1/cameras", f"{theirs}/collections/public.camera/items"
        for warming in (f"{mine}?limit=100", f"{peer}?limit=100"):
            _wrk(warming)
        box = "113.20,35.18,113.28,35.24"
        _pair("100-feature page", "tipg", f"{mine}?limit=100&f=geojson", f"{peer}?limit=100", "8x")
        _pair(
            "1,000-feature bbox", "tipg", f"{mine}?limit=1000&f=geojson&bbox={box}",
            f"{peer}?limit=1000&bbox={box}", "8x",
        )  # fmt: skip
        _pair("one item", "tipg", f"{mine}/{ITEM}?f=geojson", f"{peer}/1600", "2x")
        _beside_sql("100-feature page", f"{mine}?limit=100&f=geojson", PAGE_SQL, socket, "0.5x")
        _beside_sql("one item", f"{mine}/{ITEM}?f=geojson", ITEM_SQL, socket, "0.5x")
        home = f"{base}/v1/jurisdictions/410800"
        _pair(
            "unchanged summary", "one indexed SELECT through the same stack",
            f"{home}/coverage", home, "0.33x",
        )  # fmt: skip
        _cold_coverage(base, key)


if __name__ == "__main__":
    main()
