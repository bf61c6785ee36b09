"""What follows from one state of a jurisdiction besides the coverage of its control points."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Parts:
    """What else follows from one state: each part made once, by whoever asks first.

    A part may be made from the same part of the state before, so that only what changed is computed.
    """

    def __init__(self, before: "Parts | None" = None) -> None:
        self._made: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        if before is not None:
            self._before = {**before._before, **before._made}
        self._locks: dict[str, threading.RLock] = {}

    def get(self, name: str, make: Callable[[T | None], T]) -> T:
        """Return a part; ``make`` is given the part of the state before, or None."""
        lock = self._locks.setdefault(name, threading.RLock())
        with lock:
            if name not in self._made:
                self._made[name] = make(self._before.pop(name, None))
            made: T = self._made[name]
            return made
