"""How fast a journal is filled, and when it will be full: exponential averages of what is seen when asked.

Owns the averages, in memory. Asked seldom, they are of a longer time; asked
twice at once, the second question changes nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, Position

AVERAGE_SECONDS: Final = 10.0  # what is older than this counts for a third
LOOK_SECONDS_MIN: Final = 0.2
FULL_SECONDS_MAX: Final = 7 * 86400.0  # a fill that takes longer is none


@dataclass(slots=True)
class _Seen:
    at: float
    newest: Position
    records_used: int
    bytes_used: int
    records: float = 0.0  # appended, a second
    data: float = 0.0
    records_growth: float = 0.0  # in use, a second
    bytes_growth: float = 0.0


class Rates:
    """Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def note(self, uuid: str, pointers: dict[Pointer, Position], state: dict[str, Any]) -> dict[str, Any]:
        """Take what a journal's state says now; the rates and the forecast, as the state names them."""
        newest, now = pointers[Pointer.JOURNAL_IN], self._clock()
        with self._lock:
            seen = self._seen.get(uuid)
            if seen is None or newest.sequence < seen.newest.sequence:
                seen = self._seen[uuid] = _Seen(now, newest, state["records_used"], state["data_used_bytes"])
            elif now - seen.at >= LOOK_SECONDS_MIN:
                _take(seen, now, newest, state["records_used"], state["data_used_bytes"])
            return {
                "append_records_per_second": round(seen.records, 3),
                "append_bytes_per_second": round(seen.data, 1),
                "seconds_to_full": _forecast(seen, state),
            }


def _take(seen: _Seen, now: float, newest: Position, records_used: int, bytes_used: int) -> None:
    seconds = now - seen.at
    weight = 1.0 - math.exp(-seconds / AVERAGE_SECONDS)
    for name, change in (
        ("records", newest.sequence - seen.newest.sequence),
        ("data", (newest.data_position - seen.newest.data_position) * BLOCK_BYTES),
        ("records_growth", records_used - seen.records_used),
        ("bytes_growth", bytes_used - seen.bytes_used),
    ):
        setattr(seen, name, getattr(seen, name) + weight * (change / seconds - getattr(seen, name)))
    seen.at, seen.newest, seen.records_used, seen.bytes_used = now, newest, records_used, bytes_used


def _forecast(seen: _Seen, state: dict[str, Any]) -> float | None:
    """The sooner of both areas; None when neither fills."""
    found = [
        (capacity - used) / growth
        for capacity, used, growth in (
            (state["records_capacity"], state["records_used"], seen.records_growth),
            (state["data_capacity_bytes"], state["data_used_bytes"], seen.bytes_growth),
        )
        if growth > 0
    ]
    soonest = min(found, default=FULL_SECONDS_MAX)
    return round(max(0.0, soonest), 1) if soonest < FULL_SECONDS_MAX else None
