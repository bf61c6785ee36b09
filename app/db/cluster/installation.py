"""The account that runs PostgreSQL, and the programs of PostgreSQL on this machine.

PostgreSQL does not run as root. A process of root runs it as an unprivileged account; any other process runs it as its
own account.
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
    """The account that runs PostgreSQL."""

    uid: int
    gid: int
    name: str

    @property
    def is_current(self) -> bool:
        """Whether this is the account of our own process."""
        return self.uid == os.geteuid()

    def run(self, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program as this account, without our environment variables."""
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
                user=None if self.is_current else self.uid,
                group=None if self.is_current else self.gid,
                extra_groups=None if self.is_current else [],
            )
        except OSError as error:
            msg = f"cannot run {command[0]} as account {self.name}: {error.strerror}"
            raise ClusterError(msg) from error

    def can_enter(self, folder: Path) -> bool:
        """Return whether the account can enter a folder; the system checks it."""
        return self.run("test", "-x", str(folder)).returncode == 0

    def claim_folder(self, folder: Path) -> None:
        """Create a folder that only this account can enter; raise FolderUnusable if it belongs to another account."""
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (self.uid, os.geteuid()):
            raise FolderUnusable(folder, f"it is not a folder of account {self.name}")
        folder.chmod(0o700)
        self.give_ownership(folder)

    def give_ownership(self, path: Path) -> None:
        """Make this account the owner of a path."""
        if not self.is_current:
            os.chown(path, self.uid, self.gid)


def find_account(folder: Path) -> Account:
    """Return the account that runs, or will run, the cluster in ``folder``.

    Raises
    ------
    FolderUnusable
        when the folder belongs to another account, and this process is not root.
    """
    owner_uid = folder.stat().st_uid if folder.exists() else 0
    if os.geteuid() == 0:
        return _build_account(owner_uid) if owner_uid else _find_unprivileged_account()
    if owner_uid not in (0, os.geteuid()):
        raise FolderUnusable(folder, f"it belongs to account {_build_account(owner_uid).name}")
    return _build_account(os.geteuid())


def _build_account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a container may run under a number without a name
        return Account(uid, uid, f"number {uid}")
    return Account(uid, entry.pw_gid, entry.pw_name)


def _find_unprivileged_account() -> Account:
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            return _build_account(pwd.getpwnam(name).pw_uid)
    msg = (
        f"PostgreSQL does not run as root, and the account {' or '.join(_UNPRIVILEGED)} does not exist: "
        "start the service as another user, or add one of these accounts."
    )
    raise ClusterError(msg)


# Programs: on PATH, then in the folders of the packages of Debian, Red Hat and Homebrew, newest first.

_BIN_DIRS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """The programs of one installation of PostgreSQL with PostGIS."""

    directory: Path
    major: str

    def build_path(self, name: str) -> str:
        """Return the path of one program, e.g. ``psql``."""
        return str(self.directory / name)


def find_binaries(bin_dir: Path | None = None, *, made_by: str | None = None, folder: Path = Path()) -> Binaries:
    """Return the programs of a PostgreSQL with PostGIS, of the major version that created ``folder``.

    Raises
    ------
    PostgresMissing
        when this machine has none.
    WrongVersion
        when this machine has only other major versions than ``made_by``.
    """
    candidates = [bin_dir] if bin_dir else list(dict.fromkeys(_iter_bin_dirs()))
    usable = [binaries for candidate in candidates if (binaries := _find_postgis(candidate))]
    for binaries in usable:
        if made_by in (None, binaries.major):
            return binaries
    if usable and made_by:
        raise WrongVersion(folder, made_by, {binaries.major for binaries in usable})
    folders = ", ".join(str(path) for path in candidates if (path / "initdb").exists())
    raise PostgresMissing(
        f"the PostgreSQL in {folders} has no PostGIS"
        if folders
        else f"no PostgreSQL found{f' in {bin_dir}' if bin_dir else ''}"
    )


def _iter_bin_dirs() -> Iterator[Path]:
    """Yield the folders that may contain PostgreSQL: from PATH, then of packages, newest first."""
    if pg_config := shutil.which("pg_config"):
        yield from map(Path, _run_and_read(pg_config, "--bindir"))
    for pattern in _BIN_DIRS:
        paths = Path("/").glob(pattern.removeprefix("/"))
        yield from sorted(paths, key=_parse_numbers, reverse=True)


def _parse_numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


def _find_postgis(directory: Path) -> Binaries | None:
    """Return the programs in a directory, None if it has no server with PostGIS."""
    if not (directory / "initdb").exists():
        return None
    output = _run_and_read(str(directory / "pg_config"), "--sharedir", "--version")
    if len(output) != 2 or not Path(output[0], "extension", "postgis.control").exists():
        return None
    version = re.search(r"\d+", output[1])
    return Binaries(directory, version.group()) if version else None


@cache
def _run_and_read(*command: str) -> list[str]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return result.stdout.splitlines()
