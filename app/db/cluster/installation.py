"""The account PostgreSQL runs under, and what belongs to it.

PostgreSQL refuses root, so a root process hands the cluster to an unprivileged account and acts
through it; any other process uses its own account and nobody else's.
"""

import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from app.db.cluster.errors import ClusterError, FolderUnusable, PostgresMissing, WrongVersion

_UNPRIVILEGED = ("postgres", "_postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """Who runs PostgreSQL."""

    uid: int
    gid: int
    name: str

    @property
    def is_self(self) -> bool:
        """Whether this is the account of our own process."""
        return self.uid == os.geteuid()

    def run(self, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program as this account, in an environment that holds nothing of ours."""
        try:
            return subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "HOME": "/"},
                user=None if self.is_self else self.uid,
                group=None if self.is_self else self.gid,
                extra_groups=None if self.is_self else [],
            )
        except OSError as error:
            msg = f"cannot run {command[0]} as account {self.name}: {error.strerror}"
            raise ClusterError(msg) from error

    def may_enter(self, folder: Path) -> bool:
        """Whether the account reaches what is in ``folder``, asked of the system itself."""
        return self.run("test", "-x", str(folder)).returncode == 0

    def claim(self, folder: Path) -> None:
        """Make ``folder`` one that this account alone can enter; refuse somebody else's."""
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (self.uid, os.geteuid()):
            raise FolderUnusable(folder, f"it is not a folder of account {self.name}")
        folder.chmod(0o700)
        self.give(folder)

    def give(self, path: Path) -> None:
        """Make ``path`` belong to this account."""
        if not self.is_self:
            os.chown(path, self.uid, self.gid)


def account_for(folder: Path) -> Account:
    """Return the account that runs, or will run, the cluster in ``folder``.

    Raises
    ------
    FolderUnusable
        The folder belongs to another account than the one this plain process has.
    """
    holder = folder.stat().st_uid if folder.exists() else 0
    if os.geteuid() == 0:
        return _account(holder) if holder else _unprivileged()
    if holder not in (0, os.geteuid()):
        raise FolderUnusable(folder, f"it belongs to account {_account(holder).name}")
    return _account(os.geteuid())


def _account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a container may run under a number without a name
        return Account(uid, uid, f"number {uid}")
    return Account(uid, entry.pw_gid, entry.pw_name)


def _unprivileged() -> Account:
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            return _account(pwd.getpwnam(name).pw_uid)
    msg = (
        f"PostgreSQL refuses to run as root, and no account {' or '.join(_UNPRIVILEGED)} exists: "
        "start the service as a plain user, or add one of them."
    )
    raise ClusterError(msg)


# Where this machine keeps a PostgreSQL that has PostGIS.
#
# Looks on PATH, then where Debian, Red Hat and Homebrew packages put it, newest first. Knows nothing
# of settings: a folder to prefer is an argument.

_BIN_DIRS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """The programs of one PostgreSQL installation that has PostGIS."""

    directory: Path
    major: str

    def tool(self, name: str) -> str:
        """Return the path of one program, e.g. ``psql``."""
        return str(self.directory / name)


def find_binaries(bin_dir: Path | None = None, *, made_by: str | None = None, folder: Path = Path()) -> Binaries:
    """Find a PostgreSQL with PostGIS, of the major version that made ``folder`` if one did.

    Raises
    ------
    PostgresMissing
        Nothing on this machine will do.
    WrongVersion
        Only other major versions than ``made_by`` are there.
    """
    candidates = [bin_dir] if bin_dir else list(dict.fromkeys(_bin_dirs()))
    usable = [binaries for candidate in candidates if (binaries := _with_postgis(candidate))]
    for binaries in usable:
        if made_by in (None, binaries.major):
            return binaries
    if usable and made_by:
        raise WrongVersion(folder, made_by, {binaries.major for binaries in usable})
    places = ", ".join(str(path) for path in candidates if (path / "initdb").exists())
    raise PostgresMissing(
        f"the PostgreSQL in {places} has no PostGIS"
        if places
        else f"no PostgreSQL found{f' in {bin_dir}' if bin_dir else ''}"
    )


def _bin_dirs() -> Iterator[Path]:
    """Yield where PostgreSQL may be: what PATH names, then what packages made, newest first."""
    if pg_config := shutil.which("pg_config"):
        yield from map(Path, _ask(pg_config, "--bindir"))
    for pattern in _BIN_DIRS:
        found = Path("/").glob(pattern.removeprefix("/"))
        yield from sorted(found, key=_numbers, reverse=True)


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


def _with_postgis(directory: Path) -> Binaries | None:
    """Return the programs in ``directory`` if a server with PostGIS is among them."""
    if not (directory / "initdb").exists():
        return None
    answer = _ask(str(directory / "pg_config"), "--sharedir", "--version")
    if len(answer) != 2 or not Path(answer[0], "extension", "postgis.control").exists():
        return None
    version = re.search(r"\d+", answer[1])
    return Binaries(directory, version.group()) if version else None


@cache
def _ask(*command: str) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return done.stdout.splitlines()
