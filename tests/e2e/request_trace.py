"""The files of the application whose functions run while a request is answered."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

APP = Path(__file__).parents[2] / "app"


class RequestTrace:
    """Records the functions of the application that are called, by file, in the order of their first calls.

    Threads that start inside ``install`` are recorded too, so a server starts inside it.
    """

    def __init__(self) -> None:
        self.functions: dict[str, dict[str, None]] = {}
        self._recording = False
        self._prefix = f"{APP}/"

    @contextmanager
    def install(self) -> Iterator["RequestTrace"]:
        """Watch the function calls of this thread and of the threads that it starts."""
        sys.setprofile(self._record_call)
        threading.setprofile(self._record_call)
        try:
            yield self
        finally:
            threading.setprofile(None)
            sys.setprofile(None)

    @contextmanager
    def record(self) -> Iterator[None]:
        """Collect the calls inside the block."""
        self._recording = True
        try:
            yield
        finally:
            self._recording = False

    @property
    def files(self) -> list[str]:
        """Files in the order in which a function of theirs is first called."""
        return list(self.functions)

    def _record_call(self, frame: FrameType, event: str, argument: Any) -> None:
        if not self._recording or event != "call":
            return
        path, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if path.startswith(self._prefix) and name != "<module>":
            self.functions.setdefault(path.removeprefix(self._prefix), {})[name] = None
