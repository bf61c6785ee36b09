"""One service in processes of its own, and what a test does to it and asks of it."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx

from app.db.cluster import LocalCluster

CHECKOUT = Path(__file__).resolve().parents[2]
CITY = "410800"
READY_WITHIN_S = 2.0
"""What the requirement says: a failing database shows on /readyz within two seconds."""

T = TypeVar("T")


def free_port() -> int:
    """Return a TCP port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(**settings: object) -> dict[str, str]:
    """Return our environment with only these REGISTRY_ settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return kept | {f"REGISTRY_{name.upper()}": str(value) for name, value in settings.items()}


def command(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        cwd=CHECKOUT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def until(found: Callable[[], T], what: str, timeout_s: float = 30) -> T:
    """Ask until the answer is true, and return it; the limit only ends a hopeless wait."""
    deadline = time.monotonic() + timeout_s
    while not (answer := found()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)
    return answer


def processes() -> dict[int, tuple[int, str]]:
    """Return every living process: its parent and its command line."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {}
    for line in listed.splitlines():
        pid, parent, state, *words = line.split(None, 3)
        if not state.startswith("Z"):
            found[int(pid)] = int(parent), words[0] if words else ""
    return found


class Service:
    """`coverage-registry serve` on a folder and a port of its own; starts again after its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.cluster = LocalCluster(folder)
        self.key = ""
        self.first_words = ""
        self._log = folder.with_name(f"{folder.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    # -- its life -------------------------------------------------------------------------------

    def start(self, *arguments: str, **settings: object) -> None:
        """Start it; return when it is ready."""
        self.launch(*arguments, **settings)
        deadline = time.monotonic() + 60
        while not self.ready():
            assert self.running, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        shown = re.search(r"Admin key +(ccr_\S+)", self.said)
        assert (shown is None) == bool(self.key), "the key is shown at the first start only"
        if shown:
            self.key, self.first_words = shown.group(1), self.said

    def launch(self, *arguments: str, **settings: object) -> None:
        """Start it, and return at once."""
        known: dict[str, object] = {"data_dir": self.folder, "port": self.port, **settings}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.cli.main", "serve", *arguments],
                cwd=CHECKOUT,
                env=environment(**known),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        """What it wrote since it started."""
        return self._log.read_text()

    def ended(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(40)

    def stop(self) -> int:
        """Stop it in order, and return the exit code."""
        self.process.terminate()
        return self.ended()

    def kill(self) -> None:
        """Kill it so that it can clean up nothing."""
        self.process.kill()
        self.process.wait()

    def workers(self) -> list[int]:
        """Return the pids of its worker processes."""
        return [
            pid for pid, (parent, words) in processes().items() if parent == self.process.pid and "spawn_main" in words
        ]

    # -- its database ---------------------------------------------------------------------------

    @property
    def postmaster(self) -> int:
        """Pid of PostgreSQL."""
        record = self.cluster.folder / "data" / "postmaster.pid"
        return int(record.read_text().splitlines()[0])

    def postgres(self) -> list[int]:
        """Return every process of its PostgreSQL."""
        postmaster = self.postmaster
        return [pid for pid, (parent, _) in processes().items() if postmaster in (pid, parent)]

    def sessions(self) -> list[int]:
        """Return the processes of PostgreSQL that serve one connection each."""
        postmaster, found = self.postmaster, processes().items()
        return [pid for pid, (parent, words) in found if parent == postmaster and "[local]" in words]

    @contextmanager
    def stopped_postgres(self) -> Iterator[None]:
        """Hold PostgreSQL still, as a hung disk or network does, while the block runs."""
        held = self.postgres()
        for pid in held:
            send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                send(pid, signal.SIGCONT)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a connection to the database, round the service."""
        connection = await asyncpg.connect(self.cluster.url.replace("+asyncpg", ""))
        try:
            yield connection
        finally:
            await connection.close()

    def ask(self, sql: str) -> Any:
        """Return the first value the database answers."""

        async def run() -> Any:
            async with self.connected() as connection:
                return await connection.fetchval(sql)

        return asyncio.run(run())

    # -- its answers ----------------------------------------------------------------------------

    def client(self, key: str | None = None, timeout_s: float = 30) -> httpx.Client:
        """Return a client with the admin key, or another one; the empty key is none."""
        shown = self.key if key is None else key
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        return httpx.Client(base_url=self.base, headers=headers, timeout=timeout_s, trust_env=False, verify=False)

    def get(self, path: str, timeout_s: float = 30) -> httpx.Response:
        """Ask on a connection of its own."""
        with self.client(timeout_s=timeout_s) as client:
            return client.get(path)

    def get_as(self, key: str, path: str) -> httpx.Response:
        """Ask on a connection of its own with another key; the empty key is none."""
        with self.client(key) as client:
            return client.get(path)

    def ready(self) -> bool:
        """Tell whether it says that it is ready."""
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


def camera(number: int, **changed: object) -> dict[str, object]:
    """Return a camera as it is sent."""
    place = {"type": "Point", "coordinates": [113.2 + number * 1e-6, 35.2]}
    record: dict[str, object] = {
        "code": f"c{number}", "jurisdiction": CITY, "functions": ["face"], "geometry": place,
    }  # fmt: skip
    return record | changed


def cameras(count: int, prefix: str) -> dict[str, object]:
    """Return a batch of new cameras whose codes start so."""
    return {"items": [camera(number, code=f"{prefix}{number}") for number in range(count)]}


def found_city(service: Service) -> None:
    """Register the jurisdiction that the records of a test belong to."""
    with service.client() as client:
        client.put(f"/v1/jurisdictions/{CITY}", json={"name_en": "Test city"}).raise_for_status()


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
