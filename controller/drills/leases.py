"""Leases of drills that nobody has confirmed: each lasts as long as the host agent that opened it renews it.

Owns the time left and the thread that waits for its end; what happens then is
the caller's. In memory only: after a start each lease has its whole time again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

AGAIN_SECONDS: Final = 1.0  # until one that could not be ended is tried again


class Leases:
    """By number of a drill. Any thread may call; no lock is held while `on_lapsed` is called."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until: dict[int, float] = {}  # time.monotonic()
        self._ended = False
        self._watch: threading.Thread | None = None

    def renew(self, number: int, seconds: float) -> None:
        """The lease of a drill lasts this long from now on."""
        with self._changed:
            self._until[number] = time.monotonic() + seconds
            self._changed.notify_all()

    def drop(self, number: int) -> None:
        """A drill needs no lease, or is over."""
        with self._changed:
            self._until.pop(number, None)

    def lapsed(self, number: int) -> bool:
        """Whether it had a lease, and that has come to its end without a renewal."""
        with self._changed:
            return number in self._until and self._until[number] <= time.monotonic()

    def watch(self, on_lapsed: Callable[[int], None]) -> None:
        """From now on tell, in a thread, of each lease at its end, again and again until it is renewed or dropped."""
        self._watch = threading.Thread(target=self._look, args=(on_lapsed,), name="drill leases", daemon=True)
        self._watch.start()

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._watch is not None:
            self._watch.join()

    def _look(self, on_lapsed: Callable[[int], None]) -> None:
        tried = False
        while True:
            with self._changed:
                now = time.monotonic()
                if tried:
                    self._changed.wait(AGAIN_SECONDS)
                elif not self._ended and not any(until <= now for until in self._until.values()):
                    self._changed.wait(min(self._until.values()) - now if self._until else None)
                if self._ended:
                    return
                over = [number for number, until in self._until.items() if until <= time.monotonic()]
            for number in over:
                on_lapsed(number)
            tried = any(self.lapsed(number) for number in over)
