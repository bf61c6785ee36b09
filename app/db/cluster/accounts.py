"""The account PostgreSQL runs under, and what belongs to it.

PostgreSQL refuses root, so a root process hands the cluster to an unprivileged account and acts
through it; any other process uses its own account and nobody else's.
"""

import os
import pwd
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.db.cluster.errors import ClusterError, FolderUnusable

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
