"""What a full disk kept from being finished, tried again until it can be.

Owns the waiting. Each thing that is tried again looks at the state as it is
by then; one that fails for want of space once more comes back by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

AGAIN_SECONDS: Final = 2.0


class Later:
    """Any thread may add; what is added is done in one thread of its own, in order."""

    def __init__(self, again_seconds: float = AGAIN_SECONDS) -> None:
        self._again_seconds = again_seconds
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def add(self, act: Callable[[], None]) -> None:
        """Do that after a while. It raises nothing."""
        with self._lock:
            self._waiting.append(act)
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._main, name="later", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Try nothing more; what is being done is finished."""
        self._ended.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _main(self) -> None:
        while not self._ended.wait(self._again_seconds):
            with self._lock:
                due, self._waiting = self._waiting, []
                if not due:
                    self._thread = None
                    return
            for act in due:
                act()
