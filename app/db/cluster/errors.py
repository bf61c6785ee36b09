"""Errors of the local cluster, for the operator: what is wrong and what to do.

The tree::

    ClusterError
    ├── PostgresMissing     this machine has no PostgreSQL, or none with PostGIS
    ├── WrongVersion        another major version of PostgreSQL created the folder
    ├── FolderUnusable      a folder is not writable or accessible, or belongs to another account
    ├── CommandFailed       a program of PostgreSQL failed; its output is included
    └── AlreadyServed       another service uses the folder
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ClusterError(Exception):
    """Base of the errors of the local cluster; the message is for the operator."""


class PostgresMissing(ClusterError):
    """The machine has no PostgreSQL with PostGIS."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. `make run` installs PostgreSQL with PostGIS on Debian, Ubuntu and macOS; "
            "or set REGISTRY_DATABASE_URL to a database elsewhere, or use `docker compose up`."
        )


class WrongVersion(ClusterError):
    """The cluster in the folder requires another major version of PostgreSQL."""

    def __init__(self, folder: Path, made_by: str, present: set[str]) -> None:
        super().__init__(
            f"the database in {folder} was made by PostgreSQL {made_by}, and this machine has "
            f"PostgreSQL {', '.join(sorted(present))} with PostGIS: install PostgreSQL {made_by} "
            "with PostGIS as well, or choose another REGISTRY_DATA_DIR and import the records."
        )


class FolderUnusable(ClusterError):
    """The account cannot use a folder of the cluster."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"cannot use {folder}: {reason}. Correct that, or set REGISTRY_DATA_DIR to a folder of "
            "a local disk that this account may write to."
        )


class CommandFailed(ClusterError):
    """A program of PostgreSQL failed."""

    def __init__(self, action: str, folder: Path, output: str) -> None:
        super().__init__(f"cannot {action} the database in {folder}: {output.strip() or 'no output'}")


class AlreadyServed(ClusterError):
    """Another service uses the same folder."""

    def __init__(self, data_dir: Path, pid: str) -> None:
        super().__init__(
            f"a service (pid {pid}) already runs on {data_dir}: stop it first, or give this one "
            "another REGISTRY_DATA_DIR."
        )


@contextmanager
def translate_os_errors(folder: Path) -> Iterator[None]:
    """Turn every OSError of the block into FolderUnusable."""
    try:
        yield
    except OSError as error:
        raise FolderUnusable(folder, error.strerror or str(error)) from error
