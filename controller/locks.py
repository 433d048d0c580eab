"""Locks by name, so that two commands to one group or volume never interleave.

Order: group locks before volume locks before pool locks, each kind in
alphabetical order; `hold` takes all it is given in that order. The state
store's own lock is innermost and short.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from controller.errors import ConflictError

WAIT_SECONDS: Final = 30.0


class KeyedLocks:
    """One reentrant lock for each key; waiting is bounded."""

    def __init__(self, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait_seconds = wait_seconds
        self._guard = threading.Lock()
        self._locks: dict[tuple[int, str], threading.RLock] = {}

    @contextmanager
    def hold(
        self, *, groups: Iterable[str] = (), volumes: Iterable[str] = (), pool: Iterable[str] = ()
    ) -> Iterator[None]:
        """Hold the locks of these things; ConflictError when one stays busy too long."""
        keys = [(0, name) for name in groups] + [(1, name) for name in volumes] + [(2, name) for name in pool]
        deadline = time.monotonic() + self._wait_seconds
        with ExitStack() as stack:
            for key in sorted(set(keys)):
                with self._guard:
                    lock = self._locks.setdefault(key, threading.RLock())
                if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                    kind = ("group", "volume", "pool volume")[key[0]]
                    raise ConflictError(
                        f"{kind} {key[1]} is busy with another command",
                        hint="Wait for it and try again; events tell what it does.",
                    )
                stack.callback(lock.release)
            yield
