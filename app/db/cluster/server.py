"""One PostgreSQL server: its data, log and socket folders, and how it is created, started and stopped.

``folder/data`` contains a complete cluster or does not exist. The server listens on a unix socket that only its account
can use, never on TCP. A killed server can be started again. The caller must have the lock of the cluster.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from app.db.cluster.errors import CommandFailed, translate_os_errors
from app.db.cluster.installation import Account, Binaries, find_binaries

SUPERUSER = "postgres"
PORT = 5432
"""Part of the name of the socket file; the server does not listen on TCP."""

_SOCKET_DIR_CHARS = 80  # macOS allows 103 bytes for the path of a socket; its name has 15
_START_SECONDS = 300  # recovery after a crash replays up to max_wal_size
_STOP_SECONDS = 120
_NO_SUCH_PID = 2**31 - 1
_SETTINGS = {
    "cluster_name": "'coverage-registry'",
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "512MB",  # with 256 MB, loading 400,000 records takes a third longer
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
        """The programs of the major version that created the cluster."""
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
        """The folder of the socket: in ``folder``, or in /tmp if that path is too long or has special characters."""
        inside = str(self.folder / "socket")
        # Clients parse commas and colons in a host as lists and ports.
        if len(inside) <= _SOCKET_DIR_CHARS and re.fullmatch(r"[\w./+-]+", inside, re.ASCII):
            return Path(inside)
        return Path(f"/tmp/coverage-registry-{compute_digest(self.folder)}")  # noqa: S108 - claim() checks whose it is

    def create_cluster(self) -> None:
        """Create the cluster in a temporary folder, and rename the folder when it is complete."""
        temporary = self.folder / "data.new"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            with translate_os_errors(self.folder):
                self._run_initdb(temporary)
                with (temporary / "postgresql.conf").open("a") as config:
                    config.write("include_if_exists = 'registry.conf'\n")
                temporary.rename(self.data)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def ensure_running(self) -> bool:
        """Start the server, or wait until the running one is ready; return whether it was started here."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if not self.is_running():
                if self._start_server():
                    return True
            elif self._is_ready():
                return False
            time.sleep(0.1)  # it is starting or stopping, or processes of a killed server are still ending
        output = f"it runs but is not ready after {_START_SECONDS} s; see {self.log}"
        raise CommandFailed("reach", self.folder, output)

    def stop(self) -> None:
        """Stop the server if it runs; its sessions are ended."""
        if self.is_running():
            result = self._run_pg_ctl("stop", "--mode=fast", f"--timeout={_STOP_SECONDS}")
            if self.is_running():
                raise CommandFailed("stop", self.folder, result.stderr)
        if self.socket_dir.parent != self.folder:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def is_running(self) -> bool:
        """Return whether a server of this folder runs."""
        pid = self._read_pid()
        return pid is not None and self._is_own_server(pid)

    def run_client(self, tool: str, *options: str, stdin: str | None = None) -> str:
        """Run a client program as superuser over the socket and return its output."""
        result = self.account.run(
            *(self.binaries.build_path(tool), f"--host={self.socket_dir}", f"--port={PORT}"),
            *(f"--username={SUPERUSER}", *options),
            stdin=stdin,
        )
        if result.returncode != 0:
            raise CommandFailed(f"use {tool} on", self.folder, result.stderr)
        return result.stdout

    def _run_initdb(self, temporary: Path) -> None:
        command = (
            *(self.binaries.build_path("initdb"), f"--pgdata={temporary}", f"--username={SUPERUSER}"),
            *("--encoding=UTF8", "--data-checksums", "--auth-local=trust", "--auth-host=reject"),
            *(() if self.durable else ("--no-sync",)),
        )
        result = self.account.run(*command, "--locale=C.UTF-8")
        if "invalid locale" in result.stderr:
            result = self.account.run(*command, "--locale=C")
        if result.returncode != 0:
            raise CommandFailed("create", self.folder, _list_last_lines(result.stderr))

    def _start_server(self) -> bool:
        """Start the server; return False if processes of a killed one are still ending."""
        log = self.log / "startup.log"
        with translate_os_errors(self.folder):
            self.account.claim_folder(self.log)
            self.account.claim_folder(self.socket_dir)
            self._clear_stale_pid()
            self._write_settings()
            log.unlink(missing_ok=True)
        result = self._run_pg_ctl("start", f"--log={log}", f"--timeout={_START_SECONDS}")
        output = log.read_text(errors="replace") if log.exists() else result.stderr
        if result.returncode != 0 and "shared memory block" not in output:
            raise CommandFailed("start", self.folder, f"{_list_last_lines(output)}\nMore in {self.log}")
        return result.returncode == 0

    def _write_settings(self) -> None:
        """Write our settings; an operator can override them after the include in postgresql.conf."""
        settings = {
            **_SETTINGS,
            "unix_socket_directories": f"'{self.socket_dir}'",
            **({} if self.durable else _FAST_SETTINGS),
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        temporary = self.data / "registry.conf.new"
        temporary.write_text("# Written at every start. Put your own settings into postgresql.conf.\n" + "".join(lines))
        self.account.give_ownership(temporary)
        temporary.replace(self.data / "registry.conf")

    def _run_pg_ctl(self, action: str, *options: str) -> subprocess.CompletedProcess[str]:
        tool = self.binaries.build_path("pg_ctl")
        return self.account.run(tool, action, "--silent", "--wait", f"--pgdata={self.data}", *options)

    def _is_ready(self) -> bool:
        ask = (self.binaries.build_path("pg_isready"), f"--host={self.socket_dir}", f"--port={PORT}")
        return self.account.run(*ask).returncode == 0

    def _read_pid(self) -> int | None:
        try:
            first = (self.data / "postmaster.pid").read_text().partition("\n")[0]
        except FileNotFoundError:
            return None
        return int(first) if first.isdigit() else None

    def _is_own_server(self, pid: int) -> bool:
        """Return whether a process is a server of this folder, and not another one with the pid of a dead server."""
        if Path("/proc/self/cwd").exists():  # the working directory of a server is its data folder
            cwd = self.account.run("readlink", f"/proc/{pid}/cwd").stdout
            return cwd.rstrip("\n") == str(self.data)
        return "postgres" in self.account.run("ps", "-p", str(pid), "-o", "comm=").stdout

    def _clear_stale_pid(self) -> None:
        """Replace the pid of a dead server in its lock file, so that no other process looks like that server.

        PostgreSQL ignores a lock file whose pid is free, but does not start if any process of the same account has that
        pid, as happens in a restarted container. The other lines stay: they detect running children of the dead server.
        """
        for socket in self.socket_dir.glob(".s.PGSQL.*"):
            socket.unlink()
        record = self.data / "postmaster.pid"
        if self._read_pid() is None:
            record.unlink(missing_ok=True)
            return
        remaining_lines = record.read_text().partition("\n")[2]
        record.write_text(f"{_NO_SUCH_PID}\n{remaining_lines}")


def compute_digest(path: Path) -> str:
    """Return a short name for a path that is the same at every start."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _list_last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-5:])
