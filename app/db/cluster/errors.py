"""What the private cluster refuses, in words for the operator: what is wrong and what to do.

The tree::

    ClusterError
    ├── PostgresMissing     no PostgreSQL on this machine, or one without PostGIS
    ├── WrongVersion        the folder was made by another PostgreSQL major version
    ├── FolderUnusable      a folder cannot be written or entered, or belongs to somebody else
    ├── CommandFailed       PostgreSQL was asked and said no, with its own words
    └── AlreadyServed       another service holds the folder
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ClusterError(Exception):
    """Base of everything the private cluster refuses; the message is for the operator."""


class PostgresMissing(ClusterError):
    """No usable PostgreSQL on this machine."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"{found}. `make run` installs PostgreSQL with PostGIS on Debian, Ubuntu and macOS; "
            "or set REGISTRY_DATABASE_URL to a database elsewhere, or use `docker compose up`."
        )


class WrongVersion(ClusterError):
    """The cluster in the folder needs another PostgreSQL than this machine has."""

    def __init__(self, folder: Path, made_by: str, present: set[str]) -> None:
        super().__init__(
            f"the database in {folder} was made by PostgreSQL {made_by}, and this machine has "
            f"PostgreSQL {', '.join(sorted(present))} with PostGIS: install PostgreSQL {made_by} "
            "with PostGIS beside it, or choose another REGISTRY_DATA_DIR and import the records."
        )


class FolderUnusable(ClusterError):
    """A folder the cluster needs cannot be used by this account."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"cannot use {folder}: {reason}. Mend that, or set REGISTRY_DATA_DIR to a folder of "
            "a local disk that this account may write to."
        )


class CommandFailed(ClusterError):
    """A PostgreSQL program failed; ``said`` is what it wrote."""

    def __init__(self, deed: str, folder: Path, said: str) -> None:
        super().__init__(f"cannot {deed} the database in {folder}: {said.strip() or 'no reason'}")


class AlreadyServed(ClusterError):
    """Another service works on the same folder."""

    def __init__(self, data_dir: Path, pid: str) -> None:
        super().__init__(
            f"a service (pid {pid}) already runs on {data_dir}: stop it first, or give this one "
            "another REGISTRY_DATA_DIR."
        )


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Turn the system's refusals about ``folder`` into ours."""
    try:
        yield
    except OSError as error:
        raise FolderUnusable(folder, error.strerror or str(error)) from error
