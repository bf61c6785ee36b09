"""Locks between processes that work on one data folder.

They are flocks: the system ends them with the process, so a crash leaves nothing to clean up. The
files stay, for a lock file that is removed can be locked twice.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from app.db.cluster.errors import AlreadyServed, refusing


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
