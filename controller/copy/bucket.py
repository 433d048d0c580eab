"""How many bytes the transfer of one group may move now, under a limit that may change at any time.

Owns the token bucket and the size of one step under it; knows nothing of
journals or NBD, and never waits: who wants to move bytes asks for how long to
wait, and tells what it moved. Within any `t` seconds at most
`limit * (t + BURST_SECONDS)` bytes move, and what each lane takes at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

STEP_SECONDS: Final = 0.5  # of the limit at once: journals wait no longer for a step of the initial copy
STEP_BYTES_MIN: Final = 64 << 10
BURST_SECONDS: Final = 0.5  # of the limit saved up while nothing moved: round trips cost no bandwidth
TURN_SECONDS: Final = 0.02  # given to the other lane, when it waited and this one was served last
TOLD_SECONDS: Final = 5.0  # so long a transfer counts as held back after it had to wait


class Lane(StrEnum):
    """Who moves bytes: when both want to, they take turns."""

    JOURNALS = "journals"
    COPY = "copy"


class Bucket:
    """One for each group; any thread may call. `clock`: seconds that never step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limit: int | None = None
        self._balance = 0.0
        self._counted = clock()
        self._waiting: set[Lane] = set()
        self._served: Lane | None = None
        self._held = -math.inf  # when somebody had to wait last

    @property
    def limit(self) -> int | None:
        """Bytes a second; None: as many as the link carries."""
        return self._limit

    @property
    def holds_back(self) -> bool:
        """Whether the limit made the transfer wait just now."""
        return self._limit is not None and self._clock() - self._held < TOLD_SECONDS

    def change(self, limit: int | None) -> bool:
        """Another limit from now on; whether it is. A debt of the one before counts for one step of it at most."""
        with self._lock:
            if limit == self._limit:
                return False
            self._count()
            self._limit, self._balance = limit, max(self._balance, -float(limit or 0) * STEP_SECONDS)
            return True

    def step_bytes(self, wanted: int) -> int:
        """How much of that may be asked for at once."""
        limit = self._limit
        return wanted if limit is None else min(wanted, max(STEP_BYTES_MIN, int(limit * STEP_SECONDS)))

    def wait_seconds(self, lane: Lane) -> float:
        """How long to wait before the next step; 0: go on, and tell what it `moves`."""
        with self._lock:
            self._count()
            if self._limit is None:
                return 0.0
            if self._balance <= 0:
                self._waiting.add(lane)
                self._held = self._counted
                return (1 - self._balance) / self._limit
            if self._served is lane and self._waiting - {lane}:
                self._waiting.clear()
                return TURN_SECONDS
            self._waiting.discard(lane)
            self._served = lane
            return 0.0

    def moves(self, count: int) -> None:
        """So many bytes are about to move; fewer than none: that many did not."""
        with self._lock:
            self._count()
            if self._limit is not None:
                self._balance -= count

    def poll_seconds(self, size_bytes: int) -> float:
        """How far apart looks of that size lie, so that they take a twentieth of the limit at most."""
        limit = self._limit
        return 0.0 if limit is None else 20 * size_bytes / limit

    def _count(self) -> None:
        """What came into the bucket since it was looked at last."""
        now = self._clock()
        if self._limit is None:
            self._balance = 0.0
        else:
            gained = (now - self._counted) * self._limit
            self._balance = min(self._balance + gained, self._limit * BURST_SECONDS)
        self._counted = now
