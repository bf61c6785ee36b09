"""One PostgreSQL server: its data, log and socket folders, and how it is made, started and stopped.

Promises that ``folder/data`` holds a whole cluster or nothing, that the server is reached through a
unix socket only its account can enter and never over TCP, and that a killed server can be started
again. Expects its caller to hold the lock that keeps two processes from doing so at once.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from app.db.cluster.errors import CommandFailed, refusing
from app.db.cluster.installation import Account, Binaries, find_binaries

SUPERUSER = "postgres"
PORT = 5432
"""Names the socket file; nothing listens on a TCP port."""

_SOCKET_DIR_CHARS = 80  # a socket's path may have 103 bytes on macOS, its own name takes 15
_START_SECONDS = 300  # recovery after a crash replays up to max_wal_size
_STOP_SECONDS = 120
_NO_SUCH_PID = 2**31 - 1
_SETTINGS = {
    "cluster_name": "'coverage-registry'",
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "512MB",  # with 256 a load of 400,000 records took a third longer
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "logging_collector": "on",
    "log_directory": "'../log'",
    "log_filename": "'postgresql-%a.log'",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
}
_FAST_SETTINGS = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")


@dataclass(frozen=True)
class Server:
    """The server that lives in ``folder``, run by ``account``."""

    folder: Path
    account: Account
    durable: bool = True
    bin_dir: Path | None = None

    @property
    def binaries(self) -> Binaries:
        """The programs that fit the cluster in the folder."""
        version = self.data / "PG_VERSION"
        made_by = version.read_text().strip() if version.exists() else None
        return find_binaries(self.bin_dir, made_by=made_by, folder=self.folder)

    @property
    def data(self) -> Path:
        """The folder PostgreSQL calls its data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The folder of the server's log files, one per weekday."""
        return self.folder / "log"

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: inside ``folder``, or in /tmp when that path will not do."""
        inside = str(self.folder / "socket")
        # Clients read commas and colons in a host as lists and ports, so only plain paths will do.
        if len(inside) <= _SOCKET_DIR_CHARS and re.fullmatch(r"[\w./+-]+", inside, re.ASCII):
            return Path(inside)
        return Path(f"/tmp/coverage-registry-{digest(self.folder)}")  # noqa: S108 - claim() checks whose it is

    # -- life -----------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            with refusing(self.folder):
                self._initdb(fresh)
                with (fresh / "postgresql.conf").open("a") as config:
                    config.write("include_if_exists = 'registry.conf'\n")
                fresh.rename(self.data)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def ensure_running(self) -> bool:
        """Start the server, or wait until the one that runs answers; True when started here."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if not self.running():
                if self._launch():
                    return True
            elif self._answers():
                return False
            time.sleep(0.1)  # it is starting, stopping, or its orphans are still ending
        said = f"it runs but has not answered for {_START_SECONDS} s; see {self.log}"
        raise CommandFailed("reach", self.folder, said)

    def halt(self) -> None:
        """Stop the server if it runs: sessions are ended, what was committed stays."""
        if self.running():
            done = self._control("stop", "--mode=fast", f"--timeout={_STOP_SECONDS}")
            if self.running():
                raise CommandFailed("stop", self.folder, done.stderr)
        if self.socket_dir.parent != self.folder:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def running(self) -> bool:
        """Tell whether a server of this folder is alive, whoever started it."""
        pid = self._recorded_pid()
        return pid is not None and self._is_ours(pid)

    def client(self, tool: str, *options: str, stdin: str | None = None) -> str:
        """Run a client program as superuser over the socket; return what it printed."""
        done = self.account.run(
            *(self.binaries.tool(tool), f"--host={self.socket_dir}", f"--port={PORT}"),
            *(f"--username={SUPERUSER}", *options),
            stdin=stdin,
        )
        if done.returncode != 0:
            raise CommandFailed(f"use {tool} on", self.folder, done.stderr)
        return done.stdout

    # -- making and starting it -----------------------------------------------------------------

    def _initdb(self, fresh: Path) -> None:
        command = (
            *(self.binaries.tool("initdb"), f"--pgdata={fresh}", f"--username={SUPERUSER}"),
            *("--encoding=UTF8", "--data-checksums", "--auth-local=trust", "--auth-host=reject"),
            *(() if self.durable else ("--no-sync",)),
        )
        done = self.account.run(*command, "--locale=C.UTF-8")
        if "invalid locale" in done.stderr:
            done = self.account.run(*command, "--locale=C")
        if done.returncode != 0:
            raise CommandFailed("create", self.folder, _tail(done.stderr))

    def _launch(self) -> bool:
        """Start the server; False when processes of a killed one are still about to end."""
        log = self.log / "startup.log"
        with refusing(self.folder):
            self.account.claim(self.log)
            self.account.claim(self.socket_dir)
            self._forget_dead_server()
            self._configure()
            log.unlink(missing_ok=True)
        done = self._control("start", f"--log={log}", f"--timeout={_START_SECONDS}")
        said = log.read_text(errors="replace") if log.exists() else done.stderr
        if done.returncode != 0 and "shared memory block" not in said:
            raise CommandFailed("start", self.folder, f"{_tail(said)}\nMore in {self.log}")
        return done.returncode == 0

    def _configure(self) -> None:
        """Write our settings; those an operator puts after the include still win."""
        settings = {
            **_SETTINGS,
            "unix_socket_directories": f"'{self.socket_dir}'",
            **({} if self.durable else _FAST_SETTINGS),
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        fresh = self.data / "registry.conf.new"
        fresh.write_text("# Written at every start; put your own in postgresql.conf.\n" + "".join(lines))
        self.account.give(fresh)
        fresh.replace(self.data / "registry.conf")

    def _control(self, deed: str, *options: str) -> subprocess.CompletedProcess[str]:
        tool = self.binaries.tool("pg_ctl")
        return self.account.run(tool, deed, "--silent", "--wait", f"--pgdata={self.data}", *options)

    # -- is it alive ----------------------------------------------------------------------------

    def _answers(self) -> bool:
        ask = (self.binaries.tool("pg_isready"), f"--host={self.socket_dir}", f"--port={PORT}")
        return self.account.run(*ask).returncode == 0

    def _recorded_pid(self) -> int | None:
        try:
            first = (self.data / "postmaster.pid").read_text().partition("\n")[0]
        except FileNotFoundError:
            return None
        return int(first) if first.isdigit() else None

    def _is_ours(self, pid: int) -> bool:
        """Tell a server of this folder from a stranger that was given the pid of a dead one."""
        if Path("/proc/self/cwd").exists():  # a server works in its data folder
            cwd = self.account.run("readlink", f"/proc/{pid}/cwd").stdout
            return cwd.rstrip("\n") == str(self.data)
        return "postgres" in self.account.run("ps", "-p", str(pid), "-o", "comm=").stdout

    def _forget_dead_server(self) -> None:
        """Keep a stranger that has a dead server's pid from looking like that server.

        PostgreSQL itself overrules a lock file whose pid is free, but refuses to start when any
        process of the same account has it, as happens in a restarted container. Only the pid is
        taken out: the rest of the file guards against living children of the dead server.
        """
        for left in self.socket_dir.glob(".s.PGSQL.*"):
            left.unlink()
        record = self.data / "postmaster.pid"
        if self._recorded_pid() is None:
            record.unlink(missing_ok=True)
            return
        rest = record.read_text().partition("\n")[2]
        record.write_text(f"{_NO_SUCH_PID}\n{rest}")


def digest(path: Path) -> str:
    """Return a short name for a path, the same at every start."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-5:])
