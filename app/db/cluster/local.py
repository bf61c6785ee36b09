"""The local cluster of a data folder, used by the service and by commands at the same time.

The first process that needs the cluster creates and starts it, later ones use it, and the last one stops it. Files in
the data folder::

    service.lock   locked by the one service of the folder; contains its pid
    cluster.lock   locked while a process starts or stops the cluster
    users.lock     locked in shared mode by every process that uses the cluster
    postgres/      data, log and socket; a link if the account of PostgreSQL cannot enter the folder
"""

import fcntl
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from app.db.cluster.errors import AlreadyServed, FolderUnusable, translate_os_errors
from app.db.cluster.installation import Account, find_account
from app.db.cluster.server import PORT, Server, compute_digest


class FileLock:
    """A lock between processes, on a file of a data folder.

    It is a flock: the system releases it when the process ends, so a crash leaves no lock. The file stays, because a
    lock file that is deleted can be locked twice. The library filelock has no shared lock that can become exclusive.
    """

    def __init__(self, data_dir: Path, name: str) -> None:
        with translate_os_errors(data_dir):
            data_dir.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(data_dir / name, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        """Acquire the lock; wait until no other process has it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def acquire_shared(self) -> None:
        """Acquire the lock together with other processes that share it."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Acquire the lock exclusively without waiting; return whether that was possible."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Release the lock."""
        os.close(self._fd)

    def read_text(self) -> str:
        """Return the text that the process with the lock has written."""
        return os.pread(self._fd, 100, 0).decode().strip()

    def write_text(self, text: str) -> None:
        """Write a text for other processes."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text.encode(), 0)


class ServiceLock:
    """The lock of the one service of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()

    def __enter__(self) -> Self:
        """Acquire the lock, or raise AlreadyServed with the pid of the service that has it."""
        self._lock = FileLock(self._data_dir, "service.lock")
        if not self._lock.try_exclusive():
            pid = self._lock.read_text()
            self._lock.close()
            raise AlreadyServed(self._data_dir, pid or "unknown")
        self._lock.write_text(f"{os.getpid()}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.write_text("")
        self._lock.close()


ROLE = "registry"
DATABASE = "registry"

_logger = logging.getLogger(__name__)

_OUTSIDE_FOLDER = Path("/var/lib/coverage-registry")
_SETUP = """
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS postgis;
SELECT 'CREATE ROLE registry LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'registry') \\gexec
\\connect postgres
SELECT 'CREATE DATABASE registry OWNER registry TEMPLATE template1'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'registry') \\gexec
\\connect registry
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS postgis;
ALTER EXTENSION postgis UPDATE;
"""


class LocalCluster:
    """A PostgreSQL cluster with PostGIS in ``data_dir``.

    A service uses ``with ServiceLock(data_dir), LocalCluster(data_dir) as cluster``. A command does not acquire the
    lock, so it can use the cluster of a running service.

    Parameters
    ----------
    durable : bool
        False: faster, but a crash of the machine may lose data; for tests.
    bin_dir : Path, optional
        Folder of the programs of PostgreSQL; by default the newest installation with PostGIS.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, bin_dir: Path | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self._durable = durable
        self._bin_dir = bin_dir
        self._use_lock: FileLock | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> bool:
        """Create the cluster if needed and start it; return False if it was running already."""
        with self._lock_cluster():
            self._prepare_folder()
            if not self._server.data.exists():
                self._server.create_cluster()
            started = self._server.ensure_running()
            try:
                self._create_role_and_database()
            except BaseException:
                if started:
                    self._server.stop()
                raise
            self._register_use()
        return started

    def close(self) -> None:
        """Stop the cluster, unless another process uses it."""
        with self._lock_cluster():
            if self._use_lock is not None and self._use_lock.try_exclusive():
                self._server.stop()
            self._release_use()

    def stop(self) -> None:
        """Stop the cluster at once, also when other processes use it."""
        with self._lock_cluster():
            self._server.stop()
            self._release_use()

    def discard(self) -> None:
        """Stop the cluster and delete its data."""
        with self._lock_cluster():
            self._server.stop()
            self._release_use()
            shutil.rmtree(self.folder, ignore_errors=True)
            if self._link.is_symlink():
                self._link.unlink()

    def is_running(self) -> bool:
        """Return whether a server of this folder runs."""
        return self._server.is_running()

    @property
    def url(self) -> str:
        """URL of the database of the registry."""
        return self.build_url(DATABASE)

    def build_url(self, database: str) -> str:
        """Return the URL of a database of the cluster, for the role that owns the registry."""
        host = quote(str(self._server.socket_dir))
        return f"postgresql+asyncpg://{ROLE}@/{quote(database)}?host={host}&port={PORT}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database with PostGIS, or a copy of an idle ``template``; return its URL."""
        self._server.run_client("createdb", f"--owner={ROLE}", f"--template={template}", name)
        return self.build_url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, also when it is in use or already gone."""
        self._server.run_client("dropdb", "--force", "--if-exists", name)

    @property
    def folder(self) -> Path:
        """The folder of the cluster, with links resolved."""
        return self._link.resolve()

    @property
    def _link(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def _server(self) -> Server:
        return self._server_in(self.folder)

    def _server_in(self, folder: Path) -> Server:
        with translate_os_errors(folder):
            return Server(folder, find_account(folder), self._durable, self._bin_dir)

    def _prepare_folder(self) -> None:
        """Create a folder for the cluster that the account of PostgreSQL can enter."""
        account = self._server.account
        with translate_os_errors(self._link):
            if not self._link.exists() and not account.can_enter(self.data_dir):
                self._link_outside_folder(account)
            account.claim_folder(self.folder)
        if not account.can_enter(self.folder):
            reason = f"account {account.name} cannot enter a folder above it"
            raise FolderUnusable(self.folder, reason)

    def _link_outside_folder(self, account: Account) -> None:
        """Link to a folder of the system; keep the cluster of an earlier data folder under another name."""
        target = _OUTSIDE_FOLDER / compute_digest(self.data_dir)
        _OUTSIDE_FOLDER.mkdir(parents=True, exist_ok=True)
        _OUTSIDE_FOLDER.chmod(0o755)  # whatever the umask
        if (target / "data").exists():
            self._server_in(target).stop()
            renamed = target.rename(target.with_name(f"{target.name}-left-{time.time_ns()}"))
            _logger.warning("the database of an earlier %s is now in %s", self.data_dir, renamed)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(target)
        _logger.warning(
            "account %s cannot enter %s: the database is in %s",
            *(account.name, self.data_dir, target),
        )

    def _create_role_and_database(self) -> None:
        """Create the role and its database, and update PostGIS: this requires a superuser."""
        quiet = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=template1")
        self._server.run_client("psql", *quiet, stdin=_SETUP)

    def _lock_cluster(self) -> FileLock:
        return FileLock(self.data_dir, "cluster.lock")

    def _register_use(self) -> None:
        if self._use_lock is None:
            self._use_lock = FileLock(self.data_dir, "users.lock")
        self._use_lock.acquire_shared()

    def _release_use(self) -> None:
        if self._use_lock is not None:
            self._use_lock.close()
            self._use_lock = None
