"""The cluster of one data folder, shared by the service and the commands that work beside it.

Promises that a folder is enough: the first process that needs the cluster makes and starts it,
later ones join, and the last one to leave stops it. Files under the data folder::

    service.lock   held by the one service of this folder, with its pid
    cluster.lock   held while somebody starts or stops the cluster
    users.lock     shared by every process that uses the cluster
    postgres/      data, log and socket; a link when PostgreSQL's account may not enter the folder
"""

import fcntl
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from app.db.cluster.errors import AlreadyServed, FolderUnusable, refusing
from app.db.cluster.installation import Account, account_for
from app.db.cluster.server import PORT, Server, digest

# Locks between processes that work on one data folder.
#
# They are flocks: the system ends them with the process, so a crash leaves nothing to clean up. The
# files stay, for a lock file that is removed can be locked twice.


class FileLock:
    """A lock on one file of a data folder, which is made when it is missing."""

    def __init__(self, data_dir: Path, name: str) -> None:
        with refusing(data_dir):
            data_dir.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(data_dir / name, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        """Wait until no other process holds it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def share(self) -> None:
        """Hold it together with others who share it."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Hold it alone if no other process holds it now; tell whether that worked."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go."""
        os.close(self._fd)

    def read(self) -> str:
        """Return the note its holder left."""
        return os.pread(self._fd, 100, 0).decode().strip()

    def write(self, note: str) -> None:
        """Leave a note for others."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, note.encode(), 0)


class ServiceLock:
    """The right to be the one service of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()

    def __enter__(self) -> Self:
        """Take the right, or raise `AlreadyServed` with the pid of the service that has it."""
        self._lock = FileLock(self._data_dir, "service.lock")
        if not self._lock.alone():
            holder = self._lock.read()
            self._lock.close()
            raise AlreadyServed(self._data_dir, holder or "unknown")
        self._lock.write(f"{os.getpid()}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.write("")
        self._lock.close()


ROLE = "registry"
DATABASE = "registry"

_logger = logging.getLogger(__name__)

_OUTSIDE = Path("/var/lib/coverage-registry")
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

    A service says ``with ServiceLock(data_dir), LocalCluster(data_dir) as cluster``; a command
    leaves the lock out, and so joins a running service. ``durable=False`` trades what a crash of
    the machine may cost for speed: for tests. ``bin_dir`` names the PostgreSQL to use.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, bin_dir: Path | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self._durable = durable
        self._bin_dir = bin_dir
        self._use: FileLock | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> bool:
        """Make the cluster if there is none and start it; False when it was running already."""
        with self._one_at_a_time():
            self._settle()
            if not self._server.data.exists():
                self._server.create()
            started = self._server.ensure_running()
            try:
                self._set_up()
            except BaseException:
                if started:
                    self._server.halt()
                raise
            self._enlist()
        return started

    def close(self) -> None:
        """Leave the cluster, and stop it unless another process still uses it."""
        with self._one_at_a_time():
            if self._use is not None and self._use.alone():
                self._server.halt()
            self._leave()

    def stop(self) -> None:
        """Stop the cluster at once, whoever started it and whoever else uses it."""
        with self._one_at_a_time():
            self._server.halt()
            self._leave()

    def discard(self) -> None:
        """Stop the cluster and delete all it holds."""
        with self._one_at_a_time():
            self._server.halt()
            self._leave()
            shutil.rmtree(self.folder, ignore_errors=True)
            if self._place.is_symlink():
                self._place.unlink()

    def running(self) -> bool:
        """Tell whether a server of this folder is alive, whoever started it."""
        return self._server.running()

    # -- use ------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the registry's database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """SQLAlchemy URL of any database of the cluster, for the role that owns the registry."""
        host = quote(str(self._server.socket_dir))
        return f"postgresql+asyncpg://{ROLE}@/{quote(database)}?host={host}&port={PORT}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database with PostGIS, or a copy of an idle ``template``; return its URL."""
        self._server.client("createdb", f"--owner={ROLE}", f"--template={template}", name)
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, also when it is in use or already gone."""
        self._server.client("dropdb", "--force", "--if-exists", name)

    @property
    def folder(self) -> Path:
        """Where the cluster really lives."""
        return self._place.resolve()

    @property
    def _place(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def _server(self) -> Server:
        return self._server_in(self.folder)

    def _server_in(self, folder: Path) -> Server:
        with refusing(folder):
            return Server(folder, account_for(folder), self._durable, self._bin_dir)

    # -- making it ------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Make the cluster's folder, at a place the account that runs PostgreSQL can enter."""
        account = self._server.account
        with refusing(self._place):
            if not self._place.exists() and not account.may_enter(self.data_dir):
                self._settle_outside(account)
            account.claim(self.folder)
        if not account.may_enter(self.folder):
            reason = f"account {account.name} may not enter a folder above it"
            raise FolderUnusable(self.folder, reason)

    def _settle_outside(self, account: Account) -> None:
        """Link to a folder of the system, and put aside what an earlier data folder left there."""
        target = _OUTSIDE / digest(self.data_dir)
        _OUTSIDE.mkdir(parents=True, exist_ok=True)
        _OUTSIDE.chmod(0o755)  # whatever the umask
        if (target / "data").exists():
            self._server_in(target).halt()
            aside = target.rename(target.with_name(f"{target.name}-left-{time.time_ns()}"))
            _logger.warning("the database of an earlier %s is kept in %s", self.data_dir, aside)
        self._place.unlink(missing_ok=True)
        self._place.symlink_to(target)
        _logger.warning(
            "account %s may not enter %s: its database is in %s",
            *(account.name, self.data_dir, target),
        )

    def _set_up(self) -> None:
        """Make what would need a superuser later: the role, its database, an up-to-date PostGIS."""
        quiet = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=template1")
        self._server.client("psql", *quiet, stdin=_SETUP)

    # -- sharing it -----------------------------------------------------------------------------

    def _one_at_a_time(self) -> FileLock:
        return FileLock(self.data_dir, "cluster.lock")

    def _enlist(self) -> None:
        if self._use is None:
            self._use = FileLock(self.data_dir, "users.lock")
        self._use.share()

    def _leave(self) -> None:
        if self._use is not None:
            self._use.close()
            self._use = None
