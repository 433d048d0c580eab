"""The events of one history, in the order of their moments; all chance is its seed's. Nothing here reads a clock."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable

from hostagent.copy_manager.side import Instant

EPOCH_NS = 1_700_000_000_000_000_000


class ViolationError(AssertionError):
    """Something happened that must never happen."""


class NoConvergenceError(AssertionError):
    """The faults ended, and the pair did not come to rest as it should."""


def wall(seconds: float) -> int:
    return EPOCH_NS + round(seconds * 1e9)


class Timeline:
    """Simulated time, chance, and what was counted."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    @property
    def instant(self) -> Instant:
        return Instant(self.now, wall(self.now))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))

    def run_until(self, end: float, done: Callable[[], bool] = lambda: False) -> bool:
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
            if done():
                return True
        self.now = end
        return done()
