"""Bytes put aside for a while: in memory while they are few, beyond that in a temporary file.

Promises that nobody else can open the file, and that a disk without room is told.
"""

import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Final

from app.errors import Invalid

KEPT_BYTES: Final = 8 << 20
"""What is kept in memory."""
_ROOM: Final = 64 << 20


class Shelf:
    """Parts in the order in which they were put aside."""

    def __init__(self) -> None:
        self._parts: list[bytes | tuple[int, int]] = []
        """Kept, or place and size in the file."""
        self._kept = self._written = 0
        self._file: IO[bytes] | None = None

    def put(self, part: bytes) -> None:
        """Put the next part aside.

        Raises
        ------
        Invalid
            ``unpacks-too-large``: there is no room for the temporary file.
        """
        if self._kept + len(part) <= KEPT_BYTES:
            self._kept += len(part)
            self._parts.append(part)
            return
        if shutil.disk_usage(tempfile.gettempdir()).free < _ROOM + len(part):
            raise Invalid("There is no room to unpack the file.", code="unpacks-too-large")
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="registry-file-")  # noqa: SIM115 - see close
        self._file.seek(self._written)
        self._file.write(part)
        self._parts.append((self._written, len(part)))
        self._written += len(part)

    def parts(self) -> Iterator[bytes]:
        """Yield what was put aside, from the beginning."""
        for part in self._parts:
            if isinstance(part, tuple) and self._file is not None:
                self._file.seek(part[0])
                yield self._file.read(part[1])
            elif isinstance(part, bytes):
                yield part

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._file is not None:
            self._file.close()
